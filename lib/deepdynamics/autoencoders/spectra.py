"""The Jacobian of an encoder h = f(W x + b) and its singular values: closed forms, no matrix beyond hidden × hidden.

J(x) = diag(f'(a)) W, a = W x + b, so that J Jᵀ = diag(f') W Wᵀ diag(f'), whose middle part does not depend on x.
Everywhere ``slopes`` f'(a) (runs, n, hidden), ``weights`` W (runs, hidden, visible).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from deepdynamics.jacobian.gram import determined, eigenpairs, roots

__all__ = ["Triplets", "singular_triplets", "singular_values", "squared_norms"]


@dataclass(frozen=True)
class Triplets:
    """Singular triplets of the encoder: ``U`` (runs, n, hidden, k), ``s`` (runs, n, k) descending, ``V`` (runs, n,
    visible, k), vectors as columns.

    >>> from deepdynamics.autoencoders import Autoencoders
    >>> U, s, V = Autoencoders(1, 6, 3).triplets(torch.rand(5, 6), k=2)
    >>> U.shape, s.shape, V.shape
    (torch.Size([1, 5, 3, 2]), torch.Size([1, 5, 2]), torch.Size([1, 5, 6, 2]))
    """

    U: Tensor
    s: Tensor
    V: Tensor

    def __iter__(self) -> Iterator[Tensor]:
        return iter((self.U, self.s, self.V))


def squared_norms(slopes: Tensor, weights: Tensor) -> Tensor:
    """‖J(x)‖² = Σ_j f'(a_j)² ‖W_j‖², (runs, n).

    >>> squared_norms(torch.ones(1, 5, 2), torch.eye(2)[None])
    tensor([[2., 2., 2., 2., 2.]])
    """
    return (slopes.square() @ weights.square().sum(2)[:, :, None])[..., 0]


def singular_values(slopes: Tensor, weights: Tensor) -> Tensor:
    """Singular values of J(x), descending, (runs, n, min(hidden, visible)), in float64: the roots of the eigenvalues of
    J Jᵀ, right to about 1e-8 times the largest, and rounding below that.

    >>> singular_values(torch.tensor([[[1.0, 0.5]]]), torch.eye(2)[None])
    tensor([[[1.0000, 0.5000]]], dtype=torch.float64)
    """
    count = min(weights.shape[1:])
    rows = []
    for d, K in zip(slopes.double(), _kernels(weights), strict=True):  # a run at a time: n hidden² numbers
        rows.append(roots(d[:, :, None] * K * d[:, None, :])[:, :count])
    return torch.stack(rows)


def singular_triplets(slopes: Tensor, weights: Tensor, wanted: slice) -> Triplets:
    """The singular triplets of J(x) at the places ``wanted`` of the descending order, in float64.

    Right singular vectors are Jᵀu/s, and columns are zero where s does not determine them, below 1e-7 of the largest.

    >>> singular_triplets(torch.tensor([[[1.0, 0.5]]]), torch.eye(2)[None], slice(1, 2)).V.abs()
    tensor([[[[0.],
              [1.]]]], dtype=torch.float64)
    """
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for d, K, W in zip(slopes.double(), _kernels(weights), weights.double(), strict=True):
        values, vectors = eigenpairs(d[:, :, None] * K * d[:, None, :])
        s, U = values[:, wanted], vectors[:, :, wanted]
        V = (W.T @ (d[:, :, None] * U)) / s[:, None]
        found.append((U, s, determined(V, s, values[:, :1])))
    U, s, V = (torch.stack(parts) for parts in zip(*found, strict=True))
    return Triplets(U, s, V)


def _kernels(weights: Tensor) -> Tensor:
    """W Wᵀ (runs, hidden, hidden), in float64."""
    weights = weights.double()
    return weights @ weights.mT
