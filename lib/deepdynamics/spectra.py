"""Jacobian spectra of many inputs at once: Jacobians of a multilayer perceptron, their singular values through a small
Gram matrix, how steep a spectrum is, and how much of a vector lies in a subspace.
"""

from __future__ import annotations

import torch
from torch import Tensor

from deepdynamics import activations
from deepdynamics.arrays import Numbers, parameter, tensor
from deepdynamics.networks import MLP, Layer

__all__ = [
    "cumulative_shares",
    "leading_vectors",
    "mlp_jacobians",
    "participation_ratio",
    "share_inside",
    "wide_singular_values",
]


@torch.no_grad()
def mlp_jacobians(net: MLP, X: Numbers, depth: int | None = None) -> Tensor:
    """∂x^l/∂x^0 of an MLP at every input of a batch X (n, in), l = ``depth`` (the last layer by default), (n, width of
    l, in).

    The product diag(φ'(h^l)) W^l … diag(φ'(h^1)) W^1, multiplied out from the input's side as one batched product a
    layer. Raises ``ValueError`` for a net that is no MLP, a shape that does not fit or a depth it does not have.

    >>> net, X = MLP((3, 5, 2), "tanh", seed=0), torch.ones(4, 3)
    >>> J = mlp_jacobians(net, X)
    >>> J.shape, torch.allclose(J[0], torch.func.jacrev(net)(X[0]), atol=1e-6)
    (torch.Size([4, 2, 3]), True)
    """
    if not isinstance(net, MLP):
        raise ValueError(f"net is of type {type(net).__name__}: an MLP is allowed")
    layers = net.layers
    depth = len(layers) if depth is None else depth
    if not 1 <= depth <= len(layers):
        raise ValueError(f"depth = {depth}: 1 to {len(layers)} are allowed")
    width = net.widths[0]
    inputs = tensor("X", X, None if isinstance(X, Tensor) else parameter([net]))
    if inputs.ndim != 2 or inputs.shape[1] != width or not torch.isfinite(inputs).all():
        raise ValueError(f"X of shape {tuple(inputs.shape)}: finite inputs (n, {width}) are allowed")
    J: Tensor | None = None
    for layer in layers[:depth]:
        assert isinstance(layer, Layer)
        weight = layer.weight * layer.scales[0]
        J = weight.expand(len(inputs), *weight.shape) if J is None else weight @ J
        if layer.activation is not None:
            assert isinstance(layer.activation, activations.Activation)
            J = (layer.gain * layer.activation.slope(layer.gain * layer.preactivation(inputs)))[:, :, None] * J
        inputs = layer(inputs)
    assert J is not None
    return J.clone()


def wide_singular_values(J: Numbers) -> Tensor:
    """Singular values (…, m) of matrices (…, m, n) with m <= n, descending, in float64.

    From the eigenvalues of J Jᵀ: right to about 1e-8 times the largest, and rounding below; for 128 × 784 some ten
    times faster than an SVD. Raises ``ValueError`` where m > n or an entry is not finite.

    >>> wide_singular_values(torch.tensor([[0.0, 2.0, 0.0], [1.0, 0.0, 0.0]]))
    tensor([2., 1.], dtype=torch.float64)
    """
    return torch.linalg.eigvalsh(_gram(J)).flip(-1).clamp(min=0).sqrt()


def leading_vectors(J: Numbers, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` leading singular values (…, k) and right singular vectors (…, n, k), as columns, of matrices (…, m, n)
    with m <= n, in float64.

    From the eigenvectors of J Jᵀ, which are right to 1e-16 (s_1/s)²; zero columns where the singular value is below
    1e-6 of the largest. Raises ``ValueError`` for k outside 1..m and as :func:`wide_singular_values` does.

    >>> s, V = leading_vectors(torch.tensor([[0.0, 2.0, 0.0], [1.0, 0.0, 0.0]]), 1)
    >>> s, V.abs()
    (tensor([2.], dtype=torch.float64), tensor([[0.],
            [1.],
            [0.]], dtype=torch.float64))
    """
    J = tensor("J", J)
    squares, vectors = torch.linalg.eigh(_gram(J))
    if not 1 <= k <= J.shape[-2]:
        raise ValueError(f"k = {k}: 1 to {J.shape[-2]} are allowed")
    s = squares.flip(-1)[..., :k].clamp(min=0).sqrt()
    U = vectors.flip(-1)[..., :k]
    V = J.double().mT @ U / s.clamp(min=torch.finfo(torch.float64).tiny)[..., None, :]
    return s, V.masked_fill((s <= 1e-6 * s[..., :1])[..., None, :], 0.0)


def _gram(J: Numbers) -> Tensor:
    """J Jᵀ in float64."""
    J = tensor("J", J)
    if J.ndim < 2 or J.shape[-2] > J.shape[-1] or J.is_complex() or not torch.isfinite(J).all():
        raise ValueError(f"J of shape {tuple(J.shape)}: finite real matrices (…, m, n) with m <= n are allowed")
    J = J.double()
    return J @ J.mT


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
