"""Exercise 06.2: The sigma behind a weight."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def sigma_of_weight(c):
    """The σ for which c · ‖x − x̂‖² + KL is minus an ELBO with β = 1."""
    return math.sqrt(1 / (2 * c))


EXERCISE = Exercise(
    number="06.2",
    title="The sigma behind a weight",
    difficulty=1,
    minutes=5,
    task=r"""
A program minimises `c` times the *sum* of squared errors plus the KL, both as they are, per image. Write the $\sigma$
for which that is minus an ELBO with $\beta = 1$. For $c = \tfrac12$ it is 1.""",
    inputs=lambda g: (10 ** (4 * torch.rand((), generator=g).item() - 2),),
    solution=sigma_of_weight,
    explanation=r"""
Compare with (6.3): the Gaussian has $\frac{1}{2\sigma^2}$ before the square. So $c = \frac{1}{2\sigma^2}$, and
$\sigma = 1/\sqrt{2c}$. The larger the weight of the error, the smaller the $\sigma$ that it claims.""",
    hints=(
        "Which factor stands before the squared error in the log density of a Gaussian?",
        "Set $c = 1/(2\\sigma^2)$ and solve.",
        "`math.sqrt(1 / (2 * c))`.",
    ),
    wrong=(
        Wrong("the variance", "This is σ², the variance. Its root was asked for.", lambda c: 1 / (2 * c)),
        Wrong(
            "without the 2",
            "The 2 is missing: the Gaussian has 1/(2σ²) before the square, not 1/σ².",
            lambda c: math.sqrt(1 / c),
        ),
        Wrong(
            "upside down",
            "This is the inverse. A large weight on the error means a small σ.",
            lambda c: math.sqrt(2 * c),
        ),
    ),
    right=(
        lambda c: (2 * c) ** -0.5,
        lambda c: np.sqrt(0.5 / c),
        lambda c: torch.rsqrt(torch.tensor(2.0 * c)),
        lambda c: math.exp(-0.5 * math.log(2 * c)),
    ),
    probes={
        "the weight one half": lambda f: f(0.5),
        "a very small weight, 0.0001": lambda f: f(1e-4),
        "a very large weight, 5,000": lambda f: f(5e3),
    },
)
