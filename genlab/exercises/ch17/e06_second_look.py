"""Exercise 17.6: A second look."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

from itertools import pairwise

import torch

from genlab.exercises import Exercise, Wrong


def second_order(guess, x, alpha, sigma):
    """Follow the probability-flow ODE along a grid by Heun's method.

    Function guess(x_t, alpha_t, sigma_t), start (n, d), grid (k + 1,) -> (n, d).
    """
    for i in range(len(alpha) - 1):
        (a, c), (b, d) = alpha[i : i + 2], sigma[i : i + 2]
        step = d / c - b / a
        first = guess(x, a, b)
        slope = first
        if d > 0:
            second = guess(c * (x / a + step * first), c, d)
            slope = (first + second) / 2
        x = c * (x / a + step * slope)
    return x


def _by_stretching(guess, x, alpha, sigma):
    y, r = x / alpha[0], sigma / alpha
    for i, h in enumerate(r.diff()):
        one = guess(alpha[i] * y, alpha[i], sigma[i])
        trial = y + h * one
        if not bool(r[i + 1] == 0):
            two = guess(alpha[i + 1] * trial, alpha[i + 1], sigma[i + 1])
            trial = trial + h / 2 * (two - one)
        y = trial
    return alpha[-1] * y


def _by_rows(guess, x, alpha, sigma):
    rows, grid = [], list(zip(alpha.tolist(), sigma.tolist(), strict=True))
    for row in x:
        point = row[None]
        for (a, b), (c, d) in pairwise(grid):
            first = guess(point, a, b)
            euler = c / a * (point - b * first) + d * first  # the step of DDIM
            if d:
                second = guess(euler, c, d)
                euler = c / a * (point - b * (first + second) / 2) + d * (first + second) / 2
            point = euler
        rows.append(point[0])
    return torch.stack(rows)


def _by_recursion(guess, x, alpha, sigma):
    if len(alpha) == 1:
        return x
    (a, c), (b, d) = alpha[:2].tolist(), sigma[:2].tolist()
    looks = [guess(x, a, b)]
    if d != 0:
        looks.append(guess(c * x / a + (d - b * c / a) * looks[0], c, d))
    after = c * x / a + (d - b * c / a) * torch.stack(looks).mean(0)
    return _by_recursion(guess, after, alpha[1:], sigma[1:])


def _in_numpy(guess, x, alpha, sigma):
    y, a, s = (x / alpha[0]).numpy(), alpha.numpy(), sigma.numpy()
    for i in range(len(a) - 1):
        h = s[i + 1] / a[i + 1] - s[i] / a[i]
        first = guess(torch.as_tensor(a[i] * y), a[i], s[i]).numpy()
        last = s[i + 1] == 0
        second = first if last else guess(torch.as_tensor(a[i + 1] * (y + h * first)), a[i + 1], s[i + 1]).numpy()
        y = y + h * (first + second) / 2
    return a[-1] * y


def _steps(move):
    """Another step: move(guess, x, from alpha, sigma, to alpha, sigma)."""

    def answer(guess, x, alpha, sigma):
        for i in range(len(alpha) - 1):
            x = move(guess, x, alpha[i], sigma[i], alpha[i + 1], sigma[i + 1])
        return x

    return answer


def _ddim(x, eps, a, b, c, d):
    return c * (x / a + (d / c - b / a) * eps)


def _look(second):
    """Heun's step with another second look."""

    def move(guess, x, a, b, c, d):
        first = guess(x, a, b)
        trial = _ddim(x, first, a, b, c, d)
        slope = first if d == 0 else second(guess, first, x, trial, (a, b), (c, d))
        return _ddim(x, slope, a, b, c, d)

    return _steps(move)


def _also_the_last(guess, x, a, b, c, d):
    first = guess(x, a, b)
    second = guess(_ddim(x, first, a, b, c, d), c, d)
    return _ddim(x, (first + second) / 2, a, b, c, d)


def _midway(guess, x, a, b, c, d):
    e, f = (a + c) / 2, (b + d) / 2
    return _ddim(x, guess(_ddim(x, guess(x, a, b), a, b, e, f), e, f), a, b, c, d)


