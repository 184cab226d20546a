"""Exercises of chapter 12, conditional GANs and control."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def conditional_d(log_px, log_qx, log_py, log_ry):
    """D*(x, y) from log p(x|y), log q(x|y), log p(y), log r(y): (n,) four times -> (n,)."""
    return torch.sigmoid((log_px + log_py) - (log_qx + log_ry))


def _conditional_by_densities(log_px, log_qx, log_py, log_ry):
    real, fake = (log_px + log_py).exp(), (log_qx + log_ry).exp()
    return real / (real + fake)


def _conditional_by_softmax(log_px, log_qx, log_py, log_ry):
    return torch.softmax(torch.stack([log_px + log_py, log_qx + log_ry], 1), 1)[:, 0]


_DEEP = torch.tensor([-2000.0, -3000.0])

CONDITIONAL_D = Exercise(
    number="12.1",
    title="The best discriminator, when the labels differ too",
    difficulty=1,
    minutes=8,
    task=r"""
Real pairs have labels with shares $p(y)$; generated pairs were drawn with other shares $r(y)$. Write the discriminator
that is best against this generator, from $\log p(x|y)$, $\log q(x|y)$, $\log p(y)$ and $\log r(y)$ at each of `n` pairs.
With $r = p$ it is (12.2), and with perfect images, $q(x|y) = p(x|y)$, it is $p(y)/(p(y) + r(y))$. It must also work for
log-densities of −2,000, whose exponentials are 0.""",
    inputs=lambda g: tuple(torch.randn(5, generator=g) for _ in range(4)),
    solution=conditional_d,
    explanation=r"""
The best discriminator compares the densities of what it sees, and it sees pairs: $p(x, y) = p(x|y)\,p(y)$ and
$q(x, y) = q(x|y)\,r(y)$ (product rule). A ratio $a/(a+b)$ is $\sigma(\log a - \log b)$, and no density is ever computed.
So $D$ earns something by knowing which labels come too often, though the images may be perfect, and $G$, which is given
its labels, can do nothing about it. Drawing $G$'s labels from the real batch makes the shares cancel.""",
    hints=(
        "$D$ judges pairs. What is the density of a pair, for real and for generated ones?",
        "$D^* = a/(a+b)$ with $a = p(x|y)\\,p(y)$ and $b = q(x|y)\\,r(y)$. Write it with $\\log a$ and $\\log b$.",
        "$a/(a+b) = \\sigma(\\log a - \\log b)$, and each logarithm of a product is a sum of two arguments.",
    ),
    wrong=(
        Wrong(
            "the label shares left out",
            lambda log_px, log_qx, log_py, log_ry: torch.sigmoid(log_px - log_qx),
            "This is (12.2), which holds for equal label shares. Here p(y) and r(y) differ, and D may use that.",
        ),
        Wrong(
            "the label shares swapped",
            lambda log_px, log_qx, log_py, log_ry: torch.sigmoid((log_px + log_ry) - (log_qx + log_py)),
            "p(y) belongs to the real pairs and r(y) to the generated ones. Here they are swapped.",
        ),
        Wrong(
            "real and generated swapped",
            lambda log_px, log_qx, log_py, log_ry: torch.sigmoid((log_qx + log_ry) - (log_px + log_py)),
            "This is 1 − D*: the probability that the pair is generated.",
        ),
        Wrong(
            "the logit",
            lambda log_px, log_qx, log_py, log_ry: (log_px + log_py) - (log_qx + log_ry),
            "This is the logit of D*. A sigmoid makes it a probability.",
        ),
        Wrong(
            "densities that underflow",
            _conditional_by_densities,
            "Right for moderate values. At −2,000 both densities round to 0, and 0/0 is not a number: stay with logarithms.",
        ),
    ),
    right=(_conditional_by_softmax,),
    probes={
        "log-densities of −2,000 and −3,000": lambda f: f(_DEEP, _DEEP + 1, torch.zeros(2), torch.zeros(2)),
    },
    gradient=True,
)


def projection_logit(h, y, V, w, b):
    """⟨v_y, h⟩ + ⟨w, h⟩ + b: features h (n, d), labels y (n,), rows V (classes, d), w (d,), a number b -> (n,)."""
    return (V[y] * h).sum(1) + h @ w + b


def _projection_by_loop(h, y, V, w, b):
    rows = []
    for i in range(len(h)):
        total = b
        for j in range(h.shape[1]):
            total = total + (V[y[i], j] + w[j]) * h[i, j]
        rows.append(total)
    return torch.stack(rows)


def _projection_one_hot(h, y, V, w, b):
    return ((F.one_hot(y, len(V)).to(h) @ V + w) * h).sum(1) + b


def _projection_inputs(g):
    h, V = torch.randn(5, 3, generator=g), torch.randn(4, 3, generator=g)
    return h, torch.randint(0, 4, (5,), generator=g), V, torch.randn(3, generator=g), torch.randn((), generator=g)


