"""Exercise 06.3: A Gaussian with its constants."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import torch

from genlab.exercises import Exercise, Wrong, mistake


def gaussian_nll(x, mean, sigma):
    """−log N(x; mean, σ² I) with all of its constants, per example: (n, …) -> (n,)."""
    square = ((x - mean) ** 2 / sigma**2).flatten(1).sum(1)
    return 0.5 * square + x[0].numel() * (math.log(sigma) + 0.5 * math.log(2 * math.pi))


def _nll_by_distributions(x, mean, sigma):
    return -torch.distributions.Normal(mean, sigma).log_prob(x).flatten(1).sum(1)


@mistake(
    "without log sigma",
    "The term log σ is missing: then a larger σ always looks better.",
)
def _nll_no_log_sigma(x, mean, sigma):
    return 0.5 * ((x - mean) ** 2 / sigma**2).flatten(1).sum(1) + x[0].numel() * 0.5 * math.log(2 * math.pi)


@mistake(
    "only the square",
    "Both constants are missing: D log σ and D/2 log 2π.",
)
def _nll_only_square(x, mean, sigma):
    return 0.5 * ((x - mean) ** 2 / sigma**2).flatten(1).sum(1)


@mistake(
    "the constants once",
    "The constants stand here once. Every pixel has them.",
)
def _nll_constant_once(x, mean, sigma):
    return 0.5 * ((x - mean) ** 2 / sigma**2).flatten(1).sum(1) + math.log(sigma) + 0.5 * math.log(2 * math.pi)


EXERCISE = Exercise(
    number="06.3",
    title="A Gaussian with its constants",
    difficulty=2,
    minutes=8,
    task=r"""
Write minus the log density (6.3) with *all* of its constants, one value per image, for a number `sigma`. Without the constants
the loss trains as well, but numbers for different $\sigma$ cannot be compared, and a learned $\sigma$ would run away.""",
    inputs=lambda g: (
        torch.rand(4, 1, 3, 2, generator=g),
        torch.rand(4, 1, 3, 2, generator=g),
        0.2 + torch.rand((), generator=g).item(),
    ),
    solution=gaussian_nll,
    explanation=r"""
Every pixel has its own $\log\sigma + \tfrac12\log 2\pi$, so the constants come $D$ times. Without $\log\sigma$ the loss falls
without end as $\sigma$ grows: nothing would charge for being vague.""",
    hints=(
        "There are three terms. Two of them do not depend on the error; how often does each occur?",
        "The number of pixels of an image is `x[0].numel()`.",
        "Half of the sum of squares over $\\sigma^2$, plus `x[0].numel() * (math.log(sigma) + 0.5 * math.log(2 * math.pi))`.",
    ),
    wrong=(
        _nll_no_log_sigma,
        _nll_only_square,
        _nll_constant_once,
        Wrong(
            "the wrong sign",
            "This is the log density. Minus it was asked for.",
            lambda x, mean, sigma: -gaussian_nll(x, mean, sigma),
        ),
        Wrong(
            "the mean over pixels",
            "This is per pixel. The ELBO is per image: sum.",
            lambda x, mean, sigma: gaussian_nll(x, mean, sigma) / x[0].numel(),
        ),
    ),
    right=(_nll_by_distributions,),
    gradient=True,
)
