"""Exercise 17.4: The line no network may cross."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def loss_floor(cov, alpha, sigma):
    """The smallest E ‖eps − guess‖² at each level, for data with covariance cov.

    Covariance (d, d), path at k levels (k,), (k,) -> (k,).
    """
    lam = torch.linalg.eigvalsh(cov)
    signal = alpha[:, None] ** 2 * lam
    return (signal / (signal + sigma[:, None] ** 2)).sum(1)


def _by_inverses(cov, alpha, sigma):
    eye = torch.eye(len(cov)).to(cov)
    total = alpha[:, None, None] ** 2 * cov + sigma[:, None, None] ** 2 * eye
    rest = eye - sigma[:, None, None] ** 2 * torch.linalg.inv(total)  # covariance of eps, given x_t
    return rest.diagonal(dim1=1, dim2=2).sum(1)


def _by_solving(cov, alpha, sigma):
    found = []
    for a, b in zip(alpha.numpy(), sigma.numpy(), strict=True):
        noised = a**2 * cov.numpy() + b**2 * np.eye(len(cov))
        found.append(np.trace(np.linalg.solve(noised, a**2 * cov.numpy())))
    return np.array(found)


def _by_regression(cov, alpha, sigma):
    # the residual of a regression of eps on x_t, one coordinate of eps at a time
    found = []
    for a, b in zip(alpha, sigma, strict=True):
        total, rest = a**2 * cov + b**2 * torch.eye(len(cov)).to(cov), 0.0
        for i in range(len(cov)):
            cross = torch.zeros(len(cov)).to(cov)
            cross[i] = b
            rest += 1 - float(cross @ torch.linalg.solve(total, cross))
        found.append(rest)
    return found


def _by_the_data(cov, alpha, sigma):
    # an error in x is one in eps, times alpha / sigma
    found = []
    for a, b in zip(alpha.tolist(), sigma.tolist(), strict=True):
        values = np.linalg.svd(cov.numpy(), compute_uv=False)
        found.append(sum(value * b**2 / (a**2 * value + b**2) * (a / b) ** 2 for value in values))
    return found


def _of(term, values=torch.linalg.eigvalsh):
    """Another sum over eigenvalues, or over other numbers."""
    return lambda cov, alpha, sigma: term(values(cov), alpha[:, None], sigma[:, None]).sum(1)


def _floor(lam, a, b):
    return a**2 * lam / (a**2 * lam + b**2)


def _levels(g):
    k, d = (int(torch.randint(1, high, (), generator=g)) for high in (5, 7))
    root = torch.randn(d, int(torch.randint(1, d + 1, (), generator=g)), generator=g).double()
    root[0] *= 3
    alpha, sigma = (0.1 + 1.4 * torch.rand(k, generator=g).double() for _ in range(2))
    return root @ root.T, alpha, sigma


TWINS = torch.tensor([[1.0, 0.75], [0.75, 1.0]]).double()
ANGLES = torch.tensor([0.25, 0.75, 1.25]).double()


def _schedule(f):
    """The mean over Ho's thousand steps, for data of standard deviation 0.5."""
    square = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000).double(), 0)
    return f(torch.tensor([[0.25]]).double(), square.sqrt(), (1 - square).sqrt()).mean()


