"""How many trials of a search does the theory save: random search of initialisation and rate against starts it names.

Tanh networks of 20 hidden layers of 128 units learn Fashion-MNIST (500 images) or CIFAR-100 (15,000 images, averaged
over 2 × 2 pixels; 100 classes) by 200 steps of plain SGD on the cross-entropy, batches of 32. Images lose the mean
image and are scaled to mean square 1 each.

A trial is one network trained once. *Random search* draws σ_w² from .5 to 4, σ_b² from 1e-4 to .5 and the learning rate
from 1e-4 to 1, all log-uniform, and Gaussian or orthogonal weights with equal chance. Trial j of a *start* has the rate
of the random trial j, and what the start says instead of the rest:

- "isometric": orthogonal weights on the critical line χ₁ = 1, at the length q where the spread of J Jᵀ, its variance
  over its squared mean, is 1 after all layers; inputs are multiplied by √(E φ²), so that the first layer has this q.
- "gaussian": the same with Gaussian weights, whose spread is 21.
- "glorot", "pytorch": Gaussian weights with σ_w² = 1, 1/3 and σ_b² = 0, 1/(3 · 128): the variances that Glorot's rule
  and PyTorch's default (which is uniform) give to layers of equal width, in every layer.

Two *rules* name the rate as well, from the largest eigenvalue λ of a Fisher information at the network's own start, at
the first 100 training images, so that one trial is all:

- "start": η = 1/λ, half of the largest stable rate 2/λ, of the cross-entropy where training starts;
- "ceiling": of the outputs alone (the Fisher information of the squared loss). The softmax weighs them by a matrix that
  is never larger than ½, so that 4/λ is stable wherever the softmax goes; η = 2/λ is half of that.

Eight blocks are independent repetitions: each has its own networks, rates, order of images and division of the test
file (Fashion-MNIST: its first 400 images) into halves, one for validation, by which a trial is chosen, and one for the
test, on which the chosen is read. A block has 32 random trials, 8 of each start, one of each rule from each start.
Training has diverged where the loss is no longer finite; accuracies are 0 there.

What is asked, with the rival that theory saves nothing: how many random trials n(k) does it take until their best is as
good as the best of k trials of a start, k = 1, 2, 4, 8, and until it is as good as the one trial of a rule? n(k) = k is
no saving.

The range of rates, the number of steps and the two rules were fixed before the run, with networks of another seed in
view; the starts come from the theory, and none was tried out here to choose it.

**To use it**::

    stored = results.load(search.KEY).sel(dataset="cifar-100")
    isometric = stored.sel(start="isometric")
    theory = best_of(isometric.validation, isometric.test, [1, 2, 4, 8])                      # (block, 4)
    random = best_of(stored.pool_validation, stored.pool_test, [1, 2, 4, 8, 16, 32])          # (block, 6)
    trials_needed(stored.pool_validation, stored.pool_test, theory[:, 1].mean())              # n(2)

Trials of different blocks are not to be pooled in one search: the halves of a block are all of the test file, so that
to choose among blocks by validation is to choose a block whose half for the test is hard. Beyond 32 trials n is
unknown: inf.

**To compute a slice** (some 10 s on one thread): ``experiments.compute(search.KEY, "live")``. Training amplifies
rounding, hence the tolerance of accuracies.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import gammaln

from deepdynamics import activations, data, fisher
from deepdynamics.ensembles import MLPEnsemble
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.freeprobability import DerivativeLaw, JacobianSpectrum

__all__ = ["KEY", "best_of", "cell", "checks", "grid", "images", "isometric_start", "train", "trials_needed"]

KEY = "how-much-isometry.search"
ACTIVATION, WIDTH, DEPTH, SPREAD = "tanh", 128, 20, 1.0
STEPS, BATCH, TOGETHER = 200, 32, 8  # TOGETHER: networks in one program
DATASETS = ("fashion-mnist", "cifar-100")
BLOCKS, TRIALS, SEARCHED = (tuple(range(n)) for n in (8, 32, 8))
WEIGHT_VAR, BIAS_VAR, RATE = (0.5, 4.0), (1e-4, 0.5), (1e-4, 1.0)  # ends of the random search
STARTS = ("isometric", "gaussian", "glorot", "pytorch")
RULES = ("start", "ceiling")
DEFAULTS = {"glorot": (1.0, 0.0), "pytorch": (1 / 3, 1 / (3 * WIDTH))}
DIMENSIONS = {
    "learning_rate": ("block", "trial"),
    "weight_var": ("block", "trial"),
    "bias_var": ("block", "trial"),
    "orthogonal": ("block", "trial"),
    "pool_validation": ("dataset", "block", "trial"),
    "pool_test": ("dataset", "block", "trial"),
    "pool_diverged": ("dataset", "block", "trial"),
    "validation": ("dataset", "block", "start", "searched"),
    "test": ("dataset", "block", "start", "searched"),
    "diverged": ("dataset", "block", "start", "searched"),
    "rule_rate": ("dataset", "block", "start", "rule"),
    "rule_test": ("dataset", "block", "start", "rule"),
    "rule_diverged": ("dataset", "block", "start", "rule"),
}
COORDINATES = {
    "dataset": DATASETS,
    "block": BLOCKS,
    "trial": TRIALS,
    "start": STARTS,
    "searched": SEARCHED,
    "rule": RULES,
}
PARAMETERS = {
    "activation": ACTIVATION,
    "width": WIDTH,
    "hidden_layers": DEPTH,
    "spread": SPREAD,
    "steps": STEPS,
    "batch": BATCH,
    "optimiser": "sgd",
    "loss": "cross_entropy",
    "weight_var": list(WEIGHT_VAR),
    "bias_var": list(BIAS_VAR),
    "learning_rate": list(RATE),
}
SEEDS = BLOCKS
NEEDS = DATASETS
COUNTS: dict[str, dict[str, int]] = {
    "fashion-mnist": {"train": 500, "test": 400},
    "cifar-100": {"train": 15_000, "test": 2_500},
}
checks = (
    {"dataset": "fashion-mnist", "block": 2, "part": "random", "trials": 8},
    {"dataset": "cifar-100", "block": 5, "part": "isometric", "trials": 8},
    {"dataset": "fashion-mnist", "block": 3, "part": "glorot", "trials": 8},
)
Trained = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int8]]  # validation, test, diverged
_ACCURACIES = ("pool_validation", "pool_test", "validation", "test", "rule_test")
_DRAWN = ("learning_rate", "weight_var", "bias_var", "orthogonal")
tolerance = dict.fromkeys(_DRAWN, (1e-12, 0.0)) | dict.fromkeys(_ACCURACIES, (0.15, 0.02))
tolerance |= dict.fromkeys(("pool_diverged", "diverged", "rule_diverged"), (0.0, 0.0)) | {"rule_rate": (0.01, 0.0)}


def grid(scale: str) -> list[Point]:
    """Theory's start and eight random trials of one block, or everything."""
    live = points(dataset=("fashion-mnist",), block=(0,), part=("random", "isometric"), trials=(8,))
    parts = points(dataset=DATASETS, block=BLOCKS, part=STARTS, trials=(len(SEARCHED),))
    pool = points(dataset=DATASETS, block=BLOCKS, part=("random",), trials=(len(TRIALS),))
    return at_scale(scale, live=live, paper=pool + parts)


