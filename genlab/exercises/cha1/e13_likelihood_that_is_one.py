"""Exercise A1.13: A likelihood that is one."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def binarise(x, u):
    """Dynamic binarisation: grey x in [0, 1] and uniform u in [0, 1).

    The same shape twice -> 0 or 1 with P(1) = x.
    """
    return (u < x).float()


def _binarise_in_numpy(x, u):
    return (u.numpy() < x.numpy()).astype(np.uint8)


def _binarise_by_loop(x, u):
    on = [1 if v < grey else 0 for v, grey in zip(u.flatten().tolist(), x.flatten().tolist(), strict=True)]
    return torch.tensor(on).reshape(x.shape)


def _grey(g):
    shape = ((4, 3), (7,), (2, 1, 3, 4))[int(torch.randint(3, (), generator=g))]
    return torch.rand(shape, generator=g), torch.rand(shape, generator=g)


def _share(f):
    x = torch.linspace(0, 1, 11).repeat(2000, 1)
    u = torch.rand(x.shape, generator=torch.Generator().manual_seed(5))
    return (f(x, u).mean(0) - x[0]).abs().max().item() < 0.04


EXERCISE = Exercise(
    number="A1.13",
    title="A likelihood that is one",
    difficulty=2,
    minutes=8,
    task=r"""
The article leaves the reconstruction loss undefined. Its sigmoid decoder suggests a binary cross-entropy on grey pixels,
and that is no density of them: $\int_0^1 \rho^x (1-\rho)^{1-x}\,\mathrm dx$ is not 1. One honest way out is to make the
pixels binary: draw each as 1 with probability equal to its grey value. Write it for given uniform numbers `u`, one for
each pixel. Small `u` switch pixels on: a pixel that is 1 at some `u` is 1 at every smaller one. A black pixel, $x = 0$,
must never be 1, and a white one, $x = 1$, must always be. Images have any shape.""",
    inputs=_grey,
    solution=binarise,
    explanation=r"""
$P(u < x) = x$ for uniform $u \in [0, 1)$. With the strict inequality a pixel of 0 is never on, even if $u = 0$, and a
pixel of 1 always is, since $u < 1$. The other honest ways are densities on $[0, 1]$: the continuous Bernoulli, a Gaussian
with a stated variance, a discretised logistic.""",
    hints=(
        "What is the probability that a uniform number lies below 0.3?",
        "Compare `u` with `x`, entry by entry, and turn the truth values into numbers.",
        "`(u < x).float()`: strictly smaller, so that 0 never becomes 1.",
    ),
    wrong=(
        Wrong(
            "a threshold",
            "This is a fixed threshold: grey values below one half never become 1. It is another data set.",
            lambda x, u: (x > 0.5).float(),
        ),
        Wrong(
            "the other way round",
            "The comparison is the wrong way round: this is a negative of the image.",
            lambda x, u: (u > x).float(),
        ),
        Wrong(
            "on at large u",
            "The probability is right, but large u switch the pixels on here. In the task small ones do.",
            lambda x, u: (u >= 1 - x).float(),
        ),
        Wrong(
            "drawn without u",
            "These pixels are drawn, but not by the numbers u that are given.",
            lambda x, u: torch.bernoulli(x),
        ),
        Wrong("grey as before", "The pixels are as grey as before.", lambda x, u: x + 0 * u),
        Wrong(
            "not strict",
            "With ≤ a black pixel can become 1, when u is exactly 0.",
            lambda x, u: (u <= x).float(),
        ),
    ),
    right=(
        lambda x, u: torch.where(u < x, torch.ones_like(x), torch.zeros_like(x)),
        lambda x, u: torch.heaviside(x - u, torch.zeros(())),
        _binarise_in_numpy,
        _binarise_by_loop,
    ),
    probes={
        "one pixel, at u below and above its grey value": lambda f: (
            f(torch.tensor([0.3]), torch.tensor([0.2])),
            f(torch.tensor([0.3]), torch.tensor([0.4])),
        ),
        "black pixels at u = 0": lambda f: f(torch.zeros(1, 3), torch.zeros(1, 3)),
        "white pixels at the largest u": lambda f: f(torch.ones(1, 3), torch.full((1, 3), 1 - 2**-24)),
        "whether the share of ones is the grey value": _share,
    },
)
