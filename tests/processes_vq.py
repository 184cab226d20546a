"""Free bits and codebooks, in one process or several: `processes_vq.py RANK WORLD FILE FOLDER`."""

import sys
from datetime import timedelta
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from genlab import data, nets, train, vae, vq


def averaged(module: nn.Module, world: int) -> None:
    """The mean of the gradients over processes, as DistributedDataParallel makes it."""
    for parameter in module.parameters():
        if world > 1 and parameter.grad is not None:
            torch.distributed.all_reduce(parameter.grad)
            parameter.grad /= world


def free_bits(rank: int, world: int) -> dict[str, Tensor]:
    """Weights after twelve steps with free bits, and how many dimensions were below them at each step."""
    torch.manual_seed(0)
    net = vae.VAE(nets.MLPEncoder(6, width=32), nets.MLPDecoder(6, width=32))
    with torch.no_grad():
        net.encoder.body[-1].weight.mul_(8)  # so that some dimensions lie above the minimum
    noise = train.Noise(1, rank=rank, world=world)
    optimizer = torch.optim.SGD(net.parameters(), 2e-3)
    player = vae.player(net, optimizer, noise=noise, z_dim=6, minimum=0.5)
    batches = data.Batches(data.digits().train.x, 16, pixels="binary", rank=rank, world=world)
    losses = []
    for step in range(12):
        optimizer.zero_grad()
        loss = player.loss(next(batches), step)
        loss.backward()
        averaged(net, world)
        optimizer.step()
        losses.append(loss.detach())
    below = [(vae.kl_per_dimension(*net.encoder(next(batches))).mean(0) < 0.5).sum()]
    return {"losses": torch.stack(losses), "below": torch.stack(below), **net.state_dict()}


def codebook(rank: int, world: int) -> dict[str, Tensor]:
    """A quantiser after six batches, with a restart bound at which codes are replaced at each of them."""
    torch.manual_seed(0)
    quantiser = vq.Quantiser(32, 4, decay=0.5, restart=0.9)
    images = torch.randn(6, 8, 4, 3, 5, generator=torch.Generator().manual_seed(2))
    images += 6 * torch.arange(6).view(-1, 1, 1, 1, 1)  # each batch lies far from the codes of the last
    restarts = []
    torch.manual_seed(7 + rank)  # generators of processes need not agree: the first one's counts
    for h in images:
        quantiser(h[rank::world])
        restarts.append((quantiser.count == 1).sum())
    return {"restarts": torch.stack(restarts), **quantiser.state_dict()}


def main(rank: int, world: int, folder: Path) -> None:
    for name, found in (("free_bits", free_bits(rank, world)), ("codebook", codebook(rank, world))):
        save_file(found, folder / f"{name}-{world}-{rank}.safetensors")


if __name__ == "__main__":
    rank, world = int(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{sys.argv[3]}", rank=rank, world_size=world, timeout=timedelta(seconds=60)
    )
    main(rank, world, Path(sys.argv[4]))
    torch.distributed.destroy_process_group()
