"""Exercise 14.2: The copier that leaves itself out."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch
from scipy import special
from sklearn.neighbors import KernelDensity

from genlab.exercises import Exercise, Wrong


def left_out(x, h):
    """Mean log-density of each row under a kernel estimate on all the others.

    (n, d), standard deviation h of the kernel -> a number, in nats a row.
    """
    n, d = x.shape
    squares = (x[:, None] - x).square().sum(2)
    log_kernel = -squares / (2 * h**2) - d / 2 * math.log(2 * math.pi * h**2)
    log_kernel.fill_diagonal_(-torch.inf)  # no row counts for itself
    return (log_kernel.logsumexp(1) - math.log(n - 1)).mean()


def _by_loops(x, h):
    total, d = 0.0, len(x[0])
    for i, row in enumerate(x):
        logs = [-float((row - other).square().sum()) / (2 * h * h) for j, other in enumerate(x) if j != i]
        top = max(logs)
        total += top + math.log(sum(math.exp(value - top) for value in logs) / len(logs))
    return total / len(x) - d * (math.log(h) + math.log(2 * math.pi) / 2)


def _by_torch(x, h):
    found = []
    for i in range(len(x)):
        others = torch.cat([x[:i], x[i + 1 :]])
        kernels = torch.distributions.Independent(torch.distributions.Normal(others, h), 1)
        weights = torch.distributions.Categorical(torch.ones(len(others), dtype=x.dtype))
        found.append(torch.distributions.MixtureSameFamily(weights, kernels).log_prob(x[i]))
    return torch.stack(found).mean()


def _by_sklearn(x, h):
    rows = x.numpy()
    found = [KernelDensity(bandwidth=h).fit(np.delete(rows, i, 0)).score(rows[i : i + 1]) for i in range(len(rows))]
    return np.mean(found)


def _by_scipy(x, h):
    rows = x.numpy()
    logs = -((rows[:, None] - rows) ** 2).sum(-1) / (2 * h**2)
    others = special.logsumexp(logs, axis=1, b=1 - np.eye(len(rows))) - np.log(len(rows) - 1)
    return others.mean() - rows.shape[1] * np.log(h * np.sqrt(2 * np.pi))


def _logs(x, h):
    """Log-kernels (n, n) with their normaliser."""
    return -(x[:, None] - x).square().sum(2) / (2 * h**2) - x.shape[1] / 2 * math.log(2 * math.pi * h**2)


def _others(x, h):
    """Log-kernels (n, n) without those of a row with itself."""
    return _logs(x, h).fill_diagonal_(-torch.inf)


def _rows(g):
    n, d = (int(torch.randint(low, high, (), generator=g)) for low, high in ((3, 9), (1, 4)))
    x = torch.randn(n, d, generator=g).double()
    x[-1] += 60  # so far that its density is below the smallest number
    return x, 0.3 + float(torch.rand((), generator=g))


EXERCISE = Exercise(
    number="14.2",
    title="The copier that leaves itself out",
    difficulty=2,
    minutes=15,
    task=r"""
A kernel density estimate puts the normal density $\mathcal N(x_j, h^2 I)$ on each of its rows and takes their mean:
for small $h$ it is a copier. On its own rows its likelihood grows without bound as $h \to 0$, so that cannot choose
$h$. Write the leave-one-out log-likelihood: for each of the $n \ge 2$ rows $x_i$ in $d$ dimensions the log of the
mean of the *other* $n - 1$ kernels at $x_i$, averaged over $i$. Return one number, with all constants, in nats a row.
Some row may lie so far from all others that its density underflows to 0; its log-density is finite.""",
    inputs=_rows,
    solution=left_out,
    explanation=r"""
