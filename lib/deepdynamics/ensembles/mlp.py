"""Many perceptrons trained as one program: over seeds, variances, learning rates.

Networks of one shape are stacked and trained by :mod:`deepdynamics.ensembles.training`; those of different shape, and
runs that cannot share their mini-batches, one group after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from deepdynamics._batched import mini_batches, per_run, run_seeds, threads
from deepdynamics._checks import count, not_negative, one_of
from deepdynamics.activations import ActivationLike
from deepdynamics.ensembles.training import LOSSES, OPTIMISERS, StackedMLPs, train
from deepdynamics.networks import MLP, Seed, generator
from deepdynamics.networks.draws import layer_parameters

__all__ = ["History", "MLPEnsemble"]

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
        self.widths = per_run("widths", shapes, self.runs)
        self.activations = per_run("activation", activation, self.runs)
        self.weight_var = per_run("weight_var", weight_var, self.runs)
        self.bias_var = per_run("bias_var", bias_var, self.runs)
        self.init = per_run("init", init, self.runs)
        self.seeds = run_seeds(seed, self.runs)
        if len({(w[0], w[-1]) for w in self.widths if w}) != 1:
            raise ValueError(f"widths = {widths}: all runs need the same input and output width")
        settings = zip(self.activations, self.weight_var, self.bias_var, self.init, strict=True)
        for phi, weights, biases, kind in dict.fromkeys(settings):  # what a single network would refuse
            MLP((1, 1), phi, weight_var=weights, bias_var=biases, init=kind, seed=0)
        self._stacks = []
        for shape, phi in dict.fromkeys(zip(self.widths, self.activations, strict=True)):
            MLP(shape, phi, seed=0)
            members = [r for r in range(self.runs) if (self.widths[r], self.activations[r]) == (shape, phi)]
            self._stacks.append(StackedMLPs.of([self._parameters(r, dtype) for r in members], members, phi, device))

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
        loss: str = "cross_entropy",
        fixed_biases: bool = False,
        seed: int | Sequence[int] = 0,
    ) -> History:
        """Minimise the mean softmax cross-entropy on ``X`` (n, in), ``y`` (n,) integers below the number of classes;
        may be called again to go on. ``loss="squared"`` is the mean of ½‖f − e_y‖², with e_y the unit vector of the
        label and the sum over the outputs. ``fixed_biases`` leaves the biases as they were drawn.

        All runs with the same ``batch`` and ``seed`` see the same mini-batches: the data are shuffled, cut into batches
        (a remainder is left out), and shuffled again when they are used up. ``optimiser``: "sgd"; "momentum" (0.9, as
        torch.optim.SGD has it); "adam" (0.9, 0.999, 1e-8). A run that diverges does not disturb the others and costs no
        warning. An optimiser's memory does not outlive the call. Runs that differ in steps, batch or optimiser are
        trained one group after the other; small ones on one thread, where several would wait for each other.

        Raises ``ValueError`` where X and y do not fit the networks, and for steps < 0, a batch outside 1..n, a negative
        learning rate, an unknown optimiser or loss.

        >>> rates = [0.0, 0.1, 1.0]
        >>> X, y = [[-1.0], [-0.5], [0.5], [1.0]], [0, 0, 1, 1]
        >>> history = MLPEnsemble(3, (1, 8, 2), "tanh").fit(X, y, learning_rate=rates, steps=50, batch=4)
        >>> (history.loss[-1] < 0.5 * history.loss[0]).tolist(), history.diverged.any().item()
        ([False, True, True], False)
        """
        X, y = self._checked(X, y)
        rates, counts, sizes, kinds, seeds = (
            per_run(name, value, self.runs)
            for name, value in (
                ("learning_rate", learning_rate),
                ("steps", steps),
                ("batch", batch),
                ("optimiser", optimiser),
                ("seed", seed),
            )
        )
        _check_training(rates, counts, sizes, kinds, len(X))
        one_of("loss", loss, LOSSES)
        recorded = torch.full((max(counts), self.runs), torch.nan, dtype=X.dtype)
        accuracy = recorded.clone()
        for stack in self._stacks:
            for places in _groups([(counts[r], sizes[r], kinds[r], seeds[r]) for r in stack.members], X.shape[1]):
                members = [stack.members[i] for i in places]
                count, size, kind = counts[members[0]], sizes[members[0]], kinds[members[0]]
                if count == 0:
                    continue
                eta = torch.tensor([rates[r] for r in members], dtype=X.dtype, device=X.device)
                orders = [seeds[r] for r in members]
                batches = mini_batches(len(X), size, count, orders)
                with threads(len(members) * size * max(weight[0].numel() for weight in stack.weights)):
                    part = stack.part(places, same_inputs=len(set(orders)) == 1)
                    steps_of = train(part, X, y, eta, batches, size, kind, loss, fixed_biases)
                    losses, right = map(torch.stack, zip(*steps_of, strict=True))
                    stack.put_back(places, part)
                failed = (~torch.isfinite(losses)).cumsum(0) > 0
                recorded[:count, members] = losses.masked_fill(failed, torch.inf).cpu()
                accuracy[:count, members] = right.masked_fill(failed, 0).cpu()
        return History(recorded, accuracy, torch.isinf(recorded).any(0))

    @torch.no_grad()
    def outputs(self, X: Tensor | ArrayLike) -> Tensor:
        """Logits (runs, n, classes) of the inputs (n, in).

        >>> MLPEnsemble(3, (2, 8, 4), "tanh").outputs([[0.5, 1.0]]).shape
        torch.Size([3, 1, 4])
        """
        X, _ = self._checked(X)
        result = torch.empty(self.runs, len(X), self.widths[0][-1], dtype=X.dtype, device=X.device)
        for stack in self._stacks:
            result[stack.members] = stack.logits(X)
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


def _check_training(rates: list[float], steps: list[int], batches: list[int], kinds: list[str], samples: int) -> None:
    not_negative("learning_rate", rates)
    for each in steps:
        count("steps", each, least=0)
    for each in batches:
        count("batch", each, most=samples)
    for kind in kinds:
        one_of("optimiser", kind, OPTIMISERS)
