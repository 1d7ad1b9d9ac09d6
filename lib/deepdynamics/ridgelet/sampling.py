"""Hidden units drawn where the ridgelet spectrum is large."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from deepdynamics._checks import Numbers
from deepdynamics.networks import generator
from deepdynamics.networks.draws import Seed
from deepdynamics.ridgelet.grids import cell_areas, coefficients, line, positive, spacing, vectors

Array = NDArray[np.float64]


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
    a, b = vectors("a", a), line("b", b)
    sizes, width = cell_areas(a, areas), spacing("b", b)
    mass = np.linalg.norm(coefficients(gamma, a, b), axis=2)
    sums = np.cumsum(mass if areas is None else mass * sizes[:, None])
    if not 0 < sums[-1] < np.inf:
        raise ValueError("gamma is 0 everywhere: coefficients with a positive finite sum of sizes are allowed")
    uniform = torch.rand(3, positive("count", count), generator=generator(seed), dtype=torch.float64).numpy()
    cells = np.searchsorted(sums, uniform[0] * sums[-1], side="right")
    rows, columns = np.divmod(cells, len(b))
    sampled_b = b[columns] + width * (uniform[2] - 0.5)
    if areas is not None:
        return a[rows] if a.shape[1] > 1 else a[rows, 0], sampled_b
    return a[rows, 0] + sizes[0] * (uniform[1] - 0.5), sampled_b
