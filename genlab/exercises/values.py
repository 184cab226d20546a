"""Results of answers: their normal form, when two are the same, and how one is shown."""

import contextlib
import enum
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from genlab.exercises.limit import TimeLimit

_allclose, _stack = torch.allclose, torch.stack  # held: an answer may replace torch's


class Failure(NamedTuple):
    """An answer raised an error: its type, its message, and the line that raised it."""

    kind: str
    message: str
    line: str


class Unusable(NamedTuple):
    """A result with which nothing can be tested, as it is shown, and why not."""

    shown: str
    why: str


# --------------------------------------------------------------------------------------------------------- normal form


def like(value: Any, model: Any) -> Any:
    """A result in the form of the solution's: the same numbers or words, whatever types hold them.

    Arrays, lists, `Fraction`, sympy's numbers and all that `float` takes become tensors where the solution gives
    tensors, and numbers where it gives numbers; a stack of results becomes as many. What does not fit stays as it is.
    """
    try:
        return _like(value, model)
    except Exception:  # a foreign type that fails when it is asked what it holds
        return value


def _like(value: Any, model: Any) -> Any:
    if isinstance(model, Tensor):
        return _tensor_like(value, model)
    if isinstance(model, np.ndarray):
        found = tensor(value)
        return value if found is None else _tensor_like(found, torch.as_tensor(model)).detach().numpy()
    if isinstance(model, bool | int | float | np.number | np.bool_):
        return _number_like(value, model)
    if isinstance(model, str):
        value = value.value if isinstance(value, enum.Enum) else value
        return str(value) if isinstance(value, str) else value
    if isinstance(model, Mapping) and isinstance(value, Mapping):
        return {key: _like(v, model.get(key)) for key, v in value.items()}
    if isinstance(model, list | tuple):
        return _parts_like(value, model)
    return value


def _tensor_like(value: Any, model: Tensor) -> Any:
    found = tensor(value)
    if found is None:
        return value
    if isinstance(value, list | tuple) and found.shape != model.shape and found.ndim == model.ndim:
        last = found.movedim(0, -1)  # parts may be stacked as columns too
        found = last if last.shape == model.shape else found
    if found.dtype == model.dtype or found.is_complex() or found.device.type == "meta":
        return found
    cast = found.to(model.dtype)
    return cast if model.is_floating_point() or bool((cast == found).all()) else found


def _number_like(value: Any, model: Any) -> Any:
    found = tensor(value)
    if found is None or found.ndim or found.is_complex():
        return value
    number = found.item()
    kind = bool if isinstance(model, bool | np.bool_) else int if isinstance(model, int | np.integer) else float
    return kind(number) if kind is float or (number == number // 1 and kind(number) == number) else number


def _parts_like(value: Any, model: Any) -> Any:
    if isinstance(value, Tensor | np.ndarray):
        value = _unstacked(value, model)
    if not isinstance(value, list | tuple):
        return value
    models = [*model, *[model[-1] if model else None] * len(value)]
    parts = [_like(v, m) for v, m in zip(value, models, strict=False)]
    if type(model) in (list, tuple):
        return type(model)(parts)
    return type(model)(*parts) if len(parts) == len(model) else tuple(parts)  # a named tuple


def _unstacked(value: Any, model: Any) -> Any:
    """The results that are stacked, if each then has the shape of the solution's."""
    found, parts = tensor(value), [tensor(m) for m in model]
    shapes = {None if p is None else tuple(p.shape) for p in parts}
    if found is None or not found.ndim or len(shapes) != 1:
        return value
    (shape,) = shapes
    for dim in (0, found.ndim - 1):
        if found.shape[dim] == len(model) and (*found.shape[:dim], *found.shape[dim + 1 :]) == shape:
            return found.unbind(dim)
    return value


def tensor(value: Any) -> Tensor | None:
    """The numbers that a value holds, with their history; None if it holds none, or ragged ones."""
    if isinstance(value, Tensor):
        return value if value.layout == torch.strided else value.to_dense()
    with contextlib.suppress(Exception):
        if isinstance(value, bool | np.bool_) or (isinstance(value, int) and abs(value) < 2**63):
            return torch.tensor(value)
        if isinstance(value, float | np.floating):
            return torch.tensor(float(value), dtype=torch.float64)
        if isinstance(value, str | bytes | type):
            return None
        if isinstance(value, list | tuple):
            parts = [p for v in value if (p := tensor(v)) is not None]
            return (_stack(parts) if parts else torch.zeros(0)) if len(parts) == len(value) else None
        if hasattr(value, "__array__"):
            return _from_array(np.asarray(value))
        if isinstance(value, complex):
            return torch.tensor(value, dtype=torch.complex128)
        if hasattr(value, "__float__"):
            return torch.tensor(float(value), dtype=torch.float64)
    return None


def _from_array(array: np.ndarray) -> Tensor | None:
    if array.dtype.kind in "USMmV":
        return None
    if array.dtype.kind == "O":
        array = np.array([float(v) for v in array.ravel()], dtype=np.float64).reshape(array.shape)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    return torch.as_tensor(array.copy())  # a copy has no strides that torch refuses


# ----------------------------------------------------------------------------------------------------------- comparing


def same(a: Any, b: Any, tolerance: float) -> bool:
    """Whether two results are the same, whatever their precision, memory layout or kind of sequence. Never raises."""
    try:
        return _same(a, b, tolerance)
    except Exception:  # foreign objects may fail when they are compared
        return False


def _same(a: Any, b: Any, tolerance: float) -> bool:
    if isinstance(a, Failure | Unusable) or isinstance(b, Failure | Unusable):
        return type(a) is type(b) and a[:2] == b[:2]  # an error's type alone says little
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(_same(x, y, tolerance) for x, y in zip(a, b, strict=True))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(a[k], b[k], tolerance) for k in a)
    if isinstance(a, torch.nn.Module) and isinstance(b, torch.nn.Module):
        return _same(a.state_dict(), b.state_dict(), tolerance)
    x, y = as_tensor(a), as_tensor(b)
    if x is not None and y is not None:
        return close(x, y, tolerance)
    if type(a) is not type(b):
        return False
    if type(a).__eq__ is object.__eq__ and hasattr(a, "__dict__"):
        return a is b or _same(vars(a), vars(b), tolerance)
    return bool(a == b)


