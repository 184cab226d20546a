"""Exercise 03.6: A generator after all?"""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import torch
from torch import nn

from genlab.exercises import Exercise, Wrong


def walk(x, denoiser, sigma, step, eps):
    """One step of Langevin dynamics with a denoiser's score and noise eps: as x."""
    score = (denoiser(x) - x) / sigma**2
    return x + step * score + (2 * step) ** 0.5 * eps


def _network(*layers, g):
    """A network that is ready for use, as the chapter's is after training: in eval mode, with random weights."""
    network = nn.Sequential(*layers).eval().requires_grad_(False)
    for weight in network.parameters():
        weight.copy_(0.5 * torch.randn(weight.shape, generator=g))
    return network


def _images(g):
    n, c, h, w = torch.randint(1, 5, (4,), generator=g).tolist()
    sigma, step = (0.2 + 0.6 * torch.rand(2, generator=g)).tolist()
    denoiser = _network(nn.Conv2d(c, c, 3, padding=1), nn.Tanh(), g=g)
    return torch.randn(n, c, h, w, generator=g), denoiser, sigma, step / 4, torch.randn(n, c, h, w, generator=g)


def _long_walk(f):
    """Standard deviation of 400 walkers after 60 steps, which is √1.25 for the right dynamics, to a tenth."""
    g = torch.Generator().manual_seed(1)
    denoiser = _network(nn.Linear(1, 1, bias=False), g=g)
    denoiser[0].weight.fill_(1 / 1.25)  # the best one for standard normal data under noise of variance 0.25
    x = torch.zeros(400, 1)
    for _ in range(60):
        x = f(x, denoiser, 0.5, 0.1, torch.randn(400, 1, generator=g))
        if x.shape != (400, 1):
            return tuple(x.shape)
    return bool(abs(x.std() - 1.25**0.5) < 0.12)


def _walk_in_numpy(x, denoiser, sigma, step, eps):
    uphill = (denoiser(x).numpy() - x.numpy()) / sigma**2
    return x.numpy() + step * uphill + math.sqrt(2 * step) * eps.numpy()


def _walk_careful(x, denoiser, sigma, step, eps):
    denoiser.eval()
    device = next(denoiser.parameters()).device
    with torch.no_grad():
        restored = denoiser(x.to(device))
    return torch.add(x, (restored - x) / sigma**2, alpha=step).add(eps, alpha=(2 * step) ** 0.5)


EXERCISE = Exercise(
    number="03.6",
    title="A generator after all?",
    difficulty=3,
    minutes=45,
    task=r"""
By (3.5) a denoiser $r$ knows the score of the noisy data, $\nabla \log p_\sigma(x) = (r(x) - x)/\sigma^2$. **Langevin
dynamics** walks uphill and is shaken at each step, so that it ends up drawing from $p_\sigma$ itself:

$$ x \leftarrow x + \eta\, \nabla \log p_\sigma(x) + \sqrt{2\eta}\; \varepsilon, \qquad \varepsilon \sim \mathcal N(0, I). $$

Write one step, for given noise `eps` and step size $\eta$ = `step`. `denoiser` is a network in eval mode, as it is after this
chapter's training, `sigma` and `step` are numbers, and the result has the shape of `x`, whatever that is. Then walk a few hundred steps with the denoiser of this
chapter ($\sigma = 0.5$), from pure noise. Do digits appear? Try several step sizes, and look at the denoised image at the end of
a walk, $r(x)$, beside $x$.""",
    inputs=_images,
    solution=walk,
    explanation=r"""
The score is what (3.5) says when it is solved for it. The two step sizes belong together: $\eta$ uphill and $\sqrt{2\eta}$ of
noise keep $p_\sigma$ as it is in the limit of small steps. With less noise the walk would climb to a mode and stay there.""",
    hints=(
        "Solve (3.5) for the score first: it needs `denoiser(x)`, `x` and `sigma`.",
        "The score is `(denoiser(x) - x) / sigma**2`. Which factor has the noise, if the step uphill has $\\eta$?",
        "`x + step * score + (2 * step) ** 0.5 * eps`.",
    ),
    wrong=(
        Wrong(
            "without noise",
            "The noise is missing: this climbs to a mode and stays there.",
            lambda x, denoiser, sigma, step, eps: x + step * (denoiser(x) - x) / sigma**2,
        ),
        Wrong(
            "downhill",
            "This walks downhill, away from the data.",
            lambda x, denoiser, sigma, step, eps: x - step * (denoiser(x) - x) / sigma**2 + (2 * step) ** 0.5 * eps,
        ),
        Wrong(
            "sigma for its square",
            "The difference is divided by σ. The score has σ² below.",
            lambda x, denoiser, sigma, step, eps: x + step * (denoiser(x) - x) / sigma + (2 * step) ** 0.5 * eps,
        ),
        Wrong(
            "the step for the noise",
            "The noise is multiplied by the step. It has to be √(2 step): variances add up, standard deviations do not.",
            lambda x, denoiser, sigma, step, eps: x + step * (denoiser(x) - x) / sigma**2 + step * eps,
        ),
        Wrong(
            "without the 2",
            "The 2 below the root is missing: this would draw from a distribution with half of the temperature.",
            lambda x, denoiser, sigma, step, eps: x + step * (denoiser(x) - x) / sigma**2 + step**0.5 * eps,
        ),
    ),
    right=(
        _walk_in_numpy,
        _walk_careful,
        lambda x, denoiser, sigma, step, eps: torch.lerp(x, denoiser(x), step / sigma**2) + eps * (2 * step) ** 0.5,
    ),
    probes={
        "whether a long walk ends with the right spread": lambda f: _long_walk(f),
    },
    discussion=r"""
**For the open part.** From pure noise the walk finds strokes, and now and then a digit, but it mixes slowly and rarely
crosses from one class to another: between modes $p_{0.5}$ is low, and the denoiser was never trained on what lies far from
digits plus noise. Two repairs are known. Train one denoiser for many noise levels, and walk from large noise to small: that
is a diffusion model. Or draw codes, from a mixture fitted to them, or as the VAE of the next chapters does.""",
)
