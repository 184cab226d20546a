"""Exercise 13.5: Whose neighbour?"""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from scipy.spatial import distance
from sklearn.neighbors import NearestNeighbors

from genlab.exercises import Exercise, Wrong


def told_apart(real, fake):
    """Leave-one-out accuracy of the nearest neighbour, on real and on generated rows.

    (n, d), (m, d) -> two numbers.
    """
    ways = torch.cdist(torch.cat([real, fake]), torch.cat([real, fake]))
    ways.fill_diagonal_(torch.inf)
    m = len(real)
    says_real = (ways.argmin(1) < m).double()
    return says_real[:m].mean(), 1 - says_real[m:].mean()


def _by_loops(real, fake):
    rows = [(x, True) for x in real] + [(x, False) for x in fake]
    right = {True: 0, False: 0}
    for i, (x, label) in enumerate(rows):
        others = [(float((x - y).norm()), other) for j, (y, other) in enumerate(rows) if j != i]
        right[label] += min(others, key=lambda pair: pair[0])[1] == label
    return right[True] / len(real), right[False] / len(fake)


def _by_blocks(real, fake):
    across = distance.cdist(real.numpy(), fake.numpy())
    found = []
    for x, other in ((real, across.min(1)), (fake, across.min(0))):
        own = torch.cdist(x, x).fill_diagonal_(torch.inf).min(1).values.numpy()
        found.append((own < other).mean())
    return tuple(found)


def _by_sklearn(real, fake):
    rows = torch.cat([real, fake]).numpy()
    second = NearestNeighbors(n_neighbors=2).fit(rows).kneighbors(rows)[1][:, 1]
    return (second[: len(real)] < len(real)).mean(), (second[len(real) :] >= len(real)).mean()


def _own(x):
    return torch.cdist(x, x).fill_diagonal_(torch.inf)


def _sets(g):
    n, m, d = (int(torch.randint(low, high, (), generator=g)) for low, high in ((3, 12), (3, 12), (1, 4)))
    real, fake = torch.randn(n, d, generator=g), 0.5 * torch.randn(m, d, generator=g)
    fake[-1] += 3
    return real.double(), fake.double()


EXERCISE = Exercise(
    number="13.5",
    title="Whose neighbour?",
    difficulty=2,
    minutes=12,
    task=r"""
Each row of the two sets together is given the label of its nearest *other* row: real or generated. Return the pair of shares
that get their own label: first of the real rows, then of the generated ones. The sets may differ in size. Distances are
Euclidean. Two sets that lie far apart, each of two rows or more, give 1 and 1. If each real row has a generated one nearest
to it, and the reverse, both are 0. No two distances of a row are equal.""",
    inputs=_sets,
    solution=told_apart,
    explanation=r"""
A row is at distance 0 from itself, so the diagonal must be out of the race before the smallest distance is sought. The two
shares say different things: near 1 on generated rows and low on real ones means that samples sit together in clumps.""",
    hints=(
        "Put both sets into one matrix of rows, and remember how many of them are real.",
        "The nearest row of each row is itself. Put infinity on the diagonal of the matrix of distances.",
        "`argmin(1) < len(real)` says which rows are called real. Average it over real rows, its contrary over the others.",
    ),
    wrong=(
        Wrong(
            "itself as its neighbour",
            "Every row is its own nearest row here, so all answers are right. Leave each row out of its own search.",
            lambda real, fake: (torch.tensor(1.0), torch.tensor(1.0)),
        ),
        Wrong(
            "generated first",
            "The two shares are in the other order: real rows first, then generated ones.",
            lambda real, fake: told_apart(real, fake)[::-1],
        ),
        Wrong(
            "the share that is called real",
            "The second number is the share of generated rows that are called real: it counts the errors.",
            lambda real, fake: (told_apart(real, fake)[0], 1 - told_apart(real, fake)[1]),
        ),
        Wrong(
            "errors",
            "These are the shares with the wrong label. Asked are those with the right one.",
            lambda real, fake: tuple(1 - share for share in told_apart(real, fake)),
        ),
        Wrong(
            "both together, twice",
            "This is one accuracy over all rows, given twice. Keep real and generated rows apart.",
            lambda real, fake: (
                (
                    (told_apart(real, fake)[0] * len(real) + told_apart(real, fake)[1] * len(fake))
                    / (len(real) + len(fake)),
                )
                * 2
            ),
        ),
        Wrong(
            "divided by all rows",
            "Each count is divided by the number of all rows. Divide by the number of its own set.",
            lambda real, fake: (
                told_apart(real, fake)[0] * len(real) / (len(real) + len(fake)),
                told_apart(real, fake)[1] * len(fake) / (len(real) + len(fake)),
            ),
        ),
        Wrong(
            "the mean distance",
            "This compares mean distances to the two sets. The nearest row alone decides.",
            lambda real, fake: (
                (torch.cdist(real, real).mean(1) < torch.cdist(real, fake).mean(1)).double().mean(),
                (torch.cdist(fake, fake).mean(1) < torch.cdist(real, fake).mean(0)).double().mean(),
            ),
        ),
    ),
    right=(_by_loops, _by_blocks, _by_sklearn),
    probes={
        "two sets that lie far apart": lambda f: f(
            torch.tensor([[0.0], [1.0], [3.0]]).double(), torch.tensor([[100.0], [101.0], [103.0]]).double()
        ),
        "pairs of a real and a generated row": lambda f: f(
            torch.tensor([[0.0], [10.0], [30.0]]).double(), torch.tensor([[1.0], [11.0], [31.0]]).double()
        ),
        "a clump of samples among real rows": lambda f: f(
            torch.tensor([[0.0], [1.5], [3.2], [5.5]]).double(), torch.tensor([[1.0], [1.01], [1.03]]).double()
        ),
    },
)
