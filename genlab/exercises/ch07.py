"""Exercises of chapter 07, the VAE's descendants."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def water_filling(eigenvalues, t):
    """Rates in nats and mean squared errors of all directions at the level t = βσ²: (d,) -> (d,) and (d,)."""
    return 0.5 * torch.log(eigenvalues / t).clamp(min=0), eigenvalues.clamp(max=t)


def _water_by_loops(eigenvalues, t):
    rates, errors = [], []
    for value in eigenvalues.tolist():
        alive = value > t
        rates.append(0.5 * math.log(value / t) if alive else 0.0)
        errors.append(float(t) if alive else value)
    return torch.tensor(rates), torch.tensor(errors)


WATER = Exercise(
    number="07.1",
    title="The water level",
    difficulty=1,
    minutes=10,
    task=r"""
Write (7.4): from the eigenvalues of the data's covariance and the level $t = \beta\sigma^2$ compute the rate of each
direction, in nats, and its mean squared error. A direction whose eigenvalue is below $t$ has rate 0 and loses all its
variance. Where the eigenvalue is $e^2 t$, the rate is exactly 1 nat. All directions that are alive have the same error.""",
    inputs=lambda g: (3 * torch.rand(6, generator=g) + 0.05, 0.6 + torch.rand((), generator=g).item()),
    solution=water_filling,
    explanation=r"""
At the optimum the posterior variance is $t/\lambda$ and the KL averages to $\tfrac12 \log(\lambda/t)$. Below the level it
would be negative, which no KL is: the direction is given up, and its whole variance $\lambda$ is lost.""",
    hints=(
        "Two cases for each direction: its eigenvalue lies above the level or below it. What is the rate in each?",
        "A maximum with 0 and a minimum with $t$ do both cases at once.",
        "The rate is half the logarithm of `eigenvalues / t`, clamped at 0; the error is `eigenvalues.clamp(max=t)`.",
    ),
    wrong=(
        Wrong(
            "one half is missing",
            lambda eigenvalues, t: (torch.log(eigenvalues / t).clamp(min=0), eigenvalues.clamp(max=t)),
            "The rates are twice too large: the one half is missing. It comes from the KL of a Gaussian.",
        ),
        Wrong(
            "in bits",
            lambda eigenvalues, t: (0.5 * torch.log2(eigenvalues / t).clamp(min=0), eigenvalues.clamp(max=t)),
            "These rates are in bits. Nats are wanted: the natural logarithm.",
        ),
        Wrong(
            "negative rates",
            lambda eigenvalues, t: (0.5 * torch.log(eigenvalues / t), eigenvalues.clamp(max=t)),
            "Directions below the level get a negative rate. No KL is negative: they collapse, with rate 0.",
        ),
        Wrong(
            "what is told, not what is lost",
            lambda eigenvalues, t: (0.5 * torch.log(eigenvalues / t).clamp(min=0), (eigenvalues - t).clamp(min=0)),
            "The second result is what is conveyed, λ − t. The error is what is lost: the smaller of λ and t.",
        ),
        Wrong(
            "the channel's formula",
            lambda eigenvalues, t: (0.5 * torch.log(1 + eigenvalues / t), eigenvalues.clamp(max=t)),
            "½ log(1 + λ/t) is the capacity of a noisy channel. The rate of a source is ½ log(λ/t), and 0 below the level.",
        ),
    ),
    right=(_water_by_loops,),
    probes={
        "an eigenvalue of e² t": lambda f: f(torch.tensor([0.5 * math.e**2]), 0.5),
        "an eigenvalue below the level": lambda f: f(torch.tensor([0.25]), 0.5),
    },
)


def free_bits_cost(kl, minimum):
    """Σ_j max(minimum, mean over the batch of kl[:, j]): (n, d) -> one number."""
    return kl.mean(0).clamp(min=minimum).sum()


def _free_by_loops(kl, minimum):
    total = 0.0
    for j in range(kl.shape[1]):
        mean = sum(kl[i, j] for i in range(len(kl))) / len(kl)
        total = total + torch.maximum(mean, torch.tensor(minimum, dtype=kl.dtype))
    return total


FREE = Exercise(
    number="07.2",
    title="Free bits",
    difficulty=1,
    minutes=10,
    task=r"""
