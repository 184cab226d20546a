"""Exercise 14.9: Memorised, or just well fitted? (open-ended)"""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

from collections import Counter
from itertools import product

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def swap_p_value(gaps):
    """P(mean of gaps with random signs >= mean of gaps), all 2^k signs alike.

    Gaps of k runs (k,) -> a number.
    """
    sums = torch.zeros(1, dtype=gaps.dtype)
    for gap in gaps:
        sums = torch.cat([sums + gap, sums - gap])
    return (sums >= gaps.sum()).double().mean()


def _by_product(gaps):
    values = gaps.tolist()
    signs = list(product((1, -1), repeat=len(values)))
    return sum(sum(s * v for s, v in zip(row, values, strict=True)) >= sum(values) for row in signs) / len(signs)


def _by_numpy(gaps):
    k = len(gaps)
    bits = (np.arange(2**k)[:, None] >> np.arange(k)) & 1
    return np.mean(((1 - 2 * bits) * gaps.numpy()).mean(1) >= gaps.numpy().mean())


def _by_counting(gaps):
    # how often each sum comes, run by run
    counts = Counter({0.0: 1})
    for gap in gaps.tolist():
        after = Counter()
        for total, times in counts.items():
            after[total + gap] += times
            after[total - gap] += times
        counts = after
    reached = float(gaps.sum())
    return sum(times for total, times in counts.items() if total >= reached) / counts.total()


def _by_flipped(gaps):
    # the sum falls by twice what is turned round: it stays as large if that is not above 0
    pairs = torch.cartesian_prod(*[torch.stack([torch.zeros_like(gap), gap]) for gap in gaps])
    return (pairs.view(2 ** len(gaps), -1).sum(1) <= 0).float().mean()


def _sums(gaps):
    signs = torch.tensor(list(product((1.0, -1.0), repeat=len(gaps)))).to(gaps)
    return signs @ gaps


def _binomial(gaps):
    """The sign test."""
    up, k = int((gaps > 0).sum()), len(gaps)
    return sum(sum(row) >= up for row in product((0, 1), repeat=k)) / 2**k


def _gaps(g):
    k = int(torch.randint(1, 9, (), generator=g))
    gaps = torch.randint(-6, 13, (k,), generator=g).double()
    gaps[-1] *= 2
    return (gaps / 8,)  # eighths, so that every sum is exact


