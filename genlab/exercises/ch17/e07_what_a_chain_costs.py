"""Exercise 17.7: What a chain of normal steps costs."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from genlab.exercises import Exercise, Wrong


def chain_gap(beta, c, m, s):
    """Entropy bound less the best ELBO of a chain back to N(m, diag s²), in nats.

    Variances beta forth and c back (T,), mean and deviation (d,) -> a number.
    """
    mean, var, gap = m, s**2, 0.0
    for b, back in zip(beta, c, strict=True):
        after = (1 - b) * var + b
        ratio = b * var / after / back  # of variances: exact over model
        gap = gap + 0.5 * (ratio - 1 - ratio.log()).sum()
        mean, var = (1 - b).sqrt() * mean, after
    return gap + 0.5 * (mean**2 + var - 1 - var.log()).sum()


def _joints(beta, c, m, s):
    """The laws of (x_0, …, x_T) of the chain forth and of the chain back, for one coordinate."""
    steps = len(beta)
    mean, forth = torch.zeros(steps + 1).double(), torch.zeros(steps + 1, steps + 1).double()
    mean[0], forth[0, 0] = m, s**2
    for i, b in enumerate(beta, 1):
        mean[i] = (1 - b).sqrt() * mean[i - 1]
        forth[i, :i] = forth[:i, i] = (1 - b).sqrt() * forth[i - 1, :i]
        forth[i, i] = (1 - b) * forth[i - 1, i - 1] + b
    at, back = torch.zeros(steps + 1).double(), torch.zeros(steps + 1, steps + 1).double()
    back[-1, -1] = 1
    for i in range(steps - 1, -1, -1):
        k = forth[i, i + 1] / forth[i + 1, i + 1]
        at[i] = mean[i] + k * (at[i + 1] - mean[i + 1])
        back[i, i + 1 :] = back[i + 1 :, i] = k * back[i + 1, i + 1 :]
        back[i, i] = k**2 * back[i + 1, i + 1] + c[i]
    return MultivariateNormal(mean, forth), MultivariateNormal(at, back)


def _by_joint_laws(beta, c, m, s):
    return sum(kl_divergence(*_joints(beta, c, *row)) for row in zip(m, s, strict=True))


def _by_torch(beta, c, m, s):
    alpha2 = torch.cat([torch.ones(1).to(beta), torch.cumprod(1 - beta, 0)])[:, None]
    var = alpha2 * s**2 + 1 - alpha2
    exact = beta[:, None] * var[:-1] / var[1:]
    steps = kl_divergence(Normal(0.0 * exact, exact.sqrt()), Normal(0.0, c.sqrt()[:, None])).sum()
    ends = kl_divergence(Normal(alpha2[-1].sqrt() * m, var[-1].sqrt()), Normal(0.0, 1.0)).sum()
    return steps + ends


def _by_loops(beta, c, m, s):
    total = 0.0
    for mean, std in zip(m.tolist(), s.tolist(), strict=True):
        precision = std**-2
        for b, back in zip(beta.tolist(), c.tolist(), strict=True):
            exact = 1 / (precision + (1 - b) / b)  # a normal law and one observation: precisions add
            total += 0.5 * (exact / back - 1 + np.log(back / exact))
            precision = 1 / ((1 - b) / precision + b)
        mean *= np.prod(np.sqrt(1 - beta.numpy()))
        total += 0.5 * (mean**2 + 1 / precision - 1 + np.log(precision))
    return total


def _by_the_elbo(beta, c, m, s):
    """Entropies and cross entropies, as E log q − E log p."""
    var, cross, entropy = s.numpy() ** 2, 0.0, 0.0
    entropy += -0.5 * np.sum(np.log(2 * np.pi * np.e * var))  # of x_0
    shrink = 1.0
    for b, back in zip(beta.numpy(), c.numpy(), strict=True):
        after = (1 - b) * var + b
        entropy += -0.5 * len(var) * np.log(2 * np.pi * np.e * b)  # of the step forth
        cross += -0.5 * np.sum(np.log(2 * np.pi * back) + b * var / after / back)
        var, shrink = after, shrink * (1 - b)
    cross += -0.5 * np.sum(np.log(2 * np.pi) + var + shrink * m.numpy() ** 2)
    return entropy - cross


def _other(step=lambda ratio: 0.5 * (ratio - 1 - ratio.log()), end=None, exact=lambda b, var, after: b * var / after):
    """Another cost of a step back, another end, or another variance of the exact step."""

    def answer(beta, c, m, s):
        mean, var, gap = m, s**2, 0.0
        for b, back in zip(beta, c, strict=True):
            after = (1 - b) * var + b
            gap = gap + step(exact(b, var, after) / back).sum()
            mean, var = (1 - b).sqrt() * mean, after
        return gap + (0.5 * (mean**2 + var - 1 - var.log()) if end is None else end(mean, var)).sum()

    return answer


def _given_the_data(beta, c, m, s):
    """The variance of x_(t-1) given x_t and x_0."""
    alpha2 = torch.cumprod(1 - beta, 0)
    before = torch.cat([torch.ones(1).to(beta), alpha2[:-1]])
    ratio = ((1 - before) / (1 - alpha2) * beta / c)[1:]  # 0 in the first step, which is left out
    first = beta[:1] * s**2 / ((1 - beta[0]) * s**2 + beta[0]) / c[0]
    steps = 0.5 * len(s) * (ratio - 1 - ratio.log()).sum() + 0.5 * (first - 1 - first.log()).sum()
    var, mean = alpha2[-1] * s**2 + 1 - alpha2[-1], alpha2[-1].sqrt() * m
    return steps + 0.5 * (mean**2 + var - 1 - var.log()).sum()


def _without_the_first(beta, c, m, s):
    first = beta[0] * s**2 / ((1 - beta[0]) * s**2 + beta[0]) / c[0]
    return chain_gap(beta, c, m, s) - 0.5 * (first - 1 - first.log()).sum()


def _chain(g):
    steps, d = (int(torch.randint(1, high, (), generator=g)) for high in (7, 4))
    beta, c = (0.05 + 0.6 * torch.rand(steps, generator=g).double() for _ in range(2))
    m, s = torch.randn(d, generator=g).double(), 0.3 + 1.5 * torch.rand(d, generator=g).double()
    m[0] += 3
    return beta, c, m, s


def _linear(steps):
    return torch.linspace(0.1 / steps, 20 / steps, steps).double().clamp(max=0.999)


def _tilde(beta):
    """The variance given the data as well; in the first step beta itself."""
    alpha2 = torch.cumprod(1 - beta, 0)
    before = torch.cat([torch.ones(1).double(), alpha2[:-1]])
    return torch.cat([beta[:1], (beta * (1 - before) / (1 - alpha2))[1:]])


ZERO, HALF, ONE = (torch.tensor([value]).double() for value in (0.0, 0.5, 1.0))

EXERCISE = Exercise(
    number="17.7",
    title="What a chain of normal steps costs",
    difficulty=3,
    minutes=20,
    task=r"""
