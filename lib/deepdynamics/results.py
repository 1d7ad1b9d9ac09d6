"""Stored results: what was computed once at full size, with everything that says what it is.

A result is one file `<key>.npz` of arrays and a provenance: parameters, seeds, hashes of the code, machine, date, and
what the experiment adds (hash of the data, seconds, residuals). Its bytes depend on its content alone.

A result is *stale* when the code it ran has changed. What counts is the syntax tree of each module of this library that
was loaded, without docstrings, comments and layout; modules that cannot change a number (progress bars, figures, this
one) do not count.

Files are found in $DEEPDYNAMICS_RESULTS; in book/results of the checkout this library is in, or of a parent of the
current directory; and where the library is installed without the book, in the cache, fetched from the project's
repository. Which bytes belong to this version of the library says the table `results.sha256`, installed with it; the
commit that pip installed is asked for them first.
"""

import ast
import datetime
import functools
import hashlib
import importlib.metadata
import importlib.util
import io
import json
import os
import platform
import re
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deepdynamics.downloads import RemoteFile, cache_folder, checksum_matches, download, offline

__all__ = [
    "ResultMissing",
    "checksum_table",
    "checksums",
    "code_hash",
    "load",
    "loaded_code",
    "machine",
    "save",
    "stale",
]

_NOT_NUMBERS = {"__main__", "claims", "downloads", "explorer", "figures", "imagenet_samples", "progress", "results"}
LARGEST = 300_000  # bytes of a stored result
_PROVENANCE = "provenance.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date a zip file can hold
_KEY = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")
_TABLE = Path(__file__).with_name("results.sha256")


class ResultMissing(FileNotFoundError):
    """A stored result that is not here and cannot be fetched.

    >>> issubclass(ResultMissing, FileNotFoundError)
    True
    """


def save(
    key: str,
    arrays: Mapping[str, Any],
    *,
    parameters: Mapping[str, Any],
    seeds: Sequence[int],
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Write a result and return its file.

    arrays: name -> numeric array (anything numpy takes). parameters, seeds, provenance: what json can hold, numpy's
    numbers and arrays, and dataclasses. `provenance` adds to, or replaces, what is recorded without being asked (code,
    machine, date): the data's provenance, seconds, residuals; a long run takes `code=loaded_code()` when it starts.

    Raises ValueError for a key that is not of the form chapter.subject, no arrays, an array of objects, or a file that
    would be larger than 300 kB.

    >>> import tempfile
    >>> os.environ["DEEPDYNAMICS_RESULTS"] = tempfile.mkdtemp()
    >>> _ = save("example.squares", {"y": [1, 4, 9]}, parameters={"power": 2}, seeds=[0])
    >>> arrays, provenance = load("example.squares")
    >>> arrays["y"].tolist(), provenance["parameters"], stale("example.squares")
    ([1, 4, 9], {'power': 2}, False)
    >>> del os.environ["DEEPDYNAMICS_RESULTS"]
    """
    _check_key(key)
    if not arrays:
        raise ValueError(f"arrays = {arrays!r}: at least one array is needed")
    converted = {name: np.asarray(value) for name, value in arrays.items()}
    for name, array in converted.items():
        if array.dtype.hasobject:
            raise ValueError(
                f"arrays[{name!r}] holds objects of type {type(array.flat[0]).__name__}: numbers are needed"
            )
    record = {
        "key": key,
        "parameters": dict(parameters),
        "seeds": list(seeds),
        "code": loaded_code(),
        "machine": machine(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        **(provenance or {}),
    }
    content = _zipped(converted, json.dumps(record, indent=1, sort_keys=True, default=_plain, ensure_ascii=False))
    if len(content) > LARGEST:
        raise ValueError(f"the result {key!r} would have {len(content):,} bytes: at most {LARGEST:,} are allowed")
    path = _folder_to_write() / f"{key}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    table = path.parent.parent.with_name("lib") / __package__ / _TABLE.name
    if table.is_file():  # in a checkout of the book
        table.write_text(checksum_table(path.parent), "utf-8", newline="\n")
    return path


def load(key: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays and the provenance of a stored result.

    Raises `ResultMissing` where it is not to be had, ValueError for a file that is no result (the file stays).

    >>> arrays, provenance = load("order-chaos.trainability")
    >>> sorted(provenance)[:3], len(arrays) > 0
    (['code', 'data', 'date'], True)
    """
    path = _find(key)
    try:
        with zipfile.ZipFile(path) as archive:
            record = json.loads(archive.read(_PROVENANCE))
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            arrays = {name.removesuffix(".npy"): _read_array(archive.read(name)) for name in names}
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is not a stored result: {error}") from error
    return arrays, record


def stale(key: str) -> bool:
    """Whether code that the stored result ran has changed since (a module that is gone has changed).

    >>> stale("order-chaos.trainability") in (True, False)
    True
    """
    _, record = load(key)
    return any(code_hash(module) != recorded for module, recorded in record["code"].items())


def code_hash(module: str) -> str | None:
    """Hash of a module's syntax tree without docstrings, comments and layout; None where there is no such module.

    >>> code_hash("deepdynamics.results") == code_hash("deepdynamics.results")
    True
    """
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    if spec is None or spec.origin is None:
        return None
    return _hash_of_source(Path(spec.origin).read_text("utf-8"))


@functools.lru_cache(maxsize=256)
def _hash_of_source(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
    return hashlib.sha256(_canonical(tree).encode()).hexdigest()[:16]


def _canonical(node: Any) -> str:
    """A syntax tree as text, the same in every version of Python: empty fields, which newer ones add, are left out."""
    if isinstance(node, ast.AST):
        fields = (f"{name}={_canonical(value)}" for name, value in ast.iter_fields(node) if value not in (None, []))
        return f"{type(node).__name__}({','.join(fields)})"
    return f"[{','.join(map(_canonical, node))}]" if isinstance(node, list) else repr(node)


def machine() -> dict[str, Any]:
    """What a result was computed with: processor, cores, threads, versions; no names of hosts or places.

    >>> sorted(machine())
    ['cores', 'processor', 'python', 'system', 'threads', 'versions']
    """
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in ("numpy", "scipy", "torch")},
    }


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return model[1].strip() if model else platform.processor() or platform.machine()


