"""Exact learning dynamics of deep linear networks: how the strength of one mode grows under gradient flow.

A linear network y = W^D ... W^1 x learns, from inputs with covariance I, the map Σ = U S Vᵀ (input-output correlation).
Where every W^l starts diagonal in the modes (W^1 = R_1 A Vᵀ, W^l = R_l A R_{l-1}ᵀ, W^D = U A R_{D-1}ᵀ, with orthogonal
R_l and one diagonal A), the modes do not interact, and the strength u of a mode, the product of its D entries, obeys

    τ du/dt = D u^{2 - 2/D} (s - u),        D = N_l - 1 weight layers, τ = 1 / learning rate.

Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks"
(2014): D = 2 is eq. (12), general D eq. (15), D → ∞ eq. (17). All functions are numpy float64 and broadcast; lists and
tensors are taken as arrays are. In units
x = u/s and T = D s^{2-2/D} t/τ the equation is dT = dx / (x^p (1 - x)) with p = 2 - 2/D, an incomplete beta integral.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import digamma, expit, wrightomega

from deepdynamics._checks import Array, Numbers, Values, not_negative, positive, real

__all__ = ["learning_time", "mode_strength"]

_ITERATIONS, _TERMS = 60, 60


def mode_strength(
    t: Numbers, singular_value: Numbers, initial: Numbers, tau: Numbers, weight_layers: Numbers = 2
) -> Values:
    """Strength u(t) of a mode under τ du/dt = D u^{2-2/D} (s - u), u(0) = ``initial``, D = ``weight_layers``.

    D = 2: u = s / (1 + (s/u0 - 1) e^{-2 s t/τ}), eq. (12) of Saxe et al. (2014); D = 1: u = s - (s - u0) e^{-t/τ}.
    Other depths invert :func:`learning_time` by Newton's method. D = ``inf``: the limit N_l → ∞ at fixed N_l·t, so that
    t stands for N_l·t and τ du/dt = u² (s - u). ``initial`` is the strength of the PRODUCT of the layers; it may be
    above s, and the mode then decays. All arguments broadcast.

    Raises ValueError unless t >= 0, singular_value > 0, initial > 0, tau > 0 (all finite) and weight_layers is a
    positive integer or inf; RuntimeError if Newton's method does not converge.

    >>> mode_strength([0.0, 1.0, 5.0], singular_value=2.0, initial=0.1, tau=1.0).round(4)
    array([0.1   , 1.4837, 2.    ])
    """
    named = {"singular_value": singular_value, "initial": initial, "tau": tau}
    parts = [not_negative("t", t), *(positive(*pair) for pair in named.items()), _depth(weight_layers)]
    t, s, u0, tau, depth = (np.array(a) for a in np.broadcast_arrays(*parts))
    u = np.empty_like(t)
    one, two = depth == 1, depth == 2
    u[one] = (s - (s - u0) * np.exp(-t / tau))[one]
    u[two] = (s / (1 + (s / u0 - 1) * np.exp(-2 * s * t / tau)))[two]
    more = ~(one | two)
    for side, invert in ((more & (u0 < s), _grow), (more & (u0 >= s), _decay)):
        if side.any():
            reduced = (t / (tau * _unit_time(s, depth)))[side]
            u[side] = s[side] * invert(reduced, (u0 / s)[side], depth[side])
    return u[()]


def learning_time(
    singular_value: Numbers, initial: Numbers, final: Numbers, tau: Numbers, weight_layers: Numbers = 2
) -> Values:
    """Time from strength ``initial`` to strength ``final`` of a mode with D = ``weight_layers`` weight layers.

    t = τ ∫ du / (D u^{2-2/D} (s - u)) from u0 to uf. D = 2: t = τ/(2s) · ln[uf (s - u0) / (u0 (s - uf))], eq. (11) of
    Saxe et al. (2014). D = ``inf``: the limit of N_l·t,
    τ [s^{-2} ln(uf (u0 - s) / (u0 (uf - s))) + 1/(s u0) - 1/(s uf)], eq. (17). ``final`` = s takes infinitely long.
    All arguments broadcast.

    Raises ValueError unless all are positive and finite, weight_layers is a positive integer or inf, and ``final`` lies
    between ``initial`` and ``singular_value``: the mode never reaches another strength.

    >>> learning_time(2.0, 0.1, 1.9, tau=1.0).round(4)
    np.float64(1.4722)
    >>> learning_time(1.0, 0.01, 0.99, tau=1.0, weight_layers=[2, 10, np.inf]).round(3)
    array([  4.595,   5.582, 108.18 ])
    """
    named = {"singular_value": singular_value, "initial": initial, "final": final, "tau": tau}
    parts = [*(positive(*pair) for pair in named.items()), _depth(weight_layers)]
    s, u0, uf, tau, depth = (np.array(a) for a in np.broadcast_arrays(*parts))
    wrong = (uf - u0) * (s - uf) < 0
    if wrong.any():
        raise ValueError(
            f"final = {uf[wrong][0]}: a mode that starts at {u0[wrong][0]} takes the values between that and its "
            f"singular value {s[wrong][0]} only"
        )
    time = np.zeros_like(s)
    up, down = u0 < uf, u0 > uf
    time[up] = _time_up(*(a[up] for a in (u0 / s, (s - u0) / s, uf / s, (s - uf) / s, depth)))
    time[down] = _time_down(*(a[down] for a in (s / u0, (u0 - s) / u0, s / uf, (uf - s) / uf, depth)))
    return (tau * _unit_time(s, depth) * time)[()]


def _unit_time(s: Array, depth: Array) -> Array:
    """dt/dT for τ = 1: 1/(D s^{2-2/D}); in the limit of N_l·t, 1/s²."""
    return 1 / (np.where(np.isinf(depth), 1.0, depth) * s ** (2 - 2 / depth))


def _time_up(x0: Array, c0: Array, x1: Array, c1: Array, depth: Array) -> Array:
    """∫ dx / (x^p (1 - x)) from x0 to x1 > x0, both below 1; c = 1 - x.

    1/(x^p (1-x)) = x^{-p} + x^{1-p} + x^{2-p}/(1-x): two powers, whose differences are taken without cancellation, and
    a series of positive terms. No term is singular at D = 2 or D = ∞, as the textbook hypergeometric function is.
    """
    e = 2 / depth
    return _power(x0, x1, e - 1) + _power(x0, x1, e) + _tail(x1, c1, e) - _tail(x0, c0, e)


def _time_down(w0: Array, c0: Array, w1: Array, c1: Array, depth: Array) -> Array:
    """∫ dx / (x^p (x - 1)) from x1 to x0 > x1, both above 1: ∫ w^{p-1} / (1 - w) dw with w = 1/x, c = 1 - w."""
    p = 2 - 2 / depth
    return _power(w0, w1, p) + _tail(w1, c1, p) - _tail(w0, c0, p)


def _power(a: Array, b: Array, exponent: Array) -> Array:
    """(b^k - a^k) / k, and log(b/a) for k = 0."""
    log = np.log(b / a)
    safe = np.where(exponent == 0, 1.0, exponent)
    return np.where(exponent == 0, log, a**exponent * np.expm1(exponent * log) / safe)


def _tail(x: Array, c: Array, e: Array) -> Array:
    """∫_0^x w^{1+e} / (w (1 - w)) dw = x^e Σ_{k>=1} x^k / (k + e), with c = 1 - x; inf at x = 1.

    Beyond x = 1/2 the same function as a series in c, which has the logarithm in front (DLMF 15.8.10). scipy's hyp2f1
    loses all digits here for e below about 0.01.
    """
    near = np.zeros_like(x)  # the series in x, where x <= 1/2
    far = np.zeros_like(x)  # the series in c, where c < 1/2
    small, rest = np.minimum(x, 0.5), np.minimum(c, 0.5)
    bracket = digamma(1.0) - digamma(1 + e) - np.log(np.where(c > 0, c, 1.0))
    power, coefficient = np.ones_like(x), np.ones_like(x)
    for k in range(_TERMS):
        power = power * small
        near += power / (k + 1 + e)
        far += coefficient * bracket
        bracket = bracket + 1 / (k + 1) - 1 / (k + 1 + e)
        coefficient = coefficient * rest * (k + 1 + e) / (k + 1)
    return np.where(c > 0, np.where(x <= 0.5, x**e * near, x ** (1 + e) * far), np.inf)


def _grow(time: Array, x0: Array, depth: Array) -> Array:
    """x < 1 at the reduced time, D >= 3. With y = log(x/(1-x)) and q = 1 - 2/D, dT = (1 + e^{-y})^q dy is concave in y.

    (1 + e^{-y})^q <= 1 + e^{-qy} gives, through Wright's omega function, a start that is below the root by a bounded
    amount (exact for D = ∞), and Newton's method climbs from there.
    """
    q = 1 - 2 / depth
    y0 = np.log(x0) - np.log1p(-x0)
    constant = time + y0 - np.exp(-q * y0) / q
    omega = wrightomega(-q * constant)
    with np.errstate(divide="ignore"):
        y = np.where(constant < 0, -np.log(omega) / q, constant + omega / q)
    y = np.maximum(y, y0)

    def step(y: Array) -> Array:
        x = expit(y)
        return (time - _time_up(x0, 1 - x0, x, expit(-y), depth)) * x**q

    return np.maximum(expit(_newton(y, y0, time, step)), x0)


def _decay(time: Array, x0: Array, depth: Array) -> Array:
    """x >= 1 at the reduced time, D >= 3. With y = log(x/(x-1)), dT = (1 - e^{-y})^q dy is convex in y."""
    q, at_rest = 1 - 2 / depth, x0 == 1
    w0 = 1 / np.where(at_rest, 2.0, x0)
    y0 = -np.log1p(-w0)

    def step(y: Array) -> Array:
        w = -np.expm1(-y)
        return (time - _time_down(w0, 1 - w0, w, np.exp(-y), depth)) / w**q

    return np.where(at_rest, 1.0, np.minimum(-1 / np.expm1(-_newton(y0 + time, y0, time, step)), x0))


def _newton(y: Array, lowest: Array, time: Array, step: Callable[[Array], Array]) -> Array:
    """Newton's method; where y passes 40, x is 1 to working precision and y stays.

    The times are known to a relative 1e-16, and dy/dT <= 1: smaller steps than that are noise.
    """
    for _ in range(_ITERATIONS):
        change = np.where(y > 40, 0.0, step(np.minimum(y, 40.0)))
        y = np.maximum(y + change, lowest)
        if (np.abs(change) <= 1e-12 * np.maximum(np.abs(y), 1) + 1e-14 * time).all():
            return y
    raise RuntimeError(f"mode_strength: Newton's method still moves by {np.abs(change).max():.1g}")


def _depth(weight_layers: Numbers) -> Array:
    depth = real("weight_layers", weight_layers)
    good = (depth >= 1) & (np.isinf(depth) | (depth == np.floor(depth)))
    if not good.all():
        raise ValueError(f"weight_layers = {depth[~good][0]}: positive integers and inf are allowed")
    return depth
