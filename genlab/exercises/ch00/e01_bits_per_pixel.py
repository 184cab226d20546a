"""Exercise 00.1: Bits per pixel."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def bits_per_pixel(log_p, pixels):
    """Mean log-likelihood in nats per image -> bits per pixel."""
    return -log_p / math.log(2) / pixels


EXERCISE = Exercise(
    number="00.1",
    title="Bits per pixel",
    difficulty=1,
    minutes=3,
    task=r"""
Write a function that turns a mean log-likelihood in nats per image into bits per pixel. For $\log p = -784 \log 2$ and
784 pixels the answer is 1. A density may exceed one: then $\log p$ is positive, and the answer negative.""",
    inputs=lambda g: (-200 - 1000 * torch.rand((), generator=g).item(), int(torch.randint(1, 1000, (), generator=g))),
    solution=bits_per_pixel,
    explanation=r"""
$-\log p$ is the length of the best code in nats. One bit is $\log 2$ nats, so dividing by $\log 2$ gives bits, and
dividing by the number of pixels spreads them over the image.""",
    hints=(
        "A code is longer the less probable the image is. Which sign does that give?",
        "A nat is more than a bit: one bit is $\\log 2 \\approx 0.69$ nats. Divide by it.",
        "Take minus `log_p`, divide by `math.log(2)`, and by `pixels`.",
    ),
    wrong=(
        Wrong(
            "the sign",
            "The sign is missing: a log-likelihood is negative here, and the length of a code is positive.",
            lambda log_p, pixels: log_p / math.log(2) / pixels,
        ),
        Wrong(
            "the absolute value",
            "Right for a negative log-likelihood, but that of a density may be positive, and then the bits are negative. "
            "Take minus log_p, not its absolute value.",
            lambda log_p, pixels: abs(log_p) / math.log(2) / pixels,
        ),
        Wrong(
            "multiplied by log 2",
            "This multiplies by log 2. One bit is log 2 nats, so the number of bits is larger than the number of nats.",
            lambda log_p, pixels: -log_p * math.log(2) / pixels,
        ),
        Wrong(
            "nats per pixel",
            "These are nats per pixel. Divide by log 2 to get bits.",
            lambda log_p, pixels: -log_p / pixels,
        ),
        Wrong(
            "bits per image",
            "These are bits per image. Divide by the number of pixels.",
            lambda log_p, pixels: -log_p / math.log(2),
        ),
    ),
    right=(
        lambda log_p, pixels: -log_p * math.log2(math.e) / pixels,
        lambda log_p, pixels: np.float64(-log_p) / (pixels * np.log(2)),
        lambda log_p, pixels: torch.tensor(-log_p / pixels) / torch.tensor(2.0).log(),
    ),
    probes={
        "blind coding of 784 pixels": lambda f: f(-784 * math.log(2), 784),
        "a positive log-likelihood, as densities may have": lambda f: f(300.0, 64),
    },
)
