"""Exercises of chapter 11, stabilising."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def w1_unequal(x, y):
    """W₁ of two sets of numbers that may differ in size, as the area between their step functions: (n,), (m,)."""
    grid = torch.cat([x, y]).sort().values
    F_x = (x[:, None] <= grid).double().mean(0)
    F_y = (y[:, None] <= grid).double().mean(0)
    return ((F_x - F_y).abs()[:-1] * grid.diff()).sum()


def _w1_by_repeating(x, y):
    a, b = x.repeat_interleave(len(y)).sort().values, y.repeat_interleave(len(x)).sort().values
    return (a - b).abs().mean()


def _w1_loop(x, y):
    grid = sorted([*x.tolist(), *y.tolist()])
    total = 0.0
    for low, high in pairwise(grid):
        total += abs(sum(v <= low for v in x.tolist()) / len(x) - sum(v <= low for v in y.tolist()) / len(y)) * (
            high - low
        )
    return total


def _w1_cut(x, y):
    k = min(len(x), len(y))
    return (x.sort().values[:k] - y.sort().values[:k]).abs().mean()


def _w1_steps(x, y):
    grid = torch.cat([x, y]).sort().values
    return (x[:, None] <= grid).double().mean(0), (y[:, None] <= grid).double().mean(0), grid.diff()


def _w1_heights(x, y):
    a, b, _ = _w1_steps(x, y)
    return (a - b).abs().sum()


def _w1_squared(x, y):
    a, b, gaps = _w1_steps(x, y)
    return ((a - b)[:-1].square() * gaps).sum()


def _w1_pooled(x, y):
    grid = torch.cat([x, y]).sort().values
    a, b = ((v[:, None] <= grid).double().sum(0) / len(grid) for v in (x, y))
    return ((a - b).abs()[:-1] * grid.diff()).sum()


W1 = Exercise(
    number="11.5",
    title="Heaps of different size",
    difficulty=2,
    minutes=12,
    task=r"""
Sorting as in (11.2) needs sets of equal size. In general let $F_x(t)$ be the share of the numbers in `x` that are at most
$t$, and $F_y(t)$ likewise. To the left of $t$ there is $F_x(t)$ sand but $F_y(t)$ is wanted, so the difference has to cross
$t$. Add up over all $t$: $W_1 = \int |F_x(t) - F_y(t)|\,\mathrm dt$. Both functions are constant between neighbours in the
pooled, sorted numbers. Equal sets have $W_1 = 0$, and a set moved by 3 has $W_1 = 3$.""",
    inputs=lambda g: (torch.randn(7, generator=g), 0.5 + 2 * torch.randn(4, generator=g)),
    solution=w1_unequal,
    explanation=r"""
The area between two step functions is a sum of rectangles: a height $|F_x - F_y|$ times the gap to the next number. Each
set has its own share $1/n$ or $1/m$ a point, so that both heaps weigh 1. `scipy.stats.wasserstein_distance` does the same.
Another way repeats every number of `x` $m$ times and of `y` $n$ times, and sorts: the sets then have equal size.""",
    hints=(
        "Sort all numbers together. What are the two functions on the interval from one number to the next?",
        "`(x[:, None] <= grid).double().mean(0)` is $F_x$ at each point of a sorted `grid`; `grid.diff()` are the gaps.",
        "Multiply `(F_x - F_y).abs()[:-1]` by `grid.diff()` and add up: the last point has no gap to its right.",
    ),
    wrong=(
        Wrong(
            "the longer set cut off",
            _w1_cut,
            "The longer set was cut off at the length of the shorter. All points carry sand: each of n carries 1/n.",
        ),
        Wrong(
            "the difference of the means",
            lambda x, y: (x.mean() - y.mean()).abs(),
            "This is the distance of the means, to which an integral without the absolute value comes as well. It is 0 for "
            "sets of equal mean and different spread; W₁ is not.",
        ),
        Wrong(
            "heights without widths",
            _w1_heights,
            "The differences of the step functions are added up without the gaps between the numbers. An area has both.",
        ),
        Wrong(
            "the square",
            _w1_squared,
            "The difference is squared. That is another distance (Cramér's); W₁ takes the absolute value.",
        ),
        Wrong(
            "shares of the pooled number",
            _w1_pooled,
            "Each set is divided by the number of all points. Both heaps weigh 1: divide by n and by m.",
        ),
    ),
    right=(_w1_by_repeating, _w1_loop),
    probes={
        "W₁ of two points": lambda f: f(torch.tensor([0.0]), torch.tensor([-2.5])),
        "W₁ of a set to itself moved by 3": lambda f: f(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([7.0, 4.0, 5.0])),
        "W₁ of sets with equal means": lambda f: f(torch.tensor([-1.0, 1.0]), torch.zeros(3)),
        "W₁ with points in both sets": lambda f: f(torch.tensor([0.0, 1.0, 1.0]), torch.tensor([1.0, 0.0])),
    },
)


def certified(x, y, fx, fy):
    """The bound on W₁ that critic values certify: points (n, d), (m, d) and marks (n,), (m,) -> a number."""
    points, marks = torch.cat([x, y]), torch.cat([fx, fy])
    ways = torch.cdist(points, points)
    climbs = (marks[:, None] - marks[None]).abs()
    apart = ways > 0
    steepest = (climbs[apart] / ways[apart]).max()
    return (fx.mean() - fy.mean()) / steepest


def _certified_loop(x, y, fx, fy):
    points, marks = [*x, *y], [*fx, *fy]
    steepest = 0.0
    for i in range(len(points)):
        for j in range(i):
            steepest = max(steepest, float((marks[i] - marks[j]).abs() / (points[i] - points[j]).norm()))
    return (fx.mean() - fy.mean()) / steepest


def _slopes(x, y, fx, fy):
    points, marks = torch.cat([x, y]), torch.cat([fx, fy])
    ways = torch.cdist(points, points)
    return ((marks[:, None] - marks[None]).abs() / ways)[~torch.eye(len(points), dtype=torch.bool)]


def _certified_between(x, y, fx, fy):
    return (fx.mean() - fy.mean()) / ((fx[:, None] - fy[None]).abs() / torch.cdist(x, y)).max()


def _certified_squares(x, y, fx, fy):
    points, marks = torch.cat([x, y]), torch.cat([fx, fy])
    ways, climbs = torch.cdist(points, points).square(), (marks[:, None] - marks[None]).abs()
    return (fx.mean() - fy.mean()) / (climbs[ways > 0] / ways[ways > 0]).max()


def _certified_inputs(g):
    return (
        torch.randn(5, 3, generator=g),
        1 + torch.randn(4, 3, generator=g),
        1 + torch.randn(5, generator=g),
        torch.randn(4, generator=g),
    )


CERTIFIED = Exercise(
    number="11.2",
    title="What a critic certifies",
    difficulty=2,
    minutes=12,
    task=r"""