PROJECTION = Exercise(
    number="12.2",
    title="The logit of the projection discriminator",
    difficulty=1,
    minutes=8,
    task=r"""
Write (12.9) with $\psi(h) = \langle w, h \rangle + b$. For each image there is one logit: that of *its* label. With
`V = 0` the label has no effect; with `h = 0` each logit is `b`.""",
    inputs=_projection_inputs,
    solution=projection_logit,
    explanation=r"""
`V[y]` picks the row of each example's label, shape `(n, d)`; multiplied by `h` and summed over `d` it is the inner
product. The same as a linear layer whose weight vector $w + v_y$ belongs to the class. `h @ V.T` would compute the
products with all classes, of which only one per example is wanted.""",
    hints=(
        "Which row of `V` belongs to example $i$? Indexing with a whole vector of labels picks all rows at once.",
        "`V[y]` has shape `(n, d)`, as `h` has. The inner product of rows is a product and a sum over dimension 1.",
        "`(V[y] * h).sum(1)` is the projection; `h @ w + b` is ψ.",
    ),
    wrong=(
        Wrong(
            "ψ alone",
            lambda h, y, V, w, b: h @ w + b,
            "This is ψ alone. The projection ⟨v_y, h⟩ is missing, so the label has no effect.",
        ),
        Wrong(
            "the projection alone",
            lambda h, y, V, w, b: (V[y] * h).sum(1),
            "This is the projection alone. ψ(h), which asks whether the image is real at all, is missing.",
        ),
        Wrong(
            "the logits of all classes",
            lambda h, y, V, w, b: h @ V.T + (h @ w + b)[:, None],
            "This has a logit for every class. Of each example only that of its own label is wanted: shape (n,).",
        ),
        Wrong(
            "the sum over all classes",
            lambda h, y, V, w, b: (h @ V.T).sum(1) + h @ w + b,
            "The products with all classes are added up. Pick the row of each example's own label, V[y].",
        ),
        Wrong(
            "mean for sum",
            lambda h, y, V, w, b: (V[y] * h).mean(1) + h @ w + b,
            "The inner product is a sum over the features; this is their mean, d times too small.",
        ),
        Wrong(
            "added, not multiplied",
            lambda h, y, V, w, b: V[y].sum(1) + h @ w + b,
            "The label's vector is added without meeting h. This is concatenation before a linear layer, (12.6): the label "
            "can shift the logit and cannot change which images look right.",
        ),
        Wrong(
            "b left out",
            lambda h, y, V, w, b: (V[y] * h).sum(1) + h @ w,
            "The constant b of ψ is missing: with h = 0 the logit is b.",
        ),
    ),
    right=(_projection_by_loop, _projection_one_hot),
    gradient=True,
)


def accuracy_per_class(logits, y):
    """Share of the samples asked for class c that are read as c: logits (n, classes), labels (n,) -> (classes,)."""
    right = (logits.argmax(1) == y).float()
    shares = [right[y == c].mean() for c in range(logits.shape[1])]  # the mean of nothing is NaN
    return torch.stack(shares)


def _accuracy_by_counts(logits, y):
    classes = logits.shape[1]
    asked = F.one_hot(y, classes).float()
    hit = asked * (logits.argmax(1) == y).float()[:, None]
    return hit.sum(0) / asked.sum(0)


def _precision_per_class(logits, y):
    read = logits.argmax(1)
    return torch.stack([(y[read == c] == c).float().mean() for c in range(logits.shape[1])])


def _absent_is_zero(logits, y):
    return accuracy_per_class(logits, y).nan_to_num(0.0)


def _accuracy_inputs(g):
    y = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2])
    logits = torch.randn(9, 4, generator=g) - torch.tensor([0.0, 0.0, 0.0, 9.0])
    return logits + 1.0 * F.one_hot(y, 4), y


_ASKED = torch.tensor([0, 0, 1, 1, 1])
_READ = F.one_hot(torch.tensor([0, 1, 1, 1, 0]), 3).float()

