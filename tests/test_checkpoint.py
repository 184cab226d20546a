"""Checkpoints that bring everything back, and what must not be written."""

import copy
import json
import math
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from genlab import checkpoint, data, train
from genlab.train import Diverged, Noise, Player
from tests.helpers import Weight


def parts() -> dict[str, Any]:
    torch.manual_seed(4)
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout(0.3), nn.Linear(5, 1))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, amsgrad=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-1, total_steps=50)
    x = torch.randint(0, 256, (50, 1, 2, 3), dtype=torch.uint8)
    return {
        "model": model,
        "average": copy.deepcopy(model),
        "optimizer": optimizer,
        "schedule": schedule,
        "batches": data.Batches(x, 16, pixels="binary"),
        "noise": Noise(9),
    }


def advance(own: dict[str, Any], start: int, steps: int) -> list[float]:
    """Train with every source of randomness there is; the losses and some numbers drawn by each generator."""

    def loss(batch: Tensor, step: int) -> Tensor:
        x = batch.flatten(1) + own["noise"].normal(16, 6) + np.random.randn() + random.gauss(0, 1)
        return own["model"](x).square().mean()

    one = Player("P", own["model"], loss, own["optimizer"], 2, schedule=own["schedule"])
    found = []
    for step, losses in train.train([one], own["batches"], steps, start=start):
        train.ema(own["average"], own["model"], 0.9, step)
        found.append(losses["P"])
    return [*found, torch.rand(()).item(), float(np.random.randn()), random.random()]


def test_a_checkpoint_brings_everything_back_bit_for_bit(tmp_path: Path) -> None:
    own = parts()
    advance(own, 0, 5)
    path = checkpoint.save(tmp_path / "new", 5, own)
    assert path == tmp_path / "new/step-00000005.safetensors" and checkpoint.found(tmp_path / "new") == [path]
    expected = advance(own, 5, 11)
    other = parts()
    advance(other, 0, 2)  # another state, which loading must replace whole
    assert checkpoint.restore(path, other) == 5
    assert advance(other, 5, 11) == expected
    for name in ("model", "average"):
        for mine, theirs in zip(own[name].state_dict().values(), other[name].state_dict().values(), strict=True):
            assert torch.equal(mine, theirs)


class State:
    """A part with a state of any kind."""

    def __init__(self, state: Any = None) -> None:
        self.state = state

    def state_dict(self) -> Any:
        return self.state

    def load_state_dict(self, state: Any) -> None:
        self.state = state


ONE, TWO, THREE = torch.tensor(1.0), torch.tensor(2.0), torch.tensor(3.0)


@pytest.mark.parametrize(
    "states",
    [
        {"a": {"b": {"c": ONE}}, "a.b": {"c": TWO}, "a.b.c": THREE},
        {"a": {"b": {"c": ONE}}, "a/b": {"c": TWO}, "a/b/c": THREE, "/a": {"/b/c": ONE}},
        {"a~1b": ONE, "a/b": TWO, "a~b": THREE, "a~01b": ONE},
        {"rng": {"0": ONE, "torch": TWO}, "parts": {"rng": THREE}, "parts/rng": ONE, "step": TWO, "state": ONE},
        {"": {"": ONE}, "/": TWO, ".": THREE},
        {"a": [ONE, (TWO, [THREE])], "a.0": TWO, "a/0": THREE, "a/1/0": ONE},
        {"a": {0: ONE, "0": TWO, "0~": THREE}, "b": {1: {"x": ONE}, "1": {"x": TWO}}},
        {"genlab": ONE, "tensor": {"tensor": TWO}, "items": {"items": [THREE]}, "__metadata__": TWO},
    ],
)
def test_no_two_places_have_one_name(tmp_path: Path, states: dict[str, Any]) -> None:
    """Names with dots and slashes, names of the file's own fields, whole numbers beside their text."""

    def values(state: Any) -> Any:
        if isinstance(state, dict):
            return {key: values(v) for key, v in state.items()}
        return [values(v) for v in state] if isinstance(state, list | tuple) else state.item()

    path = checkpoint.save(tmp_path, 1, {name: State(state) for name, state in states.items()})
    found: dict[str, Any] = {name: State() for name in states}
    checkpoint.restore(path, found)
    assert {name: values(part.state) for name, part in found.items()} == values(states)


