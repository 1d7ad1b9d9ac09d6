"""Training against the spread of the singular values: one input, two questions, and what is kept on the way.

The input is a pair of MNIST digits, 7 × 7 pixels each, side by side. "left": which digit is the left one? A linear map
answers most of these. "sum": is the sum of the two digits even? A linear map of the pair knows nothing about it. The
accuracy of the best linear map on both is stored as control (``linear``).

Networks: twelve tanh layers as wide as the input, with weights orthogonal or Gaussian, and a linear readout whose
first outputs have variance 1 at every q, so that what differs is the hidden layers. ``schedule`` draws every layer's
variances so that the mean square q of the pre-activations and the mean square of gradients do as ``kept`` says:
"both" keeps the two of them from layer to layer. One is kept, and the other one is relaxed: "growing", q grows by 4
over the depth and gradients are kept; "shrinking", there are no biases, so that q shrinks, and gradients are kept;
"vanishing" and "exploding", q is kept and squared gradients change by 4 on the way from the output to the input,
downwards or upwards. Where q changes it is the geometric mean. (At constant q gradients can explode only where q is
large enough.)

The left digit is asked for with orthogonal weights and both signals kept; with Gaussian weights at five q, and with
one signal relaxed, the sum alone. (Without biases a small q hardly shrinks: "shrinking" has the two larger ones.)
Momentum 0.9, 500 batches of 64 of 20,000 pairs. The learning rate is chosen for every setting by the accuracy on 2,500
other pairs, of one network (``tuning``, over the rates of ``learning_rate``, in units of the reciprocal of the mean
eigenvalue of the one-sample Fisher information over outputs). Eight other networks are then trained at this rate, and
tested on 5,000 pairs of test images (``accuracy``); ``loss`` is the mean of their last fifty training losses.
``spread`` is var λ/(E λ)² of J Jᵀ at infinite width before training.

Fixed before the run: "the best" of several settings is the one of highest ``tuning`` accuracy; what is compared is the
test accuracy of the eight networks. Orthogonal weights, both kept: the best q against the smallest one, on both
questions; the largest against the best. Gaussian weights at q = 0.001, whose spread is that of orthogonal ones at 1.9,
against these, and against Gaussian ones at 0.1, whose spread differs by 4 %. The best of those that relax the forward
signal, and of those that relax the backward signal, against the best that keeps both, and at q = 0.003.

    stored = results.load(sweep.KEY)
    stored.accuracy.sel(task="sum", weights="orthogonal", kept="both")      # (q, seed)
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray
from numpy.typing import NDArray
from scipy.optimize import brentq
from torch import Tensor
from torch.nn import functional

from deepdynamics import activations, data
from deepdynamics._batched import mini_batches
from deepdynamics._checks import one_of
from deepdynamics.ensembles.training import StackedMLPs, train
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.linearprobe import ridge_accuracy
from deepdynamics.networks.draws import gaussian, generator, initial_weight

__all__ = ["KEY", "Schedule", "cell", "checks", "grid", "labels", "pairs", "schedule", "trained"]

KEY = "how-much-isometry.sweep"
ACTIVATION, DEPTH, WIDTH = "tanh", 12, 98
STEPS, BATCH, TUNED_ON = 500, 64, 100
TASKS, WEIGHTS = ("left", "sum"), ("orthogonal", "gaussian")
CLASSES = {"left": 10, "sum": 2}
QS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.8, 1.9, 5.0)
KEPT = ("both", "growing", "shrinking", "vanishing", "exploding")
GAUSSIAN_AT = (0.001, 0.01, 0.1, 0.8, 5.0)
AT = (0.003, 0.03, 0.3, 0.8, 1.9)
RELAXED_AT = {"growing": AT, "shrinking": AT[2:4], "vanishing": AT, "exploding": AT[-2:]}
FACTOR = 4.0  # of q, or of squared gradients, over the depth
RATES = tuple(2.0**k for k in range(-2, 8))
SEEDS = tuple(range(8))
SETTING = ("task", "weights", "kept", "q")
DIMENSIONS = {
    "accuracy": (*SETTING, "seed"),
    "loss": (*SETTING, "seed"),
    "tuning": (*SETTING, "learning_rate"),
    "rate": SETTING,
    "spread": SETTING,
    "linear": ("task",),
}
COORDINATES = {"task": TASKS, "weights": WEIGHTS, "kept": KEPT, "q": QS, "seed": SEEDS, "learning_rate": RATES}
PARAMETERS = {
    "activation": ACTIVATION,
    "depth": DEPTH,
    "width": WIDTH,
    "steps": STEPS,
    "batch": BATCH,
    "optimiser": "momentum",
    "factor": FACTOR,
    "pairs": 20_000,
    "validation": 2_500,
    "tested": 5_000,
}
NEEDS = ("mnist",)
checks = (
    {"task": "sum", "weights": "orthogonal", "kept": "both", "q": 0.1, "seeds": (0, 1)},
    {"task": "left", "weights": "orthogonal", "kept": "both", "q": 0.01, "seeds": (0,)},
    {"task": "sum", "weights": "gaussian", "kept": "both", "q": 0.1, "seeds": (0,)},
    {"task": "sum", "weights": "orthogonal", "kept": "growing", "q": 0.03, "seeds": (0,)},
)
# A neighbouring rate may win by rounding; 500 steps at a large rate amplify it.
tolerance = {
    "accuracy": (0.0, 0.06),
    "loss": (0.0, 0.2),
    "tuning": (0.0, 0.06),
    "rate": (1.0, 0.0),
    "spread": (1e-6, 0.0),
    "linear": (0.0, 0.003),
}


def grid(scale: str) -> list[Point]:
    """Two settings at one seed, or all."""
    live = points(task=("sum",), weights=("orthogonal",), kept=("both",), q=(0.001, 0.3), seeds=((0,),))
    both = points(task=TASKS, weights=WEIGHTS[:1], kept=("both",), q=QS)
    both += points(task=TASKS[1:], weights=WEIGHTS[1:], kept=("both",), q=GAUSSIAN_AT)
    sums = {"task": TASKS[1:], "weights": WEIGHTS[:1]}
    relaxed = [point for kept in KEPT[1:] for point in points(**sums, kept=(kept,), q=RELAXED_AT[kept])]
    return at_scale(scale, live=live, paper=both + relaxed)


def cell(task: str, weights: str, kept: str, q: float, seeds: Sequence[int] = SEEDS) -> dict[str, object]:
    """Accuracies and losses (seed,) of the networks of one setting, at the rate that ``tuning`` (learning_rate,) chose;
    this rate, the spread, and the accuracy of the best linear map.
    """
    (X, *learnt), _, (T, *tested) = pairs()
    y, t = labels(task, *learnt), labels(task, *tested)
    plan = schedule(kept, q, gaussian_weights=weights == "gaussian")
    return at_best_rate(task, plan, weights, seeds, RATES) | {
        "spread": plan.spread,
        "linear": float(ridge_accuracy(X[None], y, T[None], t)),
    }


def at_best_rate(
    task: str, plan: "Schedule", weights: str, seeds: Sequence[int], rates: Sequence[float], steps: int = STEPS
) -> dict[str, object]:
    """``tuning``, the validation accuracies (learning_rate,) of one network; the best ``rate``; and ``accuracy`` and
    ``loss`` (seed,) of the networks that are trained with it."""
    (X, *learnt), (V, *held), (T, *tested) = pairs()
    y, v, t = (labels(task, *digits) for digits in (learnt, held, tested))
    tuning, _ = trained(task, plan, weights, [TUNED_ON] * len(rates), rates, X, y, V, v, steps=steps)
    rate = rates[int(tuning.argmax())]
    accuracy, loss = trained(task, plan, weights, seeds, [rate] * len(seeds), X, y, T, t, steps=steps)
    places = {"seed": list(seeds)}
    found = {"accuracy": xarray.DataArray(accuracy, places), "loss": xarray.DataArray(loss, places)}
    return found | {"tuning": tuning, "rate": rate}


@dataclass(frozen=True)
class Schedule:
    """Layer by layer: ``lengths`` q_0 .. q_L of the pre-activations, q_0 those that the input would have come from;
    ``weight_vars`` and ``bias_vars`` (L,); ``spread`` of J Jᵀ; ``curvature``, the mean over outputs of the squared
    gradient by the weights, for a readout whose outputs have variance 1, over the width."""

    lengths: NDArray[np.float64]
    weight_vars: NDArray[np.float64]
    bias_vars: NDArray[np.float64]
    spread: float
    curvature: float


def schedule(kept: str, q: float, *, depth: int = DEPTH, gaussian_weights: bool = False) -> Schedule:
    """Variances under which lengths and gradients do as ``kept`` says (see the module), q in the geometric mean.

    With μ_k = E φ'(√q z)^{2k}: the factor of squared gradients through a layer is σ_w² μ_1(q_{l−1}), which fixes σ_w²;
    the bias then makes up the length, σ_b² = q_l − σ_w² E φ(√q_{l−1} z)².

    Raises ``ValueError`` for another ``kept``, and where a bias would need a negative variance.

    >>> plan = schedule("both", 0.5, depth=3)
    >>> plan.lengths.tolist(), float(plan.weight_vars[0].round(3)), round(plan.spread, 3)
    ([0.5, 0.5, 0.5, 0.5], 1.688, 0.898)
    """
    phi, layers = activations.get(ACTIVATION), np.arange(depth + 1)
    one_of("kept", kept, KEPT)
    power = {"vanishing": -1, "exploding": 1}.get(kept, 0)
    lengths = q * FACTOR ** (layers / depth - 0.5) if kept == "growing" else np.full(depth + 1, float(q))
    if kept == "shrinking":
        log_start = brentq(
            lambda x: np.log(_without_bias(np.exp(x), depth)).mean() - np.log(q), np.log(q), np.log(q) + 4
        )
        lengths = _without_bias(np.exp(log_start), depth)
    slopes, squares = (np.asarray(phi.slope_moment(lengths, k)) for k in (2, 4))
    moments = np.asarray(phi.second_moment(lengths))
    weight_vars = FACTOR ** (power / depth) / slopes[:-1]
    bias_vars = lengths[1:] - weight_vars * moments[:-1]
    if (bias_vars < -1e-12).any():
        raise ValueError(f"kept = {kept!r}, q = {q}: gradients can not grow so fast at constant q")
    spread = float((squares / slopes**2 - 1)[1:].sum() + depth * gaussian_weights)
    factors = FACTOR ** (power * (1 - layers[1:] / depth))  # of squared gradients from the last layer back to this
    curvature = float((moments[:-1] * factors).sum() * slopes[-1] / moments[-1])
    return Schedule(lengths, weight_vars, bias_vars.clip(0), spread, curvature)


def _without_bias(start: float, depth: int) -> NDArray[np.float64]:
    """Lengths without biases where every layer keeps gradients."""
    phi, lengths = activations.get(ACTIVATION), [start]
    for _ in range(depth):
        q = lengths[-1]
        lengths.append(float(phi.second_moment(q)) / float(phi.slope_moment(q, 2)))
    return np.array(lengths)


@torch.no_grad()
def trained(
    task: str,
    plan: Schedule,
    weights: str,
    seeds: Sequence[int],
    rates: Sequence[float],
    X: Tensor,
    y: Tensor,
    T: Tensor,
    t: Tensor,
    *,
    steps: int = STEPS,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Accuracy on T, t and mean of the last fifty losses, (runs,) both, of networks with these ``seeds`` trained on X,
    y for some ``steps`` at ``rates`` over the curvature: one batched program."""
    stack = StackedMLPs.of([_draw(task, plan, weights, seed) for seed in seeds], list(range(len(seeds))), ACTIVATION)
    size = (WIDTH * float(activations.get(ACTIVATION).second_moment(plan.lengths[0]))) ** 0.5
    eta = torch.tensor(rates, dtype=torch.float32) / (WIDTH * plan.curvature)
    batches = mini_batches(len(X), BATCH, steps, [0])
    losses = torch.stack([loss for loss, _ in train(stack, size * X, y, eta, batches, BATCH, "momentum")])
    logits = stack.logits(size * T)
    right = (logits.argmax(-1) == t) & torch.isfinite(logits.sum(-1))
    return right.float().mean(-1).numpy(), losses[-50:].mean(0).numpy()


