"""Exercises of chapter 05, training a VAE."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def kl_to_standard(mu, logvar):
    """KL(N(mu, diag exp(logvar)) ‖ N(0, I)) per example: (n, d) -> (n,)."""
    return 0.5 * (logvar.exp() + mu**2 - 1 - logvar).sum(1)


def _kl_by_distributions(mu, logvar):
    q, p = torch.distributions.Normal(mu, (0.5 * logvar).exp()), torch.distributions.Normal(0.0, 1.0)
    return torch.distributions.kl_divergence(q, p).sum(1)


def _kl_by_loops(mu, logvar):
    rows = []
    for m, v in zip(mu, logvar, strict=True):
        total = 0.0
        for j in range(len(m)):
            total = total + (torch.exp(v[j]) + m[j] * m[j] - 1 - v[j]) / 2
        rows.append(total)
    return torch.stack(rows)


def _kl_reversed(mu, logvar):
    return 0.5 * ((-logvar).exp() * (1 + mu**2) - 1 + logvar).sum(1)


KL = Exercise(
    number="05.1",
    title="The KL term",
    difficulty=1,
    minutes=5,
    task=r"""
Write $\operatorname{KL}(\mathcal N(\mu, \operatorname{diag} e^{v}) \,\|\, \mathcal N(0, I))$ for `mu` and `logvar`, the
$v$ of the formula, each of shape `(n, d)`. The result has shape `(n,)`. It is 0 at `mu = logvar = 0`, it is never
negative, and its gradient in `mu` is `mu`.""",
    inputs=lambda g: (torch.randn(5, 3, generator=g), torch.randn(5, 3, generator=g)),
    solution=kl_to_standard,
    explanation=r"""
The KL of one dimension is $\tfrac12(\sigma^2 + \mu^2 - 1 - \log\sigma^2)$, and `logvar` is $\log\sigma^2$. The
dimensions are independent under both distributions, so the KL of the vector is the *sum* over dimensions.""",
    hints=(
        "For one dimension the KL has four terms. Which of them is $\\log\\sigma^2$, in terms of `logvar`?",
        "In one dimension it is $\\tfrac12(\\sigma^2 + \\mu^2 - 1 - \\log\\sigma^2)$, with $\\sigma^2$ = `logvar.exp()`.",
        "`0.5 * (logvar.exp() + mu**2 - 1 - logvar)` has shape `(n, d)`. Sum it over dimension 1, and no other.",
    ),
    wrong=(
        Wrong(
            "mean over the dimensions",
            lambda mu, logvar: 0.5 * (logvar.exp() + mu**2 - 1 - logvar).mean(1),
            "This is the mean over the latent dimensions. Independent dimensions add up: take the sum. "
            "With the mean, beta would be d times smaller than you think.",
        ),
        Wrong(
            "one half is missing",
            lambda mu, logvar: (logvar.exp() + mu**2 - 1 - logvar).sum(1),
            "This is twice the KL: the one half is missing.",
        ),
        Wrong(
            "logvar taken for the variance",
            lambda mu, logvar: 0.5 * (logvar + mu**2 - 1 - logvar.abs().log()).sum(1),
            "Here logvar is used as if it were the variance. It is its logarithm: the variance is logvar.exp().",
        ),
        Wrong(
            "logvar taken for log sigma",
            lambda mu, logvar: 0.5 * ((2 * logvar).exp() + mu**2 - 1 - 2 * logvar).sum(1),
            "Here logvar is used as log sigma. It is the logarithm of the variance, twice that of sigma.",
        ),
        Wrong(
            "the wrong sign",
            lambda mu, logvar: -0.5 * (logvar.exp() + mu**2 - 1 - logvar).sum(1),
            "This is minus the KL. A KL divergence is never negative; minimising this would drive q away from p.",
        ),
        Wrong(
            "the wrong way round",
            _kl_reversed,
            "This is KL(p ‖ q), the wrong way round: the expectation is to be taken under q.",
        ),
        Wrong(
            "one number for the batch",
            lambda mu, logvar: 0.5 * (logvar.exp() + mu**2 - 1 - logvar).sum(),
            "This sums over the batch as well. One value per example is wanted; average over examples last.",
        ),
    ),
    right=(_kl_by_distributions, _kl_by_loops),
    probes={
        "the KL of the prior to itself, mu = logvar = 0": lambda f: f(torch.zeros(4, 2), torch.zeros(4, 2)),
        "the KL of a narrow q, logvar = -20": lambda f: f(torch.zeros(1, 2), torch.full((1, 2), -20.0)),
    },
    gradient=True,
)


def reparameterise(mu, logvar, eps):
    """z = μ + σ ε, differentiable in mu and logvar: (n, d) -> (n, d)."""
    return mu + torch.exp(0.5 * logvar) * eps


def _draws_its_own(mu, logvar, eps):
    return mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)


REPARAMETERISE = Exercise(
    number="05.2",
    title="A sample with a gradient",
    difficulty=1,
    minutes=5,
    task=r"""
