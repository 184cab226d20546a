"""Memorisation and two-sample tests against loops, SciPy, scikit-learn and the laws that they have by chance."""

import math
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import config
from scipy import special, stats
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from torch import Tensor

from genlab.metrics.memorisation import authenticity, data_copying, extraction, nearest, novelty
from genlab.metrics.samples import classifier_test, neighbour_test


def normal(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def lattice(n: int, d: int, seed: int = 0, most: int = 4) -> Tensor:
    return torch.randint(0, most, (n, d), generator=torch.Generator().manual_seed(seed)).double()


def to_nearest(x: Tensor, among: Tensor, k: int = 1) -> np.ndarray:
    """Distances to the k-th nearest, by scikit-learn."""
    found = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(among.numpy()).kneighbors(x.numpy())
    return found[0][:, k - 1]


def near_mean(values: Any, expected: float) -> bool:
    """Within four standard errors."""
    x = np.asarray(values, dtype=float)
    return abs(x.mean() - expected) < 4 * x.std(ddof=1) / len(x) ** 0.5


@pytest.fixture
def unchecked() -> Iterator[None]:
    """The package as users run it, without the checks of shape annotations that come before its own."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


# -------------------------------------------------------------------------------------------------------------- novelty


def test_novelty_is_its_definition() -> None:
    train, fake, test = normal(50, 4), 0.8 * normal(30, 4, 1), normal(39, 4, 2)
    found = novelty(train, fake, test=test)
    of_fake, of_test = to_nearest(fake, train), to_nearest(test, train)
    np.testing.assert_allclose(found.fake, of_fake)
    np.testing.assert_allclose(found.real, of_test)
    assert found.closer == np.mean(of_fake < np.sort(of_test)[1])  # 2 of 40
    assert found.expected == 2 / 40
    assert found.ratio == pytest.approx(np.median(of_fake) / np.median(of_test))
    assert novelty(train, fake, test=test, level=0.3).closer == np.mean(of_fake < np.sort(of_test)[11])


def test_without_held_out_samples_training_is_compared_with_its_others() -> None:
    train, fake = normal(60, 3), normal(30, 3, 1)
    found = novelty(train, fake)
    np.testing.assert_allclose(found.real, to_nearest(train, train, 2))
    assert found.closer == np.mean(to_nearest(fake, train) < np.sort(to_nearest(train, train, 2))[2])
    assert found.expected == 3 / 61


@pytest.mark.parametrize("m", [19, 38, 39])
def test_equal_laws_have_the_expected_share_whatever_the_training_set(m: int) -> None:
    """The quantile is an order statistic: one interpolated between two of them would be off."""
    train = normal(30, 2).exp()
    found = [novelty(train, normal(25, 2, 2 * i + 1).exp(), test=normal(m, 2, 2 * i + 2).exp()) for i in range(400)]
    assert found[0].expected == int(0.05 * (m + 1)) / (m + 1)
    assert near_mean([v.closer for v in found], found[0].expected)


def test_a_tenth_of_copies_shows_in_the_share_and_not_in_the_ratio() -> None:
    train, test, fake = normal(400, 4), normal(400, 4, 1), normal(400, 4, 2)
    honest = novelty(train, fake, test=test)
    some = novelty(train, torch.cat([train[:40], fake[40:]]), test=test)
    every = novelty(train, train.flip(0), test=test)
    assert honest.closer < 0.1 and 0.9 < honest.ratio < 1.1
    assert some.closer > 0.12 and 0.85 < some.ratio < 1.1
    assert (every.closer, every.ratio) == (1, 0)


def test_data_that_repeat_hide_copies_from_the_quantile() -> None:
    """The documented limit: nothing is strictly closer than 0."""
    twice = normal(40, 3).repeat(2, 1)
    found = novelty(twice, twice[:30])
    assert found.closer == 0 and math.isnan(found.ratio)
    assert novelty(twice, normal(30, 3, 1)).ratio == math.inf


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1, math.nan])
def test_levels_outside_zero_and_one_are_refused(level: float) -> None:
    with pytest.raises(ValueError, match="must lie between 0 and 1"):
        novelty(normal(30, 2), normal(30, 2, 1), level=level)


def test_levels_ask_for_enough_held_out_samples() -> None:
    train = normal(30, 2)
    with pytest.raises(ValueError, match=r"level=0.05 needs at least 19 held-out samples, but got 18; raise"):
        novelty(train, train, test=normal(18, 2, 1))
    assert novelty(train, train, test=normal(19, 2, 1)).expected == 0.05
    assert novelty(train, train, test=normal(99, 2, 1), level=0.29).expected == 0.29  # 0.29 * 100 is below 29


# --------------------------------------------------------------------------------------------------------- authenticity


@pytest.mark.parametrize("kind", ["normal", "lattice"])
def test_authenticity_is_its_definition(kind: str) -> None:
    """In whole numbers, with ties: Σ (a − b)², the first of equally near ones, and further means strictly."""
    scale = 1e3 if kind == "normal" else 1
    train, fake = ((normal(40, 2, i) * scale).round() if kind == "normal" else lattice(30, 2, i, 6) for i in (0, 1))

    def square(a: Tensor, b: Tensor) -> int:
        return int((a - b).square().sum())

    authentic = 0
    for sample in fake:
        away = [square(sample, v) for v in train]
        i = min(range(len(train)), key=away.__getitem__)
        own = min(square(train[i], v) for j, v in enumerate(train) if j != i)
        authentic += away[i] > own
    assert 0 < authentic < len(fake)
    assert authenticity(train, fake) == authentic / len(fake)


def test_copies_are_not_authentic_and_samples_far_away_are() -> None:
    train = normal(60, 5)
    assert authenticity(train, train.flip(0)) == 0
    assert authenticity(train.repeat(2, 1), train) == 0  # 0 is not further than 0
    assert authenticity(train, train + 100) == 1
    assert authenticity(train, torch.cat([train[:15], train[:5] + 100])) == 0.25
    assert authenticity(torch.zeros(9, 2), torch.zeros(4, 2)) == 0


def mutual(d: int) -> float:
    """Probability that a point of a dense law in d dimensions is the nearest of its nearest."""
    return 1 / (2 - special.betainc((d + 1) / 2, 0.5, 0.75))


def test_two_balls_through_each_others_centres() -> None:
    """The union of two intervals, discs and balls at distance 1, over one of them: 3/2, by hand, and 27/16."""
    assert mutual(1) == pytest.approx(2 / 3)
    assert mutual(2) == pytest.approx(6 * math.pi / (8 * math.pi + 3 * 3**0.5))
    assert mutual(3) == pytest.approx(16 / 27)
    assert mutual(1000) == pytest.approx(0.5, abs=1e-9)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_equal_laws_have_the_authenticity_of_dense_points(d: int) -> None:
    """Uniform, where density is constant; generated samples in the middle only, so that no edge is near."""
    found = []
    for i in range(40):
        generator = torch.Generator().manual_seed(i)
        train = torch.rand(2000, d, generator=generator, dtype=torch.float64)
        found.append(authenticity(train, 0.25 + 0.5 * torch.rand(150, d, generator=generator, dtype=torch.float64)))
    assert near_mean(found, 1 - mutual(d))


def test_in_many_dimensions_equal_laws_score_more_than_dense_points_could() -> None:
    assert authenticity(normal(1000, 16), normal(1000, 16, 1)) == pytest.approx(0.7, abs=0.05)


# --------------------------------------------------------------------------------------------------------- data copying


def z_of_scipy(x: np.ndarray, y: np.ndarray) -> float:
    found = stats.mannwhitneyu(x, y, use_continuity=False, method="asymptotic", alternative="less")
    return float(stats.norm.ppf(found.pvalue))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ties", [False, True])
def test_one_cell_is_the_test_of_scipy(ties: bool, seed: int) -> None:
    sets = [lattice(30, 2, 9 * i + seed, 9) if ties else normal(30 + 5 * i, 3, 9 * i + seed) for i in range(3)]
    train, test, fake = sets[0], sets[1], 0.9 * sets[2] if not ties else sets[2]
    expected = z_of_scipy(to_nearest(fake, train), to_nearest(test, train))
    assert data_copying(train, test, fake, cells=1) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def blobs(numbers: tuple[int, ...], seed: int, scales: tuple[float, ...] = (1, 1, 1)) -> Tensor:
    parts = [s * normal(n, 2, seed + i) + 100 * i for i, (n, s) in enumerate(zip(numbers, scales, strict=False))]
    return torch.cat(parts)


def test_cells_are_weighted_by_held_out_samples_and_small_ones_are_left_out() -> None:
    train = blobs((60, 50, 40), 0)
    test_numbers, fake_numbers = (80, 30, 25), (25, 70, 19)  # the last cell has too few
    test, fake = blobs(test_numbers, 10), blobs(fake_numbers, 20, (0.5, 1.5, 1))

    def part(x: Tensor, i: int) -> Tensor:
        return x[((x / 100).round() == i).all(1)]

    cells = [z_of_scipy(*(to_nearest(part(v, i), part(train, i)) for v in (fake, test))) for i in range(3)]
    expected = (80 * cells[0] + 30 * cells[1]) / 110
    assert data_copying(train, test, fake, cells=3) == pytest.approx(expected, rel=1e-9)
    with_last = (80 * cells[0] + 30 * cells[1] + 25 * cells[2]) / 135
    assert data_copying(train, test, fake, cells=3, least=19) == pytest.approx(with_last, rel=1e-9)
    assert abs(expected - with_last) > 0.01 and abs(cells[0] - cells[1]) > 1


def test_copies_lie_far_below_zero_and_poor_samples_far_above() -> None:
    train, test = normal(300, 4), normal(300, 4, 1)
    assert data_copying(train, test, train) < -10
    assert data_copying(train, test, train + 0.1 * normal(300, 4, 2)) < -7
    assert abs(data_copying(train, test, normal(300, 4, 3))) < 3
    assert data_copying(train, test, 3 * normal(300, 4, 3), least=5) > 3


@pytest.mark.parametrize("cells", [1, 3])
def test_equal_laws_have_mean_zero_and_the_variance_of_the_weights(cells: int) -> None:
    """One normal variable a cell; three blobs of known weights, so that k-means finds them."""
    numbers = (60, 40, 25)
    train = blobs((50, 50, 50), 0)
    found = np.array(
        [data_copying(train, blobs(numbers, 20 * i + 3), blobs(numbers, 20 * i + 13), cells=cells) for i in range(300)]
    )
    variance = 1.0 if cells == 1 else sum((n / 125) ** 2 for n in numbers)
    assert near_mean(found, 0)
    assert 0.8 < found.var() / variance < 1.25  # within three standard errors, √(2 / 300) each
    assert found.min() > -4


def test_cells_keep_too_many_samples_of_one_region_from_passing_for_copies() -> None:
    """Each blob has the same law in both sets, only their shares differ, and training is denser in the first."""
    train, test = blobs((600, 30), 0), blobs((100, 100), 10)
    fake = blobs((180, 20), 20)
    assert data_copying(train, test, fake, cells=1) < -5
    assert abs(data_copying(train, test, fake, cells=2)) < 3


def test_values_that_are_all_one_say_nothing() -> None:
    zeros = torch.zeros(40, 2)
    assert data_copying(zeros, zeros, zeros, cells=1) == 0
    assert data_copying(zeros, zeros, zeros, cells=4) == 0


def test_cells_that_do_not_exist_or_hold_too_little_are_refused() -> None:
    train, test, fake = normal(30, 2), normal(19, 2, 1), normal(50, 2, 2)
    for cells in (0, 31):
        with pytest.raises(ValueError, match=f"cells={cells} must lie between 1 and 30"):
            data_copying(train, test, fake, cells=cells)
    with pytest.raises(ValueError, match="least=0"):
        data_copying(train, test, fake, least=0)
    with pytest.raises(ValueError, match=r"no cell has 20 held-out and 20 generated samples \(19 and 50 in 1 cells\)"):
        data_copying(train, test, fake, cells=1)


# ----------------------------------------------------------------------------------------------------------- extraction


@pytest.mark.parametrize("kind", ["normal", "lattice"])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
def test_extraction_is_its_definition(kind: str, threshold: float) -> None:
    train, fake = (normal(40, 2, i) if kind == "normal" else lattice(40, 3, i, 3) for i in (0, 1))
    distance = torch.cdist(fake, train, compute_mode="donot_use_mm_for_euclid_dist").numpy()
    extracted, memorised = set(), 0
    for row in distance:
        order = np.argsort(row, kind="stable")[:8]
        near = [j for j in order if row[j] <= threshold * row[order].mean()]
        extracted |= set(near)
        memorised += bool(near)
    found = extraction(train, fake, threshold=threshold, neighbours=8)
    assert found == pytest.approx((memorised / 40, len(extracted) / 40))


def test_a_sample_on_the_threshold_is_a_copy_and_its_own_neighbour_counts_in_the_mean() -> None:
    train, fake = torch.tensor([[1.0], [3.0], [50.0]]), torch.tensor([[0.0]])
    assert extraction(train, fake, threshold=0.5, neighbours=2) == pytest.approx((1, 1 / 3))
    assert extraction(train, fake, threshold=0.49, neighbours=2) == (0, 0)


def test_each_training_sample_is_extracted_once() -> None:
    train = normal(200, 20)
    fake = torch.cat([train[:10], train[:10], normal(60, 20, 1)])
    assert extraction(train, fake) == (0.25, 0.05)
    assert extraction(train, normal(60, 20, 2)) == (0, 0)
    twice = torch.cat([train, train[:3]])
    assert extraction(twice, train[:1]) == (1, 2 / 203)  # both of its copies


def test_in_two_dimensions_most_samples_are_near_by_chance() -> None:
    assert extraction(normal(500, 2), normal(300, 2, 1)).memorised > 0.9


def test_extraction_refuses_neighbours_and_thresholds_that_make_no_sense() -> None:
    train, fake = normal(20, 2), normal(5, 2, 1)
    for neighbours in (1, 21):
        with pytest.raises(ValueError, match=f"neighbours={neighbours} must lie between 2 and 20"):
            extraction(train, fake, neighbours=neighbours)
    for threshold in (-0.1, math.nan):
        with pytest.raises(ValueError, match="must be 0 or more"):
            extraction(train, fake, neighbours=5, threshold=threshold)


# ------------------------------------------------------------------------------------------------------- nearest others


def test_neighbour_accuracy_is_that_of_sklearn() -> None:
    x, y = normal(40, 3), 0.6 * normal(40, 3, 1) + 0.5
    labels = np.repeat([True, False], 40)
    guess = cross_val_predict(KNeighborsClassifier(1), torch.cat([x, y]).numpy(), labels, cv=LeaveOneOut())
    found = neighbour_test(x, y)
    assert found.accuracy == pytest.approx(np.mean(guess == labels))
    assert (found.real, found.fake) == pytest.approx((guess[:40].mean(), 1 - guess[40:].mean()))
    assert found.real != found.fake


def test_neighbour_p_is_that_of_all_permutations() -> None:
    """Of 3 and 3 samples on a line: 20 ways to give the labels, each counted by hand."""
    x, y = torch.tensor([[0.0], [1], [2.5]]), torch.tensor([[4.6], [7], [8.1]])
    other = [1, 0, 1, 2, 5, 4]
    right = [sum((i in real) == (other[i] in real) for i in range(6)) for real in combinations(range(6), 3)]
    found = neighbour_test(x, y, permutations=20_000)
    assert found.accuracy == right[0] / 6 == 5 / 6
    expected = 2 * min(np.mean(np.array(right) >= right[0]), np.mean(np.array(right) <= right[0]))
    assert found.p == pytest.approx(expected, abs=0.02)


def test_neighbour_accuracy_of_equal_laws_is_a_little_below_a_half() -> None:
    found = [neighbour_test(normal(5, 2, 2 * i), normal(5, 2, 2 * i + 1), permutations=1) for i in range(600)]
    for values in zip(*(v[:3] for v in found), strict=True):
        assert near_mean(values, 4 / 9)
    assert np.mean([v.accuracy for v in found]) < 0.48


def test_neighbours_tell_laws_apart_and_find_copies_and_crowds() -> None:
    x = normal(60, 4)
    assert neighbour_test(x, x + 100) == (1, 1, 1, 2 / 1000)  # never 0: the true labels are one of the permutations
    assert neighbour_test(x, x.flip(0)) == (0, 0, 0, 2 / 1000)
    crowd = neighbour_test(normal(200, 4), 0.1 * normal(200, 4, 1))
    assert crowd.fake > 0.95 and crowd.p < 0.01


def p_values(test: Any, law: Any, repeats: int, **settings: Any) -> np.ndarray:
    return np.array([test(law(2 * i), law(2 * i + 1), **settings).p for i in range(repeats)])


def test_neighbour_p_of_equal_laws_is_uniform() -> None:
    found = p_values(neighbour_test, lambda seed: normal(30, 2, seed), 400, permutations=99)
    assert np.mean(found < 0.05) <= 0.08
    assert 0.12 < np.mean(found <= 0.2) < 0.28  # nor so cautious that nothing would be found
    assert 0.42 < found.mean() < 0.65


def test_equal_distances_are_decided_at_random_and_not_by_the_set() -> None:
    zeros = torch.zeros(20, 2)
    found = [neighbour_test(zeros, zeros, permutations=9, seed=seed) for seed in range(60)]
    assert 0.2 < np.mean([v.real for v in found]) < 0.8  # all neighbours are one and the same sample, or nearly
    assert min(v.p for v in found) > 0.1


@pytest.mark.parametrize("test", [neighbour_test, classifier_test])
def test_the_larger_set_is_thinned_to_the_smaller(test: Any) -> None:
    x, y = normal(400, 2), normal(40, 2, 1)
    found = test(x, y)
    samples = 40 if test is neighbour_test else 20
    for share in found[1:3]:
        assert share * samples == pytest.approx(round(share * samples))
    assert 0.25 < found.accuracy < 0.75 and found.p > 0.01  # guessing the larger set would be right nine times in ten
    assert test(x, y) == found and test(x, y, seed=1) != found


def test_neighbours_need_permutations() -> None:
    with pytest.raises(ValueError, match="permutations=0 must be 1 or more"):
        neighbour_test(normal(5, 2), normal(5, 2, 1), permutations=0)


# ---------------------------------------------------------------------------------------------------------- classifiers


@pytest.mark.parametrize("kind", ["linear", "neural"])
def test_classifiers_reach_the_best_accuracy_for_a_shift(kind: Any) -> None:
    """N(0, I) against N(δ, I): the best is Φ(‖δ‖ / 2), for each kind as for both."""
    x, y = normal(3000, 3), normal(3000, 3, 1) + torch.tensor([1.0, 0, -0.5])
    found, best = classifier_test(x, y, kind=kind), stats.norm.cdf(1.25**0.5 / 2)
    for share, n in zip(found[:3], (3000, 1500, 1500), strict=True):
        assert share == pytest.approx(best, abs=4 * (best * (1 - best) / n) ** 0.5 + 0.01)
    assert found.accuracy == pytest.approx((found.real + found.fake) / 2)
    assert found.p < 1e-20


def test_only_the_neural_classifier_sees_a_scale() -> None:
    """In four dimensions with standard deviations 1 and 2 the best threshold of χ²₄ is (8/3) · 4 log 2."""
    x, y = normal(2000, 4), 2 * normal(2000, 4, 1)
    t = 4 * math.log(2) * 8 / 3  # log densities cross at t (1/2 − 1/8) = 4 log 2
    best = (stats.chi2.cdf(t, 4) + stats.chi2.sf(t / 4, 4)) / 2
    found = classifier_test(x, y)
    assert best - 0.06 < found.accuracy < best + 0.03
    assert abs(classifier_test(x, y, kind="linear").accuracy - 0.5) < 0.06


def test_accuracies_on_real_and_on_generated_samples_are_not_mixed_up() -> None:
    """A narrow set is told right nearly always, and the wide one only outside of it."""
    wide, narrow = normal(400, 1), 0.1 * normal(400, 1, 1)
    there, back = classifier_test(wide, narrow), classifier_test(narrow, wide)
    assert there.fake > 0.95 > there.real + 0.05 and back.real > 0.95 > back.fake + 0.05


def test_classifier_p_is_the_exact_binomial_tail() -> None:
    found = classifier_test(normal(101, 3), normal(120, 3, 1) + 0.3, kind="linear")
    right, n = round(found.accuracy * 102), 102  # 50 of each train, and 51 are held out
    assert found.accuracy * 102 == pytest.approx(right)
    assert found.p == pytest.approx(stats.binom.sf(right - 1, n, 0.5))
    assert 0 < found.p < 0.2


@pytest.mark.parametrize(("kind", "repeats"), [("linear", 400), ("neural", 60)])
def test_classifier_p_of_equal_laws_errs_to_the_safe_side(kind: Any, repeats: int) -> None:
    found = p_values(classifier_test, lambda seed: normal(40, 2, seed), repeats, kind=kind)
    assert np.mean(found < 0.05) <= 0.08
    assert 0.4 < found.mean() < 0.7


def test_what_a_classifier_learnt_by_heart_does_not_count() -> None:
    """More features than samples: every training half is told apart without an error."""
    found = [classifier_test(normal(20, 60, 2 * i), normal(20, 60, 2 * i + 1), kind="linear") for i in range(60)]
    assert near_mean([v.accuracy for v in found], 0.5)


def test_halves_are_drawn_at_random_from_sets_that_are_sorted() -> None:
    """Taken as they stand, the halves would hold different classes, and one alone the difference."""
    x = torch.cat([normal(200, 2), normal(200, 2, 1) + 20])
    y = torch.cat([normal(200, 2, 2) + 4, normal(200, 2, 3) + 20])
    for one, other in ((x, y), (x.flip(0), y.flip(0))):
        found = classifier_test(one, other)
        assert found.accuracy > 0.68 and found.p < 1e-6  # at best 3/4


def test_kinds_that_do_not_exist_are_refused(unchecked: None) -> None:
    with pytest.raises(ValueError, match="unknown kind 'forest' of classifier; choose 'neural' or 'linear'"):
        classifier_test(normal(9, 2), normal(9, 2, 1), kind="forest")  # type: ignore[arg-type]


# -------------------------------------------------------------------------------------------------------- bad arguments

PAIRED: Any = {
    "novelty": lambda x, y: novelty(x, y, level=0.2),
    "authenticity": authenticity,
    "extraction": lambda x, y: extraction(x, y, neighbours=3),
    "copying": lambda x, y: data_copying(x, y, y, cells=1, least=3),
    "neighbours": lambda x, y: neighbour_test(x, y, permutations=9),
    "linear": lambda x, y: classifier_test(x, y, kind="linear"),
    "neural": classifier_test,
}


@pytest.fixture(params=PAIRED.values(), ids=PAIRED.keys())
def metric(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize(
    "shapes", [((9,), (9,)), ((9, 2), (9, 3)), ((1, 2), (9, 2)), ((9, 2), (0, 2)), ((9, 0), (9, 0)), ((9, 2, 1),) * 2]
)
def test_shapes_that_do_not_fit_are_refused(metric: Any, shapes: Any, unchecked: None) -> None:
    with pytest.raises(ValueError, match=r"must be \(n, d\) and \(m, d\).*but got \(|got [01]$|between 2 and 1"):
        metric(*(torch.zeros(shape) for shape in shapes))


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("which", [0, 1])
def test_nan_and_infinity_are_refused(metric: Any, value: float, which: int) -> None:
    sets = [normal(9, 2), normal(9, 2, 1)]
    sets[which][4, 1] = value
    with pytest.raises(ValueError, match=r"\(9, 2\) hold NaN or infinite values"):
        metric(*sets)


def plain(found: Any) -> Any:
    return [v.tolist() if isinstance(v, Tensor) else v for v in found] if isinstance(found, tuple) else found


def test_arrays_integers_and_single_precision_are_taken(metric: Any) -> None:
    x, y = lattice(12, 3), lattice(9, 3, 1)
    expected = plain(metric(x, y))
    assert plain(metric(x.numpy(), y.numpy())) == expected
    assert plain(metric(x.long(), y.to(torch.uint8))) == expected
    assert plain(metric(x.float(), y.requires_grad_())) == expected


def test_constant_features_and_fewer_samples_than_dimensions_give_numbers(metric: Any) -> None:
    constant = torch.full((12, 3), 0.1)
    for x, y in ((constant, constant), (normal(12, 40), normal(9, 40, 1)), (constant, constant + 1)):
        found = metric(x, y)
        values = [v for v in found if isinstance(v, float)] if isinstance(found, tuple) else [found]
        assert values and all(math.isfinite(v) for v in values if metric is not PAIRED["novelty"])


def test_third_sets_are_checked_too() -> None:
    a, b = normal(30, 2), normal(30, 2, 1)
    bad = normal(30, 2, 2)
    bad[3, 0] = math.nan
    for run in (lambda: novelty(a, b, test=bad), lambda: data_copying(a, b, bad, cells=1)):
        with pytest.raises(ValueError, match="hold NaN"):
            run()


def test_one_generated_sample_is_enough_where_each_is_judged_alone() -> None:
    train = normal(30, 2)
    one = train[:1] + 1e-6
    assert nearest(one, train)[1].tolist() == [0]
    assert authenticity(train, one) == 0
    assert extraction(train, one, neighbours=5) == (1, 1 / 30)
    assert novelty(train, one).closer == 1
