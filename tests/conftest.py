"""Settings of all tests: one thread, no network, no progress bars, shapes checked while the package runs."""

import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

os.environ |= {"GENLAB_LIVE": "0", "GENLAB_PROFILE": "quick", "MPLBACKEND": "agg"}

from jaxtyping import install_import_hook

# The annotations of these modules are executed, so that a silent (n, 1) - (n,) broadcast is an error.
install_import_hook(
    ["genlab.densities", "genlab.gan", "genlab.linear", "genlab.metrics", "genlab.vae", "genlab.vq"],
    "beartype.beartype",
)

import torch

torch.set_num_threads(1)  # two threads on two busy cores can be ten times slower than one


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test starts from the same random numbers."""
    from genlab.train import seed_everything

    seed_everything(0)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections leave this machine only by mistake, so they fail."""

    def guard(connect: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(self: socket.socket, address: Any) -> Any:
            if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "localhost", "::1"):
                raise OSError(f"tests are offline, but something connects to {address}")
            return connect(self, address)

        return guarded

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, guard(getattr(socket.socket, name)))
