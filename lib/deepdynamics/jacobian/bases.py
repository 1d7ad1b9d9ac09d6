"""Orthonormal bases in mixed precision: rows of the working precision, small matrices in float64.

A Gram matrix that is summed up in float32 over 150,000 entries is wrong by 1.7e-5; here sums go over to float64 every
4,096 entries. A basis is in pieces, so that memory follows what is used.
"""

from __future__ import annotations

import torch
from torch import Tensor

_CHUNK = 4096  # entries that are summed in the working precision before float64 takes over
_PIECE = 256  # rows of the basis that are allocated at a time


def inner(A: Tensor, B: Tensor) -> Tensor:
    """A Bᵀ (rows of A with rows of B), accumulated in float64.

    >>> inner(torch.ones(1, 5000), torch.ones(2, 5000))
    tensor([[5000., 5000.]], dtype=torch.float64)
    """
    if A.dtype == torch.float64:
        return A @ B.T
    whole = A.shape[1] // _CHUNK * _CHUNK
    a, b = (rows[:, :whole].unflatten(1, (-1, _CHUNK)).transpose(0, 1) for rows in (A, B))
    return torch.bmm(a, b.mT).sum(0, dtype=torch.float64) + A[:, whole:] @ B[:, whole:].T


def orthonormal(rows: Tensor, floor: float) -> tuple[Tensor, Tensor, float]:
    """rows = Cᵀ O, with O (r, n) orthonormal and C (r, b) float64; directions with norm at most ``floor`` are
    dropped. Also the condition of what is left.

    >>> rows = torch.tensor([[3.0, 0.0, 0.0], [0.0, 4.0, 0.0], [3.0, 4.0, 0.0]])
    >>> O, C, condition = orthonormal(rows, 1e-5)
    >>> O.shape, torch.allclose(C.T.float() @ O, rows, atol=1e-6), torch.allclose(O @ O.T, torch.eye(2), atol=1e-6)
    (torch.Size([2, 3]), True, True)
    """
    coefficients = torch.eye(len(rows), dtype=torch.float64, device=rows.device)
    condition = 1.0
    for sweep in range(3):
        values, vectors = torch.linalg.eigh(inner(rows, rows))
        norms = values.clamp(min=0).sqrt()
        # Gram eigenvalues below eps (of the working precision) times the largest are rounding.
        eps = torch.finfo(rows.dtype).eps
        keep = norms > (max(floor, 3 * eps**0.5 * float(norms[-1]) if len(norms) else 0.0) if sweep == 0 else 0.0)
        dropped = (norms > floor) & ~keep
        if sweep == 0 and dropped.any():
            # Two groups of very different scales: the small one is orthogonalised against the large one by itself.
            return _graded(rows, vectors, keep, floor)
        norms, vectors = norms[keep], vectors[:, keep]
        if len(norms) == 0:
            return rows[:0], coefficients[:0], 1.0
        if sweep == 0:
            condition = float(norms[-1] / norms[0])
        rows = (vectors / norms).T.to(rows.dtype) @ rows
        coefficients = (norms[:, None] * vectors.T) @ coefficients
        if sweep > 0 and float(norms[-1] / norms[0]) < 1.01:
            break
    return rows, coefficients, condition


def _graded(rows: Tensor, vectors: Tensor, large: Tensor, floor: float) -> tuple[Tensor, Tensor, float]:
    O1, C1, _ = orthonormal(vectors[:, large].T.to(rows.dtype) @ rows, floor)
    rest = vectors[:, ~large].T.to(rows.dtype) @ rows
    overlap = torch.zeros(len(rest), len(O1), dtype=torch.float64, device=rows.device)
    for _ in range(2):
        change = inner(rest, O1)
        rest = rest - change.to(rows.dtype) @ O1
        overlap += change
    O2, C2, condition = orthonormal(rest, floor)
    top = C1 @ vectors[:, large].T + overlap.T @ vectors[:, ~large].T
    return torch.cat((O1, O2)), torch.cat((top, C2 @ vectors[:, ~large].T)), 1e3 * max(condition, 1.0)


class Basis:
    """Orthonormal rows on the smaller side, in pieces so that memory follows what is used.

    >>> basis = Basis(3, torch.zeros(1))
    >>> basis.append(torch.eye(3)[:2])
    >>> basis.size, basis.project_out(torch.ones(1, 3)), basis.combine(torch.tensor([[2.0], [5.0]])), len(basis.pieces)
    (2, tensor([[0., 0., 1.]]), tensor([[2., 5., 0.]]), 1)
    """

    def __init__(self, n: int, like: Tensor):
        self.n, self.like, self.size = n, like, 0
        self.buffers: list[Tensor] = []

    @property
    def pieces(self) -> list[Tensor]:
        return [buffer[: self.size - i * _PIECE] for i, buffer in enumerate(self.buffers)]

    def append(self, rows: Tensor) -> None:
        while len(rows):
            used = self.size % _PIECE
            if self.size == len(self.buffers) * _PIECE:
                self.buffers.append(self.like.new_empty(min(_PIECE, self.n), self.n))
            taken = min(_PIECE - used, len(rows))
            self.buffers[-1][used : used + taken] = rows[:taken]
            self.size += taken
            rows = rows[taken:]

    def project_out(self, rows: Tensor) -> Tensor:
        rows = rows.clone()
        for piece in self.pieces:
            rows.addmm_(inner(piece, rows).to(rows.dtype).T, piece, alpha=-1)
        return rows

    def combine(self, Y: Tensor) -> Tensor:
        """Yᵀ Q for Y (size, c)."""
        total, start = torch.zeros(Y.shape[1], self.n, dtype=self.like.dtype, device=self.like.device), 0
        for piece in self.pieces:
            total += Y[start : start + len(piece)].T.to(piece.dtype) @ piece
            start += len(piece)
        return total


def random_rows(count: int, n: int, like: Tensor, draws: torch.Generator) -> Tensor:
    """Normal rows (count, n), drawn in float64 and rounded to the type of ``like``.

    >>> random_rows(2, 3, torch.zeros(1), torch.Generator().manual_seed(0)).dtype
    torch.float32
    """
    return torch.randn(count, n, generator=draws, dtype=torch.float64).to(like)


def extend(basis: Basis, rows: Tensor, floor: float, scale: float) -> tuple[Tensor, Tensor]:
    """rows (already free of the blocks they share most with) = (in the span of the basis) + Cᵀ O, O new and
    orthonormal to the basis. ``scale`` is the norm of the products that the rows are the rest of: where little of it is
    left, what is left is projected once more.

    >>> basis = Basis(3, torch.zeros(1))
    >>> basis.append(torch.eye(3)[:1])
    >>> O, C = extend(basis, torch.tensor([[1.0, 2.0, 0.0]]), 1e-5, 1.0)
    >>> O.abs(), C.abs()
    (tensor([[0., 1., 0.]]), tensor([[2.]], dtype=torch.float64))
    """
    found, C, condition = orthonormal(basis.project_out(rows), floor)
    if len(found) and (condition > 30 or float(torch.linalg.svdvals(C)[-1]) < scale / 30):
        found, again, _ = orthonormal(basis.project_out(found), 1e-3)
        C = again @ C
    return found, C
