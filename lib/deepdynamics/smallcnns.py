r"""Small convolutional networks, trained in seconds, with their dense cumulative Jacobians: controls for statements
about trained networks that rest on many networks.

Four 3 × 3 convolutions with 16, 32, 32 and 32 channels and ReLU, 2 × 2 maximum pooling after the first two, a dense
layer of 128 units and a readout of ten classes: six layers x^l = f^l(x^{l-1}), each a piecewise linear map, so that
J_{0→l}(x) = ∂x^l/∂x is constant in a cell around x. Multiplying the input and all biases by one α ≥ 0 multiplies the
output by α; Euler's identity for it is

    x^l = J_{0→l}(x) x + Σ_{k≤l} (∂x^l/∂b^k) b^k,

the two terms of :func:`homogeneous_parts`. Without biases the second is absent.

Training is a loop over networks: batching eight of them by grouped convolutions gained 13 %, by ``torch.func.vmap``
nothing.

Torch; lists and numpy arrays are made into tensors, of the type of the network's parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepdynamics.arrays import Numbers, labels, parameter, tensor
from deepdynamics.networks import CNN, Seed, generator

__all__ = [
    "accuracy",
    "cumulative_jacobian",
    "cumulative_jacobians",
    "homogeneous_parts",
    "network",
    "right_singular",
    "train",
]


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
    for name, value, least in (("epochs", epochs, 0), ("batch", batch, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"{name} = {value!r}: an integer, at least {least}, is allowed")
    if batch > len(y):
        raise ValueError(f"batch = {batch}: at most the {len(y)} images are allowed")
    for name, rate in (("learning_rate", learning_rate), ("weight_decay", weight_decay)):
        if not 0 <= rate < math.inf:
            raise ValueError(f"{name} = {rate}: a finite number, not negative, is allowed")
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


@torch.no_grad()
def cumulative_jacobians(layers: Sequence[Callable[[Tensor], Tensor]], x: Numbers) -> list[Tensor]:
    """J_{0→l} = ∂x^l/∂x^0 at one input ``x`` (no batch axis) for every layer, first layer first, each (width of l, in),
    flattened.

    One forward sweep carries all basis vectors of the input through the linearised layers: as many forward passes as
    the input has entries, for all layers together. Raises ``ValueError`` for no layers and an input that is not finite.

    >>> J = cumulative_jacobians([torch.square, torch.sum], torch.tensor([1.0, 3.0]))
    >>> J[0].tolist(), J[1].tolist()
    ([[2.0, 0.0], [0.0, 6.0]], [[2.0, 6.0]])
    """
    if len(layers) == 0:
        raise ValueError("layers is empty: at least one map is needed")
    x = _checked_input(x, layers)
    carried = torch.eye(x.numel(), dtype=x.dtype, device=x.device).reshape(-1, *x.shape)
    found = []
    for layer in layers:
        carried = _carry(layer, x, carried)
        x = layer(x)
        found.append(carried.reshape(len(carried), -1).T)
    return found


def _carry(layer: Callable[[Tensor], Tensor], x: Tensor, vectors: Tensor) -> Tensor:
    """∂layer/∂x v for every v of ``vectors`` (m, *x.shape)."""
    return torch.func.vmap(lambda v: torch.func.jvp(layer, (x,), (v,))[1])(vectors)  # type: ignore[no-any-return, misc]


def cumulative_jacobian(layers: Sequence[Callable[[Tensor], Tensor]], x: Numbers) -> Tensor:
    """J of the composition of ``layers`` at one input ``x``, (out, in), flattened, by reverse differentiation: as many
    passes as there are outputs.

    For a narrow layer on top of wide ones. Raises as :func:`cumulative_jacobians` does.

    >>> cumulative_jacobian([torch.square, torch.sum], torch.tensor([1.0, 3.0]))
    tensor([[2., 6.]])
    """
    if len(layers) == 0:
        raise ValueError("layers is empty: at least one map is needed")
    x = _checked_input(x, layers)

    def composition(z: Tensor) -> Tensor:
        for layer in layers:
            z = layer(z)
        return z.flatten()

    with torch.no_grad():
        y, pull = torch.func.vjp(composition, x)  # type: ignore[misc]
        rows = torch.eye(y.numel(), dtype=x.dtype, device=x.device)
        return torch.func.vmap(pull)(rows)[0].reshape(y.numel(), x.numel())  # type: ignore[no-any-return]


def right_singular(J: Numbers, *, cutoff: float = 1e-6) -> tuple[Tensor, Tensor]:
    """Singular values s (r,), descending, and right singular vectors V (in, r), as columns, of a matrix J (out, in), in
    float64; r counts the values above ``cutoff`` times the largest.

    From the eigenvectors of JᵀJ where J has more rows than columns (right to about 1e-8 times the largest value), from
    an SVD otherwise. Raises ``ValueError`` where J is no finite matrix or is zero, and for a cutoff outside (1e-7, 1):
    below it the squares are rounding errors.

    >>> s, V = right_singular(torch.tensor([[0.0, 2.0, 0.0], [1.0, 0.0, 0.0]]))
    >>> s.round(decimals=9), V.abs().round(decimals=9)
    (tensor([2., 1.], dtype=torch.float64), tensor([[0., 1.],
            [1., 0.],
            [0., 0.]], dtype=torch.float64))
    """
    J = tensor("J", J)
    if J.ndim != 2 or not torch.isfinite(J).all() or not J.any():
        raise ValueError(f"J of shape {tuple(J.shape)}: a finite matrix that is not zero is allowed")
    if not 1e-7 < cutoff < 1:
        raise ValueError(f"cutoff = {cutoff}: a number between 1e-7 and 1 is allowed")
    J = J.double()
    if J.shape[0] > J.shape[1]:
        squares, vectors = torch.linalg.eigh(J.T @ J)
        s, V = squares.flip(0).clamp(min=0).sqrt(), vectors.flip(1)
    else:
        _, s, Vh = torch.linalg.svd(J, full_matrices=False)
        V = Vh.T
    rank = int((s > cutoff * s[0]).sum())
    return s[:rank], V[:, :rank]


def homogeneous_parts(net: nn.Module, x: Numbers) -> tuple[Tensor, Tensor]:
    """J(x) x and Σ_k (∂f/∂b^k) b^k, each (outputs,), of a network f at one input ``x`` (no batch axis): their sum is
    f(x) for a network of ReLU, maximum pooling, convolutions and matrices.

    Biases are the parameters whose name ends with "bias". By two forward derivatives, no Jacobian is formed. Raises
    ``ValueError`` for an input that is not finite.

    >>> net, x = network(8, seed=0, dtype=torch.float64), torch.rand(1, 8, 8, dtype=torch.float64)
    >>> linear, constant = homogeneous_parts(net, x)
    >>> torch.allclose(linear, net(x)), float(constant.norm())
    (True, 0.0)
    """
    x = _checked_input(x, [net])
    parameters = {name: p.detach() for name, p in net.named_parameters()}
    directions = {
        name: p if name.endswith("bias") else torch.zeros_like(p) for name, p in parameters.items()
    }  # the way from no biases to those there are

    def f(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(net, parameters, (x,)).flatten()  # type: ignore[no-any-return]

    with torch.no_grad():
        linear = torch.func.jvp(lambda z: f(parameters, z), (x,), (x,))[1]  # type: ignore[misc]
        constant = torch.func.jvp(lambda p: f(p, x), (parameters,), (directions,))[1]  # type: ignore[misc]
    return linear, constant


def _checked_input(numbers: Numbers, maps: Sequence[Callable[[Tensor], Tensor]]) -> Tensor:
    x = tensor("x", numbers, like=parameter(maps))
    if not x.is_floating_point() or not torch.isfinite(x).all():
        raise ValueError(f"x of shape {tuple(x.shape)} and type {x.dtype}: one finite floating point input is allowed")
    return x
