"""Memorisation: do generated samples lie nearer to training examples than unseen real samples do?

Every function takes the training set first. None of them proves that nothing was copied: a model that copies a few
examples, or copies them shifted in a direction that the features do not see, may pass. Look at the nearest pairs too.
"""

import warnings
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Real
from torch import Tensor

from genlab.metrics.features import Features, Other, pair
from genlab.metrics.neighbours import closest

Third = Real[Tensor, "l d"] | Real[np.ndarray, "l d"]


def nearest(x: Features, among: Other) -> tuple[Tensor, Tensor]:
    """Distance and index of the nearest row of `among`, for each row of x: a first look for memorisation.

    Copies lie at 0 exactly; among equals the first is named.

    Raises:
        ValueError: different widths, no rows, or values that are NaN or infinite.
    """
    a, b = pair(x, among, least=1)
    distance, index = closest(a, b, 1)
    return distance[:, 0], index[:, 0]


class Novelty(NamedTuple):
    """Share of generated samples closer to training than real ones are, what to expect of it, and all distances."""

    closer: float
    expected: float
    ratio: float
    fake: Tensor
    real: Tensor


def novelty(train: Features, fake: Other, *, test: Third | None = None, level: float = 0.05) -> Novelty:
    """Distances of generated samples to their nearest training sample, beside those of unseen real ones.

    `closer` is the share of generated samples strictly nearer than the r-th nearest of m held-out ones, with
    r = ⌊level (m + 1)⌋. For equal laws it has the expectation r / (m + 1), whatever the law, the dimension and the
    training set, since all m + 1 distances are exchangeable: `expected`. Far above it: copies. A low quantile sees that
    5 % are copied; `ratio`, of the medians and about 1 for equal laws, breaks down only when half are.

    Without `test`, each training sample's distance to its nearest other one takes the place of held-out samples: nearly
    the same law (one training sample less), but not independent draws. Real data that repeat themselves lie at 0: once
    a share of `level` does, nothing is closer, and `data_copying`, which counts ties by half, is the better judge. The
    ratio is infinite, or NaN, if half of them do.

    Args:
        train: features the model was trained on.
        fake: generated ones.
        test: real ones that it has not seen.
        level: of the quantile, above 0 and below 1.

    Returns:
        closer, expected, ratio, and the distances: `fake` (m,) and `real`, of `test` or of `train` itself.

    Raises:
        ValueError: as in `nearest`, a level outside (0, 1), or too few held-out samples for it.
    """
    if not 0 < level < 1:
        raise ValueError(f"level={level} must lie between 0 and 1: the share of held-out samples below the quantile")
    of_fake = nearest(fake, train)[0]
    real = _to_others(train) if test is None else nearest(test, train)[0]
    rank = int(level * (len(real) + 1) + 1e-9)  # 0.29 * 100 is a little less than 29
    if not rank:
        least = int(np.ceil(1 / level)) - 1
        raise ValueError(f"level={level} needs at least {least} held-out samples, but got {len(real)}; raise the level")
    quantile = real.kthvalue(rank).values
    closer = (of_fake < quantile).double().mean().item()
    ratio = (of_fake.quantile(0.5) / real.quantile(0.5)).item()
    return Novelty(closer, rank / (len(real) + 1), ratio, of_fake, real)


def _to_others(x: Features) -> Tensor:
    """Distance of each row to its nearest other row."""
    a, _ = pair(x, x)
    return closest(a, a, 2)[0][:, 1]


def authenticity(train: Features, fake: Other) -> float:
    """Share of generated samples further from their nearest training sample than that is from its own nearest other.

    Copies score 0. Equal laws do not score 1: a sample fails just when it and its nearest are each other's nearest, and
    where samples are dense in d dimensions (of the law, not of the features) that has the probability
    1 / (2 − I_¾((d + 1) / 2, ½)): two balls through each other's centres, with the regularised incomplete beta I. So
    they score 1/3, 0.38, 0.41 in 1, 2, 3 dimensions, and never above ½. In many dimensions samples are never dense, and
    equal laws score more (0.7 for 1,000 from N(0, I) in 16). So read the value beside `authenticity(train, test)`.
    Ties fail.
    Source: Alaa et al. 2022, section 4; for the probability Clark and Evans 1955, Pickard 1982.

    Raises:
        ValueError: fewer than two training samples, no generated ones, different widths, NaN or infinite values.
    """
    a, b = pair(train, fake, least=1)
    own = _to_others(a)
    distance, index = nearest(b, a)
    return (distance > own[index]).double().mean().item()


