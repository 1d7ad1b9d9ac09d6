"""What the small CNNs of `small` pass on of noise, band by band of spatial frequency, before and after training:
twenty networks on digits and twelve on photographs, none of them among those of `small`.

**To draw it**::

    found = results.load("cnn-jacobian.smallbands")
    found.log_gains.sel(data="mnist", state="trained")   # log of the gain at layer 5 over white noise (network, band)
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepdynamics import data as datasets
from deepdynamics import jacobian
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.experiments.cnn_jacobian import small

__all__ = ["BANDS", "KEY", "band_gains", "cell", "checks", "grid"]

KEY = "cnn-jacobian.smallbands"
NETWORKS = tuple(range(8, 28))
OF_EACH = {"mnist": NETWORKS, "cifar-100": NETWORKS[:12]}
BANDS = ((0, 0.5), (0.5, 2), (2, 4), (4, 8), (8, 14))  # cycles a picture; the first is a uniform brightness
LAYER, IMAGES = 5, 16
DIMENSIONS = {"log_gains": ("data", "network", "state", "band")}
COORDINATES = {
    "data": small.DATA,
    "network": NETWORKS,
    "state": small.STATES,
    "band": tuple(f"{low:g} to {high:g}" for low, high in BANDS),
}
PARAMETERS = {
    "bands": BANDS,
    "layer": LAYER,
    "images": IMAGES,
    "networks": small.PARAMETERS,
    "of_each": {name: len(each) for name, each in OF_EACH.items()},
}
SEEDS, NEEDS = NETWORKS, small.NEEDS
checks = ({"data": "mnist", "network": 8, "state": "untrained"}, {"data": "mnist", "network": 8, "state": "trained"})
tolerance = {"log_gains": (0.1, 0.05)}  # training amplifies the rounding of another machine


def grid(scale: str) -> list[Point]:
    """One untrained network, or all of both data sets before and after training."""
    live = points(data=("mnist",), network=(8,), state=("untrained",))
    paper = [points(data=(name,), network=numbers, state=small.STATES) for name, numbers in OF_EACH.items()]
    return at_scale(scale, live=live, paper=[point for of_data in paper for point in of_data])


def cell(data: str, network: int, state: str) -> dict[str, NDArray[np.float64]]:
    """Mean over images of the logarithm of the gain of each band over that of white noise."""
    net, images = small.network_of(data, network, trained=state == "trained"), small.pictures(data).measured[:IMAGES]
    rows = [band_gains(jacobian.cumulative_jacobian(net.layers[:LAYER], x), tuple(x.shape[-2:])) for x in images]
    return {"log_gains": np.log(rows).mean(0)}


def sources() -> dict[str, datasets.Provenance]:
    """Where the images come from."""
    return small.sources()


def band_gains(J: Tensor, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Root mean square gain of noise in each of `BANDS` over that of white noise, for a matrix J (outputs, H·W): exact,
    from the spectrum of its rows.
    """
    power = torch.fft.fft2(J.double().reshape(-1, *shape)).abs().square().sum(0)
    rows, columns = (torch.fft.fftfreq(size, d=1 / size, dtype=torch.float64) for size in shape)
    radius = torch.hypot(rows[:, None], columns[None, :])
    means = [float(power[(radius >= low) & (radius < high)].mean()) for low, high in BANDS]
    return np.sqrt(np.array(means) / float(power.mean()))