Write the reparameterised sample $z = \mu + \sigma \odot \varepsilon$ for given noise `eps`. For `eps = 0` it is `mu`.
The derivative of $z$ in `mu` is 1. Work out by hand what it is in `logvar`, and compare with autograd.""",
    inputs=lambda g: tuple(torch.randn(4, 3, generator=g) for _ in range(3)),
    solution=reparameterise,
    explanation=r"""
$\sigma = e^{v/2}$ for $v$ = `logvar`, so $z = \mu + e^{v/2}\varepsilon$ and
$\partial z/\partial v = \tfrac12 e^{v/2}\varepsilon = \tfrac12 (z - \mu)$. The noise is given and has no gradient of its
own: all randomness was moved into it, and that is the trick.""",
    hints=(
        "The noise is multiplied by a standard deviation. What is the standard deviation in terms of `logvar`?",
        "`logvar` is $\\log \\sigma^2 = 2 \\log \\sigma$, so $\\log \\sigma$ is half of it.",
        "$\\sigma$ is `torch.exp(0.5 * logvar)`; multiply it by `eps` and add `mu`.",
    ),
    wrong=(
        Wrong(
            "the variance in place of the standard deviation",
            lambda mu, logvar, eps: mu + torch.exp(logvar) * eps,
            "The noise is multiplied by the variance. It has to be the standard deviation, exp of half of logvar.",
        ),
        Wrong(
            "logvar taken for sigma",
            lambda mu, logvar, eps: mu + logvar * eps,
            "The noise is multiplied by logvar itself. The standard deviation is exp(logvar / 2).",
        ),
        Wrong(
            "logvar taken for the variance",
            lambda mu, logvar, eps: mu + logvar.abs().sqrt() * eps,
            "Here logvar is taken for the variance: it is its logarithm, and may be negative.",
        ),
        Wrong(
            "the noise is drawn inside",
            _draws_its_own,
            "Your function draws noise of its own. Use eps, so that the caller decides what is random.",
        ),
        Wrong(
            "mu is cut off",
            lambda mu, logvar, eps: mu.detach() + torch.exp(0.5 * logvar) * eps,
            "The values are right, but mu gets no gradient: detach cuts the encoder off, and it would never learn.",
        ),
        Wrong(
            "sigma is cut off",
            lambda mu, logvar, eps: mu + torch.exp(0.5 * logvar).detach() * eps,
            "The values are right, but logvar gets no gradient: detach cuts it off, and sigma would never learn.",
        ),
    ),
    right=(lambda mu, logvar, eps: torch.addcmul(mu, logvar.exp().sqrt(), eps),),
    probes={"the sample without noise, eps = 0": lambda f: f(torch.ones(2, 3), torch.ones(2, 3), torch.zeros(2, 3))},
    gradient=True,
)


def bernoulli_log_prob(x, logits):
    """Σ_i [x_i a_i − softplus(a_i)]: (n, …) twice -> (n,)."""
    return (x * logits - F.softplus(logits)).flatten(1).sum(1)


def _bernoulli_by_sigmoid(x, logits):
    p = torch.sigmoid(logits)
    return (x * p.log() + (1 - x) * (1 - p).log()).flatten(1).sum(1)


def _bernoulli_with_eps(x, logits):
    p = torch.sigmoid(logits)
    return (x * (p + 1e-8).log() + (1 - x) * (1 - p + 1e-8).log()).flatten(1).sum(1)


_EXTREME = torch.tensor([[1000.0, -1000.0, 1000.0]])

BERNOULLI = Exercise(
    number="05.3",
    title="Bernoulli without underflow",
    difficulty=2,
    minutes=10,
    task=r"""
