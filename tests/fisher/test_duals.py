"""The dual beside the Fisher information written out, and its leading eigenvalue without a matrix."""

import pytest
import torch
from architecture_zoo import Function, network
from deepdynamics.fisher import conditional_dual, dual, lambda_max, online_learning_rate_bound
from deepdynamics.networks import MLP
from torch import nn
from torch.func import functional_call, jacrev

DOUBLE = dict(dtype=torch.float64)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), **DOUBLE)


def fisher(model, X, loss, mean_subtracted):
    """F (P, P) as its definition says, by torch.func."""
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def outputs(parameters):
        found = functional_call(model, parameters, (X,)).flatten(1)
        return found - found.mean(0) if mean_subtracted else found

    J = torch.cat([rows.flatten(2) for rows in jacrev(outputs)(parameters).values()], 2)
    g = torch.softmax(outputs(parameters), 1)
    Q = torch.diag_embed(g) - g[:, :, None] * g[:, None] if loss == "cross_entropy" else torch.eye(g.shape[1], **DOUBLE)
    return torch.einsum("tkp,tkl,tlq->pq", J, Q.expand(len(X), -1, -1), J) / len(X)


MODELS = {
    "perceptron": (lambda: MLP((4, 6, 3), "tanh", weight_var=2, bias_var=0.1, seed=0, dtype=torch.float64), (4,)),
    "convolutional": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3)
        ).double(),
        (1, 4, 4),
    ),
}


@pytest.mark.parametrize("mean_subtracted", [False, True])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("name", MODELS)
def test_spectrum_is_that_of_the_fisher_information(name, loss, mean_subtracted):
    build, shape = MODELS[name]
    model, X = build().eval(), draw(7, *shape)
    F = fisher(model, X, loss, mean_subtracted)
    found = dual(model, X, loss, mean_subtracted, memory=2e4)
    assert found.shape == (21, 21) and torch.allclose(found, found.T, rtol=0, atol=1e-15)
    values = torch.linalg.eigvalsh(F).flip(0)
    truth = values[:21] if len(values) >= 21 else torch.cat((values, values.new_zeros(21 - len(values))))
    assert torch.allclose(torch.linalg.eigvalsh(found).flip(0), truth, rtol=0, atol=1e-13 * float(values[0]))
    top = lambda_max(model, X, loss, mean_subtracted, tol=1e-10)
    assert top.value == pytest.approx(float(values[0]), rel=1e-10) and top.residual < 1e-9


def test_a_mean_over_samples_and_a_sum_over_outputs():
    """Twice the same samples change nothing; twice the same output doubles the trace."""
    X, net = draw(5, 4), MLP((4, 6, 2), "relu", seed=0, dtype=torch.float64)
    once, twice = dual(net, X), dual(net, torch.cat((X, X)))
    assert torch.allclose(torch.linalg.eigvalsh(twice)[-10:], torch.linalg.eigvalsh(once), rtol=0, atol=1e-12)
    model = nn.Sequential(net, nn.Linear(2, 4, bias=False).double())
    model[1].weight.data = torch.eye(2, **DOUBLE).repeat(2, 1)
    inner = [p for name, p in model.named_parameters() if name != "1.weight"]
    assert len(inner) == 4
    last = net(X).detach().square().sum(1).mean() * 4  # what the parameters of the added layer contribute
    assert dual(model, X).trace() == pytest.approx(float(2 * once.trace() + last), rel=1e-12)


def test_gradient_descent_is_stable_up_to_two_over_the_largest_eigenvalue():
    """A small residual of (1/2T) Σ‖f - y‖² grows by |1 - η λ| a step along the leading direction."""
    net = MLP((4, 8, 2), "tanh", weight_var=2, seed=0, dtype=torch.float64)
    X = draw(6, 4)
    top = torch.linalg.eigh(dual(net, X))
    y = net(X).detach() - 1e-7 * top.eigenvectors[:, -1].view(6, 2)
    rate = 1.3 * 2 / float(top.eigenvalues[-1])
    loss = (net(X) - y).square().sum() / 12
    before = (net(X) - y).norm()
    for p, g in zip(net.parameters(), torch.autograd.grad(loss, list(net.parameters())), strict=True):
        p.data -= rate * g
    assert float((net(X).detach() - y).norm() / before.detach()) == pytest.approx(1.6, rel=1e-4)


def test_cross_entropy_has_one_direction_less():
    """Q 1 = 0: adding a number to all outputs of a sample changes nothing."""
    net = MLP((4, 9, 3), "tanh", seed=0, dtype=torch.float64)
    values = torch.linalg.eigvalsh(dual(net, draw(5, 4), "cross_entropy"))
    assert (values[:5].abs() < 1e-15).all() and (values[5:] > 1e-6).all()


@pytest.mark.parametrize("memory", [1, 1e4, 1e9])
def test_leading_eigenvalue_in_blocks(memory):
    model, x = network("vision transformer", torch.float64)
    X = draw(6, *x.shape)
    truth = torch.linalg.eigvalsh(dual(model, X))[-1]
    found = lambda_max(model, X, memory=memory, tol=1e-9)
    assert found.value == pytest.approx(float(truth), rel=1e-9)
    assert found.residual < 1e-8 and found.products < 60


def test_leading_eigenvalue_in_single_precision():
    net = MLP((20, 30, 10), "relu", seed=0)
    X = draw(30, 20).float()
    found = lambda_max(net, X)
    assert found.value == pytest.approx(float(torch.linalg.eigvalsh(dual(net, X).double())[-1]), rel=1e-5)
    assert found.residual < 1e-5


