"""Exercise 13.1: Sharp and various."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch
from scipy import stats

from genlab.exercises import Exercise, Wrong


def sharp_and_various(probs):
    """The inception score (13.5) of class probabilities (n, c): a number."""
    mean = probs.mean(0)
    return torch.exp((probs * (probs / mean).log()).sum(1).mean())


def _by_entropies(probs):
    # mutual information: entropy of the mean minus the mean entropy
    mean = probs.mean(0)
    return (-(mean * mean.log()).sum() + (probs * probs.log()).sum(1).mean()).exp()


def _by_scipy(probs):
    rows = probs.double().numpy()
    return float(np.exp(np.mean([stats.entropy(row, rows.mean(0)) for row in rows])))


def _by_torch(probs):
    q = torch.distributions.Categorical(probs=probs.mean(0))
    p = torch.distributions.Categorical(probs=probs)
    return torch.distributions.kl_divergence(p, q).mean().exp()


def _rows(g):
    n, c = (int(torch.randint(low, 8, (), generator=g)) for low in (1, 2))
    return (torch.softmax(2 * torch.randn(n, c, generator=g), 1),)


EXERCISE = Exercise(
    number="13.1",
    title="Sharp and various",
    difficulty=1,
    minutes=8,
    task=r"""
Write the inception score (13.5) from the class probabilities of $n$ images, rows of $c$ positive numbers that add up to 1.
Return one number. All rows equal give 1, the smallest value. Rows that are nearly one-hot, and spread evenly over $c$
classes, give nearly $c$. Use all rows at once, without splits.""",
    inputs=_rows,
    solution=sharp_and_various,
    explanation=r"""
The mean of the rows estimates $q(y)$. Each row has its Kullback-Leibler divergence from that mean, in nats; the
exponential of their mean is the score. The same number is the entropy of the mean less the mean entropy, exponentiated:
the mutual information of image and class.""",
    hints=(
        "First the mean row: the share of each class over all images.",
        "KL of a row p from the mean m is the sum of p · log(p / m) over classes.",
        "`torch.exp((probs * (probs / probs.mean(0)).log()).sum(1).mean())`.",
    ),
    wrong=(
        Wrong(
            "no exponential",
            "This is the mean divergence in nats. The score is its exponential, so that it counts classes.",
            lambda probs: (probs * (probs / probs.mean(0)).log()).sum(1).mean(),
        ),
        Wrong(
            "the wrong way round",
            "The divergence goes from the mean to the row here. (13.5) has that of each row from the mean.",
            lambda probs: (probs.mean(0) * (probs.mean(0) / probs).log()).sum(1).mean().exp(),
        ),
        Wrong(
            "the exponential before the mean",
            "Here the exponential is taken of each row's divergence. Average the divergences first.",
            lambda probs: (probs * (probs / probs.mean(0)).log()).sum(1).exp().mean(),
        ),
        Wrong(
            "summed over images",
            "The divergences are added up over images. The score needs their mean.",
            lambda probs: (probs * (probs / probs.mean(0)).log()).sum().exp(),
        ),
        Wrong(
            "only the variety",
            "This is the exponential of the mean's entropy: it sees variety and no sharpness.",
            lambda probs: torch.exp(-(probs.mean(0) * probs.mean(0).log()).sum()),
        ),
        Wrong(
            "averaged over classes",
            "The divergence of a row is a sum over classes, not a mean.",
            lambda probs: (probs * (probs / probs.mean(0)).log()).mean().exp(),
        ),
    ),
    right=(_by_entropies, _by_scipy, _by_torch),
    probes={
        "the score of rows that are all equal": lambda f: f(torch.full((4, 5), 0.2)),
        "the score of four nearly one-hot rows of four classes": lambda f: f(torch.eye(4) * 0.996 + 0.001),
        "the score of four nearly one-hot rows of one class": lambda f: f(torch.eye(4)[[1] * 4] * 0.996 + 0.001),
        "the score of three rows of one sort and one of another": lambda f: f(torch.eye(2)[[0, 0, 0, 1]] * 0.8 + 0.1),
    },
)
