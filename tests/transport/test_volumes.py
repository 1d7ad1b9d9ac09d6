"""Volumes: affine maps exactly, and the entropy of a Gaussian and of a mixture under their denoisers."""

import numpy as np
import pytest
import torch
from deepdynamics.transport import GaussianMixture, gaussian_dae, gaussian_entropy, log_volume, train_dae

MIXTURE = GaussianMixture([0.5, 0.3, 0.2], [[2.0, 0.0], [-1.0, 1.5], [-1.0, -1.5]], [0.25, 0.16, 0.36])


def test_affine_maps_exactly():
    A = np.random.default_rng(0).normal(size=(3, 3))
    x = np.random.default_rng(1).normal(size=(5, 3))
    assert log_volume(lambda x: x @ A.T + 1, x) == pytest.approx(np.linalg.slogdet(A)[1], rel=1e-9)
    found = log_volume(lambda x: x @ torch.tensor(A.T, dtype=torch.float32), torch.tensor(x, dtype=torch.float32))
    assert found == pytest.approx(np.linalg.slogdet(A)[1], abs=1e-3)


def test_entropy_of_a_gaussian():
    S = np.diag([4.0, 1.0])
    g = gaussian_dae([0, 0], S, 0.3)
    change = log_volume(g, [[0.3, -1.0]])[0]
    assert change == pytest.approx(gaussian_entropy(g.matrix @ S @ g.matrix.T) - gaussian_entropy(S), rel=1e-8)


def test_derivative_of_a_denoiser_is_its_covariance():
    """Dg* = I + t ∇² log p_t, from finite differences of the score in another way: log det by Simpson's step."""
    x, t = MIXTURE.sample(50, 0), 0.2
    h = 1e-5
    hessian = np.stack([(MIXTURE.score(x + h * e, t) - MIXTURE.score(x - h * e, t)) / (2 * h) for e in np.eye(2)], -1)
    exact = np.linalg.slogdet(np.eye(2) + t * hessian)[1]
    np.testing.assert_allclose(log_volume(lambda x: MIXTURE.dae(x, t), x, step=1e-4), exact, atol=1e-6)


def test_a_trained_denoiser_in_single_precision():
    samples = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
    g = train_dae(samples, 1.0, steps=300, seed=0)
    assert log_volume(g, samples).mean() == pytest.approx(-2 * np.log(2), abs=0.15)  # x/2 in two dimensions


@pytest.mark.parametrize(("x", "step", "message"), [([1.0], 0.1, "x of shape"), ([[1.0]], 0.0, "step = 0")])
def test_bad_input(x, step, message):
    with pytest.raises(ValueError, match=message):
        log_volume(lambda x: x, x, step=step)
