"""Runs that resume, and what is still true of what they stored: recomputed, compared, contradicted."""

import importlib
import json

import numpy as np
import pytest
import xarray
from deepdynamics import data, experiments, results
from deepdynamics.experiments import _experiment
from deepdynamics.results import load, places, save, state, verify
from deepdynamics.sweeps import SweepError
from made_results import KEY, store

EXPERIMENT = """
    KEY = "chapter.subject"
    DIMENSIONS = {"y": ("power", "x"), "even": ("power",)}
    COORDINATES = {"power": (1, 2, 3), "x": (10, 20)}
    PARAMETERS = {"scale": 1}
    SEEDS, NEEDS = (0,), ()
    checks = ({"power": 2},)
    tolerance = {"y": (1e-6, 0.0), "even": (0.0, 0.1)}
    calls = []

    def grid(scale):
        return [{"power": power} for power in COORDINATES["power"]]

    def cell(power):
        calls.append(power)
        found = {"y": [float(x) ** power for x in COORDINATES["x"]]}
        return found | {"even": 1.0} if power % 2 == 0 else found

    def sources():
        return "nowhere"
"""


@pytest.fixture
def planted(write, folder, monkeypatch):
    """The function that writes the experiment of the result that these tests store."""
    for module in (experiments, _experiment):
        monkeypatch.setattr(module, "module_of", lambda key: "planted.squares")

    def plant(*changes):
        source = EXPERIMENT
        for old, new in changes:
            assert old in source
            source = source.replace(old, new)
        write("squares", source)
        return importlib.import_module("planted.squares")

    plant()
    return plant


def test_the_cells_of_a_grid_become_one_dataset(planted, folder):
    found = experiments.compute(KEY, "paper")
    assert found.y.dims == ("power", "x") and found.y.sel(power=3, x=20) == 8000
    assert found.even.values.tolist()[1] == 1 and np.isnan(found.even.sel(power=[1, 3])).all()
    assert found.attrs == {"data": "nowhere"}


def test_a_result_is_current_then_unverified_then_verified(planted, folder):
    results.store(KEY, folder / "keep")
    assert str(state(KEY)) == "current (the code that computed it has not changed)"
    planted(("float(x) ** power", "(float(x) / 3) ** power * 3**power"))
    assert state(KEY).name == "unverified" and "deepdynamics.results verify" in str(state(KEY))
    assert verify(KEY).name == "verified" == state(KEY).name
    assert "1 of 3 cells recomputed, largest deviation" in str(state(KEY))
    entry = json.loads((folder / "verified.json").read_text())[KEY]
    assert entry["compared"] == ["even", "y"] and entry["checks"] == [{"power": 2}] and 0 <= entry["deviation"] < 1e-12


def test_code_that_gives_other_numbers_contradicts_a_result(planted, folder):
    results.store(KEY, folder / "keep")
    planted(("float(x) ** power", "1.001 * float(x) ** power"))
    found = verify(KEY)
    assert found.name == "contradicted" and "y at {'power': 2}" in str(found) and state(KEY) == found


@pytest.mark.parametrize("place, name", [({"power": 2, "x": 20}, "contradicted"), ({"power": 3, "x": 10}, "verified")])
def test_a_number_that_was_changed_in_the_file(planted, folder, place, name):
    """Any change of a stored number needs a new verification; one in a check cell is found by it."""
    results.store(KEY, folder / "keep")
    assert verify(KEY).name == "current"
    found = load(KEY)
    found.y.loc[place] += 1
    record = {name: value for name, value in found.attrs.items() if name not in ("parameters", "seeds", "code")}
    save(KEY, found, parameters={}, seeds=[], provenance=record)
    assert state(KEY).name == "unverified"
    assert verify(KEY).name == name


def test_a_number_that_is_missing_or_not_finite_contradicts(planted, folder):
    results.store(KEY, folder / "keep")
    planted(('{"even": 1.0}', '{"even": float("nan")}'))
    assert verify(KEY).name == "contradicted"
    planted(('"x": (10, 20)', '"x": (10, 21)'), ("float(x)", "float(min(x, 20))"))
    assert verify(KEY).name == "contradicted"  # there is no stored number at 21


def test_reordering_a_coordinate_does_not_relabel(planted, folder):
    results.store(KEY, folder / "keep")
    before = load(KEY)
    planted(('"x": (10, 20)', '"x": (20, 10)'), ('"power": (1, 2, 3)', '"power": (3, 1, 2)'))
    xarray.testing.assert_identical(load(KEY), before)
    assert verify(KEY).name == "verified"


def test_an_interrupted_run_resumes_and_cells_of_other_code_are_not_used(planted, folder):
    failing = planted(("calls.append(power)", "calls.append(power)\n        assert power != 3"))
    with pytest.raises(SweepError, match=r'"power": 3'):
        results.store(KEY, folder / "keep")
    assert failing.calls == [1, 2, 3]
    failing.cell = lambda power: failing.calls.append(power) or {"y": [0.0, 0.0]}  # the power cut is over
    results.store(KEY, folder / "keep")
    assert failing.calls == [1, 2, 3, 3]
    assert load(KEY).y.values.tolist() == [[10, 20], [100, 400], [0, 0]]
    other = planted(("SEEDS, NEEDS = (0,), ()", "SEEDS, NEEDS = (1,), ()"))
    results.store(KEY, folder / "keep")
    assert other.calls == [1, 2, 3]


def test_a_damaged_cell_is_computed_again(planted, folder):
    results.store(KEY, folder / "keep")
    next((folder / "keep").glob("*/*.npz")).write_bytes(b"half a file")
    module = planted()
    results.store(KEY, folder / "keep")
    assert load(KEY).y.sel(power=2, x=10) == 100
    assert len(module.calls) == 1


def test_a_result_without_its_data_is_not_computed_from_a_stand_in(planted, folder, monkeypatch):
    results.store(KEY, folder / "keep")
    planted(("(0,), ()", '(0,), ("imagenet-samples",)'))
    monkeypatch.setattr(data, "available", lambda name: False)
    for call in (lambda: verify(KEY), lambda: experiments.compute(KEY, "paper")):
        with pytest.raises(
            data.DataMissing,
            match=r"chapter\.subject needs imagenet-samples: python -m deepdynamics.data fetch",
        ):
            call()
    assert experiments.compute(KEY, "live").sizes["power"] == 3


def test_a_key_that_no_experiment_computes(folder):
    store()
    for call in (state, verify):
        with pytest.raises(ValueError, match=r"key = 'chapter.subject': no experiment computes it"):
            call(KEY)


def test_every_stored_result_of_the_book_is_current_or_verified():
    """A change of code that a result has run asks for its check cells: python -m deepdynamics.results verify."""
    known = [key for found in experiments.EXPERIMENTS.values() for key in found]
    assert sorted(known) == sorted(file.stem for file in places.folders()[0].glob("*.npz"))
    found = {key: state(key).name for key in known}
    behind = [f"{key} is {name}" for key, name in found.items() if name not in ("current", "verified")]
    assert not behind, f"{', '.join(behind)}: run python -m deepdynamics.results verify"
