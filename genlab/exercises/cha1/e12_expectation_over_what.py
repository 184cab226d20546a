"""Exercise A1.12: An expectation over what?"""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import torch

from genlab.exercises import Exercise, Wrong


def reconstruction_samples(mu, logvar, eps):
    """The z at which E_{q(z|x)}[log p(x|z)] is estimated.

    (n, d) twice and eps (k, n, d) -> (k, n, d).
    """
    return mu + torch.exp(0.5 * logvar) * eps


def _samples_by_loops(mu, logvar, eps):
    return [[m + math.e ** (v / 2) * e for m, v, e in zip(mu, logvar, noise, strict=True)] for noise in eps]


def _samples_by_transform(mu, logvar, eps):
    return torch.distributions.AffineTransform(mu, logvar.exp().sqrt())(eps)


def _proposals(g, k, n, d):
    return torch.randn(n, d, generator=g), 2 * torch.randn(n, d, generator=g), torch.randn(k, n, d, generator=g)


EXERCISE = Exercise(
    number="A1.12",
    title="An expectation over what?",
    difficulty=2,
    minutes=8,
    task=r"""
The article takes expectations "over $x$ and $z$" and does not say which distribution $z$ follows. In the reconstruction
term it is $q(z \mid x)$, and not the prior: an image is explained by the $z$ that its own encoder proposes. From `mu` and
`logvar`, each `(n, d)`, and standard normal noise `eps` of shape `(k, n, d)`, return $k$ samples $z$ for each image. By
them the encoder learns, so the gradients in `mu` and in `logvar` are compared.""",
    inputs=lambda g: _proposals(
        g, *((4, 3, 2), (2, 5, 3), (5, 2, 4), (3, 4, 6))[int(torch.randint(4, (), generator=g))]
    ),
    solution=reconstruction_samples,
    explanation=r"""
Under $q(z \mid x)$ the sample depends on the image, and gradients reach the encoder through it. Under the prior it would
be noise that knows nothing of $x$, the best decoder would return the mean image, and the encoder would get no gradient.
`mu` and `logvar` broadcast over the first dimension of `eps`.""",
    hints=(
        "What would the decoder learn if z came from the prior while x is a given image?",
        "z comes from $q(z \\mid x)$: shift and scale the noise. Shapes broadcast from the right.",
        "`mu + torch.exp(0.5 * logvar) * eps` has shape `(k, n, d)`.",
    ),
    wrong=(
        Wrong(
            "from the prior",
            "These samples come from the prior and know nothing of the image: no decoder can reconstruct from them.",
            lambda mu, logvar, eps: eps + 0 * mu + 0 * logvar,
        ),
        Wrong(
            "the mean alone",
            "This is the mean for every sample. Without noise it is a plain autoencoder.",
            lambda mu, logvar, eps: mu + 0 * eps,
        ),
        Wrong(
            "the variance for the standard deviation",
            "The noise is multiplied by the variance. It has to be the standard deviation.",
            lambda mu, logvar, eps: mu + logvar.exp() * eps,
        ),
        Wrong(
            "the logarithm for the standard deviation",
            "The noise is multiplied by the logarithm itself. exp(logvar / 2) is the standard deviation.",
            lambda mu, logvar, eps: mu + logvar * eps,
        ),
        Wrong(
            "one sample for all",
            "Only the first of the k noises is used.",
            lambda mu, logvar, eps: mu + torch.exp(0.5 * logvar) * eps[0],
        ),
    ),
    right=(
        lambda mu, logvar, eps: torch.stack([mu + (logvar / 2).exp() * e for e in eps]),
        _samples_by_loops,
        _samples_by_transform,
    ),
    probes={
        "one sample for each of three images": lambda f: f(*_proposals(torch.Generator().manual_seed(1), 1, 3, 2)),
        "three samples for one image": lambda f: f(*_proposals(torch.Generator().manual_seed(2), 3, 1, 2)),
        "one latent dimension": lambda f: f(*_proposals(torch.Generator().manual_seed(3), 2, 3, 1)),
        "logvar of 6 and −6": lambda f: f(torch.ones(1, 2), torch.tensor([[6.0, -6.0]]), torch.ones(1, 1, 2)),
    },
    gradient=("mu", "logvar"),
)
