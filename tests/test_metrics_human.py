"""Human evaluation: its statistics on simulated observers of whom everything is known."""

import math
from collections.abc import Iterator
from itertools import pairwise, product
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import config
from scipy import stats

from genlab.metrics.human import Game, Rate, Staircase, Threshold, Verdict, d_prime, exposure_time, hype
from genlab.metrics.intervals import Interval, wilson

NORMAL = NormalDist()


@pytest.fixture
def unchecked() -> Iterator[None]:
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


# ------------------------------------------------------------------------------------------------------------- the game


def test_a_game_is_balanced_shuffled_and_seeded() -> None:
    game = Game(range(100), range(80), each=40, seed=1)
    kinds = [trial.real for trial in game.trials]
    assert len(kinds) == 80 and sum(kinds) == 40
    for kind, n in ((True, 100), (False, 80)):
        places = [trial.place for trial in game.trials if trial.real is kind]
        assert len(set(places)) == 40 and set(places) <= set(range(n))
        assert places != sorted(places) and max(places) > 45  # from all over the set
    assert 0.25 < sum(a != b for a, b in pairwise(kinds)) / 79 < 0.75
    assert game.trials == Game(range(100), range(80), each=40, seed=1).trials
    assert game.trials != Game(range(100), range(80), each=40, seed=2).trials


def test_every_image_comes_up_as_often_in_every_place() -> None:
    first = [Game("ab", "ab", each=1, seed=seed).trials[0] for seed in range(800)]
    counts = [sum((t.real, t.place) == at for t in first) for at in product((True, False), (0, 1))]
    assert stats.chisquare(counts).pvalue > 0.001


def test_a_game_shows_image_after_image_and_records_answers() -> None:
    real, fake = [f"real {i}" for i in range(5)], [f"fake {i}" for i in range(4)]
    game, seen = Game(real, fake, each=4), []
    while not game.done:
        assert game.image == f"{'real' if game.trial.real else 'fake'} {game.trial.place}"
        seen.append(game.image)
        assert game.answer(True, 0.5 * len(seen)) is seen[-1].startswith("real")
    assert len(set(seen)) == 8 and set(fake) < set(seen)
    assert [a.seconds for a in game.answers] == [0.5 * i for i in range(1, 9)]
    assert repr(game) == "Game(8 of 8 answered)"
    for ask in (lambda: game.image, lambda: game.answer(True)):
        with pytest.raises(ValueError, match="all 8 images were answered"):
            ask()


def test_games_that_cannot_be_played_are_refused() -> None:
    for each in (0, -1, 4):
        with pytest.raises(ValueError, match=f"each={each} images of a kind, but there are 5 real and 3 generated"):
            Game(range(5), range(3), each=each)
    game = Game(range(5), range(3), each=3)
    with pytest.raises(ValueError, match="go on playing"):
        game.verdict()
    with pytest.raises(ValueError, match="time does not run backwards"):
        game.answer(True, -0.1)
    assert game.answers == []


# ---------------------------------------------------------------------------------------------------------- the verdict


def played(says: Any, each: int = 50, seconds: float = math.nan) -> Game:
    game = Game(range(each), range(each), each=each)
    while not game.done:
        game.answer(says(game.trial), seconds)
    return game


def test_errors_on_real_and_on_generated_stand_apart() -> None:
    """Wrong on 10 of 50 real images and on 30 of 50 generated ones."""
    found = played(lambda trial: trial.place >= 10 if trial.real else trial.place < 30, seconds=2.0).verdict()
    assert (found.real.value, found.fake.value, found.hype.value) == (0.2, 0.6, 0.4)
    assert (found.real.n, found.fake.n, found.hype.n) == (50, 50, 100)
    for rate, wrong in ((found.real, 10), (found.fake, 30), (found.hype, 40)):
        assert rate.interval == wilson(wrong, rate.n)
        expected = stats.binomtest(wrong, rate.n).proportion_ci(method="wilson")
        assert rate.interval == pytest.approx((expected.low, expected.high))
    assert found.sensitivity == d_prime(20, 50, 10, 50)
    narrow = played(lambda trial: trial.real).verdict(level=0.5).hype.interval
    assert narrow == wilson(0, 100, level=0.5)


