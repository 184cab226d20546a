"""Image files to arrays: one way for every kind of file."""

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

SMALLEST, LARGEST = 16, 256  # sides of the images that come out
MOST_PIXELS = 2**26  # of a file: 8,192 × 8,192; more is refused before it is decoded
# What other formats of Pillow are, a PostScript program for one, does not belong among images.
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "AVIF", "JPEG2000", "GIF", "BMP", "TIFF", "PPM", "TGA", "ICO")


class Decoded(NamedTuple):
    """A file's size in pixels, and its pixels uint8 (s, s) if it is grey, else (s, s, 3); None if they do not fit."""

    width: int
    height: int
    pixels: np.ndarray | None


def decode_all(paths: Sequence[Path], size: int | None, channels: int | None, crop: bool) -> list[Decoded | str]:
    """Every file decoded, or the reason why it cannot be, in words."""
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]  # some builds of Pillow lack AVIF or WebP

    def one(path: Path) -> Decoded | str:
        try:
            return _decode(path, formats, size, channels, crop)
        except UnidentifiedImageError:
            return "no image that can be read"
        except Exception as error:  # a broken file raises whatever its decoder stumbles over
            return (str(error) or type(error).__name__).splitlines()[0]

    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        warnings.simplefilter("ignore")  # of odd metadata; the size is limited below
        return list(pool.map(one, paths))


def _decode(path: Path, formats: list[str], size: int | None, channels: int | None, crop: bool) -> Decoded:
    with Image.open(path, formats=formats) as file:
        if file.width * file.height > MOST_PIXELS:
            raise ValueError(f"{file.width} × {file.height} pixels are more than {MOST_PIXELS:,}")
        image = _plain(ImageOps.exif_transpose(file))  # upright, as viewers show it
    if channels == 1:
        image = image.convert("L")  # luma: 0.299 R + 0.587 G + 0.114 B
    width, height = image.size
    side = min(width, height)
    if (width != height and not crop) or (size is None and (width != height or not SMALLEST <= side <= LARGEST)):
        return Decoded(width, height, None)
    if size is not None:
        left, top = (width - side) // 2, (height - side) // 2
        square = image.crop((left, top, left + side, top + side))
        image = square.resize((size, size), Image.Resampling.LANCZOS)
    pixels = np.array(image)
    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():  # grey, whatever the file calls it
        pixels = pixels[..., 0].copy()
    return Decoded(width, height, pixels)


def _plain(image: Image.Image) -> Image.Image:
    """The image as L or RGB, 8 bits; what is transparent shows a white ground."""
    if image.mode.startswith("I"):
        return _eight_bits(image)
    if image.mode == "F":
        raise ValueError("pixels are floating-point numbers; save them with 8 or 16 bits")
    if image.mode in ("La", "RGBa"):  # alpha is multiplied in already
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    if image.mode.endswith("A") or "transparency" in image.info:
        colours = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), colours).convert("RGB")
    return image if image.mode in ("L", "RGB") else image.convert("L" if image.mode == "1" else "RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey: 0 to 65535 -> 0 to 255, rounded."""
    levels = np.array(image).astype(np.int64)
    if levels.min() < 0 or levels.max() > 65535:
        raise ValueError(f"pixels range from {levels.min()} to {levels.max()}; save them with 8 or 16 bits")
    grey = ((levels + 128) // 257).astype(np.uint8)
    if isinstance(image.info.get("transparency"), int):
        grey[levels == image.info["transparency"]] = 255
    return Image.fromarray(grey)
