"""What an answer does: with random arguments, to them, to their gradients, and in the tests of an exercise."""

import contextlib
import dis
import functools
import inspect
import os
import traceback
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import AsyncGeneratorType, CoroutineType, GeneratorType, TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from genlab.exercises import session
from genlab.exercises.arguments import Change, Facts, changes, copied, described, facts, fresh, put_back
from genlab.exercises.limit import TimeLimit, inside, left_behind
from genlab.exercises.values import (
    DEPTH,
    PASSING,
    Failure,
    Unusable,
    article,
    is_tensor,
    like,
    shortened,
    text,
    type_name,
)

if TYPE_CHECKING:
    from genlab.exercises.engine import Answer, Exercise

HERE = os.path.dirname(__file__)
RESULT, CHANGES, AFTER, GRADIENT = "result", "changes", "arguments", "gradient"
NUMBER = (
    "The task asks for a result that can be differentiated, but {} does not remember how it was computed. "
    "Stay with torch's tensors and functions from the arguments to the result."
)
CUT = (
    "No gradient arrives: the result does not remember the arguments. Look for detach, item, numpy, no_grad, a new "
    "tensor or a comparison between here and there."
)


class Observation(NamedTuple):
    """What was tested, and what came.

    Attributes:
        tested: in words.
        value: that came.
        kind: RESULT, CHANGES, AFTER, GRADIENT and an argument's name, or the words of a probe.
        draw: the number of the random arguments, if it was these.
        arguments: of the last call.
        models: the results themselves: those of an answer are brought into the form of the solution's.
        note: what is known of the value besides.
    """

    tested: str
    value: Any
    kind: str
    draw: int | None = None
    arguments: tuple[Any, ...] = ()
    models: tuple[Any, ...] = ()
    note: str = ""


class Refused(Exception):
    """A result came with which nothing can be tested."""

    def __init__(self, result: Unusable) -> None:
        super().__init__(result.why)
        self.result = result


def untouched(value: Any) -> bool:
    """Whether a stub was left as it is."""
    return value is NotImplemented or value is Ellipsis


