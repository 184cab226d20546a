"""Exercise 12.5: Along the arc, with its edge cases."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong, mistake


def spherical(a, b, t):
    """slerp(a, b; t) of (12.14), row by row; straight for parallel rows.

    Shape (n, d) twice and a number t -> (n, d).
    """
    omega = torch.acos(F.cosine_similarity(a, b, dim=1).clamp(-1, 1))[:, None]
    parallel = omega < 1e-3
    # keeps 0/0 out of the values and the gradients
    safe = torch.where(parallel, torch.ones_like(omega), omega)
    arc = (torch.sin((1 - t) * safe) * a + torch.sin(t * safe) * b) / torch.sin(safe)
    return torch.where(parallel, (1 - t) * a + t * b, arc)


def _spherical_by_loop(a, b, t):
    rows = []
    for p, q in zip(a.tolist(), b.tolist(), strict=True):
        cosine = sum(x * y for x, y in zip(p, q, strict=True)) / math.hypot(*p) / math.hypot(*q)
        omega, weights = math.acos(max(-1.0, min(1.0, cosine))), (1 - t, t)
        if omega >= 1e-3:
            weights = [math.sin(s * omega) / math.sin(omega) for s in weights]
        rows.append([weights[0] * x + weights[1] * y for x, y in zip(p, q, strict=True)])
    return rows


def _spherical_by_half_angles(a, b, t):
    p, q = F.normalize(a, dim=1), F.normalize(b, dim=1)
    omega = 2 * torch.atan2((p - q).norm(dim=1, keepdim=True), (p + q).norm(dim=1, keepdim=True))
    return torch.where(omega < 1e-3, torch.lerp(a, b, t), _arc(a, b, t, omega))


def _spherical_in_numpy(a, b, t):
    a, b = a.numpy(), b.numpy()
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    w = np.arccos(np.clip(cosine, -1, 1))[:, None]
    with np.errstate(invalid="ignore"):
        return np.where(w < 1e-3, (1 - t) * a + t * b, (np.sin((1 - t) * w) * a + np.sin(t * w) * b) / np.sin(w))


def _angle(a, b):
    return torch.acos(F.cosine_similarity(a, b, dim=1).clamp(-1, 1))[:, None]


def _arc(a, b, t, omega):
    return (torch.sin((1 - t) * omega) * a + torch.sin(t * omega) * b) / torch.sin(omega)


def _lengths(a, b, t):
    return (1 - t) * a.norm(dim=1, keepdim=True) + t * b.norm(dim=1, keepdim=True)


@mistake(
    "one angle for the batch",
    "This takes one angle for all rows together. Each pair of rows has its own: use dim=1, and keep shape (n, 1).",
)
def _spherical_batch(a, b, t):
    omega = torch.acos(F.cosine_similarity(a.flatten(), b.flatten(), dim=0).clamp(-1, 1))
    return (1 - t) * a + t * b if omega < 1e-3 else _arc(a, b, t, omega)


@mistake(
    "the straight line for all rows",
    "One pair of parallel rows makes all rows of the batch straight. Each row decides for itself: torch.where.",
)
def _spherical_all_straight(a, b, t):
    omega = _angle(a, b)
    return (1 - t) * a + t * b if (omega < 1e-3).any() else _arc(a, b, t, omega)


def _spherical_units(a, b, t):
    return spherical(F.normalize(a, dim=1), F.normalize(b, dim=1), t)


def _arc_inputs(g):
    n, d = ((4, 3), (3, 4), (5, 2), (2, 6))[int(torch.randint(4, (), generator=g))]
    a, b = (F.normalize(torch.randn(n, d, generator=g), dim=1) for _ in range(2))
    b = torch.where((a * b).sum(1, keepdim=True) < -0.9, -b, b)  # near opposite rows rounding turns the arc
    long = 0.2 + 3 * torch.rand(n, 1, generator=g)
    return long * a, 0.8 / long * b, torch.rand((), generator=g).item()


# Products of rows stay below 1, so that a cosine without lengths is seen as that, and not as NaN.
_ROWS = torch.tensor([[4.0, 0.0, 0.0], [0.0, 0.5, 0.0], [0.1, 0.2, 0.2]])
_OTHERS = torch.tensor([[0.2, 0.0, 0.0], [0.5, 0.0, 0.0], [0.3, 0.0, -0.4]])

EXERCISE = Exercise(
    number="12.5",
    title="Along the arc, with its edge cases",
    difficulty=2,
    minutes=15,
    task=r"""
Write (12.14) for rows of `a` and `b`, where $\omega$ is the angle between the two rows. Rows may have any length but 0,
and the formula weighs them as they are. At $t = 0$ and $t = 1$ it gives `a` and `b`. For two perpendicular rows of
length 1 the midpoint has length 1. Where the angle is below 0.001, return the straight line: the formula would divide 0
by 0 there. Other rows of the batch must not notice. Opposite rows have no shortest arc, and are not asked for.""",
    inputs=_arc_inputs,
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
        Wrong(
            "parallel rows give NaN",
            "Right for all rows but parallel ones: there the formula is 0/0. Return the straight line for them.",
            lambda a, b, t: _arc(a, b, t, _angle(a, b)),
        ),
        Wrong(
            "inner product for cosine",
            "The angle comes from the inner product of rows that were not divided by their lengths. That is the cosine "
            "only for rows of length 1.",
            lambda a, b, t: _arc(a, b, t, torch.acos((a * b).sum(1, keepdim=True))),
        ),
        _spherical_batch,
        _spherical_all_straight,
        Wrong(
            "the ends swapped",
            "At t = 0 this gives b. The walk starts at a: the weight of a is sin((1 − t)ω)/sin ω.",
            lambda a, b, t: spherical(b, a, t),
        ),
        Wrong(
            "a stretched straight line",
            "This stretches the points of the straight line to the sphere. The right arc, but not at constant speed: at "
            "t = ¼ the angle is not a quarter of the way.",
            lambda a, b, t: F.normalize((1 - t) * a + t * b, dim=1) * _lengths(a, b, t),
        ),
        Wrong(
            "direction and length apart",
            "This turns the direction and interpolates the length apart from it. (12.14) weighs the rows as they are.",
            lambda a, b, t: _spherical_units(a, b, t) * _lengths(a, b, t),
        ),
        Wrong(
            "rows of length one",
            "The rows were divided by their lengths, and so the ends are not a and b. Only the angle needs the lengths.",
            _spherical_units,
        ),
    ),
    right=(_spherical_by_loop, _spherical_by_half_angles, _spherical_in_numpy),
    probes={
        "both ends, t = 0 and t = 1": lambda f: (f(_ROWS[1:], _OTHERS[1:], 0.0), f(_ROWS[1:], _OTHERS[1:], 1.0)),
        "parallel rows beside others": lambda f: f(_ROWS, _OTHERS, 0.25),
        "a quarter of the way between perpendicular rows": lambda f: f(torch.eye(3)[:2], torch.eye(3)[1:], 0.25),
        "one pair, at an angle of 0.05": lambda f: f(_ROWS[:1], torch.tensor([[0.2, 0.01, 0.0]]), 0.5),
        "one pair, almost opposite": lambda f: f(_ROWS[:1], torch.tensor([[-0.2, 0.02, 0.0]]), 0.4),
        "an angle of 0.0005, and one of 0.002": lambda f: (
            f(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 0.00025]]), 0.5),
            f(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 0.001]]), 0.5),
        ),
    },
)
