"""The bench: both ways do the same work, and wrong names are refused. Nothing here looks at a clock."""

import math
import os
import subprocess
import sys
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from torchvision import datasets

from genlab import data, machine
from genlab.tools import bench, busy, plain, work


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    plain.write_mnist(folder)
    return folder


def item(name: str, root: Path) -> work.Item:
    """The only item of its name, with features few enough for a test."""
    (only,) = work.frechet_item(widths=(16,)) if name == "frechet" else work.ITEMS[name](root)
    return only


def test_the_files_are_the_digits_fifteen_times(root: Path) -> None:
    split, digits = data.mnist(root=root), data.digits()
    assert [len(part.x) for part in split] == [60_000, 1_000]
    assert torch.equal(split.train.x, digits.train.x.repeat(15, 1, 1, 1))
    assert torch.equal(split.train.labels, digits.train.labels.repeat(15))
    assert torch.equal(split.test.x, digits.test.x) and torch.equal(split.test.labels, digits.test.labels)


@pytest.mark.parametrize("name", work.ITEMS)
def test_every_item_yields_rates_and_ratios(name: str, root: Path) -> None:
    one = item(name, root)
    rows = bench.measure(one, rounds=1, steps=1)
    assert [row.lean.name for row in rows] == [lean.name for lean in one.lean]
    for row in rows:
        assert all(0 < rate < math.inf for rate in (row.plain_rate, row.lean_rate, row.ratio))
        assert row.ratio == pytest.approx(row.lean_rate / row.plain_rate)  # one round: its own median
        memory = (row.plain_memory, row.lean_memory)
        assert all(m > 0 for m in memory if m is not None) if one.networks else memory == (None, None)


