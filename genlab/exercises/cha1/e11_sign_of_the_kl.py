"""Exercise A1.11: The sign of the KL."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def kl_terms(log_q, log_p):
    """Sampled KL(q ‖ p) at z ~ q, per sample, from log q(z|x) and log p(z).

    (n,) twice -> (n,).
    """
    return log_q - log_p


def _terms_by_loop(log_q, log_p):
    return [q - p for q, p in zip(log_q.tolist(), log_p.tolist(), strict=True)]


def _terms_in_numpy(log_q, log_p):
    return np.subtract(log_q.numpy(), log_p.numpy())


def _densities(g):
    n = int(torch.randint(2, 8, (), generator=g))
    return torch.randn(n, generator=g), 2 * torch.randn(n, generator=g)


EXERCISE = Exercise(
    number="A1.11",
    title="The sign of the KL",
    difficulty=1,
    minutes=5,
    task=r"""
The article writes the KL term as $\mathbb E[\log p(z) - \log q(z \mid x)]$ and adds it to the loss. Write what
$\operatorname{KL}(q \,\|\, p)$ is, by its definition, the expectation of, for samples $z \sim q(z \mid x)$: one term for each
sample, shape `(n,)`. The expectation is never negative; single terms may be. In many dimensions log-densities of −2,000
are common, whose exponentials are 0.""",
    inputs=_densities,
    solution=kl_terms,
    explanation=r"""
$\operatorname{KL}(q \,\|\, p) = \mathbb E_q[\log q(z \mid x) - \log p(z)]$: by how much $q$ finds its own samples more
probable than $p$ does. The article has minus that. Minimised, it has no bound: the posterior shrinks and runs away. A
single sample's term may be negative; only the expectation may not.""",
    hints=(
        "Take $q$ much narrower than $p$. Which of the two finds a sample of $q$ more probable?",
        "$q$ does. A divergence is positive there, so which is subtracted from which?",
        "Return `log_q - log_p`.",
    ),
    wrong=(
        Wrong(
            "the article's sign",
            "This is the article's sign, minus the KL: minimising it drives q away from the prior.",
            lambda log_q, log_p: log_p - log_q,
        ),
        Wrong(
            "weighted by q",
            "The samples come from q already. Weighting them by q once more counts it twice.",
            lambda log_q, log_p: log_q.exp() * (log_q - log_p),
        ),
        Wrong(
            "made positive",
            "Single terms may be negative. Taking their absolute value makes the mean too large.",
            lambda log_q, log_p: (log_q - log_p).abs(),
        ),
        Wrong(
            "the cross-entropy", "The entropy of q is missing: this is a cross-entropy.", lambda log_q, log_p: -log_p
        ),
        Wrong(
            "another estimator",
            "With r = p/q this is r − 1 − log r. It has the same expectation, but the definition has −log r alone.",
            lambda log_q, log_p: (log_p - log_q).exp() - 1 - (log_p - log_q),
        ),
        Wrong(
            "the mean",
            "This is the mean over the samples. One term for each sample is wanted, so that their spread can be seen.",
            lambda log_q, log_p: (log_q - log_p).mean(),
        ),
    ),
    right=(lambda log_q, log_p: -(log_p - log_q), _terms_by_loop, _terms_in_numpy),
    probes={
        "one sample": lambda f: f(torch.tensor([-1.0]), torch.tensor([-0.5])),
        "log-densities of −2,000": lambda f: f(torch.tensor([-2000.0, -1990.0]), torch.tensor([-2003.0, -1980.0])),
    },
)
