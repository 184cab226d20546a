"""Exercise 06.4: A sigma that nobody has to choose."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import torch

from genlab.exercises import Exercise, Wrong, mistake


def calibrated_nll(x, mean):
    """Mean −log N(x; mean, σ² I) over images, at the batch's own best σ²: 0-d."""
    mse = ((x - mean) ** 2).mean()
    return 0.5 * x[0].numel() * (torch.log(2 * math.pi * mse) + 1)


def _calibrated_two_steps(x, mean):
    sigma2 = (x - mean).square().mean()
    square = (x - mean).square().flatten(1).sum(1).mean() / sigma2
    return 0.5 * (square + x[0].numel() * torch.log(2 * math.pi * sigma2))


def _calibrated_detached(x, mean):
    sigma2 = ((x - mean) ** 2).mean()
    return 0.5 * x[0].numel() * (torch.log(2 * math.pi * sigma2.detach()) + ((x - mean) ** 2).mean() / sigma2.detach())


def _calibrated_by_distributions(x, mean):
    sigma = (x - mean).square().mean().sqrt()
    return -torch.distributions.Normal(mean, sigma).log_prob(x).sum() / len(x)


def _calibrated_by_loops(x, mean):
    errors = [(a - b) ** 2 for a, b in zip(x.flatten(), mean.flatten(), strict=True)]
    mse = sum(errors) / len(errors)
    return len(errors) / len(x) / 2 * (math.log(2 * math.pi) + torch.log(mse) + 1)


def _draw(g):
    n, rank = (int(torch.randint(low, low + 3, (), generator=g)) for low in (3, 1))
    shape = (n, *torch.randint(1, 4, (rank,), generator=g).tolist(), 2)
    return torch.rand(shape, generator=g), torch.rand(shape, generator=g)


@mistake(
    "without the 1",
    "The + 1 is missing: half of N per image, from the squares divided by their own mean.",
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
Put (6.5) into (6.3): the mean negative log-likelihood of a batch at its own best $\sigma^2$, one for all images and
pixels, a single number. `x` and `mean` have the same shape `(n, …)`, with one or more dimensions after the first. What
is left is $\tfrac N2 [\log(2\pi\,\text{MSE}) + 1]$. It needs no weight. Its gradient is that of the Gaussian with
$\sigma^2 = \text{MSE}$; think why it makes no difference whether $\sigma$ is differentiated as well. It holds for tiny
errors too: with MSE = $10^{-8}$ nothing is clamped, and nothing added inside the logarithm. The gradient in `mean` is
compared: stay with torch.""",
    inputs=_draw,
    solution=calibrated_nll,
    explanation=r"""
At the best $\sigma$ the sum of squares divided by $\sigma^2$ is exactly $N$ per image, which gives the $+1$. Since
$\sigma$ sits at its minimum, the derivative of the loss by $\sigma$ is zero there, so differentiating through it adds
nothing: the **envelope theorem**. As the error falls, its weight $1/(2\sigma^2)$ grows by itself.""",
    hints=(
        "What becomes of $\\lVert x - \\hat x\\rVert^2/\\sigma^2$, on average, if $\\sigma^2$ is the mean squared error?",
        "It becomes $N$ per image. So the loss is $\\tfrac12 N + \\tfrac N2 \\log(2\\pi\\,\\text{MSE})$.",
        "`0.5 * x[0].numel() * (torch.log(2 * math.pi * mse) + 1)` with one `mse` for the whole batch.",
    ),
    wrong=(
        _calibrated_no_one,
        _calibrated_not_half,
        _calibrated_per_image,
        _calibrated_mse,
        Wrong(
            "per pixel",
            "This is the mean per pixel. An image has N of them: multiply by x[0].numel().",
            lambda x, mean: 0.5 * (torch.log(2 * math.pi * ((x - mean) ** 2).mean()) + 1),
        ),
        Wrong(
            "summed over the batch",
            "This is the sum over the images. The mean over images was asked for: N is the number of pixels of one.",
            lambda x, mean: 0.5 * x.numel() * (torch.log(2 * math.pi * ((x - mean) ** 2).mean()) + 1),
        ),
        Wrong(
            "the error is cut off",
            "The value is right, but no gradient reaches mean: the error was cut off from it, as by detach, item or tolist. "
            "It may be detached in σ² alone.",
            lambda x, mean: 0.5 * x[0].numel() * (torch.log(2 * math.pi * ((x - mean) ** 2).mean().detach()) + 1),
        ),
    ),
    right=(_calibrated_two_steps, _calibrated_detached, _calibrated_by_distributions, _calibrated_by_loops),
    probes={
        "one image of one pixel": lambda f: f(torch.tensor([[0.7]]), torch.tensor([[0.2]])),
        "a mean squared error of 1e-8": lambda f: f(torch.zeros(2, 3), torch.full((2, 3), 1e-4)),
    },
    gradient=("mean",),
)
