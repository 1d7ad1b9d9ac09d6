r"""Gaussian integrals of functions that are smooth in pieces.

:class:`Pieces` finds the edges between which a function and its derivative are resolved by 16 Gauss-Legendre nodes:
bisection, which closes in on kinks and jumps; these become edges themselves, with no grading needed towards them. An
integral over a Gaussian puts nodes between all edges, those of the function and those of a mesh on the scale of the
Gaussian. An integral over pairs goes along the axes of the joint law,

.. math:: u = \sqrt{q_a}\,(\alpha x + \beta y),\qquad v = \pm\sqrt{q_b}\,(\alpha x - \beta y),\qquad
    \alpha^2 = (1 + |c|)/2,\quad \beta^2 = (1 - |c|)/2,

x and y standard normal: over y between the lines on which u or v meets an edge, then over x, where what is left of a
kink is smooth on the scale :math:`\beta/\alpha`, between the places at which u and v meet kinks at once. Cost and
memory grow like the logarithm of the variances for functions that straighten out, and are bounded for all: a function
that needs more than ``MOST`` pieces, or ``MOST_OF_PAIRS`` where pairs are asked for, is :class:`Unresolved`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepdynamics.activations.integrals import normal

Array = NDArray[np.float64]
Function = Callable[[Any], Any]

ORDER = 16
MOST, MOST_OF_PAIRS, MOST_KINKS = 2048, 256, 64  # pieces of a function, and those and kinks where pairs are asked for
REACH, FURTHEST = 9.5, 38.0  # standard deviations: e^(-45) is left out, and what float64 does not hold
_RESOLVED = 1e-9  # of the interpolation; the quadrature is right to about the square of it
_TO_ROUNDING = 1e-13
_RADII = np.concatenate([2 * 4.0 ** np.arange(5), 512 * 64.0 ** np.arange(1, 25)])  # up to which pieces are looked for
_BLOCK = 2**17  # nodes that are in memory together: they stay in the cache of a core

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(ORDER)
_SMOOTHED = np.array([-7.5, -5.0, -2.5, 0.0, 2.5, 5.0, 7.5])  # around a kink, in units of what has smoothed it


class Unresolved(ValueError):
    """A function whose Gaussian integral is not resolved, or does not exist in float64."""


def _interpolation(x: Array) -> Array:
    """The matrix from values at the nodes to those of the interpolating polynomial at x (in units of the piece)."""
    return np.asarray(np.polynomial.legendre.legvander(x, ORDER - 1) @ _TO_SERIES)


_TO_SERIES = np.linalg.inv(np.polynomial.legendre.legvander(_NODES, ORDER - 1))
_ENDS = _interpolation(np.array([-1.0, 1.0]))


def _places(low: Array, high: Array) -> Array:
    return np.asarray((low + high)[:, None] / 2 + (high - low)[:, None] / 2 * _NODES)


class Pieces:
    """The pieces of a function on which it is smooth. ``sample(x)`` returns its values and those of its derivative,
    stacked; ``name`` is for the errors.

    >>> pieces = Pieces(lambda x: np.stack([abs(x - 1 / 3), np.sign(x - 1 / 3)]), "distance")
    >>> edges, kinks = pieces.within(4.0)
    >>> kinks.round(9).tolist(), edges.round(9).tolist()
    ([0.333333333], [-8.0, 0.333333333, 8.0])
    """

    def __init__(self, sample: Function, name: str) -> None:
        self.sample, self.name = sample, name
        x = np.linspace(-1, 1, 101)
        self._size = np.abs(self._values(np.append(x, 30 * x))).max(-1)  # below its 1e-9th part nothing is resolved
        self._known: list[Array] = []
        self._broken: list[Array] = []

    def within(self, radius: float) -> tuple[Array, Array]:
        """Edges of the pieces from -R to R, the first of R = 2, 8, …, 512, 512 · 64, … that is at least ``radius``, and
        those of them that are kinks or jumps.

        >>> Pieces(lambda x: np.stack([x, np.ones_like(x)]), "line").within(5.0)[0].tolist()
        [-8.0, 8.0]
        """
        count = int(np.searchsorted(_RADII, radius))
        if count == len(_RADII):
            raise self._unresolved(radius)
        while len(self._known) <= count:
            high = _RADII[len(self._known)]
            inside = self._known[-1] if self._known else np.zeros(1)
            octaves = round(np.log2(high / inside[-1])) if len(inside) > 1 else 4
            start = np.concatenate([inside[-1:], high * 0.5 ** np.arange(octaves - 1, -1, -1)])
            edges = np.concatenate([self._resolve(-start[::-1])[:-1], inside, self._resolve(start)[1:]])
            if len(edges) > MOST:
                raise self._unresolved(high)
            kinks = edges[self._kinks(edges)]
            self._known.append(self._merge(edges, kinks))
            self._broken.append(kinks)
        return self._known[count], self._broken[count]

    def jumps(self, radius: float) -> tuple[Array, Array, Array]:
        """Where the function jumps, and its values on the left and on the right.

        >>> [each.round(9).tolist() for each in Pieces(lambda x: np.stack([np.sign(x), 0 * x]), "sign").jumps(1.0)]
        [[0.0], [-1.0], [1.0]]
        """
        edges, _ = self.within(radius)
        at = edges[1:-1]
        beside = 1e-13 * np.maximum(np.abs(at), 1)  # more than what bisection leaves
        left, right = self._values(at - beside)[0], self._values(at + beside)[0]
        jump = np.abs(right - left) > 1e-6 * self._scale(np.maximum(np.abs(left), np.abs(right)), 0)
        # The polynomials of two pieces part, and the function does not: it is too steep for their nodes.
        nodes = self._at(edges[:-1], edges[1:])[0]
        ends, size = nodes @ _ENDS.T, self._scale(np.abs(nodes).max(1), 0)
        parted = np.abs(ends[1:, 0] - ends[:-1, 1]) > 1e-6 * np.maximum(size[1:], size[:-1])
        if (parted & ~jump).any():
            raise Unresolved(f"{self.name} is too steep at x = {at[parted & ~jump][0]:g} to be told from a jump")
        return at[jump], left[jump], right[jump]

    def _resolve(self, start: Array) -> Array:
        """The edges between these: bisection to the kinks, then again between them."""
        _, kinks = self._bisect(start)
        apart = np.diff(kinks, prepend=-np.inf) > 1e-12 * np.maximum(np.abs(kinks), 1)
        edges, rest = self._bisect(np.unique(np.concatenate([start, kinks[apart]])))
        if len(rest) > 2 * len(kinks):  # each may be missed by rounding, on one side
            raise self._unresolved(float(np.abs(start).max()))
        return edges

    def _bisect(self, edges: Array) -> tuple[Array, Array]:
        """Edges between which the function is resolved, and the places on which they close in."""
        low, high, found, kinks = edges[:-1], edges[1:], [edges], []
        while len(low):
            middle = (low + high) / 2
            bad = ~self._one(low, middle, high, _RESOLVED)
            low, middle, high = low[bad], middle[bad], high[bad]
            tiny = high - low < 4e-14 * np.maximum(np.abs(middle), 1)
            kinks.append(middle[tiny])
            found.append(middle[~tiny])
            low, middle, high = low[~tiny], middle[~tiny], high[~tiny]
            low, high = np.append(low, middle), np.append(middle, high)
            if len(low) + sum(map(len, found)) > 2 * MOST:
                raise self._unresolved(float(np.abs(edges).max()))
        return np.unique(np.concatenate(found)), np.sort(np.concatenate(kinks))

    def _merge(self, edges: Array, kinks: Array) -> Array:
        """Without the edges that are not needed, between pieces that are one to rounding."""
        idle, offset = 0, 2
        while idle < 2:
            offset = 3 - offset
            inner = edges[offset:-1:2]
            low, high = edges[offset - 1 : -2 : 2], edges[offset + 1 :: 2]
            free = ~np.isin(inner, kinks)
            free[free] = self._one(low[free], inner[free], high[free], _TO_ROUNDING)
            idle = 0 if free.any() else idle + 1
            edges = np.setdiff1d(edges, inner[free])
        return edges

    def _one(self, low: Array, middle: Array, high: Array, tolerance: float) -> NDArray[np.bool_]:
        """Whether the polynomial through the nodes of a piece goes through those of its two parts."""
        if len(low) == 0:
            return np.zeros(0, bool)
        parts = [self._at(low, middle), self._at(middle, high)]
        there = np.concatenate(parts, axis=-1)
        places = np.concatenate([_places(low, middle), _places(middle, high)], axis=-1)
        matrix = _interpolation(2 * (places - low[:, None]) / (high - low)[:, None] - 1)
        error = np.abs(np.einsum("ipn,fin->fip", matrix, self._at(low, high)) - there).max(-1)
        scale = np.stack([self._scale(np.abs(there[i]).max(-1), i) for i in (0, 1)])
        return np.asarray((error <= tolerance * scale).all(0))

    def _kinks(self, edges: Array) -> NDArray[np.bool_]:
        """Edges a little beyond which the polynomial of one side does not go on as the function does."""
        low, middle, high = edges[:-2], edges[1:-1], edges[2:]
        step = 0.05 * np.minimum(middle - low, high - middle)
        broken = np.zeros(len(edges), bool)
        for start, end, side in ((low, middle, 1), (middle, high, -1)):
            beyond = (middle + side * step)[:, None]
            matrix = _interpolation(2 * (beyond - start[:, None]) / (end - start)[:, None] - 1)
            there = self._values(beyond)
            error = np.abs(np.einsum("ipn,fin->fip", matrix, self._at(start, end)) - there).max(-1)
            scale = np.stack([self._scale(np.abs(there[i]).max(-1), i) for i in (0, 1)])
            broken[1:-1] |= (error > 1e-6 * scale).any(0)
        return broken

    def _scale(self, size: Array, i: int) -> Array:
        return np.maximum(size, self._size[i])

    def _at(self, low: Array, high: Array) -> Array:
        return self._values(_places(low, high))

    def _values(self, x: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            values = np.asarray(self.sample(x), float)
        if x.size and not np.isfinite(values).all():
            at = x[~np.isfinite(values).all(0)]
            raise Unresolved(f"{self.name} or its slope is not finite at x = {at.flat[np.abs(at).argmin()]:g}")
        return values

    def _unresolved(self, radius: float) -> Unresolved:
        return Unresolved(f"{self.name} is not smooth in {MOST} pieces on [-{radius:g}, {radius:g}]")


def _panels(edges: Array) -> tuple[Array, Array, Any]:
    """Nodes and weights (panels, ORDER) between the sorted edges (rows, …), and the row of each panel; panels without
    length are left out."""
    low, high = edges[:, :-1], edges[:, 1:]
    row, column = np.nonzero(high > low)
    half = (high[row, column] - low[row, column])[:, None] / 2
    return (low[row, column][:, None] + half) + half * _NODES, half * _WEIGHTS, row


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


class EqualVariances:
    """A function f(q, c) of pairs of equal variance, smooth in log q and in the angle arccos |c|: point by point for
    few, by interpolation in both for many, to 1e-10 of its largest value; f takes flat arrays.

    >>> many = np.linspace(1.0, 1.1, 200)
    >>> found = EqualVariances(lambda q, c: np.sqrt(q) * np.arccos(c))(many, np.full(200, 0.3))
    >>> bool(np.allclose(found, np.sqrt(many) * np.arccos(0.3), rtol=1e-12))
    True
    """

    _LENGTHS, _ANGLES = 14, (32, 64, 128)  # of an interval of log q of length 1, and of the quadrant

    def __init__(self, f: Callable[[Array, Array], Array]) -> None:
        self.f = f
        self._tables: dict[tuple[int, bool], Array | None] = {}

    def __call__(self, q: Array, c: Array) -> Array:
        q, c = np.broadcast_arrays(q, c)
        shape, q, c = q.shape, q.ravel(), c.ravel()
        out, one_by_one = np.empty(q.shape), np.ones(q.shape, bool)
        cell, reflected = np.floor(np.log(np.maximum(q, 1e-300))).astype(int), c < 0
        keys, place, size = np.unique(2 * cell + reflected, return_inverse=True, return_counts=True)
        for i in np.flatnonzero(size > self._LENGTHS * self._ANGLES[0] / 4):
            here = np.flatnonzero(place == i)
            table = self._table(int(keys[i] // 2), bool(keys[i] % 2)) if q[here].min() > 1e-200 else None
            if table is not None:
                out[here] = _interpolated(table, keys[i] // 2, q[here], c[here])
                one_by_one[here] = False
        out[one_by_one] = self.f(q[one_by_one], c[one_by_one])
        return out.reshape(shape)

    def _table(self, cell: int, reflected: bool) -> Array | None:
        """Values at Chebyshev points (of log q, of the angle), as many as it takes; None where 128 are too few."""
        key = cell, reflected
        if key not in self._tables:
            self._tables[key] = None
            side = -1 if reflected else 1
            places = np.linspace(0.03, 0.97, 13)
            q, c = np.exp(cell + places[(7 * np.arange(13)) % 13]), side * np.cos(np.pi / 2 * places)
            exact = self.f(q, c)
            for angles in self._ANGLES:
                grid = np.meshgrid(
                    np.exp(cell + (_chebyshev(self._LENGTHS) + 1) / 2),
                    side * np.cos(np.pi / 4 * (_chebyshev(angles) + 1)),
                    indexing="ij",
                )
                table = self.f(*(each.ravel() for each in grid)).reshape(self._LENGTHS, angles)
                if not np.isfinite(table).all():
                    break
                if np.abs(_interpolated(table, cell, q, c) - exact).max() <= 1e-10 * np.abs(table).max():
                    self._tables[key] = table
                    break
        return self._tables[key]


def _interpolated(table: Array, cell: int, q: Array, c: Array) -> Array:
    lengths, angles = (_chebyshev(n) for n in table.shape)
    rows = _barycentric(lengths, 2 * (np.log(q) - cell) - 1) @ table
    return np.asarray((rows * _barycentric(angles, 4 / np.pi * np.arccos(np.abs(c)) - 1)).sum(1))


def _chebyshev(n: int) -> Array:
    return np.cos(np.pi * np.arange(n) / (n - 1))


def _barycentric(nodes: Array, t: Array) -> Array:
    """The matrix from values at Chebyshev points of the second kind to those at t (Berrut and Trefethen 2004)."""
    signs = (-1.0) ** np.arange(len(nodes))
    signs[[0, -1]] /= 2
    distance = t[:, None] - nodes
    exact = np.abs(distance) < 1e-15
    ratio = signs / np.where(exact, 1.0, distance)
    matrix = ratio / ratio.sum(1, keepdims=True)
    hit = exact.any(1)
    matrix[hit] = exact[hit] / exact[hit].sum(1, keepdims=True)
    return np.asarray(matrix)
