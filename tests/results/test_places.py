"""Where results are found: below a checkout, beside the library, in the repository that pip installed from."""

import email.message
import hashlib
import json
from types import SimpleNamespace

import pytest
from deepdynamics import results
from deepdynamics.results import ResultMissing, load, places
from made_results import KEY, store

pytest_plugins = ("loopback",)


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
