"""One's own images: every kind of file, classes, the split, the cache, and what is named or refused."""

import errno
import os
import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from genlab import data
from genlab.data import Split, decode, folders


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GENLAB_DATA", str(tmp_path / "home"))
    return tmp_path / "home" / "folders"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


def noise(seed: int, side: int = 16, channels: int = 1) -> np.ndarray:
    """(side, side) or (side, side, 3): an image like no other."""
    shape = (side, side) if channels == 1 else (side, side, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def put(path: Path, pixels: np.ndarray | Image.Image, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    (Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels).save(path, **options)
    return path


def put_classes(root: Path, **counts: int) -> None:
    for label, (name, n) in enumerate(counts.items()):
        for i in range(n):
            put(root / name / f"{i}.png", noise(1000 * label + i))


def contents(split: Split) -> tuple[set[bytes], set[bytes]]:
    train, test = ({row.numpy().tobytes() for row in part.x} for part in split)
    return train, test


def same(a: Split, b: Split) -> bool:
    return a.names == b.names and all(
        torch.equal(p, q) if isinstance(p, Tensor) and isinstance(q, Tensor) else p is q
        for one, two in zip(a, b, strict=True)
        for p, q in zip(one, two, strict=True)
    )


def decoded(root: Path, image: np.ndarray | Image.Image, suffix: str = ".png", **options: Any) -> Tensor:
    """(c, s, s) of one image as `folder` reads it; a folder needs a second."""
    save = {name: options.pop(name) for name in list(options) if name not in ("size", "channels", "crop")}
    mine = put(root / f"mine{suffix}", image, **save)
    side = options.get("size") or 16
    put(root / "other.png", noise(77, side))
    split = data.folder(root, **options)
    other = torch.from_numpy(noise(77, side))
    rows = [row for part in split for row in part.x if not torch.equal(row, other.expand_as(row))]
    mine.unlink()
    (row,) = rows
    return row


# ------------------------------------------------------------------------------------------------------- kinds of file


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".ppm", ".webp"])
def test_lossless_files_come_out_as_they_went_in(root: Path, suffix: str) -> None:
    pixels = noise(1, 24, 3)
    options = {"lossless": True} if suffix == ".webp" else {}
    row = decoded(root, pixels, suffix, size=24, **options)
    np.testing.assert_array_equal(row.permute(1, 2, 0), pixels)


def test_jpeg_is_read(root: Path) -> None:
    ramp = np.linspace(0, 255, 16)[None].repeat(16, 0).astype(np.uint8)
    row = decoded(root, ramp, ".jpg", quality=95)
    assert row.shape == (1, 16, 16) and np.abs(row[0].numpy().astype(int) - ramp).max() < 8


def test_a_name_without_suffix_or_with_a_wrong_one_does_not_matter(root: Path) -> None:
    put(root / "a.png", noise(1)).rename(root / "a")
    put(root / "b.png", noise(2)).rename(root / "b.jpeg")
    assert sum(len(part.x) for part in data.folder(root)) == 2


def test_transparent_pixels_show_a_white_ground(root: Path) -> None:
    rgba = np.dstack([noise(1, 16, 3), noise(2)])
    alpha = rgba[..., 3:] / 255
    expected = rgba[..., :3] * alpha + 255 * (1 - alpha)
    row = decoded(root, Image.fromarray(rgba)).permute(1, 2, 0)
    assert np.abs(row.numpy() - expected).max() <= 1
    grey = np.dstack([noise(3), noise(4)])
    alpha = grey[..., 1] / 255
    row = decoded(root, Image.fromarray(grey))
    assert row.shape == (1, 16, 16)
    assert np.abs(row[0].numpy() - (grey[..., 0] * alpha + 255 * (1 - alpha))).max() <= 1


def palette(levels: np.ndarray, colours: np.ndarray) -> Image.Image:
    image = Image.frombytes("P", levels.shape[::-1], levels.tobytes())
    image.putpalette(colours.flatten().tolist())
    return image


