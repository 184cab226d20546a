"""Exercise 10.5: A wave or just noise?"""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong, mistake


def autocorrelation(x, lag):
    """The autocorrelation (10.7) of a series (n,) at a lag, 1 to n − 1: a number."""
    d = x - x.mean()
    return (d[lag:] * d[: len(d) - lag]).sum() / d.square().sum()


@mistake(
    "the mean is not subtracted",
    "The mean is not subtracted. A series far from 0 then seems to agree with itself at every lag.",
)
def _auto_uncentred(x, lag):
    return (x[lag:] * x[:-lag]).sum() / x.square().sum()


@mistake(
    "divided by the number of terms",
    "Numerator and denominator are means here. (10.7) has sums, so the numerator has fewer terms.",
)
def _auto_unbiased(x, lag):
    return autocorrelation(x, lag) * len(x) / (len(x) - lag)


@mistake(
    "a correlation of the two parts",
    "This is the correlation of the two parts, each with a mean and a spread of its own. (10.7) uses those of the whole "
    "series.",
)
def _auto_pearson(x, lag):
    a, b = x[lag:] - x[lag:].mean(), x[:-lag] - x[:-lag].mean()
    return (a * b).sum() / (a.square().sum() * b.square().sum()).sqrt()


@mistake(
    "the end joined to the beginning",
    "The last values are multiplied by the first ones, as if the series were a circle. Leave those pairs out.",
)
def _auto_circular(x, lag):
    d = x - x.mean()
    return (d * d.roll(lag)).sum() / d.square().sum()


def _covariance(x, lag):
    d = x - x.mean()
    return (d[lag:] * d[:-lag]).sum()


def _auto_by_loop(x, lag):
    values = x.tolist()
    mean = sum(values) / len(values)
    power = sum((v - mean) ** 2 for v in values)
    return sum((values[t] - mean) * (values[t + lag] - mean) for t in range(len(values) - lag)) / power


def _auto_by_numpy(x, lag):
    d = x.numpy() - x.numpy().mean()
    return np.correlate(d, d, "full")[len(d) - 1 + lag] / (d**2).sum()


def _series(g):
    """A rising series of 3 values or more with one far from the others, and a lag from 1 on."""
    n = int(torch.randint(3, 11, (), generator=g))
    x = 3 + torch.arange(n) + torch.randn(n, generator=g)
    x[-1] += 4
    return x, int(torch.randint(1, n, (), generator=g))


_STEPS = torch.tensor([1, 1, -1, -1, 1, 1, -1, -1], dtype=torch.float32)

EXERCISE = Exercise(
    number="10.5",
    title="A wave or just noise?",
    difficulty=2,
    minutes=10,
    task=r"""
Write the autocorrelation (10.7) of a series of $n$ numbers, not all equal, at a lag of $k$ checks, $1 \le k < n$: the
deviations from the mean of the whole series, each multiplied by the one $k$ checks later, added up, and divided by the sum
of all their squares. Return a number. For a wave of many periods it is near $-1$ at half its period.""",
    inputs=_series,
    solution=autocorrelation,
    explanation=r"""
White noise has autocorrelations near 0, about $\pm 2/\sqrt n$ wide. A trend has positive ones at small lags. What
comes back, and back again, has strongly negative ones. The sum in the numerator has $k$ terms less than the one in
the denominator; that shrinks large lags towards 0, where the estimate is poor anyway. At lag 0, where nothing is shifted,
the formula gives 1; there the slice `d[:-lag]` would be empty, and `d[: len(d) - lag]` is not.""",
    hints=(
        "Subtract the mean of the whole series first. Which two parts of it have to be multiplied?",
        "The part from `lag` on, `d[lag:]`, and the part that ends `lag` earlier, `d[:-lag]`.",
        "`(d[lag:] * d[:-lag]).sum() / d.square().sum()` with `d = x - x.mean()`.",
    ),
    wrong=(
        _auto_uncentred,
        _auto_unbiased,
        _auto_pearson,
        Wrong(
            "the autocovariance",
            "This is the autocovariance, which has a unit. Divide by the sum of squares, not by the number of values.",
            lambda x, lag: _covariance(x, lag) / len(x),
        ),
        Wrong(
            "not divided",
            "The sum of products is not divided by the sum of squares: it grows with the unit and the length.",
            _covariance,
        ),
        Wrong(
            "divided by n times torch's variance",
            "The denominator is n times a variance that was divided by n − 1. The sum of squares is n − 1 times it.",
            lambda x, lag: _covariance(x, lag) / (len(x) * x.var()),
        ),
        _auto_circular,
    ),
    right=(
        _auto_by_loop,
        _auto_by_numpy,
        lambda x, lag: (
            (F.pad(x - x.mean(), (0, lag))[lag:] * (x - x.mean())).sum() / (x.var(unbiased=False) * len(x))
        ).item(),
    ),
    probes={
        "two checks up, two down, at lag 2": lambda f: f(_STEPS, 2),
        "the same series at lag 4": lambda f: f(_STEPS, 4),
        "two values at lag 1": lambda f: f(torch.tensor([5.0, 1.0]), 1),
        "that a constant added makes no difference": lambda f: f(100 + torch.tensor([0.0, 2, 1, 5, 3]), 1),
        "a rising series at lag 1": lambda f: f(torch.arange(6.0), 1),
    },
)
