"""Shallow ensembles: gradients against autograd; the same as torch modules trained alone; seeds; bad input."""

import math

import numpy as np
import pytest
import torch
from deepdynamics import activations
from deepdynamics.ensembles import ShallowEnsemble, shallow
from deepdynamics.ridgelet import output_weights
from torch import nn

F64 = torch.float64
X = torch.linspace(-1, 1, 41, dtype=F64)
Y = torch.sin(2 * math.pi * X)
FIT = {"steps": 30, "learning_rate": 0.05, "seed": 3}


class Alone(nn.Module):
    """Σ c φ(ax - b) as anybody would write it."""

    def __init__(self, a, b, c, phi):
        super().__init__()
        self.a, self.b, self.c = (nn.Parameter(part.clone()) for part in (a, b, c))
        self.phi = phi

    def forward(self, x):
        return self.phi(x[:, None] * self.a - self.b) @ self.c


def train_alone(net, x, y, steps, rate, decay):
    optimiser = torch.optim.Adam(net.parameters(), rate)
    losses = []
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = rate * (0.2 if step >= 0.6 * steps else 1)
        error = (net(x) - y).square().mean()
        losses.append(error.item())
        optimiser.zero_grad()
        (error + decay * net.c.square().sum()).backward()
        optimiser.step()
    return torch.tensor(losses, dtype=y.dtype)


# tanh, relu and sigmoid are overwritten in place; the others go the general way, modules and callables too.
ACTIVATIONS = [
    "tanh",
    "relu",
    "sigmoid",
    "erf",
    "gelu",
    "sin",
    "gaussian",
    nn.Tanh(),
    nn.Softsign(),
    torch.cos,
    "hardtanh",
    "mish",
]