Write $\log p(x \mid z)$ of (5.10) from logits, without calling a cross-entropy or a sigmoid. It must be finite and exact
for logits of ±1,000: there the log-probability of the likelier value is 0 and that of the other is −1,000. Sum over
everything but the first dimension: `x` and `logits` have the same shape `(n, …)`, which may have any number of
dimensions.""",
    inputs=lambda g: (torch.rand(4, 1, 3, 2, generator=g).round(), 2 * torch.randn(4, 1, 3, 2, generator=g)),
    solution=bernoulli_log_prob,
    explanation=r"""
With $\log\sigma(a) = -\operatorname{softplus}(-a)$ and $\operatorname{softplus}(-a) = \operatorname{softplus}(a) - a$,
$x\log\sigma(a) + (1-x)\log(1-\sigma(a)) = x a - \operatorname{softplus}(a)$. Softplus is $\log(1+e^a)$, computed so that
$e^a$ never overflows. A sigmoid of 1,000 is exactly 1 in floating point, and the logarithm of $1-1$ is $-\infty$.""",
    hints=(
        "Write $\\log \\sigma(a)$ and $\\log(1 - \\sigma(a))$ with $\\log(1 + e^{\\dots})$, and collect terms.",
        "$\\log(1-\\sigma(a)) = -\\log(1+e^{a})$, and $\\log\\sigma(a) = a - \\log(1+e^{a})$. PyTorch has the softplus.",
        "Per pixel it is `x * logits - F.softplus(logits)`. Flatten from dimension 1 on, then sum.",
    ),
    wrong=(
        Wrong(
            "log of a sigmoid",
            _bernoulli_by_sigmoid,
            "For moderate logits this is right, but at ±1,000 the sigmoid rounds to 0 or 1 and its logarithm is infinite. "
            "Never take log(sigmoid(a)).",
        ),
        Wrong(
            "a small number inside the logarithm",
            _bernoulli_with_eps,
            "Adding 1e-8 inside the logarithm hides the underflow: at ±1,000 the value should be -1,000 a pixel, "
            "and the gradient vanishes there.",
        ),
        Wrong(
            "mean over the pixels",
            lambda x, logits: (x * logits - F.softplus(logits)).flatten(1).mean(1),
            "This is the mean over pixels, not the sum: the KL term would weigh as many times more as there are pixels.",
        ),
        Wrong(
            "the wrong sign",
            lambda x, logits: (F.softplus(logits) - x * logits).flatten(1).sum(1),
            "This is the cross-entropy, minus the log-probability. A log-probability of 0 or 1 pixels is never positive.",
        ),
        Wrong(
            "the last dimension only",
            lambda x, logits: (x * logits - F.softplus(logits)).sum(-1),
            "This sums over the last dimension only. Sum over everything but the first.",
        ),
        Wrong(
            "x and 1 − x swapped",
            lambda x, logits: ((1 - x) * logits - F.softplus(logits)).flatten(1).sum(1),
            "Here x and 1 − x have changed places: the logit belongs to the pixel being 1.",
        ),
    ),
    right=(lambda x, logits: -F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1),),
    probes={
        "pixels at their likelier value, logits ±1,000": lambda f: f(torch.tensor([[1.0, 0.0, 1.0]]), _EXTREME),
        "pixels at their other value, logits ±1,000": lambda f: f(torch.tensor([[0.0, 1.0, 0.0]]), _EXTREME),
    },
    gradient=True,
)


def elbo_beta(x, logits, mu, logvar, beta=1.0):
    """log p(x|z) − β KL(q ‖ p) per example: (n,)."""
    log_px = (x * logits - F.softplus(logits)).flatten(1).sum(1)
    kl = 0.5 * (logvar.exp() + mu**2 - 1 - logvar).sum(1)
    return log_px - beta * kl


def _terms(x, logits, mu, logvar):
    log_px = -F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)
    return log_px, 0.5 * (logvar.exp() + mu**2 - 1 - logvar).sum(1)


def _elbo_mean_pixels(x, logits, mu, logvar, beta=1.0):
    log_px, kl = _terms(x, logits, mu, logvar)
    return log_px / x[0].numel() - beta * kl


def _elbo_plus(x, logits, mu, logvar, beta=1.0):
    log_px, kl = _terms(x, logits, mu, logvar)
    return log_px + beta * kl


def _elbo_no_beta(x, logits, mu, logvar, beta=1.0):
    log_px, kl = _terms(x, logits, mu, logvar)
    return log_px - kl


def _elbo_beta_on_pixels(x, logits, mu, logvar, beta=1.0):
    log_px, kl = _terms(x, logits, mu, logvar)
    return beta * log_px - kl


def _elbo_loss(x, logits, mu, logvar, beta=1.0):
    log_px, kl = _terms(x, logits, mu, logvar)
    return beta * kl - log_px


def _elbo_hidden_mean(x, logits, mu, logvar, beta=1.0):
    log_px, kl = _terms(x, logits, mu, logvar)
    return log_px - beta * kl.mean()


def _elbo_right(x, logits, mu, logvar, beta=1.0):
    log_px, kl = _terms(x, logits, mu, logvar)
    return log_px - beta * kl


def _elbo_inputs(g):
    x, logits = torch.rand(5, 1, 4, 3, generator=g).round(), torch.randn(5, 1, 4, 3, generator=g)
    return x, logits, torch.randn(5, 2, generator=g), torch.randn(5, 2, generator=g), 0.7


ELBO = Exercise(
    number="05.4",
    title="The ELBO with a weight",
    difficulty=2,
    minutes=10,
    task=r"""
