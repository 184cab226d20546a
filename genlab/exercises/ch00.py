"""Exercises of chapter 00, start here."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import torch

from genlab.exercises import Exercise, Wrong


def bits_per_pixel(log_p, pixels):
    """Mean log-likelihood in nats per image -> bits per pixel."""
    return -log_p / math.log(2) / pixels


BITS = Exercise(
    number="00.1",
    title="Bits per pixel",
    difficulty=1,
    minutes=3,
    task=r"""
Write a function that turns a mean log-likelihood in nats per image into bits per pixel. For $\log p = -784 \log 2$ and
784 pixels the answer is 1.""",
    inputs=lambda g: (-1000 * torch.rand((), generator=g).item(), int(torch.randint(100, 1000, (), generator=g))),
    solution=bits_per_pixel,
    explanation=r"""
$-\log p$ is the length of the best code in nats. One bit is $\log 2$ nats, so dividing by $\log 2$ gives bits, and
dividing by the number of pixels spreads them over the image.""",
    hints=(
        "A code is longer the less probable the image is. Which sign does that give?",
        "A nat is more than a bit: one bit is $\\log 2 \\approx 0.69$ nats. Divide by it.",
        "Take minus `log_p`, divide by `math.log(2)`, and by `pixels`.",
    ),
    wrong=(
        Wrong(
            "the sign",
            lambda log_p, pixels: log_p / math.log(2) / pixels,
            "The sign is missing: a log-likelihood is negative here, and the length of a code is positive.",
        ),
        Wrong(
            "multiplied by log 2",
            lambda log_p, pixels: -log_p * math.log(2) / pixels,
            "This multiplies by log 2. One bit is log 2 nats, so the number of bits is larger than the number of nats.",
        ),
        Wrong(
            "nats per pixel",
            lambda log_p, pixels: -log_p / pixels,
            "These are nats per pixel. Divide by log 2 to get bits.",
        ),
        Wrong(
            "bits per image",
            lambda log_p, pixels: -log_p / math.log(2),
            "These are bits per image. Divide by the number of pixels.",
        ),
    ),
    right=(lambda log_p, pixels: -log_p * math.log2(math.e) / pixels,),
    probes={"blind coding of 784 pixels": lambda f: f(-784 * math.log(2), 784)},
)


def log_normal(x, mu, logvar):
    """log N(x; mu, diag exp(logvar)) per example: (n, d) three times -> (n,)."""
    square = (x - mu) ** 2 / logvar.exp()
    return -0.5 * (math.log(2 * math.pi) + logvar + square).sum(1)


def _normal_by_distributions(x, mu, logvar):
    return torch.distributions.Normal(mu, (logvar / 2).exp()).log_prob(x).sum(1)


def _normal_no_constant(x, mu, logvar):
    return -0.5 * (logvar + (x - mu) ** 2 / logvar.exp()).sum(1)


def _normal_half_square_only(x, mu, logvar):
    return -(math.log(2 * math.pi) + logvar + 0.5 * (x - mu) ** 2 / logvar.exp()).sum(1)


def _normal_log_sigma(x, mu, logvar):
    return torch.distributions.Normal(mu, logvar.exp()).log_prob(x).sum(1)


def _normal_mean(x, mu, logvar):
    return torch.distributions.Normal(mu, (logvar / 2).exp()).log_prob(x).mean(1)


def _normal_density(x, mu, logvar):
    return log_normal(x, mu, logvar).exp()


NORMAL = Exercise(
    number="00.2",
    title="A normal density",
    difficulty=1,
    minutes=8,
    task=r"""
Write $\log \mathcal N(x;\, \mu, \operatorname{diag} e^{v})$ for tensors of shape `(n, d)`, where $v$ is `logvar`. It
returns one value per example, shape `(n,)`. Compare with `torch.distributions.Normal`. Which is `logvar`: $\log \sigma$
or $\log \sigma^2$?""",
    inputs=lambda g: tuple(torch.randn(5, 3, generator=g) for _ in range(3)),
    solution=log_normal,
    explanation=r"""
