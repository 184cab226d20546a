"""A small U-Net for diffusion and flow matching: (x_t, t, y) -> the shape of x_t."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlab.nets.common import check_channels, check_labels, check_shape, embedding
from genlab.nets.residual import UpConv


def fourier(t: Tensor, d: int) -> Tensor:
    """Features of times (n,): sines and cosines of d/2 frequencies from 1 to 1,000, in proportion, (n, d)."""
    frequencies = torch.exp(math.log(1000.0) * torch.linspace(0, 1, d // 2, device=t.device))
    angle = t[:, None].float() * frequencies
    return torch.cat([angle.sin(), angle.cos()], 1)


def check_time(t: Tensor, n: int) -> None:
    """Raise a ValueError unless t holds n floats in [0, 1]; the range is looked at on the CPU only, not to wait."""
    if t.shape != (n,):
        raise ValueError(f"t must have shape ({n},), a time for each image, but has {tuple(t.shape)}")
    if not t.is_floating_point():
        raise ValueError(f"t must hold floats in [0, 1], but has dtype {t.dtype}; step i of T is i / T")
    if n and t.device.type == "cpu" and not torch.compiler.is_compiling():
        low, high = (v.item() for v in t.detach().aminmax())
        if not (low >= 0 and high <= 1):  # NaN is refused, too
            raise ValueError(f"t must lie in [0, 1], but ranges from {low:g} to {high:g}; step i of T is i / T")


class FiLMBlock(nn.Module):
    """Residual block whose hidden layer is scaled and shifted by a condition (Perez et al. 2018): the grid is kept.

    The last layer begins at zero, so that the block begins as its skip.
    """

    def __init__(self, i: int, o: int, condition: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, i), nn.GroupNorm(8, o)
        self.conv1, self.conv2 = nn.Conv2d(i, o, 3, 1, 1), nn.Conv2d(o, o, 3, 1, 1)
        self.film = nn.Linear(condition, 2 * o)
        self.skip = nn.Conv2d(i, o, 1) if i != o else nn.Identity()
        for p in self.conv2.parameters():
            nn.init.zeros_(p)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        h = self.norm2(self.conv1(F.silu(self.norm1(x))))
        scale, shift = self.film(c)[:, :, None, None].chunk(2, 1)
        return self.skip(x) + self.conv2(F.silu((1 + scale) * h + shift))


class UNet(nn.Module):
    """U-Net on images folded into 2 x 2 pixels a cell, with one halving of the grid: model(x_t, t, y) -> like x_t.

    With classes, label number `classes` means "no label": players put it in place of some labels, guidance needs it.
    Its output begins as zero. Source: Ho et al. 2020, in small; folded pixels: Shi et al. 2016.

    Args:
        channels: 1 or 3.
        size: of the square images, a multiple of 4 from 8.
        width: channels of the finer grid, a multiple of 8; the coarser has twice as many.
        classes: number of labels, if it is conditional.
    """

    def __init__(self, *, channels: int = 1, size: int = 28, width: int = 32, classes: int | None = None) -> None:
        super().__init__()
        check_channels(channels)
        if size % 4 or size < 8:
            raise ValueError(f"size={size}: this network takes multiples of 4 from 8; pad or resize the images")
        if width % 8 or width < 8:
            raise ValueError(f"width={width} must be a multiple of 8, since channels are normalised in 8 groups")
        self.channels, self.size, self.width, self.classes = channels, size, width, classes
        d = 4 * width
        self.embedding = embedding(None if classes is None else classes + 1, d)
        self.time = nn.Sequential(nn.Linear(32, d), nn.SiLU(), nn.Linear(d, d))
        self.head = nn.Conv2d(4 * channels, width, 3, 1, 1)
        self.fine = FiLMBlock(width, width, d)
        self.down = nn.Conv2d(width, 2 * width, 3, 2, 1)
        self.coarse = nn.ModuleList(FiLMBlock(2 * width, 2 * width, d) for _ in range(2))
        self.up = UpConv(2 * width, width)
        self.last = FiLMBlock(2 * width, width, d)
        self.norm, self.output = nn.GroupNorm(8, width), nn.Conv2d(width, 4 * channels, 3, 1, 1)
        for p in self.output.parameters():
            nn.init.zeros_(p)

    def forward(self, x_t: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        check_shape(x_t, self.channels, self.size)
        check_time(t, len(x_t))
        check_labels(y, self.embedding, len(x_t))
        c = self.time(fourier(t, 32))
        c = F.silu(c if y is None or self.embedding is None else c + self.embedding(y))
        fine = self.fine(self.head(F.pixel_unshuffle(x_t, 2)), c)  # (n, w, s/2, s/2)
        h = self.down(fine)  # (n, 2w, s/4, s/4)
        for block in self.coarse:
            h = block(h, c)
        h = self.last(torch.cat([self.up(h), fine], 1), c)
        return F.pixel_shuffle(self.output(F.silu(self.norm(h))), 2)
