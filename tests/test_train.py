"""The loop against one written by hand, and checkpoints that bring everything back."""

import copy
import json
import math
import os
import random
from collections.abc import Iterator
from itertools import count, repeat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from genlab import data, gan, nets, train
from genlab.train import Diverged, Noise, Player


def numbers() -> Iterator[Tensor]:
    """1, 2, 3, … as batches of one."""
    return (torch.tensor([float(i)]) for i in count(1))


class Weight(nn.Module):
    """One weight w, and a buffer."""

    def __init__(self, w: float = 0.0) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        return self.w * x


def player(module: nn.Module, loss: Any, *, lr: float = 0.1, name: str = "P", **options: Any) -> Player:
    return Player(name, module, loss, torch.optim.SGD(module.parameters(), lr=lr), **options)


# ----------------------------------------------------------------------------------------------- settings, noise


def test_the_profile_is_quick_or_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENLAB_PROFILE", "full")
    assert train.profile(1, 2) == 2
    monkeypatch.delenv("GENLAB_PROFILE")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert train.profile(1, 2) == 1
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert train.profile(1, 2) == 2
    monkeypatch.setenv("GENLAB_PROFILE", "fast")
    with pytest.raises(ValueError, match='"quick" or "full", but is \'fast\''):
        train.profile(1, 2)


def test_one_seed_seeds_every_generator() -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), torch.rand(()).item()

    train.seed_everything(3)
    first = draw()
    assert draw() != first
    train.seed_everything(3)
    assert draw() == first


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_processes_share_the_rows_of_one(kind: str) -> None:
    alone, *pair = Noise(5), Noise(5, rank=0, world=2), Noise(5, rank=1, world=2)
    for _ in range(2):
        whole = getattr(alone, kind)(6, 3)
        first, second = (getattr(noise, kind)(3, 3) for noise in pair)
        assert torch.equal(whole[0::2], first) and torch.equal(whole[1::2], second)


def test_noise_goes_on_where_its_state_was_taken() -> None:
    noise, other = Noise(1), Noise(2)
    noise.normal(4)
    state = noise.state_dict()
    expected = noise.normal(5, 2)
    other.load_state_dict(state)
    assert torch.equal(other.normal(5, 2), expected)


# ------------------------------------------------------------------------------------------------------- the loop


def test_a_gan_moves_as_in_a_loop_written_by_hand() -> None:
    """Goodfellow's algorithm 1 with k = 1 and the non-saturating loss, Adam, from one seed, bit for bit."""

    def nets_and_optimisers() -> tuple[nn.Module, nn.Module, Any, Any]:
        torch.manual_seed(1)
        G, D = nets.MLPDecoder(4, width=16, output=nn.Tanh()), nets.MLPDiscriminator(width=16)
        return G, D, torch.optim.Adam(G.parameters(), 1e-3), torch.optim.Adam(D.parameters(), 1e-3)

    def batches() -> data.Batches:
        return data.Batches(data.digits().train, 8, pixels="symmetric", seed=2)

    G, D, opt_g, opt_d = nets_and_optimisers()
    game = gan.players(G, D, opt_g, opt_d, noise=Noise(3), z_dim=4)
    losses = [row for _, row in train.train(game, batches(), 4)]

    H, E, opt_h, opt_e = nets_and_optimisers()
    noise, source = Noise(3), batches()
    for row in losses:
        x = next(source)
        assert isinstance(x, Tensor)
        fake = H(noise.normal(8, 4)).detach()
        loss_d = bce(E(x), torch.ones(8)) + bce(E(fake), torch.zeros(8))
        opt_e.zero_grad()
        loss_d.backward()
        opt_e.step()
        loss_g = bce(E(H(noise.normal(8, 4))), torch.ones(8))
        opt_h.zero_grad()
        loss_g.backward()
        opt_h.step()
        assert row == {"D": pytest.approx(loss_d.item(), abs=1e-6), "G": pytest.approx(loss_g.item(), abs=1e-6)}
    for mine, theirs in zip([*G.parameters(), *D.parameters()], [*H.parameters(), *E.parameters()], strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6, rtol=0)


