r"""Leading singular triplets of a Jacobian that is never formed: block Golub–Kahan bidiagonalisation on cached
products.

The recurrence is that of :mod:`deepdynamics.jacobian.golubkahan`; here are its operator, a chain of linearised layers,
the rules by which it stops, and the certificate: what is returned has been checked with fresh products.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor

from deepdynamics._checks import Numbers, count
from deepdynamics.jacobian.bases import inner, orthonormal, random_rows
from deepdynamics.jacobian.golubkahan import Bidiagonalisation
from deepdynamics.jacobian.inputs import Map, along, check_one_input, floating
from deepdynamics.jacobian.linearise import PATHS, Linearised, linearised, products
from deepdynamics.networks import Seed, generator

_FINE = 3e-8  # residual to which float64 goes on, so that values with close neighbours are right to 1e-9


class NotConverged(RuntimeError):
    """Residuals stay above ``tol``; ``residuals`` (k,) says how far they came, ``products`` at what cost.

    >>> try:
    ...     top_singular(lambda x: torch.arange(1.0, 101.0) * x, torch.zeros(100), 3, max_products=20)
    ... except NotConverged as problem:
    ...     print(problem.products, len(problem.residuals))
    24 3
    """

    def __init__(self, message: str, residuals: Tensor, products: int):
        super().__init__(message)
        self.residuals = residuals
        self.products = products


@dataclass(frozen=True)
class TopSingular:
    """Leading singular triplets: J v_i = s_i u_i, Jᵀ u_i = s_i v_i.

    U (out, k) and V (in, k) with orthonormal columns, s (k,) descending, residuals (k,) =
    max(‖Jᵀu - sv‖, ‖Jv - su‖)/s_1, and the number of columns that were sent through J and Jᵀ; unpacks in this order.
    ``path`` says how the products were computed (one of ``linearise.PATHS``; of several layers, all).

    >>> found = top_singular(torch.sin, [0.0, 1.0], 1)
    >>> len(list(found)), found.path
    (5, 'compiled')
    """

    U: Tensor
    s: Tensor
    V: Tensor
    residuals: Tensor
    products: int
    path: str

    def __iter__(self) -> Iterator[Tensor | int]:
        return iter((self.U, self.s, self.V, self.residuals, self.products))


@torch.inference_mode(False)
def top_singular(
    f: Map,
    x: Numbers,
    k: int,
    *,
    tol: float | None = None,
    seed: Seed = 0,
    block: int = 4,
    max_products: int | None = None,
) -> TopSingular:
    """The k leading singular triplets of the Jacobian of ``f`` at one input ``x`` (no batch axis; it is added where f
    needs it), without forming it.

    U (out, k), s (k,), V (in, k), residuals (k,), the number of columns that were sent through J and Jᵀ, and the path
    by which these products were computed, the fastest that is right; device and type follow ``x``, input and output are
    flattened. On return every residual max(‖Jᵀu - sv‖, ‖Jv - su‖)/s₁, measured
    with fresh products, is at most ``tol`` (None: 1e-6, in float32 5e-6); s is then right to about tol² s₁ over the
    distance to the other values, and to rounding, 1e-6 s₁ in float32 (float64 goes on to 1e-9). Where the rank is below
    k, or values are below 20 eps s₁ (2e-6 s₁ in float32): zeros, and an orthonormal completion. In float32 the products
    themselves reach 1e-6 to 2e-6, depending on the processor and the network: a ``tol`` below that is out of reach.

    Block Golub–Kahan bidiagonalisation (Golub, Luk and Overton 1981), reorthogonalised on the smaller side (Simon and
    Zha 2000), from ``block`` random vectors. Where as many values agree as vectors were drawn, as many again are drawn
    and followed as far, so that a value of higher multiplicity than ``block`` is found as often as it is there. The
    basis holds some 3k vectors where the spectrum falls and 10k where it is flat (first layers); there ``block = 16``
    and a ``tol`` below the distances between values are the faster choice.

    Raises ``ValueError`` for an input that is not finite floating point or has a batch axis (as far as that shows: each
    of several rows (n, features), pictures (n, C, H, W) or, of a module with parameters, sequences (n, ., .) acts on
    its own output), an ``f`` that is in training mode with dropout or batch statistics, does not return a finite real
    tensor, or has no finite Jacobian that torch can compute, a ``k`` outside 1 … min(out, in); :class:`NotConverged`,
    with the residuals reached, where they stay above ``tol`` after ``max_products`` (None: 40 k + 4000) or for the
    rounding of the type of ``x``.

    >>> U, s, V, residuals, products = top_singular(lambda x: x * torch.tensor([1.0, -3.0, 2.0]), torch.zeros(3), 2)
    >>> [f"{float(value):.5f}" for value in s]
    ['3.00000', '2.00000']
    """
    x = floating("x", x, [f])
    return _triplets([linearised(f, x)], x, k, tol, seed, block, max_products)


@torch.inference_mode(False)
def cumulative_triplets(
    layers: Sequence[Map],
    x: Numbers,
    k: int,
    *,
    depths: Sequence[int] | None = None,
    tol: float | None = None,
    seed: Seed = 0,
    block: int = 4,
    max_products: int | None = None,
) -> Iterator[TopSingular]:
    """Leading singular triplets of J_{0→l} for the chosen depths l (1 is the first layer; None: all), one after the
    other: one forward sweep linearises every layer once.

    A generator: the triplets of one depth need not be kept while the next are computed. Fewer than k where a depth has
    fewer outputs. Arguments and errors of :func:`top_singular`; ``ValueError`` for no layers and unknown depths.

    >>> halve, double = (lambda x: x / 2), (lambda x: 2 * x)
    >>> [f"{float(found.s[0]):.3f}" for found in cumulative_triplets([halve, double], torch.ones(3), 1)]
    ['0.500', '1.000']
    """
    if len(layers) == 0:
        raise ValueError("layers is empty: at least one map is needed")
    chosen = list(range(1, len(layers) + 1) if depths is None else depths)
    if any(not 1 <= depth <= len(layers) for depth in chosen):
        raise ValueError(f"depths = {chosen}: integers from 1 to {len(layers)} are allowed")
    if not chosen:
        return
    states = along(layers[: max(chosen)], x)
    points = [products(at, tuple(PATHS)) for at in states]
    x = states[0].x
    check_one_input(layers, states, _Operator(points, x).J)
    for depth in chosen:
        sizes = x.numel(), points[depth - 1].value.numel()
        yield _triplets(points[:depth], x, min(k, *sizes), tol, seed, block, max_products)


@torch.inference_mode(False)
def cumulative_spectra(
    layers: Sequence[Map],
    x: Numbers,
    k: int,
    *,
    tol: float | None = None,
    seed: Seed = 0,
) -> Tensor:
    """The k leading singular values of J_{0→l} for every layer l, (len(layers), k), NaN beyond the rank.

    One forward sweep linearises every layer; values, arguments and errors are those of :func:`top_singular` (``k`` at
    most the size of ``x``).

    >>> layers = [lambda x: x * torch.tensor([1.0, 3.0]), lambda x: x[:1]]
    >>> cumulative_spectra(layers, torch.ones(2), 2).round(decimals=4)
    tensor([[3., 1.],
            [1., nan]])
    """
    x = floating("x", x, layers)
    if k < 1 or k > x.numel():
        raise ValueError(f"k = {k}: an integer from 1 to the size of x, {x.numel()}, is allowed")
    result = x.new_full((len(layers), k), torch.nan)
    for row, found in zip(result, cumulative_triplets(layers, x, k, tol=tol, seed=seed), strict=True):
        positive = found.s[found.s > 0]
        row[: len(positive)] = positive
    return result


class _Operator:
    """A (wide side n → N, n ≤ N) on rows, counting the columns sent through it, in units of ``unit``: a power of two
    that brings the first products near 1, so that sums of squares neither vanish nor overflow."""

    def __init__(self, points: Sequence[Linearised], x: Tensor):
        self.points, self.x = points, x
        self.transposed = points[-1].value.numel() < x.numel()
        sizes = (x.numel(), points[-1].value.numel())
        self.n, self.N = min(sizes), max(sizes)
        self.products = 0
        self.unit = 0.0  # until the first product

    def J(self, V: Tensor) -> Tensor:
        V = V.reshape(len(V), *self.x.shape)
        for point in self.points:
            V = point.forward(V)
        return V.reshape(len(V), -1)

    def JT(self, U: Tensor) -> Tensor:
        U = U.reshape(len(U), *self.points[-1].value.shape)
        for point in reversed(self.points):
            U = point.adjoint(U)
        return U.reshape(len(U), -1)

    def up(self, rows: Tensor) -> Tensor:
        return self._checked(self.JT(rows) if self.transposed else self.J(rows))

    def down(self, rows: Tensor) -> Tensor:
        return self._checked(self.J(rows) if self.transposed else self.JT(rows))

    def _checked(self, rows: Tensor) -> Tensor:
        self.products += len(rows)
        if not torch.isfinite(rows).all():
            raise ValueError("f has a Jacobian at x that is not finite: finite weights and slopes are allowed")
        if self.unit == 0:
            largest = float(rows.abs().max())
            self.unit = 2.0 ** math.floor(math.log2(largest)) if largest > 0 else 1.0
        return rows.detach() / self.unit


def _triplets(
    points: Sequence[Linearised],
    x: Tensor,
    k: int,
    tol: float | None,
    seed: Seed,
    block: int,
    max_products: int | None,
) -> TopSingular:
    operator = _Operator(points, x)
    if isinstance(k, bool) or not isinstance(k, Integral) or not 1 <= k <= operator.n:
        out = points[-1].value.numel()
        raise ValueError(f"k = {k}: an integer from 1 to min(out, in) = min({out}, {x.numel()}) is allowed")
    if tol is None:
        tol = max(1e-6, 40 * torch.finfo(x.dtype).eps)  # products in float32 reach 10 to 20 eps
    if not 0 < tol < 1:
        raise ValueError(f"tol = {tol}: a number between 0 and 1 is allowed")
    block = count("block", block)
    limit = 40 * k + 4000 if max_products is None else max_products
    draws = generator(seed)
    with torch.no_grad():
        small, floor = _bidiagonalise(operator, x, k, tol, draws, block, limit)
        return _certified(operator, x, small, k, tol, floor, draws)


def _bidiagonalise(
    operator: _Operator, x: Tensor, k: int, tol: float, draws: torch.Generator, block: int, limit: int
) -> tuple[Tensor, float]:
    """Ritz vectors (≤ k, n) on the smaller side whose estimated residuals are below tol, and the noise floor."""
    target = 0.5 * tol if x.dtype != torch.float64 else min(0.5 * tol, _FINE)
    found = Bidiagonalisation(operator, x, block, draws)
    width, check = len(found.Q), k + block
    history: list[tuple[int, float]] = []
    while True:
        found.step()
        if found.exact:
            break
        if found.basis.size >= check and len(found.B) >= k and len(found.Q) > 0:
            s, residuals = found.estimates(k)
            reached = float(residuals.max()) / target
            if reached <= 1 and not _crowded(s, residuals, found.drawn, found.eps):
                break
            if operator.products >= limit:
                raise NotConverged(
                    _unfinished(limit, k, tol, reached * target, operator.products), residuals, operator.products
                )
            if reached <= 1:  # the fresh rows have to come as far as the first ones did
                width, check, history = 2 * width, 2 * found.basis.size, []
            else:
                check = _next_check(history, found.basis.size, reached, block)
        found.refill(width)
    return found.leading(k)


def _unfinished(limit: int, k: int, tol: float, worst: float, products: int) -> str:
    found = f"the largest of k = {k} residuals is about {worst:.1e}, tol = {tol} is asked for"
    if worst <= tol:
        found = f"of k = {k} values more agree than random vectors were drawn: a larger block is allowed"
    return f"max_products = {limit}: {found}, and {products} products are spent"


def _next_check(history: list[tuple[int, float]], size: int, reached: float, block: int) -> int:
    """When to look at B again, from the rate at which the residuals fall: an SVD costs as much as many products."""
    ahead = 0.1 * size
    if history and reached < history[-1][1]:
        before, worse = history[-1]
        ahead = min(ahead, 0.8 * (size - before) * math.log(max(reached, 1.0)) / math.log(worse / reached))
    history.append((size, reached))
    return size + max(block, int(ahead))


def _crowded(s: Tensor, residuals: Tensor, drawn: int, eps: float) -> bool:
    """Whether as many values agree, as far as their residuals tell, as random vectors were drawn, and a smaller one is
    counted after them: a value of higher multiplicity shows no more often."""
    windows = len(s) - drawn
    if windows < 1:
        return False
    apart = s[:windows] - s[drawn - 1 : -1]
    told = 10 * residuals.unfold(0, drawn, 1)[:windows].amax(1) + 300 * eps
    return bool((apart <= told * s[0]).any())


def _certified(
    operator: _Operator, x: Tensor, rows: Tensor, k: int, tol: float, floor: float, draws: torch.Generator
) -> TopSingular:
    """Triplets from Ritz vectors by fresh products, with their residuals."""
    rows, _, _ = orthonormal(rows, 0.0) if len(rows) else (rows, None, None)
    step = 16
    big = torch.cat([operator.up(rows[i : i + step]) for i in range(0, len(rows), step)]) if len(rows) else None
    n, N = operator.n, operator.N
    if big is None:
        left, s, right = x.new_zeros(0, N), torch.zeros(0, dtype=torch.float64, device=x.device), rows
        turned = left
    else:
        frame, R, _ = orthonormal(big, floor)
        X, s, Yt = torch.linalg.svd(R, full_matrices=False)
        left, right, turned = X.T.to(x.dtype) @ frame, Yt.to(x.dtype) @ rows, Yt.to(x.dtype) @ big
    missing = k - len(s)
    if missing:
        left, right = _completed(left, missing, N, draws), _completed(right, missing, n, draws)
        turned = torch.cat((turned, operator.up(right[len(s) :])))
        s = torch.cat((s, s.new_zeros(missing)))
    top = float(s[0]) if float(s[0]) > 0 else 1.0
    residuals = s.new_zeros(k)
    for i in range(0, k, step):
        part = slice(i, i + step)
        scaled = s[part, None].to(x.dtype)
        down = (operator.down(left[part]) - scaled * right[part]).double().norm(dim=1)
        up = (turned[part] - scaled * left[part]).double().norm(dim=1)
        residuals[part] = torch.maximum(down, up) / top
    if float(residuals.max()) > tol:
        raise NotConverged(
            f"tol = {tol}: {int((residuals > tol).sum())} of k = {k} residuals stay above it, the largest at "
            f"{float(residuals.max()):.1e} after {operator.products} products; {x.dtype} reaches about "
            f"{20 * torch.finfo(x.dtype).eps:.0e}: a larger tol or a wider type is allowed",
            residuals,
            operator.products,
        )
    U, V = (right, left) if operator.transposed else (left, right)
    values, path = (s * operator.unit).to(x.dtype), ", ".join(dict.fromkeys(point.path for point in operator.points))
    return TopSingular(U.T, values, V.T, residuals.to(x.dtype), operator.products, path)


def _completed(rows: Tensor, missing: int, n: int, draws: torch.Generator) -> Tensor:
    fresh = random_rows(missing, n, rows, draws)
    for _ in range(2):
        fresh = fresh - inner(rows, fresh).to(fresh.dtype).T @ rows
        fresh, _, _ = orthonormal(fresh, 0.0)
    return torch.cat((rows, fresh))
