"""Exercise 13.2: Infinitely many samples."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch
from scipy import stats

from genlab.exercises import Exercise, Wrong


def extrapolated(sizes, values):
    """The value at infinite n of the least-squares line a + c/n: (k,), (k,) -> a."""
    x = 1 / sizes
    off = x - x.mean()
    c = (off * values).sum() / off.square().sum()
    return values.mean() - c * x.mean()


def _by_normal_equations(sizes, values):
    A = torch.stack([torch.ones_like(sizes), 1 / sizes], 1).double()
    return torch.linalg.solve(A.T @ A, A.T @ values.double())[0]


def _by_shares(sizes, values):
    # the intercept is a weighted mean of the values
    x = (1 / sizes).tolist()
    mean = sum(x) / len(x)
    spread = sum((v - mean) ** 2 for v in x)
    shares = [1 / len(x) - mean * (v - mean) / spread for v in x]
    return sum(share * float(value) for share, value in zip(shares, values, strict=True))


def _by_scipy(sizes, values):
    return stats.linregress(1 / sizes.double().numpy(), values.double().numpy()).intercept


def _line(sizes, values):
    return np.polyfit(1 / sizes.double().numpy(), values.double().numpy(), 1)


def _averaged(sizes, values):
    once = sizes.unique()
    return _by_scipy(once, torch.stack([values[sizes == size].mean() for size in once]))


def _runs(g):
    k = int(torch.randint(2, 7, (), generator=g))
    sizes = 50 + 1000 * torch.rand(k, generator=g).sort().values + 20 * torch.arange(k)
    values = 10 * torch.rand((), generator=g) + 800 / sizes + 0.3 * torch.randn(k, generator=g)
    return sizes, values


EXERCISE = Exercise(
    number="13.2",
    title="Infinitely many samples",
    difficulty=1,
    minutes=10,
    task=r"""
A score was computed with $n_1, n_2, \dots$ samples, at two different sizes or more. By (13.4) its mean is about
$a + c/n$. Fit that line in $1/n$ by least squares, all points with equal weight, and return $a$: the estimate for
infinitely many samples, one number. A size that comes twice is two points. Values that lie on such a line exactly give its $a$ exactly. It may come out negative.""",
    inputs=_runs,
    solution=extrapolated,
    explanation=r"""
The line is straight in $1/n$, so $1/n$ is the abscissa of an ordinary regression, and $n = \infty$ is the abscissa 0:
the answer is the intercept. The bias of the score is gone; its variance has grown, since the fit reaches beyond the data.""",
    hints=(
        "In which variable is a + c/n a straight line?",
        "Infinitely many samples mean 1/n = 0. Which part of a fitted line is its value at 0?",
        "`np.polyfit(1 / sizes, values, 1)[1]` is the intercept of the line in 1/n.",
    ),
    wrong=(
        Wrong(
            "a line in n",
            "This fits a line in n. The bias falls as 1/n, so the line is straight in 1/n.",
            lambda sizes, values: np.polyfit(sizes.double().numpy(), values.double().numpy(), 1)[1],
        ),
        Wrong(
            "the slope",
            "This is the slope c. Asked is the value at 1/n = 0, the intercept.",
            lambda sizes, values: _line(sizes, values)[0],
        ),
        Wrong(
            "the value at the largest n",
            "This is the fitted line at the largest n, where the bias c/n is still in it.",
            lambda sizes, values: np.polyval(_line(sizes, values), 1 / float(sizes.max())),
        ),
        Wrong(
            "the last value",
            "This is the score with the most samples as it came, with its bias and its noise.",
            lambda sizes, values: values[sizes.argmax()],
        ),
        Wrong(
            "the mean",
            "This is the mean of the scores: it has the mean bias.",
            lambda sizes, values: values.mean(),
        ),
        Wrong(
            "a line in the root",
            "The abscissa is 1/√n here. Standard errors fall so; this bias falls as 1/n.",
            lambda sizes, values: np.polyfit(sizes.double().numpy() ** -0.5, values.double().numpy(), 1)[1],
        ),
        Wrong(
            "one point for each size",
            "Values at the same size are averaged first, and count as one point. Each value is a point of its own.",
            _averaged,
        ),
        Wrong(
            "never below zero",
            "A negative estimate is set to zero. An unbiased estimate of a small distance must be free to fall below 0.",
            lambda sizes, values: max(0.0, float(_by_scipy(sizes, values))),
        ),
    ),
    right=(_by_normal_equations, _by_shares, _by_scipy),
    probes={
        "the limit of 3 + 600/n": lambda f: f(
            torch.tensor([100.0, 200.0, 400.0, 800.0]), 3 + 600 / torch.tensor([100.0, 200.0, 400.0, 800.0])
        ),
        "the limit of 2000/n − 1, which is negative": lambda f: f(
            torch.tensor([400.0, 100.0, 8000.0]), 2000 / torch.tensor([400.0, 100.0, 8000.0]) - 1
        ),
        "the limit of two values at the same size and two others": lambda f: f(
            torch.tensor([100.0, 100.0, 200.0, 400.0]), torch.tensor([4.0, 8.0, 3.0, 4.0])
        ),
    },
)
