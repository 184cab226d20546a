"""Exercise 12.4: Truncated, not clamped."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math
import statistics

import torch
from scipy import stats

from genlab.exercises import Exercise, Wrong, mistake


def truncated_normal(u, psi):
    """Standard normal numbers cut off at ±psi, from uniform u in (0, 1).

    Any shape, a number -> the same shape.
    """
    normal = torch.distributions.Normal(0.0, 1.0)
    low, high = normal.cdf(torch.tensor([-psi, psi], dtype=u.dtype))
    return normal.icdf(low + u * (high - low))


def _truncated_by_scipy(u, psi):
    return stats.truncnorm.ppf(u.numpy(), -psi, psi)


def _truncated_by_loop(u, psi):
    normal = statistics.NormalDist()
    low, high = normal.cdf(-psi), normal.cdf(psi)
    numbers = [normal.inv_cdf(low + v * (high - low)) for v in u.flatten().tolist()]
    return torch.tensor(numbers).reshape(u.shape)


def _truncated_by_erf(u, psi):
    reach = math.erf(psi / math.sqrt(2))
    return math.sqrt(2) * torch.erfinv((2 * u - 1) * reach)


@mistake(
    "clamped",
    (
        "This clamps: all that lay outside sits on the two ends now. A truncated normal has no such heaps; it stretches "
        "u onto the allowed probabilities."
    ),
)
def _clamped(u, psi):
    return torch.distributions.Normal(0.0, 1.0).icdf(u).clamp(-psi, psi)


@mistake(
    "scaled",
    "This multiplies by psi. The result is a narrower or wider normal, which still goes beyond psi.",
)
def _scaled(u, psi):
    return psi * torch.distributions.Normal(0.0, 1.0).icdf(u)


@mistake(
    "cut on one side",
    "This cuts off above psi only. Numbers below −psi still come: the interval must start at Φ(−psi).",
)
def _one_sided(u, psi):
    normal = torch.distributions.Normal(0.0, 1.0)
    return normal.icdf(u * normal.cdf(torch.tensor(psi, dtype=u.dtype)))


@mistake(
    "the positive half",
    "This gives positive numbers only: the interval starts at ½ in place of Φ(−psi).",
)
def _half(u, psi):
    normal = torch.distributions.Normal(0.0, 1.0)
    low, high = 0.5, normal.cdf(torch.tensor(psi, dtype=u.dtype))
    return normal.icdf(low + u * (high - low))


def _truncated_inputs(g):
    shape = ((4, 3), (5,), (2, 1, 3), (2, 6))[int(torch.randint(4, (), generator=g))]
    return 0.02 + 0.96 * torch.rand(shape, generator=g), 0.3 + 2 * torch.rand((), generator=g).item()


EXERCISE = Exercise(
    number="12.4",
    title="Truncated, not clamped",
    difficulty=2,
    minutes=12,
    task=r"""
Write (12.11): turn uniform numbers `u` into normal numbers cut off at $\pm\psi$, without drawing anything again. At
$u = \tfrac12$ it gives 0; as $u$ goes to 0 or 1 it reaches $-\psi$ or $\psi$; it rises strictly in between; for large
$\psi$ it is $\Phi^{-1}(u)$. No single value comes up with positive probability. `u` may have any shape, and the result
has the same.""",
    inputs=_truncated_inputs,
    solution=truncated_normal,
    explanation=r"""
$\Phi(\psi) - \Phi(-\psi)$ is the probability that a normal number lies inside. If $u$ is uniform on $(0, 1)$, then
$\Phi(-\psi) + u\,(\Phi(\psi) - \Phi(-\psi))$ is uniform on the probabilities of the inside, and $\Phi^{-1}$ turns them
into numbers with the right density (inverse-transform sampling, chapter 02). Clamping leaves the inside as it was and
piles the rest on the two ends: at $\psi = 1$ that is a third of all numbers. Scaling keeps the bell and cuts nothing.""",
    hints=(
        "Inverse-transform sampling: which interval of probabilities do the allowed values have?",
        "The allowed values lie between $\\Phi(-\\psi)$ and $\\Phi(\\psi)$. Stretch `u` onto that interval.",
        "With `normal = torch.distributions.Normal(0.0, 1.0)`, use `normal.cdf` at −psi and psi, then `normal.icdf`.",
    ),
    wrong=(
        _clamped,
        _scaled,
        _one_sided,
        _half,
        Wrong(
            "uniform between the ends",
            "This is uniform between −psi and psi. Inside, the density must still be a bell: use Φ and its inverse.",
            lambda u, psi: psi * (2 * u - 1),
        ),
        Wrong(
            "the inverse left out",
            "These are probabilities, between 0 and 1. The inverse distribution function turns them into numbers.",
            lambda u, psi: (
                torch.distributions.Normal(0.0, 1.0).cdf(torch.tensor(-psi, dtype=u.dtype))
                + u * (2 * torch.distributions.Normal(0.0, 1.0).cdf(torch.tensor(psi, dtype=u.dtype)) - 1)
            ),
        ),
    ),
    right=(_truncated_by_erf, _truncated_by_scipy, _truncated_by_loop),
    probes={
        "numbers beyond ±1, psi = 2": lambda f: f(torch.tensor([0.05, 0.5, 0.5, 0.95]), 2.0),
        "near the ends, u = 0.001 and 0.999": lambda f: f(torch.tensor([0.001, 0.5, 0.999]), 0.7),
        "a row of three": lambda f: f(torch.tensor([[0.3, 0.5, 0.9]]), 1.0),
        "one number alone": lambda f: f(torch.tensor(0.3), 1.5),
        "a large threshold, psi = 10": lambda f: f(torch.tensor([0.1, 0.5, 0.8]), 10.0),
    },
)
