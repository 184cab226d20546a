"""Exercise 03.2: Encode and decode in one line."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def project(x, mean, U):
    """The nearest point of the plane mean + span(U) to each row of x: (n, N).

    U (N, d) has orthonormal columns.
    """
    return mean + (x - mean) @ U @ U.T


def _plane(g):
    n, d, more = torch.randint(1, 5, (3,), generator=g).tolist()
    U = torch.linalg.qr(torch.randn(d + more, d, generator=g))[0]
    return torch.randn(n, d + more, generator=g), torch.randn(d + more, generator=g), U


def _project_by_loops(x, mean, U):
    rows = []
    for row in x:
        rows.append(mean + sum(((row - mean) @ u) * u for u in U.T))
    return torch.stack(rows)


def _project_in_numpy(x, mean, U):
    x, mean, U = x.numpy(), mean.numpy(), U.numpy()
    return mean + np.dot(np.dot(x - mean, U), U.T)


EXERCISE = Exercise(
    number="03.2",
    title="Encode and decode in one line",
    difficulty=1,
    minutes=8,
    task=r"""
Write the best linear autoencoder as one function: encode the rows of `x`, shape `(n, N)`, to `d` numbers and decode them,
with the given `mean` of the data, shape `(N,)`, and a matrix `U` of shape `(N, d)` whose columns are orthonormal. The result
has the shape of `x`. A point of the plane stays where it is. What is lost, $x - g(f(x))$, is orthogonal to the plane.""",
    inputs=_plane,
    solution=project,
    explanation=r"""
The code is $z = U^\top(x - b)$, the coordinates in the plane. The decoder puts them back, $b + Uz$. With images as rows the
order of the products is turned around: `(x - mean) @ U` encodes and `@ U.T` decodes.""",
    hints=(
        "The plane goes through the mean. What has to happen to `x` before it is multiplied, and what after?",
        "As rows, the code is `(x - mean) @ U`, of shape `(n, d)`. Which product leads back to `(n, N)`?",
        "`mean + (x - mean) @ U @ U.T`.",
    ),
    wrong=(
        Wrong(
            "the mean is forgotten",
            "This projects on a plane through the origin. The plane goes through the mean.",
            lambda x, mean, U: x @ U @ U.T,
        ),
        Wrong(
            "the mean is not added again",
            "The mean was subtracted and never added again: the decoder forgets where the data are.",
            lambda x, mean, U: (x - mean) @ U @ U.T,
        ),
        Wrong(
            "the mean is not subtracted",
            "The mean is added without having been subtracted before.",
            lambda x, mean, U: mean + x @ U @ U.T,
        ),
        Wrong(
            "what is lost",
            "This is what is lost, the part orthogonal to the plane.",
            lambda x, mean, U: (x - mean) - (x - mean) @ U @ U.T,
        ),
        Wrong("the code", "This is the code. Decode it as well.", lambda x, mean, U: (x - mean) @ U),
    ),
    right=(
        _project_by_loops,
        _project_in_numpy,
        lambda x, mean, U: F.linear(F.linear(x - mean, U.T), U, mean),
        lambda x, mean, U: mean + (U @ torch.linalg.lstsq(U, (x - mean).T).solution).T,
        lambda x, mean, U: mean.double() + torch.einsum("ni,ik,jk->nj", (x - mean).double(), U.double(), U.double()),
    ),
    probes={
        "the mean itself": lambda f: f(torch.ones(1, 3), torch.ones(3), torch.eye(3)[:, :1]),
        "a plane that is the whole space": lambda f: f(torch.arange(6.0).view(3, 2), torch.ones(2), torch.eye(2)),
        "one point far away": lambda f: f(
            torch.tensor([[1.0, 2.0], [300.0, -200.0]]), torch.ones(2), torch.eye(2)[:, 1:]
        ),
    },
)
