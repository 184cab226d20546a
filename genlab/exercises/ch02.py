"""Exercises of chapter 02, what a generative model is."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math
from itertools import pairwise

import torch

from genlab.exercises import Exercise, Wrong


def interval(samples):
    """The 95 % confidence interval (low, high) of the mean, from independent samples (n,)."""
    error = samples.std() / math.sqrt(len(samples))
    return samples.mean() - 1.96 * error, samples.mean() + 1.96 * error


def _around(samples, half):
    return samples.mean() - half, samples.mean() + half


def _interval_by_loops(samples):
    n = len(samples)
    mean = sum(samples.tolist()) / n
    variance = sum((v - mean) ** 2 for v in samples.tolist()) / (n - 1)
    half = 1.96 * (variance / n) ** 0.5
    return mean - half, mean + half


def _some(g, low=5, high=40):
    return int(torch.randint(low, high, (), generator=g))


INTERVAL = Exercise(
    number="02.1",
    title="An honest interval",
    difficulty=1,
    minutes=5,
    task=r"""
Write the interval $\bar x \pm 1.96\, s/\sqrt n$ for the mean of `n` independent samples, as a pair `(low, high)`. Here
$s$ is the samples' standard deviation with $n - 1$ in its denominator. Four times the samples must give about half the
width. Samples that are all equal give an interval of width zero.""",
    inputs=lambda g: (1 + 3 * torch.randn(_some(g), generator=g),),
    solution=interval,
    explanation=r"""
The variance of one sample is $s^2$, that of a sum of $n$ is $n s^2$, that of the mean is $n s^2 / n^2 = s^2/n$. Its root
is the standard error. By the central limit theorem the mean is nearly normal, and a normal variable lies within 1.96 of
its standard deviations in 95 % of all cases.""",
    hints=(
        "How uncertain is the mean of $n$ samples, if one sample has standard deviation $s$?",
        "The standard error is $s/\\sqrt n$. `samples.std()` has $n - 1$ in its denominator already.",
        "`error = samples.std() / math.sqrt(len(samples))`; return the mean minus and plus `1.96 * error`.",
    ),
    wrong=(
        Wrong(
            "the spread of one sample",
            lambda samples: _around(samples, 1.96 * samples.std()),
            "This is where a single new sample lies. The mean of n samples is more certain, by the root of n.",
        ),
        Wrong(
            "divided by n",
            lambda samples: _around(samples, 1.96 * samples.std() / len(samples)),
            "The standard deviation is divided by n. The variance of a mean falls like 1/n, so its root like 1/√n.",
        ),
        Wrong(
            "the variance in place of the standard deviation",
            lambda samples: _around(samples, 1.96 * samples.var() / math.sqrt(len(samples))),
            "Here the variance is divided by √n. Take the standard deviation, its root: it has the units of the samples.",
        ),
        Wrong(
            "one standard error",
            lambda samples: _around(samples, samples.std() / math.sqrt(len(samples))),
            "This is one standard error to each side, which holds the mean in 68 % of all cases only: 1.96 is missing.",
        ),
        Wrong(
            "n in the denominator of s",
            lambda samples: _around(samples, 1.96 * samples.std(correction=0) / math.sqrt(len(samples))),
            "This standard deviation has n in its denominator. It is too small on average: use n − 1, as std() does.",
        ),
    ),
    right=(
        _interval_by_loops,
        lambda samples: tuple(samples.mean() + s * 1.96 * (samples.var() / samples.numel()) ** 0.5 for s in (-1, 1)),
    ),
    probes={
        "the interval of equal samples": lambda f: f(torch.full((9,), 2.5)),
        "the interval of 400 samples": lambda f: f(torch.arange(400.0)),
    },
    tolerance=1e-4,
)


def wasserstein1(x, y):
    """W₁ of two samples of the same size on a line: (n,), (n,) -> ()."""
    return (x.sort().values - y.sort().values).abs().mean()


def _w1_by_areas(x, y):
    places = torch.cat([x, y]).sort().values
    total = 0.0
    for low, high in pairwise(places):
        total = total + (high - low) * ((x <= low).double().mean() - (y <= low).double().mean()).abs()
    return total


def _w1_by_ranks(x, y):
    return torch.stack([(x[i] - y[j]).abs() for i, j in zip(x.argsort(), y.argsort(), strict=True)]).mean()


W1 = Exercise(
    number="02.2",
    title="Moving sand on a line",
    difficulty=1,
    minutes=5,
    task=r"""
