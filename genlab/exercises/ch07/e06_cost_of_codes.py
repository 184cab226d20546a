"""Exercise 07.6: What a grid of codes costs."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong, mistake


def code_bits(logits, codes):
    """−log₂ p(codes), with logits[:, i] made from the codes before i.

    Logits (n, L, K) and codes (n, L) -> (n,).
    """
    log_p = torch.log_softmax(logits, 2).gather(2, codes[..., None])[..., 0]
    return -log_p.sum(1) / math.log(2)


def _bits_by_loops(logits, codes):
    rows = []
    for a, c in zip(logits, codes, strict=True):
        total = 0.0
        for i in range(len(c)):
            total = total + (torch.logsumexp(a[i], 0) - a[i, c[i]]) / math.log(2)
        rows.append(total)
    return torch.stack(rows)


def _bits_by_distributions(logits, codes):
    places = torch.distributions.Categorical(logits=logits)
    return -torch.distributions.Independent(places, 1).log_prob(codes) * math.log2(math.e)


def _bits_by_numpy(logits, codes):
    a = logits.numpy().astype(np.float64)
    chosen = np.take_along_axis(a, codes.numpy()[..., None], -1)[..., 0]
    return (np.logaddexp.reduce(a, axis=-1) - chosen).sum(1) / np.log(2)


def _draw(g):
    n, L, K = (int(torch.randint(low, low + 3, (), generator=g)) for low in (2, 4, 2))
    return 2 * torch.randn(n, L, K, generator=g), torch.randint(0, K, (n, L), generator=g)


@mistake(
    "log of a probability",
    (
        "For moderate logits this is right, but a probability of exp(−1000) rounds to 0, and its logarithm is infinite. "
        "torch.log_softmax never forms it."
    ),
)
def _bits_by_softmax(logits, codes):
    return -torch.softmax(logits, 2).gather(2, codes[..., None])[..., 0].log2().sum(1)


@mistake(
    "shifted once more",
    (
        "The codes are shifted against the logits. The prior has done that already: logits[:, i] belongs to code i, "
        "and the first code has to be paid for as well."
    ),
)
def _bits_shifted(logits, codes):
    log_p = torch.log_softmax(logits[:, :-1], 2).gather(2, codes[:, 1:, None])[..., 0]
    return -log_p.sum(1) / math.log(2)


EXERCISE = Exercise(
    number="07.6",
    title="What a grid of codes costs",
    difficulty=2,
    minutes=10,
    task=r"""
Write $-\log_2 p(c)$ of (7.12), one number for each of $n$ grids, for logits of shape `(n, L, K)`, of which
`logits[:, i]` belongs to code `i` and was made from the codes before it. Equal logits cost $L \log_2 K$ bits, whatever
the codes. A prior that is sure and right costs 0; one that is sure and wrong, by 1,000 in the logits, costs 1,443 bits,
and not infinitely many. Adding a number to all $K$ logits of a place changes nothing.""",
    inputs=_draw,
    solution=code_bits,
    explanation=r"""
The product (7.12) becomes a sum of logarithms, one a place. `log_softmax` over the $K$ codes makes log-probabilities of
the logits, `gather` picks that of the code that came, and $\log_2 p = \log p / \log 2$.""",
    hints=(
        "A probability of a chain is a product. What is its logarithm, and which of the $K$ numbers counts at each place?",
        "`torch.log_softmax(logits, 2)` gives log-probabilities; `gather` picks those of the codes.",
        "Pick with `.gather(2, codes[..., None])[..., 0]`, sum over places, change the sign, divide by `math.log(2)`.",
    ),
    wrong=(
        Wrong(
            "in nats",
            "These are nats. Divide by log 2 for bits.",
            lambda logits, codes: F.cross_entropy(logits.transpose(1, 2), codes, reduction="none").sum(1),
        ),
        Wrong(
            "multiplied by log 2",
            "Bits are nats divided by log 2, not multiplied: a bit is less than a nat, so there are more of them.",
            lambda logits, codes: F.cross_entropy(logits.transpose(1, 2), codes, reduction="none").sum(1) * math.log(2),
        ),
        Wrong(
            "mean over the places",
            "This is the mean per place. The whole grid costs the sum.",
            lambda logits, codes: (
                F.cross_entropy(logits.transpose(1, 2), codes, reduction="none").mean(1) / math.log(2)
            ),
        ),
        Wrong(
            "the wrong sign",
            "This is log₂ p, which is negative. A code length is minus that.",
            lambda logits, codes: (
                -F.cross_entropy(logits.transpose(1, 2), codes, reduction="none").sum(1) / math.log(2)
            ),
        ),
        _bits_by_softmax,
        _bits_shifted,
        Wrong(
            "softmax over the places",
            "The softmax runs over the places. Probabilities sum to one over the K codes, the last dimension.",
            lambda logits, codes: (
                -torch.log_softmax(logits, 1).gather(2, codes[..., None])[..., 0].sum(1) / math.log(2)
            ),
        ),
        Wrong(
            "one number for the batch",
            "This sums over the batch as well. One number for each grid is wanted.",
            lambda logits, codes: F.cross_entropy(logits.transpose(1, 2), codes, reduction="sum") / math.log(2),
        ),
    ),
    right=(
        _bits_by_loops,
        _bits_by_distributions,
        _bits_by_numpy,
        lambda logits, codes: F.cross_entropy(logits.transpose(1, 2), codes, reduction="none").sum(1) / math.log(2),
    ),
    probes={
        "equal logits": lambda f: f(torch.zeros(2, 3, 8), torch.zeros(2, 3, dtype=torch.long)),
        "a prior that is sure": lambda f: f(
            1000.0 * F.one_hot(torch.tensor([[1, 0]]), 3).float(), torch.tensor([[1, 0]])
        ),
        "a prior that is sure and wrong": lambda f: f(
            1000.0 * F.one_hot(torch.tensor([[1, 0]]), 3).float(), torch.tensor([[1, 2]])
        ),
        "one grid of one code": lambda f: f(torch.tensor([[[0.0, 1.0, 2.0]]]), torch.tensor([[1]])),
        "5,000 added to all logits of a place": lambda f: f(
            torch.tensor([[[0.0, 1.0], [5000.0, 5002.0]], [[-5000.0, -5001.0], [1.0, 0.0]]]),
            torch.tensor([[1, 0], [1, 1]]),
        ),
    },
)
