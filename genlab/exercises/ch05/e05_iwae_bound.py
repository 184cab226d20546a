"""Exercise 05.5: The IWAE bound."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import torch

from genlab.exercises import Exercise, Wrong, mistake


def iwae_bound(log_w):
    """log (1/k) Σ_i exp(log_w_i): (k, n) -> (n,)."""
    return torch.logsumexp(log_w, 0) - math.log(len(log_w))


def _iwae_by_hand(log_w):
    top = log_w.max(0).values
    return top + (log_w - top).exp().mean(0).log()


def _iwae_by_loops(log_w):
    total = log_w[0]
    for row in log_w[1:]:
        total = torch.logaddexp(total, row)
    return total - math.log(len(log_w))


@mistake(
    "one maximum for all examples",
    "One maximum is taken out for the whole batch: examples far below it underflow. Each example needs its own.",
)
def _iwae_one_top(log_w):
    return log_w.max() + (log_w - log_w.max()).exp().mean(0).log()


_APART = torch.tensor([[-900.0, 5000.0, -5000.0, 0.0], [900.0, 4999.0, -5001.0, 0.0], [0.0, 5001.0, -5001.0, 0.5]])


EXERCISE = Exercise(
    number="05.5",
    title="The IWAE bound",
    difficulty=2,
    minutes=10,
    task=r"""
From log-weights of shape `(k, n)` compute $\log \frac1k \sum_i w_i$ for each of the `n` examples. For `k = 1` it is the
log-weight itself. Equal weights give that weight for every `k`. Adding 5,000 to all log-weights adds 5,000 to the result,
without overflow. This holds for each example by itself, however far the others lie. Then find its gradient in the
log-weights: for each example it is a vector that sums to one. Which one, and what does it say about samples that explain $x$
badly? The check compares the gradient too: stay with torch.""",
    inputs=lambda g: (2 * torch.randn(*(int(torch.randint(k, k + 4, (), generator=g)) for k in (2, 3)), generator=g),),
    solution=iwae_bound,
    explanation=r"""
`logsumexp` takes out the largest exponent first, so nothing overflows. The gradient is the softmax of the log-weights
over the $k$ samples: samples that explain $x$ badly have next to no weight and next to no influence.""",
    hints=(
        "The mean is over samples, which lie along dimension 0. What happens to $e^{5000}$ in floating point?",
        "$\\log \\sum_i e^{a_i}$ has a function of its own in PyTorch that cannot overflow. Then there is the $1/k$.",
        "`torch.logsumexp(log_w, 0)` minus the logarithm of $k$ = `len(log_w)`.",
    ),
    wrong=(
        Wrong(
            "the mean of the logarithms",
            "This is the mean of the log-weights: the ELBO, averaged over samples. "
            "By Jensen it lies below. The mean must stand inside the logarithm.",
            lambda log_w: log_w.mean(0),
        ),
        Wrong(
            "without 1/k",
            "The 1/k is missing: this grows with k even for equal weights, and is no bound.",
            lambda log_w: torch.logsumexp(log_w, 0),
        ),
        Wrong(
            "over the wrong axis",
            "The sum runs over examples, not over samples: samples lie along dimension 0.",
            lambda log_w: torch.logsumexp(log_w, 1) - math.log(log_w.shape[1]),
        ),
        Wrong(
            "exp before the sum",
            "Right for moderate weights, but exp(5000) overflows. Use logsumexp, which takes out the largest first.",
            lambda log_w: log_w.exp().mean(0).log(),
        ),
        _iwae_one_top,
        Wrong(
            "minus log n",
            "The logarithm that is subtracted is that of n, the number of examples. It must be k, the number of samples.",
            lambda log_w: torch.logsumexp(log_w, 0) - math.log(log_w.shape[1]),
        ),
    ),
    right=(_iwae_by_hand, _iwae_by_loops, lambda log_w: torch.logsumexp(log_w - math.log(log_w.shape[0]), dim=0)),
    probes={
        "the bound with k = 1": lambda f: f(torch.tensor([[-3.0, 2.0]])),
        "the bound of equal weights": lambda f: f(torch.full((7, 2), -90.0)),
        "log-weights near 5,000": lambda f: f(torch.tensor([[5000.0, 4999.0], [5001.0, 4990.0], [4998.0, 5000.0]])),
        "examples and samples that lie far apart": lambda f: f(_APART),
        "log-weights near -5,000": lambda f: f(torch.tensor([[-5000.0], [-5001.0]])),
    },
    gradient=("log_w",),
)
