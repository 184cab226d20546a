"""Exercises of chapter 10, the GAN doctor."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def accuracy(real, fake):
    """Balanced accuracy of D from logits of real and generated images: (n,), (m,) -> a number."""
    right_real = (real > 0).float().mean() + (real == 0).float().mean() / 2
    right_fake = (fake < 0).float().mean() + (fake == 0).float().mean() / 2
    return (right_real + right_fake) / 2


def _accuracy_pooled(real, fake):
    right = (torch.sign(real) + 1).sum() / 2 + (1 - torch.sign(fake)).sum() / 2
    return right / (len(real) + len(fake))


def _accuracy_at(threshold):
    return lambda real, fake: accuracy(real - threshold, fake - threshold)


def _logits(g, n):
    """Logits of which some are exactly 0."""
    return (2 * torch.randn(n, generator=g)).round()


ACCURACY = Exercise(
    number="10.1",
    title="How often D is right",
    difficulty=1,
    minutes=5,
    task=r"""
Write D's **balanced accuracy** (10.1) from logits: the mean of two shares, that of real images which D calls real and
that of generated images which D calls generated. The batches may differ in size. A logit of exactly 0 is a coin toss and
counts as half right, so that a D that always answers 0 gets ½.""",
    inputs=lambda g: (1 + _logits(g, 7), _logits(g, 4) - 1),
    solution=accuracy,
    explanation=r"""
$D > \tfrac12$ is $\ell > 0$. Each share is taken over its own batch: with one share over both batches together, a D that
calls everything real would look good as soon as more real images than generated ones are shown. Balanced, every constant
D gets exactly ½.""",
    hints=(
        "At which logit is $D = \\sigma(\\ell)$ equal to ½?",
        "Take two shares, each over its own batch, then their mean. Add half of the share of zeros to each.",
        "For real images: `(real > 0).float().mean() + (real == 0).float().mean() / 2`; with `<` for generated ones.",
    ),
    wrong=(
        Wrong(
            "one share over both batches",
            _accuracy_pooled,
            "This is one share over both batches together, so the larger batch weighs more. Take the mean of two shares.",
        ),
        Wrong(
            "the threshold of a probability",
            _accuracy_at(0.5),
            "The logits are compared with 0.5. D is above one half where its logit is above 0.",
        ),
        Wrong(
            "undecided counts as wrong",
            lambda real, fake: ((real > 0).float().mean() + (fake < 0).float().mean()) / 2,
            "A logit of 0 counts as wrong here, so a D that always says one half gets 0. Count it as half right.",
        ),
        Wrong(
            "undecided counts as real",
            lambda real, fake: ((real >= 0).float().mean() + (fake < 0).float().mean()) / 2,
            "A logit of 0 is taken as the answer 'real'. Count it as half right in both batches.",
        ),
        Wrong(
            "generated images that fool D",
            lambda real, fake: accuracy(real, -fake),
            "The second share is that of generated images which D calls real. There D is wrong.",
        ),
        Wrong(
            "the sum of the shares",
            lambda real, fake: 2 * accuracy(real, fake),
            "This is the sum of the two shares, between 0 and 2. Take their mean.",
        ),
    ),
    right=(
        lambda real, fake: ((torch.sign(real) + 1) / 2).mean() / 2 + ((1 - torch.sign(fake)) / 2).mean() / 2,
        lambda real, fake: (
            sum(0.5 + 0.5 * math.copysign(float(v != 0), v) for v in real.tolist()) / len(real) / 2
            + sum(0.5 - 0.5 * math.copysign(float(v != 0), v) for v in fake.tolist()) / len(fake) / 2
        ),
    ),
    probes={
        "the accuracy of a D that always answers 0": lambda f: f(torch.zeros(3), torch.zeros(5)),
        "the accuracy of a D that calls 9 real images and 1 generated one real": lambda f: f(
            torch.ones(9), torch.ones(1)
        ),
        "the accuracy for logits of 0.2 and -0.2": lambda f: f(torch.full((3,), 0.2), torch.full((2,), -0.2)),
    },
)


def spread_ratio(fake, real):
    """Mean distance of two samples over that of two real images (10.2): (n, ...), (m, ...) -> a number."""
    return torch.pdist(fake.flatten(1)).mean() / torch.pdist(real.flatten(1)).mean()


def _all_pairs(x):
    x = x.flatten(1)
    return (x[:, None] - x[None]).square().sum(-1).sqrt()


def _mean_off_diagonal(x):
    return _all_pairs(x).sum() / (len(x) * (len(x) - 1))


def _spread_by_loops(fake, real):
    def mean(x):
        found = [(x[i] - x[j]).square().sum().sqrt() for i in range(len(x)) for j in range(i)]
        return sum(found) / len(found)

    return mean(fake) / mean(real)


SPREAD = Exercise(
    number="10.2",
    title="Are they all the same?",
    difficulty=1,
    minutes=8,
    task=r"""
