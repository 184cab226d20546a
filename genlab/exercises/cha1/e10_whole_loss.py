"""Exercise A1.10: The loss, whole."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong, mistake


def vae_loss(x, logits, mu, logvar):
    """Minus the mean ELBO of binary images: KL − log p(x|z).

    Sums over pixels and latents, mean over the n images: 0-d.
    """
    log_px = (x * logits - F.softplus(logits)).flatten(1).sum(1)
    kl = 0.5 * (logvar.exp() + mu**2 - 1 - logvar).sum(1)
    return (kl - log_px).mean()


def _vae_by_bce(x, logits, mu, logvar):
    bce = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
    return bce - 0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum() / len(x)


def _vae_by_distributions(x, logits, mu, logvar):
    q = torch.distributions.Normal(mu, (0.5 * logvar).exp())
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(1)
    return (kl - torch.distributions.Bernoulli(logits=logits).log_prob(x).flatten(1).sum(1)).mean()


def _vae_by_loop(x, logits, mu, logvar):
    total = 0
    for pixels, a, m, v in zip(x, logits, mu, logvar, strict=True):
        total = total - (pixels * F.logsigmoid(a) + (1 - pixels) * F.logsigmoid(-a)).sum()
        total = total + ((v.exp() + m * m - 1 - v) / 2).sum()
    return total / len(x)


def _vae_no_kl(x, logits, mu, logvar):
    return F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)


@mistake(
    "the mean over pixels",
    "The cross-entropy is averaged over pixels while the KL is summed: beta is multiplied by the number of pixels.",
)
def _vae_mean(x, logits, mu, logvar):
    return F.binary_cross_entropy_with_logits(logits, x) + _kl(mu, logvar).mean()


@mistake(
    "the KL with the wrong sign",
    "The KL is subtracted from the loss. Minimising that drives q away from the prior, without end.",
)
def _vae_minus_kl(x, logits, mu, logvar):
    return _vae_no_kl(x, logits, mu, logvar) - _kl(mu, logvar).mean()


@mistake(
    "the sum over images",
    "The images are summed. Averaged, the loss does not depend on the batch size, and it can be read in nats.",
)
def _vae_sum(x, logits, mu, logvar):
    return vae_loss(x, logits, mu, logvar) * len(x)


@mistake(
    "log of a sigmoid",
    "Right for moderate logits. At ±200 a sigmoid is exactly 0 or 1: its logarithm is infinite, and 0 · ∞ not a number.",
)
def _vae_by_sigmoid(x, logits, mu, logvar):
    p = torch.sigmoid(logits)
    log_px = (x * p.log() + (1 - x) * (1 - p).log()).flatten(1).sum(1)
    return (_kl(mu, logvar) - log_px).mean()


@mistake(
    "sigmoid and then cross-entropy",
    "Right for moderate logits. After a sigmoid torch clamps the logarithm at −100: a loss of 200 is reported as 100.",
)
def _vae_sigmoid_bce(x, logits, mu, logvar):
    return F.binary_cross_entropy(torch.sigmoid(logits), x, reduction="sum") / len(x) + _kl(mu, logvar).mean()


def _kl(mu, logvar):
    return 0.5 * (logvar.exp() + mu**2 - 1 - logvar).sum(1)


def _vae_inputs(g):
    shape, d = (((4, 1, 3, 2), 3), ((3, 5), 2), ((5, 2, 3), 4))[int(torch.randint(3, (), generator=g))]
    x, logits = torch.rand(shape, generator=g).round(), torch.randn(shape, generator=g)
    return x, logits, *(1.5 * torch.randn(shape[0], d, generator=g) for _ in range(2))


_X = torch.tensor([[1.0, 0.0, 1.0]])
_FAR = torch.tensor([[200.0, 200.0, -200.0]])


EXERCISE = Exercise(
    number="A1.10",
    title="The loss, whole",
    difficulty=2,
    minutes=10,
    task=r"""
The article's loss is called without the reconstruction, and its KL term is missing. Write it whole: minus the ELBO of
binary images from the decoder's logits, with the KL of $q(z \mid x)$ from $\mathcal N(0, I)$, summed over pixels and over
latent dimensions, and averaged over images last. `x` and `logits` have the same shape, `(n, …)` with one dimension or more
after the first; `mu` and `logvar` are `(n, d)`. It is exact at logits of ±200 and for any `logvar`. The gradients in
`logits`, `mu` and `logvar` are compared, and none in `x`.""",
    inputs=_vae_inputs,
    solution=vae_loss,
    explanation=r"""
The bound of every image is $\log p(x \mid z) - \operatorname{KL}$, in nats. The loss is minus its mean. Without the KL the
program is an autoencoder that leaves the prior behind; with a mean over pixels it is a $\beta$-VAE that nobody asked for.""",
    hints=(
        "There are two terms, and two reductions: a sum inside of an image, a mean over images.",
        "The reconstruction term from logits is $\\sum_i x_i a_i - \\operatorname{softplus}(a_i)$. The KL is in closed form.",
        "Compute `log_px` and `kl`, each `(n,)`, and return `(kl - log_px).mean()`.",
    ),
    wrong=(
        Wrong(
            "without the KL",
            "The KL term is missing, as in the article: this trains a plain autoencoder, which does not generate.",
            _vae_no_kl,
        ),
        _vae_mean,
        _vae_minus_kl,
        _vae_sum,
        _vae_by_sigmoid,
        _vae_sigmoid_bce,
        Wrong(
            "the mean over latent dimensions",
            "The KL is averaged over latent dimensions. It is their sum: each costs its own nats.",
            lambda x, logits, mu, logvar: _vae_no_kl(x, logits, mu, logvar) + _kl(mu, logvar).mean() / mu.shape[1],
        ),
        Wrong(
            "the bound itself",
            "This is the ELBO. An optimiser minimises: return minus the bound.",
            lambda x, logits, mu, logvar: -vae_loss(x, logits, mu, logvar),
        ),
    ),
    right=(_vae_by_bce, _vae_by_distributions, _vae_by_loop),
    probes={
        "one image, one latent dimension": lambda f: f(_X, torch.ones(1, 3), torch.ones(1, 1), torch.ones(1, 1)),
        "logits of ±200": lambda f: f(_X, _FAR, torch.zeros(1, 2), torch.zeros(1, 2)),
        "logvar of −20 and 8": lambda f: f(_X, torch.zeros(1, 3), torch.zeros(1, 2), torch.tensor([[-20.0, 8.0]])),
    },
    gradient=("logits", "mu", "logvar"),
)