Write (7.5) for a matrix of KL terms `kl` of shape `(n, d)`. With `minimum = 0` it is the mean KL of the batch. If all
dimensions are below the minimum it is `d * minimum`, and its gradient is zero. A dimension above the minimum on average
is charged in full, also for those examples of which it is below.""",
    inputs=lambda g: (torch.rand(5, 4, generator=g) * torch.tensor([0.1, 1.5, 0.8, 1.0]), 0.45),
    solution=free_bits_cost,
    explanation=r"""
The order is: mean over the batch, maximum, sum over dimensions. With the maximum outside the sum, one dimension could
use up the allowance of all. With the maximum inside the mean, every single example would have to stay below.""",
    hints=(
        "Three operations: a mean over examples, a maximum, a sum over dimensions. In which order?",
        "The mean over the batch comes first and leaves `d` numbers.",
        "`kl.mean(0)` has shape `(d,)`; clamp it from below and sum.",
    ),
    wrong=(
        Wrong(
            "maximum for each example",
            lambda kl, minimum: kl.clamp(min=minimum).mean(0).sum(),
            "The maximum is taken for every example. Average over the batch first, then take the maximum.",
        ),
        Wrong(
            "one allowance for all dimensions",
            lambda kl, minimum: kl.mean(0).sum().clamp(min=minimum),
            "The allowance is given once, to the whole vector: a single dimension can use it up. "
            "Each dimension has its own.",
        ),
        Wrong(
            "minimum for maximum",
            lambda kl, minimum: kl.mean(0).clamp(max=minimum).sum(),
            "This charges at most the minimum, so dimensions above it have no gradient: the other way round.",
        ),
        Wrong(
            "the free part is subtracted",
            lambda kl, minimum: (kl.mean(0) - minimum).clamp(min=0).sum(),
            "This subtracts the free part. Its gradient is right, but the value is lower by d times the minimum.",
        ),
        Wrong(
            "mean over dimensions",
            lambda kl, minimum: kl.mean(0).clamp(min=minimum).mean(),
            "The dimensions are averaged. Independent dimensions add up: take the sum.",
        ),
        Wrong(
            "nothing is free",
            lambda kl, minimum: kl.mean(0).sum(),
            "This is the plain KL: the minimum is not used.",
        ),
    ),
    right=(_free_by_loops, lambda kl, minimum: F.relu(kl.mean(0) - minimum).sum() + minimum * kl.shape[1]),
    probes={
        "all dimensions below the minimum": lambda f: f(torch.full((3, 4), 0.1), 0.5),
        "nothing free, minimum = 0": lambda f: f(torch.tensor([[0.2, 0.4], [0.6, 0.0]]), 0.0),
    },
    gradient=True,
)


def active_units(mu, threshold=0.01):
    """The number of latent dimensions whose mean varies over the examples by more than threshold: (n, d) -> int."""
    return int((mu.var(0) > threshold).sum())


def _active_by_loops(mu, threshold=0.01):
    count = 0
    for column in mu.T:
        centred = column - column.mean()
        count += bool((centred**2).sum() / (len(column) - 1) > threshold)
    return count


def _mu_to_count(g):
    scale = torch.tensor([1.0, 0.02, 0.6, 0.09, 0.3, 0.16, 0.05])
    return torch.randn(40, 7, generator=g) * scale + torch.tensor([0.0, 2.0, -1.0, 0.5, 3.0, -0.4, 0.3]), 0.02


ACTIVE = Exercise(
    number="07.3",
    title="Counting what is alive",
    difficulty=1,
    minutes=5,
    task=r"""
From the posterior means `mu` of many images, shape `(n, d)`, count the active units of (7.6): the dimensions whose
variance over images exceeds `threshold`. A dimension that is the same large number for every image is not active.""",
    inputs=_mu_to_count,
    solution=active_units,
    explanation=r"""
