"""Exercise 11.10: How many seeds? (open-ended)."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math
from itertools import count

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def seeds_needed(sd, difference):
    """Runs per method that (11.18) asks for, to see a difference of means.

    The scores of each method have the standard deviation sd.
    """
    return math.ceil(2 * (2.8 * sd / difference) ** 2)


EXERCISE = Exercise(
    number="11.10",
    title="How many seeds? (open-ended)",
    difficulty=3,
    minutes=30,
    task=r"""
Two methods have scores with standard deviation $s$ over seeds, and means that differ by $\delta$. With $n$ runs each, the
difference of the two means has a standard error of $s\sqrt{2/n}$. A common rule asks that $\delta$ be at least 2.8 standard
errors: if $s$ were known, a test at the 5 % level would find it four times out of five. So

$$ n = \Big\lceil 2\,\Big(\frac{2.8\,s}{\delta}\Big)^2 \Big\rceil . \tag{11.18} $$

Write this $n$, a whole number. Then the open part. Take from the study's table a pair of methods whose intervals overlap. How many seeds
would tell them apart? Now train one of them with twice the steps, or on your own idea, with three seeds
(`stabilising.Game`), and write down what you may conclude and what not.""",
    inputs=lambda g: (float(1 + 9 * torch.rand((), generator=g)), float(0.5 + 5 * torch.rand((), generator=g))),
    solution=seeds_needed,
    explanation=r"""
Set $\delta = 2.8\, s \sqrt{2/n}$ and solve for $n$; 2.8 is $1.96 + 0.84$, for 5 % error and 80 % power. Half the difference
needs four times the runs. For a difference as large as the standard deviation that is 16 runs for each method. The rule takes
$s$ as known. With $s$ estimated from the runs, the $t$-test that has to be used finds less: 78 % with these 16,
and 56 % where the formula just says 3. So take a run or two more where it says few.""",
    hints=(
        "Solve δ = 2.8 s √(2/n) for n.",
        "Square both sides: δ² = 2.8² s² · 2/n. A number of runs is whole, and may not be rounded down.",
        "`math.ceil(2 * (2.8 * sd / difference) ** 2)`.",
    ),
    wrong=(
        Wrong(
            "one mean only",
            "This takes the error of one mean. Both means have one, so the variances add: a factor of 2.",
            lambda sd, difference: math.ceil((2.8 * sd / difference) ** 2),
        ),
        Wrong(
            "not squared",
            "The ratio is not squared: errors fall with the root of n only.",
            lambda sd, difference: math.ceil(2 * 2.8 * sd / difference),
        ),
        Wrong(
            "rounded down",
            "This rounds down, and the difference would be a little too small to see. Round up.",
            lambda sd, difference: math.floor(2 * (2.8 * sd / difference) ** 2),
        ),
        Wrong(
            "rounded to the nearest",
            "This rounds to the nearest whole number, which may be too small. Round up.",
            lambda sd, difference: round(2 * (2.8 * sd / difference) ** 2),
        ),
        Wrong(
            "one more than the whole part",
            "This is the whole part plus 1. Where the formula gives a whole number, that is one run too many.",
            lambda sd, difference: int(2 * (2.8 * sd / difference) ** 2) + 1,
        ),
        Wrong(
            "not rounded",
            "A number of runs is whole. Round up to the next one.",
            lambda sd, difference: 2 * (2.8 * sd / difference) ** 2,
        ),
        Wrong(
            "upside down",
            "sd and difference are swapped: more noise would need fewer runs.",
            lambda sd, difference: math.ceil(2 * (2.8 * difference / sd) ** 2),
        ),
        Wrong(
            "only the 5 % level",
            "With 1.96 a true difference is missed every other time. The rule has 2.8.",
            lambda sd, difference: math.ceil(2 * (1.96 * sd / difference) ** 2),
        ),
    ),
    right=(
        lambda sd, difference: -int(-2 * (2.8 * sd) ** 2 // difference**2),
        lambda sd, difference: next(n for n in count(1) if difference >= 2.8 * sd * math.sqrt(2 / n)),
        lambda sd, difference: np.ceil((2.8 * sd * np.sqrt(2) / difference) ** 2),
        lambda sd, difference: torch.tensor(15.68 * sd**2 / difference**2).ceil(),
    ),
    probes={
        "runs where both are far below 1": lambda f: f(0.2, 0.1),
        "runs for a difference as large as the standard deviation": lambda f: f(3.0, 3.0),
        "runs for half of that": lambda f: f(3.0, 1.5),
        "runs for a difference of ten standard deviations": lambda f: f(1.0, 10.0),
        "runs for a tenth of a standard deviation and a little less": lambda f: f(10.3, 1.0),
        "runs where the formula gives 98": lambda f: f(10.0, 4.0),
        "runs where the formula gives a little more than 16": lambda f: f(1.0117, 1.0),
    },
    discussion=r"""
**For the open part.** State steps, seeds, the number of samples behind each score, and every score, not the best one. If
you tried five ideas and report one, say so: the best of five noisy scores looks good by chance. A method with twice the
steps has twice the budget; compare it with the *other* method at twice the steps too. With three seeds each, a
$t$-test finds a difference of 3.1 standard deviations four times out of five, and one of two standard deviations not even
every other time. "No difference was found" then means that a difference much larger than that is unlikely, not that there is
none.""",
)
