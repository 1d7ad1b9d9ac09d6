"""The probability-flow equation: Gaussians in closed form, a mixture back to its law."""

import itertools

import numpy as np
import pytest
import torch
from deepdynamics.transport import GaussianMixture, gaussian_dae, probability_flow

MIXTURE = GaussianMixture([0.5, 0.3, 0.2], [[2.0, 0.0], [-1.0, 1.5], [-1.0, -1.5]], [0.25, 0.16, 0.36])


def test_gaussian_in_closed_form():
    """x(σ) = x √(s² + σ²)/√(s² + σ₀²): an error of first order in the step."""
    errors = []
    for steps in (50, 100, 200):
        levels = np.linspace(1.5, 0, steps + 1)[:-1] ** 2
        maps = [gaussian_dae([0.0], [[0.49]], t) for t in levels]
        end = probability_flow(maps, levels, [[1.0]])[-1, 0, 0]
        errors.append(end - 0.7 / np.sqrt(0.49 + 2.25))
    assert abs(errors[-1]) < 2e-3
    assert [a / b for a, b in itertools.pairwise(errors)] == pytest.approx([2, 2], rel=0.05)


def test_a_mixture_comes_back():
    levels = np.geomspace(1, 1e-3, 80)
    x = MIXTURE.sample(4000, 0, variance=1.0)
    end = probability_flow([lambda x, t=t: MIXTURE.dae(x, t) for t in levels], levels, x)[-1]
    clean = MIXTURE.sample(200_000, 1)
    np.testing.assert_allclose(np.cov(end.T), np.cov(clean.T), atol=0.12)
    assert MIXTURE.log_density(end).mean() == pytest.approx(MIXTURE.log_density(clean).mean(), abs=0.06)


def test_tensors_and_one_step():
    x = torch.ones(3, 1)
    path = probability_flow([lambda x: x / 2], [1.0], x)
    assert isinstance(path, torch.Tensor) and path[-1].tolist() == (x / 2).tolist()


@pytest.mark.parametrize("levels", [[1.0], [1.0, 1.0], [0.5, 1.0], [1.0, 0.0]])
def test_bad_levels(levels):
    with pytest.raises(ValueError, match=r"levels|variance"):
        probability_flow([lambda x: x] * 2, levels, [[0.0]])
