"""Exercise 01.5: Learning by counting."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def fit_coins(x, y, classes):
    """Smoothed shares of ones: x (n, d) of 0 and 1, y (n,) -> (classes, d)."""
    rows = []
    for c in range(classes):
        own = x[y == c]
        rows.append((own.sum(0) + 1) / (len(own) + 2))
    return torch.stack(rows)


def _coins_by_one_hot(x, y, classes):
    member = F.one_hot(y, classes).to(x)
    return (member.T @ x + 1) / (member.sum(0)[:, None] + 2)


def _coins_by_numpy(x, y, classes):
    x, y, on = x.numpy(), y.numpy(), np.ones((classes, x.shape[1]))
    np.add.at(on, y, x)
    return on / (np.bincount(y, minlength=classes)[:, None] + 2)


def _coins_by_loops(x, y, classes):
    on, images = [[1] * x.shape[1] for _ in range(classes)], [2] * classes
    for row, c in zip(x.tolist(), y.tolist(), strict=True):
        images[c] += 1
        on[c] = [a + b for a, b in zip(on[c], row, strict=True)]
    return [[a / images[c] for a in on[c]] for c in range(classes)]


def _coins(x, y, classes, top=1.0, bottom=2.0):
    return torch.stack([(x[y == c].sum(0) + top) / ((y == c).sum() + bottom) for c in range(classes)])


def _draw(g):
    n, d, classes = (int(torch.randint(low, low + 4, (), generator=g)) for low in (9, 5, 2))
    return torch.rand(n, d, generator=g).round(), torch.randint(classes, (n,), generator=g), classes


EXERCISE = Exercise(
    number="01.5",
    title="Learning by counting",
    difficulty=2,
    minutes=8,
    task=r"""
Fit naive Bayes: return $\theta$ of shape `(classes, d)`, where $\theta_{yi}$ is the probability that pixel $i$ is on in images
of class $y$. Use Laplace's rule, which adds one image with the pixel on and one with it off to every class. A class without
any image then gets one half everywhere.""",
    inputs=_draw,
    solution=fit_coins,
    explanation=r"""
Setting the derivative of the log-likelihood to zero gives the share of ones, separately for every class and pixel: learning is
counting. The two extra images keep every probability away from 0 and 1. Without them a single unusual pixel would make an image
impossible, $\log p(x) = -\infty$.""",
    hints=(
        "For one class and one pixel: how many of the class's images have it on, and how many images has the class?",
        "Laplace's rule adds 1 to the first number and 2 to the second.",
        "For class `c`: `own = x[y == c]`, then `(own.sum(0) + 1) / (len(own) + 2)`. Stack the rows.",
    ),
    wrong=(
        Wrong(
            "not smoothed",
            "These are the plain shares, without Laplace's two extra images. A pixel that was never on gets probability "
            "zero, and an empty class divides by zero.",
            lambda x, y, classes: _coins(x, y, classes, 0.0, 0.0),
        ),
        Wrong(
            "one image too few below",
            "One is added above, but only one below. Two images are added to the class, one with the pixel on: + 2.",
            lambda x, y, classes: _coins(x, y, classes, 1.0, 1.0),
        ),
        Wrong(
            "divided by all images",
            "The counts are divided by the number of all images. p(x|y) needs the number of images of the class.",
            lambda x, y, classes: torch.stack([(x[y == c].sum(0) + 1) / (len(x) + 2) for c in range(classes)]),
        ),
        Wrong(
            "smoothed by the number of classes",
            "The number of classes was added below. A pixel has two outcomes, on and off, so add 2.",
            lambda x, y, classes: _coins(x, y, classes, 1.0, float(classes)),
        ),
        Wrong(
            "pixels that share one probability",
            "Each row sums to one, as for words of a text. Here every pixel is a coin of its own: divide by images, "
            "not by the total ink.",
            lambda x, y, classes: torch.stack(
                [(x[y == c].sum(0) + 1) / (x[y == c].sum() + x.shape[1]) for c in range(classes)]
            ),
        ),
    ),
    right=(_coins_by_one_hot, _coins_by_numpy, _coins_by_loops),
    probes={
        "a class that has no images": lambda f: f(torch.ones(2, 3), torch.tensor([0, 0]), 2),
        "a single image": lambda f: f(torch.tensor([[1.0, 0.0]]), torch.tensor([0]), 1),
        "images of one pixel": lambda f: f(torch.tensor([[1.0], [1.0], [0.0]]), torch.tensor([2, 2, 0]), 3),
    },
)
