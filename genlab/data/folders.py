"""A folder of one's own images as a data set."""

import hashlib
import json
import os
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from genlab.data.cache import home, write_cache
from genlab.data.decode import LARGEST, SMALLEST, Decoded, decode_all
from genlab.data.images import Split
from genlab.data.layout import File, arrange
from genlab.data.split import alike, check_share, choose_test, halves
from genlab.text import notice

MOST_BYTES = 2**28  # a larger file is no image of a data set
JUNK = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "icon\r"}
VERSION = 1  # of what a cache means; counts up when the same file comes to give other pixels


def folder(
    path: str | Path,
    *,
    size: int | None = None,
    channels: int | None = None,
    labels: bool = True,
    crop: bool = True,
    test_share: float = 0.2,
    seed: int = 0,
) -> Split:
    """The images of a folder: PNG, JPEG, WebP, and other kinds that Pillow reads.

    Classes are the folder's subfolders, in the order of their names' code points, if there are two or more; deeper
    folders belong to the class above them. Subfolders `train` and `test` (or `val`) are a ready-made split, with
    classes below. Otherwise seed and content of the files choose the test half, class by class. Equal images never
    stand on both sides.

    Images are turned upright (EXIF), laid on white where they are transparent, cropped to the central square, and
    resized by a Lanczos filter; 16-bit grey is rounded to 8 bits; of animations the first frame is taken; colour
    profiles are not applied. They are decoded once, into a cache in `home()` that is keyed by the content of the
    files, and can be deleted at any time. Broken and odd files are left out and named on stderr; hidden files are not
    looked at, nor links to folders within the folder.

    Args:
        path: the folder.
        size: side in pixels, 16 to 256; by default that of the images, if they share one.
        channels: 1 for grey, 3 for colour; by default 1 if every image is grey.
        labels: take subfolders for classes; if not, all images below the folder are one set without labels.
        crop: cut images to squares; if not, an image that is not square is an error.
        test_share: of each class that is kept for testing, unless the split is ready-made.
        seed: of the split.

    Raises:
        ValueError: no folder, no readable image, different sizes and no `size`, a class of one image.
    """
    root = _checked(path, size, channels)
    check_share(test_share)
    left_out: list[tuple[str, str]] = []
    files = _scan(root, left_out)
    x, rows, broken = _pixels(root, files, size, channels, crop)
    left_out += [(file.name, broken[file.key]) for file in files if file.key in broken]
    good = [file for file in files if file.key in rows]
    if not good:
        _tell(root, left_out)
        raise ValueError(f"{root} holds no image that can be read; it needs PNG, JPEG or WebP files")
    try:
        found = arrange(root, good, [file for file in files if file.key in broken], labels, left_out)
        x = x[[rows[file.key] for file in found.files]]
        groups, keys = alike(x), [file.key for file in found.files]
        y = None if found.y is None else torch.tensor(found.y)
        _tell_contradictions(root, found.files, groups, y)
        if found.test is None:
            test = choose_test(y, groups, keys, test_share=test_share, seed=seed, names=found.names)
            train = sorted(set(range(len(x))) - set(test))
        else:
            train, test = _apart(root, found.files, found.test, groups, y, found.names, left_out)
    finally:
        _tell(root, left_out)
    return halves(x, y, test, train, keys, seed=seed, names=found.names)


def read_images(path: str | Path, *, size: int | None = None, channels: int | None = None, crop: bool = True) -> Tensor:
    """All images below a folder, copies too, as uint8 (n, c, size, size) in the order of their paths: no split.

    They are decoded as `folder` does it, from the same cache.

    Raises:
        ValueError: no folder, no readable image, different sizes and no `size`.
    """
    root = _checked(path, size, channels)
    left_out: list[tuple[str, str]] = []
    files = _scan(root, left_out)
    x, rows, broken = _pixels(root, files, size, channels, crop)
    _tell(root, left_out + [(file.name, broken[file.key]) for file in files if file.key in broken])
    if not rows:
        raise ValueError(f"{root} holds no image that can be read; it needs PNG, JPEG or WebP files")
    return x[[rows[file.key] for file in files if file.key in rows]]


