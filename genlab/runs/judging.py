"""What the families share when they draw and judge: fixed noise, metrics with their sample sizes, scores of samples."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from genlab import data, metrics, nets, plot, train
from genlab.runs.settings import Metrics


def measure(what: str, value: float, n: str, tolerance: float) -> dict[str, Any]:
    """A metric with its sample size, and how far a recomputation on another processor may lie from it."""
    return {"what": what, "value": value, "n": n, "tolerance": tolerance}


def fixed(
    n: int, z_dim: int, classes: int | None, device: torch.device | str = "cpu"
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Noise z (n, z_dim) that is always the same, and labels 0, 1, … in turn for conditional models."""
    z = torch.randn(n, z_dim, generator=torch.Generator().manual_seed(0)).to(device)
    return z, ((torch.arange(n, device=device) % classes,) if classes else ())


def quiet(module: nn.Module, draw: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """`draw` with the module in evaluation mode and without gradients."""

    @torch.no_grad()
    def picture() -> Tensor:
        with nets.evaluating(module):
            return draw()

    return picture


@torch.no_grad()
def draw(
    generate: Callable[..., Tensor], z_dim: int, classes: int | None, n: int, *, seed: int, label: int | None
) -> Tensor:
    """n images from `generate(z, *labels)` in parts; where there are classes, with labels 0, 1, … in turn, or one."""
    z = train.Noise(seed).normal(n, z_dim)
    y = torch.arange(n) % (classes or 1) if label is None else torch.full((n,), label)
    rows = [generate(z[i : i + 500], *((y[i : i + 500],) if classes else ())) for i in range(0, n, 500)]
    return torch.cat(rows)


def write_images(images: Tensor, path: Path) -> None:
    """Write images (n, c, h, w) in [0, 1], whole or not at all: a .png with all of them, a .npy, or a PNG each.

    Args:
        images: to write.
        path: a .png, a .npy, or a folder, which is made, for the files 00000.png and so on.
    """
    partial = path.with_name(f".{path.name}.partial")
    if path.suffix.lower() == ".npy":
        with partial.open("wb") as file:
            np.save(file, images.cpu().numpy(), allow_pickle=False)
    elif path.suffix.lower() == ".png":
        grid = plot.tile(images, min(10, len(images)))
        side = max(1, 64 // images.shape[-1])  # small images are shown larger, pixel by pixel
        _picture(np.kron(grid, np.ones((side, side) + (1,) * (grid.ndim - 2)))).save(partial, format="png")
    else:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for i, image in enumerate(images):
            _picture(plot.tile(image[None], 1)).save(partial / f"{i:05d}.png")
        if path.exists():
            path.rmdir()
    os.replace(partial, path)


def _picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray((255 * pixels).round().astype(np.uint8))


@torch.no_grad()
def scores(fake: Tensor, split: data.Split, net: nn.Module, *, labels: Tensor | None = None) -> Metrics:
    """Fréchet distance, precision, recall and novelty of samples, by the features of a network.

    Args:
        fake: images (n, c, h, w) in [0, 1].
        split: real images; samples are compared with the test half, and their novelty is against the training half.
        net: network with features.
        labels: that conditional samples were asked for.
    """
    real = data.to_float(split.test.x)
    of_real, of_fake, of_train = (metrics.features(net, x) for x in (real, fake, data.to_float(split.train.x)))
    n = f"{len(fake)} samples, {len(real)} test images"
    fcd, pr = metrics.frechet_distance(of_real, of_fake), metrics.precision_recall(of_real, of_fake)
    near_fake, near_real = (metrics.nearest(rows, of_train)[0].median() for rows in (of_fake, of_real))
    what = "median distance to the nearest training image, over that of test images (far below 1: copies)"
    found = {
        "fcd": measure("Fréchet classifier distance", fcd, n, 0.02 * fcd),
        "precision": measure("precision (k = 3)", pr.precision, n, 0.01),
        "recall": measure("recall (k = 3)", pr.recall, n, 0.01),
        "novelty": measure(what, (near_fake / near_real).item(), n, 0.02),
    }
    if labels is not None:
        right = metrics.accuracy(net, fake, labels)
        found["labels"] = measure("samples that the classifier gives their label", right, f"{len(fake)} samples", 0.005)
    return found
