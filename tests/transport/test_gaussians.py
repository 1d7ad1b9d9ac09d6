"""Transport between Gaussians: POT as the oracle, the properties of a metric, maps and geodesics that arrive."""

import numpy as np
import ot
import pytest
import torch
from deepdynamics.transport import gaussian_geodesic, gaussian_map, gaussian_w2
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

SINGULAR = np.diag([4.0, 0.0])


def gaussian(d, rank=None, seed=0):
    """A mean (d,) and a covariance of ``rank`` with a random orientation."""
    draw = np.random.default_rng(seed)
    A = draw.normal(size=(d, rank or d))
    return draw.normal(size=d), A @ A.T / d + (0.1 * np.eye(d) if rank is None else 0)


def rotation(d, seed):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


# The oracle ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("d", [1, 2, 5, 30])
def test_distance_and_map_are_those_of_pot(d):
    (m0, S0), (m1, S1) = gaussian(d, seed=1), gaussian(d, seed=2)
    expected = ot.gaussian.bures_wasserstein_distance(m0, m1, S0, S1)
    np.testing.assert_allclose(gaussian_w2(m0, S0, m1, S1), expected, rtol=1e-12)
    A, b = ot.gaussian.bures_wasserstein_mapping(m0, m1, S0, S1)
    x = np.random.default_rng(3).normal(size=(7, d))
    np.testing.assert_allclose(gaussian_map(m0, S0, m1, S1)(x), x @ A + b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_geodesic_is_the_barycenter_of_pot(t):
    (m0, S0), (m1, S1) = gaussian(4, seed=1), gaussian(4, seed=2)
    weights = np.array([1 - t, t])
    mean, cov = ot.gaussian.bures_wasserstein_barycenter(
        np.stack([m0, m1]), np.stack([S0, S1]), weights, num_iter=1000, eps=1e-12
    )
    found = gaussian_geodesic(m0, S0, m1, S1, t)
    np.testing.assert_allclose(found[0], mean, atol=1e-12)
    np.testing.assert_allclose(found[1], cov, atol=1e-9)


def test_a_singular_covariance():
    m, S = np.zeros(3), np.outer([1, 2, 3], [1, 2, 3]) / 7
    # One direction of variance 2, the rest 0, against 1 in every direction.
    np.testing.assert_allclose(gaussian_w2(m, S, m, np.eye(3)), np.sqrt((np.sqrt(2) - 1) ** 2 + 2), rtol=1e-14)


def test_samples_agree():
    (m0, S0), (m1, S1) = gaussian(2, seed=1), gaussian(2, seed=2)
    draw = np.random.default_rng(0)
    x, y = draw.multivariate_normal(m0, S0, 1000), draw.multivariate_normal(m1, S1, 1000)
    cost = ((x[:, None] - y) ** 2).sum(-1)
    rows, columns = linear_sum_assignment(cost)
    assert np.sqrt(cost[rows, columns].mean()) == pytest.approx(float(gaussian_w2(m0, S0, m1, S1)), rel=0.1)


# The metric ----------------------------------------------------------------------------------------------------------
seeds, dimensions = st.integers(0, 10**6), st.integers(1, 6)


@given(dimensions, st.tuples(seeds, seeds, seeds), st.data())
def test_symmetry_triangle_scaling_rotation(d, three, data):
    ranks = [data.draw(st.one_of(st.none(), st.integers(1, d))) for _ in three]
    a, b, c = (gaussian(d, rank, seed) for rank, seed in zip(ranks, three, strict=True))
    ab = gaussian_w2(*a, *b)
    np.testing.assert_allclose(gaussian_w2(*b, *a), ab, rtol=1e-9, atol=1e-12)
    assert gaussian_w2(*a, *c) <= (ab + gaussian_w2(*b, *c)) * (1 + 1e-9)
    np.testing.assert_allclose(gaussian_w2(*(3 * b[0], 9 * b[1]), *(3 * a[0], 9 * a[1])), 3 * ab, rtol=1e-9, atol=1e-12)
    R = rotation(d, three[0])
    turned = [(R @ m, R @ S @ R.T) for m, S in (a, b)]
    # An eigenvalue that is 0 and is turned into 1e-16 moves the distance by 1e-8.
    np.testing.assert_allclose(gaussian_w2(*turned[0], *turned[1]), ab, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("d", [2, 50])
@pytest.mark.parametrize("rank", [None, 1])
def test_equal_gaussians_and_near_ones(d, rank):
    m, S = gaussian(d, rank)
    assert gaussian_w2(m, S, m, S) < 1e-13
    # √((1 + ε)S) - √S = ε/2 √S: a distance of 1e-9 is not lost in the difference of traces.
    expected = 5e-10 * np.sqrt(np.trace(S))
    np.testing.assert_allclose(gaussian_w2(m, S, m, (1 + 1e-9) * S), expected, rtol=1e-5)


def test_commuting_covariances_are_euclidean_in_the_standard_deviations():
    R = rotation(4, 0)
    first, second = np.array([2.0, 1.0, 0.5, 0.0]), np.array([0.3, 4.0, 0.0, 0.0])
    S0, S1 = ((R * s**2) @ R.T for s in (first, second))
    np.testing.assert_allclose(
        gaussian_w2(np.zeros(4), S0, np.ones(4), S1), np.sqrt(4 + ((first - second) ** 2).sum()), rtol=1e-7
    )


@pytest.mark.parametrize("condition", [1e4, 1e8, 1e12])
def test_ill_conditioned_covariances(condition):
    R, s = rotation(20, 1), np.geomspace(1, condition**-0.5, 20)
    S0, S1 = (R * s**2) @ R.T, (R * s[::-1] ** 2) @ R.T
    # Rounding S moves the smallest standard deviation by ε/s.
    found = gaussian_w2(np.zeros(20), (S0 + S0.T) / 2, np.zeros(20), (S1 + S1.T) / 2)
    np.testing.assert_allclose(found, np.linalg.norm(s - s[::-1]), rtol=1e-15 * condition**0.5 * 20 + 1e-13)


def test_batches_lists_tensors():
    pairs = [(gaussian(3, seed=k), gaussian(3, seed=k + 10)) for k in range(4)]
    m0, S0 = (np.stack([pair[0][i] for pair in pairs]) for i in (0, 1))
    m1, S1 = (np.stack([pair[1][i] for pair in pairs]) for i in (0, 1))
    each = [gaussian_w2(*a, *b) for a, b in pairs]
    np.testing.assert_allclose(gaussian_w2(m0, S0, m1, S1), each, rtol=1e-12)
    np.testing.assert_allclose(gaussian_w2(m0[0], S0[0], m1, S1)[1:], gaussian_w2(m0[:1], S0[:1], m1[1:], S1[1:]))
    np.testing.assert_allclose(gaussian_w2(m0[0].tolist(), S0[0].tolist(), torch.tensor(m1[0]), S1[0]), each[0])
    single = torch.tensor(S0[0], dtype=torch.float32)
    np.testing.assert_allclose(gaussian_w2(m0[0], single, m1[0], S1[0]), each[0], rtol=1e-5)
    mean, cov = gaussian_geodesic(m0, S0, m1, S1, np.full((5, 1), 0.5))
    assert mean.shape == (5, 4, 3) and cov.shape == (5, 4, 3, 3)


# Maps and geodesics --------------------------------------------------------------------------------------------------
@given(dimensions, seeds, seeds, st.data())
def test_the_map_carries_mean_and_covariance_at_the_least_cost(d, first, second, data):
    rank = data.draw(st.one_of(st.none(), st.integers(1, d)))
    lower = data.draw(st.integers(1, rank)) if rank else None
    (m0, S0), (m1, S1) = gaussian(d, rank, first), gaussian(d, lower, second)
    T = gaussian_map(m0, S0, m1, S1)
    np.testing.assert_allclose(T(m0), m1, atol=1e-12)
    np.testing.assert_allclose(T.matrix @ S0 @ T.matrix.T, S1, atol=1e-9 * np.trace(S1))
    cost = ((m0 - m1) ** 2).sum() + np.trace(S0 + S1 - 2 * T.matrix @ S0)
    np.testing.assert_allclose(cost, gaussian_w2(m0, S0, m1, S1) ** 2, rtol=1e-7, atol=1e-7)
    if rank is None:  # Brenier: the gradient of a convex function
        np.testing.assert_allclose(T.matrix, T.matrix.T, atol=1e-8 * np.abs(T.matrix).max())
        assert np.linalg.eigvalsh(T.matrix)[0] > 0


def test_outside_the_support_the_map_projects():
    T = gaussian_map([1, 1], SINGULAR, [0, 0], [[0.5, 0.5], [0.5, 0.5]])
    np.testing.assert_allclose(T([[3, 1], [3, 100]]), [T([3, 1])] * 2)
    np.testing.assert_allclose(T([3, 1]), [np.sqrt(0.5)] * 2, rtol=1e-14)  # one standard deviation to one
    np.testing.assert_array_equal(gaussian_map([1, 2], np.zeros((2, 2)), [3, 4], np.zeros((2, 2)))([[5, 5]]), [[3, 4]])


@given(dimensions, st.tuples(seeds, seeds), st.floats(0, 1), st.floats(0, 1), st.data())
def test_distances_along_the_geodesic(d, two, s, t, data):
    ranks = [data.draw(st.one_of(st.none(), st.integers(1, d))) for _ in two]
    a, b = (gaussian(d, rank, seed) for rank, seed in zip(ranks, two, strict=True))
    at_s, at_t = gaussian_geodesic(*a, *b, s), gaussian_geodesic(*a, *b, t)
    np.testing.assert_allclose(gaussian_w2(*at_s, *at_t), abs(t - s) * gaussian_w2(*a, *b), rtol=1e-6, atol=1e-6)
    for end, time in ((a, 0), (b, 1)):
        for found, expected in zip(gaussian_geodesic(*a, *b, time), end, strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-13)


def test_the_geodesic_is_the_map_on_its_way():
    (m0, S0), (m1, S1) = gaussian(3, seed=1), gaussian(3, seed=2)
    A, t = gaussian_map(m0, S0, m1, S1).matrix, 0.3
    half = (1 - t) * np.eye(3) + t * A
    np.testing.assert_allclose(gaussian_geodesic(m0, S0, m1, S1, t)[1], half @ S0 @ half, rtol=1e-12)


# Bad input -----------------------------------------------------------------------------------------------------------
GOOD = ([0.0, 0.0], np.eye(2), [1.0, 0.0], np.eye(2))


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (1, -np.eye(2), "S0 has an eigenvalue -1"),
        (3, [[1, 2], [2, 1]], "S1 has an eigenvalue -1"),
        (1, [[1, 0.5], [0, 1]], "S0 differs from its transpose by 0.5"),
        (1, np.ones((2, 3)), r"S0 of shape \(2, 3\)"),
        (1, np.eye(3), r"m0 of shape \(2,\)"),
        (0, 0.0, r"m0 of shape \(\)"),
        (0, [np.nan, 0], "m0 = "),
        (1, [[np.inf, 0], [0, 1]], "S0 = "),
    ],
)
def test_bad_gaussians(place, value, message):
    given = [*GOOD]
    given[place] = value
    for function in (gaussian_w2, gaussian_map, lambda *pair: gaussian_geodesic(*pair, 0.5)):
        with pytest.raises(ValueError, match=message):
            function(*given)


def test_what_does_not_fit_together():
    with pytest.raises(ValueError, match="equal dimensions"):
        gaussian_w2(*GOOD[:2], np.zeros(3), np.eye(3))
    with pytest.raises(ValueError, match="leading axes"):
        gaussian_w2(np.zeros((2, 2)), np.eye(2), np.zeros((3, 2)), np.eye(2))
    with pytest.raises(ValueError, match="one pair"):
        gaussian_map(np.zeros((3, 2)), *GOOD[1:])
    with pytest.raises(ValueError, match="rank S0 = 1"):
        gaussian_map([0, 0], SINGULAR, [0, 0], np.eye(2))
    with pytest.raises(ValueError, match=r"x of shape \(3,\)"):
        gaussian_map(*GOOD)([1, 2, 3])
    with pytest.raises(ValueError, match="0 to 1 are allowed"):
        gaussian_geodesic(*GOOD, 1.5)
