"""Exercise 09.3: Two slopes."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def generator_slopes(logits):
    """Slopes (9.7), saturating and non-saturating, by logit: (n,) -> (n,), (n,)."""
    return -torch.sigmoid(logits), -torch.sigmoid(-logits)


def _slopes_by_autograd(logits):
    logits = logits.detach().requires_grad_(True)
    losses = (-F.softplus(logits)).sum(), F.softplus(-logits).sum()
    return tuple(torch.autograd.grad(loss, logits)[0] for loss in losses)


def _slopes_by_numpy(logits):
    D = 1 / (1 + np.exp(-logits.double().numpy()))
    return np.stack([-D, D - 1])


def _slopes_by_func(logits):
    terms = (lambda v: -F.softplus(v), lambda v: F.softplus(-v))
    return [torch.func.vmap(torch.func.grad(term))(logits) for term in terms]


def _logits(g):
    n = (1, 3, 4, 5, 6)[int(torch.randint(5, (), generator=g))]  # not 2: then a stack of pairs has two readings
    return (3 * torch.randn(n, generator=g),)


EXERCISE = Exercise(
    number="09.3",
    title="Two slopes",
    difficulty=1,
    minutes=8,
    task=r"""
Give, for each logit $\ell$ of a generated image, the derivative by $\ell$ of the saturating term
$\log(1-\operatorname{sigmoid}(\ell))$ and of the non-saturating term $-\log\operatorname{sigmoid}(\ell)$: two results of
shape `(n,)`, in this order, in closed form. They must be right at logits of ±200 too. What do the two add up to? Which is
nearly 0 when D is sure that the image is generated?""",
    inputs=_logits,
    solution=generator_slopes,
    explanation=r"""
The derivative of $\operatorname{softplus}$ is $\operatorname{sigmoid}$. So $-\operatorname{softplus}(\ell)$ has the
slope $-\operatorname{sigmoid}(\ell) = -D$, and $\operatorname{softplus}(-\ell)$ has
$-\operatorname{sigmoid}(-\ell) = -(1-D)$. They add up to $-1$ and are equal at $D = ½$. Both push the logit up; the first
hardly pushes those images that D recognises.""",
    hints=(
        "Write both terms with the softplus. What is its derivative?",
        "With $s$ for softplus they are $-s(\\ell)$ and $s(-\\ell)$, and $s'$ is the sigmoid. Mind the inner derivative.",
        "The slopes are `-torch.sigmoid(logits)` and `-torch.sigmoid(-logits)`.",
    ),
    wrong=(
        Wrong(
            "the order swapped",
            "The two are swapped. The saturating slope is the one that vanishes at very negative logits.",
            lambda logits: (-torch.sigmoid(-logits), -torch.sigmoid(logits)),
        ),
        Wrong(
            "the wrong sign",
            "The sign is wrong: both losses fall when the logit rises, so both slopes are negative.",
            lambda logits: (torch.sigmoid(logits), torch.sigmoid(-logits)),
        ),
        Wrong(
            "by D in place of the logit",
            "These are derivatives by D. The network's output is the logit; multiply by dD/dℓ = D (1 − D).",
            lambda logits: (-1 / (1 - torch.sigmoid(logits)), -1 / torch.sigmoid(logits)),
        ),
        Wrong(
            "exp overflows",
            "Right for moderate logits, but exp(200) is infinite in float32, and infinity over infinity is NaN.",
            lambda logits: (-logits.exp() / (1 + logits.exp()), -1 / (1 + logits.exp())),
        ),
        Wrong(
            "divided by n",
            "These are the slopes of the mean over the batch. Here the slope of each term is wanted.",
            lambda logits: (-torch.sigmoid(logits) / len(logits), -torch.sigmoid(-logits) / len(logits)),
        ),
        Wrong(
            "minus one for the second",
            "The second slope is not constant: it is −(1 − D), and vanishes when D is fooled.",
            lambda logits: (-torch.sigmoid(logits), -torch.ones_like(logits)),
        ),
    ),
    right=(
        _slopes_by_autograd,
        _slopes_by_numpy,
        _slopes_by_func,
        lambda logits: (-1 / (1 + torch.exp(-logits)), -1 / (1 + torch.exp(logits))),
    ),
    probes={
        "the slopes of an undecided D": lambda f: f(torch.zeros(3)),
        "the slopes of a single logit": lambda f: f(torch.tensor([0.5])),
        "the slopes at logits of -200, 1 and 200": lambda f: f(torch.tensor([-200.0, 1.0, 200.0])),
    },
)
