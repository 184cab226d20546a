"""Streamed moments, limits, floors, slices and scores of one set: closed forms, SciPy, scikit-learn, torch-fidelity."""

import math
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from jaxtyping import config
from safetensors.torch import load_file
from sklearn.metrics.pairwise import cosine_similarity, rbf_kernel
from torch import Tensor
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric

from genlab.metrics import distances
from genlab.metrics.distances import (
    frechet_distance,
    frechet_floor,
    frechet_limit,
    kernel_estimate,
    sliced_wasserstein,
)
from genlab.metrics.diversity import inception_score, vendi_score
from genlab.metrics.moments import Moments, products


def normal(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def unchecked() -> Iterator[None]:
    """The package as users run it, without the checks of shape annotations that come before its own."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


# --------------------------------------------------------------------------------------------------------- moments


@pytest.mark.parametrize("d", [1, 5])
@pytest.mark.parametrize("sizes", [[100], [1, 99], [1] * 100, [33, 1, 66]])
def test_moments_of_batches_are_those_of_all_rows(sizes: list[int], d: int) -> None:
    x = normal(100, d) @ normal(d, d, 1) + 3
    moments = Moments(d)
    for part in x.split(sizes):
        assert moments.update(part) is moments
    assert moments.n == 100 and moments.d == d
    torch.testing.assert_close(moments.mean, x.mean(0))
    expected = torch.from_numpy(np.cov(x.numpy(), rowvar=False).reshape(d, d))
    torch.testing.assert_close(moments.covariance, expected)


def test_moments_far_from_zero_keep_the_digits_that_squares_lose() -> None:
    x = normal(1000, 4) + 1e8
    expected = np.cov((x - 1e8).numpy(), rowvar=False)  # these differences are exact; a mean is so up to 1.5e-8
    moments = Moments(4)
    for part in x.split(70):
        moments.update(part)
    np.testing.assert_allclose(moments.covariance, expected, rtol=0, atol=1e-8)
    merged = Moments(4).update(x[:600]).merge(Moments(4).update(x[600:]))
    np.testing.assert_allclose(merged.covariance, expected, rtol=0, atol=1e-8)
    np.testing.assert_allclose(moments.gather().covariance, expected, rtol=0, atol=1e-8)
    squares = (x.T @ x - 1000 * x.mean(0).outer(x.mean(0))) / 999
    assert abs(squares.numpy() - expected).max() > 0.1


def test_moments_merge_in_any_order_and_with_none() -> None:
    parts = [normal(n, 3, n) * n + n for n in (1, 2, 40)]
    whole = torch.cat(parts)
    for order in ((0, 1, 2), (2, 0, 1)):
        moments = Moments(3).merge(Moments(3))
        for i in order:
            other = Moments(3).update(parts[i])
            before = other.mean
            assert moments.merge(other) is moments
            assert other.n == len(parts[i]) and torch.equal(other.mean, before)
        moments.merge(Moments(3))
        torch.testing.assert_close(moments.covariance, torch.cov(whole.T))
        torch.testing.assert_close(moments.mean, whole.mean(0))
        assert moments.n == 43


def test_moments_take_arrays_and_whole_numbers_and_keep_nothing_of_their_callers() -> None:
    x = torch.randint(0, 9, (50, 3))
    moments = Moments(3).update(x.numpy())
    torch.testing.assert_close(moments.covariance, torch.cov(x.double().T))
    moments.mean.zero_()
    moments.gather().update(x + 100)
    torch.testing.assert_close(moments.mean, x.double().mean(0))
    assert Moments(3).update(torch.ones(4, 3)).covariance.count_nonzero() == 0


def test_moments_refuse_what_does_not_fit(unchecked: None) -> None:
    with pytest.raises(ValueError, match="d=0 must be at least 1"):
        Moments(0)
    moments = Moments(3)
    for bad in (torch.ones(4, 2), torch.ones(0, 3), torch.ones(3)):
        with pytest.raises(ValueError, match=r"rows must be \(k, 3\)"):
            moments.update(bad)
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="NaN or infinite"):
            moments.update(torch.tensor([[1.0, value, 2.0]]))
    with pytest.raises(ValueError, match="3 features cannot take in moments of 2"):
        moments.merge(Moments(2).update(torch.ones(1, 2)))
    assert moments.n == 0
    with pytest.raises(ValueError, match="0 rows were taken in, but at least 1"):
        _ = moments.mean
    with pytest.raises(ValueError, match="1 rows were taken in, but at least 2"):
        _ = moments.update(torch.ones(1, 3)).covariance


@pytest.mark.parametrize("d", [7, 1023, 1024, 1025, 2050])
def test_products_use_their_symmetry_at_every_width(d: int) -> None:
    x = normal(3, d)
    torch.testing.assert_close(products(x), x.T @ x)


PROGRAM = """
import sys
from datetime import timedelta
import torch
from safetensors.torch import save_file
from genlab.metrics.moments import Moments
rank, folder = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
torch.distributed.init_process_group(
    "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2, timeout=timedelta(seconds=60)
)
x = torch.randn(100, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1e6
x[70:] += 5
found = {}
for name, mine in (("uneven", (x[:70], x[70:])[rank]), ("idle", (x, x[:0])[rank])):
    moments = Moments(4)
    for part in mine.split(16):
        if len(part):
            moments.update(part)
    whole = moments.gather()
    assert moments.n == len(mine), "gathering changed what it gathers from"
    found |= {f"{name}-mean": whole.mean, f"{name}-cov": whole.covariance, f"{name}-n": torch.tensor(whole.n)}
assert Moments(4).gather().n == 0
save_file(found, f"{folder}/{rank}.safetensors")
torch.distributed.destroy_process_group()
"""


def test_gathered_moments_are_those_of_one_process(tmp_path: Path) -> None:
    """Unequal shares of rows with different means, and a process without rows."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(rank), str(tmp_path)],
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        for rank in range(2)
    ]
    for process in started:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    x = normal(100, 4) + 1e6
    x[70:] += 5
    for rank in range(2):
        found = load_file(tmp_path / f"{rank}.safetensors")
        for name in ("uneven", "idle"):
            assert found[f"{name}-n"] == 100
            torch.testing.assert_close(found[f"{name}-mean"], x.mean(0))
            torch.testing.assert_close(found[f"{name}-cov"], torch.cov(x.T))


def test_frechet_distance_takes_moments_for_features() -> None:
    x, y = normal(300, 6), normal(200, 6, 1) @ normal(6, 6, 2) + 1
    expected = frechet_distance(x, y)
    p, q = Moments(6).update(x[:120]).update(x[120:]), Moments(6).update(y)
    for a, b in ((p, q), (x, q), (p, y), (p, y.numpy())):
        assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    few = Moments(6).update(x[:4])  # fewer rows than features: singular, and right up to the root of rounding
    assert frechet_distance(few, q) == pytest.approx(frechet_distance(x[:4], y), rel=1e-5)
    with pytest.raises(ValueError, match="moments of 6 features and of 5"):
        frechet_distance(p, Moments(5).update(x[:, :5]))
    with pytest.raises(ValueError, match="at least 2"):
        frechet_distance(p, y[:1])
    with pytest.raises(ValueError, match="NaN or infinite"):
        frechet_distance(p, y * math.nan)


# ---------------------------------------------------------------------------------------------------- limit, floor


def quadratic(d: int) -> float:
    """n times the bias that a sample of n rows of N(0, I) brings, to first order; the same again for the other one."""
    return d + (d**2 + d) / 4


def test_limit_of_equal_laws_is_zero_where_the_plain_distance_is_many_standard_errors_off() -> None:
    x, found, plain = normal(40_000, 48), [], []
    for seed in range(1, 13):
        y = normal(600, 48, seed)
        found.append(frechet_limit(x, y))
        plain.append(frechet_distance(x, y))
    values, errors, slopes = torch.tensor(found, dtype=torch.float64).unbind(1)
    assert abs(values.mean()) < 0.06 * np.mean(plain)  # at twelve rows a feature; of which about half are chance
    assert (values.abs() < 4 * errors).all() and values.min() < 0 < values.max()
    assert min(plain) > 6 * errors.max() and min(plain) > 0.8
    assert slopes.mean() == pytest.approx(quadratic(48), rel=0.08)


def test_limit_of_laws_that_differ_is_the_distance_of_their_gaussians_and_its_error_is_how_it_scatters() -> None:
    """N(0, I) against N(0.3, 1.3² I) in eight dimensions: 8 (0.09 + 0.09)."""
    x = normal(50_000, 8)
    found = [frechet_limit(x, 1.3 * normal(200, 8, seed) + 0.3, points=8) for seed in range(1, 101)]
    values, errors, _ = torch.tensor(found, dtype=torch.float64).unbind(1)
    assert abs(values.mean() - 1.44) < 4 * values.std() / 10
    assert 0.85 < errors.square().mean().sqrt() / values.std() < 1.2
    assert 0.9 <= ((values - 1.44).abs() < 1.96 * errors).double().mean() <= 0.99


def test_finite_x_leaves_its_bias_in_the_limit_and_both_takes_it_out() -> None:
    d, n = 12, 300
    one, two = [], []
    for seed in range(40):
        x, y = normal(n, d, 2 * seed), normal(250, d, 2 * seed + 1)
        one.append(frechet_limit(x, y, points=6))
        two.append(frechet_limit(x, y, points=6, both=True))
    values, _, slopes = torch.tensor(one, dtype=torch.float64).unbind(1)
    assert abs(values.mean() - quadratic(d) / n) < 4 * values.std() / 40**0.5
    assert values.mean() > 8 * values.std() / 40**0.5
    assert slopes.mean() == pytest.approx(quadratic(d), rel=0.1)
    values, errors, slopes = torch.tensor(two, dtype=torch.float64).unbind(1)
    assert abs(values.mean()) < 4 * values.std() / 40**0.5
    assert errors.square().mean().sqrt() > 0.9 * values.std()
    assert slopes.mean() == pytest.approx(quadratic(d) * (1 + 250 / n), rel=0.1)


def test_error_with_both_counts_the_samples_x_too() -> None:
    """Few rows of x and many of y: nearly all of the scatter comes from x."""
    made = [(normal(60, 3, seed), 1.5 * normal(600, 3, 100 + seed) + 0.5) for seed in range(60)]
    values, errors, _ = torch.tensor([frechet_limit(x, y, points=5, both=True) for x, y in made]).unbind(1)
    assert 0.75 < errors.square().mean().sqrt() / values.std() < 1.35


@pytest.mark.parametrize("n", [300, 4])  # of x: with four rows its covariance is singular
def test_sampling_variance_is_the_jackknife_s(n: int) -> None:
    x, y = normal(n, 6), 1.5 * normal(80, 6, 1) + 0.4
    without = [frechet_distance(x, y[torch.arange(80) != i]) for i in range(80)]
    expected = 79 * np.var(without)
    assert distances._sampling_variance(x, y).item() == pytest.approx(expected, rel=0.1)


def test_limit_of_constant_features_is_their_squared_difference() -> None:
    x = torch.full((40, 3), 2.0)
    assert frechet_limit(x, x + 1) == pytest.approx((3, 0, 0), abs=1e-12)
    y = normal(200, 3)
    y[:, 1] = 2
    value, error, _ = frechet_limit(normal(100, 3, 1), y)
    assert value > 3 and 0 < error < 1


def test_limit_repeats_with_its_seed_and_takes_arrays() -> None:
    x, y = normal(100, 3), normal(60, 3, 1)
    assert frechet_limit(x, y) == frechet_limit(x.numpy(), y.numpy()) != frechet_limit(x, y, seed=1)
    whole = torch.randint(0, 9, (60, 3))
    assert frechet_limit(x, whole) == frechet_limit(x, whole.double())


def test_limit_refuses_too_little(unchecked: None) -> None:
    x, y = normal(50, 10), normal(50, 10, 1)
    frechet_limit(x[:20], y)
    with pytest.raises(ValueError, match=r"39 rows of y are too few.*at least 40 for 10 features"):
        frechet_limit(x, y[:39])
    with pytest.raises(ValueError, match="20 rows of x or y are too few"):
        frechet_limit(x[:20], y, both=True)
    with pytest.raises(ValueError, match="points=2 must be at least 3"):
        frechet_limit(x, y, points=2)
    for bad in (y[:0], y[:, :5], y * math.nan, y[0]):
        with pytest.raises(ValueError, match="features"):
            frechet_limit(x, bad)


def test_floor_is_the_bias_of_both_sides_and_its_error_how_one_distance_scatters() -> None:
    real = normal(30_000, 8)
    value, error = frechet_floor(real, 200, repeats=40)
    assert abs(value - 2 * quadratic(8) / 200) < 4 * error / 40**0.5 + 0.01
    fresh = [frechet_distance(normal(200, 8, 2 * i), normal(200, 8, 2 * i + 1)) for i in range(1, 60)]
    assert error == pytest.approx(np.std(fresh), rel=0.4)


def test_floor_compares_disjoint_halves() -> None:
    """Of four points there are three ways to make two pairs; subsets that overlap have other distances."""
    real = torch.tensor([[0.0], [1.0], [10.0], [37.0]])
    ways = [frechet_distance(real[[0, i]], real[[j for j in (1, 2, 3) if j != i]]) for i in (1, 2, 3)]
    for seed in range(8):
        found = frechet_floor(real, 2, repeats=2, seed=seed)
        possible = [(np.mean(two), np.std(two, ddof=1)) for two in combinations_with_replacement(ways, 2)]
        assert any(found == pytest.approx(one, rel=1e-6, abs=1e-6) for one in possible)
    assert len({frechet_floor(real, 2, repeats=2, seed=seed) for seed in range(8)}) > 1
    assert frechet_floor(torch.ones(9, 2), 3) == (0, 0)
    assert frechet_floor(real, 2, seed=3) == frechet_floor(real.numpy(), 2, seed=3)


def test_floor_refuses_too_little(unchecked: None) -> None:
    real = normal(21, 3)
    frechet_floor(real, 10)
    for n in (11, 1, 0):
        with pytest.raises(ValueError, match=f"n={n} must lie between 2 and 10"):
            frechet_floor(real, n)
    with pytest.raises(ValueError, match="repeats=1 must be at least 2"):
        frechet_floor(real, 5, repeats=1)
    for bad in (real[:0], real[:1], real * math.nan):
        with pytest.raises(ValueError, match="features"):
            frechet_floor(bad, 5)


# ------------------------------------------------------------------------------------------------ kernel distance


@pytest.mark.parametrize("rows", [1, 7, 30])
def test_kernel_estimate_does_not_depend_on_its_blocks(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    x, y = normal(61, 5), normal(43, 5, 1) + 0.3
    whole = kernel_estimate(x, y)
    monkeypatch.setattr(distances, "BLOCK", rows * 61)
    assert kernel_estimate(x, y) == pytest.approx(whole, rel=1e-12)
    same = kernel_estimate(x, x)
    monkeypatch.undo()
    assert same == pytest.approx(kernel_estimate(x, x), rel=1e-12)


# --------------------------------------------------------------------------------------------- sliced Wasserstein


@pytest.mark.parametrize(("n", "m"), [(50, 50), (40, 64), (1, 9), (30, 31)])
@pytest.mark.parametrize("lattice", [False, True])
def test_slices_are_scipys_distances(n: int, m: int, lattice: bool) -> None:
    x, y = normal(n, 3), normal(m, 3, 1) * 1.5 + 0.5
    if lattice:  # where most coordinates are tied
        x, y = x.round(), y.round()
    found = [
        sliced_wasserstein(x[:, [j]], y[:, [j]], directions=3, order=1)  # in one dimension all directions agree
        for j in range(3)
    ]
    expected = [scipy.stats.wasserstein_distance(x[:, j].numpy(), y[:, j].numpy()) for j in range(3)]
    assert found == pytest.approx(expected, rel=1e-12)
    theta = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    theta = (theta / theta.norm(dim=1, keepdim=True)).numpy()
    expected = [scipy.stats.wasserstein_distance(x.numpy() @ t, y.numpy() @ t) for t in theta]
    assert sliced_wasserstein(x, y, directions=20, order=1, seed=4) == pytest.approx(np.mean(expected), rel=1e-10)


@pytest.mark.parametrize("order", [1, 2, 3.5])
@pytest.mark.parametrize(("n", "m"), [(4, 6), (5, 7), (9, 3)])
def test_unequal_sets_are_compared_as_if_repeated_to_equal_length(n: int, m: int, order: float) -> None:
    x, y = normal(n, 1), normal(m, 1, 1) + 1
    a, b = np.sort(np.repeat(x.numpy(), m)), np.sort(np.repeat(y.numpy(), n))
    expected = np.mean(np.abs(a - b) ** order) ** (1 / order)
    assert sliced_wasserstein(x, y, order=order) == pytest.approx(expected, rel=1e-12)
    assert sliced_wasserstein(y, x, order=order) == pytest.approx(expected, rel=1e-12)


def test_slices_of_a_shift_and_of_gaussians() -> None:
    """A shift s: ‖s‖ / √d. N(0, diag σ²) against N(0, I): E (√Σ θ²σ² − 1)²."""
    x, shift = normal(30, 10), torch.arange(10.0).double()
    expected = shift.norm().item() / 10**0.5
    assert sliced_wasserstein(x, x + shift, directions=20_000) == pytest.approx(expected, rel=0.02)
    scale = torch.tensor([0.5, 1, 3]).double()
    theta = normal(200_000, 3, 9)
    theta = theta / theta.norm(dim=1, keepdim=True)
    expected = ((theta * scale).norm(dim=1) - 1).square().mean().sqrt().item()
    found = sliced_wasserstein(normal(20_000, 3), normal(15_000, 3, 1) * scale)
    assert found == pytest.approx(expected, rel=0.06)


def test_slices_of_copies_are_zero_however_often_they_are_repeated() -> None:
    x = normal(30, 4)
    assert sliced_wasserstein(x, x.flip(0)) == 0
    assert sliced_wasserstein(x, x.repeat(3, 1)) == pytest.approx(0, abs=1e-12)
    assert sliced_wasserstein(x, x[:29]) > 1e-3
    constant = torch.zeros(5, 2)
    assert sliced_wasserstein(constant, constant[:3]) == 0
    assert sliced_wasserstein(torch.randint(0, 5, (9, 2)), np.ones((4, 2), dtype=np.int64)) > 0


def test_slices_repeat_with_their_seed_and_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(30, 4), normal(20, 4, 1)
    whole = sliced_wasserstein(x, y, seed=2)
    assert whole == sliced_wasserstein(x, y, seed=2) != sliced_wasserstein(x, y, seed=3)
    for rows in (1, 7, 33):
        monkeypatch.setattr(distances, "BLOCK", rows * 50)
        assert sliced_wasserstein(x, y, seed=2) == pytest.approx(whole, rel=1e-12)


def test_slices_refuse_bad_input(unchecked: None) -> None:
    x = normal(9, 3)
    for bad in (x[:0], x[:, :2], x * math.nan, x[0]):
        with pytest.raises(ValueError, match="features"):
            sliced_wasserstein(x, bad)
    for wrong in ({"directions": 0}, {"order": 0.5}, {"order": math.inf}, {"order": math.nan}):
        with pytest.raises(ValueError, match=r"directions=.* and order=.* a finite number from 1 on"):
            sliced_wasserstein(x, x, **wrong)


# ------------------------------------------------------------------------------------------------- inception score


@pytest.mark.parametrize(("n", "splits"), [(200, 10), (103, 10), (103, 4), (50, 1), (7, 7)])
def test_inception_score_is_that_of_torch_fidelity(n: int, splits: int) -> None:
    logits = 3 * normal(n, 6)
    theirs = isc_features_to_metric(logits, splits=splits, shuffle=False)
    value, error = inception_score(logits.softmax(1), splits=splits)
    assert value == pytest.approx(theirs[KEY_METRIC_ISC_MEAN], rel=1e-12)
    if splits == 1:
        assert math.isnan(error)
    else:
        assert error == pytest.approx(theirs[KEY_METRIC_ISC_STD], rel=1e-9, abs=1e-12)


def test_inception_score_of_sure_and_unsure_classifiers() -> None:
    """Sure and equally frequent classes score their number, one class or no opinion 1, others their entropy's exp."""
    assert inception_score(torch.eye(5).repeat(20, 1), splits=4) == pytest.approx((5, 0))
    assert inception_score(torch.eye(5)[:1].repeat(20, 1)) == pytest.approx((1, 0))
    assert inception_score(torch.full((20, 5), 0.2)) == pytest.approx((1, 0))
    entropy = scipy.stats.entropy([0.75, 0.25])
    assert inception_score(np.eye(3)[[0, 0, 0, 1]], splits=1).value == pytest.approx(math.exp(entropy))
    assert inception_score(torch.eye(5, dtype=torch.int64).repeat(2, 1), splits=2).value == pytest.approx(5)
    sorted_rows = torch.eye(5).repeat_interleave(20, 0)
    assert inception_score(sorted_rows, splits=5).value == pytest.approx(1)  # a split then sees one class alone


def test_bias_of_the_inception_score() -> None:
    """A classifier whose sure answers are by chance: the logarithm lies (c − 1) / 2n below log c."""
    labels = torch.randint(0, 5, (40_000,), generator=torch.Generator().manual_seed(0))
    value = inception_score(torch.eye(5)[labels], splits=400).value
    assert math.log(5) - math.log(value) == pytest.approx(4 / 200, rel=0.15)


def test_inception_score_refuses_what_are_no_probabilities(unchecked: None) -> None:
    p = torch.full((20, 4), 0.25)
    for bad in (p * 1.01, p * 4 - 0.75 + torch.eye(4).repeat(5, 1), p * math.nan, 3 * normal(20, 4)):
        with pytest.raises(ValueError, match=r"sum to 1 in each row.*logits.softmax\(1\)"):
            inception_score(bad)
    for bad in (p[:0], p[:, :0], p[0]):
        with pytest.raises(ValueError, match=r"probabilities must be \(n, c\)"):
            inception_score(bad)
    for splits in (0, 21):
        with pytest.raises(ValueError, match=f"splits={splits} must lie between 1 and the number of rows, 20"):
            inception_score(p, splits=splits)
    assert inception_score(p.half().softmax(1)).value == pytest.approx(1)


# ----------------------------------------------------------------------------------------------------- Vendi score


def entropy_of(kernel: np.ndarray) -> float:
    return math.exp(scipy.stats.entropy(np.linalg.eigvalsh(kernel / len(kernel)).clip(0)))


@pytest.mark.parametrize(("n", "d"), [(40, 7), (7, 40), (20, 20), (1, 3), (30, 1)])
def test_vendi_score_is_its_definition_by_scikit_learn(n: int, d: int) -> None:
    x = normal(n, d) + 0.5
    assert vendi_score(x) == pytest.approx(entropy_of(cosine_similarity(x.numpy())), rel=1e-9)
    for b in (0.3, 2.0):
        expected = entropy_of(rbf_kernel(x.numpy(), gamma=1 / (2 * b**2)))
        assert vendi_score(x, kernel="rbf", bandwidth=b) == pytest.approx(expected, rel=1e-9)


def test_vendi_score_counts_what_is_different() -> None:
    Q = torch.linalg.qr(normal(9, 9)).Q
    assert vendi_score(Q) == pytest.approx(9)
    assert vendi_score(Q[:4]) == pytest.approx(4)
    assert vendi_score(Q.repeat(5, 1)) == pytest.approx(9)  # as often each: no more, no less
    assert vendi_score(Q[:1].repeat(12, 1)) == pytest.approx(1)
    assert vendi_score(Q[:1].repeat(5, 1)) == pytest.approx(1)
    three_to_one = Q[[0, 0, 0, 1]]
    for found in (vendi_score(three_to_one), vendi_score(1e3 * three_to_one, kernel="rbf", bandwidth=1.0)):
        assert found == pytest.approx(math.exp(scipy.stats.entropy([0.75, 0.25])))
    same = torch.full((6, 3), 5)
    assert vendi_score(same) == pytest.approx(1) == vendi_score(same.numpy(), kernel="rbf", bandwidth=0.1)


def test_cosine_does_not_see_the_length_of_rows() -> None:
    x = normal(12, 5)
    for scale in (1e-200, 1e200, torch.rand(12, 1) + 0.1):
        assert vendi_score(x * scale) == pytest.approx(vendi_score(x))
    assert vendi_score(x, kernel="rbf", bandwidth=1.0) != pytest.approx(vendi_score(2 * x, kernel="rbf", bandwidth=1.0))


def test_vendi_score_refuses_bad_input(unchecked: None) -> None:
    x = normal(6, 3)
    for bad in (x[:0], x[:, :0], x[0], x * math.nan, x * math.inf):
        with pytest.raises(ValueError, match=r"features must be \(n, d\), finite and not empty"):
            vendi_score(bad)
    x[2] = 0
    with pytest.raises(ValueError, match="1 rows are zero and have no direction"):
        vendi_score(x)
    assert vendi_score(x, kernel="rbf", bandwidth=1.0) > 1
    with pytest.raises(ValueError, match="unknown kernel 'linear'; choose 'cosine', 'rbf'"):
        vendi_score(x, kernel="linear")
    for b in (None, 0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match=f"bandwidth={b} must be positive"):
            vendi_score(x, kernel="rbf", bandwidth=b)
    with pytest.raises(ValueError, match="belongs to the rbf kernel"):
        vendi_score(x[:2], bandwidth=1.0)
