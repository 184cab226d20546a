"""Exercise 01.8: Contrastive divergence."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch
from scipy import special

from genlab.exercises import Exercise, Wrong


def cd_direction(v, W, a, b, u_h, u_v):
    """The CD-1 direction for W.

    v (n, d), W (d, m), a (d,), b (m,), uniform u_h (n, m), u_v (n, d) -> (d, m).
    """
    p = torch.sigmoid(b + v @ W)
    h = (u_h < p).to(v)
    dream = (u_v < torch.sigmoid(a + h @ W.T)).to(v)
    return (v.T @ p - dream.T @ torch.sigmoid(b + dream @ W)) / len(v)


def _cd_by_einsum(v, W, a, b, u_h, u_v):
    up = 1 / (1 + torch.exp(-(v @ W + b)))
    dream = torch.where(u_v < torch.sigmoid(torch.where(u_h < up, 1.0, 0.0) @ W.T + a), 1.0, 0.0)
    down = 1 / (1 + torch.exp(-(dream @ W + b)))
    return (torch.einsum("ni,nj->nij", v, up) - torch.einsum("ni,nj->nij", dream, down)).mean(0)


def _cd_by_numpy(*args):
    v, W, a, b, u_h, u_v = (np.asarray(t, dtype=np.float64) for t in args)
    p = special.expit(v @ W + b)
    dream = (u_v < special.expit((u_h < p) @ W.T + a)) * 1.0
    return (v.T @ p - dream.T @ special.expit(dream @ W + b)) / len(v)


def _cd_by_loops(v, W, a, b, u_h, u_v):
    total = torch.zeros_like(W)
    for image, noise_h, noise_v in zip(v, u_h, u_v, strict=True):
        p = torch.sigmoid(b + image @ W)
        dream = (noise_v < torch.sigmoid(a + W @ (noise_h < p).float())).float()
        total += torch.outer(image, p) - torch.outer(dream, torch.sigmoid(b + dream @ W))
    return total / len(v)


def _cd(v, W, a, b, u_h, u_v, *, sample_h=True, sample_v=True, hard_data=False, on=torch.lt):
    p = torch.sigmoid(b + v @ W)
    h = on(u_h, p).to(v) if sample_h else p
    q = torch.sigmoid(a + h @ W.T)
    dream = on(u_v, q).to(v) if sample_v else q
    return (v.T @ (h if hard_data else p) - dream.T @ torch.sigmoid(b + dream @ W)) / len(v)


def _draw(g):
    n, d, m = (int(torch.randint(low, low + 4, (), generator=g)) for low in (8, 4, 2))
    weights = (torch.randn(s, generator=g) for s in ((d, m), (d,), (m,)))
    noise = (torch.rand(s, generator=g) for s in ((n, m), (n, d)))
    return torch.rand(n, d, generator=g).round(), *weights, *noise


_NOISE = torch.full((1, 1), 0.5), torch.full((1, 2), 0.5)

EXERCISE = Exercise(
    number="01.8",
    title="Contrastive divergence",
    difficulty=3,
    minutes=15,
    task=r"""
Write the CD-1 direction (1.14) for `W`, as a mean over the `n` images. The noise is given, so that the result is a function: a
unit is on where its uniform number is *below* its probability. Go up from `v` to binary hidden units with `u_h`, down to a
binary dream with `u_v`, and use the *probabilities* of the hidden units in both averages.

Then it is open: let `learn` of this chapter take `k` Gibbs steps in place of one, and measure with `log_z` how many nats CD-5
and CD-20 gain over CD-1 at 12 hidden units, for the same number of steps, and for the same time. Does any of them reach the
persistent chains?""",
    inputs=_draw,
    solution=cd_direction,
    explanation=r"""
The hidden units must be *binary* on the way down: a probability carries a whole real number from the image to its
reconstruction, far more than the model has. In the averages, probabilities have the same mean as draws and less variance
(Rao-Blackwell), so they are better there. Data minus dream, because the step *raises* the log-likelihood.""",
    hints=(
        "There are three half-steps: up from the data, down to a dream, up again from the dream.",
        "Draw with `(u < p).to(v)`. The first average uses `v` and its hidden probabilities, the second the dream and its own.",
        "`(v.T @ p - dream.T @ torch.sigmoid(b + dream @ W)) / len(v)`, where `dream` was drawn from the binary `h`.",
    ),
    wrong=(
        Wrong(
            "dream minus data",
            "The sign is swapped: this lowers the probability of the data and raises that of the dreams.",
            lambda *args: -cd_direction(*args),
        ),
        Wrong(
            "not averaged",
            "This is a sum over the images. Divide by their number, or the step grows with the batch.",
            lambda v, *rest: cd_direction(v, *rest) * len(v),
        ),
        Wrong(
            "hidden probabilities sent down",
            "The dream was made from the hidden probabilities, not from binary units. They carry more about the image "
            "than the model can hold, and the direction changes.",
            lambda *args: _cd(*args, sample_h=False),
        ),
        Wrong(
            "a dream of probabilities",
            "The dream holds probabilities, not black and white. Many programs do that; the task asks for a draw, "
            "with u_v.",
            lambda *args: _cd(*args, sample_v=False),
        ),
        Wrong(
            "drawn hidden units in the average",
            "The first average uses the drawn hidden units. Its mean is the same, but probabilities have less variance.",
            lambda *args: _cd(*args, hard_data=True),
        ),
        Wrong(
            "on above the probability",
            "Units are on where the number is above the probability: with probability 1 − p. On is below: u < p.",
            lambda *args: _cd(*args, on=torch.gt),
        ),
        Wrong(
            "on at the probability itself",
            "A unit is on where its number is below the probability. Here it is on where they are equal, too: use <.",
            lambda *args: _cd(*args, on=torch.le),
        ),
        Wrong(
            "visible biases forgotten",
            "The dream was drawn without the visible biases a.",
            lambda v, W, a, b, u_h, u_v: cd_direction(v, W, torch.zeros_like(a), b, u_h, u_v),
        ),
    ),
    right=(_cd_by_einsum, _cd_by_numpy, _cd_by_loops),
    probes={
        "a machine that knows nothing, and dreams its data": lambda f: f(
            torch.tensor([[1.0, 0.0]]),
            torch.zeros(2, 1),
            torch.tensor([20.0, -20.0]),
            torch.zeros(1),
            *_NOISE,
        ),
        "numbers that are equal to the probability": lambda f: f(
            torch.tensor([[1.0, 0.0]]),
            torch.tensor([[2.0], [3.0]]),
            torch.tensor([-1.0, 0.0]),
            torch.tensor([-2.0]),
            *_NOISE,
        ),
    },
    discussion=r"""
Report the log-likelihoods in nats with the number of steps, and repeat with three seeds before you call anything better. More
Gibbs steps cost time in proportion, so two comparisons are fair: equal steps and equal time. Look at
the dreams from noise as well: do they get more varied as $k$ grows?""",
)
