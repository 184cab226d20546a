"""Exercise A1.8: An encoder with two heads."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def two_heads(h, W_mu, b_mu, W_logvar, b_logvar):
    """(mu, logvar) from hidden units h (n, m), by two linear heads with weights (d, m) and biases (d,): each (n, d)."""
    return F.linear(h, W_mu, b_mu), F.linear(h, W_logvar, b_logvar)


def _heads_inputs(g):
    return tuple(torch.randn(shape, generator=g) for shape in ((2, 4), (3, 4), (3,), (3, 4), (3,)))


EXERCISE = Exercise(
    number="A1.8",
    title="An encoder with two heads",
    difficulty=1,
    minutes=8,
    task=r"""
The article's encoder returns one vector per image, and `mu, logvar = encoder(x)` unpacks it. With two images in a batch
that runs: it unpacks the *batch*, and calls the first image's vector `mu` and the second's `logvar`. Write the two heads:
$\mu = W_\mu h + b_\mu$ and $\log\sigma^2 = W_v h + b_v$, each of shape `(n, d)`.""",
    inputs=_heads_inputs,
    solution=two_heads,
    explanation=r"""
The posterior of each image has a mean *and* a spread, so the encoder needs two outputs of $d$ numbers. One linear layer
with $2d$ outputs, cut by `chunk(2, 1)`, is the same. The obvious repair, one head and no KL, runs too: it is a plain
autoencoder, and it does not generate.""",
    hints=(
        "How many numbers has $q(z \\mid x)$ per image, if $z$ has $d$ dimensions and the covariance is diagonal?",
        "Both heads see the same hidden units. `F.linear(h, W, b)` is $hW^\\top + b$.",
        "Return `F.linear(h, W_mu, b_mu)` and the same with the other pair of weights.",
    ),
    wrong=(
        Wrong(
            "unpacking the batch",
            "This unpacks the batch: the first image's vector is called mu and the second's logvar. That is the "
            "article's fault, and with a batch of two it raises nothing.",
            lambda h, W_mu, b_mu, W_logvar, b_logvar: tuple(F.linear(h, W_mu, b_mu)),
        ),
        Wrong(
            "one head twice",
            "Both come from one head: the spread is not free, it is tied to the mean.",
            lambda h, W_mu, b_mu, W_logvar, b_logvar: (F.linear(h, W_mu, b_mu), F.linear(h, W_mu, b_mu)),
        ),
        Wrong(
            "the heads swapped",
            "The heads are swapped: the order is (mu, logvar), everywhere.",
            lambda h, W_mu, b_mu, W_logvar, b_logvar: (F.linear(h, W_logvar, b_logvar), F.linear(h, W_mu, b_mu)),
        ),
        Wrong(
            "a variance",
            "The second head returns the variance. The logarithm is wanted: it may be any number, so a linear map fits.",
            lambda h, W_mu, b_mu, W_logvar, b_logvar: (F.linear(h, W_mu, b_mu), F.linear(h, W_logvar, b_logvar).exp()),
        ),
    ),
    right=(
        lambda h, W_mu, b_mu, W_logvar, b_logvar: F.linear(
            h, torch.cat([W_mu, W_logvar]), torch.cat([b_mu, b_logvar])
        ).chunk(2, 1),
    ),
    gradient=True,
)
