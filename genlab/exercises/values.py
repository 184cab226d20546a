"""Results of answers: their normal form, when two are the same, and how one is shown."""

import contextlib
import enum
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeGuard

import numpy as np
import torch
from torch import Tensor

from genlab.exercises.limit import TimeLimit

_allclose, _stack = torch.allclose, torch.stack  # held: an answer may replace torch's
LARGE = 10**7  # values; what has more is no right answer, and copies of it may fill the memory
SHOWN, MANY = 8, 1000  # parts of a result that are shown, and that are too many to be looked at
DEPTH = 8  # lists within lists in which numbers are looked for; what holds itself has no end
PASSING = (KeyboardInterrupt, TimeLimit)  # what no guard may keep
_NAME = vars(type)["__name__"]  # a class may have a `__name__` of its own, which fails


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


def is_tensor(value: Any) -> TypeGuard[Tensor]:
    """Whether a value is a tensor in truth, and not only by its `__class__`."""
    return issubclass(type(value), Tensor)


def like(value: Any, model: Any) -> Any:
    """A result in the form of the solution's: the same numbers or words, whatever types hold them.

    Arrays, lists, `Fraction`, sympy's numbers and all that `float` takes become tensors where the solution gives
    tensors, and numbers where it gives numbers; a stack of results becomes as many. What does not fit stays as it is.
    """
    try:
        return _like(value, model)
    except PASSING:
        raise
    except BaseException:  # a foreign type that fails when it is asked what it holds
        return value


def _like(value: Any, model: Any) -> Any:
    if isinstance(value, np.ndarray) and not value.ndim:
        value = value.item()  # NumPy's way to give one number or text
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
    if found.numel() > LARGE:
        return found
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
    if isinstance(value, np.ndarray) and value.dtype.kind in "USO" and len(value) == len(model):
        value = value.tolist()
    if isinstance(value, Tensor | np.ndarray):
        value = _unstacked(value, model)
    if not isinstance(value, list | tuple) or len(value) > MANY + len(model):
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


def tensor(value: Any, depth: int = DEPTH) -> Tensor | None:
    """The numbers that a value holds, with their history; None if it holds none, or ragged ones."""
    if is_tensor(value):
        return _plain_tensor(value)
    with contextlib.suppress(Exception):
        if isinstance(value, bool | np.bool_) or (isinstance(value, int) and abs(value) < 2**63):
            return torch.tensor(value)
        if isinstance(value, float | np.floating):
            return torch.tensor(float(value), dtype=torch.float64)
        if isinstance(value, str | bytes | type):
            return None
        if isinstance(value, list | tuple) and depth:
            if {type(v) for v in value} == {float}:  # many, perhaps
                return torch.tensor(value, dtype=torch.float64)
            parts = [p for v in value if (p := tensor(v, depth - 1)) is not None]
            return (_stack(parts) if parts else torch.zeros(0)) if len(parts) == len(value) else None
        if hasattr(value, "__array__"):
            return _from_array(np.asarray(value))
        if isinstance(value, complex):
            return torch.tensor(value, dtype=torch.complex128)
        if hasattr(value, "__float__"):
            return torch.tensor(float(value), dtype=torch.float64)
    return None


def _plain_tensor(value: Tensor) -> Tensor | None:
    """A tensor without the methods of its own that a subclass has, and with a place for every value."""
    if type(value) not in (Tensor, torch.nn.Parameter):
        with torch._C.DisableTorchFunctionSubclass():
            value = Tensor.as_subclass(value, Tensor)
    if value.layout == torch.strided:
        return value
    return value.to_dense() if value.numel() <= LARGE else None


def _from_array(array: np.ndarray) -> Tensor | None:
    if array.dtype.kind in "USMmV":
        return None
    if array.dtype.kind == "O":
        array = np.array([float(v) for v in array.ravel()], dtype=np.float64).reshape(array.shape)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    # A copy has no strides that torch refuses; of much there is none.
    return torch.as_tensor(array.copy() if array.size <= LARGE else array)


# ----------------------------------------------------------------------------------------------------------- comparing


def same(a: Any, b: Any, tolerance: float) -> bool:
    """Whether two results are the same, whatever their precision, memory layout or kind of sequence. Never raises."""
    try:
        return _same(a, b, tolerance)
    except PASSING:
        raise
    except BaseException:  # foreign objects may fail when they are compared
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
    """Numbers, truth values, arrays and tensors in float64 on the CPU, or complex; None for what is none, or large."""
    with contextlib.suppress(Exception):
        found = None if isinstance(value, list | tuple) else tensor(value)
        if found is not None and found.device.type != "meta" and found.numel() <= LARGE:
            return found.detach().to("cpu", torch.complex128 if found.is_complex() else torch.float64)
    return None


# ------------------------------------------------------------------------------------------------------------- showing


def type_name(value: Any) -> str:
    """The name of a value's type. Never raises."""
    return _NAME.__get__(type(value))


def article(name: str) -> str:
    """A noun with its article: "a list", "an int"."""
    return f"{'an' if name.lower().startswith(('a', 'e', 'i', 'o', 'u', 'nd')) else 'a'} {name}"


def text(value: Any, depth: int = 4) -> str:
    """A value in a line: shape and first numbers of a tensor, type and message of an error. Never raises."""
    try:
        return _text(value, depth)
    except PASSING:
        raise
    except BaseException:
        return f"{article(type_name(value))} that cannot be shown"


def _text(value: Any, depth: int) -> str:
    if isinstance(value, Failure):
        where = f", raised by: {shortened(value.line)}" if value.line else ""
        return f"{value.kind}: {shortened(value.message)}{where}" if value.message else f"{value.kind}{where}"
    if isinstance(value, Unusable):
        return value.shown
    if isinstance(value, np.ndarray):
        value = found if (found := tensor(value)) is not None else value
    if is_tensor(value):
        return _tensor_text(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, tuple | list):
        parts = [text(v, depth - 1) for v in value[:SHOWN]] if depth else []
        return f"({'; '.join(parts + ['…'] * (len(value) > len(parts)))})"
    return f"{type_name(value)} {shortened(repr(value))}" if value is not None else "None"


def _tensor_text(value: Tensor) -> str:
    shape = f"shape {tuple(value.shape)}"
    if value.device.type == "meta":
        return f"{shape} on the meta device, which holds no values"
    found = tensor(value.detach())
    if found is None:
        return f"{shape}, too large to be shown"
    places = zip(*np.unravel_index(range(min(5, found.numel())), found.shape), strict=True) if found.ndim else [()]
    numbers = ", ".join(_number(found[place].item()) for place in places) + (", …" if found.numel() > 5 else "")
    return f"{shape}: {numbers}" if found.ndim else numbers


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float | complex) else str(value)


def shortened(message: str, limit: int = 160) -> str:
    """A message in one short line, without addresses in memory, which differ from run to run."""
    message = re.sub(r" at 0x[0-9a-fA-F]+", "", " ".join(message.split()))
    message = message.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair cannot be printed
    return message if len(message) <= limit else message[: limit - 1] + "…"
