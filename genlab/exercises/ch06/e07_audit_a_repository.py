"""Exercise 06.7: Audit a repository."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

from fractions import Fraction

import torch

from genlab.exercises import Exercise, Wrong


def beta_of_mean_squares(weight, pixels, sigma):
    """Effective β of: mean squared error + weight · summed KL, read with σ."""
    return weight * pixels / (2 * sigma**2)


def _beta_as_measured(weight, pixels, sigma):
    x, mean = torch.zeros(2, pixels, dtype=torch.float64)
    mean = mean + 1
    q = torch.distributions.Normal(mean, sigma)
    nats = q.log_prob(mean).sum() - q.log_prob(x).sum()
    return weight * nats / (x - mean).square().mean()


EXERCISE = Exercise(
    number="06.7",
    title="Audit a repository",
    difficulty=3,
    minutes=45,
    task=r"""
A program averages the squared error over `pixels` pixels and adds `weight` times the KL, summed over latent dimensions.
Write its effective $\beta$, read with a Gaussian of standard deviation `sigma`. Then audit: take a repository of your
choice, write its loss as a function of `(x, out, mu, logvar)`, and pass it to `vae.effective_beta`. Say for which
likelihood it is an ELBO, and with which $\beta$. If it is one for none, say what would mend it.""",
    inputs=lambda g: (
        10 ** (4 * torch.rand((), generator=g).item() - 3),
        int(torch.randint(100, 5000, (), generator=g)),
        10 ** (2 * torch.rand((), generator=g).item() - 1.5),
    ),
    solution=beta_of_mean_squares,
    explanation=r"""
In nats, $\mathcal D = \frac{1}{2\sigma^2}\lVert x-\hat x\rVert^2$ up to a constant. The program has
$\frac1N\lVert x-\hat x\rVert^2 = \frac{2\sigma^2}{N} \mathcal D$, so $a = 2\sigma^2/N$, $b$ is the weight, and $\beta = b/a = wN/(2\sigma^2)$.""",
    hints=(
        "Write the averaged squared error as a multiple of $\\mathcal D = \\lVert x-\\hat x\\rVert^2/(2\\sigma^2)$.",
        "It is $a \\mathcal D$ with $a = 2\\sigma^2/N$. The KL has the factor $b$ = `weight`.",
        "$\\beta = b/a$: `weight * pixels / (2 * sigma**2)`.",
    ),
    wrong=(
        Wrong(
            "the pixels are forgotten",
            "The mean over pixels is forgotten: it divides the error by the number of pixels.",
            lambda weight, pixels, sigma: weight / (2 * sigma**2),
        ),
        Wrong(
            "the sigma is forgotten",
            "The Gaussian's 1/(2σ²) is forgotten: the squared error is not yet in nats.",
            lambda weight, pixels, sigma: weight * pixels,
        ),
        Wrong(
            "without the 2",
            "The 2 is missing: a Gaussian has 1/(2σ²) before the square.",
            lambda weight, pixels, sigma: weight * pixels / sigma**2,
        ),
        Wrong(
            "upside down",
            "This is 1/β: the weight of an error in nats, if the KL has the weight 1.",
            lambda weight, pixels, sigma: 2 * sigma**2 / (weight * pixels),
        ),
        Wrong(
            "sigma on the wrong side",
            "σ² stands on the wrong side: the smaller σ, the more an error costs in nats, and the larger this β.",
            lambda weight, pixels, sigma: weight * pixels * 2 * sigma**2,
        ),
    ),
    right=(
        _beta_as_measured,
        lambda weight, pixels, sigma: weight / (2 * sigma**2 / pixels),
        lambda weight, pixels, sigma: Fraction(weight) * pixels / (2 * Fraction(sigma) ** 2),
        lambda weight, pixels, sigma: torch.tensor(weight) * pixels * 0.5 * torch.tensor(sigma) ** -2,
    ),
    probes={
        "784 pixels, weight 1, σ² = ½": lambda f: f(1.0, 784, 0.5**0.5),
        "a small σ of 0.01": lambda f: f(2.0, 3072, 0.01),
        "one pixel": lambda f: f(0.25, 1, 2.0),
    },
    discussion=r"""
**For the open part.** A good audit quotes no code and has four lines: the range of the pixels, the likelihood, the two
reductions, and $\beta$ as measured. Watch for three things. A sigmoid or tanh at the end of the decoder changes the
output that the loss sees, so pass that output. A weight that depends on the batch size hides in "sum over the batch".
And `logvar` may be $\log\sigma$: then the KL term is not parallel to the KL, and the function says so. Name the data as
well: a cross-entropy that is fed grey pixels is a bound for binarised ones, and of grey values it is the likelihood of none.""",
)
