"""Penalties on the discriminator, one value per example, and views: what it sees of an image."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from genlab.densities import PerExample
from genlab.train import Noise

Critic = Callable[[Tensor], Tensor]
Penalty = Callable[[Critic, Tensor, Tensor, int], Tensor]  # (D, real, fake, step) -> 0-d loss
View = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Judge:
    """What a penalty calls D: the network behind its view, with the labels of the batch."""

    D: nn.Module
    view: View
    y: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        """Logits (n,) of images (n, …)."""
        return self.D(self.view(x)) if self.y is None else self.D(self.view(x), self.y)


def refuse_mixing(D: Critic, what: str) -> None:
    """Raise a ValueError if D normalises over the batch, so that it cannot judge images one by one."""
    net = D.D if isinstance(D, Judge) else D
    if isinstance(net, nn.Module) and any(isinstance(m, _BatchNorm) and m.training for m in net.modules()):
        raise ValueError(
            f"{what} needs a D that judges every image alone, but BatchNorm in D mixes the images of a batch: "
            "take it out of D, or replace it by gan.spectral_norm or nn.GroupNorm"
        )


def input_gradient(D: Critic, x: Tensor) -> Float[Tensor, "n d"]:
    """∇_x D(x) for each example, flattened, differentiable in D's weights.

    Raises:
        ValueError: D has BatchNorm in training mode: the gradient of the sum would mix examples.
    """
    refuse_mixing(D, "a penalty on the gradient of single images")
    x = x.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
    return gradient.flatten(1)


def gradient_penalty(D: Critic, real: Tensor, fake: Tensor, *, eps: Tensor | None = None) -> PerExample:
    """(‖∇D(x̂)‖₂ − 1)² at x̂ = ε real + (1 − ε) fake, one ε in [0, 1] per example.

    Batches of unequal size are paired up to the shorter. Multiply by the paper's λ = 10.

    Args:
        D: maps images (n, …) to logits (n,).
        real: real images.
        fake: generated images of the same shape.
        eps: the n values of ε; drawn uniformly when not given.

    Source: Gulrajani et al. 2017, eq. 3.
    """
    if real.shape[1:] != fake.shape[1:]:
        raise ValueError(f"real {tuple(real.shape)} and fake {tuple(fake.shape)} must be images of one shape")
    n = min(len(real), len(fake))
    eps = torch.rand(n, device=real.device, dtype=real.dtype) if eps is None else eps[:n]
    eps = eps.view(n, *[1] * (real.ndim - 1))
    return (input_gradient(D, eps * real[:n] + (1 - eps) * fake[:n]).norm(dim=1) - 1).square()


def r1_penalty(D: Critic, real: Tensor) -> PerExample:
    """‖∇D(x)‖² at real x. Multiply by γ/2. Source: Mescheder et al. 2018, eq. 9.

    At generated x the same function is R2 (eq. 10 there).
    """
    return input_gradient(D, real).square().sum(1)


def consistency_penalty(D: Critic, x: Tensor, augment: Callable[[Tensor], Tensor]) -> PerExample:
    """(D(T(x)) − D(x))² for a random transformation T that keeps the meaning. Source: Zhang et al. 2020."""
    return (D(augment(x)) - D(x)).square()


def clip_weights(module: nn.Module, c: float = 0.01) -> None:
    """Clamp every parameter to [−c, c] in place, as the first WGAN did. Source: Arjovsky et al. 2017."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.clamp_(-c, c)


