"""Training: players, one loop for all of them, averaged weights, and noise that many processes share."""

import math
import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from genlab import machine
from genlab.data import Batch, stream

# ------------------------------------------------------------------------------------------------- settings of a run


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's generators (all devices)."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def profile(quick: Any, full: Any) -> Any:
    """`quick` or `full`, as the environment variable GENLAB_PROFILE says; by default full where there is a GPU.

    Raises:
        ValueError: GENLAB_PROFILE is neither "quick" nor "full".
    """
    name = os.environ.get("GENLAB_PROFILE", "full" if torch.cuda.is_available() else "quick")
    if name not in ("quick", "full"):
        raise ValueError(f'GENLAB_PROFILE must be "quick" or "full", but is {name!r}')
    return quick if name == "quick" else full


class Noise:
    """Random rows that do not depend on how many processes share a batch.

    Every process draws the rows of the whole batch from the same CPU generator and keeps its own, so a run on two
    processes, or on another device, gets the numbers that a run on one does.

    Args:
        seed: of the generator.
        device: where the rows come out.
        rank: number of this process.
        world: number of processes.
    """

    def __init__(self, seed: int = 0, *, device: str | torch.device = "cpu", rank: int = 0, world: int = 1) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.device, self.rank, self.world = torch.device(device), rank, world

    def normal(self, n: int, *shape: int) -> Tensor:
        """Standard normal rows (n, *shape)."""
        return self._own(torch.randn(n * self.world, *shape, generator=self.generator))

    def uniform(self, n: int, *shape: int) -> Tensor:
        """Rows (n, *shape) uniform in [0, 1)."""
        return self._own(torch.rand(n * self.world, *shape, generator=self.generator))

    def _own(self, rows: Tensor) -> Tensor:
        return rows[self.rank :: self.world].to(self.device, non_blocking=True)

    def state_dict(self) -> dict[str, Any]:
        """The generator's state."""
        return {"state": self.generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken."""
        self.generator.set_state(state["state"])


# ----------------------------------------------------------------------------------------------------------- the loop


@dataclass(frozen=True)
class Player:
    """What is minimised, with which optimiser, in how many moves a step.

    Attributes:
        name: of its loss in the logs.
        module: whose weights move; those of the other players stand still meanwhile.
        loss: maps (batch, step) to a 0-d tensor.
        optimizer: over the module's weights, or over some of them; the others stand still.
        moves: optimiser steps in one step of the game, each on a batch of its own.
        accumulate: batches whose gradients are averaged in one move.
        clip: largest norm of the gradient.
        schedule: learning-rate schedule, advanced once a move.
        after: called after each move, for example to clip weights.

    Raises:
        ValueError: a number is too small, or the optimiser or the schedule belongs to something else.
    """

    name: str
    module: nn.Module
    loss: Callable[[Tensor | Batch, int], Tensor]
    optimizer: Optimizer
    moves: int = 1
    accumulate: int = 1
    clip: float | None = None
    schedule: LRScheduler | None = None
    after: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        if self.moves < 1 or self.accumulate < 1:
            raise ValueError(f"moves={self.moves} and accumulate={self.accumulate} must be at least 1")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"clip={self.clip} must be positive, the largest norm of the gradient; None does not clip")
        own, weights = {id(p) for p in self.module.parameters()}, self.weights()
        if foreign := sum(id(p) not in own for p in weights):
            raise ValueError(
                f"the optimiser of {self.name} holds {len(weights)} tensors, of which {foreign} are not weights of its "
                "module: make it from module.parameters(), after a copy of the module if there is one, and give each "
                "player its own; several modules of one player go into an nn.ModuleList"
            )
        schedule = getattr(self.schedule, "scheduler", self.schedule)  # accelerate wraps it
        if isinstance(schedule, ReduceLROnPlateau):
            raise ValueError(
                f"the schedule of {self.name} is a ReduceLROnPlateau, which waits for a loss: call its step(loss) in "
                "the body of the loop, and leave schedule=None"
            )
        of = getattr(schedule, "optimizer", None)
        if of is not None and of.param_groups is not self.optimizer.param_groups:
            raise ValueError(
                f"the schedule of {self.name} moves the learning rate of another optimiser: make it from the optimiser "
                "of this player, and give each player its own"
            )

    def weights(self) -> list[nn.Parameter]:
        """The parameters that the optimiser holds."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def replace(self, **changes: Any) -> "Player":
        """A player with other attributes: `player.replace(moves=5, clip=1.0)`."""
        return replace(self, **changes)


class Diverged(RuntimeError):
    """A loss, a gradient or a weight became NaN or infinite. No checkpoint was written with it."""


def train(
    players: list[Player] | Player,
    batches: Iterable[Any],
    steps: int,
    accelerator: Any = None,
    start: int = 0,
) -> Iterator[tuple[int, dict[str, float]]]:
    """Let every player make its moves, `steps` − `start` times; yield (step, losses) after each step.

    Steps are counted from `start` + 1, so that the step yielded is the number of steps made. The caller's `for` body
    logs, plots, averages weights, freezes layers, saves, or breaks. Player i's j-th move uses the step's j-th batch, so
    a GAN's two players share a batch, and WGAN's critic sees five.

    Args:
        players: in the order of their moves.
        batches: `data.Batches`, a DataLoader, or anything that can be iterated over; what ends is begun again.
        steps: number of the last step.
        accelerator: of Hugging Face accelerate, if the modules were prepared by one; else plain torch.
        start: steps made before, in a resumed run.

    Raises:
        ValueError: at once: arguments of another kind or order, no players or two of one name, an accelerator that
            scales or accumulates, a schedule that has ended; at a step: a loss that is not 0-d or reaches no weight, a
            negative learning rate, or batches that ran out.
        Diverged: a loss or a gradient is NaN or infinite; the message names step and player. The weights are those
            before the move that failed.
    """
    players = [players] if isinstance(players, Player) else players
    if not isinstance(players, list | tuple) or not all(isinstance(player, Player) for player in players):
        raise ValueError(
            f"train(players, batches, steps) needs a list of players first, but got {_kind(players)}; "
            "gan.players, vae.player and train.Player make them"
        )
    for name, value in {"steps": steps, "start": start}.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 0:
            got = value if isinstance(value, int | float) else _kind(value)
            raise ValueError(f"train(players, batches, steps) needs a whole number as {name}, but got {got}")
    names = [player.name for player in players]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"train needs players with different names, but got {names}")
    if accelerator is not None:
        _check_accelerator(accelerator)
    for player in players:
        _check_rates(player, anew=start == 0 < steps)
    machine.share_cores()
    return _loop(list(players), stream(batches), steps, accelerator, start)


