"""Claims and derivation checks: what the text says is computed, and stops the notebook when it is false."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import sympy
import torch
from scipy import integrate
from torch import Tensor


def claim(
    sentence: str,
    value: float | Tensor | bool | np.bool_,
    *,
    above: float | None = None,
    below: float | None = None,
    equals: float | None = None,
    within: float = 1e-6,
) -> None:
    """State a sentence, a value and a bound; print `✓ sentence` when the bound holds.

    Only the sentence is printed, so the line is the same on every machine. Bounds are strict and may be combined. NaN
    and infinite values fail every bound.

    Args:
        sentence: what is claimed, in words.
        value: a number, a 0-d tensor, or a truth value (which needs no bound).
        above: the value must be greater than this.
        below: the value must be smaller than this.
        equals: the value must lie no further than `within` from this.
        within: tolerance of `equals`, in the units of the value.

    Raises:
        AssertionError: the claim is false; the message holds sentence, value and bound.
        ValueError: a number was given without a bound, or a truth value with one.
    """
    bounds = {"above": above, "below": below, "equals": equals}
    stated = {k: float(v) for k, v in bounds.items() if v is not None}
    if isinstance(value, bool | np.bool_) or (isinstance(value, Tensor) and value.dtype == torch.bool):
        if stated:
            raise ValueError(f"claim({sentence!r}) was given {value!r} and a bound; a truth value takes none")
        holds, wanted = bool(value), "true"
    elif not stated:
        raise ValueError(f"claim({sentence!r}) was given {value!r} and no bound; pass above=, below= or equals=")
    else:
        value = float(value.detach() if isinstance(value, Tensor) else value)
        tests = {"above": value > stated.get("above", -math.inf), "below": value < stated.get("below", math.inf)}
        tests["equals"] = abs(value - stated.get("equals", value)) <= within
        holds = math.isfinite(value) and all(tests[k] for k in stated)
        wanted = " and ".join(f"{k} {v:g}" + (f" ± {within:g}" if k == "equals" else "") for k, v in stated.items())
    if not holds:
        raise AssertionError(f"✗ {sentence}\n  value: {value}\n  bound: {wanted}")
    print(f"✓ {sentence}")


def identity(sentence: str, left: sympy.Expr, right: sympy.Expr) -> None:
    """Check symbolically that left − right simplifies to zero. Logarithms are expanded as of positive numbers.

    Raises:
        AssertionError: sympy cannot bring the difference to zero; the difference is shown.
    """
    difference = sympy.simplify(sympy.expand_log(sympy.expand(left - right), force=True))
    if difference != 0:
        raise AssertionError(f"✗ {sentence}\n  left − right = {difference}\n  expected: 0")
    print(f"✓ {sentence}")


def integral(f: Callable[[float], float], low: float = -math.inf, high: float = math.inf) -> float:
    """∫ f(x) dx from `low` to `high` by adaptive quadrature (QUADPACK).

    Raises:
        ValueError: the estimated error is above 1e-6, or above 1e-6 of a result larger than 1, or the result is NaN.
    """
    value, error = integrate.quad(f, low, high, limit=400, full_output=1)[:2]  # which silences its warnings
    if not error <= 1e-6 * max(1.0, abs(value)):
        raise ValueError(
            f"the integral from {low} to {high} has an error of {error:.1e}; split it or narrow its limits"
        )
    return float(value)


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
    samples = samples.detach().double()
    return Estimate(samples.mean().item(), (samples.std() / len(samples) ** 0.5).item(), len(samples))


def agrees(sentence: str, samples: Tensor, exact: float, *, sigmas: float = 4.0) -> None:
    """Claim that the mean of Monte Carlo samples (n,) lies within `sigmas` standard errors of an exact value.

    Four standard errors reject a true identity once in 16,000 seeds.
    """
    estimate = monte_carlo(samples)
    claim(sentence, estimate.mean, equals=exact, within=sigmas * estimate.error)