def test_palettes_are_looked_up_with_and_without_transparency(root: Path) -> None:
    levels, colours = noise(1) % 8, noise(2, 8, 3)[0]
    image = palette(levels, colours)
    np.testing.assert_array_equal(decoded(root, image).permute(1, 2, 0), colours[levels])
    expected = colours[levels]
    expected[levels == 3] = 255
    np.testing.assert_array_equal(decoded(root, image, transparency=3).permute(1, 2, 0), expected)
    half = colours[levels].astype(float)
    half[levels == 0] = 127 / 255 * half[levels == 0] + 255 * 128 / 255
    several = decoded(root, image, transparency=bytes([127, *[255] * 7])).permute(1, 2, 0)
    assert np.abs(several.numpy() - half).max() <= 1


def test_a_transparent_grey_level_becomes_white(root: Path) -> None:
    levels = noise(1) % 4
    row = decoded(root, levels, transparency=2)
    np.testing.assert_array_equal(row[0], np.where(levels == 2, 255, levels))


def test_sixteen_bit_grey_is_rounded_not_cut(root: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 65536, (16, 16)).astype(np.uint16)
    levels[0, :4] = [0, 128, 129, 65535]  # 128 / 257 rounds to 0, 129 / 257 to 1
    expected = np.rint(levels / 257).astype(np.uint8)
    np.testing.assert_array_equal(decoded(root, levels)[0], expected)
    np.testing.assert_array_equal(decoded(root, levels, ".tiff")[0], expected)
    clear = expected.copy()
    clear[levels == levels[5, 5]] = 255
    np.testing.assert_array_equal(decoded(root, levels, transparency=int(levels[5, 5]))[0], clear)


def test_one_bit_cmyk_and_grey_in_colour_files(root: Path) -> None:
    bits = noise(1) > 127
    np.testing.assert_array_equal(decoded(root, Image.fromarray(bits))[0], 255 * bits)
    cmyk = Image.new("CMYK", (16, 16), (255, 0, 0, 0))  # cyan
    row = decoded(root, cmyk, ".jpg", quality=100)
    assert (row.float().mean((1, 2)) - torch.tensor([0.0, 255, 255])).abs().max() < 4
    grey = noise(2)
    row = decoded(root, np.dstack([grey] * 3))
    assert row.shape == (1, 16, 16)
    np.testing.assert_array_equal(row[0], grey)


# Orientation tag of EXIF: what a viewer does to the stored pixels.
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: np.fliplr,
    3: lambda x: np.rot90(x, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.rot90(x, 2).T,
    8: np.rot90,
}