def close(x: Tensor, y: Tensor, tolerance: float) -> bool:
    """Whether two tensors of `as_tensor` have the same shape and values."""
    return x.shape == y.shape and x.dtype == y.dtype and _allclose(x, y, rtol=tolerance, atol=tolerance, equal_nan=True)


def as_tensor(value: Any) -> Tensor | None:
    """Numbers, truth values, arrays and tensors in float64 on the CPU, or complex; None for anything else."""
    with contextlib.suppress(Exception):
        found = None if isinstance(value, list | tuple) else tensor(value)
        if found is not None and found.device.type != "meta":
            return found.detach().to("cpu", torch.complex128 if found.is_complex() else torch.float64)
    return None


# ------------------------------------------------------------------------------------------------------------- showing


def text(value: Any) -> str:
    """A value in a line: shape and first numbers of a tensor, type and message of an error. Never raises."""
    try:
        return _text(value)
    except (KeyboardInterrupt, TimeLimit):
        raise
    except BaseException:
        return f"a {type(value).__name__} that cannot be shown"


def _text(value: Any) -> str:
    if isinstance(value, Failure):
        where = f", raised by: {value.line}" if value.line else ""
        return f"{value.kind}: {shortened(value.message)}{where}" if value.message else f"{value.kind}{where}"
    if isinstance(value, Unusable):
        return value.shown
    if isinstance(value, np.ndarray):
        value = found if (found := tensor(value)) is not None else value
    if isinstance(value, Tensor):
        return _tensor_text(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, tuple | list):
        return f"({'; '.join(text(v) for v in value)})"
    return f"{type(value).__name__} {shortened(repr(value))}" if value is not None else "None"


def _tensor_text(value: Tensor) -> str:
    if value.device.type == "meta":
        return f"shape {tuple(value.shape)} on the meta device, which holds no values"
    flat = tensor(value.detach()).flatten()  # type: ignore[union-attr]
    numbers = ", ".join(_number(v) for v in flat[:5].tolist()) + (", …" if len(flat) > 5 else "")
    return numbers if value.ndim == 0 else f"shape {tuple(value.shape)}: {numbers}"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float | complex) else str(value)


def shortened(message: str, limit: int = 160) -> str:
    """A message in one short line, without addresses in memory, which differ from run to run."""
    message = re.sub(r" at 0x[0-9a-fA-F]+", "", " ".join(message.split()))
    return message if len(message) <= limit else message[: limit - 1] + "…"
