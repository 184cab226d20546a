"""Distances between two sets of features.

Matrices of all pairs are never held whole: what needs them walks through blocks of rows.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Real
from torch import Tensor

from genlab.metrics.features import Features, Other, pair, rows
from genlab.metrics.moments import Moments, products

Mean = Real[Tensor, " d"] | Real[np.ndarray, " d"]

Covariance = Real[Tensor, "d d"] | Real[np.ndarray, "d d"]

BLOCK = 2**23
"""Numbers in a block: 64 MiB, of which a computation holds a few at once."""


def frechet(mu1: Mean, cov1: Covariance, mu2: Mean, cov2: Covariance) -> float:
    """‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½), the squared Wasserstein-2 distance of two Gaussians.

    With Σ₁ = LLᵀ the eigenvalues of Σ₁Σ₂ are those of the symmetric LᵀΣ₂L, so no matrix square root is needed. When
    Σ₁ = UΛUᵀ is singular (fewer samples than features), UΛ^½ takes the place of the Cholesky factor L. A square is
    never negative: what rounding leaves below zero (about 1e-8 of the traces, if covariances are singular) is set to 0.
    Source: Dowson and Landau 1982; Heusel et al. 2017, eq. 6.

    Raises:
        ValueError: means that are not (d,), or covariances that are not (d, d).
    """
    mean1, sigma1, mean2, sigma2 = (rows(v) for v in (mu1, cov1, mu2, cov2))
    d = mean1.numel()
    if not (mean1.shape == mean2.shape == (d,) and sigma1.shape == sigma2.shape == (d, d)):
        shapes = ", ".join(str(tuple(v.shape)) for v in (mean1, sigma1, mean2, sigma2))
        raise ValueError(f"means must be (d,) and covariances (d, d), but got {shapes}")
    overlap = torch.linalg.eigvalsh(_between(_root(sigma1), sigma2)).clamp(min=0).sqrt().sum()
    return max(0.0, ((mean1 - mean2).square().sum() + sigma1.trace() + sigma2.trace() - 2 * overlap).item())


def _between(root: Tensor, covariance: Tensor) -> Tensor:
    """LᵀΣL, in blocks: without the upper right of a triangular L, and the lower left that mirrors the upper right."""
    half = len(root) // 2
    left, right = root[:, :half], root[:, half:]
    first = half if not right[:half].any() else 0  # above this row the right half of L is 0
    right = right[first:]
    of_left, of_right = covariance @ left, covariance[:, first:] @ right
    corner = left.T @ of_right
    upper = torch.cat([left.T @ of_left, corner], 1)
    return torch.cat([upper, torch.cat([corner.T, right.T @ of_right[first:]], 1)])


def _root(covariance: Tensor) -> Tensor:
    """A root L with Σ = LLᵀ: Cholesky's, or UΛ^½ of a singular one."""
    root, failed = torch.linalg.cholesky_ex(covariance)
    if failed:
        values, vectors = torch.linalg.eigh(covariance)
        root = vectors * values.clamp(min=0).sqrt()
    return root


def frechet_distance(x: Features | Moments, y: Other | Moments) -> float:
    """Fréchet distance of Gaussians fitted to two sets of features. Its bias is positive and falls as 1/n.

    Either set may be streamed: its `Moments` stand for it. With fewer rows than features Σ₁ = AᵀA and Σ₂ = BᵀB for the
    centred rows A and B over √(n − 1), and tr (Σ₁Σ₂)^½ is the sum of the singular values of ABᵀ: small, and without the
    root of a rounded zero, which moments cannot avoid. Never negative, as `frechet`.

    Raises:
        ValueError: fewer than two rows, different widths, or values that are NaN or infinite.
    """
    if isinstance(x, Moments) or isinstance(y, Moments):
        p, q = (v if isinstance(v, Moments) else _moments(v) for v in (x, y))
        if p.d != q.d:
            raise ValueError(f"moments of {p.d} features and of {q.d} have no distance; take both from one network")
        return frechet(p.mean, p.covariance, q.mean.to(p.mean.device), q.covariance.to(p.mean.device))
    a, b = pair(x, y)
    if min(len(a), len(b)) <= a.shape[1]:
        A, B = ((v - v.mean(0)) / (len(v) - 1) ** 0.5 for v in (a, b))
        overlap = torch.linalg.svdvals(A @ B.T).sum()
        apart = (a.mean(0) - b.mean(0)).square().sum()
        return max(0.0, (apart + A.square().sum() + B.square().sum() - 2 * overlap).item())
    return frechet(a.mean(0), _covariance(a), b.mean(0), _covariance(b))


