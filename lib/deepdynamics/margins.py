"""The margin of an answer, and the shortest way to another one.

For logits h and the right class y the margin is m = h_y - max_{j ≠ y} h_j, positive where the answer is right. In a
network that is linear around x the shortest step to the runner-up goes along -∇m and has the length m/‖∇m‖. The
shortest step to *any* other answer is the shortest of those to each class, with m_j = h_y - h_j: it need not lead to
the runner-up (Szegedy et al. 2014 search for such steps; DeepFool, Moosavi-Dezfooli et al. 2016, iterates this one).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deepdynamics._checks import Numbers, tensor
from deepdynamics.jacobian.inputs import Map, at_input, floating
from deepdynamics.jacobian.linearise import gradient

__all__ = ["ClassSteps", "MarginStep", "class_steps", "flip_multiple", "margin", "margin_step"]


@dataclass(frozen=True)
class MarginStep:
    """The unit vector -∇m/‖∇m‖ (shape of x), the margin m, and m/‖∇m‖, the length that a linear network would need.

    Unpacks in this order.

    >>> direction, m, length = MarginStep(torch.tensor([1.0, 0.0]), 2.0, 0.5)
    >>> m, length
    (2.0, 0.5)
    """

    direction: Tensor
    margin: float
    length: float

    def __iter__(self) -> Iterator[Tensor | float]:
        return iter((self.direction, self.margin, self.length))


def margin(f: Map, x: Numbers, label: int) -> Tensor:
    """h_y - max_{j ≠ y} h_j of the logits h = f(x), (C,) or (n, C) with a batch axis: a scalar, or (n,).

    One input gets a batch axis where f needs it. Can be differentiated by torch. Raises ``ValueError`` for fewer than
    two classes or a ``label`` that is none of them, and for f and x as :func:`deepdynamics.jacobian.jacobian` does.

    >>> margin(lambda x: x, [3.0, 1.0, 2.5], 0)
    tensor(0.5000)
    """
    at = at_input(f, x)
    if isinstance(x, Tensor) and torch.is_grad_enabled():
        return _margin(at.f(x), label)
    return _margin(at.value, label)


def _margin(logits: Tensor, label: int) -> Tensor:
    if logits.ndim == 0 or logits.shape[-1] < 2 or not 0 <= label < logits.shape[-1]:
        classes = logits.shape[-1] if logits.ndim else 0
        raise ValueError(f"label = {label}: 0 to {classes - 1} are allowed, of two classes at least")
    others = torch.cat((logits[..., :label], logits[..., label + 1 :]), dim=-1)
    return logits[..., label] - others.amax(-1)


@torch.inference_mode(False)
def margin_step(f: Map, x: Numbers, label: int) -> MarginStep:
    """The shortest step from one input x (no batch axis; it is added where f needs it) to another answer, were f
    linear.

    Raises ``ValueError`` where the gradient is zero and where f gives the logits of several inputs, and as
    :func:`margin` does.

    >>> direction, m, length = margin_step(lambda x: 2 * x, [3.0, 1.0], 0)
    >>> direction, m, f"{length:.4f}"
    (tensor([-0.7071,  0.7071]), 4.0, '1.4142')
    """
    at = at_input(f, x)
    if at.value.ndim != 1:
        raise ValueError(
            f"x of shape {tuple(at.x.shape)}, f(x) of shape {tuple(at.value.shape)}: one input and its logits (C,) are "
            "allowed"
        )
    value, U = _margin(at.value, label), torch.zeros_like(at.value)
    U[label] = 1
    others = at.value.clone()
    others[label] = -math.inf
    U -= (others == others.amax()) / (others == others.amax()).sum()  # shared by classes that tie
    slope = gradient(at, U)
    norm = float(slope.norm())
    if not norm > 0:
        raise ValueError(f"x of shape {tuple(at.x.shape)}: the margin has no gradient there")
    return MarginStep(-slope / norm, float(value), float(value) / norm)


@dataclass(frozen=True)
class ClassSteps:
    """The steps to ``classes``, one :class:`MarginStep` each, of m_j = h_y - h_j.

    >>> steps = class_steps(torch.nn.Identity(), [3.0, 1.0, 2.5], 0)
    >>> steps.classes, steps.of(1).margin
    ((2, 1), 2.0)
    """

    classes: tuple[int, ...]
    steps: tuple[MarginStep, ...]

    @property
    def nearest(self) -> MarginStep:
        """The shortest of them."""
        return min(self.steps, key=lambda step: step.length)

    def of(self, label: int) -> MarginStep:
        """The step to one of the classes; ``ValueError`` for another one."""
        if label not in self.classes:
            raise ValueError(f"label = {label}: one of {self.classes} is allowed")
        return self.steps[self.classes.index(label)]


@torch.inference_mode(False)
def class_steps(f: Map, x: Numbers, label: int, *, most: int | None = None) -> ClassSteps:
    """The shortest step to each other class, were f linear, from one input x: DeepFool's, whose ``nearest`` is the
    shortest way out of the class. With ``most``, only to the classes of so many largest logits beside the label's:
    one product with the transpose of the Jacobian each.

    Raises ``ValueError`` for a ``most`` below 1, where a difference of logits has no gradient, and as
    :func:`margin_step` does.

    >>> steps = class_steps(lambda x: x * torch.tensor([1.0, 1.0, 9.0]), [2.0, 1.0, 0.0], 0)
    >>> f"{steps.nearest.length:.4f}", f"{steps.of(1).length:.4f}"  # to the last class, not to the runner-up
    ('0.2209', '0.7071')
    """
    at = at_input(f, x)
    if at.value.ndim != 1:
        raise ValueError(
            f"x of shape {tuple(at.x.shape)}, f(x) of shape {tuple(at.value.shape)}: one input and its logits (C,) are "
            "allowed"
        )
    if most is not None and most < 1:
        raise ValueError(f"most = {most}: 1 or more is allowed")
    _margin(at.value, label)
    order = [j for j in at.value.argsort(descending=True, stable=True).tolist() if j != label][:most]
    steps = []
    for other in order:
        U = torch.zeros_like(at.value)
        U[label], U[other] = 1, -1
        slope, m = gradient(at, U), float(at.value[label] - at.value[other])
        norm = float(slope.norm())
        if not norm > 0:
            raise ValueError(f"class {other}: its margin has no gradient there")
        steps.append(MarginStep(-slope / norm, m, m / norm))
    return ClassSteps(tuple(order), tuple(steps))


@torch.inference_mode(False)
@torch.no_grad()
def flip_multiple(f: Map, x: Numbers, label: int, step: Numbers, multiples: Sequence[float]) -> float:
    """The first of the ``multiples`` of ``step`` that changes the answer from ``label`` (a tie does not); inf where
    none does. Raises as :func:`margin` does.

    >>> flip_multiple(lambda x: x, [1.0, 0.0], 0, [0.0, 1.0], (0.5, 0.9, 1.1, 2.0))
    1.1
    """
    x = floating("x", x, [f])
    step = tensor("step", step).to(x)
    for multiple in multiples:
        if float(margin(f, x + multiple * step, label)) < 0:
            return float(multiple)
    return math.inf
