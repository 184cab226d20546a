"""What an exercise still needs before readers may have it: one line a check, with the remedy."""

import builtins
import dis
import importlib.util
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import nbformat
import torch
from nbformat import NotebookNode

from genlab.exercises import engine, mutants, session, shelf, show
from genlab.exercises.engine import RIGHT, UNTOUCHED, Exercise, judge

SHARE = 0.95  # of the mutants that a check must reject
WIDTH = 88  # of a line in the reader's cell


class Finding(NamedTuple):
    """What a check found: True, False, or None where it could not be made."""

    good: bool | None
    text: str

    def __str__(self) -> str:
        return f"{ {True: '✓', False: '✗', None: '○'}[self.good] } {self.text}"


# -------------------------------------------------------------------------------------------------------------- loading


def files(target: str) -> list[Path]:
    """The files that a target means: the number of an exercise, that of a chapter, or a path.

    Raises:
        ValueError: there is no such exercise or file.
    """
    if target.endswith(".py"):
        if not Path(target).is_file():
            raise ValueError(f"there is no file {target}; give a path, a number such as 04.9 or a chapter such as 04")
        return [Path(target)]
    return [shelf.file(number) for number in ([target] if "." in target else shelf.numbers(target))]


def read(path: Path) -> Exercise:
    """The exercise in a file, imported afresh.

    Raises:
        ValueError: the file cannot be imported, or has no EXERCISE; the message names file and line.
    """
    name = f"genlab_exercise_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader, path
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with session.kept():
            spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"{_place(error, path) or f'{path}: '}{type(error).__name__}: {error}") from error
    finally:
        del sys.modules[name]
    found = getattr(module, "EXERCISE", None)
    if not isinstance(found, Exercise):
        raise ValueError(f"{path} has no EXERCISE; end it with EXERCISE = Exercise(…)")
    return found


# --------------------------------------------------------------------------------------------------------------- checks


def findings(path: Path, notebooks: Path) -> Iterator[Finding]:
    """Check the exercise in a file, from what costs nothing to what takes seconds.

    Args:
        path: of the file.
        notebooks: the folder of the course's notebooks.

    Raises:
        ValueError: the file cannot be imported.
    """
    exercise = read(path)
    notebook, shown = _notebook(exercise, notebooks)
    yield from _safely(lambda: [_named(exercise, path), _in_order(path)], path)
    yield from _safely(lambda: _whole(exercise), path)
    solved = list(_safely(lambda: [_solution(exercise)], path))
    yield from solved
    if all(finding.good for finding in solved):  # else every verdict below says the same
        for check in (_stub, _right, _wrong, _mutants):
            yield from _safely(partial(check, exercise), path)
    yield from _safely(lambda: [_imports(exercise, notebook), shown], path)


def _safely(check: Callable[[], Iterable[Finding]], path: Path) -> Iterator[Finding]:
    """What a check finds, or that one of the author's functions raises an error in it."""
    try:
        yield from check()
    except Exception as error:
        yield Finding(False, f"it cannot be checked: {_place(error, path)}{type(error).__name__}: {error}")


