"""The study of chapter 18: one arithmetic, one start and one set of draws for all targets, samples judged alike."""

import json
import math

import pytest
import torch

from genlab import diffusion, studies
from genlab.studies import targets


def test_only_the_target_differs_between_the_runs_of_a_seed() -> None:
    runs = studies.study("targets").runs
    for seed in range(targets.SEEDS):
        own = [run for run in runs if run["seed"] == seed]
        assert [run["target"] for run in own] == list(diffusion.TARGETS)
        assert len({json.dumps(run | {"target": None}) for run in own}) == 1


def test_training_repeats_itself_and_depends_on_target_and_seed() -> None:
    cases = [("velocity", 1), ("velocity", 1), ("velocity", 2), ("noise", 1)]
    first, again, other, noise = (targets.trained(target, seed, steps=2).state_dict() for target, seed in cases)
    assert all(torch.equal(first[name], again[name]) for name in first)
    for changed in (other, noise):
        assert any(not torch.equal(first[name], changed[name]) for name in first)


def test_errors_are_those_of_the_network_that_predicts_nothing() -> None:
    """Its output is 0, so x̂ is 0, x_t / α, or x_t, by the target."""

    def nothing(x: torch.Tensor, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x)

    times = torch.tensor(targets.LOOKS)
    ink, noise, velocity = (torch.tensor(targets.errors(nothing, name, n=50)) for name in ("data", "noise", "velocity"))
    assert ink.std() < 1e-5  # the mean square of the digits' pixels, at every time
    torch.testing.assert_close(noise, (times / (1 - times)) ** 2, rtol=0.03, atol=0)
    # x − x_t = t (x − ε), whose mean square is that of x plus 1
    torch.testing.assert_close(velocity, times**2 * (ink + 1), rtol=0.03, atol=0)


def test_samples_lie_in_the_range_of_pixels_and_share_their_noise() -> None:
    model = targets.trained("velocity", 0, steps=1)
    with torch.no_grad():
        model.get_parameter("output.bias").fill_(30.0)  # far outside, unless x̂ is clipped
    x = targets.samples(model, "velocity", 2.0, seed=0, n=20)
    assert x.shape == (20, 1, 28, 28) and x.min() >= 0 and x.max() <= 1
    assert torch.equal(x, targets.samples(model, "velocity", 2.0, seed=0, n=20))


def test_pictures_come_back_in_sixteen_greys() -> None:
    x = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    found = targets.unpacked(targets.packed(x))
    assert found.shape == x.shape and (found - x).abs().max() <= 0.5 / 15 + 1e-6


@pytest.mark.parametrize("bad", [-0.01, 1.01, 255.0, math.nan, math.inf])
def test_pictures_outside_the_range_are_refused(bad: float) -> None:
    x = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    x[1, 0, 5, 5] = bad
    with pytest.raises(ValueError, match=r"images has values .* expected \[0, 1\] without NaN"):
        targets.packed(x)


@pytest.mark.parametrize("shape", [(1, 28, 28), (2, 784), (2, 3, 28, 28), (2, 1, 32, 32)])
def test_pictures_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"images has shape .* expected digits \(n, 1, 28, 28\)"):
        targets.packed(torch.zeros(shape))


@pytest.mark.parametrize("seed", range(targets.SEEDS))
def test_pictures_are_kept_of_the_first_seed_alone(seed: int) -> None:
    rows = [row for row in studies.stored("targets") if row["seed"] == seed]
    kept = ["pictures" in sample for row in rows for sample in row["samples"]]
    assert kept == [seed == 0] * len(rows) * len(targets.WEIGHTS)
    assert all(len(row["error"]) == len(targets.LOOKS) for row in rows)
