"""The choices of chapter 09, each taken out of the same small DCGAN at the same budget.

Every run sees the same number of images, whatever its batch size. `fcd`, `precision` and
`recall` compare 1,000 samples with the 1,000 test digits in the features of the zoo's classifier, `variation` is the
total variation between the classes it reads in the two, `classes` their shares among the samples; `playing` is the FCD
of the generator without averaging, and `losses` are the means over the last tenth of the steps.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from genlab import data, gan, metrics, nets, studies, train, zoo

STEPS, BATCH, Z_DIM = 1500, 16, 64


@dataclass(frozen=True)
class Choices:
    """The chapter's choices; the defaults are the full recipe."""

    objective: str = "nonsaturating"
    loop: str = "two players"  # or "one optimiser", or "no zero_grad"
    lr: float = 1e-3
    beta1: float = 0.5
    batch: int = BATCH
    warm_down: bool = True
    convolutional: tuple[bool, bool] = (True, True)  # G, D
    norm: tuple[bool, bool] = (True, False)  # BatchNorm in G, in D
    small: bool = True  # weights start from N(0, 0.02²)
    output: type[nn.Module] = nn.Tanh
    pixels: str = "symmetric"
    leak: float = 0.2
    share: bool = False  # one draw of noise for both moves


CHOICES: dict[str, dict[str, Any]] = {
    "the full recipe": {},
    "saturating loss": {"objective": "minimax"},
    "one optimiser for both": {"loop": "one optimiser"},
    "D keeps G's gradient": {"loop": "no zero_grad"},
    "same noise in both moves": {"share": True},
    "Adam with β₁ = 0.9": {"beta1": 0.9},
    "learning rate 0.0002": {"lr": 2e-4},
    "no warm-down": {"warm_down": False},
    "batches of 64": {"batch": 64},
    "batches of 256": {"batch": 256},
    "no tanh": {"output": nn.Identity},
    "sigmoid for tanh": {"output": nn.Sigmoid},
    "data in [0, 1]": {"pixels": "unit"},
    "plain ReLU in D": {"leak": 0.0},
    "BatchNorm in D": {"norm": (True, True)},
    "no BatchNorm in G": {"norm": (False, False)},
    "torch's own start": {"small": False},
    "no BatchNorm, torch's start": {"norm": (False, False), "small": False},
    "fully connected G": {"convolutional": (False, True)},
    "fully connected D": {"convolutional": (True, False)},
}


def networks(r: Choices) -> tuple[nn.Module, nn.Module]:
    """G and D of a recipe."""
    G: nn.Module = nets.MLPDecoder(Z_DIM, width=256, depth=2, output=r.output())
    if r.convolutional[0]:
        G = nets.DCGANGenerator(Z_DIM, width=16)
        G.body[-1] = r.output()
        if not r.norm[0]:
            G.body = nn.Sequential(*(layer for layer in G.body if not isinstance(layer, nn.BatchNorm2d)))
            for layer in G.body:
                if isinstance(layer, nn.ConvTranspose2d):  # BatchNorm's shift made a bias superfluous
                    layer.bias = nn.Parameter(torch.zeros(layer.out_channels))
    D: nn.Module = nets.MLPDiscriminator(width=256)
    if r.convolutional[1]:
        D = nets.DCGANDiscriminator(width=32, batch_norm=r.norm[1])
    for layer in [*G.modules(), *D.modules()]:
        if isinstance(layer, nn.LeakyReLU):
            layer.negative_slope = r.leak
        if not r.small and isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.reset_parameters()
    return G, D


