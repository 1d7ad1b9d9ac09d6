"""Directions in which a picture can be changed and stay the same thing: the derivatives of shifts, rotation, dilation,
brightness and contrast, the difference to the nearest other picture, and how much of a direction lies in a subspace.

If a network has found the manifold on which its data lie, these are vectors of its tangent space that are known without
the network.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from deepdynamics.arrays import Numbers, tensor

__all__ = ["KINDS", "RandomShare", "known_tangents", "nearest_difference", "random_share"]

KINDS = ("shift right", "shift down", "rotation", "dilation", "brightness", "contrast")


def known_tangents(images: Numbers) -> Tensor:
    r"""The tangents (…, 6, C, H, W) of images I (…, C, H, W), in the order of ``KINDS``; not normalised.

    With r and c the pixel's row and column from the centre, and ∂ central differences (one-sided at the border),

    .. math:: -\partial_c I, \quad -\partial_r I, \quad r\,\partial_c I - c\,\partial_r I, \quad
        -(r\,\partial_r + c\,\partial_c) I, \quad 1, \quad I - \bar I,

    the derivatives by a shift in pixels, an angle (turning a column into a row) in radians, the logarithm of a scale,
    an added constant, and the logarithm of the contrast; the mean is that of each channel. Simard et al. (1998) call
    the first four tangent vectors. Raises ``ValueError`` for anything but a finite floating (C, H, W) with H, W >= 2.

    >>> image = torch.arange(4.0).expand(1, 3, 4)
    >>> known_tangents(image)[0].unique(), known_tangents(image)[4].unique()
    (tensor([-1.]), tensor([1.]))
    """
    images = tensor("images", images)
    shape = images.shape
    if len(shape) < 3 or min(shape[-2:]) < 2 or not images.is_floating_point() or not torch.isfinite(images).all():
        raise ValueError(
            f"images of shape {tuple(shape)} and type {images.dtype}: finite floating (…, channels, height, width), "
            "at least 2 × 2, are allowed"
        )
    by_row, by_column = torch.gradient(images, dim=(-2, -1))
    r = torch.arange(shape[-2], dtype=images.dtype, device=images.device)[:, None] - (shape[-2] - 1) / 2
    c = torch.arange(shape[-1], dtype=images.dtype, device=images.device) - (shape[-1] - 1) / 2
    geometric = (-by_column, -by_row, r * by_column - c * by_row, -(r * by_row + c * by_column))
    contrast = images - images.mean((-2, -1), keepdim=True)
    return torch.stack((*geometric, torch.ones_like(images), contrast), dim=-4)


def nearest_difference(image: Numbers, others: Numbers) -> Tensor:
    """From an image to the nearest of ``others`` (m, *image.shape) in the Euclidean distance: their difference.

    Raises ``ValueError`` for shapes that do not fit, and where one of the others equals the image, which has no
    direction.

    >>> nearest_difference(torch.zeros(1, 1, 2), torch.tensor([[[[3.0, 0.0]]], [[[0.0, 1.0]]]]))
    tensor([[[0., 1.]]])
    """
    image = tensor("image", image)
    others = tensor("others", others, image)
    if others.shape[1:] != image.shape or len(others) < 1:
        raise ValueError(f"others of shape {tuple(others.shape)}: (m, {', '.join(map(str, image.shape))}) is allowed")
    differences = others - image
    distances = differences.flatten(1).norm(dim=1)
    if not bool((distances > 0).all()):
        raise ValueError(f"others: number {int(distances.argmin())} equals the image; a difference needs a direction")
    return differences[int(distances.argmin())]


@dataclass(frozen=True)
class RandomShare:
    """Mean and standard deviation of the share of a fixed vector in a random subspace. Unpacks in this order.

    >>> mean, deviation = RandomShare(0.5, 0.1)
    >>> mean, deviation
    (0.5, 0.1)
    """

    mean: float
    deviation: float

    def __iter__(self) -> Iterator[float]:
        return iter((self.mean, self.deviation))


def random_share(n: int, k: int) -> RandomShare:
    """Share of a fixed vector of n dimensions inside a uniformly random subspace of k: Beta(k/2, (n - k)/2).

    Its mean is k/n and its variance 2k(n - k)/(n²(n + 2)). Raises ``ValueError`` unless 1 <= k <= n.

    >>> random_share(10, 5).mean
    0.5
    """
    if not 1 <= k <= n:
        raise ValueError(f"k = {k}: 1 to n = {n} are allowed")
    return RandomShare(k / n, math.sqrt(2 * k * (n - k) / (n + 2)) / n)
