"""Exercises of chapter 01, from rules to generation."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch
from scipy import ndimage, stats
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def wilson_interval(k, n, z=1.96):
    """Lower and upper end of Wilson's interval for k successes in n trials."""
    p = k / n
    centre = p + z**2 / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return (centre - half) / (1 + z**2 / n), (centre + half) / (1 + z**2 / n)


def _wilson_by_roots(k, n, z=1.96):
    # (1 + s) p² − (2 k/n + s) p + (k/n)² = 0, s = z²/n
    s, p = z**2 / n, k / n
    low, high = sorted(np.roots([1 + s, -(2 * p + s), p * p]).real)
    return float(low), float(high)


def _wald(k, n, z=1.96):
    p = k / n
    half = z * math.sqrt(p * (1 - p) / n)
    return p - half, p + half


def _wilson_unscaled(k, n, z=1.96):
    low, high = wilson_interval(k, n, z)
    return low * (1 + z**2 / n), high * (1 + z**2 / n)


def _wilson_not_shifted(k, n, z=1.96):
    p = k / n
    half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return p - half, p + half


def _draw_counts(g):
    n = int(torch.randint(5, 60, (), generator=g))
    return int(torch.randint(1, n, (), generator=g)), n, 1.0 + float(torch.rand((), generator=g))


WILSON = Exercise(
    number="01.1",
    title="An interval for an accuracy",
    difficulty=1,
    minutes=5,
    task=r"""
Write both ends of Wilson's interval (1.2) for `k` right answers of `n`, as a tuple `(low, high)` of floats. It must stay
inside $[0, 1]$, and it must not shrink to a point at `k = 0` or `k = n`.""",
    inputs=_draw_counts,
    solution=wilson_interval,
    explanation=r"""
The interval holds every $p$ for which the observed share is within $z$ standard errors, *with the standard error taken at
that $p$*. That is why it is a quadratic, why its centre is pulled towards one half, and why it has a length even when every
answer was right: a recogniser with $p = 0.998$ also gets all of 100 images right most of the time.""",
    hints=(
        "Three numbers make up the result: a centre, a half-width, and a common divisor.",
        "With $\\hat p = k/n$ the centre is $\\hat p + z^2/(2n)$, before the division by $1 + z^2/n$.",
        "The half-width is `z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))`; divide both by `1 + z**2 / n`.",
    ),
    wrong=(
        Wrong(
            "the textbook interval",
            _wald,
            "This is the textbook interval, with the standard error at the observed share. At k = n it has no length, "
            "and near 0 and 1 it leaves [0, 1]. Wilson takes the standard error at each p that is tested.",
        ),
        Wrong(
            "the divisor is missing",
            _wilson_unscaled,
            "The division by 1 + z²/n is missing, so the upper end can exceed 1.",
        ),
        Wrong(
            "the centre is not shifted",
            _wilson_not_shifted,
            "The half-width is right, but the centre stayed at k/n. The roots of a quadratic lie around the middle, "
            "(k/n + z²/2n) / (1 + z²/n).",
        ),
        Wrong(
            "the ends are swapped",
            lambda k, n, z=1.96: wilson_interval(k, n, z)[::-1],
            "The two ends are right, but the upper one comes first. Return (low, high).",
        ),
    ),
    right=(_wilson_by_roots,),
    probes={
        "k = n = 100": lambda f: f(100, 100),
        "k = 0, n = 100": lambda f: f(0, 100),
        "half of 10,000": lambda f: f(5000, 10_000),
    },
)


def count_holes(ink):
    """Number of holes in a picture: ink is a bool array (h, w), True where there is ink."""
    _, regions = ndimage.label(np.pad(~ink, 1, constant_values=True))
    return regions - 1


