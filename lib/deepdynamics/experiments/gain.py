"""Singular values of a hundred layers against the gain: orthogonal and Gaussian weights, width 300, all decades.

Sixteen networks of each kind of weights, each at thirteen gains with the same matrices and the same input of variance
1. Values come from `jacobian.product_singular_values`, which does not multiply out: beyond a gain of 1.5, and with
Gaussian weights at every gain, most of the spectrum lies below the rounding error of the product.

**To draw it**::

    from deepdynamics.experiments import gain

    spectra, summary, provenance = gain.stored()
    spectra.sel(weights="orthogonal", gain=1.05)                # natural logarithms (network, rank), every third rank
    summary.sel(weights="gaussian", quantity="median")          # of all 300 values: (gain, network)

**To check it live** (about 1 s a cell on one thread)::

    gain.log_singular_values("gaussian", 0, (1.05,))[0, ::3]    # the same numbers
"""

import hashlib
import json
import time
from pathlib import Path
from typing import Literal

import numpy as np
import xarray
from numpy.typing import NDArray

from deepdynamics import gainnetworks, jacobian, results
from deepdynamics.sweeps import sweep

__all__ = ["KEY", "gain_sweep", "log_singular_values", "store", "stored", "summaries"]

KEY = "edge-of-chaos.gain"
WIDTH, DEPTH, INPUT_VAR, ACTIVATION, SEED = 300, 100, 1.0, "tanh", 4
GAINS = (0.5, 0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2, 1.3, 1.5, 1.75, 2.0)
NETWORKS = tuple(range(16))
LIVE = {"weights": ("gaussian",), "network": (0,)}
LIVE_GAINS = (1.05,)
QUANTITIES = ("mean_square", "share", "largest", "median")
STEP = 3  # of the ranks that are stored


def gain_sweep(
    scale: Literal["live", "paper"] = "live", *, resume: Path | None = None, workers: int = 1
) -> xarray.DataArray:
    """Natural logarithms of all singular values (weights, network, gain, rank); "live" is one network at one gain."""
    if scale not in ("live", "paper"):
        raise ValueError(f"scale = {scale!r}: 'live' or 'paper' is needed")
    gains: tuple[float, ...]
    if scale == "live":
        found, gains = sweep(_live, LIVE, workers=workers, resume=resume), LIVE_GAINS
    else:
        grid = {"weights": gainnetworks.WEIGHTS, "network": NETWORKS}
        found, gains = sweep(_all, grid, workers=workers, resume=resume), GAINS
    return found.rename(axis_0="gain", axis_1="rank").assign_coords(gain=list(gains), rank=range(1, WIDTH + 1))


def log_singular_values(weights: str, network: int, gains: tuple[float, ...]) -> NDArray[np.float64]:
    """Natural logarithms (gains, width), descending, for one network; `gainnetworks.jacobians` has the same one."""
    matrices, x = gainnetworks.network(
        weights, width=WIDTH, depth=DEPTH, input_var=INPUT_VAR, seed=SEED, number=network
    )
    products = (gainnetworks.factors(matrices, x, gain, ACTIVATION) for gain in gains)
    return np.stack([jacobian.product_singular_values(factors).numpy() for factors in products])


def _all(weights: str, network: int) -> NDArray[np.float64]:
    return log_singular_values(weights, network, GAINS)


def _live(weights: str, network: int) -> NDArray[np.float64]:
    return log_singular_values(weights, network, LIVE_GAINS)


def summaries(logarithms: NDArray[np.float64]) -> NDArray[np.float64]:
    """`QUANTITIES` (…, 4) of the singular values whose natural logarithms (…, n), descending, are given: their mean
    square, their share in [0.1, 10], the largest one and the median.

    >>> summaries(np.log([[4.0, 2.0, 0.05]])).round(2).tolist()
    [[6.67, 0.67, 4.0, 2.0]]
    """
    share = ((logarithms >= np.log(0.1)) & (logarithms <= np.log(10))).mean(-1)
    median = np.exp(np.median(logarithms, axis=-1))
    return np.stack([np.exp(2 * logarithms).mean(-1), share, np.exp(logarithms[..., 0]), median], axis=-1)


def store(resume: str | Path, workers: int = 1) -> Path:
    """Compute the sweep at the scale of the paper and store it; finished cells are kept in a folder below `resume`."""
    code = results.loaded_code()
    version = hashlib.sha256(json.dumps(code, sort_keys=True).encode()).hexdigest()[:12]
    start = time.perf_counter()
    found = gain_sweep("paper", resume=Path(resume) / version, workers=workers).transpose(
        "weights", "gain", "network", "rank"
    )
    arrays = {
        "log_singular_values": found.values[..., ::STEP].astype(np.float32),
        "summary": summaries(found.values),
        "gain": found.gain.values,
        "rank": found["rank"].values[::STEP],
    }
    parameters = {
        "activation": ACTIVATION,
        "width": WIDTH,
        "depth": DEPTH,
        "input_var": INPUT_VAR,
        "weights": list(gainnetworks.WEIGHTS),
        "quantities": list(QUANTITIES),
        "seed": SEED,
    }
    provenance = {"code": code, "seconds_since_resumed": round(time.perf_counter() - start)}
    return results.save(KEY, arrays, parameters=parameters, seeds=NETWORKS, provenance=provenance)


def stored() -> tuple[xarray.DataArray, xarray.DataArray, dict[str, object]]:
    """Natural logarithms (weights, gain, network, rank) of every third singular value; `summaries` (weights, gain,
    network, quantity) of all of them; and the provenance.
    """
    arrays, provenance = results.load(KEY)
    shared = {"weights": list(gainnetworks.WEIGHTS), "gain": arrays["gain"], "network": provenance["seeds"]}
    spectra = xarray.DataArray(
        arrays["log_singular_values"], dims=(*shared, "rank"), coords=shared | {"rank": arrays["rank"]}
    )
    summary = xarray.DataArray(
        arrays["summary"], dims=(*shared, "quantity"), coords=shared | {"quantity": list(QUANTITIES)}
    )
    return spectra, summary, provenance
