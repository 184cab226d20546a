"""Exercise 05.3: Bernoulli without underflow."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong, mistake


def bernoulli_log_prob(x, logits):
    """Σ_i [x_i a_i − softplus(a_i)]: (n, …) twice -> (n,)."""
    return (x * logits - F.softplus(logits)).flatten(1).sum(1)


@mistake(
    "log of a sigmoid",
    (
        "For moderate logits this is right, but at ±1,000 the sigmoid rounds to 0 or 1 and its logarithm is infinite. "
        "Never take log(sigmoid(a))."
    ),
)
def _bernoulli_by_sigmoid(x, logits):
    p = torch.sigmoid(logits)
    return (x * p.log() + (1 - x) * (1 - p).log()).flatten(1).sum(1)


@mistake(
    "a small number inside the logarithm",
    (
        "Adding 1e-8 inside the logarithm hides the underflow: at ±1,000 the value should be -1,000 a pixel, "
        "and the gradient vanishes there."
    ),
)
def _bernoulli_with_eps(x, logits):
    p = torch.sigmoid(logits)
    return (x * (p + 1e-8).log() + (1 - x) * (1 - p + 1e-8).log()).flatten(1).sum(1)


@mistake(
    "log of 1 + exp",
    (
        "For moderate logits this is right, but exp(1000) is infinite, and so is log(1 + exp(1000)). F.softplus is the "
        "same function without the overflow."
    ),
)
def _bernoulli_by_exp(x, logits):
    return (x * logits - torch.log(1 + logits.exp())).flatten(1).sum(1)


def _bernoulli_by_loops(x, logits):
    zero = torch.zeros((), dtype=logits.dtype)
    pixels = zip(x.flatten(1), logits.flatten(1), strict=True)
    return torch.stack([sum(p * a - torch.logaddexp(zero, a) for p, a in zip(*row, strict=True)) for row in pixels])


def _bernoulli_by_distributions(x, logits):
    q = torch.distributions.Bernoulli(logits=logits)
    return torch.distributions.Independent(q, x.ndim - 1).log_prob(x)


def _draw(g):
    n, rank = int(torch.randint(3, 6, (), generator=g)), int(torch.randint(1, 4, (), generator=g))
    shape = (n, *torch.randint(1, 4, (rank,), generator=g).tolist(), 2)
    return torch.rand(shape, generator=g).round(), 2 * torch.randn(shape, generator=g)


_EXTREME = torch.tensor([[1000.0, -1000.0, 1000.0]])

EXERCISE = Exercise(
    number="05.3",
    title="Bernoulli without underflow",
    difficulty=2,
    minutes=10,
    task=r"""
Write $\log p(x \mid z)$ of (5.10) from logits, without calling a cross-entropy or a sigmoid. It must be finite and exact
for logits of ±1,000: there the log-probability of the likelier value is 0 and that of the other is −1,000. Sum over
everything but the first dimension: `x` and `logits` have the same shape `(n, …)`, with one or more dimensions after the
first, and `x` holds zeros and ones. A decoder learns through it, so its gradient in `logits`, which is
$x - \operatorname{sigmoid}(a)$, is compared as well: stay with torch from the logits to the result.""",
    inputs=_draw,
    solution=bernoulli_log_prob,
    explanation=r"""
With $\log\operatorname{sigmoid}(a) = -\operatorname{softplus}(-a)$ and
$\operatorname{softplus}(-a) = \operatorname{softplus}(a) - a$,
$x\log\operatorname{sigmoid}(a) + (1-x)\log(1-\operatorname{sigmoid}(a)) = x a - \operatorname{softplus}(a)$.
Softplus is $\log(1+e^a)$, computed so that $e^a$ never overflows. A sigmoid of 1,000 is exactly 1 in floating point, and
the logarithm of $1-1$ is $-\infty$.""",
    hints=(
        (
            "Write $\\log \\operatorname{sigmoid}(a)$ and $\\log(1 - \\operatorname{sigmoid}(a))$ "
            "with $\\log(1 + e^{\\dots})$, and collect terms."
        ),
        (
            "$\\log(1-\\operatorname{sigmoid}(a)) = -\\log(1+e^{a})$, "
            "and $\\log\\operatorname{sigmoid}(a) = a - \\log(1+e^{a})$. PyTorch has the softplus."
        ),
        "Per pixel it is `x * logits - F.softplus(logits)`. Flatten from dimension 1 on, then sum.",
    ),
    wrong=(
        _bernoulli_by_sigmoid,
        _bernoulli_with_eps,
        _bernoulli_by_exp,
        Wrong(
            "mean over the pixels",
            "This is the mean over pixels, not the sum: the KL term would weigh as many times more as there are pixels.",
            lambda x, logits: (x * logits - F.softplus(logits)).flatten(1).mean(1),
        ),
        Wrong(
            "the wrong sign",
            "This is the cross-entropy, minus the log-probability. A log-probability of 0 or 1 pixels is never positive.",
            lambda x, logits: (F.softplus(logits) - x * logits).flatten(1).sum(1),
        ),
        Wrong(
            "the last dimension only",
            "This sums over the last dimension only. Sum over everything but the first.",
            lambda x, logits: (x * logits - F.softplus(logits)).sum(-1),
        ),
        Wrong(
            "x and 1 − x swapped",
            "Here x and 1 − x have changed places: the logit belongs to the pixel being 1.",
            lambda x, logits: ((1 - x) * logits - F.softplus(logits)).flatten(1).sum(1),
        ),
    ),
    right=(
        _bernoulli_by_loops,
        _bernoulli_by_distributions,
        lambda x, logits: torch.where(x == 1, F.logsigmoid(logits), F.logsigmoid(-logits)).flatten(1).sum(1),
        lambda x, logits: -F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1),
    ),
    probes={
        "pixels at their likelier value, logits ±1,000": lambda f: f(torch.tensor([[1.0, 0.0, 1.0]]), _EXTREME),
        "pixels at their other value, logits ±1,000": lambda f: f(torch.tensor([[0.0, 1.0, 0.0]]), _EXTREME),
        "pixels at their other value, logits 2,000, −3,000 and 5,000": lambda f: f(
            torch.tensor([[[0.0]], [[1.0]], [[0.0]]]), torch.tensor([[[2000.0]], [[-3000.0]], [[5000.0]]])
        ),
    },
    gradient=("logits",),
)
