"""Run a function over a grid of parameters, in parallel, and resume what was interrupted.

The result is an `xarray.DataArray` with one dimension a parameter, in the grid's order, whatever the number of workers
and the order in which cells finish: a cell must take its seed from its parameters. Every worker process computes on one
thread, so that a result does not depend on how many there are.

Progress goes to standard output, in a terminal or a live notebook only (`deepdynamics._progress`).
"""

import ast
import functools
import io
import itertools
import os
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import joblib
import numpy as np
import xarray
from numpy.typing import NDArray

from deepdynamics._checks import replace_file
from deepdynamics._progress import bar

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["SweepError", "sweep"]

Cell = dict[str, Any]


class SweepError(RuntimeError):
    """A cell of a sweep failed; the message names its parameters, the cause is what the function raised.

    >>> try:
    ...     _ = sweep(lambda x: 1 / x, {"x": [1, 0]}, workers=1)
    ... except SweepError as error:
    ...     print(type(error.__cause__).__name__)
    ZeroDivisionError
    """


def sweep(
    function: Callable[..., Any],
    grid: Mapping[str, Sequence[Any] | NDArray[Any]],
    *,
    workers: int | None = None,
    backend: Literal["loky", "dask"] = "loky",
    client: "Client | None" = None,
    progress: bool = True,
    resume: str | os.PathLike[str] | None = None,
) -> xarray.DataArray:
    """function(**cell) for every cell of the grid; dimensions: the grid's keys in order, then `axis_0`, … of what a
    cell returns (a number, or arrays of one shape).

    workers: processes (by default one a core); 1 computes here, in this process. backend: "loky" (joblib) or "dask", on
    `client` or, without one, on a local cluster for the time of the sweep. Both need a function that can be pickled.
    resume: a folder that keeps every finished cell; a sweep that was interrupted, or whose grid has grown, computes
    only what is not in it. The folder belongs to one function, whose name it records.

    Raises `SweepError` when a cell fails (finished cells are kept in `resume`), ValueError for an empty grid, cells of
    different shapes, an unknown backend, or a folder of another function. With "dask", ModuleNotFoundError where the
    package distributed is missing, and RuntimeError in a script that would start its own cluster outside
    `if __name__ == "__main__":`.

    >>> squares = sweep(lambda x, y: x**2 + y, {"x": [1, 2, 3], "y": [0.0, 0.5]}, workers=1)
    >>> squares.dims, float(squares.sel(x=3, y=0.5))
    (('x', 'y'), 9.5)
    """
    axes = _axes(grid)
    if backend not in ("loky", "dask"):
        raise ValueError(f"backend = {backend!r}: 'loky' or 'dask' is needed")
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise ValueError(f"workers = {workers!r}: a whole number of processes, at least 1, or None is needed")
    cells = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    store = _Store(Path(resume), function) if resume is not None else None
    values: dict[int, NDArray[Any]] = {}
    if store:
        values = {index: value for index, cell in enumerate(cells) if (value := store.load(cell)) is not None}
    waiting = {index: cell for index, cell in enumerate(cells) if index not in values}
    with bar(len(cells), getattr(function, "__name__", "cells"), show=progress, initial=len(values)) as shown:
        for index, value in _finished(function, waiting, workers, backend, client):
            values[index] = np.asarray(value)
            if store:
                store.save(cells[index], values[index])
            shown.update()
    return _assemble(axes, cells, [values[index] for index in range(len(cells))])


def _axes(grid: Mapping[str, Sequence[Any] | NDArray[Any]]) -> dict[str, list[Any]]:
    """The grid as lists of Python values, checked."""
    if not isinstance(grid, Mapping) or not grid:
        raise ValueError(f"grid = {grid!r}: a mapping with at least one parameter is needed")
    axes = {}
    for name, values in grid.items():
        is_sequence = isinstance(values, Sequence) and not isinstance(values, str)
        if not is_sequence and not (isinstance(values, np.ndarray) and values.ndim == 1):
            raise ValueError(f"grid[{name!r}] = {values!r}: a sequence of values is needed")
        axes[name] = [value.item() if isinstance(value, np.generic) else value for value in values]
        if not axes[name]:
            raise ValueError(f"grid[{name!r}] is empty: at least one value is needed")
    return axes


def _call(function: Callable[..., Any], index: int, cell: Cell) -> tuple[int, Any]:
    try:
        return index, function(**cell)
    except Exception as error:
        name = getattr(function, "__name__", repr(function))
        raise SweepError(f"{name}({_written(cell)}) failed: {type(error).__name__}: {error}") from error


def _written(cell: Cell) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in cell.items())


def _finished(
    function: Callable[..., Any],
    cells: dict[int, Cell],
    workers: int | None,
    backend: str,
    client: "Client | None",
) -> Iterator[tuple[int, Any]]:
    """(index, value) of each cell as it finishes, in any order."""
    if not cells:
        return
    if backend == "dask":
        yield from _finished_on_dask(function, cells, workers, client)
        return
    workers = min(workers or joblib.cpu_count(), len(cells))
    if workers == 1:
        yield from (_call(function, index, cell) for index, cell in cells.items())
        return
    with joblib.parallel_config(backend="loky", n_jobs=workers, inner_max_num_threads=1):
        parallel = joblib.Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs")
        yield from parallel(joblib.delayed(_call)(function, index, cell) for index, cell in cells.items())


