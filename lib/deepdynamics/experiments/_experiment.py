"""What the experiments share: points of a grid, labels, assembly of cells, comparison with what is stored.

An experiment is a module with the names of `Experiment`. Its `cell` computes one point of the grid and returns named
arrays, whose axes are the dimensions that `DIMENSIONS` gives them, less those that the point has fixed. An array that
covers a part of its axes only comes labelled, as an `xarray.DataArray`. A cell returns what its branch computes; what
no cell has computed is NaN in the result.
"""

import importlib
import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, cast

import numpy as np
import xarray

from deepdynamics import data
from deepdynamics._checks import one_of
from deepdynamics._progress import bar
from deepdynamics.experiments._table import module_of

__all__ = [
    "Experiment",
    "Point",
    "assembled",
    "at_scale",
    "check_data",
    "compared",
    "compute",
    "experiment_of",
    "labelled_cell",
    "points",
]

Point = dict[str, Any]
Scale = Literal["live", "paper"]


class Experiment(Protocol):
    """The names of an experiment's module.

    tolerance: array -> (relative, absolute): how far an entry may lie from the stored one, whose size is meant by
    relative. Arrays without a tolerance (seconds) are not compared. NEEDS: data sets without which the result cannot be
    computed. checks: the points that are computed again to verify the result, at least one a branch.
    """

    KEY: str
    DIMENSIONS: Mapping[str, tuple[str, ...]]
    COORDINATES: Mapping[str, Sequence[Any]]
    PARAMETERS: Mapping[str, Any]
    SEEDS: Sequence[int]
    NEEDS: tuple[str, ...]
    checks: Sequence[Point]
    tolerance: Mapping[str, tuple[float, float]]

    def cell(self, **point: Any) -> Mapping[str, Any]: ...

    def grid(self, scale: Scale) -> list[Point]: ...

    def sources(self) -> Any: ...


def points(**axes: Iterable[Any]) -> list[Point]:
    """Every point of a product of axes, the last one fastest.

    >>> points(kind=("a", "b"), seed=(0,))
    [{'kind': 'a', 'seed': 0}, {'kind': 'b', 'seed': 0}]
    """
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def at_scale(scale: str, *, live: list[Point], paper: list[Point]) -> list[Point]:
    """The points of one of the two scales; ValueError for another."""
    return live if one_of("scale", scale, ("live", "paper")) == "live" else paper


def experiment_of(key: str) -> Experiment:
    """The module that computes a stored result; ValueError for a key that none computes.

    >>> experiment_of("edge-of-chaos.gain").grid("live")
    [{'weights': 'gaussian', 'gain': 1.05, 'network': 0}]
    """
    return cast(Experiment, importlib.import_module(module_of(key)))


def compute(key: str, scale: Scale = "live") -> xarray.Dataset:
    """All cells of an experiment, assembled; its attribute "data" says where the data come from.

    key: of the result that is stored. Raises ValueError for a key that no experiment computes or another scale, and
    `data.DataMissing` where the paper's scale lacks its data (a stand-in is not what it reports).

    >>> compute("edge-of-chaos.gain", "live").log_singular_values.sizes["rank"]  # doctest: +SKIP
    100
    """
    experiment = experiment_of(key)
    chosen, cells = experiment.grid(scale), []
    if scale == "paper":
        check_data(experiment)
    with bar(len(chosen), key) as shown:
        for point in chosen:
            cells.append(labelled_cell(experiment, point))
            shown.update()
    return assembled(experiment, chosen, cells)


def compared(experiment: Experiment, stored: xarray.Dataset) -> dict[str, Any]:
    """The check cells against the stored numbers: how many cells of how many, the largest deviation relative to the
    largest entry of its array, the largest in units of the tolerance and where that is; and the seconds it took.
    """
    check_data(experiment)
    start, rows, names = time.process_time(), [], set()
    for point in experiment.checks:
        for name, live in labelled_cell(experiment, point).data_vars.items():
            if str(name) in experiment.tolerance:
                names.add(str(name))
                rows.append((*_deviation(live, stored, point, *experiment.tolerance[str(name)]), f"{name} at {point}"))
    worst = max(rows, key=lambda row: row[1])
    return {
        "cells": len(experiment.checks),
        "of": len(experiment.grid("paper")),
        "deviation": max(row[0] for row in rows),
        "of_tolerance": worst[1],
        "worst": worst[2],
        "compared": sorted(names),
        "checks": list(experiment.checks),
        "seconds": round(time.process_time() - start, 1),
    }


