"""What the scoreboard says: rows over seeds, where a new run of one must lie, and a table for terminals."""

import math
import statistics
from pathlib import Path
from typing import Any, NamedTuple

from genlab import metrics
from genlab.studies import FOLDER, make, stored
from genlab.studies.scoreboard import BUDGETS, ENTRIES, STUDY, command
from genlab.text import notice


class Column(NamedTuple):
    """A score: its name, what is better (1: more, −1: less, 0: near the floor), digits shown, what it says."""

    name: str
    better: int
    digits: int
    about: str


COLUMNS = {
    "fcd": Column("FCD", -1, 1, "Fréchet classifier distance"),
    "limit": Column("FCD∞", -1, 1, "the same read at infinitely many samples, at a thousand test digits"),
    "kernel": Column("kernel", -1, 2, "kernel distance"),
    "sliced": Column("sliced", -1, 2, "sliced Wasserstein distance"),
    "precision": Column("precision", 0, 2, "share of samples inside the real manifold, k = 3"),
    "recall": Column("recall", 1, 2, "share of test digits inside the samples' manifold, k = 3"),
    "density": Column("density", 0, 2, "how deep samples lie among real digits, k = 5"),
    "coverage": Column("coverage", 1, 2, "share of test digits with a sample near, k = 5"),
    "vendi": Column("Vendi", 0, 1, "effective number of different samples"),
    "sure": Column("sure", 0, 2, "the inception score's formula, with the zoo's classifier"),
    "classes": Column("classes", -1, 2, "total variation of the classes read from the uniform law"),
    "told": Column("told", -1, 2, "share that a trained classifier tells right, real or generated"),
    "neighbours": Column("1-NN", 0, 2, "share whose nearest other is of its own kind"),
    "closer": Column("closer", 0, 3, "share nearer to a training digit than all but 5 % of the test digits"),
    "nearest": Column("nearest", 0, 2, "median distance to the nearest training digit, over that of test digits"),
    "authenticity": Column("authentic", 0, 2, "authenticity"),
    "c_t": Column("C_T", 0, 1, "data-copying score; far below 0: copies"),
    "extracted": Column("copies", 0, 3, "share that are copies of a training digit by the relative distance"),
    "iwae": Column(
        "IWAE", 1, 1, "bound on log p of binarised test digits, nats, k = 100; of an autoregressive model log p itself"
    ),
    "labels": Column("as asked", 1, 2, "share read as the label asked for"),
}


class Row(NamedTuple):
    """A model at a budget: its runs, one a seed."""

    entry: str
    budget: int
    runs: list[dict[str, Any]]

    @property
    def seconds(self) -> int:
        """The budget by its name, 0 for what is not trained."""
        return next((name for name, flops in BUDGETS.items() if flops == self.budget), 0)

    def values(self, key: str) -> list[float]:
        """A score of each run; none where the model does not have it."""
        return [value(run[key]) for run in self.runs if key in run]

    def mean(self, key: str) -> float:
        """Mean of a score over the seeds; NaN where the model does not have it."""
        found = self.values(key)
        return statistics.mean(found) if found else math.nan

    def command(self) -> str:
        """What trains the model of the first run; empty for what is not trained."""
        first = self.runs[0]
        return command(self.entry, first["steps"], first["seed"]) if "steps" in first else ""


def value(score: Any) -> float:
    """A score without its interval."""
    return float(score[0] if isinstance(score, list) else score)


def rows(folder: Path = FOLDER) -> list[Row]:
    """All rows that are made, what is not trained first."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for run in stored("scoreboard", folder=folder):
        groups.setdefault((run["entry"], run["budget"]), []).append(run)
    return [Row(entry, budget, runs) for (entry, budget), runs in groups.items()]


def expected(row: Row, key: str = "fcd", *, level: float = 0.999) -> metrics.Interval:
    """Where a new run of a row must lie: `interval` with the rows that are trained, or with those that are not.

    Raises:
        ValueError: none of them has two runs.
    """
    alike = [r for r in rows() if (r.entry in ENTRIES) == (row.entry in ENTRIES)]
    return interval(row, alike, key, level=level)


def interval(row: Row, alike: list[Row], key: str, *, level: float) -> metrics.Interval:
    """Prediction interval for a positive score of one new run of a row, from its runs and the scatter of rows alike.

    The variance of logarithms over seeds is pooled, since three seeds of one row leave it open.

    Raises:
        ValueError: no row has two runs with this score.
    """
    from scipy import stats

    logs = [[math.log(v) for v in r.values(key)] for r in alike if len(r.values(key)) > 1]
    if not logs:
        raise ValueError(f"no row has two runs with {key}; make some: genlab scoreboard")
    freedom = sum(len(v) - 1 for v in logs)
    variance = sum((len(v) - 1) * statistics.variance(v) for v in logs) / freedom
    own = [math.log(v) for v in row.values(key)]
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * math.sqrt(variance * (1 + 1 / len(own)))
    return metrics.Interval(math.exp(statistics.mean(own) - half), math.exp(statistics.mean(own) + half))


def fill(*, budget: str | None, entry: str | None, processes: int, folder: str | None, show: bool) -> str:
    """Make what is missing, or what of it is asked for, and return the table: `genlab scoreboard`.

    Raises:
        ValueError: an unknown entry, no processes, or no such folder.
    """
    place = Path(folder) if folder else FOLDER
    known = list(dict.fromkeys(run["entry"] for run in STUDY.runs))
    if entry is not None and entry not in known:
        raise ValueError(f"entry must be one of {'; '.join(known)}; but is {entry!r}")
    if processes < 1 or not place.is_dir():
        raise ValueError(f"processes={processes} must be at least 1, and {str(place)!r} a folder that exists")
    flops = None if budget is None else BUDGETS.get(int(budget), 0)

    def wanted(run: dict[str, Any]) -> bool:
        return entry in (None, run["entry"]) and flops in (None, run["budget"])

    if not show:
        make("scoreboard", processes=processes, folder=place, say=notice, only=wanted)
    return text(place)


def text(folder: Path = FOLDER) -> str:
    """The rows in a table of fixed width, best Fréchet distance first within each budget."""
    shown = ("fcd", "precision", "recall", "coverage", "told", "c_t", "iwae", "labels")
    head = f"{'':32}{'seconds':>8}{'seeds':>6}" + "".join(f"{COLUMNS[key].name:>10}" for key in shown)
    lines = [head]
    for row in sorted(rows(folder), key=lambda r: (r.seconds, r.mean("fcd"))):
        cells = "".join(f"{format_mean(row, key):>10}" for key in shown)
        lines.append(f"{row.entry:32}{row.seconds or '':>8}{len(row.runs):>6}{cells}")
    return "\n".join(lines)


def format_mean(row: Row, key: str) -> str:
    """The mean in the column's digits, or nothing."""
    mean = row.mean(key)
    return "" if math.isnan(mean) else f"{mean:.{COLUMNS[key].digits}f}"