`logvar` is $\log\sigma^2$. In one dimension
$\log \mathcal N = -\tfrac12[\log 2\pi + \log\sigma^2 + (x-\mu)^2/\sigma^2]$. Independent dimensions multiply, so their
logarithms add up; the sum runs over dimensions, never over examples.""",
    hints=(
        "In one dimension there are three terms, all with a factor of $-\\tfrac12$.",
        "They are $\\log 2\\pi$, $\\log\\sigma^2$ = `logvar`, and $(x-\\mu)^2/\\sigma^2$ with $\\sigma^2$ = `logvar.exp()`.",
        "Compute the three for every entry, add them, sum over dimension 1, and multiply by `-0.5`.",
    ),
    wrong=(
        Wrong(
            "without the constant",
            _normal_no_constant,
            "The constant log 2π is missing. Then the density does not integrate to one, and numbers do not compare.",
        ),
        Wrong(
            "the half stands at the square alone",
            _normal_half_square_only,
            "The one half belongs to all three terms: log √(2πσ²) is half of log 2πσ².",
        ),
        Wrong(
            "logvar taken for log sigma",
            _normal_log_sigma,
            "Here logvar is taken for log σ. It is log σ², twice as much.",
        ),
        Wrong(
            "mean over the dimensions",
            _normal_mean,
            "This is the mean over dimensions. Densities of independent dimensions multiply: take the sum.",
        ),
        Wrong("the density", _normal_density, "This is the density itself. Its logarithm is wanted."),
    ),
    right=(_normal_by_distributions,),
    gradient=True,
)


def logmeanexp(a, dim):
    """log (1/k) Σ exp(a) along a dimension of length k."""
    return torch.logsumexp(a, dim) - math.log(a.shape[dim])


def _logmeanexp_by_hand(a, dim):
    top = a.amax(dim, keepdim=True)
    return (top + (a - top).exp().mean(dim, keepdim=True).log()).squeeze(dim)


LOGMEANEXP = Exercise(
    number="00.3",
    title="A mean of exponentials",
    difficulty=2,
    minutes=8,
    task=r"""
Write $\log \frac1k \sum_i e^{a_i}$ along a dimension of length $k$, so that it is right for $a_i = \pm 1000$ as well.
For a constant $a$ the answer is $a$.""",
    inputs=lambda g: (torch.randn(4, 3, generator=g), int(torch.randint(2, (), generator=g))),
    solution=logmeanexp,
    explanation=r"""
`logsumexp` subtracts the largest entry before it takes exponentials and adds it afterwards, so nothing overflows. The
mean in place of the sum subtracts $\log k$.""",
    hints=(
        "What is $e^{1000}$ in floating point? Some entry has to be taken out first.",
        "`torch.logsumexp` does that for the sum. How does $\\log\\frac1k\\sum$ differ from $\\log\\sum$?",
        "`torch.logsumexp(a, dim)` minus the logarithm of `a.shape[dim]`.",
    ),
    wrong=(
        Wrong(
            "the exponential first",
            lambda a, dim: a.exp().mean(dim).log(),
            "For moderate numbers this is right. exp(1000) is infinite and exp(-1000) is 0: take the largest entry out first.",
        ),
        Wrong(
            "the sum, not the mean",
            lambda a, dim: torch.logsumexp(a, dim),
            "This is the logarithm of the sum. The mean subtracts log k.",
        ),
        Wrong(
            "the mean of a",
            lambda a, dim: a.mean(dim),
            "This is the mean of a. By Jensen it lies below: the logarithm and the mean do not swap.",
        ),
        Wrong(
            "always the first dimension",
            lambda a, dim: torch.logsumexp(a, 0) - math.log(len(a)),
            "The reduction always runs along dimension 0. Use dim.",
        ),
        Wrong(
            "log of the wrong length",
            lambda a, dim: torch.logsumexp(a, dim) - math.log(a.numel()),
            "The logarithm of the number of all entries is subtracted. It has to be the length of the reduced dimension.",
        ),
    ),
    right=(_logmeanexp_by_hand,),
    probes={
        "entries of 1000": lambda f: f(torch.full((3, 2), 1000.0), 0),
        "entries of -1000": lambda f: f(torch.full((3, 2), -1000.0), 1),
        "the last dimension, dim=-1": lambda f: f(torch.tensor([[0.0, 1.0, 2.0]]), -1),
        "the first dimension": lambda f: f(torch.tensor([[0.0, 1.0], [2.0, 3.0], [1.0, 5.0]]), 0),
    },
    gradient=True,
)


def log_mixture(x, means, std):
    """log density of k equal normal components: x (n, d), means (k, d), one std -> (n,)."""
    d = x.shape[1]
    square = ((x[:, None] - means) ** 2).sum(2) / std**2
    log_components = -0.5 * square - d * math.log(std * math.sqrt(2 * math.pi))
    return torch.logsumexp(log_components, 1) - math.log(len(means))


def _mixture_by_loops(x, means, std):
    parts = [torch.distributions.Normal(m, std).log_prob(x).sum(1) for m in means]
    return torch.logsumexp(torch.stack(parts), 0) - math.log(len(parts))


def _mixture_no_weights(x, means, std):
    return log_mixture(x, means, std) + math.log(len(means))


def _mixture_constant_once(x, means, std):
    square = ((x[:, None] - means) ** 2).sum(2) / std**2
    return torch.logsumexp(-0.5 * square - math.log(std * math.sqrt(2 * math.pi)), 1) - math.log(len(means))


def _mixture_of_logs(x, means, std):
    return torch.stack([torch.distributions.Normal(m, std).log_prob(x).sum(1) for m in means]).mean(0)


def _mixture_per_dimension(x, means, std):
    log_components = torch.distributions.Normal(means, std).log_prob(x[:, None])
    return (torch.logsumexp(log_components, 1) - math.log(len(means))).sum(1)


def _mixture_nearest(x, means, std):
    parts = torch.stack([torch.distributions.Normal(m, std).log_prob(x).sum(1) for m in means])
    return parts.max(0).values - math.log(len(means))


MIXTURE = Exercise(
    number="00.4",
    title="A mixture",
    difficulty=2,
    minutes=10,
    task=r"""
