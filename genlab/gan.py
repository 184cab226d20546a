"""Adversarial objectives, penalties, and `players()`, which builds the game for any of them (`player()`: in one pass).

Objectives take logits, always (real, fake), and return a 0-d loss: a mean over the real batch plus a mean over the fake
batch, which may differ in size. Penalties return one value per example. σ is the logistic function; −log σ(a) =
softplus(−a) is used everywhere, because log(sigmoid(a)) loses its gradient where it is needed most.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import relu, softplus
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from genlab.data import Batch, unpack
from genlab.train import Noise, Player

Logits = Float[Tensor, " n"]
Loss = Float[Tensor, ""]
PerExample = Float[Tensor, " n"]
Critic = Callable[[Tensor], Tensor]

# --------------------------------------------------------------------------------------------------------- objectives


def minimax_d(real: Float[Tensor, " n"], fake: Float[Tensor, " m"], *, smooth: float = 0.0) -> Loss:
    """−E[log σ(real)] − E[log(1 − σ(fake))], with real targets 1 − `smooth` (one-sided label smoothing).

    Source: Goodfellow et al. 2014, eq. 1; smoothing: Salimans et al. 2016, section 3.4.
    """
    return ((1 - smooth) * softplus(-real) + smooth * softplus(real)).mean() + softplus(fake).mean()


def minimax_g(fake: Logits) -> Loss:
    """E[log(1 − σ(fake))], the saturating generator loss. Source: Goodfellow et al. 2014, eq. 1."""
    return -softplus(fake).mean()


def nonsaturating_g(fake: Logits) -> Loss:
    """−E[log σ(fake)]. Source: Goodfellow et al. 2014, section 3."""
    return softplus(-fake).mean()


def least_squares_d(real: Float[Tensor, " n"], fake: Float[Tensor, " m"], *, a: float = 0.0, b: float = 1.0) -> Loss:
    """½ E[(real − b)²] + ½ E[(fake − a)²]. Source: Mao et al. 2017, eq. 2."""
    return 0.5 * (real - b).square().mean() + 0.5 * (fake - a).square().mean()


def least_squares_g(fake: Logits, *, c: float = 1.0) -> Loss:
    """½ E[(fake − c)²]. Source: Mao et al. 2017, eq. 2."""
    return 0.5 * (fake - c).square().mean()


def hinge_d(real: Float[Tensor, " n"], fake: Float[Tensor, " m"]) -> Loss:
    """E[max(0, 1 − real)] + E[max(0, 1 + fake)]. Source: Lim and Ye 2017; Miyato et al. 2018, eq. 16."""
    return relu(1 - real).mean() + relu(1 + fake).mean()


def wasserstein_d(real: Float[Tensor, " n"], fake: Float[Tensor, " m"]) -> Loss:
    """E[fake] − E[real]: minus the Kantorovich-Rubinstein dual, if D is 1-Lipschitz. Source: Arjovsky et al. 2017."""
    return fake.mean() - real.mean()


def wasserstein_g(fake: Logits) -> Loss:
    """−E[fake], also the generator's hinge loss. Source: Arjovsky et al. 2017; Lim and Ye 2017."""
    return -fake.mean()


def relativistic_d(real: Logits, fake: Logits) -> Loss:
    """E[−log σ(real − fake)] over pairs. Source: Jolicoeur-Martineau 2019 (RSGAN); Huang et al. 2024."""
    return softplus(fake - real).mean()


def relativistic_g(real: Logits, fake: Logits) -> Loss:
    """E[−log σ(fake − real)] over pairs: the discriminator's loss with the roles swapped."""
    return softplus(real - fake).mean()


class Objective(NamedTuple):
    """Losses of both players. A `paired` objective compares real i with fake i, and its g takes (real, fake)."""

    d: Callable[..., Tensor]
    g: Callable[..., Tensor]
    paired: bool = False


OBJECTIVES = {
    "minimax": Objective(minimax_d, minimax_g),
    "nonsaturating": Objective(minimax_d, nonsaturating_g),
    "least_squares": Objective(least_squares_d, least_squares_g),
    "hinge": Objective(hinge_d, wasserstein_g),
    "wasserstein": Objective(wasserstein_d, wasserstein_g),
    "relativistic": Objective(relativistic_d, relativistic_g, paired=True),
}

# ---------------------------------------------------------------------------------------------------------- penalties


def input_gradient(D: Critic, x: Tensor) -> Float[Tensor, "n d"]:
    """∇_x D(x) for each example, flattened, differentiable in D's weights.

    D must treat examples alone: with BatchNorm in D the gradient of the sum mixes examples.
    """
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


