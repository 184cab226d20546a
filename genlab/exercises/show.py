"""Exercises on the screen: HTML in JupyterLab, plain text in a terminal."""

import html
import re
from collections import Counter
from typing import Any

from genlab import plot
from genlab.exercises import log, shelf
from genlab.exercises.arguments import copied
from genlab.exercises.engine import RIGHT, UNTOUCHED, WRONG, Exercise, Verdict, judge
from genlab.text import say

SIGNS = {RIGHT: "✓", WRONG: "✗", UNTOUCHED: "○"}
COLOURS = {RIGHT: "#009E73", WRONG: "#D55E00", UNTOUCHED: "#808080"}
# In notebooks: the cell that shows a task, and the cell in which it is answered.
SHOWN = re.compile(r"""exercise\(["']([^"']+)["']\)""")
CHECKED = re.compile(r"""^check\(["']([^"']+)["'],""", re.MULTILINE)
_asked: set[str] = set()  # solutions that were asked for once
_failed: dict[str, Verdict] = {}  # the last verdict on each exercise that is not yet solved
_unwritten: Counter[str] = Counter()  # hints that were shown while progress could not be kept


def exercise(number: str) -> None:
    """Show a task with its stub and, in a live notebook, its hints and its solution, folded.

    What is folded needs no kernel: it can be opened after a restart, too. Only what is asked for with `hint` and
    `solution` counts in the progress.

    Args:
        number: of the exercise, for example "05.2".

    Raises:
        ValueError: there is no such exercise.
    """
    found = shelf.find(number)
    folds = [_folded("The stub, to start again", f"```python\n{found.cell}\n```")]
    if plot.live() and plot.in_notebook():
        folds += [_folded(f"Hint {i} of 3", hint.strip()) for i, hint in enumerate(found.hints, 1)]
        folds += [_folded("Solution", _folded("Really show it?", _reveal(found)))]
    _display("\n\n".join([task(found), *folds]), plain=f"{task(found)}\n\n{found.cell}")


def check(number: str, answer: Any) -> None:
    """Judge an answer at once, and say in words what was tested, what was expected, what came, and what that means.

    A loop that never ends is stopped. Only inside C code, as in `set(itertools.repeat(1))`, it cannot be: then restart
    the kernel (Kernel, Restart).

    Args:
        number: of the exercise.
        answer: the reader's function.

    Raises:
        ValueError: there is no such exercise, or number and function are swapped.
    """
    if callable(number):
        raise ValueError(f'the number comes first: check("{answer}", {getattr(number, "__name__", "your_function")})')
    found = shelf.find(number)
    verdict = judge(found, answer)
    _failed.pop(found.number, None)
    if verdict.state == WRONG:
        _failed[found.number] = verdict
    if verdict.state != UNTOUCHED:
        log.record(found.number, verdict.state)
    _display(card(verdict), plain=told(verdict), kind="text/html")


def again(number: str) -> tuple[Any, ...]:
    """The arguments with which the last checked answer failed, and on the screen the call to make with them.

    Args:
        number: of the exercise.

    Returns:
        Fresh copies at each call.

    Raises:
        ValueError: no answer to this exercise has failed in this session, or it failed before a call.
    """
    found = shelf.find(number)
    verdict = _failed.get(found.number)
    if verdict is None or verdict.arguments is None:
        raise ValueError(
            f"no answer to {found.number} has failed in a call in this session; "
            f'check("{found.number}", {found.name}) first'
        )
    print(f"{_call(verdict)}  # {verdict.tested}")
    return tuple(copied(verdict.arguments))


def hint(number: str) -> None:
    """Show the next of an exercise's three hints, and the last again after that."""
    _display(_next_hint(shelf.find(number)))


def solution(number: str) -> None:
    """Show the worked solution, after asking once: the first call only says what the second will do."""
    found = shelf.find(number)
    if found.number not in _asked:
        _asked.add(found.number)
        seen = _seen(found)
        left = f' You have seen {seen} of 3 hints; hint("{found.number}") shows the next.' if seen < 3 else ""
        _display(f'Show the solution of {found.number}? Call `solution("{found.number}")` once more.{left}')
        return
    shown = _reveal(found)
    if found.solution_code in shown:  # and not kept by a teacher
        log.record(found.number, "solution")
    _display(shown)


def mended(number: str, answer: Any) -> Any:
    """The reader's function when it is right, and the worked solution until then: programs built of exercises run.

    A line says which of the two it is, unless the answer is an untouched stub.

    Args:
        number: of the exercise.
        answer: the reader's function.
    """
    found = shelf.find(number)
    state = judge(found, answer).state
    if state == RIGHT:
        say(f"your repair of {found.number} runs")
    elif state == WRONG:
        say(f"the worked solution of {found.number} runs: yours is not right yet")
    return answer if state == RIGHT else found.solution