def test_a_habit_shows_in_the_criterion_and_not_in_hype() -> None:
    for word, says in (("real", True), ("generated", False)):
        found = played(lambda trial, says=says: says).verdict()
        assert found.hype.value == 0.5 and found.sensitivity.d == pytest.approx(0, abs=1e-12)
        assert (found.real.value, found.fake.value) == ((0, 1) if says else (1, 0))
        assert math.copysign(1, found.sensitivity.criterion) == (1 if says else -1)
        assert f'You leaned towards "{word}".' in found.words()


def test_a_verdict_in_the_middle_counts_what_was_answered() -> None:
    game = Game(range(50), range(50))
    while len(game.answers) < 30:
        game.answer(game.trial.real, 1.0 if len(game.answers) % 3 else math.nan)
    found = game.verdict()
    assert found.real.n + found.fake.n == found.hype.n == 30 and found.hype.value == 0
    assert found.seconds == 1.0


def test_words_say_what_the_numbers_say() -> None:
    words = played(lambda trial: trial.place >= 10 if trial.real else trial.place < 30, seconds=2.0).verdict().words()
    assert words.startswith("You were wrong on 40 % (31 % to 50 %); guessing gives 50 %.")
    assert "You called 20 % (11 % to 33 %) of the real images generated" in words
    assert "60 % (46 % to 72 %) of the generated images real" in words
    assert "d′ = 0.57 ± 0.27" in words and words.endswith("An answer took 2.0 s, the median.")
    assert "You leaned to neither answer." in played(lambda trial: trial.place % 2 == 0).verdict().words()
    assert "median" not in played(lambda trial: True).verdict().words()


# ------------------------------------------------------------------------------------------------------------- d′ and c


@pytest.mark.parametrize("counts", [(30, 50, 10, 50), (50, 50, 0, 50), (0, 7, 3, 11), (4, 4, 9, 9), (0, 1, 0, 1)])
def test_d_prime_is_that_of_scipy_with_the_log_linear_correction(counts: tuple[int, int, int, int]) -> None:
    hits, fake, alarms, real = counts
    found = d_prime(*counts)
    H, F = (hits + 0.5) / (fake + 1), (alarms + 0.5) / (real + 1)
    z = stats.norm.ppf([H, F])
    assert found.d == pytest.approx(z[0] - z[1]) and found.criterion == pytest.approx(-z.mean())
    variance = H * (1 - H) / fake / stats.norm.pdf(z[0]) ** 2 + F * (1 - F) / real / stats.norm.pdf(z[1]) ** 2
    assert found.error == pytest.approx(math.sqrt(variance))
    assert found.criterion_error == pytest.approx(math.sqrt(variance) / 2)
    swapped = d_prime(alarms, real, hits, fake)
    assert swapped.d == pytest.approx(-found.d) and swapped.criterion == pytest.approx(found.criterion)


def outcomes(n: int, d: float, c: float) -> tuple[list[Any], np.ndarray]:
    """d_prime of every possible game of n images a kind, and the probabilities of these games."""
    H, F = NORMAL.cdf(d / 2 - c), NORMAL.cdf(-d / 2 - c)
    weights = np.outer(stats.binom.pmf(range(n + 1), n, H), stats.binom.pmf(range(n + 1), n, F)).ravel()
    return [d_prime(hits, n, alarms, n) for hits in range(n + 1) for alarms in range(n + 1)], weights


@pytest.mark.parametrize(("n", "d", "c"), [(20, 0, 0), (20, 1, 0), (50, 0, 0), (50, 1, 0.5), (50, 2, 0), (100, 1, 0)])
def test_intervals_of_d_prime_hold_the_truth_summed_over_all_games(n: int, d: float, c: float) -> None:
    found, weights = outcomes(n, d, c)
    values, errors = np.array([f.d for f in found]), np.array([f.error for f in found])
    mean = weights @ values
    assert mean == pytest.approx(d, abs=0.05)
    assert math.sqrt(weights @ (values - mean) ** 2) == pytest.approx(weights @ errors, rel=0.06)
    assert 0.94 < weights @ (np.abs(values - d) < 1.96 * errors) < 0.975
    criteria, errors = np.array([f.criterion for f in found]), np.array([f.criterion_error for f in found])
    assert 0.94 < weights @ (np.abs(criteria - c) < 1.96 * errors) < 0.975


