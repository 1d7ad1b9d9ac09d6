"""Jacobian spectra, noise and directions in eight small CNNs a data set, untrained and trained.

Networks of `small.network`, trained on 8,000 digits of MNIST or on the first ten of CIFAR-100's classes in grey, at
most 1,500 photographs. Statements about networks are means over eight of them, each of which is measured before and
after training; every number that is stored is a network's mean over images. Weights start with the variance 1/3n of
torch's own; as a control, networks of the same seeds start with He's 2/n, six times as large (before training their
Jacobians are proportional to the others, so only the trained ones are measured).

**To draw it**::

    found = results.load("cnn-jacobian.small")
    found["layers"].sel(data="mnist", layer=5, quantity="largest")      # (state, network)
    found["noise"].sel(data="cifar-100", state="trained", noisy=6)      # (network, level, size)

**To compute a part** (about 8 s on one thread, nearly all of it training)::

    net = small.network_of("mnist", 0, trained=True)
    small.layer_quantities(net, small.pictures("mnist").measured[:16], (5, 6))[0]   # as in found["layers"]

Measured images are dequantised by uniform noise of one grey level: on a constant background the inputs of a maximum are
equal, and there is no derivative. Jacobians are with respect to grey values in units of their standard deviation.
"""

import copy
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray
from numpy.typing import NDArray
from torch import Tensor

from deepdynamics import data, jacobian
from deepdynamics._checks import one_of
from deepdynamics.directions import KINDS, known_tangents, nearest_difference, span_noise
from deepdynamics.experiments._experiment import Point, at_scale, points
from deepdynamics.jacobian import localisation, participation_ratio
from deepdynamics.networks import CNN, Layer, generator, small

__all__ = ["KEY", "Pictures", "cell", "checks", "grid", "layer_quantities", "network_of", "pictures"]

KEY = "cnn-jacobian.small"
DATA = ("mnist", "cifar-100")
STATES = ("untrained", "trained")
NETWORKS = tuple(range(8))
TRAINED_ON = {"mnist": 8000, "cifar-100": 1500}
TESTED_ON = {"mnist": 1000, "cifar-100": 250}
EPOCHS = {"mnist": 2, "cifar-100": 15}
CLASSES = 10
SEED = 6000
DEPTHS = (1, 2, 3, 4, 5, 6)
WEIGHT_VAR, CONTROL_VAR = 1 / 3, 2.0
IMAGES, FEW, FEWER, MANY = 16, 3, 2, 32  # of spectra of layers 5 and 6, 1 to 4, 1 under noise; of directions
ANSWERS = 1000  # images at most, of an accuracy
LARGEST, LEADING, CUTOFF = 0.05, 10, 1e-5
QUANTITIES: tuple[str, ...] = (
    "largest",
    "frobenius",
    "rank",
    "participation",
    "participation of rank",
    "at 10 %",
    "at 50 %",
)
QUANTITIES += ("spread, top", "radius, top", "spread, bottom", "radius, bottom")
RANKS = (0.0, *np.round(np.geomspace(0.01, 1, 24), 4).tolist())  # shares of the rank
LEVELS = (0.0, 0.5, 1.0, 2.0, 3.0)
NOISY = (1, 5, 6)
SIZES = ("largest", "frobenius", "leading ten")
AIMED = (5, 6)
DIRECTIONS = ("first", "top", "bottom", "all")
LENGTHS = (0.01, 1.0, 2.0, 4.0, 8.0, 16.0)
DRAWS = 4
TANGENTS = (*KINDS, "nearest neighbour")
COORDINATES: dict[str, Sequence[object]] = {
    "data": DATA,
    "network": NETWORKS,
    "state": STATES,
    "layer": DEPTHS,
    "quantity": QUANTITIES,
    "share": RANKS,
    "level": LEVELS,
    "noisy": NOISY,
    "size": SIZES,
    "aimed": AIMED,
    "direction": DIRECTIONS,
    "length": LENGTHS,
    "tangent": TANGENTS,
    "part": ("share", "gain"),
    "identity": ("bias part", "defect"),
}
_OF_STATES: dict[str, tuple[str, ...]] = {
    "train_accuracy": (),
    "layers": ("layer", "quantity"),
    "spectrum": ("layer", "share"),
    "noise_accuracy": ("level",),
    "active": ("level", "layer"),
    "noise": ("noisy", "level", "size"),
    "linear_gain": ("aimed", "direction"),
    "gain": ("aimed", "direction", "length"),
    "accuracy": ("aimed", "direction", "length"),
    "tangents": ("aimed", "tangent", "part"),
    "homogeneity": ("identity",),
}
_OF_CONTROLS = {"control_accuracy": (), "control_layers": ("layer", "quantity"), "control_spectrum": ("layer", "share")}
DIMENSIONS: dict[str, tuple[str, ...]] = {
    **{name: ("data", "network", "state", *own) for name, own in _OF_STATES.items()},
    **{name: ("data", "network", *own) for name, own in _OF_CONTROLS.items()},
}
PARAMETERS = {
    "architecture": "conv 3x3 16-32-32-32, ReLU, max-pool after 1 and 2, dense 128-10",
    "trained_on": TRAINED_ON,
    "epochs": EPOCHS,
    "optimiser": "AdamW, rate 0.002, decay 0.01, batch 64",
    "weight_var": [WEIGHT_VAR, CONTROL_VAR],
    "images": [IMAGES, FEW, FEWER, MANY],
}
SEEDS, NEEDS = NETWORKS, DATA
checks = (
    {"data": "mnist", "network": 0, "state": "untrained"},
    {"data": "mnist", "network": 0, "state": "trained", "depths": (5, 6)},
    {"data": "mnist", "network": 1, "state": "control", "depths": (5, 6)},
    {"data": "cifar-100", "network": 1, "state": "untrained", "depths": (5, 6)},
)
# Training amplifies the rounding of another machine: two epochs on digits change accuracies by a few answers, singular
# values by a tenth. Fifteen epochs on CIFAR-100 make another network of it, which no check can compare.
tolerance = {name: (0.1, 0.05) for name in DIMENSIONS}


