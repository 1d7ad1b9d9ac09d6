"""What is seen of a network's structure, that the network stays as it was, and what is refused."""

import copy
import math

import pytest
import torch
from deepdynamics.diagnose import diagnose
from torch import nn
from torch.nn import functional
from torch.nn.modules import module as modules


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Block(nn.Module):
    def __init__(self, n_in, n_out, stride=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out)
        self.conv2, self.bn2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False), nn.BatchNorm2d(n_out)
        self.downsample = None
        if stride != 1 or n_in != n_out:
            self.downsample = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x):
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        y += x if self.downsample is None else self.downsample(x)
        return functional.relu(y, inplace=True)


class ResNet18(nn.Module):
    """The architecture of torchvision's resnet18, for a test without it."""

    def __init__(self, width=64, classes=1000):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        widths = [width * 2**k for k in range(4)]
        blocks = []
        for k, n in enumerate(widths):
            blocks += [Block(widths[max(k - 1, 0)], n, 1 + (k > 0)), Block(n, n)]
        self.blocks, self.fc = nn.Sequential(*blocks), nn.Linear(widths[-1], classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x):
        x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        return self.fc(functional.adaptive_avg_pool2d(self.blocks(x), 1).flatten(1))


def resnet18(**options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ResNet18(**options).eval()


def test_the_branches_of_a_resnet_are_told_apart():
    report = diagnose(resnet18(width=8, classes=10), normal(3, 3, 64, 64))
    weights = [layer for layer in report.layers if layer.role == "weights"]
    assert len(weights) == 21 and sum(layer.role == "sum" for layer in report.layers) == 8
    branches = {layer.name: layer.branch for layer in weights}
    assert branches["conv1"] == "" and branches["fc"] == ""
    assert branches["blocks.0.conv1"] == branches["blocks.0.conv2"] == "branch 1"
    assert branches["blocks.2.conv2"] == "branch 3" and branches["blocks.2.downsample.0"] == "skip 3"
    main = [layer.name for layer in report.layers if layer.on_main]
    assert main == ["bn1", *(f"blocks.{k}.sum" for k in range(8)), "fc"]
    assert [(block.kind, block.sums) for block in report.blocks] == [("Block", 1)] * 5  # three change the shape
    assert report.signal.layers == 8 and report.spectrum is not None and report.rates is not None


def test_a_gate_is_no_part_of_the_main_way():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.gate, self.last = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)

        def forward(self, x):
            y = torch.tanh(self.first(x))
            return self.last(y * torch.sigmoid(self.gate(y)))

    report = diagnose(Gated(), normal(4, 6))
    branches = {layer.name: layer.branch for layer in report.layers}
    assert branches["gate"] == "gate 1" and branches["first"] == branches["last"] == "" and "product" in branches


def test_functions_are_seen_like_modules():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))

    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = net[0], net[2]

        def forward(self, x):
            return self.b(self.a(x).tanh_())

    one, other = diagnose(net, normal(4, 5)), diagnose(Functional(), normal(4, 5))
    for a, b in zip(one.layers, other.layers, strict=True):
        assert (a.kind, a.q, a.correlation, a.gradient) == (b.kind, b.q, b.correlation, b.gradient)


def snapshot(model):
    state = {name: value.clone() for name, value in model.state_dict().items()}
    flags = [(p.requires_grad, None if p.grad is None else p.grad.clone()) for p in model.parameters()]
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules()]
    return state, flags, hooks, [m.training for m in model.modules()]


