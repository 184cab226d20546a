"""Exercise 15.5: Blind, however deep."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def blind(w, row, column, a, b):
    """Pixels of the past that a stack never sees, and layers until it sees the rest.

    Width, place of the logit, reach of a kernel up and to the sides -> two numbers.
    """
    right = w - 1 - column
    never = sum(max(0, right - up * b) for up in range(1, row + 1))
    reach = math.ceil(row / a), math.ceil(column / b), min(row, math.ceil(right / b))
    return never, max(1, *reach)


def _fields(w, row, column, a, b):
    """What the logit sees with 1, 2, … layers: tables (row + 1, w), without end."""
    kernel = torch.zeros(1, 1, 2 * a + 1, 2 * b + 1).double()
    kernel[..., :a, :] = 1
    kernel[..., a, :b] = 1
    found = torch.zeros(1, 1, row + 1, w).double()
    found[..., row, column] = 1
    while True:
        # the next layer's mask A, and then mask B in place of it
        yield _step(found, kernel, (a, b))[0, 0] > 0
        both = kernel.clone()
        both[..., a, b] = 1
        found = _step(found, both, (a, b))


def _step(found, kernel, padding):
    return (torch.nn.functional.conv_transpose2d(found, kernel, padding=padding) > 0).double()


def _by_convolution(w, row, column, a, b):
    fields = _fields(w, row, column, a, b)
    seen = [next(fields) for _ in range(row + w + 1)]
    layers = next(i for i, field in enumerate(seen, 1) if bool((field == seen[-1]).all()))
    return row * w + column - int(seen[-1].sum()), layers


def _by_steps(w, row, column, a, b):
    # breadth first, from the logit down; a first step that goes nowhere is none
    depth = {(row, column): 0}
    edge = [(row, column)]
    while edge:
        new = []
        for i, j in edge:
            for up in range(a + 1):
                for side in range(-b, b + 1 if up else 0):
                    place = i - up, j + side
                    if place[0] >= 0 and 0 <= place[1] < w and place not in depth:
                        depth[place] = depth[i, j] + 1
                        new.append(place)
        edge = new
    return row * w + column - len(depth) + 1, max(1, *depth.values())


def _by_numpy(w, row, column, a, b):
    up = row - np.arange(row + 1)[:, None]
    side = np.arange(w) - column
    past = (up > 0) | (side < 0)
    never = past & (side > up * b)
    needed = np.maximum(np.ceil(up / a), np.ceil(np.abs(side) / b))
    return never.sum(), max(1, int(needed[past & ~never].max(initial=1)))


def _by_triangle(w, row, column, a, b):
    # full rows of the triangle, counted by Gauss's sum
    right = torch.tensor(w - 1 - column)
    rows = min(row, int(right // b))
    deep = [-(-row // a), -(-column // b), min(row, -(-int(right) // b)), 1]
    return rows * right - b * rows * (rows + 1) // 2, torch.tensor(deep).max()


def _reach(w, row, column, a, b):
    return math.ceil(row / a), math.ceil(column / b), min(row, math.ceil((w - 1 - column) / b))


def _never(rule):
    """The right layers beside another count."""

    def wrong(w, row, column, a, b):
        places = [(up, side) for up in range(row + 1) for side in range(1, w - column)]
        count = sum(rule(up, side, a, b) for up, side in places if up)
        return count, blind(w, row, column, a, b)[1]

    return wrong


def _layers(rule):
    """The right count beside other layers."""
    return lambda w, row, column, a, b: (blind(w, row, column, a, b)[0], rule(w, row, column, a, b))


def _own_row(w, row, column, a, b):
    never, layers = blind(w, row, column, a, b)
    return never + w - 1 - column, layers


def _seen(w, row, column, a, b):
    never, layers = blind(w, row, column, a, b)
    return row * w + column - never, layers


def _place(g):
    w, row = (int(torch.randint(low, high, (), generator=g)) for low, high in ((8, 20), (4, 14)))
    column = int(torch.randint(w // 2, (), generator=g))
    a, b = (int(torch.randint(1, 4, (), generator=g)) for _ in range(2))
    return w, row, column, a, b


EXERCISE = Exercise(
    number="15.5",
    title="Blind, however deep",
    difficulty=2,
    minutes=20,
    task=r"""
One stack of masked convolutions, mask A first and then mask B, on an image of width $w$. Its kernels reach `a` $\ge 1$
rows up and `b` $\ge 1$ columns to each side: $(2a + 1) \times (2b + 1)$, not always square. Zero padding keeps the image's
size, no weight that stays is 0, and nothing cancels. Look at the logit at (`row`, `column`), counted from 0 at
the top left. The past are all pixels of the rows above, and those to the left in its own row. Return a pair of whole
numbers: how many pixels of the past it *never* sees, however many layers there are; and the least number of layers,
at least 1, with which it sees all the others. With $w = 15$, `row` 14, `column` 7 and $a = b = 1$ these are 21 and 14.""",
    inputs=_place,
    solution=blind,
    explanation=r"""
