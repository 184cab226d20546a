"""Exercise 17.3: A loss without the score."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch

from genlab.exercises import Exercise, Wrong


def implicit_loss(score, x, theta):
    """Mean over rows of ½ ‖s‖² + the divergence of s, for s = score(x, theta).

    Function, data (n, d), parameters of any shape -> a number with a gradient.
    """
    x = x.clone().requires_grad_()
    s = score(x, theta)
    divergence = 0.0
    for i in range(x.shape[1]):
        (row,) = torch.autograd.grad(s[:, i].sum(), x, create_graph=True)
        divergence = divergence + row[:, i]
    return (0.5 * s.square().sum(1) + divergence).mean()


def _by_jacobians(score, x, theta):
    total = 0.0
    for point in x:
        J = torch.autograd.functional.jacobian(lambda p: score(p[None], theta)[0], point, create_graph=True)
        total = total + torch.trace(J) + score(point[None], theta).square().sum() / 2
    return total / len(x)


def _by_vmap(score, x, theta):
    def one(point):
        s = score(point[None], theta)[0]
        return s, s

    J, s = torch.func.vmap(torch.func.jacrev(one, has_aux=True))(x)
    return torch.einsum("nii->n", J).mean() + 0.5 * s.square().sum() / len(x)


def _by_jvp(score, x, theta):
    # forward mode: the score's change along each axis, all rows at once
    divergence = 0.0
    for i, axis in enumerate(torch.eye(x.shape[1], dtype=x.dtype)):
        _, change = torch.func.jvp(lambda p: score(p, theta), (x,), (axis.expand_as(x).contiguous(),))
        divergence = divergence + change[:, i]
    return (divergence + score(x, theta).pow(2).sum(1) / 2).sum() / len(x)


def _by_differences(score, x, theta):
    step, total = 1e-4, score(x, theta).square().sum() / 2
    for i in range(x.shape[1]):
        move = torch.zeros_like(x)
        move[:, i] = step
        total = total + ((score(x + move, theta) - score(x - move, theta))[:, i] / (2 * step)).sum()
    return total / x.shape[0]


def _parts(score, x, theta, graph=True):
    """The score (n, d) and its Jacobians (n, d, d) with rows for outputs."""
    x = x.detach().clone().requires_grad_()
    s = score(x, theta)
    rows = [torch.autograd.grad(s[:, i].sum(), x, create_graph=graph, retain_graph=True)[0] for i in range(s.shape[1])]
    return s, torch.stack(rows, 1)


def _with(combine):
    """Something else made of scores and Jacobians."""
    return lambda score, x, theta: combine(*_parts(score, x, theta))


def _trace(J):
    return J.diagonal(dim1=1, dim2=2).sum(1)


def _not_learned(score, x, theta):
    s, J = _parts(score, x, theta, graph=False)
    return (0.5 * s.square().sum(1) + _trace(J)).mean()


def _no_gradient(score, x, theta):
    return implicit_loss(score, x, theta).detach()


def _left_asking(score, x, theta):
    x.requires_grad_()
    s, J = _parts(score, x, theta)
    return (0.5 * s.square().sum(1) + _trace(J)).mean()


def waves(x, theta):
    """A score that no density has: its Jacobian is not symmetric."""
    return torch.sin(x @ theta) - 0.5 * x @ theta.T


def linear(x, theta):
    """The score of a normal law with precision theta."""
    return -x @ theta


def _network(g):
    n, d = (int(torch.randint(low, 7, (), generator=g)) for low in (1, 2))
    x, theta = torch.randn(n, d, generator=g).double(), torch.randn(d, d, generator=g).double()
    x[0] *= 4
    return waves, x, theta


POINTS = torch.tensor([[1.0, -2.0, 0.5], [3.0, 0.25, -1.0]]).double()
PRECISION = torch.tensor([[2.0, 0.5, 0.0], [0.5, 1.0, -0.25], [0.0, -0.25, 4.0]]).double()

EXERCISE = Exercise(
    number="17.3",
    title="A loss without the score",
    difficulty=2,
    minutes=15,
    task=r"""
Implicit score matching learns a model $s_\theta(x)$ of the score without knowing the data's score: by parts,

$$ \tfrac12\, \mathbb E \lVert s_\theta(x) - \nabla \log p(x) \rVert^2
= \mathbb E \big[ \tfrac12 \lVert s_\theta(x) \rVert^2 + \nabla \cdot s_\theta(x) \big] + \text{constant}, $$

where the divergence is $\nabla \cdot s = \sum_i \partial s_i/\partial x_i$. Write the expectation on the right as a mean
over the rows of `x`, of shape `(n, d)`. `score(x, theta)` takes rows and gives rows of the same shape, each of its
own row alone; it is made of torch's functions. Return one number. Its gradient by `theta` is compared as well, since the
loss is there to be minimised; and `x` must be left as it was, in all respects.""",
    inputs=_network,
    solution=implicit_loss,
    gradient=("theta",),
    explanation=r"""
