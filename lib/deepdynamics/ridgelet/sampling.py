"""Hidden units drawn where the ridgelet spectrum is large."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from deepdynamics._checks import Numbers
from deepdynamics.networks import generator
from deepdynamics.networks.draws import Seed
from deepdynamics.ridgelet.grids import coefficients, line, positive, spacing

Array = NDArray[np.float64]


def sample_parameters(gamma: Numbers, a: Numbers, b: Numbers, count: int, seed: Seed) -> tuple[Array, Array]:
    """``count`` parameters a, b, each (count,), from the density that is constant in every cell and proportional to
    \\|γ\\| there (with outputs: to the norm of γ over them).

    ``gamma`` (len(a), len(b)) or (len(a), len(b), outputs) on the midpoints ``a``, ``b`` of equal cells, inputs of
    dimension 1; ``seed`` an integer or a generator. Sonoda and Murata (2013), "Nonparametric weight initialization of
    neural networks via integral representation". Raises ``ValueError`` where γ is 0 everywhere, and for grids and
    shapes as :func:`reconstruct`.

    >>> sampled_a, sampled_b = sample_parameters([[0.0, 0.0], [0.0, 3.0]], [-1.0, 1.0], [-2.0, 2.0], 100, seed=0)
    >>> bool((sampled_a > 0).all()), bool((np.abs(sampled_b - 2) <= 2).all())
    (True, True)
    """
    a, b = line("a", a), line("b", b)
    widths = spacing("a", a), spacing("b", b)
    sums = np.cumsum(np.linalg.norm(coefficients(gamma, a, b), axis=2))
    if not 0 < sums[-1] < np.inf:
        raise ValueError("gamma is 0 everywhere: coefficients with a positive finite sum of sizes are allowed")
    uniform = torch.rand(3, positive("count", count), generator=generator(seed), dtype=torch.float64).numpy()
    cells = np.searchsorted(sums, uniform[0] * sums[-1], side="right")
    rows, columns = np.divmod(cells, len(b))
    return a[rows] + widths[0] * (uniform[1] - 0.5), b[columns] + widths[1] * (uniform[2] - 0.5)
