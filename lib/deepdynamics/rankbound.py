"""How many singular values of a network's Jacobian can differ from zero: its narrowest place decides.

The Jacobian of a chain of layers is a product, and passes through the derivative of every activation on the way. Of a
ReLU that derivative is a diagonal of zeros and ones, one for each active unit, so that the rank of the product is at
most their number. The same holds for what leaves a pooling by maxima.
"""

from typing import Any

import torch
from numpy.typing import ArrayLike
from torch.overrides import TorchFunctionMode

from deepdynamics._checks import tensor
from deepdynamics.jacobian.inputs import Map

__all__ = ["rank_bound"]

_PLACES = ("relu", "relu_", "max_pool2d", "adaptive_max_pool2d")


@torch.no_grad()
def rank_bound(f: Map, x: torch.Tensor | ArrayLike) -> int:
    """At most so many singular values of the Jacobian of f at one input x are not zero: the smallest of its numbers of
    inputs, of outputs, and of units that are active after each ReLU or pooling by maxima on the way.

    For chains of layers. With skip connections signals pass beside the units, and there is no such bound.

    >>> W = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, -1.0]])
    >>> rank_bound(lambda x: W.T @ torch.relu(W @ x), [1.0, 2.0])
    1
    """
    x = tensor("x", x)
    with _Active() as active:
        output = f(x)
    return min(x.numel(), output.numel(), *active.counts)


class _Active(TorchFunctionMode):
    """Counts what is not zero after each of `_PLACES`."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") in _PLACES:
            self.counts.append(int(torch.count_nonzero(result)))
        return result
