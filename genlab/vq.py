"""Vector quantisation: a codebook, the VQ-VAE, and its player."""

import itertools
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from genlab.data import Batch, unpack
from genlab.densities import LOOK_EVERY, find_likelihood
from genlab.processes import place, summed
from genlab.train import Player


class Quantised(NamedTuple):
    """Straight-through vectors (n, d, h, w), their codes (n, h, w), and the commitment ‖h − e‖² per example (n,)."""

    z: Tensor
    codes: Tensor
    commitment: Tensor


class Quantiser(nn.Module):
    """Nearest of k codebook vectors of length d, with straight-through gradient and moving-average codebook.

    In training each code moves, after the look-up, to the moving average of the vectors that chose it; codes whose
    average count falls below `restart` are replaced by vectors of the batch at hand.
    Source: van den Oord et al. 2017, eq. 1 to 3 and appendix A.1; restarts: Dhariwal et al. 2020 (Jukebox).
    """

    codebook: Tensor
    count: Tensor
    total: Tensor

    def __init__(self, k: int, d: int, *, decay: float = 0.99, restart: float = 0.1) -> None:
        super().__init__()
        self.decay, self.restart = decay, restart
        self.register_buffer("codebook", torch.randn(k, d))
        self.register_buffer("count", torch.ones(k))
        self.register_buffer("total", self.codebook.clone())

    def forward(self, h: Float[Tensor, "n d h w"]) -> Quantised:
        rows = h.detach().permute(0, 2, 3, 1).reshape(-1, h.shape[1]).to(self.codebook.dtype)
        codes = torch.cdist(rows, self.codebook).argmin(1).view(h.shape[0], *h.shape[2:])
        e = self.lookup(codes)
        if self.training:  # after the look-up: a code that is restarted now was still the nearest
            self._update(rows, codes.flatten(), len(h))
        return Quantised(h + (e - h).detach(), codes, (h - e).square().flatten(1).sum(1))

    def lookup(self, codes: Int[Tensor, "n h w"]) -> Float[Tensor, "n d h w"]:
        """The codebook vectors of these numbers."""
        return self.codebook[codes].permute(0, 3, 1, 2)

    @torch.no_grad()
    def _update(self, rows: Tensor, codes: Tensor, images: int) -> None:
        chosen = F.one_hot(codes, len(self.codebook)).to(rows.dtype)
        with torch.autocast(rows.device.type, enabled=False):  # sums stay as exact as the codebook
            count, total = chosen.sum(0), chosen.T @ rows
        count, total = summed(count), summed(total)  # so that all codebooks move alike
        self.count.lerp_(count, 1 - self.decay)
        self.total.lerp_(total, 1 - self.decay)
        candidates = self._candidates(rows, images)
        unused = self.count < self.restart
        self.total[unused] = candidates[unused]
        self.count[unused] = 1.0
        # With restart=0 the count of an unused code decays to nothing; the code then stays where it is.
        known = self.count > 1e-20
        self.codebook[known] = self.total[known] / self.count[known, None]

    def _candidates(self, rows: Tensor, images: int) -> Tensor:
        """A vector (k, d) of the batch for each code, drawn as one process would that had the images of all.

        Image i of the whole batch is the i // world-th of process i % world. The owner of a row gives it to all.
        """
        rank, world = place()
        chosen = torch.randint(world * len(rows), (len(self.codebook),), device=rows.device)
        if world == 1:
            return rows[chosen]
        torch.distributed.broadcast(chosen, 0)
        cells = len(rows) // images
        image, cell = chosen // cells, chosen % cells
        mine = (image % world == rank)[:, None]
        return summed(torch.where(mine, rows[image // world * cells + cell], 0.0))


class VQVAE(nn.Module):
    """Encoder to a grid of vectors, quantiser, decoder from the grid. Source: van den Oord et al. 2017."""

    def __init__(self, encoder: nn.Module, quantiser: Quantiser, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.quantiser, self.decoder = encoder, quantiser, decoder

    def forward(self, x: Tensor) -> tuple[Tensor, Quantised]:
        """The decoder's output (n, …), and the codes."""
        quantised = self.quantiser(self.encoder(x))
        return self.decoder(quantised.z), quantised


def player(
    model: nn.Module,
    optimizer: Optimizer,
    *,
    likelihood: str = "bernoulli",
    commitment: float = 0.25,
) -> Player:
    """A VQ-VAE as one player: it minimises −log p(x|z) + `commitment` · ‖h − e‖² (van den Oord et al. 2017).

    Clipping, accumulation and a schedule are the player's: `player(…).replace(clip=1.0)`.

    Raises:
        ValueError: the likelihood is unknown; in training, pixels lie outside its support.
    """
    p, batches = find_likelihood(likelihood), itertools.count()

    def loss(batch: Tensor | Batch, step: int) -> Tensor:
        x, _ = unpack(batch)
        if next(batches) % LOOK_EVERY == 0:
            p.check(x)
        out, quantised = model(x)
        return (commitment * quantised.commitment - p.log_prob(x, out)).mean()

    return Player("VQVAE", model, loss, optimizer)
