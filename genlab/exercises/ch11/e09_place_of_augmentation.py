"""Exercise 11.9: Where the augmentation goes."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch
from torch import nn
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def augmented_losses(G, D, T, x, z):
    """(L_D, L_G) of (11.16); T transforms all that D sees."""
    fake = G(z)
    loss_d = F.softplus(-D(T(x))).mean() + F.softplus(D(T(fake.detach()))).mean()
    loss_g = F.softplus(-D(T(fake))).mean()
    return loss_d, loss_g


def _augmented_by_bce(G, D, T, x, z):
    bce = nn.BCEWithLogitsLoss()
    real, fake, fooled = D(T(x)), D(T(G(z).detach())), D(T(G(z)))
    return [bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake)), bce(fooled, torch.ones_like(fooled))]


def _augmented_at_once(G, D, T, x, z):
    with torch.no_grad():
        made = G(z)
    logits = D(T(torch.cat([x, made])))
    loss_d = F.softplus(-logits[: len(x)]).mean() + F.softplus(logits[len(x) :]).mean()
    return torch.stack([loss_d, F.softplus(-D(T(G(z)))).mean()])


def _augmented(real=1, fake_d=1, fake_g=1, f=F.softplus, leak=False):
    """T applied so many times in each of the three places, another f, or no detach."""

    def losses(G, D, T, x, z):
        def seen(images, times):
            return D(nn.Sequential(*[T] * times)(images))

        made = G(z)
        loss_d = f(-seen(x, real)).mean() + f(seen(made if leak else made.detach(), fake_d)).mean()
        return loss_d, f(-seen(made, fake_g)).mean()

    return losses


class _Transform(nn.Module):
    """A fixed transformation: all numbers move one place, the first is set to zero, the rest is doubled."""

    def forward(self, x):
        return 2 * x.roll(1, 1) * (torch.arange(x.shape[1]) > 0)


def _players(g, scale=1.0):
    """G and D, T, and batches of any sizes, with one image far from the others."""
    n, m, d, k = (int(torch.randint(1, high, (), generator=g)) for high in (6, 6, 4, 4))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(1000, (), generator=g)))
        G, D = nn.Linear(k, d + 2), nn.Sequential(nn.Linear(d + 2, 5), nn.Tanh(), nn.Linear(5, 1), nn.Flatten(0))
    D[2].weight.data *= scale
    for p in (*G.parameters(), *D.parameters()):
        p.grad = torch.ones_like(p)  # of a step before
    x = 1 + torch.randn(n, d + 2, generator=g)
    x[0] -= 10
    return G, D, _Transform(), x, torch.randn(m, k, generator=g)


def _reaching(player, which):
    """A test of the gradient of one of the two losses in the weights of G (0) or D (1); zeros where none arrives."""

    def gradients(answer):
        arguments = _players(torch.Generator().manual_seed(5))
        loss, weights = answer(*arguments)[which], list(arguments[player].parameters())
        found = torch.autograd.grad(loss, weights, allow_unused=True) if loss.requires_grad else [None] * len(weights)
        return [torch.zeros_like(w) if d is None else d for w, d in zip(weights, found, strict=True)]

    return gradients


EXERCISE = Exercise(
    number="11.9",
    title="Where the augmentation goes",
    difficulty=2,
    minutes=10,
    task=r"""
Write both losses of (11.16), with logits from `D`, and return the pair $L_D$, $L_G$, right for logits of hundreds too. The
transformation `T` acts on everything that $D$ sees: real images, generated images in $D$'s move, and generated images in
$G$'s. $D$ learns from $L_D$, and the gradient of $L_G$ runs through $D$ and `T` into $G$; that of $L_D$ must not reach $G$.
Leave the networks as they are: gradients, modes, and what is frozen.""",
    inputs=_players,
    solution=augmented_losses,
    explanation=r"""
There are three places. Without the second, $D$ compares transformed data with plain samples and rejects all samples for
being whole. Without the third, $G$ is taught by a $D$ that never saw such images. And where `T` is applied to detached
images in $L_G$, all numbers are right and $G$ never learns: that is why the transformation must be differentiable.""",
    hints=(
        "How often does D look at images in one step? Each look needs T.",
        "The three looks are `D(T(x))`, `D(T(fake.detach()))` and `D(T(fake))`.",
        "Softplus of minus the logit where the answer should be real, of the logit where it should be generated; means.",
    ),
    wrong=(
        Wrong(
            "only real images",
            "Only real images are transformed: G would learn to draw transformed images.",
            _augmented(fake_d=0, fake_g=0),
        ),
        Wrong(
            "only in D's move",
            "D's move has T, but G's does not: G is judged by a D that has seen transformed images only.",
            _augmented(fake_g=0),
        ),
        Wrong(
            "only generated images",
            "The real images are not transformed, so D finds the samples out by the transformation.",
            _augmented(real=0),
        ),
        Wrong(
            "not in D's look at samples",
            "In D's move the samples are not transformed, so D finds them out by the transformation.",
            _augmented(fake_d=0),
        ),
        Wrong("nowhere", "T is applied nowhere. It belongs on everything that D sees.", _augmented(0, 0, 0)),
        Wrong(
            "no gradient for G",
            "The losses are right, but no gradient of G's loss reaches G's weights: look for a detach or no_grad on the way.",
            lambda G, D, T, x, z: (augmented_losses(G, D, T, x, z)[0], F.softplus(-D(T(G(z).detach()))).mean()),
        ),
        Wrong(
            "no gradient for D",
            "The losses are right, but no gradient of D's loss reaches D's weights: only the samples are to be detached.",
            lambda *arguments: (augmented_losses(*arguments)[0].detach(), augmented_losses(*arguments)[1]),
        ),
        Wrong(
            "detach is missing",
            "The values are right, but D's loss reaches G's weights. Detach the generated images in D's loss.",
            _augmented(leak=True),
        ),
        Wrong(
            "transformed twice",
            "In G's loss T is applied twice. D sees images that were transformed once.",
            _augmented(fake_g=2),
        ),
        Wrong(
            "the log of a sigmoid",
            "Right for moderate logits. For large ones a sigmoid rounds to 0 or 1, and the logarithm is infinite: use softplus.",
            _augmented(f=lambda a: -torch.sigmoid(-a).log()),
        ),
    ),
    right=(
        lambda G, D, T, x, z: (
            -F.logsigmoid(D(T(x))).mean() - F.logsigmoid(-D(T(G(z).detach()))).mean(),
            -F.logsigmoid(D(T(G(z)))).mean(),
        ),
        _augmented_by_bce,
        _augmented_at_once,
    ),
    probes={
        "the losses for logits of hundreds": lambda f: f(*_players(torch.Generator().manual_seed(7), 1000.0)),
        "the gradient of G's loss in G's weights": _reaching(0, 1),
        "the gradient of D's loss in D's weights": _reaching(1, 0),
        "the gradient of D's loss in G's weights (all zero)": _reaching(0, 0),
    },
)