def test_parts_whose_names_run_together_come_back_apart(tmp_path: Path) -> None:
    own = {"a": nn.ModuleDict({"b": nn.Linear(2, 2)}), "a.b": nn.Linear(2, 2), "rng": nn.Linear(2, 2)}
    path = checkpoint.save(tmp_path, 1, own)
    other = {"a": nn.ModuleDict({"b": nn.Linear(2, 2)}), "a.b": nn.Linear(2, 2), "rng": nn.Linear(2, 2)}
    torch.rand(1)
    expected = torch.get_rng_state()
    checkpoint.restore(path, other, rng=False)
    assert torch.equal(torch.get_rng_state(), expected)
    for name, module in own.items():
        for mine, theirs in zip(module.parameters(), other[name].parameters(), strict=True):
            assert torch.equal(mine, theirs)


def test_what_was_restored_does_not_hang_on_the_file(tmp_path: Path) -> None:
    """An optimiser keeps the tensors that it is given. In a file that is mapped they would change with it, and a step
    after it was cut would end the process."""
    module = nn.Linear(300, 300)
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(1, 300)).sum().backward()
    optimizer.step()
    own = {"module": module, "optimizer": optimizer}
    path = checkpoint.save(tmp_path, 1, own)
    checkpoint.restore(path, own)
    expected = [v.clone() for state in optimizer.state.values() for v in state.values()]
    size = path.stat().st_size
    with path.open("rb+") as file:
        file.write(b"\x01" * size)
    found = [v for state in optimizer.state.values() for v in state.values()]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    with path.open("rb+") as file:
        file.truncate(0)
    optimizer.step()
    assert module.weight.isfinite().all()
    path.unlink()


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_each_process_gets_the_generators_that_it_had(tmp_path: Path, rank: int) -> None:
    def draw() -> list[float]:
        return [torch.rand(()).item(), float(np.random.rand()), random.random()]

    states, drawn = [], []
    for process in range(3):
        train.seed_everything(process)
        draw()
        states.append(checkpoint.rng_state())
        drawn.append(draw())
    train.seed_everything(0)
    draw()
    path = checkpoint.save(tmp_path, 1, {"model": Weight()}, others=states[1:])
    for restore in (checkpoint.restore, lambda p, parts, rank: checkpoint.restore_newest(p.parent, parts, rank=rank)):
        train.seed_everything(99)
        restore(path, {"model": Weight()}, rank=rank)
        assert draw() == drawn[rank] and drawn[rank] not in drawn[:rank]


def test_a_process_that_was_not_there_keeps_its_own_generators(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 1, {"model": Weight()})
    train.seed_everything(7)
    expected = torch.rand(3)
    train.seed_everything(7)
    assert checkpoint.restore(path, {"model": Weight()}, rank=1) == 1
    assert torch.equal(torch.rand(3), expected)


def test_loading_can_leave_the_generators_alone(tmp_path: Path) -> None:
    own = parts()
    path = checkpoint.save(tmp_path, 1, own)
    train.seed_everything(7)
    expected = torch.rand(3)
    train.seed_everything(7)
    checkpoint.restore(path, {"model": own["model"]}, rng=False)
    assert torch.equal(torch.rand(3), expected)


def test_the_newest_stay_and_what_a_kill_left_goes(tmp_path: Path) -> None:
    own = {"model": Weight()}
    (tmp_path / "step-00000001.partial").write_bytes(b"half a che")
    for step in (1, 2, 3, 10):
        checkpoint.save(tmp_path, step, own)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"step-{s:08d}.safetensors" for s in (3, 10)]
    checkpoint.save(tmp_path, 11, own, keep=3)
    assert [int(path.stem[5:]) for path in checkpoint.found(tmp_path)] == [3, 10, 11]
    assert checkpoint.found(tmp_path / "nowhere") == []


