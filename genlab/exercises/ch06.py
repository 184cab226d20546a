"""Exercises of chapter 06, the VAE loss."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def bits_per_dimension(log_p, D, levels=256):
    """Bits per dimension from log p, a density on [0, 1]^D in nats, for pixels stored in so many levels."""
    return -log_p / (D * math.log(2)) + math.log2(levels)


BITS = Exercise(
    number="06.1",
    title="Bits per dimension",
    difficulty=1,
    minutes=5,
    task=r"""
Write (6.8): bits per dimension from the log density of dequantised pixels, in nats per image, for `D` pixels stored in
`levels` values. A density that is 1 everywhere, $\log p = 0$, knows nothing: it needs all 8 bits of 256 levels.""",
    inputs=lambda g: (1000 * torch.randn((), generator=g).item(), int(torch.randint(50, 900, (), generator=g)), 64),
    solution=bits_per_dimension,
    explanation=r"""
A bin of width $1/256$ under a density of 1 has the probability $1/256$, that is 8 bits. A density above 1 needs fewer. The sign
turns a log-likelihood into a code length, $\log 2$ nats into bits, and $D$ spreads it over the pixels.""",
    hints=(
        "Start with the code length of the image in nats. Which sign has it?",
        "Divide by `D` and by $\\log 2$. What is added for the width of a bin?",
        "`-log_p / (D * math.log(2)) + math.log2(levels)`.",
    ),
    wrong=(
        Wrong(
            "the bins are forgotten",
            lambda log_p, D, levels=256: -log_p / (D * math.log(2)),
            "The width of the bins is missing. A density of 1 would need 0 bits, and more likely pixels fewer than none.",
        ),
        Wrong(
            "the wrong sign",
            lambda log_p, D, levels=256: log_p / (D * math.log(2)) + math.log2(levels),
            "The log density enters with the wrong sign: a more probable image needs fewer bits.",
        ),
        Wrong(
            "nats for bits",
            lambda log_p, D, levels=256: -log_p / D + math.log(levels),
            "These are nats per dimension. Divide by log 2.",
        ),
        Wrong(
            "always 8",
            lambda log_p, D, levels=256: -log_p / (D * math.log(2)) + 8,
            "8 bits belong to 256 levels. Use the number of levels that is given.",
        ),
        Wrong(
            "the bins once an image",
            lambda log_p, D, levels=256: (-log_p / math.log(2) + math.log2(levels)) / D,
            "The bits of a bin are added once for the image and then spread. Every pixel has its own bin.",
        ),
    ),
    right=(lambda log_p, D, levels=256: (D * math.log(levels) - log_p) / D / math.log(2),),
    probes={"a density that knows nothing": lambda f: f(0.0, 784)},
)


def sigma_of_weight(c):
    """The σ for which c · ‖x − x̂‖² + KL is minus an ELBO with β = 1."""
    return math.sqrt(1 / (2 * c))


SIGMA = Exercise(
    number="06.2",
    title="The sigma behind a weight",
    difficulty=1,
    minutes=5,
    task=r"""
A program minimises `c` times the *sum* of squared errors plus the KL, both as they are, per image. Write the $\sigma$ for which
that is minus an ELBO with $\beta = 1$. For $c = \tfrac12$ it is 1.""",
    inputs=lambda g: (0.01 + 20 * torch.rand((), generator=g).item(),),
    solution=sigma_of_weight,
    explanation=r"""