Somebody hands you data points `x`, samples `y`, and the marks `fx`, `fy` that some critic gave them. By (11.6) they certify
a lower bound on $W_1$ of the two sets. Compute it: the mean mark of data minus that of samples, over the steepest slope
$|f(u) - f(v)| / \lVert u - v \rVert$ between *any* two of the $n + m$ points. The bound does not change when all marks are
multiplied by 10, or raised by 5.""",
    inputs=_certified_inputs,
    solution=certified,
    explanation=r"""
The marks over their steepest slope are the values of a 1-Lipschitz function (McShane's cones extend it to the plane), and
(11.3) holds for each of those. The condition is about all pairs, also of two data points or of two samples. Scaling
cancels in the quotient and a shift in both differences. The best marks, those of the dual program, certify $W_1$ itself.""",
    hints=(
        "Put all points in one matrix and all marks in one vector. Which pairs does the Lipschitz condition speak of?",
        "`torch.cdist(points, points)` has the ways, `(marks[:, None] - marks[None]).abs()` the climbs. Beware of 0/0.",
        "Divide where the way is above 0, take the maximum, and divide `fx.mean() - fy.mean()` by it.",
    ),
    wrong=(
        Wrong(
            "not divided",
            lambda x, y, fx, fy: fx.mean() - fy.mean(),
            "This is the difference of the means alone. Marks ten times as large would certify ten times as much.",
        ),
        Wrong(
            "only pairs of data and sample",
            _certified_between,
            "Only slopes between data and samples were looked at. A function may be steepest between two data points.",
        ),
        Wrong(
            "the mean slope",
            lambda x, y, fx, fy: (fx.mean() - fy.mean()) / _slopes(x, y, fx, fy).mean(),
            "This divides by the mean slope. The Lipschitz condition is about the steepest, so this bound may be false.",
        ),
        Wrong(
            "squared ways",
            _certified_squares,
            "The slope is climb over way, not over the square of the way.",
        ),
        Wrong(
            "samples first",
            lambda x, y, fx, fy: -certified(x, y, fx, fy),
            "The sign is turned: data first, samples second, as in (11.4).",
        ),
        Wrong(
            "multiplied",
            lambda x, y, fx, fy: (fx.mean() - fy.mean()) * _slopes(x, y, fx, fy).max(),
            "The steepest slope multiplies where it should divide: a steeper critic would certify more.",
        ),
    ),
    right=(_certified_loop,),
    probes={
        "the bound of two points": lambda f: f(
            torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2), torch.tensor([7.0]), torch.zeros(1)
        ),
        "the bound with a point twice": lambda f: f(
            torch.tensor([[1.0], [1.0]]), torch.zeros(1, 1), torch.tensor([2.0, 2.0]), torch.zeros(1)
        ),
        "the bound when the steepest pair are samples": lambda f: f(
            torch.tensor([[4.0]]), torch.tensor([[0.0], [1.0]]), torch.tensor([4.0]), torch.tensor([0.0, 3.0])
        ),
    },
)


def quadratic_penalty(A, w, real, fake, eps):
    """(‖∇D(x̂)‖ − 1)² for D(x) = ½ xᵀA x + wᵀx: (d, d), (d,), (n, d), (n, d), (n,) -> (n,)."""
    between = eps[:, None] * real + (1 - eps[:, None]) * fake
    gradient = 0.5 * between @ (A + A.T) + w
    return (gradient.norm(dim=1) - 1).square()


def _quadratic_by_autograd(A, w, real, fake, eps):
    x = torch.lerp(fake, real, eps[:, None])
    if not x.requires_grad:
        x = x.detach().requires_grad_(True)
    value = 0.5 * torch.einsum("ni,ij,nj->n", x, A, x) + x @ w
    (gradient,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    return ((gradient**2).sum(1).sqrt() - 1) ** 2


def _between(real, fake, eps):
    return eps[:, None] * real + (1 - eps[:, None]) * fake


PENALTY = Exercise(
    number="11.3",
    title="The penalty, by hand",
    difficulty=2,
    minutes=12,
    task=r"""
Compute the gradient penalty of (11.8), without $\lambda$ and before the mean, for the critic
$D(x) = \tfrac12 x^\top A x + w^\top x$, by a closed form: no autograd is needed. $A$ need not be symmetric. $\hat x$ is
$\varepsilon$ real plus $(1-\varepsilon)$ fake, with one $\varepsilon$ per example. With $A = 0$ and a $w$ of length 1 the
penalty is 0 for every example.""",
    inputs=lambda g: (
        torch.randn(3, 3, generator=g),
        torch.randn(3, generator=g),
        torch.randn(5, 3, generator=g),
        2 + torch.randn(5, 3, generator=g),
        torch.rand(5, generator=g),
    ),
    solution=quadratic_penalty,
    explanation=r"""
The derivative of $\tfrac12 \sum_{ij} x_i A_{ij} x_j$ by $x_k$ is $\tfrac12 \sum_j (A_{kj} + A_{jk}) x_j$: both indices
contribute. So $\nabla D(\hat x) = \tfrac12 (A + A^\top) \hat x + w$, one row per example; then its length, minus 1, squared.
A linear critic ($A = 0$) has the same gradient everywhere and pays nothing if that has length 1.""",
    hints=(
        "Compute the gradient of ½ xᵀA x on paper. What if A is not symmetric?",
        "It is $\\tfrac12(A + A^\\top)x$. For rows of a batch: `0.5 * between @ (A + A.T) + w`.",
        "Take `.norm(dim=1)` of the rows, subtract 1, square. Leave it per example.",
    ),
    wrong=(
        Wrong(
            "A taken for symmetric",
            lambda A, w, real, fake, eps: ((_between(real, fake, eps) @ A.T + w).norm(dim=1) - 1).square(),
            "This gradient is A x + w, which is right for symmetric A only. In general it is ½ (A + Aᵀ) x + w.",
        ),
        Wrong(
            "ε on the wrong one",
            lambda A, w, real, fake, eps: quadratic_penalty(A, w, fake, real, eps),
            "ε and 1 − ε are swapped. It makes no difference for random ε, but asked was ε real + (1 − ε) fake.",
        ),
        Wrong(
            "one norm for the batch",
            lambda A, w, real, fake, eps: (
                ((0.5 * _between(real, fake, eps) @ (A + A.T) + w).norm() - 1).square().expand(len(eps))
            ),
            "This is the norm over the whole batch. Each example has a gradient and a penalty of its own.",
        ),
        Wrong(
            "the mean",
            lambda A, w, real, fake, eps: quadratic_penalty(A, w, real, fake, eps).mean(),
            "This is the mean over the batch. Penalties stay per example; the caller averages, once.",
        ),
        Wrong(
            "the squared norm minus one",
            lambda A, w, real, fake, eps: (
                (0.5 * _between(real, fake, eps) @ (A + A.T) + w).square().sum(1) - 1
            ).square(),
            "Here 1 is subtracted from the squared norm. (11.8) has the norm: take the root first.",
        ),
        Wrong(
            "one-sided",
            lambda A, w, real, fake, eps: F.relu(
                (0.5 * _between(real, fake, eps) @ (A + A.T) + w).norm(dim=1) - 1
            ).square(),
            "Slopes below 1 cost nothing here. That is a variant (one-sided); (11.8) pulls slopes up to 1 as well.",
        ),
        Wrong(
            "R1 in its place",
            lambda A, w, real, fake, eps: (0.5 * _between(real, fake, eps) @ (A + A.T) + w).square().sum(1),
            "This is the squared norm, which pulls slopes to 0. The penalty of (11.8) pulls them to 1.",
        ),
    ),
    right=(_quadratic_by_autograd,),
    probes={
        "the penalty of a linear critic of length 1": lambda f: f(
            torch.zeros(2, 2), torch.tensor([0.6, 0.8]), torch.ones(3, 2), torch.zeros(3, 2), torch.rand(3)
        ),
        "the penalty of a flat critic": lambda f: f(
            torch.zeros(2, 2), torch.tensor([0.0, 0.5]), torch.ones(3, 2), torch.zeros(3, 2), torch.ones(3)
        ),
    },
    gradient=True,
)


def power_round(W, v):
    """One round of (11.11): (o, i), (i,) -> the estimate of σ and the new v (i,)."""
    u = F.normalize(W @ v, dim=0)
    v = F.normalize(W.T @ u, dim=0)
    return u @ W @ v, v


def _round_by_norms(W, v):
    u = W @ v
    u = u / u.norm()
    v = u @ W
    return v.norm(), v / v.norm()


def _round_unnormalised(W, v):
    u = F.normalize(W @ v, dim=0)
    return (W.T @ u).norm(), W.T @ u


def _round_without_u(W, v):
    u = W @ v
    v = F.normalize(W.T @ u, dim=0)
    return u @ W @ v, v


def _round_old_v(W, v):
    u = F.normalize(W @ v, dim=0)
    return u @ W @ F.normalize(v, dim=0), F.normalize(W.T @ u, dim=0)


def _round_squared(W, v):
    sigma, v = power_round(W, v)
    return sigma.square(), v


def _round_returns_u(W, v):
    sigma, _ = power_round(W, v)
    return sigma, F.normalize(W @ v, dim=0)


ROUND = Exercise(
    number="11.4",
    title="One round of power iteration",
    difficulty=1,
    minutes=8,
    task=r"""
Write one round of (11.11) for a matrix `W` that need not be square and any `v` other than 0: first $u$, then the new $v$,
both of length 1, then the estimate $u^\top W v$ with the *new* $v$. Return the estimate and the new $v$. For a matrix of
rank 1 one round finds $\sigma$ exactly, and the length of the given `v` does not matter.""",
    inputs=lambda g: (torch.randn(4, 3, generator=g), torch.randn(3, generator=g)),
    solution=power_round,
    explanation=r"""
$W$ takes $v$ to the side of the outputs and $W^\top$ brings $u$ back. Normalising keeps the numbers in range; directions are
all that counts. With the new $v$ the estimate is $u^\top W v = \lVert W^\top u \rVert$, never above $\sigma$. Spectral
normalisation keeps $v$ for the next step of training.""",
    hints=(
        "The two lines of (11.11) are two lines of code. What are the shapes of u and v?",
        "`F.normalize(W @ v, dim=0)` is u, of length o. Which product brings it back to length i?",
        "`v = F.normalize(W.T @ u, dim=0)`; return `u @ W @ v, v`.",
    ),
    wrong=(
        Wrong(
            "v is not normalised",
            _round_unnormalised,
            "The new v has not length 1. After some rounds its numbers would overflow or vanish.",
        ),
        Wrong(
            "u is not normalised",
            _round_without_u,
            "u has not length 1, so the estimate depends on the length of the v that was given.",
        ),
        Wrong(
            "the estimate with the old v",
            _round_old_v,
            "The estimate uses the v from before the round, and is half a round behind. Use the new v.",
        ),
        Wrong(
            "the square",
            _round_squared,
            "This is σ², the largest eigenvalue of WᵀW. The largest singular value is its root.",
        ),
        Wrong(
            "u in place of v",
            _round_returns_u,
            "The vector returned is u, of the length of the outputs. The next round starts from v.",
        ),
        Wrong(
            "the Frobenius norm",
            lambda W, v: (W.norm(), power_round(W, v)[1]),
            "This is the root of the sum of all squares, which is never below σ and usually far above it.",
        ),
    ),
    right=(_round_by_norms,),
    probes={
        "σ of a matrix of rank 1": lambda f: f(
            torch.outer(torch.tensor([3.0, 4.0]), torch.tensor([0.0, 2.0, 0.0])), torch.ones(3)
        )[0],
        "the round for a v ten times as long": lambda f: f(
            torch.tensor([[1.0, 2.0], [0.0, 1.0]]), torch.tensor([10.0, 0.0])
        ),
    },
)


def hinge_losses(real, fake):
    """(L_D, L_G) of (11.12) from logits of n real and m generated images: (n,), (m,) -> two numbers."""
    loss_d = F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    loss_g = -fake.mean()
    return loss_d, loss_g


def _hinge_of_means(real, fake):
    return F.relu(1 - real.mean()) + F.relu(1 + fake.mean()), -fake.mean()


HINGE = Exercise(
    number="11.1",
    title="Margins",
    difficulty=1,
    minutes=6,
    task=r"""
Write both hinge losses (11.12). A $D$ whose real logits are all 1 or more, and whose generated ones are all $-1$ or less,
pays nothing. An undecided $D$, with all logits 0, pays 2. $G$'s loss has no margin.""",
    inputs=lambda g: (1.5 * torch.randn(6, generator=g), 1.5 * torch.randn(4, generator=g)),
    solution=hinge_losses,
    explanation=r"""
The `relu` cuts each image's cost off at its margin, before the mean: an image beyond the margin has no say, and cannot pay
for one that is wrong. $G$'s loss must not have a margin. With $\max(0, 1 - \ell)$ for $G$, samples beyond the margin
would feel no push, just those that $D$ will find out next.""",
    hints=(
        "At which logit does a real image cost nothing any more? And a generated one?",
        "$\\max(0, a)$ is `F.relu(a)`. It acts on each logit, and then comes the mean.",
        "`F.relu(1 - real).mean() + F.relu(1 + fake).mean()`, and `-fake.mean()` for G.",
    ),
    wrong=(
        Wrong(
            "real and generated swapped",
            lambda real, fake: (F.relu(1 + real).mean() + F.relu(1 - fake).mean(), -fake.mean()),
            "The margins are swapped: this D wants real logits below −1 and generated ones above 1.",
        ),
        Wrong(
            "the margin on the mean",
            _hinge_of_means,
            "The maximum is taken after the mean, so images far beyond the margin pay for images that are wrong.",
        ),
        Wrong(
            "a margin for G",
            lambda real, fake: (hinge_losses(real, fake)[0], F.relu(1 - fake).mean()),
            "G's loss has a margin here. G gets no margin: its loss is minus the mean logit.",
        ),
        Wrong(
            "G's sign",
            lambda real, fake: (hinge_losses(real, fake)[0], fake.mean()),
            "G's loss has the wrong sign: G wants its logits high.",
        ),
        Wrong(
            "no margin for D",
            lambda real, fake: (fake.mean() - real.mean(), -fake.mean()),
            "This is the Wasserstein loss: without a margin, and without a bound for D.",
        ),
        Wrong(
            "a margin at 0",
            lambda real, fake: (F.relu(-real).mean() + F.relu(fake).mean(), -fake.mean()),
            "The margin is 0 here. A D that gives 0 to everything would pay nothing; it should pay 2.",
        ),
    ),
    right=(lambda real, fake: ((1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean(), (-fake).mean()),),
    probes={
        "the losses of an undecided D": lambda f: f(torch.zeros(3), torch.zeros(2)),
        "the losses at the margins": lambda f: f(torch.tensor([1.0, 5.0]), torch.tensor([-1.0, -7.0])),
    },
    gradient=True,
)


def relativistic(real, fake):
    """L_D of (11.13) and its slopes in the real and in the generated logits: (n,) twice -> number, (n,), (n,)."""
    loss = F.softplus(fake - real).mean()
    slope = torch.sigmoid(fake - real) / len(real)
    return loss, -slope, slope


def _relativistic_by_autograd(real, fake):
    real, fake = real.detach().requires_grad_(True), fake.detach().requires_grad_(True)
    loss = -F.logsigmoid(real - fake).mean()
    return loss.detach(), *torch.autograd.grad(loss, (real, fake))


def _relativistic_all_pairs(real, fake):
    differences = fake[None] - real[:, None]
    slopes = torch.sigmoid(differences) / differences.numel()
    return F.softplus(differences).mean(), -slopes.sum(1), slopes.sum(0)


def _relativistic_average(real, fake):
    loss = F.softplus(fake.mean() - real).mean()
    slope = torch.sigmoid(fake.mean() - real) / len(real)
    return loss, -slope, slope


RELATIVISTIC = Exercise(
    number="11.6",
    title="Only differences count",
    difficulty=2,
    minutes=10,
    task=r"""
Give the relativistic $L_D$ of (11.13) for $n$ pairs of logits, and in closed form its slope in each real and in each
generated logit. The slopes of a pair add up to 0: $D$ gains nothing by raising both. At logits of 1,000 and $-1{,}000$
nothing may overflow.""",
    inputs=lambda g: (2 * torch.randn(5, generator=g), 2 * torch.randn(5, generator=g)),
    solution=relativistic,
    explanation=r"""
With $a = \ell(G(z)) - \ell(x)$ the term is $\operatorname{softplus}(a)$, and its derivative by $a$ is $\sigma(a)$. The
chain rule brings $-1$ for the real logit and $+1$ for the generated one, and the mean brings $1/n$. A pair that is already
in the right order by far has a slope near 0, wherever its two logits lie.""",
    hints=(
        "Call the difference a. What is the derivative of the softplus?",
        "It is $\\sigma(a)$. Then the inner derivatives of $a$ by each logit, and the mean over n pairs.",
        "`slope = torch.sigmoid(fake - real) / len(real)`; the answer is `loss, -slope, slope`.",
    ),
    wrong=(
        Wrong(
            "G's loss",
            lambda real, fake: (
                F.softplus(real - fake).mean(),
                torch.sigmoid(real - fake) / len(real),
                -torch.sigmoid(real - fake) / len(real),
            ),
            "This is G's loss: the difference is turned round. D wants real above generated.",
        ),
        Wrong(
            "without 1/n",
            lambda real, fake: (relativistic(real, fake)[0], -torch.sigmoid(fake - real), torch.sigmoid(fake - real)),
            "The loss is a mean, so each slope has a factor 1/n.",
        ),
        Wrong(
            "the signs of the slopes",
            lambda real, fake: (
                relativistic(real, fake)[0],
                torch.sigmoid(fake - real) / len(real),
                -torch.sigmoid(fake - real) / len(real),
            ),
            "The slopes have the wrong sign: raising a real logit lowers D's loss.",
        ),
        Wrong(
            "each with each",
            _relativistic_all_pairs,
            "Every real image is compared with every generated one. (11.13) compares pairs: real i with generated i.",
        ),
        Wrong(
            "against the mean",
            _relativistic_average,
            "Real logits are compared with the mean of the generated ones. That is the relativistic average GAN.",
        ),
        Wrong(
            "the slope of cross-entropy",
            lambda real, fake: (
                relativistic(real, fake)[0],
                -torch.sigmoid(-real) / len(real),
                torch.sigmoid(fake) / len(real),
            ),
            "These are the slopes of the plain cross-entropy, where each logit stands alone.",
        ),
    ),
    right=(_relativistic_by_autograd,),
    probes={
        "loss and slopes at equal logits": lambda f: f(torch.full((2,), 3.0), torch.full((2,), 3.0)),
        "loss and slopes far out": lambda f: f(torch.tensor([1000.0, -1000.0]), torch.tensor([-1000.0, 1000.0])),
    },
)


def ema_shares(steps, decay):
    """The share of each of the weights θ_0, θ_1, …, θ_steps in the warmed-up average after `steps` steps."""
    shares = torch.zeros(steps + 1)
    shares[0] = 1.0
    for t in range(1, steps + 1):
        d = min(decay, (1 + t) / (10 + t))
        shares *= d  # all that was there before
        shares[t] = 1 - d
    return shares


def _shares_by_products(steps, decay):
    d = [min(decay, (1 + t) / (10 + t)) for t in range(1, steps + 1)]
    kept = [math.prod(d[t:]) for t in range(steps + 1)]  # from step t + 1 on
    return torch.tensor([kept[0]] + [(1 - d[t - 1]) * kept[t] for t in range(1, steps + 1)])


def _shares_constant(steps, decay):
    return torch.tensor([decay**steps] + [(1 - decay) * decay ** (steps - t) for t in range(1, steps + 1)])


def _shares_from_zero(steps, decay):
    shares = ema_shares(steps, decay)
    shares[0] = 0.0
    return shares


def _shares_own(steps, decay):
    shares = torch.zeros(steps + 1)
    shares[0] = 1.0
    for t in range(1, steps + 1):
        d = min(decay, (1 + t) / (10 + t))
        shares[t] = 1 - d
        shares *= d
    return shares


def _shares_max(steps, decay):
    shares = torch.zeros(steps + 1)
    shares[0] = 1.0
    for t in range(1, steps + 1):
        d = max(decay, (1 + t) / (10 + t))
        shares *= d
        shares[t] = 1 - d
    return shares


SHARES = Exercise(
    number="11.7",
    title="What an average remembers",
    difficulty=3,
    minutes=15,
    task=r"""
The averaged weights begin as $\bar\theta = \theta_0$. At step $t = 1, 2, \dots$ they become
$\bar\theta \leftarrow d_t \bar\theta + (1 - d_t)\,\theta_t$ with $d_t = \min\big(\text{decay}, \frac{1+t}{10+t}\big)$, as in
chapter 09. After `steps` steps $\bar\theta$ is a mixture of $\theta_0, \dots, \theta_{\text{steps}}$. Return its `steps + 1`
shares. They add up to 1. What is the share of the random start after 100 steps at a decay of 0.999, and what would it be
without the warm-up?""",
    inputs=lambda g: (int(torch.randint(3, 12, (), generator=g)), 0.4),
    solution=ema_shares,
    explanation=r"""
Every step multiplies all older shares by $d_t$ and gives $1 - d_t$ to the new weights. So the share of $\theta_t$ is
$(1 - d_t)\,d_{t+1} \cdots d_{\text{steps}}$, and that of the start is $d_1 \cdots d_{\text{steps}}$. Without a warm-up the
start would keep $0.999^{100} \approx 90\,\%$: the average would be noise. With it the share is about $10^{-10}$, and the
average reaches back over about a ninth of the run.""",
    hints=(
        "What happens to the shares of all older weights when a new one comes in?",
        "Begin with the share 1 for θ₀. At each step multiply all shares by d, and give 1 − d to the new weights.",
        "A loop over t = 1 … steps: `shares *= d`, then `shares[t] = 1 - d`, with d = min(decay, (1 + t)/(10 + t)).",
    ),
    wrong=(
        Wrong(
            "no warm-up",
            _shares_constant,
            "The decay is constant here. With the warm-up it starts small: min(decay, (1 + t)/(10 + t)).",
        ),
        Wrong(
            "the start forgotten",
            _shares_from_zero,
            "The start has no share here, and the shares do not add up to 1. The average begins as a copy of θ₀.",
        ),
        Wrong(
            "the new weights shrink at once",
            _shares_own,
            "The new weights' share is multiplied by d in the step in which they come in. Shrink first, then add.",
        ),
        Wrong(
            "max in place of min",
            _shares_max,
            "The larger of the two decays is taken. The warm-up makes the decay smaller at first: take the minimum.",
        ),
        Wrong(
            "latest first",
            lambda steps, decay: ema_shares(steps, decay).flip(0),
            "The order is turned round: the first share belongs to the start θ₀, the last to the latest weights.",
        ),
        Wrong(
            "equal shares",
            lambda steps, decay: torch.full((steps + 1,), 1 / (steps + 1)),
            "These are equal shares. An exponential average gives recent weights more.",
        ),
    ),
    right=(_shares_by_products,),
    probes={
        "the shares before any step": lambda f: f(0, 0.9),
        "the shares after one step": lambda f: f(1, 0.999),
        "the shares after 40 steps": lambda f: f(40, 0.7),
        "the share of the start after 100 steps, times 10 billion": lambda f: float(f(100, 0.999)[0]) * 1e10,
    },
)


def lazy_r1(D, x, gamma, every, step):
    """What R1 adds to D's loss at a step, if it is computed at each `every`-th step only: images (n, …) -> a number."""
    if step % every != 0:
        return torch.zeros(())
    x = x.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
    return every * gamma / 2 * gradient.flatten(1).square().sum(1).mean()


def _lazy(D, x, step, every, weight, reduce, graph=True, turn=0):
    if step % every != turn:
        return torch.zeros(())
    x = x.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(D(x).sum(), x, create_graph=graph)
    return weight * reduce(gradient)


def _per_image(gradient):
    return gradient.flatten(1).square().sum(1).mean()


def _lazy_loop(D, x, gamma, every, step):
    if step % every:
        return torch.tensor(0.0)
    total = 0.0
    for image in x.detach().split(1):
        image = image.clone().requires_grad_(True)
        total = total + torch.autograd.grad(D(image).sum(), image, create_graph=True)[0].square().sum()
    return every * gamma * total / (2 * len(x))


def _lazy_inputs(g):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(1000, (), generator=g)))
        D = nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(0))
    return D, torch.randn(5, 1, 2, 3, generator=g), 0.7, 3, 6


