"""Exercise 09.8: Do the classes come in equal shares?"""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

from collections import Counter

import numpy as np
import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, mistake


def class_distance(y1, y2):
    """½ Σ_c |p_c − q_c| of two sets of labels from 0 to 9: (n,), (m,) -> a number."""
    p = torch.bincount(y1, minlength=10) / len(y1)
    q = torch.bincount(y2, minlength=10) / len(y2)
    return 0.5 * (p - q).abs().sum()


def _class_one_hot(y1, y2):
    p, q = F.one_hot(y1, 10).double().mean(0), F.one_hot(y2, 10).double().mean(0)
    return (p - q).clamp(min=0).sum()


def _class_by_counter(y1, y2):
    first, second = Counter(y1.tolist()), Counter(y2.tolist())
    return sum(abs(first[c] / len(y1) - second[c] / len(y2)) for c in range(10)) / 2


def _class_by_numpy(y1, y2):
    p, q = (np.bincount(y.numpy(), minlength=10) / len(y) for y in (y1, y2))
    return 1 - np.minimum(p, q).sum()


def _class_by_comparing(y1, y2):
    return 0.5 * sum(((y1 == c).float().mean() - (y2 == c).float().mean()).abs() for c in range(10))


def _shares(y1, y2):
    return torch.bincount(y1, minlength=10) / len(y1), torch.bincount(y2, minlength=10) / len(y2)


@mistake(
    "without the half",
    "The one half is missing: sets without a common class would have 2.",
)
def _class_without_half(y1, y2):
    p, q = _shares(y1, y2)
    return (p - q).abs().sum()


@mistake(
    "counts in place of shares",
    "These are differences of counts. Divide each by the size of its own set first.",
)
def _class_counts(y1, y2):
    return 0.5 * (torch.bincount(y1, minlength=10) - torch.bincount(y2, minlength=10)).abs().sum()


@mistake(
    "no absolute value",
    "The differences cancel, since no absolute value is taken of each: shares add up to one, so this is always 0.",
)
def _class_signed(y1, y2):
    p, q = _shares(y1, y2)
    return 0.5 * (p - q).sum()


@mistake(
    "the Euclidean distance",
    "This is the Euclidean distance of the shares. The total variation adds absolute differences.",
)
def _class_squares(y1, y2):
    p, q = _shares(y1, y2)
    return (p - q).square().sum().sqrt()


@mistake(
    "the largest difference",
    "This is the largest difference of one class. The total variation adds over classes.",
)
def _class_largest(y1, y2):
    p, q = _shares(y1, y2)
    return (p - q).abs().max()


@mistake(
    "a class may be missing",
    "The histograms end at the largest label, so the two may differ in length: minlength=10 keeps all classes.",
)
def _class_without_minlength(y1, y2):
    p, q = torch.bincount(y1) / len(y1), torch.bincount(y2) / len(y2)
    return 0.5 * (p - q).abs().sum()


def _class_inputs(g):
    ends = torch.tensor([0, 9])  # so that both sets reach the last class, and only a probe has one that does not
    n, m = (int(torch.randint(4, 16, (), generator=g)) for _ in range(2))
    first, second = torch.randint(10, (n,), generator=g), torch.randint(5, (m,), generator=g)
    return torch.cat([first, ends]), torch.cat([second, ends])


EXERCISE = Exercise(
    number="09.8",
    title="Do the classes come in equal shares?",
    difficulty=2,
    minutes=10,
    task=r"""
The **total variation** between two histograms with shares $p_c$ and $q_c$ is $\tfrac12 \sum_c |p_c - q_c|$: the share
of samples that would have to change class. Write it, one number, for two sets of labels from 0 to 9, which may differ
in size. It is 0 for equal shares and 1 when no class is in both. Some classes may be missing altogether, which is just
what you are looking for in a GAN.""",
    inputs=_class_inputs,
    solution=class_distance,
    explanation=r"""
Shares, not counts, since the sets differ in size. `minlength=10` keeps the histogram ten bins long when the last
classes are missing. The one half makes 1 the largest value: what one class has too much, others have too little, and
the sum counts both. With 1,000 samples even a perfect generator has a total variation of about 0.04 from equal shares.""",
    hints=(
        "Count the labels of each class, and divide by how many labels there are.",
        "`torch.bincount` counts. What length has its result when no label 9 occurs?",
        "`torch.bincount(y, minlength=10) / len(y)` for both; then half the sum of absolute differences.",
    ),
    wrong=(
        _class_without_half,
        _class_counts,
        _class_signed,
        _class_squares,
        _class_largest,
        _class_without_minlength,
    ),
    right=(_class_one_hot, _class_by_counter, _class_by_numpy, _class_by_comparing),
    probes={
        "the distance of a set to itself": lambda f: f(torch.arange(10), torch.arange(10).repeat(2)),
        "sets without a common class": lambda f: f(torch.tensor([0, 9]), torch.tensor([3, 4, 5])),
        "a generator that draws only zeros": lambda f: f(torch.arange(10), torch.zeros(7, dtype=torch.long)),
        "two single labels that are equal": lambda f: f(torch.tensor([3]), torch.tensor([3])),
        "single labels of the first class and of the last": lambda f: f(torch.tensor([0]), torch.tensor([9])),
    },
)