def test_moves_accumulation_and_the_order_of_batches() -> None:
    """Player A makes two moves of two batches, B one move of one: a step draws four batches, and B gets the first."""
    seen: dict[str, list[int]] = {"A": [], "B": []}
    a, b = Weight(), Weight()

    def loss(name: str, module: nn.Module) -> Any:
        def value(batch: Tensor, step: int) -> Tensor:
            seen[name].append(int(batch))
            return module(batch).mean()

        return value

    players = [player(a, loss("A", a), name="A", moves=2, accumulate=2), player(b, loss("B", b), name="B")]
    steps = [step for step, _ in train.train(players, numbers(), 2)]
    assert steps == [1, 2]
    assert seen == {"A": [1, 2, 3, 4, 5, 6, 7, 8], "B": [1, 5]}
    # Each move of A takes the mean gradient of its two batches.
    assert a.w.item() == pytest.approx(-0.1 * (1.5 + 3.5 + 5.5 + 7.5)) and b.w.item() == pytest.approx(-0.1 * (1 + 5))


def test_accumulated_batches_are_one_large_batch() -> None:
    x = torch.randn(8, 3)
    target = nn.Linear(3, 2)
    weights = []
    for size, parts in ((8, 1), (2, 4)):
        model = copy.deepcopy(target)

        def loss(batch: Tensor, step: int, model: nn.Module = model) -> Tensor:
            return model(batch).square().sum(1).mean()

        for _, _losses in train.train([player(model, loss, accumulate=parts)], iter(x.split(size)), 1):
            pass
        weights.append(model.weight)
    torch.testing.assert_close(weights[0], weights[1])


def test_a_schedule_advances_with_the_moves_and_after_is_called() -> None:
    module, called = Weight(), []
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda move: 0.5**move)
    one = Player(
        "P",
        module,
        lambda b, s: module(torch.ones(())),
        optimizer,
        3,
        schedule=schedule,
        after=lambda: called.append(1),
    )
    list(train.train([one], numbers(), 2))
    assert module.w.item() == pytest.approx(-sum(0.5**i for i in range(6))) and len(called) == 6


@pytest.mark.parametrize("largest", [0.5, 100.0])
def test_clipping_bounds_the_norm_of_a_move(largest: float) -> None:
    model = nn.Linear(3, 1, bias=False)
    before = model.weight.detach().clone()
    x = torch.tensor([[3.0, 4.0, 12.0]])  # the gradient, of norm 13
    list(train.train([player(model, lambda b, s: model(x).sum(), lr=1.0, clip=largest)], numbers(), 1))
    moved = before - model.weight
    assert moved.norm().item() == pytest.approx(min(largest, 13.0), rel=1e-4)
    assert torch.allclose(moved / moved.norm(), x / 13, atol=1e-5)


def test_the_others_stand_still_and_the_caller_gets_modules_as_they_were() -> None:
    a, b = Weight(1.0), Weight(2.0)
    b.w.requires_grad_(True)
    frozen = nn.Linear(1, 1).requires_grad_(False)
    a.add_module("frozen", frozen)
    flags = []

    def loss(batch: Tensor, step: int) -> Tensor:
        flags.append((a.w.requires_grad, b.w.requires_grad))
        return a(batch).mean() * b(batch).mean()

    players = [player(a, loss, name="A"), player(b, loss, name="B")]
    for step, _ in train.train(players, numbers(), 5):
        assert a.w.requires_grad and b.w.requires_grad and not frozen.weight.requires_grad
        if step == 2:
            break
    assert flags == [(True, False), (False, True)] * 2


def test_a_resumed_loop_counts_on() -> None:
    module = Weight()
    seen = []
    one = player(module, lambda batch, step: seen.append(step) or module(batch).mean())
    assert [step for step, _ in train.train([one], numbers(), 7, start=5)] == [6, 7] == seen
    assert list(train.train([one], numbers(), 7, start=7)) == []


