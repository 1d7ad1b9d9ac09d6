"""A run at the scale of the paper: its cells are kept while it goes on, and an interrupted one goes on where it was."""

import hashlib
import json
import time
import zipfile
from pathlib import Path

import xarray

from deepdynamics import experiments
from deepdynamics._checks import replace_file
from deepdynamics.results.code import digest
from deepdynamics.results.files import save
from deepdynamics.results.packing import packed, unpacked
from deepdynamics.sweeps import sweep

__all__ = ["store"]


def store(key: str, keep: Path, *, workers: int = 1) -> Path:
    """Compute an experiment at the scale of the paper, store it, and return its file.

    keep: a folder for finished cells, those of different code apart. workers: processes, each on one thread.

    Raises ValueError for a key that no experiment computes, `data.DataMissing` where its data are not here, and
    `sweeps.SweepError` where a cell fails.

    >>> store("edge-of-chaos.gain", Path("finished"), workers=2).name  # doctest: +SKIP
    'edge-of-chaos.gain.npz'
    """
    experiment, code, start = experiments.experiment_of(key), digest(experiments.module_of(key)), time.perf_counter()
    experiments.check_data(experiment)
    folder, chosen = keep / code, experiment.grid("paper")
    texts = [json.dumps(point) for point in chosen]
    sweep(_Keep(key, folder), {"point": texts}, workers=workers)
    dataset = experiments.assembled(experiment, chosen, [_kept(folder, text) for text in texts])
    record = {"code": code, "seconds_since_resumed": round(time.perf_counter() - start)} | dataset.attrs
    return save(key, dataset, parameters=experiment.PARAMETERS, seeds=experiment.SEEDS, provenance=record)


class _Keep:
    """Computes a cell and writes it to the folder, unless it is there; can be pickled."""

    def __init__(self, key: str, folder: Path) -> None:
        self.key, self.folder, self.__name__ = key, folder, key

    def __call__(self, point: str) -> bool:
        try:
            _kept(self.folder, point)
        except (FileNotFoundError, ValueError, EOFError, KeyError, zipfile.BadZipFile):  # absent or damaged: compute
            cell = experiments.labelled_cell(experiments.experiment_of(self.key), json.loads(point))
            replace_file(_path(self.folder, point), packed(cell, {"point": point}))
        return True


def _path(folder: Path, point: str) -> Path:
    return folder / f"{hashlib.sha256(point.encode()).hexdigest()[:32]}.npz"


def _kept(folder: Path, point: str) -> xarray.Dataset:
    return unpacked(_path(folder, point).read_bytes())
