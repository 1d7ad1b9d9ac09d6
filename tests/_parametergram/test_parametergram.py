"""J Jᵀ over parameters beside dense Jacobians, row by row from plain autograd, for every kind of network."""

import gc

import pytest
import torch
from architecture_zoo import ZOO, Function, network
from deepdynamics._parametergram import Factors, Rows, layer_jacobians, parameter_gram
from deepdynamics._parametergram.blocks import by_autograd, parts, planned
from deepdynamics._parametergram.model import graph_bytes, opened
from deepdynamics.networks import CNN, MLP
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

DOUBLE = dict(dtype=torch.float64)


def dense(f, model, X):
    """The Jacobian (n C, P), each row by a backward pass of its own; f takes one sample."""
    parameters = [p for p in model.parameters() if p.is_floating_point()]
    before = [p.requires_grad for p in parameters]
    rows = []
    for p in parameters:
        p.requires_grad_()
    for x in X:
        for value in f(x).flatten():
            found = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
            pairs = zip(parameters, found, strict=True)
            rows.append(torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in pairs]))
    for p, was in zip(parameters, before, strict=True):
        p.requires_grad_(was)
    return torch.stack(rows)


def one(model):
    """The model on one sample of a batch."""
    return lambda x: model(x[None])[0]


def near(found, truth, eps=1e-13):
    """To rounding in float64: a few hundred eps of the largest entries."""
    return found.shape == truth.shape and (found - truth).norm() <= eps * truth.norm()


def draw(*shape, seed=0, **options):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), **(DOUBLE | options))


UNBATCHED = {  # which take (time, features) or (tokens, width) and would mix samples, or refuse them
    *(name for name in ZOO if any(word in name for word in ("RNN", "GRU", "recurrence", "decoder"))),
    *("LSTM", "LSTM, bidirectional", "attention", "attention, causal", "bilinear, einsum, cumulative", "sorting"),
}


