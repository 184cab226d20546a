"""Exercises of chapter 04, the ELBO."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import torch

from genlab.exercises import Exercise, Wrong


def kl_estimate(z, mu, logvar):
    """log q(z) − log p(z) for q = N(mu, diag exp(logvar)), p = N(0, I), at given z: (n, d) three times -> (n,)."""
    log_q = -0.5 * (math.log(2 * math.pi) + logvar + (z - mu) ** 2 * torch.exp(-logvar)).sum(1)
    log_p = -0.5 * (math.log(2 * math.pi) + z**2).sum(1)
    return log_q - log_p


def _normal(mu, logvar):
    return torch.distributions.Normal(mu, (0.5 * logvar).exp())


def _kl_estimate_by_distributions(z, mu, logvar):
    p = torch.distributions.Normal(torch.zeros_like(mu), 1.0)
    return (_normal(mu, logvar).log_prob(z) - p.log_prob(z)).sum(1)


ESTIMATE = Exercise(
    number="04.1",
    title="A KL from one sample",
    difficulty=1,
    minutes=8,
    task=r"""
Write the sampled KL term of (4.12): $\log q(z) - \log p(z)$ for $q = \mathcal N(\mu, \operatorname{diag} e^{v})$ and
$p = \mathcal N(0, I)$, at given points `z`. All three arguments have shape `(n, d)`, `logvar` is $v$, and the result has
shape `(n,)`. It is 0 when $q$ is the prior. Single values may be negative; only their mean over $z \sim q$ may not.""",
    inputs=lambda g: tuple(torch.randn(5, 3, generator=g) for _ in range(3)),
    solution=kl_estimate,
    explanation=r"""
Each log-density is a sum over dimensions of $-\tfrac12[\log 2\pi + v + (z - \mu)^2 e^{-v}]$, with $\mu = v = 0$ for the
prior. The two $\log 2\pi$ cancel. The order decides the sign: a divergence of $q$ has $\log q$ first. With the order
reversed this is the first fault of the chapter.""",
    hints=(
        "Write the logarithm of a one-dimensional normal density with mean $\\mu$ and variance $e^v$.",
        "It is $-\\tfrac12[\\log 2\\pi + v + (z - \\mu)^2 e^{-v}]$. For the prior set $\\mu = v = 0$. Which of the two comes first?",
        "`0.5 * (z**2 - (z - mu) ** 2 * torch.exp(-logvar) - logvar)` has shape `(n, d)`. Sum it over dimension 1.",
    ),
    wrong=(
        Wrong(
            "log p minus log q",
            lambda z, mu, logvar: -kl_estimate(z, mu, logvar),
            "The order is reversed: its mean is minus the KL, and minimising it drives q away from p.",
        ),
        Wrong(
            "the closed form",
            lambda z, mu, logvar: 0.5 * (logvar.exp() + mu**2 - 1 - logvar).sum(1),
            "This is the closed form, the mean over all z. Here the value at the given z is wanted.",
        ),
        Wrong(
            "logvar taken for log sigma",
            lambda z, mu, logvar: kl_estimate(z, mu, 2 * logvar),
            "Here logvar is used as log sigma. It is the logarithm of the variance, twice that of sigma.",
        ),
        Wrong(
            "the log-determinant is missing",
            lambda z, mu, logvar: kl_estimate(z, mu, logvar) + 0.5 * logvar.sum(1),
            "The term with logvar is missing: the density of q is not normalised without it.",
        ),
        Wrong(
            "mean over the dimensions",
            lambda z, mu, logvar: kl_estimate(z, mu, logvar) / z.shape[1],
            "This is the mean over the latent dimensions. The logarithm of a product is a sum.",
        ),
        Wrong(
            "one half is missing",
            lambda z, mu, logvar: 2 * kl_estimate(z, mu, logvar),
            "This is twice the value: the one half of the normal log-density is missing.",
        ),
    ),
    right=(_kl_estimate_by_distributions,),
    probes={
        "the value when q is the prior": lambda f: f(torch.ones(2, 3), torch.zeros(2, 3), torch.zeros(2, 3)),
        "the value at z = mu of a narrow q": lambda f: f(
            torch.zeros(1, 2), torch.zeros(1, 2), torch.full((1, 2), -9.0)
        ),
    },
    gradient=True,
)


def split_gap(log_px, best_bound, encoder_bound):
    """The mean approximation gap and the mean amortisation gap of (4.23): (n,) three times -> two numbers."""
    approximation = (log_px - best_bound).mean()
    amortisation = (best_bound - encoder_bound).mean()
    return approximation, amortisation


SPLIT = Exercise(
    number="04.2",
    title="Whose gap is it?",
    difficulty=1,
    minutes=5,
    task=r"""
