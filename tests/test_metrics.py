"""Distances and scores against closed forms, scipy, torch-fidelity and prdc."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import prdc
import pytest
import scipy.linalg
import torch
from jaxtyping import config
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn
from torch.nn import functional as F
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric
from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

from genlab import data, densities, metrics, zoo


def normal(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def covariance(d: int, seed: int = 0, rank: int | None = None) -> Tensor:
    root = normal(d, rank or d, seed)
    return root @ root.T / d


@pytest.fixture
def unchecked() -> Iterator[None]:
    """The package as users run it, without the checks of shape annotations that come before its own."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


# --------------------------------------------------------------------------------------------------- Fréchet distance


def test_frechet_of_equal_gaussians_is_zero() -> None:
    mu, cov = normal(1, 8)[0], covariance(8)
    assert metrics.frechet(mu, cov, mu, cov) == pytest.approx(0, abs=1e-12)


def test_frechet_of_a_shift_is_its_squared_length() -> None:
    mu, cov, shift = normal(1, 8)[0], covariance(8), normal(1, 8, 1)[0]
    assert metrics.frechet(mu, cov, mu + shift, cov) == pytest.approx(shift.square().sum().item())


def test_frechet_of_a_scale() -> None:
    """N(0, Σ) against N(0, c² Σ) is (1 − c)² tr Σ."""
    zero, cov = torch.zeros(8).double(), covariance(8)
    for c in (0.1, 3.0):
        assert metrics.frechet(zero, cov, zero, c**2 * cov) == pytest.approx((1 - c) ** 2 * cov.trace().item())


def test_frechet_of_commuting_covariances() -> None:
    """With common eigenvectors it is Σ (√λ − √κ)²."""
    Q = torch.linalg.qr(normal(6, 6)).Q
    a, b = torch.rand(2, 6, dtype=torch.float64) * 5
    distance = metrics.frechet(torch.zeros(6), Q @ a.diag() @ Q.T, torch.zeros(6), Q @ b.diag() @ Q.T)
    assert distance == pytest.approx((a.sqrt() - b.sqrt()).square().sum().item())


@pytest.mark.parametrize("seed", range(3))
def test_frechet_of_covariances_that_do_not_commute(seed: int) -> None:
    a, b = covariance(10, seed), covariance(10, seed + 100)
    mu = normal(2, 10, seed)
    expected = (mu[0] - mu[1]).square().sum() + a.trace() + b.trace()
    expected -= 2 * np.trace(scipy.linalg.sqrtm((a @ b).numpy())).real
    assert metrics.frechet(mu[0], a, mu[1], b) == pytest.approx(expected.item(), rel=1e-9)
    assert metrics.frechet(mu[1], b, mu[0], a) == pytest.approx(expected.item(), rel=1e-9)


def test_frechet_of_singular_covariances() -> None:
    """Two planes that share one axis of R³: diag(4, 1, 0) and diag(9, 0, 2) overlap by √36 alone; then rotated."""
    Q = torch.linalg.qr(normal(3, 3)).Q
    a, b = torch.tensor([4.0, 1, 0]).double().diag(), torch.tensor([9.0, 0, 2]).double().diag()
    zero = torch.zeros(3)
    for R in (torch.eye(3).double(), Q):
        for first, second in ((a, b), (b, a)):
            # a square root of an eigenvalue that is zero up to rounding is 1e-8
            assert metrics.frechet(zero, R @ first @ R.T, zero, R @ second @ R.T) == pytest.approx(4, abs=1e-6)
    dot = torch.zeros(3, 3)
    assert metrics.frechet(zero, dot, zero, b) == pytest.approx(11)
    assert metrics.frechet(zero, b, zero, dot) == pytest.approx(11)


def test_frechet_distance_of_one_feature() -> None:
    x, y = 2 * normal(50, 1), normal(70, 1, 1) + 3
    expected = (x.mean() - y.mean()) ** 2 + (x.std() - y.std()) ** 2
    assert metrics.frechet_distance(x, y) == pytest.approx(expected.item())


