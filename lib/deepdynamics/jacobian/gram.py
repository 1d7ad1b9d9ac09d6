"""Singular values and right singular vectors of dense matrices through the smaller of their two Gram matrices, for many
matrices at once and ten times faster than an SVD where one side is much the longer.

With J (m, n) of m <= n the eigenpairs (s², u) of J Jᵀ give the values s and the right vectors v = Jᵀu/s; with m > n
those of JᵀJ are (s², v). Everything is in float64. Squaring costs half of the digits: an eigenvalue is wrong by some
1e-16 s_1², so that a singular value is right to 1e-16 s_1²/s, and what is below 1e-8 s_1 is rounding.

The rule for vectors: one is **determined** where its singular value is above 1e-7 of the largest (``DETERMINED``). Its
direction is right to 1e-16 s_1² over the distance of its square to the others: some 1e-2 there, 1e-4 at 1e-6, and so
on. Columns of the others are zero, which a projection leaves out; :func:`right_singular` cuts them off. Values are
returned as they come. (Values over more decades: :func:`deepdynamics.jacobian.product_singular_values`; vectors of
large Jacobians: :func:`deepdynamics.jacobian.top_singular`.)
"""

from __future__ import annotations

import torch
from torch import Tensor

from deepdynamics._checks import Numbers, count, tensor

__all__ = [
    "DETERMINED",
    "determined",
    "eigenpairs",
    "gram_singular_values",
    "leading_vectors",
    "right_singular",
    "roots",
]

DETERMINED = 1e-7  # of the largest singular value


def gram_singular_values(J: Numbers) -> Tensor:
    """Singular values (…, min(m, n)) of matrices (…, m, n), descending, in float64: right to 1e-16 s_1²/s, and rounding
    below 1e-8 of the largest.

    Raises ``ValueError`` for what is not finite real matrices.

    >>> gram_singular_values(torch.tensor([[0.0, 2.0, 0.0], [1.0, 0.0, 0.0]]))
    tensor([2., 1.], dtype=torch.float64)
    """
    return roots(_smaller_gram(_checked(J)))


def leading_vectors(J: Numbers, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` leading singular values (…, k) and right singular vectors (…, n, k), as columns, of matrices (…, m, n),
    in float64. Columns are zero where the singular value does not determine them: at most 1e-7 of the largest.

    Raises ``ValueError`` for a k outside 1..min(m, n) and as :func:`gram_singular_values` does.

    >>> s, V = leading_vectors(torch.tensor([[0.0, 2.0, 0.0], [1.0, 0.0, 0.0]]), 1)
    >>> s, V.abs()
    (tensor([2.], dtype=torch.float64), tensor([[0.],
            [1.],
            [0.]], dtype=torch.float64))
    """
    J = _checked(J)
    k = count("k", k, most=min(J.shape[-2:]))
    s, vectors = (found[..., :k] for found in eigenpairs(_smaller_gram(J)))
    if J.shape[-2] <= J.shape[-1]:
        vectors = J.mT @ vectors / s.clamp(min=torch.finfo(s.dtype).tiny)[..., None, :]
    return s, determined(vectors, s, s[..., :1])


def right_singular(J: Numbers, *, cutoff: float = DETERMINED) -> tuple[Tensor, Tensor]:
    """Singular values s (r,), descending, and right singular vectors V (n, r), as columns, of one matrix J (m, n), in
    float64; r, its numerical rank, counts the values above ``cutoff`` times the largest.

    A larger cutoff is for entries that are themselves rounded: 1e-5 for a Jacobian that was computed in float32. Raises
    ``ValueError`` where J is no finite real matrix or is zero, and for a cutoff outside [1e-7, 1), below which vectors
    are not determined.

    >>> s, V = right_singular(torch.tensor([[0.0, 2.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    >>> s.round(decimals=9), V.abs().round(decimals=9)
    (tensor([2., 1.], dtype=torch.float64), tensor([[0., 1.],
            [1., 0.],
            [0., 0.]], dtype=torch.float64))
    """
    J = tensor("J", J)
    if J.ndim != 2 or not torch.isfinite(J).all() or not J.any():
        raise ValueError(f"J of shape {tuple(J.shape)}: a finite matrix that is not zero is allowed")
    if not DETERMINED <= cutoff < 1:
        raise ValueError(f"cutoff = {cutoff}: a number from {DETERMINED} to below 1 is allowed")
    s, V = leading_vectors(J, min(J.shape))
    rank = int((s > cutoff * s[0]).sum())
    return s[:rank], V[:, :rank]


def roots(gram: Tensor) -> Tensor:
    """The singular values (…, m), descending, of matrices whose Gram matrices (…, m, m), positive semidefinite up to
    rounding, are given: for a caller who has a better way to these than the product of a matrix with its transpose.

    >>> roots(torch.diag(torch.tensor([4.0, 9.0])))
    tensor([3., 2.])
    """
    return torch.linalg.eigvalsh(gram).flip(-1).clamp(min=0).sqrt()


def eigenpairs(gram: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`roots` and the singular vectors (…, m, m) of the Gram matrices' side, as columns.

    >>> s, U = eigenpairs(torch.diag(torch.tensor([4.0, 9.0])))
    >>> s, U.abs()
    (tensor([3., 2.]), tensor([[0., 1.],
            [1., 0.]]))
    """
    squares, vectors = torch.linalg.eigh(gram)
    return squares.flip(-1).clamp(min=0).sqrt(), vectors.flip(-1)


def determined(vectors: Tensor, s: Tensor, largest: Tensor) -> Tensor:
    """Singular vectors (…, n, k), as columns, with zeros where the singular values s (…, k) do not determine them: at
    most ``DETERMINED`` times the ``largest`` (…, 1) of their matrix.

    >>> determined(torch.eye(2), torch.tensor([1.0, 1e-7]), torch.tensor([1.0]))
    tensor([[1., 0.],
            [0., 0.]])
    """
    return vectors.masked_fill((s <= DETERMINED * largest)[..., None, :], 0.0)


def _checked(numbers: Numbers) -> Tensor:
    J = tensor("J", numbers)
    if J.ndim < 2 or J.is_complex() or not torch.isfinite(J).all():
        raise ValueError(f"J of shape {tuple(J.shape)}: finite real matrices (…, m, n) are allowed")
    return J.double()


def _smaller_gram(J: Tensor) -> Tensor:
    return J.mT @ J if J.shape[-2] > J.shape[-1] else J @ J.mT
