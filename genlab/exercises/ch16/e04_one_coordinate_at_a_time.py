"""Exercise 16.4: One coordinate at a time."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def sample_autoregressive(z, W, V):
    """x (n, d) from noise z (n, d), and log|det dz/dx| at that x (n,).

    W, V (d, d), 0 on the diagonal and above, give the shifts and log-scales.
    """
    x = torch.zeros_like(z)
    for i in range(z.shape[1]):
        x[:, i] = x @ W[i] + z[:, i] * torch.exp(x @ V[i])
    return x, -(x @ V.T).sum(1)


def _by_passes(z, W, V):
    # after i passes the first i coordinates are right, whatever the start
    x = z
    for _ in range(z.shape[1]):
        x = x @ W.T + z * (x @ V.T).exp()
    return x, -torch.einsum("nj,ij->n", x, V)


def _by_numpy(z, W, V):
    z, W, V = z.numpy(), W.numpy(), V.numpy()
    x, log_det = np.empty_like(z), np.zeros(len(z))
    for i in range(z.shape[1]):
        s = x[:, :i] @ V[i, :i]
        x[:, i] = z[:, i] * np.exp(s) + x[:, :i] @ W[i, :i]
        log_det -= s
    return x, log_det


def _by_lists(z, W, V):
    rows, log_dets = [], []
    for noise in z.tolist():
        row, total = [], 0.0
        for e, w, v in zip(noise, W.tolist(), V.tolist(), strict=True):
            s = sum(a * b for a, b in zip(v, row, strict=False))
            row.append(e * math.exp(s) + sum(a * b for a, b in zip(w, row, strict=False)))
            total += s
        rows.append(row)
        log_dets.append(-total)
    return rows, log_dets


def _by_jacobian(z, W, V):
    columns = []
    for i in range(z.shape[1]):
        known = torch.stack([*columns, *[torch.zeros(len(z)).to(z)] * (z.shape[1] - i)], 1)
        columns.append(known @ W[i] + z[:, i] * (known @ V[i]).exp())
    x = torch.stack(columns, 1)
    back = [torch.autograd.functional.jacobian(lambda r: (r - W @ r) / torch.exp(V @ r), row) for row in x]
    return x, [torch.linalg.slogdet(J)[1] for J in back]


def _passes(z, W, V, times, x):
    for _ in range(times):
        x = x @ W.T + z * (x @ V.T).exp()
    return x, -(x @ V.T).sum(1)


def _log_det(change):
    """The right x with another log-determinant, made of the log-scales (n, d)."""

    def found(z, W, V):
        x = sample_autoregressive(z, W, V)[0]
        return x, change(x @ V.T)

    return found


def _one_by_one(step):
    """Another step from the coordinates so far, of z_i, m_i and s_i."""

    def found(z, W, V):
        x = torch.zeros_like(z)
        for i in range(z.shape[1]):
            x[:, i] = step(z[:, i], x @ W[i], x @ V[i])
        return x, -(x @ V.T).sum(1)

    return found


def _backwards(z, W, V):
    x = torch.zeros_like(z)
    for i in reversed(range(z.shape[1])):
        x[:, i] = x @ W[i] + z[:, i] * torch.exp(x @ V[i])
    return x, -(x @ V.T).sum(1)


def _draw(g):
    n, d = (int(torch.randint(1, 6, (), generator=g)) for _ in range(2))
    z = torch.randn(n, d, generator=g).double()
    z[0] *= 3
    # small V, or a row of x far out would have a scale that no number holds
    W, V = (size * torch.randn(d, d, generator=g).double().tril(-1).clamp(-2, 2) for size in (0.8, 0.1))
    return z, W, V


EXERCISE = Exercise(
    number="16.4",
    title="One coordinate at a time",
    difficulty=2,
    minutes=12,
    task=r"""
A masked autoregressive flow takes data to noise, by $z_i = (x_i - m_i)\, e^{-s_i}$, where $m_i$ and $s_i$ depend on the
coordinates before $i$ only. Here they are linear: $m = W x$ and $s = V x$ for a row $x$, with matrices that are 0 on
the diagonal and above. All $z$ of a row come from one evaluation. Write the other way: from $z$ return the $x$ that the
flow takes to it, $(n, d)$, and the log-determinant of the flow $x \mapsto z$ at that $x$, in nats, one number for each
row. $d$ may be 1. Leave the arguments as they are. Before you check: how many times must $m$ and $s$ be computed?""",
    inputs=_draw,
    solution=sample_autoregressive,
    explanation=r"""
