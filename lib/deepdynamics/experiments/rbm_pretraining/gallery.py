"""What a stack of machines has learned, as pictures."""

import torch
from torch import Tensor

from deepdynamics.rbm import Stack

__all__ = ["ROWS", "gallery"]

ROWS = ("test images", "one machine", "ten machines", "filters", "dreams")


def gallery(stack: Stack, images: Tensor, *, steps: int = 300, seed: int = 0) -> Tensor:
    """One tiled picture (rows · side, n · side) in [0, 1] of ``images`` (n, side²), with a row each for the images,
    their reconstruction by the first machine, that from the top layer down through all machines, the strongest filters
    of the first machine, and samples of the whole stack (``steps`` of Gibbs sampling in its topmost machine).

    >>> from deepdynamics.rbm import RBM
    >>> gallery(Stack((RBM(9, 4), RBM(4, 4))), torch.rand(3, 9), steps=2).shape
    torch.Size([15, 9])
    """
    first, top, n = stack.machines[0], stack.machines[-1], len(images)
    order = first.weights.square().sum(0).argsort(descending=True)
    filters = first.weights.T[order[:: max(1, len(order) // (4 * n))][:n]]
    rows = [
        images,
        first.reconstruct(images),
        _down(stack, stack.states(images)[-1]),
        0.5 + 0.5 * filters / filters.abs().amax(1, keepdim=True).clamp_min(1e-12),
        _down(Stack(stack.machines[:-1]), top.sample(n, steps, seed=seed)),
    ]
    side = round(images.shape[1] ** 0.5)
    tiles = [torch.nn.functional.pad(row.view(-1, side, side), (0, 0, 0, 0, 0, n - len(row))) for row in rows]
    return torch.cat([tile.permute(1, 0, 2).reshape(side, -1) for tile in tiles])


def _down(stack: Stack, x: Tensor) -> Tensor:
    for machine in stack.machines[::-1]:
        x = machine.visible_probability(x)
    return x
