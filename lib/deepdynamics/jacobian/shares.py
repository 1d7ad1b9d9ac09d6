"""A spectrum and its vectors in one number: how many singular values share the Frobenius norm, and how much of a vector
lies in the subspace of the leading ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from deepdynamics._checks import Numbers, tensor

__all__ = ["cumulative_shares", "participation_ratio", "share_inside"]


def participation_ratio(s: Numbers) -> Tensor:
    """(Σ s²)² / Σ s⁴ over the last axis: how many singular values share the squared Frobenius norm.

    From 1 (one value) to their number (all equal); steep spectra have small ones. It does not depend on the scale.
    Raises ``ValueError`` for a negative, not finite or all-zero spectrum.

    >>> participation_ratio(torch.tensor([[1.0, 1.0, 1.0, 1.0], [3.0, 0.0, 0.0, 0.0]]))
    tensor([4., 1.])
    """
    s = tensor("s", s)
    if s.ndim == 0 or not torch.isfinite(s).all() or bool((s < 0).any()) or bool((s.amax(-1) == 0).any()):
        raise ValueError("s: finite singular values, not negative and not all zero, are allowed")
    squares = (s / s.amax(-1, keepdim=True)).square()
    return squares.sum(-1) ** 2 / squares.square().sum(-1)


def cumulative_shares(V: Numbers, vectors: Numbers) -> Tensor:
    """Share of each vector t inside the span of the first j columns of V, for every j: Σ_{i ≤ j} ⟨v_i, t⟩² / ‖t‖².

    V (…, n, k): orthonormal columns, or zero where there are fewer; vectors (…, n, m), as columns; result (…, m, k),
    float64, ascending along j. Leading axes broadcast. Raises ``ValueError`` where n differs, a vector is zero, or
    columns are not orthonormal to 1e-3.

    >>> cumulative_shares(torch.eye(3)[:, :2], torch.tensor([[3.0, 4.0, 0.0], [0.0, 1.0, 1.0]]).T)
    tensor([[0.3600, 1.0000],
            [0.0000, 0.5000]], dtype=torch.float64)
    """
    V = tensor("V", V)
    vectors = tensor("vectors", vectors, V)
    if V.ndim < 2 or vectors.ndim < 2 or V.shape[-2] != vectors.shape[-2]:
        raise ValueError(f"V {tuple(V.shape)} and vectors {tuple(vectors.shape)}: columns of one length are allowed")
    gram = V.mT @ V
    lengths = gram.diagonal(dim1=-2, dim2=-1).round()
    defect = float((gram - torch.diag_embed(lengths)).abs().max()) if gram.numel() else 0.0
    if not (defect <= 1e-3 and bool((lengths <= 1).all())):
        raise ValueError(f"V: its columns are not orthonormal (largest entry of VᵀV - 1: {defect:.2g})")
    squares = vectors.double().square().sum(-2)
    if not bool((squares > 0).all()):
        raise ValueError(f"vectors: {int((squares == 0).sum())} of them are zero; a share needs a direction")
    return (vectors.mT.to(V.dtype) @ V).double().square().cumsum(-1) / squares[..., None]


def share_inside(V: Numbers, vectors: Numbers) -> Tensor:
    """The last of :func:`cumulative_shares`: ‖Vᵀt‖²/‖t‖² for vectors t (…, n, m), as columns, and orthonormal columns
    V (…, n, k): (…, m).

    1 where t lies in the subspace; k/n on average for a random subspace. Raises as :func:`cumulative_shares` does.

    >>> V = torch.eye(4)[:, :2]
    >>> share_inside(V, torch.tensor([[3.0], [0.0], [4.0], [0.0]]))
    tensor([0.3600], dtype=torch.float64)
    """
    return cumulative_shares(V, vectors)[..., -1]
