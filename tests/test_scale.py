"""Two processes equal one; the commands and the sharded data of notebooks/pages/scaling.md, run as they stand there."""

import json
import re
import runpy
import shlex
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.commands.launch import launch_command_parser
from safetensors.torch import load_file
from torch import Tensor

from genlab import __main__ as command_line
from genlab import checkpoint, data, runs
from genlab.runs import base
from tests import processes

HERE = Path(__file__).parent
TEXT = (HERE.parent / "notebooks/pages/scaling.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(block.replace("\\\n", " ")) for block in re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)]
PROGRAMS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def free_port() -> str:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return str(server.getsockname()[1])


def launcher(command: list[str], program: list[Any], **change: str) -> list[str]:
    """The launcher of a documented command for another program, with other values for some of its options."""
    options = command[2 : command.index("-m")]
    for name, value in change.items():
        if f"--{name}" not in options:
            options += [f"--{name}", ""]
        options[options.index(f"--{name}") + 1] = value
    return [sys.executable, "-m", "accelerate.commands.launch", *options, *map(str, program)]


def run(*commands: list[str], seconds: float = 240) -> list[str]:
    """What commands print that run at the same time."""
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8")
            )
            for c in commands
        ]
        for process in started:
            stack.callback(process.kill)
        said = [process.communicate(timeout=seconds) for process in started]
    for process, (_, error) in zip(started, said, strict=True):
        assert process.returncode == 0, error
    return [out for out, _ in said]


def weights(folder: Path, step: int) -> dict[str, Tensor]:
    """What a checkpoint holds, by part, but for the generators of its processes."""
    tensors = load_file(folder / f"checkpoints/step-{step:08d}.safetensors")
    return {key.removeprefix("parts/"): value for key, value in tensors.items() if key.startswith("parts/")}


def test_two_processes_equal_one_and_stop_together(tmp_path: Path) -> None:
    """Twenty steps of each of `processes.RUNS`: weights, averages and optimisers; of two more loops the weights.

    Among them are clipping and accumulation, free bits, gradient penalties, augmentation and noise of what D sees, both
    moves of a GAN at once, and codes that are restarted.
    """
    command = next(c for c in COMMANDS if "--multi_gpu" in c)
    program = [HERE / "processes.py", tmp_path / "two"]
    (said,) = run(launcher(command, program, num_processes="2", main_process_port=free_port()))
    lines = sorted(line for line in said.splitlines() if line.startswith("process"))
    assert [line for line in lines if "after" not in line] == [
        "process 0 of 2 by gloo",
        "process 0: the loss of P is nan at step 3",
        "process 1 of 2 by gloo",
        "process 1: the loss of P is nan at step 3",
    ]
    _check_generators(tmp_path / "two", dict(line.split(": ") for line in lines if "after" in line))
    processes.main(tmp_path / "one")
    for name in processes.RUNS:
        _check_run(*(tmp_path / number / name for number in ("one", "two")))
    for name in ("at_once", "exact", "restarts"):
        one, both = (load_file(tmp_path / number / f"{name}.safetensors") for number in ("one", "two"))
        assert one.keys() == both.keys()
        for key, value in one.items():
            assert value.dtype == torch.float64 or key == "restarted"
            torch.testing.assert_close(both[key], value, atol=1e-9, rtol=0, msg=lambda text, key=key: f"{key}: {text}")
    assert one["restarted"].sum() > 10 and one["restarted"].max() < 20, "too few codes were restarted, or all always"


def _check_run(one: Path, two: Path) -> None:
    alone, both, half = weights(one, 20), weights(two, 20), weights(one, 10)
    assert alone.keys() == both.keys()
    for key, value in alone.items():
        # Optimisers hold sums of squared gradients in the hundreds: for them 1e-6 is relative.
        torch.testing.assert_close(
            both[key],
            value,
            atol=1e-6,
            rtol=1e-6 if "optimizer" in key else 0,
            msg=lambda text, key=key: f"{key}: {text}",
        )
    moved = max((half[k] - v).abs().max().item() for k, v in alone.items() if k.startswith(("model/", "D/")))
    assert moved > 5e-4, "the weights hardly moved, so their equality says nothing"
    assert any(not torch.equal(both[key], value) for key, value in alone.items()), "additions had another order"
    histories = [(folder / "history.jsonl").read_text(encoding="utf-8").splitlines() for folder in (one, two)]
    for a, b in zip(*(map(json.loads, lines) for lines in histories), strict=True):
        names = a.keys() & {"step", "D", "G", "VAE", "AR"}  # vital signs are those of the first process
        assert [b[name] for name in names] == pytest.approx([a[name] for name in names], rel=1e-4)