def _kept_look(guess, x, alpha, sigma):
    first = guess(x, alpha[0], sigma[0])
    for i in range(len(alpha) - 1):
        level = alpha[i], sigma[i], alpha[i + 1], sigma[i + 1]
        second = first if sigma[i + 1] == 0 else guess(_ddim(x, first, *level), alpha[i + 1], sigma[i + 1])
        x, first = _ddim(x, (first + second) / 2, *level), second
    return x


def _unscaled(guess, x, a, b, c, d):
    first = guess(x, a, b)
    second = first if d == 0 else guess(x + (d - b) * first, c, d)
    return x + (d - b) * (first + second) / 2


def _not_scaled_back(guess, x, a, b, c, d):
    first = guess(x, a, b)
    y, h = x / a, d / c - b / a
    slope = first if d == 0 else (first + guess(y + h * first, c, d)) / 2
    return c * (y + h * slope)


def _in_place(guess, x, alpha, sigma):
    x.copy_(second_order(guess, x, alpha, sigma))
    return x


def two_heaps(x, a, s):
    """The best guess of the noise for data that are ±2, both as likely, in each coordinate."""
    return (x - 2 * a * torch.tanh(2 * a * x / s**2)) / s


def normal(x, a, s):
    """The best guess of the noise for data from N(1, 0.25)."""
    return s * (x - a) / (a**2 / 4 + s**2)


def _grid(g):
    n, d, steps = (int(torch.randint(low, high, (), generator=g)) for low, high in ((1, 6), (1, 4), (2, 5)))
    x = torch.randn(n, d, generator=g).double()
    x[0] *= 3
    angle = torch.linspace(1.3, 0.3, steps + 1).double()
    radius = 1 + 0.5 * torch.rand(steps + 1, generator=g).double()
    alpha, sigma = radius * angle.cos(), radius * angle.sin()
    if torch.rand((), generator=g) < 0.5:
        sigma[-1] = 0
    return normal if torch.rand((), generator=g) < 0.3 else two_heaps, x, alpha, sigma


START = torch.tensor([[0.5, -1.5], [2.0, 0.25], [-6.0, 1.0]]).double()


def _angles(high, low, steps):
    angle = torch.linspace(high, low, steps + 1).double()
    return angle.cos(), angle.sin()


