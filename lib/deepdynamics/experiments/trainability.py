"""Which random networks can be trained: accuracy on MNIST over (σ_w², depth), at the best of several learning rates.

The map of schoenholz2017deep, Fig. 5: tanh networks of width 128 with σ_b² = 0.05, plain SGD on the cross-entropy,
batches of 32, 1,000 steps, each of the first 32,000 training images seen once. Eleven columns σ_w² on both sides of
the critical 1.761, eight depths (hidden layers) a factor √2 apart up to 91. Every cell is trained at five or six
learning rates a factor 4 apart; every cell has its own network and order of images, the same at every rate. Columns
in which 7 ξ_c lies within the depths have three repetitions from 3 ξ_c on; the columns next to criticality, whose
edge is deeper than 91, have one.

An accuracy is the share of right answers on the 100 mini-batches before a checkpoint, each answered before it is
learnt from: 3,200 images the network has not seen. Checkpoints are at 250, 500, 750 and 1,000 steps of one and the
same run, so that the map shows what the budget does: an edge that moves outwards with the number of steps is no
property of the random network alone. The literature's "nets train up to 6 ξ_c" is a fit, not a theorem;
`edges.measured` gives what to set beside it.

**To draw it**, with 6 ξ_c over it::

    from deepdynamics.experiments import edges, trainability

    accuracy, provenance = trainability.stored()
    best = trainability.best(accuracy.sel(checkpoint=1000))               # (seed, weight_var, depth)
    axes.pcolormesh(best.weight_var, best.depth, best.mean("seed").transpose("depth", "weight_var"), shading="nearest")
    axes.set_yscale("log")                                                # cells that are NaN were not trained
    multiples = edges.edge_multiples(best)                                # edge/ξ_c; the coordinate xi_c has ξ_c itself
    axes.plot(multiples.weight_var, 6 * multiples.xi_c)
    samples = edges.measured(multiples).values.ravel()                    # for claim(samples=..., source_says=6)

Repetitions of one column are independent networks; columns differ among themselves by more than repetitions do. What is
said of one column, or of a change within a run (twice the steps, say), has repetitions as its samples; what is said of
all columns has the eight means `edges.measured(multiples).mean("seed")`.

**To check it live** (some 8 s on one thread, twice that where the core is shared; 0.7 GB)::

    live = trainability.trainability_map("live")                          # σ_w² = 1, four depths, 250 steps, all rates
    difference = trainability.best(live.accuracy) - trainability.best(accuracy)      # xarray aligns the cells
    claim(key, ..., theory=0.0, measured=float(abs(difference).max()), tolerance=0.05, scale=0.5)

On the machine that stored the result the difference is exactly 0. Training amplifies rounding: images multiplied by 1
+ 1e-7 ε moved the best accuracies of these four cells by up to 0.022, hence the tolerance 0.05 for other processors.
The accuracies at the other rates move by up to 0.09: compare the best ones. `live.provenance` goes under the figure;
on the stand-in (`live.provenance.real` false) there is nothing to compare.
"""

import dataclasses
import functools
import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import xarray
from numpy.typing import NDArray

from deepdynamics import data, results
from deepdynamics.ensembles import MLPEnsemble
from deepdynamics.meanfield import MeanField
from deepdynamics.sweeps import sweep

__all__ = ["KEY", "TrainabilityMap", "best", "store", "stored", "trainability_map"]

KEY = "order-chaos.trainability"
ACTIVATION, BIAS_VAR, WIDTH, CLASSES = "tanh", 0.05, 128, 10
BATCH, STEPS, IMAGES = 32, 1000, 32_000  # every image is seen once
CHECKPOINTS = (250, 500, 750, 1000)
WINDOW = 100  # steps before a checkpoint whose accuracies are averaged: 3,200 images
WEIGHT_VARS = (1.0, 1.1, 1.2, 1.3, 1.5, 1.76, 2.2, 2.6, 3.0, 3.4, 4.0)
DEPTHS = (8, 11, 16, 23, 32, 45, 64, 91)
RATES = tuple(0.256 / 4**k for k in range(7))  # 0.256 down to 6.25e-5
SEEDS = (0, 1, 2)
LIVE = {"seed": (0,), "weight_var": (1.0,), "depth": (11, 16, 23, 32)}


@dataclass(frozen=True)
class TrainabilityMap:
    """accuracy (seed, weight_var, depth, checkpoint, learning_rate), NaN where nothing was trained; provenance."""

    accuracy: xarray.DataArray
    provenance: data.Provenance


def trainability_map(
    scale: Literal["live", "paper"] = "live", *, resume: Path | None = None, workers: int = 1
) -> TrainabilityMap:
    """Train the cells of the map; "live" is one column at one seed up to the first checkpoint, "paper" is all of it."""
    if scale not in ("live", "paper"):
        raise ValueError(f"scale = {scale!r}: 'live' or 'paper' is needed")
    provenance = _digits()[2]
    checkpoints: tuple[int, ...]
    if scale == "live":
        accuracy, checkpoints = sweep(train_first, LIVE, workers=workers, resume=resume), CHECKPOINTS[:1]
    else:
        if not provenance.real:
            raise data.DataMissing("the trainability map needs data: make data (a stand-in is not what it reports)")
        grid = {"seed": SEEDS, "weight_var": WEIGHT_VARS, "depth": DEPTHS}
        accuracy, checkpoints = sweep(train_all, grid, workers=workers, resume=resume), CHECKPOINTS
    accuracy = accuracy.rename(axis_0="checkpoint", axis_1="learning_rate")
    return TrainabilityMap(accuracy.assign_coords(checkpoint=list(checkpoints), learning_rate=list(RATES)), provenance)