Write $W_1$ of two samples of equal size in one dimension, by the quantile coupling (2.17). It does not depend on the
order of either sample. If `y` is `x` moved by 3, the result is 3. If `y` is `2 * x`, the result is the mean of $|x|$.""",
    inputs=lambda g: (torch.randn(9, generator=g), 1 + 2 * torch.randn(9, generator=g)),
    solution=wasserstein1,
    explanation=r"""
The $i$-th smallest of `x` is the quantile of $x$ at $(i - \tfrac12)/n$, and the optimal coupling sends it to the same
quantile of $y$. So sort both and average the distances. In more than one dimension there is no sorting, and the best
coupling has to be searched for.""",
    hints=(
        "Which grain of `x` should go to the smallest grain of `y`, so that no two paths cross?",
        "Sort both samples. The grain of rank $i$ goes to the place of rank $i$.",
        "`x.sort().values` is sorted; take the difference to the sorted `y`, its absolute value, and the mean.",
    ),
    wrong=(
        Wrong(
            "without sorting",
            lambda x, y: (x - y).abs().mean(),
            "Points are paired in the order in which they came. Another order would give another result: sort first.",
        ),
        Wrong(
            "the difference of means",
            lambda x, y: (x.mean() - y.mean()).abs(),
            "This is the difference of the means. It is 0 for a narrow and a wide sample around the same point.",
        ),
        Wrong(
            "the sum",
            lambda x, y: (x.sort().values - y.sort().values).abs().sum(),
            "This is the sum, which grows with the sample. Each point has the mass 1/n: take the mean.",
        ),
        Wrong(
            "squared distances",
            lambda x, y: (x.sort().values - y.sort().values).square().mean(),
            "The distances are squared: this is the square of W₂. For W₁ take absolute values.",
        ),
        Wrong(
            "Wasserstein-2",
            lambda x, y: (x.sort().values - y.sort().values).square().mean().sqrt(),
            "This is W₂, the root of the mean square. W₁ is the mean of the distances themselves.",
        ),
        Wrong(
            "no absolute value",
            lambda x, y: (x.sort().values - y.sort().values).mean(),
            "Without absolute values, ways to the left and to the right cancel.",
        ),
        Wrong(
            "every pair",
            lambda x, y: (x[:, None] - y).abs().mean(),
            "This is the mean over all pairs: the cost of a coupling that sends every point everywhere. It is not 0 for "
            "equal samples.",
        ),
    ),
    right=(_w1_by_areas, _w1_by_ranks),
    probes={
        "the distance of a sample to itself in another order": lambda f: f(
            torch.arange(6.0), torch.arange(6.0).flip(0)
        ),
        "the distance to a sample moved by 3": lambda f: f(torch.arange(5.0), torch.arange(5.0) + 3),
        "the distance to a sample that is twice as wide": lambda f: f(torch.arange(-3.0, 4), 2 * torch.arange(-3.0, 4)),
    },
)


def tv_normals(theta, sigma):
    """TV of N(0, sigma²) and N(theta, sigma²), for tensors (n,) each: (n,)."""
    return torch.erf(theta.abs() / (2 * math.sqrt(2) * sigma))


def _tv_by_normal(theta, sigma):
    return 2 * torch.distributions.Normal(0.0, 1.0).cdf(theta.abs() / (2 * sigma)) - 1


def _tv_by_events(theta, sigma):
    normal = torch.distributions.Normal(torch.zeros_like(theta), sigma)
    return (normal.cdf(theta / 2) - normal.cdf(-theta / 2)).abs()


TV = Exercise(
    number="02.3",
    title="The best classifier of two normals",
    difficulty=2,
    minutes=10,
    task=r"""
Two normal distributions have the same standard deviation $\sigma$, and their means lie $\theta$ apart. Find the event
$\{p > q\}$, compute its probability under both, and so find $\operatorname{TV}$ by (2.14) in closed form. `theta` may be
negative; `theta` and `sigma` have shape `(n,)`. At `theta = 0` the result is 0, and for large `theta` it tends to 1. The
best classifier is right in a share of $\tfrac12(1 + \operatorname{TV})$ of all cases.""",
    inputs=lambda g: (2 * torch.randn(5, generator=g), 0.5 + torch.rand(5, generator=g)),
    solution=tv_normals,
    explanation=r"""
