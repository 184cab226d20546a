"""Exercise 13.10: How many answers? (open-ended)"""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math
from itertools import count

import numpy as np
import torch
from scipy import stats

from genlab.exercises import Exercise, Wrong


def answers_needed(share, half_width):
    """The least n at which half of Wilson's 95 % interval is at most `half_width`."""
    z, n = 1.96, 0
    half = math.inf
    while half > half_width:
        n += 1
        inside = share * (1 - share) / n + z**2 / (4 * n**2)
        half = z / (1 + z**2 / n) * math.sqrt(inside)
    return n


def _half(share, n, z=1.96):
    return z / (n + z * z) * (n * share * (1 - share) + z * z / 4) ** 0.5


def _by_count(share, half_width):
    return next(n for n in count(1) if _half(share, n) <= half_width)


def _by_bisection(share, half_width):
    low, high = 0, 1
    while _half(share, high) > half_width:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _half(share, middle) > half_width else (low, middle)
    return high


def _by_numpy(share, half_width):
    n = np.arange(1, 20_000)
    return int(n[_half(share, n) <= half_width][0])


def _by_quadratic(share, half_width):
    # w² (n + s)² = s (n p (1 − p) + s/4), s = z²: a quadratic in n
    s, w, v = 1.96**2, half_width, share * (1 - share)
    b = 2 * w * w * s - s * v
    c = w * w * s * s - s * s / 4
    root = (-b + (b * b - 4 * w * w * c) ** 0.5) / (2 * w * w)
    return torch.tensor(max(1, math.ceil(root)))


def _wishes(g):
    return float(torch.rand((), generator=g)), float(0.02 + 0.2 * torch.rand((), generator=g))


EXERCISE = Exercise(
    number="13.10",
    title="How many answers? (open-ended)",
    difficulty=3,
    minutes=30,
    task=r"""
You plan a game with people, and you expect that they err on a given `share` of the images. How many answers do you need for
Wilson's 95 % interval (13.20), with $z = 1.96$, to reach no further than `half_width` from its own middle? Take the share as
it is, though it need not be a whole number of answers. Return the smallest such $n \ge 1$, a whole number.

Then the open part. Play the game with two generators of this chapter, one round each. Write down beforehand
which $d'$ you expect, and how many answers you need to tell it from 0. Report errors on real and on generated images apart,
with intervals, and say what you may conclude about *people*, having asked one.""",
    inputs=_wishes,
    solution=answers_needed,
    explanation=r"""
Half of Wilson's interval is $\frac{z}{1 + z^2/n}\sqrt{\frac{s(1-s)}{n} + \frac{z^2}{4n^2}}$ for the share $s$. It falls with
$n$, so the first $n$ that meets the wish is the smallest. Near one half the plain formula $z^2 s (1-s)/w^2$ for the half-width
$w$ is close; near 0 and 1 it asks for far too few, and for none at all at 0.""",
    hints=(
        "Write half of Wilson's interval as a function of n and the share. Does it rise or fall with n?",
        "Count n up from 1 until it is small enough.",
        "`while z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) > half_width: n += 1`.",
    ),
    wrong=(
        Wrong(
            "the plain formula",
            "This is z² s (1 − s) / w², rounded up, from the normal approximation. At a share near 0 or 1 it asks for too few.",
            lambda share, half_width: max(1, math.ceil(1.96**2 * share * (1 - share) / half_width**2)),
        ),
        Wrong(
            "the worst share",
            "This takes a share of one half, which is safe, but the share that you expect was given.",
            lambda share, half_width: _by_count(0.5, half_width),
        ),
        Wrong(
            "the whole width",
            "The whole interval is at most the half-width here: two to four times too many answers.",
            lambda share, half_width: _by_count(share, half_width / 2),
        ),
        Wrong(
            "half of the half",
            "The interval's whole width is compared with twice as much as asked.",
            lambda share, half_width: _by_count(share, 2 * half_width),
        ),
        Wrong(
            "one too few",
            "This is the last n at which the interval is still too wide.",
            lambda share, half_width: _by_count(share, half_width) - 1,
        ),
        Wrong(
            "90 %",
            "With z = 1.645 this is an interval at 90 %.",
            lambda share, half_width: next(n for n in count(1) if _half(share, n, stats.norm.ppf(0.95)) <= half_width),
        ),
    ),
    right=(_by_count, _by_bisection, _by_numpy, _by_quadratic),
    probes={
        "answers for a share of 0 and five points": lambda f: f(0.0, 0.05),
        "answers for one half and five points": lambda f: f(0.5, 0.05),
        "answers for a share of 1 and ten points": lambda f: f(1.0, 0.1),
        "answers for a wish that a single answer meets": lambda f: f(0.3, 0.45),
        "answers for a wish that is met before the first": lambda f: f(0.3, 0.6),
    },
    discussion=r"""
**For the open part.** Say who answered, how long each image was shown, how many answers were practice, and whether the answer
was told after each. A second round is not independent of the first: people learn the artefacts of one generator. The interval
is for *your* answers; another person is another draw, and a handful of people say little about people. HYPE
(Zhou et al. 2019) asked 30 persons per model, trained and paid them, and still reports intervals over persons. A $d'$
near 0 with few answers is not proof that the samples are good: compute first how large a $d'$ you would have missed.""",
)
