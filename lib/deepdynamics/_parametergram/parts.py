"""The Jacobian of samples with respect to one layer's parameters, as rows or in factors, and products of such."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from deepdynamics._parametergram.pieces import product_rows

__all__ = ["Factors", "Part", "Rows", "factors_are_cheaper"]

_ENTRIES = 2**22  # of one intermediate product


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows ``values`` (n, C, P) of the Jacobian.

    >>> part = Rows(torch.tensor([[[1.0, 2.0]]]))
    >>> gram = torch.zeros(1, 1, 1, 1)
    >>> part.add_products(part, gram)
    >>> gram.item(), part.pulled(torch.tensor([[3.0]]))
    (5.0, tensor([3., 6.]))
    """

    values: Tensor

    @property
    def nbytes(self) -> int:
        return int(self.values.nbytes)

    def at(self, which: slice) -> Rows:
        """The part of some of the samples.

        >>> Rows(torch.zeros(2, 1, 3)).at(slice(1)).values.shape
        torch.Size([1, 1, 3])
        """
        return Rows(self.values[which])

    def pulled(self, u: Tensor) -> Tensor:
        """Jᵀu (P,) of u (n, C)."""
        return u.flatten() @ self.values.flatten(0, 1)

    def add_products(self, other: Rows, into: Tensor) -> None:
        """Add J J'ᵀ to ``into`` (n, C, m, C)."""
        into += (self.values.flatten(0, 1) @ other.values.flatten(0, 1).T).view_as(into)


@dataclass(frozen=True, eq=False)
class Factors:
    """The rows Σ_s signal_s ⊗ input_s of a linear map at S positions, not multiplied out: ``inputs`` (n, S, i), or
    places (n, S) among ``size``; ``signals`` (n, C, S, o). In the order (o, i) of the weight, or (i, o) where
    ``transposed``. With ``bias`` the last input is 1, and the last entries of a row belong to the bias (o,).

    >>> part = Factors(torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[[3.0]]]]), 2)
    >>> gram = torch.zeros(1, 1, 1, 1)
    >>> part.add_products(part, gram)
    >>> gram.item(), part.pulled(torch.tensor([[1.0]]))
    (45.0, tensor([3., 6.]))
    """

    inputs: Tensor
    signals: Tensor
    size: int
    transposed: bool = False
    bias: bool = False

    @property
    def nbytes(self) -> int:
        return int(self.inputs.nbytes + self.signals.nbytes)

    def at(self, which: slice) -> Factors:
        """The part of some of the samples.

        >>> Factors(torch.zeros(2, 1, 3), torch.zeros(2, 1, 1, 4), 3).at(slice(1)).signals.shape
        torch.Size([1, 1, 1, 4])
        """
        return replace(self, inputs=self.inputs[which], signals=self.signals[which])

    def pulled(self, u: Tensor) -> Tensor:
        """Jᵀu (P,) of u (n, C)."""
        sums = torch.einsum("nc,ncso->nso", u, self.signals).flatten(0, 1)[None, None]
        found = product_rows(self.inputs.flatten(0, 1)[None], sums, self.size, False).view(-1, self.size)  # (o, i)
        weight = found[:, :-1] if self.bias else found
        flat = (weight.mT if self.transposed else weight).reshape(-1)
        return torch.cat((flat, found[:, -1])) if self.bias else flat

    def add_products(self, other: Factors, into: Tensor) -> None:
        """Add J J'ᵀ to ``into`` (n, C, m, C)."""
        if self.signals.shape[2] == 1 and other.signals.shape[2] == 1:
            both = (self.signals.flatten(0, 2) @ other.signals.flatten(0, 2).T).view_as(into)
            into.addcmul_(both, self._inner(slice(None), other.inputs)[:, None, :, None])
            return
        n, C, S, o = self.signals.shape
        step = max(1, _ENTRIES // (other.signals.shape[2] * C * o))
        for a in range(n):
            signals = self.signals[a].transpose(0, 1).reshape(S, C * o)
            for b in range(0, len(other.inputs), step):
                inputs, beside = other.inputs[b : b + step], other.signals[b : b + step]
                met = (self._inner(a, inputs).T.to(signals) @ signals).view(*inputs.shape[:2], C, o)
                found = met.transpose(1, 2).flatten(2) @ beside.flatten(2).mT  # (m, C, C)
                into[a, :, b : b + step] += found.transpose(0, 1)

    def _inner(self, which: int | slice, others: Tensor) -> Tensor:
        """Inner products of inputs at all positions (…, positions of ``others``)."""
        own = self.inputs[which]
        if self.inputs.is_floating_point():
            return own.reshape(-1, self.size) @ others.flatten(0, 1).T
        return (own.reshape(-1, 1) == others.reshape(1, -1)).to(self.signals.dtype)


Part = Rows | Factors


def factors_are_cheaper(C: int, S: int, i: int, o: int) -> bool:
    """Whether a pair of samples costs fewer multiplications in factors, S C o (S + C) + S² i, than by rows, C² i o.

    >>> factors_are_cheaper(10, 1, 512, 512), factors_are_cheaper(10, 1024, 576, 64)
    (True, False)
    """
    return S * C * o * (S + C) + S * S * i <= C * C * i * o or S == 1