def _holes_by_flooding(ink):
    h, w = ink.shape
    free = {(r, c) for r in range(-1, h + 1) for c in range(-1, w + 1)}
    free -= {(r, c) for r in range(h) for c in range(w) if ink[r, c]}
    holes = -1
    while free:
        holes += 1
        stack = [free.pop()]
        while stack:
            r, c = stack.pop()
            for place in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)):
                if place in free:
                    free.remove(place)
                    stack.append(place)
    return holes


def _picture(*rows):
    return np.array([[mark == "#" for mark in row] for row in rows])


_RING = ("####", "#..#", "#..#", "####")

HOLES = Exercise(
    number="01.2",
    title="Holes",
    difficulty=1,
    minutes=8,
    task=r"""
Count the holes of a picture: the regions of background that water from outside cannot reach. `ink` is a bool array
`(h, w)`. Water passes between neighbouring pixels that share a side, not a corner. Ink may touch the border, and then the
background outside may fall into several pieces: they are no holes. An empty picture has none.""",
    inputs=lambda g: ((torch.rand(9, 12, generator=g) < 0.6).numpy(),),
    solution=count_holes,
    explanation=r"""
A frame of one empty pixel around the picture joins all outside background into one region. `ndimage.label` then counts the
regions of the background, and the outside is one of them. Its default neighbourhood is the four sides. With corners as well,
water would leak diagonally through a closed stroke.""",
    hints=(
        "`ndimage.label(a)` returns the numbered regions of True pixels and how many there are. Which pixels must be True?",
        "Label the background, `~ink`. One of its regions is the outside. Is it always exactly one?",
        "`np.pad(~ink, 1, constant_values=True)` makes it one: label that, and subtract 1.",
    ),
    wrong=(
        Wrong(
            "the outside counts as a hole",
            lambda ink: count_holes(ink) + 1,
            "The outside is counted as a hole: a blank picture gives 1. Subtract it.",
        ),
        Wrong(
            "no frame",
            lambda ink: ndimage.label(~ink)[1] - 1,
            "Where ink touches the border, the outside falls into several pieces, and here each but one counts as a "
            "hole. Pad the picture with one empty pixel first; in ~ink empty is True: constant_values=True.",
        ),
        Wrong(
            "pieces of ink",
            lambda ink: ndimage.label(ink)[1],
            "This counts the pieces of ink. Holes are regions of the background: label ~ink.",
        ),
        Wrong(
            "water through corners",
            lambda ink: ndimage.label(np.pad(~ink, 1, constant_values=True), np.ones((3, 3)))[1] - 1,
            "Water leaks through corners here: with 8 neighbours a diagonal stroke no longer closes. "
            "Use the four neighbours that share a side, label's default.",
        ),
    ),
    right=(_holes_by_flooding,),
    probes={
        "a ring that touches the border": lambda f: f(_picture(*_RING)),
        "an eight": lambda f: f(_picture("###", "#.#", "###", "#.#", "###")),
        "a cross that divides the outside in four": lambda f: f(_picture("..#..", "..#..", "#####", "..#..", "..#..")),
        "a diamond closed only at its corners": lambda f: f(_picture(".#.", "#.#", ".#.")),
        "an empty picture": lambda f: f(np.zeros((4, 5), dtype=bool)),
    },
)


def perceptron_step(W, x, y):
    """The weights after one example: W (c, d), x (d,), label y -> (c, d)."""
    said = int((W @ x).argmax())
    W = W.clone()
    if said != y:
        W[y] += x
        W[said] -= x
    return W


def _perceptron_outer(W, x, y):
    target = F.one_hot(torch.tensor(y), len(W)).to(W)
    said = F.one_hot((W @ x).argmax(), len(W)).to(W)
    return W + torch.outer(target - said, x)


def _perceptron_one_sided(W, x, y):
    W = W.clone()
    if int((W @ x).argmax()) != y:
        W[y] += x
    return W


def _perceptron_all_others(W, x, y):
    said, W = int((W @ x).argmax()), W.clone()
    if said != y:
        W -= x
        W[y] += 2 * x
    return W


