"""Exercises of chapter 03, autoencoders, and why they do not generate."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch

from genlab.exercises import Exercise, Wrong


def pca_error(eigenvalues, d):
    """Smallest mean squared error of a linear autoencoder with d numbers; eigenvalues (D,) in any order: 0-d."""
    return eigenvalues.sort(descending=True).values[d:].sum()


ERROR = Exercise(
    number="03.1",
    title="What a plane leaves out",
    difficulty=1,
    minutes=5,
    task=r"""
Write the smallest error (3.3) of a linear autoencoder with `d` numbers, from the eigenvalues of the covariance. They come
in any order: `torch.linalg.eigh`, for one, returns the smallest first. For `d = 0` it is the variance of the data, and for
`d` = their number it is 0.""",
    inputs=lambda g: (torch.rand(6, generator=g), 2),
    solution=pca_error,
    explanation=r"""
The plane of the $d$ largest eigenvalues is kept, so their sum is explained. What is left out is the sum of the others:
squared errors in orthogonal directions add up.""",
    hints=(
        "Which eigenvalues does the best plane keep, and which are lost?",
        "Sort them first, largest first. `d` of them are kept.",
        "`eigenvalues.sort(descending=True).values[d:].sum()`.",
    ),
    wrong=(
        Wrong(
            "what is kept",
            lambda eigenvalues, d: eigenvalues.sort(descending=True).values[:d].sum(),
            "This is the variance that is kept. The error is what is left out.",
        ),
        Wrong(
            "smallest first",
            lambda eigenvalues, d: eigenvalues.sort().values[d:].sum(),
            "The smallest eigenvalues are kept here. The best plane keeps the largest.",
        ),
        Wrong(
            "not sorted",
            lambda eigenvalues, d: eigenvalues[d:].sum(),
            "The eigenvalues are taken in the order in which they come. Sort them, largest first.",
        ),
        Wrong(
            "the mean",
            lambda eigenvalues, d: eigenvalues.sort(descending=True).values[d:].mean(),
            "This is the mean of the left-out eigenvalues. Errors in orthogonal directions add up.",
        ),
        Wrong(
            "the share",
            lambda eigenvalues, d: eigenvalues.sort(descending=True).values[d:].sum() / eigenvalues.sum(),
            "This is the share of the variance that is lost. The error itself was asked for.",
        ),
    ),
    right=(lambda eigenvalues, d: eigenvalues.sum() - eigenvalues.topk(d).values.sum(),),
    probes={
        "no numbers at all, d = 0": lambda f: f(torch.tensor([3.0, 1.0, 2.0]), 0),
        "as many numbers as dimensions": lambda f: f(torch.tensor([3.0, 1.0, 2.0]), 3),
    },
)


def project(x, mean, U):
    """The nearest point of the plane mean + span(U) to each row of x; U (D, d) has orthonormal columns: (n, D)."""
    return mean + (x - mean) @ U @ U.T


def _plane(g):
    U = torch.linalg.qr(torch.randn(4, 2, generator=g))[0]
    return torch.randn(5, 4, generator=g), torch.randn(4, generator=g), U


def _project_by_loops(x, mean, U):
    rows = []
    for row in x:
        rows.append(mean + sum(((row - mean) @ u) * u for u in U.T))
    return torch.stack(rows)


PROJECT = Exercise(
    number="03.2",
    title="Encode and decode in one line",
    difficulty=1,
    minutes=8,
    task=r"""
Write the best linear autoencoder as one function: encode the rows of `x`, shape `(n, D)`, to `d` numbers and decode them,
with the mean of the data and a matrix `U` of shape `(D, d)` whose columns are orthonormal. A point of the plane stays where
it is. What is lost, $x - g(f(x))$, is orthogonal to the plane.""",
    inputs=_plane,
    solution=project,
    explanation=r"""
