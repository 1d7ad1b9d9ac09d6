"""Random perturbations of a picture with a given shape: white noise in a patch, in a band of frequencies, or in a
subspace. Each has Euclidean norm 1, so that the norm of its image under a Jacobian is its gain. Bands and patches are
float32 and on the CPU.

Two of them take "spread over the picture" apart, which can mean large or smooth. Noise in a patch that is placed at
random has the same mean square gain ‖J‖_F²/n at every size of the patch, for every J: extent alone decides nothing.
Noise in a band is spread over the whole picture, and only its frequency changes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deepdynamics.arrays import Numbers, tensor
from deepdynamics.networks import Seed, generator

__all__ = ["band_noise", "patch_noise", "span_noise"]


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
    if not 1 <= size <= min(height, width):
        raise ValueError(f"size = {size}: 1 to {min(height, width)} are allowed")
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
    if V.ndim != 2 or V.shape[1] < 1 or count < 1:
        raise ValueError(f"V of shape {tuple(V.shape)}, count = {count}: a matrix (n, k) and 1 or more are allowed")
    defect = float((V.T @ V - torch.eye(V.shape[1]).to(V)).abs().max())
    if not defect <= 1e-3:
        raise ValueError(f"V: its columns are not orthonormal (largest entry of VᵀV - 1: {defect:.2g})")
    coefficients = torch.randn(count, V.shape[1], generator=generator(seed), dtype=torch.float64).to(V)
    return (coefficients / coefficients.norm(dim=1, keepdim=True)) @ V.T


def _picture(shape: Sequence[int], count: int) -> tuple[int, int, int]:
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"shape = {tuple(shape)}: (channels, height, width) is allowed")
    if count < 1:
        raise ValueError(f"count = {count}: 1 or more are allowed")
    return shape[0], shape[1], shape[2]


def _unit(noise: Tensor) -> Tensor:
    return noise / noise.flatten(1).norm(dim=1)[:, None, None, None]
