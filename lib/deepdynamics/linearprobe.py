"""How good a code is: the accuracy of a linear classifier on it, on samples it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deepdynamics import _checks as arrays
from deepdynamics._checks import Numbers

__all__ = ["LinearProbe", "logistic_probe", "ridge_accuracy"]

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


@dataclass(frozen=True)
class LinearProbe:
    """Linear classifiers of codes, one a run: the answer is the largest of codes · ``weights`` (runs, d, classes) +
    ``offsets`` (runs, 1, classes).

    >>> probe = LinearProbe(torch.tensor([[[1.0, -1.0]]]), torch.zeros(1, 1, 2))
    >>> probe.accuracy(torch.tensor([[[2.0], [-2.0], [-1.0]]]), torch.tensor([[0, 1, 0]]))
    tensor([0.6667], dtype=torch.float64)
    """

    weights: Tensor
    offsets: Tensor

    def accuracy(self, codes: Numbers, labels: Numbers) -> Tensor:
        """Share of right answers (runs,), for codes (runs, n, d) and labels (runs, n)."""
        found = (arrays.tensor("codes", codes).to(self.weights.dtype) @ self.weights + self.offsets).argmax(-1)
        answers = arrays.labels("labels", labels)
        if answers.shape != found.shape:
            raise ValueError(f"labels of shape {tuple(answers.shape)}: {tuple(found.shape)}, one a code, is allowed")
        return (found == answers).double().mean(1)


def logistic_probe(codes: Numbers, labels: Numbers, *, steps: int = 200) -> LinearProbe:
    """Multinomial logistic regression of codes (runs, n, d) on labels (runs, n): what the last layer of a classifier
    would find, were it trained alone. It minimises the sum of the cross-entropies and |W|²/2 by at most ``steps`` of
    L-BFGS, all runs together, in float64, with centred codes in units of their root mean square in each run, so that
    their scale does not matter. The penalty is the one that scikit-learn takes where it is given none.

    Raises ``ValueError`` where shapes do not fit, and for codes that do not vary.

    >>> x = torch.linspace(-1, 1, 100)[None, :, None]
    >>> labels = (x[..., 0] > 0.1).long()
    >>> bool(logistic_probe(x, labels).accuracy(x, labels) > 0.95)
    True
    """
    H, y = arrays.tensor("codes", codes).detach().double(), arrays.labels("labels", labels).long()
    if H.ndim != 3 or y.shape != H.shape[:2]:
        raise ValueError(f"codes {tuple(H.shape)}, labels {tuple(y.shape)}: (runs, n, d), (runs, n) are allowed")
    if not torch.isfinite(H).all() or (y < 0).any():
        raise ValueError("codes, labels: finite codes and labels from 0 are allowed")
    mean = H.mean(1, keepdim=True)
    scale = (H - mean).square().mean((1, 2), keepdim=True).sqrt()
    if (scale <= 0).any():
        raise ValueError("codes do not vary from sample to sample: a classifier needs codes that do")
    H, goal = (H - mean) / scale, y.flatten()
    W = H.new_zeros(len(H), H.shape[2], int(y.max()) + 1).requires_grad_()
    c = H.new_zeros(len(H), 1, W.shape[2]).requires_grad_()
    search = torch.optim.LBFGS([W, c], max_iter=steps, tolerance_grad=1e-4, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        found = torch.nn.functional.cross_entropy(torch.baddbmm(c, H, W).flatten(0, 1), goal, reduction="sum")
        found = found + W.square().sum() / 2
        found.backward()
        return found

    with torch.enable_grad():
        search.step(loss)  # type: ignore[no-untyped-call]
    weights = W.detach() / scale
    return LinearProbe(weights, c.detach() - mean @ weights)


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
