"""Exercise 03.4: The best denoiser of a mixture."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch

from genlab.exercises import Exercise, mistake


def best_denoiser(x, means, std, sigma):
    """E[x | noisy x] for an equal mixture of N(m_i, std² I) and noise sigma: x (n, d), means (k, d) -> (n, d)."""
    total = std**2 + sigma**2
    log_w = -0.5 * ((x[:, None] - means) ** 2).sum(2) / total
    w = torch.softmax(log_w, 1)
    score = (w @ means - x) / total
    return x + sigma**2 * score


def _denoise_by_bayes(x, means, std, sigma):
    total = std**2 + sigma**2
    w = torch.softmax(-0.5 * torch.cdist(x, means) ** 2 / total, 1)
    shrink = std**2 / total
    restored = means + shrink * (x[:, None] - means)  # the posterior mean under each component
    return (w[:, :, None] * restored).sum(1)


@mistake(
    "the nearest mean",
    "This jumps to the nearest mean. The best restoration is an average over all that the clean point may be.",
)
def _denoise_nearest(x, means, std, sigma):
    return means[torch.cdist(x, means).argmin(1)]


@mistake(
    "an average of means",
    "This averages the means. A clean point lies around its mean, with standard deviation s: part of the offset stays.",
)
def _denoise_to_means(x, means, std, sigma):
    w = torch.softmax(-0.5 * torch.cdist(x, means) ** 2 / (std**2 + sigma**2), 1)
    return w @ means


@mistake(
    "the score of the clean density",
    "The score used is that of the clean density. (3.5) needs that of the noisy data, whose variance is larger.",
)
def _denoise_clean_density(x, means, std, sigma):
    w = torch.softmax(-0.5 * torch.cdist(x, means) ** 2 / std**2, 1)
    return x + sigma**2 * (w @ means - x) / std**2


@mistake(
    "sigma for its square",
    "The score is multiplied by σ. It has to be σ².",
)
def _denoise_sigma(x, means, std, sigma):
    total = std**2 + sigma**2
    w = torch.softmax(-0.5 * torch.cdist(x, means) ** 2 / total, 1)
    return x + sigma * (w @ means - x) / total


@mistake(
    "downhill",
    "The score is subtracted: this walks downhill, away from the data.",
)
def _denoise_downhill(x, means, std, sigma):
    return 2 * x - best_denoiser(x, means, std, sigma)


EXERCISE = Exercise(
    number="03.4",
    title="The best denoiser of a mixture",
    difficulty=2,
    minutes=15,
    task=r"""
For data from $\frac1k \sum_i \mathcal N(m_i, s^2 I)$ and noise of standard deviation $\sigma$, write the best restoration
(3.5) of the noisy points `x`, shape `(n, d)`. The noisy data are a mixture too; with which variance? Its score is
$\sum_i w_i(\tilde x)\,(m_i - \tilde x) / (s^2 + \sigma^2)$, where $w_i(\tilde x)$ is the probability that $\tilde x$ came from
component $i$. Far from all means it must not become NaN. With $\sigma = 0$ nothing is restored: the answer is $\tilde x$.""",
    inputs=lambda g: (2 * torch.randn(5, 2, generator=g), 2 * torch.randn(3, 2, generator=g), 0.6, 0.8),
    solution=best_denoiser,
    explanation=r"""
Variances of independent terms add up: each component becomes $\mathcal N(m_i, (s^2 + \sigma^2) I)$. The gradient of
$\log \sum_i e^{a_i}$ is $\sum_i w_i \nabla a_i$ with $w$ the softmax of the $a_i$. A softmax of the log densities never
divides 0 by 0, however far away the point is.""",
    hints=(
        "Noise with variance $\\sigma^2$ on a component with variance $s^2$: which distribution has the sum?",
        "The weights are a softmax over components of $-\\tfrac12 \\lVert \\tilde x - m_i\\rVert^2/(s^2+\\sigma^2)$.",
        "With weights `w` of shape `(n, k)` the score is `(w @ means - x) / (std**2 + sigma**2)`; add $\\sigma^2$ times it.",
    ),
    wrong=(
        _denoise_nearest,
        _denoise_to_means,
        _denoise_clean_density,
        _denoise_sigma,
        _denoise_downhill,
    ),
    right=(_denoise_by_bayes,),
    probes={
        "far from all means": lambda f: f(torch.full((1, 2), 500.0), torch.eye(2), 0.5, 0.5),
        "without noise": lambda f: f(torch.ones(1, 2), torch.zeros(2, 2), 0.5, 0.0),
        "with very much noise": lambda f: f(torch.ones(1, 1), torch.tensor([[-1.0], [3.0]]), 0.1, 100.0),
    },
)
