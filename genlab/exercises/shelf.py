"""Where exercises are found: exercise 05.2 is EXERCISE in the file `genlab/exercises/ch05/e02_….py`.

A number is known by the file's name, so that finding one exercise, or counting all, imports no other.
"""

import importlib
import pkgutil
import re
from functools import cache
from pathlib import Path

from genlab.exercises import session
from genlab.exercises.engine import Exercise

HOME = Path(__file__).parent
FOLDER = re.compile(r"ch(\d\d|[a-z]\d)")
FILE = re.compile(r"e(\d\d)_\w+")
TYPED = re.compile(r"\s*(?:0?(\d)|(\d\d)|([A-Za-z]\d))(?:\.(\d+))?\s*")


@cache
def _modules() -> dict[str, dict[str, str]]:
    """The modules of the exercises by chapter and number, in order: {"00": {"00.1": "genlab.exercises.ch00.e01_…"}}."""
    found: dict[str, dict[str, str]] = {}
    for chapter in sorted(m.name for m in pkgutil.iter_modules([str(HOME)]) if FOLDER.fullmatch(m.name)):
        paths = [HOME / chapter / f"{m.name}.py" for m in pkgutil.iter_modules([str(HOME / chapter)])]
        named = {number: path.stem for path in sorted(paths) if (number := number_of(path))}
        found[chapter[2:].upper()] = {n: f"{__package__}.{chapter}.{stem}" for n, stem in named.items()}
    return found


def number_of(path: Path) -> str | None:
    """The number that the name of a file and its folder say, or None: ch05/e02_….py is "05.2"."""
    chapter, place = FOLDER.fullmatch(path.absolute().parent.name), FILE.fullmatch(path.stem)
    return f"{chapter[1].upper()}.{int(place[1])}" if chapter and place else None


@cache
def chapters() -> tuple[str, ...]:
    """The chapters that have exercises: "00", "05", … and then the appendix, "A1"."""
    return tuple(_modules())


def written(typed: object) -> str:
    """A number as the course writes it: "05.1" for 5.1, "5.1" and " 05.1 "; "A1.3" for "a1.3"; "05" for 5.

    Raises:
        ValueError: it does not look like a number, or it is a float that may stand for two.
    """
    match = TYPED.fullmatch(str(typed))
    if not match:
        raise ValueError(f"{typed!r} is no number of an exercise or chapter; write it like 05.2, A1.3 or 05")
    digit, digits, letter, place = match.groups()
    chapter = f"0{digit}" if digit else digits or letter.upper()
    if place is None:
        return chapter
    found, tenth = f"{chapter}.{int(place)}", f"{chapter}.{int(place)}0"
    if isinstance(typed, float) and tenth in _modules().get(chapter, {}):
        raise ValueError(f"{typed!r} may be {found} or {tenth}; write the number in quotes")
    return found


def numbers(chapter: object) -> tuple[str, ...]:
    """The numbers of a chapter's exercises, in order, without importing them.

    Raises:
        ValueError: the chapter has none; the message lists those that have.
    """
    found = written(chapter)
    if found not in chapters():
        raise ValueError(f"chapter {found!r} has no exercises; these have: {', '.join(chapters())}")
    return tuple(_modules()[found])


def of(chapter: object) -> tuple[Exercise, ...]:
    """The exercises of a chapter.

    Raises:
        ValueError: the chapter has none; the message lists those that have.
    """
    return tuple(_load(number) for number in numbers(chapter))


def every() -> tuple[Exercise, ...]:
    """All exercises of the course, in order."""
    return tuple(exercise for chapter in chapters() for exercise in of(chapter))


def find(number: object) -> Exercise:
    """An exercise by its number, as people type it.

    Raises:
        ValueError: there is none; the message lists those of the chapter.
    """
    return _load(_known(number))


def file(number: object) -> Path:
    """The file of an exercise.

    Raises:
        ValueError: there is none; the message lists those of the chapter.
    """
    known = _known(number)
    *_, chapter, stem = _modules()[known.split(".")[0]][known].split(".")
    return HOME / chapter / f"{stem}.py"


def _known(number: object) -> str:
    found = written(number)
    chapter = found.split(".")[0]
    if found not in (known := numbers(chapter)):
        raise ValueError(f"there is no exercise {found!r}; chapter {chapter} has {', '.join(known)}")
    return found


@cache
def _load(number: str) -> Exercise:
    with session.kept():  # constants of its file get torch's own precision and device, whatever the reader has set
        return importlib.import_module(_modules()[number.split(".")[0]][number]).EXERCISE
