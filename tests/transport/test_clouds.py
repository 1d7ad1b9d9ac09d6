"""W₂ of clouds: a shift, and Gaussians in closed form."""

import numpy as np
import pytest
from deepdynamics.transport import gaussian_w2, sample_w2


def test_a_shift_is_its_length_whatever_the_order():
    x = np.random.default_rng(0).normal(size=(200, 2))
    assert np.isclose(sample_w2(x, x[::-1] + np.array([3.0, 4.0])), 5.0)


def test_gaussians():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 1000, 1))
    assert abs(sample_w2(x, 3 * y + 1) - gaussian_w2([0], [[1]], [1], [[9]])) < 0.2


def test_shapes():
    with pytest.raises(ValueError, match="for both is allowed"):
        sample_w2([[0.0]], [[0.0], [1.0]])
