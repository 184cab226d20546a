"""Claims and derivation checks: what the text says is computed, and stops the notebook when it is false."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import sympy
import torch
from scipy import integrate
from torch import Tensor

from genlab.text import say

Value = float | Tensor | bool | np.bool_


def claim(
    sentence: str,
    value: Value,
    *,
    above: float | None = None,
    below: float | None = None,
    equals: float | None = None,
    within: float = 1e-6,
    contrast: Mapping[str, Value] | None = None,
    show: str = "",
) -> None:
    """State a sentence, a value and a bound; print `✓ sentence` when the bound holds, and for no contrast.

    Bounds are strict and may be combined. NaN and infinite values fail every bound. Without `show` only words are
    printed, so the line is the same on every machine.

    Args:
        sentence: what is claimed, in words.
        value: a number, a 0-d tensor, or a truth value (which needs no bound).
        above: the value must be greater than this.
        below: the value must be smaller than this.
        equals: the value must lie no further than `within` from this.
        within: tolerance of `equals`, in the units of the value.
        contrast: the value in other worlds, by their names, in which the sentence is false: the untrained network,
            shuffled labels. For each the bound must fail, or it tests less than the sentence says.
        show: format of numbers, such as ".3f": print the value and each contrast too. Ask for no more digits than are
            the same on every machine.

    Raises:
        AssertionError: the claim is false, or holds for a contrast; the message has sentence, value and bound.
        ValueError: a number was given without a bound, a truth value with one, or `show` with a truth value.
    """
    bounds = {"above": above, "below": below, "equals": equals}
    stated = {k: float(v) for k, v in bounds.items() if v is not None}
    wanted = " and ".join(f"{k} {v:g}" + (f" ± {within:g}" if k == "equals" else "") for k, v in stated.items())
    found, *others = (_number(sentence, v, stated, show) for v in (value, *(contrast or {}).values()))
    if not _holds(found, stated, within):
        raise AssertionError(f"✗ {sentence}\n  value: {found}\n  bound: {wanted or 'true'}")
    for name, other in zip(contrast or {}, others, strict=True):
        if _holds(other, stated, within):
            raise AssertionError(
                f"✗ {sentence}\n  the bound holds for the contrast as well, {name}: {other}\n  value: {found}\n"
                f"  bound: {wanted or 'true'}"
            )
    shown = f": {found:{show}} ({wanted})" if show else ""
    against = [f"{k} ({v:{show}})" if show else k for k, v in zip(contrast or {}, others, strict=True)]
    say(f"✓ {sentence}{shown}" + (f"\n  not so for {', '.join(against)}" if against else ""))


def _number(sentence: str, value: Value, stated: Mapping[str, float], show: str) -> float | bool:
    """The value as a Python number, or a truth value where no bound is stated."""
    if isinstance(value, bool | np.bool_) or (isinstance(value, Tensor) and value.dtype == torch.bool):
        if stated or show:
            raise ValueError(f"claim({sentence!r}) was given {value!r} and a bound or show=; a truth value takes none")
        return bool(value)
    if not stated:
        raise ValueError(f"claim({sentence!r}) was given {value!r} and no bound; pass above=, below= or equals=")
    return float(value.detach() if isinstance(value, Tensor) else value)


def _holds(value: float | bool, stated: Mapping[str, float], within: float) -> bool:
    if isinstance(value, bool):
        return value
    tests = {"above": value > stated.get("above", -math.inf), "below": value < stated.get("below", math.inf)}
    tests["equals"] = abs(value - stated.get("equals", value)) <= within
    return math.isfinite(value) and all(tests[k] for k in stated)


def identity(sentence: str, left: sympy.Expr, right: sympy.Expr) -> None:
    """Check symbolically that left − right simplifies to zero. Logarithms are expanded as of positive numbers.

    Raises:
        AssertionError: sympy cannot bring the difference to zero; the difference is shown.
    """
    difference = sympy.simplify(sympy.expand_log(sympy.expand(left - right), force=True))
    if difference != 0:
        raise AssertionError(f"✗ {sentence}\n  left − right = {difference}\n  expected: 0")
    say(f"✓ {sentence}")


Function = Callable[[float], float]


def integral(
    f: Function, low: float = -math.inf, high: float = math.inf, *, near: float | Sequence[float] = ()
) -> float:
    """∫ f(x) dx from `low` to `high` by adaptive quadrature (QUADPACK), with a look for peaks that it would step over.

    f is looked at on a grid, dense near 0 and ever wider away from it, and the range is split at the largest values.
    A second value with other splits must agree. A peak that the grid steps over too is not found: say where it is.

    Args:
        f: the integrand.
        low: lower limit, which may be infinite.
        high: upper limit.
        near: a place, or several, at which f is large.

    Raises:
        ValueError: the estimated error is above 1e-6, or above 1e-6 of a result larger than 1, or the result is NaN;
            two splits disagree; or the range is infinite and f was 0 wherever it was looked at.
    """
    if low > high:
        return -integral(f, high, low, near=near)
    plain = _pieces(f, [low, high])
    infinite = math.isinf(low) or math.isinf(high)
    peaks = _peaks(f, low, high, [near] if isinstance(near, int | float) else near)
    if infinite and not peaks:
        raise ValueError(f"f is 0 wherever it was looked at from {low} to {high}; narrow the limits, or say near=")
    first = _pieces(f, _splits(f, low, high, peaks, (1.0, 4.0)))
    if _settled(plain) and _agree(plain, first):
        return plain[0]
    second = _pieces(f, _splits(f, low, high, peaks, (0.6, 2.3, 9.0)))
    if not (_settled(first) and _settled(second)):
        raise ValueError(
            f"the integral from {low} to {high} has an error of {max(first[1], second[1]):.1e}; "
            "split it or narrow its limits"
        )
    if not _agree(first, second):
        raise ValueError(
            f"the integral from {low} to {high} is {first[0]:.6g} or {second[0]:.6g}, as the range is split; narrow "
            "its limits, or say near= where f is large"
        )
    return first[0]


def _pieces(f: Function, ends: list[float]) -> tuple[float, float]:
    """The sum of the integrals between neighbouring ends, and of their estimated errors."""
    found = [integrate.quad(f, a, b, limit=400, full_output=1)[:2] for a, b in pairwise(ends)]  # without warnings
    return float(sum(value for value, _ in found)), float(sum(error for _, error in found))


def _settled(found: tuple[float, float]) -> bool:
    return found[1] <= 1e-6 * max(1.0, abs(found[0]))


def _agree(one: tuple[float, float], two: tuple[float, float]) -> bool:
    return abs(one[0] - two[0]) <= 1e-6 * max(1.0, abs(one[0]))


def _peaks(f: Function, low: float, high: float, near: Sequence[float], most: int = 4) -> list[tuple[float, float]]:
    """Places where |f| is largest, each with a step that is small beside its surroundings; at most so many."""
    size = _size(f, low, high)
    ladder = np.geomspace(0.25, 1e5, 160)
    around = [place + 0.01 * np.arange(-5, 6) for place in near]
    ends = [end for end in (low, high) if math.isfinite(end)]
    xs = np.concatenate([[0.0], *(s * ladder + end for s in (-1, 1) for end in (0.0, *ends)), *around])
    if len(ends) == 2:
        xs = np.concatenate([xs, low + (high - low) * (np.arange(64) + 0.5) / 64])
    xs = np.unique(xs)
    xs = xs[(xs > low) & (xs < high)]
    if not len(xs):
        return []
    heights = np.array([size(x) for x in xs.tolist()])
    padded = np.concatenate([[0.0], heights, [0.0]])
    tops = np.flatnonzero((heights > 0) & (heights >= padded[:-2]) & (heights > padded[2:]))
    chosen = tops[np.argsort(heights[tops])[::-1][:most]]
    limits = np.concatenate([[max(low, xs[0] - 1)], xs, [min(high, xs[-1] + 1)]]).tolist()
    return [_climb(size, limits[i], limits[i + 2], limits[i + 1]) for i in chosen]


def _size(f: Function, low: float, high: float) -> Function:
    """|f| within the limits, and 0 where it overflows, is not defined or not a number: only for looking."""

    def size(x: float) -> float:
        if not low < x < high:
            return 0.0
        try:
            with np.errstate(all="ignore"):
                value = abs(float(f(x)))
        except (ArithmeticError, ValueError):
            return 0.0
        return value if math.isfinite(value) else 0.0

    return size


def _climb(size: Function, left: float, right: float, best: float) -> tuple[float, float]:
    """The top between two places, and the distance at which its neighbours differ from it by less than a tenth."""
    height = size(best)
    for _ in range(30):
        xs = [best, *np.linspace(left, right, 10)[1:-1].tolist()]
        values = [size(x) for x in xs]
        step = (right - left) / 9
        best = xs[int(np.argmax(values))]
        left, right = max(left, best - step), min(right, best + step)
        risen, height = max(values) > 1.1 * height, max(values)
        if not risen:
            break
    return best, step


def _splits(
    f: Function, low: float, high: float, peaks: list[tuple[float, float]], scales: Sequence[float]
) -> list[float]:
    """The limits, each peak, and places beside it at multiples of its width, where it is down to a hundredth."""
    size, ends = _size(f, low, high), {low, high}
    for top, step in peaks:
        ends.add(top)
        for side in (-1, 1):
            width, wanted = step, 0.01 * size(top)
            while size(top + side * width) > wanted and width < 1e6:
                width *= 2
            while size(top + side * width / 2) <= wanted and width > 1e-9 * max(1.0, abs(top)):
                width /= 2
            ends |= {top + side * width * scale for scale in scales}
    return sorted(x for x in ends if low <= x <= high)


class Estimate(NamedTuple):
    """A Monte Carlo mean, its standard error and its number of samples."""

    mean: float
    error: float
    n: int


def monte_carlo(samples: Tensor) -> Estimate:
    """Mean of independent samples (n,) with its standard error s/√n.

    Raises:
        ValueError: fewer than two samples.
    """
    if samples.ndim != 1 or len(samples) < 2:
        raise ValueError(f"monte_carlo needs at least two samples of shape (n,), but got shape {tuple(samples.shape)}")
    samples = samples.detach().cpu().double()  # not every accelerator has float64
    return Estimate(samples.mean().item(), (samples.std() / len(samples) ** 0.5).item(), len(samples))


def agrees(sentence: str, samples: Tensor, exact: float, *, sigmas: float = 4.0) -> None:
    """Claim that the mean of Monte Carlo samples (n,) lies within `sigmas` standard errors of an exact value.

    Four standard errors reject a true identity once in 16,000 seeds.
    """
    estimate = monte_carlo(samples)
    claim(sentence, estimate.mean, equals=exact, within=sigmas * estimate.error)
