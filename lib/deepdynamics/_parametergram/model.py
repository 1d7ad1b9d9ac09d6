"""A model on samples: one row of outputs each, the parameters that these depend on, and what is refused."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from deepdynamics._checks import Numbers, parameter, plain, tensor
from deepdynamics.jacobian.inputs import Map, at_input, evaluated, on_a_copy

__all__ = ["Network", "graph_bytes", "opened", "probe", "samples"]


@dataclass(frozen=True, eq=False)
class Network:
    """A model in evaluation mode: its real parameters by name, how many numbers it returns a sample, and whether it
    takes samples together, (n, …), or one at a time and without a batch axis.

    >>> network = opened(nn.Linear(3, 2), torch.ones(4, 3))
    >>> list(network.parameters), network.outputs, network.together, network(torch.ones(5, 3)).shape
    (['weight', 'bias'], 2, True, torch.Size([5, 2]))
    >>> with torch.no_grad(), network.recording():
    ...     network(torch.ones(5, 3)).requires_grad
    True
    """

    parameters: dict[str, Tensor]
    outputs: int
    together: bool
    f: Map

    def __call__(self, X: Tensor) -> Tensor:
        """The outputs (n, C) of samples X (n, …)."""
        found = self.f(X) if self.together else torch.stack([self.f(x) for x in X])
        return found.reshape(len(X), self.outputs)

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Within, autograd records what becomes of every parameter, frozen ones included."""
        before = [p.requires_grad for p in self.parameters.values()]
        try:
            for p in self.parameters.values():
                p.requires_grad_()
            with torch.inference_mode(False), torch.enable_grad():
                yield
        finally:
            for p, was in zip(self.parameters.values(), before, strict=True):
                p.requires_grad_(was)


def samples(name: str, X: Numbers, model: nn.Module) -> Tensor:
    """``X`` (n, …) as a tensor that ``model`` can take: integers where it is a tensor of integers, or an array and the
    model has an embedding; finite floating point numbers otherwise.

    Raises ``ValueError`` that calls it ``name`` for anything else, and for no samples; and for a model that is no
    module.

    >>> samples("X", [[1, 2]], nn.Linear(2, 1)), samples("X", [[1, 2]], nn.Embedding(3, 1))
    (tensor([[1., 2.]]), tensor([[1, 2]]))
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model = {model!r}: a torch.nn.Module is allowed")
    if not isinstance(X, Tensor) and any(isinstance(part, nn.Embedding | nn.EmbeddingBag) for part in model.modules()):
        numbers = np.asarray(plain(X))
        X = torch.from_numpy(numbers.copy()) if numbers.dtype.kind in "iu" else X
    X = tensor(name, X, None if isinstance(X, Tensor) else parameter([model]))
    if X.ndim == 0 or len(X) == 0 or X.is_complex() or (X.is_floating_point() and not torch.isfinite(X).all()):
        raise ValueError(f"{name} of shape {tuple(X.shape)} and type {X.dtype}: finite samples (n, …) are allowed")
    return X.detach().clone() if X.is_inference() else X.detach()


def opened(model: nn.Module, X: Tensor) -> Network:
    """``model`` looked at on the first of the samples X (n, …).

    Raises ``ValueError`` for a module that has no real parameters, is in training mode with dropout or batch
    statistics, or cannot be computed sample by sample.

    >>> opened(nn.Dropout(), torch.ones(1, 2))
    Traceback (most recent call last):
        ...
    ValueError: model = Dropout(p=0.5, inplace=False): a torch.nn.Module with floating point parameters is allowed
    """
    if not any(p.is_floating_point() for p in model.parameters()):
        raise ValueError(f"model = {model!r}: a torch.nn.Module with floating point parameters is allowed")
    if any(t.is_inference() for t in (*model.parameters(), *model.buffers())):
        model = copy.deepcopy(model)
    parameters: dict[str, Tensor] = {name: p for name, p in model.named_parameters() if p.is_floating_point()}
    f = on_a_copy(model)
    value = _by_sample(f, probe(X))
    if value is not None:
        return Network(parameters, value[0].numel(), True, f)
    if not X.is_floating_point():
        evaluated(f, probe(X))  # which raises what it raised above
        raise ValueError(f"model does not treat the rows of X, of shape {tuple(X.shape)}, as separate samples")
    one = at_input(model, X[0])
    return Network(parameters, one.value.numel(), False, one.f)


def probe(X: Tensor) -> Tensor:
    """Two samples to try a network on: the first of X, and where there is one only also its entries in reverse.

    >>> probe(torch.tensor([[1, 2]]))
    tensor([[1, 2],
            [2, 1]])
    """
    return X[:2] if len(X) > 1 else torch.stack([X[0], X[0].flatten().flip(0).view_as(X[0])])


def graph_bytes(network: Network, X: Tensor) -> int:
    """What autograd keeps of one evaluation at X, in bytes, parameters aside.

    >>> X = torch.ones(2, 3)
    >>> graph_bytes(opened(torch.nn.Linear(3, 2), X), X)  # the six inputs and the four outputs
    40
    """
    sizes: dict[int, int] = {}
    own = {p.untyped_storage().data_ptr() for p in network.parameters.values()}

    def pack(t: Tensor) -> Tensor:
        storage = t.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
        return t.detach()  # an output that its own node keeps would never be freed

    with network.recording(), saved_tensors_hooks(pack, lambda t: t):
        value = network(X)
    return sum(sizes.values()) + int(value.nbytes)


def _by_sample(f: Map, X: Tensor) -> Tensor | None:
    """f(X) where it is one value a sample, the same whether samples come together or alone; else None."""
    try:
        value = evaluated(f, X)
        alone = [evaluated(f, x[None]) for x in X]
    except ValueError as reason:
        if "training mode" in str(reason):
            raise
        return None
    except (RuntimeError, IndexError, AssertionError, TypeError):
        return None
    if value.ndim == 0 or any(each.shape != (1, *value.shape[1:]) for each in alone) or len(value) != len(X):
        return None
    gap = (torch.cat(alone) - value).double().norm()
    return value if gap <= 1e3 * torch.finfo(value.dtype).eps * value.double().norm() else None
