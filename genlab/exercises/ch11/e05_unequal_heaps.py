"""Exercise 11.5: Heaps of different size."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

from itertools import pairwise

import torch

from genlab.exercises import Exercise, Wrong, mistake


def w1_unequal(x, y):
    """W₁ of two sets of numbers that may differ in size, as the area between their step functions: (n,), (m,)."""
    grid = torch.cat([x, y]).sort().values
    F_x = (x[:, None] <= grid).double().mean(0)
    F_y = (y[:, None] <= grid).double().mean(0)
    return ((F_x - F_y).abs()[:-1] * grid.diff()).sum()


def _w1_by_repeating(x, y):
    a, b = x.repeat_interleave(len(y)).sort().values, y.repeat_interleave(len(x)).sort().values
    return (a - b).abs().mean()


def _w1_loop(x, y):
    grid = sorted([*x.tolist(), *y.tolist()])
    total = 0.0
    for low, high in pairwise(grid):
        total += abs(sum(v <= low for v in x.tolist()) / len(x) - sum(v <= low for v in y.tolist()) / len(y)) * (
            high - low
        )
    return total


@mistake(
    "the longer set cut off",
    "The longer set was cut off at the length of the shorter. All points carry sand: each of n carries 1/n.",
)
def _w1_cut(x, y):
    k = min(len(x), len(y))
    return (x.sort().values[:k] - y.sort().values[:k]).abs().mean()


def _w1_steps(x, y):
    grid = torch.cat([x, y]).sort().values
    return (x[:, None] <= grid).double().mean(0), (y[:, None] <= grid).double().mean(0), grid.diff()


@mistake(
    "heights without widths",
    "The differences of the step functions are added up without the gaps between the numbers. An area has both.",
)
def _w1_heights(x, y):
    a, b, _ = _w1_steps(x, y)
    return (a - b).abs().sum()


@mistake(
    "the square",
    "The difference is squared. That is another distance (Cramér's); W₁ takes the absolute value.",
)
def _w1_squared(x, y):
    a, b, gaps = _w1_steps(x, y)
    return ((a - b)[:-1].square() * gaps).sum()


@mistake(
    "shares of the pooled number",
    "Each set is divided by the number of all points. Both heaps weigh 1: divide by n and by m.",
)
def _w1_pooled(x, y):
    grid = torch.cat([x, y]).sort().values
    a, b = ((v[:, None] <= grid).double().sum(0) / len(grid) for v in (x, y))
    return ((a - b).abs()[:-1] * grid.diff()).sum()


EXERCISE = Exercise(
    number="11.5",
    title="Heaps of different size",
    difficulty=2,
    minutes=12,
    task=r"""
Sorting as in (11.2) needs sets of equal size. In general let $F_x(t)$ be the share of the numbers in `x` that are at most
$t$, and $F_y(t)$ likewise. To the left of $t$ there is $F_x(t)$ sand but $F_y(t)$ is wanted, so the difference has to cross
$t$. Add up over all $t$: $W_1 = \int |F_x(t) - F_y(t)|\,\mathrm dt$. Both functions are constant between neighbours in the
pooled, sorted numbers. Equal sets have $W_1 = 0$, and a set moved by 3 has $W_1 = 3$.""",
    inputs=lambda g: (torch.randn(7, generator=g), 0.5 + 2 * torch.randn(4, generator=g)),
    solution=w1_unequal,
    explanation=r"""
The area between two step functions is a sum of rectangles: a height $|F_x - F_y|$ times the gap to the next number. Each
set has its own share $1/n$ or $1/m$ a point, so that both heaps weigh 1. `scipy.stats.wasserstein_distance` does the same.
Another way repeats every number of `x` $m$ times and of `y` $n$ times, and sorts: the sets then have equal size.""",
    hints=(
        "Sort all numbers together. What are the two functions on the interval from one number to the next?",
        "`(x[:, None] <= grid).double().mean(0)` is $F_x$ at each point of a sorted `grid`; `grid.diff()` are the gaps.",
        "Multiply `(F_x - F_y).abs()[:-1]` by `grid.diff()` and add up: the last point has no gap to its right.",
    ),
    wrong=(
        _w1_cut,
        Wrong(
            "the difference of the means",
            "This is the distance of the means, to which an integral without the absolute value comes as well. It is 0 for "
            "sets of equal mean and different spread; W₁ is not.",
            lambda x, y: (x.mean() - y.mean()).abs(),
        ),
        _w1_heights,
        _w1_squared,
        _w1_pooled,
    ),
    right=(_w1_by_repeating, _w1_loop),
    probes={
        "W₁ of two points": lambda f: f(torch.tensor([0.0]), torch.tensor([-2.5])),
        "W₁ of a set to itself moved by 3": lambda f: f(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([7.0, 4.0, 5.0])),
        "W₁ of sets with equal means": lambda f: f(torch.tensor([-1.0, 1.0]), torch.zeros(3)),
        "W₁ with points in both sets": lambda f: f(torch.tensor([0.0, 1.0, 1.0]), torch.tensor([1.0, 0.0])),
    },
)
