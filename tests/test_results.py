"""Stored results: what goes in comes out, the bytes depend on the content alone, and stale means that code changed."""

import ast
import dataclasses
import doctest
import email.message
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import textwrap
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from deepdynamics import downloads, results
from deepdynamics.results import ResultMissing, code_hash, load, save, stale
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

pytest_plugins = ("loopback",)

KEY = "chapter.subject"
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPDYNAMICS_RESULTS", str(tmp_path))
    return tmp_path


def store(array=None, **more):
    return save(KEY, {"x": np.arange(3.0) if array is None else array}, parameters={"width": 7}, seeds=[1, 2], **more)


def test_what_goes_in_comes_out(folder):
    values = {"x": np.linspace(0, 1, 5, dtype=np.float32), "names": np.array(["a", "bc"]), "flag": np.array(True)}
    path = save(
        KEY, values, parameters={"width": np.int64(7)}, seeds=range(2), provenance={"residual": np.float64(1e-9)}
    )
    assert path == folder / "chapter.subject.npz"
    loaded, provenance = load(KEY)
    assert set(loaded) == set(values)
    for name, value in values.items():
        assert loaded[name].dtype == value.dtype and np.array_equal(loaded[name], value)
    assert provenance["parameters"] == {"width": 7} and provenance["seeds"] == [0, 1] and provenance["residual"] == 1e-9
    assert np.array_equal(np.load(path)["x"], values["x"])  # numpy reads the file as well


@settings(max_examples=25, deadline=None)
@given(arrays(st.sampled_from([np.float64, np.int32, np.complex128, np.bool_]), array_shapes(min_side=0, max_side=4)))
def test_any_numeric_array_survives(array):
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setenv("DEEPDYNAMICS_RESULTS", folder)
        store(array)
        found = load(KEY)[0]["x"]
    assert found.dtype == array.dtype and found.shape == array.shape
    assert found.tobytes() == np.ascontiguousarray(array).tobytes()


def test_the_same_content_gives_the_same_bytes(folder):
    values = {"b": np.arange(4), "a": np.ones(2)}
    first = save(KEY, values, parameters={"p": 1, "q": 2}, seeds=[0]).read_bytes()
    again = save(KEY, dict(reversed(values.items())), parameters={"q": 2, "p": 1}, seeds=[0]).read_bytes()
    assert first == again


def test_provenance_says_what_was_computed_where_and_nothing_private(folder):
    record = load(store().stem)[1]
    assert {"key", "parameters", "seeds", "code", "machine", "date"} <= set(record)
    assert record["machine"]["versions"].keys() == {"numpy", "scipy", "torch"}
    text = json.dumps(record)
    assert str(folder) not in text and os.getcwd() not in text and sys.prefix not in text
    assert not platform.node() or platform.node() not in text


