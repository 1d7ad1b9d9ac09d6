"""Stored results: what goes in comes out, labelled; the bytes depend on the content alone; numbers are verified."""

import ast
import dataclasses
import email.message
import hashlib
import importlib
import json
import os
import platform
import sys
import tempfile
import textwrap
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray
from deepdynamics import data, experiments, results
from deepdynamics.experiments import _experiment
from deepdynamics.results import ResultMissing, code, digest, files, load, places, save, state, verify
from deepdynamics.sweeps import SweepError
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

pytest_plugins = ("loopback",)

KEY = "chapter.subject"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPDYNAMICS_RESULTS", str(tmp_path))
    return tmp_path


def labelled(**given) -> xarray.Dataset:
    """Arrays whose dimensions are named after them and numbered."""
    found = {name: np.asarray(value) for name, value in given.items()}
    dims = {name: [f"{name}_{k}" for k in range(array.ndim)] for name, array in found.items()}
    coords = {dim: range(n) for name, array in found.items() for dim, n in zip(dims[name], array.shape, strict=True)}
    return xarray.Dataset({name: (dims[name], array) for name, array in found.items()}, coords=coords)


def store(array=None, **more):
    given = labelled(x=np.arange(3.0) if array is None else array)
    return save(KEY, given, parameters={"width": 7}, seeds=[1, 2], **more)


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


@settings(max_examples=25, deadline=None)
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


# Digests of code


@pytest.fixture
def write(tmp_path, monkeypatch):
    """The function that writes a module of a package which nothing has imported."""
    package = tmp_path / "code" / "planted"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(package.parent))

    def write(name, source):
        path = package / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(source))
        importlib.invalidate_caches()
        for loaded in [each for each in sys.modules if each.split(".")[0] == "planted"]:
            del sys.modules[loaded]

    yield write
    for name in [name for name in sys.modules if name.split(".")[0] == "planted"]:
        del sys.modules[name]


ROUTINE = '''
    """What it does."""
    def f(x):
        """Doubles."""
        return 2 * x  # twice
'''


@pytest.mark.parametrize(
    "edited, changed",
    [
        (ROUTINE, False),
        (ROUTINE.replace("Doubles.", "Twice the argument."), False),
        (ROUTINE.replace("# twice", "# two times"), False),
        (ROUTINE.replace("2 * x", "(2\n          * x)"), False),
        (ROUTINE.replace('        """Doubles."""\n', ""), False),
        (ROUTINE.replace("2 * x", "3 * x"), True),
        (ROUTINE.replace("2 * x", "x * 2"), True),
        (ROUTINE.replace("def f(x)", "def f(x, y=None)"), True),
        (ROUTINE.replace("2 * x", '"2" * x'), True),
    ],
)
def test_a_digest_sees_code_and_no_prose(write, edited, changed):
    write("routine", ROUTINE)
    before = digest("planted.routine")
    write("routine", edited)
    assert (digest("planted.routine") != before) is changed


SYNTAX = '''
    import math as m
    from math import pi

    @m.sqrt
    class Law(list, key=None):
        """What it is."""
        bulk: tuple[int, ...] = (1, 2.5, 1e-300, 3j, -1, True, None, ...)

        def density(self, x, /, y=None, *rest, z: "float" = 0.1, **options) -> None:
            """A text."""
            text = f"{x!r:>{y}} {x + 1:.3f} and {y[0]}" "joined" r"\\d", b"bytes"
            if (n := len(rest)) > 1 and not (x < y <= z) or n in {1, *rest}:
                x @= [i ** 2 for i in rest if i for j in i] or {k: v for k, v in options.items()}
            elif x: return
            else: del x[1:2, ::3]
            try: raise ValueError from None
            except* (ValueError, KeyError) as error: pass
            finally: yield from (lambda *a, b=1: a)(*rest, c=2)

    async def flow(x):
        async with x as a, x: await a
        async for i in x: continue
        match x:
            case {"a": [1, *_], **rest} | Law(bulk=None) if rest: global q
            case _: return [i async for i in x]
'''


def test_a_digest_is_the_same_in_every_python(write):
    """Versions of Python add fields to their trees. The number is of 3.11; where the way digests are made has changed,
    and no result that is stored is current any more, there is a new one.
    """
    write("syntax", SYNTAX)
    assert digest("planted.syntax") == "08cccf36db846b7e"


