"""Networks with two hidden layers: their dual against derivatives, their spectrum against its law."""

import numpy as np
import pytest
import torch
from deepdynamics.fisher import three_layer_law, three_layer_sample
from deepdynamics.networks.draws import gaussian, generator, haar
from scipy.integrate import quad


def test_the_dual_is_that_of_derivatives():
    """The same draws, the network written out, and J by automatic differentiation."""
    width, draw = 12, generator(4)
    x = gaussian((width,), seed=draw)
    x *= width**0.5 / x.norm()
    sample = three_layer_sample(0.7, 0.6, width, seed=4)
    first = 0.5 / torch.erfinv(torch.tensor(0.7, dtype=x.dtype)) ** 2
    variances = [float(first), *sample.weight_vars]
    weights = tuple(v**0.5 * haar(width, width, seed=draw) for v in variances)

    def network(a, b, c):
        return c @ (b @ (a @ x).clamp(-1, 1)).clamp(-1, 1)

    J = torch.cat([part.reshape(width, -1) for part in torch.autograd.functional.jacobian(network, weights)], 1)
    expected = torch.linalg.eigvalsh(J @ J.T / width).flip(0)
    np.testing.assert_allclose(sample.eigenvalues, expected, rtol=1e-10)


def test_the_spectrum_follows_its_law():
    sample = three_layer_sample(0.8, 0.5, 400, seed=1)
    law = three_layer_law(*list(sample)[1:])
    found = np.sort(sample.eigenvalues)
    between = np.linspace(*law.interval, 30)[1:-1]
    assert abs(np.searchsorted(found, between) / 400 - law.cdf(between)).max() < 0.02
    for place, mass in law.atoms:
        assert abs((abs(found - place) < 1e-9).mean() - mass) < 1e-12


@pytest.mark.parametrize("a, b", [(0.2, 0.3), (0.5, 0.5), (0.9, 0.6), (1.0, 0.4)])
def test_the_distribution_function_is_the_integral_of_the_density(a, b):
    law = three_layer_law(a, b, (1.0, 0.5, 0.7), (1.3, 0.8))
    left, right = law.interval
    middle, half = (left + right) / 2, (right - left) / 2  # λ = middle - half cos t: no root at the ends
    mass = quad(lambda t: float(law.density(middle - half * np.cos(t))) * half * np.sin(t), 0, np.pi, limit=500)[0]
    assert sum(share for _, share in law.atoms) + mass == pytest.approx(1, abs=1e-9)
    assert law.cdf(left - 10) == 0
    grid = np.linspace(left, right, 4001)[100:-100]
    if right > left:
        steps = np.diff(law.cdf(grid))
        middle = law.density((grid[1:] + grid[:-1]) / 2) * np.diff(grid)
        np.testing.assert_allclose(steps, middle, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_between_zero_and_one(share):
    with pytest.raises(ValueError, match="alpha_2"):
        three_layer_sample(0.5, share, 10, seed=0)
