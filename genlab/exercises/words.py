"""What a difference means, when it is no mistake that the exercise knows by name. Nothing is said that is not shown."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genlab.exercises.arguments import Change
from genlab.exercises.observe import CHANGES, GRADIENT, RESULT, Observation
from genlab.exercises.values import (
    LARGE,
    PASSING,
    Failure,
    Unusable,
    article,
    as_tensor,
    close,
    is_tensor,
    same,
    type_name,
)

_isclose, _cat = torch.isclose, torch.cat  # held: an answer may replace torch's
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
DOINGS = {
    "values": "Your function changed {} in place: look for methods that end in _, += and assignments x[…] = …",
    "grad": "Your function left gradients in {}: backward() adds them there; torch.autograd.grad returns them",
    "requires_grad": "Your function changed requires_grad of {}: detach a copy, and set it there",
    "mode": "Your function left {} in another mode (train or eval) than it found",
}
NEAR = 1e-2  # a factor so near to 1 says nothing of where it comes from


class Pair(NamedTuple):
    """What was expected, what came, and the arguments of the call."""

    expected: Any
    came: Any
    arguments: Sequence[Any]


class Terms(NamedTuple):
    """The tolerance of comparisons, the names of the arguments, and how to say that something holds for all values."""

    tolerance: float
    names: Sequence[str]
    every: str


def meaning(
    expected: Sequence[Observation],
    came: Sequence[Observation],
    at: int,
    tolerance: float,
    names: Sequence[str],
) -> str:
    """What the difference of two observations shows; nothing, where an odd result fails when it is looked at.

    Args:
        expected: what the solution does.
        came: what the answer does.
        at: the place of the difference.
        tolerance: of comparisons.
        names: of the arguments.
    """
    try:
        return _meaning(expected, came, at, tolerance, names)
    except PASSING:
        raise
    except BaseException:
        return ""


def _meaning(
    expected: Sequence[Observation], came: Sequence[Observation], at: int, tolerance: float, names: Sequence[str]
) -> str:
    e, c = expected[at], came[at]
    if e.kind == CHANGES:
        return doings(c.value - e.value)
    said = _odd(e, c)
    if said is None:
        both = [(x, y) for x, y in zip(expected, came, strict=False) if x.kind == e.kind]
        here = [y is c for _, y in both].index(True)
        every = "Every value" if e.kind == RESULT or e.kind.startswith(GRADIENT) else "In this test every value"
        pairs = [Pair(x.value, y.value, x.arguments) for x, y in both]
        said = c.note or _differs(pairs, here, Terms(tolerance, names, every))
        said += _rows(e, c, names)
    changed = frozenset().union(*(y.value - x.value for x, y in zip(expected, came, strict=False) if x.kind == CHANGES))
    return " ".join(part for part in (said, doings(changed)) if part)


def doings(changed: frozenset[Change]) -> str:
    """What an answer did to its arguments."""
    kinds = {kind: sorted(c.part for c in changed if c.kind == kind) for kind in DOINGS}
    return " ".join(f"{DOINGS[kind].format(_listed(parts))}." for kind, parts in kinds.items() if parts).replace(
        "….", "…"
    )


def _listed(parts: Sequence[str]) -> str:
    return ", ".join(parts[:3]) + (", …" if len(parts) > 3 else "")


def _odd(e: Observation, c: Observation) -> str | None:
    """Of what is no result that can be compared; None if it is one."""
    if isinstance(c.value, Failure):
        if c.value.kind == "SystemExit":
            return "Return a value; do not end the program."
        if e.kind.startswith(GRADIENT):
            return (
                "With arguments that ask for a gradient your function raised this error. The task asks for a result "
                "that can be differentiated: stay with torch's tensors and functions."
            )
        return "Your function raised this error. Read its message, and call the function with the same arguments."
    if isinstance(c.value, Unusable):
        return c.value.why
    if c.value is None and any(result is None for result in c.models):  # else it is the test that found nothing
        return "Your function returned nothing. Is a return missing?"
    if e.value is None and e.kind == RESULT and all(result is None for result in e.models):
        return f"Nothing should be returned, but {_called(c.value)} came."
    return None


def _called(value: Any) -> str:
    """In words what a value is, as far as its type matters."""
    if value is None:
        return "None"
    return "a number or a tensor" if as_tensor(value) is not None else article(type_name(value))


# ------------------------------------------------------------------------------------------------------ several results


def _differs(pairs: Sequence[Pair], here: int, terms: Terms) -> str:
    e, c, _ = pairs[here]
    if isinstance(e, tuple | list) and isinstance(c, tuple | list):
        if len(e) != len(c):
            return f"{_count(len(e))} expected, but {len(c)} came."
        return _parts(pairs, here, terms) if e else ""
    x, y = as_tensor(e), as_tensor(c)
    if x is None or y is None:
        if is_tensor(e) and is_tensor(c):
            return _unread(e, c)
        wanted = "a tensor or a number" if x is not None else _called(e)
        return "" if type(c) is type(e) else f"{wanted[:1].upper()}{wanted[1:]} was expected, but {_called(c)} came."
    found = [(a, b) for p in pairs if (a := as_tensor(p.expected)) is not None and (b := as_tensor(p.came)) is not None]
    said = _numbers(found if len(found) == len(pairs) else [(x, y)], (x, y), terms)
    return said or _scaled(pairs, terms.names) or _share(x, y, terms.tolerance)


def _unread(expected: Tensor, came: Tensor) -> str:
    """Of a tensor without values, or with more than are looked at."""
    if came.device.type == "meta":
        return "The result holds no values that can be read: it is on the meta device."
    if came.numel() > LARGE and came.shape != expected.shape:
        return _other_shape(expected, came)
    return ""


def _count(n: int) -> str:
    return "1 result was" if n == 1 else f"{n} results were"


def _parts(pairs: Sequence[Pair], here: int, terms: Terms) -> str:
    """Which of several results differs, and how; or that they are swapped."""
    size = len(pairs[here].expected)
    whole = [p for p in pairs if isinstance(p.came, tuple | list) and len(p.expected) == len(p.came) == size]
    if len(whole) == len(pairs) and (swapped := _swapped(pairs, size, terms.tolerance)):
        return swapped
    wrong = [i for i in range(size) if any(not same(p.expected[i], p.came[i], terms.tolerance) for p in whole)]
    first = next(i for i in wrong if not same(pairs[here].expected[i], pairs[here].came[i], terms.tolerance))
    parts = [Pair(p.expected[first], p.came[first], p.arguments) for p in whole]
    said = _differs(parts, [p is pairs[here] for p in whole].index(True), terms)
    if size == 1:
        return said
    which = " and ".join(f"the {_ordinal(i)}" for i in wrong)
    head = f"Of the {size} results {which} {'differs' if len(wrong) == 1 else 'differ'}."
    if said and len(wrong) > 1:
        said = f"Of the {_ordinal(first)}: {said}"
    return f"{head} {said}".strip()


def _ordinal(i: int) -> str:
    return ORDINALS[i] if i < len(ORDINALS) else f"one at place {i + 1}"


def _swapped(pairs: Sequence[Pair], size: int, tolerance: float) -> str:
    for i in range(size):
        for j in range(i + 1, size):
            order = list(range(size))
            order[i], order[j] = j, i
            if all(same(e, [c[k] for k in order], tolerance) for e, c, _ in pairs):
                both = "The two results" if size == 2 else f"The {_ordinal(i)} and the {_ordinal(j)} result"
                return f"{both} are swapped."
    return ""


# ------------------------------------------------------------------------------------------------------------- numbers


def _numbers(pairs: Sequence[tuple[Tensor, Tensor]], here: tuple[Tensor, Tensor], terms: Terms) -> str:
    x, y = here
    if y.is_complex() and not x.is_complex():
        return "The result is complex; real numbers were expected."
    if x.shape != y.shape:
        return _shape(x, y, terms.tolerance)
    if x.is_complex():
        return ""
    if bool((y.isnan() & ~x.isnan()).any()):
        return "NaN came out: look for log of zero or of a negative number, 0/0, or infinity minus infinity."
    if bool((y.isinf() & x.isfinite()).any()):
        return "Infinity came out: look for log(0), exp of a large number, or a division by zero."
    if any(a.shape != b.shape for a, b in pairs):
        return ""
    if all(a.ndim == 2 and a.shape[0] == a.shape[1] and close(a, b.T, terms.tolerance) for a, b in pairs):
        return "The result is transposed: rows and columns are swapped."
    return _related(_cat([a.flatten() for a, _ in pairs]), _cat([b.flatten() for _, b in pairs]), terms)


def _related(x: Tensor, y: Tensor, terms: Terms) -> str:
    """A factor or a shift that holds for all values of all draws, if these can show it."""
    every, tolerance = terms.every, terms.tolerance
    if bool((y == 0).all()) and len(x) > 1:
        return f"{every} is 0."
    if not bool((y[x.isfinite()].isfinite()).all()) or bool((y.isfinite() & ~x.isfinite()).any()):
        return ""
    x, y = x[x.isfinite()], y[x.isfinite()]
    if len(x) < 2 or float(x.max() - x.min()) <= 1e-3 * float(x.abs().max()):
        return ""  # equal values show neither a factor nor a shift
    r = _ratio(x, y)
    if r is not None and abs(r + 1) <= NEAR:
        return f"{every} has the wrong sign."
    if r is not None:
        kinds = "a mean for a sum" if abs(r) < 1 else "a sum for a mean"
        return f"{every} is {_factor(r)} times the expected one: look for a factor, or {kinds}."
    shift = float((y - x).mean())
    clear = abs(shift) > 10 * tolerance  # shifts that agree within the tolerance show none that is not far larger
    if clear and bool(_isclose(y - x, torch.full_like(x, shift), rtol=1e-3, atol=tolerance).all()):
        return f"{every} is off by the same {shift:.4g}: look for a constant."
    return ""


def _ratio(x: Tensor, y: Tensor) -> float | None:
    """The r of y = r x, which at least two values other than zero must show."""
    used = x.abs() > 1e-3 * x.abs().max()
    if int(used.sum()) < 2:
        return None
    r = float((y[used] / x[used]).median())
    fits = _isclose(y, r * x, rtol=1e-3, atol=1e-6 * abs(r) * float(x.abs().max()))
    return r if r and min(abs(r - 1), abs(1 / r - 1)) > NEAR and bool(fits.all()) else None


def _factor(ratio: float) -> str:
    return f"1/{1 / ratio:.4g}" if 0 < ratio < 1 else f"{ratio:.4g}"


def _scaled(pairs: Sequence[Pair], names: Sequence[str]) -> str:
    """A factor in each draw that is the size of an argument: a mean for a sum, or the reverse."""
    ratios = [_constant(as_tensor(p.expected), as_tensor(p.came)) for p in pairs]
    for i, name in enumerate(names):
        values = [p.arguments[i] for p in pairs if i < len(p.arguments) and isinstance(p.arguments[i], Tensor)]
        for k in range(min((v.ndim for v in values), default=0)):
            sizes = [v.shape[k] for v in values]
            if len(sizes) != len(ratios) or len(set(sizes)) == 1 or None in ratios:
                continue
            size = f"the size of dimension {k} of {name}"
            if all(abs(r * n - 1) < 1e-3 for r, n in zip(ratios, sizes, strict=True) if r):
                return f"Every value is divided by {size}: is a mean where a sum belongs?"
            if all(abs(r / n - 1) < 1e-3 for r, n in zip(ratios, sizes, strict=True) if r):
                return f"Every value is multiplied by {size}: is a sum where a mean belongs?"
    return ""


def _constant(x: Tensor | None, y: Tensor | None) -> float | None:
    """The r of y = r x in one draw."""
    if x is None or y is None or x.shape != y.shape or x.is_complex() or y.is_complex():
        return None
    used = x.isfinite() & (x.abs() > 1e-6)
    r = float((y[used] / x[used]).median()) if bool(used.any()) else 0.0
    return r if r and bool(_isclose(y, r * x, rtol=1e-3, atol=1e-6).all()) else None


def _share(x: Tensor, y: Tensor, tolerance: float) -> str:
    """How many values are wrong, if some are right."""
    if x.shape != y.shape or x.is_complex() or y.is_complex():
        return ""
    wrong = int((~_isclose(x, y, rtol=tolerance, atol=tolerance, equal_nan=True)).sum())
    if wrong in (0, x.numel()):
        return ""
    return f"{wrong} of {x.numel()} values {'is' if wrong == 1 else 'are'} wrong, the others right."


# -------------------------------------------------------------------------------------------------------------- shapes


def _other_shape(x: Tensor, y: Tensor) -> str:
    return f"The shape is {tuple(y.shape)}, but {tuple(x.shape)} was expected."


def _shape(x: Tensor, y: Tensor, tolerance: float) -> str:
    message = _other_shape(x, y)
    if y.squeeze().shape == x.squeeze().shape:
        if y.ndim == x.ndim:
            return f"{message} A dimension of size 1 stands in another place."
        return (
            f"{message} A dimension of size 1 is {'too many' if y.ndim > x.ndim else 'missing'}; "
            "beside other shapes it broadcasts in silence."
        )
    if x.ndim == y.ndim == 2 and close(x, y.T, tolerance):
        return f"{message} The result is transposed: rows and columns are swapped."
    for k in range(y.ndim):
        if close(x, y.sum(k), tolerance):
            return f"{message} Summed over dimension {k} it is right: a sum is missing."
        if y.shape[k] and close(x, y.mean(k), tolerance):
            return f"{message} Averaged over dimension {k} it is right: a mean is missing."
    if x.numel() == y.numel() and close(x, y.reshape(x.shape), tolerance):
        return f"{message} The values are right, in another shape."
    return message


def _rows(e: Observation, c: Observation, names: Sequence[str]) -> str:
    """Advice where one number came for as many as an argument has rows."""
    x, y = as_tensor(e.value), as_tensor(c.value)
    if x is None or y is None or y.ndim or x.ndim != 1:
        return ""
    for name, a in zip(names, e.arguments, strict=False):
        if isinstance(a, Tensor) and a.ndim > 1 and a.shape[0] == len(x) and len(x) not in a.shape[1:]:
            return f" Return one value for each row of {name}: reduce over the other dimensions only."
    return ""
