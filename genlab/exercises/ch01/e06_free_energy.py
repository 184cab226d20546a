"""Exercise 01.6: The free energy."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def free_energy_of(v, W, a, b):
    """Free energy −a·v − Σ_j log(1 + exp(b_j + (vᵀW)_j)) of every row of v.

    v (n, d), W (d, m), a (d,), b (m,) -> (n,).
    """
    return -v @ a - F.softplus(b + v @ W).sum(1)


def _free_energy_by_counting(v, W, a, b):
    h = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=W.dtype)] * len(b)).view(-1, len(b))
    energy = -(v @ a)[:, None] - h @ b - v @ W @ h.T
    return -torch.logsumexp(-energy, 1)


def _free_energy_by_numpy(v, W, a, b):
    v, W, a, b = (np.asarray(t) for t in (v, W, a, b))
    return -(v @ a) - np.logaddexp(0, v @ W + b).sum(1)


def _free_energy_by_rows(v, W, a, b):
    return [float(F.logsigmoid(-(b + row @ W)).sum() - row @ a) for row in v]


def _draw(g):
    n, d, m = (int(torch.randint(low, low + 3, (), generator=g)) for low in (7, 4, 2))
    shapes = (d, m), (d,), (m,)
    return torch.rand(n, d, generator=g).round(), *(torch.randn(s, generator=g) for s in shapes)


EXERCISE = Exercise(
    number="01.6",
    title="The free energy",
    difficulty=2,
    minutes=8,
    task=r"""
Write the free energy $\mathcal F(v)$ (1.11) of a restricted Boltzmann machine, one number for each row of `v`, shape
`(n,)`. It must be finite and exact for weights that bring the exponent to ±1,000. Check it in your head: with `W` and
`b` zero, each of the `m` hidden units adds $-\log 2$.""",
    inputs=_draw,
    solution=free_energy_of,
    explanation=r"""
Summing $e^{-E(v,h)}$ over all $2^m$ hidden states factorises into $m$ sums of two terms, $1 + e^{t_j}$ with
$t_j = b_j + (v^\top W)_j$. Minus the logarithm turns the product into a sum. `F.softplus` computes $\log(1 + e^t)$ without
overflow. An image with *low* free energy is probable, so both terms carry a minus.""",
    hints=(
        "There are two terms: one from the visible biases, and one from each hidden unit.",
        "Each hidden unit adds $-\\log(1 + e^{t})$ with $t = b_j + (v^\\top W)_j$. Which function of torch is that?",
        "`-v @ a - F.softplus(b + v @ W).sum(1)`.",
    ),
    wrong=(
        Wrong(
            "the sign",
            "The sign is the other way round: this is log p(v) + log Z. Energy is low where images are probable.",
            lambda v, W, a, b: -free_energy_of(v, W, a, b),
        ),
        Wrong(
            "the visible biases are missing",
            "The term of the visible biases, −a·v, is missing.",
            lambda v, W, a, b: -F.softplus(b + v @ W).sum(1),
        ),
        Wrong(
            "the hidden biases are missing",
            "The hidden biases b are missing from the exponent, b_j + (vᵀW)_j.",
            lambda v, W, a, b: -v @ a - F.softplus(v @ W).sum(1),
        ),
        Wrong(
            "the hidden units' probabilities",
            "The hidden units add their probabilities here. Summing over h gives log(1 + e^t), the softplus, "
            "whose derivative is that probability.",
            lambda v, W, a, b: -v @ a - torch.sigmoid(b + v @ W).sum(1),
        ),
        Wrong(
            "the energy at the mean hidden state",
            "This is the energy at the mean hidden state. The free energy sums over all hidden states inside the "
            "logarithm; the difference is the entropy of the hidden units.",
            lambda v, W, a, b: -v @ a - (torch.sigmoid(b + v @ W) * (b + v @ W)).sum(1),
        ),
        Wrong(
            "it overflows",
            "The formula is right, but e^1000 overflows. F.softplus computes log(1 + e^t) safely.",
            lambda v, W, a, b: -v @ a - torch.log(1 + torch.exp(b + v @ W)).sum(1),
        ),
        Wrong(
            "the mean over the hidden units",
            "The hidden units' terms were averaged. A logarithm of a product is a sum.",
            lambda v, W, a, b: -v @ a - F.softplus(b + v @ W).mean(1),
        ),
    ),
    right=(_free_energy_by_counting, _free_energy_by_numpy, _free_energy_by_rows),
    probes={
        "exponents of ±1,000": lambda f: f(
            torch.tensor([[1.0, 1.0], [0.0, 0.0]]), torch.tensor([[500.0, -500.0]] * 2), torch.zeros(2), torch.zeros(2)
        ),
        "one image, one visible and one hidden unit": lambda f: f(
            torch.ones(1, 1), torch.tensor([[2.0]]), torch.tensor([3.0]), torch.tensor([-1.0])
        ),
        "a machine with all parameters zero": lambda f: f(torch.ones(2, 3), *(torch.zeros(s) for s in ((3, 4), 3, 4))),
    },
)
