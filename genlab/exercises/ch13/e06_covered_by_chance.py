"""Exercise 13.6: Covered by chance."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math
from fractions import Fraction

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def expected_coverage(n, m, k):
    """Expected coverage of n real by m generated rows of the same law: a number."""
    missed = 1.0
    for i in range(1, k + 1):
        missed *= (n - i) / (n + m - i)  # the i-th nearest other row is real too
    return 1 - missed


def _by_binomials(n, m, k):
    return 1 - math.comb(n - 1, k) / math.comb(n + m - 1, k)


def _by_fractions(n, m, k):
    missed = Fraction(1)
    for i in range(k):
        missed = missed * (n - 1 - i) / (n + m - 1 - i)
    return float(1 - missed)


def _by_gamma(n, m, k):
    logs = math.lgamma(n) - math.lgamma(n - k) - math.lgamma(n + m) + math.lgamma(n + m - k)
    return torch.tensor(-math.expm1(logs))


def _by_numpy(n, m, k):
    i = np.arange(1, k + 1)
    return 1 - np.prod((n - i) / (n + m - i))


def _sizes(g):
    n, m = (int(torch.randint(low, 40, (), generator=g)) for low in (8, 1))
    return n, m, int(torch.randint(1, 7, (), generator=g))


EXERCISE = Exercise(
    number="13.6",
    title="Covered by chance",
    difficulty=2,
    minutes=15,
    task=r"""
The $n$ real and the $m$ generated rows come from one and the same law with a density. What is the expected coverage (13.8)
with $k$ neighbours? The numbers $n$ and $m$ may differ, and $k < n$. Return one number. With $n = m$ your formula must
become (13.9). Without ties the ball of a real row holds no generated row exactly if its $k$ nearest others, of both kinds,
are all real.""",
    inputs=_sizes,
    solution=expected_coverage,
    explanation=r"""
Around a real row the $n - 1 + m$ others are exchangeable: every order of them by distance is equally likely. The nearest is
real with probability $(n-1)/(n+m-1)$; given that, the second with $(n-2)/(n+m-2)$; and so on, $k$ times. The product is the
probability to be missed. More generated rows cover more, so coverages compare at equal $m$ only.""",
    hints=(
        "Take one real row and sort the n − 1 + m others by distance. Which orders are equally likely?",
        "The ball reaches to the k-th real one. It is empty of generated rows if the first k in that order are real.",
        "The product of (n − i) / (n + m − i) for i = 1 … k is the probability to be missed; coverage is the rest.",
    ),
    wrong=(
        Wrong(
            "the row itself counted",
            "The row in the centre is counted among the others. It is left with n − 1 real rows and not n.",
            lambda n, m, k: 1 - math.comb(n, k) / math.comb(n + m, k),
        ),
        Wrong(
            "drawn with putting back",
            "Each of the k neighbours is real with the same probability here. Once one is used, one fewer is left.",
            lambda n, m, k: 1 - ((n - 1) / (n + m - 1)) ** k,
        ),
        Wrong(
            "the rows that are missed",
            "This is the expected share of real rows that are missed. Coverage is 1 minus that.",
            lambda n, m, k: math.comb(n - 1, k) / math.comb(n + m - 1, k),
        ),
        Wrong(
            "equal sizes",
            "This is (13.9), for m = n. Here the sizes may differ.",
            lambda n, m, k: 1 - math.comb(n - 1, k) / math.comb(2 * n - 1, k),
        ),
        Wrong(
            "one neighbour only",
            "Only the nearest other row is looked at. The ball reaches to the k-th.",
            lambda n, m, k: m / (n + m - 1),
        ),
        Wrong(
            "one factor too few",
            "One factor is missing: the product has k factors, i = 1 … k.",
            lambda n, m, k: 1 - math.prod((n - i) / (n + m - i) for i in range(1, k)),
        ),
        Wrong(
            "one factor too many",
            "There is one factor too many: the product has k factors, i = 1 … k.",
            lambda n, m, k: 1 - math.prod((n - i) / (n + m - i) for i in range(1, k + 2)),
        ),
        Wrong(
            "exchanged sizes",
            "The numbers of real and of generated rows are exchanged.",
            lambda n, m, k: 1 - math.prod((m - i) / (n + m - i) for i in range(1, k + 1)),
        ),
    ),
    right=(_by_binomials, _by_fractions, _by_gamma, _by_numpy),
    probes={
        "the coverage of 1,000 by 1,000 with five neighbours": lambda f: f(1000, 1000, 5),
        "the coverage by a single generated row": lambda f: f(10, 1, 3),
        "the coverage of many by few": lambda f: f(500, 5, 2),
    },
)
