"""Exercise 10.8: Four numbers, one name."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def name_the_failure(accuracy, loss_d, spread, distance):
    """The first of the rules (10.9) that applies, by name: four numbers -> a string."""
    if accuracy < 0.3 and loss_d < math.log(2):
        return "flipped labels"
    if accuracy > 0.95:
        return "D too strong"
    if spread < 0.3:
        return "mode collapse"
    if accuracy < 0.6 and distance > 0.7:
        return "D too weak"
    return "healthy" if distance < 0.5 else "not sure"


_LOG2 = math.log(2)
_NAMES = {"f": "flipped labels", "s": "D too strong", "c": "mode collapse", "w": "D too weak", "h": "healthy"}


def _named(order="fscwh", flip_loss=_LOG2, unsure="not sure", weak=all):
    def name(accuracy, loss_d, spread, distance):
        tests = {
            "f": accuracy < 0.3 and loss_d < flip_loss,
            "s": accuracy > 0.95,
            "c": spread < 0.3,
            "w": weak([accuracy < 0.6, distance > 0.7]),
            "h": distance < 0.5,
        }
        return next((_NAMES[key] for key in order if tests[key]), unsure)

    return name


def _name_by_numpy(accuracy, loss_d, spread, distance):
    tests = [accuracy < 0.3 and loss_d < np.log(2), accuracy > 0.95, spread < 0.3, accuracy < 0.6 and distance > 0.7]
    return np.str_(np.select([*tests, distance < 0.5], list(_NAMES.values()), "not sure"))


_CASES = {
    "a sure D that is always wrong": (0.02, 0.01, 0.5, 1.5),
    "a sure D that is always wrong, about samples that are all alike": (0.02, 0.01, 0.1, 1.5),
    "a D that is always wrong and knows it": (0.1, 3.0, 0.6, 0.9),
    "a D that is always right about a collapsed G": (0.99, 0.05, 0.1, 1.1),
    "a D that is always right, and samples near the data": (0.99, 0.05, 0.8, 0.2),
    "a coin, and samples that are all alike": (0.5, 1.39, 0.05, 1.1),
    "samples that are all alike, near the data": (0.7, 1.2, 0.1, 0.2),
    "a coin, and samples near the data": (0.5, 1.39, 0.9, 0.1),
    "a D that tells, and samples far from the data": (0.8, 1.0, 0.8, 0.9),
    "a loss of D of 1": (0.1, 1.0, 0.8, 0.2),
    "a loss of D of log 2": (0.1, math.log(2), 0.8, 0.2),
    "a loss of D just below log 2": (0.1, 0.69314, 0.8, 0.2),
    "an accuracy of 0.3 and a small loss of D": (0.3, 0.1, 0.8, 0.2),
    "an accuracy of 0.299 and a small loss of D": (0.299, 0.1, 0.8, 0.2),
    "D right in 95 cases of 100": (0.95, 0.3, 0.8, 0.3),
    "D right in 951 cases of 1000": (0.951, 0.3, 0.8, 0.3),
    "spread exactly 0.3": (0.7, 1.2, 0.3, 0.2),
    "a spread of 0.299": (0.7, 1.2, 0.299, 0.2),
    "an accuracy of 0.6 and samples far away": (0.6, 1.3, 0.8, 0.9),
    "an accuracy of 0.599 and samples far away": (0.599, 1.3, 0.8, 0.9),
    "a coin at distance exactly 0.7": (0.5, 1.39, 0.8, 0.7),
    "a coin at a distance of 0.701": (0.5, 1.39, 0.8, 0.701),
    "distance exactly 0.5": (0.7, 1.2, 0.8, 0.5),
    "a distance of 0.499": (0.7, 1.2, 0.8, 0.499),
}


def _case(numbers):
    return lambda f: f(*numbers)


EXERCISE = Exercise(
    number="10.8",
    title="Four numbers, one name",
    difficulty=2,
    minutes=12,
    task=r"""
Write a small doctor of your own. The numbers are medians of the last third of a run. Ask these rules in this order, and
return the name of the first that applies, spelled as it stands here:

$$ \begin{aligned}
&\text{flipped labels:} && \text{accuracy} < 0.3 \text{ and } L_D < \log 2 \\
&\text{D too strong:} && \text{accuracy} > 0.95 \\
&\text{mode collapse:} && \text{spread} < 0.3 \\
&\text{D too weak:} && \text{accuracy} < 0.6 \text{ and distance} > 0.7 \\
&\text{healthy:} && \text{distance} < 0.5
\end{aligned} \tag{10.9} $$

If none applies, return `"not sure"`. The bounds are strict: a spread of exactly 0.3 is no collapse.""",
    inputs=lambda g: (torch.rand(4, generator=g, dtype=torch.float64) * torch.tensor([1, 2, 1.2, 1.2])).tolist(),
    solution=name_the_failure,
    explanation=r"""
The order is part of the rules. A collapsed $G$ often meets a $D$ that is always right, and a coin over collapsed samples
also means that $D$ is too weak to object: several rules may apply, and the first one wins. "Not sure" comes last and must
be possible. A doctor who always names something is wrong more often than one who asks for another test.""",
    hints=(
        "Write one `if` for each rule, in the order given, each with a `return`.",
        "`and` joins two signs of one rule. All bounds are strict: use `<` and `>`.",
        'The last line is `return "healthy" if distance < 0.5 else "not sure"`.',
    ),
    wrong=(
        Wrong(
            "collapse before a strong D",
            "Mode collapse is asked before D too strong. When both apply, the order decides.",
            _named("fcswh"),
        ),
        Wrong(
            "a weak D before collapse",
            "D too weak is asked before mode collapse. When both apply, the order decides.",
            _named("fswch"),
        ),
        Wrong(
            "healthy first",
            "Healthy is asked before the failures. Samples near the data may still be all alike: it comes last.",
            _named("hfscw"),
        ),
        Wrong(
            "flipped labels by accuracy alone",
            "Flipped labels are named from the accuracy alone. A D that is wrong and pays a large loss for it is no sign "
            "of them: its labels are right.",
            _named(flip_loss=math.inf),
        ),
        Wrong(
            "never unsure",
            "Whatever no rule names is called healthy. Healthy needs a sign of its own; else the answer is not sure.",
            _named(unsure="healthy"),
        ),
        Wrong(
            "or in place of and",
            "D too weak needs both signs: an undecided D and samples far from the data. One alone is not enough.",
            _named(weak=any),
        ),
        Wrong(
            "twice log 2",
            "The bound on D's loss is log 2, half of what a coin pays for both batches.",
            _named(flip_loss=2 * _LOG2),
        ),
    ),
    right=(_named(), _named("sfcwh"), _name_by_numpy),
    probes={sentence: _case(numbers) for sentence, numbers in _CASES.items()},
)
