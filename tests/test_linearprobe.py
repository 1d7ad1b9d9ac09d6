"""The linear readout against scikit-learn's ridge regression and its own invariances."""

import numpy as np
import pytest
import torch
from deepdynamics.linearprobe import logistic_probe, ridge_accuracy
from deepdynamics.networks import generator, haar
from sklearn.linear_model import LogisticRegression, Ridge

F64 = torch.float64


def coded(seed=0, n=300, d=6):
    """Codes of three classes that overlap."""
    draw = generator(seed)
    labels = torch.arange(n) % 3
    codes = torch.randn(n, d, generator=draw, dtype=F64)
    codes[:, :3] += 1.2 * torch.nn.functional.one_hot(labels).double()
    order = torch.randperm(n, generator=draw)
    return codes[order], labels[order]


def test_one_ridge_is_that_of_scikit_learn():
    codes, labels = coded()
    H, T, y, z = codes[:200], codes[200:], labels[:200], labels[200:]
    centred = H - H.mean(0)
    for ridge in (1e-3, 1.0):
        model = Ridge(alpha=ridge * float(centred.square().sum()) / 6).fit(H, torch.nn.functional.one_hot(y).double())
        expected = (model.predict(T).argmax(1) == z.numpy()).mean()
        assert float(ridge_accuracy(H[None], y, T[None], z, ridges=[ridge])[0]) == pytest.approx(expected, abs=1e-12)


def test_the_ridge_is_the_best_on_what_was_held_out():
    codes, labels = coded(seed=1, n=120, d=60)
    H, T, y, z = codes[:60], codes[60:], labels[:60], labels[60:]
    ridges = [1e-8, 1e-2, 1.0, 10.0]
    inner = [float(ridge_accuracy(H[None, :48], y[:48], H[None, 48:], y[48:], ridges=[r])[0]) for r in ridges]
    best = ridges[int(np.argmax(inner))]
    found = float(ridge_accuracy(H[None], y, T[None], z, ridges=ridges)[0])
    assert found == float(ridge_accuracy(H[None], y, T[None], z, ridges=[best])[0])


def test_accuracy_does_not_depend_on_scale_offset_or_basis():
    codes, labels = coded()
    turned = 1e-4 * codes @ haar(6, 6, seed=3) + 7
    both = torch.stack((codes, turned))
    found = ridge_accuracy(both[:, :200], labels[:200], both[:, 200:], labels[200:])
    assert found[0] == found[1] and found[0] > 0.55


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ridges": []}, r"ridges = \[\]"),
        ({"ridges": [0.0]}, r"ridges = \[0.0\]: positive"),
        ({"validation": 0.0}, "validation = 0.0"),
        ({"codes": torch.ones(1, 300, 6, dtype=F64)}, "codes do not vary"),
        ({"codes": torch.ones(300, 6)}, r"codes \(300, 6\)"),
    ],
)
def test_bad_readouts(options, message):
    codes, labels = coded()
    arguments = {"codes": codes[None]} | options
    with pytest.raises(ValueError, match=message):
        ridge_accuracy(test_codes=codes[None], labels=labels, test_labels=labels, **arguments)


def test_logistic_regression_is_that_of_scikit_learn_in_every_run():
    runs = [coded(seed=s) for s in (0, 1)]
    codes, labels = torch.stack([r[0] for r in runs]), torch.stack([r[1] for r in runs])
    probe = logistic_probe(codes, labels)
    for r in range(2):
        H = (codes[r] - codes[r].mean(0)) / (codes[r] - codes[r].mean(0)).square().mean().sqrt()
        model = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(H, labels[r])
        found = codes[r] @ probe.weights[r] + probe.offsets[r]
        np.testing.assert_allclose(torch.softmax(found, 1), model.predict_proba(H), atol=1e-4)
        assert float(probe.accuracy(codes, labels)[r]) == pytest.approx(model.score(H, labels[r]), abs=1e-12)


def test_logistic_regression_does_not_depend_on_scale_or_offset():
    codes, labels = coded()
    both, twice = torch.stack((codes, 1e-3 * codes + 7)), labels.expand(2, -1)
    found = logistic_probe(both[:, :200], twice[:, :200]).accuracy(both[:, 200:], twice[:, 200:])
    assert found[0] == found[1] and found[0] > 0.55


@pytest.mark.parametrize(
    ("codes", "labels", "message"),
    [
        (torch.ones(2, 5, 3), torch.tensor([[0, 1, 0, 1, 0]] * 2), "do not vary"),
        (torch.ones(5, 3), torch.zeros(5).long(), r"codes \(5, 3\)"),
        (torch.full((1, 2, 3), torch.nan), torch.zeros(1, 2).long(), "finite codes"),
        (torch.ones(1, 2, 3), torch.tensor([[-100, 0]]), "labels from 0"),
        (torch.ones(1, 2, 3), [[0.5, 0]], "integers are allowed"),
    ],
)
def test_what_logistic_regression_does_not_take(codes, labels, message):
    with pytest.raises(ValueError, match=message):
        logistic_probe(codes, labels)