def _place(error: Exception, path: Path) -> str:
    """Where in the author's file an error arose, or nothing."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == path]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    return f"{path}, line {line}: " if line else ""


def _named(exercise: Exercise, path: Path) -> Finding:
    number = shelf.number_of(path)
    if number is None:
        wanted = f"ch{exercise.chapter.lower()}/e{int(exercise.number.split('.')[1]):02d}_short_title.py"
        return Finding(False, f"the file is {path.parent.name}/{path.name}: name it {wanted}")
    if number != exercise.number:
        return Finding(False, f"the file's name says {number}, but number={exercise.number!r}: rename one of the two")
    return Finding(True, f"file and number agree: {number}")


def _in_order(path: Path) -> Finding:
    found = sorted(int(m[1]) for p in path.parent.glob("e*.py") if (m := shelf.FILE.fullmatch(p.stem)))
    if twice := sorted({n for n in found if found.count(n) > 1}):
        return Finding(False, f"numbers that two files have: {_listed(twice)}; rename one")
    if missing := sorted(set(range(1, max(found, default=0) + 1)) - set(found)):
        return Finding(False, f"numbers that no file has: {_listed(missing)}; the numbers of a chapter are 1, 2, 3, …")
    return Finding(True, f"the chapter's numbers follow each other, 1 to {len(found)}")


def _listed(values: list[Any]) -> str:
    return ", ".join(map(str, values))


def _whole(exercise: Exercise) -> Iterator[Finding]:
    wrong = exercise.wrong
    demands = {
        "the task has ten words or fewer: say what to write, and which properties the result has": (
            len(exercise.task.split()) > 10
        ),
        "a hint is shorter than 16 characters: three hints lead from a nudge to nearly there": (
            all(len(hint) > 15 for hint in exercise.hints)
        ),
        "the explanation has eight words or fewer: say why the solution is right": len(exercise.explanation.split())
        > 8,
        "minutes must be positive: how long does a reader need?": exercise.minutes > 0,
        "the solution has no docstring: it is part of the stub": bool(exercise.solution.__doc__),
        f"a line of the reader's cell is longer than {WIDTH} characters: shorten the solution's head": (
            max(map(len, exercise.cell.splitlines())) <= WIDTH
        ),
        f"there are {len(wrong)} named mistakes: give three or more": len(wrong) >= 3,
        "two mistakes have the same name: rename one": len({w.name for w in wrong}) == len(wrong),
        "two mistakes have the same message: tell them apart": len({w.message for w in wrong}) == len(wrong),
    }
    demands |= {
        f"the message of {w.name!r} has four words or fewer: say what the result shows": len(w.message.split()) > 4
        for w in wrong
    }
    faults = [Finding(False, text) for text, met in demands.items() if not met]
    yield from faults or [
        Finding(True, f"it is whole: task, solution, explanation, hints, {len(wrong)} named mistakes")
    ]


def _stub(exercise: Exercise) -> Iterator[Finding]:
    space: dict[str, Any] = {}
    exec(exercise.stub, space)  # its head may use nothing but Python's own names
    verdict = judge(exercise, space[exercise.name])
    good = verdict.state == UNTOUCHED
    yield Finding(good, "the stub is not attempted" if good else f"the stub counts as an answer. {_told(verdict)}")


def _solution(exercise: Exercise) -> Finding:
    start = time.process_time()
    try:
        verdict = judge(exercise, exercise.solution)
    except engine.BrokenExercise as error:
        return Finding(False, f"the solution fails: {str(error).split(' This says')[0]}")
    took = time.process_time() - start
    if verdict.state != RIGHT:
        remedy = "does it draw random numbers, or remember its calls?"
        return Finding(False, f"the solution does not pass its own check: {remedy} {_told(verdict)}")
    if took > engine.LIMIT:
        return Finding(False, f"the check takes {took:.1f} s: use smaller inputs; it may take {engine.LIMIT:g} s")
    return Finding(True, f"the solution passes, in {took:.2f} s")


def _right(exercise: Exercise) -> Iterator[Finding]:
    answers = {f"the right answer {_name(answer, i)}": answer for i, answer in enumerate(exercise.right, 1)}
    if not exercise.mutates:
        for kind, convert in {"float64": torch.Tensor.double, "tensors that are not contiguous": _strided}.items():
            answers[f"the solution in {kind}"] = _converting(exercise, convert)
    faults = [
        Finding(False, f"{name} is not accepted: change it, the tolerance or the probes. {_told(verdict)}")
        for name, answer in answers.items()
        if (verdict := judge(exercise, answer)).state != RIGHT
    ]
    yield from faults or [Finding(True, f"other right answers pass: {len(exercise.right)}")]


def _name(answer: Any, place: int) -> str:
    name = getattr(answer, "__name__", "<lambda>")
    return f"number {place}" if name == "<lambda>" else name


def _strided(x: torch.Tensor) -> torch.Tensor:
    return torch.stack([x, x], -1)[..., 0]


def _converting(exercise: Exercise, convert: Callable[[torch.Tensor], torch.Tensor]) -> engine.Answer:
    def converted(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return convert(value) if value.is_floating_point() and value.ndim else value
        return type(value)(map(converted, value)) if type(value) in (tuple, list) else value

    return lambda *arguments: converted(exercise.solution(*arguments))


def _wrong(exercise: Exercise) -> Iterator[Finding]:
    owners = {w.message: w.name for w in exercise.wrong}
    faults = []
    for wrong in exercise.wrong:
        verdict = judge(exercise, wrong.answer)
        if verdict.state != engine.WRONG:
            remedy = "add a probe in which it differs from the solution"
            faults.append(Finding(False, f"the mistake {wrong.name!r} is {verdict.state}: {remedy}"))
        elif verdict.meaning in owners and owners[verdict.meaning] != wrong.name:
            remedy = "add a probe that tells the two apart, or leave one out"
            faults.append(Finding(False, f"{wrong.name!r} gets the message of {owners[verdict.meaning]!r}: {remedy}"))
        elif verdict.meaning != wrong.message:
            remedy = "it must do the same at every call"
            faults.append(Finding(False, f"{wrong.name!r} does not get its message: {remedy}. {_told(verdict)}"))
    yield from faults or [Finding(True, f"every named mistake gets its own message: {len(exercise.wrong)}")]


def _told(verdict: engine.Verdict) -> str:
    return "; ".join(line.strip() for line in show.told(verdict).splitlines()[1:]) or f"It is {verdict.state}."


def _mutants(exercise: Exercise) -> Iterator[Finding]:
    with _limit(1.0):
        found = mutants.score(exercise)
    total = found.rejected + len(found.survivors)
    words = f"{found.rejected} of {total} changes of the right answers are rejected ({found.share:.0%})"
    codes = "".join(f"\n\n{code}" for code in found.survivors).replace("\n", "\n    ")
    if found.survivors:
        words += f"; accepted, though they do something else:{codes}\n"
    good = not total or found.share >= SHARE
    remedy = f"less than {SHARE:.0%} is too little: add probes, or inputs that vary more. "
    yield Finding(good, words if good else remedy + words)


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """A shorter time for every answer: among mutants are loops that never end."""
    old, engine.LIMIT = engine.LIMIT, min(seconds, engine.LIMIT)
    try:
        yield
    finally:
        engine.LIMIT = old


# --------------------------------------------------------------------------------------------------------- the notebook


def _notebook(exercise: Exercise, folder: Path) -> tuple[NotebookNode | None, Finding]:
    """The chapter's notebook, and whether it shows the exercise with exactly its stub."""
    if not folder.is_dir():
        return None, Finding(
            None, f"no folder {folder} here: in the project's folder the notebook is looked at as well"
        )
    path = next(iter(sorted(folder.glob(f"{exercise.chapter}_*.ipynb"))), None)
    if path is None:
        return None, Finding(False, f"there is no notebook {folder / exercise.chapter}_….ipynb to show it")
    notebook = nbformat.read(path, as_version=4)
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    shown = [i for i, source in enumerate(cells) if (m := show.SHOWN.fullmatch(source)) and m[1] == exercise.number]
    wanted = "\n    ".join(exercise.cell.splitlines())
    if len(shown) != 1:
        remedy = f'show it once, by a cell exercise("{exercise.number}") and below it this cell:\n\n    {wanted}\n'
        return notebook, Finding(False, f"{path} shows it {len(shown)} times: {remedy}")
    if cells[shown[0] + 1 : shown[0] + 2] != [exercise.cell]:
        return notebook, Finding(False, f"in {path} its cell is followed by another stub; it must be\n\n    {wanted}\n")
    return notebook, Finding(True, f"{path} shows it with its stub")


def _imports(exercise: Exercise, notebook: NotebookNode | None) -> Finding:
    """The reader sees the solution, and must be able to run it after the imports cell."""
    used = _globals(exercise.solution.__code__) - set(dir(builtins)) - {exercise.name}
    if helpers := sorted(n for n in used if not _imported(exercise.solution.__globals__.get(n), exercise)):
        return Finding(False, f"the solution uses {_listed(helpers)} of its file, which readers lack: write it out")
    source = next((c.source for c in notebook.cells if "genlab.exercises" in c.source), "") if notebook else ""
    bound = {word for line in re.findall(r"import (.+)", source) for word in re.findall(r"\w+", line)}
    if notebook and (missing := sorted(used - bound)):
        return Finding(False, f"the notebook's imports cell lacks what the solution uses: {_listed(missing)}")
    return Finding(True, "the solution uses nothing that readers lack")


def _imported(value: Any, exercise: Exercise) -> bool:
    return value is not None and getattr(value, "__module__", None) != exercise.solution.__module__


def _globals(code: CodeType) -> set[str]:
    inner = [_globals(c) for c in code.co_consts if isinstance(c, CodeType)]
    return {i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}.union(*inner)
