"""Exercise 07.3: Counting what is alive."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch

from genlab.exercises import Exercise, Wrong


def active_units(mu, threshold=0.01):
    """The number of latent dimensions whose mean varies over the examples by more than threshold: (n, d) -> int."""
    return int((mu.var(0) > threshold).sum())


def _active_by_loops(mu, threshold=0.01):
    count = 0
    for column in mu.T:
        centred = column - column.mean()
        count += bool((centred**2).sum() / (len(column) - 1) > threshold)
    return count


def _mu_to_count(g):
    scale = torch.tensor([1.0, 0.02, 0.6, 0.09, 0.3, 0.16, 0.05])
    return torch.randn(40, 7, generator=g) * scale + torch.tensor([0.0, 2.0, -1.0, 0.5, 3.0, -0.4, 0.3]), 0.02


EXERCISE = Exercise(
    number="07.3",
    title="Counting what is alive",
    difficulty=1,
    minutes=5,
    task=r"""
From the posterior means `mu` of many images, shape `(n, d)`, count the active units of (7.6): the dimensions whose
variance over images exceeds `threshold`. A dimension that is the same large number for every image is not active.""",
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
    right=(_active_by_loops,),
    probes={
        "the default threshold": lambda f: f(torch.tensor([[0.0, 0.0, 5.0], [0.18, 0.1, 5.0]])),
        "means that are the same for all images": lambda f: f(torch.full((6, 3), 2.0)),
        "a variance of exactly the threshold": lambda f: f(torch.tensor([[0.0], [1.0]]), 0.5),
        "a single varying dimension, threshold 0": lambda f: f(torch.tensor([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]), 0.0),
    },
)
