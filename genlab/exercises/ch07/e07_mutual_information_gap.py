"""Exercise 07.7: A gap, and how far to trust it."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong, mistake


def mutual_information_gap(information, entropy):
    """Equation (7.14) from I(z_j; v_k), shape (d, m), and H(v_k), shape (m,), in nats.

    The result is one number.
    """
    best = information.topk(2, dim=0).values
    return ((best[0] - best[1]) / entropy).mean()


def _gap_by_sorting(information, entropy):
    total = 0.0
    for k in range(information.shape[1]):
        column = sorted(information[:, k].tolist())
        total += (column[-1] - column[-2]) / float(entropy[k])
    return total / information.shape[1]


def _gap_by_numpy(information, entropy):
    known = np.sort(information.numpy() / entropy.numpy(), axis=0)
    return np.mean(known[-1] - known[-2])


def _gap_by_masks(information, entropy):
    best, first = information.max(0)
    others = information.scatter(0, first[None], -math.inf).max(0).values
    return torch.dot(best - others, 1 / entropy) / len(entropy)


def _draw(g):
    d, m = (int(torch.randint(low, low + 4, (), generator=g)) for low in (3, 2))
    entropy = 0.5 + 2 * torch.rand(m, generator=g)
    return torch.rand(d, m, generator=g) * entropy, entropy


@mistake(
    "divided by the mean entropy",
    "The mean gap is divided by the mean entropy. Divide each factor's gap by its own entropy, then average.",
)
def _gap_of_means(information, entropy):
    best = information.topk(2, dim=0).values
    return (best[0] - best[1]).mean() / entropy.mean()


EXERCISE = Exercise(
    number="07.7",
    title="A gap, and how far to trust it",
    difficulty=3,
    minutes=40,
    task=r"""
Write the mutual information gap for two or more latents and any number of factors: one number, from a matrix of mutual
informations and the factors' entropies, both in nats. It is 1 when each factor is known from one latent and no other
knows of it, and 0 when two latents know each factor equally well. Renumbering latents or factors changes nothing. Then
train five seeds of the β-VAE of this chapter on `spots`, for three values of $\beta$, and report the gap of all fifteen
with their rates. Is the spread between seeds larger than the difference between the $\beta$? Which seed would you have
shown in a paper?""",
    inputs=_draw,
    solution=mutual_information_gap,
    explanation=r"""
For each factor, a column, the two largest entries are compared, and the difference is divided by what there was to know.
The mean over factors comes last.""",
    hints=(
        "A column belongs to a factor. Which two entries of it matter?",
        "`topk(2, dim=0)` gives the two largest of each column, the largest first.",
        "Divide the difference by the entropies, column by column, and take the mean.",
    ),
    wrong=(
        Wrong(
            "not divided by the entropy",
            "The gap is in nats here. Divide by the entropy of each factor, so that factors with more values do not count more.",
            lambda information, entropy: (
                information.topk(2, dim=0).values[0] - information.topk(2, dim=0).values[1]
            ).mean(),
        ),
        Wrong(
            "the best alone",
            "This says how well the best latent knows each factor. The gap to the second best is wanted.",
            lambda information, entropy: (information.max(0).values / entropy).mean(),
        ),
        Wrong(
            "best against worst",
            "This is the distance to the worst latent. The second best is the one that shares the factor.",
            lambda information, entropy: ((information.max(0).values - information.min(0).values) / entropy).mean(),
        ),
        Wrong(
            "a gap between factors",
            "This compares factors for each latent. Compare latents for each factor: reduce over dimension 0.",
            lambda information, entropy: (
                information.topk(2, dim=1).values[:, 0] - information.topk(2, dim=1).values[:, 1]
            ).mean(),
        ),
        _gap_of_means,
        Wrong(
            "a sum over factors",
            "The factors are summed, so the gap can exceed 1. Take the mean.",
            lambda information, entropy: (
                (information.topk(2, dim=0).values[0] - information.topk(2, dim=0).values[1]) / entropy
            ).sum(),
        ),
    ),
    right=(_gap_by_sorting, _gap_by_numpy, _gap_by_masks),
    probes={
        "each factor in a latent of its own": lambda f: f(
            torch.diag(torch.tensor([2.0, 1.0, 0.5])), torch.tensor([2.0, 1.0, 0.5])
        ),
        "two latents that share": lambda f: f(torch.ones(2, 3), torch.ones(3)),
        "one factor, two latents": lambda f: f(torch.tensor([[0.2], [1.4]]), torch.tensor([2.0])),
        "two factors that one latent knows": lambda f: f(
            torch.tensor([[0.1, 0.2], [2.0, 1.0], [0.4, 0.5]]), torch.tensor([2.5, 1.5])
        ),
    },
    discussion=r"""
**For the open part.** A good report shows all fifteen gaps, not a mean, beside rate and distortion: a model that sends
little can have any gap. Expect seeds to differ by about as much as values of $\beta$ do. A single seed shown in a paper is
an anecdote, and the seed was chosen with labels that an unsupervised method does not have (Locatello et al. 2019).""",
)
