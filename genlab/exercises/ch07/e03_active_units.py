"""Exercise 07.3: Counting what is alive."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def active_units(mu, threshold=0.01):
    """The number of latent dimensions whose variance over examples exceeds threshold.

    (n, d) -> int.
    """
    return int((mu.var(0) > threshold).sum())


def _active_by_loops(mu, threshold=0.01):
    count = 0
    for column in mu.T:
        centred = column - column.mean()
        count += bool((centred**2).sum() / (len(column) - 1) > threshold)
    return count


def _active_by_numpy(mu, threshold=0.01):
    return np.sum(np.var(mu.numpy(), axis=0) > threshold)


def _active_by_covariance(mu, threshold=0.01):
    return (torch.atleast_2d(torch.cov(mu.T)).diagonal() > threshold).sum()


def _mu_to_count(g):
    n, d = (int(torch.randint(low, high, (), generator=g)) for low, high in ((25, 50), (6, 15)))
    threshold = 10 ** (3 * torch.rand((), generator=g).item() - 3)
    alive = torch.arange(d) < torch.randint(1, d, (), generator=g)
    scale = threshold**0.5 * torch.where(
        alive, 4.0, 0.3
    )  # variances far from the threshold, however they are estimated
    return torch.randn(n, d, generator=g) * scale + 2 * torch.randn(d, generator=g), threshold


def _spikes():
    """Columns of which one number is not 0, or all are the same: their deviation, range and mean differ widely."""
    spikes = torch.zeros(8, 10)
    spikes[3, :8] = torch.tensor([0.05, 0.08, 0.15, 0.2, 0.3, 0.4, 0.5, 0.9])
    return spikes + torch.tensor([0.0] * 8 + [5.0, -1.0])


_WAVE = torch.tensor([[0.0, 0.0, 5.0, 0.3], [1.0, 1.0, 5.0, -0.3], [0.0, 0.0, 5.0, 0.3], [1.0, 1.0, 5.0, -0.3]])


EXERCISE = Exercise(
    number="07.3",
    title="Counting what is alive",
    difficulty=1,
    minutes=5,
    task=r"""
From the posterior means `mu` of many images, shape `(n, d)`, count the active units of (7.6): the dimensions whose
variance over images exceeds `threshold`. Divide by $n$ or by $n - 1$, as you like: no variance lies so close to the
threshold that it matters. A dimension that is the same large number for every image is not active.""",
    inputs=_mu_to_count,
    solution=active_units,
    explanation=r"""
The variance is over examples, dimension 0. A mean that does not move with the image tells nothing about it, however far
from zero it is.""",
    hints=(
        "For each latent dimension: how much does its mean move from image to image?",
        "`mu.var(0)` has one number a dimension.",
        "Compare with the threshold, sum the truth values, and make it an `int`.",
    ),
    wrong=(
        Wrong(
            "the standard deviation",
            "This compares the standard deviation with the threshold. The definition takes the variance.",
            lambda mu, threshold=0.01: int((mu.std(0) > threshold).sum()),
        ),
        Wrong(
            "the mean square",
            "This is the mean square, not the variance: a dimension that is constant and far from 0 counts as active.",
            lambda mu, threshold=0.01: int((mu.square().mean(0) > threshold).sum()),
        ),
        Wrong(
            "over the wrong axis",
            "The variance is taken over the latent dimensions. It has to be over the examples, dimension 0.",
            lambda mu, threshold=0.01: int((mu.var(1) > threshold).sum()),
        ),
        Wrong(
            "the collapsed ones",
            "This counts the dimensions that have collapsed. Count the others.",
            lambda mu, threshold=0.01: int((mu.var(0) <= threshold).sum()),
        ),
        Wrong(
            "threshold is forgotten",
            "0.01 is written into the function, so the argument threshold has no effect.",
            lambda mu, threshold=0.01: int((mu.var(0) > 0.01).sum()),
        ),
        Wrong(
            "a share",
            "This is the share of active units. Their number is wanted.",
            lambda mu, threshold=0.01: (mu.var(0) > threshold).float().mean().item(),
        ),
    ),
    right=(_active_by_loops, _active_by_numpy, _active_by_covariance),
    probes={
        "variances around the default threshold": lambda f: f(_WAVE * torch.tensor([0.24, 0.16, 1.0, 1.0])),
        "means that are the same for all images": lambda f: f(torch.full((6, 3), 3000.1)),
        "columns that are 0 but for one image": lambda f: f(_spikes(), 0.04),
        "large means that differ by 1": lambda f: f(3000 + _WAVE[:, :1], 0.2),
        "a single varying dimension, threshold 0": lambda f: f(torch.tensor([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]), 0.0),
    },
)