def data_copying(train: Features, test: Other, fake: Third, *, cells: int = 5, least: int = 20, seed: int = 0) -> float:
    """C_T: the Mann-Whitney statistic, in standard deviations, of generated against held-out distances to training.

    Space is cut into cells by k-means of the training set, so that too many samples in one region do not pass for
    copies. In a cell with n held-out and m generated samples, U counts the pairs where the generated one lies further
    from the cell's nearest training sample (ties by half), and Z = (U − nm/2) / √(nm(n + m + 1)/12), corrected for
    ties. C_T is the mean of Z, weighted by held-out samples, over cells with at least `least` of both kinds.

    Far below 0 (−3): copying; far above: underfitting. For equal laws Z has mean 0 and variance 1, and C_T mean 0 and
    the smaller variance Σw² of its weights, about 1 / cells: a bound of −3 is safe whatever their number.
    Source: Meehan et al. 2020, definition 3.2 and section 4.

    Args:
        train: features the model was trained on.
        test: real ones that it has not seen.
        fake: generated ones.
        cells: of k-means; 1 looks at all samples at once.
        least: samples of each kind that a cell needs.
        seed: of k-means.

    Raises:
        ValueError: as in `frechet_distance`, more cells than training samples, or no cell with enough samples.
    """
    a, b = pair(train, test)
    _, c = pair(a, fake)
    if not 1 <= cells <= len(a) or least < 1:
        raise ValueError(f"cells={cells} must lie between 1 and {len(a)}, and least={least} be 1 or more")
    sets = [v.cpu() for v in (a, b, c)]
    where = _cells(sets, cells, seed)
    scores, weights = [], []
    for cell in range(cells):
        near, unseen, made = (v[at == cell] for v, at in zip(sets, where, strict=True))
        if min(len(unseen), len(made)) >= least:
            scores.append(_mann_whitney(nearest(made, near)[0], nearest(unseen, near)[0]))
            weights.append(len(unseen))
    if not weights:
        raise ValueError(
            f"no cell has {least} held-out and {least} generated samples ({len(b)} and {len(c)} in {cells} cells); "
            "add samples, or lower cells= or least="
        )
    return float(np.average(scores, weights=weights))


def _cells(sets: list[Tensor], cells: int, seed: int) -> list[Tensor]:
    """The cell of each row, by k-means of the first set."""
    from sklearn.cluster import KMeans  # takes a second to import, as below
    from sklearn.exceptions import ConvergenceWarning

    if cells == 1:
        return [torch.zeros(len(v)) for v in sets]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # copies: fewer distinct points than cells leave some empty
        means = KMeans(cells, n_init=3, random_state=seed).fit(sets[0].numpy())
    return [torch.from_numpy(means.predict(v.numpy())) for v in sets]


def _mann_whitney(x: Tensor, y: Tensor) -> float:
    """Z of the pairs where x is larger; 0 where all values are one, which says nothing."""
    from scipy.stats import rankdata

    n, m = len(x), len(y)
    ranks = rankdata(torch.cat([x, y]).numpy())  # equal values share their mean rank
    _, copies = np.unique(ranks, return_counts=True)
    total = n + m
    variance = n * m / 12 * (total + 1 - (copies.astype(float) ** 3 - copies).sum() / (total * (total - 1)))
    above = ranks[:n].sum() - n * (n + 1) / 2 - n * m / 2
    return float(above / variance**0.5) if variance > 0 else 0.0


class Extraction(NamedTuple):
    """Share of generated samples that are copies of a training sample, and of training samples that were copied."""

    memorised: float
    extracted: float


def extraction(train: Features, fake: Other, *, threshold: float = 0.5, neighbours: int = 50) -> Extraction:
    """Copies: generated samples within `threshold` times the mean distance to their nearest `neighbours` in training.

    The distance is relative, since flat and simple pictures lie near to everything. A training sample is extracted when
    it lies so near to at least one generated sample; exact copies always count (0 ≤ 0). What is near by chance depends
    on dimension and numbers: in two dimensions most samples are. So read the value beside that of held-out real ones,
    `extraction(train, test)`. Samples that training repeats more than `neighbours` times, almost exactly, escape.
    Source: Carlini et al. 2023, section 5.1, with threshold = δ α.

    Raises:
        ValueError: as in `nearest`, fewer training samples than neighbours, or a threshold that is negative.
    """
    a, b = pair(train, fake, least=1)
    if not 2 <= neighbours <= len(a):
        raise ValueError(f"neighbours={neighbours} must lie between 2 and {len(a)}, the number of training samples")
    if not threshold >= 0:
        raise ValueError(f"threshold={threshold} must be 0 or more: a share of the mean distance to the neighbours")
    distance, index = closest(b, a, neighbours)
    near = distance <= threshold * distance.mean(1, keepdim=True)
    return Extraction(near.any(1).double().mean().item(), len(index[near].unique()) / len(a))