Write the spread (10.2): the mean Euclidean distance of two *different* samples of a batch, divided by that of two
different real images. The batches may differ in size and their images may have any shape. Samples that are all equal have
spread 0, and the real images themselves have spread 1.""",
    inputs=lambda g: (0.5 * torch.randn(4, 1, 2, 3, generator=g), torch.randn(6, 1, 2, 3, generator=g)),
    solution=spread_ratio,
    explanation=r"""
`torch.pdist` gives the distances of the $n(n-1)/2$ pairs of different rows. The pairs of a sample with itself are at
distance 0; a mean over all $n^2$ pairs would be too small by the factor $1 - 1/n$, and unequally so for batches of
unequal size. Dividing by the spread of real images gives a number without unit, which reads the same for digits and
faces.""",
    hints=(
        "Flatten each image to a row. Which function of torch gives the distances of all pairs of rows?",
        "`torch.pdist` leaves out the pairs of a row with itself; `torch.cdist(x, x)` does not.",
        "`torch.pdist(x.flatten(1)).mean()` for both batches, and their quotient.",
    ),
    wrong=(
        Wrong(
            "pairs of an image with itself",
            lambda fake, real: _all_pairs(fake).mean() / _all_pairs(real).mean(),
            "The pairs of an image with itself are counted too. They are 0, and weigh more in the smaller batch.",
        ),
        Wrong(
            "squared distances",
            lambda fake, real: (
                torch.pdist(fake.flatten(1)).square().mean() / torch.pdist(real.flatten(1)).square().mean()
            ),
            "These are means of squared distances. Asked is the mean of the distances themselves.",
        ),
        Wrong(
            "upside down",
            lambda fake, real: 1 / spread_ratio(fake, real),
            "The quotient is upside down: a collapsed generator would get an infinite spread.",
        ),
        Wrong(
            "standard deviations of pixels",
            lambda fake, real: fake.flatten(1).std(0).mean() / real.flatten(1).std(0).mean(),
            "This compares standard deviations of single pixels. A fine idea, but (10.2) has distances of images.",
        ),
        Wrong(
            "not divided by the real spread",
            lambda fake, real: torch.pdist(fake.flatten(1)).mean(),
            "The division by the spread of real images is missing: this number is in units of the pixels.",
        ),
    ),
    right=(_spread_by_loops, lambda fake, real: _mean_off_diagonal(fake) / _mean_off_diagonal(real)),
    probes={
        "the spread of samples that are all equal": lambda f: f(torch.ones(3, 4), torch.eye(5, 4)),
        "the spread of real images": lambda f: f(torch.eye(5, 4), torch.eye(5, 4)),
        "that an image shared by all makes no difference": lambda f: f(7 + torch.eye(3), torch.eye(3) - 2),
    },
)


def total_norm(gradients):
    """The norm of all gradients together; None, where no gradient arrived, counts as 0: a list -> a number."""
    return sum((g**2).sum() for g in gradients if g is not None) ** 0.5


def _norms(gradients):
    return [g.norm() for g in gradients if g is not None]


GRADIENT_NORM = Exercise(
    number="10.3",
    title="One norm for many tensors",
    difficulty=1,
    minutes=5,
    task=r"""
`[p.grad for p in G.parameters()]` is a list of tensors of different shapes, in which `None` stands for a parameter that
no gradient reached. Write the Euclidean norm of all of them together, as if they were one long vector. An empty list, or
one of `None` only, has the norm 0. This is the number that must be 0 for $G$ after `loss_d.backward()`.""",
    inputs=lambda g: (
        [torch.randn(3, 2, generator=g), None, torch.randn(4, generator=g), torch.randn((), generator=g)],
    ),
    solution=total_norm,
    explanation=r"""
