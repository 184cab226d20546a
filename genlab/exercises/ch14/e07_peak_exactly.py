"""Exercise 14.7: The peak, exactly."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def expected_error(n, d, length, sigma):
    """Expected squared error on a new row of least squares with minimum norm.

    n rows, d features, length of the true weights, noise sigma -> a number.
    """
    if abs(n - d) <= 1:
        return math.inf
    if d < n:
        return sigma**2 * (1 + d / (n - d - 1))
    return sigma**2 * (1 + n / (d - n - 1)) + length**2 * (1 - n / d)


def _by_sizes(n, d, length, sigma):
    # directions that the rows show, and those that they do not
    small, large = sorted((n, d))
    hidden = max(0, d - n) / d
    variance = small / (large - small - 1) if large - small > 1 else float("inf")
    return hidden * length**2 + (variance + 1) * sigma**2


def _by_numpy(n, d, length, sigma):
    away = np.abs(n - d)
    with np.errstate(divide="ignore"):
        variance = np.where(away > 1, np.minimum(n, d) / np.float64(away - 1), np.inf)
    return np.square(sigma) * (1 + variance) + np.square(length) * np.clip(1 - n / d, 0, None)


def _by_torch(n, d, length, sigma):
    n, d = torch.tensor(float(n)), torch.tensor(float(d))
    below = sigma**2 * (n - 1) / (n - d - 1)
    above = sigma**2 * (d - 1) / (d - n - 1) + length**2 * torch.relu(d - n) / d
    return torch.where((n - d).abs() < 1.5, torch.inf, torch.where(d < n, below, above))


def _parts(n, d):
    """What noise adds, and the share of the weights that no row shows."""
    return min(n, d) / (abs(n - d) - 1), max(0.0, 1 - n / d)


def _with(change):
    """Another error off the peak, of the two parts."""

    def error(n, d, length, sigma):
        return math.inf if abs(n - d) <= 1 else change(*_parts(n, d), length, sigma, n, d)

    return error


def _infinite_at_n(n, d, length, sigma):
    if n == d:
        return math.inf
    if d < n:
        return sigma**2 + sigma**2 * (d / (n - d - 1))
    return sigma**2 + sigma**2 * (n / (d - n - 1)) + length**2 * (1 - n / d)


def _finite(n, d, length, sigma):
    if d < n:
        return sigma**2 * (1 + d / (n - d - 1))
    return sigma**2 * (1 + n / (d - n - 1)) + length**2 * (1 - n / d)


def _setting(g):
    n = int(torch.randint(1, 30, (), generator=g))
    d = n + int(torch.randint(2, 20, (), generator=g))
    length, sigma = (0.5 + 2 * float(torch.rand((), generator=g)) for _ in range(2))
    return (n, d, length, sigma) if torch.rand((), generator=g) < 0.5 else (d, n, length, sigma)


EXERCISE = Exercise(
    number="14.7",
    title="The peak, exactly",
    difficulty=3,
    minutes=20,
    task=r"""
Rows $x$ have $d$ independent features from $\mathcal N(0, 1)$; targets are $x^\top \theta$ plus noise with standard
deviation $\sigma > 0$, and $\theta$ has the length `length`. From $n$ rows the weights with the smallest squared
error are fitted, and of several such those with the smallest norm. What is the expected squared error of the
prediction of the *target* of a new row, noise included? Return one number, infinite where the expectation is. Use
that a matrix $X$ of independent standard normal numbers has

$$ \mathbb E \operatorname{tr}\,(X^\top X)^{-1} = \frac{d}{n-d-1} \quad (d < n - 1), \qquad
\mathbb E \operatorname{tr}\,(X X^\top)^{-1} = \frac{n}{d-n-1} \quad (d > n + 1), $$

both infinite for $|n - d| \le 1$ (the first where $d \le n$, the second where $d \ge n$). With $d > n$ the rows show
a random subspace of $n$ directions: of $\lVert\theta\rVert^2$ it holds the share $n/d$ on average, and the rest is
fitted as 0.""",
    inputs=_setting,
    solution=expected_error,
    explanation=r"""
