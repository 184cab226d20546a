"""Exercise A1.14: What an epoch reports."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def epoch_loss(losses, sizes):
    """Mean loss per image over an epoch, from batch means and batch sizes.

    (m,) twice -> 0-d.
    """
    return (losses * sizes).sum() / sizes.sum()


def _running(losses, sizes):
    mean = seen = 0.0
    for loss, size in zip(losses.tolist(), sizes.tolist(), strict=True):
        seen += size
        mean += (loss - mean) * size / seen
    return mean


def _in_numpy(losses, sizes):
    return np.average(losses.numpy(), weights=sizes.numpy())


def _epoch(g):
    m = int(torch.randint(2, 7, (), generator=g))
    return 3 * torch.randn(m, generator=g) + 1, torch.randint(1, 20, (m,), generator=g).float()


EXERCISE = Exercise(
    number="A1.14",
    title="What an epoch reports",
    difficulty=3,
    minutes=30,
    task=r"""
The article seeds nothing, evaluates nothing, and prints the last batch's loss as the epoch's. Write the mean loss *per
image* over an epoch, from the mean loss and the size of every batch. The sizes may all differ, as they do where a data
loader fills batches by length; usually only the last is smaller. Then take both
mended programs of this chapter: give them a seed, a held-out test set and a report after each epoch, and say for each
number how far it would move with another seed and with another test set.""",
    inputs=_epoch,
    solution=epoch_loss,
    explanation=r"""
A batch of 3 images counts for 3, not for 8: weigh the means by the sizes. The mean of the means is right only if all
batches are equal, and the last batch alone is a random draw of a few images.""",
    hints=(
        "What would the sum of the losses of all images be, given the mean and the size of each batch?",
        "Each batch contributes its mean times its size. How many images are there in all?",
        "`(losses * sizes).sum() / sizes.sum()`.",
    ),
    wrong=(
        Wrong(
            "the last batch",
            "This is the last batch's loss, as in the article: a few images, drawn at random, stand for all.",
            lambda losses, sizes: losses[-1],
        ),
        Wrong(
            "the mean of the means",
            "The small last batch counts as much as the others. Weigh every mean by its size.",
            lambda losses, sizes: losses.mean(),
        ),
        Wrong(
            "the sum",
            "This is the sum over images. Divide by their number.",
            lambda losses, sizes: (losses * sizes).sum(),
        ),
        Wrong(
            "divided by the number of batches",
            "Divide by the number of images, not of batches.",
            lambda losses, sizes: (losses * sizes).sum() / len(losses),
        ),
    ),
    right=(lambda losses, sizes: torch.dot(losses, sizes / sizes.sum()), _running, _in_numpy),
    probes={
        "batches of equal size": lambda f: f(torch.tensor([1.0, 2.0, 6.0]), torch.tensor([5.0, 5.0, 5.0])),
        "a smaller last batch": lambda f: f(torch.tensor([1.0, 2.0, 6.0]), torch.tensor([8.0, 8.0, 3.0])),
        "one batch": lambda f: f(torch.tensor([-2.0]), torch.tensor([7.0])),
    },
    discussion=r"""
**For the open part.** A seed makes a run repeatable, not right: the spread over at least three seeds says how far a
number moves by luck of the start and the order. The standard error over test images says how far it would move with
other images. A VAE's report is the ELBO on binarised test images, in nats. A GAN has no such number: its losses say how
the players stand, so it is judged by its samples, with a distance whose value for real against real is given beside it.""",
)
