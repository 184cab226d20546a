"""Exercise 08.5: A conjugate by hand."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def pearson_conjugate(t):
    """f*(t) = sup over u ≥ 0 of (ut − (u − 1)²), elementwise."""
    u = (1 + t / 2).clamp(min=0)
    return u * t - (u - 1) ** 2


def _pearson_cases(t):
    return torch.where(t >= -2, t + t**2 / 4, torch.full_like(t, -1.0))


def _pearson_by_loop(t):
    rows = [v + v * v / 4 if v > -2 else 0 * v - 1 for v in t.flatten()]
    return torch.stack(rows).view(t.shape)


def _pearson_by_numpy(t):
    u = np.maximum(1 + t.numpy() / 2, 0)
    return u * t.numpy() - (u - 1) ** 2


def _slopes(g):
    n = int(torch.randint(1, 8, (), generator=g))
    shape = (n,) if torch.rand((), generator=g) < 0.5 else (n, 3)
    return (4 * torch.randn(shape, generator=g),)


EXERCISE = Exercise(
    number="08.5",
    title="A conjugate by hand",
    difficulty=2,
    minutes=12,
    task=r"""
Work out the convex conjugate (8.10) of Pearson's $f(u) = (u - 1)^2$ for *every* real $t$, and write it for a tensor of
any shape: the result has the same shape. A density ratio is never negative, so the supremum is over $u \ge 0$. Which
$u$ is best at slope $t$, and what if that $u$ were negative? At $t = 0$ the result is 0, and $f^*$ is convex and never
below $-1$. Its derivative is the best $u$.""",
    inputs=_slopes,
    solution=pearson_conjugate,
    explanation=r"""
$ut - (u-1)^2$ is a parabola in $u$ with its top at $u = 1 + t/2$. There it has the value $t + t^2/4$. For $t < -2$ that
top lies at a negative $u$, and the best that is allowed is $u = 0$, with the value $-1$. The formula without this case
still gives a valid lower bound in (8.11), but not the tightest one: $t + t^2/4$ rises again to the left of $-2$.""",
    hints=(
        "Fix $t$, and set the derivative of $ut - (u-1)^2$ by $u$ to zero.",
        "The best $u$ is $1 + t/2$, as long as that is not negative. Where it would be, the nearest allowed $u$ is best.",
        "`u = (1 + t / 2).clamp(min=0)`; put it into `u * t - (u - 1) ** 2`.",
    ),
    wrong=(
        Wrong(
            "the edge is forgotten",
            "Right for t ≥ −2. Further left the best u would be negative, but a density ratio is not: u = 0 gives −1.",
            lambda t: t + t**2 / 4,
        ),
        Wrong(
            "the conjugate of u²",
            "This is the conjugate of u². Here f is (u − 1)², shifted by one, which adds t and moves the edge to −2.",
            lambda t: t.clamp(min=0) ** 2 / 4,
        ),
        Wrong(
            "the best u",
            "This is the best u, the place of the maximum. The conjugate is the value there.",
            lambda t: (1 + t / 2).clamp(min=0),
        ),
        Wrong(
            "the wrong sign",
            "The sign is wrong: this is the infimum of f(u) − ut.",
            lambda t: -pearson_conjugate(t),
        ),
        Wrong(
            "the slope without its half",
            "The top of the parabola is at u = 1 + t/2: the derivative of (u − 1)² is 2 (u − 1).",
            lambda t: (1 + t).clamp(min=0) * t - t.clamp(min=-1) ** 2,
        ),
        Wrong(
            "cut off at zero",
            "A conjugate may be negative: between −2 and 0 it is t + t²/4, down to −1.",
            lambda t: (t + t**2 / 4).clamp(min=0),
        ),
    ),
    right=(_pearson_cases, _pearson_by_loop, _pearson_by_numpy, lambda t: (t.double().clamp(min=-2) / 2 + 1) ** 2 - 1),
    probes={
        "the conjugate at t = −2 and at 0": lambda f: f(torch.tensor([-2.0, 0.0])),
        "the conjugate at t = −10": lambda f: f(torch.tensor([-10.0])),
        "the conjugate at t = −3 and at t = 3": lambda f: f(torch.tensor([-3.0, 3.0])),
        "the conjugate of a matrix": lambda f: f(torch.tensor([[-30.0, 1.0, 0.5], [2.0, -1.5, 100.0]])),
    },
)
