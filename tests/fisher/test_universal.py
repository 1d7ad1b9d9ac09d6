"""The statistics at infinite width, beside their closed form for ReLU and spectra of networks."""

import math

import numpy as np
import pytest
import torch
from deepdynamics.activations import get
from deepdynamics.fisher import dual, gradient_kernel, universal_statistics
from deepdynamics.fisher.recursion import gradient_products
from deepdynamics.networks import MLP


def test_values_that_are_known():
    """Computed independently, by quadrature, for three layers."""
    relu = universal_statistics("relu", 2, 0.1, 3, 1000, 100, 4)
    assert relu.kappa_1 == pytest.approx(1.575, rel=1e-12) and relu.kappa_2 == pytest.approx(0.401494, abs=5e-7)
    assert (relu.mean, relu.second_moment) == pytest.approx((0.0063, 1.475), rel=5e-4)
    assert (relu.lambda_max, relu.bulk) == pytest.approx((826.5, 23.47), rel=3e-4)
    tanh = universal_statistics("tanh", 3, 0.64, 3, 1000, 100, 4)
    assert (tanh.kappa_1, tanh.kappa_2) == pytest.approx((0.955522, 0.118615), abs=5e-7)
    assert tanh.lambda_max == pytest.approx(253.97, abs=5e-3)


@pytest.mark.parametrize("depth", [2, 5])
def test_linear_networks(depth):
    """All covariances are powers of σ_w²: κ1 = L/(L - 1), κ2 = 0 without biases and with σ_w² = 1."""
    k1, k2, mean, second, top, bulk, rate = universal_statistics("linear", 1, 0, depth, 64, 32, 3)
    assert (k1, k2) == pytest.approx((depth / (depth - 1), 0), abs=1e-14)
    assert mean == pytest.approx(k1 * 3 / 64) and second == pytest.approx((depth - 1) * k1**2 * 3 / 32)
    assert top == pytest.approx(bulk) == pytest.approx(depth * 2) and rate == 2 / top


@pytest.mark.parametrize(("activation", "weight_var", "bias_var"), [("relu", 2.0, 0.1), ("tanh", 3.0, 0.64)])
def test_networks(activation, weight_var, bias_var):
    M, T, C, seeds = 400, 40, 3, range(3)
    theory = universal_statistics(activation, weight_var, bias_var, 3, M, T, C)
    found = []
    for seed in seeds:
        net = MLP((M, M, M, C), activation, weight_var=weight_var, bias_var=bias_var, seed=seed)
        X = torch.randn(T, M, generator=torch.Generator().manual_seed(seed))
        values = torch.linalg.eigvalsh(dual(net, X).double()).flip(0)
        P = 2 * M**2
        found.append([values.sum() / P, (values**2).sum() / P, values[:C].mean(), values[C:].mean()])
    # Corrections of relative order 1/√M = 0.05; the mean of the bulk differs from its leading value by O(1/M + 1/T).
    truth = [theory.mean, theory.second_moment, theory.lambda_max, theory.bulk]
    assert np.allclose(np.mean(found, 0), truth, rtol=0.1)


def test_the_step_function_has_no_kappa():
    with pytest.raises(ValueError, match=r"activation .* second moment is finite"):
        universal_statistics("step", 2.0, 0.1, 3, 10, 10, 1)
    with pytest.raises(ValueError, match=r"activation .* second moment is finite"):
        gradient_kernel(np.eye(2), (2, 4, 1), "step", 2.0, 0.1)


def test_products_layer_by_layer_backwards():
    """Σ_l q̃^l (N_{l-1} q̂^{l-1} + 1) as the paper has it, q̃ from the outputs down, one hidden layer of weights more."""
    phi, (w, b), units = get("erf"), (1.7, 0.3), (5, 7, 9)
    q0 = np.array([[1.1, 0.4], [0.4, 0.8]])
    q1, q2, s1, s2 = np.empty((4, 2, 2))
    for before, q, s in ((q0, q1, s1), (q1, q2, s2)):
        for i in range(2):
            for j in range(2):
                own = [w * before[pair] + b for pair in ((i, i), (j, j), (i, j))]
                q[i, j], s[i, j] = phi.covariance(*own), phi.slope_covariance(*own)
    truth = (9 * q2 + 1) + w * s2 * (7 * q1 + 1) + w**2 * s2 * s1 * (5 * q0 + 1)
    np.testing.assert_allclose(gradient_products(phi, q0, w, b, units, 1.0), truth, rtol=1e-12)


@pytest.mark.parametrize(
    "change",
    [{"weight_var": 0}, {"weight_var": -1}, {"bias_var": -0.1}, {"depth": 1}, {"width": 0}, {"samples": 0.5},
     {"outputs": 0}, {"bias_var": math.inf}],
)  # fmt: skip
def test_what_is_refused(change):
    arguments = dict(weight_var=1, bias_var=0.1, depth=3, width=10, samples=10, outputs=1)
    with pytest.raises(ValueError, match=f"{next(iter(change))} = "):
        universal_statistics("tanh", **(arguments | change))
