"""A diagnosis of networks of growing size: seconds and the growth of the peak memory.

There is no peer that says the same; the yardstick is the forward pass of the same inputs, so the last columns say how
many of these each part costs. Every network runs in a process of its own.

    python benchmarks/bench_diagnose.py [perceptron cnn "resnet18 64" "resnet18 224"] [--threads 2]
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch
from deepdynamics._parametergram.model import opened
from deepdynamics.diagnose import diagnose
from deepdynamics.diagnose.examination import examined
from deepdynamics.diagnose.spectrum import spectrum_at
from deepdynamics.networks import CNN, MLP
from stored import comparison, store

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))


def resnet18():
    from diagnose.test_structure import resnet18

    return resnet18()


PROBLEMS = {
    "perceptron": (lambda: MLP((784, *(300,) * 8, 10), "relu", weight_var=2.0, seed=0), (16, 784)),
    "cnn": (lambda: CNN((1, 28, 28), (16, 32, 32, 32), 10, "relu", weight_var=2.0, seed=0), (16, 1, 28, 28)),
    "resnet18 64": (resnet18, (4, 3, 64, 64)),
    "resnet18 224": (resnet18, (2, 3, 224, 224)),
}


def seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measured(name, threads):
    torch.set_num_threads(threads)
    build, shape = PROBLEMS[name]
    net, X = build().eval(), torch.randn(shape, generator=torch.Generator().manual_seed(0))
    diagnose(MLP((4, 4, 2), "tanh", seed=0), torch.randn(3, 4))  # what is loaded at first use
    with torch.no_grad():
        forward = min(seconds(lambda: net(X)) for _ in range(3))
    opened(net, X)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    parts = {
        "signals": seconds(lambda: examined(net, X, parts=())),
        "spectrum": seconds(lambda: spectrum_at(net, X[0])),
        "rates": seconds(lambda: examined(net, X, parts=("rates",))),
    }
    parts["rates"] -= parts["signals"]
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    parameters = sum(p.numel() for p in net.parameters())
    return {"parameters": parameters, "forward": forward, "megabytes": memory} | parts


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problems", nargs="*", default=list(PROBLEMS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(options.one, options.threads)))
        return
    print(f"{'':14s} parameters  forward  signals  spectrum    rates     all   MiB   all/forward")
    rows = []
    for name in options.problems:
        command = [sys.executable, __file__, "--one", name, "--threads", str(options.threads)]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
        total = found["signals"] + found["spectrum"] + found["rates"]
        print(
            f"{name:14s} {found['parameters']:10d} {found['forward']:7.3f}s {found['signals']:7.2f}s "
            f"{found['spectrum']:8.2f}s {found['rates']:7.2f}s {total:6.1f}s {found['megabytes']:5.0f} "
            f"{total / found['forward']:9.0f}"
        )
        routine = f"diagnose, {name}, {found['parameters']:,} parameters"
        rows.append(comparison(routine, "a forward pass", total, found["forward"], accuracy="the peer is a yardstick"))
    store("diagnose", rows, clock=f"seconds on {options.threads} threads")


if __name__ == "__main__":
    main()
