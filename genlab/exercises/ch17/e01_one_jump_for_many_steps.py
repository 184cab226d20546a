"""Exercise 17.1: One jump for many steps."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def jump(x, eps, beta, t):
    """x after t steps of the forward chain, in one jump with the noise eps.

    x and eps (n, ...), beta (T,), whole steps t (n,) from 0 to T -> (n, ...).
    """
    squares = torch.cat([torch.ones_like(beta[:1]), torch.cumprod(1 - beta, 0)])
    square = squares[t].view(-1, *[1] * (x.ndim - 1))  # alpha² of each example
    return square.sqrt() * x + (1 - square).sqrt() * eps


def _by_loops(x, eps, beta, t):
    rows = []
    for row, noise, steps in zip(x, eps, t.tolist(), strict=True):
        alpha2, sigma2 = 1.0, 0.0
        for b in beta[:steps].tolist():
            alpha2, sigma2 = (1 - b) * alpha2, (1 - b) * sigma2 + b  # variances add
        rows.append(math.sqrt(alpha2) * row + math.sqrt(sigma2) * noise)
    return torch.stack(rows)


def _by_logs(x, eps, beta, t):
    logs = torch.nn.functional.pad(torch.log1p(-beta).cumsum(0), (1, 0))[t]
    place = (slice(None), *[None] * (x.ndim - 1))
    return torch.exp(logs / 2)[place] * x + torch.sqrt(-torch.expm1(logs))[place] * eps


def _by_numpy(x, eps, beta, t):
    squares = np.array([np.prod(1 - beta.numpy()[:steps]) for steps in t.tolist()])
    columns = x.numpy().reshape(len(t), -1).T, eps.numpy().reshape(len(t), -1).T
    return (np.sqrt(squares) * columns[0] + np.sqrt(1 - squares) * columns[1]).T.reshape(x.shape)


def _by_masks(x, eps, beta, t):
    inside = torch.arange(len(beta)) < t[:, None]
    square = torch.where(inside, 1 - beta, 1.0).prod(1)
    return torch.einsum("n,n...->n...", square**0.5, x) + torch.einsum("n,n...->n...", (1 - square) ** 0.5, eps)


def _with(squares, mix):
    """Another alpha² of each example, or another use of it."""

    def answer(x, eps, beta, t):
        square = squares(beta, t).view(-1, *[1] * (x.ndim - 1))
        return mix(x, eps, square)

    return answer


def _squares(beta, t):
    return torch.cat([torch.ones_like(beta[:1]), torch.cumprod(1 - beta, 0)])[t]


def _mixed(x, eps, square):
    return square.sqrt() * x + (1 - square).sqrt() * eps


def _last_beta(beta, t):
    return torch.where(t > 0, 1 - beta[(t - 1).clamp(min=0)], 1.0)


def _same_noise(x, eps, beta, t):
    """The same noise at each step."""
    rows = []
    for row, noise, steps in zip(x, eps, t.tolist(), strict=True):
        for b in beta[:steps]:
            row = (1 - b).sqrt() * row + b.sqrt() * noise
        rows.append(row)
    return torch.stack(rows)


def _last_columns(x, eps, beta, t):
    square = _squares(beta, t)  # meets the last dimension, not the first
    return square.sqrt() * x + (1 - square).sqrt() * eps


def _one_for_all(x, eps, beta, t):
    return jump(x, eps, beta, t[:1].expand(len(t)))


def _batch(g):
    n, steps = (int(torch.randint(1, high, (), generator=g)) for high in (6, 8))
    shape = (n, *torch.randint(1, 4, (int(torch.randint(1, 4, (), generator=g)),), generator=g).tolist())
    x, eps = (torch.randn(shape, generator=g).double() for _ in range(2))
    x[0] *= 20
    beta = 0.02 + 0.5 * torch.rand(steps, generator=g).double()
    return x, eps, beta, torch.randint(0, steps + 1, (n,), generator=g)


SQUARE = torch.tensor([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0], [2.0, 0.0, 8.0]]).double()

EXERCISE = Exercise(
    number="17.1",
    title="One jump for many steps",
    difficulty=1,
    minutes=10,
    task=r"""
One step of the forward chain is $x_t = \sqrt{1 - \beta_t}\, x_{t-1} + \sqrt{\beta_t}\, \varepsilon_t$, for steps
$t = 1, \dots, T$ with $0 < \beta_t < 1$ and independent standard normal noise. All steps from $x_0$ to $x_t$ together
are one jump, $x_t = \alpha_t x_0 + \sigma_t \varepsilon$ with $\alpha_t^2 + \sigma_t^2 = 1$. Write it: `x` and `eps`
have one shape, with one example in each row and any number of further dimensions; `beta[0]` is $\beta_1$; `t` holds a
whole number of steps, from 0 to $T$, for each example. Return the noised examples in the shape of `x`. After 0 steps
an example is as it was.""",
    inputs=_batch,
    solution=jump,
    explanation=r"""
