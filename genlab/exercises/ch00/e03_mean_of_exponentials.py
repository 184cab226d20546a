"""Exercise 00.3: A mean of exponentials."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch
from scipy import special

from genlab.exercises import Exercise, Wrong


def logmeanexp(a, dim):
    """log (1/k) Σ exp(a) along a dimension of length k."""
    return torch.logsumexp(a, dim) - math.log(a.shape[dim])


def _logmeanexp_by_hand(a, dim):
    top = a.amax(dim, keepdim=True)
    return (top + (a - top).exp().mean(dim, keepdim=True).log()).squeeze(dim)


def _logmeanexp_by_numpy(a, dim):
    a = np.asarray(a)
    return special.logsumexp(a, axis=dim, b=1 / a.shape[dim])


def _logmeanexp_by_rows(a, dim):
    rows = a.movedim(dim, -1)
    found = [
        max(r) + math.log(sum(math.exp(v - max(r)) for v in r) / len(r))
        for r in rows.reshape(-1, a.shape[dim]).tolist()
    ]
    return torch.tensor(found).view(rows.shape[:-1])


def _draw(g):
    shape = torch.randint(1, 5, (3,), generator=g).tolist()
    return torch.randn(shape, generator=g), int(torch.randint(-3, 3, (), generator=g))


_FAR = torch.tensor([[1000.0, -1000.0, 0.0], [-1000.0, -1001.0, -1002.0], [-2.0, 1000.0, 3.0]])

EXERCISE = Exercise(
    number="00.3",
    title="A mean of exponentials",
    difficulty=2,
    minutes=8,
    task=r"""
Write $\log \frac1k \sum_i e^{a_i}$ along dimension `dim`, of length $k$, so that it is right for $a_i = \pm 1000$ as well,
also if both occur in one tensor. `a` has one dimension or more, and `dim` may be negative, as in `torch.sum`; the result
lacks that dimension. For a constant $a$ the answer is $a$.""",
    inputs=_draw,
    solution=logmeanexp,
    explanation=r"""
`logsumexp` subtracts the largest entry before it takes exponentials and adds it afterwards, so nothing overflows. The
mean in place of the sum subtracts $\log k$.""",
    hints=(
        "What is $e^{1000}$ in floating point? Some entry has to be taken out first.",
        "`torch.logsumexp` does that for the sum. How does $\\log\\frac1k\\sum$ differ from $\\log\\sum$?",
        "`torch.logsumexp(a, dim)` minus the logarithm of `a.shape[dim]`.",
    ),
    wrong=(
        Wrong(
            "the exponential first",
            "For moderate numbers this is right. exp(1000) is infinite and exp(-1000) is 0: take the largest entry out first.",
            lambda a, dim: a.exp().mean(dim).log(),
        ),
        Wrong(
            "the sum, not the mean",
            "This is the logarithm of the sum. The mean subtracts log k.",
            lambda a, dim: torch.logsumexp(a, dim),
        ),
        Wrong(
            "the mean of a",
            "This is the mean of a. By Jensen it lies below: the logarithm and the mean do not swap.",
            lambda a, dim: a.mean(dim),
        ),
        Wrong(
            "always the first dimension",
            "The reduction always runs along dimension 0. Use dim.",
            lambda a, dim: torch.logsumexp(a, 0) - math.log(len(a)),
        ),
        Wrong(
            "one maximum for all",
            "The largest entry of the whole tensor is taken out. Beside a row of 1000 the exponentials of a row of −1000 "
            "are then all 0. Each row needs its own: a.amax(dim, keepdim=True).",
            lambda a, dim: a.max() + (a - a.max()).exp().mean(dim).log(),
        ),
        Wrong(
            "log of the wrong length",
            "The logarithm of the number of all entries is subtracted. It has to be the length of the reduced dimension.",
            lambda a, dim: torch.logsumexp(a, dim) - math.log(a.numel()),
        ),
    ),
    right=(_logmeanexp_by_hand, _logmeanexp_by_numpy, _logmeanexp_by_rows),
    probes={
        "entries of 1000": lambda f: f(torch.full((3, 2), 1000.0), 0),
        "entries of -1000": lambda f: f(torch.full((3, 2), -1000.0), 1),
        "1000 and -1000 in different rows": lambda f: f(_FAR, 1),
        "1000 and -1000 in different columns": lambda f: f(_FAR.T, 0),
        "a tensor with one dimension": lambda f: f(torch.tensor([1.0, -2.0, 0.5]), 0),
        "the last dimension, dim=-1": lambda f: f(torch.tensor([[0.0, 1.0, 2.0]]), -1),
        "the last but one, dim=-2": lambda f: f(torch.tensor([[0.0, 1.0, 2.0], [3.0, -1.0, 0.0]]), -2),
        "the first dimension": lambda f: f(torch.tensor([[0.0, 1.0], [2.0, 3.0], [1.0, 5.0]]), 0),
    },
)
