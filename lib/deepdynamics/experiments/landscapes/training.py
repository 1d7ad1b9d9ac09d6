"""Four questions to small networks on MNIST at 14 × 14: distance, width, noise, and measures of generalisation.

``distance``: ReLU networks 196-64-10, batches of 10, rate 0.1, a network and a set of 1,000 images a seed: ‖w_t − w_0‖
at times 1, 2, 4, …; the control "linear" is softmax regression on the same images, "walk" a walk by independent steps.
``width``: one hidden layer of tanh units, 64 points in 2, 8 or 30 dimensions, Gaussian, with random answers ±1, full
batch Adam: the loss reached at each width, as a share of the variance of the answers.
``noise``: tanh networks 196-32-1 with squared loss, even against odd on 200 images, at the full batch and a small rate
until the loss is 0.002; then, from the same point, at rates below and above 2/λ_max, full batch and batches of 8 and
50: λ_max, the distance and the loss after 1,000 more steps; ``patient``: λ_max after 5,000 steps, batches of 8, at the
lowest rate.
``measures``: 32 ReLU networks a set of 500 images (two widths, depths, rates, batches, weight decays), all trained to a
cross-entropy of 0.05 on their set: gap of the error, and the measures.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import xarray

from deepdynamics import data
from deepdynamics.experiments._experiment import Point, at_scale
from deepdynamics.experiments.landscapes import nets
from deepdynamics.landscapes.measures import generalisation_measures

__all__ = ["KEY", "cell", "checks", "grid"]

KEY = "landscapes.training"
SEEDS, NETWORKS = tuple(range(10, 18)), tuple(range(10, 34))  # networks: of the part on noise
TIMES = tuple(2**k for k in range(13))
MODELS = ("network", "linear", "walk")
UNITS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 28, 40, 64)
POINTS, INPUTS = 64, (2, 8, 30)
RATES, BATCHES = (0.1, 0.5, 1.5), (0, 8, 50)  # in units of 2/λ_max; 0: all samples
KNOBS = {"width": (32, 128), "depth": (1, 2), "rate": (0.03, 0.1), "batch": (10, 50), "decay": (0.0, 1e-3)}
NETS = tuple(itertools.product(*KNOBS.values()))
MEASURES = ("spectral", "path", "distance", "inverse margin", "sharpness", "training loss")
PARAMETERS = {"points": POINTS, "inputs": INPUTS, "knobs": {k: list(v) for k, v in KNOBS.items()}}
DIMENSIONS: dict[str, tuple[str, ...]] = {
    "distance": ("model", "seed", "time"),
    "loss": ("inputs", "units", "seed"),
    "lambda_max": ("network", "rate", "batch"),
    "start": ("network",),
    "moved": ("network", "rate", "batch"),
    "after": ("network", "rate", "batch"),
    "patient": ("network",),
    "gap": ("seed", "net"),
    "measure": ("seed", "net", "name"),
    "knob": ("net", "hyperparameter"),
}
COORDINATES: dict[str, Sequence[Any]] = {
    "model": MODELS, "seed": SEEDS, "network": NETWORKS,
    "time": TIMES, "inputs": INPUTS, "units": UNITS, "rate": RATES, "batch": BATCHES,
    "net": tuple(range(len(NETS))), "name": MEASURES, "hyperparameter": tuple(KNOBS),
}  # fmt: skip
NEEDS = ("mnist",)
# What is trained for long in float32 is rounded elsewhere in another order, and parts: hence wide tolerances.
checks = (
    {"part": "distance", "which": 1},
    {"part": "width", "which": [8, 4]},
    {"part": "noise", "which": 0},
    {"part": "measures", "which": 0},
)
tolerance = {
    "distance": (0.05, 0.0),
    "loss": (0.0, 0.1),
    "start": (0.05, 0.0),
    "lambda_max": (0.4, 0.0),
    "moved": (0.4, 0.0),
    "patient": (0.4, 0.0),
    "gap": (0.0, 0.05),
    "measure": (0.4, 0.0),
    "knob": (0.0, 0.0),
}
only_whole = ("after",)  # not compared: losses near zero are rounding's


def grid(scale: str) -> list[Point]:
    """A width of the one-hidden-layer networks, or all parts."""
    full: list[Point] = [{"part": "distance", "which": k} for k in range(3)]
    full += [{"part": "width", "which": [inputs, units]} for inputs in INPUTS for units in UNITS]
    full += [{"part": "noise", "which": 0}] + [{"part": "measures", "which": k} for k in range(len(NETS))]
    return at_scale(scale, live=[{"part": "width", "which": [8, 4]}], paper=full)


def sources() -> data.Provenance:
    """Where the images come from."""
    return data.load("mnist", "train", n=500).provenance


def cell(part: str, which: Any) -> dict[str, xarray.DataArray]:
    """The labelled arrays of one part; ``which``: a model, inputs and width, or one of the 32 settings."""
    parts: dict[str, Callable[[Any], dict[str, xarray.DataArray]]]
    parts = {"distance": _distance, "width": _width, "noise": _noise, "measures": _measures}
    return parts[part](which)


def _distance(which: int) -> dict[str, xarray.DataArray]:
    places: dict[str, Any] = {"model": [MODELS[which]], "seed": list(SEEDS), "time": list(TIMES)}
    found: list[torch.Tensor] = []
    if MODELS[which] == "walk":
        generator = torch.Generator().manual_seed(100)
        place = torch.zeros(len(SEEDS), 1000)
        for step in range(1, TIMES[-1] + 1):
            place += torch.randn(place.shape, generator=generator) / 1000**0.5
            found += [place.norm(dim=1)] if step in TIMES else []
    else:
        X, y, *_ = nets.image_sets(SEEDS, 1000)
        widths = (196, 64, 10) if MODELS[which] == "network" else (196, 10)
        start = nets.draw(widths, SEEDS, gain=1.4)
        origin = nets.flat(start)

        def watch(step: int, weights: list[torch.Tensor]) -> bool:
            if step in TIMES:
                found.append((nets.flat([w.detach() for w in weights]) - origin).norm(dim=1))
            return False

        nets.descend(start, X, y, rate=0.1, steps=TIMES[-1] + 1, batch=10, phi=torch.relu, watch=watch)
    return {"distance": xarray.DataArray(torch.stack(found, 1).numpy()[None], places)}


def _width(inputs_and_units: Sequence[int]) -> dict[str, xarray.DataArray]:
    inputs, units = inputs_and_units
    generator = torch.Generator().manual_seed(101)
    X = torch.randn(len(SEEDS), POINTS, inputs, generator=generator)
    y = torch.randint(0, 2, (len(SEEDS), POINTS), generator=generator) * 2.0 - 1.0
    weights = [w.requires_grad_() for w in nets.draw((inputs, units, 1), SEEDS, gain=1.5)]
    steps = 3000
    optimiser = torch.optim.Adam(weights, lr=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        loss = nets.losses(nets.outputs(weights, X), y)
        loss.sum().backward()
        optimiser.step()
        schedule.step()
    share = 2 * nets.losses(nets.outputs(weights, X), y).detach() / y.var(1)
    places: dict[str, Any] = {"inputs": [inputs], "units": [units], "seed": list(SEEDS)}
    return {"loss": xarray.DataArray(share[None, None].numpy(), places)}


def sharpness(
    weights: list[torch.Tensor], X: torch.Tensor, y: torch.Tensor, phi: Any, *, steps: int = 30
) -> torch.Tensor:
    """λ_max of the Hessian of each net's loss (nets,), by power iteration (the eigenvalue largest in size)."""
    weights = [w.detach().requires_grad_() for w in weights]
    slopes = torch.autograd.grad(nets.losses(nets.outputs(weights, X, phi), y).sum(), weights, create_graph=True)
    generator = torch.Generator().manual_seed(0)
    v = [torch.randn(w.shape, generator=generator) for w in weights]
    for _ in range(steps):
        norm = nets.flat(v).norm(dim=1)[:, None, None]
        v = [part / norm for part in v]
        v = list(torch.autograd.grad(slopes, weights, v, retain_graph=True))
    return nets.flat(v).norm(dim=1)


