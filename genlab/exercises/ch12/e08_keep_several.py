"""Exercise 12.8: Change one thing, keep several."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, mistake


def conditional_direction(n, fixed):
    """The unit vector closest to n that is perpendicular to all rows of fixed: (d,), (k, d) -> (d,)."""
    basis, _ = torch.linalg.qr(fixed.T)  # (d, k): orthonormal columns that span the rows of fixed
    rest = n - basis @ (basis.T @ n)
    return rest / rest.norm()


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
    "only the first row",
    "The result is perpendicular to the first row only. All of them are to be kept.",
)
def _only_the_first(n, fixed):
    m = fixed[0]
    rest = n - (n @ m) / (m @ m) * m
    return rest / rest.norm()


@mistake(
    "not of length one",
    "The direction is right, but its length is not 1: after the subtraction it is shorter than n was.",
)
def _rest_raw(n, fixed):
    basis, _ = torch.linalg.qr(fixed.T)
    return n - basis @ (basis.T @ n)


@mistake(
    "the part that should go",
    "This is the part of n inside the span, the one to take out. Return the rest.",
)
def _the_part_along(n, fixed):
    basis, _ = torch.linalg.qr(fixed.T)
    part = basis @ (basis.T @ n)
    return part / part.norm()


EXERCISE = Exercise(
    number="12.8",
    title="Change one thing, keep several",
    difficulty=3,
    minutes=20,
    task=r"""
(12.18) keeps one attribute. Now keep `k` of them: return the unit vector closest to `n` that is perpendicular to *every*
row of `fixed`. The rows have any length and are **not** perpendicular to each other. For one row of length 1 the result
is (12.18). If `n` is perpendicular to all of them already, it is `n` divided by its length.""",
    inputs=lambda g: (torch.randn(5, generator=g), torch.randn(3, 5, generator=g) + 1.0),
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
        _only_the_first,
        _rest_raw,
        _the_part_along,
    ),
    right=(_conditional_lstsq,),
    probes={
        "one row of length 1": lambda f: f(torch.tensor([1.0, 2.0, 2.0]), torch.tensor([[0.0, 0.0, 1.0]])),
        "a vector that is perpendicular already": lambda f: f(torch.tensor([0.0, 0.0, 5.0]), 3 * torch.eye(3)[:2]),
    },
    tolerance=1e-3,
)
