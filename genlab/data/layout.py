"""What the arrangement of a folder's files says: classes, and halves that somebody made before."""

from pathlib import Path
from typing import NamedTuple

TRAIN = ("train", "training")
TEST = ("test", "testing", "val", "valid", "validation")  # the first that is there


class File(NamedTuple):
    """A file: its path below the folder, in parts and as shown, where it lies, and the hash of its content."""

    parts: tuple[str, ...]
    name: str
    path: Path
    key: str


class Arranged(NamedTuple):
    """The files in use, the names of their classes, their labels or None, and who tests, or None if it is open."""

    files: list[File]
    names: tuple[str, ...]
    y: list[int] | None
    test: list[bool] | None


def arrange(
    root: Path, good: list[File], broken: list[File], labels: bool, left_out: list[tuple[str, str]]
) -> Arranged:
    """Read classes and halves from the paths; what has no place is added to `left_out`.

    Raises:
        ValueError: most images lie beside the classes' folders, or a class is in the test half alone.
    """
    while len({file.parts[0] for file in good}) == 1 and len(good[0].parts) > 1:
        good, broken = _inside(good, good[0].parts[0]), _inside(broken, good[0].parts[0])  # a wrapper, as zips have
    halves = _ready_made(good)
    if halves is None:
        files = _classified(root, good, labels, left_out)
        names = _names(files) if labels else ()
        test = None
    else:
        train, test_name = halves
        rest = [file for file in good if file.parts[0] not in halves]
        left_out += [(file.name, f"{train} and {test_name} are the two halves") for file in rest]
        parts = [_classified(root, _inside(good, half), labels, left_out) for half in halves]
        broken = [file for half in halves for file in _inside(broken, half)]
        names = _names(parts[0]) if labels else ()
        _check_alike(root, halves, parts, names)
        files = parts[0] + parts[1]
        test = [False] * len(parts[0]) + [True] * len(parts[1])
    lost = {file.parts[0] for file in broken if len(file.parts) > 1} - set(names) if names else set()
    left_out[:0] = [(f"{name}/", "no readable image, so no class") for name in sorted(lost)]
    y = [names.index(file.parts[0]) for file in files] if names else None
    return Arranged(files, names, y, test)


def _inside(files: list[File], name: str) -> list[File]:
    """The files of a subfolder, as seen from there."""
    return [file._replace(parts=file.parts[1:]) for file in files if file.parts[0] == name and len(file.parts) > 1]


def _ready_made(files: list[File]) -> tuple[str, str] | None:
    """Names of the two folders of a ready-made split, if there is nothing beside them."""
    by_name = {file.parts[0].lower(): file.parts[0] for file in files}
    train = [name for name in TRAIN if name in by_name]
    test = [name for name in TEST if name in by_name]
    plain = any(len(file.parts) == 1 for file in files)
    if plain or len(train) != 1 or not test or set(by_name) - {*TRAIN, *TEST}:
        return None
    return by_name[train[0]], by_name[test[0]]


def _names(files: list[File]) -> tuple[str, ...]:
    """The classes: subfolders, if there are two or more."""
    found = {file.parts[0] for file in files if len(file.parts) > 1}
    return tuple(sorted(found)) if len(found) > 1 else ()


def _classified(root: Path, files: list[File], labels: bool, left_out: list[tuple[str, str]]) -> list[File]:
    """The files without those that lie beside the classes' folders."""
    if not labels or not (names := _names(files)):
        return files
    inside, loose = ([file for file in files if (len(file.parts) > 1) == deep] for deep in (True, False))
    if len(loose) > len(inside):
        raise ValueError(
            f"in {root} {len(loose)} images lie beside the {len(names)} folders that would be classes, with "
            f"{len(inside)} images; move them into folders, or take all as one set without labels: labels=False"
        )
    left_out += [(file.name, "beside the folders of the classes") for file in loose]
    return inside


def _check_alike(root: Path, halves: tuple[str, str], parts: list[list[File]], names: tuple[str, ...]) -> None:
    """Raise a ValueError unless the classes of the test half are among those of the training half."""
    tested = {file.parts[0] if len(file.parts) > 1 else "" for file in parts[1]}
    if names and (strange := sorted(tested - set(names))):
        what = (
            f"class {strange[0]!r} of {halves[1]} is not in {halves[0]}"
            if strange[0]
            else f"{halves[1]} has no classes"
        )
        raise ValueError(f"in {root} {what}; give both halves the same classes, or leave them out: labels=False")
    if not names and len(_names(parts[1])) > 1:
        raise ValueError(f"in {root} {halves[1]} has classes and {halves[0]} has none; give both the same folders")
