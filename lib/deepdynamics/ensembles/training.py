"""Perceptrons of one shape, stacked, and their training with gradients written by hand.

Weights are stacked as (runs, out, in), and states as (runs, width, samples), so that samples lie side by side in
memory: one batched matrix product serves all networks, in the first layer a single product, and every elementwise
operation runs along the samples. The gradient of the cross-entropy is written by hand: with δ the gradient at the
pre-activations of a layer and x its input, one call W ← W - η δxᵀ is gradient and update together (η multiplies δ at
the top, and the backward pass is linear in δ), so that no gradient is stored. The squared loss differs in δ at the
top alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deepdynamics import activations
from deepdynamics._batched import Adam
from deepdynamics.activations import ActivationLike

__all__ = ["LOSSES", "OPTIMISERS", "StackedMLPs", "tanh_", "train"]

OPTIMISERS = ("sgd", "momentum", "adam")
LOSSES = ("cross_entropy", "squared")


@dataclass
class StackedMLPs:
    """Networks of one shape: ``weights[l]`` (runs, out, in), ``biases[l]`` (runs, out, 1); ``members``: their places in
    the ensemble.

    >>> layers = [(torch.ones(3, 2), torch.zeros(3)), (torch.ones(1, 3), torch.zeros(1))]
    >>> StackedMLPs.of([layers, layers], [0, 1], "linear").logits(torch.ones(5, 2)).shape
    torch.Size([2, 5, 1])
    """

    weights: list[Tensor]
    biases: list[Tensor]
    activation: ActivationLike
    members: list[int]
    phi: activations.Activation

    @classmethod
    def of(
        cls,
        nets: Sequence[Sequence[tuple[Tensor, Tensor]]],
        members: list[int],
        activation: ActivationLike,
        device: torch.device | str | None = None,
    ) -> StackedMLPs:
        """From weights (out, in) and biases (out,) of each layer of each network, on ``device``."""
        layers = [tuple(zip(*same, strict=True)) for same in zip(*nets, strict=True)]
        weights = [torch.stack(weights).to(device) for weights, _ in layers]
        biases = [torch.stack(biases)[:, :, None].to(device) for _, biases in layers]
        return cls(weights, biases, activation, members, activations.get(activation))

    def part(self, places: list[int], *, same_inputs: bool) -> StackedMLPs:
        """A copy of the networks at ``places``. Where all see the same inputs, the first layer's weights lie in memory
        as (in, runs, out): so one product for all runs updates them fastest.

        >>> layers = [(torch.ones(3, 2), torch.zeros(3))]
        >>> StackedMLPs.of([layers] * 4, [0, 1, 2, 3], "linear").part([1, 3], same_inputs=True).weights[0].shape
        torch.Size([2, 3, 2])
        """
        weights, biases = [w[places] for w in self.weights], [b[places] for b in self.biases]
        if same_inputs:
            weights[0] = weights[0].permute(2, 0, 1).contiguous().permute(1, 2, 0)
        return StackedMLPs(weights, biases, self.activation, places, self.phi)

    def put_back(self, places: list[int], part: StackedMLPs) -> None:
        """Write what has become of a :meth:`part`.

        >>> stack = StackedMLPs.of([[(torch.ones(3, 2), torch.zeros(3))]] * 2, [0, 1], "linear")
        >>> part = stack.part([1], same_inputs=True)
        >>> part.weights[0] += 1
        >>> stack.put_back([1], part)
        >>> stack.weights[0][:, 0, 0]
        tensor([1., 2.])
        """
        for own, new in zip((*self.weights, *self.biases), (*part.weights, *part.biases), strict=True):
            own[places] = new

    def logits(self, X: Tensor) -> Tensor:
        """Outputs (runs, n, classes) of the inputs (n, in)."""
        return self.forward(X.T, [None] * len(self.weights))[-1].transpose(1, 2)

    def forward(self, X: Tensor, buffers: Sequence[Tensor | None], kept: list[Tensor] | None = None) -> list[Tensor]:
        """The input, (in, n) or (runs, in, n), and the outputs of all layers, (runs, width, n) each, the logits last,
        in the memory of ``buffers`` where there are some; ``kept`` gets the pre-activations that the slope will need.

        >>> stack = StackedMLPs.of([[(torch.ones(3, 2), torch.zeros(3))]] * 4, [0, 1, 2, 3], "linear")
        >>> [tuple(x.shape) for x in stack.forward(torch.ones(2, 5), [None])]
        [(2, 5), (4, 3, 5)]
        """
        xs = [X]
        overwrite = self.in_place
        last = len(self.weights) - 1
        for depth, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = _affine(weight, bias, xs[-1], buffers[depth])
            if depth < last and overwrite:
                h = overwrite[0](h)
            elif depth < last:
                if kept is not None:
                    kept.append(h)
                h = self.phi(h)
            xs.append(h)
        return xs

    @property
    def in_place(self) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]] | None:
        """The activation and the product with its slope in the memory of their input, where there are some."""
        return _IN_PLACE.get(self.activation) if isinstance(self.activation, str) else None


def train(
    stack: StackedMLPs,
    X: Tensor,
    y: Tensor,
    eta: Tensor,
    batches: Iterable[Tensor],
    size: int,
    optimiser: str,
    loss: str = "cross_entropy",
    fixed_biases: bool = False,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Train in place on X (n, in), y (n,), with the learning rates ``eta`` (runs,) on ``batches`` of indices, (size,)
    or (runs, size); loss and accuracy (runs,) of each step, before its update. ``loss``: a name of ``LOSSES``;
    ``fixed_biases``: only the weights learn.

    >>> stack = StackedMLPs.of([[(torch.zeros(2, 1), torch.zeros(2))]], [0], "linear")
    >>> X, y, everything = torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1]), torch.arange(2)
    >>> history = list(train(stack, X, y, torch.tensor([1.0]), [everything] * 2, size=2, optimiser="sgd"))
    >>> [(round(float(loss), 3), float(accuracy)) for loss, accuracy in history]
    [(0.693, 0.5), (0.313, 1.0)]
    """
    buffers = [X.new_empty(len(eta), w.shape[1], size) for w in stack.weights]
    deltas = [torch.empty_like(b) for b in buffers]
    ones = X.new_ones(1, size)  # what a bias is multiplied by
    update = _Update((*stack.weights, *stack.biases), eta, size, optimiser)
    overwrite, phi = stack.in_place, stack.phi
    at_the_top = {"cross_entropy": _cross_entropy, "squared": _squared}[loss]
    for batch in batches:
        batch = batch.to(X.device)
        kept: list[Tensor] = []
        labels = y[batch]
        xs = stack.forward(X[batch].transpose(-1, -2), buffers, kept)
        value, delta = at_the_top(xs[-1], labels, deltas[-1])
        yield value, (xs[-1].max(1).indices == labels).to(X.dtype).mean(-1)
        delta.mul_(update.scale)
        for depth in reversed(range(len(stack.weights))):
            x, weight = xs[depth], stack.weights[depth]
            # The gradient below needs the weights as they were, the update of the weights needs x before it is
            # overwritten by the slope.
            below = torch.bmm(weight.transpose(1, 2), delta, out=deltas[depth - 1]) if depth else delta
            update(weight, delta, x)
            if not fixed_biases:
                update(stack.biases[depth], delta, ones)
            if depth:
                delta = overwrite[1](x, below) if overwrite else below.mul_(phi.slope(kept[depth - 1]))


