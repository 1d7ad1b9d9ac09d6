"""Leading singular triplets of the Jacobian of a network, from its input to its last convolution: ours against svds.

Random weights, k triplets, every residual max(‖Jᵀu - σv‖, ‖Jv - σu‖)/σ₁ at most 2e-6 (checked here with torch's own
derivatives). Every method runs in a process of its own after a warm-up on a small picture. Seconds are those of the
processor on one thread, so that other work on the machine counts little, and of the clock on several; memory is the
growth of the peak. The bound is the time that the multiplications alone would take at the rate of a large matrix
product: all products that were used, times those of a forward pass, and one pass of orthogonalisation of the basis.

    python benchmarks/bench_spectra.py [alexnet squeezenet small] [--k 100] [--threads 1 2] [--repeat 1]
"""

import argparse
import itertools
import json
import resource
import subprocess
import sys
import time

import numpy as np
import torch
from deepdynamics.jacobian import jacobian, top_singular
from deepdynamics.networks import alexnet, squeezenet1_0
from scipy.sparse.linalg import LinearOperator, svds
from stored import comparison, store
from torch.utils.flop_counter import FlopCounterMode

GATE = 2e-6  # what products in float32 reach on every processor
PROBLEMS = {"alexnet": ("alexnet", 224), "squeezenet": ("squeezenet", 224)}
SMALL = {"alexnet 64": ("alexnet", 64), "squeezenet 64": ("squeezenet", 64)}
METHODS = ("ours", "svds, cached products", "svds, curvlinops", "svds, products from scratch")


def network(name, size):
    """The convolutions, and a picture of noise."""
    trunk = alexnet().features[:11] if name == "alexnet" else squeezenet1_0().features
    return trunk.requires_grad_(False), torch.randn(3, size, size, generator=torch.Generator().manual_seed(0))


def ours(f, x, k):
    return tuple(top_singular(f, x, k, tol=GATE))


def by_svds(operator, k):
    """ARPACK on the smaller side, in float64 around the products in float32: in float32 it stops at a residual of
    1.7e-6. svds squares its tolerance."""
    U, s, Vt = svds(operator, k=k, tol=5e-4, rng=np.random.default_rng(0))
    order = np.argsort(-s)
    return U[:, order].copy(), s[order].copy(), Vt[order].T.copy()


def linear_operator(push, pull, shape, x, counter):
    """Two maps of flat tensors for scipy, which are counted."""

    def counted(product):
        def call(v):
            counter.append(1)
            return product(torch.as_tensor(np.ascontiguousarray(v.ravel()), dtype=x.dtype)).double().numpy()

        return call

    return LinearOperator(shape, matvec=counted(push), rmatvec=counted(pull), dtype=np.float64)


def cached(f, x, k):
    y, push = torch.func.linearize(f, x)
    pull = torch.func.vjp(f, x)[1]
    counter = []
    operator = linear_operator(
        lambda v: push(v.reshape(x.shape)).reshape(-1),
        lambda u: pull(u.reshape(y.shape))[0].reshape(-1),
        (y.numel(), x.numel()),
        x,
        counter,
    )
    return *by_svds(operator, k), None, len(counter)


def scratch(f, x, k):
    y = f(x)
    counter = []
    operator = linear_operator(
        lambda v: torch.func.jvp(f, (x,), (v.reshape(x.shape),))[1].reshape(-1),
        lambda u: torch.func.vjp(f, x)[1](u.reshape(y.shape))[0].reshape(-1),
        (y.numel(), x.numel()),
        x,
        counter,
    )
    return *by_svds(operator, k), None, len(counter)


class Pixels(torch.nn.Module):
    """The picture as a parameter: curvlinops differentiates with respect to parameters."""

    def __init__(self, f, x):
        super().__init__()
        self.pixels = torch.nn.Parameter(x.clone())
        self.f = f

    def forward(self, _):
        return self.f(self.pixels).reshape(1, -1)


def curvlinops(f, x, k):
    from curvlinops import JacobianLinearOperator

    model = Pixels(f, x)
    data = [(torch.zeros(1, 1), torch.zeros(1, f(x).numel()))]
    J = JacobianLinearOperator(model, [model.pixels], data, check_deterministic=False)
    transposed, counter = J.adjoint(), []
    operator = linear_operator(
        lambda v: (J @ v).detach(), lambda u: (transposed @ u).detach(), tuple(J.shape), x, counter
    )
    return *by_svds(operator, k), None, len(counter)


def dense(f, x, k):
    U, s, Vt = torch.linalg.svd(jacobian(f, x), full_matrices=False)
    return U[:, :k], s[:k], Vt[:k].T, None, min(U.shape[0], Vt.shape[1])


