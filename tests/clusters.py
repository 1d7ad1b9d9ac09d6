"""A dask cluster on this machine."""

from contextlib import contextmanager

import pytest


@contextmanager
def two_workers():
    """A client of two workers with one thread each; a skip where dask is not installed."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client
