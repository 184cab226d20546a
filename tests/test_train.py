"""The loop against one written by hand, and checkpoints that bring everything back."""

import copy
import math
import random
from collections.abc import Iterator
from itertools import count, repeat
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from genlab import data, gan, nets, train
from genlab.train import Diverged, Noise, Player
from tests.helpers import Weight


def numbers() -> Iterator[Tensor]:
    """1, 2, 3, … as batches of one."""
    return (torch.tensor([float(i)]) for i in count(1))


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


class Pair(nn.Module):
    """Two weights, whose gradients are 3 and 4 times the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return 3 * self.a * x + 4 * self.b * x


def test_an_optimiser_over_part_of_a_module_decides_what_learns() -> None:
    """Clipping, zeroing and freezing agree: the other weight has no gradient, and none that would count in the norm."""
    pair, flags = Pair(), []

    def loss(batch: Tensor, step: int) -> Tensor:
        flags.append((pair.a.requires_grad, pair.b.requires_grad))
        return pair(batch).mean()

    one = Player("P", pair, loss, torch.optim.SGD([pair.a], lr=1.0), clip=1.0)
    for step, _ in train.train([one], repeat(torch.ones(1)), 3):
        assert pair.a.item() == pytest.approx(-step, rel=1e-4)  # with the other's 4 it would move by 3/5
        assert pair.b.item() == 0.0 and pair.b.grad is None and pair.b.requires_grad
    assert flags == [(True, False)] * 3


@pytest.mark.parametrize("leave", [False, True], ids=["go on", "break"])
def test_a_layer_frozen_in_the_body_stays_frozen(leave: bool) -> None:
    pair = Pair()
    one = Player("P", pair, lambda batch, step: pair(batch).mean(), torch.optim.SGD(pair.parameters(), lr=1.0))
    for step, _ in train.train([one], repeat(torch.ones(1)), 4):
        if step == 2:
            pair.b.requires_grad_(False)
            if leave:
                break
    assert not pair.b.requires_grad and pair.a.requires_grad
    assert (pair.a.item(), pair.b.item()) == (-3 * step, -4 * 2)


def test_a_layer_unfrozen_in_the_body_learns_in_its_own_players_moves_only() -> None:
    first, other = Pair(), Weight(1.0)
    first.b.requires_grad_(False)
    flags: list[tuple[str, bool]] = []

    def loss(name: str) -> Any:
        def value(batch: Tensor, step: int) -> Tensor:
            flags.append((name, first.b.requires_grad))
            return first(other(batch)).mean() + other(batch).mean()

        return value

    game = [player(first, loss("A"), name="A"), player(other, loss("B"), name="B")]
    for step, _ in train.train(game, repeat(torch.ones(1)), 2):
        if step == 1:
            assert first.b.item() == 0.0
            first.b.requires_grad_(True)
    assert flags == [("A", False), ("B", False), ("A", True), ("B", False)]
    assert first.b.item() != 0.0 and first.b.requires_grad


def test_a_player_with_other_attributes_is_another_player() -> None:
    one = player(Weight(), lambda batch, step: torch.zeros(()))
    other = one.replace(moves=5, clip=1.0)
    assert (other.moves, other.clip, other.optimizer, one.moves, one.clip) == (5, 1.0, one.optimizer, 1, None)
    with pytest.raises(ValueError, match="moves=0 and accumulate=1 must be at least 1"):
        one.replace(moves=0)
    with pytest.raises(ValueError, match=r"clip=0\.0 must be positive, .*None does not clip"):
        one.replace(clip=0.0)


# ------------------------------------------------------------------------------------------------ what comes in


def of_weight(batch: Tensor, step: int) -> Tensor:
    return batch.sum()


@pytest.mark.parametrize("kind", ["loader", "iterator of a loader", "list of tensors", "list of pairs", "labels"])
def test_batches_come_from_whatever_yields_them(kind: str) -> None:
    """Six images of one pixel, two a batch: an epoch is three batches, and then it begins again."""
    x, y = torch.arange(6.0).view(6, 1), torch.arange(6)
    plain = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x), 2)
    labelled = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), 2)
    steps, source = (
        5,
        {
            "loader": plain,
            "iterator of a loader": iter(labelled),
            "list of tensors": list(x.split(2)),
            "list of pairs": [[x[i : i + 2], y[i : i + 2]] for i in (0, 2, 4)],
            "labels": labelled,
        }[kind],
    )
    if kind == "iterator of a loader":
        steps = 3
    module, seen, labels = Weight(), [], []

    def loss(batch: Tensor | data.Batch, step: int) -> Tensor:
        images, own = data.unpack(batch)
        seen.append(images.flatten().tolist())
        labels.append(own)
        return module(images).mean()

    list(train.train([player(module, loss)], source, steps))
    assert seen == [[0, 1], [2, 3], [4, 5], [0, 1], [2, 3]][:steps]
    if kind in ("loader", "list of tensors"):
        assert labels == [None] * steps
    else:
        assert [own.tolist() for own in labels if own is not None] == seen


def test_a_loader_without_a_batch_is_refused_at_once() -> None:
    one = player(module := Weight(), lambda batch, step: module(batch).mean())
    few = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(3, 1)), 8, drop_last=True)
    for nothing in (few, []):
        with pytest.raises(ValueError, match="holds no batch"):
            train.train([one], nothing, 5)  # without a step
    with pytest.raises(ValueError, match="holds no batch"):
        next(train.train([one], iter([]), 5))


def test_arguments_in_another_order_are_answered_at_once() -> None:
    one = player(module := Weight(), lambda batch, step: module(batch).mean())
    batches = [torch.ones(1)]
    with pytest.raises(ValueError, match=r"needs a list of players first, but got list of Tensor; gan\.players, "):
        train.train(batches, [one], 5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs a list of players first, but got count"):
        train.train(count(), [one], 5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs a whole number as steps, but got list of Tensor"):
        train.train([one], 5, batches)  # type: ignore[arg-type]
    for wrong in (2.5, True, -1):
        with pytest.raises(ValueError, match=f"needs a whole number as steps, but got {wrong}"):
            train.train([one], batches, wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs a whole number as start, but got -1"):
        train.train([one], batches, 5, start=-1)
    with pytest.raises(ValueError, match="must be an Accelerator, but is int; a resumed run passes start= by name"):
        train.train([one], batches, 5, 3)
    with pytest.raises(ValueError, match="int is no source of batches"):
        train.train([one], 64, 5)  # type: ignore[arg-type]
    assert [step for step, _ in train.train(one, batches, int(np.int64(2)))] == [1, 2]  # one player, and no list of one
    assert [step for step, _ in train.train((one,), batches, np.int64(2))] == [1, 2]  # type: ignore[arg-type]


def test_an_optimiser_of_other_weights_is_refused() -> None:
    """Two that are swapped, and one that was made before its module was copied: nothing would move."""
    a, b = nn.Linear(2, 1), nn.Linear(2, 1)
    optimizer = torch.optim.SGD(a.parameters(), lr=0.1)
    message = "the optimiser of P holds 2 tensors, of which 2 are not weights of its module: make it from module"
    for module in (b, copy.deepcopy(a)):
        with pytest.raises(ValueError, match=message):
            Player("P", module, of_weight, optimizer)
    both = torch.optim.SGD([*a.parameters(), *b.parameters()], lr=0.1)
    with pytest.raises(ValueError, match=r"holds 4 tensors, of which 2 are not weights .* go into an nn\.ModuleList"):
        Player("P", a, of_weight, both)
    Player("P", nn.ModuleList([a, b]), of_weight, both)


def test_a_schedule_of_another_optimiser_is_refused() -> None:
    a = Weight()
    first, second = (torch.optim.SGD(a.parameters(), lr=0.1) for _ in range(2))  # the second as made anew in a notebook
    schedule = torch.optim.lr_scheduler.ConstantLR(first)
    with pytest.raises(ValueError, match="the schedule of P moves the learning rate of another optimiser"):
        Player("P", a, of_weight, second, schedule=schedule)
    Player("P", a, of_weight, first, schedule=schedule)
    plateau: Any = torch.optim.lr_scheduler.ReduceLROnPlateau(first)
    with pytest.raises(ValueError, match=r"is a ReduceLROnPlateau, .*: call its step\(loss\) in the body of the loop"):
        Player("P", a, of_weight, first, schedule=plateau)


def test_a_schedule_of_an_accelerator_belongs_to_its_optimiser() -> None:
    AcceleratorState._reset_state()
    module = Weight()
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda move: 0.5**move)
    accelerator = Accelerator(cpu=True)
    prepared = accelerator.prepare(module, optimizer, schedule)
    one = Player("P", prepared[0], lambda b, s: prepared[0](b).mean(), prepared[1], schedule=prepared[2])
    list(train.train(one, repeat(torch.ones(1)), 3, accelerator))
    assert module.w.item() == pytest.approx(-1.75)
    other = torch.optim.SGD(module.parameters(), lr=1.0)
    with pytest.raises(ValueError, match="the schedule of P moves the learning rate of another optimiser"):
        Player("P", prepared[0], of_weight, other, schedule=prepared[2])
    AcceleratorState._reset_state()


def test_a_schedule_that_has_ended_is_refused_at_once() -> None:
    """A cell with the loop runs twice, and the schedule was for one time."""

    def ends_after(moves: int, *, stops: bool) -> Player:
        module = Weight()
        optimizer = torch.optim.SGD(module.parameters(), lr=1.0)

        def share(move: int) -> float:
            return max(0.0, 1 - move / moves) if stops else 1 - move / moves

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        return Player("P", module, lambda b, s: module(b).mean(), optimizer, schedule=schedule)

    one, below = ends_after(4, stops=True), ends_after(4, stops=False)
    list(train.train(one, repeat(torch.ones(1)), 4))
    with pytest.raises(ValueError, match=r"the learning rate of P is 0: its schedule has ended .* make network, optim"):
        train.train(one, repeat(torch.ones(1)), 4)
    assert [step for step, _ in train.train(one, repeat(torch.ones(1)), 5, start=4)] == [5]  # resumed, with one longer
    loop = train.train(below, repeat(torch.ones(1)), 9)
    assert [next(loop)[0] for _ in range(5)] == [1, 2, 3, 4, 5]
    before = below.module.get_parameter("w").item()
    with pytest.raises(ValueError, match=r"the learning rate of P is -0\.25: its schedule was made for fewer moves"):
        next(loop)
    assert below.module.get_parameter("w").item() == before
    with pytest.raises(ValueError, match=r"the learning rate of P is -0\.25"):
        train.train(below, repeat(torch.ones(1)), 9)
    waits = ends_after(4, stops=True)
    for group in waits.optimizer.param_groups:
        group["lr"] = 0.0  # as a warm-up begins
    assert [step for step, _ in train.train(waits, repeat(torch.ones(1)), 2)] == [1, 2]


def test_an_accelerator_that_accumulates_or_scales_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    one = player(module := Weight(), lambda batch, step: module(batch).mean())
    AcceleratorState._reset_state(reset_partial_state=True)
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    with pytest.raises(
        ValueError, match=r"by 4 accumulation steps, .* use Player\.accumulate, and unset ACCELERATE_GR"
    ):
        train.train([one], numbers(), 1, Accelerator(cpu=True))
    monkeypatch.delenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS")
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(cpu=True)
    list(train.train([one], numbers(), 1, accelerator))
    monkeypatch.setattr(Accelerator, "mixed_precision", "fp16")  # accelerate itself wants a GPU for it
    with pytest.raises(ValueError, match=r"mixed_precision='fp16' scales losses, .* use .bf16. or .no."):
        train.train([one], numbers(), 1, accelerator)
    AcceleratorState._reset_state(reset_partial_state=True)


# ------------------------------------------------------------------------------------------- counting, and stopping


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
    loop = train.train([one], iter([torch.ones(1)] * 2), 9)
    assert [next(loop)[0], next(loop)[0]] == [1, 2]
    with pytest.raises(ValueError, match="ran out after 2 batches and cannot be read again; pass an endless iterator"):
        next(loop)
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


class Row(nn.Module):
    """n weights in half precision."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(n, dtype=torch.float16))


