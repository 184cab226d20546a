"""Exercise 06.1: Bits per dimension."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def bits_per_dimension(log_p, D, levels=256):
    """Bits per dimension of D pixels stored in `levels` values.

    log_p: a log density on [0, 1]^D, in nats per image.
    """
    return -log_p / (D * math.log(2)) + math.log2(levels)


def _bits_in_steps(log_p, D, levels=256):
    nats = -(torch.tensor(log_p, dtype=torch.float64) - D * math.log(levels))  # of an image of integers
    return nats / D / torch.tensor(2.0).log()


def _draw(g):
    D, levels = (int(torch.randint(low, high, (), generator=g)) for low, high in ((20, 900), (3, 300)))
    return 1000 * torch.randn((), generator=g).item(), D, levels


EXERCISE = Exercise(
    number="06.1",
    title="Bits per dimension",
    difficulty=1,
    minutes=5,
    task=r"""
Write (6.8): bits per dimension from the log density of dequantised pixels, in nats per image, for $N$ = `D` pixels
stored in `levels` values. A density that is 1 everywhere, $\log p = 0$, knows nothing: it needs all 8 bits of 256 levels. `levels`
need not be a power of two, and a density that is high enough needs fewer than 0 bits.""",
    inputs=_draw,
    solution=bits_per_dimension,
    explanation=r"""
A bin of width $1/256$ under a density of 1 has the probability $1/256$, that is 8 bits. A density above 1 needs fewer.
The sign turns a log-likelihood into a code length, $\log 2$ nats into bits, and $N$ = `D` spreads it over the pixels.""",
    hints=(
        "Start with the code length of the image in nats. Which sign has it?",
        "Divide by `D` and by $\\log 2$. What is added for the width of a bin?",
        "`-log_p / (D * math.log(2)) + math.log2(levels)`.",
    ),
    wrong=(
        Wrong(
            "the bins are forgotten",
            "The width of the bins is missing. A density of 1 would need 0 bits, and more likely pixels fewer than none.",
            lambda log_p, D, levels=256: -log_p / (D * math.log(2)),
        ),
        Wrong(
            "the wrong sign",
            "The log density enters with the wrong sign: a more probable image needs fewer bits.",
            lambda log_p, D, levels=256: log_p / (D * math.log(2)) + math.log2(levels),
        ),
        Wrong(
            "nats for bits",
            "These are nats per dimension. Divide by log 2.",
            lambda log_p, D, levels=256: -log_p / D + math.log(levels),
        ),
        Wrong(
            "always 8",
            "8 bits belong to 256 levels. Use the number of levels that is given.",
            lambda log_p, D, levels=256: -log_p / (D * math.log(2)) + 8,
        ),
        Wrong(
            "the bins once an image",
            "The bits of a bin are added once for the image and then spread. Every pixel has its own bin.",
            lambda log_p, D, levels=256: (-log_p / math.log(2) + math.log2(levels)) / D,
        ),
    ),
    right=(
        _bits_in_steps,
        lambda log_p, D, levels=256: (D * math.log(levels) - log_p) / D / math.log(2),
        lambda log_p, D, levels=256: np.log2(levels) - log_p * np.log2(np.e) / D,
    ),
    probes={
        "a density that knows nothing": lambda f: f(0.0, 784),
        "a very low density, 10 levels": lambda f: f(-500.0, 12, 10),
        "a very high density, 10 levels": lambda f: f(500.0, 12, 10),
    },
)