By Pythagoras the square of the whole norm is the sum of the squares of the parts. It does not matter how the weights are
cut into tensors. Only this norm can be compared with a bound for clipping, and only this one is 0 exactly if all parts
are.""",
    hints=(
        "What is the length of a vector made of two pieces, if you know the lengths of the pieces?",
        "Add the *squares* of all entries of all tensors, then take one root. Leave `None` out.",
        "`sum((g**2).sum() for g in gradients if g is not None) ** 0.5`; the sum of nothing is 0.",
    ),
    wrong=(
        Wrong(
            "the sum of the norms",
            lambda gradients: sum(_norms(gradients)),
            "These are the norms of the tensors, added. Lengths of orthogonal pieces add up by their squares.",
        ),
        Wrong(
            "the root is missing",
            lambda gradients: total_norm(gradients) ** 2,
            "This is the square of the norm. Take the root at the end.",
        ),
        Wrong(
            "the mean square",
            lambda gradients: (
                (
                    sum((g**2).sum() for g in gradients if g is not None)
                    / max(1, sum(g.numel() for g in gradients if g is not None))
                )
                ** 0.5
            ),
            "This is the root of the mean square: divided by the number of weights. The norm is a sum.",
        ),
        Wrong(
            "the largest norm",
            lambda gradients: max([torch.zeros(()), *_norms(gradients)]),
            "This is the norm of the largest tensor alone. All of them count.",
        ),
        Wrong(
            "the mean of the norms",
            lambda gradients: sum(_norms(gradients)) / max(1, len(_norms(gradients))),
            "This is the mean of the norms of the tensors, which depends on how the weights are cut into tensors.",
        ),
    ),
    right=(
        lambda gradients: torch.cat([torch.zeros(1)] + [g.flatten() for g in gradients if g is not None]).norm(),
        lambda gradients: math.sqrt(sum(v * v for g in gradients if g is not None for v in g.flatten().tolist())),
    ),
    probes={
        "the norm of an empty list": lambda f: f([]),
        "the norm where no gradient arrived": lambda f: f([None, None]),
        "the norm of 3 and 4 in two tensors": lambda f: f([torch.tensor([3.0]), torch.tensor([[4.0]])]),
        "the norm where one gradient is 0": lambda f: f([torch.zeros(2), torch.tensor([-2.0])]),
    },
)


def smoothed(x, beta):
    """The exponential mean (10.8) of a curve, corrected for its start at 0: (n,), a number -> (n,)."""
    mean, out = 0.0, []
    for t, value in enumerate(x, 1):
        mean = beta * mean + (1 - beta) * value
        out.append(mean / (1 - beta**t))
    return torch.stack(out)


def _smooth(x, beta, *, start=0.0, correct=lambda beta, t: 1 - beta**t, keep=None):
    mean, out, keep = start, [], beta if keep is None else keep
    for t, value in enumerate(x, 1):
        mean = keep * mean + (1 - keep) * value
        out.append(mean / correct(beta, t))
    return torch.stack(out)


def _smoothed_by_weights(x, beta):
    ages = torch.arange(len(x))[:, None] - torch.arange(len(x))[None]
    weights = torch.where(ages >= 0, beta ** ages.clamp(min=0).to(x.dtype), torch.zeros((), dtype=x.dtype))
    return weights @ x / weights.sum(1)


SMOOTHED = Exercise(
    number="10.4",
    title="Through the noise of a curve",
    difficulty=2,
    minutes=10,
    task=r"""
Curves of a GAN are drawn as exponential means. Start at $m_0 = 0$ and let

$$ m_t = \beta\, m_{t-1} + (1 - \beta)\, x_t , \qquad \hat x_t = \frac{m_t}{1 - \beta^t} , \qquad t = 1, 2, \dots \tag{10.8} $$

Return all $\hat x_t$. The division corrects the start at 0: a constant curve must come out unchanged, from its first
value on.""",
    inputs=lambda g: (2 + torch.randn(6, generator=g), 0.5 + 0.4 * float(torch.rand((), generator=g))),
    solution=smoothed,
    explanation=r"""