The variance is over examples, dimension 0. A mean that does not move with the image tells nothing about it, however far
from zero it is.""",
    hints=(
        "For each latent dimension: how much does its mean move from image to image?",
        "`mu.var(0)` has one number a dimension.",
        "Compare with the threshold, sum the truth values, and make it an `int`.",
    ),
    wrong=(
        Wrong(
            "the standard deviation",
            lambda mu, threshold=0.01: int((mu.std(0) > threshold).sum()),
            "This compares the standard deviation with the threshold. The definition takes the variance.",
        ),
        Wrong(
            "the mean square",
            lambda mu, threshold=0.01: int((mu.square().mean(0) > threshold).sum()),
            "This is the mean square, not the variance: a dimension that is constant and far from 0 counts as active.",
        ),
        Wrong(
            "over the wrong axis",
            lambda mu, threshold=0.01: int((mu.var(1) > threshold).sum()),
            "The variance is taken over the latent dimensions. It has to be over the examples, dimension 0.",
        ),
        Wrong(
            "the collapsed ones",
            lambda mu, threshold=0.01: int((mu.var(0) <= threshold).sum()),
            "This counts the dimensions that have collapsed. Count the others.",
        ),
        Wrong(
            "threshold is forgotten",
            lambda mu, threshold=0.01: int((mu.var(0) > 0.01).sum()),
            "0.01 is written into the function, so the argument threshold has no effect.",
        ),
        Wrong(
            "a share",
            lambda mu, threshold=0.01: (mu.var(0) > threshold).float().mean().item(),
            "This is the share of active units. Their number is wanted.",
        ),
    ),
    right=(_active_by_loops,),
    probes={
        "the default threshold": lambda f: f(torch.tensor([[0.0, 0.0, 5.0], [0.18, 0.1, 5.0]])),
        "means that are the same for all images": lambda f: f(torch.full((6, 3), 2.0)),
        "a variance of exactly the threshold": lambda f: f(torch.tensor([[0.0], [1.0]]), 0.5),
        "a single varying dimension, threshold 0": lambda f: f(torch.tensor([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]), 0.0),
    },
)


def straight_through(h, codebook):
    """Nearest codebook vectors, with the gradient of the identity in h: (n, d) and (k, d) -> (n, d)."""
    codes = torch.cdist(h, codebook).argmin(1)
    e = codebook[codes]
    return h + (e - h).detach()


def _straight_by_loops(h, codebook):
    rows = []
    for row in h:
        distance = ((codebook - row) ** 2).sum(1)
        rows.append(row - row.detach() + codebook[int(distance.argmin())].detach())
    return torch.stack(rows)


def _soft(h, codebook):
    return torch.softmax(-(torch.cdist(h, codebook) ** 2), 1) @ codebook


STRAIGHT = Exercise(
    number="07.4",
    title="Straight through",
    difficulty=2,
    minutes=10,
    task=r"""
Write (7.10) for rows `h` of shape `(n, d)` and a codebook `(k, d)`. The values are those of the nearest codebook vectors.
The derivative in `h` is 1, as if nothing had happened, and the codebook gets no gradient: it follows a moving average.""",
    inputs=lambda g: (torch.randn(6, 3, generator=g), 1.5 * torch.randn(5, 3, generator=g)),
    solution=straight_through,
    explanation=r"""
In the forward direction $h + (e - h)$ is $e$. The bracket is detached, so backward only the first $h$ is seen. Since $e$
stands in the bracket, the codebook is cut off too.""",
    hints=(
        "You need the number of the nearest vector for each row, and then a sum of which one part has no gradient.",
        "`torch.cdist` gives all distances, `argmin(1)` the codes, and indexing the codebook the vectors `e`.",
        "Return `h + (e - h).detach()`.",
    ),
    wrong=(
        Wrong(
            "no gradient",
            lambda h, codebook: codebook[torch.cdist(h, codebook).argmin(1)].detach(),
            "The values are right, but h gets no gradient: the encoder would never learn.",
        ),
        Wrong(
            "the gradient goes to the codebook",
            lambda h, codebook: codebook[torch.cdist(h, codebook).argmin(1)],
            "The gradient goes to the codebook instead of h: the encoder would never learn. Without detach, h and −h cancel.",
        ),
        Wrong(
            "nothing is quantised",
            lambda h, codebook: h + 0 * codebook[torch.cdist(h, codebook).argmin(1)].detach(),
            "This returns h itself: the forward value must be the codebook vector.",
        ),
        Wrong(
            "the farthest",
            lambda h, codebook: h + (codebook[torch.cdist(h, codebook).argmax(1)] - h).detach(),
            "This takes the farthest vector: argmin, not argmax.",
        ),
        Wrong(
            "the largest product",
            lambda h, codebook: h + (codebook[(h @ codebook.T).argmax(1)] - h).detach(),
            "The vector with the largest dot product is not the nearest: the lengths matter too.",
        ),
        Wrong(
            "a soft choice",
            _soft,
            "This averages the codebook with soft weights. The choice is hard: one vector for each row.",
        ),
    ),
    right=(_straight_by_loops,),
    probes={
        "rows that are codebook vectors": lambda f: f(torch.eye(3)[[2, 0]], torch.eye(3)),
        "a long vector and a near one": lambda f: f(torch.tensor([[1.0, 0.0]]), torch.tensor([[9.0, 0.0], [0.5, 0.0]])),
    },
    gradient=True,
)


def dreg_gradient(log_w, slope):
    """Σ_i w̃_i² slope_i, with w̃ the normalised weights over the k samples: (k, n) twice -> (n,)."""
    return (torch.softmax(log_w, 0) ** 2 * slope).sum(0)


def _dreg_by_hand(log_w, slope):
    w = (log_w - log_w.max(0).values).exp()
    return ((w / w.sum(0)).square() * slope).sum(0)


DREG = Exercise(
    number="07.5",
    title="The weights of a doubly reparameterised gradient",
    difficulty=2,
    minutes=10,
    task=r"""