@pytest.mark.parametrize("name", ZOO)
def test_any_network(name):
    model, x = network(name, torch.float64)
    X = torch.stack([x, draw(*x.shape, seed=1), draw(*x.shape, seed=2)])
    J = dense(model if name in UNBATCHED else one(model), model, X)
    assert near(parameter_gram(model, X).gram, J @ J.T)
    assert near(parameter_gram(model, X[:2], X[2:], memory=1).gram, J[: 2 * len(J) // 3] @ J[2 * len(J) // 3 :].T)
    assert near(parameter_gram(model, X[:1]).gram, (J @ J.T)[: len(J) // 3, : len(J) // 3])


@pytest.mark.parametrize("name", ["convolution, 2d", "batch norm", "vision transformer"])
def test_single_precision(name):
    model, x = network(name, torch.float32)
    X = torch.stack([x, draw(*x.shape, seed=1).float()])
    J = dense(one(model.double()), model, X.double())
    found = parameter_gram(model.float(), X).gram
    assert found.dtype == torch.float32
    assert near(found.double(), J @ J.T, 2e-6)  # 16 roundings; the model's own evaluation has as many


WIDTHS = st.lists(st.integers(1, 7), min_size=2, max_size=5)


@given(WIDTHS, st.sampled_from(["standard", "ntk"]), st.integers(1, 6), st.floats(1, 1e5))
def test_perceptrons_and_blocks(widths, parametrisation, n, memory):
    model = MLP(
        widths, "tanh", weight_var=1.5, bias_var=0.3, parametrisation=parametrisation, seed=n, dtype=torch.float64
    )
    X = draw(n, widths[0])
    J = dense(model, model, X)
    found = parameter_gram(model, X, memory=memory)
    assert near(found.gram, J @ J.T)
    assert torch.equal(found.gram, found.gram.T)
    assert set(found.ways.values()) == {"factors"}


def test_closed_form_of_a_linear_map():
    X, Y = draw(5, 4), draw(3, 4, seed=1)
    model = nn.Linear(4, 2).double()
    truth = torch.kron(X @ Y.T + 1, torch.eye(2, **DOUBLE))  # row 2 n + k
    assert near(parameter_gram(model, X, Y).gram, truth)


def small_cnn():
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3, 2), nn.ReLU(), nn.Flatten(),
        nn.Linear(8 * 9, 3),
    )  # fmt: skip


@pytest.mark.parametrize("memory", [1, 2e4, 1e5, 1e9])
def test_blocks_change_nothing(memory):
    model, X = small_cnn().double().eval(), draw(7, 2, 8, 8)
    J = dense(one(model), model, X)
    assert near(parameter_gram(model, X, memory=memory).gram, J @ J.T)
    assert near(parameter_gram(model, X[:4], X[4:], memory=memory).gram, J[:12] @ J[12:].T)


class Held(TorchDispatchMode):
    """The bytes of all tensors that were made within and are alive, at most."""

    def __init__(self):
        super().__init__()
        self.alive, self.most = {}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for each in tree_leaves(made):
            if isinstance(each, torch.Tensor):
                storage = each.untyped_storage()
                self.alive.setdefault(storage._cdata, (StorageWeakRef(storage), storage.nbytes()))
        self.alive = {key: (ref, size) for key, (ref, size) in self.alive.items() if not ref.expired()}
        self.most = max(self.most, sum(size for _, size in self.alive.values()))
        return made


def squared(x, a):
    """A layer whose rule is found wrong, so that its rows come from autograd."""
    return a(x)[:, :4] + (x @ a.weight**2)[:, :4]


MEASURED = {
    "rules": (small_cnn, (60, 2, 8, 8)),
    "a rule that is rejected": (lambda: Function(squared, nn.Linear(60, 60)), (60, 60)),
    "no rule": (lambda: nn.Sequential(nn.ConvTranspose2d(2, 8, 5), nn.Flatten(), nn.Linear(1152, 5)), (60, 2, 8, 8)),
    "many signals": (lambda: nn.Sequential(nn.Linear(20, 400), nn.Tanh(), nn.Linear(400, 30)), (10, 20)),
}


@pytest.mark.parametrize("name", MEASURED)
def test_memory_bounds_what_is_alive(name):
    """With copies in passing, which are less than as much again."""
    build, shape = MEASURED[name]
    model, X, memory = build().eval(), draw(*shape).float(), 1e6
    with Held() as held:
        gram = parameter_gram(model, X, memory=memory).gram
    assert held.most - gram.nbytes < 2 * memory


@pytest.mark.parametrize("name", MEASURED)
def test_a_sample_is_planned_at_what_it_takes(name):
    """No less than the parts that are kept of it, and no more than these with an evaluation and its signals."""
    build, shape = MEASURED[name]
    model, X = build().eval(), draw(*shape).float()
    network = opened(model, X)
    for plan in (planned(network, X), by_autograd(network, X)):
        kept = sum(part.nbytes for part in parts(network, plan, X)) / len(X)
        beside = graph_bytes(network, X) / len(X)
        assert kept + beside <= plan.nbytes <= kept + 2.1 * beside + plan.row


def ways(model, X):
    return parameter_gram(model, X).ways


def test_says_which_way_each_parameter_went():
    model = nn.Sequential(nn.ConvTranspose2d(2, 3, 2), nn.PReLU(), nn.Flatten(), nn.LayerNorm(75), nn.Linear(75, 2))
    assert ways(model.eval(), torch.randn(3, 2, 4, 4)) == {
        "0.weight": "autograd",
        "0.bias": "rows",
        "1.weight": "autograd",
        "3.weight": "rows",
        "3.bias": "rows",
        "4.weight": "factors",
        "4.bias": "factors",
    }


def test_the_books_networks_have_rules():
    net = CNN((1, 8, 8), (4, 4), 3, "tanh", pool_after=(2,), hidden=(5,), parametrisation="ntk", seed=0)
    assert "autograd" not in ways(net, torch.randn(3, 1, 8, 8)).values()


class Tied(nn.Module):
    """A language model whose last matrix is its embedding."""

    def __init__(self, tied=True, **options):
        super().__init__()
        self.embedding, self.middle = nn.Embedding(11, 4, **options), nn.Linear(4, 4)
        self.tied = tied

    def forward(self, tokens):
        h = torch.tanh(self.middle(self.embedding(tokens))).mean(1)
        return h @ self.embedding.weight.T if self.tied else h


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("options", [{}, {"padding_idx": 0}])
def test_embeddings(tied, options):
    model = Tied(tied, **options).double()
    tokens = torch.tensor([[0, 1, 2], [3, 3, 1], [10, 0, 1], [5, 5, 5]])
    J = dense(one(model), model, tokens)
    found = parameter_gram(model, tokens, memory=4000)
    assert near(found.gram, J @ J.T)
    assert found.ways["embedding.weight"] == ("autograd" if options else "rows" if tied else "factors")
    assert near(parameter_gram(model, tokens.tolist()).gram, J @ J.T)


def test_padding_after_the_samples_of_the_plan():
    model = Tied(False, padding_idx=0).double()
    tokens = torch.tensor([[1, 2, 3], [3, 3, 1], [0, 1, 2]])
    J = dense(one(model), model, tokens)
    found = parameter_gram(model, tokens)
    assert near(found.gram, J @ J.T) and set(found.ways.values()) == {"autograd"}
    assert near(parameter_gram(model, tokens[:2], tokens[2:]).gram, J[:8] @ J[8:].T)
    assert near(sum(layer.gram() for layer in layer_jacobians(model, tokens)), J @ J.T)


@pytest.mark.parametrize("on", [[0], [1], [3], [2, 4]])
def test_a_layer_that_is_off_at_some_samples_has_its_rule(on):
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 0.0]]) + 0.1 * draw(3, 2))
        model[0].bias.zero_()
    X = torch.tensor([[-1.0, 0.1]], **DOUBLE).repeat(5, 1)
    X[on] *= -1 - torch.arange(len(on), **DOUBLE)[:, None]
    J = dense(model, model, X)
    found = parameter_gram(model, X)
    assert near(found.gram, J @ J.T) and set(found.ways.values()) == {"factors"}


