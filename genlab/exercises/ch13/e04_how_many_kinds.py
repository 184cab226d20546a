"""Exercise 13.4: How many kinds?"""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def kinds(x):
    """The Vendi score (13.10) of rows (n, d) with the cosine kernel: a number."""
    rows = F.normalize(x, dim=1)
    shares = torch.linalg.eigvalsh(rows @ rows.T / len(x))
    shares = shares[shares > 1e-9]  # 0 log 0 = 0, and rounding leaves some below 0
    return torch.exp(-(shares * shares.log()).sum())


def _by_features(x):
    # the d x d matrix has the same eigenvalues above 0
    rows = F.normalize(x, dim=1)
    shares = torch.linalg.eigvalsh(rows.T @ rows / len(x)).clamp(min=1e-30)
    return (-shares * shares.log()).sum().exp()


def _by_singular_values(x):
    rows = x.double().numpy()
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    shares = np.linalg.svd(rows / len(rows) ** 0.5, compute_uv=False) ** 2
    shares = shares[shares > 1e-12]
    return float(np.prod(shares**-shares))


def _by_entropy(x):
    rows = x / x.square().sum(1, keepdim=True).sqrt()
    shares = torch.linalg.eigvalsh(rows @ rows.T).clamp(min=0)
    return torch.distributions.Categorical(probs=shares).entropy().exp()


def _cosines(x):
    return F.normalize(x, dim=1) @ F.normalize(x, dim=1).T


def _score(shares):
    shares = shares[shares > 1e-9]
    return torch.exp(-(shares * shares.log()).sum())


def _rows(g):
    n, d = (int(torch.randint(low, 8, (), generator=g)) for low in (1, 2))
    scales = torch.exp(torch.randn(n, 1, generator=g))
    return ((scales * (0.5 + torch.randn(n, d, generator=g))).double(),)


EXERCISE = Exercise(
    number="13.4",
    title="How many kinds?",
    difficulty=2,
    minutes=12,
    task=r"""
Write the Vendi score (13.10) with the cosine kernel for $n$ rows, none of them zero. Return one number. Rows that all point
the same way have the score 1, whatever their lengths; $n$ rows at right angles have the score $n$. Copying every row
changes nothing. Mind that $0 \log 0$ is 0.""",
    inputs=_rows,
    solution=kinds,
    explanation=r"""
With rows of length 1 the matrix of cosines has ones on its diagonal, so its eigenvalues over $n$ add up to 1: they are
shares, and the exponential of their entropy counts how many of them matter. Copies add rows to the matrix and no
eigenvalue above 0.""",
    hints=(
        "Cosines are scalar products of rows that were brought to length 1.",
        "The eigenvalues of the n x n matrix of cosines, over n, add up to 1. Take their entropy in nats.",
        "`torch.linalg.eigvalsh(rows @ rows.T / n)`, drop what is not above 0, and `exp` of minus the sum of v log v.",
    ),
    wrong=(
        Wrong(
            "scalar products",
            "The rows keep their lengths here. The cosine kernel looks at directions: bring each row to length 1.",
            lambda x: _score(torch.linalg.eigvalsh(x @ x.T / len(x))),
        ),
        Wrong(
            "the entropy itself",
            "This is the entropy, in nats. The score is its exponential, a number of kinds.",
            lambda x: kinds(x).log(),
        ),
        Wrong(
            "cosines without their sign",
            "The cosines have lost their signs. Rows that point in opposite directions are not alike.",
            lambda x: _score(torch.linalg.eigvalsh(_cosines(x).abs() / len(x))),
        ),
        Wrong(
            "negative cosines set to zero",
            "Negative cosines are set to 0 here. They stay in the matrix as they are.",
            lambda x: _score(torch.linalg.eigvalsh(_cosines(x).clamp(min=0) / len(x))),
        ),
        Wrong(
            "the number of dimensions",
            "This counts the eigenvalues above 0, however small: a rank, which one odd row raises by 1.",
            lambda x: torch.linalg.matrix_rank(x).double(),
        ),
        Wrong(
            "centred rows",
            "The mean is taken off first. Rows that are all alike would then have no direction at all.",
            lambda x: kinds(x - x.mean(0) + 1e-30),
        ),
        Wrong(
            "bits in, nats out",
            "The entropy is in bits and the exponential has the base e. Use one base for both.",
            lambda x: (kinds(x).log() / torch.tensor(2.0).log()).exp(),
        ),
        Wrong(
            "the inverse of the sum of squares",
            "This is one over the sum of squared shares: another count of kinds, which sees rare ones less.",
            lambda x: 1 / torch.linalg.eigvalsh(_cosines(x) / len(x)).square().sum(),
        ),
    ),
    right=(_by_features, _by_singular_values, _by_entropy),
    probes={
        "kinds of rows that point the same way": lambda f: f(
            torch.tensor([[1.0, 2.0], [2.0, 4.0], [0.5, 1.0]]).double()
        ),
        "kinds of four rows at right angles": lambda f: f(torch.diag(torch.tensor([1.0, 2.0, 3.0, 4.0])).double()),
        "kinds of three of one sort and one of another": lambda f: f(torch.eye(2)[[0, 0, 0, 1]].double()),
        "kinds of three rows at 0, 120 and 240 degrees": lambda f: f(
            torch.tensor([[2.0, 0.0], [-1.0, 3**0.5], [-1.0, -(3**0.5)]]).double()
        ),
    },
)
