"""`python -m deepdynamics.results cnn-jacobian`: compute and store the results of a chapter, resuming what was
interrupted; without a chapter, of all. With `--workers 8`, by so many processes; with `--cluster local`, by a cluster
of dask on this machine; with `--cluster tcp://ADDRESS:8786`, by one that runs, whose workers
(`dask worker tcp://ADDRESS:8786 --nthreads 1`) have this library and see the folder `--keep`. With `--device cuda`,
what torch computes is computed there, from the same random numbers.

`python -m deepdynamics.results verify [KEY ...]`: compute the check cells of stored results again and write what was
compared to `verified.json`; without a key, of all that are neither current nor verified, one after the other, so that
an interrupted run goes on where it was.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deepdynamics import results
from deepdynamics.data.fetch import cache_folder
from deepdynamics.experiments import EXPERIMENTS
from deepdynamics.results.devices import check_device

if TYPE_CHECKING:
    from distributed import Client

# The last bits of a matrix product depend on how many threads there are, and training amplifies them.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


def main(arguments: Sequence[str] | None = None) -> int:
    """Compute the results of the chapters named (all without one), or verify results; 1 where one is contradicted."""
    keys = [key for found in EXPERIMENTS.values() for key in found]
    parser = argparse.ArgumentParser(prog="python -m deepdynamics.results", description=__doc__)
    parser.add_argument("what", nargs="*", help=f"chapters, any of {', '.join(EXPERIMENTS)}; or verify [KEY ...]")
    parser.add_argument("--workers", type=int, default=1, help="processes, each on one thread; 1 without it")
    parser.add_argument("--cluster", help="compute on dask: local, or the address of a scheduler")
    parser.add_argument("--keep", type=Path, default=cache_folder() / "experiments", help="folder for finished parts")
    parser.add_argument("--device", default="cpu", help="where torch computes, cuda say; the CPU without it")
    options = parser.parse_args(arguments)
    if options.what[:1] == ["verify"]:
        if options.device != "cpu":
            parser.error("what is stored is verified on the CPU: verify takes no --device")
        if unknown := [key for key in options.what[1:] if key not in keys]:
            parser.error(f"no experiment computes {unknown[0]!r}: {', '.join(keys)}")
        return _verify(options.what[1:] or keys, again=bool(options.what[1:]))
    if unknown := [chapter for chapter in options.what if chapter not in EXPERIMENTS]:
        parser.error(f"the chapter {unknown[0]!r} has no stored results: {', '.join(EXPERIMENTS)} have")
    if not options.cluster:  # whose workers may have a device that this machine has not
        try:
            check_device(options.device)
        except ValueError as error:
            parser.error(str(error))
    with contextlib.ExitStack() as stack:
        client = _client(options.cluster, options.workers, stack) if options.cluster else None
        for key in (key for chapter in options.what or EXPERIMENTS for key in EXPERIMENTS[chapter]):
            print(key, flush=True)
            start = time.perf_counter()
            keep = options.keep.resolve() / key
            path = results.store(
                key,
                keep,
                workers=options.workers,
                backend="dask" if client else "loky",
                client=client,
                device=options.device,
            )
            print(f"{path.name}: {time.perf_counter() - start:.0f} s", flush=True)
    return 0


def _client(address: str, workers: int, stack: contextlib.ExitStack) -> "Client":
    """A cluster of one-thread workers: one on this machine, or that of a scheduler; ends the program where it has
    workers of several threads, which would give other numbers."""
    try:
        from distributed import Client, LocalCluster
    except ModuleNotFoundError:
        raise SystemExit('--cluster needs dask: pip install "deepdynamics[dask]"') from None
    place: LocalCluster | str = address
    if address == "local":
        place = stack.enter_context(LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0"))
    client: Client = stack.enter_context(Client(place))
    if any(count != 1 for count in client.nthreads().values()):
        raise SystemExit(f"the workers of {address} must compute on one thread each: dask worker --nthreads 1")
    return client


def _verify(keys: Sequence[str], again: bool) -> int:
    names = set()
    for key in keys:
        start, found = time.perf_counter(), results.state(key)
        if again or found.name in ("unverified", "contradicted"):
            found = results.verify(key)
        names.add(found.name)
        print(f"{key}: {found}, {time.perf_counter() - start:.0f} s", flush=True)
    return int("contradicted" in names)


if __name__ == "__main__":
    if any(os.environ.get(name) != number for name, number in _ONE_THREAD.items()):
        # Libraries count threads when they are loaded, and they are: again, in a process of one thread.
        command = [sys.executable, "-m", "deepdynamics.results", *sys.argv[1:]]
        raise SystemExit(subprocess.call(command, env=os.environ | _ONE_THREAD))
    raise SystemExit(main())
