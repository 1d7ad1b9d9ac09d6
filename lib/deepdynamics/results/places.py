"""Where stored results are.

In $DEEPDYNAMICS_RESULTS; in book/results of the checkout this library is in, or of a parent of the current directory;
and where the library is installed without the book, in the cache, fetched from the project's repository. Which bytes
belong to this version of the library says the table `results.sha256`, installed with it; the commit that pip installed
is asked for them first.
"""

import importlib.metadata
import json
import os
import re
from pathlib import Path

from deepdynamics.data.fetch import cache_folder, checksum_matches, download, offline
from deepdynamics.data.registry import RemoteFile

__all__ = ["TABLE", "ResultMissing", "check_key", "checksums", "find", "folder_to_write", "folders"]

LIBRARY = Path(__file__).resolve().parents[1]
TABLE = LIBRARY / "results.sha256"
_KEY = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")


class ResultMissing(FileNotFoundError):
    """A stored result that is not here and cannot be fetched.

    >>> issubclass(ResultMissing, FileNotFoundError)
    True
    """


def check_key(key: str) -> None:
    """ValueError for what is no key of a result.

    >>> check_key("order-chaos.trainability")
    """
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise ValueError(
            f"key = {key!r}: small letters, digits, dots and hyphens are needed, as in 'order-chaos.trainability'"
        )


def folders() -> list[Path]:
    """The folders of stored results there are, best first.

    >>> all(folder.name == "results" for folder in folders()) or "DEEPDYNAMICS_RESULTS" in os.environ
    True
    """
    if chosen := os.environ.get("DEEPDYNAMICS_RESULTS"):
        return [Path(chosen)]
    roots = [LIBRARY.parents[1], Path.cwd(), *Path.cwd().parents]
    return [
        root / "book" / "results" for root in roots if (root / "book").is_dir() and (root / "pyproject.toml").is_file()
    ]


def folder_to_write() -> Path:
    """The first of `folders`; `ResultMissing` where there is none.

    >>> folder_to_write() == folders()[0]
    True
    """
    found = folders()
    if not found:
        raise ResultMissing(
            "no folder for stored results: run inside a checkout of the book, or set DEEPDYNAMICS_RESULTS"
        )
    return found[0]


def find(key: str) -> Path:
    """The file of a stored result, fetched if need be.

    Raises ValueError for what is no key, `ResultMissing` where there is no such result.

    >>> find("order-chaos.trainability").name
    'order-chaos.trainability.npz'
    """
    check_key(key)
    places = folders()
    for folder in places:
        if (folder / f"{key}.npz").is_file():
            return folder / f"{key}.npz"
    if not places:
        return _fetched(key)
    raise ResultMissing(
        f"no stored result {key!r} in {places[0]}: python -m deepdynamics.results computes it, or "
        f"DEEPDYNAMICS_RESULTS may name a folder that holds {key}.npz"
    )


def checksums() -> dict[str, str]:
    """Key -> sha256 of the stored results that belong to this version of the library.

    >>> len(checksums()["order-chaos.trainability"])
    64
    """
    rows = (line.split() for line in TABLE.read_text("utf-8").splitlines())
    return {name.removesuffix(".npz"): digest for digest, name in rows}


def _fetched(key: str) -> Path:
    """A result of this version of the library, from the cache or the project's repository."""
    known, advice = checksums(), f"DEEPDYNAMICS_RESULTS may name a folder that holds {key}.npz"
    if key not in known:
        raise ResultMissing(f"no stored result {key!r}: this version has {', '.join(sorted(known))}; {advice}")
    digest = known[key]
    addresses = tuple(f"{address}/book/results/{key}.npz" for address in _addresses())
    file = RemoteFile(f"results/{digest[:16]}/{key}.npz", f"sha256:{digest}", addresses)
    path = cache_folder() / file.path
    if not path.is_file():
        if offline():
            raise ResultMissing(f"no stored result {key!r} here, and DEEPDYNAMICS_OFFLINE is set; {advice}")
        if failed := download([file], cache_folder()):
            raise ResultMissing(f"the stored result {key!r} could not be fetched: {failed[file.path]}; {advice}")
    if not checksum_matches(path, file.checksum):
        raise ValueError(f"{path} is not the stored result: its sha256 is not {digest}; remove it to fetch it again")
    return path


def _addresses() -> list[str]:
    """Where the repository's files are served, best first: at the commit that pip installed, or at the tag of this
    version where pip recorded none; then on the default branch. (The checksum tells which file is the right one.)"""
    try:
        distribution = importlib.metadata.distribution("deepdynamics")
        urls = dict(url.split(", ", 1) for url in distribution.metadata.get_all("Project-URL") or [])
        address = urls["Repository"]
    except (importlib.metadata.PackageNotFoundError, KeyError) as error:
        raise ResultMissing(
            "the package's metadata name no repository to fetch stored results from; set DEEPDYNAMICS_RESULTS"
        ) from error
    source = json.loads(distribution.read_text("direct_url.json") or "{}")  # written by pip, PEP 610
    commit, url = source.get("vcs_info", {}).get("commit_id"), source.get("url", "")
    repository = url if commit and url.startswith("https://github.com/") else address  # a fork has its own commits
    raw = repository.rstrip("/").removesuffix(".git").replace("://github.com/", "://raw.githubusercontent.com/")
    return [f"{raw}/{place}" for place in (commit or f"v{distribution.version}", "main")]
