"""Exercise 11.3: The penalty, by hand."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def quadratic_penalty(A, w, real, fake, eps):
    """(‖∇D(x̂)‖ − 1)² for D(x) = ½ xᵀA x + wᵀx: (d, d), (d,), (n, d), (n, d), (n,) -> (n,)."""
    between = eps[:, None] * real + (1 - eps[:, None]) * fake
    gradient = 0.5 * between @ (A + A.T) + w
    return (gradient.norm(dim=1) - 1).square()


def _quadratic_by_autograd(A, w, real, fake, eps):
    x = torch.lerp(fake, real, eps[:, None])
    if not x.requires_grad:
        x = x.detach().requires_grad_(True)
    value = 0.5 * torch.einsum("ni,ij,nj->n", x, A, x) + x @ w
    (gradient,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    return ((gradient**2).sum(1).sqrt() - 1) ** 2


def _between(real, fake, eps):
    return eps[:, None] * real + (1 - eps[:, None]) * fake


EXERCISE = Exercise(
    number="11.3",
    title="The penalty, by hand",
    difficulty=2,
    minutes=12,
    task=r"""
Compute the gradient penalty of (11.8), without $\lambda$ and before the mean, for the critic
$D(x) = \tfrac12 x^\top A x + w^\top x$, by a closed form: no autograd is needed. $A$ need not be symmetric. $\hat x$ is
$\varepsilon$ real plus $(1-\varepsilon)$ fake, with one $\varepsilon$ per example. With $A = 0$ and a $w$ of length 1 the
penalty is 0 for every example.""",
    inputs=lambda g: (
        torch.randn(3, 3, generator=g),
        torch.randn(3, generator=g),
        torch.randn(5, 3, generator=g),
        2 + torch.randn(5, 3, generator=g),
        torch.rand(5, generator=g),
    ),
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
            lambda A, w, real, fake, eps: ((_between(real, fake, eps) @ A.T + w).norm(dim=1) - 1).square(),
        ),
        Wrong(
            "ε on the wrong one",
            "ε and 1 − ε are swapped. It makes no difference for random ε, but asked was ε real + (1 − ε) fake.",
            lambda A, w, real, fake, eps: quadratic_penalty(A, w, fake, real, eps),
        ),
        Wrong(
            "one norm for the batch",
            "This is the norm over the whole batch. Each example has a gradient and a penalty of its own.",
            lambda A, w, real, fake, eps: (
                ((0.5 * _between(real, fake, eps) @ (A + A.T) + w).norm() - 1).square().expand(len(eps))
            ),
        ),
        Wrong(
            "the mean",
            "This is the mean over the batch. Penalties stay per example; the caller averages, once.",
            lambda A, w, real, fake, eps: quadratic_penalty(A, w, real, fake, eps).mean(),
        ),
        Wrong(
            "the squared norm minus one",
            "Here 1 is subtracted from the squared norm. (11.8) has the norm: take the root first.",
            lambda A, w, real, fake, eps: (
                (0.5 * _between(real, fake, eps) @ (A + A.T) + w).square().sum(1) - 1
            ).square(),
        ),
        Wrong(
            "one-sided",
            "Slopes below 1 cost nothing here. That is a variant (one-sided); (11.8) pulls slopes up to 1 as well.",
            lambda A, w, real, fake, eps: F.relu(
                (0.5 * _between(real, fake, eps) @ (A + A.T) + w).norm(dim=1) - 1
            ).square(),
        ),
        Wrong(
            "R1 in its place",
            "This is the squared norm, which pulls slopes to 0. The penalty of (11.8) pulls them to 1.",
            lambda A, w, real, fake, eps: (0.5 * _between(real, fake, eps) @ (A + A.T) + w).square().sum(1),
        ),
    ),
    right=(_quadratic_by_autograd,),
    probes={
        "the penalty of a linear critic of length 1": lambda f: f(
            torch.zeros(2, 2), torch.tensor([0.6, 0.8]), torch.ones(3, 2), torch.zeros(3, 2), torch.rand(3)
        ),
        "the penalty of a flat critic": lambda f: f(
            torch.zeros(2, 2), torch.tensor([0.0, 0.5]), torch.ones(3, 2), torch.zeros(3, 2), torch.ones(3)
        ),
    },
    gradient=True,
)
