r"""The derivative of a map at one point, as two products that take many vectors at a time: v → J v and u → Jᵀ u.

There are several ways to these products. The fast ones are not right for every network: fused kernels have no forward
derivative, and a traced program can lose what a network writes in place. So each is checked on random vectors before it
is used: against plain reverse-mode differentiation (:func:`pulled`), by ⟨u, Jv⟩ = ⟨Jᵀu, v⟩, and once more with another
number of vectors. The first that is right to rounding is taken:

    compiled              the traced program of :mod:`deepdynamics.jacobian.program`
    vectorised            torch's forward and reverse derivatives, on many vectors at a time
    plain kernels         the same without fused kernels (attention, recurrent networks)
    one at a time         forward and reverse derivatives vector by vector, where control flow depends on the data
    two reverse passes    the derivative of u → Jᵀu, where there is no forward derivative
    rows, columns         the dense Jacobian, where there is only one of the two derivatives
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from deepdynamics._checks import Numbers
from deepdynamics.jacobian.inputs import AtInput, Map, at_input, check_one_input
from deepdynamics.jacobian.program import Program

__all__ = [
    "PATHS",
    "UNTRACED",
    "Linearised",
    "confirmed",
    "gradient",
    "linearised",
    "plain_kernels",
    "products",
    "pulled",
]

Products = tuple[Map, Map]

_LARGEST = 2**28  # entries of a dense Jacobian that stands in for products
_TINY = float(torch.finfo(torch.float64).tiny)
_PROBES = 2  # random vectors of either side


@dataclass(frozen=True)
class Linearised:
    """A map at a point: its value, products of its Jacobian and of the transpose with rows (n, ...) of vectors, and
    the path (one of ``PATHS``) by which they are computed.

    >>> point = linearised(torch.sum, [1.0, 2.0])
    >>> point.value, point.forward(torch.eye(2)), point.adjoint(torch.tensor([3.0]))
    (tensor(3.), tensor([1., 1.]), tensor([[3., 3.]]))
    """

    value: Tensor
    forward: Map
    adjoint: Map
    path: str


@torch.inference_mode(False)
def linearised(f: Map, x: Numbers) -> Linearised:
    """``f`` at the input ``x`` (no batch axis; it is added where f needs it): what depends on x alone is computed once
    and kept.

    Raises ``ValueError`` for an input that is not finite floating point; an ``f`` that cannot be evaluated, is in
    training mode with dropout or batch statistics, gives two values at one input, or does not return a tensor of finite
    real floating point numbers; one without entries or with a Jacobian that is not finite; where no path is right; and
    for a batch, as :func:`deepdynamics.jacobian.jacobian` does.

    >>> point = linearised(torch.square, torch.tensor([1.0, 2.0]))
    >>> point.forward(torch.eye(2)), point.path
    (tensor([[2., 0.],
            [0., 4.]]), 'compiled')
    """
    at = at_input(f, x)
    point = products(at, tuple(PATHS))
    check_one_input([f], [at], point.forward)
    return point


@torch.inference_mode(False)
def products(at: AtInput, paths: Sequence[str]) -> Linearised:
    """The first of ``paths`` whose products are right. Raises as :func:`linearised` does.

    >>> from deepdynamics.jacobian.inputs import at_input
    >>> products(at_input(torch.sin, [0.0]), ["two reverse passes"]).forward(torch.tensor([[2.0]]))
    tensor([[2.]])
    """
    x, value = at.x, at.value
    if value.numel() == 0 or x.numel() == 0:
        raise ValueError(f"x of shape {tuple(x.shape)}, f(x) of shape {tuple(value.shape)}: entries are needed")
    if not torch.isfinite(value).all():
        raise ValueError(f"f(x) of shape {tuple(value.shape)} and type {value.dtype}: finite values are allowed")
    failures = []
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        probes = _Probes(at)
        for path in paths:
            try:
                forward, adjoint = (torch.no_grad()(product) for product in PATHS[path](at.f, x, value))
                failure = probes.failure(forward, adjoint)
            except Exception as error:  # whatever torch meets: an operation without a rule, control flow on data
                failure = " ".join(str(error).split())[:120]
            if not failure:
                return Linearised(value, forward, adjoint, path)
            failures.append(f"{path}: {failure}")
    raise ValueError("f has no derivative at x that is right to rounding: " + "; ".join(failures))


def confirmed(J: Tensor, at: AtInput) -> bool:
    """Whether plain differentiation says of random vectors what a dense Jacobian (out, in) says, to rounding.

    >>> from deepdynamics.jacobian.inputs import at_input
    >>> at = at_input(torch.square, [1.0, 2.0])
    >>> confirmed(torch.diag(torch.tensor([2.0, 4.0])), at), confirmed(torch.eye(2), at)
    (True, False)
    """
    probes = _Probes(at)
    u, v = _rows(probes.u), _rows(probes.v)
    if probes.pulled is not None:
        return _distance(u @ J, _rows(probes.pulled)) <= probes.tolerance
    return probes.pushed is not None and _distance(v @ J.T, _rows(probes.pushed)) <= probes.tolerance


def gradient(at: AtInput, u: Tensor) -> Tensor:
    """Jᵀu of one vector, by plain reverse-mode differentiation; where that fails, by the products that are right.

    >>> from deepdynamics.jacobian.inputs import at_input
    >>> gradient(at_input(torch.square, [1.0, 2.0]), torch.ones(2))
    tensor([2., 4.])
    """
    with contextlib.suppress(RuntimeError):
        rows = pulled(at.f, at.x, u[None])[1]
        if rows is not None:
            return rows[0]
    return products(at, tuple(PATHS)).adjoint(u[None])[0]


def pulled(f: Map, x: Tensor, U: Tensor) -> tuple[Tensor, Tensor | None]:
    """f(x), and the rows Jᵀu for rows u of U by plain reverse-mode differentiation, as in training; None where the
    value does not depend on x in a way that is recorded.

    >>> pulled(torch.square, torch.tensor([1.0, 2.0]), torch.eye(2))[1]
    tensor([[2., 0.],
            [0., 4.]])
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value = f(x)
    if not value.requires_grad:
        return value, None
    rows = [torch.autograd.grad(value, x, u, retain_graph=True, allow_unused=True)[0] for u in U]
    return value.detach(), None if rows[0] is None else torch.stack([row.detach() for row in rows])