@pytest.mark.parametrize("keep", [0, -1])
def test_keeping_none_is_refused(tmp_path: Path, keep: int) -> None:
    with pytest.raises(ValueError, match=f"keep={keep} must be at least 1: the checkpoint just written stays"):
        checkpoint.save(tmp_path, 1, {"model": Weight()}, keep=keep)
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_stand_in_the_order_of_their_steps(tmp_path: Path) -> None:
    steps = [99_999_999, 100_000_000, 1_000_000_000]
    for step in steps:
        checkpoint.save(tmp_path, step, {"model": Weight(float(step))}, keep=3)
    assert [int(path.stem[5:]) for path in checkpoint.found(tmp_path)] == steps
    (tmp_path / "step-last.safetensors").write_bytes(b"of somebody else")
    own = {"model": Weight()}
    assert checkpoint.restore_newest(tmp_path, own) == 10**9 and own["model"].w.item() == 1e9
    checkpoint.save(tmp_path, 10**9 + 1, own)
    assert [int(path.stem[5:]) for path in checkpoint.found(tmp_path)] == [10**9, 10**9 + 1]


@pytest.mark.parametrize("keep", [1, 2, 5])
def test_the_checkpoint_just_written_stays_also_below_others(tmp_path: Path, keep: int) -> None:
    """As after going back to an older one, because the newest was cut."""
    for step in (10, 20, 30):
        checkpoint.save(tmp_path, step, {"model": Weight()}, keep=3)
    path = checkpoint.save(tmp_path, 15, {"model": Weight()}, keep=keep)
    kept = checkpoint.found(tmp_path)
    assert path in kept and [int(p.stem[5:]) for p in kept] == {1: [15], 2: [15, 30], 5: [10, 15, 20, 30]}[keep]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def test_a_cut_checkpoint_is_passed_over_where_an_older_one_is_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checkpoint.restore_newest(tmp_path / "nowhere", {}) == 0
    paths = [checkpoint.save(tmp_path, step, {"model": Weight(float(step))}, keep=3) for step in (10, 20, 30)]
    own = {"model": Weight()}
    assert checkpoint.restore_newest(tmp_path, own) == 30 and own["model"].w.item() == 30.0
    assert capsys.readouterr().err == ""
    cut(paths[2])
    assert checkpoint.restore_newest(tmp_path, own) == 20 and own["model"].w.item() == 20.0
    said = capsys.readouterr().err
    assert f"{paths[2]} is not a checkpoint of genlab, or damaged" in said and f"going on from {paths[1].name}" in said
    paths[1].write_bytes(b"")
    assert checkpoint.restore_newest(tmp_path, own) == 10
    cut(paths[0])
    with pytest.raises(ValueError, match=r"none of the 3 checkpoints in .* can be read; remove them to start anew"):
        checkpoint.restore_newest(tmp_path, own)


def test_other_parts_are_no_reason_to_go_back_to_an_older_checkpoint(tmp_path: Path) -> None:
    for step in (1, 2):
        checkpoint.save(tmp_path, step, {"model": Weight()})
    with pytest.raises(ValueError, match=r"step-00000002\.safetensors holds model, but not average"):
        checkpoint.restore_newest(tmp_path, {"average": Weight()})


class Mask(nn.Module):
    """A weight and two buffers: a mask, and another name for it."""

    def __init__(self, buffer: float, weight: float = 0.0) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.full((2,), weight))
        self.inner = nn.Module()
        mask = torch.full((3, 3), buffer).triu(1)
        self.inner.register_buffer("mask", mask)
        self.inner.register_buffer("again", mask)


@pytest.mark.parametrize("value", [-math.inf, math.inf])
def test_a_buffer_may_hold_infinity_as_causal_masks_do(tmp_path: Path, value: float) -> None:
    own, other = Mask(value), Mask(0.0)
    checkpoint.restore(checkpoint.save(tmp_path, 1, {"model": own}), {"model": other})
    assert torch.equal(other.inner.get_buffer("mask"), own.inner.get_buffer("mask"))


