"""Exercise 01.3: One step of a perceptron."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong, mistake


def perceptron_step(W, x, y):
    """The weights after one example: W (c, d), x (d,), label y -> (c, d)."""
    said = int((W @ x).argmax())
    W = W.clone()
    if said != y:
        W[y] += x
        W[said] -= x
    return W


def _perceptron_outer(W, x, y):
    target = F.one_hot(torch.tensor(y), len(W)).to(W)
    said = F.one_hot((W @ x).argmax(), len(W)).to(W)
    return W + torch.outer(target - said, x)


def _perceptron_by_numpy(W, x, y):
    W, x = W.numpy().copy(), x.numpy()
    said = np.argmax(W @ x)
    W[y] += x
    W[said] -= x
    return W


def _perceptron_by_lists(W, x, y):
    W, x = W.tolist(), x.tolist()
    scores = [sum(w * v for w, v in zip(row, x, strict=True)) for row in W]
    said = scores.index(max(scores))
    return [[w + ((c == y) - (c == said)) * v for w, v in zip(row, x, strict=True)] for c, row in enumerate(W)]


@mistake(
    "only the right class moves",
    "Only the row of the right class moved. The row that won wrongly must be lowered too.",
)
def _perceptron_one_sided(W, x, y):
    W = W.clone()
    if int((W @ x).argmax()) != y:
        W[y] += x
    return W


@mistake(
    "all other classes are lowered",
    "All classes but the right one were lowered. Only the class that was said is to blame.",
)
def _perceptron_all_others(W, x, y):
    said, W = int((W @ x).argmax()), W.clone()
    if said != y:
        W -= x
        W[y] += 2 * x
    return W


@mistake(
    "it moves although it was right",
    "The weights also change when the answer was right. Then a perceptron leaves them alone.",
)
def _perceptron_restless(W, x, y):
    said, W = int((W @ x).argmax()), W.clone()
    W[y] += x
    if said != y:
        W[said] -= x
    return W


@mistake(
    "softmax regression",
    (
        "This is a gradient step of softmax regression: every row moves by its probability. "
        "The perceptron takes the hard decision in place of the probabilities."
    ),
)
def _perceptron_softmax(W, x, y):
    target = F.one_hot(torch.tensor(y), len(W)).to(W)
    return W + torch.outer(target - torch.softmax(W @ x, 0), x)


def _draw_error(g):
    c, d = torch.randint(3, 6, (), generator=g), torch.randint(2, 5, (), generator=g)
    W, x = torch.randn(c, d, generator=g), torch.randn(d, generator=g)
    return W, x, int((W @ x).argmin())


EXERCISE = Exercise(
    number="01.3",
    title="One step of a perceptron",
    difficulty=1,
    minutes=6,
    task=r"""
Write rule (1.4) for one example: `W` has a row of weights for each of `c` classes, `x` is an image `(d,)`, `y` its label, an
int. Return the new weights, shape `(c, d)`, and leave the given ones as they were. When the answer was right, nothing changes.""",
    inputs=_draw_error,
    solution=perceptron_step,
    explanation=r"""
Two rows move. The score of the right class grows by $\lVert x \rVert^2$, that of the class that was said falls by as much. In
matrix form it is $W + (e_y - e_{\hat y})\,x^\top$, which is the gradient step of softmax regression with the probabilities
replaced by the hard decision. Rosenblatt's rule is therefore gradient descent on a loss that nobody had written down yet.""",
    hints=(
        "First find out what the perceptron says: the class with the largest score `W @ x`.",
        "If that is not `y`, two rows change: row `y` and the row that was said. Which one grows?",
        "On a copy `W = W.clone()`: `W[y] += x` and `W[said] -= x`, inside `if said != y`.",
    ),
    wrong=(
        _perceptron_one_sided,
        Wrong(
            "the signs are swapped",
            "The signs are swapped: this raises the wrong class and lowers the right one.",
            lambda W, x, y: 2 * W - perceptron_step(W, x, y),
        ),
        _perceptron_all_others,
        _perceptron_restless,
        _perceptron_softmax,
    ),
    right=(_perceptron_outer, _perceptron_by_numpy, _perceptron_by_lists),
    probes={
        "an example that is read rightly": lambda f: f(torch.eye(3), torch.tensor([0.0, 2.0, 1.0]), 1),
        "one pixel, and scores that are all negative": lambda f: f(
            torch.tensor([[-3.0], [-1.0], [-2.0]]), torch.tensor([1.0]), 0
        ),
        "two classes, of which the one with the longer weights wins": lambda f: f(
            torch.tensor([[1.0, 2.0], [6.0, 3.0]]), torch.tensor([1.0, 1.5]), 0
        ),
    },
)