Compare with (6.3): the Gaussian has $\frac{1}{2\sigma^2}$ before the square. So $c = \frac{1}{2\sigma^2}$, and
$\sigma = 1/\sqrt{2c}$. The larger the weight of the error, the smaller the $\sigma$ that it claims.""",
    hints=(
        "Which factor stands before the squared error in the log density of a Gaussian?",
        "Set $c = 1/(2\\sigma^2)$ and solve.",
        "`math.sqrt(1 / (2 * c))`.",
    ),
    wrong=(
        Wrong("the variance", lambda c: 1 / (2 * c), "This is σ², the variance. Its root was asked for."),
        Wrong(
            "without the 2",
            lambda c: math.sqrt(1 / c),
            "The 2 is missing: the Gaussian has 1/(2σ²) before the square, not 1/σ².",
        ),
        Wrong(
            "upside down",
            lambda c: math.sqrt(2 * c),
            "This is the inverse. A large weight on the error means a small σ.",
        ),
    ),
    right=(lambda c: (2 * c) ** -0.5,),
    probes={"the weight one half": lambda f: f(0.5)},
)


def gaussian_nll(x, mean, sigma):
    """−log N(x; mean, σ² I) with all of its constants, per example: (n, …) -> (n,)."""
    square = ((x - mean) ** 2 / sigma**2).flatten(1).sum(1)
    return 0.5 * square + x[0].numel() * (math.log(sigma) + 0.5 * math.log(2 * math.pi))


def _nll_by_distributions(x, mean, sigma):
    return -torch.distributions.Normal(mean, sigma).log_prob(x).flatten(1).sum(1)


def _nll_no_log_sigma(x, mean, sigma):
    return 0.5 * ((x - mean) ** 2 / sigma**2).flatten(1).sum(1) + x[0].numel() * 0.5 * math.log(2 * math.pi)


def _nll_only_square(x, mean, sigma):
    return 0.5 * ((x - mean) ** 2 / sigma**2).flatten(1).sum(1)


def _nll_constant_once(x, mean, sigma):
    return 0.5 * ((x - mean) ** 2 / sigma**2).flatten(1).sum(1) + math.log(sigma) + 0.5 * math.log(2 * math.pi)


NLL = Exercise(
    number="06.3",
    title="A Gaussian with its constants",
    difficulty=2,
    minutes=8,
    task=r"""
Write minus the log density (6.3) with *all* of its constants, one value per image, for a number `sigma`. Without the constants
the loss trains as well, but numbers for different $\sigma$ cannot be compared, and a learned $\sigma$ would run away.""",
    inputs=lambda g: (
        torch.rand(4, 1, 3, 2, generator=g),
        torch.rand(4, 1, 3, 2, generator=g),
        0.2 + torch.rand((), generator=g).item(),
    ),
    solution=gaussian_nll,
    explanation=r"""
