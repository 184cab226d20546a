"""Exercise 17.9: What a score does not see (open-ended)."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math
from itertools import pairwise

import numpy as np
import torch
from scipy import integrate, special

from genlab.exercises import Exercise, Wrong


def seen(w, v, m, s, alpha, sigma):
    """log E (difference of scores)² and KL(p ‖ q) of two mixtures, noised.

    Weights of the heap at m in p and in q, heaps at m and -m, s, level -> two numbers.
    """
    mode, std = alpha * m, math.hypot(alpha * s, sigma)
    x = torch.linspace(-mode - 12 * std, mode + 12 * std, 20001, dtype=torch.double)
    logs, scores = [], []
    for weight in (w, v):
        up = math.log(weight) - ((x - mode) / std) ** 2 / 2
        down = math.log(1 - weight) - ((x + mode) / std) ** 2 / 2
        logs.append(torch.logaddexp(up, down))
        scores.append((mode * torch.tanh((up - down) / 2) - x) / std**2)
    p = torch.softmax(logs[0], 0)  # times the grid's step
    fisher = (p * (scores[0] - scores[1]) ** 2).sum()
    return fisher.log(), (p * (logs[0] - logs[1])).sum()


def _by_integrals(w, v, m, s, alpha, sigma):
    mode, std = alpha * m, np.sqrt(alpha**2 * s**2 + sigma**2)

    def log_density(x, weight):
        logs = [-(((x - place) / std) ** 2) / 2 for place in (mode, -mode)]
        return special.logsumexp(logs, axis=0, b=[[weight], [1 - weight]]) - np.log(std * np.sqrt(2 * np.pi))

    def score(x, weight):
        share = special.expit(2 * mode * x / std**2 + special.logit(weight))  # came from the heap at +m
        return share * (mode - x) / std**2 + (1 - share) * (-mode - x) / std**2

    def over(f):
        ends = [-mode - 12 * std, -mode, 0.0, mode, mode + 12 * std]
        return sum(
            integrate.fixed_quad(lambda x: np.exp(log_density(x, w)) * f(x), *piece, n=200)[0]
            for piece in pairwise(ends)
        )

    fisher = over(lambda x: (score(x, w) - score(x, v)) ** 2)
    return np.log(fisher), over(lambda x: log_density(x, w) - log_density(x, v))


def _by_autograd(w, v, m, s, alpha, sigma):
    mode, std = alpha * m, (alpha**2 * s**2 + sigma**2) ** 0.5
    x = torch.arange(-mode - 10 * std, mode + 10 * std, std / 500, dtype=torch.double).requires_grad_()
    heaps = torch.distributions.Normal(torch.tensor([mode, -mode]).double(), torch.tensor(std).double())
    logs = []
    for weight in (w, v):
        parts = heaps.log_prob(x[:, None]) + torch.tensor([weight, 1 - weight]).double().log()
        logs.append(parts.logsumexp(1))
    (difference,) = torch.autograd.grad((logs[0] - logs[1]).sum(), x)
    p = logs[0].detach().exp() * std / 500
    return torch.log(p @ difference**2), p @ (logs[0] - logs[1]).detach()


def _by_loops(w, v, m, s, alpha, sigma):
    mode, std = alpha * m, math.sqrt(alpha**2 * s**2 + sigma**2)
    step, total, fisher, kl = std / 200, 0.0, 0.0, 0.0
    for i in range(round((2 * mode + 20 * std) / step)):
        x = -mode - 10 * std + i * step
        odds = math.exp(2 * mode * x / std**2)  # of the two heaps, for equal weights
        p = math.exp(-(((x + mode) / std) ** 2) / 2) * (w * odds + 1 - w)
        total += p
        kl += p * math.log((w * odds + 1 - w) / (v * odds + 1 - v))
        fisher += p * (w * odds / (w * odds + 1 - w) - v * odds / (v * odds + 1 - v)) ** 2
    return math.log(fisher / total) + 2 * math.log(2 * mode / std**2), kl / total


def _other(at=lambda m, s, alpha, sigma: (alpha * m, math.hypot(alpha * s, sigma))):
    """Other heaps."""

    def answer(w, v, m, s, alpha, sigma):
        mode, std = at(m, s, alpha, sigma)
        return seen(w, v, mode, std, 1.0, 0.0)

    return answer


def _pair(fisher=lambda f: f, kl=lambda k: k):
    """Another form of the two numbers."""

    def answer(*arguments):
        found = seen(*arguments)
        return fisher(found[0]), kl(found[1])

    return answer


def _turned(first, second):
    """One or both of the expectations under q."""

    def answer(w, v, *rest):
        right, turned = seen(w, v, *rest), seen(v, w, *rest)
        return (turned if first else right)[0], (turned if second else right)[1]

    return answer


def _unweighted(w, v, m, s, alpha, sigma):
    mode, std = alpha * m, math.hypot(alpha * s, sigma)
    x = torch.linspace(-mode - 12 * std, mode + 12 * std, 20001, dtype=torch.double)
    logit = 2 * mode * x / std**2
    shares = [torch.sigmoid(logit + math.log(weight / (1 - weight))) for weight in (w, v)]
    fisher = ((2 * mode / std**2 * (shares[0] - shares[1])) ** 2).sum() * (x[1] - x[0])
    return fisher.log(), seen(w, v, m, s, alpha, sigma)[1]


def _heaps_apart(w, v, *rest):
    return seen(w, v, *rest)[0], w * math.log(w / v) + (1 - w) * math.log((1 - w) / (1 - v))


def _level(g):
    w, v = (0.1 + 0.3 * torch.rand(2, generator=g)).tolist()
    (s, alpha, sigma), m = (0.4 + torch.rand(3, generator=g)).tolist(), 0.5 + 2 * float(torch.rand((), generator=g))
    return (w, 1 - v, m, s, alpha, sigma) if torch.rand((), generator=g) < 0.5 else (1 - v, w, m, s, alpha, sigma)


EXERCISE = Exercise(
    number="17.9",
    title="What a score does not see (open-ended)",
    difficulty=3,
    minutes=45,
    task=r"""
