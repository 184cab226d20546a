"""Exercise 18.6: Few steps, narrow samples."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math
from itertools import pairwise

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def euler_spread(times, s):
    """Standard deviation of what Euler's method makes of N(m, diag s²).

    Times that fall (k + 1,), standard deviations (d,) -> (d,).
    """
    t = times[:, None]
    variance = ((1 - t) * s) ** 2 + t**2  # of x_t
    slope = (t - (1 - t) * s**2) / variance  # of the velocity, by x_t
    factors = 1 + t.diff(dim=0) * slope[:-1]  # the steps are negative
    return variance[0].sqrt() * factors.prod(0)


def _by_loops(times, s):
    found = []
    for std in s.tolist():
        now = times.tolist()
        spread = math.hypot((1 - now[0]) * std, now[0])
        for start, end in pairwise(now):
            x, eps = (1 - start) * std**2, start  # covariances with x_t
            spread *= 1 + (end - start) * (eps - x) / ((1 - start) ** 2 * std**2 + start**2)
        found.append(spread)
    return found


def _by_two_samples(times, s):
    # the map is affine: two samples that start a deviation apart stay so, in its units
    def velocity(x, t):
        return -3 + (t - (1 - t) * s**2) / ((1 - t) ** 2 * s**2 + t**2) * (x - 3 * (1 - t))

    first = times[0]
    low = 3 * (1 - first) + 0 * s
    high = low + torch.sqrt((1 - first) ** 2 * s**2 + first**2)
    for now, then in pairwise(times):
        low, high = (x - (now - then) * velocity(x, now) for x in (low, high))
    return high - low


def _by_numpy(times, s):
    t, v = times.numpy().reshape(-1, 1), s.numpy() ** 2
    noise = t**2
    data = (1 - t) ** 2 * v
    share = data / (data + noise)  # of the data in the variance of x_t
    keep = np.ones_like(share)
    for i, (start, end) in enumerate(pairwise(t)):
        # x_t − (its mean) holds share of data and the rest of noise, each rescaled to the new time
        with_noise = (end / start) * (1 - share[i])
        with_data = (1 - end) / (1 - start) * share[i] if start < 1 else 0.0
        keep[i] = with_noise + with_data
    return np.sqrt((data + noise)[0]) * np.prod(keep, axis=0)


def _by_growth(times, s):
    s, (start, *_) = s.clone(), times
    spread = torch.hypot((1 - start) * s, start)
    for i in range(1, len(times)):
        now = times[i - 1]
        g = torch.hypot((1 - now) * s, now) ** 2
        growth = now - (1 - now) * s.square()  # half of dg/dt
        spread = spread - (now - times[i]) * growth / g * spread
    return spread


def _parts(times, s):
    t = times[:, None]
    variance = ((1 - t) * s) ** 2 + t**2
    return t, variance, (t - (1 - t) * s**2) / variance


def _steps(factors, start=lambda variance: variance[0].sqrt()):
    """Other factors, or another start."""

    def answer(times, s):
        t, variance, slope = _parts(times, s)
        return start(variance) * factors(t.diff(dim=0), slope, variance).prod(0)

    return answer


def _right(step, slope, variance):
    return 1 + step * slope[:-1]


def _heun(times, s):
    t, variance, slope = _parts(times, s)
    h = t.diff(dim=0)
    return variance[0].sqrt() * (1 + h / 2 * (slope[:-1] + (1 + h * slope[:-1]) * slope[1:])).prod(0)


def _middle(times, s):
    middle = (times[1:] + times[:-1]) / 2
    slope = _parts(middle, s)[2]
    return _parts(times, s)[1][0].sqrt() * (1 + times.diff()[:, None] * slope).prod(0)


def _even(times, s):
    return euler_spread(torch.linspace(0, 1, len(times)).double() * (times[-1] - times[0]) + times[0], s)


def _grid(g):
    k, d = (int(torch.randint(1, 6, (), generator=g)) for _ in range(2))
    ends = torch.tensor([1.0 - 0.3 * float(torch.rand((), generator=g) < 0.5), 0.0]).double()
    ends[1] += 0.2 * float(torch.rand((), generator=g) < 0.3)
    between = 0.3 + 0.35 * torch.rand(k - 1, generator=g).double()
    return torch.cat([ends, between]).sort(descending=True).values, 0.2 + 2 * torch.rand(d, generator=g).double()


WIDTHS = torch.tensor([0.1, 0.5, 1.0, 2.0]).double()


def _even_grid(steps):
    return torch.linspace(1, 0, steps + 1).double()


EXERCISE = Exercise(
    number="18.6",
    title="Few steps, narrow samples",
    difficulty=2,
    minutes=20,
    task=r"""
The data are $\mathcal N(m, \operatorname{diag} s^2)$, the noise is independent of them, and the exact velocity on $x_t =
(1-t)\,x + t\,\varepsilon$ is known: in each coordinate

$$ u(x_t, t) = -m + \frac{t - (1-t)\,s^2}{(1-t)^2 s^2 + t^2}\,\big(x_t - (1-t)\,m\big) . $$

