"""Exercise 04.3: The best diagonal q."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def best_diagonal(covariance):
    """Variances of the diagonal Gaussian q that is closest to N(m, covariance).

    Closest in KL(q ‖ p): (d, d) -> (d,).
    """
    precision = torch.linalg.inv(covariance)
    return 1 / precision.diagonal()


def _best_diagonal_by_conditioning(covariance):
    variances = []
    for j in range(len(covariance)):
        rest = [i for i in range(len(covariance)) if i != j]
        c = covariance[j, rest]
        variances.append(covariance[j, j] - c @ torch.linalg.solve(covariance[rest][:, rest], c))
    return torch.stack(variances)


def _best_diagonal_by_solving(covariance):
    units = torch.eye(len(covariance), dtype=covariance.dtype)
    return [1 / torch.linalg.solve(covariance, unit)[j].item() for j, unit in enumerate(units)]


def _best_diagonal_by_axes(covariance):
    variances, axes = torch.linalg.eigh(covariance)
    return (axes**2 / variances).sum(1).reciprocal()


def _covariance(g):
    d = int(torch.randint(2, 8, (), generator=g))
    a = torch.randn(d, d + 3, generator=g)
    return a @ a.T / d


_PAIR = torch.tensor([[1.0, 0.9], [0.9, 1.0]])

EXERCISE = Exercise(
    number="04.3",
    title="The best diagonal q",
    difficulty=2,
    minutes=10,
    task=r"""
A posterior is Gaussian with covariance matrix $\Sigma$, given as `covariance`, shape `(d, d)`. Return the variances $s_j^2$,
shape `(d,)`, of the diagonal Gaussian that minimises $\operatorname{KL}(q\,\|\,p)$, by (4.13). For a diagonal $\Sigma$ they are its diagonal.
For two variables with variance 1 and correlation 0.9 each is 0.19. They are never larger than the diagonal of
$\Sigma$.""",
    inputs=lambda g: (_covariance(g),),
    solution=best_diagonal,
    explanation=r"""
$\Lambda = \Sigma^{-1}$ and $s_j^2 = 1/\Lambda_{jj}$. The inverse of the *whole* matrix has to be taken before the
diagonal. $1/\Lambda_{jj}$ is the variance of $z_j$ given all the others, which is what is left of $z_j$ when nothing else
may vary along with it.""",
    hints=(
        "(4.13) is written with the precision matrix $\\Lambda$. How does it come from the covariance?",
        "$\\Lambda = \\Sigma^{-1}$. First the inverse of the matrix, then its diagonal, then one more reciprocal.",
        "In one line it is the reciprocal of a diagonal: `1 / torch.linalg.inv(covariance).diagonal()`.",
    ),
    wrong=(
        Wrong(
            "the posterior's own variances",
            "These are the posterior's own variances. They minimise KL(p ‖ q); for KL(q ‖ p), which the ELBO has, q is narrower.",
            lambda covariance: covariance.diagonal().clone(),
        ),
        Wrong(
            "the diagonal of the precision",
            "This is the diagonal of the precision matrix. The variances are its reciprocals.",
            lambda covariance: torch.linalg.inv(covariance).diagonal(),
        ),
        Wrong(
            "the diagonal before the inverse",
            "The diagonal was taken before the inverse, so the correlations are lost, and these are precisions besides.",
            lambda covariance: 1 / covariance.diagonal(),
        ),
        Wrong(
            "standard deviations",
            "These are standard deviations. The variances are wanted, their squares.",
            lambda covariance: torch.linalg.inv(covariance).diagonal().rsqrt(),
        ),
        Wrong(
            "eigenvalues",
            "These are the variances along the posterior's own axes. A diagonal q has to use the given axes.",
            lambda covariance: torch.linalg.eigvalsh(covariance),
        ),
    ),
    right=(
        _best_diagonal_by_conditioning,
        _best_diagonal_by_solving,
        _best_diagonal_by_axes,
        lambda covariance: 1 / np.diag(np.linalg.inv(covariance.numpy())),
        lambda covariance: 1 / torch.cholesky_inverse(torch.linalg.cholesky(covariance)).diagonal(),
    ),
    probes={
        "the variances for a diagonal covariance": lambda f: f(torch.diag(torch.tensor([1.0, 4.0, 0.25]))),
        "the variances for a correlation of 0.9": lambda f: f(_PAIR),
        "the variance of a single variable": lambda f: f(torch.tensor([[2.5]])),
    },
)
