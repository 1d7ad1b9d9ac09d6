"""How far matrices of finite size are from asymptotic freeness: mixed moments of centred matrices."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from deepdynamics._checks import tensor

__all__ = ["freeness_defects"]


def freeness_defects(matrices: Sequence[Tensor | ArrayLike]) -> dict[tuple[int, ...], float]:
    """tr X°_i X°_j and tr X°_i X°_j X°_i X°_j for all i < j, by the words (i, j) and (i, j, i, j), with X° = X - tr X
    and tr the trace over N: free matrices have zeros, of order 1/N where N is finite.

    Square matrices (N, N) of one size. Raises ``ValueError`` for fewer than two, other shapes, entries that are complex
    or not finite.

    >>> import torch
    >>> A, B = torch.diag(torch.tensor([1.0, -1.0])), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    >>> freeness_defects([A, B])
    {(0, 1): 0.0, (0, 1, 0, 1): -1.0}
    """
    checked = [tensor("matrices", X, like=torch.empty(0, dtype=torch.float64)) for X in matrices]
    if len(checked) < 2 or any(X.ndim != 2 or X.shape != (len(checked[0]),) * 2 for X in checked):
        raise ValueError(f"matrices of shapes {[tuple(X.shape) for X in checked]}: two or more (N, N) are allowed")
    if not all(bool(X.isfinite().all()) and not X.is_complex() for X in checked):
        raise ValueError("matrices: finite real entries are allowed")
    centred = []
    for X in checked:
        X = X.double().clone()
        X.diagonal().sub_(X.diagonal().mean())
        centred.append(X)
    defects: dict[tuple[int, ...], float] = {}
    for i, A in enumerate(centred):
        for j in range(i + 1, len(centred)):
            AB = A @ centred[j]
            defects[i, j] = float(AB.diagonal().mean())
            defects[i, j, i, j] = float((AB * AB.T).sum()) / len(AB)
    return defects
