"""Exercise 15.2: Leaks and losses."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def leaks_and_losses(masks, order):
    """How many pairs of output and input masks join wrongly, and keep apart wrongly.

    Masks (out, in) from the inputs up, place of each input (d,) -> two whole numbers.
    """
    paths = torch.eye(len(order))
    for mask in masks:
        paths = (mask.float() @ paths > 0).float()  # from each input to each unit
    seen, allowed = paths > 0, order[:, None] > order
    return (seen & ~allowed).sum(), (allowed & ~seen).sum()


def _by_walking(masks, order):
    layers, d, found = [mask.tolist() for mask in masks], len(order), [0, 0]
    for j in range(d):
        reached = {j}
        for layer in layers:
            reached = {i for i, row in enumerate(layer) if any(row[k] for k in reached)}
        for i in range(d):
            before = bool(order[j] < order[i])
            found[0] += i in reached and not before
            found[1] += before and i not in reached
    return found


def _by_gradient(masks, order):
    def network(x):
        for mask in masks:
            x = mask.double() @ x
        return x

    slopes = torch.autograd.functional.jacobian(network, torch.zeros(len(order)).double())
    along = order.argsort()  # inputs as they follow each other
    slopes = (slopes[along][:, along] != 0).long()
    wanted = torch.ones_like(slopes).tril(-1)
    return (slopes > wanted).sum(), (slopes < wanted).sum()


def _by_numpy(masks, order):
    paths = np.linalg.multi_dot([mask.double().numpy() for mask in reversed(masks)]) if masks[1:] else masks[0].numpy()
    allowed = np.greater.outer(order.numpy(), order.numpy())
    return np.array([np.count_nonzero(paths[~allowed]), np.count_nonzero(paths[allowed] == 0)])


def _by_sets(masks, order):
    # what each unit sees, layer by layer
    below = [{j} for j in range(len(order))]
    for mask in masks:
        below = [set().union(*(below[k] for k in row.nonzero()[:, 0].tolist())) for row in mask]
    past = [set((order < place).nonzero()[:, 0].tolist()) for place in order]
    pairs = list(zip(below, past, strict=True))
    return sum(len(seen - before) for seen, before in pairs), sum(len(before - seen) for seen, before in pairs)


def _paths(masks, d):
    """Numbers of paths from each input to each output (d, d)."""
    paths = torch.eye(d).double()
    for mask in masks:
        paths = mask.double() @ paths
    return paths


def _against(allowed):
    """Both numbers, with another rule of what is allowed."""

    def wrong(masks, order):
        seen, rule = _paths(masks, len(order)) > 0, allowed(order)
        return (seen & ~rule).sum(), (rule & ~seen).sum()

    return wrong


def _by_paths(masks, order):
    paths, allowed = _paths(masks, len(order)), order[:, None] > order
    return paths[~allowed].sum().long(), (allowed & (paths == 0)).sum()


def _outputs(masks, order):
    seen, allowed = _paths(masks, len(order)) > 0, order[:, None] > order
    return (seen & ~allowed).any(1).sum(), (allowed & ~seen).any(1).sum()


def _later_alone(masks, order):
    """An output that sees its own input is not counted."""
    seen = _paths(masks, len(order)) > 0
    return (seen & (order[:, None] < order)).sum(), leaks_and_losses(masks, order)[1]


def _own_is_lost(masks, order):
    """As if an output had to see itself."""
    seen, allowed = _paths(masks, len(order)) > 0, order[:, None] >= order
    return leaks_and_losses(masks, order)[0], (allowed & ~seen).sum()


def _masks(order, degrees):
    """The right masks of a MADE."""
    found, below = [], order
    for layer in degrees:
        found.append((layer[:, None] >= below).float())
        below = layer
    return [*found, (order[:, None] > below).float()]


def _network(g):
    d = int(torch.randint(4, 8, (), generator=g))
    layers = int(torch.randint(1, 4, (), generator=g))
    widths = torch.randint(3, 8, (layers,), generator=g).tolist()
    order = torch.randperm(d, generator=g)
    masks = _masks(order, [torch.randint(d - 1, (width,), generator=g) for width in widths])
    changed = [torch.rand(mask.shape, generator=g) < 0.12 for mask in masks]
    return [(mask.bool() ^ change).float() for mask, change in zip(masks, changed, strict=True)], order


ORDER = torch.tensor([2, 0, 3, 1])  # its inverse is another permutation: 1, 3, 0, 2
GOOD = _masks(ORDER, [torch.tensor([0, 2, 1, 0, 1])])
DEEP = _masks(ORDER, [torch.tensor([0, 1, 2, 1, 0, 2]), torch.tensor([1, 0, 2])])
TWICE = [*DEEP[:-1], (ORDER[:, None] >= torch.tensor([1, 0, 2])).float()]  # the outputs see themselves

EXERCISE = Exercise(
    number="15.2",
    title="Leaks and losses",
    difficulty=1,
    minutes=12,
    task=r"""
