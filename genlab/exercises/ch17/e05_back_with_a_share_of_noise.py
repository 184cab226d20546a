"""Exercise 17.5: Back, with a share of noise."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def step_back(x, eps, z, now, then, eta):
    """One step of a sampler from the level `now` to the less noisy `then`.

    Point, guess of its noise and fresh noise: one shape; levels (alpha, sigma).
    """
    (a, b), (c, d) = now, then
    data = (x - b * eps) / a
    fresh = eta**2 * d**2 * (1 - (a * d / (b * c)) ** 2)  # a variance
    return c * data + (d**2 - fresh) ** 0.5 * eps + fresh**0.5 * z


def _by_ratios(x, eps, z, now, then, eta):
    before, after = now[1] / now[0], then[1] / then[0]  # noise for each unit of data
    share = eta * math.sqrt(1 - (after / before) ** 2)
    mixed = math.sqrt(1 - share**2) * eps + share * z
    return then[0] * (x / now[0] + after * mixed - before * eps)


def _by_numpy(x, eps, z, now, then, eta):
    x, eps, z = x.numpy(), eps.numpy(), z.numpy()
    forth = now[1] ** 2 - (now[0] / then[0] * then[1]) ** 2  # variance of the step forth
    fresh = eta**2 * forth * then[1] ** 2 / now[1] ** 2
    return then[0] / now[0] * (x - now[1] * eps) + np.sqrt(then[1] ** 2 - fresh) * eps + np.sqrt(fresh) * z


def _by_loops(x, eps, z, now, then, eta):
    (a, b), (c, d) = now, then
    std = eta * d * math.sqrt(max(0.0, 1 - a * a * d * d / (b * b * c * c)))
    rows = zip(x.flatten().tolist(), eps.flatten().tolist(), z.flatten().tolist(), strict=True)
    found = [c * (p - b * q) / a + math.sqrt(d * d - std * std) * q + std * new for p, q, new in rows]
    return torch.tensor(found).reshape(x.shape)


def _by_conditioning(x, eps, z, now, then, eta):
    # the law of x_then given x_now and x has this mean and this variance; eta turns the angle
    (a, b), (c, d) = now, then
    data = (x - b * eps) / a
    k = a / c * d**2 / b**2
    largest = d**2 - k * a / c * d**2
    angle = math.asin(eta * math.sqrt(largest) / d) if d else 0.0
    return c * data + d * (math.cos(angle) * eps + math.sin(angle) * z)


def _with(fresh, *, rest=lambda d, var: (d**2 - var) ** 0.5, data=lambda x, eps, a, b: (x - b * eps) / a):
    """Another variance of the fresh noise, another factor of the old, or another guess of the data."""

    def answer(x, eps, z, now, then, eta):
        (a, b), (c, d) = now, then
        var = torch.as_tensor(fresh(a, b, c, d, eta)).to(x)
        return c * data(x, eps, a, b) + torch.as_tensor(rest(d, var)).to(x) * eps + var**0.5 * z

    return answer


def _fresh(a, b, c, d, eta):
    return eta**2 * d**2 * (1 - (a * d / (b * c)) ** 2)


def _on_a_circle(level):
    return level[0], abs(1 - level[0] ** 2) ** 0.5


def _two_levels(g):
    shape = torch.randint(1, 5, (int(torch.randint(1, 4, (), generator=g)),), generator=g).tolist()
    x, eps, z = (torch.randn(shape, generator=g).double() for _ in range(3))
    x.view(-1)[0] += 10
    low, high = sorted((0.1 + 1.3 * torch.rand(2, generator=g)).tolist())
    (p, q), eta = (0.5 + torch.rand(2, generator=g)).tolist(), 0.3 + 0.6 * float(torch.rand((), generator=g))
    return x, eps, z, (p * math.cos(high), p * math.sin(high)), (q * math.cos(low), q * math.sin(low)), eta


X, EPS, Z = torch.tensor([[3.0, -1.0], [0.5, 2.0], [1.0, -4.0]]).double()
CIRCLE = (0.28, 0.96), (0.8, 0.6)

EXERCISE = Exercise(
    number="17.5",
    title="Back, with a share of noise",
    difficulty=2,
    minutes=15,
    task=r"""
