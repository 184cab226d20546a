"""Speed against the plain way: `python -m genlab.bench [data] [vae] [gan] [dcgan] [frechet]`, or `make bench`.

The plain way is a literal script as tutorials write it: torchvision's data set, ToTensor, DataLoader, float32, default
memory layout, sigmoid and binary cross-entropy; for the Fréchet distance it is SciPy's matrix square root. The lean way
is this package as its users call it. Both do the same work on the same networks and batches, turn by turn in one run.
A ratio is the median of the rounds' ratios; on a machine that others use too, nothing else can be compared.
`make bench` lets idle OpenMP threads spin (OMP_WAIT_POLICY=active), for both ways: to wake them costs more than many of
these kernels do.
"""

import copy
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader

from genlab import data, gan, metrics, nets, train, vae

ROUNDS = 5
Run = Callable[[int], float]  # makes that many steps and returns the last loss


class Lean(NamedTuple):
    """A lean way, and how many times the plain way's speed it is to reach (None: nothing is asked)."""

    name: str
    run: Run
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
    plain: Run
    lean: list[Lean]
    images: int | None
    steps: int
    networks: tuple[nn.Module, ...] = ()


class Row(NamedTuple):
    """What was measured of a lean way: steps per second, their ratio, and bytes that a training step takes."""

    item: Item
    lean: Lean
    plain_rate: float
    lean_rate: float
    ratio: float
    plain_memory: int | None
    lean_memory: int | None


# ----------------------------------------------------------------------------------------------------------- measuring


def measure(item: Item, *, rounds: int = ROUNDS, steps: int | None = None) -> list[Row]:
    """Run all ways of an item in turn, `rounds` times; a row for each lean way, with medians over the rounds."""
    steps = steps or item.steps
    runs = [item.plain, *(lean.run for lean in item.lean)]
    for run in runs:
        run(min(2, steps))  # the first steps allocate and choose algorithms
    times = [[_seconds(run, steps) for run in runs] for _ in range(rounds)]
    memory = [peak_memory(run, item.networks) if item.networks else None for run in runs]
    plain = [row[0] for row in times]
    rows = []
    for i, lean in enumerate(item.lean, 1):
        own = [row[i] for row in times]
        ratio = statistics.median(a / b for a, b in zip(plain, own, strict=True))
        plain_rate, lean_rate = (steps / statistics.median(t) for t in (plain, own))
        rows.append(Row(item, lean, plain_rate, lean_rate, ratio, memory[0], memory[i]))
    return rows


def _seconds(run: Run, steps: int) -> float:
    start = time.perf_counter()
    run(steps)
    return time.perf_counter() - start


def peak_memory(run: Run, networks: Sequence[nn.Module] = ()) -> int:
    """The most bytes that a step holds at one time beyond weights and optimiser: gradients, activations, the batch."""
    for network in networks:
        network.zero_grad()  # the step before left gradients
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run(1)
    held = peak = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


# --------------------------------------------------------------------------------------------------------------- data


def write_mnist(root: Path) -> None:
    """The digits, over and over, as MNIST's 60,000 training and 1,000 test images, in the files torchvision reads."""
    split, folder = data.digits(), root / "MNIST/raw"
    folder.mkdir(parents=True)
    for name, images, copies in (("train", split.train, 15), ("t10k", split.test, 1)):
        for kind, numbers in (("images-idx3", images.x.squeeze(1)), ("labels-idx1", images.y.byte())):
            array = numbers.numpy()
            header = [8 << 8 | array.ndim, len(array) * copies, *array.shape[1:]]  # 8: unsigned bytes
            content = np.array(header, dtype=">i4").tobytes() + array.tobytes() * copies
            (folder / f"{name}-{kind}-ubyte").write_bytes(content)


def plain_loader(root: Path, batch_size: int, *, size: int = 28, symmetric: bool = False) -> DataLoader:
    """MNIST as tutorials load it."""
    from torchvision import datasets, transforms  # costs two seconds

    steps = [transforms.ToTensor()]
    if symmetric:  # as the GANs' scripts do, whatever the size
        steps = [transforms.Resize(size), *steps, transforms.Normalize([0.5], [0.5])]
    dataset = datasets.MNIST(root, train=True, transform=transforms.Compose(steps))
    return DataLoader(dataset, batch_size=batch_size, shuffle=True)


