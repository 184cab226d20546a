"""Exercise 19.9: Is the best of k better? (open-ended)"""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math
from itertools import combinations

import numpy as np
import torch
from scipy import special

from genlab.exercises import Exercise, Wrong


def gold_of_best(proxy, gold, k):
    """Mean gold reward of the best of k by proxy, over all choices of k of the draws.

    Two rewards of each draw (n,), k from 1 to n -> a number.
    """
    n, total, below = len(proxy), 0.0, 0
    for level in proxy.unique():  # from the lowest on
        same = proxy == level
        upto = below + int(same.sum())
        chance = (math.comb(upto, k) - math.comb(below, k)) / math.comb(n, k)
        total += chance * gold[same].mean()
        below = upto
    return total


def _by_choices(proxy, gold, k):
    found = []
    for chosen in combinations(range(len(proxy)), k):
        best = max(proxy[list(chosen)])
        winners = [float(gold[i]) for i in chosen if proxy[i] == best]
        found.append(sum(winners) / len(winners))
    return sum(found) / len(found)


def _by_weights(proxy, gold, k):
    # the draw at place i of the order is the best of C(i, k - 1) choices; ties share
    order = np.argsort(proxy.numpy(), kind="stable")
    p, y = proxy.numpy()[order], gold.numpy()[order]
    for level in np.unique(p):
        y[p == level] = y[p == level].mean()
    weight = special.comb(np.arange(len(p)), k - 1)
    return np.average(y, weights=weight)


def _by_removal(proxy, gold, k):
    # is the best of those that are left among the k? else take it away and ask again
    rows = sorted(set(proxy.tolist()), reverse=True)
    missed, left, total = 1.0, len(proxy), 0.0
    for level in rows:
        group = gold[proxy == level]
        none = missed
        for _ in range(len(group)):
            none = none * max(0, left - k) / left
            left -= 1
        total += (missed - none) * float(group.mean())
        missed = none
    return total


def _by_gammas(proxy, gold, k):
    def choices(m):
        m = m.double()
        logs = (m + 1).lgamma() - torch.tensor(k + 1.0).double().lgamma() - (m - k + 1).clamp(min=1).lgamma()
        return torch.where(m >= k, logs.exp(), 0.0)

    upto = (proxy[None] <= proxy[:, None]).sum(1)
    below = (proxy[None] < proxy[:, None]).sum(1)
    weight = (choices(upto) - choices(below)) / (upto - below)
    return (weight * gold).sum() / weight.sum()


def _with_replacement(proxy, gold, k):
    n = len(proxy)
    upto = (proxy[None] <= proxy[:, None]).sum(1).double()
    below = (proxy[None] < proxy[:, None]).sum(1).double()
    return ((upto / n) ** k - (below / n) ** k) / (upto - below) @ gold


def _first_of_ties(proxy, gold, k):
    order = np.argsort(-proxy.numpy(), kind="stable")[::-1]
    weight = special.comb(np.arange(len(order)), k - 1)
    return np.average(gold.numpy()[order.copy()], weights=weight)


def _best_gold_of_ties(proxy, gold, k):
    order = np.lexsort((gold.numpy(), proxy.numpy()))
    return np.average(gold.numpy()[order], weights=special.comb(np.arange(len(order)), k - 1))


def _blocks(proxy, gold, k):
    found = []
    for start in range(0, len(proxy) - k + 1, k):
        block = proxy[start : start + k]
        found.append(gold[start : start + k][block == block.max()].mean())
    return torch.stack(found).mean()


def _best_of_all(proxy, gold, k):
    return gold[proxy == proxy.max()].mean()


def _top(proxy, gold, k):
    return gold[proxy.argsort(descending=True, stable=True)[:k]].mean()


def _draws(g):
    n = int(torch.randint(6, 10, (), generator=g))
    k = int(torch.randint(2, n - 1, (), generator=g))
    proxy = torch.randint(0, 5, (n,), generator=g).double()
    gold = (2 * torch.randn(n, generator=g)).double()
    gold[proxy.argmax()] -= 8  # what looks best is not
    return proxy, gold, k