def test_a_buffer_with_nan_or_statistics_with_infinity_are_not_written(tmp_path: Path) -> None:
    broken = nn.BatchNorm1d(2)
    broken.running_var.fill_(math.inf)
    optimizer = torch.optim.SGD([w := nn.Parameter(torch.zeros(2))], lr=0.1, momentum=0.9)
    optimizer.state[w]["momentum_buffer"] = torch.full((2,), math.inf)
    for name, part in {
        "model/inner.mask": Mask(math.nan),
        "model/w": Mask(-math.inf, math.inf),
        "model/running_var": broken,
        "model/state/0/momentum_buffer": optimizer,
    }.items():
        with pytest.raises(Diverged, match=rf"^{name} has values that are NaN or infinite at step 7$"):
            checkpoint.save(tmp_path, 7, {"model": part})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_not_written(tmp_path: Path, bad: float) -> None:
    module = Weight()
    good = checkpoint.save(tmp_path, 1, {"model": module})
    with torch.no_grad():
        module.w.fill_(bad)
    with pytest.raises(Diverged, match=r"^model/w has values that are NaN or infinite at step 2"):
        checkpoint.save(tmp_path, 2, {"model": module})
    assert list(tmp_path.iterdir()) == [good]


def test_a_failed_write_leaves_the_older_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = checkpoint.save(tmp_path, 1, {"model": Weight(1.0)})

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(tmp_path, 2, {"model": Weight(2.0)})
    other = Weight()
    assert checkpoint.found(tmp_path) == [good]
    assert checkpoint.restore(good, {"model": other}) == 1 and other.w.item() == 1.0


def test_no_pickle_and_readable_elsewhere(tmp_path: Path) -> None:
    from safetensors import safe_open

    path = checkpoint.save(tmp_path, 3, parts())
    with safe_open(path, framework="np") as file:
        header = json.loads(file.metadata()["genlab"])
        assert "parts/model/0.weight" in file.keys()  # noqa: SIM118 (not a mapping)
        assert header["step"] == 3 and set(header["state"]) == {"items"}


def test_what_is_no_checkpoint_is_refused_in_words(tmp_path: Path) -> None:
    own = parts()
    missing, half, foreign = (tmp_path / f"{name}.safetensors" for name in ("missing", "half", "foreign"))
    whole = checkpoint.save(tmp_path / "good", 1, {"model": own["model"]})
    half.write_bytes(whole.read_bytes()[:-10])
    save_file({"w": torch.ones(2)}, foreign)
    older, odd = tmp_path / "older.safetensors", tmp_path / "odd.safetensors"
    save_file({"w": torch.ones(2)}, older, metadata={"genlab": json.dumps({"step": 1, "state": {}})})
    save_file({"w": torch.ones(2)}, odd, metadata={"genlab": "{"})
    with pytest.raises(ValueError, match=r"older\.safetensors was written by another version of genlab; go on with"):
        checkpoint.restore(older, own)
    for path in (missing, half, foreign, odd):
        with pytest.raises(ValueError, match="is not a checkpoint of genlab"):
            checkpoint.restore(path, own)
    with pytest.raises(ValueError, match="holds model, but not average, batches, noise, optimizer, schedule"):
        checkpoint.restore(whole, own)


def test_a_part_that_cannot_be_written_without_pickle_is_refused(tmp_path: Path) -> None:
    class Odd:
        def state_dict(self) -> dict[str, Any]:
            return {"function": print}

    with pytest.raises(TypeError, match=r"odd has the key \(1, 2\), which a checkpoint cannot hold"):
        checkpoint.save(tmp_path, 1, {"odd": State({(1, 2): 3})})
    with pytest.raises(TypeError, match=r"odd/function is builtin_function_or_method"):
        checkpoint.save(tmp_path, 1, {"odd": Odd()})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [None, True, 3, 0.1, math.inf, "a", [1, (2.5, [None])], {0: {"x": ()}, "1": []}])
def test_nested_states_survive_json(value: Any) -> None:
    tensors: dict[str, Tensor] = {}
    tree = json.loads(json.dumps(checkpoint._flatten(value, ("v",), tensors)))
    assert checkpoint._unflatten(tree, tensors) == value and tensors == {}


def test_generators_of_gpus_are_restored_where_there_are_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU, torch.cuda is replaced by two generators that write down what they are given."""
    given: list[Any] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: [torch.ones(1), torch.zeros(1)])
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", given.append)
    state = checkpoint.rng_state()
    checkpoint._restore_rng(state)
    assert given == [[torch.ones(1), torch.zeros(1)]]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    checkpoint._restore_rng(state)
    assert len(given) == 1
