"""`genlab doctor`: what it says of this machine, and that a machine on which training fails is found out."""

import importlib.metadata
import io
import os
import platform
import sys
from typing import Any

import pytest
import torch

from genlab import data, machine, vae
from genlab.tools import doctor


def test_the_report_names_machine_devices_data_and_versions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GENLAB_DATA", str(tmp_path))
    assert doctor.report(0.0)
    said = capsys.readouterr().out
    lines = {line.split()[0]: line for line in said.splitlines()}
    assert platform.machine() in lines["machine"] and platform.python_version() in lines["machine"]
    for name in doctor.PACKAGES:
        assert f"{name} {importlib.metadata.version(name)}" in lines["versions"]
    assert f"cpu ({torch.get_num_threads()} threads)" in lines["devices"]
    assert lines["waiting"] == f"waiting   OpenMP waits: {machine.waiting(os.environ)}"
    assert lines["bfloat16"].startswith("bfloat16  cpu: ")
    assert str(tmp_path) in lines["data"]
    assert lines["digits"].endswith("4,000 images to train, 1,000 to test")
    for name in set(data.SETS) - {"digits"}:
        assert lines[name].endswith(f"not here; {name}(download=True) fetches it")
    assert "passed" in lines["self-test"] and "images/s" in lines["self-test"]


def test_a_missing_package_and_a_gpu_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", ("torch", "no-such-package"))
    monkeypatch.setattr(doctor, "_self_test", lambda seconds: "passed")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: "Grand GPU")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(machine, "fast_bf16", lambda device: device == "cpu")
    assert doctor.report()
    said = capsys.readouterr().out
    assert "no-such-package missing" in said and "Grand GPU, Apple's GPU (mps)" in said and "no GPU" not in said
    assert "cpu: has instructions for it; Grand GPU: computes it in software" in said and "--precision no" in said


def test_the_report_can_be_read_through_any_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_self_test", lambda seconds: "passed ✓")
    pipe = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", pipe)
    assert doctor.report()
    pipe.seek(0)
    assert pipe.read().endswith("self-test passed ?\n")


@pytest.mark.parametrize("fault", ["training does nothing", "training raises"])
def test_a_machine_on_which_training_fails_is_found_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    whole = vae.player

    def player(model: torch.nn.Module, optimizer: torch.optim.Optimizer, **options: Any) -> Any:
        if fault == "training raises":
            raise RuntimeError("no kernel image is available")
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        return whole(model, optimizer, **options)

    monkeypatch.setattr(vae, "player", player)
    assert not doctor.report(0.0)
    said = capsys.readouterr().out
    assert "self-test FAILED: RuntimeError: " in said
    assert ("below" in said and "of independent pixels" in said) == (fault == "training does nothing")
