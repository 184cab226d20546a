"""Exercise 10.2: Are they all the same?"""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

from itertools import combinations

import torch
from scipy.spatial import distance

from genlab.exercises import Exercise, Wrong


def spread_ratio(fake, real):
    """The spread (10.2) of samples (n, ...) against real images (m, ...): a number."""
    return torch.pdist(fake.flatten(1)).mean() / torch.pdist(real.flatten(1)).mean()


def _all_pairs(x):
    x = x.flatten(1)
    return (x[:, None] - x[None]).square().sum(-1).sqrt()


def _mean_off_diagonal(x):
    return _all_pairs(x).sum() / (len(x) * (len(x) - 1))


def _spread_by_loops(fake, real):
    def mean(x):
        found = [float((a - b).norm()) for a, b in combinations(x, 2)]
        return sum(found) / len(found)

    return mean(fake) / mean(real)


def _spread(of_distances, p=2.0):
    """The quotient of something else of the distances than their means."""
    return lambda fake, real: (
        of_distances(torch.pdist(fake.flatten(1), p)) / of_distances(torch.pdist(real.flatten(1), p))
    )


def _batches(g):
    """Batches of 2 images or more, of any shape; one real image lies far from the others."""
    n, m, i = (int(torch.randint(high, (), generator=g)) for high in (5, 5, 4))
    shape = [(2, 2, 3), (5,), (3, 1, 2), (2, 4)][i]
    fake, real = 0.5 * torch.randn(2 + n, *shape, generator=g), torch.randn(2 + m, *shape, generator=g)
    real[-1] += 5
    return fake, real


EXERCISE = Exercise(
    number="10.2",
    title="Are they all the same?",
    difficulty=1,
    minutes=8,
    task=r"""
Write the spread (10.2): the mean Euclidean distance of two *different* samples of a batch, divided by that of two
different real images. The batches may differ in size, from 2 images on, and their images may have any shape. Samples that
are all equal have spread 0, and the real images themselves have spread 1. A picture that is added to all images of a batch
makes no difference.""",
    inputs=_batches,
    solution=spread_ratio,
    explanation=r"""
`torch.pdist` gives the distances of the $n(n-1)/2$ pairs of different rows. The pairs of a sample with itself are at
distance 0; a mean over all $n^2$ pairs would be too small by the factor $1 - 1/n$, and unequally so for batches of
unequal size. Dividing by the spread of real images gives a number without unit, which reads the same for digits and
faces.""",
    hints=(
        "Flatten each image to a row. Which function of torch gives the distances of all pairs of rows?",
        "`torch.pdist` leaves out the pairs of a row with itself; `torch.cdist(x, x)` does not.",
        "`torch.pdist(x.flatten(1)).mean()` for both batches, and their quotient.",
    ),
    wrong=(
        Wrong(
            "pairs of an image with itself",
            "The pairs of an image with itself are counted too. They are 0, and weigh more in the smaller batch.",
            lambda fake, real: _all_pairs(fake).mean() / _all_pairs(real).mean(),
        ),
        Wrong(
            "distances of zero left out",
            "Pairs at distance 0 are left out here. Two samples of a batch that look alike are a pair, too, and lower the spread.",
            _spread(lambda d: d[d > 0].mean()),
        ),
        Wrong(
            "squared distances",
            "This is the quotient of the mean squared distances, which is that of the variances too. Asked is the mean of "
            "the distances themselves.",
            _spread(lambda d: d.square().mean()),
        ),
        Wrong(
            "the root of the mean square",
            "The distances are squared before the mean, and the root comes after it. Take the root of each distance.",
            _spread(lambda d: d.square().mean().sqrt()),
        ),
        Wrong(
            "sums of absolute differences",
            "The distance of two images is a sum of absolute differences here. The Euclidean one is a root of squares.",
            _spread(torch.mean, 1.0),
        ),
        Wrong(
            "upside down",
            "The quotient is upside down: a collapsed generator would get an infinite spread.",
            lambda fake, real: spread_ratio(real, fake),
        ),
        Wrong(
            "samples against real images",
            "The distances are those of samples to real images. Spread compares samples with samples.",
            lambda fake, real: (
                torch.cdist(fake.flatten(1), real.flatten(1)).mean() / torch.pdist(real.flatten(1)).mean()
            ),
        ),
        Wrong(
            "standard deviations of pixels",
            "This compares standard deviations of single pixels. A fine idea, but (10.2) has distances of images.",
            lambda fake, real: fake.flatten(1).std(0).mean() / real.flatten(1).std(0).mean(),
        ),
        Wrong(
            "not divided by the real spread",
            "The division by the spread of real images is missing: this number is in units of the pixels.",
            lambda fake, real: torch.pdist(fake.flatten(1)).mean(),
        ),
        Wrong(
            "sums of distances",
            "This is a quotient of sums over pairs, of which the larger batch has more. Divide each by its number of pairs.",
            _spread(torch.sum),
        ),
    ),
    right=(
        _spread_by_loops,
        lambda fake, real: _mean_off_diagonal(fake) / _mean_off_diagonal(real),
        lambda fake, real: distance.pdist(fake.flatten(1)).mean() / distance.pdist(real.flatten(1)).mean(),
    ),
    probes={
        "the spread of images that come twice": lambda f: f(
            torch.tensor([[0.0, 0.0], [0.0, 0.0], [3.0, 4.0]]),
            torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 1.0]]),
        ),
        "the spread of samples that are all equal": lambda f: f(torch.ones(3, 4), torch.eye(5, 4)),
        "the spread of real images": lambda f: f(torch.eye(5, 4), torch.eye(5, 4)),
        "the spread of two samples among three real images": lambda f: f(torch.eye(2, 3), 3 * torch.eye(3)),
        "that an image shared by all makes no difference": lambda f: f(5000 + torch.eye(3), torch.eye(3) - 3000),
    },
)