Three numbers are known for every image: $\log p(x)$, the ELBO of the best $q$ of the family, and the ELBO of the encoder's
$q$, each of shape `(n,)`. Return the mean approximation gap and the mean amortisation gap, in this order. Both are never
negative, and together they are the mean distance from the encoder's ELBO to $\log p(x)$.""",
    inputs=lambda g: (
        -90 + torch.randn(5, generator=g),
        -92 + torch.randn(5, generator=g),
        -95 + torch.randn(5, generator=g),
    ),
    solution=split_gap,
    explanation=r"""
The bounds are ordered: encoder, best of the family, $\log p(x)$. The step from the best to $\log p(x)$ is what the
*family* cannot reach, whoever chooses from it. The step from the encoder to the best is what the *encoder* misses.""",
    hints=(
        "Draw three points on a line, in order of size: which is the largest, which the smallest?",
        "A richer family could win the distance from the best $q$ to $\\log p(x)$; a better encoder that from its $q$ to the best.",
        "`(log_px - best_bound).mean()` is the first number, `(best_bound - encoder_bound).mean()` the second.",
    ),
    wrong=(
        Wrong(
            "the two swapped",
            lambda log_px, best, encoder: ((best - encoder).mean(), (log_px - best).mean()),
            "The two gaps have changed places: the approximation gap belongs to the family, not to the encoder.",
        ),
        Wrong(
            "the wrong sign",
            lambda log_px, best, encoder: ((best - log_px).mean(), (encoder - best).mean()),
            "Both gaps are negative: subtract the smaller bound from the larger.",
        ),
        Wrong(
            "the whole gap as amortisation",
            lambda log_px, best, encoder: ((log_px - best).mean(), (log_px - encoder).mean()),
            "The second number is the whole gap. The amortisation gap starts at the best q, not at log p(x).",
        ),
        Wrong(
            "sums over the batch",
            lambda log_px, best, encoder: ((log_px - best).sum(), (best - encoder).sum()),
            "These are sums over the images. The mean is wanted: nats per image.",
        ),
        Wrong(
            "not averaged",
            lambda log_px, best, encoder: (log_px - best, best - encoder),
            "These are the gaps of single images. Average over the images, once, at the end.",
        ),
    ),
    right=(lambda log_px, best, encoder: (log_px.mean() - best.mean(), best.mean() - encoder.mean()),),
    probes={
        "the gaps of an encoder that finds the best q": lambda f: f(torch.ones(3), torch.zeros(3), torch.zeros(3)),
    },
)


def best_diagonal(covariance):
    """Variances of the diagonal Gaussian q that is closest to N(m, covariance) in KL(q ‖ p): (d, d) -> (d,)."""
    precision = torch.linalg.inv(covariance)
    return 1 / precision.diagonal()


def _best_diagonal_by_conditioning(covariance):
    variances = []
    for j in range(len(covariance)):
        rest = [i for i in range(len(covariance)) if i != j]
        c = covariance[j, rest]
        variances.append(covariance[j, j] - c @ torch.linalg.solve(covariance[rest][:, rest], c))
    return torch.stack(variances)


def _covariance(g, d=3):
    a = torch.randn(d, d + 3, generator=g)
    return a @ a.T / d


_PAIR = torch.tensor([[1.0, 0.9], [0.9, 1.0]])