Every pixel has its own $\log\sigma + \tfrac12\log 2\pi$, so the constants come $D$ times. Without $\log\sigma$ the loss falls
without end as $\sigma$ grows: nothing would charge for being vague.""",
    hints=(
        "There are three terms. Two of them do not depend on the error; how often does each occur?",
        "The number of pixels of an image is `x[0].numel()`.",
        "Half of the sum of squares over $\\sigma^2$, plus `x[0].numel() * (math.log(sigma) + 0.5 * math.log(2 * math.pi))`.",
    ),
    wrong=(
        Wrong(
            "without log sigma",
            _nll_no_log_sigma,
            "The term log σ is missing: then a larger σ always looks better.",
        ),
        Wrong("only the square", _nll_only_square, "Both constants are missing: D log σ and D/2 log 2π."),
        Wrong(
            "the constants once",
            _nll_constant_once,
            "The constants stand here once. Every pixel has them.",
        ),
        Wrong(
            "the wrong sign",
            lambda x, mean, sigma: -gaussian_nll(x, mean, sigma),
            "This is the log density. Minus it was asked for.",
        ),
        Wrong(
            "the mean over pixels",
            lambda x, mean, sigma: gaussian_nll(x, mean, sigma) / x[0].numel(),
            "This is per pixel. The ELBO is per image: sum.",
        ),
    ),
    right=(_nll_by_distributions,),
    gradient=True,
)


def calibrated_nll(x, mean):
    """Mean −log N(x; mean, σ² I) over images, at the σ² that makes it smallest for the batch: 0-d."""
    mse = ((x - mean) ** 2).mean()
    return 0.5 * x[0].numel() * (torch.log(2 * math.pi * mse) + 1)


def _calibrated_two_steps(x, mean):
    sigma2 = (x - mean).square().mean()
    square = (x - mean).square().flatten(1).sum(1).mean() / sigma2
    return 0.5 * (square + x[0].numel() * torch.log(2 * math.pi * sigma2))


def _calibrated_detached(x, mean):
    sigma2 = ((x - mean) ** 2).mean()
    return 0.5 * x[0].numel() * (torch.log(2 * math.pi * sigma2.detach()) + ((x - mean) ** 2).mean() / sigma2.detach())


def _calibrated_no_one(x, mean):
    return 0.5 * x[0].numel() * torch.log(2 * math.pi * ((x - mean) ** 2).mean())


def _calibrated_not_half(x, mean):
    return x[0].numel() * (torch.log(2 * math.pi * ((x - mean) ** 2).mean()) + 1)


def _calibrated_per_image(x, mean):
    mse = ((x - mean) ** 2).flatten(1).mean(1)
    return (0.5 * x[0].numel() * (torch.log(2 * math.pi * mse) + 1)).mean()


def _calibrated_mse(x, mean):
    return ((x - mean) ** 2).flatten(1).sum(1).mean()


CALIBRATED = Exercise(
    number="06.4",
    title="A sigma that nobody has to choose",
    difficulty=2,
    minutes=12,
    task=r"""
Put (6.5) into (6.3): the mean negative log-likelihood of a batch at its own best $\sigma^2$, one for all images and pixels.
What is left is $\tfrac D2 [\log(2\pi\,\text{MSE}) + 1]$. It needs no weight. Its gradient is that of the Gaussian with
$\sigma^2 = \text{MSE}$; think why it makes no difference whether $\sigma$ is differentiated as well.""",
    inputs=lambda g: (torch.rand(4, 1, 3, 2, generator=g), torch.rand(4, 1, 3, 2, generator=g)),
    solution=calibrated_nll,
    explanation=r"""
At the best $\sigma$ the sum of squares divided by $\sigma^2$ is exactly $D$ per image, which gives the $+1$. Since $\sigma$ sits at
its minimum, the derivative of the loss by $\sigma$ is zero there, so differentiating through it adds nothing: the **envelope
theorem**. As the error falls, its weight $1/(2\sigma^2)$ grows by itself.""",
    hints=(
        "What becomes of $\\lVert x - \\hat x\\rVert^2/\\sigma^2$, on average, if $\\sigma^2$ is the mean squared error?",
        "It becomes $D$ per image. So the loss is $\\tfrac12 D + \\tfrac D2 \\log(2\\pi\\,\\text{MSE})$.",
        "`0.5 * x[0].numel() * (torch.log(2 * math.pi * mse) + 1)` with one `mse` for the whole batch.",
    ),
    wrong=(
        Wrong(
            "without the 1",
            _calibrated_no_one,
            "The + 1 is missing: half of D per image, from the squares divided by their own mean.",
        ),
        Wrong("without the half", _calibrated_not_half, "The factor of one half is missing."),
        Wrong(
            "a sigma per image",
            _calibrated_per_image,
            "Every image has a σ of its own here. One σ for the batch was asked for.",
        ),
        Wrong("the squared error", _calibrated_mse, "This is the plain sum of squares: it assumes σ² = ½."),
    ),
    right=(_calibrated_two_steps, _calibrated_detached),
    gradient=True,
)


def log_normaliser(logits):
    """log C(λ) of (6.6) for λ = σ(logits), finite and smooth for all logits: same shape."""
    small = logits.abs() < 0.05
    a = torch.where(small, torch.ones_like(logits), logits)
    exact = torch.log(a / torch.tanh(a / 2))
    return torch.where(small, math.log(2) + logits**2 / 12, exact)


def _logC_by_lambda(logits):
    lam = torch.sigmoid(logits)
    return torch.log(2 * torch.atanh(1 - 2 * lam) / (1 - 2 * lam))


def _logC_no_series(logits):
    return torch.log(logits / torch.tanh(logits / 2))


def _logC_double(logits):
    a = logits.double()
    a = torch.where(a.abs() < 1e-5, torch.full_like(a, 1e-5) + 0 * a, a)
    return torch.log(a / torch.tanh(a / 2)).to(logits.dtype)


NORMALISER = Exercise(
    number="06.5",
    title="The factor that makes it a density",
    difficulty=3,
    minutes=20,
    task=r"""
