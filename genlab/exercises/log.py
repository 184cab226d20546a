"""What the reader has done, kept on the reader's machine as a log that is only ever appended to.

One line of JSON an event: a crash can cost the last line at most, and two notebooks can write at once.
"""

import json
import os
import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from genlab.exercises import shelf

EVENTS = ("right", "wrong", "hint", "solution", "reset")


def path() -> Path:
    """The log: GENLAB_PROGRESS, or `genlab/progress.jsonl` in the user's data folder."""
    if given := os.environ.get("GENLAB_PROGRESS"):
        return Path(given)
    fallback = Path.home() / ("AppData/Local" if sys.platform == "win32" else ".local/share")
    return Path(os.environ.get("XDG_DATA_HOME", fallback)) / "genlab" / "progress.jsonl"


def record(number: str, event: str) -> None:
    """Append an event. A disk that cannot be written is said once more, and is no error: the answer matters more."""
    assert event in EVENTS
    line = json.dumps({"time": _now(), "exercise": number, "event": event})
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
        print(f"genlab: progress cannot be kept in {path()} ({error.strerror})", file=sys.stderr)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


@dataclass
class State:
    """Of one exercise: whether it is solved and since when, wrong answers before, hints and solution seen."""

    solved: str | None = None
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
        shelf.find(scope)
    elif scope != "all":
        shelf.of(scope)
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
        mine = [now.get(exercise.number, State()) for exercise in shelf.of(chapter)]
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
        rows.append({"exercise": exercise.number, "title": exercise.title, "solved": state.solved} | counts)
    content = {"name": name, "exported": _now(), "exercises": rows}
    partial = file.with_name(file.name + ".partial")
    partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, file)


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
