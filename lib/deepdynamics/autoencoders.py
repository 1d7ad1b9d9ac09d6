r"""Autoencoders with one hidden layer, many trained as one program: plain, with weight decay, denoising, contractive.

Encoder and decoder share their weights,

    h = f(W x + b),        r = g(Wᵀ h + c),

with f logistic (or linear). The Jacobian of the encoder at x and its squared Frobenius norm have closed forms,

    J(x) = diag(f'(a)) W,  a = W x + b,        ‖J(x)‖² = Σ_j f'(a_j)² ‖W_j‖² = Σ_k s_k(x)²,        f' = h (1 - h),

and the contractive autoencoder (Rifai et al. 2011) adds λ times the mean of ‖J‖² over the images to its loss. Singular
values and right singular vectors need no matrix larger than hidden × hidden: J Jᵀ = diag(f') W Wᵀ diag(f'), whose
middle part does not depend on x.

Torch; images may be lists or numpy arrays, which take the type of the weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepdynamics._checks import Numbers, count, not_negative, number, one_of, tensor
from deepdynamics.jacobian.chain import layer_factor
from deepdynamics.jacobian.gram import determined, eigenpairs, roots
from deepdynamics.networks import Seed, gaussian, generator

__all__ = ["Autoencoders", "History", "Triplets"]

UNITS = ("sigmoid", "linear")
LOSSES = ("cross-entropy", "squared")
CORRUPTIONS = ("masking", "gaussian")
OPTIMISERS = ("adam", "sgd")


@dataclass(frozen=True)
class History:
    """``reconstruction`` and ``contraction`` (steps, runs): the loss of each step's mini-batch without its penalties, a
    mean over images, and the mean of ‖J‖², both before the update. ``contraction`` is NaN for runs that are not
    contractive, where it is not computed.

    >>> nets = Autoencoders(3, 4, 2)
    >>> reconstruction, contraction = nets.fit(torch.rand(40, 4), learning_rate=0.01, epochs=2, batch=10)
    >>> reconstruction.shape, contraction[0]
    (torch.Size([8, 3]), tensor([nan, nan, nan]))
    """

    reconstruction: Tensor
    contraction: Tensor

    def __iter__(self) -> Iterator[Tensor]:
        return iter((self.reconstruction, self.contraction))


@dataclass(frozen=True)
class Triplets:
    """Singular triplets of the encoder: ``U`` (runs, n, hidden, k), ``s`` (runs, n, k) descending, ``V`` (runs, n,
    visible, k), vectors as columns.

    >>> U, s, V = Autoencoders(1, 6, 3).triplets(torch.rand(5, 6), k=2)
    >>> U.shape, s.shape, V.shape
    (torch.Size([1, 5, 3, 2]), torch.Size([1, 5, 2]), torch.Size([1, 5, 6, 2]))
    """

    U: Tensor
    s: Tensor
    V: Tensor

    def __iter__(self) -> Iterator[Tensor]:
        return iter((self.U, self.s, self.V))


class Autoencoders:
    """``runs`` autoencoders of one shape; every argument of training is one value or one a run.

    ``weights`` (runs, hidden, visible) with entries N(0, weight_var/visible), ``biases`` (runs, hidden) and
    ``visible_biases`` (runs, visible), which start at 0. One integer (or generator) as ``seed`` gives every run its own
    draw; a list gives each its own, so that equal seeds mean equal weights. ``loss``: "cross-entropy" (logistic
    outputs, data in [0, 1]) or "squared" (linear outputs, ½‖r - x‖²), each summed over the pixels. ``units``: "sigmoid"
    or "linear" in the hidden layer.

    Raises ``ValueError`` for sizes below 1, a negative variance, unknown names or a list of the wrong length.

    >>> X = torch.rand(200, 12, generator=torch.Generator().manual_seed(0))
    >>> nets = Autoencoders(2, 12, 5, seed=[3, 3])
    >>> history = nets.fit(X, learning_rate=0.01, epochs=20, batch=20, contraction=[0.0, 1.0], seed=0)
    >>> s = nets.singular_values(X)
    >>> s.shape, bool((s[1].square().sum(-1).mean() < s[0].square().sum(-1).mean()))
    (torch.Size([2, 200, 5]), True)
    """

    def __init__(
        self,
        runs: int,
        visible: int,
        hidden: int,
        *,
        units: str = "sigmoid",
        loss: str = "cross-entropy",
        weight_var: float = 1.0,
        seed: Seed | Sequence[int] = 0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ):
        self.runs, self.visible, self.hidden = count("runs", runs), count("visible", visible), count("hidden", hidden)
        self.units, self.loss = one_of("units", units, UNITS), one_of("loss", loss, LOSSES)
        if isinstance(seed, (int, np.integer, np.random.Generator, torch.Generator)):
            seed = torch.randint(2**62, (self.runs,), generator=generator(seed)).tolist()
        self.seeds = [int(s) for s in _per_run("seed", seed, self.runs)]
        scale = math.sqrt(number("weight_var", weight_var, not_negative) / visible)
        draws = [gaussian((self.hidden, self.visible), seed=s) for s in self.seeds]
        self.weights = (scale * torch.stack(draws)).to(dtype=dtype, device=device)
        self.biases = self.weights.new_zeros(self.runs, self.hidden)
        self.visible_biases = self.weights.new_zeros(self.runs, self.visible)

    def start_at_mean(self, X: Numbers) -> None:
        """Set the visible biases so that a code of 0 gives back the mean of X (n, visible); with logistic outputs no
        closer to 0 and 1 than 0.001.

        Pixels that never change are then right from the start. Otherwise the weights have to make them so, and shared
        weights make the encoder sensitive to what no image shows.

        >>> nets = Autoencoders(2, 3, 2)
        >>> nets.start_at_mean([[0.0, 0.2, 1.0], [0.0, 0.4, 1.0]])
        >>> nets.visible_biases[0].sigmoid()
        tensor([0.0010, 0.3000, 0.9990])
        """
        X = self._checked(X, in_range=self.loss == "cross-entropy")
        mean = X.mean(0)
        self.visible_biases[:] = mean.clamp(1e-3, 1 - 1e-3).logit() if self.loss == "cross-entropy" else mean

    def fit(
        self,
        X: Numbers,
        *,
        learning_rate: float | Sequence[float],
        epochs: int,
        batch: int = 100,
        contraction: float | Sequence[float] = 0.0,
        weight_decay: float | Sequence[float] = 0.0,
        noise: float | Sequence[float] = 0.0,
        corruption: str = "masking",
        optimiser: str = "adam",
        seed: int | Sequence[int] = 0,
    ) -> History:
        """Minimise over images x (n, visible), x̃ being the corrupted x that the encoder sees,

            mean [ loss(r(x̃), x) + contraction ‖J(x̃)‖² ] + weight_decay ‖W‖².

        ``noise``: the share of pixels that "masking" sets to 0, or the variance of what "gaussian" adds. ``optimiser``:
        "adam" (0.9, 0.999, 1e-8) or "sgd". Runs with equal ``seed`` see the same mini-batches (the images are shuffled
        each epoch, a remainder is left out) and the same random numbers of the corruption; what a run does never
        depends on what is trained beside it, up to rounding.

        Raises ``ValueError`` for X of another shape or type, not finite, or outside [0, 1] with the cross-entropy;
        negative parameters, a masked share of 1 or more, a batch outside 1..n, unknown names.

        >>> X = np.random.default_rng(0).uniform(size=(100, 6))
        >>> nets = Autoencoders(2, 6, 3)
        >>> history = nets.fit(X, learning_rate=[0.01, 0.1], epochs=30, batch=20, noise=0.2, seed=0)
        >>> bool((history.reconstruction[-1] < history.reconstruction[0]).all())
        True
        """
        X = self._checked(X, in_range=self.loss == "cross-entropy")
        one_of("corruption", corruption, CORRUPTIONS)
        one_of("optimiser", optimiser, OPTIMISERS)
        epochs, batch = count("epochs", epochs, least=0), count("batch", batch, most=len(X))
        rate, contract, decay, level = (
            self._number(name, value)
            for name, value in (
                ("learning_rate", learning_rate),
                ("contraction", contraction),
                ("weight_decay", weight_decay),
                ("noise", noise),
            )
        )
        if corruption == "masking" and bool((level >= 1).any()):
            raise ValueError(f"noise = {noise}: a share below 1 is allowed where pixels are masked")
        seeds = _per_run("seed", seed, self.runs)
        update = _Update((self.weights, self.biases, self.visible_biases), rate, optimiser)
        rows = []
        for clean, seen in _Batches(X, int(batch), int(epochs), seeds, level, corruption):
            gradients, row = self._gradients(clean, seen, contract, decay)
            update(gradients)
            rows.append(row)
        found = torch.stack(rows) if rows else X.new_empty(0, 2, self.runs)
        return History(found[:, 0], found[:, 1])

    def _gradients(self, x: Tensor, seen: Tensor, contract: Tensor, decay: Tensor) -> tuple[list[Tensor], Tensor]:
        """Gradients of the loss with respect to W, b, c on one mini-batch (runs, batch, visible), and (reconstruction,
        contraction) of it."""
        W, count = self.weights, x.shape[1]
        h = self._hidden(seen)
        z = torch.baddbmm(self.visible_biases[:, None], h, W)
        error, reconstruction = self._reconstruction(z, x)
        error /= count
        slope = self._slope(h)
        delta = torch.bmm(error, W.mT).mul_(slope)
        contracted = torch.full_like(reconstruction, torch.nan)
        gradient_W = torch.bmm(h.mT, error)
        shrink = 2 * decay * torch.ones_like(self.biases)
        active = contract > 0
        if bool(active.any()):
            norms, squares = W.square().sum(2), slope.square()
            penalty = (squares.mean(1) * norms).sum(1)
            contracted = torch.where(active[:, 0], penalty, contracted)
            shrink = shrink + 2 * contract * squares.mean(1)
            if self.units == "sigmoid":  # d f'²/da = 2 f' · f'' with f'' = f' (1 - 2 h)
                delta += (2 * contract / count * norms)[:, None] * squares * (1 - 2 * h)
        gradient_W.baddbmm_(delta.mT, seen).addcmul_(shrink[:, :, None], W)
        return [gradient_W, delta.sum(1), error.sum(1)], torch.stack((reconstruction, contracted))

    def _reconstruction(self, z: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """dloss/dz (runs, n, visible) and the loss (runs,), mean over images, of the outputs' pre-activations z."""
        if self.loss == "squared":
            error = z - x
            return error, 0.5 * error.square().sum(2).mean(1)
        loss = torch.nn.functional.softplus(z).sum(2) - (z * x).sum(2)
        return torch.sigmoid(z) - x, loss.mean(1)

    def encode(self, X: Numbers) -> Tensor:
        """h = f(W x + b), (runs, n, hidden), of images (n, visible).

        >>> Autoencoders(2, 3, 1, weight_var=0.0).encode(torch.ones(1, 3))
        tensor([[[0.5000]],
        <BLANKLINE>
                [[0.5000]]])
        """
        X = self._checked(X)
        return self._hidden(X.expand(self.runs, *X.shape))

    def reconstruct(self, X: Numbers) -> Tensor:
        """r(x), (runs, n, visible).

        >>> Autoencoders(1, 3, 2, weight_var=0.0).reconstruct(torch.ones(1, 3))
        tensor([[[0.5000, 0.5000, 0.5000]]])
        """
        z = torch.baddbmm(self.visible_biases[:, None], self.encode(X), self.weights)
        return torch.sigmoid(z) if self.loss == "cross-entropy" else z

    def reconstruction_loss(self, X: Numbers) -> Tensor:
        """Mean over the images of the loss of :meth:`fit` without corruption and penalties, (runs,).

        >>> Autoencoders(1, 3, 2, weight_var=0.0).reconstruction_loss(torch.ones(1, 3))  # 3 log 2
        tensor([2.0794])
        """
        X = self._checked(X, in_range=self.loss == "cross-entropy")
        total = torch.zeros(self.runs, dtype=X.dtype, device=X.device)
        for part in X.split(1000):
            z = torch.baddbmm(self.visible_biases[:, None], self.encode(part), self.weights)
            total += self._reconstruction(z, part.expand(self.runs, *part.shape))[1] * len(part)
        return total / len(X)

    def contraction(self, X: Numbers) -> Tensor:
        """‖J(x)‖² in closed form, Σ_j f'(a_j)² ‖W_j‖², (runs, n).

        >>> nets, X = Autoencoders(1, 6, 3), torch.rand(5, 6)
        >>> torch.allclose(nets.contraction(X)[0], nets.jacobians(X, 0).square().sum((1, 2)))
        True
        """
        return (self._slope(self.encode(X)).square() @ self.weights.square().sum(2)[:, :, None])[..., 0]

    def jacobians(self, X: Numbers, run: int) -> Tensor:
        """J(x) = diag(f'(a)) W of one run, (n, hidden, visible).

        >>> Autoencoders(2, 6, 3).jacobians(torch.rand(5, 6), run=1).shape
        torch.Size([5, 3, 6])
        """
        run = count("run", run, least=0, most=self.runs - 1)
        return layer_factor(self._slope(self.encode(X))[run], self.weights[run])

    def singular_values(self, X: Numbers) -> Tensor:
        """Singular values of J(x), descending, (runs, n, min(hidden, visible)), in float64.

        From the eigenvalues of the small Gram matrix J Jᵀ: right to about 1e-8 times the largest, and rounding below
        that.

        >>> nets, X = Autoencoders(1, 6, 3, dtype=torch.float64), np.full((1, 6), 0.5)
        >>> torch.allclose(nets.singular_values(X)[0], torch.linalg.svdvals(nets.jacobians(X, 0)))
        True
        """
        slope, kernel = self._gram_parts(X)
        count = min(self.hidden, self.visible)
        rows = []
        for d, K in zip(slope, kernel, strict=True):  # a run at a time: n hidden² numbers
            rows.append(roots(d[:, :, None] * K * d[:, None, :])[:, :count])
        return torch.stack(rows)

    def triplets(self, X: Numbers, k: int, *, trailing: bool = False) -> Triplets:
        """The ``k`` leading singular triplets of J(x), or with ``trailing`` the last ``k`` of all min(hidden, visible).

        In float64, from the Gram matrix, by the rule of :mod:`deepdynamics.jacobian.gram`: columns of V are zero where
        s, at most 1e-7 of the largest, does not determine them.

        >>> nets, X = Autoencoders(1, 6, 3, dtype=torch.float64), np.full((1, 6), 0.5)
        >>> U, s, V = nets.triplets(X, k=3)
        >>> torch.allclose(U[0, 0] * s[0, 0] @ V[0, 0].T, nets.jacobians(X, 0)[0])
        True
        """
        rank = min(self.hidden, self.visible)
        k = count("k", k, most=rank)
        slope, kernel = self._gram_parts(X)
        wanted = slice(rank - k, rank) if trailing else slice(0, k)
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        for d, K, W in zip(slope, kernel, self.weights.double(), strict=True):
            values, vectors = eigenpairs(d[:, :, None] * K * d[:, None, :])
            s, U = values[:, wanted], vectors[:, :, wanted]
            V = (W.T @ (d[:, :, None] * U)) / s[:, None]
            found.append((U, s, determined(V, s, values[:, :1])))
        U, s, V = (torch.stack(parts) for parts in zip(*found, strict=True))
        return Triplets(U, s, V)

    def _gram_parts(self, X: Numbers) -> tuple[Tensor, Tensor]:
        """f'(a) (runs, n, hidden) and W Wᵀ (runs, hidden, hidden), in float64."""
        weights = self.weights.double()
        return self._slope(self.encode(X)).double(), weights @ weights.mT

    def _hidden(self, x: Tensor) -> Tensor:
        a = torch.baddbmm(self.biases[:, None], x, self.weights.mT)
        return a.sigmoid_() if self.units == "sigmoid" else a

    def _slope(self, h: Tensor) -> Tensor:
        return h * (1 - h) if self.units == "sigmoid" else torch.ones_like(h)

    def _number(self, name: str, value: float | Sequence[float]) -> Tensor:
        """A parameter of training as a tensor (runs, 1)."""
        return self.weights.new_tensor(not_negative(name, _per_run(name, value, self.runs)))[:, None]

    def _checked(self, numbers: Numbers, in_range: bool = False) -> Tensor:
        X = tensor("X", numbers, like=self.weights)
        if X.ndim != 2 or X.shape[1] != self.visible or X.dtype != self.weights.dtype or len(X) == 0:
            wanted = f"(n, {self.visible}) of type {self.weights.dtype}"
            raise ValueError(f"X of shape {tuple(X.shape)} and type {X.dtype}: {wanted} is allowed")
        if not torch.isfinite(X).all():
            raise ValueError("X has entries that are not finite: finite ones are allowed")
        if in_range and (X.min() < 0 or X.max() > 1):
            low, high = float(X.min()), float(X.max())
            raise ValueError(f"X from {low:g} to {high:g}: 0 to 1 is allowed with the cross-entropy")
        return X


