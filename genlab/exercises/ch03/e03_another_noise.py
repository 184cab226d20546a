"""Exercise 03.3: Another kind of noise."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def mask_noise(x, u, p):
    """Set pixels of x to 0 with probability p, by uniform numbers u.

    Those with u < p are lost. Same shape.
    """
    return torch.where(u < p, torch.zeros_like(x), x)


def _mask_by_loop(x, u, p):
    kept = [
        0.0 if chance < p else value for value, chance in zip(x.flatten().tolist(), u.flatten().tolist(), strict=True)
    ]
    return torch.tensor(kept).view(x.shape)


def _mask_by_index(x, u, p):
    noisy = x.clone()
    noisy[u < p] = 0
    return noisy


def _images(g):
    shape = torch.randint(1, 5, (4,), generator=g).tolist()
    return (
        torch.randn(shape, generator=g),
        torch.rand(shape, generator=g),
        0.2 + 0.5 * torch.rand((), generator=g).item(),
    )


EXERCISE = Exercise(
    number="03.3",
    title="Another kind of noise",
    difficulty=1,
    minutes=5,
    task=r"""
The first denoising autoencoders lost pixels in place of adding noise (Vincent et al. 2008). Write that corruption of
images `x` of shape `(n, c, h, w)`: with probability `p` a value becomes 0, independently of all others, those of other
channels too. It is lost where its uniform number is below `p`: these numbers `u` are given, of the same shape. The values
that stay are *not* rescaled, as dropout would do, and `x` itself is left as it is.""",
    inputs=_images,
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
            "Whole images are lost, by one number each. Every value has its own.",
            lambda x, u, p: x * (u.flatten(1)[:, :1] >= p).view(-1, 1, 1, 1),
        ),
        Wrong(
            "one instead of zero",
            "Lost pixels become 1. They should become 0.",
            lambda x, u, p: torch.where(u < p, torch.ones_like(x), x),
        ),
        Wrong(
            "lost at p itself",
            "Values are lost where u equals p, too. With p = 0 nothing may be lost, and u can be 0.",
            lambda x, u, p: torch.where(u <= p, torch.zeros_like(x), x),
        ),
        Wrong(
            "all channels at once",
            "The first channel decides for all channels of a pixel. Every value has its own number.",
            lambda x, u, p: x * (u[:, :1] >= p),
        ),
    ),
    right=(
        _mask_by_loop,
        _mask_by_index,
        lambda x, u, p: x * (u >= p),
        lambda x, u, p: x.masked_fill(u < p, 0.0),
        lambda x, u, p: np.where(u.numpy() < p, 0, x.numpy()),
    ),
    probes={
        "nothing is lost with p = 0": lambda f: f(torch.ones(2, 1, 2, 3), torch.zeros(2, 1, 2, 3), 0.0),
        "all is lost where all numbers are below p": lambda f: f(
            torch.ones(1, 2, 1, 2), torch.full((1, 2, 1, 2), 0.9), 0.95
        ),
        "one value of one channel is lost": lambda f: f(
            torch.ones(1, 3, 1, 1), torch.tensor([0.9, 0.1, 0.9]).view(1, 3, 1, 1), 0.5
        ),
    },
)
