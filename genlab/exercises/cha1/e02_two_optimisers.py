"""Exercise A1.2: Two players, two optimisers."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from torch import nn
from torch.nn.utils import parameters_to_vector

from genlab.exercises import Exercise, Wrong


def make_optimizers(G, D, lr):
    """An Adam for each player, over its own parameters, betas (0.5, 0.999).

    Returns (opt_g, opt_d).
    """
    opt_g = torch.optim.Adam(G.parameters(), lr=lr, betas=(0.5, 0.999))
    opt_d = torch.optim.Adam(D.parameters(), lr=lr, betas=(0.5, 0.999))
    return opt_g, opt_d


def _steps(make, which):
    """By how much a step of one optimiser moves the parameters of G, and those of D."""
    g = torch.Generator().manual_seed(0)
    nets = _network(g, 2, 3), _network(g, 3, 1)
    before = [parameters_to_vector(net.parameters()).detach() for net in nets]
    for p in (p for net in nets for p in net.parameters()):
        p.grad = torch.ones_like(p)
    make(*nets, 0.1)[which].step()
    return [parameters_to_vector(net.parameters()).detach() - old for net, old in zip(nets, before, strict=True)]


def _network(generator, i, o):
    network = nn.Sequential(nn.Linear(i, 4), nn.Tanh(), nn.Linear(4, o))
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
    return network


def _adam(parameters, lr):
    return torch.optim.Adam(parameters, lr=lr, betas=(0.5, 0.999))


def _by_lists(G, D, lr):
    return [torch.optim.Adam([p for _, p in net.named_parameters()][::-1], lr, (0.5, 0.999)) for net in (G, D)]


def _by_layers(G, D, lr):
    groups = [[{"params": layer.parameters()} for layer in net if list(layer.parameters())] for net in (G, D)]
    return tuple(torch.optim.Adam(group, lr=lr, betas=(0.5, 0.999), foreach=False) for group in groups)


def _described(optimiser):
    """Kind and settings of an optimiser, and its parameters, in whatever order and groups these are."""
    parameters = {}
    for group in optimiser.param_groups:
        extras = [f", {k}={group[k]}" for k in ("weight_decay", "amsgrad", "maximize") if group.get(k)]
        settings = f"lr {group['lr']:.4g}, betas {tuple(group.get('betas', ()))}{''.join(extras)}"
        parameters.setdefault(settings, []).extend(p.numel() for p in group["params"])
    listed = [f"{settings}, over parameters of {sorted(sizes)} numbers" for settings, sizes in parameters.items()]
    return f"{type(optimiser).__name__}, {'; '.join(sorted(listed))}"


def _look(made):
    if not isinstance(made, tuple | list) or not all(isinstance(o, torch.optim.Optimizer) for o in made):
        return made
    return tuple(_described(o) for o in made)


def _inputs(g):
    i, o = torch.randint(1, 4, (2,), generator=g).tolist()
    return _network(g, i, o), _network(g, o, 1), 0.001 + 0.1 * torch.rand((), generator=g).item()


EXERCISE = Exercise(
    number="A1.2",
    title="Two players, two optimisers",
    difficulty=1,
    minutes=5,
    task=r"""
The article makes one optimiser, over the discriminator's parameters, and steps it for both players. The generator's loss
is computed, its gradient is computed, and nothing ever moves the generator. Return two Adam optimisers with learning rate
`lr` and betas (0.5, 0.999), all else as torch has it: the first moves the parameters of `G` alone, the second those of
`D` alone. The networks themselves stay as they are.""",
    inputs=_inputs,
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
        Wrong(
            "both over the discriminator",
            "Both optimisers hold D's parameters: this is the article's fault. Its generator stays at its random start.",
            lambda G, D, lr: (_adam(D.parameters(), lr), _adam(D.parameters(), lr)),
        ),
        Wrong(
            "both over everything",
            "Each optimiser holds the parameters of both players, so each step moves both. The game has one mover a step.",
            lambda G, D, lr: tuple(_adam([*G.parameters(), *D.parameters()], lr) for _ in range(2)),
        ),
        Wrong(
            "in the wrong order",
            "The order is (opt_g, opt_d): the first must move the generator.",
            lambda G, D, lr: make_optimizers(D, G, lr),
        ),
        Wrong(
            "plain gradient descent",
            "These are SGD, not Adam, so the steps have another size.",
            lambda G, D, lr: tuple(torch.optim.SGD(net.parameters(), lr=lr) for net in (G, D)),
        ),
        Wrong(
            "the betas left out",
            "The betas are torch's (0.9, 0.999). The momentum of 0.9 makes two players circle; the task has 0.5.",
            lambda G, D, lr: tuple(torch.optim.Adam(net.parameters(), lr=lr) for net in (G, D)),
        ),
    ),
    right=(
        lambda G, D, lr: [torch.optim.Adam(iter(n.parameters()), betas=(0.5, 0.999), lr=lr) for n in (G, D)],
        _by_lists,
        _by_layers,
    ),
    look=_look,
    probes={
        "what the first optimiser moves": lambda f: _steps(f, 0),
        "what the second optimiser moves": lambda f: _steps(f, 1),
    },
)