def _kind(value: Any) -> str:
    of = f" of {type(value[0]).__name__}" if isinstance(value, list | tuple) and value else ""
    return f"{type(value).__name__}{of}"


def _check_accelerator(accelerator: Any) -> None:
    if not hasattr(accelerator, "backward"):
        raise ValueError(
            f"the fourth argument of train must be an Accelerator, but is {_kind(accelerator)}; "
            "a resumed run passes start= by name"
        )
    if getattr(accelerator, "gradient_accumulation_steps", 1) != 1:
        raise ValueError(
            f"the accelerator divides gradients by {accelerator.gradient_accumulation_steps} accumulation steps, but "
            "players accumulate themselves: use Player.accumulate, and unset ACCELERATE_GRADIENT_ACCUMULATION_STEPS"
        )
    if getattr(accelerator, "mixed_precision", "no") not in ("no", "bf16"):
        raise ValueError(
            f"mixed_precision={accelerator.mixed_precision!r} scales losses, and so the gradients in penalties; "
            'use "bf16" or "no"'
        )


def _check_rates(player: Player, *, anew: bool) -> None:
    """Refuse a negative learning rate, and a training that starts anew with a schedule that has come to its end."""
    rates = [float(group.get("lr", 1.0)) for group in player.optimizer.param_groups]
    if min(rates) < 0:
        raise ValueError(
            f"the learning rate of {player.name} is {min(rates):g}: its schedule was made for fewer moves; make "
            "network, optimiser and schedule anew, or a schedule that stops at 0"
        )
    # Where a run is resumed the rate is that of its last move, and the schedule may have been made for more steps.
    if anew and max(rates) == 0 and getattr(player.schedule, "last_epoch", 0) > 0:
        raise ValueError(
            f"the learning rate of {player.name} is 0: its schedule has ended in an earlier training; make network, "
            "optimiser and schedule anew before training again"
        )


