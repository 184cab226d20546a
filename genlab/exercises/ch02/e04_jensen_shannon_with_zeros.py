"""Exercise 02.4: Jensen-Shannon, with zeros."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import torch
from scipy import special

from genlab.exercises import Exercise, Wrong, mistake


def js(p, q):
    """Jensen-Shannon divergence in nats by rows of probabilities (n, k): (n,)."""
    m = (p + q) / 2
    to_p = torch.xlogy(p, p) - torch.xlogy(p, m)
    to_q = torch.xlogy(q, q) - torch.xlogy(q, m)
    return (0.5 * to_p + 0.5 * to_q).sum(1)


@mistake(
    "0 log 0 is NaN",
    "Right where all probabilities are positive. With zeros, 0 · log 0 gives NaN; its limit is 0.",
)
def _js_plain(p, q):
    m = (p + q) / 2
    return 0.5 * (p * (p / m).log() + q * (q / m).log()).sum(1)


def _js_by_entropies(p, q):
    def entropy(a):
        return torch.special.entr(a).sum(1)

    return entropy((p + q) / 2) - 0.5 * entropy(p) - 0.5 * entropy(q)


def _js_by_loops(p, q):
    rows = []
    for a, b in zip(p.tolist(), q.tolist(), strict=True):
        total = 0.0
        for u, v in zip(a, b, strict=True):
            total += 0.5 * sum(w * math.log(2 * w / (u + v)) for w in (u, v) if w > 0)
        rows.append(total)
    return torch.tensor(rows)


@mistake(
    "the other row in place of the average",
    (
        "Here each row is compared with the other: half of Jeffreys' divergence, infinite for rows that share "
        "no outcome. Compare each with their average."
    ),
)
def _jeffreys(p, q):
    return 0.5 * (torch.where(p > 0, p * (p / q).log(), 0.0) + torch.where(q > 0, q * (q / p).log(), 0.0)).sum(1)


def _js_by_numpy(p, q):
    p, q = p.numpy(), q.numpy()
    return (special.rel_entr(p, (p + q) / 2) + special.rel_entr(q, (p + q) / 2)).sum(1) / 2


def _draw(g):
    n, k = int(torch.randint(5, 9, (), generator=g)), int(torch.randint(2, 5, (), generator=g))
    return tuple(torch.softmax(2 * torch.randn(n, k, generator=g), 1) for _ in range(2))


EXERCISE = Exercise(
    number="02.4",
    title="Jensen-Shannon, with zeros",
    difficulty=2,
    minutes=10,
    task=r"""
Write $\operatorname{JS}$ of (2.13) in nats for rows of probabilities, `(n, k)` twice, in which entries may be zero: in
`p`, in `q`, or in both at the same place. It returns one value for each row, shape `(n,)`. It is symmetric, 0 for equal rows, and exactly $\log 2$ for rows that share no
outcome.""",
    inputs=_draw,
    solution=js,
    explanation=r"""
Wherever $p > 0$, also $m > 0$, so no logarithm of zero is needed. What is left is $0 \log 0$, which has the limit 0, and
`torch.xlogy(a, b)` is $a \log b$ with that rule. Where both are zero, $p/m$ is 0/0, so the quotient is split into a
difference. The divergence is also $H(m) - \tfrac12 H(p) - \tfrac12 H(q)$.""",
    hints=(
        "Start with the average $m$ of both rows. Each of the two terms is a KL divergence to $m$, not to the other row.",
        "Where $p = 0$ its term is 0, by the limit of $a \\log a$. `torch.xlogy(a, b)` is $a \\log b$ with this rule.",
        "Sum `torch.xlogy(p, p) - torch.xlogy(p, m)` over dimension 1, the same for `q`, and take half of each.",
    ),
    wrong=(
        _js_plain,
        Wrong(
            "the halves are missing",
            "This is the sum of two divergences. Each has a factor of one half, so that the largest value is log 2.",
            lambda p, q: 2 * js(p, q),
        ),
        _jeffreys,
        Wrong(
            "the other row, and 0 log 0",
            "Here each row is compared with the other. Compare each with their average. And where a row is 0, 0 · log 0 "
            "gives NaN.",
            lambda p, q: 0.5 * (p * (p / q).log() + q * (q / p).log()).sum(1),
        ),
        Wrong(
            "bits",
            "This is in bits, with a largest value of 1. Nats are wanted: the natural logarithm.",
            lambda p, q: js(p, q) / math.log(2),
        ),
        Wrong(
            "the square root",
            "This is the square root, the Jensen-Shannon distance. It is a metric, but the divergence is asked.",
            lambda p, q: js(p, q).sqrt(),
        ),
        Wrong(
            "one side only",
            "Only p is compared with the average. The second half, from q, is missing, and with it the symmetry.",
            lambda p, q: (torch.xlogy(p, p) - torch.xlogy(p, (p + q) / 2)).sum(1),
        ),
        Wrong(
            "one number for the batch",
            "This sums over the rows as well. One value for each row is wanted: sum over dimension 1.",
            lambda p, q: js(p, q).sum(),
        ),
    ),
    right=(_js_by_entropies, _js_by_loops, _js_by_numpy),
    probes={
        "the divergence of rows that share no outcome": lambda f: f(
            torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([[0.0, 0.0, 1.0]])
        ),
        "the divergence of equal rows with zeros in the same place": lambda f: f(
            torch.tensor([[0.25, 0.0, 0.75]]), torch.tensor([[0.25, 0.0, 0.75]])
        ),
        "the divergence of three rows, of which one has zeros": lambda f: f(
            torch.tensor([[0.5, 0.5], [1.0, 0.0], [0.3, 0.7]]), torch.tensor([[0.9, 0.1], [0.5, 0.5], [0.3, 0.7]])
        ),
        "the divergence of rows with a zero in one of them": lambda f: f(
            torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([[0.2, 0.3, 0.5]])
        ),
    },
)