@pytest.mark.parametrize(
    "activation",
    ACTIVATIONS,
    ids=lambda phi: phi if isinstance(phi, str) else getattr(phi, "__name__", type(phi).__name__),
)
@pytest.mark.parametrize("decay", [0.0, 0.02])
def test_gradients_are_those_of_autograd(activation, decay, monkeypatch):
    found = []
    monkeypatch.setattr(shallow.Adam, "__call__", lambda self, gradient: found.append(gradient.clone()))
    ensemble = ShallowEnsemble(3, 4, activation, dtype=F64)
    targets = torch.stack([Y, -Y, Y.square()])
    ensemble.fit(X, targets, steps=1, learning_rate=0.1, seed=5, box=4.0, weight_decay=decay)
    phi = activations.get(activation)
    for k, parts in enumerate(zip(*ensemble.draw(5, 4.0), strict=True)):
        net = Alone(*parts, phi)
        ((net(X) - targets[k]).square().mean() + decay * net.c.square().sum()).backward()
        expected = torch.stack([net.a.grad, net.b.grad, net.c.grad])
        torch.testing.assert_close(found[0][k], expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("activation", ["tanh", "relu", "softplus"])
@pytest.mark.parametrize(("dtype", "bound"), [(F64, 1e-9), (torch.float32, 2e-3)])
def test_a_network_of_the_batch_is_a_module_trained_alone(activation, dtype, bound):
    rates, decays, boxes = [0.05, 0.01, 0.02], [0.0, 1e-2, 1e-3], [15.0, 1.0, 4.0]
    ensemble = ShallowEnsemble(3, 5, activation, dtype=dtype)
    x, y = X.to(dtype), Y.to(dtype)
    nets = ensemble.fit(x, y, steps=40, learning_rate=rates, weight_decay=decays, box=boxes, seed=[7, 8, 9])
    for k, parts in enumerate(zip(*ensemble.draw([7, 8, 9], boxes), strict=True)):
        net = Alone(*parts, activations.get(activation))
        history = train_alone(net, x, y, 40, rates[k], decays[k])
        # The same arithmetic in another order; Adam divides by gradients that nearly vanish.
        torch.testing.assert_close(nets.history[:, k], history, rtol=bound, atol=bound)
        for own, other in zip((nets.a[k], nets.b[k], nets.c[k]), net.parameters(), strict=True):
            torch.testing.assert_close(own, other.detach(), rtol=10 * bound, atol=10 * bound)
        torch.testing.assert_close(nets(x)[k], net(x).detach(), rtol=10 * bound, atol=10 * bound)
        assert nets.losses[k] == pytest.approx((net(x) - y).square().mean().item(), rel=20 * bound, abs=bound**2)


def test_a_step_has_no_slope():
    nets = ShallowEnsemble(2, 3, "step").fit(X, Y, **FIT)
    a, b, _ = ShallowEnsemble(2, 3, "step").draw(3)
    assert torch.equal(nets.a, a) and torch.equal(nets.b, b) and (nets.losses <= nets.history[0]).all()


def test_what_a_network_becomes_does_not_depend_on_those_beside_it(monkeypatch):
    seeds = list(range(7))
    together = ShallowEnsemble(7, 5, "tanh", dtype=F64).fit(X, Y, steps=20, learning_rate=0.05, seed=seeds)
    alone = ShallowEnsemble(1, 5, "tanh", dtype=F64).fit(X, Y, steps=20, learning_rate=0.05, seed=[4])
    monkeypatch.setattr(shallow, "_HIDDEN", 2 * 5 * len(X))  # blocks of two, the last of one
    blocks = ShallowEnsemble(7, 5, "tanh", dtype=F64).fit(X, Y, steps=20, learning_rate=0.05, seed=seeds)
    for whole, one, parts in zip(together, alone, blocks, strict=True):
        torch.testing.assert_close(whole[4], one[0], rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(whole, parts, rtol=1e-9, atol=1e-11)


def test_seeds_and_the_start():
    ensemble = ShallowEnsemble(2000, 5, "tanh", dtype=F64)
    a, b, c = ensemble.draw(0, 3.0)
    assert (a.abs() <= 3).all() and (b.abs() <= 3).all()
    for part, variance in ((a, 3.0), (b, 3.0), (c, 0.2)):
        # variance of U[-3, 3] is 3, of c 1/5: 10,000 numbers, five standard errors
        assert part.mean().abs() < 5 * math.sqrt(variance / 1e4)
        assert part.var().item() == pytest.approx(variance, rel=0.08)
    assert torch.equal(a, ensemble.draw(0, 3.0)[0]) and not torch.equal(a, ensemble.draw(1, 3.0)[0])
    state = torch.get_rng_state()
    first, again = (ShallowEnsemble(3, 4, "relu").fit(X, Y, **FIT) for _ in range(2))
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    from_start = ShallowEnsemble(3, 4, "relu").fit(X, Y, **(FIT | {"start": ShallowEnsemble(3, 4, "relu").draw(3)}))
    assert torch.equal(from_start.c, first.c)


def test_kinds_of_input():
    lists = ShallowEnsemble(2, 3, "tanh").fit(X.tolist(), Y.tolist(), **FIT)
    arrays = ShallowEnsemble(2, 3, "tanh").fit(X.numpy()[::-1], Y.numpy()[::-1], **FIT)
    for one, two in zip(lists, arrays, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, two, rtol=2e-3, atol=2e-3)
    a, b, c, losses = lists
    assert a.shape == b.shape == c.shape == (2, 3) and losses.shape == (2,)
    assert lists.history.shape == (30, 2) and (losses < lists.history[0]).all()


def test_it_learns():
    x = np.linspace(-1, 1, 201)
    nets = ShallowEnsemble(50, 10, "tanh").fit(x, np.sin(2 * np.pi * x), steps=1200, learning_rate=0.05, seed=0)
    assert nets.losses.median() < 2e-3


def test_training_ends_at_the_output_weights_of_its_own_units():
    x = np.linspace(-1, 1, 51)
    nets = ShallowEnsemble(5, 3, "tanh", dtype=F64).fit(
        x, np.sin(2 * x), steps=6000, learning_rate=0.02, seed=0, box=2.0, weight_decay=0.01
    )
    c = output_weights(x, np.sin(2 * x), "tanh", nets.a, nets.b, decay=0.01)
    torch.testing.assert_close(nets.c, torch.from_numpy(c), rtol=2e-2, atol=2e-3)


BAD = [
    ({"x": np.zeros((3, 1)), "y": np.zeros(3)}, "x of shape"),
    ({"x": [], "y": []}, "x of shape"),
    ({"y": np.zeros(5)}, "y of shape"),
    ({"x": [0.0, math.nan], "y": [0.0, 0.0]}, "x = nan"),
    ({"x": [0.0, 1.0], "y": [0.0, math.inf]}, "y = inf"),
    ({"steps": 0}, "steps = 0"),
    ({"learning_rate": -1.0}, "learning_rate = -1"),
    ({"learning_rate": [0.1] * 3}, "learning_rate has 3 values"),
    ({"weight_decay": -1.0}, "weight_decay = -1"),
    ({"box": 0.0}, "box = 0"),
    ({"start": (np.zeros((2, 4)), np.zeros((2, 4)))}, r"start: \(a, b, c\)"),
    ({"start": (np.zeros((2, 4)), np.zeros((2, 4)), np.zeros((2, 3)))}, "c of shape"),
]


@pytest.mark.parametrize(("bad", "words"), BAD)
def test_bad_arguments_are_named(bad, words):
    with pytest.raises(ValueError, match=words):
        ShallowEnsemble(2, 4, "tanh").fit(**({"x": X, "y": Y} | FIT | bad))


def test_bad_ensembles():
    for bad, words in (((0, 3, "tanh"), "count = 0"), ((2, 2.5, "tanh"), "units = 2.5"), ((2, 3, "tan"), "'tan'")):
        with pytest.raises(ValueError, match=words):
            ShallowEnsemble(*bad)
    with pytest.raises(ValueError, match="dtype"):
        ShallowEnsemble(2, 3, "tanh", dtype=torch.int64)
