"""Exercise 08.1: The value of a game."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong, mistake


def game_value(logits, p, q):
    """V of (8.1) for k outcomes, D = sigmoid(logits): (k,) three times -> a number."""
    return (p * F.logsigmoid(logits)).sum() + (q * F.logsigmoid(-logits)).sum()


@mistake(
    "log of a sigmoid",
    (
        "Right for moderate logits. At ±1,000 a sigmoid is 0 or 1 and its logarithm infinite, and so is 1 + exp; "
        "0 times infinity is NaN. Use F.logsigmoid or F.softplus."
    ),
)
def _value_by_sigmoid(logits, p, q):
    D = torch.sigmoid(logits)
    return (p * D.log() + q * (1 - D).log()).sum()


def _value_by_loop(logits, p, q):
    total = 0.0
    for i in range(len(p)):
        total = total - p[i] * F.softplus(-logits[i]) - q[i] * F.softplus(logits[i])
    return total


def _value_by_numpy(logits, p, q):
    logits, p, q = (a.numpy() for a in (logits, p, q))
    return -(p * np.logaddexp(0, -logits)).sum() - (q * np.logaddexp(0, logits)).sum()


def _value_by_bernoulli(logits, p, q):
    D = torch.distributions.Bernoulli(logits=logits.double())
    return (p * D.log_prob(torch.ones(len(p))) + q * D.log_prob(torch.zeros(len(q)))).sum().item()


def _game(g):
    k = int(torch.randint(1, 8, (), generator=g))
    return 3 * torch.randn(k, generator=g), *torch.softmax(torch.randn(2, k, generator=g), 1)


_SURE = torch.tensor([1000.0, -1000.0])

_LEFT, _RIGHT = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])

EXERCISE = Exercise(
    number="08.1",
    title="The value of a game",
    difficulty=1,
    minutes=6,
    task=r"""
There are $k$ outcomes, with probabilities `p` under the data and `q` under the generator, and $D$ is given by its
logits. Write $V$ of (8.1), one number, with natural logarithms. It is never positive. An undecided $D$ gets
$-2\log 2$. A $D$ that is right with logits of ±1,000, where `p` and `q` have no outcome in common, gets 0, and one that
is wrong about both gets $-2{,}000$.""",
    inputs=_game,
    solution=game_value,
    explanation=r"""
An expectation over outcomes is a sum weighted with their probabilities, and those already add up to one: no mean.
$\log D = \log\operatorname{sigmoid}(\ell)$ and $\log(1 - D) = \log\operatorname{sigmoid}(-\ell)$, which
`F.logsigmoid` computes without ever rounding a
probability to 0 or 1.""",
    hints=(
        "An expectation over outcomes is a weighted sum. What are the weights of the two terms?",
        (
            "$1 - \\operatorname{sigmoid}(\\ell) = \\operatorname{sigmoid}(-\\ell)$, "
            "and `F.logsigmoid` is the logarithm of a sigmoid that stays finite."
        ),
        "Add `(p * F.logsigmoid(logits)).sum()` and the same with `q` and minus the logits.",
    ),
    wrong=(
        _value_by_sigmoid,
        Wrong(
            "data and samples swapped",
            "Data and samples have changed places: log D belongs to p, log(1 − D) to q.",
            lambda logits, p, q: (q * F.logsigmoid(logits) + p * F.logsigmoid(-logits)).sum(),
        ),
        Wrong(
            "minus the value",
            "This is −V, the loss that D minimises.",
            lambda logits, p, q: (p * F.softplus(-logits) + q * F.softplus(logits)).sum(),
        ),
        Wrong(
            "the mean over outcomes",
            "The probabilities are the weights of the average already. Sum; do not divide by the number of outcomes.",
            lambda logits, p, q: (p * F.logsigmoid(logits) + q * F.logsigmoid(-logits)).mean(),
        ),
        Wrong(
            "the data's term alone",
            "This is the first term only. (8.1) adds what D says about generated samples.",
            lambda logits, p, q: (p * F.logsigmoid(logits)).sum(),
        ),
        Wrong(
            "log D on both",
            "On generated outcomes D is paid log(1 − D): it should say that they are not real.",
            lambda logits, p, q: ((p + q) * F.logsigmoid(logits)).sum(),
        ),
    ),
    right=(
        _value_by_loop,
        _value_by_numpy,
        _value_by_bernoulli,
        lambda logits, p, q: -p @ F.softplus(-logits) - q @ F.softplus(logits),
    ),
    probes={
        "the value of an undecided D": lambda f: f(torch.zeros(9), torch.full((9,), 1 / 9), torch.full((9,), 1 / 9)),
        "the value with a single outcome": lambda f: f(torch.tensor([0.5]), torch.ones(1), torch.ones(1)),
        "the value of a D that is sure and right": lambda f: f(_SURE, _LEFT, _RIGHT),
        "the value of a D that is sure and wrong": lambda f: f(_SURE, _RIGHT, _LEFT),
    },
)
