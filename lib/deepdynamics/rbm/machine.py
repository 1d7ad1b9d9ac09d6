r"""Restricted Boltzmann machines with a gain.

Visible units v and hidden units h have the energy and the law

.. math:: E(v, h) = -b^\top v - c^\top h - v^\top W h, \qquad p(v, h) = e^{-g\,E(v, h)}/Z ,

so that each layer given the other consists of independent logistic units of gain g,

.. math:: p(h_j = 1\,|\,v) = f(vW + c)_j, \quad p(v_i = 1\,|\,h) = f(hW^\top + b)_i, \quad f(u) = 1/(1 + e^{-g u}) .

A gain g is a gain 1 with parameters g times as large. Everything is torch, samples are rows, and the dtype and device
of what is computed are those of the data that came in; lists and numpy arrays are made into tensors
(:func:`deepdynamics._checks.tensor`).

Units are "binary", or "continuous": then a visible unit takes its mean f(hWᵀ + b) in [0, 1] wherever a binary one would
be sampled, and hidden units stay binary. It is a recipe for grey values rather than another law (Hinton 2010, section
3): the conditional means, the free energy and the gradient are the formulas above at real-valued v.
"""

from __future__ import annotations

import math
import os
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepdynamics._checks import Numbers, count, not_negative, number, one_of, positive, tensor
from deepdynamics.networks import Seed, generator
from deepdynamics.rbm.divergence import BinaryNoise, ContrastiveDivergence, random_bits

__all__ = ["RBM"]

UNITS = ("binary", "continuous")
ALGORITHMS = ("cd", "pcd")
PARAMETERS = ("weights", "visible_bias", "hidden_bias")

_ENUMERABLE = 20  # units of a layer whose 2^n states are summed one by one


