"""What every run is told, with its limits, and what a family of runs consists of.

Nothing is imported here that takes time, so that `--help` and a misspelt option are answered at once.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints


class Limit(NamedTuple):
    """Which numbers are possible, in words and as a test."""

    text: str
    possible: Callable[[float], bool]


AT_LEAST_1 = Limit("at least 1", lambda v: v >= 1)
AT_LEAST_0 = Limit("at least 0", lambda v: 0 <= v < math.inf)
POSITIVE = Limit("greater than 0", lambda v: 0 < v < math.inf)
SHARE = Limit("at least 0 and less than 1", lambda v: 0 <= v < 1)
RATE = Limit("greater than 0 and less than 1", lambda v: 0 < v < 1)
PIXELS = Limit("between 16 and 256", lambda v: 16 <= v <= 256)
CHANNELS = Limit("1 or 3", lambda v: v in (1, 3))
Metrics = dict[str, dict[str, Any]]  # each with its text, value, sample size and tolerance: `judging.measure`
SETS = ("digits", "mnist", "fashion_mnist", "cifar10")


def number(default: Any, limit: Limit) -> Any:
    """A field that holds a number within a limit, or None."""
    return field(default=default, metadata={"limit": limit})


def free(default: Any, limit: Limit | None = None) -> Any:
    """A field that says where and how a run is made, not what it computes: a resumed run may change it."""
    return field(default=default, metadata={"free": True} | ({"limit": limit} if limit else {}))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What every run is told. The fields are the command line's options and the keys of the JSON file in its folder.

    Attributes:
        out: folder of the run.
        data: digits, mnist, fashion_mnist, cifar10, or folder:PATH with images of your own.
        size: side to which images of a folder are resized, in pixels; theirs when not given.
        channels: 1 for grey, 3 for colour; those of the images when not given.
        download: fetch the set if it is missing.
        steps: steps to make; a resumed run may be given more.
        batch_size: images in a batch, over all processes.
        lr: largest learning rate.
        schedule: constant, or falling to zero: linearly over the second half, or as a cosine from the start.
        clip: largest norm of a gradient.
        accumulate: batches whose gradients are averaged before a move.
        precision: "no" is float32; "bf16" runs the networks in bfloat16.
        device: "auto" takes a CUDA GPU where there is one; "mps" is Apple's.
        compile: run the networks through torch.compile.
        seed: of weights, order, noise.
        save_every: steps between checkpoints.
        resume: go on from the newest checkpoint in `out`, or start there if it has none.
        tensorboard: write TensorBoard files below `out`.
        flops: write the floating-point operations of each step into the history.
    """

    out: str = free("runs/run")
    data: str = "digits"
    size: int | None = number(None, PIXELS)
    channels: int | None = number(None, CHANNELS)
    download: bool = free(False)
    steps: int = number(1500, AT_LEAST_1)
    batch_size: int = number(128, AT_LEAST_1)
    lr: float = number(1e-3, RATE)
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    clip: float | None = number(None, POSITIVE)
    accumulate: int = number(1, AT_LEAST_1)
    precision: Literal["no", "bf16"] = "no"
    device: Literal["auto", "cpu", "cuda", "mps"] = free("auto")
    compile: bool = False
    seed: int = number(0, AT_LEAST_0)
    save_every: int = free(500, AT_LEAST_1)
    resume: bool = free(False)
    tensorboard: bool = free(False)
    flops: bool = free(False)

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for one in fields(self):
            value, limit = getattr(self, one.name), one.metadata.get("limit")
            if get_origin(hints[one.name]) is Literal and value not in get_args(hints[one.name]):
                raise ValueError(f"{one.name} must be one of {', '.join(get_args(hints[one.name]))}, but is {value!r}")
            if limit and value is not None and not (isinstance(value, int | float) and limit.possible(value)):
                raise ValueError(f"{one.name} must be {limit.text}, but is {value}")
        if self.flops and self.compile:
            raise ValueError("flops does not go with compile: what torch.compile has fused is not counted")
        if self.data not in SETS and not self.data.startswith("folder:"):
            raise ValueError(f"data must be one of {', '.join(SETS)}, or folder:PATH, but is {self.data!r}")

    def changes_from(self, old: Mapping[str, Any]) -> list[str]:
        """What a resumed run may not change, in words: all but free fields, and `steps`, which may grow.

        A field that the old run did not know counts as unchanged at its default.
        """
        found = []
        for one in fields(self):
            before, now = old.get(one.name, one.default), getattr(self, one.name)
            grown = one.name == "steps" and isinstance(before, int) and now >= before
            if before != now and not one.metadata.get("free") and not grown:
                found.append(f"{one.name} was {before!r} and is {now!r}")
        return found


class Shape(NamedTuple):
    """What networks have to know of the images: channels, side in pixels, number of classes (None: no labels)."""

    channels: int
    size: int
    classes: int | None = None

    def classes_if(self, labelled: bool) -> int | None:
        """The number of classes of a network that sees labels, else None.

        Raises:
            ValueError: the images have no labels.
        """
        if labelled and self.classes is None:
            raise ValueError(
                "conditional models and classifiers need labels, but these images have none: sort them into a folder "
                "for each class"
            )
        return self.classes if labelled else None


@dataclass(frozen=True)
class Family:
    """A family of runs: what a module of `genlab.runs` defines as `FAMILY`.

    Attributes:
        settings: a subclass of `Settings`.
        build: (settings, shape) -> the networks, by name; from these alone, so that weights can be used again.
        fit: settings -> the run's folder, after training.
        evaluate: (network, settings, split, feature network or None) -> metrics by name.
        samples: (network, settings, shape, n, seed, label) -> images (n, c, h, w) in [0, 1], or None if it draws none.
    """

    settings: type[Any]
    build: Callable[..., Any]
    fit: Callable[..., Any]
    evaluate: Callable[..., Metrics]
    samples: Callable[..., Any]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file of a run; a missing or damaged one raises a ValueError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}); write it again, or choose another folder") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no JSON object; write it again, or choose another folder")
    return found
