"""A time limit for answers: only their own time counts, imports are never cut, and the caller's alarm goes on.

On the main thread a timer signal looks at the answer every few milliseconds, and interrupts waiting as well. Elsewhere,
and on Windows, the answer runs on a thread of its own, which is left behind if it cannot be interrupted.

Python cannot interrupt a loop inside C code. Those that people write, such as `sum(range(10**11))`, are made to look up
from their work; for the rest, such as `set(itertools.repeat(1))`, the kernel must be restarted.
"""

import builtins
import contextlib
import contextvars
import ctypes
import functools
import inspect
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")
TICK = 0.05  # seconds between two looks at the answer
GRACE = 1.0  # seconds after which a thread that cannot be interrupted is left behind
IMPORTS = "<frozen importlib"  # the file name of Python's import machinery


class TimeLimit(BaseException):
    """Raised inside an answer that takes too long; no `except Exception` there can swallow it.

    Attributes:
        left: the answer could not be interrupted, and goes on beside.
    """

    left = False


def inside(run: Callable[..., T], *arguments: Any) -> T:
    """Call an answer. The clock runs, and the limit is raised, only below this function."""
    return run(*arguments)


def limited(seconds: float, run: Callable[[], T]) -> T:
    """What `run()` returns, if its calls of `inside` take no more than so many seconds together.

    Raises:
        TimeLimit: they take more.
    """
    main = threading.current_thread() is threading.main_thread()
    # A handler that was not set from Python (None) could not be put back.
    if main and hasattr(signal, "setitimer") and signal.getsignal(signal.SIGALRM) is not None:
        return _by_signal(seconds, run)
    return _by_thread(seconds, run)


class _Clock:
    """Counts the time between looks in which the answer runs and nothing is imported."""

    def __init__(self, seconds: float) -> None:
        self.rest, self.last, self.modules = seconds, time.monotonic(), len(sys.modules)

    def expired(self, frame: FrameType | None) -> bool:
        """Whether the answer has used its time, and may be interrupted where it is."""
        now, modules = time.monotonic(), len(sys.modules)
        answering, importing = _place(frame)
        if answering and not importing and modules == self.modules:
            self.rest -= now - self.last
        self.last, self.modules = now, modules
        return self.rest <= 0 and answering and not importing


def _place(frame: FrameType | None) -> tuple[bool, bool]:
    """Whether a frame is an answer's, and whether it is at work for an import."""
    innermost, importing = frame, False
    while frame is not None:
        if frame.f_code is inside.__code__:
            return frame is not innermost, importing
        importing = importing or frame.f_code.co_filename.startswith(IMPORTS)
        frame = frame.f_back
    return False, importing


def _by_signal(seconds: float, run: Callable[[], T]) -> T:
    clock, raised, traced = _Clock(seconds), False, sys.gettrace()

    def look(number: int, frame: FrameType | None) -> None:
        nonlocal raised
        if clock.expired(frame):
            if raised:
                _insist(frame)
            raised = True
            raise TimeLimit

    start = time.monotonic()
    rest, interval = signal.setitimer(signal.ITIMER_REAL, 0)
    old = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, TICK, TICK)
    try:
        return run()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
        if rest:  # the caller's alarm, late rather than never
            signal.setitimer(signal.ITIMER_REAL, max(rest - (time.monotonic() - start), 1e-6), interval)
        if sys.gettrace() is not traced:
            sys.settrace(traced)


def _insist(frame: FrameType | None) -> None:
    """Raise once more at the answer's next line: if a bare `except:` swallows the limit, from within that clause."""

    def trace(frame: FrameType, event: str, value: Any) -> Any:
        if event == "line":
            raise TimeLimit
        return trace

    while frame is not None and frame.f_code is not inside.__code__:
        frame.f_trace = trace
        frame = frame.f_back
    sys.settrace(lambda *_: None)  # without a tracer of new frames, those of old ones are not called


def _by_thread(seconds: float, run: Callable[[], T]) -> T:
    clock, context = _Clock(seconds), contextvars.copy_context()
    results: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(context.run(run))
        except BaseException as error:
            errors.append(error)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    assert worker.ident is not None
    try:
        while worker.is_alive():
            worker.join(TICK)
            if worker.is_alive() and clock.expired(sys._current_frames().get(worker.ident)):
                _throw(worker.ident)
                if clock.rest < -GRACE:
                    error = TimeLimit()
                    error.left = True
                    raise error
    except BaseException:  # given up, or the reader has interrupted
        setattr(worker, _LEFT, True)
        _throw(worker.ident)
        raise
    if errors:
        raise errors[0]
    return results[0]


_LEFT = "_left_behind"


def left_behind() -> bool:
    """Whether nobody waits for this thread any more, so that it must not put anything back."""
    return getattr(threading.current_thread(), _LEFT, False)


def _throw(identity: int) -> None:
    """Raise the limit in a thread, between two of its Python instructions."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(identity), ctypes.py_object(TimeLimit))


# ------------------------------------------------------------------------------------------------- loops inside C code


def _each(values: Iterable[T]) -> Iterator[T]:
    """The same values, by Python instructions between which a signal is heard."""
    for value in values:  # noqa: UP028 (`yield from` would hand the loop back to C)
        yield value


def _looking_up(loop: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(loop)
    def wrapped(*values: Any, **options: Any) -> Any:
        if values and isinstance(values[0], range | Iterator):
            values = (_each(values[0]), *values[1:])
        return loop(*values, **options)

    return wrapped


_LOOPS = {name: _looking_up(getattr(builtins, name)) for name in ("all", "any", "max", "min", "sorted", "sum")}


@contextlib.contextmanager
def interruptible(answer: Callable[..., Any]) -> Iterator[None]:
    """Give the names of C's loops in an answer's module to such as can be interrupted, where it has none of its own."""
    space = _namespace(answer)
    added = {name: loop for name, loop in _LOOPS.items() if name not in space}
    space.update(added)
    try:
        yield
    finally:
        for name, loop in added.items():
            if space.get(name) is loop:
                del space[name]


def _namespace(answer: Any) -> dict[str, Any]:
    """The global names of the function that an answer is or wraps."""
    while isinstance(answer, functools.partial):
        answer = answer.func
    with contextlib.suppress(Exception):  # wrappers in a circle, an object that fails when it is asked
        answer = inspect.unwrap(answer)
    with contextlib.suppress(Exception):
        for found in (answer, getattr(answer, "__func__", None), vars(type(answer)).get("__call__")):
            if isinstance(space := getattr(found, "__globals__", None), dict):
                return space
    return {}
