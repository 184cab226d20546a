"""Exercise 12.2: The logit of the projection discriminator."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def projection_logit(h, y, V, w, b):
    """⟨v_y, h⟩ + ⟨w, h⟩ + b: the logits (n,).

    Features h (n, d), labels y (n,), rows V (classes, d), w (d,), a number b.
    """
    return (V[y] * h).sum(1) + h @ w + b


def _projection_by_loop(h, y, V, w, b):
    rows = []
    for features, label in zip(h.tolist(), y.tolist(), strict=True):
        rows.append(b + sum((v + u) * x for v, u, x in zip(V[label].tolist(), w.tolist(), features, strict=True)))
    return rows


def _projection_one_hot(h, y, V, w, b):
    return ((F.one_hot(y, len(V)).to(h) @ V + w) * h).sum(1) + b


def _projection_in_numpy(h, y, V, w, b):
    all_classes = h.numpy() @ V.numpy().T
    return all_classes[np.arange(len(y)), y.numpy()] + h.numpy() @ w.numpy() + b


def _projection_inputs(g):
    n, d, classes = ((5, 3, 4), (4, 2, 3), (6, 4, 2), (3, 5, 7))[int(torch.randint(4, (), generator=g))]
    h, V, w = (torch.randn(shape, generator=g) for shape in ((n, d), (classes, d), (d,)))
    return h, torch.randint(0, classes, (n,), generator=g), V, w, torch.randn((), generator=g).item()


_V = torch.tensor([[1.0, -2.0], [0.5, 3.0], [-1.0, 4.0]])


EXERCISE = Exercise(
    number="12.2",
    title="The logit of the projection discriminator",
    difficulty=1,
    minutes=8,
    task=r"""
Write (12.9) with $\psi(h) = \langle w, h \rangle + b$. For each image there is one logit, that of *its* label: shape
`(n,)`, for one image too. With `V = 0` the label has no effect; with `h = 0` each logit is `b`.""",
    inputs=_projection_inputs,
    solution=projection_logit,
    explanation=r"""
`V[y]` picks the row of each example's label, shape `(n, d)`; multiplied by `h` and summed over `d` it is the inner
product. The same as a linear layer whose weight vector $w + v_y$ belongs to the class. `h @ V.T` would compute the
products with all classes, of which only one per example is wanted.""",
    hints=(
        "Which row of `V` belongs to example $i$? Indexing with a whole vector of labels picks all rows at once.",
        "`V[y]` has shape `(n, d)`, as `h` has. The inner product of rows is a product and a sum over dimension 1.",
        "`(V[y] * h).sum(1)` is the projection; `h @ w + b` is ψ.",
    ),
    wrong=(
        Wrong(
            "ψ alone",
            "This is ψ alone. The projection ⟨v_y, h⟩ is missing, so the label has no effect.",
            lambda h, y, V, w, b: h @ w + b,
        ),
        Wrong(
            "the projection alone",
            "This is the projection alone. ψ(h), which asks whether the image is real at all, is missing.",
            lambda h, y, V, w, b: (V[y] * h).sum(1),
        ),
        Wrong(
            "the logits of all classes",
            "This has a logit for every class. Of each example only that of its own label is wanted: shape (n,).",
            lambda h, y, V, w, b: h @ V.T + (h @ w + b)[:, None],
        ),
        Wrong(
            "the sum over all classes",
            "The products with all classes are added up. Pick the row of each example's own label, V[y].",
            lambda h, y, V, w, b: (h @ V.T).sum(1) + h @ w + b,
        ),
        Wrong(
            "mean for sum",
            "The inner product is a sum over the features; this is their mean, d times too small.",
            lambda h, y, V, w, b: (V[y] * h).mean(1) + h @ w + b,
        ),
        Wrong(
            "added, not multiplied",
            "The label's vector is added without meeting h. This is concatenation before a linear layer, (12.6): the label "
            "can shift the logit and cannot change which images look right.",
            lambda h, y, V, w, b: V[y].sum(1) + h @ w + b,
        ),
        Wrong(
            "b left out",
            "The constant b of ψ is missing: with h = 0 the logit is b.",
            lambda h, y, V, w, b: (V[y] * h).sum(1) + h @ w,
        ),
    ),
    right=(_projection_by_loop, _projection_one_hot, _projection_in_numpy),
    probes={
        "one image": lambda f: f(torch.tensor([[2.0, 3.0]]), torch.tensor([1]), _V, torch.tensor([1.0, -1.0]), 0.5),
        "one feature": lambda f: f(torch.tensor([[2.0], [3.0]]), torch.tensor([2, 0]), _V[:, :1], torch.ones(1), 0.5),
        "features that are 0": lambda f: f(torch.zeros(2, 2), torch.tensor([0, 2]), _V, torch.ones(2), -0.7),
    },
)
