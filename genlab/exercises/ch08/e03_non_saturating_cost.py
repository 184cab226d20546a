"""Exercise 08.3: What the non-saturating GAN pays."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import torch
from scipy.special import rel_entr

from genlab.exercises import Exercise, Wrong, mistake


def softened_kl(p, q):
    """2 KL(m ‖ p) of (8.8) in nats, row by row: probabilities (n, k) twice -> (n,)."""
    m = (p + q) / 2
    return 2 * (torch.xlogy(m, m) - torch.xlogy(m, p)).sum(1)


def _softened_composed(p, q):
    m = (p + q) / 2
    return (torch.xlogy(q, q) - torch.xlogy(q, p)).sum(1) - (
        torch.xlogy(p, p) + torch.xlogy(q, q) - 2 * torch.xlogy(m, m)
    ).sum(1)


def _softened_by_scipy(p, q):
    return 2 * rel_entr((p + q).numpy() / 2, p.numpy()).sum(1)


def _softened_by_categorical(p, q):
    Rows = torch.distributions.Categorical
    return 2 * torch.distributions.kl_divergence(Rows((p + q) / 2), Rows(p))


def _softened_by_loop(p, q):
    found = []
    for row in zip(p.tolist(), q.tolist(), strict=True):
        terms = [(a + b) * math.log((a + b) / 2 / a) if a else math.inf for a, b in zip(*row, strict=True) if a + b]
        found.append(sum(terms))
    return found


@mistake(
    "0/0 is NaN",
    "Right where all data probabilities are positive. Where p and m are both 0, 0/0 or 0 log 0 gives NaN; the term is 0.",
)
def _softened_plain(p, q):
    m = (p + q) / 2
    return 2 * (m * (m / p).log()).sum(1)


@mistake(
    "the wrong way round",
    "This is 2 KL(p‖m), a part of the Jensen-Shannon divergence. The expectation has to be taken under m.",
)
def _softened_turned(p, q):
    m = (p + q) / 2
    return 2 * (torch.xlogy(p, p) - torch.xlogy(p, m)).sum(1)


@mistake(
    "data and samples swapped",
    "Data and samples have changed places: m is compared with p, the data. Yours punishes missing, not inventing.",
)
def _softened_to_q(p, q):
    return softened_kl(q, p)


@mistake(
    "plus 2 JS",
    "This is KL(q‖p) plus 2 JS. The sign in (8.7) is a minus.",
)
def _softened_sum(p, q):
    m = (p + q) / 2
    kl = (torch.xlogy(q, q) - torch.xlogy(q, p)).sum(1)
    return kl + (torch.xlogy(p, p) + torch.xlogy(q, q) - 2 * torch.xlogy(m, m)).sum(1)


_THIRDS = torch.tensor([[0.5, 0.5, 0.0]])

_ONE_INVENTS = torch.tensor([[0.0, 1.0, 0.0], [0.3, 0.3, 0.4], [0.5, 0.5, 0.0]])


def _rows(g):
    n, k = (int(torch.randint(1, 7, (), generator=g)) for _ in range(2))
    return tuple(torch.softmax(2 * torch.randn(n, k, generator=g), 1) for _ in range(2))


EXERCISE = Exercise(
    number="08.3",
    title="What the non-saturating GAN pays",
    difficulty=2,
    minutes=10,
    task=r"""
Write $2\operatorname{KL}(m\,\|\,p)$ in nats, with $m = \frac12(p + q)$, for rows of probabilities: `(n, k)` twice, and
one number for each of the $n$ rows. Entries may be zero. Equal rows give 0, also where both have a zero at the same
place. A generator that leaves out half of the data, $p = (\frac12, \frac12, 0)$ and $q = (1, 0, 0)$, pays only 0.26
nats. One that invents an outcome pays $\infty$.""",
    inputs=_rows,
    solution=softened_kl,
    explanation=r"""
The expectation is taken under $m$, and `torch.xlogy(a, b)` is $a\log b$ with $0\log 0 = 0$. Where $m > 0$ and $p = 0$,
which means an invention, $m\log p = -\infty$ and the divergence is infinite, as it should be. Where both are zero the
term is 0. By (8.8) the result is also $\operatorname{KL}(q\,\|\,p) - 2\operatorname{JS}$.""",
    hints=(
        "Start with the average `m` of both rows. Under which distribution is the expectation of this KL taken?",
        "It is the sum over outcomes of $m \\log m - m \\log p$. `torch.xlogy` knows that $0 \\log 0 = 0$.",
        "Sum `torch.xlogy(m, m) - torch.xlogy(m, p)` over dimension 1 and multiply by 2.",
    ),
    wrong=(
        _softened_plain,
        Wrong(
            "the 2 is missing",
            "This is KL(m‖p). The non-saturating loss descends twice that.",
            lambda p, q: softened_kl(p, q) / 2,
        ),
        _softened_turned,
        _softened_to_q,
        Wrong(
            "the reverse KL",
            "This is KL(q‖p). The minus 2 JS of (8.7) is missing, or m in the place of q.",
            lambda p, q: (torch.xlogy(q, q) - torch.xlogy(q, p)).sum(1),
        ),
        _softened_sum,
    ),
    right=(_softened_composed, _softened_by_scipy, _softened_by_categorical, _softened_by_loop),
    probes={
        "the divergence of equal rows with a zero": lambda f: f(_THIRDS, _THIRDS),
        "half of the data left out": lambda f: f(_THIRDS, torch.tensor([[1.0, 0.0, 0.0]])),
        "an invented outcome": lambda f: f(_THIRDS, torch.tensor([[0.4, 0.4, 0.2]])),
        "an invented outcome in the second of three rows": lambda f: f(_THIRDS.expand(3, 3).clone(), _ONE_INVENTS),
    },
)
