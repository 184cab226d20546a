"""Exercise 04.8: A q with two modes."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def log_weights_of_mixture(log_joint, z, means, stds, shares):
    """log p(x, z) − log Σ_j shares_j N(z; means_j, stds_j²).

    (n,) twice and (c,) three times -> (n,).
    """
    square = ((z[:, None] - means) / stds) ** 2  # (n, c)
    log_normal = -0.5 * (math.log(2 * math.pi) + 2 * stds.log() + square)
    return log_joint - torch.logsumexp(shares.log() + log_normal, 1)


def _components(z, means, stds):
    return torch.distributions.Normal(means, stds).log_prob(z[:, None])


def _mixture_by_distributions(log_joint, z, means, stds, shares):
    parts = torch.distributions.Normal(means, stds)
    q = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(shares), parts)
    return log_joint - q.log_prob(z)


def _mixture_in_numpy(log_joint, z, means, stds, shares):
    z, means, stds, shares = (v.numpy() for v in (z, means, stds, shares))
    parts = np.log(shares / stds) - 0.5 * np.log(2 * np.pi) - 0.5 * ((z[:, None] - means) / stds) ** 2
    return log_joint.numpy() - np.logaddexp.reduce(parts, axis=1)


def _mixture_by_loops(log_joint, z, means, stds, shares):
    rows = []
    for joint, point in zip(log_joint.tolist(), z.tolist(), strict=True):
        parts = [
            math.log(share / s) - 0.5 * math.log(2 * math.pi) - 0.5 * ((point - m) / s) ** 2
            for m, s, share in zip(means.tolist(), stds.tolist(), shares.tolist(), strict=True)
        ]
        rows.append(joint - max(parts) - math.log(sum(math.exp(part - max(parts)) for part in parts)))
    return rows


def _mixture_inputs(g):
    n, c = (torch.randint(1, 6, (2,), generator=g) + torch.tensor([0, 1])).tolist()
    log_joint, z, means = (torch.randn(k, generator=g) for k in (n, n, c))
    shares = torch.rand(c, generator=g) + 0.2
    return log_joint, z, means, torch.rand(c, generator=g) + 0.3, shares / shares.sum()


def _near_and_far(f):
    means, stds, shares = torch.tensor([0.0, 3.0, -1.0]), torch.tensor([1.0, 0.5, 0.7]), torch.tensor([0.5, 0.2, 0.3])
    return f(torch.tensor([-1.0, 2.0]), torch.tensor([0.5, 60.0]), means, stds, shares)


EXERCISE = Exercise(
    number="04.8",
    title="A q with two modes",
    difficulty=3,
    minutes=40,
    task=r"""
The family is at fault in (4.10), so take a richer one: a mixture $q(z) = \sum_j \pi_j\,\mathcal N(z; m_j, s_j^2)$. Write
its log-weight $\log p(x, z) - \log q(z)$ for given values `log_joint` and points `z`, each of shape `(n,)`, and for
`means`, `stds` and `shares` $\pi$, each of shape `(c,)`. The result has shape `(n,)`. Points far from all means, where every
density is 0 in floating point, must not give infinities.

Then use it: optimise a mixture of two for the model with two modes, by the grid as in `elbo` above. How much of the
0.71 nats remains? Draw from *one* component, chosen with its share, and weight by that component alone: is the mean of
$\log w$ still a bound if its density stands below the line, and if its share times its density does? And why is a mixture
harder to reparameterise?""",
    inputs=_mixture_inputs,
    solution=log_weights_of_mixture,
    explanation=r"""
The density is a sum, so its logarithm is a `logsumexp` of $\log \pi_j + \log \mathcal N(z; m_j, s_j^2)$ over the
components. Whichever component a point was drawn from, the weight has the *whole* density below the line. Far from all
means every density underflows to 0, and only the logarithms keep the difference.""",
    hints=(
        "The logarithm of a sum is not the sum of logarithms. Which function of PyTorch gives $\\log\\sum_j e^{a_j}$ safely?",
        "Make a table `(n, c)` of $\\log \\pi_j + \\log \\mathcal N(z_i; m_j, s_j^2)$, with `z[:, None]`.",
        "`log_joint - torch.logsumexp(shares.log() + log_normal, 1)`, where `log_normal` is that table without the shares.",
    ),
    wrong=(
        Wrong(
            "the mean of the log-densities",
            "The logarithms are averaged. The densities have to be averaged first, and then comes the logarithm.",
            lambda log_joint, z, means, stds, shares: log_joint - (shares * _components(z, means, stds)).sum(1),
        ),
        Wrong(
            "the shares are forgotten",
            "The shares are missing, so q does not integrate to 1 but to the number of components.",
            lambda log_joint, z, means, stds, shares: log_joint - torch.logsumexp(_components(z, means, stds), 1),
        ),
        Wrong(
            "equal shares",
            "All components get the same share. Use the shares that were given.",
            lambda log_joint, z, means, stds, shares: (
                log_joint - torch.logsumexp(_components(z, means, stds), 1) + math.log(len(shares))
            ),
        ),
        Wrong(
            "the nearest component only",
            "Only the largest term is kept. The density of a mixture is the sum over all components.",
            lambda log_joint, z, means, stds, shares: (
                log_joint - (shares.log() + _components(z, means, stds)).max(1).values
            ),
        ),
        Wrong(
            "the densities before the logarithm",
            "Right near the means, but far away all densities underflow to 0 and the weight becomes infinite. Use logsumexp.",
            lambda log_joint, z, means, stds, shares: (
                log_joint - (shares * _components(z, means, stds).exp()).sum(1).log()
            ),
        ),
        Wrong(
            "q plus the joint",
            "The log-density of q is added. A weight divides by q, so its logarithm is subtracted.",
            lambda log_joint, z, means, stds, shares: (
                log_joint + torch.logsumexp(shares.log() + _components(z, means, stds), 1)
            ),
        ),
    ),
    right=(
        _mixture_by_distributions,
        _mixture_in_numpy,
        _mixture_by_loops,
        lambda log_joint, z, means, stds, shares: (
            log_joint - torch.logsumexp(shares.log()[:, None] + _components(z, means, stds).T, 0)
        ),
    ),
    probes={
        "the log-weight far from all means": lambda f: f(
            torch.zeros(1), torch.tensor([60.0]), torch.zeros(2), torch.ones(2), torch.tensor([0.5, 0.5])
        ),
        "the log-weight of a mixture of two equal components": lambda f: f(
            torch.zeros(2), torch.tensor([0.0, 1.0]), torch.zeros(2), torch.ones(2), torch.tensor([0.3, 0.7])
        ),
        "the log-weights of a point near the means and one far from all": _near_and_far,
    },
    discussion=r"""
**For the open part.** By symmetry the best mixture of two has shares of one half and means of opposite sign. The
$\log 2$ of (4.10) vanishes, and only the misfit of each mode's shape remains, about two hundredths of a nat. Weighted by
its own component's density $q_j$ alone, without the share, the mean of $\log w$ is $\sum_j \pi_j \mathrm{ELBO}(q_j)$: a
mean of bounds, so a bound, and never above the ELBO of the mixture. With the share, $\pi_j q_j$ below the line, it is the
ELBO of the mixture *plus* $\mathbb E_q[H(j|z)]$, the mean entropy of which component it was, and that can exceed
$\log p(x)$. With $\log p(x) = -1$ and two components that both equal the posterior it is $-1 + \log 2 = -0.31$. The
choice of the component is discrete, so the sample is no smooth function of the shares. One can sum over components, one
ELBO term for each, or use the score function for the choice.""",
)
