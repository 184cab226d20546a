"""The GAN doctor: `Vitals` measures what one should log beside the losses, `diagnose` reads the log.

`diagnose` is a short list of rules, `RULES`. A rule has signs, each a number computed from the log and a bound, and it
applies when all its signs do. The rules are asked in order and the first that applies gives the name. The order is that
of a clinician: faults that leave a mark of their own come first, and then those that are told by their symptoms.

The log alone cannot tell these apart, and `diagnose` does not try:

- labels flipped for both players, and a correct game: only the names of the classes differ;
- without `leak` in the log, a missing detach and a D that is too strong;
- without `mode_gap`, a G left in evaluation mode and mode collapse;
- a G that is too fast and a D that is too slow: only the ratio of the two matters to the signs;
- BatchNorm in D, and a D that knows its training examples by heart: `d_test` differs from `d_real` in both;
- D in evaluation mode, unless it has BatchNorm, and a healthy game;
- a good generator of the wrong thing (copies, a missing class) and a good generator.

The rules are for the non-saturating objective; for others some are silent (`MEANT_FOR`): those on D's answers, accuracy
or loss need log-odds, as "minimax" has too, and "mixed BatchNorm" is told by a bound on -E log D, which G minimises.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from genlab.gan.objectives import find_objective
from genlab.nets.common import evaluating

GAME = ("step", "loss_d", "loss_g", "d_real", "d_fake", "accuracy")
SAMPLES = ("spread", "distance", "move", "low", "high", "data_low", "data_high")
NEEDED = (*GAME, *SAMPLES)
OPTIONAL = ("d_test", "leak", "mode_gap")
FEWEST = 8  # checks
Log = Mapping[str, np.ndarray]

# ------------------------------------------------------------------------------------------------------ what to measure


def gradient_norm(module: nn.Module) -> float:
    """Norm of the gradients of all parameters together; 0 where there are none."""
    found = [p.grad for p in module.parameters() if p.grad is not None]
    return float(nn.utils.get_total_norm(found)) if found else 0.0


class Vitals:
    """Measures samples from outside the game, at each call of `check`, from the same noise.

    Distances are Euclidean, in units of the mean distance of two real examples. Measuring does not change the run.

    Args:
        G: maps z to examples.
        D: maps examples to logits (n,).
        real: training examples, some hundred.
        held_out: real examples that D is not trained on.
        z: fixed noise, some hundred rows.
    """

    def __init__(self, G: nn.Module, D: nn.Module, real: Tensor, held_out: Tensor, z: Tensor) -> None:
        self.G, self.D, self.held_out, self.z = G, D, held_out, z
        self.real = real.flatten(1)
        self.unit = torch.pdist(self.real).mean()
        self.last: Tensor | None = None

    @torch.no_grad()
    def check(self) -> dict[str, float]:
        """What `diagnose` reads of samples and data.

        - `spread`: mean distance of two samples; 1 for real examples, 0 when all are alike.
        - `distance`: energy distance of samples and real examples, 2 E‖x − y‖ − E‖x − x′‖ − E‖y − y′‖; 0 at p = q.
        - `move`: how far samples of the fixed noise went since the last check; 0 at the first.
        - `low`, `high`, `data_low`, `data_high`: least and largest pixel of samples and of real examples.
        - `mode_gap`: how far samples differ between G's two modes, training and evaluation.
        - `d_test`: D on held-out real examples, in evaluation mode.

        Source of the energy distance: Székely and Rizzo 2013.
        """
        made, other = (_run(self.G, self.z, mode).flatten(1) for mode in (self.G.training, not self.G.training))
        own = torch.pdist(made).mean()
        moved = made - (made if self.last is None else self.last)
        self.last = made
        ends = {"low": made.min(), "high": made.max(), "data_low": self.real.min(), "data_high": self.real.max()}
        found = {
            "spread": own / self.unit,
            "distance": (2 * torch.cdist(made, self.real).mean() - own - self.unit) / self.unit,
            "move": moved.norm(dim=1).mean() / self.unit,
            **ends,
            "mode_gap": (made - other).norm(dim=1).mean() / self.unit,
            "d_test": _run(self.D, self.held_out, False).sigmoid().mean(),
        }
        return {name: value.item() for name, value in found.items()}


def _run(net: nn.Module, x: Tensor, training: bool) -> Tensor:
    """net(x) in a mode; modes, running statistics and random numbers are put back, also after an exception."""
    before = [(buffer, buffer.clone()) for buffer in net.buffers()]
    try:
        with evaluating(net), torch.random.fork_rng([x.device] if x.is_cuda else []):  # dropout draws
            return net.train(training)(x)
    finally:
        for buffer, value in before:
            buffer.copy_(value)


# ------------------------------------------------------------------------------------------------------------ the signs


def late(values: np.ndarray) -> float:
    """Median of the last third."""
    return float(np.median(values[-(len(values) // 3) :]))


def logit(d: np.ndarray) -> np.ndarray:
    """log d/(1 − d), for d kept 1e-6 away from 0 and 1."""
    d = np.clip(d, 1e-6, 1 - 1e-6)
    return np.log(d / (1 - d))


def mismatch(log: Log) -> float:
    """How far the range of samples differs from that of the data at either end, in widths of the latter."""
    ends = np.maximum(abs(log["low"] - log["data_low"]), abs(log["high"] - log["data_high"]))
    return late(ends / (log["data_high"] - log["data_low"]))


def rhythm(values: np.ndarray) -> float:
    """Least autocorrelation of the last two thirds, over lags up to half their length: near −1 for slow waves."""
    values = values[len(values) // 3 :]
    values = values - values.mean()
    n, power = len(values), float(values @ values)
    return min(float(values[k:] @ values[:-k]) / power for k in range(1, n // 2 + 1)) if power > 0 else 0.0


COIN = 2 * math.log(2)  # what D pays that always answers one half
OFF_SCALE = "the data's distance from [-1, 1]"
BEHIND = "-log of D's mean answer on samples, minus G's loss"
# What is computed from a log, and what it is in words.
SIGNS: dict[str, tuple[Callable[[Log], Any], str]] = {
    "broken": (lambda h: (~np.isfinite(h["loss_d"] + h["loss_g"])).mean(), "the share of losses that are no numbers"),
    "leak": (lambda h: h["leak"].max(), "the gradient of D's loss in G's weights"),
    "accuracy": (lambda h: late(h["accuracy"]), "D's accuracy"),
    "loss_d": (lambda h: late(h["loss_d"]), "D's loss"),
    "peak": (lambda h: h["loss_d"].max(), "the largest loss of D"),
    "off_scale": (lambda h: abs(np.stack([h["data_low"] + 1, h["data_high"] - 1])).max(), OFF_SCALE),
    "mismatch": (mismatch, "the part of the data's range that samples miss or exceed"),
    "mode_gap": (lambda h: late(h["mode_gap"]), "the distance of G's samples in its two modes"),
    "blindness": (
        lambda h: late(abs(h["d_real"] - h["d_test"])),
        "the difference of D on real batches and on held-out real images in evaluation mode",
    ),
    "contradiction": (lambda h: late(-np.log(h["d_fake"].clip(1e-6, 1)) - h["loss_g"]), BEHIND),
    "move": (lambda h: late(h["move"]), "the way of samples from check to check"),
    "spread": (lambda h: late(h["spread"]), "the spread of samples"),
    "hops": (
        lambda h: late(h["move"] / h["spread"].clip(1e-6)),
        "the way of samples from check to check, in their own spreads",
    ),
    "distance": (lambda h: late(h["distance"]), "the energy distance of samples and data"),
    "swing": (lambda h: logit(h["d_fake"])[len(h["d_fake"]) // 3 :].std(), "the swing of D's logit on samples"),
    "rhythm": (lambda h: rhythm(logit(h["d_fake"])), "the least autocorrelation of that logit"),
}

# The objectives under which a sign means what the rules take it to mean; one that is not named here holds for all.
LOG_ODDS = ("nonsaturating", "minimax")
MEANT_FOR: dict[str, tuple[str, ...]] = {"contradiction": ("nonsaturating",)}
MEANT_FOR |= dict.fromkeys(("accuracy", "loss_d", "peak", "blindness", "swing", "rhythm"), LOG_ODDS)

# ------------------------------------------------------------------------------------------------------------ the rules


class Rule(NamedTuple):
    """A failure, the tests (sign, "above" or "below", bound) that all hold when it is there, why, and what helps."""

    name: str
    tests: tuple[tuple[str, str, float], ...]
    why: str
    remedy: str


RULES = (
    Rule(
        "learning rate too high",
        (("broken", "above", 0),),
        "The losses are infinite or no numbers at all.",
        "Divide both learning rates by 10, and compute losses from logits.",
    ),
    Rule(
        "missing detach",
        (("leak", "above", 1e-8),),
        "D's loss must not reach G: its gradient there teaches G to be found out.",
        "Call D on G(z).detach() in D's move, and give each player an optimiser over its own weights only.",
    ),
    Rule(
        "flipped labels",
        (("accuracy", "below", 0.3), ("loss_d", "below", COIN / 2)),
        "D is nearly always wrong and pays little for it, so it was taught the wrong answers.",
        "Real images are 1 and generated ones 0 in D's loss; G asks for 1.",
    ),
    Rule(
        "unscaled data",
        (("mismatch", "above", 0.2), ("off_scale", "above", 0.2)),
        "Samples and data differ in range, and the data is not in [-1, 1].",
        "Scale the pixels to [-1, 1] for a G that ends in tanh.",
    ),
    Rule(
        "wrong output range",
        (("mismatch", "above", 0.2),),
        "Samples and data differ in range: D needs to look at nothing else.",
        "End G in a tanh for data in [-1, 1], in a sigmoid for data in [0, 1].",
    ),
    Rule(
        "evaluation mode",
        (("mode_gap", "above", 0.25),),
        "The running statistics of G's BatchNorm describe another network than the one that learns.",
        "Call G.train() after each drawing of samples.",
    ),
    Rule(
        "blind BatchNorm",
        (("blindness", "above", 0.45),),
        "D judges a batch in training otherwise than single images: it sees batches with their mean taken out.",
        "Leave BatchNorm out of D; spectral or layer normalisation judges each image alone.",
    ),
    Rule(
        "mixed BatchNorm",
        (("contradiction", "above", 1),),
        "By Jensen's inequality G's loss cannot lie below -log of D on samples, if both moves ask the same D.",
        "Leave BatchNorm out of D, or show it batches of one make-up in both moves.",
    ),
    Rule(
        "oscillation",
        (("rhythm", "below", -0.65), ("swing", "above", 1)),
        "D's verdict goes up and down in a slow wave: each player undoes what the other did.",
        "Alternate after every move, take less momentum, and add a penalty on D's gradient.",
    ),
    Rule(
        "learning rate too low",
        (("move", "below", 0.02), ("loss_d", "above", COIN / 2)),
        "Samples of the same noise stand still, though D has not won.",
        "Raise both learning rates tenfold until samples move.",
    ),
    Rule(
        "learning rate too high",
        (("peak", "above", 3 * COIN),),
        "D pays more than three times what a coin pays: its steps overshoot.",
        "Divide both learning rates by 10.",
    ),
    Rule(
        "mode collapse",
        (("spread", "below", 0.3), ("hops", "above", 7)),
        "Samples are all alike, and all of them jump together when D objects.",
        "Let G make one move for each of D, keep BatchNorm in G, or let D see several samples at once.",
    ),
    Rule(
        "D too weak",
        (("accuracy", "below", 0.6), ("distance", "above", 0.6)),
        "D finds no difference where a simple distance finds a large one, so G learns nothing of the data.",
        "Raise D's learning rate to that of G, or its width; give it more moves.",
    ),
    Rule(
        "D too strong",
        (("accuracy", "above", 0.9),),
        "D is nearly always right: samples are far from what it has learned, or it learns too fast.",
        "Give D fewer moves, a smaller learning rate or width, or noise on its images.",
    ),
)
HEALTHY = Rule(
    "healthy",
    (("distance", "below", 0.5), ("spread", "above", 0.4), ("accuracy", "below", 0.9)),
    "No rule applies, and samples spread and lie near the data.",
    "Go on, and judge samples by a measure from outside the game.",
)


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found.

    Attributes:
        name: of the failure, "healthy", or "not sure".
        evidence: each sign with its value and the bound it crossed.
        why: what theory says of it.
        remedy: what to try first.
        also: names of rules further down that apply as well.
        untested: names of rules whose signals are not in the log.
        silent: names of rules that do not hold for the objective.
    """

    name: str
    evidence: tuple[str, ...] = ()
    why: str = "No rule applies, but samples do not look healthy either."
    remedy: str = "Look at the samples, train for longer, and log what is not in the log yet."
    also: tuple[str, ...] = ()
    untested: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [self.name, *(f"  {line}" for line in self.evidence), f"  Why: {self.why}", f"  Try: {self.remedy}"]
        lines += [f"  Also: {', '.join(self.also)}"] if self.also else []
        lines += [f"  Not tested, for want of signals: {', '.join(self.untested)}"] if self.untested else []
        lines += [f"  Not valid for this objective: {', '.join(self.silent)}"] if self.silent else []
        return "\n".join(lines)