ACCURACY = Exercise(
    number="12.3",
    title="Which classes obey?",
    difficulty=1,
    minutes=10,
    task=r"""
Ninety-eight per cent of the samples were read as asked, but perhaps all failures are sevens. From the classifier's logits
and the labels that were asked for, return the share read as asked **for each class**. A class that was never asked for
has no share: return NaN there, not 0. If two zeros were asked for and read as 0 and 1, the share of class 0 is ½.""",
    inputs=_accuracy_inputs,
    solution=accuracy_per_class,
    explanation=r"""
Among the samples with $y = c$, count those that are read as $c$. Grouping by the class that was *read* instead answers
another question, how far a reading can be trusted. The mean of an empty set is NaN, which says *unknown*; a 0 would say
*always wrong*. The plain mean of these shares is the overall accuracy only if all classes are asked for equally often.""",
    hints=(
        "The reading is the class with the largest logit. Along which dimension is that?",
        "`logits.argmax(1) == y` says for each sample whether it obeyed. Average it over the samples with `y == c`.",
        "For each `c` in `range(logits.shape[1])`: `right[y == c].float().mean()`. An empty mean is NaN by itself.",
    ),
    wrong=(
        Wrong(
            "grouped by what was read",
            _precision_per_class,
            "This groups by the class that was read. Asked is: of the samples that should be a c, how many are?",
        ),
        Wrong(
            "one number",
            lambda logits, y: (logits.argmax(1) == y).float().mean(),
            "This is the accuracy over all classes together. One share for each class is wanted.",
        ),
        Wrong(
            "divided by all samples",
            lambda logits, y: torch.stack(
                [((logits.argmax(1) == y) & (y == c)).sum() / len(y) for c in range(logits.shape[1])]
            ),
            "The hits of each class are divided by the number of all samples. Divide by the samples of that class.",
        ),
        Wrong(
            "0 for a class that was never asked for",
            _absent_is_zero,
            "A class that was never asked for gets 0, as if it had always failed. Nothing is known about it: NaN.",
        ),
        Wrong(
            "the mean probability",
            lambda logits, y: torch.stack([logits.softmax(1)[y == c, c].mean() for c in range(logits.shape[1])]),
            "This is the mean probability of the label. Asked is how often the label has the largest logit.",
        ),
    ),
    right=(_accuracy_by_counts,),
    probes={
        "two zeros read as 0 and 1, three ones read as 1, 1 and 0, no twos": lambda f: f(_READ, _ASKED),
    },
)


def truncated_normal(u, psi):
    """Standard normal numbers cut off at ±psi, from uniform u in (0, 1): any shape, a number -> the same shape."""
    normal = torch.distributions.Normal(0.0, 1.0)
    low, high = normal.cdf(torch.tensor([-psi, psi], dtype=u.dtype))
    return normal.icdf(low + u * (high - low))


def _truncated_by_erf(u, psi):
    reach = math.erf(psi / math.sqrt(2))
    return math.sqrt(2) * torch.erfinv((2 * u - 1) * reach)


def _clamped(u, psi):
    return torch.distributions.Normal(0.0, 1.0).icdf(u).clamp(-psi, psi)


def _scaled(u, psi):
    return psi * torch.distributions.Normal(0.0, 1.0).icdf(u)


def _one_sided(u, psi):
    normal = torch.distributions.Normal(0.0, 1.0)
    return normal.icdf(u * normal.cdf(torch.tensor(psi, dtype=u.dtype)))


def _half(u, psi):
    normal = torch.distributions.Normal(0.0, 1.0)
    low, high = 0.5, normal.cdf(torch.tensor(psi, dtype=u.dtype))
    return normal.icdf(low + u * (high - low))


TRUNCATED = Exercise(
    number="12.4",
    title="Truncated, not clamped",
    difficulty=2,
    minutes=12,
    task=r"""
Write (12.11): turn uniform numbers `u` into normal numbers cut off at $\pm\psi$, without drawing anything again. At
$u = \tfrac12$ it gives 0; as $u$ goes to 0 or 1 it reaches $-\psi$ or $\psi$; it rises strictly in between; for large
$\psi$ it is $\Phi^{-1}(u)$. No single value comes up with positive probability.""",
    inputs=lambda g: (0.02 + 0.96 * torch.rand(4, 3, generator=g), 0.5 + torch.rand((), generator=g).item()),
    solution=truncated_normal,
    explanation=r"""
$\Phi(\psi) - \Phi(-\psi)$ is the probability that a normal number lies inside. If $u$ is uniform on $(0, 1)$, then
$\Phi(-\psi) + u\,(\Phi(\psi) - \Phi(-\psi))$ is uniform on the probabilities of the inside, and $\Phi^{-1}$ turns them
into numbers with the right density (inverse-transform sampling, chapter 02). Clamping leaves the inside as it was and
piles the rest on the two ends: at $\psi = 1$ that is a third of all numbers. Scaling keeps the bell and cuts nothing.""",
    hints=(
        "Inverse-transform sampling: which interval of probabilities do the allowed values have?",
        "The allowed values lie between $\\Phi(-\\psi)$ and $\\Phi(\\psi)$. Stretch `u` onto that interval.",
        "With `normal = torch.distributions.Normal(0.0, 1.0)`, use `normal.cdf` at −psi and psi, then `normal.icdf`.",
    ),
    wrong=(
        Wrong(
            "clamped",
            _clamped,
            "This clamps: all that lay outside sits on the two ends now. A truncated normal has no such heaps; it stretches "
            "u onto the allowed probabilities.",
        ),
        Wrong(
            "scaled",
            _scaled,
            "This multiplies by psi. The result is a narrower or wider normal, which still goes beyond psi.",
        ),
        Wrong(
            "cut on one side",
            _one_sided,
            "This cuts off above psi only. Numbers below −psi still come: the interval must start at Φ(−psi).",
        ),
        Wrong(
            "the positive half",
            _half,
            "This gives positive numbers only: the interval starts at ½ in place of Φ(−psi).",
        ),
        Wrong(
            "uniform between the ends",
            lambda u, psi: psi * (2 * u - 1),
            "This is uniform between −psi and psi. Inside, the density must still be a bell: use Φ and its inverse.",
        ),
        Wrong(
            "the inverse left out",
            lambda u, psi: (
                torch.distributions.Normal(0.0, 1.0).cdf(torch.tensor(-psi, dtype=u.dtype))
                + u * (2 * torch.distributions.Normal(0.0, 1.0).cdf(torch.tensor(psi, dtype=u.dtype)) - 1)
            ),
            "These are probabilities, between 0 and 1. The inverse distribution function turns them into numbers.",
        ),
    ),
    right=(_truncated_by_erf,),
    probes={
        "near the ends, u = 0.001 and 0.999": lambda f: f(torch.tensor([0.001, 0.5, 0.999]), 0.7),
        "a large threshold, psi = 4": lambda f: f(torch.tensor([0.1, 0.5, 0.8]), 4.0),
    },
    gradient=True,
)


