"""Networks that judge images, by name: one of the user's own, or Inception with weights that the user has."""

import contextlib
import importlib
import inspect
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Judge(NamedTuple):
    """A network that gives features, and the name under which its values are reported."""

    net: nn.Module
    name: str


def resolve_net(spec: str) -> Judge:
    """The network of a name: `inception:FILE`, or `package.module:factory`.

    A factory is called without arguments and returns the network, with its weights; a network that stands in the module
    is taken as it is. The module is looked for as Python looks for it, and in the working folder. Importing it runs it.

    Raises:
        ValueError: a name of another form, a module or factory that is not there or needs arguments, no network.
    """
    module, colon, attribute = spec.partition(":")
    if not colon or not module or not attribute:
        raise ValueError(
            f"network {spec!r} is neither package.module:factory, a function that returns a network, "
            "nor inception:FILE, torch-fidelity's Inception weights"
        )
    if module == "inception":
        return Judge(inception(attribute), f"Inception v3 ({Path(attribute).name})")
    try:
        with _working_folder():
            found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(f"network {spec!r}: {error}; run where the module lies, or install its package") from error
    made = getattr(found, attribute, None)
    if made is None:
        raise ValueError(f"network {spec!r}: {found.__name__} has no {attribute!r}")
    if not isinstance(made, nn.Module):
        made = _made(made, spec)
    return Judge(made, spec)


def _made(factory: object, spec: str) -> nn.Module:
    if not callable(factory):
        raise ValueError(f"network {spec!r} is a {type(factory).__name__}; name a function that returns a network")
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        raise ValueError(f"network {spec!r} is called without arguments, but: {error}; give them defaults") from error
    net = factory()
    if not isinstance(net, nn.Module):
        raise ValueError(f"network {spec!r} returned a {type(net).__name__}, but a torch.nn.Module is needed")
    return net


@contextlib.contextmanager
def _working_folder() -> Iterator[None]:
    """Imports from the working folder too, last, as `python -m` allows and an installed command does not."""
    here = str(Path.cwd())
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)


class Inception(nn.Module):
    """Inception v3 as the Fréchet Inception distance uses it: images of any size in [0, 1] -> (n, 2048).

    Images are rounded to bytes and resized to 299 pixels inside, as in TensorFlow; grey ones are repeated three times.
    Source: Heusel et al. 2017; torch-fidelity (Obukhov et al. 2020).
    """

    def __init__(self, extractor: nn.Module) -> None:
        super().__init__()
        self.extractor = extractor

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] not in (1, 3):
            raise ValueError(f"Inception looks at images (n, 3, h, w), or grey (n, 1, h, w), but got {tuple(x.shape)}")
        x = x if x.shape[1] == 3 else x.expand(-1, 3, -1, -1)
        return self.extractor((255 * x).round().to(torch.uint8))[0]


def inception(path: str | Path) -> Inception:
    """Inception with the weights in a file of torch-fidelity's release, weights-inception-2015-12-05-6726825d.pth.

    Nothing is downloaded. torch-fidelity opens the file with the full unpickler, which runs whatever a hostile file
    asks for. So PyTorch's restricted one reads it first, and refuses anything but tensors.

    Raises:
        ValueError: no such file, other weights, or torch-fidelity is not installed.
    """
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import (  # type: ignore[import-untyped]
            FeatureExtractorInceptionV3,
        )
    except ModuleNotFoundError as error:
        raise ValueError("Inception needs torch-fidelity; install it with: pip install torch-fidelity") from error
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"there is no file {file}; Inception's weights are not downloaded, name a file that you have")
    try:
        torch.load(file, map_location="cpu", weights_only=True)
        net = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(file))
    except (pickle.UnpicklingError, RuntimeError, EOFError, TypeError, AttributeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(
            f"{file} holds no weights of torch-fidelity's Inception ({reason}); "
            "its release has them as weights-inception-2015-12-05-6726825d.pth"
        ) from error
    return Inception(net).eval()