Both densities are equal half way, at $\theta/2$. For $\theta > 0$ the event is $\{x < \theta/2\}$, with probabilities
$\Phi(\theta/2\sigma)$ and $\Phi(-\theta/2\sigma) = 1 - \Phi(\theta/2\sigma)$. Their difference is
$2\Phi(\theta/2\sigma) - 1$, and since $\operatorname{erf}(u) = 2\Phi(u\sqrt2) - 1$ this is
$\operatorname{erf}(\theta / (2\sqrt2\,\sigma))$.""",
    hints=(
        "Sketch both bells. Where are they equally high, and on which side of that point is $p$ the larger?",
        "With the normal distribution function $\\Phi$ they are $\\Phi(\\theta/2\\sigma)$ and $1 - \\Phi(\\theta/2\\sigma)$.",
        "$2\\Phi(u) - 1 = \\operatorname{erf}(u/\\sqrt 2)$ with $u = |\\theta| / (2\\sigma)$; PyTorch has `torch.erf`.",
    ),
    wrong=(
        Wrong(
            "the whole distance",
            lambda theta, sigma: torch.erf(theta.abs() / (math.sqrt(2) * sigma)),
            "Here the border lies at theta. The densities are equal half way between the means, at theta / 2.",
        ),
        Wrong(
            "the sign is lost",
            lambda theta, sigma: torch.erf(theta / (2 * math.sqrt(2) * sigma)),
            "For negative theta this is negative. A distance is not: take the absolute value of theta.",
        ),
        Wrong(
            "the accuracy",
            lambda theta, sigma: 0.5 * (1 + torch.erf(theta.abs() / (2 * math.sqrt(2) * sigma))),
            "This is the accuracy of the best classifier, ½(1 + TV), which is ½ for equal distributions. TV is asked.",
        ),
        Wrong(
            "the overlap",
            lambda theta, sigma: torch.erfc(theta.abs() / (2 * math.sqrt(2) * sigma)),
            "This is the overlap, 1 − TV: it is 1 for equal distributions, where a distance is 0.",
        ),
        Wrong(
            "the variance in place of sigma",
            lambda theta, sigma: torch.erf(theta.abs() / (2 * math.sqrt(2) * sigma**2)),
            "theta is divided by the variance. Distances are measured in standard deviations.",
        ),
        Wrong(
            "Pinsker's bound",
            lambda theta, sigma: theta.abs() / (2 * sigma),
            "This is Pinsker's bound, the root of KL/2. It is not the distance itself, and exceeds 1 for large theta.",
        ),
    ),
    right=(_tv_by_normal, _tv_by_events),
    probes={
        "the distance at theta = 0": lambda f: f(torch.zeros(2), torch.ones(2)),
        "the distance of two normals that are far apart": lambda f: f(torch.tensor([100.0, -100.0]), torch.ones(2)),
    },
)


def js(p, q):
    """Jensen-Shannon divergence in nats, row by row: probabilities (n, k) twice -> (n,)."""
    m = (p + q) / 2
    to_p = torch.xlogy(p, p) - torch.xlogy(p, m)
    to_q = torch.xlogy(q, q) - torch.xlogy(q, m)
    return (0.5 * to_p + 0.5 * to_q).sum(1)


def _js_plain(p, q):
    m = (p + q) / 2
    return 0.5 * (p * (p / m).log() + q * (q / m).log()).sum(1)


def _js_by_entropies(p, q):
    def entropy(a):
        return torch.special.entr(a).sum(1)

    return entropy((p + q) / 2) - 0.5 * entropy(p) - 0.5 * entropy(q)


def _js_by_loops(p, q):
    rows = []
    for a, b in zip(p.tolist(), q.tolist(), strict=True):
        total = 0.0
        for u, v in zip(a, b, strict=True):
            total += 0.5 * sum(w * math.log(2 * w / (u + v)) for w in (u, v) if w > 0)
        rows.append(total)
    return torch.tensor(rows)


def _jeffreys(p, q):
    return 0.5 * (torch.xlogy(p, p / q) + torch.xlogy(q, q / p)).sum(1)


JS = Exercise(
    number="02.4",
    title="Jensen-Shannon, with zeros",
    difficulty=2,
    minutes=10,
    task=r"""
Write $\operatorname{JS}$ of (2.13) in nats for rows of probabilities, `(n, k)` twice, in which entries may be zero: in
`p`, in `q`, or in both at the same place. It is symmetric, 0 for equal rows, and exactly $\log 2$ for rows that share no
outcome.""",
    inputs=lambda g: tuple(torch.softmax(2 * torch.randn(4, 3, generator=g), 1) for _ in range(2)),
    solution=js,
    explanation=r"""
