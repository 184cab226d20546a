"""Exercise 18.4: What a coupling leaves open."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def coupled(x_t, t, m, s, rho):
    """The velocity at x_t and the floor of the loss, for correlated normal pairs.

    Points (n, d), times (n,), mean, deviation, correlation (d,) -> (n, d), (n,).
    """
    t = t[:, None]
    variance = ((1 - t) * s) ** 2 + 2 * t * (1 - t) * rho * s + t**2  # of x_t
    shared = t - (1 - t) * s**2 + (1 - 2 * t) * rho * s  # of eps - x and x_t
    u = -m + shared / variance * (x_t - (1 - t) * m)
    return u, (s**2 * (1 - rho**2) / variance).sum(1)


def _by_matrices(x_t, t, m, s, rho):
    us, floors = [], []
    for row, time in zip(x_t.numpy(), t.numpy(), strict=True):
        velocity, left = [], 0.0
        for value, mean, std, r in zip(row, m.numpy(), s.numpy(), rho.numpy(), strict=True):
            turn = np.array([[1 - time, time], [-1.0, 1.0]])
            cov = turn @ np.array([[std**2, r * std], [r * std, 1.0]]) @ turn.T
            velocity.append(-mean + cov[1, 0] / cov[0, 0] * (value - (1 - time) * mean))
            left += cov[1, 1] - cov[1, 0] ** 2 / cov[0, 0]
        us.append(velocity)
        floors.append(left)
    return np.array(us), np.array(floors)


def _by_guesses(x_t, t, m, s, rho):
    # first the best guesses of data and noise
    time, rest = t.unsqueeze(1), 1 - t.unsqueeze(1)
    gain = 1 / (rest.square() * s.square() + time.square() + 2 * time * rest * rho * s)
    centred = x_t - rest * m
    x = m + gain * (rest * s.square() + time * rho * s) * centred
    eps = gain * (rest * rho * s + time) * centred
    return eps - x, torch.einsum("nd,d->n", gain, s.square() * (1 - rho) * (1 + rho))


def _by_loops(x_t, t, m, s, rho):
    us, floors = [], []
    for row, time in zip(x_t.tolist(), t.tolist(), strict=True):
        velocity, floor = [], 0.0
        for value, mean, std, r in zip(row, m.tolist(), s.tolist(), rho.tolist(), strict=True):
            # x = mean + std · (r eps + w z): the two independent parts of the noise
            w = math.sqrt(1 - r * r)
            a, b = (1 - time) * std * r + time, (1 - time) * std * w  # of eps and z in x_t
            c, d = 1 - std * r, -std * w  # of eps and z in eps - x
            velocity.append(-mean + (a * c + b * d) / (a * a + b * b) * (value - (1 - time) * mean))
            floor += (a * d - b * c) ** 2 / (a * a + b * b)
        us.append(velocity)
        floors.append(floor)
    return us, floors


def _by_torch(x_t, t, m, s, rho):
    cross = rho * s
    cov = torch.stack([torch.stack([s**2, cross], -1), torch.stack([cross, torch.ones_like(s)], -1)], -2)
    along = torch.stack([1 - t, t], -1)
    change = torch.tensor([-1.0, 1.0], dtype=x_t.dtype)
    variance = torch.einsum("ni,dij,nj->nd", along, cov, along)
    shared = torch.einsum("i,dij,nj->nd", change, cov, along)
    whole = torch.einsum("i,dij,j->d", change, cov, change)
    u = -m + shared * (x_t - along[:, :1] * m) / variance
    return u, (whole - shared**2 / variance).sum(-1)


def _parts(x_t, t, m, s, rho):
    t = t[:, None]
    variance = ((1 - t) * s) ** 2 + 2 * t * (1 - t) * rho * s + t**2
    return t, variance, t - (1 - t) * s**2 + (1 - 2 * t) * rho * s


def _velocity(change):
    """Another velocity, with the right floor."""

    def answer(x_t, t, m, s, rho):
        return change(x_t, *_parts(x_t, t, m, s, rho), m, s, rho), coupled(x_t, t, m, s, rho)[1]

    return answer


def _floor(change):
    """The right velocity, with another floor."""

    def answer(x_t, t, m, s, rho):
        return coupled(x_t, t, m, s, rho)[0], change(*_parts(x_t, t, m, s, rho)[1:], s, rho)

    return answer


def _both(variance, shared):
    """Another variance of x_t and another covariance, used for both."""

    def answer(x_t, t, m, s, rho):
        t = t[:, None]
        g, c = variance(t, s, rho), shared(t, s, rho)
        return -m + c / g * (x_t - (1 - t) * m), (s**2 * (1 - rho**2) / g).sum(1)

    return answer


def _g(t, s, rho):
    return ((1 - t) * s) ** 2 + 2 * t * (1 - t) * rho * s + t**2


def _c(t, s, rho):
    return t - (1 - t) * s**2 + (1 - 2 * t) * rho * s


def _points(g):
    n, d = (int(torch.randint(1, 6, (), generator=g)) for _ in range(2))
    x_t, m = torch.randn(n, d, generator=g).double() * 2, torch.randn(d, generator=g).double()
    x_t[0] *= 5
    s, rho = 0.3 + 2 * torch.rand(d, generator=g).double(), 1.7 * torch.rand(d, generator=g).double() - 0.8
    return x_t, torch.rand(n, generator=g).double(), m, s, rho


POINTS = torch.tensor([[1.0, -2.0], [0.5, 4.0], [-3.0, 0.25]]).double()
TIMES = torch.tensor([0.0, 0.5, 1.0]).double()
MEANS, WIDTHS = torch.tensor([1.5, -0.5]).double(), torch.tensor([0.5, 2.0]).double()

EXERCISE = Exercise(
    number="18.4",
    title="What a coupling leaves open",
    difficulty=2,
    minutes=20,
    task=r"""