def _moments(x: Tensor | np.ndarray) -> Moments:
    x = rows(x)
    if x.ndim != 2 or not x.shape[1]:
        raise ValueError(f"features must be (n, d), but got {tuple(x.shape)}")
    return Moments(x.shape[1], device=x.device).update(x)


def _covariance(x: Tensor) -> Tensor:
    return products(x - x.mean(0)) / (len(x) - 1)


class Limit(NamedTuple):
    """The Fréchet distance at infinitely many samples, its standard error, and the slope of its bias.

    At N generated samples the plain distance is on average about value + slope / N.
    """

    value: float
    error: float
    slope: float


def frechet_limit(x: Features, y: Other, *, points: int = 15, seed: int = 0, both: bool = False) -> Limit:
    """Fréchet distance without its bias: a line in 1/N through subsets of y, read at 1/N = 0. It may be negative.

    N goes from all rows of y to a quarter of them, or to four for each feature, or where those are too few to 2/5 of
    them, in even steps of 1/N, each time averaged over as many disjoint subsets as there are. With five to ten rows a
    feature the bias bends in 1/N, and about 5 % of it are taken out too much.

    The bias of a finite x stays in the value, alike for all generators that x judges: for equal laws half of
    `frechet_floor` at its size. With `both`, x is cut in the proportion of y, and the line takes both biases out, at
    the price of a larger error.

    The error is that of new samples y, and with `both` of new x too: the delta method's and the scatter about the
    line. It is right for laws that differ; for equal ones it is up to √2 times too large.
    Source: Chong and Forsyth 2020, section 3.

    Raises:
        ValueError: as in `frechet_distance`, fewer than four rows of y (and of x with `both`) for each feature, which
            leave no line to fit, or fewer than three points.
    """
    a, b = pair(x, y)
    d = a.shape[1]
    if points < 3:
        raise ValueError(f"points={points} must be at least 3, to see how the distances scatter about a line")
    fewest, needed = min(len(a), len(b)) if both else len(b), max(4 * d, 8)
    if fewest < needed:
        which = "x or y" if both else "y"
        raise ValueError(
            f"{fewest} rows of {which} are too few: a line in 1/N needs at least {needed} for {d} features; "
            "add samples, or take fewer features"
        )
    generator = torch.Generator().manual_seed(seed)
    # lower down the bias is no line in 1/N, and closer together the sizes say little of its slope
    least = max(len(b) // 4, min(4 * d, 2 * fewest // 5) * len(b) // fewest)
    sizes = torch.linspace(1 / len(b), 1 / least, points, dtype=torch.float64).reciprocal().round().long()
    whole = None if both else a if len(a) <= d else _moments(a)
    values = [_subset_distance(a, b, int(size), whole, generator) for size in sizes]
    line = torch.stack([torch.ones(points, dtype=torch.float64), len(b) / sizes], 1)
    inverse = torch.linalg.inv(line.T @ line)
    found = torch.tensor(values, dtype=torch.float64)
    fit = inverse @ line.T @ found
    scatter = (found - line @ fit).square().sum() / (points - 2)
    variance = inverse[0, 0] * scatter + _sampling_variance(a, b) + (_sampling_variance(b, a) if both else 0)
    return Limit(fit[0].item(), float(variance) ** 0.5, fit[1].item() * len(b))


def _subset_distance(
    a: Tensor, b: Tensor, size: int, whole: Tensor | Moments | None, generator: torch.Generator
) -> float:
    """Mean distance of the whole of a, or where that is None of as large a part, to disjoint subsets of b of a size."""
    of_b = b[torch.randperm(len(b), generator=generator).to(b.device)].split(size)[: len(b) // size]
    if whole is not None:
        return float(np.mean([frechet_distance(whole, part) for part in of_b]))
    of_a = a[torch.randperm(len(a), generator=generator).to(a.device)].split(len(a) * size // len(b))
    return float(np.mean([frechet_distance(u, v) for u, v in zip(of_a, of_b, strict=False)]))


def _sampling_variance(a: Tensor, b: Tensor) -> Tensor:
    """Variance of the distance as b is drawn anew, to first order.

    Its gradient is 2 (μ₂ − μ₁) in μ₂ and I − T in Σ₂, where T = L (LᵀΣ₂L)^(−½) Lᵀ with Σ₁ = LLᵀ is the matrix that
    carries the second Gaussian to the first: what row c = y − μ₂ adds is 2 ⟨μ₂ − μ₁, c⟩ + cᵀ(I − T)c, over the rows.
    """
    root, centred = _root(_covariance(a)), b - b.mean(0)
    values, vectors = torch.linalg.eigh(_between(root, _covariance(b)))
    ranks = values > values.amax() * len(values) * torch.finfo(values.dtype).eps
    half = root @ vectors[:, ranks] * values[ranks] ** -0.25
    influence = 2 * centred @ (b.mean(0) - a.mean(0)) + centred.square().sum(1) - (centred @ half).square().sum(1)
    return influence.var() / len(b)


class Floor(NamedTuple):
    """Mean distance of real samples to other real ones, and the standard deviation of one such distance."""

    value: float
    error: float


def frechet_floor(real: Features, n: int, *, repeats: int = 10, seed: int = 0) -> Floor:
    """Fréchet distance of real to other real features, n a side: what a perfect generator would score at that size.

    Each repeat draws two disjoint subsets of n rows. The error is the standard deviation over repeats: how far one
    distance, such as that of n real to n generated features, lies from the floor by chance. A set drawn from fewer real
    samples repeats itself, so the floor holds for rows that are all different.

    Raises:
        ValueError: fewer than 2n rows, n below 2, fewer than two repeats, or as in `frechet_distance`.
    """
    a, _ = pair(real, real)
    if not 2 <= n <= len(a) // 2:
        raise ValueError(f"n={n} must lie between 2 and {len(a) // 2}: two disjoint subsets of {len(a)} rows")
    if repeats < 2:
        raise ValueError(f"repeats={repeats} must be at least 2, to see how the floor scatters")
    generator = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(repeats):
        chosen = a[torch.randperm(len(a), generator=generator)[: 2 * n].to(a.device)]
        values.append(frechet_distance(chosen[:n], chosen[n:]))
    return Floor(float(np.mean(values)), float(np.std(values, ddof=1)))


class KernelDistance(NamedTuple):
    """An unbiased estimate, and its standard error."""

    value: float
    error: float


def kernel_distance(x: Features, y: Other, *, degree: int = 3) -> float:
    """Unbiased MMD² with the kernel (⟨x, y⟩ / d + 1)^degree; 0 on average for equal laws, so it may be negative.

    Source: Bińkowski et al. 2018 (KID), section 4; Gretton et al. 2012, lemma 6.

    Raises:
        ValueError: as in `frechet_distance`.
    """
    return kernel_estimate(x, y, degree=degree).value


def kernel_estimate(x: Features, y: Other, *, degree: int = 3) -> KernelDistance:
    """`kernel_distance` with the jackknife's standard error: how it moves as each row is left out in turn.

    The error is right for laws that differ; for equal laws it is about √2 times too large. NaN below three rows.
    Source: Efron and Stein 1981.

    Raises:
        ValueError: as in `frechet_distance`.
    """
    a, b = pair(x, y)

    n, m = len(a), len(b)
    kxx, kyy = _sums_within(a, degree), _sums_within(b, degree)
    rows_xy, columns_xy = _sums_between(a, b, degree)
    total = rows_xy.sum()
    within_x, within_y = kxx.sum() / (n * (n - 1)), kyy.sum() / (m * (m - 1))
    value = within_x + within_y - 2 * total / (n * m)
    without_x = _within_without(kxx) + within_y - 2 * (total - rows_xy) / ((n - 1) * m)
    without_y = _within_without(kyy) + within_x - 2 * (total - columns_xy) / (n * (m - 1))
    variance = sum((len(v) - 1) * v.var(correction=0) for v in (without_x, without_y))
    return KernelDistance(value.item(), float(variance) ** 0.5)


def _kernel(a: Tensor, b: Tensor, degree: int) -> Tensor:
    return (a @ b.T).div_(a.shape[1]).add_(1).pow_(degree)


def _sums_within(a: Tensor, degree: int) -> Tensor:
    """Sums of the rows of the kernel but for its diagonal; what is below that is mirrored from above."""
    sums = a.new_zeros(len(a))
    for start, part in _blocks(a, len(a)):
        stop = start + len(part)
        kernel = _kernel(part, a[start:], degree)
        kernel.diagonal().zero_()
        sums[start:stop] += kernel.sum(1)
        sums[stop:] += kernel[:, len(part) :].sum(0)
    return sums


def _sums_between(a: Tensor, b: Tensor, degree: int) -> tuple[Tensor, Tensor]:
    """Sums of the rows and of the columns of the kernel."""
    of_rows, of_columns = a.new_empty(len(a)), a.new_zeros(len(b))
    for start, part in _blocks(a, len(b)):
        kernel = _kernel(part, b, degree)
        of_rows[start : start + len(part)] = kernel.sum(1)
        of_columns += kernel.sum(0)
    return of_rows, of_columns


def _blocks(x: Tensor, width: int) -> Iterator[tuple[int, Tensor]]:
    """Rows of x, and where they start: as many at a time as make a block of `width` numbers each."""
    step = max(1, BLOCK // width)
    for start in range(0, len(x), step):
        yield start, x[start : start + step]


def _within_without(sums: Tensor) -> Tensor:
    """Mean of the kernel over the pairs that are left without row i, for each i, from the sums of its rows."""
    n = len(sums)
    return (sums.sum() - 2 * sums) / ((n - 1) * (n - 2) or torch.nan)


def sliced_wasserstein(x: Features, y: Other, *, directions: int = 200, order: int | float = 2, seed: int = 0) -> float:
    """(E_θ W_p(⟨θ, x⟩, ⟨θ, y⟩)^p)^(1/p) over random directions θ of length 1, in the features' unit; p is the `order`.

    In one dimension W_p^p = ∫₀¹ |F⁻¹(t) − G⁻¹(t)|^p dt, and quantile functions of samples are steps: exact, for unequal
    numbers of rows too. What is left to chance are the directions: other seeds move the value by about 1/√directions of
    how it differs between them. It has a bias as well, and falls with n when laws are equal: compare equal numbers, and
    look at real against real. For a shift s alone it is ‖s‖ / √d at p = 2.
    Source: Rabin et al. 2012; Bonneel et al. 2015.

    Raises:
        ValueError: different widths, no rows, NaN or infinite values, no directions, or an order below 1.
    """
    if directions < 1 or not 1 <= order < float("inf"):
        raise ValueError(f"directions={directions} must be at least 1, and order={order} a finite number from 1 on")
    a, b = pair(x, y, least=1)
    theta = torch.randn(directions, a.shape[1], dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    theta = torch.nn.functional.normalize(theta, dim=1).to(a.device)
    n, m = len(a), len(b)
    # Where either step function jumps, in units of 1 / nm: whole numbers, so that no two jumps are confused.
    jumps = torch.cat([m * torch.arange(1, n + 1), n * torch.arange(1, m + 1)]).unique().to(a.device)
    width = jumps.diff(prepend=jumps.new_zeros(1)).double() / (n * m)
    of_a, of_b = (jumps - 1) // m, (jumps - 1) // n
    powers = [
        (((part @ a.T).sort(1).values[:, of_a] - (part @ b.T).sort(1).values[:, of_b]).abs() ** order) @ width
        for _, part in _blocks(theta, n + m)
    ]
    return torch.cat(powers).mean().item() ** (1 / order)
