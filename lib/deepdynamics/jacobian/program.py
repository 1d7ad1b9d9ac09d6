r"""A map at one point as a straight program of linear operations, for many vectors at a time: v → J v and u → Jᵀ u.

The map is traced once. What depends on the point alone (slopes, the winners of max-pooling, weights in the layout that
the processor likes) is kept, and what is left for each vector is linear: convolutions over a batch of vectors with
channels last, masks, gathers. A strided convolution of few channels is a dense one on the phases of the picture (and
so is the transpose of any convolution), and slopes that only feed a max-pooling or a concatenation are applied where
there is less to multiply.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from deepdynamics.jacobian.inputs import Map
from deepdynamics.jacobian.operations import ByTorch, Concatenation, Convolution, Matrix, Pool, Reshape, Scale, Sum

__all__ = ["Program"]

_aten = torch.ops.aten
_RESHAPES = {
    _aten.view.default,
    _aten._unsafe_view.default,
    _aten.reshape.default,
    _aten.unsqueeze.default,
    _aten.squeeze.dim,
    _aten.squeeze.default,
    _aten.squeeze_.dim,
    _aten.unsqueeze_.default,
    _aten.clone.default,
    _aten.alias.default,
}
_ELEMENTWISE = {_aten.relu.default, _aten.tanh.default, _aten.sigmoid.default, _aten.erf.default}
_RESIDENT = 5_000_000  # entries between two operations, for all vectors together, that a processor's caches take well


class Program:
    """The operations between input and output, each with the names of the tensors it takes and gives.

    Raises what tracing raises where f cannot be traced, or has operations without a rule for derivatives.

    >>> Program(lambda x: 3 * torch.relu(x), torch.tensor([1.0, -1.0])).forward(torch.eye(2))
    tensor([[3., 0.],
            [0., 0.]])
    """

    def __init__(self, f: Map, x: Tensor):
        graph = make_fx(torch.func.functionalize(f))(x)
        graph.graph.eliminate_dead_code()
        recorder = _Recorder(graph)
        recorder.run(x)
        self.values = recorder.values
        self.active: set[fx.Node] = set()
        self.steps: list[tuple[fx.Node, tuple[fx.Node, ...], Any]] = []
        self.merged: dict[fx.Node, Tensor] = {}  # slopes that are left to the next operation
        for node in graph.graph.nodes:
            if node.op == "placeholder":
                self.input = node
                self.active.add(node)
            elif node.op == "output":
                self.output = node.args[0]
            elif node.op == "call_function" and any(source in self.active for source in node.all_input_nodes):
                self.active.add(node)
                self._add(node)
        if self.output not in self.active:
            raise NotImplementedError("the output does not depend on the input")
        widest = max(self.values[node].numel() for node in self.active if isinstance(self.values[node], Tensor))
        self.batch = max(1, _RESIDENT // widest) if x.device.type == "cpu" else 2**31
        del self.values, self.merged
        last_use = {source: i for i, (_, inputs, _) in enumerate(self.steps) for source in inputs}
        self.spent = [[source for source in set(step[1]) if last_use[source] == i] for i, step in enumerate(self.steps)]

    def _add(self, node: fx.Node) -> None:
        target: Any = node.target
        args: Any = node.args
        inputs = tuple(source for source in node.all_input_nodes if source in self.active)
        if target is _aten.max_pool2d_with_indices.default:
            return
        step: Any
        value, first = self.values[node], inputs[0]
        if first.target is _aten.max_pool2d_with_indices.default:
            if args[1] != 0 or target.__name__ != "getitem":
                raise NotImplementedError
            source = first.all_input_nodes[0]
            step = Pool(self.values[source].shape, self.values[first][1], self.merged.get(source))
            inputs = (source,)
        elif target in _RESHAPES:
            step = Reshape(self.values[first].shape, value.shape)
        elif target in _ELEMENTWISE:
            ones = torch.ones_like(value)
            slope = torch.func.jvp(target, (self.values[first],), (ones,))[1]
            users = list(node.users)
            if len(users) == 1 and users[0].target is _aten.max_pool2d_with_indices.default and value.ndim == 3:
                self.merged[node] = slope
                step = None
            elif self._pictures(first):
                parts: Any = first.args[0]
                step = Concatenation([self.values[part].shape[0] for part in parts], slope)
                self.steps = [entry for entry in self.steps if entry[0] is not first]
                inputs = tuple(parts)
            else:
                step = Scale(slope)
        elif target is _aten.convolution.default and self._plain_convolution(node):
            step = Convolution(self.values[first].shape, self.values[args[1]].detach(), args[3], args[4])
        elif self._pictures(node):
            step, inputs = Concatenation([self.values[part].shape[0] for part in args[0]]), tuple(args[0])
        elif target is _aten.add.Tensor and self._shifts(node):
            step = None
        elif target is _aten.addmm.default and inputs == (args[1],) and not node.kwargs:
            step = Matrix(self.values[args[2]])
        elif target is _aten.mm.default and inputs == (args[0],):
            step = Matrix(self.values[args[1]])
        elif target is _aten.add.Tensor and len(inputs) == 2 and not node.kwargs and self._same_shape(node):
            step = Sum()
        else:
            step = ByTorch(self._operation(node, inputs), [self.values[source] for source in inputs])
        self.steps.append((node, inputs, step))

    def _pictures(self, node: fx.Node) -> bool:
        """Whether the node lays differentiated pictures (C, H, W) side by side for one user."""
        if node.target is not _aten.cat.default or len(node.users) > 1 or self.values[node].ndim != 3:
            return False
        args: Any = node.args
        axis = args[1] if len(args) > 1 else 0
        return axis in (0, -3) and all(part in self.active for part in args[0])

    def _plain_convolution(self, node: fx.Node) -> bool:
        args: Any = node.args
        picture, weight, bias, stride, padding, dilation, transposed, _, groups = args
        value = self.values[picture]
        return bool(
            weight not in self.active
            and bias not in self.active
            and value.ndim == 4
            and len(value) == 1
            and not transposed
            and groups == 1
            and all(d == 1 for d in dilation)
            and len(set(stride)) == 1
            and len(stride) == len(padding) == 2
        )

    def _shifts(self, node: fx.Node) -> bool:
        """Whether the node adds what does not depend on the input."""
        first, second = node.args[:2]
        active = isinstance(first, fx.Node) and first in self.active
        constant = not (isinstance(second, fx.Node) and second in self.active)
        return active and constant and self.values[node.all_input_nodes[0]].shape == self.values[node].shape

    def _same_shape(self, node: fx.Node) -> bool:
        return all(self.values[source].shape == self.values[node].shape for source in node.all_input_nodes)

    def _operation(self, node: fx.Node, inputs: tuple[fx.Node, ...]) -> Callable[..., Tensor]:
        target: Any = node.target

        def operation(*values: Tensor) -> Any:
            known = dict(zip(inputs, values, strict=True))
            args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: known.get(n, self_values.get(n)))
            return target(*args, **kwargs)

        self_values = dict(self.values)
        return operation

    def forward(self, v: Tensor) -> Tensor:
        """Rows v (n, ...) to rows J v.

        >>> Program(torch.tanh, torch.zeros(2)).forward(torch.ones(1, 2))
        tensor([[1., 1.]])
        """
        if len(v) > self.batch:
            return torch.cat([self.forward(part) for part in v.split(self.batch)])
        tangents = {self.input: v}
        for (node, inputs, step), spent in zip(self.steps, self.spent, strict=True):
            taken = [tangents[source] for source in inputs]
            for source in spent:
                del tangents[source]
            tangents[node] = taken[0] if step is None else step.forward(*taken)
        return tangents[self.output].contiguous()

    def adjoint(self, u: Tensor) -> Tensor:
        """Rows u (n, ...) to rows Jᵀ u.

        >>> Program(lambda x: torch.tanh(x).expand(3, 2), torch.zeros(2)).adjoint(torch.ones(1, 3, 2))
        tensor([[3., 3.]])
        """
        if len(u) > self.batch:
            return torch.cat([self.adjoint(part) for part in u.split(self.batch)])
        gradients = {self.output: u}
        for node, inputs, step in reversed(self.steps):
            if node not in gradients:
                continue
            given = gradients.pop(node)
            found = given if step is None else step.adjoint(given)
            for source, gradient in zip(inputs, found if isinstance(found, tuple) else (found,), strict=True):
                gradients[source] = gradients[source] + gradient if source in gradients else gradient
        return gradients[self.input].contiguous()


class _Recorder(fx.Interpreter):
    """Runs a graph and keeps every value."""

    def __init__(self, graph: fx.GraphModule):
        super().__init__(graph, garbage_collect_values=False)
        self.values: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        found = super().run_node(n)
        self.values[n] = fx.node.map_aggregate(found, lambda t: t.detach() if isinstance(t, Tensor) else t)
        return found
