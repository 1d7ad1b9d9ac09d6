"""Laws of free probability beside what they replace, in one run on one thread.

The free product of a sampled law with Marchenko-Pastur's: freealg, where it is installed (`make bench` does), and the
damped fixed-point iteration of Silverstein's equation. Spectra of Jacobians: freealg's Fuss-Catalan law, beside the
closed form, and simulated matrices; growth with depth and with the number of points. Times are CPU seconds, the least
of some repetitions.
"""

import importlib.util
import math
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is imported

import numpy as np
from deepdynamics.freeprobability import (
    DerivativeLaw,
    JacobianSpectrum,
    fuss_catalan_density,
    multiply_marchenko_pastur,
)
from stored import Times, comparison, store
from stored import growth as grown

RATIO, POINTS = 0.5, 400
ROWS, GROWN = [], []


def seconds(function, repetitions):
    """Least CPU time, and the last result."""
    times = []
    for _ in range(repetitions):
        start = time.process_time()
        with np.errstate(all="ignore"):
            found = function()
        times.append(time.process_time() - start)
    return Times(times[1:] or times), found  # a first one warms up


def report(what, name, ours, other, error):
    ROWS.append(comparison(what, name, ours, other, accuracy=f"the peer is off by {error:.0e} of the largest value"))
    print(f"    {name}: {other / ours:.1f} x the time, largest error {error:.0e} of the largest value")


def worst(found, exact):
    """The largest error over the largest value; what is not finite is an error of one."""
    difference = np.abs(found - exact) / np.abs(exact).max()
    return float(np.where(np.isfinite(difference), difference, 1.0).max())


# Marchenko-Pastur -----------------------------------------------------------------------------------------------------
def silverstein(points, z, m):
    return (1 / (points * (1 - RATIO - RATIO * z * m)[:, None] - z[:, None])).mean(1)


def fixed_point(points, z, tolerance=1e-14, limit=20_000):
    """m <- (m + f(m))/2 until no m moves by more than ``tolerance`` of its size, or for ``limit`` steps."""
    m, todo = -1 / z, np.arange(len(z))
    for _ in range(limit):
        change = (silverstein(points, z[todo], m[todo]) - m[todo]) / 2
        m[todo] += change
        todo = todo[np.abs(change) > tolerance * np.abs(m[todo])]
        if len(todo) == 0:
            break
    return m


def marchenko_pastur(freealg):
    for size in (20, 200):
        points = np.exp(np.random.default_rng(0).normal(size=size))
        weights = np.full(size, 1 / size)
        x = np.geomspace(0.02, 1.2 * points.max() * (1 + math.sqrt(RATIO)) ** 2, POINTS)
        for height in (1e-2, 1e-6):
            z = x + 1j * height
            # of the equation, and the upper half plane: no other solution has both (Silverstein and Choi 1995)
            best, ours = seconds(lambda: multiply_marchenko_pastur(points, weights, RATIO, z), 3)  # noqa: B023
            residual = worst(silverstein(points, z, ours), ours)
            print(f"  {size} points, {POINTS} z at {height:.0e} above the axis: {best:.3f} s, residual {residual:.0e}")
            other, found = seconds(lambda: fixed_point(points, z), 1)  # noqa: B023
            what = f"multiply_marchenko_pastur, {size} points, {height:.0e} above the axis"
            report(what, "damped fixed point", best, other, worst(found, ours))
            if freealg:
                law = freealg.distributions.DeformedMarchenkoPastur(points, weights, c=RATIO)
                other, found = seconds(lambda: law.stieltjes(z), 1)  # noqa: B023
                report(what, "freealg", best, other, worst(found, ours))
    points = np.exp(np.random.default_rng(0).normal(size=200))
    times, counts = [], (100, 400, 1600)
    for count in counts:
        z = np.linspace(0.1, 20, count) + 1e-6j
        best, _ = seconds(lambda: multiply_marchenko_pastur(points, np.full(200, 1 / 200), RATIO, z), 2)  # noqa: B023
        times.append(best)
        print(f"  {count} z: {best:.3f} s")
    GROWN.append(grown("multiply_marchenko_pastur, 200 points", "values of z", counts, times))