DIAGONAL = Exercise(
    number="04.3",
    title="The best diagonal q",
    difficulty=2,
    minutes=10,
    task=r"""
A posterior is Gaussian with covariance matrix $\Sigma$, given as `covariance`. Return the variances $s_j^2$ of the
diagonal Gaussian that minimises $\operatorname{KL}(q\,\|\,p)$, by (4.13). For a diagonal $\Sigma$ they are its diagonal.
For two variables with variance 1 and correlation 0.9 each is 0.19. They are never larger than the diagonal of
$\Sigma$.""",
    inputs=lambda g: (_covariance(g),),
    solution=best_diagonal,
    explanation=r"""
$\Lambda = \Sigma^{-1}$ and $s_j^2 = 1/\Lambda_{jj}$. The inverse of the *whole* matrix has to be taken before the
diagonal. $1/\Lambda_{jj}$ is the variance of $z_j$ given all the others, which is what is left of $z_j$ when nothing else
may vary along with it.""",
    hints=(
        "(4.13) is written with the precision matrix $\\Lambda$. How does it come from the covariance?",
        "$\\Lambda = \\Sigma^{-1}$. First the inverse of the matrix, then its diagonal, then one more reciprocal.",
        "In one line it is the reciprocal of a diagonal: `1 / torch.linalg.inv(covariance).diagonal()`.",
    ),
    wrong=(
        Wrong(
            "the posterior's own variances",
            lambda covariance: covariance.diagonal().clone(),
            "These are the posterior's own variances. They minimise KL(p ‖ q); for KL(q ‖ p), which the ELBO has, q is narrower.",
        ),
        Wrong(
            "the diagonal of the precision",
            lambda covariance: torch.linalg.inv(covariance).diagonal(),
            "This is the diagonal of the precision matrix. The variances are its reciprocals.",
        ),
        Wrong(
            "the diagonal before the inverse",
            lambda covariance: 1 / covariance.diagonal(),
            "The diagonal was taken before the inverse, so the correlations are lost, and these are precisions besides.",
        ),
        Wrong(
            "standard deviations",
            lambda covariance: torch.linalg.inv(covariance).diagonal().rsqrt(),
            "These are standard deviations. The variances are wanted, their squares.",
        ),
        Wrong(
            "eigenvalues",
            lambda covariance: torch.linalg.eigvalsh(covariance),
            "These are the variances along the posterior's own axes. A diagonal q has to use the given axes.",
        ),
    ),
    right=(_best_diagonal_by_conditioning,),
    probes={
        "the variances for a diagonal covariance": lambda f: f(torch.diag(torch.tensor([1.0, 4.0, 0.25]))),
        "the variances for a correlation of 0.9": lambda f: f(_PAIR),
    },
)


def diagonal_loss(covariance):
    """½ [Σ_j log Λ_jj − log det Λ], Λ the inverse of the covariance, equation (4.13): (d, d) -> a number."""
    precision = torch.linalg.inv(covariance)
    return 0.5 * (precision.diagonal().log().sum() - torch.logdet(precision))


def _diagonal_loss_by_distributions(covariance):
    m = torch.zeros(len(covariance), dtype=covariance.dtype)
    q = torch.distributions.MultivariateNormal(m, torch.diag(best_diagonal(covariance)))
    return torch.distributions.kl_divergence(q, torch.distributions.MultivariateNormal(m, covariance))


