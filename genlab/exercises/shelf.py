"""Where exercises are found: `genlab.exercises.ch05` holds those of chapter 05, in the list EXERCISES."""

import importlib
import pkgutil
from functools import cache

from genlab import exercises
from genlab.exercises.engine import Exercise


@cache
def chapters() -> tuple[str, ...]:
    """The chapters that have exercises: "00", "05", … and then the appendix, "A1"."""
    return tuple(sorted(m.name[2:].upper() for m in pkgutil.iter_modules(exercises.__path__) if m.name[:2] == "ch"))


@cache
def of(chapter: str) -> tuple[Exercise, ...]:
    """The exercises of a chapter.

    Raises:
        ValueError: the chapter has none; the message lists those that have.
    """
    if chapter not in chapters():
        raise ValueError(f"chapter {chapter!r} has no exercises; these have: {', '.join(chapters())}")
    return tuple(importlib.import_module(f"genlab.exercises.ch{chapter.lower()}").EXERCISES)


def every() -> tuple[Exercise, ...]:
    """All exercises of the course, in order."""
    return tuple(exercise for chapter in chapters() for exercise in of(chapter))


def find(number: str) -> Exercise:
    """An exercise by its number.

    Raises:
        ValueError: there is none; the message lists those of the chapter.
    """
    chapter = str(number).split(".")[0]
    known = {exercise.number: exercise for exercise in of(chapter)}
    if number not in known:
        raise ValueError(f"there is no exercise {number!r}; chapter {chapter} has {', '.join(known)}")
    return known[number]
