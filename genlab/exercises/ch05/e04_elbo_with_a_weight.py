"""Exercise 05.4: The ELBO with a weight."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, mistake


def elbo_beta(x, logits, mu, logvar, beta=1.0):
    """log p(x|z) − β KL(q ‖ p) per example: (n,)."""
    log_px = (x * logits - F.softplus(logits)).flatten(1).sum(1)
    kl = 0.5 * (logvar.exp() + mu**2 - 1 - logvar).sum(1)
    return log_px - beta * kl


def _terms(x, logits, mu, logvar):
    log_px = -F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)
    return log_px, 0.5 * (logvar.exp() + mu**2 - 1 - logvar).sum(1)


@mistake(
    "mean over pixels, sum over latents",
    (
        "The pixels are averaged and the latent dimensions are summed: beta is silently multiplied by the number of "
        "pixels."
    ),
)
def _elbo_mean_pixels(x, logits, mu, logvar, beta=1.0):
    log_px, kl = _terms(x, logits, mu, logvar)
    return log_px / x[0].numel() - beta * kl


@mistake(
    "plus the KL",
    "The KL is added. It is a cost: the bound is the reconstruction minus the KL.",
)
def _elbo_plus(x, logits, mu, logvar, beta=1.0):
    log_px, kl = _terms(x, logits, mu, logvar)
    return log_px + beta * kl


@mistake(
    "beta is forgotten",
    "This is the ELBO for beta = 1: the argument beta is not used.",
)
def _elbo_no_beta(x, logits, mu, logvar, beta=1.0):
    log_px, kl = _terms(x, logits, mu, logvar)
    return log_px - kl


@mistake(
    "beta on the reconstruction",
    "Here beta weighs the reconstruction. It belongs to the KL term.",
)
def _elbo_beta_on_pixels(x, logits, mu, logvar, beta=1.0):
    log_px, kl = _terms(x, logits, mu, logvar)
    return beta * log_px - kl


@mistake(
    "the loss, not the bound",
    "This is minus the ELBO: the loss. Here the bound itself is wanted.",
)
def _elbo_loss(x, logits, mu, logvar, beta=1.0):
    log_px, kl = _terms(x, logits, mu, logvar)
    return beta * kl - log_px


@mistake(
    "the KL averaged over the batch",
    "The KL of every example is replaced by the batch's mean, so examples are no longer their own.",
)
def _elbo_hidden_mean(x, logits, mu, logvar, beta=1.0):
    log_px, kl = _terms(x, logits, mu, logvar)
    return log_px - beta * kl.mean()


def _elbo_right(x, logits, mu, logvar, beta=1.0):
    log_px, kl = _terms(x, logits, mu, logvar)
    return log_px - beta * kl


def _elbo_inputs(g):
    x, logits = torch.rand(5, 1, 4, 3, generator=g).round(), torch.randn(5, 1, 4, 3, generator=g)
    return x, logits, torch.randn(5, 2, generator=g), torch.randn(5, 2, generator=g), 0.7


EXERCISE = Exercise(
    number="05.4",
    title="The ELBO with a weight",
    difficulty=2,
    minutes=10,
    task=r"""
Put the parts together: the ELBO per example with weight $\beta$ on the KL term, from binary images, logits, `mu` and
`logvar`. With $\beta = 0$ it is the reconstruction term. It falls linearly in $\beta$, with slope $-\operatorname{KL}$.
Every value belongs to its own example: it stays as it was when other examples join the batch. Twice the pixels give
twice the reconstruction term.""",
    inputs=_elbo_inputs,
    solution=elbo_beta,
    explanation=r"""
Both terms are in nats, and both are sums: over pixels, because the pixels are independent given $z$, and over latent
dimensions, because the posterior is diagonal. A mean in one place and a sum in the other is another $\beta$.""",
    hints=(
        "You have both parts from exercises 05.1 and 05.3. Which sign has each?",
        "The bound is reconstruction *minus* $\\beta$ times the KL. Both are one number per example before you combine them.",
        "`log_px` and `kl` have shape `(n,)`; return `log_px - beta * kl`, without any mean.",
    ),
    wrong=(
        _elbo_mean_pixels,
        _elbo_plus,
        _elbo_no_beta,
        _elbo_beta_on_pixels,
        _elbo_loss,
        _elbo_hidden_mean,
    ),
    right=(_elbo_right,),
    probes={
        "the bound with beta = 0": lambda f: f(
            torch.ones(2, 3), torch.ones(2, 3), torch.ones(2, 4), torch.ones(2, 4), 0.0
        ),
        "the bound with the default beta": lambda f: f(
            torch.ones(2, 3), torch.ones(2, 3), torch.ones(2, 4), torch.ones(2, 4)
        ),
    },
    gradient=True,
)
