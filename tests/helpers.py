"""What several tests share: statistics, and the package as it runs where annotations are not executed."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import config
from torch import Tensor


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
