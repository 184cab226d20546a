"""What an exercise is, and how an answer is judged: by what it does on arguments that it has not seen."""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from genlab.exercises import session, words
from genlab.exercises.limit import TimeLimit, inside, interruptible, limited
from genlab.exercises.observe import CHANGES, GRADIENT, Observation, Trial, untouched
from genlab.exercises.values import Failure, Unusable, same, text, type_name

Answer = Callable[..., Any]
LIMIT = 5.0  # seconds that an answer may take in all, imports not counted
STUB = "return NotImplemented"


@dataclass(frozen=True)
class Wrong:
    """A wrong answer that people give, and what to tell them.

    Attributes:
        name: of the mistake, in a few words.
        message: what the result shows, and what usually causes it; plain text.
        answer: what they write.
    """

    name: str
    message: str
    answer: Answer


def mistake(name: str, message: str) -> Callable[[Answer], Wrong]:
    """Turn the function below into a wrong answer with this name and message."""
    return partial(Wrong, name, message)


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
        probes: further facts of an answer, by a sentence that says what was tested: limits, extremes, invariances. An
            answer gets copies of the tensors and arrays that a probe hands it, and gives its results in the form of the
            solution's; networks and other objects are put back as they were when the probe has ended.
        look: what is compared of a result that cannot be compared as it is, such as an optimiser.
        gradient: compare derivatives as well: by all floating-point arguments (True), or by those that are named. The
            task must ask for a result that can be differentiated.
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
    gradient: bool | tuple[str, ...] = False
    mutates: bool = False
    tolerance: float = 1e-4
    discussion: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"(\d\d|[A-Z]\d)\.\d+", self.number):
            raise ValueError(f"number {self.number!r} must look like '05.2' or 'A1.3'")
        if self.difficulty not in (1, 2, 3) or len(self.hints) != 3 or not self.wrong:
            raise ValueError(f"{self.number} needs a difficulty of 1, 2 or 3, three hints and a named wrong answer")
        named = self.gradient if isinstance(self.gradient, tuple) else ()
        if strange := set(named) - set(inspect.signature(self.solution).parameters):
            raise ValueError(f"{self.number}: gradient names {', '.join(sorted(strange))}, no argument of {self.name}")

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


# ------------------------------------------------------------------------------------------------------------- judging

RIGHT, WRONG, UNTOUCHED = "right", "wrong", "not attempted"


class BrokenExercise(Exception):
    """An exercise cannot judge: its own solution, or its inputs, raised an error."""


@dataclass(frozen=True)
class Verdict:
    """The answer to an answer: what was tested, what was expected, what came, and what that usually means.

    Attributes:
        exercise: that was answered.
        state: RIGHT, WRONG or UNTOUCHED.
        tested: in words, as are expected, came and meaning.
        arguments: with which the answer failed, to call it again; None if there was no call.
    """

    exercise: Exercise
    state: str
    tested: str = ""
    expected: str = ""
    came: str = ""
    meaning: str = ""
    arguments: tuple[Any, ...] | None = None


def judge(exercise: Exercise, answer: Any) -> Verdict:
    """Judge an answer: whatever it does is told in words, and the session is left as it was.

    Raises:
        BrokenExercise: the exercise's own solution fails; this says nothing of the answer.
        KeyboardInterrupt: the reader has interrupted the answer.
    """
    if not callable(answer):
        told = f"Pass the function itself: check({exercise.number!r}, {exercise.name})."
        return Verdict(exercise, WRONG, "what was passed", "a function", type_name(answer), told)
    with session.kept(), interruptible(answer):
        wanted = expected(exercise)
        run = Trial(exercise, answer, model=wanted, aloud=True)
        came: list[Observation] = []
        try:
            limited(LIMIT, lambda: came.extend(run.observe()))
            if untouched(came[0].value):
                return Verdict(exercise, UNTOUCHED)
            # What came may be of a class that the answer has written: it is compared and shown within the limit, too.
            with session.muted():
                at = limited(LIMIT, lambda: inside(_difference, exercise, wanted, came))
                if at is None:
                    return Verdict(exercise, RIGHT)
                known = _known(exercise, wanted, came)
                return limited(LIMIT, lambda: inside(_verdict, exercise, wanted, came, at, known))
        except TimeLimit as limit:
            # What it did before is told first: a result that is wrong says more than one that never came.
            if early := _early(exercise, wanted, list(came)):
                return early
            stopped = f"given up after {LIMIT:g} s; it runs on beside" if limit.left else f"stopped after {LIMIT:g} s"
            told = "Is there a loop that never ends, or a wait? A few small tensors need milliseconds."
            return Verdict(exercise, WRONG, "the time", "less than a second", stopped, told, run.last)


