"""Exercise 16.1: What a coupling stretches."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def coupling(x, mask, s, t):
    """An affine coupling: its z (n, d), and the log-determinant of each row (n,).

    x (n, d), mask (d,) with 1 where x passes unchanged and 0 elsewhere, s, t (n, d).
    """
    moved = 1 - mask
    z = mask * x + moved * (x * s.exp() + t)
    return z, (moved * s).sum(1)


def _by_where(x, mask, s, t):
    passes = mask.bool()
    log_scale = torch.where(passes, torch.zeros_like(s), s)
    return torch.where(passes, x, torch.exp(s) * x + t), log_scale.sum(-1)


def _by_numpy(x, mask, s, t):
    columns = np.flatnonzero(mask.numpy() == 0)
    z, s, t = x.numpy().copy(), s.numpy()[:, columns], t.numpy()[:, columns]
    z[:, columns] = z[:, columns] * np.exp(s) + t
    return z, s.sum(1)


def _by_loops(x, mask, s, t):
    z, log_det = x.clone(), [0.0] * len(x)
    for i in range(len(x)):
        for j in range(len(mask)):
            if mask[j] == 0:
                z[i, j] = x[i, j] * math.exp(s[i, j]) + t[i, j]
                log_det[i] += float(s[i, j])
    return z, log_det


def _by_jacobians(x, mask, s, t):
    def forward(row, log_scale, shift):
        return torch.lerp(row * log_scale.exp() + shift, row, mask)

    rows = list(zip(x, s, t, strict=True))
    jacobians = [
        torch.autograd.functional.jacobian(lambda row, s=s, t=t: forward(row, s, t), row) for row, s, t in rows
    ]
    z = torch.stack([forward(*row) for row in rows])
    return z, torch.linalg.slogdet(torch.stack(jacobians)).logabsdet


def _log_det(change):
    """The right z with another log-determinant, made of s and of what is moved."""
    return lambda x, mask, s, t: (coupling(x, mask, s, t)[0], change(s, 1 - mask))


def _z(change):
    """The right log-determinant with another z, made of x, mask, s and t."""
    return lambda x, mask, s, t: (change(x, mask, s, t), ((1 - mask) * s).sum(1))


def _draw(g):
    n, d = (int(torch.randint(1, 6, (), generator=g)) for _ in range(2))
    x, s, t = (torch.randn(n, d, generator=g).double() for _ in range(3))
    x[0] *= 20
    mask = torch.randint(0, 2, (d,), generator=g).double()
    mask[int(torch.randint(0, d, (), generator=g))] = 0.0
    return x, mask, s, t


EXERCISE = Exercise(
    number="16.1",
    title="What a coupling stretches",
    difficulty=1,
    minutes=8,
    task=r"""
Write the forward map of an affine coupling, from data to noise. The entries with mask 1 pass unchanged. An entry with
mask 0 becomes $z_j = x_j\, e^{s_j} + t_j$. A network has made $s$ and $t$ from the entries that pass; it has an output
for *every* entry, needed or not. Return the pair of $z$, in the shape of $x$, and of the log-determinant
$\log \lvert \det \partial z / \partial x \rvert$ in nats, one for each row. The mask may be 1 or 0 everywhere. Leave the
arguments as they are. Before you check: which entries of the Jacobian matter, and which may be anything?""",
    inputs=_draw,
    solution=coupling,
    explanation=r"""