EXERCISE = Exercise(
    number="14.9",
    title="Memorised, or just well fitted? (open-ended)",
    difficulty=3,
    minutes=45,
    task=r"""
Samples near training images may be memorised, or the model fits so well that they lie near *any* image of the law.
The design that tells the two apart: split the images at random into halves A and B, draw by lot which half trains the
model, and measure the mean distance of its samples to their nearest image in each half. The **gap** of the run is the
distance to the half that was left out, less that to the half that trained. If training left no trace, the two halves
could be exchanged, so a gap and its negative are equally likely. From the gaps of $k$ runs with independent splits
return the exact one-sided p-value: the share of all $2^k$ choices of signs, that of the data included, for which the
mean of the signed gaps is *at least* the mean of the gaps. A gap of 0 has two signs as well. Sums are exact here:
gaps are multiples of $1/8$, in float64.

Then the open part. Write down beforehand: model, sizes, features, $k$, and what you will conclude from either result.
Run it with a small VAE on 50 digits a half and on 2,000, and report every gap.""",
    inputs=_gaps,
    solution=swap_p_value,
    explanation=r"""
Under exchange every choice of signs is equally likely, so the rank of the data's own mean among all of them is a
p-value, with no assumption on the law of the gaps. It counts the data's own choice, so it is never below $2^{-k}$:
with four runs it cannot be below 0.05 (it is $1/16$ at best), with five it can.""",
    hints=(
        "With three runs there are eight choices of signs. Write all eight sums down for gaps of 1, 2 and 4.",
        "Build the sums run by run: each sum so far goes on with plus and with minus the next gap.",
        "`for gap in gaps: sums = torch.cat([sums + gap, sums - gap])`, then the share that is `>= gaps.sum()`.",
    ),
    wrong=(
        Wrong(
            "strictly larger",
            "Only sums above the observed one are counted. Those that are equal count too, the data's own among them.",
            lambda gaps: (_sums(gaps) > gaps.sum()).double().mean(),
        ),
        Wrong(
            "two-sided",
            "Both directions count here. Memorising makes gaps positive, so the question has one side.",
            lambda gaps: (_sums(gaps).abs() >= gaps.sum().abs()).double().mean(),
        ),
        Wrong(
            "the other side",
            "This counts sums at most as large as the observed one: large gaps get a large p-value.",
            lambda gaps: (_sums(gaps) <= gaps.sum()).double().mean(),
        ),
        Wrong(
            "the sign test",
            "Only the number of positive gaps counts here. Their sizes belong in the mean.",
            _binomial,
        ),
        Wrong(
            "without the data's own signs",
            "The data's own signs are taken out of the count and of the number of choices. They are one of the 2^k.",
            lambda gaps: ((_sums(gaps) >= gaps.sum()).sum() - 1) / max(1, 2 ** len(gaps) - 1),
        ),
        Wrong(
            "one more in both counts",
            "One is added to both counts, as for signs that are drawn. All choices are listed here, the data's own among them.",
            lambda gaps: ((_sums(gaps) >= gaps.sum()).sum() + 1) / (2 ** len(gaps) + 1),
        ),
        Wrong(
            "against 0",
            "The signed sums are compared with 0. The observed sum is the measure.",
            lambda gaps: (_sums(gaps) >= 0).double().mean(),
        ),
        Wrong(
            "sizes without their signs",
            "The observed gaps lost their signs: the sum of their sizes is compared.",
            lambda gaps: (_sums(gaps) >= gaps.abs().sum()).double().mean(),
        ),
    ),
    right=(_by_product, _by_numpy, _by_counting, _by_flipped),
    probes={
        "five gaps that all are positive": lambda f: f(torch.tensor([1.0, 2.0, 0.5, 0.25, 3.0]).double()),
        "gaps of which one is 0": lambda f: f(torch.tensor([0.0, 2.0, 1.0]).double()),
        "equal gaps, one of them negative": lambda f: f(torch.tensor([1.0, 1.0, 1.0, -1.0]).double()),
        "gaps of 0 alone": lambda f: f(torch.zeros(3).double()),
        "one negative gap": lambda f: f(torch.tensor([-2.0]).double()),
        "one positive gap": lambda f: f(torch.tensor([2.0]).double()),
        "gaps with a negative mean": lambda f: f(torch.tensor([-3.0, 1.0, 0.5]).double()),
        "gaps with the mean 0": lambda f: f(torch.tensor([2.0, -1.0, -1.0]).double()),
        "ten gaps that all are positive": lambda f: f(torch.arange(1.0, 11.0).double() / 8),
        "many small positive gaps and a large negative one": lambda f: f(
            torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, -4.0]).double()
        ),
    },
    discussion=r"""
**For the open part.** Give sizes beside the p-value. In a trial with five runs of a small dense VAE, in pixels, all ten
gaps were positive, so p was $1/32$ with 50 digits a half and with 2,000 as well; but the gaps with 2,000 were less
than a tenth of those with 50. Every fitted model bears *some* trace of its training half, and a design in pairs finds
it. What says "memorised" is the gap's size, measured by that of a copier, whose samples *are* the training half. A
large p-value says little with few runs: compute the smallest that you can reach before you start.

Every run needs a new split and a new seed; ten sets of samples of one model are one run. Give the halves the same
size, or the larger one wins by size alone. Put fresh real images through the design as well: they may be "found" no
more often than chance allows. And look at the nearest pairs: a gap is a mean, and hides a few copies among many new
samples. Measured gaps have rounding in their sums, so compare with a small margin.""",
)