A sampler goes from $x_t = \alpha_t x + \sigma_t \varepsilon$ to a less noisy level $s$, which may be many steps of the
chain away. The guess $\hat\varepsilon$ gives $\hat x$; then

$$ x_s = \alpha_s \hat x + \sqrt{\sigma_s^2 - \tau^2}\; \hat\varepsilon + \tau z, \qquad
\tau = \eta\, \tilde\sigma, $$

with fresh noise $z$ and $0 \le \eta \le 1$, where $\tilde\sigma^2$ is the variance of $q(x_s \mid x_t, x)$ of the chain
that leads from $s$ to $t$: $x_t = \frac{\alpha_t}{\alpha_s} x_s + \text{noise}$, of the variance that is needed to end
at $\sigma_t$. Return $x_s$ in the shape of `x`. `now` $= (\alpha_t, \sigma_t)$ and `then` $= (\alpha_s, \sigma_s)$ are
numbers, with $\alpha > 0$, $\sigma_t > 0$, $\sigma_s \ge 0$; squares need not add up to 1. With $\eta = 0$ nothing is
drawn (DDIM), with $\eta = 1$ it is the ancestral step. At $\sigma_s = 0$ the result is $\alpha_s\hat x$.""",
    inputs=_two_levels,
    solution=step_back,
    explanation=r"""
