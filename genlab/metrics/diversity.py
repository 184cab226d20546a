"""Scores of one set alone, without real samples beside it: how sharp, and how varied."""

import itertools
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Real
from torch import Tensor

from genlab.metrics.features import Features, rows

Probabilities = Real[Tensor, "n c"] | Real[np.ndarray, "n c"]

ROUNDING = 1e-3
"""How far probabilities may sum from 1: what half precision leaves of a softmax."""


class Score(NamedTuple):
    """Mean over splits, and the standard deviation over them, as papers print it; NaN for one split."""

    value: float
    error: float


def inception_score(probabilities: Probabilities, *, splits: int = 10) -> Score:
    """exp E KL(p(y|x) ‖ p(y)) from class probabilities (n, c): between 1 and c, computed in each split and averaged.

    High where each sample is of one sure class and all classes are equally frequent. It sees nothing else: one perfect
    picture a class scores c, copies of the training set as well, and classes that are rightly of unequal frequency
    lower it. A split of n rows sees its own p(y), so that the logarithm is too low by about (c − 1) / 2n: compare equal
    numbers of rows and splits, under one classifier. Splits are consecutive, so shuffle rows that are sorted by class.
    Source: Salimans et al. 2016, section 4; on its limits Barratt and Sharma 2018.

    Raises:
        ValueError: rows that are not probabilities, or fewer rows than splits.
    """
    p = rows(probabilities)
    if p.ndim != 2 or not p.numel():
        raise ValueError(f"probabilities must be (n, c) and not empty, but got {tuple(p.shape)}")
    total = p.sum(1)
    if not (bool((p >= 0).all()) and bool(((total - 1).abs() <= ROUNDING).all())):
        raise ValueError(
            f"probabilities must be at least 0 and sum to 1 in each row, but lie in [{p.min():.4g}, {p.max():.4g}] "
            f"with sums from {total.min():.4g} to {total.max():.4g}; for logits: logits.softmax(1)"
        )
    if not 1 <= splits <= len(p):
        raise ValueError(f"splits={splits} must lie between 1 and the number of rows, {len(p)}")
    cuts = [i * len(p) // splits for i in range(splits + 1)]
    scores = torch.stack([_split_score(p[a:b]) for a, b in itertools.pairwise(cuts)])
    return Score(scores.mean().item(), scores.std(correction=0).item() if splits > 1 else float("nan"))


def _split_score(p: Tensor) -> Tensor:
    marginal = p.mean(0)
    return (p.xlogy(p) - p.xlogy(marginal)).sum(1).mean().exp()  # 0 log 0 = 0


KERNELS = ("cosine", "rbf")


def vendi_score(x: Features, *, kernel: str = "cosine", bandwidth: float | None = None) -> float:
    """Effective number of different rows: the exponential of the entropy of the eigenvalues of K / n, from 1 to n.

    n copies give 1, n rows without likeness n. "cosine" is ⟨x, y⟩ / ‖x‖‖y‖, at most d (from (d, d) where n > d);
    "rbf" is exp(−‖x − y‖² / 2b²), with a matrix (n, n): thousands of rows. It grows with n and with a smaller b, and
    knows nothing of quality: noise scores high. Compare equal n, one b, and the score of as many real rows.
    Source: Friedman and Dieng 2023, eq. 1.

    Raises:
        ValueError: features that are not (n, d), empty, NaN or infinite; rows of zeros, which have no cosine; an
            unknown kernel; a bandwidth that is not positive, is missing for "rbf", or is given for "cosine".
    """
    a = rows(x)
    if a.ndim != 2 or not a.numel() or not a.isfinite().all():
        raise ValueError(f"features must be (n, d), finite and not empty, but got {tuple(a.shape)}")
    values = torch.linalg.eigvalsh(_kernel(a, kernel, bandwidth)).clamp(min=0)
    values = values / values.sum()  # the trace is 1 up to rounding
    return (-values.xlogy(values).sum()).exp().item()


def _kernel(a: Tensor, kernel: str, bandwidth: float | None) -> Tensor:
    """K / n, or the smaller matrix that has the same eigenvalues but for zeros."""
    if kernel not in KERNELS:
        raise ValueError(f"unknown kernel {kernel!r}; choose {', '.join(map(repr, KERNELS))}")
    if kernel == "rbf":
        if bandwidth is None or not bandwidth > 0:
            raise ValueError(
                f"bandwidth={bandwidth} must be positive for the rbf kernel: the distance at which rows count as "
                "different, such as the median distance of real ones; the same for all sets that are compared"
            )
        apart = torch.cdist(a, a, compute_mode="donot_use_mm_for_euclid_dist")  # copies at 0 exactly
        return (apart / bandwidth).square().div(-2).exp() / len(a)
    if bandwidth is not None:
        raise ValueError(f"bandwidth={bandwidth} belongs to the rbf kernel; leave it out for the cosine")
    scale = a.abs().amax(1, keepdim=True)  # first, so that no square overflows or vanishes
    if not (scale > 0).all():
        raise ValueError(f"{int((scale == 0).sum())} rows are zero and have no direction; leave them out, or take rbf")
    unit = torch.nn.functional.normalize(a / scale, dim=1)
    return (unit.T @ unit if len(a) > a.shape[1] else unit @ unit.T) / len(a)
