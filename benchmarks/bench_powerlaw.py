"""Power-law fits beside the package ``powerlaw``, in one run: time, how it grows with the data, and accuracy.

Samples of known exponent, one thread, CPU time, both searching their own threshold. The package looks at every point of
every tail, so that its time grows with the square of the sample; it is left out where that would pass two minutes. Ours
are also held against the same search done naively, in the same run, and must give its digits. Both then compare their
law with a lognormal one. Then integers at a given threshold.
"""

import time
import warnings

import numpy as np
from deepdynamics.powerlaw import LEAST_TAIL, fit
from powerlaw import Fit
from stored import Times, comparison, growth, store
from threadpoolctl import threadpool_limits

SIZES = (1000, 4000, 16_000, 200_000)
PATIENCE = 16_000  # points up to which the quadratic searches are run
EXPONENTS = {"real numbers": 2.5, "integers": 2.2}
ROWS, GROWN = [], []


def sample(kind, n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.pareto(EXPONENTS[kind] - 1, n) + 1 if kind == "real numbers" else rng.zipf(EXPONENTS[kind], n)


def timed(function):
    start = time.process_time()
    found = function()
    return found, time.process_time() - start


def naive(x):
    """Exponent and distance of the best continuous tail, by the distance of every tail from its law at every point."""
    logs = np.log(np.sort(x))
    n, best = len(logs), (np.inf, np.nan)
    total = np.cumsum((logs - logs[0])[::-1])[::-1] - np.arange(n, 0, -1) * (logs - logs[0])
    for i in range(n - LEAST_TAIL + 1):
        m = n - i
        slope = m / total[i]
        gap = np.arange(1, m + 1) / m + np.expm1(-slope * (logs[i:] - logs[i]))
        best = min(best, (float(np.maximum(gap, 1 / m - gap).max()), 1 + float(slope)))
    return best


def package(x, discrete, **more):
    found = Fit(x, discrete=discrete, estimate_discrete=False, verbose=0, **more)
    found.distribution_compare("power_law", "lognormal")  # as ours does
    return found.power_law


def compare(kind):
    discrete, before, times = kind == "integers", None, []
    print(f"{kind}, exponent {EXPONENTS[kind]}, threshold searched")
    for n in SIZES:
        x = sample(kind, n)
        ours, seconds = timed(lambda x=x: fit(x, discrete=discrete))
        power = "" if before is None else f", n^{np.log(seconds / before[1]) / np.log(n / before[0]):.2f}"
        before = n, seconds
        times.append(seconds)
        line = f"  n = {n:7,}: {seconds:8.3f} s{power}; exponent {ours.exponent:.4f} ± {ours.standard_error:.4f}"
        if n <= PATIENCE:
            theirs, longer = timed(lambda x=x: package(x, discrete))
            true = EXPONENTS[kind]
            said = f"exponent {true}: ours {ours.exponent:.4f}, the peer's {theirs.alpha:.4f}"
            ROWS.append(comparison(f"powerlaw.fit, {n:,} {kind}", "powerlaw", seconds, longer, accuracy=said))
            line += f"; the package {longer / seconds:6.0f} x as long, its exponent {theirs.alpha:.4f}"
            if not discrete:
                (distance, exponent), longer = timed(lambda x=x: naive(x))
                same = (distance, exponent) == (ours.ks, ours.exponent)
                said = "the same digits" if same else "other digits"
                ROWS.append(comparison(f"powerlaw.fit, {n:,} {kind}", "naive search", seconds, longer, accuracy=said))
                line += f"; naive search {longer / seconds:5.0f} x, {'the same digits' if same else 'OTHER DIGITS'}"
        print(line)
    GROWN.append(growth(f"powerlaw.fit, {kind}", "points", SIZES, times))


def at_given_threshold():
    print("integers, xmin = 1: largest difference of the exponent from its law over 20 samples of 5,000, in its errors")
    for exponent in (2.5, 2.2, 1.5):
        rows = []
        for seed in range(20):
            x = np.random.default_rng(seed).zipf(exponent, 5000)
            ours, seconds = timed(lambda x=x: fit(x, 1, discrete=True))
            theirs, longer = timed(lambda x=x: package(x, True, xmin=1))
            rows.append((ours.exponent, theirs.alpha, ours.standard_error, seconds, longer))
        mine, peer, error, seconds, longer = np.array(rows).T
        ratio = longer / seconds
        said = f"exponents differ by {np.abs(mine - peer).max():.0e}"
        pair = Times(seconds, np.median), Times(longer, np.median)
        ROWS.append(comparison(f"powerlaw.fit at xmin = 1, exponent {exponent}", "powerlaw", *pair, accuracy=said))
        print(
            f"  exponent {exponent}: ours {np.abs((mine - exponent) / error).max():.2f}, the package "
            f"{np.abs((peer - exponent) / error).max():.2f}; apart by {np.abs(mine - peer).max():.1e}; "
            f"the package takes {np.median(ratio):.1f} x as long"
        )


def main():
    warnings.simplefilter("ignore")  # the package warns of its own starting values
    with threadpool_limits(1):
        for kind in EXPONENTS:
            compare(kind)
        at_given_threshold()
    store("powerlaw", ROWS, GROWN)


if __name__ == "__main__":
    main()
