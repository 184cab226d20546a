"""Exercise 09.6: Averaged weights, in place."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch

from genlab.exercises import Exercise, Wrong, mistake


def average_weights(mean, weights, decay):
    """In place, for lists of tensors: mean ← decay · mean + (1 − decay) · weights."""
    with torch.no_grad():
        for m, w in zip(mean, weights, strict=True):
            m.mul_(decay).add_(w, alpha=1 - decay)


def _average_by_numpy(mean, weights, decay):
    for m, w in zip(mean, weights, strict=True):
        own = m.detach().numpy()
        own *= decay
        own += (1 - decay) * w.detach().numpy()


def _each(step):
    """An answer that does something with each pair."""

    def answer(mean, weights, decay):
        with torch.no_grad():
            for m, w in zip(mean, weights, strict=True):
                step(m, w, decay)

    return answer


@mistake(
    "the list holds new tensors",
    "The list holds new tensors with the right values, but the old ones, a network's own, have not changed.",
)
def _average_replaces(mean, weights, decay):
    for i in range(len(mean)):
        mean[i] = decay * mean[i].detach() + (1 - decay) * weights[i].detach()


@mistake(
    "recorded by autograd",
    "Right for plain tensors. Parameters require gradients, and autograd refuses to change them: use no_grad.",
)
def _average_with_grad(mean, weights, decay):
    for m, w in zip(mean, weights, strict=True):
        m.mul_(decay).add_(w, alpha=1 - decay)


def _lists(g):
    count = int(torch.randint(1, 5, (), generator=g))
    sizes = [torch.randint(1, 5, (k % 3,), generator=g).tolist() for k in range(1, count + 1)]
    mean, weights = ([torch.randn(size, generator=g) for size in sizes] for _ in range(2))
    return mean, weights, float(torch.rand((), generator=g))


def _averaged(decay, mean_learns=False, weights_learn=False):
    """A test: what becomes of the tensors themselves, whatever the lists hold afterwards."""

    def test(answer):
        mean = [t.requires_grad_(mean_learns) for t in (torch.ones(2, 3), torch.arange(4.0))]
        weights = [t.requires_grad_(weights_learn) for t in (torch.zeros(2, 3), torch.full((4,), -2.0))]
        answer(list(mean), list(weights), decay)
        found = [(t.detach(), t.requires_grad, t.is_leaf and t.grad is None) for t in mean + weights]
        for t in mean:
            t.detach_()  # what autograd recorded
        return found

    return test


EXERCISE = Exercise(
    number="09.6",
    title="Averaged weights, in place",
    difficulty=2,
    minutes=10,
    task=r"""
Write (9.9) for two lists of tensors, `mean` and `weights`: each tensor of `mean` itself is changed in place, those of
`weights` stay as they are, and nothing is returned. With `decay = 1` nothing changes, with `decay = 0` the weights are
copied. It must also work on the parameters of a module, which require gradients and go on requiring them; autograd
records nothing of it.""",
    inputs=_lists,
    solution=average_weights,
    explanation=r"""
In place means that the tensor's own memory changes: `mul_`, `add_`, `lerp_` or `copy_`. `m = …` would only give the
name `m` to a new tensor. Averaging is no part of the model, so autograd must not record it: it refuses to change a leaf
in place, and rightly so.""",
    hints=(
        "`m = something` gives a new tensor a name. Which methods of a tensor change its own memory?",
        "Methods whose names end in an underscore work in place: first multiply by `decay`, then add the rest.",
        "Inside `with torch.no_grad():` call `m.mul_(decay).add_(w, alpha=1 - decay)` for each pair.",
    ),
    wrong=(
        Wrong(
            "the name is bound anew",
            "Nothing has changed. `m = …` and `decay * m + …` make new tensors, and leave the list's own alone.",
            lambda mean, weights, decay: None,
        ),
        _average_replaces,
        Wrong(
            "decay on the wrong one",
            "decay and 1 − decay are swapped: with decay 0.999 this forgets everything at each step.",
            _each(lambda m, w, decay: m.mul_(1 - decay).add_(w, alpha=decay)),
        ),
        Wrong(
            "the sum is no average",
            "The factor 1 − decay on the weights is missing, so the weights of the average add up to more than one.",
            _each(lambda m, w, decay: m.mul_(decay).add_(w)),
        ),
        Wrong(
            "the weights are moved",
            "The trained weights are changed and the mean is not. The average only watches; the game must not notice it.",
            _each(lambda m, w, decay: w.mul_(1 - decay).add_(m, alpha=decay)),
        ),
        _average_with_grad,
        Wrong(
            "only the first tensor",
            "Only the first tensor is averaged. Go through all pairs.",
            lambda mean, weights, decay: average_weights(mean[:1], weights[:1], decay),
        ),
        Wrong(
            "a new list is returned",
            "This returns new tensors, and those of mean have not changed. Change them in place, and return nothing.",
            lambda mean, weights, decay: [decay * m + (1 - decay) * w for m, w in zip(mean, weights, strict=True)],
        ),
        Wrong(
            "the mean is returned",
            "The tensors are right, but the list is returned as well. What works in place returns nothing, like sort().",
            lambda mean, weights, decay: average_weights(mean, weights, decay) or mean,
        ),
    ),
    right=(
        _average_by_numpy,
        _each(lambda m, w, decay: m.copy_(decay * m + (1 - decay) * w)),
        _each(lambda m, w, decay: m.lerp_(w, 1 - decay)),
    ),
    probes={
        "what becomes of the tensors themselves": _averaged(0.9),
        "what becomes of parameters that require gradients": _averaged(0.9, mean_learns=True, weights_learn=True),
        "a mean that requires no gradient, of weights that do": _averaged(0.5, weights_learn=True),
        "decay = 1": _averaged(1.0),
        "decay = 0": _averaged(0.0),
    },
    mutates=True,
)
