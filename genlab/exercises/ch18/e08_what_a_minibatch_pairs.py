"""Exercise 18.8: What a minibatch pairs."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import itertools
import math

import numpy as np
import torch
from scipy import special, stats

from genlab.exercises import Exercise, Wrong


def minibatch_coupling(p, q, n):
    """Expected share of each pair of values, if minibatches of n are sorted and paired.

    Probabilities of sorted values (k,) and (l,), n >= 1 -> (k, l).
    """
    i = torch.arange(n + 1)
    choose = torch.tensor([math.comb(n, count) for count in range(n + 1)]).to(p)

    def ranks(law):  # (values, n): the chance that rank r has this value
        below = torch.cat([law.new_zeros(1), law.cumsum(0)]).clamp(max=1)[:, None]
        counts = choose * below**i * (1 - below) ** (n - i)  # i draws are below
        at_least = counts.flip(1).cumsum(1).flip(1)[:, 1:]
        return at_least.diff(dim=0)

    return ranks(p) @ ranks(q).T / n


def _by_enumeration(p, q, n):
    def ranks(law):
        table = np.zeros((len(law), n))
        for draws in itertools.product(range(len(law)), repeat=n):
            chance = math.prod(law[draw] for draw in draws)
            for rank, value in enumerate(sorted(draws)):
                table[value, rank] += chance
        return table

    return ranks(p.tolist()) @ ranks(q.tolist()).T / n


def _by_beta(p, q, n):
    # the r-th of n uniform numbers has a beta law
    r = np.arange(1, n + 1)

    def ranks(law):
        ends = np.clip(np.concatenate([[0.0], np.cumsum(law.numpy())]), 0, 1)
        return np.diff(special.betainc(r, n + 1 - r, ends[:, None]), axis=0)

    return np.einsum("ar,br->ab", ranks(p), ranks(q)) / n


def _by_binomials(p, q, n):
    def survival(law):
        return [[0.0] * n] + [
            [float(stats.binom.sf(rank, n, min(below, 1.0))) for rank in range(n)] for below in np.cumsum(law.tolist())
        ]

    first, second = torch.tensor(survival(p)), torch.tensor(survival(q))
    both = torch.einsum("ar,br->ab", first, second) / n  # P(x ≤ a, eps ≤ b)
    return both[1:, 1:] - both[:-1, 1:] - both[1:, :-1] + both[:-1, :-1]


def _by_multinomials(p, q, n):
    def ranks(law):
        table = torch.zeros(len(law), n, dtype=torch.double)
        for counts in itertools.product(range(n + 1), repeat=len(law)):
            if sum(counts) != n:
                continue
            chance = math.factorial(n)
            for count, share in zip(counts, law.tolist(), strict=True):
                chance *= share**count / math.factorial(count)
            ends = [0, *itertools.accumulate(counts)]
            for value, (start, end) in enumerate(itertools.pairwise(ends)):
                table[value, start:end] += chance
        return table

    return ranks(p) @ ranks(q).mT / n


def _ranks(law, n):
    r = np.arange(1, n + 1)
    ends = np.clip(np.concatenate([[0.0], np.cumsum(law.numpy())]), 0, 1)
    return torch.as_tensor(np.diff(special.betainc(r, n + 1 - r, ends[:, None]), axis=0))


def _transport(p, q, n):
    """The coupling of all data at once."""
    low = torch.maximum((p.cumsum(0) - p)[:, None], q.cumsum(0) - q)
    high = torch.minimum(p.cumsum(0)[:, None], q.cumsum(0))
    return (high - low).clamp(min=0)


def _lowest(p, q, n):
    return torch.outer(_ranks(p, n)[:, 0], _ranks(q, n)[:, 0])


def _nearest_of_n(p, q, n):
    """Each datum takes the noise of n whose rank is that of the datum in the law."""
    places = (p.cumsum(0) - p / 2).mul(n).floor().long().clamp(max=n - 1)
    return p[:, None] * _ranks(q, n)[:, places].T


def _laws(g):
    k, l, n = (int(torch.randint(low, high, (), generator=g)) for low, high in ((1, 5), (1, 5), (1, 5)))
    p, q = (0.1 + torch.rand(size, generator=g).double() for size in (k, l))
    return p / p.sum(), q / q.sum(), n


P, Q = torch.tensor([0.5, 0.25, 0.25]).double(), torch.tensor([0.125, 0.375, 0.5]).double()

EXERCISE = Exercise(
    number="18.8",
    title="What a minibatch pairs",
    difficulty=3,
    minutes=30,
    task=r"""
