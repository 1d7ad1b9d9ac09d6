"""The parameters of a network in the blocks of a metric: all of them, or those of each module."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from deepdynamics._parametergram import Factors, LayerJacobian, Rows, layer_jacobians, parameter_gram
from deepdynamics._parametergram.model import Network, opened

__all__ = ["Block", "Layer", "Whole", "layers", "whole"]


@dataclass(frozen=True, eq=False)
class Whole:
    """All parameters that are trained: ``gram`` = J Jᵀ (N·C, N·C), in the memory that this takes.

    >>> block = whole(nn.Linear(2, 1), torch.eye(2))
    >>> block.gram, block.pulled(torch.ones(2, 1, dtype=torch.float64))["bias"]
    (tensor([[2., 1.],
            [1., 2.]], dtype=torch.float64), tensor([2.]))
    """

    gram: Tensor
    network: Network
    X: Tensor

    def pulled(self, u: Tensor) -> dict[str, Tensor]:
        """Jᵀu of u (N, C), by one backward pass, as a tensor for each parameter."""
        with self.network.recording():
            value = self.network(self.X)
            parameters = list(self.network.parameters.values())
            found = torch.autograd.grad(value, parameters, u.to(value), allow_unused=True)
        return {name: g for name, g in zip(self.network.parameters, found, strict=True) if g is not None}


@dataclass(frozen=True, eq=False)
class Layer:
    """The parameters of one module, in float64.

    >>> block = layers(nn.Linear(2, 1), torch.eye(2))[0]
    >>> block.gram, block.pulled(torch.ones(2, 1, dtype=torch.float64))["bias"]
    (tensor([[2., 1.],
            [1., 2.]], dtype=torch.float64), tensor([2.], dtype=torch.float64))
    """

    jacobians: tuple[LayerJacobian, ...]

    @property
    def gram(self) -> Tensor:
        """J Jᵀ (N·C, N·C)."""
        return torch.stack([each.gram() for each in self.jacobians]).sum(0)

    def pulled(self, u: Tensor) -> dict[str, Tensor]:
        """Jᵀu of u (N, C), as a tensor for each parameter."""
        return {name: value for each in self.jacobians for name, value in each.pulled(u).items()}

    @property
    def silent(self) -> bool:
        """Whether no output depends on these parameters, as in a layer whose units are all off.

        >>> layers(nn.Sequential(nn.Linear(2, 1), nn.Threshold(9.0, 0.0), nn.Linear(1, 1)), torch.eye(2))[0].silent
        True
        """
        return all(isinstance(each.part, Rows) and not each.part.values.any() for each in self.jacobians)

    def factors(self, kind: str) -> Factors:
        """Inputs (N, 1, i) and signals (N, C, 1, o) of a weight matrix, its bias included, that is used once a sample.

        ValueError, which names the parameters and the ``kind`` of metric, for every other module.

        >>> layers(nn.Linear(2, 1), torch.eye(2))[0].factors("kfac").inputs.shape
        torch.Size([2, 1, 3])
        """
        part = self.jacobians[0].part
        once = isinstance(part, Factors) and part.inputs.is_floating_point() and part.signals.shape[2] == 1
        if len(self.jacobians) > 1 or not isinstance(part, Factors) or not once:
            names = ", ".join(name for each in self.jacobians for name in each.names)
            raise ValueError(
                f"kind = {kind!r}: the parameters {names} are no weight matrix that is used once a sample (as in a "
                "linear layer), so their metric is no Kronecker product and has no units; exact, layerwise and "
                "tridiagonal take every network"
            )
        return part

    def split(self, matrix: Tensor) -> dict[str, Tensor]:
        """A matrix (o, i) in the place of the weight and its bias, as a tensor for each.

        >>> layers(nn.Linear(2, 1), torch.eye(2))[0].split(torch.tensor([[1.0, 2.0, 3.0]]))
        {'weight': tensor([[1., 2.]]), 'bias': tensor([3.])}
        """
        (jacobian,) = self.jacobians
        part = self.factors("kfac")
        weight = matrix[:, :-1] if part.bias else matrix
        parts = [weight.mT if part.transposed else weight, matrix[:, -1]]
        named = zip(jacobian.names, parts, jacobian.shapes, strict=False)
        return {name: value.reshape(shape) for name, value, shape in named}


Block = Whole | Layer


def whole(model: nn.Module, X: Tensor) -> Whole:
    """All parameters of ``model`` that are trained, at samples X (N, …).

    >>> whole(nn.Linear(2, 1), torch.eye(2)).gram.shape
    torch.Size([2, 2])
    """
    network = opened(model, X)
    if all(p.requires_grad for p in model.parameters()):
        gram = parameter_gram(model, X).gram.double()
    else:
        gram = torch.stack([each.gram for each in layers(model, X)]).sum(0)
    trained = {name: p for name, p in network.parameters.items() if p.requires_grad}
    return Whole(gram, replace(network, parameters=trained), X)


def layers(model: nn.Module, X: Tensor) -> list[Layer]:
    """The modules of ``model`` that have trained parameters of their own, in the order of the parameters, at samples X
    (N, …): products are in float64 whatever the model is in, so that they are positive semidefinite to 1e-16.

    Raises ``ValueError`` for a weight that is trained beside a bias that is not, or the other way round.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    >>> [layer.jacobians[0].names for layer in layers(net, torch.eye(2))]
    [('0.weight', '0.bias'), ('2.weight', '2.bias')]
    """
    trained = {name: p.requires_grad for name, p in model.named_parameters()}
    if not any(trained.values()):
        raise ValueError("model has no parameter with requires_grad: one at least is needed")
    modules: dict[str, list[LayerJacobian]] = {}
    for each in layer_jacobians(model, X):
        some = {trained[name] for name in each.names}
        if len(some) > 1:
            raise ValueError(f"the parameters {', '.join(each.names)}: both or neither with requires_grad is allowed")
        if some == {True}:
            modules.setdefault(each.names[0].rpartition(".")[0], []).append(_double(each))
    return [Layer(tuple(own)) for own in modules.values()]


def _double(jacobian: LayerJacobian) -> LayerJacobian:
    part = jacobian.part
    if isinstance(part, Rows):
        return replace(jacobian, part=Rows(part.values.double()))
    inputs = part.inputs.double() if part.inputs.is_floating_point() else part.inputs
    return replace(jacobian, part=replace(part, inputs=inputs, signals=part.signals.double()))
