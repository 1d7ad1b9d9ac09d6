"""`python -m deepdynamics.experiments 2`: compute and store the results of chapter 2, resuming what was interrupted.

`python -m deepdynamics.experiments verify [KEY ...]`: compute the check cells of stored results again and write what
was compared to `verified.json`; without a key, of all that are neither current nor verified, one after the other, so
that an interrupted run goes on where it was.
"""

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

# One thread: the last bits of a matrix product depend on how many there are, and training amplifies them.
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_variable] = "1"


def main(arguments: Sequence[str] | None = None) -> int:
    """Compute the results of the chapters named (all without one), or verify results; 1 where one is contradicted."""
    from deepdynamics.data.fetch import cache_folder
    from deepdynamics.experiments import EXPERIMENTS, store

    keys = [key for found in EXPERIMENTS.values() for key in found]
    parser = argparse.ArgumentParser(prog="python -m deepdynamics.experiments", description=__doc__)
    parser.add_argument(
        "what", nargs="*", help=f"chapters, any of {', '.join(map(str, EXPERIMENTS))}; or verify [KEY ...]"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes, each on one thread; 1 without it")
    parser.add_argument("--keep", type=Path, default=cache_folder() / "experiments", help="folder for finished parts")
    options = parser.parse_args(arguments)
    if options.what[:1] == ["verify"]:
        if unknown := [key for key in options.what[1:] if key not in keys]:
            parser.error(f"no experiment computes {unknown[0]!r}: {', '.join(keys)}")
        return _verify(options.what[1:] or keys, again=bool(options.what[1:]))
    known = {str(chapter): found for chapter, found in EXPERIMENTS.items()}
    if unknown := [chapter for chapter in options.what if chapter not in known]:
        parser.error(f"chapter {unknown[0]} has no stored results: {', '.join(known)} have")
    for chapter in options.what or known:
        for name in known[chapter].values():
            print(f"chapter {chapter}: {name}", flush=True)
            start = time.perf_counter()
            path = store(name, options.keep / name, workers=options.workers)
            print(f"{path.name}: {time.perf_counter() - start:.0f} s", flush=True)
    return 0


def _verify(keys: Sequence[str], again: bool) -> int:
    from deepdynamics import results

    names = set()
    for key in keys:
        start, found = time.perf_counter(), results.state(key)
        if again or found.name in ("unverified", "contradicted"):
            found = results.verify(key)
        names.add(found.name)
        print(f"{key}: {found}, {time.perf_counter() - start:.0f} s", flush=True)
    return int("contradicted" in names)


if __name__ == "__main__":
    raise SystemExit(main())
