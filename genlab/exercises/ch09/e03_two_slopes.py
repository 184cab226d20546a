"""Exercise 09.3: Two slopes."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def generator_slopes(logits):
    """The slopes (9.7) of the saturating and of the non-saturating loss, one per logit: (n,) -> (n,), (n,)."""
    return -torch.sigmoid(logits), -torch.sigmoid(-logits)


def _slopes_by_autograd(logits):
    logits = logits.detach().requires_grad_(True)
    losses = (-F.softplus(logits)).sum(), F.softplus(-logits).sum()
    return tuple(torch.autograd.grad(loss, logits)[0] for loss in losses)


EXERCISE = Exercise(
    number="09.3",
    title="Two slopes",
    difficulty=1,
    minutes=8,
    task=r"""
Give, for each logit $\ell$ of a generated image, the derivative by $\ell$ of the saturating term $\log(1-\sigma(\ell))$
and of the non-saturating term $-\log\sigma(\ell)$, in this order, in closed form. What do the two add up to? Which is
nearly 0 when D is sure that the image is generated?""",
    inputs=lambda g: (3 * torch.randn(6, generator=g),),
    solution=generator_slopes,
    explanation=r"""
The derivative of $\operatorname{softplus}$ is $\sigma$. So $-\operatorname{softplus}(\ell)$ has the slope
$-\sigma(\ell) = -D$, and $\operatorname{softplus}(-\ell)$ has $-\sigma(-\ell) = -(1-D)$. They add up to $-1$ and are
equal at $D = ½$. Both push the logit up; the first hardly pushes those images that D recognises.""",
    hints=(
        "Write both terms with the softplus. What is its derivative?",
        "With $s$ for softplus they are $-s(\\ell)$ and $s(-\\ell)$, and $s' = \\sigma$. Mind the inner derivative.",
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
    right=(_slopes_by_autograd, lambda logits: (-1 / (1 + torch.exp(-logits)), -1 / (1 + torch.exp(logits)))),
    probes={
        "the slopes of an undecided D": lambda f: f(torch.zeros(2)),
        "the slopes at logits of -80 and 80": lambda f: f(torch.tensor([-80.0, 80.0])),
    },
)
