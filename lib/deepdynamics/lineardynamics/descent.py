"""Deep linear networks y = W^D ... W^1 x, many at once: initialisations, gradient descent, greedy pretraining.

A linear network sees its data only through Σ11 = mean x xᵀ (the covariance) and Σ31 = mean y xᵀ (the input-output
correlation), so that full-batch gradient descent on the mean squared loss

    E = ½ mean |y - W x|² = ½ tr W Σ11 Wᵀ - tr W Σ31ᵀ + const,      W = W^D ... W^1,

costs nothing per sample. Weights are lists of tensors (runs, out, in), first layer first, or (out, in) without the axis
of runs; all runs are trained as one batched program. Time is counted in τ = 1 / learning rate. Torch; device and dtype
follow the input. Lists and numpy arrays are made into tensors, of the type of a tensor beside them if there is one. The
exact dynamics are in :mod:`deepdynamics.lineardynamics`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from deepdynamics._checks import Numbers, count, number, one_of, positive, sizes, tensor
from deepdynamics.networks import Seed, gaussian, generator, haar

__all__ = [
    "Descent",
    "decoupled_weights",
    "descend",
    "excess_loss",
    "orthogonality_defect",
    "pretrained_weights",
    "product",
    "random_weights",
    "steps_to_learn",
    "strengths",
    "unpassed_share",
]


@dataclass(frozen=True)
class Descent:
    """What :func:`descend` returns: the weights at the end, and the product W at the steps (records,).

    >>> weights, steps, products = descend([torch.zeros(2, 2)], torch.eye(2), learning_rate=0.5, steps=2)
    >>> steps, products[:, 0, 0]
    (tensor([0, 1, 2]), tensor([0.0000, 0.5000, 0.7500]))
    """

    weights: list[Tensor]
    steps: Tensor
    products: Tensor

    def __iter__(self) -> Iterator[Tensor | list[Tensor]]:
        return iter((self.weights, self.steps, self.products))


def product(weights: Sequence[Numbers]) -> Tensor:
    """W^D ... W^1 of layers (…, out, in), first layer first.

    >>> product([torch.eye(2), 3 * torch.eye(2)])[0, 0]
    tensor(3.)
    """
    return _partial_products(_layers(weights, _like(*weights)))[-1]


def random_weights(widths: Sequence[int], init: str, *, runs: int, scale: float = 1.0, seed: Seed) -> list[Tensor]:
    """Independent layers (runs, n_out, n_in) in float64: ``scale`` times a matrix that keeps lengths on average.

    "gaussian": entries N(0, 1/n_in). "orthogonal": Haar, with orthonormal columns, or rows where the layer narrows.

    >>> W = random_weights((3, 3, 2), "orthogonal", runs=5, seed=0)
    >>> torch.linalg.svdvals(product(W)).allclose(torch.ones(5, 2, dtype=torch.float64))
    True
    """
    one_of("init", init, ("gaussian", "orthogonal"))
    runs, scale, draw = count("runs", runs), number("scale", scale, positive), generator(seed)
    layers = []
    for n_in, n_out in pairwise(sizes("widths", widths, fewest=2)):
        if init == "gaussian":
            layers.append(scale * gaussian((runs, n_out, n_in), seed=draw) / n_in**0.5)
        else:
            layers.append(scale * torch.stack([haar(n_out, n_in, seed=draw) for _ in range(runs)]))
    return layers


def decoupled_weights(correlation: Numbers, initial: Numbers, depth: int, *, width: int, seed: Seed) -> list[Tensor]:
    """Layers R_l A R_{l-1}ᵀ with R_0 = V, R_D = U of Σ31 = U S Vᵀ, all else Haar: each mode α of the product starts at
    strength ``initial`` (a number or one for each mode; A = initial^{1/D}), and none feeds another.

    ``correlation``: (…, out, in), with out, in and ``width`` (of the hidden layers) at least the number of modes
    min(out, in). Saxe et al. (2014), section 1.2 and eq. (14).

    >>> S = torch.diag(torch.tensor([2.0, 1.0]))
    >>> product(decoupled_weights(S, 0.01, 3, width=4, seed=0)).round(decimals=6).abs()
    tensor([[0.0100, 0.0000],
            [0.0000, 0.0100]])
    """
    correlation = tensor("correlation", correlation)
    modes = min(correlation.shape[-2:])
    depth, width = count("depth", depth), count("width", width, least=modes)
    u0 = _positive("initial", initial, correlation)
    draw, batch = generator(seed), correlation.shape[:-2]
    U, _, Vh = torch.linalg.svd(correlation, full_matrices=False)

    def frame() -> Tensor:
        frames = torch.stack([haar(width, modes, seed=draw) for _ in range(math.prod(batch))])
        return frames.to(correlation).reshape(*batch, width, modes)

    frames = [Vh.mT, *(frame() for _ in range(depth - 1)), U]
    strength = u0 ** (1 / depth) * torch.ones(modes, dtype=correlation.dtype, device=correlation.device)
    return [(after * strength) @ before.mT for before, after in pairwise(frames)]


def descend(
    weights: Sequence[Numbers],
    correlation: Numbers,
    covariance: Numbers | None = None,
    *,
    learning_rate: Numbers,
    steps: int,
    every: int = 1,
) -> Descent:
    """``steps`` steps of gradient descent on E, and the product W at step 0, ``every``, 2·``every``, ...

    ``weights``: (runs, out, in) or (out, in), left unchanged. ``covariance`` None is the identity (whitened inputs).
    ``learning_rate``: one number, or (runs,). Products: (records, runs, out, in).

    >>> S = torch.diag(torch.tensor([2.0, 1.0], dtype=torch.float64))
    >>> end = descend(decoupled_weights(S, 0.1, 2, width=2, seed=0), S, learning_rate=0.1, steps=200)
    >>> product(end.weights).allclose(S)
    True
    """
    steps, every = count("steps", steps, least=0), count("every", every)
    like = _like(*weights, correlation, covariance)
    layers, correlation = _layers(weights, like), tensor("correlation", correlation, like)
    covariance = None if covariance is None else tensor("covariance", covariance, like)
    rate = _rate(learning_rate, layers[0])
    layers = [layer.clone() for layer in layers]
    kept, products = [], []
    for step in range(steps + 1):
        below = _partial_products(layers)
        if step % every == 0:
            kept.append(step)
            products.append(below[-1].clone())
        if step < steps:
            _update(layers, below, _error(below[-1], correlation, covariance), rate)
    return Descent(layers, torch.tensor(kept), torch.stack(products))


def strengths(W: Numbers, correlation: Numbers) -> Tensor:
    """Diagonal of UᵀWV in the modes of Σ31 = U S Vᵀ, strongest first: (…, out, in) -> (…, min(out, in)).

    >>> S = torch.diag(torch.tensor([1.0, -2.0]))
    >>> strengths(3 * S, S)
    tensor([6., 3.])
    """
    like = _like(W, correlation)
    W, correlation = tensor("W", W, like), tensor("correlation", correlation, like)
    U, _, Vh = torch.linalg.svd(correlation, full_matrices=False)
    return (U.mT @ W @ Vh.mT).diagonal(dim1=-2, dim2=-1)


def excess_loss(W: Numbers, correlation: Numbers, covariance: Numbers | None = None) -> Tensor:
    """E(W) - min E = ½ tr (W - W*) Σ11 (W - W*)ᵀ, W* = Σ31 Σ11⁻¹: (…, out, in) -> (…).

    >>> excess_loss(torch.zeros(2, 2), torch.eye(2))
    tensor(1.)
    """
    like = _like(W, correlation, covariance)
    W, correlation = tensor("W", W, like), tensor("correlation", correlation, like)
    if covariance is None:
        return 0.5 * (W - correlation).square().sum((-2, -1))
    covariance = tensor("covariance", covariance, like)
    gap = W - torch.linalg.solve(covariance, correlation, left=False)
    return 0.5 * ((gap @ covariance) * gap).sum((-2, -1))


def unpassed_share(first: Numbers, correlation: Numbers, covariance: Numbers) -> Tensor:
    """What the layers behind ``first`` cannot learn while it stays as it is: (…, width, in) -> (…).

    The least excess loss of W = M A over all M, A = ``first``, over that of W = 0: 0 where A passes all that the best
    linear map uses, 1 where it passes nothing of it. ``covariance`` positive definite, and A of full row rank.

    >>> unpassed_share(torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 1.0]]), torch.eye(2))
    tensor(0.2000)
    """
    like = _like(first, correlation, covariance)
    A, S31, S11 = (tensor(name, value, like) for name, value in
                   (("first", first), ("correlation", correlation), ("covariance", covariance)))  # fmt: skip

    def learned(second: Tensor, cross: Tensor) -> Tensor:
        return (torch.linalg.solve(second, cross, left=False) * cross).sum((-2, -1))

    return 1 - learned(A @ S11 @ A.mT, S31 @ A.mT) / learned(S11, S31)


def steps_to_learn(
    weights: Sequence[Numbers],
    correlation: Numbers,
    covariance: Numbers | None = None,
    *,
    learning_rates: Numbers,
    share: float = 0.05,
    limit: int,
    first_only: bool = False,
) -> Tensor:
    """First step at which the excess loss is at most ``share`` of that of W = 0, for each network and rate.

    ``weights``: (networks, out, in); ``correlation`` and ``covariance`` (…, in) shared or one a network. All networks
    and ``learning_rates`` (rates,) run as one program, from which a run leaves when it has learned or diverged (excess
    loss above 1,000 times that of W = 0, or not finite). Returns (networks, rates) in float64, inf where the share is
    not reached within ``limit`` steps. ``first_only``: a network stops at its first rate that gets there, and its
    slower rates are inf.

    >>> S = torch.diag(torch.tensor([2.0, 1.0]))
    >>> steps_to_learn([torch.zeros(1, 2, 2)], S, learning_rates=[0.5, 1.0], limit=10)
    tensor([[3., 1.]], dtype=torch.float64)
    """
    limit = count("limit", limit, least=0)
    if not 0 < share < 1:
        raise ValueError(f"share = {share}: a number between 0 and 1 is allowed")
    like = _like(*weights, correlation, covariance)
    layers, correlation = _layers(weights, like), tensor("correlation", correlation, like)
    covariance = None if covariance is None else tensor("covariance", covariance, like)
    rates = _rate(learning_rates, layers[0])
    networks, trials = layers[0].shape[0], rates.numel()
    target = correlation.expand(networks, *correlation.shape[-2:])
    second = None if covariance is None else covariance.expand(networks, *covariance.shape[-2:])
    best = target if second is None else torch.linalg.solve(second, target, left=False)
    goal = excess_loss(torch.zeros_like(target), target, second).repeat_interleave(trials)
    layers = [layer.repeat_interleave(trials, 0) for layer in layers]
    best, rate = best.repeat_interleave(trials, 0), rates.reshape(-1, 1, 1).repeat(networks, 1, 1)
    second = None if second is None else second.repeat_interleave(trials, 0)
    alive, found = torch.arange(len(goal)), torch.full((len(goal),), torch.inf, dtype=torch.float64)
    for step in range(limit + 1):
        below = _partial_products(layers)
        gap = below[-1] - best
        error = gap if second is None else torch.bmm(gap, second)
        loss = 0.5 * (error * gap).sum((-2, -1)) / goal
        learned = loss <= share
        found[alive[learned]] = step
        stay = ~learned & (loss < 1000)
        if first_only:
            done = torch.isfinite(found.reshape(networks, trials)).any(1)
            stay &= ~done[alive // trials]
        if not stay.any() or step == limit:
            break
        if not stay.all():
            layers, below = [w[stay] for w in layers], [w[stay] for w in below]
            alive, goal, best, rate, error = (a[stay] for a in (alive, goal, best, rate, error))
            second = None if second is None else second[stay]
        _update(layers, below, error, rate)
    return found.reshape(networks, trials)


def pretrained_weights(
    covariance: Numbers,
    width: int,
    layers: int,
    *,
    runs: int,
    scale: float,
    learning_rate: float,
    steps: int,
    seed: Seed,
) -> list[Tensor]:
    """Encoders (runs, width, in), (runs, width, width), ... of a greedy stack of linear autoencoders.

    Layer by layer, x ↦ B A x is trained to return its input by gradient descent on ½ mean |x - B A x|², from Gaussian A
    and B of standard deviation ``scale``; A becomes the layer and A Σ Aᵀ the covariance of the next one's input
    (Saxe et al. 2014, section 3). Where all modes are learned, A = R Qᵀ with R
    orthogonal and Q the leading principal axes: each layer is an isometry of what it receives. Where ``covariance`` is
    diagonal it is enough to give its diagonal, (in,): the first layer then needs no product with an (in, in) matrix.
    ``covariance`` may be one for each run as well, (runs, in, in).

    >>> spectrum = torch.tensor([3.0, 2.0, 0.1])
    >>> W = pretrained_weights(spectrum, 2, 3, runs=4, scale=0.01, learning_rate=0.2, steps=100, seed=0)
    >>> bool(orthogonality_defect(W[0]).max() < 0.01)
    True
    """
    width, layers, runs = count("width", width), count("layers", layers), count("runs", runs)
    scale, steps = number("scale", scale, positive), count("steps", steps, least=0)
    draw, stack, covariance = generator(seed), [], tensor("covariance", covariance)
    if covariance.ndim == 3 and len(covariance) != runs:
        raise ValueError(f"covariance of shape {tuple(covariance.shape)}: one matrix, or one for each of {runs} runs")
    second = covariance if covariance.ndim == 3 else covariance.expand(runs, *covariance.shape)
    for _ in range(layers):
        n = second.shape[-1]
        single = torch.get_default_dtype()
        shapes = ((runs, width, n), (runs, n, width))
        A, B = (scale * gaussian(shape, seed=draw, dtype=single).to(covariance) for shape in shapes)
        for _ in range(steps):
            carried = A * second[:, None] if second.ndim == 2 else A @ second  # A Σ
            change_A = B.mT @ B @ carried - (B.mT * second[:, None] if second.ndim == 2 else B.mT @ second)
            change_B = B @ (carried @ A.mT) - carried.mT
            A, B = A - learning_rate * change_A, B - learning_rate * change_B
        if not torch.isfinite(A).all():
            raise ValueError(f"learning_rate = {learning_rate}: the autoencoder diverges; a smaller one is allowed")
        stack.append(A)
        second = (A * second[:, None] if second.ndim == 2 else A @ second) @ A.mT
    return stack


def orthogonality_defect(weight: Numbers) -> Tensor:
    """sd(s²) / mean(s²) of the k = min(out, in) singular values s: (…, out, in) -> (…).

    0 for a multiple of an isometry; √(k / max(out, in)) for independent Gaussian entries (large matrices). The same is
    ‖W Wᵀ - a I‖_F / (a √k) with a = tr W Wᵀ / k, for out <= in.

    >>> orthogonality_defect(torch.diag(torch.tensor([1.0, 1.0, -1.0])))
    tensor(0.)
    """
    squares = torch.linalg.svdvals(tensor("weight", weight)).square()
    return squares.std(-1, correction=0) / squares.mean(-1)


def _like(*values: Any) -> Tensor:
    """The first tensor among the arguments, or else the first of them made into one."""
    found = next((value for value in values if isinstance(value, Tensor)), values[0])
    return tensor("weights", found)


def _layers(weights: Sequence[Numbers], like: Tensor) -> list[Tensor]:
    return [tensor(f"weights[{number}]", weight, like) for number, weight in enumerate(weights)]


def _partial_products(layers: Sequence[Tensor]) -> list[Tensor]:
    """W^1, W^2 W^1, ..., W^D ... W^1."""
    result = [layers[0]]
    for weight in layers[1:]:
        result.append(weight @ result[-1])
    return result


def _error(W: Tensor, correlation: Tensor, covariance: Tensor | None) -> Tensor:
    """dE/dW = W Σ11 - Σ31."""
    return (W if covariance is None else W @ covariance) - correlation


def _update(layers: list[Tensor], below: list[Tensor], error: Tensor, rate: Tensor) -> None:
    """One step in place: dE/dW^l = (W^D ... W^{l+1})ᵀ (dE/dW) (W^{l-1} ... W^1)ᵀ, from the last layer to the first."""
    delta = rate * error
    for depth in range(len(layers) - 1, 0, -1):
        change = delta @ below[depth - 1].mT
        delta = layers[depth].mT @ delta
        layers[depth] -= change
    layers[0] -= delta


def _rate(learning_rate: Numbers, like: Tensor) -> Tensor:
    rate = _positive("learning_rate", learning_rate, like)
    return rate.reshape(-1, 1, 1) if rate.ndim else rate


def _positive(name: str, value: Numbers, like: Tensor) -> Tensor:
    positive(name, value)
    return tensor(name, value, like).to(like)
