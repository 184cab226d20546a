"""Exercise 13.7: What a chain is worth."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch
from scipy.special import logsumexp

from genlab.exercises import Exercise, Wrong


def chain_bound(b, log_px):
    """The estimate of log p(x) from annealed chains.

    b_0 … b_T (T + 1,), log p(x|z) before each step (T, chains) -> a number.
    """
    log_w = ((b[1:] - b[:-1])[:, None] * log_px).sum(0)  # (13.14)
    return torch.logsumexp(log_w, 0) - math.log(log_px.shape[1])


def _by_matrix(b, log_px):
    log_w = torch.diff(b) @ log_px
    top = log_w.max()
    return top + (log_w - top).exp().mean().log()


def _by_numpy(b, log_px):
    log_w = np.diff(b.double().numpy()) @ log_px.double().numpy()
    return logsumexp(log_w, b=1 / len(log_w))


def _by_loops(b, log_px):
    weights = [
        sum(float(b[t + 1] - b[t]) * float(row[c]) for t, row in enumerate(log_px)) for c in range(log_px.shape[1])
    ]
    top = max(weights)
    return top + math.log(sum(math.exp(w - top) for w in weights) / len(weights))


def _weights(b, log_px):
    return torch.diff(b) @ log_px


def _chains(g):
    T, chains = (int(torch.randint(1, 7, (), generator=g)) for _ in range(2))
    steps = torch.rand(T, generator=g) + 0.05
    b = torch.cat([torch.zeros(1), (steps / steps.sum()).cumsum(0)])
    return b, -3 + 4 * torch.randn(T, chains, generator=g)


EXERCISE = Exercise(
    number="13.7",
    title="What a chain is worth",
    difficulty=2,
    minutes=12,
    task=r"""
Annealed importance sampling has run its chains for one image $x$. Given are $b_0 = 0 < b_1 < \dots < b_T = 1$ and, row by row,
$\log p(x|z)$ at the states before each step, one column a chain. Compute the log-weight of each chain, (13.14), and return
the logarithm of the *mean weight*, one number, right for values of thousands of nats below 0 too. With $T = 1$ it is the
logarithm of the plain average of the likelihood over the prior.""",
    inputs=_chains,
    solution=chain_bound,
    explanation=r"""
A chain's log-weight adds up the steps in $b$ times the log-likelihood where the chain stood before that step. Weights are
averaged, not their logarithms: the mean weight is unbiased for $p(x)$, and its logarithm bounds $\log p(x)$ from below on
average. `logsumexp` keeps numbers such as $e^{-2000}$ from becoming 0.""",
    hints=(
        "Each step in b has one row of log-likelihoods: multiply, and add over the steps.",
        "The logarithm of a mean of exponentials is logsumexp minus the logarithm of how many there are.",
        "`torch.logsumexp(torch.diff(b) @ log_px, 0) - math.log(chains)`.",
    ),
    wrong=(
        Wrong(
            "the mean of the log-weights",
            "The logarithms of the weights are averaged. That is a bound too, by Jensen, but a looser one.",
            lambda b, log_px: _weights(b, log_px).mean(),
        ),
        Wrong(
            "the sum of the weights",
            "This is the logarithm of the weights' sum: more chains would mean more likelihood. Subtract log(chains).",
            lambda b, log_px: torch.logsumexp(_weights(b, log_px), 0),
        ),
        Wrong(
            "b in place of its steps",
            "Each row is multiplied by b itself. A step counts by how much b grows in it.",
            lambda b, log_px: torch.logsumexp(b[1:] @ log_px, 0) - math.log(log_px.shape[1]),
        ),
        Wrong(
            "steps left out",
            "The rows are averaged with equal weight. The steps in b need not be equal.",
            lambda b, log_px: torch.logsumexp(log_px.mean(0), 0) - math.log(log_px.shape[1]),
        ),
        Wrong(
            "the best chain",
            "This is the largest log-weight alone. The other chains count as well.",
            lambda b, log_px: _weights(b, log_px).max(),
        ),
        Wrong(
            "the mean over steps",
            "The mean runs over the steps. The mean is over chains, and the steps are added.",
            lambda b, log_px: torch.logsumexp(_weights(b, log_px), 0) - math.log(len(log_px)),
        ),
        Wrong(
            "the exponential underflows",
            "Far below 0 the exponential becomes 0, and its logarithm minus infinity. Take out the largest log-weight first.",
            lambda b, log_px: _weights(b, log_px).exp().mean().log(),
        ),
    ),
    right=(_by_matrix, _by_numpy, _by_loops),
    probes={
        "the bound from one step": lambda f: f(torch.tensor([0.0, 1.0]), torch.tensor([[-1.0, -3.0, -2.0]])),
        "the bound from chains thousands of nats down": lambda f: f(
            torch.tensor([0.0, 0.2, 1.0]), torch.tensor([[-5000.0, -5100.0], [-2000.0, -2003.0]])
        ),
        "the bound from unequal steps": lambda f: f(
            torch.tensor([0.0, 0.1, 0.3, 1.0]), torch.tensor([[-9.0, -8.0], [-4.0, -5.0], [-1.0, -2.0]])
        ),
        "the bound from densities above 1": lambda f: f(
            torch.tensor([0.0, 0.5, 1.0]), torch.tensor([[3.0, 1.0], [4.0, 6.0]])
        ),
    },
)
