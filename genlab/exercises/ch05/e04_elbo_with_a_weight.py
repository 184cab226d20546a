"""Exercise 05.4: The ELBO with a weight."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong, mistake


def elbo_beta(x, logits, mu, logvar, beta=1.0):
    """log p(x|z) − β KL(q ‖ p) per example: (n,)."""
    log_px = (x * logits - F.softplus(logits)).flatten(1).sum(1)
    kl = 0.5 * (logvar.exp() + mu**2 - 1 - logvar).sum(1)
    return log_px - beta * kl


def _terms(x, logits, mu, logvar):
    log_px = -F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)
    return log_px, 0.5 * (logvar.exp() + mu**2 - 1 - logvar).sum(1)


def _combined(combine):
    return lambda x, logits, mu, logvar, beta=1.0: combine(*_terms(x, logits, mu, logvar), beta)


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
    "log of a sigmoid",
    "For moderate logits this is right, but at ±1,000 the sigmoid rounds to 0 or 1: keep to the logits, as in 05.3.",
)
def _elbo_by_sigmoid(x, logits, mu, logvar, beta=1.0):
    p, kl = torch.sigmoid(logits), _terms(x, logits, mu, logvar)[1]
    return (x * p.log() + (1 - x) * (1 - p).log()).flatten(1).sum(1) - beta * kl


def _elbo_by_distributions(x, logits, mu, logvar, beta=1.0):
    D = torch.distributions
    kl = D.kl_divergence(D.Normal(mu, (logvar / 2).exp()), D.Normal(0.0, 1.0)).sum(-1)
    return D.Independent(D.Bernoulli(logits=logits), x.ndim - 1).log_prob(x) - beta * kl


def _elbo_by_rows(x, logits, mu, logvar, beta=1.0):
    cost = [F.binary_cross_entropy_with_logits(a, v, reduction="sum") for v, a in zip(x, logits, strict=True)]
    kl = [(v.exp() + m * m - 1 - v).sum() / 2 for m, v in zip(mu, logvar, strict=True)]
    return torch.stack([-c - beta * k for c, k in zip(cost, kl, strict=True)])


def _elbo_by_signs(x, logits, mu, logvar, beta=1.0):
    kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp(), dim=1)
    return torch.vmap(lambda v, a: F.logsigmoid((2 * v - 1) * a).sum())(x, logits) - beta * kl


def _elbo_inputs(g):
    n, d, rank = (int(torch.randint(low, low + 3, (), generator=g)) for low in (4, 1, 1))
    shape = (n, *torch.randint(1, 4, (rank,), generator=g).tolist(), 3)
    x, logits = torch.rand(shape, generator=g).round(), torch.randn(shape, generator=g)
    mu, logvar = torch.randn(n, d, generator=g), torch.randn(n, d, generator=g)
    return x, logits, mu, logvar, 0.3 + 3 * torch.rand((), generator=g).item()


def _one(x, logits, beta=0.5):
    return torch.tensor([x]), torch.tensor([logits]), torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, 0.0]]), beta


EXERCISE = Exercise(
    number="05.4",
    title="The ELBO with a weight",
    difficulty=2,
    minutes=10,
    task=r"""
Put the parts together: the ELBO per example with weight $\beta$ on the KL term, from binary images `x` and `logits`,
both of shape `(n, …)` with one or more dimensions after the first, and `mu` and `logvar` of shape `(n, d)`. With
$\beta = 0$ it is the reconstruction term. It falls linearly in $\beta$, with slope $-\operatorname{KL}$. Every value
belongs to its own example: it stays as it was when other examples join the batch. Twice the pixels give twice the
reconstruction term. As in 05.3 it is exact for logits of ±1,000. This is what a VAE maximises, so the gradients in
`logits`, `mu` and `logvar` are compared as well: stay with torch.""",
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
        _elbo_by_sigmoid,
        Wrong(
            "plus the KL",
            "The KL is added. It is a cost: the bound is the reconstruction minus the KL.",
            _combined(lambda log_px, kl, beta: log_px + beta * kl),
        ),
        Wrong(
            "beta is forgotten",
            "This is the ELBO for beta = 1: the argument beta is not used.",
            _combined(lambda log_px, kl, beta: log_px - kl),
        ),
        Wrong(
            "beta on the reconstruction",
            "Here beta weighs the reconstruction. It belongs to the KL term.",
            _combined(lambda log_px, kl, beta: beta * log_px - kl),
        ),
        Wrong(
            "the loss, not the bound",
            "This is minus the ELBO: the loss. Here the bound itself is wanted.",
            _combined(lambda log_px, kl, beta: beta * kl - log_px),
        ),
        Wrong(
            "the KL averaged over the batch",
            "The KL of every example is replaced by the batch's mean, so examples are no longer their own.",
            _combined(lambda log_px, kl, beta: log_px - beta * kl.mean()),
        ),
    ),
    right=(_elbo_by_distributions, _elbo_by_rows, _elbo_by_signs),
    probes={
        "the bound with beta = 0": lambda f: f(
            torch.ones(2, 3), torch.ones(2, 3), torch.ones(2, 4), torch.ones(2, 4), 0.0
        ),
        "the bound with the default beta": lambda f: f(
            torch.ones(2, 3), torch.ones(2, 3), torch.ones(2, 4), torch.ones(2, 4)
        ),
        "one example, and beta = 4": lambda f: f(*_one([1.0, 0.0, 0.0], [2.0, 1.0, -0.5], 4.0)),
        "logits of ±1,000": lambda f: f(*_one([1.0, 0.0, 0.0], [-1000.0, 1000.0, -1000.0])),
    },
    gradient=("logits", "mu", "logvar"),
)