def cell(dataset: str, block: int, part: str, trials: int) -> dict[str, xarray.DataArray]:
    """The first ``trials`` trials of a block: of the random search (part "random"), or from one of the starts."""
    drawn = {name: values[:trials] for name, values in draws(block).items()}
    rates, seeds = drawn["learning_rate"], [1000 * block + j for j in range(trials)]
    if part == "random":
        init = ["orthogonal" if one else "gaussian" for one in drawn["orthogonal"]]
        starts = Starts(drawn["weight_var"].tolist(), drawn["bias_var"].tolist(), init)
        validation, test, diverged = train(dataset, block, starts, rates, seeds)
        found = drawn | {"pool_validation": validation, "pool_test": test, "pool_diverged": diverged}
        return {name: xarray.DataArray(values, {"trial": list(range(trials))}) for name, values in found.items()}
    validation, test, diverged = train(dataset, block, starts_of(part, trials), rates, seeds)
    searched: dict[str, NDArray[Any]] = {"validation": validation, "test": test, "diverged": diverged}
    seed = 1000 * block + 999
    ruled = rates_named(dataset, part, seed)
    _, test, diverged = train(dataset, block, starts_of(part, len(RULES)), ruled, [seed] * len(RULES))
    rules: dict[str, NDArray[Any]] = {"rule_rate": ruled, "rule_test": test, "rule_diverged": diverged}
    axes: dict[str, dict[str, list[Any]]] = {
        name: {"start": [part]} | ({"rule": list(RULES)} if name in rules else {"searched": list(range(trials))})
        for name in (searched | rules)
    }
    return {name: xarray.DataArray(values[None], axes[name]) for name, values in (searched | rules).items()}


