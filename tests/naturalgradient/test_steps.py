"""Steps against metrics (P, P) written out, on networks small enough for them."""

import copy
import itertools

import numpy as np
import pytest
import torch
from deepdynamics import ntk
from deepdynamics.naturalgradient import NaturalGradient, isotropy
from deepdynamics.networks import MLP
from torch import nn

# The metrics as matrices, from autograd's gradients of each sample and output ---------------------------------------
KINDS = ("exact", "layerwise", "tridiagonal", "kfac", "unitwise")


def gradients(model, X):
    """Rows (N·C, P) of the Jacobian, and the name of the parameter of each column."""
    parameters = dict(model.named_parameters())
    outputs = model(X).flatten(1)
    rows = [
        torch.cat([g.flatten() for g in torch.autograd.grad(f, list(parameters.values()), retain_graph=True)])
        for f in outputs.flatten()
    ]
    names = [name for name, p in parameters.items() for _ in range(p.numel())]
    return torch.stack(rows).detach(), names


def modules(names):
    return [name.rpartition(".")[0] for name in names]


def metric(kind, model, X):
    """G (P, P); "kfac" and "unitwise" of an MLP of linear layers with biases."""
    J, names = gradients(model, X)
    own = modules(names)
    order = list(dict.fromkeys(own))
    place = torch.tensor([order.index(name) for name in own])
    G = J.T @ J / len(X)
    if kind == "kfac":
        return kronecker(model, X, J, own, order)
    if kind == "unitwise":
        units = torch.cat([unit_of(p) for p in model.parameters()])
        return G * ((place[:, None] == place) & (units[:, None] == units))
    reach = {"exact": len(order), "layerwise": 0, "tridiagonal": 1}[kind]
    return G * ((place[:, None] - place).abs() <= reach)


def unit_of(p):
    return torch.arange(len(p)).repeat_interleave(p[0].numel())


def kronecker(model, X, J, own, order):
    """From inputs that hooks have seen, and the gradients of single samples by the biases, which are the signals."""
    inputs, handles = {}, []
    for name, module in model.named_modules():
        if name in order:
            see = lambda _, args, __, name=name: inputs.update({name: args[0]})  # noqa: E731
            handles.append(module.register_forward_hook(see))
    with torch.no_grad():
        model(X)
    for handle in handles:
        handle.remove()
    G = torch.zeros(J.shape[1], J.shape[1], dtype=J.dtype)
    for name in order:
        columns = torch.tensor([i for i, each in enumerate(own) if each == name])
        a = torch.cat([inputs[name], torch.ones(len(X), 1, dtype=X.dtype)], 1)
        o = model.get_submodule(name).bias.numel()
        b = J[:, columns[-o:]]
        A, B = a.T @ a / len(X), b.T @ b / len(X)
        i = a.shape[1] - 1
        pairs = [*itertools.product(range(o), range(i)), *((unit, i) for unit in range(o))]  # weight, then bias
        rows, entries = (torch.tensor(each) for each in zip(*pairs, strict=True))
        G[columns[:, None], columns] = B[rows[:, None], rows] * A[entries[:, None], entries]
    return G


def direction(kind, model, X, y, damping):
    """(G + ρ)⁻¹ ∇E, (P,), of Σ‖f - y‖²/(2N)."""
    J, _ = gradients(model, X)
    gradient = J.T @ (model(X).detach() - y).flatten() / len(X)
    G = metric(kind, model, X)
    if damping:
        return torch.linalg.solve(G + damping * torch.eye(len(G), dtype=G.dtype), gradient)
    return torch.linalg.pinv(G, hermitian=True, rtol=1e-12) @ gradient


def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


# Networks ------------------------------------------------------------------------------------------------------------
def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def perceptron(*widths, activation=nn.Tanh, seed=0):
    torch.manual_seed(seed)
    layers = []
    for n_in, n_out in itertools.pairwise(widths):
        layers += [nn.Linear(n_in, n_out), activation()]
    return nn.Sequential(*layers[:-1]).double()


def moved(kind, damping, model, X, y, rate=0.1):
    """The change of the parameters over -rate."""
    stepped = NaturalGradient(kind, damping).step(copy.deepcopy(model), X, y, rate)
    return (flat(model) - flat(stepped)) / rate


class Attention(nn.Module):
    """Words, attention and a convolution, normalised; the head shares the embedding's weight."""

    def __init__(self):
        super().__init__()
        self.words, self.attention = nn.Embedding(5, 4), nn.MultiheadAttention(4, 2, batch_first=True)
        self.convolution, self.norm = nn.Conv1d(4, 3, 2), nn.BatchNorm1d(3)
        self.head = nn.Linear(4, 2, bias=False)

    def forward(self, words):
        x = self.words(words)
        x = self.attention(x, x, x, need_weights=False)[0]
        x = self.norm(self.convolution(x.mT)).mean(2)
        return self.head(torch.cat([x, x[:, :1] ** 2], 1))


