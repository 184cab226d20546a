"""Exercise 00.5: A divergence with zeros."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import torch
from scipy import stats

from genlab.exercises import Exercise, Wrong, mistake


def kl_discrete(p, q):
    """KL(p ‖ q) in nats of vectors that may hold zeros: (k,) twice -> 0-d."""
    return torch.where(p > 0, p * (p.log() - q.log()), 0.0).sum()


def _kl_by_loops(p, q):
    total = 0.0
    for a, b in zip(p.tolist(), q.tolist(), strict=True):
        if a > 0:
            total += math.inf if b == 0 else a * math.log(a / b)
    return torch.tensor(total)


@mistake(
    "a small number for zero",
    "A zero in q is replaced by a small number, so what should be infinite comes out as a moderate number.",
)
def _kl_clamped(p, q):
    return kl_discrete(p, q.clamp(min=1e-8))


@mistake(
    "infinity is hidden",
    "Where only q is 0 the term is left out, so an infinite divergence becomes a number. Leave out what has p = 0 alone.",
)
def _kl_hidden(p, q):
    return torch.where((p > 0) & (q > 0), p * (p / q).log(), 0.0).sum()


def _draw(g):
    k = int(torch.randint(2, 8, (), generator=g))
    return torch.randn(k, generator=g).softmax(0), torch.randn(k, generator=g).mul(2).softmax(0)


_P, _Q = torch.tensor([0.0, 0.5, 0.5]), torch.tensor([0.25, 0.25, 0.5])

EXERCISE = Exercise(
    number="00.5",
    title="A divergence with zeros",
    difficulty=2,
    minutes=8,
    task=r"""
Write $\operatorname{KL}(p \,\|\, q)$ in nats, one number, for probability vectors in which entries may be zero. Where
$p_i = 0$ the term is 0, whatever $q_i$; where only $q_i = 0$ the divergence is $\infty$. Which direction did the derivation above use?""",
    inputs=_draw,
    solution=kl_discrete,
    explanation=r"""
$p\log p \to 0$ as $p \to 0$: what never happens costs nothing. But if $q$ calls impossible what happens under $p$, no
finite code helps. Maximum likelihood uses $\operatorname{KL}(p_{\text{data}} \,\|\, p_\theta)$: a model that gives a data
point probability zero is infinitely wrong. That is what Laplace smoothing prevented above.""",
    hints=(
        "In floating point `0 * log(0)` is NaN. Which entries must not reach the logarithm?",
        "`torch.where(p > 0, …, 0)` chooses entry by entry; it computes both sides, so make the unused one harmless.",
        "Where `p > 0` the term is `p * (p.log() - q.log())`; a zero in `q` gives infinity there by itself.",
    ),
    wrong=(
        Wrong(
            "0 log 0",
            "Where p is 0 this gives NaN, since 0 · log 0 is not a number in floating point. The term has to be 0.",
            lambda p, q: (p * (p / q).log()).sum(),
        ),
        Wrong(
            "the other direction",
            "This is KL(q ‖ p), the other direction.",
            lambda p, q: kl_discrete(q, p),
        ),
        Wrong(
            "the cross-entropy",
            "This is the cross-entropy. The divergence subtracts the entropy of p.",
            lambda p, q: -torch.where(p > 0, p * q.log(), 0.0).sum(),
        ),
        _kl_clamped,
        _kl_hidden,
        Wrong(
            "the mean",
            "This is the mean of the terms. p is in them already: an expectation under p is a sum.",
            lambda p, q: kl_discrete(p, q) / len(p),
        ),
        Wrong("the sign", "The sign is wrong: a divergence is never negative.", lambda p, q: -kl_discrete(p, q)),
    ),
    right=(
        _kl_by_loops,
        lambda p, q: (torch.special.xlogy(p, p) - torch.special.xlogy(p, q)).sum(),
        lambda p, q: (p * (p / q).log()).nansum(),
        lambda p, q: stats.entropy(p.numpy(), q.numpy()),
    ),
    probes={
        "a zero in p": lambda f: f(_P, _Q),
        "a zero in q only": lambda f: f(_Q, _P),
        "zeros at the same place": lambda f: f(_P, torch.tensor([0.0, 0.25, 0.75])),
        "equal vectors": lambda f: f(_P, _P),
        "a probability of 2e-7 in q": lambda f: f(torch.tensor([0.5, 0.5]), torch.tensor([1 - 2e-7, 2e-7])),
        "a single outcome": lambda f: f(torch.ones(1), torch.ones(1)),
    },
)