$m_t$ is a sum of the $x_s$ with the weights $(1-\beta)\beta^{t-s}$, and by the geometric series these add up to
$1 - \beta^t$. After the division they add up to 1, which is what a mean needs. Without it every smoothed loss seems to
rise from 0 at the start: a phantom in many published curves. Adam corrects its moments in the same way (Kingma and Ba
2015).""",
    hints=(
        "Keep one number, `mean`, and update it for each value. What do the weights of all values in it add up to?",
        "They add up to $1 - \\beta^t$ after $t$ values. Divide what you report by that, and go on with the undivided mean.",
        "For each `t` and `value`: `mean = beta * mean + (1 - beta) * value`, then append `mean / (1 - beta**t)`.",
    ),
    wrong=(
        Wrong(
            "no correction",
            lambda x, beta: _smooth(x, beta, correct=lambda b, t: 1.0),
            "The correction for the start at 0 is missing: a constant curve seems to rise from 0.",
        ),
        Wrong(
            "started at the first value",
            lambda x, beta: _smooth(x, beta, start=x[0], correct=lambda b, t: 1.0),
            "This starts at the first value in place of 0. A constant curve is right, but the first value keeps a weight "
            "that is far too large.",
        ),
        Wrong(
            "counted from 0",
            lambda x, beta: _smooth(x, beta, correct=lambda b, t: 1 - b ** (t + 1)),
            "The exponent is too large by one: after the first value the weights add up to 1 − β.",
        ),
        Wrong(
            "the same correction for all",
            lambda x, beta: _smooth(x, beta, correct=lambda b, t: 1 - b),
            "Every value is divided by 1 − β. That is right at t = 1 only; the weights add up to 1 − β to the power t.",
        ),
        Wrong(
            "beta on the new value",
            lambda x, beta: _smooth(x, 1 - beta),
            "β stands at the new value and 1 − β at the old mean. With (10.8) a β near 1 means more smoothing.",
        ),
        Wrong(
            "the last value only",
            lambda x, beta: smoothed(x, beta)[-1],
            "This is the last smoothed value. Return all of them, so that the curve can be drawn.",
        ),
    ),
    right=(_smoothed_by_weights,),
    probes={
        "a constant curve": lambda f: f(torch.full((4,), 3.0), 0.9),
        "beta = 0, no smoothing": lambda f: f(torch.tensor([1.0, -2.0, 5.0]), 0.0),
        "the answer to a single peak": lambda f: f(torch.tensor([0.0, 1.0, 0.0, 0.0]), 0.5),
    },
    gradient=True,
)


def autocorrelation(x, lag):
    """The autocorrelation (10.7) of a series at a lag from 1 to n − 1: (n,), an integer -> a number."""
    d = x - x.mean()
    return (d[lag:] * d[:-lag]).sum() / d.square().sum()


def _auto_uncentred(x, lag):
    return (x[lag:] * x[:-lag]).sum() / x.square().sum()


def _auto_unbiased(x, lag):
    return autocorrelation(x, lag) * len(x) / (len(x) - lag)


def _auto_pearson(x, lag):
    a, b = x[lag:] - x[lag:].mean(), x[:-lag] - x[:-lag].mean()
    return (a * b).sum() / (a.square().sum() * b.square().sum()).sqrt()


def _auto_covariance(x, lag):
    d = x - x.mean()
    return (d[lag:] * d[:-lag]).sum() / len(x)


def _auto_circular(x, lag):
    d = x - x.mean()
    return (d * d.roll(lag)).sum() / d.square().sum()


def _auto_by_loop(x, lag):
    values = x.tolist()
    mean = sum(values) / len(values)
    power = sum((v - mean) ** 2 for v in values)
    return sum((values[t] - mean) * (values[t + lag] - mean) for t in range(len(values) - lag)) / power


AUTOCORRELATION = Exercise(
    number="10.5",
    title="A wave or just noise?",
    difficulty=2,
    minutes=10,
    task=r"""
Write the autocorrelation (10.7) of a series at a lag of $k$ checks: the deviations from the mean, each multiplied by the
one $k$ checks later, added up, and divided by the sum of all their squares. It is 1 at lag 0 and, for a wave, near $-1$ at
half its period.""",
    inputs=lambda g: (3 + torch.randn(9, generator=g), int(torch.randint(1, 5, (), generator=g))),
    solution=autocorrelation,
    explanation=r"""
