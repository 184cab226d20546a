"""Two sets of images, real and generated, compared in the features of a named network."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from genlab.metrics.distances import frechet_distance, kernel_estimate
from genlab.metrics.features import PIXELS, features, images, tensor
from genlab.metrics.manifolds import density_coverage, precision_recall

FEWEST = 6
"""Images that a comparison needs: density looks at five neighbours of each."""


def compare(
    real: Tensor | np.ndarray,
    fake: Tensor | np.ndarray,
    net: nn.Module,
    *,
    name: str,
    pixels: str = "unit",
    batch_size: int = 100,
) -> dict[str, Any]:
    """All metrics of this package for two sets of images, with what is needed to read them.

    Values compare with each other only for one network and for equal numbers of images. The Fréchet distance falls as
    1/n even when nothing changes, so it stands beside its floor: `frechet_floor` is that of real images against other
    real images, and `frechet_halves` that of real against generated ones, both between `halves` images a side. Sets are
    shuffled first, always alike, since folders are often sorted by class.

    Args:
        real: images (n, c, h, w), uint8 or in [0, 1].
        fake: images (m, c, h, w) of the same size and channels.
        net: its `features`, or its output, are looked at; where it has `channels` and `size`, images must have them.
        name: of the network; stands in the result, since no value means anything without it.
        pixels: the range that the network wants, "unit" or "symmetric".
        batch_size: images at a time.

    Returns:
        features (the name), dimensions, real and fake (numbers of images), frechet, frechet_halves, frechet_floor,
        halves, kernel, kernel_error, precision, recall (3 neighbours), density and coverage (5 neighbours).

    Raises:
        ValueError: fewer than six images of a kind, different shapes, or a network that does not take them.
    """
    if pixels not in PIXELS:
        raise ValueError(f"unknown pixels {pixels!r}; choose {', '.join(map(repr, PIXELS))}")
    sets = _unit(real, "real"), _unit(fake, "generated")
    _check_together(*sets, net, name)
    a, b = (_rows(net, _shuffled(x), name, pixels, batch_size) for x in sets)
    return {"features": name, "dimensions": a.shape[1], "real": len(a), "fake": len(b)} | _scores(a, b)


def _scores(a: Tensor, b: Tensor) -> dict[str, Any]:
    half = min(len(a) // 2, len(b))
    kernel, error = kernel_estimate(a, b)
    return {
        "frechet": frechet_distance(a, b),
        "frechet_halves": frechet_distance(a[:half], b[:half]),
        "frechet_floor": frechet_distance(a[:half], a[half : 2 * half]),
        "halves": half,
        "kernel": kernel,
        "kernel_error": error,
        **precision_recall(a, b)._asdict(),
        **density_coverage(a, b)._asdict(),
    }


def _unit(x: Tensor | np.ndarray, which: str) -> Tensor:
    """Images in [0, 1] on the CPU."""
    x = tensor(x).cpu()
    try:
        x = images(x.float() / 255 if x.dtype == torch.uint8 else x)
    except ValueError as error:
        raise ValueError(f"{which} images: {error}") from error
    if len(x) < FEWEST:
        raise ValueError(f"got {len(x)} {which} images, but neighbours need at least {FEWEST}; hundreds say more")
    return x


def _shuffled(x: Tensor) -> Tensor:
    return x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]


def _check_together(real: Tensor, fake: Tensor, net: nn.Module, name: str) -> None:
    shape, other = tuple(real.shape[1:]), tuple(fake.shape[1:])
    if shape != other:
        raise ValueError(
            f"real images are {shape} and generated ones {other} (channels, height, width); "
            "read both with one size= and channels="
        )
    channels, size = getattr(net, "channels", None), getattr(net, "size", None)
    if isinstance(channels, int) and channels != shape[0]:
        raise ValueError(f"{name} looks at {channels} channels, but the images have {shape[0]}; read with channels=")
    if isinstance(size, int) and shape[1:] != (size, size):
        raise ValueError(f"{name} looks at {size} x {size} pixels, but the images are {shape}; read with size={size}")


def _rows(net: nn.Module, x: Tensor, name: str, pixels: str, batch_size: int) -> Tensor:
    x = x if pixels == "unit" else 2 * x - 1
    try:
        return features(net, x, batch_size=batch_size, pixels=pixels)
    except (RuntimeError, ValueError) as error:  # a network of the user's own, which knows its shapes by failing
        raise ValueError(f"{name} fails on images {tuple(x.shape[1:])}: {str(error).splitlines()[0]}") from error