def _teaches(answer):
    """The gradient of the penalty in D's weights; zeros where none arrives."""
    D, x, gamma, every, step = _lazy_inputs(torch.Generator().manual_seed(3))
    value, weights = answer(D, x, gamma, every, step), list(D.parameters())
    if not value.requires_grad:
        return [torch.zeros_like(w) for w in weights]
    found = torch.autograd.grad(value, weights, allow_unused=True)
    return [torch.zeros_like(w) if d is None else d for w, d in zip(weights, found, strict=True)]


LAZY = Exercise(
    number="11.8",
    title="Lazy R1",
    difficulty=2,
    minutes=12,
    task=r"""
Write what R1 of (11.14) adds to $D$'s loss at a given step when it is computed lazily: at steps that are multiples of
`every`, with `every` times the weight, and 0 at all others. The squared norm is over all pixels of an image, then comes the
mean over images. $D$ has to learn from it, so the result must be differentiable in $D$'s weights.""",
    inputs=_lazy_inputs,
    solution=lazy_r1,
    explanation=r"""
Over `every` steps the sum of the weights is the same as with a penalty of $\gamma/2$ at each step. `create_graph=True`
records how the gradient was computed, so that the penalty can be differentiated again. Without it the number is right and
$D$ learns nothing from it: no error tells.""",
    hints=(
        "Which of the steps compute anything at all? And what must their weight be, so that a round adds up?",
        "`torch.autograd.grad(D(x).sum(), x, create_graph=True)` gives all images' gradients; x must require one.",
        "`every * gamma / 2 * gradient.flatten(1).square().sum(1).mean()` where `step % every == 0`, else a zero.",
    ),
    wrong=(
        Wrong(
            "the weight is not multiplied",
            lambda D, x, gamma, every, step: _lazy(D, x, step, every, gamma / 2, _per_image),
            "The weight is γ/2 as in a penalty at each step. Computed at one step in k, it needs k times the weight.",
        ),
        Wrong(
            "without the half",
            lambda D, x, gamma, every, step: _lazy(D, x, step, every, every * gamma, _per_image),
            "The half is missing: the weight of R1 is γ/2.",
        ),
        Wrong(
            "no graph",
            lambda D, x, gamma, every, step: _lazy(D, x, step, every, every * gamma / 2, _per_image, graph=False),
            "The number is right, but no gradient reaches D's weights: create_graph=True is missing.",
        ),
        Wrong(
            "the norm without its square",
            lambda D, x, gamma, every, step: _lazy(
                D, x, step, every, every * gamma / 2, lambda d: d.flatten(1).norm(dim=1).mean()
            ),
            "This is the norm. R1 has the squared norm.",
        ),
        Wrong(
            "the mean over pixels",
            lambda D, x, gamma, every, step: _lazy(D, x, step, every, every * gamma / 2, lambda d: d.square().mean()),
            "This is a mean over pixels as well. The squared norm is a sum over the pixels of an image.",
        ),
        Wrong(
            "the sum over images",
            lambda D, x, gamma, every, step: _lazy(D, x, step, every, every * gamma / 2, lambda d: d.square().sum()),
            "This is a sum over the images. An expectation is estimated by their mean.",
        ),
        Wrong(
            "the slope pulled to one",
            lambda D, x, gamma, every, step: _lazy(
                D, x, step, every, every * gamma / 2, lambda d: (d.flatten(1).norm(dim=1) - 1).square().mean()
            ),
            "This pulls slopes to 1, as WGAN-GP does. R1 pulls them to 0.",
        ),
        Wrong(
            "at each step",
            lambda D, x, gamma, every, step: _lazy(D, x, 0, 1, every * gamma / 2, _per_image),
            "The penalty is added at every step. With the raised weight that is `every` times too much.",
        ),
    ),
    right=(_lazy_loop,),
    probes={
        "the penalty at a step between": lambda f: f(*_lazy_inputs(torch.Generator().manual_seed(3))[:4], 7) * 1.0,
        "the penalty with every = 1": lambda f: f(*_lazy_inputs(torch.Generator().manual_seed(3))[:3], 1, 5).detach(),
        "the gradient that D's weights get": _teaches,
    },
)


