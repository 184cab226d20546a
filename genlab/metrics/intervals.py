"""Intervals for what was measured: how far a value would move with other samples.

An interval of level 0.95 holds the true value in 95 of 100 repetitions of the whole experiment. It speaks of the
samples alone: what another seed of the training would change, it does not see.
"""

import math
from collections.abc import Callable, Iterator
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from genlab.metrics.features import rows

FEWEST = 100
"""Repeats of a bootstrap, below which its 2.5 % quantiles are noise."""


class Interval(NamedTuple):
    """Both ends of an interval."""

    low: float
    high: float


def wilson(successes: int, n: int, *, level: float = 0.95) -> Interval:
    """Wilson's score interval for a share: all p that `successes` of n would not reject. Within [0, 1], and of positive
    width at 0 and at n as well, where the usual p ± z √(p(1 − p)/n) has none.

    Source: Wilson 1927; Brown, Cai and DasGupta 2001.

    Raises:
        ValueError: numbers that are not whole or do not fit, or a level outside (0, 1).
    """
    _check_level(level)
    if not (0 <= successes <= n and n >= 1 and successes == int(successes) and n == int(n)):
        raise ValueError(f"successes={successes} and n={n} must be whole numbers with 0 ≤ successes ≤ n and n ≥ 1")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, weight = successes / n, z**2 / n
    centre = (share + weight / 2) / (1 + weight)
    half = z * math.sqrt(share * (1 - share) / n + weight / (4 * n)) / (1 + weight)
    # at the ends the formula is 0 and 1 exactly, but for rounding
    return Interval(0.0 if successes == 0 else centre - half, 1.0 if successes == n else centre + half)


Statistic = Callable[..., float | Tensor]
"""A function of one or more sets of rows (n, …), float64, that returns one number."""


def bootstrap(
    statistic: Statistic,
    *sets: Tensor | np.ndarray,
    repeats: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap: quantiles of `statistic(*sets)` with the rows of each set drawn anew, with replacement.

    Good for smooth statistics without much bias: means, shares, ratios and differences of means, quantiles in the
    middle. What belongs together goes into one set, as columns: it is drawn together. Few rows of a skewed law make it
    too narrow: of the mean of 50 log-normal values, 0.95 is 0.89. Not for a statistic with a bias, since drawing anew
    repeats the bias: a Fréchet distance is biased once more by as much as it already is, and the interval lies above
    the true value; take `jackknife`. Nor for neighbours (every copy has one at distance 0), maxima or minima.
    Source: Efron 1979.

    Args:
        statistic: called with as many sets as are given, in float64.
        sets: (n, …) each, of equal or different lengths.
        repeats: drawings, at least 100.
        level: of the interval.
        seed: of the drawings.

    Raises:
        ValueError: no sets, fewer than two rows, NaN or infinite values, too few repeats, a level outside (0, 1), or a
            statistic that is not one finite number.
    """
    _check_level(level)
    if repeats < FEWEST:
        raise ValueError(f"repeats={repeats} must be at least {FEWEST}: the ends of an interval are rare values")
    parts = _sets(sets)
    generator = torch.Generator().manual_seed(seed)
    values = [
        _value(statistic, [v[torch.randint(len(v), (len(v),), generator=generator).to(v.device)] for v in parts])
        for _ in range(repeats)
    ]
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = torch.tensor(values, dtype=torch.float64).quantile(ends).tolist()
    return Interval(low, high)


def jackknife(
    statistic: Statistic,
    *sets: Tensor | np.ndarray,
    groups: int = 20,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Student's interval about the value without its bias in 1/n, both from leaving out each of the groups in turn.

    For smooth statistics whose bias falls as 1/n, such as the Fréchet distance of laws that differ, with more rows
    than features in what is left; of equal laws it is too wide. For each set of g groups the bias is (g − 1) (θ̄ − θ)
    and the variance (g − 1)/g Σ (θᵢ − θ̄)², where θᵢ is the value without group i; over sets they add. Not for
    neighbours, medians, maxima or minima.
    Source: Quenouille 1956; Tukey 1958; Shao and Tu 1995, section 2.3.

    Args:
        statistic: called with as many sets as are given, in float64; once for each group of each set.
        sets: (n, …) each, of equal or different lengths. What belongs together goes into one set, as columns.
        groups: that the rows of each set are dealt into by chance, at least 5 and at most as many as rows.
        level: of the interval.
        seed: of the dealing.

    Raises:
        ValueError: as `bootstrap`, or a number of groups that does not fit.
    """
    from scipy import stats

    _check_level(level)
    parts = _sets(sets)
    fewest = min(len(v) for v in parts)
    if not 5 <= groups <= fewest:
        raise ValueError(f"groups={groups} must lie between 5 and the rows of the smallest set, {fewest}")
    generator = torch.Generator().manual_seed(seed)
    value = _value(statistic, parts)
    variance, centre = 0.0, value
    for i, part in enumerate(parts):
        without = [_value(statistic, [*parts[:i], rest, *parts[i + 1 :]]) for rest in _rests(part, groups, generator)]
        centre -= (groups - 1) * (float(np.mean(without)) - value)
        variance += (groups - 1) * float(np.var(without))
    half = float(stats.t.ppf((1 + level) / 2, groups - 1)) * math.sqrt(variance)
    return Interval(centre - half, centre + half)


def _rests(x: Tensor, groups: int, generator: torch.Generator) -> Iterator[Tensor]:
    """The rows without each of the groups in turn."""
    order = torch.randperm(len(x), generator=generator).to(x.device)
    for left_out in order.tensor_split(groups):
        keep = torch.ones(len(x), dtype=torch.bool, device=x.device)
        keep[left_out] = False
        yield x[keep]


def _value(statistic: Statistic, parts: list[Tensor]) -> float:
    found = torch.as_tensor(statistic(*parts))
    if found.numel() != 1 or not math.isfinite(found):
        what = f"values of shape {tuple(found.shape)}" if found.numel() != 1 else f"{found.item()}"
        raise ValueError(
            f"the statistic must be one finite number for every choice of rows, but gave {what}; "
            "a ratio needs a denominator that is never 0"
        )
    return float(found)


def _sets(sets: tuple[Tensor | np.ndarray, ...]) -> list[Tensor]:
    if not sets:
        raise ValueError("no sets were given; pass the rows after the statistic: bootstrap(statistic, x)")
    parts = [rows(v) for v in sets]
    for part in parts:
        if part.ndim < 1 or len(part) < 2:
            raise ValueError(f"a set must be (n, …) with n at least 2, but got {tuple(part.shape)}")
        if not part.isfinite().all():
            raise ValueError(f"a set of shape {tuple(part.shape)} holds NaN or infinite values; leave such rows out")
    return parts


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level={level} must lie between 0 and 1, such as 0.95")
