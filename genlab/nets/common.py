"""What networks share: plain layers, labels, shapes, grids, and a context for evaluation mode."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from weakref import WeakSet

import torch
from torch import Tensor, nn


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; on leaving, also after an exception, each submodule has the mode that it had before.

    `net.train(was_training)` would not do: it sets all submodules alike, and wakes a BatchNorm that was frozen.
    """
    before = [(part, part.training) for module in modules for part in module.modules()]
    try:
        for module in modules:
            module.eval()
        yield
    finally:
        for part, training in before:
            part.training = training


def mlp(*sizes: int, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers of the given sizes with an activation between, none at the end."""
    layers: list[nn.Module] = []
    for i, o in pairwise(sizes):
        layers += [nn.Linear(i, o), act()]
    return nn.Sequential(*layers[:-1])


def join(z: Tensor, y: Tensor | None, embedding: nn.Embedding | None) -> Tensor:
    """z (n, d) with the embedding of the labels y (n,) appended.

    Raises:
        ValueError: labels are missing, given to a network without classes, or not whole numbers below the classes.
    """
    check_labels(y, embedding, len(z))
    return z if y is None or embedding is None else torch.cat([z, embedding(y)], 1)


# Embeddings that have seen labels on a GPU. There the range costs a wait for the device, so it is checked once: labels
# that are wrong altogether (from 1 to 10, or of another data set) are found, and training is not slowed.
_checked: WeakSet[nn.Embedding] = WeakSet()


def check_labels(y: Tensor | None, embedding: nn.Embedding | None, n: int) -> None:
    """Raise a ValueError unless there are n labels where there are classes, and none elsewhere.

    Type and shape are checked always, the range always on the CPU and at the first call elsewhere. An index out of
    range would be an IndexError without words on the CPU, and end the whole process on a GPU.
    """
    if embedding is None and y is not None:
        raise ValueError("got labels, but this network was made without classes; leave y out, or make it with classes=")
    if embedding is None:
        return
    if y is None:
        raise ValueError("got no labels, but this network was made with classes; pass y of shape (n,)")
    if not isinstance(y, Tensor) or y.dtype not in (torch.int64, torch.int32):
        got = y.dtype if isinstance(y, Tensor) else type(y).__name__
        raise ValueError(f"labels must be a tensor of whole numbers, torch.int64, but got {got}; convert: y.long()")
    if y.shape != (n,):
        raise ValueError(
            f"labels must have shape ({n},), one for each example, but got {tuple(y.shape)}"
            + ("; from one-hot rows: y.argmax(1)" if y.ndim == 2 else "")
        )
    if n and not y.is_meta and not torch.compiler.is_compiling() and embedding not in _checked:
        low, high = (int(v) for v in y.aminmax())
        if low < 0 or high >= embedding.num_embeddings:
            raise ValueError(
                f"labels must lie from 0 to {embedding.num_embeddings - 1}, but got {low} to {high}; "
                "shift them, or make the network with more classes"
            )
        if y.device.type != "cpu":
            _checked.add(embedding)


def embedding(classes: int | None, d: int) -> nn.Embedding | None:
    """A table with a row of d numbers for each class; None without classes."""
    return nn.Embedding(classes, d) if classes else None


def check_z(z: Tensor, d: int) -> None:
    """Raise a ValueError unless z is (n, d)."""
    if z.ndim != 2 or z.shape[1] != d:
        flat = z.ndim > 2 and z.shape[1:].numel() == d
        remedy = "; pass z.flatten(1)" if flat else "; draw torch.randn(n, z_dim), or make the network with this z_dim"
        raise ValueError(f"z must have shape (n, {d}), but got {tuple(z.shape)}{remedy}")


def check_shape(x: Tensor, channels: int, size: int) -> None:
    """Raise a ValueError unless x is (n, channels, size, size)."""
    if x.ndim != 4 or x.shape[1:] != (channels, size, size):
        raise ValueError(f"images must have shape (n, {channels}, {size}, {size}), but got {tuple(x.shape)}")


def check_channels(channels: int) -> None:
    """Raise a ValueError unless images are grey or colour."""
    if channels not in (1, 3):
        raise ValueError(
            f"channels={channels}: images have 1 channel (grey) or 3 (colour); drop an alpha channel: x[:, :3]"
        )


MAX_GROWTH = 8
"""Channels double from stage to stage up to this multiple, so that images of 128 and 256 pixels stay affordable."""


def growth(stages: int) -> list[int]:
    """Multiples of the channels at each stage, from the image inwards: 1, 2, 4, 8, 8, …"""
    return [min(2**i, MAX_GROWTH) for i in range(stages)]


SIZES = tuple(sorted({side * 2**stages for side in (4, 5, 6, 7) for stages in range(2, 7) if side * 2**stages <= 256}))
"""Sizes of images that convolutional networks take: 16, 20, 24, 28, 32, 40, … 224, 256."""


def halvings(size: int) -> tuple[int, int]:
    """Side of the smallest grid, 4 to 7, and number of doublings: 28 = 7 · 2², 32 = 4 · 2³, 48 = 6 · 2³, 64 = 4 · 2⁴.

    Raises:
        ValueError: the size is not such a product, or not from 16 to 256.
    """
    if size not in SIZES:
        below, above = [v for v in SIZES if v < size][-1:], [v for v in SIZES if v > size][:1]
        near = below + above
        raise ValueError(
            f"size={size}: convolutional networks double a grid of 4 to 7 pixels until 16 to 256 are reached; "
            + (f"nearest are {near[0]} and {near[1]}" if len(near) == 2 else f"nearest is {near[0]}")
            + "; resize the images"
        )
    stages = int(math.log2(size // 4))
    return size >> stages, stages


RESHAPING = (
    *("View", "Squeeze", "Unsqueeze", "Reshape", "UnsafeView", "Select", "Split", "Slice", "Alias", "Permute"),
    *("Transpose", "Clone", "ToCopy", "Mean"),
)


def is_sigmoid(value: Tensor) -> bool:
    """Whether a tensor was made by a sigmoid, and only reshaped, converted or averaged after it."""
    node = value.grad_fn
    while node is not None and node.name().startswith(RESHAPING):
        node = node.next_functions[0][0]
    return node is not None and node.name().startswith("Sigmoid")