def spherical(a, b, t):
    """slerp(a, b; t) of (12.14), row by row: (n, d) twice and a number t -> (n, d); straight for parallel rows."""
    omega = torch.acos(F.cosine_similarity(a, b, dim=1).clamp(-1, 1))[:, None]
    parallel = omega < 1e-3
    safe = torch.where(parallel, torch.ones_like(omega), omega)  # keeps 0/0 out of the values and the gradients
    arc = (torch.sin((1 - t) * safe) * a + torch.sin(t * safe) * b) / torch.sin(safe)
    return torch.where(parallel, (1 - t) * a + t * b, arc)


def _spherical_by_loop(a, b, t):
    rows = []
    for p, q in zip(a, b, strict=True):
        omega = torch.atan2((p / p.norm() - q / q.norm()).norm(), (p / p.norm() + q / q.norm()).norm()) * 2
        if omega < 1e-3:
            rows.append((1 - t) * p + t * q)
        else:
            rows.append(torch.sin((1 - t) * omega) / torch.sin(omega) * p + torch.sin(t * omega) / torch.sin(omega) * q)
    return torch.stack(rows)


def _spherical_nan(a, b, t):
    omega = torch.acos(F.cosine_similarity(a, b, dim=1).clamp(-1, 1))[:, None]
    return (torch.sin((1 - t) * omega) * a + torch.sin(t * omega) * b) / torch.sin(omega)


def _spherical_raw_dot(a, b, t):
    omega = torch.acos((a * b).sum(1, keepdim=True).clamp(-0.999, 0.999))
    return (torch.sin((1 - t) * omega) * a + torch.sin(t * omega) * b) / torch.sin(omega)


def _spherical_batch(a, b, t):
    omega = torch.acos(F.cosine_similarity(a.flatten(), b.flatten(), dim=0).clamp(-1, 1))
    if omega < 1e-3:
        return (1 - t) * a + t * b
    return (torch.sin((1 - t) * omega) * a + torch.sin(t * omega) * b) / torch.sin(omega)


def _spherical_renormalised(a, b, t):
    straight = (1 - t) * a + t * b
    length = (1 - t) * a.norm(dim=1, keepdim=True) + t * b.norm(dim=1, keepdim=True)
    return straight / straight.norm(dim=1, keepdim=True) * length


_ROWS = torch.tensor([[3.0, 0.0, 0.0], [0.0, 2.0, 0.0], [1.0, 2.0, 2.0]])

