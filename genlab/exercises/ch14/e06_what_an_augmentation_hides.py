"""Exercise 14.6: What an augmentation hides."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch
from scipy import linalg

from genlab.exercises import Exercise, Wrong


def taken_back(seen, w):
    """The law before random cyclic shifts, and how much an error may grow.

    Law after them (d,), probability of each shift (d,) -> law (d,), a number.
    """
    waves = torch.fft.fft(w)
    law = torch.fft.ifft(torch.fft.fft(seen) / waves).real
    return law, 1 / waves.abs().min()


def _by_matrix(seen, w):
    A = linalg.circulant(w.numpy())  # column j is w, moved by j
    return np.linalg.solve(A, seen.numpy()), 1 / np.linalg.svd(A, compute_uv=False).min()


def _by_rolls(seen, w):
    d = len(w)
    A = torch.stack([torch.roll(w, j) for j in range(d)], 1)
    inverse = torch.linalg.inv(A)
    return inverse @ seen, torch.linalg.matrix_norm(inverse, 2)


def _by_loops(seen, w):
    d = len(w)
    turn = [[np.exp(-2j * np.pi * i * k / d) for k in range(d)] for i in range(d)]
    a, b = ([sum(c * float(v) for c, v in zip(row, x, strict=True)) for row in turn] for x in (seen, w))
    ratio = [u / v for u, v in zip(a, b, strict=True)]
    law = [sum(np.conj(turn[i][k]) * ratio[i] for i in range(d)).real / d for k in range(d)]
    return law, max(1 / abs(v) for v in b)


def _law_by(change):
    """Another law, the right factor."""
    return lambda seen, w: (change(torch.fft.fft(seen), torch.fft.fft(w)), taken_back(seen, w)[1])


def _factor_by(change):
    """The right law, another factor."""
    return lambda seen, w: (taken_back(seen, w)[0], change(torch.fft.fft(w).abs()))


def _clipped(seen, w):
    law, factor = taken_back(seen, w)
    return law.clamp(min=0) / law.clamp(min=0).sum(), factor


def _seen(g):
    d = int(torch.randint(1, 9, (), generator=g))
    law, w = (torch.softmax(1.5 * torch.randn(d, generator=g), 0).double() for _ in range(2))
    w = torch.roll(0.35 * w + 0.65 * torch.eye(d)[0].double(), int(torch.randint(d, (), generator=g)))
    seen = torch.fft.ifft(torch.fft.fft(law) * torch.fft.fft(w)).real
    seen = seen + 0.4 * torch.randn(d, generator=g).double() / d  # measured, with an error
    return seen, w


EXERCISE = Exercise(
    number="14.6",
    title="What an augmentation hides",
    difficulty=3,
    minutes=20,
    task=r"""
A law $q$ over $d$ places on a circle is augmented: each draw is moved $s$ places on, $s = 0, \dots, d - 1$, with
probability $w_s$. What a discriminator sees is $q'_k = \sum_s w_s\, q_{(k-s) \bmod d}$. Take the augmentation back:
return $q$, computed from `seen` $= q'$ and `w`, and beside it the number by which the length of an error in $q'$ may
grow on the way, at most. The discrete Fourier transform turns the sum into a product:
$\hat q'_i = \hat w_i\, \hat q_i$, and it multiplies all lengths by $\sqrt d$. No $\hat w_i$ is 0. `seen` was
measured, with an error: some of its places may be negative, and of $q$ as well, and the sum need not be 1; leave them
so. For which $w$ would this be impossible?""",
    inputs=_seen,
    solution=taken_back,
    explanation=r"""