The data are $\mathcal N(m, \operatorname{diag} s^2)$ in $d$ dimensions. The chain forth is
$x_t = \sqrt{1-\beta_t}\,x_{t-1} + \sqrt{\beta_t}\,\varepsilon_t$, $t = 1, \dots, T$. The model starts from
$\mathcal N(0, I)$ and steps back with $p(x_{t-1} \mid x_t) = \mathcal N(\text{best mean}, c_t I)$, where the best
mean is that of the exact $q(x_{t-1} \mid x_t)$. By how many nats does the expected ELBO stay below $-H$, minus the
entropy of the data? This gap is the KL from the chain forth to the chain back,

$$ \operatorname{KL}\big(q(x_T)\,\|\,\mathcal N(0, I)\big) + \sum_{t=1}^T \mathbb E \operatorname{KL}\big(q(x_{t-1}
\mid x_t)\,\|\,p(x_{t-1} \mid x_t)\big) . $$

Return one number, the sum over all coordinates; `beta[0]` and `c[0]` belong to $t = 1$. Each coordinate has
variance $V_t$ after $t$ steps, $V_0 = s^2$; the exact step back has variance $\beta_t V_{t-1}/V_t$. If all $c_t$
are those and $q(x_T)$ is $\mathcal N(0, I)$, the gap is 0.""",
    inputs=_chain,
    solution=chain_gap,
    explanation=r"""
