"""The experiments on contraction beside plain torch modules that autograd trains; cells that do not depend on what is
computed beside them; what is stored.
"""

import numpy as np
import pooch
import pytest
import torch
from deepdynamics import results
from deepdynamics.experiments.contraction import autoencoders, prediction
from deepdynamics.networks import MLP
from torch import nn
from torch.func import jacrev, vmap


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """The stand-in for MNIST, whatever data are there."""
    monkeypatch.delenv("DEEPDYNAMICS_DATA", raising=False)
    monkeypatch.setenv("DEEPDYNAMICS_OFFLINE", "1")
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / name)
    for cached in (autoencoders.digits, prediction.samples):
        cached.cache_clear()
    yield
    for cached in (autoencoders.digits, prediction.samples):
        cached.cache_clear()


def epochs_of(n, batch, epochs, seed):
    """Shuffled mini-batches, remainders left out."""
    draw = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        yield from torch.randperm(n, generator=draw)[: n - n % batch].split(batch)


def autoencoder_by_autograd(seed, contraction=0.0, weight_decay=0.0, noise=0.0):
    """W, b, c of an autoencoder that torch's Adam trains on the loss as the chapter writes it, in double precision."""
    images = autoencoders.digits()[0]
    pixels, X = images.shape[1], images.double()
    start = torch.randn(128, pixels, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    mean = X.mean(0).clamp(0.001, 0.999)
    W, b, c = parameters = [nn.Parameter(x) for x in (start / pixels**0.5, X.new_zeros(128), (mean / (1 - mean)).log())]
    descent, draw = torch.optim.Adam(parameters, lr=0.003), torch.Generator().manual_seed(seed)
    for rows in epochs_of(len(X), 100, 12, seed):
        x = X[rows]
        seen = x * (torch.rand(x.shape, generator=draw) >= noise)
        h = torch.sigmoid(seen @ W.T + b)
        loss = nn.functional.binary_cross_entropy_with_logits(h @ W + c, x, reduction="sum") / len(x)
        squares = (h * (1 - h)).square() @ W.square().sum(1)  # ‖J‖² of each image
        loss = loss + contraction * squares.mean() + weight_decay * W.square().sum()
        descent.zero_grad()
        loss.backward()
        descent.step()
    return [p.detach() for p in parameters]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("decay 0.01", {"weight_decay": 0.01}),
        ("denoising 0.5", {"noise": 0.5}),
        ("contractive 1", {"contraction": 1.0}),
    ],
)
def test_an_autoencoder_is_the_one_that_autograd_trains(stand_in, kind, options):
    table, spectrum, _ = autoencoders.train(3, (kind,), logistic=False)
    named = dict(zip(autoencoders.QUANTITIES, table[0], strict=True))
    W, b, c = autoencoder_by_autograd(3, **options)
    test_images = autoencoders.digits()[2].double()
    looked_at = test_images[:100]
    _, s, Vt = torch.linalg.svd(vmap(jacrev(lambda x: torch.sigmoid(W @ x + b)))(looked_at), full_matrices=False)
    s, Vt = s[:, :128], Vt[:, :20]
    logits = torch.sigmoid(test_images @ W.T + b) @ W + c
    t = autoencoders.shift_tangents(looked_at)
    inside = [
        ((v @ t).square().sum(1) / t.square().sum(1)).mean() for v in (Vt, Vt.roll(1, 0))
    ]  # an orthogonal projection on twenty directions, of this image and of another
    expected = {
        "participation": (s.square().sum(1).square() / s.pow(4).sum(1)).mean(),
        "leading_share": (s[:, :10].square().sum(1) / s.square().sum(1)).mean(),
        "square": s.square().sum(1).mean(),
        "reconstruction": nn.functional.binary_cross_entropy_with_logits(logits, test_images, reduction="sum")
        / len(test_images),
        "tangent": inside[0],
        "tangent_elsewhere": inside[1],
    }
    # Single precision; 168 steps amplify its rounding a little.
    np.testing.assert_allclose(spectrum[0], s.mean(0), rtol=1e-3, atol=1e-4)
    for name, value in expected.items():
        assert named[name] == pytest.approx(float(value), rel=1e-3), name
    assert 0.5 < named["ridge"] <= 1 and np.isnan(named["logistic"])