@pytest.mark.parametrize("tag", TURNS)
def test_photographs_are_turned_upright(root: Path, tag: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = tag
    pixels = noise(tag)
    np.testing.assert_array_equal(decoded(root, pixels, exif=exif)[0], TURNS[tag](pixels))


def test_the_first_frame_of_an_animation_is_taken(root: Path) -> None:
    first, second = (palette(noise(i) % 8, noise(i + 9, 8, 3)[0]) for i in (1, 2))
    row = decoded(root, first, ".gif", save_all=True, append_images=[second])
    np.testing.assert_array_equal(row.permute(1, 2, 0), np.asarray(first.convert("RGB")))


def test_the_central_square_is_resized_by_lanczos(root: Path) -> None:
    pixels = noise(1, 60, 3)
    for whole, square in (
        (pixels[:40], pixels[:40, 10:50]),  # 40 rows, 60 columns
        (pixels[:, :41], pixels[9:50, :41]),  # an odd row more is cut below
    ):
        row = decoded(root, np.ascontiguousarray(whole), size=20)
        central = Image.fromarray(np.ascontiguousarray(square))
        expected = np.asarray(central.resize((20, 20), Image.Resampling.LANCZOS))
        np.testing.assert_array_equal(row.permute(1, 2, 0), expected)


@pytest.mark.parametrize("size", [16, 100, 256])
def test_small_images_grow(root: Path, size: int) -> None:
    assert decoded(root, noise(1, 5), size=size).shape == (1, size, size)


def test_channels_follow_the_images_or_the_argument(root: Path) -> None:
    for i in range(5):
        put(root / f"{i}.png", noise(i))
    assert data.folder(root).channels == 1
    put(root / "colour.png", noise(9, 16, 3))
    split = data.folder(root)
    assert split.channels == 3
    grey = [row for part in split for row in part.x if torch.equal(row[0], row[1])]
    assert len(grey) == 5, "grey images are repeated"
    split = data.folder(root, channels=1)
    luma = np.asarray(Image.fromarray(noise(9, 16, 3)).convert("L"))
    assert split.channels == 1 and any(np.array_equal(row[0], luma) for part in split for row in part.x)


# ------------------------------------------------------------------------------------------------- size from the data


def test_size_is_that_of_the_images_if_they_share_one(root: Path) -> None:
    for i in range(4):
        put(root / f"{i}.png", noise(i, 48))
    split = data.folder(root)
    assert split.size == 48 and split.train.x.shape[1:] == (1, 48, 48) == split.test.x.shape[1:]
    assert data.folder(root, size=32).size == 32
    put(root / "small.png", noise(5, 20))
    with pytest.raises(ValueError, match=r"48 × 48: 4, 20 × 20: 1.*size=64 \(--size 64\)"):
        data.folder(root)
    assert data.folder(root, size=20).size == 20


@pytest.mark.parametrize(("height", "width"), [(20, 30), (15, 15), (257, 257)])
def test_a_shared_size_must_be_a_square_that_is_possible(root: Path, height: int, width: int) -> None:
    for i in range(3):
        put(root / f"{i}.png", np.ascontiguousarray(noise(i, 257)[:height, :width]))
    with pytest.raises(ValueError, match=f"{width} × {height}: 3.*--size 64"):
        data.folder(root)
    assert data.folder(root, size=64).size == 64


def test_crop_can_be_refused(root: Path) -> None:
    put(root / "square.png", noise(1, 20))
    put(root / "wide.png", noise(2, 30)[:20].copy())
    assert sum(len(part.x) for part in data.folder(root, size=16)) == 2
    with pytest.raises(ValueError, match=r"1 images.*not square \(wide\.png 30 × 20\).*crop=True"):
        data.folder(root, size=16, crop=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 15}, "size=15 must lie between 16 and 256"),
        ({"size": 257}, "size=257"),
        ({"channels": 2}, "channels=2 must be 1 for grey or 3"),
        ({"test_share": 0.0}, "test_share must lie between 0 and 1, but is 0.0"),
        ({"test_share": 1.0}, "but is 1.0"),
    ],
)
def test_impossible_options_are_refused(root: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.folder(root, **options)


# ------------------------------------------------------------------------------------------------- classes and halves


def test_classes_are_the_subfolders_by_code_points(root: Path) -> None:
    put_classes(root, zebra=5, Zoo=10, äpfel=5, 猫=15)
    split = data.folder(root)
    assert split.names == ("Zoo", "zebra", "äpfel", "猫") and split.classes == 4
    assert split.train.labels.bincount().tolist() == [8, 4, 4, 12]  # stratified, a fifth of each
    assert split.test.labels.bincount().tolist() == [2, 1, 1, 3]
    label = {
        noise(1000 * k + i).tobytes(): name for k, name in enumerate(("zebra", "Zoo", "äpfel", "猫")) for i in range(15)
    }
    for part in split:
        assert part.x.dtype == torch.uint8 and part.labels.dtype == torch.int64
        assert [split.names[y] for y in part.labels.tolist()] == [label[x.numpy().tobytes()] for x in part.x]


def test_names_do_not_depend_on_how_a_system_writes_accents(tmp_path: Path) -> None:
    composed, apart = "f\u00fcr", "fu\u0308r"
    put_classes(tmp_path / "a", **{composed: 3, "g": 3})
    put_classes(tmp_path / "b", **{apart: 3, "g": 3})
    assert same(data.folder(tmp_path / "a"), data.folder(tmp_path / "b"))


def test_deeper_folders_belong_to_the_class_above(root: Path) -> None:
    put_classes(root, cat=2, dog=4)
    put(root / "cat/2020/summer/x.png", noise(50))
    split = data.folder(root)
    assert split.names == ("cat", "dog")
    assert sum(part.labels.bincount(minlength=2) for part in split).tolist() == [3, 4]  # type: ignore[union-attr]


def test_images_in_no_folder_or_in_one_have_no_labels(tmp_path: Path) -> None:
    for place in (tmp_path / "flat", tmp_path / "one/img", tmp_path / "two/archive/img"):
        for i in range(10):
            put(place / f"{i}.png", noise(i))
    splits = [data.folder(tmp_path / name) for name in ("flat", "one", "two")]
    for split in splits:
        assert split.train.y is None and split.test.y is None and split.classes is None and split.names == ()
        assert same(split, splits[0])
        with pytest.raises(ValueError, match="no labels"):
            _ = split.train.labels
        with pytest.raises(ValueError, match="labels=True needs"):
            data.Batches(split.train, 2, labels=True)
        assert isinstance(next(data.Batches(split.train, 2)), Tensor)


def test_labels_can_be_left_out(root: Path) -> None:
    put_classes(root, cat=3, dog=3)
    put(root / "loose.png", noise(9))
    split = data.folder(root, labels=False)
    assert split.train.y is None and sum(len(part.x) for part in split) == 7


def test_a_folder_around_the_classes_is_looked_through(root: Path) -> None:
    put_classes(root / "download" / "animals", cat=3, dog=3)
    assert data.folder(root).names == ("cat", "dog")


def test_images_beside_the_classes_are_named_unless_they_are_most(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    put_classes(root, cat=3, dog=3)
    put(root / "loose.png", noise(9))
    assert sum(len(part.x) for part in data.folder(root)) == 6
    assert "loose.png: beside the folders" in capfd.readouterr().err
    for i in range(9):
        put(root / f"{i}.png", noise(100 + i))
    with pytest.raises(ValueError, match=r"10 images lie beside the 2 folders.*labels=False"):
        data.folder(root)


@pytest.mark.parametrize("names", [("train", "test"), ("Training", "Testing"), ("train", "val")])
def test_a_ready_made_split_is_kept(root: Path, names: tuple[str, str]) -> None:
    put_classes(root / names[0], cat=6, dog=6)
    put(root / names[1] / "cat" / "a.png", noise(900))
    put(root / names[1] / "dog" / "b.png", noise(901))
    split = data.folder(root, test_share=0.9)
    assert split.names == ("cat", "dog") and len(split.train.x) == 12
    assert contents(split)[1] == {noise(900).tobytes(), noise(901).tobytes()}
    assert not same(split, data.folder(root, seed=1)) and contents(split) == contents(data.folder(root, seed=1))


def test_a_third_part_is_left_out_of_a_ready_made_split(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for i, name in enumerate(("train", "val", "test")):
        for j in range(3):
            put(root / name / f"{j}.png", noise(10 * i + j))
    split = data.folder(root)
    assert split.train.y is None and contents(split)[1] == {noise(20 + j).tobytes() for j in range(3)}
    assert "val/0.png: train and test are the two halves" in capfd.readouterr().err


def test_a_class_called_train_is_a_class(root: Path) -> None:
    put_classes(root, train=3, plane=3)
    assert data.folder(root).names == ("plane", "train")
    put_classes(root, train=0, plane=0, test=3)  # "flight test", say
    assert data.folder(root).names == ("plane", "test", "train")


def test_copies_of_test_images_leave_a_ready_made_training_half(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for i in range(4):
        put(root / "train" / f"{i}.png", noise(i))
    put(root / "test" / "copy.bmp", noise(2))  # another file, the same image
    put(root / "test" / "new.png", noise(9))
    split = data.folder(root)
    assert len(split.train.x) == 3 and len(split.test.x) == 2 and not contents(split)[0] & contents(split)[1]
    assert "train/2.png: the same image stands in the test half" in capfd.readouterr().err
    for i in (0, 1, 3):
        put(root / "test" / f"{i}.png", noise(i))
    with pytest.raises(ValueError, match=r"training half.*there is no image"):
        data.folder(root)


def test_halves_with_other_classes_are_refused(root: Path) -> None:
    put_classes(root / "train", cat=3, dog=3)
    put(root / "test" / "cow" / "a.png", noise(9))
    with pytest.raises(ValueError, match=r"class 'cow' of test is not in train.*labels=False"):
        data.folder(root)
    assert data.folder(root, labels=False).classes is None


# ----------------------------------------------------------------------------------------------------------- the split


def test_the_split_depends_on_content_and_seed_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_classes(tmp_path / "a", cat=20, dog=20)
    split = data.folder(tmp_path / "a", seed=3)
    for label, name in enumerate(("cat", "dog")):  # other names, other order
        for i in range(20):
            put(tmp_path / "b" / name / f"{(7 * i) % 20:05}_Ä.PNG", noise(1000 * label + i))
    assert same(split, data.folder(tmp_path / "b", seed=3))
    listed = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: reversed(list(listed(path))))
    monkeypatch.setenv("GENLAB_DATA", str(tmp_path / "elsewhere"))
    assert same(split, data.folder(tmp_path / "a", seed=3))
    others = [contents(data.folder(tmp_path / "a", seed=seed))[1] for seed in range(4)]
    assert len({frozenset(one) for one in others}) == 4


def test_another_size_keeps_everyone_on_their_side(root: Path) -> None:
    for i in range(30):
        put(root / f"{i}.png", noise(i, 32))
    large, small = data.folder(root), data.folder(root, size=16)
    for one, two in zip(large, small, strict=True):
        for x, y in zip(one.x, two.x, strict=True):
            resized = Image.fromarray(x[0].numpy()).resize((16, 16), Image.Resampling.LANCZOS)
            np.testing.assert_array_equal(np.asarray(resized), y[0])


@pytest.mark.parametrize(("n", "share", "tested"), [(2, 0.2, 1), (2, 0.9, 1), (10, 0.2, 2), (10, 0.5, 5), (7, 0.2, 1)])
def test_the_share_is_kept_with_one_image_at_least_on_each_side(root: Path, n: int, share: float, tested: int) -> None:
    put_classes(root, cat=n, dog=10)
    split = data.folder(root, test_share=share)
    assert split.test.labels.eq(0).sum() == tested and split.train.labels.eq(0).sum() == n - tested


@pytest.mark.parametrize("seed", range(8))
def test_equal_images_stay_together(root: Path, seed: int) -> None:
    for i in range(8):
        put(root / f"{i}.png", noise(i))
        put(root / f"copy of {i}.png", noise(i))
        put(root / f"other file of {i}.bmp", noise(i))
    split = data.folder(root, seed=seed, test_share=0.3)
    train, test = contents(split)
    assert not train & test and len(train | test) == 8 and sum(len(part.x) for part in split) == 24
    assert len(split.test.x) == 6  # of 24 · 0.3 = 7 only whole threes fit


def test_a_heap_of_copies_does_not_fill_the_test_half(root: Path) -> None:
    for seed in range(4):
        for i in range(30):
            put(root / f"{seed} heap {i}.png", noise(1))
    for i in range(3):
        put(root / f"{i}.png", noise(100 + i))
    for seed in range(6):
        split = data.folder(root, seed=seed)
        assert 1 <= len(split.test.x) <= 3 and not contents(split)[0] & contents(split)[1]


def test_where_no_heap_of_copies_fits_the_smallest_is_tested(root: Path) -> None:
    for i, n in enumerate((20, 9, 20)):
        for j in range(n):
            put(root / f"{i} {j}.png", noise(i))
    for seed in range(4):
        split = data.folder(root, test_share=0.1, seed=seed)
        assert contents(split)[1] == {noise(1).tobytes()} and len(split.test.x) == 9


def test_an_image_in_two_classes_stays_on_one_side_and_is_named(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    put_classes(root, cat=5, dog=5)
    put(root / "dog" / "impostor.png", noise(0))  # which is cat/0.png
    for seed in range(6):
        split = data.folder(root, seed=seed)
        assert not contents(split)[0] & contents(split)[1] and sum(len(part.x) for part in split) == 11
    assert "more than one class, for example cat/0.png and dog/impostor.png" in capfd.readouterr().err


# ------------------------------------------------------------------------------------------ what is named, and refused


def test_broken_and_odd_files_are_named_and_left_out(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    put_classes(root, cat=5, dog=5)
    good = (root / "cat/0.png").read_bytes()
    (root / "cat/cut.png").write_bytes(good[: len(good) // 2])
    (root / "cat/empty.png").touch()
    (root / "dog/notes.txt").write_text("woof", encoding="utf-8")
    (root / "cat/gelöscht – 猫.jpg").write_bytes(b"\xff\xd8\xff nothing")
    put(root / "dog/floats.tiff", Image.fromarray(np.ones((16, 16), np.float32)))
    split = data.folder(root)
    out, err = capfd.readouterr()
    assert out == "" and sum(len(part.x) for part in split) == 10
    assert "5 files in" in err and err.count("\n") == 6
    for name in ("cat/cut.png", "cat/empty.png", "dog/notes.txt", "dog/floats.tiff: pixels are floating-point"):
        assert name in err
    assert same(split, data.folder(root)) and capfd.readouterr().err == err, "from the cache they are named as well"


def test_ten_are_named_and_the_rest_counted(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    put_classes(root, cat=5, dog=5)
    for i in range(25):
        (root / "dog" / f"broken {i:02}.png").write_bytes(b"no")
    data.folder(root)
    err = capfd.readouterr().err
    assert "25 files" in err and "broken 09.png" in err and "broken 10.png" not in err and "and 15 more" in err


def test_a_class_that_lost_all_its_images_is_named_first(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    put_classes(root, cat=5, dog=5)
    for i in range(20):
        (root / "cat" / f"broken {i}.png").write_bytes(b"no")
    (root / "zebra").mkdir()
    (root / "zebra" / "only.png").write_bytes(b"no")
    assert data.folder(root).names == ("cat", "dog")
    assert "zebra/: no readable image, so no class" in capfd.readouterr().err.splitlines()[1]


def test_hidden_files_are_passed_over_in_silence(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    put_classes(root, cat=5, dog=5)
    split = data.folder(root)
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "cat/._0.png", "cat/.hidden.png", "dog/Thumbs.db"):
        (root / name).write_bytes(b"no image")
    put(root / "__MACOSX/cat/0.png", noise(70))
    put(root / ".git/x.png", noise(71))
    (root / ".ipynb_checkpoints").mkdir()
    (root / "empty").mkdir()
    assert same(split, data.folder(root)) and capfd.readouterr() == ("", "")


needs_links = pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")


@needs_links
def test_links_into_the_folder_are_not_followed_others_are(
    root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    put_classes(root, cat=5, dog=5)
    for i in range(5):
        put(tmp_path / "far/cow" / f"{i}.png", noise(5000 + i))
    (root / "cat/loop").symlink_to(root)
    (root / "cat/up").symlink_to(tmp_path)
    (root / "cat/self").symlink_to("self")
    (root / "cat/gone.png").symlink_to(tmp_path / "nowhere.png")
    (root / "kuh").symlink_to(tmp_path / "far/cow")
    (tmp_path / "far/cow/round").symlink_to(tmp_path / "far")
    split = data.folder(root)
    assert split.names == ("cat", "dog", "kuh")
    assert sum(len(part.x) for part in split) == 15
    err = capfd.readouterr().err
    for name in ("cat/loop: a link", "cat/up: a link", "cat/self: a broken link", "cat/gone.png: a broken link"):
        assert name in err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without pipes")
@pytest.mark.timeout(60)
def test_a_pipe_is_not_waited_for(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    put_classes(root, cat=2, dog=2)
    os.mkfifo(root / "cat" / "pipe.png")
    data.folder(root)
    assert "cat/pipe.png: no regular file" in capfd.readouterr().err


def chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def test_bombs_are_refused_before_they_are_decoded(
    root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    put_classes(root, cat=2, dog=2)
    for side in (8193, 20_000):  # beyond the limit here; beyond that of Pillow
        header = side.to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
        pixels = zlib.compress(bytes(1000))
        bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
        (root / f"cat/bomb {side}.png").write_bytes(bomb)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        split = data.folder(root, size=16)
    err = capfd.readouterr().err
    assert sum(len(part.x) for part in split) == 4 and not caught
    assert "8193 × 8193 pixels are more than" in err and "bomb 20000.png" in err
    monkeypatch.setattr(folders, "MOST_BYTES", 60)
    with pytest.raises(ValueError, match="no image that can be read"):
        data.folder(root, size=16)
    assert "larger than" in capfd.readouterr().err


@pytest.mark.parametrize("kind", ["absent", "file", "empty", "unreadable"])
def test_no_images_is_an_error_with_a_remedy(root: Path, kind: str) -> None:
    path = root / "x"
    if kind == "file":
        path.write_bytes(b"zip")
    elif kind != "absent":
        path.mkdir()
        if kind == "unreadable":
            (path / "a.png").write_bytes(b"no")
    message = {"absent": "is no folder", "file": "unpack it"}.get(kind, "holds no image that can be read; it needs PNG")
    with pytest.raises(ValueError, match=message):
        data.folder(path)


def test_a_class_of_one_image_is_refused_by_name(root: Path) -> None:
    put_classes(root, cat=5, dog=1)
    with pytest.raises(ValueError, match=r"class 'dog' has 1 image of its own.*at least 2.*add images"):
        data.folder(root)
    for i in range(5):
        put(root / "dog" / f"copy {i}.png", noise(1000))
    with pytest.raises(ValueError, match=r"class 'dog' has 1 image of its own, copies not counted"):
        data.folder(root)
    put(root / "dog" / "other.png", noise(5000))
    assert data.folder(root).names == ("cat", "dog")


def test_one_image_is_no_set(root: Path) -> None:
    put(root / "a.png", noise(1))
    with pytest.raises(ValueError, match=r"the set has 1 image of its own.*at least 2"):
        data.folder(root)


# ----------------------------------------------------------------------------------------------------------- the cache


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are decoded."""
    seen: list[Path] = []
    plain = decode._decode

    def one(path: Path, *arguments: Any) -> decode.Decoded:
        seen.append(path)
        return plain(path, *arguments)

    monkeypatch.setattr(decode, "_decode", one)
    return seen


def test_images_are_decoded_once(root: Path, tmp_path: Path, counted: list[Path]) -> None:
    put_classes(root, cat=5, dog=5)
    (root / "cat/bad.png").write_bytes(b"no")
    split = data.folder(root)
    assert len(counted) == 11
    assert same(split, data.folder(root))
    data.folder(root, seed=5, test_share=0.5, labels=False)
    root.rename(tmp_path / "moved")
    assert same(split, data.folder(tmp_path / "moved"))
    (tmp_path / "moved/cat/0.png").rename(tmp_path / "moved/dog/zero.png")  # another label, the same content
    assert data.folder(tmp_path / "moved").train.labels.eq(1).sum() > split.train.labels.eq(1).sum() - 1
    assert len(counted) == 11
    data.folder(tmp_path / "moved", size=20)
    assert len(counted) == 22


def test_changed_added_and_removed_files_are_noticed(root: Path) -> None:
    for i in range(6):
        put(root / f"{i}.bmp", noise(i))
    data.folder(root)
    path = root / "0.bmp"
    times = path.stat()
    path.write_bytes(
        path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 255])
    )  # the same length, and the same time
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    changed = data.folder(root)
    assert noise(0).tobytes() not in set.union(*contents(changed))
    put(root / "new.png", noise(9))
    assert noise(9).tobytes() in set.union(*contents(data.folder(root)))
    (root / "5.bmp").unlink()
    assert noise(5).tobytes() not in set.union(*contents(data.folder(root)))
    assert len(set.union(*contents(data.folder(root)))) == 6


def flipped(good: bytes, at: int) -> bytes:
    return good[:at] + bytes([good[at] ^ 16]) + good[at + 1 :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda good: good[: len(good) // 2],
    "empty": lambda good: b"",
    "garbage": lambda good: b"not at all",
    "a pickle": lambda good: b"\x80\x04N.",
    "flipped bit in the pixels": lambda good: flipped(good, 700),
    "flipped bit in a length": lambda good: flipped(good, 128),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_is_rebuilt_with_a_notice(
    root: Path, cache: Path, capfd: pytest.CaptureFixture[str], counted: list[Path], damage: str
) -> None:
    put_classes(root, cat=5, dog=5)
    split = data.folder(root)
    (file,) = cache.iterdir()
    good = file.read_bytes()
    file.write_bytes(DAMAGE[damage](good))
    assert same(split, data.folder(root)) and len(counted) == 20
    err = capfd.readouterr().err
    assert str(file) in err and "damaged" in err and err.count("\n") == 1
    assert same(split, data.folder(root)) and capfd.readouterr().err == "" and len(counted) == 20


def test_no_flipped_bit_of_a_cache_changes_an_image(root: Path, cache: Path) -> None:
    for i in range(2):
        put(root / f"{i}.png", noise(i))
    split = data.folder(root)
    (file,) = cache.iterdir()
    good = file.read_bytes()
    for at in range(0, len(good), 13):
        file.write_bytes(flipped(good, at))
        assert same(split, data.folder(root)), at


@pytest.mark.parametrize("obstacle", ["read-only disk", "full disk", "file in the way"])
def test_a_cache_that_cannot_be_written_is_no_error(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], obstacle: str
) -> None:
    put_classes(root, cat=5, dog=5)

    def refused(*args: Any, **kwargs: Any) -> Any:
        number = errno.EROFS if obstacle == "read-only disk" else errno.ENOSPC
        raise OSError(number, os.strerror(number))

    if obstacle == "file in the way":
        cache.parent.write_text("not a folder", encoding="utf-8")
    else:
        monkeypatch.setattr(Path, "mkdir" if obstacle == "read-only disk" else "replace", refused)
    split = data.folder(root)
    assert "cannot cache the images" in capfd.readouterr().err and len(split.train.x) == 8
    assert not cache.exists() or not list(cache.iterdir()), "half a cache was left behind"


def test_results_are_independent_copies(root: Path) -> None:
    put_classes(root, cat=5, dog=5)
    split = data.folder(root)
    data.folder(root).train.x.zero_()
    assert same(split, data.folder(root))


def test_the_command_lines_way(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_classes(root, cat=5, dog=5)
    assert same(data.read_set(f"folder:{root}"), data.folder(root))
    split = data.read_set(f"folder:{root}", size=32, channels=3)
    assert (split.size, split.channels, split.classes) == (32, 3, 2)
    monkeypatch.setenv("HOME", str(root.parent))
    assert same(data.read_set("folder:~/images"), data.folder(root))
    monkeypatch.chdir(root.parent)
    assert same(data.read_set("folder:images"), data.folder(root))
    with pytest.raises(ValueError, match=r"unknown data set 'images'.*folder:images"):
        data.read_set("images")


def test_all_images_of_a_folder_without_a_split(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Copies stay, the order is that of the paths, and what is broken is named."""
    for name, seed in (("b/2.png", 1), ("b/1.png", 2), ("a.png", 1)):
        put(root / name, noise(seed))
    (root / "c.png").write_bytes(b"no picture")
    x = data.read_images(root)
    assert x.dtype == torch.uint8 and x.shape == (3, 1, 16, 16)
    assert [row[0].tolist() for row in x] == [noise(seed).tolist() for seed in (1, 2, 1)]
    assert "c.png" in capsys.readouterr().err
    (root / "empty").mkdir()
    (root / "empty/broken.png").write_bytes(b"x")
    with pytest.raises(ValueError, match="holds no image that can be read"):
        data.read_images(root / "empty")
