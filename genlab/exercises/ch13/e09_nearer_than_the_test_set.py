"""Exercise 13.9: Nearer than the test set."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import torch
from scipy import stats

from genlab.exercises import Exercise, Wrong


def copying_score(train, test, fake):
    """The z-score (13.18) of distances to the nearest training row; < 0: copying.

    (t, d), (m, d), (n, d) -> a number.
    """
    a, b = (torch.cdist(x, train).min(1).values for x in (fake, test))
    n, m = len(a), len(b)
    further = (a[:, None] > b).sum() + 0.5 * (a[:, None] == b).sum()
    return (further - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)


def _by_scipy(train, test, fake):
    a, b = (torch.cdist(x, train).min(1).values for x in (fake, test))
    n, m = len(a), len(b)
    return (stats.mannwhitneyu(a, b).statistic - n * m / 2) / (n * m * (n + m + 1) / 12) ** 0.5


def _by_ranks(train, test, fake):
    a, b = (torch.cdist(x, train).min(1).values for x in (fake, test))
    n, m = len(a), len(b)
    ranks = stats.rankdata(torch.cat([a, b]))
    return (ranks[:n].sum() - n * (n + m + 1) / 2) / (n * m * (n + m + 1) / 12) ** 0.5


def _by_loops(train, test, fake):
    a, b = ([min(float((v - w).norm()) for w in train) for v in x] for x in (fake, test))
    wins = sum((u > v) + (u == v) / 2 for u in a for v in b)
    n, m = len(a), len(b)
    return (wins - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)


def _changed(change, p=2.0):
    """Another z-score of the two lists of distances."""
    return lambda train, test, fake: change(*(torch.cdist(x, train, p=p).min(1).values for x in (fake, test)))


def _pairs(a, b, ties=0.5):
    return (a[:, None] > b).sum() + ties * (a[:, None] == b).sum()


def _variance(a, b):
    return len(a) * len(b) * (len(a) + len(b) + 1) / 12


def _z(a, b):
    return (_pairs(a, b) - len(a) * len(b) / 2) / _variance(a, b) ** 0.5


def _sets(g):
    t, m, n = (int(torch.randint(low, 9, (), generator=g)) for low in (3, 2, 2))
    d = int(torch.randint(1, 4, (), generator=g))
    train, test, fake = (torch.randn(v, d, generator=g) for v in (t, m, n))
    test[0], fake[0] = train[0], train[0]  # copies on both sides: ties
    fake[-1] += 4
    return train.double(), test.double(), fake.double()


EXERCISE = Exercise(
    number="13.9",
    title="Nearer than the test set",
    difficulty=3,
    minutes=15,
    task=r"""
Write the score of (13.18) with a single cell: the distances of the $n$ generated and of the $m$ test rows to their nearest
training row are compared pair by pair. Distances are Euclidean. Count the pairs in which the generated row lies further away, a tie as one half,
subtract what is expected under equal laws, and divide by the standard deviation
$\sqrt{nm(n+m+1)/12}$. Return one number: far below 0 means that samples lie closer to the training set than test rows do.""",
    inputs=_sets,
    solution=copying_score,
    explanation=r"""
Under equal laws every order of the $n + m$ distances is equally likely, so half of the $nm$ pairs is expected, and the
variance is that of Mann and Whitney. No distribution of the distances has to be assumed. A generator of noise gets a large
positive score: that is no praise.""",
    hints=(
        "First two lists of distances: of each generated and of each test row to its nearest training row.",
        "Compare each entry of one list with each of the other: a matrix of n rows and m columns.",
        "U = pairs with fake further + half the ties; z = (U − nm/2) / √(nm(n+m+1)/12).",
    ),
    wrong=(
        Wrong(
            "the sign",
            "The sign is reversed: copies must give a score below 0.",
            lambda train, test, fake: -copying_score(train, test, fake),
        ),
        Wrong(
            "ties count nothing",
            "Ties are not counted. Each is worth one half, or copies on both sides would look like copying.",
            _changed(lambda a, b: (_pairs(a, b, 0.0) - len(a) * len(b) / 2) / _variance(a, b) ** 0.5),
        ),
        Wrong(
            "ties count fully",
            "Ties are counted in full. Each is worth one half.",
            _changed(lambda a, b: (_pairs(a, b, 1.0) - len(a) * len(b) / 2) / _variance(a, b) ** 0.5),
        ),
        Wrong(
            "the variance itself",
            "This divides by the variance. A z-score divides by its root.",
            _changed(lambda a, b: (_pairs(a, b) - len(a) * len(b) / 2) / _variance(a, b)),
        ),
        Wrong(
            "without the one",
            "The variance has n + m + 1 in it, not n + m.",
            _changed(
                lambda a, b: (_pairs(a, b) - len(a) * len(b) / 2) / (len(a) * len(b) * (len(a) + len(b)) / 12) ** 0.5
            ),
        ),
        Wrong(
            "the count alone",
            "This is the count of pairs. Subtract the expected half of them, and divide by the standard deviation.",
            _changed(_pairs),
        ),
        Wrong(
            "the share of pairs",
            "This is the share of pairs, between 0 and 1. It does not say what is beyond chance.",
            _changed(lambda a, b: _pairs(a, b) / (len(a) * len(b))),
        ),
        Wrong(
            "the largest difference",
            "Distances are the largest difference in a coordinate here. They are Euclidean.",
            _changed(_z, torch.inf),
        ),
        Wrong(
            "differences added up",
            "Distances are sums of absolute differences here. They are Euclidean.",
            _changed(_z, 1.0),
        ),
        Wrong(
            "nearest samples of training rows",
            "These are distances from training rows to their nearest sample. Asked is the way from each sample.",
            lambda train, test, fake: (
                (
                    _pairs(torch.cdist(train, fake).min(1).values, torch.cdist(train, test).min(1).values)
                    - len(train) ** 2 / 2
                )
                / (len(train) ** 2 * (2 * len(train) + 1) / 12) ** 0.5
            ),
        ),
    ),
    right=(_by_scipy, _by_ranks, _by_loops),
    probes={
        "the score of copies": lambda f: f(
            torch.arange(6.0)[:, None].double(),
            torch.arange(5.0)[:, None].double() + 0.3,
            torch.arange(4.0)[:, None].double(),
        ),
        "the score of samples that lie elsewhere": lambda f: f(
            torch.arange(6.0)[:, None].double(),
            torch.arange(5.0)[:, None].double() + 0.3,
            torch.arange(3.0)[:, None].double() + 50,
        ),
        "the score if all distances are equal": lambda f: f(
            torch.arange(6.0)[:, None].double(),
            torch.arange(5.0)[:, None].double(),
            torch.arange(3.0)[:, None].double(),
        ),
        "the score of samples along an axis and test rows along the diagonal": lambda f: f(
            torch.tensor([[0.0, 0.0], [9.0, -9.0]]).double(),
            torch.tensor([[2.0, 2.0], [2.0, 2.0], [2.2, 2.2]]).double(),
            torch.tensor([[2.5, 0.0], [2.5, 0.0], [3.0, 0.0]]).double(),
        ),
    },
)