def test_a_kind_is_the_same_whatever_is_trained_beside_it(stand_in):
    alone, spectrum, _ = autoencoders.train(3, ("contractive 1",), logistic=False)
    both, spectra, _ = autoencoders.train(3, ("denoising 0.5", "contractive 1"), logistic=False)
    assert both.shape == (2, len(autoencoders.QUANTITIES)) and spectra.shape == (2, autoencoders.HIDDEN)
    # Single precision; 168 steps amplify the order of a sum a little. One answer of 397 is 0.0025.
    np.testing.assert_allclose(spectra[1], spectrum[0], rtol=1e-3, atol=1e-4)
    assert both[1, 0] == pytest.approx(alone[0, 0], abs=0.0051)


def test_shift_tangents_are_half_the_difference_of_two_shifts():
    image = torch.zeros(1, 784)
    image[0, 28 * 10 + 12] = 1.0
    right, down = autoencoders.shift_tangents(image)[0].T.reshape(2, 28, 28)
    assert right[10, 13] == 0.5 and right[10, 11] == -0.5 and down[11, 12] == 0.5 and down[9, 12] == -0.5
    assert right.abs().sum() == 1 and down.abs().sum() == 1


def spectral_by_hand(net, images):
    """The four numbers of the spectrum from the input to the last hidden layer, by autograd and dense SVDs."""
    s = torch.linalg.svdvals(vmap(jacrev(net[:2]))(images)).detach().double().numpy()
    s = np.maximum(s, 1e-6 * s[:, :1])
    squares, middle = s**2, s[:, s.shape[1] // 2]  # in descending order the lower of the two in the middle
    logarithms = [np.log10(x).mean() for x in (squares.mean(1), s[:, 0], middle)]
    return [*logarithms, (squares.sum(1) ** 2 / (squares**2).sum(1)).mean() / s.shape[1]]


def test_a_classifier_of_the_prediction_is_the_one_that_autograd_trains(stand_in):
    table = prediction.train("mnist", "relu", 32, 1, seeds=(1,))
    assert table.shape == (3, 3, 1, len(prediction.QUANTITIES))
    named = dict(zip(prediction.QUANTITIES, table[1, 1, 0], strict=True))  # critical variance, middle rate
    images, labels, test_images, test_labels, _ = prediction.samples("mnist")
    start = MLP((784, 32, 10), "relu", weight_var=2.0, seed=1011)
    net = nn.Sequential(nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))
    for own, drawn in zip(net.parameters(), start.parameters(), strict=True):
        own.data.copy_(drawn.data)
    descent = torch.optim.SGD(net.parameters(), lr=0.05)
    looked_at, expected = test_images[:32], {"parameters": 784 * 32 + 32 + 32 * 10 + 10}

    def look(when):
        names = [f"{name}_{when}" for name in ("log_square", "log_largest", "log_median", "participation")]
        expected.update(zip(names, spectral_by_hand(net, looked_at), strict=True))
        return float((net(test_images).argmax(1) == test_labels).float().mean())

    look("start")
    losses = []
    for epochs, seed in ((1, 1), (5, 101)):
        for rows in epochs_of(len(images), 100, epochs, seed):
            loss = nn.functional.cross_entropy(net(images[rows]), labels[rows])
            losses.append(loss.item())
            descent.zero_grad()
            loss.backward()
            descent.step()
        if epochs == 1:
            accuracy_one = look("one")
            expected["loss_one"] = np.mean(losses[-20:])
    # Single precision; the median is near the rounding of none of them.
    for name, value in expected.items():
        assert named[name] == pytest.approx(value, rel=1e-3, abs=1e-3), name
    accuracy = float((net(test_images).argmax(1) == test_labels).float().mean())
    for name, value in (("accuracy_one", accuracy_one), ("accuracy", accuracy)):
        assert named[name] == pytest.approx(value, abs=0.0051)  # two answers of 397
    assert accuracy > 0.8


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
