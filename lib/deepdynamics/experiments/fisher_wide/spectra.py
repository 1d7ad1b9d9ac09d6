"""Random networks of the chapter and what it reads off their spectra."""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from deepdynamics.networks import MLP

__all__ = ["eigenvalues", "exponent", "gradients", "inputs", "lead", "network"]


def inputs(samples: int, width: int, seed: int) -> Tensor:
    """Independent Gaussian inputs (samples, width), apart from those of the network with the same seed."""
    return torch.randn(samples, width, generator=torch.Generator().manual_seed(1000 + seed))


def network(width: int, outputs: int, seed: int) -> MLP:
    """A ReLU network with three layers of weights, as wide at its input, of variances 2 and 0.1."""
    return MLP((width, width, width, outputs), "relu", weight_var=2.0, bias_var=0.1, seed=seed)


def eigenvalues(dual: Tensor, count: int | None = None) -> NDArray[np.float64]:
    """All eigenvalues of a symmetric matrix, or the ``count`` largest ones, in descending order.

    >>> eigenvalues(torch.diag(torch.tensor([1.0, 3.0, 2.0])))
    array([3., 2., 1.])
    """
    matrix = dual.double().numpy()
    start = np.random.default_rng(0).normal(size=len(matrix))
    found = np.linalg.eigvalsh(matrix) if count is None else eigsh(matrix, count, v0=start, return_eigenvectors=False)
    return np.sort(found)[::-1]


def exponent(values: ArrayLike, widths: ArrayLike) -> NDArray[np.float64]:
    """The slope of log ``values`` (repetitions, widths) against log ``widths``, one for each repetition.

    >>> exponent([[1.0, 4.0], [2.0, 4.0]], [10, 20]).round(6)
    array([2., 1.])
    """
    return np.polyfit(np.log(widths), np.log(values).T, 1)[0]


def gradients(model: nn.Module, X: Tensor) -> Tensor:
    """J, the gradients of all outputs at all samples by all parameters, (T·C, P)."""
    rows = jacrev(lambda p: functional_call(model, p, X).flatten())(dict(model.named_parameters()))
    return torch.cat([row.flatten(1) for row in rows.values()], 1).detach()


def lead(spectrum: NDArray[np.float64], count: int, among: int = 20) -> float:
    """By how much the gap after the ``count``-th eigenvalue exceeds the other gaps, ``among`` in all (logarithms).

    >>> round(lead(np.array([8.0, 8.0, 2.0, 1.0]), 2, among=3), 3)
    0.693
    """
    gaps = np.log(spectrum[:among] / spectrum[1 : among + 1])
    return float(gaps[count - 1] - np.delete(gaps, count - 1).max())