def _early(exercise: Exercise, expected: list[Observation], came: list[Observation]) -> Verdict | None:
    """The verdict on an answer that was stopped, by what it did until then, if that is enough."""
    until = expected[: len(came)]

    def verdict() -> Verdict | None:
        at = _difference(exercise, until, came)
        return None if at is None else _verdict(exercise, until, came, at, None)

    try:
        with session.muted():
            return limited(LIMIT, lambda: inside(verdict))
    except TimeLimit:
        return None


def accepts(
    exercise: Exercise, answer: Answer, solution: list[Observation] | None = None, *, first: int = 0, draws: int = 3
) -> bool:
    """Whether an answer does all that the solution does, within the time; who asks often passes `expected`."""
    with session.kept():
        solution = solution or expected(exercise, first=first, draws=draws)
        run = Trial(exercise, answer, model=solution)
        try:
            with interruptible(answer):
                found = run.observe(first=first, draws=draws)
                return limited(LIMIT, lambda: _difference(exercise, solution, found)) is None
        except TimeLimit:
            return False


def observe(exercise: Exercise, answer: Answer, *, first: int = 0, draws: int = 3) -> list[Observation]:
    """What an answer does with random arguments, number `first` and following, and with the exercise's probes."""
    with session.kept():
        return list(Trial(exercise, answer).observe(first=first, draws=draws))


def expected(exercise: Exercise, **which: int) -> list[Observation]:
    """What the solution does, with the arguments of `observe`.

    Raises:
        BrokenExercise: it fails; this says nothing of any answer.
    """
    try:
        found = observe(exercise, exercise.solution, **which)
    except Exception as error:
        raise BrokenExercise(f"exercise {exercise.number} is broken: {type(error).__name__}: {error}") from error
    for one in found:
        if isinstance(one.value, Failure | Unusable):
            why = one.value.why if isinstance(one.value, Unusable) else text(one.value)
            message = f"exercise {exercise.number} is broken: its own solution fails in {one.tested!r}: {why}"
            raise BrokenExercise(f"{message}. This says nothing of your answer; please report it.")
    return found


def _difference(
    exercise: Exercise, expected: Iterable[Observation], came: Iterable[Observation], *, exact: bool = False
) -> int | None:
    """The place of the first two observations that differ.

    An answer may leave alone more of its arguments than the solution does, unless the two must agree exactly.
    """
    for i, (e, c) in enumerate(zip(expected, came, strict=True)):
        if e.kind == CHANGES:
            if not (c.value == e.value if exact else c.value <= e.value):
                return i
        elif not same(e.value, c.value, exercise.tolerance):
            return i
    return None


def _verdict(
    exercise: Exercise, expected: list[Observation], came: list[Observation], at: int, known: str | None
) -> Verdict:
    e, c = expected[at], came[at]
    run = Trial(exercise, exercise.solution)
    told = known or words.meaning(expected, came, at, exercise.tolerance, run.names)
    arguments = c.arguments
    if c.draw is not None:
        arguments = tuple(run.arguments(c.draw, learning=c.kind.startswith(GRADIENT)))
    if c.kind == CHANGES:
        parts = ", ".join(sorted({change.part for change in c.value - e.value}))
        return Verdict(exercise, WRONG, c.tested, "as they were", f"changed: {parts}", told, arguments)
    return Verdict(exercise, WRONG, c.tested, text(e.value), text(c.value), told, arguments)


def _known(exercise: Exercise, expected: list[Observation], came: list[Observation]) -> str | None:
    """The message of the named wrong answer that does what this answer does."""
    for wrong in exercise.wrong:
        if _difference(exercise, Trial(exercise, wrong.answer, model=expected).observe(), came, exact=True) is None:
            return wrong.message
    return None
