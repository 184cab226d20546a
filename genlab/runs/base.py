"""A run: its folder, its devices, and the loop that logs, draws, saves and resumes. It knows no family."""

import copy
import json
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState, GradientState, PartialState
from accelerate.utils import gather_object, is_tensorboard_available
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from genlab import arithmetic, checkpoint, data, machine, plot, train
from genlab.runs.settings import Settings, Shape, read_json
from genlab.text import notice

Each = Callable[[int, Mapping[str, float]], Mapping[str, float] | None]


def read_images(settings: Settings) -> data.Split:
    """The images that the settings name.

    Raises:
        ValueError: they are not there, or cannot be used.
    """
    return data.read_set(settings.data, size=settings.size, channels=settings.channels, download=settings.download)


def shape_of(split: data.Split) -> Shape:
    """What networks have to know of images."""
    return Shape(split.channels, split.size, split.classes)


class Run:
    """The machinery of one run: data, devices and folder; `fit` is the loop. Nothing is written before `fit`.

    It is used in a `with` statement: within it, accelerate's shared state is the run's own. So a run changes neither
    the caller's accelerator nor the next run's device and precision.

    Args:
        name: of the family.
        settings: of the run.
        pixels: what batches hold, see `data.to_float`.
        labels: batches have labels, too.
        nats: losses are in nats, as the axis of the curves then says.

    Raises:
        ValueError: the folder, the device or, on entering, the images cannot be used.
    """

    def __init__(self, name: str, settings: Settings, *, pixels: str, labels: bool = False, nats: bool = False) -> None:
        self.name, self.settings, self.folder = name, settings, Path(settings.out)
        self.pixels, self.labels, self.nats = pixels, labels, nats
        self.parts: dict[str, Any] = {}
        self.stack = ExitStack()
        self._check_folder()
        if settings.tensorboard and not is_tensorboard_available():
            raise ValueError("tensorboard=True needs the package tensorboard; install it with: pip install tensorboard")
        if settings.device != "auto":
            data.find_device(settings.device)

    def __enter__(self) -> "Run":
        with self.stack:
            self.stack.enter_context(_own_state())
            self.stack.enter_context(_deterministic())
            self.accelerator = self._accelerator()
            self._read()
            self.stack = self.stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self.stack.close()

    def _accelerator(self) -> Accelerator:
        settings = self.settings
        found = Accelerator(
            mixed_precision=settings.precision,
            cpu=settings.device == "cpu" or (settings.device == "auto" and not torch.cuda.is_available()),
            log_with="tensorboard" if settings.tensorboard else None,
            project_dir=self.folder,
            kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
        )
        if found.num_processes > 1:
            # The name that torch 2.14 has for it is unknown to older ones, and to accelerate.
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
            # Kernels of one channel have two names for the same layout; DDP looks at the name.
            warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides", UserWarning)
        if settings.precision == "bf16" and found.is_local_main_process and not machine.fast_bf16(found.device):
            notice(
                f"this machine computes bfloat16 on {found.device.type} in software, which may take ten times as long; "
                "--precision no is faster here"
            )
        return found

    def _read(self) -> None:
        accelerator, settings = self.accelerator, self.settings
        with accelerator.local_main_process_first():  # one process a machine downloads
            self.split = read_images(settings)
        self.shape = shape_of(self.split)
        self.shape.classes_if(self.labels)
        written = self.folder / "images.json"
        if written.exists() and (old := read_json(written)) != self.shape._asdict():
            raise ValueError(f"cannot resume {self.folder} with other images: they were {old} and are {self.shape}")
        shared: dict[str, Any] = {
            "device": accelerator.device,
            "rank": accelerator.process_index,
            "world": accelerator.num_processes,
        }
        self.batches = data.Batches(
            self.split.train,
            settings.batch_size,
            labels=self.labels,
            pixels=self.pixels,
            seed=settings.seed,
            **shared,
        )
        self.noise = train.Noise(settings.seed, **shared)
        self.parts |= {"batches": self.batches, "noise": self.noise}
        train.seed_everything(settings.seed)  # the same weights in every process

    def _check_folder(self) -> None:
        known = self.folder / f"{self.name}.json"
        if not known.exists():
            if self.folder.exists() and (not self.folder.is_dir() or _holds_something(self.folder)):
                raise ValueError(f"{self.folder} exists and holds no run of this kind; choose another out")
            return
        if not self.settings.resume:
            raise ValueError(
                f"{self.folder} already holds a run; go on with it by resume (--resume), or choose another out"
            )
        if changed := self.settings.changes_from(read_json(known)):
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

    def follow(self, name: str, of: str, decay: float) -> tuple[nn.Module, Each]:
        """`average`, and what moves the copy after each step: for runs whose `each` does nothing else."""
        mean, source = self.average(name, of), self.parts[of]

        def each(step: int, losses: Mapping[str, float]) -> None:
            train.ema(mean, source, decay, step)

        return mean, each

    def fit(
        self,
        players: list[train.Player],
        *,
        result: Mapping[str, str],
        picture: Callable[[], Tensor],
        each: Each = lambda step, losses: None,
    ) -> Path:
        """Train to the last step; write history.jsonl, samples, curves.png, checkpoints, model.safetensors.

        Args:
            players: of the game; clipping and accumulation are those of the settings.
            result: parts whose weights are the outcome, by the names they get in model.safetensors.
            picture: images (n, c, h, w) in [0, 1] to look at, from fixed noise.
            each: called with step and losses after each step, for example to average weights; numbers that it returns
                go into the history.

        Raises:
            Diverged: a number is NaN or infinite; the message names step, player and the last good checkpoint.
        """
        players = [p.replace(clip=self.settings.clip, accumulate=self.settings.accumulate) for p in players]
        start = self._restore()
        loop = train.train(players, self.batches, self.settings.steps, self.accelerator, start)
        counted = arithmetic.Counted(loop) if self.settings.flops else None
        rows = self._begin(start)  # from here on files are written
        if self.settings.tensorboard:
            self.accelerator.init_trackers("tensorboard")
        try:
            with _History(self.folder / "history.jsonl", rows, self.accelerator.is_main_process) as history:
                for step, losses in self._watch(counted or loop, players, picture):
                    more = each(step, losses) or {}
                    history.add(step, losses, {**more, "flops": counted.flops} if counted else more)
                    if self.settings.tensorboard:
                        self.accelerator.log(losses, step=step)
                    if step % self.settings.save_every == 0 or step == self.settings.steps:
                        self._save(step, history, picture)
        except train.Diverged as error:
            last = checkpoint.found(self.folder / "checkpoints")
            good = f"the last good checkpoint is {last[-1]}" if last else "there is no checkpoint yet"
            raise train.Diverged(f"{error}; {good}") from None
        finally:
            if self.settings.tensorboard:
                self.accelerator.end_training()
        if self.accelerator.is_main_process:
            self._finish(result)
        return self.folder

    def _save(self, step: int, history: "_History", picture: Callable[[], Tensor]) -> None:
        generators = gather_object([checkpoint.rng_state()])
        if self.accelerator.is_main_process:
            history.flush()
            self._draw(picture(), step, history)
            # Last: it vouches for all else.
            checkpoint.save(self.folder / "checkpoints", step, self.parts, others=generators[1:])
        self.accelerator.wait_for_everyone()

    def _watch(
        self, loop: Iterator[tuple[int, dict[str, float]]], players: list[train.Player], picture: Callable[[], Tensor]
    ) -> Iterator[tuple[int, dict[str, float]]]:
        if not self.accelerator.is_local_main_process:
            return loop
        images = self.settings.batch_size * max(player.moves * player.accumulate for player in players)
        return plot.watch(loop, self.settings.steps, batch_size=images, picture=picture)

    def _restore(self) -> int:
        """Restore the newest checkpoint that is whole, if there is one: the steps made."""
        rank = self.accelerator.process_index
        if rank:  # what a process draws for itself, as dropout does, is its own
            torch.manual_seed(self.settings.seed + 1_000_003 * rank)
        start = checkpoint.restore_newest(self.folder / "checkpoints", self.parts, rank=rank)
        if len(starts := set(gather_object([start]))) > 1:
            raise ValueError(
                f"the processes see checkpoints of different steps, {sorted(starts)}, in {self.folder}; "
                "choose an out that all machines share"
            )
        if start > self.settings.steps:
            raise ValueError(
                f"{self.folder} has made {start} steps already; give it more than steps={self.settings.steps}"
            )
        for part in self.parts.values():  # in a run with more steps than before the same move has another rate
            if isinstance(part, LambdaLR):
                for group, rate, factor in zip(
                    part.optimizer.param_groups, part.base_lrs, part.lr_lambdas, strict=True
                ):
                    group["lr"] = rate * factor(part.last_epoch)
        return start

    def _begin(self, start: int) -> list[dict[str, float]]:
        """Make the folder, write down the settings, and cut the history back to the checkpoint: its rows."""
        rows: list[dict[str, float]] = []
        if self.accelerator.is_main_process:
            self.folder.mkdir(parents=True, exist_ok=True)
            # The settings come first: they make the folder known as a run, which a killed one goes on from.
            write_json(self.folder / f"{self.name}.json", asdict(self.settings) | {"resume": False})
            write_json(self.folder / "images.json", self.shape._asdict())
            path = self.folder / "history.jsonl"
            lines = path.read_text(encoding="utf-8").splitlines()[:start] if path.exists() else []
            write_whole(path, "".join(line + "\n" for line in lines))
            rows = [json.loads(line) for line in lines]
        self.accelerator.wait_for_everyone()
        return rows

    def _draw(self, images: Tensor, step: int, history: "_History") -> None:
        """Write samples-….png, and curves.png from the history so far."""
        fig, ax = plot.figure(width=5, height=5)
        plot.images(ax, images)
        (self.folder / f"samples-{step:08d}.png").write_bytes(plot.png(fig))
        fig, ax = plot.figure()
        rows = history.rows
        plot.curves(ax, rows, history.names, smooth=max(1, len(rows) // 50))
        ax.set_ylabel("loss (nats)" if self.nats else "loss")
        (self.folder / "curves.png").write_bytes(plot.png(fig))

    def _finish(self, result: Mapping[str, str]) -> None:
        tensors = {f"{name}.{k}": v for name, part in result.items() for k, v in self.parts[part].state_dict().items()}
        partial = self.folder / "model.partial"
        save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, partial)
        os.replace(partial, self.folder / "model.safetensors")


class _History:
    """The losses of a run: every row in a file, and a thinned copy in memory for the curves."""

    LIMIT = 2000  # rows in memory; from twice as many every second one goes

    def __init__(self, path: Path, rows: list[dict[str, float]], writes: bool) -> None:
        self.path, self.writes, self.every = path, writes, 1
        self.rows: list[dict[str, float]] = []
        self.names: list[str] = []
        for row in rows:
            self._keep(row)

    def __enter__(self) -> "_History":
        self.file = self.path.open("a", encoding="utf-8") if self.writes else None
        return self

    def __exit__(self, *error: Any) -> None:
        if self.file:
            self.file.close()

    def add(self, step: int, losses: Mapping[str, float], more: Mapping[str, float]) -> None:
        """Append the losses of a step, and what else was measured."""
        self.names = list(losses)
        row = {"step": step, **losses, **more}
        self._keep(row)
        if self.file:
            self.file.write(json.dumps(row) + "\n")

    def _keep(self, row: dict[str, float]) -> None:
        if row["step"] % self.every == 0:
            self.rows.append(row)
        if len(self.rows) > 2 * self.LIMIT:
            self.every *= 2
            self.rows = [row for row in self.rows if row["step"] % self.every == 0]

    def flush(self) -> None:
        """Bring what was added to the disk."""
        if self.file:
            self.file.flush()


@contextmanager
def _own_state() -> Iterator[None]:
    """Within it accelerate knows nothing of earlier accelerators; afterwards it is as it was."""
    kinds: tuple[Any, ...] = (PartialState, AcceleratorState, GradientState)
    before = [kind._shared_state for kind in kinds]
    for kind in kinds:
        kind._shared_state = {}
    try:
        yield
    finally:
        for kind, state in zip(kinds, before, strict=True):
            kind._shared_state = state


@contextmanager
def _deterministic() -> Iterator[None]:
    """cuDNN repeats itself within, at a small cost in speed; afterwards it does what it did."""
    cudnn: Any = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = before


def _holds_something(folder: Path) -> bool:
    """Whether there is more than half-written files, which a killed run may leave before its settings are written."""
    return any(path.suffix != ".partial" for path in folder.iterdir())


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON whole or not at all."""
    write_whole(path, json.dumps(content, indent=1) + "\n")