def sources() -> dict[str, data.Provenance]:
    """Where the images come from."""
    return {name: data.load(name, "train", n=COUNTS[name]["train"]).provenance for name in DATASETS}


def draws(block: int) -> dict[str, NDArray[np.float64]]:
    """What random search draws in a block, (32,) each: learning_rate, weight_var, bias_var, orthogonal (0 or 1).

    >>> sorted(draws(0)), draws(0)["weight_var"].shape
    (['bias_var', 'learning_rate', 'orthogonal', 'weight_var'], (32,))
    """
    rng = np.random.default_rng([20, block])
    ranges = {"learning_rate": RATE, "weight_var": WEIGHT_VAR, "bias_var": BIAS_VAR}
    found = {name: np.exp(rng.uniform(np.log(ends[0]), np.log(ends[1]), len(TRIALS))) for name, ends in ranges.items()}
    return found | {"orthogonal": rng.integers(2, size=len(TRIALS)).astype(float)}


def isometric_start() -> tuple[float, float, float]:
    """(σ_w², σ_b², E φ²) of the critical network whose J Jᵀ, through all layers, has the spread ``SPREAD`` with
    orthogonal weights. E φ² is the mean square of each layer's input at the fixed point of the length.

    >>> weight_var, bias_var, mean_square = isometric_start()
    >>> round(weight_var, 4), round(bias_var, 5), round(mean_square, 4)
    (1.2046, 0.00125, 0.0962)
    """

    def excess(q: float) -> float:
        return JacobianSpectrum(DEPTH, DerivativeLaw.of(ACTIVATION, q)).variance - SPREAD

    phi, q = activations.get(ACTIVATION), brentq(excess, 1e-3, 5.0)
    weight_var, mean_square = 1 / float(phi.slope_moment(q, 2)), float(phi.second_moment(q))
    return weight_var, q - weight_var * mean_square, mean_square


@dataclass(frozen=True)
class Starts:
    """σ_w², σ_b² and kind of weights of some networks, one a network, and what all their inputs are multiplied by."""

    weight_var: list[float]
    bias_var: list[float]
    init: list[str]
    scale: float = 1.0


def starts_of(name: str, count: int) -> Starts:
    """One of the starts, ``count`` times."""
    weight_var, bias_var, mean_square = (*DEFAULTS[name], 1.0) if name in DEFAULTS else isometric_start()
    init = "orthogonal" if name == "isometric" else "gaussian"
    return Starts([weight_var] * count, [bias_var] * count, [init] * count, mean_square**0.5)


def networks(dataset: str, starts: Starts, seeds: list[int]) -> MLPEnsemble:
    """Untrained networks, one a seed."""
    X, y, *_ = images(dataset)
    widths = (X.shape[1], *(WIDTH,) * DEPTH, int(y.max()) + 1)
    weight_var, bias_var = starts.weight_var, starts.bias_var
    return MLPEnsemble(
        len(seeds), widths, ACTIVATION, weight_var=weight_var, bias_var=bias_var, init=starts.init, seed=seeds
    )


def rates_named(dataset: str, name: str, seed: int) -> NDArray[np.float64]:
    """The learning rates of the rules, (2,), for the network of a seed and a start."""
    starts = starts_of(name, 1)
    net, X = networks(dataset, starts, [seed]).network(0), images(dataset)[0][:100] * starts.scale
    softmax, outputs = (fisher.lambda_max(net, X, loss=loss, tol=1e-6).value for loss in ("cross_entropy", "mse"))
    return np.array([1 / softmax, 2 / outputs])


