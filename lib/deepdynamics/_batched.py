"""Many networks trained as one program: values for each run, mini-batches, updates, threads.

The parameters of all runs are stacked along the first axis, (runs, …), and everything here acts on all of them at once.
What a run does never depends on what is trained beside it, up to rounding.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepdynamics.networks import Seed, generator

__all__ = ["SGD", "Adam", "distinct", "mini_batches", "per_run", "run_seeds", "threads"]

_ONE_THREAD = 2**23  # multiplications in a product below which threads wait for each other longer than they work


def per_run(name: str, value: Any, runs: int) -> list[Any]:
    """One value (a name is one), repeated, or a sequence or array of one value a run.

    Raises ``ValueError`` that calls it ``name`` for a sequence of another length.

    >>> per_run("rate", 0.1, 2), per_run("rate", np.array([0.1, 0.2]), 2), per_run("kind", "sgd", 2)
    ([0.1, 0.1], [0.1, 0.2], ['sgd', 'sgd'])
    """
    if isinstance(value, (Tensor, np.ndarray)):
        value = value.tolist()
    if isinstance(value, str) or not isinstance(value, Sequence):
        return [value] * runs
    if len(value) != runs:
        raise ValueError(f"{name} has {len(value)} values: one value, or one for each of the {runs} runs, is allowed")
    return list(value)


def run_seeds(seed: Seed | Sequence[int], runs: int) -> list[int]:
    """The seed of each run's draw: independent ones from an integer or a generator, or those of a sequence as they are.

    >>> run_seeds([7, 7], 2), len(set(run_seeds(7, 100)))
    ([7, 7], 100)
    """
    if isinstance(seed, (int, np.integer, np.random.Generator, torch.Generator)):
        return torch.randint(2**62, (runs,), generator=generator(seed)).tolist()  # type: ignore[no-any-return]
    return per_run("seed", seed, runs)


def distinct(seeds: Sequence[int]) -> tuple[list[int], list[int]]:
    """The different seeds, in their order, and the place of each run's seed among them: runs with equal seeds share
    one stream of random numbers.

    >>> distinct([5, 3, 5])
    ([5, 3], [0, 1, 0])
    """
    streams = list(dict.fromkeys(seeds))
    return streams, [streams.index(seed) for seed in seeds]


def mini_batches(n: int, size: int, steps: int, seeds: Sequence[int]) -> Iterator[Tensor]:
    """Places among n samples for each step, (size,) where all seeds are the same and (runs, size) otherwise: shuffled
    epochs, remainders left out; size ≤ n.

    >>> torch.cat([*mini_batches(6, 2, 3, seeds=[0])]).sort().values, next(mini_batches(6, 2, 1, seeds=[0, 1])).shape
    (tensor([0, 1, 2, 3, 4, 5]), torch.Size([2, 2]))
    """
    streams, places = distinct(seeds)
    draws = [generator(seed) for seed in streams]
    per_epoch = n // size
    for step in range(steps):
        if step % per_epoch == 0:
            orders = torch.stack([torch.randperm(n, generator=draw) for draw in draws])
        batch = orders[:, step % per_epoch * size :][:, :size]
        yield batch[0] if len(streams) == 1 else batch[places]


class SGD:
    """parameter ← parameter - η · gradient, in place, for one ``parameter`` (runs, …) and the learning rate η of each
    run, ``rate`` (runs,).

    >>> parameter = torch.ones(2, 3)
    >>> SGD(parameter, torch.tensor([0.0, 0.5]))(torch.ones(2, 3))
    >>> parameter[:, 0]
    tensor([1.0000, 0.5000])
    """

    def __init__(self, parameter: Tensor, rate: Tensor):
        self.parameter, self.rate = parameter, _beside(parameter, rate)

    def __call__(self, gradient: Tensor) -> None:
        self.parameter.sub_(gradient * self.rate)


class Adam:
    """Adam (Kingma and Ba 2015, β = 0.9 and 0.999, ε = 1e-8) for one ``parameter`` (runs, …), in place, with the
    learning rate of each run, ``rate`` (runs,). A call takes the gradient (runs, …) and overwrites it.

    >>> parameter = torch.ones(2, 3)
    >>> Adam(parameter, torch.tensor([0.0, 0.5]))(torch.full((2, 3), 1e-3))  # the first step has the size of the rate
    >>> parameter[:, 0]
    tensor([1.0000, 0.5000])
    """

    def __init__(self, parameter: Tensor, rate: Tensor):
        self.parameter, self.rate, self.steps = parameter, _beside(parameter, rate), 0
        self.first, self.second = torch.zeros_like(parameter), torch.zeros_like(parameter)

    def __call__(self, gradient: Tensor) -> None:
        self.steps += 1
        self.first.lerp_(gradient, 0.1)
        self.second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        scale = torch.sqrt(self.second, out=gradient).div_(math.sqrt(1 - 0.999**self.steps)).add_(1e-8)
        self.parameter.sub_(torch.div(self.first, scale, out=scale).mul_(self.rate / (1 - 0.9**self.steps)))


@contextlib.contextmanager
def threads(work: int) -> Iterator[None]:
    """One thread for the block where its products of matrices have few multiplications, ``work``; after it as many as
    before.

    >>> with threads(work=1000):
    ...     torch.get_num_threads()
    1
    """
    before = torch.get_num_threads()
    if work < _ONE_THREAD:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _beside(parameter: Tensor, rate: Tensor) -> Tensor:
    """``rate`` (runs,) as (runs, 1, …), which broadcasts against the parameter."""
    return rate.view(-1, *(1,) * (parameter.ndim - 1))
