"""Exercise 09.1: The best discriminator."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import torch
from scipy.special import expit

from genlab.exercises import Exercise, Wrong, mistake


def optimal_d(log_p, log_q):
    """D*(x) of (9.2) from log p(x) and log q(x): (n,) twice -> (n,)."""
    return torch.sigmoid(log_p - log_q)


def _d_by_largest(log_p, log_q):
    top = torch.maximum(log_p, log_q)
    p, q = (log_p - top).exp(), (log_q - top).exp()
    return p / (p + q)


@mistake(
    "one maximum for the whole batch",
    (
        "Right where all densities are of a size. One number is subtracted for the whole batch: densities far below it "
        "become 0, and 0/0 is NaN. Each x needs its own; the difference of the two logarithms is enough."
    ),
)
def _d_by_one_maximum(log_p, log_q):
    top = torch.maximum(log_p, log_q).max()
    p, q = (log_p - top).exp(), (log_q - top).exp()
    return p / (p + q)


def _densities(g):
    n = int(torch.randint(1, 8, (), generator=g))
    return tuple(torch.randn(2, n, generator=g))


_FAR = (torch.tensor([-1000.0, -1001.0, -1003.0]), torch.tensor([-1000.0, -1003.0, -1001.0]))

EXERCISE = Exercise(
    number="09.1",
    title="The best discriminator",
    difficulty=1,
    minutes=5,
    task=r"""
Write $D^*(x)$ of (9.2) from the logarithms of the two densities, for each of $n$ points $x$. In 784 dimensions
$\log p(x)$ may be $-1{,}000$, and $e^{-1000}$ is 0 in floating point: your answer must be right there too. It must also
be right where the two logarithms differ by 200, one way or the other. Where both densities are equal it is ½.""",
    inputs=_densities,
    solution=optimal_d,
    explanation=r"""
Divide numerator and denominator of $p/(p+q)$ by $p$: it is $1/(1 + q/p) = \operatorname{sigmoid}(\log p - \log q)$.
Only the *difference* of the logarithms is needed. So the best logit is the log density ratio: a discriminator is an
estimator of $\log p(x)/q(x)$.""",
    hints=(
        "Which function turns a difference of logarithms into a number between 0 and 1?",
        (
            "$p/(p+q) = 1/(1 + q/p)$, and $q/p = e^{\\log q - \\log p}$. "
            "Compare with $\\operatorname{sigmoid}(a) = 1/(1+e^{-a})$."
        ),
        "It is `torch.sigmoid` of `log_p - log_q`, which never computes a density.",
    ),
    wrong=(
        Wrong(
            "exp before the quotient",
            "Right for moderate densities, but exp(-1000) is 0, and 0/0 is NaN. Use only the difference of the logarithms.",
            lambda log_p, log_q: log_p.exp() / (log_p.exp() + log_q.exp()),
        ),
        _d_by_one_maximum,
        Wrong(
            "exp of the difference overflows",
            "Right for moderate differences, but exp(200) is infinite in float32, and infinity over infinity is NaN.",
            lambda log_p, log_q: (log_p - log_q).exp() / (1 + (log_p - log_q).exp()),
        ),
        Wrong(
            "real and generated swapped",
            "This is 1 − D*: the probability that x is generated. D is the probability that it is real.",
            lambda log_p, log_q: torch.sigmoid(log_q - log_p),
        ),
        Wrong(
            "the logit",
            "This is the best logit, log p/q. D* is its logistic function, a number between 0 and 1.",
            lambda log_p, log_q: log_p - log_q,
        ),
        Wrong(
            "the density ratio",
            "This is p/q, which may be any positive number. D* is p/(p+q).",
            lambda log_p, log_q: (log_p - log_q).exp(),
        ),
        Wrong(
            "the logarithms in place of the densities",
            "Here the logarithms stand where (9.2) has densities.",
            lambda log_p, log_q: log_p / (log_p + log_q),
        ),
    ),
    right=(
        _d_by_largest,
        lambda log_p, log_q: (log_p - torch.logaddexp(log_p, log_q)).exp(),
        lambda log_p, log_q: expit(log_p.numpy() - log_q.numpy()),
        lambda log_p, log_q: [1 / (1 + math.exp(b - a)) for a, b in zip(log_p.tolist(), log_q.tolist(), strict=True)],
        lambda log_p, log_q: torch.softmax(torch.stack([log_p, log_q]), 0)[0],
    ),
    probes={
        "D* where the densities are equal": lambda f: f(torch.tensor([-3.0, 2.0]), torch.tensor([-3.0, 2.0])),
        "D* at a single x": lambda f: f(torch.tensor([0.5]), torch.tensor([-1.0])),
        "D* where log p and log q are near -1,000": lambda f: f(*_FAR),
        "D* where one x of three has densities near exp(-1000)": lambda f: f(
            torch.tensor([2.0, -1000.0, -3.0]), torch.tensor([1.0, -1002.0, -1.0])
        ),
        "D* where log p and log q differ by 200": lambda f: f(
            torch.tensor([-1000.0, -1200.0]), torch.tensor([-1200.0, -1000.0])
        ),
    },
)
