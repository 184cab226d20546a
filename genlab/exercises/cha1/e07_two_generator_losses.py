"""Exercise A1.7: Two losses for the generator."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong, mistake


def g_losses(fake):
    """The generator's saturating and non-saturating loss from logits.

    (n,) -> two 0-d values.
    """
    return -F.softplus(fake).mean(), F.softplus(-fake).mean()


def _slopes(f):
    """Derivatives of both losses at a logit that says: generated, for sure. The first is small, and shown larger."""
    a = torch.tensor([-10.0], requires_grad=True)
    saturating, other = (torch.autograd.grad(loss, a, retain_graph=True)[0].item() for loss in f(a))
    return 1000 * saturating, other


@mistake(
    "logarithms of probabilities",
    "Right for moderate logits. At 200 the sigmoid is exactly 1, at −200 it is 0, and the logarithm of 0 is infinite.",
)
def _by_probabilities(fake):
    D = torch.sigmoid(fake)
    return (1 - D).log().mean(), -D.log().mean()


def _by_bce(fake):
    bce = F.binary_cross_entropy_with_logits
    return torch.stack([-bce(fake, torch.zeros_like(fake)), bce(fake, torch.ones_like(fake))])


def _by_loop(fake):
    zero = torch.zeros(())
    return [-sum(torch.logaddexp(zero, a) for a in fake) / len(fake), sum(F.softplus(-a) for a in fake) / len(fake)]


EXERCISE = Exercise(
    number="A1.7",
    title="Two losses for the generator",
    difficulty=2,
    minutes=8,
    task=r"""
The article's text gives the generator's loss as $\mathbb E[\log(1 - D(G(z)))]$; its code minimises
$-\mathbb E[\log D(G(z))]$, and does not say so. Write both from the logits of generated images, in this order, each a mean
over the batch, and exact at logits of ±200. Both want the same, but compare their gradients in `fake` at a logit of −10,
where a young generator lives. The check compares them too.""",
    inputs=lambda g: (2 * torch.randn(int(torch.randint(2, 8, (), generator=g)), generator=g),),
    solution=g_losses,
    explanation=r"""
With $D = \operatorname{sigmoid}(a)$ the first is $-\operatorname{softplus}(a)$, with derivative
$-\operatorname{sigmoid}(a)$: at $a = -10$ that is $-0.00005$, and the generator stands still. The second is
$\operatorname{softplus}(-a)$, with derivative $-\operatorname{sigmoid}(-a)$, nearly $-1$ there. They have the
same fixed point and different roads.""",
    hints=(
        "Use logits: what are $\\log(1-\\operatorname{sigmoid}(a))$ and $\\log\\operatorname{sigmoid}(a)$ in terms of softplus?",
        "$\\log(1-\\operatorname{sigmoid}(a)) = -\\operatorname{softplus}(a)$ and $-\\log\\operatorname{sigmoid}(a) = \\operatorname{softplus}(-a)$.",
        "Return `-F.softplus(fake).mean()` and `F.softplus(-fake).mean()`.",
    ),
    wrong=(
        Wrong(
            "in the other order",
            "The order is swapped: the saturating loss, that of the formula in the text, comes first.",
            lambda fake: g_losses(fake)[::-1],
        ),
        Wrong(
            "the discriminator's share",
            "The first has the wrong sign: minimised, it would make the generator worse.",
            lambda fake: (F.softplus(fake).mean(), F.softplus(-fake).mean()),
        ),
        Wrong(
            "the same twice",
            "Both are the non-saturating loss. They are different functions with the same fixed point.",
            lambda fake: (F.softplus(-fake).mean(), F.softplus(-fake).mean()),
        ),
        Wrong(
            "probabilities for logarithms",
            "The logarithms are missing: these are probabilities.",
            lambda fake: ((1 - torch.sigmoid(fake)).mean(), -torch.sigmoid(fake).mean()),
        ),
        _by_probabilities,
        Wrong(
            "sums",
            "These are sums over the batch. An expectation is a mean, whatever the batch size.",
            lambda fake: (-F.softplus(fake).sum(), F.softplus(-fake).sum()),
        ),
    ),
    right=(lambda fake: (F.logsigmoid(-fake).mean(), -F.logsigmoid(fake).mean()), _by_bce, _by_loop),
    probes={
        "1,000 times the first derivative at a logit of −10, and the second": _slopes,
        "both losses at a logit of 200": lambda f: f(torch.tensor([200.0])),
        "both losses at logits of −200 and 30": lambda f: f(torch.tensor([-200.0, 30.0])),
    },
    gradient=("fake",),
)