def augmented_losses(G, D, T, x, z):
    """(L_D, L_G) of (11.16); T transforms all that D sees."""
    fake = G(z)
    loss_d = F.softplus(-D(T(x))).mean() + F.softplus(D(T(fake.detach()))).mean()
    loss_g = F.softplus(-D(T(fake))).mean()
    return loss_d, loss_g


def _augmented(G, D, x, z, real, fake_d, fake_g):
    made = G(z)
    loss_d = F.softplus(-D(real(x))).mean() + F.softplus(D(fake_d(made.detach()))).mean()
    return loss_d, F.softplus(-D(fake_g(made))).mean()


def _plain(x):
    return x


class _Transform:
    """A fixed transformation: two numbers change places, one is set to zero, the rest is doubled."""

    def __call__(self, x):
        return 2 * x[:, [1, 0, 2, 3]] * torch.tensor([1.0, 1.0, 0.0, 1.0], dtype=x.dtype)


def _augmented_inputs(g):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(1000, (), generator=g)))
        G, D = nn.Linear(2, 4), nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1), nn.Flatten(0))
    return G, D, _Transform(), 1 + torch.randn(5, 4, generator=g), torch.randn(3, 2, generator=g)


def _reaching_g(answer, which):
    """Gradient of one of the two losses in G's weights; zeros where none arrives."""
    G, *rest = _augmented_inputs(torch.Generator().manual_seed(5))
    loss, weights = answer(G, *rest)[which], list(G.parameters())
    if not loss.requires_grad:
        return [torch.zeros_like(w) for w in weights]
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    return [torch.zeros_like(w) if d is None else d for w, d in zip(weights, found, strict=True)]


