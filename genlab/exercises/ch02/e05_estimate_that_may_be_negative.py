"""Exercise 02.5: An estimate that may be negative."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import torch

from genlab.exercises import Exercise, Wrong, mistake


def mmd2_gauss(x, y, h):
    """Unbiased MMD² with the kernel exp(−‖x − y‖² / 2h²): (n, d), (m, d) -> ()."""
    xx, yy, xy = (torch.exp(-(torch.cdist(a, b) ** 2) / (2 * h**2)) for a, b in ((x, x), (y, y), (x, y)))
    n, m = len(x), len(y)
    within = (xx.sum() - xx.trace()) / (n * (n - 1)) + (yy.sum() - yy.trace()) / (m * (m - 1))
    return within - 2 * xy.mean()


def _grams(x, y, h):
    return (torch.exp(-(torch.cdist(a, b) ** 2) / (2 * h**2)) for a, b in ((x, x), (y, y), (x, y)))


@mistake(
    "the diagonal is included",
    "Pairs of a point with itself are included. This estimate is never negative, and is too large on average.",
)
def _mmd_biased(x, y, h):
    xx, yy, xy = _grams(x, y, h)
    return xx.mean() + yy.mean() - 2 * xy.mean()


@mistake(
    "the diagonal is in the sum, but not in the count",
    "The sum holds the diagonal, while the number of pairs, n(n − 1), does not. Subtract the trace.",
)
def _mmd_diagonal_kept(x, y, h):
    xx, yy, xy = _grams(x, y, h)
    n, m = len(x), len(y)
    return xx.sum() / (n * (n - 1)) + yy.sum() / (m * (m - 1)) - 2 * xy.mean()


@mistake(
    "the diagonal is out of the sum, but in the count",
    "The diagonal is left out of the sum, but its pairs are counted: divide by n(n − 1), not by n².",
)
def _mmd_diagonal_averaged(x, y, h):
    xx, yy, xy = _grams(x, y, h)
    return (xx - xx.diag().diag()).mean() + (yy - yy.diag().diag()).mean() - 2 * xy.mean()


@mistake(
    "the cross term once",
    "The cross term is subtracted once. The square of a difference has it twice.",
)
def _mmd_cross_once(x, y, h):
    return mmd2_gauss(x, y, h) + next(v for i, v in enumerate(_grams(x, y, h)) if i == 2).mean()


def _mmd_by_loops(x, y, h):
    def kernel(a, b):
        return math.exp(-float((a - b) @ (a - b)) / (2 * h * h))

    def inside(z):
        pairs = [kernel(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j]
        return sum(pairs) / len(pairs)

    return inside(x) + inside(y) - 2 * sum(kernel(a, b) for a in x for b in y) / (len(x) * len(y))


EXERCISE = Exercise(
    number="02.5",
    title="An estimate that may be negative",
    difficulty=2,
    minutes=10,
    task=r"""
Write the unbiased estimate of $\operatorname{MMD}^2$ of (2.18) with the Gaussian kernel $e^{-\|x - y\|^2 / 2h^2}$, for
samples `(n, d)` and `(m, d)`. Unbiased means that pairs of a point with itself are left out of the first and the third
expectation, and that the rest is averaged over the pairs that remain. The result may be negative. Check it on the page:
over many pairs of samples from one distribution its mean is zero.""",
    inputs=lambda g: (torch.randn(5, 2, generator=g), 0.5 + torch.randn(4, 2, generator=g), 0.8),
    solution=mmd2_gauss,
    explanation=r"""
A point and itself are no independent pair: $k(x, x) = 1$ whatever the distribution. There are $n(n - 1)$ ordered pairs of
different points. Between the samples all $nm$ pairs are independent. The expectation of the whole is
$\operatorname{MMD}^2$, which is 0 for equal distributions, so that the estimate has to be negative sometimes.""",
    hints=(
        "Three matrices of kernel values are needed. Which of their entries do not belong to independent pairs?",
        "Take the diagonal out of the sums over `x` with `x` and `y` with `y`, and divide by $n(n-1)$ and $m(m-1)$.",
        "`(xx.sum() - xx.trace()) / (n * (n - 1))`, the same for `yy`, and minus `2 * xy.mean()`.",
    ),
    wrong=(
        _mmd_biased,
        _mmd_diagonal_kept,
        _mmd_diagonal_averaged,
        Wrong(
            "cut off at zero",
            "Negative estimates are set to zero, so that the average is no longer right. Let them be negative.",
            lambda x, y, h: mmd2_gauss(x, y, h).clamp(min=0),
        ),
        _mmd_cross_once,
        Wrong(
            "the 2 in the kernel is missing",
            "The kernel is exp(−‖x − y‖²/h²): the factor 2 before h² is missing.",
            lambda x, y, h: mmd2_gauss(x, y, h / math.sqrt(2)),
        ),
        Wrong(
            "h is not squared",
            "The squared distance is divided by 2h. It has to be 2h², so that h has the units of x.",
            lambda x, y, h: mmd2_gauss(x, y, math.sqrt(h)),
        ),
        Wrong(
            "the root",
            "The square root was taken: NaN where the estimate is negative. MMD² is asked.",
            lambda x, y, h: mmd2_gauss(x, y, h).sqrt(),
        ),
    ),
    right=(_mmd_by_loops,),
    probes={
        "the estimate for a sample and itself, which is negative": lambda f: f(
            torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [2.0]]), 1.0
        ),
        "the estimate for samples that are far apart": lambda f: f(torch.zeros(3, 1), torch.full((2, 1), 50.0), 1.0),
    },
)
