"""Make the same runs in one process or in several: `accelerate launch … processes.py FOLDER` (see test_scale.py)."""

import dataclasses
import math
import os
import sys
import warnings
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from torch import Tensor, nn

from genlab import data, diffusion, flows, gan, nets, runs, train, vq
from genlab.runs.ar import ARSettings
from genlab.runs.classifier import ClassifierSettings
from genlab.runs.gan import GANSettings
from genlab.runs.settings import Settings
from genlab.runs.vae import VAESettings

# Adam divides small gradients by their size, which turns their rounding errors into moves: the rates are small ones.
PLAIN: dict[str, Any] = {"out": "", "steps": 20, "batch_size": 16, "save_every": 10, "device": "cpu"}
SHARED = PLAIN | {"z_dim": 4}
PATH: dict[str, Any] = {"path": diffusion.straight(), "target": "velocity"}
RUNS: dict[str, Settings] = {
    "vae": VAESettings(**SHARED, width=8, lr=2e-4, clip=50.0),
    # The KL of a dimension lies about the free bits, above them in one half of a batch and below them in the other.
    "free_bits": VAESettings(**SHARED, width=8, lr=2e-4, free_bits=0.03),
    # WGAN-GP with its own rate. The other generators have BatchNorm, which sees each process's own rows only.
    "gan": GANSettings(
        **SHARED, net="mlp", width=32, objective="wasserstein", gp=10.0, n_critic=5, lr=1e-4, beta2=0.9, accumulate=2
    ),
    "views": GANSettings(
        **SHARED, net="mlp", width=32, lr=1e-4, augmentation=True, instance_noise=0.1, consistency=1.0, conditional=True
    ),
    "ar": ARSettings(**PLAIN, width=16, lr=2e-4, conditional=True),
}


def family(settings: Settings) -> str:
    """The name of the family of these settings."""
    return next(name for name in runs.FAMILIES if runs.family(name).settings is type(settings))


def main(folder: Path) -> None:
    for name, settings in RUNS.items():
        runs.family(family(settings)).fit(dataclasses.replace(settings, out=str(folder / name)))
    torch.set_default_dtype(torch.float64)
    try:
        at_once(folder / "at_once.safetensors")
        restarts(folder / "restarts.safetensors")
        exact(folder / "exact.safetensors")
    finally:
        torch.set_default_dtype(torch.float32)
    interrupted(folder)


def interrupted(folder: Path) -> None:
    """The classifier, which has dropout, in one go and with an interruption; what each process draws next."""
    given: dict[str, Any] = {"batch_size": 16, "save_every": 3, "width": 4, "d": 4, "device": "cpu", "resume": True}
    for name, parts in (("whole", [6]), ("resumed", [3, 6])):
        for steps in parts:
            options = ClassifierSettings(**given, out=str(folder / name), steps=steps, schedule="constant")
            runs.family("classifier").fit(options)
        sys.stdout.write(f"process {os.environ.get('RANK', 0)} after {name}: {torch.rand(1).item()}\n")


def at_once(path: Path) -> None:
    """Twenty steps of both players in one pass, and the weights that they end with, in float64.

    By gradient descent: where a gradient crosses zero, Adam makes whole moves of its rounding errors, which differ from
    one processor to the next.
    """
    accelerator = Accelerator(cpu=True)
    batches, noise = shared(accelerator, "symmetric", data.digits().train.x)
    G, D = nets.MLPDecoder(4, width=32, output=nn.Tanh()), nets.MLPDiscriminator(width=32)
    both = nn.ModuleList([G, D])
    optimizer = torch.optim.SGD(both.parameters(), lr=0.02, momentum=0.5)
    player = gan.one_pass(*accelerator.prepare(G, D), optimizer, noise=noise, z_dim=4).replace(clip=50.0)
    for _ in train.train([player], batches, 20, accelerator):
        pass
    if accelerator.is_main_process:
        save_file(both.state_dict(), path)


def restarts(path: Path) -> None:
    """Twenty steps of a VQ-VAE that restarts codes, its weights with the codebook, and how often each was restarted.

    In float64, and the images are noise, whose vectors are spread far apart: where one lies as near to one code as to
    another the order of additions chooses, as in the empty corners of digits, and one other choice changes all weights.
    """
    accelerator = Accelerator(cpu=True)
    noise = torch.randint(256, (200, 1, 28, 28), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    batches, _ = shared(accelerator, "unit", noise)
    quantiser = vq.Quantiser(16, 4, restart=1.2)
    model = vq.VQVAE(nets.GridEncoder(4, width=4), quantiser, nets.GridDecoder(4, width=4))
    with torch.no_grad():
        last = model.encoder.get_submodule("body.6")
        for p in last.parameters():
            p.mul_(100) if p.ndim > 1 else p.zero_()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
    player = vq.player(*accelerator.prepare(model, optimizer), likelihood="gaussian")
    restarted = torch.zeros(16)
    for _ in train.train([player], batches, 20, accelerator):
        restarted += quantiser.count == 1
    if accelerator.is_main_process:
        save_file(model.state_dict() | {"restarted": restarted}, path)


def exact(path: Path) -> None:
    """Twenty steps of a flow, whose ActNorm starts from the rows of all, and of flow matching; weights, in float64.

    By gradient descent, as in `at_once`: networks whose last layer starts at zero have gradients that are all rounding.
    """
    accelerator = Accelerator(cpu=True)
    found: dict[str, Tensor] = {}
    for name, pixels in (("flow", "unit"), ("diffusion", "symmetric")):
        batches, noise = shared(accelerator, pixels, data.digits().train.x)
        model: nn.Module = nets.RealNVP(width=4, steps=2) if name == "flow" else nets.UNet(width=8)
        both = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=2e-3, momentum=0.5))
        player = flows.player(*both, noise=noise) if name == "flow" else diffusion.player(*both, noise=noise, **PATH)
        for _ in train.train([player.replace(clip=50.0)], batches, 20, accelerator):
            pass
        found |= {f"{name}.{key}": value for key, value in model.state_dict().items()}
    if accelerator.is_main_process:
        save_file(found, path)


def shared(accelerator: Accelerator, pixels: str, x: Tensor) -> tuple[Iterator[Tensor], train.Noise]:
    """This process's rows of batches of 16, and its rows of the noise; the weights to come are those of seed 0."""
    place = {"rank": accelerator.process_index, "world": accelerator.num_processes}
    train.seed_everything(0)
    return (batch.double() for batch in data.Batches(x, 16, pixels=pixels, **place)), train.Noise(**place)


def diverge(rank: int, accelerator: Accelerator) -> None:
    """The loss of one process becomes NaN at step 3; what every process says of it."""
    module: Any = torch.nn.Linear(1, 1)
    module, optimizer = accelerator.prepare(module, torch.optim.SGD(module.parameters(), 0.1))

    def loss(batch: Tensor, step: int) -> Tensor:
        bad = step == 3 and accelerator.process_index == rank
        return module(batch).mean() * (math.nan if bad else 1.0)

    try:
        for _ in train.train([train.Player("P", module, loss, optimizer)], repeat(torch.ones(2, 1)), 9, accelerator):
            pass
    except train.Diverged as error:
        sys.stdout.write(f"process {accelerator.process_index}: {error}\n")  # whole lines, as both write at once


if __name__ == "__main__":
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
    last = Accelerator(cpu=True)
    sys.stdout.write(f"process {last.process_index} of {last.num_processes} by {torch.distributed.get_backend()}\n")
    diverge(1, last)
    last.end_training()
