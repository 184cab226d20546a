"""Exercise 04.1: A KL from one sample."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def kl_estimate(z, mu, logvar):
    """log q(z) − log p(z) for q = N(mu, diag exp(logvar)), p = N(0, I), at given z.

    (n, d) three times -> (n,).
    """
    constant = math.log(2 * math.pi)
    log_q = -0.5 * (constant + logvar + (z - mu) ** 2 * torch.exp(-logvar)).sum(1)
    log_p = -0.5 * (constant + z**2).sum(1)
    return log_q - log_p


def _normal(mu, logvar):
    return torch.distributions.Normal(mu, (0.5 * logvar).exp())


def _kl_estimate_by_distributions(z, mu, logvar):
    p = torch.distributions.Normal(torch.zeros_like(mu), 1.0)
    return (_normal(mu, logvar).log_prob(z) - p.log_prob(z)).sum(1)


def _kl_estimate_by_matrices(z, mu, logvar):
    q = torch.distributions.MultivariateNormal(mu, torch.diag_embed(logvar.exp()))
    p = torch.distributions.MultivariateNormal(torch.zeros_like(mu[0]), torch.eye(mu.shape[1], dtype=mu.dtype))
    return q.log_prob(z) - p.log_prob(z)


def _kl_estimate_by_loops(z, mu, logvar):
    rows = []
    for points, means, logs in zip(z.tolist(), mu.tolist(), logvar.tolist(), strict=True):
        terms = [x**2 - (x - m) ** 2 / math.exp(v) - v for x, m, v in zip(points, means, logs, strict=True)]
        rows.append(sum(terms) / 2)
    return rows


def _kl_estimate_in_numpy(z, mu, logvar):
    z, mu, std = z.numpy(), mu.numpy(), np.exp(0.5 * logvar.numpy())
    return (0.5 * z**2 - 0.5 * ((z - mu) / std) ** 2 - np.log(std)).sum(axis=1)


def _points(g):
    n, d = torch.randint(2, 7, (2,), generator=g).tolist()
    return tuple(torch.randn(n, d, generator=g) for _ in range(3))


EXERCISE = Exercise(
    number="04.1",
    title="A KL from one sample",
    difficulty=1,
    minutes=8,
    task=r"""
Write the sampled KL term of (4.12): $\log q(z) - \log p(z)$ for $q = \mathcal N(\mu, \operatorname{diag} e^{v})$ and
$p = \mathcal N(0, I)$, at given points `z`. All three arguments have shape `(n, d)`, `logvar` is $v$, and the result has
shape `(n,)`. It is 0 when $q$ is the prior. Single values may be negative; only their mean over $z \sim q$ may not. It stays
finite and right at points so far out that both densities are 0 in floating point.""",
    inputs=_points,
    solution=kl_estimate,
    explanation=r"""
Each log-density is a sum over dimensions of $-\tfrac12[\log 2\pi + v + (z - \mu)^2 e^{-v}]$, with $\mu = v = 0$ for the
prior. The two $\log 2\pi$ cancel. The order decides the sign: a divergence of $q$ has $\log q$ first. With the order
reversed this is the first fault of the chapter.""",
    hints=(
        "Write the logarithm of a one-dimensional normal density with mean $\\mu$ and variance $e^v$.",
        "It is $-\\tfrac12[\\log 2\\pi + v + (z - \\mu)^2 e^{-v}]$. For the prior set $\\mu = v = 0$. Which of the two comes first?",
        "`0.5 * (z**2 - (z - mu) ** 2 * torch.exp(-logvar) - logvar)` has shape `(n, d)`. Sum it over dimension 1.",
    ),
    wrong=(
        Wrong(
            "log p minus log q",
            "The order is reversed: its mean is minus the KL, and minimising it drives q away from p.",
            lambda z, mu, logvar: -kl_estimate(z, mu, logvar),
        ),
        Wrong(
            "the closed form",
            "This is the closed form, the mean over all z. Here the value at the given z is wanted.",
            lambda z, mu, logvar: 0.5 * (logvar.exp() + mu**2 - 1 - logvar).sum(1),
        ),
        Wrong(
            "logvar taken for log sigma",
            "Here logvar is used as log sigma. It is the logarithm of the variance, twice that of sigma.",
            lambda z, mu, logvar: kl_estimate(z, mu, 2 * logvar),
        ),
        Wrong(
            "the log-determinant is missing",
            "The term with logvar is missing: the density of q is not normalised without it.",
            lambda z, mu, logvar: kl_estimate(z, mu, logvar) + 0.5 * logvar.sum(1),
        ),
        Wrong(
            "mean over the dimensions",
            "This is the mean over the latent dimensions. The logarithm of a product is a sum.",
            lambda z, mu, logvar: kl_estimate(z, mu, logvar) / z.shape[1],
        ),
        Wrong(
            "one half is missing",
            "This is twice the value: the one half of the normal log-density is missing.",
            lambda z, mu, logvar: 2 * kl_estimate(z, mu, logvar),
        ),
    ),
    right=(_kl_estimate_by_distributions, _kl_estimate_by_matrices, _kl_estimate_by_loops, _kl_estimate_in_numpy),
    probes={
        "the value when q is the prior": lambda f: f(torch.ones(2, 3), torch.zeros(2, 3), torch.zeros(2, 3)),
        "the value at z = mu of a narrow q": lambda f: f(
            torch.zeros(1, 2), torch.zeros(1, 2), torch.full((1, 2), -9.0)
        ),
        "the value far out, beside one near": lambda f: f(
            torch.tensor([[60.0, 1.0], [0.5, -1.0]]), torch.ones(2, 2), torch.tensor([[0.5, -1.0], [0.5, 1.0]])
        ),
        "the value of one example in one dimension": lambda f: f(
            torch.full((1, 1), 2.0), torch.full((1, 1), 1.5), torch.full((1, 1), -1.0)
        ),
    },
)