def data_item(root: Path) -> list[Item]:
    """An epoch of 60,000 images with labels, in batches of 128."""
    loader, batches = plain_loader(root, 128), data.Batches(data.mnist(root=root).train, 128, labels=True)

    def last(source: Any) -> Run:
        def run(steps: int) -> float:
            for x, _ in islice(source, steps):
                mean = x
            return mean.mean().item()

        return run

    return [Item("data", last(loader), [Lean("fp32", last(batches), 100)], 128, len(batches))]


# ----------------------------------------------------------------------------------------------------------- training


def accelerator(precision: str) -> Accelerator:
    """An accelerator of its own precision on the CPU."""
    AcceleratorState._reset_state()  # one process has one precision, unless it is told to forget
    return Accelerator(mixed_precision=precision, cpu=True)


def adam(module: nn.Module, lr: float, betas: tuple[float, float] = (0.9, 0.999)) -> torch.optim.Adam:
    """Adam in one kernel."""
    return torch.optim.Adam(module.parameters(), lr=lr, betas=betas, fused=True)


def lean_run(players: list[train.Player], batches: data.Batches, boost: Accelerator, loss: str) -> Run:
    """The course's loop over the course's batches, and whose loss it returns."""

    def run(steps: int) -> float:
        *_, (_, losses) = train.train(players, batches, steps, boost)
        return losses[loss]

    return run


def vae_item(root: Path) -> list[Item]:
    """A VAE 784-400-20 on grey pixels, batch 128."""
    images, model = data.mnist(root=root).train, vae.VAE(nets.MLPEncoder(20), nets.MLPDecoder(20))
    plain, fp32, bf16 = models = [copy.deepcopy(model) for _ in range(3)]

    def lean(model: vae.VAE, precision: str) -> Run:
        boost = accelerator(precision)
        player = vae.player(boost.prepare(model), adam(model, 1e-3), noise=train.Noise(), z_dim=20)
        return lean_run([player], data.Batches(images, 128), boost, "VAE")

    ways = [Lean("fp32", lean(fp32, "no"), 2.0), Lean("bf16", lean(bf16, "bf16"), 3.0)]
    return [Item("VAE 784-400-20", plain_vae(plain, plain_loader(root, 128)), ways, 128, 60, tuple(models))]


