"""Memorisation: how near samples lie to training examples."""

import torch
from torch import Tensor

from genlab.metrics.features import Features, Other, pair


def nearest(x: Features, among: Other) -> tuple[Tensor, Tensor]:
    """Distance and index of the nearest row of `among`, for each row of x: a first look for memorisation.

    Raises:
        ValueError: different widths, no rows, or values that are NaN or infinite.
    """
    a, b = pair(x, among, least=1)
    index = torch.cdist(a, b).argmin(1)
    # Once more, by plain differences: cdist expands the square, and copies would lie 1e-7 apart.
    return (a - b[index]).norm(dim=1), index