A layer may go right only while it goes up, by at most $b$ columns. Who needs many columns to the right takes them in many
small steps, one row each: so $u$ rows above all columns up to $u b$ to the right are seen, and what is beyond never. The
height of the kernel does not matter for that. It matters for the layers: a step goes up and sideways at once, so a
pixel $u$ rows up and $s$ columns aside needs $\max(\lceil u/a \rceil, \lceil |s|/b \rceil)$ of them, and the farthest seen
ones are the upper corners and the edge of the wedge. The layer with mask A costs nothing: it merely must not stand still.""",
    hints=(
        "How far to the right can a path be when it has gone up by u rows? By how many steps is that reached?",
        "In the row u above, what lies more than u · b to the right is lost. For the layers, take the farthest pixels seen.",
        "Left: ⌈column/b⌉; up: ⌈row/a⌉; right: ⌈(w − 1 − column)/b⌉, but at most `row`. The largest of these, and 1.",
    ),
    wrong=(
        Wrong(
            "the slope of one kernel",
            "The wedge has the slope b/a here, as if each step went up by all a rows. Small steps go further to the right.",
            _never(lambda up, side, a, b: side > math.ceil(up / a) * b),
        ),
        Wrong(
            "the slope of one kernel, not rounded",
            "The wedge is taken to be a straight line of slope b/a. A path may go up by one row a step.",
            _never(lambda up, side, a, b: side * a > up * b),
        ),
        Wrong(
            "always 45 degrees",
            "The wedge widens by one column a row here. That is right for b = 1 alone.",
            _never(lambda up, side, a, b: side > up),
        ),
        Wrong(
            "all to the right",
            "Everything to the right above counts as unseen. A path that goes up may go right with it.",
            _never(lambda up, side, a, b: True),
        ),
        Wrong(
            "no blind spot",
            "This says that nothing is lost. To the right a path comes only while it goes up.",
            _never(lambda up, side, a, b: False),
        ),
        Wrong(
            "the edge of the wedge",
            "The pixels exactly u · b to the right are counted as unseen. They are reached.",
            _never(lambda up, side, a, b: side >= up * b),
        ),
        Wrong(
            "whole kernels",
            "A step goes right by the kernel's whole width here. It is b columns from the centre to the side.",
            _never(lambda up, side, a, b: side > up * (2 * b + 1)),
        ),
        Wrong(
            "its own row",
            "Pixels to the right in its own row are counted. They are not of the past.",
            _own_row,
        ),
        Wrong(
            "what is seen",
            "The first number counts the pixels of the past that are seen.",
            _seen,
        ),
        Wrong(
            "up, and then aside",
            "The layers for rows and for columns are added up. A step goes up and aside at once.",
            _layers(lambda w, row, column, a, b: max(1, math.ceil(row / a) + math.ceil(column / b))),
        ),
        Wrong(
            "layers for the rows alone",
            "These layers reach the top row. Columns at the sides may need more.",
            _layers(lambda w, row, column, a, b: max(1, math.ceil(row / a))),
        ),
        Wrong(
            "the right side forgotten",
            "The layers do not suffice for the pixels that are seen on the right.",
            _layers(lambda w, row, column, a, b: max(1, *_reach(w, row, column, a, b)[:2])),
        ),
        Wrong(
            "the right side as the left",
            "These layers would reach the right side straight ahead. Only what lies in at most `row` steps is ever seen.",
            _layers(
                lambda w, row, column, a, b: max(1, *_reach(w, row, column, a, b)[:2], math.ceil((w - 1 - column) / b))
            ),
        ),
        Wrong(
            "one layer more for mask A",
            "There is a layer too many. The layer with mask A makes a step as the others do.",
            _layers(lambda w, row, column, a, b: max(1, *_reach(w, row, column, a, b)) + 1),
        ),
        Wrong(
            "rounded down",
            "The layers are rounded down: the last columns or rows are not reached.",
            _layers(lambda w, row, column, a, b: max(1, row // a, column // b, min(row, (w - 1 - column) // b))),
        ),
    ),
    right=(_by_convolution, _by_steps, _by_numpy, _by_triangle),
    probes={
        "the example": lambda f: f(15, 14, 7, 1, 1),
        "the first pixel": lambda f: f(6, 0, 0, 1, 1),
        "an image of one column": lambda f: f(1, 5, 0, 2, 1),
        "the last column": lambda f: f(9, 4, 8, 1, 3),
        "the top row": lambda f: f(9, 0, 5, 2, 2),
        "tall kernels": lambda f: f(12, 6, 1, 3, 1),
        "a place at the left, kernels of 7 x 7": lambda f: f(9, 5, 0, 3, 3),
        "wide kernels": lambda f: f(16, 3, 2, 1, 4),
        "a wide image, and few rows": lambda f: f(40, 2, 3, 1, 2),
        "a narrow image": lambda f: f(3, 9, 1, 2, 1),
        "the first column of a high image": lambda f: f(10, 40, 0, 3, 2),
        "a place with much to its left": lambda f: f(30, 3, 25, 2, 2),
    },
    discussion=r"""
**For your own work.** Hold the numbers against a gradient, as this chapter does, at several places and at the edges. Then
ask what blindness costs: train a single stack and the two stacks of `nets.PixelCNN` at equal budget and compare nats a
test digit. On digits the wedge may be mostly paper; turn the digits by 90° and see whether that holds.""",
)
