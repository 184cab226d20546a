"""Exercise 18.3: A diffusion model that walks straight."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def straight_velocity(guess, x_t, t):
    """The velocity of the straight path, by a network that guesses v on a circle.

    guess(points, alpha, sigma), points (n, d), times (n,) -> (n, d).
    """
    radius = torch.hypot(1 - t, t)
    alpha, sigma = (1 - t) / radius, t / radius  # the level with the same ratio
    x = x_t / radius[:, None]
    v = guess(x, alpha, sigma)
    return (sigma - alpha)[:, None] * x + (sigma + alpha)[:, None] * v


def _by_two_guesses(guess, x_t, t):
    angle = torch.atan2(t, 1 - t)
    alpha, sigma = angle.cos(), angle.sin()
    point = x_t * (alpha + sigma)[:, None]  # 1/radius
    v = guess(point, alpha, sigma)
    x = alpha[:, None] * point - sigma[:, None] * v
    eps = sigma[:, None] * point + alpha[:, None] * v
    return eps - x


def _by_rows(guess, x_t, t):
    rows = []
    for row, time in zip(x_t, t.tolist(), strict=True):
        r = math.sqrt((1 - time) ** 2 + time**2)
        a, b = (1 - time) / r, time / r
        v = guess(row[None] / r, torch.tensor([a]).double(), torch.tensor([b]).double())[0]
        rows.append([((b - a) * p / r + (a + b) * q) for p, q in zip(row.tolist(), v.tolist(), strict=True)])
    return rows


def _by_numpy(guess, x_t, t):
    time, rows = t.numpy(), x_t.numpy()
    turn = (1 - time) + 1j * time
    unit = turn / np.abs(turn)
    point = rows / np.abs(turn)[:, None]
    v = guess(torch.as_tensor(point), torch.as_tensor(unit.real.copy()), torch.as_tensor(unit.imag.copy())).numpy()
    pair = (point + 1j * v) * unit[:, None]  # turned back: data and noise
    return pair.imag - pair.real


def _by_solving(guess, x_t, t):
    level = torch.nn.functional.normalize(torch.stack([1 - t, t]), dim=0)
    point = x_t / torch.stack([1 - t, t]).square().sum(0).sqrt().unsqueeze(1)
    v = guess(point, level[0], level[1])
    system = torch.stack([level, torch.stack([-level[1], level[0]])]).permute(2, 0, 1)
    x, eps = torch.linalg.solve(system, torch.stack([point, v], 1)).unbind(1)
    return eps - x


def _other(level=None, point=lambda x_t, r: x_t / r, end=lambda x, x_t, v, a, b, r: (b - a) * x + (a + b) * v):
    """Another level, another point, or another end."""

    def answer(guess, x_t, t):
        radius = torch.hypot(1 - t, t)
        alpha, sigma = ((1 - t) / radius, t / radius) if level is None else level(t)
        x = point(x_t, radius[:, None])
        v = guess(x, alpha, sigma)
        return end(x, x_t, v, alpha[:, None], sigma[:, None], radius[:, None])

    return answer


def _one_for_all(guess, x_t, t):
    return straight_velocity(guess, x_t, t[:1].expand(len(t)))


def _same_clock(t):
    return torch.cos(math.pi * t / 2), torch.sin(math.pi * t / 2)


def normal(x, alpha, sigma):
    """The best guess of v for data from N(1, 0.25)."""
    a, b = alpha.view(-1, 1), sigma.view(-1, 1)
    return -b + 0.75 * a * b / (a**2 / 4 + b**2) * (x - a)


def bent(x, alpha, sigma):
    """Some network."""
    a, b = alpha.view(-1, 1), sigma.view(-1, 1)
    return torch.tanh(x * (1 + a)) * b + torch.sin(x + 2 * b) - a**2


def _points(g):
    n, d = (int(torch.randint(1, 6, (), generator=g)) for _ in range(2))
    x_t = torch.randn(n, d, generator=g).double()
    x_t[0] *= 5
    return bent if torch.rand((), generator=g) < 0.7 else normal, x_t, 0.05 + 0.9 * torch.rand(n, generator=g).double()


SQUARE = torch.tensor([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0], [2.0, 0.0, 8.0]]).double()
TIMES = torch.tensor([0.0, 0.3, 1.0]).double()

EXERCISE = Exercise(
    number="18.3",
    title="A diffusion model that walks straight",
    difficulty=2,
    minutes=20,
    task=r"""
You are given a trained diffusion model, and want to sample it along the straight path $x_t = (1-t)\,x + t\,\varepsilon$.
Its path lies on a circle, $x_{\alpha\sigma} = \alpha x + \sigma \varepsilon$ with $\alpha^2 + \sigma^2 = 1$, and it guesses
$v = \alpha\varepsilon - \sigma x$: `guess(points, alpha, sigma)` takes rows `(n, d)` *of that path* and two tensors
`(n,)`, and gives $\hat v$ `(n, d)`. It knows no other levels. Return the velocity of the straight path,
$\hat\varepsilon - \hat x$, at the rows `x_t` and the times `t`, $0 \le t \le 1$ with both ends; nothing may become
infinite there. Nothing is trained again: which point and which level of the circle say the same as $x_t$ at $t$?""",
    inputs=_points,
    solution=straight_velocity,
    explanation=r"""
