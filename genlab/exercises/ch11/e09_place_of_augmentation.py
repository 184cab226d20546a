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


def _augmented(G, D, x, z, real, fake_d, fake_g):
    made = G(z)
    loss_d = F.softplus(-D(real(x))).mean() + F.softplus(D(fake_d(made.detach()))).mean()
    return loss_d, F.softplus(-D(fake_g(made))).mean()


def _plain(x):
    return x


class _Transform:
    """A fixed transformation: two numbers change places, one is set to zero, the rest is doubled."""

    def __call__(self, x):
        return 2 * x[:, [1, 0, 2, 3]] * torch.tensor([1.0, 1.0, 0.0, 1.0], dtype=x.dtype)


def _augmented_inputs(g):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(1000, (), generator=g)))
        G, D = nn.Linear(2, 4), nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1), nn.Flatten(0))
    return G, D, _Transform(), 1 + torch.randn(5, 4, generator=g), torch.randn(3, 2, generator=g)


def _reaching_g(answer, which):
    """Gradient of one of the two losses in G's weights; zeros where none arrives."""
    G, *rest = _augmented_inputs(torch.Generator().manual_seed(5))
    loss, weights = answer(G, *rest)[which], list(G.parameters())
    if not loss.requires_grad:
        return [torch.zeros_like(w) for w in weights]
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    return [torch.zeros_like(w) if d is None else d for w, d in zip(weights, found, strict=True)]


EXERCISE = Exercise(
    number="11.9",
    title="Where the augmentation goes",
    difficulty=2,
    minutes=10,
    task=r"""
Write both losses of (11.16), with logits from `D`. The transformation `T` acts on everything that $D$ sees: real images,
generated images in $D$'s move, and generated images in $G$'s. The gradient of $L_G$ runs through $D$ and `T` into $G$; that
of $L_D$ must not reach $G$.""",
    inputs=_augmented_inputs,
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
            lambda G, D, T, x, z: _augmented(G, D, x, z, T, _plain, _plain),
        ),
        Wrong(
            "only in D's move",
            "D's move has T, but G's does not: G is judged by a D that has seen transformed images only.",
            lambda G, D, T, x, z: _augmented(G, D, x, z, T, T, _plain),
        ),
        Wrong(
            "only generated images",
            "The real images are not transformed, so D finds the samples out by the transformation.",
            lambda G, D, T, x, z: _augmented(G, D, x, z, _plain, T, T),
        ),
        Wrong(
            "no gradient through T",
            "The losses are right, but G's images are detached before T in G's own loss: G never learns.",
            lambda G, D, T, x, z: _augmented(G, D, x, z, T, T, lambda made: T(made.detach())),
        ),
        Wrong(
            "detach is missing",
            "The values are right, but D's loss reaches G's weights. Detach the generated images in D's loss.",
            lambda G, D, T, x, z: (
                F.softplus(-D(T(x))).mean() + F.softplus(D(T(G(z)))).mean(),
                F.softplus(-D(T(G(z)))).mean(),
            ),
        ),
        Wrong(
            "transformed twice",
            "In G's loss T is applied twice. D sees images that were transformed once.",
            lambda G, D, T, x, z: _augmented(G, D, x, z, T, T, lambda made: T(T(made))),
        ),
    ),
    right=(
        lambda G, D, T, x, z: (
            -F.logsigmoid(D(T(x))).mean() - F.logsigmoid(-D(T(G(z).detach()))).mean(),
            -F.logsigmoid(D(T(G(z)))).mean(),
        ),
    ),
    probes={
        "the gradient of G's loss in G's weights": lambda f: _reaching_g(f, 1),
        "the gradient of D's loss in G's weights (all zero)": lambda f: _reaching_g(f, 0),
    },
)