def test_an_observer_of_known_sensitivity_is_recognised() -> None:
    """Sees a generated image as N(d, 1), a real one as N(0, 1), and calls generated what lies above d/2 + c."""
    d, c, generator = 1.2, 0.4, torch.Generator().manual_seed(0)

    def says_real(trial: Any) -> bool:
        seen = torch.randn((), generator=generator).item() + (0 if trial.real else d)
        return seen <= d / 2 + c

    verdicts = [played(says_real).verdict() for _ in range(300)]
    for name, true, error in (("d", d, "error"), ("criterion", c, "criterion_error")):
        found = [v.sensitivity._asdict() for v in verdicts]
        assert 0.91 < sum(abs(f[name] - true) < 1.96 * f[error] for f in found) / 300 < 0.98
    real, fake = 1 - NORMAL.cdf(d / 2 + c), NORMAL.cdf(c - d / 2)
    for rates, true in (([v.real for v in verdicts], real), ([v.fake for v in verdicts], fake)):
        assert 0.91 < sum(r.interval.low < true < r.interval.high for r in rates) / 300 < 0.98
    assert sum(v.hype.value for v in verdicts) / 300 == pytest.approx((real + fake) / 2, abs=0.01)


@pytest.mark.parametrize("counts", [(1, 0, 0, 5), (6, 5, 0, 5), (-1, 5, 0, 5), (1.5, 5, 0, 5), (math.nan, 5, 0, 5)])
def test_counts_that_cannot_be_are_refused(counts: Any, unchecked: None) -> None:
    with pytest.raises(ValueError, match="must be whole numbers, 0 to n with n at least 1"):
        d_prime(*counts)


# ----------------------------------------------------------------------------------------------------- several players


def of_rate(value: float) -> Verdict:
    rate = Rate(value, Interval(0, 1), 100)
    return Verdict(rate, rate, rate, d_prime(1, 2, 1, 2), 1.0)


def test_hype_of_several_players_is_their_mean_with_an_interval_over_players() -> None:
    found = hype([of_rate(value) for value in (0.2, 0.3, 0.4, 0.5)])
    assert found.value == pytest.approx(0.35) and found.n == 4
    assert 0.2 < found.interval.low < 0.3 and 0.4 < found.interval.high < 0.5
    assert hype([of_rate(0.4)] * 3).interval == pytest.approx((0.4, 0.4))
    with pytest.raises(ValueError, match="1 verdicts are too few"):
        hype([of_rate(0.4)])


def test_intervals_of_hype_hold_the_truth() -> None:
    held = 0
    for seed in range(200):
        values = 0.4 + 0.08 * torch.randn(30, generator=torch.Generator().manual_seed(seed))
        interval = hype([of_rate(v) for v in values.tolist()], repeats=200, seed=seed).interval
        held += interval.low < 0.4 < interval.high
    assert 0.91 <= held / 200 <= 0.98


# -------------------------------------------------------------------------------------------------------- the staircase


def test_three_right_shorten_and_one_wrong_lengthens() -> None:
    stairs = Staircase(start=400.0, factor=2.0, least=50.0, most=800.0)
    steps = [(True, 400), (True, 400), (True, 200), (True, 200), (True, 200), (False, 400), (True, 400), (True, 400)]
    for right, exposure in steps:
        assert stairs.answer(right) == stairs.exposure == exposure
    assert stairs.reversals == [200]
    assert stairs.answer(False) == 800 and stairs.answer(False) == 800  # the longest; the streak was broken
    assert stairs.reversals == [200]
    for _ in range(12):
        stairs.answer(True)
    assert stairs.exposure == 50 and stairs.reversals == [200, 800]
    stairs.answer(True), stairs.answer(True), stairs.answer(True)
    assert stairs.exposure == 50 and stairs.answer(False) == 100 and stairs.reversals == [200, 800, 50]
    assert stairs.exposures[:4] == [400, 400, 400, 200] and len(stairs.exposures) == 26


