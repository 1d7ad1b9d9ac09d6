"""Steps along vectors of an image and of others: what the accuracies of `perturbations.fresh` are of."""

import pytest
import torch
from deepdynamics import data
from deepdynamics.data import datasets
from deepdynamics.experiments.cnn_jacobian import small as cnns
from deepdynamics.experiments.perturbations import fresh


@pytest.fixture
def digits(monkeypatch):
    """The stand-in for MNIST, whatever data are there, and few images of it."""
    monkeypatch.setattr(datasets, "_find", lambda *_: None)
    monkeypatch.setattr(data, "available", lambda name: False)
    monkeypatch.setattr(fresh, "IMAGES", 6)
    cnns.pictures.cache_clear()
    yield cnns.pictures("mnist")
    cnns.pictures.cache_clear()


def test_a_step_of_no_length_costs_nothing(digits):
    """In every way the accuracy at length 0 is that of the images, within what their dithering changes."""
    net = cnns.network_of("mnist", 8, trained=False)
    after = fresh._after(net, digits, 1)
    assert after.shape == (len(fresh.WAYS), len(fresh.LENGTHS))
    assert (after[:, 0] == after[0, 0]).all()
    assert ((after >= 0) & (after <= 1)).all()


def test_ways_step_where_they_say(digits, monkeypatch):
    """A network that looks at pixel 0 alone, whose Jacobian says so: a step along its first vector of one sign or the
    other changes the answer, own and others' alike; weak steps never do, for they do not touch that pixel.
    """
    J = torch.diag(torch.tensor([2.0, *[1.0] * 9])).double()
    J = torch.cat((J, torch.zeros(10, 774, dtype=torch.float64)), 1)
    monkeypatch.setattr(cnns, "_jacobians", lambda net, x, layers: {fresh.LAYER: J})
    images = cnns.Pictures(**{**vars(digits), "test_X": torch.zeros(6, 1, 28, 28), "test_y": torch.zeros(6, dtype=int)})

    def net(x):
        return torch.stack((torch.ones(len(x)), x.flatten(1)[:, 0]), 1)

    after = dict(zip(fresh.WAYS, fresh._after(net, images, 1), strict=True))
    assert after["own"].tolist() == after["other"].tolist() == [1, 0.5, 0.5]
    assert after["weak"].tolist() == [1, 1, 1]