Both chains are Markov chains, so the KL between them falls into one term for $x_T$ and one for each step back. The means
agree, so a step costs $\tfrac12 (r - 1 - \log r)$ with $r$ the exact variance over the model's, whatever $x_t$ is. For
$\mathcal N(0, I)$ data $V_t = 1$ and $c = \beta$ is exact. For other data neither $\beta$ nor $\tilde\beta$, the
variance *given $x_0$ as well*, is exact: with $s = 0.5$ and ten linear steps they cost 0.12 and 5.4 nats. With
1,000 steps 0.001 and 0.46 remain.""",
    hints=(
        "Two normal laws with the same mean: what is the KL between them, in terms of the ratio of their variances?",
        "Walk along t and keep V and the mean. A step's ratio is β V_before / V_after / c; it costs ½ (r − 1 − log r).",
        "At the end add KL(N(mean, V) ‖ N(0, 1)): `0.5 * (mean**2 + var - 1 - var.log()).sum()`.",
    ),
    wrong=(
        Wrong(
            "the end forgotten",
            "The law of x_T is taken for N(0, I). Its KL, which is left over when the chain is short, is missing.",
            _other(end=lambda mean, var: 0 * var),
        ),
        Wrong(
            "the end without its mean",
            "In the last term the mean of x_T is missing: α_T m, whose square counts.",
            _other(end=lambda mean, var: 0.5 * (var - 1 - var.log())),
        ),
        Wrong(
            "the last KL the other way round",
            "The last term is KL(N(0, I) ‖ q(x_T)). Expectations are over the chain forth: q comes first.",
            _other(end=lambda mean, var: 0.5 * ((1 + mean**2) / var - 1 + var.log())),
        ),
        Wrong(
            "steps the other way round",
            "The KL of a step is turned round. The exact step comes first, so the ratio is exact over model.",
            _other(lambda ratio: 0.5 * (1 / ratio - 1 + ratio.log())),
        ),
        Wrong(
            "the one half of a step",
            "The factor of one half is missing in the steps.",
            _other(lambda ratio: ratio - 1 - ratio.log()),
        ),
        Wrong(
            "a step without its normaliser",
            "A step costs ½ (r − 1) here, which is negative for a wide model. The logarithm of the ratio is missing.",
            _other(lambda ratio: 0.5 * (ratio - 1)),
        ),
        Wrong(
            "ratios of standard deviations",
            "The roots of the variances are compared. The KL has the ratio of variances.",
            _other(lambda ratio: 0.5 * (ratio.sqrt() - 1 - ratio.sqrt().log())),
        ),
        Wrong(
            "given the data as well",
            "From the second step on the exact variance is β̃, that of x_(t−1) given x_t and x_0. The model does not see x_0.",
            _given_the_data,
        ),
        Wrong(
            "the step forth for the step back",
            "β is taken for the variance of the exact step back. That holds for data with variance 1 alone.",
            _other(exact=lambda b, var, after: b * torch.ones_like(var)),
        ),
        Wrong(
            "before and after exchanged",
            "V before and V after the step are exchanged: the exact variance is β V_(t−1)/V_t.",
            _other(exact=lambda b, var, after: b * after / var),
        ),
        Wrong(
            "s as a variance",
            "s stands where the variance belongs. It is a standard deviation: V_0 = s².",
            lambda beta, c, m, s: chain_gap(beta, c, m, s.sqrt()),
        ),
        Wrong(
            "without the first step",
            "The step from x_1 to x_0 is missing. The ELBO has it too, as its reconstruction term.",
            _without_the_first,
        ),
        Wrong(
            "the mean over coordinates",
            "This is a mean over coordinates. Asked is the sum.",
            lambda beta, c, m, s: chain_gap(beta, c, m, s) / len(m),
        ),
        Wrong(
            "the mean over steps",
            "This is divided by the number of steps. The gap is the sum of all terms.",
            lambda beta, c, m, s: chain_gap(beta, c, m, s) / len(beta),
        ),
    ),
    right=(_by_joint_laws, _by_torch, _by_loops, _by_the_elbo),
    probes={
        "ten linear steps with c = beta, for s = 0.5": lambda f: f(_linear(10), _linear(10), ZERO, HALF),
        "a hundred linear steps with c = beta, for s = 0.5": lambda f: f(_linear(100), _linear(100), ZERO, HALF),
        "a hundred linear steps with the variance given the data": lambda f: f(
            _linear(100), _tilde(_linear(100)), ZERO, HALF
        ),
        "data that are N(0, 1), c = beta": lambda f: f(_linear(100), _linear(100), ZERO, ONE),
        "a single step that changes nearly nothing, and is exact": lambda f: f(
            ONE * 2**-20, ONE * 2**-20, 3 * ONE, ONE
        ),
        "a model with steps far too wide": lambda f: f(_linear(20) / 20, 50 * _linear(20), ZERO, HALF),
        "a model with steps far too narrow": lambda f: f(_linear(20) / 20, _linear(20) / 1000, ZERO, HALF),
        "two equal coordinates": lambda f: f(HALF, HALF, torch.ones(2).double(), 2 * torch.ones(2).double()),
    },
    discussion=r"""
**For your own work.** Real data lie near a surface. Across it their variance is tiny, and there $\tilde\beta$ is nearly
exact; where the variance is near 1, $\beta$ is. One number for all coordinates cannot be both, which is why later work
learns the variance of each (Nichol and Dhariwal 2021). A finer chain does not take the cost of $\tilde\beta$ away: at
$t = 2$ it is $\beta_1/(\beta_1 + \beta_2)$ of $\beta_2$, nearly, however small both are. With a
hundred thousand linear steps 0.29 nats are still left of it, in the few steps next to the data.""",
)