With the entries that pass put first, the Jacobian is triangular: it holds 1 for each of them on its diagonal and
$e^{s_j}$ for the others. How $s$ and $t$ depend on what passes stands below the diagonal, so it does not enter, and the
network may be any function. The logarithm of the product is the sum of the $s_j$ that are used, and of no others.""",
    hints=(
        "Put the entries that pass first. What does the Jacobian look like, and what is on its diagonal?",
        "The determinant is a product of ones and of e^s for the entries that move. Take its logarithm.",
        "`z = mask * x + (1 - mask) * (x * s.exp() + t)`, and `((1 - mask) * s).sum(1)`.",
    ),
    wrong=(
        Wrong(
            "every s counted",
            "The log-determinant counts s of all entries. Those that pass are not stretched: their s is not used.",
            _log_det(lambda s, moved: s.sum(1)),
        ),
        Wrong(
            "s of what passes",
            "z is right. The log-determinant counts s of the entries that pass, and not of those that move.",
            _log_det(lambda s, moved: ((1 - moved) * s).sum(1)),
        ),
        Wrong(
            "the mask the other way round",
            "Entries with mask 1 are moved here, and those with mask 0 pass. Asked is the opposite.",
            lambda x, mask, s, t: coupling(x, 1 - mask, s, t),
        ),
        Wrong(
            "the way back",
            "This is the inverse, (x − t) e^−s with its log-determinant. Asked is the way from data to noise as given.",
            lambda x, mask, s, t: (mask * x + (1 - mask) * (x - t) * (-s).exp(), -((1 - mask) * s).sum(1)),
        ),
        Wrong(
            "the sign of the log-determinant",
            "The log-determinant has the wrong sign: where s > 0 the map stretches, and its determinant is above 1.",
            _log_det(lambda s, moved: -(moved * s).sum(1)),
        ),
        Wrong(
            "shifted first",
            "x is shifted first and scaled afterwards, so t is scaled too. Asked is x e^s + t.",
            _z(lambda x, mask, s, t: mask * x + (1 - mask) * (x + t) * s.exp()),
        ),
        Wrong(
            "what passes is lost",
            "The entries that pass are 0 in z. They must be handed on, or nothing can undo the map.",
            _z(lambda x, mask, s, t: (1 - mask) * (x * s.exp() + t)),
        ),
        Wrong(
            "s taken for the scale",
            "x is multiplied by s. s is the logarithm of the scale, so the factor is e^s, which is never 0.",
            _z(lambda x, mask, s, t: mask * x + (1 - mask) * (x * s + t)),
        ),
        Wrong(
            "the mean",
            "The log-determinant is a mean over the entries. The logarithm of a product is the sum.",
            _log_det(lambda s, moved: (moved * s).mean(1)),
        ),
        Wrong(
            "the sum of the scales",
            "The scales e^s are added up. Their product is the determinant; its logarithm is the sum of s.",
            _log_det(lambda s, moved: (moved * s.exp()).sum(1)),
        ),
        Wrong(
            "the determinant",
            "This is the determinant itself. Asked is its logarithm.",
            _log_det(lambda s, moved: (moved * s).sum(1).exp()),
        ),
        Wrong(
            "one for the batch",
            "There is one log-determinant for the whole batch. Each row has its own.",
            _log_det(lambda s, moved: (moved * s).sum()),
        ),
    ),
    right=(_by_where, _by_numpy, _by_loops, _by_jacobians),
    probes={
        "a mask of ones, with which everything passes": lambda f: f(
            torch.tensor([[1.0, -2.0]]).double(), torch.ones(2).double(), *torch.ones(2, 1, 2).double()
        ),
        "a mask of zeros, with which everything moves": lambda f: f(
            torch.tensor([[1.0, -2.0], [3.0, 0.5]]).double(), torch.zeros(2).double(), *torch.ones(2, 2, 2).double()
        ),
        "a scale of e^8 and one of e^-8": lambda f: f(
            torch.tensor([[1.0, 2.0, 3.0]]).double(),
            torch.tensor([1.0, 0.0, 0.0]).double(),
            torch.tensor([[5.0, 8.0, -8.0]]).double(),
            torch.tensor([[4.0, 0.0, -1.0]]).double(),
        ),
    },
    discussion=r"""
**For your own work.** Test a coupling with $s \ne 0$ on both sides of the mask. With the usual start, a last layer of
zeros, $s$ is 0 and every sign, mask and sum above gives the same right answer. In networks $s$ is often passed through
a tanh, so that one batch cannot make $e^s$ overflow; the log-determinant must then be made of what was used.""",
)