AUGMENTED = Exercise(
    number="11.9",
    title="Where the augmentation goes",
    difficulty=2,
    minutes=10,
    task=r"""
Write both losses of (11.16), with logits from `D`. The transformation `T` acts on everything that $D$ sees: real images,
generated images in $D$'s move, and generated images in $G$'s. The gradient of $L_G$ runs through $D$ and `T` into $G$; that
of $L_D$ must not reach $G$.""",
    inputs=_augmented_inputs,
    solution=augmented_losses,
    explanation=r"""
There are three places. Without the second, $D$ compares transformed data with plain samples and rejects all samples for
being whole. Without the third, $G$ is taught by a $D$ that never saw such images. And where `T` is applied to detached
images in $L_G$, all numbers are right and $G$ never learns: that is why the transformation must be differentiable.""",
    hints=(
        "How often does D look at images in one step? Each look needs T.",
        "The three looks are `D(T(x))`, `D(T(fake.detach()))` and `D(T(fake))`.",
        "Softplus of minus the logit where the answer should be real, of the logit where it should be generated; means.",
    ),
    wrong=(
        Wrong(
            "only real images",
            lambda G, D, T, x, z: _augmented(G, D, x, z, T, _plain, _plain),
            "Only real images are transformed: G would learn to draw transformed images.",
        ),
        Wrong(
            "only in D's move",
            lambda G, D, T, x, z: _augmented(G, D, x, z, T, T, _plain),
            "D's move has T, but G's does not: G is judged by a D that has seen transformed images only.",
        ),
        Wrong(
            "only generated images",
            lambda G, D, T, x, z: _augmented(G, D, x, z, _plain, T, T),
            "The real images are not transformed, so D finds the samples out by the transformation.",
        ),
        Wrong(
            "no gradient through T",
            lambda G, D, T, x, z: _augmented(G, D, x, z, T, T, lambda made: T(made.detach())),
            "The losses are right, but G's images are detached before T in G's own loss: G never learns.",
        ),
        Wrong(
            "detach is missing",
            lambda G, D, T, x, z: (
                F.softplus(-D(T(x))).mean() + F.softplus(D(T(G(z)))).mean(),
                F.softplus(-D(T(G(z)))).mean(),
            ),
            "The values are right, but D's loss reaches G's weights. Detach the generated images in D's loss.",
        ),
        Wrong(
            "transformed twice",
            lambda G, D, T, x, z: _augmented(G, D, x, z, T, T, lambda made: T(T(made))),
            "In G's loss T is applied twice. D sees images that were transformed once.",
        ),
    ),
    right=(
        lambda G, D, T, x, z: (
            -F.logsigmoid(D(T(x))).mean() - F.logsigmoid(-D(T(G(z).detach()))).mean(),
            -F.logsigmoid(D(T(G(z)))).mean(),
        ),
    ),
    probes={
        "the gradient of G's loss in G's weights": lambda f: _reaching_g(f, 1),
        "the gradient of D's loss in G's weights (all zero)": lambda f: _reaching_g(f, 0),
    },
)