Data and noise need not be drawn independently: any coupling with the right marginals trains a flow. Let the coordinates be
independent of each other, coordinate $j$ of the data $\mathcal N(m_j, s_j^2)$ and that of the noise $\mathcal N(0, 1)$,
and the two jointly normal with correlation $r_j$ (`rho`), $-1 < r_j \le 1$. The path is $x_t = (1-t)\,x + t\,\varepsilon$.
Return the marginal velocity $\mathbb E[\varepsilon - x \mid x_t]$ at the rows `x_t`, each at its own time, `(n, d)`; and
for each row the floor of the loss at its time, the expected $\lVert (\varepsilon - x) - \mathbb E[\varepsilon - x \mid x_t]
\rVert^2$ as a sum over coordinates, `(n,)`. Times are from 0 to 1, with both ends.""",
    inputs=_points,
    solution=coupled,
    explanation=r"""
All is normal, so the conditional mean is a line with the slope $\operatorname{Cov}(u, x_t)/\operatorname{Var}(x_t)$. The
floor is the determinant of the covariance of $(u, x_t)$ over $\operatorname{Var}(x_t)$, and $(u, x_t)$ is made of $(x,
\varepsilon)$ by a matrix of determinant $\pm 1$: so the numerator is $s^2 (1-r^2)$ at every $t$. Independent
pairs leave $s^2/g(t)$, $\pi s/2$ over all times. With $r = 1$ each datum knows its noise: $\varepsilon = (x-m)/s$, the
floor is 0, and lines do not cross; that is the coupling of optimal transport. From $r = 0$ to $1$ the
floor falls at every $t$ between the ends, and at $r = 1$ a single step follows a whole path.""",
    hints=(
        "Everything is jointly normal: a conditional mean is a mean plus Cov/Var times the distance from the mean.",
        "Cov(ε − x, (1 − t) x + t ε) has four terms. The variance of x_t has a cross term with r s.",
        "Floor: Var(u) − Cov²/Var(x_t). Simplified it is s² (1 − r²)/Var(x_t), summed over coordinates.",
    ),
    wrong=(
        Wrong(
            "independent pairs",
            "The correlation is not used: this is velocity and floor of independent pairs.",
            lambda x_t, t, m, s, rho: coupled(x_t, t, m, s, 0 * rho),
        ),
        Wrong(
            "a correlation taken for a covariance",
            "r stands where the covariance belongs. That is r s.",
            lambda x_t, t, m, s, rho: coupled(x_t, t, m, s, rho / s),
        ),
        Wrong(
            "the cross term once",
            "The cross term in the variance of x_t counts twice: 2 t (1 − t) r s.",
            _both(lambda t, s, rho: _g(t, s, rho) - t * (1 - t) * rho * s, _c),
        ),
        Wrong(
            "no cross term in the variance",
            "The variance of x_t is that of independent pairs. It has a cross term, 2 t (1 − t) r s.",
            _both(lambda t, s, rho: _g(t, s, 0 * rho), _c),
        ),
        Wrong(
            "no cross term in the covariance",
            "The covariance of velocity and x_t lacks its terms with r s: (1 − t) r s − t r s.",
            _both(_g, lambda t, s, rho: _c(t, s, 0 * rho)),
        ),
        Wrong(
            "the cross terms with one sign",
            "In the covariance the terms with r s have opposite signs: (1 − t) of ε with x, and −t of x with ε.",
            _both(_g, lambda t, s, rho: _c(t, s, 0 * rho) + rho * s),
        ),
        Wrong(
            "a variance as deviation",
            "s is taken for a variance. It is a standard deviation.",
            lambda x_t, t, m, s, rho: coupled(x_t, t, m, s.sqrt(), rho),
        ),
        Wrong(
            "a path that starts with noise",
            "Time is turned round: t = 1 is data. Here t = 0 is.",
            lambda x_t, t, m, s, rho: coupled(x_t, 1 - t, m, s, rho),
        ),
        Wrong(
            "the velocity's sign",
            "The velocity points from noise to data. It is the mean of ε − x.",
            _velocity(lambda x_t, t, g, c, m, s, rho: m - c / g * (x_t - (1 - t) * m)),
        ),
        Wrong(
            "no mean velocity",
            "The mean of ε − x is −m, and it is missing.",
            _velocity(lambda x_t, t, g, c, m, s, rho: c / g * (x_t - (1 - t) * m)),
        ),
        Wrong(
            "a mean that does not move",
            "x_t is centred by m. Its mean is (1 − t) m.",
            _velocity(lambda x_t, t, g, c, m, s, rho: -m + c / g * (x_t - m)),
        ),
        Wrong(
            "x_t not centred",
            "The slope is multiplied by x_t. It belongs to x_t less its mean, (1 − t) m.",
            _velocity(lambda x_t, t, g, c, m, s, rho: -m + c / g * x_t),
        ),
        Wrong(
            "all of the velocity's variance",
            "The second result is the variance of ε − x. What x_t says of it is not subtracted.",
            _floor(lambda g, c, s, rho: (1 + s**2 - 2 * rho * s).expand(len(g), -1).sum(1)),
        ),
        Wrong(
            "the explained part",
            "The second result is the variance of the marginal velocity. Asked is what it leaves.",
            _floor(lambda g, c, s, rho: (c**2 / g).sum(1)),
        ),
        Wrong(
            "1 − r",
            "The numerator of the floor has 1 − r. A correlation explains r² of a variance.",
            _floor(lambda g, c, s, rho: (s**2 * (1 - rho) / g).sum(1)),
        ),
        Wrong(
            "a mean over coordinates",
            "The floor is averaged over coordinates. It is asked as a sum.",
            _floor(lambda g, c, s, rho: (s**2 * (1 - rho**2) / g).mean(1)),
        ),
        Wrong(
            "a floor for each coordinate",
            "The floor is given for each coordinate. Asked is the sum of a row.",
            _floor(lambda g, c, s, rho: s**2 * (1 - rho**2) / g),
        ),
        Wrong(
            "a root",
            "The floor is a root of the expected square. Asked is the square.",
            _floor(lambda g, c, s, rho: (s**2 * (1 - rho**2) / g).sum(1).sqrt()),
        ),
        Wrong(
            "the floor first",
            "The pair is turned round: first the velocity.",
            lambda x_t, t, m, s, rho: coupled(x_t, t, m, s, rho)[::-1],
        ),
    ),
    right=(_by_matrices, _by_guesses, _by_loops, _by_torch),
    probes={
        "independent pairs, at both ends and halfway": lambda f: f(POINTS, TIMES, MEANS, WIDTHS, 0 * WIDTHS),
        "pairs that know each other": lambda f: f(POINTS, TIMES, MEANS, WIDTHS, torch.ones(2).double()),
        "pairs of opposite sign": lambda f: f(POINTS, TIMES, MEANS, WIDTHS, torch.full((2,), -0.9).double()),
        "one number, halfway": lambda f: f(POINTS[:1, :1], TIMES[1:2], MEANS[:1], WIDTHS[1:], WIDTHS[:1]),
        "pairs that nearly know each other, in one coordinate": lambda f: f(
            POINTS, TIMES, MEANS, WIDTHS, torch.tensor([0.999, 0.2]).double()
        ),
    },
    discussion=r"""
**For your own work.** A lower training loss after a change of coupling is no better model: the floor has moved. Compare by
samples, and by the number of steps that they need. Minibatches that are paired by optimal transport lie between: the
larger the batch, the nearer to $r = 1$.""",
)