Each step multiplies what is there by $\sqrt{1-\beta_t}$, so $\alpha_t^2$, often written $\bar\alpha_t$, is the product
of all $1 - \beta$ so far. Independent noises add in their variances: $\sigma_t^2 = (1-\beta_t)\,\sigma_{t-1}^2 +
\beta_t$, and $1 - \alpha_t^2$ solves that. So training may pick any $t$ at once, without walking there. The list of
products begins with 1 for "no step", or else step $t$ reads the entry of another.""",
    hints=(
        "What does a step do to the factor before x, and what to the variance of all noise so far?",
        "The square of alpha is the product of the first t factors 1 − β: `torch.cumprod`. What is it for t = 0?",
        "Put a 1 before the products, index them by t, and `view(-1, 1, …)` so that each row has its own number.",
    ),
    wrong=(
        Wrong(
            "an index too low",
            "The products are read at t − 1, which is right from step 1 on. For t = 0 that is the last entry: full noise.",
            _with(lambda beta, t: torch.cumprod(1 - beta, 0)[t - 1], _mixed),
        ),
        Wrong(
            "a step too many",
            "One step too many is taken: entry t of the products, counted from 0, belongs to t + 1 steps.",
            _with(lambda beta, t: torch.cumprod(1 - beta, 0)[t.clamp(max=len(beta) - 1)], _mixed),
        ),
        Wrong(
            "the last step alone",
            "Only the β of the last step is used. The noise of all steps before is in x as well.",
            _with(_last_beta, _mixed),
        ),
        Wrong(
            "variances simply added",
            "The noise's variance is the sum of the β. Later steps also shrink the noise that is there: multiply 1 − β.",
            _with(lambda beta, t: 1 - torch.nn.functional.pad(beta.cumsum(0), (1, 0))[t], _mixed),
        ),
        Wrong(
            "no root before x",
            "x is multiplied by α², the product itself. Its factor is the root.",
            _with(_squares, lambda x, eps, square: square * x + (1 - square).sqrt() * eps),
        ),
        Wrong(
            "no root before the noise",
            "The noise is multiplied by its variance. Its factor is the root, the standard deviation.",
            _with(_squares, lambda x, eps, square: square.sqrt() * x + (1 - square) * eps),
        ),
        Wrong(
            "alpha and sigma exchanged",
            "The factors of data and noise are exchanged: after 0 steps there is nothing but noise.",
            _with(_squares, lambda x, eps, square: (1 - square).sqrt() * x + square.sqrt() * eps),
        ),
        Wrong(
            "noise without shrinking",
            "Noise is added to x as it is. x must shrink by α, or its variance grows.",
            _with(_squares, lambda x, eps, square: x + (1 - square).sqrt() * eps),
        ),
        Wrong(
            "sigma as one less alpha",
            "σ is 1 − α here. The squares add up to 1, not the two themselves.",
            _with(_squares, lambda x, eps, square: square.sqrt() * x + (1 - square.sqrt()) * eps),
        ),
        Wrong(
            "the same noise at each step",
            "The same noise is used in every step, so it adds up in length. Independent noises add up in variance.",
            _same_noise,
        ),
        Wrong(
            "the steps along the last dimension",
            "The numbers of `t` meet the last dimension of x. Each belongs to an example, which is a row.",
            _last_columns,
        ),
        Wrong(
            "one step for all",
            "All examples get the steps of the first. Each has its own number in `t`.",
            _one_for_all,
        ),
    ),
    right=(_by_loops, _by_logs, _by_numpy, _by_masks),
    probes={
        "no step": lambda f: f(SQUARE, SQUARE.T, torch.tensor([0.5, 0.25]).double(), torch.zeros(3, dtype=torch.long)),
        "as many steps as there are dimensions, to each example its own": lambda f: f(
            SQUARE, SQUARE.T, torch.tensor([0.5, 0.25, 0.1]).double(), torch.tensor([3, 0, 1])
        ),
        "all of a thousand steps": lambda f: f(
            SQUARE[:1], SQUARE[1:2], torch.linspace(1e-4, 0.02, 1000).double(), torch.tensor([1000])
        ),
        "how much remains after all of a thousand steps, in millionths": lambda f: (
            f(SQUARE[2:], 0 * SQUARE[2:], torch.linspace(1e-4, 0.02, 1000).double(), torch.tensor([1000])) * 1e6
        ),
        "one example of shape (1, 2, 2), after the only step": lambda f: f(
            SQUARE[:2, :2].view(1, 1, 2, 2), SQUARE[1:, 1:].reshape(1, 1, 2, 2), SQUARE[1, :1], torch.tensor([1])
        ),
    },
    discussion=r"""
**For your own work.** Papers count from 0 or from 1, and write $\alpha_t$ for $1-\beta_t$, for the product, or for its
root. Before you use somebody's schedule, print $\alpha$ and $\sigma$ at both ends: data should be nearly untouched at
one, and gone at the other. Ho's linear schedule of 1,000 steps leaves a factor of 0.0064 before the data.""",
)