def _perceptron_restless(W, x, y):
    said, W = int((W @ x).argmax()), W.clone()
    W[y] += x
    if said != y:
        W[said] -= x
    return W


def _perceptron_softmax(W, x, y):
    target = F.one_hot(torch.tensor(y), len(W)).to(W)
    return W + torch.outer(target - torch.softmax(W @ x, 0), x)


def _draw_error(g):
    W, x = torch.randn(4, 3, generator=g), torch.randn(3, generator=g)
    return W, x, int((W @ x).argmin())


PERCEPTRON = Exercise(
    number="01.3",
    title="One step of a perceptron",
    difficulty=1,
    minutes=6,
    task=r"""
Write rule (1.4) for one example: `W` has a row of weights for each of `c` classes, `x` is an image `(d,)`, `y` its label, an
int. Return the new weights and leave the given ones as they were. When the answer was right, nothing changes.""",
    inputs=_draw_error,
    solution=perceptron_step,
    explanation=r"""
Two rows move. The score of the right class grows by $\lVert x \rVert^2$, that of the class that was said falls by as much. In
matrix form it is $W + (e_y - e_{\hat y})\,x^\top$, which is the gradient step of softmax regression with the probabilities
replaced by the hard decision. Rosenblatt's rule is therefore gradient descent on a loss that nobody had written down yet.""",
    hints=(
        "First find out what the perceptron says: the class with the largest score `W @ x`.",
        "If that is not `y`, two rows change: row `y` and the row that was said. Which one grows?",
        "On a copy `W = W.clone()`: `W[y] += x` and `W[said] -= x`, inside `if said != y`.",
    ),
    wrong=(
        Wrong(
            "only the right class moves",
            _perceptron_one_sided,
            "Only the row of the right class moved. The row that won wrongly must be lowered too.",
        ),
        Wrong(
            "the signs are swapped",
            lambda W, x, y: 2 * W - perceptron_step(W, x, y),
            "The signs are swapped: this raises the wrong class and lowers the right one.",
        ),
        Wrong(
            "all other classes are lowered",
            _perceptron_all_others,
            "All classes but the right one were lowered. Only the class that was said is to blame.",
        ),
        Wrong(
            "it moves although it was right",
            _perceptron_restless,
            "The weights also change when the answer was right. Then a perceptron leaves them alone.",
        ),
        Wrong(
            "softmax regression",
            _perceptron_softmax,
            "This is a gradient step of softmax regression: every row moves by its probability. "
            "The perceptron takes the hard decision in place of the probabilities.",
        ),
    ),
    right=(_perceptron_outer,),
    probes={
        "an example that is read rightly": lambda f: f(torch.eye(3), torch.tensor([0.0, 2.0, 1.0]), 1),
    },
)


def class_posterior(log_likelihood, prior):
    """p(y|x) by Bayes' rule: log p(x|y) (n, c) and p(y) (c,) -> (n, c), rows that sum to one."""
    return torch.softmax(log_likelihood + prior.log(), 1)


def _posterior_by_logsumexp(log_likelihood, prior):
    joint = log_likelihood + torch.log(prior)
    return torch.exp(joint - torch.logsumexp(joint, 1, keepdim=True))


def _posterior_underflows(log_likelihood, prior):
    joint = log_likelihood.exp() * prior
    return joint / joint.sum(1, keepdim=True)


