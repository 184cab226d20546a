"""Exercise 19.2: Cut off or finished."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch
from scipy import signal

from genlab.exercises import Exercise, Wrong


def to_go(r, length, ended, value, gamma):
    """Discounted reward to go at each step of sequences that may have been cut off.

    Rewards (n, t), lengths (n,), ended (n,) or cut off, values (n,) -> (n, t).
    """
    found = torch.zeros_like(r)
    for i in range(len(r)):
        total = 0.0 if ended[i] else value[i]  # of what would have followed
        for step in reversed(range(int(length[i]))):
            total = r[i, step] + gamma * total
            found[i, step] = total
    return found


def _by_columns(r, length, ended, value, gamma):
    total = torch.where(ended, 0.0, value)
    columns = []
    for step in reversed(range(r.shape[1])):
        inside = step < length
        total = torch.where(inside, r[:, step] + gamma * total, total)
        columns.append(torch.where(inside, total, 0.0))
    return torch.stack(columns[::-1], 1)


def _by_powers(r, length, ended, value, gamma):
    at = torch.arange(r.shape[1])
    ahead = at[None, :] - at[:, None]  # (step, later step)
    weights = torch.where(ahead >= 0, gamma ** ahead.clamp(min=0).double(), 0.0)
    inside = at < length[:, None]
    left = gamma ** (length[:, None] - at).clamp(min=0).double()
    return ((r * inside) @ weights.T + left * (value * ~ended)[:, None]) * inside


def _by_filter(r, length, ended, value, gamma):
    found = np.zeros(r.shape)
    for i, n in enumerate(length.tolist()):
        row = np.append(r[i, :n].numpy(), 0.0 if ended[i] else float(value[i]))
        found[i, :n] = signal.lfilter([1.0], [1.0, -gamma], row[::-1])[::-1][:n]
    return found


def _by_lists(r, length, ended, value, gamma):
    rows = []
    for row, n, done, after in zip(r.tolist(), length.tolist(), ended.tolist(), value.tolist(), strict=True):
        ahead = [*row[:n], after * (not done)]
        sums = [sum(gamma ** (s - t) * ahead[s] for s in range(t, n + 1)) for t in range(n)]
        rows.append(sums + [0.0] * (len(row) - n))
    return rows


def _inside(r, length):
    return torch.arange(r.shape[1]) < length[:, None]


def _everywhere(r, length, ended, value, gamma):
    """The first step's at every step."""
    return to_go(r, length, ended, value, gamma)[:, :1] * _inside(r, length)


def _one_late(r, length, ended, value, gamma):
    later = r.clone()
    for i, n in enumerate(length.tolist()):
        later[i, : n - 1], later[i, n - 1] = r[i, 1:n], 0.0
    return to_go(later, length, ended, value, gamma)


def _so_far(r, length, ended, value, gamma):
    total, found = torch.zeros(len(r), dtype=r.dtype), torch.zeros_like(r)
    for step in range(r.shape[1]):
        total = r[:, step] + gamma * total
        found[:, step] = total
    return found * _inside(r, length)


def _from_the_start(r, length, ended, value, gamma):
    """Discounted from the first step of the sequence on, at every step."""
    return to_go(r, length, ended, value, gamma) * gamma ** torch.arange(r.shape[1]).to(r)


def _sequences(g):
    n, t = (int(torch.randint(low, high, (), generator=g)) for low, high in ((2, 6), (2, 7)))
    r = torch.randn(n, t, generator=g).double()
    r[0] *= 20
    length = torch.randint(1, t + 1, (n,), generator=g)
    length[-1] = t - 1  # so that there is padding
    ended = torch.rand(n, generator=g) < 0.5
    ended[:2] = torch.tensor([True, False])
    value = 2 + torch.rand(n, generator=g).double()
    return r, length, ended, value, 0.5 + 0.45 * float(torch.rand((), generator=g))


