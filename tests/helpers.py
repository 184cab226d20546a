"""What several tests share: statistics, a small module, and the package as it runs without executed annotations."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import config
from torch import Tensor, nn


def within_errors(samples: Tensor, exact: float | Tensor, sigmas: float = 4.5) -> None:
    """The mean of samples (n,) lies within so many standard errors of the exact value."""
    error = samples.std() / len(samples) ** 0.5
    assert abs(samples.mean() - exact) <= sigmas * error, f"{samples.mean()} ± {error}, expected {exact}"


def identity(d: int) -> Tensor:
    return torch.eye(d, dtype=torch.float64)


@contextmanager
def unchecked() -> Iterator[None]:
    """The package as users run it: without the hook of the tests, which executes the annotations of shapes."""
    config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        config.update("jaxtyping_disable", False)


class Weight(nn.Module):
    """One weight w, and a buffer."""

    def __init__(self, w: float = 0.0) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        return self.w * x
