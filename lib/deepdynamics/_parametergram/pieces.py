"""What derivatives with respect to parameters are made of, sample by sample.

A parameter enters a step of a network, and what the step does is linear in it. So the derivative is made of what meets
the parameter there and of the signal, the derivative of the outputs with respect to the step's value. There are two
forms, and a third for convolutions in groups:

    Product   weight (o, i) of a linear map at S positions:  ∂f/∂W_oi = Σ_s signal_so input_si
    Entries   anything that acts entry by entry:             ∂f/∂p = Σ signal · other, over what p is spread over
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Entries", "GroupedKernel", "Layout", "Piece", "Product", "Unsuited", "layout", "product_rows"]


class Unsuited(Exception):
    """What a rule does not cover."""


@dataclass(frozen=True)
class Layout:
    """How the samples lie in a node's value: on axis 0, alone or with others behind them (``"first"``) or before them
    (``"last"``), or on axis 1 (``"second"``).

    >>> Layout("last").split(torch.tensor([[1, 2, 1, 2]]), 2)
    tensor([[[1, 1],
             [2, 2]]])
    """

    axis: str

    def split(self, values: Tensor, n: int) -> Tensor:
        """Values (c, *shape of the node's value) as (c, n, others on the axis, …)."""
        if self.axis == "second":
            return values.movedim(2, 1)
        if values.ndim < 2 or values.shape[1] % n:
            raise Unsuited
        parts = values.unflatten(1, (n, -1) if self.axis == "first" else (-1, n))
        return parts if self.axis == "first" else parts.transpose(1, 2)

    def spread(self, shape: torch.Size, ndim: int) -> tuple[int, ...]:
        """The shape of a parameter that is broadcast over a value of ``ndim`` axes, beside (others on the axis, …).

        >>> Layout("second").spread(torch.Size([5]), 3)
        (1, 5)
        """
        full = (1,) * (ndim - len(shape)) + tuple(shape)
        sample = 1 if self.axis == "second" else 0
        if len(full) <= sample or full[sample] != 1:
            raise Unsuited
        return (full[0], *full[2:]) if self.axis == "second" else full


def layout(signals: Sequence[Tensor | None]) -> Layout | None:
    """The layout that fits the signal of each of n samples, at one node: that of all others is zero there. None where
    none fits, or where all are zero, which would fit any.

    >>> both = [torch.tensor([1.0, 0.0, 1.0, 0.0]), torch.tensor([0.0, 1.0, 0.0, 1.0])]
    >>> layout(both), layout([None, both[1]]), layout([torch.ones(2), None]), layout([None, torch.zeros(2)])
    (Layout(axis='last'), Layout(axis='last'), None, None)
    """
    n = len(signals)
    heard = [(s, signal) for s, signal in enumerate(signals) if signal is not None and signal.any()]
    for axis in ("first", "second", "last"):
        if heard and all(_lies(Layout(axis), signal, s, n) for s, signal in heard):
            return Layout(axis)
    return None


def _lies(lying: Layout, signal: Tensor, s: int, n: int) -> bool:
    """Whether the signal is that of sample s of n alone."""
    if lying.axis == "second" and (signal.ndim < 2 or signal.shape[1] != n):
        return False
    try:
        parts = lying.split(signal[None], n)[0]
    except Unsuited:
        return False
    return not parts[:s].any() and not parts[s + 1 :].any()


@dataclass(frozen=True, eq=False)
class Product:
    """A weight matrix at S positions of each sample: its ``inputs`` (n, S, i), or their places (n, S) where they are
    rows of the identity (an embedding); the factor on the parameter, and whether the parameter is the transpose (i, o)
    of the matrix.

    >>> piece = Product(torch.ones(1, 2, 3), False, 3, False, Layout("first"))
    >>> piece.signals(torch.ones(1, 2, 4)).shape, piece.rows(torch.ones(1, 2, 4)).shape
    (torch.Size([1, 1, 2, 4]), torch.Size([1, 1, 12]))
    """

    inputs: Tensor
    transposed: bool
    size: int
    positions_last: bool
    layout: Layout

    def signals(self, raw: Tensor) -> Tensor:
        """Signals (n, c, S, o) of raw ones (c, *shape of the node's value)."""
        parts = self.layout.split(raw, len(self.inputs))
        if self.positions_last:  # (c, n, r, o, *positions) of a convolution
            parts = parts.flatten(4) if parts.ndim > 4 else parts[..., None]
            parts = parts.transpose(-2, -1)
        return parts.flatten(2, -2).transpose(0, 1)

    def rows(self, raw: Tensor) -> Tensor:
        """Rows (n, c, entries of the parameter)."""
        return product_rows(self.inputs, self.signals(raw), self.size, self.transposed)


def product_rows(inputs: Tensor, signals: Tensor, size: int, transposed: bool) -> Tensor:
    """Σ_s of signals (n, c, S, o) times inputs (n, S, i), or places (n, S) among ``size``, as rows (n, c, o · i); with
    i first where ``transposed``.

    >>> product_rows(torch.ones(1, 1, 2), torch.ones(1, 1, 1, 3), 2, False).shape
    torch.Size([1, 1, 6])
    """
    n, c, S, o = signals.shape
    if not inputs.is_floating_point():
        rows = signals.new_zeros(n, c, size, o)
        places = inputs[:, None, :, None].expand(n, c, S, o)
        rows.scatter_add_(2, places, signals)
        return (rows if transposed else rows.mT).flatten(2)
    rows = signals.transpose(2, 3).reshape(n, c * o, S) @ inputs
    return (rows.view(n, c, o, size).mT if transposed else rows.view(n, c, o, size)).reshape(n, c, -1)


@dataclass(frozen=True, eq=False)
class Entries:
    """A parameter of a given shape, broadcast over the node's value and times ``other`` (a number, or one for each
    entry of the value).

    >>> Entries(2, torch.Size([3]), 2.0, Layout("first")).rows(torch.ones(1, 2, 3))
    tensor([[[2., 2., 2.]],
    <BLANKLINE>
            [[2., 2., 2.]]])
    """

    n: int
    shape: torch.Size
    other: Tensor | float
    layout: Layout

    def rows(self, raw: Tensor) -> Tensor:
        """Rows (n, c, entries of the parameter)."""
        beside = self.layout.spread(self.shape, raw.ndim - 1)
        parts = self.layout.split(raw * self.other, self.n).transpose(0, 1)
        over = [i for i, size in enumerate(beside, start=2) if size == 1]
        return (parts.sum(over) if over else parts).reshape(*parts.shape[:2], -1)


@dataclass(frozen=True, eq=False)
class GroupedKernel:
    """The kernel of a convolution in groups: ``inputs`` (n, S, groups, i).

    >>> kernel = GroupedKernel(torch.ones(1, 1, 2, 3), 1.0, Layout("first"))
    >>> kernel.rows(torch.ones(1, 1, 4, 1)).shape
    torch.Size([1, 1, 12])
    """

    inputs: Tensor
    factor: float
    layout: Layout

    def rows(self, raw: Tensor) -> Tensor:
        """Rows (n, c, entries of the parameter)."""
        parts = self.layout.split(raw, len(self.inputs)).movedim(3, -1)
        signals = parts.flatten(2, -2).unflatten(-1, (self.inputs.shape[2], -1))
        return self.factor * torch.einsum("cnsgo,nsgi->ncgoi", signals, self.inputs).flatten(2)


Piece = Product | Entries | GroupedKernel