def test_wrong_games_are_refused_in_words() -> None:
    module = Weight()
    one = player(module, lambda batch, step: module(batch).mean())
    with pytest.raises(ValueError, match=r"different names, but got \['P', 'P'\]"):
        next(train.train([one, one], numbers(), 1))
    with pytest.raises(ValueError, match=r"different names, but got \[\]"):
        next(train.train([], numbers(), 1))
    with pytest.raises(ValueError, match="moves=0 and accumulate=1 must be at least 1"):
        player(module, one.loss, moves=0)
    with pytest.raises(ValueError, match="ran out at step 3 of 9; pass an endless iterator"):
        list(train.train([one], iter([torch.ones(1)] * 2), 9))
    with pytest.raises(ValueError, match=r"the loss of P must be 0-d, but is \(1,\)"):
        list(train.train([player(module, lambda batch, step: module(batch))], numbers(), 1))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_before_the_move(bad: float) -> None:
    module = Weight(1.0)

    def loss(batch: Tensor, step: int) -> Tensor:
        return module(batch).mean() * (bad if step == 3 else 1.0)

    loop = train.train([player(module, loss)], numbers(), 9)
    assert [next(loop)[0], next(loop)[0]] == [1, 2]
    last = module.w.item()
    with pytest.raises(Diverged, match=rf"^the loss of P is {bad} at step 3$"):
        next(loop)
    assert module.w.item() == last != 1.0 and module.w.requires_grad


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_gradient_that_is_not_finite_stops_before_the_move(clip: float | None) -> None:
    """√w at w = 0 is finite and its derivative is not."""
    module = Weight(0.0)
    one = player(module, lambda batch, step: module.w.sqrt(), clip=clip)
    with pytest.raises(Diverged, match=r"^the gradient of P is NaN or infinite at step 1$"):
        list(train.train([one], numbers(), 9))
    assert module.w.item() == 0.0


def test_a_loss_that_reaches_no_weight_of_its_player_is_refused() -> None:
    elsewhere = Weight(1.0)
    one = player(Weight(1.0), lambda batch, step: elsewhere.w.square())
    with pytest.raises(ValueError, match="the loss of P does not depend on any weight"):
        list(train.train([one], numbers(), 1))


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_an_accelerator_trains_the_same(precision: str) -> None:
    x = data.to_float(data.digits().train.x[:8])
    weights = []
    AcceleratorState._reset_state()
    for accelerator in (None, Accelerator(cpu=True, mixed_precision=precision)):
        torch.manual_seed(0)
        model = nets.MLPEncoder(2, width=8)
        optimizer: Any = torch.optim.Adam(model.parameters(), 1e-2)
        if accelerator:
            model, optimizer = accelerator.prepare(model, optimizer)

        def loss(batch: Tensor, step: int, model: nn.Module = model) -> Tensor:
            mu, logvar = model(batch)
            assert mu.dtype == torch.float32
            return (mu.square() + logvar).sum(1).mean()

        one = Player("P", model, loss, optimizer, accumulate=2, clip=1.0)
        list(train.train([one], repeat(x), 3, accelerator))
        weights.append([p.detach() for p in model.parameters()])
    close = [torch.equal(a, b) for a, b in zip(*weights, strict=True)]
    assert all(close) == (precision == "no")
    AcceleratorState._reset_state()


# ------------------------------------------------------------------------------------------------ averaged weights


def test_the_average_is_the_geometric_sum() -> None:
    """From a₀ = 0 and constant w: a_n = (1 − dⁿ) w; buffers are copied."""
    module, average = Weight(2.0), Weight(0.0)
    module.get_buffer("seen").fill_(7)
    for n in range(1, 6):
        train.ema(average, module, 0.9)
        assert average.w.item() == pytest.approx((1 - 0.9**n) * 2.0)
    assert average.get_buffer("seen").item() == 7 and module.w.item() == 2.0


def test_the_average_warms_up() -> None:
    module, average = Weight(1.0), Weight(0.0)
    train.ema(average, module, 0.999, step=0)
    assert average.w.item() == pytest.approx(0.9)
    average = Weight(0.0)
    train.ema(average, module, 0.5, step=1000)
    assert average.w.item() == pytest.approx(0.5)
    assert average.w.requires_grad and average.w.grad is None


def test_the_average_of_another_network_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        train.ema(nn.Linear(2, 2), nn.Linear(2, 2, bias=False))


# ------------------------------------------------------------------------------------------------------ checkpoints


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
    path = train.save(tmp_path / "new", 5, own)
    assert path == tmp_path / "new/step-00000005.safetensors" and train.checkpoints(tmp_path / "new") == [path]
    expected = advance(own, 5, 11)
    other = parts()
    advance(other, 0, 2)  # another state, which loading must replace whole
    assert train.load(path, other) == 5
    assert advance(other, 5, 11) == expected
    for name in ("model", "average"):
        for mine, theirs in zip(own[name].state_dict().values(), other[name].state_dict().values(), strict=True):
            assert torch.equal(mine, theirs)


