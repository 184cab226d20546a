"""Exercise 06.5: The factor that makes it a density."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import torch

from genlab.exercises import Exercise, Wrong, mistake


def log_normaliser(logits):
    """log C(ρ) of (6.6) for ρ = sigmoid(logits), finite and smooth: same shape."""
    small = logits.abs() < 0.05
    a = torch.where(small, torch.ones_like(logits), logits)
    exact = torch.log(a / torch.tanh(a / 2))
    return torch.where(small, math.log(2) + logits**2 / 12, exact)


@mistake(
    "by way of the sigmoid",
    "Right for moderate logits, but at ±100 the sigmoid rounds to 0 or 1, and at 0 this is 0/0. Stay with logits.",
)
def _logC_by_lambda(logits):
    lam = torch.sigmoid(logits)
    return torch.log(2 * torch.atanh(1 - 2 * lam) / (1 - 2 * lam))


@mistake(
    "without the series",
    "At a = 0 this is 0/0. Use the series log 2 + a²/12 near zero.",
)
def _logC_no_series(logits):
    return torch.log(logits / torch.tanh(logits / 2))


@mistake(
    "NaN in the slope",
    (
        "The values are right, but the slope at 0 is NaN: 0/0 is computed there before it is replaced, and its NaN comes "
        "back through the gradient. Put a harmless number in place of a before you divide."
    ),
)
def _logC_where_after(logits):
    return torch.where(logits.abs() < 0.05, math.log(2) + logits**2 / 12, torch.log(logits / torch.tanh(logits / 2)))


def _logC_by_exponentials(logits):
    a = logits.abs()
    safe = torch.where(a < 0.01, torch.ones_like(a), a)
    far = safe.log() + torch.log1p(torch.exp(-safe)) - torch.log1p(-torch.exp(-safe))
    return torch.where(a < 0.01, math.log(2) + a**2 / 12, far)


def _logC_by_masks(logits):
    small, a = logits.abs() < 0.02, logits.abs()
    found = torch.zeros_like(logits).masked_scatter(small, math.log(2) + a[small] ** 2 / 12)
    return found.masked_scatter(~small, a[~small].log() - (a[~small] / 2).tanh().log())


def _draw(g):
    rank = int(torch.randint(1, 4, (), generator=g))
    return (3 * torch.randn(*torch.randint(1, 4, (rank,), generator=g).tolist(), 4, generator=g),)


def _logC_double(logits):
    a = logits.double()
    a = torch.where(a.abs() < 1e-5, torch.full_like(a, 1e-5) + 0 * a, a)
    return torch.log(a / torch.tanh(a / 2)).to(logits.dtype)


def _slope(f, a):
    a = a.requires_grad_(True)
    return torch.autograd.grad(f(a).sum(), a)[0]


EXERCISE = Exercise(
    number="06.5",
    title="The factor that makes it a density",
    difficulty=3,
    minutes=20,
    task=r"""
Write $\log C(\rho)$ of (6.6) from logits, with $\rho = \operatorname{sigmoid}(a)$, the logistic function
$\operatorname{sigmoid}(t) = 1/(1 + e^{-t})$. First show that $C = a / \tanh(a/2)$. At
$a = 0$ that is 0/0; the limit of $\log C$ is $\log 2$, and its series begins $\log 2 + a^2/12$. At $a = \pm 100$ it
must be finite, since $\log C$ then is about $\log |a|$. It is symmetric in $a$, entry by entry for logits of any shape.
A decoder learns through it: its slope is compared as well, and is 0 at $a = 0$.""",
    inputs=_draw,
    solution=log_normaliser,
    explanation=r"""
$1 - 2\operatorname{sigmoid}(a) = -\tanh(a/2)$ and $2\operatorname{artanh}(-\tanh(a/2)) = -a$, so
$C = a/\tanh(a/2)$. In logits nothing rounds to 0 or 1. Near 0 the quotient loses digits, and the series takes over. `torch.where` computes both branches, and
the gradient of the branch that is not taken would be NaN; so its argument is made harmless first.""",
    hints=(
        "Express $1 - 2\\rho$ by a tanh. What is the artanh of it?",
        "$C = a/\\tanh(a/2)$. For $|a|$ below 0.05, say, use $\\log 2 + a^2/12$ instead.",
        "Put 1 in place of small `a` before dividing, and choose between both results by `torch.where`.",
    ),
    wrong=(
        _logC_by_lambda,
        _logC_no_series,
        _logC_where_after,
        Wrong(
            "a for its half",
            "The tanh is of a/2, not of a. The limit at 0 would be log 1.",
            lambda logits: torch.log(logits / torch.tanh(logits)),
        ),
        Wrong(
            "minus it",
            "The sign is wrong: C is at least 2, so log C is at least log 2.",
            lambda logits: -log_normaliser(logits),
        ),
        Wrong("C itself", "This is C. Its logarithm was asked for.", lambda logits: log_normaliser(logits).exp()),
    ),
    right=(_logC_double, _logC_by_exponentials, _logC_by_masks),
    probes={
        "logits of 0 and near it": lambda f: f(torch.tensor([0.0, 1e-6, -1e-6, 1e-4, -1e-3, 0.02])),
        "logits of ±100": lambda f: f(torch.tensor([[100.0], [-100.0]])),
        "one logit": lambda f: f(torch.tensor([[-2.0]])),
        "the slope at logits 0, ±0.04, 1 and ±100": lambda f: _slope(f, torch.tensor([0.0, 0.04, -0.04, 1, 100, -100])),
    },
    gradient=("logits",),
)
