"""MLPEnsemble beside its peers, in one run: a loop over torch modules, and vmap of a gradient with a functional
optimiser.

All three train the same networks (same draws) on the same mini-batches with SGD; the table shows the CPU time on one
thread, drawing included, as a multiple of the ensemble's, and the largest relative difference of any loss from the
loop's. A second table shows how the ensemble's cost grows with the number of networks, their width and the batch, and
vmap's beside it.
"""

import resource
import time
from collections.abc import Callable

import torch
from deepdynamics._batched import mini_batches
from deepdynamics.ensembles import MLPEnsemble
from deepdynamics.networks import MLP
from stored import Times, comparison, growth, store
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

CASES = {  # runs, widths, activation, batch, steps
    "many small": (200, (2, 16, 16, 2), "tanh", 32, 50),
    "chapter 1": (16, (784, 100, 100, 100, 100, 10), "tanh", 128, 20),
    "trainability map": (24, (784, *[100] * 30, 10), "tanh", 128, 10),
    "relu": (24, (784, *[100] * 30, 10), "relu", 128, 10),
}
GROWTH = {  # the small case, one number at a time; batch and steps last
    "runs": [(runs, (2, 16, 16, 2), "tanh", 32, 20) for runs in (50, 200, 800)],
    "width": [(200, (2, width, width, 2), "tanh", 32, 20) for width in (8, 32, 128)],
    "batch": [(200, (2, 16, 16, 2), "tanh", batch, 20) for batch in (8, 128, 512)],
}
RATE = 0.01


def by_ensemble(nets: dict, X: Tensor, y: Tensor, batch: int, steps: int) -> Tensor:
    ensemble = MLPEnsemble(**nets)
    return ensemble.fit(X, y, learning_rate=RATE, steps=steps, batch=batch).loss


def by_loop(nets: dict, X: Tensor, y: Tensor, batch: int, steps: int) -> Tensor:
    batches, losses = list(mini_batches(len(X), batch, steps, [0])), []
    for seed in nets["seed"]:
        net = MLP(nets["widths"], nets["activation"], weight_var=nets["weight_var"], seed=seed)
        optimiser = torch.optim.SGD(net.parameters(), RATE)
        for rows in batches:
            loss = nn.functional.cross_entropy(net(X[rows]), y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    return torch.tensor(losses).view(-1, steps).T


def by_vmap(nets: dict, X: Tensor, y: Tensor, batch: int, steps: int) -> Tensor:
    modules = [
        MLP(nets["widths"], nets["activation"], weight_var=nets["weight_var"], seed=seed) for seed in nets["seed"]
    ]
    parameters, _ = stack_module_state(modules)
    parameters = {k: v.detach() for k, v in parameters.items()}

    def loss(p: dict, x: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(functional_call(modules[0], p, (x,)), labels)

    step, losses = vmap(grad_and_value(loss), in_dims=(0, None, None)), []
    for rows in mini_batches(len(X), batch, steps, [0]):
        gradients, values = step(parameters, X[rows], y[rows])
        for name, gradient in gradients.items():
            parameters[name].sub_(gradient, alpha=RATE)
        losses.append(values)
    return torch.stack(losses)


def timed(f: Callable[..., Tensor], *arguments: object) -> tuple[Times, Tensor]:
    """Best of two, after one that warms up."""
    times = []
    for _ in range(3):
        start = time.process_time()
        result = f(*arguments)
        times.append(time.process_time() - start)
    return Times(times[1:]), result


def problem(case: tuple) -> tuple[dict, Tensor, Tensor, int, int]:
    """The arguments of the three."""
    runs, widths, activation, batch, steps = case
    draw = torch.Generator().manual_seed(0)
    X = torch.randn(10 * batch, widths[0], generator=draw)
    y = torch.randint(widths[-1], (len(X),), generator=draw)
    nets = {"runs": runs, "widths": widths, "activation": activation, "weight_var": 1.7, "seed": list(range(runs))}
    return nets, X, y, batch, steps


def main() -> None:
    torch.set_num_threads(1)
    rows, grown = [], []
    print("one thread, CPU time. ensemble: ms per step and run; loop, vmap: multiples of its time;")
    print("then the largest relative difference of any loss from the loop's.")
    print(f"{'case':18} {'ensemble':>9} {'loop':>7} {'vmap':>7} {'ensemble':>9} {'vmap':>9}")
    for name, case in CASES.items():
        results = [timed(f, *problem(case)) for f in (by_ensemble, by_loop, by_vmap)]
        (own, losses), (loop, reference), (mapped, others) = results
        gaps = [float(((a - reference) / reference).abs().max()) for a in (losses, others)]
        for peer, times in (("a loop over torch modules", loop), ("vmap and a functional SGD", mapped)):
            said = f"losses differ by {gaps[0]:.0e} at most" if times is loop else f"{gaps[0]:.0e}, vmap {gaps[1]:.0e}"
            what = f"MLPEnsemble, {name}: {case[0]} networks of {len(case[1]) - 1} layers"
            rows.append(comparison(what, peer, own, times, accuracy=said))
        ratios = f"{loop / own:6.1f}x {mapped / own:6.1f}x {gaps[0]:9.1e} {gaps[1]:9.1e}"
        print(f"{name:18} {1e3 * own / case[-1] / case[0]:9.4f} {ratios}")
    print(f"\n{'growth':18} {'ms/step':>9} {'vmap':>7}")
    for name, cases in GROWTH.items():
        steps_of = []
        for case in cases:
            runs, widths, _, batch, steps = case
            (own, _), (mapped, _) = (timed(f, *problem(case)) for f in (by_ensemble, by_vmap))
            steps_of.append(own / steps)
            label = f"{name} {dict(runs=runs, width=widths[1], batch=batch)[name]}"
            print(f"{label:18} {1e3 * own / steps:9.3f} {mapped / own:6.1f}x")
        sizes = [dict(runs=case[0], width=case[1][1], batch=case[3])[name] for case in cases]
        grown.append(growth("MLPEnsemble, a step", {"runs": "networks"}.get(name, name), sizes, steps_of))
    store("ensembles", rows, grown)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB (all three)")


if __name__ == "__main__":
    main()
