r"""How far a picture is concentrated: participation and radius of the energy of singular vectors over the pixels.

P(r) is the share of pixel r in the energy of a vector, channels summed, Σ_r P = 1, over n = H·W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from deepdynamics._checks import Numbers, tensor


@dataclass(frozen=True)
class Localisation:
    """One value per column: inverse_participation = 1/(n Σ P²) in (0, 1], radius = √ΣP|r - r̄|² in pixels,
    effective_area = 1/Σ P² in pixels. Unpacks in this order.

    >>> participation, radius, area = Localisation(torch.ones(1), torch.zeros(1), torch.ones(1))
    >>> area
    tensor([1.])
    """

    inverse_participation: Tensor
    radius: Tensor
    effective_area: Tensor

    def __iter__(self) -> Iterator[Tensor]:
        return (getattr(self, field.name) for field in fields(self))


def localisation(V: Numbers, image_shape: Sequence[int]) -> Localisation:
    """Participation ratio, radius and effective area of the columns of ``V`` (C·H·W, count), pictures of the shape
    ``image_shape``, (H, W) or (C, H, W).

    A single pixel has participation 1/n, radius 0 and area 1; a constant picture 1, √((H² + W² - 2)/12) and n; white
    noise in one channel 1/3 (the kurtosis of a Gaussian) and, in C channels, C/(C + 2). A Gaussian of standard
    deviation σ in amplitude has the effective area 2πσ² and the radius σ. r̄ is the mean of the energy, r counts rows
    and columns. Summed in float64; returned in the type and on the device of ``V``.

    Raises ``ValueError`` for a ``V`` that is not a matrix of finite floating point numbers or has a column of zeros,
    and an ``image_shape`` that does not fit its rows.

    >>> pixel = torch.zeros(12, 1)
    >>> pixel[5] = 2.0
    >>> participation, radius, area = localisation(pixel, (3, 4))
    >>> participation, radius, area
    (tensor([0.0833]), tensor([0.]), tensor([1.]))
    """
    shape = tuple(image_shape)
    if len(shape) not in (2, 3) or any(isinstance(size, bool) or int(size) != size or size < 1 for size in shape):
        raise ValueError(f"image_shape = {shape}: (height, width) or (channels, height, width) is allowed")
    rows = int(torch.tensor(shape).prod())
    V = tensor("V", V)
    if V.ndim != 2 or V.shape[0] != rows or not V.is_floating_point():
        raise ValueError(
            f"V of shape {tuple(V.shape)} and type {V.dtype}: a floating point matrix with {rows} rows, as many as "
            f"{shape} holds, is allowed"
        )
    if not torch.isfinite(V).all():
        raise ValueError(f"V of shape {tuple(V.shape)} has entries that are not finite: finite ones are allowed")
    height, width = shape[-2:]
    amplitude = V.double() / V.abs().amax(dim=0).clamp(min=torch.finfo(V.dtype).tiny).double()
    energy = amplitude.square().reshape(-1, height, width, V.shape[1]).sum(dim=0)
    total = energy.sum(dim=(0, 1))
    if not (total > 0).all():
        raise ValueError(f"V: column {int((total == 0).nonzero()[0])} is zero; a picture needs energy")
    share = energy / total
    area = 1 / share.square().sum(dim=(0, 1))
    spread = torch.zeros_like(area)
    for axis, size in enumerate((height, width)):
        along = share.sum(dim=1 - axis)
        place = torch.arange(size, dtype=torch.float64, device=V.device)[:, None]
        mean = (along * place).sum(dim=0)
        spread += (along * (place - mean).square()).sum(dim=0)
    return Localisation(*(value.to(V.dtype) for value in (area / (height * width), spread.sqrt(), area)))