def _noise(_: int) -> dict[str, xarray.DataArray]:
    X, y, *_rest = nets.image_sets(NETWORKS, 200)
    y = 1.0 - 2.0 * (y % 2)
    begin = nets.draw((196, 32, 1), NETWORKS, gain=2.0)
    begin = nets.descend(
        begin, X, y, rate=0.002, steps=8000,
        watch=lambda step, w: step % 50 == 0 and bool((nets.losses(nets.outputs(w, X), y) < 0.002).all()),
    )  # fmt: skip
    top = sharpness(begin, X, y, torch.tanh)
    shape = (len(NETWORKS), len(RATES), len(BATCHES))
    found, moved, after = (np.full(shape, np.nan) for _ in range(3))
    for i, rate in enumerate(RATES):
        for j, batch in enumerate(BATCHES):
            end = nets.descend(
                begin, X, y, rate=(rate * 2 / top)[:, None, None], steps=1000, batch=batch or None, seed=5
            )
            found[:, i, j] = sharpness(end, X, y, torch.tanh)
            moved[:, i, j] = (nets.flat(end) - nets.flat(begin)).norm(dim=1)
            after[:, i, j] = nets.losses(nets.outputs(end, X), y)
    places = {"network": list(NETWORKS), "rate": list(RATES), "batch": list(BATCHES)}
    slow = (RATES[0] * 2 / top)[:, None, None]
    patient = sharpness(nets.descend(begin, X, y, rate=slow, steps=5000, batch=8, seed=6), X, y, torch.tanh)
    arrays = {"lambda_max": found, "moved": moved, "after": after}
    each = {"network": list(NETWORKS)}
    return {name: xarray.DataArray(values, places) for name, values in arrays.items()} | {
        "start": xarray.DataArray(top.numpy(), each),
        "patient": xarray.DataArray(patient.numpy(), each),
    }


