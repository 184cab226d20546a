"""Networks: plain modules without losses, optimisers or devices.

A generator maps z (n, d) to images, a discriminator images to one logit each, an encoder images to (μ, logvar), a
decoder z to logits or means. Where `classes` is given they take labels y (n,) as a last argument.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def mlp(*sizes: int, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers of the given sizes with an activation between, none at the end."""
    layers: list[nn.Module] = []
    for i, o in pairwise(sizes):
        layers += [nn.Linear(i, o), act()]
    return nn.Sequential(*layers[:-1])


def join(z: Tensor, y: Tensor | None, embedding: nn.Embedding | None) -> Tensor:
    """z with the embedding of y appended.

    Raises:
        ValueError: labels are missing, or given to a network without classes.
    """
    _check_labels(y, embedding is not None)
    return z if y is None or embedding is None else torch.cat([z, embedding(y)], 1)


def _check_labels(y: Tensor | None, wanted: bool) -> None:
    if y is None and wanted:
        raise ValueError("got no labels, but this network was made with classes; pass y of shape (n,)")
    if y is not None and not wanted:
        raise ValueError("got labels, but this network was made without classes; leave y out, or make it with classes=")


def _embedding(classes: int | None, d: int) -> nn.Embedding | None:
    return nn.Embedding(classes, d) if classes else None


def check_shape(x: Tensor, channels: int, size: int) -> None:
    """Raise a ValueError unless x is (n, channels, size, size)."""
    if x.ndim != 4 or x.shape[1:] != (channels, size, size):
        raise ValueError(f"images must have shape (n, {channels}, {size}, {size}), but got {tuple(x.shape)}")


# ------------------------------------------------------------------------------------------------- fully connected


class MLPEncoder(nn.Module):
    """Images -> (μ, logvar), through hidden layers of `width`."""

    def __init__(
        self,
        z_dim: int,
        *,
        channels: int = 1,
        size: int = 28,
        width: int = 400,
        depth: int = 1,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        self.channels, self.size, self.embedding = channels, size, _embedding(classes, 16)
        inputs = channels * size**2 + (16 if classes else 0)
        self.body = mlp(inputs, *[width] * depth, 2 * z_dim)

    def forward(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        check_shape(x, self.channels, self.size)
        mu, logvar = self.body(join(x.flatten(1), y, self.embedding)).chunk(2, 1)
        return mu, logvar


class MLPDecoder(nn.Module):
    """z -> logits or means (n, c, h, w). With `output=nn.Tanh()` it is a fully connected generator."""

    def __init__(
        self,
        z_dim: int,
        *,
        channels: int = 1,
        size: int = 28,
        width: int = 400,
        depth: int = 1,
        classes: int | None = None,
        output: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.shape, self.embedding = (channels, size, size), _embedding(classes, 16)
        self.body = mlp(z_dim + (16 if classes else 0), *[width] * depth, channels * size**2)
        self.output = output or nn.Identity()

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.output(self.body(join(z, y, self.embedding))).view(-1, *self.shape)


class MLPDiscriminator(nn.Module):
    """Images -> logits (n,), two hidden layers of `width` with leaky ReLU."""

    def __init__(self, *, channels: int = 1, size: int = 28, width: int = 256, classes: int | None = None) -> None:
        super().__init__()
        self.channels, self.size, self.embedding = channels, size, _embedding(classes, 16)
        inputs = channels * size**2 + (16 if classes else 0)
        self.body = nn.Sequential(
            nn.Linear(inputs, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2), nn.Linear(width, 1)
        )

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        check_shape(x, self.channels, self.size)
        return self.body(join(x.flatten(1), y, self.embedding)).squeeze(1)


# --------------------------------------------------------------------------------------------------- convolutional


def _stages(size: int) -> tuple[int, int]:
    """Side of the smallest grid and number of doublings: 28 = 7 · 2², 32 = 4 · 2³, 64 = 4 · 2⁴."""
    if size not in (28, 32, 64):
        raise ValueError(f"size={size}: these networks are made for images of 28, 32 or 64 pixels; resize the images")
    return (7, 2) if size == 28 else (4, int(math.log2(size // 4)))


class ConvEncoder(nn.Module):
    """Images -> (μ, logvar): strided convolutions that halve the grid and double the channels."""

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
        self.channels, self.size, self.embedding = channels, size, _embedding(classes, 16)
        side, stages = _stages(size)
        widths = [channels, *(width * 2**i for i in range(stages))]
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
    """z -> logits or means: the encoder's mirror image."""

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
        self.embedding = _embedding(classes, 16)
        side, stages = _stages(size)
        widths = [*(width * 2**i for i in reversed(range(stages))), channels]
        self.grid = (widths[0], side, side)
        self.head = mlp(z_dim + (16 if classes else 0), hidden, math.prod(self.grid), act=nn.SiLU)
        layers = [
            m for i, o in pairwise(widths) for m in (nn.SiLU(), nn.ConvTranspose2d(i, o, 4, 2, 1))
        ]  # (n, 64, 7, 7) -> (n, 32, 14, 14) -> (n, 1, 28, 28)
        self.convs = nn.Sequential(*layers)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.convs(self.head(join(z, y, self.embedding)).view(-1, *self.grid))


class GridEncoder(nn.Module):
    """Images (28, 32 or 64 pixels) -> a grid of vectors with a quarter of the side, for a quantiser."""

    def __init__(self, d: int, *, channels: int = 1, width: int = 32) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(channels, width, 4, 2, 1), nn.SiLU()),  # (n, 1, 28, 28) -> (n, 32, 14, 14)
            *(nn.Conv2d(width, 2 * width, 4, 2, 1), nn.SiLU()),  # -> (n, 64, 7, 7)
            *(nn.Conv2d(2 * width, 2 * width, 3, 1, 1), nn.SiLU()),
            nn.Conv2d(2 * width, d, 1),  # -> (n, d, 7, 7)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class GridDecoder(nn.Module):
    """A grid of vectors -> logits or means of images with four times the side."""

    def __init__(self, d: int, *, channels: int = 1, width: int = 32) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(d, 2 * width, 3, 1, 1), nn.SiLU()),
            *(nn.ConvTranspose2d(2 * width, width, 4, 2, 1), nn.SiLU()),
            nn.ConvTranspose2d(width, channels, 4, 2, 1),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z)


class DCGANGenerator(nn.Module):
    """z -> images in [−1, 1]: transposed convolutions with BatchNorm and ReLU, tanh at the end.

    Source: Radford et al. 2016, section 3.
    """

    def __init__(
        self, z_dim: int = 64, *, channels: int = 1, size: int = 28, width: int = 32, classes: int | None = None
    ) -> None:
        super().__init__()
        side, stages = _stages(size)
        self.embedding = _embedding(classes, 16)
        widths = [width * 2 ** (stages - i) for i in range(stages)]
        layers = [nn.ConvTranspose2d(z_dim + (16 if classes else 0), widths[0], side, bias=False)]  # -> (n, 128, 7, 7)
        body: list[nn.Module] = []
        for i, o in pairwise(widths):
            body += [nn.BatchNorm2d(i), nn.ReLU(), nn.ConvTranspose2d(i, o, 4, 2, 1, bias=False)]  # -> (n, 64, 14, 14)
        body += [nn.BatchNorm2d(widths[-1]), nn.ReLU(), nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1), nn.Tanh()]
        self.body = nn.Sequential(*layers, *body)  # -> (n, 1, 28, 28)
        self.apply(dcgan_init)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.body(join(z, y, self.embedding)[:, :, None, None])


class DCGANDiscriminator(nn.Module):
    """Images -> logits (n,): strided convolutions with leaky ReLU; with classes, a projection discriminator.

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
        side, stages = _stages(size)
        self.channels, self.size = channels, size
        widths = [channels, *(width * 2**i for i in range(stages))]
        layers: list[nn.Module] = []
        for j, (i, o) in enumerate(pairwise(widths)):
            layers += [nn.Conv2d(i, o, 4, 2, 1)]  # (n, 1, 28, 28) -> (n, 32, 14, 14) -> (n, 64, 7, 7)
            layers += [nn.BatchNorm2d(o)] if batch_norm and j else []  # none on the first layer
            layers += [nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.head = nn.Linear(widths[-1] * side**2, 1)
        self.embedding = _embedding(classes, widths[-1] * side**2)
        self.apply(dcgan_init)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        check_shape(x, self.channels, self.size)
        h = self.body(x)
        return project(self.head(h).squeeze(1), h, y, self.embedding)


def project(logit: Tensor, h: Tensor, y: Tensor | None, embedding: nn.Embedding | None) -> Tensor:
    """logit + ⟨embedding(y), h⟩, the projection discriminator's output (Miyato and Koyama 2018)."""
    _check_labels(y, embedding is not None)
    return logit if y is None or embedding is None else logit + (embedding(y) * h).sum(1)


def dcgan_init(layer: nn.Module) -> None:
    """Weights from N(0, 0.02²) (Radford et al. 2016, section 4), and BatchNorm scales from N(1, 0.02²)."""
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Embedding):
        nn.init.normal_(layer.weight, 0.0, 0.02)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, 0.02)


