"""Exercise 08.4: What reaches the generator."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from torch import nn
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong, mistake


def shift_gradients(D, x):
    """Gradients of L_sat and L_ns in a shift of all samples x, through D.

    x (n, d) -> (d,), (d,).
    """
    shift = x.new_zeros(x.shape[1]).requires_grad_(True)
    logits = D(x + shift)
    losses = -F.softplus(logits).mean(), F.softplus(-logits).mean()
    slopes = (torch.autograd.grad(loss, shift, retain_graph=True) for loss in losses)
    return tuple(slope for (slope,) in slopes)


def _shift_by_chain_rule(D, x):
    rows = x.detach().requires_grad_(True)
    logits = D(rows)
    (slopes,) = torch.autograd.grad(logits.sum(), rows)
    s = torch.sigmoid(logits.detach())[:, None]
    return (-s * slopes).mean(0), (-(1 - s) * slopes).mean(0)


def _shift_by_loop(D, x):
    found = [_shift_by_chain_rule(D, row[None]) for row in x]
    return [sum(pair[k] for pair in found) / len(x) for k in (0, 1)]


def _shift_by_jacobian(D, x):
    def both(shift):
        logits = D(x + shift)
        return torch.stack([F.logsigmoid(-logits).mean(), -F.logsigmoid(logits).mean()])

    return torch.autograd.functional.jacobian(both, torch.zeros(x.shape[1]))


@mistake(
    "a gradient for every sample",
    "These are gradients in every sample, (n, d). One shift moves all samples, so its gradient is their sum.",
)
def _shift_rows(D, x):
    rows = x.detach().requires_grad_(True)
    logits = D(rows)
    losses = -F.softplus(logits).mean(), F.softplus(-logits).mean()
    return tuple(torch.autograd.grad(loss, rows, retain_graph=True)[0] for loss in losses)


@mistake(
    "log of a sigmoid",
    "Right for moderate logits. At ±200 a sigmoid is 0 or 1, or exp is infinite, and the gradient of the logarithm NaN.",
)
def _shift_by_sigmoid(D, x):
    shift = torch.zeros(x.shape[1], requires_grad=True)
    s = torch.sigmoid(D(x + shift))
    losses = (1 - s).log().mean(), -s.log().mean()
    return tuple(torch.autograd.grad(loss, shift, retain_graph=True)[0] for loss in losses)


def _shift_inputs(g):
    n, d = int(torch.randint(1, 7, (), generator=g)), (1, 3, 4, 5)[int(torch.randint(4, (), generator=g))]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(1000, (), generator=g)))
        D = nn.Sequential(nn.Linear(d, 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(0))
    return D, 2 * torch.randn(n, d, generator=g)


def _plane(slope, bias):
    """A D whose logits are linear in x."""
    D = nn.Sequential(nn.Linear(len(slope), 1), nn.Flatten(0))
    with torch.no_grad():
        D[0].weight.copy_(torch.tensor([slope]))
        D[0].bias.fill_(bias)
    return D


_SLOPE = [2.0, 0.0, -1.0]


EXERCISE = Exercise(
    number="08.4",
    title="What reaches the generator",
    difficulty=2,
    minutes=12,
    task=r"""
A generator has one parameter, a shift: its samples are `x + shift`, and the shift is 0 now. `D` maps `(n, d)` to logits
`(n,)`. Give the gradients in the shift of the saturating loss, the mean of $\log(1 - D)$, and of the non-saturating
loss, the mean of $-\log D$, in this order, each of shape `(d,)`. Together they are minus the mean of $\nabla\ell(x)$,
whatever $D$ is. Where all logits are $-30$ or less, the first is 0 to the eye and the second is not. Both must be right
at logits of ±200 too. `D` is a network, and stays as it is: leave no gradients in its weights.""",
    inputs=_shift_inputs,
    solution=shift_gradients,
    explanation=r"""
The shift is added to every sample, so its gradient is the mean of the samples' gradients. By the chain rule these are
$-\operatorname{sigmoid}(\ell)\,\nabla\ell$ and $-(1 - \operatorname{sigmoid}(\ell))\,\nabla\ell$, as in (8.6), and the
two factors add up to one. D is
only passed through: its weights get no gradient from `torch.autograd.grad`, which returns what is asked for.""",
    hints=(
        "Make a tensor of zeros that requires a gradient, and add it to all samples before D sees them.",
        "The losses are the means of `-F.softplus(logits)` and of `F.softplus(-logits)`.",
        "Call `torch.autograd.grad(loss, shift, retain_graph=True)[0]` for each: the graph is needed twice.",
    ),
    wrong=(
        Wrong(
            "the order swapped",
            "The two are swapped: the saturating gradient comes first. It is the one that vanishes when D is sure.",
            lambda D, x: shift_gradients(D, x)[::-1],
        ),
        Wrong(
            "sums over the samples",
            "These are gradients of sums over the samples. A loss is an expectation: take the mean.",
            lambda D, x: tuple(len(x) * g for g in shift_gradients(D, x)),
        ),
        Wrong(
            "both signs",
            "Both signs are wrong: these are the gradients of minus the losses.",
            lambda D, x: tuple(-g for g in shift_gradients(D, x)),
        ),
        Wrong(
            "the sign of the saturating one",
            "The saturating gradient has the wrong sign. log(1 − sigmoid(ℓ)) is minus softplus(ℓ), and falls when ℓ rises.",
            lambda D, x: (-shift_gradients(D, x)[0], shift_gradients(D, x)[1]),
        ),
        Wrong(
            "the second is the sum",
            "The second is the sum of both gradients: backward() adds to what .grad holds already.",
            lambda D, x: (shift_gradients(D, x)[0], sum(shift_gradients(D, x))),
        ),
        Wrong(
            "both are the sum",
            "Both are the sum of the two gradients, minus the mean slope of the logit. Each loss weighs it, by D and by "
            "1 − D; and two calls of backward() add up in one .grad.",
            lambda D, x: (sum(shift_gradients(D, x)), sum(shift_gradients(D, x))),
        ),
        _shift_rows,
        _shift_by_sigmoid,
    ),
    right=(_shift_by_chain_rule, _shift_by_loop, _shift_by_jacobian),
    probes={
        "the gradients through a D that is undecided but has a slope": lambda f: f(
            _plane(_SLOPE, 0.0), torch.zeros(5, 3)
        ),
        "the gradients through a D that sees all": lambda f: f(_plane(_SLOPE, -200.0), torch.ones(4, 3)),
        "the gradients through a D that is fooled": lambda f: f(_plane(_SLOPE, 200.0), torch.ones(4, 3)),
        "the gradients for one sample of one number": lambda f: f(_plane([3.0], 0.0), torch.ones(1, 1)),
    },
)
