r"""Stacks of restricted Boltzmann machines as deep networks: variants, layer Jacobians in closed form, fine-tuning.

A stack is trained from below, each machine on the means of the one before (:mod:`deepdynamics.rbm`), and then read as a
network of logistic layers with gain g,

.. math:: h^l = f(\rho\,x^{l-1} W^l + c^l), \qquad
    J^l = \rho\,g\,\operatorname{diag}\bigl(h^l (1 - h^l)\bigr) W^{l\top},

whose states are x^l = h^l, or one of three variants, applied while training as well:

- dropout (Hinton et al. 2012): the inputs of a machine are dropped at random in training, and in the network weights
  are multiplied by the share ρ that was kept;
- pooling: x^l has the maxima of groups of neighbouring units, so that J^l keeps one row of each group;
- skip connections: where widths agree x^l = (x^{l-1} + h^l)/2, so that J^l → (I + J^l)/2; the mean stays in [0, 1].

Torch; training in the dtype of the data, Jacobians in float64. Lists and numpy arrays are made into tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from scipy.linalg import lapack
from torch import Tensor

from deepdynamics._checks import Numbers, labels, tensor
from deepdynamics.jacobian import product_singular_values
from deepdynamics.jacobian.chain import layer_factor
from deepdynamics.networks import Seed, generator
from deepdynamics.rbm.machine import RBM

__all__ = ["Stack", "fine_tuned_accuracy", "pretrain", "pretrain_stack"]


@dataclass(frozen=True)
class Stack:
    """Trained machines, first layer first, and how the network made of them differs from a plain chain of means.

    >>> stack = Stack((RBM(6, 4), RBM(2, 6)), pool=2)
    >>> [tuple(x.shape) for x in stack.states(torch.rand(10, 6))]
    [(10, 6), (10, 2), (10, 3)]
    """

    machines: tuple[RBM, ...]
    keep: float = 1.0
    pool: int = 1
    skip: bool = False

    def layer(self, number: int, x: Numbers) -> Tensor:
        """State of layer ``number`` (0 is the first machine's) from the state below it, (…, below) -> (…, width).

        >>> Stack((RBM(6, 4, weight_var=0.0),)).layer(0, torch.ones(6))
        tensor([0.5000, 0.5000, 0.5000, 0.5000])
        """
        x = tensor("x", x)
        h = self.machines[number].hidden_probability(self.keep * x)
        if self.pool > 1:
            h = h.unflatten(-1, (-1, self.pool)).amax(-1)
        return (x + h) / 2 if self.skip and x.shape[-1] == h.shape[-1] else h

    def states(self, x: Numbers) -> list[Tensor]:
        """x^0 = ``x`` (…, input), x^1, …, x^L.

        >>> [tuple(x.shape) for x in Stack((RBM(6, 4), RBM(4, 3))).states(torch.rand(6))]
        [(6,), (4,), (3,)]
        """
        found = [tensor("x", x)]
        for number in range(len(self.machines)):
            found.append(self.layer(number, found[-1]))
        return found

    def factors(self, x: Numbers) -> list[Tensor]:
        """J^l (width of l, width of l - 1) at one input ``x`` (input,), first layer first, float64.

        >>> stack = pretrain_stack((6, 4, 4), torch.rand(100, 6), seed=0, epochs=1, learning_rate=0.1)
        >>> [tuple(J.shape) for J in stack.factors(torch.rand(6))]
        [(4, 6), (4, 4)]
        """
        x = tensor("x", x)
        if x.ndim != 1:
            raise ValueError(f"x of shape {tuple(x.shape)}: one input, without a batch axis, is allowed")
        x = x.double()
        found: list[Tensor] = []
        for number, machine in enumerate(self.machines):
            J = layer_factor(self._slopes(number, x), machine.weights.double().T)
            if self.pool > 1:
                h = machine.hidden_probability(self.keep * x)
                groups = torch.arange(0, len(h), self.pool, device=h.device)
                J = J[groups + h.unflatten(0, (-1, self.pool)).argmax(1)]
            if self.skip and J.shape[0] == J.shape[1]:
                J = (torch.eye(len(J), dtype=J.dtype, device=J.device) + J) / 2
            found.append(J)
            x = self.layer(number, x)
        return found

    def log_singular_values(self, x: Numbers) -> Tensor:
        """Natural logarithms, descending, of all singular values of the Jacobian at ``x`` (input,), however small:
        (min(width, input),), float64.

        By :func:`deepdynamics.jacobian.product_singular_values`, which takes one factor of condition 1e13 or more for
        singular. In a first layer some units are saturated far beyond that by bright pixels; so it enters as the
        singular value decomposition of W diag(slopes), which LAPACK's Jacobi method finds to full relative accuracy
        whatever the slopes. On the CPU; not for stacks with pooling or skip connections (``ValueError``).

        >>> stack, x = Stack((RBM(6, 4), RBM(4, 4))), torch.rand(6)
        >>> dense = torch.linalg.svdvals(torch.linalg.multi_dot(stack.factors(x)[::-1]))
        >>> torch.allclose(stack.log_singular_values(x), dense.log(), atol=1e-6)
        True
        """
        if self.pool > 1 or self.skip:
            raise ValueError("stack with pooling or skip connections: a plain one is allowed")
        x = tensor("x", x)
        first, *rest = self.factors(x)
        if first.shape[0] > first.shape[1]:
            return product_singular_values([first, *rest])
        columns = self.machines[0].weights.double().cpu() * self._slopes(0, x.double()).cpu()
        # joba "C", jobu "U", jobv "V", jobr "N", jobt "N", jobp "N": relative accuracy for column-scaled matrices.
        s, _, vectors, work, _, info = lapack.dgejsv(
            np.asfortranarray(columns.numpy()), joba=0, jobu=0, jobv=0, jobr=0, jobt=0, jobp=0
        )
        if info != 0:
            raise RuntimeError(f"LAPACK's Jacobi SVD of the first layer did not converge (info = {info})")
        scales = torch.diag(torch.from_numpy(s * (work[0] / work[1])))
        if not rest:
            return scales.diagonal().log()
        rotated = rest[0].cpu() @ torch.from_numpy(np.ascontiguousarray(vectors))
        return product_singular_values([scales, rotated, *(J.cpu() for J in rest[1:])])

    def mean_log_singular_values(self, X: Numbers) -> Tensor:
        r"""Mean natural logarithm of all singular values of the Jacobian at each input of X (n, input): (n,), float64.

        For a plain stack of hidden layers of one width N the product of all singular values is a product over layers,
        and the input enters it through the slopes alone:

        .. math:: \frac1N \sum_k \log s_k = \frac1N \sum_l \Bigl[\sum_i \log\bigl(g\,h^l_i(1 - h^l_i)\bigr)
            + \log\det(W^{l\top} W^l)^{1/2}\Bigr] .

        Raises ``ValueError`` for a stack with pooling, skip connections, or widths that change or exceed the input's.

        >>> stack, X = Stack((RBM(6, 4, weight_var=1.0), RBM(4, 4, weight_var=1.0))), torch.rand(1, 6)
        >>> whole = torch.linalg.svdvals(torch.linalg.multi_dot(stack.factors(X[0])[::-1])).log().mean()
        >>> torch.allclose(stack.mean_log_singular_values(X)[0], whole)
        True
        """
        shapes = [tuple(m.weights.shape) for m in self.machines]
        if self.pool > 1 or self.skip or len({s[1] for s in shapes}) > 1 or shapes[0][0] < shapes[0][1]:
            wanted = "a plain one of one width, at most that of the input, is allowed"
            raise ValueError(f"stack with layers {shapes}: {wanted}")
        X = tensor("X", X)
        total = torch.zeros(len(X), dtype=torch.float64, device=X.device)
        states = self.states(X.double())
        for number, machine in enumerate(self.machines):
            log_slope = self._slopes(number, states[number]).log()
            total += log_slope.mean(1) + torch.linalg.svdvals(machine.weights.double()).log().mean()
        return total

    def reconstruction_errors(self, x: Numbers) -> Tensor:
        """Mean squared error of each machine's reconstruction of the states it is given, (layers,), for inputs
        (n, input).

        >>> Stack((RBM(6, 4, weight_var=0.0),)).reconstruction_errors(torch.ones(10, 6))
        tensor([0.2500])
        """
        below = self.states(x)[:-1]
        errors = [(m.reconstruct(self.keep * s) - s).square().mean() for m, s in zip(self.machines, below, strict=True)]
        return torch.stack(errors)

    def _slopes(self, number: int, x: Tensor) -> Tensor:
        """ρ g h (1 - h) in layer ``number``, without cancellation where h is 1 to rounding."""
        machine = self.machines[number]
        u = machine.gain * (self.keep * x @ machine.weights.to(x) + machine.hidden_bias.to(x))
        return self.keep * machine.gain * torch.sigmoid(u) * torch.sigmoid(-u)


def pretrain(widths: Sequence[int], X: Numbers, *, seed: Seed, **arguments: Any) -> list[RBM]:
    """RBMs of ``widths`` = (visible, hidden, hidden, …), trained one after the other on X (samples, visible): the means
    f(xW + c) of each are the data of the next (Hinton, Osindero and Teh 2006).

    ``arguments`` are those of :class:`deepdynamics.rbm.RBM` (units, gain, weight_var) and of its ``fit``. The maps of
    the stack are ``[rbm.hidden_probability for rbm in stack]``, as :func:`deepdynamics.jacobian.layer_jacobians` takes
    them.

    >>> X = torch.rand(200, 8, generator=torch.Generator().manual_seed(0))
    >>> stack = pretrain((8, 5, 3), X, units="continuous", epochs=1, learning_rate=0.1, seed=0)
    >>> [tuple(rbm.weights.shape) for rbm in stack]
    [(8, 5), (5, 3)]
    """
    plain: dict[str, Any] = {"dropout": 0.0, "pool": 1, "skip": False}  # a list could not say what it varies
    return list(pretrain_stack(widths, X, seed=seed, **plain, **arguments).machines)


def pretrain_stack(
    widths: Sequence[int],
    X: Numbers,
    *,
    seed: Seed,
    epochs: int,
    momentum: float | Sequence[float] = 0.0,
    dropout: float = 0.0,
    pool: int = 1,
    skip: bool = False,
    **arguments: Any,
) -> Stack:
    """As :func:`pretrain`, a :class:`Stack`, and its variants: ``widths`` = (input, hidden, …) of units, before
    pooling, trained greedily on X (samples, input).

    ``arguments`` are those of :class:`deepdynamics.rbm.RBM` (units, gain, weight_var) and of its ``fit``. With dropout
    a new mask of the inputs is drawn for each sample and epoch.

    Raises ``ValueError`` for a dropout outside [0, 1), a ``pool`` that does not divide the widths, and what a machine
    refuses.

    >>> X = np.random.default_rng(0).uniform(size=(100, 6))
    >>> pretrain_stack((6, 4, 3), X, seed=0, epochs=2, learning_rate=0.1, dropout=0.2).machines[1]
    RBM(4, 3, units='binary', gain=1.0, dtype=torch.float64, device='cpu')
    """
    X = tensor("X", X)
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout = {dropout}: a number in [0, 1) is allowed")
    if len(widths) < 2:
        raise ValueError(f"widths = {tuple(widths)}: at least a visible and a hidden width are needed")
    if pool < 1 or any(width % pool for width in widths[1:]):
        raise ValueError(f"pool = {pool}: a divisor of the hidden widths {tuple(widths[1:])} is allowed")
    draw = generator(seed)
    own = {name: arguments.pop(name) for name in ("units", "gain", "weight_var") if name in arguments}
    stack = Stack((), 1 - dropout, pool, skip)
    for _, hidden in pairwise(widths):
        machine = RBM(X.shape[1], hidden, **own, seed=draw, dtype=X.dtype, device=X.device)
        if dropout == 0:
            machine.fit(X, epochs=epochs, momentum=momentum, **arguments, seed=draw)
        else:
            momenta = [momentum] * epochs if isinstance(momentum, (int, float)) else list(momentum)
            _fit_with_dropout(machine, X, 1 - dropout, momenta, dict(arguments), draw)
        stack = Stack((*stack.machines, machine), 1 - dropout, pool, skip)
        X = stack.layer(len(stack.machines) - 1, X)
    return stack


def _fit_with_dropout(
    machine: RBM, X: Tensor, keep: float, momenta: list[float], arguments: dict[str, Any], draw: torch.Generator
) -> None:
    for momentum in momenta:
        mask = torch.rand(X.shape, generator=draw).to(X) < keep
        machine.fit(X * mask, epochs=1, momentum=momentum, **arguments, seed=draw)
        arguments["bias_from_data"] = False  # in the first epoch only


def fine_tuned_accuracy(
    stack: Stack,
    X: Numbers,
    y: Numbers,
    X_test: Numbers,
    y_test: Numbers,
    *,
    epochs: int,
    learning_rate: float,
    batch_size: int = 100,
    seen: Callable[[Tensor], Tensor] | None = None,
    seed: Seed,
) -> float:
    """Accuracy on (X_test, y_test) after all layers of a plain stack, with a softmax readout that starts at zero, are
    trained on (X, y) with Adam and the cross-entropy; the stack itself stays as it is.

    seen: what the readout sees of the top activities (n, units), a map that stays as it is; without it the activities
    themselves.
    ``ValueError`` for a stack with dropout, pooling or skip connections.

    >>> X, y = torch.eye(4).repeat(20, 1), torch.arange(4).repeat(20)
    >>> fine_tuned_accuracy(Stack((RBM(4, 8, weight_var=1.0),)), X, y, X, y, epochs=50, learning_rate=0.05, seed=0)
    1.0
    """
    like = stack.machines[0].weights
    X, X_test = tensor("X", X, like), tensor("X_test", X_test, like)
    y, y_test = labels("y", y), labels("y_test", y_test)
    if stack.pool > 1 or stack.skip or stack.keep < 1:
        raise ValueError("stack with dropout, pooling or skip connections: a plain one is allowed")
    draw, classes = generator(seed), int(y.max()) + 1
    gains = [machine.gain for machine in stack.machines]
    weights = [machine.weights.clone().requires_grad_() for machine in stack.machines]
    biases = [machine.hidden_bias.clone().requires_grad_() for machine in stack.machines]
    readout = X.new_zeros(weights[-1].shape[1], classes).requires_grad_()
    offset = X.new_zeros(classes).requires_grad_()

    def logits(x: Tensor) -> Tensor:
        for gain, W, b in zip(gains, weights, biases, strict=True):
            x = torch.sigmoid(gain * (x @ W + b))
        return (x if seen is None else seen(x)) @ readout + offset

    optimiser = torch.optim.Adam([*weights, *biases, readout, offset], lr=learning_rate, foreach=True)
    for _ in range(epochs):
        for rows in torch.randperm(len(X), generator=draw).to(X.device).split(batch_size):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(logits(X[rows]), y[rows]).backward()
            optimiser.step()
    with torch.no_grad():
        return float((logits(X_test).argmax(1) == y_test).double().mean())
