r"""Isotropy: metrics in whose natural gradient every direction of function space is learned equally fast.

J G⁺Jᵀ/N = α I: then f_t - y = (1 - αη)^t (f_0 - y) in the NTK regime, and one step of η = 1/α arrives. Source: Karakida
& Osawa (2020). Their α of K-FAC is N·L; with the literal pseudo-inverse the last layer, whose signal is the
same for all samples, contributes 1 and not N, and their unit-wise α leaves out the output unit.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from deepdynamics import activations
from deepdynamics._checks import Array, Numbers, count, one_of
from deepdynamics._parametergram.model import opened, samples
from deepdynamics.activations import ActivationLike
from deepdynamics.naturalgradient.steps import KINDS, moves

__all__ = ["isotropy", "isotropy_defect"]


def isotropy(kind: str, depth: int, width: int, samples: int, activation: ActivationLike) -> float:
    """α of J G⁺Jᵀ/N = α I for a perceptron with ``depth`` = L weight layers, the last one linear, hidden layers of
    ``width`` M and N = ``samples`` inputs, where M ≥ N and inputs and signals of each layer are independent:

        exact 1,   layerwise L,   tridiagonal ⌈L/3⌉,   kfac N(L - 1) + 1,   unitwise γM(L - 1) + 1 .

    The first four are exact at any such width; the last is a mean for one output, with γ the share of active units: ½
    for ReLU, 1 where φ' ≠ 0 almost everywhere.

    Raises ``ValueError`` for another kind, sizes that are not positive integers, "tridiagonal" at L = 3s + 2, where the
    metric is singular, and "unitwise" with an activation whose share of active units depends on the variance.

    >>> [isotropy(kind, 3, 96, 8, "relu") for kind in ("exact", "layerwise", "tridiagonal", "kfac", "unitwise")]
    [1.0, 3.0, 1.0, 17.0, 97.0]
    """
    one_of("kind", kind, KINDS)
    L, M, N = count("depth", depth), count("width", width), count("samples", samples)
    if kind == "exact":
        return 1.0
    if kind == "layerwise":
        return float(L)
    if kind == "tridiagonal":
        if L % 3 == 2:
            raise ValueError(
                f"depth = {L}: the tridiagonal metric is singular at 3s + 2 layers; 3s or 3s + 1 is allowed"
            )
        return float(-(-L // 3))
    if kind == "kfac":
        return float(N * (L - 1) + 1)
    return _active(activation) * M * (L - 1) + 1.0


def isotropy_defect(model: nn.Module, X: Numbers, kind: str) -> float:
    """max |J G⁺Jᵀ/N - αI| over its entries, at samples X (N, …): 0 up to rounding where training with this metric is
    isotropic. α is that of :func:`isotropy`, with L the number of modules that have parameters of their own; of
    "unitwise" it is the mean of the diagonal.

    Raises ``ValueError`` as :func:`isotropy` and :meth:`deepdynamics.naturalgradient.NaturalGradient.step` do.

    >>> net = nn.Sequential(nn.Linear(3, 50), nn.Tanh(), nn.Linear(50, 1)).double()
    >>> isotropy_defect(net, torch.eye(3, dtype=torch.float64), "layerwise") < 1e-9
    True
    """
    one_of("kind", kind, KINDS)
    X = samples("X", X, model)
    size = len(X) * opened(model, X).outputs
    unit = torch.eye(size, dtype=torch.float64, device=X.device)
    response, depth = torch.zeros_like(unit), 0
    for move in moves(kind, model, X, unit, 0.0):
        response, depth = response + move.gain(), depth + 1
    unitwise = kind == "unitwise"
    alpha = float(response.diagonal().mean()) if unitwise else isotropy(kind, depth, 1, len(X), "linear")
    return float((response - alpha * unit).abs().max())


def _active(activation: ActivationLike) -> float:
    """The share of units with φ' ≠ 0, where the variance does not change it: 1, or ½ where φ' = 0 on one side."""
    phi = activations.get(activation)
    x = np.geomspace(1e-3, 1e4, 2001)  # each 0.8 % from the next
    with np.errstate(all="ignore"):
        sides = [_slopes(np.asarray(phi.slope(sign * x))) != 0 for sign in (-1.0, 1.0)]
    if not all(side.all() or not side.any() for side in sides) or not any(side.any() for side in sides):
        raise ValueError(
            f"activation {phi!r}: its share of active units depends on the variance; one of ReLU's kin, "
            "or one whose slope is never zero, is allowed"
        )
    return sum(float(side.all()) for side in sides) / 2


def _slopes(found: Array) -> Array:
    """Slopes at growing distances from 0, without zeros at the end that are the underflow of a tail: they follow a
    slope that is as good as zero, and no kink."""
    known = np.flatnonzero(found)
    if len(known) and abs(found[known[-1]]) < 1e-6 * np.abs(found[known]).max():
        return found[: known[-1] + 1]
    return found