Found = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Pictures:
    """Images (n, 1, side, side), normalised, and labels to train and test on; the `measured` ones (32, 1, side, side),
    the first of the test images, dequantised, with their labels; mean and deviation of a grey value.
    """

    X: Tensor
    y: Tensor
    test_X: Tensor
    test_y: Tensor
    measured: Tensor
    measured_y: Tensor
    mean: float
    deviation: float
    provenance: data.Provenance


@functools.lru_cache(maxsize=2)
def pictures(name: str) -> Pictures:
    """The images of "mnist" or "cifar-100" (in grey by the usual weights of red, green and blue; ten classes, in
    alphabetical order). Raises ValueError for another name.
    """
    one_of("name", name, DATA)
    parts, provenances = [], []
    for split, most in (("train", TRAINED_ON[name]), ("test", TESTED_ON[name])):
        enough = most if name == "mnist" and data.available(name) else None
        images, labels, provenance = data.load(name, split, n=enough)
        if images.shape[1] == 3:
            images = torch.einsum("nchw,c->nhw", images, images.new_tensor((0.299, 0.587, 0.114)))[:, None]
        chosen = (labels < CLASSES).nonzero()[:most, 0]
        parts.append((images[chosen], labels[chosen]))
        provenances.append(provenance)
    (X, y), (test_X, test_y) = parts
    mean, deviation = float(X.double().mean()), float(X.double().std())
    dither = torch.rand(test_X[:MANY].shape, generator=generator(SEED), dtype=torch.float64) - 0.5
    measured = ((test_X[:MANY] + dither / 255 - mean) / deviation).float()
    normal = [(images - mean) / deviation for images in (X, test_X)]
    return Pictures(normal[0], y, normal[1], test_y, measured, test_y[:MANY], mean, deviation, provenances[0])


def network_of(name: str, number: int, *, trained: bool, weight_var: float = WEIGHT_VAR) -> CNN:
    """Network `number` of a data set; untrained and trained ones of one number start alike."""
    images = pictures(name)
    seed = SEED + 100 * DATA.index(name) + number
    net = small.network(images.X.shape[-1], weight_var=weight_var, seed=seed)
    if trained:
        small.train(net, images.X, images.y, epochs=EPOCHS[name], seed=seed)
    return net.requires_grad_(False)


def grid(scale: str) -> list[Point]:
    """One untrained network, or eight a data set, before and after training and the controls."""
    live = points(data=("mnist",), network=(0,), state=("untrained",), depths=((5, 6),))
    return at_scale(scale, live=live, paper=points(data=DATA, network=NETWORKS, state=(*STATES, "control")))


def cell(data: str, network: int, state: str, depths: Sequence[int] = DEPTHS) -> dict[str, xarray.DataArray]:
    """All quantities of one network, untrained or trained; the quantities of a "control", which was trained from
    weights of variance 2/n, are fewer. Of `depths` other than all six, only those layers; with (5, 6) it is fast,
    because their Jacobians have few rows.
    """
    found, own = (
        (_control(data, network, depths), _OF_CONTROLS)
        if state == "control"
        else (_measured(data, network, state, depths), _OF_STATES)
    )
    coordinates = {**COORDINATES, "noisy": [depth for depth in NOISY if depth in depths]}
    arrays = {}
    for name, value in found.items():
        axes = {dim: list(depths if dim == "layer" and name != "active" else coordinates[dim]) for dim in own[name]}
        arrays[name] = xarray.DataArray(value.astype(np.float32), axes, list(axes))
    if len(depths) < len(DEPTHS) and "active" in arrays:
        arrays["active"] = arrays["active"].sel(layer=list(depths))
    return arrays


