"""One width and five output scales: how far the kernel moves, and who predicts better, the network or its kernel.

Networks α (f_θ - f_θ0) with one hidden layer of 256 ReLU units learn 300 examples at a rate c/α² with one c for every
α. Three kinds of targets, each repetition with its own inputs, target and network: "pair", the product x_1 x_2 of two
among 30 signs; "drawn", a function of 30 signs drawn from the Gaussian process whose covariance is the tangent kernel;
"digits", even against odd digits of 14 x 14 pixels.

**To draw it**::

    found = results.load("ntk.scale")
    found.error.sel(target="pair")            # (scale, repetition): mean squared test error of the network
    found.kernel.sel(target="pair")           # (repetition,): that of regression with the kernel of infinite width

**To compute a cell** (about 3 s on one thread)::

    scale.cell("pair", 1 / 32, 0)["error"]
"""

import functools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deepdynamics import data, ntk
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.networks import MLP

__all__ = ["KEY", "cell", "checks", "examples", "grid", "tolerance", "trained"]

KEY = "ntk.scale"
TARGETS, SCALES, REPETITIONS = ("pair", "drawn", "digits"), (1 / 32, 1 / 8, 1 / 2, 2.0, 8.0), tuple(range(16))
SAMPLES, TEST, SIGNS, WIDTH, STEPS = 300, 500, 30, 256, 3000
NETWORK: dict[str, Any] = {"weight_var": 2.0, "bias_var": 0.0}
RATE = 0.15  # of T/λ_max at the start: small, because at the smallest α the kernel grows tenfold
SEEDS = REPETITIONS
DIMENSIONS = {
    "error": ("target", "scale", "repetition"),
    "fit": ("target", "scale", "repetition"),
    "wrong": ("target", "scale", "repetition"),
    "kernel_change": ("target", "scale", "repetition"),
    "cosine": ("target", "scale", "repetition"),
    "share": ("target", "scale", "repetition"),
    "kernel": ("target", "repetition"),
    "kernel_wrong": ("target", "repetition"),
    "own": ("target", "repetition"),
}
COORDINATES: dict[str, tuple[Any, ...]] = {"target": TARGETS, "scale": SCALES, "repetition": REPETITIONS}
PARAMETERS = {"samples": SAMPLES, "test": TEST, "signs": SIGNS, "width": WIDTH, "steps": STEPS, "rate": RATE, **NETWORK}
NEEDS = ("mnist",)
checks = (
    {"target": "pair", "scale": 1 / 32, "repetition": 0},
    {"target": "drawn", "scale": 2.0, "repetition": 3},
    {"target": "digits", "scale": 1 / 8, "repetition": 7},
)
tolerance = {name: (0.05, 1e-3) for name in DIMENSIONS}


def grid(scale: str) -> list[Point]:
    """One network, or sixteen for each target and scale."""
    paper = points(target=TARGETS, scale=SCALES, repetition=REPETITIONS)
    return at_scale(scale, live=points(target=("pair",), scale=(1 / 32,), repetition=(0,)), paper=paper)


def sources() -> dict[str, Any]:
    return {"mnist": data.load("mnist", "train", n=1).provenance}


@functools.lru_cache(maxsize=2)
def examples(target: str, repetition: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Training inputs and targets, test inputs and targets: (300, d), (300, 1), (500, d), (500, 1)."""
    draw, total = np.random.default_rng(1000 + repetition), SAMPLES + TEST
    if target == "digits":
        mine = slice(total * repetition, total * (repetition + 1))
        loaded = data.load("mnist", "train", n=mine.stop)
        images = loaded.images[mine].numpy().astype(float).reshape(total, 14, 2, 14, 2).mean((2, 4)).reshape(total, -1)
        images = images - images[:SAMPLES].mean(0)
        x = images / np.sqrt(np.square(images).mean(1, keepdims=True))
        y = 1.0 - 2.0 * (loaded.labels[mine].numpy() % 2)
    else:
        x = draw.choice([-1.0, 1.0], size=(total, SIGNS))
        if target == "pair":
            y = x[:, 0] * x[:, 1]
        else:
            theta = ntk.infinite_width_ntk(x, None, "relu", **NETWORK, hidden_layers=1)
            values, vectors = np.linalg.eigh(theta)
            y = vectors @ (np.sqrt(np.clip(values, 0, None)) * draw.normal(size=total))
            y = y / np.sqrt(np.diag(theta).mean())
    return x[:SAMPLES], y[:SAMPLES, None], x[SAMPLES:], y[SAMPLES:, None]


def trained(
    target: str, scale: float, repetition: int, *, width: int = WIDTH, steps: int = STEPS
) -> tuple[MLP, MLP, NDArray[Any]]:
    """The network before and after training, and its outputs at training and test inputs, one after the other."""
    x, y, unseen, _ = examples(target, repetition)
    start, net = (
        MLP((x.shape[1], width, 1), "relu", **NETWORK, parametrisation="ntk", seed=1000 + repetition) for _ in range(2)
    )
    largest = np.linalg.eigvalsh(ntk.infinite_width_ntk(x, None, "relu", **NETWORK, hidden_layers=1))[-1] / SAMPLES
    how: dict[str, Any] = {"learning_rate": RATE / (largest * scale**2), "steps": steps, "every": steps}
    return start, net, ntk.descend(net, x, y, at=np.concatenate([x, unseen]), scale=scale, **how)[-1]


def cell(target: str, scale: float, repetition: int) -> dict[str, Any]:
    """Mean squared errors at the test inputs (``error``) and at the training inputs (``fit``), the share of wrong signs
    (``wrong``), the relative change of the kernel and the ``cosine`` of the angle by which it turns, and the ``share``
    of the first two inputs in the squared weights of the first layer; the errors of regression with the kernel of
    infinite width, and with that of the network at its start (``own``)."""
    x, y, unseen, y_unseen = examples(target, repetition)
    start, net, outputs = trained(target, scale, repetition)
    inputs, others = (torch.as_tensor(a, dtype=torch.float32) for a in (x, unseen))
    old, new = (ntk.empirical(model, inputs).double().numpy() for model in (start, net))
    own = ntk.kernel_prediction(ntk.empirical(start, others, inputs).double().numpy(), old, y)
    first = np.square(net.layers[0].weight.detach().numpy())  # type: ignore[operator, union-attr]
    theta = ntk.infinite_width_ntk(x, None, "relu", **NETWORK, hidden_layers=1)
    theta_unseen = ntk.infinite_width_ntk(unseen, x, "relu", **NETWORK, hidden_layers=1)
    regression = ntk.kernel_prediction(theta_unseen, theta, y)
    return {
        "error": np.square(outputs[SAMPLES:] - y_unseen).mean(),
        "fit": np.square(outputs[:SAMPLES] - y).mean(),
        "wrong": np.mean(np.sign(outputs[SAMPLES:]) != np.sign(y_unseen)),
        "kernel_change": np.linalg.norm(new - old) / np.linalg.norm(old),
        "cosine": (new * old).sum() / (np.linalg.norm(new) * np.linalg.norm(old)),
        "share": first[:, :2].sum() / first.sum(),
        "kernel": np.square(regression - y_unseen).mean(),
        "kernel_wrong": np.mean(np.sign(regression) != np.sign(y_unseen)),
        "own": np.square(own - y_unseen).mean(),
    }
