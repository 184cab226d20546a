"""Exercise 01.7: Two recognisers, the same images."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math
from fractions import Fraction

import numpy as np
import torch
from scipy import stats

from genlab.exercises import Exercise, Wrong, mistake


def paired_p_value(a, b):
    """Exact two-sided p-value of two equally good readers: a, b (n,), True if right."""
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    n, k = only_a + only_b, min(only_a, only_b)
    tail = sum(math.comb(n, i) for i in range(k + 1)) / 2**n
    return min(1.0, 2 * tail)


def _paired_by_binomial(a, b):
    n = int((a != b).sum())
    return stats.binomtest(int((a & ~b).sum()), n).pvalue if n else 1.0


def _paired_by_tail(a, b):
    a, b = a.numpy(), b.numpy()
    return np.minimum(1, 2 * stats.binom.cdf(min((a & ~b).sum(), (b & ~a).sum()), (a != b).sum(), 0.5))


def _paired_by_loops(a, b):
    wins = losses = 0
    for one, other in zip(a, b, strict=True):
        wins += bool(one and not other)
        losses += bool(other and not one)
    tail = Fraction(sum(math.comb(wins + losses, i) for i in range(min(wins, losses) + 1)), 2 ** (wins + losses))
    return min(Fraction(1), 2 * tail)


def _sign_test(k, n, factor=2.0):
    return factor * sum(math.comb(n, i) for i in range(k + 1)) / 2**n


def _discordant(a, b):
    return int((a & ~b).sum()), int((b & ~a).sum())


@mistake(
    "all images count",
    "All images were taken as coin tosses. Only those on which the two differ can tell them apart.",
)
def _paired_all_images(a, b):
    return min(1.0, _sign_test(min(_discordant(a, b)), len(a)))


def _draw_pair(g):
    n, (share_a, share_b) = int(torch.randint(20, 60, (), generator=g)), 0.5 + 0.4 * torch.rand(2, generator=g)
    return torch.rand(n, generator=g) < share_a, torch.rand(n, generator=g) < share_b


def _counts(f, only_a, only_b):
    a = torch.arange(only_a + only_b) < only_a
    return f(a, ~a)


EXERCISE = Exercise(
    number="01.7",
    title="Two recognisers, the same images",
    difficulty=2,
    minutes=12,
    task=r"""
Intervals that overlap do not settle which of two recognisers is better, because both read the *same* images. McNemar's test
(1947) looks only at the images on which exactly one of them is right. If both were equally good, each such image would be a
coin toss. Let `a` and `b` say, image by image, who was right. With $n$ images on which they differ and $k$ the smaller of the
two counts, return as a number

$$ \min\Big(1,\; 2 \sum_{i=0}^{k} \binom{n}{i} 2^{-n}\Big) . $$

It is right for hundreds of such images, and for small p-values, to four digits. Without any difference it is 1. Then try `correct["support vector machine"]` against `correct["convolutional network"]`, and
the other pairs of the five.""",
    inputs=_draw_pair,
    solution=paired_p_value,
    explanation=r"""
Images that both read, or neither, say nothing about which is better. Of the rest, under the hypothesis that both are equally
good, each falls to either side with probability one half, so the smaller count is the tail of a binomial. Doubling it counts
the other tail too. A large p-value does not prove that they are equal; it says that this test set cannot tell.""",
    hints=(
        "Count the images on which only `a` is right, and those on which only `b` is right: `(a & ~b).sum()`.",
        "Add the two counts for $n$ and take the smaller one for $k$. `math.comb(n, i)` is the binomial coefficient.",
        "`tail = sum(math.comb(n, i) for i in range(k + 1)) / 2**n`, and the result is `min(1.0, 2 * tail)`.",
    ),
    wrong=(
        Wrong(
            "one side only",
            "This is one tail. We would have been as surprised by the other recogniser winning: double it.",
            lambda a, b: _sign_test(min(_discordant(a, b)), sum(_discordant(a, b)), 1.0),
        ),
        _paired_all_images,
        Wrong(
            "not capped at one",
            "When both counts are equal the two tails overlap, and the sum exceeds 1. Cap it: min(1.0, …).",
            lambda a, b: _sign_test(min(_discordant(a, b)), sum(_discordant(a, b))),
        ),
        Wrong(
            "the sum stops one early",
            "The sum leaves out i = k, the outcome that was observed. range(k + 1) includes it.",
            lambda a, b: min(1.0, _sign_test(min(_discordant(a, b)) - 1, sum(_discordant(a, b)))),
        ),
        Wrong(
            "always the first count",
            "The tail was taken at the first recogniser's count, whichever it is. The test must not depend on the "
            "order: take the smaller count.",
            lambda a, b: min(1.0, _sign_test(_discordant(a, b)[0], sum(_discordant(a, b)))),
        ),
    ),
    right=(_paired_by_binomial, _paired_by_tail, _paired_by_loops),
    probes={
        "two recognisers that agree": lambda f: f(torch.tensor([True, False]), torch.tensor([True, False])),
        "one image each": lambda f: f(torch.tensor([True, False]), torch.tensor([False, True])),
        "eight wins and no loss": lambda f: _counts(f, 8, 0),
        "no win and eight losses": lambda f: _counts(f, 0, 8),
        "a single image": lambda f: _counts(f, 1, 0),
        "40 wins and no loss: the p-value times 2³⁹": lambda f: _counts(f, 40, 0) * 2.0**39,
        "240 wins and 160 losses: the p-value times a million": lambda f: _counts(f, 240, 160) * 1e6,
    },
)
