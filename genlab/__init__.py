"""genlab: generative models from first principles, in PyTorch. Each module is one subject of the course."""

import importlib
from typing import Any

__version__ = "0.1.0"
_MODULES = (
    "autoregressive",
    "checkpoint",
    "coding",
    "data",
    "densities",
    "diagnosis",
    "diffusion",
    "flows",
    "gan",
    "linear",
    "metrics",
    "nets",
    "plot",
    "policy",
    "runs",
    "samplers",
    "studies",
    "train",
    "vae",
    "verify",
    "vq",
    "zoo",
)


def __getattr__(name: str) -> Any:
    """Import a module, or `diagnose`, on first use, so that `import genlab` costs nothing."""
    if name == "diagnose":
        return importlib.import_module("genlab.diagnosis").diagnose
    if name in _MODULES:
        return importlib.import_module(f"genlab.{name}")
    raise AttributeError(f"module 'genlab' has no attribute {name!r}; its modules are {', '.join(_MODULES)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES, "diagnose"])