Wherever $p > 0$, also $m > 0$, so no logarithm of zero is needed. What is left is $0 \log 0$, which has the limit 0, and
`torch.xlogy(a, b)` is $a \log b$ with that rule. Where both are zero, $p/m$ is 0/0, so the quotient is split into a
difference. The divergence is also $H(m) - \tfrac12 H(p) - \tfrac12 H(q)$.""",
    hints=(
        "Start with the average $m$ of both rows. Each of the two terms is a KL divergence to $m$, not to the other row.",
        "Where $p = 0$ its term is 0, by the limit of $a \\log a$. `torch.xlogy(a, b)` is $a \\log b$ with this rule.",
        "Sum `torch.xlogy(p, p) - torch.xlogy(p, m)` over dimension 1, the same for `q`, and take half of each.",
    ),
    wrong=(
        Wrong(
            "0 log 0 is NaN",
            _js_plain,
            "Right where all probabilities are positive. With zeros, 0 · log 0 gives NaN; its limit is 0.",
        ),
        Wrong(
            "the halves are missing",
            lambda p, q: 2 * js(p, q),
            "This is the sum of two divergences. Each has a factor of one half, so that the largest value is log 2.",
        ),
        Wrong(
            "the other row in place of the average",
            _jeffreys,
            "Here each row is compared with the other: half of Jeffreys' divergence, infinite for rows that share "
            "no outcome. Compare each with their average.",
        ),
        Wrong(
            "bits",
            lambda p, q: js(p, q) / math.log(2),
            "This is in bits, with a largest value of 1. Nats are wanted: the natural logarithm.",
        ),
        Wrong(
            "the square root",
            lambda p, q: js(p, q).sqrt(),
            "This is the square root, the Jensen-Shannon distance. It is a metric, but the divergence is asked.",
        ),
        Wrong(
            "one side only",
            lambda p, q: (torch.xlogy(p, p) - torch.xlogy(p, (p + q) / 2)).sum(1),
            "Only p is compared with the average. The second half, from q, is missing, and with it the symmetry.",
        ),
        Wrong(
            "one number for the batch",
            lambda p, q: js(p, q).sum(),
            "This sums over the rows as well. One value for each row is wanted: sum over dimension 1.",
        ),
    ),
    right=(_js_by_entropies, _js_by_loops),
    probes={
        "the divergence of rows that share no outcome": lambda f: f(
            torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([[0.0, 0.0, 1.0]])
        ),
        "the divergence of equal rows with zeros in the same place": lambda f: f(
            torch.tensor([[0.25, 0.0, 0.75]]), torch.tensor([[0.25, 0.0, 0.75]])
        ),
        "the divergence of rows with a zero in one of them": lambda f: f(
            torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([[0.2, 0.3, 0.5]])
        ),
    },
)


def mmd2_gauss(x, y, h):
    """Unbiased MMD² with the kernel exp(−‖x − y‖² / 2h²): (n, d), (m, d) -> ()."""
    xx, yy, xy = (torch.exp(-(torch.cdist(a, b) ** 2) / (2 * h**2)) for a, b in ((x, x), (y, y), (x, y)))
    n, m = len(x), len(y)
    within = (xx.sum() - xx.trace()) / (n * (n - 1)) + (yy.sum() - yy.trace()) / (m * (m - 1))
    return within - 2 * xy.mean()


def _grams(x, y, h):
    return (torch.exp(-(torch.cdist(a, b) ** 2) / (2 * h**2)) for a, b in ((x, x), (y, y), (x, y)))


def _mmd_biased(x, y, h):
    xx, yy, xy = _grams(x, y, h)
    return xx.mean() + yy.mean() - 2 * xy.mean()


def _mmd_diagonal_kept(x, y, h):
    xx, yy, xy = _grams(x, y, h)
    n, m = len(x), len(y)
    return xx.sum() / (n * (n - 1)) + yy.sum() / (m * (m - 1)) - 2 * xy.mean()


def _mmd_diagonal_averaged(x, y, h):
    xx, yy, xy = _grams(x, y, h)
    return (xx - xx.diag().diag()).mean() + (yy - yy.diag().diag()).mean() - 2 * xy.mean()


def _mmd_cross_once(x, y, h):
    return mmd2_gauss(x, y, h) + next(v for i, v in enumerate(_grams(x, y, h)) if i == 2).mean()


def _mmd_by_loops(x, y, h):
    def kernel(a, b):
        return math.exp(-float((a - b) @ (a - b)) / (2 * h * h))

    def inside(z):
        pairs = [kernel(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j]
        return sum(pairs) / len(pairs)

    return inside(x) + inside(y) - 2 * sum(kernel(a, b) for a in x for b in y) / (len(x) * len(y))


MMD = Exercise(
    number="02.5",
    title="An estimate that may be negative",
    difficulty=2,
    minutes=10,
    task=r"""