The new target has $\sigma^2$ of its own. With $d < n$ the weights are off by $(X^\top X)^{-1} X^\top \epsilon$, whose
expected squared length is $\sigma^2$ times the first trace. With $d > n$ noise adds $\sigma^2$ times the second, and
the directions that no row shows add $\lVert\theta\rVert^2 (1 - n/d)$. Near $d = n$ some direction is shown hardly at
all, and the noise in it is blown up: there is the peak. It is the variance that falls again beyond it, while the bias
grows to $\lVert\theta\rVert^2$. Any ridge penalty keeps the trace finite (Hastie, Montanari, Rosset and Tibshirani
2022).""",
    hints=(
        "Three sources: noise of the new target, noise in the fitted weights, weights that the rows do not show.",
        "Noise in the weights costs σ² times one of the two traces. Which, if d < n, and if d > n?",
        "Below: σ² (1 + d/(n − d − 1)). Above: σ² (1 + n/(d − n − 1)) + length² (1 − n/d). Else infinite.",
    ),
    wrong=(
        Wrong(
            "without the new row's noise",
            "The noise of the new target, σ², is missing. This is the error of the prediction of its mean.",
            _with(lambda v, s, length, sigma, n, d: sigma**2 * v + length**2 * s),
        ),
        Wrong(
            "no bias above n",
            "With more features than rows, directions that no row shows are fitted as 0. They cost their share of ‖θ‖².",
            _with(lambda v, s, length, sigma, n, d: sigma**2 * (1 + v)),
        ),
        Wrong(
            "an exact fit taken for no error",
            "With more features than rows the training error is 0. That of a new row is not: noise was fitted too.",
            _with(lambda v, s, length, sigma, n, d: sigma**2 * (1 + (v if d < n else 0)) + length**2 * s),
        ),
        Wrong(
            "the share that is seen",
            "n/d is the share of ‖θ‖² that the rows show. The error holds the rest, 1 − n/d.",
            _with(lambda v, s, length, sigma, n, d: sigma**2 * (1 + v) + length**2 * (n / d if d > n else 0)),
        ),
        Wrong(
            "many rows",
            "d/n in place of d/(n − d − 1), or n/d in place of n/(d − n − 1): right far from the peak, which it does not have.",
            _with(lambda v, s, length, sigma, n, d: sigma**2 * (1 + min(n, d) / max(n, d)) + length**2 * s),
        ),
        Wrong(
            "sigma as a variance",
            "sigma stands where its square belongs. It is a standard deviation.",
            lambda n, d, length, sigma: expected_error(n, d, length, math.sqrt(sigma)),
        ),
        Wrong(
            "the length not squared",
            "The length of θ is not squared. The error holds a share of its square.",
            lambda n, d, length, sigma: expected_error(n, d, math.sqrt(length), sigma),
        ),
        Wrong(
            "rows and features exchanged",
            "n and d are exchanged: the bias appears with fewer features than rows.",
            lambda n, d, length, sigma: expected_error(d, n, length, sigma),
        ),
        Wrong(
            "infinite at n only",
            "At |n − d| = 1 the formula divides by 0. The expectation is infinite there, too.",
            _infinite_at_n,
        ),
        Wrong(
            "no infinity",
            "The formulas are used for every n and d. At n = d they give finite, even negative errors: the expectation is infinite.",
            _finite,
        ),
    ),
    right=(_by_sizes, _by_numpy, _by_torch),
    probes={
        "the error where features are as many as rows": lambda f: f(20, 20, 1.0, 0.5),
        "the error with one feature fewer": lambda f: f(20, 19, 1.0, 0.5),
        "the error with one feature more": lambda f: f(20, 21, 1.0, 0.5),
        "the error with two fewer": lambda f: f(20, 18, 3.0, 0.5),
        "the error with two more": lambda f: f(20, 22, 3.0, 0.5),
        "the error of a million features, which have learnt nearly nothing": lambda f: f(20, 10**6, 3.0, 0.5),
        "the error of one row and four features": lambda f: f(1, 4, 1.0, 0.5),
        "the error of three rows and one feature": lambda f: f(3, 1, 1.0, 0.5),
        "the error of weights of length 0": lambda f: f(10, 30, 0.0, 0.5),
        "the error of very long weights": lambda f: f(10, 30, 40.0, 0.5),
        "the error with very loud noise": lambda f: f(30, 10, 1.0, 40.0),
        "the error with little noise, near the peak": lambda f: f(1000, 1002, 1.0, 0.001),
        "the error of a million rows": lambda f: f(10**6, 5, 3.0, 0.5),
    },
    discussion=r"""
**For your own work.** Beyond the peak this error has a lowest point, near
$d = n \lVert\theta\rVert / (\lVert\theta\rVert - \sigma)$, only if $\lVert\theta\rVert > \sigma$; else it falls for
ever, to $\sigma^2 + \lVert\theta\rVert^2$, which is what it costs to say 0 always. Each $d$ here is another world, in
which all $d$ features matter. For a network the world stays, and a wider one can say more of it; then the error
beyond the peak may fall below the best one before it, or not. A sweep over widths that ends at the peak, or begins
there, says the opposite of a longer one: sweep wide, with several seeds, and with the penalty that you will use.""",
)