def progress() -> None:
    """Show what has been solved, by chapter and in all."""
    rows = log.table()
    cells = "".join(
        f'<tr><th scope="row" style="text-align:left">{r.chapter}</th><td><progress value="{r.solved}" max="{r.total}">'
        f"</progress></td><td>{r.solved} of {r.total}</td><td>{r.hints}</td><td>{r.solutions}</td></tr>"
        for r in rows
    )
    head = "".join(f'<th scope="col">{h}</th>' for h in ("chapter", "", "solved", "hints", "solutions seen"))
    solved, total = sum(r.solved for r in rows), sum(r.total for r in rows)
    foot = f"<p>In all {solved} of {total}. Kept in {html.escape(str(log.path()))}</p>"
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{cells}</tbody></table>{foot}"
    _display(table, plain=log.text(), kind="text/html")


# ------------------------------------------------------------------------------------------------------- the same texts


def task(found: Exercise) -> str:
    """Heading, difficulty, minutes and task, in Markdown."""
    stars = "●" * found.difficulty + "○" * (3 - found.difficulty)
    kind = ", open-ended" if found.discussion else ""
    return f"### Exercise {found.number} · {found.title}\n\n{stars} · {found.minutes} min{kind}\n\n{found.task.strip()}"


def worked(found: Exercise) -> str:
    """Solution, explanation and discussion, in Markdown."""
    parts = [f"```python\n{found.solution_code}\n```", found.explanation.strip(), found.discussion.strip()]
    return "\n\n".join(part for part in parts if part)


def told(verdict: Verdict) -> str:
    """A verdict as plain text."""
    found = verdict.exercise
    if verdict.state == UNTOUCHED:
        return f"{SIGNS[UNTOUCHED]} {found.number} not attempted yet"
    if verdict.state == RIGHT:
        return f"{SIGNS[RIGHT]} {found.number} right: {found.title}"
    return "\n".join([f"{SIGNS[WRONG]} {found.number} not yet", *(f"  {k}: {v}" for k, v in _lines(verdict))])


def card(verdict: Verdict) -> str:
    """A verdict as HTML."""
    head, *_ = told(verdict).splitlines()
    rows = "".join(
        f'<tr><th scope="row" style="text-align:left;vertical-align:top">{k}</th>'
        f'<td style="text-align:left;white-space:pre-wrap">{html.escape(v)}</td></tr>'
        for k, v in _lines(verdict)
    )
    table = f'<table style="margin:0.3em 0">{rows}</table>' if rows else ""
    style = f"border-left:4px solid {COLOURS[verdict.state]};padding:0.2em 0.8em"
    return f'<div role="status" style="{style}"><strong>{html.escape(head)}</strong>{table}</div>'


def _lines(verdict: Verdict) -> list[tuple[str, str]]:
    if verdict.state != WRONG:
        return []
    lines = [("tested", verdict.tested), ("expected", verdict.expected), ("came", verdict.came)]
    lines += [("that is", verdict.meaning)] if verdict.meaning else []
    return [*lines, ("by hand", _call(verdict))] if verdict.arguments is not None else lines


def _call(verdict: Verdict) -> str:
    """The call that failed, as one can type it after `from genlab.exercises import again`."""
    return f'{verdict.exercise.name}(*again("{verdict.exercise.number}"))'


def _folded(summary: str, content: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{content}\n\n</details>"


def _reveal(found: Exercise) -> str:
    """What readers who ask for the solution get; `teach.keep_solutions` replaces it."""
    return f"**Solution of {found.number}**\n\n{worked(found)}"


def _seen(found: Exercise) -> int:
    return log.states().get(found.number, log.State()).counts["hint"] + _unwritten[found.number]


def _next_hint(found: Exercise) -> str:
    seen = _seen(found)
    if seen >= 3:
        return f"**Hint 3 of 3.** {found.hints[2].strip()}\n\nThere are three hints, and this is the last."
    log.record(found.number, "hint")
    if _seen(found) == seen:  # progress cannot be kept: go on all the same
        _unwritten[found.number] += 1
    return f"**Hint {seen + 1} of 3.** {found.hints[seen].strip()}"


# ---------------------------------------------------------------------------------------------------------- the screen


def _display(content: str, *, plain: str | None = None, kind: str = "text/markdown") -> None:
    """Rich in a notebook, plain elsewhere."""
    plain = content if plain is None else plain
    if not plot.in_notebook():
        say(plain)
        return
    from IPython.display import display

    display({kind: content, "text/plain": plain}, raw=True)
