"""Stored results: what was computed once at full size, labelled, with everything that says what it is.

A result is one file `<key>.npz`: named arrays with their dimensions and coordinates, so that reading them needs no
constant of today's code, and a provenance: parameters, seeds, digest of the code, machine, date, and what the
experiment adds (hash of the data, seconds). Its bytes depend on its content alone.

A change of code neither throws a result away nor leaves it unquestioned. `verify` computes a few cells again with the
code as it is now and writes beside the results, to `verified.json`, what was compared and how far it lies. A result is

- *current* while the code it ran has not changed since it was computed;
- *verified* where the code as it is now gave cells of it again, within the experiment's tolerance;
- *unverified* where code or numbers have changed and nothing has been computed again;
- *contradicted* where the code as it is now gives other numbers.

Code is the static import closure of the experiment's module within this library: the syntax trees without docstrings,
comments and layout. Modules that cannot change a number of a cell (progress bars, figures, this one) do not count.

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
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import xarray
from numpy.typing import NDArray

from deepdynamics.data.fetch import RemoteFile, cache_folder, checksum_matches, download, offline

__all__ = [
    "ResultMissing",
    "State",
    "checksum_table",
    "checksums",
    "digest",
    "load",
    "machine",
    "save",
    "state",
    "verify",
]

LARGEST = 300_000  # bytes of a stored result
VERIFIED = "verified.json"
_NOT_NUMBERS = {"_experiment", "_progress", "claims", "experiments", "fetch", "figures", "registry", "results"}
_PROVENANCE, _LAYOUT = "provenance.json", "layout.json"
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
    dataset: xarray.Dataset,
    *,
    parameters: Mapping[str, Any],
    seeds: Sequence[Any],
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Write a result and return its file.

    dataset: named arrays of numbers (or texts), every dimension with a coordinate; its own attributes are not kept.
    parameters, seeds, provenance: what json can hold, numpy's numbers and arrays, and dataclasses. `provenance` adds
    to, or replaces, what is recorded without being asked (machine, date): the digest of the code when the run started,
    the data's provenance, seconds, residuals.

    Raises ValueError for a key that is not of the form chapter.subject, something that is no Dataset or an empty one, a
    dimension without coordinate, an array of objects, or a file that would be larger than 300 kB.

    >>> import tempfile
    >>> os.environ["DEEPDYNAMICS_RESULTS"] = tempfile.mkdtemp()
    >>> squares = xarray.Dataset({"y": ("x", [1, 4, 9])}, coords={"x": [1, 2, 3]})
    >>> _ = save("example.squares", squares, parameters={"power": 2}, seeds=[0])
    >>> found = load("example.squares")
    >>> int(found.y.sel(x=3)), found.attrs["parameters"]
    (9, {'power': 2})
    >>> del os.environ["DEEPDYNAMICS_RESULTS"]
    """
    _check_key(key)
    record = {
        "key": key,
        "parameters": dict(parameters),
        "seeds": list(seeds),
        "machine": machine(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        **(provenance or {}),
    }
    content = packed(dataset, record)
    if len(content) > LARGEST:
        raise ValueError(f"the result {key!r} would have {len(content):,} bytes: at most {LARGEST:,} are allowed")
    path = _folder_to_write() / f"{key}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, content)
    table = path.parent.parent.with_name("lib") / __package__ / _TABLE.name
    if table.is_file():  # in a checkout of the book
        replace(table, checksum_table(path.parent).encode())
    return path


def load(key: str) -> xarray.Dataset:
    """A stored result; its `attrs` are the provenance.

    Raises `ResultMissing` where it is not to be had, ValueError for a file that is no result (the file stays).

    >>> found = load("order-chaos.trainability")
    >>> sorted(found.attrs)[:3], found.sizes["seed"]
    (['data', 'date', 'key'], 3)
    """
    path = _find(key)
    try:
        return unpacked(path.read_bytes())
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is not a stored result: {error}") from error


# What is still true of them -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class State:
    """What is known of a stored result under the code as it is now; as text, with the evidence.

    >>> print(State("verified", "3 of 120 cells recomputed, largest deviation 2e-07"))
    verified (3 of 120 cells recomputed, largest deviation 2e-07)
    """

    name: Literal["current", "verified", "unverified", "contradicted"]
    evidence: str

    def __str__(self) -> str:
        return f"{self.name} ({self.evidence})"


def state(key: str) -> State:
    """The state of a stored result, from its provenance and `verified.json`; computes nothing.

    Raises `ResultMissing` where there is no such result, ValueError for a key that no experiment computes.

    >>> state("order-chaos.trainability").name in ("current", "verified", "unverified", "contradicted")
    True
    """
    from deepdynamics import experiments

    dataset, code = load(key), digest(experiments.module_of(key))
    entry = _verified(_find(key).with_name(VERIFIED)).get(key, {})
    known = entry.get("code") == code and entry.get("numbers") == _numbers(dataset)
    deviation = f"largest deviation {entry['deviation']:.1g}" if known else ""
    if known and entry["of_tolerance"] > 1:
        return State("contradicted", f"{entry['worst']}: {deviation}, {entry['of_tolerance']:.1f} times the tolerance")
    if dataset.attrs.get("code") == code:
        return State("current", "the code that computed it has not changed")
    if known:
        return State("verified", f"{entry['cells']} of {entry['of']} cells recomputed, {deviation}")
    return State("unverified", "code or numbers have changed: python -m deepdynamics.experiments verify")


def verify(key: str) -> State:
    """Compute the check cells of a stored result again, write to `verified.json` what was compared, return the state.

    Raises `ResultMissing`, `data.DataMissing` where the data of the experiment are not here, and ValueError for a key
    that no experiment computes.

    >>> verify("edge-of-chaos.gain").name  # doctest: +SKIP
    'verified'
    """
    from deepdynamics.experiments import module_of
    from deepdynamics.experiments._experiment import compared, experiment_of

    dataset, code = load(key), digest(module_of(key))
    found = compared(experiment_of(key), dataset)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    path = _find(key).with_name(VERIFIED)
    entries = _verified(path) | {key: {"code": code, "numbers": _numbers(dataset), "date": today, **found}}
    replace(path, (json.dumps(entries, indent=1, sort_keys=True, default=_plain, ensure_ascii=False) + "\n").encode())
    return state(key)


def _verified(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text("utf-8"))) if path.is_file() else {}