def _pushed(f: Map, x: Tensor, V: Tensor) -> Tensor:
    """Rows J v for rows v of V by plain forward-mode differentiation."""
    rows = []
    for v in V:
        with forward_ad.dual_level():
            value, tangent = forward_ad.unpack_dual(f(forward_ad.make_dual(x, v)))
            rows.append(torch.zeros_like(value) if tangent is None else tangent.clone())
    return torch.stack(rows)


class _Probes:
    """Random vectors of either side, and what plain differentiation makes of them."""

    def __init__(self, at: AtInput):
        draws = torch.Generator().manual_seed(0)
        self.v, self.u = (
            torch.randn(_PROBES, *side.shape, generator=draws, dtype=torch.float64).to(side)
            for side in (at.x, at.value)
        )
        self.tolerance = 1e3 * torch.finfo(at.x.dtype).eps
        self.pulled: Tensor | None = None
        self.pushed: Tensor | None = None
        with contextlib.suppress(RuntimeError, NotImplementedError):  # in-place work on what reverse mode needs
            again, self.pulled = pulled(at.f, at.x, self.u)
            self._check_value(at.value, again)
        if self.pulled is None:
            with contextlib.suppress(RuntimeError, NotImplementedError), plain_kernels():
                self.pushed = _pushed(at.f, at.x, self.v)
        if self.pulled is None and (self.pushed is None or not self.pushed.any()):
            self._check_constant(at, draws)
        for found in (self.pulled, self.pushed):
            if found is not None and not torch.isfinite(found).all():
                raise ValueError("f has a Jacobian at x that is not finite: finite weights and slopes are allowed")

    def _check_value(self, value: Tensor, again: Tensor) -> None:
        """Fused kernels round otherwise, no more."""
        if not _distance(again, value) <= self.tolerance**0.5:
            raise ValueError(
                "f gives two values at one x (dropout that is active?): a function is allowed; call .eval()"
            )

    def _check_constant(self, at: AtInput, draws: torch.Generator) -> None:
        """Where no derivative is recorded, the value must not change (by relative steps, which thresholds survive)."""
        step = 1e-3 * torch.randn(at.x.shape, generator=draws, dtype=torch.float64).to(at.x)
        if not torch.equal(at.f(at.x + step * at.x), at.value):
            raise ValueError("f(x) changes with x and torch has no derivative of it (numpy, .item() or detach in f?)")

    def failure(self, forward: Map, adjoint: Map) -> str:
        """What is wrong with two products; empty where they are right."""
        ahead, back = forward(self.v), adjoint(self.u)
        if ahead.shape != self.u.shape or back.shape != self.v.shape:
            return f"shapes {tuple(ahead.shape)}, {tuple(back.shape)}"
        if self.pulled is None and self.pushed is None:
            return "neither derivative can be computed by itself"
        pairs = [(forward(self.v[-1:]), ahead[-1:]), (adjoint(self.u[-1:]), back[-1:])]
        pairs += [(back, self.pulled)] if self.pulled is not None else []
        pairs += [(ahead, self.pushed)] if self.pushed is not None else []
        worst = max(_distance(a, b) for a, b in pairs)
        # An error e of J v is seen through ⟨u, e⟩, which has the size of e for a normal u.
        sides = _rows(ahead).double(), _rows(back).double()
        left, right = _rows(self.u).double() @ sides[0].T, sides[1] @ _rows(self.v).double().T
        size = sides[0].norm(dim=1)[None, :] + sides[1].norm(dim=1)[:, None]
        gap = float(((left - right).abs() / size.clamp(min=_TINY)).max())
        if worst <= self.tolerance and gap <= self.tolerance:
            return ""
        return f"products differ by {max(worst, gap):.0e} where {self.tolerance:.0e} is rounding"


