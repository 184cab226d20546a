"""The contest of chapter 18: what should a network predict on the straight path, ε, x, v or the velocity?

The same small U-Net, start, digits, batches, times, noise, optimiser and number of steps for all; nothing was tuned for
one of them. Samples come from the same noise by the same steps, with x̂ clipped to the range of pixels for all alike.
`fcd`, `precision` and `recall` are those of `genlab.protocol`, `right` the share of samples in which the zoo's
classifier reads the label that was asked for. `error` is E‖x̂ − x‖² per pixel on test digits at each time of `LOOKS`.
"""

import base64
import copy
import math
import zlib
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from genlab import data, diffusion, metrics, nets, protocol, samplers, train, zoo
from genlab.studies import Given, Results, Study

SEEDS, STEPS, BATCH, RATE, DECAY = 3, 250, 64, 2e-3, 0.98
TIMES = torch.linspace(0.99, 0, 13)
LOOKS = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)
WEIGHTS, PICTURES, PART = (1.0, 2.0), 10, 100


def trained(target: str, seed: int, steps: int = STEPS) -> nn.Module:
    """The averaged network after training on the digits with their labels."""
    train.seed_everything(seed)
    model = nets.UNet(classes=10)
    average = copy.deepcopy(model)
    opt = torch.optim.Adam(model.parameters(), RATE)
    warm_down = torch.optim.lr_scheduler.LambdaLR(
        opt, lambda i: 1.0 if 2 * i < steps else 0.501 + 0.499 * math.cos(math.pi * (2 * i / steps - 1))
    )
    player = diffusion.player(model, opt, path=diffusion.straight(), target=target, noise=train.Noise(seed))
    batches = data.Batches(data.digits().train, BATCH, labels=True, pixels="symmetric", seed=seed)
    for step, _ in train.train([player.replace(schedule=warm_down)], batches, steps):
        train.ema(average, model, DECAY, step)
    return average.eval()


@torch.no_grad()
def denoise(model: Any, target: str, y: Tensor, w: float, *, clip: bool = True) -> diffusion.Field:
    """x̂(x_t, t) of a network that predicts `target`, with guidance w."""
    field = diffusion.guided(model, y, w)
    found = diffusion.predictor(field, path=diffusion.straight(), source=target, target="data")
    return (lambda x, t: found(x, t).clamp(-1, 1)) if clip else found


@torch.no_grad()
def samples(model: Any, target: str, w: float, *, seed: int, n: int = protocol.N) -> Tensor:
    """n digits in [0, 1], all classes in turn, by DDIM's steps along `TIMES`."""
    z, y = train.Noise(1000 + seed).normal(n, 1, 28, 28), torch.arange(n) % 10
    parts = [
        samplers.ddim(denoise(model, target, labels, w), part, TIMES, path=diffusion.straight())
        for part, labels in zip(z.split(PART), y.split(PART), strict=True)
    ]
    return (torch.cat(parts) + 1) / 2


@torch.no_grad()
def errors(model: Any, target: str, *, n: int = 300) -> list[float]:
    """E‖x̂ − x‖² per pixel at each time of `LOOKS`, on test digits spread over the classes, without clipping."""
    test, path = data.digits().test, diffusion.straight()
    rows = torch.linspace(0, len(test.x) - 1, n).long()
    assert test.y is not None  # the digits have labels
    x, y, found = 2 * data.to_float(test.x[rows]) - 1, test.y[rows], []
    eps = train.Noise(7).normal(n, *x.shape[1:])
    for t in torch.tensor(LOOKS):
        guess = denoise(model, target, y, 1.0, clip=False)(diffusion.noised(path, x, eps, t), t.expand(n))
        found.append((guess - x).square().mean().item())
    return found


def packed(images: Tensor) -> str:
    """Digits (n, 1, 28, 28) in [0, 1] as text, in 16 grey values.

    Raises:
        ValueError: for images of another shape, or with NaN or values outside [0, 1].
    """
    if images.ndim != 4 or images.shape[1:] != (1, 28, 28):
        raise ValueError(f"images has shape {tuple(images.shape)}; expected digits (n, 1, 28, 28)")
    if not ((images >= 0) & (images <= 1)).all():  # NaN is neither
        raise ValueError(
            f"images has values from {images.min():g} to {images.max():g}; expected [0, 1] without NaN: "
            "map symmetric pixels by (x + 1) / 2, and clip"
        )
    return base64.b64encode(zlib.compress((images * 15).round().byte().numpy().tobytes(), 9)).decode()


def unpacked(text: str) -> Tensor:
    """What `packed` made, as digits (n, 1, 28, 28) in [0, 1]."""
    values = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(-1, 1, 28, 28)
    return torch.from_numpy(values.copy()).float() / 15


def run(settings: Given) -> Results:
    """Train one network and judge its samples with and without guidance."""
    target, seed = settings["target"], settings["seed"]
    model, judge = trained(target, seed, settings["steps"]), zoo.load(zoo.CLASSIFIER)
    found: Results = {"error": [round(e, 5) for e in errors(model, target)], "samples": []}
    for w in WEIGHTS:
        images = samples(model, target, w, seed=seed)
        features, y = protocol.features(images), torch.arange(len(images)) % 10
        pr = metrics.precision_recall(protocol.real(), features)
        scores = {
            "fcd": metrics.frechet_distance(protocol.real(), features),
            "right": metrics.accuracy(judge, images, y),
        }
        row: Results = {name: round(v, 4) for name, v in (scores | pr._asdict()).items()}
        found["samples"].append({"w": w} | row | ({"pictures": packed(images[:PICTURES])} if seed == 0 else {}))
    return found


STUDY = Study(
    [{"target": target, "seed": seed, "steps": STEPS} for seed in range(SEEDS) for target in diffusion.TARGETS], run
)