Write the sum in (7.9) for one parameter. `log_w` of shape `(k, n)` holds the log-weights of $k$ samples for $n$ images,
and `slope` the products $\frac{\partial \log w_i}{\partial z_i} \nabla_\phi z_i$. With $k = 1$ it is the slope itself. With
equal weights it is the mean slope divided by $k$. Adding any number to all log-weights of an image changes nothing.""",
    inputs=lambda g: (torch.randn(4, 3, generator=g), torch.randn(4, 3, generator=g)),
    solution=dreg_gradient,
    explanation=r"""
The normalised weights are the softmax of the log-weights over samples. Squared, they no longer sum to one: with equal
weights the factor is $1/k$. So the mean and the standard deviation of the estimator both shrink with $k$, the latter faster.""",
    hints=(
        "Normalised weights sum to one over the samples. Which function makes them from log-weights?",
        "The samples lie along dimension 0. The square is taken after the normalisation.",
        "`torch.softmax(log_w, 0) ** 2` times the slopes, summed over dimension 0.",
    ),
    wrong=(
        Wrong(
            "the plain weights",
            lambda log_w, slope: (torch.softmax(log_w, 0) * slope).sum(0),
            "The weights are not squared. With w̃ in place of w̃², this is another and biased gradient, "
            "known as sticking the landing.",
        ),
        Wrong(
            "the square is normalised",
            lambda log_w, slope: (torch.softmax(2 * log_w, 0) * slope).sum(0),
            "The squares were made to sum to one again. Normalise first, square after.",
        ),
        Wrong(
            "over the wrong axis",
            lambda log_w, slope: (torch.softmax(log_w, 1) ** 2 * slope).sum(0),
            "The softmax runs over the images. The samples lie along dimension 0.",
        ),
        Wrong(
            "a mean over samples",
            lambda log_w, slope: (torch.softmax(log_w, 0) ** 2 * slope).mean(0),
            "This divides by k once more. The weights are normalised already: take the sum.",
        ),
        Wrong(
            "weights that are not normalised",
            lambda log_w, slope: (log_w.exp() ** 2 * slope).sum(0),
            "The weights are not normalised: adding a number to all log-weights changes the result.",
        ),
        Wrong(
            "the square of the sum",
            lambda log_w, slope: (torch.softmax(log_w, 0) * slope).sum(0) ** 2,
            "This squares the whole sum. Only the weight of each sample is squared.",
        ),
    ),
    right=(_dreg_by_hand, lambda log_w, slope: ((2 * torch.log_softmax(log_w, 0)).exp() * slope).sum(0)),
    probes={
        "one sample": lambda f: f(torch.tensor([[3.0, -2.0]]), torch.tensor([[0.5, -4.0]])),
        "equal weights": lambda f: f(torch.full((5, 1), -7.0), torch.arange(5.0)[:, None]),
        "log-weights near −1,000": lambda f: f(torch.tensor([[-1000.0], [-1001.0]]), torch.tensor([[1.0], [2.0]])),
    },
)


def code_bits(logits, codes):
    """−log₂ p(codes): logits (n, L, K), with logits[:, i] made from the codes before i, and codes (n, L) -> (n,)."""
    log_p = torch.log_softmax(logits, 2).gather(2, codes[..., None])[..., 0]
    return -log_p.sum(1) / math.log(2)


def _bits_by_loops(logits, codes):
    rows = []
    for a, c in zip(logits, codes, strict=True):
        total = 0.0
        for i in range(len(c)):
            total = total + (torch.logsumexp(a[i], 0) - a[i, c[i]]) / math.log(2)
        rows.append(total)
    return torch.stack(rows)


def _bits_shifted(logits, codes):
    log_p = torch.log_softmax(logits[:, :-1], 2).gather(2, codes[:, 1:, None])[..., 0]
    return -log_p.sum(1) / math.log(2)


BITS = Exercise(
    number="07.6",
    title="What a grid of codes costs",
    difficulty=2,
    minutes=10,
    task=r"""
