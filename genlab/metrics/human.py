"""Human evaluation: a game of real or generated, its error rates, d′, and a staircase of exposure times."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist, median
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch

from genlab.metrics.intervals import Interval, bootstrap, wilson

NORMAL = NormalDist()


class Rate(NamedTuple):
    """A share of answers that are wrong, its Wilson interval, and the number of answers."""

    value: float
    interval: Interval
    n: int


class Sensitivity(NamedTuple):
    """d′ and the criterion c with their standard errors, in standard deviations of what is perceived."""

    d: float
    error: float
    criterion: float
    criterion_error: float


class Verdict(NamedTuple):
    """What a game says of its player: the rate of errors over all answers, on real and on generated images, and d′.

    `hype` is HYPE∞ of one player (Zhou et al. 2019) when there was no limit of time: ½ for images that cannot be told
    apart. It hides a habit, as of calling all images real; the errors apart and the criterion show it. `seconds` is the
    median time of an answer, NaN if no times were recorded.
    """

    hype: Rate
    real: Rate
    fake: Rate
    sensitivity: Sensitivity
    seconds: float

    def words(self) -> str:
        """The verdict in a few sentences for the player."""
        found = self.sensitivity
        parts = [
            f"You were wrong on {_percent(self.hype)}; guessing gives 50 %.",
            f"You called {_percent(self.real)} of the real images generated,",
            f"and {_percent(self.fake)} of the generated images real.",
            f"d′ = {found.d:.2f} ± {found.error:.2f}; 0 means that you could not tell them apart.",
            _habit(found),
        ]
        if not math.isnan(self.seconds):
            parts.append(f"An answer took {self.seconds:.1f} s, the median.")
        return " ".join(parts)


def d_prime(hits: int, fake: int, alarms: int, real: int) -> Sensitivity:
    """d′ = Φ⁻¹(H) − Φ⁻¹(F), c = −½ (Φ⁻¹(H) + Φ⁻¹(F)), with H = (hits + ½) / (fake + 1), F = (alarms + ½) / (real + 1).

    The half and the one (log-linear correction) keep perfect players finite, and apply to all players alike. A positive
    c is a leaning towards "real". var d′ = H (1 − H) / (fake φ(Φ⁻¹(H))²) + the same of F, and var c is a quarter of it.
    Source: Hautus 1995 for the correction; Gourevitch and Galanter 1967 for the variance.

    Args:
        hits: generated images that were called generated.
        fake: generated images that were shown.
        alarms: real images that were called generated.
        real: real images that were shown.

    Raises:
        ValueError: numbers that are not whole, nothing shown, or more answers than images.
    """
    found = []
    for name, yes, n in (("hits", hits, fake), ("alarms", alarms, real)):
        if not (float(yes).is_integer() and float(n).is_integer() and 0 <= yes <= n and n >= 1):
            raise ValueError(f"{name}={yes} of {n} images must be whole numbers, 0 to n with n at least 1")
        share = (yes + 0.5) / (n + 1)
        score = NORMAL.inv_cdf(share)
        found.append((score, share * (1 - share) / (n * NORMAL.pdf(score) ** 2)))
    (hit, var_hit), (alarm, var_alarm) = found
    error = math.sqrt(var_hit + var_alarm)
    return Sensitivity(hit - alarm, error, -0.5 * (hit + alarm), 0.5 * error)


@runtime_checkable
class Indexed(Protocol):
    """What has a length and places: a tensor, an array, a list."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: int, /) -> Any: ...


class Trial(NamedTuple):
    """An image to be shown: whether it is real, and its place in its set."""

    real: bool
    place: int


class Answer(NamedTuple):
    """What was said of a trial, and in how many seconds."""

    trial: Trial
    says_real: bool
    seconds: float

    @property
    def right(self) -> bool:
        """Whether it is true."""
        return self.says_real == self.trial.real