def game(r: Choices, G: nn.Module, D: nn.Module, steps: int, seed: int) -> Iterator[tuple[int, dict[str, float]]]:
    """The run of a recipe: (step, losses) after each step."""

    def optimiser(module: nn.Module) -> tuple[torch.optim.Optimizer, LambdaLR]:
        opt = torch.optim.Adam(module.parameters(), lr=r.lr, betas=(r.beta1, 0.99), fused=True)
        return opt, LambdaLR(opt, lambda t: min(1.0, 2 * (1 - t / steps)) if r.warm_down else 1.0)

    batches = data.Batches(data.digits().train.x, r.batch, pixels=r.pixels, seed=seed)
    noise = train.Noise(seed)
    if r.loop == "one optimiser":
        both = nn.ModuleList([G, D])

        def total(x: Tensor | data.Batch, step: int) -> Tensor:
            x, _ = data.unpack(x)
            fake = D(G(noise.normal(len(x), Z_DIM)))
            return gan.minimax_d(D(x), fake) + gan.nonsaturating_g(fake)

        opt, schedule = optimiser(both)
        return train.train([train.Player("D + G", both, total, opt, schedule=schedule)], batches, steps)
    (opt_g, warm_g), (opt_d, warm_d) = optimiser(G), optimiser(D)
    if r.loop == "no zero_grad":
        return _careless(r, G, D, (opt_g, warm_g), (opt_d, warm_d), batches, noise, steps)
    players = gan.players(
        *(G, D, opt_g, opt_d),
        noise=noise,
        z_dim=Z_DIM,
        objective=r.objective,
        share=r.share,
    )
    warm = {"D": warm_d, "G": warm_g}
    return train.train([player.replace(schedule=warm[player.name]) for player in players], batches, steps)


def _careless(
    r: Choices,
    G: nn.Module,
    D: nn.Module,
    own_g: Any,
    own_d: Any,
    batches: data.Batches,
    noise: train.Noise,
    steps: int,
) -> Iterator[tuple[int, dict[str, float]]]:
    """Each player clears its gradients after its own move, so D's next gradient has G's in it."""
    for step in range(1, steps + 1):
        x, _ = data.unpack(next(batches))
        losses = {}
        for name, (opt, schedule) in (("D", own_d), ("G", own_g)):
            fake = G(noise.normal(len(x), Z_DIM))
            loss = gan.minimax_d(D(x), D(fake.detach())) if name == "D" else gan.nonsaturating_g(D(fake))
            loss.backward()
            opt.step()
            opt.zero_grad()
            schedule.step()
            losses[name] = loss.item()
        yield step, losses


@torch.no_grad()
def draw(G: nn.Module, r: Choices, n: int) -> Tensor:
    """n samples in [0, 1] from fixed noise."""
    G.eval()
    x = torch.cat([G(z) for z in train.Noise(11).normal(n, Z_DIM).split(250)])
    G.train()
    return (x if r.pixels == "unit" else (x + 1) / 2).clamp(0, 1)


def run(settings: studies.Given) -> studies.Results:
    """One training run of the chapter's pair without one of its choices."""
    r, seed = replace(Choices(), **CHOICES[settings["without"]]), settings["seed"]
    train.seed_everything(seed)
    G, D = (net.to(memory_format=torch.channels_last) for net in networks(r))
    average, steps = copy.deepcopy(G), settings["steps"] * BATCH // r.batch
    history, stopped = [], None
    try:
        for step, losses in game(r, G, D, steps, seed):
            train.ema(average, G, 0.99, step)
            history.append(losses)
    except train.Diverged:
        stopped = len(history)
    late = history[-max(1, steps // 10) :]
    tail = {name: round(sum(row[name] for row in late) / len(late), 4) for name in late[0]} if late else {}
    return score(draw(average, r, 1000), draw(G, r, 1000)) | {"losses": tail, "stopped": stopped}


@torch.no_grad()
def score(samples: Tensor, playing: Tensor) -> dict[str, Any]:
    """What is kept of the samples of the averaged and of the playing generator."""
    net: Any = zoo.load("classifier").to(memory_format=torch.channels_last)
    test = data.to_float(data.digits().test.x)
    real, made, other = (metrics.features(net, x) for x in (test, samples, playing))
    shares = [net.head(f.float()).argmax(1).bincount(minlength=10) / len(f) for f in (real, made)]
    pr = metrics.precision_recall(real, made)
    found = {
        "fcd": metrics.frechet_distance(real, made),
        "playing": metrics.frechet_distance(real, other),
        "precision": pr.precision,
        "recall": pr.recall,
        "variation": 0.5 * (shares[0] - shares[1]).abs().sum().item(),
        "classes": shares[1].tolist(),
    }
    return {name: [round(v, 4) for v in x] if isinstance(x, list) else round(x, 4) for name, x in found.items()}


STUDY = studies.Study(
    [{"without": name, "seed": seed, "steps": STEPS} for name in CHOICES for seed in range(3)],
    run,
)
