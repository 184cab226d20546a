"""All answers to all exercises once more: in a shuffled order, after answers that poison the session, with cold torch.

`test_exercises.py` judges each in an order that suits; here nothing may depend on what was judged before.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genlab.exercises import Exercise, engine, shelf, show

EVERY = shelf.every()


def answers() -> list[tuple[Exercise, Any, str, str | None]]:
    """Every answer with its state and message."""
    found: list[tuple[Exercise, Any, str, str | None]] = []
    for exercise in EVERY:
        found += [(exercise, right, engine.RIGHT, None) for right in (exercise.solution, *exercise.right)]
        found += [(exercise, wrong.answer, engine.WRONG, wrong.message) for wrong in exercise.wrong]
    return found


def spoil(value: Any) -> None:
    """Change whatever can be changed in place, however deep."""
    if isinstance(value, torch.Tensor):
        value.data.fill_(7 if value.dtype != torch.bool else 1)
        value.requires_grad_(value.is_floating_point() and value.is_leaf)
    elif isinstance(value, np.ndarray):
        value.fill(7)
    elif isinstance(value, torch.nn.Module):
        value.train(not value.training)
        for parameter in value.parameters():
            spoil(parameter)
            parameter.grad = torch.ones_like(parameter)
    elif isinstance(value, list | tuple):
        for part in value:
            spoil(part)
        if isinstance(value, list):
            value.clear()


def in_place(*arguments: Any, **named: Any) -> Any:
    spoil(list(arguments))
    spoil(list(named.values()))
    return arguments[0] if arguments else None


def with_defaults(*_: Any, **__: Any) -> Any:
    torch.set_default_dtype(torch.float16)
    torch.set_grad_enabled(False)
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    np.seterr(all="raise")
    torch.autograd.set_detect_anomaly(True)


def with_replacements(*_: Any, **__: Any) -> Any:
    torch.allclose = torch.equal = torch.isclose = lambda *_, **__: True  # type: ignore[assignment]
    torch.Tensor.sum = lambda self, *_, **__: self  # type: ignore[assignment]


def with_an_error(*_: Any, **__: Any) -> Any:
    with_defaults()
    with_replacements()
    raise SystemExit


POISONS = (in_place, with_defaults, with_replacements, with_an_error)


@contextmanager
def default(dtype: torch.dtype) -> Iterator[None]:
    old = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(old)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_every_verdict_stands_in_any_order_and_after_poison(dtype: torch.dtype) -> None:
    """Between two answers another exercise, and every third time the same one, is given poison."""
    todo, chance = answers(), random.Random(int(dtype == torch.float64))
    chance.shuffle(todo)
    poisons = cycle(POISONS)
    wrongly = []
    with default(dtype):
        for exercise, answer, state, message in todo:
            victim = exercise if chance.random() < 1 / 3 else chance.choice(EVERY)
            assert engine.judge(victim, next(poisons)).state != engine.RIGHT
            verdict = engine.judge(exercise, answer)
            if verdict.state != state or (message and verdict.meaning != message):
                wrongly.append(f"{exercise.number}: {show.told(verdict)}")
        assert torch.get_default_dtype() == dtype
    assert len(todo) > 8 * len(EVERY) and not wrongly, "\n".join(wrongly)


COLD = """
import json, os, sys, traceback
from genlab.exercises import engine, shelf
engine.LIMIT = float(sys.argv[1])
warm = {name for name in sys.modules if name.startswith("torch")}
for number in [number for chapter in shelf.chapters() for number in shelf.numbers(chapter)]:
    sys.stdout.flush()
    child = os.fork()
    if not child:
        try:
            exercise = shelf.find(number)
            states = [engine.judge(exercise, a).state for a in (exercise.solution, *exercise.right)]
            new = len({name for name in sys.modules if name.startswith("torch")} - warm)
            print(json.dumps([number, states, new]), flush=True)
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each exercise needs a process in which nothing was imported")
def test_right_answers_pass_where_torch_is_still_cold(tmp_path: Path) -> None:
    """What an answer is the first to need, such as torch.func, is imported during its check, and is not its time."""
    program = tmp_path / "cold.py"
    program.write_text(COLD, encoding="utf-8")
    environ = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(program), "1.0"], capture_output=True, text=True, encoding="utf-8", env=environ
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [number for number, *_ in rows] == [exercise.number for exercise in EVERY], done.stderr
    assert {number: states for number, states, _ in rows if set(states) != {engine.RIGHT}} == {}
    assert sum(new > 10 for *_, new in rows) > 5, "torch was warm"
