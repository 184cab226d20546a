"""Exercise 16.7: The steepest stretch."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math
from statistics import NormalDist

import numpy as np
import torch
from scipy import stats
from torch.distributions import Categorical, MixtureSameFamily, Normal

from genlab.exercises import Exercise, Wrong


def log_slope(x, a, s, p):
    """log T'(z) at the z with T(z) = x, for the increasing map T from N(0, 1).

    Onto p N(a, s^2) + (1 - p) N(-a, s^2); x (n,) -> (n,).
    """
    mass, density = 0.0, 0.0
    for weight, centre in ((p, a), (1 - p, -a)):
        v = (x - centre) / s
        mass = mass + weight * torch.special.ndtr(v)
        density = density + weight * torch.exp(-v.square() / 2) / s
    z = torch.special.ndtri(mass)
    return -z.square() / 2 - density.log()


def _by_distributions(x, a, s, p):
    modes = Normal(torch.tensor([a, -a], dtype=x.dtype), s)
    q, base = MixtureSameFamily(Categorical(torch.tensor([p, 1 - p])), modes), Normal(0.0, 1.0)
    return base.log_prob(base.icdf(q.cdf(x))) - q.log_prob(x)


def _by_autograd(x, a, s, p):
    x = x.clone().requires_grad_(True)
    z = torch.special.ndtri(p * torch.special.ndtr((x - a) / s) + (1 - p) * torch.special.ndtr((x + a) / s))
    (slope,) = torch.autograd.grad(z.sum(), x)  # of the way back, from x to z
    return -slope.log()


def _by_scipy(x, a, s, p):
    x = x.numpy()
    z = stats.norm.ppf(p * stats.norm.cdf(x, a, s) + (1 - p) * stats.norm.cdf(x, -a, s))
    modes = np.log(p) + stats.norm.logpdf(x, a, s), np.log(1 - p) + stats.norm.logpdf(x, -a, s)
    return stats.norm.logpdf(z) - np.logaddexp(*modes)


def _by_numbers(x, a, s, p):
    upper, lower, base = NormalDist(a, s), NormalDist(-a, s), NormalDist()
    found = []
    for v in x.tolist():
        z = base.inv_cdf(p * upper.cdf(v) + (1 - p) * lower.cdf(v))
        found.append(math.log(base.pdf(z) / (p * upper.pdf(v) + (1 - p) * lower.pdf(v))))
    return found


def _parts(x, a, s, p):
    """z, log φ(z), log q(x)."""
    q = MixtureSameFamily(Categorical(torch.tensor([p, 1 - p])), Normal(torch.tensor([a, -a]).double(), s))
    z = torch.special.ndtri(q.cdf(x))
    return z, -z.square() / 2 - math.log(2 * math.pi) / 2, q.log_prob(x)


def _with(change):
    """Something else made of x, z, log φ(z) and log q(x)."""
    return lambda x, a, s, p: change(x, *_parts(x, a, s, p))


def _nearer(x, a, s, p):
    _, base, _ = _parts(x, a, s, p)
    one, other = (math.log(w) + Normal(c, s).log_prob(x) for w, c in ((p, a), (1 - p, -a)))
    return base - torch.maximum(one, other)


def _no_width(x, a, s, p):
    _, base, density = _parts(x, a, s, p)
    return base - (density + math.log(s))


def _draw(g):
    n = int(torch.randint(1, 7, (), generator=g))
    a, s, p = (low + size * float(torch.rand((), generator=g)) for low, size in ((0.4, 1.6), (0.4, 0.8), (0.15, 0.7)))
    side = 2.0 * torch.randint(0, 2, (n,), generator=g).double() - 1
    x = side * a + s * torch.randn(n, generator=g).double()
    x[0] = a * (torch.rand((), generator=g).double() - 0.5)  # between the modes
    return x, a, s, p


def _middle(f, a):
    return f(torch.zeros(1).double(), a, 0.5, 0.5)


EXERCISE = Exercise(
    number="16.7",
    title="The steepest stretch",
    difficulty=3,
    minutes=15,
    task=r"""
In one dimension exactly one increasing map $T$ takes $z \sim \mathcal N(0, 1)$ to data with the density

$$ q(x) = p\, \mathcal N(x; a, s^2) + (1 - p)\, \mathcal N(x; -a, s^2), $$

with $s > 0$ a standard deviation and $0 < p < 1$. It keeps the mass on the left, $\Phi(z) = F(T(z))$, where $\Phi$ and
$F$ are the distribution functions of $z$ and of the data. Return $\log T'(z)$ at the $z$ that $T$ takes to $x$, for
each of the $x$ of shape $(n,)$; its values are in float64. No map need be inverted numerically: `torch.special.ndtr` is
$\Phi$ and `torch.special.ndtri` its inverse. Before you check: with $p = \tfrac12$ and $s = \tfrac12$, how steep is $T$
in the middle for $a = 3$?""",
    inputs=_draw,
    solution=log_slope,
    explanation=r"""
