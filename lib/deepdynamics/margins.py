"""The margin of an answer, and the shortest way to another one.

For logits h and the right class y the margin is m = h_y - max_{j ≠ y} h_j, positive where the answer is right. In a
network that is linear around x the shortest step to another answer goes along -∇m and has the length m/‖∇m‖ (Szegedy
et al. 2014 search for it; Moosavi-Dezfooli et al. 2016 iterate this step).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["MarginStep", "flip_multiple", "margin", "margin_step"]

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class MarginStep:
    """The unit vector -∇m/‖∇m‖ (shape of x), the margin m, and m/‖∇m‖, the length that a linear network would need.

    Unpacks in this order.
    """

    direction: Tensor
    margin: float
    length: float

    def __iter__(self) -> Iterator[Tensor | float]:
        return iter((self.direction, self.margin, self.length))


def margin(f: Map, x: Tensor, label: int) -> Tensor:
    """h_y - max_{j ≠ y} h_j of the logits h = f(x), (C,) or (n, C) with a batch axis: a scalar, or (n,).

    Raises ``ValueError`` for fewer than two classes or a ``label`` that is none of them.

    >>> margin(lambda x: x, torch.tensor([3.0, 1.0, 2.5]), 0)
    tensor(0.5000)
    """
    logits = f(x)
    if logits.shape[-1] < 2 or not 0 <= label < logits.shape[-1]:
        raise ValueError(f"label = {label}: 0 to {logits.shape[-1] - 1} are allowed, of two classes at least")
    others = torch.cat((logits[..., :label], logits[..., label + 1 :]), dim=-1)
    return logits[..., label] - others.amax(-1)


def margin_step(f: Map, x: Tensor, label: int) -> MarginStep:
    """The shortest step from one input x (no batch axis) to another answer, were f linear.

    Raises ``ValueError`` where the gradient is zero, and as :func:`margin` does.

    >>> direction, m, length = margin_step(lambda x: 2 * x, torch.tensor([3.0, 1.0]), 0)
    >>> direction, m, f"{length:.4f}"
    (tensor([-0.7071,  0.7071]), 4.0, '1.4142')
    """
    slope, value = torch.func.grad_and_value(lambda y: margin(f, y, label))(x)
    slope, value = slope.detach(), value.detach()
    norm = float(slope.norm())
    if not norm > 0:
        raise ValueError(f"x of shape {tuple(x.shape)}: the margin has no gradient there")
    return MarginStep(-slope / norm, float(value), float(value) / norm)


@torch.no_grad()
def flip_multiple(f: Map, x: Tensor, label: int, step: Tensor, multiples: Sequence[float]) -> float:
    """The first of the ``multiples`` of ``step`` that changes the answer from ``label``; inf where none does.

    >>> flip_multiple(lambda x: x, torch.tensor([1.0, 0.0]), 0, torch.tensor([0.0, 1.0]), (0.5, 0.9, 1.1, 2.0))
    1.1
    """
    for multiple in multiples:
        if float(margin(f, x + multiple * step, label)) < 0:
            return float(multiple)
    return math.inf
