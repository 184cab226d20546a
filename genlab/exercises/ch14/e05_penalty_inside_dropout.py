"""Exercise 14.5: The penalty inside dropout."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

from itertools import product

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def dropout_loss(w, x, y, r):
    """Expected mean squared error of a linear model with dropout of its inputs.

    w (d,), x (n, d), y (n,), rate r -> a number.
    """
    off = y - x @ w
    noise = r / (1 - r) * (x.square() @ w.square())
    return (off.square() + noise).mean()


def _by_masks(w, x, y, r):
    total = 0.0
    for mask in product((0, 1), repeat=len(w)):
        kept = torch.tensor(mask).to(x)
        chance = r ** float((1 - kept).sum()) * (1 - r) ** float(kept.sum())
        total += chance * (y - (x * kept / (1 - r)) @ w).square().mean()
    return total


def _by_covariance(w, x, y, r):
    # E[b bᵀ] of the masks b / (1 − r): 1 off the diagonal, 1 / (1 − r) on it
    second = torch.ones(len(w), len(w), dtype=x.dtype).fill_diagonal_(1 / (1 - r))
    parts = x * w
    return (y.square() - 2 * y * parts.sum(1) + ((parts @ second) * parts).sum(1)).mean()


def _by_numpy(w, x, y, r):
    w, x, y = w.numpy(), x.numpy(), y.numpy()
    ridge = r / (1 - r) * (x**2).mean(0)  # one weight of L2 for each feature
    return np.mean((y - x @ w) ** 2) + np.sum(ridge * w**2)


def _by_loops(w, x, y, r):
    total = 0.0
    for row, wish in zip(x.tolist(), y.tolist(), strict=True):
        terms = [a * b for a, b in zip(row, w.tolist(), strict=True)]
        mean, square = sum(terms), sum(term**2 for term in terms)
        total += (wish - mean) ** 2 + square * (1 / (1 - r) - 1)
    return total / len(y)


def _with(noise):
    """Another noise term, (n,)."""
    return lambda w, x, y, r: ((y - x @ w).square() + noise(w, x, r)).mean()


def _not_scaled(w, x, y, r):
    kept = 1 - r
    return ((y - kept * (x @ w)).square() + r * kept * (x.square() @ w.square())).mean()


def _regression(g):
    n, d = (int(torch.randint(1, 7, (), generator=g)) for _ in range(2))
    w, x, y = (torch.randn(shape, generator=g).double() for shape in ((d,), (n, d), (n,)))
    x[0] *= 4
    rate = 0.1 + 0.3 * float(torch.rand((), generator=g))
    return w, x, y, rate if torch.rand((), generator=g) < 0.5 else 1 - rate


EXERCISE = Exercise(
    number="14.5",
    title="The penalty inside dropout",
    difficulty=2,
    minutes=15,
    task=r"""
Inverted dropout with rate $r$ ($0 \le r < 1$) replaces each input $x_j$ of a row by 0 with probability $r$ and by
$x_j/(1-r)$ otherwise, independently. A linear model $x^\top w$ is trained with it on $n$ rows and their targets $y$.
Return the *expectation*, over all masks, of the mean squared error over rows. Return one number, exactly and without
drawing masks. The rate 0 gives the plain error. What of the expected loss depends on $r$, and which weights does it
punish?""",
    inputs=_regression,
    solution=dropout_loss,
    explanation=r"""
