"""What `make bench` measures: work that is done in the plain way and in lean ways, those of this package's users.

All ways of an item do the same work on the same networks and batches.
"""

import copy
import importlib.util
from collections.abc import Callable
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn
from torch.nn import functional as F

from genlab import data, gan, metrics, nets, train, vae
from genlab.tools.plain import Way, fidelity_frechet, plain_frechet, plain_gan, plain_loader, plain_vae


class Lean(NamedTuple):
    """A lean way, and how many times the plain way's speed it is to reach (None: nothing is asked)."""

    name: str
    run: Way
    target: float | None


class Item(NamedTuple):
    """Work that is done in the plain and in one or more lean ways.

    Attributes:
        name: of the work.
        plain: the plain way.
        lean: the lean ways.
        images: in a step; None where a step is one distance.
        steps: in a round.
        networks: that a step trains, of all ways; none where nothing is trained.
    """

    name: str
    plain: Way
    lean: list[Lean]
    images: int | None
    steps: int
    networks: tuple[nn.Module, ...] = ()


def data_item(root: Path) -> list[Item]:
    """An epoch of 60,000 images with labels, in batches of 128."""
    loader, batches = plain_loader(root, 128), data.Batches(data.mnist(root=root).train, 128, labels=True)

    def last(source: Any) -> Way:
        def run(steps: int) -> float:
            for x, _ in islice(source, steps):
                mean = x
            return mean.mean().item()

        return run

    return [Item("data", last(loader), [Lean("fp32", last(batches), 100)], 128, len(batches))]


def accelerator(precision: str) -> Accelerator:
    """An accelerator of its own precision on the CPU."""
    AcceleratorState._reset_state()  # one process has one precision, unless it is told to forget
    return Accelerator(mixed_precision=precision, cpu=True)


def adam(module: nn.Module, lr: float, betas: tuple[float, float] = (0.9, 0.999)) -> torch.optim.Adam:
    """Adam in one kernel."""
    return torch.optim.Adam(module.parameters(), lr=lr, betas=betas, fused=True)


def lean_run(players: list[train.Player], batches: data.Batches, boost: Accelerator, loss: str) -> Way:
    """The course's loop over the course's batches, and whose loss it returns."""

    def run(steps: int) -> float:
        *_, (_, losses) = train.train(players, batches, steps, boost)
        return losses[loss]

    return run


def vae_item(root: Path) -> list[Item]:
    """A VAE 784-400-20 on grey pixels, batch 128."""
    images, model = data.mnist(root=root).train, vae.VAE(nets.MLPEncoder(20), nets.MLPDecoder(20))
    plain, fp32, bf16 = models = [copy.deepcopy(model) for _ in range(3)]

    def lean(model: vae.VAE, precision: str) -> Way:
        boost = accelerator(precision)
        player = vae.player(boost.prepare(model), adam(model, 1e-3), noise=train.Noise(), z_dim=20)
        return lean_run([player], data.Batches(images, 128), boost, "VAE")

    ways = [Lean("fp32", lean(fp32, "no"), 2.0), Lean("bf16", lean(bf16, "bf16"), 3.0)]
    return [Item("VAE 784-400-20", plain_vae(plain, plain_loader(root, 128)), ways, 128, 60, tuple(models))]


def gan_item(root: Path) -> list[Item]:
    """Fully connected: G 100-128-256-512-1024-784 with BatchNorm, D 784-512-256-1, batch 64."""
    wider = [m for i, o in pairwise((128, 256, 512, 1024)) for m in (nn.Linear(i, o), nn.BatchNorm1d(o), leaky())]
    G = nn.Sequential(
        nn.Linear(100, 128), leaky(), *wider, nn.Linear(1024, 784), nn.Tanh(), nn.Unflatten(1, (1, 28, 28))
    )
    D = nn.Sequential(
        nn.Flatten(), *(nn.Linear(784, 512), leaky(), nn.Linear(512, 256), leaky()), nn.Linear(256, 1), nn.Flatten(0)
    )
    return _game("GAN, fully connected", root, (G, D), (G, D), 28, (2.0, 3.0), steps=60, once=True)


