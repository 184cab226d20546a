"""Exercise 09.6: Averaged weights, in place."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from torch import nn

from genlab.exercises import Exercise, mistake


def average_weights(mean, weights, decay):
    """mean ← decay · mean + (1 − decay) · weights, in place, for two lists of tensors; returns nothing."""
    with torch.no_grad():
        for m, w in zip(mean, weights, strict=True):
            m.mul_(decay).add_(w, alpha=1 - decay)


def _average_by_copy(mean, weights, decay):
    for m, w in zip(mean, weights, strict=True):
        m.data.copy_(decay * m.data + (1 - decay) * w.data)


@mistake(
    "the name is bound anew",
    "Nothing has changed: `m = …` gives the name m to a new tensor and leaves the list's tensor alone.",
)
def _average_rebinds(mean, weights, decay):
    for m, w in zip(mean, weights, strict=True):
        m = decay * m + (1 - decay) * w


@mistake(
    "decay on the wrong one",
    "decay and 1 − decay are swapped: with decay 0.999 this forgets everything at each step.",
)
def _average_swapped(mean, weights, decay):
    with torch.no_grad():
        for m, w in zip(mean, weights, strict=True):
            m.mul_(1 - decay).add_(w, alpha=decay)


@mistake(
    "the sum is no average",
    "The factor 1 − decay on the weights is missing, so the weights of the average add up to more than one.",
)
def _average_adds(mean, weights, decay):
    with torch.no_grad():
        for m, w in zip(mean, weights, strict=True):
            m.mul_(decay).add_(w)


@mistake(
    "the weights are moved",
    "The trained weights are changed and the mean is not. The average only watches; the game must not notice it.",
)
def _average_moves_weights(mean, weights, decay):
    with torch.no_grad():
        for m, w in zip(mean, weights, strict=True):
            w.mul_(1 - decay).add_(m, alpha=decay)


@mistake(
    "recorded by autograd",
    "Right for plain tensors. Parameters require gradients, and autograd refuses to change them: use no_grad.",
)
def _average_with_grad(mean, weights, decay):
    for m, w in zip(mean, weights, strict=True):
        m.mul_(decay).add_(w, alpha=1 - decay)


@mistake(
    "only the first tensor",
    "Only the first tensor is averaged. Go through all pairs.",
)
def _average_half_done(mean, weights, decay):
    with torch.no_grad():
        mean[0].mul_(decay).add_(weights[0], alpha=1 - decay)


def _average_of_parameters(answer):
    """What becomes of weights that require gradients, as a module's do."""
    mean, weights = [nn.Parameter(torch.ones(2, 3))], [nn.Parameter(torch.zeros(2, 3))]
    answer(mean, weights, 0.9)
    return mean[0].detach(), weights[0].detach()


EXERCISE = Exercise(
    number="09.6",
    title="Averaged weights, in place",
    difficulty=2,
    minutes=10,
    task=r"""
Write (9.9) for two lists of tensors, `mean` and `weights`: every tensor of `mean` is changed in place, those of
`weights` stay as they are, and nothing is returned. With `decay = 1` nothing changes, with `decay = 0` the weights are
copied. It must also work on the parameters of a module, which require gradients.""",
    inputs=lambda g: (
        [torch.randn(2, 3, generator=g), torch.randn(4, generator=g)],
        [torch.randn(2, 3, generator=g), torch.randn(4, generator=g)],
        0.9,
    ),
    solution=average_weights,
    explanation=r"""
In place means that the tensor's own memory changes: `mul_`, `add_`, `lerp_` or `copy_`. `m = …` would only give the name
`m` to a new tensor. Averaging is no part of the model, so autograd must not record it: it refuses to change a leaf in
place, and rightly so.""",
    hints=(
        "`m = something` gives a new tensor a name. Which methods of a tensor change its own memory?",
        "Methods whose names end in an underscore work in place: first multiply by `decay`, then add the rest.",
        "Inside `with torch.no_grad():` call `m.mul_(decay).add_(w, alpha=1 - decay)` for each pair.",
    ),
    wrong=(
        _average_rebinds,
        _average_swapped,
        _average_adds,
        _average_moves_weights,
        _average_with_grad,
        _average_half_done,
    ),
    right=(_average_by_copy,),
    probes={"what becomes of parameters that require gradients": _average_of_parameters},
    mutates=True,
)
