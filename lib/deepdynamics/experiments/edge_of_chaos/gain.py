"""Singular values of a hundred layers against the gain: orthogonal and Gaussian weights, width 300, all decades.

Sixteen networks of each kind of weights, each at thirteen gains with the same matrices and the same input of variance
1. Values come from `jacobian.product_singular_values`, which does not multiply out: beyond a gain of 1.5, and with
Gaussian weights at every gain, most of the spectrum lies below the rounding error of the product.

**To draw it**::

    found = results.load("edge-of-chaos.gain")
    found.log_singular_values.sel(weights="orthogonal", gain=1.05)    # natural (network, rank), every third rank
    found.summary.sel(weights="gaussian", quantity="median")          # of all 300 values: (gain, network)

**To compute a cell** (about 1 s on one thread)::

    gain.cell("gaussian", 1.05, 0)["log_singular_values"]             # the same numbers
"""

import numpy as np
from numpy.typing import NDArray

from deepdynamics import jacobian
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.meanfield import gain as gainnetworks

__all__ = ["KEY", "cell", "checks", "grid", "log_singular_values", "summaries"]

KEY = "edge-of-chaos.gain"
WIDTH, DEPTH, INPUT_VAR, ACTIVATION, SEED = 300, 100, 1.0, "tanh", 4
GAINS = (0.5, 0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2, 1.3, 1.5, 1.75, 2.0)
NETWORKS = tuple(range(16))
QUANTITIES = ("mean_square", "share", "largest", "median")
RANKS = tuple(range(1, WIDTH + 1, 3))  # that are stored
SEEDS = NETWORKS
DIMENSIONS = {
    "log_singular_values": ("weights", "gain", "network", "rank"),
    "summary": ("weights", "gain", "network", "quantity"),
}
COORDINATES = {
    "weights": gainnetworks.WEIGHTS,
    "gain": GAINS,
    "network": NETWORKS,
    "rank": RANKS,
    "quantity": QUANTITIES,
}
PARAMETERS = {
    "activation": ACTIVATION,
    "width": WIDTH,
    "depth": DEPTH,
    "input_var": INPUT_VAR,
    "weights": list(gainnetworks.WEIGHTS),
    "quantities": list(QUANTITIES),
    "seed": SEED,
}
NEEDS = ()
checks = (
    {"weights": "gaussian", "gain": 1.05, "network": 0},
    {"weights": "gaussian", "gain": 2.0, "network": 15},
    {"weights": "orthogonal", "gain": 0.5, "network": 7},
    {"weights": "orthogonal", "gain": 1.5, "network": 3},
)
# A hundred layers of a chaotic network amplify the rounding of another machine's products.
tolerance = {"log_singular_values": (0.0, 1e-3), "summary": (1e-3, 1e-9)}


def grid(scale: str) -> list[Point]:
    """One network at one gain, or sixteen of each kind of weights at all gains."""
    live = points(weights=("gaussian",), gain=(1.05,), network=(0,))
    return at_scale(scale, live=live, paper=points(weights=gainnetworks.WEIGHTS, gain=GAINS, network=NETWORKS))


def cell(weights: str, gain: float, network: int) -> dict[str, NDArray[np.float64] | NDArray[np.float32]]:
    """Natural logarithms (rank,) of every third singular value of a network, and `summaries` of all of them."""
    logarithms = log_singular_values(weights, network, (gain,))[0]
    kept = logarithms[[rank - 1 for rank in RANKS]].astype(np.float32)
    return {"log_singular_values": kept, "summary": summaries(logarithms)}


def sources() -> None:
    """No data: inputs are drawn."""


def log_singular_values(weights: str, network: int, gains: tuple[float, ...]) -> NDArray[np.float64]:
    """Natural logarithms (gains, width), descending, for one network; `meanfield.gain.jacobians` has the same one."""
    matrices, x = gainnetworks.network(
        weights, width=WIDTH, depth=DEPTH, input_var=INPUT_VAR, seed=SEED, number=network
    )
    products = (gainnetworks.factors(matrices, x, gain, ACTIVATION) for gain in gains)
    return np.stack([jacobian.product_singular_values(factors).numpy() for factors in products])


def summaries(logarithms: NDArray[np.float64]) -> NDArray[np.float64]:
    """`QUANTITIES` (…, 4) of the singular values whose natural logarithms (…, n), descending, are given: their mean
    square, their share in [0.1, 10], the largest one and the median.

    >>> summaries(np.log([[4.0, 2.0, 0.05]])).round(2).tolist()
    [[6.67, 0.67, 4.0, 2.0]]
    """
    share = ((logarithms >= np.log(0.1)) & (logarithms <= np.log(10))).mean(-1)
    median = np.exp(np.median(logarithms, axis=-1))
    return np.stack([np.exp(2 * logarithms).mean(-1), share, np.exp(logarithms[..., 0]), median], axis=-1)
