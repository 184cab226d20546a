"""Exercise 09.5: A bound with its error."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math
import statistics

import numpy as np
import torch
from scipy.stats import sem
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong, mistake


def divergence_bound(real, fake):
    """The bound (9.11) and its standard error from logits: (n,), (m,) -> 2 numbers."""
    on_real, on_fake = F.softplus(-real), F.softplus(fake)
    bound = math.log(2) - 0.5 * (on_real.mean() + on_fake.mean())
    error = 0.5 * (on_real.var() / len(real) + on_fake.var() / len(fake)).sqrt()
    return bound, error


def _bound_by_value(real, fake):
    terms = F.logsigmoid(real), F.logsigmoid(-fake)
    bound = 0.5 * (math.log(4) + terms[0].mean() + terms[1].mean())
    return bound, torch.hypot(*(v.std() / (2 * len(v) ** 0.5) for v in terms))


def _bound_by_numpy(real, fake):
    costs = np.logaddexp(0, -real.numpy()), np.logaddexp(0, fake.numpy())
    return np.array([np.log(2) - sum(c.mean() for c in costs) / 2, np.hypot(sem(costs[0]), sem(costs[1])) / 2])


def _bound_by_floats(real, fake):
    costs = F.softplus(-real.double()).tolist(), F.softplus(fake.double()).tolist()
    bound = math.log(2) - sum(map(statistics.fmean, costs)) / 2
    return bound, math.sqrt(sum(statistics.variance(c) / len(c) for c in costs)) / 2


def _bound_changed(bound=lambda b: b, error=lambda e: e):
    """A wrong answer that changes one of the two numbers of the right one."""

    def answer(real, fake):
        b, e = divergence_bound(real, fake)
        return bound(b), error(e)

    return answer


def _bound_with_error(name, message, error):
    """The right bound with another error, from what the images cost D."""
    return Wrong(name, message, lambda r, f: (divergence_bound(r, f)[0], error(F.softplus(-r), F.softplus(f))))


@mistake(
    "log of a sigmoid",
    "Right for moderate logits. Far out a sigmoid rounds to 0 or 1, with an infinite logarithm, or exp overflows.",
)
def _bound_by_sigmoid(real, fake):
    costs = -torch.sigmoid(real).log(), -(1 - torch.sigmoid(fake)).log()
    return math.log(2) - 0.5 * sum(v.mean() for v in costs), 0.5 * sum(v.var() / len(v) for v in costs).sqrt()


def _logits(g):
    return tuple(2 * torch.randn(int(torch.randint(2, 9, (), generator=g)), generator=g) for _ in range(2))


EXERCISE = Exercise(
    number="09.5",
    title="A bound with its error",
    difficulty=2,
    minutes=12,
    task=r"""
Write the right-hand side of (9.11), $\log 2 - \tfrac12 L_D$, from the logits of $n$ real and $m$ generated images that
D has not seen, and its standard error: two numbers, in this order. $L_D$ is the sum (9.4) of two means over independent
images, so the variances $s^2/n$ and $s^2/m$ of the two means add up; what does the factor ½ do to the error? Compute
$s^2$ with $n - 1$ (and $m - 1$), as `torch.var` does; $n$ and $m$ are 2 or more. An undecided D gives the bound 0 with
the error 0. A D that is sure and right gives $\log 2$. A bad D gives a negative number, which is true and useless: with
all logits 900 on the wrong side it is $\log 2 - 900$.""",
    inputs=_logits,
    solution=divergence_bound,
    explanation=r"""
$-L_D = V(D, G) \le V(D^*, G) = -\log 4 + 2\operatorname{JS}$, so half of $\log 4 - L_D$ is a lower bound, whatever D.
The factor ½ halves the error too. The bound holds for the expectation: a single estimate may lie above JS by a few
standard errors, and on images that D was trained on it may lie above it by far.""",
    hints=(
        "Which two batches of numbers have the means that make up $L_D$? Keep them before you average.",
        "The variance of a mean of $n$ is $s^2/n$. Add both variances, take the root, and halve it.",
        (
            "With `a = F.softplus(-real)` and `b = F.softplus(fake)` the error is "
            "`0.5 * (a.var() / len(a) + b.var() / len(b)).sqrt()`."
        ),
    ),
    wrong=(
        Wrong(
            "log 2 minus the whole loss",
            "The factor one half is missing: an undecided D pays 2 log 2, and its bound is 0.",
            _bound_changed(bound=lambda b: 2 * b - math.log(2)),
        ),
        Wrong(
            "twice the bound",
            "This is log 4 − L_D, a bound on 2 JS. Halve it.",
            _bound_changed(bound=lambda b: 2 * b),
        ),
        Wrong(
            "the wrong sign",
            "The sign is wrong: a smaller loss of D shows a larger divergence.",
            _bound_changed(bound=lambda b: -b),
        ),
        Wrong(
            "real and generated swapped",
            "Real and generated are swapped: a real image costs softplus(−logit).",
            lambda real, fake: divergence_bound(-real, -fake),
        ),
        Wrong(
            "the error is not halved",
            "This is the standard error of L_D. The bound has half the loss, so it has half the error.",
            _bound_changed(error=lambda e: 2 * e),
        ),
        _bound_with_error(
            "standard errors added",
            "The standard errors are added. Of independent means the variances add up: add squares, then take the root.",
            lambda a, b: 0.5 * (a.std() / len(a) ** 0.5 + b.std() / len(b) ** 0.5),
        ),
        _bound_with_error(
            "the spread of single images",
            "This is the spread over single images. The mean of n images varies less: divide each variance by its n.",
            lambda a, b: 0.5 * (a.var() + b.var()).sqrt(),
        ),
        _bound_with_error(
            "variance divided by n",
            "The variance in the error is divided by n, as numpy does. Asked is n − 1, which torch.var takes.",
            lambda a, b: 0.5 * (a.var(correction=0) / len(a) + b.var(correction=0) / len(b)).sqrt(),
        ),
        _bound_by_sigmoid,
        Wrong(
            "the variance, not its root",
            "This is the variance of the bound. The standard error is its square root.",
            _bound_changed(error=lambda e: e**2),
        ),
    ),
    right=(_bound_by_value, _bound_by_numpy, _bound_by_floats),
    probes={
        "the bound of an undecided D": lambda f: f(torch.zeros(4), torch.zeros(3)),
        "the bound of a D that is sure and right": lambda f: f(torch.full((3,), 900.0), torch.full((4,), -900.0)),
        "the bound of a D that is sure and wrong": lambda f: f(torch.full((2,), -900.0), torch.full((5,), 900.0)),
    },
)