def _loop(
    players: list[Player], batches: Iterator[Any], steps: int, accelerator: Any, start: int
) -> Iterator[tuple[int, dict[str, float]]]:
    everything = list({id(p): p for player in players for p in player.module.parameters()}.values())
    needed = max(player.moves * player.accumulate for player in players)
    for step in range(start + 1, steps + 1):
        drawn = [next(batches) for _ in range(needed)]
        wanted = [p.requires_grad for p in everything]  # anew, since the caller may freeze layers between steps
        losses = {}
        try:
            for player in players:
                own = {id(p) for p in player.weights()}
                _freeze(everything, [flag and id(p) in own for p, flag in zip(everything, wanted, strict=True)])
                for j in range(player.moves):
                    part = drawn[j * player.accumulate : (j + 1) * player.accumulate]
                    losses[player.name] = _move(player, part, step, accelerator)
        finally:  # the caller gets modules as they were
            _freeze(everything, wanted)
        yield step, losses


def _freeze(parameters: list[nn.Parameter], learns: list[bool]) -> None:
    for parameter, flag in zip(parameters, learns, strict=True):
        if parameter.requires_grad != flag:
            parameter.requires_grad_(flag)


def _move(player: Player, batches: list[Any], step: int, accelerator: Any) -> float:
    """One optimiser step on the mean gradient over `batches`; the mean loss."""
    _check_rates(player, anew=False)
    player.optimizer.zero_grad(set_to_none=True)
    total = 0.0
    for i, batch in enumerate(batches):
        last = i == len(batches) - 1
        with accelerator.no_sync(player.module) if accelerator and not last else nullcontext():
            loss = player.loss(batch, step)
            if loss.ndim:
                raise ValueError(f"the loss of {player.name} must be 0-d, but is {tuple(loss.shape)}: average it")
            # Processes log and judge the mean of their losses, so that all of them stop together. Reading it waits for
            # the device: the price of never stepping on a NaN.
            value = (accelerator.reduce(loss.detach(), "mean") if accelerator else loss).item()
            if not math.isfinite(value):
                raise Diverged(f"the loss of {player.name} is {value} at step {step}")
            total += value / len(batches)
            if not loss.requires_grad:
                raise _unmoved(player)
            (accelerator.backward if accelerator else Tensor.backward)(loss / len(batches))
    learned = [p for p in player.weights() if p.requires_grad and p.grad is not None]
    if not learned:
        raise _unmoved(player)
    _step(player, learned, step)
    return total


def _unmoved(player: Player) -> ValueError:
    return ValueError(
        f"the loss of {player.name} does not depend on any weight that its optimiser moves: compute it with the "
        "player's own module, without detach() or no_grad(); if all its weights are frozen, leave the player out"
    )


def _step(player: Player, learned: list[nn.Parameter], step: int) -> None:
    """Check and clip the gradient, and move the weights."""
    gradients = [p.grad for p in learned if p.grad is not None]
    clip = player.clip  # without it a sum will do: no NaN or infinity escapes it, and it takes half the time of a norm
    size = torch.stack([g.sum() for g in gradients]).sum() if clip is None else nn.utils.get_total_norm(gradients)
    if not size.isfinite():  # a sum may overflow where no value does, above all in half precision
        largest = torch.stack([g.abs().max() for g in gradients]).max().float()
        if not largest.isfinite():  # a finite loss may have such a gradient, as √ has at 0
            raise Diverged(f"the gradient of {player.name} is NaN or infinite at step {step}")
        size = largest * nn.utils.get_total_norm([g.float() / largest for g in gradients])
    if clip is not None:
        nn.utils.clip_grads_with_norm_(learned, clip, size)
    player.optimizer.step()
    if player.schedule is not None:
        player.schedule.step()
    if player.after is not None:
        player.after()


@torch.no_grad()
def ema(average: nn.Module, module: nn.Module, decay: float = 0.999, step: int | None = None) -> None:
    """average ← d · average + (1 − d) · module, in place; buffers are copied.

    With `step` the decay warms up as d = min(decay, (1 + step) / (10 + step)), so that the random start is forgotten.
    The average starts as `copy.deepcopy(module)`, in float32 also when the module's weights are shorter.

    Raises:
        ValueError: the average is in half precision, where small steps are rounded away.
    """
    d = decay if step is None else min(decay, (1 + step) / (10 + step))
    for mine, theirs in zip(average.parameters(), module.parameters(), strict=True):
        if mine.dtype in (torch.bfloat16, torch.float16):
            raise ValueError(
                f"an average in {mine.dtype} rounds steps of {1 - d:.1g} of the way off, and never moves; "
                "make it by copy.deepcopy(module).float()"
            )
        mine.lerp_(theirs.to(mine), 1 - d)
    for old, new in zip(average.buffers(), module.buffers(), strict=True):
        old.copy_(new)
