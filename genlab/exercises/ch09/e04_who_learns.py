"""Exercise 09.4: Who learns from which loss."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from torch import nn
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong, mistake


def two_losses(G, D, x, z):
    """(L_D, L_G); backward from L_D reaches no weight of G, that from L_G does."""
    fake = G(z)
    loss_d = F.softplus(-D(x)).mean() + F.softplus(D(fake.detach())).mean()
    loss_g = F.softplus(-D(fake)).mean()
    return loss_d, loss_g


def _two_no_grad(G, D, x, z):
    with torch.no_grad():
        seen = G(z)
    bce = F.binary_cross_entropy_with_logits
    real, fake, asked = D(x), D(seen), D(G(z))
    loss_d = bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))
    return loss_d, bce(asked, torch.ones_like(asked))


def _two_functional(G, D, x, z):
    frozen = {name: w.detach() for name, w in G.named_parameters()}
    seen = torch.func.functional_call(G, frozen, (z,))
    return [-F.logsigmoid(D(x)).mean() - F.logsigmoid(-D(seen)).mean(), -F.logsigmoid(D(G(z))).mean()]


def _two_stacked(G, D, x, z):
    fake = G(z)
    logits = D(torch.cat([x, fake.detach()]))
    loss_d = F.softplus(-logits[: len(x)]).mean() + F.softplus(logits[len(x) :]).mean()
    return torch.stack([loss_d, F.softplus(-D(fake)).mean()])


@mistake(
    "detach is missing",
    (
        "The values are right, but the gradient of D's loss reaches G's weights and would teach G to be found out. "
        "Detach the generated images in D's loss."
    ),
)
def _two_attached(G, D, x, z):
    fake = D(G(z))
    return F.softplus(-D(x)).mean() + F.softplus(fake).mean(), F.softplus(-fake).mean()


@mistake(
    "detached in both",
    "No gradient of G's loss reaches G, so it never learns, and no error tells. Leave the images in G's loss attached.",
)
def _two_detached(G, D, x, z):
    fake = D(G(z).detach())
    return F.softplus(-D(x)).mean() + F.softplus(fake).mean(), F.softplus(-fake).mean()


@mistake(
    "the logit is detached, not the image",
    "Here the logits are detached, so D does not learn from generated images at all. Detach the images.",
)
def _two_logits_detached(G, D, x, z):
    fake = D(G(z))
    return F.softplus(-D(x)).mean() + F.softplus(fake.detach()).mean(), F.softplus(-fake).mean()


def _game(g):
    """Tiny players and two batches: G maps k numbers to d, D maps d numbers to a logit."""
    n, m, k, d, seed = (int(torch.randint(1, high, (), generator=g)) for high in (8, 8, 4, 5, 1000))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        G, D = nn.Linear(k, d), nn.Sequential(nn.Linear(d, 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(0))
    return G, D, torch.randn(n, d, generator=g), torch.randn(m, k, generator=g)


def _reached(answer, loss, player):
    """Gradients of one of the two losses in the weights of G (player 0) or D (player 1); zeros where none arrives."""
    game = _game(torch.Generator().manual_seed(7))
    weights = list(game[player].parameters())
    found = torch.autograd.grad(answer(*game)[loss], weights, allow_unused=True)
    return tuple(torch.zeros_like(w) if d is None else d for w, d in zip(weights, found, strict=True))


EXERCISE = Exercise(
    number="09.4",
    title="Who learns from which loss",
    difficulty=2,
    minutes=10,
    task=r"""
From a real batch `x` and noise `z` compute both losses, (9.4) and the non-saturating (9.6), in this order. `D` returns
logits; the two batches may differ in size. The gradient of $L_D$ must reach every weight of D and none of G. The
gradient of $L_G$ must reach G. Nothing is stepped here: both losses are computed with the same weights. Do not call
`backward()` yet; the networks stay as they are.""",
    inputs=_game,
    solution=two_losses,
    explanation=r"""
`fake.detach()` is the same image without its history, so $L_D$ ends there. In $L_G$ the history is the whole point: the
gradient runs through D, whose weights only pass it on, into G. In a training loop D's weights collect a gradient from
$L_G$ too; D's `zero_grad` throws it away before its next move.""",
    hints=(
        "The two losses use the same generated images in different ways. Which of them may know how they were made?",
        "`detach()` gives a tensor without its history. It belongs around the images, in one of the two losses.",
        "`D(fake.detach())` goes into the discriminator's loss, and `D(fake)` into the generator's.",
    ),
    wrong=(
        _two_attached,
        _two_detached,
        _two_logits_detached,
        Wrong(
            "D's labels flipped",
            "D's loss has real and generated swapped: real images cost softplus(−logit).",
            lambda G, D, x, z: (
                F.softplus(D(x)).mean() + F.softplus(-D(G(z).detach())).mean(),
                two_losses(G, D, x, z)[1],
            ),
        ),
        Wrong(
            "the saturating loss",
            "This generator loss is the saturating one, E log(1 − D). Asked was the non-saturating −E log D.",
            lambda G, D, x, z: (two_losses(G, D, x, z)[0], -F.softplus(D(G(z))).mean()),
        ),
        Wrong(
            "G agrees with D",
            "This generator loss falls when D finds the images out. G wants its images to be called real.",
            lambda G, D, x, z: (two_losses(G, D, x, z)[0], F.softplus(D(G(z))).mean()),
        ),
    ),
    right=(_two_no_grad, _two_functional, _two_stacked),
    probes={
        "the gradient of D's loss in G's weights (all zero)": lambda f: _reached(f, 0, 0),
        "the gradient of D's loss in D's weights": lambda f: _reached(f, 0, 1),
        "the gradient of G's loss in G's weights": lambda f: _reached(f, 1, 0),
    },
)