def augment(x: Tensor, *, shift: float = 0.125, cutout: float = 0.25, brightness: float = 0.0) -> Tensor:
    """Differentiable augmentation for small data: a random shift, a cut-out square, and brightness, per example.

    It is applied to real and to generated images alike, and the generator learns through it.

    Args:
        x: images (n, c, h, w).
        shift: largest shift, as a share of height and width; zeros come in.
        cutout: side of the square that is set to zero, as a share of height and width; its centre is anywhere.
        brightness: largest constant added.

    Source: Zhao et al. 2020 (DiffAugment), with milder strengths that suit digits.
    """
    n, _, h, w = x.shape
    device = x.device
    if brightness:
        x = x + brightness * (2 * torch.rand(n, 1, 1, 1, device=device, dtype=x.dtype) - 1)
    rows, columns = torch.arange(h, device=device).view(1, h, 1), torch.arange(w, device=device).view(1, 1, w)
    if shift:
        limit = torch.tensor([shift * h, shift * w], device=device).round()
        offset = ((2 * limit + 1) * torch.rand(n, 2, device=device)).floor() - limit
        dy, dx = offset.long().view(n, 2, 1, 1).unbind(1)
        y, z = rows + dy, columns + dx
        inside = ((y >= 0) & (y < h) & (z >= 0) & (z < w))[:, None]
        x = x[torch.arange(n, device=device).view(n, 1, 1), :, y.clamp(0, h - 1), z.clamp(0, w - 1)].permute(0, 3, 1, 2)
        x = x * inside
    if cutout:
        centre = torch.rand(n, 2, device=device) * torch.tensor([h, w], device=device) - 0.5  # pixel i fills i ± ½
        y, z = centre.view(n, 2, 1, 1).unbind(1)
        hole = ((rows - y).abs() < cutout * h / 2) & ((columns - z).abs() < cutout * w / 2)
        x = x * ~hole[:, None]
    return x


# ----------------------------------------------------------------------------------------------------------- the game


def players(
    G: nn.Module,
    D: nn.Module,
    opt_g: Optimizer,
    opt_d: Optimizer,
    *,
    noise: Noise,
    z_dim: int,
    objective: str = "nonsaturating",
    n_critic: int = 1,
    gp: float = 0.0,
    r1: float = 0.0,
    r2: float = 0.0,
    every: int = 1,
    smooth: float = 0.0,
    instance_noise: float = 0.0,
    consistency: float = 0.0,
    augmentation: Callable[[Tensor], Tensor] | None = None,
    clip_d: float | None = None,
    clip: float | None = None,
    accumulate: int = 1,
    share: bool = False,
    joint: bool = False,
    schedules: tuple[torch.optim.lr_scheduler.LRScheduler, torch.optim.lr_scheduler.LRScheduler] | None = None,
) -> list[Player]:
    """Discriminator and generator as two players for `train`; the modules come from `accelerator.prepare`.

    WGAN-GP is `objective="wasserstein", gp=10, n_critic=5`. With labels it is conditional: G(z, y), D(x, y).

    Args:
        noise: source of z and ε.
        z_dim: length of z.
        objective: a name in `OBJECTIVES`.
        n_critic: moves of D for one of G.
        gp: weight λ of the gradient penalty.
        r1: γ of the penalty γ/2 ‖∇D‖² on real images.
        r2: the same on generated images.
        every: compute r1 and r2 every so many steps, with that many times the weight.
        smooth: one-sided label smoothing, for the objectives on log σ alone.
        instance_noise: standard deviation of Gaussian noise added to all that D sees (Sønderby et al. 2017).
        consistency: weight of the consistency penalty on real images; uses `augmentation` or `augment`.
        augmentation: applied to all that D sees, for example `augment`.
        clip_d: clamp D's weights to ±clip_d after each of its moves.
        clip: largest norm of each player's gradient.
        accumulate: batches whose gradients are averaged in a move.
        share: G moves first, and D sees the images of that move: one forward pass of G a step less.
        joint: D judges real and generated images in one forward pass, which is faster; not for a D with BatchNorm.
        schedules: learning-rate schedules of D and G.

    Raises:
        ValueError: the objective is unknown, or an argument does not go with it.
    """
    if objective not in OBJECTIVES:
        raise ValueError(f"unknown objective {objective!r}; known are {', '.join(OBJECTIVES)}")
    if smooth and objective not in ("minimax", "nonsaturating"):
        raise ValueError(f"smooth={smooth} goes with minimax and nonsaturating, but the objective is {objective!r}")
    if share and (n_critic != 1 or accumulate != 1):
        raise ValueError(f"share=True goes with one batch a step, not with {n_critic=} and {accumulate=}")
    if joint and _mixes(D):
        raise ValueError("joint=True would normalise real and generated images together: take BatchNorm out of D")
    loss = OBJECTIVES[objective]
    made: list[Tensor] = []  # by G's move, for D's
    options = {"smooth": smooth} if smooth else {}

    def seen(x: Tensor) -> Tensor:
        x = x + instance_noise * torch.randn_like(x) if instance_noise else x
        return augmentation(x) if augmentation else x

    def judge(x: Tensor, y: Tensor | None) -> Tensor:
        return D(seen(x)) if y is None else D(seen(x), y)

    def generate(n: int, y: Tensor | None) -> Tensor:
        z = noise.normal(n, z_dim)
        return G(z) if y is None else G(z, y)

    def d_loss(batch: Tensor | Batch, step: int) -> Tensor:
        x, y = unpack(batch)
        with torch.no_grad():  # D's move must not reach G
            fake = made.pop() if made else generate(len(x), y)
        if joint:
            real, false = judge(torch.cat([x, fake]), None if y is None else torch.cat([y, y])).chunk(2)
        else:
            real, false = judge(x, y), judge(fake, y)
        total = loss.d(real, false, **options)
        if gp:
            eps = noise.uniform(len(x))
            total = total + gp * gradient_penalty(lambda v: judge(v, y), x, fake, eps=eps).mean()
        if step % every == 0:
            if r1:
                total = total + every * r1 / 2 * r1_penalty(lambda v: judge(v, y), x).mean()
            if r2:
                total = total + every * r2 / 2 * r1_penalty(lambda v: judge(v, y), fake).mean()
        if consistency:
            total = total + consistency * consistency_penalty(lambda v: judge(v, y), x, augmentation or augment).mean()
        return total

    def g_loss(batch: Tensor | Batch, step: int) -> Tensor:
        x, y = unpack(batch)
        images = generate(len(x), y)
        if share:
            made[:] = [images.detach()]
        fake = judge(images, y)
        return loss.g(judge(x, y), fake) if loss.paired else loss.g(fake)

    after = None if clip_d is None else lambda: clip_weights(D, clip_d)
    schedule_d, schedule_g = schedules or (None, None)
    d = Player("D", D, d_loss, opt_d, n_critic, accumulate, clip, schedule_d, after)
    g = Player("G", G, g_loss, opt_g, 1, accumulate, clip, schedule_g)
    return [g, d] if share else [d, g]


