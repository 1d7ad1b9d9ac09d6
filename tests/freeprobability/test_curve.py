"""The trapezoid rule along a curve with its poles, beside closed forms and another contour."""

import math

import numpy as np
import pytest
from deepdynamics.freeprobability import DerivativeLaw, JacobianSpectrum, fuss_catalan_density
from deepdynamics.freeprobability.curve import Curve
from scipy.special import erf, erfc, wofz

NODES = np.linspace(-9.5, 9.5, 1201)
STEP = NODES[1] - NODES[0]


def squared_normal(shift):
    """The law of z², z standard normal, from nodes of which none is at zero, or one."""
    g = NODES + shift * STEP
    return Curve(g, np.exp(-(g**2) / 2) / math.sqrt(2 * math.pi) * STEP)


def exact(N):
    """E 1/(N - z²) = -i √(π/2) w(√(N/2))/√N, with w the Faddeeva function."""
    return -1j * math.sqrt(math.pi / 2) * wofz(np.sqrt(N / 2)) / np.sqrt(N)


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_transform_of_a_squared_normal_variable(shift):
    """On a node, beside it, between two, some steps above and at zero: to rounding."""
    node = 1.0 + shift * STEP - (1.0 / STEP - round(1.0 / STEP)) * STEP
    beside = STEP * np.array([0, 1e-12, 1e-6, 1e-3, 0.1, 0.24, 0.26, 0.5, 0.7])
    up = STEP * 1j * np.array([1e-12, 1e-6, 0.1, 0.3, 1, 3, 3.99, 4.01, 10])
    s = (node + beside[:, None] + up).ravel()
    near_zero = np.geomspace(1e-14, 0.1, 40)[:, None] * np.exp(1j * np.array([1e-9, 0.5, 1.5, 3.0, math.pi - 1e-9]))
    N = np.concatenate([s**2, near_zero.ravel()])
    m, more, slope = squared_normal(shift).moments(N)
    # interpolation from nine nodes leaves some 1e-13, next to zero of its own size
    np.testing.assert_allclose(more, N * exact(N), rtol=1e-10)
    np.testing.assert_allclose(m, more - 1, atol=1e-12)
    size = 1e-4
    after, before = (squared_normal(shift).moments(N * (1 + sign * size))[0] for sign in (1, -1))
    smooth = np.abs(N) > 1e-2
    np.testing.assert_allclose(
        slope[smooth], ((after - before) / (2 * size * N))[smooth], rtol=1e-4
    )  # of central differences


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_logarithm_counts_what_lies_above(shift):
    """Im E log(1 - d/(x + i0)) = π P(d > x) - 0, to what the second term of the expansion leaves."""
    x = np.geomspace(1e-8, 30, 200)
    above = squared_normal(shift).logarithm(x + 1e-14j * x).imag / math.pi
    np.testing.assert_allclose(above, erfc(np.sqrt(x / 2)), rtol=1e-5, atol=1e-9)


# The same laws on another contour: z + i y(z) with y = -c d'(z) has all poles on one side, and needs no correction


def normal(x):
    return np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


SLOPES = {  # φ' and φ''
    "tanh": (lambda x: np.cosh(x) ** -2.0, lambda x: -2 * np.tanh(x) * np.cosh(x) ** -2.0),
    "gelu": (lambda x: (1 + erf(x / math.sqrt(2))) / 2 + x * normal(x), lambda x: (2 - x**2) * normal(x)),
    "sin": (np.cos, lambda x: -np.sin(x)),
}


def moved(activation, q, size=0.15, count=8001):
    """d and weights (count,), complex, with E f(d) their sum for all f(d) = 1/(N - d) with N above the real axis."""
    (first, second), root = SLOPES[activation], math.sqrt(q)
    z = np.linspace(-9.5, 9.5, count)
    bend = 2 * first(root * z) * second(root * z)
    y = -size / root * bend / np.abs(bend).max()
    step = 1e-20j  # the derivative of y by a complex step
    turn = -size / root * (2 * first(root * z + root * step) * second(root * z + root * step)).imag / 1e-20
    contour = z + 1j * y
    weights = normal(contour) * (1 + 1j * turn / np.abs(bend).max()) * (z[1] - z[0])
    return first(root * contour) ** 2, weights