Data and noise are pairs of numbers on two lines. The data take $k$ values, in rising order, with probabilities $p$; the
noise takes $l$ values, in rising order, with probabilities $q$. Training draws a minibatch of $n$ data and $n$ noises,
all independent, and pairs them by optimal transport. On a line that is easy: sort both, and pair equal ranks. Return, for
each pair of a value of the data and one of the noise, the probability that a pair picked at random from such a minibatch is this one:
a table `(k, l)`, exact, without drawing. $k$, $l$ and $n$ may be 1. All $p$ and $q$ are positive and add up to 1. Before
you check: which table is it for $n = 1$, and which for $n \to \infty$? Does pairing change which data are seen?""",
    inputs=_laws,
    solution=minibatch_coupling,
    explanation=r"""
Rank $r$ of the data is at most value $a$ if at least $r$ of $n$ draws are: a binomial tail. Data and noise are drawn
independently, so at a given rank the two values are independent, and a pair picked at random has each rank with
probability $1/n$. Rows add up to $p$ and columns to $q$: a minibatch's pairing keeps both laws. For $n = 1$ it is
$p\,q^\top$, and as $n$ grows it becomes the coupling of optimal transport, but slowly: for two uniform laws the correlation
is $\frac{n-1}{n+1}$, and $\frac{2}{n+1}$ of the squared distance that independent pairs have remains where transport of all
would leave 0. In many dimensions far larger batches are needed.""",
    hints=(
        "Split by rank: at rank r the datum and the noise are independent. What is the law of the r-th smallest of n draws?",
        "The r-th smallest is ≤ a if at least r of n draws are ≤ a: a binomial with the cumulative probability up to a.",
        "A matrix (k, n) of these laws for the data, one (l, n) for the noise; their product over ranks, divided by n.",
    ),
    wrong=(
        Wrong(
            "independent pairs",
            "This is p qᵀ: pairs as they were drawn. Sorting makes large data meet large noise.",
            lambda p, q, n: torch.outer(p, q),
        ),
        Wrong(
            "transport of all",
            "This is the coupling of whole laws, the limit for large n. A minibatch knows only n of each.",
            _transport,
        ),
        Wrong(
            "opposite ranks",
            "The smallest datum meets the largest noise. That is the dearest pairing; sort both the same way.",
            lambda p, q, n: _ranks(p, n) @ _ranks(q, n).flip(1).T / n,
        ),
        Wrong(
            "a sum over ranks",
            "The table adds up to n. A pair picked at random has each rank with probability 1/n.",
            lambda p, q, n: _ranks(p, n) @ _ranks(q, n).T,
        ),
        Wrong(
            "the lowest rank alone",
            "Only the pair of the two smallest is counted. All ranks are pairs of the minibatch.",
            _lowest,
        ),
        Wrong(
            "probabilities of the noise, given the datum",
            "Rows add up to 1: these are probabilities of the noise, given the datum. Asked are those of pairs.",
            lambda p, q, n: minibatch_coupling(p, q, n) / p[:, None],
        ),
        Wrong(
            "the other side",
            "The table is turned round: data belong to rows, noise to columns.",
            lambda p, q, n: minibatch_coupling(p, q, n).T,
        ),
        Wrong(
            "one draw more",
            "The minibatch has one draw too many.",
            lambda p, q, n: minibatch_coupling(p, q, n + 1),
        ),
        Wrong(
            "cumulative probabilities",
            "The table holds the probabilities that both values are at most these. Take differences along both sides.",
            lambda p, q, n: minibatch_coupling(p, q, n).cumsum(0).cumsum(1),
        ),
        Wrong(
            "data that are not drawn",
            "Only the noise is a sample here; each datum has its rank in the law. Both sides are drawn.",
            _nearest_of_n,
        ),
    ),
    right=(_by_enumeration, _by_beta, _by_binomials, _by_multinomials),
    probes={
        "single pairs": lambda f: f(P, Q, 1),
        "minibatches of two": lambda f: f(P, Q, 2),
        "minibatches of five": lambda f: f(P, Q, 5),
        "what each side is, by the table": lambda f: f(P, Q[1:] / Q[1:].sum(), 3).sum(1),
        "noise of a single value": lambda f: f(P, torch.ones(1).double(), 3),
        "data of a single value": lambda f: f(torch.ones(1).double(), Q, 4),
        "the same law on both sides": lambda f: f(P, P, 6),
        "a rare value": lambda f: f(torch.tensor([1 - 2**-10, 2**-10]).double(), P, 4) * 1000,
    },
    discussion=r"""
**For your own work.** Pair within the minibatch, and measure what is left: the mean squared distance of the pairs, over the
size of the minibatch. If labels condition the model, pairing must not make the noise depend on the label, or the
sampler starts from a noise that training never paired with it: pair inside each class, or check the noise of each class.""",
)
