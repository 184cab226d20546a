"""Exercise 12.5: Along the arc, with its edge cases."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong, mistake


def spherical(a, b, t):
    """slerp(a, b; t) of (12.14), row by row: (n, d) twice and a number t -> (n, d); straight for parallel rows."""
    omega = torch.acos(F.cosine_similarity(a, b, dim=1).clamp(-1, 1))[:, None]
    parallel = omega < 1e-3
    safe = torch.where(parallel, torch.ones_like(omega), omega)  # keeps 0/0 out of the values and the gradients
    arc = (torch.sin((1 - t) * safe) * a + torch.sin(t * safe) * b) / torch.sin(safe)
    return torch.where(parallel, (1 - t) * a + t * b, arc)


def _spherical_by_loop(a, b, t):
    rows = []
    for p, q in zip(a, b, strict=True):
        omega = torch.atan2((p / p.norm() - q / q.norm()).norm(), (p / p.norm() + q / q.norm()).norm()) * 2
        if omega < 1e-3:
            rows.append((1 - t) * p + t * q)
        else:
            rows.append(torch.sin((1 - t) * omega) / torch.sin(omega) * p + torch.sin(t * omega) / torch.sin(omega) * q)
    return torch.stack(rows)


@mistake(
    "parallel rows give NaN",
    "Right for all rows but parallel ones: there the formula is 0/0. Return the straight line for them.",
)
def _spherical_nan(a, b, t):
    omega = torch.acos(F.cosine_similarity(a, b, dim=1).clamp(-1, 1))[:, None]
    return (torch.sin((1 - t) * omega) * a + torch.sin(t * omega) * b) / torch.sin(omega)


@mistake(
    "inner product for cosine",
    (
        "The angle comes from the inner product of rows that were not divided by their lengths. That is the cosine only "
        "for rows of length 1."
    ),
)
def _spherical_raw_dot(a, b, t):
    omega = torch.acos((a * b).sum(1, keepdim=True).clamp(-0.999, 0.999))
    return (torch.sin((1 - t) * omega) * a + torch.sin(t * omega) * b) / torch.sin(omega)


@mistake(
    "one angle for the batch",
    "This takes one angle for all rows together. Each pair of rows has its own: use dim=1, and keep shape (n, 1).",
)
def _spherical_batch(a, b, t):
    omega = torch.acos(F.cosine_similarity(a.flatten(), b.flatten(), dim=0).clamp(-1, 1))
    if omega < 1e-3:
        return (1 - t) * a + t * b
    return (torch.sin((1 - t) * omega) * a + torch.sin(t * omega) * b) / torch.sin(omega)


@mistake(
    "a stretched straight line",
    (
        "This stretches the points of the straight line to the sphere. The right arc, but not at constant speed: at "
        "t = ¼ the angle is not a quarter of the way."
    ),
)
def _spherical_renormalised(a, b, t):
    straight = (1 - t) * a + t * b
    length = (1 - t) * a.norm(dim=1, keepdim=True) + t * b.norm(dim=1, keepdim=True)
    return straight / straight.norm(dim=1, keepdim=True) * length


_ROWS = torch.tensor([[3.0, 0.0, 0.0], [0.0, 2.0, 0.0], [1.0, 2.0, 2.0]])

EXERCISE = Exercise(
    number="12.5",
    title="Along the arc, with its edge cases",
    difficulty=2,
    minutes=15,
    task=r"""
Write (12.14) for rows of `a` and `b`, where $\omega$ is the angle between the two rows. Rows may have any length. At
$t = 0$ and $t = 1$ it gives `a` and `b`. For two perpendicular rows of length 1 the midpoint has length 1. Where the
angle is below 0.001, return the straight line: the formula would divide 0 by 0 there. Other rows of the batch must not
notice.""",
    inputs=lambda g: (
        torch.randn(4, 3, generator=g),
        torch.randn(4, 3, generator=g),
        torch.rand((), generator=g).item(),
    ),
    solution=spherical,
    explanation=r"""
The cosine of the angle is the inner product of the rows *divided by both lengths*. Rounding can make it 1.0000001, where
`acos` is NaN, hence the clamp. For parallel rows all three sines vanish, and their ratio tends to $1 - t$ and $t$, the
straight line. The division happens in both branches of `torch.where`, so the angle is replaced by a harmless one first:
a NaN in the branch that is not taken would still come back in the gradient. Opposite rows have no arc of their own:
every great circle through both is as short as any other, and a program should say so or choose.""",
    hints=(
        "`F.cosine_similarity(a, b, dim=1)` is the cosine for each row. What shape must $\\omega$ have to multiply rows?",
        "With `omega` of shape `(n, 1)`, (12.14) is one line. Then use `torch.where` for the rows with a small angle.",
        "`torch.where(omega < 1e-3, (1 - t) * a + t * b, arc)`, with `clamp(-1, 1)` before `acos`.",
    ),
    wrong=(
        Wrong(
            "a straight line",
            "This is the straight line. For two perpendicular rows of length 1 its midpoint has length 0.71.",
            lambda a, b, t: (1 - t) * a + t * b,
        ),
        _spherical_nan,
        _spherical_raw_dot,
        _spherical_batch,
        Wrong(
            "the ends swapped",
            "At t = 0 this gives b. The walk starts at a: the weight of a is sin((1 − t)ω)/sin ω.",
            lambda a, b, t: spherical(b, a, t),
        ),
        _spherical_renormalised,
    ),
    right=(_spherical_by_loop,),
    probes={
        "both ends, t = 0 and t = 1": lambda f: (f(_ROWS, _ROWS.flip(0), 0.0), f(_ROWS, _ROWS.flip(0), 1.0)),
        "parallel rows beside others": lambda f: f(_ROWS, torch.tensor([[6.0, 0, 0], [2.0, 0, 0], [1.0, 2, 2]]), 0.25),
        "a quarter of the way between perpendicular rows": lambda f: f(torch.eye(3)[:2], torch.eye(3)[1:], 0.25),
        "an angle of 0.0005, and one of 0.002": lambda f: (
            f(torch.tensor([[1.0, 0.0]]), torch.tensor([[10.0, 0.005]]), 0.5),
            f(torch.tensor([[1.0, 0.0]]), torch.tensor([[10.0, 0.02]]), 0.5),
        ),
    },
)
