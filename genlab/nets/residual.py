"""Residual networks for adversarial games: `width` channels at every stage, images of one of `SIZES`."""

import math
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from genlab.nets.common import check_channels, check_labels, check_shape, check_z, embedding, halvings
from genlab.nets.conv import project


class ConditionalNorm(nn.Module):
    """BatchNorm whose scale and shift belong to the class (de Vries et al. 2017); plain BatchNorm without classes."""

    def __init__(self, channels: int, classes: int | None) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=classes is None)
        self.embedding = embedding(classes, 2 * channels)
        if self.embedding is not None:
            nn.init.zeros_(self.embedding.weight)

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        if self.embedding is None or y is None:
            return self.norm(x)
        scale, shift = self.embedding(y)[:, :, None, None].chunk(2, 1)
        return (1 + scale) * self.norm(x) + shift


class UpConv(nn.Conv2d):
    """Double the grid by nearest neighbours, then convolve with a kernel of 3 x 3: (n, i, s, s) -> (n, o, 2s, 2s).

    Each output pixel sees 3 x 3 pixels of the doubled grid, which are copies of 2 x 2 of the small one. So both steps
    are one transposed convolution, whose kernel of 4 x 4 holds sums of the weights: 4 multiplications in place of 9.
    """

    def __init__(self, i: int, o: int) -> None:
        super().__init__(i, o, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        kernel = F.pad(self.weight, (1, 1, 1, 1))  # (o, i, 5, 5)
        kernel = kernel[:, :, 1:] + kernel[:, :, :-1]  # -> (o, i, 4, 5)
        kernel = kernel[:, :, :, 1:] + kernel[:, :, :, :-1]  # -> (o, i, 4, 4)
        return F.conv_transpose2d(x, kernel.flip(2, 3).transpose(0, 1), self.bias, stride=2, padding=1)


class UpBlock(nn.Module):
    """Residual block that doubles the grid: (n, i, s, s) -> (n, o, 2s, 2s)."""

    def __init__(self, i: int, o: int, classes: int | None) -> None:
        super().__init__()
        self.norm1, self.norm2 = ConditionalNorm(i, classes), ConditionalNorm(o, classes)
        self.conv1, self.conv2, self.skip = UpConv(i, o), nn.Conv2d(o, o, 3, 1, 1), nn.Conv2d(i, o, 1)

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        h = self.conv1(F.relu(self.norm1(x, y)))
        return self.conv2(F.relu(self.norm2(h, y))) + F.interpolate(self.skip(x), scale_factor=2)


class DownBlock(nn.Module):
    """Residual block that halves the grid: (n, i, 2s, 2s) -> (n, o, s, s).

    The `first` block sees images in [−1, 1] and does not begin with a ReLU, which would hide their darker half.
    """

    def __init__(self, i: int, o: int, *, first: bool = False) -> None:
        super().__init__()
        self.first = first
        self.conv1, self.conv2, self.skip = nn.Conv2d(i, o, 3, 1, 1), nn.Conv2d(o, o, 3, 1, 1), nn.Conv2d(i, o, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = F.avg_pool2d(self.conv2(F.relu(self.conv1(x if self.first else F.relu(x)))), 2)
        return h + F.avg_pool2d(self.skip(x), 2)


class ResGenerator(nn.Module):
    """z -> images in [−1, 1] through residual blocks; with classes, each norm is class-conditional.

    Source: Miyato et al. 2018 (SNGAN); conditional: Miyato and Koyama 2018.
    """

    def __init__(
        self, z_dim: int = 64, *, channels: int = 1, size: int = 28, width: int = 64, classes: int | None = None
    ) -> None:
        super().__init__()
        check_channels(channels)
        side, stages = halvings(size)
        self.z_dim, self.grid = z_dim, (width, side, side)
        self.head = nn.Linear(z_dim, math.prod(self.grid))
        self.blocks = nn.ModuleList(UpBlock(width, width, classes) for _ in range(stages))
        self.output = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, channels, 3, 1, 1), nn.Tanh())

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        check_z(z, self.z_dim)
        check_labels(y, cast(UpBlock, self.blocks[0]).norm1.embedding, len(z))
        h = self.head(z).view(-1, *self.grid)
        for block in self.blocks:
            h = block(h, y)
        return self.output(h)


class ResDiscriminator(nn.Module):
    """Images -> logits (n,) through residual blocks, sum over the grid; with classes, a projection discriminator.

    Source: Miyato et al. 2018 (SNGAN); projection: Miyato and Koyama 2018.
    """

    def __init__(self, *, channels: int = 1, size: int = 28, width: int = 64, classes: int | None = None) -> None:
        super().__init__()
        check_channels(channels)
        _, stages = halvings(size)
        self.channels, self.size = channels, size
        rest = (DownBlock(width, width) for _ in range(stages - 1))
        self.blocks = nn.Sequential(DownBlock(channels, width, first=True), *rest)
        self.head, self.embedding = nn.Linear(width, 1), embedding(classes, width)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        check_shape(x, self.channels, self.size)
        h = F.relu(self.blocks(x)).sum((2, 3))
        return project(self.head(h).squeeze(1), h, y, self.embedding)
