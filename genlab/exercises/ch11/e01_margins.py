"""Exercise 11.1: Margins."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong, mistake


def hinge_losses(real, fake):
    """(L_D, L_G) of (11.12) from logits: n real ones, m generated ones.

    (n,), (m,) -> two numbers.
    """
    loss_d = F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    loss_g = -fake.mean()
    return loss_d, loss_g


@mistake(
    "the margin on the mean",
    "The maximum is taken after the mean, so images far beyond the margin pay for images that are wrong.",
)
def _hinge_of_means(real, fake):
    return F.relu(1 - real.mean()) + F.relu(1 + fake.mean()), -fake.mean()


def _hinge_by_loops(real, fake):
    loss_d = sum(max(0.0, 1 - v) for v in real.tolist()) / len(real)
    loss_d += sum(max(0.0, 1 + v) for v in fake.tolist()) / len(fake)
    return [loss_d, -sum(fake.tolist()) / len(fake)]


def _hinge_by_numpy(real, fake):
    real, fake = real.numpy(), fake.numpy()
    return np.maximum(0, 1 - real).mean() + np.maximum(0, 1 + fake).mean(), -fake.mean()


def _logits(g):
    """A batch of any size in which one logit lies far from the others."""
    logits = 1.5 * torch.randn(int(torch.randint(1, 8, (), generator=g)), generator=g)
    logits[0] *= 20
    return logits


EXERCISE = Exercise(
    number="11.1",
    title="Margins",
    difficulty=1,
    minutes=6,
    task=r"""
Write both hinge losses (11.12) and return the pair $L_D$, $L_G$, two numbers; the batches may differ in size. A $D$ whose
real logits are all 1 or more, and whose generated ones are all $-1$ or less, pays nothing. An undecided $D$, with all
logits 0, pays 2. $G$'s loss has no margin.""",
    inputs=lambda g: (_logits(g), _logits(g)),
    solution=hinge_losses,
    explanation=r"""
The `relu` cuts each image's cost off at its margin, before the mean: an image beyond the margin has no say, and cannot pay
for one that is wrong. $G$'s loss must not have a margin. With $\max(0, 1 - \ell)$ for $G$, samples beyond the margin
would feel no push, just those that $D$ will find out next.""",
    hints=(
        "At which logit does a real image cost nothing any more? And a generated one?",
        "$\\max(0, a)$ is `F.relu(a)`. It acts on each logit, and then comes the mean.",
        "`F.relu(1 - real).mean() + F.relu(1 + fake).mean()`, and `-fake.mean()` for G.",
    ),
    wrong=(
        Wrong(
            "real and generated swapped",
            "The margins are swapped: this D wants real logits below −1 and generated ones above 1.",
            lambda real, fake: (F.relu(1 + real).mean() + F.relu(1 - fake).mean(), -fake.mean()),
        ),
        _hinge_of_means,
        Wrong(
            "a margin for G",
            "G's loss has a margin here. G gets no margin: its loss is minus the mean logit.",
            lambda real, fake: (hinge_losses(real, fake)[0], F.relu(1 - fake).mean()),
        ),
        Wrong(
            "G's sign",
            "G's loss has the wrong sign: G wants its logits high.",
            lambda real, fake: (hinge_losses(real, fake)[0], fake.mean()),
        ),
        Wrong(
            "no margin for D",
            "This is the Wasserstein loss: without a margin, and without a bound for D.",
            lambda real, fake: (fake.mean() - real.mean(), -fake.mean()),
        ),
        Wrong(
            "the maximum is missing",
            "The maximum with 0 is missing in D's loss: an image beyond its margin pays less than nothing.",
            lambda real, fake: ((1 - real).mean() + (1 + fake).mean(), -fake.mean()),
        ),
        Wrong(
            "a margin at 0",
            "The margin is 0 here. A D that gives 0 to everything would pay nothing; it should pay 2.",
            lambda real, fake: (F.relu(-real).mean() + F.relu(fake).mean(), -fake.mean()),
        ),
        Wrong(
            "sums",
            "These are sums over the images. (11.12) has expectations, which are estimated by means.",
            lambda real, fake: (F.relu(1 - real).sum() + F.relu(1 + fake).sum(), -fake.sum()),
        ),
        Wrong(
            "one mean over both batches",
            "D's loss is one mean over both batches together. It is the sum of two means, one for each batch.",
            lambda real, fake: (torch.cat([F.relu(1 - real), F.relu(1 + fake)]).mean(), -fake.mean()),
        ),
    ),
    right=(
        lambda real, fake: ((1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean(), (-fake).mean()),
        _hinge_by_loops,
        _hinge_by_numpy,
    ),
    probes={
        "the losses with logits that come twice": lambda f: f(
            torch.tensor([0.5, 0.5, -2.0]), torch.tensor([-0.5, -0.5, -0.5, 1.0])
        ),
        "the losses of an undecided D": lambda f: f(torch.zeros(3), torch.zeros(2)),
        "the losses at the margins": lambda f: f(torch.tensor([1.0, 5.0]), torch.tensor([-1.0, -7.0])),
        "the losses for one image of each kind": lambda f: f(torch.tensor([-2.0]), torch.tensor([3.0])),
    },
)