def _distance(a: Tensor, b: Tensor) -> float:
    """‖a - b‖/‖b‖, whose squares are within the range of float64 for all float32 numbers."""
    a, b = a.double(), b.double()
    return float((a - b).norm() / b.norm().clamp(min=_TINY))


def _rows(vectors: Tensor) -> Tensor:
    return vectors.reshape(len(vectors), -1)


# The paths ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def plain_kernels() -> Iterator[None]:
    """Within, attention and recurrent networks are computed by their formulas, whose derivatives are known.

    >>> with plain_kernels():
    ...     torch.backends.mha.get_fastpath_enabled()
    False
    """
    mkldnn: Any = torch.backends.mkldnn  # whose flags() would set the precision, too, and warn
    fast, onednn = torch.backends.mha.get_fastpath_enabled(), mkldnn.enabled
    torch.backends.mha.set_fastpath_enabled(False)
    mkldnn.enabled = False
    try:
        with sdpa_kernel(SDPBackend.MATH), torch.backends.cudnn.flags(enabled=False):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        mkldnn.enabled = onednn


def _plain(f: Map) -> Map:
    def plain(x: Tensor) -> Tensor:
        with plain_kernels():
            return f(x)

    return plain


def _compiled(f: Map, x: Tensor, value: Tensor) -> Products:
    program = Program(f, x)
    return program.forward, program.adjoint


def _vectorised(f: Map, x: Tensor, value: Tensor) -> Products:
    pull = torch.func.vjp(f, x)[1]
    push = torch.func.vmap(lambda v: torch.func.jvp(f, (x,), (v,))[1])
    return push, torch.func.vmap(lambda u: pull(u)[0])


def _with_plain_kernels(f: Map, x: Tensor, value: Tensor) -> Products:
    return _vectorised(_plain(f), x, value)


def _one_at_a_time(f: Map, x: Tensor, value: Tensor) -> Products:
    plain = _plain(f)
    return lambda V: _pushed(plain, x, V), _reverse(plain, x)


def _two_reverse_passes(f: Map, x: Tensor, value: Tensor) -> Products:
    plain = _plain(f)
    with torch.enable_grad():
        point, u = x.detach().requires_grad_(), torch.zeros_like(value, requires_grad=True)
        (gradient,) = torch.autograd.grad(plain(point), point, u, create_graph=True)

    def forward(V: Tensor) -> Tensor:
        return torch.stack([torch.autograd.grad(gradient, u, v, retain_graph=True)[0] for v in V])

    return forward, _reverse(plain, x)


def _reverse(f: Map, x: Tensor) -> Map:
    def adjoint(U: Tensor) -> Tensor:
        rows = pulled(f, x, U)[1]
        return x.new_zeros(len(U), *x.shape) if rows is None else rows

    return adjoint


def _by_rows(f: Map, x: Tensor, value: Tensor) -> Products:
    _check_size(x, value)
    units = torch.eye(value.numel(), dtype=value.dtype, device=value.device).view(-1, *value.shape)
    return _dense(_rows(_reverse(f, x)(units)), x, value)


def _by_columns(f: Map, x: Tensor, value: Tensor) -> Products:
    _check_size(x, value)
    units = torch.eye(x.numel(), dtype=x.dtype, device=x.device).view(-1, *x.shape)
    return _dense(_rows(_pushed(_plain(f), x, units)).T, x, value)


def _check_size(x: Tensor, value: Tensor) -> None:
    if x.numel() * value.numel() > _LARGEST:
        raise ValueError(f"a dense Jacobian of {value.numel()} × {x.numel()} entries is too large")


def _dense(J: Tensor, x: Tensor, value: Tensor) -> Products:
    return (
        lambda V: (_rows(V) @ J.T).view(-1, *value.shape),
        lambda U: (_rows(U) @ J).view(-1, *x.shape),
    )


PATHS: dict[str, Callable[[Map, Tensor, Tensor], Products]] = {
    "compiled": _compiled,
    "vectorised": _vectorised,
    "plain kernels": _with_plain_kernels,
    "one at a time": _one_at_a_time,
    "two reverse passes": _two_reverse_passes,
    "rows": _by_rows,
    "columns": _by_columns,
}
UNTRACED = tuple(path for path in PATHS if path != "compiled")  # for a few products, which tracing would not pay for