Write the log density of $k$ equally probable normal components with means `(k, d)` and one standard deviation, for `x`
of shape `(n, d)`. Compare with `data.mixture(means, std).log_prob(x)`.""",
    inputs=lambda g: (
        torch.randn(5, 3, generator=g),
        torch.randn(4, 3, generator=g),
        0.5 + torch.rand((), generator=g).item(),
    ),
    solution=log_mixture,
    explanation=r"""
Every component has a density in $d$ dimensions, so the constant appears $d$ times, before components are mixed. The
mixture is a mean of densities, and its logarithm a logsumexp minus $\log k$, as in equation (0.8).""",
    hints=(
        "First find the log density of every point under every component: a table of shape `(n, k)`.",
        "`x[:, None] - means` has shape `(n, k, d)`. Square it, sum over the last dimension, divide by $\\sigma^2$.",
        "Add $-d\\log(\\sigma\\sqrt{2\\pi})$ to $-\\tfrac12$ of that, take `logsumexp` over components, subtract $\\log k$.",
    ),
    wrong=(
        Wrong(
            "without the weights",
            _mixture_no_weights,
            "The weights 1/k are missing: this integrates to k, not to one.",
        ),
        Wrong(
            "the constant once",
            _mixture_constant_once,
            "The normalising constant stands here once. A normal density in d dimensions has it d times.",
        ),
        Wrong(
            "the mean of the logarithms",
            _mixture_of_logs,
            "This is the mean of the components' log densities. The mixture is the logarithm of the mean of densities.",
        ),
        Wrong(
            "mixed in every dimension alone",
            _mixture_per_dimension,
            "The components are mixed in every dimension alone. Sum over dimensions first, then mix: "
            "a point belongs to one component with all its coordinates.",
        ),
        Wrong(
            "the nearest component only",
            _mixture_nearest,
            "Only the nearest component counts here. All of them contribute: use logsumexp, not max.",
        ),
    ),
    right=(_mixture_by_loops,),
    probes={"one component at the point itself, d = 2": lambda f: f(torch.ones(1, 2), torch.ones(1, 2), 0.5)},
)


def kl_discrete(p, q):
    """KL(p ‖ q) of probability vectors that may hold zeros: (k,) twice -> 0-d."""
    terms = torch.where(p > 0, p * (p.clamp(min=1e-30) / q).log(), torch.zeros_like(p))
    return terms.sum()


def _kl_by_loops(p, q):
    total = 0.0
    for a, b in zip(p.tolist(), q.tolist(), strict=True):
        if a > 0:
            total += math.inf if b == 0 else a * math.log(a / b)
    return torch.tensor(total)


def _kl_clamped(p, q):
    q = q.clamp(min=1e-8)
    return torch.where(p > 0, p * (p.clamp(min=1e-30) / q).log(), torch.zeros_like(p)).sum()


_P, _Q = torch.tensor([0.0, 0.5, 0.5]), torch.tensor([0.25, 0.25, 0.5])

DISCRETE = Exercise(
    number="00.5",
    title="A divergence with zeros",
    difficulty=2,
    minutes=8,
    task=r"""