def _finished_on_dask(
    function: Callable[..., Any], cells: dict[int, Cell], workers: int | None, client: "Client | None"
) -> Iterator[tuple[int, Any]]:
    try:
        from distributed import Client, LocalCluster, as_completed
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"backend = 'dask' needs the package {error.name}: pip install \"deepdynamics[dask]\"", name=error.name
        ) from None
    if client is None:
        if not _main_is_guarded():
            raise RuntimeError(
                "backend = 'dask' starts processes that import this script again: call sweep under "
                'if __name__ == "__main__": in a file, or take the backend "loky", which needs neither'
            )
        count = min(workers or joblib.cpu_count(), len(cells))
        with (
            LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=":0") as cluster,
            Client(cluster) as own,
        ):
            yield from _finished_on_dask(function, cells, workers, own)
        return
    futures = [client.submit(_call, function, index, cell, pure=False) for index, cell in cells.items()]
    try:
        for future in as_completed(futures):
            yield future.result()
    finally:
        client.cancel(futures)


def _main_is_guarded() -> bool:
    """Whether worker processes can import the program that is running without running into this call again: there is no
    script, or the statement of it that is being executed stands under an `if`."""
    main = sys.modules["__main__"]
    frame = sys._getframe()
    while frame.f_back is not None and not (frame.f_globals is vars(main) and frame.f_code.co_name == "<module>"):
        frame = frame.f_back
    if frame.f_globals is not vars(main) or getattr(main, "__file__", None) != frame.f_code.co_filename:
        return True  # no script, or not one that workers would find
    try:
        tree = ast.parse(Path(frame.f_code.co_filename).read_text("utf-8"))
    except OSError:  # a script from standard input, which nobody can import
        return False
    conditions = (node for node in ast.walk(tree) if isinstance(node, ast.If))
    return any(node.lineno <= frame.f_lineno <= (node.end_lineno or 0) for node in conditions)


def _assemble(axes: dict[str, list[Any]], cells: list[Cell], values: list[NDArray[Any]]) -> xarray.DataArray:
    shape = values[0].shape
    for cell, value in zip(cells, values, strict=True):
        if value.shape != shape:
            raise ValueError(
                f"cells of different shapes: {shape} at {_written(cells[0])}, {value.shape} at {_written(cell)}"
            )
    data = np.stack(values).reshape(*(len(axis) for axis in axes.values()), *shape)
    names = [*axes, *(f"axis_{k}" for k in range(len(shape)))]
    return xarray.DataArray(data, dims=names, coords={name: _coordinate(axis) for name, axis in axes.items()})


def _coordinate(values: list[Any]) -> NDArray[Any]:
    if all(isinstance(value, bool | int | float | str) for value in values):
        return np.array(values)
    labels = np.empty(len(values), dtype=object)
    labels[:] = values
    return labels


def _plain(value: Any) -> Any:
    """A parameter as joblib can hash it by what it holds: tensors as arrays, numpy's numbers as numbers."""
    if hasattr(value, "detach"):  # a torch tensor
        return value.detach().cpu().numpy()
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value.item() if isinstance(value, np.generic) else value


def _name(function: Callable[..., Any]) -> str:
    """What a function is called, with the arguments that are bound to it and the state of a callable object."""
    if isinstance(function, functools.partial):
        bound = joblib.hash((_plain(list(function.args)), {k: _plain(v) for k, v in function.keywords.items()}))
        return f"{_name(function.func)} of {bound}"
    if hasattr(function, "__qualname__"):
        return f"{function.__module__}.{function.__qualname__}"
    kind = type(function)
    return f"{kind.__module__}.{kind.__qualname__} {joblib.hash(function)}"


class _Store:
    """A folder with one small file a finished cell, named by a hash of its parameters and written in one step."""

    def __init__(self, folder: Path, function: Callable[..., Any]) -> None:
        self.folder = folder
        name = _name(function)
        owner = folder / "function.txt"
        if not owner.exists():
            replace_file(owner, name.encode())
        elif owner.read_text() != name:
            raise ValueError(f"resume = {str(folder)!r} holds cells of {owner.read_text()}, not of {name}")

    def _path(self, cell: Cell) -> Path:
        return self.folder / f"{joblib.hash({name: _plain(value) for name, value in cell.items()})}.npz"

    def load(self, cell: Cell) -> NDArray[Any] | None:
        try:
            with self._path(cell).open("rb") as stream, np.load(stream) as file:
                return np.asarray(file["value"])
        except (FileNotFoundError, ValueError, EOFError, KeyError, zipfile.BadZipFile):  # absent or damaged: again
            return None

    def save(self, cell: Cell, value: NDArray[Any]) -> None:
        if value.dtype == object:
            raise ValueError(f"the cell {_written(cell)} is no number or numeric array, and cannot be kept in resume")
        content = io.BytesIO()
        np.savez(content, value=value, cell=_written(cell))
        replace_file(self._path(cell), content)
