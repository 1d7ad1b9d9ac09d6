"""Critical points and training runs of the chapter on landscapes."""

import numpy as np
import pytest
import torch
from deepdynamics import data
from deepdynamics.experiments import experiment_of
from deepdynamics.experiments.landscapes import nets, saddles, training

needs_images = pytest.mark.skipif(not data.available("mnist"), reason="MNIST is not here")


def test_nets_side_by_side_learn_as_if_alone():
    X = torch.randn(2, 20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = X[..., 0].sign()
    both = nets.descend(nets.draw((3, 4, 1), (0, 1), dtype=torch.float64), X, y, rate=0.1, steps=50)
    alone = nets.descend(nets.draw((3, 4, 1), (1,), dtype=torch.float64), X[1:], y[1:], rate=0.1, steps=50)
    torch.testing.assert_close(nets.flat(both)[1:], nets.flat(alone))
    again = nets.shaped(nets.flat(both)[1], (3, 4, 1))
    torch.testing.assert_close(nets.outputs(again, X[1]), nets.outputs(both, X)[1])


def test_sharpness_is_the_largest_eigenvalue():
    X = torch.randn(1, 30, 4, generator=torch.Generator().manual_seed(0))
    y = X[..., 0].sign()
    weights = nets.descend(nets.draw((4, 5, 1), (0,)), X, y, rate=0.1, steps=500)

    def of(theta):
        return nets.losses(nets.outputs(nets.shaped(theta, (4, 5, 1)), X[0]), y[0])

    exact = torch.linalg.eigvalsh(torch.func.hessian(of)(nets.flat(weights)[0]))[-1]
    assert float(training.sharpness(weights, X, y, torch.tanh)) == pytest.approx(float(exact), rel=0.05)


@needs_images
def test_searches_lower_the_gradient_and_report_the_hessian():
    found = saddles.cell((20,))
    assert found["eigenvalues"].shape == (1, 3, 6, 49) and (found["gradient"] < 0.1).all()
    assert (np.diff(found["eigenvalues"].values) <= 1e-6).all()


def test_grids_are_those_of_the_chapter():
    assert len(experiment_of(training.KEY).grid("paper")) == 3 + 3 * len(training.UNITS) + 1 + 32
    assert len(experiment_of(saddles.KEY).grid("paper")) == 2