SLERP = Exercise(
    number="12.5",
    title="Along the arc, with its edge cases",
    difficulty=2,
    minutes=15,
    task=r"""
Write (12.14) for rows of `a` and `b`, where $\omega$ is the angle between the two rows. Rows may have any length. At
$t = 0$ and $t = 1$ it gives `a` and `b`. For two perpendicular rows of length 1 the midpoint has length 1. Where the
angle is below 0.001, return the straight line: the formula would divide 0 by 0 there. Other rows of the batch must not
notice.""",
    inputs=lambda g: (
        torch.randn(4, 3, generator=g),
        torch.randn(4, 3, generator=g),
        torch.rand((), generator=g).item(),
    ),
    solution=spherical,
    explanation=r"""
The cosine of the angle is the inner product of the rows *divided by both lengths*. Rounding can make it 1.0000001, where
`acos` is NaN, hence the clamp. For parallel rows all three sines vanish, and their ratio tends to $1 - t$ and $t$, the
straight line. The division happens in both branches of `torch.where`, so the angle is replaced by a harmless one first:
a NaN in the branch that is not taken would still come back in the gradient. Opposite rows have no arc of their own:
every great circle through both is as short as any other, and a program should say so or choose.""",
    hints=(
        "`F.cosine_similarity(a, b, dim=1)` is the cosine for each row. What shape must $\\omega$ have to multiply rows?",
        "With `omega` of shape `(n, 1)`, (12.14) is one line. Then use `torch.where` for the rows with a small angle.",
        "`torch.where(omega < 1e-3, (1 - t) * a + t * b, arc)`, with `clamp(-1, 1)` before `acos`.",
    ),
    wrong=(
        Wrong(
            "a straight line",
            lambda a, b, t: (1 - t) * a + t * b,
            "This is the straight line. For two perpendicular rows of length 1 its midpoint has length 0.71.",
        ),
        Wrong(
            "parallel rows give NaN",
            _spherical_nan,
            "Right for all rows but parallel ones: there the formula is 0/0. Return the straight line for them.",
        ),
        Wrong(
            "inner product for cosine",
            _spherical_raw_dot,
            "The angle comes from the inner product of rows that were not divided by their lengths. That is the cosine only "
            "for rows of length 1.",
        ),
        Wrong(
            "one angle for the batch",
            _spherical_batch,
            "This takes one angle for all rows together. Each pair of rows has its own: use dim=1, and keep shape (n, 1).",
        ),
        Wrong(
            "the ends swapped",
            lambda a, b, t: spherical(b, a, t),
            "At t = 0 this gives b. The walk starts at a: the weight of a is sin((1 − t)ω)/sin ω.",
        ),
        Wrong(
            "a stretched straight line",
            _spherical_renormalised,
            "This stretches the points of the straight line to the sphere. The right arc, but not at constant speed: at "
            "t = ¼ the angle is not a quarter of the way.",
        ),
    ),
    right=(_spherical_by_loop,),
    probes={
        "both ends, t = 0 and t = 1": lambda f: (f(_ROWS, _ROWS.flip(0), 0.0), f(_ROWS, _ROWS.flip(0), 1.0)),
        "parallel rows beside others": lambda f: f(_ROWS, torch.tensor([[6.0, 0, 0], [2.0, 0, 0], [1.0, 2, 2]]), 0.25),
        "a quarter of the way between perpendicular rows": lambda f: f(torch.eye(3)[:2], torch.eye(3)[1:], 0.25),
        "an angle of 0.0005, and one of 0.002": lambda f: (
            f(torch.tensor([[1.0, 0.0]]), torch.tensor([[10.0, 0.005]]), 0.5),
            f(torch.tensor([[1.0, 0.0]]), torch.tensor([[10.0, 0.02]]), 0.5),
        ),
    },
)


def principal_steps(A, k):
    """The k unit steps in z that change the activation A z most: A (outputs, d) -> (k, d), the largest first."""
    vectors = torch.linalg.eigh(A.T @ A).eigenvectors  # columns, the smallest eigenvalue first
    return vectors.T.flip(0)[:k]


def _steps_by_svd(A, k):
    return torch.linalg.svd(A, full_matrices=False).Vh[:k]


def _squares(n):
    """Outer products of rows with themselves: the sign of a direction is arbitrary."""
    return n[..., :, None] * n[..., None, :]


