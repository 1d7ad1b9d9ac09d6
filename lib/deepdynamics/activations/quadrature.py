r"""Gaussian integrals of functions that are smooth in pieces.

An integral over a Gaussian puts nodes between all edges, those of the function
(:class:`deepdynamics.activations.pieces.Pieces`) and those of a mesh on the scale of the Gaussian. An integral over
pairs goes along the axes of the joint law,

.. math:: u = \sqrt{q_a}\,(\alpha x + \beta y),\qquad v = \pm\sqrt{q_b}\,(\alpha x - \beta y),\qquad
    \alpha^2 = (1 + |c|)/2,\quad \beta^2 = (1 - |c|)/2,

x and y standard normal: over y between the lines on which u or v meets an edge, then over x, where what is left of a
kink is smooth on the scale :math:`\beta/\alpha`, between the places at which u and v meet kinks at once. Cost and
memory grow like the logarithm of the variances for functions that straighten out, and are bounded for all: a function
that needs more than ``MOST_OF_PAIRS`` pieces where pairs are asked for is ``Unresolved``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepdynamics._checks import Array
from deepdynamics.activations.integrals import Function, normal
from deepdynamics.activations.pieces import NODES, ORDER, WEIGHTS, Pieces, Unresolved

__all__ = ["REACH", "gaussian_mean", "pair_mean", "rule"]

MOST_OF_PAIRS, MOST_KINKS = 256, 64  # pieces and kinks of a function where pairs are asked for
REACH, FURTHEST = 9.5, 38.0  # standard deviations: e^(-45) is left out, and what float64 does not hold
_BLOCK = 2**17  # nodes that are in memory together: they stay in the cache of a core
_SMOOTHED = np.array([-7.5, -5.0, -2.5, 0.0, 2.5, 5.0, 7.5])  # around a kink, in units of what has smoothed it


def _panels(edges: Array) -> tuple[Array, Array, Any]:
    """Nodes and weights (panels, ORDER) between the sorted edges (rows, …), and the row of each panel; panels without
    length are left out."""
    low, high = edges[:, :-1], edges[:, 1:]
    row, column = np.nonzero(high > low)
    half = (high[row, column] - low[row, column])[:, None] / 2
    return (low[row, column][:, None] + half) + half * NODES, half * WEIGHTS, row


def _mean_edges(root_q: Array, centre: Array, edges: Array, reach: float) -> Array:
    """Edges in z, (len(q), …): of the Gaussian and of the function."""
    own = np.clip((edges - centre[:, None]) / root_q[:, None], -reach, reach)
    return np.sort(np.concatenate([np.broadcast_to(_mesh(reach), (len(root_q), _mesh(reach).size)), own], axis=1))


def _mesh(reach: float) -> Array:
    """Panels of 1.9 standard deviations: 16 nodes leave 1e-15 of the Gaussian."""
    return np.linspace(-reach, reach, 1 + 2 * round(reach / 1.9))


def gaussian_mean(f: Function, q: Array, pieces: Pieces, centre: Array | None = None, *, reach: float = REACH) -> Array:
    """E f(centre + √q z) for f smooth on the pieces, q > 0, centre 0 unless it is given. Relative accuracy 1e-12 of
    E |f|.

    Where the mass lies in the tails, they are followed to where float64 ends; :class:`Unresolved` if it lies beyond.

    >>> pieces = Pieces(lambda x: np.stack([abs(x), np.sign(x)]), "abs")
    >>> bool(abs(gaussian_mean(np.abs, np.array([np.pi / 2]), pieces)[0] - 1) < 1e-14)
    True
    """
    flat, out = q.ravel(), np.empty(q.size)
    middle = np.zeros(q.size) if centre is None else np.broadcast_to(centre, q.shape).ravel()
    away = float(np.abs(middle).max(initial=0.0))
    order = np.argsort(flat)
    start = 0
    while start < len(order):
        # variances of a block have radii within a factor of four, so that they have about as many edges
        most = np.searchsorted(flat[order], 16 * flat[order[start]], side="right")
        edges, _ = pieces.within(away + reach * float(np.sqrt(flat[order[most - 1]])))
        size = max(1, _BLOCK // (ORDER * (len(_mesh(reach)) + len(edges))))
        block = order[start : min(most, start + size)]
        root = np.sqrt(flat[block])
        z, w, row = _panels(_mean_edges(root, middle[block], edges, reach))
        with np.errstate(over="ignore", invalid="ignore"):
            parts = w * normal(z) * f(middle[block][row][:, None] + root[row][:, None] * z)
        out[block] = np.bincount(row, parts.sum(1), len(block))
        far = _in_the_tails(np.abs(parts).sum(1), np.abs(z[:, ORDER // 2]), row, len(block), reach)
        if far.any() and reach < FURTHEST:
            beyond = block[far]
            out[beyond] = gaussian_mean(f, flat[beyond], pieces, middle[beyond], reach=FURTHEST)
        elif far.any():
            raise _too_fast(pieces, float(flat[block[far]].max()))
        start += len(block)
    return out.reshape(q.shape)


def _in_the_tails(mass: Array, z: Array, row: Any, rows: int, reach: float) -> NDArray[np.bool_]:
    """Rows with more than 1e-9 of their absolute mass in the two outermost standard deviations."""
    total = np.bincount(row, mass, rows)
    outside = np.bincount(row, mass * (z > reach - 2), rows)
    return np.asarray(~(outside <= 1e-9 * total))


def _too_fast(pieces: Pieces, q: float) -> Unresolved:
    return Unresolved(f"q = {q:g}: {pieces.name} grows too fast for its Gaussian moments in float64")


def rule(q: float, pieces: Pieces) -> tuple[Array, Array]:
    """Nodes x and weights of E f(√q z) = Σ w f(x), for f smooth on the pieces.

    >>> x, w = rule(np.pi / 2, Pieces(lambda x: np.stack([abs(x), np.sign(x)]), "abs"))
    >>> bool(abs(w @ abs(x) - 1) < 1e-14)
    True
    """
    edges, _ = pieces.within(REACH * q**0.5)
    z, w, _ = _panels(_mean_edges(np.array([q**0.5]), np.zeros(1), edges, REACH))
    return (q**0.5 * z).ravel(), (w * normal(z)).ravel()


def pair_mean(
    h: Callable[[Array, Array], Array], qa: Array, qb: Array, c: Array, pieces: Pieces, *, reach: float = REACH
) -> Array:
    """E h(u, v) for (u, v) Gaussian of variances qa, qb > 0 and correlation c, and h smooth where u and v are on the
    pieces, and symmetric; the arrays broadcast. Relative accuracy 1e-11 of E |h|; tails as in :func:`gaussian_mean`.

    >>> pieces = Pieces(lambda x: np.stack([abs(x), np.sign(x)]), "abs")
    >>> one, c = np.ones(1), np.array([0.6])
    >>> found = pair_mean(lambda u, v: abs(u * v), one, one, c, pieces)
    >>> bool(abs(found - 2 / np.pi * (0.8 + 0.6 * np.arcsin(0.6))) < 1e-13)
    True
    """
    qa, qb, c = np.broadcast_arrays(qa, qb, c)
    shape, arguments = c.shape, np.stack([qa.ravel(), qb.ravel(), c.ravel()])
    out = np.empty(c.size)
    order = np.argsort(arguments[:2].max(0))
    for start in range(0, len(order), 8):
        block = order[start : start + 8]
        out[block], far = _pair_block(h, arguments[:, block], pieces, reach)
        beyond = block[far]
        if len(beyond) and reach < FURTHEST:
            qa, qb, c = arguments[:, beyond]
            out[beyond] = pair_mean(h, qa, qb, c, pieces, reach=FURTHEST)
        elif len(beyond):
            raise _too_fast(pieces, float(arguments[:2, beyond].max()))
    return out.reshape(shape)


def _pair_block(
    h: Callable[[Array, Array], Array], arguments: Array, pieces: Pieces, reach: float
) -> tuple[Any, NDArray[np.bool_]]:
    """The integrals, and which of them have their mass in the tails."""
    qa, qb, c = arguments
    side = np.where(c < 0, -1.0, 1.0)[:, None]
    alpha, beta = np.sqrt((1 + np.abs(c)) / 2)[:, None], np.sqrt((1 - np.abs(c)) / 2)[:, None]
    ra, rb = np.sqrt(qa)[:, None], np.sqrt(qb)[:, None]
    radius = 2**0.5 * reach * float(max(ra.max(), rb.max()))
    edges, kinks = (each[np.abs(each) < radius] for each in pieces.within(radius))
    if len(edges) > MOST_OF_PAIRS or len(kinks) > MOST_KINKS:
        raise Unresolved(
            f"{pieces.name} has {len(edges) + 1} pieces and {len(kinks)} kinks on [-{radius:g}, {radius:g}]; "
            f"{MOST_OF_PAIRS} and {MOST_KINKS} are allowed for integrals over pairs"
        )
    same = bool((ra == rb).all() and (side > 0).all())
    along = [np.broadcast_to(_mesh(reach), (len(c), len(_mesh(reach))))]
    for deviation, sign in ((ra, 1.0),) if same else ((ra, 1.0), (rb, side)):
        along.append(sign * edges / (deviation * alpha))
        smoothed = (sign * kinks / (deviation * alpha))[..., None] + (beta / alpha)[..., None] * _SMOOTHED
        along.append(smoothed.reshape(len(c), -1))
    # where u and v meet kinks at once, what is left over y is not smooth in x
    corners = kinks[:, None] / ra[..., None] + side[..., None] * kinks / rb[..., None]
    along.append(corners.reshape(len(c), -1) / (2 * alpha))
    x, wx, row = _panels(np.sort(np.clip(np.concatenate(along, axis=1), -reach, reach), axis=1))
    centre, rows = np.abs(x[:, ORDER // 2]), row
    shape, x, row = x.shape, x.ravel(), np.repeat(row, ORDER)
    inner, mass = np.empty(x.size), np.empty(x.size)
    size = max(1, _BLOCK // (ORDER * (len(_mesh(reach)) + 2 * len(edges))))
    for start in range(0, x.size, size):
        some = slice(start, start + size)
        each_ra, each_rb, each_alpha, each_beta = (each[row[some]] for each in (ra, rb * side, alpha, beta))
        inner[some], mass[some] = _across(h, x[some, None], each_ra, each_rb, each_alpha, each_beta, edges, same, reach)
    wx = wx * normal(x).reshape(shape)
    far = _in_the_tails((wx * mass.reshape(shape)).sum(1), centre, rows, len(c), reach)
    return np.bincount(rows, (wx * inner.reshape(shape)).sum(1), len(c)), far


def _across(
    h: Callable[[Array, Array], Array],
    x: Array,
    ra: Array,
    rb: Array,
    alpha: Array,
    beta: Array,
    edges: Array,
    same: bool,
    reach: float,
) -> tuple[Any, Any]:
    """E h and E |h| over y at every x; from y = 0 on where h is even in it, which it is for equal variances."""
    ax = alpha * x
    with np.errstate(divide="ignore", invalid="ignore"):
        lines = np.concatenate([(edges / ra - ax) / beta, (ax - edges / rb) / beta], axis=1)
    low = 0.0 if same else -reach
    lines = np.clip(np.nan_to_num(lines, nan=0.0, posinf=reach, neginf=-reach), low, reach)
    mesh = np.broadcast_to(np.maximum(_mesh(reach), low), (len(x), len(_mesh(reach))))
    y, w, node = _panels(np.sort(np.concatenate([mesh, lines], axis=1), axis=1))
    by = beta[node] * y
    with np.errstate(over="ignore", invalid="ignore"):
        parts = w * normal(y) * h(ra[node] * (ax[node] + by), rb[node] * (ax[node] - by))
    fold = 2 if same else 1
    total, mass = (np.bincount(node, each.sum(1), len(x)) for each in (parts, np.abs(parts)))
    return fold * total, fold * mass
