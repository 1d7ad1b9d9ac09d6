"""Any function of tensors that acts on each number by itself, as an activation: its slope is autograd's."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepdynamics._checks import real
from deepdynamics.activations.numerical import PiecewiseActivation

__all__ = ["Elementwise"]


class Elementwise(PiecewiseActivation):
    """A ``torch.nn.Module`` or another callable on tensors. Tensors go through it as they are; numbers, for the theory,
    in float64 (through a copy of a module that has parameters, which are taken as they were when it was made).

    ValueError where it does not return a real tensor of the same shape, where a number depends on the others (softmax)
    or on chance (dropout: ``.eval()``), and where a value is not finite.

    >>> soft = Elementwise(torch.nn.Softshrink(0.5))
    >>> soft([0.25, 2.0]).tolist(), soft.slope(torch.tensor([0.25, 2.0]))
    ([0.0, 1.5], tensor([0., 1.]))
    """

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        self.function = function
        self.name = repr(function) if isinstance(function, nn.Module) else getattr(function, "__name__", repr(function))
        self._exact = function
        if isinstance(function, nn.Module) and [*function.parameters(), *function.buffers()]:
            self._exact = copy.deepcopy(function).cpu().double()
        self._check()

    def __call__(self, x: Any) -> Any:
        if isinstance(x, Tensor):
            return self._apply(self.function, x)
        with torch.no_grad():
            return (
                self._apply(self._exact, torch.from_numpy(np.atleast_1d(real("x", x)))).numpy().reshape(np.shape(x))[()]
            )

    def slope(self, x: Any) -> Any:
        if isinstance(x, Tensor):
            return self._slope(self.function, x)
        return self._slope(self._exact, torch.from_numpy(np.atleast_1d(real("x", x)))).numpy().reshape(np.shape(x))[()]

    def _apply(self, function: Callable[[Tensor], Any], x: Tensor) -> Any:
        return function(x.clone())  # it may work in place

    def _slope(self, function: Callable[[Tensor], Any], x: Tensor) -> Tensor:
        try:  # under the transforms of torch.func as well
            y, back, *_ = torch.func.vjp(lambda x: self._apply(function, x), x)
            slope: Tensor = back(torch.ones_like(y))[0]
            return slope
        except RuntimeError:  # an autograd.Function of the old kind
            graph = x.requires_grad and torch.is_grad_enabled()
            with torch.enable_grad():
                start = x if graph else x.detach().clone().requires_grad_()
                y = self._apply(function, start)
                return torch.autograd.grad(y.sum(), start, create_graph=graph)[0]

    def _check(self) -> None:
        x = torch.tensor([0.3, -1.7, 0.05, 2.9, -0.4, 7.3, -11.0, 1.0], dtype=torch.float64)
        allowed = "a function of tensors that acts on each number by itself is allowed"
        try:
            with torch.no_grad():
                y, again, part = (self._apply(self._exact, each) for each in (x.clone(), x.clone(), x[::2].clone()))
                slope = self._slope(self._exact, x) if isinstance(y, Tensor) and y.shape == x.shape else x
        except Exception as error:
            raise ValueError(
                f"activation = {self.name}: {allowed}; it raises {type(error).__name__}: {error}"
            ) from error
        if not isinstance(y, Tensor) or y.shape != x.shape or y.is_complex():
            got = f"shape {tuple(y.shape)}, {y.dtype}" if isinstance(y, Tensor) else type(y).__name__
            raise ValueError(f"activation = {self.name}: {allowed}; of shape (8,), float64, it makes {got}")
        if not (y.isfinite().all() and slope.isfinite().all()):
            raise ValueError(f"activation = {self.name}: finite values are allowed; at {x.tolist()} it is {y.tolist()}")
        if not torch.equal(y, again):
            raise ValueError(
                f"activation = {self.name}: two calls differ; a module without chance, .eval(), is allowed"
            )
        if not torch.allclose(part, y[::2], rtol=1e-12, atol=1e-300):
            raise ValueError(f"activation = {self.name}: {allowed}; here a number depends on the others")