class _Update:
    """parameter ← parameter - η · δxᵀ/n, by one of the optimisers, from δ that was multiplied by ``scale``."""

    def __init__(self, parameters: Sequence[Tensor], eta: Tensor, size: int, optimiser: str):
        self.optimiser = optimiser
        self.scale = (torch.full_like(eta, 1 / size) if optimiser == "adam" else eta / size)[:, None, None]
        self.velocities = {id(p): torch.zeros_like(p) for p in parameters if optimiser == "momentum"}
        self.adam = {id(p): Adam(p, eta) for p in parameters if optimiser == "adam"}

    def __call__(self, parameter: Tensor, delta: Tensor, x: Tensor) -> None:
        if self.optimiser == "sgd":
            _add_outer_(parameter, delta, x, alpha=-1)
        elif self.optimiser == "momentum":
            parameter.sub_(_add_outer_(self.velocities[id(parameter)], delta, x, beta=0.9))
        else:
            self.adam[id(parameter)](_add_outer_(torch.empty_like(parameter), delta, x, beta=0))


def _affine(weight: Tensor, bias: Tensor, x: Tensor, out: Tensor | None) -> Tensor:
    """W x + b of every run, (runs, out, n); x (runs, in, n), or (in, n) where all runs see the same."""
    if x.ndim == 3:
        return torch.baddbmm(bias, weight, x, out=out)
    shape = (*weight.shape[:2], x.shape[1])
    flat = None if out is None else out.flatten(0, 1)
    return torch.addmm(bias.flatten(0, 1), weight.flatten(0, 1), x, out=flat).view(shape)