_LAYER = torch.tensor([[3.0, 0.0, 0.0], [0.0, 0.0, 2.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])

PRINCIPAL = Exercise(
    number="12.6",
    title="Principal steps in closed form",
    difficulty=2,
    minutes=12,
    task=r"""
A first layer computes $Az$, and $z$ is standard normal. Return the `k` unit vectors $v_1, \dots, v_k$ in the space of
$z$ as rows, such that $\lVert A v_1 \rVert$ is largest, $\lVert A v_2 \rVert$ is largest among those perpendicular to
$v_1$, and so on. Their signs are arbitrary and are not compared. `A` has more rows than columns, as in (12.16).""",
    inputs=lambda g: (torch.randn(6, 3, generator=g) * torch.tensor([3.0, 1.0, 0.3]), 2),
    solution=principal_steps,
    explanation=r"""
$\lVert A v \rVert^2 = v^\top A^\top\! A\, v$ is largest, among unit vectors, at the eigenvector of $A^\top\! A$ with the
largest eigenvalue (**Rayleigh quotient**). `eigh` lists eigenvalues in ascending order and eigenvectors as *columns*, so
transpose and flip. They are the right singular vectors of $A$. The left ones live in the space of activations: they say
which pattern changes, not which step changes it.""",
    hints=(
        "Write $\\lVert A v \\rVert^2$ as $v^\\top M v$. Which matrix is $M$, and when is this largest for unit $v$?",
        "The eigenvectors of `A.T @ A`, by `torch.linalg.eigh`. Mind the order of its eigenvalues, and columns against rows.",
        "`vectors.T.flip(0)[:k]`: rows, largest eigenvalue first.",
    ),
    wrong=(
        Wrong(
            "the smallest first",
            lambda A, k: torch.linalg.eigh(A.T @ A).eigenvectors.T[:k],
            "These are the steps that change the activation least: eigh lists the smallest eigenvalue first.",
        ),
        Wrong(
            "columns for rows",
            lambda A, k: torch.linalg.svd(A, full_matrices=False).Vh.T[:k],
            "These are rows of the matrix whose columns are the steps. Transpose it.",
        ),
        Wrong(
            "patterns in activation space",
            lambda A, k: torch.linalg.svd(A, full_matrices=False).U.T[:k],
            "These vectors have one number for each activation. They are patterns u of the activation; the step in z is v, "
            "the right singular vector.",
        ),
        Wrong(
            "not of length one",
            lambda A, k: (torch.linalg.svd(A, full_matrices=False).Vh * torch.linalg.svdvals(A)[:, None])[:k],
            "The steps are multiplied by their singular values. Unit vectors are wanted, or step sizes cannot be compared.",
        ),
        Wrong(
            "the columns of the layer",
            lambda A, k: F.normalize(A, dim=1)[A.norm(dim=1).argsort(descending=True)][:k],
            "These are the largest rows of A itself, normalised. They are not perpendicular, and no combination was looked "
            "for.",
        ),
    ),
    right=(_steps_by_svd,),
    probes={"a layer with one input for each activation": lambda f: _squares(f(_LAYER, 2))},
    look=_squares,
)


def attribute_direction(z, a):
    """Unit vector along the least-squares slope of a on z, with an intercept: (n, d), (n,) -> (d,)."""
    centred = z - z.mean(0)
    w = torch.linalg.lstsq(centred, (a - a.mean())[:, None]).solution[:, 0]
    return w / w.norm()


def _direction_with_ones(z, a):
    design = torch.cat([z, torch.ones_like(z[:, :1])], 1)
    w = torch.linalg.solve(design.T @ design, design.T @ a)[:-1]
    return w / torch.sqrt((w**2).sum())


def _no_intercept(z, a):
    w = torch.linalg.lstsq(z, a[:, None]).solution[:, 0]
    return w / w.norm()


def _covariance_only(z, a):
    w = (z - z.mean(0)).T @ (a - a.mean())
    return w / w.norm()


def _extremes(z, a):
    w = z[a.argmax()] - z[a.argmin()]
    return w / w.norm()


def _raw_slope(z, a):
    return torch.linalg.lstsq(z - z.mean(0), (a - a.mean())[:, None]).solution[:, 0]


def _attribute_inputs(g):
    z = torch.randn(40, 3, generator=g) @ torch.tensor([[1.0, 0.6, 0.0], [0.0, 1.0, 0.4], [0.0, 0.0, 1.0]]) + 0.5
    return z, 4 + z @ torch.randn(3, generator=g) + 0.3 * torch.randn(40, generator=g)


ATTRIBUTE = Exercise(
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
        Wrong(
            "no intercept",
            _no_intercept,
            "There is no intercept: the constant part of a is pressed into the slope. Centre z and a, or add ones.",
        ),
        Wrong(
            "covariances for slopes",
            _covariance_only,
            "These are the covariances of each coordinate with a. For correlated coordinates the slope needs the inverse of "
            "their covariance: least squares.",
        ),
        Wrong(
            "between two extremes",
            _extremes,
            "This is the difference of two single latents, mostly chance. Use all of them.",
        ),
        Wrong(
            "not of length one",
            _raw_slope,
            "This is the slope itself. Divide it by its length, so that steps along different directions compare.",
        ),
        Wrong(
            "the wrong sign",
            lambda z, a: -attribute_direction(z, a),
            "The attribute falls along this direction. It should rise.",
        ),
        Wrong(
            "normalised coordinate by coordinate",
            lambda z, a: torch.sign(_raw_slope(z, a)),
            "Each coordinate has been divided by its own size. Divide the vector by its length.",
        ),
    ),
    right=(_direction_with_ones,),
    tolerance=1e-3,
)


def conditional_direction(n, fixed):
    """The unit vector closest to n that is perpendicular to all rows of fixed: (d,), (k, d) -> (d,)."""
    basis, _ = torch.linalg.qr(fixed.T)  # (d, k): orthonormal columns that span the rows of fixed
    rest = n - basis @ (basis.T @ n)
    return rest / rest.norm()


def _conditional_lstsq(n, fixed):
    weights = torch.linalg.lstsq(fixed.T, n[:, None]).solution
    return F.normalize(n - (fixed.T @ weights)[:, 0], dim=0)


def _one_after_another(n, fixed):
    for m in fixed:
        n = n - (n @ m) / (m @ m) * m
    return n / n.norm()


def _all_at_once(n, fixed):
    unit = F.normalize(fixed, dim=1)
    rest = n - unit.T @ (unit @ n)
    return rest / rest.norm()


def _without_lengths(n, fixed):
    for m in fixed:
        n = n - (n @ m) * m
    return n / n.norm()


def _only_the_first(n, fixed):
    m = fixed[0]
    rest = n - (n @ m) / (m @ m) * m
    return rest / rest.norm()


def _rest_raw(n, fixed):
    basis, _ = torch.linalg.qr(fixed.T)
    return n - basis @ (basis.T @ n)