def train(dataset: str, block: int, starts: Starts, rates: NDArray[np.float64], seeds: list[int]) -> Trained:
    """Validation and test accuracy and whether training has diverged, (trials,) each, for one rate and seed a trial."""
    X, y, tested, answers = images(dataset)
    half = np.random.default_rng([40, block]).permutation(len(answers) // 2 * 2).reshape(2, -1)
    validation, test = np.empty((2, len(rates)), np.float32)
    diverged = np.empty(len(rates), np.int8)
    for first in range(0, len(rates), TOGETHER):
        rows = slice(first, first + TOGETHER)
        some = Starts(starts.weight_var[rows], starts.bias_var[rows], starts.init[rows])
        nets = networks(dataset, some, seeds[rows])
        eta = rates[rows].tolist()
        history = nets.fit(X * starts.scale, y, learning_rate=eta, steps=STEPS, batch=BATCH, seed=block)
        diverged[rows] = history.diverged.numpy()
        for right, places in zip((validation, test), half, strict=True):
            right[rows] = nets.evaluate(tested[places] * starts.scale, answers[places]).numpy()
    return validation * (diverged == 0), test * (diverged == 0), diverged


@functools.lru_cache(maxsize=2)
def images(dataset: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images (n, pixels) with labels to learn from, and those of which a block makes its validation and its test."""
    X, y, _ = data.load(dataset, "train", n=COUNTS[dataset]["train"])
    tested, answers, _ = data.load(dataset, "test")
    tested, answers = tested[: COUNTS[dataset]["test"]], answers[: COUNTS[dataset]["test"]]
    if dataset == "cifar-100":
        X, tested = (torch.nn.functional.avg_pool2d(pictures, 2) for pictures in (X, tested))
    X, tested = (pictures.flatten(1) for pictures in (X, tested))
    X, tested = (pictures - X.mean(0) for pictures in (X, tested))
    X, tested = (pictures / pictures.square().mean(1, keepdim=True).sqrt() for pictures in (X, tested))
    return X, y, tested, answers


# What a search finds --------------------------------------------------------------------------------------------------


def best_of(validation: ArrayLike, test: ArrayLike, n: ArrayLike) -> NDArray[np.float64]:
    """Expected test accuracy of the trial of highest validation accuracy among n of N trials, drawn without
    replacement; of trials that tie, each is taken with the same chance. validation, test: (…, N), one search a row;
    n a whole number or (k,) of them, from 1 to N. Returns (…) or (…, k).

    Exact: with N_v trials up to the v-th value of the validation accuracy, the best of n has this value with
    probability [C(N_v, n) - C(N_{v-1}, n)]/C(N, n).

    Raises ValueError where the two do not fit, and for n outside 1..N.

    >>> best_of([0.1, 0.2, 0.3], [1.0, 2.0, 3.0], [1, 2, 3]).round(6).tolist()
    [2.0, 2.666667, 3.0]
    """
    chosen, read = (np.asarray(a, dtype=np.float64) for a in (validation, test))
    counts = np.asarray(n, dtype=np.float64)
    if chosen.shape != read.shape or not chosen.size or not np.isfinite(chosen + read).all():
        raise ValueError(f"validation {chosen.shape}, test {read.shape}: as many finite numbers of both are needed")
    trials = chosen.shape[-1]
    if (counts < 1).any() or (counts > trials).any() or counts.ndim > 1:
        raise ValueError(f"n = {n!r}: numbers from 1 to {trials} are allowed")
    rows = zip(chosen.reshape(-1, trials), read.reshape(-1, trials), strict=True)
    curves = np.stack([_best_of(*row, counts.reshape(-1, 1)) for row in rows])
    return curves.reshape((*chosen.shape[:-1], *counts.shape))


def _best_of(validation: NDArray[np.float64], test: NDArray[np.float64], n: NDArray[np.float64]) -> NDArray[np.float64]:
    """``best_of`` of one search, (N,) both, for n (k, 1): (k,)."""
    _, group = np.unique(validation, return_inverse=True)
    sizes = np.bincount(group)
    means = np.bincount(group, test) / sizes
    upto = np.concatenate([[0], np.cumsum(sizes)])
    logs = gammaln(upto + 1) - gammaln(upto - n + 1)
    below = np.where(upto >= n, np.exp(logs - logs[:, -1:]), 0.0)
    return np.diff(below) @ means


def trials_needed(validation: ArrayLike, test: ArrayLike, target: float) -> float:
    """How many of N trials a search needs, so that `best_of`, in the mean over the searches, reaches ``target``: the
    least n, linear between whole numbers; 1 where one is enough, inf where all N are not. validation, test: (…, N).

    >>> round(trials_needed([0.1, 0.2, 0.3], [1.0, 2.0, 3.0], 2.5), 6), trials_needed([0.1, 0.2], [1.0, 2.0], 3)
    (1.75, inf)
    """
    trials = np.shape(validation)[-1]
    curve = best_of(validation, test, np.arange(1, trials + 1)).reshape(-1, trials).mean(0)
    if not (enough := curve >= target).any():
        return np.inf
    place = int(enough.argmax())
    if place == 0:
        return 1.0
    return place + float((target - curve[place - 1]) / (curve[place] - curve[place - 1]))
