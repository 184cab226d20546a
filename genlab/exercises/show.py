"""Exercises on the screen: HTML and buttons in JupyterLab, plain text in a terminal."""

import html
import re
from typing import Any

from genlab import plot
from genlab.exercises import log, shelf
from genlab.exercises.engine import RIGHT, UNTOUCHED, WRONG, Exercise, Verdict, judge

SIGNS = {RIGHT: "✓", WRONG: "✗", UNTOUCHED: "○"}
COLOURS = {RIGHT: "#009E73", WRONG: "#D55E00", UNTOUCHED: "#808080"}
# In notebooks: the cell that shows a task, and the cell in which it is answered.
SHOWN = re.compile(r"""exercise\(["']([^"']+)["']\)""")
CHECKED = re.compile(r"""^check\(["']([^"']+)["'],""", re.MULTILINE)
_asked: set[str] = set()  # solutions that were asked for once


def exercise(number: str) -> None:
    """Show a task with its stub and, in a live notebook, buttons for hints and the solution.

    Args:
        number: of the exercise, for example "05.2".

    Raises:
        ValueError: there is no such exercise.
    """
    found = shelf.find(number)
    folded = f"<details><summary>The stub, to start again</summary>\n\n```python\n{found.cell}\n```\n\n</details>"
    _display(f"{task(found)}\n\n{folded}", plain=f"{task(found)}\n\n{found.cell}")
    if plot.live() and plot.in_notebook():
        _buttons(found)


def check(number: str, answer: Any) -> None:
    """Judge an answer at once, and say in words what was tested, what was expected, what came, and what that means.

    Args:
        number: of the exercise.
        answer: the reader's function.

    Raises:
        ValueError: there is no such exercise.
    """
    verdict = judge(shelf.find(number), answer)
    if verdict.state != UNTOUCHED:
        log.record(number, verdict.state)
    _display(card(verdict), plain=told(verdict), kind="text/html")


def hint(number: str) -> None:
    """Show the next of an exercise's three hints, and the last again after that."""
    found = shelf.find(number)
    _display(_next_hint(found))


def solution(number: str) -> None:
    """Show the worked solution, after asking once: the first call only says what the second will do."""
    found = shelf.find(number)
    if number not in _asked:
        _asked.add(number)
        seen = log.states().get(number, log.State()).counts["hint"]
        left = f' You have seen {seen} of 3 hints; hint("{number}") shows the next.' if seen < 3 else ""
        _display(f'Show the solution of {number}? Call `solution("{number}")` once more.{left}')
        return
    _display(_reveal(found))


def mended(number: str, answer: Any) -> Any:
    """The reader's function when it is right, and the worked solution until then: programs built of exercises run.

    Args:
        number: of the exercise.
        answer: the reader's function.
    """
    found = shelf.find(number)
    return answer if judge(found, answer).state == RIGHT else found.solution


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
    return [*lines, ("that is", verdict.meaning)] if verdict.meaning else lines


def _next_hint(found: Exercise) -> str:
    log.record(found.number, "hint")
    seen = min(3, log.states().get(found.number, log.State()).counts["hint"] or 1)
    return f"**Hint {seen} of 3.** {found.hints[seen - 1].strip()}"


def _reveal(found: Exercise) -> str:
    log.record(found.number, "solution")
    return f"**Solution of {found.number}**\n\n{worked(found)}"


# ---------------------------------------------------------------------------------------------------------- the screen


def _display(content: str, *, plain: str | None = None, kind: str = "text/markdown") -> None:
    """Rich in a notebook, plain elsewhere."""
    plain = content if plain is None else plain
    if not plot.in_notebook():
        print(plain)
        return
    from IPython.display import display

    display({kind: content, "text/plain": plain}, raw=True)


def _buttons(found: Exercise) -> None:
    """Hint and solution by a click; the solution asks once. Driven by values, so that nothing else is displayed."""
    import ipywidgets
    from IPython.display import display
    from nbconvert.filters import markdown2html

    text = ipywidgets.HTMLMath()
    help_, answer = (ipywidgets.Button(description=d, layout={"width": "auto"}) for d in ("Hint", "Solution"))

    def show_hint(_: Any) -> None:
        text.value = markdown2html(_next_hint(found))

    def show_solution(_: Any) -> None:
        if answer.description == "Solution":
            answer.description = "Really show it?"
            return
        answer.description = "Solution"
        text.value = markdown2html(_reveal(found))

    help_.on_click(show_hint)
    answer.on_click(show_solution)
    display(ipywidgets.VBox([ipywidgets.HBox([help_, answer]), text]))
