"""Exercise 17.2: One guess, three names."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def from_v(x_t, v, alpha, sigma):
    """What a guess of v says of x and eps, and how much more an error in v weighs.

    Noised data and guess (n, d), path (n,) -> x (n, d), eps (n, d), weight (n,).
    """
    a, b = alpha[:, None], sigma[:, None]
    square = a**2 + b**2  # 1 only if the path keeps variances
    x = (a * x_t - b * v) / square
    eps = (b * x_t + a * v) / square
    return x, eps, (square[:, 0] / sigma) ** 2


def _by_solving(x_t, v, alpha, sigma):
    system = torch.stack([torch.stack([alpha, sigma], 1), torch.stack([-sigma, alpha], 1)], 1)
    x, eps = torch.linalg.solve(system, torch.stack([x_t, v], 1)).unbind(1)
    return x, eps, (alpha**2 / sigma + sigma).square()


def _by_loops(x_t, v, alpha, sigma):
    xs, noises, weights = [], [], []
    for row, guess, a, b in zip(x_t.tolist(), v.tolist(), alpha.tolist(), sigma.tolist(), strict=True):
        xs.append([(a * p - b * q) / (a * a + b * b) for p, q in zip(row, guess, strict=True)])
        noises.append([(p - a * x) / b for p, x in zip(row, xs[-1], strict=True)])
        weights.append((a * a / b + b) ** 2)
    return xs, noises, weights


def _by_turning(x_t, v, alpha, sigma):
    # (x_t, v) is (x, eps), turned by an angle and stretched: the product with a complex number
    turn = alpha.numpy() - 1j * sigma.numpy()
    pair = (x_t.numpy() + 1j * v.numpy()) / turn[:, None]
    return pair.real, pair.imag, np.abs(turn) ** 4 / turn.imag**2


def _by_an_error(x_t, v, alpha, sigma):
    radius, angle = torch.hypot(alpha, sigma)[:, None], torch.atan2(sigma, alpha)[:, None]
    x = (angle.cos() * x_t - angle.sin() * v) / radius
    eps = (angle.sin() * x_t + angle.cos() * v) / radius
    return x, eps, (radius / angle.sin()).square().squeeze(1)  # dv = −radius / sin · dx


def _guess(x=None, eps=None, weight=None):
    """Another x, another eps or another weight."""

    def answer(x_t, v, alpha, sigma):
        a, b = alpha[:, None], sigma[:, None]
        right = from_v(x_t, v, alpha, sigma)
        return (
            right[0] if x is None else x(x_t, v, a, b),
            right[1] if eps is None else eps(x_t, v, a, b),
            right[2] if weight is None else weight(alpha, sigma),
        )

    return answer


def _rows(g):
    n, d = (int(torch.randint(1, 6, (), generator=g)) for _ in range(2))
    x_t, v = (torch.randn(n, d, generator=g).double() for _ in range(2))
    x_t[0] *= 10
    angle = 0.15 + 1.2 * torch.rand(n, generator=g).double()
    radius = 0.5 + torch.rand(n, generator=g).double()
    return x_t, v, radius * angle.cos(), radius * angle.sin()


SQUARE = torch.tensor([[1.0, -2.0], [0.5, 4.0]]).double()

EXERCISE = Exercise(
    number="17.2",
    title="One guess, three names",
    difficulty=1,
    minutes=15,
    task=r"""
On a path $x_t = \alpha_t x + \sigma_t \varepsilon$ a network guesses $v = \alpha_t \varepsilon - \sigma_t x$. Return
three things: $\hat x$ and $\hat\varepsilon$, both `(n, d)`, such that with them both equations hold for the given $x_t$
and $\hat v$; and for each example the weight $w$ with $\lVert v - \hat v \rVert^2 = w \lVert x - \hat x \rVert^2$, of
shape `(n,)`. `alpha` and `sigma` hold a number for each example, $\alpha \ge 0$ and $\sigma > 0$. Their squares need
*not* add up to 1: for the straight path $\alpha = 1 - t$, $\sigma = t$ they do not.""",
    inputs=_rows,
    solution=from_v,
    explanation=r"""