The cross term of the square is $-\mathbb E[s \cdot \nabla \log p] = -\int s \cdot \nabla p$, and integration by parts
turns it into $+\int p\, \nabla \cdot s$: the unknown score is gone. `autograd.grad` of the *sum* of column $i$ gives, in
each row, the derivatives of $s_i$ by all inputs, because rows do not mix; the entry $i$ of it is wanted. With
`create_graph=True` the derivative itself can be differentiated. Without it the number is right, but the divergence
teaches $\theta$ nothing, and the minimum is $s = 0$.""",
    hints=(
        "One backward pass gives a row of the Jacobian. How many passes does its trace need?",
        "For coordinate i: `torch.autograd.grad(s[:, i].sum(), x, …)`, and of the result the column i.",
        "Differentiate by a copy, `x.clone().requires_grad_()`, and pass `create_graph=True`.",
    ),
    wrong=(
        Wrong(
            "all entries of the Jacobian",
            "All derivatives are added up, ∂s_i/∂x_j as well: autograd of s.sum(). The divergence has those with i = j alone.",
            _with(lambda s, J: (0.5 * s.square().sum(1) + J.sum((1, 2))).mean()),
        ),
        Wrong(
            "the sign of the divergence",
            "The divergence is subtracted: that loss wants −∇ log p, the gradient of an energy. Here s is the score itself.",
            _with(lambda s, J: (0.5 * s.square().sum(1) - _trace(J)).mean()),
        ),
        Wrong(
            "the one half",
            "The factor of one half before ‖s‖² is missing; the minimum of this loss is half the score.",
            _with(lambda s, J: (s.square().sum(1) + _trace(J)).mean()),
        ),
        Wrong(
            "half of both",
            "The one half stands before both terms. Only ‖s‖² has it; the minimum is half the score here.",
            _with(lambda s, J: 0.5 * (s.square().sum(1) + _trace(J)).mean()),
        ),
        Wrong(
            "no divergence",
            "This is ½ ‖s‖² alone, whose minimum is s = 0.",
            _with(lambda s, J: 0.5 * s.square().sum(1).mean()),
        ),
        Wrong(
            "the divergence alone",
            "The square of the score is missing: this has no minimum.",
            _with(lambda s, J: _trace(J).mean()),
        ),
        Wrong(
            "the logarithm of the determinant",
            "This takes log |det| of the Jacobian, as a flow does. Integration by parts leaves its trace.",
            _with(lambda s, J: (0.5 * s.square().sum(1) + torch.linalg.slogdet(J)[1]).mean()),
        ),
        Wrong(
            "the length not squared",
            "The length of the score is not squared.",
            _with(lambda s, J: (0.5 * s.norm(dim=1) + _trace(J)).mean()),
        ),
        Wrong(
            "the mean over coordinates",
            "This is a mean over coordinates, too. Squares and derivatives are added up over them.",
            _with(lambda s, J: (0.5 * s.square().sum(1) + _trace(J)).mean() / s.shape[1]),
        ),
        Wrong(
            "the square alone averaged over coordinates",
            "‖s‖² is averaged over coordinates, the divergence is added up. Add up both.",
            _with(lambda s, J: (0.5 * s.square().mean(1) + _trace(J)).mean()),
        ),
        Wrong(
            "the sum over rows",
            "This is a sum over rows. Asked is their mean.",
            _with(lambda s, J: (0.5 * s.square().sum(1) + _trace(J)).sum()),
        ),
        Wrong(
            "a divergence that teaches nothing",
            "The number is right, but the gradient of the divergence by theta is missing: create_graph=True keeps it.",
            _not_learned,
        ),
        Wrong(
            "cut off from theta",
            "The number is right, but it does not remember theta: nothing can be learned from it. Look for detach or item.",
            _no_gradient,
        ),
        Wrong(
            "x left asking for gradients",
            "The loss is right, but x asks for gradients afterwards. Differentiate by a copy of it.",
            _left_asking,
        ),
    ),
    right=(_by_jacobians, _by_vmap, _by_jvp, _by_differences),
    probes={
        "the loss of a linear score in three dimensions": lambda f: f(linear, POINTS, PRECISION),
        "the loss of a score of 0": lambda f: f(linear, POINTS, 0 * PRECISION),
        "the loss of one row in one dimension": lambda f: f(waves, POINTS[:1, :1], PRECISION[:1, :1]),
        "the loss of large scores": lambda f: f(linear, 10 * POINTS, 5 * PRECISION),
        "the loss where the Jacobian's diagonal is 0": lambda f: f(
            linear, POINTS[:, :2], torch.tensor([[0.0, 3.0], [-2.0, 0.0]]).double()
        ),
    },
    discussion=r"""
**For your own work.** The trace costs $d$ backward passes, 784 for a digit. Hutchinson's estimate
$v^\top (\partial s/\partial x)\, v$ with random signs $v$ costs one and is right on average; denoising costs none, since
noise makes the score of what is noised known. Whatever you use, test it on normal data: there the best score is
$-\Sigma^{-1}(x - m)$, and the gradient of the loss must vanish at it.""",
)
