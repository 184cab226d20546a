"""How this course compares generated digits with real ones: one protocol, so that its numbers compare with each other.

- Features: the zoo's classifier, 128 a digit. It saw the training digits, as the generators did, and no test digit.
- Samples: a thousand images (1000, 1, 28, 28) in [0, 1], grey values as the generator gives them.
- Real: the thousand test digits, a hundred of each class.
- Floor: what real digits score in a generator's place. The training digits, in the order that seed 0 gives, make four
  thousands without a digit in common; the floor is the mean of the four, and its error their standard deviation.

A floor between two random thousands would be higher, since here only one side has class shares by chance; a generator
that draws classes by chance is in the place of that side.
"""

import functools

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from genlab import data, metrics, zoo

N = 1000
"""Images a side."""


@functools.cache
def _network() -> torch.nn.Module:
    return zoo.load(zoo.CLASSIFIER)


def features(images: Tensor | np.ndarray) -> Float[Tensor, "n d"]:
    """Features of digits (n, 1, 28, 28) in [0, 1], any number of them.

    Raises:
        ValueError: images of another size or range.
    """
    shape = tuple(images.shape)
    if shape[1:] != (1, 28, 28):
        raise ValueError(f"the protocol judges digits (n, 1, 28, 28), but got {shape}; other images: genlab compare")
    return metrics.features(_network(), images)


@functools.cache
def real() -> Float[Tensor, "n d"]:
    """Features of the test digits."""
    return features(data.to_float(data.digits().test.x))


@functools.cache
def training() -> Float[Tensor, "n d"]:
    """Features of the training digits."""
    return features(data.to_float(data.digits().train.x))


def thousands() -> list[Float[Tensor, "n"]]:
    """Indices of the training digits in the floor's four thousands."""
    order = torch.randperm(len(data.digits().train.x), generator=torch.Generator().manual_seed(0))
    return list(order.split(N))


def fcd(images: Tensor | np.ndarray) -> float:
    """Fréchet classifier distance of a thousand samples to the test digits.

    Raises:
        ValueError: another number of images, since the distance depends on it, or another size or range.
    """
    if len(images) != N:
        raise ValueError(f"the protocol compares {N} samples, but got {len(images)}; its bias depends on the number")
    return metrics.frechet_distance(real(), features(images))


def floor() -> metrics.Floor:
    """FCD of real digits as if they were samples: mean and standard deviation over the four thousands."""
    values = [metrics.frechet_distance(real(), training()[chosen]) for chosen in thousands()]
    return metrics.Floor(float(np.mean(values)), float(np.std(values, ddof=1)))
