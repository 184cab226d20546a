"""Mean and covariance of features that never lie in memory at once, nor in one process."""

import numpy as np
import torch
from jaxtyping import Float, Real
from torch import Tensor

from genlab.metrics.features import rows
from genlab.processes import summed

Rows = Real[Tensor, "k d"] | Real[np.ndarray, "k d"]


def products(x: Real[Tensor, "k d"]) -> Real[Tensor, "d d"]:
    """xᵀx: from 512 columns on without the blocks that its symmetry gives away."""
    half = x.shape[1] // 2
    if half < 256:
        return x.T @ x
    left, right = x[:, :half], x[:, half:]
    corner = left.T @ right
    return torch.cat([torch.cat([products(left), corner], 1), torch.cat([corner.T, products(right)], 1)])


class Moments:
    """Number, mean and covariance of rows (n, d), streamed: memory d², whatever n, and in any order of batches.

    Sums of squares about a running mean, so that features far from zero cost no digits, as Σx² does.
    Source: Chan, Golub and LeVeque 1979, eq. 2.1.

    Args:
        d: features of a row.
        device: where the sums lie; rows are moved there. It must have float64, which Apple's GPUs lack.

    Raises:
        ValueError: d below 1.
    """

    def __init__(self, d: int, *, device: str | torch.device = "cpu") -> None:
        if d < 1:
            raise ValueError(f"d={d} must be at least 1, the number of features of a row")
        self.n = 0
        self._mean = torch.zeros(d, dtype=torch.float64, device=device)
        self._scatter = torch.zeros(d, d, dtype=torch.float64, device=device)

    @property
    def d(self) -> int:
        """Features of a row."""
        return len(self._mean)

    @property
    def mean(self) -> Float[Tensor, " d"]:
        """Mean of all rows so far.

        Raises:
            ValueError: no rows yet.
        """
        self._need(1)
        return self._mean.clone()

    @property
    def covariance(self) -> Float[Tensor, "d d"]:
        """Covariance of all rows so far, over n − 1.

        Raises:
            ValueError: fewer than two rows yet.
        """
        self._need(2)
        return self._scatter / (self.n - 1)

    def update(self, x: Rows) -> "Moments":
        """Take in rows (k, d), and return itself.

        Raises:
            ValueError: another shape, no rows, or values that are NaN or infinite.
        """
        x = rows(x).to(self._mean.device)
        if x.ndim != 2 or x.shape[1] != self.d or not len(x):
            raise ValueError(f"rows must be (k, {self.d}) with k at least 1, but got {tuple(x.shape)}")
        if not x.isfinite().all():
            raise ValueError(f"rows {tuple(x.shape)} hold NaN or infinite values; look at the network that made them")
        mean = x.mean(0)
        centred = x - mean
        rest = centred.mean(0)  # what rounding left in the mean; the second pass takes it out
        self._add(len(x), mean + rest, products(centred) - len(x) * rest.outer(rest))
        return self

    def merge(self, other: "Moments") -> "Moments":
        """Take in the rows of another, and return itself.

        Raises:
            ValueError: another number of features.
        """
        if other.d != self.d:
            raise ValueError(f"moments of {self.d} features cannot take in moments of {other.d}")
        if other.n:
            self._add(other.n, other._mean.to(self._mean.device), other._scatter.to(self._mean.device))
        return self

    def gather(self) -> "Moments":
        """Moments of the rows of all processes, the same in each. Every process must call it, also one without rows."""
        whole = Moments(self.d, device=self._mean.device)
        whole.n = round(summed(torch.full_like(self._mean[:1], self.n)).item())
        if whole.n:
            whole._mean = summed(self.n * self._mean) / whole.n
            shift = self._mean - whole._mean
            whole._scatter = summed(self._scatter + self.n * shift.outer(shift))
        return whole

    def _add(self, k: int, mean: Tensor, scatter: Tensor) -> None:
        shift, n = mean - self._mean, self.n + k
        self._scatter = self._scatter + scatter + (self.n * k / n) * shift.outer(shift)
        self._mean = self._mean + shift * (k / n)
        self.n = n

    def _need(self, least: int) -> None:
        if self.n < least:
            raise ValueError(f"{self.n} rows were taken in, but at least {least} are needed; update(rows) takes them")
