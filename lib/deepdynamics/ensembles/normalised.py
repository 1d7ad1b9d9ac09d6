"""Perceptrons with a normalisation in their last or in their hidden layers, trained together on the squared loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.sparse.linalg import eigsh
from torch import Tensor
from torch.func import jacrev

from deepdynamics import activations
from deepdynamics._batched import mini_batches, per_run, run_seeds
from deepdynamics._checks import count, not_negative, one_of, sizes
from deepdynamics.activations import ActivationLike
from deepdynamics.jacobian import top_singular
from deepdynamics.networks import MLP, Seed, gaussian, generator
from deepdynamics.networks.draws import layer_parameters

__all__ = ["NORMALISATIONS", "NormalisedMLPs"]

_EPS = 1e-5
_DENSE = 600  # rows up to which all eigenvalues are computed


def _centred(h: Tensor, axis: int) -> Tensor:
    return h - h.mean(axis, keepdim=True)


def _unit(h: Tensor, axis: int) -> Tensor:
    centred = _centred(h, axis)
    return centred * (centred.square().mean(axis, keepdim=True) + _EPS).rsqrt()


# name -> what it does to pre-activations (…, units, samples) of the hidden layers, and of the last one
_SAMPLES, _UNITS = -1, -2
_RULES: dict[str, tuple[Callable[[Tensor], Tensor] | None, Callable[[Tensor], Tensor] | None]] = {
    "none": (None, None),
    "mean, last": (None, lambda h: _centred(h, _SAMPLES)),
    "batch, last": (None, lambda h: _unit(h, _SAMPLES)),
    "batch, hidden": (lambda h: _unit(h, _SAMPLES), None),
    "layer, hidden": (lambda h: _unit(h, _UNITS), None),
}
NORMALISATIONS = tuple(_RULES)


class NormalisedMLPs:
    """``runs`` perceptrons of one shape whose pre-activations are normalised, without a gain or a shift of their own.

    ``normalisation``: "none"; in the last layer the mean over samples taken away ("mean, last") or batch normalisation
    ("batch, last"); in all hidden layers batch normalisation ("batch, hidden") or layer normalisation, over the units
    of one sample ("layer, hidden"). Means and variances are always those of the samples that are given, so that an
    output depends on all of them. Run r is drawn as ``MLP(widths, activation, weight_var=…, bias_var=…,
    seed=seeds[r])``; ``seed`` as in :class:`~deepdynamics.ensembles.MLPEnsemble`.

    >>> nets = NormalisedMLPs(3, (5, 20, 2), "relu", normalisation="mean, last", weight_var=2.0, seed=1)
    >>> outputs = nets.outputs(torch.randn(50, 5, generator=torch.Generator().manual_seed(0)))
    >>> outputs.shape, bool(outputs.mean(1).abs().max() < 1e-6)
    (torch.Size([3, 50, 2]), True)
    """

    def __init__(
        self,
        runs: int,
        widths: Sequence[int],
        activation: ActivationLike,
        *,
        normalisation: str = "none",
        weight_var: float = 1.0,
        bias_var: float = 0.0,
        seed: Seed | Sequence[int] = 0,
        dtype: torch.dtype | None = None,
    ):
        self.runs, self.widths = count("runs", runs), sizes("widths", widths, fewest=2)
        self.normalisation = one_of("normalisation", normalisation, NORMALISATIONS)
        MLP(
            (1,) * len(self.widths), activation, weight_var=weight_var, bias_var=bias_var, seed=0
        )  # refuses what it must
        self.phi = activations.get(activation)
        self.seeds = run_seeds(seed, self.runs)
        drawn: dict[int, list[tuple[Tensor, Tensor]]] = {}
        for number in self.seeds:
            if number not in drawn:
                draw = generator(number)
                shapes = ((n_out, n_in) for n_in, n_out in pairwise(self.widths))
                drawn[number] = [
                    layer_parameters(shape, "gaussian", "standard", weight_var, bias_var, seed=draw, dtype=dtype)[:2]
                    for shape in shapes
                ]
        self.parameters: list[Tensor] = []
        for layer in zip(*(drawn[number] for number in self.seeds), strict=True):
            self.parameters += [torch.stack([w for w, _ in layer]), torch.stack([b for _, b in layer])[..., None]]

    def outputs(self, X: Tensor | ArrayLike) -> Tensor:
        """Outputs (runs, n, C) on the samples ``X`` (n, in)."""
        with torch.no_grad():
            return self._forward(self.parameters, self._inputs(X)).mT

    def fit(
        self,
        X: Tensor | ArrayLike,
        Y: Tensor | ArrayLike,
        *,
        learning_rate: float | Sequence[float],
        steps: int,
        batch: int,
        seed: int | Sequence[int] = 0,
    ) -> Tensor:
        """Plain gradient descent on 1/(2n) Σ ‖f − y‖² over mini-batches of ``X`` (n, in), ``Y`` (n, C).

        Losses (steps, runs), each before its update; inf from the step at which a loss is no longer finite or passes
        1e12. Runs with equal ``seed`` see the same batches. Raises ``ValueError`` for shapes that do not fit, numbers
        that are not finite, negative rates, and a batch that is larger than the sample.

        >>> X = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
        >>> nets = NormalisedMLPs(2, (5, 30, 1), "relu", weight_var=2.0, seed=[7, 7])
        >>> losses = nets.fit(X, X[:, :1], learning_rate=[0.0, 0.02], steps=50, batch=64)
        >>> bool(losses[-1, 1] < 0.2 * losses[-1, 0])
        True
        """
        X, Y = self._inputs(X), torch.as_tensor(Y, dtype=self.parameters[0].dtype)
        if len(Y) != len(X) or Y.shape[1:] != self.widths[-1:] or not torch.isfinite(Y).all():
            raise ValueError(f"Y of shape {tuple(Y.shape)}: finite numbers ({len(X)}, {self.widths[-1]}) are needed")
        steps, batch = count("steps", steps), count("batch", batch, most=len(X))
        etas = not_negative("learning_rate", per_run("learning_rate", learning_rate, self.runs))
        rates = torch.tensor(etas, dtype=X.dtype)
        losses = torch.full((steps, self.runs), torch.inf, dtype=X.dtype)
        alive = torch.arange(self.runs)
        seeds = per_run("seed", seed, self.runs)
        for step, places in enumerate(mini_batches(len(X), batch, steps, seeds)):
            chosen = places if places.ndim == 1 else places[alive]
            parameters = [p[alive].requires_grad_() for p in self.parameters]
            error = self._forward(parameters, X[chosen]) - Y[chosen].mT
            loss = error.square().sum(1).mean(-1) / 2
            finite = torch.isfinite(loss.detach()) & (loss.detach() < 1e12)
            losses[step, alive[finite]] = loss.detach()[finite]
            gradients = torch.autograd.grad(loss.sum(), parameters)
            with torch.no_grad():
                for own, gradient in zip(self.parameters, gradients, strict=True):
                    own[alive] -= rates[alive, None, None] * gradient
            alive = alive[finite]
            if not len(alive):
                break
        return losses

    def leading(
        self, X: Tensor | ArrayLike, k: int = 1, *, runs: Sequence[int] | None = None, tol: float = 1e-3
    ) -> Tensor:
        """The k largest eigenvalues (runs, k) of F = J_θᵀJ_θ/n on the samples ``X`` (n, in), over all parameters, of
        the chosen ``runs`` (None: all).

        From the dual matrix J_θJ_θᵀ/n (n C × n C) where hidden layers are not normalised; else, with a singular value
        right to about ``tol``² of the largest, by products with J_θ and its transpose. Neither forms F or J_θ.

        >>> nets = NormalisedMLPs(2, (5, 20, 2), "relu", weight_var=2.0)
        >>> nets.leading(torch.randn(50, 5, generator=torch.Generator().manual_seed(0)), 2).shape
        torch.Size([2, 2])
        """
        X = self._inputs(X)
        k = count("k", k, most=len(X) * self.widths[-1])
        chosen = range(self.runs) if runs is None else runs
        found = self._by_dual if _RULES[self.normalisation][0] is None else self._by_products
        return torch.stack([found([p[run] for p in self.parameters], X, k, tol) for run in chosen])

    def _by_dual(self, parameters: Sequence[Tensor], X: Tensor, k: int, tol: float) -> Tensor:
        matrix = self._dual(parameters, X)
        if matrix.shape[0] <= max(_DENSE, 4 * k):
            return torch.linalg.eigvalsh(matrix).flip(0)[:k].to(X.dtype)
        start = gaussian((len(matrix),), seed=0).numpy()
        values = eigsh(matrix.numpy(), k, v0=start, return_eigenvectors=False)
        return torch.as_tensor(np.sort(values)[::-1].copy(), dtype=X.dtype)

    def _dual(self, parameters: Sequence[Tensor], X: Tensor) -> Tensor:
        """J_θJ_θᵀ/n, rows n·C + k, in float64 from products in the type of X: a sum over layers of products of two Gram
        matrices."""
        last = _RULES[self.normalisation][1]
        weights, biases = parameters[::2], parameters[1::2]
        n, C = len(X), self.widths[-1]
        states, slopes = [X], []
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            h = states[-1] @ weight.T + bias[:, 0]
            states.append(self.phi(h))
            slopes.append(self.phi.slope(h))
        outputs = states[-1] @ weights[-1].T + biases[-1][:, 0]
        back = torch.eye(C, dtype=X.dtype).expand(n, C, C)  # ∂f_k/∂h at sample n, (n, k, units)
        total = torch.zeros(n * C, n * C, dtype=X.dtype)
        for place in reversed(range(len(weights))):
            rows = back.reshape(n * C, -1)
            inputs = states[place] @ states[place].T + 1
            total += (rows @ rows.T) * inputs.repeat_interleave(C, 0).repeat_interleave(C, 1)
            if place:
                back = (back @ weights[place]) * slopes[place - 1][:, None]
        dual = total.double().view(n, C, n, C) / n
        if last is not None:
            rule = torch.stack([jacrev(lambda f: last(f[None])[0])(row) for row in outputs.double().T])
            dual = torch.einsum("kab,bkcl,ldc->akdl", rule, dual, rule)
        return dual.reshape(n * C, n * C)

    def _by_products(self, parameters: Sequence[Tensor], X: Tensor, k: int, tol: float) -> Tensor:
        shapes = [p.shape for p in parameters]
        sizes = [math.prod(shape) for shape in shapes]

        def values(theta: Tensor) -> Tensor:
            parts = [part.view(shape) for part, shape in zip(theta.split(sizes), shapes, strict=True)]
            return self._forward(parts, X).reshape(-1)

        theta = torch.cat([p.reshape(-1) for p in parameters])
        return top_singular(values, theta, k, tol=tol, block=max(k, 2)).s.square() / len(X)

    def _inputs(self, X: Tensor | ArrayLike) -> Tensor:
        X = torch.as_tensor(X, dtype=self.parameters[0].dtype)
        if X.ndim != 2 or X.shape[1] != self.widths[0] or not torch.isfinite(X).all():
            raise ValueError(f"X of shape {tuple(X.shape)}: finite numbers (n, {self.widths[0]}) are needed")
        return X

    def _forward(self, parameters: Sequence[Tensor], X: Tensor) -> Tensor:
        """Outputs (…, C, n) of ``X`` (n, in), or (runs, n, in)."""
        hidden, last = _RULES[self.normalisation]
        x = X.mT
        layers = list(zip(parameters[::2], parameters[1::2], strict=True))
        for place, (weight, bias) in enumerate(layers):
            h = weight @ x + bias
            rule = last if place == len(layers) - 1 else hidden
            h = h if rule is None else rule(h)
            x = h if place == len(layers) - 1 else self.phi(h)
        return x
