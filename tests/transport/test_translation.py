"""Maps of a flow as shallow networks: affine ones exactly, a mixture's the better the more units."""

import numpy as np
import pytest
import torch
from deepdynamics.transport import GaussianMixture, compose_daes, gaussian_dae, train_steps, translate
from deepdynamics.transport.translation import BATCH, RATE

MIXTURE = GaussianMixture([0.4, 0.35, 0.25], [[-1.4, -0.6], [1.3, -0.7], [0.1, 1.3]], 0.2)


def units(count, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 2)), rng.normal(size=count)


def test_units_that_are_always_on_give_affine_maps():
    maps = [gaussian_dae([1, 0], np.diag([2.0, 1.0]), t) for t in (0.1, 0.2)]
    x = np.random.default_rng(0).normal(size=(100, 2))
    on = np.concatenate([np.eye(2), -np.eye(2)]), np.full(4, -10.0)  # relu(x + 10) and relu(10 - x)
    layers = translate(maps, x, lambda k: on, "relu", decay=1e-12)
    np.testing.assert_allclose(compose_daes(layers, x), compose_daes(maps, x), atol=1e-6)


def test_more_units_follow_a_mixture_better():
    maps = [lambda x, k=k: MIXTURE.sharpened(0.01 * k).dae(x, 0.01) for k in range(3)]
    x, new = MIXTURE.sample(2000, 0), MIXTURE.sample(500, 1)
    goal = compose_daes(maps, new)[-1]
    errors = []
    for count in (10, 40, 160):
        layers = translate(maps, x, lambda k, count=count: units(count, k), "relu")
        errors.append(np.linalg.norm(compose_daes(layers, new)[-1] - goal) / np.linalg.norm(goal - new))
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_maps_that_leave_the_numbers():
    with pytest.raises(ValueError, match=r"maps\[1\]\(x\)"):
        translate([lambda x: x, lambda x: x * np.nan], np.ones((3, 2)), lambda k: units(2, k), "relu")


def test_trained_steps_follow_a_mixture_and_not_only_an_affine_map():
    g = lambda x: MIXTURE.dae(x, 0.05)  # noqa: E731
    missed = lambda layer: np.linalg.norm(layer(new) - g(new)) / np.linalg.norm(g(new) - new)  # noqa: E731
    x, new = np.stack([MIXTURE.sample(2000, seed) for seed in (0, 1)]), MIXTURE.sample(500, 2)
    on = np.concatenate([np.eye(2), -np.eye(2)]), np.full(4, -10.0)
    (affine,) = translate([g], x[0], lambda k: on, "relu")
    for layer in train_steps(x, np.stack([g(part) for part in x]), 50, steps=400, seed=0):
        assert missed(layer) < missed(affine) / 2  # half of what no kink at all leaves, 0.9


def test_steps_are_those_of_automatic_gradients():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 3, 400, 2))
    trained = train_steps(x, y, 7, steps=20, seed=5)
    draw = torch.Generator().manual_seed(5)
    a, b = torch.randn((3, 7, 2), generator=draw), torch.randn((3, 1, 7), generator=draw)
    weights = [part.requires_grad_() for part in (a, b, torch.zeros(3, 7, 2))]
    adam, rows = torch.optim.Adam(weights), torch.arange(3)[:, None]
    points, goal = torch.tensor(x).float(), torch.tensor(y - x).float()
    with torch.enable_grad():
        for step in range(20):
            adam.param_groups[0]["lr"] = RATE * (1 - step / 20)
            places = torch.randint(400, (3, BATCH), generator=draw)
            found = torch.relu(points[rows, places] @ a.mT - b) @ weights[2]
            adam.zero_grad()
            (found - goal[rows, places]).square().mean((1, 2)).sum().backward()
            adam.step()
    for r, layer in enumerate(trained):
        for got, wanted in zip((layer.a, layer.b, layer.c), (a[r], b[r, 0], weights[2][r]), strict=True):
            np.testing.assert_allclose(got, wanted.detach().numpy(), atol=1e-4)


def test_steps_of_other_shapes():
    with pytest.raises(ValueError, match="one \\(runs, n, d\\) is allowed"):
        train_steps(np.ones((2, 3, 2)), np.ones((2, 3, 1)), 5, steps=1, seed=0)
