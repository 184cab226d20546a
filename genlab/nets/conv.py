"""Convolutional networks: autoencoders, DCGAN, grids for a quantiser, and the classifier.

`size` is one of `SIZES`: a grid of 4 to 7 pixels, doubled from 2 to 6 times. Channels double as the grid halves, up to
8 times the number nearest to the image.
"""

import math
from itertools import pairwise

from torch import Tensor, nn

from genlab.nets.common import (
    check_channels,
    check_labels,
    check_shape,
    check_z,
    embedding,
    growth,
    halvings,
    join,
    mlp,
)


class ConvEncoder(nn.Module):
    """Images -> (μ, logvar): strided convolutions that halve the grid and double the channels, of `width` at first."""

    def __init__(
        self,
        z_dim: int,
        *,
        channels: int = 1,
        size: int = 28,
        width: int = 32,
        hidden: int = 128,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        check_channels(channels)
        self.channels, self.size, self.embedding = channels, size, embedding(classes, 16)
        side, stages = halvings(size)
        widths = [channels, *(width * times for times in growth(stages))]
        convs = [
            m for i, o in pairwise(widths) for m in (nn.Conv2d(i, o, 4, 2, 1), nn.SiLU())
        ]  # (n, 1, 28, 28) -> (n, 32, 14, 14) -> (n, 64, 7, 7)
        self.convs = nn.Sequential(*convs, nn.Flatten())
        self.head = mlp(widths[-1] * side**2 + (16 if classes else 0), hidden, 2 * z_dim, act=nn.SiLU)

    def forward(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        check_shape(x, self.channels, self.size)
        mu, logvar = self.head(join(self.convs(x), y, self.embedding)).chunk(2, 1)
        return mu, logvar


class ConvDecoder(nn.Module):
    """z -> logits or means: the encoder's mirror image, with `width` channels before the last layer.

    A likelihood with two numbers a pixel needs twice the `channels` of the images.
    """

    def __init__(
        self,
        z_dim: int,
        *,
        channels: int = 1,
        size: int = 28,
        width: int = 32,
        hidden: int = 128,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        self.z_dim, self.embedding = z_dim, embedding(classes, 16)
        side, stages = halvings(size)
        widths = [*(width * times for times in reversed(growth(stages))), channels]
        self.grid = (widths[0], side, side)
        self.head = mlp(z_dim + (16 if classes else 0), hidden, math.prod(self.grid), act=nn.SiLU)
        layers = [
            m for i, o in pairwise(widths) for m in (nn.SiLU(), nn.ConvTranspose2d(i, o, 4, 2, 1))
        ]  # (n, 64, 7, 7) -> (n, 32, 14, 14) -> (n, 1, 28, 28)
        self.convs = nn.Sequential(*layers)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        check_z(z, self.z_dim)
        return self.convs(self.head(join(z, y, self.embedding)).view(-1, *self.grid))


class GridEncoder(nn.Module):
    """Images -> a grid of vectors with a quarter of the side, for a quantiser. Sides are multiples of 4."""

    def __init__(self, d: int, *, channels: int = 1, width: int = 32) -> None:
        super().__init__()
        check_channels(channels)
        self.channels = channels
        self.body = nn.Sequential(
            *(nn.Conv2d(channels, width, 4, 2, 1), nn.SiLU()),  # (n, 1, 28, 28) -> (n, 32, 14, 14)
            *(nn.Conv2d(width, 2 * width, 4, 2, 1), nn.SiLU()),  # -> (n, 64, 7, 7)
            *(nn.Conv2d(2 * width, 2 * width, 3, 1, 1), nn.SiLU()),
            nn.Conv2d(2 * width, d, 1),  # -> (n, d, 7, 7)
        )

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] != self.channels or x.shape[2] % 4 or x.shape[3] % 4:
            raise ValueError(
                f"images must have shape (n, {self.channels}, h, w) with sides that are multiples of 4, "
                f"but got {tuple(x.shape)}; resize or pad them"
            )
        return self.body(x)


class GridDecoder(nn.Module):
    """A grid of vectors -> logits or means of images with four times the side."""

    def __init__(self, d: int, *, channels: int = 1, width: int = 32) -> None:
        super().__init__()
        self.d = d
        self.body = nn.Sequential(
            *(nn.Conv2d(d, 2 * width, 3, 1, 1), nn.SiLU()),
            *(nn.ConvTranspose2d(2 * width, width, 4, 2, 1), nn.SiLU()),
            nn.ConvTranspose2d(width, channels, 4, 2, 1),
        )

    def forward(self, z: Tensor) -> Tensor:
        if z.ndim != 4 or z.shape[1] != self.d:
            raise ValueError(f"the grid must have shape (n, {self.d}, h, w), but got {tuple(z.shape)}")
        return self.body(z)


class DCGANGenerator(nn.Module):
    """z -> images in [−1, 1]: transposed convolutions with BatchNorm and ReLU, tanh at the end.

    `width` is half of the channels before the last layer: they fall from stage to stage and end at 2 `width`.
    Source: Radford et al. 2016, section 3.
    """

    def __init__(
        self, z_dim: int = 64, *, channels: int = 1, size: int = 28, width: int = 32, classes: int | None = None
    ) -> None:
        super().__init__()
        check_channels(channels)
        side, stages = halvings(size)
        self.z_dim, self.embedding = z_dim, embedding(classes, 16)
        widths = [2 * width * times for times in reversed(growth(stages))]
        layers = [nn.ConvTranspose2d(z_dim + (16 if classes else 0), widths[0], side, bias=False)]  # -> (n, 128, 7, 7)
        body: list[nn.Module] = []
        for i, o in pairwise(widths):
            body += [nn.BatchNorm2d(i), nn.ReLU(), nn.ConvTranspose2d(i, o, 4, 2, 1, bias=False)]  # -> (n, 64, 14, 14)
        body += [nn.BatchNorm2d(widths[-1]), nn.ReLU(), nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1), nn.Tanh()]
        self.body = nn.Sequential(*layers, *body)  # -> (n, 1, 28, 28)
        self.apply(dcgan_init)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        check_z(z, self.z_dim)
        return self.body(join(z, y, self.embedding)[:, :, None, None])


class DCGANDiscriminator(nn.Module):
    """Images -> logits (n,): strided convolutions with leaky ReLU; with classes, a projection discriminator.

    `width` is the number of channels after the first layer; they double from stage to stage.
    BatchNorm, as in the paper, is an option: it mixes the examples of a batch, so gradient penalties forbid it.
    Source: Radford et al. 2016; projection: Miyato and Koyama 2018.
    """

    def __init__(
        self,
        *,
        channels: int = 1,
        size: int = 28,
        width: int = 32,
        classes: int | None = None,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        check_channels(channels)
        side, stages = halvings(size)
        self.channels, self.size = channels, size
        widths = [channels, *(width * times for times in growth(stages))]
        layers: list[nn.Module] = []
        for j, (i, o) in enumerate(pairwise(widths)):
            layers += [nn.Conv2d(i, o, 4, 2, 1)]  # (n, 1, 28, 28) -> (n, 32, 14, 14) -> (n, 64, 7, 7)
            layers += [nn.BatchNorm2d(o)] if batch_norm and j else []  # none on the first layer
            layers += [nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.head = nn.Linear(widths[-1] * side**2, 1)
        self.embedding = embedding(classes, widths[-1] * side**2)
        self.apply(dcgan_init)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        check_shape(x, self.channels, self.size)
        h = self.body(x)
        return project(self.head(h).squeeze(1), h, y, self.embedding)


def project(logit: Tensor, h: Tensor, y: Tensor | None, embedding: nn.Embedding | None) -> Tensor:
    """logit (n,) + ⟨embedding(y), h⟩ for features h (n, d): the projection discriminator (Miyato and Koyama 2018)."""
    check_labels(y, embedding, len(h))
    return logit if y is None or embedding is None else logit + (embedding(y) * h).sum(1)


def dcgan_init(layer: nn.Module) -> None:
    """Weights from N(0, 0.02²) (Radford et al. 2016, section 4), and BatchNorm scales from N(1, 0.02²)."""
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Embedding):
        nn.init.normal_(layer.weight, 0.0, 0.02)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, 0.02)


class Classifier(nn.Module):
    """A small CNN whose last hidden layer, of d numbers, gives the features of the Fréchet classifier distance.

    It runs on any size from 4 pixels. With `size` it refuses others: features of images that it was not trained on
    mean nothing.
    """

    def __init__(
        self, *, channels: int = 1, size: int | None = None, classes: int = 10, width: int = 32, d: int = 128
    ) -> None:
        super().__init__()
        check_channels(channels)
        self.channels, self.size = channels, size
        self.body = nn.Sequential(
            *(nn.Conv2d(channels, width, 3, 1, 1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(width, 2 * width, 3, 1, 1), nn.BatchNorm2d(2 * width), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(2 * width, 2 * width, 3, 1, 1), nn.BatchNorm2d(2 * width), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(0.3), nn.Linear(32 * width, d), nn.ReLU()),
        )
        self.head = nn.Linear(d, classes)

    def features(self, x: Tensor) -> Tensor:
        """Images (n, c, h, w) in [0, 1] -> (n, d)."""
        if self.size is not None:
            check_shape(x, self.channels, self.size)
        elif x.ndim != 4 or x.shape[1] != self.channels or min(x.shape[2:]) < 4:
            raise ValueError(
                f"images must have shape (n, {self.channels}, h, w), 4 pixels or more, but got {tuple(x.shape)}"
            )
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))
