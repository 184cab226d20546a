"""The game: two players from networks, an objective, penalties and a view, and the same in one pass."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from genlab.data import Batch, unpack
from genlab.gan.door import Door
from genlab.gan.objectives import OBJECTIVES, Objective, find_objective
from genlab.gan.penalties import Judge, Penalty, View
from genlab.train import Noise, Player


def _identity(x: Tensor) -> Tensor:
    return x


def players(
    G: nn.Module,
    D: nn.Module,
    opt_g: Optimizer,
    opt_d: Optimizer,
    *,
    noise: Noise,
    z_dim: int,
    objective: str | Objective = "nonsaturating",
    penalties: Sequence[Penalty] = (),
    view: View = _identity,
    share: bool = False,
    joint: bool = False,
    watch: Callable[[Tensor, Tensor], None] | None = None,
) -> list[Player]:
    """Discriminator and generator as two players for `train`; the modules come from `accelerator.prepare`.

    With labels the game is conditional: G(z, y), D(x, y). Moves, clipping, accumulation and schedules belong to the
    players. WGAN-GP makes five moves of the critic for one of G:

        d, g = players(G, D, opt_g, opt_d, noise=noise, z_dim=64, objective="wasserstein", penalties=[gp(10.0)])
        train([d.replace(moves=5), g], batches, steps)

    Args:
        noise: source of z.
        z_dim: length of z.
        objective: a name in `OBJECTIVES`, or an `Objective`, for example `smoothed("nonsaturating", 0.1)`.
        penalties: added to D's loss, each a function (D, real, fake, step) -> 0-d loss: `gp`, `r1`, `r2`,
            `consistency`, or your own.
        view: what D sees of real and of generated images: `augment`, `instance_noise(0.1)`, or your own.
        share: G moves first, and D sees the images of that move: one forward pass of G a step less.
        joint: D judges real and generated images in one forward pass, which is faster; not for a D that mixes them.
        watch: called in D's moves with its logits of real and of generated images, for a log.

    Returns:
        [D, G], or [G, D] if they share.

    Raises:
        ValueError: the objective is unknown, or an optimiser has other weights; at the first batch: D ends in a
            sigmoid, mixes the images of a batch where it must not, or shapes, labels or devices do not fit.
    """
    loss = find_objective(objective)
    door, hatch = Door(G, D, loss, joint=joint), _Hatch()

    def d_loss(batch: Tensor | Batch, step: int) -> Tensor:
        x, y = unpack(batch)
        shared = hatch.take(batch, step)
        with torch.no_grad():  # D's move must not reach G
            fake = door.generate(noise.normal(len(x), z_dim), x, y) if shared is None else shared
        judge = Judge(D, view, y)
        real, false = door.answers(judge, x, fake)
        if watch is not None:
            watch(real.detach(), false.detach())
        return sum((penalty(judge, x, fake, step) for penalty in penalties), start=loss.d(real, false))

    def g_loss(batch: Tensor | Batch, step: int) -> Tensor:
        x, y = unpack(batch)
        images = door.generate(noise.normal(len(x), z_dim), x, y)
        if share:
            hatch.put(batch, images)
        judge = Judge(D, view, y)
        fake = door.judge(judge, images)
        return loss.g(judge(x), fake) if loss.paired else loss.g(fake)

    d, g = Player("D", D, d_loss, opt_d), Player("G", G, g_loss, opt_g)
    return [g, d] if share else [d, g]


class _Hatch:
    """Hands the images of G's move to D, under share=True, if both moves are on one batch."""

    def __init__(self) -> None:
        self.made: tuple[Any, Tensor] | None = None  # the batch that G saw, and the images that it made
        self.emptied = -1  # at this step

    def put(self, batch: Any, images: Tensor) -> None:
        self.made = batch, images.detach()

    def take(self, batch: Any, step: int) -> Tensor | None:
        """G's images; None where G did not move, and D draws images of its own."""
        made, self.made = self.made, None
        if made is None and step != self.emptied:
            return None
        if made is None or made[0] is not batch:
            raise ValueError(
                "share=True hands the images of G's move to D's, but the two moves are not on one batch: keep G before "
                "D, and moves=1 and accumulate=1 for both; or leave share out"
            )
        self.emptied = step
        return made[1]


# (∂L_G/∂f) / (∂L_D/∂f) at the logits f of generated images; bounded, since ∂L_D/∂f vanishes where it overflows.
RATIOS: dict[str, Callable[[Tensor], Tensor]] = {
    "nonsaturating": lambda f: -torch.exp((-f).clamp(max=60)),
    "minimax": lambda f: -torch.ones_like(f),
    "wasserstein": lambda f: -torch.ones_like(f),
}


def one_pass(
    G: nn.Module, D: nn.Module, optimizer: Optimizer, *, noise: Noise, z_dim: int, objective: str = "nonsaturating"
) -> Player:
    """Both moves from one pass through each network: the updates of `players(share=True)`, in less time.

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

    Returns:
        A player whose loss is D's.

    Raises:
        ValueError: the objective is another one, or D mixes the images of a batch; at the first batch: as `players`.
    """
    if objective not in RATIOS:
        raise ValueError(f"{objective!r} cannot move both at once; known are {', '.join(RATIOS)}; use gan.players")
    game = OBJECTIVES[objective]
    door = Door(G, D, game, joint=True)

    def loss(batch: Tensor | Batch, step: int) -> Tensor:
        x, y = unpack(batch)
        images = door.generate(noise.normal(len(x), z_dim), x, y)
        real, fake = door.answers(Judge(D, _identity, y), x, images)
        if images.requires_grad:
            ratio = RATIOS[objective](fake.detach()).view(-1, *[1] * (images.ndim - 1))
            images.register_hook(lambda gradient: gradient * ratio)
        return game.d(real, fake)

    return Player("D", nn.ModuleList([G, D]), loss, optimizer)