A sampler follows it with Euler's method over the $k + 1$ times `times`, which fall, need not be evenly spaced and lie from
1 to 0: they may end before 0, and begin below 1. At the first time $x_t$ has its exact law. Return the standard deviation
of the samples at the last time, in each coordinate, `(d,)`. The mean does not matter (why not?). A grid of one time is no
step. Before you check: what does a *single* step from 1 to 0 make of all noise?""",
    inputs=_grid,
    solution=euler_spread,
    explanation=r"""
The difference from the moving mean $(1-t)\,m$ obeys a linear equation, so each Euler step multiplies it by $1 + h\,a(t)$
with $h < 0$, and Euler follows the mean itself exactly. At $t = 1$ the slope $a$ is 1 whatever $s$ is: a single step
multiplies by 0, and every sample is the mean of the data. That is no bug: the velocity at $t = 1$ is the conditional mean
of $\varepsilon - x$, and noise says nothing of $x$. For $s = 1$ the samples have the deviation
0, 0.5, 0.88 and 0.99 after 1, 2, 10 and 100 even steps. After a reflow each
noise has *its* datum, the velocity is constant along the path, and one step is exact.""",
    hints=(
        "Subtract the mean (1 − t) m from both sides of an Euler step. By which number is the rest multiplied?",
        "A step from t to t' multiplies the deviation by 1 + (t' − t) a(t), with the slope a at the *old* time.",
        "√variance at the first time, times the product of all factors. None of them is negative.",
    ),
    wrong=(
        Wrong(
            "the exact spread",
            "This is the standard deviation of the exact law at the last time. Euler's steps miss it.",
            lambda times, s: _parts(times, s)[1][-1].sqrt(),
        ),
        Wrong(
            "the slope at the end of a step",
            "The slope is taken at the new time. Euler's step uses the one at the old time.",
            _steps(lambda h, slope, variance: 1 + h * slope[1:]),
        ),
        Wrong(
            "an implicit step",
            "This divides by 1 − h a at the new time: the implicit Euler method.",
            _steps(lambda h, slope, variance: 1 / (1 - h * slope[1:])),
        ),
        Wrong(
            "the slope in the middle",
            "The slope is taken in the middle of a step. Euler's is that at its beginning.",
            _middle,
        ),
        Wrong(
            "two looks",
            "These are steps of Heun, with two slopes each. Euler looks once.",
            _heun,
        ),
        Wrong(
            "exponentials",
            "The factor is exp(h a). Euler's step is straight: 1 + h a.",
            _steps(lambda h, slope, variance: (h * slope[:-1]).exp()),
        ),
        Wrong(
            "steps upwards",
            "The steps have the wrong sign. The times fall: t' − t is negative.",
            _steps(lambda h, slope, variance: 1 - h * slope[:-1]),
        ),
        Wrong(
            "one long sum",
            "The terms h a are added up as if every step started from the first spread. Steps multiply.",
            _steps(lambda h, slope, variance: 1 + (h * slope[:-1]).sum(0, keepdim=True)),
        ),
        Wrong(
            "a variance",
            "This is the variance. Asked is the standard deviation.",
            lambda times, s: euler_spread(times, s) ** 2,
        ),
        Wrong(
            "a start with standard noise",
            "The start has standard deviation 1. That is right at time 1; below it is √((1 − t)² s² + t²).",
            _steps(_right, start=lambda variance: 1.0),
        ),
        Wrong(
            "a start with a variance",
            "The start is the variance of x_t. Take its root.",
            _steps(_right, start=lambda variance: variance[0]),
        ),
        Wrong(
            "a deviation taken for a variance",
            "s stands where a variance belongs. It is a standard deviation: square it.",
            lambda times, s: euler_spread(times, s.sqrt()),
        ),
        Wrong(
            "even steps",
            "The steps are taken as evenly spaced. They are as the times say.",
            _even,
        ),
        Wrong(
            "a path that starts with noise",
            "Time is turned round: t = 1 is data. Here t = 0 is.",
            lambda times, s: euler_spread(1 - times, s),
        ),
    ),
    right=(_by_loops, _by_two_samples, _by_numpy, _by_growth),
    probes={
        "one step from noise to data": lambda f: f(_even_grid(1), WIDTHS),
        "two even steps": lambda f: f(_even_grid(2), WIDTHS),
        "a hundred even steps": lambda f: f(_even_grid(100), WIDTHS),
        "no step": lambda f: f(torch.tensor([0.75]).double(), WIDTHS),
        "a single step in the middle": lambda f: f(torch.tensor([0.75, 0.25]).double(), WIDTHS),
        "uneven steps, in one coordinate": lambda f: f(torch.tensor([1.0, 0.9, 0.3, 0.1, 0.0]).double(), WIDTHS[:1]),
        "steps next to the data": lambda f: f(torch.tensor([0.25, 0.1, 0.0]).double(), WIDTHS[:2]),
    },
    discussion=r"""
**For your own work.** Count the standard deviation of samples over the number of steps: it costs no labels and no
metric. If it still moves when you double the steps, a comparison of two models at that number compares their solvers.""",
)