def test_shared_layers_have_cross_terms():
    step = nn.Linear(12, 12)
    model = nn.Sequential(step, nn.Tanh(), step, nn.Tanh(), step, nn.Linear(12, 4)).double()
    X = draw(4, 12)
    J = dense(one(model), model, X)
    found = parameter_gram(model, X)
    assert near(found.gram, J @ J.T)
    assert set(found.ways.values()) == {"factors"}


def test_a_use_that_no_rule_sees_is_noticed():
    layer = nn.Linear(3, 3)
    model = Function(lambda x, a: a(x) + x @ a.weight**2, layer).double()
    X = draw(3, 3)
    J = dense(one(model), model, X)
    found = parameter_gram(model, X)
    assert near(found.gram, J @ J.T)
    assert set(found.ways.values()) == {"autograd"}


def test_a_graph_that_changes_with_the_samples_is_noticed():
    def forward(x, a):
        return a(x) if len(x) < 4 else x @ a.weight.T + a.bias

    model = Function(forward, nn.Linear(3, 2)).double()
    X = draw(6, 3)
    J = dense(one(model), model, X)
    found = parameter_gram(model, X)
    assert near(found.gram, J @ J.T)
    assert set(found.ways.values()) == {"autograd"}
    assert near(sum(layer.gram() for layer in layer_jacobians(model, X)), J @ J.T)


def test_frozen_parameters_count_and_stay_frozen():
    model = MLP((3, 4, 2), "relu", seed=0, dtype=torch.float64)
    free = parameter_gram(model, draw(3, 3)).gram
    first = next(model.parameters()).requires_grad_(False)
    assert torch.equal(parameter_gram(model, draw(3, 3)).gram, free)
    assert not first.requires_grad and all(p.grad is None for p in model.parameters())
    with torch.inference_mode():
        assert torch.equal(parameter_gram(model, draw(3, 3)).gram, free)