def _checked(path: str | Path, size: int | None, channels: int | None) -> Path:
    if size is not None and not SMALLEST <= size <= LARGEST:
        raise ValueError(f"size={size} must lie between {SMALLEST} and {LARGEST} pixels")
    if channels not in (None, 1, 3):
        raise ValueError(f"channels={channels} must be 1 for grey or 3 for colour")
    root = Path(path).expanduser()
    if not root.is_dir():
        hint = "unpack it, and name the folder" if root.is_file() else f"the path is taken from {Path.cwd()}"
        raise ValueError(f"{root} is no folder; {hint}")
    return root


def _scan(root: Path, left_out: list[tuple[str, str]]) -> list[File]:
    """The regular files below root, sorted by code points, with the hashes of their contents."""
    real_root = Path(os.path.realpath(root))
    files = []
    todo: list[tuple[Path, tuple[str, ...], frozenset[Path]]] = [(root, (), frozenset([real_root]))]
    while todo:
        here, parts, above = todo.pop()
        try:
            entries = list(os.scandir(here))
        except OSError as error:
            left_out.append(("/".join(parts) or str(root), error.strerror or str(error)))
            continue
        for entry in entries:
            name = unicodedata.normalize("NFC", entry.name)  # macOS stores the accents of a name apart
            if name.startswith(".") or name.lower() in JUNK:
                continue
            below = (*parts, name)
            if not os.path.isdir(entry.path):
                reason, key = _hash(Path(entry.path))
                if reason:
                    left_out.append(("/".join(below), reason))
                else:
                    files.append(File(below, "/".join(below), Path(entry.path), key))
                continue
            real = Path(os.path.realpath(entry.path))
            inside = entry.is_symlink() and (real.is_relative_to(real_root) or real_root.is_relative_to(real))
            if inside or real in above:
                left_out.append(("/".join(below), "a link into the folder itself, not followed"))
            else:
                todo.append((Path(entry.path), below, above | {real}))
    return sorted(files)


def _hash(path: Path) -> tuple[str, str]:
    """(reason to leave the file out, SHA-256 of its content)."""
    try:
        if not os.path.isfile(path):  # reading a pipe would wait for ever
            return "a broken link" if path.is_symlink() else "no regular file", ""
        if path.stat().st_size > MOST_BYTES:
            return f"larger than {MOST_BYTES >> 20} MiB", ""
        return "", hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return error.strerror or str(error), ""


# -------------------------------------------------------------------------------------------------- pixels and cache


class _Pixels(NamedTuple):
    x: Tensor
    rows: dict[str, int]  # of x, by content
    broken: dict[str, str]  # the reason, by content


def _pixels(root: Path, files: list[File], size: int | None, channels: int | None, crop: bool) -> _Pixels:
    """The pixels of all files that can be decoded, from the cache if it is of just these contents."""
    paths = {file.key: file for file in files}
    keys = sorted(paths)
    wanted = json.dumps([VERSION, size, channels, crop, keys])
    cache = home() / "folders" / f"{hashlib.sha256(wanted.encode()).hexdigest()[:32]}.npz"
    if (known := _read_cache(cache)) is not None:
        return known
    if len(keys) > 1000:
        notice(f"decoding the {len(keys):,} files of {root}, once")
    found = dict(zip(keys, decode_all([paths[key].path for key in keys], size, channels, crop), strict=True))
    broken = {key: one for key, one in found.items() if isinstance(one, str)}
    good = {key: one for key, one in found.items() if isinstance(one, Decoded)}
    if not good:
        return _Pixels(torch.empty(0), {}, broken)
    _check_sizes(root, [(paths[key].name, one) for key, one in good.items()], size)
    x = _stacked([one.pixels for one in good.values() if one.pixels is not None], channels)
    names = {"keys": list(good), "broken": list(broken), "reasons": list(broken.values())}
    texts: dict[str, Any] = {name: np.array(values, np.str_) for name, values in names.items()}
    write_cache(cache, lambda file: np.savez(file, x=x, **texts), f"the images of {root}")
    return _Pixels(torch.from_numpy(x), {key: i for i, key in enumerate(good)}, broken)


