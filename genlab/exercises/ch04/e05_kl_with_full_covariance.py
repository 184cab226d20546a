"""Exercise 04.5: A KL with full covariance."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def kl_full(m, L):
    """KL(N(m, L Lᵀ) ‖ N(0, I)) for lower triangular L, equation (4.24).

    (n, d) and (n, d, d) -> (n,).
    """
    trace = (L**2).sum((1, 2))
    logdet = 2 * L.diagonal(dim1=1, dim2=2).log().sum(1)
    return 0.5 * (trace + (m**2).sum(1) - m.shape[1] - logdet)


def _kl_full_by_distributions(m, L):
    q = torch.distributions.MultivariateNormal(m, L @ L.transpose(1, 2))
    p = torch.distributions.MultivariateNormal(torch.zeros_like(m[0]), torch.eye(m.shape[1], dtype=m.dtype))
    return torch.distributions.kl_divergence(q, p)


def _kl_full_by_loops(m, L):
    rows = []
    for mean, root in zip(m, L, strict=True):
        covariance = root @ root.T
        rows.append((covariance.trace() + mean @ mean - len(mean) - covariance.logdet()) / 2)
    return torch.stack(rows)


def _kl_full_in_numpy(m, L):
    m, covariance = m.numpy(), np.einsum("nij,nkj->nik", L.numpy(), L.numpy())
    trace = np.trace(covariance, axis1=1, axis2=2)
    return (trace + (m**2).sum(1) - m.shape[1] - np.linalg.slogdet(covariance)[1]) / 2


def _full_parts(m, L):
    return (L**2).sum((1, 2)), (m**2).sum(1), m.shape[1], L.diagonal(dim1=1, dim2=2).log().sum(1)


def _full_inputs(g):
    n, d = (torch.randint(1, 5, (2,), generator=g) + torch.tensor([0, 1])).tolist()
    L = torch.randn(n, d, d, generator=g).tril(-1) + torch.diag_embed(torch.rand(n, d, generator=g) + 0.4)
    return torch.randn(n, d, generator=g), L


EXERCISE = Exercise(
    number="04.5",
    title="A KL with full covariance",
    difficulty=2,
    minutes=10,
    task=r"""
An encoder with a full covariance outputs a mean `m` of shape `(n, d)` and a lower triangular matrix `L` of shape
`(n, d, d)` with a positive diagonal, and $q = \mathcal N(m, LL^\top)$. Write its KL to $\mathcal N(0, I)$ by (4.24), per
example: shape `(n,)`. It is 0 for `m = 0` and `L` the identity.""",
    inputs=_full_inputs,
    solution=kl_full,
    explanation=r"""
The trace of $LL^\top$ is the sum of the squares of *all* entries of $L$, also below the diagonal. The determinant of a
triangular matrix is the product of its diagonal, and that of $LL^\top$ its square, so the log-determinant is twice the
sum of the logarithms of the diagonal. No matrix has to be multiplied or inverted.""",
    hints=(
        "Of the four terms only two contain $L$: a trace and a log-determinant. What are they for $LL^\\top$?",
        "The trace of $LL^\\top$ is the sum of all squared entries of $L$; its determinant is the squared product of the diagonal.",
        "`0.5 * ((L**2).sum((1, 2)) + (m**2).sum(1) - d - 2 * L.diagonal(dim1=1, dim2=2).log().sum(1))`",
    ),
    wrong=(
        Wrong(
            "the log-determinant of L",
            "The log-determinant is that of L. The covariance is L Lᵀ, and its determinant is the square.",
            lambda m, L: (lambda t, s, d, h: 0.5 * (t + s - d - h))(*_full_parts(m, L)),
        ),
        Wrong(
            "the diagonal only",
            "The trace sees only the diagonal of L. The entries below it widen q as well: square them all.",
            lambda m, L: (lambda t, s, d, h: 0.5 * (L.diagonal(dim1=1, dim2=2).square().sum(1) + s - d - 2 * h))(
                *_full_parts(m, L)
            ),
        ),
        Wrong(
            "the trace of L",
            "This is the trace of L. The covariance is L Lᵀ, and its trace is the sum of squares.",
            lambda m, L: (lambda t, s, d, h: 0.5 * (L.diagonal(dim1=1, dim2=2).sum(1) + s - d - 2 * h))(
                *_full_parts(m, L)
            ),
        ),
        Wrong(
            "one half is missing",
            "This is twice the KL: the one half is missing.",
            lambda m, L: 2 * kl_full(m, L),
        ),
        Wrong(
            "minus d is missing",
            "The term minus d is missing: the KL of the prior to itself is not 0.",
            lambda m, L: kl_full(m, L) + 0.5 * m.shape[1],
        ),
        Wrong(
            "one number for the batch",
            "This sums over the batch as well. One value per example is wanted.",
            lambda m, L: kl_full(m, L).sum(),
        ),
    ),
    right=(
        _kl_full_by_distributions,
        _kl_full_by_loops,
        _kl_full_in_numpy,
        lambda m, L: torch.vmap(lambda a, R: 0.5 * (R.square().sum() + a @ a - len(a)) - R.diagonal().log().sum())(
            m, L
        ),
    ),
    probes={
        "the KL of the prior to itself": lambda f: f(torch.zeros(2, 4), torch.eye(4).expand(2, 4, 4)),
        "the KL of one example in one dimension": lambda f: f(torch.full((1, 1), 2.0), torch.full((1, 1), 0.5)[None]),
        "the KL of a narrow q beside one far away": lambda f: f(
            torch.tensor([[0.0, 0.0], [30.0, -10.0]]), torch.diag_embed(torch.tensor([[0.01, 0.02], [0.5, 3.0]]))
        ),
    },
)