def test_the_threshold_is_the_geometric_mean_of_as_many_turns_up_as_down() -> None:
    stairs = Staircase()
    stairs.reversals = [900, 300, 100, 400, 200, 800, 100]  # five count, of which the last four pair
    assert stairs.threshold() == pytest.approx(((400 * 200 * 800 * 100) ** 0.25, False))
    stairs.reversals[-1] = 50.0
    assert stairs.threshold().cut
    stairs.reversals = [50.0, *stairs.reversals[1:-1], 100]
    assert not stairs.threshold().cut  # the limit was touched on the way only
    stairs.reversals = stairs.reversals[:2]
    with pytest.raises(ValueError, match="2 reversals are too few"):
        stairs.threshold()


def climb(median: float, spread: float, generator: torch.Generator, **options: Any) -> Staircase:
    """An observer right in ½ + ½ Φ(log(t / median) / spread) of the images seen for t milliseconds."""
    stairs = Staircase(**options)
    while not stairs.done:
        chance = 0.5 + 0.5 * NORMAL.cdf(math.log(stairs.exposure / median) / spread)
        stairs.answer(torch.rand((), generator=generator).item() < chance)
    return stairs


@pytest.mark.parametrize(("median", "spread"), [(200, 0.6), (100, 0.6), (600, 0.6), (200, 0.3)])
def test_staircases_settle_where_four_of_five_answers_are_right(median: float, spread: float) -> None:
    generator = torch.Generator().manual_seed(0)
    found = [climb(median, spread, generator, least=20.0).threshold() for _ in range(300)]
    mean = sum(math.log(f.value) for f in found) / 300
    right = 0.5 + 0.5 * NORMAL.cdf((mean - math.log(median)) / spread)
    assert right == pytest.approx(0.5 ** (1 / 3), abs=0.02)  # two in a row would settle at 0.707, four at 0.841
    true = median * math.exp(spread * NORMAL.inv_cdf(2 * 0.5 ** (1 / 3) - 1))
    intervals = [exposure_time(found[i : i + 6]).interval for i in range(0, 300, 6)]
    assert 0.86 <= sum(low < true < high for low, high in intervals) / 50 <= 1


def test_exposure_time_is_students_interval_of_logarithms() -> None:
    values = [100.0, 150.0, 240.0, 130.0]
    found = exposure_time([Threshold(v, False) for v in values], level=0.9)
    logs = np.log(values)
    expected = np.exp(stats.t.interval(0.9, 3, logs.mean(), stats.sem(logs)))
    assert found.value == pytest.approx(stats.gmean(values)) and found.interval == pytest.approx(tuple(expected))
    assert found.n == 4


def test_thresholds_without_an_interval_are_refused() -> None:
    good, cut = Threshold(100.0, False), Threshold(50.0, True)
    with pytest.raises(ValueError, match="1 of 3 thresholds are cut by a limit"):
        exposure_time([good, cut, good])
    for thresholds, level in (([good], 0.95), ([good, good], 1.0), ([good, good], 0.0)):
        with pytest.raises(ValueError, match="0 < level < 1 and two thresholds"):
            exposure_time(thresholds, level=level)


def test_a_player_who_guesses_ends_at_the_limit_and_says_so() -> None:
    found = climb(1e9, 0.1, torch.Generator().manual_seed(1), most=1000.0).threshold()
    assert found.cut and found.value > 700
    stairs = Staircase()
    for _ in range(60):
        stairs.answer(True)  # who always knows never turns
    assert stairs.exposure == 50 and stairs.reversals == [] and not stairs.done


@pytest.mark.parametrize(
    "options",
    [{"start": 10.0}, {"start": 3000.0}, {"least": 0.0}, {"factor": 1.0}, {"most": math.inf}, {"factor": math.nan}],
)
def test_stairs_without_steps_are_refused(options: Any) -> None:
    with pytest.raises(ValueError, match="0 < least <= start <= most and factor above 1, but got"):
        Staircase(**options)
    with pytest.raises(ValueError, match="turns=2 must be at least 3"):
        Staircase(turns=2)
