"""Runs: from settings to weights, and from weights to samples and metrics.

A family of runs is one module here, with its settings, networks, training, samples and evaluation. This is the list of
them, the only place that names them all; each is imported when it is asked for, so that help comes at once.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from genlab.runs.settings import Family, Metrics, Settings, Shape, read_json

if TYPE_CHECKING:
    from torch import Tensor, nn

FAMILIES = {
    "vae": "train a variational autoencoder",
    "vqvae": "train a VQ-VAE",
    "gan": "train a generative adversarial network",
    "ar": "train an autoregressive model",
    "flow": "train a normalising flow",
    "diffusion": "train a diffusion or flow-matching model",
    "classifier": "train the feature classifier",
}


def family(name: str) -> Family:
    """A family by name; an unknown name raises a ValueError that lists the known ones."""
    if name not in FAMILIES:
        raise ValueError(f"unknown family {name!r}; known are {', '.join(FAMILIES)}")
    return importlib.import_module(f"genlab.runs.{name}").FAMILY


class Trained(NamedTuple):
    """A trained network with what made it.

    Attributes:
        model: in evaluation mode, on the CPU; of a GAN the generator with averaged weights.
        family: its name.
        settings: of the run.
        shape: of the images.
        part: of the run's networks that it is; the names of its stored weights begin with it.
    """

    model: "nn.Module"
    family: str
    settings: Settings
    shape: Shape
    part: str


def open_run(folder: str | Path) -> Trained:
    """The network of a finished run, by the run's folder or by its model.safetensors.

    Raises:
        ValueError: the folder holds no finished run, or its files are damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from genlab.runs import base

    weights = weights_of(folder)
    folder = weights.parent
    known = [name for name in FAMILIES if (folder / f"{name}.json").exists()]
    if not (weights.exists() and len(known) == 1):
        raise ValueError(
            f"{folder} holds no finished run: it needs model.safetensors and the run's settings; "
            "finish the run by --resume, or pass another folder"
        )
    try:
        tensors = load_file(weights)
    except SafetensorError as error:
        raise ValueError(f"{weights} is damaged ({error}); make it again by --resume") from error
    settings, images = settings_of(known[0], read_json(folder / f"{known[0]}.json")), folder / "images.json"
    # A run that was made before runs wrote the shape down is for the images that its settings name.
    shape = Shape(**read_json(images)) if images.exists() else base.shape_of(base.read_images(settings))
    return assemble(known[0], settings, shape, tensors)


def weights_of(run: str | Path) -> Path:
    """The weights of a run, by its folder or by their own path."""
    return Path(run) if Path(run).suffix == ".safetensors" else Path(run) / "model.safetensors"


def assemble(name: str, settings: Settings, shape: Shape, tensors: "dict[str, Tensor]") -> Trained:
    """Build the networks of a family, fill in weights named `part.parameter`, and return the part that has them.

    Raises:
        ValueError: the weights are not those of such networks.
    """
    for part, module in family(name).build(settings, shape).items():
        current = {f"{part}.{key}": value for key, value in module.state_dict().items()}
        if {key: value.shape for key, value in current.items()} == {key: value.shape for key, value in tensors.items()}:
            module.load_state_dict({key[len(part) + 1 :]: tensors[key].to(v.dtype) for key, v in current.items()})
            return Trained(module.eval().requires_grad_(False), name, settings, shape, part)
    raise ValueError(f"the weights do not fit the networks that the {name}'s settings describe; use those of one run")


def settings_of(name: str, record: dict[str, Any]) -> Settings:
    """The settings in a record, which may hold other keys as well."""
    kind = family(name).settings
    return kind(**{key: value for key, value in record.items() if key in kind.__dataclass_fields__})


def samples(trained: Trained, n: int, *, seed: int = 1, label: int | None = None) -> "Tensor | None":
    """n images in [0, 1] from fixed noise, or None for networks that do not generate.

    Conditional models get the labels 0, 1, …, 0, …, or `label`.

    Raises:
        ValueError: n is below 1, or the label is none of a conditional model.
    """
    model, name, settings, shape, _ = trained
    if n < 1:
        raise ValueError(f"n must be at least 1, but is {n}")
    conditional = bool(getattr(settings, "conditional", False))
    if label is not None and not (conditional and shape.classes is not None and 0 <= label < shape.classes):
        last = f" and lies between 0 and {shape.classes - 1}" if shape.classes else ""
        raise ValueError(f"label={label} goes with a conditional model{last}")
    return family(name).samples(model, settings, shape, n, seed=seed, label=label)


def evaluate(trained: Trained, net: "nn.Module | None" = None) -> Metrics:
    """The metrics of a trained network on the test split of its data, from fixed seeds.

    Args:
        trained: of `open_run`, `assemble` or the zoo.
        net: network whose features judge samples, made for such images; without one they are not judged.
    """
    from genlab.runs import base

    split = base.read_images(trained.settings)
    if (found := base.shape_of(split)) != trained.shape:
        raise ValueError(f"the network is for images of {trained.shape}, but {trained.settings.data} now has {found}")
    return family(trained.family).evaluate(trained.model, trained.settings, split, net)
