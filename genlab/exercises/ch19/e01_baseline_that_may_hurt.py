"""Exercise 19.1: A baseline that may hurt."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def variance_and_best(p, r, b):
    """Total variance of one draw's gradient with baseline b, and the best baseline.

    Probabilities p (k,), rewards r (k,), b a number -> two numbers.
    """
    score = torch.eye(len(p), dtype=p.dtype) - p  # row x: of log p(x), by the logits
    square = score.square().sum(1)
    mean = (p * r) @ score  # the same for every b
    variance = p @ ((r - b).square() * square) - mean.square().sum()
    return variance, (p * r) @ square / (p @ square)


def _by_loops(p, r, b):
    p, r = p.tolist(), r.tolist()
    k = len(p)
    scores = [[(x == j) - p[j] for j in range(k)] for x in range(k)]
    square = [sum(v * v for v in row) for row in scores]
    mean = [sum(p[x] * (r[x] - b) * scores[x][j] for x in range(k)) for j in range(k)]
    variance = sum(p[x] * sum(((r[x] - b) * scores[x][j] - mean[j]) ** 2 for j in range(k)) for x in range(k))
    above = sum(p[x] * r[x] * square[x] for x in range(k))
    return variance, above / sum(p[x] * square[x] for x in range(k))


def _by_numpy(p, r, b):
    p, r = p.numpy(), r.numpy()
    square = 1 - 2 * p + np.sum(p**2)
    exact = p * (r - p @ r)
    weight = p * square
    return np.sum(weight * (r - b) ** 2) - exact @ exact, np.average(r, weights=weight)


def _by_autograd(p, r, b):
    logits = p.log().requires_grad_()
    rows = torch.autograd.functional.jacobian(lambda z: z.log_softmax(0), logits.detach())
    draws = (r - b)[:, None] * rows
    centred = draws - p @ draws
    weight = p * rows.pow(2).sum(1)
    return torch.einsum("x,xj,xj", p, centred, centred), (weight * r).sum() / weight.sum()


def _by_parabola(p, r, b):
    # the variance is a parabola in b, and three of its points say where its lowest is
    def spread(at):
        rows = (r - at)[:, None] * (torch.eye(len(p)).to(p) - p)
        return torch.trace(rows.T @ (rows * p[:, None])) - (p @ rows).square().sum()

    low, middle, high = spread(-1.0), spread(0.0), spread(1.0)
    return spread(b), (low - high) / (2 * (low - 2 * middle + high))


def _square(p):
    """|score|² of each x."""
    return 1 - 2 * p + p.square().sum()


def _first(change):
    """Another variance, with the right best baseline."""
    return lambda p, r, b: (change(p, r, b), variance_and_best(p, r, b)[1])


def _second(change):
    """The right variance, with another best baseline."""
    return lambda p, r, b: (variance_and_best(p, r, b)[0], change(p, r, b))


def _policy(g):
    k = int(torch.randint(2, 7, (), generator=g))
    p = (1.5 * torch.randn(k, generator=g)).double().softmax(0)
    r = (2 * torch.randn(k, generator=g)).double() + 1
    r[0] += 9
    return p, r, 0.5 + 4 * float(torch.rand((), generator=g))


EXERCISE = Exercise(
    number="19.1",
    title="A baseline that may hurt",
    difficulty=1,
    minutes=15,
    task=r"""
A generator over $k \ge 2$ answers draws answer $x$ with probability $p_x$, a softmax of $k$ logits. The reward of $x$ is
$r_x$. From one draw $x$, the gradient of $\mathbb E[r]$ by the logits is estimated by $(r_x - b)\,s_x$, where
$s_x = e_x - p$ is the score (the gradient of $\log p_x$; $e_x$ is 1 at $x$ and 0 elsewhere) and $b$ a baseline. Add up
over all $x$, exactly and without drawing, and return two numbers:

1. the **total variance** of the estimate, which is the sum of the variances of its $k$ components;
2. the $b$ for which the total variance is least.

All probabilities are positive. Before you check: is the second number the mean reward?""",
    inputs=_policy,
    solution=variance_and_best,
    explanation=r"""
