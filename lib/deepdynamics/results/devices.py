"""Cells on another device than the CPU, none of whose code names one.

What a cell makes is made on the device; its random numbers are drawn on the CPU, by the generators and in the order
that they are drawn there, and moved; what numpy takes and gives is moved too, and so is an operand on the CPU that
meets one on the device. Thus the numbers differ from those of the CPU by rounding only (which training may amplify).
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

__all__ = ["check_device", "device_name", "on_device"]


def check_device(device: str) -> torch.device:
    """The device of a name; ValueError where torch has none of that name here, or none that computes in float64.

    >>> check_device("cpu")
    device(type='cpu')
    """
    try:
        found = torch.device(device)
        torch.ones(1, dtype=torch.float64, device=found).sum().item()
    except (RuntimeError, AssertionError, TypeError) as error:  # which of them depends on what torch was built with
        reason = str(error).splitlines()[0].split(". ")[0]
        raise ValueError(f"device = {device!r}: torch cannot compute on it here ({reason})") from None
    return found


def device_name(device: str) -> str:
    """What the provenance says of a device.

    >>> device_name("cpu")
    'cpu'
    """
    found = torch.device(device)
    return f"{device} ({torch.cuda.get_device_name(found)})" if found.type == "cuda" else device


@contextlib.contextmanager
def on_device(device: str) -> Iterator[None]:
    """What is computed inside is computed on the device; on the CPU nothing is changed.

    Raises ValueError for a device that is not here.

    >>> with on_device("cpu"):
    ...     torch.ones(2).device
    device(type='cpu')
    """
    found = check_device(device)
    if found.type == "cpu":
        yield
        return
    with sdpa_kernel(SDPBackend.MATH), _Operations(found), found, _Arrays():  # fused attention counts as random
        yield


class _Arrays(TorchFunctionMode):
    """Tensors of the device become arrays of numpy: copies, which do not share their memory."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in (Tensor.numpy, Tensor.__array__):
            args = (args[0].cpu(), *args[1:])
        return func(*args, **(kwargs or {}))


class _Operations(TorchDispatchMode):
    """Random numbers from the CPU; what is made from data moves to the device; operands on two devices meet there."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded in func.tags:
            return self._computed(func, args, kwargs, torch.device("cpu"))
        if func is torch.ops.aten.lift_fresh.default:  # what torch.tensor and torch.from_numpy have made
            return args[0].to(self.device)
        if func is torch.ops.aten._local_scalar_dense.default and not isinstance(args[0], Tensor):
            return args[0]  # a number that torch had wrapped
        if func in _TRANSFERS or len(set(_devices((args, kwargs)))) < 2:
            return func(*args, **kwargs)
        return self._computed(func, args, kwargs, self.device)

    def _computed(self, func: Any, args: Any, kwargs: dict[str, Any], place: torch.device) -> Any:
        """The operation with all operands on one device; what it changes in place is changed where it is."""

        if "device" in kwargs:
            kwargs = kwargs | {"device": place}
        there_args, there_kwargs = tree_map_only(Tensor, lambda tensor: tensor.to(place), (args, kwargs))
        result = func(*there_args, **there_kwargs)
        names = [argument.name for argument in func._schema.arguments]
        own, there = (
            dict(zip(names, given, strict=False)) | named
            for given, named in ((args, kwargs), (there_args, there_kwargs))
        )
        changed: dict[int, Tensor] = {}
        for argument in func._schema.arguments:
            if argument.alias_info and argument.alias_info.is_write:
                for tensor, copy in zip(
                    tree_leaves(own[argument.name]), tree_leaves(there[argument.name]), strict=True
                ):
                    changed[id(copy)] = tensor if copy is tensor else tensor.copy_(copy)
        return tree_map_only(Tensor, lambda each: changed.get(id(each), each.to(self.device)), result)


_TRANSFERS = (torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default)


def _devices(operands: Any) -> list[torch.device]:
    found: list[torch.device] = []
    tree_map_only(Tensor, lambda tensor: found.append(tensor.device), operands)
    return found