The masked prediction has the mean $x^\top w$: that is what the division by $1 - r$ is for. Its variance is the sum of
$w_j^2 x_j^2 \cdot r/(1-r)$. The expected square is the squared bias plus the variance, so dropout is here an L2
penalty in which each weight counts by the mean square of its input: $\frac{r}{1-r} \sum_j w_j^2\, \overline{x_j^2}$
(Wager, Wang and Liang 2013 for the general case). Rescaling an input does not change the best predictions, as it
would with plain L2.""",
    hints=(
        "The expectation of a square is the square of the mean plus the variance. Find both for one row's prediction.",
        "A factor that is 0 with probability r, else 1/(1 − r), has the mean 1. What is its variance?",
        "Variance r/(1 − r) for each input, so the row's is `r / (1 - r) * (x**2 @ w**2)`.",
    ),
    wrong=(
        Wrong(
            "no variance",
            "This is the error of the mean prediction. The masks' variance is missing.",
            _with(lambda w, x, r: 0.0),
        ),
        Wrong(
            "not inverted",
            "Here the kept inputs are not divided by 1 − r, so predictions shrink by that factor.",
            _not_scaled,
        ),
        Wrong(
            "kept and dropped exchanged",
            "r is used as the probability to keep an input. It is the probability to drop it.",
            _with(lambda w, x, r: (1 - r) / r * (x.square() @ w.square()) if r else 0.0),
        ),
        Wrong(
            "the variance of a plain mask",
            "r (1 − r) is the variance of a mask of 0 and 1. Division by 1 − r divides it by (1 − r)².",
            _with(lambda w, x, r: r * (1 - r) * (x.square() @ w.square())),
        ),
        Wrong(
            "plain L2",
            "The penalty is r/(1 − r) ‖w‖² here. The variance of an input's term also has the square of that input.",
            _with(lambda w, x, r: r / (1 - r) * w.square().sum()),
        ),
        Wrong(
            "the square of the sum",
            "The variance is taken from the squared prediction, as if one mask dropped all inputs of a row together.",
            _with(lambda w, x, r: r / (1 - r) * (x @ w).square()),
        ),
        Wrong(
            "the second moment",
            "1/(1 − r) is the second moment of the factor. Its variance is that less 1.",
            _with(lambda w, x, r: 1 / (1 - r) * (x.square() @ w.square())),
        ),
        Wrong(
            "summed over rows",
            "This is a sum over rows. Asked is their mean.",
            lambda w, x, y, r: dropout_loss(w, x, y, r) * len(y),
        ),
        Wrong(
            "the penalty summed over rows",
            "The squared errors are averaged over rows, but the variances are added up. Average both.",
            lambda w, x, y, r: (y - x @ w).square().mean() + r / (1 - r) * (x * w).square().sum(),
        ),
    ),
    right=(_by_masks, _by_covariance, _by_numpy, _by_loops),
    probes={
        "the loss at the rate 0": lambda f: f(
            torch.tensor([1.0, -2.0]).double(),
            torch.tensor([[1.0, 2.0], [3.0, 0.5]]).double(),
            torch.zeros(2).double(),
            0.0,
        ),
        "the loss of a perfect fit": lambda f: f(
            torch.tensor([1.0, -2.0]).double(),
            torch.tensor([[1.0, 2.0], [3.0, 0.5]]).double(),
            torch.tensor([-3.0, 2.0]).double(),
            0.5,
        ),
        "the loss of a perfect fit at the rate 0": lambda f: f(
            torch.tensor([2.0]).double(),
            torch.tensor([[1.0], [-3.0]]).double(),
            torch.tensor([2.0, -6.0]).double(),
            0.0,
        ),
        "the loss of large weights at a rate just below 1": lambda f: f(
            torch.tensor([30.0, -20.0, 1.0]).double(), torch.eye(3).double(), torch.arange(3.0).double(), 1 - 2**-12
        ),
        "the loss at the rate 0.9": lambda f: f(
            torch.ones(3).double(), torch.eye(3).double(), torch.arange(3.0).double(), 0.9
        ),
    },
    discussion=r"""
**For your own work.** The equality with a penalty is exact for a linear model with squared error; in a deep network
dropout also reaches the hidden units, and no closed form is known. Two things carry over: the strength depends on the
scale of what is dropped, so the same rate is another penalty elsewhere; and the noise must be off at evaluation
(`eval()`), or losses and samples have its variance in them. Try the rate as you would try any setting: on validation
data.""",
)
