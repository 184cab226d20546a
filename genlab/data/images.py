"""Images as a data set holds them, its two halves, and the checks that every door makes."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Images(NamedTuple):
    """Images as stored: pixels uint8 (n, c, h, w) from 0 to 255, labels int64 (n,), or None for a set without."""

    x: Tensor
    y: Tensor | None

    @property
    def labels(self) -> Tensor:
        """y, where labels are needed.

        Raises:
            ValueError: the set has none.
        """
        if self.y is None:
            raise ValueError("these images have no labels; put them in one folder a class, or pass labels with them")
        return self.y


class _Halves(NamedTuple):
    train: Images
    test: Images


class Split(_Halves):
    """The two halves of a data set that must never meet; unpacks as `train, test = split`.

    Attributes:
        names: of the classes, in the order of their labels; empty where nobody named them.
    """

    names: tuple[str, ...] = ()

    def __new__(cls, train: Images, test: Images, names: Iterable[str] = ()) -> "Split":
        split = super().__new__(cls, train, test)
        split.names = tuple(names)
        return split

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for colour."""
        return self.train.x.shape[1]

    @property
    def size(self) -> int:
        """Height and width in pixels.

        Raises:
            ValueError: the images are not square.
        """
        height, width = self.train.x.shape[2:]
        if height != width:
            raise ValueError(f"images of {height} × {width} pixels have no one size; crop them to squares")
        return width

    @property
    def classes(self) -> int | None:
        """Number of classes, from names or labels; None without labels."""
        if self.train.y is None or self.test.y is None:
            return None
        return len(self.names) or 1 + max(int(part.y.max()) for part in self if part.y is not None and len(part.y))


def check_images(x: Any) -> None:
    """Raise a ValueError unless x is a non-empty uint8 tensor (n, c, h, w) of 1 or 3 channels."""
    if isinstance(x, Tensor) and x.dtype == torch.uint8 and x.ndim == 4 and x.shape[1] in (1, 3) and len(x):
        return
    got = f"{x.dtype} {tuple(x.shape)}" if hasattr(x, "dtype") and hasattr(x, "shape") else type(x).__name__
    raise ValueError(
        f"images must be a non-empty uint8 tensor (n, c, h, w) with 1 or 3 channels, but got {got}; "
        "data.tensors(x) makes it of other arrays"
    )


def check_labels(y: Any, n: int) -> None:
    """Raise a ValueError unless y is a tensor (n,) of integers from 0 up."""
    if not isinstance(y, Tensor):
        raise ValueError(f"labels must be a tensor, but are {type(y).__name__}; make one: torch.as_tensor(y)")
    if y.ndim == 2 and y.shape[1] > 1 and len(y) == n:
        raise ValueError(f"labels must be class numbers (n,), but got {tuple(y.shape)}; of one-hot rows take argmax(1)")
    if y.shape != (n,):
        shape = f"{len(y)} labels" if y.ndim == 1 else f"labels of shape {tuple(y.shape)}"
        raise ValueError(f"{n} images need {n} labels in one row, shape ({n},), but got {shape}")
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise ValueError(f"labels must be integers, but are {y.dtype}; convert them: y.long()")
    if n and (least := int(y.long().min())) < 0:
        raise ValueError(f"labels must be class numbers from 0 up, but the smallest is {least}")


def check_unit(x: Tensor, what: str = "pixels") -> None:
    """Raise a ValueError unless x holds floats in [0, 1], up to 10⁻⁴ of rounding; `what` names them in the message."""
    if not x.is_floating_point():
        raise ValueError(f"{what} must be floats in [0, 1], but are {x.dtype}; convert them: data.to_float(x)")
    if not x.numel():
        return
    low, high = (end.item() for end in x.detach().aminmax())
    if low >= -1e-4 and high <= 1 + 1e-4:
        return
    if not (abs(low) < float("inf") and abs(high) < float("inf")):
        raise ValueError(f"{what} must lie in [0, 1], but some are NaN or infinite")
    remedy = "divide them by 255"
    if low < 0:
        remedy = 'use pixels="unit", or (x + 1) / 2' if low >= -1.01 and high <= 1.01 else "scale them to [0, 1]"
    elif high <= 1.5:
        remedy = "clamp them: x.clamp(0, 1)"
    raise ValueError(f"{what} must lie in [0, 1], but range from {low:.4g} to {high:.4g}: {remedy}")