@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("size", [1.0, 300.0])
def test_many_gradients_in_half_precision_do_not_overflow(size: float, clip: float | None) -> None:
    """70,000 of 1, whose sum float16 cannot hold; of 300, whose norm it cannot hold either."""
    row = Row(70_000)
    one = player(row, lambda batch, step: (size * row.w).float().sum(), clip=clip, lr=2.0**-5)
    list(train.train([one], numbers(), 1))
    step = size if clip is None else 1 / math.sqrt(70_000)
    torch.testing.assert_close(row.w.detach().float(), torch.full((70_000,), -step / 32), rtol=2e-3, atol=1e-7)


@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_bad_gradient_among_many_is_found(bad: float, clip: float | None) -> None:
    row = Row(70_000)
    factors = torch.ones(70_000)
    factors[40_000] = bad
    one = player(row, lambda batch, step: row.w.float().sum(), clip=clip)
    row.w.register_hook(lambda gradient: gradient * factors.half())
    with pytest.raises(Diverged, match=r"^the gradient of P is NaN or infinite at step 1$"):
        list(train.train([one], numbers(), 1))
    assert not row.w.any()


def test_a_loss_that_reaches_no_weight_of_its_player_is_refused() -> None:
    elsewhere, own = Weight(1.0), Weight(1.0)
    for loss in (lambda b, s: elsewhere.w.square(), lambda b, s: own.w.detach(), lambda b, s: 0 * elsewhere.w.detach()):
        with pytest.raises(ValueError, match=r"the loss of P does not depend on any weight .* without detach\(\)"):
            list(train.train([player(own, loss)], numbers(), 1))
    own.requires_grad_(False)
    with pytest.raises(ValueError, match="if all its weights are frozen, leave the player out"):
        list(train.train([player(own, lambda b, s: own(b).mean())], numbers(), 1))


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


def test_an_average_in_half_precision_is_refused_and_one_of_half_precision_is_not() -> None:
    """In bfloat16 a thousandth of the way is rounded off, and the average would stay where it began for ever."""
    module = nn.Linear(3, 2).bfloat16()
    with pytest.raises(ValueError, match=r"an average in torch.bfloat16 rounds steps of 0\.001 .*deepcopy.*float\(\)"):
        train.ema(copy.deepcopy(module), module)
    with pytest.raises(ValueError, match=r"an average in torch\.float16"):
        train.ema(nn.Linear(3, 2).half(), module)
    average = copy.deepcopy(module).float()
    nn.init.zeros_(average.weight)
    for _ in range(5):
        train.ema(average, module)
    assert average.weight.dtype == torch.float32
    torch.testing.assert_close(average.weight, (1 - 0.999**5) * module.weight.float())


def test_the_average_of_another_network_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        train.ema(nn.Linear(2, 2), nn.Linear(2, 2, bias=False))