Put the parts together: the ELBO per example with weight $\beta$ on the KL term, from binary images, logits, `mu` and
`logvar`. With $\beta = 0$ it is the reconstruction term. It falls linearly in $\beta$, with slope $-\operatorname{KL}$.
Every value belongs to its own example: it stays as it was when other examples join the batch. Twice the pixels give
twice the reconstruction term.""",
    inputs=_elbo_inputs,
    solution=elbo_beta,
    explanation=r"""
Both terms are in nats, and both are sums: over pixels, because the pixels are independent given $z$, and over latent
dimensions, because the posterior is diagonal. A mean in one place and a sum in the other is another $\beta$.""",
    hints=(
        "You have both parts from exercises 05.1 and 05.3. Which sign has each?",
        "The bound is reconstruction *minus* $\\beta$ times the KL. Both are one number per example before you combine them.",
        "`log_px` and `kl` have shape `(n,)`; return `log_px - beta * kl`, without any mean.",
    ),
    wrong=(
        Wrong(
            "mean over pixels, sum over latents",
            _elbo_mean_pixels,
            "The pixels are averaged and the latent dimensions are summed: beta is silently multiplied by the number of "
            "pixels.",
        ),
        Wrong(
            "plus the KL",
            _elbo_plus,
            "The KL is added. It is a cost: the bound is the reconstruction minus the KL.",
        ),
        Wrong("beta is forgotten", _elbo_no_beta, "This is the ELBO for beta = 1: the argument beta is not used."),
        Wrong(
            "beta on the reconstruction",
            _elbo_beta_on_pixels,
            "Here beta weighs the reconstruction. It belongs to the KL term.",
        ),
        Wrong(
            "the loss, not the bound",
            _elbo_loss,
            "This is minus the ELBO: the loss. Here the bound itself is wanted.",
        ),
        Wrong(
            "the KL averaged over the batch",
            _elbo_hidden_mean,
            "The KL of every example is replaced by the batch's mean, so examples are no longer their own.",
        ),
    ),
    right=(_elbo_right,),
    probes={
        "the bound with beta = 0": lambda f: f(
            torch.ones(2, 3), torch.ones(2, 3), torch.ones(2, 4), torch.ones(2, 4), 0.0
        ),
        "the bound with the default beta": lambda f: f(
            torch.ones(2, 3), torch.ones(2, 3), torch.ones(2, 4), torch.ones(2, 4)
        ),
    },
    gradient=True,
)


def iwae_bound(log_w):
    """log (1/k) Σ_i exp(log_w_i): (k, n) -> (n,)."""
    return torch.logsumexp(log_w, 0) - math.log(len(log_w))


def _iwae_by_hand(log_w):
    top = log_w.max(0).values
    return top + (log_w - top).exp().mean(0).log()


IWAE = Exercise(
    number="05.5",
    title="The IWAE bound",
    difficulty=2,
    minutes=10,
    task=r"""
