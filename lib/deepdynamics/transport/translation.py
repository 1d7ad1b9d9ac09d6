"""A flow as a deep network without backpropagation: each of its maps as a shallow network whose units are given."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from deepdynamics._checks import Array, Numbers, finite
from deepdynamics.activations import ActivationLike
from deepdynamics.ridgelet import ShallowNetwork, fit_outputs

__all__ = ["translate"]


def translate(
    maps: Sequence[Callable[[Array], Array]],
    x: Numbers,
    hidden: Callable[[int], tuple[Numbers, Numbers]],
    activation: ActivationLike,
) -> list[ShallowNetwork]:
    """One :class:`ShallowNetwork` a map, first map first; :func:`compose_daes` composes them.

    ``hidden(k)`` returns the hidden units a (units, d), b (units,) of layer k, drawn from the ridgelet transform of its
    map or otherwise; the output layer fits the map in the mean square over the points to which the maps before it carry
    x (n, d). Numpy. Raises ``ValueError`` as :func:`fit_outputs` does.

    >>> import numpy as np
    >>> x = np.linspace(-1, 1, 50)[:, None]
    >>> units = np.ones((9, 1)), np.linspace(-1, 1, 9)
    >>> layers = translate([lambda x: x**2, np.sqrt], x, lambda k: units, "relu")
    >>> bool(np.abs(layers[0](x) - x**2).max() < 0.01)
    True
    """
    points, layers = finite("x", x), []
    for k, g in enumerate(maps):
        a, b = hidden(k)
        image = finite(f"maps[{k}](x)", g(points))
        layers.append(fit_outputs(points, image, activation, a, b))
        points = image
    return layers
