"""Exercise 02.5: An estimate that may be negative."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch
from scipy.spatial import distance
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def mmd2_gauss(x, y, h):
    """Unbiased MMD² with the kernel exp(−‖x − y‖² / 2h²): (n, d), (m, d) -> ()."""
    pairs = ((x, x), (y, y), (x, y))
    xx, yy, xy = (torch.exp(-(torch.cdist(a, b) ** 2) / (2 * h**2)) for a, b in pairs)
    n, m = len(x), len(y)
    within_x = (xx.sum() - xx.trace()) / (n * (n - 1))
    within_y = (yy.sum() - yy.trace()) / (m * (m - 1))
    return within_x + within_y - 2 * xy.mean()


def _unbiased(k):
    return (k.sum() - k.trace()) / (len(k) * (len(k) - 1))


def _mmd(x, y, h, *, within=_unbiased, cross=2, power=2):
    xx, yy, xy = (torch.exp(-(torch.cdist(a, b) ** power) / (2 * h**2)) for a, b in ((x, x), (y, y), (x, y)))
    return within(xx) + within(yy) - cross * xy.mean()


def _mmd_by_loops(x, y, h):
    def kernel(a, b):
        return math.exp(-float((a - b) @ (a - b)) / (2 * h * h))

    def inside(z):
        pairs = [kernel(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j]
        return sum(pairs) / len(pairs)

    return inside(x) + inside(y) - 2 * sum(kernel(a, b) for a in x for b in y) / (len(x) * len(y))


def _mmd_by_pairs(x, y, h):
    within = [torch.exp(-(F.pdist(z) ** 2) / (2 * h**2)).mean() for z in (x, y)]
    return sum(within) - 2 * torch.exp(-((x[:, None] - y) ** 2).sum(2) / (2 * h**2)).mean()


def _mmd_by_numpy(x, y, h):
    n, m = len(x), len(y)
    k = np.exp(-distance.cdist(np.concatenate([x, y]), np.concatenate([x, y]), "sqeuclidean") / (2 * h**2))
    np.fill_diagonal(k, 0)
    return k[:n, :n].sum() / (n * (n - 1)) + k[n:, n:].sum() / (m * (m - 1)) - 2 * k[:n, n:].mean()


def _draw(g):
    n, m, d = (int(torch.randint(low, low + 4, (), generator=g)) for low in (5, 3, 1))
    return (
        torch.randn(n, d, generator=g),
        0.5 + torch.randn(m, d, generator=g),
        0.5 + torch.rand((), generator=g).item(),
    )


_TWO = torch.tensor([[0.0], [2.0]])

EXERCISE = Exercise(
    number="02.5",
    title="An estimate that may be negative",
    difficulty=2,
    minutes=10,
    task=r"""
Write the unbiased estimate of $\operatorname{MMD}^2$ of (2.18) with the Gaussian kernel $e^{-\|x - y\|^2 / 2h^2}$, for
samples `(n, d)` and `(m, d)` and a number `h`. Unbiased means that pairs of a point with itself are left out of the first and the third
expectation, and that the rest is averaged over the pairs that remain. The result may be negative. Check it on the page:
over many pairs of samples from one distribution its mean is zero.""",
    inputs=_draw,
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
        Wrong(
            "the diagonal is included",
            "Pairs of a point with itself are included. This estimate is never negative, and is too large on average.",
            lambda x, y, h: _mmd(x, y, h, within=torch.mean),
        ),
        Wrong(
            "the diagonal is in the sum, but not in the count",
            "The sum holds the diagonal, while the number of pairs, n(n − 1), does not. Subtract the trace.",
            lambda x, y, h: _mmd(x, y, h, within=lambda k: k.sum() / (len(k) * (len(k) - 1))),
        ),
        Wrong(
            "the diagonal is out of the sum, but in the count",
            "The diagonal is left out of the sum, but its pairs are counted: divide by n(n − 1), not by n².",
            lambda x, y, h: _mmd(x, y, h, within=lambda k: (k.sum() - k.trace()) / len(k) ** 2),
        ),
        Wrong(
            "cut off at zero",
            "Negative estimates are set to zero, so that the average is no longer right. Let them be negative.",
            lambda x, y, h: _mmd(x, y, h).clamp(min=0),
        ),
        Wrong(
            "the cross term once",
            "The cross term is subtracted once. The square of a difference has it twice.",
            lambda x, y, h: _mmd(x, y, h, cross=1),
        ),
        Wrong(
            "the distance is not squared",
            "The kernel holds the distance itself. It has to be its square, ‖x − y‖² / 2h².",
            lambda x, y, h: _mmd(x, y, h, power=1),
        ),
        Wrong(
            "the 2 in the kernel is missing",
            "The kernel is exp(−‖x − y‖²/h²): the factor 2 before h² is missing.",
            lambda x, y, h: _mmd(x, y, h / math.sqrt(2)),
        ),
        Wrong(
            "h is not squared",
            "The squared distance is divided by 2h. It has to be 2h², so that h has the units of x.",
            lambda x, y, h: _mmd(x, y, math.sqrt(h)),
        ),
        Wrong(
            "the root",
            "The square root was taken: NaN where the estimate is negative. MMD² is asked.",
            lambda x, y, h: _mmd(x, y, h).sqrt(),
        ),
    ),
    right=(_mmd_by_loops, _mmd_by_pairs, _mmd_by_numpy),
    probes={
        "the estimate for a sample and itself, which is negative": lambda f: f(_TWO, _TWO, 1.0),
        "the estimate for samples that are far apart": lambda f: f(torch.zeros(3, 1), torch.full((2, 1), 50.0), 1.0),
    },
)
