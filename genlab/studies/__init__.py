"""Studies: tables of many training runs, too long for a notebook, made by `python -m genlab.studies NAME`.

A study is a list of runs, each a dict of settings with its seed, and a function from settings to results. The command
makes all runs and keeps them in NAME.json beside this file, from which the chapters draw their tables and figures. It
may be stopped and called again: runs that are in the file already, with the same settings, are not repeated. Each run
uses one thread, so its numbers do not depend on what else the machine does.
"""

import importlib
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch

FOLDER = Path(__file__).parent
NAMES = ("stabilising", "failures", "choices", "minutes", "overfitting", "targets")
GROWING = ("scoreboard",)  # not whole: who has time adds runs
Given = dict[str, Any]
Results = dict[str, Any]


class Study(NamedTuple):
    """What a module of this package defines as `STUDY`.

    Attributes:
        runs: the settings of each run; JSON values only, and different from run to run.
        run: makes one run: settings -> results, JSON values only. It seeds everything from the settings.
    """

    runs: list[Given]
    run: Callable[[Given], Results]


class Summary(NamedTuple):
    """Mean and standard deviation over n runs; the deviation of one run is NaN."""

    mean: float
    sd: float
    n: int


def study(name: str) -> Study:
    """A study by its name.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in NAMES + GROWING:
        raise ValueError(f"unknown study {name!r}; known are {', '.join(NAMES + GROWING)}")
    return importlib.import_module(f"genlab.studies.{name}").STUDY


def stored(name: str, *, folder: Path = FOLDER) -> list[dict[str, Any]]:
    """The stored runs of a study in the order of its list, each one dict of its settings and its results.

    Of a growing study those that are there.

    Raises:
        ValueError: the study is unknown, or runs are missing or were made with other settings.
    """
    stored = _read(folder / f"{name}.json")
    wanted = [_key(settings) for settings in study(name).runs]
    if name in GROWING:
        wanted = [key for key in wanted if key in stored]
    if missing := [key for key in wanted if key not in stored]:
        raise ValueError(
            f"{len(missing)} of the {len(wanted)} runs of {name} are not stored, the first is {missing[0]}; "
            f"make them with python -m genlab.studies {name}"
        )
    return [stored[key]["settings"] | stored[key]["results"] for key in wanted]


def summary(runs: Sequence[dict[str, Any]], by: str, value: str) -> dict[Any, Summary]:
    """Mean and standard deviation of a value over the runs that share a setting, in the order of the runs."""
    groups: dict[Any, list[float]] = {}
    for run in runs:
        groups.setdefault(run[by], []).append(float(run[value]))
    return {
        group: Summary(statistics.mean(v), statistics.stdev(v) if len(v) > 1 else float("nan"), len(v))
        for group, v in groups.items()
    }


def make(
    name: str,
    *,
    processes: int = 1,
    folder: Path = FOLDER,
    say: Callable[[str], None] = print,
    only: Callable[[Given], bool] = lambda settings: True,
) -> None:
    """Make the runs of a study that are not stored yet; the file is written anew after each of them.

    Args:
        name: of the study.
        processes: that run at the same time.
        folder: of the file.
        say: called with a line for each run.
        only: which of the missing runs to make.
    """
    path, runs = folder / f"{name}.json", study(name).runs
    wanted = {_key(settings): settings for settings in runs}
    stored = {key: entry for key, entry in _read(path).items() if key in wanted}
    left = [settings for key, settings in wanted.items() if key not in stored and only(settings)]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_alone) as pool:
        futures = [pool.submit(_timed, name, settings) for settings in left]
        for i, future in enumerate(as_completed(futures), 1):
            entry = future.result()
            stored[_key(entry["settings"])] = entry
            _write(path, name, [stored[key] for key in wanted if key in stored])
            say(f"{i} of {len(left)}: {_key(entry['settings'])} in {entry['seconds']:.0f} s")
    _write(path, name, [stored[key] for key in wanted if key in stored])


def _alone() -> None:
    """What a worker is: one thread, and no progress bar."""
    torch.set_num_threads(1)
    os.environ["GENLAB_LIVE"] = "0"


def _timed(name: str, settings: Given) -> dict[str, Any]:
    start = time.perf_counter()
    results = study(name).run(settings)
    return {"settings": settings, "results": results, "seconds": round(time.perf_counter() - start, 1)}


def _key(settings: Given) -> str:
    return ", ".join(f"{k}={json.dumps(v)}" for k, v in settings.items())


def _read(path: Path) -> dict[str, dict[str, Any]]:
    if not path.exists():
        return {}
    return {_key(entry["settings"]): entry for entry in json.loads(path.read_text(encoding="utf-8"))["runs"]}


def _write(path: Path, name: str, entries: list[dict[str, Any]]) -> None:
    head = {"command": f"python -m genlab.studies {name}", "torch": torch.__version__.split("+")[0]}
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
    partial = path.with_suffix(".partial")
    partial.write_text(f'{json.dumps(head)[:-1]}, "runs": [\n{lines}\n]}}\n', encoding="utf-8")
    os.replace(partial, path)
