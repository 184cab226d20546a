"""Training: players, one loop for all of them, averaged weights, noise and checkpoints that resume bit for bit."""

import json
import math
import os
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from genlab.data import Batch

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
        optimizer: over the module's weights.
        moves: optimiser steps in one step of the game, each on a batch of its own.
        accumulate: batches whose gradients are averaged in one move.
        clip: largest norm of the gradient.
        schedule: learning-rate schedule, advanced once a move.
        after: called after each move, for example to clip weights.
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


class Diverged(RuntimeError):
    """A loss, a gradient or a weight became NaN or infinite. No checkpoint was written with it."""


def train(
    players: list[Player],
    batches: Iterator[Tensor | Batch],
    steps: int,
    accelerator: Any = None,
    start: int = 0,
) -> Iterator[tuple[int, dict[str, float]]]:
    """Let every player make its moves, `steps` − `start` times; yield (step, losses) after each step.

    Steps are counted from `start` + 1, so that the step yielded is the number of steps made. The caller's `for` body
    logs, plots, averages weights, saves, or breaks. Player i's j-th move uses the step's j-th batch, so a GAN's two
    players share a batch, and WGAN's critic sees five.

    Args:
        players: in the order of their moves.
        batches: endless iterator of tensors or `Batch`.
        steps: number of the last step.
        accelerator: of Hugging Face accelerate, if the modules were prepared by one; else plain torch.
        start: steps made before, in a resumed run.

    Raises:
        ValueError: no players, two of one name, a loss that is not 0-d or reaches no weight, or the batches ran out.
        Diverged: a loss or a gradient is NaN or infinite; the message names step and player. The weights are those
            before the move that failed.
    """
    names = [player.name for player in players]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"train needs players with different names, but got {names}")
    learned = {player.name: [p for p in player.module.parameters() if p.requires_grad] for player in players}
    everything = [p for own in learned.values() for p in own]
    needed = max(player.moves * player.accumulate for player in players)
    try:
        for step in range(start + 1, steps + 1):
            try:
                drawn = [next(batches) for _ in range(needed)]
            except StopIteration:
                raise ValueError(f"the batches ran out at step {step} of {steps}; pass an endless iterator") from None
            losses = {}
            for player in players:
                for parameter in everything:
                    parameter.requires_grad_(False)
                for parameter in learned[player.name]:
                    parameter.requires_grad_(True)
                for j in range(player.moves):
                    own = drawn[j * player.accumulate : (j + 1) * player.accumulate]
                    losses[player.name] = _move(player, learned[player.name], own, step, accelerator)
            for parameter in everything:  # the caller gets modules as they were
                parameter.requires_grad_(True)
            yield step, losses
    finally:
        for parameter in everything:
            parameter.requires_grad_(True)


def _move(player: Player, learned: list[Any], batches: list[Any], step: int, accelerator: Any) -> float:
    """One optimiser step on the mean gradient over `batches`; the mean loss."""
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
            (accelerator.backward if accelerator else Tensor.backward)(loss / len(batches))
    gradients = [p.grad for p in learned if p.grad is not None]
    if not gradients:
        raise ValueError(f"the loss of {player.name} does not depend on any weight of its module")
    clip = player.clip  # without it a sum will do: no NaN or infinity escapes it, and it takes half the time of a norm
    size = torch.stack([g.sum() for g in gradients]).sum() if clip is None else nn.utils.get_total_norm(gradients)
    if not size.isfinite():  # a finite loss may have such a gradient, as the square root has at 0
        raise Diverged(f"the gradient of {player.name} is NaN or infinite at step {step}")
    if clip is not None:
        nn.utils.clip_grads_with_norm_(learned, clip, size)
    player.optimizer.step()
    if player.schedule is not None:
        player.schedule.step()
    if player.after is not None:
        player.after()
    return total


