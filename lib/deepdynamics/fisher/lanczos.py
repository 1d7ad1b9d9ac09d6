"""The largest eigenvalue of the Fisher information without a matrix: Lanczos iterations on its dual."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor, nn

from deepdynamics._checks import Array, Numbers, number, positive
from deepdynamics._parametergram.model import Network, graph_bytes, opened, samples
from deepdynamics.fisher.losses import Weighing, weighing
from deepdynamics.jacobian.linearise import plain_kernels
from deepdynamics.networks import Seed, generator

__all__ = ["LambdaMax", "lambda_max"]

_STEPS = 500


@dataclass(frozen=True)
class LambdaMax:
    """``value``, the largest eigenvalue of F, with ``residual`` = ‖F*u - λu‖/λ of its unit vector u (some eigenvalue
    lies within residual · λ of λ), after ``products`` with F*.

    >>> lambda_max(nn.Linear(2, 1), [[1.0, 2.0]]).value
    6.0
    """

    value: float
    residual: float
    products: int


def lambda_max(
    model: nn.Module,
    X: Numbers,
    loss: str = "mse",
    mean_subtracted: bool = False,
    *,
    tol: float = 1e-6,
    memory: float = 1e9,
    seed: Seed = 0,
) -> LambdaMax:
    """The largest eigenvalue of the Fisher information at samples X (T, …), for which neither F (P, P) nor its dual
    (T·C, T·C) is made; scale and arguments as for :func:`deepdynamics.fisher.dual`.

    Lanczos iterations on u → Wᵀ J Jᵀ W u / T: one reverse pass for Jᵀ, and the derivative of that pass by its vector
    for J, so that no forward rules are needed. They stop as soon as the residual, which they know after each product,
    is at most ``tol``; the error of the value is about its square. The vectors, one a product, have T·C entries.
    Samples are taken in blocks where what autograd keeps of all of them would exceed ``memory`` bytes; then each
    product evaluates the model again.

    Raises ``ValueError`` as :func:`deepdynamics.fisher.dual` does, for a ``tol`` that is not positive, and for a model
    that torch cannot differentiate twice;
    ``RuntimeError`` where the iteration does not reach ``tol``. In single precision tol below 1e-6 is rounding.

    >>> X = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    >>> net = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))
    >>> lambda_max(net, X).residual < 1e-5
    True
    """
    tol = number("tol", tol, positive)
    X = samples("X", X, model)
    network = opened(model, X)
    memory = number("memory", memory, positive)
    weigh = weighing(network, X, loss, mean_subtracted, memory)
    size = len(X) * network.outputs
    with network.recording(), contextlib.ExitStack() as kernels:
        products = _right(network, X, weigh, memory)
        if products is None:  # fused attention and recurrent networks, which can be differentiated once
            kernels.enter_context(plain_kernels())
            products = _right(network, X, weigh, memory)
        if products is None:
            raise ValueError("model has no second derivative that is right to rounding: dual does without")
        start = torch.randn(size, generator=generator(seed), dtype=torch.float64).numpy()
        value, u = _leading(products, start, tol)
        gap = float(np.linalg.norm(products(u) - value * u))
    return LambdaMax(value, gap / value if value > 0 else gap, products.count)


def _leading(product: Callable[[Array], Array], start: Array, tol: float) -> tuple[float, Array]:
    """The largest eigenvalue of a positive product and its unit vector, from a Krylov space that is kept orthogonal."""
    basis = [start / np.linalg.norm(start)]
    diagonal: list[float] = []
    beside: list[float] = []
    for _ in range(min(_STEPS, len(start))):
        w = product(basis[-1])
        diagonal.append(float(w @ basis[-1]))
        Q = np.stack(basis, axis=1)
        for _ in range(2):
            w = w - Q @ (Q.T @ w)
        rest = float(np.linalg.norm(w))
        last = len(diagonal) - 1
        values, vectors = eigh_tridiagonal(diagonal, beside, select="i", select_range=(last, last))
        value, s = float(values[-1]), vectors[:, -1]
        if rest * abs(s[-1]) <= tol * value or rest == 0 or last + 1 == len(start):
            u = Q @ s
            return value, u / np.linalg.norm(u)
        beside.append(rest)
        basis.append(w / rest)
    raise RuntimeError(f"the residual of the largest eigenvalue is above tol={tol:g} after {_STEPS} products")


def _right(network: Network, X: Tensor, weigh: Weighing, memory: float) -> _Dual | None:
    """The products, where they are right: uᵀ (J Jᵀ u) = ‖Jᵀu‖²."""
    try:
        products = _Dual(network, X, weigh, memory)
        u = torch.randn(len(X), network.outputs, generator=generator(0), dtype=torch.float64).to(products.parameters[0])
        direction = products.pulled(u)
        one, other = float((u * products.pushed(direction)).sum()), float(sum((g**2).sum() for g in direction))
    except RuntimeError:
        return None
    return products if abs(one - other) <= 1e4 * torch.finfo(u.dtype).eps * other else None


class _Dual:
    """u → Wᵀ J Jᵀ W u / T, with the graphs of all blocks of samples if they are few enough to be one."""

    def __init__(self, network: Network, X: Tensor, weigh: Weighing, memory: float):
        self.network, self.X, self.weigh, self.count = network, X, weigh, 0
        self.parameters = list(network.parameters.values())
        a_sample = 4 * graph_bytes(network, X[:1])  # the graph, that of its reverse pass, and what flows through them
        self.block = max(1, min(len(X), int(memory // max(1, a_sample))))
        self.kept = self._graph(X) if self.block == len(X) else None

    def __call__(self, column: Array) -> Array:
        self.count += 1
        T, C = len(self.X), self.network.outputs
        like = self.parameters[0]
        u = torch.from_numpy(np.ascontiguousarray(column)).to(like).view(T, C, 1)
        u = self.weigh(u).squeeze(2)
        found = self.weigh.back(self.pushed(self.pulled(u))[..., None]).div_(T)
        return found.flatten().double().cpu().numpy()  # type: ignore[no-any-return]

    def _graph(self, X: Tensor) -> tuple[Tensor, Tensor, list[Tensor | None]]:
        """The outputs, a vector w, and Jᵀw as a function of it."""
        value = self.network(X)
        w = torch.zeros_like(value, requires_grad=True)
        found: Any = [None] * len(self.parameters)
        if value.requires_grad:
            found = torch.autograd.grad(value, self.parameters, w, create_graph=True, allow_unused=True)
        return value, w, list(found)

    def pulled(self, u: Tensor) -> list[Tensor]:
        """Jᵀu of u (T, C), for each parameter."""
        sums = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        for start in range(0, len(self.X), self.block):
            which = slice(start, start + self.block)
            value = self.network(self.X[which]) if self.kept is None else self.kept[0]
            if not value.requires_grad:
                continue
            found = torch.autograd.grad(value, self.parameters, u[which], retain_graph=True, allow_unused=True)
            for total, g in zip(sums, found, strict=True):
                if g is not None:
                    total += g
        return sums

    def pushed(self, direction: list[Tensor]) -> Tensor:
        """J v (T, C) of v, for each parameter."""
        rows = []
        for start in range(0, len(self.X), self.block):
            _, w, found = self._graph(self.X[start : start + self.block]) if self.kept is None else self.kept
            pairs = [(g, v) for g, v in zip(found, direction, strict=True) if g is not None and g.requires_grad]
            row = None
            if pairs:
                g, v = zip(*pairs, strict=True)
                (row,) = torch.autograd.grad(g, w, v, retain_graph=self.kept is not None, allow_unused=True)
            rows.append(torch.zeros_like(w, requires_grad=False) if row is None else row)
        return torch.cat(rows)