@pytest.mark.parametrize("file", sorted((ROOT / "lib").rglob("*.py")), ids=lambda file: file.stem)
def test_comments_and_layout_of_the_library_are_no_code(file):
    """Python's own writer keeps the code and nothing of its layout."""
    source = file.read_text("utf8")
    written = ast.unparse(ast.parse(source))
    assert code._read_source(written, "deepdynamics.module", False) == code._read_source(
        source, "deepdynamics.module", False
    )


@pytest.mark.parametrize(
    "line",
    [
        "import planted.inner.deep",
        "from planted.inner import deep",
        "from planted.inner.deep import f",
        "from .inner import deep",
        "from .inner.deep import f",
        "from . import middle",
        "def g():\n    from planted import middle",
    ],
)
def test_a_digest_follows_imports_in_every_form(write, line):
    write("inner/__init__", "")
    write("inner/deep", "f = 1")
    write("middle", "from .inner.deep import f")
    write("other", "f = 1")
    write("top", line)
    before = digest("planted.top")
    write("other", "f = 2")
    assert digest("planted.top") == before
    write("inner/deep", "f = 2")
    assert digest("planted.top") != before


def test_a_digest_follows_a_package_to_what_its_front_imports(write):
    write("inner/__init__", "from . import deep")
    write("inner/deep", "f = 1")
    write("inner/side", "x = 1")
    write("top", "from planted.inner import side")
    before = digest("planted.top")
    write("inner/deep", "f = 2")
    assert digest("planted.top") != before


def test_imports_for_type_checking_and_modules_without_numbers_do_not_count(write):
    write("deep", "f = 1")
    write("figures", "f = 1")
    write(
        "top",
        """
        from typing import TYPE_CHECKING
        from planted import figures
        if TYPE_CHECKING:
            from planted.deep import f
        """,
    )
    before = digest("planted.top")
    write("deep", "f = 2")
    write("figures", "f = 2")
    assert digest("planted.top") == before


def test_a_digest_does_not_depend_on_what_is_loaded():
    before = digest("deepdynamics.jacobian.localised")
    importlib.import_module("deepdynamics.powerlaw")
    assert digest("deepdynamics.jacobian.localised") == before
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        digest("deepdynamics.no_such_module")


# Verification

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


# Files


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


