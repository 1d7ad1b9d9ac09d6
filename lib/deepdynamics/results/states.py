"""What is still true of stored results.

A result is

- *current* while the code it ran has not changed since it was computed;
- *verified* where the code as it is now gave cells of it again, within the experiment's tolerance;
- *unverified* where code or numbers have changed and nothing has been computed again;
- *contradicted* where the code as it is now gives other numbers.

What was compared and how far it lies is written beside the results, to `verified.json`.
"""

import datetime
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deepdynamics import experiments
from deepdynamics._checks import replace_file
from deepdynamics.results.code import digest
from deepdynamics.results.files import load
from deepdynamics.results.packing import json_text, numbers_digest
from deepdynamics.results.places import find

__all__ = ["VERIFIED", "State", "state", "verify"]

VERIFIED = "verified.json"


@dataclass(frozen=True)
class State:
    """What is known of a stored result under the code as it is now; as text, with the evidence.

    >>> print(State("verified", "3 of 120 cells recomputed, largest deviation 2e-07"))
    verified (3 of 120 cells recomputed, largest deviation 2e-07)
    """

    name: Literal["current", "verified", "unverified", "contradicted"]
    evidence: str

    def __str__(self) -> str:
        return f"{self.name} ({self.evidence})"


def state(key: str) -> State:
    """The state of a stored result, from its provenance and `verified.json`; computes nothing.

    Raises `ResultMissing` where there is no such result, ValueError for a key that no experiment computes.

    >>> state("order-chaos.trainability").name in ("current", "verified", "unverified", "contradicted")
    True
    """
    dataset, code = load(key), digest(experiments.module_of(key))
    entry = _verified(find(key).with_name(VERIFIED)).get(key, {})
    known = entry.get("code") == code and entry.get("numbers") == numbers_digest(dataset)
    deviation = f"largest deviation {entry['deviation']:.1g}" if known else ""
    if known and entry["of_tolerance"] > 1:
        return State("contradicted", f"{entry['worst']}: {deviation}, {entry['of_tolerance']:.1f} times the tolerance")
    if dataset.attrs.get("code") == code:
        return State("current", "the code that computed it has not changed")
    if known:
        return State("verified", f"{entry['cells']} of {entry['of']} cells recomputed, {deviation}")
    return State("unverified", "code or numbers have changed: python -m deepdynamics.results verify")


def verify(key: str) -> State:
    """Compute the check cells of a stored result again, write to `verified.json` what was compared, return the state.

    Raises `ResultMissing`, `data.DataMissing` where the data of the experiment are not here, and ValueError for a key
    that no experiment computes.

    >>> verify("edge-of-chaos.gain").name  # doctest: +SKIP
    'verified'
    """
    dataset, code = load(key), digest(experiments.module_of(key))
    found = experiments.compared(experiments.experiment_of(key), dataset)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    path = find(key).with_name(VERIFIED)
    entries = _verified(path) | {key: {"code": code, "numbers": numbers_digest(dataset), "date": today, **found}}
    replace_file(path, (json_text(entries) + "\n").encode())
    return state(key)


def _verified(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text("utf-8"))) if path.is_file() else {}