Someone hands you the masks of a MADE, and no comment. Input $i$ has the place `order[i]` in the order of the $d$ inputs:
`order` is a permutation of $0 \dots d-1$. `masks` is a list of one or more matrices of 0 and 1 as floating-point
numbers, first layer first; each has shape (units it gives to, units it takes from), as the weight of `nn.Linear`. The
$d$ outputs stand as the inputs do: output $i$ holds the logit of $x_i$. Output $i$ *sees* input $j$ if a path of ones
leads from $j$ to $i$ through all layers, and it *may* see the inputs at places before its own, `order[j] < order[i]`,
all of them and no others: not itself. Return a pair of whole numbers: how many pairs $(i, j)$ see and may not (leaks), and
how many may and do not (losses).""",
    inputs=_network,
    solution=leaks_and_losses,
    explanation=r"""
The product of the masks, last one at the left, counts the paths from each input (columns) to each output (rows), so an
entry above 0 says "sees". The two faults weigh differently. One leak, and the product of the conditionals is no
likelihood any more: a mask with $\ge$ where $>$ belongs lets an output see itself, the network learns to copy, and the
loss falls towards 0. A loss leaves the likelihood exact; the model is merely weaker than it might be, which no test of
"sums to one" shows. So look for both.""",
    hints=(
        "Multiply two masks: what does an entry of the product count?",
        "Entry (i, j) of the product of all masks is above 0 if a path leads from j to i. Which entries may be?",
        "`allowed = order[:, None] > order`; then count `seen & ~allowed` and `allowed & ~seen`.",
    ),
    wrong=(
        Wrong(
            "itself allowed",
            "Outputs are allowed to see themselves here. The place must be before, not equal: an output that sees itself copies.",
            _against(lambda order: order[:, None] >= order),
        ),
        Wrong(
            "itself not counted",
            "Outputs that see themselves are not among the leaks. They are the worst kind: the answer is copied.",
            _later_alone,
        ),
        Wrong(
            "itself missed",
            "An output that does not see itself is among the losses. It may not.",
            _own_is_lost,
        ),
        Wrong(
            "the natural order",
            "`order` was not used: this holds the masks against the order 0, 1, 2, …",
            _against(lambda order: torch.arange(len(order))[:, None] > torch.arange(len(order))),
        ),
        Wrong(
            "places taken for inputs",
            "`order` is read as the list of inputs in their order. order[i] is the place of input i: the inverse permutation.",
            _against(lambda order: order.argsort()[:, None] > order.argsort()),
        ),
        Wrong(
            "the order backwards",
            "Later places count as allowed: the comparison is turned round, or rows (outputs) and columns (inputs) are.",
            _against(lambda order: order[:, None] < order),
        ),
        Wrong(
            "paths",
            "The leaks count paths. Asked are pairs: however many paths join a pair, it counts once.",
            _by_paths,
        ),
        Wrong(
            "outputs",
            "This counts outputs that have a fault. Asked are pairs of an output and an input.",
            _outputs,
        ),
        Wrong(
            "losses first",
            "The pair is turned round: first the leaks, then the losses.",
            lambda masks, order: leaks_and_losses(masks, order)[::-1],
        ),
        Wrong(
            "leaks and what is seen rightly",
            "The second number counts the pairs that see and may. Asked are those that may and do not.",
            lambda masks, order: (
                leaks_and_losses(masks, order)[0],
                len(order) * (len(order) - 1) // 2 - leaks_and_losses(masks, order)[1],
            ),
        ),
    ),
    right=(_by_walking, _by_gradient, _by_numpy, _by_sets),
    probes={
        "masks without a fault": lambda f: f(DEEP, ORDER),
        "masks whose outputs see themselves": lambda f: f(TWICE, ORDER),
        "masks of one hidden layer that fit another order": lambda f: f(GOOD, torch.arange(4)),
        "one layer alone": lambda f: f([torch.ones(5, 5).tril()], torch.arange(5)),
        "one input that is not seen": lambda f: f([torch.zeros(1, 1)], torch.tensor([0])),
        "one input that is seen": lambda f: f([torch.ones(2, 1), torch.ones(1, 2)], torch.tensor([0])),
        "thirty layers that are full": lambda f: f([torch.ones(6, 6)] * 30, torch.arange(6)),
        "no path at all": lambda f: f([torch.zeros(3, 4), torch.ones(4, 3)], ORDER),
    },
    discussion=r"""
**For your own work.** Paths say what a network *can* do; do this where masks are made, and hold it against what a
network *does*: for up to 12 binary inputs the sum of $p(x)$ over all images must be 1, and for more the Jacobian of the
logits must be 0 where `allowed` is not. Batch normalisation in training mode, or attention over all positions, joins
what masks kept apart, and no mask shows it.""",
)