def test_found_from_below_a_checkout_and_in_the_checkout_of_the_library(tmp_path, monkeypatch):
    monkeypatch.delenv("DEEPDYNAMICS_RESULTS", raising=False)
    (tmp_path / "book" / "part").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.setattr(places, "LIBRARY", tmp_path / "elsewhere" / "lib" / "deepdynamics")
    monkeypatch.chdir(tmp_path / "book" / "part")
    assert store() == tmp_path / "book" / "results" / f"{KEY}.npz"
    monkeypatch.chdir("/")
    with pytest.raises(ResultMissing, match="run inside a checkout"):
        store()
    monkeypatch.setattr(places, "LIBRARY", tmp_path / "lib" / "deepdynamics")
    assert load(KEY).x.values.tolist() == [0.0, 1.0, 2.0]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The library without a checkout: no folder of results, an empty cache, and a repository on this machine."""
    served = tmp_path / "served" / "book" / "results"
    served.mkdir(parents=True)
    monkeypatch.setenv("DEEPDYNAMICS_RESULTS", str(served))
    store()
    monkeypatch.delenv("DEEPDYNAMICS_RESULTS")
    table = tmp_path / "results.sha256"
    table.write_text(results.checksum_table(served) + f"{'0' * 64}  chapter.other.npz\n")
    monkeypatch.setattr(places, "TABLE", table)
    monkeypatch.setattr(places, "folders", lambda: [])
    monkeypatch.setattr(places, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.delenv("DEEPDYNAMICS_OFFLINE", raising=False)
    return tmp_path / "served"


def distribution(monkeypatch, urls=("Repository, https://github.com/someone/book/",), direct_url=None):
    """What pip recorded of the installed package."""
    message = email.message.Message()
    for url in urls:
        message["Project-URL"] = url
    texts = {"direct_url.json": direct_url and json.dumps(direct_url)}
    fake = SimpleNamespace(metadata=message, version="1.2.3", read_text=texts.get)
    monkeypatch.setattr(places.importlib.metadata, "distribution", lambda name: fake)


def test_an_installed_library_fetches_results_once(installed, monkeypatch, server):
    monkeypatch.setattr(places, "_addresses", lambda: [server(installed)])
    assert load(KEY).x.values.tolist() == [0.0, 1.0, 2.0]
    monkeypatch.setenv("DEEPDYNAMICS_OFFLINE", "1")
    assert load(KEY).x.values.tolist() == [0.0, 1.0, 2.0]  # from the cache
    with pytest.raises(ResultMissing, match=r"'chapter.other' here, and DEEPDYNAMICS_OFFLINE is set; DEEPDYNAMICS_RES"):
        load("chapter.other")


def test_only_the_bytes_of_this_version_are_taken(installed, monkeypatch, loopback):
    """A result that has changed in the repository since is refused, and an older copy in the cache is not mistaken."""
    right = (installed / "book" / "results" / f"{KEY}.npz").read_bytes()
    monkeypatch.setattr(places, "_addresses", lambda: [f"{loopback.address}/{place}" for place in ("abc", "main")])
    path = f"/book/results/{KEY}.npz"
    loopback.files |= {f"/abc{path}": b"another", f"/main{path}": b"a third"}
    with pytest.raises(ResultMissing, match=r"could not be fetched: .*sha256 is wrong.*DEEPDYNAMICS_RESULTS may"):
        load(KEY)
    loopback.files[f"/main{path}"] = right
    assert load(KEY).x.values.tolist() == [0.0, 1.0, 2.0]
    assert loopback.requests == [f"/abc{path}", f"/main{path}"] * 2
    places.TABLE.write_text(f"{hashlib.sha256(b'newer').hexdigest()}  {KEY}.npz\n")  # the library was upgraded
    loopback.files[f"/abc{path}"] = b"newer"
    with pytest.raises(ValueError, match="is not a stored result"):
        load(KEY)
    assert places._fetched(KEY).read_bytes() == b"newer"


def test_a_spoilt_file_in_the_cache_is_named_and_stays(installed, monkeypatch, server):
    monkeypatch.setattr(places, "_addresses", lambda: [server(installed)])
    path = places._fetched(KEY)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ValueError, match=rf"{KEY}\.npz is not the stored result: its sha256 is not .*; remove it"):
        load(KEY)
    assert path.is_file()


def test_a_result_the_repository_lacks(installed, monkeypatch, server):
    monkeypatch.setattr(places, "_addresses", lambda: [server(installed)])
    with pytest.raises(ResultMissing, match=r"'chapter.other' could not be fetched: .* answered 404"):
        load("chapter.other")
    with pytest.raises(ResultMissing, match=r"'chapter.third': this version has chapter.other, chapter.subject; DEEP"):
        load("chapter.third")


RAW = "https://raw.githubusercontent.com/someone/book"


@pytest.mark.parametrize(
    "direct_url, expected",
    [
        (None, [f"{RAW}/v1.2.3", f"{RAW}/main"]),  # from a package index
        ({"url": "file:///home/me/book", "dir_info": {}}, [f"{RAW}/v1.2.3", f"{RAW}/main"]),
        (
            {"url": "https://github.com/someone/book", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            [f"{RAW}/abc", f"{RAW}/main"],
        ),
        (
            {"url": "https://github.com/me/fork.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            ["https://raw.githubusercontent.com/me/fork/abc", "https://raw.githubusercontent.com/me/fork/main"],
        ),
        ({"url": "file:///home/me/book", "vcs_info": {"commit_id": "abc"}}, [f"{RAW}/abc", f"{RAW}/main"]),
    ],
)
def test_results_come_from_the_commit_that_was_installed(monkeypatch, direct_url, expected):
    distribution(monkeypatch, direct_url=direct_url)
    assert places._addresses() == expected


def test_without_a_known_repository_the_error_says_what_to_set(installed, monkeypatch):
    distribution(monkeypatch, urls=["Homepage, https://example.org"])
    with pytest.raises(ResultMissing, match=r"name no repository.*DEEPDYNAMICS_RESULTS"):
        load(KEY)

    def absent(name):
        raise places.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(places.importlib.metadata, "distribution", absent)
    with pytest.raises(ResultMissing, match=r"name no repository.*DEEPDYNAMICS_RESULTS"):
        load(KEY)


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
