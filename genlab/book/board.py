"""The scoreboard's page: its table and its plots, drawn from the stored rows as the book is built."""

import base64
import re
from pathlib import Path

from genlab.book import BookError, cells

MARK = re.compile(r"^<!-- scoreboard: (\w+) -->$", re.MULTILINE)
SHOWN = (
    *("fcd", "limit", "kernel", "sliced", "precision", "recall", "density", "coverage", "vendi", "sure", "classes"),
    *("told", "neighbours", "closer", "nearest", "authenticity", "c_t", "extracted", "iwae", "labels"),
)
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
    return "\n".join(f"- **{COLUMNS[k].name}**: {COLUMNS[k].about}; {better[COLUMNS[k].better]}." for k in SHOWN)


def _table() -> str:
    """All rows, each score as the mean over seeds with its range below, and the command; best first."""
    from genlab.studies import board

    head = "".join(f'<th scope="col">{board.COLUMNS[key].name}</th>' for key in SHOWN)
    first, last = ("".join(f'<th scope="col">{name}</th>' for name in names) for names in (FIRST, LAST))
    lines = [
        '<div class="table-wrapper">\n<table class="sortable">',
        f"<thead><tr>{first}{head}{last}</tr></thead>\n<tbody>",
    ]
    for row in sorted(board.rows(), key=lambda r: (r.mean("fcd"), r.budget)):
        scores = "".join(_cell(row.values(key), board.COLUMNS[key].digits) for key in SHOWN)
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
    """Quality against budget, and variety against fidelity, one mark a model."""
    from genlab import plot
    from genlab.studies import board
    from genlab.studies.scoreboard import ENTRIES

    rows = board.rows()
    fig, (left, right) = plot.figure(1, 2, width=11, height=4.6)
    for number, name in enumerate(ENTRIES):
        own = [row for row in rows if row.entry == name]
        if not own:
            continue
        style = {"color": plot.COLOURS[number % len(plot.COLOURS)], "marker": "os^Dv"[number % 5]}
        left.plot([r.seconds for r in own], [r.mean("fcd") for r in own], label=name, **style)
        right.plot([r.mean("recall") for r in own], [r.mean("precision") for r in own], ls=":", **style)
    for row in rows:
        if row.entry not in ENTRIES:
            left.axhline(row.mean("fcd"), color=plot.GREY, lw=0.8, ls="--")
            left.annotate(row.entry, (1, row.mean("fcd")), xycoords=("axes fraction", "data"), fontsize=7, va="center")
            right.plot(row.mean("recall"), row.mean("precision"), "x", color=plot.GREY)
            right.annotate(row.entry, (row.mean("recall"), row.mean("precision")), fontsize=7)
    seconds = sorted({row.seconds for row in rows if row.seconds})
    left.set(xscale="log", yscale="log", xlabel="budget, about seconds of one core", ylabel="FCD, mean over seeds")
    left.set_xticks(seconds, [str(s) for s in seconds])
    left.minorticks_off()
    right.set(xlabel="recall", ylabel="precision", title="Larger budgets along the dotted lines")
    fig.legend(loc="outside lower center", ncols=4, fontsize="x-small")
    alt = (
        "Left: Fréchet classifier distance over budget, a line for each trained model, dashed levels for baselines and "
        "real digits. Right: precision over recall of the same rows. The numbers are in the table."
    )
    content = base64.b64encode(plot.png(fig)).decode()
    return cells.picture(content, {"alt": alt}, "image/png", place, images, depth)
