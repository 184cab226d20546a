"""Exercise 17.8: What guidance draws."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def two_targets(m_y, s_y, m, s, w, alpha, sigma):
    """Means and deviations of the law of guided scores, and of the noised tilted law.

    Conditional N(m_y, s_y²), unconditional N(m, s²), weight, level -> four numbers.
    """
    v_y, v = (alpha * s_y) ** 2 + sigma**2, (alpha * s) ** 2 + sigma**2
    precision = w / v_y + (1 - w) / v
    mean = alpha * (w * m_y / v_y + (1 - w) * m / v) / precision
    clean = w / s_y**2 + (1 - w) / s**2
    tilted = alpha * (w * m_y / s_y**2 + (1 - w) * m / s**2) / clean
    return mean, precision**-0.5, tilted, (alpha**2 / clean + sigma**2) ** 0.5


def _product(one, other, w):
    """N(·)^w N(·)^(1 − w), as mean and standard deviation."""
    lam = w / one[1] ** 2, (1 - w) / other[1] ** 2
    return (lam[0] * one[0] + lam[1] * other[0]) / sum(lam), sum(lam) ** -0.5


def _noised(law, alpha, sigma):
    return alpha * law[0], (alpha**2 * law[1] ** 2 + sigma**2) ** 0.5


def _by_products(m_y, s_y, m, s, w, alpha, sigma):
    one, other = (m_y, s_y), (m, s)
    first = _product(_noised(one, alpha, sigma), _noised(other, alpha, sigma), w)
    return [*first, *_noised(_product(one, other, w), alpha, sigma)]


def _by_scores(m_y, s_y, m, s, w, alpha, sigma):
    def law(score):
        # a normal law's score is a line: its slope is minus the precision, its root the mean
        at, there = (torch.tensor(float(v), dtype=torch.double, requires_grad=True) for v in (0.0, 1.0))
        slope = score(there) - score(at)
        return float(-score(at) / slope), float((-1 / slope) ** 0.5)

    def guided(a, b):
        def score(x):
            conditional = torch.distributions.Normal(a * m_y, ((a * s_y) ** 2 + b**2) ** 0.5)
            whole = torch.distributions.Normal(a * m, ((a * s) ** 2 + b**2) ** 0.5)
            log_p = w * conditional.log_prob(x) + (1 - w) * whole.log_prob(x)
            return torch.autograd.grad(log_p, x)[0]

        return score

    return (*law(guided(alpha, sigma)), *_noised(law(guided(1.0, 0.0)), alpha, sigma))


def _by_polynomials(m_y, s_y, m, s, w, alpha, sigma):
    def log_p(mean, var):
        return np.array([-1, 2 * mean, -(mean**2)]) / (2 * var)

    def law(a, b):
        square, line, _ = w * log_p(a * m_y, (a * s_y) ** 2 + b**2) + (1 - w) * log_p(a * m, (a * s) ** 2 + b**2)
        return -line / (2 * square), np.sqrt(-0.5 / square)

    mean, std = law(1, 0)
    return np.array([*law(alpha, sigma), alpha * mean, np.hypot(alpha * std, sigma)])


def _by_grids(m_y, s_y, m, s, w, alpha, sigma):
    def law(a, b):
        deviations = np.sqrt((a * s_y) ** 2 + b**2), np.sqrt((a * s) ** 2 + b**2)
        rough = _product((a * m_y, deviations[0]), (a * m, deviations[1]), w)  # only to place the grid
        x = rough[0] + rough[1] * np.linspace(-9, 9, 4001)
        log_p = -w * ((x - a * m_y) / deviations[0]) ** 2 / 2 - (1 - w) * ((x - a * m) / deviations[1]) ** 2 / 2
        p = np.exp(log_p - log_p.max())
        p /= p.sum()
        mean = float((p * x).sum())
        return mean, float((p * (x - mean) ** 2).sum() ** 0.5)

    return (*law(alpha, sigma), *_noised(law(1.0, 0.0), alpha, sigma))


def _first(change):
    """Another law of the guided scores, and the right tilted one."""

    def answer(m_y, s_y, m, s, w, alpha, sigma):
        laws = _noised((m_y, s_y), alpha, sigma), _noised((m, s), alpha, sigma)
        return (*change(*laws, w), *two_targets(m_y, s_y, m, s, w, alpha, sigma)[2:])

    return answer


def _second(change):
    """The right law of the guided scores, and another tilted one."""

    def answer(m_y, s_y, m, s, w, alpha, sigma):
        law = change(_product((m_y, s_y), (m, s), w), alpha, sigma)
        return (*two_targets(m_y, s_y, m, s, w, alpha, sigma)[:2], *law)

    return answer


def _of_variances(one, other, w):
    return _product(one, other, w)[0], (w * one[1] ** 2 + (1 - w) * other[1] ** 2) ** 0.5


def _of_means(one, other, w):
    return w * one[0] + (1 - w) * other[0], _product(one, other, w)[1]


def _level(g):
    m_y, m = (3 * torch.randn(2, generator=g)).tolist()
    s_y, more, alpha, sigma = (0.3 + torch.rand(4, generator=g)).tolist()
    w = 0.25 + 4 * float(torch.rand((), generator=g))
    return m_y, s_y, m, s_y + more, w, alpha, sigma


ORACLE = 1.5, 0.3, 0.0, 1.09**0.5, 3.0

EXERCISE = Exercise(
    number="17.8",
    title="What guidance draws",
    difficulty=3,
    minutes=20,
    task=r"""
