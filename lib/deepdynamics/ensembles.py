"""Many networks trained as one program: over seeds, variances, learning rates.
 Networks of one shape are stacked, weights as (runs, in, out), and one batched matrix product serves all of them. The
gradient of the cross-entropy is written by hand: with δ the gradient at the pre-activations of a layer and x its input,
one call W ← W - η xᵀδ is gradient and update together (η multiplies δ at the top, and the backward pass is linear in
δ), so that no gradient is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepdynamics import activations
from deepdynamics.networks import MLP, Seed, generator

OPTIMISERS = ("sgd", "momentum", "adam")


@dataclass(frozen=True)
class History:
    """Training of an ensemble: ``loss`` and ``accuracy`` (steps, runs) on each step's mini-batch, before its update;
    ``diverged`` (runs,).

    Once a run's loss is not finite it is recorded as inf, and its accuracy as 0, to the end. Beyond the last step of a
    run that has fewer: NaN.
    """

    loss: Tensor
    accuracy: Tensor
    diverged: Tensor

    def __iter__(self) -> Iterator[Tensor]:
        return iter((self.loss, self.accuracy, self.diverged))


class MLPEnsemble:
    """``runs`` multilayer perceptrons trained together; every argument is one value or one a run (a list or array of
    length ``runs``).

    Run r is ``MLP(widths, activation, weight_var=..., bias_var=..., init=..., seed=seeds[r])``, standard
    parametrisation, linear readout. One integer (or generator) as ``seed`` gives every run its own independent seed; a
    list gives each its own, so that equal seeds mean equal draws at another variance. ``.seeds`` holds them. Runs of
    different shape or activation are trained one group after the other.

    Raises ``ValueError`` for an argument of the wrong length, different input or output widths, and as
    :class:`~deepdynamics.networks.MLP` does.

    >>> X, y = torch.randn(200, 5, generator=torch.Generator().manual_seed(0)), torch.arange(200) % 2
    >>> ensemble = MLPEnsemble(3, (5, 20, 2), "tanh", weight_var=[1.0, 2.0, 4.0], seed=1)
    >>> ensemble.fit(X, y, learning_rate=0.1, steps=10, batch=50).loss.shape, ensemble.evaluate(X, y).shape
    (torch.Size([10, 3]), torch.Size([3]))
    """

    def __init__(
        self,
        runs: int,
        widths: Sequence[int] | Sequence[Sequence[int]],
        activation: str | Sequence[str],
        *,
        weight_var: float | Sequence[float] = 1.0,
        bias_var: float | Sequence[float] = 0.0,
        init: str | Sequence[str] = "gaussian",
        seed: Seed | Sequence[int] = 0,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ):
        if isinstance(runs, bool) or not isinstance(runs, (int, np.integer)) or runs < 1:
            raise ValueError(f"runs = {runs!r}: a positive integer is allowed")
        self.runs = int(runs)
        shapes = [tuple(w) for w in widths] if isinstance(widths[0], Sequence) else [tuple(widths)] * self.runs  # type: ignore[arg-type]
        self.widths = _per_run("widths", shapes, self.runs)
        self.activations = _per_run("activation", activation, self.runs)
        self.weight_var, self.bias_var = (
            _per_run("weight_var", weight_var, self.runs),
            _per_run("bias_var", bias_var, self.runs),
        )
        self.init = _per_run("init", init, self.runs)
        if isinstance(seed, (int, np.integer, np.random.Generator, torch.Generator)):
            seed = torch.randint(2**62, (self.runs,), generator=generator(seed)).tolist()
        self.seeds = _per_run("seed", seed, self.runs)
        if len({(w[0], w[-1]) for w in self.widths if w}) != 1:
            raise ValueError(f"widths = {widths}: all runs need the same input and output width")
        self._stacks = []
        for key in dict.fromkeys(zip(self.widths, self.activations, strict=True)):
            members = [r for r in range(self.runs) if (self.widths[r], self.activations[r]) == key]
            self._stacks.append(_Stack.of([self._draw(r, dtype) for r in members], members, key[1], device))

    def _draw(self, run: int, dtype: torch.dtype | None) -> MLP:
        variances = {"weight_var": self.weight_var[run], "bias_var": self.bias_var[run]}
        return MLP(
            self.widths[run], self.activations[run], **variances, init=self.init[run], seed=self.seeds[run], dtype=dtype
        )

    def network(self, run: int) -> MLP:
        """Run ``run`` as it now stands, as a module with ``.layers`` (a copy)."""
        if not 0 <= run < self.runs:
            raise ValueError(f"run = {run}: 0 to {self.runs - 1} are allowed")
        stack = next(s for s in self._stacks if run in s.members)
        place = stack.members.index(run)
        net = self._draw(run, stack.weights[0].dtype).to(stack.weights[0].device)
        with torch.no_grad():
            for layer, weight, bias in zip(net.layers, stack.weights, stack.biases, strict=True):
                layer.weight.copy_(weight[place].T)  # type: ignore[operator, union-attr]
                layer.bias.copy_(bias[place, 0])  # type: ignore[operator, union-attr]
        return net

    def fit(
        self,
        X: Tensor,
        y: Tensor,
        *,
        learning_rate: float | Sequence[float],
        steps: int | Sequence[int],
        batch: int | Sequence[int] = 128,
        optimiser: str | Sequence[str] = "sgd",
        seed: int | Sequence[int] = 0,
    ) -> History:
        """Minimise the mean softmax cross-entropy on ``X`` (n, in), ``y`` (n,) integers below the number of classes;
        may be called again to go on.

        All runs with the same ``batch`` and ``seed`` see the same mini-batches: the data are shuffled, cut into batches
        (a remainder is left out), and shuffled again when they are used up. ``optimiser``: "sgd"; "momentum" (0.9, as
        torch.optim.SGD has it); "adam" (0.9, 0.999, 1e-8). A run that diverges does not disturb the others and costs no
        warning. An optimiser's memory does not outlive the call.

        Raises ``ValueError`` where X and y do not fit the networks, and for steps < 0, a batch outside 1..n, a negative
        learning rate or an unknown optimiser.
        """
        self._check(X, y)
        rates, counts, sizes, kinds, seeds = (
            _per_run(name, value, self.runs)
            for name, value in (
                ("learning_rate", learning_rate),
                ("steps", steps),
                ("batch", batch),
                ("optimiser", optimiser),
                ("seed", seed),
            )
        )
        _check_training(rates, counts, sizes, kinds, len(X))
        loss = torch.full((max(counts), self.runs), torch.nan, dtype=X.dtype)
        accuracy = loss.clone()
        for stack in self._stacks:
            for key in dict.fromkeys((counts[r], sizes[r], kinds[r], seeds[r]) for r in stack.members):
                places = [i for i, r in enumerate(stack.members) if (counts[r], sizes[r], kinds[r], seeds[r]) == key]
                members = [stack.members[i] for i in places]
                part = stack.part(places)
                eta = torch.tensor([rates[r] for r in members], dtype=X.dtype, device=X.device)
                steps_of_part, size, kind, batch_seed = key
                batches = _mini_batches(len(X), size, steps_of_part, batch_seed).to(X.device)
                loss[:steps_of_part, members], accuracy[:steps_of_part, members] = _train(
                    part, X, y, eta, batches, kind
                )
                stack.put_back(places, part)
        return History(loss, accuracy, torch.isinf(loss).any(0))

    def outputs(self, X: Tensor) -> Tensor:
        """Logits (runs, n, classes) of the inputs (n, in)."""
        self._check(X)
        result = torch.empty(self.runs, len(X), self.widths[0][-1], dtype=X.dtype, device=X.device)
        for stack in self._stacks:
            result[stack.members] = _forward(stack, X, [None] * len(stack.weights))[-1]
        return result

    def evaluate(self, X: Tensor, y: Tensor) -> Tensor:
        """Share of right answers (runs,) on the inputs (n, in) with labels (n,). Logits that are not finite are never
        right."""
        self._check(X, y)
        # Pieces, so that the activations of all runs at 10,000 inputs never lie in memory together.
        return sum(_right(self.outputs(a), b).sum(-1) for a, b in zip(X.split(1000), y.split(1000), strict=True)) / len(
            X
        )  # type: ignore[return-value]

    def _check(self, X: Tensor, y: Tensor | None = None) -> None:
        dtype = self._stacks[0].weights[0].dtype
        if X.ndim != 2 or X.shape[1] != self.widths[0][0] or X.dtype != dtype or not torch.isfinite(X).all():
            wanted = f"finite inputs (n, {self.widths[0][0]}) of type {dtype}"
            raise ValueError(f"X of shape {tuple(X.shape)} and type {X.dtype}: {wanted} are allowed")
        if y is None:
            return
        classes = self.widths[0][-1]
        if (
            y.shape != X.shape[:1]
            or y.dtype not in (torch.int64, torch.int32)
            or len(y) == 0
            or y.min() < 0
            or y.max() >= classes
        ):
            raise ValueError(
                f"y of shape {tuple(y.shape)} and type {y.dtype}: integers (n,) from 0 to {classes - 1} are allowed"
            )


@dataclass
class _Stack:
    """Networks of one shape: ``weights[l]`` (runs, in, out), ``biases[l]`` (runs, 1, out); ``members``: their places in
    the ensemble."""

    weights: list[Tensor]
    biases: list[Tensor]
    activation: str
    members: list[int]

    @classmethod
    def of(cls, nets: list[MLP], members: list[int], activation: str, device: Any) -> _Stack:
        layers = list(zip(*(net.layers for net in nets), strict=True))
        with torch.no_grad():
            weights = [torch.stack([layer.weight.T for layer in same]).to(device) for same in layers]
            biases = [torch.stack([layer.bias[None] for layer in same]).to(device) for same in layers]
        return cls(weights, biases, activation, members)

    def part(self, places: list[int]) -> _Stack:
        """The networks at ``places``: itself where that is all of them, else a copy."""
        if len(places) == len(self.members):
            return self
        return _Stack([w[places] for w in self.weights], [b[places] for b in self.biases], self.activation, places)

    def put_back(self, places: list[int], part: _Stack) -> None:
        if part is not self:
            for own, new in zip((*self.weights, *self.biases), (*part.weights, *part.biases), strict=True):
                own[places] = new


def _tanh_(h: Tensor) -> Tensor:
    # numpy's vectorised tanh takes a seventh of the time of torch's (float32, AVX-512), where it can write into the
    # same memory.
    if h.device.type == "cpu" and h.is_contiguous():
        np.tanh(h.numpy(), out=h.numpy())
        return h
    return h.tanh_()


# Activations that can be overwritten: x = φ(h) in place of h, and φ'(h), computed from x, in place of x.
_IN_PLACE: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "tanh": (_tanh_, lambda x: x.square_().neg_().add_(1)),
    "relu": (lambda h: h.clamp_(min=0), lambda x: x.sign_()),
    "sigmoid": (lambda h: h.sigmoid_(), lambda x: x.addcmul_(x, x, value=-1)),
}


def _forward(
    stack: _Stack, X: Tensor, buffers: Sequence[Tensor | None], kept: list[Tensor] | None = None
) -> list[Tensor]:
    """Outputs of all layers, (runs, n, width) each, the input first and the logits last; ``kept`` gets the
    pre-activations that the slope will need."""
    runs = len(stack.weights[0])
    xs = [X.expand(runs, *X.shape)]
    phi = activations.get(stack.activation)
    overwrite = _IN_PLACE.get(stack.activation)
    last = len(stack.weights) - 1
    for depth, (weight, bias) in enumerate(zip(stack.weights, stack.biases, strict=True)):
        h = torch.baddbmm(bias, xs[-1], weight, out=buffers[depth])
        if depth < last and overwrite:
            h = overwrite[0](h)
        elif depth < last:
            if kept is not None:
                kept.append(h)
            h = phi(h)
        xs.append(h)
    return xs


def _train(stack: _Stack, X: Tensor, y: Tensor, eta: Tensor, batches: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """Loss and accuracy (steps, runs) of training in place, with the learning rates ``eta`` (runs,) on ``batches``
    (steps, batch) of indices."""
    runs, size = len(eta), batches.shape[1]
    buffers = [torch.empty(runs, size, w.shape[2], dtype=X.dtype, device=X.device) for w in stack.weights]
    deltas = [torch.empty_like(b) for b in buffers]
    update = _Update(stack, eta, kind)
    overwrite, phi = _IN_PLACE.get(stack.activation), activations.get(stack.activation)
    ones = torch.ones(1, 1, size, dtype=X.dtype, device=X.device).expand(runs, 1, size)
    loss = torch.empty(len(batches), runs, dtype=X.dtype)
    accuracy = torch.empty_like(loss)
    failed = torch.zeros(runs, dtype=torch.bool, device=X.device)
    for step, batch in enumerate(batches):
        kept: list[Tensor] = []
        labels = y[batch]
        xs = _forward(stack, X[batch], buffers, kept)
        losses, delta = _cross_entropy(xs[-1], labels, deltas[-1])
        failed |= ~torch.isfinite(losses)
        loss[step] = losses.masked_fill(failed, torch.inf)
        accuracy[step] = _right(xs[-1], labels).to(X.dtype).mean(-1).masked_fill(failed, 0)
        update.start(step, delta)
        for depth in reversed(range(len(stack.weights))):
            x, weight = xs[depth], stack.weights[depth]
            # The gradient below needs the weights as they were, the update of the weights needs x before it is
            # overwritten by the slope.
            below = torch.bmm(delta, weight.transpose(1, 2), out=deltas[depth - 1]) if depth else delta
            update(weight, x.transpose(1, 2), delta)
            update(stack.biases[depth], ones, delta)
            if depth:
                delta = below.mul_(overwrite[1](x) if overwrite else phi.slope(kept[depth - 1]))
    return loss, accuracy


def _cross_entropy(logits: Tensor, labels: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy (runs,) of logits (runs, n, classes), and its gradient, written to ``out``."""
    rows = torch.arange(len(labels), device=labels.device)
    log_p = torch.log_softmax(logits, -1)
    delta = torch.exp(log_p, out=out)
    delta[:, rows, labels] -= 1
    return -log_p[:, rows, labels].mean(-1), delta.div_(len(labels))