# (∂L_G/∂f) / (∂L_D/∂f) at the logits f of generated images; bounded, since ∂L_D/∂f vanishes where it overflows.
RATIOS: dict[str, Callable[[Tensor], Tensor]] = {
    "nonsaturating": lambda f: -torch.exp((-f).clamp(max=60)),
    "minimax": lambda f: -torch.ones_like(f),
    "wasserstein": lambda f: -torch.ones_like(f),
}


def player(
    G: nn.Module,
    D: nn.Module,
    optimizer: Optimizer,
    *,
    noise: Noise,
    z_dim: int,
    objective: str = "nonsaturating",
    clip: float | None = None,
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
) -> Player:
    """Both players' moves from one pass through each network: the updates of `players(share=True)`, in less time.

    Both gradients are those at the old weights. One backward pass of D's loss serves both: it brings ∂L_D/∂f · ∇f to a
    generated image, f its logit. G needs ∂L_G/∂f · ∇f, so every image's gradient is multiplied by their ratio. It is
    −1 for the zero-sum games, a gradient reversal (Ganin and Lempitsky 2015), and −e^(−f) for the non-saturating loss.
    That is bounded by e⁶⁰: a generator whose images D gives logits below −60 learns less from them than it should.

    Args:
        D: judges every image alone, so it must not have BatchNorm; it sees real and generated images in one batch.
        optimizer: over the weights of both; groups of its parameters may have their own learning rates.
        noise: source of z.
        z_dim: length of z.
        objective: "nonsaturating", "minimax" or "wasserstein"; for the others the ratio may be 0/0.
        clip: largest norm of the gradient of both networks together.
        schedule: learning-rate schedule.

    Returns:
        A player whose loss is D's.

    Raises:
        ValueError: the objective is another one, or D has BatchNorm.
    """
    if objective not in RATIOS:
        raise ValueError(f"{objective!r} cannot move both at once; known are {', '.join(RATIOS)}; use gan.players")
    if _mixes(D):
        raise ValueError("BatchNorm in D mixes the images' gradients: take it out, or use gan.players(share=True)")

    def loss(batch: Tensor | Batch, step: int) -> Tensor:
        x, y = unpack(batch)
        labels = () if y is None else (y,)
        images = G(noise.normal(len(x), z_dim), *labels)
        real, fake = D(torch.cat([x, images]), *(torch.cat([v, v]) for v in labels)).chunk(2)
        if images.requires_grad:
            ratio = RATIOS[objective](fake.detach()).view(-1, *[1] * (images.ndim - 1))
            images.register_hook(lambda gradient: gradient * ratio)
        return OBJECTIVES[objective].d(real, fake)

    return Player("D", nn.ModuleList([G, D]), loss, optimizer, clip=clip, schedule=schedule)


def _mixes(D: nn.Module) -> bool:
    """Whether what D says of an image depends on the others in its batch."""
    return any(isinstance(module, _BatchNorm) for module in D.modules())