LOSS = Exercise(
    number="04.4",
    title="The price of a diagonal",
    difficulty=2,
    minutes=10,
    task=r"""
Return the gap (4.13) in nats that remains for the best diagonal $q$ when the posterior has this `covariance`. It is 0 for
a diagonal matrix and positive otherwise. It does not change when a variable is measured in other units, that is when a
row and the same column are multiplied by a number. With two variables of correlation $\rho$ it is
$-\tfrac12\log(1 - \rho^2)$.""",
    inputs=lambda g: (_covariance(g, 4),),
    solution=diagonal_loss,
    explanation=r"""
Insert $s_j^2 = 1/\Lambda_{jj}$ into the divergence: $\sum_j \Lambda_{jj}s_j^2 = d$ cancels $-d$, and the logarithms stay.
With the covariance in place of the precision the formula is the *other* divergence, $\operatorname{KL}(p\,\|\,q)$ at its
own minimum. For two variables both agree, for three or more they do not.""",
    hints=(
        "Start from the precision matrix, as in 04.3. Two terms remain: one sees only the diagonal, the other everything.",
        "The terms are the sum of the logarithms of the diagonal, and the log-determinant. `torch.logdet` gives the latter.",
        "`0.5 * (precision.diagonal().log().sum() - torch.logdet(precision))`, with the inverse of the covariance.",
    ),
    wrong=(
        Wrong(
            "the covariance in place of the precision",
            lambda covariance: 0.5 * (covariance.diagonal().log().sum() - torch.logdet(covariance)),
            "This is the formula with the covariance: the least KL(p ‖ q), which agrees for two variables only. Invert first.",
        ),
        Wrong(
            "one half is missing",
            lambda covariance: 2 * diagonal_loss(covariance),
            "This is twice the gap: the one half is missing.",
        ),
        Wrong(
            "the wrong sign",
            lambda covariance: -diagonal_loss(covariance),
            "This is negative, and a KL divergence never is: the sum over the diagonal comes first.",
        ),
        Wrong(
            "the determinant without its logarithm",
            lambda covariance: (
                0.5 * (torch.linalg.inv(covariance).diagonal().log().sum() - torch.det(torch.linalg.inv(covariance)))
            ),
            "The determinant is subtracted, not its logarithm: the gap then depends on the units of z.",
        ),
        Wrong(
            "the log-determinant alone",
            lambda covariance: 0.5 * torch.logdet(covariance),
            "Only the log-determinant is here. Without the sum over the diagonal it is no gap: it is not 0 for a diagonal matrix.",
        ),
        Wrong(
            "the mean over the dimensions",
            lambda covariance: diagonal_loss(covariance) / len(covariance),
            "This is divided by the number of dimensions. The gap is one number for the whole of z: a sum.",
        ),
    ),
    right=(_diagonal_loss_by_distributions,),
    probes={
        "the gap of a diagonal covariance": lambda f: f(torch.diag(torch.tensor([1.0, 4.0, 0.25]))),
        "the gap of two variables with correlation 0.9": lambda f: f(_PAIR),
    },
)


def kl_full(m, L):
    """KL(N(m, L Lᵀ) ‖ N(0, I)) for lower triangular L, equation (4.24): (n, d) and (n, d, d) -> (n,)."""
    trace = (L**2).sum((1, 2))
    logdet = 2 * L.diagonal(dim1=1, dim2=2).log().sum(1)
    return 0.5 * (trace + (m**2).sum(1) - m.shape[1] - logdet)


def _kl_full_by_distributions(m, L):
    q = torch.distributions.MultivariateNormal(m, L @ L.transpose(1, 2))
    p = torch.distributions.MultivariateNormal(torch.zeros_like(m[0]), torch.eye(m.shape[1], dtype=m.dtype))
    return torch.distributions.kl_divergence(q, p)


def _kl_full_by_loops(m, L):
    rows = []
    for mean, root in zip(m, L, strict=True):
        covariance = root @ root.T
        rows.append((covariance.trace() + mean @ mean - len(mean) - covariance.logdet()) / 2)
    return torch.stack(rows)


def _full_parts(m, L):
    return (L**2).sum((1, 2)), (m**2).sum(1), m.shape[1], L.diagonal(dim1=1, dim2=2).log().sum(1)


def _full_inputs(g):
    L = torch.randn(5, 3, 3, generator=g).tril(-1) + torch.diag_embed(torch.rand(5, 3, generator=g) + 0.4)
    return torch.randn(5, 3, generator=g), L


