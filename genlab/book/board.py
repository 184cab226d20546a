"""The scoreboard's page: its table and its plots, drawn from the stored rows as the book is built."""

import base64
import re
from pathlib import Path

from genlab.book import BookError, cells

MARK = re.compile(r"^<!-- scoreboard: (\w+) -->$", re.MULTILINE)
FIRST, LAST = ("model", "seconds", "seeds"), ("command of seed 0",)


def fill(text: str, *, place: str, images: Path, depth: int) -> str:
    """A page's text with what its marks ask for: `<!-- scoreboard: table -->`, `columns` or `plot` on a line alone.

    Raises:
        BookError: a mark asks for something else.
    """

    def made(match: re.Match[str]) -> str:
        if match[1] == "table":
            return _table()
        if match[1] == "columns":
            return _columns()
        if match[1] == "plot":
            return _plot(place, images, depth)
        raise BookError(f"{place}: the scoreboard has table, columns and plot, but no {match[1]!r}")

    return MARK.sub(made, text)


def _columns() -> str:
    from genlab.studies.board import COLUMNS

    better = {1: "more is better", -1: "less is better", 0: "as real digits have it"}
    return "\n".join(f"- **{c.name}**: {c.about}; {better[c.better]}." for c in COLUMNS.values())


def _table() -> str:
    """All rows, each score as the mean over seeds with its range below, and the command; best first."""
    from genlab.studies import board

    head = "".join(f'<th scope="col">{column.name}</th>' for column in board.COLUMNS.values())
    first, last = ("".join(f'<th scope="col">{name}</th>' for name in names) for names in (FIRST, LAST))
    lines = [
        '<div class="table-wrapper">\n<table class="sortable">',
        f"<thead><tr>{first}{head}{last}</tr></thead>\n<tbody>",
    ]
    for row in sorted(board.rows(), key=lambda r: (r.mean("fcd"), r.budget)):
        scores = "".join(_cell(row.values(key), column.digits) for key, column in board.COLUMNS.items())
        command = f"<details><summary>show</summary><code>{cells.quote(row.command())}</code></details>"
        lines.append(
            f'<tr><th scope="row">{cells.quote(row.entry)}</th><td>{row.seconds or "–"}</td><td>{len(row.runs)}</td>'
            f"{scores}<td>{command if row.command() else '–'}</td></tr>"
        )
    return "\n".join([*lines, "</tbody>\n</table>\n</div>"])


def _cell(values: list[float], digits: int) -> str:
    if not values:
        return "<td>–</td>"
    mean, low, high = sum(values) / len(values), min(values), max(values)
    spread = f"<br><small>{low:.{digits}f} to {high:.{digits}f}</small>" if len(values) > 1 else ""
    return f'<td data-value="{mean:.6g}">{mean:.{digits}f}{spread}</td>'


def _plot(place: str, images: Path, depth: int) -> str:
    """Quality by budget, a row a model and a dot a seed; beside it variety against fidelity, by the rows' numbers."""
    from genlab import plot
    from genlab.studies import board

    rows = board.rows()
    best = {row.entry: min(r.mean("fcd") for r in rows if r.entry == row.entry) for row in rows}
    numbers = {entry: i for i, entry in enumerate(sorted(best, key=lambda entry: best[entry]), 1)}
    seconds = sorted({row.seconds for row in rows})
    colours = dict(zip(seconds, (plot.GREY, plot.FAKE, plot.REAL, plot.GREEN), strict=False))
    fig, (left, right) = plot.figure(1, 2, width=11, height=6)
    for row in rows:
        number, colour = numbers[row.entry], colours[row.seconds]
        left.plot(row.values("fcd"), [number] * len(row.runs), "o", color=colour, ms=5)
        right.text(row.mean("recall"), row.mean("precision"), str(number), color=colour, ha="center", va="center")
    for of, colour in colours.items():
        left.plot([], [], "o", color=colour, label=f"about {of} s" if of else "not trained")
    left.set(xscale="log", xlabel="Fréchet classifier distance, a dot a seed")
    left.set_yticks(list(numbers.values()), [f"{entry}  {i}" for entry, i in numbers.items()])
    left.invert_yaxis()
    left.legend(loc="upper right", fontsize="small")
    right.set(xlim=(-0.05, 1), ylim=(-0.05, 1), xlabel="recall", ylabel="precision")
    right.set_title("Means over seeds, by the numbers on the left")
    alt = (
        "Left: a row of dots for each model and baseline, over the Fréchet classifier distance, best first; colours "
        "tell budgets. Right: precision over recall of the same rows, by number. All values are in the table."
    )
    content = base64.b64encode(plot.png(fig)).decode()
    return cells.picture(content, {"alt": alt}, "image/png", place, images, depth)
