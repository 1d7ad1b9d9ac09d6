"""A flow as a deep network, each of its maps as a shallow one: by least squares where the hidden units are given; and,
as a rival, with all weights trained on the same exact pairs of points and images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from deepdynamics._batched import Adam
from deepdynamics._checks import Array, Numbers, count, finite
from deepdynamics.activations import ActivationLike
from deepdynamics.networks import Seed, generator
from deepdynamics.ridgelet import evaluate, output_weights

__all__ = ["ShallowStep", "train_steps", "translate"]

BATCH, RATE = 200, 2e-2


@dataclass(frozen=True)
class ShallowStep:
    """x ↦ x + Σ_j c_j φ(a_j·x - b_j): ``a`` (units, d), ``b`` (units,), ``c`` (units, d); numpy, (n, d) -> (n, d).

    >>> ShallowStep("relu", [[1.0]], [0.0], [[2.0]])([[-1.0], [1.0]]).tolist()
    [[-1.0], [3.0]]
    """

    activation: ActivationLike
    a: Numbers
    b: Numbers
    c: Numbers

    def __call__(self, x: Numbers) -> Array:
        points = finite("x", x)
        return points + evaluate(self.activation, self.a, self.b, self.c, points)


def translate(
    maps: Sequence[Callable[[Array], Array]],
    x: Numbers,
    hidden: Callable[[int], tuple[Numbers, Numbers]],
    activation: ActivationLike,
    *,
    decay: float = 1e-8,
) -> list[ShallowStep]:
    """One :class:`ShallowStep` a map, first map first; :func:`compose_daes` composes them.

    ``hidden(k)`` returns the hidden units a (units, d), b (units,) of layer k, drawn from the ridgelet transform of its
    map or otherwise. The output weights fit the displacement g(x) - x, by :func:`deepdynamics.ridgelet.output_weights`
    with its ``decay``, over the points to which the maps before it carry x (n, d). Numpy. Raises ``ValueError`` for
    shapes that do not fit, and for maps that are not finite there.

    >>> import numpy as np
    >>> x = np.linspace(0, 1, 50)[:, None]
    >>> units = np.ones((9, 1)), np.linspace(-0.125, 0.875, 9)
    >>> layers = translate([lambda x: x**2, np.sqrt], x, lambda k: units, "relu")
    >>> bool(np.abs(layers[0](x) - x**2).max() < 0.01)
    True
    """
    points, layers = finite("x", x), []
    for k, g in enumerate(maps):
        a, b = hidden(k)
        image = finite(f"maps[{k}](x)", g(points))
        layers.append(
            ShallowStep(activation, a, b, output_weights(points, image - points, activation, a, b, decay=decay))
        )
        points = image
    return layers


def train_steps(x: Numbers, y: Numbers, units: int, *, steps: int, seed: Seed) -> list[ShallowStep]:
    """For each run a :class:`ShallowStep` of ReLUs whose weights, hidden ones too, are trained to carry ``x`` (runs, n,
    d) to ``y``, of the same shape: Adam on the mean square, batches of 200, a rate that falls linearly to 0, from
    a, b ~ N(0, 1) and output weights of 0. The runs share one stream of random numbers: what a run draws depends on how
    many there are. Raises ``ValueError`` for shapes that do not fit.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(1, 500, 2))
    >>> (layer,) = train_steps(x, x / 2, 20, steps=300, seed=0)
    >>> bool(np.abs(layer(x[0]) - x[0] / 2).mean() < 0.05)
    True
    """
    points, images = (torch.as_tensor(finite(name, value)).float() for name, value in (("x", x), ("y", y)))
    if points.ndim != 3 or points.shape != images.shape or points.numel() == 0:
        raise ValueError(f"x, y of shapes {tuple(points.shape)}, {tuple(images.shape)}: one (runs, n, d) is allowed")
    (runs, n, d), draw, total = points.shape, generator(seed), count("steps", steps)
    a, b = torch.randn((runs, count("units", units), d), generator=draw), torch.randn((runs, 1, units), generator=draw)
    theta = torch.cat([torch.cat([a.mT, -b], 1).flatten(1), torch.zeros(runs, units * d)], 1)
    gradient = torch.empty_like(theta)
    (hidden, output), (slope_hidden, slope_output) = (
        (flat[:, : (d + 1) * units].view(runs, d + 1, units), flat[:, (d + 1) * units :].view(runs, units, d))
        for flat in (theta, gradient)
    )
    data, rows = torch.cat([points, torch.ones(runs, n, 1), images - points], -1), torch.arange(runs)[:, None]
    adam = Adam(theta, torch.empty(runs))
    for step in range(total):
        batch, goal = data[rows, torch.randint(n, (runs, BATCH), generator=draw)].split([d + 1, d], -1)
        h = torch.bmm(batch, hidden).relu_()
        delta = torch.bmm(h, output).sub_(goal).mul_(2 / (BATCH * d))
        slope_output.copy_(torch.bmm(h.mT, delta))
        slope_hidden.copy_(torch.bmm(batch.mT, torch.bmm(delta, output.mT).mul_(h.sign_())))
        adam.rate.fill_(RATE * (1 - step / total))
        adam(gradient)
    A, B, C = (part.double().numpy() for part in (hidden[:, :d].mT, -hidden[:, d], output))
    return [ShallowStep("relu", A[r], B[r], C[r]) for r in range(runs)]
