"""OpenMP's waiting: set where nobody chose, before torch is there, in every way to start; and who has bfloat16."""

import json
import os
import platform
import re
import subprocess
import sys
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
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="GNU's OpenMP is Linux's")
def test_the_openmp_that_torch_loads_reads_the_setting() -> None:
    """libgomp prints its settings when it is loaded: once, and it is torch's own."""
    code = (
        "import os; from genlab.machine import spin_little; spin_little(os.environ); import torch; "
        "print([line.split()[-1] for line in open('/proc/self/maps') if 'libgomp' in line][0])"
    )
    environ = {k: v for k, v in os.environ.items() if k not in machine.WAITING} | {"OMP_DISPLAY_ENV": "verbose"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
    assert Path(done.stdout.strip()).parent.name in ("lib", "torch.libs")
    assert f"GOMP_SPINCOUNT = '{machine.SPINS}'" in done.stderr


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
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
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
