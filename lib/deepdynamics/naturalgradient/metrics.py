r"""Directions G⁻¹ ∇E of approximate natural gradients, computed in function space.

For E = Σ‖f - y‖²/(2N) and r = f - y, ∇E = Jᵀr/N. With a metric that is made of blocks of parameters p, J = (J_1, J_2,
…), the direction lies in the span of the samples' gradients, Σ_p J_pᵀ a_p, and only the Gram matrices K_p = J_p J_pᵀ
(N·C, N·C) are needed to find the a_p ("push-through"): (JᵀJ/N + ρ)⁻¹Jᵀ = Jᵀ(J Jᵀ/N + ρ)⁻¹. At ρ = 0 every inverse is
the pseudo-inverse. Source: Karakida & Osawa (2020).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deepdynamics._parametergram import Factors

__all__ = [
    "Kronecker",
    "Units",
    "block_coefficients",
    "gram_rounding",
    "rounding",
    "tridiagonal_coefficients",
]

_ENTRIES = 2**23  # of the Jacobians of units that are in memory together


def rounding(n: int, dtype: torch.dtype) -> float:
    """Below this part of the largest, a singular value of a Jacobian of n rows that was computed in ``dtype`` is 0.

    >>> rounding(100, torch.float64) < 1e-12 < rounding(100, torch.float32)
    True
    """
    return 10 * max(n * torch.finfo(torch.float64).eps, n**0.5 * torch.finfo(dtype).eps)


def gram_rounding(n: int, dtype: torch.dtype) -> float:
    """The same for an eigenvalue of its Gram matrix (n, n), a product in float64: it has half of the digits.

    >>> gram_rounding(100, torch.float64) > rounding(100, torch.float64) ** 2
    True
    """
    return max(10 * n * torch.finfo(torch.float64).eps, rounding(n, dtype) ** 2)


def block_coefficients(gram: Tensor, r: Tensor, samples: int, damping: float, cutoff: float) -> Tensor:
    """a = (K/N + ρ)⁻¹ r/N of block-diagonal metrics: ``gram`` K (n, n), ``r`` (n, m) -> (n, m).

    >>> block_coefficients(torch.eye(2), torch.ones(2, 1), 2, 0.5, 1e-12)
    tensor([[0.5000],
            [0.5000]])
    """
    values, vectors = torch.linalg.eigh(gram)
    seen = values > cutoff * values[-1]
    inverse = torch.where(seen, 1 / (values / samples + damping).where(seen, 1.0), 0.0)
    return vectors @ (inverse[:, None] * (vectors.mT @ r)) / samples


def tridiagonal_coefficients(
    grams: Sequence[Tensor], r: Tensor, samples: int, damping: float, cutoff: float
) -> list[Tensor]:
    """The a_l (n, m) of the metric that keeps the blocks J_lᵀJ_k/N of one layer and of neighbours, |l - k| <= 1, from
    the ``grams`` K_l (n, n) of the layers in their order; ``r`` (n, m).

    In the right singular vectors of the J_l = U_l S_l V_lᵀ the metric has the blocks S_l U_lᵀU_k S_k/N: a symmetric
    matrix of the size of all ranks together, L n at most. It is not positive; its pseudo-inverse leaves out what is 0
    to rounding.

    >>> (a,) = tridiagonal_coefficients([torch.eye(2)], torch.ones(2, 1), 2, 0.5, 1e-12)
    >>> a.tolist()
    [[0.5], [0.5]]
    """
    lefts, roots = [], []
    for gram in grams:
        values, vectors = torch.linalg.eigh(gram)
        seen = values > cutoff * values[-1]
        roots.append(values[seen].sqrt())
        lefts.append(vectors[:, seen])
    scaled = [left * root for left, root in zip(lefts, roots, strict=True)]
    rows = [
        torch.cat([(one.mT @ other) * (abs(i - j) <= 1) for j, other in enumerate(scaled)], dim=1)
        for i, one in enumerate(scaled)
    ]
    values, vectors = torch.linalg.eigh(torch.cat(rows) / samples)
    damped = values + damping
    seen = damped.abs() > cutoff * values.abs().max()
    inverse = torch.where(seen, 1 / damped.where(seen, 1.0), 0.0)
    right = torch.cat([one.mT @ r for one in scaled]) / samples
    solved = (vectors @ (inverse[:, None] * (vectors.mT @ right))).split([len(root) for root in roots])
    return [left @ (part / root[:, None]) for left, root, part in zip(lefts, roots, solved, strict=True)]


class Units:
    """The metric of each unit of a layer, J_iᵀJ_i/N + ρ, J_i the derivatives (N·C, i) by its weights and its bias: the
    rows signal_i · input. ``r`` are residuals (N·C, m).

    The slope of a unit differs by many decades between samples, so that this takes the singular values of J_i (in a
    basis of the inputs) and not their squares.

    >>> part = Factors(torch.ones(1, 1, 2), torch.ones(1, 1, 1, 3), 2)
    >>> metric = Units(part, torch.ones(1, 1), 0.0, 1e-12)
    >>> metric.direction.round(decimals=5).tolist(), metric.gain.round(decimals=5).tolist()  # each unit would do
    ([[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]], [[3.0]])
    """

    def __init__(self, part: Factors, r: Tensor, damping: float, cutoff: float) -> None:
        inputs, signals = part.inputs[:, 0], part.signals[:, :, 0]
        N, C, _ = signals.shape
        rows, _, basis = _principal(inputs, cutoff)
        rows, columns = rows.repeat_interleave(C, 0), signals.flatten(0, 1).T
        self.gain, moved = torch.zeros_like(r), []
        for some in columns.split(max(1, _ENTRIES // rows.numel())):
            left, s, right = torch.linalg.svd(some[:, :, None] * rows, full_matrices=False)
            seen = s > cutoff * s[:, :1]
            a = torch.where(seen, s / (s**2 / N + damping).where(seen, 1.0), 0.0)[..., None] * (left.mT @ r) / N
            self.gain += ((left * s[:, None]) @ a).sum(0)
            moved.append((right.mT @ a[..., :1])[..., 0])
        self.direction = torch.cat(moved) @ basis.mT  # (o, i), of the first column of r


class Kronecker:
    """The K-FAC metric of one layer, with factors from the gradients of single samples and outputs,

        B ⊗ A + ρ,    A = Σ_n a_n a_nᵀ/N,    B = Σ_{n,k} b_{nk} b_{nk}ᵀ/N,

    a_n the layer's input (with a 1 for the bias), b_{nk} the signal ∂f_k/∂h (Martens & Grosse 2015, for squared error).
    ρ is added to the product, as in every metric here; 0 is the literal pseudo-inverse B⁺ ⊗ A⁺. (Usual code adds √ρ to
    each factor.)

    >>> part = Factors(torch.ones(1, 1, 2), torch.ones(1, 1, 1, 3), 2)
    >>> metric = Kronecker(part, 1, 0.0, 1e-12)
    >>> metric.direction(torch.ones(1, 1)).shape, metric.gain(torch.ones(1, 1)).round(decimals=5).tolist()
    (torch.Size([3, 2]), [[1.0]])
    """

    def __init__(self, part: Factors, samples: int, damping: float, cutoff: float) -> None:
        inputs, signals = part.inputs[:, 0], part.signals[:, :, 0]
        self.samples, self.shape = samples, signals.shape[:2]
        self.a, a_values, self.a_vectors = _principal(inputs, cutoff)
        b, b_values, self.b_vectors = _principal(signals.flatten(0, 1), cutoff)
        self.b = b.unflatten(0, self.shape)
        self.inverse = 1 / (b_values[:, None] * a_values / samples**2 + damping)

    def direction(self, r: Tensor) -> Tensor:
        """(B ⊗ A + ρ)⁻¹ of the gradient Σ r_nk b_nk a_nᵀ/N, for r (N, C) -> (o, i)."""
        inner = torch.einsum("nk,nkp,nq->pq", r, self.b, self.a) / self.samples
        return self.b_vectors @ (self.inverse * inner) @ self.a_vectors.mT

    def gain(self, r: Tensor) -> Tensor:
        """J of the directions of each column of r (N·C, m) -> (N·C, m)."""
        columns = r.unflatten(0, self.shape)
        inner = torch.einsum("nkm,nkp,nq->mpq", columns, self.b, self.a) * self.inverse / self.samples
        return torch.einsum("mpq,nkp,nq->nkm", inner, self.b, self.a).flatten(0, 1)


def _principal(rows: Tensor, cutoff: float) -> tuple[Tensor, Tensor, Tensor]:
    """Rows (n, d) in the basis of their right singular vectors (d, rank), the squares of the singular values, and the
    vectors."""
    left, s, right = torch.linalg.svd(rows, full_matrices=False)
    seen = s > cutoff * s[0]
    return left[:, seen] * s[seen], s[seen] ** 2, right[seen].mT
