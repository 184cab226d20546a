"""Runs of autoregressive models of binary images: settings, networks, training, samples, evaluation."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from genlab.runs.settings import AT_LEAST_0, AT_LEAST_1, RATE, SHARE, Family, Metrics, Settings, Shape, free, number

if TYPE_CHECKING:
    from torch import Tensor, nn

    from genlab import data


@dataclass(frozen=True, kw_only=True)
class ARSettings(Settings):
    """An autoregressive model of binarised pixels, in the order of reading.

    Attributes:
        net: a masked autoencoder (Germain et al. 2015), or for grey images a gated PixelCNN (van den Oord et al. 2016).
        conditional: the network sees the label.
        width: units of a hidden layer, 500 when not given, or channels of a PixelCNN, 32.
        depth: hidden layers, 1 when not given, or layers of a PixelCNN, 5.
        weight_decay: pull of the weights towards zero, by AdamW.
        average: decay of the averaged weights, which are the result.
    """

    out: str = free("runs/ar")
    net: Literal["made", "pixelcnn"] = "made"
    conditional: bool = False
    width: int | None = number(None, AT_LEAST_1)
    depth: int | None = number(None, AT_LEAST_1)
    lr: float = number(2e-3, RATE)
    weight_decay: float = number(0.01, AT_LEAST_0)
    average: float = number(0.99, SHARE)


def build(s: ARSettings, shape: Shape) -> "nn.ModuleDict":
    """The network of the settings, under the name "model"."""
    from torch import nn

    from genlab import nets

    classes = shape.classes_if(s.conditional)
    if s.net == "made":
        values = shape.channels * shape.size**2
        model: nn.Module = nets.MADE(values, hidden=(s.width or 500,) * (s.depth or 1), classes=classes)
    elif shape.channels == 1:
        model = nets.PixelCNN(width=s.width or 32, depth=s.depth or 5, classes=classes)
    else:
        raise ValueError("a PixelCNN takes grey images; make them so by --channels 1, or choose --net made")
    return nn.ModuleDict({"model": model})


def fit(s: ARSettings) -> Path:
    """Train an autoregressive model; returns the run's folder. The result has averaged weights."""
    from torch.optim import AdamW

    from genlab import autoregressive
    from genlab.runs.base import Run
    from genlab.runs.judging import fixed, quiet

    with Run("ar", s, pixels="binary", labels=s.conditional, nats=True) as run:
        built = build(s, run.shape)["model"]
        model, optimizer, schedule = run.prepare("model", built, AdamW, weight_decay=s.weight_decay)
        mean, each = run.follow("average", of="model", decay=s.average)
        player = autoregressive.player(model, optimizer).replace(schedule=schedule)
        _, y = fixed(16, 1, run.shape.classes_if(s.conditional), run.accelerator.device)

        picture = quiet(mean, lambda: _pictures(mean, run.shape, 16, seed=0, y=y[0] if y else None))
        return run.fit([player], result={"model": "average"}, picture=picture, each=each)


def _pictures(model: Any, shape: Shape, n: int, *, seed: int, y: "Tensor | None") -> "Tensor":
    import torch

    from genlab import autoregressive

    generator = torch.Generator().manual_seed(seed)
    return autoregressive.sample(model, n, shape=(shape.channels, shape.size, shape.size), generator=generator, y=y)


def samples(model: Any, s: ARSettings, shape: Shape, n: int, *, seed: int, label: int | None) -> "Tensor":
    """Binary images, pixel by pixel."""
    import torch

    classes = shape.classes_if(s.conditional)
    y = torch.arange(n) % (classes or 1) if label is None else torch.full((n,), label)
    return _pictures(model, shape, n, seed=seed, y=y if classes else None)


def evaluate(model: Any, s: ARSettings, split: "data.Split", net: "nn.Module | None") -> Metrics:
    """log p(x) of the binarised test images, and of a masked autoencoder scores of samples.

    A PixelCNN draws a thousand images in a quarter of an hour, so its samples are not judged.
    """
    import torch

    from genlab import autoregressive, data, flows
    from genlab.runs.base import shape_of
    from genlab.runs.judging import measure, scores

    x = data.to_float(split.test.x, "binary", generator=torch.Generator().manual_seed(0))
    y = split.test.labels if s.conditional else None
    with torch.no_grad():
        rows = [
            autoregressive.log_prob(model, x[i : i + 250], None if y is None else y[i : i + 250])
            for i in range(0, len(x), 250)
        ]
    log_p, n, of = torch.cat(rows).double(), f"{len(x)} test images", " given the label" if s.conditional else ""
    bits = flows.bits_per_dim(log_p, x[0].numel()).mean().item()
    found = {
        "log_px": measure(f"log p(x){of}, nats", log_p.mean().item(), n, 0.05),
        "bits": measure(f"bits per binary pixel{of}", bits, n, 1e-4),
    }
    if net is None or s.net == "pixelcnn":
        return found
    labels = torch.arange(len(x)) % (split.classes or 1) if s.conditional else None
    return found | scores(samples(model, s, shape_of(split), len(x), seed=1, label=None), split, net, labels=labels)


FAMILY = Family(ARSettings, build, fit, evaluate, samples)
