"""Exercise 15.9: A network against counting (open-ended)."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def lead(a, b, characters):
    """How many bits per character a costs more than b, and the standard error.

    Nats of each held-out name under two models (n,), characters (n,) -> two numbers.
    """
    bits = (a - b) / math.log(2)
    ratio = bits.sum() / characters.sum()
    rest = bits - ratio * characters
    return ratio, rest.std() * math.sqrt(len(a)) / characters.sum()


def _by_loops(a, b, characters):
    gaps = [(float(u) - float(v)) / math.log(2) for u, v in zip(a, b, strict=True)]
    ratio = math.fsum(gaps) / float(sum(characters))
    squares = [(gap - ratio * float(m)) ** 2 for gap, m in zip(gaps, characters, strict=True)]
    n = len(gaps)
    return ratio, math.sqrt(n / (n - 1) * math.fsum(squares)) / float(sum(characters))


def _by_numpy(a, b, characters):
    a, b, c = (np.asarray(t, dtype=float) for t in (a, b, characters))
    gaps = np.log2(np.e) * (a - b)
    ratio = gaps.mean() / c.mean()
    return np.array([ratio, np.std(gaps - ratio * c, ddof=1) / np.sqrt(len(a)) / c.mean()])


def _by_gradient(a, b, characters):
    # by how much the ratio moves when a name counts a little more
    weights = torch.ones(len(a)).double().requires_grad_()
    ratio = (weights * (a - b)).sum() / (weights * characters).sum() / math.log(2)
    (moves,) = torch.autograd.grad(ratio, weights)
    return ratio.detach(), (len(a) / (len(a) - 1) * moves.square().sum()).sqrt()


def _by_covariances(a, b, characters):
    n, bits, c = len(a), (a - b) / math.log(2), characters.double()
    ratio = bits.mean() / c.mean()
    spread = torch.cov(torch.stack([bits, c]))
    inside = spread[0, 0] - 2 * ratio * spread[0, 1] + ratio**2 * spread[1, 1]
    return ratio, (inside.clamp(min=0) / n).sqrt() / c.mean()


def _share(a, characters):
    """Bits per character of one model, and the standard error."""
    return lead(a, torch.zeros_like(a), characters)


def _apart(a, b, characters):
    errors = [_share(nats, characters)[1] for nats in (a, b)]
    return lead(a, b, characters)[0], math.hypot(*map(float, errors))


def _mean_of_ratios(a, b, characters):
    each = (a - b) / math.log(2) / characters
    return each.mean(), each.std() / math.sqrt(len(a))


def _fixed_lengths(a, b, characters):
    bits = (a - b) / math.log(2)
    return lead(a, b, characters)[0], bits.std() * math.sqrt(len(a)) / characters.sum()


def _error_of_ratios(a, b, characters):
    return lead(a, b, characters)[0], _mean_of_ratios(a, b, characters)[1]


def _characters_apart(a, b, characters):
    """As if every character were drawn by itself."""
    ratio, error = lead(a, b, characters)
    return ratio, error * math.sqrt(len(a) / float(characters.sum()))


def _names(g):
    n = int(torch.randint(3, 12, (), generator=g))
    characters = torch.randint(1, 20, (n,), generator=g)
    characters[0] = 40
    hard = torch.rand(n, generator=g).double() + 0.5
    a, b = (hard * characters * (1 + shift) for shift in torch.rand(2, n, generator=g).double())
    return a, b, characters


THREE = torch.tensor([5.0, 9.0, 4.0]).double(), torch.tensor([4.0, 10.0, 2.0]).double(), torch.tensor([3, 8, 2])

EXERCISE = Exercise(
    number="15.9",
    title="A network against counting (open-ended)",
    difficulty=3,
    minutes=45,
    task=r"""
Two models were judged on the same $n \ge 2$ held-out names: `a` and `b` hold the nats that each name costs under one and
under the other, $-\log p \ge 0$, `characters` the names' lengths, from 1 on. Return a pair. First the difference in bits per
character, $R = \sum_i d_i / \sum_i m_i$, where $d_i$ is the difference of name $i$ ($a$ less $b$) in *bits* and
$m_i$ its characters. Second its standard error with *names* as what was drawn, lengths and all: with
$e_i = d_i - R\, m_i$,

$$\sqrt{\tfrac{n}{n-1} \textstyle\sum_i e_i^2} \Big/ \sum_i m_i .$$

Then the open part. Choose a text of your own: names, words, lines of code, tunes. Write down beforehand which context
of an $n$-gram will be best, and whether a network of this chapter beats it after one minute of training. Split the text
by kinds, not by lines, train both on the same part, choose the context and the network's settings on a validation part, and report $R$ with
its error on the test part, and what you would need to change for the other side to win.""",
    inputs=_names,
    solution=lead,
    explanation=r"""
