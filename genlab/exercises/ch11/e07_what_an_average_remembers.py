"""Exercise 11.7: What an average remembers."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import torch

from genlab.exercises import Exercise, Wrong, mistake


def ema_shares(steps, decay):
    """The shares of θ_0, θ_1, …, θ_steps in the warmed-up average after `steps` steps.

    steps, decay -> steps + 1 numbers.
    """
    shares = torch.zeros(steps + 1)
    shares[0] = 1.0
    for t in range(1, steps + 1):
        d = min(decay, (1 + t) / (10 + t))
        shares *= d  # all that was there before
        shares[t] = 1 - d
    return shares


def _decay(t, decay):
    return min(decay, (1 + t) / (10 + t))


def _shares_by_products(steps, decay):
    d = [_decay(t, decay) for t in range(1, steps + 1)]
    kept = [math.prod(d[t:]) for t in range(steps + 1)]  # from step t + 1 on
    return torch.tensor([kept[0]] + [(1 - d[t - 1]) * kept[t] for t in range(1, steps + 1)])


def _shares_by_lists(steps, decay):
    shares = [1.0]
    for t in range(1, steps + 1):
        shares = [_decay(t, decay) * v for v in shares] + [1 - _decay(t, decay)]
    return shares


def _shares_by_autograd(steps, decay):
    weights = torch.zeros(steps + 1, dtype=torch.float64, requires_grad=True)
    average = weights[0]
    for t in range(1, steps + 1):
        average = _decay(t, decay) * average + (1 - _decay(t, decay)) * weights[t]
    return torch.autograd.grad(average, weights)[0].numpy()


def _shares(decay_at, start=1.0):
    """Shares with another decay, or another share of the start."""

    def shares(steps, decay):
        found = torch.zeros(steps + 1)
        found[0] = start
        for t in range(1, steps + 1):
            found *= decay_at(t, decay)
            found[t] = 1 - decay_at(t, decay)
        return found

    return shares


@mistake(
    "the new weights shrink at once",
    "The new weights' share is multiplied by d in the step in which they come in. Shrink first, then add.",
)
def _shares_own(steps, decay):
    shares = torch.zeros(steps + 1)
    shares[0] = 1.0
    for t in range(1, steps + 1):
        shares[t] = 1 - _decay(t, decay)
        shares *= _decay(t, decay)
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
shares, that of $\theta_0$ first, as a tensor, an array or a list. They add up to 1. What is the share of the random start
after 100 steps at a decay of 0.999, and what would it be without the warm-up?""",
    inputs=lambda g: (int(torch.randint(3, 12, (), generator=g)), 0.25 + 0.25 * float(torch.rand((), generator=g))),
    solution=ema_shares,
    explanation=r"""
Every step multiplies all older shares by $d_t$ and gives $1 - d_t$ to the new weights. So the share of $\theta_t$ is
$(1 - d_t)\,d_{t+1} \cdots d_{\text{steps}}$, and that of the start is $d_1 \cdots d_{\text{steps}}$. Without a warm-up the
start would keep $0.999^{100} \approx 90\,\%$: the average would be noise. With it the share is
$10!\,101!/110! = 2.2 \cdot 10^{-12}$, and two thirds of the average come from the last ninth of the run.""",
    hints=(
        "What happens to the shares of all older weights when a new one comes in?",
        "Begin with the share 1 for θ₀. At each step multiply all shares by d, and give 1 − d to the new weights.",
        "A loop over t = 1 … steps: `shares *= d`, then `shares[t] = 1 - d`, with d = min(decay, (1 + t)/(10 + t)).",
    ),
    wrong=(
        Wrong(
            "no warm-up",
            "The decay is constant here. With the warm-up it starts small: min(decay, (1 + t)/(10 + t)).",
            _shares(lambda t, decay: decay),
        ),
        Wrong(
            "nothing but warm-up",
            "The given decay has no effect here. The decay of a step is the smaller of it and (1 + t)/(10 + t).",
            _shares(lambda t, decay: (1 + t) / (10 + t)),
        ),
        Wrong(
            "steps counted from 0",
            "The warm-up is one step behind: d₁ = 2/11 belongs to the first step, which has t = 1.",
            _shares(lambda t, decay: _decay(t - 1, decay)),
        ),
        Wrong(
            "the start forgotten",
            "The start has no share here, and the shares do not add up to 1. The average begins as a copy of θ₀.",
            _shares(_decay, start=0.0),
        ),
        _shares_own,
        Wrong(
            "d and 1 − d exchanged",
            "d stands at the new weights and 1 − d at the average. The average keeps the share d.",
            _shares(lambda t, decay: 1 - _decay(t, decay)),
        ),
        Wrong(
            "max in place of min",
            "The larger of the two decays is taken. The warm-up makes the decay smaller at first: take the minimum.",
            _shares(lambda t, decay: max(decay, (1 + t) / (10 + t))),
        ),
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
    right=(_shares_by_products, _shares_by_lists, _shares_by_autograd),
    probes={
        "the shares before any step": lambda f: f(0, 0.9),
        "the shares after one step": lambda f: f(1, 0.999),
        "the shares after 40 steps": lambda f: f(40, 0.7),
        "the share of the start after 100 steps, times a million million": lambda f: f(100, 0.999)[:1] * 1e12,
    },
)
