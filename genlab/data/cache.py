"""Where data sets are kept on this machine."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from genlab.text import notice


def home() -> Path:
    """Folder of caches and downloads: `GENLAB_DATA`, or `genlab` in the user's cache folder. Empty means unset.

    Raises:
        ValueError: nothing says where; set GENLAB_DATA.
    """
    try:
        if chosen := os.environ.get("GENLAB_DATA"):
            return Path(chosen).expanduser()
        if caches := os.environ.get("XDG_CACHE_HOME"):
            return Path(caches) / "genlab"
        return Path.home() / ".cache" / "genlab"
    except RuntimeError as error:  # the user has no home
        raise ValueError(f"no folder for data is known ({error}); set GENLAB_DATA to one") from error


def write_cache(cache: Path, write: Callable[[BinaryIO], object], what: str) -> None:
    """Write under another name, then rename, so that a reader never meets half a file. A read-only disk is no error."""
    partial = cache.with_name(f"{cache.name}.{os.urandom(4).hex()}")
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            write(file)
        partial.replace(cache)
    except OSError as error:
        notice(f"cannot cache {what} in {cache.parent} ({error.strerror or error}); they are read anew each time")
        with suppress(OSError):
            partial.unlink()