Two linear equations in two unknowns, whose determinant is $\alpha^2 + \sigma^2$. With $x_t$ given, an error in $x$ makes
one in $\varepsilon$ of $-\alpha/\sigma$ times its size, and so one in $v$ of $-(\alpha^2/\sigma + \sigma)$ times; the
weight is the square. Where the squares add up to 1 it is $1/\sigma^2 = \alpha^2/\sigma^2 + 1$, the signal-to-noise
ratio plus 1. So "the mean squared error of $v$" and "of $x$" are one loss with two weights over $t$: which name the
network's output has decides what counts, not what can be known.""",
    hints=(
        "Write both equations below each other: two unknowns, x and ε. How do you get rid of one of them?",
        "α · x_t − σ · v leaves (α² + σ²) x. Which combination leaves ε? `alpha[:, None]` gives each row its number.",
        "For the weight: x_t is fixed, so α dx + σ dε = 0. Put dε = −α/σ dx into dv = α dε − σ dx, and square.",
    ),
    wrong=(
        Wrong(
            "a circle taken for granted",
            "x and eps are right only where α² + σ² = 1. Divide by α² + σ².",
            _guess(lambda x_t, v, a, b: a * x_t - b * v, lambda x_t, v, a, b: b * x_t + a * v),
        ),
        Wrong(
            "divided by the radius",
            "The division is by √(α² + σ²). The determinant of the two equations is α² + σ².",
            _guess(
                lambda x_t, v, a, b: (a * x_t - b * v) / torch.hypot(a, b),
                lambda x_t, v, a, b: (b * x_t + a * v) / torch.hypot(a, b),
            ),
        ),
        Wrong(
            "v with the other sign",
            "This takes v for σ x − α ε, the negative. Here v = α ε − σ x.",
            lambda x_t, v, alpha, sigma: from_v(x_t, -v, alpha, sigma),
        ),
        Wrong(
            "v taken for the noise",
            "v is taken for ε here: (x_t − σ v)/α. It is a mixture of noise and data.",
            _guess(lambda x_t, v, a, b: (x_t - b * v) / a, lambda x_t, v, a, b: v),
        ),
        Wrong(
            "v taken for a velocity",
            "This takes v for ε − x, the velocity of the straight path. Here v = α ε − σ x.",
            _guess(lambda x_t, v, a, b: (x_t - b * v) / (a + b), lambda x_t, v, a, b: (x_t + a * v) / (a + b)),
        ),
        Wrong(
            "noise first",
            "The first two results are in the other order: x, then eps.",
            lambda x_t, v, alpha, sigma: (*from_v(x_t, v, alpha, sigma)[1::-1], from_v(x_t, v, alpha, sigma)[2]),
        ),
        Wrong(
            "the ratio plus 1",
            "The weight is α²/σ² + 1, which holds only where α² + σ² = 1. Derive it from dv = α dε − σ dx.",
            _guess(weight=lambda alpha, sigma: (alpha / sigma) ** 2 + 1),
        ),
        Wrong(
            "one over the variance",
            "The weight is 1/σ², which holds only where α² + σ² = 1. Derive it from dv = α dε − σ dx.",
            _guess(weight=lambda alpha, sigma: sigma**-2),
        ),
        Wrong(
            "the weight of the noise",
            "The weight is α²/σ², the signal-to-noise ratio: that turns errors in x into errors in ε.",
            _guess(weight=lambda alpha, sigma: (alpha / sigma) ** 2),
        ),
        Wrong(
            "a partial error",
            "The weight is σ²: x changes in v alone, and ε stays. But x_t is given, so an error in x makes one in ε.",
            _guess(weight=lambda alpha, sigma: sigma**2),
        ),
        Wrong(
            "signs that cancel",
            "The two parts of dv are taken with different signs. x too large means ε too small: both lower v.",
            _guess(weight=lambda alpha, sigma: (alpha**2 / sigma - sigma) ** 2),
        ),
        Wrong(
            "the weight's root",
            "The weight is not squared: it turns lengths of errors into each other, not their squares.",
            _guess(weight=lambda alpha, sigma: alpha**2 / sigma + sigma),
        ),
        Wrong(
            "the weight upside down",
            "The weight is turned round: it gives the error of x from that of v.",
            _guess(weight=lambda alpha, sigma: (alpha**2 / sigma + sigma) ** -2),
        ),
    ),
    right=(_by_solving, _by_loops, _by_turning, _by_an_error),
    probes={
        "all noise, no data in x_t": lambda f: f(SQUARE, SQUARE.T, 0 * SQUARE[:, 0], torch.ones(2).double()),
        "hardly any noise, with the weight in units of sigma": lambda f: [
            part * factor
            for part, factor in zip(
                f(SQUARE, SQUARE.T, torch.ones(2).double(), torch.full((2,), 2.0**-12).double()),
                (1, 1, 2.0**-24),
                strict=True,
            )
        ],
        "a path of which the squares add up to 1": lambda f: f(
            SQUARE, SQUARE.T, torch.tensor([0.6, 0.8]).double(), torch.tensor([0.8, 0.6]).double()
        ),
        "the straight path, as many examples as coordinates": lambda f: f(
            SQUARE, SQUARE.T, torch.tensor([0.75, 0.25]).double(), torch.tensor([0.25, 0.75]).double()
        ),
        "a path on which variances explode": lambda f: f(
            SQUARE[:1], SQUARE[1:], torch.ones(1).double(), torch.tensor([80.0]).double()
        ),
    },
    discussion=r"""
**For your own work.** When you read "we predict v", look for three things: the sign, whether the path keeps variances,
and by what the squared error is multiplied. Near $\sigma = 0$ a guess of $x$ hardly can be wrong, while one of
$\varepsilon$ can; near $\alpha = 0$ it is the other way round. A guess of $v$ is asked for something at either end.""",
)
