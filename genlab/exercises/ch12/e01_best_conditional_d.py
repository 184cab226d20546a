"""Exercise 12.1: The best discriminator, when the labels differ too."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch

from genlab.exercises import Exercise, Wrong, mistake


def conditional_d(log_px, log_qx, log_py, log_ry):
    """D*(x, y) from log p(x|y), log q(x|y), log p(y), log r(y): (n,) four times -> (n,)."""
    return torch.sigmoid((log_px + log_py) - (log_qx + log_ry))


@mistake(
    "densities that underflow",
    "Right for moderate values. At −2,000 both densities round to 0, and 0/0 is not a number: stay with logarithms.",
)
def _conditional_by_densities(log_px, log_qx, log_py, log_ry):
    real, fake = (log_px + log_py).exp(), (log_qx + log_ry).exp()
    return real / (real + fake)


def _conditional_by_softmax(log_px, log_qx, log_py, log_ry):
    return torch.softmax(torch.stack([log_px + log_py, log_qx + log_ry], 1), 1)[:, 0]


_DEEP = torch.tensor([-2000.0, -3000.0])

EXERCISE = Exercise(
    number="12.1",
    title="The best discriminator, when the labels differ too",
    difficulty=1,
    minutes=8,
    task=r"""
Real pairs have labels with shares $p(y)$; generated pairs were drawn with other shares $r(y)$. Write the discriminator
that is best against this generator, from $\log p(x|y)$, $\log q(x|y)$, $\log p(y)$ and $\log r(y)$ at each of `n` pairs.
With $r = p$ it is (12.2), and with perfect images, $q(x|y) = p(x|y)$, it is $p(y)/(p(y) + r(y))$. It must also work for
log-densities of −2,000, whose exponentials are 0.""",
    inputs=lambda g: tuple(torch.randn(5, generator=g) for _ in range(4)),
    solution=conditional_d,
    explanation=r"""
The best discriminator compares the densities of what it sees, and it sees pairs: $p(x, y) = p(x|y)\,p(y)$ and
$q(x, y) = q(x|y)\,r(y)$ (product rule). A ratio $a/(a+b)$ is $\sigma(\log a - \log b)$, and no density is ever computed.
So $D$ earns something by knowing which labels come too often, though the images may be perfect, and $G$, which is given
its labels, can do nothing about it. Drawing $G$'s labels from the real batch makes the shares cancel.""",
    hints=(
        "$D$ judges pairs. What is the density of a pair, for real and for generated ones?",
        "$D^* = a/(a+b)$ with $a = p(x|y)\\,p(y)$ and $b = q(x|y)\\,r(y)$. Write it with $\\log a$ and $\\log b$.",
        "$a/(a+b) = \\sigma(\\log a - \\log b)$, and each logarithm of a product is a sum of two arguments.",
    ),
    wrong=(
        Wrong(
            "the label shares left out",
            "This is (12.2), which holds for equal label shares. Here p(y) and r(y) differ, and D may use that.",
            lambda log_px, log_qx, log_py, log_ry: torch.sigmoid(log_px - log_qx),
        ),
        Wrong(
            "the label shares swapped",
            "p(y) belongs to the real pairs and r(y) to the generated ones. Here they are swapped.",
            lambda log_px, log_qx, log_py, log_ry: torch.sigmoid((log_px + log_ry) - (log_qx + log_py)),
        ),
        Wrong(
            "real and generated swapped",
            "This is 1 − D*: the probability that the pair is generated.",
            lambda log_px, log_qx, log_py, log_ry: torch.sigmoid((log_qx + log_ry) - (log_px + log_py)),
        ),
        Wrong(
            "the logit",
            "This is the logit of D*. A sigmoid makes it a probability.",
            lambda log_px, log_qx, log_py, log_ry: (log_px + log_py) - (log_qx + log_ry),
        ),
        _conditional_by_densities,
    ),
    right=(_conditional_by_softmax,),
    probes={
        "log-densities of −2,000 and −3,000": lambda f: f(_DEEP, _DEEP + 1, torch.zeros(2), torch.zeros(2)),
    },
    gradient=True,
)
