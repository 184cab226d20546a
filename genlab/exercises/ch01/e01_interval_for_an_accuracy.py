"""Exercise 01.1: An interval for an accuracy."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch
from scipy import stats

from genlab.exercises import Exercise, Wrong, mistake


def wilson_interval(k, n, z=1.96):
    """Lower and upper end of Wilson's interval for k successes in n trials."""
    p = k / n
    centre = p + z**2 / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return (centre - half) / (1 + z**2 / n), (centre + half) / (1 + z**2 / n)


def _wilson_by_roots(k, n, z=1.96):
    # (1 + s) p² − (2 k/n + s) p + (k/n)² = 0, s = z²/n
    s, p = z**2 / n, k / n
    low, high = sorted(np.roots([1 + s, -(2 * p + s), p * p]).real)
    return float(low), float(high)


def _wilson_by_scipy(k, n, z=1.96):
    found = stats.binomtest(k, n).proportion_ci(2 * stats.norm.cdf(z) - 1, method="wilson")
    return found.low, found.high


def _wilson_by_counts(k, n, z=1.96):
    # z²/2 successes and as many failures are added
    half = z / (n + z * z) * (k * (n - k) / n + z * z / 4) ** 0.5
    return np.array([-1, 1]) * half + (k + z * z / 2) / (n + z * z)


@mistake(
    "the textbook interval",
    (
        "This is the textbook interval, with the standard error at the observed share. At k = n it has no length, "
        "and near 0 and 1 it leaves [0, 1]. Wilson takes the standard error at each p that is tested."
    ),
)
def _wald(k, n, z=1.96):
    p = k / n
    half = z * math.sqrt(p * (1 - p) / n)
    return p - half, p + half


@mistake(
    "the textbook interval, cut off",
    (
        "This is the textbook interval, cut off at 0 and 1. At k = n it still has no length. Wilson takes the standard "
        "error at each p that is tested, and needs no cutting."
    ),
)
def _wald_cut(k, n, z=1.96):
    low, high = _wald.answer(k, n, z)
    return max(0.0, low), min(1.0, high)


@mistake(
    "the divisor is missing",
    "The division by 1 + z²/n is missing, so the upper end can exceed 1.",
)
def _wilson_unscaled(k, n, z=1.96):
    low, high = wilson_interval(k, n, z)
    return low * (1 + z**2 / n), high * (1 + z**2 / n)


@mistake(
    "the centre is not shifted",
    (
        "The half-width is right, but the centre stayed at k/n. The roots of a quadratic lie around the middle, "
        "(k/n + z²/2n) / (1 + z²/n)."
    ),
)
def _wilson_not_shifted(k, n, z=1.96):
    p = k / n
    half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return p - half, p + half


def _draw_counts(g):
    n = int(torch.randint(1, 60, (), generator=g))
    return int(torch.randint(n + 1, (), generator=g)), n, 0.5 + 2.5 * float(torch.rand((), generator=g))


EXERCISE = Exercise(
    number="01.1",
    title="An interval for an accuracy",
    difficulty=1,
    minutes=5,
    task=r"""
Write both ends of Wilson's interval (1.2) for `k` right answers of `n`, as a tuple `(low, high)` of floats, for any
`z`. Up to rounding it lies inside $[0, 1]$, and it does not shrink to a point at `k = 0` or `k = n`.""",
    inputs=_draw_counts,
    solution=wilson_interval,
    explanation=r"""
The interval holds every $p$ for which the observed share is within $z$ standard errors, *with the standard error taken at
that $p$*. That is why it is a quadratic, why its centre is pulled towards one half, and why it has a length even when every
answer was right: a recogniser with $p = 0.998$ also gets all of 100 images right most of the time.""",
    hints=(
        "Three numbers make up the result: a centre, a half-width, and a common divisor.",
        "With $\\hat p = k/n$ the centre is $\\hat p + z^2/(2n)$, before the division by $1 + z^2/n$.",
        "The half-width is `z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))`; divide both by `1 + z**2 / n`.",
    ),
    wrong=(
        _wald,
        _wald_cut,
        _wilson_unscaled,
        _wilson_not_shifted,
        Wrong(
            "the ends are swapped",
            "The two ends are right, but the upper one comes first. Return (low, high).",
            lambda k, n, z=1.96: wilson_interval(k, n, z)[::-1],
        ),
    ),
    right=(_wilson_by_roots, _wilson_by_scipy, _wilson_by_counts),
    probes={
        "k = n = 100": lambda f: f(100, 100),
        "k = 0, n = 100": lambda f: f(0, 100),
        "k = 1, n = 30": lambda f: f(1, 30),
        "k = 29, n = 30": lambda f: f(29, 30),
        "k = n = 1": lambda f: f(1, 1),
        "half of 10,000": lambda f: f(5000, 10_000),
    },
)
