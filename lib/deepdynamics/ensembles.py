"""Many networks trained as one program: over seeds, variances, learning rates.

Networks of one shape are stacked, weights as (runs, out, in), and states as (runs, width, samples), so that samples lie
side by side in memory: one batched matrix product serves all networks, in the first layer a single product, and every
elementwise operation runs along the samples. The gradient of the cross-entropy is written by hand: with δ the gradient
at the pre-activations of a layer and x its input, one call W ← W - η δxᵀ is gradient and update together (η multiplies
δ at the top, and the backward pass is linear in δ), so that no gradient is stored.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from deepdynamics import activations
from deepdynamics._checks import count, not_negative, one_of
from deepdynamics.activations import ActivationLike
from deepdynamics.networks import MLP, Seed, generator
from deepdynamics.networks.draws import layer_parameters

OPTIMISERS = ("sgd", "momentum", "adam")
_ONE_THREAD = (
    2**23
)  # multiplications in a layer's product below which threads wait for each other longer than they work
_GATHERED = 2**17  # numbers that are gathered in the time that one more group of runs costs


@dataclass(frozen=True)
class History:
    """Training of an ensemble: ``loss`` and ``accuracy`` (steps, runs) on each step's mini-batch, before its update;
    ``diverged`` (runs,).

    Once a run's loss is not finite it is recorded as inf, and its accuracy as 0, to the end. Beyond the last step of a
    run that has fewer: NaN.

    >>> loss, accuracy, diverged = History(torch.ones(5, 2), torch.zeros(5, 2), torch.tensor([False, False]))
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
        activation: ActivationLike | Sequence[ActivationLike],
        *,
        weight_var: float | Sequence[float] = 1.0,
        bias_var: float | Sequence[float] = 0.0,
        init: str | Sequence[str] = "gaussian",
        seed: Seed | Sequence[int] = 0,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ):
        self.runs = count("runs", runs)
        shapes = [tuple(w) for w in widths] if np.ndim(widths[0]) else [tuple(widths)] * self.runs  # type: ignore[arg-type]
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
        settings = zip(self.activations, self.weight_var, self.bias_var, self.init, strict=True)
        for phi, weights, biases, kind in dict.fromkeys(settings):  # what a single network would refuse
            MLP((1, 1), phi, weight_var=weights, bias_var=biases, init=kind, seed=0)
        self._stacks = []
        for shape, phi in dict.fromkeys(zip(self.widths, self.activations, strict=True)):
            MLP(shape, phi, seed=0)
            members = [r for r in range(self.runs) if (self.widths[r], self.activations[r]) == (shape, phi)]
            self._stacks.append(_Stack.of([self._parameters(r, dtype) for r in members], members, phi, device))

    def _parameters(self, run: int, dtype: torch.dtype | None) -> list[tuple[Tensor, Tensor]]:
        """Weights and biases of a run as `MLP` draws them, without its modules (which take longer than the draws)."""
        kind, variances, draw = self.init[run], (self.weight_var[run], self.bias_var[run]), generator(self.seeds[run])
        shapes = ((n_out, n_in) for n_in, n_out in pairwise(self.widths[run]))
        return [layer_parameters(shape, kind, "standard", *variances, seed=draw, dtype=dtype)[:2] for shape in shapes]

    def network(self, run: int) -> MLP:
        """Run ``run`` as it now stands, as a module with ``.layers`` (a copy).

        >>> MLPEnsemble(3, (2, 8, 4), "tanh").network(1).widths
        (2, 8, 4)
        """
        run = count("run", run, least=0, most=self.runs - 1)
        stack = next(s for s in self._stacks if run in s.members)
        place = stack.members.index(run)
        like = stack.weights[0]
        net = MLP(self.widths[run], self.activations[run], seed=0, dtype=like.dtype).to(like.device)
        with torch.no_grad():
            for layer, weight, bias in zip(net.layers, stack.weights, stack.biases, strict=True):
                layer.weight.copy_(weight[place])  # type: ignore[operator, union-attr]
                layer.bias.copy_(bias[place, :, 0])  # type: ignore[operator, union-attr]
        return net

    @torch.no_grad()
    def fit(
        self,
        X: Tensor | ArrayLike,
        y: Tensor | ArrayLike,
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
        warning. An optimiser's memory does not outlive the call. Runs that differ in steps, batch or optimiser are
        trained one group after the other; small ones on one thread, where several would wait for each other.

        Raises ``ValueError`` where X and y do not fit the networks, and for steps < 0, a batch outside 1..n, a negative
        learning rate or an unknown optimiser.

        >>> rates = [0.0, 0.1, 1.0]
        >>> X, y = [[-1.0], [-0.5], [0.5], [1.0]], [0, 0, 1, 1]
        >>> history = MLPEnsemble(3, (1, 8, 2), "tanh").fit(X, y, learning_rate=rates, steps=50, batch=4)
        >>> (history.loss[-1] < 0.5 * history.loss[0]).tolist(), history.diverged.any().item()
        ([False, True, True], False)
        """
        X, y = self._checked(X, y)
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
            for places in _groups([(counts[r], sizes[r], kinds[r], seeds[r]) for r in stack.members], X.shape[1]):
                members = [stack.members[i] for i in places]
                count, size, kind = counts[members[0]], sizes[members[0]], kinds[members[0]]
                if count == 0:
                    continue
                eta = torch.tensor([rates[r] for r in members], dtype=X.dtype, device=X.device)
                orders = [seeds[r] for r in members]
                batches = _mini_batches(len(X), size, count, *orders)
                with _threads(len(members) * size * max(weight[0].numel() for weight in stack.weights)):
                    part = stack.part(places, same_inputs=len(set(orders)) == 1)
                    losses, right = map(torch.stack, zip(*_train(part, X, y, eta, batches, size, kind), strict=True))
                    stack.put_back(places, part)
                failed = (~torch.isfinite(losses)).cumsum(0) > 0
                loss[:count, members] = losses.masked_fill(failed, torch.inf).cpu()
                accuracy[:count, members] = right.masked_fill(failed, 0).cpu()
        return History(loss, accuracy, torch.isinf(loss).any(0))

    @torch.no_grad()
    def outputs(self, X: Tensor | ArrayLike) -> Tensor:
        """Logits (runs, n, classes) of the inputs (n, in).

        >>> MLPEnsemble(3, (2, 8, 4), "tanh").outputs([[0.5, 1.0]]).shape
        torch.Size([3, 1, 4])
        """
        X, _ = self._checked(X)
        result = torch.empty(self.runs, len(X), self.widths[0][-1], dtype=X.dtype, device=X.device)
        for stack in self._stacks:
            result[stack.members] = _forward(stack, X.T, [None] * len(stack.weights))[-1].transpose(1, 2)
        return result

    def evaluate(self, X: Tensor | ArrayLike, y: Tensor | ArrayLike) -> Tensor:
        """Share of right answers (runs,) on the inputs (n, in) with labels (n,). Logits that are not finite are never
        right.

        >>> MLPEnsemble(3, (2, 8, 4), "tanh", weight_var=0.0).evaluate([[0.5, 1.0], [1.0, 0.5]], [0, 1])
        tensor([0.5000, 0.5000, 0.5000])
        """
        X, y = self._checked(X, y)
        right = torch.zeros(self.runs, device=X.device)
        # Pieces, so that the activations of all runs at 10,000 inputs never lie in memory together.
        for inputs, labels in zip(X.split(1000), y.split(1000), strict=True):
            logits = self.outputs(inputs)
            right += ((logits.argmax(-1) == labels) & torch.isfinite(logits.sum(-1))).sum(-1)
        return right / len(X)

    def _checked(self, X: Tensor | ArrayLike, y: Tensor | ArrayLike | None = None) -> tuple[Tensor, Tensor]:
        """Inputs and labels as tensors: arrays and lists become what the networks take, tensors have to be it."""
        like = self._stacks[0].weights[0]
        X = X if isinstance(X, Tensor) else torch.as_tensor(np.asarray(X), dtype=like.dtype, device=like.device)
        if X.ndim != 2 or X.shape[1] != self.widths[0][0] or X.dtype != like.dtype or not torch.isfinite(X).all():
            wanted = f"finite inputs (n, {self.widths[0][0]}) of type {like.dtype}"
            raise ValueError(f"X of shape {tuple(X.shape)} and type {X.dtype}: {wanted} are allowed")
        if y is None:
            return X, torch.empty(0)
        if not isinstance(y, Tensor):
            array = np.asarray(y)
            y = torch.as_tensor(array.astype(np.int64) if array.dtype.kind in "iu" else array, device=like.device)
        classes, integers = self.widths[0][-1], (torch.int64, torch.int32)
        if y.shape != X.shape[:1] or y.dtype not in integers or len(y) == 0 or y.min() < 0 or y.max() >= classes:
            wanted = f"integers (n,) from 0 to {classes - 1}"
            raise ValueError(f"y of shape {tuple(y.shape)} and type {y.dtype}: {wanted} are allowed")
        return X, y.long()


@dataclass
class _Stack:
    """Networks of one shape: ``weights[l]`` (runs, out, in), ``biases[l]`` (runs, out, 1); ``members``: their places in
    the ensemble."""

    weights: list[Tensor]
    biases: list[Tensor]
    activation: ActivationLike
    members: list[int]
    phi: activations.Activation

    @classmethod
    def of(
        cls, nets: list[list[tuple[Tensor, Tensor]]], members: list[int], activation: ActivationLike, device: Any
    ) -> _Stack:
        layers = [tuple(zip(*same, strict=True)) for same in zip(*nets, strict=True)]
        weights = [torch.stack(weights).to(device) for weights, _ in layers]
        biases = [torch.stack(biases)[:, :, None].to(device) for _, biases in layers]
        return cls(weights, biases, activation, members, activations.get(activation))

    @property
    def in_place(self) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]] | None:
        """The activation and the product with its slope in the memory of their input, where there are some."""
        return _IN_PLACE.get(self.activation) if isinstance(self.activation, str) else None

    def part(self, places: list[int], *, same_inputs: bool) -> _Stack:
        """A copy of the networks at ``places``. Where all see the same inputs, the first layer's weights lie in memory
        as (in, runs, out): so one product for all runs updates them fastest."""
        weights, biases = [w[places] for w in self.weights], [b[places] for b in self.biases]
        if same_inputs:
            weights[0] = weights[0].permute(2, 0, 1).contiguous().permute(1, 2, 0)
        return _Stack(weights, biases, self.activation, places, self.phi)

    def put_back(self, places: list[int], part: _Stack) -> None:
        for own, new in zip((*self.weights, *self.biases), (*part.weights, *part.biases), strict=True):
            own[places] = new


def _groups(keys: list[tuple[int, int, str, int]], inputs: int) -> list[list[int]]:
    """Places of the runs that are trained together, from (steps, batch, optimiser, seed) of each: those that differ in
    nothing but the seed, unless gathering a batch for each of them costs more than going through the seeds."""
    groups = []
    for key in dict.fromkeys(key[:3] for key in keys):
        places = [i for i, other in enumerate(keys) if other[:3] == key]
        seeds = dict.fromkeys(keys[i][3] for i in places)
        together = len(places) * key[1] * inputs <= _GATHERED * len(seeds)
        groups += [places] if together else [[i for i in places if keys[i][3] == seed] for seed in seeds]
    return groups


@contextlib.contextmanager
def _threads(work: int) -> Iterator[None]:
    """One thread for the block where its products are small; after it as many as before."""
    before = torch.get_num_threads()
    if work < _ONE_THREAD:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _tanh_(h: Tensor) -> Tensor:
    # numpy's vectorised tanh takes a seventh of the time of torch's (float32, AVX-512), where it can write into the
    # same memory.
    if h.device.type == "cpu" and h.is_contiguous():
        np.tanh(h.numpy(), out=h.numpy())
        return h
    return h.tanh_()


# Activations that can be overwritten: x = φ(h) in place of h, and φ'(h) δ in place of δ, computed from x; x is lost.
_IN_PLACE: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "tanh": (_tanh_, lambda x, delta: delta.addcmul_(x.mul_(x), delta, value=-1)),
    "relu": (lambda h: h.clamp_(min=0), lambda x, delta: delta.mul_(x.sign_())),
    "sigmoid": (lambda h: h.sigmoid_(), lambda x, delta: delta.mul_(x.addcmul_(x, x, value=-1))),
}


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


def _forward(
    stack: _Stack, X: Tensor, buffers: Sequence[Tensor | None], kept: list[Tensor] | None = None
) -> list[Tensor]:
    """The input, (in, n) or (runs, in, n), and the outputs of all layers, (runs, width, n) each, the logits last;
    ``kept`` gets the pre-activations that the slope will need."""
    xs = [X]
    overwrite = stack.in_place
    last = len(stack.weights) - 1
    for depth, (weight, bias) in enumerate(zip(stack.weights, stack.biases, strict=True)):
        h = _affine(weight, bias, xs[-1], buffers[depth])
        if depth < last and overwrite:
            h = overwrite[0](h)
        elif depth < last:
            if kept is not None:
                kept.append(h)
            h = stack.phi(h)
        xs.append(h)
    return xs


def _train(
    stack: _Stack, X: Tensor, y: Tensor, eta: Tensor, batches: Iterable[Tensor], size: int, kind: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Train in place, with the learning rates ``eta`` (runs,) on ``batches`` of indices, (size,) or (runs, size); loss
    and accuracy (runs,) of each step, before its update."""
    buffers = [X.new_empty(len(eta), w.shape[1], size) for w in stack.weights]
    deltas = [torch.empty_like(b) for b in buffers]
    ones = X.new_ones(1, size)  # what a bias is multiplied by
    update = _Update(stack, eta, size, kind)
    overwrite, phi = stack.in_place, stack.phi
    for step, batch in enumerate(batches):
        batch = batch.to(X.device)
        kept: list[Tensor] = []
        labels = y[batch]
        xs = _forward(stack, X[batch].transpose(-1, -2), buffers, kept)
        loss, delta = _cross_entropy(xs[-1], labels, deltas[-1])
        yield loss, (xs[-1].max(1).indices == labels).to(X.dtype).mean(-1)
        update.start(step, delta)
        for depth in reversed(range(len(stack.weights))):
            x, weight = xs[depth], stack.weights[depth]
            # The gradient below needs the weights as they were, the update of the weights needs x before it is
            # overwritten by the slope.
            below = torch.bmm(weight.transpose(1, 2), delta, out=deltas[depth - 1]) if depth else delta
            update(weight, delta, x)
            update(stack.biases[depth], delta, ones)
            if depth:
                delta = overwrite[1](x, below) if overwrite else below.mul_(phi.slope(kept[depth - 1]))


def _cross_entropy(logits: Tensor, labels: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy (runs,) of logits (runs, classes, n) at labels (n,) or (runs, n), and n times its gradient,
    written to ``out``."""
    places = labels.expand(len(logits), -1)[:, None]
    log_p = torch.log_softmax(logits, 1)
    chosen = log_p.gather(1, places)
    return -chosen.mean((1, 2)), torch.exp(log_p, out=out).scatter_(1, places, chosen.expm1())


class _Update:
    """parameter ← parameter - η · δxᵀ/n, by one of the optimisers; its memory is a tensor or two per parameter."""

    def __init__(self, stack: _Stack, eta: Tensor, size: int, kind: str):
        self.kind, self.eta = kind, eta[:, None, None]
        self.scale = torch.full_like(self.eta, 1 / size) if kind == "adam" else self.eta / size
        count = {"sgd": 0, "momentum": 1, "adam": 2}[kind]
        self.memory = {id(p): [torch.zeros_like(p) for _ in range(count)] for p in (*stack.weights, *stack.biases)}

    def start(self, step: int, delta: Tensor) -> None:
        self.step = step + 1
        delta.mul_(self.scale)

    def __call__(self, parameter: Tensor, delta: Tensor, x: Tensor) -> None:
        memory = self.memory[id(parameter)]
        if self.kind == "sgd":
            _add_outer_(parameter, delta, x, alpha=-1)
        elif self.kind == "momentum":
            parameter.sub_(_add_outer_(memory[0], delta, x, beta=0.9))
        else:
            gradient = _add_outer_(torch.empty_like(parameter), delta, x, beta=0)
            first = memory[0].lerp_(gradient, 0.1)
            second = memory[1].mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            scale = torch.sqrt(second, out=gradient).div_((1 - 0.999**self.step) ** 0.5).add_(1e-8)
            parameter.sub_((first / scale).mul_(self.eta / (1 - 0.9**self.step)))


def _mini_batches(n: int, size: int, steps: int, *seeds: int) -> Iterator[Tensor]:
    """Indices of each step, (size,) where all seeds are the same and (seeds, size) otherwise: shuffled epochs,
    remainders left out."""
    distinct = list(dict.fromkeys(seeds))
    rows, draws = [distinct.index(seed) for seed in seeds], [generator(seed) for seed in distinct]
    per_epoch = n // size
    for step in range(steps):
        if step % per_epoch == 0:
            orders = torch.stack([torch.randperm(n, generator=draw) for draw in draws])
        batch = orders[:, step % per_epoch * size :][:, :size]
        yield batch[0] if len(distinct) == 1 else batch[rows]


def _per_run(name: str, value: Any, runs: int) -> list[Any]:
    """One value, repeated, or a sequence of one value a run."""
    if isinstance(value, (Tensor, np.ndarray)):
        value = value.tolist()
    if isinstance(value, str) or not isinstance(value, Sequence):
        return [value] * runs
    if len(value) != runs:
        raise ValueError(f"{name} has {len(value)} values: one value, or one for each of the {runs} runs, is allowed")
    return list(value)


def _check_training(rates: list[float], steps: list[int], batches: list[int], kinds: list[str], samples: int) -> None:
    not_negative("learning_rate", rates)
    for each in steps:
        count("steps", each, least=0)
    for each in batches:
        count("batch", each, most=samples)
    for kind in kinds:
        one_of("optimiser", kind, OPTIMISERS)