$x_0$ needs nothing, $x_1$ needs $x_0$, and so on: $d$ evaluations one after the other, of which each adds one
coordinate. While later coordinates are still 0 (or anything else) they do no harm, since the matrices do not see them.
The Jacobian of $x \mapsto z$ is triangular with $e^{-s_i}$ on its diagonal: the log-determinant is $-\sum_i s_i$. An
*inverse* autoregressive flow lets $m$ and $s$ depend on $z$: it samples in one evaluation, and needs $d$ for the density
of given data. The same network, read the other way.""",
    hints=(
        "Which coordinate of x can be computed from z alone? And which one with that?",
        "x_i = m_i + z_i e^{s_i}, in the order i = 0, 1, …; m_i and s_i need only what is there already.",
        "`for i in range(d): x[:, i] = x @ W[i] + z[:, i] * torch.exp(x @ V[i])`, then `-(x @ V.T).sum(1)`.",
    ),
    wrong=(
        Wrong(
            "an inverse autoregressive flow",
            "m and s are computed from z, in one pass. That is the inverse autoregressive flow; here they depend on x.",
            lambda z, W, V: (z @ W.T + z * (z @ V.T).exp(), -(z @ V.T).sum(1)),
        ),
        Wrong(
            "the way to noise",
            "This maps z as if it were data. Asked is the way back, from noise to data.",
            lambda z, W, V: ((z - z @ W.T) * (-(z @ V.T)).exp(), -(z @ V.T).sum(1)),
        ),
        Wrong(
            "the sign of the log-determinant",
            "The log-determinant is that of z ↦ x. Asked is that of the flow x ↦ z, which enters log p(x).",
            _log_det(lambda s: s.sum(1)),
        ),
        Wrong(
            "the log-scales of z",
            "x is right. The log-determinant is made of s at z, but s depends on x.",
            lambda z, W, V: (sample_autoregressive(z, W, V)[0], -(z @ V.T).sum(1)),
        ),
        Wrong(
            "one pass too few",
            "Only d − 1 evaluations are made, so the last coordinate still rests on one that was not final.",
            lambda z, W, V: _passes(z, W, V, z.shape[1] - 1, torch.zeros_like(z)),
        ),
        Wrong(
            "the matrices transposed",
            "W and V are transposed: coordinate i is made of those after it, which are not there yet.",
            lambda z, W, V: sample_autoregressive(z, W.T, V.T),
        ),
        Wrong(
            "from the last coordinate",
            "The coordinates are filled in from the last to the first. Each needs those before it.",
            _backwards,
        ),
        Wrong(
            "divided by the scale",
            "z is divided by e^s. The flow divides on its way to noise, so the way back multiplies.",
            _one_by_one(lambda z, m, s: m + z * (-s).exp()),
        ),
        Wrong(
            "shifted before it is scaled",
            "This is (z + m) e^s. The flow subtracts m first and scales then; undone, the scale comes first.",
            _one_by_one(lambda z, m, s: (z + m) * s.exp()),
        ),
        Wrong(
            "the mean over coordinates",
            "The log-determinant is a mean over the coordinates. Asked is their sum.",
            _log_det(lambda s: -s.mean(1)),
        ),
        Wrong(
            "one number for the batch",
            "The log-determinants of all rows are added up. Each row has its own.",
            _log_det(lambda s: -s.sum()),
        ),
        Wrong(
            "s taken for a log-variance",
            "s is taken for the logarithm of a variance, with half of it in the scale. It is that of the scale itself.",
            lambda z, W, V: sample_autoregressive(z, W, V / 2),
        ),
    ),
    right=(_by_passes, _by_numpy, _by_lists, _by_jacobian),
    probes={
        "one coordinate, which depends on nothing": lambda f: f(
            torch.tensor([[2.0], [-1.0]]).double(), torch.zeros(1, 1).double(), torch.zeros(1, 1).double()
        ),
        "a chain of four, in which each shift is the coordinate before": lambda f: f(
            torch.ones(2, 4).double(), torch.ones(4, 4).double().triu(-1).tril(-1), torch.zeros(4, 4).double()
        ),
        "scales that depend on the first coordinate only": lambda f: f(
            torch.tensor([[1.5, 1.0, -2.0]]).double(),
            torch.zeros(3, 3).double(),
            torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]).double(),
        ),
    },
    discussion=r"""
**For your own work.** Count evaluations, not seconds: which way of your flow costs $d$ of them decides whether you can
train it by maximum likelihood, or draw from it, or both. $d$ passes over whole rows, starting from anything, give the
same $x$ as filling in one coordinate at a time; with a good start fewer passes may be enough for a given precision.
Couplings pay one evaluation both ways, with a map that is less flexible.""",
)
