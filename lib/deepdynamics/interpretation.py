"""Reading a network layer by layer: class coordinates, likelihoods, contributions.

An identity network has D = d + C coordinates in every layer. Its input is x⁰ = (x, 0), with C zeros; then

    xˡ = φ(Wˡ xˡ⁻¹ + bˡ),   l = 1..L,   Wˡ(0) = I,

and its logits are s times the last C coordinates of x^L, the *class coordinates*, with a fixed sharpness s. As long as
every Wˡ stays near I, coordinate i means the same in all layers, so that classes can be read from any of them, and
xˡ_i - xˡ⁻¹_i is what unit i of layer l has contributed. This is a reconstruction, from the abstract and the
introduction, of Kubota, Hayashi, Hayase and Uchida 2021 (arXiv:2102.13333); activation, scale and readout are ours.

The same reading in another frame: rows R^L that read the classes from x^L are carried back through the weights of the
start, Rˡ⁻¹ = Rˡ Wˡ(0). For W = I they stay what they are. (With Rˡ = R^L in all layers it is known as logit lens.)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from deepdynamics._checks import Numbers, count, number, positive, tensor
from deepdynamics.activations import ActivationLike
from deepdynamics.networks import MLP, Composition, Seed

__all__ = [
    "ClassNetwork",
    "carried_readers",
    "class_likelihood",
    "contributions",
    "deviation",
    "identity_network",
    "undo",
]


class ClassNetwork(Composition):
    """Layers of D units, all activated; ``classes`` zeros are appended to the input, and the logits are ``sharpness``
    times the last ``classes`` coordinates of the last layer. Made by :func:`identity_network`.

    >>> net = identity_network(3, 2, 4, "hardtanh")
    >>> net.dimension, net.classes, len(net.layers), net(torch.ones(7, 3)).shape
    (3, 2, 4, torch.Size([7, 2]))
    """

    def __init__(self, maps: Sequence[nn.Module], dimension: int, classes: int, sharpness: float):
        super().__init__(maps)
        self.dimension, self.classes, self.sharpness = dimension, classes, sharpness

    @property
    def readers(self) -> Tensor:
        """The rows (classes, D) that read the logits from the last layer.

        >>> identity_network(1, 2, 1, "hardtanh", sharpness=3.0).readers
        tensor([[0., 3., 0.],
                [0., 0., 3.]])
        """
        D, like = self.dimension + self.classes, next(self.parameters())
        return self.sharpness * torch.eye(D, dtype=like.dtype, device=like.device)[-self.classes :]

    def embed(self, x: Numbers) -> Tensor:
        """x⁰ = (x, 0): inputs (..., d) with zeros for the class coordinates, (..., D).

        >>> identity_network(1, 2, 1, "hardtanh").embed([[0.5]])
        tensor([[0.5000, 0.0000, 0.0000]])
        """
        x = tensor("x", x, like=next(self.parameters()))
        if x.ndim == 0 or x.shape[-1] != self.dimension:
            raise ValueError(f"x of shape {tuple(x.shape)}: inputs (..., {self.dimension}) are allowed")
        return torch.cat((x, x.new_zeros(*x.shape[:-1], self.classes)), -1)

    def states(self, x: Numbers) -> list[Tensor]:
        """x⁰, ..., x^L, each (..., D), without an autograd graph.

        >>> [tuple(state.shape) for state in identity_network(3, 2, 1, "hardtanh").states(torch.zeros(7, 3))]
        [(7, 5), (7, 5)]
        """
        return super().states(self.embed(x))

    def forward(self, x: Numbers) -> Tensor:
        """Logits (..., classes) of inputs (..., d).

        >>> identity_network(3, 2, 4, "hardtanh")([[1.0, 0.0, 0.0]]).detach()
        tensor([[0., 0.]])
        """
        return self.sharpness * self.stack(self.embed(x))[..., -self.classes :]


def identity_network(
    dimension: int,
    classes: int,
    depth: int,
    activation: ActivationLike,
    *,
    init: str = "identity",
    sharpness: float = 5.0,
    seed: Seed = 0,
    dtype: torch.dtype | None = None,
) -> ClassNetwork:
    """A network of ``depth`` layers of d + C units that starts at the identity, with class coordinates.

    ``dimension`` d; ``classes`` C; ``init``: "identity", or "orthogonal" or "gaussian" of variance 1/D for a network
    with the same class coordinates and another start (``seed`` draws it). Biases start at 0. An activation that is
    the identity near 0 (hard tanh) makes the untrained network the identity there; one that is 0 on one side (ReLU)
    lets no gradient into class coordinates, which start at 0.

    Raises ``ValueError`` for counts below 1, a sharpness that is not positive, and as :class:`MLP` does.

    >>> net = identity_network(4, 2, 10, "hardtanh")
    >>> x = torch.linspace(0, 1, 4)
    >>> torch.equal(net.states(x)[-1], net.embed(x))
    True
    """
    dimension, classes, depth = count("dimension", dimension), count("classes", classes), count("depth", depth)
    widths = (dimension + classes,) * (depth + 1)
    layers = MLP(widths, activation, init=init, readout="activated", seed=seed, dtype=dtype).layers
    return ClassNetwork(layers, dimension, classes, number("sharpness", sharpness, positive))


def carried_readers(weights: Sequence[Tensor] | Tensor, readers: Tensor) -> Tensor:
    """Rows (L + 1, C, n) that read the classes from every layer: Rˡ⁻¹ = Rˡ Wˡ, from R^L = ``readers`` (C, n).

    ``weights``: W¹..W^L (n, n), those of the start. If φ is the identity, Rˡ xˡ are the logits that the untrained rest
    of the network makes of layer l. Weights of the identity leave the readers as they are. Raises ``ValueError`` where
    shapes do not fit.

    >>> W = torch.tensor([[0.0, 1.0], [1.0, 0.0]])                 # two exchanges of the coordinates
    >>> carried_readers([W, W], torch.tensor([[1.0, 0.0]]))[:, 0].tolist()
    [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    """
    rows = [readers]
    for weight in reversed(list(weights)):
        if weight.ndim != 2 or rows[-1].shape[-1] != weight.shape[0] or weight.shape[0] != weight.shape[1]:
            raise ValueError(f"weights {tuple(weight.shape)} after readers {tuple(readers.shape)}: (n, n), (C, n)")
        rows.append(rows[-1] @ weight)
    return torch.stack(rows[::-1])


@torch.no_grad()
def class_likelihood(model: nn.Module, X: Numbers, readers: Tensor | None = None) -> Tensor:
    """Likelihood of every class read from every layer: softmax of Rˡ xˡ, (depth + 1, n, classes), for inputs (n, d).

    A :class:`ClassNetwork` is read in its class coordinates. ``readers`` are other rows: (classes, D), the same in all
    layers, or (depth + 1, classes, D), such as :func:`carried_readers`. With ``readers`` the model may be any
    ``Composition`` or ``torch.nn.Sequential`` whose states all have D coordinates; of a Sequential every module counts
    as a layer. Raises ``ValueError`` for a model without readers, or where shapes do not fit.

    >>> net = torch.nn.Sequential(*[torch.nn.Linear(5, 5) for _ in range(3)])
    >>> class_likelihood(net, torch.zeros(7, 5), readers=torch.eye(5)[:2]).shape
    torch.Size([4, 7, 2])
    """
    states = _states(model, X)
    if readers is None:
        if not isinstance(model, ClassNetwork):
            raise ValueError(f"{type(model).__name__} has no class coordinates: give readers (classes, D)")
        readers = model.readers
    fits = readers.ndim in (2, 3) and (readers.ndim == 2 or len(readers) == len(states))
    if not fits or any(state.ndim != 2 or state.shape[-1] != readers.shape[-1] for state in states):
        shapes = sorted({tuple(state.shape[1:]) for state in states})
        raise ValueError(f"readers {tuple(readers.shape)} for {len(states)} states of shapes (n, *{shapes})")
    return (torch.stack(states) @ readers.mT).softmax(-1)


def contributions(model: nn.Module, x: Numbers) -> Tensor:
    """What every unit of every layer changes, xˡ - xˡ⁻¹: (depth, ..., D) for inputs (..., d).

    Summed over the layers they are x^L - x⁰. A :class:`ClassNetwork`, or another model as in :func:`class_likelihood`,
    all of whose states have D coordinates; ``ValueError`` otherwise.

    >>> net = identity_network(3, 2, 4, "hardtanh")
    >>> bool((contributions(net, torch.rand(7, 3)) == 0).all())
    True
    """
    states = _states(model, x)
    if len({state.shape for state in states}) != 1:
        raise ValueError(f"states of shapes {sorted({tuple(s.shape) for s in states})}: one width is allowed")
    return torch.stack(states).diff(dim=0)


def undo(model: ClassNetwork, x: Numbers, layer: int, chosen: Tensor) -> Tensor:
    """Logits (..., classes) when the ``chosen`` units (..., D) of ``layer`` (from 1) keep their value of the layer
    before: their contribution is undone, and the layers above work with the rest.

    Raises ``ValueError`` for another layer or a ``chosen`` that is not boolean.

    >>> net = identity_network(3, 2, 4, "hardtanh")
    >>> undo(net, torch.ones(7, 3), 2, torch.zeros(7, 5, dtype=torch.bool)).shape
    torch.Size([7, 2])
    """
    layer = count("layer", layer, most=len(model.layers))
    if chosen.dtype != torch.bool:
        raise ValueError(f"chosen of type {chosen.dtype}: booleans (..., D) are allowed")
    before, after = model.states(x)[layer - 1 : layer + 1]
    state = torch.where(chosen, before, after)
    with torch.no_grad():
        for upper in model.layers[layer:]:
            state = upper(state)
    return model.sharpness * state[..., -model.classes :]


@torch.no_grad()
def deviation(model: nn.Module, start: nn.Module) -> Tensor:
    """How far every weight matrix is from where it started, ‖W - W₀‖_F/‖W₀‖_F: (depth,), over matrices in order.

    Two models of the same architecture. Raises ``ValueError`` where the shapes of their matrices differ.

    >>> net = identity_network(3, 2, 4, "hardtanh")
    >>> deviation(net, net)
    tensor([0., 0., 0., 0.])
    """
    now, then = ([p for p in module.parameters() if p.ndim > 1] for module in (model, start))
    if [p.shape for p in now] != [p.shape for p in then]:
        raise ValueError("two models with matrices of the same shapes, in the same order, are allowed")
    return torch.stack([(w - w0).norm() / w0.norm() for w, w0 in zip(now, then, strict=True)])


@torch.no_grad()
def _states(model: nn.Module, x: Numbers) -> list[Tensor]:
    if isinstance(model, Composition):
        return model.states(x)
    if not isinstance(model, nn.Sequential):
        raise ValueError(f"{type(model).__name__}: a Composition or a torch.nn.Sequential is allowed")
    found = [tensor("x", x, like=next(model.parameters()))]
    for module in model:
        found.append(module(found[-1]))
    return found