def test_dataclasses_become_mappings_and_other_objects_are_refused(folder):
    @dataclasses.dataclass(frozen=True)
    class Source:
        name: str

    store(provenance={"data": Source("mnist")})
    assert load(KEY)[1]["data"] == {"name": "mnist"}
    with pytest.raises(ValueError, match="provenance cannot hold"):
        store(provenance={"data": object()})


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A package with one module that can be rewritten; returns the function that writes it."""
    package = tmp_path / "planted"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield lambda source: (package / "routine.py").write_text(textwrap.dedent(source))
    for name in ("planted.routine", "planted"):
        sys.modules.pop(name, None)


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
def test_prose_leaves_a_result_fresh_and_code_does_not(folder, module, edited, changed):
    module(ROUTINE)
    store(provenance={"code": {"planted.routine": code_hash("planted.routine")}})
    assert not stale(KEY)
    module(edited)
    assert stale(KEY) is changed


def test_a_result_whose_module_is_gone_is_stale(folder):
    store(provenance={"code": {"deepdynamics.no_such_module": "0" * 16}})
    assert stale(KEY)


def test_modules_that_can_change_a_number_are_recorded_and_others_are_not(folder):
    import deepdynamics.sweeps  # noqa: F401

    code = load(store().stem)[1]["code"]
    assert code["deepdynamics.sweeps"] == code_hash("deepdynamics.sweeps")
    assert not {"deepdynamics.results", "deepdynamics.downloads", "deepdynamics.progress"} & set(code)
    assert not stale(KEY)


def test_a_result_that_is_too_large_is_refused_and_the_old_one_stays(folder):
    store()
    with pytest.raises(ValueError, match=r"would have 8\d\d,\d+ bytes: at most 300,000"):
        store(np.random.default_rng(0).standard_normal(110_000))
    assert load(KEY)[0]["x"].tolist() == [0.0, 1.0, 2.0]
    assert [file.name for file in folder.iterdir()] == ["chapter.subject.npz"]


@pytest.mark.parametrize("key", ["", "Chapter.subject", "../up", "a b", "a/b", "a..b", None])
def test_bad_keys(folder, key):
    for call in (load, stale, lambda key: save(key, {"x": 1}, parameters={}, seeds=[])):
        with pytest.raises(ValueError, match=r"key = .*small letters"):
            call(key)


def test_bad_arrays(folder):
    with pytest.raises(ValueError, match="at least one array"):
        save(KEY, {}, parameters={}, seeds=[])
    with pytest.raises(ValueError, match=r"arrays\['x'\] holds objects of type dict"):
        store({"a": 1})


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
    with pytest.raises(ResultMissing, match=r"no stored result 'chapter.subject'.*deepdynamics\.experiments.*_RESULTS"):
        load(KEY)
    assert issubclass(ResultMissing, FileNotFoundError)


def test_found_from_below_a_checkout_and_in_the_checkout_of_the_library(tmp_path, monkeypatch):
    monkeypatch.delenv("DEEPDYNAMICS_RESULTS", raising=False)
    (tmp_path / "book" / "part").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.setattr(results, "__file__", str(tmp_path / "elsewhere" / "lib" / "deepdynamics" / "results.py"))
    monkeypatch.chdir(tmp_path / "book" / "part")
    assert store() == tmp_path / "book" / "results" / f"{KEY}.npz"
    monkeypatch.chdir("/")
    with pytest.raises(ResultMissing, match="run inside a checkout"):
        store()
    monkeypatch.setattr(results, "__file__", str(tmp_path / "lib" / "deepdynamics" / "results.py"))
    assert load(KEY)[0]["x"].tolist() == [0.0, 1.0, 2.0]


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
    monkeypatch.setattr(results, "_TABLE", table)
    monkeypatch.setattr(results, "_folders", lambda: [])
    monkeypatch.setattr(results, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.delenv("DEEPDYNAMICS_OFFLINE", raising=False)
    return tmp_path / "served"


def distribution(monkeypatch, urls=("Repository, https://github.com/someone/book/",), direct_url=None):
    """What pip recorded of the installed package."""
    message = email.message.Message()
    for url in urls:
        message["Project-URL"] = url
    texts = {"direct_url.json": direct_url and json.dumps(direct_url)}
    fake = SimpleNamespace(metadata=message, version="1.2.3", read_text=texts.get)
    monkeypatch.setattr(results.importlib.metadata, "distribution", lambda name: fake)


def test_an_installed_library_fetches_results_once(installed, monkeypatch, server):
    monkeypatch.setattr(results, "_addresses", lambda: [server(installed)])
    assert load(KEY)[0]["x"].tolist() == [0.0, 1.0, 2.0]
    monkeypatch.setenv("DEEPDYNAMICS_OFFLINE", "1")
    assert load(KEY)[0]["x"].tolist() == [0.0, 1.0, 2.0]  # from the cache
    with pytest.raises(ResultMissing, match=r"'chapter.other' here, and DEEPDYNAMICS_OFFLINE is set; DEEPDYNAMICS_RES"):
        load("chapter.other")


def test_only_the_bytes_of_this_version_are_taken(installed, monkeypatch, loopback):
    """A result that has changed in the repository since is refused, and an older copy in the cache is not mistaken."""
    right = (installed / "book" / "results" / f"{KEY}.npz").read_bytes()
    monkeypatch.setattr(results, "_addresses", lambda: [f"{loopback.address}/{place}" for place in ("abc", "main")])
    path = f"/book/results/{KEY}.npz"
    loopback.files |= {f"/abc{path}": b"another", f"/main{path}": b"a third"}
    with pytest.raises(ResultMissing, match=r"could not be fetched: .*sha256 is wrong.*DEEPDYNAMICS_RESULTS may"):
        load(KEY)
    loopback.files[f"/main{path}"] = right
    assert load(KEY)[0]["x"].tolist() == [0.0, 1.0, 2.0]
    assert loopback.requests == [f"/abc{path}", f"/main{path}"] * 2
    results._TABLE.write_text(f"{hashlib.sha256(b'newer').hexdigest()}  {KEY}.npz\n")  # the library was upgraded
    loopback.files[f"/abc{path}"] = b"newer"
    with pytest.raises(ValueError, match="is not a stored result"):
        load(KEY)
    assert results._fetched(KEY).read_bytes() == b"newer"


def test_a_spoilt_file_in_the_cache_is_named_and_stays(installed, monkeypatch, server):
    monkeypatch.setattr(results, "_addresses", lambda: [server(installed)])
    path = results._fetched(KEY)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ValueError, match=rf"{KEY}\.npz is not the stored result: its sha256 is not .*; remove it"):
        load(KEY)
    assert path.is_file()


def test_a_result_the_repository_lacks(installed, monkeypatch, server):
    monkeypatch.setattr(results, "_addresses", lambda: [server(installed)])
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
    assert results._addresses() == expected


def test_without_a_known_repository_the_error_says_what_to_set(installed, monkeypatch):
    distribution(monkeypatch, urls=["Homepage, https://example.org"])
    with pytest.raises(ResultMissing, match=r"name no repository.*DEEPDYNAMICS_RESULTS"):
        load(KEY)

    def absent(name):
        raise results.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(results.importlib.metadata, "distribution", absent)
    with pytest.raises(ResultMissing, match=r"name no repository.*DEEPDYNAMICS_RESULTS"):
        load(KEY)


def test_the_table_in_the_package_belongs_to_the_stored_results():
    """Saving a result keeps it so. Where a file came or went in another way, write `checksum_table(book/results)`."""
    assert results._TABLE.read_text("utf8") == results.checksum_table(ROOT / "book" / "results")
    assert all(len(digest) == 64 for digest in results.checksums().values())


def test_saving_in_a_checkout_keeps_its_table(tmp_path, monkeypatch):
    folder, library = tmp_path / "book" / "results", tmp_path / "lib" / "deepdynamics"
    library.mkdir(parents=True)
    (library / "results.sha256").write_text("")
    monkeypatch.setenv("DEEPDYNAMICS_RESULTS", str(folder))
    store()
    assert (library / "results.sha256").read_bytes().decode() == results.checksum_table(folder) != ""


def test_the_table_is_installed_with_the_package(tmp_path):
    """The wheel, as setuptools would build it from pyproject.toml."""
    pytest.importorskip("setuptools")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "lib", tmp_path / "lib", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    build = "import setuptools.build_meta as b; print(b.build_wheel('wheel'))"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True)
    [wheel] = (tmp_path / "wheel").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("deepdynamics/results.sha256") == results._TABLE.read_bytes()


def test_every_stored_result_of_the_book_can_be_read():
    """Each file in book/results loads, is small, carries its key, and was computed on real data."""
    files = sorted((results._folders()[0]).glob("*.npz"))
    for file in files:
        found, record = load(file.stem)
        assert found and record["key"] == file.stem and file.stat().st_size <= results.LARGEST
        assert "stand-in" not in str(record.get("data", ""))
    assert sum(file.stat().st_size for file in files) <= 15_000_000


def test_a_code_hash_ignores_the_python_version():
    """Fields that newer versions of Python add to the tree are empty where code does not use them, and are left out."""
    tree = ast.parse("def f(x: int) -> int:\n    return x\n")
    text = results._canonical(tree)
    assert "type_params" not in text and "lineno" not in text
    assert text == (
        "Module(body=[FunctionDef(name='f',args=arguments(args=[arg(arg='x',annotation=Name(id='int',ctx=Load()))]),"
        "body=[Return(value=Name(id='x',ctx=Load()))],returns=Name(id='int',ctx=Load()))])"
    )


def test_docstring_examples():
    assert doctest.testmod(results).failed == 0
    assert doctest.testmod(downloads).failed == 0


def test_the_zip_holds_no_time(folder):
    with zipfile.ZipFile(store()) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
