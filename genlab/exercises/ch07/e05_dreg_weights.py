"""Exercise 07.5: The weights of a doubly reparameterised gradient."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch

from genlab.exercises import Exercise, Wrong


def dreg_gradient(log_w, slope):
    """Σ_i w̃_i² slope_i, with w̃ the normalised weights over the k samples: (k, n) twice -> (n,)."""
    return (torch.softmax(log_w, 0) ** 2 * slope).sum(0)


def _dreg_by_hand(log_w, slope):
    w = (log_w - log_w.max(0).values).exp()
    return ((w / w.sum(0)).square() * slope).sum(0)


EXERCISE = Exercise(
    number="07.5",
    title="The weights of a doubly reparameterised gradient",
    difficulty=2,
    minutes=10,
    task=r"""
Write the sum in (7.9) for one parameter. `log_w` of shape `(k, n)` holds the log-weights of $k$ samples for $n$ images,
and `slope` the products $\frac{\partial \log w_i}{\partial z_i} \nabla_\phi z_i$. With $k = 1$ it is the slope itself. With
equal weights it is the mean slope divided by $k$. Adding any number to all log-weights of an image changes nothing.""",
    inputs=lambda g: (torch.randn(4, 3, generator=g), torch.randn(4, 3, generator=g)),
    solution=dreg_gradient,
    explanation=r"""
The normalised weights are the softmax of the log-weights over samples. Squared, they no longer sum to one: with equal
weights the factor is $1/k$. So the mean and the standard deviation of the estimator both shrink with $k$, the latter faster.""",
    hints=(
        "Normalised weights sum to one over the samples. Which function makes them from log-weights?",
        "The samples lie along dimension 0. The square is taken after the normalisation.",
        "`torch.softmax(log_w, 0) ** 2` times the slopes, summed over dimension 0.",
    ),
    wrong=(
        Wrong(
            "the plain weights",
            "The weights are not squared. With w̃ in place of w̃², this is another and biased gradient, "
            "known as sticking the landing.",
            lambda log_w, slope: (torch.softmax(log_w, 0) * slope).sum(0),
        ),
        Wrong(
            "the square is normalised",
            "The squares were made to sum to one again. Normalise first, square after.",
            lambda log_w, slope: (torch.softmax(2 * log_w, 0) * slope).sum(0),
        ),
        Wrong(
            "over the wrong axis",
            "The softmax runs over the images. The samples lie along dimension 0.",
            lambda log_w, slope: (torch.softmax(log_w, 1) ** 2 * slope).sum(0),
        ),
        Wrong(
            "a mean over samples",
            "This divides by k once more. The weights are normalised already: take the sum.",
            lambda log_w, slope: (torch.softmax(log_w, 0) ** 2 * slope).mean(0),
        ),
        Wrong(
            "weights that are not normalised",
            "The weights are not normalised: adding a number to all log-weights changes the result.",
            lambda log_w, slope: (log_w.exp() ** 2 * slope).sum(0),
        ),
        Wrong(
            "the square of the sum",
            "This squares the whole sum. Only the weight of each sample is squared.",
            lambda log_w, slope: (torch.softmax(log_w, 0) * slope).sum(0) ** 2,
        ),
    ),
    right=(_dreg_by_hand, lambda log_w, slope: ((2 * torch.log_softmax(log_w, 0)).exp() * slope).sum(0)),
    probes={
        "one sample": lambda f: f(torch.tensor([[3.0, -2.0]]), torch.tensor([[0.5, -4.0]])),
        "equal weights": lambda f: f(torch.full((5, 1), -7.0), torch.arange(5.0)[:, None]),
        "log-weights near −1,000": lambda f: f(torch.tensor([[-1000.0], [-1001.0]]), torch.tensor([[1.0], [2.0]])),
    },
)