EXERCISE = Exercise(
    number="17.4",
    title="The line no network may cross",
    difficulty=2,
    minutes=15,
    task=r"""
A network sees $x_t = \alpha x + \sigma\varepsilon$ and the level, and guesses $\varepsilon$. The data are normal with
covariance $\Sigma$, which may be singular. Whatever the network, $\mathbb E \lVert \varepsilon - \hat\varepsilon \rVert^2$
is at least the trace of the covariance of $\varepsilon$ *given* $x_t$. Return this floor, as a sum over coordinates, for
each of the $k$ levels of `alpha` and `sigma`: shape `(k,)`. $\alpha \ge 0$, $\sigma > 0$, and their squares need not add up
to 1. Without data in $x_t$, at $\alpha = 0$, the noise can be read off: the floor is 0. Where, then, is a network's loss
the largest?""",
    inputs=_levels,
    solution=loss_floor,
    explanation=r"""
$\varepsilon$ and $x_t$ are jointly normal with covariance $\sigma I$, and $x_t$ has covariance
$V = \alpha^2\Sigma + \sigma^2 I$. Conditioning leaves $I - \sigma^2 V^{-1}$. Along each eigenvector of $\Sigma$, where the
data have variance $c$, this is $\frac{\alpha^2 c}{\alpha^2 c + \sigma^2}$, the share of signal in what is seen. The floor rises towards the data, up to 1 for each direction in which data vary,
and it is all that a good network's loss shows there. Directions in which they do not vary cost nothing: there the
noise lies open.""",
    hints=(
        "In one dimension: what is the variance of ε when x_t is known? Both are normal.",
        "It is 1 − σ²/V with V = α²c + σ², for data of variance c. In d dimensions turn the axes so that the covariance is diagonal.",
        "`lam = torch.linalg.eigvalsh(cov)`, and the sum over them of α² lam/(α² lam + σ²), with the levels as rows.",
    ),
    wrong=(
        Wrong(
            "the diagonal alone",
            "Only the variances on the diagonal are used. Coordinates that go together tell about each other's noise.",
            _of(_floor, lambda cov: cov.diagonal()),
        ),
        Wrong(
            "one variance for all",
            "All directions get the mean variance. The share of signal is a curved function: take it for each eigenvalue.",
            _of(_floor, lambda cov: cov.diagonal().mean().expand(len(cov))),
        ),
        Wrong(
            "what is explained",
            "This is the part of the noise's variance that can be known, σ²/V. The floor is the rest.",
            _of(lambda lam, a, b: b**2 / (a**2 * lam + b**2)),
        ),
        Wrong(
            "the floor of the data",
            "This is the floor for a guess of x. An error in x is one in ε of α/σ times its size.",
            _of(lambda lam, a, b: lam * b**2 / (a**2 * lam + b**2)),
        ),
        Wrong(
            "the mean over coordinates",
            "This is a mean over coordinates. Asked is the sum.",
            lambda cov, alpha, sigma: loss_floor(cov, alpha, sigma) / len(cov),
        ),
        Wrong(
            "eigenvalues as standard deviations",
            "The eigenvalues are squared. Those of a covariance are variances already.",
            _of(lambda lam, a, b: _floor(lam**2, a, b)),
        ),
        Wrong(
            "factors not squared",
            "alpha and sigma are not squared. They are factors of data and noise; variances have their squares.",
            _of(lambda lam, a, b: a * lam / (a * lam + b)),
        ),
        Wrong(
            "a circle taken for granted",
            "The variance 1 − α² is used for the noise. sigma is given, and the squares need not add up to 1.",
            _of(lambda lam, a, b: a**2 * lam / (a**2 * lam + 1 - a**2)),
        ),
        Wrong(
            "alpha and sigma exchanged",
            "alpha and sigma are exchanged: without data in x_t the floor must be 0.",
            lambda cov, alpha, sigma: loss_floor(cov, sigma, alpha),
        ),
        Wrong(
            "the signal's variance",
            "This is the variance of the signal, not divided by all that is seen. The floor is at most d.",
            _of(lambda lam, a, b: a**2 * lam),
        ),
        Wrong(
            "the ratio of signal and noise",
            "This is the sum of the signal-to-noise ratios. The share of signal has the signal below the line as well.",
            _of(lambda lam, a, b: a**2 * lam / b**2),
        ),
        Wrong(
            "a guess of 0",
            "This is the loss of a network that says 0: the number of coordinates. x_t tells more.",
            lambda cov, alpha, sigma: torch.full_like(alpha, len(cov)),
        ),
    ),
    right=(_by_inverses, _by_solving, _by_regression, _by_the_data),
    probes={
        "pure noise": lambda f: f(TWINS, torch.zeros(1).double(), torch.ones(1).double()),
        "hardly any noise": lambda f: f(TWINS, torch.ones(1).double(), torch.tensor([2.0**-10]).double()),
        "hardly any noise, data on a line": lambda f: f(
            torch.ones(2, 2).double(), torch.ones(1).double(), torch.tensor([2.0**-10]).double()
        ),
        "two coordinates that go together, at levels whose squares add up to 1": lambda f: f(
            TWINS, ANGLES.cos(), ANGLES.sin()
        ),
        "a point instead of data": lambda f: f(0 * TWINS, ANGLES.cos(), ANGLES.sin()),
        "data with a very large variance": lambda f: f(900 * TWINS, ANGLES, 10 * ANGLES),
        "the mean over a thousand steps of Ho's schedule": _schedule,
    },
    discussion=r"""
**For your own work.** Train your network on normal data once, and draw its loss over $t$ beside this line. Above it, and
near: the code is right. Below it, by more than the loss's standard error: it is wrong, and no better network will help.
The usual causes are that the network sees $x$ or $\varepsilon$ itself, that noise is drawn once and not anew, or
that training and loss use two schedules. A loss says little by itself: averaged over Ho's schedule the floor is 0.28 for
standard deviation 1 and 0.17 for 0.5, so a smaller loss may just be narrower data.""",
)
