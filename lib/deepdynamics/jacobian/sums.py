"""Sums over all singular values of a Jacobian, from a few products with random vectors.

Leading singular values say nothing of the rest. Two sums over the whole spectrum do, and need no decomposition: with
independent signs g, E ‖Jᵀg‖² = Σ s² and E ‖J Jᵀg‖² = Σ s⁴ (Hutchinson 1990).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from deepdynamics._checks import Numbers
from deepdynamics.jacobian.inputs import Map
from deepdynamics.jacobian.linearise import linearised
from deepdynamics.networks import Seed, generator

__all__ = ["SpectralSums", "spectral_sums"]

_AT_ONCE = 8  # probes sent through J at a time


@dataclass(frozen=True)
class SpectralSums:
    """Σ s² and Σ s⁴, and the standard errors of both over the probes; unpacks in this order. ``path`` says how the
    products were computed (one of ``deepdynamics.jacobian.linearise.PATHS``).

    >>> squares, fourths, *errors = SpectralSums(6.0, 18.0, 0.1, 0.2)
    >>> squares, errors
    (6.0, [0.1, 0.2])
    """

    squares: float
    fourths: float
    squares_error: float
    fourths_error: float
    path: str = ""

    def __iter__(self) -> Iterator[float]:
        return iter((self.squares, self.fourths, self.squares_error, self.fourths_error))

    @property
    def participation(self) -> float:
        """(Σ s²)²/Σ s⁴, the participation ratio of the whole spectrum; nan where J is zero.

        >>> SpectralSums(6.0, 18.0, 0.0, 0.0).participation
        2.0
        """
        return self.squares**2 / self.fourths if self.fourths > 0 else math.nan


@torch.inference_mode(False)
def spectral_sums(f: Map, x: Numbers, *, probes: int = 16, seed: Seed = 0) -> SpectralSums:
    """Σ s² = ‖J‖_F² and Σ s⁴ = ‖JᵀJ‖_F² of the Jacobian of f at one input x (no batch axis; it is added where f needs
    it), from ``probes`` products with Jᵀ and as many with J.

    The relative error of Σ s² is about √(2/(probes · participation)). Exact where J Jᵀ is diagonal. Raises
    ``ValueError`` for fewer than 2 probes, and for f and x as :func:`deepdynamics.jacobian.linearise.linearised` does.

    >>> spectral_sums(lambda x: x * torch.tensor([1.0, 3.0]), [0.0, 0.0], probes=4).fourths
    82.0
    """
    if probes < 2:
        raise ValueError(f"probes = {probes}: 2 or more are needed for an error")
    draw = generator(seed)
    point = linearised(f, x)
    squares, fourths = [], []
    for start in range(0, probes, _AT_ONCE):
        count = min(_AT_ONCE, probes - start)
        signs = (2 * torch.randint(2, (count, *point.value.shape), generator=draw) - 1).to(point.value)
        back = point.adjoint(signs)
        forth = point.forward(back)
        squares.append(back.double().reshape(count, -1).square().sum(1))
        fourths.append(forth.double().reshape(count, -1).square().sum(1))
    second, fourth = torch.cat(squares), torch.cat(fourths)
    errors = [float(values.std()) / math.sqrt(probes) for values in (second, fourth)]
    return SpectralSums(float(second.mean()), float(fourth.mean()), errors[0], errors[1], point.path)