From log-weights of shape `(k, n)` compute $\log \frac1k \sum_i w_i$ for each of the `n` examples. For `k = 1` it is the
log-weight itself. Equal weights give that weight for every `k`. Adding 5,000 to all log-weights adds 5,000 to the result,
without overflow. Then find its gradient in the log-weights: it is a vector that sums to one. Which one, and what does it
say about samples that explain $x$ badly?""",
    inputs=lambda g: (2 * torch.randn(4, 3, generator=g),),
    solution=iwae_bound,
    explanation=r"""
`logsumexp` takes out the largest exponent first, so nothing overflows. The gradient is the softmax of the log-weights
over the $k$ samples: samples that explain $x$ badly have next to no weight and next to no influence.""",
    hints=(
        "The mean is over samples, which lie along dimension 0. What happens to $e^{5000}$ in floating point?",
        "$\\log \\sum_i e^{a_i}$ has a function of its own in PyTorch that cannot overflow. Then there is the $1/k$.",
        "`torch.logsumexp(log_w, 0)` minus the logarithm of $k$ = `len(log_w)`.",
    ),
    wrong=(
        Wrong(
            "the mean of the logarithms",
            lambda log_w: log_w.mean(0),
            "This is the mean of the log-weights: the ELBO, averaged over samples. "
            "By Jensen it lies below. The mean must stand inside the logarithm.",
        ),
        Wrong(
            "without 1/k",
            lambda log_w: torch.logsumexp(log_w, 0),
            "The 1/k is missing: this grows with k even for equal weights, and is no bound.",
        ),
        Wrong(
            "over the wrong axis",
            lambda log_w: torch.logsumexp(log_w, 1) - math.log(log_w.shape[1]),
            "The sum runs over examples, not over samples: samples lie along dimension 0.",
        ),
        Wrong(
            "exp before the sum",
            lambda log_w: log_w.exp().mean(0).log(),
            "Right for moderate weights, but exp(5000) overflows. Use logsumexp, which takes out the largest first.",
        ),
        Wrong(
            "minus log n",
            lambda log_w: torch.logsumexp(log_w, 0) - math.log(log_w.shape[1]),
            "The logarithm that is subtracted is that of n, the number of examples. It must be k, the number of samples.",
        ),
    ),
    right=(_iwae_by_hand, lambda log_w: torch.logsumexp(log_w - math.log(log_w.shape[0]), dim=0)),
    probes={
        "the bound with k = 1": lambda f: f(torch.tensor([[-3.0, 2.0]])),
        "the bound of equal weights": lambda f: f(torch.full((7, 2), -90.0)),
        "log-weights near 5,000": lambda f: f(torch.tensor([[5000.0, 4999.0], [5001.0, 4990.0], [4998.0, 5000.0]])),
        "log-weights near -5,000": lambda f: f(torch.tensor([[-5000.0], [-5001.0]])),
    },
    gradient=True,
)


def slerp(a, b, t):
    """Spherical interpolation (5.14), row by row: (n, d) -> (n, d)."""
    cosine = (a * b).sum(1, keepdim=True) / (a.norm(dim=1, keepdim=True) * b.norm(dim=1, keepdim=True))
    omega = torch.acos(cosine.clamp(-1, 1))
    small = omega < 1e-3
    sine = torch.where(small, torch.ones_like(omega), torch.sin(omega))
    curved = (torch.sin((1 - t) * omega) * a + torch.sin(t * omega) * b) / sine
    return torch.where(small, (1 - t) * a + t * b, curved)


def _omega(a, b):
    return torch.acos(torch.nn.functional.cosine_similarity(a, b, dim=1).clamp(-1, 1))[:, None]


def _slerp_nan(a, b, t):
    omega = _omega(a, b)
    return (torch.sin((1 - t) * omega) * a + torch.sin(t * omega) * b) / torch.sin(omega)


def _slerp_swapped(a, b, t):
    return slerp(b, a, t)


def _slerp_whole_batch(a, b, t):
    omega = torch.acos(((a * b).sum() / (a.norm() * b.norm())).clamp(-1, 1))
    if omega < 1e-3:
        return (1 - t) * a + t * b
    return (torch.sin((1 - t) * omega) * a + torch.sin(t * omega) * b) / torch.sin(omega)


def _slerp_no_norm(a, b, t):
    omega = torch.acos((a * b).sum(1, keepdim=True).clamp(-1, 1))
    small = omega < 1e-3
    curved = (torch.sin((1 - t) * omega) * a + torch.sin(t * omega) * b) / torch.where(small, 1.0, torch.sin(omega))
    return torch.where(small, (1 - t) * a + t * b, curved)


def _slerp_by_loops(a, b, t):
    rows = []
    for u, v in zip(a, b, strict=True):
        omega = float(torch.acos((u @ v / (u.norm() * v.norm())).clamp(-1, 1)))
        if omega < 1e-3:
            rows.append((1 - t) * u + t * v)
        else:
            rows.append((math.sin((1 - t) * omega) * u + math.sin(t * omega) * v) / math.sin(omega))
    return torch.stack(rows)


_A, _B = torch.tensor([[3.0, 0.0, 4.0], [0.0, 5.0, 0.0]]), torch.tensor([[0.0, 5.0, 0.0], [3.0, 0.0, -4.0]])

SLERP = Exercise(
    number="05.6",
    title="Walking on the shell",
    difficulty=2,
    minutes=15,
    task=r"""
