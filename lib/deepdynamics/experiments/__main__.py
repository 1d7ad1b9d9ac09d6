"""`python -m deepdynamics.experiments 2`: compute and store the results of chapter 2, resuming what was interrupted."""

import argparse
import importlib
import os
import time
from collections.abc import Sequence

# One thread: the last bits of a matrix product depend on how many there are, and training amplifies them.
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_variable] = "1"

EXPERIMENTS: dict[int, tuple[str, ...]] = {
    2: ("trainability",),
    4: ("gain",),
    5: ("finetuning", "pretraining"),
    6: ("smallcnns", "cnngains", "cnnnoise", "cnnspectra", "cnnlogits"),
    7: ("autoencoding", "prediction"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every experiment of the chapters named (all without one); `store` of each writes its result."""
    from deepdynamics.downloads import cache_folder

    parser = argparse.ArgumentParser(prog="python -m deepdynamics.experiments", description="Compute stored results.")
    parser.add_argument("chapters", nargs="*", type=int, help=f"any of {', '.join(map(str, EXPERIMENTS))}")
    parser.add_argument("--workers", type=int, default=1, help="processes, each on one thread; 1 without it")
    parser.add_argument("--keep", default=str(cache_folder() / "experiments"), help="folder for finished parts")
    options = parser.parse_args(arguments)
    if unknown := [chapter for chapter in options.chapters if chapter not in EXPERIMENTS]:
        parser.error(f"chapter {unknown[0]} has no stored results: {', '.join(map(str, EXPERIMENTS))} have")
    for chapter in options.chapters or EXPERIMENTS:
        for name in EXPERIMENTS[chapter]:
            print(f"chapter {chapter}: {name}", flush=True)
            start = time.perf_counter()
            experiment = importlib.import_module(f"deepdynamics.experiments.{name}")
            path = experiment.store(os.path.join(options.keep, name), workers=options.workers)
            print(f"{path.name}: {time.perf_counter() - start:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