def _the_part_along(n, fixed):
    basis, _ = torch.linalg.qr(fixed.T)
    part = basis @ (basis.T @ n)
    return part / part.norm()


ORTHOGONAL = Exercise(
    number="12.8",
    title="Change one thing, keep several",
    difficulty=3,
    minutes=20,
    task=r"""
(12.18) keeps one attribute. Now keep `k` of them: return the unit vector closest to `n` that is perpendicular to *every*
row of `fixed`. The rows have any length and are **not** perpendicular to each other. For one row of length 1 the result
is (12.18). If `n` is perpendicular to all of them already, it is `n` divided by its length.""",
    inputs=lambda g: (torch.randn(5, generator=g), torch.randn(3, 5, generator=g) + 1.0),
    solution=conditional_direction,
    explanation=r"""
What must go is the projection of $n$ on the *span* of the rows. With an orthonormal basis $Q$ of the span, by the
**QR decomposition**, that projection is $Q Q^\top n$. Taking out one row after another fails for rows that are not
perpendicular: removing the second brings some of the first back. Subtracting all single projections at once takes out
what they share more than once.""",
    hints=(
        "With perpendicular unit rows, one subtraction after another would do. Can you make the rows so?",
        "`basis, _ = torch.linalg.qr(fixed.T)` spans the rows; the part of `n` in the span is `basis @ (basis.T @ n)`.",
        "Subtract that part from `n`, then divide by the length of the rest.",
    ),
    wrong=(
        Wrong(
            "one row after another",
            _one_after_another,
            "The rows are taken out one after another. They are not perpendicular, so removing the next brings some of the "
            "last one back: only the last row is perpendicular to the result.",
        ),
        Wrong(
            "all projections at once",
            _all_at_once,
            "The projections on all rows are subtracted together. What the rows share is taken out more than once.",
        ),
        Wrong(
            "the lengths forgotten",
            _without_lengths,
            "⟨n, m⟩ m is the projection on m only if m has length 1. Divide by ⟨m, m⟩, and mind that the rows are not "
            "perpendicular either.",
        ),
        Wrong(
            "only the first row",
            _only_the_first,
            "The result is perpendicular to the first row only. All of them are to be kept.",
        ),
        Wrong(
            "not of length one",
            _rest_raw,
            "The direction is right, but its length is not 1: after the subtraction it is shorter than n was.",
        ),
        Wrong(
            "the part that should go",
            _the_part_along,
            "This is the part of n inside the span, the one to take out. Return the rest.",
        ),
    ),
    right=(_conditional_lstsq,),
    probes={
        "one row of length 1": lambda f: f(torch.tensor([1.0, 2.0, 2.0]), torch.tensor([[0.0, 0.0, 1.0]])),
        "a vector that is perpendicular already": lambda f: f(torch.tensor([0.0, 0.0, 5.0]), 3 * torch.eye(3)[:2]),
    },
    tolerance=1e-3,
)


def inversion_step(G, x, z, lr, shell):
    """z after one gradient step on Σ (G(z) − x)² + shell · (‖z‖ − √d)²: x (n, m), z (n, d), two numbers -> (n, d)."""
    z = z.detach().clone().requires_grad_(True)
    pixels = (G(z) - x).square().flatten(1).sum(1)
    radius = (z.norm(dim=1) - math.sqrt(z.shape[1])).square()
    (gradient,) = torch.autograd.grad((pixels + shell * radius).sum(), z)
    return (z - lr * gradient).detach()


def _step(G, x, z, lr, shell, *, pixels="sum", rows="sum", radius=None, sign=-1.0):
    z = z.detach().clone().requires_grad_(True)
    square = (G(z) - x).square().flatten(1)
    square = square.sum(1) if pixels == "sum" else square.mean(1)
    norm = z.norm(dim=1)
    extra = (norm - math.sqrt(z.shape[1])).square() if radius is None else radius(z, norm)
    total = square + shell * extra
    (gradient,) = torch.autograd.grad(total.sum() if rows == "sum" else total.mean(), z)
    return (z + sign * lr * gradient).detach()


def _step_by_rows(G, x, z, lr, shell):
    rows = []
    for target, start in zip(x, z, strict=True):
        v = start.detach().clone().requires_grad_(True)
        loss = ((G(v[None])[0] - target) ** 2).sum() + shell * (torch.sqrt((v**2).sum()) - len(v) ** 0.5) ** 2
        loss.backward()
        rows.append((v - lr * v.grad).detach())
    return torch.stack(rows)


class _Warp(torch.nn.Module):
    """A small smooth map with fixed weights, which must neither move nor gather gradients."""

    def __init__(self, weight):
        super().__init__()
        self.weight = torch.nn.Parameter(weight, requires_grad=False)

    def forward(self, z):
        return torch.tanh(z @ self.weight.to(z))


def _inversion_inputs(g):
    weight = torch.randn(3, 6, generator=g)
    return _Warp(weight), torch.rand(4, 6, generator=g), torch.randn(4, 3, generator=g), 0.05, 0.7


