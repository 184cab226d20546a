"""Data sets from tensors and NumPy arrays."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genlab.data.images import Split, check_images, check_labels
from genlab.data.split import alike, check_share, choose_test, halves
from genlab.text import notice


def tensors(x: Any, y: Any = None, *, test_share: float = 0.2, seed: int = 0, names: Sequence[str] = ()) -> Split:
    """A data set from one's own arrays, divided by class.

    Who is in the test half follows from the seed and the images' content, not from their order; equal images are
    never on both sides.

    Args:
        x: tensor or NumPy array (n, c, h, w), (n, h, w) or (n, h, w, c), of 1 or 3 channels: whole numbers from 0 to
            255, or floats in [0, 1], which are rounded to 256 levels with a notice.
        y: class numbers from 0 up, (n,): tensor, array or list. Without them the set has no labels.
        test_share: of each class that is kept for testing.
        seed: of the split.
        names: of the classes.

    Raises:
        ValueError: type, shape, range, or a class of fewer than two different images; the message says the remedy.
    """
    check_share(test_share)
    pixels = _bytes(_channels_first(_tensor(x)))
    check_images(pixels)
    labels = None if y is None else _labels(y, len(pixels))
    if names and (labels is None or len(names) <= int(labels.max())):
        raise ValueError(f"names={tuple(names)} must name every class of y, from 0 up")
    keys = [hashlib.sha256(row.tobytes()).hexdigest() for row in pixels.numpy()]
    test = choose_test(labels, alike(pixels), keys, test_share=test_share, seed=seed, names=names)
    train = sorted(set(range(len(pixels))) - set(test))
    return halves(pixels, labels, test, train, keys, seed=seed, names=names)


def _tensor(x: Any) -> Tensor:
    if isinstance(x, Tensor):
        return x.detach().cpu()
    if not isinstance(x, np.ndarray):
        raise ValueError(
            f"x must be a tensor or a NumPy array, but is {type(x).__name__}; np.stack makes one of a list"
        )
    if x.dtype.kind not in "buif":
        raise ValueError(f"x must hold numbers, but is an array of {x.dtype}; images of one size make one array")
    return _native(x)


def _native(x: np.ndarray) -> Tensor:
    """A copy, in this machine's byte order and without negative strides, which torch has not."""
    return torch.from_numpy(np.array(x, dtype=x.dtype.newbyteorder("="), order="C"))


def _channels_first(x: Tensor) -> Tensor:
    shape = tuple(x.shape)
    if x.ndim == 2:
        raise ValueError(f"x has shape {shape}: give flat images their shape back, as x.reshape(-1, 1, 28, 28)")
    if x.ndim == 3 and shape[2] not in (1, 3, 4):
        return x[:, None]
    if x.ndim == 3:
        raise ValueError(f"x has shape {shape}, which looks like one image; several are (n, c, h, w) or (n, h, w, c)")
    if x.ndim == 4 and shape[1] in (1, 3):
        return x.contiguous()
    if x.ndim == 4 and shape[3] in (1, 3):
        return x.permute(0, 3, 1, 2).contiguous()
    more = ""
    if x.ndim == 4 and 4 in (shape[1], shape[3]):
        more = "; of four channels keep the first three, once the images are laid on a ground by the fourth"
    raise ValueError(f"x must be (n, c, h, w), (n, h, w) or (n, h, w, c) with 1 or 3 channels, but got {shape}{more}")


def _bytes(x: Tensor) -> Tensor:
    """uint8 pixels from 0 to 255."""
    if not x.numel():
        raise ValueError(f"x holds no images: its shape is {tuple(x.shape)}")
    if x.dtype == torch.bool:
        return 255 * x.to(torch.uint8)
    if x.is_floating_point():
        return _rounded(x)
    low, high = (int(end) for end in x.long().aminmax())  # torch cannot compare unsigned 16-bit numbers
    if low < 0 or high > 255:
        remedy = "divide 16-bit pixels by 257" if low >= 0 else "shift and scale them"
        raise ValueError(f"whole-number pixels must lie from 0 to 255, but range from {low} to {high}; {remedy}")
    if high == 1:
        raise ValueError("the pixels are 0 and 1, which is nearly black of 255; multiply x by 255, or pass floats")
    return x.to(torch.uint8)


def _rounded(x: Tensor) -> Tensor:
    if not bool(x.isfinite().all()):
        raise ValueError(f"{int((~x.isfinite()).sum())} pixels are NaN or infinite; mend or leave out their images")
    low, high = x.min().item(), x.max().item()
    if low < 0 or high > 1:
        remedy = "scale them to [0, 1]"
        if low >= -1 and high <= 1:
            remedy = "pass (x + 1) / 2"
        elif low >= 0 and high <= 255:
            remedy = "pass x / 255"
        raise ValueError(f"float pixels must lie in [0, 1], but range from {low:.4g} to {high:.4g}; {remedy}")
    notice("float pixels in [0, 1] are rounded to 256 levels")
    return (x.float() * 255).round_().to(torch.uint8)


def _labels(y: Any, n: int) -> Tensor:
    try:
        given = y.detach().cpu() if isinstance(y, Tensor) else _native(np.array(y))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"labels must be class numbers from 0 up, but could not be read ({error}); of names make numbers: "
            "names, y = np.unique(y, return_inverse=True)"
        ) from error
    check_labels(given, n)
    given = given.long()
    missing = (
        sorted(set(range(int(given.max()) + 1)) - set(given.unique().tolist())) if int(given.max()) < 2**20 else [0]
    )
    if missing:
        raise ValueError(
            f"labels must be 0, 1, … without gaps, but lie from {int(given.min())} to {int(given.max())} and "
            f"{missing[0]} never occurs; number the classes anew: y = np.unique(y, return_inverse=True)[1]"
        )
    return given
