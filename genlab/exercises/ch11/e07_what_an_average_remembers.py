"""Exercise 11.7: What an average remembers."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import torch

from genlab.exercises import Exercise, Wrong, mistake


def ema_shares(steps, decay):
    """The share of each of the weights θ_0, θ_1, …, θ_steps in the warmed-up average after `steps` steps."""
    shares = torch.zeros(steps + 1)
    shares[0] = 1.0
    for t in range(1, steps + 1):
        d = min(decay, (1 + t) / (10 + t))
        shares *= d  # all that was there before
        shares[t] = 1 - d
    return shares


def _shares_by_products(steps, decay):
    d = [min(decay, (1 + t) / (10 + t)) for t in range(1, steps + 1)]
    kept = [math.prod(d[t:]) for t in range(steps + 1)]  # from step t + 1 on
    return torch.tensor([kept[0]] + [(1 - d[t - 1]) * kept[t] for t in range(1, steps + 1)])


@mistake(
    "no warm-up",
    "The decay is constant here. With the warm-up it starts small: min(decay, (1 + t)/(10 + t)).",
)
def _shares_constant(steps, decay):
    return torch.tensor([decay**steps] + [(1 - decay) * decay ** (steps - t) for t in range(1, steps + 1)])


@mistake(
    "the start forgotten",
    "The start has no share here, and the shares do not add up to 1. The average begins as a copy of θ₀.",
)
def _shares_from_zero(steps, decay):
    shares = ema_shares(steps, decay)
    shares[0] = 0.0
    return shares


@mistake(
    "the new weights shrink at once",
    "The new weights' share is multiplied by d in the step in which they come in. Shrink first, then add.",
)
def _shares_own(steps, decay):
    shares = torch.zeros(steps + 1)
    shares[0] = 1.0
    for t in range(1, steps + 1):
        d = min(decay, (1 + t) / (10 + t))
        shares[t] = 1 - d
        shares *= d
    return shares


@mistake(
    "max in place of min",
    "The larger of the two decays is taken. The warm-up makes the decay smaller at first: take the minimum.",
)
def _shares_max(steps, decay):
    shares = torch.zeros(steps + 1)
    shares[0] = 1.0
    for t in range(1, steps + 1):
        d = max(decay, (1 + t) / (10 + t))
        shares *= d
        shares[t] = 1 - d
    return shares


EXERCISE = Exercise(
    number="11.7",
    title="What an average remembers",
    difficulty=3,
    minutes=15,
    task=r"""
The averaged weights begin as $\bar\theta = \theta_0$. At step $t = 1, 2, \dots$ they become
$\bar\theta \leftarrow d_t \bar\theta + (1 - d_t)\,\theta_t$ with $d_t = \min\big(\text{decay}, \frac{1+t}{10+t}\big)$, as in
chapter 09. After `steps` steps $\bar\theta$ is a mixture of $\theta_0, \dots, \theta_{\text{steps}}$. Return its `steps + 1`
shares. They add up to 1. What is the share of the random start after 100 steps at a decay of 0.999, and what would it be
without the warm-up?""",
    inputs=lambda g: (int(torch.randint(3, 12, (), generator=g)), 0.4),
    solution=ema_shares,
    explanation=r"""
Every step multiplies all older shares by $d_t$ and gives $1 - d_t$ to the new weights. So the share of $\theta_t$ is
$(1 - d_t)\,d_{t+1} \cdots d_{\text{steps}}$, and that of the start is $d_1 \cdots d_{\text{steps}}$. Without a warm-up the
start would keep $0.999^{100} \approx 90\,\%$: the average would be noise. With it the share is about $10^{-10}$, and the
average reaches back over about a ninth of the run.""",
    hints=(
        "What happens to the shares of all older weights when a new one comes in?",
        "Begin with the share 1 for θ₀. At each step multiply all shares by d, and give 1 − d to the new weights.",
        "A loop over t = 1 … steps: `shares *= d`, then `shares[t] = 1 - d`, with d = min(decay, (1 + t)/(10 + t)).",
    ),
    wrong=(
        _shares_constant,
        _shares_from_zero,
        _shares_own,
        _shares_max,
        Wrong(
            "latest first",
            "The order is turned round: the first share belongs to the start θ₀, the last to the latest weights.",
            lambda steps, decay: ema_shares(steps, decay).flip(0),
        ),
        Wrong(
            "equal shares",
            "These are equal shares. An exponential average gives recent weights more.",
            lambda steps, decay: torch.full((steps + 1,), 1 / (steps + 1)),
        ),
    ),
    right=(_shares_by_products,),
    probes={
        "the shares before any step": lambda f: f(0, 0.9),
        "the shares after one step": lambda f: f(1, 0.999),
        "the shares after 40 steps": lambda f: f(40, 0.7),
        "the share of the start after 100 steps, times 10 billion": lambda f: float(f(100, 0.999)[0]) * 1e10,
    },
)
