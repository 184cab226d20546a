"""The time limit: loops end, imports do not, and the caller's alarm goes on."""

import itertools
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from genlab.exercises import engine, limit
from genlab.exercises.engine import RIGHT, WRONG, judge
from tests.small import ROWS


@pytest.mark.parametrize("main", [True, False])
def test_an_answer_that_is_wrong_before_it_never_ends_is_told_what_is_wrong(
    main: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that is right until then is told of the time."""

    def slow_from_the_second_call(result: Callable[[torch.Tensor], Any]) -> engine.Answer:
        calls: list[int] = []

        def answer(x: torch.Tensor) -> Any:
            calls.append(1)
            while len(calls) > 1:
                time.sleep(0.01)
            return result(x)

        return answer

    monkeypatch.setattr(engine, "LIMIT", 0.2)
    verdicts = []

    def both() -> None:
        for result in (lambda x: x.sum(0), ROWS.solution):
            verdicts.append(judge(ROWS, slow_from_the_second_call(result)))

    if main:
        both()
    else:
        worker = threading.Thread(target=both)
        worker.start()
        worker.join()
    wrong, late = verdicts
    assert wrong.state == WRONG and "shape" in wrong.came and "never ends" not in wrong.meaning
    assert late.state == WRONG and late.came == "stopped after 0.2 s"


def swallowing(x: Any) -> Any:
    while True:
        try:  # noqa: SIM105 (the point is that this swallows errors)
            time.sleep(0.001)
        except Exception:
            pass


def swallowing_all(x: Any) -> Any:
    while True:
        try:  # noqa: SIM105
            time.sleep(0.001)
        except:  # noqa: E722
            pass


ENDLESS: list[Callable[..., Any]] = [
    swallowing,
    swallowing_all,
    lambda x: time.sleep(60),
    lambda x: sum(range(10**11)),
    lambda x: max(itertools.count()),
    lambda x: any(map(bool, itertools.repeat(0))),
    lambda x: threading.Event().wait(60),
]


@pytest.mark.parametrize("answer", ENDLESS)
def test_an_answer_that_never_ends_is_stopped(answer: engine.Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LIMIT", 0.2)
    before, start = dict(globals()), time.monotonic()
    verdict = judge(ROWS, answer)
    assert verdict.state == WRONG and "never ends" in verdict.meaning and verdict.came == "stopped after 0.2 s"
    assert verdict.arguments is not None and len(verdict.arguments) == 1
    assert time.monotonic() - start < 30  # a minute of sleep was cut short
    assert judge(ROWS, ROWS.solution).state == RIGHT, "the limit has left nothing behind"
    assert dict(globals()) == before and sys.gettrace() is None
    assert not engine.accepts(ROWS, answer)


@pytest.mark.parametrize("answer", [swallowing, lambda x: time.sleep(3)])
def test_on_another_thread_an_answer_is_stopped_or_left_behind(
    answer: engine.Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "LIMIT", 0.2)
    monkeypatch.setattr(limit, "GRACE", 0.2)
    verdicts: list[engine.Verdict] = []
    thread = threading.Thread(target=lambda: verdicts.append(judge(ROWS, answer)), daemon=True)
    start = time.monotonic()
    thread.start()
    thread.join(30)
    assert verdicts and "never ends" in verdicts[0].meaning
    if answer is not swallowing:
        assert time.monotonic() - start < 2.9 and verdicts[0].came == "given up after 0.2 s; it runs on beside"
        torch.set_default_dtype(torch.float64)
        try:  # what the thread would put back when it wakes is not put back
            time.sleep(max(0.0, 3.5 - (time.monotonic() - start)))
            assert torch.get_default_dtype() == torch.float64
        finally:
            torch.set_default_dtype(torch.float32)


def test_imports_do_not_count_and_are_not_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(0.7)\nwhole = True\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(engine, "LIMIT", 0.3)

    def answer(x: torch.Tensor) -> torch.Tensor:
        import slow_to_import  # type: ignore[import-not-found]

        assert slow_to_import.whole
        return x.sum(1)

    assert judge(ROWS, answer).state == RIGHT
    del sys.modules["slow_to_import"]
    thread_verdicts: list[engine.Verdict] = []
    thread = threading.Thread(target=lambda: thread_verdicts.append(judge(ROWS, answer)))
    thread.start()
    thread.join()
    assert thread_verdicts[0].state == RIGHT
    assert "never ends" in judge(ROWS, lambda x: time.sleep(0.7)).meaning, "the same wait outside of an import counts"


def test_a_cold_torch_is_no_loop_that_never_ends() -> None:
    """In a process where neither optimisers nor transforms are loaded, with a limit below the time that they take."""
    program = """
import sys, time
from genlab.exercises import engine
from genlab.exercises.engine import Exercise, Wrong
import torch
start = set(sys.modules)
def step(x):
    "x - 0.1."
    return x - 0.1
def by_sgd(x):
    p = torch.nn.Parameter(x.clone())
    opt = torch.optim.SGD([p], lr=0.1)
    p.grad = torch.ones_like(p)
    opt.step()
    return p - 0 * torch.func.grad(lambda y: y.sum())(x)
e = Exercise(number="99.1", title="t", difficulty=1, minutes=1, task="", explanation="", hints=("a", "b", "c"),
             solution=step, inputs=lambda g: (torch.randn(3, generator=g),), wrong=(Wrong("n", "m", lambda x: None),))
engine.LIMIT = 0.5
begin = time.monotonic()
first = engine.judge(e, by_sgd).state
took = time.monotonic() - begin
print(first, engine.judge(e, by_sgd).state, len(set(sys.modules) - start) > 100, took > engine.LIMIT)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, encoding="utf-8"
    )
    assert done.stdout.split() == ["right", "right", "True", "True"], done.stderr


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no such timers")
def test_the_callers_alarm_goes_on() -> None:
    rung: list[int] = []
    pytest_handler, pytest_timer = signal.getsignal(signal.SIGALRM), signal.setitimer(signal.ITIMER_REAL, 0)

    def ring(number: int, frame: Any) -> None:
        rung.append(number)

    try:
        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, 50.0, 7.0)
        judge(ROWS, lambda x: time.sleep(0.15) or x.sum(1))  # type: ignore[func-returns-value]
        rest, interval = signal.getitimer(signal.ITIMER_REAL)
        assert 40 < rest < 49.9 and interval == 7.0 and signal.getsignal(signal.SIGALRM) is ring
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        judge(ROWS, lambda x: time.sleep(0.15) or x.sum(1))  # type: ignore[func-returns-value]
        time.sleep(0.05)
        assert rung, "it comes late rather than never"
    finally:
        signal.signal(signal.SIGALRM, pytest_handler)
        signal.setitimer(signal.ITIMER_REAL, *pytest_timer)
