"""Random perturbations of a picture with a given shape: white noise in a patch, in a band of frequencies, or in a
subspace. Each has Euclidean norm 1, so that the norm of its image under a Jacobian is its gain. Bands and patches are
float32 and on the CPU.

Two of them take "spread over the picture" apart, which can mean large or smooth. Noise in a patch that is placed at
random has the same mean square gain ‖J‖_F²/n at every size of the patch, for every J: extent alone decides nothing.
Noise in a band is spread over the whole picture, and only its frequency changes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deepdynamics import _checks
from deepdynamics._checks import Numbers, tensor
from deepdynamics.networks import Seed, generator

__all__ = [
    "KINDS",
    "RandomShare",
    "band_noise",
    "known_tangents",
    "nearest_difference",
    "patch_noise",
    "random_share",
    "span_noise",
]


def band_noise(shape: Sequence[int], low: float, high: float, count: int, *, seed: Seed) -> Tensor:
    """White noise (count, *shape), shape (C, H, W), of spatial frequencies low <= f < high, in units of one cycle a
    picture; norm 1 each.

    f is the length of the two-dimensional frequency, one cycle along the rows or the columns being 1; channels are
    independent. Raises ``ValueError`` for a band without a frequency of the grid, a bad shape or count.

    >>> noise = band_noise((3, 8, 8), 0, 0.5, 2, seed=0)  # the constants alone
    >>> [len(channel.unique().round(decimals=5).unique()) for channel in noise[0]]
    [1, 1, 1]
    """
    channels, height, width = _picture(shape, count)
    rows, columns = (torch.fft.fftfreq(size, d=1 / size) for size in (height, width))
    radius = torch.hypot(rows[:, None], columns[None, :])
    inside = (radius >= low) & (radius < high)
    if not bool(inside.any()):
        raise ValueError(f"low = {low}, high = {high}: no frequency of a {height} × {width} picture is in this band")
    noise = torch.randn(count, channels, height, width, generator=generator(seed))
    return _unit(torch.fft.ifft2(torch.fft.fft2(noise) * inside).real)


def patch_noise(shape: Sequence[int], size: int, count: int, *, seed: Seed) -> Tensor:
    """White noise (count, *shape), shape (C, H, W), in a square patch of ``size`` pixels a side, at a uniformly random
    place (over the border it goes on at the other side); norm 1 each.

    For every matrix J with n = C·H·W columns the mean of ‖J δ‖² is ‖J‖_F²/n, whatever the size. Raises ``ValueError``
    for a size that does not fit, a bad shape or count.

    >>> patch_noise((1, 8, 8), 2, 1, seed=0).count_nonzero()
    tensor(4)
    """
    channels, height, width = _picture(shape, count)
    _checks.count("size", size, most=min(height, width))
    draw = generator(seed)
    noise = torch.zeros(count, channels, height, width)
    noise[..., :size, :size] = torch.randn(count, channels, size, size, generator=draw)
    down = torch.randint(height, (count,), generator=draw).tolist()
    right = torch.randint(width, (count,), generator=draw).tolist()
    moved = [torch.roll(one, place, (-2, -1)) for one, place in zip(noise, zip(down, right, strict=True), strict=True)]
    return _unit(torch.stack(moved))


def span_noise(V: Numbers, count: int, *, seed: Seed) -> Tensor:
    """Uniformly random unit vectors (count, n) in the span of the orthonormal columns of V (n, k).

    The mean of ‖J δ‖² over them is the mean square of the singular values where V has right singular vectors. Raises
    ``ValueError`` for a V that is no matrix or whose columns are not orthonormal to 1e-3, and a count below 1.

    >>> span_noise(torch.eye(3)[:, :1], 2, seed=0).abs()
    tensor([[1., 0., 0.],
            [1., 0., 0.]])
    """
    V = tensor("V", V)
    _checks.count("count", count)
    if V.ndim != 2 or V.shape[1] < 1:
        raise ValueError(f"V of shape {tuple(V.shape)}: a matrix (n, k) is allowed")
    defect = float((V.T @ V - torch.eye(V.shape[1]).to(V)).abs().max())
    if not defect <= 1e-3:
        raise ValueError(f"V: its columns are not orthonormal (largest entry of VᵀV - 1: {defect:.2g})")
    coefficients = torch.randn(count, V.shape[1], generator=generator(seed), dtype=torch.float64).to(V)
    return (coefficients / coefficients.norm(dim=1, keepdim=True)) @ V.T


def _picture(shape: Sequence[int], count: int) -> tuple[int, int, int]:
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"shape = {tuple(shape)}: (channels, height, width) is allowed")
    _checks.count("count", count)
    return shape[0], shape[1], shape[2]


def _unit(noise: Tensor) -> Tensor:
    return noise / noise.flatten(1).norm(dim=1)[:, None, None, None]


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
    _checks.count("k", k, most=n)
    return RandomShare(k / n, math.sqrt(2 * k * (n - k) / (n + 2)) / n)
