"""Exercise 03.1: What a plane leaves out."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch

from genlab.exercises import Exercise, Wrong


def pca_error(eigenvalues, d):
    """Smallest mean squared error of a linear autoencoder with d numbers; eigenvalues (D,) in any order: 0-d."""
    return eigenvalues.sort(descending=True).values[d:].sum()


EXERCISE = Exercise(
    number="03.1",
    title="What a plane leaves out",
    difficulty=1,
    minutes=5,
    task=r"""
Write the smallest error (3.3) of a linear autoencoder with `d` numbers, from the eigenvalues of the covariance. They come
in any order: `torch.linalg.eigh`, for one, returns the smallest first. For `d = 0` it is the variance of the data, and for
`d` = their number it is 0.""",
    inputs=lambda g: (torch.rand(6, generator=g), 2),
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
    right=(lambda eigenvalues, d: eigenvalues.sum() - eigenvalues.topk(d).values.sum(),),
    probes={
        "no numbers at all, d = 0": lambda f: f(torch.tensor([3.0, 1.0, 2.0]), 0),
        "as many numbers as dimensions": lambda f: f(torch.tensor([3.0, 1.0, 2.0]), 3),
    },
)