Bits per character is a ratio of two sums, and both depend on which names were drawn. To first order $R$ moves with name
$i$ by $e_i / \sum_i m_i$; the $e_i$ add up to 0, so their standard deviation is all that is needed. Taking differences
name by name removes what makes a name hard for both models, and that is usually most of the spread. The mean of every
name's own ratio is another number: in it a name of two letters weighs as much as one of forty.""",
    hints=(
        "Work with one difference for each name, in bits. What is divided by what, and when?",
        "e = d − R m has the mean 0. The error is the root of n/(n − 1) Σ e², over the sum of the characters.",
        "`rest.std() * math.sqrt(n) / characters.sum()`: torch's std divides by n − 1 already.",
    ),
    wrong=(
        Wrong(
            "errors of two unrelated samples",
            "The errors of the two models are added as if each had names of its own. They share them: take differences first.",
            _apart,
        ),
        Wrong(
            "the mean of ratios",
            "Each name's own bits per character are averaged, so short names weigh as much as long ones. Divide sums.",
            _mean_of_ratios,
        ),
        Wrong(
            "lengths taken as known",
            "The error treats the lengths as fixed. Other names would have other lengths: use e = d − R m.",
            _fixed_lengths,
        ),
        Wrong(
            "the error of the mean of ratios",
            "The error belongs to the mean of every name's own ratio. Asked is that of the ratio of sums.",
            _error_of_ratios,
        ),
        Wrong(
            "characters as what was drawn",
            "The error counts characters as independent draws. Names were drawn: characters of one name stand and fall together.",
            _characters_apart,
        ),
        Wrong(
            "nats",
            "These are nats per character: a bit is log 2 nats.",
            lambda a, b, characters: tuple(v * math.log(2) for v in lead(a, b, characters)),
        ),
        Wrong(
            "the sign",
            "The sign is reversed: `a` less `b`, so a positive number says that `a` costs more.",
            lambda a, b, characters: (-lead(a, b, characters)[0], lead(a, b, characters)[1]),
        ),
        Wrong(
            "n in place of n − 1",
            "The squares are averaged over n. With the mean taken from the same names it is n − 1.",
            lambda a, b, characters: (
                lead(a, b, characters)[0],
                lead(a, b, characters)[1] * math.sqrt(1 - 1 / len(a)),
            ),
        ),
        Wrong(
            "a half-width of 95 %",
            "The second number is 1.96 standard errors. Asked is one.",
            lambda a, b, characters: (lead(a, b, characters)[0], 1.96 * lead(a, b, characters)[1]),
        ),
        Wrong(
            "the spread over names",
            "The second number does not fall with the number of names: it is their spread, not the error of the ratio.",
            lambda a, b, characters: (
                lead(a, b, characters)[0],
                lead(a, b, characters)[1] * math.sqrt(len(a)),
            ),
        ),
        Wrong(
            "the error of a name",
            "The error belongs to the mean difference of a name. The ratio is one of characters: use e, and divide by Σ m.",
            lambda a, b, characters: (
                lead(a, b, characters)[0],
                (a - b).std() / math.log(2) / math.sqrt(len(a)),
            ),
        ),
        Wrong(
            "bits per name",
            "This is the mean difference of a name, with its error. Divide by characters, not by names.",
            lambda a, b, characters: (
                ((a - b) / math.log(2)).mean(),
                ((a - b) / math.log(2)).std() / math.sqrt(len(a)),
            ),
        ),
    ),
    right=(_by_loops, _by_numpy, _by_gradient, _by_covariances),
    probes={
        "three names": lambda f: f(*THREE),
        "two names": lambda f: f(THREE[0][:2], THREE[1][:2], THREE[2][:2]),
        "a lead that is the same in every character": lambda f: f(
            THREE[2].double() * 2, THREE[2].double() * 1.5, THREE[2]
        ),
        "names of equal length": lambda f: f(THREE[0], THREE[1], torch.tensor([4, 4, 4])),
        "the same three names, each a hundred times": lambda f: f(*(t.repeat(100) for t in THREE)),
        "one model against itself": lambda f: f(THREE[0], THREE[0], THREE[2]),
    },
    discussion=r"""
**For the open part.** Say whether the end of a name is a token that costs nats, and whether it is counted as a character:
either is right, one for both models is a must. Near-copies across the split ("letter a", "letter a with acute") flatter
whoever remembers best: give the number for names of a kind that training never saw as well. One trained network is one draw of a seed, which this error does not contain: train three. And report time
and parameters: counting took seconds. If a network loses, look at its training curve first; a loss that still falls
is a budget, not a verdict.""",
)