POSTERIOR = Exercise(
    number="01.4",
    title="From describing to recognising",
    difficulty=2,
    minutes=8,
    task=r"""
Turn a generative model into a recogniser by Bayes' rule (1.8). `log_likelihood[i, y]` is $\log p(x_i|y)$ in nats and `prior`
holds the probabilities $p(y)$. Return $p(y|x_i)$, shape `(n, c)`. Log-likelihoods of images are around −200 nats and may be
−5,000: the result must be exact there too. Adding a constant to a row must not change it.""",
    inputs=lambda g: (
        3 * torch.randn(5, 3, generator=g),
        torch.softmax(torch.randn(3, generator=g), 0),
    ),
    solution=class_posterior,
    explanation=r"""
$p(y|x) \propto p(x|y)\,p(y)$, so the logarithms add up and a softmax over the classes normalises. The softmax subtracts the
largest entry before it takes exponentials, and so nothing underflows. The denominator, $\log p(x)$ for the whole model, is the
`logsumexp` of the same numbers: the recogniser throws away exactly what the generator is about.""",
    hints=(
        "Bayes' rule multiplies the likelihood by the prior. What becomes of the product in logarithms?",
        "`log_likelihood + prior.log()` is $\\log p(x, y)$. It must be normalised over the classes.",
        "Exponentials of −5,000 are zero. `torch.softmax(…, 1)` takes care of that.",
    ),
    wrong=(
        Wrong(
            "the prior is ignored",
            lambda log_likelihood, prior: torch.softmax(log_likelihood, 1),
            "The prior is missing. This is right only if all classes are equally frequent.",
        ),
        Wrong(
            "the prior is added, not its logarithm",
            lambda log_likelihood, prior: torch.softmax(log_likelihood + prior, 1),
            "The prior itself was added to the log-likelihood. Add its logarithm.",
        ),
        Wrong(
            "normalised over the examples",
            lambda log_likelihood, prior: torch.softmax(log_likelihood + prior.log(), 0),
            "The columns sum to one, not the rows: the softmax ran over the examples. The classes are dimension 1.",
        ),
        Wrong(
            "the joint probability",
            lambda log_likelihood, prior: (log_likelihood + prior.log()).exp(),
            "This is p(x, y). Divide by p(x), its sum over the classes, to get p(y|x).",
        ),
        Wrong(
            "it underflows",
            _posterior_underflows,
            "The formula is right, but e^(−5000) is zero in any floating-point number, and 0/0 is NaN. "
            "Stay in logarithms until the largest entry has been subtracted; torch.softmax does it.",
        ),
        Wrong(
            "the logarithm of the posterior",
            lambda log_likelihood, prior: torch.log_softmax(log_likelihood + prior.log(), 1),
            "This is log p(y|x). Probabilities are wanted.",
        ),
    ),
    right=(_posterior_by_logsumexp,),
    probes={
        "log-likelihoods around −5,000 nats": lambda f: f(
            torch.tensor([[-5000.0, -5001.0], [-5000.0, -4000.0]]), torch.tensor([0.5, 0.5])
        ),
        "an image that all classes find equally likely": lambda f: f(torch.zeros(1, 2), torch.tensor([0.9, 0.1])),
    },
)


def fit_coins(x, y, classes):
    """Smoothed shares of ones, class by class: x (n, d) of 0 and 1, y (n,) -> (classes, d)."""
    rows = []
    for c in range(classes):
        own = x[y == c]
        rows.append((own.sum(0) + 1) / (len(own) + 2))
    return torch.stack(rows)


def _coins_by_one_hot(x, y, classes):
    member = F.one_hot(y, classes).to(x)
    return (member.T @ x + 1) / (member.sum(0)[:, None] + 2)


def _coins(x, y, classes, top=1.0, bottom=2.0):
    return torch.stack([(x[y == c].sum(0) + top) / ((y == c).sum() + bottom) for c in range(classes)])