Division in the Fourier domain inverts the sum, and the smallest $|\hat w_i|$ makes the largest growth. If some
$\hat w_i$ is 0, two laws look alike once augmented, and no number of samples tells them apart: with $d = 2$, a flip
with probability $\tfrac12$. With any other probability $r$ of a flip the factor is $1/|1 - 2r|$: the law can be
known, but errors count ten times at $r = 0.45$. So an augmentation that is skipped often enough leaks nothing in the
limit (Karras et al. 2020), and one that is uniform over all shifts leaves nothing of where things are.""",
    hints=(
        "What does the transform of `seen` have to be divided by?",
        "`torch.fft.fft` of both, divide, and transform back with `ifft`; the result's imaginary part is rounding.",
        "An error's part at i is divided by |ŵ_i|. The worst i is that with the smallest one: `1 / waves.abs().min()`.",
    ),
    wrong=(
        Wrong(
            "augmented once more",
            "The transforms are multiplied: that augments a second time. Divide to take it back.",
            _law_by(lambda seen, w: torch.fft.ifft(seen * w).real),
        ),
        Wrong(
            "shifted back at random",
            "Draws are moved back by random shifts of the same law. That blurs once more, in the other direction.",
            _law_by(lambda seen, w: torch.fft.ifft(seen * w.conj()).real),
        ),
        Wrong(
            "shifts the other way",
            "This takes back shifts in the other direction: ŵ is conjugated.",
            _law_by(lambda seen, w: torch.fft.ifft(seen / w.conj()).real),
        ),
        Wrong(
            "lengths alone",
            "The division is by |ŵ|. The phase says where to; divide by ŵ itself.",
            _law_by(lambda seen, w: torch.fft.ifft(seen / w.abs()).real),
        ),
        Wrong(
            "nothing below zero",
            "Negative places are set to 0, which is not the inverse: the error is hidden, and the mean of many such is biased.",
            _law_by(lambda seen, w: torch.fft.ifft(seen / w).real.clamp(min=0)),
        ),
        Wrong(
            "nothing below zero, and all adds up to 1",
            "Negative places are set to 0, and the rest is divided by its sum. Leave the inverse as it comes.",
            _clipped,
        ),
        Wrong(
            "divided by its sum",
            "The law is divided by its sum. `seen` was measured and need not add up to 1; leave the inverse as it comes.",
            _law_by(lambda seen, w: torch.fft.ifft(seen / w).real / (seen / w)[0].real),
        ),
        Wrong(
            "the smallest growth",
            "The factor is that of the part which grows least. The smallest |ŵ| makes the largest.",
            _factor_by(lambda size: 1 / size.max()),
        ),
        Wrong(
            "the other way up",
            "The factor is the smallest |ŵ|. Errors are divided by it.",
            _factor_by(lambda size: size.min()),
        ),
        Wrong(
            "the mean growth",
            "The factor is a mean over all parts. Asked is the most by which an error may grow.",
            _factor_by(lambda size: (1 / size).mean()),
        ),
        Wrong(
            "the factor of a square",
            "The factor is squared: it is that of the error's square.",
            _factor_by(lambda size: size.min() ** -2),
        ),
    ),
    right=(_by_matrix, _by_rolls, _by_loops),
    probes={
        "a flip in three of ten draws": lambda f: f(
            torch.tensor([0.7 * 0.9 + 0.3 * 0.1, 0.7 * 0.1 + 0.3 * 0.9]).double(), torch.tensor([0.7, 0.3]).double()
        ),
        "a flip in 45 of 100 draws": lambda f: f(
            torch.tensor([0.51, 0.49]).double(), torch.tensor([0.55, 0.45]).double()
        ),
        "a measured law that nothing can have caused": lambda f: f(
            torch.tensor([0.9, 0.2, 0.0]).double(), torch.tensor([0.6, 0.3, 0.1]).double()
        ),
        "a measured law with places below 0 and above 1": lambda f: f(
            torch.tensor([0.3, -0.2, 1.2, 0.3, -0.2]).double(), torch.tensor([0.6, 0.2, 0.1, 0.0, 0.1]).double()
        ),
        "a flip in 499 of 1,000 draws": lambda f: f(
            torch.tensor([0.6, 0.4]).double(), torch.tensor([0.501, 0.499]).double()
        ),
        "a shift that is always made": lambda f: f(
            torch.tensor([0.1, 0.2, 0.3, 0.4]).double(), torch.tensor([0.0, 1.0, 0.0, 0.0]).double()
        ),
        "no augmentation": lambda f: f(torch.tensor([0.5, 0.2, 0.3]).double(), torch.tensor([1.0, 0.0, 0.0]).double()),
    },
    discussion=r"""
**For your own work.** Ask of each augmentation what it makes alike: a mirrored 2 is no 2, and a generator trained on
mirrored ones draws both. If real and generated images are both augmented before the discriminator looks, the clean
law can still be learnt as long as nothing is hidden. For a VAE it is different: there the augmented images *are* the
data, and its samples will show them.""",
)