def _measures(which: int) -> dict[str, xarray.DataArray]:
    width, depth, rate, batch, decay = NETS[which]
    X, y, tests, answers = nets.image_sets(SEEDS, 500)
    tests, answers = tests[:3000].expand(len(SEEDS), -1, -1), answers[:3000]
    start = nets.draw((196, *(int(width),) * int(depth), 10), SEEDS, gain=1.4)

    def loss(w: list[torch.Tensor]) -> torch.Tensor:
        return nets.losses(nets.outputs(w, X, torch.relu), y).detach()

    kept: list[Any] = [None] * len(SEEDS)

    def watch(step: int, weights: list[torch.Tensor]) -> bool:
        if step % 20 == 0:
            for k in torch.nonzero(loss(weights) < 0.05).flatten().tolist():
                kept[k] = kept[k] or [w[k].detach().clone() for w in weights]
        return all(kept)

    last = nets.descend(
        start, X, y, rate=rate, steps=6000, batch=int(batch), decay=decay, phi=torch.relu, seed=which, watch=watch
    )
    end = [torch.stack([kept[k][i] if kept[k] else w[k] for k in range(len(SEEDS))]) for i, w in enumerate(last)]
    out = nets.outputs(end, X, torch.relu)
    right = out.gather(2, y[:, :, None])[:, :, 0]
    others = out.scatter(2, y[:, :, None], -torch.inf).amax(2)
    margin = (right - others).quantile(0.1, dim=1).clamp(min=1e-3)

    def error(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return (scores.argmax(2) != labels).float().mean(1)

    gap = error(nets.outputs(end, tests, torch.relu), answers) - error(out, y)
    top = sharpness(end, X, y, torch.relu)
    rows = []
    for k in range(len(SEEDS)):
        of = generalisation_measures([w[k].T for w in end[::2]], [w[k].T for w in start[::2]], float(margin[k]))
        rows.append([*of.values(), float(top[k]), float(loss(end)[k])])
    places = {"seed": list(SEEDS), "net": [which]}
    return {
        "gap": xarray.DataArray(gap[:, None].numpy(), places),
        "measure": xarray.DataArray(np.array(rows)[:, None], places | {"name": list(MEASURES)}),
        "knob": xarray.DataArray(np.array([NETS[which]]), {"net": [which], "hyperparameter": list(KNOBS)}),
    }
