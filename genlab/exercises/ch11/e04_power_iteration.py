"""Exercise 11.4: One round of power iteration."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong, mistake


def power_round(W, v):
    """One round of (11.11): (o, i), (i,) -> the estimate of ‖W‖₂ and the new v (i,)."""
    u = W @ (v / v.abs().max())  # no square in the norm over- or underflows then
    u = u / u.norm()
    v = W.T @ u
    v = v / v.norm()
    return u @ W @ v, v


def _round_by_norms(W, v):
    u = W @ v
    u = u / u.norm()
    v = u @ W
    return v.norm(), v / v.norm()


def _round_by_numpy(W, v):
    W, v = W.numpy(), v.numpy()
    u = W @ v / np.linalg.norm(W @ v)
    v = W.T @ u / np.linalg.norm(W.T @ u)
    return float(u @ W @ v), v.tolist()


def _round_by_einsum(W, v):
    u = F.normalize(torch.einsum("oi,i->o", W, v), dim=0)
    v = F.normalize(torch.einsum("oi,o->i", W, u), dim=0)
    return torch.einsum("o,oi,i->", u, W, v), v


def _u_and_v(W, v):
    u = F.normalize(W @ v, dim=0)
    return u, F.normalize(W.T @ u, dim=0)


@mistake(
    "v is not normalised",
    "The new v has not length 1, and the estimate grows with it. After some rounds its numbers would overflow or vanish.",
)
def _round_unnormalised(W, v):
    u = F.normalize(W @ v, dim=0)
    v = W.T @ u
    return u @ W @ v, v


@mistake(
    "u is not normalised",
    "u has not length 1, so the estimate depends on the length of the v that was given.",
)
def _round_without_u(W, v):
    u = W @ v
    v = F.normalize(W.T @ u, dim=0)
    return u @ W @ v, v


def _estimate(of):
    """Another number beside the right vector."""
    return lambda W, v: (of(W, v, *_u_and_v(W, v)), _u_and_v(W, v)[1])


def _layer(g):
    """A matrix of any shape, with large or small numbers."""
    o, i = (int(torch.randint(2, 6, (), generator=g)) for _ in range(2))
    return 10 ** float(torch.randn((), generator=g)) * torch.randn(o, i, generator=g), torch.randn(i, generator=g)


_SHEAR = torch.tensor([[1.0, 2.0], [0.0, 1.0]], dtype=torch.float32)

EXERCISE = Exercise(
    number="11.4",
    title="One round of power iteration",
    difficulty=1,
    minutes=8,
    task=r"""
Write one round of (11.11) for a matrix `W` that need not be square and any `v` with $Wv \ne 0$: first $u$, then the new $v$,
both of length 1, then the estimate $u^\top W v$ with the *new* $v$. Return the pair of the estimate, a number, and the new
$v$; leave the given `v` as it is. For a matrix of rank 1 one round finds $\lVert W \rVert_2$ exactly, and the length of
the given `v` does not matter.""",
    inputs=_layer,
    solution=power_round,
    explanation=r"""
$W$ takes $v$ to the side of the outputs and $W^\top$ brings $u$ back. Normalising keeps the numbers in range; directions are
all that counts. With the new $v$ the estimate is $u^\top W v = \lVert W^\top u \rVert$, never above $\lVert W \rVert_2$.
Spectral normalisation keeps $v$ for the next step of training. (`F.normalize` divides by $10^{-12}$ at least, which is
right for every $v$ that training meets, and not for one of length $10^{-14}$.)""",
    hints=(
        "The two lines of (11.11) are two lines of code. What are the shapes of u and v?",
        "`F.normalize(W @ v, dim=0)` is u, of length o. Which product brings it back to length i?",
        "`v = F.normalize(W.T @ u, dim=0)`; return `u @ W @ v, v`.",
    ),
    wrong=(
        _round_unnormalised,
        _round_without_u,
        Wrong(
            "the estimate with the given v",
            "The estimate uses the v that was given, so it depends on its length. Use the new v, of length 1.",
            _estimate(lambda W, v, u, new: u @ W @ v),
        ),
        Wrong(
            "the estimate with the old v",
            "The estimate uses the v from before the round, and is half a round behind. Use the new v.",
            _estimate(lambda W, v, u, new: u @ W @ F.normalize(v, dim=0)),
        ),
        Wrong(
            "the square",
            "This is the square of ‖W‖₂, the largest eigenvalue of WᵀW. The largest singular value is its root.",
            _estimate(lambda W, v, u, new: (u @ W @ new).square()),
        ),
        Wrong(
            "u in place of v",
            "The vector returned is u, of the length of the outputs. The next round starts from v.",
            lambda W, v: (power_round(W, v)[0], _u_and_v(W, v)[0]),
        ),
        Wrong(
            "the Frobenius norm",
            "This is the root of the sum of all squares, which is never below ‖W‖₂ and usually far above it.",
            _estimate(lambda W, v, u, new: W.norm()),
        ),
        Wrong(
            "‖W‖₂ itself",
            "This is the exact ‖W‖₂, for which a decomposition is needed. Asked is the estimate after one round.",
            _estimate(lambda W, v, u, new: torch.linalg.matrix_norm(W, 2)),
        ),
    ),
    right=(_round_by_norms, _round_by_numpy, _round_by_einsum),
    probes={
        "the round for a matrix of rank 1": lambda f: f(
            torch.outer(torch.tensor([3.0, 4.0]), torch.tensor([0.0, 2.0, 0.0])), torch.ones(3)
        ),
        "the round for a square matrix": lambda f: f(_SHEAR, torch.tensor([1.0, 0.0])),
        "the round for a v a thousand times as long": lambda f: f(_SHEAR, torch.tensor([1000.0, 0.0])),
        "the round for a v of length 0.001": lambda f: f(_SHEAR, torch.tensor([0.0006, -0.0008])),
        "the round for a v below 0": lambda f: f(_SHEAR, torch.tensor([-1.0, -3.0])),
        "the round for a matrix of one number": lambda f: f(torch.tensor([[-2.0]]), torch.tensor([3.0])),
    },
)