def test_parameters_without_effect():
    model = Function(lambda x, a: functional.relu(x @ torch.ones(3, 2, **DOUBLE)), nn.Linear(3, 3)).double()
    assert not parameter_gram(model, draw(3, 3)).gram.any()


def test_layers_add_up_and_pull():
    model, X = small_cnn().double().eval(), draw(4, 2, 8, 8)
    J = dense(one(model), model, X)
    layers = layer_jacobians(model, X)
    assert near(sum(layer.gram() for layer in layers), J @ J.T)
    assert {name for layer in layers for name in layer.names} == {name for name, _ in model.named_parameters()}
    u = draw(4, 3, seed=3)
    found = {name: g for layer in layers for name, g in layer.pulled(u).items()}
    truth = torch.autograd.grad(model(X), list(model.parameters()), u)
    for (name, p), g in zip(model.named_parameters(), truth, strict=True):
        assert found[name].shape == p.shape and near(found[name], g, 1e-12)


def test_factors_are_activations_and_signals_of_each_sample():
    """Not those of a mean over samples, which are smaller by the number of samples."""
    model, X = MLP((3, 6, 2), "tanh", bias_var=0.1, seed=0, dtype=torch.float64), draw(5, 3)
    first, last = layer_jacobians(model, X)
    assert isinstance(first.part, Factors) and first.names == ("stack.0.weight", "stack.0.bias")
    ones = torch.ones(5, 1, **DOUBLE)
    hidden = model.layers[0](X).detach()
    W = model.layers[1].weight.detach()
    assert near(first.part.inputs[:, 0], torch.cat((X, ones), 1))
    assert near(first.part.signals[:, :, 0], W * (1 - hidden**2)[:, None])
    assert near(last.part.inputs[:, 0], torch.cat((hidden, ones), 1))
    assert near(last.part.signals[:, :, 0], torch.eye(2, **DOUBLE).expand(5, 2, 2))


def test_rows_where_there_are_no_factors():
    (layer,) = layer_jacobians(nn.PReLU(), [[-1.0], [2.0]])
    assert isinstance(layer.part, Rows) and layer.way == "autograd"
    assert layer.part.values.flatten().tolist() == [-1.0, 0.0]


MIXED = Function(lambda x, a: a(x) - a(x).mean(0), nn.Linear(3, 2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5)), torch.ones(2, 3)), r"call .eval\(\)"),
        ((nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), torch.ones(2, 3)), r"call .eval\(\)"),
        ((torch.tanh, torch.ones(2, 3)), "model = "),
        ((nn.Tanh(), torch.ones(2, 3)), "model = Tanh"),
        ((nn.Linear(3, 2), torch.ones(0, 3)), "X of shape"),
        ((nn.Linear(3, 2), torch.full((1, 3), torch.inf)), "X of shape"),
        ((nn.Linear(3, 2), torch.ones(2, 4)), "x of shape"),
        ((nn.Linear(3, 2), torch.ones(2, 3), torch.ones(2, 4)), "Y of shape"),
        ((nn.Embedding(3, 2), torch.ones(2, 3)), "x of shape"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        parameter_gram(*arguments)


def test_memory_must_be_positive():
    with pytest.raises(ValueError, match="memory = 0"):
        parameter_gram(nn.Linear(3, 2), torch.ones(2, 3), memory=0)


def test_what_autograd_recorded_is_freed():
    """No tensor of a graph outlives a call: scaled weights are saved by the nodes that made them."""
    model = MLP((30, 40, 40, 1), "relu", weight_var=2.0, bias_var=0.1, parametrisation="ntk", seed=0)
    X = torch.ones(3, 30)

    def alive():
        gc.collect()
        return sum(isinstance(each, torch.Tensor) for each in gc.get_objects())

    parameter_gram(model, X)
    before = alive()
    for _ in range(5):
        parameter_gram(model, X)
    assert alive() <= before
