"""Intervals: closed forms, SciPy, and how often they hold the true value."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from jaxtyping import config
from scipy import stats
from torch import Tensor

from genlab.metrics.distances import frechet_distance
from genlab.metrics.intervals import Interval, bootstrap, jackknife, wilson

REPETITIONS = 400


@pytest.fixture
def unchecked() -> Iterator[None]:
    """The package as users run it, without the checks of shape annotations that come before its own."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


def mean(x: Tensor) -> Tensor:
    return x.mean()


def ratio(pairs: Tensor) -> Tensor:
    return pairs[:, 1].mean() / pairs[:, 0].mean()


def coverage(
    make: Callable[[torch.Generator], tuple[Tensor, ...]],
    interval: Callable[..., Interval],
    truth: float,
    repetitions: int = REPETITIONS,
) -> float:
    """Share of repetitions of an experiment in which the interval holds the truth."""
    generator = torch.Generator().manual_seed(0)
    found = [interval(*make(generator), seed=i) for i in range(repetitions)]
    return float(np.mean([low <= truth <= high for low, high in found]))


# ---------------------------------------------------------------------------------------------------------- shares


@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (0, 20), (20, 20), (3, 10), (77, 100), (1, 5000)])
def test_wilson_is_that_of_scipy(successes: int, n: int, level: float) -> None:
    expected = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    assert wilson(successes, n, level=level) == pytest.approx((expected.low, expected.high), rel=1e-12, abs=1e-15)


def test_ends_of_wilson_are_the_shares_that_the_score_test_just_rejects() -> None:
    z = stats.norm.ppf(0.975)
    for p in wilson(7, 30):
        assert abs(7 / 30 - p) / math.sqrt(p * (1 - p) / 30) == pytest.approx(z)


def test_wilson_has_a_width_at_the_ends_and_stays_within_them() -> None:
    assert wilson(0, 50).low == 0 and wilson(50, 50).high == 1
    assert wilson(0, 50).high == pytest.approx(1 - wilson(50, 50).low) == pytest.approx(0.0713, abs=1e-4)


@pytest.mark.parametrize("p", [0.05, 0.3, 0.5])
def test_wilson_holds_a_share(p: float) -> None:
    """Exactly, from the binomial law of 60 tries, and in the mean over nearby shares, since single ones jump."""
    shares = np.linspace(p - 0.02, p + 0.02, 9)
    held = [
        sum(stats.binom.pmf(k, 60, q) for k in range(61) if wilson(k, 60).low <= q <= wilson(k, 60).high)
        for q in shares
    ]
    assert 0.94 < np.mean(held) < 0.965
    usual = [
        sum(stats.binom.pmf(k, 60, q) for k in range(61) if abs(k / 60 - q) <= 1.96 * math.sqrt(k * (60 - k) / 60**3))
        for q in shares
    ]
    assert np.mean(held) > np.mean(usual) + (0.05 if p == 0.05 else 0)


@pytest.mark.parametrize(("successes", "n"), [(-1, 5), (6, 5), (0, 0), (2.5, 5), (1, 5.5), (math.nan, 5)])
def test_wilson_refuses_what_is_no_share(unchecked: None, successes: float, n: float) -> None:
    with pytest.raises(ValueError, match="whole numbers with 0 ≤ successes ≤ n"):
        wilson(successes, n)  # type: ignore[arg-type]


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0, -0.1, math.nan])
def test_levels_lie_between_0_and_1(level: float) -> None:
    x = torch.randn(30)
    for interval in (
        lambda: wilson(1, 3, level=level),
        lambda: bootstrap(mean, x, level=level),
        lambda: jackknife(mean, x, level=level),
    ):
        with pytest.raises(ValueError, match=r"level=.* between 0 and 1"):
            interval()


# ------------------------------------------------------------------------------------------------------- bootstrap


def test_bootstrap_of_a_mean_is_that_of_scipy() -> None:
    """Both are quantiles of the same law; with 4,000 repeats each they differ by a few hundredths of its width."""
    x = torch.randn(40, generator=torch.Generator().manual_seed(1)).exp().double()
    for level in (0.8, 0.95):
        found = bootstrap(mean, x, repeats=4000, level=level)
        theirs = stats.bootstrap(
            (x.numpy(),), np.mean, n_resamples=4000, confidence_level=level, method="percentile", rng=0
        ).confidence_interval
        assert found == pytest.approx((theirs.low, theirs.high), abs=0.06 * (theirs.high - theirs.low))


def test_bootstrap_draws_each_set_on_its_own_and_rows_whole() -> None:
    """The variance of a difference of two independent means adds; that of a mean of differences does not."""
    x = torch.randn(100, generator=torch.Generator().manual_seed(2)).double()
    y = x + 5
    apart = bootstrap(lambda a, b: b.mean() - a.mean(), x, y, repeats=2000)
    expected = 2 * stats.norm.ppf(0.975) * (2 * x.var(correction=0).item() / 100) ** 0.5
    assert apart.high - apart.low == pytest.approx(expected, rel=0.07)
    together = bootstrap(lambda s: (s[:, 1] - s[:, 0]).mean(), torch.stack([x, y], 1))
    assert together == pytest.approx((5, 5))


@pytest.mark.parametrize("what", ["mean", "share", "ratio"])
def test_bootstrap_holds_a_mean_a_share_and_a_ratio(unchecked: None, what: str) -> None:
    def pairs(generator: torch.Generator) -> tuple[Tensor]:
        x = 1 + torch.rand(80, generator=generator).double()
        return (torch.stack([x, 2 * x + torch.randn(80, generator=generator)], 1),)

    make, statistic, truth = {
        "mean": (lambda g: (torch.rand(60, generator=g),), mean, 0.5),
        "share": (lambda g: ((torch.rand(100, generator=g) < 0.3).int(),), mean, 0.3),
        "ratio": (pairs, ratio, 2.0),
    }[what]
    held = coverage(make, lambda *sets, seed: bootstrap(statistic, *sets, seed=seed, repeats=100), truth)
    assert 0.91 <= held <= 0.98


