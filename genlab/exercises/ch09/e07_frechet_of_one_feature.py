"""Exercise 09.7: The Fréchet distance of one feature."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import statistics

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def frechet_1d(x, y):
    """(μ_x − μ_y)² + (s_x − s_y)² of two sets of numbers: (n,), (m,) -> a number."""
    return (x.mean() - y.mean()) ** 2 + (x.std() - y.std()) ** 2


def _frechet_by_numpy(x, y):
    x, y = x.double().numpy(), y.double().numpy()
    return np.hypot(x.mean() - y.mean(), x.std(ddof=1) - y.std(ddof=1)) ** 2


def _frechet_by_floats(x, y):
    x, y = x.tolist(), y.tolist()
    return (statistics.mean(x) - statistics.mean(y)) ** 2 + (statistics.stdev(x) - statistics.stdev(y)) ** 2


def _frechet_by_loop(x, y):
    means = [sum(v) / len(v) for v in (x, y)]
    spreads = [(sum((a - m) ** 2 for a in v) / (len(v) - 1)) ** 0.5 for v, m in zip((x, y), means, strict=True)]
    return (means[0] - means[1]) ** 2 + (spreads[0] - spreads[1]) ** 2


def _sets(g):
    n, m = (int(torch.randint(2, 9, (), generator=g)) for _ in range(2))
    return torch.randn(n, generator=g), 1 + 2 * torch.randn(m, generator=g)


EXERCISE = Exercise(
    number="09.7",
    title="The Fréchet distance of one feature",
    difficulty=2,
    minutes=10,
    task=r"""
With a single feature, (9.10) needs no matrix. Simplify it, and write it, one number, for two sets of two numbers or
more, which may differ in length. Use the standard deviation with $n - 1$, as `torch.std` does. Equal sets have the
distance 0. A set and the same set shifted by 3 have the distance 9. Spread counts as well as place.""",
    inputs=_sets,
    solution=frechet_1d,
    explanation=r"""
In one dimension $\Sigma = s^2$, so $\operatorname{tr}(\Sigma_1 + \Sigma_2 - 2(\Sigma_1\Sigma_2)^{1/2}) =
s_1^2 + s_2^2 - 2 s_1 s_2 = (s_1 - s_2)^2$. `metrics.frechet_distance` gives the same for one column.""",
    hints=(
        "In one dimension a covariance matrix is a variance, and the root of a product of variances is a product.",
        "$s_x^2 + s_y^2 - 2 s_x s_y$ is a square. Of what?",
        "Square the difference of the means, and add the square of the difference of `x.std()` and `y.std()`.",
    ),
    wrong=(
        Wrong(
            "variances in place of standard deviations",
            "Here variances are subtracted. It is the standard deviations: the root stands inside (9.10).",
            lambda x, y: (x.mean() - y.mean()) ** 2 + (x.var() - y.var()) ** 2,
        ),
        Wrong(
            "only the means",
            "Only the means are compared: a generator that always draws the average would be perfect.",
            lambda x, y: (x.mean() - y.mean()) ** 2,
        ),
        Wrong(
            "the root at the end",
            "This is the square root. What papers report as FID is the squared distance, without a root.",
            lambda x, y: ((x.mean() - y.mean()) ** 2 + (x.std() - y.std()) ** 2).sqrt(),
        ),
        Wrong(
            "the cross term is missing",
            "The term −2 s_x s_y is missing: equal sets would not have the distance 0.",
            lambda x, y: (x.mean() - y.mean()) ** 2 + x.var() + y.var(),
        ),
        Wrong(
            "the cross term without a root",
            "The product of the variances needs its square root.",
            lambda x, y: (x.mean() - y.mean()) ** 2 + x.var() + y.var() - 2 * x.var() * y.var(),
        ),
        Wrong(
            "divided by n",
            "This divides by n inside the standard deviation. The task asks for n − 1, as torch.std does by default.",
            lambda x, y: (x.mean() - y.mean()) ** 2 + (x.std(correction=0) - y.std(correction=0)) ** 2,
        ),
        Wrong(
            "doubles dropped",
            "A number that comes twice counts once here, as in a Python set. Each number counts as often as it comes.",
            lambda x, y: frechet_1d(x.unique(), y.unique()),
        ),
    ),
    right=(
        lambda x, y: (x.mean() - y.mean()) ** 2 + x.var() + y.var() - 2 * (x.var() * y.var()).sqrt(),
        _frechet_by_numpy,
        _frechet_by_floats,
        _frechet_by_loop,
    ),
    probes={
        "the distance of sets in which numbers come twice": lambda f: f(
            torch.tensor([1.0, 1.0, 1.0, 5.0]), torch.tensor([2.0, 2.0, 3.0])
        ),
        "the distance of a set to itself": lambda f: f(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 2.0, 4.0])),
        "the distance of a set to itself shifted by 3": lambda f: f(
            torch.tensor([1.0, 2.0, 4.0]), torch.tensor([4.0, 5.0, 7.0])
        ),
    },
)
