r"""Autoencoders with one hidden layer and tied weights: plain, with weight decay, denoising, contractive.

Many are trained as one program. Encoder and decoder share their weights,

    h = f(W x + b),        r = g(Wᵀ h + c),

with f logistic (or linear). The Jacobian of the encoder at x and its squared Frobenius norm have closed forms,

    J(x) = diag(f'(a)) W,  a = W x + b,        ‖J(x)‖² = Σ_j f'(a_j)² ‖W_j‖² = Σ_k s_k(x)²,        f' = h (1 - h),

and the contractive autoencoder (Rifai et al. 2011) adds λ times the mean of ‖J‖² over the images to its loss. Singular
values and vectors: :mod:`deepdynamics.autoencoders.spectra`.

Torch; images may be lists or numpy arrays, which take the type of the weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deepdynamics._batched import SGD, Adam, per_run, run_seeds
from deepdynamics._checks import Numbers, count, not_negative, number, one_of, tensor
from deepdynamics.autoencoders.corruption import CORRUPTIONS, corrupted_batches
from deepdynamics.autoencoders.spectra import Triplets, singular_triplets, singular_values, squared_norms
from deepdynamics.jacobian.chain import layer_factor
from deepdynamics.networks import Seed, gaussian

__all__ = ["Autoencoders", "History"]

UNITS = ("sigmoid", "linear")
LOSSES = ("cross-entropy", "squared")
OPTIMISERS: dict[str, type[Adam] | type[SGD]] = {"adam": Adam, "sgd": SGD}


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
        self.seeds = run_seeds(seed, self.runs)
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

        >>> X = torch.rand(100, 6, generator=torch.Generator().manual_seed(0))
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
        seeds = per_run("seed", seed, self.runs)
        parameters = (self.weights, self.biases, self.visible_biases)
        updates = [OPTIMISERS[optimiser](parameter, rate[:, 0]) for parameter in parameters]
        rows = []
        for clean, seen in corrupted_batches(X, int(batch), int(epochs), seeds, level, corruption):
            gradients, row = self._gradients(clean, seen, contract, decay)
            for update, gradient in zip(updates, gradients, strict=True):
                update(gradient)
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
        return squared_norms(self._slope(self.encode(X)), self.weights)

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

        >>> nets, X = Autoencoders(1, 6, 3, dtype=torch.float64), [[0.5] * 6]
        >>> torch.allclose(nets.singular_values(X)[0], torch.linalg.svdvals(nets.jacobians(X, 0)))
        True
        """
        return singular_values(self._slope(self.encode(X)), self.weights)

    def triplets(self, X: Numbers, k: int, *, trailing: bool = False) -> Triplets:
        """The ``k`` leading singular triplets of J(x), or with ``trailing`` the last ``k`` of all min(hidden, visible).

        In float64, from the Gram matrix, by the rule of :mod:`deepdynamics.jacobian.gram`: columns of V are zero where
        s, at most 1e-7 of the largest, does not determine them.

        >>> nets, X = Autoencoders(1, 6, 3, dtype=torch.float64), [[0.5] * 6]
        >>> U, s, V = nets.triplets(X, k=3)
        >>> torch.allclose(U[0, 0] * s[0, 0] @ V[0, 0].T, nets.jacobians(X, 0)[0])
        True
        """
        rank = min(self.hidden, self.visible)
        k = count("k", k, most=rank)
        wanted = slice(rank - k, rank) if trailing else slice(0, k)
        return singular_triplets(self._slope(self.encode(X)), self.weights, wanted)

    def _hidden(self, x: Tensor) -> Tensor:
        a = torch.baddbmm(self.biases[:, None], x, self.weights.mT)
        return a.sigmoid_() if self.units == "sigmoid" else a

    def _slope(self, h: Tensor) -> Tensor:
        return h * (1 - h) if self.units == "sigmoid" else torch.ones_like(h)

    def _number(self, name: str, value: float | Sequence[float]) -> Tensor:
        """A parameter of training as a tensor (runs, 1)."""
        return self.weights.new_tensor(not_negative(name, per_run(name, value, self.runs)))[:, None]

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