Write the unbiased estimate of $\operatorname{MMD}^2$ of (2.18) with the Gaussian kernel $e^{-\|x - y\|^2 / 2h^2}$, for
samples `(n, d)` and `(m, d)`. Unbiased means that pairs of a point with itself are left out of the first and the third
expectation, and that the rest is averaged over the pairs that remain. The result may be negative. Check it on the page:
over many pairs of samples from one distribution its mean is zero.""",
    inputs=lambda g: (torch.randn(5, 2, generator=g), 0.5 + torch.randn(4, 2, generator=g), 0.8),
    solution=mmd2_gauss,
    explanation=r"""
A point and itself are no independent pair: $k(x, x) = 1$ whatever the distribution. There are $n(n - 1)$ ordered pairs of
different points. Between the samples all $nm$ pairs are independent. The expectation of the whole is
$\operatorname{MMD}^2$, which is 0 for equal distributions, so that the estimate has to be negative sometimes.""",
    hints=(
        "Three matrices of kernel values are needed. Which of their entries do not belong to independent pairs?",
        "Take the diagonal out of the sums over `x` with `x` and `y` with `y`, and divide by $n(n-1)$ and $m(m-1)$.",
        "`(xx.sum() - xx.trace()) / (n * (n - 1))`, the same for `yy`, and minus `2 * xy.mean()`.",
    ),
    wrong=(
        Wrong(
            "the diagonal is included",
            _mmd_biased,
            "Pairs of a point with itself are included. This estimate is never negative, and is too large on average.",
        ),
        Wrong(
            "the diagonal is in the sum, but not in the count",
            _mmd_diagonal_kept,
            "The sum holds the diagonal, while the number of pairs, n(n − 1), does not. Subtract the trace.",
        ),
        Wrong(
            "the diagonal is out of the sum, but in the count",
            _mmd_diagonal_averaged,
            "The diagonal is left out of the sum, but its pairs are counted: divide by n(n − 1), not by n².",
        ),
        Wrong(
            "cut off at zero",
            lambda x, y, h: mmd2_gauss(x, y, h).clamp(min=0),
            "Negative estimates are set to zero, so that the average is no longer right. Let them be negative.",
        ),
        Wrong(
            "the cross term once",
            _mmd_cross_once,
            "The cross term is subtracted once. The square of a difference has it twice.",
        ),
        Wrong(
            "the 2 in the kernel is missing",
            lambda x, y, h: mmd2_gauss(x, y, h / math.sqrt(2)),
            "The kernel is exp(−‖x − y‖²/h²): the factor 2 before h² is missing.",
        ),
        Wrong(
            "h is not squared",
            lambda x, y, h: mmd2_gauss(x, y, math.sqrt(h)),
            "The squared distance is divided by 2h. It has to be 2h², so that h has the units of x.",
        ),
        Wrong(
            "the root",
            lambda x, y, h: mmd2_gauss(x, y, h).sqrt(),
            "The square root was taken: NaN where the estimate is negative. MMD² is asked.",
        ),
    ),
    right=(_mmd_by_loops,),
    probes={
        "the estimate for a sample and itself, which is negative": lambda f: f(
            torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [2.0]]), 1.0
        ),
        "the estimate for samples that are far apart": lambda f: f(torch.zeros(3, 1), torch.full((2, 1), 50.0), 1.0),
    },
)


def logit_normal_log_prob(x, mu, sigma):
    """log density of x = sigmoid(z), z ~ N(mu, sigma²), for x in (0, 1): (n,) -> (n,)."""
    z = torch.log(x) - torch.log(1 - x)
    log_p_z = -0.5 * ((z - mu) / sigma) ** 2 - torch.log(sigma) - 0.5 * math.log(2 * math.pi)
    return log_p_z - torch.log(x) - torch.log(1 - x)


def _log_p_z(x, mu, sigma):
    return torch.distributions.Normal(mu, sigma).log_prob(torch.logit(x))


def _by_transform(x, mu, sigma):
    base = torch.distributions.Normal(mu, sigma)
    return torch.distributions.TransformedDistribution(base, torch.distributions.SigmoidTransform()).log_prob(x)


_GRID = (torch.arange(2000) + 0.5) / 2000

LOGIT_NORMAL = Exercise(
    number="02.6",
    title="A density on the unit interval",
    difficulty=2,
    minutes=10,
    task=r"""
