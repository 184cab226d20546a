"""Exercise 13.3: Who is reached?"""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from scipy.spatial import distance

from genlab.exercises import Exercise, Wrong
from genlab.metrics import precision_recall


def reached(real, fake, k):
    """Recall (13.7): the share of real rows in a ball of a generated one.

    (n, d), (m, d), k -> a number.
    """
    own = torch.cdist(fake, fake).fill_diagonal_(torch.inf)
    radius = own.kthvalue(k, dim=1).values  # to the k-th other generated row
    return (torch.cdist(real, fake) <= radius).any(1).double().mean()


def _by_loops(real, fake, k):
    inside = 0
    radii = [sorted(float((a - b).norm()) for j, b in enumerate(fake) if j != i)[k - 1] for i, a in enumerate(fake)]
    for x in real:
        inside += any(float((x - a).norm()) <= r for a, r in zip(fake, radii, strict=True))
    return inside / len(real)


def _by_scipy(real, fake, k):
    own = distance.cdist(fake.numpy(), fake.numpy())
    own.sort(axis=1)
    return (distance.cdist(real.numpy(), fake.numpy()) <= own[:, k]).any(1).mean()


def _by_genlab(real, fake, k):
    return precision_recall(real, fake, k=k).recall


def _radius(x, k):
    return torch.cdist(x, x).kthvalue(k + 1, dim=1).values


def _by_norm(p):
    """Recall with distances of another norm."""

    def answer(real, fake, k):
        radius = torch.cdist(fake, fake, p=p).kthvalue(k + 1, dim=1).values
        return (torch.cdist(real, fake, p=p) <= radius).any(1).double().mean()

    return answer


def _others_elsewhere(real, fake, k):
    own = torch.cdist(fake, fake)
    own[own == 0] = torch.inf
    return (torch.cdist(real, fake) <= own.kthvalue(k, dim=1).values).any(1).double().mean()


def _sets(g):
    """Sets of different size; some rows lie far from the others."""
    n, m = (int(torch.randint(6, 14, (), generator=g)) for _ in range(2))
    d, k = (int(torch.randint(1, 4, (), generator=g)) for _ in range(2))
    real, fake = torch.randn(n, d, generator=g), 0.7 * torch.randn(m, d, generator=g) + 0.4
    fake[-1] += 4
    return real.double(), fake.double(), k


EXERCISE = Exercise(
    number="13.3",
    title="Who is reached?",
    difficulty=2,
    minutes=12,
    task=r"""
Write recall as (13.7) defines it: the share of real rows that lie in the ball of at least one generated row. The ball of a
generated row reaches to its $k$-th nearest *other* generated row, and its surface belongs to it. A row that comes
twice is two rows: each is an other of the other. Distances are Euclidean. The sets may differ in size, and $k$ is smaller
than either. Copies of the real set have recall 1. A generated set that lies far away, compared with its own distances, has
recall 0.""",
    inputs=_sets,
    solution=reached,
    explanation=r"""
Recall asks whether real rows lie in the *generated* manifold, so radii come from distances within the generated set. A
row is its own nearest neighbour at distance 0, and must not count as one of the $k$. Exchange the two sets, and you have
precision.""",
    hints=(
        "Around which set are the balls, if the question is which real rows are reached?",
        "In the matrix of distances within a set, what stands on the diagonal, and may it count as a neighbour?",
        "Radius: k-th smallest off-diagonal entry of each row of cdist(fake, fake). Then cdist(real, fake) <= radius.",
    ),
    wrong=(
        Wrong(
            "precision",
            "This is precision: generated rows in the balls of real ones.",
            lambda real, fake, k: (torch.cdist(fake, real) <= _radius(real, k)).any(1).double().mean(),
        ),
        Wrong(
            "balls around the real rows",
            "The balls stand around the real rows, and those that hold a generated row are counted. That is coverage.",
            lambda real, fake, k: (torch.cdist(real, fake) <= _radius(real, k)[:, None]).any(1).double().mean(),
        ),
        Wrong(
            "itself as a neighbour",
            "A generated row counts as its own nearest neighbour, so that the balls are one neighbour too small.",
            lambda real, fake, k: (
                (torch.cdist(real, fake) <= torch.cdist(fake, fake).kthvalue(k, dim=1).values).any(1).double().mean()
            ),
        ),
        Wrong(
            "open balls",
            "Real rows exactly on the surface are left out; (13.7) has closed balls.",
            lambda real, fake, k: (torch.cdist(real, fake) < _radius(fake, k)).any(1).double().mean(),
        ),
        Wrong(
            "the k nearest of both",
            "The radius is taken from all real and generated rows together. It belongs to the generated set alone.",
            lambda real, fake, k: (
                (torch.cdist(real, fake) <= torch.cdist(fake, torch.cat([real, fake])).kthvalue(k + 1, dim=1).values)
                .any(1)
                .double()
                .mean()
            ),
        ),
        Wrong(
            "doubles left out",
            "Rows at distance 0 are not counted as others. A generated row that comes twice is two rows: leave out the diagonal.",
            _others_elsewhere,
        ),
        Wrong(
            "the largest difference",
            "Distances are the largest difference in a coordinate here. They are Euclidean.",
            _by_norm(torch.inf),
        ),
        Wrong(
            "differences added up",
            "Distances are sums of absolute differences here. They are Euclidean.",
            _by_norm(1.0),
        ),
        Wrong(
            "a number of rows",
            "This counts the real rows that are reached. Divide by how many there are.",
            lambda real, fake, k: (torch.cdist(real, fake) <= _radius(fake, k)).any(1).double().sum(),
        ),
        Wrong(
            "how often",
            "This counts all balls that hold a real row. A row that lies in many of them is reached once.",
            lambda real, fake, k: (torch.cdist(real, fake) <= _radius(fake, k)).double().sum(1).mean(),
        ),
    ),
    right=(_by_loops, _by_scipy, _by_genlab),
    probes={
        "recall of a copy of the real set": lambda f: f(torch.eye(6).double(), torch.eye(6).double(), 2),
        "recall of a set that lies elsewhere": lambda f: f(torch.eye(6).double(), 100 + torch.eye(6).double(), 2),
        "recall with real rows on the surface of the balls": lambda f: f(
            torch.tensor([[0.0], [1.0], [5.0], [9.0]]).double(), torch.tensor([[2.0], [3.0], [4.0]]).double(), 1
        ),
        "recall of one real row in a ball and one beside it": lambda f: f(
            torch.tensor([[-1.9, -1.9], [-1.2, -1.2]]).double(), torch.tensor([[0.0, 0.0], [2.0, 0.0]]).double(), 1
        ),
        "recall with rows that come twice in both sets": lambda f: f(
            torch.tensor([[0.0, 0.0], [0.0, 0.0], [-1.0, 0.0]]).double(),
            torch.tensor([[0.0, 0.0], [0.0, 0.0], [5.0, 0.0]]).double(),
            1,
        ),
    },
)
