"""Exercise 02.6: A density on the unit interval."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import torch
from scipy import special, stats
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def logit_normal_log_prob(x, mu, sigma):
    """log density of x = sigmoid(z), z ~ N(mu, sigma²), x in (0, 1): (n,) -> (n,)."""
    z = torch.log(x) - torch.log(1 - x)
    log_scale = torch.log(sigma) + 0.5 * math.log(2 * math.pi)
    log_p_z = -0.5 * ((z - mu) / sigma) ** 2 - log_scale
    return log_p_z - torch.log(x) - torch.log(1 - x)


def _log_p_z(x, mu, sigma):
    return torch.distributions.Normal(mu, sigma).log_prob(torch.logit(x))


def _by_transform(x, mu, sigma):
    base = torch.distributions.Normal(mu, sigma)
    return torch.distributions.TransformedDistribution(base, torch.distributions.SigmoidTransform()).log_prob(x)


def _by_logsigmoids(x, mu, sigma):
    z = torch.logit(x)
    return torch.distributions.Normal(mu, sigma).log_prob(z) - F.logsigmoid(z) - F.logsigmoid(-z)


def _by_scipy(x, mu, sigma):
    x = x.numpy()
    return stats.norm.logpdf(special.logit(x), mu.item(), sigma.item()) - special.xlogy(1, x * (1 - x))


def _by_loops(x, mu, sigma):
    m, s, found = mu.item(), sigma.item(), []
    for v in x.tolist():
        z = math.log(v / (1 - v))
        found.append(-0.5 * ((z - m) / s) ** 2 - math.log(s * math.sqrt(2 * math.pi)) - math.log(v * (1 - v)))
    return found


def _draw(g):
    n = int(torch.randint(2, 9, (), generator=g))
    x = 0.02 + 0.96 * torch.rand(n, generator=g)
    return x, torch.randn((), generator=g), 0.5 + torch.rand((), generator=g)


_GRID = (torch.arange(2000) + 0.5) / 2000

EXERCISE = Exercise(
    number="02.6",
    title="A density on the unit interval",
    difficulty=2,
    minutes=10,
    task=r"""
Pixels lie between 0 and 1. Draw $z \sim \mathcal N(\mu, \sigma^2)$ and set $x = 1/(1 + e^{-z})$. Write $\log p(x)$ by
(2.21), for `x` of shape `(n,)` and tensors `mu` and `sigma` of shape `()`. It returns one value for each `x`, and is right
near 0 and 1 as well: for `x` $= 10^{-6}$. You need the inverse of the sigmoid, and its derivative
$x(1 - x)$. The density must integrate to 1 over $(0, 1)$.""",
    inputs=_draw,
    solution=logit_normal_log_prob,
    explanation=r"""
The inverse is $z = \log\frac{x}{1 - x}$. The derivative of the sigmoid is $\mathrm dx/\mathrm dz = x(1 - x)$, and (2.21)
subtracts its logarithm: $-\log x - \log(1 - x)$. Near 0 and 1 the sigmoid squeezes much of the line into little room, so
there the density is raised.""",
    hints=(
        "First invert: which $z$ belongs to a given $x$? Then ask by how much the sigmoid stretches there.",
        "$z = \\log x - \\log(1 - x)$, and $g'(z) = x(1 - x)$. The formula subtracts $\\log |g'(z)|$.",
        "Take $\\log \\mathcal N(z; \\mu, \\sigma^2)$ with all its constants; subtract $\\log x$ and $\\log(1 - x)$.",
    ),
    wrong=(
        Wrong(
            "no log-determinant",
            "This is the density of z, written at x. The derivative of the map is missing, and it does not integrate to 1.",
            _log_p_z,
        ),
        Wrong(
            "the log-determinant added",
            "The logarithm of the derivative is added. Where the map stretches, density falls: subtract it.",
            lambda x, mu, sigma: _log_p_z(x, mu, sigma) + torch.log(x) + torch.log(1 - x),
        ),
        Wrong(
            "half of the derivative",
            "The derivative of the sigmoid is x (1 − x). Here its second factor is missing.",
            lambda x, mu, sigma: _log_p_z(x, mu, sigma) - torch.log(x),
        ),
        Wrong(
            "without log sigma",
            "The normal density has a 1/σ in front: − log σ is missing, and the integral is σ.",
            lambda x, mu, sigma: _by_transform(x, mu, sigma) + torch.log(sigma),
        ),
        Wrong(
            "sigma taken for the variance",
            "Here sigma is used as the variance. It is the standard deviation.",
            lambda x, mu, sigma: _by_transform(x, mu, sigma.sqrt()),
        ),
        Wrong(
            "x itself in place of its logit",
            "The normal density is evaluated at x. It belongs to z: invert the sigmoid first.",
            lambda x, mu, sigma: torch.distributions.Normal(mu, sigma).log_prob(x) - torch.log(x) - torch.log(1 - x),
        ),
        Wrong(
            "the density, not its logarithm",
            "This is the density. Its logarithm is asked, since products of 784 densities underflow.",
            lambda x, mu, sigma: _by_transform(x, mu, sigma).exp(),
        ),
    ),
    right=(_by_transform, _by_logsigmoids, _by_scipy, _by_loops),
    probes={
        "the integral over (0, 1)": lambda f: f(_GRID, torch.tensor(0.3), torch.tensor(0.8)).exp().mean(),
        "the log-density near 0 and 1": lambda f: f(
            torch.tensor([1e-6, 0.3, 1 - 2.0**-20]), torch.tensor(0.5), torch.tensor(1.2)
        ),
        "the log-density at one half, for mu = 0 and sigma = 1": lambda f: f(
            torch.tensor([0.5]), torch.tensor(0.0), torch.tensor(1.0)
        ),
    },
)
