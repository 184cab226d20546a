"""Runs of normalising flows: settings, network, training, samples, evaluation."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from genlab.runs.settings import (
    AT_LEAST_0,
    AT_LEAST_1,
    POSITIVE,
    RATE,
    SHARE,
    Family,
    Limit,
    Metrics,
    Settings,
    Shape,
    free,
    number,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from genlab import data

AT_LEAST_2 = Limit("at least 2", lambda v: v >= 2)


@dataclass(frozen=True, kw_only=True)
class FlowSettings(Settings):
    """A RealNVP with invertible 1 × 1 convolutions on dequantised pixels (Dinh et al. 2017; Kingma and Dhariwal 2018).

    Attributes:
        first: map from grey levels to real numbers: "ranks" by the frequency of each level at each pixel, which are
            counted before training, or "logit", the same curve for all.
        width: channels of the convolutions in a coupling, at the finest of three scales.
        couplings: at each scale.
        weight_decay: pull of the weights towards zero, by AdamW.
        average: decay of the averaged weights, which are the result.
    """

    out: str = free("runs/flow")
    first: Literal["ranks", "logit"] = "ranks"
    width: int = number(32, AT_LEAST_1)
    couplings: int = number(4, AT_LEAST_2)
    lr: float = number(1e-3, RATE)
    clip: float | None = number(100.0, POSITIVE)
    weight_decay: float = number(0.01, AT_LEAST_0)
    average: float = number(0.99, SHARE)


def build(s: FlowSettings, shape: Shape) -> "nn.ModuleDict":
    """The flow of the settings, under the name "model"."""
    from torch import nn

    from genlab import nets

    known: dict[str, int] = {"channels": shape.channels, "size": shape.size}
    first = nets.Ranks((shape.channels, shape.size, shape.size)) if s.first == "ranks" else None
    return nn.ModuleDict({"model": nets.RealNVP(**known, width=s.width, steps=s.couplings, first=first)})


def fit(s: FlowSettings) -> Path:
    """Train a flow on dequantised pixels; returns the run's folder. The result has averaged weights."""
    from torch.optim import AdamW

    from genlab import flows, nets
    from genlab.runs.base import Run
    from genlab.runs.judging import quiet

    with Run("flow", s, pixels="unit", nats=True) as run:
        built = build(s, run.shape)["model"]
        for ranks in (m for m in built.modules() if isinstance(m, nets.Ranks)):
            ranks.fit(run.split.train.x)  # a resumed run reads them from its checkpoint, which holds the same
        model, optimizer, schedule = run.prepare("model", built, AdamW, weight_decay=s.weight_decay)
        mean, each = run.follow("average", of="model", decay=s.average)
        player = flows.player(model, optimizer, noise=run.noise).replace(schedule=schedule)

        picture = quiet(mean, lambda: _pictures(mean, 64, seed=0))
        return run.fit([player], result={"model": "average"}, picture=picture, each=each)


def _pictures(model: Any, n: int, *, seed: int) -> "Tensor":
    import torch

    from genlab import flows

    x = flows.sample(model, n, model.z_shape, generator=torch.Generator().manual_seed(seed))
    return flows.quantise(x).float() / 255


def samples(model: Any, s: FlowSettings, shape: Shape, n: int, *, seed: int, label: int | None) -> "Tensor":
    """Images of the flow, in whole grey levels brought to [0, 1]."""
    import torch

    parts = [_pictures(model, min(500, n - i), seed=seed + 1_000_003 * i) for i in range(0, n, 500)]
    return torch.cat(parts)


def evaluate(model: Any, s: FlowSettings, split: "data.Split", net: "nn.Module | None") -> Metrics:
    """log p(x) of the test images, a lower bound of theirs, and scores of samples."""
    import torch

    from genlab import data, flows, train
    from genlab.runs.base import shape_of
    from genlab.runs.judging import measure, scores

    x = data.to_float(split.test.x)
    rows = []
    with torch.no_grad():
        u = train.Noise(0).uniform(*x.shape)
        for part, own in zip(x.split(500), u.split(500), strict=True):
            rows.append(flows.log_prob(model, flows.dequantise(part, own)))
    log_p = torch.cat(rows).double()
    n, dims = f"{len(x)} test images", x[0].numel()
    found = {
        "log_px": measure("log p(x) of grey images, at least, nats", log_p.mean().item(), n, 0.5),
        "bits": measure("bits per pixel, at most", flows.bits_per_dim(log_p, dims).mean().item(), n, 1e-3),
    }
    if net is None:
        return found
    return found | scores(samples(model, s, shape_of(split), len(x), seed=1, label=None), split, net)


FAMILY = Family(FlowSettings, build, fit, evaluate, samples)
