"""Exercise 10.7: A table of confusions."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

from collections import Counter

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong, mistake


def confusion(truth, said, k):
    """Counts (k, k): rows are failures, columns diagnoses, all integers below k."""
    table = torch.zeros(k, k)
    for i, j in zip(truth, said, strict=True):
        table[i, j] += 1
    return table


def _confusion_by_numpy(truth, said, k):
    table = np.zeros((k, k), dtype=int)
    np.add.at(table, (truth, said), 1)
    return table


def _confusion_by_lists(truth, said, k):
    found = Counter(zip(truth, said, strict=True))
    return [[found[i, j] for j in range(k)] for i in range(k)]


@mistake(
    "one row k times",
    "All rows are the same. `[[0] * k] * k` holds one list k times: what is added to one row is added to all.",
)
def _confusion_of_one_row(truth, said, k):
    table = [[0] * k] * k
    for i, j in zip(truth, said, strict=True):
        table[i][j] += 1
    return table


def _counts(g):
    """Runs of the failures below k of which some do not occur, so that some pairs come often."""
    n, k = int(torch.randint(6, 20, (), generator=g)), int(torch.randint(2, 7, (), generator=g))
    truth = torch.randint(max(1, k - 2), (n,), generator=g)
    said = torch.where(torch.rand(n, generator=g) < 0.6, truth, torch.randint(max(1, k - 1), (n,), generator=g))
    return truth.tolist(), said.tolist(), k


EXERCISE = Exercise(
    number="10.7",
    title="A table of confusions",
    difficulty=1,
    minutes=8,
    task=r"""
Count: `truth` holds the number of the failure of each run, `said` that of its diagnosis, both from 0 to $k - 1$. Return
the $k \times k$ table of counts whose row is the truth and whose column is the diagnosis, as a tensor, an array or a list of
rows. Rows and columns of failures that did not occur are there too, filled with zeros.""",
    inputs=_counts,
    solution=confusion,
    explanation=r"""
Each run adds 1 to one entry. The diagonal holds what was recognised, a row what became of one kind of failure, a column
what hides behind one diagnosis. The table must have its full size: a diagnosis that is never given is a fact worth
seeing.""",
    hints=(
        "Begin with a table of zeros. Which entry does one run change?",
        "The row is the truth, the column what was said. Loop over both lists together.",
        "`table = torch.zeros(k, k)`, then `table[i, j] += 1` for `i, j in zip(truth, said)`.",
    ),
    wrong=(
        Wrong(
            "transposed",
            "The table is transposed: rows are the truth, columns the diagnosis.",
            lambda truth, said, k: confusion(said, truth, k),
        ),
        Wrong(
            "shares of a row",
            "These are shares of each row, and 0/0 where a failure did not occur. Asked are counts.",
            lambda truth, said, k: confusion(truth, said, k) / confusion(truth, said, k).sum(1, keepdim=True),
        ),
        Wrong(
            "shares of all runs",
            "These are shares of all runs. Asked are counts.",
            lambda truth, said, k: confusion(truth, said, k) / len(truth),
        ),
        Wrong(
            "1 however often",
            "Every pair is counted once, however often it occurs. (`table[truth, said] += 1` does that to repeated indices.)",
            lambda truth, said, k: confusion(truth, said, k).clamp(max=1),
        ),
        _confusion_of_one_row,
        Wrong(
            "only what occurred",
            "The table ends at the largest number that occurred. It must be k × k.",
            lambda truth, said, k: confusion(truth, said, k)[: max(truth + said) + 1, : max(truth + said) + 1],
        ),
        Wrong(
            "the confused ones only",
            "The diagonal is empty: the runs that were recognised are missing.",
            lambda truth, said, k: confusion(truth, said, k) * (1 - torch.eye(k)),
        ),
    ),
    right=(
        lambda truth, said, k: torch.bincount(torch.tensor(truth) * k + torch.tensor(said), minlength=k * k).view(k, k),
        _confusion_by_numpy,
        _confusion_by_lists,
    ),
    probes={
        "one run of failure 2, called 0, of 3": lambda f: f([2], [0], 3),
        "the same run three times": lambda f: f([1, 1, 1], [1, 1, 1], 2),
        "two runs of the only failure": lambda f: f([0, 0], [0, 0], 1),
        "failures 0 and 1 of 4, one taken for the other": lambda f: f([0, 1, 1, 1], [0, 1, 0, 0], 4),
    },
)
