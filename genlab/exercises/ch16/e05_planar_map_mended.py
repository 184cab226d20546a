"""Exercise 16.5: A planar map, mended."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def planar(x, w, u, b):
    """A planar map that can always be inverted: its z (n, d), log-determinants (n,).

    x (n, d), w (d,) not 0, u (d,), b a number.
    """
    along = w @ u
    change = torch.nn.functional.softplus(along) - 1 - along
    mended = u + change * w / w.square().sum()
    h = torch.tanh(x @ w + b)
    log_det = torch.log(1 + (1 - h.square()) * (w @ mended))
    return x + h[:, None] * mended, log_det


def _by_jacobians(x, w, u, b):
    unit = w / w.norm()
    across = u - (u @ unit) * unit  # this part of u stays
    mended = across + unit * (torch.log1p(torch.exp(w @ u)) - 1) / w.norm()

    def forward(row):
        return row + mended * torch.tanh(w @ row + b)

    jacobians = torch.stack([torch.autograd.functional.jacobian(forward, row) for row in x])
    return torch.stack([forward(row) for row in x]), torch.linalg.slogdet(jacobians).logabsdet


def _by_numpy(x, w, u, b):
    x, w, u, b = x.numpy(), w.numpy(), u.numpy(), float(b)
    along = np.logaddexp(0, w @ u) - 1
    mended = u + w * (along - w @ u) / (w @ w)
    inside = x @ w + b
    return x + np.outer(np.tanh(inside), mended), np.log1p(along / np.cosh(inside) ** 2)


def _by_loops(x, w, u, b):
    w, u = w.tolist(), u.tolist()
    dot = sum(p * q for p, q in zip(w, u, strict=True))
    along = math.log(1 + math.exp(dot)) - 1
    length = sum(p * p for p in w)
    mended = [q + (along - dot) * p / length for p, q in zip(w, u, strict=True)]
    z, log_det = [], []
    for row in x.tolist():
        h = math.tanh(sum(p * r for p, r in zip(w, row, strict=True)) + float(b))
        z.append([r + h * m for r, m in zip(row, mended, strict=True)])
        log_det.append(math.log(1 + (1 - h * h) * along))
    return z, log_det


def _by_determinants(x, w, u, b):
    mended = u + w * (F.softplus(w @ u) - 1 - w @ u) / (w @ w)
    h = (x @ w + b).tanh()
    jacobians = torch.eye(len(w)).to(x) + torch.einsum("n,i,j->nij", 1 - h**2, mended, w)
    return x + torch.outer(h, mended), torch.logdet(jacobians)


def _with(mend=lambda w, u: _mended(w, u), slope=lambda h: 1 - h.square(), log=lambda det: det.abs().log()):
    """Another mend, another slope of the tanh, or another end."""

    def found(x, w, u, b):
        v, h = mend(w, u), torch.tanh(x @ w + b)
        return x + h[:, None] * v, log(1 + slope(h) * (w @ v))

    return found


def _mended(w, u):
    return u + (F.softplus(w @ u) - 1 - w @ u) * w / (w @ w)


def _old_u_in_the_determinant(x, w, u, b):
    h = torch.tanh(x @ w + b)
    return planar(x, w, u, b)[0], (1 + (1 - h.square()) * (w @ u)).abs().log()


def _draw(g):
    n, d = (int(torch.randint(1, 6, (), generator=g)) for _ in range(2))
    x = torch.randn(n, d, generator=g).double()
    x[0] *= 3
    w = torch.randn(d, generator=g).double()
    w = w / w.norm() * (0.5 + 1.5 * float(torch.rand((), generator=g)))
    u = torch.randn(d, generator=g).double()
    along = -3 + 5 * torch.rand((), generator=g).double()  # on both sides of −1
    return x, w, u + (along - w @ u) * w / (w @ w), 0.5 * torch.randn((), generator=g).double()


def _order(f):
    """Whether points along w stay in their order under a u that would fold them."""
    x = torch.linspace(-2, 2, 9).double()[:, None]
    return f(x, torch.tensor([1.0]).double(), torch.tensor([-3.0]).double(), torch.tensor(0.0).double())


EXERCISE = Exercise(
    number="16.5",
    title="A planar map, mended",
    difficulty=2,
    minutes=12,
    task=r"""
A planar map moves every row $x$ along one direction, $z = x + \hat u \tanh(w^\top x + b)$. It can be inverted if
$w^\top \hat u > -1$. So $\hat u$ is made of any $u$, by a change along $w$ alone, such that

$$ w^\top \hat u = -1 + \operatorname{softplus}(w^\top u), \qquad \operatorname{softplus}(a) = \log(1 + e^a) . $$

Make that $\hat u$, for every $u$, and return the pair of $z$, in the shape of $x$, and of
$\log \lvert \det \partial z/\partial x \rvert$ in nats, one number for each row. $w$ is not 0, and need not have
length 1; $b$ is a tensor of one number. Leave the arguments as they are. Before you check: where does a map with $d = 1$,
$w = 1$, $b = 0$ and the unmended $u = -3$ send $-1$, $0$ and $1$?""",
    inputs=_draw,
    solution=planar,
    explanation=r"""
