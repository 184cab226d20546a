"""Exercise 12.1: The best discriminator, when the labels differ too."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong, mistake


def conditional_d(log_px, log_qx, log_py, log_ry):
    """D*(x, y) from log p(x|y), log q(x|y), log p(y), log r(y).

    Shape (n,) four times -> (n,).
    """
    return torch.sigmoid((log_px + log_py) - (log_qx + log_ry))


@mistake(
    "densities that underflow",
    "Right for moderate values. At −2,000 both densities round to 0, and 0/0 is not a number: stay with logarithms.",
)
def _conditional_by_densities(log_px, log_qx, log_py, log_ry):
    real, fake = (log_px + log_py).exp(), (log_qx + log_ry).exp()
    return real / (real + fake)


@mistake(
    "an exponential that overflows",
    "Right for moderate values. exp of a logit of 2,000 is infinite, and ∞/∞ is not a number: use the sigmoid itself.",
)
def _conditional_by_odds(log_px, log_qx, log_py, log_ry):
    odds = ((log_px + log_py) - (log_qx + log_ry)).exp()
    return odds / (1 + odds)


def _conditional_by_softmax(log_px, log_qx, log_py, log_ry):
    return torch.softmax(torch.stack([log_px + log_py, log_qx + log_ry], 1), 1)[:, 0]


def _conditional_by_loop(log_px, log_qx, log_py, log_ry):
    found = []
    for px, qx, py, ry in zip(*(v.tolist() for v in (log_px, log_qx, log_py, log_ry)), strict=True):
        top = max(px + py, qx + ry)
        real, fake = math.exp(px + py - top), math.exp(qx + ry - top)
        found.append(real / (real + fake))
    return found


def _conditional_in_numpy(log_px, log_qx, log_py, log_ry):
    real, fake = log_px.numpy() + log_py.numpy(), log_qx.numpy() + log_ry.numpy()
    return np.exp(real - np.logaddexp(real, fake))


def _conditional_inputs(g):
    n = int(torch.randint(1, 8, (), generator=g))
    return tuple(torch.randn(n, generator=g) for _ in range(4))


_DEEP = torch.tensor([-2000.0, -3000.0])
_OFTEN, _SELDOM = torch.tensor([0.6, 0.1]).log(), torch.tensor([0.3, 0.5]).log()

EXERCISE = Exercise(
    number="12.1",
    title="The best discriminator, when the labels differ too",
    difficulty=1,
    minutes=8,
    task=r"""
Real pairs have labels with shares $p(y)$; generated pairs were drawn with other shares $r(y)$. Write the discriminator
that is best against this generator, from $\log p(x|y)$, $\log q(x|y)$, $\log p(y)$ and $\log r(y)$ at each of `n` pairs.
With $r = p$ it is (12.2), and with perfect images, $q(x|y) = p(x|y)$, it is $p(y)/(p(y) + r(y))$. It must also work for
log-densities of −2,000, whose exponentials are 0, on either side or on both. One probability for each pair: shape `(n,)`,
for one pair too.""",
    inputs=_conditional_inputs,
    solution=conditional_d,
    explanation=r"""
The best discriminator compares the densities of what it sees, and it sees pairs: $p(x, y) = p(x|y)\,p(y)$ and
$q(x, y) = q(x|y)\,r(y)$ (product rule). A ratio $a/(a+b)$ is $\operatorname{sigmoid}(\log a - \log b)$, and no density
is ever computed. So $D$ earns something by knowing which labels come too often, though the images may be perfect, and
$G$, which is given its labels, can do nothing about it. Drawing $G$'s labels from the real batch makes the shares
cancel.""",
    hints=(
        "$D$ judges pairs. What is the density of a pair, for real and for generated ones?",
        "$D^* = a/(a+b)$ with $a = p(x|y)\\,p(y)$ and $b = q(x|y)\\,r(y)$. Write it with $\\log a$ and $\\log b$.",
        "$a/(a+b) = \\operatorname{sigmoid}(\\log a - \\log b)$, and each logarithm of a product is a sum of two arguments.",
    ),
    wrong=(
        Wrong(
            "the label shares left out",
            "This is (12.2), which holds for equal label shares. Here p(y) and r(y) differ, and D may use that.",
            lambda log_px, log_qx, log_py, log_ry: torch.sigmoid(log_px - log_qx),
        ),
        Wrong(
            "the label shares swapped",
            "p(y) belongs to the real pairs and r(y) to the generated ones. Here they are swapped.",
            lambda log_px, log_qx, log_py, log_ry: torch.sigmoid((log_px + log_ry) - (log_qx + log_py)),
        ),
        Wrong(
            "real and generated swapped",
            "This is 1 − D*: the probability that the pair is generated.",
            lambda log_px, log_qx, log_py, log_ry: torch.sigmoid((log_qx + log_ry) - (log_px + log_py)),
        ),
        Wrong(
            "the logit",
            "This is the logit of D*. A sigmoid makes it a probability.",
            lambda log_px, log_qx, log_py, log_ry: (log_px + log_py) - (log_qx + log_ry),
        ),
        _conditional_by_densities,
        _conditional_by_odds,
    ),
    right=(_conditional_by_softmax, _conditional_by_loop, _conditional_in_numpy),
    probes={
        "one pair, with perfect images": lambda f: f(torch.ones(1), torch.ones(1), _OFTEN[:1], _SELDOM[:1]),
        "log-densities of −2,000 and −3,000": lambda f: f(_DEEP, _DEEP + 1, _OFTEN, _SELDOM),
        "−2,000 for the real or for the generated one": lambda f: f(
            torch.tensor([-2000.0, 0.0]), torch.tensor([0.0, -2000.0]), _OFTEN, _SELDOM
        ),
    },
)
