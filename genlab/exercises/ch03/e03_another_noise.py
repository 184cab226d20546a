"""Exercise 03.3: Another kind of noise."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch

from genlab.exercises import Exercise, Wrong


def mask_noise(x, u, p):
    """Set pixels of x to 0 with probability p, by uniform numbers u: those with u < p are lost. Same shape."""
    return torch.where(u < p, torch.zeros_like(x), x)


EXERCISE = Exercise(
    number="03.3",
    title="Another kind of noise",
    difficulty=1,
    minutes=5,
    task=r"""
The first denoising autoencoders lost pixels in place of adding noise (Vincent et al. 2008). Write that corruption: with
probability `p` a pixel becomes 0, independently of all others, by given uniform numbers `u` of the same shape. The pixels
that stay are *not* rescaled, as dropout would do.""",
    inputs=lambda g: (0.2 + torch.rand(3, 1, 4, 2, generator=g), torch.rand(3, 1, 4, 2, generator=g), 0.4),
    solution=mask_noise,
    explanation=r"""
$P(u < p) = p$ for uniform $u$. Dropout divides what stays by $1 - p$, so that sums keep their expectation inside of a
network; a corruption has no such duty, and a rescaled image would tell the network how much is missing.""",
    hints=(
        "For uniform numbers, which event has probability p?",
        "A pixel is lost where `u < p`. Choose entry by entry between 0 and `x`.",
        "`torch.where(u < p, torch.zeros_like(x), x)`.",
    ),
    wrong=(
        Wrong(
            "kept with probability p",
            "The pixels are kept with probability p. They should be lost with probability p.",
            lambda x, u, p: torch.where(u < p, x, torch.zeros_like(x)),
        ),
        Wrong(
            "rescaled",
            "What stays is divided by 1 − p. That is dropout; this corruption leaves it as it is.",
            lambda x, u, p: x * (u >= p) / (1 - p),
        ),
        Wrong(
            "whole images",
            "Whole images are lost. Every pixel decides for itself.",
            lambda x, u, p: x * (u.flatten(1)[:, :1] >= p).view(-1, 1, 1, 1),
        ),
        Wrong(
            "one instead of zero",
            "Lost pixels become 1. They should become 0.",
            lambda x, u, p: torch.where(u < p, torch.ones_like(x), x),
        ),
    ),
    right=(lambda x, u, p: x * (u >= p), lambda x, u, p: x.masked_fill(u < p, 0.0)),
    probes={
        "nothing is lost with p = 0": lambda f: f(torch.ones(2, 2), torch.zeros(2, 2), 0.0),
        "all is lost with p = 1": lambda f: f(torch.ones(2, 2), torch.full((2, 2), 0.999), 1.0),
    },
)
