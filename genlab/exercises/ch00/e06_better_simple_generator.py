"""Exercise 00.6: A better simple generator."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch
from scipy import special

from genlab.exercises import Exercise, Wrong, mistake


def log_templates(x, theta, weights):
    """log p(x) of templates: binary x (n, m), theta (k, m), weights (k,) -> (n,)."""
    log_px = x @ theta.log().T + (1 - x) @ (1 - theta).log().T
    return torch.logsumexp(log_px + weights.log(), 1)


def _templates_by_loops(x, theta, weights):
    rows = []
    for image in x:
        parts = [w.log() + torch.where(image == 1, t, 1 - t).log().sum() for t, w in zip(theta, weights, strict=True)]
        rows.append(torch.logsumexp(torch.stack(parts), 0).item())
    return rows


def _templates_by_distributions(x, theta, weights):
    components = torch.distributions.Independent(torch.distributions.Bernoulli(theta), 1)
    return torch.distributions.MixtureSameFamily(torch.distributions.Categorical(weights), components).log_prob(x)


def _templates_by_numpy(x, theta, weights):
    x, theta = np.asarray(x), np.asarray(theta)
    log_px = np.where(x[:, None] == 1, np.log(theta), np.log1p(-theta)).sum(2)
    return special.logsumexp(log_px, axis=1, b=np.asarray(weights))


def _table(x, theta):
    return x @ theta.log().T + (1 - x) @ (1 - theta).log().T


@mistake(
    "one maximum for all images",
    "One largest entry is taken out for all images. Beside a likely image the others underflow: one for each row.",
)
def _templates_one_maximum(x, theta, weights):
    table = _table(x, theta) + weights.log()
    return (table - table.max()).exp().sum(1).log() + table.max()


def _draw(g):
    n, (k, m) = int(torch.randint(5, 8, (), generator=g)), torch.randint(1, 5, (2,), generator=g).tolist()
    theta = 0.1 + 0.8 * torch.rand(k, m, generator=g)
    return torch.rand(n, m, generator=g).round(), theta, torch.rand(k, generator=g).mul(3).softmax(0)


_DIGIT = (torch.arange(784) % 3 == 0).float()
_LARGE = torch.stack([0.1 + 0.8 * _DIGIT, torch.full((784,), 0.02)]), torch.tensor([0.4, 0.6])
_SURE = torch.tensor([[3e-7, 1 - 2.0**-21, 0.5], [5e-7, 0.7, 0.1]])  # coins that hardly ever show their other side
_TWO = torch.tensor([[0.2, 0.9, 0.5], [0.7, 0.1, 0.4]]), torch.tensor([0.3, 0.7])

EXERCISE = Exercise(
    number="00.6",
    title="A better simple generator",
    difficulty=3,
    minutes=60,
    task=r"""
Beat the model with classes on the test images, in nats, without a neural network. Its core is checked here: $k$
templates, the rows of `theta`, with weights $\pi$. An image is drawn by choosing a template and flipping its coins, so

$$ p(x) = \sum_{c=1}^{k} \pi_c \prod_{j=1}^{m} \theta_{cj}^{x_j} (1 - \theta_{cj})^{1 - x_j}. $$

Write $\log p(x)$ for `n` binary images as rows of length $m$, shape `(n,)`. It must be right for 784 pixels, whose
probability itself is 0 in floating point, and for $\theta$ near 0 and 1. Then find templates: several for each class, by $k$-means or by
expectation maximisation; shifts as latent variables; a tree of pixels. Report the mean and its standard error, and say
how you chose what you chose without looking at the test images.""",
    inputs=_draw,
    solution=log_templates,
    explanation=r"""
Products become sums of logarithms, and the sum over pixels is a matrix product: `x @ log θᵀ` collects the pixels that
are on, `(1 − x) @ log(1 − θ)ᵀ` those that are off. The weights are probabilities, so they enter as $\log\pi_c$, and the
sum over templates is a `logsumexp`.""",
    hints=(
        "Start with $\\log p(x \\mid c)$ for every image and template: a table of shape `(n, k)`.",
        "The pixels that are on contribute $\\log\\theta$, those that are off $\\log(1-\\theta)$. Both are matrix products.",
        "Add `weights.log()` to the table and take `torch.logsumexp` over dimension 1.",
    ),
    wrong=(
        Wrong(
            "equal weights",
            "The weights are not used: every template is taken as equally probable.",
            lambda x, theta, weights: torch.logsumexp(_table(x, theta), 1) - math.log(len(weights)),
        ),
        Wrong(
            "one blended template",
            "The templates are blended into one before the pixels are compared. Then the pixels are independent again, "
            "and nothing is gained. Mix the densities, not the coins.",
            lambda x, theta, weights: _table(x, (weights @ theta)[None])[:, 0],
        ),
        Wrong(
            "ink alone",
            "Only pixels that are on are counted. Those that are off have a probability too.",
            lambda x, theta, weights: torch.logsumexp(x @ theta.log().T + weights.log(), 1),
        ),
        Wrong(
            "weights without a logarithm",
            "The weights are added as they are. Under the logsumexp they need a logarithm.",
            lambda x, theta, weights: torch.logsumexp(_table(x, theta) + weights, 1),
        ),
        Wrong(
            "the mean of the logarithms",
            "This is the weighted mean of log p(x | c): a lower bound by Jensen. The sum has to stand inside the logarithm.",
            lambda x, theta, weights: _table(x, theta) @ weights,
        ),
        Wrong(
            "it underflows",
            "For a few pixels this is right. The probability of 784 is 0 in floating point: mix with logsumexp.",
            lambda x, theta, weights: (_table(x, theta).exp() @ weights).log(),
        ),
        _templates_one_maximum,
    ),
    right=(_templates_by_loops, _templates_by_distributions, _templates_by_numpy),
    probes={
        "that all images of three pixels have probability one together": lambda f: (
            f(torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3), *_TWO).exp().sum()
        ),
        "two unlikely images of 784 pixels": lambda f: f(torch.stack([1 - _DIGIT, _DIGIT.roll(1)]), *_LARGE),
        "images of 784 pixels, one likely and one not": lambda f: f(torch.stack([_DIGIT, 1 - _DIGIT]), *_LARGE),
        "pixels that are on against all odds": lambda f: f(
            torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]), _SURE, torch.tensor([0.5, 0.5])
        ),
        "one image, one template, one pixel": lambda f: f(torch.ones(1, 1), torch.tensor([[0.3]]), torch.ones(1)),
    },
    discussion=r"""
**For the open part.** Ten templates a class instead of one gain tens of nats: handwriting comes in styles, and a style
is a decision that many pixels share. Two things decide whether a number can be trusted. The number of templates is
chosen on a part of the training images, never on the test images. And every template needs smoothing, since with few
images a template claims certainty about pixels it has hardly seen. A convincing report gives the gain over the model with
classes as a mean of *paired* differences, with its standard error.""",
)