class _Batches:
    """(x, x̃), each (runs, batch, visible), for every step; runs with equal seed share both."""

    def __init__(self, X: Tensor, size: int, epochs: int, seeds: Sequence[int], level: Tensor, corruption: str):
        self.X, self.size, self.epochs, self.corruption = X, size, epochs, corruption
        self.streams = list(dict.fromkeys(seeds))
        self.place = [self.streams.index(seed) for seed in seeds]
        self.level = level[:, :, None]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        n, X = len(self.X), self.X
        draws = [(generator(seed), generator(seed)) for seed in self.streams]  # order and corruption do not mix
        noisy = bool((self.level > 0).any())
        kind = torch.rand if self.corruption == "masking" else torch.randn
        for _ in range(self.epochs):
            orders = torch.stack([torch.randperm(n, generator=order) for order, _ in draws])
            for start in range(0, n - self.size + 1, self.size):
                x = X[orders[:, start : start + self.size].to(X.device)][self.place]
                if not noisy:
                    yield x, x
                    continue
                shape = (self.size, X.shape[1])
                numbers = torch.stack([kind(shape, generator=noise, dtype=X.dtype) for _, noise in draws])
                numbers = numbers.to(X.device)[self.place]
                yield x, x * (numbers >= self.level) if kind is torch.rand else x + self.level.sqrt() * numbers


