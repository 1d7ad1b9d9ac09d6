"""Runs at full size: on a cluster that loses a worker as on one machine; and all that is stored has such a run."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import clusters
import numpy as np
import pytest
from deepdynamics import experiments, results
from deepdynamics.results.packing import numbers_digest

KEY = "ntk.widths"
POINTS = [{"width": 64, "rule": "fixed", "repetition": k} for k in range(3)]
KEYS = [key for found in experiments.EXPERIMENTS.values() for key in found]


def few(monkeypatch, points):
    monkeypatch.setattr(experiments.experiment_of(KEY), "grid", lambda scale: points)


@pytest.fixture
def client():
    with clusters.two_workers() as client:
        yield client


def compared(folder, client):
    """Digest of the numbers of one machine, and of a cluster whose first worker is killed after the first cell."""
    results.store(KEY, folder / "alone")
    alone, keep = results.load(KEY), folder / "cluster"
    pid = next(iter(client.run(os.getpid).values()))

    def kill():
        while not list(keep.rglob("[!.]*.npz")):
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    results.store(KEY, keep, backend="dask", client=client)
    killer.join()
    assert pid not in client.run(os.getpid).values()
    assert len(list(keep.rglob("[!.]*.npz"))) == len(experiments.experiment_of(KEY).grid("paper"))
    return numbers_digest(alone), numbers_digest(results.load(KEY))


def test_cluster_that_loses_a_worker_stores_the_same_numbers(folder, client, monkeypatch):
    few(monkeypatch, POINTS)
    alone, together = compared(folder, client)
    assert alone == together
    assert results.load(KEY).attrs["cpu_seconds"] >= 1  # of all cells, those computed twice counted once


@pytest.mark.long
def test_cluster_that_loses_a_worker_stores_the_same_numbers_at_every_width(folder, client, monkeypatch):
    paper = experiments.experiment_of(KEY).grid("paper")
    few(monkeypatch, [point for point in paper if point["repetition"] == 0])
    alone, together = compared(folder, client)
    assert alone == together


@pytest.mark.long
def test_cluster_computes_a_whole_result_as_it_is_stored(folder, client, monkeypatch):
    """All its cells, half a minute: every number within its tolerance."""
    whole, experiment = "every-lens.healthy", experiments.experiment_of("every-lens.healthy")
    results.store(whole, folder / "keep", backend="dask", client=client)
    found = results.load(whole)
    monkeypatch.delenv("DEEPDYNAMICS_RESULTS")
    stored = results.load(whole)
    assert set(found.data_vars) == set(stored.data_vars) and found.sizes == stored.sizes
    for name, (relative, absolute) in experiment.tolerance.items():
        np.testing.assert_allclose(found[name], stored[name], relative, absolute, err_msg=name)


def test_workers_that_see_another_folder_are_an_error(folder, monkeypatch):
    few(monkeypatch, POINTS)
    monkeypatch.setattr("deepdynamics.results.runs._Keep.__call__", lambda self, point: True)
    with pytest.raises(FileNotFoundError, match=r"3 finished cells are not in .*: a folder that every worker sees"):
        results.store(KEY, folder / "keep")


def test_cluster_with_workers_of_several_threads_is_refused(folder):
    """They would give other numbers. The command ends in one sentence, before anything is computed."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0", protocol="tcp"
    ) as cluster:
        command = [sys.executable, "-m", "deepdynamics.results", "ntk", "--cluster", cluster.scheduler_address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("must compute on one thread each: dask worker --nthreads 1")


def test_all_that_is_stored_has_a_run_of_its_own():
    """`store` computes every cell through `sweeps.sweep`, and `python -m deepdynamics.results` calls nothing else."""
    stored = {file.stem for file in (Path(__file__).parents[2] / "book" / "results").glob("*.npz")}
    assert stored == set(KEYS) and len(KEYS) == len(stored)
