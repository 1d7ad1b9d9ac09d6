"""Four numbers of a trained perceptron that have been proposed to predict its generalisation."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["generalisation_measures"]


def generalisation_measures(weights: Sequence[Tensor], start: Sequence[Tensor], margin: float) -> dict[str, float]:
    """Spectral product over margin, path norm over margin, distance from the start, and 1/margin.

    weights, start: the matrices (out, in), first layer first, after and before training; margin: of the training
    answers, in units of the output, above 0. Spectral: Π‖W‖₂ / margin. Path norm: the root of the sum over all paths
    from an input to an output of the product of the squared weights, over the margin. Distance: the
    Frobenius norm of all changes.
    Raises ``ValueError`` for a margin that is not above 0. (jiang2020fantastic compares forty such measures.)

    >>> W = [torch.eye(2), 3 * torch.eye(2)]
    >>> {k: round(v, 3) for k, v in generalisation_measures(W, W, margin=1.5).items()}
    {'spectral': 2.0, 'path': 2.828, 'distance': 0.0, 'inverse margin': 0.667}
    """
    if not margin > 0:
        raise ValueError(f"margin = {margin}: must be above 0; measure where the training answers are right")
    paths = torch.ones(weights[0].shape[1], dtype=weights[0].dtype)
    product = 1.0
    for W in weights:
        paths = W.square() @ paths
        product *= float(torch.linalg.matrix_norm(W, 2))
    moved = sum(float((W - W0).square().sum()) for W, W0 in zip(weights, start, strict=True))
    return {
        "spectral": product / margin,
        "path": float(paths.sum()) ** 0.5 / margin,
        "distance": moved**0.5,
        "inverse margin": 1 / margin,
    }
