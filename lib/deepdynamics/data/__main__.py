"""`python -m deepdynamics.data fetch`: download data sets and pretrained networks into the cache."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from deepdynamics.data.datasets import available, fetch_missing, inventory
from deepdynamics.data.fetch import offline
from deepdynamics.data.registry import PUBLISHED


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m deepdynamics.data fetch [names] [--timeout 20] [--strict]`: fetch what is missing, say what is there.

    Gives up when nothing arrived for `timeout` seconds, all names together. Returns 0, and with --strict 1 when
    something is still missing.

    >>> main(["fetch", "mnist"])  # doctest: +SKIP
    mnist             cache: 4 files, 11,594,722 bytes
    0
    """
    parser = argparse.ArgumentParser(prog="python -m deepdynamics.data", description="Fetch the data of the book.")
    parser.add_argument("command", choices=["fetch"])
    parser.add_argument("names", nargs="*", metavar="name", help=f"any of {', '.join(PUBLISHED)}; all without a name")
    parser.add_argument("--timeout", type=float, default=20.0, help="seconds without data after which to give up")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when something is missing")
    options = parser.parse_args(arguments)
    names = options.names or list(PUBLISHED)
    if unknown := [name for name in names if name not in PUBLISHED]:
        parser.error(f"unknown name {unknown[0]!r}: one of {', '.join(PUBLISHED)} is needed")
    if not options.timeout > 0:
        parser.error("--timeout needs a positive number of seconds")
    chosen = os.environ.get("DEEPDYNAMICS_DATA")
    if chosen and not Path(chosen).is_dir():
        print(f"DEEPDYNAMICS_DATA names a folder that does not exist: {chosen}")
    missing = [name for name in names if not available(name)]
    failed = {} if offline() or not missing else fetch_missing(missing, options.timeout)
    found = inventory()
    for name in names:
        reasons = [reason for path, reason in failed.items() if path.startswith(f"{name}/")]
        reason = reasons[0] if reasons else "DEEPDYNAMICS_OFFLINE is set"
        print(f"{name:17s} {found[name]}" + (f" ({reason})" if found[name] == "absent" else ""))
    return 1 if options.strict and any(found[name] == "absent" for name in names) else 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        raise SystemExit(130) from None