def test_the_model_stays_as_it_was():
    model = resnet18(width=4, classes=5)
    model.conv1.weight.requires_grad_(False)
    model.fc.weight.grad = torch.ones_like(model.fc.weight)
    x = normal(2, 3, 32, 32)
    before, kept, everywhere = snapshot(model), x.clone(), len(modules._global_forward_hooks)
    diagnose(model, x, target=[0, 1])
    state, flags, hooks, modes = snapshot(model)
    assert all(torch.equal(state[name], value) for name, value in before[0].items())
    for (flag, gradient), (was, old) in zip(flags, before[1], strict=True):
        assert flag == was and (gradient is None) == (old is None) and (old is None or torch.equal(gradient, old))
    assert hooks == before[2] and modes == before[3] and torch.equal(x, kept) and x.grad is None
    assert len(modules._global_forward_hooks) == everywhere and len(modules._global_forward_pre_hooks) == 0


def test_hooks_are_removed_where_a_model_fails():
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.calls = nn.Linear(2, 2), 0

        def forward(self, x):
            self.calls += 1
            if self.calls > 4:
                raise RuntimeError("no more")
            return self.a(x)

    before = len(modules._global_forward_hooks), len(modules._global_forward_pre_hooks)
    with pytest.raises((RuntimeError, ValueError)):
        diagnose(Fails(), normal(3, 2))
    assert (len(modules._global_forward_hooks), len(modules._global_forward_pre_hooks)) == before


def test_frozen_parameters_and_whole_numbers():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).requires_grad_(False)
    assert all(layer.gradient > 0 for layer in diagnose(net, normal(4, 3)).layers)
    words = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 5), nn.Tanh(), nn.Linear(5, 2))
    report = diagnose(words, torch.tensor([[1, 2, 3], [4, 5, 6], [7, 8, 0]]))
    assert report.spectrum is None and any("integers" in note for note in report.notes)
    assert math.isnan(report.q_input) and report.layers[0].kind == "embedding" and report.rates is not None


def test_inputs_beyond_the_memory_are_left_out_and_said():
    net = nn.Sequential(nn.Linear(100, 100), nn.Tanh(), nn.Linear(100, 2))
    report = diagnose(net, normal(20, 100), memory=5000)
    assert any("exceed the memory" in note for note in report.notes) and report.inputs == 20
    assert report.rates.batch == pytest.approx(diagnose(net, normal(20, 100)).rates.batch, rel=1e-3)


def test_one_input_and_one_layer():
    report = diagnose(nn.Linear(3, 2), normal(1, 3))
    assert math.isnan(report.layers[0].correlation) and report.signal is None and len(report.notes) >= 2
    assert report.rates.batch == report.rates.one


def test_bad_arguments():
    net, x = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5)), normal(4, 3)
    with pytest.raises(ValueError, match="training mode"):
        diagnose(net, x)
    net.eval()
    with pytest.raises(ValueError, match="parameters"):
        diagnose(nn.Tanh(), x)
    with pytest.raises(ValueError, match="target of shape"):
        diagnose(net, x, target=[[1.0]])
    with pytest.raises(ValueError, match="classes from 0 to 1"):
        diagnose(net, x, target=[0, 1, 2, 1])
    with pytest.raises(ValueError, match="learning_rate"):
        diagnose(net, x, learning_rate=-1.0)
    with pytest.raises(ValueError, match="x of shape"):
        diagnose(net, torch.full((4, 3), torch.nan))


def test_inference_tensors_and_modes():
    with torch.inference_mode():
        net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
        inside = diagnose(net, normal(4, 3))
    outside = diagnose(copy.deepcopy(net), normal(4, 3))
    assert inside.layers == outside.layers or [a.q for a in inside.layers] == [a.q for a in outside.layers]
    with torch.no_grad():
        assert diagnose(net, normal(4, 3)).layers[0].gradient > 0


def test_what_a_branch_normalises_stays_on_the_main_way():
    class Pre(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm, self.inner, self.last = (
                nn.Linear(6, 6),
                nn.LayerNorm(6),
                nn.Linear(6, 6),
                nn.Linear(6, 2),
            )

        def forward(self, x):
            x = self.first(x)
            return self.last(x + self.inner(self.norm(x)))

    main = [layer.name for layer in diagnose(Pre(), normal(4, 6)).layers if layer.on_main]
    assert main == ["first", "sum", "last"]
