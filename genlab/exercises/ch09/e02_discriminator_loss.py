"""Exercise 09.2: The discriminator's loss."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong, mistake


def discriminator_loss(real, fake):
    """L_D of (9.4), a number, from logits of real (n,) and generated images (m,)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def _d_by_bce(real, fake):
    bce = F.binary_cross_entropy_with_logits
    return bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))


@mistake(
    "one mean for both batches",
    "This is one mean over both batches together. (9.1) has two expectations: add two means.",
)
def _d_pooled(real, fake):
    logits, targets = torch.cat([real, fake]), torch.cat([torch.ones_like(real), torch.zeros_like(fake)])
    return F.binary_cross_entropy_with_logits(logits, targets)


def _d_by_distribution(real, fake):
    D = torch.distributions.Bernoulli
    on_real = D(logits=real).log_prob(torch.ones_like(real))
    return -on_real.mean() - D(logits=fake).log_prob(torch.zeros_like(fake)).mean()


def _d_by_loop(real, fake):
    zero = torch.zeros((), dtype=torch.float64)
    costs = [torch.logaddexp(zero, -v.double()) / len(real) for v in real]
    return sum(costs + [torch.logaddexp(zero, v.double()) / len(fake) for v in fake])


def _logits(g):
    return tuple(2 * torch.randn(int(torch.randint(1, 8, (), generator=g)), generator=g) for _ in range(2))


EXERCISE = Exercise(
    number="09.2",
    title="The discriminator's loss",
    difficulty=1,
    minutes=5,
    task=r"""
Write $L_D$ of (9.4) from logits, without a sigmoid. The two batches may differ in size: each has its own mean. An
undecided D, with all logits 0, pays $2 \log 2$. For real logits of 1,000 and generated ones of $-1{,}000$ the loss is
0, and the other way round it is 2,000. D is to learn from it, so its gradients by `real` and by `fake` are compared as
well: stay with torch from the arguments to the result.""",
    inputs=_logits,
    solution=discriminator_loss,
    explanation=r"""
$-\log\operatorname{sigmoid}(\ell) = \operatorname{softplus}(-\ell)$ for real images and
$-\log(1-\operatorname{sigmoid}(\ell)) = \operatorname{softplus}(\ell)$ for generated ones. (9.1) has two expectations,
so there are two means. One mean over both batches together halves the loss, and weighs real and generated images by how
many there are.""",
    hints=(
        "Write $-\\log \\operatorname{sigmoid}(\\ell)$ and $-\\log(1 - \\operatorname{sigmoid}(\\ell))$ with the softplus.",
        "$-\\log\\operatorname{sigmoid}(\\ell) = \\log(1 + e^{-\\ell})$. For which of the two batches is this the cost?",
        "Real logits cost `F.softplus(-real)`, generated ones `F.softplus(fake)`; add the two means.",
    ),
    wrong=(
        Wrong(
            "real and fake swapped",
            "Real and generated are swapped: this D would learn to call real images generated.",
            lambda real, fake: F.softplus(real).mean() + F.softplus(-fake).mean(),
        ),
        _d_pooled,
        Wrong(
            "half of it",
            "This is half the loss. With it, the line for an undecided D would be log 2, not 2 log 2.",
            lambda real, fake: 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean()),
        ),
        Wrong(
            "the value, not the loss",
            "This is V, which D maximises. The loss is minus V.",
            lambda real, fake: -F.softplus(-real).mean() - F.softplus(fake).mean(),
        ),
        Wrong(
            "log of a sigmoid",
            "For moderate logits this is right. Far out a sigmoid rounds to 0 or 1, with an infinite logarithm, or exp overflows.",
            lambda real, fake: -torch.sigmoid(real).log().mean() - (1 - torch.sigmoid(fake)).log().mean(),
        ),
        Wrong(
            "sums in place of means",
            "These are sums over the batch. An expectation is estimated by a mean.",
            lambda real, fake: F.softplus(-real).sum() + F.softplus(fake).sum(),
        ),
    ),
    right=(
        _d_by_bce,
        _d_by_distribution,
        _d_by_loop,
        lambda real, fake: -F.logsigmoid(real).mean() - F.logsigmoid(-fake).mean(),
    ),
    probes={
        "the loss with logits that come twice": lambda f: f(
            torch.tensor([1.0, 1.0, -2.0]), torch.tensor([0.5, 0.5, 0.5, 3.0])
        ),
        "the loss of one real image and seven generated": lambda f: f(torch.ones(1), torch.arange(7.0)),
        "the loss of an undecided D": lambda f: f(torch.zeros(4), torch.zeros(2)),
        "the loss of a D that is sure and right": lambda f: f(torch.full((3,), 1000.0), torch.full((2,), -1000.0)),
        "the loss of a D that is sure and wrong": lambda f: f(torch.full((3,), -1000.0), torch.full((2,), 1000.0)),
    },
    gradient=("real", "fake"),
)
