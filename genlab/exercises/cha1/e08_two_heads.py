"""Exercise A1.8: An encoder with two heads."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong, mistake


def two_heads(h, W_mu, b_mu, W_logvar, b_logvar):
    """mu and logvar from hidden units h, by two linear heads.

    h (n, m), weights (d, m) and biases (d,) -> each (n, d).
    """
    return F.linear(h, W_mu, b_mu), F.linear(h, W_logvar, b_logvar)


@mistake(
    "unpacking the batch",
    "This unpacks the batch: the first image's vector is called mu and the second's logvar. That is the article's "
    "fault. With a batch of two it raises nothing; with another it does.",
)
def _unpacked(h, W_mu, b_mu, W_logvar, b_logvar):
    mu, logvar = F.linear(h, W_mu, b_mu)
    return mu, logvar


def _heads_by_loop(h, W_mu, b_mu, W_logvar, b_logvar):
    return torch.stack([W_mu @ x + b_mu for x in h]), torch.stack([W_logvar @ x + b_logvar for x in h])


def _heads_by_einsum(h, W_mu, b_mu, W_logvar, b_logvar):
    W, b = torch.stack([W_mu, W_logvar]), torch.stack([b_mu, b_logvar])
    return torch.einsum("nm,kdm->knd", h, W) + b[:, None]


def _heads(g, n, m, d):
    return tuple(torch.randn(shape, generator=g) for shape in ((n, m), (d, m), (d,), (d, m), (d,)))


def _heads_inputs(g):
    return _heads(g, *((5, 4, 3), (3, 2, 4), (4, 6, 2), (6, 3, 5))[int(torch.randint(4, (), generator=g))])


EXERCISE = Exercise(
    number="A1.8",
    title="An encoder with two heads",
    difficulty=1,
    minutes=8,
    task=r"""
The article's encoder returns one vector per image, and `mu, logvar = encoder(x)` unpacks it. With two images in a batch
that runs: it unpacks the *batch*, and calls the first image's vector `mu` and the second's `logvar`. Write the two heads:
$\mu = W_\mu h + b_\mu$ and $\log\sigma^2 = W_v h + b_v$, each of shape `(n, d)`, for one image and for one latent
dimension too. The encoder learns through them, so the gradients in all five arguments are compared.""",
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
        _unpacked,
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
            "without the biases",
            "The biases are missing: with h = 0 the heads give b.",
            lambda h, W_mu, b_mu, W_logvar, b_logvar: (h @ W_mu.T, h @ W_logvar.T),
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
        _heads_by_loop,
        _heads_by_einsum,
    ),
    probes={
        "one image": lambda f: f(*_heads(torch.Generator().manual_seed(1), 1, 3, 2)),
        "two images": lambda f: f(*_heads(torch.Generator().manual_seed(2), 2, 4, 3)),
        "one latent dimension": lambda f: f(*_heads(torch.Generator().manual_seed(3), 3, 2, 1)),
    },
    gradient=("h", "W_mu", "b_mu", "W_logvar", "b_logvar"),
)