FULL = Exercise(
    number="04.5",
    title="A KL with full covariance",
    difficulty=2,
    minutes=10,
    task=r"""
An encoder with a full covariance outputs a mean `m` of shape `(n, d)` and a lower triangular matrix `L` of shape
`(n, d, d)` with a positive diagonal, and $q = \mathcal N(m, LL^\top)$. Write its KL to $\mathcal N(0, I)$ by (4.24), per
example: shape `(n,)`. It is 0 for `m = 0` and `L` the identity.""",
    inputs=_full_inputs,
    solution=kl_full,
    explanation=r"""
The trace of $LL^\top$ is the sum of the squares of *all* entries of $L$, also below the diagonal. The determinant of a
triangular matrix is the product of its diagonal, and that of $LL^\top$ its square, so the log-determinant is twice the
sum of the logarithms of the diagonal. No matrix has to be multiplied or inverted.""",
    hints=(
        "Of the four terms only two contain $L$: a trace and a log-determinant. What are they for $LL^\\top$?",
        "The trace of $LL^\\top$ is the sum of all squared entries of $L$; its determinant is the squared product of the diagonal.",
        "`0.5 * ((L**2).sum((1, 2)) + (m**2).sum(1) - d - 2 * L.diagonal(dim1=1, dim2=2).log().sum(1))`",
    ),
    wrong=(
        Wrong(
            "the log-determinant of L",
            lambda m, L: (lambda t, s, d, h: 0.5 * (t + s - d - h))(*_full_parts(m, L)),
            "The log-determinant is that of L. The covariance is L Lᵀ, and its determinant is the square.",
        ),
        Wrong(
            "the diagonal only",
            lambda m, L: (lambda t, s, d, h: 0.5 * (L.diagonal(dim1=1, dim2=2).square().sum(1) + s - d - 2 * h))(
                *_full_parts(m, L)
            ),
            "The trace sees only the diagonal of L. The entries below it widen q as well: square them all.",
        ),
        Wrong(
            "the trace of L",
            lambda m, L: (lambda t, s, d, h: 0.5 * (L.diagonal(dim1=1, dim2=2).sum(1) + s - d - 2 * h))(
                *_full_parts(m, L)
            ),
            "This is the trace of L. The covariance is L Lᵀ, and its trace is the sum of squares.",
        ),
        Wrong(
            "one half is missing",
            lambda m, L: 2 * kl_full(m, L),
            "This is twice the KL: the one half is missing.",
        ),
        Wrong(
            "minus d is missing",
            lambda m, L: kl_full(m, L) + 0.5 * m.shape[1],
            "The term minus d is missing: the KL of the prior to itself is not 0.",
        ),
        Wrong(
            "one number for the batch",
            lambda m, L: kl_full(m, L).sum(),
            "This sums over the batch as well. One value per example is wanted.",
        ),
    ),
    right=(_kl_full_by_distributions, _kl_full_by_loops),
    probes={"the KL of the prior to itself": lambda f: f(torch.zeros(2, 4), torch.eye(4).expand(2, 4, 4))},
)


def score_gradient(f, z, mu, sigma):
    """Score-function gradient in mu with leave-one-out baselines: f (k,), z (k, d), mu (d,), a number -> (d,)."""
    k = len(f)
    baseline = (f.sum() - f) / (k - 1)  # for sample i the mean of all the others
    score = (z - mu) / sigma**2
    return ((f - baseline)[:, None] * score).mean(0)


def _score_short(f, z, mu, sigma):
    return ((f - f.mean()) @ (z - mu)) / sigma**2 / (len(f) - 1)


def _score(f, baseline, z, mu, variance):
    return ((f - baseline)[:, None] * (z - mu) / variance).mean(0)


def _others(f):
    return (f.sum() - f) / (len(f) - 1)


