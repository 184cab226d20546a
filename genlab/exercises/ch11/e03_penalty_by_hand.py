"""Exercise 11.3: The penalty, by hand."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def quadratic_penalty(A, w, real, fake, eps):
    """(‖∇D(x̂)‖ − 1)² for D(x) = ½ xᵀA x + wᵀx.

    (d, d), (d,), (n, d), (n, d), (n,) -> (n,).
    """
    between = eps[:, None] * real + (1 - eps[:, None]) * fake
    gradient = 0.5 * between @ (A + A.T) + w
    return (gradient.norm(dim=1) - 1).square()


def _quadratic_by_autograd(A, w, real, fake, eps):
    x = torch.lerp(fake, real, eps[:, None]).requires_grad_(True)
    value = 0.5 * torch.einsum("ni,ij,nj->n", x, A, x) + x @ w
    (gradient,) = torch.autograd.grad(value.sum(), x)
    return ((gradient**2).sum(1).sqrt() - 1) ** 2


def _quadratic_by_numpy(A, w, real, fake, eps):
    A, w, real, fake, eps = (v.numpy() for v in (A, w, real, fake, eps[:, None]))
    return (np.linalg.norm((eps * real + (1 - eps) * fake) @ ((A + A.T) / 2) + w, axis=1) - 1) ** 2


def _quadratic_by_loop(A, w, real, fake, eps):
    found = []
    for r, f, e in zip(real, fake, eps, strict=True):
        x = e * r + (1 - e) * f
        found.append(float(((A @ x + A.T @ x) / 2 + w).norm() - 1) ** 2)
    return found


def _between(real, fake, eps):
    return eps[:, None] * real + (1 - eps[:, None]) * fake


def _penalty(of_gradient, slope=lambda A, x: 0.5 * x @ (A + A.T)):
    """Something else made of the gradient, or made of another gradient."""
    return lambda A, w, real, fake, eps: of_gradient(slope(A, _between(real, fake, eps)) + w)


def _pulled_to_one(gradient):
    return (gradient.norm(dim=1) - 1).square()


def _critic(g):
    """Any number of examples in any dimension; one real example lies far from the others."""
    n, d = int(torch.randint(1, 7, (), generator=g)), int(torch.randint(2, 5, (), generator=g))
    real, fake = torch.randn(n, d, generator=g), 2 + torch.randn(n, d, generator=g)
    real[0] *= 10
    return torch.randn(d, d, generator=g), torch.randn(d, generator=g), real, fake, torch.rand(n, generator=g)


EXERCISE = Exercise(
    number="11.3",
    title="The penalty, by hand",
    difficulty=2,
    minutes=12,
    task=r"""
Compute the gradient penalty of (11.8), without $\gamma$ and before the mean, for the critic
$D(x) = \tfrac12 x^\top A x + w^\top x$, by a closed form: no autograd is needed. $A$ need not be symmetric. $\hat x$ is
$\varepsilon$ real plus $(1-\varepsilon)$ fake, with one $\varepsilon$ per example. Return $n$ numbers, one per example. With
$A = 0$ and a $w$ of length 1 the penalty is 0 for every example.""",
    inputs=_critic,
    solution=quadratic_penalty,
    explanation=r"""
The derivative of $\tfrac12 \sum_{ij} x_i A_{ij} x_j$ by $x_k$ is $\tfrac12 \sum_j (A_{kj} + A_{jk}) x_j$: both indices
contribute. So $\nabla D(\hat x) = \tfrac12 (A + A^\top) \hat x + w$, one row per example; then its length, minus 1, squared.
A linear critic ($A = 0$) has the same gradient everywhere and pays nothing if that has length 1.""",
    hints=(
        "Compute the gradient of ½ xᵀA x on paper. What if A is not symmetric?",
        "It is $\\tfrac12(A + A^\\top)x$. For rows of a batch: `0.5 * between @ (A + A.T) + w`.",
        "Take `.norm(dim=1)` of the rows, subtract 1, square. Leave it per example.",
    ),
    wrong=(
        Wrong(
            "A taken for symmetric",
            "This gradient is A x + w, which is right for symmetric A only. In general it is ½ (A + Aᵀ) x + w.",
            _penalty(_pulled_to_one, lambda A, x: x @ A.T),
        ),
        Wrong(
            "A transposed, taken for symmetric",
            "This gradient is Aᵀ x + w, which is right for symmetric A only. In general it is ½ (A + Aᵀ) x + w.",
            _penalty(_pulled_to_one, lambda A, x: x @ A),
        ),
        Wrong(
            "the half is missing",
            "This gradient is (A + Aᵀ) x + w: the factor ½ of the critic is missing.",
            _penalty(_pulled_to_one, lambda A, x: x @ (A + A.T)),
        ),
        Wrong(
            "ε on the wrong one",
            "ε and 1 − ε are swapped. It makes no difference for random ε, but asked was ε real + (1 − ε) fake.",
            lambda A, w, real, fake, eps: quadratic_penalty(A, w, fake, real, eps),
        ),
        Wrong(
            "one norm for the batch",
            "This is the norm over the whole batch. Each example has a gradient and a penalty of its own.",
            _penalty(lambda gradient: (gradient.norm() - 1).square()),
        ),
        Wrong(
            "the mean",
            "This is the mean over the batch. Penalties stay per example; the caller averages, once.",
            _penalty(lambda gradient: _pulled_to_one(gradient).mean()),
        ),
        Wrong(
            "the squared norm minus one",
            "Here 1 is subtracted from the squared norm. (11.8) has the norm: take the root first.",
            _penalty(lambda gradient: (gradient.square().sum(1) - 1).square()),
        ),
        Wrong(
            "one-sided",
            "Slopes below 1 cost nothing here. That is a variant (one-sided); (11.8) pulls slopes up to 1 as well.",
            _penalty(lambda gradient: F.relu(gradient.norm(dim=1) - 1).square()),
        ),
        Wrong(
            "R1 in its place",
            "This is the squared norm, which pulls slopes to 0. The penalty of (11.8) pulls them to 1.",
            _penalty(lambda gradient: gradient.square().sum(1)),
        ),
    ),
    right=(_quadratic_by_autograd, _quadratic_by_numpy, _quadratic_by_loop),
    probes={
        "the penalty with samples below 0": lambda f: f(
            torch.tensor([[2.0, 1.0], [0.0, 3.0]]),
            torch.tensor([0.5, -1.0]),
            torch.tensor([[1.0, -2.0]]),
            torch.tensor([[-3.0, -1.0]]),
            torch.tensor([0.25]),
        ),
        "the penalty of a linear critic of length 1": lambda f: f(
            torch.zeros(2, 2), torch.tensor([0.6, 0.8]), torch.ones(3, 2), torch.zeros(3, 2), torch.rand(3)
        ),
        "the penalty of a flat critic": lambda f: f(
            torch.zeros(2, 2), torch.tensor([0.0, 0.5]), torch.ones(3, 2), torch.zeros(3, 2), torch.ones(3)
        ),
        "the penalty of one example in one dimension": lambda f: f(
            torch.tensor([[2.0]]), torch.tensor([-1.0]), torch.tensor([[3.0]]), torch.ones(1, 1), torch.tensor([0.25])
        ),
    },
)
