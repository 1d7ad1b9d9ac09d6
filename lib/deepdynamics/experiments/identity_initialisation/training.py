"""Networks with class coordinates that start from the identity and from other frames, read layer by layer.

MNIST at 14 × 14, pixels in [0, 1]; d = 196, C = 10, hard tanh, sharpness 5. Starts:

    identity   Wˡ = I
    loop       Haar matrices whose product is I: the untrained network is the identity, in random frames between
    haar       independent Haar matrices
    gaussian   independent entries of variance 1/D

SGD with momentum .9 and the rate .05/L on the cross-entropy, batches of 64 from 20,000 images. A seed draws matrices
and batches. Every network is looked at when the mean loss of its last 50 batches is first at most .3 (``when``
"target"); networks of 20 layers from the identity and the loop go on to 1,500 steps ("long"). On 2,000 test images:

    accuracy   of the class coordinates after every fifth of the layers
    carried    of readers carried back through the start
    deviation  mean over layers of ‖W - W₀‖_F/‖W₀‖_F
    clipped    share of the class coordinates at ±1, as ``accuracy``
    probe      ridge regression on the middle layer, fitted to 2,000 training images; ``untrained``: before training
    linear     logistic regression of the pixels, 3,000 steps on the same images

and of networks of 20 layers from the identity, at 500 of the images: what becomes of the margin when contributions of
the units of one layer (class coordinates excepted) are undone; ``drop``, the mean of what it loses, and ``effect``, the
mean size of its change. Units are taken in the order of ``order`` until the undone change is half of all change of the
layer, in squares: the largest first ("change"), those first that support the answer most, to first order
("gradient"), the largest pixel of the image first ("pixel"), or at random. ``undone``: how many these are.
``template``: correlation between the class rows of Σ(Wˡ - I), each less the mean row, and those of
``linear``, of the same class and of other classes.

    stored = results.load(training.KEY)
    stored.accuracy.sel(start="identity", depth=20, when="target").mean("seed")            # over place
"""

import functools
from collections.abc import Callable

import numpy as np
import torch
import xarray
from torch import Tensor
from torch.nn import functional

from deepdynamics import data
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.interpretation import ClassNetwork, carried_readers, contributions, deviation, identity_network, undo
from deepdynamics.linearprobe import ridge_accuracy
from deepdynamics.networks import generator, haar

__all__ = ["KEY", "cell", "checks", "grid", "images", "margins", "network", "sources", "train"]

KEY = "identity-initialisation.training"
SIDE, CLASSES, SHARPNESS, BATCH, RATE, TARGET, WINDOW, LONG = 14, 10, 5.0, 64, 0.05, 0.3, 50, 1500
STARTS, DEPTHS, SEEDS, PLACES = ("identity", "loop", "haar", "gaussian"), (5, 10, 20, 40), tuple(range(1, 9)), 5
DEEP, LAYERS, ORDERS = 20, (5, 10, 15), ("change", "gradient", "pixel", "random")
RUN = ("start", "depth", "seed")
DIMENSIONS = {
    "steps": RUN,
    "accuracy": (*RUN, "when", "place"),
    "carried": (*RUN, "when", "place"),
    "deviation": (*RUN, "when"),
    "clipped": (*RUN, "when", "place"),
    "probe": RUN,
    "untrained": RUN,
    "linear": ("seed",),
    "drop": ("seed", "layer", "order"),
    "effect": ("seed", "layer", "order"),
    "undone": ("seed", "layer", "order"),
    "template": ("seed", "class"),
}
COORDINATES = {
    "start": STARTS,
    "depth": DEPTHS,
    "seed": SEEDS,
    "when": ("target", "long"),
    "place": tuple(k / PLACES for k in range(PLACES + 1)),
    "layer": LAYERS,
    "order": ORDERS,
    "class": ("same", "other"),
}
PARAMETERS = {
    "activation": "hardtanh",
    "units": SIDE**2 + CLASSES,
    "loss": "cross-entropy",
    "optimiser": "momentum",
    "batch": BATCH,
    "rate_times_depth": RATE,
    "target_loss": TARGET,
    "window": WINDOW,
    "long": LONG,
}
NEEDS = ("mnist",)
tolerance = {
    "steps": (0.0, 10.0),
    "accuracy": (0.0, 0.03),
    "carried": (0.0, 0.03),
    "deviation": (0.02, 0.0),
    "clipped": (0.0, 0.02),
    "probe": (0.0, 0.01),
    "untrained": (0.0, 0.01),
    "linear": (0.0, 0.01),
    "drop": (0.1, 0.0),
    "effect": (0.1, 0.0),
    "undone": (0.1, 0.0),
    "template": (0.0, 0.02),
}
only_whole = (
    "drop",
    "effect",
    "undone",
    "template",
    "linear",
)  # not compared: a check trains the shallowest networks only
checks: tuple[Point, ...] = (
    {"start": "identity", "depth": 5, "seed": 1},
    {"start": "haar", "depth": 20, "seed": 1},
    {"start": "gaussian", "depth": 20, "seed": 1},
)


