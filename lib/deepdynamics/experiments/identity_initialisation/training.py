"""Networks with class coordinates that start from the identity and from other frames, read layer by layer.

MNIST at 14 × 14, pixels in [0, 1]; d = 196, C = 10, 20 layers of hard tanh, sharpness 5. Starts:

    identity   Wˡ = I
    loop       Haar matrices whose product is I: the untrained network is the identity, in random frames between
    haar       independent Haar matrices
    gaussian   independent entries of variance 1/D

SGD with momentum .9 and the rate .0025 on the cross-entropy, batches of 64 from 20,000 images, for 450 steps; from the
identity and the loop for 1,500 as well. A seed draws matrices and batches. On 2,000 test images, after every fourth
layer (``place``):

    accuracy   of the class coordinates
    carried    of readers carried back through the start
    grown      the same of what training has added, xˡ less its value in the untrained network
    clipped    share of the class coordinates at ±1

``linear``: logistic regression of the pixels, 3,000 steps on the same images. ``probe``: ridge regression on layer 10,
fitted to 2,000 training images; ``untrained``: before training.

    stored = results.load(training.KEY)
    stored.accuracy.sel(start="identity", steps=450).mean("seed")                        # over place
"""

import functools

import numpy as np
import torch
import xarray
from torch import Tensor
from torch.nn import functional

from deepdynamics import data
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.interpretation import ClassNetwork, carried_readers, identity_network
from deepdynamics.linearprobe import ridge_accuracy
from deepdynamics.networks import generator, haar

__all__ = ["KEY", "cell", "checks", "grid", "images", "network", "regression", "sources", "train"]

KEY = "identity-initialisation.training"
SIDE, CLASSES, SHARPNESS, DEPTH, BATCH, RATE = 14, 10, 5.0, 20, 64, 0.0025
STARTS, SEEDS, STEPS, PLACES = (
    ("identity", "loop", "haar", "gaussian"),
    tuple(range(1, 9)),
    (450, 1500),
    tuple(range(0, 21, 4)),
)
RUN, READ = ("start", "seed"), ("start", "seed", "steps", "place")
DIMENSIONS = {
    **dict.fromkeys(("accuracy", "carried", "grown", "clipped"), READ),
    **dict.fromkeys(("probe", "untrained"), RUN),
    "linear": ("seed",),
}
COORDINATES = {"start": STARTS, "seed": SEEDS, "steps": STEPS, "place": PLACES}
PARAMETERS = {
    "activation": "hardtanh",
    "layers": DEPTH,
    "units": SIDE**2 + CLASSES,
    "loss": "cross-entropy",
    "optimiser": "momentum",
    "batch": BATCH,
    "rate": RATE,
}
NEEDS = ("mnist",)
tolerance = {
    **dict.fromkeys(("accuracy", "carried", "grown"), (0.0, 0.03)),
    "clipped": (0.0, 0.02),
    **dict.fromkeys(("probe", "untrained", "linear"), (0.0, 0.01)),
}
checks: tuple[Point, ...] = ({"start": "identity", "seed": 1}, {"start": "haar", "seed": 1})


def grid(scale: str) -> list[Point]:
    """A network of two starts, or all."""
    return at_scale(scale, live=list(checks), paper=points(start=STARTS, seed=SEEDS))


def sources() -> data.Provenance:
    """Where the images come from."""
    return data.load("mnist", "train", n=1).provenance


@functools.lru_cache(maxsize=1)
def images() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """20,000 images (n, 196) with labels to learn from, and 2,000 to test; fewer where there are fewer."""
    (X, y, _), (tested, answers, _) = data.load("mnist", "train"), data.load("mnist", "test")
    X, tested = (functional.avg_pool2d(x, 28 // SIDE).flatten(1).float() for x in (X[:20000], tested[:2000]))
    return X, y[:20000], tested, answers[:2000]


def network(start: str, depth: int, seed: int) -> ClassNetwork:
    """An untrained network of one of the four starts."""
    init = {"identity": "identity", "gaussian": "gaussian"}.get(start, "orthogonal")
    net = identity_network(SIDE**2, CLASSES, depth, "hardtanh", init=init, sharpness=SHARPNESS, seed=seed)
    if start == "loop":
        D, draw = SIDE**2 + CLASSES, generator(seed)
        product = torch.eye(D, dtype=torch.float64)
        with torch.no_grad():
            for layer in net.layers[:-1]:
                W = haar(D, D, seed=draw)
                layer.weight.copy_(W)  # type: ignore[operator, union-attr]
                product = W @ product
            net.layers[-1].weight.copy_(product.T)  # type: ignore[operator, union-attr]
    return net


def train(net: torch.nn.Module, rate: float, seed: int, steps: int) -> None:
    """Train in place on the batches of ``seed``."""
    X, y, _, _ = images()
    optimiser, draw = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9), generator(1000 + seed)
    for _ in range(steps):
        batch = torch.randint(len(X), (BATCH,), generator=draw)
        loss = functional.cross_entropy(net(X[batch]), y[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def regression(seed: int) -> torch.nn.Linear:
    """Logistic regression of the pixels, 3,000 steps at the rate that was best of four on seed 1."""
    linear = torch.nn.Linear(SIDE**2, CLASSES)
    torch.nn.init.zeros_(linear.weight)
    torch.nn.init.zeros_(linear.bias)
    train(linear, 0.05, seed, 3000)
    return linear


def accuracy(logits: Tensor) -> float:
    """Share of right answers among the test images."""
    return float((logits.argmax(-1) == images()[3]).float().mean())


def cell(start: str, seed: int) -> dict[str, object]:
    """One network, after 450 steps and, where it is the identity at its start, after 1,500."""
    first = network(start, DEPTH, seed)
    looks = []
    for steps in STEPS if start in ("identity", "loop") else STEPS[:1]:
        net = network(start, DEPTH, seed)
        train(net, RATE, seed, steps)
        looks.append(_look(net, first).expand_dims(steps=[steps]))
        if steps == STEPS[0]:
            probe = _probe(net)
    found: dict[str, object] = {str(name): values for name, values in xarray.concat(looks, "steps").items()}
    if start == "identity":
        found["linear"] = accuracy(regression(seed)(images()[2]))
    return found | {"probe": probe, "untrained": _probe(first)}


def _look(net: ClassNetwork, first: ClassNetwork) -> xarray.Dataset:
    """The readings of a network that started as ``first``, over place."""
    tested, weights = images()[2], [weight.detach() for weight in first.parameters() if weight.ndim == 2]
    rows, states, before = carried_readers(weights, net.readers), net.states(tested), first.states(tested)
    ends = [states[place][:, -CLASSES:] for place in PLACES]
    values = {
        "accuracy": [accuracy(end) for end in ends],
        "carried": [accuracy(states[place] @ rows[place].T) for place in PLACES],
        "grown": [accuracy((states[place] - before[place]) @ rows[place].T) for place in PLACES],
        "clipped": [float((end.abs() >= 1).float().mean()) for end in ends],
    }
    return xarray.Dataset({name: ("place", np.array(value)) for name, value in values.items()}, {"place": list(PLACES)})


def _probe(net: ClassNetwork) -> float:
    """Accuracy of a ridge regression on the middle layer."""
    X, y, tested, answers = images()
    codes = [net.states(x)[DEPTH // 2][None] for x in (X[:2000], tested)]
    return float(ridge_accuracy(codes[0], y[:2000], codes[1], answers)[0])
