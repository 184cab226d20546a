"""Exercise 11.8: Lazy R1."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from torch import nn

from genlab.exercises import Exercise, Wrong


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


EXERCISE = Exercise(
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
            "The weight is γ/2 as in a penalty at each step. Computed at one step in k, it needs k times the weight.",
            lambda D, x, gamma, every, step: _lazy(D, x, step, every, gamma / 2, _per_image),
        ),
        Wrong(
            "without the half",
            "The half is missing: the weight of R1 is γ/2.",
            lambda D, x, gamma, every, step: _lazy(D, x, step, every, every * gamma, _per_image),
        ),
        Wrong(
            "no graph",
            "The number is right, but no gradient reaches D's weights: create_graph=True is missing.",
            lambda D, x, gamma, every, step: _lazy(D, x, step, every, every * gamma / 2, _per_image, graph=False),
        ),
        Wrong(
            "the norm without its square",
            "This is the norm. R1 has the squared norm.",
            lambda D, x, gamma, every, step: _lazy(
                D, x, step, every, every * gamma / 2, lambda d: d.flatten(1).norm(dim=1).mean()
            ),
        ),
        Wrong(
            "the mean over pixels",
            "This is a mean over pixels as well. The squared norm is a sum over the pixels of an image.",
            lambda D, x, gamma, every, step: _lazy(D, x, step, every, every * gamma / 2, lambda d: d.square().mean()),
        ),
        Wrong(
            "the sum over images",
            "This is a sum over the images. An expectation is estimated by their mean.",
            lambda D, x, gamma, every, step: _lazy(D, x, step, every, every * gamma / 2, lambda d: d.square().sum()),
        ),
        Wrong(
            "the slope pulled to one",
            "This pulls slopes to 1, as WGAN-GP does. R1 pulls them to 0.",
            lambda D, x, gamma, every, step: _lazy(
                D, x, step, every, every * gamma / 2, lambda d: (d.flatten(1).norm(dim=1) - 1).square().mean()
            ),
        ),
        Wrong(
            "at each step",
            "The penalty is added at every step. With the raised weight that is `every` times too much.",
            lambda D, x, gamma, every, step: _lazy(D, x, 0, 1, every * gamma / 2, _per_image),
        ),
    ),
    right=(_lazy_loop,),
    probes={
        "the penalty at a step between": lambda f: f(*_lazy_inputs(torch.Generator().manual_seed(3))[:4], 7) * 1.0,
        "the penalty with every = 1": lambda f: f(*_lazy_inputs(torch.Generator().manual_seed(3))[:3], 1, 5).detach(),
        "the gradient that D's weights get": _teaches,
    },
)