def diagnose(history: Any, objective: str = "nonsaturating") -> Diagnosis:
    """Name the failure of a GAN from its log alone: the first of `RULES` that applies, else "healthy" or "not sure".

    Args:
        history: a dict for each check, a dict of columns (a number is a constant one), or a DataFrame. `NEEDED`: step;
            loss_d and loss_g; d_real, d_fake and accuracy, D's mean answers and accuracy in its own move; and what
            `Vitals.check` gives. `OPTIONAL` columns allow more rules: d_test, mode_gap, and leak, the `gradient_norm`
            of G after D's backward. Others are ignored. Checks may stand in any order.
        objective: the name of the game's objective; rules that do not hold for it are silent, see above.

    Raises:
        ValueError: columns are missing, unequal, no numbers or too short, a step is twice there; unknown objective.
    """
    find_objective(objective)
    log = _columns(history)
    evidence, untested, silent = [], [], []
    for rule in (*RULES, HEALTHY):
        tests = [test for test in rule.tests if objective in MEANT_FOR.get(test[0], (objective,))]
        if len(tests) < len(rule.tests) and rule is not HEALTHY:
            silent.append(rule.name)
            continue
        try:
            evidence.append((rule, _evidence(tests, log)))
        except KeyError:  # an optional column
            untested.append(rule.name)
    applies = [(rule, lines) for rule, lines in evidence if lines]
    if not applies:
        return Diagnosis("not sure", untested=tuple(untested), silent=tuple(silent))
    (rule, lines), *others = applies
    also = {other.name: None for other, _ in others if other.name not in (rule.name, HEALTHY.name)}
    return Diagnosis(rule.name, lines, rule.why, rule.remedy, tuple(also), tuple(untested), tuple(silent))