def _toy(n):
    return _Warp(torch.arange(6.0).view(2, 3) / 5), torch.full((n, 3), 0.2), torch.tensor([[1.0, -2.0]]).expand(n, 2)


INVERSION = Exercise(
    number="12.9",
    title="One step of an inversion",
    difficulty=3,
    minutes=20,
    task=r"""
Write one step of plain gradient descent on (12.19) without its feature term: the squared error **summed** over the
pixels of each row, plus `shell` times $(\lVert z \rVert - \sqrt d)^2$, with learning rate `lr`. `G` maps `z` to rows of
pixels. Return the new `z`, detached from any graph. Each row is a search of its own: it moves as it would alone, whatever
the batch. The `z` that was passed in stays as it is, and `G`'s weights get no gradient.""",
    inputs=_inversion_inputs,
    solution=inversion_step,
    explanation=r"""
The loss of a batch is the *sum* over rows, because the gradient of a sum in row $i$ is the gradient of row $i$'s own
loss. With a mean the step would shrink with the batch, and 32 digits together would be inverted 32 times more slowly
than one alone. (Adam divides by the size of the gradient, which hides this mistake; plain descent does not.) `grad` with
`z` as its only input computes nothing for the weights of `G`.""",
    hints=(
        "Make a copy of `z` that requires a gradient. What is the loss of one row, and what of all rows together?",
        "Sum the squares over pixels, add the shell term per row, then **sum** over rows. `torch.autograd.grad(total, z)`.",
        "The shell term is `(z.norm(dim=1) - math.sqrt(z.shape[1])).square()`; the result `(z - lr * gradient).detach()`.",
    ),
    wrong=(
        Wrong(
            "uphill",
            lambda G, x, z, lr, shell: _step(G, x, z, lr, shell, sign=1.0),
            "This steps uphill: the loss grows. Subtract the gradient.",
        ),
        Wrong(
            "mean over the batch",
            lambda G, x, z, lr, shell: _step(G, x, z, lr, shell, rows="mean"),
            "The rows are averaged, so the step shrinks as the batch grows. Each row is a search of its own: sum.",
        ),
        Wrong(
            "mean over the pixels",
            lambda G, x, z, lr, shell: _step(G, x, z, lr, shell, pixels="mean"),
            "The squares are averaged over the pixels. With the sum asked for, the shell term has another weight.",
        ),
        Wrong(
            "no shell",
            lambda G, x, z, lr, shell: _step(G, x, z, lr, 0.0),
            "The shell term is missing: z may wander to norms that training has never seen.",
        ),
        Wrong(
            "pulled to the centre",
            lambda G, x, z, lr, shell: _step(G, x, z, lr, shell, radius=lambda z, norm: norm.square()),
            "This pulls z towards 0, where hardly any z of training lies. Pull it towards the shell, norm √d.",
        ),
        Wrong(
            "a shell of radius d",
            lambda G, x, z, lr, shell: _step(G, x, z, lr, shell, radius=lambda z, norm: (norm - z.shape[1]).square()),
            "The shell has radius d here. The squared norm is near d, so the norm is near √d.",
        ),
        Wrong(
            "squared norm for norm",
            lambda G, x, z, lr, shell: _step(
                G, x, z, lr, shell, radius=lambda z, norm: (norm.square() - z.shape[1]).square()
            ),
            "This compares the squared norm with d. The task has the norm and √d, which pulls less far out.",
        ),
        Wrong(
            "the gradient",
            lambda G, x, z, lr, shell: (z - _step(G, x, z, 1.0, shell)).detach(),
            "This is the gradient. Return z after the step, z − lr · gradient.",
        ),
    ),
    right=(_step_by_rows,),
    probes={
        "one row alone, and the same row three times": lambda f: (f(*_toy(1), 0.1, 0.5), f(*_toy(3), 0.1, 0.5)),
        "without the shell, shell = 0": lambda f: f(*_toy(2), 0.1, 0.0),
        "whether the result is free of a graph": lambda f: f(*_toy(1), 0.1, 0.5).requires_grad,
    },
    discussion=r"""
**To go on.** Invert your own handwriting: draw a digit of 28 × 28 pixels in any program, centre it as MNIST does, and
pass it to the chapter's `invert` with the right label. Then with a wrong one. How large is the error that a wrong label
costs, over 32 digits and nine wrong labels each? The label with the least error is a classifier, made of a generator and
a search. Report its accuracy on those digits with its standard error, beside the zoo's classifier on the same digits,
and the time that both need. Does more freedom (a larger `shell`, more steps, more starts) help the classifier, or the
wrong labels?""",
)

EXERCISES = [
    CONDITIONAL_D,
    PROJECTION,
    ACCURACY,
    TRUNCATED,
    SLERP,
    PRINCIPAL,
    ATTRIBUTE,
    ORTHOGONAL,
    INVERSION,
]
