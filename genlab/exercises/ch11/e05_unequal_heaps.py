"""Exercise 11.5: Heaps of different size."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

from itertools import pairwise

import torch
from scipy import stats

from genlab.exercises import Exercise, Wrong, mistake


def w1_unequal(x, y):
    """W₁ of two sets of numbers as the area between their step functions.

    The sets may differ in size: (n,), (m,) -> a number.
    """
    grid = torch.cat([x, y]).sort().values
    a = (x[:, None] <= grid).double().mean(0)
    b = (y[:, None] <= grid).double().mean(0)
    return ((a - b).abs()[:-1] * grid.diff()).sum()


def _w1_by_repeating(x, y):
    a, b = x.repeat_interleave(len(y)).sort().values, y.repeat_interleave(len(x)).sort().values
    return (a - b).abs().mean()


def _w1_loop(x, y):
    total = 0.0
    for low, high in pairwise(sorted([*x.tolist(), *y.tolist()])):
        share_x, share_y = (sum(v <= low for v in s.tolist()) / len(s) for s in (x, y))
        total += abs(share_x - share_y) * (high - low)
    return total


@mistake(
    "the longer set cut off",
    "The longer set was cut off at the length of the shorter. All points carry sand: each of n carries 1/n.",
)
def _w1_cut(x, y):
    k = min(len(x), len(y))
    return (x.sort().values[:k] - y.sort().values[:k]).abs().mean()


def _steps(x, y):
    grid = torch.cat([x, y]).sort().values
    return (x[:, None] <= grid).double().mean(0) - (y[:, None] <= grid).double().mean(0), grid.diff()


def _area(rectangles):
    """Another area made of the differences of the step functions, and of the gaps."""
    return lambda x, y: rectangles(*_steps(x, y)).sum()


@mistake(
    "shares of the pooled number",
    "Each set is divided by the number of all points. Both heaps weigh 1: divide by n and by m.",
)
def _w1_pooled(x, y):
    grid = torch.cat([x, y]).sort().values
    a, b = ((v[:, None] <= grid).double().sum(0) / len(grid) for v in (x, y))
    return ((a - b).abs()[:-1] * grid.diff()).sum()


@mistake(
    "the share below t",
    "At each number of the grid the share of what lies strictly below is taken, and then held to the right of it. There "
    "the number itself counts too.",
)
def _w1_below(x, y):
    grid = torch.cat([x, y]).sort().values
    a, b = ((v[:, None] < grid).double().mean(0) for v in (x, y))
    return ((a - b).abs()[:-1] * grid.diff()).sum()


def _heaps(g):
    """Sets of any size, of which one has a number far from the others."""
    n, m = (int(torch.randint(1, 9, (), generator=g)) for _ in range(2))
    x, y = torch.randn(n, generator=g), 0.5 + 2 * torch.randn(m, generator=g)
    x[-1] -= 30
    return x, y


EXERCISE = Exercise(
    number="11.5",
    title="Heaps of different size",
    difficulty=2,
    minutes=12,
    task=r"""
Sorting as in (11.2) needs sets of equal size. In general let $a(t)$ be the share of the numbers in `x` that are at most
$t$, and $b(t)$ likewise. To the left of $t$ there is $a(t)$ sand but $b(t)$ is wanted, so the difference has to cross
$t$. Add up over all $t$: $W_1 = \int |a(t) - b(t)|\,\mathrm dt$. Both functions are constant between neighbours in the
pooled, sorted numbers. Return the number $W_1$, exactly and not by a fine grid. Equal sets have $W_1 = 0$, and a set moved
by 3 has $W_1 = 3$; a number that occurs twice counts twice.""",
    inputs=_heaps,
    solution=w1_unequal,
    explanation=r"""
The area between two step functions is a sum of rectangles: a height $|a - b|$ times the gap to the next number. Each
set has its own share $1/n$ or $1/m$ a point, so that both heaps weigh 1. `scipy.stats.wasserstein_distance` does the same.
Another way repeats every number of `x` $m$ times and of `y` $n$ times, and sorts: the sets then have equal size.""",
    hints=(
        "Sort all numbers together. What are the two functions on the interval from one number to the next?",
        "`(x[:, None] <= grid).double().mean(0)` is $a$ at each point of a sorted `grid`; `grid.diff()` are the gaps.",
        "Multiply `(a - b).abs()[:-1]` by `grid.diff()` and add up: the last point has no gap to its right.",
    ),
    wrong=(
        _w1_cut,
        Wrong(
            "the difference of the means",
            "This is the distance of the means, to which an integral without the absolute value comes as well. It is 0 for "
            "sets of equal mean and different spread; W₁ is not.",
            lambda x, y: (x.mean() - y.mean()).abs(),
        ),
        Wrong(
            "without the absolute value",
            "What has to go left and what has to go right cancel here, and the difference of the means remains. Take the "
            "absolute value of each rectangle.",
            _area(lambda steps, gaps: steps[:-1] * gaps),
        ),
        Wrong(
            "heights without widths",
            "The differences of the step functions are added up without the gaps between the numbers. An area has both.",
            _area(lambda steps, gaps: steps.abs()),
        ),
        Wrong(
            "the square",
            "The difference is squared. That is another distance (Cramér's); W₁ takes the absolute value.",
            _area(lambda steps, gaps: steps[:-1].square() * gaps),
        ),
        Wrong(
            "trapezoids",
            "The areas are trapezoids, as if the functions rose in straight lines. They are steps: each area is a rectangle.",
            _area(lambda steps, gaps: (steps[:-1].abs() + steps[1:].abs()) / 2 * gaps),
        ),
        _w1_pooled,
        _w1_below,
        Wrong(
            "all pairs",
            "This is the mean distance of all pairs. The cheapest plan carries each grain to one place, and not everywhere.",
            lambda x, y: (x[:, None] - y).abs().mean(),
        ),
    ),
    right=(
        _w1_by_repeating,
        _w1_loop,
        lambda x, y: stats.wasserstein_distance(x.numpy(), y.numpy()),
    ),
    probes={
        "W₁ of two points": lambda f: f(torch.tensor([0.0]), torch.tensor([-2.5])),
        "W₁ of a set to itself moved by 3": lambda f: f(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([7.0, 4.0, 5.0])),
        "W₁ of sets with equal means": lambda f: f(torch.tensor([-1.0, 1.0]), torch.zeros(3)),
        "W₁ with points in both sets": lambda f: f(torch.tensor([0.0, 1.0, 1.0]), torch.tensor([1.0, 0.0])),
        "W₁ of a set to itself": lambda f: f(torch.tensor([2.0, -1.0, 2.0]), torch.tensor([2.0, 2.0, -1.0])),
    },
)
