"""Exercise 12.8: Change one thing, keep several."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from scipy import linalg
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong, mistake


def conditional_direction(n, fixed):
    """The unit vector closest to n that is perpendicular to all rows of fixed.

    Shapes (d,), (k, d) -> (d,).
    """
    # (d, k): orthonormal columns that span the rows of fixed
    basis, _ = torch.linalg.qr(fixed.T)
    rest = n - basis @ (basis.T @ n)
    return rest / rest.norm()


def _conditional_gram_schmidt(n, fixed):
    unit = []
    for m in [*fixed, n]:
        for q in unit:
            m = m - (m @ q) * q
        unit.append(m / m.norm())
    return unit[-1].tolist()


def _conditional_null_space(n, fixed):
    free = linalg.null_space(fixed.numpy())
    rest = free @ (free.T @ n.numpy())
    return rest / linalg.norm(rest)


def _conditional_lstsq(n, fixed):
    weights = torch.linalg.lstsq(fixed.T, n[:, None]).solution
    return F.normalize(n - (fixed.T @ weights)[:, 0], dim=0)


@mistake(
    "one row after another",
    (
        "The rows are taken out one after another. They are not perpendicular, so removing the next brings some of the "
        "last one back: only the last row is perpendicular to the result."
    ),
)
def _one_after_another(n, fixed):
    for m in fixed:
        n = n - (n @ m) / (m @ m) * m
    return n / n.norm()


@mistake(
    "all projections at once",
    "The projections on all rows are subtracted together. What the rows share is taken out more than once.",
)
def _all_at_once(n, fixed):
    unit = F.normalize(fixed, dim=1)
    rest = n - unit.T @ (unit @ n)
    return rest / rest.norm()


@mistake(
    "the lengths forgotten",
    (
        "⟨n, m⟩ m is the projection on m only if m has length 1. Divide by ⟨m, m⟩, and mind that the rows are not "
        "perpendicular either."
    ),
)
def _without_lengths(n, fixed):
    for m in fixed:
        n = n - (n @ m) * m
    return n / n.norm()


@mistake(
    "as if perpendicular and of length one",
    "fixed.T @ (fixed @ n) is the part in the span only if the rows are perpendicular and of length 1. They are neither.",
)
def _as_if_orthonormal(n, fixed):
    rest = n - fixed.T @ (fixed @ n)
    return rest / rest.norm()


def _part(n, fixed):
    return torch.linalg.pinv(fixed) @ (fixed @ n)


_OBLIQUE = torch.tensor([[3.0, 0.0, 0.0], [1.0, 1.0, 0.0]])


def _fixed_inputs(g):
    k, d = ((3, 5), (2, 4), (4, 7), (2, 6))[int(torch.randint(4, (), generator=g))]
    lengths = 0.4 + 2 * torch.rand(k, 1, generator=g)
    return 3 * torch.randn(d, generator=g), lengths * F.normalize(torch.randn(k, d, generator=g) + 0.7, dim=1)


EXERCISE = Exercise(
    number="12.8",
    title="Change one thing, keep several",
    difficulty=3,
    minutes=20,
    task=r"""
(12.18) keeps one attribute. Now keep `k` of them: return the unit vector closest to `n` that is perpendicular to *every*
row of `fixed`. The rows have any length and are **not** perpendicular to each other; they are linearly independent, and
`n` is not in their span. For one row of length 1 the result is (12.18). If `n` is perpendicular to all of them already,
it is `n` divided by its length.""",
    inputs=_fixed_inputs,
    solution=conditional_direction,
    explanation=r"""
What must go is the projection of $n$ on the *span* of the rows. With an orthonormal basis $Q$ of the span, by the
**QR decomposition**, that projection is $Q Q^\top n$. Taking out one row after another fails for rows that are not
perpendicular: removing the second brings some of the first back. Subtracting all single projections at once takes out
what they share more than once.""",
    hints=(
        "With perpendicular unit rows, one subtraction after another would do. Can you make the rows so?",
        "`basis, _ = torch.linalg.qr(fixed.T)` spans the rows; the part of `n` in the span is `basis @ (basis.T @ n)`.",
        "Subtract that part from `n`, then divide by the length of the rest.",
    ),
    wrong=(
        _one_after_another,
        _all_at_once,
        _without_lengths,
        _as_if_orthonormal,
        Wrong(
            "only the first row",
            "The result is perpendicular to the first row only. All of them are to be kept.",
            lambda n, fixed: conditional_direction(n, fixed[:1]),
        ),
        Wrong(
            "not of length one",
            "The direction is right, but its length is not 1: after the subtraction it is another than n had.",
            lambda n, fixed: n - _part(n, fixed),
        ),
        Wrong(
            "the part that should go",
            "This is the part of n inside the span, the one to take out. Return the rest.",
            lambda n, fixed: _part(n, fixed) / _part(n, fixed).norm(),
        ),
    ),
    right=(_conditional_lstsq, _conditional_gram_schmidt, _conditional_null_space),
    probes={
        "one row of length 1": lambda f: f(torch.tensor([1.0, 2.0, 2.0]), torch.tensor([[0.0, 0.0, 1.0]])),
        "one row of length 2, of two numbers": lambda f: f(torch.tensor([3.0, 1.0]), torch.tensor([[0.0, 2.0]])),
        "four rows of six numbers": lambda f: f(torch.arange(6.0), torch.eye(6)[:4] + 0.5),
        "a vector that is perpendicular already": lambda f: f(torch.tensor([0.0, 0.0, 5.0]), _OBLIQUE),
    },
    tolerance=1e-3,
)
