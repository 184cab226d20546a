"""Exercise 16.9: A temperature that fits (open-ended)."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch
from scipy import optimize
from torch.distributions import Normal

from genlab.exercises import Exercise, Wrong


def best_temperature(z, log_det):
    """The T with the highest mean log p_T(x), and that mean, in nats a row.

    z (n, d), where the flow takes n rows of data; log_det (n,), of x -> z.
    """
    d = z.shape[1]
    T = z.square().mean().sqrt()
    log_base = -0.5 * d * (torch.log(2 * math.pi * T.square()) + 1)
    return T, log_base + log_det.mean()


def _by_densities(z, log_det):
    T = (z**2).mean() ** 0.5
    return T, (Normal(0.0, T).log_prob(z).sum(1) + log_det).mean()


def _by_numpy(z, log_det):
    z, log_det = z.numpy(), log_det.numpy()
    n, d = z.shape
    T = np.linalg.norm(z) / np.sqrt(n * d)
    scaled = (z / T) ** 2
    return T, np.mean(log_det - d * np.log(T) - d / 2 * np.log(2 * np.pi) - scaled.sum(1) / 2)


def _by_search(z, log_det):
    squares, d = float(z.square().sum(1).mean()), z.shape[1]

    def cost(log_T):
        return squares / (2 * math.exp(2 * log_T)) + d * (log_T + math.log(2 * math.pi) / 2)

    found = optimize.minimize_scalar(cost, bracket=(-1.0, 1.0), tol=1e-12)
    return math.exp(found.x), float(log_det.mean()) - found.fun


def _by_loops(z, log_det):
    rows = z.tolist()
    square = sum(v * v for row in rows for v in row) / sum(len(row) for row in rows)
    total = 0.0
    for row, stretch in zip(rows, log_det.tolist(), strict=True):
        total += stretch + sum(-v * v / (2 * square) - math.log(2 * math.pi * square) / 2 for v in row)
    return square**0.5, total / len(rows)


def _at(T, z, log_det):
    """Mean log-density at a temperature."""
    d = z.shape[1]
    return -z.square().sum(1).mean() / (2 * T**2) - d * torch.log(T) - d * math.log(2 * math.pi) / 2 + log_det.mean()


def _temperature(change):
    """Another temperature, and the mean log-density there."""

    def found(z, log_det):
        T = change(z)
        return T, _at(T, z, log_det)

    return found


def _nats(change):
    """The right temperature with another value, made of the mean of log p(z) there, of log_det and of T."""

    def found(z, log_det):
        T = z.square().mean().sqrt()
        return T, change(_at(T, z, 0 * log_det), log_det, T, z)

    return found


def _draw(g):
    n, d = int(torch.randint(2, 7, (), generator=g)), int(torch.randint(1, 6, (), generator=g))
    spread = 0.3 + 2 * float(torch.rand((), generator=g))
    z = spread * torch.randn(n, d, generator=g).double() + 0.5
    z[0] *= 3
    return z, 5 * torch.randn(n, generator=g).double() + 3


EXERCISE = Exercise(
    number="16.9",
    title="A temperature that fits (open-ended)",
    difficulty=3,
    minutes=45,
    task=r"""
Samples at temperature $T > 0$ are $x = f^{-1}(T z)$ with $z$ from $\mathcal N(0, I)$ and $f$ the flow from data to
noise. They are draws from a model of their own, the same flow with the base density $\mathcal N(0, T^2 I)$, and so have
a density $p_T$. You are given $f(x)$ for $n$ rows of data, $(n, d)$, and the log-determinants of $x \mapsto f(x)$,
$(n,)$. Return the pair of the temperature at which the mean of $\log p_T(x)$ over these rows is highest, and of that
mean, in nats a row. Two numbers, exactly: nothing need be searched. $n$ and $d$ may be 1; not all $z$ are 0. Leave the
arguments as they are.

Then the open part. Train a small flow on 500 digits and another on 3,000, and compute the best temperature of each on
its training digits and on digits held out. Draw samples at $T$ = 0.5, 0.7, 0.85 and 1, and at the best temperature of
the held-out digits; judge them by a Fréchet distance and by their diversity as well. Write down beforehand which
temperature will win by which measure.""",
    inputs=_draw,
    solution=best_temperature,
    explanation=r"""