def statistics(x: Tensor) -> dict[str, np.ndarray]:
    return {"mu": x.double().mean(0).numpy(), "sigma": np.cov(x.double().numpy(), rowvar=False)}


@pytest.mark.parametrize(("n", "m", "d"), [(300, 200, 16), (40, 300, 64), (300, 40, 64), (30, 30, 64)])
def test_frechet_distance_is_that_of_torch_fidelity(n: int, m: int, d: int) -> None:
    """Also where there are fewer samples than features, so that a covariance is singular."""
    mix = normal(d, d, 5)
    x, y = normal(n, d) @ mix, normal(m, d, 1) * 1.3 + 0.2
    expected = fid_statistics_to_metric(statistics(x), statistics(y), verbose=False)[KEY_METRIC_FID]
    assert metrics.frechet_distance(x, y) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_works_in_float64_and_does_not_move_with_the_axes() -> None:
    x, y = normal(200, 8).float(), (normal(200, 8, 1) * 2).float()
    value = metrics.frechet_distance(x, y)
    assert value == metrics.frechet_distance(x.double(), y.double())
    Q = torch.linalg.qr(normal(8, 8)).Q
    assert metrics.frechet_distance(x.double() @ Q + 1e3, y.double() @ Q + 1e3) == pytest.approx(value, rel=1e-7)
    assert metrics.frechet_distance(x, x) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("n", "d"), [(2, 50), (40, 64), (60, 64), (100, 128), (500, 8)])
def test_frechet_distance_of_copies_is_zero_up_to_rounding_and_never_negative(n: int, d: int) -> None:
    for seed in range(5):
        x = 10 * normal(n, d, seed).relu()  # features after a ReLU; some columns may be constant
        for y in (x, x.flip(0), x.float().double()):
            assert 0 <= metrics.frechet_distance(x, y) < 1e-5 * x.var(0).sum()
    constant = torch.full((9, 4), 3.0)
    assert metrics.frechet_distance(constant, constant) == 0
    assert metrics.frechet_distance(constant, constant + 1) == pytest.approx(4)


@pytest.mark.parametrize(("n", "repeats"), [(300, 20), (1000, 12), (4000, 6)])
def test_bias_of_the_frechet_distance_falls_as_one_over_n(n: int, repeats: int) -> None:
    """N(0, I) against itself: to first order E‖m₁ − m₂‖² = 2d/n, and E of ¼‖S₁ − S₂‖² is (d² + d) / 2n. At d = 32 that
    is 592/n: 5.9, 0.59 and 0.059 for 100, 1000 and 10,000 samples."""
    d = 32
    pairs = [(normal(n, d, 2 * i), normal(n, d, 2 * i + 1)) for i in range(repeats)]
    values = torch.tensor([metrics.frechet_distance(x, y) for x, y in pairs], dtype=torch.float64)
    expected = (2 * d + (d**2 + d) / 2) / n
    # The next order is a share of about d/n of the first, and less than that here.
    assert abs(values.mean() - expected) < 4 * values.std() / repeats**0.5 + 0.2 * d / n * expected


# ---------------------------------------------------------------------------------------------------- kernel distance


