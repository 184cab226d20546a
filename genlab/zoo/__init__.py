"""The zoo: small trained weights with their settings, checksums and model cards, loaded offline by name.

    net = zoo.load("classifier")

Every entry was made on `digits()` by the command on its card. `verify` recomputes its metrics.
"""

import hashlib
import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
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
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


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
        raise ValueError(
            f"{folder} holds no finished run: it needs model.safetensors and the run's settings; "
            "finish the run by --resume true, or pass another folder"
        )
    settings = json.loads((Path(folder) / f"{known[0]}.json").read_text(encoding="utf-8"))
    return assemble(known[0], settings, load_file(weights)), known[0], settings


def assemble(recipe: str, settings: dict[str, Any], tensors: dict[str, Tensor]) -> nn.Module:
    """Build the networks of a recipe, fill in weights named `part.parameter`, and return the part that has them.

    Raises:
        ValueError: the weights are not those of such networks.
    """
    known = recipes.RECIPES[recipe]
    names = {field.name for field in fields(known.settings)}
    built = known.build(known.settings(**{k: v for k, v in settings.items() if k in names}))
    for part, module in built.items():
        current = {f"{part}.{key}": value for key, value in module.state_dict().items()}
        if {key: value.shape for key, value in current.items()} == {key: value.shape for key, value in tensors.items()}:
            module.load_state_dict({key[len(part) + 1 :]: tensors[key].to(v.dtype) for key, v in current.items()})
            return module.eval().requires_grad_(False)
    raise ValueError(f"the weights do not fit the networks that the {recipe}'s settings describe; use those of one run")


def add(run: str | Path, name: str, *, command: str, seconds: float, limits: str, folder: Path = FOLDER) -> Path:
    """Store a finished run as an entry: float16 weights, record and card.

    Raises:
        ValueError: the folder holds no finished run, the name is none, or the weights do not fit into the zoo.
    """
    if not re.fullmatch(r"[\w-]+", name):
        raise ValueError(f"name={name!r} becomes the name of files: use letters, digits, _ and -")
    _, recipe, settings = load_run(run)
    tensors = load_file(Path(run) / "model.safetensors")
    half = {key: value.half() if value.is_floating_point() else value for key, value in tensors.items()}
    if wrong := [key for key, value in half.items() if value.is_floating_point() and not value.isfinite().all()]:
        raise ValueError(f"{', '.join(wrong)} of {run} do not fit float16, in which the zoo keeps weights")
    content = save(half)
    if len(content) > LIMIT:
        raise ValueError(
            f"{name} would take {len(content):,} bytes, but an entry may take {LIMIT:,}; use narrower networks"
        )
    record = {
        "recipe": recipe,
        "settings": {k: v for k, v in settings.items() if k not in ("out", "resume", "download")},
        "command": command,
        "seconds": round(seconds),
        "sha256": hashlib.sha256(content).hexdigest(),
        "limits": limits,
        "metrics": evaluation.evaluate(assemble(recipe, settings, half), recipe, settings),
    }
    write_json(folder / f"{name}.json", record)
    write_text(folder / f"{name}.md", card(name, record))
    path = folder / f"{name}.safetensors"  # comes last, since it is what makes a name known
    path.write_bytes(content)
    return path


def card(name: str, record: dict[str, Any]) -> str:
    """The model card of a record, as Markdown."""
    command, seed = record["command"], record["settings"]["seed"]
    metrics = [(m["what"].replace("|", r"\|"), m["value"], m["n"]) for m in record["metrics"].values()]
    rows = [f"| {what} | {value:.4g} | {n} |" for what, value, n in metrics]
    return "\n".join(
        [
            f"# {name}",
            "",
            f"Made by `{command}`, seed {seed}, in {record['seconds']} s on a two-core CPU.",
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
    """Recompute an entry's metrics; a line for each that is not the recorded one within its tolerance.

    Damaged weights and a card that says something else than the record are differences too.

    Raises:
        ValueError: the name is unknown.
    """
    record = entry(name)
    try:
        found = evaluation.evaluate(load(name), record["recipe"], record["settings"])
    except ValueError as error:
        return [f"{name}: {error}"]
    recorded = record["metrics"]
    wrong = [f"{name}: {key} is not both computed and recorded" for key in sorted(found.keys() ^ recorded.keys())]
    wrong += [
        f"{name}: {m['what']} is {found[key]['value']:.6g}, but {m['value']:.6g} ± {m['tolerance']:.2g} is recorded"
        for key, m in recorded.items()
        if key in found and not abs(found[key]["value"] - m["value"]) <= m["tolerance"]
    ]
    if (FOLDER / f"{name}.md").read_text(encoding="utf-8") != card(name, record):
        wrong.append(f"{name}: the card does not say what the record says")
    return wrong
