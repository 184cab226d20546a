"""Exercise 19.6: Where the clip lets go."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def clipped_loss(log_prob, old, advantage, low, high):
    """PPO's loss of each example, and the share of examples that cannot move π.

    log π, log π_old, advantages (n,), ratios kept from 1 - low to 1 + high.
    """
    ratio = (log_prob - old).exp()
    bounded = ratio.clamp(1 - low, 1 + high)
    loss = -torch.minimum(ratio * advantage, bounded * advantage)
    gone = torch.where(advantage > 0, ratio > 1 + high, ratio < 1 - low)
    return loss, (gone | (advantage == 0)).double().mean()


def _by_autograd(log_prob, old, advantage, low, high):
    free = log_prob.detach().clone().requires_grad_()
    ratio = torch.exp(free - old)
    loss = torch.max(-advantage * ratio, -advantage * ratio.clip(1 - low, 1 + high))
    (slope,) = torch.autograd.grad(loss.sum(), free)
    return loss.detach(), (slope == 0).float().mean()


def _by_numpy(log_prob, old, advantage, low, high):
    ratio, a = np.exp(log_prob.numpy() - old.numpy()), advantage.numpy()
    bound = np.where(a > 0, np.minimum(ratio, 1 + high), np.maximum(ratio, 1 - low))
    return -a * bound, np.mean((a == 0) | (bound != ratio))


def _by_lists(log_prob, old, advantage, low, high):
    losses, still = [], 0
    for new, before, a in zip(log_prob.tolist(), old.tolist(), advantage.tolist(), strict=True):
        ratio = math.exp(new - before)
        if a > 0 and ratio > 1 + high:
            ratio, still = 1 + high, still + 1
        elif a < 0 and ratio < 1 - low:
            ratio, still = 1 - low, still + 1
        elif a == 0:
            still += 1
        losses.append(-ratio * a)
    return torch.tensor(losses), still / len(losses)


def _by_logs(log_prob, old, advantage, low, high):
    # bounds on the difference of the logarithms are the same bounds
    apart = log_prob - old
    up = apart.clamp(max=math.log1p(high))
    down = apart.clamp(min=math.log1p(-low))
    kept = torch.where(advantage > 0, up, down)
    moving = (kept == apart).logical_and(advantage.abs() > 0)
    return -(kept.exp() * advantage), 1 - moving.sum() / len(moving)


def _first(change):
    """Another loss, with the right share."""
    return lambda log_prob, old, a, low, high: (
        change((log_prob - old).exp(), a, low, high),
        clipped_loss(log_prob, old, a, low, high)[1],
    )


def _second(change):
    """The right loss, with another share."""
    return lambda log_prob, old, a, low, high: (
        clipped_loss(log_prob, old, a, low, high)[0],
        change((log_prob - old).exp(), a, low, high).double().mean(),
    )


def _outside(ratio, a, low, high):
    return (ratio < 1 - low) | (ratio > 1 + high)


def _gone(ratio, a, low, high):
    return ((a > 0) & (ratio > 1 + high)) | ((a < 0) & (ratio < 1 - low)) | (a == 0)


def _batch(g):
    n = int(torch.randint(6, 15, (), generator=g))
    old = -3 * torch.rand(n, generator=g).double()
    apart = torch.randn(n, generator=g).double()
    advantage = (2 * torch.randn(n, generator=g)).double()
    apart[:5] = torch.tensor([0.9, -1.1, 0.8, -0.9, 6.0])
    advantage[:5] = torch.tensor([1.5, 0.8, -2.0, -0.7, -0.3])
    advantage[-1] = 0
    order = torch.randperm(n, generator=g)
    low, high = (0.1 + 0.3 * float(torch.rand((), generator=g)) for _ in range(2))
    return (old + apart)[order], old[order], advantage[order], low, high


def _probe(ratios, advantages, low, high):
    logs = torch.tensor(ratios).double().log()
    return lambda f: f(logs - 1, torch.full_like(logs, -1), torch.tensor(advantages).double(), low, high)


EXERCISE = Exercise(
    number="19.6",
    title="Where the clip lets go",
    difficulty=2,
    minutes=15,
    task=r"""
Examples were drawn from an older policy. With $w = \pi(x)/\pi_{\text{old}}(x)$ and the advantage $A$, PPO's loss of
an example is $-\min\big(w A,\ \operatorname{clip}(w,\,1 - \text{low},\,1 + \text{high})\,A\big)$. Here the two
sides may differ. From $\log \pi$, $\log \pi_{\text{old}}$ and $A$, each of shape (n,), return two things:

1. the loss of each example, (n,);
2. the **share** of the $n$ examples, a number from 0 to 1, whose loss has the slope 0 in $\log \pi$ (they cannot move
   the policy). Examples with $A = 0$ are among them.

No ratio lies exactly on a bound. Before you check: of the four cases $w$ too large or too small, $A$ positive or
negative, in how many does the clip take the slope away?""",
    inputs=_batch,
    solution=clipped_loss,
    explanation=r"""