class Trial:
    """An answer under observation.

    Args:
        exercise: that it answers.
        answer: the function.
        model: what the solution does, for the form of results.
        aloud: let the first call print.
    """

    def __init__(
        self, exercise: "Exercise", answer: "Answer", *, model: Sequence[Observation] = (), aloud: bool = False
    ) -> None:
        self.exercise, self.answer, self.model, self.aloud = exercise, answer, model, aloud
        self.names = list(inspect.signature(exercise.solution).parameters)
        self.found: list[Observation] = []
        self.last: tuple[Any, ...] = ()  # arguments of the call that goes on, or was the last

    def observe(self, *, first: int = 0, draws: int = 3) -> Iterator[Observation]:
        """What the answer does with random arguments, number `first` and following, and in the exercise's probes."""
        for draw in range(first, first + draws):
            yield from self._step(self._draw(draw))
            if untouched(self.found[0].value):
                return
            if self.exercise.gradient:
                yield from self._step(self._gradients(draw))
        for sentence, probe in self.exercise.probes.items():
            yield from self._step(self._probe(sentence, probe))

    def _step(self, found: list[Observation]) -> list[Observation]:
        self.found += found
        return found

    def arguments(self, draw: int, *, learning: bool = False) -> list[Any]:
        """Fresh random arguments, which may ask for gradients."""
        seed = zlib.crc32(f"{self.exercise.number}/{draw}".encode())
        session.seed()
        found = copied(list(self.exercise.inputs(torch.Generator().manual_seed(seed))))
        for argument in self.learned(found).values() if learning else ():
            argument.requires_grad_(True)
        return found

    def learned(self, arguments: Sequence[Any]) -> dict[str, Tensor]:
        """The arguments by which results are differentiated."""
        asked, named = self.exercise.gradient, dict(zip(self.names, arguments, strict=False))
        tensors = {n: a for n, a in named.items() if isinstance(a, Tensor) and a.is_floating_point()}
        if not isinstance(asked, tuple):
            return tensors
        if missing := [n for n in asked if n not in tensors]:
            raise ValueError(f"gradient names {', '.join(missing)}, where inputs gives no floating-point tensor")
        return {n: tensors[n] for n in asked}

    def named(self, arguments: Sequence[Any]) -> dict[str, Any]:
        """Arguments by the names that the solution gives them."""
        names = [*self.names, *(f"argument {i}" for i in range(len(self.names) + 1, len(arguments) + 1))]
        return dict(zip(names, arguments, strict=False))

    def _calls(self, *, copies: bool) -> "_Calls":
        step = len(self.found)
        return _Calls(self, self.model[step].models if step < len(self.model) else (), copies=copies)

    def _draw(self, draw: int) -> list[Observation]:
        calls, arguments = self._calls(copies=False), self.arguments(draw)
        where = described(self.named(arguments))

        def run() -> Any:
            result = calls(*arguments)
            return result if untouched(result) else self.exercise.look(result)

        value = _attempt(calls, run)
        tested = f"the result for random arguments{where}"
        result = Observation(tested, value, RESULT, draw, calls.arguments, tuple(calls.results))
        if self.exercise.mutates:
            return [result, Observation("the arguments after the call", arguments, AFTER, draw)]
        tested = "that the arguments are left as they were"
        return [result, Observation(tested, frozenset(calls.changed), CHANGES, draw)]

    def _gradients(self, draw: int) -> list[Observation]:
        calls, arguments = self._calls(copies=False), self.arguments(draw, learning=True)
        learned = self.learned(arguments)
        note = ""

        def run() -> list[Tensor | None]:
            nonlocal note
            parts = list(_tensors(calls(*arguments)))
            if calls.foreign:
                note = NUMBER.format(calls.foreign)
            elif not any(v.requires_grad for v in parts):
                note = CUT
            return _derivatives(parts, list(learned.values()), draw)

        value, observed = _attempt(calls, run), []
        for i, (name, argument) in enumerate(learned.items()):
            found, said = value, note
            if isinstance(value, list):
                found = torch.zeros_like(argument) if value[i] is None else value[i]
                said = note or (f"No gradient reaches {name}: the result does not depend on it by torch's functions.")
                said = said if value[i] is None else ""
            tested, kind, models = f"the gradient with respect to {name}", f"{GRADIENT} {name}", tuple(calls.results)
            observed.append(Observation(tested, found, kind, draw, calls.arguments, models, said))
        return observed

    def _probe(self, sentence: str, probe: Callable[["Answer"], Any]) -> list[Observation]:
        calls = self._calls(copies=not self.exercise.mutates)
        value = _attempt(calls, partial(probe, calls.function()))
        calls.put_back()
        result = Observation(sentence, value, sentence, None, calls.arguments, tuple(calls.results))
        if self.exercise.mutates:
            return [result]
        tested = f"that the arguments are left as they were ({sentence})"
        return [result, Observation(tested, frozenset(calls.changed), CHANGES, None, calls.arguments)]


class _Calls:
    """The calls of an answer in one test: each gets fresh arguments, and gives its result in the solution's form."""

    def __init__(self, run: Trial, models: Sequence[Any], *, copies: bool) -> None:
        self.run, self.models, self.copies = run, models, copies
        self.results: list[Any] = []
        self.arguments: tuple[Any, ...] = ()
        self.changed: set[Change] = set()
        self.error: BaseException | None = None
        self.foreign = ""  # the type of a result that is no tensor, where the solution's is
        self._before: list[tuple[dict[str, Any], Facts]] = []

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        if self.copies:
            arguments, options = fresh(arguments), fresh(options)
        self.arguments = self.run.last = (*fresh(arguments), *fresh(tuple(options.values())))
        named = self.run.named(arguments) | options
        before = facts(named)
        self._before.append((named, before))
        voice = contextlib.nullcontext() if self.run.aloud else session.muted()
        self.run.aloud = False
        try:
            with voice:
                with session.Settled():
                    result = inside(self._answered, arguments, options)
                with session.Settled():  # a result may be of a class that the answer has written
                    result = inside(self._in_form, result)
        except BaseException as error:
            self.error = error
            raise
        finally:
            if not left_behind():
                self.changed |= changes(before, facts(named))
        self.results.append(result)
        return result

    def _answered(self, arguments: Sequence[Any], options: Mapping[str, Any]) -> Any:
        return self.run.answer(*arguments, **options)

    def _in_form(self, result: Any) -> Any:
        if untouched(result):
            return result
        if unusable := _unusable(result):
            raise Refused(unusable)
        if not self.models:
            return result
        model = self.models[min(len(self.results), len(self.models) - 1)]
        with contextlib.suppress(Exception):  # a list of the answer's own make may fail when it is read
            self.foreign = self.foreign or _foreign(result, model)
        return like(result, model)

    def function(self) -> "Answer":
        """The answer as a test sees it."""

        def call(*arguments: Any, **options: Any) -> Any:
            return self(*arguments, **options)

        with contextlib.suppress(Exception):  # an object that fails when it is asked for its name
            functools.update_wrapper(call, self.run.answer, updated=())
        return call

    def put_back(self) -> None:
        """Undo what the calls, and the test itself, did to objects that the test keeps."""
        for named, before in reversed(self._before):
            put_back(named, before)


