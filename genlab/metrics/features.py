"""Features of images, and what all metrics ask of images and features.

Images and features may be tensors or NumPy arrays. Checks are made once, where they come in.
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Real
from torch import Tensor, nn

from genlab.nets.common import evaluating

Features = Real[Tensor, "n d"] | Real[np.ndarray, "n d"]

Other = Real[Tensor, "m d"] | Real[np.ndarray, "m d"]

PIXELS = {"unit": (0.0, 1.0), "symmetric": (-1.0, 1.0)}
"""Ranges by the names that `data.to_float` gives them."""

ROUNDING = 1e-3
"""How far pixels may leave their range: a quarter of a grey level, which filters and half precision leave behind."""


@torch.no_grad()
def features(
    net: nn.Module, x: Tensor | np.ndarray, *, batch_size: int = 100, pixels: str | None = "unit"
) -> Float[Tensor, "n d"]:
    """Run `net.features` (or `net`) over images (n, c, h, w) in evaluation mode; rows (n, d) in float64 on the CPU.

    Images go to the network's device and precision batch by batch.

    Args:
        net: its features are (n, d): one row an image.
        x: floating-point images in the range that the network was trained on.
        batch_size: images at a time.
        pixels: that range, "unit" for [0, 1] or "symmetric" for [−1, 1]; None: any, and nothing is checked.

    Raises:
        ValueError: images of another type, shape or range, NaN among them, or features that are not (n, d).
    """
    run = getattr(net, "features", net)
    with evaluating(net):
        rows = [run(part).cpu().double() for part in _parts(net, images(x, pixels), batch_size)]
    if rows[0].ndim != 2:
        raise ValueError(f"the network gives {tuple(rows[0].shape)}, not features (n, d); pool or flatten them in it")
    return torch.cat(rows)


@torch.no_grad()
def accuracy(
    net: nn.Module,
    x: Tensor | np.ndarray,
    y: Tensor | np.ndarray,
    *,
    batch_size: int = 100,
    pixels: str | None = "unit",
) -> float:
    """Share of images whose largest logit is at the label, in evaluation mode; `pixels` as in `features`.

    Raises:
        ValueError: images as in `features`, labels that are not whole numbers (n,), or a network without logits (n, c).
    """
    x, y = images(x, pixels), tensor(y).cpu()
    if y.shape != (len(x),) or y.is_floating_point() or y.dtype == torch.bool:
        raise ValueError(f"labels must be whole numbers ({len(x)},), but got {y.dtype} {tuple(y.shape)}")
    with evaluating(net):
        logits = torch.cat([net(part).cpu() for part in _parts(net, x, batch_size)])
    if logits.ndim != 2 or int(y.min()) < 0 or int(y.max()) >= logits.shape[1]:
        raise ValueError(
            f"the network gives {tuple(logits.shape)}, and the labels go from {int(y.min())} to {int(y.max())}; "
            "a classifier gives one logit for each class (n, c)"
        )
    return (logits.argmax(1) == y).double().mean().item()


def _parts(net: nn.Module, x: Tensor, batch_size: int) -> Iterator[Tensor]:
    """Batches on the network's device and in its precision."""
    like = next((p for p in net.parameters() if p.is_floating_point()), None)
    for part in x.split(batch_size):
        yield part if like is None else part.to(like)


def images(x: Tensor | np.ndarray, pixels: str | None = "unit") -> Tensor:
    """The images (n, c, h, w) as a tensor, checked: floating point, finite, in the range named `pixels`.

    Raises:
        ValueError: another type, shape or range, no images, or an unknown range; the remedy stands with it.
    """
    x = tensor(x)
    if pixels is not None and pixels not in PIXELS:
        raise ValueError(f"unknown pixels {pixels!r}; choose {', '.join(map(repr, PIXELS))} or None")
    if x.dtype == torch.uint8:
        raise ValueError("images are torch.uint8, pixels from 0 to 255; convert them: data.to_float(x)")
    if not x.is_floating_point():
        raise ValueError(f"images are {x.dtype}, but networks see floating-point numbers; convert them: x.float()")
    if x.ndim != 4 or not x.numel():
        raise ValueError(f"images must be (n, c, h, w) and not empty, but got {tuple(x.shape)}")
    low, high = (v.item() for v in x.aminmax())  # NaN if there is one
    if not abs(low) + abs(high) < float("inf"):
        raise ValueError("images hold NaN or infinite values; look at the network that made them")
    if pixels is not None and (low < PIXELS[pixels][0] - ROUNDING or high > PIXELS[pixels][1] + ROUNDING):
        wanted = "[{:g}, {:g}]".format(*PIXELS[pixels])
        raise ValueError(
            f"this network looks at pixels in {wanted}; got {low:.4g} to {high:.4g}: {_remedy(low, high, pixels)}"
        )
    return x


def _remedy(low: float, high: float, pixels: str) -> str:
    if high > 2 and low >= 0:
        return f'divide by 255, or pass the bytes through data.to_float(x, "{pixels}")'
    if -1 - ROUNDING <= low < -0.5 and high <= 1 + ROUNDING:  # as a tanh makes them, where "unit" is wanted
        return '(x + 1) / 2; pixels="symmetric" if the network was trained on [-1, 1], None for another range'
    return "x.clamp({:g}, {:g}); pixels=None for a network of another range".format(*PIXELS[pixels])


def tensor(x: Tensor | np.ndarray) -> Tensor:
    """A tensor as it is, without its graph; an array as a tensor of its own.

    Raises:
        ValueError: something else.
    """
    if isinstance(x, Tensor):
        return x.detach()
    if isinstance(x, np.ndarray) and x.dtype.kind in "fiub":
        return torch.from_numpy(np.array(x, order="C"))  # a copy: arrays may be read-only, or have negative strides
    got = f"an array of {x.dtype}" if isinstance(x, np.ndarray) else type(x).__name__
    raise ValueError(f"expected a tensor or a NumPy array of numbers, but got {got}")


def rows(x: Tensor | np.ndarray) -> Tensor:
    """Features as float64, where they are; on the CPU when their device has no float64, as Apple's."""
    x = tensor(x)
    return (x.cpu() if x.device.type == "mps" else x).double()


def pair(x: Tensor | np.ndarray, y: Tensor | np.ndarray, *, least: int = 2) -> tuple[Tensor, Tensor]:
    """Two sets of features (n, d) and (m, d) in float64 on one device, checked.

    Raises:
        ValueError: fewer than `least` rows, different widths, or values that are NaN or infinite.
    """
    x, y = rows(x), rows(y)
    shapes = f"{tuple(x.shape)} and {tuple(y.shape)}"
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or not x.shape[1] or min(len(x), len(y)) < least:
        raise ValueError(f"features must be (n, d) and (m, d) with n and m at least {least}, but got {shapes}")
    if not (_finite(x) and _finite(y)):
        raise ValueError(f"features of shapes {shapes} hold NaN or infinite values; look at the network that made them")
    return x, y.to(x.device)


def _finite(x: Tensor) -> bool:
    """Whether all values are finite: one pass, without a mask as large as x."""
    low, high = (v.item() for v in x.aminmax())  # NaN if there is one
    return abs(low) + abs(high) < float("inf")