In two of the four. With $A > 0$ the minimum is the clipped term where $w > 1 + \text{high}$: this answer has become
likelier already, and that is enough. Where $w < 1 - \text{low}$ it is the unclipped term: a good answer that has
become *rarer* is still pulled back. With $A < 0$ it is the other way round, and a bad answer that has become likelier
costs $w\,\lvert A\rvert$ without any limit. So the clip limits gains and never losses; it is no bound on how far the
policy moves, since other examples and the optimiser's momentum move it on.""",
    hints=(
        "Go through the four cases with numbers: w of 0.5 and of 1.5, A of 1 and of −1. Which of the two terms is smaller?",
        "The slope is gone where the clipped term is the smaller one and is constant: A > 0 and w above, A < 0 and w below.",
        "`torch.where(advantage > 0, ratio > 1 + high, ratio < 1 - low) | (advantage == 0)`, and its mean.",
    ),
    wrong=(
        Wrong(
            "clipped without the minimum",
            "The loss is that of the clipped ratio alone. The minimum keeps the unclipped term where that is lower.",
            _first(lambda ratio, a, low, high: -ratio.clamp(1 - low, 1 + high) * a),
        ),
        Wrong(
            "the maximum",
            "The loss takes the larger of the two terms. The objective is a minimum, and the minus comes in front of it.",
            _first(lambda ratio, a, low, high: -torch.maximum(ratio * a, ratio.clamp(1 - low, 1 + high) * a)),
        ),
        Wrong(
            "no clip",
            "The loss is not clipped at all: it is −w A.",
            _first(lambda ratio, a, low, high: -ratio * a),
        ),
        Wrong(
            "an objective, not a loss",
            "The first result has the sign of the objective. A loss is minimised.",
            _first(lambda ratio, a, low, high: torch.minimum(ratio * a, ratio.clamp(1 - low, 1 + high) * a)),
        ),
        Wrong(
            "all ratios outside",
            "The share counts every ratio outside the bounds. In half of these cases the unclipped term is the minimum.",
            _second(lambda ratio, a, low, high: _outside(ratio, a, low, high) | (a == 0)),
        ),
        Wrong(
            "all ratios outside, and A of 0 not",
            "The share counts the ratios outside the bounds, whatever A is. The sign of A decides whether the slope is gone.",
            _second(_outside),
        ),
        Wrong(
            "advantages of 0 left out",
            "The share lacks the examples with A = 0. Their loss is 0 wherever w is.",
            _second(lambda ratio, a, low, high: _gone(ratio, a, low, high) & (a != 0)),
        ),
        Wrong(
            "good answers alone",
            "The share counts examples with A > 0 above the bound, and A = 0. Those with A < 0 below the bound are missing.",
            _second(lambda ratio, a, low, high: _gone(ratio, a, low, high) & (a >= 0)),
        ),
        Wrong(
            "the share that still moves",
            "The second result is the share of examples with a slope. Asked is the share without one.",
            _second(lambda ratio, a, low, high: ~_gone(ratio, a, low, high)),
        ),
        Wrong(
            "the ratio upside down",
            "The ratio is π_old/π here. It is the new policy's probability over the old one's.",
            lambda log_prob, old, a, low, high: clipped_loss(old, log_prob, a, low, high),
        ),
        Wrong(
            "logarithms for the ratio",
            "1 + log π − log π_old stands for the ratio. That holds only near 1: take the exponential.",
            lambda log_prob, old, a, low, high: clipped_loss(
                (1 + log_prob - old).clamp(min=1e-9).log(), 0 * old, a, low, high
            ),
        ),
        Wrong(
            "the two sides exchanged",
            "The two bounds are exchanged: low belongs below 1, and high above.",
            lambda log_prob, old, a, low, high: clipped_loss(log_prob, old, a, high, low),
        ),
        Wrong(
            "one bound for both sides",
            "The lower bound's distance is used on both sides. high belongs above 1.",
            lambda log_prob, old, a, low, high: clipped_loss(log_prob, old, a, low, low),
        ),
    ),
    right=(_by_autograd, _by_numpy, _by_lists, _by_logs),
    probes={
        "a good answer at four ratios": _probe([0.5, 0.9, 1.1, 1.5], [1.0] * 4, 0.2, 0.2),
        "a bad answer at four ratios": _probe([0.5, 0.9, 1.1, 1.5], [-1.0] * 4, 0.2, 0.2),
        "a wide upper side": _probe([0.7, 1.3, 1.3], [-1.0, 2.0, -3.0], 0.2, 0.4),
        "one bad answer that has become much likelier": _probe([1000.0], [-1.0], 0.2, 0.2),
        "one example with an advantage of 0": _probe([1.0], [0.0], 0.2, 0.3),
        "a policy that has not moved": _probe([1.0, 1.0, 1.0], [1.0, -1.0, 2.0], 0.1, 0.3),
    },
    discussion=r"""
**For your own work.** "Clip fraction" in a log is often the share of ratios outside the bounds, whatever $A$ is; look
which of the two your code reports. In the first step on a batch every ratio is 1 and the clip does nothing: with one
step a batch PPO is REINFORCE with a baseline. Watch the largest ratio of *bad* answers: there the loss has no limit.""",
)
