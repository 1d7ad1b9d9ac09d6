"""ReLU networks of six widths on digits, and the linear models with their kernels, step by step.

Each repetition is a network with 64 training and 64 test digits of its own. It has two hidden layers, ten outputs and
the NTK parametrisation, and is trained on the squared error of one-hot targets of mean 0, once by plain gradient
descent on all samples and once by momentum 0.9 with mini-batches of 16. The models start from the outputs of the
network and take its rates and its batches. With momentum a second network, the twin, learns the same digits.

**To draw it**::

    found = results.load("ntk.training")
    found.deviation.sel(optimiser="plain", model="infinite")     # (width, network): sup over time, at the test digits
    found.movement.sel(optimiser="plain", layer=2)               # root mean square change of a weight

**To train one** (about 0.5 s on one thread)::

    training.cell(256, "plain", 0)["deviation"]
"""

import functools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deepdynamics import data, ntk
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.networks import MLP

__all__ = ["KEY", "cell", "checks", "digits", "grid", "kernels", "network", "plan", "tolerance"]

KEY = "ntk.training"
WIDTHS, NETWORKS, OPTIMISERS = (64, 128, 256, 512, 1024, 2048), tuple(range(10)), ("plain", "momentum")
SAMPLES, OUTPUTS, STEPS, EVERY, BATCH, MOMENTUM = 64, 10, 300, 10, 16, 0.9
STRETCHES = np.linspace(0.5, 1.9, 15)  # of K, whose descent is stable below 2
NETWORK: dict[str, Any] = {"weight_var": 2.0, "bias_var": 0.01}
MODELS = ("own", "infinite", "last", "rescaled", "whole")
LAYERS = (1, 2, 3)
SEEDS = NETWORKS
DIMENSIONS = {
    "kernel_error": ("width", "optimiser", "network"),
    "kernel_change": ("width", "optimiser", "network"),
    "movement": ("width", "optimiser", "network", "layer"),
    "deviation": ("width", "optimiser", "network", "model"),
    "fit": ("width", "optimiser", "network"),
    "change": ("width", "optimiser", "network"),
    "regression": ("width", "optimiser", "network", "start"),
    "spread": ("width", "optimiser", "network", "law"),
    "batches": ("width", "optimiser", "network"),
    "twins": ("width", "optimiser", "network"),
}
COORDINATES: dict[str, tuple[Any, ...]] = {
    "width": WIDTHS,
    "optimiser": OPTIMISERS,
    "network": NETWORKS,
    "layer": LAYERS,
    "model": MODELS,
    "start": ("kept", "dropped"),
    "law": ("measured", "ensemble", "posterior", "before"),
}
PARAMETERS = {"samples": SAMPLES, "steps": STEPS, "batch": BATCH, "momentum": MOMENTUM, "activation": "relu", **NETWORK}
NEEDS = ("mnist",)
checks = (
    {"width": 64, "optimiser": "plain", "network": 0},
    {"width": 256, "optimiser": "momentum", "network": 5},
)
tolerance = {name: (0.01, 1e-4) for name in DIMENSIONS}


def grid(scale: str) -> list[Point]:
    """One network of width 64, or ten of each width, of which two widths with momentum as well."""
    paper = points(width=WIDTHS, optimiser=("plain",), network=NETWORKS)
    paper += points(width=(256, 2048), optimiser=("momentum",), network=NETWORKS)
    return at_scale(scale, live=points(width=(64,), optimiser=("plain",), network=(0,)), paper=paper)


def sources() -> dict[str, Any]:
    return {"mnist": data.load("mnist", "train", n=1).provenance}


