"""Exercise 02.3: The best classifier of two normals."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import torch
from scipy import stats

from genlab.exercises import Exercise, Wrong


def tv_normals(theta, sigma):
    """TV of N(0, sigma²) and N(theta, sigma²), for tensors (n,) each: (n,)."""
    return torch.erf(theta.abs() / (2 * math.sqrt(2) * sigma))


def _tv_by_normal(theta, sigma):
    return 2 * torch.distributions.Normal(0.0, 1.0).cdf(theta.abs() / (2 * sigma)) - 1


def _tv_by_events(theta, sigma):
    normal = torch.distributions.Normal(torch.zeros_like(theta), sigma)
    return (normal.cdf(theta / 2) - normal.cdf(-theta / 2)).abs()


def _tv_by_loops(theta, sigma):
    return [math.erf(abs(t) / (2 * math.sqrt(2) * s)) for t, s in zip(theta.tolist(), sigma.tolist(), strict=True)]


def _draw(g):
    n = int(torch.randint(3, 8, (), generator=g))
    return 2 * torch.randn(n, generator=g), 0.5 + torch.rand(n, generator=g)


EXERCISE = Exercise(
    number="02.3",
    title="The best classifier of two normals",
    difficulty=2,
    minutes=10,
    task=r"""
Two normal distributions have the same standard deviation $\sigma$, and their means lie $\theta$ apart. Find the event
$\{p > q\}$, compute its probability under both, and so find $\operatorname{TV}$ by (2.14) in closed form. `theta` may be
negative; `theta`, `sigma` and the result have shape `(n,)`. At `theta = 0` the result is 0, and for large `theta` it tends to 1. The
best classifier is right in a share of $\tfrac12(1 + \operatorname{TV})$ of all cases.""",
    inputs=_draw,
    solution=tv_normals,
    explanation=r"""
Both densities are equal half way, at $\theta/2$. For $\theta > 0$ the event is $\{x < \theta/2\}$, with probabilities
$\Phi(\theta/2\sigma)$ and $\Phi(-\theta/2\sigma) = 1 - \Phi(\theta/2\sigma)$. Their difference is
$2\Phi(\theta/2\sigma) - 1$, and since $\operatorname{erf}(u) = 2\Phi(u\sqrt2) - 1$ this is
$\operatorname{erf}(\theta / (2\sqrt2\,\sigma))$.""",
    hints=(
        "Sketch both bells. Where are they equally high, and on which side of that point is $p$ the larger?",
        "With the normal distribution function $\\Phi$ they are $\\Phi(\\theta/2\\sigma)$ and $1 - \\Phi(\\theta/2\\sigma)$.",
        "$2\\Phi(u) - 1 = \\operatorname{erf}(u/\\sqrt 2)$ with $u = |\\theta| / (2\\sigma)$; PyTorch has `torch.erf`.",
    ),
    wrong=(
        Wrong(
            "the whole distance",
            "Here the border lies at theta. The densities are equal half way between the means, at theta / 2.",
            lambda theta, sigma: torch.erf(theta.abs() / (math.sqrt(2) * sigma)),
        ),
        Wrong(
            "the sign is lost",
            "For negative theta this is negative. A distance is not: take the absolute value of theta.",
            lambda theta, sigma: torch.erf(theta / (2 * math.sqrt(2) * sigma)),
        ),
        Wrong(
            "the accuracy",
            "This is the accuracy of the best classifier, ½(1 + TV), which is ½ for equal distributions. TV is asked.",
            lambda theta, sigma: 0.5 * (1 + torch.erf(theta.abs() / (2 * math.sqrt(2) * sigma))),
        ),
        Wrong(
            "the overlap",
            "This is the overlap, 1 − TV: it is 1 for equal distributions, where a distance is 0.",
            lambda theta, sigma: torch.erfc(theta.abs() / (2 * math.sqrt(2) * sigma)),
        ),
        Wrong(
            "the variance in place of sigma",
            "theta is divided by the variance. Distances are measured in standard deviations.",
            lambda theta, sigma: torch.erf(theta.abs() / (2 * math.sqrt(2) * sigma**2)),
        ),
        Wrong(
            "Pinsker's bound",
            "This is Pinsker's bound, the root of KL/2. It is not the distance itself, and exceeds 1 for large theta.",
            lambda theta, sigma: theta.abs() / (2 * sigma),
        ),
    ),
    right=(
        _tv_by_normal,
        _tv_by_events,
        _tv_by_loops,
        lambda theta, sigma: 2 * stats.norm.cdf(abs(theta.numpy()) / (2 * sigma.numpy())) - 1,
    ),
    probes={
        "the distance at theta = 0": lambda f: f(torch.zeros(2), torch.ones(2)),
        "the distance for a single pair": lambda f: f(torch.tensor([-1.0]), torch.tensor([0.25])),
        "the distance of two normals that are far apart": lambda f: f(torch.tensor([100.0, -100.0]), torch.ones(2)),
    },
)
