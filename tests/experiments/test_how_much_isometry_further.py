"""The sweep taken further: its settings, and the linear classifier."""

import pytest
from deepdynamics import data
from deepdynamics.experiments import experiment_of
from deepdynamics.experiments.how_much_isometry import further, sweep

needs_images = pytest.mark.skipif(not data.available("mnist"), reason="MNIST is not here")


def test_the_grid_is_that_of_the_chapter():
    paper = experiment_of(further.KEY).grid("paper")
    assert len(paper) == 12 and sum(point["steps"] == further.LONGER for point in paper) == 3


@pytest.mark.parametrize("depth, q", [(3, 5.0), (36, 0.3)])
def test_the_spread_carried_from_twelve_layers_is_the_same_to_a_tenth(depth, q):
    carried, own = sweep.schedule("both", q, depth=depth).spread, sweep.schedule("both", 0.8).spread
    assert carried == pytest.approx(own, rel=0.1)


@needs_images
def test_a_linear_classifier_knows_the_left_digit_and_not_the_parity():
    """Of 5,000 answers at even odds the standard error is 0.007; the share of one class is within 0.01 of a half."""
    assert 0.84 < further.logistic_accuracy("left") < 0.89
    assert abs(further.logistic_accuracy("sum") - 0.5) < 0.04


@needs_images
def test_more_steps_teach_more():
    (X, *digits), *_ = sweep.pairs()
    y, plan = sweep.labels("left", *digits), sweep.schedule("both", 0.3, depth=3)
    few, many = (
        sweep.trained("left", plan, "orthogonal", [0], [8.0], X, y, X[:500], y[:500], steps=steps)[0][0]
        for steps in (2, 60)
    )
    assert many > few + 0.2