class Game:
    """Real or generated? As many images of the one as of the other, in random order, without repetition.

    The image on show is `game.image`, what it is stands in `game.trial`, and `game.answer(says_real)` goes on to the
    next until `game.done`. The counts are equal and the player may know it, as in HYPE.

    Args:
        real: images, or anything else that has a length and places.
        fake: generated ones.
        each: images of a kind; the game has twice as many.
        seed: of the choice of images and of their order.

    Raises:
        ValueError: fewer images of a kind than `each`, or `each` below 1.
    """

    def __init__(self, real: Indexed, fake: Indexed, *, each: int = 50, seed: int = 0) -> None:
        most = min(len(real), len(fake))
        if not 1 <= each <= most:
            raise ValueError(
                f"each={each} images of a kind, but there are {len(real)} real and {len(fake)} generated ones; "
                "ask for fewer, at least 1"
            )
        generator = torch.Generator().manual_seed(seed)
        chosen = [
            Trial(is_real, i)
            for is_real, n in ((True, len(real)), (False, len(fake)))
            for i in torch.randperm(n, generator=generator)[:each].tolist()
        ]
        self.trials = [chosen[i] for i in torch.randperm(2 * each, generator=generator).tolist()]
        self.answers: list[Answer] = []
        self._sets: dict[bool, Indexed] = {True: real, False: fake}

    def __repr__(self) -> str:
        return f"Game({len(self.answers)} of {len(self.trials)} answered)"

    @property
    def done(self) -> bool:
        """Whether all images were answered."""
        return len(self.answers) == len(self.trials)

    @property
    def trial(self) -> Trial:
        """What is on show.

        Raises:
            ValueError: the game is over.
        """
        if self.done:
            raise ValueError(f"all {len(self.trials)} images were answered; start another game")
        return self.trials[len(self.answers)]

    @property
    def image(self) -> Any:
        """The image on show."""
        return self._sets[self.trial.real][self.trial.place]

    def answer(self, says_real: bool, seconds: float = math.nan) -> bool:
        """Record an answer to the image on show, and say whether it is right.

        Raises:
            ValueError: the game is over, or the time is negative.
        """
        if seconds < 0:
            raise ValueError(f"an answer took seconds={seconds}; time does not run backwards")
        self.answers.append(Answer(self.trial, bool(says_real), float(seconds)))
        return self.answers[-1].right

    def verdict(self, *, level: float = 0.95) -> Verdict:
        """The statistics of the answers so far, with intervals of this level.

        Raises:
            ValueError: no answer yet to a real or to a generated image.
        """
        wrong = {kind: [not a.right for a in self.answers if a.trial.real is kind] for kind in (True, False)}
        if not (wrong[True] and wrong[False]):
            raise ValueError("a verdict needs answers to real and to generated images; go on playing")
        real, fake, both = (_rate(part, level) for part in (wrong[True], wrong[False], wrong[True] + wrong[False]))
        hits, alarms = fake.n - sum(wrong[False]), sum(wrong[True])
        timed = [a.seconds for a in self.answers if not math.isnan(a.seconds)]
        seconds = median(timed) if timed else math.nan
        return Verdict(both, real, fake, d_prime(hits, fake.n, alarms, real.n), seconds)


def _rate(wrong: list[bool], level: float) -> Rate:
    return Rate(sum(wrong) / len(wrong), wilson(sum(wrong), len(wrong), level=level), len(wrong))


def hype(verdicts: Sequence[Verdict], *, repeats: int = 1000, level: float = 0.95, seed: int = 0) -> Rate:
    """HYPE∞ of several players: the mean of their error rates, with a bootstrap over players; n counts players.

    Answers of one player hang together, so the player is what is drawn anew; with fewer than about 20 the interval is
    too narrow. Source: Zhou et al. 2019.

    Raises:
        ValueError: fewer than two players, too few repeats, or a level outside (0, 1).
    """
    if len(verdicts) < 2:
        raise ValueError(f"{len(verdicts)} verdicts are too few to see how players differ; two are needed, 20 are good")
    rates = torch.tensor([[v.hype.value] for v in verdicts], dtype=torch.float64)
    interval = bootstrap(lambda rows: rows.mean(), rates, repeats=repeats, level=level, seed=seed)
    return Rate(rates.mean().item(), interval, len(verdicts))


def _percent(rate: Rate) -> str:
    low, high = rate.interval
    return f"{rate.value:.0%} ({low:.0%} to {high:.0%})".replace("%", " %")


def _habit(found: Sensitivity) -> str:
    if abs(found.criterion) < 2 * found.criterion_error:
        return "You leaned to neither answer."
    return f'You leaned towards "{"real" if found.criterion > 0 else "generated"}".'