def sources() -> dict[str, data.Provenance]:
    """Where the images come from."""
    return {name: pictures(name).provenance for name in DATA}


def _measured(name: str, number: int, state: str, depths: Sequence[int]) -> Found:
    images, net = pictures(name), network_of(name, number, trained=state == "trained")
    draw = SEED + 1000 * (1 + DATA.index(name)) + number  # the same noise before and after training
    layers, spectrum = layer_quantities(net, images.measured[:IMAGES], depths)
    return {
        "train_accuracy": np.array(small.accuracy(net, images.X[:ANSWERS], images.y[:ANSWERS])),
        "layers": layers,
        "spectrum": spectrum,
        **_noise(net, images, draw, [depth for depth in NOISY if depth in depths]),
        **_aimed(net, images, draw + 200),
        "homogeneity": _homogeneity(net, images.measured[:IMAGES]),
    }


def _control(name: str, number: int, depths: Sequence[int]) -> Found:
    images, net = pictures(name), network_of(name, number, trained=True, weight_var=CONTROL_VAR)
    layers, spectrum = layer_quantities(net, images.measured[:IMAGES], depths)
    right = small.accuracy(net, images.test_X, images.test_y)
    return {"control_accuracy": np.array(right), "control_layers": layers, "control_spectrum": spectrum}


def _jacobians(net: CNN, x: Tensor, depths: Sequence[int]) -> dict[int, Tensor]:
    """J_{0→l} for the layers l of `depths`: of layers 5 and 6 alone from the rows, else from the columns."""
    if min(depths) < 5:
        every = jacobian.cumulative_jacobians(net.layers[: max(depths)], x)
        return {depth: every[depth - 1] for depth in depths}
    J = jacobian.cumulative_jacobian(net.layers[:5], x)
    readout = net.layers[5]
    assert isinstance(readout, Layer)
    return {depth: J if depth == 5 else readout.weight @ J for depth in depths}