COINS = Exercise(
    number="01.5",
    title="Learning by counting",
    difficulty=2,
    minutes=8,
    task=r"""
Fit naive Bayes: return $\theta$ of shape `(classes, d)`, where $\theta_{yi}$ is the probability that pixel $i$ is on in images
of class $y$. Use Laplace's rule, which adds one image with the pixel on and one with it off to every class. A class without
any image then gets one half everywhere.""",
    inputs=lambda g: (
        torch.bernoulli(torch.full((11, 4), 0.4), generator=g),
        torch.randint(3, (11,), generator=g),
        3,
    ),
    solution=fit_coins,
    explanation=r"""
Setting the derivative of the log-likelihood to zero gives the share of ones, separately for every class and pixel: learning is
counting. The two extra images keep every probability away from 0 and 1. Without them a single unusual pixel would make an image
impossible, $\log p(x) = -\infty$.""",
    hints=(
        "For one class and one pixel: how many of the class's images have it on, and how many images has the class?",
        "Laplace's rule adds 1 to the first number and 2 to the second.",
        "For class `c`: `own = x[y == c]`, then `(own.sum(0) + 1) / (len(own) + 2)`. Stack the rows.",
    ),
    wrong=(
        Wrong(
            "not smoothed",
            lambda x, y, classes: _coins(x, y, classes, 0.0, 0.0),
            "These are the plain shares, without Laplace's two extra images. A pixel that was never on gets probability "
            "zero, and an empty class divides by zero.",
        ),
        Wrong(
            "one image too few below",
            lambda x, y, classes: _coins(x, y, classes, 1.0, 1.0),
            "One is added above, but only one below. Two images are added to the class, one with the pixel on: + 2.",
        ),
        Wrong(
            "divided by all images",
            lambda x, y, classes: torch.stack([(x[y == c].sum(0) + 1) / (len(x) + 2) for c in range(classes)]),
            "The counts are divided by the number of all images. p(x|y) needs the number of images of the class.",
        ),
        Wrong(
            "smoothed by the number of classes",
            lambda x, y, classes: _coins(x, y, classes, 1.0, float(classes)),
            "The number of classes was added below. A pixel has two outcomes, on and off, so add 2.",
        ),
        Wrong(
            "pixels that share one probability",
            lambda x, y, classes: torch.stack(
                [(x[y == c].sum(0) + 1) / (x[y == c].sum() + x.shape[1]) for c in range(classes)]
            ),
            "Each row sums to one, as for words of a text. Here every pixel is a coin of its own: divide by images, "
            "not by the total ink.",
        ),
    ),
    right=(_coins_by_one_hot,),
    probes={
        "a class that has no images": lambda f: f(torch.ones(2, 3), torch.tensor([0, 0]), 2),
        "a single image": lambda f: f(torch.tensor([[1.0, 0.0]]), torch.tensor([0]), 1),
    },
)


def free_energy_of(v, W, a, b):
    """F(v) = −a·v − Σ_j log(1 + exp(b_j + (vᵀW)_j)): v (n, d), W (d, m), a (d,), b (m,) -> (n,)."""
    return -v @ a - F.softplus(b + v @ W).sum(1)


def _free_energy_by_counting(v, W, a, b):
    h = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=W.dtype)] * len(b)).view(-1, len(b))
    energy = -(v @ a)[:, None] - h @ b - v @ W @ h.T
    return -torch.logsumexp(-energy, 1)