# Dense metrics -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damping", [0.0, 1e-3, 1.0])
@pytest.mark.parametrize("widths", [(5, 6, 6, 1), (5, 6, 4, 4, 2)])
def test_wide_networks_move_as_the_matrix_says(kind, damping, widths):
    model, X, y = perceptron(*widths), draw(4, 5), draw(4, widths[-1], seed=1)
    expected = direction(kind, model, X, y, damping)
    tolerance = 1e-6 if damping == 0 else 1e-9  # the pseudo-inverse of G has the square of J's condition
    torch.testing.assert_close(moved(kind, damping, model, X, y), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damping", [0.0, 1e-2])
def test_narrow_networks_on_many_samples(kind, damping):
    """N·C = 60 rows of rank at most P = 26: every Gram matrix is singular."""
    model, X, y = perceptron(3, 3, 2, 2), draw(30, 3), draw(30, 2, seed=1)
    expected = direction(kind, model, X, y, damping)
    torch.testing.assert_close(moved(kind, damping, model, X, y), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["exact", "layerwise", "tridiagonal"])
@pytest.mark.parametrize("damping", [0.0, 1e-2])
def test_any_network(kind, damping):
    torch.manual_seed(0)
    model = Attention().double().eval()
    words, y = torch.tensor([[0, 1, 2], [3, 3, 1], [4, 0, 2]]), draw(3, 2)
    expected = direction(kind, model, words, y, damping)
    torch.testing.assert_close(moved(kind, damping, model, words, y), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["kfac", "unitwise"])
def test_layers_without_the_structure_are_named(kind):
    model = Attention().double().eval()
    with pytest.raises(ValueError, match=f"kind = '{kind}': the parameters words.weight are no weight matrix"):
        NaturalGradient(kind).step(model, torch.tensor([[0, 1, 2]]), torch.zeros(1, 2), 0.1)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).double().eval()
    with pytest.raises(ValueError, match=r"1\.weight, 1\.bias are no weight matrix"):
        NaturalGradient(kind).step(model, draw(2, 3), draw(2, 1), 0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_directions_and_linearised_outputs(kind):
    """The direction is a step's, and the outputs at new points move with its derivative; the model does not."""
    model, X, y, new = perceptron(5, 6, 6, 2), draw(4, 5), draw(4, 2, seed=1), draw(7, 5, seed=2)
    before, method = flat(model), NaturalGradient(kind, 1e-2)
    found = method.direction(model, X, y)
    flattened = torch.cat([found[name].flatten() for name, _ in model.named_parameters()])
    torch.testing.assert_close(flattened, direction(kind, model, X, y, 1e-2), rtol=1e-9, atol=1e-9)
    J, _ = gradients(model, new)
    with torch.no_grad():
        expected = model(new) - 0.3 * (J @ flattened).view(7, 2)
    torch.testing.assert_close(method.linearised(model, X, y, new, 0.3), expected, rtol=1e-9, atol=1e-9)
    assert (flat(model) == before).all()


def test_linearised_outputs_of_the_exact_metric_are_kernel_regression():
    model, X, y, new = perceptron(5, 40, 1), draw(4, 5), draw(4, 1, seed=1), draw(7, 5, seed=2)
    f, f_new = (model(each).detach() for each in (X, new))
    expected = ntk.kernel_prediction(ntk.empirical(model, new, X), ntk.empirical(model, X), y, f, f_new)
    found = NaturalGradient("exact").linearised(model, X, y, new, 1.0)
    np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_linearised_outputs_of_a_network_that_takes_one_sample():
    class One(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(draw(3))

        def forward(self, x):
            assert x.ndim == 1
            return (self.weight * x).sum()

    X, y = draw(2, 3), draw(2, 1, seed=1)
    torch.testing.assert_close(NaturalGradient("exact").linearised(One(), X, y, X, 1.0), y)


def test_ntk_parametrisation():
    """The factors √(weight_var/n) and √bias_var of the library's layers scale inputs and the 1 of the bias."""
    model = MLP((3, 5, 1), "tanh", weight_var=1.5, bias_var=0.3, parametrisation="ntk", seed=0, dtype=torch.float64)
    X, y = draw(3, 3), draw(3, 1, seed=1)
    for kind in ("exact", "layerwise", "tridiagonal", "unitwise"):
        expected = direction(kind, model, X, y, 0.1)
        torch.testing.assert_close(moved(kind, 0.1, model, X, y), expected, rtol=1e-9, atol=1e-9)


# Training ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["exact", "layerwise", "tridiagonal", "kfac"])
def test_wide_networks_share_one_trajectory(kind):
    """ReLU, M = 1024: (1 - αη)^4 at η = ½/α, with corrections that fall with the width (0.063 to 0.068)."""
    net = MLP((24, 1024, 1024, 1), "relu", weight_var=2.0, seed=0, dtype=torch.float64)
    X, y = draw(8, 24), draw(8, 1, seed=1)
    with torch.no_grad():
        first = (net(X) - y).norm()
        for _ in range(4):
            NaturalGradient(kind).step(net, X, y, 0.5 / isotropy(kind, 3, 1024, 8, "relu"))
        assert float((net(X) - y).norm() / first) == pytest.approx(0.0625, abs=0.007)


def test_one_step_for_linear_models_is_least_squares():
    model, X, y = nn.Linear(3, 1).double(), draw(10, 3), draw(10, seed=1)
    NaturalGradient("exact").step(model, X, y, 1.0)
    solution = np.linalg.lstsq(np.c_[X, np.ones(10)], y, rcond=None)[0]
    np.testing.assert_allclose(flat(model), solution, rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_twice_units_that_are_off_and_no_error(kind):
    """Nothing is NaN without damping: a Gram matrix of rank 3 of 6, a layer whose signals are 0, an error of 0."""
    model = perceptron(4, 6, 6, 1, activation=nn.ReLU)
    with torch.no_grad():
        model[0].weight.abs_()
        model[0].bias.fill_(-100.0)  # no unit is active
    X = draw(3, 4)
    X, y = torch.cat([X, X]), draw(6, 1, seed=1)
    for network in (model, perceptron(4, 6, 6, 1)):
        stepped = NaturalGradient(kind).step(network, X, y, 0.1)
        assert stepped is network and torch.isfinite(flat(network)).all()
        before = flat(network)
        NaturalGradient(kind).step(network, X, network(X).detach(), 0.1)
        torch.testing.assert_close(flat(network), before, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["kfac", "unitwise"])
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [1, 0, 2, 3], [3, 2, 1, 0], [1, 2, 3, 0]])
def test_the_order_of_samples_does_not_matter(kind, order):
    """A layer that is on at the first of four samples only."""
    model, X, y = perceptron(2, 3, 1, activation=nn.ReLU), -draw(4, 2).abs(), draw(4, 1, seed=1)
    X[0] *= -1
    with torch.no_grad():
        model[0].weight.abs_()
        model[0].bias.zero_()
    expected = direction(kind, model, X, y, 0.1)
    torch.testing.assert_close(moved(kind, 0.1, model, X[order], y[order]), expected, rtol=1e-9, atol=1e-12)


def test_large_damping_is_gradient_descent():
    model, X, y = perceptron(3, 5, 2), draw(4, 3), draw(4, 2, seed=1)
    (((model(X) - y) ** 2).sum() / 8).backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
    for kind in KINDS:
        torch.testing.assert_close(moved(kind, 1e8, model, X, y) * 1e8, gradient, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_float32_networks_stay_what_they_are(kind):
    model, X, y = perceptron(10, 30, 30, 1), draw(6, 10), draw(6, 1, seed=1)
    wide = NaturalGradient(kind, 0.01).step(copy.deepcopy(model), X, y, 0.05)
    narrow = NaturalGradient(kind, 0.01).step(copy.deepcopy(model).float(), X.float(), y.float(), 0.05)
    assert all(p.dtype == torch.float32 for p in narrow.parameters())
    torch.testing.assert_close(flat(narrow).double(), flat(wide), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_frozen_layers_stay(kind):
    """The rest moves as if the frozen layer were a fixed map."""
    X, y = draw(4, 3), draw(4, 1, seed=1)
    model = perceptron(3, 5, 5, 1)
    model[0].requires_grad_(False)
    alone = nn.Sequential(*copy.deepcopy(model)[1:])
    with torch.no_grad():
        hidden = model[0](X)
    NaturalGradient(kind, 0.1).step(model, X, y, 0.1)
    NaturalGradient(kind, 0.1).step(alone, hidden, y, 0.1)
    torch.testing.assert_close(flat(model[1:]), flat(alone), rtol=1e-9, atol=1e-12)
    assert not model[0].weight.requires_grad and model[2].weight.requires_grad


# Refusals ------------------------------------------------------------------------------------------------------------
def half_frozen():
    model = perceptron(3, 2, 1)
    model[0].bias.requires_grad_(False)
    return model


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: NaturalGradient("diagonal"), "kind = 'diagonal'"),
        (lambda: NaturalGradient("exact", -1.0), "damping"),
        (lambda: NaturalGradient("exact").step(perceptron(3, 1), draw(2, 3), draw(2, 2), 0.1), "y of shape"),
        (lambda: NaturalGradient("exact").step(perceptron(3, 2), draw(2, 3), draw(2), 0.1), "y of shape"),
        (lambda: NaturalGradient("exact").step(perceptron(3, 1), draw(2, 3), draw(2), 0.0), "learning_rate"),
        (lambda: NaturalGradient("layerwise").step(half_frozen(), draw(2, 3), draw(2), 0.1), "both or neither"),
        (
            lambda: NaturalGradient("exact").step(perceptron(3, 1).requires_grad_(False), draw(2, 3), draw(2), 0.1),
            "requires_grad",
        ),
        (
            lambda: NaturalGradient("exact").step(
                nn.Sequential(nn.Linear(3, 1), nn.Dropout()).double(), draw(2, 3), 0.0, 0.1
            ),
            "training mode",
        ),
    ],
)
def test_what_is_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()