Two noised points say the same of $x$ if one is a multiple of the other. With $r = \sqrt{(1-t)^2 + t^2}$ the point $x_t/r$
has $\alpha = (1-t)/r$ and $\sigma = t/r$, whose squares add up to 1. There the model may be asked. On the circle
$x = \alpha x_{\alpha\sigma} - \sigma v$ and $\varepsilon = \sigma x_{\alpha\sigma} + \alpha v$, without a division, and
their difference is the velocity of any straight path. So diffusion and flow matching are one family: a path is a choice
of scale and clock, which a sampler may make anew after training.""",
    hints=(
        "Divide x_t by a number such that the squares of its two factors add up to 1. What are the factors then?",
        "Ask the model at x_t / r, with (1 − t)/r and t/r. From v and that point, what are the guesses of x and ε?",
        "x = α p − σ v and ε = σ p + α v for the point p = x_t / r. Return their difference, ε − x.",
    ),
    wrong=(
        Wrong(
            "levels off the circle",
            "The model is asked at x_t with 1 − t and t, whose squares do not add up to 1. It never saw such levels.",
            lambda guess, x_t, t: (
                (
                    ((1 - t)[:, None] * guess(x_t, 1 - t, t) + t[:, None] * x_t)
                    + (t[:, None] * guess(x_t, 1 - t, t) - (1 - t)[:, None] * x_t)
                )
                / torch.hypot(1 - t, t)[:, None].square()
            ),
        ),
        Wrong(
            "a point that is not scaled",
            "The level is right, but x_t itself is handed over. Scale the point by 1/r as well.",
            _other(point=lambda x_t, r: x_t),
        ),
        Wrong(
            "the same clock",
            "The model is asked at cos(πt/2) and sin(πt/2): the same time, but another ratio of data and noise.",
            _other(level=_same_clock),
        ),
        Wrong(
            "v taken for the velocity",
            "This is v itself, at the right point. On the circle v is a derivative by the angle, not that of a line.",
            _other(end=lambda x, x_t, v, a, b, r: v),
        ),
        Wrong(
            "x and ε of the unscaled point",
            "v was made for the scaled point, but is combined with x_t. Take one point for both.",
            _other(end=lambda x, x_t, v, a, b, r: (b - a) * x_t + (a + b) * v),
        ),
        Wrong(
            "a velocity that is scaled back",
            "The result is multiplied by r. ε̂ and x̂ belong to no scale: their difference is the velocity.",
            _other(end=lambda x, x_t, v, a, b, r: r * ((b - a) * x + (a + b) * v)),
        ),
        Wrong(
            "the sign",
            "This is x̂ − ε̂. Time runs from data to noise: ε̂ − x̂.",
            _other(end=lambda x, x_t, v, a, b, r: (a - b) * x - (a + b) * v),
        ),
        Wrong(
            "v with the other sign",
            "v is taken for σ x − α ε. Here it is α ε − σ x.",
            _other(end=lambda x, x_t, v, a, b, r: (b - a) * x - (a + b) * v),
        ),
        Wrong(
            "the guess of the data",
            "This is x̂, the guess of the data. The velocity is ε̂ − x̂.",
            _other(end=lambda x, x_t, v, a, b, r: a * x - b * v),
        ),
        Wrong(
            "the guess of the noise",
            "This is ε̂, the guess of the noise. The velocity is ε̂ − x̂.",
            _other(end=lambda x, x_t, v, a, b, r: b * x + a * v),
        ),
        Wrong(
            "divided by t",
            "This is (x_t − x̂)/t: the velocity, but at t = 0 it is no number. ε̂ − x̂ needs no division.",
            _other(end=lambda x, x_t, v, a, b, r: (x_t - (a * x - b * v)) / (b * r)),
        ),
        Wrong(
            "divided by 1 − t",
            "This is (ε̂ − x_t)/(1 − t): the velocity, but at t = 1 it is no number. ε̂ − x̂ needs no division.",
            _other(end=lambda x, x_t, v, a, b, r: (b * x + a * v - x_t) / (a * r)),
        ),
        Wrong(
            "a path that starts with noise",
            "Time is turned round: at t = 0 the model is asked at full noise. Here t = 0 is data.",
            lambda guess, x_t, t: straight_velocity(guess, x_t, 1 - t),
        ),
        Wrong(
            "one time for all",
            "All rows get the time of the first. Each has its own.",
            _one_for_all,
        ),
    ),
    right=(_by_two_guesses, _by_rows, _by_numpy, _by_solving),
    probes={
        "both ends, and a time between": lambda f: f(bent, SQUARE, TIMES),
        "both ends, with the exact model of normal data": lambda f: f(normal, SQUARE, TIMES),
        "one row of one number, halfway": lambda f: f(bent, SQUARE[:1, :1], torch.tensor([0.5]).double()),
        "a time next to the data": lambda f: f(normal, SQUARE[1:2], torch.tensor([1e-9]).double()),
        "a time next to the noise": lambda f: f(normal, SQUARE[1:2], torch.tensor([1 - 1e-9]).double()),
    },
    discussion=r"""
**For your own work.** Before you train a model again for another path, convert the one you have: it is a matter of scale,
clock and name. Test a conversion on normal data, where the exact guess is known on every path, and at both ends, where
formulas that divide by $t$ or $1-t$ fail first.""",
)
