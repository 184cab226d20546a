"""What a check may not change in the reader's session: nothing. And what an answer may not change in a check.

The functions that judge an answer are held here from the start: an answer that replaces `torch.allclose` passes neither
by that nor later.
"""

import builtins
import contextlib
import copy
import gc
import io
import math
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from genlab.exercises.limit import left_behind

LIBRARIES = (torch, torch.linalg, torch.autograd, torch.optim, F, nn, nn.Module, torch.Tensor)
SPACES: tuple[Any, ...] = (builtins, math, random, copy, np, np.linalg, np.random, *LIBRARIES)
BUILTINS = vars(builtins)
JUDGES = {
    (space, name): getattr(space, name)
    for space, names in (
        (torch, ("allclose", "isclose", "equal", "eq", "isfinite", "isnan")),
        (np, ("allclose", "isclose", "array_equal", "isfinite", "isnan")),
        (math, ("isclose", "isfinite", "isnan")),
    )
    for name in names
}


def seed() -> None:
    """The same random numbers for every test, from the generators of the CPU alone."""
    random.seed(0)
    np.random.seed(0)
    torch.default_generator.manual_seed(0)


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Around a whole check: plain settings within, and everything as it was afterwards."""
    before = [(put, get()) for get, put in STATES]
    replaced = {key: current for key, own in JUDGES.items() if (current := vars(key[0]).get(key[1])) is not own}
    try:
        with warnings.catch_warnings(), torch.inference_mode(False), _on_cpu():
            for (space, name), own in JUDGES.items():
                setattr(space, name, own)
            torch.set_grad_enabled(True)
            torch.set_default_dtype(torch.float32)
            yield
    finally:
        for (space, name), current in replaced.items():
            setattr(space, name, current)
        for put, value in before:
            with contextlib.suppress(Exception):  # a folder that was deleted: the rest is put back all the same
                put(value)


class Settled:
    """Around one call of an answer: the settings and the functions that it changed are put back."""

    def __enter__(self) -> None:
        self.builtins, self.depth = dict(BUILTINS), sys.getrecursionlimit()
        self.spaces = [(space, dict(vars(space))) for space in SPACES]
        self.device, self.modules = torch.get_default_device(), len(sys.modules)
        warnings.simplefilter("ignore")  # what counts is what comes out

    def __exit__(self, *error: object) -> None:
        # Before all else what every line of Python needs: an answer may have replaced `getattr`.
        sys.setrecursionlimit(self.depth)
        BUILTINS.update(self.builtins)
        if left_behind():
            return
        warnings.simplefilter("ignore")
        for space, known in self.spaces:
            _restore(space, known, clean=len(sys.modules) == self.modules)
        if torch.get_default_device() != self.device:
            torch.set_default_device(None if self.device.type == "cpu" else self.device)
        if torch.get_default_dtype() != torch.float32:
            torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)


def _restore(space: ModuleType | type, known: dict[str, Any], *, clean: bool) -> None:
    """Put back what was replaced or deleted and, in a class that no import has extended, delete what was added."""
    now = vars(space)
    with contextlib.suppress(Exception):  # two values that cannot be compared are not the same
        if dict(now) == known:
            return
    for name, value in known.items():
        if name not in now or now[name] is not value:
            setattr(space, name, value)
    if clean and isinstance(space, type):
        for name in [name for name in now if name not in known]:
            delattr(space, name)


class _Nowhere(io.TextIOBase):
    """Takes every text, and keeps none."""

    def write(self, text: str) -> int:
        return len(text)


@contextlib.contextmanager
def muted() -> Iterator[None]:
    """What is printed within is not seen: an answer is called many times, and speaks once."""
    with contextlib.redirect_stdout(_Nowhere()), contextlib.redirect_stderr(_Nowhere()):
        yield


# ---------------------------------------------------------------------------------------- what is read and put back


def _on_cpu() -> contextlib.AbstractContextManager[Any]:
    """Tensors without a device are made on the CPU, whatever the session's default."""
    plain = torch.get_default_device().type == "cpu"
    return contextlib.nullcontext() if plain else torch.device("cpu")


