"""A thousand convolutions in a row, without skips or normalisation: delta-orthogonal kernels beside Gaussian ones.

MNIST at 7 × 7, less the mean image, is lifted to 8 channels by a fixed random direction; then come a thousand 3 × 3
convolutions with circular padding, each followed by tanh, and a linear readout of all positions. Kernels are
delta-orthogonal or independent N(0, σ_w²/72); weights and biases have the variances of the critical network with
q = 0.01 (Xiao et al. 2018, section 2). Readout: N(0, 1/392). Biases stay as drawn.

Plain SGD on the cross-entropy, batches of 8, every image new, 200 steps. Five learning rates, a factor two apart (for
Gaussian kernels a factor eight), are tried on seed 0: the one with the largest share of right answers in the last
hundred steps (``tuning``, of batches before each was learnt from) is ``rate``; eight other seeds, which draw the
network and the order of the images, are trained with it. ``loss`` and ``online``: mean loss, and share of right
answers, of ten batches before each was learnt from, up to ``step``. ``accuracy``: at the end, on 1,000 test images.
``linear``: there, of a ridge regression from the 49 numbers of as many training images as a network sees, and of all
20,000.

No rate of the five, 1/64 to 64, teaches the Gaussian networks anything; which of them is ``rate`` is chance. q and the
way to choose rates were settled on other seeds.

Before training, at 8 images: ``signal``, the mean square of a layer's states, and ``log_gradient``, log10 of the root
mean square of the losses' derivatives by its pre-activations, scaled on the way down, for float32 would not hold it.
Both at every tenth layer.

    stored = results.load(convolution.KEY)
    stored.log_gradient.median("seed")                                   # (weights, layer)
"""

import collections
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import xarray
from torch import Tensor
from torch.nn import functional

from deepdynamics._batched import mini_batches
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.experiments.dynamical_isometry.course import (
    CLASSES,
    EVERY,
    LEARNING_RATES,
    RATES,
    SEEDS,
    STEP,
    STEPS,
    TESTED,
    TRAINED,
    WEIGHTS,
)
from deepdynamics.experiments.dynamical_isometry.critical import (
    ACTIVATION,
    Values,
    binned,
    critical_variances,
    images,
    on_the_line,
    sources,
)
from deepdynamics.linearprobe import ridge_accuracy
from deepdynamics.networks import gaussian, generator, haar, initial_weight

__all__ = ["KEY", "ConvolutionalNets", "cell", "checks", "grid", "sources"]

KEY = "dynamical-isometry.convolution"
DEPTH, CHANNELS, SIDE, Q = 1000, 8, 7, 0.01
BATCH, MEASURED = 8, 8
LAYERS = tuple(range(10, DEPTH + 1, 10))
DIMENSIONS: dict[str, tuple[str, ...]] = TRAINED | {
    "signal": ("weights", "seed", "layer"),
    "log_gradient": ("weights", "seed", "layer"),
    "linear": ("images",),
}
COORDINATES = {
    "weights": WEIGHTS,
    "seed": SEEDS,
    "layer": LAYERS,
    "learning_rate": LEARNING_RATES,
    "step": STEP,
    "images": (BATCH * STEPS, 20000),
}
PARAMETERS = {
    "activation": ACTIVATION,
    "layers": DEPTH,
    "channels": CHANNELS,
    "side": SIDE,
    "q": Q,
    "padding": "circular",
    "loss": "cross-entropy",
    "optimiser": "sgd",
    "batch": BATCH,
    "steps": STEPS,
    "tuning_seed": 0,
    "tested": TESTED,
}
NEEDS = ("mnist",)
checks: tuple[Point, ...] = (
    {"part": "start", "weights": "orthogonal", "seeds": (11,)},
    {"part": "start", "weights": "gaussian", "seeds": (11,)},
    {"part": "training", "weights": "orthogonal", "seeds": (11,), "rates": (2.0**-10,), "steps": 10},
    {"part": "linear"},
)
# A sum in another order is amplified in a thousand layers, and by training.
tolerance = {
    "signal": (0.05, 1e-6),
    "log_gradient": (0.0, 0.1),
    "rate": (0.0, 0.0),
    "loss": (0.0, 0.3),
    "online": (0.0, 0.2),
    "linear": (0.0, 0.02),
}
only_whole = ("accuracy", "tuning")  # not compared: a check trains for some steps only


def grid(scale: str) -> list[Point]:
    """The start of one network of each kind, or all."""
    paper = [*points(part=("start", "training"), weights=WEIGHTS), {"part": "linear"}]
    return at_scale(scale, live=points(part=("start",), weights=WEIGHTS, seeds=(SEEDS[:1],)), paper=paper)


