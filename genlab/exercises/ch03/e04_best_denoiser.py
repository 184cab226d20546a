"""Exercise 03.4: The best denoiser of a mixture."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch

from genlab.exercises import Exercise, mistake


def best_denoiser(x, means, std, sigma):
    """E[x | noisy x] for an equal mixture of N(m_i, std² I) and noise sigma.

    Shapes: x (n, d), means (k, d) -> (n, d).
    """
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


def _denoise_by_autograd(x, means, std, sigma):
    parts = torch.distributions.Independent(torch.distributions.Normal(means, (std**2 + sigma**2) ** 0.5), 1)
    noisy = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(torch.ones(len(means))), parts)
    x = x.clone().requires_grad_()
    return x.detach() + sigma**2 * torch.autograd.grad(noisy.log_prob(x).sum(), x)[0]


def _denoise_in_numpy(x, means, std, sigma):
    rows, total = [], std**2 + sigma**2
    for point in x.double().numpy():
        offsets = means.numpy() - point
        log_w = -(offsets**2).sum(1) / (2 * total)
        w = np.exp(log_w - log_w.max())
        rows.append(point + sigma**2 / total * (w / w.sum()) @ offsets)
    return np.stack(rows)


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


def _noisy(g):
    n, k, d = (torch.randint(0, 4, (3,), generator=g) + torch.tensor([1, 2, 1])).tolist()
    std, sigma = (0.3 + torch.rand(2, generator=g)).tolist()
    return 2 * torch.randn(n, d, generator=g), 2 * torch.randn(k, d, generator=g), std, sigma


def _near_and_far(f):
    return f(torch.tensor([[0.5, 0.25], [60.0, 80.0]]), torch.tensor([[0.0, 0.0], [3.0, 4.0], [-1.0, 1.0]]), 0.4, 0.6)


EXERCISE = Exercise(
    number="03.4",
    title="The best denoiser of a mixture",
    difficulty=2,
    minutes=15,
    task=r"""
For data from $\frac1k \sum_i \mathcal N(m_i, s^2 I)$ with $s > 0$ and noise of standard deviation $\sigma$, write the best
restoration (3.5) of the noisy points `x`, shape `(n, d)`, for `means` of shape `(k, d)` and numbers `std` and `sigma`. The noisy data are a mixture too; with which variance? Its score is
$\sum_i w_i(\tilde x)\,(m_i - \tilde x) / (s^2 + \sigma^2)$, where $w_i(\tilde x)$ is the probability that $\tilde x$ came from
component $i$. Far from all means, where the densities are 0 in floating point, it stays right. With $\sigma = 0$ nothing is restored: the answer is $\tilde x$.""",
    inputs=_noisy,
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
    right=(_denoise_by_bayes, _denoise_by_autograd, _denoise_in_numpy),
    probes={
        "a point near the means beside one far from all": _near_and_far,
        "without noise": lambda f: f(torch.ones(1, 2), torch.tensor([[0.0, 1.0], [2.0, 0.0]]), 0.5, 0.0),
        "with very much noise": lambda f: f(torch.full((1, 1), 5.0), torch.tensor([[-1.0], [3.0]]), 0.1, 100.0),
    },
)
