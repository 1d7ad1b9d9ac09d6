"""Stored results: what goes in comes out, labelled; the bytes depend on the content alone."""

import dataclasses
import json
import os
import platform
import sys
import tempfile
import zipfile

import numpy as np
import pytest
import xarray
from deepdynamics import results
from deepdynamics.results import ResultMissing, files, load, places, save
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from made_results import KEY, ROOT, labelled, store


def test_what_goes_in_comes_out(folder):
    given = xarray.Dataset(
        {"x": (("kind", "width"), np.eye(2, 3, dtype=np.float32)), "names": ("kind", ["a", "bc"]), "flag": True},
        coords={"kind": ["one", "two"], "width": [5, 7, 9]},
    )
    more = {"residual": np.float64(1e-9)}
    path = save(KEY, given, parameters={"width": np.int64(7)}, seeds=range(2), provenance=more)
    assert path == folder / "chapter.subject.npz"
    found = load(KEY)
    xarray.testing.assert_equal(found, given)
    assert all(found[name].dtype == given[name].dtype for name in ("x", "flag", "width"))
    assert found.x.dims == ("kind", "width") and float(found.x.sel(kind="two", width=7)) == 1
    assert found.attrs["parameters"] == {"width": 7} and found.attrs["seeds"] == [0, 1]
    assert found.attrs["residual"] == 1e-9
    assert np.array_equal(np.load(path)["x"], given.x)  # numpy reads the file as well


@settings(max_examples=25)
@given(arrays(st.sampled_from([np.float64, np.int32, np.complex128, np.bool_]), array_shapes(min_side=0, max_side=4)))
def test_any_numeric_array_survives(array):
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setenv("DEEPDYNAMICS_RESULTS", folder)
        store(array)
        found = load(KEY).x.values
    assert found.dtype == array.dtype and found.shape == array.shape
    assert found.tobytes() == np.ascontiguousarray(array).tobytes()


def test_the_same_content_gives_the_same_bytes(folder):
    given = labelled(b=np.arange(4), a=np.ones(2))
    first = save(KEY, given, parameters={"p": 1, "q": 2}, seeds=[0]).read_bytes()
    again = save(KEY, given[["a", "b"]], parameters={"q": 2, "p": 1}, seeds=[0]).read_bytes()
    assert first == again


def test_provenance_says_what_was_computed_where_and_nothing_private(folder):
    record = load(store().stem).attrs
    assert {"key", "parameters", "seeds", "machine", "date"} <= set(record)
    assert record["machine"]["versions"].keys() == {"numpy", "scipy", "torch"}
    text = json.dumps(record)
    assert str(folder) not in text and os.getcwd() not in text and sys.prefix not in text
    assert not platform.node() or platform.node() not in text


def test_dataclasses_become_mappings_and_other_objects_are_refused(folder):
    @dataclasses.dataclass(frozen=True)
    class Source:
        name: str

    store(provenance={"data": Source("mnist")})
    assert load(KEY).attrs["data"] == {"name": "mnist"}
    with pytest.raises(ValueError, match="provenance cannot hold"):
        store(provenance={"data": object()})


def test_a_result_that_is_too_large_is_refused_and_the_old_one_stays(folder):
    store()
    with pytest.raises(ValueError, match=r"would have 1,\d{3},\d{3} bytes: at most 300,000"):
        store(np.random.default_rng(0).standard_normal(110_000))
    assert load(KEY).x.values.tolist() == [0.0, 1.0, 2.0]
    assert [file.name for file in folder.iterdir()] == ["chapter.subject.npz"]


@pytest.mark.parametrize("key", ["", "Chapter.subject", "../up", "a b", "a/b", "a..b", None])
def test_bad_keys(folder, key):
    for call in (load, lambda key: save(key, labelled(x=1), parameters={}, seeds=[])):
        with pytest.raises(ValueError, match=r"key = .*small letters"):
            call(key)


def test_bad_datasets(folder):
    for bad in ({"x": np.ones(2)}, xarray.Dataset(), xarray.Dataset(coords={"x": [1]})):
        with pytest.raises(ValueError, match=r"an xarray\.Dataset with at least one array"):
            save(KEY, bad, parameters={}, seeds=[])
    with pytest.raises(ValueError, match=r"no coordinate for its dimension 'width'"):
        save(KEY, xarray.Dataset({"x": ("width", [1, 2])}), parameters={}, seeds=[])
    with pytest.raises(ValueError, match=r"dataset\['x'\] holds objects of type dict"):
        save(KEY, xarray.Dataset({"x": ((), np.array({"a": 1}))}), parameters={}, seeds=[])


@pytest.mark.parametrize("spoil", [lambda b: b[: len(b) // 2], lambda b: b"not a zip file", lambda b: b""])
def test_a_damaged_file_is_named_and_stays(folder, spoil):
    path = store()
    path.write_bytes(spoil(path.read_bytes()))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"chapter\.subject\.npz is not a stored result"):
        load(KEY)
    assert path.read_bytes() == before


def test_an_ordinary_npz_file_is_no_result(folder):
    np.savez(folder / f"{KEY}.npz", x=np.ones(2))
    with pytest.raises(ValueError, match="not a stored result"):
        load(KEY)


def test_a_missing_result_says_how_to_get_it(folder):
    with pytest.raises(ResultMissing, match=r"no stored result 'chapter.subject'.*deepdynamics\.results.*_RESULTS"):
        load(KEY)
    assert issubclass(ResultMissing, FileNotFoundError)


def test_the_table_in_the_package_belongs_to_the_stored_results():
    """Saving a result keeps it so. Where a file came or went in another way, write `checksum_table(book/results)`."""
    assert places.TABLE.read_text("utf8") == results.checksum_table(ROOT / "book" / "results")
    assert all(len(digest) == 64 for digest in results.checksums().values())


def test_saving_in_a_checkout_keeps_its_table(tmp_path, monkeypatch):
    folder, library = tmp_path / "book" / "results", tmp_path / "lib" / "deepdynamics"
    library.mkdir(parents=True)
    (library / "results.sha256").write_text("")
    monkeypatch.setenv("DEEPDYNAMICS_RESULTS", str(folder))
    store()
    assert (library / "results.sha256").read_bytes().decode() == results.checksum_table(folder) != ""


def test_every_stored_result_of_the_book_can_be_read():
    """Each file in book/results loads, is small, carries its key, and was computed on real data."""
    found_files = sorted(places.folders()[0].glob("*.npz"))
    for file in found_files:
        found = load(file.stem)
        assert found.data_vars and found.attrs["key"] == file.stem and file.stat().st_size <= files.LARGEST
        assert set(found.dims) <= set(found.coords)
        assert "stand-in" not in str(found.attrs.get("data", ""))
    assert sum(file.stat().st_size for file in found_files) <= 15_000_000


def test_the_zip_holds_no_time(folder):
    with zipfile.ZipFile(store()) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
