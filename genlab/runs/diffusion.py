"""Runs of diffusion and flow matching: settings, network, training, samples with guidance, evaluation."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from genlab.runs.settings import AT_LEAST_0, AT_LEAST_1, RATE, SHARE, Family, Metrics, Settings, Shape, free, number

if TYPE_CHECKING:
    from torch import Tensor, nn

    from genlab import data


@dataclass(frozen=True, kw_only=True)
class DiffusionSettings(Settings):
    """A diffusion model (Ho et al. 2020) or, on the straight path with velocities, flow matching (Lipman et al. 2023).

    Attributes:
        path: from data to noise.
        target: what the network predicts.
        times: how the times of a batch are drawn.
        conditional: the network sees the label, or none in its place.
        drop: share of labels that are hidden in training, which guidance needs.
        guidance: w of the samples; 1 is the conditional model.
        draws: steps of Heun's method in which a sample is made; it takes two calls of the network a step.
        width: channels of the finer grid.
        average: decay of the averaged weights, which are the result.
    """

    out: str = free("runs/diffusion")
    path: Literal["straight", "cosine", "vp_linear"] = "straight"
    target: Literal["velocity", "v", "noise", "data"] = "velocity"
    times: Literal["logit-normal", "stratified"] = "logit-normal"
    conditional: bool = False
    drop: float = number(0.1, SHARE)
    guidance: float = number(1.0, AT_LEAST_0)
    draws: int = number(20, AT_LEAST_1)
    width: int = number(32, AT_LEAST_1)
    batch_size: int = number(64, AT_LEAST_1)
    lr: float = number(2e-3, RATE)
    average: float = number(0.999, SHARE)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.guidance != 1 and not self.conditional:
            raise ValueError(f"guidance={self.guidance} needs a conditional model: conditional=True (--conditional)")
        if self.path == "vp_linear" and self.target == "velocity":
            raise ValueError("the velocity of vp_linear is infinite at the data; choose target v, or another path")


def build(s: DiffusionSettings, shape: Shape) -> "nn.ModuleDict":
    """The U-Net of the settings, under the name "model"."""
    from torch import nn

    from genlab import nets

    known: dict[str, Any] = {"channels": shape.channels, "size": shape.size, "width": s.width}
    return nn.ModuleDict({"model": nets.UNet(**known, classes=shape.classes_if(s.conditional))})


def fit(s: DiffusionSettings) -> Path:
    """Train a diffusion model; returns the run's folder. The result has averaged weights."""
    from torch.optim import Adam

    from genlab import diffusion
    from genlab.runs.base import Run
    from genlab.runs.judging import fixed, quiet

    with Run("diffusion", s, pixels="symmetric", labels=s.conditional) as run:
        model, optimizer, schedule = run.prepare("model", build(s, run.shape)["model"], Adam)
        mean, each = run.follow("average", of="model", decay=s.average)
        path = diffusion.PATHS[s.path]()
        player = diffusion.player(
            model, optimizer, path=path, target=s.target, noise=run.noise, drop=s.drop, times=s.times
        ).replace(schedule=schedule)
        values = run.shape.channels * run.shape.size**2
        z, y = fixed(64, values, run.shape.classes_if(s.conditional), run.accelerator.device)

        picture = quiet(mean, lambda: generate(mean, s, run.shape, z, *y, w=s.guidance))
        return run.fit([player], result={"model": "average"}, picture=picture, each=each)


def generate(
    model: Any, s: DiffusionSettings, shape: Shape, z: "Tensor", y: "Tensor | None" = None, *, w: float
) -> Any:
    """Images in [0, 1] of noise z (n, values) by Heun's method on the probability-flow ODE, with guidance w."""
    import torch

    from genlab import diffusion, samplers

    path = diffusion.PATHS[s.path]()
    # Before t = 1 and after t = 0 a target may say nothing of x: the same distance as in training.
    times = torch.linspace(1 - diffusion.EDGE, diffusion.EDGE, s.draws + 1)
    field = diffusion.guided(model, y, w)
    velocity = diffusion.predictor(field, path=path, source=s.target, target="velocity")
    x = samplers.heun(velocity, z.view(-1, shape.channels, shape.size, shape.size), times)
    return ((x + 1) / 2).clamp(0, 1)


def samples(
    model: Any, s: DiffusionSettings, shape: Shape, n: int, *, seed: int, label: int | None, w: float | None = None
) -> "Tensor":
    """Images of the model in [0, 1], with the settings' guidance, or with w."""
    from genlab.runs.judging import draw

    make = partial(generate, model, s, shape, w=s.guidance if w is None else w)
    values = shape.channels * shape.size**2
    return draw(make, values, shape.classes_if(s.conditional), n, seed=seed, label=label)


def evaluate(model: Any, s: DiffusionSettings, split: "data.Split", net: "nn.Module | None") -> Metrics:
    """Scores of as many samples as there are test images; with guidance also those without it."""
    import torch

    from genlab.runs.base import shape_of
    from genlab.runs.judging import scores

    if net is None:
        return {}
    shape, n = shape_of(split), len(split.test.x)
    labels = torch.arange(n) % (shape.classes or 1) if s.conditional else None
    found = scores(samples(model, s, shape, n, seed=1, label=None), split, net, labels=labels)
    if s.guidance == 1:
        return found
    plain = scores(samples(model, s, shape, n, seed=1, label=None, w=1.0), split, net, labels=labels)
    return found | {f"{key}_w1": m | {"what": f"{m['what']}, without guidance"} for key, m in plain.items()}


FAMILY = Family(DiffusionSettings, build, fit, evaluate, samples)
