"""Exercise 11.8: Lazy R1."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from torch import nn
from torch.autograd.functional import jacobian

from genlab import gan
from genlab.exercises import Exercise, Wrong


def lazy_r1(D, x, gamma, every, step):
    """What R1 adds to D's loss at a step if each `every`-th step only computes it.

    Images (n, …) -> a number.
    """
    if step % every != 0:
        return torch.zeros(())
    x = x.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
    return every * gamma / 2 * gradient.flatten(1).square().sum(1).mean()


def _lazy_loop(D, x, gamma, every, step):
    if step % every:
        return 0.0
    total = 0.0
    for image in x.detach().split(1):
        image = image.clone().requires_grad_(True)
        total = total + torch.autograd.grad(D(image).sum(), image, create_graph=True)[0].square().sum()
    return every * gamma * total / (2 * len(x))


def _per_image(gradient):
    return gradient.flatten(1).square().sum(1).mean()


def _lazy(reduce=_per_image, weight=lambda gamma, every: every * gamma / 2, now=lambda step, every: step % every == 0):
    """Another penalty, another weight, or other steps."""

    def lazy(D, x, gamma, every, step):
        if not now(step, every):
            return torch.zeros(())
        x = x.detach().requires_grad_(True)
        return weight(gamma, every) * reduce(torch.autograd.grad(D(x).sum(), x, create_graph=True)[0])

    return lazy


def _round(g):
    """D, any number of images of any shape with one far from the others, a weight, and a step that is a multiple."""
    n, i, every, k = (int(torch.randint(high, (), generator=g)) for high in (5, 3, 4, 4))
    shape = [(2, 2, 3), (5,), (2, 4)][i]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(1000, (), generator=g)))
        D = nn.Sequential(
            nn.Flatten(), nn.Linear(torch.Size(shape).numel(), 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(0)
        )
    for p in D.parameters():
        p.grad = torch.ones_like(p)  # of a loss before
    x = torch.randn(n + 1, *shape, generator=g)
    x[0] *= 4
    return D, x, 0.3 + float(torch.rand((), generator=g)), every + 2, (every + 2) * k


def _at(every, step):
    """A test at another step."""
    return lambda f: f(*_round(torch.Generator().manual_seed(3))[:3], every, step)


def _calls(answer):
    """How often D is called at a step between."""
    D, x, gamma, *_ = _round(torch.Generator().manual_seed(4))
    calls = []
    D.register_forward_hook(lambda *_: calls.append(1))
    answer(D, x, gamma, 4, 6)
    return len(calls)


def _teaches(answer):
    """The gradient of the penalty in D's weights; zeros where none arrives."""
    D, x, gamma, *_ = _round(torch.Generator().manual_seed(5))
    value, weights = answer(D, x, gamma, 3, 6), list(D.parameters())
    found = torch.autograd.grad(value, weights, allow_unused=True) if value.requires_grad else [None] * len(weights)
    return [torch.zeros_like(w) if d is None else d for w, d in zip(weights, found, strict=True)]


EXERCISE = Exercise(
    number="11.8",
    title="Lazy R1",
    difficulty=2,
    minutes=12,
    task=r"""
Write what R1 of (11.14) adds to $D$'s loss at a given step when it is computed lazily: at steps that are multiples of
`every` (0 is one), with `every` times the weight $\gamma/2$. At all others it is 0, and $D$ is not called. The squared norm is
over all pixels of an image, of whatever shape, then comes the mean over images. $D$ has to learn from it, so the result must
be differentiable in $D$'s weights. Leave `x`, and the gradients that $D$'s weights hold, as they are.""",
    inputs=_round,
    solution=lazy_r1,
    explanation=r"""
Over `every` steps the sum of the weights is the same as with a penalty of $\gamma/2$ at each step. `create_graph=True`
records how the gradient was computed, so that the penalty can be differentiated again. Without it the number is right and
$D$ learns nothing from it: no error tells. `torch.autograd.grad` returns the gradient; `backward` would add it to $D$'s.""",
    hints=(
        "Which of the steps compute anything at all? And what must their weight be, so that a round adds up?",
        "`torch.autograd.grad(D(x).sum(), x, create_graph=True)` gives all images' gradients; x must require one.",
        "`every * gamma / 2 * gradient.flatten(1).square().sum(1).mean()` where `step % every == 0`, else a zero.",
    ),
    wrong=(
        Wrong(
            "the weight is not multiplied",
            "The weight is γ/2 as in a penalty at each step. Computed at one step in k, it needs k times the weight.",
            _lazy(weight=lambda gamma, every: gamma / 2),
        ),
        Wrong(
            "without the half",
            "The half is missing: the weight of R1 is γ/2.",
            _lazy(weight=lambda gamma, every: every * gamma),
        ),
        Wrong(
            "no graph",
            "The number is right, but no gradient reaches D's weights. Is create_graph=True missing, or the result detached?",
            lambda *arguments: lazy_r1(*arguments).detach(),
        ),
        Wrong(
            "the norm without its square",
            "This is the norm. R1 has the squared norm.",
            _lazy(lambda gradient: gradient.flatten(1).norm(dim=1).mean()),
        ),
        Wrong(
            "the mean over pixels",
            "This is a mean over pixels as well. The squared norm is a sum over the pixels of an image.",
            _lazy(lambda gradient: gradient.square().mean()),
        ),
        Wrong(
            "the sum over images",
            "This is a sum over the images. An expectation is estimated by their mean.",
            _lazy(lambda gradient: gradient.square().sum()),
        ),
        Wrong(
            "the gradient of the mean",
            "The gradients are those of the mean of D, n times too small each. Differentiate the sum over the images.",
            _lazy(lambda gradient: _per_image(gradient / len(gradient))),
        ),
        Wrong(
            "at each step",
            "The penalty is added at every step. With the raised weight that is `every` times too much.",
            _lazy(now=lambda step, every: True),
        ),
        Wrong(
            "not at step 0",
            "Nothing is added at step 0, which is a multiple of every number.",
            _lazy(now=lambda step, every: step > 0 and step % every == 0),
        ),
        Wrong(
            "computed, and thrown away",
            "The values are right, but D is called at every step. Return before the work: that is what laziness saves.",
            lambda D, x, gamma, every, step: (step % every == 0) * lazy_r1(D, x, gamma, every, 0),
        ),
    ),
    right=(
        _lazy_loop,
        lambda D, x, gamma, every, step: every * gamma / 2 * gan.r1_penalty(D, x).mean() if step % every == 0 else 0.0,
        lambda D, x, gamma, every, step: (
            0 if step % every else every * gamma / 2 * _per_image(jacobian(lambda a: D(a).sum(), x, create_graph=True))
        ),
    ),
    probes={
        "the penalty at a step between": _at(3, 7),
        "the penalty at a step before the second": _at(4, 1),
        "the penalty at step 0": _at(3, 0),
        "the penalty with every = 1": _at(1, 5),
        "the gradient that D's weights get": _teaches,
        "how often D is called at a step between": _calls,
    },
)
