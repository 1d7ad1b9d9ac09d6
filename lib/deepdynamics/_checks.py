"""Arguments as they come, made into what a function computes with, or refused with a sentence.

Lists, numpy arrays and tensors become arrays (:func:`real`, :func:`finite`, :func:`not_negative`, :func:`positive`) or
tensors (:func:`tensor`, :func:`labels`); :func:`number`, :func:`count`, :func:`sizes` and :func:`one_of` check single
numbers, integers and names. What is refused is a ``ValueError`` that says "name = value: what is allowed".
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

__all__ = [
    "Array",
    "Numbers",
    "Values",
    "count",
    "finite",
    "labels",
    "not_negative",
    "number",
    "one_of",
    "parameter",
    "plain",
    "positive",
    "real",
    "replace_file",
    "sizes",
    "tensor",
]

Array = NDArray[np.float64]
Values = np.float64 | Array  # what elementwise functions return: a number for numbers, an array for arrays
Numbers = ArrayLike | Tensor | Sequence[Tensor]


def real(name: str, value: Numbers) -> Array:
    """``value`` as a numpy array in float64; tensors are detached and brought to the CPU.

    Raises ``ValueError`` that calls it ``name`` for what is not an array of real numbers.

    >>> real("x", torch.tensor([1.0, 2.0], requires_grad=True)), real("x", [[1, 2]])
    (array([1., 2.]), array([[1., 2.]]))
    """
    return np.asarray(_numpy(name, value.double() if isinstance(value, Tensor) else value), dtype=np.float64)


def finite(name: str, value: Numbers) -> Array:
    """``value`` as an array of finite float64. ValueError for anything else.

    >>> finite("z", 3)
    array(3.)
    """
    return _where(name, real(name, value), np.isfinite, "finite numbers are allowed")


def not_negative(name: str, value: Numbers) -> Array:
    """``value`` as an array of finite float64, none below 0. ValueError for anything else.

    >>> not_negative("q", [0, 2])
    array([0., 2.])
    """
    return _where(
        name, real(name, value), lambda x: np.isfinite(x) & (x >= 0), "finite numbers, not negative, are allowed"
    )


def positive(name: str, value: Numbers) -> Array:
    """``value`` as an array of finite float64, all above 0. ValueError for anything else.

    >>> positive("tau", [0.5, 2])
    array([0.5, 2. ])
    """
    return _where(name, real(name, value), lambda x: np.isfinite(x) & (x > 0), "finite positive numbers are allowed")


def number(name: str, value: Numbers, check: Callable[[str, Numbers], Array]) -> float:
    """One number that passes ``check``: :func:`finite`, :func:`not_negative` or :func:`positive`.

    >>> number("weight_var", 2, not_negative)
    2.0
    """
    array = check(name, value)
    if array.ndim:
        raise ValueError(f"{name} of shape {array.shape}: one number is allowed")
    return float(array)


def count(name: str, value: int, *, least: int = 1, most: int | None = None) -> int:
    """An integer, ``least`` and ``most`` included. ValueError for anything else, other types of number included.

    >>> count("depth", np.int64(3))
    3
    """
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if whole and least <= value and (most is None or value <= most):
        return int(value)
    if most is not None:
        raise ValueError(f"{name} = {value!r}: {least} to {most}, an integer, is allowed")
    allowed = "a positive integer" if least == 1 else f"an integer of at least {least}"
    raise ValueError(f"{name} = {value!r}: {allowed} is allowed")


def one_of(name: str, value: str, allowed: Iterable[str]) -> str:
    """``value`` itself, one of the names in ``allowed``. ValueError for anything else.

    >>> one_of("init", "gaussian", ("gaussian", "orthogonal"))
    'gaussian'
    """
    allowed = tuple(allowed)
    if value not in allowed:
        raise ValueError(f"{name} = {value!r}: one of {', '.join(allowed)} is allowed")
    return value


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


def sizes(name: str, value: Any, *, fewest: int = 0) -> tuple[int, ...]:
    """A list, an array or a tensor of positive integers, ``fewest`` or more of them, as a tuple. ValueError for
    anything else.

    >>> sizes("widths", np.array([3, 2]))
    (3, 2)
    """
    value = plain(value)
    entries = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(entries, Iterable):
        raise ValueError(f"{name} = {entries!r}: a list of positive integers is allowed")
    found = tuple(each.item() if isinstance(each, np.ndarray) and each.ndim == 0 else each for each in entries)
    if any(isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1 for n in found):
        raise ValueError(f"{name} = {found}: positive integers are allowed")
    if len(found) < fewest:
        raise ValueError(f"{name} = {found}: at least {fewest} of them are needed")
    return tuple(int(n) for n in found)


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


def _where(name: str, array: Array, good: Callable[[Array], NDArray[np.bool_]], allowed: str) -> Array:
    """``array`` where all of it is good; else a ValueError with the first entry that is not."""
    passes = good(array)
    if not passes.all():
        raise ValueError(f"{name} = {array[~passes][0]}: {allowed}")
    return array


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