EXERCISE = Exercise(
    number="17.6",
    title="A second look",
    difficulty=2,
    minutes=20,
    task=r"""
In $y = x_t/\alpha$ and $r = \sigma/\alpha$ the probability-flow ODE is $\mathrm dy = \hat\varepsilon\, \mathrm dr$, where
$\hat\varepsilon$ is guessed from $x_t = \alpha y$ and the level. Euler's step is DDIM's. Heun's step looks twice: take
Euler's step as a trial, guess $\hat\varepsilon$ again at the trial point *and its level*, and do the step from the old point
with the mean of the two guesses. Follow a grid of $k + 1$ levels `alpha`, `sigma` in this way, from the first, where `x` of
shape `(n, d)` lies, to the last, and return $x_t$ there. `guess(x_t, alpha_t, sigma_t)` takes rows and two numbers, and
gives the shape of the rows; it is undefined at $\sigma = 0$, so a step that ends there is Euler's. All $\alpha > 0$,
$r$ falls, and `x` stays as it is. Squares need not add up to 1. A grid of one level is no step.""",
    inputs=_grid,
    solution=second_order,
    explanation=r"""
Euler holds the first guess for the whole step: its error after a fixed distance falls like the size of the steps. The
mean of the guesses at both ends is the trapezoid rule, whose error falls like the square. In $y$ and $r$ the equation has no
linear part left, so all error comes from changes of the guess, none from the scale $\alpha$. The price is two guesses
a step: 10 steps of Heun compare with 20 of DDIM. This is the sampler of EDM (Karras et al. 2022), without its
noise.""",
    hints=(
        "Write Euler's step first: `c * (x / a + (d / c - b / a) * eps)` leads from (a, b) to (c, d).",
        "The second guess takes the trial point in x, not in y, with the levels (c, d). Then start again from the old x.",
        "`x = c * (x / a + step * (first + second) / 2)`; if d is 0, use `first` alone.",
    ),
    wrong=(
        Wrong(
            "one look",
            "This is Euler's step, DDIM: one guess a step. Guess again at the trial point, and use the mean.",
            _look(lambda guess, first, x, trial, now, then: first),
        ),
        Wrong(
            "the second look alone",
            "Only the second guess is used for the step. Heun takes the mean of both.",
            _look(lambda guess, first, x, trial, now, then: guess(trial, *then)),
        ),
        Wrong(
            "the second look at the old level",
            "The second guess sees the trial point with the old level. The trial point belongs to the new one.",
            _look(lambda guess, first, x, trial, now, then: (first + guess(trial, *now)) / 2),
        ),
        Wrong(
            "the second look at the old point",
            "The second guess sees the old point with the new level. It must see the trial point.",
            _look(lambda guess, first, x, trial, now, then: (first + guess(x, *then)) / 2),
        ),
        Wrong(
            "the sum of both",
            "The two guesses are added up: each step is about twice too long. Take their mean.",
            _look(lambda guess, first, x, trial, now, then: first + guess(trial, *then)),
        ),
        Wrong(
            "from the trial point on",
            "The second guess carries the trial point on for another step. Start again from the old point, with the mean.",
            _steps(
                lambda guess, x, a, b, c, d: (
                    _ddim(x, guess(x, a, b), a, b, c, d)
                    if d == 0
                    else (
                        (trial := _ddim(x, guess(x, a, b), a, b, c, d)) + c * (d / c - b / a) * guess(trial, c, d) / 2
                    )
                )
            ),
        ),
        Wrong(
            "a look midway",
            "The second guess is made halfway and used for the step: the midpoint rule, also of order 2, but not Heun's.",
            _steps(_midway),
        ),
        Wrong(
            "a look where there is none",
            "The guess is asked for at σ = 0, where it is undefined. A step that ends there is Euler's.",
            _steps(_also_the_last),
        ),
        Wrong(
            "the look of the step before",
            "The second guess serves as the first of the next step. It was made at the trial point, which x has left.",
            _kept_look,
        ),
        Wrong(
            "the scale left out",
            "The step is x + (σ_s − σ_t) ε̂. That is right where α does not change; divide by α first, and multiply after.",
            _steps(_unscaled),
        ),
        Wrong(
            "a trial point in y",
            "The second guess is handed y, not x_t: multiply the trial point by the new α.",
            _steps(_not_scaled_back),
        ),
        Wrong(
            "y at the end",
            "What comes back is y = x_t/α. Multiply by the last α.",
            lambda guess, x, alpha, sigma: second_order(guess, x, alpha, sigma) / alpha[-1],
        ),
        Wrong(
            "worked in place",
            "The result is right, but `x` has been overwritten. The start stays as it is.",
            _in_place,
        ),
    ),
    right=(_by_stretching, _by_rows, _by_recursion, _in_numpy),
    probes={
        "eight steps between levels whose squares add up to 1": lambda f: f(two_heaps, START, *_angles(1.5, 0.25, 8)),
        "one step to the data": lambda f: f(two_heaps, START, *_angles(0.5, 0.0, 1)),
        "two steps to the data": lambda f: f(normal, START, *_angles(1.0, 0.0, 2)),
        "one step between two levels": lambda f: f(normal, START[:1], *_angles(1.2, 0.6, 1)),
        "a grid of one level": lambda f: f(two_heaps, START, *_angles(0.7, 0.7, 0)),
        "a hundred steps, normal data": lambda f: f(normal, START[:, :1], *_angles(1.5, 0.1, 100)),
        "steps on a path where variances explode": lambda f: f(
            normal, 40 * START, torch.ones(6).double(), torch.tensor([80.0, 20.0, 5.0, 1.0, 0.1, 0.0]).double()
        ),
        "a step to a level with little noise": lambda f: f(
            normal, START, torch.ones(2).double(), torch.tensor([1.0, 2.0**-14]).double()
        ),
    },
    discussion=r"""
**For your own work.** Measure the order of your sampler before you trust it: for normal data the exact end point is known,
and the error over the number of steps, both in logarithms, must have the slope $-1$ or $-2$. A slope of $-1$ where
$-2$ was promised is a bug, mostly one of those above. The grid matters as much as the order: where the guess changes fast,
steps must be short. Compare samplers by the number of guesses, not of steps.""",
)
