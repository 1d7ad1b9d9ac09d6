"""Singular values of products of many matrices, over any number of decades.

The logarithms of the singular values of a long product spread linearly in its length, so that the SVD of the product
that was multiplied out shows rounding noise below 1e-16 times the largest one. :func:`product_singular_values` does not
multiply out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from scipy.linalg import lapack
from torch import Tensor

from deepdynamics._checks import Array, Numbers, count, tensor
from deepdynamics.jacobian.dense import layer_jacobians
from deepdynamics.jacobian.inputs import Map

_SPAN = 200.0  # e-folds that LAPACK's Jacobi SVD gets at a time: 1e87, well inside the range of float64
_MARGIN = 10.0  # e-folds beyond which two scales are separated by sweeps rather than by LAPACK


def product_singular_values(factors: Sequence[Numbers], *, sweeps: int = 25) -> Tensor:
    """Natural logarithms, descending, of the singular values of the product of ``factors``, matrices given in order of
    application (first layer first).

    float64, min(rows of the last, columns of the first) of them, -inf for exact zeros, and right relative to themselves
    however many decades they span: to about 1e-14 times the condition of a single factor. (What one factor shrinks to
    the rounding error of its columns, 8 max(rows, columns) ε times their norm, or 2e-13 at width 100, counts as zero;
    so does a column of which all terms cancel.)

    The product is kept as Q diag(e^d) T with orthonormal columns Q and a T that stays well conditioned, the
    stabilisation of determinant Monte Carlo (Loh et al. 1989). The singular values of diag(e^d) T come from LAPACK's
    Jacobi method (Drmač and Veselić 2008), in pieces where they span more than its range; at most ``sweeps`` QR sweeps
    separate the pieces first (two are nearly always enough).

    Raises ``ValueError`` for no factors, shapes that do not chain and entries that are not finite; ``RuntimeError``
    where the sweeps do not suffice.

    >>> import math, scipy.linalg
    >>> logs = product_singular_values([scipy.linalg.hilbert(6)] * 8)
    >>> [f"{s / math.log(10):.3f}" for s in (logs[0], logs[-1])]
    ['1.674', '-55.724']
    """
    sweeps = count("sweeps", sweeps)
    matrices = [tensor(f"factors[{i}]", factor) for i, factor in enumerate(factors)]
    *_, (log_scale, T, rows) = _graded_products(matrices)
    values = _graded_log_singular_values(log_scale, T, sweeps)
    return _padded(values, min(rows, matrices[0].shape[1]), matrices[0].device)


def lyapunov_exponents(layers: Sequence[Map], x: Numbers) -> Tensor:
    """Finite-time Lyapunov exponents (depth, in) at ``x``: row l - 1 has log σ_i(J_{0→l}) / l, descending, and -inf
    beyond the rank.

    As accurate as :func:`product_singular_values`, and for all depths in one sweep. Raises as :func:`layer_jacobians`
    does.

    >>> double, halve = (lambda x: 2 * x), (lambda x: x * torch.tensor([1.0, 0.5]))
    >>> lyapunov_exponents([double, halve], torch.ones(2)).exp()
    tensor([[2.0000, 2.0000],
            [1.4142, 1.0000]], dtype=torch.float64)
    """
    factors = layer_jacobians(layers, x)
    result = torch.full((len(factors), factors[0].shape[1]), -torch.inf, dtype=torch.float64, device=factors[0].device)
    for depth, (log_scale, T, _) in enumerate(_graded_products(factors), start=1):
        values = _graded_log_singular_values(log_scale, T, sweeps=25)
        result[depth - 1, : len(values)] = torch.as_tensor(values / depth)
    return result


def _graded_products(factors: Sequence[Tensor]) -> Iterator[tuple[Array, Array, int]]:
    """For each l the product of the first l factors as (d, T, rows): Q diag(e^d) T with orthonormal columns Q, which
    singular values do not need.

    T (rank, in) has rows of norm 1 and d descends, roughly.
    """
    if len(factors) == 0:
        raise ValueError("factors is empty: at least one matrix is needed")
    columns = factors[0].shape[-1]
    q, log_scale, T = np.eye(columns), np.zeros(columns), np.eye(columns)
    for i, factor in enumerate(factors):
        if factor.ndim != 2 or factor.shape[1] != q.shape[0] or not torch.isfinite(factor).all():
            raise ValueError(
                f"factors[{i}] of shape {tuple(factor.shape)}: a finite matrix with {q.shape[0]} columns is allowed"
            )
        A = factor.detach().cpu().double().numpy()
        exponent = int(np.frexp(np.abs(A).max(initial=0.0))[1])
        exponent = exponent if abs(exponent) > 200 else 0  # squares stay in the range of float64
        A = np.ldexp(A, -exponent)
        M = A @ q
        # Where all of a column cancels, what is left is the rounding of its terms.
        terms = np.linalg.norm(np.abs(A) @ np.abs(q), axis=0)
        M[:, np.linalg.norm(M, axis=0) <= 8 * max(A.shape) * np.finfo(float).eps * terms] = 0
        q, r, pivots = _pivoted_qr(M, log_scale)
        # r diag(e^d) T = diag(e^d') S T with e^d'_i = r_ip e^d_p, p the pivot of row i: by the choice of pivots |S_ij|
        # is at most about 1.
        pivot_scale = np.log(np.abs(r[np.arange(len(pivots)), pivots])) + log_scale[pivots]
        with np.errstate(divide="ignore", over="ignore"):
            T = np.sign(r) * np.exp(np.log(np.abs(r)) + log_scale - pivot_scale[:, None]) @ T
        norms = np.linalg.norm(T, axis=1)
        T, log_scale = T / norms[:, None], pivot_scale + np.log(norms) + exponent * np.log(2)
        yield log_scale, T, factor.shape[0]


def _pivoted_qr(M: Array, log_scale: Array) -> tuple[Array, Array, list[int]]:
    """M = q r, with pivots like those that QR of M diag(e^log_scale) would take, whose entries need not be
    representable.

    Columns that depend on earlier ones, to rounding relative to their own norm, are passed over: r has as many rows as
    M has rank. (LAPACK's pivoted QR of the scaled matrix would take the rounding error of a large column for a
    direction before it takes a small one.)
    """
    rows, columns = M.shape
    norms = np.linalg.norm(M, axis=0)
    if columns <= rows and (norms > 0).all():
        # Nearly always the columns are far from dependent; then it is enough to sort them, and LAPACK is faster.
        order = np.argsort(-(log_scale + np.log(norms)), kind="stable")
        q, triangle = np.linalg.qr(M[:, order])
        if (np.abs(triangle.diagonal()) > 1e-4 * norms[order]).all():
            r = np.empty_like(triangle)
            r[:, order] = triangle
            return q, r, order.tolist()
    rest = M.copy()
    negligible = 8 * max(rows, columns) * np.finfo(float).eps * norms
    alive = norms > 0
    q, r = np.empty((rows, min(rows, columns))), np.empty((min(rows, columns), columns))
    pivots: list[int] = []
    while len(pivots) < min(rows, columns):
        left = np.linalg.norm(rest, axis=0)
        alive &= left > negligible
        if not alive.any():
            break
        p = int(np.argmax(np.where(alive, np.log(np.where(alive, left, 1)) + log_scale, -np.inf)))
        done = len(pivots)
        direction = rest[:, p] / left[p]
        # Once more against the earlier ones: twice is enough (Kahan and Parlett).
        direction -= q[:, :done] @ (q[:, :done].T @ direction)
        q[:, done] = direction / np.linalg.norm(direction)
        r[done] = q[:, done] @ rest
        rest -= np.outer(q[:, done], r[done])
        r[done, pivots] = 0
        alive[p] = False
        rest[:, p] = 0
        pivots.append(p)
    return q[:, : len(pivots)], r[: len(pivots)], pivots


def _graded_log_singular_values(log_scale: Array, T: Array, sweeps: int) -> Array:
    """Logarithms of the singular values of diag(e^log_scale) T, descending, for T (rank, in) well conditioned."""
    order = np.argsort(-log_scale, kind="stable")
    d, T = log_scale[order], T[order]
    if len(d) == 0 or d[0] - d[-1] <= _SPAN:
        return _jacobi(d, T)
    L = _separate(d, T, sweeps)
    values = np.empty(len(d))
    start = 0
    while start < len(d):
        stop = int(np.searchsorted(-d, -(d[start] - _SPAN), side="right"))
        first, last = np.searchsorted(-d, (-(d[start] + _MARGIN), -(d[stop - 1] - _MARGIN)))
        window = _jacobi(d[first:last], L[first:last, first:last])
        values[start:stop] = window[start - first : stop - first]
        start = stop
    return np.sort(values)[::-1]


def _separate(d: Array, T: Array, sweeps: int) -> Array:
    """A lower triangular L: diag(e^d) L has the singular values of diag(e^d) T, and values more than ``_MARGIN``
    e-folds apart do not couple to rounding (the coupling acts on singular values through its square).

    Half a sweep is Tᵀ = q Lᵀ, where q drops out. The other half is a QR of diag(e^d) L diag(e^-d), whose entries below
    the diagonal are small, and become smaller with each sweep like powers of the ratio of the scales.
    """
    far = d[None, :] - d[:, None] > _MARGIN
    closeness = np.exp(np.minimum(d[:, None] - d[None, :], 0))
    for _ in range(sweeps):
        L = np.asarray(np.linalg.qr(T.T, mode="r")).T
        coupling = np.abs(L) * closeness / np.abs(L.diagonal())[:, None]
        if (coupling[far] ** 2 < np.finfo(float).eps).all():
            return L
        T = np.asarray(np.linalg.qr(L * closeness, mode="r")) * closeness.T
    raise RuntimeError(f"the scales of the product did not separate within sweeps = {sweeps}")


def _jacobi(d: Array, T: Array) -> Array:
    """Logarithms of the singular values of diag(e^d) T within the range of float64, each right relative to itself."""
    if len(d) == 0:
        return np.empty(0)
    scaled = np.asfortranarray((np.exp(d - d.max())[:, None] * T).T)
    # joba "C": relative accuracy for column-scaled matrices; jobr "N", jobp "N": keep small columns as they are; no
    # vectors.
    s, _, _, work, _, info = lapack.dgejsv(scaled, joba=0, jobu=3, jobv=3, jobr=0, jobp=0)
    if info != 0:
        raise RuntimeError(f"LAPACK's Jacobi SVD of a {T.shape} matrix did not converge (info = {info})")
    return np.sort(np.log(s * (work[0] / work[1])))[::-1] + d.max()


def _padded(values: Array, length: int, device: torch.device) -> Tensor:
    result = torch.full((length,), -torch.inf, dtype=torch.float64, device=device)
    result[: len(values)] = torch.as_tensor(values.copy())
    return result
