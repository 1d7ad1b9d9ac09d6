"""Transport beside its peers, in one run on one thread: Gaussians against POT, denoisers against a loop over torch.nn.

Time (CPU) as ratios to this library, and accuracy. The distance of commuting covariances is known in closed form; a
map is judged by the covariance that it arrives at. The denoisers of the loop have the
same architecture, optimiser, falling rate and batch size; accuracy is the error relative to the exact displacement, a
mean over the runs.
"""

import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is imported

import numpy as np
import ot
import torch
from deepdynamics.transport import GaussianMixture, gaussian_map, gaussian_w2, train_daes
from deepdynamics.transport.denoisers import BATCH, RATE, WIDTH
from stored import Times, comparison, growth, store
from torch import nn

MIXTURE = GaussianMixture([0.5, 0.3, 0.2], [[2.0, 0.0], [-1.0, 1.5], [-1.0, -1.5]], [0.25, 0.16, 0.36])
VARIANCE, STEPS = 0.25, 300
ROWS, GROWN = [], []


def pot_w2(m0, S0, m1, S1):
    return ot.gaussian.bures_wasserstein_distance(m0, m1, S0, S1)


def pot_map(m0, S0, m1, S1):
    return ot.gaussian.bures_wasserstein_mapping(m0, m1, S0, S1)[0]


def our_map(m0, S0, m1, S1):
    return gaussian_map(m0, S0, m1, S1).matrix


def seconds(functions, repetitions, *arguments):
    """CPU times of each function, run in turns after a first one, and its last result."""
    times, found = {name: [] for name in functions}, {}
    for _ in range(repetitions):
        for name, function in functions.items():
            start = time.process_time()
            found[name] = function(*arguments)
            times[name].append(time.process_time() - start)
    return {name: Times(runs[1:]) for name, runs in times.items()}, found


def known(d, condition, seed):
    """A commuting pair and its distance."""
    draw = np.random.default_rng(seed)
    R = np.linalg.qr(draw.normal(size=(d, d)))[0]
    sigmas = [np.geomspace(1, condition**-0.5, d), draw.permutation(np.geomspace(1, condition**-0.5, d))]
    covs = [(R * s**2) @ R.T for s in sigmas]
    return [(S + S.T) / 2 for S in covs], np.linalg.norm(sigmas[0] - sigmas[1])


def gaussians(d):
    m = np.zeros(d)
    (S0, S1), exact = known(d, 100, 0)
    times, found = seconds({"ours": gaussian_w2, "POT": pot_w2}, 9, m, S0, m, S1)
    near = 5e-10 * np.trace(S0) ** 0.5  # from S to (1 + 1e-9) S
    errors = {
        name: (abs(found[name] / exact - 1), abs(w2(m, S0, m, (1 + 1e-9) * S0) / near - 1))
        for name, w2 in {"ours": gaussian_w2, "POT": pot_w2}.items()
    }
    said = f"relative error {errors['ours'][0]:.0e}, POT's {errors['POT'][0]:.0e}"
    ROWS.append(comparison(f"gaussian_w2, d = {d}", "POT", times["ours"], times["POT"], accuracy=said))
    print(
        f"  W2, d = {d}: {1e3 * times['ours']:.1f} ms, POT {times['POT'] / times['ours']:.1f} x the time; relative "
        f"error {errors['ours'][0]:.0e}, POT {errors['POT'][0]:.0e}; at a distance of {near:.0e} "
        f"{errors['ours'][1]:.0e}, POT {errors['POT'][1]:.0e}"
    )
    times, found = seconds({"ours": our_map, "POT": pot_map}, 5, m, S0, m, S1)
    missed = {name: np.abs(A @ S0 @ A.T - S1).max() for name, A in found.items()}
    said = f"covariance missed by {missed['ours']:.0e}, POT's by {missed['POT']:.0e}"
    ROWS.append(comparison(f"gaussian_map, d = {d}", "POT", times["ours"], times["POT"], accuracy=said))
    print(
        f"  map, d = {d}: {1e3 * times['ours']:.1f} ms, POT {times['POT'] / times['ours']:.1f} x the time; "
        f"covariance missed by {missed['ours']:.0e}, POT {missed['POT']:.0e}"
    )
    A = np.random.default_rng(1).normal(size=(d, d // 2)) / d**0.5
    with np.errstate(invalid="ignore"):
        try:
            other = pot_w2(m, A @ A.T, m, S1)
        except np.linalg.LinAlgError as error:
            other = error
    times, found = seconds({"ours": gaussian_w2}, 5, m, A @ A.T, m, S1)
    print(
        f"  W2 from a covariance of rank {d // 2}: {found['ours']:.4f} in {1e3 * times['ours']:.1f} ms, POT: {other}; "
        f"of it from itself {gaussian_w2(m, A @ A.T, m, A @ A.T):.0e}"
    )


def by_loop(samples):
    nets = []
    for seed, x in enumerate(samples):
        draw = torch.Generator().manual_seed(seed)
        net = nn.Sequential(nn.Linear(2, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2))
        optimiser = torch.optim.Adam(net.parameters(), RATE)
        for step in range(STEPS):
            optimiser.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
            clean = x[torch.randint(len(x), (BATCH,), generator=draw)]
            noisy = clean + VARIANCE**0.5 * torch.randn(BATCH, 2, generator=draw)
            loss = (noisy + net(noisy) - clean).square().sum(1).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        nets.append(net)
    return lambda x: torch.stack([x + net(x).detach() for net in nets])


def by_batch(samples):
    return train_daes(samples, VARIANCE, steps=STEPS, seed=list(range(len(samples))))


def denoisers(runs):
    samples = torch.tensor(MIXTURE.sample(runs * 5000, seed=0), dtype=torch.float32).view(runs, 5000, 2)
    times, found = seconds({"ours": by_batch, "loop": by_loop}, 2, samples)
    x = MIXTURE.sample(5000, seed=1, variance=VARIANCE)
    exact, errors = MIXTURE.dae(x, VARIANCE), {}
    for name, daes in found.items():
        gaps = daes(torch.tensor(x, dtype=torch.float32)).numpy() - exact
        errors[name] = np.sqrt((gaps**2).sum((1, 2)) / ((exact - x) ** 2).sum()).mean()
    said = f"error {errors['ours']:.3f}, the loop's {errors['loop']:.3f}"
    pair = times["ours"], times["loop"]
    ROWS.append(comparison(f"train_daes, {runs} denoisers", "a loop over torch.nn", *pair, accuracy=said))
    print(
        f"  {runs} denoisers, {STEPS} steps: {1e3 * times['ours'] / runs / STEPS:.2f} ms a step of one, loop of "
        f"torch.nn {times['loop'] / times['ours']:.1f} x the time; error {errors['ours']:.3f}, loop "
        f"{errors['loop']:.3f}"
    )


def main():
    torch.set_num_threads(1)
    print("Gaussians, condition 100 (goal at d = 500: POT 8 x the time)")
    for d in (100, 500):
        gaussians(d)
    print("denoising autoencoders of a mixture in the plane, as one program")
    for runs in (1, 8, 32):
        denoisers(runs)
    sizes, times = (50, 100, 200, 400), []
    for d in sizes:
        (S0, S1), _ = known(d, 100, 0)
        times.append(seconds({"ours": gaussian_w2}, 5, np.zeros(d), S0, np.zeros(d), S1)[0]["ours"])
    store("transport", ROWS, [growth("gaussian_w2", "dimension", sizes, times)])


if __name__ == "__main__":
    main()
