"""The linear operations of which :mod:`deepdynamics.jacobian.program` is made: the derivatives of a network's steps
(activation, convolution, pooling, concatenation, sum, matrix) at one point, each with its transpose.

`forward` takes tangents (n, …) of what goes in to those of what comes out, `adjoint` gradients the other way, n at a
time. Pictures have their channels last in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

_LONG = 400  # terms of a sum


class Scale:
    """An activation: a slope for every entry.

    >>> step = Scale(torch.tensor([2.0, 0.0]))
    >>> step.forward(torch.ones(1, 2)), step.adjoint(torch.ones(1, 2))
    (tensor([[2., 0.]]), tensor([[2., 0.]]))
    """

    def __init__(self, slope: Tensor):
        self.slope = _last(slope[None])

    def forward(self, v: Tensor) -> Tensor:
        return v * self.slope

    adjoint = forward


class Reshape:
    """Another shape of the same entries.

    >>> step = Reshape(torch.Size([4]), torch.Size([2, 2]))
    >>> step.forward(torch.ones(1, 4)).shape, step.adjoint(torch.ones(1, 2, 2)).shape
    (torch.Size([1, 2, 2]), torch.Size([1, 4]))
    """

    def __init__(self, before: torch.Size, after: torch.Size):
        self.before, self.after = before, after

    def forward(self, v: Tensor) -> Tensor:
        return v.reshape(len(v), *self.after)

    def adjoint(self, u: Tensor) -> Tensor:
        return u.reshape(len(u), *self.before)


class Convolution:
    """A two-dimensional convolution of a picture (1, C, H, W), and its transpose as a convolution of phases.

    >>> step = Convolution(torch.Size([1, 1, 4, 4]), torch.ones(2, 1, 2, 2), [2, 2], [0, 0])
    >>> step.forward(torch.ones(1, 1, 1, 4, 4)).unique(), step.adjoint(torch.ones(1, 1, 2, 2, 2)).unique()
    (tensor([4.]), tensor([2.]))
    """

    def __init__(self, shape: torch.Size, weight: Tensor, stride: Sequence[int], padding: Sequence[int]):
        self.shape, self.stride, self.padding = shape, stride[0], padding
        _, channels, *kernel = weight.shape
        s, (height, width) = self.stride, shape[-2:]
        self.taps = [-(-size // s) for size in kernel]
        padded = functional.pad(weight, (0, s * self.taps[1] - kernel[1], 0, s * self.taps[0] - kernel[0]))
        phases = functional.pixel_unshuffle(padded, s)  # (out, channels s², taps, taps)
        self.by_phases = s > 1 and channels < 16
        self.rows = [(size + 2 * p - k) // s + 1 for size, p, k in zip((height, width), padding, kernel, strict=True)]
        self.extent = [s * (rows + taps - 1) for rows, taps in zip(self.rows, self.taps, strict=True)]
        self.weight = _laid_out(phases if self.by_phases else weight)
        self.transposed = _laid_out(phases.flip(2, 3).transpose(0, 1))

    def forward(self, v: Tensor) -> Tensor:
        v = v.squeeze(1)
        (top, left), s = self.padding, self.stride
        if self.by_phases:
            bottom, right = (
                e - p - size for e, p, size in zip(self.extent, self.padding, self.shape[-2:], strict=True)
            )
            v = functional.pixel_unshuffle(functional.pad(v, (left, right, top, bottom)), s)
            return _convolved(v, self.weight).unsqueeze(1)
        return _convolved(v, self.weight, stride=s, padding=(top, left)).unsqueeze(1)

    def adjoint(self, u: Tensor) -> Tensor:
        (top, left), (height, width) = self.padding, self.shape[-2:]
        border = [taps - 1 for taps in self.taps]
        u = u.squeeze(1)
        if self.stride == 1 and top <= border[0] and left <= border[1]:
            return _convolved(u, self.transposed, padding=(border[0] - top, border[1] - left)).unsqueeze(1)
        wide = functional.pixel_shuffle(_convolved(u, self.transposed, padding=border), self.stride)
        missing = (max(0, left + width - wide.shape[-1]), max(0, top + height - wide.shape[-2]))
        wide = functional.pad(wide, (0, missing[0], 0, missing[1]))
        return _last(wide[..., top : top + height, left : left + width]).unsqueeze(1)


class Pool:
    """Max-pooling: picks entries, each with a slope.

    >>> step = Pool(torch.Size([1, 1, 2, 2]), torch.tensor([[[[3]]]]), None)
    >>> step.forward(torch.arange(4.0).view(1, 1, 1, 2, 2)).item(), step.adjoint(torch.ones(1, 1, 1, 1, 1)).flatten()
    (3.0, tensor([0., 0., 0., 1.]))
    """

    def __init__(self, shape: torch.Size, winners: Tensor, slope: Tensor | None):
        self.shape, self.after = shape, winners.shape
        channels = shape[-3]
        places = winners.reshape(channels, -1).T * channels + torch.arange(channels, device=winners.device)
        self.places = places.reshape(-1)
        self.slope = None
        if slope is not None:
            self.slope = slope.reshape(channels, -1).T.reshape(-1)[self.places]

    def forward(self, v: Tensor) -> Tensor:
        flat = _last(v.reshape(len(v), *self.shape[-3:])).permute(0, 2, 3, 1).reshape(len(v), -1)
        picked = flat.index_select(1, self.places)
        if self.slope is not None:
            picked *= self.slope
        channels, height, width = self.after[-3:]
        return picked.reshape(len(v), height, width, channels).permute(0, 3, 1, 2).reshape(len(v), *self.after)

    def adjoint(self, u: Tensor) -> Tensor:
        channels, height, width = self.shape[-3:]
        flat = _last(u.reshape(len(u), *self.after[-3:])).permute(0, 2, 3, 1).reshape(len(u), -1)
        if self.slope is not None:
            flat = flat * self.slope
        spread = flat.new_zeros(len(u), channels * height * width)
        spread.scatter_add_(1, self.places.expand(len(u), -1), flat)
        return spread.reshape(len(u), height, width, channels).permute(0, 3, 1, 2).reshape(len(u), *self.shape)


class Concatenation:
    """Pictures side by side in their channels (axis 0 of (C, H, W)), each entry with a slope.

    >>> step = Concatenation([1, 2])
    >>> whole = step.forward(torch.zeros(1, 1, 2, 2), torch.ones(1, 2, 2, 2))
    >>> whole.shape, [part.shape[1] for part in step.adjoint(whole)]
    (torch.Size([1, 3, 2, 2]), [1, 2])
    """

    def __init__(self, sizes: Sequence[int], slope: Tensor | None = None):
        self.sizes, self.slope = list(sizes), None if slope is None else _last(slope[None])

    def forward(self, *parts: Tensor) -> Tensor:
        if self.slope is None:
            return torch.cat(parts, dim=1)
        whole = torch.empty_like(self.slope.expand(len(parts[0]), -1, -1, -1), memory_format=torch.channels_last)
        start = 0
        for part, size in zip(parts, self.sizes, strict=True):
            torch.mul(part, self.slope[:, start : start + size], out=whole[:, start : start + size])
            start += size
        return whole

    def adjoint(self, u: Tensor) -> tuple[Tensor, ...]:
        if self.slope is None:
            return u.split(self.sizes, dim=1)
        parts = zip(u.split(self.sizes, dim=1), self.slope.split(self.sizes, dim=1), strict=True)
        return tuple(part * slope for part, slope in parts)


class Sum:
    """The sum of two ways.

    >>> Sum().forward(torch.ones(1), torch.ones(1)), Sum().adjoint(torch.ones(1))
    (tensor([2.]), (tensor([1.]), tensor([1.])))
    """

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b

    def adjoint(self, u: Tensor) -> tuple[Tensor, ...]:
        return u, u


class Matrix:
    """Rows times a matrix (in, out): (1, in) to (1, out).

    >>> step = Matrix(torch.tensor([[1.0, 2.0]]))
    >>> step.forward(torch.ones(1, 1, 1)), step.adjoint(torch.ones(1, 1, 2))
    (tensor([[[1., 2.]]]), tensor([[[3.]]]))
    """

    def __init__(self, weight: Tensor):
        self.weight = weight.detach()

    def forward(self, v: Tensor) -> Tensor:
        return v @ self.weight

    def adjoint(self, u: Tensor) -> Tensor:
        return u @ self.weight.T


class ByTorch:
    """Any operation, by torch's own derivative.

    >>> step = ByTorch(torch.mul, [torch.tensor(2.0), torch.tensor(3.0)])
    >>> step.forward(torch.ones(1), torch.zeros(1)), step.adjoint(torch.ones(1))
    (tensor([3.]), (tensor([3.]), tensor([2.])))
    """

    def __init__(self, operation: Callable[..., Tensor], values: Sequence[Tensor]):
        self.push = torch.func.vmap(lambda *v: torch.func.jvp(operation, tuple(values), v)[1])
        self.pull = torch.func.vmap(torch.func.vjp(operation, *values)[1])

    def forward(self, *v: Tensor) -> Tensor:
        return self.push(*v)

    def adjoint(self, u: Tensor) -> tuple[Tensor, ...]:
        return self.pull(u)


def _laid_out(weight: Tensor) -> Tensor:
    return weight.contiguous() if _standard(weight) else _last(weight)


def _standard(weight: Tensor) -> bool:
    """Channels last is the faster layout for short sums. Over long ones it accumulates rounding (1e-6 relative over
    3,000 terms in float32), where the standard layout is as fast and four times as accurate."""
    return weight[0].numel() >= _LONG and len(weight) >= 32


def _convolved(v: Tensor, weight: Tensor, stride: int = 1, padding: Sequence[int] = (0, 0)) -> Tensor:
    v = v.contiguous() if _standard(weight) else _last(v)
    return _last(functional.conv2d(v, weight, stride=stride, padding=tuple(padding)))


def _last(picture: Tensor) -> Tensor:
    """Channels last, where there are pictures."""
    return picture.contiguous(memory_format=torch.channels_last) if picture.ndim == 4 else picture
