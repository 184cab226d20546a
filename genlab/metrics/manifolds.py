"""Fidelity and variety: neighbourhoods of real and generated features.

Copies lie at distance 0 exactly and equal distances are equal, so that ties are counted and not left to rounding.
Everything is computed in blocks: memory grows with the numbers of samples, not with their product.
"""

from typing import NamedTuple

from torch import Tensor

from genlab.metrics.features import Features, Other, pair
from genlab.metrics.neighbours import balls, closest


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
    in_real, in_fake = balls(a, b, _radius(a, k)).covered, balls(b, a, _radius(b, k)).covered
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
    radius = _radius(a, k)
    own, found = balls(a, a, radius), balls(a, b, radius)
    share = (k - own.inside) / own.surface  # the centre is one of its own ball's points
    density = (found.inside + share * found.surface).sum().item() / (k * len(b))
    return DensityCoverage(density, (found.inside + found.surface > 0).double().mean().item())


def _radius(x: Tensor, k: int) -> Tensor:
    """Distance of each row to its k-th nearest other row; it is itself the nearest, at 0."""
    return closest(x, x, k + 1)[0][:, k]


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
    distance, nearest = (v[:, 0] for v in closest(a, b, 1))
    good = distance <= sigmas * std
    return Modes(len(nearest[good].unique()), good.double().mean().item())
