"""The bench: both ways do the same work, and wrong names are refused. Nothing here looks at a clock."""

import math
from collections import Counter
from pathlib import Path

import pytest
import torch
from torchvision import datasets

from genlab import bench, data


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    bench.write_mnist(folder)
    return folder


def item(name: str, root: Path) -> bench.Item:
    """The only item of its name, with features few enough for a test."""
    (only,) = bench.frechet_item(widths=(16,)) if name == "frechet" else bench.ITEMS[name](root)
    return only


def test_the_files_are_the_digits_fifteen_times(root: Path) -> None:
    split, digits = data.mnist(root=root), data.digits()
    assert [len(part.x) for part in split] == [60_000, 1_000]
    assert torch.equal(split.train.x, digits.train.x.repeat(15, 1, 1, 1))
    assert torch.equal(split.train.y, digits.train.y.repeat(15))
    assert torch.equal(split.test.x, digits.test.x) and torch.equal(split.test.y, digits.test.y)


@pytest.mark.parametrize("name", bench.ITEMS)
def test_every_item_yields_rates_and_ratios(name: str, root: Path) -> None:
    work = item(name, root)
    rows = bench.measure(work, rounds=1, steps=1)
    assert [row.lean.name for row in rows] == [lean.name for lean in work.lean]
    for row in rows:
        assert all(0 < rate < math.inf for rate in (row.plain_rate, row.lean_rate, row.ratio))
        assert row.ratio == pytest.approx(row.lean_rate / row.plain_rate)  # one round: its own median
        memory = (row.plain_memory, row.lean_memory)
        assert all(m > 0 for m in memory if m is not None) if work.networks else memory == (None, None)


@pytest.mark.parametrize("name", ["data", "vae", "gan", "dcgan"])
def test_both_ways_take_the_same_images_and_their_losses_agree(
    name: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, seen = item(name, root), Counter[str]()
    plain, lean = datasets.MNIST.__getitem__, data.Batches.__next__

    def one(self: datasets.MNIST, index: int) -> tuple[object, int]:
        seen["images"] += 1
        return plain(self, index)

    def batch(self: data.Batches) -> torch.Tensor | data.Batch:
        found = lean(self)
        seen["images"] += len(data.unpack(found)[0])
        return found

    monkeypatch.setattr(datasets.MNIST, "__getitem__", one)
    monkeypatch.setattr(data.Batches, "__next__", batch)
    losses = []
    for run in (work.plain, *(lean.run for lean in work.lean)):
        seen.clear()
        losses.append(run(2))
        assert seen["images"] == 2 * (work.images or 0) > 0
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
    work = item(name, root)
    runs = [work.plain, *(lean.run for lean in work.lean)]
    count = len(work.networks) // len(runs)
    for i, run in enumerate(runs):
        before = [[p.clone() for p in network.parameters()] for network in work.networks]
        run(1)
        for j, network in enumerate(work.networks):
            moved = [not torch.equal(*pair) for pair in zip(before[j], network.parameters(), strict=True)]
            assert moved == [j // count == i] * len(moved)


def test_both_ways_compute_the_same_distance() -> None:
    (work,) = bench.frechet_item(widths=(16,))
    assert work.lean[0].run(1) == pytest.approx(work.plain(1), rel=1e-9)


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
    monkeypatch.setattr(bench, "_seconds", lambda run, steps: next(clock))
    work = bench.Item("work", lambda n: 0.0, [bench.Lean("fp32", lambda n: 0.0, 5)], 10, 4)
    (row,) = bench.measure(work, rounds=3)
    assert row.ratio == 4 and row.plain_rate == pytest.approx(4 / 80) and row.lean_rate == 2
    assert "MISSED" in bench.line(row) and "reached" in bench.line(row._replace(ratio=5))
    assert bench.line(row).split()[:8] == ["work", "fp32", "0", "images/s", "20", "images/s", "4.00x", "5x"]


@pytest.mark.parametrize("arguments", [["nothing"], ["data", "nothing"], ["--help"]])
def test_unknown_items_are_refused_in_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert repr(arguments[-1]) in err and all(name in err for name in bench.ITEMS)


def test_the_table_has_a_line_for_each_row(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bench, "write_mnist", lambda root: None)
    monkeypatch.setitem(bench.ITEMS, "frechet", lambda root: bench.frechet_item(widths=(4, 8)))
    assert bench.main(["frechet"]) == 0
    first, head, *rows = capsys.readouterr().out.splitlines()
    assert "5 paired rounds" in first and head == bench.HEAD
    assert [row.split("features")[0] for row in rows] == ["Fréchet distance, 4 ", "Fréchet distance, 8 "]