FREE_ENERGY = Exercise(
    number="01.6",
    title="The free energy",
    difficulty=2,
    minutes=8,
    task=r"""
Write the free energy (1.11) of a restricted Boltzmann machine, one number for each row of `v`. It must be finite and exact for
weights that bring the exponent to ±1,000. Check it in your head: with `W` and `b` zero, each of the `m` hidden units adds
$-\log 2$.""",
    inputs=lambda g: (
        torch.bernoulli(torch.full((5, 4), 0.5), generator=g),
        torch.randn(4, 3, generator=g),
        torch.randn(4, generator=g),
        torch.randn(3, generator=g),
    ),
    solution=free_energy_of,
    explanation=r"""
Summing $e^{-E(v,h)}$ over all $2^m$ hidden states factorises into $m$ sums of two terms, $1 + e^{t_j}$ with
$t_j = b_j + (v^\top W)_j$. Minus the logarithm turns the product into a sum. `F.softplus` computes $\log(1 + e^t)$ without
overflow. An image with *low* free energy is probable, so both terms carry a minus.""",
    hints=(
        "There are two terms: one from the visible biases, and one from each hidden unit.",
        "Each hidden unit adds $-\\log(1 + e^{t})$ with $t = b_j + (v^\\top W)_j$. Which function of torch is that?",
        "`-v @ a - F.softplus(b + v @ W).sum(1)`.",
    ),
    wrong=(
        Wrong(
            "the sign",
            lambda v, W, a, b: -free_energy_of(v, W, a, b),
            "The sign is the other way round: this is log p(v) + log Z. Energy is low where images are probable.",
        ),
        Wrong(
            "the visible biases are missing",
            lambda v, W, a, b: -F.softplus(b + v @ W).sum(1),
            "The term of the visible biases, −a·v, is missing.",
        ),
        Wrong(
            "the hidden units' probabilities",
            lambda v, W, a, b: -v @ a - torch.sigmoid(b + v @ W).sum(1),
            "The hidden units add their probabilities here. Summing over h gives log(1 + e^t), the softplus, "
            "whose derivative is that probability.",
        ),
        Wrong(
            "the energy at the mean hidden state",
            lambda v, W, a, b: -v @ a - (torch.sigmoid(b + v @ W) * (b + v @ W)).sum(1),
            "This is the energy at the mean hidden state. The free energy sums over all hidden states inside the "
            "logarithm; the difference is the entropy of the hidden units.",
        ),
        Wrong(
            "it overflows",
            lambda v, W, a, b: -v @ a - torch.log(1 + torch.exp(b + v @ W)).sum(1),
            "The formula is right, but e^1000 overflows. F.softplus computes log(1 + e^t) safely.",
        ),
        Wrong(
            "the mean over the hidden units",
            lambda v, W, a, b: -v @ a - F.softplus(b + v @ W).mean(1),
            "The hidden units' terms were averaged. A logarithm of a product is a sum.",
        ),
    ),
    right=(_free_energy_by_counting,),
    probes={
        "exponents of ±1,000": lambda f: f(
            torch.ones(1, 2), torch.tensor([[500.0, -500.0], [500.0, -500.0]]), torch.zeros(2), torch.zeros(2)
        ),
        "a machine with all parameters zero": lambda f: f(torch.ones(2, 3), *(torch.zeros(s) for s in ((3, 4), 3, 4))),
    },
    gradient=True,
)


def paired_p_value(a, b):
    """Two-sided exact p-value that two recognisers are equally good: a, b (n,) bool, True where right."""
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    n, k = only_a + only_b, min(only_a, only_b)
    tail = sum(math.comb(n, i) for i in range(k + 1)) / 2**n
    return min(1.0, 2 * tail)


def _paired_by_binomial(a, b):
    n = int((a != b).sum())
    return stats.binomtest(int((a & ~b).sum()), n).pvalue if n else 1.0


def _sign_test(k, n, factor=2.0):
    return factor * sum(math.comb(n, i) for i in range(k + 1)) / 2**n


def _discordant(a, b):
    return int((a & ~b).sum()), int((b & ~a).sum())


def _paired_all_images(a, b):
    return min(1.0, _sign_test(min(_discordant(a, b)), len(a)))


def _draw_pair(g):
    return torch.rand(40, generator=g) < 0.85, torch.rand(40, generator=g) < 0.6