def _deviation(
    live: xarray.DataArray, stored: xarray.Dataset, point: Point, relative: float, absolute: float
) -> tuple[float, float]:
    """Largest deviation over the largest stored entry, and largest deviation in units of its tolerance; inf where the
    stored result has no such entry, or one of two numbers is NaN.
    """
    try:
        fixed = {name: value for name, value in point.items() if name in stored[live.name].dims}
        kept = stored[live.name].sel(fixed).sel({name: live[name] for name in live.dims}).transpose(*live.dims)
    except KeyError:
        return np.inf, np.inf
    a, b = (np.asarray(array.values, dtype=np.float64) for array in (live, kept))
    if (np.isnan(a) != np.isnan(b)).any():
        return np.inf, np.inf
    equal = (a == b) | np.isnan(a)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance, size = np.where(equal, 0, abs(a - b)), np.nan_to_num(abs(b), posinf=0)
        share = np.where(equal, 0, distance / (absolute + relative * size))
        return float(distance.max() / max(size.max(), 1e-300)) if distance.any() else 0.0, float(share.max())


def check_data(experiment: Experiment) -> None:
    """Raises `data.DataMissing` where data are not here without which the result cannot be computed."""
    if missing := [name for name in experiment.NEEDS if not data.available(name)]:
        raise data.DataMissing(
            f"{experiment.KEY} needs {', '.join(missing)}: python -m deepdynamics.data fetch "
            "(a stand-in is not what it reports)"
        )


def labelled_cell(experiment: Experiment, point: Point) -> xarray.Dataset:
    """What a cell returns, labelled: the axes that the point has not fixed, with their coordinates."""
    arrays = {}
    for name, value in experiment.cell(**point).items():
        dims = [dim for dim in experiment.DIMENSIONS[name] if dim not in point]
        if not isinstance(value, xarray.DataArray):
            value = xarray.DataArray(np.asarray(value), {dim: list(experiment.COORDINATES[dim]) for dim in dims}, dims)
        arrays[name] = value
    return xarray.merge([array.rename(name) for name, array in arrays.items()], join="exact", compat="equals")


def assembled(experiment: Experiment, chosen: Sequence[Point], cells: Sequence[xarray.Dataset]) -> xarray.Dataset:
    """One dataset of all cells, its coordinates in the order of `COORDINATES`; NaN (0 in integers) where no cell is.
    Its attribute "data" says where the data come from.
    """
    seen: dict[str, set[Any]] = {dim: set() for dim in experiment.COORDINATES}
    parts: dict[str, list[xarray.DataArray]] = {}
    for point, cell in zip(chosen, cells, strict=True):
        for name, array in cell.data_vars.items():
            fixed = [dim for dim in experiment.DIMENSIONS[str(name)] if dim in point]
            part = array.expand_dims({dim: [point[dim]] for dim in fixed}).transpose(*experiment.DIMENSIONS[str(name)])
            parts.setdefault(str(name), []).append(part)
            for dim in part.dims:
                seen[str(dim)] |= set(part[dim].values.tolist())
    coords = {dim: [value for value in experiment.COORDINATES[dim] if value in seen[dim]] for dim in seen if seen[dim]}
    arrays = {}
    for name, found in parts.items():
        dims, dtype = experiment.DIMENSIONS[name], found[0].dtype
        whole = np.full([len(coords[dim]) for dim in dims], np.nan if dtype.kind == "f" else 0, dtype=dtype)
        for part in found:
            places = [[coords[dim].index(value) for value in part[dim].values.tolist()] for dim in dims]
            whole[np.ix_(*places)] = part.values
        arrays[name] = (dims, whole)
    return xarray.Dataset(arrays, coords=coords, attrs={"data": experiment.sources()})
