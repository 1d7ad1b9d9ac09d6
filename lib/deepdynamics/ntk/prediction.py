"""What a network that stays near its linearisation learns: its outputs over time, and its answer to new points."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from deepdynamics._checks import Array, Numbers, count, finite, number, plain, positive, real

__all__ = ["kernel_prediction", "linearised_outputs"]


def linearised_outputs(
    theta: Numbers,
    f0: Numbers,
    y: Numbers,
    times: Numbers,
    *,
    learning_rate: float,
    samples: int | None = None,
) -> Array:
    """f_t = y + e^{-ηΘt/N}(f_0 - y): the outputs on the training points under gradient flow on Σ‖f - y‖²/(2N), N =
    ``samples``, by default len(theta) (Lee et al. 2019, whose loss has no 1/N).

    ``theta`` (n, n) is symmetric and positive semidefinite; ``f0`` and ``y`` have the same shape, (n,), or (n, C) for C
    outputs that share the kernel, or are one number for all; the result is (len(times), n) or (len(times), n, C). For
    the kernel (N·C, N·C) of several outputs all rows are entries, sample-major, and ``samples`` is N. At time inf only
    what the kernel does not see is left of the error.

    Raises ``ValueError`` for a theta that is not symmetric or has an eigenvalue that is negative beyond rounding,
    negative times, a learning rate that is not positive, and shapes that do not fit.

    >>> linearised_outputs(np.diag([2.0, 0.0]), [0.0, 0.0], [1.0, 1.0], [0.0, np.inf], learning_rate=0.1) + 0.0
    array([[0., 0.],
           [1., 0.]])
    """
    values, vectors = _eigen(_kernel("theta", theta), _rounding(theta))
    f0, y = finite("f0", f0), finite("y", y)
    shape = _columns(f0, y, len(values))
    N = len(values) if samples is None else count("samples", samples)
    rates = number("learning_rate", learning_rate, positive) * values / N
    t = np.atleast_1d(real("times", times))
    if t.ndim != 1 or not (t >= 0).all():
        raise ValueError(f"times = {t}: numbers from 0 to inf are allowed")
    with np.errstate(invalid="ignore"):
        left = np.where(rates > 0, np.exp(-rates * t[:, None]), 1.0)
    error = vectors.T @ np.broadcast_to(f0 - y, shape)
    decayed = left.reshape(left.shape + (1,) * (len(shape) - 1)) * error
    return np.asarray(y + np.einsum("ij,tj...->ti...", vectors, decayed, optimize=True))


def kernel_prediction(
    theta_test: Numbers, theta: Numbers, y: Numbers, f0: Numbers = 0.0, f0_test: Numbers = 0.0
) -> Array:
    """f_0(x') + Θ(x', X) Θ(X, X)⁻¹ (y - f_0(X)): the outputs at new points after gradient flow for all time (Lee et al.
    2019); with f0 = f0_test = 0 kernel regression without a ridge.

    ``theta_test`` (m, n), ``theta`` (n, n) symmetric and positive semidefinite, ``y`` and ``f0`` of one shape, (n,) or
    (n, C), or one number, ``f0_test`` as the result or one number -> (m,) or (m, C). A theta that is singular to
    rounding has its pseudo-inverse: the regression of least norm, which is where gradient flow ends.

    Raises ``ValueError`` as :func:`linearised_outputs` does.

    >>> kernel_prediction([[1.0, 1.0]], np.diag([1.0, 2.0]), [3.0, 4.0])
    array([5.])
    """
    kernel = _kernel("theta", theta)
    rounding, theta = _rounding(theta), kernel
    theta_test = finite("theta_test", theta_test)
    y, f0, f0_test = finite("y", y), finite("f0", f0), finite("f0_test", f0_test)
    if theta_test.ndim != 2 or theta_test.shape[1] != len(theta):
        raise ValueError(f"theta_test of shape {theta_test.shape}: (m, {len(theta)}) is allowed")
    shape = _columns(f0, y, len(theta))
    change = theta_test @ _solve(theta, np.broadcast_to(y - f0, shape), rounding)
    if f0_test.shape not in ((), change.shape):
        raise ValueError(f"f0_test of shape {f0_test.shape}: {change.shape} is allowed")
    return np.asarray(f0_test + change)


def _solve(theta: Array, right: Array, rounding: float) -> Array:
    """Θ⁺ right: by Cholesky's method where Θ is regular, on its eigenvectors where it is not."""
    try:
        factor = scipy.linalg.cho_factor(theta)
    except np.linalg.LinAlgError:
        pass
    else:
        condition, _ = scipy.linalg.lapack.dpocon(factor[0], np.abs(theta).sum(0).max(), uplo="L" if factor[1] else "U")
        if condition > rounding:
            return np.asarray(scipy.linalg.cho_solve(factor, right))
    values, vectors = _eigen(theta, rounding)
    inverse = np.divide(1, values, out=np.zeros_like(values), where=values > 0)
    return np.asarray(vectors @ (inverse * (vectors.T @ right).T).T)


def _eigen(kernel: Array, rounding: float) -> tuple[Array, Array]:
    """Eigenvalues and vectors, those that are 0 to rounding exactly 0."""
    values, vectors = np.linalg.eigh(kernel)
    largest = float(np.abs(values).max())
    if values[0] < -max(rounding, 1e-8) * largest:
        raise ValueError(f"theta has an eigenvalue of {values[0]:.3g}: a positive semidefinite kernel is allowed")
    return np.where(values > rounding * largest, values, 0.0), vectors


def _kernel(name: str, value: Numbers) -> Array:
    K = finite(name, value)
    if K.ndim != 2 or K.shape[0] != K.shape[1] or not len(K):
        raise ValueError(f"{name} of shape {K.shape}: a square matrix is allowed")
    if np.abs(K - K.T).max() > 1e-4 * np.abs(K).max():
        raise ValueError(f"{name} differs from its transpose: a symmetric kernel is allowed")
    return (K + K.T) / 2


def _rounding(kernel: Numbers) -> float:
    """Of a kernel's eigenvalues over the largest, in the type in which its entries were kept."""
    entries = np.asarray(plain(kernel))
    kept = entries.dtype if entries.dtype == np.float32 else np.dtype(np.float64)
    return float(10 * np.sqrt(len(entries)) * np.finfo(kept).eps)


def _columns(f0: Array, y: Array, n: int) -> tuple[int, ...]:
    """The shape (n,) or (n, C) of the two; a single number is one for all."""
    shapes = {each.shape for each in (f0, y) if each.ndim}
    if len(shapes) > 1:
        raise ValueError(
            f"f0 of shape {f0.shape} beside y of shape {y.shape}: the same shape, or one number, is allowed"
        )
    for name, each in (("f0", f0), ("y", y)):
        if each.ndim > 2 or (each.ndim and len(each) != n):
            raise ValueError(f"{name} of shape {each.shape}: ({n},) or ({n}, C) is allowed")
    return shapes.pop() if shapes else (n,)