class _Update:
    """parameter ← parameter - η · (left @ δ), by one of the optimisers; its memory is a tensor or two per parameter."""

    def __init__(self, stack: _Stack, eta: Tensor, kind: str):
        self.kind, self.eta = kind, eta[:, None, None]
        count = {"sgd": 0, "momentum": 1, "adam": 2}[kind]
        self.memory = {id(p): [torch.zeros_like(p) for _ in range(count)] for p in (*stack.weights, *stack.biases)}

    def start(self, step: int, delta: Tensor) -> None:
        self.step = step + 1
        if self.kind != "adam":
            delta.mul_(self.eta)

    def __call__(self, parameter: Tensor, left: Tensor, delta: Tensor) -> None:
        memory = self.memory[id(parameter)]
        if self.kind == "sgd":
            parameter.baddbmm_(left, delta, alpha=-1)
        elif self.kind == "momentum":
            parameter.sub_(memory[0].baddbmm_(left, delta, beta=0.9))
        else:
            gradient = torch.bmm(left, delta)
            first = memory[0].lerp_(gradient, 0.1)
            second = memory[1].mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            scale = torch.sqrt(second, out=gradient).div_((1 - 0.999**self.step) ** 0.5).add_(1e-8)
            parameter.sub_((first / scale).mul_(self.eta / (1 - 0.9**self.step)))


