"""Exercise 12.9: One step of an inversion."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math
from functools import partial

import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def inversion_step(G, x, z, lr, shell):
    """z after one gradient step on Σ (G(z) − x)² + shell · (‖z‖ − √d)².

    x (n, m), z (n, d), two numbers -> (n, d).
    """
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
        loss.backward(inputs=[v])
        rows.append((v - lr * v.grad).detach())
    return torch.stack(rows)


def _step_by_sgd(G, x, z, lr, shell):
    v = z.clone().requires_grad_(True)
    loss = F.mse_loss(G(v), x, reduction="sum") + shell * ((v.norm(dim=1) - z.shape[1] ** 0.5) ** 2).sum()
    (v.grad,) = torch.autograd.grad(loss, v)
    torch.optim.SGD([v], lr=lr).step()
    return v.detach()


def _step_by_hand(G, x, z, lr, shell):
    v, radius = z.clone().requires_grad_(True), z.norm(dim=1, keepdim=True)
    (pixels,) = torch.autograd.grad(F.mse_loss(G(v), x, reduction="sum"), v)
    return (z - lr * (pixels + 2 * shell * (1 - z.shape[1] ** 0.5 / radius) * z)).numpy()


class _Warp(torch.nn.Module):
    """A small smooth map, whose weights must neither move nor gather gradients."""

    def __init__(self, weight):
        super().__init__()
        self.weight = torch.nn.Parameter(weight)

    def forward(self, z):
        return torch.tanh(z @ self.weight.to(z))


def _inversion_inputs(g):
    n, d, m = ((4, 3, 6), (3, 5, 2), (2, 4, 7), (5, 2, 3))[int(torch.randint(4, (), generator=g))]
    lr, shell = 0.03 + 0.1 * torch.rand(2, generator=g)
    z = 2 * torch.randn(n, d, generator=g)
    return _Warp(torch.randn(d, m, generator=g)), torch.rand(n, m, generator=g), z, lr.item(), 10 * shell.item()


def _toy(n):
    return _Warp(torch.arange(6.0).view(2, 3) / 5), torch.full((n, 3), 0.2), torch.tensor([[1.0, -2.0]]).expand(n, 2)


EXERCISE = Exercise(
    number="12.9",
    title="One step of an inversion",
    difficulty=3,
    minutes=20,
    task=r"""
Write one step of plain gradient descent on (12.19): the squared error **summed** over the pixels of each row, plus `shell` times $(\lVert z \rVert - \sqrt d)^2$, with learning rate `lr`. `G` maps `z` to rows of
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
            "This steps uphill: the loss grows. Subtract the gradient.",
            partial(_step, sign=1.0),
        ),
        Wrong(
            "mean over the batch",
            "The rows are averaged, so the step shrinks as the batch grows. Each row is a search of its own: sum.",
            partial(_step, rows="mean"),
        ),
        Wrong(
            "mean over the pixels",
            "The squares are averaged over the pixels. With the sum asked for, the shell term has another weight.",
            partial(_step, pixels="mean"),
        ),
        Wrong(
            "no shell",
            "The shell term is missing: z may wander to norms that training has never seen.",
            lambda G, x, z, lr, shell: _step(G, x, z, lr, 0.0),
        ),
        Wrong(
            "pulled to the centre",
            "This pulls z towards 0, where hardly any z of training lies. Pull it towards the shell, norm √d.",
            partial(_step, radius=lambda z, norm: norm.square()),
        ),
        Wrong(
            "a shell of radius d",
            "The shell has radius d here. The squared norm is near d, so the norm is near √d.",
            partial(_step, radius=lambda z, norm: (norm - z.shape[1]).square()),
        ),
        Wrong(
            "squared norm for norm",
            "This compares the squared norm with d. The task has the norm and √d, which pulls less far out.",
            partial(_step, radius=lambda z, norm: (norm.square() - z.shape[1]).square()),
        ),
        Wrong(
            "one norm for all rows",
            "The norm runs over the whole batch. Each row has a norm of its own: dim=1.",
            partial(_step, radius=lambda z, norm: (z.norm() - math.sqrt(z.shape[1])).square() / len(z)),
        ),
        Wrong(
            "still attached",
            "The result hangs on a graph. Searches take hundreds of steps, and each would keep all before it: detach.",
            lambda G, x, z, lr, shell: _step(G, x, z, lr, shell).requires_grad_(True),
        ),
        Wrong(
            "the gradient",
            "This is the gradient. Return z after the step, z − lr · gradient.",
            lambda G, x, z, lr, shell: (z - _step(G, x, z, 1.0, shell)).detach(),
        ),
    ),
    right=(_step_by_rows, _step_by_sgd, _step_by_hand),
    probes={
        "one row alone, and the same row three times": lambda f: (f(*_toy(1), 0.1, 0.5), f(*_toy(3), 0.1, 0.5)),
        "without the shell, shell = 0": lambda f: f(*_toy(2), 0.1, 0.0),
        "a large shell, and a learning rate of 1": lambda f: f(*_toy(2), 1.0, 20.0),
        "whether the result hangs on a graph": lambda f: f(*_toy(1), 0.1, 0.5).requires_grad,
    },
    discussion=r"""
**To go on.** Invert your own handwriting: draw a digit of 28 × 28 pixels in any program, centre it as MNIST does, and
pass it to the chapter's `bfgs` with the right label. Then with a wrong one. How large is the error that a wrong label
costs, over 32 digits and nine wrong labels each? The label with the least error is a classifier, made of a generator and
a search. Report its accuracy on those digits with its standard error, beside the zoo's classifier on the same digits,
and the time that both need. Does more freedom (a smaller `shell`, more steps, more starts) help the classifier, or the
wrong labels?""",
)
