r"""Small convolutional networks, trained in seconds, whose Jacobians can be dense: for statements about training that
rest on many networks.

Four 3 × 3 convolutions with 16, 32, 32 and 32 channels and ReLU, 2 × 2 maximum pooling after the first two, a dense
layer of 128 units and a readout of ten classes: six layers x^l = f^l(x^{l-1}), each a piecewise linear map, so that
J_{0→l}(x) = ∂x^l/∂x is constant in a cell around x. Multiplying the input and all biases by one α ≥ 0 multiplies the
output by α; Euler's identity for it is

    x^l = J_{0→l}(x) x + Σ_{k≤l} (∂x^l/∂b^k) b^k,

the two terms of :func:`deepdynamics.jacobian.homogeneous_parts`. Without biases the second is absent.

Training is a loop over networks: batching eight of them by grouped convolutions gained 13 %, by ``torch.func.vmap``
nothing.

Torch; lists and numpy arrays are made into tensors, of the type of the network's parameters.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepdynamics._checks import Numbers, count, labels, not_negative, number, parameter, tensor
from deepdynamics.networks.draws import Seed, generator
from deepdynamics.networks.layers import CNN

__all__ = ["accuracy", "network", "train"]


def network(side: int, *, weight_var: float = 1 / 3, seed: Seed, dtype: torch.dtype | None = None) -> CNN:
    """The untrained CNN for images (1, side, side) and ten classes: weights N(0, weight_var/n_in), biases 0.

    The default is the variance of torch's own initial weights; 2 (He et al. 2015) keeps the length of a signal.
    Networks of one seed differ by a factor at each layer, so that their untrained Jacobians are proportional. Raises
    ``ValueError`` for a side below 4, of which pooling leaves nothing, and a negative variance.

    >>> [tuple(x.shape[1:]) for x in network(28, seed=0).states(torch.zeros(1, 1, 28, 28))[1:]]
    [(16, 14, 14), (32, 7, 7), (32, 7, 7), (32, 7, 7), (128,), (10,)]
    """
    shape, channels = (1, side, side), (16, 32, 32, 32)
    return CNN(
        shape, channels, 10, "relu", pool_after=(1, 2), hidden=(128,), weight_var=weight_var, seed=seed, dtype=dtype
    )


def train(
    net: nn.Module,
    X: Numbers,
    y: Numbers,
    *,
    epochs: int,
    learning_rate: float = 2e-3,
    batch: int = 64,
    weight_decay: float = 0.01,
    seed: Seed,
) -> Tensor:
    """Minimise the mean softmax cross-entropy on images X (n, ...) with labels y (n,), in place, by AdamW; the loss of
    each step's mini-batch before its update (steps,).

    Each epoch goes through all images once, in an order drawn from ``seed``; its last batch may be smaller. Raises
    ``ValueError`` for images and labels that do not fit each other or are not finite, epochs < 0, a batch outside 1..n,
    a negative rate or decay.

    >>> X, y = torch.rand(40, 1, 8, 8, generator=generator(0)), torch.arange(40) % 2
    >>> losses = train(network(8, seed=0), X, y, epochs=10, batch=20, seed=0)
    >>> losses.shape, bool(losses[-1] < losses[0])
    (torch.Size([20]), True)
    """
    X, y = tensor("X", X, like=parameter([net])), labels("y", y)
    if y.shape != X.shape[:1] or len(y) == 0 or y.dtype != torch.int64 or not torch.isfinite(X).all():
        raise ValueError(
            f"X of shape {tuple(X.shape)}, y of shape {tuple(y.shape)} and type {y.dtype}: finite images (n, ...) and "
            "labels (n,) of type torch.int64 are allowed"
        )
    epochs, batch = count("epochs", epochs, least=0), count("batch", batch, most=len(y))
    number("learning_rate", learning_rate, not_negative)
    number("weight_decay", weight_decay, not_negative)
    draw = generator(seed)
    optimiser = torch.optim.AdamW(net.parameters(), lr=learning_rate, weight_decay=weight_decay)
    losses = []
    for _ in range(epochs):
        for chosen in torch.randperm(len(y), generator=draw).to(X.device).split(batch):
            optimiser.zero_grad()
            loss = functional.cross_entropy(net(X[chosen]), y[chosen])
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            losses.append(loss.detach())
    optimiser.zero_grad()
    return torch.stack(losses) if losses else X.new_empty(0)


@torch.no_grad()
def accuracy(net: Callable[[Tensor], Tensor], X: Numbers, y: Numbers) -> float:
    """Share of images X (n, ...) whose largest output is that of their label y (n,). ``ValueError`` where the shapes do
    not fit.

    >>> accuracy(lambda x: x, torch.eye(3), torch.tensor([0, 1, 1]))
    0.6666666666666666
    """
    X, y = tensor("X", X, like=parameter([net])), labels("y", y)
    if y.shape != X.shape[:1] or len(y) == 0:
        raise ValueError(f"y of shape {tuple(y.shape)}: one label for each of {len(X)} images is allowed")
    pieces = zip(X.split(500), y.split(500), strict=True)
    return sum(int((net(a).argmax(1) == b).sum()) for a, b in pieces) / len(y)