Pixels lie between 0 and 1. Draw $z \sim \mathcal N(\mu, \sigma^2)$ and set $x = 1/(1 + e^{-z})$. Write $\log p(x)$ by
(2.21), for `x` of shape `(n,)` and tensors `mu` and `sigma`. You need the inverse of the sigmoid, and its derivative
$x(1 - x)$. The density must integrate to 1 over $(0, 1)$.""",
    inputs=lambda g: (
        0.02 + 0.96 * torch.rand(6, generator=g),
        torch.randn((), generator=g),
        0.5 + torch.rand((), generator=g),
    ),
    solution=logit_normal_log_prob,
    explanation=r"""
The inverse is $z = \log\frac{x}{1 - x}$. The derivative of the sigmoid is $\mathrm dx/\mathrm dz = x(1 - x)$, and (2.21)
subtracts its logarithm: $-\log x - \log(1 - x)$. Near 0 and 1 the sigmoid squeezes much of the line into little room, so
there the density is raised.""",
    hints=(
        "First invert: which $z$ belongs to a given $x$? Then ask by how much the sigmoid stretches there.",
        "$z = \\log x - \\log(1 - x)$, and $g'(z) = x(1 - x)$. The formula subtracts $\\log |g'(z)|$.",
        "Take $\\log \\mathcal N(z; \\mu, \\sigma^2)$ with all its constants; subtract $\\log x$ and $\\log(1 - x)$.",
    ),
    wrong=(
        Wrong(
            "no log-determinant",
            _log_p_z,
            "This is the density of z, written at x. The derivative of the map is missing, and it does not integrate to 1.",
        ),
        Wrong(
            "the log-determinant added",
            lambda x, mu, sigma: _log_p_z(x, mu, sigma) + torch.log(x) + torch.log(1 - x),
            "The logarithm of the derivative is added. Where the map stretches, density falls: subtract it.",
        ),
        Wrong(
            "half of the derivative",
            lambda x, mu, sigma: _log_p_z(x, mu, sigma) - torch.log(x),
            "The derivative of the sigmoid is x (1 − x). Here its second factor is missing.",
        ),
        Wrong(
            "without log sigma",
            lambda x, mu, sigma: _by_transform(x, mu, sigma) + torch.log(sigma),
            "The normal density has a 1/σ in front: − log σ is missing, and the integral is σ.",
        ),
        Wrong(
            "sigma taken for the variance",
            lambda x, mu, sigma: _by_transform(x, mu, sigma.sqrt()),
            "Here sigma is used as the variance. It is the standard deviation.",
        ),
        Wrong(
            "x itself in place of its logit",
            lambda x, mu, sigma: torch.distributions.Normal(mu, sigma).log_prob(x) - torch.log(x) - torch.log(1 - x),
            "The normal density is evaluated at x. It belongs to z: invert the sigmoid first.",
        ),
        Wrong(
            "the density, not its logarithm",
            lambda x, mu, sigma: _by_transform(x, mu, sigma).exp(),
            "This is the density. Its logarithm is asked, since products of 784 densities underflow.",
        ),
    ),
    right=(_by_transform,),
    probes={
        "the integral over (0, 1)": lambda f: f(_GRID, torch.tensor(0.3), torch.tensor(0.8)).exp().mean(),
        "the log-density at one half, for mu = 0 and sigma = 1": lambda f: f(
            torch.tensor([0.5]), torch.tensor(0.0), torch.tensor(1.0)
        ),
    },
    gradient=True,
)


def log_shell_share(d, eps):
    """log of the share of a d-dimensional ball that lies within eps of its surface (radius 1, 0 < eps < 1)."""
    return math.log(-math.expm1(d * math.log1p(-eps)))


def _naive_shell(d, eps):
    return math.log(max(1 - (1 - eps) ** d, 1e-300))


SHELL = Exercise(
    number="02.7",
    title="All skin and no flesh",
    difficulty=2,
    minutes=10,
    task=r"""
