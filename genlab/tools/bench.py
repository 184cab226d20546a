"""Speed against the plain way: `python -m genlab.tools.bench [data] [vae] [gan] [dcgan] [frechet] [fidelity] [busy]`.

`make bench` measures all. Both ways of an item do the same work, turn by turn in one run. A ratio is the median of the
rounds' ratios; on a machine that others use too, nothing else can be compared. The last item, busy, compares the
package's training with itself: by OpenMP's defaults, beside a process that uses all cores, and two at once.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from genlab import machine, train
from genlab.text import say
from genlab.tools import busy
from genlab.tools.plain import Way, write_mnist
from genlab.tools.work import ITEMS, Item, Lean

ROUNDS = 5
NAMES = (*ITEMS, "busy")


class Row(NamedTuple):
    """What was measured of a lean way: steps per second, their ratio, and bytes that a training step takes."""

    item: Item
    lean: Lean
    plain_rate: float
    lean_rate: float
    ratio: float
    plain_memory: int | None
    lean_memory: int | None


def measure(item: Item, *, rounds: int = ROUNDS, steps: int | None = None) -> list[Row]:
    """Run all ways of an item in turn, `rounds` times; a row for each lean way, with medians over the rounds."""
    steps = steps or item.steps
    ways = [item.plain, *(lean.run for lean in item.lean)]
    for way in ways:
        way(min(2, steps))  # the first steps allocate and choose algorithms
    times = [[_seconds(way, steps) for way in ways] for _ in range(rounds)]
    memory = [peak_memory(way, item.networks) if item.networks else None for way in ways]
    plain = [row[0] for row in times]
    rows = []
    for i, lean in enumerate(item.lean, 1):
        own = [row[i] for row in times]
        ratio = statistics.median(a / b for a, b in zip(plain, own, strict=True))
        plain_rate, lean_rate = (steps / statistics.median(t) for t in (plain, own))
        rows.append(Row(item, lean, plain_rate, lean_rate, ratio, memory[0], memory[i]))
    return rows


def _seconds(way: Way, steps: int) -> float:
    start = time.perf_counter()
    way(steps)
    return time.perf_counter() - start


def peak_memory(way: Way, networks: Sequence[nn.Module] = ()) -> int:
    """The most bytes that a step holds at one time beyond weights and optimiser: gradients, activations, the batch."""
    for network in networks:
        network.zero_grad()  # the step before left gradients
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        way(1)
    held = peak = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


TABLE = "{:34} {:4} {:>18} {:>18} {:>7} {:>7}  {:10} {:>22}"
HEAD = TABLE.format("work", "", "plain", "lean", "ratio", "target", "verdict", "memory of a step")
BUSY_HEAD = TABLE.format("work", "", "first", "second", "ratio", "target", "verdict", "").rstrip()


def verdict(ratio: float, target: float | None, *, judged: bool = True) -> str:
    """One word or two on a ratio; nothing where nothing is asked."""
    if target is None:
        return ""
    if not judged:
        return "not judged"
    return "reached" if ratio >= target else "MISSED"


def line(row: Row) -> str:
    """A row of the table. bf16 is not judged on a processor that computes it in software."""
    shown = [
        f"{rate * row.item.images:,.0f} images/s" if row.item.images else f"{1000 / rate:,.1f} ms"
        for rate in (row.plain_rate, row.lean_rate)
    ]
    target = row.lean.target
    judged = row.lean.name != "bf16" or machine.fast_bf16("cpu")
    memory = [f"{m / 1e6:,.1f} MB" for m in (row.plain_memory, row.lean_memory) if m is not None]
    asked = "" if target is None else f"{target:g}x"
    return TABLE.format(
        row.item.name,
        row.lean.name,
        *shown,
        f"{row.ratio:.2f}x",
        asked,
        verdict(row.ratio, target, judged=judged),
        ", ".join(memory),
    ).rstrip()


def busy_line(row: busy.Row) -> str:
    """A row of the table of trainings on a machine that is idle or not."""
    shown = [f"{rate:,.0f} images/s" for rate in (row.first, row.second)]
    given = (f"{row.ratio:.2f}x", f"{row.target:.2f}x", verdict(row.ratio, row.target))
    return TABLE.format(row.name, "fp32", *shown, *given, "").rstrip()


def main(arguments: list[str]) -> int:
    """Measure the items that are named, or all, and print a table; 2 for an unknown name."""
    if unknown := [name for name in arguments if name not in NAMES]:
        say(f"genlab.tools.bench: unknown item {unknown[0]!r}; known are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler would report that there is no GPU
    train.seed_everything(0)
    threads = (
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, OpenMP waits: {machine.waiting(os.environ)}"
    )
    say(f"{threads}; medians of {ROUNDS} paired rounds")
    chosen = arguments or NAMES
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_mnist(root)
        if any(name in ITEMS for name in chosen):
            say(HEAD)
        for name in [name for name in chosen if name in ITEMS]:
            for item in ITEMS[name](root):
                for row in measure(item):
                    say(line(row))
                    sys.stdout.flush()
        if "busy" in chosen:
            say(BUSY_HEAD)
            for found in busy.measure(root, rounds=ROUNDS):
                say(busy_line(found))
                sys.stdout.flush()
    if not machine.fast_bf16("cpu"):
        say("this processor has no bfloat16 instructions: bf16 is computed in software, and not judged")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
