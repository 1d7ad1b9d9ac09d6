"""What theory takes at its doors: numbers, lists, numpy arrays and torch tensors, as numpy float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]


def plain(value: Any) -> Any:
    """A tensor as a numpy array, without its graph and wherever it lies; tensors in a list or tuple as well.

    >>> plain([torch.ones(2, requires_grad=True), 3.0])
    [array([1., 1.], dtype=float32), 3.0]
    """
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().numpy()
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


def real(name: str, value: Any) -> Array:
    """``value`` as an array of float64. ValueError for what is not real numbers.

    >>> real("q", [torch.tensor(1.0), 2])
    array([1., 2.])
    """
    try:
        array = np.asarray(plain(value))
        if np.iscomplexobj(array):
            raise TypeError
        return array.astype(np.float64, copy=False)
    except (TypeError, ValueError):
        raise ValueError(f"{name} = {value!r}: real numbers are allowed") from None


def finite(name: str, value: Any) -> Array:
    """``value`` as an array of finite float64. ValueError for anything else.

    >>> finite("z", 3)
    array(3.)
    """
    array = real(name, value)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} = {array}: finite numbers are allowed")
    return array


def tensor(name: str, value: Any, like: torch.Tensor | None = None) -> torch.Tensor:
    """A tensor as it is; anything else as a tensor of the dtype and on the device of ``like`` (float64 without it).

    >>> tensor("x", [[1, 2]], like=torch.zeros(1)).dtype
    torch.float32
    """
    if isinstance(value, torch.Tensor):
        return value
    array = torch.from_numpy(real(name, value))
    return array if like is None else array.to(like)


def sizes(value: Any) -> tuple[Any, ...]:
    """A list, an array or a tensor of sizes as a tuple of what is in it, to be checked.

    >>> sizes(np.array([3, 2]))
    (3, 2)
    """
    value = plain(value)
    entries = value.tolist() if isinstance(value, np.ndarray) else value
    return tuple(each.item() if isinstance(each, np.ndarray) and each.ndim == 0 else each for each in entries)