def _draw(task: str, plan: Schedule, weights: str, seed: int) -> list[tuple[Tensor, Tensor]]:
    draw, layers = generator(seed), []
    for weight_var, bias_var in zip(plan.weight_vars, plan.bias_vars, strict=True):
        weight, bias = initial_weight(weights, (WIDTH, WIDTH), seed=draw), gaussian((WIDTH,), seed=draw)
        layers.append((weight_var**0.5 * weight, bias_var**0.5 * bias))
    last = float(activations.get(ACTIVATION).second_moment(plan.lengths[-1]))
    readout = gaussian((CLASSES[task], WIDTH), seed=draw) / (WIDTH * last) ** 0.5
    return [(w.float(), b.float()) for w, b in (*layers, (readout, torch.zeros(CLASSES[task])))]


def sources() -> data.Provenance:
    """Where the images come from."""
    return data.load("mnist", "train", n=100).provenance


def labels(task: str, left: Tensor, right: Tensor) -> Tensor:
    """The answers to a question about pairs of digits.

    >>> labels("sum", torch.tensor([3, 4]), torch.tensor([5, 5]))
    tensor([0, 1])
    """
    return left if one_of("task", task, TASKS) == "left" else (left + right) % 2


@functools.lru_cache(maxsize=1)
def pairs() -> tuple[tuple[Tensor, Tensor, Tensor], ...]:
    """Pairs of images (n, 98) at ‖x‖ = 1, less the mean of those to learn from, with their left and right digits:
    20,000 to learn from, 2,500 to choose the rate, 5,000 to test. (Of the stand-in there are fewer.)"""
    found = []
    for split in ("train", "test"):
        X, y, _ = data.load("mnist", split)
        X, y = X[:45_000], y[:45_000]
        half, small = len(X) // 2, functional.avg_pool2d(X, 4).flatten(1)
        found.append((torch.cat([small[:half], small[half : 2 * half]], 1), y[:half], y[half : 2 * half]))
    (X, a, b), (T, c, d) = found
    cut, mean = len(X) * 8 // 9, X[: len(X) * 8 // 9].mean(0)
    X, T = ((Z - mean) / (Z - mean).norm(dim=1, keepdim=True) for Z in (X, T))
    return (X[:cut], a[:cut], b[:cut]), (X[cut:], a[cut:], b[cut:]), (T, c, d)