The data are two heaps, $p = w\,\mathcal N(m, s^2) + (1-w)\,\mathcal N(-m, s^2)$, and a model $q$ has the weight $v \ne w$ in
the place of $w$: all else is right. Both are noised to the level $(\alpha, \sigma)$. Return two numbers: the
*logarithm* of $\mathbb E_{p_t} \big(\nabla\log p_t(x_t) - \nabla\log q_t(x_t)\big)^2$, without a factor of one half, and
$\operatorname{KL}(p_t \,\|\, q_t)$ in nats. Use quadrature, in float64, good to four digits for heaps up to 16 standard
deviations apart; no density may underflow to a logarithm of $-\infty$. $0 < w, v < 1$; $m$, $s$, $\alpha > 0$;
$\sigma \ge 0$.

Then the open part. Draw the first number, plus $2\log\sigma$, over $\sigma$ (with $\alpha = 1$): the error of
$\hat\varepsilon$ that betrays a wrong weight. At which noise can the weights be learned? Predict it from $m$ and $s$
before you draw. Then train a small network on two heaps with $w = 0.8$ and $m = 8s$, once at all levels from $s/5$ to
$10 m$, and once without those from $m/4$ to $4 m$. Sample both, count the heaps, over several seeds, and report every
count.""",
    inputs=_level,
    solution=seen,
    explanation=r"""