def dcgan_item(root: Path) -> list[Item]:
    """Convolutional, 32 x 32 pixels, batch 64: G resizes and convolves, D has four strided convolutions.

    The lean G does both steps at once, in `nets.UpConv`; it is the same function of the same weights.
    """

    def plain_up(i: int, o: int) -> list[nn.Module]:
        return [nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(i, o, 3, 1, 1)), nn.BatchNorm2d(o), leaky()]

    def lean_up(i: int, o: int) -> list[nn.Module]:  # Identity keeps the weights under the same names
        return [nn.Sequential(nn.Identity(), nets.UpConv(i, o)), nn.BatchNorm2d(o), leaky()]

    def down(i: int, o: int) -> list[nn.Module]:
        norm = [nn.BatchNorm2d(o)] if i > 1 else []
        return [nn.Conv2d(i, o, 3, 2, 1), leaky(), nn.Dropout2d(0.25), *norm]

    def generator(up: Callable[[int, int], list[nn.Module]]) -> nn.Module:
        start = [nn.Linear(100, 128 * 8 * 8), nn.Unflatten(1, (128, 8, 8)), nn.BatchNorm2d(128)]
        return nn.Sequential(*start, *up(128, 128), *up(128, 64), nn.Conv2d(64, 1, 3, 1, 1), nn.Tanh())

    G, lean_G = generator(plain_up), generator(lean_up)
    lean_G.load_state_dict(G.state_dict())
    blocks = [m for i, o in pairwise((1, 16, 32, 64, 128)) for m in down(i, o)]
    D = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(128 * 2 * 2, 1), nn.Flatten(0))
    return _game("DCGAN 32x32", root, (G, D), (lean_G, D), 32, (1.6, 3.0), steps=8)


def leaky() -> nn.Module:
    """The activation of both GANs."""
    return nn.LeakyReLU(0.2)


Pair = tuple[nn.Module, nn.Module]


def _game(
    name: str,
    root: Path,
    plain: Pair,
    lean: Pair,
    size: int,
    targets: tuple[float, float],
    *,
    steps: int,
    once: bool = False,
) -> list[Item]:
    images = data.mnist(root=root).train.x
    if size != 28:
        larger = [F.interpolate(part.float(), size, mode="bilinear") for part in images.split(10_000)]
        images = torch.cat([part.round().byte() for part in larger])

    plain, fp32, bf16 = pairs = [copy.deepcopy(pair) for pair in (plain, lean, lean)]

    def rule(net: nn.Module) -> torch.optim.Adam:
        return adam(net, 2e-4, (0.5, 0.999))

    def run(pair: Pair, precision: str) -> Way:
        boost = accelerator(precision)
        own = [net.to(memory_format=torch.channels_last) for net in pair]
        G, D = boost.prepare(*own)  # without loss scaling, optimisers need no preparation
        if once:
            players = [gan.one_pass(G, D, rule(nn.ModuleList(own)), noise=train.Noise(), z_dim=100)]
        else:
            opt_g, opt_d = map(rule, own)
            players = gan.players(G, D, opt_g, opt_d, noise=train.Noise(), z_dim=100, share=True)
        return lean_run(players, data.Batches(images, 64, pixels="symmetric"), boost, "D")

    ways = [Lean("fp32", run(fp32, "no"), targets[0]), Lean("bf16", run(bf16, "bf16"), targets[1])]
    literal = plain_gan(*plain, plain_loader(root, 64, size=size, symmetric=True))
    return [Item(name, literal, ways, 64, steps, sum(pairs, ()))]


def frechet_item(root: Path | None = None, *, widths: tuple[int, ...] = (128, 2048)) -> list[Item]:
    """The Fréchet distance of two Gaussians from their means and covariances, which cost both ways the same."""
    return [_distance(d, 8 if d == 2048 else None) for d in widths]


def _distance(d: int, target: float | None) -> Item:
    generator = torch.Generator().manual_seed(0)
    moments: list[torch.Tensor] = []
    for _ in range(2):
        x = torch.randn(2 * d, d, generator=generator, dtype=torch.float64)
        moments += [x.mean(0), torch.cov(x.T)]

    def repeat(distance: Callable[..., float], *given: Any) -> Way:
        return lambda steps: [distance(*given) for _ in range(steps)][-1]

    lean = Lean("fp64", repeat(metrics.frechet, *moments), target)
    plain = repeat(plain_frechet, *(m.numpy() for m in moments))
    return Item(f"Fréchet distance, {d:,} features", plain, [lean], None, max(1, 2048 // d - 1))


def fidelity_item(root: Path | None = None, *, n: int = 5000, d: int = 2048) -> list[Item]:
    """The same from two sets of features, beside torch-fidelity's; nothing where that is not installed."""
    if importlib.util.find_spec("torch_fidelity") is None:
        return []
    generator = torch.Generator().manual_seed(0)
    spread = torch.randn(d, d, generator=generator) / d**0.5
    x, y = (torch.randn(n, d, generator=generator) @ spread for _ in range(2))

    def repeat(distance: Callable[..., float]) -> Way:
        return lambda steps: [distance(x, y) for _ in range(steps)][-1]

    lean = Lean("fp64", repeat(metrics.frechet_distance), 2)
    return [Item(f"Fréchet distance, {n:,} rows of {d:,} features", repeat(fidelity_frechet), [lean], None, 1)]


ITEMS: dict[str, Callable[[Path], list[Item]]] = {
    "data": data_item,
    "vae": vae_item,
    "gan": gan_item,
    "dcgan": dcgan_item,
    "frechet": frechet_item,
    "fidelity": fidelity_item,
}
