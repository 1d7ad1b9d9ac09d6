"""A device that every machine has: its tensors hold their numbers on the CPU, where it computes, but like those of a
GPU they do not mix with tensors of the CPU, take no generators of the CPU, and give numpy nothing.

It borrows the name of one of torch's devices that no build computes on.
"""

import functools
import gc
from collections import Counter
from contextlib import contextmanager

import torch
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

NAME = "lazy"
_TRANSFERS = (torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default)


@contextmanager
def elsewhere():
    """The device is there; yields the numbers that its operations, and those of the CPU, took and gave, by operation.

    What functions remember belongs to a device: it is forgotten before and after.
    """
    _forget()
    with Machine() as machine:
        yield machine
    _forget()


def _forget():
    for function in [each for each in gc.get_objects() if type(each) is functools._lru_cache_wrapper]:
        if function.__module__.startswith("deepdynamics."):
            function.cache_clear()


class Elsewhere(torch.Tensor):
    """A tensor of the device; `here` holds its numbers."""

    @staticmethod
    def __new__(cls, here):
        place = {"strides": here.stride(), "storage_offset": here.storage_offset(), "dtype": here.dtype, "device": NAME}
        tensor = torch.Tensor._make_wrapper_subclass(cls, here.shape, **place)
        tensor.here = here
        return tensor

    def __tensor_flatten__(self):
        return ["here"], None

    @staticmethod
    def __tensor_unflatten__(inner, context, size, stride):
        return Elsewhere(inner["here"])

    @property
    def data(self):
        return self.detach()

    @data.setter
    def data(self, value):
        self.here = value.here.detach()

    def tolist(self):
        return self.here.tolist()

    def untyped_storage(self):
        return self.here.untyped_storage()

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _computed(func, args, kwargs or {})


class Reached(BaseException):
    """What ends a computation that has come to the operation it was asked for."""


class Machine(TorchDispatchMode):
    """Computes the device's operations, and counts those of both; ends at the first on the device that is in `last`."""

    def __init__(self):
        super().__init__()
        self.operations, self.last = {"cpu": Counter(), NAME: Counter()}, ()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = _computed(func, args, kwargs or {})
        tensors = _tensors((args, result))
        place = NAME if any(isinstance(tensor, Elsewhere) for tensor in tensors) else "cpu"
        name = func.overloadpacket.__name__
        self.operations[place][name] += sum(tensor.numel() for tensor in tensors)
        if place == NAME and name in self.last:
            raise Reached(name)
        return result


def _computed(func, args, kwargs):
    """An operation, all of whose tensors must be on one device (a single number of the CPU may join)."""
    tensors = _tensors((args, kwargs))
    there = any(isinstance(tensor, Elsewhere) for tensor in tensors)
    if there and func not in _TRANSFERS and any(each.ndim and not isinstance(each, Elsewhere) for each in tensors):
        raise RuntimeError(f"Expected all tensors to be on the same device: {func}")
    if "device" in kwargs and kwargs["device"] is not None:
        there = torch.device(kwargs["device"]).type == NAME
        kwargs = kwargs | {"device": torch.device("cpu")}
    if there and torch.Tag.nondeterministic_seeded in func.tags:
        raise RuntimeError(f"Expected a generator of the device: {func}")
    if func is torch.ops.aten._efficientzerotensor.default:  # without memory: nothing that could be held
        func = torch.ops.aten.zeros.default
    if func is torch.ops.aten._local_scalar_dense.default and not tensors:  # a number that torch had wrapped
        return args[0]
    own_args, own_kwargs = tree_map_only(Elsewhere, lambda tensor: tensor.here, (args, kwargs))
    result = func(*own_args, **own_kwargs)
    if isinstance(result, torch.Tensor) and func._schema.is_mutable and args and result is own_args[0]:
        if there and torch.Tag.inplace_view in func.tags:  # its shape has changed
            with no_dispatch():
                torch._C._set_meta_in_tls_dispatch_include(True)
                func(*args, **kwargs)
                torch._C._set_meta_in_tls_dispatch_include(False)
        return args[0]
    return tree_map_only(torch.Tensor, Elsewhere, result) if there else result


def _tensors(operands):
    return [leaf for leaf in tree_flatten(operands)[0] if isinstance(leaf, torch.Tensor)]


def _empty(size, dtype=None, **options):
    return Elsewhere(torch.empty(size, dtype=dtype, device="cpu"))


def _empty_strided(size, stride, dtype=None, **options):
    return Elsewhere(torch.empty_strided(size, stride, dtype=dtype, device="cpu"))


def _copy(target, source, non_blocking=False):
    getattr(target, "here", target).copy_(getattr(source, "here", source))
    return target


# For what torch makes below every mode: torch.tensor, the indices of x[[0, 1]].
_KERNELS = torch.library.Library("aten", "IMPL")
_KERNELS.impl("empty.memory_format", _empty, NAME.title())
_KERNELS.impl("empty_strided", _empty_strided, NAME.title())
_KERNELS.impl("copy_", _copy, NAME.title())
