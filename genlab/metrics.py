"""Distances and scores as pure functions of feature matrices (n, d) and (m, d); float64 inside."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

Features = Float[Tensor, "n d"]
Other = Float[Tensor, "m d"]


@torch.no_grad()
def features(net: nn.Module, x: Tensor, *, batch_size: int = 100) -> Tensor:
    """Run `net.features` (or `net`) over images in evaluation mode; rows (n, d) in float64 on the CPU."""
    was_training = net.training
    net.eval()
    run = getattr(net, "features", net)
    rows = [run(part).double().cpu() for part in x.split(batch_size)]
    net.train(was_training)
    return torch.cat(rows)


@torch.no_grad()
def accuracy(net: nn.Module, x: Tensor, y: Tensor, *, batch_size: int = 100) -> float:
    """Share of images whose largest logit is at the label, in evaluation mode."""
    was_training = net.training
    net.eval()
    right = sum(
        int((net(a).argmax(1) == b).sum()) for a, b in zip(x.split(batch_size), y.split(batch_size), strict=True)
    )
    net.train(was_training)
    return right / len(x)


# ---------------------------------------------------------------------------------------------------------- distances


def frechet(
    mu1: Float[Tensor, " d"], cov1: Float[Tensor, "d d"], mu2: Float[Tensor, " d"], cov2: Float[Tensor, "d d"]
) -> float:
    """‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½), the squared Wasserstein-2 distance of two Gaussians.

    With Σ₁ = LLᵀ the eigenvalues of Σ₁Σ₂ are those of the symmetric LᵀΣ₂L, so no matrix square root is needed. When
    Σ₁ = UΛUᵀ is singular (fewer samples than features), UΛ^½ takes the place of the Cholesky factor L.
    Source: Dowson and Landau 1982; Heusel et al. 2017, eq. 6.
    """
    mu1, cov1, mu2, cov2 = (v.double() for v in (mu1, cov1, mu2, cov2))
    root, failed = torch.linalg.cholesky_ex(cov1)
    if failed:
        values, vectors = torch.linalg.eigh(cov1)
        root = vectors * values.clamp(min=0).sqrt()
    overlap = torch.linalg.eigvalsh(root.T @ cov2 @ root).clamp(min=0).sqrt().sum()
    return ((mu1 - mu2).square().sum() + cov1.trace() + cov2.trace() - 2 * overlap).item()


def frechet_distance(x: Features, y: Other) -> float:
    """Fréchet distance of Gaussians fitted to two sets of features. Its bias is positive and falls as 1/n.

    Raises:
        ValueError: fewer than two rows, different widths, or values that are NaN or infinite.
    """
    _check(x, y)
    d = x.shape[1]  # torch.cov drops the dimensions of a single feature
    (mu1, cov1), (mu2, cov2) = ((v.mean(0), torch.cov(v.T).view(d, d)) for v in (x.double(), y.double()))
    return frechet(mu1, cov1, mu2, cov2)


def kernel_distance(x: Features, y: Other, *, degree: int = 3) -> float:
    """Unbiased MMD² with the kernel (⟨x, y⟩ / d + 1)^degree; 0 on average for equal laws, so it may be negative.

    Source: Bińkowski et al. 2018 (KID), section 4; Gretton et al. 2012, lemma 6.
    """
    _check(x, y)
    x, y = x.double(), y.double()
    n, m, d = len(x), len(y), x.shape[1]

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / d + 1) ** degree

    kxx, kyy = kernel(x, x), kernel(y, y)
    within = (kxx.sum() - kxx.trace()) / (n * (n - 1)) + (kyy.sum() - kyy.trace()) / (m * (m - 1))
    return (within - 2 * kernel(x, y).mean()).item()


def _check(x: Tensor, y: Tensor) -> None:
    shapes = f"{tuple(x.shape)} and {tuple(y.shape)}"
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise ValueError(f"features must be (n, d) and (m, d) with n and m at least 2, but got {shapes}")
    if not (x.isfinite().all() and y.isfinite().all()):
        raise ValueError(f"features of shapes {shapes} hold NaN or infinite values; look at the network that made them")


# ------------------------------------------------------------------------------------------------ fidelity and variety


class PrecisionRecall(NamedTuple):
    """Share of generated features inside the real manifold, and of real ones inside the generated manifold."""

    precision: float
    recall: float


def precision_recall(real: Features, fake: Other, *, k: int = 3) -> PrecisionRecall:
    """Improved precision and recall: a manifold is the union of balls up to each point's k-th neighbour.

    Source: Kynkäänniemi et al. 2019, eq. 1 and 2.
    """
    _check_neighbours(real, fake, k)
    distance = torch.cdist(real.double(), fake.double())
    in_real = (distance <= _radius(real, k)[:, None]).any(0)
    in_fake = (distance <= _radius(fake, k)).any(1)
    return PrecisionRecall(in_real.double().mean().item(), in_fake.double().mean().item())


class DensityCoverage(NamedTuple):
    """How deep generated features lie among real ones, and the share of real ones with a generated one near."""

    density: float
    coverage: float


def density_coverage(real: Features, fake: Other, *, k: int = 5) -> DensityCoverage:
    """Density counts the real balls around each generated point, over k; coverage the real balls that hold one.

    For equal distributions density is 1 and, with n samples of each, coverage 1 − ∏ (n − i) / (2n − i), i = 1 … k, in
    expectation. Source: Naeem et al. 2020.
    """
    _check_neighbours(real, fake, k)
    inside = torch.cdist(real.double(), fake.double()) < _radius(real, k)[:, None]
    return DensityCoverage(inside.double().sum(0).mean().item() / k, inside.any(1).double().mean().item())


def _radius(x: Tensor, k: int) -> Tensor:
    """Distance of each row to its k-th nearest other row."""
    x = x.double()
    return torch.cdist(x, x).kthvalue(k + 1, dim=1).values


def _check_neighbours(real: Tensor, fake: Tensor, k: int) -> None:
    _check(real, fake)
    if not 1 <= k < min(len(real), len(fake)):
        raise ValueError(f"k={k} must lie between 1 and {min(len(real), len(fake)) - 1}, one less than the samples")


class Modes(NamedTuple):
    """Number of modes hit, and the share of samples of high quality."""

    found: int
    high_quality: float


def modes(samples: Features, centres: Other, std: float, *, sigmas: float = 3.0) -> Modes:
    """On a known mixture: a sample is of high quality within `sigmas` standard deviations of its nearest centre,
    and a mode is found when at least one such sample is nearest to it. Source: Srivastava et al. 2017.
    """
    distance, nearest = torch.cdist(samples.double(), centres.double()).min(1)
    good = distance <= sigmas * std
    return Modes(len(nearest[good].unique()), good.double().mean().item())


def nearest(x: Features, among: Other) -> tuple[Tensor, Tensor]:
    """Distance and index of the nearest row of `among`, for each row of x: a first look for memorisation."""
    x, among = x.double(), among.double()
    index = torch.cdist(x, among).argmin(1)
    # Once more, by plain differences: cdist expands the square, and copies would lie 1e-7 apart.
    return (x - among[index]).norm(dim=1), index