def read(path: str | Path) -> list[dict[str, Any]]:
    """The checks in the history.jsonl of a run, or of the run in this folder: the rows that have vitals beside losses.

    Raises:
        ValueError: there is no such file, a line other than the last is no JSON, or no row has vitals.
    """
    path = Path(path) / "history.jsonl" if Path(path).is_dir() else Path(path)
    if not path.is_file():
        raise ValueError(f"there is no {path}; give the folder of a run of a GAN, or its history.jsonl")
    lines = path.read_text(encoding="utf-8").splitlines()
    try:  # the last line may be cut, in a run that goes on or was ended
        rows = [json.loads(line) for i, line in enumerate(lines, 1) if i < len(lines) or line.endswith("}")]
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} has a line that is no JSON: {error}; mend it or take it out") from error
    if found := [row for row in rows if all(name in row for name in SAMPLES)]:
        return found
    raise ValueError(f"no row of {path} has vitals, {', '.join(SAMPLES)}; log Vitals(…).check() in training")


def _evidence(tests: Sequence[tuple[str, str, float]], log: Log) -> tuple[str, ...]:
    """The tests in words, with values, when all of them hold; else nothing."""
    lines = []
    for sign, side, bound in tests:
        measure, words = SIGNS[sign]
        with np.errstate(divide="ignore", invalid="ignore"):  # data of one value, or losses that are no numbers
            value = float(measure(log))
        if not (value > bound if side == "above" else value < bound):  # NaN crosses no bound
            return ()
        lines.append(f"{words} is {value:.3g}, {side} {bound:.3g}")
    return tuple(lines)


