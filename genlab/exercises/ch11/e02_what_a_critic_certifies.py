"""Exercise 11.2: What a critic certifies."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from scipy.spatial import distance

from genlab.exercises import Exercise, Wrong, mistake


def certified(x, y, fx, fy):
    """The bound on W₁ that critic values certify.

    Points (n, d), (m, d) and their marks (n,), (m,) -> a number.
    """
    points, marks = torch.cat([x, y]), torch.cat([fx, fy])
    ways = (points[:, None] - points[None]).norm(dim=2)
    climbs = (marks[:, None] - marks[None]).abs()
    apart = ways > 0
    steepest = (climbs[apart] / ways[apart]).max()
    return (fx.mean() - fy.mean()) / steepest


def _certified_by_loops(x, y, fx, fy):
    points, marks = torch.cat([x, y]).tolist(), torch.cat([fx, fy]).tolist()
    steepest = 0.0
    for i in range(len(points)):
        for j in range(i):
            if (way := sum((a - b) ** 2 for a, b in zip(points[i], points[j], strict=True)) ** 0.5) > 0:
                steepest = max(steepest, abs(marks[i] - marks[j]) / way)
    return (float(fx.mean()) - float(fy.mean())) / steepest


def _certified_by_scipy(x, y, fx, fy):
    ways = distance.pdist(torch.cat([x, y]))
    climbs = distance.pdist(torch.cat([fx, fy])[:, None])
    return (fx.numpy().mean() - fy.numpy().mean()) / (climbs[ways > 0] / ways[ways > 0]).max()


def _certified_nan_to_num(x, y, fx, fy):
    points, marks = torch.cat([x, y]), torch.cat([fx, fy])
    slopes = (marks[:, None] - marks).abs() / torch.cdist(points, points)
    return (fx.mean() - fy.mean()) / slopes.nan_to_num(0).max()


def _climbs_and_ways(x, y, fx, fy):
    points, marks = torch.cat([x, y]), torch.cat([fx, fy])
    ways, climbs = torch.cdist(points, points), (marks[:, None] - marks[None]).abs()
    return climbs[ways > 0], ways[ways > 0]


def _divided(divisor):
    """The difference of the means over something else than the steepest slope."""
    return lambda x, y, fx, fy: (fx.mean() - fy.mean()) / divisor(*_climbs_and_ways(x, y, fx, fy))


@mistake(
    "only pairs of data and sample",
    "Only slopes between data and samples were looked at. A function may be steepest between two data points.",
)
def _certified_between(x, y, fx, fy):
    return (fx.mean() - fy.mean()) / ((fx[:, None] - fy[None]).abs() / torch.cdist(x, y)).max()


@mistake(
    "points that coincide counted once",
    "Points that coincide count once in the means here. They say nothing about the slope, but each has its share of a mean.",
)
def _certified_once(x, y, fx, fy):
    def once(points, marks):
        rows = torch.cat([points, marks[:, None]], 1).unique(dim=0)
        return rows[:, :-1], rows[:, -1]

    (x, fx), (y, fy) = once(x, fx), once(y, fy)
    return certified(x, y, fx, fy)


def _certified_inputs(g):
    """Sets of any size in some dimensions with one point far out, and marks that are steep or flat, high or low."""
    n, m, d, scale = (int(torch.randint(low, low + 4, (), generator=g)) for low in (3, 4, 2, 1))
    x, y = torch.randn(n, d, generator=g), 1 + torch.randn(m, d, generator=g)
    y[-1] += 20
    return x, y, 0.1**scale * (1 + torch.randn(n, generator=g)), 0.1**scale * torch.randn(m, generator=g)


EXERCISE = Exercise(
    number="11.2",
    title="What a critic certifies",
    difficulty=2,
    minutes=12,
    task=r"""
Somebody hands you data points `x`, samples `y`, and the marks `fx`, `fy`, not all equal, that some critic gave them. By
(11.6) they certify a lower bound on $W_1$ of the two sets. Compute it: the mean mark of data minus that of samples, over the
steepest slope $|f(u) - f(v)| / \lVert u - v \rVert$ between *any* two of the $n + m$ points. Return this number, which is
negative for a critic that prefers samples. It does not change when all marks are multiplied by 10, or raised by 5. Points
may coincide; then they have the same mark, and say nothing about the slope.""",
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
        _certified_once,
        Wrong(
            "the mean slope",
            "This divides by the mean slope. The Lipschitz condition is about the steepest, so this bound may be false.",
            _divided(lambda climbs, ways: (climbs / ways).mean()),
        ),
        Wrong(
            "squared ways",
            "The slope is climb over way, not over the square of the way.",
            _divided(lambda climbs, ways: (climbs / ways.square()).max()),
        ),
        Wrong(
            "the largest climb over the longest way",
            "The largest climb is divided by the longest way, which may belong to other points. Divide pair by pair.",
            _divided(lambda climbs, ways: climbs.max() / ways.max()),
        ),
        Wrong(
            "samples first",
            "The sign is turned: data first, samples second, as in (11.4).",
            lambda x, y, fx, fy: -certified(x, y, fx, fy),
        ),
        Wrong(
            "the sign is lost",
            "A critic that prefers samples gets a positive number here. Leave the sign of the difference as it is.",
            lambda x, y, fx, fy: certified(x, y, fx, fy).abs(),
        ),
        Wrong(
            "multiplied",
            "The steepest slope multiplies where it should divide: a steeper critic would certify more.",
            _divided(lambda climbs, ways: 1 / (climbs / ways).max()),
        ),
    ),
    right=(_certified_by_loops, _certified_by_scipy, _certified_nan_to_num),
    probes={
        "the bound with points that come twice on both sides": lambda f: f(
            torch.tensor([[2.0], [2.0], [4.0]]),
            torch.tensor([[0.0], [0.0], [-2.0]]),
            torch.tensor([2.0, 2.0, 5.0]),
            torch.tensor([0.0, 0.0, -1.0]),
        ),
        "the bound of two points": lambda f: f(
            torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2), torch.tensor([7.0]), torch.zeros(1)
        ),
        "the bound with a point twice": lambda f: f(
            torch.tensor([[1.0], [1.0]]), torch.zeros(1, 1), torch.tensor([2.0, 2.0]), torch.zeros(1)
        ),
        "the bound when the steepest pair are samples": lambda f: f(
            torch.tensor([[4.0]]), torch.tensor([[0.0], [1.0]]), torch.tensor([4.0]), torch.tensor([0.0, 3.0])
        ),
        "the bound when the steepest pair are data, close together": lambda f: f(
            torch.tensor([[2.0, 0.0], [2.0, 0.01]]), torch.zeros(1, 2), torch.tensor([2.0, 2.1]), torch.tensor([1.0])
        ),
        "the bound of a critic that prefers samples": lambda f: f(
            torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0]]), torch.tensor([0.0, 1.0]), torch.tensor([3.0])
        ),
    },
)
