"""Random networks of finite width, many at once: what mean field theory is held against.

Every network draws real weight matrices; ``networks`` of them are one batched torch program in float64 (the entries of
the matrices are drawn in float32, which halves the time). Network and layer fix the random stream, so that a network is
the same whatever it is batched with. The first pre-activations are random vectors that have *exactly* the mean products
asked for, so that depth 0 carries no sampling error. Returned arrays are numpy, one network a row.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike

from deepdynamics import activations
from deepdynamics._checks import Array, count, not_negative, number, one_of, real, tensor
from deepdynamics.activations import ActivationLike
from deepdynamics.networks import gaussian, gaussian_

__all__ = ["Seed", "convolutional", "forward", "gradients", "gram_matrix", "kernel_offsets", "recurrent"]

Seed = int | np.random.Generator


def forward(
    activation: ActivationLike,
    weight_var: float,
    bias_var: float,
    gram: ArrayLike,
    *,
    width: int,
    depth: int,
    networks: int,
    skip: float = 0.0,
    shared: bool = False,
    seed: Seed = 0,
) -> Array:
    """Mean products (1/width) Σ h_i h'_i between the pre-activations of n inputs, layer by layer: an array (networks,
    depth + 1, n, n) that starts with ``gram``.

    Layers are skip · h + W phi(h) + b. ``shared`` uses one W and one b at every layer, which makes the network a
    recurrent one and the layer its time.

    >>> forward("tanh", 2.0, 0.1, np.eye(3), width=50, depth=4, networks=2).shape
    (2, 5, 3, 3)
    """
    phi, start = activations.get(activation), gram_matrix(gram)
    draw = _Draw(count("width", width, least=len(start)), weight_var, bias_var, seed)
    grams = np.empty((count("networks", networks), count("depth", depth, least=0) + 1, *start.shape))
    for nets in _chunks(networks, width**2):
        h = draw.start(nets, start)
        grams[nets, 0] = _gram(h)
        for step in range(depth):
            if step == 0 or not shared:
                weights, bias = draw.weights(nets, step), draw.bias(nets, step)
            h = skip * h + weights @ phi(h) + bias
            grams[nets, step + 1] = _gram(h)
    return grams


def gradients(
    activation: ActivationLike,
    weight_var: float,
    bias_var: float,
    q0: float,
    *,
    width: int,
    depth: int,
    networks: int,
    skip: float = 0.0,
    readout: str = "gaussian",
    feedback: str = "transposed",
    seed: Seed = 0,
) -> Array:
    """Mean squares of the gradients of f = Σ v_i phi(h_i), h the last pre-activations, with respect to the
    pre-activations of every layer: an array (networks, depth + 1); entry 0 belongs to the given ones, of length q0.

    ``readout``: v is "gaussian", N(0, 1), or "ones". ``feedback``: the way back uses the "transposed" weights, as
    backpropagation does, or those of an "independent" copy of the network, as mean field theory does.

    >>> gradients("tanh", 2.0, 0.1, 1.0, width=50, depth=3, networks=2).shape
    (2, 4)
    """
    one_of("readout", readout, ("gaussian", "ones"))
    one_of("feedback", feedback, ("transposed", "independent"))
    phi, start = activations.get(activation), gram_matrix([[number("q0", q0, not_negative)]])
    draw = _Draw(count("width", width), weight_var, bias_var, seed)
    squares = np.empty((count("networks", networks), count("depth", depth, least=0) + 1))
    for nets in _chunks(networks, width**2):
        hs = [draw.start(nets, start)]
        for step in range(depth):
            hs.append(skip * hs[-1] + draw.weights(nets, step) @ phi(hs[-1]) + draw.bias(nets, step))
        v = draw.vector(nets) if readout == "gaussian" else torch.ones_like(hs[-1])
        delta = phi.slope(hs[-1]) * v
        squares[nets, depth] = (delta**2).mean(dim=(1, 2)).numpy()
        # The matrices are drawn a second time rather than kept: ``depth`` of them need not fit in memory.
        for step in reversed(range(depth)):
            weights = draw.weights(nets, step, copy=feedback == "independent")
            delta = skip * delta + phi.slope(hs[step]) * (weights.mT @ delta)
            squares[nets, step] = (delta**2).mean(dim=(1, 2)).numpy()
    return squares


def recurrent(
    activation: ActivationLike,
    weight_var: float,
    bias_var: float,
    h: torch.Tensor | ArrayLike,
    *,
    times: int,
    step: float | None = None,
    seed: Seed = 0,
) -> torch.Tensor:
    """Trajectories (networks, times + 1, width, n) of recurrent networks, one W and b for all times, from the states h
    (networks, width, n), n in each network; dtype follows h.

    Without ``step`` in discrete time, h(t + 1) = W phi(h(t)) + b; with it in continuous time, dh/dt = -h + W phi(h) + b
    by Heun's method, the stored times ``step`` apart.

    >>> recurrent("tanh", 2.0, 0.0, torch.ones(2, 5, 1), times=3).shape
    torch.Size([2, 4, 5, 1])
    """
    start = tensor("h", h)
    if start.ndim != 3:
        raise ValueError(f"h has shape {tuple(start.shape)}; (networks, width, n) is allowed")
    if step is not None and not 0 < step <= 1:
        raise ValueError(f"step = {step}: None or a number in (0, 1] is allowed")
    phi, nets = activations.get(activation), range(len(start))
    draw = _Draw(start.shape[1], weight_var, bias_var, seed)
    weights, bias = draw.weights(nets, 0).to(start), draw.bias(nets, 0).to(start)
    path, state = [start], start
    for _ in range(count("times", times)):
        target = weights @ phi(state) + bias
        if step is None:
            state = target
        else:
            ahead = state + step * (target - state)
            state = state + step / 2 * (target - state + weights @ phi(ahead) + bias - ahead)
        path.append(state)
    return torch.stack(path, dim=1)


def convolutional(
    activation: ActivationLike,
    weight_var: float,
    bias_var: float,
    covariance: ArrayLike,
    *,
    kernel_size: int,
    channels: int,
    depth: int,
    networks: int,
    seed: Seed = 0,
) -> Array:
    """Covariances between positions, averaged over channels, in ``networks`` random one-dimensional convolutional
    networks: (networks, depth + 1, n, n). They start from pre-activations that have exactly ``covariance``.

    >>> convolutional("tanh", 1.5, 0.1, np.eye(4), kernel_size=3, channels=20, depth=2, networks=2).shape
    (2, 3, 4, 4)
    """
    phi, sigma, offsets = activations.get(activation), gram_matrix(covariance), kernel_offsets(kernel_size)
    size = count("channels", channels, least=len(sigma))
    draw = _Draw(size, weight_var / len(offsets), bias_var, seed)
    grams = np.empty((count("networks", networks), count("depth", depth, least=0) + 1, *sigma.shape))
    for nets in _chunks(networks, channels**2):
        h = draw.start(nets, sigma)
        grams[nets, 0] = _gram(h)
        for step in range(depth):
            x, h = phi(h), draw.bias(nets, step)
            for tap, offset in enumerate(offsets):
                h = h + draw.weights(nets, step, tap=tap) @ torch.roll(x, -offset, dims=-1)
            grams[nets, step + 1] = _gram(h)
    return grams


class _Draw:
    """The random matrices of many networks. Network and layer fix the stream, so that a network is the same whatever
    it is batched with, and a layer can be drawn again instead of being kept.
    """

    def __init__(self, width: int, weight_var: float, bias_var: float, seed: Seed) -> None:
        self.width = width
        self.weight_var = number("weight_var", weight_var, not_negative)
        self.bias_var = number("bias_var", bias_var, not_negative)
        self.entropy = int(seed.integers(2**63)) if isinstance(seed, np.random.Generator) else int(seed)
        self._single, self._double = torch.empty(0), torch.empty(0, dtype=torch.float64)

    def _generator(self, net: int, *key: int) -> torch.Generator:
        state = np.random.SeedSequence(self.entropy, spawn_key=(net, *key)).generate_state(1, np.uint64)[0]
        return torch.Generator().manual_seed(int(state >> 1))

    def _normal(self, nets: range, columns: int, *key: int) -> torch.Tensor:
        size = (self.width, columns)
        return torch.stack([gaussian(size, seed=self._generator(n, *key)) for n in nets])

    def weights(self, nets: range, layer: int, *, copy: bool = False, tap: int = 0) -> torch.Tensor:
        """Matrices (nets, width, width) in a buffer that the next call overwrites (fresh pages cost more than the
        numbers); ``copy`` gives those of an independent network. Drawn in float32: half the time.
        """
        if len(self._single) != len(nets):
            self._single = torch.empty(len(nets), self.width, self.width)
            self._double = torch.empty(self._single.shape, dtype=torch.float64)
        for row, net in zip(self._single, nets, strict=True):
            gaussian_(row, seed=self._generator(net, 1 + copy, layer, tap))
        return torch.mul(self._single, (self.weight_var / self.width) ** 0.5, out=self._double)

    def bias(self, nets: range, layer: int) -> torch.Tensor:
        return self._normal(nets, 1, 3, layer) * self.bias_var**0.5

    def vector(self, nets: range) -> torch.Tensor:
        return self._normal(nets, 1, 4)

    def start(self, nets: range, gram: Array) -> torch.Tensor:
        """Random vectors (nets, width, n) whose mean products over the width are exactly the (n, n) ``gram``."""
        values, vectors = np.linalg.eigh(gram)
        root = torch.from_numpy(vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T)
        frame = torch.linalg.qr(self._normal(nets, len(values), 0))[0]
        return self.width**0.5 * frame @ root


def _gram(h: torch.Tensor) -> Array:
    return np.asarray((h.mT @ h / h.shape[-2]).numpy())


def _chunks(count: int, entries: int) -> Iterator[range]:
    """Networks whose matrices together have at most 2 million entries."""
    size = max(1, 2_000_000 // entries)
    for start in range(0, count, size):
        yield range(count)[start : start + size]


def gram_matrix(value: ArrayLike) -> Array:
    """Checked: a symmetric, positive semidefinite matrix of finite numbers.

    >>> gram_matrix([[1, 0], [0, 2]]).tolist()
    [[1.0, 0.0], [0.0, 2.0]]
    """
    array = real("covariance", value)
    if array.ndim != 2 or not np.isfinite(array).all() or not np.allclose(array, array.T):
        raise ValueError(f"covariance of shape {array.shape}: a finite symmetric matrix is allowed")
    if np.linalg.eigvalsh(array).min() < -1e-9 * np.trace(array):
        raise ValueError("covariance has negative eigenvalues; a positive semidefinite matrix is allowed")
    return array


def kernel_offsets(kernel_size: int) -> range:
    """Positions under a kernel, relative to its centre.

    >>> list(kernel_offsets(3))
    [-1, 0, 1]
    """
    if count("kernel_size", kernel_size) % 2 == 0:
        raise ValueError(f"kernel_size = {kernel_size}: an odd number is allowed")
    return range(-(kernel_size // 2), kernel_size // 2 + 1)
