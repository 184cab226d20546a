"""What the reader has done, kept on the reader's machine as a log that is only ever appended to.

One line of JSON an event: a crash can cost the last line at most, and two notebooks can write at once.
"""

import csv
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from genlab.exercises import shelf
from genlab.text import notice

EVENTS = ("right", "wrong", "hint", "solution", "reset")


def path() -> Path:
    """The log: GENLAB_PROGRESS, or `genlab/progress.jsonl` in the user's data folder."""
    if given := os.environ.get("GENLAB_PROGRESS"):
        return Path(given)
    fallback = Path.home() / ("AppData/Local" if sys.platform == "win32" else ".local/share")
    return Path(os.environ.get("XDG_DATA_HOME", fallback)) / "genlab" / "progress.jsonl"


def record(number: str, event: str) -> None:
    """Append an event of an exercise, a chapter or "all".

    A disk that cannot be written is said once more, and is no error: the answer matters more.
    """
    assert event in EVENTS
    scope = number if number == "all" else shelf.written(number)
    line = json.dumps({"time": _now(), "exercise": scope, "event": event})
    try:
        path().parent.mkdir(parents=True, exist_ok=True)
        with path().open("a+b") as file:
            file.seek(0, os.SEEK_END)
            if file.tell():
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else "\n" + line  # a crash cut the last line
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        notice(f"progress cannot be kept in {path()} ({error.strerror})")


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


@dataclass
class State:
    """Of one exercise: solved since when, touched last when, and how many answers, hints and looks at the solution."""

    solved: str | None = None
    last: str | None = None
    counts: Counter[str] = field(default_factory=Counter)


def states() -> dict[str, State]:
    """The state of every exercise that was touched, since the last reset."""
    found: dict[str, State] = {}
    for row in _rows():
        if row["event"] == "reset":
            found = {n: s for n, s in found.items() if row["exercise"] != "all" and not _within(n, row["exercise"])}
            continue
        state = found.setdefault(row["exercise"], State())
        state.counts[row["event"]] += 1
        state.last = row["time"]
        if row["event"] == "right" and state.solved is None:
            state.solved = row["time"]
    return found


def _within(number: str, scope: str) -> bool:
    return number == scope or number.split(".")[0] == scope


def _rows() -> list[dict[str, str]]:
    """The events that can be read; a line that a crash has cut is passed over."""
    try:
        lines = path().read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    rows = []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and {"time", "exercise", "event"} <= row.keys() and row["event"] in EVENTS:
            rows.append(row)
    return rows


def reset(scope: str = "all") -> None:
    """Forget an exercise ("05.2"), a chapter ("05") or everything ("all"). The log keeps its lines.

    Raises:
        ValueError: there is no such exercise or chapter.
    """
    if "." in scope:
        shelf.file(scope)
    elif scope != "all":
        shelf.numbers(scope)
    record(scope, "reset")


@dataclass(frozen=True)
class Row:
    """Progress in a chapter."""

    chapter: str
    solved: int
    total: int
    hints: int
    solutions: int


def table() -> list[Row]:
    """Progress by chapter."""
    now = states()
    rows = []
    for chapter in shelf.chapters():
        mine = [now.get(number, State()) for number in shelf.numbers(chapter)]
        hints, solutions = (sum(s.counts[event] for s in mine) for event in ("hint", "solution"))
        rows.append(Row(chapter, sum(s.solved is not None for s in mine), len(mine), hints, solutions))
    return rows


def export(file: Path, *, name: str = "") -> None:
    """Write the state of every exercise as JSON, for a teacher to collect; whole or not at all.

    Args:
        file: to write; an existing one is replaced.
        name: of the reader.
    """
    now = states()
    rows: list[dict[str, Any]] = []
    for exercise in shelf.every():
        state = now.get(exercise.number, State())
        counts = {event: state.counts[event] for event in ("right", "wrong", "hint", "solution")}
        rows.append(
            {"exercise": exercise.number, "title": exercise.title, "solved": state.solved, "last": state.last} | counts
        )
    content = {"name": name, "exported": _now(), "exercises": rows}
    partial = file.with_name(file.name + ".partial")
    partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, file)


