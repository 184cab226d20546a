"""Exercise 04.6: A baseline that costs nothing."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def score_gradient(f, z, mu, sigma):
    """Score-function gradient in mu with leave-one-out baselines.

    f (k,), z (k, d), mu (d,), sigma a number -> (d,).
    """
    k = len(f)
    baseline = (f.sum() - f) / (k - 1)  # for sample i the mean of all the others
    score = (z - mu) / sigma**2
    return ((f - baseline)[:, None] * score).mean(0)


def _score_short(f, z, mu, sigma):
    return ((f - f.mean()) @ (z - mu)) / sigma**2 / (len(f) - 1)


def _score_by_autograd(f, z, mu, sigma):
    mu = mu.clone().requires_grad_()
    log_q = torch.distributions.Normal(mu, sigma).log_prob(z).sum(1)
    return torch.autograd.grad(((f - _others(f)) * log_q).mean(), mu)[0]


def _score_in_numpy(f, z, mu, sigma):
    f, scores = f.numpy(), (z - mu).numpy() / sigma**2
    rows = [(f[i] - np.delete(f, i).mean()) * scores[i] for i in range(len(f))]
    return sum(rows) / len(rows)


def _score_by_loops(f, z, mu, sigma):
    k, total = len(f), [0.0] * len(mu)
    for i in range(k):
        rest = f[i] - sum(f[j] for j in range(k) if j != i) / (k - 1)
        total = [t + rest * (z[i, c] - mu[c]) / sigma**2 / k for c, t in enumerate(total)]
    return total


def _samples(g):
    k, d = (torch.randint(1, 5, (2,), generator=g) + torch.tensor([2, 0])).tolist()
    f = 3 * torch.randn((), generator=g) + 2 * torch.randn(k, generator=g)
    sigma = 0.5 + torch.rand((), generator=g).item()
    return f, torch.randn(k, d, generator=g), torch.randn(d, generator=g), sigma


def _score(f, baseline, z, mu, variance):
    return ((f - baseline)[:, None] * (z - mu) / variance).mean(0)


def _others(f):
    return (f.sum() - f) / (len(f) - 1)


EXERCISE = Exercise(
    number="04.6",
    title="A baseline that costs nothing",
    difficulty=2,
    minutes=15,
    task=r"""
From $k \ge 2$ samples $z_i \sim \mathcal N(\mu, \sigma^2 I)$ and the values $f_i = f(z_i)$ estimate the gradient (4.19) with a
baseline. A fixed number is not known in advance, so sample $i$ uses the mean of the *other* samples' values:

$$ \frac1k \sum_{i=1}^k \Big(f_i - \frac{1}{k-1}\sum_{j \ne i} f_j\Big)\,\frac{z_i - \mu}{\sigma^2} . \tag{4.26} $$

`f` has shape `(k,)`, `z` has `(k, d)`, `mu` has `(d,)`, `sigma` is a number, and the result has shape `(d,)`. Adding a
constant to all $f_i$ changes nothing. Why may sample $i$ not be part of its own baseline?""",
    inputs=_samples,
    solution=score_gradient,
    explanation=r"""
The other samples are independent of $z_i$, so their mean acts as a constant and $\mathbb E[b\,\nabla \log q] = 0$. With
$f_i$ in its own baseline that fails: $f_i - \bar f = \frac{k-1}{k}\big(f_i - \frac1{k-1}\sum_{j\ne i} f_j\big)$, so every
gradient would be too short by the factor $(k-1)/k$. For $k = 2$ that is half.""",
    hints=(
        "The sum of the others is the sum of all minus the own value.",
        "All baselines at once: `(f.sum() - f) / (k - 1)`. The score is $(z - \\mu)/\\sigma^2$, with the variance below.",
        "Multiply `(f - baseline)[:, None]` with `(z - mu) / sigma**2` and take the mean over the samples, dimension 0.",
    ),
    wrong=(
        Wrong(
            "the own value in the baseline",
            "Each sample is part of its own baseline, so the estimate is biased: too short by the factor (k - 1) / k.",
            lambda f, z, mu, sigma: _score(f, f.mean(), z, mu, sigma**2),
        ),
        Wrong(
            "no baseline",
            "There is no baseline: unbiased, but adding a constant to f changes the result, and the noise is large.",
            lambda f, z, mu, sigma: _score(f, 0.0, z, mu, sigma**2),
        ),
        Wrong(
            "sigma in place of its square",
            "The score is divided by sigma. It is (z - mu) over the variance, sigma squared.",
            lambda f, z, mu, sigma: _score(f, _others(f), z, mu, sigma),
        ),
        Wrong(
            "the baseline is added",
            "The baseline is added. It has to be subtracted, or the noise grows.",
            lambda f, z, mu, sigma: _score(f, -_others(f), z, mu, sigma**2),
        ),
        Wrong(
            "the sum over samples",
            "This is the sum over the samples. An expectation is estimated by their mean.",
            lambda f, z, mu, sigma: len(f) * _score(f, _others(f), z, mu, sigma**2),
        ),
        Wrong(
            "the wrong sign of the score",
            "The sign of the score is wrong: log q grows when mu moves towards z, so its gradient is (z - mu) over the variance.",
            lambda f, z, mu, sigma: -_score(f, _others(f), z, mu, sigma**2),
        ),
    ),
    right=(_score_short, _score_by_autograd, _score_in_numpy, _score_by_loops),
    probes={
        "the gradient of a constant f": lambda g: g(torch.full((3,), 7.0), torch.eye(3), torch.zeros(3), 1.0),
        "the gradient from two samples": lambda g: g(
            torch.tensor([1.0, 3.0]), torch.tensor([[-1.0], [1.0]]), torch.zeros(1), 2.0
        ),
        "the gradient with one value far below the others": lambda g: g(
            torch.tensor([1.0, -200.0, 2.0]), torch.tensor([[1.0, 0.5], [0.0, 2.0], [-1.0, 1.0]]), torch.ones(2), 0.5
        ),
    },
)