The Jacobian is $I + (1 - h^2)\, \hat u w^\top$ with $h = \tanh(w^\top x + b)$, and the determinant of $I + a b^\top$ is
$1 + a^\top b$. For a negative $w^\top \hat u$ it is least where $h = 0$, with the value $1 + w^\top \hat u$: that must
be positive, and then the slope along $w$ is positive everywhere. Unmended, $u = -3$ sends $-1, 0, 1$ to about $1.28, 0, -1.28$, and yet $-5$ to about $-2$: it
folds. Adding $c\,w$ to $u$ changes $w^\top u$ by $c \lVert w \rVert^2$, which is why the length is divided by twice
(Rezende and Mohamed 2015).""",
    hints=(
        "Add a multiple of w to u. How much does wᵀu change with it?",
        "û = u + (softplus(wᵀu) − 1 − wᵀu) w/‖w‖². The Jacobian is I + (1 − h²) û wᵀ, with det(I + a bᵀ) = 1 + aᵀb.",
        "`torch.log(1 + (1 - h.square()) * (w @ mended))` with `h = torch.tanh(x @ w + b)`.",
    ),
    wrong=(
        Wrong(
            "not mended",
            "u is used as it is. With wᵀu below −1 the map folds: several x have the same z.",
            _with(lambda w, u: u),
        ),
        Wrong(
            "mended only where it folds",
            "û is u wherever wᵀu is above −1. Asked is the change for every u, which has no kink.",
            _with(lambda w, u: u if w @ u > -1 else _mended(w, u)),
        ),
        Wrong(
            "the length, not its square",
            "The change is divided by the length of w. Adding c w changes wᵀu by c times the square of the length.",
            _with(lambda w, u: u + (F.softplus(w @ u) - 1 - w @ u) * w / w.norm()),
        ),
        Wrong(
            "w taken for a unit vector",
            "The change is not divided by the square of the length of w.",
            _with(lambda w, u: u + (F.softplus(w @ u) - 1 - w @ u) * w),
        ),
        Wrong(
            "kept above 0",
            "wᵀû is softplus(wᵀu) here, above 0. It may be as low as −1: the map may squeeze as well.",
            _with(lambda w, u: u + (F.softplus(w @ u) - w @ u) * w / (w @ w)),
        ),
        Wrong(
            "what u has along w is kept",
            "wᵀu is not subtracted, so û has it twice: the change must bring wᵀû to softplus(wᵀu) − 1.",
            _with(lambda w, u: u + (F.softplus(w @ u) - 1) * w / (w @ w)),
        ),
        Wrong(
            "the old u in the determinant",
            "z is made with the mended u, but the determinant with the old one.",
            _old_u_in_the_determinant,
        ),
        Wrong(
            "no slope of the tanh",
            "The determinant is 1 + wᵀû everywhere. The slope of the tanh belongs into it, and depends on x.",
            _with(slope=lambda h: torch.ones_like(h)),
        ),
        Wrong(
            "the slope of the sigmoid",
            "h (1 − h) is the slope of the sigmoid. That of the tanh is 1 − h².",
            _with(slope=lambda h: h * (1 - h)),
        ),
        Wrong(
            "the square forgotten",
            "The slope of the tanh is 1 − h², not 1 − h.",
            _with(slope=lambda h: 1 - h),
        ),
        Wrong(
            "the sign of the log-determinant",
            "The log-determinant has the wrong sign. Asked is that of x ↦ z.",
            _with(log=lambda det: -det.log()),
        ),
        Wrong(
            "the determinant",
            "This is the determinant itself. Asked is its logarithm.",
            _with(log=lambda det: det),
        ),
        Wrong(
            "one number for the batch",
            "The log-determinants of all rows are added up. Each row has its own.",
            _with(log=lambda det: det.log().sum()),
        ),
    ),
    right=(_by_jacobians, _by_numpy, _by_loops, _by_determinants),
    probes={
        "a line of points that u = −3 would fold": _order,
        "a long w": lambda f: f(
            torch.tensor([[0.1, 0.2], [-0.3, 0.0]]).double(),
            torch.tensor([3.0, 4.0]).double(),
            torch.tensor([0.2, -0.1]).double(),
            torch.tensor(0.5).double(),
        ),
        "u across w": lambda f: f(
            torch.tensor([[1.0, 2.0]]).double(),
            torch.tensor([1.0, 0.0]).double(),
            torch.tensor([0.0, 2.0]).double(),
            torch.tensor(-1.0).double(),
        ),
        "u that is 0": lambda f: f(
            torch.tensor([[1.0], [-0.5]]).double(),
            torch.tensor([2.0]).double(),
            torch.zeros(1).double(),
            torch.tensor(0.25).double(),
        ),
    },
    discussion=r"""
**For your own work.** A change of variables is wrong where the map folds, and nothing in the loss says so: the formula
then counts one of several pieces, and the "density" need not have the mass 1. Where invertibility rests on a condition,
build it in as here, or test it on a grid. Note that the mended map of $u = 0$ is not the identity:
$\operatorname{softplus}(0) - 1$ is about $-0.31$. And a planar map has no inverse in closed form: the density of *given*
data, not of its own output, needs a root found numerically if it was trained from noise to data.""",
)
