"""Exercise 07.1: The water level."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def water_filling(eigenvalues, t):
    """Rates in nats and mean squared errors of all directions at the level t = βσ².

    (d,) -> (d,) and (d,).
    """
    return 0.5 * torch.log(eigenvalues / t).clamp(min=0), eigenvalues.clamp(max=t)


def _water_by_loops(eigenvalues, t):
    rates, errors = [], []
    for value in eigenvalues.tolist():
        alive = value > t
        rates.append(0.5 * math.log(value / t) if alive else 0.0)
        errors.append(float(t) if alive else value)
    return torch.tensor(rates), torch.tensor(errors)


def _water_by_numpy(eigenvalues, t):
    values = eigenvalues.numpy()
    return np.stack([0.5 * np.log(np.maximum(values, t) / t), np.minimum(values, t)])


def _water_by_masks(eigenvalues, t):
    alive = eigenvalues > t
    rates, errors = torch.zeros_like(eigenvalues), eigenvalues.clone()
    rates[alive], errors[alive] = torch.log(torch.sqrt(eigenvalues[alive] / t)), t
    return [rates, errors]


def _draw(g):
    t, d = 0.4 + torch.rand((), generator=g).item(), int(torch.randint(4, 12, (), generator=g))
    return t * (0.05 + 3 * torch.rand(d, generator=g)), t


EXERCISE = Exercise(
    number="07.1",
    title="The water level",
    difficulty=1,
    minutes=10,
    task=r"""
Write (7.4): from the eigenvalues of the data's covariance and the level $t = \beta\sigma^2$ compute the rate of each
direction, in nats, and its mean squared error: a pair, in this order, each of shape `(d,)`. The
eigenvalues are positive. A direction whose eigenvalue is below $t$ has rate 0 and loses all its
variance. Where the eigenvalue is $e^2 t$, the rate is exactly 1 nat. All directions that are alive have the same error.""",
    inputs=_draw,
    solution=water_filling,
    explanation=r"""
At the optimum the posterior variance is $t/\lambda$ and the KL averages to $\tfrac12 \log(\lambda/t)$. Below the level it
would be negative, which no KL is: the direction is given up, and its whole variance $\lambda$ is lost.""",
    hints=(
        "Two cases for each direction: its eigenvalue lies above the level or below it. What is the rate in each?",
        "A maximum with 0 and a minimum with $t$ do both cases at once.",
        "The rate is half the logarithm of `eigenvalues / t`, clamped at 0; the error is `eigenvalues.clamp(max=t)`.",
    ),
    wrong=(
        Wrong(
            "one half is missing",
            "The rates are twice too large: the one half is missing. It comes from the KL of a Gaussian.",
            lambda eigenvalues, t: (torch.log(eigenvalues / t).clamp(min=0), eigenvalues.clamp(max=t)),
        ),
        Wrong(
            "in bits",
            "These rates are in bits. Nats are wanted: the natural logarithm.",
            lambda eigenvalues, t: (0.5 * torch.log2(eigenvalues / t).clamp(min=0), eigenvalues.clamp(max=t)),
        ),
        Wrong(
            "negative rates",
            "Directions below the level get a negative rate. No KL is negative: they collapse, with rate 0.",
            lambda eigenvalues, t: (0.5 * torch.log(eigenvalues / t), eigenvalues.clamp(max=t)),
        ),
        Wrong(
            "what is told, not what is lost",
            "The second result is what is conveyed, λ − t. The error is what is lost: the smaller of λ and t.",
            lambda eigenvalues, t: (0.5 * torch.log(eigenvalues / t).clamp(min=0), (eigenvalues - t).clamp(min=0)),
        ),
        Wrong(
            "the channel's formula",
            "½ log(1 + λ/t) is the capacity of a noisy channel. The rate of a source is ½ log(λ/t), and 0 below the level.",
            lambda eigenvalues, t: (0.5 * torch.log(1 + eigenvalues / t), eigenvalues.clamp(max=t)),
        ),
    ),
    right=(_water_by_loops, _water_by_numpy, _water_by_masks),
    probes={
        "an eigenvalue of e² t": lambda f: f(torch.tensor([0.5 * math.e**2]), 0.5),
        "an eigenvalue below the level": lambda f: f(torch.tensor([0.25]), 0.5),
        "eigenvalues of a millionth of t, of t and of 1,000 t": lambda f: f(torch.tensor([2.5e-7, 0.25, 250.0]), 0.25),
    },
)
