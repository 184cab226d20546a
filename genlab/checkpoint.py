"""Checkpoints: the state of a run in one file, without pickle, so that it goes on bit for bit."""

import json
import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from genlab.text import notice
from genlab.train import Diverged


def save(folder: str | Path, step: int, parts: Mapping[str, Any], *, keep: int = 2, others: Sequence[Any] = ()) -> Path:
    """Write `step-00000123.safetensors` with the state of every part and of all random number generators.

    The file is written under another name, flushed to the disk and renamed: a kill at any moment leaves the older
    checkpoints whole. No pickle: tensors go into safetensors, all else into its JSON header.

    Args:
        folder: of the checkpoints; made when missing.
        step: steps made.
        parts: objects with `state_dict` (modules, optimisers, schedules, `Batches`, `Noise`), by name.
        keep: how many of the newest checkpoints stay.
        others: `rng_state()` of the other processes, in their order.

    Raises:
        ValueError: `keep` is below 1.
        Diverged: a weight is NaN or infinite; nothing is written, so the last good checkpoint stays the last.
    """
    if keep < 1:
        raise ValueError(f"keep={keep} must be at least 1: the checkpoint just written stays")
    tensors: dict[str, Tensor] = {}
    state = {name: part.state_dict() for name, part in parts.items()}
    generators = _flatten([rng_state(), *others], ("rng",), tensors)
    header = json.dumps({"step": step, "state": _flatten(state, ("parts",), tensors), "rng": generators})
    _refuse_broken(parts, tensors, step)
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
    before = [p for p in found(folder) if p != path]  # not path: who went back to an older one saves below others
    for old in before[: max(0, len(before) + 1 - keep)]:
        old.unlink()
    return path


def _refuse_broken(parts: Mapping[str, Any], tensors: Mapping[str, Tensor], step: int) -> None:
    """Raise Diverged at NaN anywhere, and at infinity except in buffers such as a causal mask with its −∞."""
    masks = {
        _pointer("parts", name, key)
        for name, part in parts.items()
        if isinstance(part, nn.Module)
        for key, _ in part.named_buffers(remove_duplicate=False)
        if not key.rpartition(".")[2].startswith("running_")  # BatchNorm's statistics
    }
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not (~tensor.isnan() if name in masks else tensor.isfinite()).all():
            raise Diverged(f"{name.removeprefix('parts/')} has values that are NaN or infinite at step {step}")


def found(folder: str | Path) -> list[Path]:
    """The complete checkpoints in a folder, oldest first."""
    steps = {path: path.stem.removeprefix("step-") for path in Path(folder).glob("step-*.safetensors")}
    return sorted((path for path, step in steps.items() if step.isdecimal()), key=lambda path: int(steps[path]))


def restore_newest(folder: str | Path, parts: Mapping[str, Any], *, rank: int = 0) -> int:
    """Restore the newest checkpoint of a folder that can be read; return the steps made, 0 without a checkpoint.

    A damaged one is passed over with a notice.

    Raises:
        ValueError: there are checkpoints, and none of them can be read.
    """
    problems: list[str] = []
    for path in reversed(found(folder)):
        try:
            content = _read(path)
        except ValueError as error:
            problems.append(str(error))
            continue
        for problem in problems:
            notice(f"{problem}; going on from {path.name}")
        return _restore(path, content, parts, rank)
    if problems:
        raise ValueError(
            f"none of the {len(problems)} checkpoints in {folder} can be read; remove them to start anew. "
            f"The newest: {problems[0]}"
        )
    return 0


def restore(path: str | Path, parts: Mapping[str, Any], *, rng: bool = True, rank: int = 0) -> int:
    """Restore every part, and the random number generators, from a checkpoint; return the steps made.

    Args:
        path: of the checkpoint.
        parts: as they were saved; some of them are enough.
        rng: restore the generators, too.
        rank: number of this process, which has generators of its own.

    Raises:
        ValueError: the file is no checkpoint, or holds other parts.
    """
    return _restore(path, _read(path), parts, rank if rng else None)


def _restore(
    path: str | Path, content: tuple[dict[str, Any], dict[str, Tensor]], parts: Mapping[str, Any], rank: int | None
) -> int:
    header, tensors = content
    state = _unflatten(header["state"], tensors)
    if missing := sorted(set(parts) - set(state)):
        raise ValueError(f"{path} holds {', '.join(sorted(state))}, but not {', '.join(missing)}")
    for name, part in parts.items():
        part.load_state_dict(state[name])
    generators = _unflatten(header["rng"], tensors)
    if rank is not None and rank < len(generators):  # a process that was not there before keeps its own
        _restore_rng(generators[rank])
    return int(header["step"])


def _read(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["genlab"])
            # Copied: get_tensor maps the file, and an optimiser would keep the map for as long as it lives.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise ValueError(
            f"{path} is not a checkpoint of genlab, or damaged ({error}); pass a whole step-….safetensors file"
        ) from error
    if not header.keys() >= {"step", "state", "rng"}:
        raise ValueError(f"{path} was written by another version of genlab; go on with that one, or start anew")
    return header, tensors


def _pointer(*place: Any) -> str:
    """A place in the tree as a JSON pointer (RFC 6901), so that no two places have one name."""
    return "/".join(str(key).replace("~", "~0").replace("/", "~1") for key in place)


def _flatten(value: Any, place: tuple[Any, ...], tensors: dict[str, Tensor]) -> Any:
    """JSON for nested dicts, lists, tuples and numbers; tensors go into `tensors`, under their place in the tree."""
    if isinstance(value, Tensor):
        name = _pointer(*place)
        while name in tensors:  # of the keys 0 and "0"; no pointer ends in "~"
            name += "~"
        tensors[name] = value.detach().cpu().contiguous().clone()  # safetensors refuses memory that is shared
        return {"tensor": name}
    if isinstance(value, Mapping):  # optimiser states have integer keys, which JSON objects cannot
        if odd := [key for key in value if not isinstance(key, int | float | str | None)]:
            raise TypeError(f"{_pointer(*place)} has the key {odd[0]!r}, which a checkpoint cannot hold")
        return {"items": [[key, _flatten(v, (*place, key), tensors)] for key, v in value.items()]}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_flatten(v, (*place, i), tensors) for i, v in enumerate(value)]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{_pointer(*place)} is {type(value).__name__}, which a checkpoint cannot hold")


def _unflatten(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "items":
        return {key: _unflatten(v, tensors) for key, v in content}
    return (tuple if kind == "tuple" else list)(_unflatten(v, tensors) for v in content)


def rng_state() -> dict[str, Any]:
    """The state of Python's, NumPy's and torch's generators in this process."""
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