Noise has autocorrelations near 0, about $\pm 2/\sqrt n$ wide. A trend has positive ones at small lags. Only something
that comes back, and back again, has strongly negative ones. The sum in the numerator has $k$ terms less than the one in
the denominator; that shrinks large lags towards 0, where the estimate is poor anyway.""",
    hints=(
        "Subtract the mean of the whole series first. Which two parts of it have to be multiplied?",
        "The part from `lag` on, `d[lag:]`, and the part that ends `lag` earlier, `d[:-lag]`.",
        "`(d[lag:] * d[:-lag]).sum() / d.square().sum()` with `d = x - x.mean()`.",
    ),
    wrong=(
        Wrong(
            "the mean is not subtracted",
            _auto_uncentred,
            "The mean is not subtracted. A series far from 0 then seems to agree with itself at every lag.",
        ),
        Wrong(
            "divided by the number of terms",
            _auto_unbiased,
            "Numerator and denominator are means here. (10.7) has sums, so the numerator has fewer terms.",
        ),
        Wrong(
            "a correlation of the two parts",
            _auto_pearson,
            "This is the correlation of the two parts, each with a mean and a spread of its own. (10.7) uses those of the "
            "whole series.",
        ),
        Wrong(
            "the autocovariance",
            _auto_covariance,
            "This is the autocovariance, which has a unit. Divide by the sum of squares, so that lag 0 gives 1.",
        ),
        Wrong(
            "the end joined to the beginning",
            _auto_circular,
            "The last values are multiplied by the first ones, as if the series were a circle. Leave those pairs out.",
        ),
    ),
    right=(_auto_by_loop,),
    probes={
        "two checks up, two down, at lag 2": lambda f: f(torch.tensor([1.0, 1, -1, -1, 1, 1, -1, -1]), 2),
        "the same series at lag 4": lambda f: f(torch.tensor([1.0, 1, -1, -1, 1, 1, -1, -1]), 4),
        "that a constant added makes no difference": lambda f: f(100 + torch.tensor([0.0, 2, 1, 5, 3]), 1),
    },
)


def contradiction(fake, loss_g):
    """−log(mean D) − L_G (10.5), D's mean from logits of its own move: (n,), a number -> a number."""
    return math.log(len(fake)) - torch.logsumexp(F.logsigmoid(fake), 0) - loss_g


CONTRADICTION = Exercise(
    number="10.6",
    title="Two statements that cannot both be true",
    difficulty=2,
    minutes=12,
    task=r"""
By Jensen's inequality the generator's loss is at least $-\log \bar D$, where $\bar D$ is the *mean* of $D = \sigma(\ell)$
on generated images, (10.5). Return $-\log \bar D - L_G$ from the logits that $D$'s move gave to generated images and from
the loss of $G$'s move. If it is well above 0, the two moves did not ask the same $D$. It must be finite for logits of
$-200$, where $\sigma$ is 0 in single precision.""",
    inputs=lambda g: (2 * torch.randn(6, generator=g), float(torch.rand((), generator=g))),
    solution=contradiction,
    explanation=r"""
$\log \bar D = \log \frac1n \sum_i e^{\log \sigma(\ell_i)}$ is a `logsumexp` of `logsigmoid`, minus $\log n$; nothing
underflows. The logarithm is concave, so it is at least the mean of $\log \sigma(\ell_i)$. Therefore
$-\log \bar D \le \frac1n \sum_i -\log \sigma(\ell_i)$, which is the non-saturating loss: with the same $D$ and the
same images the result can never be positive.""",
    hints=(
        "First the mean of $\\sigma(\\ell_i)$, then one logarithm. Which function computes the log of a sum of exponentials?",
        "$\\log \\bar D$ is `torch.logsumexp` of `F.logsigmoid(fake)` minus $\\log n$.",
        "Return `math.log(len(fake)) - torch.logsumexp(F.logsigmoid(fake), 0) - loss_g`.",
    ),
    wrong=(
        Wrong(
            "the mean of the logarithms",
            lambda fake, loss_g: F.softplus(-fake).mean() - loss_g,
            "This is the mean of −log D, which is G's loss itself. Asked is −log of the mean of D, which is smaller.",
        ),
        Wrong(
            "the log of a mean that underflows",
            lambda fake, loss_g: -torch.sigmoid(fake).mean().log() - loss_g,
            "Right for moderate logits, but a mean of sigmoids is 0 for very negative ones, and its logarithm is infinite.",
        ),
        Wrong(
            "D of the mean logit",
            lambda fake, loss_g: F.softplus(-fake.mean()) - loss_g,
            "This is −log D at the mean logit. The mean of D is meant, not D of the mean.",
        ),
        Wrong(
            "the sum in place of the mean",
            lambda fake, loss_g: -torch.logsumexp(F.logsigmoid(fake), 0) - loss_g,
            "This is −log of the sum of D. Add log n to turn the sum into a mean.",
        ),
        Wrong(
            "the sign",
            lambda fake, loss_g: loss_g - contradiction(fake, 0.0),
            "The sign is wrong: a contradiction, G's loss below −log of the mean, must come out positive.",
        ),
        Wrong(
            "1 minus D",
            lambda fake, loss_g: math.log(len(fake)) - torch.logsumexp(F.logsigmoid(-fake), 0) - loss_g,
            "This uses 1 − D, the probability that an image is generated. G's loss is about D.",
        ),
    ),
    right=(lambda fake, loss_g: -(torch.logsumexp(-F.softplus(-fake) - math.log(len(fake)), 0)) - loss_g,),
    probes={
        "logits of -200": lambda f: f(torch.full((3,), -200.0), 0.5),
        "an undecided D and a loss of log 2": lambda f: f(torch.zeros(4), math.log(2)),
        "logits of 60 and -60": lambda f: f(torch.tensor([60.0, -60.0]), 0.0),
    },
)


