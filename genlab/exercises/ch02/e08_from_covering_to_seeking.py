"""Exercise 02.8: From covering to seeking."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import torch
from scipy import special

from genlab.exercises import Exercise, Wrong


def both_kl(p, q, dx):
    """(KL(p‖q), KL(q‖p)) in nats, of two densities on a grid with spacing dx.

    Shapes: (n,), (n,) -> (), ().
    """
    difference = torch.log(p) - torch.log(q)
    forward = torch.where(p > 0, p * difference, 0.0).sum() * dx
    reverse = torch.where(q > 0, -q * difference, 0.0).sum() * dx
    return forward, reverse


def _one_kl_by_loop(p, q, dx):
    total = 0.0
    for a, b in zip(p.tolist(), q.tolist(), strict=True):
        if a > 0:
            total += math.inf if b == 0 else a * math.log(a / b) * dx
    return total


def _two(one):
    """The same function of (p, q, dx) in both directions."""
    return lambda p, q, dx: (one(p, q, dx), one(q, p, dx))


def _kl(p, q, dx):
    return both_kl(p, q, dx)[0]


def _kl_by_numpy(p, q, dx):
    return special.rel_entr(p.numpy(), q.numpy()).sum() * dx


def _densities(g):
    dx = 0.2 + 0.3 * torch.rand((), generator=g).item()
    x = torch.arange(-9, 9, dx)
    mu, sigma = 2 * torch.rand(2, generator=g) - 1, 1.4 + 0.4 * torch.rand(2, generator=g)
    p, q = (torch.exp(-0.5 * ((x - m) / s) ** 2) / (s * math.sqrt(2 * math.pi)) for m, s in zip(mu, sigma, strict=True))
    return p, q, dx


EXERCISE = Exercise(
    number="02.8",
    title="From covering to seeking",
    difficulty=3,
    minutes=40,
    task=r"""
Write both divergences of (2.9), as a pair in nats with $\operatorname{KL}(p \,\|\, q)$ first, for densities on a grid with
spacing `dx`. The integral is the sum over all points times `dx`. Where the density that weighs the logarithm is 0, the term
is 0; where only the other is 0, the divergence is $\infty$.

Then the open part. "Reverse KL seeks modes" cannot be the whole story: for two modes that touch, one normal over both is
a fine answer. Take $p = \tfrac12 \mathcal N(-a, 0.36) + \tfrac12 \mathcal N(a, 0.36)$ and the function `fit` of this
chapter. For $a$ from 0.3 to 2.5, fit the reverse direction from `mu = 0` and from `mu = a`, and draw the fitted means and
the divergences over $a$. At which separation does a second answer appear, and at which is it the better one? Is the
switch sudden? And does the forward fit notice anything?""",
    inputs=_densities,
    solution=both_kl,
    explanation=r"""
On a grid an integral is a sum times the spacing. `torch.where` picks 0 where the first density is 0, so the NaN that
was computed there is thrown away. Where only the second is 0 the difference of logarithms is $\infty$, and so is the
divergence: that is right, and no reason to add a small number. The difference of logarithms is safer than the logarithm
of the quotient, which overflows where the second density is tiny.""",
    hints=(
        "An integral on a grid is a sum times the spacing. Which density weighs the logarithm in each direction?",
        "Take `p * (p.log() - q.log())`, replace it by 0 where `p` is 0 with `torch.where`, sum, and multiply by `dx`.",
        "`torch.where(p > 0, p * (p.log() - q.log()), 0.0).sum() * dx` is the first; swap `p` and `q` for the second.",
    ),
    wrong=(
        Wrong(
            "the directions swapped",
            "The two directions are swapped. KL(p‖q) is the average under p, and comes first.",
            lambda p, q, dx: (_kl(q, p, dx), _kl(p, q, dx)),
        ),
        Wrong(
            "the spacing is forgotten",
            "The sum is not multiplied by the spacing, so a finer grid would give a larger divergence.",
            _two(lambda p, q, dx: _kl(p, q, 1.0)),
        ),
        Wrong(
            "the mean over the grid",
            "This is the mean over the grid. The integral is the sum times dx; the mean also divides by its length.",
            _two(lambda p, q, dx: _kl(p, q, 1.0) / len(p)),
        ),
        Wrong(
            "0 log 0 is NaN",
            "Right for positive densities. Where the first density is 0, 0 · log 0 gives NaN; the term is 0.",
            _two(lambda p, q, dx: (p * torch.log(p / q)).sum() * dx),
        ),
        Wrong(
            "infinity is hidden",
            "Where only the second density is 0, the term is dropped. The divergence is infinite there: do not hide it.",
            _two(lambda p, q, dx: torch.where((p > 0) & (q > 0), p * torch.log(p / q), 0.0).sum() * dx),
        ),
        Wrong(
            "a small number in the logarithm",
            "A small number inside the logarithm makes an infinite divergence finite, and the result depends on it.",
            _two(lambda p, q, dx: (p * torch.log((p + 1e-8) / (q + 1e-8))).sum() * dx),
        ),
        Wrong(
            "the absolute value",
            "The logarithm has lost its sign. Terms may be negative; only their sum cannot be.",
            _two(lambda p, q, dx: torch.where(p > 0, p * torch.log(p / q).abs(), 0.0).sum() * dx),
        ),
    ),
    right=(
        _two(_one_kl_by_loop),
        _two(_kl_by_numpy),
        _two(lambda p, q, dx: (torch.xlogy(p, p) - torch.xlogy(p, q)).sum() * dx),
        lambda p, q, dx: torch.stack([(a * (a / b).log()).nansum() * dx for a, b in ((p, q), (q, p))]),
    ),
    probes={
        "two densities of which the first ends earlier": lambda f: f(
            torch.tensor([0.0, 1.0, 1.0]), torch.tensor([0.5, 0.5, 1.0]), 0.5
        ),
        "two densities that are zero in the same place": lambda f: f(
            torch.tensor([0.0, 1.0, 3.0]), torch.tensor([0.0, 2.0, 2.0]), 0.25
        ),
    },
    discussion=r"""
**For the open part.** With the `fit` of this chapter only the covering solution exists up to about $a = 1.45$: both starts
end in the middle. At about $a = 1.5$ a second valley appears on each mode, shallower at first: 0.67 nats against 0.48.
Near $a = 1.67$, when the modes are 5.6 standard deviations apart, their depths cross, since seeking costs about $\log 2$
and covering more and more. So the best fit jumps: the switch is sudden, and a search that follows the middle valley stays
there beyond it. The forward fit notices nothing. Its mean is 0 and its standard deviation $\sqrt{0.36 + a^2}$
throughout.""",
)
