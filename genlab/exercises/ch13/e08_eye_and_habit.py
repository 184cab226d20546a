"""Exercise 13.8: Eye and habit."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

from statistics import NormalDist

import torch
from scipy import stats

from genlab.exercises import Exercise, Wrong
from genlab.metrics.human import d_prime


def eye_and_habit(hits, fake, alarms, real):
    """(d′, c) of (13.19).

    `hits` of `fake` images, and `alarms` of `real` ones, were called generated.
    """
    h, a = (hits + 0.5) / (fake + 1), (alarms + 0.5) / (real + 1)
    z_h, z_a = stats.norm.ppf(h), stats.norm.ppf(a)
    return z_h - z_a, -(z_h + z_a) / 2


def _by_statistics(hits, fake, alarms, real):
    z = [NormalDist().inv_cdf((2 * yes + 1) / (2 * n + 2)) for yes, n in ((hits, fake), (alarms, real))]
    return z[0] - z[1], -sum(z) / 2


def _by_torch(hits, fake, alarms, real):
    shares = torch.tensor([hits + 0.5, alarms + 0.5], dtype=torch.double) / torch.tensor([fake + 1, real + 1])
    z = torch.special.ndtri(shares)
    return z[0] - z[1], -z.mean()


def _by_misses(hits, fake, alarms, real):
    # the upper tails: those who were called real
    z_h = stats.norm.isf((hits + 0.5) / (fake + 1))
    z_a = stats.norm.isf((alarms + 0.5) / (real + 1))
    return z_a - z_h, (z_a + z_h) / 2


def _by_genlab(hits, fake, alarms, real):
    found = d_prime(hits, fake, alarms, real)
    return found.d, found.criterion


def _pair(h, a):
    z_h, z_a = stats.norm.ppf(h), stats.norm.ppf(a)
    return z_h - z_a, -(z_h + z_a) / 2


def _refusing(h, a):
    z_h, z_a = NormalDist().inv_cdf(h), NormalDist().inv_cdf(a)  # an error at 0 and at 1
    return z_h - z_a, -(z_h + z_a) / 2


def _answers(g):
    fake, real = (int(torch.randint(1, 60, (), generator=g)) for _ in range(2))
    hits, alarms = (int(torch.randint(0, n + 1, (), generator=g)) for n in (fake, real))
    return hits, fake, alarms, real


EXERCISE = Exercise(
    number="13.8",
    title="Eye and habit",
    difficulty=2,
    minutes=10,
    task=r"""
A reader called `hits` of `fake` generated images "generated", and `alarms` of `real` real ones as well. Return the pair
$d'$ and $c$ of (13.19), with the correction that adds one half to each count of "generated" and 1 to each number of images.
The numbers of images may differ. Somebody who calls everything "real" has $d' = 0$ if the numbers are equal, and a positive
$c$. Perfect answers give a finite $d'$.""",
    inputs=_answers,
    solution=eye_and_habit,
    explanation=r"""
Both shares go through the inverse of the normal distribution function. Their difference is how far apart the two kinds look,
whatever the habit; minus their mean is the habit, whatever the eye. The correction keeps the shares away from 0 and 1,
where the inverse is infinite.""",
    hints=(
        "Correct the two shares first: (count + ½) / (images + 1).",
        "`stats.norm.ppf` is the inverse of the normal distribution function, often written Φ⁻¹.",
        "d′ is the difference of the two inverses, c minus half of their sum.",
    ),
    wrong=(
        Wrong(
            "without the correction in the denominator",
            "One half is added to the counts, but nothing to the numbers of images: shares above 1 have no inverse.",
            lambda hits, fake, alarms, real: _pair((hits + 0.5) / fake, (alarms + 0.5) / real),
        ),
        Wrong(
            "without a correction",
            "The shares are as they came. Add one half to each count and 1 to each number, always, not only at 0 or n.",
            lambda hits, fake, alarms, real: _pair(hits / fake, alarms / real),
        ),
        Wrong(
            "without a correction, by an inverse that refuses 0 and 1",
            "The shares are as they came, and shares of 0 and 1 have no inverse. Add one half to each count and 1 to each number.",
            lambda hits, fake, alarms, real: _refusing(hits / fake, alarms / real),
        ),
        Wrong(
            "corrected at the ends",
            "Only shares of 0 and 1 are corrected. Add one half to each count and 1 to each number, whatever they are.",
            lambda hits, fake, alarms, real: _pair(
                *((yes + 0.5) / (n + 1) if yes in (0, n) else yes / n for yes, n in ((hits, fake), (alarms, real)))
            ),
        ),
        Wrong(
            "half an image at the ends",
            "Shares of 0 and 1 are moved by half an image, and others are left. Here all counts and numbers are corrected.",
            lambda hits, fake, alarms, real: _pair(
                *(min(max(yes, 0.5), n - 0.5) / n for yes, n in ((hits, fake), (alarms, real)))
            ),
        ),
        Wrong(
            "the difference of the shares",
            "The first number is the difference of the shares. (13.19) takes that of their inverses.",
            lambda hits, fake, alarms, real: (
                (hits + 0.5) / (fake + 1) - (alarms + 0.5) / (real + 1),
                eye_and_habit(hits, fake, alarms, real)[1],
            ),
        ),
        Wrong(
            "the sign of the criterion",
            "The criterion has the other sign: who leans towards 'real' needs much to say 'generated', so a positive c.",
            lambda hits, fake, alarms, real: (
                eye_and_habit(hits, fake, alarms, real)[0],
                -eye_and_habit(hits, fake, alarms, real)[1],
            ),
        ),
        Wrong(
            "the criterion without its half",
            "The criterion is half of the sum, the middle between the two.",
            lambda hits, fake, alarms, real: (
                eye_and_habit(hits, fake, alarms, real)[0],
                2 * eye_and_habit(hits, fake, alarms, real)[1],
            ),
        ),
        Wrong(
            "alarms for right answers",
            "`alarms` are taken as right answers here. They are real images that were called generated: errors.",
            lambda hits, fake, alarms, real: _pair((hits + 0.5) / (fake + 1), 1 - (alarms + 0.5) / (real + 1)),
        ),
        Wrong(
            "the correction of a share",
            "One is added to the counts and 2 to the numbers: another correction, which draws more towards one half.",
            lambda hits, fake, alarms, real: _pair((hits + 1) / (fake + 2), (alarms + 1) / (real + 2)),
        ),
        Wrong(
            "divided by the root of two",
            "d′ is divided by √2. That belongs to tasks in which one of two images is chosen.",
            lambda hits, fake, alarms, real: (
                eye_and_habit(hits, fake, alarms, real)[0] / 2**0.5,
                eye_and_habit(hits, fake, alarms, real)[1],
            ),
        ),
    ),
    right=(_by_statistics, _by_torch, _by_misses, _by_genlab),
    probes={
        "an observer who is always right": lambda f: f(20, 20, 0, 20),
        "an observer who calls all images real": lambda f: f(0, 30, 0, 30),
        "an observer who is right on two of three": lambda f: f(40, 60, 20, 60),
    },
)
