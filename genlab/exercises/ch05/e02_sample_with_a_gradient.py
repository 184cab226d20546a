"""Exercise 05.2: A sample with a gradient."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch

from genlab.exercises import Exercise, Wrong, mistake


def reparameterise(mu, logvar, eps):
    """z = μ + σ ε, differentiable in mu and logvar: (n, d) -> (n, d)."""
    return mu + torch.exp(0.5 * logvar) * eps


@mistake(
    "the noise is drawn inside",
    "Your function draws noise of its own. Use eps, so that the caller decides what is random.",
)
def _draws_its_own(mu, logvar, eps):
    return mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)


def _by_matrices(mu, logvar, eps):
    return mu + (torch.diag_embed((0.5 * logvar).exp()) @ eps[..., None])[..., 0]


def _by_loops(mu, logvar, eps):
    rows = zip(mu, logvar, eps, strict=True)
    return torch.stack([torch.stack([m + (v / 2).exp() * e for m, v, e in zip(*r, strict=True)]) for r in rows])


def _draw(g):
    n, d = (int(torch.randint(low, low + 3, (), generator=g)) for low in (4, 1))
    return tuple(torch.randn(n, d, generator=g) for _ in range(3))


EXERCISE = Exercise(
    number="05.2",
    title="A sample with a gradient",
    difficulty=1,
    minutes=5,
    task=r"""
Write the reparameterised sample $z = \mu + \sigma \odot \varepsilon$ for given noise `eps`, all of shape `(n, d)`. For
`eps = 0` it is `mu`. The derivative of $z$ in `mu` is 1. Work out by hand what it is in `logvar`, and compare with autograd.
The check compares both gradients as well: stay with torch from `mu` and `logvar` to the result.""",
    inputs=_draw,
    solution=reparameterise,
    explanation=r"""
$\sigma = e^{v/2}$ for $v$ = `logvar`, so $z = \mu + e^{v/2}\varepsilon$ and
$\partial z/\partial v = \tfrac12 e^{v/2}\varepsilon = \tfrac12 (z - \mu)$. The noise is given and has no gradient of its
own: all randomness was moved into it, and that is the trick.""",
    hints=(
        "The noise is multiplied by a standard deviation. What is the standard deviation in terms of `logvar`?",
        "`logvar` is $\\log \\sigma^2 = 2 \\log \\sigma$, so $\\log \\sigma$ is half of it.",
        "$\\sigma$ is `torch.exp(0.5 * logvar)`; multiply it by `eps` and add `mu`.",
    ),
    wrong=(
        Wrong(
            "the variance in place of the standard deviation",
            "The noise is multiplied by the variance. It has to be the standard deviation, exp of half of logvar.",
            lambda mu, logvar, eps: mu + torch.exp(logvar) * eps,
        ),
        Wrong(
            "logvar taken for sigma",
            "The noise is multiplied by logvar itself. The standard deviation is exp(logvar / 2).",
            lambda mu, logvar, eps: mu + logvar * eps,
        ),
        Wrong(
            "logvar taken for the variance",
            "Here the root of logvar is taken, as if it were the variance: it is its logarithm, and may be negative.",
            lambda mu, logvar, eps: mu + logvar.sqrt() * eps,
        ),
        _draws_its_own,
        Wrong(
            "mu is cut off",
            "The values are right, but mu gets no gradient: detach cuts the encoder off, and it would never learn.",
            lambda mu, logvar, eps: mu.detach() + torch.exp(0.5 * logvar) * eps,
        ),
        Wrong(
            "sigma is cut off",
            "The values are right, but logvar gets no gradient: detach cuts it off, and sigma would never learn.",
            lambda mu, logvar, eps: mu + torch.exp(0.5 * logvar).detach() * eps,
        ),
    ),
    right=(
        _by_matrices,
        _by_loops,
        lambda mu, logvar, eps: torch.addcmul(mu, logvar.exp().sqrt(), eps),
        lambda mu, logvar, eps: torch.distributions.AffineTransform(mu, (logvar / 2).exp())(eps),
    ),
    probes={
        "the sample without noise, eps = 0": lambda f: f(torch.ones(2, 3), torch.ones(2, 3), torch.zeros(2, 3)),
        "one example of one dimension": lambda f: f(*torch.tensor([0.5, -1.0, 2.0]).reshape(3, 1, 1)),
        "a very small and a very large sigma, logvar = -30 and 30": lambda f: f(
            torch.zeros(1, 2), torch.tensor([[-30.0, 30.0]]), torch.tensor([[5.0, 1.0]])
        ),
    },
    gradient=("mu", "logvar"),
)
