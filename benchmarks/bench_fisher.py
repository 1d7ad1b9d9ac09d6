"""The empirical tangent kernel and the largest eigenvalue of the Fisher information beside their peers, in one run on
one thread.

Kernels: torch.func's contraction, as torch's tutorial on neural tangent kernels has it (128 samples of the perceptron
take 6 GB). The largest eigenvalue: scipy's eigsh on products of torch.func with F, on vectors of P entries, and
curvlinops where it is installed. CPU time, peak memory (resident, above that of the start, each in a process of its
own), and the largest difference of two results over the largest entry.
"""

import importlib.util
import multiprocessing
import os
import resource
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import numpy as np
import torch
from deepdynamics.fisher import lambda_max
from deepdynamics.networks import CNN, MLP
from deepdynamics.ntk import empirical
from scipy.sparse.linalg import LinearOperator, eigsh
from stored import comparison, growth, store
from torch import nn
from torch.func import functional_call, jacrev, jvp, vjp, vmap


class Block(nn.Module):
    """A residual block of ResNet-18."""

    def __init__(self, before, channels, stride):
        super().__init__()
        self.first = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.one, self.two, self.skip = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels), nn.Identity()
        if stride > 1:
            self.skip = nn.Sequential(nn.Conv2d(before, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x):
        return torch.relu(self.two(self.second(torch.relu(self.one(self.first(x))))) + self.skip(x))


def resnet18():
    """ResNet-18 for pictures of 32 x 32 pixels: 11.2 million parameters."""
    torch.manual_seed(0)
    blocks = [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2)]
    stem = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10)
    return nn.Sequential(*stem, *(Block(*each) for each in [*blocks, (512, 512, 1)]), *head).eval()


def perceptron():
    return MLP((784, 512, 512, 512, 512, 10), "relu", weight_var=2, seed=0)


def small_cnn():
    return CNN((3, 32, 32), (32, 32, 64), 10, "relu", weight_var=2, pool_after=(2, 3), hidden=(64,), seed=0)


def contraction(model, X):
    """Rows of Jacobians by torch.func, all at once, and their products."""
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    jacobians = vmap(jacrev(lambda p, x: functional_call(model, p, (x[None],))[0]), (None, 0))(parameters, X)
    theta = sum(torch.einsum("naf,mbf->namb", J.flatten(2), J.flatten(2)) for J in jacobians.values())
    return theta.reshape(theta.shape[0] * theta.shape[1], -1)


def top_of_fisher(model, X):
    """The largest eigenvalue of F by eigsh on products of torch.func with J and Jᵀ, on vectors of P entries."""
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    sizes = [p.numel() for p in parameters.values()]

    def outputs(p):
        return functional_call(model, p, (X,))

    def product(v):
        parts = torch.from_numpy(np.asarray(v, np.float32)).split(sizes)
        tangents = {name: part.view_as(p) for (name, p), part in zip(parameters.items(), parts, strict=True)}
        forward = jvp(outputs, (parameters,), (tangents,))[1]
        found = vjp(outputs, parameters)[1](forward)[0]
        return torch.cat([g.flatten() for g in found.values()]).numpy() / len(X)

    start = np.random.default_rng(0).normal(size=sum(sizes)).astype(np.float32)
    operator = LinearOperator((sum(sizes),) * 2, matvec=product, dtype=np.float32)
    return float(eigsh(operator, k=1, which="LA", v0=start, tol=1e-4, return_eigenvectors=False)[0])


def by_curvlinops(model, X):
    """The same with curvlinops' Gauss-Newton operator."""
    from curvlinops import GGNLinearOperator

    loss = nn.MSELoss(reduction="sum")
    data = [(X, torch.zeros(len(X), 10))]
    parameters = [p for p in model.parameters() if p.requires_grad]
    operator = GGNLinearOperator(model, loss, parameters, data).to_scipy()
    return float(eigsh(operator, k=1, which="LA", tol=1e-4, return_eigenvectors=False)[0]) / (2 * len(X))


