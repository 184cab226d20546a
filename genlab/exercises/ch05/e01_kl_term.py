"""Exercise 05.1: The KL term."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch

from genlab.exercises import Exercise, Wrong, mistake


def kl_to_standard(mu, logvar):
    """KL(N(mu, diag exp(logvar)) ‖ N(0, I)) per example: (n, d) -> (n,)."""
    return 0.5 * (logvar.exp() + mu**2 - 1 - logvar).sum(1)


def _kl_by_distributions(mu, logvar):
    q, p = torch.distributions.Normal(mu, (0.5 * logvar).exp()), torch.distributions.Normal(0.0, 1.0)
    return torch.distributions.kl_divergence(q, p).sum(1)


def _kl_by_loops(mu, logvar):
    rows = []
    for m, v in zip(mu, logvar, strict=True):
        total = 0.0
        for j in range(len(m)):
            total = total + (torch.exp(v[j]) + m[j] * m[j] - 1 - v[j]) / 2
        rows.append(total)
    return torch.stack(rows)


def _kl_by_products(mu, logvar):
    mu, logvar = mu.double(), logvar.double()
    return 0.5 * (torch.einsum("nd,nd->n", mu, mu) + (logvar.expm1() - logvar) @ logvar.new_ones(logvar.shape[1]))


def _draw(g):
    n, d = (int(torch.randint(low, low + 3, (), generator=g)) for low in (4, 1))
    return torch.randn(n, d, generator=g), torch.randn(n, d, generator=g)


@mistake(
    "the wrong way round",
    "This is KL(p ‖ q), the wrong way round: the expectation is to be taken under q.",
)
def _kl_reversed(mu, logvar):
    return 0.5 * ((-logvar).exp() * (1 + mu**2) - 1 + logvar).sum(1)


EXERCISE = Exercise(
    number="05.1",
    title="The KL term",
    difficulty=1,
    minutes=5,
    task=r"""
Write $\operatorname{KL}(\mathcal N(\mu, \operatorname{diag} e^{v}) \,\|\, \mathcal N(0, I))$ for `mu` and `logvar`, the
$v$ of the formula, each of shape `(n, d)`. The result has shape `(n,)`. It is 0 at `mu = logvar = 0`, it is never
negative, and its gradient in `mu` is `mu`. An encoder learns through it, so the gradients in `mu` and in `logvar` are
compared as well: stay with torch from the arguments to the result.""",
    inputs=_draw,
    solution=kl_to_standard,
    explanation=r"""
The KL of one dimension is $\tfrac12(\sigma^2 + \mu^2 - 1 - \log\sigma^2)$, and `logvar` is $\log\sigma^2$. The
dimensions are independent under both distributions, so the KL of the vector is the *sum* over dimensions.""",
    hints=(
        "For one dimension the KL has four terms. Which of them is $\\log\\sigma^2$, in terms of `logvar`?",
        "In one dimension it is $\\tfrac12(\\sigma^2 + \\mu^2 - 1 - \\log\\sigma^2)$, with $\\sigma^2$ = `logvar.exp()`.",
        "`0.5 * (logvar.exp() + mu**2 - 1 - logvar)` has shape `(n, d)`. Sum it over dimension 1, and no other.",
    ),
    wrong=(
        Wrong(
            "mean over the dimensions",
            "This is the mean over the latent dimensions. Independent dimensions add up: take the sum. "
            "With the mean, beta would be d times smaller than you think.",
            lambda mu, logvar: 0.5 * (logvar.exp() + mu**2 - 1 - logvar).mean(1),
        ),
        Wrong(
            "one half is missing",
            "This is twice the KL: the one half is missing.",
            lambda mu, logvar: (logvar.exp() + mu**2 - 1 - logvar).sum(1),
        ),
        Wrong(
            "logvar taken for the variance",
            "Here logvar is used as if it were the variance. It is its logarithm, and may be negative: "
            "the variance is logvar.exp().",
            lambda mu, logvar: 0.5 * (logvar + mu**2 - 1 - logvar.log()).sum(1),
        ),
        Wrong(
            "logvar taken for log sigma",
            "Here logvar is used as log sigma. It is the logarithm of the variance, twice that of sigma.",
            lambda mu, logvar: 0.5 * ((2 * logvar).exp() + mu**2 - 1 - 2 * logvar).sum(1),
        ),
        Wrong(
            "the wrong sign",
            "This is minus the KL. A KL divergence is never negative; minimising this would drive q away from p.",
            lambda mu, logvar: -0.5 * (logvar.exp() + mu**2 - 1 - logvar).sum(1),
        ),
        _kl_reversed,
        Wrong(
            "one number for the batch",
            "This sums over the batch as well. One value per example is wanted; average over examples last.",
            lambda mu, logvar: 0.5 * (logvar.exp() + mu**2 - 1 - logvar).sum(),
        ),
    ),
    right=(
        _kl_by_distributions,
        _kl_by_loops,
        _kl_by_products,
        lambda mu, logvar: -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp(), dim=-1),
    ),
    probes={
        "the KL of the prior to itself, mu = logvar = 0": lambda f: f(torch.zeros(4, 2), torch.zeros(4, 2)),
        "the KL of one example": lambda f: f(torch.tensor([[0.5, -1.0, 30.0]]), torch.tensor([[0.2, 0.0, -1.0]])),
        "the KL of a narrow and of a wide q, logvar = -40 and 20": lambda f: f(
            torch.zeros(2, 1), torch.tensor([[-40.0], [20.0]])
        ),
    },
    gradient=("mu", "logvar"),
)
