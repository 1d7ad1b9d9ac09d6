r"""Fixed points of the length map :math:`q \mapsto V(q) = \sigma_w^2\,E\,\phi(\sqrt q z)^2 + \sigma_b^2`.

A map that grows less than proportionally (tanh) has one that lengths approach. Others have several (GELU: a stable
one, and an unstable one beyond which lengths diverge). They are found from one table of E phi(√q z)² on a grid in log q
and of its slopes: by the sign of V(q) - q, and where two of them lie between neighbours of the grid, by the extremum
between them. V(q) never falls faster than :math:`q^{-1/2}` (the Gaussian density of variance q at
a place, times √q, rises with q), so that lengths do not oscillate for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray
from scipy.optimize.elementwise import find_root

from deepdynamics._checks import Array
from deepdynamics.activations import Activation, Homogeneous

__all__ = ["divergence", "falling_root", "fixed_length", "fixed_lengths"]

_LOG_Q = np.unique(np.concatenate([np.arange(-37, -14), np.arange(-14, 14, 0.25), np.arange(14, 47.0)]))
_ONE = int(np.searchsorted(_LOG_Q, 0.0))
_NO_BIAS = 1e-290  # below, floats lose digits
_ROUNDING = 4e-13  # of V(q)/q - 1
_NO_BRACKET = -1  # scipy's status
_BLOCK = 4096  # networks whose tables are in memory together


def fixed_length(phi: Activation, weight_var: Array, bias_var: Array) -> Array:
    """q*, the fixed point that lengths approach from q = 1 (the next one above, if V(1) > 1, else below), nan where
    they diverge, and where every length is a fixed point; elementwise.

    >>> from deepdynamics import activations
    >>> fixed_length(activations.get("gelu"), np.array([1.0, 2.05, 2.5]), np.array(0.1)).round(3)
    array([0.144, 0.387,   nan])
    """
    w, b = np.broadcast_arrays(weight_var, np.where(np.asarray(bias_var) < _NO_BIAS, 0.0, bias_var))
    if isinstance(phi, Homogeneous):
        slope = w * phi.second_moment(1.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(slope < 1, b / (1 - slope), np.nan)
    flat_w, flat_b = w.ravel(), b.ravel()
    q = np.concatenate(
        [
            _next_to_one(phi, flat_w[start : start + _BLOCK], flat_b[start : start + _BLOCK])
            for start in range(0, len(flat_w), _BLOCK)
        ]
        or [np.empty(0)]
    )
    return q.reshape(w.shape)


def fixed_lengths(phi: Activation, weight_var: float, bias_var: float) -> Array:
    """All fixed points, ascending, of one length map whose lengths have a scale.

    >>> from deepdynamics import activations
    >>> fixed_lengths(activations.get("gelu"), 2.05, 0.1).round(3)
    array([0.387, 2.317])
    """
    bias_var = 0.0 if bias_var < _NO_BIAS else bias_var
    w, b = np.array([weight_var]), np.array([bias_var])
    log_q, excess, slope = (each[0] for each in _excess(phi, w, b))
    log_q, excess, slope = (each[np.abs(excess) > _ROUNDING] for each in (log_q, excess, slope))
    found = []
    for i in range(len(log_q) - 1):
        low, high = log_q[i], log_q[i + 1]
        if excess[i] * excess[i + 1] < 0:
            cells = [(low, high)]
        else:
            turn = _turn(phi, w, b, low, high, excess[i : i + 2], slope[i : i + 2])
            cells = [] if turn is None else [(low, turn), (turn, high)]
        for left, right in cells:
            sign = np.sign(_one_excess(phi, np.array([left]), w, b))
            root = falling_root(partial(_signed_excess, phi), np.array([left]), np.array([right]), w, b, sign)
            found.append(float(np.exp(root)[0]))
    floor = weight_var * float(phi.second_moment(0.0)) + bias_var
    if floor == 0:
        return np.array([0.0, *found])
    if len(excess) and excess[0] < 0:  # below the grid
        root = falling_root(partial(_one_excess, phi), np.log([floor / 2]), log_q[:1], w, b)
        found.insert(0, float(np.exp(root)[0]))
    return np.array(found)


def divergence(phi: Activation, weight_var: float, bias_var: float) -> str:
    """Why there is no q*, in words.

    >>> from deepdynamics import activations
    >>> divergence(activations.get("relu"), 3.0, 0.1)
    'weight_var = 3: lengths grow without bound from q = 1 (relu); they settle for weight_var < 2'
    """
    growth = float(phi.second_moment(1e20)) / 1e20 if _table(phi)[3] is None else np.inf
    where = f"weight_var = {weight_var:g}"
    if isinstance(phi, Homogeneous) and weight_var * growth == 1 and bias_var == 0:
        return f"{where}: every length is a fixed point of the length map ({phi.name}); allowed are others than {where}"
    others = [] if isinstance(phi, Homogeneous) else fixed_lengths(phi, weight_var, bias_var).tolist()
    limit = _table(phi)[3]
    if limit is not None:
        return f"{where}: from q = 1 lengths grow, to where nothing is known of {phi.name}: {limit}"
    reason = f"{where}: lengths grow without bound from q = 1 ({phi.name})"
    if others:
        reason += f"; fixed points of the length map, not reached from there: {', '.join(f'{q:.6g}' for q in others)}"
    return f"{reason}; they settle for weight_var < {1 / growth:g}" if growth > 1e-12 else reason


@lru_cache(maxsize=64)
def _table(phi: Activation) -> tuple[Array, Array, Array, ValueError | None]:
    """q, E phi² and its slope by q on the grid, as far as they are known, and why they end."""
    moments: list[Array] = []
    slopes: list[Array] = []
    limit: ValueError | None = None
    for part in np.split(np.exp(_LOG_Q), [_ONE + 1, *range(_ONE + 17, len(_LOG_Q), 16)]):
        try:
            moment, slope = phi.second_moment(part), phi.second_moment_slope(part)
        except ValueError as error:
            if not moments:
                raise
            limit = error
            break
        moments.append(np.asarray(moment))
        slopes.append(np.asarray(slope))
    known = sum(map(len, moments))
    return np.exp(_LOG_Q)[:known], np.concatenate(moments), np.concatenate(slopes), limit


def _excess(phi: Activation, w: Array, b: Array) -> tuple[Array, Array, Array]:
    """log q, V/q - 1 and its slope by log q, (networks, grid)."""
    q, moment, by_q, _ = _table(phi)
    mapped = w[:, None] * moment + b[:, None]
    log_q = np.broadcast_to(_LOG_Q[: len(q)], mapped.shape)
    return log_q, mapped / q - 1, w[:, None] * by_q - mapped / q


def _signed_excess(phi: Activation, log_q: Array, w: Array, b: Array, sign: Array) -> Array:
    return sign * _one_excess(phi, log_q, w, b)


def _one_excess(phi: Activation, log_q: Array, w: Array, b: Array) -> Array:
    return np.asarray(np.log(w * phi.second_moment(np.exp(log_q)) + b) - log_q)


def _next_to_one(phi: Activation, w: Array, b: Array) -> Array:
    _, excess, slope = _excess(phi, w, b)
    last = excess.shape[1] - 1
    up = excess[:, _ONE] > _ROUNDING
    # the first place above with V < q, or below with V > q
    falls = (excess[:, _ONE:] < -_ROUNDING).argmax(1) + _ONE
    rises = _ONE - (excess[:, _ONE::-1] > _ROUNDING).argmax(1)
    high = np.where(up, falls, rises + 1)
    found = np.where(up, falls > _ONE, rises < _ONE)
    # without one below, the fixed point is below the grid, or 0
    floor = w * phi.second_moment(0.0) + b
    bottom = ~up & ~found & (floor > 0)
    low_x = np.where(bottom, np.log(np.where(bottom, floor, 1.0) / 2), _LOG_Q[np.maximum(high - 1, 0)])
    high_x = np.where(bottom, _LOG_Q[0], _LOG_Q[np.minimum(high, last)])
    low_x, high_x = np.minimum(low_x, high_x), high_x
    _look_between(phi, w, b, excess, slope, up, found, bottom, low_x, high_x)
    todo = found | bottom
    q = np.where(up, np.nan, 0.0)
    if todo.any():
        q[todo] = np.exp(falling_root(partial(_one_excess, phi), low_x[todo], high_x[todo], w[todo], b[todo]))
    return q


def _look_between(
    phi: Activation,
    w: Array,
    b: Array,
    excess: Array,
    slope: Array,
    up: NDArray[np.bool_],
    found: NDArray[np.bool_],
    bottom: NDArray[np.bool_],
    low_x: Array,
    high_x: Array,
) -> None:
    """A pair of fixed points between neighbours of the grid, nearer to 1 than the sign shows: into the arguments."""
    near = (np.abs(excess[:, 1:]) < 0.5) & (excess[:, 1:] * excess[:, :-1] > 0) & (slope[:, 1:] * slope[:, :-1] < 0)
    towards = excess[:, :-1] * slope[:, :-1] < 0
    cells = near & towards & ((excess[:, 1:] > 0) == up[:, None])
    cells[:, :_ONE] &= ~up[:, None]
    cells[:, _ONE:] &= up[:, None]
    for i in np.flatnonzero(cells.any(1)):
        here = np.flatnonzero(cells[i])
        for j in here if up[i] else here[::-1]:
            x = _LOG_Q[j : j + 2]
            if (found[i] or bottom[i]) and (x[0] >= high_x[i] if up[i] else x[1] <= low_x[i]):
                break
            one = slice(i, i + 1)
            turn = _turn(phi, w[one], b[one], float(x[0]), float(x[1]), excess[i, j : j + 2], slope[i, j : j + 2])
            if turn is not None:
                low_x[i], high_x[i] = (x[0], turn) if up[i] else (turn, x[1])
                found[i], bottom[i] = True, False
                break


def _turn(phi: Activation, w: Array, b: Array, low: float, high: float, excess: Array, slope: Array) -> float | None:
    """Where the excess, of one sign at both ends, has the other in between."""
    if excess[0] * slope[0] >= 0 or excess[1] * slope[1] <= 0:
        return None

    def by_log_q(x: Array) -> Array:
        q = np.exp(x)
        return np.asarray(np.sign(slope[0]) * (w * phi.second_moment_slope(q) - (w * phi.second_moment(q) + b) / q))

    turn = falling_root(by_log_q, np.array([low]), np.array([high]))
    return float(turn[0]) if (_one_excess(phi, turn, w, b) * excess[0] < 0).all() else None


def falling_root(f: Callable[..., Array], low: Array, high: Array, *args: Array) -> Array:
    """Where f(x, *args), which acts elementwise on arrays (n,), falls through 0, by Chandrupatla's method (1997), to
    rounding; f(low) >= 0 >= f(high). An end at which rounding has taken this sign is the root. RuntimeError where f is
    not finite.

    >>> falling_root(lambda x, a: a - x**2, np.zeros(2), 2 * np.ones(2), np.array([2.0, 1.0])).round(12)
    array([1.41421356, 1.        ])
    """
    found = find_root(f, (low, high), args=args, tolerances={"xatol": 1e-17})
    end = found.status == _NO_BRACKET
    if not (found.success | end).all():
        raise RuntimeError(f"no root of a function with values {found.f_bracket[0]}, {found.f_bracket[1]} at the ends")
    return np.where(end, np.where(found.f_bracket[0] <= 0, low, high), found.x)