def _numbers(dataset: xarray.Dataset) -> str:
    """Digest of everything but the provenance: names, dimensions, coordinates, types, numbers."""
    found = hashlib.sha256()
    for name in sorted(map(str, dataset.variables)):
        array = np.ascontiguousarray(_values(dataset[name]))
        found.update(repr((name, dataset[name].dims, array.dtype.str, array.shape)).encode() + array.tobytes())
    return found.hexdigest()[:16]


def digest(module: str) -> str:
    """Digest of a module and of all of its package that it imports, directly or not, as their sources are now.

    What counts is which modules are named in import statements (those for type checking apart), not what happens to be
    loaded. Raises ModuleNotFoundError where there is no such module.

    >>> digest("deepdynamics.margins") == digest("deepdynamics.margins") != digest("deepdynamics.sweeps")
    True
    """
    sources: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _source_of(name)
        if name in sources or path is None or name.rsplit(".", 1)[-1] in _NOT_NUMBERS:
            continue
        sources[name], imported = _read_source(path.read_text("utf-8"), name, path.name == "__init__.py")
        waiting += [*imported, name.rpartition(".")[0]]
    if module not in sources:
        raise ModuleNotFoundError(f"no module {module!r} whose source could be read")
    return hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest()[:16]


def _source_of(module: str) -> Path | None:
    """The file of a module within its package (not of the package itself); nothing is imported."""
    package, _, rest = module.partition(".")
    spec = importlib.util.find_spec(package) if rest else None
    for root in (spec.submodule_search_locations or ()) if spec else ():
        inside = Path(root, *rest.split("."))
        for path in (inside.with_suffix(".py"), inside / "__init__.py"):
            if path.is_file():
                return path
    return None


