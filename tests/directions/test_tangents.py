"""Tangents of pictures against polynomials and finite transformations; shares against projections and their law."""

import math

import pytest
import torch
from deepdynamics.directions import KINDS, known_tangents, nearest_difference, random_share
from deepdynamics.jacobian import cumulative_shares
from deepdynamics.networks import generator, haar
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

F64 = torch.float64
INSIDE = (..., slice(1, -1), slice(1, -1))


def grid(height, width):
    return (
        torch.arange(height, dtype=F64)[:, None].expand(height, width) - (height - 1) / 2,
        torch.arange(width, dtype=F64).expand(height, width) - (width - 1) / 2,
    )


def quadratic(r, c):
    return torch.stack((1 + 2 * r - c + r * c - 0.5 * c**2, 0.3 * r**2 + c))


def test_tangents_of_a_quadratic_picture_are_its_derivatives():
    """Central differences are exact for quadratics away from the border."""
    r, c = grid(9, 12)
    by_row, by_column = torch.stack((2 + c, 0.6 * r)), torch.stack((-1 + r - c, torch.ones_like(c)))
    tangents = dict(zip(KINDS, known_tangents(quadratic(r, c)), strict=True))
    expected = {
        "shift right": -by_column,
        "shift down": -by_row,
        "rotation": r * by_column - c * by_row,
        "dilation": -(r * by_row + c * by_column),
    }
    for name, derivative in expected.items():
        torch.testing.assert_close(tangents[name][INSIDE], derivative[INSIDE])


@pytest.mark.parametrize("kind", ["shift right", "shift down", "rotation", "dilation"])
def test_tangents_are_derivatives_of_finite_transformations(kind):
    """The picture seen at transformed coordinates, by central differences in the transformation's parameter."""
    r, c = grid(10, 7)

    def moved(t):
        return {
            "shift right": (r, c - t),
            "shift down": (r - t, c),
            "rotation": (r * math.cos(t) - c * math.sin(t), c * math.cos(t) + r * math.sin(t)),
            "dilation": (r * math.exp(-t), c * math.exp(-t)),
        }[kind]

    h = 1e-5  # error h² times third derivatives, and 1e-16/h of rounding
    numerical = (quadratic(*moved(h)) - quadratic(*moved(-h))) / (2 * h)
    tangent = known_tangents(quadratic(r, c))[KINDS.index(kind)]
    torch.testing.assert_close(tangent[INSIDE], numerical[INSIDE], rtol=0, atol=1e-8)


def test_brightness_and_contrast():
    image = torch.rand(3, 5, 6, generator=generator(0), dtype=F64)
    tangents = known_tangents(image)
    assert tangents.shape == (6, 3, 5, 6)
    assert (tangents[4] == 1).all()
    assert known_tangents(torch.stack((-image, image)))[1].equal(tangents)
    torch.testing.assert_close(tangents[5].mean((1, 2)), torch.zeros(3, dtype=F64), atol=1e-15, rtol=0)
    assert (known_tangents(torch.ones(1, 4, 4))[[0, 1, 2, 3, 5]] == 0).all()


def test_tangents_are_linear_in_the_picture_but_for_brightness():
    a, b = torch.rand(2, 2, 6, 6, generator=generator(1), dtype=F64)
    both = known_tangents(2 * a - b)
    one = 2 * known_tangents(a) - known_tangents(b)
    torch.testing.assert_close(both, one)


@pytest.mark.parametrize(
    "image", [torch.zeros(4, 4), torch.zeros(1, 1, 4), torch.zeros(1, 4, 4).long(), torch.full((1, 3, 3), math.nan)]
)
def test_bad_pictures(image):
    with pytest.raises(ValueError, match="images of shape"):
        known_tangents(image)


def test_nearest_difference():
    others = torch.rand(20, 2, 3, 3, generator=generator(2))
    image = others.mean(0)
    found = nearest_difference(image, others)
    assert min((o - image).norm() for o in others) == found.norm()
    with pytest.raises(ValueError, match="number 3 equals"):
        nearest_difference(others[3], others)
    with pytest.raises(ValueError, match="others of shape"):
        nearest_difference(image, others[:, :1])


@given(st.integers(1, 6), st.integers(0, 1000))
def test_shares_are_norms_of_projections(k, seed):
    V = haar(7, k, seed=seed)
    vectors = torch.randn(4, 7, generator=generator(seed), dtype=F64)
    shares = cumulative_shares(V, vectors.T)
    for j in range(1, k + 1):
        projected = vectors @ V[:, :j] @ V[:, :j].T
        torch.testing.assert_close(shares[:, j - 1], projected.square().sum(1) / vectors.square().sum(1))


def test_shares_of_batches_are_those_of_each():
    V, vectors = torch.stack([haar(7, 3, seed=seed) for seed in range(2)]), torch.randn(7, 4, dtype=F64)
    torch.testing.assert_close(cumulative_shares(V, vectors)[1], cumulative_shares(V[1], vectors))


def test_shares_of_everything_are_one():
    vectors = torch.randn(8, 3, generator=generator(0), dtype=F64)
    torch.testing.assert_close(cumulative_shares(haar(8, 8, seed=1), vectors)[:, -1], torch.ones(3, dtype=F64))


def test_random_share_has_the_law_of_random_subspaces():
    n, k, count = 12, 3, 2000
    vector = torch.randn(n, 1, generator=generator(3), dtype=F64)
    shares = torch.stack([cumulative_shares(haar(n, k, seed=seed), vector)[0, -1] for seed in range(count)])
    mean, deviation = random_share(n, k)
    assert float(shares.mean()) == pytest.approx(mean, abs=4 * deviation / count**0.5)
    # The standard deviation of a Beta sample of 2,000 is known to about 2 %.
    assert float(shares.std()) == pytest.approx(deviation, rel=0.08)
    assert random_share(5, 5) == random_share(5, 5) and random_share(5, 5).deviation == 0


@pytest.mark.parametrize(("n", "k"), [(2, 1), (3, 1), (3, 2), (12, 3), (784, 20)])
def test_random_share_has_the_moments_of_its_beta_law(n, k):
    """In the plane the share is cos² of a uniform angle: mean 1/2 and variance 1/8."""
    law = stats.beta(k / 2, (n - k) / 2)
    assert tuple(random_share(n, k)) == pytest.approx((law.mean(), law.std()), rel=1e-12)


def test_bad_subspaces():
    V = haar(5, 2, seed=0)
    with pytest.raises(ValueError, match="columns of one length"):
        cumulative_shares(V, torch.ones(4, 1, dtype=F64))
    with pytest.raises(ValueError, match="not orthonormal"):
        cumulative_shares(2 * V, torch.ones(5, 1, dtype=F64))
    with pytest.raises(ValueError, match="are zero"):
        cumulative_shares(V, torch.zeros(5, 1, dtype=F64))
    for k in (0, 6):
        with pytest.raises(ValueError, match=f"k = {k}"):
            random_share(5, k)
