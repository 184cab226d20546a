"""Exercise 05.7: The beta of someone else's code."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

from fractions import Fraction

import torch

from genlab.exercises import Exercise, Wrong


def effective_beta(pixels, kl_terms=1):
    """The weight of the summed KL once the loss is scaled so that pixels are summed."""
    return pixels / kl_terms


def _by_gradients(pixels, kl_terms=1):
    errors, kl = torch.ones(pixels, requires_grad=True), torch.ones(kl_terms, requires_grad=True)
    a, b = torch.autograd.grad(errors.mean() + kl.mean(), (errors, kl))
    return b[0] / a[0]


EXERCISE = Exercise(
    number="05.7",
    title="The beta of someone else's code",
    difficulty=3,
    minutes=30,
    task=r"""
A program averages the reconstruction term over `pixels` pixels and the KL term over `kl_terms` numbers (1 if it is
summed over latent dimensions). Write the $\beta$ that it uses in truth. Check it against (5.13). Then find a VAE in a
public repository, work out its $\beta$, and train the model of this chapter with it for a few hundred steps. Report the
reconstruction and the KL in nats. Are its samples sharper or smoother than ours, and does its ELBO at $\beta = 1$ agree
with what your eyes prefer?""",
    inputs=lambda g: (int(torch.randint(10, 1000, (), generator=g)), int(torch.randint(2, 30, (), generator=g))),
    solution=effective_beta,
    explanation=r"""
The program minimises $-\tfrac1N \log p(x \mid z) + \tfrac1m \operatorname{KL}$. Multiplied by $N$, which moves no
minimum, it is $-\log p(x \mid z) + \tfrac Nm \operatorname{KL}$: so $\beta = N/m$.""",
    hints=(
        "Multiplying a loss by a positive number moves no minimum. Which number makes the reconstruction a sum again?",
        "Multiply by `pixels`. The KL term is then `pixels` times its average over `kl_terms` numbers.",
        "An average over $m$ numbers is their sum divided by $m$, so the summed KL has the weight `pixels / kl_terms`.",
    ),
    wrong=(
        Wrong(
            "upside down",
            "This is the inverse: it would be the weight of the reconstruction in units of the KL.",
            lambda pixels, kl_terms=1: kl_terms / pixels,
        ),
        Wrong(
            "the KL's mean is forgotten",
            "This is right when the KL is summed. Here the KL is averaged as well, which divides its weight.",
            lambda pixels, kl_terms=1: pixels,
        ),
        Wrong(
            "both multiplied",
            "Averaging the KL makes its weight smaller, not larger: divide by kl_terms.",
            lambda pixels, kl_terms=1: pixels * kl_terms,
        ),
        Wrong(
            "no effect",
            "The reductions do change beta: a mean divides its term by the number of what it averages.",
            lambda pixels, kl_terms=1: 1.0,
        ),
    ),
    right=(
        _by_gradients,
        lambda pixels, kl_terms=1: Fraction(pixels, kl_terms),
        lambda pixels, kl_terms=1: torch.tensor(1 / kl_terms) / (1 / pixels),
    ),
    probes={"the KL summed, 784 pixels": lambda f: f(784), "16 latent dimensions averaged": lambda f: f(784, 16)},
    discussion=r"""
**For the open part.** A large $\beta$ makes samples smoother and more alike, since the decoder learns not to listen to
$z$; a small one makes reconstructions sharp and samples poor, since the aggregate posterior no longer covers the prior.
The ELBO at $\beta = 1$ ranks neither by looks: it is a likelihood bound. A report that names the repository, its
reductions, its $\beta$, both terms in nats on the same binarised test digits, and the seed, has answered the question.""",
)
