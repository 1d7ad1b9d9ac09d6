"""Mini-batches of images beside what a denoising autoencoder sees of them (Vincent et al. 2008)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from deepdynamics._batched import distinct, mini_batches
from deepdynamics.networks import generator

__all__ = ["CORRUPTIONS", "corrupted_batches"]

CORRUPTIONS = ("masking", "gaussian")


def corrupted_batches(
    X: Tensor, size: int, epochs: int, seeds: Sequence[int], level: Tensor, corruption: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """(x, x̃), each (runs, size, visible), for every step of shuffled epochs of X (n, visible); runs with equal seeds
    share the images and the random numbers of the corruption.

    ``level`` (runs, 1): the share of pixels that "masking" sets to 0, or the variance of what "gaussian" adds.

    >>> batches = corrupted_batches(torch.ones(6, 4), 3, 1, [0, 0], torch.tensor([[0.0], [1.0]]), "masking")
    >>> [seen.mean((1, 2)).tolist() for _, seen in batches]
    [[1.0, 0.0], [1.0, 0.0]]
    """
    streams, places = distinct(seeds)
    draws = [generator(seed) for seed in streams]  # not those of the order: it does not depend on the corruption
    noisy, level = bool((level > 0).any()), level[:, :, None]
    kind = torch.rand if corruption == "masking" else torch.randn
    for rows in mini_batches(len(X), size, epochs * (len(X) // size), seeds):
        x = X[rows.expand(len(seeds), -1).to(X.device)]
        if not noisy:
            yield x, x
            continue
        shape = (size, X.shape[1])
        numbers = torch.stack([kind(shape, generator=draw, dtype=X.dtype) for draw in draws])
        numbers = numbers.to(X.device)[places]
        yield x, x * (numbers >= level) if kind is torch.rand else x + level.sqrt() * numbers
