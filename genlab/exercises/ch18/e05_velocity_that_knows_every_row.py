"""Exercise 18.5: The velocity that knows every row."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch
from scipy import special

from genlab.exercises import Exercise, Wrong


def known_velocity(x_t, t, data):
    """The exact velocity for a finite data set, and what it leaves open.

    Points (n, d), times (n,) > 0, rows of data (k, d) -> (n, d), (n,).
    """
    t = t[:, None]
    eps = (x_t[:, None] - (1 - t[:, None]) * data) / t[:, None]  # (n, k, d)
    weight = torch.softmax(-eps.square().sum(2) / 2, 1)  # of each row, given x_t
    each = eps - data
    u = (weight[:, :, None] * each).sum(1)
    left = (weight * (each - u[:, None]).square().sum(2)).sum(1)
    return u, left


def _by_loops(x_t, t, data):
    us, left = [], []
    for point, time in zip(x_t, t, strict=True):
        logs = torch.stack([-((point - (1 - time) * row) ** 2).sum() / (2 * time**2) for row in data])
        each = torch.stack([(point - row) / time for row in data])
        weights = (logs - logs.logsumexp(0)).exp()
        us.append(sum(w * u for w, u in zip(weights, each, strict=True)))
        left.append(sum(w * ((u - us[-1]) ** 2).sum() for w, u in zip(weights, each, strict=True)))
    return torch.stack(us), torch.stack(left)


def _by_numpy(x_t, t, data):
    points, times, rows = x_t.numpy(), t.numpy(), data.numpy()
    gaps = points[:, None] - (1 - times)[:, None, None] * rows
    weights = special.softmax(-((gaps / times[:, None, None]) ** 2).sum(-1) / 2, axis=-1)
    best = weights @ rows  # the denoiser
    spread = np.einsum("nk,nkd->n", weights, (rows - best[:, None]) ** 2)
    return (points - best) / times[:, None], spread / times**2


def _by_categories(x_t, t, data):
    us, left = [], []
    for point, time in zip(x_t, t, strict=True):
        law = torch.distributions.Normal((1 - time) * data, time)
        which = torch.distributions.Categorical(logits=law.log_prob(point).sum(1))
        each = (point - data) / time
        us.append(which.probs @ each)
        left.append(which.probs @ (each - us[-1]).square().sum(1))
    return torch.stack(us), torch.stack(left)


def _by_distances(x_t, t, data):
    time = t.unsqueeze(1)
    # |x_t − (1 − t) x|² without what is the same for all rows
    logits = ((1 - time) * (x_t @ data.T) - (1 - time) ** 2 * data.square().sum(1) / 2) / time**2
    weights = torch.softmax(logits, -1)
    best = weights @ data
    spread = (weights * torch.cdist(best, data).square()).sum(-1)
    return (x_t - best) / time, spread / t.square()


def _weighted(logits, axis=1):
    """Other weights of the rows."""

    def answer(x_t, t, data):
        t = t[:, None, None]
        weight = torch.softmax(logits(x_t[:, None], t, data), axis)
        return _of(weight, (x_t[:, None] - data) / t)

    return answer


def _of(weight, each):
    u = (weight[:, :, None] * each).sum(1)
    return u, (weight * (each - u[:, None]).square().sum(2)).sum(1)


def _logits(x_t, t, data):
    return -(x_t - (1 - t) * data).square().sum(2) / (2 * t[:, :, 0] ** 2)


def _unsafe(x_t, t, data):
    t = t[:, None, None]
    weight = _logits(x_t[:, None], t, data).exp()
    return _of(weight / weight.sum(1, keepdim=True), (x_t[:, None] - data) / t)


def _guarded(x_t, t, data):
    t = t[:, None, None]
    weight = _logits(x_t[:, None], t, data).exp()
    return _of(weight / (weight.sum(1, keepdim=True) + 1e-12), (x_t[:, None] - data) / t)


def _nearest(x_t, t, data):
    row = data[_logits(x_t[:, None], t[:, None, None], data).argmax(1)]
    return (x_t - row) / t[:, None], torch.zeros_like(t)


def _velocity(change):
    """Another velocity, with what is really left open."""

    def answer(x_t, t, data):
        u, left = known_velocity(x_t, t, data)
        return change(u, x_t, t[:, None], data), left

    return answer


def _left(change):
    """The right velocity, and another second result."""

    def answer(x_t, t, data):
        u, left = known_velocity(x_t, t, data)
        return u, change(u, left, t, x_t.shape[1])

    return answer


def _second_moment(x_t, t, data):
    u, left = known_velocity(x_t, t, data)
    return u, left + u.square().sum(1)


def _points(g):
    n, k, d = (int(torch.randint(1, high, (), generator=g)) for high in (6, 6, 4))
    data = torch.randn(k, d, generator=g).double()
    t = 0.15 + 0.8 * torch.rand(n, generator=g).double()
    x = data[torch.randint(0, k, (n,), generator=g)]
    x_t = (1 - t[:, None]) * x + t[:, None] * torch.randn(n, d, generator=g).double()
    x_t[0] += 5
    return x_t, t, data


POINTS = torch.tensor([[1.0, -2.0], [0.5, 0.0], [-3.0, 0.25]]).double()
ROWS = torch.tensor([[0.0, 0.0], [1.0, 0.5], [-1.0, 2.0]]).double()

EXERCISE = Exercise(
    number="18.5",
    title="The velocity that knows every row",
    difficulty=2,
    minutes=20,
    task=r"""
