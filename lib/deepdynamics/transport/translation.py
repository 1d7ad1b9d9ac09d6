"""A flow as a deep network without backpropagation: each of its maps as a shallow network whose units are given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deepdynamics._checks import Array, Numbers, finite
from deepdynamics.activations import ActivationLike
from deepdynamics.ridgelet import evaluate, output_weights

__all__ = ["ShallowStep", "translate"]


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
