"""What is in a file of a stored result: an npz file with the layout and the provenance as further members.

The same content gives the same bytes.
"""

import hashlib
import importlib.metadata
import io
import json
import os
import platform
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray
from numpy.typing import NDArray

__all__ = ["json_text", "machine", "numbers_digest", "packed", "unpacked"]

_PROVENANCE, _LAYOUT = "provenance.json", "layout.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date a zip file can hold


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
    """An npz file with the layout and the provenance as further members; the same content gives the same bytes.

    Raises ValueError for something that is no Dataset or an empty one, a dimension without coordinate, an array of
    objects.

    >>> squares = xarray.Dataset({"y": ("x", [1, 4, 9])}, coords={"x": [1, 2, 3]})
    >>> found = unpacked(packed(squares, {"power": 2}))
    >>> int(found.y.sel(x=3)), found.attrs
    (9, {'power': 2})
    """
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
            archive.writestr(_entry(name), json_text(value))
    return buffer.getvalue()


def unpacked(content: bytes) -> xarray.Dataset:
    """What `packed` packed; the record is in `.attrs`.

    >>> unpacked(packed(xarray.Dataset({"y": 3.0}), {})).y.item()
    3.0
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        record, layout = json.loads(archive.read(_PROVENANCE)), json.loads(archive.read(_LAYOUT))
        arrays = {
            name: (dims, np.lib.format.read_array(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False))
            for name, dims in layout["dimensions"].items()
        }
    coords = {name: arrays.pop(name) for name in layout["coordinates"]}
    return xarray.Dataset(arrays, coords=coords, attrs=record)


def numbers_digest(dataset: xarray.Dataset) -> str:
    """Digest of everything but the provenance: names, dimensions, coordinates, types, numbers.

    >>> numbers_digest(xarray.Dataset({"y": ("x", [1, 4])}, coords={"x": [1, 2]}))
    '49259a1731a430d5'
    """
    found = hashlib.sha256()
    for name in sorted(map(str, dataset.variables)):
        array = np.ascontiguousarray(_values(dataset[name]))
        found.update(repr((name, dataset[name].dims, array.dtype.str, array.shape)).encode() + array.tobytes())
    return found.hexdigest()[:16]


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


def json_text(value: Mapping[str, Any]) -> str:
    """A mapping as json that people can read; numpy's numbers and arrays, and dataclasses, as lists and mappings.

    >>> json_text({"width": np.int64(7)})
    '{\\n "width": 7\\n}'
    """
    return json.dumps(value, indent=1, sort_keys=True, default=_plain, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """What json does not know: numpy's numbers and arrays, and dataclasses by their fields."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if hasattr(value, "__dataclass_fields__"):
        return {name: getattr(value, name) for name in value.__dataclass_fields__}
    raise ValueError(f"provenance cannot hold {value!r}: numbers, texts, lists and mappings are needed")
