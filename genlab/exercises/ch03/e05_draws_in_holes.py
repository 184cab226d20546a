"""Exercise 03.5: How often a draw falls into a hole."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def hole_share(fake, real, limit):
    """Share of rows of fake (m, d) with no row of real (n, d) within limit: 0-d."""
    return (torch.cdist(fake, real).min(1).values > limit).float().mean()


def _hole_by_loops(fake, real, limit):
    far = [min((a - b).norm().item() for b in real) > limit for a in fake]
    return sum(far) / len(far)


def _hole_in_numpy(fake, real, limit):
    squared = ((fake.numpy()[:, None] - real.numpy()[None]) ** 2).sum(2)
    return np.mean(squared.min(1) > limit**2)


def _features(g):
    m, n, d = (torch.randint(1, 6, (3,), generator=g) + torch.tensor([4, 2, 0])).tolist()
    return (
        1.5 * torch.randn(m, d, generator=g),
        torch.randn(n, d, generator=g),
        (0.3 + 0.2 * torch.rand((), generator=g).item()) * d,
    )


EXERCISE = Exercise(
    number="03.5",
    title="How often a draw falls into a hole",
    difficulty=2,
    minutes=8,
    task=r"""
Write the hole share (3.6): the share of generated feature rows whose *nearest* real row lies further away than `limit`, in
the ordinary (Euclidean) distance: one number from 0 to 1. Copies of real rows give 0. A row at exactly the distance `limit`
is in no hole. The numbers of generated and real rows differ.""",
    inputs=_features,
    solution=hole_share,
    explanation=r"""
`cdist(fake, real)` has a row for each generated point. The smallest distance in a row is that to the nearest real point; the
share is a mean of truth values. The minimum the other way round would ask how well the real data are covered, which is
another question: a sampler that always draws one good digit has no holes and covers nothing.""",
    hints=(
        "Which table of distances do you need, and over which of its dimensions is the minimum?",
        "`torch.cdist(fake, real)` has shape `(m, n)`: a row for each generated point.",
        "`(torch.cdist(fake, real).min(1).values > limit).float().mean()`.",
    ),
    wrong=(
        Wrong(
            "the other minimum",
            "The minimum runs over generated points: this asks which real points no draw comes near.",
            lambda fake, real, limit: (torch.cdist(fake, real).min(0).values > limit).float().mean(),
        ),
        Wrong(
            "the mean distance",
            "The mean distance to all real points is compared. A good digit is near one of them and far from most.",
            lambda fake, real, limit: (torch.cdist(fake, real).mean(1) > limit).float().mean(),
        ),
        Wrong(
            "near for far",
            "This is the share of draws that are near. The holes are the others.",
            lambda fake, real, limit: (torch.cdist(fake, real).min(1).values <= limit).float().mean(),
        ),
        Wrong(
            "nearer than the limit",
            "Draws nearer than the limit are counted. A hole is where they lie further away.",
            lambda fake, real, limit: (torch.cdist(fake, real).min(1).values < limit).float().mean(),
        ),
        Wrong(
            "at the limit",
            "A draw at exactly the limit is counted as well. A hole lies further away than that.",
            lambda fake, real, limit: (torch.cdist(fake, real).min(1).values >= limit).float().mean(),
        ),
        Wrong(
            "far from any",
            "Draws that are far from some real row are counted. In a hole they are far from every one.",
            lambda fake, real, limit: (torch.cdist(fake, real).max(1).values > limit).float().mean(),
        ),
        Wrong(
            "a number of draws",
            "This is how many draws are far. A share was asked for.",
            lambda fake, real, limit: (torch.cdist(fake, real).min(1).values > limit).sum(),
        ),
        Wrong(
            "squared distance",
            "The squared distance is compared with the limit, which is a distance.",
            lambda fake, real, limit: (torch.cdist(fake, real).square().min(1).values > limit).float().mean(),
        ),
    ),
    right=(
        _hole_by_loops,
        _hole_in_numpy,
        lambda fake, real, limit: (torch.cdist(fake, real) > limit).all(1).sum().item() / len(fake),
        lambda fake, real, limit: 1 - (torch.cdist(real.double(), fake.double()).amin(0) <= limit).double().mean(),
    ),
    probes={
        "copies of real rows": lambda f: f(torch.eye(3), torch.eye(3), 0.1),
        "one draw of four in a hole": lambda f: f(
            torch.tensor([[0.0], [1.0], [2.0], [9.0]]), torch.tensor([[0.0], [1.5]]), 1.0
        ),
        "draws at exactly the limit": lambda f: f(torch.tensor([[2.0, 0.0], [5.0, 0.0]]), torch.zeros(3, 2), 2.0),
        "one draw and one real row": lambda f: f(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2), 4.5),
    },
)
