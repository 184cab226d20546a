"""Exercise 05.6: Walking on the shell."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong, mistake


def slerp(a, b, t):
    """Spherical interpolation (5.14), row by row: (n, d) -> (n, d)."""
    lengths = a.norm(dim=1, keepdim=True) * b.norm(dim=1, keepdim=True)
    cosine = (a * b).sum(1, keepdim=True) / lengths
    omega = torch.acos(cosine.clamp(-1, 1))
    small = omega < 1e-3
    sine = torch.where(small, torch.ones_like(omega), torch.sin(omega))
    curved = (torch.sin((1 - t) * omega) * a + torch.sin(t * omega) * b) / sine
    return torch.where(small, (1 - t) * a + t * b, curved)


def _omega(a, b):
    return torch.acos(torch.nn.functional.cosine_similarity(a, b, dim=1).clamp(-1, 1))[:, None]


@mistake(
    "0/0 for parallel vectors",
    "Right, except for parallel vectors: there sin ω = 0 and NaN comes out. Fall back to the straight line.",
)
def _slerp_nan(a, b, t):
    omega = _omega(a, b)
    return (torch.sin((1 - t) * omega) * a + torch.sin(t * omega) * b) / torch.sin(omega)


@mistake(
    "the ends swapped",
    "The ends are swapped: t = 0 has to give a, and t = 1 has to give b.",
)
def _slerp_swapped(a, b, t):
    return slerp(b, a, t)


@mistake(
    "one angle for the batch",
    "One angle is used for the whole batch. Every row has its own: reduce over dimension 1 and keep it.",
)
def _slerp_whole_batch(a, b, t):
    omega = torch.acos(((a * b).sum() / (a.norm() * b.norm())).clamp(-1, 1))
    if omega < 1e-3:
        return (1 - t) * a + t * b
    return (torch.sin((1 - t) * omega) * a + torch.sin(t * omega) * b) / torch.sin(omega)


@mistake(
    "the dot product is not divided by the lengths",
    "The dot product is not divided by the two lengths, so it is no cosine.",
)
def _slerp_no_norm(a, b, t):
    omega = torch.acos((a * b).sum(1, keepdim=True).clamp(-1, 1))
    small = omega < 1e-3
    curved = (torch.sin((1 - t) * omega) * a + torch.sin(t * omega) * b) / torch.where(small, 1.0, torch.sin(omega))
    return torch.where(small, (1 - t) * a + t * b, curved)


def _slerp_by_loops(a, b, t):
    rows = []
    for u, v in zip(a, b, strict=True):
        omega = float(torch.acos((u @ v / (u.norm() * v.norm())).clamp(-1, 1)))
        if omega < 1e-3:
            rows.append((1 - t) * u + t * v)
        else:
            rows.append((math.sin((1 - t) * omega) * u + math.sin(t * omega) * v) / math.sin(omega))
    return torch.stack(rows)


def _slerp_by_numpy(a, b, t):
    a, b = a.numpy().astype(np.float64), b.numpy().astype(np.float64)
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    omega = np.arccos(np.clip(cosine, -1, 1))[:, None]
    with np.errstate(invalid="ignore"):
        curved = (np.sin((1 - t) * omega) * a + np.sin(t * omega) * b) / np.sin(omega)
    return np.where(omega < 1e-6, (1 - t) * a + t * b, curved)


def _slerp_by_sinc(a, b, t):
    turns = _omega(a, b) / math.pi
    return sum(s * torch.sinc(s * turns) / torch.sinc(turns) * v for s, v in ((1 - t, a), (t, b)))


def _draw(g):
    n, d = (int(torch.randint(low, low + 4, (), generator=g)) for low in (3, 2))
    return torch.randn(n, d, generator=g), torch.randn(n, d, generator=g), torch.rand((), generator=g).item()


_A, _B = torch.tensor([[3.0, 0.0, 4.0], [0.0, 5.0, 0.0]]), torch.tensor([[0.0, 5.0, 0.0], [3.0, 0.0, -4.0]])
_ALIKE = torch.tensor([[6.0, 0.0, 8.0], [0.0, 3.0, 4.0]])  # the first row lies in the direction of _A's, twice as far
_NEAR = torch.tensor([[math.cos(0.13), math.sin(0.13)]])

EXERCISE = Exercise(
    number="05.6",
    title="Walking on the shell",
    difficulty=2,
    minutes=15,
    task=r"""
In $d$ dimensions a draw from $\mathcal N(0, I)$ has a length near $\sqrt d$. The midpoint of two independent draws is
shorter by a factor of about $\sqrt 2$: an untypical place. **Spherical interpolation** (White 2016) keeps the length.
With $\omega$ the angle between $a$ and $b$,

$$ \operatorname{slerp}(a, b, t) = \frac{\sin((1 - t)\,\omega)}{\sin \omega}\, a + \frac{\sin(t\,\omega)}{\sin \omega}\, b . \tag{5.14} $$

Write it for `a` and `b` of shape `(n, d)` and a number `t`. At `t = 0` and `t = 1` it gives the ends. For vectors of
equal length it keeps that length. For rows that point the same way, where $\sin\omega = 0$, it must fall back to the
straight line, whatever the other rows do. No row is zero, and no two are opposite: between those there is no shortest
way. Redraw the interpolation figure with it. Can you see a difference in 16 dimensions?""",
    inputs=_draw,
    solution=slerp,
    explanation=r"""
The angle comes from the cosine $a \cdot b / (\lVert a \rVert \lVert b \rVert)$, clamped because rounding can push it
past 1. Each row has an angle of its own. Where $\omega$ is nearly 0 the formula is 0/0; its limit is the straight line.
`torch.where` computes both branches, so the division is made harmless before it is discarded.""",
    hints=(
        "Start with the angle of each row: a dot product, divided by two lengths, and an arc cosine.",
        "Keep the reduced dimension (`keepdim=True`), so that `omega` has shape `(n, 1)` and multiplies rows.",
        "Clamp the cosine to [-1, 1]; for parallel rows, `omega < 1e-3`, take `(1 - t) * a + t * b` by `torch.where`.",
    ),
    wrong=(
        Wrong(
            "the straight line",
            "This is the straight line: it cuts through the inside of the sphere, and the length drops on the way.",
            lambda a, b, t: (1 - t) * a + t * b,
        ),
        _slerp_nan,
        _slerp_swapped,
        _slerp_whole_batch,
        _slerp_no_norm,
    ),
    right=(_slerp_by_loops, _slerp_by_numpy, _slerp_by_sinc),
    probes={
        "the point half way between two vectors of length 5": lambda f: f(_A, _B, 0.5),
        "the point at t = 0": lambda f: f(_A, _B, 0.0),
        "the point at t = 1": lambda f: f(_A, _B, 1.0),
        "vectors that point the same way, where sin ω = 0": lambda f: f(_A, _A, 0.3),
        "one row of two that points the same way, twice as far": lambda f: f(_A, _ALIKE, 0.3),
        "a small angle of 0.13, half way, one row": lambda f: f(torch.tensor([[1.0, 0.0]]), _NEAR, 0.5),
    },
    tolerance=1e-3,
)
