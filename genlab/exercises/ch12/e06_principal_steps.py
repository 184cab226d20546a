"""Exercise 12.6: Principal steps in closed form."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def principal_steps(A, k):
    """The k unit steps in z that change the activation A z most, the largest first.

    A (outputs, d) -> (k, d).
    """
    vectors = torch.linalg.eigh(A.T @ A).eigenvectors  # columns, smallest first
    return vectors.T.flip(0)[:k]


def _steps_by_svd(A, k):
    return torch.linalg.svd(A, full_matrices=False).Vh[:k]


def _steps_in_numpy(A, k):
    values, vectors = np.linalg.eigh(A.numpy().T @ A.numpy())
    return -vectors[:, np.argsort(values)[::-1][:k]].T


def _steps_by_power_iteration(A, k):
    M, found = (A.T @ A).double(), []
    for _ in range(k):
        v = torch.linspace(1, 2, len(M)).double()
        for _ in range(300):
            v = F.normalize(M @ v, dim=0)
        found.append(v)
        M = M - (v @ M @ v) * torch.outer(v, v)
    return found


def _without_signs(steps):
    """Rows whose largest coordinate is positive; of columns, which have a sign each, the absolute values."""
    if not isinstance(steps, torch.Tensor) or steps.ndim != 2:
        return steps
    if len(steps) > steps.shape[1]:
        return steps.abs()
    return steps * steps.gather(1, steps.abs().argmax(1, keepdim=True)).sign()


def _layer_inputs(g):
    outputs, d, k = ((6, 3, 2), (7, 4, 3), (9, 5, 2), (5, 4, 2))[int(torch.randint(4, (), generator=g))]
    left, right = (torch.linalg.qr(torch.randn(n, n, generator=g)).Q for n in (outputs, d))
    return 5 * left[:, :d] * 0.5 ** torch.arange(d) @ right, k


_LAYER = torch.tensor([[3.0, 0.0, 0.0], [0.0, 0.0, 2.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])

EXERCISE = Exercise(
    number="12.6",
    title="Principal steps in closed form",
    difficulty=2,
    minutes=12,
    task=r"""
A first layer computes $Az$, and $z$ is standard normal. Return the `k` unit vectors $v_1, \dots, v_k$ in the space of
$z$ as rows, such that $\lVert A v_1 \rVert$ is largest, $\lVert A v_2 \rVert$ is largest among those perpendicular to
$v_1$, and so on. Their signs are arbitrary and are not compared. `A` has more rows than columns, as in (12.16), and `k`
may be as large as `d`. One step is a row too: shape `(1, d)`.""",
    inputs=_layer_inputs,
    solution=principal_steps,
    explanation=r"""
$\lVert A v \rVert^2 = v^\top A^\top\! A\, v$ is largest, among unit vectors, at the eigenvector of $A^\top\! A$ with the
largest eigenvalue (**Rayleigh quotient**). `eigh` lists eigenvalues in ascending order and eigenvectors as *columns*, so
transpose and flip. They are the right singular vectors of $A$. The left ones live in the space of activations: they say
which pattern changes, not which step changes it.""",
    hints=(
        "Write $\\lVert A v \\rVert^2$ as $v^\\top M v$. Which matrix is $M$, and when is this largest for unit $v$?",
        "The eigenvectors of `A.T @ A`, by `torch.linalg.eigh`. Mind the order of its eigenvalues, and columns against rows.",
        "`vectors.T.flip(0)[:k]`: rows, largest eigenvalue first.",
    ),
    wrong=(
        Wrong(
            "the smallest first",
            "These are the steps that change the activation least: eigh lists the smallest eigenvalue first.",
            lambda A, k: torch.linalg.eigh(A.T @ A).eigenvectors.T[:k],
        ),
        Wrong(
            "in ascending order",
            "These are the right steps in reverse order: the one that changes the activation most comes first.",
            lambda A, k: torch.linalg.eigh(A.T @ A).eigenvectors[:, -k:].T,
        ),
        Wrong(
            "steps as columns",
            "The steps are the columns here. They are wanted as rows, shape (k, d): transpose.",
            lambda A, k: torch.linalg.svd(A, full_matrices=False).Vh[:k].T,
        ),
        Wrong(
            "columns for rows",
            "These are rows of the matrix whose columns are the steps. Transpose it.",
            lambda A, k: torch.linalg.svd(A, full_matrices=False).Vh.T[:k],
        ),
        Wrong(
            "rows of the eigenvectors",
            "eigh has the steps as columns, the smallest eigenvalue first. These are rows of that matrix.",
            lambda A, k: torch.linalg.eigh(A.T @ A).eigenvectors[:k],
        ),
        Wrong(
            "centred first",
            "The mean of the rows of A was taken out. That belongs to PCA on samples; the rows of A are no samples.",
            lambda A, k: torch.linalg.svd(A - A.mean(0), full_matrices=False).Vh[:k],
        ),
        Wrong(
            "patterns in activation space",
            "These vectors have one number for each activation. They are patterns u of the activation; the step in z is v, "
            "the right singular vector.",
            lambda A, k: torch.linalg.svd(A, full_matrices=False).U.T[:k],
        ),
        Wrong(
            "not of length one",
            "The steps are multiplied by their singular values. Unit vectors are wanted, or step sizes cannot be compared.",
            lambda A, k: (torch.linalg.svd(A, full_matrices=False).Vh * torch.linalg.svdvals(A)[:, None])[:k],
        ),
        Wrong(
            "the columns of the layer",
            "These are the largest rows of A itself, normalised. They are not perpendicular, and no combination was looked "
            "for.",
            lambda A, k: F.normalize(A, dim=1)[A.norm(dim=1).argsort(descending=True)][:k],
        ),
    ),
    right=(_steps_by_svd, _steps_in_numpy, _steps_by_power_iteration),
    probes={
        "a layer with one input for each activation": lambda f: _without_signs(f(_LAYER, 2)),
        "one step": lambda f: _without_signs(f(_LAYER, 1)),
        "all three steps": lambda f: _without_signs(f(_LAYER, 3)),
    },
    look=_without_signs,
)
