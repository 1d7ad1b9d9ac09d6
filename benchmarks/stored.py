"""What the benchmarks found, kept for the book's page on performance: `book/results/benchmarks.json`."""

import datetime
import json
from pathlib import Path

from deepdynamics._checks import replace_file
from deepdynamics.results import machine

FILE = Path(__file__).resolve().parents[1] / "book" / "results" / "benchmarks.json"


class Times(float):
    """One number of several times, the least if nothing else is said; they are in `runs`."""

    def __new__(cls, runs, of=min):
        times = super().__new__(cls, of(runs))
        times.runs = list(map(float, runs))
        return times


def comparison(routine, peer, ours, theirs, *, accuracy="", memory=None):
    """A row of the table: the times of two that do the same, how well (in words), and their memory in MB.

    The spread is that of the ratio: from the slowest run of ours and the fastest of theirs to the other way round."""
    mine, other = (getattr(times, "runs", [times]) for times in (ours, theirs))
    spread = [min(other) / max(mine), max(other) / min(mine)] if len(mine) + len(other) > 2 else None
    row = {"routine": routine, "peer": peer, "seconds": float(ours), "ratio": float(theirs) / float(ours)}
    return row | {
        "spread": spread,
        "accuracy": accuracy,
        "memory": None if memory is None else list(map(float, memory)),
    }


def growth(routine, size, sizes, seconds):
    """A row of the table of growth: what the size counts, the sizes, and the time of each."""
    return {"routine": routine, "size": size, "sizes": list(sizes), "seconds": list(map(float, seconds))}


def store(name, comparisons, grown=(), *, clock="CPU seconds on one thread", file=FILE):
    """Put the rows of a benchmark in the place of those it had."""
    found = json.loads(file.read_text("utf8")) if file.is_file() else {}
    where = {key: value for key, value in machine().items() if key != "threads"}
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    found[name] = {"clock": clock, "date": date, "machine": where, "comparisons": comparisons, "growth": list(grown)}
    text = json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    replace_file(file, (text + "\n").encode())
