"""Exercise 16.3: What a uniform pixel costs."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch
from torch.distributions import AffineTransform, SigmoidTransform

from genlab.exercises import Exercise, Wrong


def to_logits(x, u, levels, lam):
    """Integers 0 … levels − 1 and their noise, as logits, and the log-determinant.

    x (n, d) of integers, u (n, d) in [0, 1) -> y (n, d), nats (n,).
    """
    v = lam + (1 - 2 * lam) * (x + u) / levels
    log_slope = math.log(1 - 2 * lam) - math.log(levels) - v.log() - (1 - v).log()
    return v.log() - (1 - v).log(), log_slope.sum(1)


def _by_autograd(x, u, levels, lam):
    filled = (x + u).detach().requires_grad_(True)
    y = torch.special.logit(lam + (1 - 2 * lam) / levels * filled)
    (slope,) = torch.autograd.grad(y.sum(), filled)  # each entry has its own map
    return y.detach(), slope.abs().log().sum(1)


def _by_transforms(x, u, levels, lam):
    inside = AffineTransform(lam, (1 - 2 * lam) / levels)
    filled = x + u
    v = inside(filled)
    y = SigmoidTransform().inv(v)
    return y, (inside.log_abs_det_jacobian(filled, v) - SigmoidTransform().log_abs_det_jacobian(y, v)).sum(-1)


def _by_numpy(x, u, levels, lam):
    v = lam + (1 - 2 * lam) * (x.numpy() + u.numpy()) / levels
    y = np.log(v / (1 - v))
    # 1 / (v (1 − v)) = (1 + e^y) (1 + e^−y)
    return y, np.sum(np.logaddexp(0, y) + np.logaddexp(0, -y) + np.log((1 - 2 * lam) / levels), axis=1)


def _by_loops(x, u, levels, lam):
    rows, totals = [], []
    for row, noise in zip(x.tolist(), u.tolist(), strict=True):
        values = [lam + (1 - 2 * lam) * (a + b) / levels for a, b in zip(row, noise, strict=True)]
        rows.append([math.log(v) - math.log1p(-v) for v in values])
        totals.append(sum(math.log((1 - 2 * lam) / (levels * v * (1 - v))) for v in values))
    return torch.tensor(rows), torch.tensor(totals)


def _parts(x, u, levels, lam):
    v = lam + (1 - 2 * lam) * (x + u) / levels
    return v, -(v * (1 - v)).log(), math.log(1 - 2 * lam), -math.log(levels)


def _log_det(change):
    """The right logits with another log-determinant, of the slopes of logit, of the squeeze and of the levels."""

    def found(x, u, levels, lam):
        v, logit, squeeze, level = _parts(x, u, levels, lam)
        return v.logit(), change(logit, squeeze, level).sum(1)

    return found


def _of(v, slope):
    return v.logit(), (math.log(slope) - (v * (1 - v)).log()).sum(1)


def _before_the_squeeze(x, u, levels, lam):
    v, _, squeeze, level = _parts(x, u, levels, lam)
    p = (x + u) / levels
    return v.logit(), (squeeze + level - (p * (1 - p)).log()).sum(1)


def _scaled_once(x, u, levels, lam):
    v, logit, squeeze, level = _parts(x, u, levels, lam)
    return v.logit(), logit.sum(1) + squeeze + level


def _averaged(x, u, levels, lam):
    y, log_det = to_logits(x, u, levels, lam)
    return y, log_det / x.shape[1]


def _draw(g):
    n, d = (int(torch.randint(1, 6, (), generator=g)) for _ in range(2))
    levels = int(torch.randint(2, 300, (), generator=g))
    x = torch.randint(0, levels, (n, d), generator=g)
    x.view(-1)[0] = (levels - 1) * int(torch.randint(0, 2, (), generator=g))
    u = 0.02 + 0.96 * torch.rand(n, d, generator=g).double()
    return x, u, levels, 0.01 + 0.1 * float(torch.rand((), generator=g))


def _grid(f):
    """The mean cost of all 256 grey values, in bits, where the density of logits is the uniform one's."""
    x, u = torch.arange(256)[:, None], torch.full((256, 1), 0.5).double()
    y, log_det = f(x, u, 256, 0.05)
    v = torch.sigmoid(torch.as_tensor(y).double())
    log_density = (v * (1 - v)).log().sum(1) - math.log(0.9)  # of logits, where v is uniform between 0.05 and 0.95
    return -(log_density + torch.as_tensor(log_det)).mean() / math.log(2)


