"""Exercise 11.2: What a critic certifies."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch

from genlab.exercises import Exercise, Wrong, mistake


def certified(x, y, fx, fy):
    """The bound on W₁ that critic values certify: points (n, d), (m, d) and marks (n,), (m,) -> a number."""
    points, marks = torch.cat([x, y]), torch.cat([fx, fy])
    ways = torch.cdist(points, points)
    climbs = (marks[:, None] - marks[None]).abs()
    apart = ways > 0
    steepest = (climbs[apart] / ways[apart]).max()
    return (fx.mean() - fy.mean()) / steepest


def _certified_loop(x, y, fx, fy):
    points, marks = [*x, *y], [*fx, *fy]
    steepest = 0.0
    for i in range(len(points)):
        for j in range(i):
            steepest = max(steepest, float((marks[i] - marks[j]).abs() / (points[i] - points[j]).norm()))
    return (fx.mean() - fy.mean()) / steepest


def _slopes(x, y, fx, fy):
    points, marks = torch.cat([x, y]), torch.cat([fx, fy])
    ways = torch.cdist(points, points)
    return ((marks[:, None] - marks[None]).abs() / ways)[~torch.eye(len(points), dtype=torch.bool)]


@mistake(
    "only pairs of data and sample",
    "Only slopes between data and samples were looked at. A function may be steepest between two data points.",
)
def _certified_between(x, y, fx, fy):
    return (fx.mean() - fy.mean()) / ((fx[:, None] - fy[None]).abs() / torch.cdist(x, y)).max()


@mistake(
    "squared ways",
    "The slope is climb over way, not over the square of the way.",
)
def _certified_squares(x, y, fx, fy):
    points, marks = torch.cat([x, y]), torch.cat([fx, fy])
    ways, climbs = torch.cdist(points, points).square(), (marks[:, None] - marks[None]).abs()
    return (fx.mean() - fy.mean()) / (climbs[ways > 0] / ways[ways > 0]).max()


def _certified_inputs(g):
    return (
        torch.randn(5, 3, generator=g),
        1 + torch.randn(4, 3, generator=g),
        1 + torch.randn(5, generator=g),
        torch.randn(4, generator=g),
    )


EXERCISE = Exercise(
    number="11.2",
    title="What a critic certifies",
    difficulty=2,
    minutes=12,
    task=r"""
Somebody hands you data points `x`, samples `y`, and the marks `fx`, `fy` that some critic gave them. By (11.6) they certify
a lower bound on $W_1$ of the two sets. Compute it: the mean mark of data minus that of samples, over the steepest slope
$|f(u) - f(v)| / \lVert u - v \rVert$ between *any* two of the $n + m$ points. The bound does not change when all marks are
multiplied by 10, or raised by 5.""",
    inputs=_certified_inputs,
    solution=certified,
    explanation=r"""
The marks over their steepest slope are the values of a 1-Lipschitz function (McShane's cones extend it to the plane), and
(11.3) holds for each of those. The condition is about all pairs, also of two data points or of two samples. Scaling
cancels in the quotient and a shift in both differences. The best marks, those of the dual program, certify $W_1$ itself.""",
    hints=(
        "Put all points in one matrix and all marks in one vector. Which pairs does the Lipschitz condition speak of?",
        "`torch.cdist(points, points)` has the ways, `(marks[:, None] - marks[None]).abs()` the climbs. Beware of 0/0.",
        "Divide where the way is above 0, take the maximum, and divide `fx.mean() - fy.mean()` by it.",
    ),
    wrong=(
        Wrong(
            "not divided",
            "This is the difference of the means alone. Marks ten times as large would certify ten times as much.",
            lambda x, y, fx, fy: fx.mean() - fy.mean(),
        ),
        _certified_between,
        Wrong(
            "the mean slope",
            "This divides by the mean slope. The Lipschitz condition is about the steepest, so this bound may be false.",
            lambda x, y, fx, fy: (fx.mean() - fy.mean()) / _slopes(x, y, fx, fy).mean(),
        ),
        _certified_squares,
        Wrong(
            "samples first",
            "The sign is turned: data first, samples second, as in (11.4).",
            lambda x, y, fx, fy: -certified(x, y, fx, fy),
        ),
        Wrong(
            "multiplied",
            "The steepest slope multiplies where it should divide: a steeper critic would certify more.",
            lambda x, y, fx, fy: (fx.mean() - fy.mean()) * _slopes(x, y, fx, fy).max(),
        ),
    ),
    right=(_certified_loop,),
    probes={
        "the bound of two points": lambda f: f(
            torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2), torch.tensor([7.0]), torch.zeros(1)
        ),
        "the bound with a point twice": lambda f: f(
            torch.tensor([[1.0], [1.0]]), torch.zeros(1, 1), torch.tensor([2.0, 2.0]), torch.zeros(1)
        ),
        "the bound when the steepest pair are samples": lambda f: f(
            torch.tensor([[4.0]]), torch.tensor([[0.0], [1.0]]), torch.tensor([4.0]), torch.tensor([0.0, 3.0])
        ),
    },
)
