"""Execute chapters into the cache, two at a time, each in a fresh kernel on one thread.

A record knows which files its chapter read (library modules, stored results, data): it is used again only while all
of them are unchanged. Failing chapters are named with cell and line, are never cached, and do not stop the others.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "book" / "_ext"))
import records
from deepdynamics import data
from jupyter_cache.base import CacheBundleIn
from jupyter_core.utils import run_sync
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

KERNEL_ENVIRONMENT = {
    "DEEPDYNAMICS_EXPLORER": "static",
    "DEEPDYNAMICS_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "SOURCE_DATE_EPOCH": "0",
}

# Runs inside the kernel before the first cell: notes the files that are opened and, when the kernel ends, the modules
# and the peak memory.
SPY = """
import atexit as _a, json as _j, os as _o, sys as _s
def _spy(seen=set(), roots=%r, out=%r):
    def hook(event, args):
        if event == 'open' and isinstance(args[0], (str, _o.PathLike)): seen.add(_o.path.abspath(_o.fspath(args[0])))
    def end():
        files = {getattr(m, '__file__', None) for m in list(_s.modules.values())} | seen
        files = sorted(f for f in files if f and f.startswith(tuple(roots)) and f[-4:] != '.pyc' and _o.path.isfile(f))
        status = open('/proc/self/status') if _o.path.exists('/proc/self/status') else []
        peak = [int(line.split()[1]) // 1024 for line in status if line.startswith('VmHWM')] or [0]
        cpu = _o.times().user + _o.times().system
        _j.dump({'files': files, 'peak_mb': peak[0], 'cpu_seconds': round(cpu, 1)}, open(out, 'w'))
    _s.addaudithook(hook); _a.register(end)
_spy(); del _spy
"""


def execute(root: Path, docnames: list[str], *, workers: int = 2) -> list[str]:
    """Bring the cache up to date for the chapters ``docnames``; returns one message per chapter that failed."""
    cache = records.open_cache(root)
    common = {"constraints.txt": records.digest(root / "constraints.txt")}
    inventory = data.inventory()
    waiting = []
    for name in docnames:
        record = _match(cache, root, name)
        if record is not None and _current(record.data, root, common, inventory):
            continue
        if record is not None:
            cache.remove_cache(record.pk)
        waiting.append(name)
    failures = []
    with ThreadPoolExecutor(workers) as pool:
        for name, (failure, notebook, notes) in zip(
            waiting, pool.map(lambda name: run(root, name), waiting), strict=True
        ):
            if failure:
                failures.append(failure)
                continue
            notes |= {"common": common, "inventory": inventory}
            bundle = CacheBundleIn(notebook, str(root / f"{name}.md"), data=notes)
            cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
            seconds = f"{notes['execution_seconds']:.1f} s ({notes['cpu_seconds']:.1f} s of CPU)"
            print(f"  {name}: {seconds}, {notes['peak_mb']} MB", flush=True)
    return failures


def _match(cache: Any, root: Path, name: str) -> Any:
    try:
        return cache.match_cache_notebook(records.read_notebook(str(root / f"{name}.md")))
    except KeyError:
        return None


def _current(notes: dict[str, Any], root: Path, common: dict[str, str], inventory: dict[str, str]) -> bool:
    """Whether nothing that the chapter used has changed. Which data sets there are matters only to a chapter that
    loads some.
    """
    if notes["common"] != common:
        return False
    if notes["inventory"] != inventory and any(file.endswith("deepdynamics/data.py") for file in notes["deps"]):
        return False
    return all(records.digest(root / file) == digest for file, digest in notes["deps"].items())


def run(root: Path, name: str) -> tuple[str | None, Any, dict[str, Any]]:
    """Execute one chapter, cache or not: a failure message or None, the notebook with outputs, notes for its record."""
    path = root / f"{name}.md"
    notebook, start, where = records.read_notebook(str(path)), time.perf_counter(), name
    roots = [f"{root}/lib/", f"{root}/book/"]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "spy.json")
        client = NotebookClient(
            notebook,
            timeout=300,
            record_timing=False,
            kernel_name="python3",
            extra_arguments=["--IPKernelApp.log_level=40"],  # it warns of TCP, to the terminal
            resources={"metadata": {"path": str(path.parent)}},
        )
        try:
            with client.setup_kernel(env=os.environ | KERNEL_ENVIRONMENT):
                run_sync(client.kc.execute_interactive)(SPY % (roots, str(out)), silent=True, store_history=False)
                for index, cell in enumerate(notebook.cells):
                    number = sum(c.cell_type == "code" for c in notebook.cells[: index + 1])
                    where = f"{name}: code cell {number} (line {notebook.metadata.source_map[index] + 1})"
                    client.execute_cell(cell, index)
                    warnings = [o.text for o in cell.get("outputs", []) if o.get("name") == "stderr"]
                    if warnings:
                        return f"{where} wrote to stderr:\n{''.join(warnings)}", None, {}
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            return f"{where} failed\n{error}", None, {}
        spy = json.loads(out.read_text())
    notebook.metadata.language_info = {"name": "python"}
    deps = {os.path.relpath(file, root): records.digest(Path(file)) for file in spy["files"]}
    notes = {name: spy[name] for name in ("cpu_seconds", "peak_mb")} | {"deps": deps}
    return None, notebook, notes | {"execution_seconds": round(time.perf_counter() - start, 2)}