EXERCISE = Exercise(
    number="19.9",
    title="Is the best of k better? (open-ended)",
    difficulty=3,
    minutes=45,
    task=r"""
The simplest way to optimise a reward is to draw $k$ examples and keep the one with the highest reward. If the reward is
a *proxy*, what matters is the *gold* reward of the one that is kept. You have $n$ draws of a generator with both
rewards, (n,) each, and $1 \le k \le n$. Estimate the expected gold reward of the best of $k$ by proxy as the mean over
**all** $\binom nk$ choices of $k$ different draws, of the gold reward of the choice's best by proxy. Where several of a
choice share its highest proxy, their mean gold reward counts. Return one number, exactly and without drawing. With
$k = 1$ it is the mean of `gold`.

Then the open part. Take a generator of chapter 15 and a reward that can be checked, as proxy, and a second judge, as
gold. Write down beforehand where you expect the peak. Draw 2,000 examples, and draw both rewards against
$\log k - (k-1)/k$, the divergence in nats that the choice costs. Do the same for the generator that was trained by
REINFORCE with several $\beta$, at the divergence that it has. Over several seeds: which way of spending nats brings
more gold, and where does each turn?""",
    inputs=_draws,
    solution=gold_of_best,
    explanation=r"""
Let $b$ draws lie below a level of the proxy and $u$ at or below it. A choice has its best at this level if all of it
lies at or below and not all below: $\binom uk - \binom bk$ choices. By symmetry each draw of the level is as often
among the tied as any other, so the level's mean gold counts. The result is unbiased for the best of $k$ fresh draws,
since each choice of $k$ different draws is $k$ fresh draws; choices with repetition are not, and look as if $k$ were
smaller. One set of $n$ draws gives the curve for all $k$, but with large $k$ few draws decide: for $k = n$ it is the
gold of a single one.""",
    hints=(
        "Sort by proxy. In how many choices of k is a given draw the best? All the others must lie below it.",
        "Level by level: choices that lie at or below the level, less those that lie wholly below it.",
        "`(math.comb(upto, k) - math.comb(below, k)) / math.comb(n, k)` times the mean gold of the level, added up.",
    ),
    wrong=(
        Wrong(
            "the best of all",
            "This is the gold reward of the best of all n draws. Asked is the best of k, over all choices of k.",
            _best_of_all,
        ),
        Wrong(
            "draws with repetition",
            "The k are drawn with repetition here. A draw that comes twice is no second chance: choose different ones.",
            _with_replacement,
        ),
        Wrong(
            "the proxy's own value",
            "This is the mean proxy of the best. It grows with k by construction; asked is the gold reward.",
            lambda proxy, gold, k: gold_of_best(proxy, proxy, k),
        ),
        Wrong(
            "the best by gold",
            "The best is chosen by gold here. Only the proxy is seen when one is kept.",
            lambda proxy, gold, k: gold_of_best(gold, gold, k),
        ),
        Wrong(
            "the two exchanged",
            "The two rewards are exchanged: the best is chosen by gold, and its proxy is reported.",
            lambda proxy, gold, k: gold_of_best(gold, proxy, k),
        ),
        Wrong(
            "the worst of k",
            "This keeps the draw with the lowest proxy.",
            lambda proxy, gold, k: gold_of_best(-proxy, gold, k),
        ),
        Wrong(
            "the first of those that tie",
            "Where proxies are equal the first draw is kept, so the result depends on their order. Take their mean.",
            _first_of_ties,
        ),
        Wrong(
            "the luckiest of those that tie",
            "Where proxies are equal the one with the highest gold is kept. Nobody sees gold: take their mean.",
            _best_gold_of_ties,
        ),
        Wrong(
            "the mean of the k best",
            "This is the mean gold of the k draws with the highest proxies. One is kept of each choice of k.",
            _top,
        ),
        Wrong(
            "blocks in their order",
            "The draws are cut into blocks of k in their order. That is unbiased, but only a few of all choices.",
            _blocks,
        ),
        Wrong(
            "one too few",
            "This is the best of k − 1 draws: the draw itself is one of the k.",
            lambda proxy, gold, k: gold_of_best(proxy, gold, max(1, k - 1)),
        ),
        Wrong(
            "a sum over choices",
            "This adds up over all choices. Asked is their mean.",
            lambda proxy, gold, k: gold_of_best(proxy, gold, k) * math.comb(len(proxy), k),
        ),
    ),
    right=(_by_choices, _by_weights, _by_removal, _by_gammas),
    probes={
        "the best of one": lambda f: f(
            torch.tensor([1.0, 3.0, 2.0]).double(), torch.tensor([4.0, 1.0, 7.0]).double(), 1
        ),
        "the best of all": lambda f: f(
            torch.tensor([1.0, 3.0, 2.0]).double(), torch.tensor([4.0, 1.0, 7.0]).double(), 3
        ),
        "a single draw": lambda f: f(torch.tensor([5.0]).double(), torch.tensor([-2.0]).double(), 1),
        "equal proxies": lambda f: f(torch.ones(4).double(), torch.tensor([1.0, 5.0, 2.0, 0.0]).double(), 3),
        "two that tie at the top": lambda f: f(
            torch.tensor([2.0, 0.0, 2.0, 1.0]).double(), torch.tensor([3.0, 0.0, -9.0, 1.0]).double(), 2
        ),
        "a gold reward that falls where the proxy is high": lambda f: f(
            torch.arange(12.0).double(), -(torch.arange(12.0).double() - 7).square(), 4
        ),
    },
    discussion=r"""
**For the open part.** Give the curve an interval: draw the $n$ examples again with other seeds, or resample whole
draws; points of one curve share their draws, so its wiggles are no evidence. The divergence $\log k - (k-1)/k$ is exact
only if no two proxies are equal; with ties it is an upper bound. In the closed form of this chapter (proxy $x$, gold
$x - 0.2\,x^2$, a normal reference) tilting peaks at $1/\beta = 2.5$ with a gold reward of 1.05; compute the best of $k$
there first, so that you know what your program should find.

What is called gold must be a judge that the proxy was not trained with: a second classifier from the same images
shares its blind spots, and agrees too often. Look at the examples past the peak: they show which hole of the proxy was
found. And report where you stopped *before* you look at the gold curve, since choosing the peak by gold is optimising
gold.""",
)
