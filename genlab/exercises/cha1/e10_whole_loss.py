"""Exercise A1.10: The loss, whole."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong, mistake


def vae_loss(x, logits, mu, logvar):
    """Minus the mean ELBO of binary images: KL − log p(x|z), sums over pixels and latents, mean over n: 0-d."""
    log_px = (x * logits - F.softplus(logits)).flatten(1).sum(1)
    kl = 0.5 * (logvar.exp() + mu**2 - 1 - logvar).sum(1)
    return (kl - log_px).mean()


def _vae_by_bce(x, logits, mu, logvar):
    bce = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
    return bce - 0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum() / len(x)


def _vae_no_kl(x, logits, mu, logvar):
    return F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)


@mistake(
    "the mean over pixels",
    "The cross-entropy is averaged over pixels while the KL is summed: beta is multiplied by the number of pixels.",
)
def _vae_mean(x, logits, mu, logvar):
    return F.binary_cross_entropy_with_logits(logits, x) + 0.5 * (logvar.exp() + mu**2 - 1 - logvar).sum(1).mean()


@mistake(
    "the KL with the wrong sign",
    "The KL is subtracted from the loss. Minimising that drives q away from the prior, without end.",
)
def _vae_minus_kl(x, logits, mu, logvar):
    return _vae_no_kl(x, logits, mu, logvar) - 0.5 * (logvar.exp() + mu**2 - 1 - logvar).sum(1).mean()


@mistake(
    "the sum over images",
    "The images are summed. Averaged, the loss does not depend on the batch size, and it can be read in nats.",
)
def _vae_sum(x, logits, mu, logvar):
    return vae_loss(x, logits, mu, logvar) * len(x)


def _vae_inputs(g):
    x, logits = torch.rand(4, 1, 3, 2, generator=g).round(), torch.randn(4, 1, 3, 2, generator=g)
    return x, logits, torch.randn(4, 3, generator=g), torch.randn(4, 3, generator=g)


EXERCISE = Exercise(
    number="A1.10",
    title="The loss, whole",
    difficulty=2,
    minutes=10,
    task=r"""
The article's loss is called without the reconstruction, and its KL term is missing. Write it whole: minus the ELBO of
binary images from the decoder's logits, with the KL of $q(z \mid x)$ from $\mathcal N(0, I)$, summed over pixels and over
latent dimensions, and averaged over images last.""",
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
        Wrong(
            "the bound itself",
            "This is the ELBO. An optimiser minimises: return minus the bound.",
            lambda x, logits, mu, logvar: -vae_loss(x, logits, mu, logvar),
        ),
    ),
    right=(_vae_by_bce,),
    gradient=True,
)
