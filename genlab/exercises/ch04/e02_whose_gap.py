"""Exercise 04.2: Whose gap is it?"""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def split_gap(log_px, best_bound, encoder_bound):
    """The mean approximation gap and the mean amortisation gap of (4.23).

    (n,) three times -> two numbers.
    """
    approximation = (log_px - best_bound).mean()
    amortisation = (best_bound - encoder_bound).mean()
    return approximation, amortisation


def _split_in_python(log_px, best_bound, encoder_bound):
    top, middle, bottom = (sum(v.tolist()) / len(v) for v in (log_px, best_bound, encoder_bound))
    return top - middle, middle - bottom


def _bounds(g):
    n = int(torch.randint(2, 9, (), generator=g))
    return tuple(level + 2 * torch.randn(n, generator=g) for level in (-90, -92, -95))


EXERCISE = Exercise(
    number="04.2",
    title="Whose gap is it?",
    difficulty=1,
    minutes=5,
    task=r"""
Three numbers are known for every image: $\log p(x)$, the ELBO of the best $q$ of the family, and the ELBO of the encoder's
$q$, each of shape `(n,)`. Return two numbers: the mean approximation gap and the mean amortisation gap, in this order.
Together they are the mean distance from the encoder's ELBO to $\log p(x)$. Exact gaps are never negative. These numbers are
*estimates* with noise: a difference may come out below 0, and is averaged as it is.""",
    inputs=_bounds,
    solution=split_gap,
    explanation=r"""
The bounds are ordered: encoder, best of the family, $\log p(x)$. The step from the best to $\log p(x)$ is what the
*family* cannot reach, whoever chooses from it. The step from the encoder to the best is what the *encoder* misses.""",
    hints=(
        "Draw three points on a line, in order of size: which is the largest, which the smallest?",
        "A richer family could win the distance from the best $q$ to $\\log p(x)$; a better encoder that from its $q$ to the best.",
        "`(log_px - best_bound).mean()` is the first number, `(best_bound - encoder_bound).mean()` the second.",
    ),
    wrong=(
        Wrong(
            "the two swapped",
            "The two gaps have changed places: the approximation gap belongs to the family, not to the encoder.",
            lambda log_px, best, encoder: ((best - encoder).mean(), (log_px - best).mean()),
        ),
        Wrong(
            "the wrong sign",
            "Both differences are taken the wrong way round: subtract the lower bound from the higher.",
            lambda log_px, best, encoder: ((best - log_px).mean(), (encoder - best).mean()),
        ),
        Wrong(
            "the whole gap as amortisation",
            "The second number is the whole gap. The amortisation gap starts at the best q, not at log p(x).",
            lambda log_px, best, encoder: ((log_px - best).mean(), (log_px - encoder).mean()),
        ),
        Wrong(
            "sums over the batch",
            "These are sums over the images. The mean is wanted: nats per image.",
            lambda log_px, best, encoder: ((log_px - best).sum(), (best - encoder).sum()),
        ),
        Wrong(
            "not averaged",
            "These are the gaps of single images. Average over the images, once, at the end.",
            lambda log_px, best, encoder: (log_px - best, best - encoder),
        ),
        Wrong(
            "negative differences cut off",
            "Differences below 0 are set to 0 before the mean. Noise then counts only where it raises a gap.",
            lambda log_px, best, encoder: ((log_px - best).clamp(min=0).mean(), (best - encoder).clamp(min=0).mean()),
        ),
        Wrong(
            "absolute differences",
            "Absolute differences are averaged. Where noise makes one negative it has to lower the mean, not to raise it.",
            lambda log_px, best, encoder: ((log_px - best).abs().mean(), (best - encoder).abs().mean()),
        ),
    ),
    right=(
        _split_in_python,
        lambda log_px, best, encoder: (log_px.mean() - best.mean(), best.mean() - encoder.mean()),
        lambda log_px, best, encoder: torch.stack([log_px - best, best - encoder]).mean(1),
        lambda log_px, best, encoder: [np.mean((log_px - best).numpy()), np.mean((best - encoder).numpy())],
    ),
    probes={
        "the gaps of an encoder that finds the best q": lambda f: f(torch.ones(3), torch.zeros(3), torch.zeros(3)),
        "the gaps of a single image": lambda f: f(torch.tensor([-80.0]), torch.tensor([-81.0]), torch.tensor([-85.0])),
        "gaps that noise makes negative": lambda f: f(
            torch.tensor([-80.0, -70.0]), torch.tensor([-79.0, -70.5]), torch.tensor([-78.5, -70.25])
        ),
    },
)