def cell(
    part: str,
    weights: str = "orthogonal",
    seeds: Sequence[int] = SEEDS,
    rates: Sequence[float] | None = None,
    steps: int = STEPS,
) -> dict[str, object]:
    """ "start": signals and gradients of ``seeds``; "training": their training for ``steps``, at the best of ``rates``,
    or at the only one; "linear": the control."""
    X, y, tested, answers = on_the_line(images(SIDE), Q)
    if part == "linear":
        sizes = COORDINATES["images"]
        linear = [ridge_accuracy(X[None, :n], y[:n], tested[None, :TESTED], answers[:TESTED]).item() for n in sizes]
        return {"linear": np.array(linear)}
    nets, places = ConvolutionalNets(DEPTH, CHANNELS, SIDE, weights, Q, seeds), {"seed": list(seeds)}
    if part == "start":
        shown, labels = X[:MEASURED].expand(len(seeds), -1, -1), y[:MEASURED].expand(len(seeds), -1)
        signal = [x.square().mean((1, 2)) for x in nets.states(shown)]
        found = {"signal": torch.stack(signal[1:], 1), "log_gradient": nets.log_gradients(shown, labels)}
        chosen = torch.tensor(LAYERS) - 1
        return {k: xarray.DataArray(v[:, chosen].numpy(), places | {"layer": list(LAYERS)}) for k, v in found.items()}
    rates = RATES[weights] if rates is None else rates
    rate, result = float(rates[0]), dict[str, object]()
    if len(rates) > 1:
        trial = ConvolutionalNets(DEPTH, CHANNELS, SIDE, weights, Q, [0] * len(rates))
        loss, right = train(trial, (X, y), rates, [0] * len(rates), STEPS)
        tuning = np.where(np.isfinite(loss), right, 0)[STEPS // 2 :].mean(0)
        rate = float(rates[int(tuning.argmax())])
        result["tuning"] = xarray.DataArray(tuning, {"learning_rate": list(rates)})
    loss, online = train(nets, (X, y), [rate] * len(seeds), seeds, steps)
    course = places | {"step": list(STEP[: steps // EVERY])}
    result |= {
        "rate": rate,
        "loss": xarray.DataArray(binned(loss, EVERY), course),
        "online": xarray.DataArray(binned(online, EVERY), course),
    }
    if steps == STEPS:
        accuracy = nets.evaluate(tested[:TESTED], answers[:TESTED])
        result["accuracy"] = xarray.DataArray(accuracy.numpy(), places)
    return result


def train(
    nets: "ConvolutionalNets", images: tuple[Tensor, Tensor], rates: Sequence[float], seeds: Sequence[int], steps: int
) -> tuple[Values, Values]:
    """Losses and shares of right answers (steps, runs) of every batch before its step."""
    X, y = images
    eta, found = torch.tensor(rates)[:, None, None], []
    for batch in mini_batches(len(X), BATCH, steps, seeds):
        chosen = batch.expand(len(seeds), -1)
        found.append(torch.stack(nets.step(X[chosen], y[chosen], eta)))
    loss, right = torch.stack(found, 1).numpy()
    return loss, right


class ConvolutionalNets:
    """Convolutional networks of one shape, one a seed, as one program: ``kernels`` of a layer (runs, channels,
    9 channels), ``biases`` of a layer (runs, channels, 1), ``readout`` (runs, classes, channels · side²).

    States are (runs, channels, side² · n), the images fastest.
    """

    def __init__(self, depth: int, channels: int, side: int, weights: str, q: float, seeds: Sequence[int]):
        self.side, self.channels, self.runs = side, channels, len(seeds)
        weight_var, bias_var = critical_variances(q)
        drawn = [self._draw(depth, weights, seed) for seed in seeds]
        self.lift, self.readout = (torch.stack([each[k] for each in drawn]).float() for k in (0, 1))
        kernels = weight_var**0.5 * torch.stack([each[2] for each in drawn], 1)
        self.kernels = list(kernels.float())
        self.biases = list(bias_var**0.5 * torch.stack([each[3] for each in drawn], 1).float())
        rows = torch.arange(side**2).view(side, side)
        shifts = [(-i, -j) for i in (-1, 0, 1) for j in (-1, 0, 1)]  # position p + s of each position p
        self.near = torch.stack([rows.roll(shift, (0, 1)).flatten() for shift in shifts]).flatten()
        self.back = torch.stack([rows.roll((-i, -j), (0, 1)).flatten() for i, j in shifts]).flatten()

    def _draw(self, depth: int, weights: str, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        draw, shape = generator(seed), (self.channels, self.channels, 3, 3)
        lift = self.channels**0.5 * haar(self.channels, 1, seed=draw)
        features = self.channels * self.side**2
        readout = gaussian((CLASSES, features), seed=draw) / features**0.5
        kernels = [initial_weight(weights, shape, seed=draw).flatten(1) for _ in range(depth)]
        return lift, readout, torch.stack(kernels), gaussian((depth, self.channels, 1), seed=draw)

    def _shifted(self, x: Tensor, places: Tensor) -> Tensor:
        """The nine neighbours of every position, (runs, 9 channels, side² · n)."""
        spread = x.view(self.runs, self.channels, self.side**2, -1).index_select(2, places)
        return spread.view(self.runs, 9 * self.channels, -1)

    def states(self, X: Tensor) -> Iterator[Tensor]:
        """The states of all layers at images (runs, n, side²), the lifted image first."""
        lifted = self.lift[..., None] * X.transpose(1, 2)[:, None]
        x = lifted.reshape(self.runs, self.channels, -1)
        yield x
        for kernel, bias in zip(self.kernels, self.biases, strict=True):
            x = torch.baddbmm(bias, kernel, self._shifted(x, self.near)).tanh_()
            yield x

    def step(self, X: Tensor, y: Tensor, rates: Tensor) -> tuple[Tensor, Tensor]:
        """A step of SGD on images (runs, n, side²) and labels (runs, n) with the rates (runs, 1, 1); the mean
        cross-entropies and the shares of right answers, (runs,) both, before it."""
        xs, n = list(self.states(X)), y.shape[1]
        right = (self._logits(xs[-1]).argmax(1) == y).float().mean(1)
        losses, above, features = self._at_the_top(xs[-1], y)
        delta = (self.readout.transpose(1, 2) @ above).view_as(xs[-1])
        self.readout -= rates / n * above @ features.transpose(1, 2)
        for depth in reversed(range(len(self.kernels))):
            around, below = self._below(depth, delta * (1 - xs[depth + 1].square()))
            gradient = (around @ xs[depth].transpose(1, 2)).view(self.runs, self.channels, 9, self.channels)
            self.kernels[depth] -= rates / n * gradient.transpose(2, 3).flatten(2)
            delta = below
        return losses, right

    def log_gradients(self, X: Tensor, y: Tensor) -> Tensor:
        """log10 of the root mean square of the derivatives of the n losses by the pre-activations, (runs, depth); what
        goes down is scaled to mean square 1 at each layer."""
        xs = list(self.states(X))
        _, above, _ = self._at_the_top(xs[-1], y)
        delta = (self.readout.transpose(1, 2) @ above).view_as(xs[-1])
        logs, found = torch.zeros(self.runs), []
        for depth in reversed(range(len(self.kernels))):
            delta = delta * (1 - xs[depth + 1].square())
            size = delta.square().mean((1, 2), keepdim=True).sqrt()
            logs = logs + size.flatten().log10()
            found.append(logs)
            _, delta = self._below(depth, delta / size)
        return torch.stack(found[::-1], 1)

    def evaluate(self, X: Tensor, y: Tensor) -> Tensor:
        """Share of right answers (runs,) on images (n, side²) with labels (n,)."""
        right = torch.zeros(self.runs)
        for shown, labels in zip(X.split(50), y.split(50), strict=True):
            last = collections.deque(self.states(shown.expand(self.runs, -1, -1)), maxlen=1)
            right += (self._logits(last[0]).argmax(1) == labels).sum(1)
        return right / len(y)

    def _logits(self, x: Tensor) -> Tensor:
        return self.readout @ x.view(self.runs, self.readout.shape[2], -1)

    def _at_the_top(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean cross-entropies (runs,) at the last layer's states, the derivatives of each image's loss by the logits
        (runs, classes, n), and the states as features (runs, features, n)."""
        log_p = torch.log_softmax(self._logits(x), 1)
        answers = functional.one_hot(y, CLASSES).transpose(1, 2).float()
        features = x.view(self.runs, self.readout.shape[2], -1)
        return -(log_p * answers).sum(1).mean(1), log_p.exp() - answers, features

    def _below(self, depth: int, delta: Tensor) -> tuple[Tensor, Tensor]:
        """The neighbours of the derivatives by a layer's pre-activations, and the derivatives by the states below."""
        around = self._shifted(delta, self.back)
        turned = self.kernels[depth].view(self.runs, self.channels, self.channels, 9).transpose(1, 2)
        return around, turned.flatten(2) @ around