def _unusable(result: Any) -> Unusable | None:
    if issubclass(type(result), CoroutineType):
        result.close()
        return Unusable("a coroutine", "The function is `async def`: a call only prepares it. Write `def`.")
    if issubclass(type(result), GeneratorType | AsyncGeneratorType):
        why = "A generator gives its values only when it is asked. Return them: no yield, or tuple(…) around it."
        return Unusable("a generator", why)
    return None


def _foreign(result: Any, model: Any, depth: int = DEPTH) -> str:
    """The type of what is no tensor where the solution's result, or a part of it, is one that can be differentiated."""
    several = issubclass(type(result), list | tuple)
    if isinstance(model, Tensor):
        if not model.requires_grad or is_tensor(result):
            return ""
        if several and depth:
            return next((name for part in result if (name := _foreign(part, model, depth - 1))), "")
        return article(type_name(result))
    if isinstance(model, list | tuple) and several:
        return next((name for r, m in zip(result, model, strict=False) if (name := _foreign(r, m))), "")
    return ""


def _tensors(result: Any) -> Sequence[Tensor]:
    return [v for v in (result if isinstance(result, tuple | list) else [result]) if is_tensor(v)]


def _derivatives(parts: Sequence[Tensor], learned: Sequence[Tensor], draw: int) -> list[Tensor | None]:
    """Of a random combination of all values of a result."""
    weights = torch.Generator().manual_seed(draw)
    total = sum((v * torch.randn(v.shape, generator=weights)).sum() for v in parts if v.requires_grad)
    if not isinstance(total, Tensor) or not learned:
        return [None] * len(learned)
    return list(torch.autograd.grad(total, learned, allow_unused=True))


def _attempt(calls: _Calls, run: Callable[[], Any]) -> Any:
    session.seed()
    try:
        value = run()
        return value.detach() if is_tensor(value) else value
    except TimeLimit:
        raise
    except Refused as refusal:
        return refusal.result
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and not _by_statement(error):
            raise  # the reader's own
        if error is calls.error:
            return _failure(error)
        last, message = text(calls.results[-1]) if calls.results else "nothing", _message(error)
        if "does not require grad" in message:
            return Unusable(last, NUMBER.format(calls.foreign) if calls.foreign else CUT)
        return Unusable(last, f"The test cannot work with this result: {type(error).__name__}: {message}")


def _by_statement(error: BaseException) -> bool:
    """Whether an error comes from a `raise`, and not from a key that was pressed."""
    trace = _trace(error)
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code.co_code[trace.tb_lasti] == dis.opmap["RAISE_VARARGS"]


def _failure(error: BaseException) -> Failure:
    frames = [f for f in traceback.extract_tb(_trace(error)) if f"{os.sep}site-packages{os.sep}" not in f.filename]
    frames = [f for f in frames if os.path.dirname(f.filename) != HERE]
    own = [f for f in frames if not f.filename.startswith(HERE)]  # not of the objects that a test hands in
    line = next((f.line or "" for f in reversed(own or frames)), "")
    return Failure(type_name(error), _message(error), line)


def _trace(error: BaseException) -> TracebackType | None:
    """Where an error arose, also if its class has a `__traceback__` of its own."""
    return vars(BaseException)["__traceback__"].__get__(error)


def _message(error: BaseException) -> str:
    try:
        return shortened(str(error))
    except PASSING:
        raise
    except BaseException:
        return "its text cannot be shown"