The conditional law of the data is $p(x \mid y) = \mathcal N(m_y, s_y^2)$, the unconditional one
$p(x) = \mathcal N(m, s^2)$, in one dimension, with $s_y < s$. Guidance of weight $w \ge 0$ uses at each level the score
$w\,\nabla\log p_t(x_t \mid y) + (1-w)\,\nabla\log p_t(x_t)$ of the *noised* laws; $w = 1$ is the conditional model. At
the level $(\alpha, \sigma)$ this is the score of some normal law. It is often said that guidance samples the tilted law
$\propto p(x \mid y)^w\, p(x)^{1-w}$; were it so, this law would be the tilted law, noised. Return four numbers: mean and
standard deviation of the law whose score guidance uses, then mean and standard deviation of $\alpha x + \sigma\varepsilon$
for $x$ from the tilted law. $\alpha > 0$ and $\sigma \ge 0$. For which $w$, and at which level, do the two agree?""",
    inputs=_level,
    solution=two_targets,
    explanation=r"""
A product of powers of normal densities adds up precisions, weighted, and weighs means by them. Noising adds variances. The
two operations do not commute: guidance noises first and then tilts, the other way round it would be the tilted law's path.
They agree at $\sigma = 0$, and for $w = 0$ and $w = 1$. So the scores that a guided sampler follows belong to no one
law's path of noising, and where it ends is a matter of the path. With $\mathcal N(1.5, 0.3^2)$,
$\mathcal N(0, 1.09)$ and $w = 3$ the exact ODE ends in a law with mean 1.75 and deviation 0.025; the tilted one has 1.59
and 0.18.""",
    hints=(
        "Both laws at the level are normal, with variances α² s² + σ². What does a weighted sum of two scores look like?",
        "A normal score is a line with slope −1/variance. Weighted slopes add up: w/V_y + (1 − w)/V is the new precision.",
        "For the tilted law do that with s_y² and s²; then noise it: α times the mean, α² times the variance plus σ².",
    ),
    wrong=(
        Wrong(
            "another convention",
            "The weight counts from 0: (1 + w) times the conditional score. Here w = 1 is the conditional model.",
            lambda m_y, s_y, m, s, w, alpha, sigma: two_targets(m_y, s_y, m, s, 1 + w, alpha, sigma),
        ),
        Wrong(
            "the roles exchanged",
            "The two laws are exchanged: w belongs to the conditional score.",
            lambda m_y, s_y, m, s, w, alpha, sigma: two_targets(m_y, s_y, m, s, 1 - w, alpha, sigma),
        ),
        Wrong(
            "the tilted law twice",
            "Both laws are the noised tilted one. Guidance adds up the scores of laws that are noised already.",
            lambda m_y, s_y, m, s, w, alpha, sigma: two_targets(m_y, s_y, m, s, w, alpha, sigma)[2:] * 2,
        ),
        Wrong(
            "the guided law twice",
            "Both laws are that of guidance. The tilted law is made of the laws of the data, and noised afterwards.",
            lambda m_y, s_y, m, s, w, alpha, sigma: two_targets(m_y, s_y, m, s, w, alpha, sigma)[:2] * 2,
        ),
        Wrong(
            "the tilted law without noise",
            "The second law is the tilted law itself. It has to be noised to be compared: α x + σ ε.",
            _second(lambda law, alpha, sigma: law),
        ),
        Wrong(
            "only the tilted mean noised",
            "The second mean is that of the noised law, but the deviation is the clean one: noise makes it larger.",
            _second(lambda law, alpha, sigma: (alpha * law[0], law[1])),
        ),
        Wrong(
            "deviations added",
            "In the second law standard deviations are added up. Variances of independent terms add up.",
            _second(lambda law, alpha, sigma: (alpha * law[0], alpha * law[1] + sigma)),
        ),
        Wrong(
            "variances instead of precisions",
            "The first variance is a weighted sum of variances. Scores have slopes −1/V: precisions add up.",
            _first(_of_variances),
        ),
        Wrong(
            "means without precisions",
            "The first mean is w m_y + (1 − w) m. The narrower law counts more: weigh means by precisions as well.",
            _first(_of_means),
        ),
        Wrong(
            "clean scores",
            "The first law is tilted from the laws of the data. Guidance uses the scores of the noised laws.",
            lambda m_y, s_y, m, s, w, alpha, sigma: (
                *two_targets(m_y, s_y, m, s, w, 1.0, 0.0)[:2],
                *two_targets(m_y, s_y, m, s, w, alpha, sigma)[2:],
            ),
        ),
        Wrong(
            "a mixture",
            "The first law has the moments of a mixture with weights w and 1 − w. A sum of scores is a product of densities.",
            _first(
                lambda one, other, w: (
                    w * one[0] + (1 - w) * other[0],
                    abs(w * one[1] ** 2 + (1 - w) * other[1] ** 2 + w * (1 - w) * (one[0] - other[0]) ** 2) ** 0.5,
                )
            ),
        ),
        Wrong(
            "variances returned",
            "The second and the fourth number are variances. Asked are standard deviations.",
            lambda m_y, s_y, m, s, w, alpha, sigma: [
                part**power
                for part, power in zip(two_targets(m_y, s_y, m, s, w, alpha, sigma), (1, 2, 1, 2), strict=True)
            ],
        ),
        Wrong(
            "deviations taken for variances",
            "s_y and s stand where variances belong. They are standard deviations.",
            lambda m_y, s_y, m, s, w, alpha, sigma: two_targets(m_y, s_y**0.5, m, s**0.5, w, alpha, sigma),
        ),
        Wrong(
            "the tilted law first",
            "The two laws are in the other order: first that of guidance.",
            lambda m_y, s_y, m, s, w, alpha, sigma: (
                *two_targets(m_y, s_y, m, s, w, alpha, sigma)[2:],
                *two_targets(m_y, s_y, m, s, w, alpha, sigma)[:2],
            ),
        ),
    ),
    right=(_by_products, _by_scores, _by_polynomials, _by_grids),
    probes={
        "the conditional model, w = 1": lambda f: f(*ORACLE[:4], 1.0, 0.6, 0.8),
        "the unconditional model, w = 0": lambda f: f(*ORACLE[:4], 0.0, 0.6, 0.8),
        "w = 3, halfway": lambda f: f(*ORACLE, 0.5**0.5, 0.5**0.5),
        "w = 3 at the data": lambda f: f(*ORACLE, 1.0, 0.0),
        "w = 3, nearly pure noise": lambda f: f(*ORACLE, 0.01, 1.0),
        "w = 100": lambda f: f(*ORACLE[:4], 100.0, 0.8, 0.6),
        "a conditional law that is a hair": lambda f: f(2.0, 0.01, -1.0, 1.0, 2.0, 0.5, 0.5),
    },
    discussion=r"""
**For your own work.** A claim such as "w = 4 samples from $p(x \mid y)^4 p(x)^{-3}$" can be tested in two lines on normal
laws, and fails. What guidance does in practice: it moves samples to where the conditional law is more likely than the
whole, and narrows them. Report precision and recall, or the classes' shares, beside any score that improved; say which
convention your $w$ has (0 or 1 for the plain model); and try guidance at some levels only.""",
)
