"""Generators: what they find, the sign that they cannot know, runs that do not touch each other."""

import pytest
import torch
from deepdynamics.transport import generators as room
from deepdynamics.transport import random_pairing_cost, sample_w2, train_generators


def cloud(runs, n=400, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(runs, n, 2, generator=draw) * torch.tensor([1.5, 0.3]) + torch.tensor([1.0, 0.0])


def test_both_kinds_find_a_gaussian():
    x = cloud(2)
    z = torch.randn(400, 2, generator=torch.Generator().manual_seed(5))
    for made, data in zip(train_generators(x, skip=[False, True], steps=400, seed=0)(z), x, strict=True):
        assert sample_w2(made, data) < 0.6 * sample_w2(z, data)


def test_the_readout_scales_the_start_alone():
    z = torch.ones(1, 2)
    whole, tenth = (train_generators(cloud(1), skip=False, readout=r, steps=1, seed=0) for r in (1.0, 0.1))
    torch.testing.assert_close(whole.weights[0], tenth.weights[0], rtol=0, atol=0.01)  # a step of Adam, 0.002
    torch.testing.assert_close(whole.weights[4], 10 * tenth.weights[4], rtol=0, atol=0.05)
    assert (tenth(z).norm() < 0.3 * whole(z).norm()).all()


def test_a_skip_with_a_small_readout_starts_near_the_identity():
    z = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    plain, residual = train_generators(cloud(2), skip=[False, True], readout=[1.0, 0.1], steps=1, seed=0)(z)
    assert (residual - z).square().sum(1).mean() < 0.2 < (plain - z).square().sum(1).mean()
    assert (residual - z).square().sum(1).mean() < random_pairing_cost(z, residual) / 10


def test_changing_the_sign_of_the_noise_and_of_the_first_weights_changes_nothing(monkeypatch):
    """The symmetry behind the cost of a plain generator: Adam and the game do not see the sign."""
    x, z = cloud(1), torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    as_it_is = train_generators(x, skip=False, steps=20, seed=0)(z)
    start, rows = room._start, room._rows

    def turned(seeds, draws, d, out):
        weights = start(seeds, draws, d, out)
        if out == d:  # the generator's
            weights[0] = (-weights[0]).detach().requires_grad_()
        return weights

    def noise_turned(values, seeds):
        found = rows(values, seeds)
        return -found if found.is_floating_point() else found

    monkeypatch.setattr(room, "_start", turned)
    monkeypatch.setattr(room, "_rows", noise_turned)
    torch.testing.assert_close(train_generators(x, skip=False, steps=20, seed=0)(-z), as_it_is)


def test_the_slope_by_hand_is_that_of_autograd():
    f, x = room._start([0], {0: torch.Generator().manual_seed(0)}, 2, 1), cloud(1, 10).requires_grad_()
    (slope,) = torch.autograd.grad(room._score(f, x).sum(), x)
    torch.testing.assert_close(room._slope(f, x), slope)


def test_a_run_does_not_depend_on_the_others():
    x, z = cloud(2), torch.ones(1, 2)
    both = train_generators(x, skip=True, steps=20, seed=[1, 2])(z)
    alone = train_generators(x[1:], skip=True, steps=20, seed=[2])(z)
    torch.testing.assert_close(both[1:], alone, rtol=1e-3, atol=1e-4)


def test_what_does_not_fit():
    with pytest.raises(ValueError, match="samples of shape"):
        train_generators(torch.ones(5, 2), skip=True, steps=1, seed=0)
    for wrong in ({"skip": 0.5}, {"skip": True, "readout": float("nan")}):
        with pytest.raises(ValueError, match="True or False, and finite numbers"):
            train_generators(cloud(1), steps=1, seed=0, **wrong)
    with pytest.raises(ValueError, match="z of shape"):
        train_generators(cloud(1), skip=True, steps=1, seed=0)(torch.ones(4, 3))
