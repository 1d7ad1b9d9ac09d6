"""Execute chapters into the cache, two at a time, each in a fresh kernel on one thread.

A record knows which files its chapter read (library modules, stored results, data): it is used again only while all
of them are unchanged. Failing chapters are named with cell and line, are never cached, and do not stop the others.
What is done when the build is interrupted is kept.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "book" / "_ext"))
import records
from deepdynamics import data
from jupyter_cache.base import CacheBundleIn
from jupyter_core.utils import run_sync
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from traitlets.config import Config

KERNEL_ENVIRONMENT = {
    "DEEPDYNAMICS_EXPLORER": "static",
    "DEEPDYNAMICS_PROGRESS": "0",
    "DEEPDYNAMICS_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "SOURCE_DATE_EPOCH": "0",
}
SOCKET_PATH = 90  # bytes: the name of a socket has 104 on macOS and 108 on Linux, and gets a few more at its end

# Runs inside the kernel before the first cell: notes the files that are opened and, when the kernel ends, the modules
# and the peak memory.
SPY = """
import atexit as _a, json as _j, os as _o, pathlib as _p, sys as _s
def _spy(seen=set(), roots=%r, out=%r):
    def hook(event, args):
        if event == 'open' and isinstance(args[0], (str, _o.PathLike)): seen.add(_o.path.abspath(_o.fspath(args[0])))
    def mine(file):
        file = _p.Path(file)
        return file.suffix != '.pyc' and file.is_file() and any(file.is_relative_to(root) for root in roots)
    def end():
        files = {getattr(m, '__file__', None) for m in list(_s.modules.values())} | seen
        files = sorted(f for f in files if f and mine(f))
        status = open('/proc/self/status') if _o.path.exists('/proc/self/status') else []
        peak = [int(line.split()[1]) // 1024 for line in status if line.startswith('VmHWM')] or [0]
        cpu = _o.times().user + _o.times().system
        _j.dump({'files': files, 'peak_mb': peak[0], 'cpu_seconds': round(cpu, 1)}, open(out, 'w'))
    _s.addaudithook(hook); _a.register(end)
_spy(); del _spy
"""


class Running:
    """The kernels that are at work, so that an interruption can end them."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.clients: set[NotebookClient] = set()

    def kill(self) -> None:
        self.stopped.set()
        for client in list(self.clients):
            process = getattr(getattr(client.km, "provisioner", None), "process", None)
            if process is not None and process.poll() is None:
                process.kill()


def execute(root: Path, docnames: list[str], *, workers: int = 2) -> list[str]:
    """Bring the cache up to date for the chapters ``docnames``; returns one message per chapter that failed.

    Raises ``KeyboardInterrupt`` when it was interrupted, with the chapters that were done in the cache.
    """
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
    if waiting:
        _prepare_fonts(root)
    failures: dict[str, str] = {}
    running = Running()
    with _interruptions(running.stopped), ThreadPoolExecutor(workers) as pool:
        jobs = {pool.submit(run, root, name, running): name for name in waiting}
        while jobs:
            if running.stopped.is_set():
                pool.shutdown(wait=False, cancel_futures=True)
                running.kill()
            done, _ = wait(jobs, timeout=0.2, return_when=FIRST_COMPLETED)
            for job in done:
                name = jobs.pop(job)
                if job.cancelled():
                    continue
                failure, notebook, notes = job.result()
                if failure:
                    failures[name] = failure
                    continue
                notes |= {"common": common, "inventory": inventory}
                bundle = CacheBundleIn(notebook, str(root / f"{name}.md"), data=notes)
                cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
                seconds = f"{notes['execution_seconds']:.1f} s ({notes['cpu_seconds']:.1f} s of CPU)"
                print(f"  {name}: {seconds}, {notes['peak_mb']} MB", flush=True)
    if running.stopped.is_set():
        raise KeyboardInterrupt
    return [failures[name] for name in waiting if name in failures]


@contextmanager
def _interruptions(stopped: threading.Event) -> Iterator[None]:
    """Ctrl-C sets ``stopped`` instead of breaking off whatever line is running."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: stopped.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


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
    if notes["inventory"] != inventory and any("deepdynamics/data/" in file for file in notes["deps"]):
        return False
    return all(records.digest(root / file) == digest for file, digest in notes["deps"].items())


def writable_places(root: Path) -> dict[str, str]:
    """Where matplotlib, IPython and Jupyter keep their own files: the home directory may be read-only."""
    place = root / "_build" / "settings"
    return {
        "MPLCONFIGDIR": str(place / "matplotlib"),
        "IPYTHONDIR": str(place / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(place / "jupyter"),
    }


def _prepare_fonts(root: Path) -> None:
    """Let matplotlib list the fonts once: where that takes long it says so on stderr, and a chapter would fail."""
    environment = os.environ | writable_places(root)
    Path(environment["MPLCONFIGDIR"]).mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [sys.executable, "-c", "import matplotlib.font_manager"], env=environment, capture_output=True, check=False
    )


def _transport(folder: Path) -> Config:
    """Sockets in a folder, which need no network at all, where the system has them and their names are short enough."""
    config = Config()
    if os.name == "posix" and len(os.fsencode(folder / "kernel-ipc-5")) <= SOCKET_PATH:
        config.KernelManager.transport = "ipc"
    config.KernelManager.connection_file = str(folder / "kernel.json")
    config.KernelManager.shutdown_wait_time = 60.0  # at its end it notes what it used: seconds on a busy machine
    return config


def run(root: Path, name: str, running: Running | None = None) -> tuple[str | None, Any, dict[str, Any]]:
    """Execute one chapter, cache or not: a failure message or None, the notebook with outputs, notes for its record."""
    running = running or Running()
    path = root / f"{name}.md"
    notebook, start, where = records.read_notebook(str(path)), time.perf_counter(), name
    roots = [str(root / "lib"), str(root / "book")]
    with tempfile.TemporaryDirectory(prefix="book-") as folder:
        out = Path(folder, "spy.json")
        client = NotebookClient(
            notebook,
            timeout=300,
            record_timing=False,
            coalesce_streams=True,  # where a print is cut in two depends on the clock
            kernel_name="python3",
            config=_transport(Path(folder)),
            extra_arguments=["--IPKernelApp.log_level=40"],  # it warns of TCP, to the terminal
            resources={"metadata": {"path": str(path.parent)}},
        )
        running.clients.add(client)
        try:
            with client.setup_kernel(env=os.environ | KERNEL_ENVIRONMENT | writable_places(root)):
                run_sync(client.kc.execute_interactive)(SPY % (roots, str(out)), silent=True, store_history=False)
                for index, cell in enumerate(notebook.cells):
                    number = sum(c.cell_type == "code" for c in notebook.cells[: index + 1])
                    where = f"{name}: code cell {number} (line {notebook.metadata.source_map[index] + 1})"
                    if running.stopped.is_set():
                        return f"{where} was interrupted", None, {}
                    client.execute_cell(cell, index)
                    warnings = [o.text for o in cell.get("outputs", []) if o.get("name") == "stderr"]
                    if warnings:
                        return f"{where} wrote to stderr:\n{''.join(warnings)}", None, {}
        except (CellExecutionError, CellTimeoutError, DeadKernelError, RuntimeError) as error:
            return f"{where} failed\n{error}", None, {}
        finally:
            running.clients.discard(client)
        if not out.is_file():
            return f"{name}: the kernel ended before it could say what it had used", None, {}
        spy = json.loads(out.read_text())
    notebook.metadata.language_info = {"name": "python"}
    deps = {Path(file).relative_to(root).as_posix(): records.digest(Path(file)) for file in spy["files"]}
    notes = {name: spy[name] for name in ("cpu_seconds", "peak_mb")} | {"deps": deps}
    return None, notebook, notes | {"execution_seconds": round(time.perf_counter() - start, 2)}