The code is $z = U^\top(x - b)$, the coordinates in the plane. The decoder puts them back, $b + Uz$. With images as rows the
order of the products is turned around: `(x - mean) @ U` encodes and `@ U.T` decodes.""",
    hints=(
        "The plane goes through the mean. What has to happen to `x` before it is multiplied, and what after?",
        "As rows, the code is `(x - mean) @ U`, of shape `(n, d)`. Which product leads back to `(n, D)`?",
        "`mean + (x - mean) @ U @ U.T`.",
    ),
    wrong=(
        Wrong(
            "the mean is forgotten",
            lambda x, mean, U: x @ U @ U.T,
            "This projects on a plane through the origin. The plane goes through the mean.",
        ),
        Wrong(
            "the mean is not added again",
            lambda x, mean, U: (x - mean) @ U @ U.T,
            "The mean was subtracted and never added again: the decoder forgets where the data are.",
        ),
        Wrong(
            "the mean is subtracted after encoding",
            lambda x, mean, U: mean + x @ U @ U.T,
            "The mean is added without having been subtracted before.",
        ),
        Wrong(
            "what is lost",
            lambda x, mean, U: (x - mean) - (x - mean) @ U @ U.T,
            "This is what is lost, the part orthogonal to the plane.",
        ),
        Wrong("the code", lambda x, mean, U: (x - mean) @ U, "This is the code. Decode it as well."),
    ),
    right=(_project_by_loops,),
    probes={"the mean itself": lambda f: f(torch.ones(1, 3), torch.ones(3), torch.eye(3)[:, :1])},
    gradient=True,
)


def mask_noise(x, u, p):
    """Set pixels of x to 0 with probability p, by uniform numbers u: those with u < p are lost. Same shape."""
    return torch.where(u < p, torch.zeros_like(x), x)


MASK = Exercise(
    number="03.3",
    title="Another kind of noise",
    difficulty=1,
    minutes=5,
    task=r"""
The first denoising autoencoders lost pixels in place of adding noise (Vincent et al. 2008). Write that corruption: with
probability `p` a pixel becomes 0, independently of all others, by given uniform numbers `u` of the same shape. The pixels
that stay are *not* rescaled, as dropout would do.""",
    inputs=lambda g: (0.2 + torch.rand(3, 1, 4, 2, generator=g), torch.rand(3, 1, 4, 2, generator=g), 0.4),
    solution=mask_noise,
    explanation=r"""
$P(u < p) = p$ for uniform $u$. Dropout divides what stays by $1 - p$, so that sums keep their expectation inside of a
network; a corruption has no such duty, and a rescaled image would tell the network how much is missing.""",
    hints=(
        "For uniform numbers, which event has probability p?",
        "A pixel is lost where `u < p`. Choose entry by entry between 0 and `x`.",
        "`torch.where(u < p, torch.zeros_like(x), x)`.",
    ),
    wrong=(
        Wrong(
            "kept with probability p",
            lambda x, u, p: torch.where(u < p, x, torch.zeros_like(x)),
            "The pixels are kept with probability p. They should be lost with probability p.",
        ),
        Wrong(
            "rescaled",
            lambda x, u, p: x * (u >= p) / (1 - p),
            "What stays is divided by 1 − p. That is dropout; this corruption leaves it as it is.",
        ),
        Wrong(
            "whole images",
            lambda x, u, p: x * (u.flatten(1)[:, :1] >= p).view(-1, 1, 1, 1),
            "Whole images are lost. Every pixel decides for itself.",
        ),
        Wrong(
            "one instead of zero",
            lambda x, u, p: torch.where(u < p, torch.ones_like(x), x),
            "Lost pixels become 1. They should become 0.",
        ),
    ),
    right=(lambda x, u, p: x * (u >= p), lambda x, u, p: x.masked_fill(u < p, 0.0)),
    probes={
        "nothing is lost with p = 0": lambda f: f(torch.ones(2, 2), torch.zeros(2, 2), 0.0),
        "all is lost with p = 1": lambda f: f(torch.ones(2, 2), torch.full((2, 2), 0.999), 1.0),
    },
)


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


def _denoise_nearest(x, means, std, sigma):
    return means[torch.cdist(x, means).argmin(1)]


def _denoise_to_means(x, means, std, sigma):
    w = torch.softmax(-0.5 * torch.cdist(x, means) ** 2 / (std**2 + sigma**2), 1)
    return w @ means


def _denoise_clean_density(x, means, std, sigma):
    w = torch.softmax(-0.5 * torch.cdist(x, means) ** 2 / std**2, 1)
    return x + sigma**2 * (w @ means - x) / std**2


def _denoise_sigma(x, means, std, sigma):
    total = std**2 + sigma**2
    w = torch.softmax(-0.5 * torch.cdist(x, means) ** 2 / total, 1)
    return x + sigma * (w @ means - x) / total


def _denoise_downhill(x, means, std, sigma):
    return 2 * x - best_denoiser(x, means, std, sigma)


DENOISER = Exercise(
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
        Wrong(
            "the nearest mean",
            _denoise_nearest,
            "This jumps to the nearest mean. The best restoration is an average over all that the clean point may be.",
        ),
        Wrong(
            "an average of means",
            _denoise_to_means,
            "This averages the means. A clean point lies around its mean, with standard deviation s: part of the offset stays.",
        ),
        Wrong(
            "the score of the clean density",
            _denoise_clean_density,
            "The score used is that of the clean density. (3.5) needs that of the noisy data, whose variance is larger.",
        ),
        Wrong("sigma for its square", _denoise_sigma, "The score is multiplied by σ. It has to be σ²."),
        Wrong(
            "downhill",
            _denoise_downhill,
            "The score is subtracted: this walks downhill, away from the data.",
        ),
    ),
    right=(_denoise_by_bayes,),
    probes={
        "far from all means": lambda f: f(torch.full((1, 2), 500.0), torch.eye(2), 0.5, 0.5),
        "without noise": lambda f: f(torch.ones(1, 2), torch.zeros(2, 2), 0.5, 0.0),
        "with very much noise": lambda f: f(torch.ones(1, 1), torch.tensor([[-1.0], [3.0]]), 0.1, 100.0),
    },
)


def hole_share(fake, real, limit):
    """Share of rows of fake (m, d) whose nearest row of real (n, d) lies further away than limit: 0-d."""
    return (torch.cdist(fake, real).min(1).values > limit).float().mean()


def _hole_by_loops(fake, real, limit):
    far = [min((a - b).norm().item() for b in real) > limit for a in fake]
    return torch.tensor(sum(far) / len(far))


HOLES = Exercise(
    number="03.5",
    title="How often a draw falls into a hole",
    difficulty=2,
    minutes=8,
    task=r"""
