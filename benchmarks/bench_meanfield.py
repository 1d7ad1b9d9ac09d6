"""Phase diagram of tanh: Mehler's series on all points at once, against two-dimensional quadrature point by point.

Time a point and accuracy of c*, as ratios to this library, in one run on one core. Accuracy is measured at five points
where c* is known to twelve digits.
"""

import time

import numpy as np
import torch
from deepdynamics.meanfield import MeanField, phase_diagram
from scipy.optimize import brentq
from stored import Times, comparison, growth, store

KNOWN = [  # weight_var, bias_var, c*, from 25-digit arithmetic
    (2.25, 0.09, 0.766753297254),
    (4.0, 0.05, 0.165064962022),
    (4.0, 0.25, 0.520946435466),
    (6.25, 0.09, 0.122103747306),
    (9.0, 0.1, 0.075356741643),
]


def trapezoid(step):
    z = np.arange(-9, 9 + step / 2, step)
    return z, step * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)


def gauss_hermite(count):
    z, w = np.polynomial.hermite_e.hermegauss(count)
    return z, w / w.sum()


def c_star(weight_var, bias_var, rule):
    """The fixed point, by root finding over quadrature in the plane."""
    z, w = rule

    def length(q):
        return weight_var * (w @ np.tanh(np.sqrt(q) * z) ** 2) + bias_var

    q = brentq(lambda q: length(q) - q, 1e-3, weight_var + bias_var, xtol=1e-14)
    u = np.tanh(np.sqrt(q) * z)

    def excess(c):
        v = np.tanh(np.sqrt(q) * (c * z[:, None] + np.sqrt(1 - c**2) * z))
        return ((weight_var * (w * u) @ v @ w + bias_var) / q - c) / (1 - c)

    if weight_var * (w @ (1 - u**2) ** 2) <= 1:
        return 1.0
    return brentq(excess, 0.0, 1 - 1e-6, xtol=1e-14)


def main():
    torch.set_num_threads(1)
    weights, biases = np.linspace(0.5, 4, 200), np.linspace(0.005, 0.5, 200)
    phase_diagram("tanh", weights[:2], biases[:2])
    times = []
    for _ in range(3):
        start = time.process_time()
        phase_diagram("tanh", weights, biases)
        times.append(time.process_time() - start)
    count = len(weights) * len(biases)
    total, ours = min(times), Times([each / count for each in times])
    error = max(abs(MeanField("tanh", w, b).c_star - c) for w, b, c in KNOWN)
    print(f"phase_diagram, 200 x 200, all fields: {total:.2f} s, {1e6 * ours:.0f} µs a point; error of c* {error:.1e}")
    start = time.process_time()
    phase_diagram("selu", weights / 3, biases)
    print(f"the same of an activation with kinks (selu): {time.process_time() - start:.2f} s")
    start = time.process_time()
    large = MeanField("tanh", 1e6, 0.0)
    print(f"tanh at weight_var = 1e6: c* = {large.c_star:.3f} in {1e3 * (time.process_time() - start):.0f} ms")
    start = time.process_time()
    MeanField("softplus", 4.0, 0.1).trajectory(1.0, 0.5, 19)
    print(f"19 layers of softplus, lengths up to 1e6: {1e3 * (time.process_time() - start):.0f} ms")
    rows, grown = [], []
    for name, rule in (
        ("trapezoid rule, step 0.04", trapezoid(0.04)),
        ("trapezoid rule, step 0.2", trapezoid(0.2)),
        ("Gauss-Hermite, 101 nodes", gauss_hermite(101)),
    ):
        start = time.process_time()
        for w in weights[::66]:
            for b in biases[::66]:
                c_star(w, b, rule)
        seconds = (time.process_time() - start) / 16
        other = max(abs(c_star(w, b, rule) - c) for w, b, c in KNOWN)
        said = f"error of c* {error:.0e}, the peer's {other:.0e}"
        rows.append(comparison("phase_diagram of tanh, a point", f"{name} (c* only)", ours, seconds, accuracy=said))
        print(f"{name} (c* only): {seconds / ours:.0f} x the time a point; error of c* {other:.1e}")
    for side in (25, 50, 100, 200):
        start = time.process_time()
        phase_diagram("tanh", np.linspace(0.5, 4, side), np.linspace(0.005, 0.5, side))
        grown.append((side**2, time.process_time() - start))
    store("meanfield", rows, [growth("phase_diagram of tanh", "points", *zip(*grown, strict=True))])


if __name__ == "__main__":
    main()