class _Update:
    """parameter ← parameter - step, in place, with a learning rate (runs, 1) for each run."""

    def __init__(self, parameters: Sequence[Tensor], rate: Tensor, kind: str):
        self.parameters, self.kind, self.count = parameters, kind, 0
        self.rates = [rate.view(-1, *(1,) * (p.ndim - 1)) for p in parameters]
        self.memory = [(torch.zeros_like(p), torch.zeros_like(p)) for p in parameters if kind == "adam"]

    def __call__(self, gradients: Sequence[Tensor]) -> None:
        self.count += 1
        if self.kind == "sgd":
            for parameter, gradient, rate in zip(self.parameters, gradients, self.rates, strict=True):
                parameter.sub_(gradient * rate)
            return
        first_scale, second_scale = 1 - 0.9**self.count, math.sqrt(1 - 0.999**self.count)
        for parameter, gradient, rate, (first, second) in zip(
            self.parameters, gradients, self.rates, self.memory, strict=True
        ):
            first.lerp_(gradient, 0.1)
            second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            scale = torch.sqrt(second, out=gradient).div_(second_scale).add_(1e-8)
            parameter.sub_(torch.div(first, scale, out=scale).mul_(rate / first_scale))


def _per_run(name: str, value: Any, runs: int) -> list[Any]:
    """One value, repeated, or a sequence of one value a run."""
    if isinstance(value, (Tensor, np.ndarray)):
        value = value.tolist()
    if not isinstance(value, Sequence):
        return [value] * runs
    if len(value) != runs:
        raise ValueError(f"{name} has {len(value)} values: one value, or one for each of the {runs} runs, is allowed")
    return list(value)
