"""Exercise 08.8: The right brake."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong, mistake


def decay_rate(gamma):
    """How fast the Dirac-GAN with R1 comes home: minus the largest real part of (8.22).

    Strengths (n,) -> (n,).
    """
    root = (gamma**2 / 4 - 0.25).clamp(min=0).sqrt()
    return gamma / 2 - root


def _rate_by_eigenvalues(gamma):
    rates = []
    for g in gamma.tolist():
        J = torch.tensor([[0.0, 0.5], [-0.5, -g]], dtype=torch.double)
        rates.append(-torch.linalg.eigvals(J).real.max())
    return torch.stack(rates)


def _rate_complex(gamma):
    root = torch.sqrt((gamma**2 / 4 - 0.25).to(torch.cdouble)).real
    return torch.minimum(gamma / 2 - root, gamma / 2 + root)


def _rate_by_roots(gamma):
    return [-np.roots([1, g, 0.25]).real.max() for g in gamma.tolist()]


def _rate_by_cases(gamma):
    gamma = gamma.numpy()
    return np.where(gamma <= 1, gamma / 2, 0.5 / (gamma + np.sqrt(np.maximum(gamma**2 - 1, 0))))


def _strengths(g):
    n = int(torch.randint(1, 9, (), generator=g))
    return (4 * torch.rand(n, generator=g),)


@mistake(
    "NaN below 1",
    "Right beyond γ = 1. Below, the number under the root is negative: the root is imaginary and its real part 0.",
)
def _rate_nan(gamma):
    return gamma / 2 - (gamma**2 / 4 - 0.25).sqrt()


@mistake(
    "the faster part",
    "This is the faster of the two. What is left after some time is the part that decays slowest.",
)
def _rate_fast(gamma):
    return gamma / 2 + (gamma**2 / 4 - 0.25).clamp(min=0).sqrt()


@mistake(
    "the size of the root",
    "Below γ = 1 the root is imaginary: it turns the players round, and must not be subtracted from the rate.",
)
def _rate_abs(gamma):
    return gamma / 2 - (gamma**2 / 4 - 0.25).abs().sqrt()


@mistake(
    "1 in place of one quarter",
    "The constant under the root is (½)² = ¼, from the slopes ±½ in the Jacobian. So the critical γ is 1, not 2.",
)
def _rate_ordinary(gamma):
    return gamma / 2 - (gamma**2 / 4 - 1).clamp(min=0).sqrt()


EXERCISE = Exercise(
    number="08.8",
    title="The right brake",
    difficulty=2,
    minutes=12,
    task=r"""
With R1 of strength $\gamma$ a small distance from the equilibrium of the Dirac-GAN shrinks like $e^{-rt}$, where $-r$ is
the largest real part of the eigenvalues (8.22): the slowest part decides. Write $r$, a real number for each of the
strengths $0 \le \gamma \le 100$ in a tensor. For $\gamma \le 1$ the square root is imaginary and adds nothing to the
real part. $r$ is 0 at $\gamma = 0$, ½ at $\gamma = 1$, and falls beyond.""",
    inputs=_strengths,
    solution=decay_rate,
    explanation=r"""
For $\gamma \le 1$ both eigenvalues have the real part $-\gamma/2$. For $\gamma > 1$ both are real and the one nearer to
0 is $-\gamma/2 + \sqrt{\gamma^2/4 - 1/4}$. Clamping what is under the root at 0 joins the cases. For large $\gamma$ the
rate is about $1/(4\gamma)$: the product of the eigenvalues is always ¼, so when one grows the other shrinks.""",
    hints=(
        "What is the real part of both eigenvalues when the number under the root is negative?",
        "Beyond $\\gamma = 1$ there are two real eigenvalues. Which is larger, the one with plus or with minus?",
        "Take `gamma / 2` minus the root of `(gamma**2 / 4 - 0.25).clamp(min=0)`.",
    ),
    wrong=(
        _rate_nan,
        _rate_fast,
        Wrong(
            "no second case",
            "Right up to γ = 1. Beyond, the eigenvalues are real, and one of them goes back towards 0.",
            lambda gamma: gamma / 2,
        ),
        Wrong(
            "the sign",
            "This is the real part itself, which is negative. The rate is minus that.",
            lambda gamma: -decay_rate(gamma),
        ),
        _rate_abs,
        _rate_ordinary,
    ),
    right=(_rate_by_eigenvalues, _rate_complex, _rate_by_roots, _rate_by_cases),
    probes={
        "the rate without a penalty, γ = 0": lambda f: f(torch.zeros(2)),
        "the rates at γ = 0.5 and at γ = 1": lambda f: f(torch.tensor([0.5, 1.0])),
        "the rate at γ = 10": lambda f: f(torch.tensor([10.0])),
        "rates on both sides of γ = 1": lambda f: f(torch.tensor([0.2, 2.0, 0.9, 1.3, 30.0])),
    },
)
