"""Exercise 12.7: A direction for an attribute."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch

from genlab.exercises import Exercise, Wrong, mistake


def attribute_direction(z, a):
    """Unit vector along the least-squares slope of a on z, with an intercept: (n, d), (n,) -> (d,)."""
    centred = z - z.mean(0)
    w = torch.linalg.lstsq(centred, (a - a.mean())[:, None]).solution[:, 0]
    return w / w.norm()


def _direction_with_ones(z, a):
    design = torch.cat([z, torch.ones_like(z[:, :1])], 1)
    w = torch.linalg.solve(design.T @ design, design.T @ a)[:-1]
    return w / torch.sqrt((w**2).sum())


@mistake(
    "no intercept",
    "There is no intercept: the constant part of a is pressed into the slope. Centre z and a, or add ones.",
)
def _no_intercept(z, a):
    w = torch.linalg.lstsq(z, a[:, None]).solution[:, 0]
    return w / w.norm()


@mistake(
    "covariances for slopes",
    (
        "These are the covariances of each coordinate with a. For correlated coordinates the slope needs the inverse of "
        "their covariance: least squares."
    ),
)
def _covariance_only(z, a):
    w = (z - z.mean(0)).T @ (a - a.mean())
    return w / w.norm()


@mistake(
    "between two extremes",
    "This is the difference of two single latents, mostly chance. Use all of them.",
)
def _extremes(z, a):
    w = z[a.argmax()] - z[a.argmin()]
    return w / w.norm()


def _raw_slope(z, a):
    return torch.linalg.lstsq(z - z.mean(0), (a - a.mean())[:, None]).solution[:, 0]


def _attribute_inputs(g):
    z = torch.randn(40, 3, generator=g) @ torch.tensor([[1.0, 0.6, 0.0], [0.0, 1.0, 0.4], [0.0, 0.0, 1.0]]) + 0.5
    return z, 4 + z @ torch.randn(3, generator=g) + 0.3 * torch.randn(40, generator=g)


EXERCISE = Exercise(
    number="12.7",
    title="A direction for an attribute",
    difficulty=2,
    minutes=12,
    task=r"""
Fit $a \approx c + \langle w, z \rangle$ by least squares and return $w / \lVert w \rVert$. Adding a constant to `a` or
to all rows of `z` changes nothing; multiplying `a` by a positive number changes nothing either. The rows of `z` need not
be standard normal: their coordinates may be correlated, as they are after truncation by rejection or for inverted
images.""",
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
        _no_intercept,
        _covariance_only,
        _extremes,
        Wrong(
            "not of length one",
            "This is the slope itself. Divide it by its length, so that steps along different directions compare.",
            _raw_slope,
        ),
        Wrong(
            "the wrong sign",
            "The attribute falls along this direction. It should rise.",
            lambda z, a: -attribute_direction(z, a),
        ),
        Wrong(
            "normalised coordinate by coordinate",
            "Each coordinate has been divided by its own size. Divide the vector by its length.",
            lambda z, a: torch.sign(_raw_slope(z, a)),
        ),
    ),
    right=(_direction_with_ones,),
    tolerance=1e-3,
)
