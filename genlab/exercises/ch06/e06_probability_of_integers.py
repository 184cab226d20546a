"""Exercise 06.6: A probability for every integer."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, mistake


def log_bin(x, mean, log_scale, levels=256):
    """log P of integers x in 0 … levels − 1 under a logistic on [0, 1]: same shape.

    The tails belong to the end bins.
    """
    x, mean, scale = x.double(), mean.double(), log_scale.double().exp()
    upper = torch.sigmoid(((x + 0.5) / (levels - 1) - mean) / scale)
    lower = torch.sigmoid(((x - 0.5) / (levels - 1) - mean) / scale)
    upper = torch.where(x == levels - 1, torch.ones_like(upper), upper)
    lower = torch.where(x == 0, torch.zeros_like(lower), lower)
    return torch.log((upper - lower).clamp(min=1e-12))


@mistake(
    "without the tails",
    "The mass below 0 and above 1 is lost: the probabilities do not sum to one. The end bins take the tails.",
)
def _bin_no_tails(x, mean, log_scale, levels=256):
    half, v = 0.5 / (levels - 1), x / (levels - 1)
    upper, lower = (torch.sigmoid((v + s * half - mean) / log_scale.exp()) for s in (1, -1))
    return (upper - lower).clamp(min=1e-12).log()


@mistake(
    "the scale squared",
    "The scale is squared: log_scale is the logarithm of s, not of half of it.",
)
def _bin_scale(x, mean, log_scale, levels=256):
    return log_bin(x, mean, 2 * log_scale, levels)


@mistake(
    "the density",
    "This is the log density at the middle of the bin. A probability of the whole bin was asked for.",
)
def _bin_density(x, mean, log_scale, levels=256):
    a = (x / (levels - 1) - mean) / log_scale.exp()
    return F.logsigmoid(a) + F.logsigmoid(-a) - log_scale


def _bin_by_differences(x, mean, log_scale, levels=256):
    edges = (torch.arange(levels - 1) + 0.5) / (levels - 1)
    inside = torch.sigmoid((edges - mean[..., None]) / log_scale.exp()[..., None])
    zero, one = torch.zeros_like(inside[..., :1]), torch.ones_like(inside[..., :1])
    masses = torch.diff(torch.cat([zero, inside, one], -1))
    return masses.gather(-1, x.long()[..., None]).squeeze(-1).clamp(min=1e-12).log()


def _bin_by_logarithms(x, mean, log_scale, levels=256):
    upper, lower = (((x + s) / (levels - 1) - mean) / log_scale.exp() for s in (0.5, -0.5))
    inner = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(lower - upper))
    inner = torch.where(x == 0, F.logsigmoid(upper), inner)
    return torch.where(x == levels - 1, F.logsigmoid(-lower), inner)


def _bin_by_numpy(x, mean, log_scale, levels=256):
    x, mean, scale = x.numpy(), mean.numpy(), np.exp(log_scale.numpy())
    upper, lower = (np.exp(-np.logaddexp(0, (mean - (x + s) / (levels - 1)) / scale)) for s in (0.5, -0.5))
    masses = np.where(x == levels - 1, 1, upper) - np.where(x == 0, 0, lower)
    return np.log(np.maximum(masses, 1e-12))


def _draw(g):
    rows, levels = (int(torch.randint(low, high, (), generator=g)) for low, high in ((1, 4), (5, 40)))
    x = torch.randint(0, levels, (rows, 4), generator=g).float()
    x[0] = torch.tensor([0.0, levels - 1.0, 1.0, levels - 2.0])
    return x, torch.rand(rows, 4, generator=g), -1.5 * torch.rand(rows, 4, generator=g), levels


@mistake(
    "bins twice as wide",
    "The bins are twice as wide as they should be, and they overlap.",
)
def _bin_wide(x, mean, log_scale, levels=256):
    half, v = 1.0 / (levels - 1), x / (levels - 1)
    upper, lower = (torch.sigmoid((v + s * half - mean) / log_scale.exp()) for s in (1, -1))
    upper = torch.where(x == levels - 1, torch.ones_like(upper), upper)
    lower = torch.where(x == 0, torch.zeros_like(lower), lower)
    return (upper - lower).clamp(min=1e-12).log()


def _all_bins(f):
    x = torch.arange(16.0)
    return f(x, torch.full_like(x, 0.1), torch.full_like(x, -1.5), 16).exp().sum()


def _far_below(f):
    x, log_scale = torch.tensor([4.0, 5.0, 6.0, 5.0]), torch.tensor([-3.3, -3.3, -3.3, -8.0])
    return f(x, torch.ones(4), log_scale, 16).clamp(min=math.log(1e-12))


EXERCISE = Exercise(
    number="06.6",
    title="A probability for every integer",
    difficulty=2,
    minutes=15,
    task=r"""
The logistic distribution has the distribution function $\operatorname{sigmoid}((v - m)/s)$. Give the integer
$x \in \{0, …, L-1\}$, as the grey value $v = x/(L-1)$, the mass between $v - \tfrac12\delta$ and $v + \tfrac12\delta$
with $\delta = 1/(L-1)$. The first bin takes all of the mass below, the last all above, so that the $L$ probabilities
sum to one. Return logarithms, entry by entry, for `x`, `mean` $= m$ and `log_scale` $= \log s$ of the same shape; `x`
holds integers as floats, `levels` is $L$. Masses below $10^{-12}$ may be clamped. Far above $m$ a difference of two
numbers near 1 loses its digits in float32; the check does not look there.""",
    inputs=_draw,
    solution=log_bin,
    explanation=r"""
Neighbouring bins share their edge, so the differences telescope, and with the two tails the sum is $1 - 0$. Far
above $m$ both values of the distribution function are near 1, so they are computed in float64, where their difference keeps its digits down
to $10^{-12}$. The package's version computes the logarithm of the difference without forming it, so that bins far out
in a tail keep their digits.""",
    hints=(
        "Two values of the distribution function, and their difference.",
        "The edges are half a step of $1/(L-1)$ away. Which edge has the first bin, and which the last?",
        "Put 1 for the upper value where `x == levels - 1` and 0 for the lower where `x == 0`, then subtract and take the log.",
    ),
    wrong=(
        _bin_no_tails,
        _bin_scale,
        _bin_density,
        _bin_wide,
    ),
    right=(_bin_by_differences, _bin_by_logarithms, _bin_by_numpy),
    probes={
        "the sum over all 16 integers": _all_bins,
        "two levels": lambda f: f(torch.tensor([0.0, 1.0]), torch.tensor([0.3, 0.3]), torch.tensor([-1.0, -0.5]), 2),
        "a wide and a narrow scale, with the default of 256 levels": lambda f: f(
            torch.tensor([[100.0], [102.0]]), torch.tensor([[0.4], [0.401]]), torch.tensor([[0.0], [-8.0]])
        ),
        "masses far below the mean, those under 1e-12 clamped": _far_below,
    },
    tolerance=1e-3,
)
