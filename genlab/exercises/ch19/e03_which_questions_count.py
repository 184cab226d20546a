"""Exercise 19.3: Which questions count."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math
from itertools import product

import numpy as np
import torch
from scipy import stats

from genlab.exercises import Exercise, Wrong


def weights(q, group):
    """By how much dividing by the group's spread scales the gradient of each chance q.

    Chances (n,) of a right answer, answers in a group -> (n,).
    """
    found = torch.zeros_like(q)
    for hits in range(1, group):  # groups of equal rewards add nothing
        chance = math.comb(group, hits) * q**hits * (1 - q) ** (group - hits)
        spread = math.sqrt(hits * (group - hits) / (group * (group - 1)))
        found += chance * hits * (group - hits) / (group**2 * spread)
    return found / (q * (1 - q))


def _by_scipy(q, group):
    hits = np.arange(group + 1)
    law = stats.binom.pmf(hits, group, q.numpy()[:, None])
    return np.sqrt((group - 1) / group**3) * (law @ np.sqrt(hits * (group - hits))) / (q * (1 - q)).numpy()


def _by_groups(q, group):
    # all groups of right and wrong answers; the score of q is 1/q or −1/(1 − q)
    r = torch.tensor(list(product((0.0, 1.0), repeat=group))).to(q)[1:-1]
    advantage = (r - r.mean(1, keepdim=True)) / r.std(1, keepdim=True)
    found = []
    for chance in q:
        law = torch.where(r > 0, chance, 1 - chance).prod(1)
        score = torch.where(r > 0, 1 / chance, -1 / (1 - chance))
        found.append(law @ (advantage * score).mean(1))
    return torch.stack(found)


def _by_loops(q, group):
    found = []
    for chance in q.tolist():
        total = 0.0
        for hits in range(group + 1):
            mean = hits / group
            spread = math.sqrt((hits * (1 - mean) ** 2 + (group - hits) * mean**2) / (group - 1))
            if spread > 0:
                pull = hits * (1 - mean) / spread / chance + (group - hits) * mean / spread / (1 - chance)
                total += math.comb(group, hits) * chance**hits * (1 - chance) ** (group - hits) * pull / group
        found.append(total)
    return found


def _by_binomial(q, group):
    hits = torch.arange(group + 1).to(q)
    law = torch.distributions.Binomial(group, q[:, None]).log_prob(hits).exp()
    return (law * (hits * (group - hits) * (1 - 1 / group)).sqrt()).sum(1) / (q * (1 - q) * group)


def _expected(q, group, gain):
    """The mean over groups of gain(hits), divided by q (1 − q)."""
    hits = torch.arange(group + 1).to(q)
    law = torch.distributions.Binomial(group, q[:, None]).log_prob(hits).exp()
    return (law * gain(hits)).sum(1) / (q * (1 - q))


def _questions(g):
    n, group = int(torch.randint(1, 6, (), generator=g)), int(torch.randint(3, 8, (), generator=g))
    q = 0.05 + 0.9 * torch.rand(n, generator=g).double()
    q[0] = 0.02 + 0.05 * float(torch.rand((), generator=g))
    return q, group


EXERCISE = Exercise(
    number="19.3",
    title="Which questions count",
    difficulty=2,
    minutes=25,
    task=r"""
A model answers a question right, with reward 1, with probability $q$, and else with reward 0. A group of $G \ge 2$
independent answers $x_i$ to it gives the estimate

$$ \frac1G \sum_{i=1}^{G} A_i\, \nabla \log \pi(x_i), \qquad A_i = \frac{r_i - \bar r}{s}, \qquad
s^2 = \frac{1}{G-1} \sum_i (r_i - \bar r)^2 , $$

as GRPO does; where all rewards of the group are equal, all $A_i$ are 0. Its expectation points along $\nabla q$, since
the mean of $\nabla \log \pi(x)$ over right answers is $\nabla q / q$, and over wrong ones $-\nabla q/(1-q)$. So it is
$w(q, G)\, \nabla q$. Return the exact factor $w$ for each of the chances $q$ (n,) of shape (n,), with $0 < q < 1$: add
up over the number of right answers in the group, from 0 to $G$. The honest gradient has $w = 1$ for every question.""",
    inputs=_questions,
    solution=weights,
    explanation=r"""
With $k$ right answers each of them has $A = (1 - k/G)/s$ and each wrong one $-(k/G)/s$, so the estimate's mean is
$\frac{k(G-k)}{G^2 s}\big(\frac1q + \frac1{1-q}\big)\nabla q$, and $s^2 = \frac{k(G-k)}{G(G-1)}$. The expectation over
the binomial $k$ gives