Write $-\log_2 p(c)$ of (7.12) for logits of shape `(n, L, K)`, of which `logits[:, i]` belongs to code `i` and was made from
the codes before it. Equal logits cost $L \log_2 K$ bits, whatever the codes. A prior that is sure and right costs 0.
Adding a number to all $K$ logits of a place changes nothing.""",
    inputs=lambda g: (2 * torch.randn(3, 5, 4, generator=g), torch.randint(0, 4, (3, 5), generator=g)),
    solution=code_bits,
    explanation=r"""
The product (7.12) becomes a sum of logarithms, one a place. `log_softmax` over the $K$ codes makes log-probabilities of
the logits, `gather` picks that of the code that came, and $\log_2 p = \log p / \log 2$.""",
    hints=(
        "A probability of a chain is a product. What is its logarithm, and which of the $K$ numbers counts at each place?",
        "`torch.log_softmax(logits, 2)` gives log-probabilities; `gather` picks those of the codes.",
        "Pick with `.gather(2, codes[..., None])[..., 0]`, sum over places, change the sign, divide by `math.log(2)`.",
    ),
    wrong=(
        Wrong(
            "in nats",
            lambda logits, codes: F.cross_entropy(logits.transpose(1, 2), codes, reduction="none").sum(1),
            "These are nats. Divide by log 2 for bits.",
        ),
        Wrong(
            "multiplied by log 2",
            lambda logits, codes: F.cross_entropy(logits.transpose(1, 2), codes, reduction="none").sum(1) * math.log(2),
            "Bits are nats divided by log 2, not multiplied: a bit is less than a nat, so there are more of them.",
        ),
        Wrong(
            "mean over the places",
            lambda logits, codes: (
                F.cross_entropy(logits.transpose(1, 2), codes, reduction="none").mean(1) / math.log(2)
            ),
            "This is the mean per place. The whole grid costs the sum.",
        ),
        Wrong(
            "the wrong sign",
            lambda logits, codes: (
                -F.cross_entropy(logits.transpose(1, 2), codes, reduction="none").sum(1) / math.log(2)
            ),
            "This is log₂ p, which is negative. A code length is minus that.",
        ),
        Wrong(
            "shifted once more",
            _bits_shifted,
            "The codes are shifted against the logits. The prior has done that already: logits[:, i] belongs to code i, "
            "and the first code has to be paid for as well.",
        ),
        Wrong(
            "softmax over the places",
            lambda logits, codes: (
                -torch.log_softmax(logits, 1).gather(2, codes[..., None])[..., 0].sum(1) / math.log(2)
            ),
            "The softmax runs over the places. Probabilities sum to one over the K codes, the last dimension.",
        ),
        Wrong(
            "one number for the batch",
            lambda logits, codes: F.cross_entropy(logits.transpose(1, 2), codes, reduction="sum") / math.log(2),
            "This sums over the batch as well. One number for each grid is wanted.",
        ),
    ),
    right=(
        _bits_by_loops,
        lambda logits, codes: F.cross_entropy(logits.transpose(1, 2), codes, reduction="none").sum(1) / math.log(2),
    ),
    probes={
        "equal logits": lambda f: f(torch.zeros(2, 3, 8), torch.zeros(2, 3, dtype=torch.long)),
        "a prior that is sure": lambda f: f(
            1000.0 * F.one_hot(torch.tensor([[1, 0]]), 3).float(), torch.tensor([[1, 0]])
        ),
        "a prior that is sure and wrong": lambda f: f(
            1000.0 * F.one_hot(torch.tensor([[1, 0]]), 3).float(), torch.tensor([[1, 2]])
        ),
    },
)


def mutual_information_gap(information, entropy):
    """Equation (7.14) from I(z_j; v_k) of shape (d, m) and H(v_k) of shape (m,), both in nats: one number."""
    best = information.topk(2, dim=0).values
    return ((best[0] - best[1]) / entropy).mean()


def _gap_by_sorting(information, entropy):
    total = 0.0
    for k in range(information.shape[1]):
        column = sorted(information[:, k].tolist())
        total += (column[-1] - column[-2]) / float(entropy[k])
    return total / information.shape[1]


def _gap_of_means(information, entropy):
    best = information.topk(2, dim=0).values
    return (best[0] - best[1]).mean() / entropy.mean()


MIG = Exercise(
    number="07.7",
    title="A gap, and how far to trust it",
    difficulty=3,
    minutes=40,
    task=r"""
