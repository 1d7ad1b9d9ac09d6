"""ShallowEnsemble beside its peers, in one run: a loop over torch modules, and vmap of a gradient with a functional
Adam.

All train the same networks, from the same start, on sin 2πx at 201 points with Adam. The loop trains ten networks and
is extrapolated; vmap trains all, for a tenth of the steps, and is extrapolated, too. The table shows times as multiples
of the ensemble's, and accuracy: the median over networks of the relative difference of the loss from that of the same
network trained alone in float64, after a hundred steps (later on rounding has grown, for everybody). Then how the cost
grows. Run with ``python benchmarks/bench_shallow.py``; it uses one thread.
"""

import math
import resource
import time
from collections.abc import Callable

import torch
from deepdynamics.ensembles import ShallowEnsemble
from stored import Times, comparison, growth, store
from torch import Tensor, nn
from torch.func import grad_and_value, vmap

CASES = {"tanh": (1000, 10, "tanh", 1200), "relu": (1000, 10, "relu", 1200), "gelu": (1000, 10, "gelu", 1200)}
GROWTH = {
    "networks": [(runs, 10, "tanh", 200) for runs in (100, 1000, 4000)],
    "units": [(500, units, "tanh", 200) for units in (5, 20, 80)],
}
X = torch.linspace(-1, 1, 201)
Y = torch.sin(2 * math.pi * X)
PHI = {"tanh": torch.tanh, "relu": torch.relu, "gelu": nn.functional.gelu}
RATE, LOOP, CHECKED = 0.05, 10, 100


class Net(nn.Module):
    def __init__(self, parts, phi):
        super().__init__()
        self.a, self.b, self.c = (nn.Parameter(part.clone()) for part in parts)
        self.phi = phi

    def forward(self, x):
        return self.phi(x[:, None] * self.a - self.b) @ self.c


def rate(step: int, steps: int) -> float:
    return RATE * (0.2 if step >= 0.6 * steps else 1)


def by_ensemble(case: tuple, start: tuple, steps: int, dtype=torch.float32) -> Tensor:
    runs, units, activation, _ = case
    ensemble = ShallowEnsemble(runs, units, activation, dtype=dtype)
    return ensemble.fit(X, Y, steps=steps, learning_rate=RATE, seed=0, start=start).history


def by_loop(case: tuple, start: tuple, steps: int, dtype=torch.float32) -> Tensor:
    x, y, losses = X.to(dtype), Y.to(dtype), []
    for parts in zip(*(part[:LOOP].to(dtype) for part in start), strict=True):
        net = Net(parts, PHI[case[2]])
        optimiser = torch.optim.Adam(net.parameters(), RATE)
        for step in range(steps):
            optimiser.param_groups[0]["lr"] = rate(step, steps)
            loss = (net(x) - y).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    return torch.tensor(losses).view(-1, steps).T


def by_vmap(case: tuple, start: tuple, steps: int) -> Tensor:
    phi = PHI[case[2]]

    def error(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return (phi(X[:, None] * a - b) @ c - Y).square().mean()

    step_of = vmap(grad_and_value(error, argnums=(0, 1, 2)))
    parameters = [part.clone() for part in start]
    first, second = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
    losses = []
    for step in range(steps):
        gradients, values = step_of(*parameters)
        losses.append(values)
        eta = rate(step, steps) / (1 - 0.9 ** (step + 1))
        for p, g, m, v in zip(parameters, gradients, first, second, strict=True):
            m.lerp_(g, 0.1)
            v.mul_(0.999).addcmul_(g, g, value=0.001)
            p.addcdiv_(m, (v / (1 - 0.999 ** (step + 1))).sqrt_().add_(1e-8), value=-eta)
    return torch.stack(losses)


def timed(f: Callable[..., Tensor], *arguments: object, repeat: int = 2) -> tuple[Times, Tensor]:
    """CPU seconds, the best of ``repeat``."""
    times = []
    for _ in range(repeat):
        begin = time.process_time()
        result = f(*arguments)
        times.append(time.process_time() - begin)
    return Times(times), result


def started(case: tuple) -> tuple[Tensor, Tensor, Tensor]:
    return ShallowEnsemble(*case[:3]).draw(0)


def main() -> None:
    torch.set_num_threads(1)
    rows, grown = [], []
    for f in (by_ensemble, by_loop, by_vmap):  # whatever loads at the first call
        f((LOOP, 3, "tanh", 2), started((LOOP, 3, "tanh")), 2)
    print(
        "one thread, CPU time. ensemble: s; loop, vmap: multiples of it (extrapolated); then the difference of losses"
    )
    print(f"{'case':28} {'ensemble':>9} {'loop':>8} {'vmap':>8} {'ensemble':>9} {'loop':>9} {'vmap':>9}")
    for name, case in CASES.items():
        runs, units, _, steps = case
        start = started(case)
        own, _ = timed(by_ensemble, case, start, steps)
        loop = timed(by_loop, case, start, steps, repeat=1)[0] * runs / LOOP
        mapped = timed(by_vmap, case, start, steps // 10)[0] * 10
        exact = by_loop(case, start, CHECKED, torch.float64)[-1]
        apart = [
            float(((f(case, start, CHECKED)[-1, :LOOP] - exact) / exact).abs().median())
            for f in (by_ensemble, by_loop, by_vmap)
        ]
        for peer, times, gap in (
            ("a loop over torch modules", loop, apart[1]),
            ("vmap, functional Adam", mapped, apart[2]),
        ):
            said = f"loss off by {apart[0]:.0e}, the peer's by {gap:.0e}"
            what = f"ShallowEnsemble, {name}, {runs:,} networks"
            rows.append(comparison(what, f"{peer} (extrapolated)", own, times, accuracy=said))
        label = f"{name}, {runs} x {units}, {steps} steps"
        print(
            f"{label:28} {own:9.2f} {loop / own:7.1f}x {mapped / own:7.1f}x"
            f" {apart[0]:9.1e} {apart[1]:9.1e} {apart[2]:9.1e}"
        )
    print(f"\n{'growth':18} {'ms/step':>9} {'vmap':>8}")
    for name, cases in GROWTH.items():
        steps_of = []
        for case in cases:
            start, steps = started(case), case[-1]
            own, mapped = timed(by_ensemble, case, start, steps)[0], timed(by_vmap, case, start, steps // 10)[0] * 10
            steps_of.append(own / steps)
            label = f"{name} {case[0] if name == 'networks' else case[1]}"
            print(f"{label:18} {1e3 * own / steps:9.3f} {mapped / own:7.1f}x")
        sizes = [case[0] if name == "networks" else case[1] for case in cases]
        grown.append(growth("ShallowEnsemble, a step", name, sizes, steps_of))
    store("shallow", rows, grown)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB (all three)")


if __name__ == "__main__":
    main()
