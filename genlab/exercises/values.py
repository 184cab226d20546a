"""Results of answers: when two are the same, how one is shown, and what their difference usually means."""

import contextlib
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor


class Failure(NamedTuple):
    """An answer raised an error: its type, its message, and the line that raised it."""

    kind: str
    message: str
    line: str


def same(a: Any, b: Any, tolerance: float) -> bool:
    """Whether two results are the same, whatever their precision, memory layout or kind of sequence."""
    if isinstance(a, Failure) or isinstance(b, Failure):
        return isinstance(a, Failure) and isinstance(b, Failure) and a.kind == b.kind
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(same(x, y, tolerance) for x, y in zip(a, b, strict=True))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[k], b[k], tolerance) for k in a)
    if isinstance(a, torch.nn.Module) and isinstance(b, torch.nn.Module):
        return same(a.state_dict(), b.state_dict(), tolerance)
    x, y = as_tensor(a), as_tensor(b)
    if x is None or y is None:
        return type(a) is type(b) and bool(a == b)
    return x.shape == y.shape and torch.allclose(x, y, rtol=tolerance, atol=tolerance, equal_nan=True)


def as_tensor(value: Any) -> Tensor | None:
    """Numbers, truth values, arrays and tensors in float64 on the CPU; None for anything else."""
    if isinstance(value, Tensor | bool | int | float | np.ndarray | np.number | np.bool_):
        with contextlib.suppress(TypeError, ValueError, RuntimeError):
            return torch.as_tensor(value).detach().to("cpu", torch.float64)
    return None


def text(value: Any) -> str:
    """A value in a line: shape and first numbers of a tensor, type and message of an error."""
    if isinstance(value, np.ndarray):
        value = torch.as_tensor(value)
    if isinstance(value, Tensor):
        flat = value.detach().flatten()
        numbers = ", ".join(_number(v) for v in flat[:5].tolist()) + (", …" if len(flat) > 5 else "")
        return numbers if value.ndim == 0 else f"shape {tuple(value.shape)}: {numbers}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Failure):
        where = f", raised by: {value.line}" if value.line else ""
        return f"{value.kind}: {_short(value.message)}{where}"
    if isinstance(value, tuple | list):
        return f"({'; '.join(text(v) for v in value)})"
    return f"{type(value).__name__} {_short(repr(value))}" if value is not None else "None"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _short(message: str, limit: int = 160) -> str:
    message = " ".join(message.split())
    return message if len(message) <= limit else message[: limit - 1] + "…"


def meaning(expected: Any, came: Any, tested: str) -> str:
    """What a difference usually means, when it is no mistake that the exercise knows by name."""
    if isinstance(came, Failure):
        return "Your function raised an error. Read its message; run the function on a small example of your own."
    if came is None:
        return "Your function returned nothing. Is a return missing?"
    if tested.startswith("that the arguments"):
        return (
            "Your function changed its arguments in place: look for methods that end in _, += and assignments x[…] = …."
        )
    if isinstance(expected, tuple | list) and isinstance(came, tuple | list):
        if len(expected) != len(came):
            return f"{len(expected)} values were expected, but {len(came)} came."
        pairs = [(e, c) for e, c in zip(expected, came, strict=True)]
        return next((m for e, c in pairs if (m := _numbers(as_tensor(e), as_tensor(c), tested))), "")
    x, y = as_tensor(expected), as_tensor(came)
    if x is not None and y is None:
        return f"A tensor or a number was expected, but a {type(came).__name__} came."
    return _numbers(x, y, tested)


def _numbers(x: Tensor | None, y: Tensor | None, tested: str) -> str:
    if x is None or y is None:
        return ""
    if x.shape != y.shape:
        return _shape(x, y)
    if bool(torch.allclose(x, y, rtol=1e-4, atol=1e-4, equal_nan=True)):
        return ""
    if bool(y.isnan().any() & ~x.isnan().any()):
        return "NaN came out: look for log of zero or of a negative number, 0/0, or infinity minus infinity."
    if bool(y.isinf().any() & ~x.isinf().any()):
        return "Infinity came out: look for log(0), exp of a large number, or a division by zero."
    if "gradient" in tested and not y.any():
        return "No gradient arrives: look for detach, item, numpy, no_grad or a comparison between here and there."
    if _close(y, -x):
        return "Every value has the wrong sign."
    used = (x.abs() > 1e-6) & x.isfinite()
    ratios = y[used] / x[used]
    if len(ratios) and _close(ratios, ratios[:1].expand_as(ratios)) and (y[~used].abs() < 1e-5).all():
        return f"Every value is {_factor(ratios[0].item())} times the expected one: look for a factor, or mean for sum."
    shifts = (y - x)[x.isfinite()]
    if len(shifts) > 1 and torch.allclose(shifts, shifts[:1].expand_as(shifts), rtol=1e-3, atol=1e-5):
        return f"Every value is off by the same {shifts[0].item():.4g}: look for a constant."
    if x.ndim == 2 and x.shape[0] == x.shape[1] and _close(y, x.T):
        return "The result is transposed: rows and columns are swapped."
    wrong = ~torch.isclose(x, y, rtol=1e-4, atol=1e-4)
    share = wrong.double().mean().item()
    return "" if x.ndim == 0 or share == 1 else f"{math.ceil(100 * share)} % of the values are wrong, the others right."


def _close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-3, atol=1e-6)


def _shape(x: Tensor, y: Tensor) -> str:
    message = f"The shape is {tuple(y.shape)}, but {tuple(x.shape)} was expected."
    if y.ndim == 0 and x.ndim:
        return f"{message} Return one value per example: reduce over the other dimensions only."
    if y.squeeze().shape == x.squeeze().shape:
        return f"{message} A dimension of size 1 is too many or missing; beside other shapes it broadcasts in silence."
    if y.ndim > x.ndim:
        return f"{message} A sum over some dimension is missing."
    return message


def _factor(ratio: float) -> str:
    return f"1/{1 / ratio:.4g}" if 0 < ratio < 1 else f"{ratio:.4g}"