def test_kernel_distance_is_its_definition() -> None:
    x, y = normal(7, 3), normal(5, 3, 1) + 0.5

    def kernel(a: Tensor, b: Tensor) -> float:
        return ((a @ b).item() / 3 + 1) ** 3

    within_x = [kernel(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j]
    within_y = [kernel(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j]
    between = [kernel(a, b) for a in x for b in y]
    expected = np.mean(within_x) + np.mean(within_y) - 2 * np.mean(between)
    assert metrics.kernel_distance(x, y) == pytest.approx(expected)
    assert metrics.kernel_distance(y, x) == pytest.approx(expected)


def test_kernel_distance_is_that_of_torch_fidelity() -> None:
    x, y = normal(120, 16), normal(120, 16, 1) * 1.2
    reference = kid_features_to_metric(x, y, kid_subsets=1, kid_subset_size=120, verbose=False)
    assert metrics.kernel_distance(x, y) == pytest.approx(reference[KEY_METRIC_KID_MEAN], rel=1e-9)


def test_kernel_distance_of_equal_laws_is_zero_on_average_and_often_negative() -> None:
    values = torch.tensor([metrics.kernel_distance(normal(40, 4, 2 * i), normal(60, 4, 2 * i + 1)) for i in range(300)])
    assert abs(values.mean()) < 4 * values.std() / 300**0.5
    assert (values < 0).float().mean() > 0.3


def test_linear_kernel_measures_the_squared_shift_without_bias() -> None:
    """With degree 1 the MMD² is ‖E x − E y‖² / d."""
    shift = torch.tensor([1.0, -2.0, 0.5]).double()
    pairs = [(normal(20, 3, 2 * i), normal(30, 3, 2 * i + 1) + shift) for i in range(300)]
    values = torch.tensor([metrics.kernel_distance(x, y, degree=1) for x, y in pairs])
    assert abs(values.mean() - shift.square().sum() / 3) < 4 * values.std() / 300**0.5


@pytest.mark.parametrize(("shift", "least", "most"), [(0.7, 0.85, 1.15), (0.0, 1.1, 1.7)])
def test_standard_error_of_the_kernel_distance_is_how_it_scatters(shift: float, least: float, most: float) -> None:
    """Right for laws that differ; for equal ones too large, by about √2."""
    found = [
        metrics.kernel_estimate(normal(40, 4, 2 * i), normal(60, 4, 2 * i + 1) + shift, degree=2) for i in range(400)
    ]
    values, errors = torch.tensor(found, dtype=torch.float64).unbind(1)
    assert least < errors.square().mean().sqrt() / values.std() < most


def test_kernel_estimate_is_the_jackknife() -> None:
    x, y = normal(6, 3), normal(5, 3, 1) + 0.5
    variance = 0.0
    for left_x, left_y in ((True, False), (False, True)):
        n = len(x) if left_x else len(y)
        without = [
            metrics.kernel_distance(
                *(v[torch.arange(len(v)) != i] if left else v for v, left in ((x, left_x), (y, left_y)))
            )
            for i in range(n)
        ]
        variance += (n - 1) * float(np.var(without))
    value, error = metrics.kernel_estimate(x, y)
    assert value == metrics.kernel_distance(x, y)
    assert error == pytest.approx(variance**0.5)


# ------------------------------------------------------------------------------------------------ fidelity and variety


@pytest.mark.parametrize("k", [1, 3, 7])
@pytest.mark.parametrize(("n", "m"), [(80, 80), (120, 50), (20, 15)])
def test_precision_and_recall_are_those_of_torch_fidelity_and_prdc(
    n: int, m: int, k: int, capsys: pytest.CaptureFixture[str]
) -> None:
    real, fake = normal(n, 3), normal(m, 3, 1) * 0.7 + 0.8
    found = metrics.precision_recall(real, fake, k=k)
    theirs = prc_features_to_metric(fake, real, prc_neighborhood=k, verbose=False)  # generated first
    assert found.precision == pytest.approx(theirs[KEY_METRIC_PRECISION], abs=1e-6)
    assert found.recall == pytest.approx(theirs[KEY_METRIC_RECALL], abs=1e-6)
    reference = prdc.compute_prdc(real.numpy(), fake.numpy(), k)
    assert found == pytest.approx((reference["precision"], reference["recall"]))
    assert found.precision > 0 and 0 < found.recall < 1
    density, coverage = metrics.density_coverage(real, fake, k=k)
    assert (density, coverage) == pytest.approx((reference["density"], reference["coverage"]))
    assert "Num real" in capsys.readouterr().out  # prdc prints


def test_precision_and_recall_swap_with_their_arguments() -> None:
    real, fake = normal(60, 3), normal(60, 3, 1) * 0.5
    there, back = metrics.precision_recall(real, fake), metrics.precision_recall(fake, real)
    assert (there.precision, there.recall) == (back.recall, back.precision)
    assert there.precision > there.recall  # narrow samples are good, and miss the rest


def test_copies_score_full_marks_and_samples_far_away_none() -> None:
    real = normal(60, 5)
    assert metrics.precision_recall(real, real.flip(0)) == (1, 1)
    assert metrics.density_coverage(real, real.flip(0)).coverage == 1
    assert metrics.precision_recall(real, real + 100) == (0, 0)
    assert metrics.density_coverage(real, real + 100) == (0, 0)


@pytest.mark.parametrize("d", [1, 4, 32])
def test_density_and_coverage_of_equal_laws_have_their_expectation(d: int) -> None:
    n, k, repeats = 50, 5, 200
    found = [metrics.density_coverage(normal(n, d, 2 * i), normal(n, d, 2 * i + 1), k=k) for i in range(d, d + repeats)]
    density, coverage = torch.tensor(found, dtype=torch.float64).unbind(1)
    expected = 1 - math.prod((n - i) / (2 * n - i) for i in range(1, k + 1))
    assert abs(density.mean() - 1) < 4 * density.std() / repeats**0.5
    assert abs(coverage.mean() - expected) < 4 * coverage.std() / repeats**0.5


def by_hand(real: Tensor, fake: Tensor, k: int) -> tuple[float, float, float, float]:
    """Precision, recall, density and coverage by their definitions, in exact whole numbers: squared distances."""

    def square(a: Tensor, b: Tensor) -> int:
        return int((a - b).square().sum())

    def others(points: Tensor, i: int) -> list[int]:
        return sorted(square(points[i], other) for j, other in enumerate(points) if j != i)

    def share_within(points: Tensor, queries: Tensor) -> float:
        radii = [others(points, i)[k - 1] for i in range(len(points))]
        return sum(any(square(q, p) <= r for p, r in zip(points, radii, strict=True)) for q in queries) / len(queries)

    density = covered = 0.0
    for i, centre in enumerate(real):
        around = others(real, i)
        radius, ball = around[k - 1], [0, *around]  # the ball's own points, the centre among them
        inside, surface = sum(v < radius for v in ball), sum(v == radius for v in ball)
        to = [square(centre, q) for q in fake]
        covered += min(to) <= radius
        density += sum(v < radius for v in to) + (k - inside) / surface * sum(v == radius for v in to)
    return share_within(real, fake), share_within(fake, real), density / (k * len(fake)), covered / len(real)


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize(("n", "m"), [(12, 9), (40, 30)])
@pytest.mark.parametrize("offset", [0, 1000])
def test_ties_are_counted_as_the_definitions_say(n: int, m: int, k: int, offset: int) -> None:
    """On a small lattice, where nearly all distances are tied; far from the origin, where rounding would show."""
    generator = torch.Generator().manual_seed(n + k)
    real = torch.randint(0, 4, (n, 2), generator=generator) + offset
    fake = torch.randint(1, 5, (m, 2), generator=generator) + offset
    found = (*metrics.precision_recall(real, fake, k=k), *metrics.density_coverage(real, fake, k=k))
    assert found == pytest.approx(by_hand(real, fake, k))
    assert found != pytest.approx((*metrics.precision_recall(real, fake + 1, k=k), 0, 0))


@pytest.mark.parametrize("n", [7, 30, 60])  # PyTorch changes its way of measuring at 25 rows
@pytest.mark.parametrize("k", [1, 5])
def test_copies_score_exactly_one_in_all_four_whatever_their_ties(n: int, k: int) -> None:
    generator = torch.Generator().manual_seed(n)
    constant = torch.full((n, 64), 100 / 3).double()
    lattice = torch.randint(0, 2, (n, 3), generator=generator)
    for real in (normal(n, 16) + 50, constant, lattice, normal(n, 3)[torch.arange(n) // 2]):
        for fake in (real, real.flip(0)):
            assert metrics.precision_recall(real, fake, k=k) == (1, 1)
            assert metrics.density_coverage(real, fake, k=k) == pytest.approx((1, 1))


def test_constant_sets_of_other_sizes_or_places() -> None:
    real, fake = torch.zeros(20, 3), torch.zeros(12, 3)
    assert metrics.precision_recall(real, fake) == (1, 1)
    assert metrics.density_coverage(real, fake) == pytest.approx((1, 1))
    assert metrics.precision_recall(real, fake + 1) == (0, 0)
    assert metrics.density_coverage(real, fake + 1) == (0, 0)


def test_density_may_exceed_one_where_coverage_falls() -> None:
    real = normal(200, 2)
    found = metrics.density_coverage(real, 0.1 * normal(200, 2, 1))  # all in the middle
    assert found.density > 1.2 and found.coverage < 0.5


# ---------------------------------------------------------------------------------------- modes, nearest neighbours


def test_modes_of_the_ring() -> None:
    ring = densities.ring()
    n = 20_000
    samples = ring.sample(n, generator=torch.Generator().manual_seed(0))
    found = metrics.modes(samples, ring.means, 0.1)
    expected = 1 - math.exp(-4.5)  # within three σ in two dimensions
    assert found.found == 8
    assert abs(found.high_quality - expected) < 4 * math.sqrt(expected * (1 - expected) / n)
    one = metrics.modes(samples, ring.means, 0.1, sigmas=1.0)
    assert one.high_quality == pytest.approx(1 - math.exp(-0.5), abs=0.02)


def test_modes_counts_only_modes_that_good_samples_hit() -> None:
    centres = densities.ring().means
    assert metrics.modes(centres[:3], centres, 0.1) == (3, 1)
    assert metrics.modes(centres[[0, 0, 5]] + 0.05, centres, 0.1) == (2, 1)
    half = torch.cat([centres[:1], 10 * centres[1:2]])  # the second sample is nearest to mode 1, but far from it
    assert metrics.modes(half, centres, 0.1) == (1, 0.5)
    assert metrics.modes(torch.zeros(5, 2), centres, 0.1) == (0, 0)


def test_nearest_is_that_of_sklearn() -> None:
    x, among = normal(30, 6), normal(50, 6, 1)
    distance, index = metrics.nearest(x, among)
    expected = NearestNeighbors(n_neighbors=1).fit(among.numpy()).kneighbors(x.numpy())
    np.testing.assert_allclose(distance, expected[0][:, 0])
    assert index.tolist() == expected[1][:, 0].tolist()


def test_copies_lie_at_distance_zero_exactly() -> None:
    x = normal(300, 64).float() + 10
    distance, index = metrics.nearest(x.flip(0), x)
    assert (distance == 0).all()
    assert index.tolist() == list(reversed(range(300)))


# ---------------------------------------------------------------------------------------------------- bad arguments

PAIRED: Any = [metrics.frechet_distance, metrics.kernel_distance, metrics.precision_recall, metrics.density_coverage]


@pytest.mark.parametrize("metric", PAIRED)
@pytest.mark.parametrize(
    "shapes", [((9,), (9,)), ((9, 2), (9, 3)), ((1, 2), (9, 2)), ((9, 2), (1, 2)), ((9, 2, 1),) * 2]
)
def test_shapes_that_do_not_fit_are_refused(metric: Any, shapes: Any, unchecked: None) -> None:
    x, y = (torch.zeros(shape) for shape in shapes)
    with pytest.raises(ValueError, match=r"features must be \(n, d\) and \(m, d\).*but got \("):
        metric(x, y)


@pytest.mark.parametrize("metric", PAIRED)
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("which", [0, 1])
def test_nan_and_infinity_are_refused(metric: Any, value: float, which: int) -> None:
    pair = [normal(9, 2), normal(9, 2)]
    pair[which][4, 1] = value
    with pytest.raises(ValueError, match=r"\(9, 2\) hold NaN or infinite values"):
        metric(*pair)


@pytest.mark.parametrize(
    "shapes", [((3, 2), (4, 3)), ((3,), (4,)), ((0, 2), (4, 2)), ((3, 2), (0, 2)), ((3, 0), (4, 0))]
)
def test_shapes_that_do_not_fit_are_refused_for_neighbours_and_modes(shapes: Any, unchecked: None) -> None:
    x, y = (torch.zeros(shape) for shape in shapes)
    for run in (lambda: metrics.nearest(x, y), lambda: metrics.modes(x, y, 1.0)):
        with pytest.raises(ValueError, match=r"\(n, d\) and \(m, d\) with n and m at least 1, but got \("):
            run()


@pytest.mark.parametrize(
    "shapes", [((3,), (3, 3), (2,), (3, 3)), ((3,), (3,), (3,), (3,)), ((3, 1), (3, 3), (3, 1), (3, 3))]
)
def test_means_and_covariances_that_do_not_fit_are_refused(shapes: Any, unchecked: None) -> None:
    with pytest.raises(ValueError, match=r"means must be \(d,\) and covariances \(d, d\), but got \(3"):
        metrics.frechet(*(torch.zeros(shape) for shape in shapes))


@pytest.mark.parametrize("std", [0.0, -1.0, math.nan])
def test_modes_without_a_width_are_refused(std: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        metrics.modes(normal(4, 2), normal(3, 2), std)


@pytest.mark.parametrize("metric", [metrics.precision_recall, metrics.density_coverage])
@pytest.mark.parametrize("k", [0, 5, 9])
def test_neighbours_that_do_not_exist_are_refused(metric: Any, k: int) -> None:
    with pytest.raises(ValueError, match=f"k={k} must lie between 1 and 4"):
        metric(normal(9, 2), normal(5, 2, 1), k=k)
    metric(normal(9, 2), normal(5, 2, 1), k=4)


# ------------------------------------------------------------------------------------------------ networks and images


class Twofold(nn.Module):
    """A network with features, dropout and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout, self.body, self.head = nn.Dropout(0.5), nn.Linear(4, 6), nn.Linear(6, 3)

    def features(self, x: Tensor) -> Tensor:
        return self.body(self.dropout(x.flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


@pytest.mark.parametrize("training", [True, False])
def test_features_and_accuracy_run_in_evaluation_mode_and_restore_the_other(training: bool) -> None:
    net, x = Twofold().train(training), torch.rand(11, 1, 2, 2)
    rows = metrics.features(net, x, batch_size=4)
    assert rows.dtype == torch.float64 and not rows.requires_grad
    torch.testing.assert_close(rows, net.body(x.flatten(1)).double(), check_dtype=True)
    y = net.head(net.body(x.flatten(1))).argmax(1)
    wrong = torch.where(torch.arange(11) < 3, (y + 1) % 3, y)
    assert metrics.accuracy(net, x, y, batch_size=4) == 1
    assert metrics.accuracy(net, x, wrong, batch_size=4) == pytest.approx(8 / 11)
    assert net.training is training and net.dropout.training is training


@pytest.mark.parametrize("fails", [False, True])
def test_frozen_parts_stay_frozen_and_failures_leave_no_trace(fails: bool) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout()).train()
    net[2].eval()
    before = [part.training for part in net.modules()]
    x, y = torch.rand(8, 1, 2, 3 if fails else 2), torch.zeros(8, dtype=torch.long)
    for run in (lambda: metrics.features(net, x), lambda: metrics.accuracy(net, x, y)):
        if fails:
            with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
                run()
        else:
            run()
        assert [part.training for part in net.modules()] == before


def test_features_of_a_network_without_features_are_its_output() -> None:
    net, x = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), torch.rand(5, 1, 2, 2)
    torch.testing.assert_close(metrics.features(net, x), net(x).detach().double())


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_images_go_to_the_precision_of_the_network(dtype: torch.dtype) -> None:
    net, x = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), torch.rand(5, 1, 2, 2).to(dtype)
    torch.testing.assert_close(metrics.features(net, x), net(x.float()).detach().double())
    torch.testing.assert_close(metrics.features(net.double(), x), net(x.double()).detach())


def images_that(what: str) -> Any:
    x = torch.rand(6, 1, 4, 4)
    x[0, 0, 0, :2] = torch.tensor([0.0, 1.0])
    spoilt = x.clone()
    spoilt[3, 0, 2, 1] = math.nan if what == "NaN" else -math.inf
    return {
        "symmetric": 2 * x - 1,
        "bytes": (255 * x).byte(),
        "bytes as floats": (255 * x).round(),
        "ints": (255 * x).long(),
        "slightly dark": x - 0.01,
        "slightly bright": x + 0.01,
        "NaN": spoilt,
        "infinity": spoilt,
        "rows": x.flatten(1),
        "one": x[0],
        "none": x[:0],
        "list": x.tolist(),
        "words": np.array(["a", "b"]),
    }[what]


REFUSED = [
    ("symmetric", r"pixels in \[0, 1\]; got -1 to 1: \(x \+ 1\) / 2"),
    ("bytes", r"torch.uint8.*data.to_float\(x\)"),
    ("bytes as floats", r"\[0, 1\]; got 0 to 255: divide by 255"),
    ("ints", r"torch.int64.*x.float\(\)"),
    ("slightly dark", r"got -0.01 to 0.99: x.clamp\(0, 1\)"),
    ("slightly bright", r"got 0.01 to 1.01: x.clamp\(0, 1\)"),
    ("NaN", "NaN or infinite"),
    ("infinity", "NaN or infinite"),
    ("rows", r"\(n, c, h, w\) and not empty, but got \(6, 16\)"),
    ("one", r"but got \(1, 4, 4\)"),
    ("none", r"but got \(0, 1, 4, 4\)"),
    ("list", "NumPy array of numbers, but got list"),
    ("words", "NumPy array of numbers, but got an array of <U1"),
]


@pytest.mark.parametrize(("what", "words"), REFUSED)
def test_images_that_would_give_a_wrong_number_are_refused(what: str, words: str, unchecked: None) -> None:
    net, x = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), images_that(what)
    with pytest.raises(ValueError, match=words):
        metrics.features(net, x)
    with pytest.raises(ValueError, match=words):
        metrics.accuracy(net, x, torch.zeros(6, dtype=torch.long))


def test_digits_of_a_tanh_are_refused_and_the_remedy_is_right() -> None:
    net, split = zoo.load("classifier"), data.digits()
    real = metrics.features(net, data.to_float(split.test.x[:500]))
    tanh = data.to_float(split.train.x[:500], "symmetric")
    with pytest.raises(ValueError, match=r"got -1 to 1: \(x \+ 1\) / 2"):
        metrics.features(net, tanh)
    right = metrics.frechet_distance(real, metrics.features(net, data.to_float(split.train.x[:500])))
    assert metrics.frechet_distance(real, metrics.features(net, (tanh + 1) / 2)) == pytest.approx(right, rel=1e-4)
    blind = metrics.frechet_distance(real, metrics.features(net, tanh, pixels=None))
    assert blind > 100 * right  # what the door keeps out


def test_networks_of_another_range_say_so() -> None:
    net, x = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), 2 * torch.rand(5, 1, 4, 4) - 1
    expected = net(x).detach().double()
    for pixels in ("symmetric", None):
        torch.testing.assert_close(metrics.features(net, x, pixels=pixels), expected)
    torch.testing.assert_close(metrics.features(net, 9 * x, pixels=None), net(9 * x).detach().double())
    with pytest.raises(ValueError, match=r"pixels in \[-1, 1\]; got .*x.clamp\(-1, 1\)"):
        metrics.features(net, 9 * x, pixels="symmetric")
    with pytest.raises(ValueError, match="unknown pixels 'tanh'; choose 'unit', 'symmetric' or None"):
        metrics.features(net, x, pixels="tanh")


def test_pixels_may_leave_their_range_by_rounding() -> None:
    net, x = nn.Flatten(), torch.rand(5, 1, 4, 4)
    x[0, 0, 0, :2] = torch.tensor([-1e-4, 1 + 1e-4])
    assert metrics.features(net, x).shape == (5, 16)


def test_outputs_that_are_no_features_or_logits_are_refused() -> None:
    x = torch.rand(5, 1, 4, 4)
    with pytest.raises(ValueError, match=r"gives \(5, 2, 4, 4\), not features \(n, d\); pool or flatten"):
        metrics.features(nn.Conv2d(1, 2, 1), x)
    y = torch.zeros(5, dtype=torch.long)
    with pytest.raises(ValueError, match=r"gives \(5, 2, 4, 4\).*one logit for each class"):
        metrics.accuracy(nn.Conv2d(1, 2, 1), x, y)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with pytest.raises(ValueError, match="labels go from 0 to 3"):
        metrics.accuracy(net, x, torch.tensor([0, 1, 2, 3, 0]))
    for wrong in (y[:4], y.float(), y[:, None], y.bool()):
        with pytest.raises(ValueError, match=r"labels must be whole numbers \(5,\)"):
            metrics.accuracy(net, x, wrong)


def test_arrays_are_as_good_as_tensors() -> None:
    x, y = normal(20, 3), normal(15, 3, 1)
    for metric in (*PAIRED, metrics.kernel_estimate):
        assert metric(x.numpy(), y.numpy()) == metric(x, y)
        assert metric(x.numpy(), y) == metric(x, y)
    locked = x.numpy()[::-1]
    locked.flags.writeable = False  # read-only and read backwards: PyTorch takes neither without a complaint
    assert metrics.frechet_distance(locked, y) == pytest.approx(metrics.frechet_distance(x, y))
    for mine, theirs in zip(metrics.nearest(x.numpy(), y.numpy()), metrics.nearest(x, y), strict=True):
        assert torch.equal(mine, theirs)
    assert metrics.modes(x.numpy(), y.numpy(), 0.5) == metrics.modes(x, y, 0.5)
    stats = [x.mean(0), torch.cov(x.T), y.mean(0), torch.cov(y.T)]
    assert metrics.frechet(*(v.numpy() for v in stats)) == metrics.frechet(*stats)
    whole = (4 * x).round()
    assert metrics.precision_recall(whole.long(), whole.long()) == metrics.precision_recall(whole, whole)
    net, images = Twofold(), torch.rand(8, 1, 2, 2, dtype=torch.float64)
    torch.testing.assert_close(metrics.features(net, images.numpy()), metrics.features(net, images))
    labels = torch.arange(8) % 3
    assert metrics.accuracy(net, images.numpy(), labels.numpy()) == metrics.accuracy(net, images, labels)


def test_distances_grow_as_digits_get_worse() -> None:
    net = zoo.load("classifier")
    split = data.digits()
    real = metrics.features(net, data.to_float(split.train.x[:500]))
    x = data.to_float(split.test.x[:500])
    noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(0))
    noisy = [(1 - strength) * x + strength * noise for strength in (0.0, 0.15, 0.3, 0.6)]
    kernel = torch.tensor([0.25, 0.5, 0.25])
    blurred = [x]
    for _ in range(3):
        for _ in range(3):
            x = F.conv2d(x, kernel.view(1, 1, 3, 1), padding=(1, 0))
            x = F.conv2d(x, kernel.view(1, 1, 1, 3), padding=(0, 1))
        blurred.append(x)
    for family in (noisy, blurred):
        rows = [metrics.features(net, images) for images in family]
        frechet = [metrics.frechet_distance(real, row) for row in rows]
        kid = [metrics.kernel_distance(real, row) for row in rows]
        assert frechet == sorted(frechet)
        assert kid[0] < 0.1 * min(kid[1:])  # it need not rise all the way: it levels off under strong blur
        assert frechet[-1] > 10 * frechet[0]
        precision = [metrics.precision_recall(real, row).precision for row in rows]
        assert precision[-1] < precision[0] / 2
