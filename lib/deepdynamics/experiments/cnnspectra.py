"""The Jacobian of an ImageNet network, from the picture to five depths: leading singular values and vectors, where the
vectors are in the picture, how much of known tangents they hold, and finite steps along them. Trained and untrained.

Each picture has an untrained network of its own. Triplets are those of `jacobian.top_singular`, certified by their
residuals.

**To draw it**::

    from deepdynamics.experiments import cnnspectra

    found = cnnspectra.stored()                        # xarray.Dataset, dims image, kind, depth, rank, …
    found.s.sel(kind="trained", depth="fire9")         # singular values (image, rank)
    energies, signed = cnnspectra.stored_pictures()    # the vectors as small pictures

**To check it live** (some 20 s on one thread)::

    cnnspectra.leading("trained", 0, "logits", 5).s    # the same numbers, to the tolerance of both
"""

import hashlib
import itertools
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from deepdynamics import jacobian, results
from deepdynamics.blocklanczos import TopSingular
from deepdynamics.experiments import imagenets
from deepdynamics.experiments.cnngains import TANGENTS, tangents_of
from deepdynamics.perturbations import band_noise, span_noise
from deepdynamics.spectra import cumulative_shares
from deepdynamics.sweeps import sweep

__all__ = ["COUNT", "DIRECTIONS", "KEY", "LEVELS", "PICTURES", "SHOWN", "leading", "store", "stored", "stored_pictures"]

KEY, PICTURES = "cnn-jacobian.spectra", "cnn-jacobian.pictures"
NETS = ("trained", "untrained")
COUNT = 200  # singular triplets
BLOCK = {"conv1": 16}  # random vectors to start with: more where the spectrum is flat; 4 elsewhere
IMAGES, FEW = tuple(range(16)), tuple(range(8))  # all of them for the logits of the trained network, few elsewhere
TOLERANCE = 3e-4
DRAWS = 4
DIRECTIONS = ("first", "leading", "trailing", "random")
LEVELS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)  # root mean square over the entries of the picture
WALKED = ("fire9", "logits")  # depths along whose singular directions finite steps are made
SHOWN = (1, 2, 5, 10, 20, 50, 100, 200)  # ranks whose energy is stored as a picture
SIDE = 56  # pixels of a stored picture
SIGNED_IMAGES = (0, 1, 2, 3)

_FIELDS: dict[str, tuple[int, ...]] = {
    "s": (COUNT,),
    "participation": (COUNT,),
    "radius": (COUNT,),
    "run": (3,),  # largest residual, products, seconds
    "shares": (2, len(TANGENTS), COUNT),
    "walk_gains": (len(DIRECTIONS), len(LEVELS)),
    "walk_right": (len(DIRECTIONS), len(LEVELS)),
    "energy": (len(SHOWN), SIDE, SIDE),
    "signed": (2, 3, SIDE, SIDE),
}
_DIMS = {
    "s": ("rank",),
    "participation": ("rank",),
    "radius": ("rank",),
    "run": ("what",),
    "shares": ("whose", "tangent", "shown"),
    "walk_gains": ("direction", "level"),
    "walk_right": ("direction", "level"),
}


def leading(kind: str, image: int, depth: str, k: int, *, tol: float = TOLERANCE) -> TopSingular:
    """The k leading singular triplets of the Jacobian from picture number ``image`` to the depth."""
    f, x = _map(kind, image, depth), imagenets.pictures().x[image]
    return jacobian.top_singular(f, x, k, tol=tol, seed=image, block=BLOCK.get(depth, 4))


def _map(kind: str, image: int, depth: str) -> nn.Sequential:
    net = imagenets.trained() if kind == "trained" else imagenets.untrained(image)
    return imagenets.prefix(net, imagenets.DEPTHS[imagenets.NETWORK][depth])


def _triplets_of(depth: str, image: int, kind: str) -> NDArray[np.float32]:
    """Everything that is looked at while the singular vectors are there, as one flat array (`_FIELDS`)."""
    start = time.process_time()
    found = leading(kind, image, depth, COUNT)
    values: dict[str, Any] = {
        "s": found.s,
        "run": (float(found.residuals.max()), found.products, time.process_time() - start),
    }
    shape = tuple(imagenets.pictures().x[image].shape)
    local = jacobian.localisation(found.V, shape)
    values |= {"participation": local.inverse_participation, "radius": local.radius}
    tangents = torch.cat((tangents_of(image), tangents_of((image + 8) % 16)))
    values["shares"] = cumulative_shares(found.V, tangents.flatten(1).T).view(2, len(TANGENTS), -1)
    if kind == "trained" and depth in WALKED:
        values["walk_gains"], values["walk_right"] = _walk(found.V, image, depth)
    ranks = [rank - 1 for rank in SHOWN]
    columns = found.V.T.reshape(-1, *shape)
    values["energy"] = functional.adaptive_avg_pool2d(columns[ranks].square().sum(1), SIDE)
    values["signed"] = functional.adaptive_avg_pool2d(columns[[0, -1]], SIDE)
    return _packed(values)


