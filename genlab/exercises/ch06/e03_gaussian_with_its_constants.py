"""Exercise 06.3: A Gaussian with its constants."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong, mistake


def gaussian_nll(x, mean, sigma):
    """−log N(x; mean, σ² I) with all of its constants, per example: (n, …) -> (n,)."""
    square = ((x - mean) ** 2 / sigma**2).flatten(1).sum(1)
    return 0.5 * square + x[0].numel() * (math.log(sigma) + 0.5 * math.log(2 * math.pi))


def _nll_by_distributions(x, mean, sigma):
    return -torch.distributions.Normal(mean, sigma).log_prob(x).flatten(1).sum(1)


def _nll_by_numpy(x, mean, sigma):
    x, mean = x.numpy(), mean.numpy()
    return (0.5 * ((x - mean) / sigma) ** 2 + np.log(sigma * np.sqrt(2 * np.pi))).reshape(len(x), -1).sum(1)


def _nll_by_loops(x, mean, sigma):
    rows = []
    for a, b in zip(x.flatten(1).tolist(), mean.flatten(1).tolist(), strict=True):
        rows.append(sum((p - q) ** 2 / (2 * sigma**2) + math.log(sigma) for p, q in zip(a, b, strict=True)))
        rows[-1] += len(a) / 2 * math.log(2 * math.pi)
    return rows


def _nll_by_torch(x, mean, sigma):
    variance = torch.full_like(x, sigma**2)
    return F.gaussian_nll_loss(mean, x, variance, full=True, reduction="none").flatten(1).sum(1)


def _draw(g):
    n, rank = (int(torch.randint(low, low + 3, (), generator=g)) for low in (3, 1))
    shape = (n, *torch.randint(1, 4, (rank,), generator=g).tolist(), 2)
    sigma = 10 ** (1.5 * torch.rand((), generator=g).item() - 1)
    return torch.rand(shape, generator=g), torch.rand(shape, generator=g), sigma


@mistake(
    "without log sigma",
    "The term log σ is missing: then a larger σ always looks better.",
)
def _nll_no_log_sigma(x, mean, sigma):
    return 0.5 * ((x - mean) ** 2 / sigma**2).flatten(1).sum(1) + x[0].numel() * 0.5 * math.log(2 * math.pi)


@mistake(
    "only the square",
    "Both constants are missing: N log σ and N/2 log 2π.",
)
def _nll_only_square(x, mean, sigma):
    return 0.5 * ((x - mean) ** 2 / sigma**2).flatten(1).sum(1)


@mistake(
    "the constants once",
    "The constants stand here once. Every pixel has them.",
)
def _nll_constant_once(x, mean, sigma):
    return 0.5 * ((x - mean) ** 2 / sigma**2).flatten(1).sum(1) + math.log(sigma) + 0.5 * math.log(2 * math.pi)


@mistake(
    "without 2π",
    "The constant ½ log 2π of every pixel is missing. F.gaussian_nll_loss leaves it out, unless it is told full=True.",
)
def _nll_no_pi(x, mean, sigma):
    return 0.5 * ((x - mean) ** 2 / sigma**2).flatten(1).sum(1) + x[0].numel() * math.log(sigma)


@mistake(
    "the log of the density",
    "For moderate errors this is right, but at 100 σ the density is 0 in floating point, and its logarithm infinite. "
    "Write the logarithm out, and form no density.",
)
def _nll_of_density(x, mean, sigma):
    density = torch.exp(-0.5 * ((x - mean) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
    return -density.log().flatten(1).sum(1)


EXERCISE = Exercise(
    number="06.3",
    title="A Gaussian with its constants",
    difficulty=2,
    minutes=8,
    task=r"""
Write minus the log density (6.3) with *all* of its constants, one value per image, for a number `sigma`: `x` and `mean`
have the same shape `(n, …)`, with one or more dimensions after the first, and the result has shape `(n,)`. An error of
100 $\sigma$ costs 5,000 nats and its constants, and not infinitely many. Without the constants the loss trains as well,
but numbers for different $\sigma$ cannot be compared, and a learned $\sigma$ would run away.""",
    inputs=_draw,
    solution=gaussian_nll,
    explanation=r"""
Every pixel has its own $\log\sigma + \tfrac12\log 2\pi$, so the constants come $N$ times. Without $\log\sigma$ the loss
falls without end as $\sigma$ grows: nothing would charge for being vague.""",
    hints=(
        "There are three terms. Two of them do not depend on the error; how often does each occur?",
        "The number of pixels of an image is `x[0].numel()`.",
        "Half of the sum of squares over $\\sigma^2$, plus `x[0].numel() * (math.log(sigma) + 0.5 * math.log(2 * math.pi))`.",
    ),
    wrong=(
        _nll_no_log_sigma,
        _nll_only_square,
        _nll_constant_once,
        _nll_no_pi,
        _nll_of_density,
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
    right=(_nll_by_distributions, _nll_by_numpy, _nll_by_loops, _nll_by_torch),
    probes={
        "one image of one pixel": lambda f: f(torch.tensor([[0.7]]), torch.tensor([[0.2]]), 0.5),
        "an error of 100 σ, σ = 0.01": lambda f: f(torch.tensor([[1.0, 0.5]]), torch.tensor([[0.0, 0.5]]), 0.01),
    },
)
