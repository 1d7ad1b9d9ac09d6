"""The ridgelet spectrum of samples beside a numpy loop over a and one array of everything: time, memory, accuracy.

One thread, CPU time, the pair of tanh (ρ = G''') on [-15, 15]². Accuracy on the samples of a Gaussian that has vanished
at the ends, whose transform is known in closed form; then sin 2πx, cut off at ±1, all against the same samples summed
with mpmath at some (a, b). Then how the time grows with the grid and with the samples.
"""

import math
import time
import tracemalloc

import numpy as np
from deepdynamics.ridgelet import AdmissiblePair, gaussian_transform, midpoints, transform
from mpmath import mp, mpf
from stored import Times, comparison, store
from stored import growth as grown
from threadpoolctl import threadpool_limits

PAIR = AdmissiblePair.get("tanh")
VARIANCE = 0.02
CELLS, SAMPLES = (75, 150, 300, 600), (201, 801, 3201)


def third_derivative(t):
    return t * (3 - t * t) * np.exp(-t * t / 2)


def weighted(x, values):
    weights = np.full(len(x), x[1] - x[0])
    weights[[0, -1]] /= 2
    return weights * values


def ours(x, values, a, b):
    return transform((x, values), PAIR, a, b)


def loop(x, values, a, b):
    """One a at a time."""
    w = weighted(x, values)
    return np.stack([third_derivative(each * x - b[:, None]) @ w for each in a])


def everything(x, values, a, b):
    """All of a × b × samples in memory."""
    t = a[:, None, None] * x - b[:, None]
    return np.einsum("abn,n->ab", third_derivative(t), weighted(x, values))


METHODS = {"ours": ours, "loop over a": loop, "one einsum": everything}


def timed(function, *arguments, repeat=3):
    """The value, and the shortest of the times."""
    times = []
    for _ in range(repeat):
        start = time.process_time()
        found = function(*arguments)
        times.append(time.process_time() - start)
    return found, Times(times)


def peak(function, *arguments):
    tracemalloc.start()
    function(*arguments)
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found / 1e6


def exactly(x, values, a, b):
    """The trapezoid sum in 40 digits."""
    mp.dps = 40
    total = mpf(0)
    for n, (point, value) in enumerate(zip(x, values, strict=True)):
        t = mpf(float(a)) * mpf(float(point)) - mpf(float(b))
        weight = mpf(1) / (2 if n in (0, len(x) - 1) else 1)
        total += weight * mpf(float(value)) * (3 * t - t**3) * mp.exp(-(t**2) / 2)
    return float(total * mpf(float(x[1] - x[0])))


def compare(cells=300):
    x, grid = np.linspace(-1, 1, 201), midpoints(15.0, cells)
    gauss, sine = np.exp(-(x**2) / (2 * VARIANCE)), np.sin(2 * np.pi * x)
    closed = gaussian_transform(PAIR, 0.0, VARIANCE, grid, grid)
    places = np.random.default_rng(0).integers(cells, size=(20, 2))
    exact = np.array([exactly(x, sine, grid[i], grid[j]) for i, j in places])
    print(f"{cells} × {cells} spectrum of 201 samples")
    own, least, rows = None, None, []
    for name, method in METHODS.items():
        found, seconds = timed(method, x, sine, grid, grid)
        own = own or seconds
        memory = peak(method, x, sine, grid, grid)
        least = least or memory
        digits = np.abs(found[places[:, 0], places[:, 1]] - exact).max()
        apart = np.abs(method(x, gauss, grid, grid) - closed).max()
        if name != "ours":
            said, what = f"within {digits:.0e} of 40 digits", f"ridgelet.transform, {cells} × {cells}, 201 samples"
            rows.append(comparison(what, name, own, seconds, accuracy=said, memory=(least, memory)))
        print(
            f"  {name:12s} {seconds:6.3f} s = {seconds / own:5.1f} x ours, peak {memory:6.1f} MB; from the sum in 40"
            f" digits by {digits:.0e}, from the closed form of a Gaussian by {apart:.0e}"
        )
    return rows


def growth():
    rows = []
    print("how the time grows, and that of the loop beside it")
    for what, sizes in (
        ("cells an axis", [(cells, 201) for cells in CELLS]),
        ("samples", [(150, samples) for samples in SAMPLES]),
    ):
        before, times = None, []
        for cells, samples in sizes:
            x, grid = np.linspace(-1, 1, samples), midpoints(15.0, cells)
            changed = cells if what == "cells an axis" else samples
            seconds, longer = (timed(method, x, np.sin(x), grid, grid)[1] for method in (ours, loop))
            times.append(seconds)
            line = f"  {cells:4d} × {cells:4d}, {samples:4d} samples: {seconds:6.3f} s"
            line += f", loop {longer / seconds:4.1f} x ours"
            if before is not None:
                line += f"; {what} to the power {math.log(seconds / before[1]) / math.log(changed / before[0]):.2f}"
            print(line)
            before = changed, seconds
        counts = CELLS if what == "cells an axis" else SAMPLES
        rows.append(grown("ridgelet.transform", what, counts, times))
    return rows


def main():
    with threadpool_limits(1):
        store("ridgelet", compare(), growth())


if __name__ == "__main__":
    main()
