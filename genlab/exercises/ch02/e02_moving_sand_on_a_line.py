"""Exercise 02.2: Moving sand on a line."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

from itertools import pairwise

import numpy as np
import torch
from scipy import optimize, stats

from genlab.exercises import Exercise, Wrong


def wasserstein1(x, y):
    """W₁ of two samples of the same size on a line: (n,), (n,) -> ()."""
    return (x.sort().values - y.sort().values).abs().mean()


def _w1_by_areas(x, y):
    places = torch.cat([x, y]).sort().values
    total = 0.0
    for low, high in pairwise(places):
        total = total + (high - low) * ((x <= low).double().mean() - (y <= low).double().mean()).abs()
    return total


def _w1_by_ranks(x, y):
    return torch.stack([(x[i] - y[j]).abs() for i, j in zip(x.argsort(), y.argsort(), strict=True)]).mean()


def _w1_by_couplings(x, y):
    costs = np.abs(x.numpy()[:, None] - y.numpy())
    return costs[optimize.linear_sum_assignment(costs)].mean()


def _w1_by_lists(x, y):
    return sum(abs(a - b) for a, b in zip(sorted(x.tolist()), sorted(y.tolist()), strict=True)) / len(x)


def _draw(g):
    n = int(torch.randint(2, 12, (), generator=g))
    return torch.randn(n, generator=g), 1 + 2 * torch.randn(n, generator=g)


EXERCISE = Exercise(
    number="02.2",
    title="Moving sand on a line",
    difficulty=1,
    minutes=5,
    task=r"""
Write $W_1$, one number, of two samples of equal size in one dimension, by the quantile coupling (2.17). It does not depend on the
order of either sample. If `y` is `x` moved by 3, the result is 3. If `y` is `2 * x`, the result is the mean of $|x|$.""",
    inputs=_draw,
    solution=wasserstein1,
    explanation=r"""
The $i$-th smallest of `x` is the quantile of $x$ at $(i - \tfrac12)/n$, and the optimal coupling sends it to the same
quantile of $y$. So sort both and average the distances. In more than one dimension there is no sorting, and the best
coupling has to be searched for.""",
    hints=(
        "Which grain of `x` should go to the smallest grain of `y`, so that no two paths cross?",
        "Sort both samples. The grain of rank $i$ goes to the place of rank $i$.",
        "`x.sort().values` is sorted; take the difference to the sorted `y`, its absolute value, and the mean.",
    ),
    wrong=(
        Wrong(
            "without sorting",
            "Points are paired in the order in which they came. Another order would give another result: sort first.",
            lambda x, y: (x - y).abs().mean(),
        ),
        Wrong(
            "the difference of means",
            "This is the difference of the means. It is 0 for a narrow and a wide sample around the same point.",
            lambda x, y: (x.mean() - y.mean()).abs(),
        ),
        Wrong(
            "the sum",
            "This is the sum, which grows with the sample. Each point has the mass 1/n: take the mean.",
            lambda x, y: (x.sort().values - y.sort().values).abs().sum(),
        ),
        Wrong(
            "squared distances",
            "The distances are squared: this is the square of W₂. For W₁ take absolute values.",
            lambda x, y: (x.sort().values - y.sort().values).square().mean(),
        ),
        Wrong(
            "Wasserstein-2",
            "This is W₂, the root of the mean square. W₁ is the mean of the distances themselves.",
            lambda x, y: (x.sort().values - y.sort().values).square().mean().sqrt(),
        ),
        Wrong(
            "no absolute value",
            "Without absolute values, ways to the left and to the right cancel.",
            lambda x, y: (x.sort().values - y.sort().values).mean(),
        ),
        Wrong(
            "every pair",
            "This is the mean over all pairs: the cost of a coupling that sends every point everywhere. It is not 0 for "
            "equal samples.",
            lambda x, y: (x[:, None] - y).abs().mean(),
        ),
    ),
    right=(
        _w1_by_areas,
        _w1_by_ranks,
        _w1_by_couplings,
        _w1_by_lists,
        lambda x, y: stats.wasserstein_distance(x.numpy(), y.numpy()),
    ),
    probes={
        "the distance of a sample to itself in another order": lambda f: f(
            torch.arange(6.0), torch.arange(6.0).flip(0)
        ),
        "the distance of one grain to another": lambda f: f(torch.tensor([2.0]), torch.tensor([-1.5])),
        "the distance to a sample moved by 3": lambda f: f(torch.arange(5.0), torch.arange(5.0) + 3),
        "the distance to a sample that is twice as wide": lambda f: f(torch.arange(-3.0, 4), 2 * torch.arange(-3.0, 4)),
    },
)