Noised heaps are heaps at $\pm\alpha m$ with variance $\alpha^2 s^2 + \sigma^2 = \tau^2$. The score is that of a heap, save
where both matter: the difference of the two scores is $2\alpha m/\tau^2$ times the difference of the probabilities that
$x_t$ belongs to the heap at $m$. Far inside a heap both are 0 or 1, and between the heaps, where they differ, hardly any
data lie. So the first number falls like $-(\alpha m)^2/(2\tau^2)$, while the KL goes to that of the weights. With $s = 0.5$,
$w = 0.5$ and $v = 0.9$ the expected square is 0.80 for $m = 1$ and $3 \cdot 10^{-13}$ for $m = 4$, with a KL of 0.51.""",
    hints=(
        "Where do noised heaps lie, and how wide are they? The rest is one grid on which both log-densities are known.",
        "The probability to be of the heap at m is a sigmoid of 2αm x/τ² + log(w/(1 − w)): the scores' difference needs it.",
        "Densities by `logaddexp`, weights of the grid by a softmax of log p, then two sums: squares, and log p − log q.",
    ),
    wrong=(
        Wrong(
            "one half",
            "There is a factor of one half before the square. Losses have it; asked was the expectation without it.",
            _pair(lambda f: f - math.log(2)),
        ),
        Wrong(
            "no logarithm",
            "The first number is the expectation itself. Asked is its logarithm, in which small ones can be told apart.",
            _pair(lambda f: f.exp()),
        ),
        Wrong(
            "a logarithm to the base 10",
            "The first number is a logarithm to the base 10. Asked is the natural one.",
            _pair(lambda f: f / math.log(10)),
        ),
        Wrong(
            "the root of it",
            "The first number is the logarithm of a root. The expected square is asked.",
            _pair(lambda f: f / 2),
        ),
        Wrong(
            "both expectations under q",
            "Both expectations are over q. The data are p: all expectations are over p_t.",
            _turned(True, True),
        ),
        Wrong(
            "the KL the other way round",
            "The KL is that of p from q: KL(q ‖ p). Asked is KL(p ‖ q), with the expectation over p.",
            _turned(False, True),
        ),
        Wrong(
            "the square under q",
            "The expected square is taken over q. It is taken where the data are, over p_t.",
            _turned(True, False),
        ),
        Wrong(
            "all places alike",
            "The square is integrated over x without the density. An expectation weighs each place by p_t.",
            _unweighted,
        ),
        Wrong(
            "the KL of the weights",
            "The second number is the KL of the two pairs of weights. That is its limit for heaps that do not touch.",
            _heaps_apart,
        ),
        Wrong(
            "the clean laws",
            "The level is not used: these are the numbers of the clean laws. Noise widens the heaps.",
            _other(lambda m, s, alpha, sigma: (m, s)),
        ),
        Wrong(
            "heaps that stay",
            "The heaps stay at ±m. Their places are multiplied by alpha as well.",
            _other(lambda m, s, alpha, sigma: (m, math.hypot(alpha * s, sigma))),
        ),
        Wrong(
            "widths that stay",
            "The deviation of the heaps is not multiplied by alpha before noise is added.",
            _other(lambda m, s, alpha, sigma: (alpha * m, math.hypot(s, sigma))),
        ),
        Wrong(
            "deviations added",
            "The width of a noised heap is αs + σ here. Variances add up, not standard deviations.",
            _other(lambda m, s, alpha, sigma: (alpha * m, alpha * s + sigma)),
        ),
        Wrong(
            "the KL first",
            "The two numbers are in the other order: scores first.",
            lambda *arguments: seen(*arguments)[::-1],
        ),
    ),
    right=(_by_integrals, _by_autograd, _by_loops),
    probes={
        "heaps at 1 and −1, of standard deviation 0.5, without noise": lambda f: f(0.5, 0.9, 1.0, 0.5, 1.0, 0.0),
        "heaps at 2 and −2": lambda f: f(0.5, 0.9, 2.0, 0.5, 1.0, 0.0),
        "heaps at 4 and −4, 16 standard deviations apart": lambda f: f(0.5, 0.9, 4.0, 0.5, 1.0, 0.0),
        "heaps at 4 and −4, with much noise": lambda f: f(0.5, 0.9, 4.0, 0.5, 1.0, 4.0),
        "a heap that is nearly lost": lambda f: f(0.999, 0.5, 1.0, 0.5, 0.8, 0.6),
        "a model that has nearly lost a heap": lambda f: f(0.5, 0.001, 1.0, 0.5, 0.8, 0.6),
        "heaps that are nearly one": lambda f: f(0.25, 0.75, 0.1, 1.0, 0.6, 0.8),
    },
    discussion=r"""
**For the open part.** The error that betrays a wrong weight is largest near $\sigma = 0.9\,m$, where noise just mixes the
heaps: 0.12 for $w = 0.8$ and $v = 0.5$, while at $\sigma = m/4$ it is a hundred times smaller, for heaps eight standard
deviations from the middle. In a trial with five seeds (a network with two layers of 64 units, 3,000 steps of 512 draws, 200 steps
of Heun) the share of the heap at $m$ was 0.77 to 0.79 with all levels, and 0.46 to 0.70 without the middle ones. In both
more than 96 % of the samples lay within four standard deviations of a heap, so every single sample looked right.

For your own work: modes are weighed at high noise, and details are drawn at low noise. A schedule of training that
hardly visits the first gives sharp samples in wrong shares: no single picture shows it, nor does the loss at low
noise. Count classes, and compare with the data's shares. Langevin's walk at one low level has the same fault: it weighs the
heaps only by crossing between them, which it hardly ever does.""",
)
