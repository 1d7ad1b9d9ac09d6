"""The ridgelet transform R[f](a, b) = ∫ f(x) ρ(a·x - b) dx: of samples and functions by quadrature; closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.polynomial import hermite_e

from deepdynamics._checks import Array, Numbers, finite
from deepdynamics.ridgelet.grids import line, vectors
from deepdynamics.ridgelet.pairs import AdmissiblePair, GaussianDerivative
from deepdynamics.ridgelet.sums import over_points

Target = Callable[[Array], Any] | tuple[Numbers | Sequence[Numbers], Numbers]

_LINE, _OTHERWISE = 1001, 101  # points an axis of [-1, 1] where f is a function: of the line, in more dimensions


def transform(f: Target, pair: AdmissiblePair, a: Numbers, b: Numbers) -> Array:
    """R[f](a, b) by the trapezoid rule: (len(a), len(b)), with the outputs of f as a last axis where it has some.

    ``f`` is (points, values): points (n,) ascending, values (n,) or (n, outputs), all outputs sharing the ridgelets.
    In dimension m > 1 points are m such axes, and values (n_1, ..., n_m) or (n_1, ..., n_m, outputs). Or ``f`` is a
    function of numpy arrays, (n,) or (n, m), integrated over [-1, 1]^m with 1,001 points (101 an axis where m > 1); f
    counts as 0 outside. ``a`` (na,) or (na, m), ``b`` (nb,): any numbers.

    The rule resolves ρ where a step times \\|a\\| is less than about 0.8 scales of ρ; what f is not 0 at the ends costs
    O(step²). Source: Sonoda and Murata (2017). Raises ``ValueError`` for fewer than two samples, points that do not
    ascend, shapes that do not fit, and what is not finite.

    >>> pair = AdmissiblePair.get("relu")
    >>> x = np.linspace(-1, 1, 201)
    >>> R = transform((x, np.sin(2 * np.pi * x)), pair, [-5.0, 5.0], [-1.0, 0.0, 1.0])
    >>> R.shape, bool(np.allclose(R[0], R[1, ::-1]))
    ((2, 3), True)
    """
    if not isinstance(pair, AdmissiblePair):
        raise ValueError(f"pair = {pair!r}: an AdmissiblePair is allowed, as AdmissiblePair.get(activation) makes it")
    m = pair.dimension
    axes, values = _sampled(f, m)
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, m)
    weights = reduce(np.multiply.outer, [_trapezoid(axis) for axis in axes]).reshape(-1, 1)
    weighted = weights * values.reshape(len(points), -1)
    found = over_points(pair.rho, vectors("a", a, m), line("b", b), points, weighted)
    return found if values.ndim > m else found[..., 0]


def _sampled(f: Target, m: int) -> tuple[list[Array], Array]:
    """The axes of the points, and the values on them."""
    if callable(f):
        axes = [np.linspace(-1, 1, _LINE if m == 1 else _OTHERWISE)] * m
        points = axes[0] if m == 1 else np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, m)
        values = finite("f(x)", f(points))
        if values.ndim not in (1, 2) or len(values) != len(points) or values.size == 0:
            raise ValueError(
                f"f makes {values.shape} of {points.shape}: ({len(points)},) or ({len(points)}, outputs) is allowed"
            )
        return axes, values.reshape(*(len(axis) for axis in axes), *values.shape[1:])
    if not isinstance(f, tuple | list) or len(f) != 2:
        raise ValueError(f"f of type {type(f).__name__}: a function or (points, values) is allowed")
    points_given: Any = f[0]
    if m > 1 and len(points_given) != m:
        raise ValueError(f"points: {m} axes, one a dimension, are allowed; got {len(points_given)}")
    axes = [line("points", axis) for axis in ([points_given] if m == 1 else points_given)]
    values = finite("values", f[1])
    shape = tuple(len(axis) for axis in axes)
    if values.shape[:m] != shape or values.ndim > m + 1 or values.size == 0:
        raise ValueError(f"values of shape {values.shape}: {shape} as the points are, or outputs after it, is allowed")
    return axes, values


def _trapezoid(points: Array) -> Array:
    steps = np.diff(points)
    if len(steps) == 0 or not (steps > 0).all():
        raise ValueError(f"points of shape {points.shape}: two or more, ascending, are allowed")
    return np.asarray((np.append(steps, 0) + np.append(0, steps)) / 2)


def gaussian_transform(pair: AdmissiblePair, mean: Numbers, variance: float, a: Numbers, b: Numbers) -> Array:
    r"""R[f](a, b) of f(x) = exp(-\|x - μ\|²/(2 s²)) on R^m, in closed form; (len(a), len(b)).

    With ρ = G^(k), v = 1 + s²\|a\|² and t = (b - a·μ)/√v,

    .. math:: R[f](a, b) = (2\pi)^{m/2} s^m v^{-(k+1)/2} He_k(t)\, e^{-t^2/2} .

    ``mean`` μ is a number or (m,), ``variance`` s² > 0; a, b as in :func:`transform`. Raises ``ValueError`` where ρ
    is no :class:`GaussianDerivative`.

    >>> gaussian_transform(AdmissiblePair.get("gaussian"), 0.0, 1.0, [0.0], [0.0]).round(6).tolist()
    [[2.506628]]
    """
    rho, m = pair.rho, pair.dimension
    if not isinstance(rho, GaussianDerivative):
        raise ValueError(f"rho = {rho}: a GaussianDerivative is allowed")
    center = finite("mean", mean).reshape(-1)
    if center.shape != (m,):
        raise ValueError(f"mean of shape {center.shape}: ({m},) is allowed")
    if not 0 < variance < math.inf:
        raise ValueError(f"variance = {variance}: a positive finite number is allowed")
    a, b = vectors("a", a, m) / rho.scale, line("b", b) / rho.scale
    v = 1 + variance * (a**2).sum(1)[:, None]
    t = (b - (a @ center)[:, None]) / np.sqrt(v)
    hermite = hermite_e.hermeval(t, [0] * rho.order + [1])
    size = rho.sign * (2 * math.pi * variance) ** (m / 2)
    return np.asarray(size * v ** (-(rho.order + 1) / 2) * hermite * np.exp(-(t**2) / 2))


def sine_transform(pair: AdmissiblePair, frequency: float, a: Numbers, b: Numbers) -> Array:
    r"""R[f](a, b) of f(x) = sin(w x) on the whole line, in closed form; (len(a), len(b)), dimension 1.

    .. math:: R[f](a, b) = \frac{1}{|a|} \mathrm{Im}\left[ e^{i w b/a}\, \overline{\hat\rho(w/a)} \right],

    0 at a = 0 (its limit). For an even ρ it is ρ̂(w/a) sin(wb/a)/\|a\|: rays b = a x on which f(x) is extremal are
    where it is large; an odd ρ has its rays at the zeros of f. Raises ``ValueError`` where the pair is of another
    dimension.

    >>> sine_transform(AdmissiblePair.get("relu"), 2 * np.pi, [0.0, 4.0], [1.0]).round(4).tolist()
    [[0.0], [1.111]]
    """
    if pair.dimension != 1:
        raise ValueError(f"a pair of dimension {pair.dimension}: one of dimension 1 is allowed")
    w = float(finite("frequency", frequency))
    a, b = line("a", a)[:, None], line("b", b)
    moving = np.where(a == 0, 1.0, a)
    wave = np.exp(1j * w * b / moving) * np.conj(pair.rho_hat(w / moving))
    return np.where(a == 0, 0.0, wave.imag / np.abs(moving))


def polygon_transform(pair: AdmissiblePair, points: Numbers, values: Numbers, a: Numbers, b: Numbers) -> Array:
    r"""R[f](a, b) of the polygon through (``points``, ``values``), 0 outside, in closed form; (len(a), len(b)), with
    the outputs of the values as a last axis where they have some. Dimension 1.

    With s_i the change of slope and j_i the jump of f at the corner x_i, and ρ_{-1}, ρ_{-2} the first and the second
    antiderivative of ρ,

    .. math:: R[f](a, b) = \sum_i \left[ \frac{s_i}{a^2}\, \rho_{-2}(a x_i - b)
        - \frac{j_i}{a}\, \rho_{-1}(a x_i - b) \right] ,

    so that each corner has a ray b = a x_i, on which \|R\| falls like 1/a², and each jump one with 1/\|a\|. Jumps
    are at the ends only, where the values are not 0. Where \|a\| is below 1e-4 it is Simpson's rule, to 1e-8.
    ``points`` (n,) ascending, ``values`` (n,) or (n, outputs). Raises ``ValueError`` where ρ is no
    :class:`GaussianDerivative` of order 2 or more, and for shapes as :func:`transform`.

    >>> hat = [-0.5, 0.0, 0.5], [0.0, 1.0, 0.0]
    >>> polygon_transform(AdmissiblePair.get("relu"), *hat, [4.0], [0.0]).round(4).tolist()
    [[0.3515]]
    """
    rho = pair.rho
    if not isinstance(rho, GaussianDerivative) or rho.order < 2 or pair.dimension != 1:
        raise ValueError(f"rho = {rho}: a GaussianDerivative of order 2 or more, in dimension 1, is allowed")
    x, outputs, bends, jumps = corners(points, values)
    first, second = (GaussianDerivative(rho.order - k, rho.scale, rho.sign) for k in (1, 2))
    a, b = vectors("a", a, 1), line("b", b)
    moving = np.where(np.abs(a) < 1e-4, 1.0, a)[:, :, None]
    found = (rho.scale / moving) ** 2 * over_points(second, a, b, x[:, None], bends)
    found -= rho.scale / moving * over_points(first, a, b, x[:, None], jumps)
    near = np.abs(a[:, 0]) < 1e-4
    if near.any():
        middle = np.diff(x)[:, None] * (outputs[1:] + outputs[:-1]) / 3
        found[near] = over_points(rho, a[near], b, x[:, None], _trapezoid(x)[:, None] * outputs / 3)
        found[near] += over_points(rho, a[near], b, (x[1:, None] + x[:-1, None]) / 2, middle)
    return found if np.ndim(values) > 1 else found[..., 0]


def corners(points: Numbers, values: Numbers) -> tuple[Array, Array, Array, Array]:
    """Of the polygon through (``points``, ``values``), 0 outside: x (n,), and y, the changes of slope and the jumps at
    x, each (n, outputs).

    >>> [array.tolist() for array in corners([0.0, 1.0], [2.0, 3.0])]
    [[0.0, 1.0], [[2.0], [3.0]], [[1.0], [-1.0]], [[2.0], [-3.0]]]
    """
    (x,), values = _sampled((points, values), 1)
    if len(x) < 2 or not (np.diff(x) > 0).all():
        raise ValueError(f"points of shape {x.shape}: two or more, ascending, are allowed")
    y = values.reshape(len(x), -1)
    still = np.zeros((1, y.shape[1]))
    bends = np.diff(np.concatenate([still, np.diff(y, axis=0) / np.diff(x)[:, None], still]), axis=0)
    return x, y, bends, np.concatenate([y[:1], 0 * y[1:-1], -y[-1:]])
