"""Normalisation and moments of a power law with an exponential cut-off, of numbers and of integers. Numpy, float64."""

from __future__ import annotations

import math

import numpy as np

from deepdynamics._checks import Array

__all__ = ["moments", "sums"]


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)


def moments(slope: float, cut: float, top: float) -> tuple[float, Array]:
    """Logarithm of ∫ exp(-slope·y - cut·e^(y - top)) dy over y ≥ 0, and the means of y and e^(y - top) under that law.

    Gauss-Legendre on panels of at most one e-fold, up to where the cut-off leaves less than e^-700 of anything.

    >>> log_norm, (mean, _) = moments(2.0, 1e-12, 0.0)  # hardly cut off: e^-2y
    >>> round(math.exp(log_norm), 6), round(float(mean), 6)
    (0.5, 0.5)
    """
    end = max(top + math.log(700 / cut + 700 * abs(min(slope, 0.0))), 1.0)
    if slope > 0:
        end = min(end, max(50 / slope, 1.0))
    panels = math.ceil(max(end, 1) * max(1.0, min(slope, 20.0)))
    width = end / panels
    y = ((np.arange(panels) + 0.5)[:, None] * width + 0.5 * width * _NODES).ravel()
    weights = np.tile(0.5 * width * _WEIGHTS, panels)
    scaled = np.exp(np.minimum(y - top, 700.0))
    exponent = -slope * y - cut * scaled
    highest = float(exponent.max())
    density = weights * np.exp(exponent - highest)
    norm = float(density.sum())
    return highest + math.log(norm), np.array([density @ y, density @ scaled]) / norm


def sums(a: float, cut: float, top: float, xmin: float) -> tuple[float, Array]:
    """Logarithm of Σ (k/xmin)^-a e^(-cut·k/k_top) over k ≥ xmin, with k_top = xmin·e^top, and the means of log(k/xmin)
    and k/k_top under that law.

    The first 2048 terms one by one; the rest by the midpoint rule read backwards, Σ_{k≥K} f(k) = ∫_{K-½} f + f'(K -
    ½)/24 - …, whose next term is beyond float64 where f varies that little from k to k + 1, or is itself zero.

    >>> log_norm, _ = sums(2.0, 1e-12, 0.0, 1.0)
    >>> round(math.exp(log_norm), 6), round(math.pi**2 / 6, 6)
    (1.644934, 1.644934)
    """
    k = xmin + np.arange(2048.0)
    edge = k[-1] + 0.5
    log_edge = math.log(edge / xmin)
    y, high = np.log(k / xmin), np.exp(np.log(k / xmin) - top)
    log_tail, (mean_log, mean_high) = moments(a - 1, cut, top - log_edge)
    log_tail += math.log(edge) - a * log_edge
    exponent = -a * y - cut * high
    highest = max(float(exponent.max()), log_tail)
    direct, tail = np.exp(exponent - highest), math.exp(log_tail - highest)
    edge_high = math.exp(log_edge - top)
    value = math.exp(-a * log_edge - cut * edge_high - highest) / 24
    rate = -(a + cut * edge_high) / edge  # f'/f at the edge
    norm = direct.sum() + tail + value * rate
    first = direct @ y + tail * (mean_log + log_edge) + value * (rate * log_edge + 1 / edge)
    second = direct @ high + tail * mean_high + value * (rate * edge_high + edge_high / edge)
    return highest + math.log(norm), np.array([first, second]) / norm
