"""Mixtures of Gaussians, smoothed by noise: exact density, score and denoiser; entropy by Monte Carlo.

p_t = Σ_k π_k N(μ_k, S_k + tI) is the law of x + noise of variance t (e^{(t/2)Δ} of the mixture), and with the
responsibilities r_k(x) of its components

    ∇ log p_t(x) = Σ_k r_k(x) (S_k + tI)⁻¹ (μ_k - x),      g*_t(x) = E[x | x + noise] = x + t ∇ log p_t(x).

Components of variance 0 are allowed where there is noise: the denoiser of a finite sample.

Source: Tweedie's formula, as in Vincent (2011) and Alain & Bengio (2014).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import logsumexp, softmax

from deepdynamics import _checks
from deepdynamics._checks import Array, Numbers, finite
from deepdynamics.networks import Seed, generator
from deepdynamics.transport.arguments import noise
from deepdynamics.transport.covariances import spectrum, symmetric

__all__ = ["Estimate", "GaussianMixture"]


@dataclass(frozen=True)
class Estimate:
    """A Monte Carlo mean and its standard error.

    >>> value, standard_error = Estimate(1.0, 0.1)
    """

    value: float
    standard_error: float

    def __iter__(self) -> Iterator[float]:
        return iter((self.value, self.standard_error))


class GaussianMixture:
    """Σ_k π_k N(μ_k, S_k): ``weights`` (k,), which are divided by their sum, ``means`` (k, d), and ``variances``: (k,)
    for S_k = variance · I, (k, d, d) for covariances, or one number for all.

    ``variance`` is that of the noise in every method; x (…, d) and ``variance`` (…) broadcast.

    Raises ``ValueError`` for weights that are negative or all 0, shapes that do not fit, negative variances and
    covariances that are not positive semidefinite.

    >>> mixture = GaussianMixture([1, 1], [[-1, 0], [1, 0]], 0.25)
    >>> mixture.score([0, 1], 0.75), mixture.dae([0, 1], 0.75)
    (array([ 0., -1.]), array([0.  , 0.25]))
    """

    def __init__(self, weights: Numbers, means: Numbers, variances: Numbers):
        self.weights, self.means, self.variances = (
            finite(name, value) for name, value in (("weights", weights), ("means", means), ("variances", variances))
        )
        if self.means.ndim != 2 or self.means.size == 0:
            raise ValueError(f"means of shape {self.means.shape}: (k, d), neither of them 0, is allowed")
        components, self.dimension = self.means.shape
        if self.weights.shape != (components,):
            raise ValueError(f"weights of shape {self.weights.shape}: ({components},), one a mean, is allowed")
        if (self.weights < 0).any() or not self.weights.sum() > 0:
            raise ValueError(f"weights = {self.weights}: not negative, and not all 0, are allowed")
        self.weights = self.weights / self.weights.sum()
        self._axes: Array | None = None  # None: those of the coordinates
        if self.variances.ndim == 3 and self.variances.shape == (components, self.dimension, self.dimension):
            self._spectra, self._axes = spectrum("variances", symmetric("variances", self.variances))
        elif self.variances.shape in ((), (components,)):
            if (self.variances < 0).any():
                raise ValueError(f"variances = {self.variances}: not negative ones are allowed")
            self._spectra = np.broadcast_to(self.variances, components)[:, None]
        else:
            wanted = f"({components},) or ({components}, {self.dimension}, {self.dimension})"
            raise ValueError(f"variances of shape {self.variances.shape}: {wanted} is allowed")

    def log_density(self, x: Numbers, variance: Numbers = 0.0) -> Array:
        """log p_t(x), (…).

        >>> GaussianMixture([1], [[0]], 0.5).log_density([0], 0.5)  # -½ log 2π
        np.float64(-0.9189385332046727)
        """
        return self._in_blocks(lambda *block: logsumexp(self._components(*block)[0], axis=-1), x, variance)

    def score(self, x: Numbers, variance: Numbers = 0.0) -> Array:
        """∇ log p_t(x), (…, d).

        >>> GaussianMixture([1], [[0, 0]], 1).score([1, 2], 1)
        array([-0.5, -1. ])
        """
        return self._in_blocks(self._score, x, variance)

    def dae(self, x: Numbers, variance: Numbers) -> Array:
        """The best denoiser of noise ``variance`` > 0, g*(x) = x + t ∇ log p_t(x) = E[clean | noisy = x], (…, d).

        >>> GaussianMixture([1], [[0, 0]], 1).dae([1, 2], 1)
        array([0.5, 1. ])
        """
        return finite("x", x) + noise(variance)[..., None] * self.score(x, variance)

    def sample(self, count: int, seed: Seed, variance: Numbers = 0.0) -> Array:
        """``count`` independent points of p_t, (count, d).

        >>> GaussianMixture([1, 1], [[-5, 0], [5, 0]], 1).sample(3, seed=0).shape
        (3, 2)
        """
        draw, level = generator(seed), float(_level(variance))
        size = _checks.count("count", count)
        member = torch.multinomial(torch.tensor(self.weights), size, replacement=True, generator=draw).numpy()
        normal = torch.randn(size, self.dimension, generator=draw, dtype=torch.float64).numpy()
        deviations = np.sqrt(self._spectra + level)[member] * normal
        if self._axes is not None:
            deviations = np.einsum("nij,nj->ni", self._axes[member], deviations)
        return self.means[member] + deviations

    def entropy(self, count: int, seed: Seed, variance: Numbers = 0.0) -> Estimate:
        """-E log p_t in nats, from ``count`` samples.

        >>> value, standard_error = GaussianMixture([1], [[0]], 1).entropy(1000, seed=0)  # ½ log 2πe = 1.42
        >>> round(value, 2), round(standard_error, 2)
        (1.4, 0.02)
        """
        return _mean(-self.log_density(self.sample(count, seed, variance), variance))

    def fisher_information(self, count: int, seed: Seed, variance: Numbers = 0.0) -> Estimate:
        """E |∇ log p_t|², from ``count`` samples: the rate at which heat ∂_t p = Δp raises the entropy.

        >>> value, standard_error = GaussianMixture([1], [[0]], 4).fisher_information(1000, seed=0)  # 1/4
        >>> round(value, 2), round(standard_error, 2)
        (0.24, 0.01)
        """
        return _mean((self.score(self.sample(count, seed, variance), variance) ** 2).sum(-1))

    def sharpened(self, t: float) -> GaussianMixture:
        """The mixture after the time ``t`` of the continuous denoiser, ∂_t p = -Δp: every variance less 2t, weights and
        means as they are. Its score is the velocity at that time. For t < 0 it is heat, ∂_t p = Δp for the time -t.

        Raises ``ValueError`` from the extinction on, where the smallest variance is 0: t = ½ min variance.

        >>> GaussianMixture([1], [[0]], 1.0).sharpened(0.3).score([1.0])  # N(0, 0.4)
        array([-2.5])
        """
        time, end = float(finite("t", t)), float(self._spectra.min()) / 2
        if time >= end:
            raise ValueError(f"t = {time:g}: below {end:g}, where a component is extinct, is allowed")
        identity = 1.0 if self._axes is None else np.eye(self.dimension)
        return GaussianMixture(self.weights, self.means, self.variances - 2 * time * identity)

    def _in_blocks(self, function: Callable[[Array, Array], Array], x: Numbers, variance: Numbers) -> Array:
        """``function`` of points (n, d) and their noise (n,), a million numbers at a time."""
        x, level = finite("x", x), _level(variance)
        if x.ndim == 0 or x.shape[-1] != self.dimension:
            raise ValueError(f"x of shape {x.shape}: (…, {self.dimension}) is allowed")
        if level.min(initial=np.inf) + self._spectra.min() <= 0:
            raise ValueError(f"variance = {level}: positive noise is allowed, as a component has no density")
        try:
            shape = np.broadcast_shapes(x.shape[:-1], level.shape)
        except ValueError as error:
            raise ValueError(
                f"variance of shape {level.shape}: {x.shape[:-1]} or what broadcasts is allowed"
            ) from error
        points = np.broadcast_to(x, (*shape, self.dimension)).reshape(-1, self.dimension)
        levels = np.broadcast_to(level, shape).reshape(-1)
        size = max(1, 1_000_000 // self.means.size)
        starts = range(0, max(len(points), 1), size)
        found = np.concatenate([function(points[k : k + size], levels[k : k + size]) for k in starts])
        return np.asarray(found).reshape((*shape, *found.shape[1:]))[()]

    def _components(self, x: Array, variance: Array) -> tuple[Array, Array, Array]:
        """log π_k N(x; μ_k, S_k + tI) (n, k), μ_k - x in the axes of S_k (n, k, d) and the eigenvalues of S_k + tI
        there, (n, k, d) or (n, k, 1)."""
        gaps = self.means - x[:, None]
        if self._axes is not None:
            gaps = np.einsum("kij,nki->nkj", self._axes, gaps)
        smoothed = self._spectra + variance[:, None, None]
        copies = self.dimension // smoothed.shape[-1]  # an eigenvalue of an isotropic component counts d times
        with np.errstate(divide="ignore"):
            weights = np.log(self.weights)
        volume = copies * np.log(2 * math.pi * smoothed).sum(-1)
        return weights - 0.5 * ((gaps**2 / smoothed).sum(-1) + volume), gaps, smoothed

    def _score(self, x: Array, variance: Array) -> Array:
        logs, gaps, smoothed = self._components(x, variance)
        pulls = gaps / smoothed
        if self._axes is not None:
            pulls = np.einsum("kij,nkj->nki", self._axes, pulls)
        return np.einsum("nk,nki->ni", softmax(logs, axis=-1), pulls)  # type: ignore[no-any-return]


def _level(variance: Numbers) -> Array:
    found = finite("variance", variance)
    if (found < 0).any():
        raise ValueError(f"variance = {found}: noise that is not negative is allowed")
    return found


def _mean(samples: Array) -> Estimate:
    if len(samples) < 2:
        raise ValueError(f"count = {len(samples)}: at least 2 samples are allowed, for a standard error")
    return Estimate(float(samples.mean()), float(samples.std(ddof=1) / math.sqrt(len(samples))))
