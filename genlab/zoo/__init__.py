"""The zoo: small trained weights with their settings, checksums and model cards, loaded offline by name.

    net = zoo.load("classifier")

Every entry was made on `digits()` by the command on its card. `verify` recomputes its metrics.
"""

import hashlib
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from genlab import evaluation, recipes
from genlab.runs import write_json, write_text

FOLDER = Path(__file__).parent
LIMIT = 2_000_000  # bytes of an entry's weights


def names() -> list[str]:
    """The names that `load` knows."""
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def entry(name: str) -> dict[str, Any]:
    """What is recorded of an entry: recipe, settings, checksum, seconds, metrics.

    Raises:
        ValueError: the name is unknown; the message lists the known ones.
    """
    if name not in names():
        raise ValueError(f"the zoo has no {name!r}; it has {', '.join(names())}")
    return json.loads((FOLDER / f"{name}.json").read_text())


def load(name: str) -> nn.Module:
    """A trained network by name, in evaluation mode, float32, on the CPU.

    VAEs come whole; of a GAN comes the generator with averaged weights.

    Raises:
        ValueError: the name is unknown, or the file is not the one that was recorded.
    """
    record, path = entry(name), FOLDER / f"{name}.safetensors"
    if hashlib.sha256(path.read_bytes()).hexdigest() != record["sha256"]:
        raise ValueError(f"{path} is damaged: its checksum is not the recorded one; reinstall genlab")
    return assemble(record["recipe"], record["settings"], load_file(path))


def load_run(folder: str | Path) -> tuple[nn.Module, str, dict[str, Any]]:
    """The network of a finished run, the name of its recipe, and its settings.

    Raises:
        ValueError: the folder holds no finished run.
    """
    weights = Path(folder) / "model.safetensors"
    known = [name for name in recipes.RECIPES if (Path(folder) / f"{name}.json").exists()]
    if not (weights.exists() and len(known) == 1):
        raise ValueError(f"{folder} holds no finished run: it needs model.safetensors and the run's settings")
    settings = json.loads((Path(folder) / f"{known[0]}.json").read_text())
    return assemble(known[0], settings, load_file(weights)), known[0], settings


def assemble(recipe: str, settings: dict[str, Any], tensors: dict[str, Tensor]) -> nn.Module:
    """Build the networks of a recipe, fill in weights named `part.parameter`, and return the part that has them."""
    known = recipes.RECIPES[recipe]
    names = {field.name for field in fields(known.settings)}
    built = known.build(known.settings(**{k: v for k, v in settings.items() if k in names}))
    (part,) = {key.split(".")[0] for key in tensors}
    module = built[part]
    current = module.state_dict()
    weights = {key.split(".", 1)[1]: value for key, value in tensors.items()}
    module.load_state_dict({key: value.to(current[key].dtype) for key, value in weights.items()})
    return module.eval().requires_grad_(False)


def add(run: str | Path, name: str, *, command: str, seconds: float, limits: str, folder: Path = FOLDER) -> Path:
    """Store a finished run as an entry: float16 weights, record and card.

    Raises:
        ValueError: the weights are larger than 2 MB.
    """
    _, recipe, settings = load_run(run)
    tensors = load_file(Path(run) / "model.safetensors")
    half = {key: value.half() if value.is_floating_point() else value for key, value in tensors.items()}
    if (size := sum(v.numel() * v.element_size() for v in half.values())) > LIMIT:
        raise ValueError(f"{name} would take {size:,} bytes, but an entry may take {LIMIT:,}; use narrower networks")
    path = folder / f"{name}.safetensors"
    save_file(half, path)
    record = {
        "recipe": recipe,
        "settings": {k: v for k, v in settings.items() if k not in ("out", "resume", "download")},
        "command": command,
        "seconds": round(seconds),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "limits": limits,
        "metrics": evaluation.evaluate(assemble(recipe, settings, half), recipe, settings),
    }
    write_json(folder / f"{name}.json", record)
    write_text(folder / f"{name}.md", card(name, record))
    return path


def card(name: str, record: dict[str, Any]) -> str:
    """The model card of a record, as Markdown."""
    rows = [f"| {m['what']} | {m['value']:.4g} | {m['n']} |" for m in record["metrics"].values()]
    return "\n".join(
        [
            f"# {name}",
            "",
            f"Made by `{record['command']}`, seed {record['settings']['seed']}, in {record['seconds']} s on two cores.",
            "Data: `digits()`, 4,000 MNIST images to train and 1,000 to test. Weights are stored in float16.",
            "",
            "| metric | value | sample size |",
            "|---|---|---|",
            *rows,
            "",
            f"Limits: {record['limits']}",
            "",
            f"SHA-256 of the weights: `{record['sha256']}`",
            "",
        ]
    )


def verify(name: str) -> list[str]:
    """Recompute an entry's metrics; one line for each that is not the recorded value within its tolerance."""
    record = entry(name)
    found = evaluation.evaluate(load(name), record["recipe"], record["settings"])
    return [
        f"{name}: {m['what']} is {found[key]['value']:.6g}, but {m['value']:.6g} ± {m['tolerance']:.2g} is recorded"
        for key, m in record["metrics"].items()
        if not abs(found[key]["value"] - m["value"]) <= m["tolerance"]
    ]
