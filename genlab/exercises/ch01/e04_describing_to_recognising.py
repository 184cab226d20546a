"""Exercise 01.4: From describing to recognising."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch
from scipy import special

from genlab.exercises import Exercise, Wrong, mistake


def class_posterior(log_likelihood, prior):
    """p(y|x) by Bayes' rule: log p(x|y) (n, c), p(y) (c,) -> rows that sum to one."""
    return torch.softmax(log_likelihood + prior.log(), 1)


def _posterior_by_logsumexp(log_likelihood, prior):
    joint = log_likelihood + torch.log(prior)
    return torch.exp(joint - torch.logsumexp(joint, 1, keepdim=True))


def _posterior_by_scipy(log_likelihood, prior):
    return special.softmax(np.asarray(log_likelihood) + np.log(np.asarray(prior)), axis=1)


def _posterior_by_loops(log_likelihood, prior):
    rows = []
    for row in log_likelihood.tolist():
        joint = [a + math.log(b) for a, b in zip(row, prior.tolist(), strict=True)]
        weights = [math.exp(a - max(joint)) for a in joint]
        rows.append([w / sum(weights) for w in weights])
    return rows


@mistake(
    "one maximum for all images",
    (
        "The largest entry of the whole table is subtracted. Beside a likely image all classes of an unlikely one "
        "underflow to 0, and 0/0 is NaN. Each row needs its own: torch.softmax(…, 1) does it."
    ),
)
def _posterior_one_maximum(log_likelihood, prior):
    joint = log_likelihood + prior.log()
    joint = (joint - joint.max()).exp()
    return joint / joint.sum(1, keepdim=True)


@mistake(
    "it underflows",
    (
        "The formula is right, but e^(−5000) is zero in any floating-point number, and 0/0 is NaN. "
        "Stay in logarithms until the largest entry has been subtracted; torch.softmax does it."
    ),
)
def _posterior_underflows(log_likelihood, prior):
    joint = log_likelihood.exp() * prior
    return joint / joint.sum(1, keepdim=True)


def _draw(g):
    n, c = int(torch.randint(5, 8, (), generator=g)), int(torch.randint(2, 5, (), generator=g))
    return 3 * torch.randn(n, c, generator=g), torch.softmax(torch.randn(c, generator=g), 0)


_HALF = torch.tensor([0.5, 0.5])

EXERCISE = Exercise(
    number="01.4",
    title="From describing to recognising",
    difficulty=2,
    minutes=8,
    task=r"""
Turn a generative model into a recogniser by Bayes' rule (1.8). `log_likelihood[i, y]` is $\log p(x_i|y)$ in nats and `prior`
holds the probabilities $p(y)$. Return $p(y|x_i)$, shape `(n, c)`. Log-likelihoods of images are around −200 nats and may be
−5,000: the result must be exact there too. Adding a constant to a row must not change it.""",
    inputs=_draw,
    solution=class_posterior,
    explanation=r"""
$p(y|x) \propto p(x|y)\,p(y)$, so the logarithms add up and a softmax over the classes normalises. The softmax subtracts the
largest entry before it takes exponentials, and so nothing underflows. The denominator, $\log p(x)$ for the whole model, is the
`logsumexp` of the same numbers: the recogniser throws away exactly what the generator is about.""",
    hints=(
        "Bayes' rule multiplies the likelihood by the prior. What becomes of the product in logarithms?",
        "`log_likelihood + prior.log()` is $\\log p(x, y)$. It must be normalised over the classes.",
        "Exponentials of −5,000 are zero. `torch.softmax(…, 1)` takes care of that.",
    ),
    wrong=(
        Wrong(
            "the prior is ignored",
            "The prior is missing. This is right only if all classes are equally frequent.",
            lambda log_likelihood, prior: torch.softmax(log_likelihood, 1),
        ),
        Wrong(
            "the prior is added, not its logarithm",
            "The prior itself was added to the log-likelihood. Add its logarithm.",
            lambda log_likelihood, prior: torch.softmax(log_likelihood + prior, 1),
        ),
        Wrong(
            "normalised over the examples",
            "The columns sum to one, not the rows: the softmax ran over the examples. The classes are dimension 1.",
            lambda log_likelihood, prior: torch.softmax(log_likelihood + prior.log(), 0),
        ),
        Wrong(
            "the joint probability",
            "This is p(x, y). Divide by p(x), its sum over the classes, to get p(y|x).",
            lambda log_likelihood, prior: (log_likelihood + prior.log()).exp(),
        ),
        Wrong(
            "not normalised again",
            "The rows do not sum to one: they were normalised before the prior was multiplied in. Normalise last.",
            lambda log_likelihood, prior: torch.softmax(log_likelihood, 1) * prior,
        ),
        _posterior_underflows,
        _posterior_one_maximum,
        Wrong(
            "the logarithm of the posterior",
            "This is log p(y|x). Probabilities are wanted.",
            lambda log_likelihood, prior: torch.log_softmax(log_likelihood + prior.log(), 1),
        ),
    ),
    right=(_posterior_by_logsumexp, _posterior_by_scipy, _posterior_by_loops),
    probes={
        "log-likelihoods around −5,000 nats": lambda f: f(
            torch.tensor([[-5000.0, -5001.0], [-5000.0, -4000.0]]), _HALF
        ),
        "a likely image and one at −5,000 nats": lambda f: f(torch.tensor([[2.0, 1.0], [-5000.0, -5001.0]]), _HALF),
        "rows that differ by a constant": lambda f: f(
            torch.tensor([[1.0, 2.0, 0.0], [51.0, 52.0, 50.0]]), torch.tensor([0.5, 0.25, 0.25])
        ),
        "a single class": lambda f: f(torch.tensor([[-3.0], [2.0]]), torch.ones(1)),
        "an image that all classes find equally likely": lambda f: f(torch.zeros(1, 2), torch.tensor([0.9, 0.1])),
    },
)
