"""Sums of Gaussian bumps: test functions whose ridgelet transform and whose low-pass are exact."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from deepdynamics import _checks
from deepdynamics._checks import Array, Numbers, finite
from deepdynamics.networks import generator
from deepdynamics.networks.draws import Seed
from deepdynamics.ridgelet.grids import vectors
from deepdynamics.ridgelet.pairs import AdmissiblePair
from deepdynamics.ridgelet.transforms import gaussian_transform


@dataclass(frozen=True)
class GaussianBumps:
    r"""f(x) = Σ_i h_i exp(-\|x - μ_i\|²/(2 s_i²)) on R^m: ``heights`` (n,), ``centres`` (n,) or (n, m), ``variances``
    s_i² (n,). Called with x (k,) or (k, m), it gives (k,).

    Raises ``ValueError`` for shapes that do not fit, variances that are not positive, and what is not finite.

    >>> f = GaussianBumps([1.0], [0.5], [0.04])
    >>> f([0.5, 0.7]).round(6).tolist()
    [1.0, 0.606531]
    """

    heights: Numbers
    centres: Numbers
    variances: Numbers

    def __post_init__(self) -> None:
        heights, variances = finite("heights", self.heights), finite("variances", self.variances)
        centres = vectors("centres", self.centres)
        if heights.shape != (len(centres),) or variances.shape != heights.shape or not (variances > 0).all():
            raise ValueError(
                f"heights of shape {heights.shape}, variances of shape {variances.shape}: one height and one positive "
                f"variance for each of the {len(centres)} centres are allowed"
            )
        for name, value in (("heights", heights), ("centres", centres), ("variances", variances)):
            object.__setattr__(self, name, value)

    @classmethod
    def draw(cls, count: int, seed: Seed, *, dimension: int = 1) -> GaussianBumps:
        """``count`` bumps of heights N(0, 1), with centres in [-1/2, 1/2]^m and widths s in [0.25, 0.35], uniform: all
        of them within 1.9 of the origin along each axis, to four widths.

        >>> GaussianBumps.draw(3, seed=0, dimension=2).centres.shape
        (3, 2)
        """
        count, dimension = _checks.count("count", count), _checks.count("dimension", dimension)
        random = generator(seed)
        heights = torch.randn(count, generator=random, dtype=torch.float64)
        uniform = torch.rand(count, dimension + 1, generator=random, dtype=torch.float64)
        return cls(heights.numpy(), uniform[:, 1:].numpy() - 0.5, (0.25 + 0.1 * uniform[:, 0]).numpy() ** 2)

    def __call__(self, x: Numbers) -> Array:
        centres, variances = np.asarray(self.centres), np.asarray(self.variances)
        points = vectors("x", x, centres.shape[1])
        squares = ((points[:, None] - centres) ** 2).sum(-1)
        return np.asarray(np.exp(-squares / (2 * variances)) @ np.asarray(self.heights))

    def smoothed(self, variance: float) -> GaussianBumps:
        """Its convolution with N(0, ``variance`` · I): of relu and step in dimension 1, what a network of reach
        \\|a\\| <= A computes, with the variance 1/A².

        >>> GaussianBumps([1.0], [0.0], [1.0]).smoothed(3.0)([0.0]).tolist()
        [0.5]
        """
        if not 0 <= variance < math.inf:
            raise ValueError(f"variance = {variance}: a finite number >= 0 is allowed")
        old = np.asarray(self.variances)
        lower = (old / (old + variance)) ** (np.asarray(self.centres).shape[1] / 2)
        return replace(self, heights=np.asarray(self.heights) * lower, variances=old + variance)

    def transform(self, pair: AdmissiblePair, a: Numbers, b: Numbers) -> Array:
        """R[f](a, b), exactly: the sum of :func:`gaussian_transform` over the bumps, (len(a), len(b)).

        >>> pair = AdmissiblePair.get("relu")
        >>> f = GaussianBumps([2.0], [0.1], [0.09])
        >>> bool(np.allclose(f.transform(pair, [3.0], [1.0]), 2 * gaussian_transform(pair, 0.1, 0.09, [3.0], [1.0])))
        True
        """
        parts = zip(*(np.asarray(field) for field in (self.heights, self.centres, self.variances)), strict=True)
        return np.asarray(sum(h * gaussian_transform(pair, mean, float(v), a, b) for h, mean, v in parts))