def seeds_needed(sd, difference):
    """Runs per method that (11.18) asks for, to see a difference of means with scores of a standard deviation sd."""
    return math.ceil(2 * (2.8 * sd / difference) ** 2)


SEEDS = Exercise(
    number="11.10",
    title="How many seeds? (open-ended)",
    difficulty=3,
    minutes=30,
    task=r"""
Two methods have scores with standard deviation $s$ over seeds, and means that differ by $\delta$. With $n$ runs each, the
difference of the two means has a standard error of $s\sqrt{2/n}$. A common rule asks that $\delta$ be at least 2.8 standard
errors: then a test at the 5 % level finds it four times out of five. So

$$ n = \Big\lceil 2\,\Big(\frac{2.8\,s}{\delta}\Big)^2 \Big\rceil . \tag{11.18} $$

Write this $n$. Then the open part. Take from the study's table a pair of methods whose intervals overlap. How many seeds
would tell them apart? Now train one of them with twice the steps, or on your own idea, with three seeds
(`stabilising.Game`), and write down what you may conclude and what not.""",
    inputs=lambda g: (float(1 + 9 * torch.rand((), generator=g)), float(2 + 5 * torch.rand((), generator=g))),
    solution=seeds_needed,
    explanation=r"""
Set $\delta = 2.8\, s \sqrt{2/n}$ and solve for $n$; 2.8 is $1.96 + 0.84$, for 5 % error and 80 % power. Half the difference
needs four times the runs. For a difference as large as the standard deviation that is 16 runs for each method. Most papers
have far fewer, many a single one.""",
    hints=(
        "Solve δ = 2.8 s √(2/n) for n.",
        "Square both sides: δ² = 2.8² s² · 2/n. A number of runs is whole, and may not be rounded down.",
        "`math.ceil(2 * (2.8 * sd / difference) ** 2)`.",
    ),
    wrong=(
        Wrong(
            "one mean only",
            lambda sd, difference: math.ceil((2.8 * sd / difference) ** 2),
            "This takes the error of one mean. Both means have one, so the variances add: a factor of 2.",
        ),
        Wrong(
            "not squared",
            lambda sd, difference: math.ceil(2 * 2.8 * sd / difference),
            "The ratio is not squared: errors fall with the root of n only.",
        ),
        Wrong(
            "rounded down",
            lambda sd, difference: math.floor(2 * (2.8 * sd / difference) ** 2),
            "This rounds down, and the difference would be a little too small to see. Round up.",
        ),
        Wrong(
            "upside down",
            lambda sd, difference: math.ceil(2 * (2.8 * difference / sd) ** 2),
            "sd and difference are swapped: more noise would need fewer runs.",
        ),
        Wrong(
            "only the 5 % level",
            lambda sd, difference: math.ceil(2 * (1.96 * sd / difference) ** 2),
            "With 1.96 a true difference is missed every other time. The rule has 2.8.",
        ),
    ),
    right=(lambda sd, difference: -int(-2 * (2.8 * sd) ** 2 // difference**2),),
    probes={
        "runs for a difference as large as the standard deviation": lambda f: f(3.0, 3.0),
        "runs for half of that": lambda f: f(3.0, 1.5),
        "runs for a difference of ten standard deviations": lambda f: f(1.0, 10.0),
    },
    discussion=r"""
**For the open part.** State steps, seeds, the number of samples behind each score, and every score, not the best one. If
you tried five ideas and report one, say so: the best of five noisy scores looks good by chance. A method with twice the
steps has twice the budget; compare it with the *other* method at twice the steps too. With three seeds you can see
differences of about two and a half standard deviations and nothing smaller. "No difference was found" then means that none
larger than that is likely, not that there is none.""",
)

EXERCISES = [HINGE, CERTIFIED, PENALTY, ROUND, W1, RELATIVISTIC, SHARES, LAZY, AUGMENTED, SEEDS]