def _check_generators(folder: Path, drawn: dict[str, str]) -> None:
    """Each process has random numbers of its own, for dropout, and they go on after an interruption."""
    whole, resumed = ([drawn[f"process {rank} after {name}"] for rank in (0, 1)] for name in ("whole", "resumed"))
    assert whole == resumed and whole[0] != whole[1]
    for one, other in zip(weights(folder / "whole", 6).items(), weights(folder / "resumed", 6).items(), strict=True):
        assert one[0] == other[0] and torch.equal(one[1], other[1]), one[0]


def test_the_commands_for_several_machines_run(tmp_path: Path) -> None:
    """Both machines are this one, with one process each; the run is small, all else is as documented."""
    first, second = (c for c in COMMANDS if "--main_process_ip" in c)
    assert [c[c.index("--machine_rank") + 1] for c in (first, second)] == ["0", "1"]
    assert [w for w, v in zip(first, second, strict=True) if w != v] == ["0"]
    small = ["--net", "mlp", "--width", 8, "--z_dim", 2, "--steps", 2, "--save_every", 1, "--out", tmp_path / "run"]
    port = free_port()
    here = {"main_process_ip": "127.0.0.1", "main_process_port": port, "num_processes": "2"}
    said = run(*(launcher(c, [*c[c.index("-m") :], *small], **here) for c in (first, second)))
    assert said == [f"{tmp_path / 'run'}\n"] * 2
    assert (tmp_path / "run/model.safetensors").exists()
    assert json.loads((tmp_path / "run/gan.json").read_text(encoding="utf-8"))["batch_size"] == 512


def test_the_launcher_and_the_command_line_know_every_documented_option() -> None:
    several = 0
    for command in COMMANDS:
        own = command[command.index("genlab") + 1 :]
        options = command_line._arranged(own)[1:]
        given = command_line._run_parser(own[0]).parse_args(options).as_dict()
        given.pop("config")
        settings = runs.family(own[0]).settings(**given)
        assert settings.out != "runs/gan" or command[0] == "genlab"
        if command[0] == "accelerate":
            several += 1
            launched = launch_command_parser().parse_args(command[2:])
            assert launched.multi_gpu and launched.module and launched.training_script == "genlab"
            assert settings.batch_size % launched.num_processes == 0
            assert launched.num_processes % launched.num_machines == 0
    assert several == 3


def test_machines_that_do_not_share_the_folder_are_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "gather_object", lambda starts: [*starts, 500])
    settings = runs.family("vae").settings(out=str(tmp_path / "run"), steps=1)
    with pytest.raises(
        ValueError, match=r"checkpoints of different steps, \[0, 500\].* an out that all machines share"
    ):
        runs.family("vae").fit(settings)
    assert not (tmp_path / "run").exists()


def test_data_in_shards_train_resume_and_pass_once_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two programs of the page, one after the other; then the second again, interrupted and resumed."""
    write, read = PROGRAMS
    assert len(PROGRAMS) == 2 and "steps=80" in read and "step % 20" in read
    (tmp_path / "write.py").write_text(write, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    run([sys.executable, "write.py"])
    assert len(list((tmp_path / "shards").glob("*.bin"))) == 4
    (tmp_path / "read.py").write_text(read, encoding="utf-8")
    whole = runpy.run_path("read.py")
    assert [path.name for path in checkpoint.found("checkpoints")] == [f"step-{s:08d}.safetensors" for s in (60, 80)]
    Path("checkpoints/step-00000080.safetensors").unlink()  # a run that was killed at step 79: an epoch has 62 batches
    again = runpy.run_path("read.py")
    assert again["start"] == 60 and whole["start"] == 0
    for name in ("G", "D"):
        for key, value in whole[name].state_dict().items():
            assert torch.equal(again[name].state_dict()[key], value)

    known = {bytes(x.numpy().tobytes()): i for i, x in enumerate(data.digits().train.x)}
    epochs = [[known[x.numpy().tobytes()] for batch in again["loader"] for x in batch["x"]] for _ in range(2)]
    assert all(len(set(epoch)) == len(epoch) for epoch in epochs[1:])
    assert len(epochs[1]) == 62 * 64 and sorted(epochs[1]) != epochs[1] != epochs[0]