@functools.lru_cache(maxsize=256)
def _read_source(source: str, module: str, is_package: bool) -> tuple[str, tuple[str, ...]]:
    """Hash of the tree of a source, and the names that it imports from its own package, modules or not."""
    tree = ast.parse(source)
    imported: set[str] = set()
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".")
            base = parts[: len(parts) - node.level + is_package] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            imported |= {origin} | {f"{origin}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (
            ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:]
    own = (name for name in imported if name.split(".")[0] == module.split(".")[0])
    return hashlib.sha256(_canonical(tree).encode()).hexdigest()[:16], tuple(sorted(own))


def _canonical(node: Any) -> str:
    """A syntax tree as text, the same in every version of Python: empty fields, which newer ones add, are left out."""
    if isinstance(node, ast.AST):
        fields = (f"{name}={_canonical(value)}" for name, value in ast.iter_fields(node) if value not in (None, []))
        return f"{type(node).__name__}({','.join(fields)})"
    return f"[{','.join(map(_canonical, node))}]" if isinstance(node, list) else repr(node)


# What is in a file ----------------------------------------------------------------------------------------------------


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


def packed(dataset: xarray.Dataset, record: Mapping[str, Any]) -> bytes:
    """An npz file with the layout and the provenance as further members; the same content gives the same bytes."""
    if not isinstance(dataset, xarray.Dataset) or not dataset.data_vars:
        raise ValueError(f"dataset = {dataset!r}: an xarray.Dataset with at least one array is needed")
    if bare := sorted(str(name) for name in dataset.dims if name not in dataset.coords):
        raise ValueError(f"dataset has no coordinate for its dimension {bare[0]!r}: every dimension needs one")
    layout = {
        "dimensions": {str(name): list(array.dims) for name, array in dataset.variables.items()},
        "coordinates": sorted(map(str, dataset.coords)),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(map(str, dataset.variables)):
            member = io.BytesIO()
            np.lib.format.write_array(member, _values(dataset[name]), allow_pickle=False)
            archive.writestr(_entry(f"{name}.npy"), member.getvalue())
        for name, value in ((_LAYOUT, layout), (_PROVENANCE, dict(record))):
            text = json.dumps(value, indent=1, sort_keys=True, default=_plain, ensure_ascii=False)
            archive.writestr(_entry(name), text)
    return buffer.getvalue()


def unpacked(content: bytes) -> xarray.Dataset:
    """What `packed` packed; the record is in `.attrs`."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        record, layout = json.loads(archive.read(_PROVENANCE)), json.loads(archive.read(_LAYOUT))
        arrays = {
            name: (dims, np.lib.format.read_array(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False))
            for name, dims in layout["dimensions"].items()
        }
    coords = {name: arrays.pop(name) for name in layout["coordinates"]}
    return xarray.Dataset(arrays, coords=coords, attrs=record)


def _values(array: xarray.DataArray) -> NDArray[Any]:
    """The numbers, or texts of a fixed length."""
    values: NDArray[Any] = np.asarray(array.values)
    if values.dtype.kind == "T" or (values.dtype.hasobject and all(isinstance(value, str) for value in values.flat)):
        values = values.astype(str)
    if values.dtype.hasobject:
        kind = type(values.flat[0]).__name__
        raise ValueError(f"dataset[{array.name!r}] holds objects of type {kind}: numbers are needed")
    return values


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


def replace(path: Path, content: bytes) -> None:
    """Write a file in one step: whoever reads it meets the old one or the new one, whole."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


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