def by_contour(activation, q, depth, weights, lam):
    """Density and distribution at lam > 0, from N followed down to the axis by Newton's method."""
    d, w = moved(activation, q)
    mean, L = (w @ d).real, depth
    density, share = [], []
    for x in lam:
        N = (x + 1e4j) * mean
        for height in np.geomspace(1e4, 1e-13 * x, 300):
            for _ in range(30):
                inverse = 1 / (N - d)
                m, more, slope = inverse @ (w * d), N * (inverse @ w), -(inverse**2) @ (w * d)
                if weights == "orthogonal":
                    log_z, by_N = (1 - L) * np.log(more / m), (L - 1) * slope / (m * more) + L / N
                else:
                    log_z, by_N = np.log(more) + (L - 1) * np.log(m), slope / more + (L - 1) * slope / m + L / N
                r = log_z + L * np.log(N) - L * math.log(mean) - np.log(x + 1j * height)
                r -= 2j * math.pi * np.round(r.imag / (2 * math.pi))
                N = N - r / by_N * min(1.0, abs(N * by_N) / max(3 * abs(r), 1e-300))
                N = complex(N.real, abs(N.imag))
                if abs(r) < 1e-13:
                    break
        rest = (L - 1) * np.log(more) if weights == "orthogonal" else L * m - np.log(more)
        density.append(-more.imag / (math.pi * x))
        share.append(1 - (L * (np.log(1 - d / N) @ w) + rest).imag / math.pi)
    return np.array(density), np.array(share)


@pytest.mark.parametrize(
    ("activation", "q", "depth", "weights"),
    [
        ("tanh", 0.05, 2, "orthogonal"),
        ("tanh", 0.5, 3, "orthogonal"),
        ("gelu", 1.0, 2, "orthogonal"),
        ("gelu", 1.0, 1, "gaussian"),
        ("sin", 1.0, 4, "orthogonal"),
    ],
)
def test_tails_are_those_of_another_contour(activation, q, depth, weights):
    """From 1e-6 up to 0.7, with densities from 1e-9 to 1e4 and shares of 1e-11: what the nodes alone miss wholly."""
    spectrum = JacobianSpectrum(depth, DerivativeLaw.of(activation, q), weights)
    lam = np.array([1e-6, 1e-4, 0.03, 0.2, 0.7])
    density, share = by_contour(activation, q, depth, weights, lam)
    np.testing.assert_allclose(spectrum.density(lam), density, rtol=1e-9, atol=2e-11)
    np.testing.assert_allclose(spectrum.cdf(lam), share, atol=2e-10)


# The smallest λ

TINY = np.array([1e-300, 1e-200, 1e-100])


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_fuss_catalan_tail(depth):
    """sin(π/(L + 1))/π λ^{-L/(L + 1)}, with a next term of relative order λ^{1/(L + 1)}."""
    tail = math.sin(math.pi / (depth + 1)) / math.pi * TINY ** (-depth / (depth + 1))
    spectrum = JacobianSpectrum(depth, DerivativeLaw.one(), "gaussian")
    np.testing.assert_allclose(spectrum.density(TINY), tail, rtol=1e-9)
    np.testing.assert_allclose(fuss_catalan_density(TINY, depth), tail, rtol=1e-9)
    np.testing.assert_allclose(spectrum.cdf(TINY), (depth + 1) * TINY * tail, rtol=1e-2, atol=1e-10)


@pytest.mark.parametrize("weights", ["orthogonal", "gaussian"])
@pytest.mark.parametrize(("p", "depth"), [(0.5, 2), (0.5, 5), (0.9, 3)])
def test_bernoulli_tail(p, depth, weights):
    """(m + p)^L = -λ p^{L+1} (1 - p)^{L-1}, or over 1 - p for Gaussian weights, as m tends to -p."""
    factor = (1 - p) ** (1 - 1 / depth if weights == "orthogonal" else -1 / depth)
    tail = p ** (1 + 1 / depth) * factor * math.sin(math.pi / depth) / math.pi * TINY ** (1 / depth - 1)
    spectrum = JacobianSpectrum(depth, DerivativeLaw.bernoulli(p), weights)
    np.testing.assert_allclose(spectrum.density(TINY), tail, rtol=1e-9)


@pytest.mark.parametrize(("activation", "depth"), [("gelu", 2), ("gelu", 4), ("silu", 3), ("sin", 2)])
def test_tail_where_the_slope_has_a_zero(activation, depth):
    """P(d < r) of order √r gives 1 + m of order N^{1/2} and a density of order λ^{-L/(L + 1)}, as Fuss-Catalan's."""
    spectrum = JacobianSpectrum(depth, DerivativeLaw.of(activation, 0.5))
    one, other = spectrum.density([1e-30, 1e-27])
    assert math.log(one / other) / math.log(1e3) == pytest.approx(depth / (depth + 1), abs=1e-3)


def test_the_smallest_and_the_largest_numbers():
    for law in (DerivativeLaw.of("tanh", 5.0), DerivativeLaw.of("elu", 1.0), DerivativeLaw.bernoulli(0.3)):
        spectrum = JacobianSpectrum(3, law)
        share = spectrum.cdf([5e-324, 1e-310, 1e-200, 1e-3, spectrum.lambda_max, 1e300])
        assert (np.diff(share) >= -1e-10).all() and (share[-2:] == 1).all() and 0 <= share[0] <= 1
