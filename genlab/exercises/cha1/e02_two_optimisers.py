"""Exercise A1.2: Two players, two optimisers."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import copy

import torch
from torch import nn

from genlab.exercises import Exercise, mistake


def make_optimizers(G, D, lr):
    """An Adam for each player, over its own parameters, betas (0.5, 0.999): returns (opt_g, opt_d)."""
    opt_g = torch.optim.Adam(G.parameters(), lr=lr, betas=(0.5, 0.999))
    opt_d = torch.optim.Adam(D.parameters(), lr=lr, betas=(0.5, 0.999))
    return opt_g, opt_d


def _steps(make, which):
    """Which of the two networks an optimiser moves, and how."""
    g = torch.Generator().manual_seed(0)
    G, D = _linear(g, 2, 3), _linear(g, 3, 1)
    before = copy.deepcopy((G.state_dict(), D.state_dict()))
    for p in (*G.parameters(), *D.parameters()):
        p.grad = torch.ones_like(p)
    made = make(G, D, 0.1)
    made[which].step()
    return {
        name: {k: v - old[k] for k, v in net.state_dict().items()}
        for name, net, old in (("G", G, before[0]), ("D", D, before[1]))
    }


def _linear(generator, i, o):
    layer = nn.Linear(i, o)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
    return layer


@mistake(
    "both over the discriminator",
    "Both optimisers hold D's parameters: this is the article's fault. Its generator stays at its random start.",
)
def _both_over_d(G, D, lr):
    return tuple(torch.optim.Adam(D.parameters(), lr=lr, betas=(0.5, 0.999)) for _ in range(2))


@mistake(
    "both over everything",
    "Each optimiser holds the parameters of both players, so each step moves both. The game has one mover a step.",
)
def _both_over_all(G, D, lr):
    everything = [*G.parameters(), *D.parameters()]
    return tuple(torch.optim.Adam(everything, lr=lr, betas=(0.5, 0.999)) for _ in range(2))


@mistake(
    "in the wrong order",
    "The order is (opt_g, opt_d): the first must move the generator.",
)
def _swapped(G, D, lr):
    return make_optimizers(D, G, lr)


@mistake(
    "plain gradient descent",
    "These are not Adam, so the steps have another size.",
)
def _sgd(G, D, lr):
    return tuple(torch.optim.SGD(net.parameters(), lr=lr) for net in (G, D))


def _by_groups(G, D, lr):
    return tuple(torch.optim.Adam([{"params": list(n.parameters())}], lr=lr, betas=(0.5, 0.999)) for n in (G, D))


def _settings(make):
    made = make(nn.Linear(2, 3), nn.Linear(3, 1), 0.02)
    return [tuple(o.param_groups[0].get("betas", ())) for o in made], [o.param_groups[0]["lr"] for o in made]


EXERCISE = Exercise(
    number="A1.2",
    title="Two players, two optimisers",
    difficulty=1,
    minutes=5,
    task=r"""
The article makes one optimiser, over the discriminator's parameters, and steps it for both players. The generator's loss
is computed, its gradient is computed, and nothing ever moves the generator. Return two Adam optimisers with learning rate
`lr` and betas (0.5, 0.999): the first moves `G` alone, the second `D` alone.""",
    inputs=lambda g: (_linear(g, 2, 3), _linear(g, 3, 1), 0.01),
    solution=make_optimizers,
    explanation=r"""
An optimiser moves exactly the tensors that it was made with, whatever has a gradient. Two players with two objectives
need two of them: one optimiser over everything would let each player's step move the other towards its own loss.""",
    hints=(
        "An optimiser moves the parameters it was given, and no others. Which were given in the article?",
        "Two optimisers: one is made with `G.parameters()`, the other with `D.parameters()`.",
        "`torch.optim.Adam(G.parameters(), lr=lr, betas=(0.5, 0.999))`, the same for `D`, returned in this order.",
    ),
    wrong=(
        _both_over_d,
        _both_over_all,
        _swapped,
        _sgd,
    ),
    right=(_by_groups,),
    look=lambda made: [
        (type(o).__name__, o.param_groups[0]["lr"], [p.numel() for g in o.param_groups for p in g["params"]])
        for o in made
    ],
    probes={
        "what the first optimiser moves": lambda f: _steps(f, 0),
        "what the second optimiser moves": lambda f: _steps(f, 1),
        "betas and learning rates": _settings,
    },
)
