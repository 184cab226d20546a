"""Exercise 07.2: Free bits."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def free_bits_cost(kl, minimum):
    """Σ_j max(minimum, mean over the batch of kl[:, j]): (n, d) -> one number."""
    return kl.mean(0).clamp(min=minimum).sum()


def _free_by_loops(kl, minimum):
    total = 0.0
    for j in range(kl.shape[1]):
        mean = sum(kl[i, j] for i in range(len(kl))) / len(kl)
        total = total + torch.maximum(mean, torch.tensor(minimum, dtype=kl.dtype))
    return total


def _free_by_where(kl, minimum):
    mean = torch.einsum("nd->d", kl) / len(kl)
    return torch.where(mean > minimum, mean, torch.full_like(mean, minimum)).sum()


def _draw(g):
    n, d = (int(torch.randint(low, low + 3, (), generator=g)) for low in (5, 2))
    kl = torch.rand(n, d, generator=g) * torch.tensor([0.1, 3.0, 1.6, 1.0])[:d]
    return kl, 0.3 + 0.3 * torch.rand((), generator=g).item()


EXERCISE = Exercise(
    number="07.2",
    title="Free bits",
    difficulty=1,
    minutes=10,
    task=r"""
Write (7.5) for a matrix of KL terms `kl` of shape `(n, d)`. With `minimum = 0` it is the mean KL of the batch. If all
dimensions are below the minimum it is `d * minimum`, and its gradient is zero. A dimension above the minimum on average
is charged in full, also for those examples of which it is below. The result is one number, and its gradient in
`kl` is compared as well: stay with torch.""",
    inputs=_draw,
    solution=free_bits_cost,
    explanation=r"""
The order is: mean over the batch, maximum, sum over dimensions. With the maximum outside the sum, one dimension could
use up the allowance of all. With the maximum inside the mean, every single example would have to stay below.""",
    hints=(
        "Three operations: a mean over examples, a maximum, a sum over dimensions. In which order?",
        "The mean over the batch comes first and leaves `d` numbers.",
        "`kl.mean(0)` has shape `(d,)`; clamp it from below and sum.",
    ),
    wrong=(
        Wrong(
            "maximum for each example",
            "The maximum is taken for every example. Average over the batch first, then take the maximum.",
            lambda kl, minimum: kl.clamp(min=minimum).mean(0).sum(),
        ),
        Wrong(
            "one allowance for all dimensions",
            "The allowance is given once, to the whole vector: a single dimension can use it up. "
            "Each dimension has its own.",
            lambda kl, minimum: kl.mean(0).sum().clamp(min=minimum),
        ),
        Wrong(
            "minimum for maximum",
            "This charges at most the minimum, so dimensions above it have no gradient: the other way round.",
            lambda kl, minimum: kl.mean(0).clamp(max=minimum).sum(),
        ),
        Wrong(
            "the free part is subtracted",
            "This subtracts the free part. Its gradient is right, but the value is lower by d times the minimum.",
            lambda kl, minimum: (kl.mean(0) - minimum).clamp(min=0).sum(),
        ),
        Wrong(
            "mean over dimensions",
            "The dimensions are averaged. Independent dimensions add up: take the sum.",
            lambda kl, minimum: kl.mean(0).clamp(min=minimum).mean(),
        ),
        Wrong(
            "nothing is free",
            "This is the plain KL: the minimum is not used.",
            lambda kl, minimum: kl.mean(0).sum(),
        ),
    ),
    right=(
        _free_by_loops,
        _free_by_where,
        lambda kl, minimum: F.relu(kl.mean(0) - minimum).sum() + minimum * kl.shape[1],
    ),
    probes={
        "all dimensions below the minimum": lambda f: f(torch.full((3, 4), 0.1), 0.5),
        "nothing free, minimum = 0": lambda f: f(torch.tensor([[0.002, 0.4, 50.0], [0.004, 0.0, 70.0]]), 0.0),
        "one example": lambda f: f(torch.tensor([[0.1, 2.0, 0.7]]), 0.5),
        "one dimension": lambda f: f(torch.tensor([[0.1], [2.0], [0.7]]), 1.5),
    },
    gradient=("kl",),
)
