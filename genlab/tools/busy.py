"""How training fares on a machine that does something else as well: `python -m genlab.tools.bench busy`.

Two processes train, as two notebooks would: one alone, one beside a process that keeps all cores at work, both at once.
Only processes can tell, since OpenMP reads how to wait when it is loaded; they get what the package's commands and
kernels get. A pipe starts each, and ends it when this process ends, however that happens. The ratios mean what they say
on a machine that nobody else uses meanwhile.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import pbkdf2_hmac
from pathlib import Path
from threading import Thread
from typing import NamedTuple

from genlab import machine

WORK = ("vae", "gan")
BESIDE, AT_ONCE = 1 / 3, 1 / 2.5  # parts of the speed alone that must be left


class Row(NamedTuple):
    """What was measured: images per second alone and otherwise, the median of their paired ratios, and its target."""

    name: str
    alone: float
    beside: float
    ratio: float
    target: float


def measure(root: Path, *, rounds: int, seconds: float = 1.5, names: tuple[str, ...] = WORK) -> Iterator[Row]:
    """Train alone, beside a busy process and two at once, in turn; two rows for each work.

    Args:
        root: MNIST's folder, as `write_mnist` makes it.
        rounds: how often.
        seconds: that a measurement takes.
        names: of the work, among `genlab.tools.work.ITEMS`.
    """
    for name in names:
        alone, beside, at_once = [], [], []
        with _child("train", name, str(root)) as one, _child("train", name, str(root)) as other:
            for child in (one, other):
                _answer(child)  # it is ready
            for _ in range(rounds):
                alone += _rates([one], seconds)
                with _child("burn") as busy:
                    _answer(busy)
                    beside += _rates([one], seconds)
                at_once.append(statistics.fmean(_rates([one, other], seconds)))
        for text, rates, target in (("beside a busy process", beside, BESIDE), ("two at once", at_once, AT_ONCE)):
            ratio = statistics.median(b / a for a, b in zip(alone, rates, strict=True))
            medians = statistics.median(alone), statistics.median(rates)
            yield Row(f"{name.upper()}, {text}", *medians, ratio, target)


@contextmanager
def _child(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    environ = dict(os.environ)
    machine.spin_little(environ)
    command = [sys.executable, "-m", "genlab.tools.busy", *arguments]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=environ,
        start_new_session=True,  # as kernels have: schedulers may share the cores out by session
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def _rates(children: "list[subprocess.Popen[str]]", seconds: float) -> list[float]:
    """Images per second of each, all in the same seconds."""
    for child in children:
        assert child.stdin
        child.stdin.write(f"{seconds}\n")
        child.stdin.flush()
    return [float(_answer(child)) for child in children]


def _answer(child: "subprocess.Popen[str]") -> str:
    assert child.stdout
    if not (answer := child.stdout.readline().strip()):
        raise RuntimeError(f"process {child.pid} of the bench ended early; its error stands above")
    return answer


def train(name: str, root: Path) -> None:
    """For each number of seconds on standard input, train so long and print the images per second."""
    from genlab.tools.work import ITEMS  # torch comes with it, and a process that burns needs none

    item = ITEMS[name](root)[0]
    way = item.lean[0].run
    way(20)  # the first steps allocate and choose algorithms
    print("ready", flush=True)
    for line in sys.stdin:
        start, steps = time.perf_counter(), 0
        while (passed := time.perf_counter() - start) < float(line) or not steps:
            way(5)
            steps += 5
        print(steps * (item.images or 1) / passed, flush=True)


def burn() -> None:
    """Keep all cores at work until standard input ends."""
    for _ in range(os.cpu_count() or 1):
        Thread(target=pbkdf2_hmac, args=("sha256", b"", b"", 2**31 - 1), daemon=True).start()  # without the GIL
    print("ready", flush=True)
    sys.stdin.read()
    os._exit(0)  # the threads would take minutes more


if __name__ == "__main__":
    if sys.argv[1] == "burn":
        burn()
    else:
        train(sys.argv[2], Path(sys.argv[3]))