@pytest.mark.parametrize("interval", [bootstrap, jackknife])
def test_intervals_repeat_with_their_seed_take_arrays_and_leave_the_global_generator_alone(
    interval: Callable[..., Interval],
) -> None:
    x = torch.arange(60)
    state = torch.get_rng_state()
    found = interval(mean, x)
    assert found == interval(mean, x) == interval(mean, x.numpy()) == interval(mean, x.double())
    assert found != interval(mean, x, seed=1) or interval is jackknife
    assert torch.equal(state, torch.get_rng_state())
    narrow = interval(mean, x, level=0.5)
    assert found.low < narrow.low < 29.5 < narrow.high < found.high


@pytest.mark.parametrize("interval", [bootstrap, jackknife])
def test_constant_values_give_an_interval_without_width(interval: Callable[..., Interval]) -> None:
    assert interval(mean, torch.full((30,), 3.0)) == pytest.approx((3, 3))


@pytest.mark.parametrize("interval", [bootstrap, jackknife])
def test_intervals_refuse_bad_sets_and_statistics(unchecked: None, interval: Callable[..., Interval]) -> None:
    x = torch.randn(30)
    with pytest.raises(ValueError, match="no sets were given"):
        interval(mean)
    for bad in (x[:1], x[:0], torch.tensor(1.0)):
        with pytest.raises(ValueError, match="n at least 2"):
            interval(mean, bad)
    with pytest.raises(ValueError, match="NaN or infinite"):
        interval(mean, x.index_fill(0, torch.tensor([3]), math.nan))
    with pytest.raises(ValueError, match=r"one finite number.*gave nan"):
        interval(lambda v: v.mean() * math.nan, x)
    with pytest.raises(ValueError, match=r"one finite number.*values of shape \(30,\)"):
        interval(lambda v: v if len(v) == 30 else v[:1].expand(30), x)
    with pytest.raises(ValueError, match="tensor or a NumPy array"):
        interval(mean, [1.0, 2.0])


def test_numbers_of_repeats_and_groups_must_fit() -> None:
    x = torch.randn(30)
    with pytest.raises(ValueError, match="repeats=99 must be at least 100"):
        bootstrap(mean, x, repeats=99)
    for groups in (4, 31):
        with pytest.raises(ValueError, match=f"groups={groups} must lie between 5 and .* 30"):
            jackknife(mean, x, groups=groups)
    with pytest.raises(ValueError, match="smallest set, 10"):
        jackknife(lambda a, b: a.mean() - b.mean(), x, x[:10])


# ------------------------------------------------------------------------------------------------------- jackknife


def test_jackknife_of_a_mean_with_a_row_a_group_is_students_interval() -> None:
    x = torch.randn(25, generator=torch.Generator().manual_seed(3)).double()
    theirs = stats.ttest_1samp(x.numpy(), 0).confidence_interval(0.9)
    assert jackknife(mean, x, groups=25, level=0.9) == pytest.approx((theirs.low, theirs.high), rel=1e-10)


def test_jackknife_takes_the_bias_of_a_variance_out() -> None:
    """Leaving out one row at a time turns the variance over n into that over n − 1, exactly, in each of two sets."""
    x = torch.randn(30, generator=torch.Generator().manual_seed(4)).double()
    y = 3 * torch.randn(30, generator=torch.Generator().manual_seed(5)).double()
    low, high = jackknife(lambda a, b: a.var(correction=0) + b.var(correction=0), x, y, groups=30)
    assert (low + high) / 2 == pytest.approx((x.var() + y.var()).item(), rel=1e-9)
    alone = [jackknife(lambda a: a.var(correction=0), v, groups=30) for v in (x, y)]
    widths = [end.high - end.low for end in alone]
    assert high - low == pytest.approx(math.hypot(*widths), rel=1e-9)


def test_jackknife_holds_a_ratio(unchecked: None) -> None:
    def make(generator: torch.Generator) -> tuple[Tensor]:
        x = 1 + torch.rand(80, generator=generator).double()
        return (torch.stack([x, 2 * x + torch.randn(80, generator=generator)], 1),)

    assert 0.91 <= coverage(make, lambda s, seed: jackknife(ratio, s, seed=seed), 2.0) <= 0.98


def test_jackknife_holds_a_frechet_distance_and_the_bootstrap_does_not(unchecked: None) -> None:
    """N(0, I) against N(0.3, 1.5² I) in four dimensions: 4 (0.09 + 0.25). In sixteen the bootstrap always misses."""

    def make(d: int, n: int, scale: float, shift: float) -> Callable[[torch.Generator], tuple[Tensor, Tensor]]:
        return lambda g: (torch.randn(n, d, generator=g), scale * torch.randn(n, d, generator=g) + shift)

    def jackknifed(x: Tensor, y: Tensor, seed: int) -> Interval:
        return jackknife(frechet_distance, x, y, groups=10, seed=seed)

    assert 0.91 <= coverage(make(4, 200, 1.5, 0.3), jackknifed, 1.36, repetitions=200) <= 0.98
    far = make(16, 300, 1.2, 0.0)

    def bootstrapped(x: Tensor, y: Tensor, seed: int) -> Interval:
        return bootstrap(frechet_distance, x, y, repeats=100, seed=seed)

    assert coverage(far, bootstrapped, 0.64, repetitions=6) == 0
    assert coverage(far, jackknifed, 0.64, repetitions=30) >= 0.9
