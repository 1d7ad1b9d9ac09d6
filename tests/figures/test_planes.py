"""Common planes: rotations only, principal planes, closeness to the one before, bad input."""

import numpy as np
import pytest
from deepdynamics.figures.planes import common_planes
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group


def cloud(n, d, seed):
    # Decreasing spreads, so that the principal plane is well defined.
    return np.random.default_rng(seed).standard_normal((n, d)) * 3.0 ** -np.arange(d)


@given(n=st.integers(5, 40), d=st.integers(2, 8), seed=st.integers(0, 10**6), scale=st.floats(0.01, 100))
@settings(max_examples=40)
def test_turned_shifted_and_scaled_particles_lie_on_one_another(n, d, seed, scale):
    points = cloud(n, d, seed)
    turned = scale * points @ ortho_group.rvs(d, random_state=seed) + 5
    first, second = common_planes([points, turned])
    np.testing.assert_allclose(first, second, atol=1e-8)


@given(n=st.integers(5, 40), d=st.integers(3, 8), seed=st.integers(0, 10**6))
@settings(max_examples=40)
def test_each_plane_is_principal_centred_and_of_radius_one(n, d, seed):
    clouds = [cloud(n, d, seed + k) for k in range(3)]
    planes = common_planes(clouds)
    assert planes.shape == (3, n, 2)
    np.testing.assert_allclose(planes.mean(1), 0, atol=1e-12)
    np.testing.assert_allclose((planes**2).sum(2).mean(1), 1, rtol=1e-12)
    for points, plane in zip(clouds, planes, strict=True):
        values = np.linalg.eigvalsh(np.cov(points.T, ddof=0))[::-1][:2]
        found = np.linalg.eigvalsh(plane.T @ plane / n)[::-1]
        # The plane keeps the two leading variances, up to the one scale.
        np.testing.assert_allclose(found / found.sum(), values / values.sum(), rtol=1e-9)


def test_no_other_turn_is_closer():
    first, second = common_planes([cloud(30, 5, 0), cloud(30, 5, 0) + 0.3 * cloud(30, 5, 1)[:, ::-1]])
    best = np.linalg.norm(second - first)
    for angle in np.linspace(0, 2 * np.pi, 60):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        for reflect in (np.eye(2), np.diag([1.0, -1.0])):
            assert np.linalg.norm(second @ turn @ reflect - first) >= best - 1e-12


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ([], "states is empty"),
        ([np.zeros((4, 1))], r"states\[0\] of shape \(4, 1\)"),
        ([cloud(4, 3, 0), cloud(5, 3, 0)], r"states\[1\] of shape \(5, 3\)"),
        ([np.full((4, 3), np.nan)], r"states\[0\]"),
        ([np.ones((4, 3))], "in one place"),
    ],
)
def test_rejects(states, message):
    with pytest.raises(ValueError, match=message):
        common_planes(states)
