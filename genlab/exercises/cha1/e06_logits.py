"""Exercise A1.6: Logits, not probabilities."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong, mistake


def d_loss(real, fake):
    """−mean log sigmoid(real) − mean log(1 − sigmoid(fake)), for logits of any size.

    (n,) and (m,) -> 0-d.
    """
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def _d_by_bce(real, fake):
    ones, zeros = torch.ones_like(real), torch.zeros_like(fake)
    return F.binary_cross_entropy_with_logits(real, ones) + F.binary_cross_entropy_with_logits(fake, zeros)


@mistake(
    "log of a sigmoid",
    "At logits of ±200 the sigmoid is exactly 0 or 1, and the logarithm infinite. Stay with logits.",
)
def _d_by_sigmoid(real, fake):
    return -torch.sigmoid(real).log().mean() - (1 - torch.sigmoid(fake)).log().mean()


@mistake(
    "sigmoid and then cross-entropy",
    (
        "This is the article's way. torch clamps the logarithm at −100 then, so a loss of 200 is reported as 100, "
        "and the gradient there is wrong."
    ),
)
def _d_sigmoid_bce(real, fake):
    p, q = torch.sigmoid(real), torch.sigmoid(fake)
    return F.binary_cross_entropy(p, torch.ones_like(p)) + F.binary_cross_entropy(q, torch.zeros_like(q))


@mistake(
    "exponentials that overflow",
    "exp(200) is infinite in single precision, and so is the loss. softplus is log(1 + exp(a)) for all a.",
)
def _d_by_exp(real, fake):
    return torch.log1p(torch.exp(-real)).mean() + torch.log1p(torch.exp(fake)).mean()


@mistake(
    "a small number in the logarithm",
    "With 1e-8 inside of the logarithm no loss exceeds 18.4, and beyond it there is no gradient. Stay with logits.",
)
def _d_with_epsilon(real, fake):
    return -(torch.sigmoid(real) + 1e-8).log().mean() - (1 - torch.sigmoid(fake) + 1e-8).log().mean()


def _d_by_logaddexp(real, fake):
    return sum(torch.logaddexp(torch.zeros_like(a), a).mean() for a in (-real, fake))


def _batches(g):
    n, m = ((5, 3), (2, 4), (6, 2), (3, 7))[int(torch.randint(4, (), generator=g))]
    return torch.randn(n, generator=g), torch.randn(m, generator=g)


def _far_slopes(f):
    real = torch.tensor([-200.0, 30.0], requires_grad=True)
    fake = torch.tensor([200.0, -30.0, 30.0], requires_grad=True)
    return torch.autograd.grad(f(real, fake), (real, fake))


EXERCISE = Exercise(
    number="A1.6",
    title="Logits, not probabilities",
    difficulty=2,
    minutes=8,
    task=r"""
The article's discriminator ends in a sigmoid, followed by a binary cross-entropy. In floating point
$\operatorname{sigmoid}(40)$ is exactly 1: the loss saturates, or becomes infinite, and the gradient is lost. Write the
discriminator's loss from logits:
$-\mathbb E[\log\operatorname{sigmoid}(\text{real})] - \mathbb E[\log(1 - \operatorname{sigmoid}(\text{fake}))]$, each
expectation a mean over its batch; the batches differ in size. The loss is exact at logits of ±30 and of ±200, and so are its gradients in `real` and in `fake`,
which are compared too.""",
    inputs=_batches,
    solution=d_loss,
    explanation=r"""
$-\log\operatorname{sigmoid}(a) = \log(1 + e^{-a}) = \operatorname{softplus}(-a)$, and
$-\log(1-\operatorname{sigmoid}(a)) = \operatorname{softplus}(a)$.
Softplus is computed without ever forming $e^{200}$, and its derivative is a sigmoid, which is right everywhere.""",
    hints=(
        "Write both logarithms of sigmoids as $\\log(1 + e^{\\dots})$.",
        "That function is called softplus. Which argument has it for the real logits, and which for the fake ones?",
        "`F.softplus(-real).mean() + F.softplus(fake).mean()`: one mean for each batch.",
    ),
    wrong=(
        _d_by_sigmoid,
        _d_sigmoid_bce,
        _d_by_exp,
        _d_with_epsilon,
        Wrong(
            "real and fake swapped",
            "Real and fake are swapped: this discriminator learns to call generated images real.",
            lambda real, fake: F.softplus(real).mean() + F.softplus(-fake).mean(),
        ),
        Wrong(
            "half of it",
            "This is half of the loss. At equality the loss is 2 log 2; with the half it would be log 2.",
            lambda real, fake: (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2,
        ),
        Wrong(
            "one mean over both",
            "One mean runs over both batches. Each expectation has its own; the batches differ in size.",
            lambda real, fake: torch.cat([F.softplus(-real), F.softplus(fake)]).mean(),
        ),
    ),
    right=(_d_by_bce, _d_by_logaddexp, lambda real, fake: -F.logsigmoid(real).mean() - F.logsigmoid(-fake).mean()),
    probes={
        "the loss at confident mistakes, ±200": lambda f: f(torch.tensor([-200.0]), torch.tensor([200.0, 200.0])),
        "the loss at confident mistakes, ±30": lambda f: f(torch.tensor([-30.0, -30.0]), torch.tensor([30.0])),
        "the loss where D is right": lambda f: f(torch.tensor([200.0]), torch.tensor([-200.0])),
        "the loss where D knows nothing": lambda f: f(torch.zeros(4), torch.zeros(2)),
        "the gradients at ±200 and ±30": _far_slopes,
    },
    gradient=("real", "fake"),
)
