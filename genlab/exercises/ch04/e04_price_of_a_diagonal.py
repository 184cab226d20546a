"""Exercise 04.4: The price of a diagonal."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def _covariance(g):
    d = int(torch.randint(3, 8, (), generator=g))
    a = torch.randn(d, d + 3, generator=g)
    return a @ a.T / d


_PAIR = torch.tensor([[1.0, 0.9], [0.9, 1.0]])


def diagonal_loss(covariance):
    """½ [Σ_j log Λ_jj − log det Λ], Λ the inverse of the covariance, equation (4.13).

    (d, d) -> a number.
    """
    precision = torch.linalg.inv(covariance)
    return 0.5 * (precision.diagonal().log().sum() - torch.logdet(precision))


def _diagonal_loss_by_distributions(covariance):
    m = torch.zeros(len(covariance), dtype=covariance.dtype)
    q = torch.distributions.MultivariateNormal(m, torch.diag(1 / torch.linalg.inv(covariance).diagonal()))
    return torch.distributions.kl_divergence(q, torch.distributions.MultivariateNormal(m, covariance))


def _diagonal_loss_by_cholesky(covariance):
    root = torch.linalg.cholesky(covariance)
    return root.diagonal().log().sum() + torch.cholesky_inverse(root).diagonal().log().sum() / 2


def _diagonal_loss_in_numpy(covariance):
    precision = np.linalg.inv(covariance.numpy())
    return 0.5 * (sum(math.log(v) for v in np.diag(precision)) - np.linalg.slogdet(precision)[1])


def _other_units(f):
    units = torch.tensor([3.0, 0.5, 1.0])
    return f(torch.tensor([[1.0, 0.6, 0.3], [0.6, 1.0, -0.2], [0.3, -0.2, 1.0]]) * units * units[:, None])


EXERCISE = Exercise(
    number="04.4",
    title="The price of a diagonal",
    difficulty=2,
    minutes=10,
    task=r"""
Return the gap (4.13) in nats, one number, that remains for the best diagonal $q$ when the posterior has this `covariance`,
shape `(d, d)`. It is 0 for a diagonal matrix and positive otherwise. It does not change when a variable is measured in other units, that is when a
row and the same column are multiplied by a number. With two variables of correlation $c$ it is
$-\tfrac12\log(1 - c^2)$.""",
    inputs=lambda g: (_covariance(g),),
    solution=diagonal_loss,
    explanation=r"""
Insert $s_j^2 = 1/\Lambda_{jj}$ into the divergence: $\sum_j \Lambda_{jj}s_j^2 = d$ cancels $-d$, and the logarithms stay.
With the covariance in place of the precision the formula is the *other* divergence, $\operatorname{KL}(p\,\|\,q)$ at its
own minimum. For two variables both agree, for three or more they do not.""",
    hints=(
        "Start from the precision matrix, as in 04.3. Two terms remain: one sees only the diagonal, the other everything.",
        "The terms are the sum of the logarithms of the diagonal, and the log-determinant. `torch.logdet` gives the latter.",
        "`0.5 * (precision.diagonal().log().sum() - torch.logdet(precision))`, with the inverse of the covariance.",
    ),
    wrong=(
        Wrong(
            "the covariance in place of the precision",
            "This is the formula with the covariance: the least KL(p ‖ q), which agrees for two variables only. Invert first.",
            lambda covariance: 0.5 * (covariance.diagonal().log().sum() - torch.logdet(covariance)),
        ),
        Wrong(
            "one half is missing",
            "This is twice the gap: the one half is missing.",
            lambda covariance: 2 * diagonal_loss(covariance),
        ),
        Wrong(
            "the wrong sign",
            "This is negative, and a KL divergence never is: the sum over the diagonal comes first.",
            lambda covariance: -diagonal_loss(covariance),
        ),
        Wrong(
            "the determinant without its logarithm",
            "The determinant is subtracted, not its logarithm: the gap then depends on the units of z.",
            lambda covariance: (
                0.5 * (torch.linalg.inv(covariance).diagonal().log().sum() - torch.det(torch.linalg.inv(covariance)))
            ),
        ),
        Wrong(
            "the log-determinant alone",
            "Only the log-determinant is here. Without the sum over the diagonal it is no gap: it is not 0 for a diagonal matrix.",
            lambda covariance: 0.5 * torch.logdet(covariance),
        ),
        Wrong(
            "the mean over the dimensions",
            "This is divided by the number of dimensions. The gap is one number for the whole of z: a sum.",
            lambda covariance: diagonal_loss(covariance) / len(covariance),
        ),
    ),
    right=(
        _diagonal_loss_by_distributions,
        _diagonal_loss_by_cholesky,
        _diagonal_loss_in_numpy,
        lambda covariance: 0.5 * (torch.linalg.inv(covariance).diagonal().prod() * torch.linalg.det(covariance)).log(),
    ),
    probes={
        "the gap of a diagonal covariance": lambda f: f(torch.diag(torch.tensor([1.0, 4.0, 0.25]))),
        "the gap of two variables with correlation 0.9": lambda f: f(_PAIR),
        "the gap of three variables in other units": _other_units,
    },
)