def confusion(truth, said, k):
    """Counts C[i, j] of runs whose failure is i and whose diagnosis is j: two lists of integers below k -> (k, k)."""
    table = torch.zeros(k, k)
    for i, j in zip(truth, said, strict=True):
        table[i, j] += 1
    return table


def _counts(g):
    n = int(torch.randint(12, 20, (), generator=g))
    truth = torch.randint(3, (n,), generator=g)
    said = torch.where(torch.rand(n, generator=g) < 0.6, truth, torch.randint(4, (n,), generator=g))
    return truth.tolist(), said.tolist(), 5


CONFUSION = Exercise(
    number="10.7",
    title="A table of confusions",
    difficulty=1,
    minutes=8,
    task=r"""
Count: `truth` holds the number of the failure of each run, `said` that of its diagnosis, both from 0 to $k - 1$. Return
the $k \times k$ table whose row is the truth and whose column is the diagnosis. Rows and columns of failures that did not
occur are there too, filled with zeros.""",
    inputs=_counts,
    solution=confusion,
    explanation=r"""
Each run adds 1 to one entry. The diagonal holds what was recognised, a row what became of one kind of failure, a column
what hides behind one diagnosis. The table must have its full size: a diagnosis that is never given is a fact worth
seeing.""",
    hints=(
        "Begin with a table of zeros. Which entry does one run change?",
        "The row is the truth, the column what was said. Loop over both lists together.",
        "`table = torch.zeros(k, k)`, then `table[i, j] += 1` for `i, j in zip(truth, said)`.",
    ),
    wrong=(
        Wrong(
            "transposed",
            lambda truth, said, k: confusion(said, truth, k),
            "The table is transposed: rows are the truth, columns the diagnosis.",
        ),
        Wrong(
            "shares of a row",
            lambda truth, said, k: confusion(truth, said, k) / confusion(truth, said, k).sum(1, keepdim=True),
            "These are shares of each row, and 0/0 where a failure did not occur. Asked are counts.",
        ),
        Wrong(
            "1 however often",
            lambda truth, said, k: confusion(truth, said, k).clamp(max=1),
            "Every pair is counted once, however often it occurs. (`table[truth, said] += 1` does that to repeated indices.)",
        ),
        Wrong(
            "only what occurred",
            lambda truth, said, k: confusion(truth, said, k)[: max(truth + said) + 1, : max(truth + said) + 1],
            "The table ends at the largest number that occurred. It must be k × k.",
        ),
        Wrong(
            "the confused ones only",
            lambda truth, said, k: confusion(truth, said, k) * (1 - torch.eye(k)),
            "The diagonal is empty: the runs that were recognised are missing.",
        ),
    ),
    right=(
        lambda truth, said, k: torch.bincount(torch.tensor(truth) * k + torch.tensor(said), minlength=k * k).view(k, k),
        lambda truth, said, k: torch.stack(
            [
                torch.tensor([sum(t == i and s == j for t, s in zip(truth, said, strict=True)) for j in range(k)])
                for i in range(k)
            ]
        ),
    ),
    probes={
        "one run of failure 2, called 0, of 3": lambda f: f([2], [0], 3),
        "the same run three times": lambda f: f([1, 1, 1], [1, 1, 1], 2),
    },
)


def name_the_failure(accuracy, loss_d, spread, distance):
    """The first of the rules (10.9) that applies, by name: four numbers -> a string."""
    if accuracy < 0.3 and loss_d < math.log(2):
        return "flipped labels"
    if accuracy > 0.95:
        return "D too strong"
    if spread < 0.3:
        return "mode collapse"
    if accuracy < 0.6 and distance > 0.7:
        return "D too weak"
    return "healthy" if distance < 0.5 else "not sure"


_LOG2 = math.log(2)


def _named(order="fscw", flip_loss=_LOG2, default=True, weak_and=True):
    def name(accuracy, loss_d, spread, distance):
        tests = {
            "f": ("flipped labels", accuracy < 0.3 and loss_d < flip_loss),
            "s": ("D too strong", accuracy > 0.95),
            "c": ("mode collapse", spread < 0.3),
            "w": ("D too weak", accuracy < 0.6 and distance > 0.7 if weak_and else accuracy < 0.6 or distance > 0.7),
        }
        for key in order:
            if tests[key][1]:
                return tests[key][0]
        return "healthy" if distance < 0.5 or not default else "not sure"

    return name


