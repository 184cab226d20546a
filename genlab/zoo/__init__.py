"""The zoo: small trained weights with their settings, checksums and model cards, loaded offline by name.

    net = zoo.load("classifier")

Every entry was made on the images on its card by the command there. `audit` recomputes its metrics.
"""

import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from torch import Tensor, nn

from genlab import metrics, runs
from genlab.runs.base import read_images, write_json, write_whole

FOLDER = Path(__file__).parent
LIMIT = 2_000_000  # bytes of an entry's weights
CLASSIFIER = "classifier"


def names() -> list[str]:
    """The names that `load` knows."""
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def entry(name: str) -> dict[str, Any]:
    """What is recorded of an entry: family, network, settings, shape of the images, checksum, seconds, metrics.

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
    return trained(name).model


def trained(name: str) -> runs.Trained:
    """An entry's network with what made it; errors as of `load`."""
    record, path = entry(name), FOLDER / f"{name}.safetensors"
    if hashlib.sha256(path.read_bytes()).hexdigest() != record["sha256"]:
        raise ValueError(f"{path} is damaged: its checksum is not the recorded one; reinstall genlab")
    settings = runs.settings_of(record["family"], record["settings"])
    return runs.assemble(record["family"], settings, runs.Shape(**record["images"]), load_file(path))


def judge_for(made: runs.Trained) -> nn.Module | None:
    """The zoo's classifier, if it was trained on the same images; its features mean nothing elsewhere."""
    own = entry(CLASSIFIER)
    same = (made.settings.data, made.shape) == (own["settings"]["data"], runs.Shape(**own["images"]))
    return load(CLASSIFIER) if same else None


def judge(name: str) -> metrics.Judge:
    """An entry that has features, to compare images by. It looks at images of the size that it was trained on alone.

    Raises:
        ValueError: the name is unknown, or the network has no features.
    """
    net: Any = load(name)
    if not hasattr(net, "features"):
        raise ValueError(f"the zoo's {name} has no features to judge images by; use {CLASSIFIER}")
    net.size = entry(name)["images"]["size"]
    return metrics.Judge(net, f"the zoo's {name}")


def add(
    run: str | Path,
    name: str,
    *,
    command: str,
    seconds: float,
    limits: str,
    overwrite: bool = False,
    folder: Path = FOLDER,
) -> Path:
    """Store a finished run as an entry: float16 weights, record and card.

    Raises:
        ValueError: the folder holds no finished run, the name is none or taken, or the weights do not fit into the zoo.
    """
    _check_name(name, folder, overwrite)
    made = runs.open_run(run)
    half = _half(run)
    content = save(half)
    if len(content) > LIMIT:
        raise ValueError(
            f"{name} would take {len(content):,} bytes, but an entry may take {LIMIT:,}; use narrower networks"
        )
    rounded = runs.assemble(made.family, made.settings, made.shape, half)
    split = read_images(made.settings)
    record = {
        "family": made.family,
        "network": type(made.model).__name__,
        "part": made.part,
        "settings": {k: v for k, v in asdict(made.settings).items() if k not in ("out", "resume", "download")},
        "images": made.shape._asdict(),
        "counts": [len(split.train.x), len(split.test.x)],
        "command": command,
        "seconds": round(seconds),
        "sha256": hashlib.sha256(content).hexdigest(),
        "limits": limits,
        "metrics": runs.evaluate(rounded, judge_for(rounded)),
    }
    write_json(folder / f"{name}.json", record)
    write_whole(folder / f"{name}.md", card(name, record))
    path = folder / f"{name}.safetensors"  # comes last, since it is what makes a name known
    path.write_bytes(content)
    return path


def _check_name(name: str, folder: Path, overwrite: bool) -> None:
    if not re.fullmatch(r"[\w-]+", name):
        raise ValueError(f"name={name!r} becomes the name of files: use letters, digits, _ and -")
    if not overwrite and (folder / f"{name}.safetensors").exists():
        raise ValueError(
            f"the zoo has an entry {name!r}; choose another name, or replace it by overwrite (--overwrite)"
        )


def _half(run: str | Path) -> dict[str, Tensor]:
    """The weights of a run in float16."""
    tensors = load_file(runs.weights_of(run))
    half = {key: value.half() if value.is_floating_point() else value for key, value in tensors.items()}
    if wrong := [key for key, value in half.items() if value.is_floating_point() and not value.isfinite().all()]:
        raise ValueError(f"{', '.join(wrong)} of {run} do not fit float16, in which the zoo keeps weights")
    return half


def card(name: str, record: dict[str, Any]) -> str:
    """The model card of a record, as Markdown."""
    command, settings = record["command"], record["settings"]
    shape = "{channels} × {size} × {size}".format(**record["images"])
    training, test = record["counts"]
    metrics = [(m["what"].replace("|", r"\|"), m["value"], m["n"]) for m in record["metrics"].values()]
    rows = [f"| {what} | {value:.4g} | {n} |" for what, value, n in metrics] or ["| none | | |"]
    return "\n".join(
        [
            f"# {name}",
            "",
            f"Made by `{command}`, seed {settings['seed']}, in {record['seconds']} s on a two-core CPU.",
            f"Data: {settings['data']}, {training:,} images to train and {test:,} to test, {shape}.",
            "Weights are stored in float16.",
            "",
            "| metric | value | sample size |",
            "|---|---|---|",
            *rows,
            "",
            f"Limits: {record['limits']}",
            "",
            f"In plain PyTorch, where `model` is a `{record['network']}` or a module of your own with the same layers:",
            "",
            "```python",
            "from safetensors.torch import load_file",
            "",
            f'weights = load_file("{name}.safetensors")',
            f"model.load_state_dict({{key[{len(record['part']) + 1}:]: value for key, value in weights.items()}})",
            "```",
            "",
            f"SHA-256 of the weights: `{record['sha256']}`",
            "",
        ]
    )


def audit(name: str) -> list[str]:
    """Recompute an entry's metrics; a line for each that is not the recorded one within its tolerance.

    Damaged weights and a card that says something else than the record are differences too.

    Raises:
        ValueError: the name is unknown.
    """
    record = entry(name)
    try:
        made = trained(name)
        found = runs.evaluate(made, judge_for(made))
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
