"""What of the Jacobian of an ImageNet network needs no decomposition: sums over the whole spectrum at every layer, and
the gain of known directions. Trained and untrained; each picture has an untrained network of its own.

**To draw it**::

    from deepdynamics.experiments import cnngains

    found = cnngains.stored()                                       # xarray.Dataset
    found.sums.sel(kind="trained", sum="squares")                   # ‖J‖_F² (image, layer)
    found.gains.sel(direction="brightness", kind="untrained")       # ‖J v‖/‖v‖ (image, layer)
"""

import hashlib
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray
from numpy.typing import NDArray
from torch import Tensor

from deepdynamics import results
from deepdynamics.experiments import imagenets
from deepdynamics.perturbations import band_noise, patch_noise
from deepdynamics.spectralsums import spectral_sums
from deepdynamics.sweeps import sweep
from deepdynamics.tangents import KINDS, known_tangents, nearest_difference

__all__ = ["BANDS", "DIRECTIONS", "KEY", "PATCHES", "TANGENTS", "gains_of", "store", "stored", "sums_of", "tangents_of"]

KEY = "cnn-jacobian.gains"
NETS = ("trained", "untrained")
IMAGES = tuple(range(16))
PROBES, DRAWS = 4, 2
TANGENTS = (*KINDS, "nearest picture")
BANDS = ((0, 0.5), (0.5, 4), (4, 8), (8, 16), (16, 32), (32, 64), (64, 112))  # cycles a picture
PATCHES = (7, 28, 112)  # pixels a side
DIRECTIONS = (
    "white",
    *TANGENTS,
    *(f"{low:g} to {high:g} cycles" for low, high in BANDS),
    *(f"patch of {size}" for size in PATCHES),
)


def tangents_of(image: int) -> Tensor:
    """`TANGENTS` of a picture, (7, 3, H, W); the nearest picture is that of all the others."""
    x = imagenets.pictures().x
    others = torch.cat((x[:image], x[image + 1 :]))
    return torch.cat((known_tangents(x[image]), nearest_difference(x[image], others)[None]))


def gains_of(image: int, kind: str) -> NDArray[np.float64]:
    """‖J_{0→l} v‖/‖v‖ for the `DIRECTIONS`, root mean square over draws where they are random: (layers, directions)."""
    x, net = imagenets.pictures().x[image], _net(image, kind)
    shape = tuple(x.shape)
    groups = [band_noise(shape, 0, math.inf, 3 * DRAWS, seed=image)]
    groups += [tangent[None] for tangent in tangents_of(image)]
    groups += [band_noise(shape, low, high, DRAWS, seed=image) for low, high in BANDS]
    groups += [patch_noise(shape, size, 3 * DRAWS, seed=image) for size in PATCHES]
    columns = [_all_layers(net, x, group / group.flatten(1).norm(dim=1)[:, None, None, None]) for group in groups]
    return np.stack(columns, axis=1)


def _all_layers(net: torch.nn.Module, x: Tensor, vectors: Tensor) -> NDArray[np.float64]:
    """Root mean square over unit vectors of the norm to which each layer carries them, in one forward sweep."""
    found = []
    for layer in net.layers:  # type: ignore[union-attr]
        push = torch.func.vmap(lambda v, f=layer, at=x: torch.func.jvp(f, (at,), (v,))[1])
        x, vectors = layer(x), push(vectors)
        found.append(float(vectors.double().flatten(1).square().sum(1).mean().sqrt()))
    return np.array(found)


def sums_of(image: int, kind: str, layer: int) -> NDArray[np.float64]:
    """Σ s² and Σ s⁴ of the Jacobian to a layer, and their standard errors."""
    f = imagenets.prefix(_net(image, kind), layer)
    return np.array(tuple(spectral_sums(f, imagenets.pictures().x[image], probes=PROBES, seed=image)))


def _net(image: int, kind: str) -> Any:
    return imagenets.trained() if kind == "trained" else imagenets.untrained(image)


def store(resume: str | Path, workers: int = 1) -> Path:
    """Compute everything and store it; finished cells are kept in a folder below `resume`."""
    code = results.loaded_code()
    version = hashlib.sha256(json.dumps(code, sort_keys=True).encode()).hexdigest()[:12]
    folder, start = Path(resume) / version, time.perf_counter()
    layers = range(1, len(imagenets.trained().layers) + 1)
    grid: dict[str, Any] = {"image": IMAGES, "kind": NETS}
    gains = sweep(gains_of, grid, workers=workers, resume=folder / "gains")
    sums = sweep(sums_of, grid | {"layer": layers}, workers=workers, resume=folder / "sums")
    parameters = {"network": imagenets.NETWORK, "probes": PROBES, "draws": DRAWS, "bands": BANDS, "patches": PATCHES}
    provenance = {
        "code": code,
        "data": str(imagenets.pictures().provenance),
        "seconds_since_resumed": round(time.perf_counter() - start),
    }
    arrays = {"gains": gains.values, "sums": sums.values}
    return results.save(KEY, arrays, parameters=parameters, seeds=IMAGES, provenance=provenance)


def stored() -> xarray.Dataset:
    """The stored result, with names for its axes; its provenance is in `.attrs`."""
    arrays, provenance = results.load(KEY)
    return xarray.Dataset(
        {
            "gains": (("image", "kind", "layer", "direction"), arrays["gains"]),
            "sums": (("image", "kind", "layer", "sum"), arrays["sums"]),
        },
        coords={
            "image": provenance["seeds"],
            "kind": list(NETS),
            "layer": range(1, arrays["sums"].shape[2] + 1),
            "direction": list(DIRECTIONS),
            "sum": ["squares", "fourths", "squares_error", "fourths_error"],
        },
        attrs=provenance,
    )
