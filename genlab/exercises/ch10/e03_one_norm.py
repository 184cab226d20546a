"""Exercise 10.3: One norm for many tensors."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def total_norm(gradients):
    """The norm of all gradients in a list together, a number; None counts as 0."""
    return sum((g.double() ** 2).sum() for g in gradients if g is not None) ** 0.5


def _there(gradients):
    return [g for g in gradients if g is not None]


def _norms(gradients):
    return [g.norm() for g in _there(gradients)]


def _norm_by_numpy(gradients):
    parts = [g.numpy().ravel() for g in _there(gradients)]
    return np.linalg.norm(np.concatenate(parts)) if parts else 0


def _gradients(g):
    """Tensors of 0 to 4 dimensions in any order, None among them, and one that is far larger than the others."""
    shapes = [(3, 2), (4,), (), (2, 1, 2, 2), (1,)]
    found = [torch.randn(shapes[i], generator=g) for i in torch.randperm(5, generator=g).tolist()]
    found[int(torch.randint(5, (), generator=g))] *= 10
    found.insert(int(torch.randint(5, (), generator=g)), None)
    return (found[int(torch.randint(3, (), generator=g)) :],)


EXERCISE = Exercise(
    number="10.3",
    title="One norm for many tensors",
    difficulty=1,
    minutes=5,
    task=r"""
`[p.grad for p in G.parameters()]` is a list of tensors of different shapes, in which `None` stands for a parameter that
no gradient reached. Write the Euclidean norm of all of them together, as if they were one long vector. An empty list, or
one of `None` only, has the norm 0. This is the number that must be 0 for $G$ after `loss_d.backward()`; the gradients are
left as they are.""",
    inputs=_gradients,
    solution=total_norm,
    explanation=r"""
By Pythagoras the square of the whole norm is the sum of the squares of the parts. It does not matter how the weights are
cut into tensors. Only this norm can be compared with a bound for clipping, and only this one is 0 exactly if all parts
are. (The squares are taken in double precision: in single precision that of $10^{-23}$ is 0, and a tiny leak would not be
seen.)""",
    hints=(
        "What is the length of a vector made of two pieces, if you know the lengths of the pieces?",
        "Add the *squares* of all entries of all tensors, then take one root. Leave `None` out.",
        "`sum((g**2).sum() for g in gradients if g is not None) ** 0.5`; the sum of nothing is 0.",
    ),
    wrong=(
        Wrong(
            "the sum of the norms",
            "These are the norms of the tensors, added. Lengths of orthogonal pieces add up by their squares.",
            lambda gradients: sum(_norms(gradients)),
        ),
        Wrong(
            "the root is missing",
            "This is the square of the norm. Take the root at the end.",
            lambda gradients: sum((g**2).sum() for g in _there(gradients)),
        ),
        Wrong(
            "the mean square",
            "This is the root of the mean square: divided by the number of weights. The norm is a sum.",
            lambda gradients: (
                (sum((g**2).sum() for g in _there(gradients)) / max(1, sum(g.numel() for g in _there(gradients))))
                ** 0.5
            ),
        ),
        Wrong(
            "the largest norm",
            "This is the norm of the largest tensor alone. All of them count.",
            lambda gradients: max([torch.zeros(()), *_norms(gradients)]),
        ),
        Wrong(
            "the mean of the norms",
            "This is the mean of the norms of the tensors, which depends on how the weights are cut into tensors.",
            lambda gradients: sum(_norms(gradients)) / max(1, len(_norms(gradients))),
        ),
        Wrong(
            "absolute values",
            "This is the sum of the absolute values. The Euclidean norm is the root of the sum of squares.",
            lambda gradients: sum(g.abs().sum() for g in _there(gradients)),
        ),
    ),
    right=(
        lambda gradients: torch.cat([torch.zeros(1)] + [g.flatten() for g in gradients if g is not None]).norm(),
        lambda gradients: math.sqrt(sum(v * v for g in gradients if g is not None for v in g.flatten().tolist())),
        lambda gradients: torch.stack([torch.zeros(()), *_norms(gradients)]).norm(),
        _norm_by_numpy,
    ),
    probes={
        "the norm of an empty list": lambda f: f([]),
        "the norm where no gradient arrived": lambda f: f([None, None]),
        "the norm of 3 and 4 in two tensors": lambda f: f([torch.tensor([3.0]), torch.tensor([[4.0]])]),
        "the norm where one gradient is 0": lambda f: f([torch.zeros(2), torch.tensor([-2.0])]),
        "the norm behind a None": lambda f: f([None, torch.full((2, 2), 0.5), None]),
    },
)