class RBM:
    """A restricted Boltzmann machine: torch ``.weights`` (visible, hidden), ``.visible_bias`` (visible,),
    ``.hidden_bias`` (hidden,), to be read and set (also as arrays and lists).

    Weights start as N(0, ``weight_var``), biases at zero. ``fit`` moves the parameters to the dtype and device of its
    data. Raises ``ValueError`` for unknown units, sizes below 1, a gain that is not positive, a negative variance.

    >>> X = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]).repeat(50, 1)
    >>> rbm = RBM(3, 2, seed=0).fit(X, epochs=200, learning_rate=0.5, batch_size=20, seed=1)
    >>> rbm.reconstruct(X[:2]).round()
    tensor([[1., 1., 0.],
            [0., 0., 1.]])
    >>> rbm
    RBM(3, 2, units='binary', gain=1.0, dtype=torch.float32, device='cpu')
    """

    weights: Tensor
    visible_bias: Tensor
    hidden_bias: Tensor

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
        self.visible, self.hidden = count("visible", visible), count("hidden", hidden)
        self.units, self.gain = one_of("units", units, UNITS), number("gain", gain, positive)
        scale = math.sqrt(number("weight_var", weight_var, not_negative))
        normal = np.random.Generator(random_bits(generator(seed), 0)).standard_normal((self.visible, self.hidden))
        self.weights = torch.as_tensor(scale * normal, dtype=dtype, device=device)
        self.visible_bias = torch.zeros(self.visible, device=device, dtype=dtype)
        self.hidden_bias = torch.zeros(self.hidden, device=device, dtype=dtype)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in PARAMETERS:
            value = tensor(name, value)
            shapes = {"weights": (self.visible, self.hidden), "visible_bias": (self.visible,)}
            shape = shapes.get(name, (self.hidden,))
            if value.shape != shape or not value.is_floating_point():
                kind = f"of shape {tuple(value.shape)} and type {value.dtype}"
                raise ValueError(f"{name} {kind}: floating point {shape} is allowed")
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        kind = f"dtype={self.weights.dtype}, device={str(self.weights.device)!r}"
        return f"RBM({self.visible}, {self.hidden}, units={self.units!r}, gain={self.gain}, {kind})"

    def to(self, *args: Any, **kwargs: Any) -> RBM:
        """Moves the parameters to a dtype, a device, or those of a tensor, as :meth:`torch.Tensor.to` does; returns
        self. ``ValueError`` for a dtype that is not floating point.

        >>> RBM(3, 2).to(torch.float64)
        RBM(3, 2, units='binary', gain=1.0, dtype=torch.float64, device='cpu')
        """
        moved = [getattr(self, name).to(*args, **kwargs) for name in PARAMETERS]
        if not moved[0].is_floating_point():
            raise ValueError(f"dtype = {moved[0].dtype}: a floating point type is allowed")
        self.weights, self.visible_bias, self.hidden_bias = moved
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes units, gain and parameters to a file, which :meth:`load` reads.

        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     RBM(3, 2, gain=1.05).save(file.name)
        ...     RBM.load(file.name)
        RBM(3, 2, units='binary', gain=1.05, dtype=torch.float32, device='cpu')
        """
        parameters = {name: getattr(self, name).detach().clone() for name in PARAMETERS}
        torch.save({"units": self.units, "gain": self.gain} | parameters, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: torch.device | str | None = None) -> RBM:
        """The machine that :meth:`save` wrote, on ``device`` (where it was when it was saved); no code in the file is
        run. ``ValueError`` for a file that is none of :meth:`save`'s.

        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     RBM(3, 2, "continuous").save(file.name)
        ...     RBM.load(file.name).units
        'continuous'
        """
        try:
            saved = torch.load(path, map_location=device, weights_only=True)
            W, b, c = (dict(saved)[name] for name in PARAMETERS)
            visible, hidden = W.shape
            found = cls(visible, hidden, saved["units"], saved["gain"])
            found.weights, found.visible_bias, found.hidden_bias = W, b, c
        except (pickle.UnpicklingError, EOFError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"path = {os.fspath(path)!r}: a file that RBM.save wrote is allowed ({error})") from error
        return found

    def hidden_probability(self, v: Numbers) -> Tensor:
        """p(h_j = 1 | v) = f(vW + c), (…, hidden), for v (…, visible); differentiable, a layer of a network.

        >>> RBM(3, 2, weight_var=0.0).hidden_probability([1.0, 0.0, 1.0])
        tensor([0.5000, 0.5000])
        """
        v = tensor("v", v)
        _check_width("v", v, self.visible)
        return torch.sigmoid(self.gain * (v @ self.weights.to(v) + self.hidden_bias.to(v)))

    def visible_probability(self, h: Numbers) -> Tensor:
        """p(v_i = 1 | h) = f(hWᵀ + b), (…, visible), for h (…, hidden).

        >>> RBM(3, 2, weight_var=0.0).visible_probability(torch.ones(4, 2)).shape
        torch.Size([4, 3])
        """
        h = tensor("h", h)
        _check_width("h", h, self.hidden)
        return torch.sigmoid(self.gain * (h @ self.weights.to(h).T + self.visible_bias.to(h)))

    def reconstruct(self, v: Numbers) -> Tensor:
        """The mean-field reconstruction f(f(vW + c)Wᵀ + b), nothing drawn.

        >>> RBM(3, 2, weight_var=0.0).reconstruct([1.0, 0.0, 1.0])
        tensor([0.5000, 0.5000, 0.5000])
        """
        return self.visible_probability(self.hidden_probability(v))

    def free_energy(self, v: Numbers) -> Tensor:
        r"""-log Σ_h e^{-gain·E(v, h)}, (…,), for v (…, visible): e^{-free energy} is p(v) up to the factor 1/Z.

        .. math:: F(v) = -g\,b^\top v - \sum_j \log\bigl(1 + e^{g (vW + c)_j}\bigr)

        For continuous units the same function of real-valued v.

        >>> RBM(3, 2, weight_var=0.0).free_energy([1.0, 0.0, 1.0])  # -2 log 2
        tensor(-1.3863)
        """
        v = tensor("v", v)
        _check_width("v", v, self.visible)
        field = self.gain * (v @ self.weights.to(v) + self.hidden_bias.to(v))
        return -self.gain * (v @ self.visible_bias.to(v)) - torch.nn.functional.softplus(field).sum(-1)

    def log_likelihood(self, v: Numbers) -> Tensor:
        """log p(v), (…,), of binary v (…, visible), exactly: log Z sums over the 2^n states of the smaller layer.

        In float64. ``ValueError`` where v is not binary, or the smaller layer has more than 20 units.

        >>> RBM(3, 2, weight_var=0.0).log_likelihood([1.0, 0.0, 1.0])  # -3 log 2
        tensor(-2.0794, dtype=torch.float64)
        """
        v = tensor("v", v)
        _check_binary(v)
        return -self.free_energy(v.double()) - self._log_partition().to(v.device)

    def pseudo_likelihood(self, v: Numbers) -> Tensor:
        """Σ_i log p(v_i | all other v), (…,), of binary v (…, visible), every unit once; no Z is needed.

        By p(v_i | rest) = 1/(1 + e^{F(v) - F(v with unit i flipped)}). ``ValueError`` where v is not binary.

        >>> RBM(3, 2, weight_var=0.0).pseudo_likelihood([1.0, 0.0, 1.0])
        tensor(-2.0794)
        """
        v = tensor("v", v)
        _check_width("v", v, self.visible)
        _check_binary(v)
        field = v @ self.weights.to(v) + self.hidden_bias.to(v)
        start = torch.nn.functional.softplus(self.gain * field).sum(-1)
        total = torch.zeros_like(start)
        for unit, (row, bias) in enumerate(zip(self.weights.to(v), self.visible_bias.to(v), strict=True)):
            change = 1 - 2 * v[..., unit]
            flipped = torch.nn.functional.softplus(self.gain * (field + change[..., None] * row)).sum(-1)
            total += torch.nn.functional.logsigmoid(start - flipped - self.gain * change * bias)
        return total

    @torch.no_grad()
    def sample(self, n: int, steps: int, seed: Seed, *, start: Numbers | None = None) -> Tensor:
        """n visible states (n, visible) after ``steps`` steps of Gibbs sampling v → h → v: zeros and ones, or means for
        continuous units.

        Independent chains that begin at ``start`` (n, visible), or at fair coins.

        >>> rbm = RBM(3, 2)
        >>> rbm.visible_bias = [9.0, -9.0, 9.0]
        >>> rbm.sample(4, 10, seed=0).mean(0)
        tensor([1., 0., 1.])
        """
        draw, shape = generator(seed), (count("n", n), self.visible)
        v = torch.rand(shape, generator=draw).round().to(self.weights) if start is None else tensor("start", start)
        _check_width("start", v, self.visible)
        if v.shape != shape:
            raise ValueError(f"start of shape {tuple(v.shape)}: {shape} is allowed")
        noise = BinaryNoise(draw, n * max(self.visible, self.hidden), v.device)
        for _ in range(count("steps", steps)):
            h = self.hidden_probability(v)
            v = self.visible_probability(noise.sample(h, out=h))
            if self.units == "binary":
                noise.sample(v, out=v)
        return v

    @torch.no_grad()
    def fit(
        self,
        X: Numbers,
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
        contrastive divergence, Hinton 2002) or, as many as a batch has samples, from where the step before left them
        ("pcd", Tieleman 2008; they begin at h = 0). Hidden states that drive the chains are sampled.

        ``learning_rate`` and ``momentum``: one value, or one an epoch. ``bias_from_data`` first sets the visible bias
        to logit(mean of the unit)/g, at which the units alone would have the right means, with means clipped to
        [0.01, 0.99]. The samples are shuffled at each epoch; the last batch may be smaller. Returns self.

        ``ValueError`` for data outside [0, 1] or of another width, an unknown algorithm, counts below 1, and rates that
        are not finite numbers of the right sign.

        >>> X = np.random.default_rng(0).uniform(size=(50, 3))
        >>> RBM(3, 2).fit(X, algorithm="pcd", epochs=2, learning_rate=[0.1, 0.05], momentum=0.5, seed=0)
        RBM(3, 2, units='binary', gain=1.0, dtype=torch.float64, device='cpu')
        """
        X = tensor("X", X)
        _check_data(X, self.visible)
        one_of("algorithm", algorithm, ALGORITHMS)
        steps, batch = count("k", k), min(count("batch_size", batch_size), len(X))
        rates = _per_epoch("learning_rate", learning_rate, count("epochs", epochs))
        momenta = _per_epoch("momentum", momentum, epochs)
        if max(momenta) >= 1:
            raise ValueError(f"momentum = {momentum}: numbers in [0, 1) are allowed")
        decay, draw = number("weight_decay", weight_decay, not_negative), generator(seed)
        # Copies; the memory of W runs along the visible units, where the update of W is about 10 % faster.
        self.weights = X.new_empty(self.hidden, self.visible).T.copy_(self.weights)
        self.visible_bias, self.hidden_bias = (b.to(X, copy=True) for b in (self.visible_bias, self.hidden_bias))
        if bias_from_data:
            self.visible_bias = torch.logit(X.mean(0).clamp(0.01, 0.99)) / self.gain
        training = ContrastiveDivergence(
            (self.weights, self.visible_bias, self.hidden_bias),
            self.gain,
            binary=self.units == "binary",
            persistent=algorithm == "pcd",
            k=steps,
            batch=batch,
            momentum=any(momenta),
            draw=draw,
        )
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


