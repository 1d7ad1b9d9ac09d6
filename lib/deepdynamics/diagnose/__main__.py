"""`python -m deepdynamics.diagnose module:function`: the diagnosis of a model, in words or as JSON.

The function takes nothing and returns (model, x) or (model, x, target), the model in evaluation mode. Modules are
looked for in the current folder first. Exit status 1 where something odd was found.
"""

import argparse
import importlib
import json
import os
import sys
from collections.abc import Sequence

from deepdynamics.diagnose import diagnose


def main(arguments: Sequence[str] | None = None) -> int:
    """Diagnose the model that a function makes, and print the report."""
    parser = argparse.ArgumentParser(prog="python -m deepdynamics.diagnose", description=__doc__)
    parser.add_argument("what", metavar="module:function", help="returns (model, x) or (model, x, target)")
    parser.add_argument("--learning-rate", type=float, help="a rate to hold against the bound; tried where it is above")
    parser.add_argument("--json", action="store_true", help="print all numbers as JSON")
    options = parser.parse_args(arguments)
    module, _, function = options.what.partition(":")
    if not module or not function:
        parser.error(f"{options.what!r}: module:function is needed")
    sys.path.insert(0, os.getcwd())
    model, x, *target = getattr(importlib.import_module(module), function)()
    report = diagnose(model, x, target=target[0] if target else None, learning_rate=options.learning_rate)
    print(json.dumps(report.to_dict(), indent=2, ensure_ascii=False) if options.json else report)
    return int(bool(report.findings))


if __name__ == "__main__":
    raise SystemExit(main())
