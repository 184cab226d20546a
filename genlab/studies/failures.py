"""Small GANs on real digits, healthy and broken on purpose in thirteen ways; chapter 10 diagnoses their logs.

Digits are averaged to 14 × 14 pixels and the networks are fully connected, so that a run takes some seconds. Thresholds
of `genlab.diagnosis` were chosen on the runs whose `part` is "design". Those of "held-out" have other seeds, sizes and
learning rates, and those of "elsewhere" other data and networks; both were only counted.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, softplus

from genlab import data, densities, nets
from genlab.diagnosis import NEEDED, OPTIONAL, Vitals, gradient_norm
from genlab.studies import Study
from genlab.train import Noise, seed_everything

STEPS, EVERY, Z_DIM = 500, 25, 32


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a run is made; the defaults are healthy.

    Attributes:
        seed: of weights, batches and noise.
        net: "digits" (fully connected, 14 × 14), "dcgan" (28 × 28) or "ring" (eight Gaussians in the plane).
        width: of the hidden layers of G.
        width_d: of those of D.
        batch: images of a kind in a move.
        lr: learning rate of G.
        lr_d: that of D.
        beta: decay of Adam's first moment.
        moves_d: moves of D in a step.
        moves_g: moves of G in a step.
        norm: BatchNorm in G.
        norm_d: BatchNorm in D, over "separate" batches of real and generated images, or over "mixed" ones.
        output: last layer of G.
        pixels: scale of the data: "symmetric" is [−1, 1], "unit" [0, 1], "bytes" 0 to 255.
        flipped: D is trained with real images as 0 and generated ones as 1.
        detach: D's loss ends at the generated images; else it reaches G, and D's optimiser holds G's weights too.
        evaluating: G is left in evaluation mode.
        turns: D and G move alone for so many steps, in turn; 0 for the usual step with moves of both.
        steps: of the game.
    """

    seed: int = 0
    net: str = "digits"
    width: int = 128
    width_d: int = 128
    batch: int = 64
    lr: float = 1e-3
    lr_d: float = 1e-3
    beta: float = 0.5
    moves_d: int = 1
    moves_g: int = 1
    norm: bool = True
    norm_d: str = "none"
    output: str = "tanh"
    pixels: str = "symmetric"
    flipped: bool = False
    detach: bool = True
    evaluating: bool = False
    turns: int = 0
    steps: int = STEPS