The chain from $s$ to $t$ adds the variance $\sigma_t^2 - (\alpha_t/\alpha_s)^2\sigma_s^2$. Gaussian conditioning gives
$\tilde\sigma^2 = \frac{\sigma_s^2}{\sigma_t^2}$ times that, which is
$\sigma_s^2\,(1 - \mathrm{SNR}_t/\mathrm{SNR}_s)$ with $\mathrm{SNR} = \alpha^2/\sigma^2$: the share of the noise at $s$
that is redrawn. Whatever $\eta$, old and new noise together have the variance $\sigma_s^2$; so if the guess is right, so
is the law of $x_s$. Only the two levels count. The $\beta_t$ of the chain's single step does not when steps are
skipped.""",
    hints=(
        "Compute x̂ first. Then: how much variance does the chain add between s and t?",
        "That is σ_t² − (α_t/α_s)² σ_s². The posterior's variance is σ_s²/σ_t² times it; τ² has η² before that.",
        "τ² = η² σ_s² (1 − (α_t σ_s/(σ_t α_s))²). The old noise keeps √(σ_s² − τ²).",
    ),
    wrong=(
        Wrong(
            "the variance of the step forth",
            "τ² has the variance that the chain adds from s to t. The step back has σ_s²/σ_t² of it.",
            _with(lambda a, b, c, d, eta: eta**2 * (b**2 - (a / c * d) ** 2)),
        ),
        Wrong(
            "the whole noise as a variance",
            "τ² is η² σ_s²: all noise is drawn anew at η = 1. The ancestral step keeps SNR_t/SNR_s of its variance.",
            _with(lambda a, b, c, d, eta: eta**2 * d**2),
        ),
        Wrong(
            "more noise than there may be",
            "The old noise keeps all of σ_s, and the fresh comes on top: the variance at s is too large.",
            _with(_fresh, rest=lambda d, var: d),
        ),
        Wrong(
            "deviations subtracted",
            "The old noise keeps σ_s − τ. Variances add up, not standard deviations: √(σ_s² − τ²).",
            _with(_fresh, rest=lambda d, var: d - var**0.5),
        ),
        Wrong(
            "eta not squared",
            "η stands before the variance. It multiplies the standard deviation: the variance has η².",
            _with(lambda a, b, c, d, eta: _fresh(a, b, c, d, eta**0.5)),
        ),
        Wrong(
            "a variance for a deviation",
            "z is multiplied by the variance τ². Its factor is τ.",
            lambda x, eps, z, now, then, eta: _with(_fresh)(
                x, eps, z * _fresh(now[0], now[1], then[0], then[1], eta) ** 0.5, now, then, eta
            ),
        ),
        Wrong(
            "data not rescaled",
            "x̂ is x_t − σ_t ε̂, without the division by α_t.",
            _with(_fresh, data=lambda x, eps, a, b: x - b * eps),
        ),
        Wrong(
            "a circle taken for granted",
            "1 − α² is used for the variances of the noise. The levels bring their sigma, and need not keep variances.",
            lambda x, eps, z, now, then, eta: step_back(x, eps, z, _on_a_circle(now), _on_a_circle(then), eta),
        ),
        Wrong(
            "always the ancestral step",
            "eta is not used: this is the step with η = 1.",
            lambda x, eps, z, now, then, eta: step_back(x, eps, z, now, then, 1.0),
        ),
        Wrong(
            "never any noise",
            "No fresh noise is used: this is the step with η = 0.",
            lambda x, eps, z, now, then, eta: step_back(x, eps, z, now, then, 0.0),
        ),
        Wrong(
            "noised anew",
            "The guess of the data is noised with z alone. This forgets the noise that is there, at every η.",
            lambda x, eps, z, now, then, eta: step_back(x, eps, z, now, (then[0], 0.0), 0.0) + then[1] * z,
        ),
        Wrong(
            "data clipped",
            "The guess of the data is clipped to −1 and 1. That suits some images; it was not asked, and data may lie outside.",
            _with(_fresh, data=lambda x, eps, a, b: ((x - b * eps) / a).clamp(-1, 1)),
        ),
        Wrong(
            "the sign of the old noise",
            "The old noise is subtracted at the new level. x_s has it with a plus, as x_t has.",
            _with(_fresh, rest=lambda d, var: -((d**2 - var) ** 0.5)),
        ),
        Wrong(
            "the ratio not squared",
            "The share that is redrawn is 1 − α_t σ_s/(σ_t α_s). Signal-to-noise ratios of variances have the squares.",
            _with(lambda a, b, c, d, eta: eta**2 * d**2 * (1 - a * d / (b * c))),
        ),
    ),
    right=(_by_ratios, _by_numpy, _by_loops, _by_conditioning),
    probes={
        "a step without fresh noise": lambda f: f(X, EPS, Z, *CIRCLE, 0.0),
        "the ancestral step": lambda f: f(X, EPS, Z, *CIRCLE, 1.0),
        "the last step, to the data": lambda f: f(X, EPS, Z, (0.8, 0.6), (1.0, 0.0), 1.0),
        "a short step near the noise": lambda f: f(X, EPS, Z, (0.01, 1.0), (0.011, 1.0), 0.5),
        "a short step on a path where variances explode": lambda f: f(X, EPS, Z, (1.0, 50.0), (1.0, 49.0), 1.0),
        "a step that stays where it is": lambda f: f(X, EPS, Z, (0.5, 1.0), (0.5, 1.0), 1.0),
        "one number": lambda f: f(X[:1], EPS[:1], Z[:1], (0.5, 0.5), (0.9, 0.1), 0.7),
    },
    discussion=r"""
**For your own work.** Test a sampler on normal data with the exact guess, and look at mean and variance after *every*
step: they are known. A wrong variance often goes unseen in pictures, and a clamp under a root hides it from you
as well: where $\sigma_s^2 - \tau^2$ comes out negative there is something to find. With a guess that is not exact, fresh
noise washes out old errors and costs steps: few steps favour $\eta = 0$, many may favour $\eta = 1$. Measure it.""",
)