class Learner(NamedTuple):
    """One line of a class's table.

    Attributes:
        name: that the learner gave, or the name of the file.
        file: that was read.
        last: when an exercise was touched last, or "".
        hints: that were seen, all repetitions counted.
        solutions: that were seen.
        solved: how many, by chapter.
    """

    name: str
    file: str
    last: str
    hints: int
    solutions: int
    solved: dict[str, int]


def gather(sources: Path | Sequence[Path]) -> tuple[list[Learner], list[str]]:
    """What files written by `export` say of a class, by name. Learners wrote them: they prove nothing.

    Args:
        sources: a folder, whose .json files are read, or files.

    Returns:
        The learners, and a line for each file that cannot be read or is no export.

    Raises:
        ValueError: there is no such folder, or no file in it.
    """
    files = sorted(sources.glob("*.json")) if isinstance(sources, Path) else list(sources)
    if not files:
        raise ValueError(f"no .json files in {sources}; collect what `genlab progress --export FILE` wrote there")
    found, refused = [], []
    for file in files:
        try:
            found.append(_learner(file, json.loads(file.read_text(encoding="utf-8-sig"))))
        except OSError as error:
            refused.append(f"{file}: {error.strerror}")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            refused.append(f"{file}: not written by `genlab progress --export`, or damaged")
    return sorted(found, key=lambda learner: (learner.name.casefold(), learner.file)), refused


def _learner(file: Path, content: dict[str, Any]) -> Learner:
    rows = {str(row["exercise"]): row for row in content["exercises"]}  # a number counts once
    mine = [(c, rows[n]) for c in shelf.chapters() for n in shelf.numbers(c) if n in rows]
    solved = Counter(chapter for chapter, row in mine if row["solved"])
    times = [time for _, row in mine for time in (row.get("last"), row["solved"]) if time]
    if not all(isinstance(time, str) for time in times):
        raise ValueError("times are texts")
    hints, solutions = (sum(int(row[event]) for _, row in mine) for event in ("hint", "solution"))
    name = str(content["name"]).strip() or file.stem
    return Learner(name, file.name, max(times, default=""), hints, solutions, {c: solved[c] for c in shelf.chapters()})


def write_table(learners: Sequence[Learner], file: Path) -> None:
    """Write a class's table as CSV for a spreadsheet: one line a learner, one column a chapter."""
    head = ["name", "file", "last activity", "hints", "solutions seen", "solved", *shelf.chapters()]
    with file.open("w", encoding="utf-8-sig", newline="") as out:  # the mark lets spreadsheets read accents
        lines = csv.writer(out)
        lines.writerow(head)
        for one in learners:
            counts = [one.hints, one.solutions, sum(one.solved.values()), *one.solved.values()]
            lines.writerow([*(_harmless(text) for text in one[:3]), *counts])


def _harmless(text: str) -> str:
    """A learner's text, such that no spreadsheet takes it for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def text() -> str:
    """Progress as a plain table."""
    rows = table()
    lines = [f"{r.chapter}  {_bar(r.solved, r.total)}  {r.solved:2d} of {r.total:2d}{_help(r)}" for r in rows]
    solved, total = sum(r.solved for r in rows), sum(r.total for r in rows)
    return "\n".join([*lines, f"in all  {solved} of {total}", f"kept in {path()}"])


def _bar(solved: int, total: int, width: int = 20) -> str:
    full = width * solved // total
    return "█" * full + "░" * (width - full)


def _help(row: Row) -> str:
    return f"  (hints {row.hints}, solutions seen {row.solutions})" if row.hints or row.solutions else ""