$p(z)\,\mathrm dz = q(x)\,\mathrm dx$ says $T'(z) = \varphi(z)/q(x)$: noise that is dense has to be spread thin where data
are rare. The factor $1/\sqrt{2\pi}$ stands in both. In the middle of two equal modes $z = 0$, and the slope is
$s\, e^{a^2/2s^2}$: about 3.7, 1,490 and $3.3 \cdot 10^7$ for $a$ = 1, 2, 3 and $s = \tfrac12$. A flow is a smooth map with
limited slope, so in practice it stays less steep, and what it does not stretch is left as a bridge of samples between
the modes. With the $z$ from $x$ the formula needs no inverse of $F$, only that of $\Phi$.""",
    hints=(
        "Differentiate Φ(z) = F(T(z)) by z.",
        "φ(z) = q(x) T'(z). So log T' = log φ(z) − log q(x), and z = Φ⁻¹(F(x)).",
        "F(x) = p Φ((x − a)/s) + (1 − p) Φ((x + a)/s); z = `ndtri` of that; q has 1/s in each of its parts.",
    ),
    wrong=(
        Wrong(
            "the slope of the way back",
            "This is the slope of T⁻¹, from data to noise: log q(x) − log φ(z). It is the negative of what is asked.",
            _with(lambda x, z, base, density: density - base),
        ),
        Wrong(
            "the base density at x",
            "φ is taken at x. It belongs to z, which is Φ⁻¹(F(x)).",
            _with(lambda x, z, base, density: -x.square() / 2 - math.log(2 * math.pi) / 2 - density),
        ),
        Wrong(
            "the base density left out",
            "This is −log q(x), the slope of a map from uniform noise on [0, 1]. z is normal here: φ(z) is missing.",
            _with(lambda x, z, base, density: -density),
        ),
        Wrong(
            "the slope, not its logarithm",
            "This is T'(z) itself. Asked is its logarithm, which stays a reasonable number for far modes.",
            _with(lambda x, z, base, density: (base - density).exp()),
        ),
        Wrong(
            "s as a variance",
            "s is used as a variance. It is the standard deviation of each mode.",
            lambda x, a, s, p: log_slope(x, a, math.sqrt(s), p),
        ),
        Wrong(
            "the weights exchanged",
            "The weights are exchanged: p belongs to the mode at +a.",
            lambda x, a, s, p: log_slope(x, a, s, 1 - p),
        ),
        Wrong(
            "equal weights",
            "Both modes have the weight ½ here. The upper one has p.",
            lambda x, a, s, p: log_slope(x, a, s, 0.5),
        ),
        Wrong(
            "the nearer mode alone",
            "Only the larger of the two parts of q is used. Between the modes both count.",
            _nearer,
        ),
        Wrong(
            "modes without their width",
            "The factor 1/s is missing from the density of the modes, so q has the mass s.",
            _no_width,
        ),
        Wrong(
            "one √2π",
            "Only one of the two densities has its 1/√2π. They cancel if both have it, or both do not.",
            _with(lambda x, z, base, density: base + math.log(2 * math.pi) / 2 - density),
        ),
        Wrong(
            "the slope in the middle",
            "log s + a²/2s² is the slope at x = 0 of two equal modes. It is asked for every x, and for every p.",
            lambda x, a, s, p: torch.full_like(x, math.log(s) + a * a / (2 * s * s)),
        ),
        Wrong(
            "the slope of one mode's map",
            "log s is the slope of the linear map onto one mode. Two modes need a curved map, steep between them.",
            lambda x, a, s, p: torch.full_like(x, math.log(s)),
        ),
    ),
    right=(_by_distributions, _by_autograd, _by_scipy, _by_numbers),
    probes={
        "the middle of two modes at ±1": lambda f: _middle(f, 1.0),
        "the middle of two modes at ±2": lambda f: _middle(f, 2.0),
        "the middle of two modes at ±3": lambda f: _middle(f, 3.0),
        "the slope onto one mode, which is s everywhere": lambda f: f(
            torch.tensor([-1.0, 0.0, 2.0]).double(), 0.0, 2.0, 0.3
        ),
        "points far out on both sides": lambda f: f(torch.tensor([-4.0, 4.0]).double(), 1.0, 1.0, 0.2),
        "unequal modes, left of the middle": lambda f: f(torch.tensor([-0.5]).double(), 1.5, 0.4, 0.9),
    },
    discussion=r"""
**For your own work.** Near one mode the slope is about $s$, in the gap it may be a million times that. So look where
$\log T'$ of your flow ends (for a flow in many dimensions: the singular values of its Jacobian), and compare the share
of samples that fall between clusters with the share of data there. More layers buy slope. A base density with as many
modes as the data, or classes given to the flow, takes the need away: a continuous invertible map cannot tear one piece
of space into two (Cornish, Caterini, Deligiannidis and Doucet 2020).""",
)
