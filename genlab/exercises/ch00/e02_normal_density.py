"""Exercise 00.2: A normal density."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch
from scipy import stats

from genlab.exercises import Exercise, mistake


def log_normal(x, mu, logvar):
    """log N(x; mu, diag exp(logvar)) per example: (n, d) three times -> (n,)."""
    square = (x - mu) ** 2 / logvar.exp()
    return -0.5 * (math.log(2 * math.pi) + logvar + square).sum(1)


def _normal_by_distributions(x, mu, logvar):
    return torch.distributions.Normal(mu, (logvar / 2).exp()).log_prob(x).sum(1)


def _normal_by_covariance(x, mu, logvar):
    return torch.distributions.MultivariateNormal(mu, torch.diag_embed(logvar.exp())).log_prob(x)


def _normal_by_loops(x, mu, logvar):
    rows = []
    for row in torch.stack([x, mu, logvar], 2).tolist():
        rows.append(sum(-0.5 * (math.log(2 * math.pi) + v + (a - m) ** 2 / math.exp(v)) for a, m, v in row))
    return rows


@mistake(
    "without the constant",
    "The constant log 2π is missing. Then the density does not integrate to one, and numbers do not compare.",
)
def _normal_no_constant(x, mu, logvar):
    return -0.5 * (logvar + (x - mu) ** 2 / logvar.exp()).sum(1)


@mistake(
    "the half stands at the square alone",
    "The one half belongs to all three terms: log √(2πσ²) is half of log 2πσ².",
)
def _normal_half_square_only(x, mu, logvar):
    return -(math.log(2 * math.pi) + logvar + 0.5 * (x - mu) ** 2 / logvar.exp()).sum(1)


@mistake(
    "no half at the square",
    "The square lacks its one half: it is (x − μ)² / 2σ².",
)
def _normal_no_half_at_square(x, mu, logvar):
    return -(0.5 * math.log(2 * math.pi) + 0.5 * logvar + (x - mu) ** 2 / logvar.exp()).sum(1)


@mistake(
    "logvar taken for log sigma",
    "Here logvar is taken for log σ. It is log σ², twice as much.",
)
def _normal_log_sigma(x, mu, logvar):
    return torch.distributions.Normal(mu, logvar.exp()).log_prob(x).sum(1)


@mistake(
    "mean over the dimensions",
    "This is the mean over dimensions. Densities of independent dimensions multiply: take the sum.",
)
def _normal_mean(x, mu, logvar):
    return torch.distributions.Normal(mu, (logvar / 2).exp()).log_prob(x).mean(1)


@mistake(
    "the density",
    "This is the density itself. Its logarithm is wanted.",
)
def _normal_density(x, mu, logvar):
    return log_normal(x, mu, logvar).exp()


def _draw(g):
    n, d = int(torch.randint(4, 8, (), generator=g)), int(torch.randint(1, 4, (), generator=g))
    return tuple(torch.randn(n, d, generator=g) for _ in range(3))


EXERCISE = Exercise(
    number="00.2",
    title="A normal density",
    difficulty=1,
    minutes=8,
    task=r"""
Write $\log \mathcal N(x;\, \mu, \operatorname{diag} e^{v})$ for tensors of shape `(n, d)`, where $v$ is `logvar`. It
returns one value per example, shape `(n,)`, whatever `n` and `d` are, and for very small and large variances. Compare with `torch.distributions.Normal`. Which is `logvar`: $\log \sigma$
or $\log \sigma^2$?""",
    inputs=_draw,
    solution=log_normal,
    explanation=r"""
`logvar` is $\log\sigma^2$. In one dimension
$\log \mathcal N = -\tfrac12[\log 2\pi + \log\sigma^2 + (x-\mu)^2/\sigma^2]$. Independent dimensions multiply, so their
logarithms add up; the sum runs over dimensions, never over examples.""",
    hints=(
        "In one dimension there are three terms, all with a factor of $-\\tfrac12$.",
        "They are $\\log 2\\pi$, $\\log\\sigma^2$ = `logvar`, and $(x-\\mu)^2/\\sigma^2$ with $\\sigma^2$ = `logvar.exp()`.",
        "Compute the three for every entry, add them, sum over dimension 1, and multiply by `-0.5`.",
    ),
    wrong=(
        _normal_no_constant,
        _normal_half_square_only,
        _normal_no_half_at_square,
        _normal_log_sigma,
        _normal_mean,
        _normal_density,
    ),
    right=(
        _normal_by_distributions,
        _normal_by_covariance,
        _normal_by_loops,
        lambda x, mu, logvar: stats.norm.logpdf(x.numpy(), mu.numpy(), np.exp(logvar.numpy() / 2)).sum(1),
    ),
    probes={
        "one example with one dimension": lambda f: f(torch.ones(1, 1), torch.zeros(1, 1), torch.ones(1, 1)),
        "one example with three dimensions": lambda f: f(torch.ones(1, 3), torch.zeros(1, 3), torch.ones(1, 3)),
        "logvar = −20 and 20": lambda f: f(
            torch.tensor([[1.0, 2.0], [3.0, -1e5]]), torch.zeros(2, 2), torch.tensor([[-20.0, 0.0], [0.5, 20.0]])
        ),
    },
)
