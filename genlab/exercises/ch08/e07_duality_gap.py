"""Exercise 08.7: How far from equilibrium?"""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def duality_gap(A, p, q):
    """What both players could gain by changing alone.

    Payoff A (m, n), mixed strategies (m,), (n,) -> a number.
    """
    best_row = (A @ q).max()
    best_column = (p @ A).min()
    return best_row - best_column


def _gap_by_loop(A, p, q):
    rows = [sum(A[i, j] * q[j] for j in range(len(q))) for i in range(len(p))]
    columns = [sum(A[i, j] * p[i] for i in range(len(p))) for j in range(len(q))]
    value = sum(p[i] * rows[i] for i in range(len(p)))
    return (max(rows) - value) + (value - min(columns))


def _gap_by_numpy(A, p, q):
    A, p, q = A.double().numpy(), p.numpy(), q.numpy()
    return np.max(A @ q) + np.max(-A.T @ p)


def _gap_by_einsum(A, p, q):
    value = torch.einsum("i,ij,j", p, A, q)
    return (torch.einsum("ij,j->i", A, q).amax() - value + (value - torch.einsum("ij,i->j", A, p).amin())).item()


def _matrix_game(g):
    m, n = (int(torch.randint(1, 6, (), generator=g)) for _ in range(2))
    p, q = (torch.softmax(torch.randn(k, generator=g), 0) for k in (m, n))
    return torch.randn(m, n, generator=g), p, q


_ROCK = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])

_PENNIES = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])

EXERCISE = Exercise(
    number="08.7",
    title="How far from equilibrium?",
    difficulty=2,
    minutes=12,
    task=r"""
In a matrix game the first player picks row $i$ with probability $p_i$, the second picks column $j$ with probability
$q_j$, and the second pays $A_{ij}$ to the first. Given $q$, the best *row* earns the first player more than $p$ does,
or as much; given $p$, the best *column* loses the second player less. The **duality gap** is the sum of the two
improvements: $\max_i (Aq)_i - \min_j (p^\top A)_j$. Write it, one number. It is never negative, and 0 exactly at a Nash
equilibrium: at $p = q = (\frac13, \frac13, \frac13)$ in rock-paper-scissors. If both always play rock it is 2.""",
    inputs=_matrix_game,
    solution=duality_gap,
    explanation=r"""
The gain of the first player is $\max_i (Aq)_i - p^\top A q$, that of the second $p^\top A q - \min_j(p^\top A)_j$. The
value of the present strategies cancels. A best answer to a mixed strategy may always be pure, because the payoff is
linear: that is why a generator that answers a fixed $D$ plays one mode. For GANs the gap is an honest measure of
distance from equilibrium, but each of its halves needs a full training of one player.""",
    hints=(
        "The payoffs of all rows against `q` are a vector. Which product of matrix and vector is it?",
        "`A @ q` has one entry a row, `p @ A` one a column. The first player maximises, the second minimises.",
        "It is `(A @ q).max() - (p @ A).min()`.",
    ),
    wrong=(
        Wrong(
            "the first player only",
            "This is what the first player could gain. Add what the second could gain.",
            lambda A, p, q: (A @ q).max() - p @ A @ q,
        ),
        Wrong(
            "the second player only",
            "This is what the second player could gain. Add what the first could gain.",
            lambda A, p, q: p @ A @ q - (p @ A).min(),
        ),
        Wrong(
            "both maximise",
            "Both players maximise here. The second pays, so its best column is the one with the least payoff.",
            lambda A, p, q: (A @ q).max() - (p @ A).max(),
        ),
        Wrong(
            "minimum and maximum swapped",
            "Minimum and maximum are swapped: this is what the worst answers would lose.",
            lambda A, p, q: (A @ q).min() - (p @ A).max(),
        ),
        Wrong(
            "the opponents are swapped",
            "Here the first player chooses columns. Rows are its choices, so its payoffs are A q.",
            lambda A, p, q: (p @ A).max() - (A @ q).min(),
        ),
        Wrong(
            "the value of the game",
            "This is the payoff of the present strategies. The gap asks what could be had by changing them.",
            lambda A, p, q: p @ A @ q,
        ),
    ),
    right=(_gap_by_loop, _gap_by_numpy, _gap_by_einsum),
    probes={
        "rock-paper-scissors, all thirds": lambda f: f(_ROCK, torch.full((3,), 1 / 3), torch.full((3,), 1 / 3)),
        "rock-paper-scissors, both always play rock": lambda f: f(_ROCK, torch.eye(3)[0], torch.eye(3)[0]),
        "a game with one row and three columns": lambda f: f(
            torch.tensor([[2.0, -1.0, 5.0]]), torch.ones(1), torch.full((3,), 1 / 3)
        ),
        "a game that the first player always loses": lambda f: f(
            torch.arange(6.0)[:, None] - torch.arange(7.0) - 6, torch.full((6,), 1 / 6), torch.full((7,), 1 / 7)
        ),
        "matching pennies, one fair coin and one that always shows heads": lambda f: f(
            _PENNIES, torch.full((2,), 0.5), torch.eye(2)[0]
        ),
    },
)
