"""Nearest rows and balls around rows, exact and in blocks: no matrix of all distances is ever held.

Distances are sums of squared differences, so that copies lie at 0 exactly and equal distances are equal. The expansion
‖a‖² + ‖b‖² − 2⟨a, b⟩ is ten times as quick in 128 dimensions, but rounded. So it only sorts out, with a bound on its
error, which pairs could matter; those are measured by their differences.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

_BLOCK = 2_000_000
"""Numbers held at a time by one array: 16 MB, which caches like."""

_SPARE = 8
"""Candidates beyond the k nearest. A row whose k-th neighbour ties with all of them is measured in full."""


def distances(a: Tensor, b: Tensor) -> Tensor:
    """All distances, from differences: the same bits for a pair in whatever company it is measured."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def closest(a: Tensor, b: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Distances and indices (n, k) of the k nearest rows of b for each row of a; the lower index first among equals."""
    few, at = len(b) <= k + _SPARE, _Squares(a, b)
    # Filled in place: small results kept from each block would pin the large blocks freed between them.
    found, index = a.new_empty(len(a), k), torch.empty(len(a), k, dtype=torch.long, device=a.device)
    for part in _parts(len(a), max(len(b), (k + _SPARE) * a.shape[1])):
        found[part], index[part] = _in_full(a[part], b, k) if few else _among_candidates(at, part, k)
    return found, index


class Balls(NamedTuple):
    """What lies in the balls around n centres: numbers of points (n,), and which points (m,) are in any closed ball."""

    inside: Tensor
    surface: Tensor
    covered: Tensor


def balls(centres: Tensor, points: Tensor, radius: Tensor) -> Balls:
    """Points inside each ball, on its surface exactly, and those that at least one closed ball holds."""
    at = _Squares(centres, points)
    inside, surface = torch.zeros(2, len(centres), dtype=torch.long, device=centres.device)
    covered = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    for part in _parts(len(centres), len(points)):
        within, on = _one_block(at, part, radius[part])
        inside[part] = within.count_nonzero(1)
        surface[part] = torch.bincount(on[0], minlength=len(within))
        covered |= within.any(0)
        covered[on[1]] = True
    return Balls(inside, surface, covered)


class _Squares:
    """Squared distances by their expansion, around the mean to keep rounding small, and a bound on their error."""

    def __init__(self, a: Tensor, b: Tensor) -> None:
        centre = b.mean(0)
        self.a, self.b, self.p, self.q = a, b, a - centre, b - centre
        self.of_p, self.of_q = (v.square().sum(1) for v in (self.p, self.q))
        self.bound = 4 * (a.shape[1] + 8) * torch.finfo(a.dtype).eps * (self.of_p + self.of_q.max())
        """For each row of a: sums of d products are off by d units of rounding at most, here with a margin of two."""

    def less(self, part: slice) -> Tensor:
        """Squares (rows, m) less the row's own ‖p‖², which saves a pass over the block."""
        return torch.addmm(self.of_q, self.p[part], self.q.T, alpha=-2)


def _parts(n: int, width: int) -> Iterator[slice]:
    step = max(1, _BLOCK // width)
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def _in_full(a: Tensor, b: Tensor, k: int) -> tuple[Tensor, Tensor]:
    values, index = distances(a, b).sort(dim=1, stable=True)
    return values[:, :k], index[:, :k]


def _among_candidates(at: _Squares, part: slice, k: int) -> tuple[Tensor, Tensor]:
    values, index = at.less(part).topk(k + _SPARE, largest=False)
    index = index.sort(dim=1).values
    exact = distances(at.a[part, None], at.b[index])[:, 0]
    found, order = exact.sort(dim=1, stable=True)
    found, index = found[:, :k], index.gather(1, order[:, :k])
    # Where not: even the last candidate may tie with the k-th, and rows beyond it too. NaN (overflow) lands here.
    sure = values[:, -1] > values[:, k - 1] + 2 * at.bound[part]
    if not sure.all():
        found[~sure], index[~sure] = _in_full(at.a[part][~sure], at.b, k)
    return found, index


def _one_block(at: _Squares, part: slice, radius: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """A mask of the points inside, and the pairs (ball, point) on surfaces."""
    squares, reach, bound = at.less(part), radius.square() - at.of_p[part], at.bound[part]
    inside = squares < (reach - bound)[:, None]
    near = (squares > (reach + bound)[:, None]).logical_not_()  # NaN (overflow) is near
    i, j = (near ^ inside).nonzero(as_tuple=True)
    if len(i) * at.a.shape[1] > squares.numel():  # nearly all is tied: gathering the pairs would cost more
        exact = distances(at.a[part], at.b)
        return exact < radius[:, None], (exact == radius[:, None]).nonzero(as_tuple=True)
    exact = distances(at.a[part][i][:, None], at.b[j][:, None]).flatten()
    inside[i, j] = exact < radius[i]
    on = exact == radius[i]
    return inside, (i[on], j[on])