Write the hole share (3.6): the share of generated feature rows whose *nearest* real row lies further away than `limit`.
Copies of real rows give 0. Generated rows are many, real rows are many more, and both numbers differ.""",
    inputs=lambda g: (torch.randn(8, 3, generator=g), torch.randn(5, 3, generator=g), 1.2),
    solution=hole_share,
    explanation=r"""
`cdist(fake, real)` has a row for each generated point. The smallest distance in a row is that to the nearest real point; the
share is a mean of truth values. The minimum the other way round would ask how well the real data are covered, which is
another question: a sampler that always draws one good digit has no holes and covers nothing.""",
    hints=(
        "Which table of distances do you need, and over which of its dimensions is the minimum?",
        "`torch.cdist(fake, real)` has shape `(m, n)`: a row for each generated point.",
        "`(torch.cdist(fake, real).min(1).values > limit).float().mean()`.",
    ),
    wrong=(
        Wrong(
            "the other minimum",
            lambda fake, real, limit: (torch.cdist(fake, real).min(0).values > limit).float().mean(),
            "The minimum runs over generated points: this asks which real points no draw comes near.",
        ),
        Wrong(
            "the mean distance",
            lambda fake, real, limit: (torch.cdist(fake, real).mean(1) > limit).float().mean(),
            "The mean distance to all real points is compared. A good digit is near one of them and far from most.",
        ),
        Wrong(
            "near for far",
            lambda fake, real, limit: (torch.cdist(fake, real).min(1).values <= limit).float().mean(),
            "This is the share of draws that are near. The holes are the others.",
        ),
        Wrong(
            "a number of draws",
            lambda fake, real, limit: (torch.cdist(fake, real).min(1).values > limit).sum(),
            "This is how many draws are far. A share was asked for.",
        ),
        Wrong(
            "squared distance",
            lambda fake, real, limit: (torch.cdist(fake, real).square().min(1).values > limit).float().mean(),
            "The squared distance is compared with the limit, which is a distance.",
        ),
    ),
    right=(_hole_by_loops,),
    probes={
        "copies of real rows": lambda f: f(torch.eye(3), torch.eye(3), 0.1),
        "one draw of four in a hole": lambda f: f(
            torch.tensor([[0.0], [1.0], [2.0], [9.0]]), torch.tensor([[0.0], [1.5]]), 1.0
        ),
    },
)


def walk(x, denoiser, sigma, step, eps):
    """One step of Langevin dynamics with a denoiser's score and noise eps: same shape as x."""
    score = (denoiser(x) - x) / sigma**2
    return x + step * score + (2 * step) ** 0.5 * eps


