"""Exercise 01.2: Holes."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch
from scipy import ndimage

from genlab.exercises import Exercise, Wrong


def count_holes(ink):
    """Number of holes in a picture: ink (h, w), bool, is True where there is ink."""
    _, regions = ndimage.label(np.pad(~ink, 1, constant_values=True))
    return regions - 1


def _holes_by_flooding(ink):
    h, w = ink.shape
    free = {(r, c) for r in range(-1, h + 1) for c in range(-1, w + 1)}
    free -= {(r, c) for r in range(h) for c in range(w) if ink[r, c]}
    holes = -1
    while free:
        holes += 1
        stack = [free.pop()]
        while stack:
            r, c = stack.pop()
            for place in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)):
                if place in free:
                    free.remove(place)
                    stack.append(place)
    return holes


def _holes_by_filling(ink):
    return ndimage.label(ndimage.binary_fill_holes(ink) & ~ink)[1]


def _holes_by_border(ink):
    regions, count = ndimage.label(~ink)
    outside = {*regions[0], *regions[-1], *regions[:, 0], *regions[:, -1]} - {0}
    return count - len(outside)


def _picture(*rows):
    return np.array([[mark == "#" for mark in row] for row in rows])


def _draw(g):
    h, wider = int(torch.randint(7, 11, (), generator=g)), int(torch.randint(1, 5, (), generator=g))
    return ((torch.rand(h, h + wider, generator=g) < 0.6).numpy(),)


_RING = ("####", "#..#", "#..#", "####")

EXERCISE = Exercise(
    number="01.2",
    title="Holes",
    difficulty=1,
    minutes=8,
    task=r"""
Count the holes of a picture: the regions of background that water from outside cannot reach. `ink` is a bool array
`(h, w)`. Water passes between neighbouring pixels that share a side, not a corner. Ink may touch the border, and then the
background outside may fall into several pieces: they are no holes. An empty picture has none.""",
    inputs=_draw,
    solution=count_holes,
    explanation=r"""
A frame of one empty pixel around the picture joins all outside background into one region. `ndimage.label` then counts the
regions of the background, and the outside is one of them. Its default neighbourhood is the four sides. With corners as well,
water would leak diagonally through a closed stroke.""",
    hints=(
        "`ndimage.label(a)` returns the numbered regions of True pixels and how many there are. Which pixels must be True?",
        "Label the background, `~ink`. One of its regions is the outside. Is it always exactly one?",
        "`np.pad(~ink, 1, constant_values=True)` makes it one: label that, and subtract 1.",
    ),
    wrong=(
        Wrong(
            "the outside counts as a hole",
            "The outside is counted as a hole: a blank picture gives 1. Subtract it.",
            lambda ink: count_holes(ink) + 1,
        ),
        Wrong(
            "no frame",
            "Where ink touches the border, the outside falls into several pieces, and here each but one counts as a "
            "hole. Pad the picture with one empty pixel first; in ~ink empty is True: constant_values=True.",
            lambda ink: ndimage.label(~ink)[1] - 1,
        ),
        Wrong(
            "pieces of ink",
            "This counts the pieces of ink. Holes are regions of the background: label ~ink.",
            lambda ink: ndimage.label(ink)[1],
        ),
        Wrong(
            "water through corners",
            "Water leaks through corners here: with 8 neighbours a diagonal stroke no longer closes. "
            "Use the four neighbours that share a side, label's default.",
            lambda ink: ndimage.label(np.pad(~ink, 1, constant_values=True), np.ones((3, 3)))[1] - 1,
        ),
    ),
    right=(_holes_by_flooding, _holes_by_filling, _holes_by_border),
    probes={
        "a ring that touches the border": lambda f: f(_picture(*_RING)),
        "an eight": lambda f: f(_picture("###", "#.#", "###", "#.#", "###")),
        "a cross that divides the outside in four": lambda f: f(_picture("..#..", "..#..", "#####", "..#..", "..#..")),
        "a diamond closed only at its corners": lambda f: f(_picture(".#.", "#.#", ".#.")),
        "a ring in a ring": lambda f: f(_picture("#####", "#...#", "#.#.#", "#...#", "#####")),
        "an arch that stands on the lower border": lambda f: f(_picture("###", "#.#", "#.#")),
        "a cup that hangs from the upper border": lambda f: f(_picture("#.#", "#.#", "###")),
        "an empty picture": lambda f: f(np.zeros((4, 5), dtype=bool)),
        "a picture full of ink": lambda f: f(np.ones((3, 2), dtype=bool)),
        "a picture of one row": lambda f: f(_picture("#.#")),
    },
)
