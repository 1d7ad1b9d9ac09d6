"""White noise on the pictures of an ImageNet network: accuracy, sums over the spectrum and activity against its level.

A picture meets the same noise at every level, scaled, so that levels can be compared picture by picture. Noise is in
units of the standard deviation of each colour over ImageNet and is not clipped to the range of pixels.

**To draw it**::

    from deepdynamics.experiments import cnnnoise

    found = cnnnoise.stored()                               # xarray.Dataset
    found.accuracy                                          # (level, picture): shares of draws
    found.sums.sel(depth="logits", sum="squares")           # ‖J‖_F² (image, level)
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
from torch import Tensor

from deepdynamics import results
from deepdynamics.experiments import imagenets
from deepdynamics.networks import generator
from deepdynamics.spectralsums import spectral_sums
from deepdynamics.sweeps import sweep

__all__ = ["DEPTHS", "KEY", "LEVELS", "changed", "store", "stored"]

KEY = "cnn-jacobian.noise"
LEVELS = (0.0, 0.1, 0.2, 0.4, 0.8)
ENDS = (0.0, 0.8)  # for the untrained networks
DEPTHS = ("conv1", "fire9", "logits")
IMAGES, ALL = tuple(range(16)), tuple(range(64))
CHANGES = ("noise", "contrast")
DRAWS = 2
PROBES = 4  # the same at every level


def changed(x: Tensor, change: str, level: float, *, seed: int, draw: int = 0) -> Tensor:
    """A picture x with white noise of the standard deviation ``level``, or with its contrast divided by 1 + level.

    The noise depends on seed and draw alone, so that levels scale it. ValueError for another change.

    >>> bool((changed(torch.zeros(3, 4, 4), "noise", 0.5, seed=0) ==
    ...       0.5 * changed(torch.zeros(3, 4, 4), "noise", 1.0, seed=0)).all())
    True
    """
    if change == "noise":
        return x + level * torch.randn(x.shape, generator=generator(1000 * seed + draw))
    if change == "contrast":
        mean = x.mean((-2, -1), keepdim=True)
        return mean + (x - mean) / (1 + level)
    raise ValueError(f"change = {change!r}: one of {', '.join(CHANGES)} is allowed")


@torch.no_grad()
def _right(level: float) -> NDArray[np.float64]:
    """Share of draws in which each of the pictures is classified right, (pictures,)."""
    pictures, net = imagenets.pictures(), imagenets.trained()
    found = np.empty((DRAWS, len(ALL)))
    for draw in range(DRAWS):
        for image in ALL:
            x = changed(pictures.x[image], "noise", level, seed=image, draw=draw)
            found[draw, image] = float(net(x).argmax() == pictures.labels[image])
        if level == 0:
            found[:] = found[0]
            break
    return found.mean(0)


def _sums_of(image: int, kind: str, level: float) -> NDArray[np.float64]:
    """At each depth Σ s², Σ s⁴, the norm of the state, the share of its units that are not zero: (depths, 4)."""
    x = changed(imagenets.pictures().x[image], "noise", level, seed=image)
    net = imagenets.trained() if kind == "trained" else imagenets.untrained(image)
    rows = []
    for name in DEPTHS:
        f = imagenets.prefix(net, imagenets.DEPTHS[imagenets.NETWORK][name])
        sums, state = spectral_sums(f, x, probes=PROBES, seed=image), f(x)
        rows.append((sums.squares, sums.fourths, float(state.norm()), float((state > 0).double().mean())))
    return np.array(rows)


def store(resume: str | Path, workers: int = 1) -> Path:
    """Compute everything and store it; finished cells are kept in a folder below `resume`."""
    code = results.loaded_code()
    version = hashlib.sha256(json.dumps(code, sort_keys=True).encode()).hexdigest()[:12]
    folder, start = Path(resume) / version, time.perf_counter()
    accuracy = sweep(_right, {"level": LEVELS}, workers=workers, resume=folder / "accuracy")
    grid: dict[str, Any] = {"image": IMAGES, "kind": ("trained",), "level": LEVELS}
    sums = sweep(_sums_of, grid, workers=workers, resume=folder / "sums")
    grid = {"image": IMAGES[::2], "kind": ("untrained",), "level": ENDS}
    untrained = sweep(_sums_of, grid, workers=workers, resume=folder / "sums")
    grid = {"image": ALL, "kind": ("trained",), "level": (0.0,)}
    clean = sweep(_sums_of, grid, workers=workers, resume=folder / "sums")
    arrays = {
        "accuracy": accuracy.values,
        "sums": sums.values[:, 0],
        "untrained": untrained.values[:, 0],
        "clean": clean.values[:, 0, 0],
    }
    parameters = {
        "network": imagenets.NETWORK,
        "levels": LEVELS,
        "probes": PROBES,
        "draws": DRAWS,
        "images": IMAGES,
    }
    provenance = {
        "code": code,
        "data": str(imagenets.pictures().provenance),
        "seconds_since_resumed": round(time.perf_counter() - start),
    }
    return results.save(KEY, arrays, parameters=parameters, seeds=ALL, provenance=provenance)


def stored() -> xarray.Dataset:
    """The stored result, with names for its axes; its provenance is in `.attrs`."""
    arrays, provenance = results.load(KEY)
    parameters: Any = provenance["parameters"]
    quantities = ["squares", "fourths", "norm", "active"]
    return xarray.Dataset(
        {
            "accuracy": (("level", "picture"), arrays["accuracy"]),
            "sums": (("image", "level", "depth", "sum"), arrays["sums"]),
            "untrained": (("untrained_image", "end", "depth", "sum"), arrays["untrained"]),
            "clean": (("picture", "depth", "sum"), arrays["clean"]),
        },
        coords={
            "level": parameters["levels"],
            "end": list(ENDS),
            "picture": list(ALL),
            "image": parameters["images"],
            "untrained_image": parameters["images"][::2],
            "depth": list(DEPTHS),
            "sum": quantities,
        },
        attrs=provenance,
    )
