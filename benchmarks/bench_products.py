"""Singular values of long products: without multiplying out, against the SVD of the product and 120-digit arithmetic.

Time an input on one thread for networks of the sizes of the book, and the accuracy of the logarithms at a size at which
a dense high-precision SVD is feasible; times as ratios, interleaved runs, medians.
"""

import itertools
import math
import time

import mpmath
import numpy as np
import scipy.linalg
import torch
from deepdynamics import meanfield
from deepdynamics.jacobian import product_singular_values
from deepdynamics.networks import haar
from stored import Times, comparison, growth, store

REPETITIONS = 5


def plain(factors):
    """Logarithms of the singular values of the product that was multiplied out."""
    product = factors[0]
    for factor in factors[1:]:
        product = factor @ product
    return torch.linalg.svdvals(product).log()


def exact(factors):
    """The same in 120 digits."""
    with mpmath.workdps(120):
        product = mpmath.eye(factors[0].shape[1])
        for factor in factors:
            product = mpmath.matrix(factor.tolist()) * product
        values = mpmath.svd_r(product, compute_uv=False)
        return torch.tensor(sorted((float(mpmath.log(s)) for s in values), reverse=True), dtype=torch.float64)


def graded(width, depth, condition, seed):
    """Factors U diag(s) V with Haar U, V and s from 1 to 1/condition, evenly in log s."""
    scales = torch.logspace(0, -math.log10(condition), width, dtype=torch.float64)
    draws = [haar(width, width, seed=100 * seed + i) for i in range(depth + 1)]
    return [(after * scales) @ before for before, after in itertools.pairwise(draws)]


def seconds(methods, factors):
    """Median CPU time of each method, run in turns."""
    found = {name: [] for name in methods}
    for _ in range(REPETITIONS):
        for name, method in methods.items():
            start = time.process_time()
            method(factors)
            found[name].append(time.process_time() - start)
    return {name: Times(times, np.median) for name, times in found.items()}


def network_factors(weights, width, depth, gain):
    matrices, x = meanfield.gain.network(weights, width=width, depth=depth, input_var=1.0, seed=0, number=0)
    return meanfield.gain.factors(matrices, x, gain, "tanh")


def main():
    torch.set_num_threads(1)
    ours = {"ours": lambda factors: product_singular_values(factors, sweeps=25), "plain SVD": plain}
    rows = []
    print("time an input on one thread, at most 25 sweeps (goal for 10 x 256: under 2 s)")
    for name, factors in {
        "10 x 256, Gaussian, g = 1.05": network_factors("gaussian", 256, 10, 1.05),
        "10 x 256, condition 1e7 a factor": graded(256, 10, 1e7, 1),
        "10 x 256, condition 1e10 a factor": graded(256, 10, 1e10, 1),
        "100 x 300, Gaussian, g = 1.05": network_factors("gaussian", 300, 100, 1.05),
    }.items():
        times = seconds(ours, factors)
        logs, naive = (method(factors) / math.log(10) for method in ours.values())
        wrong = int(((naive - logs).abs() > 0.01).sum())
        said = f"the peer is off by more than 1 % in {wrong} of {len(logs)} values"
        pair = times["ours"], times["plain SVD"]
        rows.append(comparison(f"product_singular_values, {name}", "SVD of the product", *pair, accuracy=said))
        print(
            f"  {name}: {times['ours']:.3f} s, {times['ours'] / times['plain SVD']:.1f} x the plain SVD; "
            f"{float(logs[0] - logs[-1]):.0f} decades; plain SVD off by more than 1 % in {wrong} of {len(logs)} values"
        )
    print("accuracy of log s and time, against a dense SVD with 120 digits (goal: 1e-10 at condition 1e4)")
    hilbert = torch.tensor(scipy.linalg.hilbert(6))
    for name, factors in {
        "17 x 12, condition 1e4 a factor": graded(12, 17, 1e4, 2),
        "8 Hilbert matrices 6 x 6 (condition 1.5e7)": [hilbert] * 8,
    }.items():
        times = seconds(ours | {"120 digits": exact}, factors)
        reference = exact(factors)
        errors = [float((method(factors) - reference).abs().max()) for method in ours.values()]
        said = f"error of log s {errors[0]:.0e}"
        pair = times["ours"], times["120 digits"]
        rows.append(comparison(f"product_singular_values, {name}", "120 digits, dense SVD", *pair, accuracy=said))
        print(
            f"  {name}, {float(reference[0] - reference[-1]) / math.log(10):.0f} decades: error {errors[0]:.1e}, "
            f"plain SVD {errors[1]:.1e}; 120 digits take {times['120 digits'] / times['ours']:.0f} x our time"
        )
    grown = []
    for what, sizes in (("factors", (5, 10, 20, 40)), ("width", (64, 128, 256))):
        cases = [(64, size) if what == "factors" else (size, 10) for size in sizes]
        times = [seconds(dict([next(iter(ours.items()))]), network_factors("gaussian", *case, 1.05)) for case in cases]
        grown.append(growth("product_singular_values", what, sizes, [each["ours"] for each in times]))
    store("products", rows, grown)


if __name__ == "__main__":
    main()
