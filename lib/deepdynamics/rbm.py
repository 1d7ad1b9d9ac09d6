r"""Restricted Boltzmann machines with a gain, contrastive divergence, and stacks trained greedily.

Visible units v and hidden units h have the energy and the law

.. math:: E(v, h) = -b^\top v - c^\top h - v^\top W h, \qquad p(v, h) = e^{-g\,E(v, h)}/Z ,

so that each layer given the other consists of independent logistic units of gain g,

.. math:: p(h_j = 1\,|\,v) = f(vW + c)_j, \quad p(v_i = 1\,|\,h) = f(hW^\top + b)_i, \quad f(u) = 1/(1 + e^{-g u}) .

A gain g is a gain 1 with parameters g times as large. Everything is torch, samples are rows, and the dtype and device
of what is computed are those of the data that came in.

Units are "binary", or "continuous": then a visible unit takes its mean f(hWᵀ + b) in [0, 1] wherever a binary one would
be sampled, and hidden units stay binary. It is a recipe for grey values rather than another law (Hinton 2010, section
3): the conditional means, the free energy and the gradient are the formulas above at real-valued v.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepdynamics.networks import Seed, generator

UNITS = ("binary", "continuous")
ALGORITHMS = ("cd", "pcd")

_ENUMERABLE = 20  # units of a layer whose 2^n states are summed one by one


class RBM:
    """A restricted Boltzmann machine: torch ``.weights`` (visible, hidden), ``.visible_bias`` (visible,),
    ``.hidden_bias`` (hidden,), to be read and set.

    Weights start as N(0, ``weight_var``), biases at zero. ``fit`` moves the parameters to the dtype and device of its
    data. Raises ``ValueError`` for unknown units, sizes below 1, a gain that is not positive, a negative variance.

    >>> X = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]).repeat(50, 1)
    >>> rbm = RBM(3, 2, seed=0).fit(X, epochs=200, learning_rate=0.5, batch_size=20, seed=1)
    >>> rbm.reconstruct(X[:2]).round()
    tensor([[1., 1., 0.],
            [0., 0., 1.]])
    """

    def __init__(
        self,
        visible: int,
        hidden: int,
        units: str = "binary",
        gain: float = 1.0,
        *,
        weight_var: float = 1e-4,
        seed: Seed = 0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ):
        if units not in UNITS:
            raise ValueError(f"units = {units!r}: one of {', '.join(UNITS)} is allowed")
        self.visible, self.hidden = _count("visible", visible), _count("hidden", hidden)
        self.units, self.gain = units, _number("gain", gain, positive=True)
        scale = math.sqrt(_number("weight_var", weight_var))
        weights = scale * torch.randn(self.visible, self.hidden, generator=generator(seed), dtype=torch.float64)
        self.weights = weights.to(device=device, dtype=dtype)
        self.visible_bias = torch.zeros(self.visible, device=device, dtype=dtype)
        self.hidden_bias = torch.zeros(self.hidden, device=device, dtype=dtype)

    def hidden_probability(self, v: Tensor) -> Tensor:
        """p(h_j = 1 | v) = f(vW + c), (…, hidden), for v (…, visible); differentiable, a layer of a network."""
        _check_width("v", v, self.visible)
        return torch.sigmoid(self.gain * (v @ self.weights.to(v) + self.hidden_bias.to(v)))

    def visible_probability(self, h: Tensor) -> Tensor:
        """p(v_i = 1 | h) = f(hWᵀ + b), (…, visible), for h (…, hidden)."""
        _check_width("h", h, self.hidden)
        return torch.sigmoid(self.gain * (h @ self.weights.to(h).T + self.visible_bias.to(h)))

    def reconstruct(self, v: Tensor) -> Tensor:
        """The mean-field reconstruction f(f(vW + c)Wᵀ + b), nothing drawn."""
        return self.visible_probability(self.hidden_probability(v))

    def free_energy(self, v: Tensor) -> Tensor:
        r"""-log Σ_h e^{-gain·E(v, h)}, (…,), for v (…, visible): e^{-free energy} is p(v) up to the factor 1/Z.

        .. math:: F(v) = -g\,b^\top v - \sum_j \log\bigl(1 + e^{g (vW + c)_j}\bigr)

        For continuous units the same function of real-valued v.
        """
        _check_width("v", v, self.visible)
        field = self.gain * (v @ self.weights.to(v) + self.hidden_bias.to(v))
        return -self.gain * (v @ self.visible_bias.to(v)) - torch.nn.functional.softplus(field).sum(-1)

    def log_likelihood(self, v: Tensor) -> Tensor:
        """log p(v), (…,), of binary v (…, visible), exactly: log Z sums over the 2^n states of the smaller layer.

        In float64. ``ValueError`` where the smaller layer has more than 20 units.
        """
        return -self.free_energy(v.double()) - self._log_partition().to(v.device)

    def pseudo_likelihood(self, v: Tensor) -> Tensor:
        """Σ_i log p(v_i | all other v), (n,), of binary v (n, visible), every unit once; no Z is needed.

        By p(v_i | rest) = 1/(1 + e^{F(v) - F(v with unit i flipped)}). ``ValueError`` where v is not binary.
        """
        _check_width("v", v, self.visible)
        if v.ndim != 2 or not ((v == 0) | (v == 1)).all():
            raise ValueError(f"v of shape {tuple(v.shape)}: rows of zeros and ones are allowed")
        field = v @ self.weights.to(v) + self.hidden_bias.to(v)
        start = torch.nn.functional.softplus(self.gain * field).sum(1)
        total = torch.zeros_like(start)
        for unit, (row, bias) in enumerate(zip(self.weights.to(v), self.visible_bias.to(v), strict=True)):
            change = 1 - 2 * v[:, unit]
            flipped = torch.nn.functional.softplus(self.gain * (field + change[:, None] * row)).sum(1)
            total += torch.nn.functional.logsigmoid(start - flipped - self.gain * change * bias)
        return total

    def sample(self, n: int, steps: int, seed: Seed, *, start: Tensor | None = None) -> Tensor:
        """n visible states (n, visible) after ``steps`` steps of Gibbs sampling v → h → v: zeros and ones, or means for
        continuous units.

        Independent chains that begin at ``start`` (n, visible), or at fair coins.
        """
        draw = generator(seed)
        v = (
            torch.rand(_count("n", n), self.visible, generator=draw).round().to(self.weights)
            if start is None
            else start
        )
        _check_width("start", v, self.visible)
        if v.shape != (n, self.visible):
            raise ValueError(f"start of shape {tuple(v.shape)}: {(n, self.visible)} is allowed")
        for _ in range(_count("steps", steps)):
            v = self.visible_probability(_sample(self.hidden_probability(v), draw))
            if self.units == "binary":
                v = _sample(v, draw)
        return v

    @torch.no_grad()
    def fit(
        self,
        X: Tensor,
        *,
        algorithm: str = "cd",
        k: int = 1,
        epochs: int,
        learning_rate: float | Sequence[float],
        batch_size: int = 100,
        momentum: float | Sequence[float] = 0.0,
        weight_decay: float = 0.0,
        bias_from_data: bool = False,
        seed: Seed,
    ) -> RBM:
        r"""Ascends the mean log-likelihood of X (samples, visible), entries in [0, 1], from the present parameters:

        .. math:: \Delta W = \eta\,\Bigl[g\,\bigl(\langle v\,p(h|v)\rangle_{\text{batch}} - \langle v\,p(h|v)
            \rangle_{\text{chains}}\bigr) - \lambda W\Bigr] + \mu\,\Delta W_{\text{before}} ,

        the same without decay for the biases; ⟨⟩ are means. The chains run k steps h → v: from the batch itself ("cd",
        contrastive divergence, Hinton 2002) or, ``batch_size`` of them, from where the step before left them ("pcd",
        Tieleman 2008; they begin at h = 0). Hidden states that drive the chains are sampled.

        ``learning_rate`` and ``momentum``: one value, or one an epoch. ``bias_from_data`` first sets the visible bias
        to logit(mean of the unit)/g, at which the units alone would have the right means, with means clipped to
        [0.01, 0.99]. The samples are shuffled at each epoch; the last batch may be smaller. Returns self.

        ``ValueError`` for data outside [0, 1] or of another width, an unknown algorithm, counts below 1, and rates that
        are not finite numbers of the right sign.
        """
        _check_data(X, self.visible)
        if algorithm not in ALGORITHMS:
            raise ValueError(f"algorithm = {algorithm!r}: one of {', '.join(ALGORITHMS)} is allowed")
        steps, batch = _count("k", k), _count("batch_size", batch_size)
        rates = _per_epoch("learning_rate", learning_rate, _count("epochs", epochs))
        momenta = _per_epoch("momentum", momentum, epochs)
        decay, draw = _number("weight_decay", weight_decay), generator(seed)
        self.weights, self.hidden_bias = self.weights.to(X, copy=True), self.hidden_bias.to(X, copy=True)
        self.visible_bias = self.visible_bias.to(X, copy=True)
        if bias_from_data:
            self.visible_bias = torch.logit(X.mean(0).clamp(0.01, 0.99)) / self.gain
        training = _Training(self, algorithm == "pcd", steps, min(batch, len(X)) if algorithm == "cd" else batch, draw)
        for rate, keep in zip(rates, momenta, strict=True):
            for rows in torch.randperm(len(X), generator=draw).to(X.device).split(batch):
                training.step(X, rows, rate, keep, decay)
        return self

    def _log_partition(self) -> Tensor:
        """log Z in float64, by summing over the states of the smaller layer."""
        W, b, c = (p.double() * self.gain for p in (self.weights, self.visible_bias, self.hidden_bias))
        if self.visible < self.hidden:
            W, b, c = W.T, c, b
        if len(c) > _ENUMERABLE:
            raise ValueError(f"layers of {self.visible} and {self.hidden} units: enumeration allows {_ENUMERABLE}")
        states = (torch.arange(2 ** len(c), device=W.device)[:, None] >> torch.arange(len(c), device=W.device)) & 1
        parts = [s @ c + torch.nn.functional.softplus(s @ W.T + b).sum(1) for s in states.double().split(4096)]
        return torch.cat(parts).logsumexp(0)


def pretrain(widths: Sequence[int], X: Tensor, *, seed: Seed, **arguments: Any) -> list[RBM]:
    """A stack of RBMs of ``widths`` = (visible, hidden, hidden, …), trained one after the other: the means
    f(xW + c) of each are the data of the next (Hinton, Osindero and Teh 2006).

    ``arguments`` are those of :class:`RBM` (units, gain, weight_var) and of :meth:`RBM.fit`. The maps of the stack are
    ``[rbm.hidden_probability for rbm in stack]``, as :func:`deepdynamics.jacobian.layer_jacobians` takes them.

    >>> X = torch.rand(200, 8, generator=torch.Generator().manual_seed(0))
    >>> stack = pretrain((8, 5, 3), X, units="continuous", epochs=1, learning_rate=0.1, seed=0)
    >>> [tuple(rbm.weights.shape) for rbm in stack]
    [(8, 5), (5, 3)]
    """
    if len(widths) < 2:
        raise ValueError(f"widths = {tuple(widths)}: at least a visible and a hidden width are needed")
    draw = generator(seed)
    own = {name: arguments.pop(name) for name in ("units", "gain", "weight_var") if name in arguments}
    stack = []
    for visible, hidden in pairwise(widths):
        rbm = RBM(visible, hidden, **own, seed=draw, dtype=X.dtype, device=X.device)
        stack.append(rbm.fit(X, **arguments, seed=draw))
        X = rbm.hidden_probability(X)
    return stack


class _Training:
    """One step of contrastive divergence after the other, in memory that is allocated once: fresh pages at every step
    would cost more than the random numbers.

    Rows of ``v`` and ``h``: first the batch, then the chains, so that one product gives the difference of the two
    means. ``chain`` has the hidden states that the chains start from.
    """

    def __init__(self, rbm: RBM, persistent: bool, k: int, batch: int, draw: torch.Generator):
        self.rbm, self.persistent, self.k, self.draw = rbm, persistent, k, draw
        self.parameters = (rbm.weights, rbm.visible_bias, rbm.hidden_bias)
        self.velocities = [torch.zeros_like(p) for p in self.parameters]
        new = rbm.weights.new_zeros
        self.v, self.h = new(2 * batch, rbm.visible), new(2 * batch, rbm.hidden)
        self.chain, self.signs = new(batch, rbm.hidden), new(2 * batch)
        self.noise = _Noise(batch * max(rbm.visible, rbm.hidden), rbm.weights.device)

    def step(self, X: Tensor, rows: Tensor, rate: float, momentum: float, decay: float) -> None:
        """One update from the samples ``rows`` of X."""
        n = len(rows)
        m = len(self.chain) if self.persistent else n
        torch.index_select(X, 0, rows, out=self.v[:n])
        self._hidden(slice(n))
        self._run(slice(n, n + m), self.chain[:m])

        # ⟨v h⟩ over the batch less ⟨v h⟩ over the chains, as a product of all rows with signs.
        v, h, signs = self.v[: n + m], self.h[: n + m], self.signs[: n + m]
        signs[:n], signs[n:] = 1 / n, -1 / m
        weights, visible_bias, hidden_bias = self.velocities
        hidden_bias.addmv_(h.T, signs, beta=momentum, alpha=rate * self.rbm.gain)
        visible_bias.addmv_(v.T, signs, beta=momentum, alpha=rate * self.rbm.gain)
        weights.addmm_(v.T, h.mul_(signs[:, None]), beta=momentum, alpha=rate * self.rbm.gain)
        if decay > 0:
            weights.add_(self.rbm.weights, alpha=-rate * decay)
        for parameter, velocity in zip(self.parameters, self.velocities, strict=True):
            parameter.add_(velocity)

    def _run(self, rows: slice, chain: Tensor) -> None:
        """k steps h → v of the chains: leaves the last v and the means of h given it in ``rows``."""
        v, h = self.v[rows], self.h[rows]
        if not self.persistent:
            self.noise.sample(self.h[: len(chain)], self.draw, out=chain)
        for step in range(self.k):
            if step > 0:
                self.noise.sample(h, self.draw, out=chain)
            self._visible(chain, v)
            self._hidden(rows)
        if self.persistent:
            self.noise.sample(h, self.draw, out=chain)

    def _hidden(self, rows: slice) -> None:
        """h = f(vW + c)."""
        rbm = self.rbm
        torch.addmm(rbm.hidden_bias, self.v[rows], rbm.weights, beta=rbm.gain, alpha=rbm.gain, out=self.h[rows])
        self.h[rows].sigmoid_()

    def _visible(self, h: Tensor, v: Tensor) -> None:
        """v becomes what visible units take given h: a sample where they are binary, else f(hWᵀ + b)."""
        rbm = self.rbm
        torch.addmm(rbm.visible_bias, h, rbm.weights.T, beta=rbm.gain, alpha=rbm.gain, out=v).sigmoid_()
        if rbm.units == "binary":
            self.noise.sample(v, self.draw, out=v)


class _Noise:
    """Independent zeros and ones, of given probabilities of one to within 2^-17.

    Random bits are what sampling costs, so four numbers are cut from 64 of them. With j uniform in 0, …, 2^16 - 1, the
    event (j + 1/2)/2^16 < p has the probability (multiple of 2^-16) that is nearest to p.
    """

    def __init__(self, most: int, device: torch.device):
        self.bits = torch.empty(-(-most // 4), dtype=torch.int64)
        self.uniform = torch.empty(most, device=device)

    def sample(self, probability: Tensor, draw: torch.Generator, out: Tensor) -> Tensor:
        """Zeros and ones in ``out``, which may be ``probability``."""
        count = probability.numel()
        bits = self.bits[: -(-count // 4)].random_(-(2**63), None, generator=draw).view(torch.int16)
        uniform = self.uniform[:count].copy_(bits[:count])
        uniform.add_(2**15 + 0.5).mul_(2**-16)  # 17 bits, so exact
        return torch.lt(uniform.view(probability.shape), probability, out=out)


def _sample(probability: Tensor, draw: torch.Generator) -> Tensor:
    noise = _Noise(probability.numel(), probability.device)
    return noise.sample(probability, draw, out=torch.empty_like(probability))


def _check_data(X: Tensor, visible: int) -> None:
    if not X.is_floating_point() or X.ndim != 2 or X.shape[1] != visible or len(X) == 0:
        raise ValueError(
            f"X of shape {tuple(X.shape)} and type {X.dtype}: floating point (samples, {visible}) is allowed"
        )
    least, most = float(X.min()), float(X.max())
    if not (least >= 0 and most <= 1):
        raise ValueError(f"X has entries from {least:.6g} to {most:.6g}: data in [0, 1] is allowed")


def _check_width(name: str, x: Tensor, width: int) -> None:
    if x.ndim == 0 or x.shape[-1] != width or not x.is_floating_point():
        raise ValueError(f"{name} of shape {tuple(x.shape)} and type {x.dtype}: floating point (…, {width}) is allowed")


def _count(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} = {value!r}: a positive integer is allowed")
    return int(value)


def _number(name: str, value: float, positive: bool = False) -> float:
    if not 0 <= value < math.inf or (positive and value == 0):
        raise ValueError(f"{name} = {value}: a finite {'positive' if positive else 'non-negative'} number is allowed")
    return float(value)


def _per_epoch(name: str, value: float | Sequence[float], epochs: int) -> list[float]:
    values = [value] * epochs if isinstance(value, (int, float)) else list(value)
    if len(values) != epochs:
        raise ValueError(f"{name} has {len(values)} values for epochs = {epochs}: one, or one an epoch, is allowed")
    return [_number(name, v) for v in values]