PAIRED = Exercise(
    number="01.7",
    title="Two recognisers, the same images",
    difficulty=2,
    minutes=12,
    task=r"""
Intervals that overlap do not settle which of two recognisers is better, because both read the *same* images. McNemar's test
(1947) looks only at the images on which exactly one of them is right. If both were equally good, each such image would be a
coin toss. Let `a` and `b` say, image by image, who was right. With $n$ images on which they differ and $k$ the smaller of the
two counts, return

$$ \min\Big(1,\; 2 \sum_{i=0}^{k} \binom{n}{i} 2^{-n}\Big) . $$

Without any difference it is 1. Then try `correct["support vector machine"]` against `correct["convolutional network"]`, and
the other pairs of the five.""",
    inputs=_draw_pair,
    solution=paired_p_value,
    explanation=r"""
Images that both read, or neither, say nothing about which is better. Of the rest, under the hypothesis that both are equally
good, each falls to either side with probability one half, so the smaller count is the tail of a binomial. Doubling it counts
the other tail too. A large p-value does not prove that they are equal; it says that this test set cannot tell.""",
    hints=(
        "Count the images on which only `a` is right, and those on which only `b` is right: `(a & ~b).sum()`.",
        "Add the two counts for $n$ and take the smaller one for $k$. `math.comb(n, i)` is the binomial coefficient.",
        "`tail = sum(math.comb(n, i) for i in range(k + 1)) / 2**n`, and the result is `min(1.0, 2 * tail)`.",
    ),
    wrong=(
        Wrong(
            "one side only",
            lambda a, b: _sign_test(min(_discordant(a, b)), sum(_discordant(a, b)), 1.0),
            "This is one tail. We would have been as surprised by the other recogniser winning: double it.",
        ),
        Wrong(
            "all images count",
            _paired_all_images,
            "All images were taken as coin tosses. Only those on which the two differ can tell them apart.",
        ),
        Wrong(
            "not capped at one",
            lambda a, b: _sign_test(min(_discordant(a, b)), sum(_discordant(a, b))),
            "When both counts are equal the two tails overlap, and the sum exceeds 1. Cap it: min(1.0, …).",
        ),
        Wrong(
            "the sum stops one early",
            lambda a, b: min(1.0, _sign_test(min(_discordant(a, b)) - 1, sum(_discordant(a, b)))),
            "The sum leaves out i = k, the outcome that was observed. range(k + 1) includes it.",
        ),
        Wrong(
            "always the first count",
            lambda a, b: min(1.0, _sign_test(_discordant(a, b)[0], sum(_discordant(a, b)))),
            "The tail was taken at the first recogniser's count, whichever it is. The test must not depend on the "
            "order: take the smaller count.",
        ),
    ),
    right=(_paired_by_binomial,),
    probes={
        "two recognisers that agree": lambda f: f(torch.tensor([True, False]), torch.tensor([True, False])),
        "one image each": lambda f: f(torch.tensor([True, False]), torch.tensor([False, True])),
        "eight wins and no loss": lambda f: f(torch.ones(8, dtype=torch.bool), torch.zeros(8, dtype=torch.bool)),
    },
)


def cd_direction(v, W, a, b, u_h, u_v):
    """CD-1 direction for W: v (n, d), W (d, m), a (d,), b (m,), uniform u_h (n, m), u_v (n, d) -> (d, m)."""
    p = torch.sigmoid(b + v @ W)
    h = (u_h < p).to(v)
    dream = (u_v < torch.sigmoid(a + h @ W.T)).to(v)
    return (v.T @ p - dream.T @ torch.sigmoid(b + dream @ W)) / len(v)


def _cd_by_einsum(v, W, a, b, u_h, u_v):
    up = 1 / (1 + torch.exp(-(v @ W + b)))
    h = torch.where(u_h < up, 1.0, 0.0)
    dream = torch.where(u_v < 1 / (1 + torch.exp(-(h @ W.T + a))), 1.0, 0.0)
    down = 1 / (1 + torch.exp(-(dream @ W + b)))
    return (torch.einsum("ni,nj->nij", v, up) - torch.einsum("ni,nj->nij", dream, down)).mean(0)


def _cd(v, W, a, b, u_h, u_v, *, sample_h=True, sample_v=True, hard_data=False):
    p = torch.sigmoid(b + v @ W)
    h = (u_h < p).to(v) if sample_h else p
    q = torch.sigmoid(a + h @ W.T)
    dream = (u_v < q).to(v) if sample_v else q
    return (v.T @ (h if hard_data else p) - dream.T @ torch.sigmoid(b + dream @ W)) / len(v)