def test_loading_can_leave_the_generators_alone(tmp_path: Path) -> None:
    own = parts()
    path = train.save(tmp_path, 1, own)
    train.seed_everything(7)
    expected = torch.rand(3)
    train.seed_everything(7)
    train.load(path, {"model": own["model"]}, rng=False)
    assert torch.equal(torch.rand(3), expected)


def test_the_newest_stay_and_what_a_kill_left_goes(tmp_path: Path) -> None:
    own = {"model": Weight()}
    (tmp_path / "step-00000001.partial").write_bytes(b"half a che")
    for step in (1, 2, 3, 10):
        train.save(tmp_path, step, own)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"step-{s:08d}.safetensors" for s in (3, 10)]
    train.save(tmp_path, 11, own, keep=3)
    assert [int(path.stem[5:]) for path in train.checkpoints(tmp_path)] == [3, 10, 11]
    assert train.checkpoints(tmp_path / "nowhere") == []


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_not_written(tmp_path: Path, bad: float) -> None:
    module = Weight()
    good = train.save(tmp_path, 1, {"model": module})
    with torch.no_grad():
        module.w.fill_(bad)
    with pytest.raises(Diverged, match=r"model\.w has values that are NaN or infinite at step 2"):
        train.save(tmp_path, 2, {"model": module})
    assert list(tmp_path.iterdir()) == [good]


def test_a_failed_write_leaves_the_older_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = train.save(tmp_path, 1, {"model": Weight(1.0)})

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        train.save(tmp_path, 2, {"model": Weight(2.0)})
    other = Weight()
    assert train.checkpoints(tmp_path) == [good]
    assert train.load(good, {"model": other}) == 1 and other.w.item() == 1.0


def test_no_pickle_and_readable_elsewhere(tmp_path: Path) -> None:
    from safetensors import safe_open

    path = train.save(tmp_path, 3, parts())
    with safe_open(path, framework="np") as file:
        header = json.loads(file.metadata()["genlab"])
        assert "model.0.weight" in file.keys()  # noqa: SIM118 (not a mapping)
        assert header["step"] == 3 and set(header["state"]) == {"items"}


def test_what_is_no_checkpoint_is_refused_in_words(tmp_path: Path) -> None:
    own = parts()
    missing, half, foreign = (tmp_path / f"{name}.safetensors" for name in ("missing", "half", "foreign"))
    whole = train.save(tmp_path / "good", 1, {"model": own["model"]})
    half.write_bytes(whole.read_bytes()[:-10])
    save_file({"w": torch.ones(2)}, foreign)
    for path in (missing, half, foreign):
        with pytest.raises(ValueError, match="is not a checkpoint of genlab"):
            train.load(path, own)
    with pytest.raises(ValueError, match="holds model, rng, but not average, batches, noise, optimizer, schedule"):
        train.load(whole, own)


def test_a_part_that_cannot_be_written_without_pickle_is_refused(tmp_path: Path) -> None:
    class Odd:
        def state_dict(self) -> dict[str, Any]:
            return {"function": print}

    with pytest.raises(TypeError, match=r"odd\.function is builtin_function_or_method"):
        train.save(tmp_path, 1, {"odd": Odd()})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [None, True, 3, 0.1, math.inf, "a", [1, (2.5, [None])], {0: {"x": ()}, "1": []}])
def test_nested_states_survive_json(value: Any) -> None:
    tensors: dict[str, Tensor] = {}
    tree = json.loads(json.dumps(train._flatten(value, "v", tensors)))
    assert train._unflatten(tree, tensors) == value and tensors == {}


def test_generators_of_gpus_are_restored_where_there_are_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU, torch.cuda is replaced by two generators that write down what they are given."""
    given: list[Any] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: [torch.ones(1), torch.zeros(1)])
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", given.append)
    state = train._rng_state()
    train._restore_rng(state)
    assert given == [[torch.ones(1), torch.zeros(1)]]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    train._restore_rng(state)
    assert len(given) == 1
