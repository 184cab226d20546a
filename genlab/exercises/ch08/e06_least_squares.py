"""Exercise 08.6: Least squares at its best."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch

from genlab.exercises import Exercise, Wrong, mistake


def least_squares_value(p, q, a, b, c):
    """½ E_p[(D* − c)²] + ½ E_q[(D* − c)²] for the D* of (8.12).

    Probabilities (k,) twice, labels -> a number.
    """
    D = (b * p + a * q) / (p + q)
    return 0.5 * ((p + q) * (D - c) ** 2).sum()


def _ls_by_loop(p, q, a, b, c):
    total = 0.0
    for i in range(len(p)):
        D = a + (b - a) * p[i] / (p[i] + q[i])
        total = total + 0.5 * p[i] * (D - c) ** 2 + 0.5 * q[i] * (D - c) ** 2
    return total


def _ls_by_numpy(p, q, a, b, c):
    p, q = p.numpy(), q.numpy()
    D = (b * p + a * q) / (p + q)
    return p @ (D - c) ** 2 / 2 + q @ (D - c) ** 2 / 2


def _ls_by_floats(p, q, a, b, c):
    return sum((u * (b - c) + v * (a - c)) ** 2 / (u + v) for u, v in zip(p.tolist(), q.tolist(), strict=True)) / 2


@mistake(
    "generated samples only",
    "This is the generator's own term, under q. (8.13) has a term under p as well; it is what makes the theorem.",
)
def _ls_fake_only(p, q, a, b, c):
    D = (b * p + a * q) / (p + q)
    return 0.5 * (q * (D - c) ** 2).sum()


@mistake(
    "the discriminator's loss",
    "This is D's loss at its best. The generator compares D with c, on both kinds of samples.",
)
def _ls_of_d(p, q, a, b, c):
    D = (b * p + a * q) / (p + q)
    return 0.5 * (p * (D - b) ** 2).sum() + 0.5 * (q * (D - a) ** 2).sum()


@mistake(
    "the D of cross-entropy",
    "This D is p/(p+q). With the labels a and b the best one is (b p + a q)/(p+q).",
)
def _ls_log_d(p, q, a, b, c):
    return 0.5 * ((p + q) * (p / (p + q) - c) ** 2).sum()


def _ls_inputs(g):
    k = int(torch.randint(1, 8, (), generator=g))
    p, q = torch.softmax(2 * torch.randn(2, k, generator=g), 1)
    return p, q, *(torch.randn(3, generator=g).tolist())


_HALVES, _SKEW = torch.tensor([0.5, 0.5]), torch.tensor([0.9, 0.1])

_APART = torch.tensor([0.7, 0.3, 0.0]), torch.tensor([0.0, 0.6, 0.4])

EXERCISE = Exercise(
    number="08.6",
    title="Least squares at its best",
    difficulty=2,
    minutes=8,
    task=r"""
For $k$ outcomes with probabilities `p` and `q`, let $D$ be the best one of (8.12) for the labels `a` (generated) and
`b` (real). Write what stands on the left of (8.13), one number, for the generator's label `c`. An outcome may be
impossible under one of the two, though never under both. For $a = -1$, $b = 1$, $c = 0$ it is
$\frac12\sum (p-q)^2/(p+q)$. For $p = q$ it is $(\frac{a+b}2 - c)^2$: with the labels $a = 0$, $b = c = 1$ this is
$\frac14$, and not 0.""",
    inputs=_ls_inputs,
    solution=least_squares_value,
    explanation=r"""
The best $D$ is the average of the two labels, weighted with the two densities. Both expectations have the same
integrand, so together they weigh it with $p + q$. At $p = q$ the $D$ is half way between the labels everywhere. The
value stays the same when the labels $a$ and $b$ are swapped: $D$ becomes $a + b - D$, and its mean and mean square
under $m$ do not change.""",
    hints=(
        "First compute the best D of (8.12), one number for each outcome.",
        "Both expectations are of the same $(D - c)^2$, once under `p` and once under `q`.",
        "Sum `(p + q) * (D - c) ** 2` over the outcomes, and halve it.",
    ),
    wrong=(
        Wrong(
            "real samples only",
            "This is the term under p alone. (8.13) has one under q as well: the generator's samples count too.",
            lambda p, q, a, b, c: 0.5 * (p * ((b * p + a * q) / (p + q) - c) ** 2).sum(),
        ),
        _ls_fake_only,
        _ls_of_d,
        Wrong(
            "one half is missing",
            "This is twice the value: the one half is missing.",
            lambda p, q, a, b, c: 2 * least_squares_value(p, q, a, b, c),
        ),
        _ls_log_d,
        Wrong(
            "mean over the outcomes",
            "The probabilities are the weights already: sum over the outcomes.",
            lambda p, q, a, b, c: least_squares_value(p, q, a, b, c) / len(p),
        ),
    ),
    right=(_ls_by_loop, _ls_by_numpy, _ls_by_floats),
    probes={
        "the labels of the theorem": lambda f: f(_HALVES, _SKEW, -1.0, 1.0, 0.0),
        "equal distributions with the labels 0, 1, 1": lambda f: f(_HALVES, _HALVES, 0.0, 1.0, 1.0),
        "outcomes that only one of the two has": lambda f: f(*_APART, -0.5, 2.0, 0.25),
        "a single outcome": lambda f: f(torch.ones(1), torch.ones(1), 1.0, -2.0, 0.5),
    },
)