@torch.no_grad()
def ema(average: nn.Module, module: nn.Module, decay: float = 0.999, step: int | None = None) -> None:
    """average ← d · average + (1 − d) · module, in place; buffers are copied.

    With `step` the decay warms up as d = min(decay, (1 + step) / (10 + step)), so that the random start is forgotten.
    The average starts as `copy.deepcopy(module)`.
    """
    d = decay if step is None else min(decay, (1 + step) / (10 + step))
    for mine, theirs in zip(average.parameters(), module.parameters(), strict=True):
        mine.lerp_(theirs, 1 - d)
    for old, new in zip(average.buffers(), module.buffers(), strict=True):
        old.copy_(new)


# -------------------------------------------------------------------------------------------------------- checkpoints


def save(folder: str | Path, step: int, parts: Mapping[str, Any], *, keep: int = 2) -> Path:
    """Write `step-00000123.safetensors` with the state of every part and of all random number generators.

    The file is written under another name, flushed to the disk and renamed: a kill at any moment leaves the older
    checkpoints whole. No pickle: tensors go into safetensors, all else into its JSON header.

    Args:
        folder: of the checkpoints; made when missing.
        step: steps made.
        parts: objects with `state_dict` (modules, optimisers, schedules, `Batches`, `Noise`), by name.
        keep: how many of the newest checkpoints stay.

    Raises:
        Diverged: a weight is NaN or infinite; nothing is written, so the last good checkpoint stays the last.
    """
    tensors: dict[str, Tensor] = {}
    state = {name: part.state_dict() for name, part in parts.items()} | {"rng": _rng_state()}
    header = json.dumps({"step": step, "state": _flatten(state, "", tensors)})
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise Diverged(f"{name} has values that are NaN or infinite at step {step}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob("step-*.partial"):  # by a run that was killed
        left.unlink()
    path = folder / f"step-{step:08d}.safetensors"
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata={"genlab": header})
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)
    for old in checkpoints(folder)[:-keep]:
        old.unlink()
    return path


def checkpoints(folder: str | Path) -> list[Path]:
    """The complete checkpoints in a folder, oldest first."""
    return sorted(Path(folder).glob("step-*.safetensors"))


def load(path: str | Path, parts: Mapping[str, Any], *, rng: bool = True) -> int:
    """Restore every part, and the random number generators, from a checkpoint; return the steps made.

    Raises:
        ValueError: the file is no checkpoint, or holds other parts.
    """
    header, tensors = _read(path)
    state = _unflatten(header["state"], tensors)
    if missing := sorted(set(parts) - set(state)):
        raise ValueError(f"{path} holds {', '.join(sorted(state))}, but not {', '.join(missing)}")
    for name, part in parts.items():
        part.load_state_dict(state[name])
    if rng:
        _restore_rng(state["rng"])
    return int(header["step"])


def _read(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["genlab"])
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, KeyError, SafetensorError) as error:
        raise ValueError(f"{path} is not a checkpoint of genlab ({error}); pass a step-….safetensors file") from error


def _flatten(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """JSON for nested dicts, lists, tuples and numbers; tensors go into `tensors`, under their place in the tree."""
    if isinstance(value, Tensor):
        tensors[name] = value.detach().cpu().contiguous().clone()  # safetensors refuses memory that is shared
        return {"tensor": name}
    if isinstance(value, Mapping):  # optimiser states have integer keys, which JSON objects cannot
        return {"items": [[key, _flatten(v, f"{name}.{key}".lstrip("."), tensors)] for key, v in value.items()]}
    if isinstance(value, list | tuple):
        items = [_flatten(v, f"{name}.{i}", tensors) for i, v in enumerate(value)]
        return {type(value).__name__: items}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{name} is {type(value).__name__}, which a checkpoint cannot hold")


def _unflatten(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "items":
        return {key: _unflatten(v, tensors) for key, v in content}
    return (tuple if kind == "tuple" else list)(_unflatten(v, tensors) for v in content)


def _rng_state() -> dict[str, Any]:
    kind, keys, *rest = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": random.getstate(),
        "numpy": [str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), *(float(v) for v in rest)],
    }


def _restore_rng(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    random.setstate(state["python"])
    kind, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), int(position), int(has_gauss), gauss))
