"""A run: its folder, its devices, and the loop that logs, draws, saves and resumes."""

import copy
import dataclasses
import json
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import gather_object, is_tensorboard_available
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from genlab import data, plot, train
from genlab.settings import FREE, Settings


class Run:
    """The machinery of one run: data, devices and folder; `fit` is the loop. Nothing is written before `fit`."""

    def __init__(self, recipe: str, settings: Settings, *, pixels: str, labels: bool = False) -> None:
        self.recipe, self.settings, self.folder = recipe, settings, Path(settings.out)
        self._check_folder()
        if settings.tensorboard and not is_tensorboard_available():
            raise ValueError("tensorboard=True needs the package tensorboard; install it with: pip install tensorboard")
        AcceleratorState._reset_state()  # a second run in one session may want another precision
        self.accelerator = Accelerator(
            mixed_precision=settings.precision,
            cpu=settings.device == "cpu" or not torch.cuda.is_available(),
            log_with="tensorboard" if settings.tensorboard else None,
            project_dir=self.folder,
            kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
        )
        if self.accelerator.num_processes > 1:
            # The name that torch 2.14 has for it is unknown to older ones, and to accelerate.
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
            # Kernels of one channel have two names for the same layout; DDP looks at the name.
            warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides", UserWarning)
        with self.accelerator.local_main_process_first():  # one process a machine downloads
            self.split = data.load(settings.data, download=settings.download)
        shared: dict[str, Any] = {
            "device": self.accelerator.device,
            "rank": self.accelerator.process_index,
            "world": self.accelerator.num_processes,
        }
        self.batches = data.Batches(
            self.split.train, settings.batch_size, labels=labels, pixels=pixels, seed=settings.seed, **shared
        )
        self.noise = train.Noise(settings.seed, **shared)
        self.parts: dict[str, Any] = {"batches": self.batches, "noise": self.noise}
        # Every process draws alike, so one saved state of the generators serves all of them.
        train.seed_everything(settings.seed)

    def _check_folder(self) -> None:
        known = self.folder / f"{self.recipe}.json"
        if not known.exists():
            if self.folder.exists() and (not self.folder.is_dir() or _holds_something(self.folder)):
                raise ValueError(f"{self.folder} exists and holds no run of this kind; choose another out")
            return
        if not self.settings.resume:
            raise ValueError(
                f"{self.folder} already holds a run; go on with it by resume (--resume true), or choose another out"
            )
        old = json.loads(known.read_text())
        new = dataclasses.asdict(self.settings)
        changed = [f"{k} was {old.get(k)!r} and is {v!r}" for k, v in new.items() if k not in FREE and old.get(k) != v]
        if changed:
            raise ValueError(f"cannot resume {self.folder} with other settings: {'; '.join(changed)}")

    def prepare(
        self, name: str, module: nn.Module, optimizer: Callable[..., Optimizer], *, moves: int = 1, **options: Any
    ) -> tuple[nn.Module, Optimizer, LambdaLR]:
        """Move a module to its device and processes; its optimiser and schedule; checkpoints hold all three.

        Args:
            name: of the module among the parts of a checkpoint.
            module: the plain module; `parts[name]` stays it.
            optimizer: makes the optimiser from parameters and options.
            moves: of the player in a step, so that its learning rate falls over the whole run.
            options: of the optimiser.
        """
        module = module.to(memory_format=torch.channels_last)
        self.parts[name] = module
        if self.settings.compile:
            module = torch.compile(module)  # type: ignore[assignment]  # it returns a module for a module
        opt = optimizer(module.parameters(), **{"lr": self.settings.lr, **options})
        schedule = LambdaLR(opt, lambda move: self._factor(move / moves / self.settings.steps))
        module, opt = self.accelerator.prepare(module, opt)
        self.parts |= {f"{name}_optimizer": opt, f"{name}_schedule": schedule}
        return module, opt, schedule

    def _factor(self, share: float) -> float:
        """The learning rate, as a part of the largest, after this share of the run."""
        if self.settings.schedule == "constant":
            return 1.0
        if self.settings.schedule == "cosine":
            return 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
        return max(0.0, min(1.0, 2 * (1 - share)))

    def average(self, name: str, of: str) -> nn.Module:
        """A copy of the part `of`, for `train.ema`, which becomes part of checkpoints."""
        self.parts[name] = copy.deepcopy(self.parts[of]).eval().requires_grad_(False)
        return self.parts[name]

    def fit(
        self,
        players: list[train.Player],
        *,
        result: Mapping[str, str],
        picture: Callable[[], Tensor],
        each: Callable[[int], None] = lambda step: None,
    ) -> Path:
        """Train to the last step; write history.jsonl, samples, curves.png, checkpoints, model.safetensors.

        Args:
            players: of the game.
            result: parts whose weights are the outcome, by the names they get in model.safetensors.
            picture: images (n, c, h, w) in [0, 1] to look at, from fixed noise.
            each: called after each step, for example to average weights.

        Raises:
            Diverged: a number is NaN or infinite; the message names step, player and the last good checkpoint.
        """
        main, settings = self.accelerator.is_main_process, self.settings
        start = self._start()
        if settings.tensorboard:
            self.accelerator.init_trackers("tensorboard")
        loop = train.train(players, self.batches, settings.steps, self.accelerator, start)
        history = (self.folder / "history.jsonl").open("a") if main else None
        try:
            for step, losses in self._watch(loop, players, picture):
                each(step)
                if history:
                    history.write(json.dumps({"step": step} | losses) + "\n")
                if settings.tensorboard:
                    self.accelerator.log(losses, step=step)
                if step % settings.save_every == 0 or step == settings.steps:
                    if history:
                        history.flush()
                        self._draw(picture(), step)
                        train.save(self.folder / "checkpoints", step, self.parts)  # last: it vouches for all else
                    self.accelerator.wait_for_everyone()
        except train.Diverged as error:
            last = train.checkpoints(self.folder / "checkpoints")
            good = f"the last good checkpoint is {last[-1]}" if last else "there is no checkpoint yet"
            raise train.Diverged(f"{error}; {good}") from None
        finally:
            if history:
                history.close()
            if settings.tensorboard:
                self.accelerator.end_training()
        if main:
            self._finish(result)
        return self.folder

    def _watch(
        self,
        loop: Iterator[tuple[int, dict[str, float]]],
        players: list[train.Player],
        picture: Callable[[], Tensor],
    ) -> Iterator[tuple[int, dict[str, float]]]:
        if not self.accelerator.is_local_main_process:
            return loop
        images = self.settings.batch_size * max(player.moves * player.accumulate for player in players)
        return plot.watch(loop, self.settings.steps, batch_size=images, picture=picture)

    def _start(self) -> int:
        """Make the folder, or restore the newest checkpoint and cut the history back to it."""
        saved = train.checkpoints(self.folder / "checkpoints")
        start = train.load(saved[-1], self.parts) if saved else 0
        if len(starts := set(gather_object([start]))) > 1:
            raise ValueError(
                f"the processes see checkpoints of different steps, {sorted(starts)}, in {self.folder}; "
                "choose an out that all machines share"
            )
        if self.accelerator.is_main_process:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self.folder / f"{self.recipe}.json", dataclasses.asdict(self.settings) | {"resume": False})
            history = self.folder / "history.jsonl"
            lines = history.read_text().splitlines()[:start] if history.exists() else []
            write_text(history, "".join(line + "\n" for line in lines))
        self.accelerator.wait_for_everyone()
        return start

    def _draw(self, images: Tensor, step: int) -> None:
        """Write samples-….png, and curves.png from the history so far."""
        fig, ax = plot.figure(width=5, height=5)
        plot.images(ax, images)
        (self.folder / f"samples-{step:08d}.png").write_bytes(plot.png(fig))
        rows = [json.loads(line) for line in (self.folder / "history.jsonl").read_text().splitlines()]
        fig, ax = plot.figure()
        plot.curves(ax, rows, [name for name in rows[0] if name != "step"], smooth=max(1, len(rows) // 50))
        ax.set_ylabel("loss (nats)" if self.recipe in ("vae", "vqvae") else "loss")
        (self.folder / "curves.png").write_bytes(plot.png(fig))

    def _finish(self, result: Mapping[str, str]) -> None:
        tensors = {f"{name}.{k}": v for name, part in result.items() for k, v in self.parts[part].state_dict().items()}
        partial = self.folder / "model.partial"
        save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, partial)
        os.replace(partial, self.folder / "model.safetensors")


def _holds_something(folder: Path) -> bool:
    """Whether there is more than half-written files, which a killed run may leave before its settings are written."""
    return any(path.suffix != ".partial" for path in folder.iterdir())


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON whole or not at all."""
    write_text(path, json.dumps(content, indent=1) + "\n")
