"""Exercise 09.10: Does it help, or was it the seed?"""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import statistics

import numpy as np
import torch
from scipy.stats import sem

from genlab.exercises import Exercise, Wrong


def difference(a, b):
    """mean(a) − mean(b) and its standard error, scores (n,), (m,) -> two numbers."""
    error = (a.var() / len(a) + b.var() / len(b)).sqrt()
    return a.mean() - b.mean(), error


def _difference_by_numpy(a, b):
    a, b = a.numpy(), b.numpy()
    return np.array([a.mean() - b.mean(), np.hypot(sem(a), sem(b))])


def _difference_by_floats(a, b):
    a, b = a.tolist(), b.tolist()
    return statistics.mean(a) - statistics.mean(b), sum(statistics.variance(v) / len(v) for v in (a, b)) ** 0.5


def _difference_by_pairs(a, b):
    spread = sum(((v - v.mean()) ** 2).sum() / (len(v) - 1) / len(v) for v in (a.double(), b.double()))
    return [(a[:, None] - b).mean(), spread.sqrt()]


def _scores(g):
    n, m = (int(torch.randint(2, 8, (), generator=g)) for _ in range(2))
    return 4 + torch.randn(n, generator=g), 3 + 2 * torch.randn((), generator=g) + 2 * torch.rand(m, generator=g)


EXERCISE = Exercise(
    number="09.10",
    title="Does it help, or was it the seed?",
    difficulty=3,
    minutes=60,
    task=r"""
Two training recipes were run several times with different seeds, and their FCDs are in `a` and `b`. Write the
difference of the means, `a` minus `b`, and then its standard error (the variances of independent means add up; take
each with $n - 1$, as `torch.var` does, from two runs or more). Then use it twice. First on the study of this chapter:
`studies.stored("choices")` has the `fcd` and the `recall` of every run with its `without` and `seed`; which choices differ
from the full recipe by more than two standard errors, and how many of twenty would do so by luck? Then change one choice yourself
(the width, the decay of the average, instance noise, `gan.augment`, a loss of `gan.OBJECTIVES`), run the DCGAN with
three seeds or more, and say what you found. Decide what you will change before you look.""",
    inputs=_scores,
    solution=difference,
    explanation=r"""
The mean of $n$ independent runs has the variance $s^2/n$, and the variance of a difference of independent numbers is
the sum of theirs. With three seeds the standard error is itself rough: two standard errors are a hint, no proof.""",
    hints=(
        "What is the standard error of a mean of $n$ numbers? Which variances add up?",
        "Each mean has the variance $s^2/n$ with its own $n$. Add both, then take the root.",
        "The error is `(a.var() / len(a) + b.var() / len(b)).sqrt()`.",
    ),
    wrong=(
        Wrong(
            "standard errors added",
            "The standard errors are added. Of independent numbers the variances add up: add squares, then take the root.",
            lambda a, b: (a.mean() - b.mean(), a.std() / len(a) ** 0.5 + b.std() / len(b) ** 0.5),
        ),
        Wrong(
            "the spread of single runs",
            "This is the spread of a difference of single runs. Means of n runs vary less: divide each variance by its n.",
            lambda a, b: (a.mean() - b.mean(), (a.var() + b.var()).sqrt()),
        ),
        Wrong(
            "the variance, not its root",
            "This is the variance of the difference. The standard error is its square root.",
            lambda a, b: (a.mean() - b.mean(), a.var() / len(a) + b.var() / len(b)),
        ),
        Wrong(
            "the order swapped",
            "The sign is wrong: asked is the mean of a minus the mean of b.",
            lambda a, b: (b.mean() - a.mean(), (a.var() / len(a) + b.var() / len(b)).sqrt()),
        ),
        Wrong(
            "pooled with one n",
            "Both variances are divided by the number of all runs. Each mean has its own n.",
            lambda a, b: (a.mean() - b.mean(), ((a.var() + b.var()) / (len(a) + len(b))).sqrt()),
        ),
        Wrong(
            "variance divided by n",
            "The variance is computed with n. With so few runs take n − 1, which torch.var does by default.",
            lambda a, b: (
                a.mean() - b.mean(),
                (a.var(correction=0) / len(a) + b.var(correction=0) / len(b)).sqrt(),
            ),
        ),
    ),
    right=(
        lambda a, b: (a.mean() - b.mean(), torch.hypot(a.std() / len(a) ** 0.5, b.std() / len(b) ** 0.5)),
        _difference_by_numpy,
        _difference_by_floats,
        _difference_by_pairs,
    ),
    probes={
        "scores of which the first are lower": lambda f: f(torch.tensor([1.0, 2.0]), torch.tensor([4.0, 5.0, 9.0])),
        "runs that all end alike": lambda f: f(torch.full((3,), 2.0), torch.full((2,), 1.5)),
    },
    discussion=r"""
**For the open part.** Report the number of steps, the seeds, every FCD, the number of samples behind each, and the
difference with its error. With three seeds on each side, two standard errors are passed by luck in about one of nine
comparisons (Student's t with four degrees of freedom), so among twenty expect two such finds; three standard errors in
about one of twenty-five. Choose by the FCD against *training* images and report the one against test images, or the
choice itself will have used the test set. Most single changes move the FCD by less than a change of seed does. That is a
result too, and Lucic and others (2018) found it on a much larger scale.""",
)