def _vital_signs(g):
    a, b, c, d = torch.rand(4, generator=g).tolist()
    return a, 2 * b, 1.2 * c, 1.2 * d


_CASES = {
    "a sure D that is always wrong": (0.02, 0.01, 0.5, 1.5),
    "a D that is always wrong and knows it": (0.1, 3.0, 0.6, 0.9),
    "a D that is always right about a collapsed G": (0.99, 0.05, 0.1, 1.1),
    "a coin, and samples that are all alike": (0.5, 1.39, 0.05, 1.1),
    "a coin, and samples far from the data": (0.52, 1.4, 0.9, 1.3),
    "a coin, and samples near the data": (0.5, 1.39, 0.9, 0.1),
    "a D that tells, samples with spread, near the data": (0.7, 1.2, 0.8, 0.2),
    "a D that tells, and samples far from the data": (0.8, 1.0, 0.8, 0.9),
    "a D that tells, and samples half-way": (0.8, 1.0, 0.8, 0.6),
    "D right in 95 cases of 100": (0.95, 0.3, 0.8, 0.3),
    "an accuracy of 0.6 and samples far away": (0.6, 1.3, 0.8, 0.9),
    "an accuracy of 0.3 and a small loss of D": (0.3, 0.1, 0.8, 0.2),
    "spread exactly 0.3": (0.7, 1.2, 0.3, 0.2),
    "a loss of D of log 2": (0.1, math.log(2), 0.8, 0.2),
    "a loss of D of 1": (0.1, 1.0, 0.8, 0.2),
    "distance exactly 0.5": (0.7, 1.2, 0.8, 0.5),
    "a coin at distance exactly 0.7": (0.5, 1.39, 0.8, 0.7),
}


def _case(numbers):
    return lambda f: f(*numbers)


NAMING = Exercise(
    number="10.8",
    title="Four numbers, one name",
    difficulty=2,
    minutes=12,
    task=r"""
Write a small doctor of your own. The numbers are medians of the last third of a run. Ask these rules in this order, and
return the name of the first that applies:

$$ \begin{aligned}
&\text{flipped labels:} && \text{accuracy} < 0.3 \text{ and } L_D < \log 2 \\
&\text{D too strong:} && \text{accuracy} > 0.95 \\
&\text{mode collapse:} && \text{spread} < 0.3 \\
&\text{D too weak:} && \text{accuracy} < 0.6 \text{ and distance} > 0.7 \\
&\text{healthy:} && \text{distance} < 0.5
\end{aligned} \tag{10.9} $$

If none applies, return `"not sure"`. The bounds are strict: a spread of exactly 0.3 is no collapse.""",
    inputs=_vital_signs,
    solution=name_the_failure,
    explanation=r"""
The order is part of the rules. A collapsed $G$ often meets a $D$ that is always right, and a coin over collapsed samples
also means that $D$ is too weak to object: several rules may apply, and the first one wins. "Not sure" comes last and must
be possible. A doctor who always names something is wrong more often than one who asks for another test.""",
    hints=(
        "Write one `if` for each rule, in the order given, each with a `return`.",
        "`and` joins two signs of one rule. All bounds are strict: use `<` and `>`.",
        'The last line is `return "healthy" if distance < 0.5 else "not sure"`.',
    ),
    wrong=(
        Wrong(
            "collapse before a strong D",
            _named("fcsw"),
            "Mode collapse is asked before D too strong. When both apply, the order decides.",
        ),
        Wrong(
            "a weak D before collapse",
            _named("fswc"),
            "D too weak is asked before mode collapse. When both apply, the order decides.",
        ),
        Wrong(
            "flipped labels by accuracy alone",
            _named(flip_loss=math.inf),
            "Flipped labels are named from the accuracy alone. A D that is wrong and pays a large loss for it is no sign "
            "of them: its labels are right.",
        ),
        Wrong(
            "never unsure",
            _named(default=False),
            "Whatever no rule names is called healthy. Healthy needs a sign of its own; else the answer is not sure.",
        ),
        Wrong(
            "or in place of and",
            _named(weak_and=False),
            "D too weak needs both signs: an undecided D and samples far from the data. One alone is not enough.",
        ),
        Wrong(
            "twice log 2",
            _named(flip_loss=2 * math.log(2)),
            "The bound on D's loss is log 2, half of what a coin pays for both batches.",
        ),
    ),
    right=(_named(),),
    probes={sentence: _case(numbers) for sentence, numbers in _CASES.items()},
)