def spectral_norm(module: nn.Module) -> nn.Module:
    """Divide the weight of every linear, convolutional and embedding layer by its largest singular value, in place.

    A kernel (o, i, h, w) counts as a matrix (o, i h w). The value comes from torch's power iteration, one iteration at
    each forward pass in training mode.

    Source: Miyato et al. 2018.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Embedding):
            nn.utils.parametrizations.spectral_norm(layer)
    return module


def augment(
    x: Tensor,
    *,
    shift: float = 0.125,
    cutout: float = 0.25,
    brightness: float = 0.0,
    fill: float = 0.0,
    noise: Noise | None = None,
) -> Tensor:
    """Differentiable augmentation for small data: a random shift, a cut-out square, and brightness, per example.

    It is applied to real and to generated images alike, and the generator learns through it.

    Args:
        x: images (n, c, h, w).
        shift: largest shift, as a share of height and width.
        cutout: side of the square that is cut out, as a share of height and width; its centre is anywhere.
        brightness: largest constant added.
        fill: what comes in from outside and stands in the hole: the background, −1 for images in [−1, 1].
        noise: source of the random numbers, so that several processes do what one would; else torch's generator.

    Source: Zhao et al. 2020 (DiffAugment), with milder strengths that suit digits.
    """
    if x.ndim != 4:
        raise ValueError(f"augment needs images (n, c, h, w), but got {tuple(x.shape)}: reshape them by x.view")
    n, _, h, w = x.shape
    device = x.device

    def uniform(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        if noise is None:
            return torch.rand(n, *shape, device=device, dtype=dtype)
        return noise.uniform(n, *shape).to(device, dtype)

    if brightness:
        x = x + brightness * (2 * uniform(1, 1, 1, dtype=x.dtype) - 1)
    rows, columns = torch.arange(h, device=device).view(1, h, 1), torch.arange(w, device=device).view(1, 1, w)
    if shift:
        limit = torch.tensor([shift * h, shift * w], device=device).round()
        offset = ((2 * limit + 1) * uniform(2)).floor() - limit
        dy, dx = offset.long().view(n, 2, 1, 1).unbind(1)
        y, z = rows + dy, columns + dx
        inside = ((y >= 0) & (y < h) & (z >= 0) & (z < w))[:, None]
        x = x[torch.arange(n, device=device).view(n, 1, 1), :, y.clamp(0, h - 1), z.clamp(0, w - 1)].permute(0, 3, 1, 2)
        x = torch.where(inside, x, fill)
    if cutout:
        centre = uniform(2) * torch.tensor([h, w], device=device) - 0.5  # pixel i fills i ± ½
        y, z = centre.view(n, 2, 1, 1).unbind(1)
        hole = ((rows - y).abs() < cutout * h / 2) & ((columns - z).abs() < cutout * w / 2)
        x = torch.where(hole[:, None], fill, x)
    return x


# ----------------------------------------------------------------------------------------------- penalties of the game


def gp(weight: float = 10.0, *, noise: Noise | None = None) -> Penalty:
    """λ E[(‖∇D(x̂)‖₂ − 1)²], see `gradient_penalty`; ε comes from `noise`, or from torch's generator."""

    def penalty(D: Critic, real: Tensor, fake: Tensor, step: int) -> Tensor:
        eps = None if noise is None else noise.uniform(len(real))
        return weight * gradient_penalty(D, real, fake, eps=eps).mean()

    return penalty


def r1(gamma: float = 1.0, *, every: int = 1) -> Penalty:
    """γ/2 E[‖∇D(x)‖²] on real images; with `every` only each so many steps, with that many times the weight.

    Source: Mescheder et al. 2018, eq. 9; lazily: Karras et al. 2020 (StyleGAN2), section 3.1.
    """
    return _lazily(gamma, every, lambda D, real, fake: r1_penalty(D, real))


def r2(gamma: float = 1.0, *, every: int = 1) -> Penalty:
    """The same as `r1` on generated images. Source: Mescheder et al. 2018, eq. 10."""
    return _lazily(gamma, every, lambda D, real, fake: r1_penalty(D, fake))


def _lazily(gamma: float, every: int, term: Callable[[Critic, Tensor, Tensor], Tensor]) -> Penalty:
    if every < 1:
        raise ValueError(f"every={every} must be at least 1, the steps from one penalty to the next")

    def penalty(D: Critic, real: Tensor, fake: Tensor, step: int) -> Tensor:
        return every * gamma / 2 * term(D, real, fake).mean() if step % every == 0 else real.new_zeros(())

    return penalty


def consistency(weight: float = 1.0, transform: View = augment) -> Penalty:
    """`weight` · E[(D(T(x)) − D(x))²] on real images, see `consistency_penalty`."""

    def penalty(D: Critic, real: Tensor, fake: Tensor, step: int) -> Tensor:
        return weight * consistency_penalty(D, real, transform).mean()

    return penalty


def instance_noise(std: float, *, noise: Noise | None = None) -> View:
    """A view for `players`: Gaussian noise on all that D sees (Sønderby et al. 2017; Arjovsky and Bottou 2017)."""

    def view(x: Tensor) -> Tensor:
        return x + std * (torch.randn_like(x) if noise is None else noise.normal(len(x), *x.shape[1:]).to(x))

    return view