def test_steps_end_where_the_residual_reaches_the_tolerance():
    net = torch.nn.Sequential(torch.nn.Linear(8, 30), torch.nn.Tanh(), torch.nn.Linear(30, 3)).double()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        X = torch.randn(20, 8, dtype=torch.float64)
    exact = float(torch.linalg.eigvalsh(dual(net, X))[-1])
    found = [lambda_max(net, X, tol=tol, seed=seed) for tol in (0.1, 1e-2, 1e-4, 1e-8) for seed in range(5)]
    for tol, each in zip(torch.tensor([0.1, 1e-2, 1e-4, 1e-8]).repeat_interleave(5).tolist(), found, strict=True):
        assert each.residual <= tol * 1.01
        assert each.value <= exact * (1 + 1e-12)  # a Rayleigh quotient
    steps = [sum(each.products for each in found[k : k + 5]) for k in (0, 5, 10, 15)]
    assert steps == sorted(steps) and steps[0] < steps[1] < steps[3]


def test_leading_eigenvalue_of_unbatched_and_constant_models():
    model, x = network("LSTM", torch.float64)
    X = draw(2, *x.shape)
    assert lambda_max(model, X).value == pytest.approx(float(torch.linalg.eigvalsh(dual(model, X))[-1]), rel=1e-9)
    dead = nn.Sequential(nn.Linear(3, 4), nn.ReLU()).double()
    dead[0].bias.data.fill_(-100)
    assert lambda_max(dead, draw(3, 3)).value == 0
    assert online_learning_rate_bound(dead, draw(3)) == float("inf")


def test_conditional_dual_follows_the_recursion():
    """H_1 = (q̂ + 1/M) I and H_{l+1} = (q̂ + 1/M) I + W D H D Wᵀ: the 1/M is that of the biases."""
    M = 7
    net = MLP((M, M, M, M), "tanh", weight_var=1.5, bias_var=0.2, seed=1, dtype=torch.float64)
    x = draw(M)
    states = net.states(x)
    eye = torch.eye(M, **DOUBLE)
    H = (x.square().mean() + 1 / M) * eye
    for layer, state in zip(net.layers[1:], states[1:-1], strict=True):
        W, D = layer.weight.detach(), torch.diag(1 - state**2)
        H = (state.square().mean() + 1 / M) * eye + W @ D @ H @ D @ W.T
    found = conditional_dual(net, x)
    assert torch.allclose(found, H, rtol=0, atol=1e-13)
    assert online_learning_rate_bound(net, x.tolist()) == pytest.approx(2 / (M * float(torch.linalg.eigvalsh(H)[-1])))
    assert torch.allclose(conditional_dual(net, x), dual(net, x[None]) / M, rtol=0, atol=1e-15)


def test_conditional_dual_adds_the_batch_axis():
    model = MODELS["convolutional"][0]().eval()
    x = draw(1, 4, 4)
    assert torch.allclose(conditional_dual(model, x), dual(model, x[None]) / 3)


def test_isometric_networks_allow_two_over_the_depth():
    """‖x‖ = 1, orthogonal and linear, no biases: J Jᵀ = L I, and 1 more for each bias."""
    net = MLP((6,) * 5, "linear", init="orthogonal", seed=0, dtype=torch.float64)
    x = nn.functional.normalize(draw(6), dim=0)
    assert online_learning_rate_bound(net, x) == pytest.approx(2 / 8, rel=1e-13)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("f", [dual, lambda_max])
def test_samples_are_never_evaluated_all_at_once(f, loss):
    """Room for one sample: the model sees two together where it is looked at first, and never more."""
    sizes = []

    def forward(x, a):
        sizes.append(len(x))
        return torch.tanh(a(x))

    model, X = Function(forward, nn.Linear(4, 3)).double(), draw(10, 4)
    whole = f(model, X, loss)
    assert f is dual or max(sizes) == 10  # where there is room
    sizes.clear()
    blocks = f(model, X, loss, memory=1)
    assert max(sizes) == 2
    if f is dual:
        assert torch.allclose(blocks, whole, rtol=0, atol=1e-14)
    else:
        assert blocks.value == pytest.approx(whole.value, rel=1e-5)


@pytest.mark.parametrize("f", [dual, lambda_max, conditional_dual, online_learning_rate_bound])
@pytest.mark.parametrize("X", [[[1.0, 2.0]], torch.ones(1, 2)])
def test_a_model_is_a_module(f, X):
    with pytest.raises(ValueError, match=r"model = <built-in .*: a torch.nn.Module is allowed"):
        f(torch.tanh, X)


def test_what_is_refused():
    net = MLP((3, 1), "tanh", seed=0)
    with pytest.raises(ValueError, match="loss = 'hinge'"):
        dual(net, torch.ones(2, 3), "hinge")
    with pytest.raises(ValueError, match="one output"):
        dual(net, torch.ones(2, 3), "cross_entropy")
    with pytest.raises(ValueError, match="tol = 0"):
        lambda_max(net, torch.ones(2, 3), tol=0)
    with pytest.raises(ValueError, match=r"x of shape"):
        conditional_dual(net, torch.full((3,), torch.nan))
    with pytest.raises(ValueError, match=r"call .eval\(\)"):
        dual(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)), torch.ones(2, 3))