A ball of radius 1 in $d$ dimensions: which share of its volume lies within $\varepsilon$ of the surface? Volumes scale
with the $d$-th power of the radius. Write the *logarithm* of the share, for numbers `d` and `eps`, so that it is right
for $\varepsilon = 10^{-18}$ too, where $1 - \varepsilon$ rounds to 1. How thin a skin holds half of the volume in 784
dimensions?""",
    inputs=lambda g: (int(torch.randint(1, 60, (), generator=g)), 0.02 + 0.5 * torch.rand((), generator=g).item()),
    solution=log_shell_share,
    explanation=r"""
The inner ball has radius $1 - \varepsilon$ and the share $(1 - \varepsilon)^d = e^{d \log(1 - \varepsilon)}$. The skin has
the rest. `log1p` and `expm1` are $\log(1 + a)$ and $e^a - 1$ without the loss of digits for small $a$; for tiny
$\varepsilon$ the share is $d\,\varepsilon$. Half of the volume needs $(1 - \varepsilon)^{784} = \tfrac12$, a skin of
less than a thousandth of the radius.""",
    hints=(
        "What is left when the skin is peeled off is a ball of radius $1 - \\varepsilon$. What is its share?",
        "The share of the skin is $1 - (1 - \\varepsilon)^d$. Write the power as $e^{d \\log(1 - \\varepsilon)}$.",
        "`math.log1p(-eps)` is $\\log(1 - \\varepsilon)$ without rounding, and `-math.expm1(a)` is $1 - e^a$.",
    ),
    wrong=(
        Wrong(
            "the flesh",
            lambda d, eps: d * math.log1p(-eps),
            "This is the share of the inner ball, which is what remains. The skin has the rest, 1 minus that.",
        ),
        Wrong(
            "rounding",
            _naive_shell,
            "Right for moderate eps. For 1e-18, 1 − eps rounds to 1 and the share becomes 0: use log1p and expm1.",
        ),
        Wrong(
            "the first order",
            lambda d, eps: math.log(d * eps),
            "This is d · eps, the share for tiny eps only: for large ones it exceeds 1.",
        ),
        Wrong(
            "the power of eps",
            lambda d, eps: math.log(-math.expm1(d * math.log(eps))),
            "This is 1 − eps^d: the inner ball has the radius 1 − eps, not eps.",
        ),
        Wrong(
            "the share itself",
            lambda d, eps: -math.expm1(d * math.log1p(-eps)),
            "This is the share. Its logarithm is asked.",
        ),
    ),
    right=(
        lambda d, eps: torch.log(-torch.expm1(d * torch.log1p(torch.tensor(-eps, dtype=torch.double)))),
        lambda d, eps: math.log(eps) + math.log(sum(math.exp(i * math.log1p(-eps)) for i in range(d))),
    ),
    probes={
        "a skin of 1e-18 in 784 dimensions": lambda f: f(784, 1e-18),
        "a skin of one half in one dimension": lambda f: f(1, 0.5),
        "a skin of a hundredth in 784 dimensions": lambda f: f(784, 0.01),
    },
)


def both_kl(p, q, dx):
    """(KL(p‖q), KL(q‖p)) in nats, of two densities on a grid with spacing dx: (n,), (n,) -> (), ()."""
    forward = torch.where(p > 0, p * torch.log(p / q), 0.0).sum() * dx
    reverse = torch.where(q > 0, q * torch.log(q / p), 0.0).sum() * dx
    return forward, reverse


def _one_kl_by_loop(p, q, dx):
    total = 0.0
    for a, b in zip(p.tolist(), q.tolist(), strict=True):
        if a > 0:
            total += math.inf if b == 0 else a * math.log(a / b) * dx
    return total


def _two(one):
    """The same function of (p, q, dx) in both directions."""
    return lambda p, q, dx: (one(p, q, dx), one(q, p, dx))


def _kl(p, q, dx):
    return both_kl(p, q, dx)[0]


def _densities(g):
    x = torch.arange(-6, 6, 0.25)
    mu, sigma = torch.randn(2, generator=g), 0.7 + torch.rand(2, generator=g)
    p, q = (torch.exp(-0.5 * ((x - m) / s) ** 2) / (s * math.sqrt(2 * math.pi)) for m, s in zip(mu, sigma, strict=True))
    return p, q, 0.25


SWITCH = Exercise(
    number="02.8",
    title="From covering to seeking",
    difficulty=3,
    minutes=40,
    task=r"""
Write both divergences of (2.9) for densities on a grid with spacing `dx`. Where the first density is 0 the term is 0;
where only the second is 0 the divergence is $\infty$.

