"""Exercise A1.5: What a linear generator can draw."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def linear_covariance(W):
    """Covariance of G(z) = W z + b for z ~ N(0, I): W of shape (d, k) -> (d, d)."""
    return W @ W.T


def _covariance_by_loops(W):
    rows = W.tolist()
    return [[sum(x * y for x, y in zip(p, q, strict=True)) for q in rows] for p in rows]


def _covariance_in_numpy(W):
    return np.einsum("ik,jk->ij", W.numpy(), W.numpy())


def _weights(g):
    size = 0.5 + 3 * torch.rand((), generator=g)
    d, k = torch.randint(2, 7, (2,), generator=g).tolist()
    return (size * torch.randn(d, k, generator=g),)


EXERCISE = Exercise(
    number="A1.5",
    title="What a linear generator can draw",
    difficulty=2,
    minutes=10,
    task=r"""
The article's generator is one linear layer, $G(z) = Wz + b$. An affine image of a Gaussian is a Gaussian, and its mean is
$b$. What is its covariance? With $k$ noise dimensions and $d$ pixels, $W$ has shape `(d, k)` and the covariance `(d, d)`,
of rank at most $k$. So the best such generator is a Gaussian with the covariance of the data: principal component
analysis, and nothing that a digit is made of.""",
    inputs=_weights,
    solution=linear_covariance,
    explanation=r"""
$\operatorname{Cov}[Wz + b] = \mathbb E[Wz z^\top W^\top] = W\,\mathbb E[zz^\top]\,W^\top = WW^\top$, by linearity and
because $\mathbb E[zz^\top] = I$. The constant $b$ moves the mean and leaves the covariance alone.""",
    hints=(
        "A covariance is $\\mathbb E[(x - \\mathbb E x)(x - \\mathbb E x)^\\top]$. What is $x - \\mathbb E x$ here?",
        "It is $Wz$. Take $W$ out of the expectation on both sides; what is $\\mathbb E[zz^\\top]$?",
        "What is left is `W @ W.T`.",
    ),
    wrong=(
        Wrong(
            "the noise's side",
            "This has the shape (k, k) of the noise. The covariance of the images is (d, d): W stands on the left.",
            lambda W: W.T @ W,
        ),
        Wrong(
            "divided by k",
            "Nothing is averaged here: the covariance of the noise is exactly the identity. Leave out the division.",
            lambda W: W @ W.T / W.shape[1],
        ),
        Wrong(
            "centred",
            "This takes the columns of W for samples. The noise is what varies; W is fixed.",
            lambda W: torch.cov(W),
        ),
        Wrong(
            "standard deviations", "These are the standard deviations of single pixels.", lambda W: (W**2).sum(1).sqrt()
        ),
    ),
    right=(lambda W: sum(torch.outer(w, w) for w in W.T), _covariance_by_loops, _covariance_in_numpy),
    probes={
        "three pixels, one noise dimension": lambda f: f(torch.tensor([[1.0], [-2.0], [3.0]])),
        "one pixel, three noise dimensions": lambda f: f(torch.tensor([[1.0, -2.0, 3.0]])),
    },
)
