"""Exercise 07.4: Straight through."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong, mistake


def straight_through(h, codebook):
    """Nearest codebook vectors, with the gradient of the identity in h.

    (n, d) and (k, d) -> (n, d).
    """
    codes = torch.cdist(h, codebook).argmin(1)
    e = codebook[codes]
    return h + (e - h).detach()


def _straight_by_loops(h, codebook):
    rows = []
    for row in h:
        distance = ((codebook - row) ** 2).sum(1)
        rows.append(row - row.detach() + codebook[int(distance.argmin())].detach())
    return torch.stack(rows)


def _straight_by_one_hot(h, codebook):
    distance = ((h[:, None] - codebook) ** 2).sum(-1)
    e = F.one_hot(distance.argmin(1), len(codebook)).to(codebook.dtype) @ codebook
    return h - h.detach() + e.detach()


class _Through(torch.autograd.Function):
    @staticmethod
    def forward(ctx, h, codebook):
        return codebook[(codebook.square().sum(1) - 2 * h @ codebook.T).argmin(1)]

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


def _draw(g):
    n, d, k = (int(torch.randint(low, low + 4, (), generator=g)) for low in (8, 2, 5))
    return torch.randn(n, d, generator=g), 1.5 * torch.randn(k, d, generator=g)


@mistake(
    "a soft choice",
    "This averages the codebook with soft weights. The choice is hard: one vector for each row.",
)
def _soft(h, codebook):
    return torch.softmax(-(torch.cdist(h, codebook) ** 2), 1) @ codebook


EXERCISE = Exercise(
    number="07.4",
    title="Straight through",
    difficulty=2,
    minutes=10,
    task=r"""
Write (7.10) for rows `h` of shape `(n, d)` and a codebook `(k, d)`. The values are those of the nearest codebook vectors,
nearest by the Euclidean distance.
The derivative in `h` is 1, as if nothing had happened, and the codebook gets no gradient: it follows a moving average. Both
gradients are compared.""",
    inputs=_draw,
    solution=straight_through,
    explanation=r"""
In the forward direction $h + (e - h)$ is $e$. The bracket is detached, so backward only the first $h$ is seen. Since $e$
stands in the bracket, the codebook is cut off too.""",
    hints=(
        "You need the number of the nearest vector for each row, and then a sum of which one part has no gradient.",
        "`torch.cdist` gives all distances, `argmin(1)` the codes, and indexing the codebook the vectors `e`.",
        "Return `h + (e - h).detach()`.",
    ),
    wrong=(
        Wrong(
            "no gradient",
            "The values are right, but h gets no gradient: the encoder would never learn.",
            lambda h, codebook: codebook[torch.cdist(h, codebook).argmin(1)].detach(),
        ),
        Wrong(
            "the gradient goes to the codebook",
            "The gradient goes to the codebook instead of h: the encoder would never learn. In h + (e − h) without detach "
            "that is so as well, since h and −h cancel.",
            lambda h, codebook: codebook[torch.cdist(h, codebook).argmin(1)],
        ),
        Wrong(
            "nothing is quantised",
            "This returns h itself: the forward value must be the codebook vector.",
            lambda h, codebook: h + 0 * codebook[torch.cdist(h, codebook).argmin(1)].detach(),
        ),
        Wrong(
            "the farthest",
            "This takes the farthest vector: argmin, not argmax.",
            lambda h, codebook: h + (codebook[torch.cdist(h, codebook).argmax(1)] - h).detach(),
        ),
        Wrong(
            "the largest product",
            "The vector with the largest dot product is not the nearest: the lengths matter too.",
            lambda h, codebook: h + (codebook[(h @ codebook.T).argmax(1)] - h).detach(),
        ),
        _soft,
    ),
    right=(_straight_by_loops, _straight_by_one_hot, _Through.apply),
    probes={
        "rows that are codebook vectors": lambda f: f(torch.eye(3)[[2, 0]], torch.eye(3)),
        "a long vector and a near one": lambda f: f(torch.tensor([[1.0, 0.0]]), torch.tensor([[9.0, 0.0], [0.5, 0.0]])),
        "near by the Euclidean distance, not by the largest or the summed difference": lambda f: f(
            torch.zeros(2, 3), torch.tensor([[2.0, 2.0, 2.0], [3.0, 0.0, 0.0], [2.0, 2.0, 0.5]])
        ),
        "one dimension, and a codebook of one vector": lambda f: f(
            torch.tensor([[3.0], [-1.0]]), torch.tensor([[2.0]])
        ),
    },
    gradient=("h", "codebook"),
)