$\log p_T(x) = \log \det - \lVert z \rVert^2/2T^2 - d \log T - \tfrac d2 \log 2\pi$: the flow and its log-determinant stay,
and only the base changes. It is the likelihood of a normal law with mean 0 and one unknown scale, so the best $T^2$ is
the mean of all $z_{ij}^2$, about 0. There the quadratic term is $d/2$ for every data set. The gain over $T = 1$ is
$\tfrac d2 (T^2 - 1 - \log T^2)$, never below 0.""",
    hints=(
        "With u = T z the base density is N(u; 0, T² I). What is the log-density of one row of data?",
        "Differentiate −‖z‖²/2T² − d log T by T. The log-determinant does not depend on T.",
        "`T = z.square().mean().sqrt()`; the mean is −d/2 (log 2πT² + 1) + `log_det.mean()`.",
    ),
    wrong=(
        Wrong(
            "about the mean",
            "The spread of z about its own mean is used. The base density has the mean 0, and so has p_T.",
            _temperature(lambda z: z.std(correction=0)),
        ),
        Wrong(
            "std as it comes",
            "This is std() of z: about its mean, and with one entry taken off the count. p_T has its mean at z = 0.",
            _temperature(lambda z: z.std()),
        ),
        Wrong(
            "the square of the temperature",
            "This is T². T multiplies z, so it is a standard deviation: take the root.",
            _temperature(lambda z: z.square().mean()),
        ),
        Wrong(
            "the temperature inverted",
            "This is 1/T. It is by T that samples' z are multiplied; data's z are divided by it.",
            _temperature(lambda z: z.square().mean().rsqrt()),
        ),
        Wrong(
            "the mean of the lengths",
            "The lengths of the rows are averaged. The best T² is a mean of squares.",
            _temperature(lambda z: z.norm(dim=1).mean() / math.sqrt(z.shape[1])),
        ),
        Wrong(
            "not divided by d",
            "The squared lengths are not divided by d: each of the d entries has the scale T.",
            _temperature(lambda z: z.square().sum(1).mean().sqrt()),
        ),
        Wrong(
            "the mean of the absolute values",
            "The mean of |z| is the best scale for a Laplace base density. Here it is normal.",
            _temperature(lambda z: z.abs().mean()),
        ),
        Wrong(
            "the value at T = 1",
            "The temperature is right. The mean is that of the model as it is, at T = 1.",
            lambda z, log_det: (z.square().mean().sqrt(), _at(torch.ones(()).to(z), z, log_det)),
        ),
        Wrong(
            "no d log T",
            "z/T is put into the standard density, and its volume forgotten: −d log T is missing from the mean.",
            _nats(lambda base, log_det, T, z: base + log_det.mean() + z.shape[1] * T.log()),
        ),
        Wrong(
            "log T once",
            "log T is subtracted once. Each of the d dimensions is scaled by T.",
            _nats(lambda base, log_det, T, z: base + log_det.mean() + (z.shape[1] - 1) * T.log()),
        ),
        Wrong(
            "the sign of the log-determinant",
            "The log-determinant has the wrong sign. It is that of x ↦ z, which is added to the base's log-density.",
            _nats(lambda base, log_det, T, z: base - log_det.mean()),
        ),
        Wrong(
            "no log-determinant",
            "This is the mean log-density of the z. The log-determinant of the flow is missing.",
            _nats(lambda base, log_det, T, z: base),
        ),
        Wrong(
            "summed over rows",
            "The second number is a sum over rows. Asked is their mean.",
            _nats(lambda base, log_det, T, z: len(z) * base + log_det.sum()),
        ),
        Wrong(
            "the whole density to a power",
            "log p is divided by T². That would change the log-determinant, too; a scaled z changes the base density only.",
            lambda z, log_det: (
                z.square().mean().sqrt(),
                _at(torch.ones(()).to(z), z, log_det) / z.square().mean(),
            ),
        ),
    ),
    right=(_by_densities, _by_numpy, _by_search, _by_loops),
    probes={
        "one number": lambda f: f(torch.tensor([[2.0]]).double(), torch.tensor([1.0]).double()),
        "a flow that fits: the mean square is 1": lambda f: f(
            torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).double(), torch.tensor([0.5, -2.0]).double()
        ),
        "rows of very different length": lambda f: f(
            torch.tensor([[0.1, 0.0, 0.0], [4.0, 8.0, -1.0]]).double(), torch.tensor([-3.0, 7.0]).double()
        ),
        "rows on one side of 0": lambda f: f(torch.tensor([[2.0, 3.0]]).double(), torch.zeros(1).double()),
        "rows close to 0": lambda f: f(0.01 * torch.ones(3, 2).double(), torch.ones(3).double()),
    },
    discussion=r"""
**For the open part.** On its training digits a flow with a free scale that was trained to the end has the best
temperature 1: maximum likelihood has chosen that scale already. So the number to look at is the one on held-out digits.
Above 1 it says that new images land further out than training images do, a sign of overfitting; a wider base repairs a
part of the loss, for one number more, chosen on validation data and not on the test digits. Look at single rows before
you believe it. In a trial with six couplings on digits of 14 × 14 (three seeds with 500 digits, two with 3,000) it was
within 0.02 of 1 on the training digits, and on 1,000 held-out digits between 7 and 9 with 500 and between 1.3 and 1.9
with 3,000. But the median row had a root mean square of 1.3 to 1.4 with 500, and one row of more than 100: a mean of
squares belongs to a few rows far out.

Sampling often goes the other way. Low temperatures keep samples near $z = 0$: they may look cleaner, at the price of
diversity, and a distance that sees both may be best somewhere between. A temperature that wins there is not thereby a
better model of the data: $p_T$ may have a far lower likelihood. Report $T$ with every picture, draw the same number of
samples for each, use several seeds, and put a picture at $T = 1$ beside the best one.""",
)
