"""Kernels at infinite width and natural gradients beside what they replace, in one run on one thread.

The analytic kernel of ReLU and tanh perceptrons against the recursion written with whole matrices (numpy) and the
moments of one activation at a time; its growth with the number of points, and its peak memory beside the result.
(neural-tangents, which does not install beside the book, took 0.041 s for 1,000 points on a machine of this kind.) A
step of natural gradient descent in function space against the metric as a matrix (P, P). Times are CPU seconds, the
least of some repetitions.
"""

import copy
import os
import threading
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is imported

import numpy as np
import torch
from deepdynamics import activations
from deepdynamics.naturalgradient import NaturalGradient
from deepdynamics.networks import MLP
from deepdynamics.ntk import infinite_width, infinite_width_ntk
from stored import Times, comparison, growth, store

WEIGHT_VAR, BIAS_VAR, DEPTH = 2.0, 0.1, 3
ROWS, GROWN = [], []


def seconds(function, repetitions):
    """Least CPU time, and the last result."""
    times = []
    for _ in range(repetitions):
        start = time.process_time()
        found = function()
        times.append(time.process_time() - start)
    return Times(times[1:] or times), found  # a first one warms up


# The analytic kernel --------------------------------------------------------------------------------------------------
def relu_by_matrices(x):
    """The recursion with arc-cosine kernels of all pairs at once."""
    K = WEIGHT_VAR * x @ x.T / x.shape[1] + BIAS_VAR
    theta = K
    for _ in range(DEPTH):
        scale = np.sqrt(np.outer(np.diag(K), np.diag(K)))
        angle = np.arccos(np.clip(K / scale, -1, 1))
        slope = (np.pi - angle) / (2 * np.pi)
        K = WEIGHT_VAR * scale * (np.sin(angle) / (2 * np.pi) + slope * np.cos(angle)) + BIAS_VAR
        theta = K + WEIGHT_VAR * slope * theta
    return K, theta


def by_moments(x, activation):
    """The recursion with one moment of all pairs after the other."""
    phi = activations.get(activation)
    K = WEIGHT_VAR * x @ x.T / x.shape[1] + BIAS_VAR
    theta = K
    for _ in range(DEPTH):
        q = np.diag(K).copy()
        slope = phi.slope_covariance(q[:, None], q, K)
        K = WEIGHT_VAR * phi.covariance(q[:, None], q, K) + BIAS_VAR
        theta = K + WEIGHT_VAR * slope * theta
    return K, theta


def error(found, exact):
    return max(float(np.abs(one - other).max() / np.abs(other).max()) for one, other in zip(found, exact, strict=True))


def analytic():
    x = np.random.default_rng(0).normal(size=(1000, 784))

    def ours(x, activation, **options):
        return infinite_width(x, None, activation, WEIGHT_VAR, BIAS_VAR, DEPTH, **options)

    best, found = seconds(lambda: ours(x, "relu"), 9)
    whole, other = seconds(lambda: relu_by_matrices(x), 3)
    said = f"they differ by {error(other, found):.0e}"
    ROWS.append(comparison("infinite_width, ReLU, 1,000 points", "whole matrices in numpy", best, whole, accuracy=said))
    print(f"relu, 1,000 points, {DEPTH} hidden layers: {best:.3f} s; whole matrices {whole / best:.1f} x the time")
    print(f"  they differ by {error(other, found):.0e}, off the diagonal by {error(*_off_diagonal(other, found)):.0e}")
    few = x[:300]
    best, found = seconds(lambda: ours(few, "tanh"), 3)
    whole, other = seconds(lambda: by_moments(few, "tanh"), 1)
    said = f"they differ by {error(other, found):.0e}"
    ROWS.append(comparison("infinite_width, tanh, 300 points", "one moment at a time", best, whole, accuracy=said))
    print(
        f"tanh, 300 points: {best:.3f} s; moments one by one {whole / best:.1f} x; differ by {error(other, found):.0e}"
    )
    times, counts = [], (500, 1000, 2000, 4000)
    for n in counts:
        x = np.random.default_rng(0).normal(size=(n, 784))
        best, _ = seconds(lambda: ours(x, "relu", dtype=np.float32), 2)  # noqa: B023
        times.append(best)
        print(f"  {n} points: {best:.3f} s, {1e9 * best / n**2:.0f} ns an entry")
    GROWN.append(growth("infinite_width, ReLU, float32", "points", counts, times))
    before = resident()
    with Peak() as peak:
        theta = infinite_width_ntk(x, None, "relu", WEIGHT_VAR, BIAS_VAR, DEPTH, dtype=np.float32)
    size = theta.nbytes / 2**20
    print(f"  Θ alone of {n} points in float32: {size:.0f} MB, {peak.most - before - size:.0f} MB beside it (x: 24 MB)")