Then the open part. "Reverse KL seeks modes" cannot be the whole story: for two modes that touch, one normal over both is
a fine answer. Take $p = \tfrac12 \mathcal N(-a, 0.36) + \tfrac12 \mathcal N(a, 0.36)$ and the function `fit` of this
chapter. For $a$ from 0.3 to 2.5, fit the reverse direction from `mu = 0` and from `mu = a`, and draw the fitted means and
the divergences over $a$. At which separation does a second answer appear, and at which is it the better one? Is the
switch sudden? And does the forward fit notice anything?""",
    inputs=_densities,
    solution=both_kl,
    explanation=r"""
On a grid an integral is a sum times the spacing. `torch.where` picks 0 where the first density is 0, so the 0/0 or
$0 \cdot \infty$ that was computed there is thrown away. Where only the second is 0 the quotient is $\infty$, and so is the
divergence: that is right, and no reason to add a small number.""",
    hints=(
        "An integral on a grid is a sum times the spacing. Which density weighs the logarithm in each direction?",
        "Take `p * torch.log(p / q)`, replace it by 0 where `p` is 0 with `torch.where`, sum, and multiply by `dx`.",
        "`torch.where(p > 0, p * torch.log(p / q), 0.0).sum() * dx` is the first; swap `p` and `q` for the second.",
    ),
    wrong=(
        Wrong(
            "the directions swapped",
            lambda p, q, dx: (_kl(q, p, dx), _kl(p, q, dx)),
            "The two directions are swapped. KL(p‖q) is the average under p, and comes first.",
        ),
        Wrong(
            "the spacing is forgotten",
            _two(lambda p, q, dx: _kl(p, q, 1.0)),
            "The sum is not multiplied by the spacing, so a finer grid would give a larger divergence.",
        ),
        Wrong(
            "the mean over the grid",
            _two(lambda p, q, dx: _kl(p, q, 1.0) / len(p)),
            "This is the mean over the grid. The integral is the sum times dx; the mean also divides by its length.",
        ),
        Wrong(
            "0 log 0 is NaN",
            _two(lambda p, q, dx: (p * torch.log(p / q)).sum() * dx),
            "Right for positive densities. Where the first density is 0, 0 · log 0 gives NaN; the term is 0.",
        ),
        Wrong(
            "infinity is hidden",
            _two(lambda p, q, dx: torch.where((p > 0) & (q > 0), p * torch.log(p / q), 0.0).sum() * dx),
            "Where only the second density is 0, the term is dropped. The divergence is infinite there: do not hide it.",
        ),
        Wrong(
            "a small number in the logarithm",
            _two(lambda p, q, dx: (p * torch.log((p + 1e-8) / (q + 1e-8))).sum() * dx),
            "A small number inside the logarithm makes an infinite divergence finite, and the result depends on it.",
        ),
        Wrong(
            "the absolute value",
            _two(lambda p, q, dx: torch.where(p > 0, p * torch.log(p / q).abs(), 0.0).sum() * dx),
            "The logarithm has lost its sign. Terms may be negative; only their sum cannot be.",
        ),
    ),
    right=(_two(_one_kl_by_loop), _two(lambda p, q, dx: (torch.xlogy(p, p) - torch.xlogy(p, q)).sum() * dx)),
    probes={
        "two densities of which the first ends earlier": lambda f: f(
            torch.tensor([0.0, 2.0, 2.0, 0.0]), torch.tensor([1.0, 1.0, 1.0, 1.0]), 0.25
        ),
        "two densities that are zero in the same place": lambda f: f(
            torch.tensor([0.0, 1.0, 3.0]), torch.tensor([0.0, 2.0, 2.0]), 0.25
        ),
    },
    discussion=r"""
**For the open part.** With the `fit` of this chapter only the covering solution exists up to about $a = 1.45$: both starts
end in the middle. At about $a = 1.5$ a second valley appears on each mode, shallower at first: 0.67 nats against 0.48.
Near $a = 1.67$, when the modes are 5.6 standard deviations apart, their depths cross, since seeking costs about $\log 2$
and covering more and more. So the best fit jumps: the switch is sudden, and a search that follows the middle valley stays
there beyond it. The forward fit notices nothing. Its mean is 0 and its standard deviation $\sqrt{0.36 + a^2}$
throughout.""",
)

EXERCISES = [INTERVAL, W1, TV, JS, MMD, LOGIT_NORMAL, SHELL, SWITCH]
