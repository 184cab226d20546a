"""Exercise 00.4: A mixture."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch
from scipy import special

from genlab.exercises import Exercise, mistake


def log_mixture(x, means, std):
    """log density of k equal normals: x (n, d), means (k, d), one std -> (n,)."""
    d = x.shape[1]
    square = ((x[:, None] - means) ** 2).sum(2) / std**2
    log_components = -0.5 * square - d * math.log(std * math.sqrt(2 * math.pi))
    return torch.logsumexp(log_components, 1) - math.log(len(means))


def _mixture_by_loops(x, means, std):
    parts = [torch.distributions.Normal(m, std).log_prob(x).sum(1) for m in means]
    return torch.logsumexp(torch.stack(parts), 0) - math.log(len(parts))


def _mixture_by_distributions(x, means, std):
    components = torch.distributions.Independent(torch.distributions.Normal(means, std), 1)
    weights = torch.distributions.Categorical(torch.ones(len(means)))
    return torch.distributions.MixtureSameFamily(weights, components).log_prob(x)


def _mixture_by_numpy(x, means, std):
    square = ((np.asarray(x)[:, None] - np.asarray(means)) ** 2).sum(2)
    log_components = -square / (2 * std**2) - x.shape[1] / 2 * np.log(2 * np.pi * std**2)
    return special.logsumexp(log_components, axis=1) - np.log(len(means))


def _table(x, means, std):
    return torch.distributions.Normal(means, std).log_prob(x[:, None]).sum(2)


@mistake(
    "without the weights",
    "The weights 1/k are missing: this integrates to k, not to one.",
)
def _mixture_no_weights(x, means, std):
    return log_mixture(x, means, std) + math.log(len(means))


@mistake(
    "the constant once",
    "The normalising constant stands here once. A normal density in d dimensions has it d times.",
)
def _mixture_constant_once(x, means, std):
    square = ((x[:, None] - means) ** 2).sum(2) / std**2
    return torch.logsumexp(-0.5 * square - math.log(std * math.sqrt(2 * math.pi)), 1) - math.log(len(means))


@mistake(
    "the mean of the logarithms",
    "This is the mean of the components' log densities. The mixture is the logarithm of the mean of densities.",
)
def _mixture_of_logs(x, means, std):
    return torch.stack([torch.distributions.Normal(m, std).log_prob(x).sum(1) for m in means]).mean(0)


@mistake(
    "densities in place of their logarithms",
    "Near the means this is right. Far from all of them every density is 0 in floating point: use logsumexp.",
)
def _mixture_of_densities(x, means, std):
    return _table(x, means, std).exp().mean(1).log()


@mistake(
    "one maximum for all points",
    "One largest entry is taken out for all points. Beside a near point the far ones underflow: one for each row.",
)
def _mixture_one_maximum(x, means, std):
    table = _table(x, means, std)
    return (table - table.max()).exp().mean(1).log() + table.max()


@mistake(
    "mixed in every dimension alone",
    (
        "The components are mixed in every dimension alone. Sum over dimensions first, then mix: "
        "a point belongs to one component with all its coordinates."
    ),
)
def _mixture_per_dimension(x, means, std):
    log_components = torch.distributions.Normal(means, std).log_prob(x[:, None])
    return (torch.logsumexp(log_components, 1) - math.log(len(means))).sum(1)


@mistake(
    "the nearest component only",
    "Only the nearest component counts here. All of them contribute: use logsumexp, not max.",
)
def _mixture_nearest(x, means, std):
    parts = torch.stack([torch.distributions.Normal(m, std).log_prob(x).sum(1) for m in means])
    return parts.max(0).values - math.log(len(means))


def _draw(g):
    n, (k, d) = int(torch.randint(5, 8, (), generator=g)), torch.randint(1, 5, (2,), generator=g).tolist()
    return torch.randn(n, d, generator=g), torch.randn(k, d, generator=g), 0.5 + torch.rand((), generator=g).item()


EXERCISE = Exercise(
    number="00.4",
    title="A mixture",
    difficulty=2,
    minutes=10,
    task=r"""
Write the log density of $k$ equally probable normal components with means `(k, d)` and one standard deviation, a number,
for `x` of shape `(n, d)`. It returns one value for each row of `x`, shape `(n,)`, and is right for points far from all
means too, where the density itself is 0 in floating point. Compare with `densities.mixture(means, std).log_prob(x)`.""",
    inputs=_draw,
    solution=log_mixture,
    explanation=r"""
Every component has a density in $d$ dimensions, so the constant appears $d$ times, before components are mixed. The
mixture is a mean of densities, and its logarithm a logsumexp minus $\log k$, as in equation (0.8).""",
    hints=(
        "First find the log density of every point under every component: a table of shape `(n, k)`.",
        "`x[:, None] - means` has shape `(n, k, d)`. Square it, sum over the last dimension, divide by $\\sigma^2$.",
        "Add $-d\\log(\\sigma\\sqrt{2\\pi})$ to $-\\tfrac12$ of that, take `logsumexp` over components, subtract $\\log k$.",
    ),
    wrong=(
        _mixture_no_weights,
        _mixture_constant_once,
        _mixture_of_logs,
        _mixture_of_densities,
        _mixture_one_maximum,
        _mixture_per_dimension,
        _mixture_nearest,
    ),
    right=(_mixture_by_loops, _mixture_by_distributions, _mixture_by_numpy),
    probes={
        "one component at the point itself, d = 2": lambda f: f(torch.ones(1, 2), torch.ones(1, 2), 0.5),
        "two points far from the means": lambda f: f(torch.tensor([[40.0], [41.0]]), torch.tensor([[0.0], [2.0]]), 0.6),
        "a point near the means and one far from them": lambda f: f(
            torch.tensor([[0.5, 0.0], [30.0, -20.0]]), torch.tensor([[0.0, 0.0], [1.0, 0.0], [29.0, 0.0]]), 0.6
        ),
    },
)