Write the mutual information gap for any number of latents and factors, from a matrix of mutual informations and the
factors' entropies, both in nats. It is 1 when each factor is known from one latent and no other knows of it, and 0 when
two latents know each factor equally well. Renumbering latents or factors changes nothing. Then train five seeds of the
β-VAE of this chapter on `spots`, for three values of $\beta$, and report the gap of all fifteen with their rates. Is
the spread between seeds larger than the difference between the $\beta$? Which seed would you have shown in a paper?""",
    inputs=lambda g: (torch.rand(4, 3, generator=g), 1.0 + torch.rand(3, generator=g)),
    solution=mutual_information_gap,
    explanation=r"""
For each factor, a column, the two largest entries are compared, and the difference is divided by what there was to know.
The mean over factors comes last.""",
    hints=(
        "A column belongs to a factor. Which two entries of it matter?",
        "`topk(2, dim=0)` gives the two largest of each column, the largest first.",
        "Divide the difference by the entropies, column by column, and take the mean.",
    ),
    wrong=(
        Wrong(
            "not divided by the entropy",
            lambda information, entropy: (
                information.topk(2, dim=0).values[0] - information.topk(2, dim=0).values[1]
            ).mean(),
            "The gap is in nats here. Divide by the entropy of each factor, so that factors with more values do not count more.",
        ),
        Wrong(
            "the best alone",
            lambda information, entropy: (information.max(0).values / entropy).mean(),
            "This says how well the best latent knows each factor. The gap to the second best is wanted.",
        ),
        Wrong(
            "best against worst",
            lambda information, entropy: ((information.max(0).values - information.min(0).values) / entropy).mean(),
            "This is the distance to the worst latent. The second best is the one that shares the factor.",
        ),
        Wrong(
            "a gap between factors",
            lambda information, entropy: (
                information.topk(2, dim=1).values[:, 0] - information.topk(2, dim=1).values[:, 1]
            ).mean(),
            "This compares factors for each latent. Compare latents for each factor: reduce over dimension 0.",
        ),
        Wrong(
            "divided by the mean entropy",
            _gap_of_means,
            "The mean gap is divided by the mean entropy. Divide each factor's gap by its own entropy, then average.",
        ),
        Wrong(
            "a sum over factors",
            lambda information, entropy: (
                (information.topk(2, dim=0).values[0] - information.topk(2, dim=0).values[1]) / entropy
            ).sum(),
            "The factors are summed, so the gap can exceed 1. Take the mean.",
        ),
    ),
    right=(_gap_by_sorting,),
    probes={
        "each factor in a latent of its own": lambda f: f(
            torch.diag(torch.tensor([2.0, 1.0, 0.5])), torch.tensor([2.0, 1.0, 0.5])
        ),
        "two latents that share": lambda f: f(torch.ones(2, 3), torch.ones(3)),
    },
    discussion=r"""
**For the open part.** A good report shows all fifteen gaps, not a mean, beside rate and distortion: a model that sends
little can have any gap. Expect seeds to differ by about as much as values of $\beta$ do. A single seed shown in a paper is
an anecdote, and the seed was chosen with labels that an unsupervised method does not have (Locatello et al. 2019).""",
)

EXERCISES = [WATER, FREE, ACTIVE, STRAIGHT, DREG, BITS, MIG]