SCORE = Exercise(
    number="04.6",
    title="A baseline that costs nothing",
    difficulty=2,
    minutes=15,
    task=r"""
From $k$ samples $z_i \sim \mathcal N(\mu, \sigma^2 I)$ and the values $f_i = f(z_i)$ estimate the gradient (4.19) with a
baseline. A fixed number is not known in advance, so sample $i$ uses the mean of the *other* samples' values:

$$ \frac1k \sum_{i=1}^k \Big(f_i - \frac{1}{k-1}\sum_{j \ne i} f_j\Big)\,\frac{z_i - \mu}{\sigma^2} . \tag{4.26} $$

`f` has shape `(k,)`, `z` has `(k, d)`, `mu` has `(d,)`, `sigma` is a number, and the result has shape `(d,)`. Adding a
constant to all $f_i$ changes nothing. Why may sample $i$ not be part of its own baseline?""",
    inputs=lambda g: (
        5 + torch.randn(4, generator=g),
        torch.randn(4, 3, generator=g),
        torch.randn(3, generator=g),
        0.5 + torch.rand((), generator=g).item(),
    ),
    solution=score_gradient,
    explanation=r"""
The other samples are independent of $z_i$, so their mean acts as a constant and $\mathbb E[b\,\nabla \log q] = 0$. With
$f_i$ in its own baseline that fails: $f_i - \bar f = \frac{k-1}{k}\big(f_i - \frac1{k-1}\sum_{j\ne i} f_j\big)$, so every
gradient would be too short by the factor $(k-1)/k$. For $k = 2$ that is half.""",
    hints=(
        "The sum of the others is the sum of all minus the own value.",
        "All baselines at once: `(f.sum() - f) / (k - 1)`. The score is $(z - \\mu)/\\sigma^2$, with the variance below.",
        "Multiply `(f - baseline)[:, None]` with `(z - mu) / sigma**2` and take the mean over the samples, dimension 0.",
    ),
    wrong=(
        Wrong(
            "the own value in the baseline",
            lambda f, z, mu, sigma: _score(f, f.mean(), z, mu, sigma**2),
            "Each sample is part of its own baseline, so the estimate is biased: too short by the factor (k - 1) / k.",
        ),
        Wrong(
            "no baseline",
            lambda f, z, mu, sigma: _score(f, 0.0, z, mu, sigma**2),
            "There is no baseline: unbiased, but adding a constant to f changes the result, and the noise is large.",
        ),
        Wrong(
            "sigma in place of its square",
            lambda f, z, mu, sigma: _score(f, _others(f), z, mu, sigma),
            "The score is divided by sigma. It is (z - mu) over the variance, sigma squared.",
        ),
        Wrong(
            "the baseline is added",
            lambda f, z, mu, sigma: _score(f, -_others(f), z, mu, sigma**2),
            "The baseline is added. It has to be subtracted, or the noise grows.",
        ),
        Wrong(
            "the sum over samples",
            lambda f, z, mu, sigma: len(f) * _score(f, _others(f), z, mu, sigma**2),
            "This is the sum over the samples. An expectation is estimated by their mean.",
        ),
        Wrong(
            "the wrong sign of the score",
            lambda f, z, mu, sigma: -_score(f, _others(f), z, mu, sigma**2),
            "The sign of the score is wrong: log q grows when mu moves towards z, so its gradient is (z - mu) over the variance.",
        ),
    ),
    right=(_score_short,),
    probes={
        "the gradient of a constant f": lambda g: g(torch.full((3,), 7.0), torch.eye(3), torch.zeros(3), 1.0),
        "the gradient from two samples": lambda g: g(
            torch.tensor([1.0, 3.0]), torch.tensor([[-1.0], [1.0]]), torch.zeros(1), 2.0
        ),
    },
)


def em_step(x, W, sigma2):
    """One step of EM, (4.15), for p(x|z) = N(W z, sigma2) with numbers W and sigma2: x (n,) -> the new W."""
    M = W**2 + sigma2
    m, v = W * x / M, sigma2 / M  # E: mean and variance of every posterior
    return (x * m).sum() / (m**2 + v).sum()  # M: the top of the parabola


def _em_by_mean(x, W, sigma2):
    gain = W / (W**2 + sigma2)
    power = (x**2).mean()
    return gain * power / (gain**2 * power + 1 - gain * W)


def _em(x, W, sigma2, variance=True, noise=None):
    noise = sigma2 if noise is None else noise
    M = W**2 + noise
    m, v = W * x / M, (noise / M if variance else 0.0)
    return (x * m).sum() / (m**2 + v).sum()