@torch.no_grad()
def _walk(V: Tensor, image: int, depth: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Finite steps along `DIRECTIONS`: ‖Δx^l‖/‖δ‖ (root mean square over draws), and the share of steps after which the
    picture is still classified right; each (directions, levels).
    """
    pictures, net, f = imagenets.pictures(), imagenets.trained(), _map("trained", image, depth)
    x = pictures.x[image]
    deltas = {
        "first": torch.stack((V[:, 0], -V[:, 0])),
        "leading": span_noise(V[:, :10], DRAWS, seed=image),
        "trailing": span_noise(V[:, -10:], DRAWS, seed=image),
        "random": band_noise(tuple(x.shape), 0, math.inf, DRAWS, seed=image).flatten(1),
    }
    start = f(x)
    gains, right = np.empty((2, len(DIRECTIONS), len(LEVELS)))
    for i, name in enumerate(DIRECTIONS):
        for j, level in enumerate(LEVELS):
            length = level * math.sqrt(x.numel())
            moved = x + length * deltas[name].view(-1, *x.shape)
            change = (f(moved) - start).flatten(1).norm(dim=1) / length
            gains[i, j] = float(change.square().mean().sqrt())
            right[i, j] = float((net(moved).argmax(1) == pictures.labels[image]).double().mean())
    return gains, right


def _packed(values: dict[str, Any]) -> NDArray[np.float32]:
    parts = []
    for name, shape in _FIELDS.items():
        part = np.full(shape, np.nan, dtype=np.float32)
        if name in values:
            given = np.asarray(values[name], dtype=np.float32)
            part[tuple(slice(size) for size in given.shape)] = given
        parts.append(part.ravel())
    return np.concatenate(parts)


def _unpacked(flat: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Fields (…, *shape) of flat arrays (…, sum of sizes)."""
    fields, start = {}, 0
    for name, shape in _FIELDS.items():
        stop = start + math.prod(shape)
        fields[name] = flat[..., start:stop].reshape(*flat.shape[:-1], *shape)
        start = stop
    return fields


# Storing -------------------------------------------------------------------------------------------------------------


def store(resume: str | Path, workers: int = 1) -> Path:
    """Compute everything and store it as two results; finished cells are kept in a folder below `resume`.

    The depths with the most to say come first, so that an interrupted run leaves some of them complete.
    """
    code = results.loaded_code()
    version = hashlib.sha256(json.dumps(code, sort_keys=True).encode()).hexdigest()[:12]
    depths = imagenets.DEPTHS[imagenets.NETWORK]
    order = sorted(depths, key=lambda name: (name not in WALKED, -depths[name]))
    fields = {name: np.full((len(IMAGES), len(NETS), len(depths), *shape), np.nan) for name, shape in _FIELDS.items()}
    for first, images, kinds in ((["logits"], IMAGES, ["trained"]), (order, FEW, NETS)):
        grid: dict[str, Any] = {"depth": first, "image": images, "kind": kinds}
        cells = sweep(_triplets_of, grid, workers=workers, resume=Path(resume) / version)
        for depth, image, kind in itertools.product(*grid.values()):
            found = _unpacked(cells.sel(depth=depth, image=image, kind=kind).values)
            for name, values in found.items():
                fields[name][image, NETS.index(kind), list(depths).index(depth)] = values
    parameters = {
        "network": imagenets.NETWORK,
        "depths": depths,
        "triplets": COUNT,
        "tolerance": TOLERANCE,
        "draws": DRAWS,
    }
    provenance = {
        "code": code,
        "data": str(imagenets.pictures().provenance),
        "largest_residual": float(np.nanmax(fields["run"][..., 0])),
        "products": int(np.nansum(fields["run"][..., 1])),
        "seconds_of_the_triplets": round(float(np.nansum(fields["run"][..., 2]))),
    }
    energies, signed = _drawable(fields)
    shared: dict[str, Any] = {"parameters": parameters, "seeds": IMAGES, "provenance": provenance}
    results.save(PICTURES, {"energy": energies, "signed": signed}, **shared)
    arrays = {name: fields[name].astype(np.float32) for name in _DIMS}
    arrays["shares"] = arrays["shares"][..., [rank - 1 for rank in SHOWN]]
    return results.save(KEY, arrays, **shared)


def _drawable(fields: dict[str, NDArray[Any]]) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """Square roots of energies of the first picture (kind, depth, shown, SIDE, SIDE), and signed pictures of the first
    and the last vector (image, depth of `WALKED`, 2, 3, SIDE, SIDE), each scaled to its own largest value.
    """
    amplitude = np.sqrt(np.nan_to_num(fields["energy"][0]))
    scaled = 255 * amplitude / np.maximum(amplitude.max((-2, -1), keepdims=True), 1e-30)
    depths = list(imagenets.DEPTHS[imagenets.NETWORK])
    chosen = fields["signed"][list(SIGNED_IMAGES), 0][:, [depths.index(name) for name in WALKED]]
    signed = 127 * chosen / np.abs(chosen).max((-3, -2, -1), keepdims=True)
    return scaled.round().astype(np.uint8), signed.round().astype(np.int8)


def stored() -> xarray.Dataset:
    """The stored result, with names for its axes, NaN where nothing was computed; its provenance is in `.attrs`."""
    arrays, provenance = results.load(KEY)
    parameters: Any = provenance["parameters"]
    coords: dict[str, Any] = {
        "image": provenance["seeds"],
        "kind": list(NETS),
        "depth": list(parameters["depths"]),
        "rank": range(1, arrays["s"].shape[-1] + 1),
        "shown": list(SHOWN),
        "what": ["residual", "products", "seconds"],
        "whose": ["own", "other"],
        "tangent": list(TANGENTS),
        "direction": list(DIRECTIONS),
        "level": list(LEVELS),
    }
    variables = {name: (("image", "kind", "depth", *dims), arrays[name]) for name, dims in _DIMS.items()}
    return xarray.Dataset(variables, coords=coords, attrs=provenance)


def stored_pictures() -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """Square roots of the energies (kind, depth, shown, SIDE, SIDE) of the first picture's vectors, and signed pictures
    (image of `SIGNED_IMAGES`, depth of `WALKED`, first and last, 3, SIDE, SIDE); each scaled to its own largest value.
    """
    arrays, _ = results.load(PICTURES)
    return arrays["energy"], arrays["signed"]