# -------------------------------------------------------------------------------------------------------- residual


class ConditionalNorm(nn.Module):
    """BatchNorm whose scale and shift belong to the class (de Vries et al. 2017); plain BatchNorm without classes."""

    def __init__(self, channels: int, classes: int | None) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=classes is None)
        self.embedding = _embedding(classes, 2 * channels)
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
        side, stages = _stages(size)
        self.grid, self.classes = (width, side, side), classes
        self.head = nn.Linear(z_dim, math.prod(self.grid))
        self.blocks = nn.ModuleList(UpBlock(width, width, classes) for _ in range(stages))
        self.output = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, channels, 3, 1, 1), nn.Tanh())

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        _check_labels(y, self.classes is not None)
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
        _, stages = _stages(size)
        self.channels, self.size = channels, size
        rest = (DownBlock(width, width) for _ in range(stages - 1))
        self.blocks = nn.Sequential(DownBlock(channels, width, first=True), *rest)
        self.head, self.embedding = nn.Linear(width, 1), _embedding(classes, width)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        check_shape(x, self.channels, self.size)
        h = F.relu(self.blocks(x)).sum((2, 3))
        return project(self.head(h).squeeze(1), h, y, self.embedding)


class Classifier(nn.Module):
    """A small CNN whose last hidden layer gives the features of the Fréchet classifier distance."""

    def __init__(self, *, channels: int = 1, classes: int = 10, width: int = 32, d: int = 128) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(channels, width, 3, 1, 1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(width, 2 * width, 3, 1, 1), nn.BatchNorm2d(2 * width), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(2 * width, 2 * width, 3, 1, 1), nn.BatchNorm2d(2 * width), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(0.3), nn.Linear(32 * width, d), nn.ReLU()),
        )
        self.head = nn.Linear(d, classes)

    def features(self, x: Tensor) -> Tensor:
        """Images (n, c, h, w) in [0, 1] -> (n, d)."""
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))
