"""Fidelity and variety: neighbourhoods of real and generated features.

Distances are sums of squared differences, not the quicker expansion of the square: copies lie at distance 0 exactly,
and equal distances are equal, so that ties are counted and not left to rounding.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from genlab.metrics.features import Features, Other, pair


class PrecisionRecall(NamedTuple):
    """Share of generated features inside the real manifold, and of real ones inside the generated manifold."""

    precision: float
    recall: float


def precision_recall(real: Features, fake: Other, *, k: int = 3) -> PrecisionRecall:
    """Improved precision and recall: a manifold is the union of closed balls up to each point's k-th neighbour.

    Source: Kynkäänniemi et al. 2019, eq. 1 and 2.

    Raises:
        ValueError: as in `frechet_distance`, or k neighbours do not exist.
    """
    a, b = _neighbours(real, fake, k)
    distance = _distances(a, b)
    in_real = (distance <= _radius(_distances(a, a), k)[:, None]).any(0)
    in_fake = (distance <= _radius(_distances(b, b), k)).any(1)
    return PrecisionRecall(in_real.double().mean().item(), in_fake.double().mean().item())


class DensityCoverage(NamedTuple):
    """How deep generated features lie among real ones, and the share of real ones with a generated one near."""

    density: float
    coverage: float


def density_coverage(real: Features, fake: Other, *, k: int = 5) -> DensityCoverage:
    """Density counts the real balls around each generated point, over k; coverage the real balls that hold one.

    For equal distributions density is 1 and, with n samples of each, coverage 1 − ∏ (n − i) / (2n − i), i = 1 … k, in
    expectation. Source: Naeem et al. 2020.

    A ball reaches to the k-th neighbour. Points exactly on its surface are covered by it, and count in the density by
    the share that makes the k points of the ball k: without ties none (as in the authors' code, where balls are open),
    with ties what those inside leave over. So copies of the real set, even of a constant one, have a density of 1.

    Raises:
        ValueError: as in `frechet_distance`, or k neighbours do not exist.
    """
    a, b = _neighbours(real, fake, k)
    own, distance = _distances(a, a), _distances(a, b)
    radius = _radius(own, k)[:, None]
    inside, closed = (own < radius).sum(1), (own <= radius).sum(1)  # the centre is one of its own ball's points
    share = (k - inside) / (closed - inside)
    within, surface = (distance < radius).double(), (distance == radius).double()
    density = (within + share[:, None] * surface).sum(0).mean().item() / k
    return DensityCoverage(density, (distance <= radius).any(1).double().mean().item())


def _distances(a: Tensor, b: Tensor) -> Tensor:
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def _radius(own: Tensor, k: int) -> Tensor:
    """Distance of each row to its k-th nearest other row; it is itself the nearest, at 0."""
    return own.kthvalue(k + 1, dim=1).values


def _neighbours(real: Features, fake: Other, k: int) -> tuple[Tensor, Tensor]:
    a, b = pair(real, fake)
    most = min(len(a), len(b)) - 1
    if not 1 <= k <= most:
        raise ValueError(f"k={k} must lie between 1 and {most}, one less than the samples; add samples or lower k")
    return a, b


class Modes(NamedTuple):
    """Number of modes hit, and the share of samples of high quality."""

    found: int
    high_quality: float


def modes(samples: Features, centres: Other, std: float, *, sigmas: float = 3.0) -> Modes:
    """On a known mixture: a sample is of high quality within `sigmas` standard deviations of its nearest centre,
    and a mode is found when at least one such sample is nearest to it. Source: Srivastava et al. 2017.

    Raises:
        ValueError: different widths, nothing, NaN or infinite values, or a standard deviation that is not positive.
    """
    if not std > 0:
        raise ValueError(f"std={std} must be positive: the standard deviation of one mode, in the samples' unit")
    a, b = pair(samples, centres, least=1)
    distance, nearest = _distances(a, b).min(1)
    good = distance <= sigmas * std
    return Modes(len(nearest[good].unique()), good.double().mean().item())
