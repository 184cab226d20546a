"""Exercise 03.1: What a plane leaves out."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def pca_error(eigenvalues, d):
    """Smallest mean squared error of a linear autoencoder with d numbers: 0-d.

    The eigenvalues (N,) come in any order.
    """
    return eigenvalues.sort(descending=True).values[d:].sum()


def _left_by_removing(eigenvalues, d):
    left = eigenvalues.tolist()
    for _ in range(d):
        left.remove(max(left))
    return math.fsum(left)


def _spectrum(g):
    size = int(torch.randint(3, 10, (), generator=g))
    return 3 * torch.rand(size, generator=g), int(torch.randint(1, size - 1, (), generator=g))


EXERCISE = Exercise(
    number="03.1",
    title="What a plane leaves out",
    difficulty=1,
    minutes=5,
    task=r"""
Write the smallest error (3.3) of a linear autoencoder with `d` numbers, from the eigenvalues of the covariance. They come
in any order (`torch.linalg.eigh`, for one, returns the smallest first), and some may be equal. The result is one number. For
`d = 0` it is the variance of the data, and for `d` = their number it is 0.""",
    inputs=_spectrum,
    solution=pca_error,
    explanation=r"""
The plane of the $d$ largest eigenvalues is kept, so their sum is explained. What is left out is the sum of the others:
squared errors in orthogonal directions add up.""",
    hints=(
        "Which eigenvalues does the best plane keep, and which are lost?",
        "Sort them first, largest first. `d` of them are kept.",
        "`eigenvalues.sort(descending=True).values[d:].sum()`.",
    ),
    wrong=(
        Wrong(
            "what is kept",
            "This is the variance that is kept. The error is what is left out.",
            lambda eigenvalues, d: eigenvalues.sort(descending=True).values[:d].sum(),
        ),
        Wrong(
            "smallest first",
            "The smallest eigenvalues are kept here. The best plane keeps the largest.",
            lambda eigenvalues, d: eigenvalues.sort().values[d:].sum(),
        ),
        Wrong(
            "not sorted",
            "The eigenvalues are taken in the order in which they come. Sort them, largest first.",
            lambda eigenvalues, d: eigenvalues[d:].sum(),
        ),
        Wrong(
            "the mean",
            "This is the mean of the left-out eigenvalues. Errors in orthogonal directions add up.",
            lambda eigenvalues, d: eigenvalues.sort(descending=True).values[d:].mean(),
        ),
        Wrong(
            "the share",
            "This is the share of the variance that is lost. The error itself was asked for.",
            lambda eigenvalues, d: eigenvalues.sort(descending=True).values[d:].sum() / eigenvalues.sum(),
        ),
    ),
    right=(
        _left_by_removing,
        lambda eigenvalues, d: eigenvalues.sum() - eigenvalues.topk(d).values.sum(),
        lambda eigenvalues, d: np.sort(eigenvalues.numpy())[: len(eigenvalues) - d].sum(),
        lambda eigenvalues, d: sum(sorted(eigenvalues.tolist(), reverse=True)[d:]),
    ),
    probes={
        "no numbers at all, d = 0": lambda f: f(torch.tensor([3.0, 1.0, 2.0]), 0),
        "equal eigenvalues": lambda f: f(torch.tensor([2.0, 1.0, 2.0, 2.0, 1.0]), 1),
        "two eigenvalues far above the others": lambda f: f(torch.tensor([0.5, 300.0, 0.25, 200.0]), 1),
        "as many numbers as dimensions": lambda f: f(torch.tensor([3.0, 1.0, 2.0]), 3),
    },
)