In $d$ dimensions a draw from $\mathcal N(0, I)$ has a length near $\sqrt d$. The midpoint of two independent draws is
shorter by a factor of about $\sqrt 2$: an untypical place. **Spherical interpolation** (White 2016) keeps the length.
With $\omega$ the angle between $a$ and $b$,

$$ \operatorname{slerp}(a, b, t) = \frac{\sin((1 - t)\,\omega)}{\sin \omega}\, a + \frac{\sin(t\,\omega)}{\sin \omega}\, b . \tag{5.14} $$

Write it for `a` and `b` of shape `(n, d)` and a number `t`. At `t = 0` and `t = 1` it gives the ends. For vectors of
equal length it keeps that length. For parallel vectors, where $\sin\omega = 0$, it must fall back to the straight line.
Redraw the interpolation figure with it. Can you see a difference in 16 dimensions?""",
    inputs=lambda g: (
        torch.randn(4, 3, generator=g),
        torch.randn(4, 3, generator=g),
        torch.rand((), generator=g).item(),
    ),
    solution=slerp,
    explanation=r"""
The angle comes from the cosine $a \cdot b / (\lVert a \rVert \lVert b \rVert)$, clamped because rounding can push it
past 1. Each row has an angle of its own. Where $\omega$ is nearly 0 the formula is 0/0; its limit is the straight line.
`torch.where` computes both branches, so the division is made harmless before it is discarded.""",
    hints=(
        "Start with the angle of each row: a dot product, divided by two lengths, and an arc cosine.",
        "Keep the reduced dimension (`keepdim=True`), so that `omega` has shape `(n, 1)` and multiplies rows.",
        "Clamp the cosine to [-1, 1]; for parallel rows, `omega < 1e-3`, take `(1 - t) * a + t * b` by `torch.where`.",
    ),
    wrong=(
        Wrong(
            "the straight line",
            lambda a, b, t: (1 - t) * a + t * b,
            "This is the straight line: it cuts through the inside of the sphere, and the length drops on the way.",
        ),
        Wrong(
            "0/0 for parallel vectors",
            _slerp_nan,
            "Right, except for parallel vectors: there sin ω = 0 and NaN comes out. Fall back to the straight line.",
        ),
        Wrong(
            "the ends swapped",
            _slerp_swapped,
            "The ends are swapped: t = 0 has to give a, and t = 1 has to give b.",
        ),
        Wrong(
            "one angle for the batch",
            _slerp_whole_batch,
            "One angle is used for the whole batch. Every row has its own: reduce over dimension 1 and keep it.",
        ),
        Wrong(
            "the dot product is not divided by the lengths",
            _slerp_no_norm,
            "The dot product is not divided by the two lengths, so it is no cosine.",
        ),
    ),
    right=(_slerp_by_loops,),
    probes={
        "the length half way between two vectors of length 5": lambda f: f(_A, _B, 0.5).norm(dim=1),
        "the point at t = 0": lambda f: f(_A, _B, 0.0),
        "the point at t = 1": lambda f: f(_A, _B, 1.0),
        "parallel vectors, where sin ω = 0": lambda f: f(_A, _A, 0.3),
    },
    tolerance=1e-3,
)


def effective_beta(pixels, kl_terms=1):
    """The weight of the summed KL once the loss is multiplied so that pixels are summed."""
    return pixels / kl_terms


BETA = Exercise(
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
The program minimises $-\tfrac1D \log p(x \mid z) + \tfrac1m \operatorname{KL}$. Multiplied by $D$, which moves no
minimum, it is $-\log p(x \mid z) + \tfrac Dm \operatorname{KL}$: so $\beta = D/m$.""",
    hints=(
        "Multiplying a loss by a positive number moves no minimum. Which number makes the reconstruction a sum again?",
        "Multiply by `pixels`. The KL term is then `pixels` times its average over `kl_terms` numbers.",
        "An average over $m$ numbers is their sum divided by $m$, so the summed KL has the weight `pixels / kl_terms`.",
    ),
    wrong=(
        Wrong(
            "upside down",
            lambda pixels, kl_terms=1: kl_terms / pixels,
            "This is the inverse: it would be the weight of the reconstruction in units of the KL.",
        ),
        Wrong(
            "the KL's mean is forgotten",
            lambda pixels, kl_terms=1: pixels,
            "This is right when the KL is summed. Here the KL is averaged as well, which divides its weight.",
        ),
        Wrong(
            "both multiplied",
            lambda pixels, kl_terms=1: pixels * kl_terms,
            "Averaging the KL makes its weight smaller, not larger: divide by kl_terms.",
        ),
        Wrong(
            "no effect",
            lambda pixels, kl_terms=1: 1.0,
            "The reductions do change beta: one term is divided by the number of pixels, the other is not.",
        ),
    ),
    right=(lambda pixels, kl_terms=1: torch.tensor(pixels / kl_terms),),
    probes={"the KL summed, 784 pixels": lambda f: f(784), "16 latent dimensions averaged": lambda f: f(784, 16)},
    discussion=r"""
**For the open part.** A large $\beta$ makes samples smoother and more alike, since the decoder learns not to listen to
$z$; a small one makes reconstructions sharp and samples poor, since the aggregate posterior no longer covers the prior.
The ELBO at $\beta = 1$ ranks neither by looks: it is a likelihood bound. A report that names the repository, its
reductions, its $\beta$, both terms in nats on the same binarised test digits, and the seed, has answered the question.""",
)

EXERCISES = [KL, REPARAMETERISE, BERNOULLI, ELBO, IWAE, SLERP, BETA]
