"""Runs of the classifier whose features the Fréchet classifier distance uses."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab.runs.settings import AT_LEAST_0, AT_LEAST_1, RATE, SHARE, Family, Metrics, Settings, Shape, free, number

if TYPE_CHECKING:
    from torch import Tensor, nn

    from genlab import data


@dataclass(frozen=True, kw_only=True)
class ClassifierSettings(Settings):
    """The classifier whose features the Fréchet classifier distance uses.

    Attributes:
        width: channels of the first convolution.
        d: number of features.
        label_smoothing: of the cross-entropy.
        weight_decay: pull of the weights towards zero, by AdamW.
    """

    out: str = free("runs/classifier")
    width: int = number(32, AT_LEAST_1)
    d: int = number(128, AT_LEAST_1)
    label_smoothing: float = number(0.05, SHARE)
    lr: float = number(3e-3, RATE)
    weight_decay: float = number(0.01, AT_LEAST_0)


def build(s: ClassifierSettings, shape: Shape) -> "nn.ModuleDict":
    """The classifier of the settings, under the name "model"."""
    from torch import nn

    from genlab import nets

    classes = shape.classes_if(True)
    assert classes is not None
    return nn.ModuleDict({"model": nets.Classifier(channels=shape.channels, classes=classes, width=s.width, d=s.d)})


def fit(s: ClassifierSettings) -> Path:
    """Train the classifier on shifted images in [0, 1]; returns the run's folder."""
    from torch.nn import functional as F
    from torch.optim import AdamW

    from genlab import data, gan, train
    from genlab.runs.base import Run

    with Run("classifier", s, pixels="unit", labels=True) as run:
        built = build(s, run.shape)["model"]
        model, optimizer, schedule = run.prepare("model", built, AdamW, weight_decay=s.weight_decay)

        def loss(batch: "Tensor | data.Batch", step: int) -> "Tensor":
            x, y = data.unpack(batch)
            assert y is not None
            return F.cross_entropy(model(gan.augment(x, noise=run.noise)), y, label_smoothing=s.label_smoothing)

        player = train.Player("classifier", model, loss, optimizer, schedule=schedule)
        x = data.to_float(run.split.test.x[:64])
        return run.fit([player], result={"model": "model"}, picture=lambda: x)


def evaluate(model: Any, s: ClassifierSettings, split: "data.Split", net: "nn.Module | None") -> Metrics:
    """Accuracy on the test images."""
    from genlab import data, metrics
    from genlab.runs.judging import measure

    test = split.test
    right = metrics.accuracy(model, data.to_float(test.x), test.labels)
    return {"accuracy": measure("test accuracy", right, f"{len(test.x)} test images", 0.0021)}


def samples(model: Any, s: ClassifierSettings, shape: Shape, n: int, **options: Any) -> None:
    """None: a classifier does not generate."""


FAMILY = Family(ClassifierSettings, build, fit, evaluate, samples)