Write $\log C(\lambda)$ of (6.6) from logits, with $\lambda = \sigma(a)$. First show that $C = a / \tanh(a/2)$. At $a = 0$ that is
0/0; the limit of $\log C$ is $\log 2$, and its series begins $\log 2 + a^2/12$. At $a = \pm 100$ it must be finite, since
$\log C$ then is about $\log |a|$. It is symmetric in $a$.""",
    inputs=lambda g: (3 * torch.randn(4, 3, generator=g),),
    solution=log_normaliser,
    explanation=r"""
$1 - 2\sigma(a) = -\tanh(a/2)$ and $2\operatorname{artanh}(-\tanh(a/2)) = -a$, so $C = a/\tanh(a/2)$. In logits nothing rounds to
0 or 1. Near 0 the quotient loses digits, and the series takes over. `torch.where` computes both branches, and the gradient of
the branch that is not taken would be NaN; so its argument is made harmless first.""",
    hints=(
        "Express $1 - 2\\lambda$ by a tanh. What is the artanh of it?",
        "$C = a/\\tanh(a/2)$. For $|a|$ below 0.05, say, use $\\log 2 + a^2/12$ instead.",
        "Put 1 in place of small `a` before dividing, and choose between both results by `torch.where`.",
    ),
    wrong=(
        Wrong(
            "by way of the sigmoid",
            _logC_by_lambda,
            "Right for moderate logits, but at ±100 the sigmoid rounds to 0 or 1, and at 0 this is 0/0. Stay with logits.",
        ),
        Wrong(
            "without the series",
            _logC_no_series,
            "At a = 0 this is 0/0. Use the series log 2 + a²/12 near zero.",
        ),
        Wrong(
            "a for its half",
            lambda logits: torch.log(logits / torch.tanh(logits)),
            "The tanh is of a/2, not of a. The limit at 0 would be log 1.",
        ),
        Wrong(
            "minus it",
            lambda logits: -log_normaliser(logits),
            "The sign is wrong: C is at least 2, so log C is at least log 2.",
        ),
        Wrong("C itself", lambda logits: log_normaliser(logits).exp(), "This is C. Its logarithm was asked for."),
    ),
    right=(_logC_double,),
    probes={
        "logits of 0 and near it": lambda f: f(torch.tensor([0.0, 1e-4, -1e-3, 0.02])),
        "logits of ±100": lambda f: f(torch.tensor([100.0, -100.0])),
        "the slope at logits 0, 1 and 100": lambda f: _slope(f, torch.tensor([0.0, 1.0, 100.0])),
    },
    gradient=True,
)


def _slope(f, a):
    a = a.requires_grad_(True)
    return torch.autograd.grad(f(a).sum(), a)[0]


def log_bin(x, mean, log_scale, levels=256):
    """log P of integers x in 0 … levels − 1 under a logistic on [0, 1], tails in the end bins: same shape."""
    half = 0.5 / (levels - 1)
    v = x / (levels - 1)
    upper = torch.sigmoid((v + half - mean) / torch.exp(log_scale))
    lower = torch.sigmoid((v - half - mean) / torch.exp(log_scale))
    upper = torch.where(x == levels - 1, torch.ones_like(upper), upper)
    lower = torch.where(x == 0, torch.zeros_like(lower), lower)
    return torch.log((upper - lower).clamp(min=1e-12))


def _bin_no_tails(x, mean, log_scale, levels=256):
    half, v = 0.5 / (levels - 1), x / (levels - 1)
    upper, lower = (torch.sigmoid((v + s * half - mean) / log_scale.exp()) for s in (1, -1))
    return (upper - lower).clamp(min=1e-12).log()


def _bin_scale(x, mean, log_scale, levels=256):
    return log_bin(x, mean, 2 * log_scale, levels)


def _bin_density(x, mean, log_scale, levels=256):
    a = (x / (levels - 1) - mean) / log_scale.exp()
    return F.logsigmoid(a) + F.logsigmoid(-a) - log_scale


def _bin_by_differences(x, mean, log_scale, levels=256):
    edges = (torch.arange(levels - 1) + 0.5) / (levels - 1)
    inside = torch.sigmoid((edges - mean[..., None]) / log_scale.exp()[..., None])
    zero, one = torch.zeros_like(inside[..., :1]), torch.ones_like(inside[..., :1])
    masses = torch.diff(torch.cat([zero, inside, one], -1))
    return masses.gather(-1, x.long()[..., None]).squeeze(-1).clamp(min=1e-12).log()


def _bin_wide(x, mean, log_scale, levels=256):
    half, v = 1.0 / (levels - 1), x / (levels - 1)
    upper, lower = (torch.sigmoid((v + s * half - mean) / log_scale.exp()) for s in (1, -1))
    upper = torch.where(x == levels - 1, torch.ones_like(upper), upper)
    lower = torch.where(x == 0, torch.zeros_like(lower), lower)
    return (upper - lower).clamp(min=1e-12).log()


def _all_bins(f):
    x = torch.arange(16.0)
    return f(x, torch.full_like(x, 0.1), torch.full_like(x, -1.5), 16).exp().sum()


LOGISTIC = Exercise(
    number="06.6",
    title="A probability for every integer",
    difficulty=2,
    minutes=15,
    task=r"""
