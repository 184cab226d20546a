"""Exercise 11.4: One round of power iteration."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong, mistake


def power_round(W, v):
    """One round of (11.11): (o, i), (i,) -> the estimate of σ and the new v (i,)."""
    u = F.normalize(W @ v, dim=0)
    v = F.normalize(W.T @ u, dim=0)
    return u @ W @ v, v


def _round_by_norms(W, v):
    u = W @ v
    u = u / u.norm()
    v = u @ W
    return v.norm(), v / v.norm()


@mistake(
    "v is not normalised",
    "The new v has not length 1. After some rounds its numbers would overflow or vanish.",
)
def _round_unnormalised(W, v):
    u = F.normalize(W @ v, dim=0)
    return (W.T @ u).norm(), W.T @ u


@mistake(
    "u is not normalised",
    "u has not length 1, so the estimate depends on the length of the v that was given.",
)
def _round_without_u(W, v):
    u = W @ v
    v = F.normalize(W.T @ u, dim=0)
    return u @ W @ v, v


@mistake(
    "the estimate with the old v",
    "The estimate uses the v from before the round, and is half a round behind. Use the new v.",
)
def _round_old_v(W, v):
    u = F.normalize(W @ v, dim=0)
    return u @ W @ F.normalize(v, dim=0), F.normalize(W.T @ u, dim=0)


@mistake(
    "the square",
    "This is σ², the largest eigenvalue of WᵀW. The largest singular value is its root.",
)
def _round_squared(W, v):
    sigma, v = power_round(W, v)
    return sigma.square(), v


@mistake(
    "u in place of v",
    "The vector returned is u, of the length of the outputs. The next round starts from v.",
)
def _round_returns_u(W, v):
    sigma, _ = power_round(W, v)
    return sigma, F.normalize(W @ v, dim=0)


EXERCISE = Exercise(
    number="11.4",
    title="One round of power iteration",
    difficulty=1,
    minutes=8,
    task=r"""
Write one round of (11.11) for a matrix `W` that need not be square and any `v` other than 0: first $u$, then the new $v$,
both of length 1, then the estimate $u^\top W v$ with the *new* $v$. Return the estimate and the new $v$. For a matrix of
rank 1 one round finds $\sigma$ exactly, and the length of the given `v` does not matter.""",
    inputs=lambda g: (torch.randn(4, 3, generator=g), torch.randn(3, generator=g)),
    solution=power_round,
    explanation=r"""
$W$ takes $v$ to the side of the outputs and $W^\top$ brings $u$ back. Normalising keeps the numbers in range; directions are
all that counts. With the new $v$ the estimate is $u^\top W v = \lVert W^\top u \rVert$, never above $\sigma$. Spectral
normalisation keeps $v$ for the next step of training.""",
    hints=(
        "The two lines of (11.11) are two lines of code. What are the shapes of u and v?",
        "`F.normalize(W @ v, dim=0)` is u, of length o. Which product brings it back to length i?",
        "`v = F.normalize(W.T @ u, dim=0)`; return `u @ W @ v, v`.",
    ),
    wrong=(
        _round_unnormalised,
        _round_without_u,
        _round_old_v,
        _round_squared,
        _round_returns_u,
        Wrong(
            "the Frobenius norm",
            "This is the root of the sum of all squares, which is never below σ and usually far above it.",
            lambda W, v: (W.norm(), power_round(W, v)[1]),
        ),
    ),
    right=(_round_by_norms,),
    probes={
        "σ of a matrix of rank 1": lambda f: f(
            torch.outer(torch.tensor([3.0, 4.0]), torch.tensor([0.0, 2.0, 0.0])), torch.ones(3)
        )[0],
        "the round for a v ten times as long": lambda f: f(
            torch.tensor([[1.0, 2.0], [0.0, 1.0]]), torch.tensor([10.0, 0.0])
        ),
    },
)
