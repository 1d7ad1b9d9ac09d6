"""Sums over all singular values of a Jacobian, from a few products with random vectors.

Leading singular values say nothing of the rest. Two sums over the whole spectrum do, and need no decomposition: with
independent signs g, E ‖Jᵀg‖² = Σ s² and E ‖J Jᵀg‖² = Σ s⁴ (Hutchinson 1990).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from deepdynamics.networks import Seed, generator

__all__ = ["SpectralSums", "spectral_sums"]

_AT_ONCE = 8  # probes sent through J at a time


@dataclass(frozen=True)
class SpectralSums:
    """Σ s² and Σ s⁴, and the standard errors of both over the probes. Unpacks in this order."""

    squares: float
    fourths: float
    squares_error: float
    fourths_error: float

    def __iter__(self) -> Iterator[float]:
        return iter((self.squares, self.fourths, self.squares_error, self.fourths_error))

    @property
    def participation(self) -> float:
        """(Σ s²)²/Σ s⁴, the participation ratio of the whole spectrum; nan where J is zero.

        >>> SpectralSums(6.0, 18.0, 0.0, 0.0).participation
        2.0
        """
        return self.squares**2 / self.fourths if self.fourths > 0 else math.nan


def spectral_sums(f: Callable[[Tensor], Tensor], x: Tensor, *, probes: int = 16, seed: Seed = 0) -> SpectralSums:
    """Σ s² = ‖J‖_F² and Σ s⁴ = ‖JᵀJ‖_F² of the Jacobian of f at one input x (no batch axis), from ``probes`` products
    with Jᵀ and as many with J.

    The relative error of Σ s² is about √(2/(probes · participation)). Exact where J Jᵀ is diagonal. Raises
    ``ValueError`` for an x that is not finite floating point, fewer than 2 probes, or an f that returns no tensor.

    >>> spectral_sums(lambda x: x * torch.tensor([1.0, 3.0]), torch.zeros(2), probes=4).fourths
    82.0
    """
    if not x.is_floating_point() or not torch.isfinite(x).all():
        raise ValueError(f"x of shape {tuple(x.shape)} and type {x.dtype}: one finite floating point input is allowed")
    if probes < 2:
        raise ValueError(f"probes = {probes}: 2 or more are needed for an error")
    draw = generator(seed)
    y, pull = torch.func.vjp(f, x)  # type: ignore[misc]
    if not isinstance(y, Tensor):
        raise ValueError(f"f returns {type(y).__name__}: a tensor is allowed")
    squares, fourths = [], []
    for start in range(0, probes, _AT_ONCE):
        count = min(_AT_ONCE, probes - start)
        signs = (2 * torch.randint(2, (count, *y.shape), generator=draw) - 1).to(y)
        (back,) = torch.func.vmap(pull)(signs)
        forth = torch.func.vmap(lambda v: torch.func.jvp(f, (x,), (v,))[1])(back)
        squares.append(back.detach().double().flatten(1).square().sum(1))
        fourths.append(forth.detach().double().flatten(1).square().sum(1))
    second, fourth = torch.cat(squares), torch.cat(fourths)
    errors = [float(values.std()) / math.sqrt(probes) for values in (second, fourth)]
    return SpectralSums(float(second.mean()), float(fourth.mean()), errors[0], errors[1])
