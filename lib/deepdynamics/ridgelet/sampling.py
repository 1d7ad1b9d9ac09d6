"""Hidden units drawn where the ridgelet spectrum is large, and the output weights that go with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from deepdynamics import _checks, activations
from deepdynamics._checks import Array, Numbers, finite
from deepdynamics.activations import ActivationLike
from deepdynamics.networks import generator
from deepdynamics.networks.draws import Seed
from deepdynamics.ridgelet.grids import cell_areas, coefficients, line, samples, spacing, vectors
from deepdynamics.ridgelet.pairs import AdmissiblePair


def sample_parameters(
    gamma: Numbers, a: Numbers, b: Numbers, count: int, seed: Seed, *, areas: Numbers | None = None
) -> tuple[Array, Array]:
    """``count`` parameters a (count,), b (count,) from the density that is proportional to \\|γ\\|, constant in every
    cell of a grid; where γ has outputs, to its norm over them.

    ``gamma`` (len(a), len(b)) or (len(a), len(b), outputs) on the midpoints ``a``, ``b`` of equal cells; ``seed`` an
    integer or a generator. Inputs of dimension m > 1 have ``a`` (len(a), m) with the ``areas`` of its cells
    (:func:`polar_grid`): a (count, m) are then points of the grid, and only b varies within its cell. Sonoda and Murata
    (2013), "Nonparametric weight initialization of neural networks via integral representation". Raises ``ValueError``
    where γ is 0 everywhere, and for grids and shapes as :func:`reconstruct`.

    >>> sampled_a, sampled_b = sample_parameters([[0.0, 0.0], [0.0, 3.0]], [-1.0, 1.0], [-2.0, 2.0], 100, seed=0)
    >>> bool((sampled_a > 0).all()), bool((np.abs(sampled_b - 2) <= 2).all())
    (True, True)
    """
    sampled_a, sampled_b, _, _ = _draw(gamma, a, b, count, seed, areas)
    return sampled_a, sampled_b


def even_parameters(reach: float, count: int, seed: Seed, *, radius: float = 1.0) -> tuple[Array, Array]:
    """``count`` parameters a, b (count,) that know no function: a even in [-``reach``, ``reach``], and b = a u with the
    place u even in [-``radius``, ``radius``]. What :func:`sample_parameters` has to beat.

    ``seed`` an integer or a generator. Raises ``ValueError`` for a reach and a radius that are not positive and finite.

    >>> a, b = even_parameters(5.0, 100, seed=0)
    >>> bool((np.abs(a) <= 5).all()), bool((np.abs(b) <= np.abs(a)).all())
    (True, True)
    """
    steepest = _checks.number("reach", reach, _checks.positive)
    farthest = _checks.number("radius", radius, _checks.positive)
    uniform = torch.rand(2, _checks.count("count", count), generator=generator(seed), dtype=torch.float64).numpy()
    a = steepest * (2 * uniform[0] - 1)
    return a, a * farthest * (2 * uniform[1] - 1)


def sample_network(
    gamma: Numbers, pair: AdmissiblePair | ActivationLike, a: Numbers, b: Numbers, count: int, seed: Seed
) -> tuple[Array, Array, Array]:
    r"""A network of ``count`` hidden units whose mean over the draws is :func:`reconstruct`: a, b (count,) as
    :func:`sample_parameters` draws them, and output weights c (count,), or (count, outputs) as γ has them,

    .. math:: c_j = \frac{1}{K p} \frac{\gamma(a_j, b_j)}{|\gamma(a_j, b_j)|} \int |\gamma|\, da\, db .

    Its error falls like p^{-1/2} in the number p of units. Mean and integral are those of a γ that is constant in
    every cell. Arguments and errors as :func:`sample_parameters`; an activation in place of the pair has K = 1.

    >>> a, b, c = sample_network([[0.0, 0.0], [0.0, -3.0]], "relu", [-1.0, 1.0], [-2.0, 2.0], 4, seed=0)
    >>> c.tolist()
    [-6.0, -6.0, -6.0, -6.0]
    """
    sampled_a, sampled_b, directions, total = _draw(gamma, a, b, count, seed)
    c = directions * total / (len(sampled_a) * (pair.constant if isinstance(pair, AdmissiblePair) else 1.0))
    return sampled_a, sampled_b, c if np.ndim(gamma) == 3 else c[:, 0]


def output_weights(
    x: Numbers, y: Numbers, activation: ActivationLike, a: Numbers, b: Numbers, *, decay: float = 1e-6
) -> Array:
    """The c that minimise (1/n) Σ_x (y - Σ_j c_j σ(a_j·x - b_j))² + ``decay`` Σ_j c_j², for hidden units that stay as
    they are: (p,), or (p, outputs) as y has them.

    ``x`` (n,) or (n, m), ``y`` (n,) or (n, outputs), ``a`` (p,) or (p, m), ``b`` (p,). Many networks, ``b`` (count, p)
    and ``a`` with that first axis, have c with that first axis. Raises ``ValueError`` for shapes that do not fit and a
    decay that is negative.

    >>> output_weights([0.0, 1.0, 2.0], [0.0, 3.0, 6.0], "relu", [1.0], [0.0], decay=0.0).round(9).tolist()
    [3.0]
    >>> output_weights([0.0, 1.0], [0.0, 3.0], "relu", [[1.0], [2.0]], [[0.0], [0.0]], decay=0.0).round(9).tolist()
    [[3.0], [1.5]]
    """
    if np.ndim(b) == 2:
        return np.stack([output_weights(x, y, activation, *units, decay=decay) for units in _networks(a, b)])
    points, array = vectors("x", x), finite("y", y)
    if not 0 <= decay < np.inf:
        raise ValueError(f"decay = {decay}: a finite number >= 0 is allowed")
    values = samples("y", array, len(points))
    units = _units(activation, a, b, points)
    root = np.sqrt(len(points) * decay) * np.eye(units.shape[1])
    rows, targets = np.concatenate([units, root]), np.concatenate([values, np.zeros((len(root), values.shape[1]))])
    found = np.linalg.lstsq(rows, targets, rcond=None)[0]
    return np.asarray(found if array.ndim == 2 else found[:, 0])


def evaluate(activation: ActivationLike, a: Numbers, b: Numbers, c: Numbers, x: Numbers) -> Array:
    """The network Σ_j c_j σ(a_j·x - b_j) at ``x`` (n,) or (n, m): (n,), or (n, outputs) as c has them.

    ``a`` (p,) or (p, m), ``b`` (p,), ``c`` (p,) or (p, outputs). Raises ``ValueError`` for shapes that do not fit.

    >>> evaluate("relu", [1.0, -1.0], [0.0, 0.0], [1.0, 1.0], [-2.0, 3.0]).tolist()
    [2.0, 3.0]
    """
    weights = finite("c", c)
    found = _units(activation, a, b, vectors("x", x)) @ samples("c", weights, len(line("b", b)))
    return np.asarray(found if weights.ndim == 2 else found[:, 0])


def residual(x: Numbers, y: Numbers, activation: ActivationLike, a: Numbers, b: Numbers, *, decay: float = 1e-6) -> Any:
    """The root mean square of y - Σ_j c_j σ(a_j·x - b_j) with the c of :func:`output_weights`, over points and outputs:
    how well these hidden units can do; (count,) of them for many networks. Arguments and errors are those of
    :func:`output_weights`.

    >>> round(residual([0.0, 1.0, 2.0], [0.0, 3.0, 6.0], "relu", [1.0], [0.0], decay=0.0), 9)
    0.0
    """
    if np.ndim(b) == 2:
        return np.array([residual(x, y, activation, *units, decay=decay) for units in _networks(a, b)])
    c = output_weights(x, y, activation, a, b, decay=decay)
    return float(np.sqrt(np.mean((evaluate(activation, a, b, c, x) - finite("y", y)) ** 2)))


def _networks(a: Numbers, b: Numbers) -> Iterator[tuple[Array, Array]]:
    """Hidden units (count, p) and (count, p) or (count, p, m), network by network."""
    hidden, shift = finite("a", a), finite("b", b)
    if hidden.shape[:2] != shift.shape or not len(shift):
        raise ValueError(f"a, b of shapes {hidden.shape}, {shift.shape}: one or more networks of one size are allowed")
    return zip(hidden, shift, strict=True)


def _units(activation: ActivationLike, a: Numbers, b: Numbers, points: Array) -> Array:
    """σ(a_j·x - b_j): (n, p)."""
    hidden, shift = vectors("a", a, points.shape[1]), line("b", b)
    if len(hidden) != len(shift):
        raise ValueError(f"a has {len(hidden)} units and b {len(shift)}: as many are allowed")
    return np.asarray(activations.get(activation)(points @ hidden.T - shift))


def _draw(
    gamma: Numbers, a: Numbers, b: Numbers, count: int, seed: Seed, areas: Numbers | None = None
) -> tuple[Array, Array, Array, float]:
    """Parameters a, b, the direction of γ there (count, outputs), and the integral of the size of γ."""
    a, b = vectors("a", a), line("b", b)
    cells, width = cell_areas(a, areas), spacing("b", b)
    values = coefficients(gamma, a, b)
    sizes = np.linalg.norm(values, axis=2)
    sums = np.cumsum(sizes if areas is None else sizes * cells[:, None])
    if not 0 < sums[-1] < np.inf:
        raise ValueError("gamma is 0 everywhere: coefficients with a positive finite sum of sizes are allowed")
    uniform = torch.rand(3, _checks.count("count", count), generator=generator(seed), dtype=torch.float64).numpy()
    rows, columns = np.divmod(np.searchsorted(sums, uniform[0] * sums[-1], side="right"), len(b))
    directions = values[rows, columns] / sizes[rows, columns, None]
    sampled_b = b[columns] + width * (uniform[2] - 0.5)
    if areas is None:
        sampled_a = a[rows, 0] + cells[0] * (uniform[1] - 0.5)
        return sampled_a, sampled_b, directions, float(sums[-1] * cells[0] * width)
    return a[rows] if a.shape[1] > 1 else a[rows, 0], sampled_b, directions, float(sums[-1] * width)