EXERCISE = Exercise(
    number="19.2",
    title="Cut off or finished",
    difficulty=2,
    minutes=20,
    task=r"""
A generator writes sequences, and each step $t$ earns a reward $r_t$. Row $i$ of `r` (n, t) holds the rewards of a
sequence of `length[i]` $\ge 1$ steps; what stands behind them is padding and means nothing. Some sequences ended by
themselves (`ended[i]` is True). The others were cut off after their last step, because no more room was left; a critic
says that `value[i]` was still to come for them, counted from the step after the last. Return (n, t): at each step
$t < \text{length}$ the **reward to go**

$$ G_t = r_t + \gamma\, r_{t+1} + \gamma^2 r_{t+2} + \dots + \gamma^{\text{length}-1-t}\, r_{\text{length}-1}
\;+\; \gamma^{\text{length}-t}\,\text{value} , $$

the last term only for sequences that were cut off, and 0 in the padding. $0 \le \gamma \le 1$.""",
    inputs=_sequences,
    solution=to_go,
    explanation=r"""
Backwards it is one line: $G_t = r_t + \gamma\, G_{t+1}$, and what stands for $G$ behind the last step is 0 if the
sequence ended, and the critic's value if it was cut off. Taking a cut for an end tells the policy
that nothing more could be earned there; where more could be, it learns to stop early, for a limit that the task does not
have. For $\gamma = 1$, giving $G_0$ to every step would be unbiased, too: rewards before $t$ do not depend on the action
at $t$, so on average they add nothing to its gradient. As a rule they add variance.""",
    hints=(
        "Write it from behind: what is the reward to go of the last step of a sequence that ended, and of one cut off?",
        "For each row start from 0 or from the value, and go through its steps from the last to the first.",
        "`total = r[i, step] + gamma * total`, written into the row at each step; the padding stays 0.",
    ),
    wrong=(
        Wrong(
            "cut off taken for finished",
            "The critic's value is missing: sequences that were cut off count as if they had ended.",
            lambda r, length, ended, value, gamma: to_go(r, length, torch.ones_like(ended), value, gamma),
        ),
        Wrong(
            "all cut off",
            "Sequences that ended by themselves get the critic's value, too. Nothing follows an end.",
            lambda r, length, ended, value, gamma: to_go(r, length, torch.zeros_like(ended), value, gamma),
        ),
        Wrong(
            "ended the wrong way round",
            "The critic's value goes to the sequences that ended, and not to those that were cut off.",
            lambda r, length, ended, value, gamma: to_go(r, length, ~ended, value, gamma),
        ),
        Wrong(
            "the whole reward at every step",
            "Every step gets the reward to go of the first step. Rewards that came before a step say nothing of its action.",
            _everywhere,
        ),
        Wrong(
            "one step late",
            "Each step's own reward is left out: the sum begins with the reward of the next step.",
            _one_late,
        ),
        Wrong(
            "reward so far",
            "These sums run forwards: they hold the rewards that a step came after. Its action can change later ones only.",
            _so_far,
        ),
        Wrong(
            "the padding counted",
            "What stands behind a sequence's last step is counted as rewards. Only length steps are real.",
            lambda r, length, ended, value, gamma: to_go(r, torch.full_like(length, r.shape[1]), ended, value, gamma),
        ),
        Wrong(
            "discounted from the start",
            "Discounts are counted from the first step of the sequence. Those of G_t begin with 1 at step t.",
            _from_the_start,
        ),
        Wrong(
            "the value without its discount",
            "The critic's value has one factor gamma too few. It is counted from the step after the last.",
            lambda r, length, ended, value, gamma: (
                to_go(r, length, ended, value / gamma, gamma)
                if gamma
                else to_go(r, length, ended, value, gamma) + (value * ~ended)[:, None] * _inside(r, length)
            ),
        ),
        Wrong(
            "no discount",
            "There is no discount here: gamma is not used.",
            lambda r, length, ended, value, gamma: to_go(r, length, ended, value, 1.0),
        ),
        Wrong(
            "running on in the padding",
            "The steps are right, but the padding is not 0: it holds the critic's value.",
            lambda r, length, ended, value, gamma: (
                to_go(r, length, ended, value, gamma) + (value * ~ended)[:, None] * ~_inside(r, length)
            ),
        ),
    ),
    right=(_by_columns, _by_powers, _by_filter, _by_lists),
    probes={
        "one step that was cut off": lambda f: f(
            torch.tensor([[3.0]]).double(), torch.tensor([1]), torch.tensor([False]), torch.tensor([8.0]).double(), 0.5
        ),
        "a reward at the end alone, without discount": lambda f: f(
            torch.tensor([[0.0, 0.0, 1.0, 5.0]]).double(),
            torch.tensor([3]),
            torch.tensor([True]),
            torch.tensor([2.0]).double(),
            1.0,
        ),
        "gamma of 0": lambda f: f(
            torch.arange(1.0, 7.0).view(2, 3).double(),
            torch.tensor([3, 2]),
            torch.tensor([False, True]),
            torch.tensor([4.0, 5.0]).double(),
            0.0,
        ),
    },
    discussion=r"""
**For your own work.** Look how your code finds out that a sequence has ended, and print the share that was cut off: at
the beginning of training it may be nearly all. Without a critic there is no value to fill in; then leave cut-off
sequences out of the batch, or say that the limit is part of the task and let the generator see how much room is left.""",
)
