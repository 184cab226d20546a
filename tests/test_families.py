"""Families of runs: one's own images in all of them, and a family that no other file of the package knows."""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from genlab import data, runs
from genlab.runs.base import Run
from genlab.runs.judging import draw, measure
from genlab.runs.settings import AT_LEAST_1, Family, Metrics, Settings, Shape, free, number
from tests.test_cli import main, status
from tests.test_runs import SMALL, fit


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test runs in an empty folder, with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENLAB_DATA", str(tmp_path / "cache"))
    return tmp_path


# ------------------------------------------------------------------------------------------------- one's own images


@pytest.fixture
def pictures(folder: Path) -> Callable[..., str]:
    """Makes a folder of 60 PNG files and names it as `--data` wants it."""

    def make(size: int, channels: int, *, classes: int = 0) -> str:
        place = folder / f"pictures-{size}-{channels}-{classes}"
        random = np.random.default_rng(0)
        for i in range(60):
            path = place / (f"class{i % classes}/{i}.png" if classes else f"{i}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 256, (size, size, 3), dtype=np.uint8)
            Image.fromarray(pixels if channels == 3 else pixels[..., 0]).save(path)
        return f"folder:{place}"

    return make


@pytest.mark.parametrize("family", runs.FAMILIES)
@pytest.mark.parametrize(("size", "channels", "classes"), [(16, 1, 3), (20, 3, 2), (16, 3, 0), (20, 1, 0)])
def test_every_family_runs_on_images_of_ones_own(
    pictures: Callable[..., str], folder: Path, family: str, size: int, channels: int, classes: int
) -> None:
    where = pictures(size, channels, classes=classes)
    conditional = {"conditional": True} if classes and family in ("vae", "gan", "ar", "diffusion") else {}
    if family == "classifier" and not classes:
        with pytest.raises(ValueError, match="classifiers need labels, but these images have none"):
            fit(family, folder / "run", data=where)
        assert not (folder / "run").exists()
        return
    run = fit(family, folder / "run", data=where, steps=2, save_every=1, **conditional)
    made = runs.open_run(run)
    assert made.shape == Shape(channels, size, classes or None)
    assert json.loads((run / "images.json").read_text(encoding="utf-8")) == made.shape._asdict()
    found = runs.evaluate(made)
    assert (found == {}) == (family in ("gan", "diffusion")) and all(np.isfinite(m["value"]) for m in found.values())
    images = runs.samples(made, 5)
    assert (images is None) == (family in ("vqvae", "classifier"))
    if images is not None:
        assert images.shape == (5, channels, size, size)
    if conditional:
        assert runs.samples(made, 2, label=classes - 1) is not None
        with pytest.raises(ValueError, match=rf"lies between 0 and {classes - 1}"):
            runs.samples(made, 2, label=classes)
    fit(family, run, data=where, steps=3, save_every=1, resume=True, **conditional)


@pytest.mark.parametrize("net", ["conv", "mlp", "dcgan", "residual"])
def test_networks_of_both_games_are_made_for_the_images(pictures: Callable[..., str], folder: Path, net: str) -> None:
    family = "vae" if net in ("conv", "mlp") else "gan"
    fit(family, folder / "run", data=pictures(20, 3), steps=1, net=net)
    fit(family, folder / "resized", data=pictures(20, 3), size=24, channels=1, steps=1, net=net)
    assert runs.open_run(folder / "resized").shape == Shape(1, 24, None)


def test_what_images_cannot_do_is_refused_before_anything_is_written(
    pictures: Callable[..., str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, odd = pictures(16, 1), pictures(18, 1)
    for family in ("vae", "gan"):
        for options, words in (
            (["--data", plain, "--conditional"], r"need labels, but these images have none.*a folder for each class"),
            (["--data", odd], r"size=18: convolutional networks .*nearest are 16 and 20"),
            (["--data", plain, "--size", "12"], r"size must be between 16 and 256, but is 12"),
            (["--data", plain, "--channels", "2"], r"channels must be 1 or 3, but is 2"),
            (["--data", plain, "--batch_size", "64"], r"batch_size=64 must lie between 1 and the 48 images"),
        ):
            assert status(family, "--batch_size", 8, *options, "--out", "run") == 2
            said = capsys.readouterr().err
            assert re.search(words, said), said
            assert not (folder / "run").exists()
    for family in ("vqvae", "flow", "diffusion"):
        assert status(family, "--data", odd, "--batch_size", 8, "--out", "run") == 2
        said = capsys.readouterr().err
        assert "size=18" in said and re.search("multiples? of 4", said) and not (folder / "run").exists()
    colour = pictures(16, 3)
    assert status("ar", "--net", "pixelcnn", "--data", colour, "--batch_size", 8, "--out", "run") == 2
    assert "make them so by --channels 1" in capsys.readouterr().err and not (folder / "run").exists()
    main("gan", "--net", "mlp", "--data", odd, "--steps", 1, "--batch_size", 8, "--width", 4, "--out", "run")


# ---------------------------------------------------------------------------------------------- a family from outside

# A model of mean and spread of each pixel: what this module says of it is all that the package gets to know.


@dataclass(frozen=True, kw_only=True)
class MeanSettings(Settings):
    """Independent Gaussian pixels.

    Attributes:
        bins: an option of this family.
    """

    out: str = free("runs/mean")
    bins: int = number(3, AT_LEAST_1)


class Mean(nn.Module):
    """Mean and log-deviation of each pixel."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        size = (shape.channels, shape.size, shape.size)
        self.mean, self.log_std = nn.Parameter(torch.zeros(size)), nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        """−log p(x) of images (n, …), averaged, up to a constant."""
        return (self.log_std + 0.5 * ((x - self.mean) / self.log_std.exp()).square()).flatten(1).sum(1).mean()


def _build(s: MeanSettings, shape: Shape) -> nn.ModuleDict:
    return nn.ModuleDict({"model": Mean(shape)})


def _fit(s: MeanSettings) -> Path:
    from genlab import train

    with Run("mean", s, pixels="unit") as run:
        model, optimizer, schedule = run.prepare("model", _build(s, run.shape)["model"], torch.optim.Adam)
        player = train.Player(
            "mean", model, lambda batch, step: model(data.unpack(batch)[0]), optimizer, schedule=schedule
        )
        plain: Any = run.parts["model"]
        return run.fit([player], result={"model": "model"}, picture=lambda: plain.mean.detach()[None].clamp(0, 1))


def _samples(model: Any, s: MeanSettings, shape: Shape, n: int, *, seed: int, label: int | None) -> Tensor:
    size = shape.channels * shape.size**2
    return draw(
        lambda z: model.mean + model.log_std.exp() * z.view(-1, *model.mean.shape),
        size,
        None,
        n,
        seed=seed,
        label=label,
    )


def _evaluate(model: Any, s: MeanSettings, split: data.Split, net: nn.Module | None) -> Metrics:
    value = model(data.to_float(split.test.x)).item()
    return {"nll": measure("−log p(x)", value, f"{len(split.test.x)} test images", 0.05)}


FAMILY = Family(MeanSettings, _build, _fit, _evaluate, _samples)


def test_a_family_is_its_module_and_one_line_in_the_list(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "genlab.runs.mean", sys.modules[__name__])
    monkeypatch.setitem(runs.FAMILIES, "mean", "train a mean")
    assert status("--help") == 0 and "train a mean" in capsys.readouterr().out
    assert status("mean", "--help") == 0
    said = capsys.readouterr().out
    assert "--bins BINS" in said and "an option of this family" in said and "--steps STEPS" in said
    assert status("mean", "--bins", 0) == 2 and "bins must be at least 1" in capsys.readouterr().err
    given = ["mean", "--batch_size", 8, "--save_every", 2, "--schedule", "constant", "--out", "run"]
    main(*given, "--steps", 4)
    main(*given, "--steps", 6, "--resume")
    main("mean", "--config", "run/mean.json", "--out", "again")
    assert (folder / "run/model.safetensors").read_bytes() == (folder / "again/model.safetensors").read_bytes()
    main("sample", "run", "--out", "s.npy", "--n", 3)
    assert np.load("s.npy", allow_pickle=False).shape == (3, 1, 28, 28)
    capsys.readouterr()
    main("evaluate", "run/model.safetensors")
    assert set(json.loads(capsys.readouterr().out)) == {"nll"}
    assert status("doctor", "run") == 2 and "a run of genlab mean" in capsys.readouterr().err


def test_the_module_of_a_family_names_all_that_the_package_asks_of_it() -> None:
    for name, text in runs.FAMILIES.items():
        found = runs.family(name)
        assert isinstance(found, Family) and issubclass(found.settings, Settings) and text
        assert found.settings().out == f"runs/{name}"
    with pytest.raises(
        ValueError, match="unknown family 'vea'; known are vae, vqvae, gan, ar, flow, diffusion, classifier"
    ):
        runs.family("vea")
    assert SMALL.keys() == runs.FAMILIES.keys()