Write $\operatorname{KL}(p \,\|\, q)$ for probability vectors in which entries may be zero. Where $p_i = 0$ the term is 0;
where only $q_i = 0$ the divergence is $\infty$. Which direction did the derivation above use?""",
    inputs=lambda g: (torch.rand(4, generator=g).softmax(0), torch.rand(4, generator=g).mul(3).softmax(0)),
    solution=kl_discrete,
    explanation=r"""
$p\log p \to 0$ as $p \to 0$: what never happens costs nothing. But if $q$ calls impossible what happens under $p$, no
finite code helps. Maximum likelihood uses $\operatorname{KL}(p_{\text{data}} \,\|\, p_\theta)$: a model that gives a data
point probability zero is infinitely wrong. That is what Laplace smoothing prevented above.""",
    hints=(
        "In floating point `0 * log(0)` is NaN. Which entries must not reach the logarithm?",
        "`torch.where(p > 0, …, 0)` chooses entry by entry; it computes both sides, so make the unused one harmless.",
        "Where `p > 0` the term is `p * (p / q).log()`; a zero in `q` gives infinity there by itself.",
    ),
    wrong=(
        Wrong(
            "0 log 0",
            lambda p, q: (p * (p / q).log()).sum(),
            "Where p is 0 this gives NaN, since 0 · log 0 is not a number in floating point. The term has to be 0.",
        ),
        Wrong(
            "the other direction",
            lambda p, q: kl_discrete(q, p),
            "This is KL(q ‖ p), the other direction.",
        ),
        Wrong(
            "the cross-entropy",
            lambda p, q: -torch.where(p > 0, p * q.log(), torch.zeros_like(p)).sum(),
            "This is the cross-entropy. The divergence subtracts the entropy of p.",
        ),
        Wrong(
            "a small number for zero",
            _kl_clamped,
            "A zero in q is replaced by a small number, so what should be infinite comes out as a moderate number.",
        ),
        Wrong(
            "the mean",
            lambda p, q: kl_discrete(p, q) / len(p),
            "This is the mean of the terms. p is in them already: an expectation under p is a sum.",
        ),
        Wrong("the sign", lambda p, q: -kl_discrete(p, q), "The sign is wrong: a divergence is never negative."),
    ),
    right=(_kl_by_loops, lambda p, q: (torch.special.xlogy(p, p) - torch.special.xlogy(p, q)).sum()),
    probes={
        "a zero in p": lambda f: f(_P, _Q),
        "a zero in q only": lambda f: f(_Q, _P),
        "zeros at the same place": lambda f: f(_P, torch.tensor([0.0, 0.25, 0.75])),
        "equal vectors": lambda f: f(_P, _P),
    },
)


def log_templates(x, theta, weights):
    """log p(x) of a mixture of templates: binary x (n, m), theta (k, m) in (0, 1), weights (k,) -> (n,)."""
    log_px = x @ theta.log().T + (1 - x) @ (1 - theta).log().T
    return torch.logsumexp(log_px + weights.log(), 1)


def _templates_by_loops(x, theta, weights):
    rows = []
    for image in x:
        parts = [
            w.log() + (image * t.log() + (1 - image) * (1 - t).log()).sum() for t, w in zip(theta, weights, strict=True)
        ]
        rows.append(torch.logsumexp(torch.stack(parts), 0))
    return torch.stack(rows)


def _templates_equal(x, theta, weights):
    return log_templates(x, theta, torch.ones_like(weights) / len(weights))


def _templates_blended(x, theta, weights):
    blend = (weights[:, None] * theta).sum(0)
    return (x * blend.log() + (1 - x) * (1 - blend).log()).sum(1)


def _templates_ink_only(x, theta, weights):
    return torch.logsumexp(x @ theta.log().T + weights.log(), 1)


def _templates_weight_not_logged(x, theta, weights):
    return torch.logsumexp(x @ theta.log().T + (1 - x) @ (1 - theta).log().T + weights, 1)


def _templates_mean(x, theta, weights):
    log_px = x @ theta.log().T + (1 - x) @ (1 - theta).log().T
    return (weights * log_px).sum(1)


TEMPLATES = Exercise(
    number="00.6",
    title="A better simple generator",
    difficulty=3,
    minutes=60,
    task=r"""