def _when_changed(get: Callable[[], Any], put: Callable[[Any], Any]) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    def put_back(value: Any) -> None:
        if get() != value:
            put(value)

    return get, put_back


_PRINTED = torch._tensor_str.PRINT_OPTS  # how tensors are printed


def _deterministic() -> tuple[bool, bool]:
    enabled = torch.are_deterministic_algorithms_enabled()
    return enabled, torch.is_deterministic_algorithms_warn_only_enabled()


def _seeds() -> Any:
    """The random numbers of GPUs: their states, or the seeds that wait for a GPU to be used."""
    if torch.cuda.is_initialized():
        return torch.cuda.get_rng_state_all()
    waiting = getattr(torch.cuda, "_lazy_seed_tracker", None)
    return {k: list(v) if isinstance(v, list) else v for k, v in vars(waiting).items()} if waiting else {}


def _put_seeds(before: Any) -> None:
    if isinstance(before, list):
        torch.cuda.set_rng_state_all(before)
    elif before and not torch.cuda.is_initialized():
        vars(torch.cuda._lazy_seed_tracker).update(before)


def _mps_seed() -> Any:
    return torch.mps.get_rng_state() if torch.backends.mps.is_available() else None


def _put_mps_seed(before: Any) -> None:
    if before is not None:
        torch.mps.set_rng_state(before)


def _put_streams(before: tuple[Any, ...]) -> None:
    sys.stdout, sys.stderr, sys.displayhook, sys.excepthook = before


def _names_of(names: Any) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """For a mapping: what was replaced or deleted is put back; what an import or an answer has added is no harm."""

    def put(before: dict[str, Any]) -> None:
        if lost := {name: value for name, value in before.items() if names.get(name) is not value}:
            names.update(lost)

    return lambda: dict(names), put


def _put_environment(before: dict[str, str]) -> None:
    if dict(os.environ) != before:
        os.environ.clear()
        os.environ.update(before)


def _interrupt() -> Any:
    return signal.getsignal(signal.SIGINT)


def _put_interrupt(before: Any) -> None:
    if before is not None and threading.current_thread() is threading.main_thread() and _interrupt() is not before:
        signal.signal(signal.SIGINT, before)


def _cwd() -> str | None:
    with contextlib.suppress(OSError):  # a folder that is no longer there
        return os.getcwd()
    return None


STATES: list[tuple[Callable[[], Any], Callable[[Any], Any]]] = [
    (random.getstate, random.setstate),
    (np.random.get_state, np.random.set_state),
    (torch.default_generator.get_state, torch.default_generator.set_state),
    (_seeds, _put_seeds),
    (_mps_seed, _put_mps_seed),
    (lambda: (sys.stdout, sys.stderr, sys.displayhook, sys.excepthook), _put_streams),
    _when_changed(torch.get_default_dtype, torch.set_default_dtype),
    _when_changed(torch.is_grad_enabled, torch.set_grad_enabled),
    _when_changed(torch.get_num_threads, torch.set_num_threads),
    _when_changed(torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    _when_changed(_deterministic, lambda before: torch.use_deterministic_algorithms(before[0], warn_only=before[1])),
    _when_changed(np.geterr, lambda before: np.seterr(**before)),
    _when_changed(np.get_printoptions, lambda before: np.set_printoptions(**before)),
    _when_changed(lambda: dict(vars(_PRINTED)), lambda before: vars(_PRINTED).update(before)),
    _when_changed(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    _when_changed(_cwd, os.chdir),
    _when_changed(lambda: list(sys.path), lambda before: sys.path.__setitem__(slice(None), before)),
    _when_changed(sys.getrecursionlimit, sys.setrecursionlimit),
    _when_changed(sys.getprofile, sys.setprofile),
    _when_changed(gc.isenabled, lambda before: gc.enable() if before else gc.disable()),
    (lambda: dict(os.environ), _put_environment),
    (_interrupt, _put_interrupt),
    _names_of(sys.modules),
]