The expectation is $\sum_x p_x (r_x - b)\,s_x$, and $\sum_x p_x s_x = 0$, so $b$ falls out of it. The variance is
$\sum_x p_x (r_x - b)^2 \lvert s_x\rvert^2$ less the square of that expectation, a parabola in $b$. Its lowest point is
$b^\ast = \sum_x p_x \lvert s_x\rvert^2 r_x \big/ \sum_x p_x \lvert s_x\rvert^2$: a mean of rewards in which an answer
weighs more the longer its score, that is, the *rarer* it is. The mean reward gives frequent answers too much say; where
these are the good ones it can be worse than no baseline at all. For two answers $b^\ast = p_2 r_1 + p_1 r_2$: the mean
with the weights exchanged.""",
    hints=(
        "Variance is the mean of the square less the square of the mean, for each component. Add the components up.",
        "|s_x|² is a number for each x. With it the mean of the squares is a sum over x of p · (r − b)² · |s|².",
        "Take |Σ p r s|² off for the first; for the second set the derivative by b to 0: Σ p (r − b) |s|² = 0.",
    ),
    wrong=(
        Wrong(
            "the mean reward as the best",
            "The second result is the mean reward. It is not the best baseline: long scores must weigh more.",
            _second(lambda p, r, b: p @ r),
        ),
        Wrong(
            "the square of the mean left in",
            "The first result is the mean of the squares. A variance takes the square of the mean off.",
            _first(lambda p, r, b: p @ ((r - b).square() * _square(p))),
        ),
        Wrong(
            "averaged over the components",
            "The first result is the mean variance of a component. Asked is the sum over all k.",
            _first(lambda p, r, b: variance_and_best(p, r, b)[0] / len(p)),
        ),
        Wrong(
            "the variance of the reward",
            "The first result is the spread of r − b without the scores. The estimate is the product of the two.",
            _first(lambda p, r, b: p @ (r - b).square() - (p @ (r - b)).square()),
        ),
        Wrong(
            "the baseline added",
            "The first result is that of r + b. A baseline is subtracted.",
            _first(lambda p, r, b: variance_and_best(p, r, -b)[0]),
        ),
        Wrong(
            "a score without its mean",
            "The score is taken for e_x here. That is not the gradient of log p_x by the logits: p is missing.",
            lambda p, r, b: (p @ (r - b).square() - (p * (r - b)).square().sum(), p @ r),
        ),
        Wrong(
            "every answer alike",
            "The answers are averaged without their probabilities. Rare ones are drawn rarely.",
            lambda p, r, b: (
                ((r - b).square() * _square(p)).mean() - (p * (r - p @ r)).square().sum(),
                (r * _square(p)).mean() / _square(p).mean(),
            ),
        ),
        Wrong(
            "length for its square",
            "The best baseline weighs by the length of the score here. It is the square of the length that counts.",
            _second(lambda p, r, b: (p * r) @ _square(p).sqrt() / (p @ _square(p).sqrt())),
        ),
        Wrong(
            "a standard deviation",
            "The first result is the root of the variance. Asked is the variance.",
            _first(lambda p, r, b: variance_and_best(p, r, b)[0].sqrt()),
        ),
        Wrong(
            "the other order",
            "The two results are in the other order: the variance comes first, then the baseline.",
            lambda p, r, b: variance_and_best(p, r, b)[::-1],
        ),
        Wrong(
            "the variance at the best baseline",
            "The first result is the least variance, that of the best baseline. Asked is that of the b which is given.",
            _first(lambda p, r, b: variance_and_best(p, r, variance_and_best(p, r, b)[1])[0]),
        ),
    ),
    right=(_by_loops, _by_numpy, _by_autograd, _by_parabola),
    probes={
        "two answers, without a baseline": lambda f: f(
            torch.tensor([0.75, 0.25]).double(), torch.tensor([1.0, 0.0]).double(), 0.0
        ),
        "equal rewards and the baseline that is as large": lambda f: f(
            torch.tensor([0.5, 0.3, 0.2]).double(), torch.full((3,), 2.0).double(), 2.0
        ),
        "a baseline far off": lambda f: f(
            torch.tensor([0.6, 0.3, 0.1]).double(), torch.tensor([0.0, 1.0, 2.0]).double(), -10.0
        ),
        "an answer that is nearly certain": lambda f: f(
            torch.tensor([0.999, 0.001]).double(), torch.tensor([1.0, 5.0]).double(), 1.0
        ),
    },
    discussion=r"""
**For your own work.** "A baseline reduces variance" is a habit, not a theorem. For a model that is large the best
baseline cannot be enumerated, but it can be estimated from a batch: the mean of rewards with weights
$\lvert s\rvert^2$, of *other* examples than the one it is used for. Measure the variance with and without your baseline
once, early in training and late: it changes as the policy does.""",
)
