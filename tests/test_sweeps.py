"""Sweeps: the right cell in the right place, whoever computes it; nothing lost on the way."""

import os
import runpy
import signal
import subprocess
import sys
import textwrap
import threading
import time
from functools import partial
from pathlib import Path
from types import ModuleType

import clusters
import numpy as np
import pytest
import torch
from deepdynamics.sweeps import SweepError, sweep

GRID = {"x": [3, 1, 2], "y": np.array([0.5, 0.25])}


def polynomial(x, y):
    return 100 * x + y


def row(x, y):
    return np.full((2, 3), 100 * x + y)


def fails_at_two(x, y=0.0):
    if x == 2:
        raise ZeroDivisionError("two is not allowed")
    return float(x)


EXPECTED = np.array([[300.5, 300.25], [100.5, 100.25], [200.5, 200.25]])


@pytest.fixture(scope="module")
def client():
    with clusters.two_workers() as client:
        yield client


@pytest.mark.parametrize("workers", [1, 2])
def test_dimensions_coordinates_and_values(workers):
    result = sweep(polynomial, GRID, workers=workers)
    assert result.dims == ("x", "y")
    assert list(result.x.values) == [3, 1, 2] and list(result.y.values) == [0.5, 0.25]
    assert np.array_equal(result.values, EXPECTED)


def test_dask_gives_the_same_as_one_process(client):
    assert sweep(polynomial, GRID, backend="dask", client=client).identical(sweep(polynomial, GRID, workers=1))


def marked_product(x, folder):
    """Leaves a mark that it has begun, with its process; a number whose last bits depend on the number of threads."""
    Path(folder, f"{x} {os.getpid()}").touch()
    time.sleep(0.3)
    draws = torch.Generator().manual_seed(x)
    a = torch.randn(300, 300, generator=draws)
    return (a @ a).sum(0)[:5].numpy()


def test_dask_loses_nothing_with_a_worker_that_is_killed(client, tmp_path):
    """Killed outright within a cell, which another worker computes again; the numbers are those of one process."""
    grid = {"x": list(range(8))}
    (tmp_path / "alone").mkdir()
    alone = sweep(partial(marked_product, folder=str(tmp_path / "alone")), grid, workers=1)
    marks, kept = tmp_path / "marks", tmp_path / "kept"
    marks.mkdir()
    killed = []

    def kill():
        while len(found := list(marks.iterdir())) < 4:
            time.sleep(0.01)
        latest = max(found, key=lambda path: path.stat().st_mtime_ns)
        killed.append(int(latest.name.split()[1]))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    function = partial(marked_product, folder=str(marks))
    together = sweep(function, grid, backend="dask", client=client, resume=kept)
    killer.join()
    assert together.identical(alone)
    assert len(list(kept.glob("*.npz"))) == 8 < len(list(marks.iterdir()))  # one cell has begun twice
    assert sweep(function, grid, workers=1, resume=kept).identical(alone)
    assert killed[0] not in client.run(os.getpid).values()


def test_dask_makes_a_cluster_of_its_own():
    pytest.importorskip("distributed")
    assert np.array_equal(sweep(polynomial, GRID, backend="dask", workers=1).values, EXPECTED)


def test_a_failing_cell_on_dask_names_its_parameters(client):
    with pytest.raises(SweepError, match=r"fails_at_two\(x=2\) failed: ZeroDivisionError: two is not allowed"):
        sweep(fails_at_two, {"x": [1, 2, 3]}, backend="dask", client=client)
    assert float(client.submit(polynomial, 1, 2).result()) == 102  # the caller's cluster lives on


def test_without_distributed_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ModuleNotFoundError, match=r"backend = 'dask' needs .*: pip install \"deepdynamics\[dask\]\"$"):
        sweep(polynomial, GRID, backend="dask")


def test_a_script_without_a_main_guard_gets_one_sentence(tmp_path):
    """In a process of its own: the traceback ends in the sentence, and no worker has started to add to it."""
    pytest.importorskip("distributed")
    script = tmp_path / "script.py"
    script.write_text("from deepdynamics.sweeps import sweep\nsweep(abs, {'x': [1, 2]}, backend='dask', workers=2)\n")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 1 and done.stdout == "" and done.stderr.count("\n") < 25
    last = done.stderr.splitlines()[-1]
    assert last.startswith("RuntimeError: backend = 'dask'") and 'if __name__ == "__main__":' in last


@pytest.mark.parametrize(
    ("call", "guarded"),
    [
        ("if __name__ == '__main__':\n    found = main()", True),
        ("if '__main__' == __name__:\n    for _ in range(2):\n        found = main()", True),
        ("found = main()", False),
        ("for _ in range(1):\n    found = main()", False),
        ("if __name__ == '__main__':\n    pass\nfound = main()", False),
    ],
)
def test_guards_are_found_in_scripts(tmp_path, monkeypatch, call, guarded):
    source = f"from deepdynamics.sweeps import _main_is_guarded\ndef main():\n    return _main_is_guarded()\n{call}\n"
    script = tmp_path / "script.py"
    script.write_text(source)
    assert runpy.run_path(str(script), run_name="__main__")["found"] is guarded
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    exec(compile(source, "<cell>", "exec"), vars(main))  # a notebook has no file, and needs no guard
    assert main.found is True
    main.__file__ = "<stdin>"  # what comes from standard input has no file either, but claims one
    exec(compile(source, "<stdin>", "exec"), vars(main))
    assert main.found is False


def test_arrays_become_further_dimensions():
    result = sweep(row, GRID, workers=1)
    assert result.dims == ("x", "y", "axis_0", "axis_1") and result.shape == (3, 2, 2, 3)
    assert np.array_equal(result.isel(axis_0=1, axis_1=2).values, EXPECTED)