$$ w(q, G) = \sqrt{\frac{G-1}{G^3}}\; \frac{\mathbb E\sqrt{k(G-k)}}{q(1-q)} . $$

For large $G$ this is nearly $1/\sqrt{q(1-q)}$: from $G = 4$ on, questions that are nearly always right or nearly always wrong count
more, up to $(G-1)/\sqrt G$ times. A sum over questions with such weights is the gradient of *another* goal, about
$\sum 2\arcsin\sqrt{q}$, and its direction is not that of the mean reward. For $G = 2$ and $G = 3$
the factor is the same for every $q$. Without the division it is $1 - 1/G$ for all questions, which only shortens the
step.""",
    hints=(
        "Fix the number k of right answers. What are the two values of A then, and how many answers have each?",
        "Right answers bring ∇q/q each, wrong ones −∇q/(1 − q). Their sum is a number times ∇q (1/q + 1/(1 − q)).",
        "That number is k (G − k)/(G² s) with s² = k (G − k)/(G (G − 1)); average it over the binomial law of k.",
    ),
    wrong=(
        Wrong(
            "the limit of large groups",
            "This is the limit for large groups, 1/√(q (1 − q)). In a small one equal rewards are frequent and add nothing.",
            lambda q, group: 1 / (q * (1 - q)).sqrt(),
        ),
        Wrong(
            "no division",
            "This is the factor without the division by s: 1 − 1/G for every question.",
            lambda q, group: torch.full_like(q, 1 - 1 / group),
        ),
        Wrong(
            "a spread with 1/G",
            "The spread has 1/G under the root here. The task's s has 1/(G − 1).",
            lambda q, group: weights(q, group) * math.sqrt(group / (group - 1)),
        ),
        Wrong(
            "mixed groups alone",
            "This is the mean over groups that have both kinds of answers. The others count as well: they give 0.",
            lambda q, group: weights(q, group) / (1 - q**group - (1 - q) ** group),
        ),
        Wrong(
            "the scores left out",
            "The factor 1/q + 1/(1 − q) is missing: a rare right answer has a long score.",
            lambda q, group: weights(q, group) * q * (1 - q),
        ),
        Wrong(
            "right answers alone",
            "Only right answers are added up here. Wrong ones have a negative A and a score, too.",
            lambda q, group: weights(q, group) * (1 - q),
        ),
        Wrong(
            "the sum over the group",
            "This adds up over the group. The estimate is a mean of G terms.",
            lambda q, group: weights(q, group) * group,
        ),
        Wrong(
            "the own answer left out of the mean",
            "This is the factor with the mean of the other answers as a baseline. The task's mean has the own one in it.",
            lambda q, group: weights(q, group) * group / (group - 1),
        ),
        Wrong(
            "the root of the mean",
            "This takes the root of the mean of k (G − k). The root comes first, group by group.",
            lambda q, group: ((group - 1) ** 2 / group**2 / (q * (1 - q))).sqrt(),
        ),
        Wrong(
            "divided by the variance",
            "The rewards are divided by s² here. A is divided by s.",
            lambda q, group: (1 - q**group - (1 - q) ** group) * (1 - 1 / group) / (q * (1 - q)),
        ),
        Wrong(
            "wrong answers pull the other way",
            "The parts of right and of wrong answers are subtracted. A wrong one has a negative A and a negative score.",
            lambda q, group: weights(q, group) * (1 - 2 * q),
        ),
        Wrong(
            "orders of the answers forgotten",
            "The probability of k right answers lacks the number of their orders, the binomial coefficient.",
            lambda q, group: (
                sum(
                    q**k * (1 - q) ** (group - k) * math.sqrt(k * (group - k) * (group - 1) / group**3)
                    for k in range(1, group)
                )
                / (q * (1 - q))
            ),
        ),
    ),
    right=(_by_scipy, _by_groups, _by_loops, _by_binomial),
    probes={
        "groups of two": lambda f: f(torch.tensor([0.1, 0.5, 0.7]).double(), 2),
        "a question that is nearly always wrong": lambda f: f(torch.tensor([1e-6]).double(), 9),
        "a question that is nearly always right": lambda f: f(torch.tensor([1 - 1e-6]).double(), 4),
        "groups of ten": lambda f: f(torch.tensor([0.5, 0.05]).double(), 10),
    },
    discussion=r"""
**For your own work.** Before you copy a normalisation ask what it is the gradient *of*. Weights by difficulty may be
what you want, a curriculum for free; but say so, and choose it. Two things to measure: the share of groups with equal
rewards, in which nothing is learnt, and the mean reward itself rather than the mean advantage, which is 0 by
construction.""",
)
