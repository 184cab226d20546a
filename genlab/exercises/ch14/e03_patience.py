"""Exercise 14.3: Patience."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def stop_early(losses, patience):
    """The look whose weights are kept, and the look after which training ends.

    Validation losses (t,), looks to wait -> two whole numbers, from 0 on.
    """
    best, kept = math.inf, 0
    for look, loss in enumerate(losses):
        if loss < best:
            best, kept = loss, look
        elif look - kept >= patience:
            return kept, look
    return kept, len(losses) - 1


def _by_waiting(losses, patience):
    kept, waited = 0, 0
    for look in range(1, len(losses)):
        waited += 1
        if losses[look] < losses[kept]:
            kept, waited = look, 0
        if waited == patience:
            return [kept, look]
    return [kept, len(losses) - 1]


def _by_windows(losses, patience):
    # jump from each kept look to the next better one, if it comes in time
    values, kept = losses.tolist(), 0
    while True:
        window = range(kept + 1, min(kept + patience + 1, len(values)))
        better = [look for look in window if values[look] < values[kept]]
        if not better:
            return kept, min(kept + patience, len(values) - 1)
        kept = better[0]


def _by_numpy(losses, patience):
    values = losses.numpy()
    before = np.concatenate([[np.inf], np.fmin.accumulate(values)[:-1]])
    looks = np.arange(len(values))
    kept = np.maximum.accumulate(np.where(values < before, looks, 0))
    ends = np.flatnonzero(looks - kept >= patience)
    end = ends[0] if len(ends) else looks[-1]
    return np.array([kept[end], end])


def _by_torch(losses, patience):
    low = losses.nan_to_num(nan=math.inf).cummin(0).values
    first = torch.stack([(low == value).nonzero()[0, 0] for value in low])  # where each lowest loss was reached
    late = torch.arange(len(losses)) - first >= patience
    end = int(late.nonzero()[0]) if late.any() else len(losses) - 1
    return first[end], end


def _rising(losses, patience):
    """Compare with the look before."""
    rises = 0
    for look in range(1, len(losses)):
        rises = 0 if losses[look] < losses[look - 1] else rises + 1
        if rises == patience:
            return _first_best(losses[: look + 1]), look
    return _first_best(losses), len(losses) - 1


def _not_reset(losses, patience):
    """Count all looks without a new best."""
    kept, bad = 0, 0
    for look in range(1, len(losses)):
        if losses[look] < losses[kept]:
            kept = look
        else:
            bad += 1
            if bad == patience:
                return kept, look
    return kept, len(losses) - 1


def _equal_is_better(losses, patience):
    kept = 0
    for look in range(1, len(losses)):
        if losses[look] <= losses[kept]:
            kept = look
        elif look - kept >= patience:
            return kept, look
    return kept, len(losses) - 1


def _after_nan(losses, patience):
    kept = 0
    for look in range(1, len(losses)):
        if all(losses[look] < loss for loss in losses[:look]):
            kept = look
        elif look - kept >= patience:
            return kept, look
    return kept, len(losses) - 1


def _nan_passed_over(losses, patience):
    """The right looks of the curve without NaN, counted in the whole curve."""
    looks = (~losses.isnan()).nonzero()[:, 0].tolist()
    kept, end = stop_early(losses[looks], patience)
    return looks[kept], looks[end] if end - kept >= patience else len(losses) - 1


def _not_worse(losses, patience):
    kept = 0
    for look in range(1, len(losses)):
        if not losses[look] >= losses[kept]:  # true of NaN
            kept = look
        elif look - kept >= patience:
            return kept, look
    return kept, len(losses) - 1


def _clearly(losses, patience):
    kept = 0
    for look in range(1, len(losses)):
        if losses[look] < losses[kept] - 1e-4:
            kept = look
        elif look - kept >= patience:
            return kept, look
    return kept, len(losses) - 1


def _first_best(losses):
    return int(np.nanargmin(losses.numpy()))


def _curve(g):
    t, patience = (int(torch.randint(low, high, (), generator=g)) for low, high in ((6, 18), (1, 5)))
    fall = 4 * torch.exp(-torch.arange(t) / 4.0)
    return (10 * (fall + 0.5 * torch.randn(t, generator=g))).round().double(), patience  # whole: some are equal


CURVE = torch.tensor([9.0, 5.0, 6.0, 4.0, 4.5, 4.0, 4.2, 7.0, 1.0, 0.5]).double()

EXERCISE = Exercise(
    number="14.3",
    title="Patience",
    difficulty=1,
    minutes=10,
    task=r"""
During training you look at the validation loss again and again; looks are counted from 0. A look is an improvement if
its loss is lower than that of *every* look before; the first look is one. Training ends at the first look that
completes `patience` looks in a row without an improvement (`patience` $\ge 1$), or at the last look if there is none.
The weights of the latest improvement are kept. Return the pair: the look whose weights are kept, and the look at
which training ends. An equal loss is no improvement; a lower one is, by however little. A look with NaN counts as one
without an improvement, and later losses are compared with the numbers before it (the first loss is a number). What
comes after the end was never seen.""",
    inputs=_curve,
    solution=stop_early,
    explanation=r"""