# Jacobians ------------------------------------------------------------------------------------------------------------
def fuss_catalan(freealg):
    for depth in (2, 5, 20):
        spectrum = JacobianSpectrum(depth, DerivativeLaw.one(), "gaussian")
        x = np.linspace(0.01, 0.99, POINTS) * spectrum.lambda_max
        exact = fuss_catalan_density(x, depth)
        best, ours = seconds(lambda: spectrum.density(x), 3)  # noqa: B023
        print(f"  {depth} Gaussian matrices: {best:.3f} s, largest error {worst(ours, exact):.0e}")
        if freealg:
            law = freealg.distributions.FussCatalan(depth)
            other, found = seconds(lambda: law.density(x), 1)  # noqa: B023
            report(f"JacobianSpectrum.density, {depth} Gaussian matrices", "freealg", best, other, worst(found, exact))


def simulated(spectrum, size, draws):
    """Eigenvalues of J Jᵀ for one network with ReLU's law and Gaussian weights."""
    J = np.eye(size)
    for _ in range(spectrum.depth):
        held = draws.permutation(np.arange(size) < size // 2)
        J = held[:, None] * (draws.normal(size=(size, size)) * math.sqrt(spectrum.weight_var / size) @ J)
    return np.linalg.svd(J, compute_uv=False) ** 2


def simulation():
    spectrum = JacobianSpectrum(6, DerivativeLaw.bernoulli(0.5), "gaussian")
    x = np.geomspace(1e-3, 0.9 * spectrum.lambda_max, POINTS)
    best, exact = seconds(lambda: spectrum.cdf(x), 3)
    print(f"  6 layers of ReLU, distribution at {POINTS} points: {best:.3f} s")
    for size in (100, 200, 400, 800):
        draws = np.random.default_rng(0)
        other, found = seconds(lambda: simulated(spectrum, size, draws), 1)  # noqa: B023
        gap = np.abs((found <= x[:, None]).mean(1) - exact).max()
        said = f"the peer is off by {gap:.0e}"
        what = f"JacobianSpectrum.cdf, 6 layers of ReLU, {POINTS} points"
        ROWS.append(comparison(what, f"a simulated network of width {size}", best, other, accuracy=said))
        print(f"    a network of width {size}: {other / best:.1f} x the time, largest distance {gap:.0e}")


def growth():
    for name, law in (("ReLU", DerivativeLaw.bernoulli(0.5)), ("tanh", DerivativeLaw.of("tanh", 0.5))):
        times, depths = [], (3, 30, 300, 1000)
        for depth in depths:
            spectrum = JacobianSpectrum(depth, law)
            x = np.geomspace(1e-5, 0.999, POINTS) * spectrum.lambda_max
            best, _ = seconds(lambda: spectrum.density(x), 2)  # noqa: B023
            times.append(best)
            print(f"  {name}, {depth} layers, {POINTS} points: {best:.3f} s")
        GROWN.append(grown(f"JacobianSpectrum.density, {name}", "layers", depths, times))
        spectrum = JacobianSpectrum(30, law)
        for count in (100, 1600):
            x = np.geomspace(1e-5, 0.999, count) * spectrum.lambda_max
            best, _ = seconds(lambda: spectrum.density(x), 2)  # noqa: B023
            print(f"  {name}, 30 layers, {count} points: {best:.3f} s")


if __name__ == "__main__":
    freealg = None
    if importlib.util.find_spec("freealg"):
        import freealg
    else:
        print("freealg is not installed: `make bench` installs it")
    print(f"the free product with Marchenko-Pastur's law, ratio {RATIO}")
    marchenko_pastur(freealg)
    print("spectra of Jacobians")
    fuss_catalan(freealg)
    simulation()
    growth()
    if freealg:
        store("freeprobability", ROWS, GROWN)
