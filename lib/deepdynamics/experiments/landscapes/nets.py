"""What the experiments on landscapes share: perceptrons of one shape trained side by side, as lists of tensors.

``weights``: W1, b1, W2, b2, …, shapes (nets, in, out) and (nets, 1, out); the gradient of the summed losses is the
gradient of each net's own loss.
"""

import functools
import itertools
from collections.abc import Callable, Sequence

import torch

from deepdynamics import data

__all__ = ["descend", "draw", "flat", "image_sets", "losses", "outputs", "shaped"]

Weights = list[torch.Tensor]


def draw(
    widths: Sequence[int], seeds: Sequence[int], *, gain: float = 1.0, dtype: torch.dtype = torch.float32
) -> Weights:
    """Gaussian weights of variance gain²/in, biases 0, one net a seed."""
    nets = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        nets.append(
            [gain * torch.randn(m, n, generator=generator, dtype=dtype) / m**0.5 for m, n in itertools.pairwise(widths)]
        )
    stacked = [torch.stack(layer) for layer in zip(*nets, strict=False)]
    return [part for W in stacked for part in (W, torch.zeros(len(W), 1, W.shape[2], dtype=dtype))]


def outputs(weights: Sequence[torch.Tensor], X: torch.Tensor, phi: Callable = torch.tanh) -> torch.Tensor:
    """(nets, samples, outputs) for X (nets, samples, inputs); without the axis of nets as well."""
    for k in range(0, len(weights), 2):
        X = X @ weights[k] + weights[k + 1]
        X = phi(X) if k < len(weights) - 2 else X
    return X


def losses(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(nets,): cross-entropy for labels that are integers, else half the mean square of the single output."""
    if y.dtype == torch.int64:
        return torch.nn.functional.cross_entropy(out.transpose(-1, -2), y, reduction="none").mean(-1)
    return 0.5 * (out[..., 0] - y).square().mean(-1)


def descend(
    weights: Weights,
    X: torch.Tensor,
    y: torch.Tensor,
    *,
    rate: float | torch.Tensor,
    steps: int,
    batch: int | None = None,
    decay: float = 0.0,
    phi: Callable = torch.tanh,
    seed: int = 0,
    watch: Callable[[int, Weights], bool] | None = None,
) -> Weights:
    """Gradient descent, full batch or on batches drawn anew at each step; ``rate`` a number or one a net (nets, 1, 1).
    ``watch`` is called with the number of steps done and the weights, and ends training by True."""
    weights = [w.clone().requires_grad_() for w in weights]
    generator = torch.Generator().manual_seed(seed)
    nets = torch.arange(len(X))[:, None]
    for step in range(steps):
        if watch is not None and watch(step, weights):
            break
        chosen = torch.randint(X.shape[1], (len(X), batch), generator=generator) if batch else None
        inputs, answers = (X, y) if chosen is None else (X[nets, chosen], y[nets, chosen])
        slopes = torch.autograd.grad(losses(outputs(weights, inputs, phi), answers).sum(), weights)
        with torch.no_grad():
            for w, g in zip(weights, slopes, strict=False):
                w -= rate * (g + decay * w)
    return [w.detach() for w in weights]


def flat(weights: Weights) -> torch.Tensor:
    """(nets, parameters)."""
    return torch.cat([w.flatten(1) for w in weights], 1)


def shaped(theta: torch.Tensor, widths: Sequence[int]) -> Weights:
    """The inverse of `flat` for one net: theta (parameters,) -> W (in, out), b (1, out)."""
    sizes = [size for m, n in itertools.pairwise(widths) for size in ((m, n), (1, n))]
    parts = theta.split([a * b for a, b in sizes])
    return [part.reshape(size) for part, size in zip(parts, sizes, strict=False)]


@functools.cache
def _small(split: str) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels, _ = data.load("mnist", split)
    images = torch.as_tensor(images).reshape(-1, 1, 28, 28).float()
    return torch.nn.functional.avg_pool2d(images, 2).flatten(1), torch.as_tensor(labels).long()


def image_sets(
    sets: Sequence[int], samples: int, *, components: int | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Disjoint sets of MNIST images at 14 × 14: X (sets, samples, d), y (sets, samples), and the same of a test set.

    Images lose the mean and are divided by one number, so that the mean |x|² is d; ``components``: the leading
    principal components of the first 5,000, each with variance 1.
    """
    images, labels = _small("train")
    tests, answers = _small("test")
    mean = images[:5000].mean(0)
    images, tests = images - mean, tests - mean
    if components:
        _, s, V = torch.linalg.svd(images[:5000], full_matrices=False)
        turn = V[:components].T / (s[:components] / 5000**0.5)
    else:
        turn = torch.eye(196) / images[:5000].square().mean().sqrt()
    rows = [slice(samples * k, samples * (k + 1)) for k in sets]
    return torch.stack([images[r] @ turn for r in rows]), torch.stack([labels[r] for r in rows]), tests @ turn, answers
