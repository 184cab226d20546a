"""Exercise 03.2: Encode and decode in one line."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch

from genlab.exercises import Exercise, Wrong


def project(x, mean, U):
    """The nearest point of the plane mean + span(U) to each row of x; U (D, d) has orthonormal columns: (n, D)."""
    return mean + (x - mean) @ U @ U.T


def _plane(g):
    U = torch.linalg.qr(torch.randn(4, 2, generator=g))[0]
    return torch.randn(5, 4, generator=g), torch.randn(4, generator=g), U


def _project_by_loops(x, mean, U):
    rows = []
    for row in x:
        rows.append(mean + sum(((row - mean) @ u) * u for u in U.T))
    return torch.stack(rows)


EXERCISE = Exercise(
    number="03.2",
    title="Encode and decode in one line",
    difficulty=1,
    minutes=8,
    task=r"""
Write the best linear autoencoder as one function: encode the rows of `x`, shape `(n, D)`, to `d` numbers and decode them,
with the mean of the data and a matrix `U` of shape `(D, d)` whose columns are orthonormal. A point of the plane stays where
it is. What is lost, $x - g(f(x))$, is orthogonal to the plane.""",
    inputs=_plane,
    solution=project,
    explanation=r"""
The code is $z = U^\top(x - b)$, the coordinates in the plane. The decoder puts them back, $b + Uz$. With images as rows the
order of the products is turned around: `(x - mean) @ U` encodes and `@ U.T` decodes.""",
    hints=(
        "The plane goes through the mean. What has to happen to `x` before it is multiplied, and what after?",
        "As rows, the code is `(x - mean) @ U`, of shape `(n, d)`. Which product leads back to `(n, D)`?",
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
            "the mean is subtracted after encoding",
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
    right=(_project_by_loops,),
    probes={"the mean itself": lambda f: f(torch.ones(1, 3), torch.ones(3), torch.eye(3)[:, :1])},
    gradient=True,
)
