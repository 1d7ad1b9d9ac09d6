"""How good a code is: the accuracy of a linear classifier on it, on samples it has not seen."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deepdynamics import _checks as arrays
from deepdynamics._checks import Numbers

__all__ = ["ridge_accuracy"]

RIDGES = tuple(10.0**power for power in range(-8, 1))


def ridge_accuracy(
    codes: Numbers,
    labels: Numbers,
    test_codes: Numbers,
    test_labels: Numbers,
    *,
    ridges: Sequence[float] = RIDGES,
    validation: float = 0.2,
) -> Tensor:
    """Share of right answers (runs,) of a ridge regression onto the classes' indicators, for codes (runs, n, d).

    With centred codes H and indicators Y the classifier is argmax of (HᵀH + α I)⁻¹HᵀY, where α is ``ridges`` times the
    mean eigenvalue of HᵀH, so that the scale of a code does not matter. The ridge is chosen, for each run, by the
    accuracy on the last ``validation`` share of the samples after fitting to the others; then all are fitted. In
    float64. Equal ridges are tried in order; the first of the best is taken. Torch; lists and numpy arrays are made
    into tensors.

    Raises ``ValueError`` where shapes do not fit, for a ridge that is not positive, a share outside (0, 1), or
    codes that do not vary.

    >>> x = torch.linspace(-1, 1, 100)[torch.randperm(100, generator=torch.Generator().manual_seed(0))]
    >>> codes, labels = torch.stack((x, x**2), 1)[None], (x > 0.1).long()
    >>> bool(ridge_accuracy(codes[:, :80], labels[:80], codes[:, 80:], labels[80:]) > 0.9)
    True
    """
    codes, test_codes = arrays.tensor("codes", codes), arrays.tensor("test_codes", test_codes)
    labels, test_labels = arrays.labels("labels", labels), arrays.labels("test_labels", test_labels)
    if codes.ndim != 3 or labels.shape != codes.shape[1:2] or test_labels.shape != test_codes.shape[1:2]:
        raise ValueError(
            f"codes {tuple(codes.shape)}, labels {tuple(labels.shape)}, test_codes {tuple(test_codes.shape)}, "
            f"test_labels {tuple(test_labels.shape)}: (runs, n, d), (n,), (runs, m, d), (m,) are allowed"
        )
    if not ridges or min(ridges) <= 0:
        raise ValueError(f"ridges = {ridges}: positive numbers are allowed")
    held = round(validation * len(labels))
    if not 0 < held < len(labels):
        raise ValueError(f"validation = {validation}: a share of the {len(labels)} samples, neither none nor all")
    chosen = []
    for run, test in zip(codes, test_codes, strict=True):  # a run at a time: its codes in float64
        found = _fit_and_score(run[:-held], labels[:-held], run[-held:], labels[-held:], ridges)
        best = ridges[found.index(max(found))]
        chosen.append(_fit_and_score(run, labels, test, test_labels, [best])[0])
    return torch.tensor(chosen, dtype=torch.float64)


def _fit_and_score(H: Tensor, y: Tensor, T: Tensor, z: Tensor, ridges: Sequence[float]) -> list[float]:
    """Accuracy on (T, z) of the ridge regressions fitted to (H, y)."""
    H, T = H.double(), T.double()
    mean = H.mean(0)
    Y = torch.nn.functional.one_hot(y).double()
    H, offset = H - mean, Y.mean(0)
    squares, vectors = torch.linalg.eigh(H.T @ H)
    if squares[-1] <= 0:
        raise ValueError("codes do not vary from sample to sample: a classifier needs codes that do")
    projected, coordinates = vectors.T @ (H.T @ (Y - offset)), (T - mean) @ vectors
    found = []
    for ridge in ridges:
        weights = projected / (squares.clamp(min=0) + ridge * squares.mean())[:, None]
        found.append(float(((coordinates @ weights + offset).argmax(1) == z).double().mean()))
    return found
