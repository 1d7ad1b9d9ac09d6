r"""The recurrence of block Golub–Kahan bidiagonalisation, from which leading singular triplets are read off.

With the orthonormal blocks P = (P_1, ..., P_j) and Q = (Q_1, ..., Q_j) of the two sides,

    A Q = P B,        Aᵀ P = Q Bᵀ + Q_{j+1} S Eᵀ,

where B is upper triangular and banded and E picks the last block. A triplet (x, σ, y) of the small matrix B gives the
triplet (P x, σ, Q y) of A with ‖Aᵀu - σv‖ = ‖S Eᵀx‖. A is J or its transpose, whichever makes the side of Q the smaller
one: only Q is kept and reorthogonalised (Simon and Zha 2000), so that memory does not grow with the larger side beyond
the vectors that are returned. (Golub, Luk and Overton 1981.)
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from deepdynamics.jacobian.bases import Basis, extend, inner, orthonormal, random_rows

__all__ = ["Bidiagonalisation"]


class Operator(Protocol):
    """A matrix A (N, n), n ≤ N, as two products with rows: ``up`` (., n) to (., N) by A, ``down`` back by Aᵀ."""

    n: int
    N: int

    def up(self, rows: Tensor) -> Tensor: ...

    def down(self, rows: Tensor) -> Tensor: ...


class Bidiagonalisation:
    """A Q = P B and Aᵀ P = Q Bᵀ + Q_{j+1} S Eᵀ: the basis of Q, the next block Q_{j+1}, the last block P_j, B and S.

    ``block`` random rows begin it; ``exact`` says that nothing is left outside the basis.

    >>> from types import SimpleNamespace
    >>> A = torch.diag(torch.tensor([3.0, 2.0, 1.0]))
    >>> operator = SimpleNamespace(n=3, N=3, up=lambda rows: rows @ A.T, down=lambda rows: rows @ A)
    >>> found = Bidiagonalisation(operator, torch.zeros(1), 1, torch.Generator().manual_seed(0))
    >>> while not found.exact:
    ...     found.step()
    ...     found.refill(1)
    >>> values, residuals = found.estimates(2)
    >>> values.round(decimals=5), found.leading(1)[0].abs().round(decimals=5)
    (tensor([3., 2.], dtype=torch.float64), tensor([[1., 0., 0.]]))
    """

    def __init__(self, operator: Operator, x: Tensor, block: int, draws: torch.Generator):
        self.operator, self.draws = operator, draws
        self.basis = Basis(operator.n, x)
        self.Q, _, _ = orthonormal(random_rows(min(block, operator.n), operator.n, x, draws), 0.0)
        self.P = x.new_zeros(0, operator.N)
        self.B = torch.zeros(0, 0, dtype=torch.float64, device=x.device)
        self.S = self.B
        self.drawn = len(self.Q)
        self.pure = True  # all rows of the next block are fresh and random: if A maps them to 0, it is exhausted
        self.eps, self.scale = torch.finfo(x.dtype).eps, 0.0
        self.exact = False

    def step(self) -> None:
        """One more block on either side."""
        self._up()
        self.basis.append(self.Q)
        self.exact = self.basis.size == self.operator.n or (self.pure and len(self.P) == 0)
        if not self.exact:
            self._down()

    def _up(self) -> None:
        """A Q_j = P_{j-1} C + P_j R."""
        W = self.operator.up(self.Q)
        C = torch.zeros(len(self.P), len(self.Q), dtype=torch.float64, device=W.device)
        for _ in range(2):
            change = inner(self.P, W)
            W = W - change.to(W.dtype).T @ self.P
            C += change
        self.scale = max(self.scale, float(inner(W, W).diagonal().max().sqrt()))
        P, R, _ = orthonormal(W, 20 * self.eps * self.scale)
        rows, columns = self.B.shape
        grown = self.B.new_zeros(rows + len(P), columns + len(self.Q))
        grown[:rows, :columns] = self.B
        grown[rows - len(self.P) : rows, columns:] = C
        grown[rows:, columns:] = R
        self.B, self.P = grown, P

    def _down(self) -> None:
        """Aᵀ P_j = Q_j Rᵀ + Q_{j+1} S."""
        if len(self.P) == 0:
            self.Q, self.S = self.Q[:0], self.B[:0, :0]
            return
        Z = self.operator.down(self.P)
        Z = Z - inner(self.Q, Z).to(Z.dtype).T @ self.Q
        Q, S = extend(self.basis, Z, 20 * self.eps * self.scale, self.scale)
        room = self.operator.n - self.basis.size
        self.Q, self.S = Q[:room], S[:room]

    def refill(self, width: int) -> None:
        """Random rows where the Krylov space gave fewer than ``width``."""
        self.pure = len(self.Q) == 0
        missing = min(width, self.operator.n - self.basis.size) - len(self.Q)
        if missing > 0:
            fresh = random_rows(missing, self.operator.n, self.Q, self.draws)
            for _ in range(2):
                fresh = self.basis.project_out(fresh)
                fresh = fresh - inner(self.Q, fresh).to(fresh.dtype).T @ self.Q
                fresh, _, _ = orthonormal(fresh, 0.0)
            self.Q = torch.cat((self.Q, fresh))
            self.drawn += missing

    def estimates(self, k: int) -> tuple[Tensor, Tensor]:
        """The k leading values of B, and the residuals of their triplets in units of the first."""
        X, s, _ = torch.linalg.svd(self.B, full_matrices=False)
        return s[:k], (self.S @ X[len(X) - len(self.P) :, :k]).norm(dim=0) / s[0]

    def leading(self, k: int) -> tuple[Tensor, float]:
        """Right Ritz vectors (≤ k, n) of values above the noise of the products, and that noise."""
        if len(self.B) == 0:
            return self.Q.new_zeros(0, self.operator.n), 0.0
        _, s, Yt = torch.linalg.svd(self.B, full_matrices=False)
        floor = 20 * self.eps * float(s[0])
        return self.basis.combine(Yt[: min(k, int((s > floor).sum()))].T), floor
