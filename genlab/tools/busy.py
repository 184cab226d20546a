"""How training fares on a machine that does something else as well: `python -m genlab.tools.bench busy`.

Two processes train, as two notebooks would: one alone, one beside a process that keeps all cores at work, both at once.
Only processes can tell, since OpenMP reads how to wait when it is loaded; they get what the package's commands and
kernels get. A third gets nothing, and shows what that costs on an idle machine. A pipe starts each, and ends it when
this process ends, however that happens. The ratios mean what they say on a machine that nobody else uses meanwhile.
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
AS_SET = 0.97  # part of the speed of OpenMP's defaults that must be left on an idle machine
PAIRS = 4  # measurements of that a round: it is a small difference
BESIDE, AT_ONCE = 1 / 3, 1 / 2.5  # parts of the speed alone that must be left


class Row(NamedTuple):
    """What was measured: images per second in two ways, the median of their paired ratios, and its target."""

    name: str
    first: float
    second: float
    ratio: float
    target: float


def measure(root: Path, *, rounds: int, seconds: float = 1.5, names: tuple[str, ...] = WORK) -> Iterator[Row]:
    """Train by OpenMP's defaults, as set, beside a busy process and two at once, in turn; three rows for each work.

    Args:
        root: MNIST's folder, as `write_mnist` makes it.
        rounds: how often.
        seconds: that a measurement takes.
        names: of the work, among `genlab.tools.work.ITEMS`.
    """
    for name in names:
        default, as_set, alone, beside, at_once = [], [], [], [], []
        work = ("train", name, str(root))
        with _child(*work) as one, _child(*work) as other, _child(*work, default=True) as unset:
            for child in (one, other, unset):
                _answer(child)  # it is ready
            for _ in range(rounds):
                for _ in range(PAIRS):
                    default += _rates([unset], seconds)
                    as_set += _rates([one], seconds)
                alone += _rates([one], seconds)
                with _child("burn") as busy:
                    _answer(busy)
                    beside += _rates([one], seconds)
                at_once.append(statistics.fmean(_rates([one, other], seconds)))
        yield _row(f"{name.upper()}: default, as set", default, as_set, AS_SET)
        yield _row(f"{name.upper()}: alone, beside a busy process", alone, beside, BESIDE)
        yield _row(f"{name.upper()}: alone, two at once", alone, at_once, AT_ONCE)


def _row(name: str, first: list[float], second: list[float], target: float) -> Row:
    ratio = statistics.median(b / a for a, b in zip(first, second, strict=True))
    return Row(name, statistics.median(first), statistics.median(second), ratio, target)


@contextmanager
def _child(*arguments: str, default: bool = False) -> Iterator["subprocess.Popen[str]"]:
    environ = {name: value for name, value in os.environ.items() if name not in machine.WAITING}
    if default:
        environ["KMP_BLOCKTIME"] = "200"  # LLVM's default; GNU's OpenMP does not read it, and the package keeps out
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
