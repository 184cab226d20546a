"""Exercise 19.8: Many paths to one state."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

from functools import cache

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def flows(rewards):
    """The flow through each cell of a grid, and the probability to stop there.

    Rewards (m, n), all positive -> flows (m, n), probabilities (m, n).
    """
    m, n = rewards.shape
    flow = rewards.clone()
    for i in reversed(range(m)):
        for j in reversed(range(n)):
            if i + 1 < m:
                flow[i, j] += flow[i + 1, j] / (2 if j > 0 else 1)
            if j + 1 < n:
                flow[i, j] += flow[i, j + 1] / (2 if i > 0 else 1)
    return flow, rewards / flow


def _by_pushing(rewards):
    # each cell gives what it has to its parents
    flow = rewards.tolist()
    for i in reversed(range(len(flow))):
        for j in reversed(range(len(flow[0]))):
            parents = [(a, b) for a, b in ((i - 1, j), (i, j - 1)) if a >= 0 and b >= 0]
            for a, b in parents:
                flow[a][b] += flow[i][j] / len(parents)
    flow = torch.tensor(flow).to(rewards)
    return flow, rewards / flow


def _by_solving(rewards):
    m, n = rewards.shape
    back = torch.zeros(m * n, m * n).to(rewards)  # (from, to a parent)
    for i in range(m):
        for j in range(n):
            up, left = i > 0, j > 0
            if up:
                back[i * n + j, (i - 1) * n + j] = 1 / (up + left)
            if left:
                back[i * n + j, i * n + j - 1] = 1 / (up + left)
    flow = torch.linalg.solve(torch.eye(m * n).to(rewards) - back.T, rewards.flatten())
    return flow.view(m, n), rewards / flow.view(m, n)


def _by_walks(rewards):
    # how often a walk back from each cell passes through each other
    m, n = rewards.shape
    flow = np.zeros((m, n))
    for a in range(m):
        for b in range(n):
            reach = np.zeros((m, n))
            reach[a, b] = 1
            for i in range(a, -1, -1):
                for j in range(b, -1, -1):
                    if i and j:
                        reach[i - 1, j] += reach[i, j] / 2
                        reach[i, j - 1] += reach[i, j] / 2
                    elif i:
                        reach[i - 1, j] += reach[i, j]
                    elif j:
                        reach[i, j - 1] += reach[i, j]
            flow += float(rewards[a, b]) * reach
    return [flow, rewards.numpy() / flow]


def _by_recursion(rewards):
    m, n = rewards.shape

    @cache
    def through(i, j):
        if i == m or j == n:
            return 0.0
        below, right = through(i + 1, j), through(i, j + 1)
        return float(rewards[i, j]) + below / (1 + (j > 0)) + right / (1 + (i > 0))

    flow = np.array([[through(i, j) for j in range(n)] for i in range(m)])
    return flow, rewards.numpy() / flow


def _general(rewards, share):
    """Flows in which cell (i, j) gets share(i, j, a, b) of what goes through its child (a, b)."""
    m, n = rewards.shape
    flow = rewards.clone()
    for i in reversed(range(m)):
        for j in reversed(range(n)):
            for a, b in ((i + 1, j), (i, j + 1)):
                if a < m and b < n:
                    flow[i, j] += flow[a, b] * share(i, j, a, b)
    return flow, rewards / flow


def _own_parents(rewards):
    return _general(rewards, lambda i, j, a, b: 1 / max(1, (i > 0) + (j > 0)))


def _own_children(rewards):
    m, n = rewards.shape
    return _general(rewards, lambda i, j, a, b: 1 / ((i + 1 < m) + (j + 1 < n)))


def _without_own(rewards):
    inner = torch.zeros_like(rewards)
    inner[-1, -1] = rewards[-1, -1]
    flow = flows(inner)[0]
    return flow, rewards / flow


def _corner(rewards):
    inner = torch.zeros_like(rewards)
    inner[-1, -1] = rewards[-1, -1]
    flow = flows(inner)[0]
    return flow, inner / flow


def _second(change):
    """The right flows, with another probability."""
    return lambda rewards: (flows(rewards)[0], change(rewards, flows(rewards)[0]))


def _grid(g):
    m, n = (int(torch.randint(2, 6, (), generator=g)) for _ in range(2))
    m += m == n  # so that rows and columns cannot be taken for each other
    rewards = 0.2 + 2 * torch.rand(m, n, generator=g).double()
    rewards[m - 1, n - 1] += 5
    return (rewards,)


EXERCISE = Exercise(
    number="19.8",
    title="Many paths to one state",
    difficulty=3,
    minutes=25,
    task=r"""
A generator walks on a grid of $m \times n$ cells ($m, n \ge 1$). It begins at cell (0, 0); in each cell it stops, or
goes on by one row (to $i + 1$) or by one column (to $j + 1$). It shall stop at cell $x$ with probability $R(x)/Z$,
where $R > 0$ are rewards and $Z$ is their sum. Since many paths lead to one cell, the walk *back* must be said: from
each cell to its parents with equal probability (a cell of the first row or column has one parent, the start none). Then
there is one flow that balances: what goes through a cell is what stops there plus what goes on,

