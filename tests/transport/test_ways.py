"""The cost of a way: closed forms, and the bounds of Benamou and Brenier."""

import numpy as np
import pytest
import torch
from deepdynamics.transport import (
    antisymmetric_share,
    bend,
    gaussian_map,
    pair_clouds,
    random_pairing_cost,
    rotation_share,
    sample_w2,
)

RNG = np.random.default_rng(0)


def test_straight_paths_have_bend_one_and_all_others_more():
    x, y = RNG.normal(size=(2, 3, 50, 4))
    straight = np.stack([(1 - t) * x + t * y for t in np.linspace(0, 1, 6)])
    np.testing.assert_allclose(bend(straight), 1)
    assert (bend(straight + np.concatenate([x[None] * 0, RNG.normal(size=(4, 3, 50, 4)), x[None] * 0])) > 1).all()


def test_uneven_speed_counts():
    path = np.array([0.0, 0.9, 1.0])[:, None, None]
    np.testing.assert_allclose(bend(path), 2 * (0.81 + 0.01))


def test_random_pairs_against_all_pairs():
    x, y = RNG.normal(size=(30, 3)), RNG.normal(size=(40, 3)) + 1
    np.testing.assert_allclose(random_pairing_cost(x, y), np.square(x[:, None] - y).sum(-1).mean())


def test_a_gradient_does_not_rotate_and_random_entries_do():
    T = gaussian_map(np.zeros(3), np.diag([1.0, 2.0, 3.0]), np.ones(3), np.eye(3) + 0.3)
    A = torch.tensor(T.matrix)
    x = torch.tensor(RNG.normal(size=(5, 3)))
    assert float(rotation_share(lambda x: x @ A.T, x)) < 1e-20
    shares = []
    for seed in range(300):
        G = torch.randn(8, 8, generator=torch.Generator().manual_seed(seed))
        shares.append(float(rotation_share(lambda x, G=G: x + x @ G.T, torch.ones(1, 8))))
    np.testing.assert_allclose(np.mean(shares), 7 / 16, atol=0.02)


def test_one_share_a_run():
    x = torch.tensor(RNG.normal(size=(2, 6, 3)))
    A = torch.tensor(RNG.normal(size=(2, 3, 3)))
    both = rotation_share(lambda x: torch.sin(x @ A.mT), x)
    alone = [float(rotation_share(lambda x, r=r: torch.sin(x @ A[r].T), x[r])) for r in range(2)]
    np.testing.assert_allclose(both, alone)


def test_a_share_of_given_derivatives():
    A = torch.tensor(RNG.normal(size=(3, 3)))
    x = torch.tensor(RNG.normal(size=(6, 3)))
    np.testing.assert_allclose(rotation_share(lambda x: x + x @ A.T, x), antisymmetric_share(A.expand(6, 3, 3)))
    np.testing.assert_allclose(antisymmetric_share(np.stack([A - A.T, A + A.T])[:, None]), [1, 0], atol=1e-20)


def test_pairs_are_optimal_and_interpolate_along_a_geodesic():
    x, y = RNG.normal(size=(2, 60, 3))
    paired = pair_clouds(x, y)
    np.testing.assert_allclose(np.square(x - paired).sum(1).mean() ** 0.5, sample_w2(x, y))
    np.testing.assert_allclose(sample_w2(x, 0.7 * x + 0.3 * paired), 0.3 * sample_w2(x, y))
    assert sorted(paired[:, 0]) == sorted(y[:, 0])


def test_what_does_not_fit():
    with pytest.raises(ValueError, match="path"):
        bend(np.ones((1, 2, 2)))
    with pytest.raises(ValueError, match="ends elsewhere"):
        bend(np.ones((2, 2, 2)))
    with pytest.raises(ValueError, match="x, y of shapes"):
        random_pairing_cost(np.ones((2, 2)), np.ones((2, 3)))
    with pytest.raises(ValueError, match="not all 0"):
        rotation_share(lambda x: x, torch.ones(3, 2))
    with pytest.raises(ValueError, match="M of shape"):
        antisymmetric_share(np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"f\(x\)"):
        rotation_share(lambda x: x[:, :1], torch.ones(3, 2))
