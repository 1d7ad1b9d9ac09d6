"""The experiment on many small CNNs: its pictures, its bookkeeping, and what is stored."""

import numpy as np
import pytest
import torch
from deepdynamics import data, results
from deepdynamics.data import datasets
from deepdynamics.experiments.cnn_jacobian import small as experiment


@pytest.fixture
def digits(monkeypatch):
    """The stand-in for MNIST, whatever data are there."""
    monkeypatch.setattr(datasets, "_find", lambda *_: None)
    monkeypatch.setattr(data, "available", lambda name: False)
    experiment.pictures.cache_clear()
    yield experiment.pictures("mnist")
    experiment.pictures.cache_clear()


def test_measured_images_have_no_ties(digits):
    """Equal neighbours, of which a maximum has no derivative, are what dequantising removes."""
    grey = digits.measured * digits.deviation + digits.mean
    assert not (grey[:, :, :, 1:] == grey[:, :, :, :-1]).any()
    assert float((grey - digits.test_X[:32] * digits.deviation - digits.mean).abs().max()) <= 0.5 / 255 + 1e-6
    assert float(digits.X.double().mean()) == pytest.approx(0, abs=1e-5)
    assert float(digits.X.double().std()) == pytest.approx(1, abs=1e-5)


def test_rows_and_columns_give_the_same_narrow_layers(digits):
    """Layers 5 and 6 from their rows, as the live part does, and from all columns. float32: 1e-4 of each."""
    net = experiment.network_of("mnist", 0, trained=False)
    x = digits.measured[:1]
    alone = experiment.layer_quantities(net, x, (5, 6))
    among = experiment.layer_quantities(net, x, (4, 5, 6))
    for few, all_ in zip(alone, among, strict=True):
        assert np.allclose(few, all_[1:], rtol=1e-4, atol=1e-6)


def test_a_cell_of_few_depths_is_labelled_by_them(monkeypatch):
    sizes = {**{dim: len(values) for dim, values in experiment.COORDINATES.items()}, "noisy": 2}
    shapes = {name: [sizes[dim] for dim in dims[3:]] for name, dims in experiment.DIMENSIONS.items()}
    shapes |= {"layers": [2, sizes["quantity"]], "spectrum": [2, sizes["share"]]}
    computed = {name: np.zeros(shapes[name]) for name in shapes if not name.startswith("control")}
    monkeypatch.setattr(experiment, "_measured", lambda *given: computed)
    found = experiment.cell("mnist", 0, "untrained", depths=(5, 6))
    assert found["layers"].layer.values.tolist() == found["active"].layer.values.tolist() == [5, 6]
    assert found["noise"].noisy.values.tolist() == [5, 6]
    assert all(array.dims == experiment.DIMENSIONS[name][3:] for name, array in found.items())


def test_description_of_a_known_spectrum():
    """Twenty pixels of a 5 × 5 image as singular vectors, with values 20, 19, …, 1."""
    s, V = torch.arange(20.0, 0, -1, dtype=torch.float64), torch.eye(25, dtype=torch.float64)[:, :20]
    named = dict(zip(experiment.QUANTITIES, experiment._describe(s, V, 5), strict=True))
    squares = np.arange(1, 21.0) ** 2
    assert named["largest"] == 20 and named["rank"] == 20 and named["frobenius"] == pytest.approx(squares.sum() ** 0.5)
    assert named["participation"] == pytest.approx(squares.sum() ** 2 / (squares**2).sum())
    assert named["at 10 %"] == 19 / 20 and named["at 50 %"] == 11 / 20
    assert named["spread, top"] == pytest.approx(1 / 25) and named["radius, bottom"] == pytest.approx(0, abs=1e-9)


def test_unknown_pictures():
    with pytest.raises(ValueError, match="name = 'dogs': one of mnist, cifar-100"):
        experiment.pictures("dogs")


def test_the_stored_result_is_whole():
    found = results.load(experiment.KEY)
    for name in found.data_vars:
        assert np.isfinite(found[name].values).all(), name
    assert (found["noise_accuracy"].sel(data="mnist", state="trained", level=0) > 0.9).all()
    assert float(found["homogeneity"].sel(identity="defect").max()) < 1e-12


def test_one_untrained_network_agrees_with_the_stored_one():
    """The same numbers but for the rounding of float32 in the Jacobian, 1e-4 of each."""
    found = results.load(experiment.KEY)
    if not data.available("mnist"):
        pytest.skip("no MNIST")
    net = experiment.network_of("mnist", 3, trained=False)
    live = experiment.layer_quantities(net, experiment.pictures("mnist").measured[:16], (5, 6))[0]
    kept = found["layers"].sel(data="mnist", network=3, state="untrained", layer=[5, 6]).values
    assert np.allclose(live, kept, rtol=1e-3)
