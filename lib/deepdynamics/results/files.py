"""Stored results as files: written, read, and their checksums."""

import datetime
import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray

from deepdynamics._checks import replace_file
from deepdynamics.results.packing import machine, packed, unpacked
from deepdynamics.results.places import TABLE, check_key, find, folder_to_write

__all__ = ["checksum_table", "load", "save"]

LARGEST = 300_000  # bytes of a stored result


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

    >>> import os, tempfile
    >>> os.environ["DEEPDYNAMICS_RESULTS"] = tempfile.mkdtemp()
    >>> squares = xarray.Dataset({"y": ("x", [1, 4, 9])}, coords={"x": [1, 2, 3]})
    >>> _ = save("example.squares", squares, parameters={"power": 2}, seeds=[0])
    >>> found = load("example.squares")
    >>> int(found.y.sel(x=3)), found.attrs["parameters"]
    (9, {'power': 2})
    >>> del os.environ["DEEPDYNAMICS_RESULTS"]
    """
    check_key(key)
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
    path = folder_to_write() / f"{key}.npz"
    replace_file(path, content)
    table = path.parent.parent.with_name("lib") / TABLE.parent.name / TABLE.name
    if table.is_file():  # in a checkout of the book
        replace_file(table, checksum_table(path.parent).encode())
    return path


def load(key: str) -> xarray.Dataset:
    """A stored result; its `attrs` are the provenance.

    Raises `ResultMissing` where it is not to be had, ValueError for a file that is no result (the file stays).

    >>> found = load("order-chaos.trainability")
    >>> sorted(found.attrs)[:3], found.sizes["seed"]
    (['data', 'date', 'key'], 3)
    """
    path = find(key)
    try:
        return unpacked(path.read_bytes())
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is not a stored result: {error}") from error


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
