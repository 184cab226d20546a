"""Exercise 02.1: An honest interval."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math
import statistics

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def interval(samples):
    """The 95 % interval (low, high) of the mean, from independent samples (n,)."""
    error = samples.std() / math.sqrt(len(samples))
    return samples.mean() - 1.96 * error, samples.mean() + 1.96 * error


def _around(samples, half):
    return samples.mean() - half, samples.mean() + half


def _interval_by_loops(samples):
    n = len(samples)
    mean = sum(samples.tolist()) / n
    variance = sum((v - mean) ** 2 for v in samples.tolist()) / (n - 1)
    half = 1.96 * (variance / n) ** 0.5
    return mean - half, mean + half


def _interval_by_statistics(samples):
    values = samples.tolist()
    half = 1.96 * statistics.stdev(values) / math.sqrt(len(values))
    return [statistics.fmean(values) - half, statistics.fmean(values) + half]


def _by_squares(samples, denominator):
    variance = (samples**2).mean() - samples.mean() ** 2
    return _around(samples, 1.96 * variance.sqrt() / math.sqrt(denominator))


def _draw(g):
    n, spread = int(torch.randint(2, 40, (), generator=g)), 0.5 + 4 * torch.rand((), generator=g)
    return (1 + spread * torch.randn(n, generator=g),)


_FAR = 1000 + 3 * torch.sin(torch.arange(16.0))

EXERCISE = Exercise(
    number="02.1",
    title="An honest interval",
    difficulty=1,
    minutes=5,
    task=r"""
Write the interval $\bar x \pm 1.96\, s/\sqrt n$ for the mean of `n` independent samples, as a pair `(low, high)`. Here
$s$ is the samples' standard deviation with $n - 1$ in its denominator. Four times the samples must give about half the
width. Samples far from zero lose no digits of it. Samples that are all equal give an interval of width zero.""",
    inputs=_draw,
    solution=interval,
    explanation=r"""
The variance of one sample is $s^2$, that of a sum of $n$ is $n s^2$, that of the mean is $n s^2 / n^2 = s^2/n$. Its root
is the standard error. By the central limit theorem the mean is nearly normal, and a normal variable lies within 1.96 of
its standard deviations in 95 % of all cases.""",
    hints=(
        "How uncertain is the mean of $n$ samples, if one sample has standard deviation $s$?",
        "The standard error is $s/\\sqrt n$. `samples.std()` has $n - 1$ in its denominator already.",
        "`error = samples.std() / math.sqrt(len(samples))`; return the mean minus and plus `1.96 * error`.",
    ),
    wrong=(
        Wrong(
            "the spread of one sample",
            "This is where a single new sample lies. The mean of n samples is more certain, by the root of n.",
            lambda samples: _around(samples, 1.96 * samples.std()),
        ),
        Wrong(
            "divided by n",
            "The standard deviation is divided by n. The variance of a mean falls like 1/n, so its root like 1/√n.",
            lambda samples: _around(samples, 1.96 * samples.std() / len(samples)),
        ),
        Wrong(
            "the variance in place of the standard deviation",
            "Here the variance is divided by √n. Take the standard deviation, its root: it has the units of the samples.",
            lambda samples: _around(samples, 1.96 * samples.var() / math.sqrt(len(samples))),
        ),
        Wrong(
            "one standard error",
            "This is one standard error to each side, which holds the mean in 68 % of all cases only: 1.96 is missing.",
            lambda samples: _around(samples, samples.std() / math.sqrt(len(samples))),
        ),
        Wrong(
            "the mean square minus the squared mean",
            "For samples far from zero this subtracts two large numbers that are nearly equal, and the digits of s are "
            "lost. Subtract the mean first, then square; std() does.",
            lambda samples: _by_squares(samples, len(samples) - 1),
        ),
        Wrong(
            "the mean square minus the squared mean, by n",
            "For samples far from zero the digits of s are lost: subtract the mean first, then square. And s has n in its "
            "denominator here, not n − 1.",
            lambda samples: _by_squares(samples, len(samples)),
        ),
        Wrong(
            "n in the denominator of s",
            "This standard deviation has n in its denominator. It is too small on average: use n − 1, as std() does.",
            lambda samples: _around(samples, 1.96 * samples.std(correction=0) / math.sqrt(len(samples))),
        ),
    ),
    right=(
        _interval_by_loops,
        _interval_by_statistics,
        lambda samples: (
            np.mean(samples.numpy()) + np.array([-1.96, 1.96]) * np.std(samples.numpy(), ddof=1) / len(samples) ** 0.5
        ),
        lambda samples: tuple(samples.mean() + s * 1.96 * (samples.var() / samples.numel()) ** 0.5 for s in (-1, 1)),
    ),
    probes={
        "the interval of equal samples": lambda f: f(torch.full((9,), 2.5)),
        "the interval of 400 samples": lambda f: f(torch.arange(400.0)),
        "the interval of two samples": lambda f: f(torch.tensor([1.0, 4.0])),
        "the width for samples around 1000": lambda f: (lambda ends: ends[1] - ends[0])(f(_FAR)),
    },
)