class _Shrink:
    """A denoiser of standard normal data under noise of variance 0.25."""

    def __call__(self, x):
        return x / 1.25


WALK = Exercise(
    number="03.6",
    title="A generator after all?",
    difficulty=3,
    minutes=45,
    task=r"""
By (3.5) a denoiser $r$ knows the score of the noisy data, $\nabla \log p_\sigma(x) = (r(x) - x)/\sigma^2$. **Langevin
dynamics** walks uphill and is shaken at each step, so that it ends up drawing from $p_\sigma$ itself:

$$ x \leftarrow x + \eta\, \nabla \log p_\sigma(x) + \sqrt{2\eta}\; \varepsilon, \qquad \varepsilon \sim \mathcal N(0, I). $$

Write one step, for given noise `eps` and step size $\eta$ = `step`. Then walk a few hundred steps with the denoiser of this
chapter ($\sigma = 0.5$), from pure noise. Do digits appear? Try several step sizes, and look at the denoised image at the end of
a walk, $r(x)$, beside $x$.""",
    inputs=lambda g: (torch.randn(4, 3, generator=g), _Shrink(), 0.5, 0.1, torch.randn(4, 3, generator=g)),
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
            lambda x, denoiser, sigma, step, eps: x + step * (denoiser(x) - x) / sigma**2,
            "The noise is missing: this climbs to a mode and stays there.",
        ),
        Wrong(
            "downhill",
            lambda x, denoiser, sigma, step, eps: x - step * (denoiser(x) - x) / sigma**2 + (2 * step) ** 0.5 * eps,
            "This walks downhill, away from the data.",
        ),
        Wrong(
            "sigma for its square",
            lambda x, denoiser, sigma, step, eps: x + step * (denoiser(x) - x) / sigma + (2 * step) ** 0.5 * eps,
            "The difference is divided by σ. The score has σ² below.",
        ),
        Wrong(
            "the step for the noise",
            lambda x, denoiser, sigma, step, eps: x + step * (denoiser(x) - x) / sigma**2 + step * eps,
            "The noise is multiplied by the step. It has to be √(2 step): variances add up, standard deviations do not.",
        ),
        Wrong(
            "without the 2",
            lambda x, denoiser, sigma, step, eps: x + step * (denoiser(x) - x) / sigma**2 + step**0.5 * eps,
            "The 2 below the root is missing: this would draw from a distribution with half of the temperature.",
        ),
    ),
    right=(
        lambda x, denoiser, sigma, step, eps: torch.lerp(x, denoiser(x), step / sigma**2) + eps * (2 * step) ** 0.5,
    ),
    probes={
        "whether a long walk ends with the right spread": lambda f: _long_walk(f),
    },
    discussion=r"""
**For the open part.** From pure noise the walk finds strokes, and now and then a digit, but it mixes slowly and rarely
crosses from one class to another: between modes $p_{0.5}$ is low, and the denoiser was never trained on what lies far from
digits plus noise. Two repairs are known. Train one denoiser for many noise levels, and walk from large noise to small: that
is a diffusion model. Or learn a latent space without gaps, and draw there: that is the VAE of the next chapters.""",
)


def _long_walk(f):
    """Standard deviation of 400 walkers after 60 steps, which is √1.25 for the right dynamics, to a tenth."""
    g = torch.Generator().manual_seed(1)
    x = torch.zeros(400, 1)
    for _ in range(60):
        x = f(x, _Shrink(), 0.5, 0.1, torch.randn(400, 1, generator=g))
    return bool(abs(x.std() - 1.25**0.5) < 0.12)


EXERCISES = [ERROR, PROJECT, MASK, DENOISER, HOLES, WALK]