def _add_outer_(target: Tensor, delta: Tensor, x: Tensor, *, alpha: float = 1, beta: float = 1) -> Tensor:
    """target ← beta · target + alpha · δ xᵀ of every run, in place; δ (runs, out, n), x as in `_affine`."""
    if x.ndim == 3:
        return target.baddbmm_(delta, x.transpose(1, 2), alpha=alpha, beta=beta)
    target.flatten(0, 1).addmm_(delta.flatten(0, 1), x.T, alpha=alpha, beta=beta)
    return target


def _cross_entropy(logits: Tensor, labels: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy (runs,) of logits (runs, classes, n) at labels (n,) or (runs, n), and n times its gradient,
    written to ``out``."""
    places = labels.expand(len(logits), -1)[:, None]
    log_p = torch.log_softmax(logits, 1)
    chosen = log_p.gather(1, places)
    return -chosen.mean((1, 2)), torch.exp(log_p, out=out).scatter_(1, places, chosen.expm1())


def _squared(logits: Tensor, labels: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of ½‖f − e_y‖² (runs,), e_y the unit vector of the label, for outputs (runs, classes, n) at labels (n,) or
    (runs, n), and n times its gradient, written to ``out``."""
    places = labels.expand(len(logits), -1)[:, None]
    delta = out.copy_(logits).scatter_add_(1, places, logits.new_full(places.shape, -1))
    return delta.square().sum(1).mean(1) / 2, delta


def tanh_(h: Tensor) -> Tensor:
    """tanh in place.

    >>> tanh_(torch.zeros(2))
    tensor([0., 0.])
    """
    # numpy's vectorised tanh takes a seventh of the time of torch's (float32, AVX-512), where it can write into the
    # same memory.
    if h.device.type == "cpu" and h.is_contiguous():
        np.tanh(h.numpy(), out=h.numpy())
        return h
    return h.tanh_()


# Activations that can be overwritten: x = φ(h) in place of h, and φ'(h) δ in place of δ, computed from x; x is lost.
_IN_PLACE: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "tanh": (tanh_, lambda x, delta: delta.addcmul_(x.mul_(x), delta, value=-1)),
    # |x| < 1 where the slope is 1; the slope at the corners themselves is 0, as Activation.slope has it.
    "hardtanh": (lambda h: h.clamp_(-1, 1), lambda x, delta: delta.mul_(x.abs() < 1)),
    "relu": (lambda h: h.clamp_(min=0), lambda x, delta: delta.mul_(x.sign_())),
    "sigmoid": (lambda h: h.sigmoid_(), lambda x, delta: delta.mul_(x.addcmul_(x, x, value=-1))),
}