EM = Exercise(
    number="04.7",
    title="One step of EM",
    difficulty=2,
    minutes=12,
    task=r"""
Write one step of (4.15) with the noise variance $\sigma^2$ as an argument: from observations `x` of shape `(n,)` and the
present numbers `W` and `sigma2` compute the new $W$. It is a fixed point where $W^2 = \overline{x^2} - \sigma^2$. The
sign of $W$ never changes. Since the posterior has a variance $v$, each of the $n$ terms of the denominator contains it.""",
    inputs=lambda g: (
        2 * torch.randn(6, generator=g),
        0.5 + torch.rand((), generator=g).item(),
        0.5 + torch.rand((), generator=g).item(),
    ),
    solution=em_step,
    explanation=r"""
The M step maximises $\sum_i \mathbb E_{q_i}[\log \mathcal N(x_i; Wz, \sigma^2)]$, a parabola in $W$ with the terms
$W x_i \mathbb E[z]$ and $W^2 \mathbb E[z^2]$. And $\mathbb E[z^2] = m_i^2 + v$. Leaving out $v$ treats the posterior mean
as if it had been observed ("hard EM"); then $W$ comes out too large, and the likelihood may fall.""",
    hints=(
        "E step: the posterior mean of each $z_i$ and the variance that all share. What are they in (4.15)?",
        "M step: a regression of $x$ on $z$, with $\\mathbb E[z] = m$ and $\\mathbb E[z^2] = m^2 + v$ in place of $z$ and $z^2$.",
        "With `m = W * x / (W**2 + sigma2)` and `v = sigma2 / (W**2 + sigma2)` it is `(x * m).sum() / (m**2 + v).sum()`.",
    ),
    wrong=(
        Wrong(
            "hard EM",
            lambda x, W, sigma2: _em(x, W, sigma2, variance=False),
            "The posterior's variance is left out of the denominator: the means are treated as if they had been observed.",
        ),
        Wrong(
            "the variance once for all examples",
            lambda x, W, sigma2: (
                (x * W * x / (W**2 + sigma2)).sum()
                / ((W * x / (W**2 + sigma2)).square().sum() + sigma2 / (W**2 + sigma2))
            ),
            "The variance is added once. Every one of the n examples has it, so it enters n times.",
        ),
        Wrong(
            "sigma2 taken for 1",
            lambda x, W, sigma2: _em(x, W, sigma2, noise=1.0),
            "This is the step for a noise variance of 1: the argument sigma2 is not used.",
        ),
        Wrong(
            "sigma2 squared",
            lambda x, W, sigma2: _em(x, W, sigma2, noise=sigma2**2),
            "sigma2 is squared once more. It is the variance already.",
        ),
        Wrong(
            "the fixed point itself",
            lambda x, W, sigma2: ((x**2).mean() - sigma2).clamp(min=0).sqrt(),
            "This is the place where EM ends, not one step of it.",
        ),
        Wrong(
            "the regression the wrong way",
            lambda x, W, sigma2: (x * W * x / (W**2 + sigma2)).sum() / (x**2).sum(),
            "The sum is divided by that of the squared x: a regression of z on x. Here x is predicted from z.",
        ),
    ),
    right=(_em_by_mean,),
    probes={
        "the step from the fixed point W = 2": lambda f: f(torch.tensor([5**0.5, -(5**0.5)]), 2.0, 1.0),
        "the step from a negative W": lambda f: f(torch.tensor([1.0, -3.0, 2.0]), -0.5, 0.7),
    },
)


def log_weights_of_mixture(log_joint, z, means, stds, shares):
    """log p(x, z) − log Σ_j shares_j N(z; means_j, stds_j²): (n,) twice and (c,) three times -> (n,)."""
    log_normal = -0.5 * (math.log(2 * math.pi) + 2 * stds.log() + ((z[:, None] - means) / stds) ** 2)
    return log_joint - torch.logsumexp(shares.log() + log_normal, 1)


def _components(z, means, stds):
    return torch.distributions.Normal(means, stds).log_prob(z[:, None])


def _mixture_by_distributions(log_joint, z, means, stds, shares):
    parts = torch.distributions.Normal(means, stds)
    q = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(shares), parts)
    return log_joint - q.log_prob(z)


def _mixture_inputs(g):
    shares = torch.rand(3, generator=g) + 0.2
    return (
        torch.randn(5, generator=g),
        torch.randn(5, generator=g),
        torch.randn(3, generator=g),
        torch.rand(3, generator=g) + 0.3,
        shares / shares.sum(),
    )