Between two improvements the best look stands still, so the number of looks without one is the distance to it.
Patience is a bet: a curve that falls again after the end is never seen. The kept loss is the smallest of several
noisy ones, so it is too good by chance; the test set, used once, says what the model is worth.""",
    hints=(
        "Walk along the curve and remember the lowest loss so far, and at which look it came.",
        "How many looks ago was the latest improvement? Compare that number with the patience.",
        "`if loss < best: best, kept = loss, look`, and `elif look - kept >= patience: return kept, look`.",
    ),
    wrong=(
        Wrong(
            "the best of the whole curve",
            "The kept look is the lowest of the whole curve, also of looks that come after the end.",
            lambda losses, patience: (_first_best(losses), stop_early(losses, patience)[1]),
        ),
        Wrong(
            "one look too late",
            "Training goes on for one look too many: it ends when `patience` looks in a row brought nothing.",
            lambda losses, patience: stop_early(losses, patience + 1),
        ),
        Wrong(
            "compared with the look before",
            "Each loss is compared with that of the look before. An improvement is below all looks before.",
            _rising,
        ),
        Wrong(
            "a count that is not reset",
            "All looks without an improvement are counted. Asked are those in a row: an improvement sets the count to 0.",
            _not_reset,
        ),
        Wrong(
            "equal counts as better",
            "A loss equal to the best counts as an improvement here. It must be lower.",
            _equal_is_better,
        ),
        Wrong(
            "a NaN that is compared with",
            "After a NaN nothing is an improvement here: nothing is lower than NaN. Compare with the lowest number so far.",
            _after_nan,
        ),
        Wrong(
            "a NaN that is passed over",
            "Looks with NaN are passed over. Each is a look without an improvement, and counts.",
            _nan_passed_over,
        ),
        Wrong(
            "a NaN that counts as better",
            "A loss counts as an improvement unless it is at least the lowest: so does NaN, and what comes after it.",
            _not_worse,
        ),
        Wrong(
            "only clear improvements",
            "A loss that is lower by little does not count here. Any lower loss is an improvement.",
            _clearly,
        ),
        Wrong(
            "the last weights",
            "The look at which training ends is kept. Its weights are `patience` looks past the best.",
            lambda losses, patience: (stop_early(losses, patience)[1],) * 2,
        ),
        Wrong(
            "the end first",
            "The pair is turned round: first the look that is kept, then the end.",
            lambda losses, patience: stop_early(losses, patience)[::-1],
        ),
        Wrong(
            "counted from 1",
            "Looks are counted from 1 here. The first is number 0.",
            lambda losses, patience: tuple(look + 1 for look in stop_early(losses, patience)),
        ),
        Wrong(
            "a lowest loss that was never seen",
            "Both looks are counted from the lowest loss of the whole curve. Training may have ended before it.",
            lambda losses, patience: (int(losses.argmin()), min(int(losses.argmin()) + patience, len(losses) - 1)),
        ),
    ),
    right=(_by_waiting, _by_windows, _by_numpy, _by_torch),
    probes={
        "a curve with equal losses and a late fall, patience 3": lambda f: f(CURVE, 3),
        "the same curve, patience 1": lambda f: f(CURVE, 1),
        "the same curve, patience 5": lambda f: f(CURVE, 5),
        "a curve that only falls": lambda f: f(torch.tensor([3.0, 2.0, 1.0]).double(), 2),
        "a curve that only rises, patience 2": lambda f: f(torch.tensor([1.0, 2.0, 3.0, 4.0]).double(), 2),
        "a single look": lambda f: f(torch.tensor([1.0]).double(), 1),
        "a curve that ends before patience does": lambda f: f(torch.tensor([2.0, 1.0, 3.0]).double(), 4),
        "a curve with NaN in it": lambda f: f(torch.tensor([3.0, math.nan, 2.0, math.nan, math.nan, 1.0]).double(), 2),
        "a curve with NaN and then higher losses": lambda f: f(
            torch.tensor([1.0, math.nan, 2.0, 3.0, 4.0]).double(), 3
        ),
        "losses that fall by less than a millionth": lambda f: f(1 - torch.arange(5.0).double() / 2**22, 2),
        "a curve that falls late, patience 8": lambda f: f(
            torch.tensor([5.0, 4.0, 6.0, 6.0, 6.0, 6.0, 6.0, 6.0, 3.0, 4.0]).double(), 8
        ),
        "losses below zero": lambda f: f(torch.tensor([-1.0, -3.0, -2.0, -2.5, -4.0]).double(), 3),
    },
    discussion=r"""
**For your own work.** Write down patience and the distance of looks before you train; both are settings, and were
they tuned on the test set, so was the model. A validation loss of few rows is noisy: with its standard error you can
tell an improvement from luck. For a GAN no loss falls: the same rule needs a score of samples, such as the Fréchet
distance to validation data.""",
)
