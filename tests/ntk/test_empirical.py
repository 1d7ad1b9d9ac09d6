"""The empirical kernel beside torch's own contraction of Jacobians."""

import pytest
import torch
from deepdynamics.networks import CNN, MLP
from deepdynamics.ntk import empirical, ways
from torch import nn
from torch.func import functional_call, jacrev, vmap

DOUBLE = dict(dtype=torch.float64)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), **DOUBLE)


def contracted(model, X, Y):
    """The recipe of torch's tutorial on neural tangent kernels, as a matrix with sample-major rows."""
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def rows(x):
        return jacrev(lambda p: functional_call(model, p, (x[None],))[0])(parameters)

    jac1, jac2 = (vmap(rows)(each) for each in (X, Y))
    pairs = zip(jac1.values(), jac2.values(), strict=True)
    theta = sum(torch.einsum("naf,mbf->namb", a.flatten(2), b.flatten(2)) for a, b in pairs)
    return theta.reshape(theta.shape[0] * theta.shape[1], -1)


MODELS = {
    "standard": MLP((5, 8, 8, 3), "tanh", weight_var=1.5, bias_var=0.1, seed=0, **DOUBLE),
    "ntk": MLP((5, 8, 8, 3), "relu", weight_var=2, bias_var=0.1, parametrisation="ntk", seed=0, **DOUBLE),
    "convolutional": CNN((2, 6, 6), (4, 4), 3, "relu", pool_after=(2,), seed=0, **DOUBLE),
}


@pytest.mark.parametrize("name", MODELS)
def test_equals_the_contraction(name):
    model = MODELS[name]
    shape = (2, 6, 6) if name == "convolutional" else (5,)
    X, Y = draw(6, *shape), draw(4, *shape, seed=1)
    truth = contracted(model, X, Y)
    for memory in (1, 1e9):
        found = empirical(model, X, Y, memory=memory)
        assert found.shape == (18, 12) and torch.allclose(found, truth, rtol=0, atol=1e-12 * float(truth.abs().max()))
    assert torch.allclose(empirical(model, X), empirical(model, X, X), rtol=0, atol=1e-12 * float(truth.abs().max()))
    assert "autograd" not in ways(model, X).values()


def test_parametrisations_of_one_linear_map():
    """Standard: x·x' + 1; of h = √(σ_w²/n) W x + √σ_b² b: σ_w²/n x·x' + σ_b²."""
    X = draw(4, 3)
    options = dict(weight_var=1.5, bias_var=0.2, seed=0, dtype=torch.float64)
    standard, ntk = (MLP((3, 1), "linear", parametrisation=each, **options) for each in ("standard", "ntk"))
    assert torch.allclose(empirical(standard, X), X @ X.T + 1, rtol=0, atol=1e-14)
    assert torch.allclose(empirical(ntk, X), 1.5 / 3 * X @ X.T + 0.2, rtol=0, atol=1e-14)


def test_a_sum_over_parameters_that_does_not_depend_on_the_other_samples():
    model, X = MODELS["standard"], draw(6, 5)
    assert torch.allclose(empirical(model, X)[:6, :6], empirical(model, X[:2]), rtol=0, atol=1e-13)


def test_converges_with_width():
    """Sphere in 8 dimensions, one hidden ReLU layer: entries of the kernel at infinite width, from arc cosines."""
    X = nn.functional.normalize(draw(5, 8), dim=1)
    c = (X @ X.T).clamp(-1, 1)
    angle = torch.arccos(c.fill_diagonal_(1))
    slopes = 1 - angle / torch.pi
    values = c * slopes + torch.sin(angle) / torch.pi
    theory = (values + c * slopes) / 4  # σ_w² = 2: K and its derivative's part, on inputs of norm² 1, n = 8
    nets = [
        MLP((8, 4096, 1), "relu", weight_var=2, parametrisation="ntk", seed=s, dtype=torch.float64) for s in range(4)
    ]
    found = torch.stack([empirical(net, X) for net in nets]).mean(0)
    assert (found - theory).norm() / theory.norm() < 0.05  # 1/√(4 · 4096) = 0.008, times a few
