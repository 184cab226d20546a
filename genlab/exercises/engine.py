"""What an exercise is, and how an answer is judged: by what it does on arguments that it has not seen."""

import contextlib
import copy
import ctypes
import inspect
import os
import re
import signal
import threading
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genlab.exercises.values import Failure, meaning, same, text

Answer = Callable[..., Any]
LIMIT = 5.0  # seconds that an answer may take in all
STUB = "return NotImplemented"


@dataclass(frozen=True)
class Wrong:
    """A wrong answer that people give, and what to tell them.

    Attributes:
        name: of the mistake, in a few words.
        answer: what they write.
        message: what the result shows, and what usually causes it; plain text.
    """

    name: str
    answer: Answer
    message: str


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """One exercise: everything that notebooks, book, checks and teachers need, in one place.

    Attributes:
        number: chapter and place, for example "05.2" or "A1.3".
        title: in a few words.
        difficulty: 1 to 3.
        minutes: that a reader needs.
        task: Markdown with `$…$`; what to write, and which properties the result has.
        inputs: fresh arguments from a random generator; small, and of awkward unequal sizes.
        solution: a function whose name, signature and docstring are the stub's.
        explanation: why the solution is right, in Markdown.
        hints: three, from a nudge to nearly there, in Markdown.
        wrong: mistakes that are told by name.
        right: other correct answers, which must pass.
        probes: further facts of an answer, by a sentence that says what was tested: limits, extremes, invariances.
        look: what is compared of a result that cannot be compared as it is, such as an optimiser.
        gradient: compare derivatives by the floating-point arguments as well.
        mutates: the arguments are changed in place, as the task demands; what became of them is compared.
        tolerance: relative and absolute.
        discussion: of what cannot be checked, for open-ended exercises, in Markdown.
    """

    number: str
    title: str
    difficulty: int
    minutes: int
    task: str
    inputs: Callable[[torch.Generator], Sequence[Any]]
    solution: Answer
    explanation: str
    hints: tuple[str, str, str]
    wrong: tuple[Wrong, ...]
    right: tuple[Answer, ...] = ()
    probes: Mapping[str, Callable[[Answer], Any]] = field(default_factory=dict)
    look: Callable[[Any], Any] = lambda result: result
    gradient: bool = False
    mutates: bool = False
    tolerance: float = 1e-4
    discussion: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"(\d\d|[A-Z]\d)\.\d+", self.number):
            raise ValueError(f"number {self.number!r} must look like '05.2' or 'A1.3'")
        if self.difficulty not in (1, 2, 3) or len(self.hints) != 3 or not self.wrong:
            raise ValueError(f"{self.number} needs a difficulty of 1, 2 or 3, three hints and a named wrong answer")

    @property
    def chapter(self) -> str:
        """The chapter's number."""
        return self.number.split(".")[0]

    @property
    def name(self) -> str:
        """Name of the function to write."""
        return self.solution.__name__

    @property
    def solution_code(self) -> str:
        """Source of the worked solution."""
        return inspect.getsource(self.solution).rstrip()

    @property
    def head(self) -> str:
        """The solution's first lines: its signature and its docstring."""
        head = re.match(r'def .*?:\n(?:    """.*?"""\n)?', self.solution_code, re.DOTALL)
        assert head, f"the solution of {self.number} must be a plain function"
        return head[0]

    @property
    def stub(self) -> str:
        """The head, and a body to replace."""
        return f"{self.head}    {STUB}"

    @property
    def cell(self) -> str:
        """The notebook cell in which the reader answers."""
        return f'{self.stub}\n\n\ncheck("{self.number}", {self.name})'


# ------------------------------------------------------------------------------------------------- what an answer does


class Observation(NamedTuple):
    """What was tested, and what came."""

    tested: str
    value: Any


def observe(exercise: Exercise, answer: Answer, *, first: int = 0, draws: int = 3) -> list[Observation]:
    """What an answer does with random arguments, number `first` and following, and with the exercise's probes."""
    found: list[Observation] = []
    for draw in range(first, first + draws):
        arguments = _arguments(exercise, draw)
        before = copy.deepcopy(arguments)
        value = _attempt(partial(_looked, exercise, answer, arguments))
        found.append(Observation(f"the result for random arguments{_shapes(before)}", value))
        if exercise.mutates:
            found.append(Observation("the arguments after the call", arguments))
        else:
            found.append(Observation("that the arguments are left as they were", same(arguments, before, 0)))
        if exercise.gradient:
            found += _gradients(exercise, answer, draw)
    for sentence, probe in exercise.probes.items():
        found.append(Observation(sentence, _attempt(partial(probe, answer))))
    return found


def _arguments(exercise: Exercise, draw: int) -> list[Any]:
    seed = zlib.crc32(f"{exercise.number}/{draw}".encode())
    return list(exercise.inputs(torch.Generator().manual_seed(seed)))


def _looked(exercise: Exercise, answer: Answer, arguments: list[Any]) -> Any:
    result = answer(*arguments)
    return result if result is NotImplemented or result is Ellipsis else exercise.look(result)


def _attempt(run: Callable[[], Any]) -> Any:
    torch.manual_seed(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what counts is what comes out
            return _plain(run())
    except Exception as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if not _foreign(f.filename)]
        return Failure(type(error).__name__, str(error), frames[-1].line or "" if frames else "")


