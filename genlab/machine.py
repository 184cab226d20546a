"""What the machine does well: how OpenMP's threads wait for each other, and whether it computes in bfloat16.

Importing this costs nothing: torch comes when it is asked about bfloat16, and not before OpenMP was told how to wait.

By default GNU's OpenMP, torch's on Linux, lets threads that wait for each other spin for milliseconds. Alone on the
machine that is fastest: a step of a small network waits often and briefly, and to be woken can take longer. Beside
other programs a spinning thread holds the core on which the thread that it waits for should run, and training slows
many times over. One setting for both does not exist, so there are two: `spin_little` bounds what spinning can cost, and
`share_cores` sends waiting threads to sleep while other programs want the cores. The runtimes that torch has on Windows
and macOS yield a core that somebody wants: there nothing is done, nor where the user has chosen.
"""

import os
import platform
import sys
import threading
import time
from collections.abc import Mapping, MutableMapping
from functools import cache
from pathlib import Path

# GNU's OpenMP (torch's on Linux) reads the first two; LLVM's (macOS) and Intel's (Windows) read the last two.
WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME")
SPINS = "30000"

LOOK = 0.1  # seconds between two looks at how long this program waited for a core
CROWDED = 0.15  # part of the time waited, from which others may want the cores: half of it beside a busy program
SURE = 2  # such looks in a row, after which they do: on an idle machine one in a hundred is
CALM = 10  # looks below that, after which they want them no more


def spin_little(environ: MutableMapping[str, str]) -> None:
    """Let OpenMP's threads spin for a millisecond at most, a part of their turn on a core, and then sleep.

    Args:
        environ: `os.environ`, before torch is imported for the first time, or what a child process is to get.
    """
    if sys.platform.startswith("linux") and not any(name in environ for name in WAITING):
        environ["GOMP_SPINCOUNT"] = SPINS


def waiting(environ: Mapping[str, str]) -> str:
    """How OpenMP's threads wait in a process with this environment, in words."""
    if chosen := [f"{name}={environ[name]}" for name in WAITING if name in environ]:
        return ", ".join(chosen)
    if sys.platform.startswith("linux"):
        return f"spinning, which is slow beside other programs; set GOMP_SPINCOUNT={SPINS} before Python starts"
    return "as its runtime does by default"


class Crowd:
    """Whether other programs want the cores: from two waits of this one in a row, until it was calm for a while."""

    def __init__(self) -> None:
        self.waits = 0
        self.calm = CALM

    def look(self, waited: float) -> bool:
        """What to think after another look, in which this program waited for a core for this part of the time."""
        self.waits = self.waits + 1 if waited > CROWDED else 0
        if self.waits >= SURE or (self.waits and self.calm < CALM):
            self.calm = 0
        else:
            self.calm += 1
        return self.calm < CALM


class Teams:
    """Idle teams of OpenMP threads: with more threads than cores, GNU's OpenMP lets all that wait sleep almost at once.

    That is how libgomp's manual documents GOMP_SPINCOUNT, and it holds from one parallel region to the next. Each team
    belongs to a thread of its own and ends with it. Results do not change: every computation keeps its threads.
    """

    def __init__(self) -> None:
        self.ends: list[threading.Event] = []

    def form(self) -> None:
        """Form as many as it takes."""
        import torch

        threads, cores = torch.get_num_threads(), len(os.sched_getaffinity(0))
        if threads == 1:
            return
        for _ in range(max(0, cores - threads) // (threads - 1) + 1):
            self.ends.append(threading.Event())
            threading.Thread(target=self._serve, args=(self.ends[-1],), daemon=True).start()

    @staticmethod
    def _serve(end: threading.Event) -> None:
        import torch

        torch.zeros(2**20).add_(1)  # large enough for all threads
        end.wait()

    def disband(self) -> None:
        """End them."""
        while self.ends:
            self.ends.pop().set()


@cache
def share_cores() -> None:
    """From now on, once a process, watch whether other programs want the cores, and let waiting threads sleep if so.

    Nothing is done with one thread, where the system does not say how long a program waited, or where the user chose
    OMP_WAIT_POLICY or KMP_BLOCKTIME.
    """
    import torch

    chosen = any(name in os.environ for name in WAITING[1:])
    if sys.platform.startswith("linux") and _SCHEDULE.exists() and torch.get_num_threads() > 1 and not chosen:
        threading.Thread(target=_watch, name="genlab-share-cores", daemon=True).start()


_SCHEDULE = Path("/proc/self/schedstat")  # of the main thread: nanoseconds run, waited for a core; time slices


def _waited() -> int:
    return int(_SCHEDULE.read_text(encoding="ascii").split()[1])


def _watch() -> None:
    crowd, teams = Crowd(), Teams()
    before, then = _waited(), time.monotonic_ns()
    while True:
        time.sleep(LOOK)
        waited, now = _waited(), time.monotonic_ns()
        crowded = crowd.look((waited - before) / (now - then))
        before, then = waited, now
        if crowded and not teams.ends:
            teams.form()
        elif not crowded and teams.ends:
            teams.disband()


def fast_bf16(device: object) -> bool:
    """Whether the device has instructions for bfloat16; without them bf16 is computed in software, ten times slower.

    A CUDA GPU has them from compute capability 8.0 on, an x86 processor with AVX512-BF16 or AMX. Of other kinds of
    devices than CUDA and the processor nothing bad is known, and the answer is True.

    Args:
        device: a torch.device or its name.
    """
    import torch

    found = torch.device(str(device))
    if found.type == "cuda":
        return torch.cuda.get_device_capability(found)[0] >= 8
    if found.type != "cpu":
        return True
    if platform.machine().lower() in ("arm64", "aarch64"):
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported())  # processors with AMX have it as well
