"""Exercise 14.1: What fitting flatters."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

from fractions import Fraction

import numpy as np
import torch
from scipy import stats

from genlab.exercises import Exercise, Wrong


def expected_gap(n, d):
    """Expected log-likelihood of own rows less that of new ones, in nats a row.

    Of a Gaussian in d dimensions, fitted to n rows: a number.
    """
    own = d / 2
    new = (1 + 1 / n) * n * d / (n - d - 2) / 2
    return new - own


def _by_parameters(n, d):
    # the number of free parameters over a number of rows
    return (d + d * (d + 1) // 2) / (n - d - 2)


def _by_fractions(n, d):
    inverse = Fraction(n, n - d - 2)  # E[S⁻¹], for Σ = I
    return (inverse * d * (1 + Fraction(1, n)) - d) / 2


def _by_scipy(n, d):
    inverse = n * np.atleast_2d(stats.invwishart(n - 1, np.eye(d)).mean())
    spread = np.eye(d) * (n + 1) / n  # of a new row about the fitted mean
    return (np.trace(inverse @ spread) - d) / 2


def _by_torch(n, d):
    n, d = torch.tensor(n), torch.tensor(d)
    return 0.5 * d * ((n + 1) / (n - d - 2) - 1)


def _count(d):
    return d * (d + 3) / 2


def _sizes(g):
    d = int(torch.randint(1, 7, (), generator=g))
    return d + int(torch.randint(3, 30, (), generator=g)), d


EXERCISE = Exercise(
    number="14.1",
    title="What fitting flatters",
    difficulty=1,
    minutes=10,
    task=r"""
A Gaussian in $d$ dimensions is fitted by maximum likelihood to $n$ rows that come from a Gaussian with covariance
$\Sigma$: mean $m$, and covariance $S$ with $1/n$. By how many nats a row is its expected log-likelihood higher on its
own $n$ rows than on new ones? The normaliser is the same for both; $\tfrac12 (x-m)^\top S^{-1} (x-m)$ is not. Three
facts:

- over its own rows the mean of $(x-m)^\top S^{-1}(x-m)$ is exactly $d$;
- a new row lies about $m$ with covariance $(1 + 1/n)\,\Sigma$;
- $S$ is independent of $m$ and of new rows, and $\mathbb E[S^{-1}] = \frac{n}{n-d-2}\,\Sigma^{-1}$ for $n > d + 2$.

Return one number, for $n > d + 2$. With $d = 1$ it is $2/(n-3)$.""",
    inputs=_sizes,
    solution=expected_gap,
    explanation=r"""
On a new row the expectation of the form is
$\operatorname{tr}\big(\mathbb E[S^{-1}]\,(1+1/n)\,\Sigma\big) = (n+1)\,d/(n-d-2)$. Half the difference to $d$ is
$\frac{d(d+3)/2}{n-d-2}$. The numerator is the number $k$ of free parameters: $d$ of the mean and $d(d+1)/2$ of the
covariance. So the gap is nearly $k/n$, Akaike's law, and more than that where rows are few. It does not depend on the
law's mean and covariance. For a network no such count is known: measure the gap, on rows that were held out.""",
    hints=(
        "The normaliser cancels. Write down the expected quadratic form on own rows and on new rows.",
        "E of (x − m)ᵀ S⁻¹ (x − m) is the trace of E[S⁻¹] times the covariance of x − m.",
        "Half of (1 + 1/n) · d · n/(n − d − 2), less half of d.",
    ),
    wrong=(
        Wrong(
            "Akaike's limit",
            "This is k/n, which is right for many rows. With few the gap is larger; use the three facts as they are.",
            lambda n, d: _count(d) / n,
        ),
        Wrong(
            "one side only",
            "This is half of the gap: about as much as own rows look better than the truth. New rows look worse as well.",
            lambda n, d: _count(d) / (n - d - 2) / 2,
        ),
        Wrong(
            "the one half forgotten",
            "The quadratic form stands in a log-density with a factor of one half.",
            lambda n, d: 2 * expected_gap(n, d),
        ),
        Wrong(
            "the mean taken as known",
            "The fitted mean has an error too: a new row lies about it with (1 + 1/n) Σ, not with Σ.",
            lambda n, d: (n * d / (n - d - 2) - d) / 2,
        ),
        Wrong(
            "the covariance taken as known",
            "This is the gap if only the mean is fitted: d/n. The covariance is fitted as well.",
            lambda n, d: d / n,
        ),
        Wrong(
            "the sign",
            "The sign is reversed: own rows have the higher expected log-likelihood.",
            lambda n, d: -expected_gap(n, d),
        ),
        Wrong(
            "independent coordinates",
            "This is d times the gap of one coordinate: covariances between coordinates are fitted here, too.",
            lambda n, d: 2 * d / (n - 3),
        ),
        Wrong(
            "a covariance with 1/(n − 1)",
            "This is the gap for S with 1/(n − 1). Maximum likelihood divides by n.",
            lambda n, d: expected_gap(n, d) * (n - 1) / n,
        ),
        Wrong(
            "every entry of the covariance counted",
            "The covariance is counted with d² free numbers here. It is symmetric, so d (d + 1)/2 of them are free.",
            lambda n, d: (d + d * d) / (n - d - 2),
        ),
        Wrong(
            "new rows alone",
            "This is half of the form's expectation on new rows. On own rows it is not 0 but d/2: subtract that.",
            lambda n, d: (n + 1) * d / (n - d - 2) / 2,
        ),
    ),
    right=(_by_parameters, _by_fractions, _by_scipy, _by_torch),
    probes={
        "the gap of one coordinate from ten rows": lambda f: f(10, 1),
        "the gap of ten coordinates from 13 rows, the fewest": lambda f: f(13, 10),
        "a thousand times the gap of three coordinates from a thousand rows": lambda f: f(1000, 3) * 1000,
    },
    discussion=r"""
**For your own work.** A training likelihood alone says nothing about fit: 13 rows give ten coordinates a gap of 65
nats a row. Hold rows out before the first look at the data, and report both numbers. The formula is exact only if the
data are Gaussian and the rows independent; near-copies of a row in the held-out set make the measured gap too small.""",
)