def _foreign(file: str) -> bool:
    """Whether a file is the engine's or a library's, and so no place to look for the reader's mistake."""
    return file == __file__ or f"{os.sep}site-packages{os.sep}" in file


def _plain(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


def _gradients(exercise: Exercise, answer: Answer, draw: int) -> list[Observation]:
    arguments = _arguments(exercise, draw)
    names = list(inspect.signature(exercise.solution).parameters)
    learned = {n: a for n, a in zip(names, arguments, strict=False) if isinstance(a, Tensor) and a.is_floating_point()}
    for argument in learned.values():
        argument.requires_grad_(True)

    def gradients() -> list[Tensor]:
        result = answer(*arguments)
        parts = [v for v in (result if isinstance(result, tuple | list) else [result]) if isinstance(v, Tensor)]
        weights = torch.Generator().manual_seed(draw)
        total = sum((v * torch.randn(v.shape, generator=weights)).sum() for v in parts if v.requires_grad)
        if not isinstance(total, Tensor):
            return [torch.zeros_like(a) for a in learned.values()]
        found = torch.autograd.grad(total, list(learned.values()), allow_unused=True)
        return [torch.zeros_like(a) if g is None else g for a, g in zip(learned.values(), found, strict=True)]

    value = _attempt(gradients)
    if isinstance(value, Failure):
        return [Observation("the gradient", value)]
    return [Observation(f"the gradient with respect to {n}", g) for n, g in zip(learned, value, strict=True)]


def _shapes(arguments: Sequence[Any]) -> str:
    shapes = [str(tuple(a.shape)) for a in arguments if isinstance(a, Tensor) and a.ndim]
    return f" of shape {', '.join(shapes)}" if shapes else ""


# ------------------------------------------------------------------------------------------------------------- judging

RIGHT, WRONG, UNTOUCHED = "right", "wrong", "not attempted"


@dataclass(frozen=True)
class Verdict:
    """The answer to an answer: what was tested, what was expected, what came, and what that usually means."""

    exercise: Exercise
    state: str
    tested: str = ""
    expected: str = ""
    came: str = ""
    meaning: str = ""


def judge(exercise: Exercise, answer: Any) -> Verdict:
    """Judge an answer. Never raises, whatever the answer does, and leaves the random numbers as they were."""
    if not callable(answer):
        told = f"Pass the function itself: check({exercise.number!r}, {exercise.name})."
        return Verdict(exercise, WRONG, "what was passed", "a function", type(answer).__name__, told)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        expected = observe(exercise, exercise.solution)
        try:
            with time_limit(LIMIT):
                came = observe(exercise, answer)
        except TimeLimit:
            told = "Is there a loop that never ends? A few small tensors need milliseconds."
            return Verdict(exercise, WRONG, "the time", "less than a second", f"stopped after {LIMIT:g} s", told)
        except SystemExit:
            told = "Return a value; do not end the program."
            return Verdict(exercise, WRONG, "the first call", "a result", "SystemExit", told)
        if came[0].value is NotImplemented or came[0].value is Ellipsis:
            return Verdict(exercise, UNTOUCHED)
        e, c = _difference(exercise, expected, came)
        if e is None or c is None:
            return Verdict(exercise, RIGHT)
        told = _known(exercise, came) or meaning(e.value, c.value, c.tested)
    return Verdict(exercise, WRONG, c.tested, text(e.value), text(c.value), told)


def _difference(
    exercise: Exercise, expected: list[Observation], came: list[Observation]
) -> tuple[Observation, Observation] | tuple[None, None]:
    """The first two observations that differ. After an error a gradient is one observation, not one an argument."""
    for e, c in zip(expected, came, strict=False):
        if e.tested != c.tested or not same(e.value, c.value, exercise.tolerance):
            return e, c
    return (None, None) if len(expected) == len(came) else (expected[-1], came[-1])


def accepts(exercise: Exercise, answer: Answer, *, first: int = 0, draws: int = 3) -> bool:
    """Whether an answer does all that the solution does, within the time."""
    expected = observe(exercise, exercise.solution, first=first, draws=draws)
    try:
        with time_limit(LIMIT):
            return _difference(exercise, expected, observe(exercise, answer, first=first, draws=draws)) == (None, None)
    except TimeLimit:
        return False


def _known(exercise: Exercise, came: list[Observation]) -> str | None:
    """The message of the named wrong answer that does what this answer does."""
    for wrong in exercise.wrong:
        if _difference(exercise, came, observe(exercise, wrong.answer)) == (None, None):
            return wrong.message
    return None


class TimeLimit(BaseException):
    """Raised inside an answer that takes too long; no `except Exception` there can swallow it."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeLimit inside the block after so many seconds, again and again until it ends.

    On the main thread a timer signal also interrupts calls that wait. Elsewhere, and on Windows, the error is raised
    between two Python instructions.
    """
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):

        def expired(number: int, frame: FrameType | None) -> None:
            raise TimeLimit

        old = signal.signal(signal.SIGALRM, expired)
        signal.setitimer(signal.ITIMER_REAL, seconds, 0.1)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)
        return
    identity, ended = ctypes.c_ulong(threading.get_ident()), threading.Event()
    throw = ctypes.pythonapi.PyThreadState_SetAsyncExc

    def watch() -> None:
        wait = seconds
        while not ended.wait(wait):
            throw(identity, ctypes.py_object(TimeLimit))
            wait = 0.1

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        throw(identity, None)  # one that was asked for and not yet raised
