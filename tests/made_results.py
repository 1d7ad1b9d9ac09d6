"""Small results, made for the tests."""

from pathlib import Path

import numpy as np
import xarray
from deepdynamics.results import save

KEY = "chapter.subject"
ROOT = Path(__file__).resolve().parents[1]


def labelled(**given) -> xarray.Dataset:
    """Arrays whose dimensions are named after them and numbered."""
    found = {name: np.asarray(value) for name, value in given.items()}
    dims = {name: [f"{name}_{k}" for k in range(array.ndim)] for name, array in found.items()}
    coords = {dim: range(n) for name, array in found.items() for dim, n in zip(dims[name], array.shape, strict=True)}
    return xarray.Dataset({name: (dims[name], array) for name, array in found.items()}, coords=coords)


def store(array=None, **more):
    given = labelled(x=np.arange(3.0) if array is None else array)
    return save(KEY, given, parameters={"width": 7}, seeds=[1, 2], **more)