CD = Exercise(
    number="01.8",
    title="Contrastive divergence",
    difficulty=3,
    minutes=15,
    task=r"""
Write the CD-1 direction (1.14) for `W`, as a mean over the `n` images. The noise is given, so that the result is a function: a
unit is on where its uniform number is *below* its probability. Go up from `v` to binary hidden units with `u_h`, down to a
binary dream with `u_v`, and use the *probabilities* of the hidden units in both averages.

Then it is open: let `learn` of this chapter take `k` Gibbs steps in place of one, and measure with `log_z` how many nats CD-5
and CD-20 gain over CD-1 at 12 hidden units, for the same number of steps, and for the same time. Does any of them reach the
persistent chains?""",
    inputs=lambda g: (
        torch.bernoulli(torch.full((7, 5), 0.5), generator=g),
        torch.randn(5, 3, generator=g),
        torch.randn(5, generator=g),
        torch.randn(3, generator=g),
        torch.rand(7, 3, generator=g),
        torch.rand(7, 5, generator=g),
    ),
    solution=cd_direction,
    explanation=r"""
The hidden units must be *binary* on the way down: a probability carries a whole real number from the image to its
reconstruction, far more than the model has. In the averages, probabilities have the same mean as draws and less variance
(Rao-Blackwell), so they are better there. Data minus dream, because the step *raises* the log-likelihood.""",
    hints=(
        "There are three half-steps: up from the data, down to a dream, up again from the dream.",
        "Draw with `(u < p).to(v)`. The first average uses `v` and its hidden probabilities, the second the dream and its own.",
        "`(v.T @ p - dream.T @ torch.sigmoid(b + dream @ W)) / len(v)`, where `dream` was drawn from the binary `h`.",
    ),
    wrong=(
        Wrong(
            "dream minus data",
            lambda *args: -cd_direction(*args),
            "The sign is swapped: this lowers the probability of the data and raises that of the dreams.",
        ),
        Wrong(
            "not averaged",
            lambda v, *rest: cd_direction(v, *rest) * len(v),
            "This is a sum over the images. Divide by their number, or the step grows with the batch.",
        ),
        Wrong(
            "hidden probabilities sent down",
            lambda *args: _cd(*args, sample_h=False),
            "The dream was made from the hidden probabilities, not from binary units. They carry more about the image "
            "than the model can hold, and the direction changes.",
        ),
        Wrong(
            "a dream of probabilities",
            lambda *args: _cd(*args, sample_v=False),
            "The dream holds probabilities, not black and white. Many programs do that; the task asks for a draw, "
            "with u_v.",
        ),
        Wrong(
            "drawn hidden units in the average",
            lambda *args: _cd(*args, hard_data=True),
            "The first average uses the drawn hidden units. Its mean is the same, but probabilities have less variance.",
        ),
        Wrong(
            "visible biases forgotten",
            lambda v, W, a, b, u_h, u_v: cd_direction(v, W, torch.zeros_like(a), b, u_h, u_v),
            "The dream was drawn without the visible biases a.",
        ),
    ),
    right=(_cd_by_einsum, _cd),
    probes={
        "a machine that knows nothing, and dreams its data": lambda f: f(
            torch.tensor([[1.0, 0.0]]),
            torch.zeros(2, 1),
            torch.tensor([20.0, -20.0]),
            torch.zeros(1),
            torch.full((1, 1), 0.5),
            torch.full((1, 2), 0.5),
        ),
    },
    discussion=r"""
Report the log-likelihoods in nats with the number of steps, and repeat with three seeds before you call anything better. More
Gibbs steps cost time in proportion, so two comparisons are fair: equal steps and equal time. Look at
the dreams from noise as well: do they get more varied as $k$ grows?""",
)

EXERCISES = [WILSON, HOLES, PERCEPTRON, POSTERIOR, COINS, FREE_ENERGY, PAIRED, CD]