@pytest.mark.parametrize("name", ["data", "vae", "gan", "dcgan"])
def test_both_ways_take_the_same_images_and_their_losses_agree(
    name: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, seen = item(name, root), Counter[str]()
    getitem, following = datasets.MNIST.__getitem__, data.Batches.__next__

    def image(self: datasets.MNIST, index: int) -> tuple[object, int]:
        seen["images"] += 1
        return getitem(self, index)

    def batch(self: data.Batches) -> torch.Tensor | data.Batch:
        found = following(self)
        seen["images"] += len(data.unpack(found)[0])
        return found

    monkeypatch.setattr(datasets.MNIST, "__getitem__", image)
    monkeypatch.setattr(data.Batches, "__next__", batch)
    losses = []
    for run in (one.plain, *(lean.run for lean in one.lean)):
        seen.clear()
        losses.append(run(2))
        assert seen["images"] == 2 * (one.images or 0) > 0
    assert losses == pytest.approx([losses[0]] * len(losses), rel=0.1)


@pytest.mark.parametrize("name", ["gan", "dcgan"])
def test_all_ways_begin_with_the_same_function(name: str, root: Path) -> None:
    """The lean way may compute it otherwise, and in bfloat16 with an error of 2⁻⁸."""
    networks, z = [net.eval() for net in item(name, root).networks], torch.randn(4, 100)
    (G, D), *others = zip(networks[::2], networks[1::2], strict=True)
    for (other_G, other_D), tolerance in zip(others, (1e-5, 2e-2), strict=True):
        torch.testing.assert_close(other_G(z), G(z), rtol=0, atol=tolerance)
        torch.testing.assert_close(other_D(G(z)), D(G(z)), rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ["vae", "gan", "dcgan"])
def test_every_way_moves_all_weights_of_its_own_networks(name: str, root: Path) -> None:
    """A way that forgets to step would be fast."""
    one = item(name, root)
    runs = [one.plain, *(lean.run for lean in one.lean)]
    count = len(one.networks) // len(runs)
    for i, run in enumerate(runs):
        before = [[p.clone() for p in network.parameters()] for network in one.networks]
        run(1)
        for j, network in enumerate(one.networks):
            moved = [not torch.equal(*pair) for pair in zip(before[j], network.parameters(), strict=True)]
            assert moved == [j // count == i] * len(moved)


def test_both_ways_compute_the_same_distance() -> None:
    (one,) = work.frechet_item(widths=(16,))
    assert one.lean[0].run(1) == pytest.approx(one.plain(1), rel=1e-9)


def test_both_ways_compute_the_same_distance_from_features() -> None:
    (one,) = work.fidelity_item(n=200, d=16)
    assert one.lean[0].run(1) == pytest.approx(one.plain(1), rel=1e-6)


def test_the_memory_of_a_step_is_what_it_holds_at_once() -> None:
    def run(steps: int) -> float:
        for _ in range(steps + 1):
            a = torch.zeros(1000, dtype=torch.float64)  # 8,000 bytes, two of them while b lives
            b = a + 1
            del a, b
        return 0.0

    assert bench.peak_memory(run) == pytest.approx(16_000, abs=1000)


def test_ratios_are_medians_of_paired_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine is ten times slower in the second round, and the third is an accident of the plain way."""
    clock = iter([8.0, 2.0, 80.0, 20.0, 99.0, 2.0])
    monkeypatch.setattr(bench, "_seconds", lambda way, steps: next(clock))
    one = work.Item("work", lambda n: 0.0, [work.Lean("fp32", lambda n: 0.0, 5)], 10, 4)
    (row,) = bench.measure(one, rounds=3)
    assert row.ratio == 4 and row.plain_rate == pytest.approx(4 / 80) and row.lean_rate == 2
    assert "MISSED" in bench.line(row) and "reached" in bench.line(row._replace(ratio=5))
    assert bench.line(row).split()[:8] == ["work", "fp32", "0", "images/s", "20", "images/s", "4.00x", "5x"]


@pytest.mark.parametrize("arguments", [["nothing"], ["data", "nothing"], ["--help"]])
def test_unknown_items_are_refused_in_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert repr(arguments[-1]) in err and all(name in err for name in bench.NAMES)


def test_the_table_has_a_line_for_each_row(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bench, "write_mnist", lambda root: None)
    monkeypatch.setitem(bench.ITEMS, "frechet", lambda root: work.frechet_item(widths=(4, 8)))
    assert bench.main(["frechet"]) == 0
    first, head, *rows = [line for line in capsys.readouterr().out.splitlines() if "not judged" not in line]
    assert "5 paired rounds" in first and "OpenMP waits" in first and head == bench.HEAD
    assert [row.split("features")[0] for row in rows] == ["Fréchet distance, 4 ", "Fréchet distance, 8 "]


@pytest.mark.parametrize("able", [True, False])
def test_bfloat16_is_judged_only_where_the_processor_has_it(
    able: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "fast_bf16", lambda device: able)
    slow = work.Item("work", lambda n: 0.0, [], 10, 4)
    rows = [bench.Row(slow, work.Lean(kind, lambda n: 0.0, 3), 2.0, 1.0, 0.5, None, None) for kind in ("fp32", "bf16")]
    assert ["MISSED" in bench.line(row) for row in rows] == [True, able]
    assert ("not judged" in bench.line(rows[1])) != able
    monkeypatch.setattr(bench, "write_mnist", lambda root: None)
    monkeypatch.setitem(bench.ITEMS, "data", lambda root: [])
    assert bench.main(["data"]) == 0
    assert ("no bfloat16 instructions" in capsys.readouterr().out) != able


def test_training_is_measured_as_set_beside_a_busy_process_and_two_at_once(root: Path) -> None:
    rows = list(busy.measure(root, rounds=1, seconds=0.01, names=("vae",)))
    names = ["default, as set", "alone, beside a busy process", "alone, two at once"]
    assert [row.name for row in rows] == [f"VAE: {name}" for name in names]
    assert [row.target for row in rows] == pytest.approx([0.97, 1 / 3, 0.4])
    for row in rows:
        assert row.first > 0 and row.second > 0
    assert [row.ratio for row in rows[1:]] == pytest.approx([row.second / row.first for row in rows[1:]])


def test_what_is_default_waits_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets no setting that GNU's OpenMP reads, and one by which the package keeps out, whatever this process has."""
    given: list[dict[str, str]] = []

    class End(Exception): ...

    def started(command: list[str], *, env: dict[str, str], **options: Any) -> None:
        given.append({name: env[name] for name in machine.WAITING if name in env})
        raise End

    monkeypatch.setattr(busy.subprocess, "Popen", started)
    monkeypatch.setenv("GOMP_SPINCOUNT", "17")
    for default in (True, False):
        with pytest.raises(End), busy._child("train", "vae", "root", default=default):
            pass
    linux = {"GOMP_SPINCOUNT": machine.SPINS} if sys.platform.startswith("linux") else {}
    assert given == [{"KMP_BLOCKTIME": "200"}, linux]


def test_ratios_of_a_busy_machine_are_medians_of_paired_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Default 100, as set 98; alone 100, beside 40, two at once 30 and 50; in round two all is ten times slower."""
    pairs, slow = [[100.0], [98.0]] * busy.PAIRS, [[10.0], [9.8]] * busy.PAIRS
    first, second = [[100.0], [40.0], [30.0, 50.0]], [[10.0], [4.0], [3.0, 5.0]]
    rates = iter([*pairs, *first, *slow, *second, *pairs, [100.0], [1.0], [1.0, 1.0]])
    monkeypatch.setattr(busy, "_rates", lambda children, seconds: next(rates))
    monkeypatch.setattr(busy, "_answer", lambda child: "ready")
    monkeypatch.setattr(busy, "_child", lambda *arguments, default=False: nullcontext())
    as_set, beside, two = busy.measure(Path(), rounds=3, names=("gan",))
    assert as_set == busy.Row("GAN: default, as set", 100, 98, pytest.approx(0.98), 0.97)
    assert beside == busy.Row("GAN: alone, beside a busy process", 100, 4, 0.4, pytest.approx(1 / 3))
    assert two == busy.Row("GAN: alone, two at once", 100, 4, 0.4, 0.4)
    said = [bench.busy_line(row) for row in (beside, two, two._replace(ratio=0.39))]
    assert [" ".join(line.split()[-3:]) for line in said] == [
        "0.40x 0.33x reached",
        "0.40x 0.40x reached",
        "0.39x 0.40x MISSED",
    ]


def test_a_busy_process_is_busy_on_every_core_and_ends_with_its_pipe() -> None:
    command = [sys.executable, "-m", "genlab.tools.busy", "burn"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8") as child:
        assert child.stdin and child.stdout and child.stdout.readline() == "ready\n"
        threads = psutil.Process(child.pid).num_threads()
        child.stdin.close()
        assert child.wait(60) == 0 and threads > (os.cpu_count() or 1)


def test_a_training_that_fails_is_an_error_and_no_number(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="ended early"):
        list(busy.measure(tmp_path / "nothing", rounds=1, names=("vae",)))
    assert "ValueError" in capfd.readouterr().err
