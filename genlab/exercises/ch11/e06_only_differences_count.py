"""Exercise 11.6: Only differences count."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch
from scipy import special
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong, mistake


def relativistic(real, fake):
    """L_D of (11.13) and its slopes in the real and in the generated logits.

    (n,) twice -> number, (n,), (n,).
    """
    loss = F.softplus(fake - real).mean()
    slope = torch.sigmoid(fake - real) / len(real)
    return loss, -slope, slope


def _relativistic_by_autograd(real, fake):
    real, fake = real.detach().requires_grad_(True), fake.detach().requires_grad_(True)
    loss = -F.logsigmoid(real - fake).mean()
    return loss.detach(), *torch.autograd.grad(loss, (real, fake))


def _relativistic_by_numpy(real, fake):
    a = fake.numpy() - real.numpy()
    slope = special.expit(a) / len(a)
    return np.logaddexp(0, a).mean(), -slope, slope


def _relativistic_by_func(real, fake):
    def loss(real, fake):
        return F.binary_cross_entropy_with_logits(real - fake, torch.ones_like(real))

    return [loss(real, fake), *torch.func.grad(loss, argnums=(0, 1))(real, fake)]


@mistake(
    "each with each",
    "Every real image is compared with every generated one. (11.13) compares pairs: real i with generated i.",
)
def _relativistic_all_pairs(real, fake):
    differences = fake[None] - real[:, None]
    slopes = torch.sigmoid(differences) / differences.numel()
    return F.softplus(differences).mean(), -slopes.sum(1), slopes.sum(0)


@mistake(
    "against the mean",
    "Real logits are compared with the mean of the generated ones. That is the relativistic average GAN.",
)
def _relativistic_average(real, fake):
    loss = F.softplus(fake.mean() - real).mean()
    slope = torch.sigmoid(fake.mean() - real) / len(real)
    return loss, -slope, slope


def _slopes(slope):
    """The right loss with another slope in the generated logits, and its negative in the real ones."""
    return lambda real, fake: (relativistic(real, fake)[0], -slope(real, fake), slope(real, fake))


def _pairs(g):
    """Any number of pairs; the logits of one lie far from the others."""
    real, fake = 2 * torch.randn(2, int(torch.randint(2, 8, (), generator=g)), generator=g)
    real[0], fake[0] = real[0] - 20, fake[0] - 19
    return real, fake


EXERCISE = Exercise(
    number="11.6",
    title="Only differences count",
    difficulty=2,
    minutes=10,
    task=r"""
Give the relativistic $L_D$ of (11.13) for $n$ pairs of logits, and in closed form its slope in each real and in each
generated logit. Return the three in this order: a number, the $n$ derivatives of it by the real logits, and the $n$ by the
generated ones. The slopes of a pair add up to 0: $D$ gains nothing by raising both. At logits of 1,000 and $-1{,}000$
nothing may overflow.""",
    inputs=_pairs,
    solution=relativistic,
    explanation=r"""
With $a = \ell(G(z)) - \ell(x)$ the term is $\operatorname{softplus}(a)$, and its derivative by $a$ is the logistic
function, $\operatorname{sigmoid}(a) = 1/(1 + e^{-a})$. The chain rule brings $-1$ for the real logit and $+1$
for the generated one, and the mean brings $1/n$. A pair that is already in the right order by far has a slope near 0,
wherever its two logits lie.""",
    hints=(
        "Call the difference a. What is the derivative of the softplus?",
        "It is $\\operatorname{sigmoid}(a)$. Then the inner derivatives of $a$ by each logit, and the mean over n pairs.",
        "`slope = torch.sigmoid(fake - real) / len(real)`; the answer is `loss, -slope, slope`.",
    ),
    wrong=(
        Wrong(
            "G's loss",
            "This is G's loss: the difference is turned round. D wants real above generated.",
            lambda real, fake: (
                F.softplus(real - fake).mean(),
                torch.sigmoid(real - fake) / len(real),
                -torch.sigmoid(real - fake) / len(real),
            ),
        ),
        Wrong(
            "without 1/n",
            "The loss is a mean, so each slope has a factor 1/n.",
            _slopes(lambda real, fake: torch.sigmoid(fake - real)),
        ),
        Wrong(
            "the sum",
            "The loss is a sum over the pairs here, and its slopes lack a factor 1/n. (11.13) has a mean.",
            lambda real, fake: (
                F.softplus(fake - real).sum(),
                -torch.sigmoid(fake - real),
                torch.sigmoid(fake - real),
            ),
        ),
        Wrong(
            "the signs of the slopes",
            "The slopes have the wrong sign, or stand in the wrong order: those of the real logits come first and are "
            "negative, since raising a real logit lowers D's loss.",
            _slopes(lambda real, fake: -torch.sigmoid(fake - real) / len(real)),
        ),
        _relativistic_all_pairs,
        _relativistic_average,
        Wrong(
            "the slope of cross-entropy",
            "These are the slopes of the plain cross-entropy, where each logit stands alone.",
            lambda real, fake: (
                relativistic(real, fake)[0],
                -torch.sigmoid(-real) / len(real),
                torch.sigmoid(fake) / len(real),
            ),
        ),
        Wrong(
            "a logarithm of 0 or infinity",
            "The loss is infinite for large differences: an exponential overflows, or a sigmoid underflows, before the "
            "logarithm is taken. Use softplus.",
            lambda real, fake: ((1 + (fake - real).exp()).log().mean(), *relativistic(real, fake)[1:]),
        ),
    ),
    right=(_relativistic_by_autograd, _relativistic_by_numpy, _relativistic_by_func),
    probes={
        "loss and slopes at equal logits": lambda f: f(torch.full((2,), 3.0), torch.full((2,), 3.0)),
        "loss and slopes of a single pair": lambda f: f(torch.tensor([0.5]), torch.tensor([-1.5])),
        "loss and slopes far out": lambda f: f(torch.tensor([1000.0, -1000.0]), torch.tensor([-1000.0, 1000.0])),
    },
)