def posterior(recall, prior):
    """P(failure i | diagnosis j) from P(j | i) in rows (k, k) and P(i) (k,): (k, k), columns add up to 1."""
    joint = prior[:, None] * recall
    return joint / joint.sum(0)


def _recall(g):
    return torch.softmax(2 * torch.eye(4) + torch.randn(4, 4, generator=g), 1), torch.softmax(
        1.5 * torch.randn(4, generator=g), 0
    )


POSTERIOR = Exercise(
    number="10.9",
    title="What a diagnosis is worth",
    difficulty=3,
    minutes=15,
    task=r"""
Row $i$ of `recall` holds $P(\text{diagnosis } j \mid \text{failure } i)$: the table of this chapter, each row divided by
its sum. But the study made every failure equally often, and you do not. Let `prior` hold how often each occurs with you.
Return $P(\text{failure } i \mid \text{diagnosis } j)$ by **Bayes' theorem**, at place `[i, j]`: what a diagnosis is worth
where you work.

Then the open part: break the healthy run in a way that this chapter does not have, three seeds or more, and see what
`diagnose` calls it.""",
    inputs=_recall,
    solution=posterior,
    explanation=r"""
The product rule gives the joint probability, prior times recall. Dividing by its sum over the failures, the probability of
the diagnosis, gives the posterior: $P(i \mid j) = P(i)\,P(j \mid i) / \sum_l P(l)\,P(j \mid l)$. A rare failure that is
recognised in 99 of 100 cases may still be the less likely explanation, if a common one is taken for it in 5 of 100.""",
    hints=(
        "Bayes' theorem: how do you turn $P(j \\mid i)$ and $P(i)$ into a joint probability?",
        "`prior[:, None] * recall` is the joint probability. Which sum over it is the probability of diagnosis $j$?",
        "Divide the joint by its sum over the rows, `joint.sum(0)`: then every column adds up to 1.",
    ),
    wrong=(
        Wrong(
            "all failures equally common",
            lambda recall, prior: recall / recall.sum(0),
            "The prior is not used: this is right only where all failures are equally common.",
        ),
        Wrong(
            "the rows add up to 1",
            lambda recall, prior: prior[:, None] * recall / (prior[:, None] * recall).sum(1, keepdim=True),
            "The rows add up to 1, so this is recall again. Divide by the probability of each diagnosis: a column sum.",
        ),
        Wrong(
            "the joint probability",
            lambda recall, prior: prior[:, None] * recall,
            "This is the joint probability of failure and diagnosis. Divide it by that of the diagnosis.",
        ),
        Wrong(
            "the prior at the columns",
            lambda recall, prior: prior * recall / (prior @ recall),
            "The prior multiplies the columns, the diagnoses. It belongs to the failures, which are the rows.",
        ),
        Wrong(
            "transposed",
            lambda recall, prior: posterior(recall, prior).T,
            "Transposed: the failure is the row, the diagnosis the column.",
        ),
    ),
    right=(
        lambda recall, prior: (prior.diag() @ recall) @ (1 / (prior @ recall)).diag(),
        lambda recall, prior: torch.stack(
            [
                torch.stack(
                    [
                        prior[i] * recall[i, j] / sum(prior[m] * recall[m, j] for m in range(len(prior)))
                        for j in range(len(prior))
                    ]
                )
                for i in range(len(prior))
            ]
        ),
    ),
    probes={
        "a test that is right in 99 of 100 cases, for one run in 100": lambda f: f(
            torch.tensor([[0.99, 0.01], [0.01, 0.99]]), torch.tensor([0.01, 0.99])
        ),
        "a test that never errs": lambda f: f(torch.eye(3), torch.tensor([0.2, 0.3, 0.5])),
    },
    gradient=True,
    discussion=r"""
**For the open part.** Some ideas: train on 100 images, on two classes of digits only, or on images whose rows are
shuffled anew in each batch; give $G$ a single number as noise; let $D$ see the same 64 real images in every step; draw
with the weights of step 50. Write down beforehand what you expect in the log. If the diagnosis is wrong, ask what
the log lacks. If it is "not sure", that is a good answer: an unknown disease should not get a known name. And if it says
"healthy", as it may for two classes of digits, you have found a failure that this log cannot show.""",
)

EXERCISES = [
    ACCURACY,
    SPREAD,
    GRADIENT_NORM,
    SMOOTHED,
    AUTOCORRELATION,
    CONTRADICTION,
    CONFUSION,
    NAMING,
    POSTERIOR,
]
