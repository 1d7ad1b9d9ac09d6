"""A run at the scale of the paper: its cells are kept while it goes on, and an interrupted one goes on where it was.
On one machine or on a cluster: the same cells, the same files."""

import hashlib
import json
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import xarray

from deepdynamics import experiments
from deepdynamics._checks import replace_file
from deepdynamics.results.code import digest
from deepdynamics.results.devices import check_device, device_name, on_device
from deepdynamics.results.files import save
from deepdynamics.results.packing import packed, unpacked
from deepdynamics.sweeps import sweep

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["store"]


def store(
    key: str,
    keep: Path,
    *,
    workers: int = 1,
    backend: Literal["loky", "dask"] = "loky",
    client: "Client | None" = None,
    device: str = "cpu",
) -> Path:
    """Compute an experiment at the scale of the paper, store it, and return its file.

    keep: a folder for finished cells, those of different code apart; on a cluster, one that every worker sees. workers,
    backend, client: as `sweeps.sweep` takes them; every worker computes on one thread. device: where torch computes, a
    name as torch takes it (`devices.on_device`); cells of another device than the CPU are kept apart, and the
    provenance names it.

    Raises ValueError for a key that no experiment computes and a device that is not here, `data.DataMissing` where its
    data are not here, `sweeps.SweepError` where a cell fails, and FileNotFoundError where the workers write to another
    folder.

    >>> store("edge-of-chaos.gain", Path("finished"), workers=2).name  # doctest: +SKIP
    'edge-of-chaos.gain.npz'
    """
    experiment, code, start = experiments.experiment_of(key), digest(experiments.module_of(key)), time.perf_counter()
    experiments.check_data(experiment)
    if client is None:  # a cluster may have a device that this machine has not
        check_device(device)
    kind, chosen = device.partition(":")[0], experiment.grid("paper")
    folder = keep / (code if kind == "cpu" else f"{code}-{kind}")
    texts = [json.dumps(point) for point in chosen]
    sweep(_Keep(key, folder, device), {"point": texts}, workers=workers, backend=backend, client=client)
    if lost := sum(not _path(folder, text).is_file() for text in texts):
        raise FileNotFoundError(f"{lost} finished cells are not in {folder}: a folder that every worker sees is needed")
    cells = [_kept(folder, text) for text in texts]
    dataset = experiments.assembled(experiment, chosen, cells)
    record = {"code": code, "seconds_since_resumed": round(time.perf_counter() - start)} | dataset.attrs
    record["device"] = ", ".join(sorted({cell.attrs.get("device", "cpu") for cell in cells}))
    if all("cpu_seconds" in cell.attrs for cell in cells):  # of all cells, whichever run computed them
        record["cpu_seconds"] = round(sum(cell.attrs["cpu_seconds"] for cell in cells))
    return save(key, dataset, parameters=experiment.PARAMETERS, seeds=experiment.SEEDS, provenance=record)


class _Keep:
    """Computes a cell and writes it to the folder, unless it is there; can be pickled."""

    def __init__(self, key: str, folder: Path, device: str) -> None:
        self.key, self.folder, self.device, self.__name__ = key, folder, device, key

    def __call__(self, point: str) -> bool:
        try:
            _kept(self.folder, point)
        except (FileNotFoundError, ValueError, EOFError, KeyError, zipfile.BadZipFile):  # absent or damaged: compute
            start = time.process_time()
            with on_device(self.device):
                cell = experiments.labelled_cell(experiments.experiment_of(self.key), json.loads(point))
            record = {"point": point, "cpu_seconds": time.process_time() - start, "device": device_name(self.device)}
            replace_file(_path(self.folder, point), packed(cell, record))
        return True


def _path(folder: Path, point: str) -> Path:
    return folder / f"{hashlib.sha256(point.encode()).hexdigest()[:32]}.npz"


def _kept(folder: Path, point: str) -> xarray.Dataset:
    return unpacked(_path(folder, point).read_bytes())
