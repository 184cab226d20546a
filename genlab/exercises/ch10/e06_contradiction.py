"""Exercise 10.6: Two statements that cannot both be true."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import torch
from scipy import special
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def contradiction(fake, loss_g):
    """−log(mean D) − L_G, from logits of D's own move: (n,), a number -> a number."""
    return math.log(len(fake)) - torch.logsumexp(F.logsigmoid(fake), 0) - loss_g


def _contradiction_by_loop(fake, loss_g):
    mean = sum(1 / (1 + math.exp(-v)) for v in fake.tolist()) / len(fake)
    return -math.log(mean) - loss_g


def _logits(g):
    """A batch of any size in which one logit lies far below the others, and a loss."""
    fake = 2 * torch.randn(int(torch.randint(2, 9, (), generator=g)), generator=g)
    fake[0] -= 12
    return fake, 3 * float(torch.rand((), generator=g))


EXERCISE = Exercise(
    number="10.6",
    title="Two statements that cannot both be true",
    difficulty=2,
    minutes=12,
    task=r"""
By Jensen's inequality the generator's loss is at least $-\log \bar D$, where $\bar D$ is the *mean* of
$D = \operatorname{sigmoid}(\ell)$ on generated images, (10.5). Return the number $-\log \bar D - L_G$ from the logits that
$D$'s move gave to generated images and from the loss of $G$'s move. It is negative where nothing is wrong; if it is well
above 0, the two moves did not ask the same $D$. It must be right for logits of $-200$ too, where the sigmoid is 0 in
single precision.""",
    inputs=_logits,
    solution=contradiction,
    explanation=r"""
$\log \bar D = \log \frac1n \sum_i e^{\log \operatorname{sigmoid}(\ell_i)}$ is a `logsumexp` of `logsigmoid`, minus
$\log n$; nothing underflows. The logarithm is concave, so it is at least the mean of
$\log \operatorname{sigmoid}(\ell_i)$. Therefore $-\log \bar D \le \frac1n \sum_i -\log \operatorname{sigmoid}(\ell_i)$,
which is the non-saturating loss: with the same $D$ and the same images the result can never be positive.""",
    hints=(
        (
            "First the mean of $\\operatorname{sigmoid}(\\ell_i)$, then one logarithm. "
            "Which function computes the log of a sum of exponentials?"
        ),
        "$\\log \\bar D$ is `torch.logsumexp` of `F.logsigmoid(fake)` minus $\\log n$.",
        "Return `math.log(len(fake)) - torch.logsumexp(F.logsigmoid(fake), 0) - loss_g`.",
    ),
    wrong=(
        Wrong(
            "the mean of the logarithms",
            "This is the mean of −log D, which is G's loss itself. Asked is −log of the mean of D, which is smaller.",
            lambda fake, loss_g: F.softplus(-fake).mean() - loss_g,
        ),
        Wrong(
            "the log of a mean that underflows",
            "Right for moderate logits, but in single precision the sigmoid of a very negative one is 0, and the logarithm "
            "of their mean is infinite.",
            lambda fake, loss_g: -torch.sigmoid(fake).mean().log() - loss_g,
        ),
        Wrong(
            "the mean of logarithms that underflow",
            "This is the mean of −log D, and infinite where the sigmoid is 0. Take the mean before the logarithm.",
            lambda fake, loss_g: -torch.sigmoid(fake).log().mean() - loss_g,
        ),
        Wrong(
            "D of the mean logit",
            "This is −log D at the mean logit. The mean of D is meant, not D of the mean.",
            lambda fake, loss_g: F.softplus(-fake.mean()) - loss_g,
        ),
        Wrong(
            "the sum in place of the mean",
            "This is −log of the sum of D. Add log n to turn the sum into a mean.",
            lambda fake, loss_g: -torch.logsumexp(F.logsigmoid(fake), 0) - loss_g,
        ),
        Wrong(
            "the sign",
            "The sign is wrong: a contradiction, G's loss below −log of the mean, must come out positive.",
            lambda fake, loss_g: loss_g - contradiction(fake, 0.0),
        ),
        Wrong(
            "G's loss added",
            "G's loss is added. It is subtracted: the result says how far it lies below −log of the mean.",
            lambda fake, loss_g: contradiction(fake, 0.0) + loss_g,
        ),
        Wrong(
            "never below 0",
            "Negative results are cut off at 0. They are the usual ones, and say how much room is left.",
            lambda fake, loss_g: contradiction(fake, loss_g).clamp(min=0),
        ),
        Wrong(
            "1 minus D",
            "This uses 1 − D, the probability that an image is generated. G's loss is about D.",
            lambda fake, loss_g: math.log(len(fake)) - torch.logsumexp(F.logsigmoid(-fake), 0) - loss_g,
        ),
    ),
    right=(
        lambda fake, loss_g: -(torch.logsumexp(-F.softplus(-fake) - math.log(len(fake)), 0)) - loss_g,
        lambda fake, loss_g: -torch.sigmoid(fake.double()).mean().log().item() - loss_g,
        lambda fake, loss_g: math.log(len(fake)) - special.logsumexp(special.log_expit(fake.numpy())) - loss_g,
        _contradiction_by_loop,
    ),
    probes={
        "three logits, of which two are equal": lambda f: f(torch.tensor([1.0, 1.0, -1.0]), 0.5),
        "logits of -200": lambda f: f(torch.full((3,), -200.0), 0.5),
        "a single logit of 0.5": lambda f: f(torch.tensor([0.5]), 2.0),
        "an undecided D and a loss of log 2": lambda f: f(torch.zeros(4), math.log(2)),
        "logits of 60 and -60": lambda f: f(torch.tensor([60.0, -60.0]), 0.0),
    },
)