def layer_quantities(
    net: CNN, images: Tensor, depths: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`QUANTITIES` (depths, 11) and decimal logarithms of singular values at the shares `RANKS` of the rank (depths,
    25), means over images: the first three for the wide layers 1 to 4.
    """
    numbers: dict[int, list[list[float]]] = {depth: [] for depth in depths}
    logarithms: dict[int, list[NDArray[np.float64]]] = {depth: [] for depth in depths}
    for i, x in enumerate(images):
        wanted = [depth for depth in depths if i < FEW or depth >= 5]
        if not wanted:
            break
        for depth, J in _jacobians(net, x, wanted).items():
            s, V = jacobian.right_singular(J, cutoff=CUTOFF)
            numbers[depth].append(_describe(s, V, images.shape[-1]))
            logarithms[depth].append(s[[_place(share, len(s)) for share in RANKS]].log10().numpy())
    means = [[np.mean(found[depth], axis=0) for depth in depths] for found in (numbers, logarithms)]
    return np.array(means[0]), np.array(means[1])


def _place(share: float, rank: int) -> int:
    return max(0, math.ceil(share * rank) - 1)


def _edge(rank: int) -> int:
    return max(1, round(LARGEST * rank))


def _describe(s: Tensor, V: Tensor, side: int) -> list[float]:
    """`QUANTITIES` of one spectrum."""
    rank, edge = len(s), _edge(len(s))
    participation = float(participation_ratio(s))
    spread, radius, _ = localisation(V, (side, side))
    return [
        float(s[0]),
        float(s.norm()),
        float(rank),
        participation,
        participation / rank,
        float(s[_place(0.1, rank)] / s[0]),
        float(s[_place(0.5, rank)] / s[0]),
        *(
            float(each)
            for part in (slice(edge), slice(rank - edge, rank))
            for each in (spread[part].mean(), radius[part].mean())
        ),
    ]


def _noise(net: CNN, images: Pictures, draw: int, depths: Sequence[int]) -> Found:
    """Accuracy and share of active units (levels, layers) on images with noise; `SIZES` of the Jacobians there (depths,
    levels, 3): means over images, of the logarithm for the ten leading values."""
    noise = torch.randn(images.test_X.shape, generator=generator(draw))
    right, active = [], []
    for level in LEVELS:
        right.append(small.accuracy(net, images.test_X + level * noise, images.test_y))
        states = net.states((images.test_X + level * noise)[:250])[1:]
        active.append([float((state > 0).float().mean()) for state in states])
    measured = images.measured[:IMAGES]
    noise = torch.randn(measured.shape, generator=generator(draw + 100))
    found = np.empty((len(depths), len(LEVELS), len(SIZES)))
    for j, level in enumerate(LEVELS):
        sizes: dict[int, list[list[float]]] = {depth: [] for depth in depths}
        for i, x in enumerate(measured + level * noise):
            narrow = [depth for depth in depths if depth >= 5]
            spectra = _jacobians(net, x, narrow)
            if 1 in depths and i < FEWER:
                spectra |= _jacobians(net, x, [1])
            for depth, J in spectra.items():
                sizes[depth].append(_sizes(J))
        found[:, j] = [np.mean(sizes[depth], axis=0) for depth in depths]
    return {"noise_accuracy": np.array(right), "active": np.array(active), "noise": found}


def _sizes(J: Tensor) -> list[float]:
    s = jacobian.gram_singular_values(J)
    leading = s[:LEADING].clamp(min=CUTOFF * float(s[0]))
    return [float(s[0]), float(s.norm()), math.exp(float(leading.log().mean()))]


def _aimed(net: CNN, images: Pictures, draw: int) -> Found:
    """Gain ‖h(x + δ) - h(x)‖/‖δ‖ of layers 5 and 6 and accuracy of the network for δ along the first right singular
    vector, in the span of the top and bottom 5 %, and along all directions; the linear prediction of the gain; and the
    share and relative gain of tangents. Gains are root mean squares over draws and images, the rest means.
    """
    directions = torch.Generator().manual_seed(draw)
    shape = (len(AIMED), len(DIRECTIONS))
    linear, gain, right = np.zeros(shape), np.zeros((*shape, len(LENGTHS))), np.zeros((*shape, len(LENGTHS)))
    shares = np.zeros((len(AIMED), len(TANGENTS), 2))
    for x, label in zip(images.measured, images.measured_y, strict=True):
        clean, moves = net.states(x), _tangents(images, x)
        for i, (depth, cumulative) in enumerate(_jacobians(net, x, AIMED).items()):
            J = cumulative.double()
            _, s, Vh = torch.linalg.svd(J, full_matrices=False)  # whose signs the stored steps have
            rank = int((s > CUTOFF * s[0]).sum())
            s, V = s[:rank], Vh[:rank].T
            edge, typical = _edge(len(s)), float(s.norm()) / math.sqrt(len(V))
            leading = V[:, :LEADING]
            shares[i, :, 0] += (moves @ leading).square().sum(1).numpy()
            shares[i, :, 1] += ((moves @ J.T).norm(dim=1) / typical).numpy()
            for j, part in enumerate((slice(1), slice(edge), slice(len(s) - edge, len(s)), slice(0))):
                inside = V[:, part] if part.stop else torch.eye(len(V), dtype=V.dtype)
                linear[i, j] += float((J @ inside).square().sum() / inside.shape[1])
                steps = span_noise(inside, DRAWS, seed=directions).float()
                lengths = torch.tensor(LENGTHS)[:, None, None]
                states = net.states(x + (lengths * steps).reshape(-1, *x.shape))
                moved = (states[depth] - clean[depth]).square().sum(1).reshape(len(LENGTHS), DRAWS).mean(1)
                gain[i, j] += (moved / lengths.flatten().square()).numpy()
                right[i, j] += (states[-1].argmax(1) == label).double().reshape(len(LENGTHS), DRAWS).mean(1).numpy()
    count = len(images.measured)
    return {
        "linear_gain": np.sqrt(linear / count),
        "gain": np.sqrt(gain / count),
        "accuracy": right / count,
        "tangents": shares / count,
    }


def _tangents(images: Pictures, x: Tensor) -> Tensor:
    """The directions `TANGENTS` (7, n) at a measured image, of length 1, in float64."""
    known = known_tangents((x * images.deviation + images.mean).double())
    every = torch.cat([known, nearest_difference(x, images.X)[None].double()]).flatten(1)
    return every / every.norm(dim=1, keepdim=True)


def _homogeneity(net: CNN, images: Tensor) -> NDArray[np.float64]:
    """‖bias part‖/‖h‖ of the outputs, mean over images, and the largest ‖h - J x - bias part‖/‖h‖."""
    found, net = [], copy.deepcopy(net).double()
    for x in images.double():
        linear, constant = jacobian.homogeneous_parts(net, x)
        size, output = float(net(x).norm()), net(x)
        found.append((float(constant.norm()) / size, float((output - linear - constant).norm()) / size))
    return np.array([np.mean(found, axis=0)[0], np.max(found, axis=0)[1]])
