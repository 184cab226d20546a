"""Exercise 10.1: How often D is right."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong, mistake


def accuracy(real, fake):
    """Balanced accuracy from real and generated logits: (n,), (m,) -> a number."""
    right_real = (real > 0).float().mean() + (real == 0).float().mean() / 2
    right_fake = (fake < 0).float().mean() + (fake == 0).float().mean() / 2
    return (right_real + right_fake) / 2


@mistake(
    "one share over both batches",
    "This is one share over both batches together, so the larger batch weighs more. Take the mean of two shares.",
)
def _accuracy_pooled(real, fake):
    right = (torch.sign(real) + 1).sum() / 2 + (1 - torch.sign(fake)).sum() / 2
    return right / (len(real) + len(fake))


def _share(logits, undecided=0.5):
    """The share that D calls real."""
    return (logits > 0).double().mean() + undecided * (logits == 0).double().mean()


def _accuracy_by_loops(real, fake):
    right_real = sum(1 if v > 0 else 0.5 if v == 0 else 0 for v in real.tolist())
    right_fake = sum(1 if v < 0 else 0.5 if v == 0 else 0 for v in fake.tolist())
    return (right_real / len(real) + right_fake / len(fake)) / 2


def _logits(g):
    """A batch of any size, of which some logits are exactly 0, some between 0 and 1, and one lies far out."""
    logits = (4 * torch.randn(int(torch.randint(1, 9, (), generator=g)), generator=g)).round() / 4
    logits[0] *= 100
    return logits


EXERCISE = Exercise(
    number="10.1",
    title="How often D is right",
    difficulty=1,
    minutes=5,
    task=r"""
Write D's **balanced accuracy** (10.1) from logits: the mean of two shares, that of real images which D calls real and
that of generated images which D calls generated. The batches may differ in size. A logit of exactly 0 is a coin toss and
counts as half right, so that a D that always answers 0 gets ½.""",
    inputs=lambda g: (1 + _logits(g), _logits(g) - 1),
    solution=accuracy,
    explanation=r"""
$D > \tfrac12$ is $\ell > 0$. Each share is taken over its own batch: with one share over both batches together, a D that
calls everything real would look good as soon as more real images than generated ones are shown. Balanced, every constant
D gets exactly ½.""",
    hints=(
        "At which logit is $D = \\operatorname{sigmoid}(\\ell)$ equal to ½?",
        "Take two shares, each over its own batch, then their mean. Add half of the share of zeros to each.",
        "For real images: `(real > 0).float().mean() + (real == 0).float().mean() / 2`; with `<` for generated ones.",
    ),
    wrong=(
        _accuracy_pooled,
        Wrong(
            "the threshold of a probability",
            "The logits are compared with 0.5. D is above one half where its logit is above 0.",
            lambda real, fake: ((real > 0.5).float().mean() + (fake < 0.5).float().mean()) / 2,
        ),
        Wrong(
            "undecided counts as wrong",
            "A logit of 0 counts as wrong here, so a D that always says one half gets 0. Count it as half right.",
            lambda real, fake: (_share(real, 0) + _share(-fake, 0)) / 2,
        ),
        Wrong(
            "undecided counts as right",
            "A logit of 0 counts as right here, so a D that always says one half gets 1. Count it as half right.",
            lambda real, fake: (_share(real, 1) + _share(-fake, 1)) / 2,
        ),
        Wrong(
            "undecided counts as real",
            "A logit of 0 is taken as the answer 'real'. Count it as half right in both batches.",
            lambda real, fake: (_share(real, 1) + _share(-fake, 0)) / 2,
        ),
        Wrong(
            "undecided counts as generated",
            "A logit of 0 is taken as the answer 'generated' (round() takes 0.5 to 0). Count it as half right in both.",
            lambda real, fake: (_share(real, 0) + _share(-fake, 1)) / 2,
        ),
        Wrong(
            "generated images that fool D",
            "The second share is that of generated images which D calls real. There D is wrong.",
            lambda real, fake: (_share(real) + _share(fake)) / 2,
        ),
        Wrong(
            "the other answer",
            "This is 1 minus the accuracy: real is where the logit is positive, and real logits come first.",
            lambda real, fake: (_share(-real) + _share(fake)) / 2,
        ),
        Wrong(
            "the sum of the shares",
            "This is the sum of the two shares, between 0 and 2. Take their mean.",
            lambda real, fake: _share(real) + _share(-fake),
        ),
        Wrong(
            "the mean of D itself",
            "These are means of probabilities. Asked is how often D is right, however sure it is.",
            lambda real, fake: (torch.sigmoid(real).mean() + 1 - torch.sigmoid(fake).mean()) / 2,
        ),
    ),
    right=(
        lambda real, fake: ((torch.sign(real) + 1) / 2).mean() / 2 + ((1 - torch.sign(fake)) / 2).mean() / 2,
        lambda real, fake: 0.5 + (np.sign(real.numpy()).mean() - np.sign(fake.numpy()).mean()) / 4,
        lambda real, fake: (
            (torch.heaviside(real, torch.tensor(0.5)).mean() + torch.heaviside(-fake, torch.tensor(0.5)).mean()).item()
            / 2
        ),
        _accuracy_by_loops,
    ),
    probes={
        "the accuracy with one undecided logit of three in each batch": lambda f: f(
            torch.tensor([0.0, 2.0, 3.0]), torch.tensor([-1.0, 0.0, 4.0])
        ),
        "the accuracy of a D that always answers 0": lambda f: f(torch.zeros(3), torch.zeros(5)),
        "the accuracy of a D that calls 9 real images and 1 generated one real": lambda f: f(
            torch.ones(9), torch.ones(1)
        ),
        "the accuracy for logits of 0.2 and -0.2": lambda f: f(torch.full((3,), 0.2), torch.full((2,), -0.2)),
        "the accuracy for logits of 0.001 and -0.001": lambda f: f(torch.tensor([0.001]), torch.full((2,), -0.001)),
    },
)
