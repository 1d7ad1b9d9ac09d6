"""The whole spectrum of the logits of an ImageNet network: all singular values of a Jacobian with a thousand rows, for
the trained network, for untrained ones, and for the trained one on noisy pictures.

A thousand products with the transpose give the rows of J, and J Jᵀ the squares of its singular values: right to 1e-3 of
the largest, where the rounding of float32 begins.

**To draw it**::

    from deepdynamics.experiments import cnnlogits

    found = cnnlogits.stored()                    # xarray.DataArray, dims image, kind, rank
    found.sel(kind="trained").mean("image")       # singular values

**To check it live** (half a minute on one thread)::

    cnnlogits.spectrum_of(0, "trained")           # the same numbers
"""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray
from numpy.typing import NDArray

from deepdynamics import results
from deepdynamics.experiments import imagenets
from deepdynamics.experiments.cnnnoise import changed
from deepdynamics.linearised import linearised
from deepdynamics.orthonormal import inner
from deepdynamics.sweeps import sweep

__all__ = ["KEY", "KINDS", "spectrum_of", "store", "stored"]

KEY = "cnn-jacobian.logits"
KINDS = ("trained", "untrained", "noisy")  # the last: trained, on pictures with white noise of the standard deviation
LEVEL = 0.8
IMAGES = tuple(range(16))


@torch.no_grad()
def spectrum_of(image: int, kind: str) -> NDArray[np.float32]:
    """Singular values (1000,), descending, of the Jacobian of the logits at a picture."""
    x = imagenets.pictures().x[image]
    net = imagenets.untrained(image) if kind == "untrained" else imagenets.trained()
    point = linearised(net, changed(x, "noise", LEVEL, seed=image) if kind == "noisy" else x)
    rows = torch.cat([point.adjoint(part).flatten(1) for part in torch.eye(point.value.numel()).split(4)])
    squares = torch.linalg.eigvalsh(inner(rows, rows)).flip(0)
    return squares.clamp(min=0).sqrt().float().numpy()


def store(resume: str | Path, workers: int = 1) -> Path:
    """Compute everything and store it; finished cells are kept in a folder below `resume`."""
    code = results.loaded_code()
    version = hashlib.sha256(json.dumps(code, sort_keys=True).encode()).hexdigest()[:12]
    start = time.perf_counter()
    grid: dict[str, Any] = {"image": IMAGES, "kind": KINDS}
    s = sweep(spectrum_of, grid, workers=workers, resume=Path(resume) / version).values
    provenance = {
        "code": code,
        "data": str(imagenets.pictures().provenance),
        "seconds_since_resumed": round(time.perf_counter() - start),
    }
    parameters = {"network": imagenets.NETWORK, "kinds": KINDS, "level": LEVEL}
    return results.save(KEY, {"s": s}, parameters=parameters, seeds=IMAGES, provenance=provenance)


def stored() -> xarray.DataArray:
    """The stored singular values (image, kind, rank); their provenance is in `.attrs`."""
    arrays, provenance = results.load(KEY)
    ranks = range(1, arrays["s"].shape[-1] + 1)
    coords = {"image": provenance["seeds"], "kind": list(KINDS), "rank": ranks}
    return xarray.DataArray(arrays["s"], dims=list(coords), coords=coords, attrs=provenance)
