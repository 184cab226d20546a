"""Exercise 18.2: Times drawn unevenly."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch
from scipy import special, stats

from genlab.exercises import Exercise, Wrong


def drawn_times(z, m, s, k):
    """Times of a logit-normal law, shifted by k, and the logarithms of their weights.

    Standard normal draws (n,), location, width > 0, shift > 0 -> two (n,).
    """
    a = m + s * z + math.log(k)  # the shift of the odds by a factor k
    log_slope = torch.nn.functional.logsigmoid(a) + torch.nn.functional.logsigmoid(-a)
    log_normal = -z.square() / 2 - math.log(s * math.sqrt(2 * math.pi))
    return torch.sigmoid(a), log_slope - log_normal


def _by_loops(z, m, s, k):
    times, weights = [], []
    for value in z.tolist():
        odds = k * math.exp(m + s * value)
        times.append(odds / (1 + odds))
        log_slope = math.log(odds) - 2 * math.log1p(odds)
        weights.append(log_slope + value**2 / 2 + math.log(s) + math.log(2 * math.pi) / 2)
    return times, weights


def _by_torch(z, m, s, k):
    law = torch.distributions.Normal(m + math.log(k), s)
    move = torch.distributions.SigmoidTransform()
    a = law.loc + law.scale * z
    return move(a), move.log_abs_det_jacobian(a, move(a)) - law.log_prob(a)


def _by_scipy(z, m, s, k):
    a = m + np.log(k) + s * z.numpy()
    weights = special.log_expit(a) + special.log_expit(-a) - stats.norm.logpdf(a, m + np.log(k), s)
    return special.expit(a), weights


def _in_two_moves(z, m, s, k):
    # first the sigmoid, then the shift, each with its own slope
    a = m + s * z
    r, left = torch.sigmoid(a), torch.sigmoid(-a)
    slopes = [r.log() + left.log(), math.log(k) - 2 * torch.log(left + k * r)]
    log_normal = torch.distributions.Normal(0.0, 1.0).log_prob(z) - math.log(s)
    return k * r / (left + k * r), slopes[0] + slopes[1] - log_normal


def _raw(z, m, s, k):
    """a, log t(1 − t) and the log-density of a."""
    a = m + s * z + math.log(k)
    slope = torch.nn.functional.logsigmoid(a) + torch.nn.functional.logsigmoid(-a)
    return a, slope, -z.square() / 2 - math.log(s * math.sqrt(2 * math.pi))


def _pair(time=lambda a: torch.sigmoid(a), weight=lambda slope, normal: slope - normal):
    """The right numbers, put together in another way."""

    def answer(z, m, s, k):
        a, slope, normal = _raw(z, m, s, k)
        return time(a), weight(slope, normal)

    return answer


def _inner_slope(z, m, s, k):
    t, _ = drawn_times(z, m, s, k)
    return t, drawn_times(z, m, s, 1.0)[1]


def _not_stable(z, m, s, k):
    t = torch.sigmoid(m + s * z + math.log(k))
    return t, (t * (1 - t)).log() - _raw(z, m, s, k)[2]


def _draws(g):
    n = int(torch.randint(1, 8, (), generator=g))
    m, more = (2 * torch.randn((), generator=g)).item(), (3 * torch.rand((), generator=g)).item()
    k = math.exp(1.5 * float(torch.randn((), generator=g)))
    z = torch.randn(n, generator=g).double()
    z[0] *= 3
    return z, m, 0.3 + more, k


NORMALS = torch.tensor([-2.0, -0.5, 0.0, 1.0, 3.0]).double()

EXERCISE = Exercise(
    number="18.2",
    title="Times drawn unevenly",
    difficulty=1,
    minutes=15,
    task=r"""
Training draws its times more often where the velocity is hard to guess. A common recipe draws $z \sim \mathcal N(0, 1)$, takes
$r = \operatorname{sigmoid}(m + s z)$, and, for large images, shifts it: $t = \frac{k\,r}{1 + (k-1)\,r}$ with $k > 0$.
Let $p$ be the density of $t$. From the draws `z` return the times and $\log \frac{1}{p(t)}$, two tensors `(n,)`: with
the weights $1/p(t)$ the mean loss of such draws estimates $\int_0^1 \text{loss}(t)\,\mathrm dt$ again, without bias.
The logarithm must stay finite, and right, where $t$ itself is rounded to 1. Before you check: what does $k > 1$ do to
times, when $t = 1$ is noise?""",
    inputs=_draws,
    solution=drawn_times,
    explanation=r"""