def ours(model, X):
    return lambda_max(model, X, tol=1e-4).value


def measured(function, *arguments):
    """CPU seconds, peak memory in MB and the result, in a process of its own."""

    def run(pipe):
        torch.set_num_threads(1)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.process_time()
        found = function(*arguments)
        seconds = time.process_time() - start
        peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        pipe.send((seconds, peak, found.numpy() if isinstance(found, torch.Tensor) else found))

    receiver, sender = multiprocessing.get_context("fork").Pipe(False)
    process = multiprocessing.get_context("fork").Process(target=run, args=(sender,))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        return float("nan"), float("nan"), None
    finally:
        process.join()


def said(seconds, peak):
    return f"{seconds:.2f} s, {peak:.0f} MB"


def kernels(name, model, shape, sizes, peer_at):
    """Rows for the comparisons, and one for the growth."""
    rows, times = [], []
    for n in sizes:
        X = torch.randn(n, *shape, generator=torch.Generator().manual_seed(0))
        seconds, peak, found = measured(empirical, model, X)
        line = f"  {name}, {n} samples: {said(seconds, peak)}"
        times.append(seconds)
        if n in peer_at:
            other, other_peak, truth = measured(contraction, model, X)
            line += f"; torch.func {other / seconds:.1f} x the time, {other_peak:.0f} MB"
            if truth is not None:
                gap = f"difference {np.abs(found - truth).max() / np.abs(truth).max():.0e}"
                what = f"ntk.empirical, {name}, {n} samples"
                rows.append(comparison(what, "torch.func", seconds, other, accuracy=gap, memory=(peak, other_peak)))
                line += f"; {gap}"
        print(line, flush=True)
    return rows, growth(f"ntk.empirical, {name}", "samples", sizes, times)


def eigenvalues(name, model, shape, n):
    X = torch.randn(n, *shape, generator=torch.Generator().manual_seed(0))
    seconds, peak, found = measured(ours, model, X)
    line = f"  {name}, {n} samples: {said(seconds, peak)}"
    rows = []
    peers = {"torch.func": top_of_fisher}
    if importlib.util.find_spec("curvlinops"):
        peers["curvlinops"] = by_curvlinops
    for peer, function in peers.items():
        other, other_peak, truth = measured(function, model, X)
        if truth is not None:
            gap = f"difference {truth / found - 1:.0e}"
            line += f"; {peer} {other / seconds:.1f} x the time, {other_peak:.0f} MB, {gap}"
            what = f"fisher.lambda_max, {name}, {n} samples"
            rows.append(comparison(what, peer, seconds, other, accuracy=gap, memory=(peak, other_peak)))
    print(line, flush=True)
    return rows


def main():
    torch.set_num_threads(1)
    tiny, X = CNN((1, 4, 4), (2,), 10, "relu", seed=0), torch.randn(4, 1, 4, 4)
    for function in (empirical, contraction, ours, top_of_fisher):  # what torch imports at a first call
        function(tiny, X)
    print("empirical tangent kernel")
    found = [
        kernels("perceptron 784-512x4-10", perceptron(), (784,), (16, 32, 64, 128, 256), (32, 128)),
        kernels("small CNN, 32 px", small_cnn(), (3, 32, 32), (8, 32, 64), (8, 32)),
        kernels("ResNet-18, 32 px", resnet18(), (3, 32, 32), (4, 16), (4,)),
    ]
    rows = [row for some, _ in found for row in some]
    print("largest eigenvalue of the Fisher information, tolerance 1e-4")
    rows += eigenvalues("perceptron 784-512x4-10", perceptron(), (784,), 256)
    rows += eigenvalues("small CNN, 32 px", small_cnn(), (3, 32, 32), 64)
    rows += eigenvalues("ResNet-18, 32 px", resnet18(), (3, 32, 32), 16)
    store("fisher", rows, [grown for _, grown in found])


if __name__ == "__main__":
    main()
