r"""Many networks with one hidden layer and one input, trained as one program.

A network is a finite piece of an integral representation,

.. math:: g(x) = \sum_{j=1}^{p} c_j\, \varphi(a_j x - b_j),

without an output bias. Networks are trained in blocks whose hidden layer stays in the cache, with a gradient written
by hand: with r the residuals, the gradients of a_j and b_j are sums over x of c_j φ'(a_j x - b_j) against x r and -r,
one product of matrices, so that φ' is the only other array of the size of the hidden layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepdynamics import activations
from deepdynamics._batched import Adam, per_run, run_seeds, threads
from deepdynamics._checks import Numbers, finite, not_negative, positive, tensor
from deepdynamics._checks import count as _count
from deepdynamics.activations import Activation, ActivationLike
from deepdynamics.ensembles.training import tanh_
from deepdynamics.networks import Seed, generator

__all__ = ["ShallowEnsemble", "ShallowNets"]

FALL, AFTER = 0.2, 0.6  # the learning rate is multiplied by FALL once AFTER of the steps are done
_HIDDEN = 2**19  # numbers of a hidden layer that stay in the cache


@dataclass(frozen=True)
class ShallowNets:
    """Trained networks: ``a``, ``b``, ``c`` (count, units) and ``losses`` (count,), their mean squared errors.

    ``history`` (steps, count): the mean squared error before each step, without what decay adds. Unpacks as
    ``a, b, c, losses``. Called with x (n,), it gives the outputs (count, n).

    >>> nets = ShallowEnsemble(3, 5, "tanh").fit([-1.0, 0.0, 1.0], [1.0, 0.0, 1.0], steps=2, learning_rate=0.1, seed=0)
    >>> nets([0.5, 0.6]).shape, nets.history.shape
    (torch.Size([3, 2]), torch.Size([2, 3]))
    """

    a: Tensor
    b: Tensor
    c: Tensor
    losses: Tensor
    activation: Activation = field(repr=False)
    history: Tensor = field(repr=False)

    def __iter__(self) -> Iterator[Tensor]:
        return iter((self.a, self.b, self.c, self.losses))

    def __call__(self, x: Numbers) -> Tensor:
        hidden = _hidden(self.activation, tensor("x", x, like=self.a).to(self.a), self.a, self.b)
        return (self.c[:, None] @ hidden)[:, 0]

    def steps_to(self, loss: float) -> Tensor:
        """How many steps it took each network to get below ``loss`` for the first time, (count,), int64; all of its
        steps where it did not.

        >>> nets = ShallowEnsemble(3, 5, "tanh").fit([0.0, 1.0], [0.0, 1.0], steps=20, learning_rate=0.1, seed=0)
        >>> nets.steps_to(0.0).tolist(), nets.steps_to(1e9).tolist()
        ([20, 20, 20], [0, 0, 0])
        """
        below = self.history < float(not_negative("loss", loss))
        return torch.where(below.any(0), below.int().argmax(0), len(below))


class ShallowEnsemble:
    """``count`` networks of ``units`` hidden units and an ``activation`` (name, module or callable).

    They train in ``dtype``, float32 where none is given, on the device of x. Raises ``ValueError`` for counts that are
    not positive and unknown activations.

    >>> x = torch.linspace(-1, 1, 201)
    >>> a, b, c, losses = ShallowEnsemble(100, 10, "tanh").fit(
    ...     x, torch.sin(2 * torch.pi * x), steps=600, learning_rate=0.05, seed=0
    ... )
    >>> a.shape, bool(losses.median() < 0.02)
    (torch.Size([100, 10]), True)
    """

    def __init__(self, count: int, units: int, activation: ActivationLike, *, dtype: torch.dtype = torch.float32):
        self.count, self.units = _count("count", count), _count("units", units)
        self.activation, self.dtype = activations.get(activation), dtype
        if not dtype.is_floating_point:
            raise ValueError(f"dtype = {dtype}: a floating point type is allowed")

    def draw(self, seed: Seed | Sequence[int], box: float | Sequence[float] = 15.0) -> tuple[Tensor, Tensor, Tensor]:
        """The start: a, b ~ U[-box, box] and c ~ N(0, 1/units), each (count, units).

        >>> a, b, c = ShallowEnsemble(4, 3, "relu").draw(seed=[1, 2, 1, 2], box=[1.0, 1.0, 2.0, 2.0])
        >>> bool((a[2:] == 2 * a[:2]).all()), bool((c[2:] == c[:2]).all())
        (True, True)
        """
        boxes = torch.tensor(per_run("box", box, self.count), dtype=torch.float64)
        positive("box", boxes)
        draws = [generator(one) for one in run_seeds(seed, self.count)]
        uniform = torch.stack([torch.rand(2, self.units, generator=draw, dtype=torch.float64) for draw in draws])
        normal = torch.stack([torch.randn(self.units, generator=draw, dtype=torch.float64) for draw in draws])
        a, b = (boxes[:, None, None] * (2 * uniform - 1)).to(self.dtype).unbind(1)
        return a, b, (normal / self.units**0.5).to(self.dtype)

    def fit(
        self,
        x: Numbers,
        y: Numbers,
        *,
        steps: int,
        learning_rate: float | Sequence[float],
        seed: Seed | Sequence[int],
        weight_decay: float | Sequence[float] = 0.0,
        box: float | Sequence[float] = 15.0,
        start: tuple[Numbers, Numbers, Numbers] | None = None,
    ) -> ShallowNets:
        r"""Train all of them on x (n,) and y, (n,) for all or (count, n): -> a, b, c, losses.

        Full batch, Adam; the learning rate falls to a fifth after 60 % of the steps. What is minimised is

        .. math:: \frac 1n \sum_x (y - g(x))^2 + \mathrm{weight\_decay} \cdot \sum_j c_j^2 ,

        the objective of :func:`deepdynamics.ridgelet.output_weights`: the decay acts on the output weights alone. Each
        network starts from :meth:`draw` or from ``start`` = (a, b, c), each (count, units). ``learning_rate``,
        ``weight_decay`` and ``box`` are one value or one a network; one ``seed`` gives each its own draw, a list gives
        each its own seed, and what a network becomes does not depend on those beside it, up to rounding.

        Raises ``ValueError`` for data that are empty or not finite, shapes that do not fit, values out of range.

        >>> nets = ShallowEnsemble(2, 4, "relu").fit([0.0, 1.0, 2.0], [[0.0, 1.0, 4.0], [0.0, -1.0, -4.0]], steps=200,
        ...                                          learning_rate=0.05, seed=1, box=2.0)
        >>> nets.losses.shape
        torch.Size([2])
        """
        inputs, targets = self._data(x, y)
        total = _count("steps", steps)
        rates, decays = (
            tensor(name, not_negative(name, per_run(name, value, self.count)), like=inputs)
            for name, value in (("learning_rate", learning_rate), ("weight_decay", weight_decay))
        )
        theta = torch.stack(self._start(start, seed, box), 1).to(inputs.device)
        losses, history = inputs.new_empty(self.count), inputs.new_empty(total, self.count)
        size = max(1, _HIDDEN // (self.units * len(inputs)))
        with threads(work=size * self.units * len(inputs)):
            for first in range(0, self.count, size):
                block = slice(first, first + size)
                training = _Training(theta[block], inputs, targets[block], self.activation, rates[block], decays[block])
                for step in range(total):
                    history[step, block] = training.step(FALL if step >= AFTER * total else 1.0)
                losses[block] = training.loss()
        a, b, c = (part.contiguous() for part in theta.unbind(1))
        return ShallowNets(a, b, c, losses, self.activation, history)

    def _data(self, x: Numbers, y: Numbers) -> tuple[Tensor, Tensor]:
        inputs = tensor("x", x).detach().to(self.dtype)
        targets = tensor("y", y).detach().to(inputs)
        n = len(inputs) if inputs.ndim == 1 else 0
        if not n:
            raise ValueError(f"x of shape {tuple(inputs.shape)}: (n,), one input a sample and not empty, is allowed")
        if targets.shape not in ((n,), (self.count, n)):
            raise ValueError(f"y of shape {tuple(targets.shape)}: ({n},) or ({self.count}, {n}) is allowed")
        finite("x", inputs), finite("y", targets)
        return inputs, targets.expand(self.count, n)

    def _start(
        self, start: tuple[Numbers, Numbers, Numbers] | None, seed: Any, box: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        if start is None:
            return self.draw(seed, box)
        if not isinstance(start, tuple | list) or len(start) != 3:
            raise ValueError("start: (a, b, c) is allowed")
        parts = [tensor(name, part).detach().to(self.dtype) for name, part in zip("abc", start, strict=True)]
        for name, part in zip("abc", parts, strict=True):
            if part.shape != (self.count, self.units):
                raise ValueError(f"{name} of shape {tuple(part.shape)}: ({self.count}, {self.units}) is allowed")
            finite(name, part)
        return parts[0], parts[1], parts[2]


class _Training:
    """A block of networks, ``theta`` (networks, 3, units) = (a, b, c), which is changed in place."""

    def __init__(self, theta: Tensor, x: Tensor, y: Tensor, phi: Activation, rates: Tensor, decays: Tensor):
        self.theta, self.x, self.y, self.phi, self.minus_x = theta, x, y, phi, -x
        self.a, self.b, self.c = theta[:, 0], theta[:, 1], theta[:, 2]
        self.gradient = torch.empty_like(theta)
        self.adam, self.rates = Adam(theta, rates), rates.view(-1, 1, 1)
        self.decays = decays.view(-1, 1, 1) if bool(decays.any()) else None
        self.hidden = x.new_empty(*self.a.shape, len(x))
        self.sums = x.new_empty(len(theta), 2, len(x))  # r x and -r, times 2/n
        self.record: tuple[Tensor, Tensor] | None = None
        self.ones = torch.ones(()).to(x).expand_as(self.hidden)
        self.overwrite = next((pair for name, pair in _FROM_VALUE.items() if activations.get(name) is phi), None)

    def residuals(self) -> tuple[Tensor, Tensor]:
        """The hidden layer, and outputs minus targets (networks, n)."""
        torch.mul(self.a[..., None], self.x, out=self.hidden)
        self.hidden -= self.b[..., None]
        hidden = self.overwrite[0](self.hidden) if self.overwrite else self._recorded()
        return hidden, _row(self.theta[:, 2:], hidden)[:, 0].sub_(self.y)

    def _recorded(self) -> Tensor:
        """φ of what is in ``hidden``, kept for :meth:`_slope`: torch has one fused kernel for the slope of most
        activations, which autograd finds."""
        z = self.hidden.detach().requires_grad_()
        with torch.enable_grad():
            value = self.phi(z)
        self.record = (z, value) if value.requires_grad else None
        return value.detach()

    def _slope(self) -> Tensor:
        if self.record is None:
            return self.phi.slope(self.hidden)
        z, value = self.record
        self.record = None
        return torch.autograd.grad(value, z, self.ones)[0]

    def loss(self) -> Tensor:
        return self.residuals()[1].square().mean(1)

    def step(self, factor: float) -> Tensor:
        """One step of Adam at ``factor`` times the learning rates; the losses before it."""
        hidden, rest = self.residuals()
        loss = rest.square().mean(1)
        torch.mul(rest, -2 / len(self.x), out=self.sums[:, 1])
        torch.mul(self.sums[:, 1], self.minus_x, out=self.sums[:, 0])
        torch.neg(_row(self.sums[:, 1:], hidden.mT), out=self.gradient[:, 2:])
        slope = self.overwrite[1](hidden) if self.overwrite else self._slope()
        torch.mul(_row(self.sums, slope.mT), self.theta[:, 2:], out=self.gradient[:, :2])
        if self.decays is not None:
            self.gradient[:, 2:].addcmul_(self.decays, self.theta[:, 2:], value=2)
        self.adam.rate = self.rates * factor
        self.adam(self.gradient)
        return loss


def _row(left: Tensor, right: Tensor) -> Tensor:
    """left (networks, few, k) @ right (networks, k, m)."""
    if left.device.type == "cpu":  # numpy takes half the time of torch.bmm for products of so few rows
        return torch.from_numpy(np.matmul(left.numpy(), right.numpy()))
    return torch.bmm(left, right)


def _hidden(phi: Activation, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """φ(a x - b), (count, units, n)."""
    return phi(a[..., None] * x - b[..., None])


# Activations whose slope follows from their value: φ(z) in place of z, and φ'(z) in place of φ(z).
_FROM_VALUE: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "tanh": (tanh_, lambda h: h.square_().neg_().add_(1)),
    "relu": (lambda z: z.clamp_(min=0), lambda h: h.sign_()),
    "sigmoid": (lambda z: z.sigmoid_(), lambda h: h.addcmul_(h, h, value=-1)),
}