For a data set of $k$ rows, each as likely, the perfect network can be written down. On the path $x_t = (1-t)\,x +
t\,\varepsilon$ with independent standard normal noise, a row $x_i$ that could have led to $x_t$ did so with the velocity
$\varepsilon_i - x_i$, where $\varepsilon_i$ is the noise that it would have needed. Return the mean of these velocities
under the posterior probabilities of the rows, $u(x_t, t) = \mathbb E[\varepsilon - x \mid x_t]$, at each of the $n$
points at its own time, `(n, d)`; and the posterior's expected $\lVert (\varepsilon - x) - u \rVert^2$ there, summed over
coordinates, `(n,)`. $0 < t \le 1$; $n$, $k$ and $d$ may be 1. A point may lie so far from all rows that its density
underflows to 0; the answer is finite. Where would a sampler with this velocity end?""",
    inputs=_points,
    solution=known_velocity,
    explanation=r"""
Given $x_t$, row $i$ needs the noise $(x_t - (1-t)\,x_i)/t$, so its posterior weight is a softmax of minus half the
squared noise. The conditional velocity is $(x_t - x_i)/t$, and the weighted mean is what the conditional loss has as its
minimum: a square error is lowest at the conditional mean. This mean solves the marginal problem, though each target
knew a single row; and what is left open, averaged over $x_t$, is the floor that no network gets below. A sampler that
follows $u$ ends at rows of the data: the perfect network of a finite set *copies*. New images come from what the
network cannot fit.""",
    hints=(
        "For each pair of a point and a row: which noise would have led there? That noise has a log-density.",
        "The posterior weights are `torch.softmax(-eps.square().sum(2) / 2, 1)`: over the rows of the data, at each point.",
        "u is the weighted sum of ε_i − x_i over the rows; then weigh the squared distances from u.",
    ),
    wrong=(
        Wrong(
            "the softmax over the points",
            "The weights add up to 1 over the points. They are probabilities of the rows, at each point.",
            _weighted(_logits, axis=0),
        ),
        Wrong(
            "rows that do not shrink",
            "The distances are those of x_t from x_i. On the way row i lies at (1 − t) x_i.",
            _weighted(lambda x_t, t, data: -(x_t - data).square().sum(2) / (2 * t[:, :, 0] ** 2)),
        ),
        Wrong(
            "t as a variance",
            "The noise's variance is taken for t. The noise is t ε: its variance is t².",
            _weighted(lambda x_t, t, data: _logits(x_t, t, data) * t[:, :, 0]),
        ),
        Wrong(
            "no width",
            "The distances are not divided by t². Near the data the weights must become sharp.",
            _weighted(lambda x_t, t, data: _logits(x_t, t, data) * t[:, :, 0] ** 2),
        ),
        Wrong(
            "one half forgotten",
            "The exponent of a normal density has a factor of one half.",
            _weighted(lambda x_t, t, data: 2 * _logits(x_t, t, data)),
        ),
        Wrong(
            "distances not squared",
            "The exponent holds the distance as it is. A normal density has its square.",
            _weighted(lambda x_t, t, data: -((-2 * _logits(x_t, t, data)).sqrt()) / 2),
        ),
        Wrong(
            "all rows alike",
            "All rows have the same weight here. x_t says which of them are likely.",
            _weighted(lambda x_t, t, data: 0 * _logits(x_t, t, data)),
        ),
        Wrong(
            "the nearest row alone",
            "Only the likeliest row counts here. All rows count, by their posterior probabilities.",
            _nearest,
        ),
        Wrong(
            "underflow",
            "The densities of a far point are all 0, and 0/0 is no number. Use a softmax of the logarithms.",
            _unsafe,
        ),
        Wrong(
            "a small number in the denominator",
            "A small number keeps the denominator from 0. Far points then get a velocity of 0; a softmax needs no guard.",
            _guarded,
        ),
        Wrong(
            "the sign",
            "The velocity points to the data. As t grows the path leaves them: ε − x.",
            _velocity(lambda u, x_t, t, data: -u),
        ),
        Wrong(
            "the noise",
            "The first result is the expected noise. The velocity is ε − x.",
            _velocity(lambda u, x_t, t, data: x_t + (1 - t) * u),
        ),
        Wrong(
            "the denoiser",
            "The first result is the expected row. The velocity is ε − x.",
            _velocity(lambda u, x_t, t, data: x_t - t * u),
        ),
        Wrong(
            "not divided by t",
            "The first result is x_t less the expected row: the way so far. Divide it by t.",
            _velocity(lambda u, x_t, t, data: t * u),
        ),
        Wrong(
            "a path that starts with noise",
            "Time is turned round: t = 1 is data. Here t = 0 is.",
            lambda x_t, t, data: known_velocity(x_t, 1 - t, data),
        ),
        Wrong(
            "a second moment",
            "The second result is the mean of ‖ε − x‖². Asked is the mean squared distance from u.",
            _second_moment,
        ),
        Wrong(
            "the variance of the data",
            "The second result is the posterior variance of x. The velocity's is that over t².",
            _left(lambda u, left, t, d: left * t**2),
        ),
        Wrong(
            "a mean over coordinates",
            "The second result is averaged over coordinates. It is asked as a sum.",
            _left(lambda u, left, t, d: left / d),
        ),
        Wrong(
            "a root",
            "The second result is a root of the expected square. Asked is the square.",
            _left(lambda u, left, t, d: left.sqrt()),
        ),
        Wrong(
            "in the other order",
            "The pair is turned round: first the velocity.",
            lambda x_t, t, data: known_velocity(x_t, t, data)[::-1],
        ),
    ),
    right=(_by_loops, _by_numpy, _by_categories, _by_distances),
    probes={
        "three points of three rows": lambda f: f(POINTS, torch.tensor([0.3, 0.6, 0.9]).double(), ROWS),
        "pure noise": lambda f: f(POINTS, torch.ones(3).double(), ROWS),
        "a single row": lambda f: f(POINTS[:2], torch.tensor([0.5, 0.1]).double(), ROWS[1:2]),
        "one point and one row of one number": lambda f: f(POINTS[:1, :1], torch.tensor([0.5]).double(), ROWS[1:2, :1]),
        "a point far from all rows": lambda f: f(20 + POINTS[:1], torch.tensor([0.2]).double(), ROWS),
        "a point between two rows, next to the data": lambda f: f(
            torch.tensor([[0.5, 0.2501]]).double(), torch.tensor([0.02]).double(), ROWS
        ),
        "the same row twice": lambda f: f(POINTS, torch.tensor([0.3, 0.6, 0.9]).double(), ROWS[[0, 1, 1]]),
    },
    discussion=r"""
**For your own work.** With 4,000 digits this velocity costs 4,000 distances a step, and it is the best that the training
loss knows. Follow it, and look up the nearest training digit of each end point. A network that is stopped early, or too
small, or made of convolutions, cannot be this function: what it draws beyond the data is its bias. Measure memorisation
as in chapter 14.""",
)
