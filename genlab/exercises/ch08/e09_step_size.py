"""Exercise 08.9: How large a step?"""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def largest_step(alpha, beta):
    """The h up to which I + hJ shrinks everything, for eigenvalues −α ± iβ of J.

    (n,), (n,) -> a number.
    """
    if (alpha <= 0).any():
        return torch.zeros(())
    return (2 / (alpha + beta * (beta / alpha))).min()


def _largest_by_search(alpha, beta):
    low, high = 0.0, 1000.0
    for _ in range(60):
        h = (low + high) / 2
        if ((1 - h * alpha.double()) ** 2 + (h * beta.double()) ** 2).max() < 1:
            low = h
        else:
            high = h
    return low


def _largest_by_loop(alpha, beta):
    pairs = list(zip(alpha.tolist(), beta.tolist(), strict=True))
    return min(2 * a / abs(complex(a, b)) ** 2 if a > 0 else 0 for a, b in pairs)


def _largest_by_numpy(alpha, beta):
    alpha, beta = alpha.numpy(), beta.numpy()
    return 0 if alpha.min() <= 0 else 2 * np.min(alpha / (alpha**2 + beta**2))


def _step_inputs(g):
    n = int(torch.randint(1, 7, (), generator=g))
    return 0.1 + torch.rand(n, generator=g), 2 * torch.randn(n, generator=g)


def _named(name, message, step, untested):
    """A mistake in the formula: where the α are tested first, and where they are not."""
    tested = Wrong(name, message, lambda a, b: 0 if (a <= 0).any() else step(a, b))
    return tested, Wrong(f"{name}, α untested", f"{message} {untested}", lambda a, b: step(a, b).clamp(min=0))


_NAN = "And where α = β = 0 it is NaN: test for α ≤ 0 first."


EXERCISE = Exercise(
    number="08.9",
    title="How large a step?",
    difficulty=3,
    minutes=60,
    task=r"""
Near an equilibrium, simultaneous steps multiply the error by $I + hJ$, whose eigenvalues are $1 + h\lambda$ with
$\lambda = -\alpha \pm i\beta$. Find the largest $h$ below which all of them are smaller than 1 in size, one number,
from tensors of $\alpha$ and $\beta$. If some $\alpha$ is 0 or less, no step is small enough: return 0, also for
$\alpha = \beta = 0$. For $\lambda = -1$ it is 2. A rotation makes it smaller, by a lot: at $\lambda = -0.1 \pm i$ it is
0.198.

Then use what you know. Play the ring game of this chapter with `watch_game(seed=…)` for three seeds or more, and once
more with *one* change: a learning rate three times as large, R1 of strength 0.1, 1 or 10, instance noise, or the
saturating loss, `objective="minimax"`. Count covered modes at the end and over time. Write down before you look what
you expect.""",
    inputs=_step_inputs,
    solution=largest_step,
    explanation=r"""
$|1 + h\lambda|^2 = (1 - h\alpha)^2 + h^2\beta^2 = 1 - 2h\alpha + h^2(\alpha^2 + \beta^2)$, which is below 1 for
$0 < h < 2\alpha/(\alpha^2+\beta^2)$. The smallest of these limits counts. Without rotation it is the familiar
$2/\alpha$; with a strong one, about $2\alpha/\beta^2$. That is why games want smaller steps than losses do. The
quotient is 0/0 for $\alpha = \beta = 0$, so $\alpha$ is tested first. Divided by $\alpha$, it has no squares that are
too small for float32.""",
    hints=(
        "Work out $|1 + h\\lambda|^2$: the square of the real part, plus the square of the imaginary part.",
        "It is $1 - 2h\\alpha + h^2(\\alpha^2 + \\beta^2)$. For which $h$ is it below 1? All eigenvalues must agree.",
        "Return 0 if `(alpha <= 0).any()`, else the minimum of `2 * alpha / (alpha**2 + beta**2)`.",
    ),
    wrong=(
        *_named(
            "the rotation is left out",
            "Only the real part is used. The imaginary part makes 1 + hλ larger, and the step has to be smaller.",
            lambda alpha, beta: (2 / alpha).min(),
            "And where α = 0 it is infinite: test for α ≤ 0 first.",
        ),
        *_named(
            "the most patient eigenvalue",
            "This is the largest of the limits. All eigenvalues must shrink, so the smallest counts.",
            lambda alpha, beta: (2 * alpha / (alpha**2 + beta**2)).max(),
            _NAN,
        ),
        *_named(
            "the square is missing",
            "The size of λ has to be squared: h² |λ|² stands against 2hα.",
            lambda alpha, beta: (2 * alpha / torch.hypot(alpha, beta)).min(),
            _NAN,
        ),
        *_named(
            "the 2 is missing",
            "This is half of it: the step at which the error shrinks fastest, not the largest that is stable.",
            lambda alpha, beta: (alpha / (alpha**2 + beta**2)).min(),
            _NAN,
        ),
        *_named(
            "β subtracted",
            "The square of iβ is −β², but the size of a complex number is the root of α² plus β².",
            lambda alpha, beta: (2 * alpha / (alpha**2 - beta**2)).min(),
            _NAN,
        ),
        Wrong(
            "negative steps",
            "Right for a stable equilibrium. Where some α is negative no positive step is stable: return 0.",
            lambda alpha, beta: (2 * alpha / (alpha**2 + beta**2)).min(),
        ),
        Wrong(
            "0/0 is NaN",
            "Right but for α = β = 0, where 0/0 is NaN. No step is small enough there: test for α ≤ 0 first.",
            lambda alpha, beta: (2 * alpha / (alpha**2 + beta**2)).min().clamp(min=0),
        ),
    ),
    right=(_largest_by_search, _largest_by_loop, _largest_by_numpy),
    probes={
        "the step for the single eigenvalue −1": lambda f: f(torch.ones(1), torch.zeros(1)),
        "the step for −0.1 ± i": lambda f: f(torch.tensor([0.1]), torch.ones(1)),
        "the step for the single eigenvalue −0.004": lambda f: f(torch.tensor([0.004]), torch.zeros(1)),
        "the step for six eigenvalues, the last of which turns fast": lambda f: f(
            torch.tensor([0.5, 1.0, 2.0, 0.4, 3.0, 1.5]), torch.tensor([0.0, -1.0, 0.5, 0.0, 0.0, -9.0])
        ),
        "the step for a pure rotation": lambda f: f(torch.zeros(1), torch.tensor([0.5])),
        "the step when one eigenvalue is 0": lambda f: f(torch.tensor([1.0, 0.0, 2.0]), torch.tensor([1.0, 0.0, 0.0])),
        "the step when one eigenvalue pushes outwards": lambda f: f(
            torch.tensor([1.0, -0.2]), torch.tensor([0.0, 1.0])
        ),
    },
    discussion=r"""
**For the open part.** Report for every run the number of covered modes at the end, the share of samples on a mode, and
the number of steps at which fewer modes were covered than shortly before; and give all seeds, not the best. A run that
covers eight modes at the end may have lost and found them many times: say when you looked. With three seeds only large
differences mean anything. The saturating loss may do better than its reputation here: (8.6) speaks of a $D$ at its best
and of samples far away, and in this game neither lasts long.""",
)
