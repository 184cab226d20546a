"""Exercise 06.4: A sigma that nobody has to choose."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import torch

from genlab.exercises import Exercise, mistake


def calibrated_nll(x, mean):
    """Mean −log N(x; mean, σ² I) over images, at the σ² that makes it smallest for the batch: 0-d."""
    mse = ((x - mean) ** 2).mean()
    return 0.5 * x[0].numel() * (torch.log(2 * math.pi * mse) + 1)


def _calibrated_two_steps(x, mean):
    sigma2 = (x - mean).square().mean()
    square = (x - mean).square().flatten(1).sum(1).mean() / sigma2
    return 0.5 * (square + x[0].numel() * torch.log(2 * math.pi * sigma2))


def _calibrated_detached(x, mean):
    sigma2 = ((x - mean) ** 2).mean()
    return 0.5 * x[0].numel() * (torch.log(2 * math.pi * sigma2.detach()) + ((x - mean) ** 2).mean() / sigma2.detach())


@mistake(
    "without the 1",
    "The + 1 is missing: half of D per image, from the squares divided by their own mean.",
)
def _calibrated_no_one(x, mean):
    return 0.5 * x[0].numel() * torch.log(2 * math.pi * ((x - mean) ** 2).mean())


@mistake(
    "without the half",
    "The factor of one half is missing.",
)
def _calibrated_not_half(x, mean):
    return x[0].numel() * (torch.log(2 * math.pi * ((x - mean) ** 2).mean()) + 1)


@mistake(
    "a sigma per image",
    "Every image has a σ of its own here. One σ for the batch was asked for.",
)
def _calibrated_per_image(x, mean):
    mse = ((x - mean) ** 2).flatten(1).mean(1)
    return (0.5 * x[0].numel() * (torch.log(2 * math.pi * mse) + 1)).mean()


@mistake(
    "the squared error",
    "This is the plain sum of squares: it assumes σ² = ½.",
)
def _calibrated_mse(x, mean):
    return ((x - mean) ** 2).flatten(1).sum(1).mean()


EXERCISE = Exercise(
    number="06.4",
    title="A sigma that nobody has to choose",
    difficulty=2,
    minutes=12,
    task=r"""
Put (6.5) into (6.3): the mean negative log-likelihood of a batch at its own best $\sigma^2$, one for all images and pixels.
What is left is $\tfrac D2 [\log(2\pi\,\text{MSE}) + 1]$. It needs no weight. Its gradient is that of the Gaussian with
$\sigma^2 = \text{MSE}$; think why it makes no difference whether $\sigma$ is differentiated as well.""",
    inputs=lambda g: (torch.rand(4, 1, 3, 2, generator=g), torch.rand(4, 1, 3, 2, generator=g)),
    solution=calibrated_nll,
    explanation=r"""
At the best $\sigma$ the sum of squares divided by $\sigma^2$ is exactly $D$ per image, which gives the $+1$. Since $\sigma$ sits at
its minimum, the derivative of the loss by $\sigma$ is zero there, so differentiating through it adds nothing: the **envelope
theorem**. As the error falls, its weight $1/(2\sigma^2)$ grows by itself.""",
    hints=(
        "What becomes of $\\lVert x - \\hat x\\rVert^2/\\sigma^2$, on average, if $\\sigma^2$ is the mean squared error?",
        "It becomes $D$ per image. So the loss is $\\tfrac12 D + \\tfrac D2 \\log(2\\pi\\,\\text{MSE})$.",
        "`0.5 * x[0].numel() * (torch.log(2 * math.pi * mse) + 1)` with one `mse` for the whole batch.",
    ),
    wrong=(
        _calibrated_no_one,
        _calibrated_not_half,
        _calibrated_per_image,
        _calibrated_mse,
    ),
    right=(_calibrated_two_steps, _calibrated_detached),
    gradient=True,
)
