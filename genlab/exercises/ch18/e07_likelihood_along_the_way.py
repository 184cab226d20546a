"""Exercise 18.7: The likelihood along the way."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def ode_log_likelihood(u, x, k):
    """log p(x) in nats, by k steps of the midpoint rule from data to noise.

    u(points, t) with a number t, data (n, d) -> (n,).
    """
    d, h = x.shape[1], 1 / k
    gained = torch.zeros_like(x[:, 0])
    for i in range(k):
        middle = (x + h / 2 * u(x, i * h)).detach().requires_grad_()
        velocity = u(middle, (i + 0.5) * h)
        for j in range(d):  # the trace of the Jacobian, entry by entry
            total = velocity[:, j].sum()
            (slopes,) = torch.autograd.grad(total, middle, retain_graph=True)
            gained += h * slopes[:, j]
        x = x + h * velocity.detach()
    return gained - x.square().sum(1) / 2 - d / 2 * math.log(2 * math.pi)


def _by_functions(u, x, k):
    points, total = x, 0
    for i in range(k):
        now = i / k
        middle = points + u(points, now) / (2 * k)
        jacobians = torch.stack(
            [torch.func.jacfwd(lambda row, time=now + 0.5 / k: u(row[None], time)[0])(row) for row in middle]
        )
        total = total + jacobians.diagonal(dim1=1, dim2=2).sum(1) / k
        points = points + u(middle, now + 0.5 / k) / k
    return total + torch.distributions.Normal(0.0, 1.0).log_prob(points).sum(1)


def _by_differences(u, x, k):
    points, total, step = x.clone(), np.zeros(len(x)), 1e-5
    for i in range(k):
        middle = points + u(points, i / k) / k / 2
        time = (2 * i + 1) / (2 * k)
        for j in range(x.shape[1]):
            moved = torch.zeros_like(x)
            moved[:, j] = step
            slope = (u(middle + moved, time) - u(middle - moved, time))[:, j] / (2 * step)
            total = total + slope.numpy() / k
        points = points + u(middle, time) / k
    squares = (points.numpy() ** 2).sum(axis=1)
    return total - squares / 2 - x.shape[1] * np.log(np.sqrt(2 * np.pi))


def _by_rows(u, x, k):
    found = []
    for row in x:
        total, h = 0.0, 1 / k
        for i in range(k):
            middle = row + h / 2 * u(row[None], i * h)[0]
            time = i * h + h / 2
            jacobian = torch.autograd.functional.jacobian(lambda p, s=time: u(p[None], s)[0], middle)
            total += h * float(torch.trace(jacobian))
            row = row + h * u(middle[None], time)[0]
        squares = sum(value**2 for value in row.tolist())
        found.append(total - squares / 2 - len(row) * math.log(2 * math.pi) / 2)
    return found


def _followed(u, x, k, *, at="middle", solver="midpoint", turned=False, trace=True):
    """End point, sum of divergences, in one of several ways."""
    h, total = 1 / k, torch.zeros_like(x[:, 0])
    for i in range(k):
        t = 1 - i * h if turned else i * h
        step = -h if turned else h
        middle = x + step / 2 * u(x, t)
        point, time = (middle, t + step / 2) if at == "middle" else (x, t)
        total = total + h * _divergence(u, point, time, trace)
        x = x + step * (u(middle, t + step / 2) if solver == "midpoint" else u(x, t))
    return x, total


def _divergence(u, x, t, trace=True):
    jacobian = torch.func.vmap(torch.func.jacrev(lambda row: u(row[None], t)[0]))(x)
    return jacobian.diagonal(dim1=1, dim2=2).sum(1) if trace else jacobian.sum((1, 2))


def _base(x):
    return -x.square().sum(1) / 2 - x.shape[1] / 2 * math.log(2 * math.pi)


def _other(end, **how):
    """Another way along the path, or another sum at its end: end(x, point at noise, sum of divergences)."""

    def answer(u, x, k):
        return end(x, *_followed(u, x, k, **how))

    return answer


def _right(x, z, total):
    return total + _base(z)


def _first_only(u, x, k):
    z, _ = _followed(u, x, k)
    total = torch.zeros_like(x[:, 0])
    point, h = x, 1 / k
    for i in range(k):
        middle = point + h / 2 * u(point, i * h)
        jacobian = torch.func.vmap(torch.func.jacrev(lambda row, t=(i + 0.5) * h: u(row[None], t)[0]))(middle)
        total = total + h * jacobian[:, 0, 0]
        point = point + h * u(middle, (i + 0.5) * h)
    return total + _base(z)


def gaussian(x, t):
    """The exact velocity for data from N(1, 0.25) in each coordinate."""
    return -1 + (t - (1 - t) / 4) / ((1 - t) ** 2 / 4 + t**2) * (x - (1 - t))


def swirling(x, t):
    """Some network whose coordinates depend on each other."""
    return torch.tanh((1 + t) * x.roll(1, 1)) + torch.sin(x) * (1 - t) - 0.5 * t * x


def wide(x, t):
    """The exact velocity for data from N(0, 4) in each coordinate."""
    return (t - 4 * (1 - t)) / (4 * (1 - t) ** 2 + t**2) * x


def _rows(g):
    n, d, k = (int(torch.randint(low, high, (), generator=g)) for low, high in ((1, 6), (1, 5), (1, 5)))
    x = torch.randn(n, d, generator=g).double()
    x[0] *= 3
    return swirling if torch.rand((), generator=g) < 0.7 else gaussian, x, k


SQUARE = torch.tensor([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0], [2.0, 0.0, 0.25]]).double()

EXERCISE = Exercise(
    number="18.7",
    title="The likelihood along the way",
    difficulty=2,
    minutes=25,
    task=r"""