def _columns(history: Any) -> dict[str, np.ndarray]:
    """The log as columns in the order of its steps."""
    if hasattr(history, "columns") and hasattr(history, "to_dict"):  # a DataFrame of pandas, or one like it
        history = {name: np.asarray(history[name]) for name in history.columns}
    if isinstance(history, Mapping):
        columns = dict(history)
    else:
        names = [name for name in (*NEEDED, *OPTIONAL) if any(name in row for row in history)]
        for i, row in enumerate(history):
            if lacking := [name for name in names if name not in row]:
                raise ValueError(f"row {i} lacks {', '.join(lacking)}, which others have; log the same at each check")
        columns = {name: [row[name] for row in history] for name in names}
    if missing := [name for name in NEEDED if name not in columns]:
        raise ValueError(f"the history lacks {', '.join(missing)}; diagnose needs {', '.join(NEEDED)}")
    n, log = np.size(columns["step"]), dict[str, np.ndarray]()
    for name in [name for name in (*NEEDED, *OPTIONAL) if name in columns]:
        try:
            log[name] = np.array(columns[name], float)
        except (TypeError, ValueError) as error:
            raise ValueError(f"column {name!r} of the history must hold numbers, but: {error}") from error
        if log[name].ndim and log[name].shape != (n,):
            raise ValueError(f"column {name!r} has shape {log[name].shape}, but there are {n} steps; log all alike")
    if n < FEWEST:
        raise ValueError(f"the history has {n} checks, but a diagnosis needs {FEWEST}; log more often")
    if len(np.unique(log["step"])) < n:
        raise ValueError("a step occurs twice in the history; pass the log of one run")
    order = np.argsort(log["step"])
    return {name: np.broadcast_to(values, (n,))[order] for name, values in log.items()}