MIXTURE = Exercise(
    number="04.8",
    title="A q with two modes",
    difficulty=3,
    minutes=40,
    task=r"""
The family is at fault in (4.10), so take a richer one: a mixture $q(z) = \sum_j \pi_j\,\mathcal N(z; m_j, s_j^2)$. Write
its log-weight $\log p(x, z) - \log q(z)$ for given values `log_joint` and points `z`, each of shape `(n,)`, and for
`means`, `stds` and `shares` $\pi$, each of shape `(c,)`. Points far from all means must not give infinities.

Then use it: optimise a mixture of two for the model with two modes, by the grid as in `elbo` above. How much of the
0.71 nats remains? Is one sample from *one* component, weighted by that component alone, still a bound? And why is a
mixture harder to reparameterise?""",
    inputs=_mixture_inputs,
    solution=log_weights_of_mixture,
    explanation=r"""
The density is a sum, so its logarithm is a `logsumexp` of $\log \pi_j + \log \mathcal N(z; m_j, s_j^2)$ over the
components. Whichever component a point was drawn from, the weight has the *whole* density below the line. Far from all
means every density underflows to 0, and only the logarithms keep the difference.""",
    hints=(
        "The logarithm of a sum is not the sum of logarithms. Which function of PyTorch gives $\\log\\sum_j e^{a_j}$ safely?",
        "Make a table `(n, c)` of $\\log \\pi_j + \\log \\mathcal N(z_i; m_j, s_j^2)$, with `z[:, None]`.",
        "`log_joint - torch.logsumexp(shares.log() + log_normal, 1)`, where `log_normal` is that table without the shares.",
    ),
    wrong=(
        Wrong(
            "the mean of the log-densities",
            lambda log_joint, z, means, stds, shares: log_joint - (shares * _components(z, means, stds)).sum(1),
            "The logarithms are averaged. The densities have to be averaged first, and then comes the logarithm.",
        ),
        Wrong(
            "the shares are forgotten",
            lambda log_joint, z, means, stds, shares: log_joint - torch.logsumexp(_components(z, means, stds), 1),
            "The shares are missing, so q does not integrate to 1 but to the number of components.",
        ),
        Wrong(
            "equal shares",
            lambda log_joint, z, means, stds, shares: (
                log_joint - torch.logsumexp(_components(z, means, stds), 1) + math.log(len(shares))
            ),
            "All components get the same share. Use the shares that were given.",
        ),
        Wrong(
            "the nearest component only",
            lambda log_joint, z, means, stds, shares: (
                log_joint - (shares.log() + _components(z, means, stds)).max(1).values
            ),
            "Only the largest term is kept. The density of a mixture is the sum over all components.",
        ),
        Wrong(
            "the densities before the logarithm",
            lambda log_joint, z, means, stds, shares: (
                log_joint - (shares * _components(z, means, stds).exp()).sum(1).log()
            ),
            "Right near the means, but far away all densities underflow to 0 and the weight becomes infinite. Use logsumexp.",
        ),
        Wrong(
            "q plus the joint",
            lambda log_joint, z, means, stds, shares: (
                log_joint + torch.logsumexp(shares.log() + _components(z, means, stds), 1)
            ),
            "The log-density of q is added. A weight divides by q, so its logarithm is subtracted.",
        ),
    ),
    right=(_mixture_by_distributions,),
    probes={
        "the log-weight far from all means": lambda f: f(
            torch.zeros(1), torch.tensor([60.0]), torch.zeros(2), torch.ones(2), torch.tensor([0.5, 0.5])
        ),
        "the log-weight of a mixture of two equal components": lambda f: f(
            torch.zeros(2), torch.tensor([0.0, 1.0]), torch.zeros(2), torch.ones(2), torch.tensor([0.3, 0.7])
        ),
    },
    discussion=r"""
**For the open part.** By symmetry the best mixture of two has shares of one half and means of opposite sign. The
$\log 2$ of (4.10) vanishes, and only the misfit of each mode's shape remains, a few hundredths of a nat. Weighting a
draw by its own component alone gives $\log w$ with a smaller density below the line (if the share is included), so its
mean is *higher*; it is no longer an estimate of the ELBO of the mixture, and need not be a bound when the share is left
out. The choice of the component is discrete, so the sample is no smooth function of the shares. One can sum over
components, one ELBO term for each, or use the score function for the choice.""",
)

EXERCISES = [ESTIMATE, SPLIT, DIAGONAL, LOSS, FULL, SCORE, EM, MIXTURE]
