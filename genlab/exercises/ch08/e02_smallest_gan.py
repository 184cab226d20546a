"""Exercise 08.2: A step of the smallest GAN."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong, mistake


def dirac_step(theta, psi, h):
    """One step of (8.19) in turn, D first: the new θ and the new ψ.

    For n games at once: (n,), (n,).
    """
    psi = psi - h * torch.sigmoid(psi * theta) * theta
    theta = theta + h * torch.sigmoid(psi * theta) * psi
    return theta, psi


def _dirac_by_autograd(theta, psi, h):
    theta, psi = theta.detach(), psi.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(-F.softplus(psi * theta).sum(), psi)
    psi = psi.detach() + h * slope
    theta = theta.requires_grad_(True)
    (slope,) = torch.autograd.grad(-F.softplus(psi * theta).sum(), theta)
    return theta.detach() - h * slope, psi


def _dirac_by_loop(theta, psi, h):
    theta, psi = theta.tolist(), psi.tolist()
    for i in range(len(theta)):
        psi[i] -= h * theta[i] / (1 + math.exp(-psi[i] * theta[i]))
        theta[i] += h * psi[i] / (1 + math.exp(-psi[i] * theta[i]))
    return theta, psi


def _dirac_by_numpy(theta, psi, h):
    theta, psi = theta.double().numpy(), psi.double().numpy()
    psi = psi - h * theta * (1 + np.tanh(psi * theta / 2)) / 2
    return np.stack([theta + h * psi * (1 + np.tanh(psi * theta / 2)) / 2, psi])


@mistake(
    "G moves first",
    "Here G moves first. Asked was D first, then G.",
)
def _dirac_g_first(theta, psi, h):
    theta = theta + h * torch.sigmoid(psi * theta) * psi
    return theta, psi - h * torch.sigmoid(psi * theta) * theta


@mistake(
    "the old sigmoid",
    "G uses the new ψ as a factor, but the old ψ inside the sigmoid. Compute sigmoid(ψθ) again.",
)
def _dirac_half_new(theta, psi, h):
    s = torch.sigmoid(psi * theta)
    psi = psi - h * s * theta
    return theta + h * s * psi, psi


@mistake(
    "the non-saturating move",
    "G moves with sigmoid(−ψθ) in place of sigmoid(ψθ): that is the non-saturating loss. In (8.19) G descends V "
    "itself.",
)
def _dirac_non_saturating(theta, psi, h):
    psi = psi - h * torch.sigmoid(psi * theta) * theta
    return theta + h * torch.sigmoid(-psi * theta) * psi, psi


@mistake(
    "both signs",
    "Both signs are wrong: D would learn to call generated numbers real, and G to be found out.",
)
def _dirac_signs(theta, psi, h):
    psi = psi + h * torch.sigmoid(psi * theta) * theta
    return theta - h * torch.sigmoid(psi * theta) * psi, psi


@mistake(
    "G moves the wrong way",
    "D's move is right, but G moves against its gradient: it should follow ψ, towards what D calls real.",
)
def _dirac_same_side(theta, psi, h):
    psi = psi - h * torch.sigmoid(psi * theta) * theta
    return theta - h * torch.sigmoid(psi * theta) * psi, psi


@mistake(
    "the sigmoid is forgotten",
    "Without the sigmoid this is the game xy of (8.17), with twice the speed near the equilibrium.",
)
def _dirac_pennies(theta, psi, h):
    psi = psi - h * theta
    return theta + h * psi, psi


def _games(g):
    n = (1, 3, 4, 5, 6)[int(torch.randint(5, (), generator=g))]  # not 2: then a stack of pairs has two readings
    return *(2 * torch.randn(2, n, generator=g)), 0.2 + float(2 * torch.rand((), generator=g))


EXERCISE = Exercise(
    number="08.2",
    title="A step of the smallest GAN",
    difficulty=1,
    minutes=8,
    task=r"""
Write one step of the Dirac-GAN with step size $h$, the players moving in turn: first $D$ moves $\psi$, then $G$ moves
$\theta$ and sees the new $\psi$. The arguments `theta` and `psi` hold $n$ independent games, and keep their values:
return the new $\theta$ first, then the new $\psi$. The equilibrium stays where it is. From $\theta = 1$, $\psi = 0$ a
step with $h = 2$ leads to $\psi = -1$ first: $D$ learns to call positive numbers generated.""",
    inputs=_games,
    solution=dirac_step,
    explanation=r"""
Both lines are (8.19), and each is evaluated where the game stands at that moment. In the second line both the factor
$\psi$ and the $\psi$ inside the sigmoid are new. To use the old ones in both would be a simultaneous step, which spirals
outwards at every step size.""",
    hints=(
        "Write the move of D first, and store its result under the same name.",
        (
            "D ascends: $\\psi$ gains $h$ times $-\\operatorname{sigmoid}(\\psi\\theta)\\,\\theta$. "
            "Then compute $\\operatorname{sigmoid}(\\psi\\theta)$ anew."
        ),
        "The last line adds `h * torch.sigmoid(psi * theta) * psi` to `theta`, with the new `psi` in both places.",
    ),
    wrong=(
        Wrong(
            "both at once",
            "This is the simultaneous step: G answers the old ψ. Here G has to see D's move.",
            lambda t, s, h: (t + h * torch.sigmoid(s * t) * s, s - h * torch.sigmoid(s * t) * t),
        ),
        _dirac_g_first,
        _dirac_half_new,
        _dirac_non_saturating,
        _dirac_signs,
        _dirac_same_side,
        _dirac_pennies,
        Wrong(
            "the order of the results",
            "The step is right, but the two results are swapped: first θ, then ψ.",
            lambda theta, psi, h: dirac_step(theta, psi, h)[::-1],
        ),
    ),
    right=(_dirac_by_autograd, _dirac_by_loop, _dirac_by_numpy),
    probes={
        "a step from the equilibrium": lambda f: f(torch.zeros(3), torch.zeros(3), 0.5),
        "a step of size 2 from θ = 1, ψ = 0": lambda f: f(torch.ones(1), torch.zeros(1), 2.0),
        "a step of size 0": lambda f: f(torch.ones(3), torch.tensor([0.5, -2.0, 3.0]), 0.0),
    },
)
