"""The sweep over the spread: lengths and gradients do as they should, the two questions, and training."""

import numpy as np
import pytest
import torch
from deepdynamics import activations, data
from deepdynamics.experiments import experiment_of
from deepdynamics.experiments.how_much_isometry import sweep
from deepdynamics.freeprobability import DerivativeLaw, JacobianSpectrum

needs_images = pytest.mark.skipif(not data.available("mnist"), reason="MNIST is not here")
TANH = activations.get("tanh")
SETTINGS = [(kept, q) for kept in sweep.KEPT for q in (0.03, 0.8) if (kept, q) != ("exploding", 0.03)]


def gradient_factors(plan):
    return plan.weight_vars * TANH.slope_moment(plan.lengths[:-1], 2)


@pytest.mark.parametrize("kept, q", SETTINGS)
def test_variances_give_the_lengths_and_the_gradients_of_a_schedule(kept, q):
    plan = sweep.schedule(kept, q)
    mapped = plan.weight_vars * TANH.second_moment(plan.lengths[:-1]) + plan.bias_vars
    np.testing.assert_allclose(mapped, plan.lengths[1:], rtol=1e-10)
    over_depth = {"vanishing": 1 / sweep.FACTOR, "exploding": sweep.FACTOR}.get(kept, 1.0)
    np.testing.assert_allclose(gradient_factors(plan), over_depth ** (1 / sweep.DEPTH), rtol=1e-10)
    np.testing.assert_allclose(np.log(plan.lengths).mean(), np.log(q), atol=1e-8)


def test_only_one_signal_is_relaxed():
    assert np.ptp(sweep.schedule("vanishing", 0.3).lengths) == 0
    growing, shrinking = (sweep.schedule(kept, 0.8).lengths for kept in ("growing", "shrinking"))
    assert growing[-1] / growing[0] == pytest.approx(sweep.FACTOR) and (np.diff(shrinking) < 0).all()
    assert (sweep.schedule("shrinking", 0.8).bias_vars < 1e-12).all()


@pytest.mark.parametrize("weights", sweep.WEIGHTS)
def test_the_spread_is_that_of_the_law_where_lengths_stay(weights):
    plan = sweep.schedule("both", 0.3, depth=7, gaussian_weights=weights == "gaussian")
    law = JacobianSpectrum(7, DerivativeLaw.of("tanh", 0.3), weights)
    assert plan.spread == pytest.approx(law.variance / law.mean**2, rel=1e-8)


@pytest.mark.parametrize("kept, q", [("both", 0.3), ("growing", 0.3), ("vanishing", 0.3)])
def test_first_outputs_have_variance_one_and_the_curvature_is_that_of_a_network(kept, q):
    # 40 networks of 98 units: their mean squared outputs and gradients vary by some √(L/N) each, 6 % in the mean of 40;
    # the readout's own gradient, left out of the curvature, is taken out here.
    plan, sizes, curvatures = sweep.schedule(kept, q), [], []
    x = torch.randn(sweep.WIDTH, generator=torch.Generator().manual_seed(0))
    x *= (sweep.WIDTH * float(TANH.second_moment(plan.lengths[0]))) ** 0.5 / x.norm()
    for seed in range(40):
        layers = [(w.requires_grad_(), b) for w, b in sweep._draw("sum", plan, "orthogonal", seed)]
        h = x
        for w, b in layers[:-1]:
            h = torch.tanh(w @ h + b)
        f = layers[-1][0] @ h
        gradients = torch.autograd.grad(f[0], [w for w, _ in layers[:-1]])
        sizes.append(float(f.detach().square().mean()))
        curvatures.append(float(sum(g.square().sum() for g in gradients)) / sweep.WIDTH)
    assert np.mean(sizes) == pytest.approx(1, abs=0.5)
    assert np.mean(curvatures) == pytest.approx(plan.curvature, rel=0.2)


def test_gradients_cannot_explode_at_a_small_constant_length():
    with pytest.raises(ValueError, match="gradients can not grow"):
        sweep.schedule("exploding", 0.3)
    with pytest.raises(ValueError, match="kept"):
        sweep.schedule("neither", 0.3)


@needs_images
def test_pairs_are_disjoint_unit_vectors_and_a_linear_map_does_not_know_parity():
    (X, a, b), (V, *_), (T, c, d) = sweep.pairs()
    assert X.shape == (20_000, 98) and len(V) == 2_500 and len(T) == 5_000
    torch.testing.assert_close(torch.cat([X, T]).norm(dim=1), torch.ones(25_000))
    assert abs(float(sweep.labels("sum", a, b).float().mean()) - 0.5) < 0.02
    assert (
        0.45
        < float(sweep.ridge_accuracy(X[None], sweep.labels("sum", a, b), T[None], sweep.labels("sum", c, d)))
        < 0.55
    )


@needs_images
def test_a_large_rate_never_counts_as_right():
    (X, *digits), *_ = sweep.pairs()
    y, plan = sweep.labels("left", *digits), sweep.schedule("both", 0.3)
    accuracy, loss = sweep.trained("left", plan, "orthogonal", [0, 0], [1.0, 1e6], X, y, X[:500], y[:500], steps=20)
    assert accuracy[0] > accuracy[1] + 0.2 and not loss[1] < loss[0]


def test_the_grid_is_that_of_the_chapter():
    assert len(experiment_of(sweep.KEY).grid("paper")) == 37
