"""Fully connected networks: images of any size, flattened."""

from torch import Tensor, nn

from genlab.nets.common import check_channels, check_shape, check_z, embedding, join, mlp


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
        check_channels(channels)
        self.channels, self.size, self.embedding = channels, size, embedding(classes, 16)
        inputs = channels * size**2 + (16 if classes else 0)
        self.body = mlp(inputs, *[width] * depth, 2 * z_dim)

    def forward(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        check_shape(x, self.channels, self.size)
        mu, logvar = self.body(join(x.flatten(1), y, self.embedding)).chunk(2, 1)
        return mu, logvar


class MLPDecoder(nn.Module):
    """z -> logits or means (n, c, h, w). With `output=nn.Tanh()` it is a fully connected generator.

    A likelihood with two numbers a pixel needs twice the `channels` of the images.
    """

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
        self.z_dim, self.shape, self.embedding = z_dim, (channels, size, size), embedding(classes, 16)
        self.body = mlp(z_dim + (16 if classes else 0), *[width] * depth, channels * size**2)
        self.output = output or nn.Identity()

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        check_z(z, self.z_dim)
        return self.output(self.body(join(z, y, self.embedding))).view(-1, *self.shape)


class MLPDiscriminator(nn.Module):
    """Images -> logits (n,), two hidden layers of `width` with leaky ReLU."""

    def __init__(self, *, channels: int = 1, size: int = 28, width: int = 256, classes: int | None = None) -> None:
        super().__init__()
        check_channels(channels)
        self.channels, self.size, self.embedding = channels, size, embedding(classes, 16)
        inputs = channels * size**2 + (16 if classes else 0)
        self.body = nn.Sequential(
            nn.Linear(inputs, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2), nn.Linear(width, 1)
        )

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        check_shape(x, self.channels, self.size)
        return self.body(join(x.flatten(1), y, self.embedding)).squeeze(1)
