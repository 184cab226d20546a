"""The study of chapter 14: who trains on what, what remedies do to a step, and choices that stored runs bear out."""

from typing import Any

import pytest
import torch
from torch import nn

from genlab import studies, train
from genlab.studies import overfitting


def settings(model: str, **options: Any) -> dict[str, Any]:
    return {"model": model, "arm": "any", "seed": 0, "options": options}


def test_nobody_trains_on_what_validates_or_judges() -> None:
    valid, test = overfitting.held_out()
    kept = {x.numpy().tobytes() for part in (valid, test) for x in part}
    used = {x.numpy().tobytes() for seed in (0, 100) for x in overfitting.chosen_images(seed, 3000)}
    assert valid.dtype == torch.uint8 and len(valid) == len(test) == 1000 and len(used) > 2900 and not kept & used


def test_a_seed_draws_its_own_digits_and_smaller_sets_lie_in_larger_ones() -> None:
    small, large = overfitting.chosen_images(1, 50), overfitting.chosen_images(1)
    assert torch.equal(large[:50], small) and len(large) == 250
    assert not torch.equal(overfitting.chosen_images(2), large)
    views = overfitting.chosen_images(1, 50, views=5)
    assert views.shape == large.shape and views.dtype == torch.uint8
    ink = views.view(5, 50, -1).float().sum(2)
    assert (ink - small.view(50, -1).float().sum(1)).abs().max() < 2000  # what a shift pushes over the edge
    assert not torch.equal(views[:50], views[50:100])


def test_penalties_add_to_the_loss_of_weights_and_not_of_biases() -> None:
    net = nn.Linear(3, 2)
    plain = train.Player("net", net, lambda batch, step: net(batch).sum(), torch.optim.SGD(net.parameters(), 1.0))
    x = torch.randn(4, 3)
    grads = []
    for player in (plain, overfitting.penalised(plain, net, 0.3, 0.5)):
        net.zero_grad()
        player.loss(x, 1).backward()
        grads.append([p.grad.clone() for p in (net.weight, net.bias) if p.grad is not None])
    w = net.weight.detach()
    torch.testing.assert_close(grads[1][0] - grads[0][0], 0.3 * w.sign() + 0.5 * w)
    assert torch.equal(grads[0][1], grads[1][1])
    assert overfitting.penalised(plain, net, 0.0, 0.0) is plain


def test_decay_shrinks_weights_by_rate_times_decay_and_spares_biases() -> None:
    net, before = nn.Linear(3, 2), {}
    for p in net.parameters():
        before[p] = p.detach().clone()
        p.grad = torch.zeros_like(p)
    overfitting.optimizer(net, 0.1, decay=2.0).step()
    torch.testing.assert_close(net.weight.detach(), 0.8 * before[net.weight])
    assert torch.equal(net.bias, before[net.bias])


@pytest.mark.parametrize("model", ["VAE", "GAN"])
def test_each_option_changes_the_run_it_is_given_to(model: str) -> None:
    def after_three(**options: Any) -> torch.Tensor:
        run = overfitting.begin(settings(model, **options))
        for _ in train.train(run.players, run.batches, 3):
            pass
        return torch.cat([p.detach().flatten() for p in run.net.parameters()])

    plain = after_three()
    assert torch.equal(plain, after_three())
    for arm, options in overfitting.arms(model).items():
        if arm != "baseline":
            changed = after_three(**options)
            assert changed.shape != plain.shape or not torch.equal(changed, plain), arm


def test_attacks_on_scores_that_can_be_counted() -> None:
    members, strangers = torch.tensor([3.0, 2.0, 1.0, 0.0]), torch.tensor([2.0, 0.5])
    assert overfitting.above(members, strangers) == pytest.approx((1 + 1 + 0.5 + 1 + 0 + 1 + 0 + 0) / 8)
    strangers = torch.arange(1000.0)
    members = torch.tensor([0.0, 989.0, 989.5, 2000.0])
    limit = 989.0  # ten of a thousand, 1 %, lie above it
    assert overfitting.caught(members, strangers) == (members > limit).double().mean() == 0.5


def test_narrow_samples_are_judged_in_one_cell() -> None:
    train_rows, test_rows = torch.randn(2, 100, 4, generator=torch.Generator().manual_seed(0)).double()
    assert overfitting.c_t(train_rows, test_rows, train_rows[:1].expand(50, 4)) < -3
    assert abs(overfitting.c_t(train_rows, test_rows, test_rows.flip(0))) < 1


def test_strengths_are_those_that_validation_digits_chose() -> None:
    stored = [run for run in studies.stored("overfitting") if run["arm"] == "tune"]
    assert {run["seed"] for run in stored} == {overfitting.TUNING_SEED}
    assert overfitting.TUNING_SEED not in range(overfitting.SEEDS)
    for model, grid in overfitting.GRID.items():
        for key in grid:
            tried = {r["options"][key]: r["held"] for r in stored if r["model"] == model and key in r["options"]}
            assert set(tried) == set(grid[key]) and min(tried, key=tried.__getitem__) == overfitting.CHOSEN[model][key]


def test_the_early_model_is_that_of_the_lowest_look() -> None:
    for run in studies.stored("overfitting"):
        if run["arm"] != "tune":
            best = min(run["curve"], key=lambda row: row[2])
            assert len(run["curve"]) == overfitting.LOOKS and run["early"]["step"] == best[0]
            if best[0] == overfitting.STEPS[run["model"]]:
                assert run["early"]["fcd"] == run["fcd"] and run["early"]["attack_auc"] == run["attack_auc"]
