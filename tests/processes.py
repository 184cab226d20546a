"""Make the same runs in one process or in several: `accelerate launch … processes.py FOLDER` (see test_scale.py)."""

import math
import sys
import warnings
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from torch import Tensor, nn

from genlab import data, gan, nets, recipes, train
from genlab.settings import GANSettings, Settings, VAESettings

# Adam divides small gradients by their size, which turns their rounding errors into moves: the rates are small ones.
SHARED: dict[str, Any] = {"out": "", "steps": 20, "batch_size": 16, "save_every": 10, "z_dim": 4, "device": "cpu"}
RUNS: dict[str, Settings] = {
    "vae": VAESettings(**SHARED, width=8, lr=5e-4, clip=50.0),
    # WGAN-GP with its own rate. The other generators have BatchNorm, which sees each process's own rows only.
    "gan": GANSettings(
        **SHARED, net="mlp", width=32, objective="wasserstein", gp=10.0, n_critic=5, lr=1e-4, beta2=0.9, accumulate=2
    ),
}


def main(folder: Path) -> None:
    for recipe, settings in RUNS.items():
        recipes.RECIPES[recipe].fit(type(settings)(**{**vars(settings), "out": str(folder / recipe)}))
    at_once(folder / "at_once.safetensors")


def at_once(path: Path) -> None:
    """Twenty steps of both players in one pass, and the weights that they end with."""
    accelerator = Accelerator(cpu=True)
    rank, world = accelerator.process_index, accelerator.num_processes
    train.seed_everything(0)
    G, D = nets.MLPDecoder(4, width=32, output=nn.Tanh()), nets.MLPDiscriminator(width=32)
    both = nn.ModuleList([G, D])
    optimizer = torch.optim.Adam(both.parameters(), lr=1e-4, betas=(0.5, 0.999))
    batches = data.Batches(data.digits().train.x, 16, pixels="symmetric", rank=rank, world=world)
    noise = train.Noise(rank=rank, world=world)
    player = gan.player(*accelerator.prepare(G, D), optimizer, noise=noise, z_dim=4, clip=50.0)
    for _ in train.train([player], batches, 20, accelerator):
        pass
    if accelerator.is_main_process:
        save_file(both.state_dict(), path)


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
    shared = Accelerator(cpu=True)
    sys.stdout.write(f"process {shared.process_index} of {shared.num_processes} by {torch.distributed.get_backend()}\n")
    diverge(1, shared)
    shared.end_training()