def train_all(weight_var: float, depth: int, seed: int) -> NDArray[np.float32]:
    """A cell of the map, to the last checkpoint."""
    return train(weight_var, depth, seed, CHECKPOINTS)


def train_first(weight_var: float, depth: int, seed: int) -> NDArray[np.float32]:
    """A cell of the map, to the first checkpoint."""
    return train(weight_var, depth, seed, CHECKPOINTS[:1])


def train(weight_var: float, depth: int, seed: int, checkpoints: tuple[int, ...]) -> NDArray[np.float32]:
    """Accuracies (checkpoints, rates) of one random network of `depth` hidden layers, trained at each of its rates.

    The accuracy at a checkpoint is the share of right answers on the 100 mini-batches before it, each answered before
    the network learns from it. NaN for rates that are not tried in this phase, and where a cell is not in the map.
    """
    accuracy = np.full((len(checkpoints), len(RATES)), np.nan, dtype=np.float32)
    if not in_map(weight_var, depth, seed):
        return accuracy
    images, labels, _ = _digits()
    tried = rates_tried(weight_var)
    draw = draw_of(weight_var, depth, seed)
    ensemble = MLPEnsemble(
        len(tried),
        (images.shape[1], *(WIDTH,) * depth, CLASSES),
        ACTIVATION,
        weight_var=weight_var,
        bias_var=BIAS_VAR,
        seed=[draw] * len(tried),
    )
    rates = [RATES[k] for k in tried]
    history = ensemble.fit(images, labels, learning_rate=rates, steps=checkpoints[-1], batch=BATCH, seed=draw)
    for row, step in enumerate(checkpoints):
        accuracy[row, tried] = history.accuracy[step - WINDOW : step].mean(0).numpy()
    return accuracy


def draw_of(weight_var: float, depth: int, seed: int) -> int:
    """The integer that seeds a cell's network and order of images: different in every cell, equal at every rate."""
    return round(1000 * weight_var) * 100_000 + depth * 100 + seed


def rates_tried(weight_var: float) -> list[int]:
    """Places in RATES: the five largest in the ordered phase, all but the largest from criticality on."""
    return list(range(5)) if weight_var < 1.7 else list(range(1, 7))


def in_map(weight_var: float, depth: int, seed: int) -> bool:
    """Whether a cell is computed: up to the first depth beyond 10 ξ_c; repetitions only where the edge can be measured
    (7 ξ_c within the depths) and from the last depth below 3 ξ_c on."""
    xi = float(MeanField(ACTIVATION, weight_var, BIAS_VAR).xi_c)
    deepest = next((d for d in DEPTHS if d >= 10 * xi), DEPTHS[-1])
    if seed == 0:
        return depth <= deepest
    first = max((d for d in DEPTHS if d <= 3 * xi), default=DEPTHS[0])
    return 7 * xi <= DEPTHS[-1] and first <= depth <= deepest


@functools.lru_cache(maxsize=1)
def _digits() -> tuple[torch.Tensor, torch.Tensor, data.Provenance]:
    """The first 32,000 training images of MNIST (n, 784), labels, provenance; whatever there is of the stand-in."""
    images, labels, provenance = data.load("mnist", "train", flatten=True)
    used = labels[:IMAGES].clone()
    return images[:IMAGES].clone(), used, dataclasses.replace(provenance, count=len(used))


def best(accuracy: xarray.DataArray) -> xarray.DataArray:
    """The accuracy at the best learning rate of each cell, NaN where nothing was trained."""
    return accuracy.max("learning_rate", skipna=True)


def store(resume: str | Path, workers: int = 1) -> Path:
    """Compute the map at the scale of the paper and store it; finished cells are kept in a folder below `resume`."""
    code = results.loaded_code()
    version = hashlib.sha256(json.dumps(code, sort_keys=True).encode()).hexdigest()[:12]
    start = time.perf_counter()
    found = trainability_map("paper", resume=Path(resume) / version, workers=workers)
    parameters = {
        "activation": ACTIVATION,
        "bias_var": BIAS_VAR,
        "width": WIDTH,
        "batch": BATCH,
        "steps": STEPS,
        "images": IMAGES,
        "window": WINDOW,
        "optimiser": "sgd",
    }
    arrays = {
        "accuracy": found.accuracy.values,
        **{str(name): axis.values for name, axis in found.accuracy.coords.items()},
    }
    provenance = {"code": code, "data": found.provenance, "seconds_since_resumed": round(time.perf_counter() - start)}
    return results.save(KEY, arrays, parameters=parameters, seeds=SEEDS, provenance=provenance)


def stored() -> tuple[xarray.DataArray, dict[str, object]]:
    """The stored map, with the dimensions of `TrainabilityMap.accuracy`, and its provenance."""
    arrays, provenance = results.load(KEY)
    names = ("seed", "weight_var", "depth", "checkpoint", "learning_rate")
    return xarray.DataArray(arrays["accuracy"], dims=names, coords={name: arrays[name] for name in names}), provenance