A row of $-\infty$ on the diagonal takes each row out of its own mixture, and $\log\sum\exp$ keeps what exponentials
would lose. As $h \to 0$ this number falls to $-\infty$, as it does for large $h$: in between lies the best $h$. If
every row comes twice, each leaves its twin in, and the number grows without bound again.""",
    hints=(
        "The log of each kernel at each row: an n × n matrix. Which entries may not count?",
        "The log of a mean of exponentials is `logsumexp` less the log of the number of terms. How many are there?",
        "Set the diagonal to −∞, then `(log_kernel.logsumexp(1) - math.log(n - 1)).mean()`.",
    ),
    wrong=(
        Wrong(
            "itself included",
            "Each row's own kernel is in the mean here. That term grows without bound as h → 0: the copier praises itself.",
            lambda x, h: (_logs(x, h).logsumexp(1) - math.log(len(x))).mean(),
        ),
        Wrong(
            "divided by n",
            "The row itself is left out of the sum, but the sum is divided by n. There are n − 1 others.",
            lambda x, h: (_others(x, h).logsumexp(1) - math.log(len(x))).mean(),
        ),
        Wrong(
            "underflow",
            "The density of a far row underflows to 0, and its log is −∞. Stay with logs: logsumexp.",
            lambda x, h: (_others(x, h).exp().sum(1) / (len(x) - 1)).log().mean(),
        ),
        Wrong(
            "a floor for the density",
            "A small number is added, or a floor set, before the log. It decides what a far row is worth; logsumexp needs none.",
            lambda x, h: (_others(x, h).exp().sum(1) / (len(x) - 1) + 1e-12).log().mean(),
        ),
        Wrong(
            "h as a variance",
            "h stands where the variance belongs. It is a standard deviation: square it.",
            lambda x, h: left_out(x, math.sqrt(h)),
        ),
        Wrong(
            "no normaliser",
            "The constant −d/2 · log(2πh²) is missing. Without it wide kernels always win.",
            lambda x, h: left_out(x, h) + x.shape[1] / 2 * math.log(2 * math.pi * h**2),
        ),
        Wrong(
            "the normaliser of one dimension",
            "The normaliser is that of one dimension. In d dimensions it counts d times.",
            lambda x, h: left_out(x, h) + (x.shape[1] - 1) / 2 * math.log(2 * math.pi * h**2),
        ),
        Wrong(
            "the sum of the kernels",
            "The kernels of the others are added up. The estimate is their mean: divide by n − 1 before the log.",
            lambda x, h: left_out(x, h) + math.log(len(x) - 1),
        ),
        Wrong(
            "the mean of the logs",
            "This averages log-kernels. A mixture is the mean of the kernels, and its log comes after.",
            lambda x, h: (_logs(x, h).sum(1) - _logs(x, h).diag()).mean() / (len(x) - 1),
        ),
        Wrong(
            "a sum over rows",
            "This adds up the rows. Asked is their mean, in nats a row.",
            lambda x, h: left_out(x, h) * len(x),
        ),
        Wrong(
            "itself in the sum",
            "There are n − 1 in the denominator, but the row itself is still in the sum. Take it out of the sum as well.",
            lambda x, h: (_logs(x, h).logsumexp(1) - math.log(len(x) - 1)).mean(),
        ),
        Wrong(
            "distances not squared",
            "The distance stands in the exponent as it is. A normal density has its square.",
            lambda x, h: left_out(((x[:, None] - x).square().sum(2)).sqrt(), h),
        ),
    ),
    right=(_by_loops, _by_torch, _by_sklearn, _by_scipy),
    probes={
        "the log-likelihood of two rows": lambda f: f(torch.tensor([[0.0, 1.0], [2.0, 1.0]]).double(), 1.5),
        "the log-likelihood with a narrow kernel": lambda f: f(torch.arange(5.0)[:, None].double(), 0.01),
        "the log-likelihood with a kernel as narrow as a hair": lambda f: f(torch.arange(5.0)[:, None].double(), 1e-5),
        "the log-likelihood of rows that come twice, with a narrow kernel": lambda f: f(
            torch.arange(6.0)[:, None].double() // 2, 0.01
        ),
    },
    discussion=r"""
**For your own work.** Leaving one out works only if the others do not hold the same row again. Data sets do: frames
of one video, several photographs of one patient, a digit that was scanned twice. Leave out the whole group, and look
for near-copies before you split.""",
)