EXERCISE = Exercise(
    number="16.3",
    title="What a uniform pixel costs",
    difficulty=2,
    minutes=12,
    task=r"""
Flows want real numbers without ends. Take integers $x \in \{0, …, L-1\}$, with $L$ = `levels`, to $x + u$ with noise
$u \in [0, 1)$, and that to

$$ y = \operatorname{logit}(v), \qquad v = \delta + (1 - 2\delta)\,\frac{x + u}{L}, $$

where $0 \le \delta < \tfrac12$ = `lam` keeps $v$ off the ends. Return the pair of $y$, in the shape $(n, d)$, and of
the log-determinant of the map from $x + u$ to $y$, in nats, one number for each row. Leave the arguments as they are.
Before you check: a flow says that $v$ is uniform between $\delta$ and $1 - \delta$. How many bits does a pixel of 256
levels cost, and with which $\delta$?""",
    inputs=_draw,
    solution=to_logits,
    explanation=r"""
Each entry has a map of its own, so the Jacobian is diagonal and its logarithms are added. The slope is that of the
logit, $1/(v(1-v))$, times that of the way there, $(1-2\delta)/L$. With a uniform $v$ the density of $x + u$ is
$1/L$ in every dimension: the slopes of the logit and of $\delta$ cancel against the density of $y$, and the pixel costs
$\log_2 L$ = 8 bits for *every* $\delta$. That makes it a test: a model that knows nothing must pay 8 bits.""",
    hints=(
        "Three maps in a row: divide by L, squeeze into [δ, 1 − δ], logit. Each has a slope.",
        "The slopes are 1/L, 1 − 2δ and 1/(v (1 − v)). Logarithms of slopes add up, over maps and over entries.",
        "`(math.log(1 - 2 * lam) - math.log(levels) - v.log() - (1 - v).log()).sum(1)`.",
    ),
    wrong=(
        Wrong(
            "one level too few",
            "x + u is divided by L − 1. It fills [0, L), so v can leave its interval, and a pixel of 256 levels costs log2 255 bits.",
            lambda x, u, levels, lam: _of(lam + (1 - 2 * lam) * (x + u) / (levels - 1), (1 - 2 * lam) / (levels - 1)),
        ),
        Wrong(
            "the levels are forgotten",
            "The slope 1/L is missing from the log-determinant: a uniform pixel would cost 0 bits.",
            _log_det(lambda logit, squeeze, level: logit + squeeze),
        ),
        Wrong(
            "the squeeze is forgotten",
            "The slope 1 − 2δ is missing from the log-determinant: the map squeezes into [δ, 1 − δ], and that has a price.",
            _log_det(lambda logit, squeeze, level: logit + level),
        ),
        Wrong(
            "the logit alone",
            "This is the log-determinant of the logit alone. Division by L and the squeeze by 1 − 2δ are parts of the map.",
            _log_det(lambda logit, squeeze, level: logit),
        ),
        Wrong(
            "the slope of the sigmoid",
            "log v (1 − v) is the slope of the sigmoid, which is the way back. The logit has the slope 1/(v (1 − v)).",
            _log_det(lambda logit, squeeze, level: -logit + squeeze + level),
        ),
        Wrong(
            "the way back",
            "This is the log-determinant of the inverse map, from y to x + u. It has the opposite sign.",
            _log_det(lambda logit, squeeze, level: -(logit + squeeze + level)),
        ),
        Wrong(
            "off one end only",
            "The squeeze is δ + (1 − δ) p, which keeps off 0 but reaches 1. Asked is the factor 1 − 2δ.",
            lambda x, u, levels, lam: _of(lam + (1 - lam) * (x + u) / levels, (1 - lam) / levels),
        ),
        Wrong(
            "no noise",
            "The noise u is not added: integers alone have no density.",
            lambda x, u, levels, lam: to_logits(x, 0 * u, levels, lam),
        ),
        Wrong(
            "noise about the integer",
            "The noise is centred: x + u − ½ is used, which falls below 0. Asked is x + u.",
            lambda x, u, levels, lam: to_logits(x, u - 0.5, levels, lam),
        ),
        Wrong(
            "the slope at another place",
            "The slope of the logit is taken before the squeeze. It belongs to v, where the logit is applied.",
            _before_the_squeeze,
        ),
        Wrong(
            "the mean over pixels",
            "The log-determinant is averaged over the entries of a row. Asked is their sum.",
            _averaged,
        ),
        Wrong(
            "one scale for all pixels",
            "The slopes of the two scalings are counted once for a row. Every entry is scaled.",
            _scaled_once,
        ),
    ),
    right=(_by_autograd, _by_transforms, _by_numpy, _by_loops),
    probes={
        "the bits of a uniform pixel, over all 256 levels": _grid,
        "two levels, as in a binary image": lambda f: f(
            torch.tensor([[0, 1, 1], [1, 0, 0]]), torch.full((2, 3), 0.25).double(), 2, 0.05
        ),
        "δ = 0": lambda f: f(torch.tensor([[3]]), torch.tensor([[0.5]]).double(), 8, 0.0),
        "a grey value of 255 with noise close to 1": lambda f: f(
            torch.tensor([[255, 0]]), torch.tensor([[0.999, 0.001]]).double(), 256, 0.001
        ),
        "grey values as bytes": lambda f: f(
            torch.tensor([[200, 100]], dtype=torch.uint8), torch.tensor([[0.75, 0.5]]).double(), 256, 0.1
        ),
    },
    discussion=r"""
**For your own work.** The most common way to lose part of this sum is to scale images when they are loaded, in another
file. Published code has taken 255 for 256, and has inverted the dequantisation without undoing its scale or counting
it in the log-determinant. Two tests: there and back must give log-determinants that add up to 0, and a uniform model
must pay exactly 8 bits. Bits per pixel on logits, on $[0, 1]$ and on integers are three different
numbers; only the last is comparable with a model of integers, and then only as a bound, since $u$ was added.""",
)