FUNCTIONS = dict(zip((*METHODS, "dense"), (ours, cached, curvlinops, scratch, dense), strict=True))


def residual(f, x, U, s, V):
    """The largest residual, by torch's derivatives one vector at a time, in float64 sums."""
    y, push = torch.func.linearize(f, x)
    pull = torch.func.vjp(f, x)[1]
    worst = 0.0
    for u, value, v in zip(U.T, s, V.T, strict=True):
        down = pull(u.reshape(y.shape).contiguous())[0].reshape(-1) - value * v
        up = push(v.reshape(x.shape).contiguous()).reshape(-1) - value * u
        worst = max(worst, float(down.double().norm()), float(up.double().norm()))
    return worst / float(s[0])


def clock_of(threads):
    return time.process_time if threads == 1 else time.perf_counter


def matrix_rate():
    """Operations a second of a large matrix product."""
    clock = clock_of(torch.get_num_threads())
    a, times = torch.randn(2048, 2048), []
    for _ in range(5):
        start = clock()
        a @ a
        times.append(clock() - start)
    return 2 * 2048**3 / min(times)


def measure(method, name, size, k):
    """One method on one problem, in this process."""
    f, x = network(name, size)
    small = network(name, 64)
    FUNCTIONS[method](*small, 2)
    with FlopCounterMode(display=False) as counted:
        y = f(x)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    clock = clock_of(torch.get_num_threads())
    start = clock()
    U, s, V, _, products = FUNCTIONS[method](f, x, k)
    seconds = clock() - start
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    U, s, V = (torch.as_tensor(part, dtype=x.dtype) for part in (U, s, V))
    basis = products / 2 - k
    operations = products * counted.get_total_flops() + 2 * min(x.numel(), y.numel()) * basis**2
    return {
        "seconds": seconds,
        "memory": memory,
        "products": products,
        "residual": residual(f, x, U, s, V),
        "values": s.tolist(),
        "bound": operations / matrix_rate() if method == "ours" else None,
    }


def in_own_process(method, name, size, k, threads):
    command = [sys.executable, "-W", "ignore", __file__, "--one", method, name, str(size)]
    command += ["--k", str(k), "--threads", str(threads)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def table(title, methods, name, size, k, threads, repeat):
    print(f"{title}, k = {k}, {threads} thread(s)", flush=True)
    rows = {}
    for _ in range(repeat):
        for method in methods:
            run = in_own_process(method, name, size, k, threads)
            print(f"  … {method}: {run['seconds']:.1f} s", file=sys.stderr, flush=True)
            rows.setdefault(method, []).append(run)
    rows = {method: sorted(runs, key=lambda run: run["seconds"])[len(runs) // 2] for method, runs in rows.items()}
    own, stored = rows["ours"], []
    for method, run in rows.items():
        difference = np.max(np.abs(np.array(run["values"]) / np.array(own["values"]) - 1))
        passed = "" if run["residual"] <= GATE else " (GATE FAILED)"
        if method != "ours":
            said = f"residuals {own['residual']:.0e} and {run['residual']:.0e}, values within {difference:.0e}"
            what, pair = f"top_singular, {title}, k = {k}", (own["seconds"], run["seconds"])
            memory = (own["memory"], run["memory"])
            stored.append(comparison(what, method, *pair, accuracy=said, memory=memory))
        print(
            f"  {method:28s} {run['seconds']:7.1f} s = {run['seconds'] / own['seconds']:5.1f} x ours, peak"
            f" +{run['memory']:5.0f} MB, {run['products']:5d} products, residual {run['residual']:.1e}{passed},"
            f" values within {difference:.0e} of ours",
            flush=True,
        )
    print(f"  ours: {100 * own['bound'] / own['seconds']:.0f} % of the floating-point bound, {own['bound']:.1f} s")
    return stored


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="*", default=["alexnet", "squeezenet", "small"])
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--methods", type=int, default=4, help="how many of: " + "; ".join(METHODS))
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        torch.set_num_threads(arguments.threads[0])
        method, name, size = arguments.one
        print(json.dumps(measure(method, name, int(size), arguments.k)))
        return
    rows = []
    for what, threads in itertools.product(arguments.what, arguments.threads):
        chosen = SMALL if what == "small" else {what: PROBLEMS[what]}
        methods = ("ours", "svds, cached products", "dense") if what == "small" else METHODS[: arguments.methods]
        for title, (name, size) in chosen.items():
            heading = f"{title.split()[0]}, {size} x {size}"
            found = table(heading, methods, name, size, arguments.k, threads, arguments.repeat)
            rows += found if threads == 1 else []
    if len(sys.argv) == 1:  # all of it
        store("spectra", rows)


if __name__ == "__main__":
    main()
