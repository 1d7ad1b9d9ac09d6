"""Contrastive divergence in memory that is allocated once, and the random bits that it costs.

The gradient of the log-likelihood is ⟨v p(h|v)⟩ over data less that over the machine's own samples; chains of a few
steps of Gibbs sampling h → v → h stand for those: from the data (Hinton 2002), or from where they were left (Tieleman
2008).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["BinaryNoise", "ContrastiveDivergence", "random_bits"]


class ContrastiveDivergence:
    """Steps of contrastive divergence on ``parameters`` (W, b, c), in place; fresh pages at every step would cost more
    than the random numbers.

    Rows of ``v`` and ``h``: first the batch, then the chains, so that one product gives the difference of their means.
    ``chain`` has the hidden states that the chains start from. Without momentum no velocities are stored.

    >>> W, b, c = torch.zeros(3, 2), torch.zeros(3), torch.zeros(2)
    >>> training = ContrastiveDivergence((W, b, c), 1.0, binary=True, k=1, batch=4, draw=torch.Generator())
    >>> training.step(torch.ones(4, 3), torch.arange(4), rate=0.1, momentum=0.0, decay=0.0)
    >>> bool((b > 0).all())
    True
    """

    def __init__(
        self,
        parameters: tuple[Tensor, Tensor, Tensor],
        gain: float,
        *,
        binary: bool,
        persistent: bool = False,
        k: int,
        batch: int,
        momentum: bool = False,
        draw: torch.Generator,
    ):
        self.parameters, self.gain, self.binary = parameters, gain, binary
        self.weights, self.visible_bias, self.hidden_bias = parameters
        self.persistent, self.k = persistent, k
        self.velocities = [torch.zeros_like(p) for p in parameters] if momentum else None
        (visible, hidden), new = self.weights.shape, self.weights.new_zeros
        self.v, self.h = new(2 * batch, visible), new(2 * batch, hidden)
        self.chain, self.signs = new(batch, hidden), new(2 * batch)
        self.noise = BinaryNoise(draw, batch * max(visible, hidden), self.weights.device)

    def step(self, X: Tensor, rows: Tensor, rate: float, momentum: float, decay: float) -> None:
        """One update from the samples ``rows`` of X."""
        n = len(rows)
        total = n + (len(self.chain) if self.persistent else n)
        self._states(X, rows, slice(n, total))
        if self.velocities is None:
            self._add_gradient(self.parameters, (1 - rate * decay, 1), rate, n, total)
            return
        self._add_gradient(self.velocities, (momentum, momentum), rate, n, total)
        if decay > 0:
            self.velocities[0].add_(self.weights, alpha=-rate * decay)
        for parameter, velocity in zip(self.parameters, self.velocities, strict=True):
            parameter.add_(velocity)

    def _states(self, X: Tensor, rows: Tensor, model: slice) -> None:
        """The data and the means of h given them, and k steps of the chains: v, and the means of h given it."""
        n, chain = len(rows), self.chain[: model.stop - model.start]
        torch.index_select(X, 0, rows, out=self.v[:n])
        if not self.persistent:
            self._hidden(slice(n))
            self.noise.sample(self.h[:n], out=chain)
        for step in range(self.k):
            if step > 0:
                self._hidden(model)
                self.noise.sample(self.h[model], out=chain)
            self._visible(chain, self.v[model])
        self._hidden(slice(model.stop) if self.persistent else model)
        if self.persistent:
            self.noise.sample(self.h[model], out=chain)

    def _add_gradient(
        self, targets: Sequence[Tensor], beta: tuple[float, float], rate: float, n: int, total: int
    ) -> None:
        """targets ← beta · targets + rate · gradient, for (W, b, c); beta of W, and of the biases.

        The mean over the batch less the mean over the chains is a sum over all rows with signs.
        """
        v, h, signs = self.v[:total], self.h[:total], self.signs[:total]
        signs[:n], signs[n:] = 1 / n, -1 / (total - n)
        alpha = rate * self.gain
        targets[1].addmv_(v.T, signs, beta=beta[1], alpha=alpha)
        targets[2].addmv_(h.T, signs, beta=beta[1], alpha=alpha)
        targets[0].addmm_(v.T, h.mul_(signs[:, None]), beta=beta[0], alpha=alpha)

    def _hidden(self, rows: slice) -> None:
        """h = f(vW + c)."""
        g, h = self.gain, self.h[rows]
        torch.addmm(self.hidden_bias, self.v[rows], self.weights, beta=g, alpha=g, out=h).sigmoid_()

    def _visible(self, h: Tensor, v: Tensor) -> None:
        """v becomes what visible units take given h: a sample where they are binary, else f(hWᵀ + b)."""
        g = self.gain
        torch.addmm(self.visible_bias, h, self.weights.T, beta=g, alpha=g, out=v).sigmoid_()
        if self.binary:
            self.noise.sample(v, out=v)


class BinaryNoise:
    """Independent zeros and ones, of given probabilities of one to within 2^-17.

    Random bits are what sampling costs, so 64 of them make four numbers: with j uniform in 0, …, 2^16 - 1, the event
    (j + 1/2)/2^16 < p has the probability, among the multiples of 2^-16, that is nearest to p.

    >>> noise = BinaryNoise(torch.Generator(), 1000, torch.device("cpu"))
    >>> x = noise.sample(torch.full((1000,), 0.3), out=torch.empty(1000))
    >>> x.unique(), bool((x.mean() - 0.3).abs() < 0.08)
    (tensor([0., 1.]), True)
    """

    def __init__(self, draw: torch.Generator, most: int, device: torch.device):
        self.bits, self.uniform = random_bits(draw, 1), torch.empty(most, device=device)
        self.middle = torch.tensor(0.5 + 2**-17, device=device)

    def sample(self, probability: Tensor, out: Tensor) -> Tensor:
        """Zeros and ones in ``out``, which may be ``probability``."""
        count = probability.numel()
        bits = torch.from_numpy(self.bits.random_raw(-(-count // 4)).view(np.int16)[:count])
        uniform = self.uniform[:count].copy_(bits)  # j - 2^15
        torch.add(self.middle, uniform, alpha=2**-16, out=uniform)  # 17 bits, so exact
        return torch.lt(uniform.view(probability.shape), probability, out=out)


def random_bits(draw: torch.Generator, stream: int) -> np.random.SFC64:
    """Numpy's fastest bit generator, seeded by ``draw``; weights and noise of one seed are different streams.

    >>> random_bits(torch.Generator(), 0).random_raw() == random_bits(torch.Generator(), 1).random_raw()
    False
    """
    return np.random.SFC64([int(torch.randint(2**63 - 1, (), generator=draw)), stream])
