"""Exercise 12.3: Which classes obey?"""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong, mistake


def accuracy_per_class(logits, y):
    """Share of the samples asked for class c that are read as c.

    Logits (n, classes), labels (n,) -> (classes,).
    """
    right = (logits.argmax(1) == y).float()
    # the mean of nothing is NaN
    shares = [right[y == c].mean() for c in range(logits.shape[1])]
    return torch.stack(shares)


def _accuracy_by_counts(logits, y):
    classes = logits.shape[1]
    asked = F.one_hot(y, classes).float()
    hit = asked * (logits.argmax(1) == y).float()[:, None]
    return hit.sum(0) / asked.sum(0)


def _accuracy_by_loop(logits, y):
    shares = []
    for c in range(logits.shape[1]):
        readings = [int(row.argmax()) for row, label in zip(logits, y, strict=True) if label == c]
        shares.append(readings.count(c) / len(readings) if readings else math.nan)
    return shares


def _accuracy_by_confusion(logits, y):
    table = np.zeros((logits.shape[1], logits.shape[1]))
    np.add.at(table, (y.numpy(), logits.numpy().argmax(1)), 1)
    with np.errstate(invalid="ignore"):
        return table.diagonal() / table.sum(1)


@mistake(
    "grouped by what was read",
    "This groups by the class that was read. Asked is: of the samples that should be a c, how many are?",
)
def _precision_per_class(logits, y):
    read = logits.argmax(1)
    return torch.stack([(y[read == c] == c).float().mean() for c in range(logits.shape[1])])


@mistake(
    "0 for a class that was never asked for",
    "A class that was never asked for gets 0, as if it had always failed. Nothing is known about it: NaN.",
)
def _absent_is_zero(logits, y):
    return accuracy_per_class(logits, y).nan_to_num(0.0)


def _accuracy_inputs(g):
    n, classes = ((9, 4), (7, 3), (8, 6), (12, 5))[int(torch.randint(4, (), generator=g))]
    y = torch.randint(0, classes, (n,), generator=g)
    return torch.randn(n, classes, generator=g) + F.one_hot(y, classes), y


_ASKED = torch.tensor([0, 0, 1, 1, 1])

_READ = F.one_hot(torch.tensor([0, 1, 1, 1, 0]), 3).float()

EXERCISE = Exercise(
    number="12.3",
    title="Which classes obey?",
    difficulty=1,
    minutes=10,
    task=r"""
Ninety-eight per cent of the samples were read as asked, but perhaps all failures are sevens. From the classifier's logits
and the labels that were asked for, return the share read as asked **for each class**. A class that was never asked for
has no share: return NaN there, not 0. If two zeros were asked for and read as 0 and 1, the share of class 0 is ½. There
is a share for every column of the logits, shape `(classes,)`.""",
    inputs=_accuracy_inputs,
    solution=accuracy_per_class,
    explanation=r"""
Among the samples with $y = c$, count those that are read as $c$. Grouping by the class that was *read* instead answers
another question, how far a reading can be trusted. The mean of an empty set is NaN, which says *unknown*; a 0 would say
*always wrong*. The plain mean of these shares is the overall accuracy only if all classes are asked for equally often.""",
    hints=(
        "The reading is the class with the largest logit. Along which dimension is that?",
        "`logits.argmax(1) == y` says for each sample whether it obeyed. Average it over the samples with `y == c`.",
        "For each `c` in `range(logits.shape[1])`: `right[y == c].float().mean()`. An empty mean is NaN by itself.",
    ),
    wrong=(
        _precision_per_class,
        Wrong(
            "one number",
            "This is the accuracy over all classes together. One share for each class is wanted.",
            lambda logits, y: (logits.argmax(1) == y).float().mean(),
        ),
        Wrong(
            "divided by all samples",
            "The hits of each class are divided by the number of all samples. Divide by the samples of that class.",
            lambda logits, y: torch.stack(
                [((logits.argmax(1) == y) & (y == c)).sum() / len(y) for c in range(logits.shape[1])]
            ),
        ),
        _absent_is_zero,
        Wrong(
            "the mean probability",
            "This is the mean probability of the label. Asked is how often the label has the largest logit.",
            lambda logits, y: torch.stack([logits.softmax(1)[y == c, c].mean() for c in range(logits.shape[1])]),
        ),
    ),
    right=(_accuracy_by_counts, _accuracy_by_loop, _accuracy_by_confusion),
    probes={
        "logits that are all below 0": lambda f: f(_READ - 3, _ASKED),
        "two zeros read as 0 and 1, three ones read as 1, 1 and 0, no twos": lambda f: f(_READ, _ASKED),
        "a class that was never asked for in the middle": lambda f: f(_READ, torch.tensor([0, 2, 0, 0, 2])),
        "all three classes asked for": lambda f: f(_READ, torch.tensor([2, 1, 0, 1, 0])),
        "one sample of two classes": lambda f: f(torch.tensor([[0.2, 0.1]]), torch.tensor([0])),
    },
)
