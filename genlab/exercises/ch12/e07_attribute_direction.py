"""Exercise 12.7: A direction for an attribute."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch
from scipy import linalg

from genlab.exercises import Exercise, Wrong, mistake


def attribute_direction(z, a):
    """Unit vector along the least-squares slope of a on z, with an intercept.

    Shapes (n, d), (n,) -> (d,).
    """
    centred = z - z.mean(0)
    w = torch.linalg.lstsq(centred, (a - a.mean())[:, None]).solution[:, 0]
    return w / w.norm()


def _direction_with_ones(z, a):
    design = torch.cat([z, torch.ones_like(z[:, :1])], 1)
    w = torch.linalg.solve(design.T @ design, design.T @ a)[:-1]
    return w / torch.sqrt((w**2).sum())


def _direction_in_numpy(z, a):
    design = np.column_stack([np.ones(len(z)), z.numpy()])
    w = np.linalg.lstsq(design, a.numpy(), rcond=None)[0][1:]
    return w / np.linalg.norm(w)


def _direction_by_covariances(z, a):
    table = np.atleast_2d(np.cov(z.numpy().T, a.numpy()))
    w = linalg.solve(table[:-1, :-1], table[:-1, -1])
    return (w / np.linalg.norm(w)).tolist()


def _unit(w):
    return w / w.norm()


def _slope(z, a):
    return torch.linalg.lstsq(z - z.mean(0), (a - a.mean())[:, None]).solution[:, 0]


@mistake(
    "the intercept in the length",
    "The intercept was divided by as well: leave it out first, then divide the slope by its own length.",
)
def _length_with_intercept(z, a):
    return _unit(torch.linalg.lstsq(torch.cat([z, torch.ones_like(z[:, :1])], 1), a[:, None]).solution[:, 0])[:-1]


def _attribute_inputs(g):
    n, d = ((40, 3), (25, 2), (30, 5), (35, 4))[int(torch.randint(4, (), generator=g))]
    mix = torch.eye(d) * (0.5 + torch.rand(d, generator=g)) + 0.6 * torch.rand(d, d, generator=g)
    z = torch.randn(n, d, generator=g) @ mix + 0.5 + torch.rand(d, generator=g)
    return z, 4 + z @ torch.randn(d, generator=g) + 0.3 * torch.randn(n, generator=g)


_Z, _A = _attribute_inputs(torch.Generator().manual_seed(5))


EXERCISE = Exercise(
    number="12.7",
    title="A direction for an attribute",
    difficulty=2,
    minutes=12,
    task=r"""
Fit $a \approx c + \langle w, z \rangle$ by least squares and return $w / \lVert w \rVert$. Adding a constant to `a` or
to all rows of `z` changes nothing; multiplying `a` by a positive number changes nothing either. The rows of `z` need not
be standard normal: their coordinates may be correlated, as those of inverted images can be. (After truncation they are
not: cut off one by one, independent coordinates stay independent.) There are more rows than unknowns.""",
    inputs=_attribute_inputs,
    solution=attribute_direction,
    explanation=r"""
With an intercept, least squares works on centred variables: $w = \operatorname{Cov}(z)^{-1} \operatorname{Cov}(z, a)$.
Without it, the constant part of $a$ is pressed into $w$. The covariances with $a$ alone are the slope only if the
coordinates of $z$ are uncorrelated with equal variances, as in (12.17); with correlated coordinates they mix what each
coordinate does with what its companions do.""",
    hints=(
        "How does an intercept enter? Either as a column of ones, or by taking the means out of `z` and `a` first.",
        "`torch.linalg.lstsq(design, target)` wants a target of shape `(n, 1)`; its `.solution` has shape `(d, 1)`.",
        "Centre both, solve, take `[:, 0]`, divide by the norm.",
    ),
    wrong=(
        Wrong(
            "no intercept",
            "There is no intercept: the constant part of a is pressed into the slope. Centre z and a, or add ones.",
            lambda z, a: _unit(torch.linalg.lstsq(z, a[:, None]).solution[:, 0]),
        ),
        Wrong(
            "covariances for slopes",
            "These are the covariances of each coordinate with a. For correlated coordinates the slope needs the inverse "
            "of their covariance: least squares.",
            lambda z, a: _unit((z - z.mean(0)).T @ (a - a.mean())),
        ),
        Wrong(
            "one coordinate at a time",
            "These are slopes of a on each coordinate alone. Correlated coordinates take part of each other's effect.",
            lambda z, a: _unit((z - z.mean(0)).T @ (a - a.mean()) / z.var(0)),
        ),
        Wrong(
            "standardised coordinates",
            "The coordinates were divided by their spreads, so this is a slope on other coordinates than those of z.",
            lambda z, a: _unit(_slope(z / z.std(0), a)),
        ),
        _length_with_intercept,
        Wrong(
            "between two extremes",
            "This is the difference of two single latents, mostly chance. Use all of them.",
            lambda z, a: _unit(z[a.argmax()] - z[a.argmin()]),
        ),
        Wrong(
            "not of length one",
            "This is the slope itself. Divide it by its length, so that steps along different directions compare.",
            _slope,
        ),
        Wrong(
            "the wrong sign",
            "The attribute falls along this direction. It should rise.",
            lambda z, a: -attribute_direction(z, a),
        ),
        Wrong(
            "normalised coordinate by coordinate",
            "Each coordinate has been divided by its own size. Divide the vector by its length.",
            lambda z, a: torch.sign(_slope(z, a)),
        ),
    ),
    right=(_direction_with_ones, _direction_in_numpy, _direction_by_covariances),
    probes={
        "five latents that come twice": lambda f: f(torch.cat([_Z, _Z[:5]]), torch.cat([_A, _A[:5]])),
        "a constant added to a, and another to all rows of z": lambda f: f(_Z + 3, _A - 20),
        "a times 0.01": lambda f: f(_Z, 0.01 * _A),
        "one coordinate, along which a falls": lambda f: f(_Z[:, :1], 1 - 2 * _Z[:, 0]),
    },
    tolerance=1e-3,
)
