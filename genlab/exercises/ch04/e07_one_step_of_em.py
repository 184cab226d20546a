"""Exercise 04.7: One step of EM."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def em_step(x, W, sigma2):
    """One step of EM, (4.15), for p(x|z) = N(W z, sigma2).

    x (n,) and the numbers W and sigma2 -> the new W.
    """
    M = W**2 + sigma2
    m, v = W * x / M, sigma2 / M  # E: mean and variance of every posterior
    return (x * m).sum() / (m**2 + v).sum()  # M: the top of the parabola


def _em_by_mean(x, W, sigma2):
    gain = W / (W**2 + sigma2)
    power = (x**2).mean()
    return gain * power / (gain**2 * power + 1 - gain * W)


def _em_by_loop(x, W, sigma2):
    above, below = 0.0, 0.0
    for value in x.tolist():
        m, v = W * value / (W**2 + sigma2), sigma2 / (W**2 + sigma2)
        above, below = above + value * m, below + m**2 + v
    return above / below


def _em_in_numpy(x, W, sigma2):
    m, v = W * x.numpy() / (W**2 + sigma2), sigma2 / (W**2 + sigma2)
    return np.dot(x.numpy(), m) / (np.dot(m, m) + len(m) * v)


def _em_by_autograd(x, W, sigma2):
    m, v = W * x / (W**2 + sigma2), sigma2 / (W**2 + sigma2)
    slope = torch.func.grad(lambda w: ((x - w * m) ** 2 + w**2 * v).sum())
    at0, at1 = slope(torch.tensor(0.0)), slope(torch.tensor(1.0))  # a parabola's slope is a line
    return at0 / (at0 - at1)


def _observations(g):
    n = int(torch.randint(2, 9, (), generator=g))
    signs = torch.where(torch.rand(n, generator=g) < 0.5, -1.0, 1.0)
    W, sigma2 = (0.5 + torch.rand(2, generator=g)).tolist()
    return signs * (1.3 + 2 * torch.rand(n, generator=g)), W, sigma2


def _em(x, W, sigma2, variance=True, noise=None):
    noise = sigma2 if noise is None else noise
    M = W**2 + noise
    m, v = W * x / M, (noise / M if variance else 0.0)
    return (x * m).sum() / (m**2 + v).sum()


EXERCISE = Exercise(
    number="04.7",
    title="One step of EM",
    difficulty=2,
    minutes=12,
    task=r"""
Write one step of (4.15) with the noise variance $\sigma^2$ as an argument: from observations `x` of shape `(n,)` and the
present numbers `W` and `sigma2` compute the new $W$, one number. It is a fixed point where $W^2 = \overline{x^2} - \sigma^2$. The
sign of $W$ never changes. Since the posterior has a variance $v$, each of the $n$ terms of the denominator contains it.""",
    inputs=_observations,
    solution=em_step,
    explanation=r"""
The M step maximises $\sum_i \mathbb E_{q_i}[\log \mathcal N(x_i; Wz, \sigma^2)]$, a parabola in $W$ with the terms
$W x_i \mathbb E[z]$ and $W^2 \mathbb E[z^2]$. And $\mathbb E[z^2] = m_i^2 + v$. Leaving out $v$ treats the posterior mean
as if it had been observed ("hard EM"); then $W$ comes out too large, and the likelihood may fall.""",
    hints=(
        "E step: the posterior mean of each $z_i$ and the variance that all share. What are they in (4.15)?",
        "M step: a regression of $x$ on $z$, with $\\mathbb E[z] = m$ and $\\mathbb E[z^2] = m^2 + v$ in place of $z$ and $z^2$.",
        "With `m = W * x / (W**2 + sigma2)` and `v = sigma2 / (W**2 + sigma2)` it is `(x * m).sum() / (m**2 + v).sum()`.",
    ),
    wrong=(
        Wrong(
            "hard EM",
            "The posterior's variance is left out of the denominator: the means are treated as if they had been observed.",
            lambda x, W, sigma2: _em(x, W, sigma2, variance=False),
        ),
        Wrong(
            "the variance once for all examples",
            "The variance is added once. Every one of the n examples has it, so it enters n times.",
            lambda x, W, sigma2: (
                (x * W * x / (W**2 + sigma2)).sum()
                / ((W * x / (W**2 + sigma2)).square().sum() + sigma2 / (W**2 + sigma2))
            ),
        ),
        Wrong(
            "sigma2 taken for 1",
            "This is the step for a noise variance of 1: the argument sigma2 is not used.",
            lambda x, W, sigma2: _em(x, W, sigma2, noise=1.0),
        ),
        Wrong(
            "sigma2 squared",
            "sigma2 is squared once more. It is the variance already.",
            lambda x, W, sigma2: _em(x, W, sigma2, noise=sigma2**2),
        ),
        Wrong(
            "the fixed point itself",
            "This is the place where EM ends, not one step of it.",
            lambda x, W, sigma2: ((x**2).mean() - sigma2).clamp(min=0).sqrt(),
        ),
        Wrong(
            "the regression the wrong way",
            "The sum is divided by that of the squared x: a regression of z on x. Here x is predicted from z.",
            lambda x, W, sigma2: (x * W * x / (W**2 + sigma2)).sum() / (x**2).sum(),
        ),
    ),
    right=(_em_by_mean, _em_by_loop, _em_in_numpy, _em_by_autograd),
    probes={
        "the step from the fixed point W = 2": lambda f: f(torch.tensor([5**0.5, -(5**0.5)]), 2.0, 1.0),
        "the step from a negative W": lambda f: f(torch.tensor([1.0, -3.0, 2.0]), -0.5, 0.7),
        "the step from a single observation": lambda f: f(torch.tensor([3.0]), 1.0, 0.5),
        "the step with one observation far away": lambda f: f(torch.tensor([0.5, 80.0, -1.0]), 0.8, 0.6),
    },
)