$$ f(s) = R(s) + \sum_{c\,\in\,\text{children}(s)} f(c)\, P_B(s \mid c) , \qquad
P_B(s \mid c) = \frac{1}{\text{number of parents of } c} . $$

Return the flows $f$ (m, n) and the probabilities to stop, given that the walk is there, $R/f$ (m, n), for `rewards`
(m, n). Leave `rewards` as it is.""",
    inputs=_grid,
    solution=flows,
    explanation=r"""
From the last cell backwards each flow is known when it is needed. The walk goes from $s$ to $c$ with probability
$f(c)\,P_B(s \mid c)/f(s)$; along a path these factors telescope to $R(x)\,P_B(\text{path} \mid x)/f(0, 0)$, and the sum
over all paths to $x$ is $R(x)/Z$. So $f(0, 0) = Z$, whatever the grid. Without $P_B$, as in a tree or in
maximum-entropy control over paths, a cell would be reached in proportion to $R(x)$ times the *number* of its paths:
in a 3 × 3 grid the far corner would get six times its due before normalising.""",
    hints=(
        "Begin at the last cell: it has no children. Which cells come next, so that all children are known?",
        "A child below (i + 1, j) has two parents unless j = 0; a child to the right (i, j + 1) has two unless i = 0.",
        "Add `flow[i + 1, j] / (2 if j > 0 else 1)` and `flow[i, j + 1] / (2 if i > 0 else 1)`, where these exist.",
    ),
    wrong=(
        Wrong(
            "every path counted",
            "Each cell adds up the whole flow of its children, as in a tree. A child with two parents is counted twice.",
            lambda rewards: _general(rewards, lambda i, j, a, b: 1.0),
        ),
        Wrong(
            "half at the edge as well",
            "Each child gives half of its flow, also those of the first row and column. They have one parent: it gets all.",
            lambda rewards: _general(rewards, lambda i, j, a, b: 0.5),
        ),
        Wrong(
            "edges the wrong way round",
            "The numbers of parents are exchanged: the child below has one parent in the first column, not in the first row.",
            lambda rewards: _general(rewards, lambda i, j, a, b: 1 / (1 + (i > 0 if a > i else j > 0))),
        ),
        Wrong(
            "parents of the cell itself",
            "The flow of a child is divided by the number of parents of this cell. It is the child's parents that share.",
            _own_parents,
        ),
        Wrong(
            "divided among children",
            "The flow of a child is divided by the number of children of this cell. It is the child's parents that share.",
            _own_children,
        ),
        Wrong(
            "stopping by share of Z",
            "The second result is R/Z, the probability to stop at a cell at all. Asked is R/F: given that the walk is there.",
            _second(lambda rewards, flow: rewards / rewards.sum()),
        ),
        Wrong(
            "the probability to go on",
            "The second result is the probability to go on. Asked is that to stop: R/F.",
            _second(lambda rewards, flow: 1 - rewards / flow),
        ),
        Wrong(
            "the probability to come by",
            "The second result is F/Z, the probability to come through a cell. Asked is that to stop there: R/F.",
            _second(lambda rewards, flow: flow / flow[0, 0]),
        ),
        Wrong(
            "the cell's own reward left out",
            "The flow of a cell lacks its own reward, except where there are no children. Paths stop in every cell.",
            _without_own,
        ),
        Wrong(
            "from the start forwards",
            "The sums run from the start: each cell adds up its parents. The flow is known at the end, so go backwards.",
            lambda rewards: tuple(x.flip(0, 1) for x in flows(rewards.flip(0, 1))),
        ),
        Wrong(
            "stops at the far corner alone",
            "Only the far corner counts as an end here. Every cell is one, with its own reward.",
            _corner,
        ),
    ),
    right=(_by_pushing, _by_solving, _by_walks, _by_recursion),
    probes={
        "a single cell": lambda f: f(torch.tensor([[3.0]]).double()),
        "a row": lambda f: f(torch.tensor([[1.0, 2.0, 4.0]]).double()),
        "a column": lambda f: f(torch.tensor([[1.0], [2.0], [4.0]]).double()),
        "equal rewards on 3 by 3 cells": lambda f: f(torch.ones(3, 3).double()),
        "a large reward in one corner": lambda f: f(torch.tensor([[1.0, 1.0, 100.0], [1.0, 1.0, 1.0]]).double()),
    },
    discussion=r"""
**For your own work.** If a thing can be built in several orders (molecules atom by atom, sets, graphs), count the
orders of a few things by hand before you trust a reward-weighted sampler. A GFlowNet is trained, so its flows balance
only nearly: check on a small case that can be enumerated, as here, that the frequencies of finished things are $R/Z$,
and look at the residual of the balance on paths that it does not choose itself.""",
)
