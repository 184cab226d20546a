"""A run: its settings, its folder, its devices, and the loop that logs, draws, saves and resumes."""

import copy
import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from genlab import data, plot, train


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What every run is told. The fields are the command line's options and the keys of the JSON file in its folder.

    Attributes:
        out: folder of the run.
        data: image set.
        download: fetch the set if it is missing.
        steps: steps to make.
        batch_size: images in a step, over all processes.
        lr: largest learning rate.
        schedule: constant, or falling to zero: linearly over the second half, or as a cosine from the start.
        clip: largest norm of a gradient.
        accumulate: batches whose gradients are averaged before a move.
        precision: "no" is float32; "bf16" runs the networks in bfloat16.
        device: "auto" takes a GPU where there is one.
        compile: run the networks through torch.compile.
        seed: of weights, order, noise.
        save_every: steps between checkpoints.
        resume: go on from the newest checkpoint in `out`, or start there if it has none.
        tensorboard: write TensorBoard files below `out`.
    """

    out: str
    data: Literal["digits", "mnist", "fashion_mnist", "cifar10"] = "digits"
    download: bool = False
    steps: int = 1500
    batch_size: int = 128
    lr: float = 1e-3
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    clip: float | None = None
    accumulate: int = 1
    precision: Literal["no", "bf16"] = "no"
    device: Literal["auto", "cpu"] = "auto"
    compile: bool = False
    seed: int = 0
    save_every: int = 500
    resume: bool = False
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "save_every", "accumulate"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, but is {getattr(self, name)}")
        if not 0 < self.lr < 1:
            raise ValueError(f"lr must lie between 0 and 1, but is {self.lr}")


# These say where and how a run is made, not what it computes: a resumed run may change them.
FREE = {"out", "download", "device", "resume", "save_every", "tensorboard"}


class Run:
    """The machinery of one run: data, devices and folder; `fit` is the loop. Nothing is written before `fit`."""

    def __init__(self, recipe: str, settings: Settings, *, pixels: str, labels: bool = False) -> None:
        self.recipe, self.settings, self.folder = recipe, settings, Path(settings.out)
        self._check_folder()
        self.split = data.load(settings.data, download=settings.download)
        cpu = settings.device == "cpu" or not torch.cuda.is_available()
        AcceleratorState._reset_state()  # a second run in one session may want another precision
        self.accelerator = Accelerator(
            mixed_precision=settings.precision,
            cpu=cpu,
            log_with="tensorboard" if settings.tensorboard else None,
            project_dir=self.folder,
            kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
        )
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
        train.seed_everything(settings.seed)

    def _check_folder(self) -> None:
        known = self.folder / f"{self.recipe}.json"
        if not known.exists():
            if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
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
        self, name: str, module: nn.Module, optimizer: Callable[..., Optimizer], **options: Any
    ) -> tuple[nn.Module, Optimizer, LambdaLR]:
        """Move a module to its device and processes; its optimiser and schedule; checkpoints hold all three."""
        module = module.to(memory_format=torch.channels_last)
        self.parts[name] = module
        if self.settings.compile:
            module = torch.compile(module)  # type: ignore[assignment]  # it returns a module for a module
        opt = optimizer(module.parameters(), **{"lr": self.settings.lr, **options})
        schedule = LambdaLR(opt, self._factor)
        module, opt = self.accelerator.prepare(module, opt)
        self.parts |= {f"{name}_optimizer": opt, f"{name}_schedule": schedule}
        return module, opt, schedule

    def _factor(self, move: int) -> float:
        share = min(1.0, move / self.settings.steps)
        if self.settings.schedule == "constant":
            return 1.0
        if self.settings.schedule == "cosine":
            return 0.5 * (1 + torch.cos(torch.tensor(share * torch.pi)).item())
        return min(1.0, 2 * (1 - share))

    def average(self, name: str, module: nn.Module) -> nn.Module:
        """A copy of a module for `train.ema`, which becomes part of checkpoints."""
        self.parts[name] = copy.deepcopy(self.accelerator.unwrap_model(module)).eval().requires_grad_(False)
        return self.parts[name]

    def fit(
        self,
        players: list[train.Player],
        *,
        result: Mapping[str, nn.Module],
        picture: Callable[[], Tensor],
        each: Callable[[int], None] = lambda step: None,
    ) -> Path:
        """Train to the last step; write history.jsonl, samples, curves.png, checkpoints, model.safetensors.

        Args:
            players: of the game.
            result: modules whose weights are the outcome, by name.
            picture: images (n, c, h, w) in [0, 1] to look at, from fixed noise.
            each: called after each step, for example to average weights.

        Raises:
            Diverged: a loss is NaN or infinite; the message names step, player and the last good checkpoint.
        """
        main, settings = self.accelerator.is_main_process, self.settings
        start = self._start()
        if settings.tensorboard:
            self.accelerator.init_trackers("tensorboard")
        loop = train.train(players, self.batches, settings.steps, self.accelerator, start)
        history = (self.folder / "history.jsonl").open("a") if main else None
        try:
            for step, losses in self._watch(loop, picture):
                each(step)
                if history:
                    history.write(json.dumps({"step": step} | losses) + "\n")
                if settings.tensorboard:
                    self.accelerator.log(losses, step=step)
                if step % settings.save_every == 0 or step == settings.steps:
                    if history:
                        history.flush()
                        _save_png(self.folder / f"samples-{step:08d}.png", picture())
                        train.save(self.folder / "checkpoints", step, self._unwrapped())
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
            self._finish(result, [player.name for player in players])
        return self.folder

    def _watch(self, loop: Iterator[tuple[int, dict[str, float]]], picture: Callable[[], Tensor]) -> Any:
        if not self.accelerator.is_local_main_process:
            return loop
        return plot.watch(loop, self.settings.steps, batch_size=self.settings.batch_size, picture=picture)

    def _start(self) -> int:
        """Make the folder, or restore the newest checkpoint and cut the history back to it."""
        saved = train.checkpoints(self.folder / "checkpoints")
        start = train.load(saved[-1], self._unwrapped()) if saved else 0
        if self.accelerator.is_main_process:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self.folder / f"{self.recipe}.json", dataclasses.asdict(self.settings))
            history = self.folder / "history.jsonl"
            lines = history.read_text().splitlines()[:start] if history.exists() else []
            write_text(history, "".join(line + "\n" for line in lines))
        self.accelerator.wait_for_everyone()
        return start

    def _unwrapped(self) -> dict[str, Any]:
        return {k: self._unwrap(v) if isinstance(v, nn.Module) else v for k, v in self.parts.items()}

    def _unwrap(self, module: nn.Module) -> nn.Module:
        return self.accelerator.unwrap_model(module, keep_torch_compile=False)

    def _finish(self, result: Mapping[str, nn.Module], names: list[str]) -> None:
        tensors = {f"{name}.{k}": v for name, m in result.items() for k, v in self._unwrap(m).state_dict().items()}
        partial = self.folder / "model.partial"
        save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, partial)
        os.replace(partial, self.folder / "model.safetensors")
        rows = [json.loads(line) for line in (self.folder / "history.jsonl").read_text().splitlines()]
        fig, ax = plot.figure()
        plot.curves(ax, rows, names, smooth=max(1, len(rows) // 50))
        ax.set_ylabel("loss (nats)" if self.recipe in ("vae", "vqvae") else "loss")
        (self.folder / "curves.png").write_bytes(plot.png(fig))


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    os.replace(partial, path)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON whole or not at all."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def _save_png(path: Path, images: Tensor) -> None:
    fig, ax = plot.figure(width=5, height=5)
    plot.images(ax, images)
    path.write_bytes(plot.png(fig))