def _off_diagonal(*kernels):
    off = ~np.eye(len(kernels[0][0]), dtype=bool)
    return [[kernel[off] for kernel in pair] for pair in kernels]


def resident():
    """Memory of this process in MB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


class Peak:
    """The largest memory of this process within."""

    def __enter__(self):
        self.most, self.over = resident(), False
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        while not self.over:
            self.most = max(self.most, resident())
            time.sleep(0.002)

    def __exit__(self, *_):
        self.over = True
        self.thread.join()


# Natural gradients ----------------------------------------------------------------------------------------------------
def dense_step(model, X, y, damping, rate, block):
    """(G + ρ)⁻¹ ∇E with G a matrix (P, P), or its diagonal blocks, one for each parameter's module."""
    parameters = list(model.parameters())
    outputs = model(X)
    rows = [torch.autograd.grad(f, parameters, retain_graph=True) for f in outputs.flatten()]
    J = torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])
    sizes = [layer.weight.numel() + layer.bias.numel() for layer in model.layers] if block else [J.shape[1]]
    r = (outputs.detach() - y).flatten()
    moved = []
    for part in J.split(sizes, dim=1):
        G = part.T @ part / len(X)
        G.diagonal().add_(damping)
        moved.append(torch.linalg.solve(G, part.T @ r / len(X)))
    change = torch.cat(moved).split([p.numel() for p in parameters])
    with torch.no_grad():
        for p, each in zip(parameters, change, strict=True):
            p.sub_(rate * each.view_as(p))
    return model


def natural_gradients():
    draws = torch.Generator().manual_seed(0)
    X, y = (torch.randn(50, d, dtype=torch.float64, generator=draws) for d in (20, 1))
    print("one step on 50 samples, 20-M-M-1, damping 1e-3: function space; the matrix (P, P) over it")
    for width in (16, 32, 48):
        net = MLP((20, width, width, 1), "tanh", weight_var=2.0, seed=0, dtype=torch.float64)
        P = sum(p.numel() for p in net.parameters())
        for kind in ("exact", "layerwise"):
            ours, one = seconds(lambda: NaturalGradient(kind, 1e-3).step(copy.deepcopy(net), X, y, 0.1), 3)  # noqa: B023
            dense, other = seconds(
                lambda: dense_step(copy.deepcopy(net), X, y, 1e-3, 0.1, kind == "layerwise"),  # noqa: B023
                1,
            )
            pairs = zip(one.parameters(), other.parameters(), strict=True)
            gap = max(float((a - b).detach().abs().max()) for a, b in pairs)
            what = f"NaturalGradient, {kind}, {P:,} parameters"
            said = f"they differ by {gap:.0e}"
            ROWS.append(comparison(what, "the metric as a matrix", ours, dense, accuracy=said))
            print(f"  {kind}, P = {P}: {1e3 * ours:.0f} ms; {dense / ours:.1f} x; they differ by {gap:.0e}")
    net = MLP((20, 1024, 1024, 1), "tanh", weight_var=2.0, seed=0, dtype=torch.float64)
    P = sum(p.numel() for p in net.parameters())
    for kind in ("exact", "layerwise", "tridiagonal", "kfac", "unitwise"):
        ours, _ = seconds(lambda: NaturalGradient(kind, 1e-3).step(copy.deepcopy(net), X, y, 0.1), 1)  # noqa: B023
        print(f"  {kind}, P = {P:,}: {ours:.2f} s (G would have {8e-12 * P**2:.0f} TB)")


if __name__ == "__main__":
    torch.set_num_threads(1)
    analytic()
    natural_gradients()
    store("ntk", ROWS, GROWN)