The shift multiplies the odds by $k$: $t/(1-t) = k\, r/(1-r)$. So it adds $\log k$ to the logit, and $t =
\operatorname{sigmoid}(a)$ with $a = m + \log k + s z$. The density of $a$ is that of $z$ over $s$, and that of $t$ has
the slope of the map below it: $p(t) = \mathcal N(z; 0, 1)\,/\,(s\,t\,(1-t))$. As $t(1-t)$ falls like $e^{-|a|}$ and
the normal density like $e^{-z^2/2}$, the weights grow without bound towards both ends, which such a law hardly visits.
Training leaves the weights out: the recipe *means* another loss. To compare two losses you need them, though.""",
    hints=(
        "Write the odds t/(1 − t) in terms of r/(1 − r). What does the shift do to the logit?",
        "A density changes by the slope: p(t) = p(z) / (dt/dz), and the slope of a sigmoid is t (1 − t).",
        "log 1/p = log t + log(1 − t) + log s + log √(2π) + z²/2, with `logsigmoid(a)` and `logsigmoid(-a)` for the first two.",
    ),
    wrong=(
        Wrong(
            "no slope of the sigmoid",
            "This is 1 over the density of the logit. The sigmoid changes densities by its slope, t (1 − t).",
            _pair(weight=lambda slope, normal: -normal),
        ),
        Wrong(
            "the slope the wrong way round",
            "The slope has the wrong sign in the logarithm. Where t changes little with z, many draws come together.",
            _pair(weight=lambda slope, normal: -slope - normal),
        ),
        Wrong(
            "the density itself",
            "This is log p(t). Asked is the weight, 1/p(t): a minus sign in the logarithm.",
            _pair(weight=lambda slope, normal: normal - slope),
        ),
        Wrong(
            "the shift without a slope",
            "The times are right, but the weights are those of the unshifted law. The shift stretches times as well.",
            _inner_slope,
        ),
        Wrong(
            "no logarithm",
            "These are the weights themselves. Asked are their logarithms, which do not overflow.",
            _pair(weight=lambda slope, normal: (slope - normal).exp()),
        ),
        Wrong(
            "a density of width 1",
            "The width s is missing in the density: stretching by s divides it by s.",
            lambda z, m, s, k: (drawn_times(z, m, s, k)[0], drawn_times(z, m, s, k)[1] - math.log(s)),
        ),
        Wrong(
            "no normaliser",
            "The factor √(2π) of the normal density is missing.",
            lambda z, m, s, k: (drawn_times(z, m, s, k)[0], drawn_times(z, m, s, k)[1] - math.log(2 * math.pi) / 2),
        ),
        Wrong(
            "lost at the end",
            "log(1 − t) is −∞ where t is rounded to 1. `logsigmoid(-a)` needs no difference.",
            _not_stable,
        ),
        Wrong(
            "the shift the other way",
            "The shift goes the other way: k > 1 must raise the times.",
            lambda z, m, s, k: drawn_times(z, m, s, 1 / k),
        ),
        Wrong(
            "no shift",
            "The shift is left out.",
            lambda z, m, s, k: drawn_times(z, m, s, 1.0),
        ),
        Wrong(
            "a shift of the logit by k",
            "k itself is added to the logit. It multiplies the odds: add log k.",
            lambda z, m, s, k: drawn_times(z, m, s, math.exp(k)),
        ),
        Wrong(
            "a variance",
            "s is used as a variance. It multiplies z as it is.",
            lambda z, m, s, k: drawn_times(z, m, math.sqrt(s), k),
        ),
        Wrong(
            "the other clock",
            "The times are 1 − t: noise at 0. Here t = 1 is noise.",
            _pair(time=lambda a: torch.sigmoid(-a)),
        ),
        Wrong(
            "weights first",
            "The pair is turned round: first the times.",
            lambda z, m, s, k: drawn_times(z, m, s, k)[::-1],
        ),
    ),
    right=(_by_loops, _by_torch, _by_scipy, _in_two_moves),
    probes={
        "a law without a shift": lambda f: f(NORMALS, 0.0, 1.0, 1.0),
        "a shift of 3 towards noise": lambda f: f(NORMALS, 0.0, 1.0, 3.0),
        "a shift towards data, of a wide law": lambda f: f(NORMALS, 0.5, 4.0, 0.25),
        "times that are rounded to 1": lambda f: f(10 + NORMALS, -1.0, 5.0, 2.0),
        "times near 0": lambda f: f(-10 + NORMALS, 1.0, 5.0, 2.0),
        "a narrow law": lambda f: f(NORMALS[:1], -1.0, 0.01, 1.5),
    },
    discussion=r"""
**For your own work.** Before you compare two training losses, ask under which law of times each was averaged: the same
network has another loss under another law. A shift for larger images is in use because neighbouring pixels repeat each other:
with four times as many pixels the same noise hides less of the picture.""",
)
