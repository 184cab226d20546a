"""Exercise 09.9: One-sided label smoothing."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import torch
from scipy.optimize import minimize_scalar

from genlab.exercises import Exercise, Wrong


def smoothed_d(p, q, s):
    """The best D for real targets 1 − s: densities (n,) twice and a number -> (n,)."""
    return (1 - s) * p / (p + q)


def _smoothed_by_search(p, q, s):
    def best(a, b):
        loss = lambda D: -a * ((1 - s) * math.log(D) + s * math.log(1 - D)) - b * math.log(1 - D)  # noqa: E731
        return minimize_scalar(loss, bounds=(1e-12, 1 - 1e-12), method="bounded", options={"xatol": 1e-9}).x

    return [best(a, b) for a, b in zip(p.tolist(), q.tolist(), strict=True)]


def _densities(g):
    n = int(torch.randint(1, 8, (), generator=g))
    return *(torch.rand(2, n, generator=g) + 0.1), float(0.9 * torch.rand((), generator=g))


EXERCISE = Exercise(
    number="09.9",
    title="One-sided label smoothing",
    difficulty=2,
    minutes=12,
    task=r"""
Salimans and others (2016) train D with the target $1 - s$ on real images, and 0 on generated ones as before. At one $x$
the loss is then $-p\,[(1-s)\log D + s \log(1-D)] - q \log(1-D)$. Find the best D as we found (9.2). For $s = 0$ it is
(9.2). Where no generated image ever falls it is $1 - s$, so D is never quite sure. `p` and `q` hold the densities at
$n$ points; one of the two may be 0, and $0 \le s < 1$.""",
    inputs=_densities,
    solution=smoothed_d,
    explanation=r"""
Collect the terms: $-a \log D - b \log(1-D)$ with $a = (1-s)\,p$ and $b = s\,p + q$. As in (9.2) the best D is
$a/(a+b) = (1-s)\,p/(p+q)$. Were the generated target smoothed as well, the numerator would be $(1-s)\,p + s'q$: where
$p$ is nearly 0 and $q$ is not, D would then reward G for samples that are far from all data.""",
    hints=(
        "Collect what multiplies $\\log D$ and what multiplies $\\log(1-D)$; then use the maximum of $a \\log y + b\\log(1-y)$.",
        "$a = (1-s)p$ and $b = sp + q$. What is $a + b$?",
        "$a + b = p + q$, so the answer is `(1 - s) * p / (p + q)`.",
    ),
    wrong=(
        Wrong(
            "smoothing has no effect",
            "This is (9.2), without smoothing: s is not used.",
            lambda p, q, s: p / (p + q),
        ),
        Wrong(
            "the s p term is lost",
            "The term s log(1 − D) on real images is lost: it belongs to b, so that a + b = p + q.",
            lambda p, q, s: (1 - s) * p / ((1 - s) * p + q),
        ),
        Wrong(
            "both sides smoothed",
            "Here the generated target is smoothed too. Only the real target is 1 − s.",
            lambda p, q, s: ((1 - s) * p + s * q) / (p + q),
        ),
        Wrong(
            "s and 1 − s swapped",
            "s and 1 − s are swapped: the real target is 1 − s.",
            lambda p, q, s: s * p / (p + q),
        ),
        Wrong(
            "the generated side smoothed",
            "This smooths the generated target in place of the real one.",
            lambda p, q, s: (p + s * q) / (p + q),
        ),
    ),
    right=(
        _smoothed_by_search,
        lambda p, q, s: ((1 - s) * p) / ((1 - s) * p + s * p + q),
        lambda p, q, s: (1 - s) * p.numpy() / (p.numpy() + q.numpy()),
        lambda p, q, s: [(1 - s) * a / (a + b) for a, b in zip(p.tolist(), q.tolist(), strict=True)],
        lambda p, q, s: torch.sigmoid(((1 - s) * p.double()).log() - (s * p + q).double().log()),
    ),
    probes={
        "no smoothing, s = 0": lambda f: f(torch.tensor([1.0, 3.0]), torch.tensor([3.0, 1.0]), 0.0),
        "where no generated image falls, q = 0": lambda f: f(torch.tensor([1.0]), torch.tensor([0.0]), 0.1),
        "where no real image falls, p = 0": lambda f: f(torch.tensor([0.0]), torch.tensor([2.0]), 0.1),
    },
)
