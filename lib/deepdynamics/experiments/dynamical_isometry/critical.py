"""What the three experiments share: the critical line of tanh, images that lie on it, training with a test on the way,
and the choice of a learning rate."""

import functools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from deepdynamics import activations, data
from deepdynamics.ensembles import MLPEnsemble

__all__ = [
    "ACTIVATION",
    "Images",
    "Values",
    "best_rate",
    "binned",
    "critical_variances",
    "first_at",
    "images",
    "on_the_line",
    "sources",
    "train",
]

ACTIVATION, TRAINED, TESTED = "tanh", 20000, 400
Values = NDArray[np.float32]
Images = tuple[Tensor, Tensor, Tensor, Tensor]


def critical_variances(q: float) -> tuple[float, float]:
    """σ_w² and σ_b² of the critical tanh network in which q is the fixed point of the length: σ_w² E φ'² = 1,
    σ_w² E φ² + σ_b² = q.

    >>> [round(float(variance), 6) for variance in critical_variances(0.570047882)]
    [1.760955, 0.05]
    """
    phi = activations.get(ACTIVATION)
    weight_var = 1 / float(phi.slope_moment(q, 2))
    return weight_var, q - weight_var * float(phi.second_moment(q))


@functools.lru_cache(maxsize=2)
def images(side: int, components: int | None = None) -> Images:
    """20,000 MNIST images (n, side²) with labels to learn from, and 400 to test: averaged over squares of pixels (28
    down to ``side``), less the mean image, turned into ``components`` leading principal components where given, and
    scaled to mean square 1."""
    X, y, _ = data.load("mnist", "train", n=TRAINED)
    tested, answers, _ = data.load("mnist", "test", n=TESTED)
    X, tested = (functional.avg_pool2d(x, 28 // side).flatten(1).double() for x in (X, tested))
    mean = X.mean(0)
    X, tested = X - mean, tested - mean
    if components is not None:
        turn = torch.linalg.eigh(X.T @ X).eigenvectors[:, -components:]
        X, tested = X @ turn, tested @ turn
    X, tested = (x / x.square().mean(1, keepdim=True).sqrt() for x in (X, tested))
    return X.float(), y, tested.float(), answers


def on_the_line(images: Images, q: float) -> Images:
    """The images at the mean square E φ(√q z)², so that the first layer's pre-activations have the mean square q."""
    X, y, tested, answers = images
    scale = float(activations.get(ACTIVATION).second_moment(q)) ** 0.5
    return scale * X, y, scale * tested, answers


def train(
    nets: MLPEnsemble,
    images: Images,
    rates: Sequence[float],
    seeds: Sequence[int],
    *,
    steps: int,
    every: int,
    batch: int,
    fixed_biases: bool = False,
) -> tuple[Values, Values]:
    """Train by SGD on the cross-entropy; test accuracy (runs, steps/every) after every so many steps, and the mean loss
    (runs, steps/every) of those steps."""
    X, y, tested, answers = images
    accuracy, losses = np.empty((2, nets.runs, steps // every), np.float32)
    for k in range(steps // every):
        orders = [10_000 * seed + k for seed in seeds]
        history = nets.fit(
            X, y, learning_rate=list(rates), steps=every, batch=batch, seed=orders, fixed_biases=fixed_biases
        )
        losses[:, k] = history.loss.mean(0).numpy()
        accuracy[:, k] = nets.evaluate(tested, answers).numpy()
    return accuracy, losses


def first_at(accuracy: Values, target: float, every: int) -> NDArray[np.float64]:
    """The step of the first test at which an accuracy (runs, tests) is at the target; NaN where none is.

    >>> first_at(np.array([[0.1, 0.8, 0.7, 0.9], [0.1, 0.2, 0.3, np.nan]]), 0.8, 5)
    array([10., nan])
    """
    reached = accuracy >= target
    return np.where(reached.any(1), every * (reached.argmax(1) + 1.0), np.nan)


def best_rate(rates: Sequence[float], accuracy: Values) -> float:
    """The rate whose test accuracies (rates, tests) are highest in the mean over the tests.

    >>> best_rate([0.1, 0.2, 0.4], np.array([[0.2, 0.3], [0.5, 0.6], [0.7, 0.1]]))
    0.2
    """
    return float(rates[int(accuracy.mean(1).argmax())])


def binned(values: Values, every: int) -> Values:
    """Means (runs, bins) of ``every`` steps of (steps, runs).

    >>> binned(np.array([[1.0], [3.0], [5.0], [7.0]]), 2)
    array([[2., 6.]])
    """
    return values.reshape(-1, every, values.shape[1]).mean(1).T  # type: ignore[no-any-return]


def sources() -> data.Provenance:
    """Where the images come from."""
    return data.load("mnist", "train", n=TRAINED).provenance