OUTPUTS = {"tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "linear": nn.Identity}


def networks(o: Options, shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
    """G and D for examples of a shape."""
    if o.net == "dcgan":
        return nets.DCGANGenerator(Z_DIM, width=o.width), nets.DCGANDiscriminator(width=o.width_d)
    size = torch.Size(shape).numel()

    def layer(i: int, width: int, norm: bool, act: nn.Module) -> list[nn.Module]:
        return [nn.Linear(i, width), *([nn.BatchNorm1d(width)] if norm else []), act]

    G = [*layer(Z_DIM, o.width, o.norm, nn.ReLU()), *layer(o.width, o.width, o.norm, nn.ReLU())]
    D = [layer(i, o.width_d, o.norm_d != "none", nn.LeakyReLU(0.2)) for i in (size, o.width_d)]
    return (
        nn.Sequential(*G, nn.Linear(o.width, size), OUTPUTS[o.output](), nn.Unflatten(1, shape)),
        nn.Sequential(nn.Flatten(), *D[0], *D[1], nn.Linear(o.width_d, 1), nn.Flatten(0)),
    )


def examples(o: Options) -> tuple[Tensor, Tensor]:
    """Training and held-out examples."""
    if o.net == "ring":
        return densities.ring().sample(4000), densities.ring().sample(1000)
    train, test = (data.to_float(part.x, "unit") for part in data.digits())
    if o.net == "digits":
        train, test = avg_pool2d(train, 2), avg_pool2d(test, 2)
    low, high = {"symmetric": (-1, 1), "unit": (0, 1), "bytes": (0, 255)}[o.pixels]
    return low + (high - low) * train[:4000], low + (high - low) * test


def answers(real: Tensor, fake: Tensor) -> dict[str, float]:
    """D's mean answers to real and to generated examples, and its accuracy, from its logits."""
    found = {"d_real": real.sigmoid().mean(), "d_fake": fake.sigmoid().mean()}
    found["accuracy"] = ((real > 0).float().mean() + (fake < 0).float().mean()) / 2
    return {name: value.item() for name, value in found.items()}


def play(o: Options) -> tuple[list[dict[str, float]], Tensor]:
    """The log of a run, a check every 25 steps, and 20 samples at its end."""
    seed_everything(o.seed)
    x_train, x_test = examples(o)
    G, D = networks(o, tuple(x_train.shape[1:]))
    G.train(not o.evaluating)
    learned = [*D.parameters()] if o.detach else [*D.parameters(), *G.parameters()]
    opt_d = torch.optim.Adam(learned, lr=o.lr_d, betas=(o.beta, 0.99))
    opt_g = torch.optim.Adam(G.parameters(), lr=o.lr, betas=(o.beta, 0.99))
    noise, order = Noise(o.seed), torch.Generator().manual_seed(o.seed)
    vitals = Vitals(G, D, x_train[:256], x_test[:256], Noise(1000).normal(256, Z_DIM))
    sign = -1 if o.flipped else 1
    history: list[dict[str, float]] = []
    sums: dict[str, float] = {}
    for step in range(1, o.steps + 1):
        alone = (step // o.turns) % 2 if o.turns else None  # 0 when only D learns, 1 when only G does
        for _ in range(o.moves_d):
            x = x_train[torch.randint(len(x_train), (o.batch,), generator=order)]
            fake = G(noise.normal(o.batch, Z_DIM))
            fake = fake.detach() if o.detach else fake
            real_l, fake_l = D(torch.cat([x, fake])).chunk(2) if o.norm_d == "mixed" else (D(x), D(fake))
            loss_d = softplus(-sign * real_l).mean() + softplus(sign * fake_l).mean()
            opt_d.zero_grad()
            opt_g.zero_grad()
            loss_d.backward()
            leak, grad_d = gradient_norm(G), gradient_norm(D)
            if alone != 1:
                opt_d.step()
        for _ in range(o.moves_g):
            loss_g = softplus(-D(G(noise.normal(o.batch, Z_DIM)))).mean()
            opt_g.zero_grad()
            loss_g.backward()
            if alone != 0:
                opt_g.step()
        logged = {"loss_d": loss_d.item(), "loss_g": loss_g.item(), "leak": leak, "grad_d": grad_d}
        logged |= {"grad_g": gradient_norm(G), **answers(real_l, fake_l)}
        sums = {name: sums.get(name, 0.0) + float(value) / EVERY for name, value in logged.items()}
        if step % EVERY == 0:
            history.append({"step": step} | sums | vitals.check())
            sums = {}
    return history, G(Noise(1000).normal(256, Z_DIM)).detach()[:20]


# Each failure in one or more ways, by what differs from the healthy run; the keys are the names that `diagnose` gives.
CASES: dict[str, list[dict[str, Any]]] = {
    "healthy": [{}, {"lr": 5e-4, "lr_d": 5e-4}],
    "D too strong": [
        {"lr": 1e-4, "lr_d": 3e-3, "moves_d": 4, "width_d": 256},
        {"lr": 2e-4, "lr_d": 2e-3, "moves_d": 6},
    ],
    "D too weak": [{"lr_d": 1e-5}, {"lr_d": 3e-5}],
    "mode collapse": [{"norm": False, "moves_g": 5}, {"norm": False, "moves_g": 3}],
    "oscillation": [{"turns": 50}, {"turns": 75}],
    "missing detach": [{"detach": False}],
    "flipped labels": [{"flipped": True}],
    "wrong output range": [{"output": "sigmoid"}, {"output": "linear"}],
    "unscaled data": [{"pixels": "unit"}, {"pixels": "bytes"}],
    "mixed BatchNorm": [{"norm_d": "mixed"}],
    "blind BatchNorm": [{"norm_d": "separate"}],
    "evaluation mode": [{"evaluating": True}],
    "learning rate too high": [{"lr": 5e-2, "lr_d": 5e-2}, {"lr": 3e-2, "lr_d": 3e-2}],
    "learning rate too low": [{"lr": 1e-6, "lr_d": 1e-6}, {"lr": 3e-6, "lr_d": 3e-6}],
}
# What else differs on held-out runs, in turn.
OTHERWISE: list[dict[str, Any]] = [
    {},
    {"width": 192, "width_d": 192, "batch": 32, "lr": 5e-4, "lr_d": 5e-4},
    {"width": 96, "width_d": 96, "batch": 128},
]
DCGAN = {"net": "dcgan", "width": 8, "width_d": 16, "steps": 250}
RING = {"net": "ring", "output": "linear", "width": 64, "width_d": 64}
ELSEWHERE: list[tuple[str, dict[str, Any]]] = [
    ("healthy", DCGAN),
    ("healthy", DCGAN | {"width": 12}),
    ("D too strong", DCGAN | {"lr": 1e-4, "lr_d": 3e-3, "moves_d": 4}),
    ("D too weak", DCGAN | {"lr_d": 1e-5}),
    ("oscillation", DCGAN | {"turns": 50}),
    ("missing detach", DCGAN | {"detach": False}),
    ("flipped labels", DCGAN | {"flipped": True}),
    ("unscaled data", DCGAN | {"pixels": "unit"}),
    ("evaluation mode", DCGAN | {"evaluating": True}),
    ("learning rate too high", DCGAN | {"lr": 5e-2, "lr_d": 5e-2}),
    ("learning rate too low", DCGAN | {"lr": 1e-6, "lr_d": 1e-6}),
    ("healthy", RING),
    ("healthy", RING | {"width": 128, "width_d": 128}),
    ("D too strong", RING | {"lr": 1e-4, "lr_d": 3e-3, "moves_d": 4, "width_d": 128}),
    ("D too weak", RING | {"lr_d": 1e-5}),
    ("mode collapse", RING | {"norm": False, "moves_g": 5}),
    ("flipped labels", RING | {"flipped": True}),
    ("learning rate too high", RING | {"lr": 5e-2, "lr_d": 5e-2}),
    ("learning rate too low", RING | {"lr": 1e-6, "lr_d": 1e-6}),
]


def _runs() -> list[dict[str, Any]]:
    """Four design runs of every kind, six held-out ones (twelve healthy), those elsewhere, and two longer ones."""
    runs = []
    for name, ways in CASES.items():
        runs += [{"part": "design", "case": name, "seed": i} | ways[i % len(ways)] for i in range(4)]
        for i in range(12 if name == "healthy" else 6):
            changes = OTHERWISE[i // 2 % 3] | ways[i % len(ways)]
            runs.append({"part": "held-out", "case": name, "seed": 10 + i} | changes)
    for i, (name, changes) in enumerate(ELSEWHERE):
        runs.append({"part": "elsewhere", "case": name, "seed": 30 + i} | changes)
    return runs + [{"part": "longer", "case": "healthy", "seed": 60 + i, "steps": 4 * STEPS} for i in range(2)]


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """The log of a run, its numbers rounded to four digits: {"log": {name: values}}."""
    history, _ = play(Options(**{k: v for k, v in settings.items() if k not in ("part", "case")}))
    log: dict[str, Any] = {name: [float(f"{row[name]:.4g}") for row in history] for name in (*NEEDED, *OPTIONAL)}
    for name in ("data_low", "data_high"):
        log[name] = log[name][0]
    return {"log": log}


STUDY = Study(_runs(), run)