The logistic distribution has the distribution function $F(v) = \sigma((v - m)/s)$. Give the integer $x \in \{0, …, L-1\}$, as
the grey value $v = x/(L-1)$, the mass between $v - \tfrac12\delta$ and $v + \tfrac12\delta$ with $\delta = 1/(L-1)$. The first
bin takes all of the mass below, the last all above, so that the $L$ probabilities sum to one. Return logarithms, entry by entry;
masses below $10^{-12}$ may be clamped.""",
    inputs=lambda g: (
        torch.tensor([[0.0, 3.0], [7.0, 15.0], [8.0, 0.0]]),
        torch.rand(3, 2, generator=g),
        -1 - torch.rand(3, 2, generator=g),
        16,
    ),
    solution=log_bin,
    explanation=r"""
Neighbouring bins share their edge, so the differences of $F$ telescope, and with the two tails the sum is $1 - 0$. The package's
version computes the logarithm of the difference without forming it, so that bins far out in a tail keep their digits.""",
    hints=(
        "Two values of the distribution function, and their difference.",
        "The edges are half a step of $1/(L-1)$ away. Which edge has the first bin, and which the last?",
        "Put 1 for the upper value where `x == levels - 1` and 0 for the lower where `x == 0`, then subtract and take the log.",
    ),
    wrong=(
        Wrong(
            "without the tails",
            _bin_no_tails,
            "The mass below 0 and above 1 is lost: the probabilities do not sum to one. The end bins take the tails.",
        ),
        Wrong(
            "the scale squared",
            _bin_scale,
            "The scale is squared: log_scale is the logarithm of s, not of half of it.",
        ),
        Wrong(
            "the density",
            _bin_density,
            "This is the log density at the middle of the bin. A probability of the whole bin was asked for.",
        ),
        Wrong("bins twice as wide", _bin_wide, "The bins are twice as wide as they should be, and they overlap."),
    ),
    right=(_bin_by_differences,),
    probes={"the sum over all 16 integers": _all_bins},
    tolerance=1e-3,
)


def beta_of_mean_squares(weight, pixels, sigma):
    """Effective β of: squared error averaged over pixels, plus weight times the summed KL, read with σ."""
    return weight * pixels / (2 * sigma**2)


AUDIT = Exercise(
    number="06.7",
    title="Audit a repository",
    difficulty=3,
    minutes=45,
    task=r"""
