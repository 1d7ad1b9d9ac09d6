"""The experiments on contraction: cells that do not depend on what is computed beside them, and what is stored."""

import numpy as np
import pytest
import torch
from deepdynamics import data, results
from deepdynamics.ensembles import MLPEnsemble
from deepdynamics.experiments.contraction import autoencoders, prediction
from deepdynamics.jacobian import singular_values


@pytest.fixture
def stand_in(monkeypatch):
    """The stand-in for MNIST, whatever data are there."""
    monkeypatch.delenv("DEEPDYNAMICS_DATA", raising=False)
    monkeypatch.setattr(data.datasets, "_find", lambda *_: None)
    for cached in (autoencoders.digits, prediction.samples):
        cached.cache_clear()
    yield
    for cached in (autoencoders.digits, prediction.samples):
        cached.cache_clear()


def test_a_kind_is_the_same_whatever_is_trained_beside_it(stand_in):
    alone, spectrum, nets = autoencoders.train(3, ("contractive 1",), logistic=False)
    both, spectra, _ = autoencoders.train(3, ("denoising 0.5", "contractive 1"), logistic=False)
    assert both.shape == (2, len(autoencoders.QUANTITIES)) and spectra.shape == (2, autoencoders.HIDDEN)
    # Single precision; 168 steps amplify the order of a sum a little. One answer of 397 is 0.0025.
    np.testing.assert_allclose(spectra[1], spectrum[0], rtol=1e-3, atol=1e-4)
    assert both[1, 0] == pytest.approx(alone[0, 0], abs=0.0051)
    named = dict(zip(autoencoders.QUANTITIES, alone[0], strict=True))
    looked_at = autoencoders.digits()[2][: autoencoders.LOOKED_AT]
    assert named["square"] == pytest.approx(float(nets.contraction(looked_at).mean()), rel=1e-5)
    assert np.isnan(named["logistic"]) and 0 < named["tangent"] < 1


def test_shift_tangents_are_half_the_difference_of_two_shifts():
    image = torch.zeros(1, 784)
    image[0, 28 * 10 + 12] = 1.0
    right, down = autoencoders.shift_tangents(image)[0].T.reshape(2, 28, 28)
    assert right[10, 13] == 0.5 and right[10, 11] == -0.5 and down[11, 12] == 0.5 and down[9, 12] == -0.5
    assert right.abs().sum() == 1 and down.abs().sum() == 1


def test_a_classifier_of_the_prediction_is_trained_as_it_says(stand_in):
    table = prediction.train("mnist", "relu", 32, 1, seeds=(1,))
    assert table.shape == (3, 3, 1, len(prediction.QUANTITIES))
    images, labels, test_images, test_labels, _ = prediction.samples("mnist")
    net = MLPEnsemble(1, (784, 32, 10), "relu", weight_var=2.0, seed=[1011])
    state = torch.nn.Sequential(*net.network(0).layers[:1])
    s = torch.stack([singular_values(state, x) for x in test_images[: prediction.LOOKED_AT]])
    expected = [float(value) for value in prediction.summaries(s)]
    names = [prediction.QUANTITIES.index(f"{name}_start") for name in prediction.SPECTRAL]
    assert table[1, 0, 0, names] == pytest.approx(expected, abs=1e-3)
    steps = len(images) // prediction.BATCH
    for count, seed in ((steps, 1), ((prediction.EPOCHS - 1) * steps, 101)):
        net.fit(images, labels, learning_rate=prediction.RATES[1], steps=count, batch=prediction.BATCH, seed=seed)
    accuracy = float(net.evaluate(test_images, test_labels)[0])
    assert table[1, 1, 0, 0] == pytest.approx(accuracy, abs=0.0051)
    assert table[0, 0, 0, prediction.QUANTITIES.index("parameters")] == 784 * 32 + 32 + 32 * 10 + 10


def test_what_is_stored_is_whole():
    found, outcome = results.load(autoencoders.KEY), results.load(prediction.KEY).table
    table, spectra, provenance = found.table, found.spectra, found.attrs
    assert provenance["parameters"]["kinds"] == list(autoencoders.KINDS)
    assert np.isfinite(table.values).all() and np.isfinite(spectra.values).all()
    assert (spectra.diff("rank") <= 0).all()
    ran = np.isfinite(outcome.sel(quantity="loss_one"))
    assert (
        float(ran.mean()) > 0.7
        and np.isfinite(outcome.where(ran, drop=False).sel(quantity="accuracy")).sum() == ran.sum()
    )
    assert float(outcome.sel(quantity="accuracy").max()) < 1