def _read_cache(cache: Path) -> _Pixels | None:
    try:
        # A zip file: its checksums are compared as it is read. NumPy leaves what it cannot read open, if it opens it.
        with cache.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            x, keys, broken, reasons = (stored[name] for name in ("x", "keys", "broken", "reasons"))
        rows = {str(key): i for i, key in enumerate(keys)}
        return _Pixels(torch.from_numpy(x), rows, dict(zip(map(str, broken), map(str, reasons), strict=True)))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Exception:  # damage shows as any of a dozen errors
        notice(f"the cached images in {cache} are damaged or unreadable, and are rebuilt")
        return None


def _check_sizes(root: Path, images: list[tuple[str, Decoded]], size: int | None) -> None:
    if size is not None and (odd := [(name, one) for name, one in images if one.pixels is None]):
        listed = ", ".join(f"{name} {one.width} × {one.height}" for name, one in odd[:5])
        raise ValueError(f"{len(odd)} images in {root} are not square ({listed}); crop them, or allow it: crop=True")
    sizes = Counter((one.width, one.height) for _, one in images)
    if size is None and (len(sizes) > 1 or images[0][1].pixels is None):
        listed = ", ".join(f"{w} × {h}: {n}" for (w, h), n in sizes.most_common(8)) + ", …" * (len(sizes) > 8)
        raise ValueError(
            f"the images in {root} are not all squares of one size from {SMALLEST} to {LARGEST} pixels "
            f"(width × height: images: {listed}); say to which size they are brought, for example size=64 (--size 64)"
        )


def _stacked(images: list[np.ndarray], channels: int | None) -> np.ndarray:
    """(n, c, s, s), grey if every image is."""
    channels = channels or (1 if all(image.ndim == 2 for image in images) else 3)
    side = len(images[0])
    x = np.empty((len(images), channels, side, side), np.uint8)
    for row, image in zip(x, images, strict=True):
        row[:] = image if image.ndim == 2 else image.transpose(2, 0, 1)
    return x


# ----------------------------------------------------------------------------------------------- halves and notices


def _apart(
    root: Path,
    files: list[File],
    is_test: list[bool],
    groups: list[list[int]],
    y: Tensor | None,
    names: tuple[str, ...],
    left_out: list[tuple[str, str]],
) -> tuple[list[int], list[int]]:
    """(train, test) of a ready-made split: what also stands in the test half leaves the training half."""
    tested = {i for group in groups if any(is_test[i] for i in group) for i in group}
    left_out += [(files[i].name, "the same image stands in the test half") for i in sorted(tested) if not is_test[i]]
    train, test = [i for i in range(len(files)) if i not in tested], [i for i in range(len(files)) if is_test[i]]
    missing = [] if y is None else sorted(set(range(len(names))) - set(y[train].tolist()))
    if not train or missing:
        what = f"class {names[missing[0]]!r} has" if missing else "there is"
        raise ValueError(f"in the training half of {root} {what} no image that is not in the test half too; add some")
    return train, test


def _tell_contradictions(root: Path, files: list[File], groups: list[list[int]], y: Tensor | None) -> None:
    torn = [] if y is None else [group for group in groups if len({int(y[i]) for i in group}) > 1]
    if torn:
        example = " and ".join(files[i].name for i in torn[0][:3])
        notice(f"{len(torn)} images in {root} stand in more than one class, for example {example}")


def _tell(root: Path, left_out: list[tuple[str, str]]) -> None:
    if left_out:
        listed = [f"  {name}: {reason}" for name, reason in left_out[:10]]
        more = [f"  and {len(left_out) - 10} more"] * (len(left_out) > 10)
        count = "1 file" if len(left_out) == 1 else f"{len(left_out)} files"
        notice("\n".join([f"left out {count} in {root}:", *listed, *more]))