A program averages the squared error over `pixels` pixels and adds `weight` times the KL, summed over latent dimensions. Write its
effective $\beta$, read with a Gaussian of standard deviation `sigma`. Then audit: take a repository of your choice, write its loss
as a function of `(x, out, mu, logvar)`, and pass it to `vae.effective_beta`. Say for which likelihood it is an ELBO, and with
which $\beta$. If it is one for none, say what would mend it.""",
    inputs=lambda g: (
        0.001 + torch.rand((), generator=g).item(),
        int(torch.randint(100, 5000, (), generator=g)),
        0.1 + torch.rand((), generator=g).item(),
    ),
    solution=beta_of_mean_squares,
    explanation=r"""
In nats, $R = \frac{1}{2\sigma^2}\lVert x-\hat x\rVert^2$ up to a constant. The program has $\frac1D\lVert x-\hat x\rVert^2
= \frac{2\sigma^2}{D} R$, so $a = 2\sigma^2/D$, $b$ is the weight, and $\beta = b/a = wD/(2\sigma^2)$.""",
    hints=(
        "Write the averaged squared error as a multiple of $R = \\lVert x-\\hat x\\rVert^2/(2\\sigma^2)$.",
        "It is $a R$ with $a = 2\\sigma^2/D$. The KL has the factor $b$ = `weight`.",
        "$\\beta = b/a$: `weight * pixels / (2 * sigma**2)`.",
    ),
    wrong=(
        Wrong(
            "the pixels are forgotten",
            lambda weight, pixels, sigma: weight / (2 * sigma**2),
            "The mean over pixels is forgotten: it divides the error by the number of pixels.",
        ),
        Wrong(
            "the sigma is forgotten",
            lambda weight, pixels, sigma: weight * pixels,
            "The Gaussian's 1/(2σ²) is forgotten: the squared error is not yet in nats.",
        ),
        Wrong(
            "without the 2",
            lambda weight, pixels, sigma: weight * pixels / sigma**2,
            "The 2 is missing: a Gaussian has 1/(2σ²) before the square.",
        ),
        Wrong(
            "upside down",
            lambda weight, pixels, sigma: 2 * sigma**2 / (weight * pixels),
            "This is the inverse, a/b.",
        ),
        Wrong(
            "sigma on the wrong side",
            lambda weight, pixels, sigma: weight * pixels * 2 * sigma**2,
            "σ² stands on the wrong side: the smaller σ, the more an error costs in nats, and the larger this β.",
        ),
    ),
    right=(lambda weight, pixels, sigma: weight / (2 * sigma**2 / pixels),),
    probes={"784 pixels, weight 1, σ² = ½": lambda f: f(1.0, 784, 0.5**0.5)},
    discussion=r"""
**For the open part.** A good audit quotes no code and has four lines: the range of the pixels, the likelihood, the two
reductions, and $\beta$ as measured. Watch for three things. A sigmoid or tanh at the end of the decoder changes the output that
the loss sees, so pass that output. A weight that depends on the batch size hides in "sum over the batch". And `logvar` may be
$\log\sigma$: then the KL term is not parallel to the KL, and the function says so.""",
)

EXERCISES = [BITS, SIGMA, NLL, CALIBRATED, NORMALISER, LOGISTIC, AUDIT]