def _check_data(X: Tensor, visible: int) -> None:
    if not X.is_floating_point() or X.ndim != 2 or X.shape[1] != visible or len(X) == 0:
        raise ValueError(
            f"X of shape {tuple(X.shape)} and type {X.dtype}: floating point (samples, {visible}) is allowed"
        )
    least, most = (float(x) for x in torch.aminmax(X))
    if not (least >= 0 and most <= 1):
        raise ValueError(f"X has entries from {least:.6g} to {most:.6g}: data in [0, 1] is allowed")


def _check_width(name: str, x: Tensor, width: int) -> None:
    if x.ndim == 0 or x.shape[-1] != width or not x.is_floating_point():
        raise ValueError(f"{name} of shape {tuple(x.shape)} and type {x.dtype}: floating point (…, {width}) is allowed")


def _check_binary(v: Tensor) -> None:
    if not ((v == 0) | (v == 1)).all():
        raise ValueError(f"v has entries from {v.min():.6g} to {v.max():.6g}: zeros and ones are allowed")


def _per_epoch(name: str, value: float | Sequence[float], epochs: int) -> list[float]:
    values = np.asarray(value, dtype=float)
    if values.shape not in ((), (epochs,)):
        raise ValueError(f"{name} has {values.size} values for epochs = {epochs}: one, or one an epoch, is allowed")
    return np.broadcast_to(not_negative(name, values), epochs).tolist()