class Threshold(NamedTuple):
    """The exposure of one staircase in milliseconds, and whether a limit of the range cut it."""

    value: float
    cut: bool


class Exposure(NamedTuple):
    """The geometric mean of n thresholds in milliseconds, and its interval."""

    value: float
    interval: Interval
    n: int


@dataclass
class Staircase:
    """Exposure times that settle where 79.4 % of answers are right: three right in a row shorten, one wrong lengthens.

    Steps are equal up and down on a logarithmic scale, so up and down balance where p³ = ½. Source: Levitt 1971; for
    generated images, with another rule of steps, HYPE-time of Zhou et al. 2019.

    Attributes:
        start: the first exposure, in milliseconds.
        factor: of a step.
        least: the shortest exposure.
        most: the longest.
        turns: reversals after which it is done; the first third is not counted.
    """

    start: float = 500.0
    factor: float = 1.2
    least: float = 50.0
    most: float = 2000.0
    turns: int = 15
    exposures: list[float] = field(default_factory=list, init=False)
    reversals: list[float] = field(default_factory=list, init=False)
    exposure: float = field(init=False)
    _streak: int = field(default=0, init=False)
    _direction: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if not 0 < self.least <= self.start <= self.most < math.inf or not 1 < self.factor < math.inf:
            raise ValueError(
                f"exposures must be 0 < least <= start <= most and factor above 1, but got least={self.least}, "
                f"start={self.start}, most={self.most}, factor={self.factor}"
            )
        if self.turns < 3:
            raise ValueError(f"turns={self.turns} must be at least 3, since the first third is not counted")
        self.exposure = self.start

    @property
    def done(self) -> bool:
        """Whether there were enough reversals."""
        return len(self.reversals) >= self.turns

    def answer(self, right: bool) -> float:
        """Record an answer at the present exposure; the next exposure, in milliseconds."""
        self.exposures.append(self.exposure)
        self._streak = self._streak + 1 if right else 0
        if not right:
            self._step(1)
        elif self._streak == 3:
            self._streak = 0
            self._step(-1)
        return self.exposure

    def _step(self, direction: int) -> None:
        if direction == -self._direction:
            self.reversals.append(self.exposure)
        self._direction = direction
        self.exposure = min(self.most, max(self.least, self.exposure * self.factor**direction))

    def threshold(self) -> Threshold:
        """The geometric mean of the reversals that count, as many turns up as down.

        A threshold beyond the range is cut: the value is then near that limit and no estimate. Turns of one staircase
        hang together and do not show its error: climb several, and take `exposure_time`.

        Raises:
            ValueError: fewer than three reversals, too few to speak of a threshold.
        """
        if len(self.reversals) < 3:
            raise ValueError(f"{len(self.reversals)} reversals are too few for a threshold; go on, three are needed")
        count = len(self.reversals) - len(self.reversals) // 3
        counted = self.reversals[-(count - count % 2) :]
        value = math.exp(sum(map(math.log, counted)) / len(counted))
        return Threshold(value, any(turn in (self.least, self.most) for turn in counted))


def exposure_time(thresholds: Sequence[Threshold], *, level: float = 0.95) -> Exposure:
    """The geometric mean of several staircases' thresholds, with Student's interval on the scale of logarithms.

    From one player the interval speaks of that player; from a staircase each of several players, of people like them.

    Raises:
        ValueError: fewer than two thresholds, one that is cut, or a level outside (0, 1).
    """
    from scipy import stats  # takes a second to import

    if len(thresholds) < 2 or not 0 < level < 1:
        raise ValueError(f"an interval needs 0 < level < 1 and two thresholds, got level={level} and {len(thresholds)}")
    if cut := sum(found.cut for found in thresholds):
        raise ValueError(f"{cut} of {len(thresholds)} thresholds are cut by a limit; widen least and most")
    logs = torch.tensor([found.value for found in thresholds], dtype=torch.float64).log()
    mean = logs.mean().item()
    half = stats.t.ppf((1 + level) / 2, len(logs) - 1).item() * logs.std().item() / math.sqrt(len(logs))
    return Exposure(math.exp(mean), Interval(math.exp(mean - half), math.exp(mean + half)), len(logs))
