"""Numbers as they come, lists, numpy arrays and tensors, made into what a function computes with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

__all__ = ["Numbers", "finite", "labels", "parameter", "plain", "real", "replace_file", "sizes", "tensor"]

Numbers = ArrayLike | Tensor | Sequence[Tensor]


def real(name: str, value: Numbers) -> NDArray[np.float64]:
    """``value`` as a numpy array in float64; tensors are detached and brought to the CPU.

    Raises ``ValueError`` that calls it ``name`` for what is not an array of real numbers.

    >>> real("x", torch.tensor([1.0, 2.0], requires_grad=True)), real("x", [[1, 2]])
    (array([1., 2.]), array([[1., 2.]]))
    """
    return np.asarray(_numpy(name, value.double() if isinstance(value, Tensor) else value), dtype=np.float64)


def finite(name: str, value: Any) -> NDArray[np.float64]:
    """``value`` as an array of finite float64. ValueError for anything else.

    >>> finite("z", 3)
    array(3.)
    """
    array = real(name, value)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} = {array}: finite numbers are allowed")
    return array


def tensor(name: str, value: Numbers, like: Tensor | None = None) -> Tensor:
    """``value`` as a tensor. A tensor stays what it is, type and device included. Anything else takes those of
    ``like``; without it the floating types of arrays are kept and other numbers become torch's default type, on the
    CPU.

    Raises ``ValueError`` that calls it ``name`` for what is not an array of real numbers.

    >>> tensor("x", np.zeros(2)).dtype, tensor("x", [0, 1]), tensor("x", np.zeros(2), like=torch.zeros(1)).dtype
    (torch.float64, tensor([0., 1.]), torch.float32)
    """
    if isinstance(value, Tensor):
        return value
    if isinstance(value, (list, tuple)) and value and all(isinstance(part, Tensor) for part in value):
        stacked = torch.stack(list(value))
        return stacked if like is None else stacked.to(like)
    numbers = _numpy(name, value)
    leaf: Any = value
    while isinstance(leaf, (list, tuple)) and leaf:
        leaf = leaf[0]
    kept = numbers.dtype.kind == "f" and hasattr(leaf, "__array__")
    own = numbers.dtype.newbyteorder("=") if kept and numbers.dtype.itemsize <= 8 else np.dtype(np.float64)
    numbers = np.asarray(numbers, dtype=own)
    if not numbers.flags.writeable or min(numbers.strides, default=0) < 0:
        numbers = numbers.copy()  # torch takes no others
    found = torch.from_numpy(numbers)
    if like is not None:
        return found.to(like)
    return found if kept else found.to(torch.get_default_dtype())


def labels(name: str, value: Numbers) -> Tensor:
    """``value`` as a tensor of integers: a tensor stays what it is, whole numbers of any other kind become int64.

    Raises ``ValueError`` that calls it ``name`` for anything else.

    >>> labels("y", [2, 0, 1]), labels("y", np.array([1.0, 2.0]))
    (tensor([2, 0, 1]), tensor([1, 2]))
    """
    if isinstance(value, Tensor):
        return value
    numbers = _numpy(name, value)
    whole = np.asarray(numbers, dtype=np.int64)
    if not (whole == numbers).all():
        raise ValueError(f"{name} has values such as {numbers[whole != numbers][0]}: integers are allowed")
    return torch.from_numpy(np.array(whole))


def sizes(value: Any) -> tuple[Any, ...]:
    """A list, an array or a tensor of sizes as a tuple of what is in it, to be checked.

    >>> sizes(np.array([3, 2]))
    (3, 2)
    """
    value = plain(value)
    entries = value.tolist() if isinstance(value, np.ndarray) else value
    return tuple(each.item() if isinstance(each, np.ndarray) and each.ndim == 0 else each for each in entries)


def plain(value: Any) -> Any:
    """A tensor as a numpy array, without its graph and wherever it lies; tensors in a list or tuple as well.

    >>> plain([torch.ones(2, requires_grad=True), 3.0])
    [array([1., 1.], dtype=float32), 3.0]
    """
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy()
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


def parameter(maps: Iterable[Any]) -> Tensor | None:
    """The first floating point parameter of the modules among ``maps``, whose type and device their input must have;
    ``None`` where there is none.

    >>> parameter([torch.tanh, torch.nn.Linear(2, 2)]).dtype
    torch.float32
    """
    found = (p for module in maps if isinstance(module, nn.Module) for p in module.parameters())
    return next((p.detach() for p in found if p.is_floating_point()), None)


def _numpy(name: str, value: Any) -> NDArray[Any]:
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy()  # type: ignore[no-any-return]
    if isinstance(value, (list, tuple)) and any(isinstance(part, Tensor) for part in value):
        value = [part.detach().cpu().numpy() if isinstance(part, Tensor) else part for part in value]
    try:
        numbers = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} is no array ({error}): real numbers in rows of equal length are allowed") from error
    if numbers.dtype.kind not in "buif":
        raise ValueError(f"{name} of type {numbers.dtype}: real numbers are allowed")
    return numbers


def replace_file(path: Path, content: bytes | IO[bytes]) -> None:
    """Write bytes, or all of a stream, to a file in one step: whoever reads it meets the old one or the new one, whole.
    Folders that are missing are made.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "new" / "numbers.txt"
    >>> replace_file(file, b"1 2 3")
    >>> file.read_bytes(), [each.name for each in file.parent.iterdir()]
    (b'1 2 3', ['numbers.txt'])
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                content.seek(0)
                shutil.copyfileobj(content, file)
            file.flush()
            os.fsync(file.fileno())  # its bytes reach the disk before its name does
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
