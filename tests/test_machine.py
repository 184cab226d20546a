"""OpenMP's waiting: set where nobody chose, before torch is there, in every way to start; and who has bfloat16."""

import json
import os
import platform
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
import yaml

from genlab import machine

ROOT = Path(__file__).parents[1]


def test_a_spin_count_is_set_where_the_user_chose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    environ = {"PATH": "/bin"}
    machine.spin_little(environ)
    assert environ == {"PATH": "/bin", "GOMP_SPINCOUNT": machine.SPINS}
    machine.spin_little(environ)
    assert environ["GOMP_SPINCOUNT"] == machine.SPINS


@pytest.mark.parametrize("name", machine.WAITING)
def test_what_the_user_chose_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    environ = {name: "7"}
    machine.spin_little(environ)
    assert environ == {name: "7"} and machine.waiting(environ) == f"{name}=7"


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_other_runtimes_are_left_alone(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", system)
    environ: dict[str, str] = {}
    machine.spin_little(environ)
    assert environ == {} and "default" in machine.waiting(environ)


def test_where_threads_spin_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert f"GOMP_SPINCOUNT={machine.SPINS}" in machine.waiting({})


def test_to_set_it_imports_no_torch() -> None:
    """It must come before torch, which loads OpenMP."""
    code = (
        "import os, sys; from genlab.machine import spin_little; spin_little(os.environ); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, encoding="utf-8")
    assert done.stdout.strip() == "False"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="GNU's OpenMP is Linux's")
def test_the_openmp_that_torch_loads_reads_the_setting() -> None:
    """libgomp prints its settings when it is loaded: once, and it is torch's own."""
    code = (
        "import os; from genlab.machine import spin_little; spin_little(os.environ); import torch; "
        "print([line.split()[-1] for line in open('/proc/self/maps') if 'libgomp' in line][0])"
    )
    environ = {k: v for k, v in os.environ.items() if k not in machine.WAITING} | {"OMP_DISPLAY_ENV": "verbose"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ, encoding="utf-8"
    )
    assert Path(done.stdout.strip()).parent.name in ("lib", "torch.libs")
    assert f"GOMP_SPINCOUNT = '{machine.SPINS}'" in done.stderr


LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="GNU's OpenMP is Linux's")


def alone(code: str, **environ: str) -> list[str]:
    """What a new process prints, line by line, with two threads."""
    given = {k: v for k, v in os.environ.items() if k not in machine.WAITING} | {"OMP_NUM_THREADS": "2"} | environ
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, env=given, encoding="utf-8"
    ).stdout.splitlines()


TEAMS = """
import os, time, torch
from pathlib import Path
from genlab.machine import Teams

def tasks():
    return len(os.listdir("/proc/self/task"))

def sleeps():
    found = 0
    for status in Path("/proc/self/task").glob("*/status"):
        if status.parent.name in own:
            found += int(status.read_text().split("\\nvoluntary_ctxt_switches:")[1].split()[0])
    return found

def slept():
    before = sleeps()
    for _ in range(200):
        x.add_(1)
        end = time.perf_counter() + 2e-4  # in which a thread waits for work
        while time.perf_counter() < end:
            pass
    return sleeps() - before

x = torch.zeros(2**20).add_(1)
own, teams = set(os.listdir("/proc/self/task")) - {str(os.getpid())}, Teams()
first, spinning = tasks(), slept()
teams.form()
time.sleep(1)
formed, asleep = tasks(), slept()
teams.disband()
time.sleep(1)
print(first, formed, tasks(), spinning, asleep, slept())
"""


@LINUX
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core is always shared")
def test_while_idle_teams_are_there_waiting_threads_sleep() -> None:
    """Without them they spin: the count is so large that they never stop."""
    ((line),) = alone(TEAMS, GOMP_SPINCOUNT="1000000000")
    first, formed, last, spinning, asleep, again = map(int, line.split())
    assert formed >= first + 2 and last == first, "a team has two threads, and takes them with it"
    assert spinning < 20 and again < 20 and asleep > 150


def test_a_crowd_is_noticed_at_the_second_wait_in_a_row_and_its_end_after_a_calm_while() -> None:
    crowd, wait = machine.Crowd(), machine.CROWDED + 0.01
    assert not any(map(crowd.look, [0.0, machine.CROWDED, machine.CROWDED])), "a wait up to the bound is none"
    assert not any(map(crowd.look, [wait, 0.0, wait, 0.0])), "an idle machine has single ones"
    assert not crowd.look(wait) and crowd.look(wait)
    assert [crowd.look(0.0) for _ in range(machine.CALM)] == [True] * (machine.CALM - 1) + [False]
    assert not crowd.look(1.0) and all(map(crowd.look, [1.0, 0.0, 0.0, wait])), "while there is one, each wait counts"
    assert sum(crowd.look(0.0) for _ in range(2 * machine.CALM)) == machine.CALM - 1