def _right(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether the largest logit is that of the label, (runs, n); never where logits are not finite."""
    return (logits.argmax(-1) == labels) & torch.isfinite(logits.sum(-1))


def _mini_batches(n: int, size: int, steps: int, seed: int) -> Tensor:
    """Indices (steps, size): shuffled epochs, remainders left out."""
    draw, per_epoch = generator(seed), n // size
    epochs = [
        torch.randperm(n, generator=draw)[: per_epoch * size].view(per_epoch, size)
        for _ in range(-(-steps // per_epoch))
    ]
    return torch.cat(epochs)[:steps] if epochs else torch.empty(0, size, dtype=torch.int64)


def _per_run(name: str, value: Any, runs: int) -> list[Any]:
    """One value, repeated, or a sequence of one value a run."""
    if isinstance(value, (Tensor, np.ndarray)):
        value = value.tolist()
    if isinstance(value, str) or not isinstance(value, Sequence):
        return [value] * runs
    if len(value) != runs:
        raise ValueError(f"{name} has {len(value)} values: one value, or one for each of the {runs} runs, is allowed")
    return list(value)


def _check_training(rates: list[float], counts: list[int], sizes: list[int], kinds: list[str], samples: int) -> None:
    for rate in rates:
        if not 0 <= rate < float("inf"):
            raise ValueError(f"learning_rate = {rate}: finite numbers, not negative, are allowed")
    for count in counts:
        if int(count) != count or count < 0:
            raise ValueError(f"steps = {count}: integers, not negative, are allowed")
    for size in sizes:
        if int(size) != size or not 1 <= size <= samples:
            raise ValueError(f"batch = {size}: 1 to {samples}, the number of samples, is allowed")
    for kind in kinds:
        if kind not in OPTIMISERS:
            raise ValueError(f"optimiser = {kind!r}: one of {', '.join(OPTIMISERS)} is allowed")
