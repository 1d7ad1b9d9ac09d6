"""The two ends of the spectrum of a loss's Hessian, by Lanczos' method on Hessian-vector products."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn

from deepdynamics._checks import count

__all__ = ["extreme_curvatures"]


def extreme_curvatures(
    model: nn.Module, loss: Callable[[nn.Module], Tensor], k: int = 3, *, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """The k largest and the k smallest eigenvalues of the Hessian by all parameters, each in descending order, and the
    norm of the gradient.

    loss: of the model, on the data that it closes over. A norm of the gradient that is not small says that the point
    is no critical point; a smallest eigenvalue clearly below 0 at one that is, that it is a saddle. Raises
    ``ValueError`` for a k below 1 or for a model of fewer than 2k + 1 parameters.

    >>> net = nn.Linear(2, 1)
    >>> X = torch.tensor([[2.0, 0.0], [0.0, 0.5]])
    >>> top, bottom, _ = extreme_curvatures(net, lambda m: m(X).square().mean(), k=1)
    >>> bool(top[0] > bottom[0] > -1e-5)
    True
    """
    k = count("k", k)
    parameters = [p for p in model.parameters() if p.requires_grad]
    size = sum(p.numel() for p in parameters)
    if size < 2 * k + 1:
        raise ValueError(f"k = {k}: a model of {size} parameters has room for at most {(size - 1) // 2}")
    value = loss(model)
    slope = torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters, create_graph=True)])

    def product(vector: NDArray[np.float64]) -> NDArray[np.float64]:
        direction = torch.as_tensor(vector.ravel()).to(slope)
        parts = torch.autograd.grad(slope, parameters, direction, retain_graph=True, materialize_grads=True)
        return torch.cat([g.flatten() for g in parts]).double().cpu().numpy()

    operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
    start = np.random.default_rng(seed).normal(size=size)
    ends = [eigsh(operator, k, which=end, v0=start, tol=1e-4, return_eigenvectors=False) for end in ("LA", "SA")]
    return np.sort(ends[0])[::-1], np.sort(ends[1])[::-1], float(slope.detach().norm())
