r"""Directions G⁻¹ ∇E of approximate natural gradients, computed in function space.

For E = Σ‖f - y‖²/(2N) and r = f - y, ∇E = Jᵀr/N. With a metric that is made of blocks of parameters p, J = (J_1, J_2,
…), the direction lies in the span of the samples' gradients, Σ_p J_pᵀ a_p, and only the Gram matrices K_p = J_p J_pᵀ
(N·C, N·C) are needed to find the a_p ("push-through"): (JᵀJ/N + ρ)⁻¹Jᵀ = Jᵀ(J Jᵀ/N + ρ)⁻¹. At ρ = 0 every inverse is the
pseudo-inverse. Source: Karakida & Osawa (2020), sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deepdynamics._parametergram import Factors

__all__ = ["Kronecker", "block_coefficients", "rounding", "tridiagonal_coefficients", "unit_coefficients"]

_ENTRIES = 2**24  # of the Gram matrices of units that are in memory together


def rounding(n: int, dtype: torch.dtype) -> float:
    """Below this part of the largest, an eigenvalue of the Gram matrix (n, n) of a Jacobian in ``dtype`` is 0.

    >>> rounding(100, torch.float64) < rounding(100, torch.float32) < 1e-10
    True
    """
    return 10 * n * max(torch.finfo(torch.float64).eps, torch.finfo(dtype).eps ** 2)


def block_coefficients(gram: Tensor, r: Tensor, samples: int, damping: float, cutoff: float) -> Tensor:
    """a = (K/N + ρ)⁻¹ r/N of block-diagonal metrics: ``gram`` K (…, n, n), ``r`` (n, m) -> (…, n, m).

    >>> block_coefficients(torch.eye(2), torch.ones(2, 1), 2, 0.5, 1e-12)
    tensor([[0.5000],
            [0.5000]])
    """
    values, vectors = torch.linalg.eigh(gram)
    seen = values > cutoff * values[..., -1:]
    inverse = torch.where(seen, 1 / (values / samples + damping).where(seen, 1.0), 0.0)
    return vectors @ (inverse[..., None] * (vectors.mT @ r)) / samples


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


def unit_coefficients(
    part: Factors, r: Tensor, samples: int, damping: float, cutoff: float
) -> tuple[Tensor, Tensor]:
    """The a_i of each unit of a layer as one combination of its inputs, and what the outputs of the network gain by it.

    The parameters of unit i, its weights and bias, have the rows signal_i · input, and K_i = (signal_i signal_iᵀ) ∘
    (inputs inputsᵀ), both over entries n·C + k. For ``r`` (n, m) they are (m, o, N), the multiples of the inputs that
    the unit's weights move by, and Σ_i K_i a_i (n, m).

    >>> part = Factors(torch.ones(1, 1, 2), torch.ones(1, 1, 1, 3), 2)
    >>> combination, gain = unit_coefficients(part, torch.ones(1, 1), 1, 0.0, 1e-12)
    >>> combination.flatten().tolist(), gain.tolist()  # each of three units would do
    ([0.5, 0.5, 0.5], [[3.0]])
    """
    inputs, signals = part.inputs[:, 0], part.signals[:, :, 0]
    N, C, units = signals.shape
    columns = signals.flatten(0, 1).T  # (units, n)
    inner = (inputs @ inputs.T).repeat_interleave(C, 0).repeat_interleave(C, 1)
    combination, gain = r.new_zeros(units, N, r.shape[1]), torch.zeros_like(r)
    step = max(1, _ENTRIES // len(inner) ** 2)
    for start in range(0, units, step):
        some = columns[start : start + step]
        grams = some[:, :, None] * inner * some[:, None, :]
        a = block_coefficients(grams, r, samples, damping, cutoff)
        combination[start : start + step] = (some[:, :, None] * a).unflatten(1, (N, C)).sum(2)
        gain += (grams @ a).sum(0)
    return combination.movedim(2, 0), gain


class Kronecker:
    """The K-FAC metric of one layer, with factors from the gradients of single samples and outputs,

        B ⊗ A + ρ,    A = Σ_n a_n a_nᵀ/N,    B = Σ_{n,k} b_{nk} b_{nk}ᵀ/N,

    a_n the layer's input (with a 1 for the bias), b_{nk} the signal ∂f_k/∂h (Martens & Grosse 2015, eq. 1, for the
    Fisher matrix of squared error). ρ is added to the product, as in every metric here; 0 is the literal
    pseudo-inverse B⁺ ⊗ A⁺. (Usual code adds √ρ to each factor.)

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
    seen = s**2 > cutoff * s[0] ** 2
    return left[:, seen] * s[seen], s[seen] ** 2, right[seen].mT