def test_values_that_are_no_numbers_label_their_dimension():
    result = sweep(lambda kind, window: f"{kind}{window}", {"kind": ["a", "b"], "window": [(1, 2), None]}, workers=1)
    assert result.sel(kind="b").values.tolist() == ["b(1, 2)", "bNone"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_cell_names_its_parameters(workers):
    with pytest.raises(SweepError, match=r"fails_at_two\(x=2, y=0.5\) failed: ZeroDivisionError: two"):
        sweep(fails_at_two, {"x": [1, 2, 3], "y": [0.5]}, workers=workers)


def test_resume_computes_each_cell_once_and_a_grown_grid_only_what_is_new(tmp_path):
    calls = []

    def counted(x):
        calls.append(x)
        return x / 3

    first = sweep(counted, {"x": [1, 2]}, workers=1, resume=tmp_path / "cells")
    second = sweep(counted, {"x": [2, 1, 5]}, workers=1, resume=tmp_path / "cells")
    assert calls == [1, 2, 5]
    assert first.values.tolist() == [1 / 3, 2 / 3] and second.values.tolist() == [2 / 3, 1 / 3, 5 / 3]


def test_cells_finished_before_a_failure_are_kept(tmp_path):
    with pytest.raises(SweepError):
        sweep(fails_at_two, {"x": [1, 3, 2]}, workers=1, resume=tmp_path)
    assert len(list(tmp_path.glob("*.npz"))) == 2 and not list(tmp_path.glob(".*.part"))


def test_a_damaged_cell_is_computed_again(tmp_path):
    sweep(polynomial, GRID, workers=1, resume=tmp_path)
    for file in tmp_path.glob("*.npz"):
        file.write_bytes(file.read_bytes()[:50])
    assert np.array_equal(sweep(polynomial, GRID, workers=1, resume=tmp_path).values, EXPECTED)


def test_a_killed_sweep_loses_nothing(tmp_path):
    """A process killed outright (no clean-up) in the middle leaves whole cells only, and the rest is all that runs."""
    script = textwrap.dedent("""
        import sys, time
        from deepdynamics.sweeps import sweep
        def slow(x):
            print(x, flush=True)
            time.sleep(0.05)
            return x * 1.5
        print("sum", float(sweep(slow, {"x": list(range(30))}, workers=1, resume=sys.argv[1]).sum()), flush=True)
    """)
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.glob("[!.]*.npz"))) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    done = len(list(tmp_path.glob("[!.]*.npz")))
    assert 5 <= done < 30
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = again.stdout.split("\n")
    assert f"sum {1.5 * sum(range(30))}" in lines
    assert len([line for line in lines if line.isdigit()]) == 30 - done
    assert again.stderr == ""


def test_a_folder_belongs_to_one_function(tmp_path):
    sweep(polynomial, GRID, workers=1, resume=tmp_path)
    with pytest.raises(ValueError, match=r"holds cells of .*polynomial, not of .*fails_at_two"):
        sweep(fails_at_two, {"x": [1]}, workers=1, resume=tmp_path)


def test_progress_never_writes_to_standard_error(capsys):
    sweep(polynomial, GRID, workers=1, progress=True)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"grid": {}}, "grid = {}: a mapping with at least one"),
        ({"grid": {"x": []}}, r"grid\['x'\] is empty"),
        ({"grid": {"x": 3}}, r"grid\['x'\] = 3: a sequence"),
        ({"grid": {"x": "abc"}}, r"grid\['x'\] = 'abc': a sequence"),
        ({"grid": {"x": [1]}, "backend": "threads"}, "backend = 'threads': 'loky' or 'dask'"),
        ({"grid": {"x": [1]}, "workers": 0}, "workers = 0: a whole number"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        sweep(fails_at_two, **arguments)


def test_cells_of_different_shapes_are_an_error():
    with pytest.raises(ValueError, match=r"different shapes: \(1,\) at x=1, \(2,\) at x=2"):
        sweep(lambda x: np.zeros(x), {"x": [1, 2]}, workers=1)


def test_objects_cannot_be_kept(tmp_path):
    with pytest.raises(ValueError, match="the cell x=1 is no number"):
        sweep(lambda x: {"a": x}, {"x": [1]}, workers=1, resume=tmp_path)


def test_a_range_is_a_sequence_and_a_generator_is_not():
    assert sweep(fails_at_two, {"x": range(5, 7)}, workers=1).values.tolist() == [5.0, 6.0]
    with pytest.raises(ValueError, match="a sequence"):
        sweep(fails_at_two, {"x": (x for x in [1])}, workers=1)
    assert not Path("function.txt").exists()


class Power:
    def __init__(self, exponent):
        self.exponent = exponent

    def __call__(self, x):
        return float(np.sum(np.asarray(x) ** self.exponent))


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy, list])
def test_resume_knows_large_arrays_by_what_they_hold(tmp_path, convert):
    a = np.arange(3000.0)
    b = a.copy()
    b[1500] = 7e5  # repr shows neither
    for values in (a, b):
        found = sweep(Power(1), {"x": [convert(values)]}, workers=1, resume=tmp_path)
        assert float(found.values[0]) == values.sum()


def test_resume_tells_bound_arguments_and_callable_objects_apart(tmp_path):
    for one, other in ((partial(pow, exp=2), partial(pow, exp=3)), (Power(2), Power(3))):
        folder = tmp_path / type(one).__name__
        grid = {"base" if isinstance(one, partial) else "x": [3]}
        assert float(sweep(one, grid, workers=1, resume=folder).values[0]) == 9
        with pytest.raises(ValueError, match="holds cells of"):
            sweep(other, grid, workers=1, resume=folder)