def plain_vae(model: vae.VAE, loader: DataLoader) -> Run:
    """A VAE as tutorials train it; the loss is per image."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def run(steps: int) -> float:
        for x, _ in islice(loader, steps):
            optimizer.zero_grad()
            mu, logvar = model.encoder(x)
            std = torch.exp(0.5 * logvar)
            picture = torch.sigmoid(model.decoder(mu + torch.randn_like(std) * std))
            bce = F.binary_cross_entropy(picture, x, reduction="sum")
            kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
            loss = bce + kl
            loss.backward()
            optimizer.step()
            mean = loss.item() / len(x)
        return mean

    return run


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

    def run(pair: Pair, precision: str) -> Run:
        boost = accelerator(precision)
        own = [net.to(memory_format=torch.channels_last) for net in pair]
        G, D = boost.prepare(*own)  # without loss scaling, optimisers need no preparation
        if once:
            players = [gan.player(G, D, rule(nn.ModuleList(own)), noise=train.Noise(), z_dim=100)]
        else:
            opt_g, opt_d = map(rule, own)
            players = gan.players(G, D, opt_g, opt_d, noise=train.Noise(), z_dim=100, share=True)
        return lean_run(players, data.Batches(images, 64, pixels="symmetric"), boost, "D")

    ways = [Lean("fp32", run(fp32, "no"), targets[0]), Lean("bf16", run(bf16, "bf16"), targets[1])]
    literal = plain_gan(*plain, plain_loader(root, 64, size=size, symmetric=True))
    return [Item(name, literal, ways, 64, steps, sum(pairs, ()))]


def plain_gan(G: nn.Module, D: nn.Module, loader: DataLoader) -> Run:
    """A GAN as tutorials train it: G moves, and D judges the same images; the loss is D's.

    Both gradients belong to the old weights: the lean ways make the same updates.
    """
    bce = nn.BCELoss()
    opt_d, opt_g = (torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (D, G))

    def run(steps: int) -> float:
        for x, _ in islice(loader, steps):
            real, fake = torch.ones(len(x)), torch.zeros(len(x))
            opt_g.zero_grad()
            made = G(torch.randn(len(x), 100))
            loss_g = bce(torch.sigmoid(D(made)), real)
            loss_g.backward()
            opt_g.step()
            opt_d.zero_grad()
            loss_d = bce(torch.sigmoid(D(x)), real) + bce(torch.sigmoid(D(made.detach())), fake)
            loss_d.backward()
            opt_d.step()
            last, _ = loss_d.item(), loss_g.item()
        return last

    return run


# ---------------------------------------------------------------------------------------------------------- distances


def frechet_item(root: Path | None = None, *, widths: tuple[int, ...] = (128, 2048)) -> list[Item]:
    """The Fréchet distance of two Gaussians from their means and covariances, which cost both ways the same."""
    return [_distance(d, 8 if d == 2048 else None) for d in widths]


def _distance(d: int, target: float | None) -> Item:
    generator = torch.Generator().manual_seed(0)
    moments: list[torch.Tensor] = []
    for _ in range(2):
        x = torch.randn(2 * d, d, generator=generator, dtype=torch.float64)
        moments += [x.mean(0), torch.cov(x.T)]

    def repeat(distance: Callable[..., float], *given: Any) -> Run:
        return lambda steps: [distance(*given) for _ in range(steps)][-1]

    lean = Lean("fp64", repeat(metrics.frechet, *moments), target)
    plain = repeat(plain_frechet, *(m.numpy() for m in moments))
    return Item(f"Fréchet distance, {d:,} features", plain, [lean], None, max(1, 2048 // d - 1))


def plain_frechet(mu1: np.ndarray, cov1: np.ndarray, mu2: np.ndarray, cov2: np.ndarray) -> float:
    """The formula as it is written, with SciPy's matrix square root."""
    from scipy.linalg import sqrtm

    return float(np.square(mu1 - mu2).sum() + np.trace(cov1 + cov2 - 2 * sqrtm(cov1 @ cov2).real))


# ---------------------------------------------------------------------------------------------------------- the table

ITEMS: dict[str, Callable[[Path], list[Item]]] = {
    "data": data_item,
    "vae": vae_item,
    "gan": gan_item,
    "dcgan": dcgan_item,
    "frechet": frechet_item,
}
TABLE = "{:32} {:4} {:>18} {:>18} {:>7} {:>7}  {:8} {:>22}"
HEAD = TABLE.format("work", "", "plain", "lean", "ratio", "target", "verdict", "memory of a step")


def line(row: Row) -> str:
    """A row of the table."""
    shown = [
        f"{rate * row.item.images:,.0f} images/s" if row.item.images else f"{1000 / rate:,.1f} ms"
        for rate in (row.plain_rate, row.lean_rate)
    ]
    target = row.lean.target
    verdict = "" if target is None else "reached" if row.ratio >= target else "MISSED"
    memory = [f"{m / 1e6:,.1f} MB" for m in (row.plain_memory, row.lean_memory) if m is not None]
    asked = "" if target is None else f"{target:g}x"
    return TABLE.format(
        row.item.name, row.lean.name, *shown, f"{row.ratio:.2f}x", asked, verdict, ", ".join(memory)
    ).rstrip()


def main(arguments: list[str]) -> int:
    """Measure the items that are named, or all, and print a table; 2 for an unknown name."""
    if unknown := [name for name in arguments if name not in ITEMS]:
        print(f"genlab.bench: unknown item {unknown[0]!r}; known are {', '.join(ITEMS)}", file=sys.stderr)
        return 2
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler would report that there is no GPU
    train.seed_everything(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; medians of {ROUNDS} paired rounds\n{HEAD}")
    with tempfile.TemporaryDirectory() as folder:
        write_mnist(Path(folder))
        for name in arguments or ITEMS:
            for item in ITEMS[name](Path(folder)):
                for row in measure(item):
                    print(line(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