Beat the model with classes on the test images, in nats, without a neural network. Its core is checked here: $k$
templates, the rows of `theta`, with weights $\pi$. An image is drawn by choosing a template and flipping its coins, so

$$ p(x) = \sum_{c=1}^{k} \pi_c \prod_{j=1}^{m} \theta_{cj}^{x_j} (1 - \theta_{cj})^{1 - x_j}. $$

Write $\log p(x)$ for binary images as rows of length $m$. Then find templates: several for each class, by $k$-means or by
expectation maximisation; shifts as latent variables; a tree of pixels. Report the mean and its standard error, and say
how you chose what you chose without looking at the test images.""",
    inputs=lambda g: (
        torch.rand(5, 6, generator=g).round(),
        0.1 + 0.8 * torch.rand(3, 6, generator=g),
        torch.rand(3, generator=g).mul(3).softmax(0),
    ),
    solution=log_templates,
    explanation=r"""
Products become sums of logarithms, and the sum over pixels is a matrix product: `x @ log θᵀ` collects the pixels that
are on, `(1 − x) @ log(1 − θ)ᵀ` those that are off. The weights are probabilities, so they enter as $\log\pi_c$, and the
sum over templates is a `logsumexp`.""",
    hints=(
        "Start with $\\log p(x \\mid c)$ for every image and template: a table of shape `(n, k)`.",
        "The pixels that are on contribute $\\log\\theta$, those that are off $\\log(1-\\theta)$. Both are matrix products.",
        "Add `weights.log()` to the table and take `torch.logsumexp` over dimension 1.",
    ),
    wrong=(
        Wrong(
            "equal weights", _templates_equal, "The weights are not used: every template is taken as equally probable."
        ),
        Wrong(
            "one blended template",
            _templates_blended,
            "The templates are blended into one before the pixels are compared. Then the pixels are independent again, "
            "and nothing is gained. Mix the densities, not the coins.",
        ),
        Wrong(
            "ink alone",
            _templates_ink_only,
            "Only pixels that are on are counted. Those that are off have a probability too.",
        ),
        Wrong(
            "weights without a logarithm",
            _templates_weight_not_logged,
            "The weights are added as they are. Under the logsumexp they need a logarithm.",
        ),
        Wrong(
            "the mean of the logarithms",
            _templates_mean,
            "This is the weighted mean of log p(x | c): a lower bound by Jensen. The sum has to stand inside the logarithm.",
        ),
    ),
    right=(_templates_by_loops,),
    probes={
        "that all images of three pixels have probability one together": lambda f: (
            f(
                torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3),
                torch.tensor([[0.2, 0.9, 0.5], [0.7, 0.1, 0.4]]),
                torch.tensor([0.3, 0.7]),
            )
            .exp()
            .sum()
        )
    },
    discussion=r"""
**For the open part.** Ten templates a class instead of one gain tens of nats: handwriting comes in styles, and a style
is a decision that many pixels share. Two things decide whether a number can be trusted. The number of templates is
chosen on a part of the training images, never on the test images. And every template needs smoothing, since with few
images a template claims certainty about pixels it has hardly seen. A convincing report gives the gain over the model with
classes as a mean of *paired* differences, with its standard error.""",
)

EXERCISES = [BITS, NORMAL, LOGMEANEXP, MIXTURE, DISCRETE, TEMPLATES]
