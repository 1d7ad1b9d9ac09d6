"""The experiments of the chapter on the neural tangent kernel: what their parts are."""

import numpy as np
import pytest
from deepdynamics import data
from deepdynamics.experiments.ntk import scale, training, widths

needs_digits = pytest.mark.skipif(not data.available("mnist"), reason="MNIST is not here")


def test_every_step_has_a_batch_and_every_sample_is_seen():
    plan = training.plan("momentum", 3)
    batches = plan["batches"]
    assert batches.shape == (training.STEPS, training.BATCH)
    assert all(len(set(epoch.ravel().tolist())) == training.SAMPLES for epoch in batches.reshape(-1, 4, training.BATCH))
    assert np.isclose(plan["learning_rate"] / (1 - plan["momentum"]), training.plan("plain", 3)["learning_rate"])


@needs_digits
def test_repetitions_share_no_digit():
    (first, targets, unseen), (second, _, _) = training.digits(0), training.digits(1)
    np.testing.assert_allclose(np.square(first).mean(1), 1)
    np.testing.assert_allclose(targets.sum(1), 0, atol=1e-12)
    assert not (first[:, None] == np.concatenate([second, unseen])).all(-1).any()


@pytest.mark.parametrize("target", ["pair", "drawn"])
def test_targets_of_signs(target):
    x, y, unseen, truth = scale.examples(target, 0)
    assert x.shape == (300, 30) and unseen.shape == (500, 30) and set(np.unique(x)) == {-1.0, 1.0}
    assert 0.3 < np.square(np.concatenate([y, truth])).mean() < 3
    if target == "pair":
        assert (y[:, 0] == x[:, 0] * x[:, 1]).all()


@needs_digits
@pytest.mark.parametrize("optimiser", training.OPTIMISERS)
def test_a_cell_has_its_parts(optimiser):
    found = training.cell(64, optimiser, 0)
    deviation, heavy = dict(zip(training.MODELS, found["deviation"], strict=True)), optimiser == "momentum"
    assert set(found) == set(training.DIMENSIONS) - (set() if heavy else {"batches", "twins"})
    assert (deviation["infinite"] != deviation["rescaled"]) == (deviation["infinite"] != deviation["whole"]) == heavy
    assert not heavy or found["twins"] > 0
    assert found["fit"] < 0.2 and np.isfinite(found["spread"]).all()


def test_a_twin_has_weights_of_its_own():
    first, same, twin = (training.network(16, 3), training.network(16, 3), training.network(16, 3, twin=True))
    weights = [net.layers[0].weight for net in (first, same, twin)]
    assert (weights[0] == weights[1]).all() and not (weights[0] == weights[2]).any()


def test_a_kernel_that_hardly_moves_keeps_its_direction():
    found = scale.cell("pair", 8.0, 0)
    assert found["kernel_change"] < 0.05 and found["cosine"] > 0.999
    assert 0.5 < found["own"] / found["kernel"] < 2


def test_the_two_rules_agree_at_one_width():
    assert widths.alpha(256, "fixed") == widths.alpha(256, "falling") == 2 / 256**0.5
    found = [widths.cell(64, rule, 0)["kernel_change"] for rule in widths.RULES]
    assert found[1] < found[0]  # a larger output scale is lazier