@functools.lru_cache(maxsize=2)
def digits(number: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Training inputs (64, 784), targets (64, 10) and test inputs of repetition ``number``: no digit is met twice.

    Less the mean training digit, each of mean square 1; targets are one-hot less 0.1.
    """
    loaded = data.load("mnist", "train", n=2 * SAMPLES * len(NETWORKS), flatten=True)
    mine = slice(2 * SAMPLES * number, 2 * SAMPLES * (number + 1))
    images, labels = loaded.images[mine].numpy().astype(float), loaded.labels[mine].numpy()
    images = images - images[:SAMPLES].mean(0)
    images /= np.sqrt(np.square(images).mean(1, keepdims=True))
    return images[:SAMPLES], np.eye(OUTPUTS)[labels[:SAMPLES]] - 0.1, images[SAMPLES:]


@functools.lru_cache(maxsize=2)
def kernels(number: int) -> tuple[NDArray[Any], ...]:
    """K and Θ of infinite width between the training digits, K and Θ between test and training digits, and the
    variance of an output at the test digits."""
    X, _, test = digits(number)
    K, theta = ntk.infinite_width(X, None, "relu", **NETWORK, hidden_layers=2)
    K_test, theta_test = ntk.infinite_width(test, X, "relu", **NETWORK, hidden_layers=2)
    return K, theta, K_test, theta_test, np.diag(ntk.infinite_width(test, None, "relu", **NETWORK, hidden_layers=2)[0])


def network(width: int, number: int, *, twin: bool = False) -> MLP:
    """The network of a repetition, before training, or its twin with weights of its own."""
    widths, seed = (784, width, width, OUTPUTS), 10_000_000 + 1000 * width + number + 500 * twin
    return MLP(widths, "relu", **NETWORK, parametrisation="ntk", seed=seed)


def plan(optimiser: str, number: int) -> dict[str, Any]:
    """Rate, steps, momentum and mini-batches. The rate is half of what is stable on all samples; with
    momentum a tenth of that, which makes it the same in the long run."""
    largest = float(np.linalg.eigvalsh(kernels(number)[1])[-1]) / SAMPLES
    if optimiser == "plain":
        return {"learning_rate": 1.0 / largest, "steps": STEPS}
    draw = np.random.default_rng(number)
    epochs = [draw.permutation(SAMPLES).reshape(-1, BATCH) for _ in range(STEPS * BATCH // SAMPLES)]
    return {
        "learning_rate": (1 - MOMENTUM) / largest,
        "steps": STEPS,
        "momentum": MOMENTUM,
        "batches": np.concatenate(epochs),
    }


def cell(width: int, optimiser: str, network: int) -> dict[str, Any]:
    """One network: how its kernel differs from that of infinite width, how far its weights move, and how far its
    outputs at the test digits are from those of four linear models, relative to the error at the start.

    "own": the kernel at the start; "infinite": Θ; "last": K, where the last layer alone is trained, at the scale that
    suits this network best; "rescaled": Θ with momentum replaced by a rate that is 1/(1 - momentum) times as large;
    "whole": Θ with all samples in every step. With momentum also ``batches``, the share of what mini-batches change in
    the linear model that the network shows, and ``twins``, half the mean squared difference of two trained networks.
    """
    (X, y, test), (K, theta, K_test, theta_test, variance) = digits(network), kernels(network)
    how, model = plan(optimiser, network), globals()["network"](width, network)
    before = [layer.weight.detach().clone() for layer in model.layers]
    inputs, unseen = (torch.as_tensor(a, dtype=torch.float32) for a in (X, test))
    own, own_test = ntk.empirical(model, inputs).double().numpy(), ntk.empirical(model, unseen, inputs).double().numpy()
    with torch.no_grad():
        f0, f0_test = model(inputs).double().numpy(), model(unseen).double().numpy()
    outputs = ntk.descend(model, X, y, at=np.concatenate([test, X]), every=EVERY, **how)
    found, fitted = outputs[:, :SAMPLES], outputs[-1, SAMPLES:]
    size = _rms(f0 - y)
    grown = np.linalg.eigvalsh(theta)[-1] / np.linalg.eigvalsh(K)[-1]
    heavy = how | {"learning_rate": how["learning_rate"] / (1 - how.get("momentum", 0.0)), "momentum": 0.0}
    whole_set = how | {"batches": None}
    models = {"own": (own, own_test, how), "infinite": (theta, theta_test, how),
              "rescaled": (theta, theta_test, heavy), "whole": (theta, theta_test, whole_set)}  # fmt: skip

    def linear(kernel: NDArray[Any], kernel_at: NDArray[Any], steps: dict[str, Any]) -> NDArray[Any]:
        return ntk.linear_descent(kernel, f0, y, theta_at=kernel_at, f0_at=f0_test, every=EVERY, **steps)

    def distance(curves: NDArray[Any]) -> float:
        return float(np.sqrt(np.square(found - curves).mean((1, 2))).max() / size)

    curves = {name: linear(*parts) for name, parts in models.items()}
    deviation = {name: distance(outputs) for name, outputs in curves.items()}
    deviation["last"] = min(distance(linear(s * grown * K, s * grown * K_test, how)) for s in STRETCHES)
    whole = np.kron(theta, np.eye(OUTPUTS))
    moved = [_rms((layer.weight - old).detach().numpy()) for layer, old in zip(model.layers, before, strict=True)]
    predicted = [ntk.kernel_prediction(theta_test, theta, y, *start) for start in ((f0, f0_test), (0.0, 0.0))]
    laws = [ntk.ensemble_variance(theta_test, theta, K_test, K, variance),
            ntk.ensemble_variance(K_test, K, K_test, K, variance), variance]  # fmt: skip
    parts = {
        "kernel_error": np.linalg.norm(own - whole) / np.linalg.norm(whole),
        "kernel_change": np.linalg.norm(ntk.empirical(model, inputs).numpy() - own) / np.linalg.norm(own),
        "movement": np.array(moved),
        "deviation": np.array([deviation[name] for name in MODELS]),
        "fit": _rms(fitted - y) / size,
        "change": _rms(found[-1] - found[0]),
        "regression": np.array([_rms(found[-1] - p) / size for p in predicted]),
        "spread": np.array([np.square(found[-1] - predicted[1]).mean(), *(law.mean() for law in laws)]),
    }
    if optimiser == "momentum":
        jitter, seen = curves["infinite"] - curves["whole"], found - curves["whole"]
        other = globals()["network"](width, network, twin=True)
        apart = ntk.descend(other, X, y, at=test, every=STEPS, **how)[-1] - found[-1]
        parts |= {"batches": (jitter * seen).sum() / np.square(jitter).sum(), "twins": np.square(apart).mean() / 2}
    return parts


def _rms(values: NDArray[Any]) -> float:
    return float(np.sqrt(np.square(values).mean()))
