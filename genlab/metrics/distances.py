"""Distances between two sets of features."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Real
from torch import Tensor

from genlab.metrics.features import Features, Other, pair, rows

Mean = Real[Tensor, " d"] | Real[np.ndarray, " d"]

Covariance = Real[Tensor, "d d"] | Real[np.ndarray, "d d"]


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
    root, failed = torch.linalg.cholesky_ex(sigma1)
    if failed:
        values, vectors = torch.linalg.eigh(sigma1)
        root = vectors * values.clamp(min=0).sqrt()
    overlap = torch.linalg.eigvalsh(root.T @ sigma2 @ root).clamp(min=0).sqrt().sum()
    return max(0.0, ((mean1 - mean2).square().sum() + sigma1.trace() + sigma2.trace() - 2 * overlap).item())


def frechet_distance(x: Features, y: Other) -> float:
    """Fréchet distance of Gaussians fitted to two sets of features. Its bias is positive and falls as 1/n.

    With fewer rows than features Σ₁ = AᵀA and Σ₂ = BᵀB for the centred rows A and B over √(n − 1), and tr (Σ₁Σ₂)^½ is
    the sum of the singular values of ABᵀ: small, and without the root of a rounded zero. Never negative, as `frechet`.

    Raises:
        ValueError: fewer than two rows, different widths, or values that are NaN or infinite.
    """
    a, b = pair(x, y)
    d = a.shape[1]
    if min(len(a), len(b)) <= d:
        A, B = ((v - v.mean(0)) / (len(v) - 1) ** 0.5 for v in (a, b))
        overlap = torch.linalg.svdvals(A @ B.T).sum()
        apart = (a.mean(0) - b.mean(0)).square().sum()
        return max(0.0, (apart + A.square().sum() + B.square().sum() - 2 * overlap).item())
    # torch.cov drops the dimensions of a single feature
    (mu1, cov1), (mu2, cov2) = ((v.mean(0), torch.cov(v.T).view(d, d)) for v in (a, b))
    return frechet(mu1, cov1, mu2, cov2)


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

    def kernel(u: Tensor, v: Tensor) -> Tensor:
        return (u @ v.T / a.shape[1] + 1) ** degree

    kxx, kyy, kxy = kernel(a, a), kernel(b, b), kernel(a, b)
    kxx.fill_diagonal_(0)
    kyy.fill_diagonal_(0)
    n, m = kxy.shape
    within_x, within_y = kxx.sum() / (n * (n - 1)), kyy.sum() / (m * (m - 1))
    value = within_x + within_y - 2 * kxy.mean()
    without_x = _within_without(kxx) + within_y - 2 * (kxy.sum() - kxy.sum(1)) / ((n - 1) * m)
    without_y = _within_without(kyy) + within_x - 2 * (kxy.sum() - kxy.sum(0)) / (n * (m - 1))
    variance = sum((len(v) - 1) * v.var(correction=0) for v in (without_x, without_y))
    return KernelDistance(value.item(), float(variance) ** 0.5)


def _within_without(kernel: Tensor) -> Tensor:
    """Mean of the kernel over the pairs that are left without row i, for each i; the diagonal is zero."""
    n = len(kernel)
    return (kernel.sum() - 2 * kernel.sum(1)) / ((n - 1) * (n - 2) or torch.nan)