def loaded_code() -> dict[str, str]:
    """Module -> hash of its source as it is now, for the loaded modules of this library that can change a number.

    >>> "deepdynamics.results" in loaded_code()
    False
    """
    names = (name for name in sys.modules if name.split(".")[0] == __package__ and name.count("."))
    hashes = {name: code_hash(name) for name in sorted(names) if name.rsplit(".", 1)[-1] not in _NOT_NUMBERS}
    return {name: value for name, value in hashes.items() if value is not None}


def _zipped(arrays: Mapping[str, NDArray[Any]], record: str) -> bytes:
    """An npz file with the provenance as a further member; the same content gives the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(arrays):
            member = io.BytesIO()
            np.lib.format.write_array(member, arrays[name], allow_pickle=False)
            archive.writestr(_entry(f"{name}.npy"), member.getvalue())
        archive.writestr(_entry(_PROVENANCE), record)
    return buffer.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


def _read_array(content: bytes) -> NDArray[Any]:
    array: NDArray[Any] = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    return array


def _plain(value: Any) -> Any:
    """What json does not know: numpy's numbers and arrays, and dataclasses by their fields."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if hasattr(value, "__dataclass_fields__"):
        return {name: getattr(value, name) for name in value.__dataclass_fields__}
    raise ValueError(f"provenance cannot hold {value!r}: numbers, texts, lists and mappings are needed")


# Where results are ---------------------------------------------------------------------------------------------------


def _check_key(key: str) -> None:
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise ValueError(
            f"key = {key!r}: small letters, digits, dots and hyphens are needed, as in 'order-chaos.trainability'"
        )


def _folders() -> list[Path]:
    """The folders of stored results there are, best first."""
    if chosen := os.environ.get("DEEPDYNAMICS_RESULTS"):
        return [Path(chosen)]
    roots = [Path(__file__).resolve().parents[2], Path.cwd(), *Path.cwd().parents]
    return [
        root / "book" / "results" for root in roots if (root / "book").is_dir() and (root / "pyproject.toml").is_file()
    ]


def _folder_to_write() -> Path:
    folders = _folders()
    if not folders:
        raise ResultMissing(
            "no folder for stored results: run inside a checkout of the book, or set DEEPDYNAMICS_RESULTS"
        )
    return folders[0]


def _find(key: str) -> Path:
    _check_key(key)
    folders = _folders()
    for folder in folders:
        if (folder / f"{key}.npz").is_file():
            return folder / f"{key}.npz"
    if not folders:
        return _fetched(key)
    raise ResultMissing(
        f"no stored result {key!r} in {folders[0]}: python -m deepdynamics.experiments computes it, or "
        f"DEEPDYNAMICS_RESULTS may name a folder that holds {key}.npz"
    )


# Where the library is installed without the book ---------------------------------------------------------------------


def checksums() -> dict[str, str]:
    """Key -> sha256 of the stored results that belong to this version of the library.

    >>> len(checksums()["order-chaos.trainability"])
    64
    """
    rows = (line.split() for line in _TABLE.read_text("utf-8").splitlines())
    return {name.removesuffix(".npz"): digest for digest, name in rows}


def checksum_table(folder: Path) -> str:
    """The sha256 sums of the stored results in a folder, as the program sha256sum writes and checks them; `save` keeps
    them in `results.sha256`.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "empty.npz").write_bytes(b"")
    >>> checksum_table(folder)
    'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  empty.npz\\n'
    """
    files = sorted(folder.glob("*.npz"))
    return "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)


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
        distribution = importlib.metadata.distribution(__package__)
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