def grid(scale: str) -> list[Point]:
    """One network of three starts, or all: at 20 layers every start, at other depths the identity."""
    others = [depth for depth in DEPTHS if depth != DEEP]
    paper = points(start=STARTS, depth=(DEEP,), seed=SEEDS) + points(start=STARTS[:1], depth=others, seed=SEEDS)
    return at_scale(scale, live=list(checks), paper=paper)


def sources() -> data.Provenance:
    """Where the images come from."""
    return data.load("mnist", "train", n=1).provenance


@functools.lru_cache(maxsize=1)
def images() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """20,000 images (n, 196) with labels to learn from, and 2,000 to test."""
    (X, y, _), (tested, answers, _) = data.load("mnist", "train", n=20000), data.load("mnist", "test", n=2000)
    return *_pooled(X, y), *_pooled(tested, answers)


def _pooled(X: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return functional.avg_pool2d(X, 28 // SIDE).flatten(1).float(), y


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


def train(net: torch.nn.Module, rate: float, seed: int, stop: Callable[[list[float]], bool]) -> int:
    """Train in place until ``stop`` of the losses so far; returns the number of steps."""
    X, y, _, _ = images()
    optimiser, draw = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9), generator(1000 + seed)
    losses: list[float] = []
    while not stop(losses):
        batch = torch.randint(len(X), (BATCH,), generator=draw)
        loss = functional.cross_entropy(net(X[batch]), y[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return len(losses)


def at_target(losses: list[float]) -> bool:
    """Whether the mean of the last 50 losses is at most the target, or 3,000 steps are over."""
    return len(losses) == 3000 or (len(losses) >= WINDOW and float(np.mean(losses[-WINDOW:])) <= TARGET)


def cell(start: str, depth: int, seed: int) -> dict[str, object]:
    """One network: at the target, and further where it has 20 layers and is the identity at its start."""
    net, first = network(start, depth, seed), network(start, depth, seed)
    rows = carried_readers([weight.detach() for weight in first.parameters() if weight.ndim == 2], net.readers)
    places, middle = [depth * k // PLACES for k in range(PLACES + 1)], depth // 2
    found: dict[str, object] = {"untrained": _probe(first, middle)}
    found["steps"] = train(net, RATE / depth, seed, at_target)
    found["probe"] = _probe(net, middle)
    looks = [_look(net, first, rows, places)]
    if depth == DEEP and start == "identity":
        found |= _interpreted(net, seed)
    if depth == DEEP and start in ("identity", "loop"):
        again = network(start, depth, seed)
        train(again, RATE / depth, seed, lambda losses: len(losses) >= LONG)
        looks.append(_look(again, first, rows, places))
    when = xarray.DataArray(["target", "long"][: len(looks)], dims="when")
    looked = xarray.concat(looks, when.assign_coords(when=when).rename("when"))
    return found | {str(name): values for name, values in looked.items()}


def _look(net: ClassNetwork, first: ClassNetwork, rows: Tensor, places: list[int]) -> xarray.Dataset:
    """Accuracy by the class coordinates and by the carried readers, and how many of these are clipped, at some layers;
    mean deviation."""
    _, _, tested, answers = images()
    states = [net.states(tested)[place] for place in places]
    ends = [state[:, -CLASSES:] for state in states]
    carried = [state @ reader.T for state, reader in zip(states, rows[places], strict=True)]
    right = [[float((logits.argmax(-1) == answers).float().mean()) for logits in read] for read in (ends, carried)]
    clipped = [float((end.abs() >= 1).float().mean()) for end in ends]
    values = {"accuracy": right[0], "carried": right[1], "clipped": clipped}
    found = {name: xarray.DataArray(value, {"place": list(COORDINATES["place"])}) for name, value in values.items()}
    return xarray.Dataset(found | {"deviation": xarray.DataArray(float(deviation(net, first).mean()))})


def _probe(net: ClassNetwork, layer: int) -> float:
    """Accuracy of a ridge regression on one layer."""
    X, y, tested, answers = images()
    codes = [net.states(x)[layer][None] for x in (X[:2000], tested)]
    return float(ridge_accuracy(codes[0], y[:2000], codes[1], answers)[0])


def margins(logits: Tensor, answers: Tensor) -> Tensor:
    """The logit of the right class less the largest other one (n,)."""
    right = logits.gather(-1, answers[:, None])[:, 0]
    return right - logits.scatter(-1, answers[:, None], -torch.inf).amax(-1)


def _interpreted(net: ClassNetwork, seed: int) -> dict[str, object]:
    """What undoing contributions does to the margin, and whether the rows are those of a linear classifier."""
    _, _, tested, answers = images()
    x, y = tested[:500], answers[:500]
    before = margins(net(x).detach(), y)
    drop, effect, undone = np.zeros((3, len(LAYERS), len(ORDERS)))
    for k, layer in enumerate(LAYERS):
        for j, order in enumerate(ORDERS):
            units = _chosen(net, x, y, layer, order, seed)
            lost = before - margins(undo(net, x, layer, units), y)
            drop[k, j], effect[k, j] = lost.mean(), lost.abs().mean()
            undone[k, j] = units.sum(1).float().mean()
    linear = torch.nn.Linear(SIDE**2, CLASSES)
    torch.nn.init.zeros_(linear.weight), torch.nn.init.zeros_(linear.bias)
    train(linear, RATE, seed, lambda losses: len(losses) >= 3000)
    start = network("identity", DEEP, seed).parameters()
    moved = [w - w0 for w, w0 in zip(net.parameters(), start, strict=True) if w.ndim == 2]
    rows = torch.stack(moved).sum(0).detach()[-CLASSES:, :-CLASSES]
    ours, theirs = (w - w.mean(0) for w in (rows, linear.weight.detach()))
    match = np.corrcoef(ours, theirs)[:CLASSES, CLASSES:]
    off = match[~np.eye(CLASSES, dtype=bool)]
    right = float((linear(tested).argmax(-1) == answers).float().mean())
    template = np.array([match.diagonal().mean(), off.mean()])
    return {"drop": drop, "effect": effect, "undone": undone, "linear": right, "template": template}


def _chosen(net: ClassNetwork, x: Tensor, y: Tensor, layer: int, order: str, seed: int) -> Tensor:
    """Units (n, D) in some order, as many as it takes to undo half of the layer's change in squares."""
    change = contributions(net, x)[layer - 1]
    change[:, -CLASSES:] = 0
    if order == "gradient":
        state = net.states(x)[layer].requires_grad_()
        upper = state
        for part in net.layers[layer:]:
            upper = part(upper)
        margins(net.sharpness * upper[:, -CLASSES:], y).sum().backward()
        score = state.grad * change  # type: ignore[operator]
    elif order == "random":
        score = torch.rand(change.shape, generator=generator(seed))
    else:
        score = change.abs() if order == "change" else net.embed(x)
    score[:, -CLASSES:] = -torch.inf  # class coordinates are never undone
    ranks = score.argsort(1, descending=True)
    share = change.square().gather(1, ranks).cumsum(1) / change.square().sum(1, keepdim=True)
    taken = torch.cat((torch.zeros(len(x), 1), share[:, :-1]), 1) < 0.5  # up to the unit that reaches a half
    return torch.zeros_like(change, dtype=torch.bool).scatter(1, ranks, taken)