def test_teams_are_there_while_others_want_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """This program waits for a fifth of the time, then no more; the clock is made up."""
    said: list[str] = []
    clock, waits = (
        iter(range(0, 10**12, 10**8)),
        iter([0, 0, *range(2 * 10**7, 12 * 10**7, 2 * 10**7), *[12 * 10**7] * 50]),
    )

    class Formed(machine.Teams):
        def form(self) -> None:
            said.append("form")
            self.ends.append(threading.Event())

        def disband(self) -> None:
            said.append("disband")
            self.ends.clear()

    class End(Exception): ...

    def sleep(seconds: float) -> None:
        said.append("look")
        if len(said) > 40:
            raise End

    monkeypatch.setattr(machine, "Teams", Formed)
    monkeypatch.setattr(machine, "_waited", lambda: next(waits))
    monkeypatch.setattr(machine.time, "monotonic_ns", lambda: next(clock))
    monkeypatch.setattr(machine.time, "sleep", sleep)
    with pytest.raises(End):
        machine._watch()
    assert [word for word in said if word != "look"] == ["form", "disband"]
    assert said.index("form") == 3 and said.index("disband") == 2 + 6 + machine.CALM


WATCH = """
import threading, torch
from genlab.machine import share_cores
torch.set_num_threads({threads})
share_cores()
share_cores()
print(sum(thread.name == "genlab-share-cores" for thread in threading.enumerate()))
"""


@LINUX
@pytest.mark.parametrize(
    ("threads", "environ", "watchers"),
    [
        (2, {}, "1"),
        (2, {"GOMP_SPINCOUNT": machine.SPINS}, "1"),
        (1, {}, "0"),
        (2, {"OMP_WAIT_POLICY": "passive"}, "0"),
        (2, {"KMP_BLOCKTIME": "0"}, "0"),
    ],
)
def test_one_thread_watches_where_there_is_something_to_share(
    threads: int, environ: dict[str, str], watchers: str
) -> None:
    assert alone(WATCH.format(threads=threads), **environ) == [watchers]


def test_every_way_to_start_uses_the_same_count() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = re.findall(r"GOMP_SPINCOUNT(?: \?=)? (\d+)", makefile)
    assert named == [machine.SPINS] * 2, "targets, and the kernel that JupyterLab starts"
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["variables"] == {"GOMP_SPINCOUNT": machine.SPINS}


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ({}, machine.SPINS),
        ({"GOMP_SPINCOUNT": "5"}, "5"),
        ({"OMP_WAIT_POLICY": "active"}, "none"),
        ({"KMP_BLOCKTIME": "0"}, "none"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="make is not there")
def test_make_passes_it_on_unless_the_user_chose(given: dict[str, str], seen: str, tmp_path: Path) -> None:
    """A target of this Makefile is replaced by one that prints what commands get."""
    shown = tmp_path / "show.mk"
    shown.write_text(f"include {ROOT}/Makefile\nshow:\n\t@echo $${{GOMP_SPINCOUNT:-none}}\n", encoding="utf-8")
    environ = {k: v for k, v in os.environ.items() if k not in machine.WAITING and not k.startswith("MAKE")} | given
    command = ["make", "-s", "-C", str(ROOT), "-o", ".venv/.installed", "-f", str(shown), "show"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ, encoding="utf-8")
    assert done.stdout.strip() == seen


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="GNU's OpenMP is Linux's")
def test_the_line_that_make_runs_gives_the_kernel_the_count(tmp_path: Path) -> None:
    (line,) = re.findall(r"-m (ipykernel install .*) >/dev/null", (ROOT / "Makefile").read_text(encoding="utf-8"))
    arguments = line.replace("--sys-prefix", f"--prefix {tmp_path}").split()
    subprocess.run([sys.executable, "-m", *arguments], capture_output=True, check=True)
    (spec,) = tmp_path.rglob("kernel.json")
    assert spec.parent.name == "python3"
    assert json.loads(spec.read_text(encoding="utf-8"))["env"] == {"GOMP_SPINCOUNT": machine.SPINS}


@pytest.mark.parametrize("able", [True, False])
def test_bfloat16_on_processors(able: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "AMD64")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: able)
    assert machine.fast_bf16("cpu") is able and machine.fast_bf16(torch.device("cpu")) is able


@pytest.mark.parametrize("able", [True, False])
def test_bfloat16_on_arm(able: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: not able)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: able)
    assert machine.fast_bf16("cpu") is able


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="only Linux lists what a processor can")
def test_what_torch_says_is_what_the_system_says() -> None:
    flags = set(re.split(r"\s", Path("/proc/cpuinfo").read_text(encoding="utf-8")))
    assert machine.fast_bf16("cpu") == bool(flags & {"avx512_bf16", "bf16"})


@pytest.mark.parametrize(("capability", "able"), [((7, 5), False), ((8, 0), True), ((9, 0), True), ((10, 0), True)])
def test_bfloat16_on_gpus(capability: tuple[int, int], able: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert machine.fast_bf16("cuda:1") is able and machine.fast_bf16("mps")
