"""Exercise 02.7: All skin and no flesh."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math
from fractions import Fraction

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def log_shell_share(d, eps):
    """log of the share of a d-dimensional ball within eps of its surface.

    The radius is 1, and 0 < eps < 1.
    """
    return math.log(-math.expm1(d * math.log1p(-eps)))


def _by_fractions(d, eps):
    return math.log(1 - (1 - Fraction(eps)) ** d)


def _draw(g):
    return int(torch.randint(1, 60, (), generator=g)), 10 ** (-0.7 - 1.5 * torch.rand((), generator=g).item())


EXERCISE = Exercise(
    number="02.7",
    title="All skin and no flesh",
    difficulty=2,
    minutes=10,
    task=r"""
A ball of radius 1 in $d$ dimensions: which share of its volume lies within $\varepsilon$ of the surface? Volumes scale
with the $d$-th power of the radius. Write the natural *logarithm* of the share, for numbers `d` and `eps`, so that it is
right for $\varepsilon = 10^{-18}$ too, where $1 - \varepsilon$ rounds to 1. How thin a skin holds half of the volume in 784
dimensions?""",
    inputs=_draw,
    solution=log_shell_share,
    explanation=r"""
The inner ball has radius $1 - \varepsilon$ and the share $(1 - \varepsilon)^d = e^{d \log(1 - \varepsilon)}$. The skin has
the rest. `log1p` and `expm1` are $\log(1 + a)$ and $e^a - 1$ without the loss of digits for small $a$; for tiny
$\varepsilon$ the share is $d\,\varepsilon$. Half of the volume needs $(1 - \varepsilon)^{784} = \tfrac12$, a skin of
less than a thousandth of the radius.""",
    hints=(
        "What is left when the skin is peeled off is a ball of radius $1 - \\varepsilon$. What is its share?",
        "The share of the skin is $1 - (1 - \\varepsilon)^d$. Write the power as $e^{d \\log(1 - \\varepsilon)}$.",
        "`math.log1p(-eps)` is $\\log(1 - \\varepsilon)$ without rounding, and `-math.expm1(a)` is $1 - e^a$.",
    ),
    wrong=(
        Wrong(
            "the flesh",
            "This is the share of the inner ball, which is what remains. The skin has the rest, 1 minus that.",
            lambda d, eps: d * math.log1p(-eps),
        ),
        Wrong(
            "rounding",
            "Right for moderate eps. For 1e-18, 1 − eps rounds to 1, the share becomes 0, and its logarithm is an error: "
            "use log1p and expm1.",
            lambda d, eps: math.log(1 - (1 - eps) ** d),
        ),
        Wrong(
            "rounding, with numpy",
            "Right for moderate eps. For 1e-18, 1 − eps rounds to 1, the share becomes 0, and its logarithm −∞: use "
            "log1p and expm1.",
            lambda d, eps: np.log(1 - (1 - eps) ** d),
        ),
        Wrong(
            "rounding at the end",
            "(1 − eps)^d is right here, but it is so near to 1 that 1 minus it has lost its digits: use expm1.",
            lambda d, eps: math.log(1 - math.exp(d * math.log1p(-eps))),
        ),
        Wrong(
            "the first order",
            "This is d · eps, the share for tiny eps only: for large ones it exceeds 1.",
            lambda d, eps: math.log(d * eps),
        ),
        Wrong(
            "the power of eps",
            "This is 1 − eps^d: the inner ball has the radius 1 − eps, not eps.",
            lambda d, eps: math.log1p(-(eps**d)),
        ),
        Wrong(
            "the share itself",
            "This is the share. Its logarithm is asked.",
            lambda d, eps: -math.expm1(d * math.log1p(-eps)),
        ),
    ),
    right=(
        lambda d, eps: torch.log(-torch.expm1(d * torch.log1p(torch.tensor(-eps, dtype=torch.double)))),
        lambda d, eps: math.log(eps) + math.log(sum(math.exp(i * math.log1p(-eps)) for i in range(d))),
        lambda d, eps: np.log(-np.expm1(d * np.log1p(-eps))),
        _by_fractions,
    ),
    probes={
        "a skin of 1e-18 in 784 dimensions": lambda f: f(784, 1e-18),
        "a skin of 1e-16 in 784 dimensions": lambda f: f(784, 1e-16),
        "a skin of 1e-17 in one dimension": lambda f: f(1, 1e-17),
        "a skin of 2e-5 in 784 dimensions": lambda f: f(784, 2e-5),
        "a skin of 0.0009 in 784 dimensions": lambda f: f(784, 0.0009),
        "a skin of one half in one dimension": lambda f: f(1, 0.5),
        "a skin of a hundredth in 784 dimensions": lambda f: f(784, 0.01),
    },
)