Along the ODE $\mathrm dx_t = u(x_t, t)\,\mathrm dt$ a log-density changes by
$\frac{\mathrm d}{\mathrm dt} \log p_t(x_t) = -\nabla\cdot u(x_t, t)$, where the divergence is $\sum_j \partial u_j/\partial x_j$. Data are at $t = 0$, and at $t = 1$
the density is $\mathcal N(0, I)$. Return $\log p_0(x)$ in nats for each row of `x`, `(n,)`, by $k \ge 1$ equal steps of the
midpoint rule: half a step of Euler leads to a middle point; velocity *and* divergence there, at the middle time, serve for the
whole step. `u(points, t)` takes rows `(n, d)` and a number, and gives `(n, d)`; it is made of torch's functions, and each row
depends on its own row alone. The divergence shall be exact, not estimated. Return plain numbers, and leave `x` as it is in
all respects. Before you check: where the velocity drives points apart on the way to noise, is the density of the data
higher or lower than that of the noise they end at?""",
    inputs=_rows,
    solution=ode_log_likelihood,
    explanation=r"""
From data to noise $\log p_1(x_1) = \log p_0(x_0) - \int_0^1 \nabla\cdot u\,\mathrm dt$, so the integral is added to the base's
log-density at the *end* of the path. Where points are driven apart there were more of them before: $\log p_0$ is the
higher one. It is the log-determinant of a flow with endlessly many thin layers: $\log\det(I + h\,J) \approx h
\operatorname{tr} J$. Only the diagonal of the Jacobian counts, but autograd pays $d$ passes for it; for images
Hutchinson's estimate $v^\top J v$ needs one. With few steps this number is not the likelihood of any model: raise $k$
until it stands still.""",
    hints=(
        "Two sums run along: the point, from x on, and the integral of the divergence. The base waits at the end.",
        "For coordinate j: the gradient of `velocity[:, j].sum()` by the points; of that, column j.",
        "The point moves by h · u(middle, t + h/2), the sum grows by h · divergence there; at last add log N(x_1; 0, I).",
    ),
    wrong=(
        Wrong(
            "the divergence subtracted",
            "The integral of the divergence is subtracted. That is the step from noise to data; from x to noise it is added.",
            _other(lambda x, z, total: _base(z) - total),
        ),
        Wrong(
            "the base alone",
            "This is the log-density of the noise at the end of the path. The stretching on the way is missing.",
            _other(lambda x, z, total: _base(z)),
        ),
        Wrong(
            "the integral alone",
            "This is the integral of the divergence. The base's log-density at the end of the path is missing.",
            _other(lambda x, z, total: total),
        ),
        Wrong(
            "the base at the data",
            "The base's density is taken at x. It belongs to the end of the path, where t = 1.",
            _other(lambda x, z, total: _base(x) + total),
        ),
        Wrong(
            "the way from noise to data",
            "The path runs from t = 1 to 0, as in sampling. x is data: begin at t = 0.",
            _other(_right, turned=True),
        ),
        Wrong(
            "no normaliser",
            "The constant −d/2 · log 2π of the base is missing.",
            _other(lambda x, z, total: total - z.square().sum(1) / 2),
        ),
        Wrong(
            "the normaliser of one dimension",
            "The base's constant is that of one dimension. It counts d times.",
            _other(lambda x, z, total: _right(x, z, total) + (x.shape[1] - 1) / 2 * math.log(2 * math.pi)),
        ),
        Wrong(
            "all entries of the Jacobian",
            "All entries of the Jacobian are added up: the gradient of the velocities' sum. The divergence is its trace.",
            _other(_right, trace=False),
        ),
        Wrong(
            "the first coordinate alone",
            "Only the first entry of the diagonal is used. The divergence adds up all d.",
            _first_only,
        ),
        Wrong(
            "a mean over coordinates",
            "The divergence is averaged over coordinates. It is a sum.",
            _other(lambda x, z, total: _base(z) + total / x.shape[1]),
        ),
        Wrong(
            "Euler's steps",
            "Point and divergence are those of Euler's method, at the beginning of each step.",
            _other(_right, at="start", solver="euler"),
        ),
        Wrong(
            "the divergence at the beginning",
            "The points move by the midpoint rule, but the divergence is taken at the beginning of each step.",
            _other(_right, at="start"),
        ),
        Wrong(
            "bits",
            "These are bits. Asked are nats.",
            _other(lambda x, z, total: _right(x, z, total) / math.log(2)),
        ),
        Wrong(
            "a share for each dimension",
            "The result is divided by the number of dimensions. Asked is the log-density of a row.",
            _other(lambda x, z, total: _right(x, z, total) / x.shape[1]),
        ),
        Wrong(
            "a mean over rows",
            "This is one number for all rows. Asked is one for each.",
            _other(lambda x, z, total: _right(x, z, total).mean()),
        ),
        Wrong(
            "a divergence of one number for all",
            "The divergences of all rows are added up. Each row has its own.",
            _other(lambda x, z, total: _base(z) + total.sum()),
        ),
    ),
    right=(_by_functions, _by_differences, _by_rows),
    probes={
        "one step": lambda f: f(swirling, SQUARE, 1),
        "as many rows as dimensions, four steps": lambda f: f(swirling, SQUARE, 4),
        "one number, three steps": lambda f: f(swirling, SQUARE[:1, :1], 3),
        "normal data with the exact velocity, fifty steps": lambda f: f(gaussian, SQUARE[1:, :2], 50),
        "wide data, two steps": lambda f: f(wide, SQUARE, 2),
    },
    discussion=r"""
**For your own work.** Test a likelihood by ODE on normal data, where it is known, and once more on a model in two
dimensions by adding up $p$ over a grid: the mass must be 1. A wrong sign, or the divergence of another point, shows in
that sum and in no sample. And say for which solver and how many steps a number holds.""",
)
