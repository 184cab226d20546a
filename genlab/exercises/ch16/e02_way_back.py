"""Exercise 16.2: The way back."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def sample_with_density(z, layers):
    """From noise to data: x (n, d), and log p(x) in nats (n,).

    z (n, d); layers: list of pairs W, V, in the order from data to noise.
    """
    h = z.shape[1] // 2
    first, last = z[:, :h], z[:, h:]
    log_p = -0.5 * (z.square() + math.log(2 * math.pi)).sum(1)
    for k in reversed(range(len(layers))):
        W, V = layers[k]
        kept, moved = (last, first) if k % 2 else (first, last)
        s = torch.tanh(kept @ W)
        moved = (moved - kept @ V) * torch.exp(-s)
        first, last = (moved, kept) if k % 2 else (kept, moved)
        log_p = log_p + s.sum(1)
    return torch.cat([first, last], 1), log_p


def _in_place(z, layers):
    x, h = z.clone(), z.shape[1] // 2
    halves = x[:, :h], x[:, h:]
    log_det = torch.zeros(len(z)).to(z)
    for k, (W, V) in list(enumerate(layers))[::-1]:
        kept, moved = halves[k % 2], halves[1 - k % 2]
        s = (kept @ W).tanh()
        moved -= kept @ V
        moved /= s.exp()
        log_det += s.sum(-1)
    return x, torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1) + log_det


def _by_numpy(z, layers):
    x = z.numpy().copy()
    d = x.shape[1]
    log_p = -(x**2).sum(1) / 2 - d / 2 * np.log(2 * np.pi)
    for k in range(len(layers) - 1, -1, -1):
        W, V = (part.numpy() for part in layers[k])
        keeps = (np.arange(d) < d // 2) == (k % 2 == 0)
        s = np.tanh(x[:, keeps] @ W)
        x[:, ~keeps] = (x[:, ~keeps] - x[:, keeps] @ V) / np.exp(s)
        log_p = log_p + s.sum(axis=1)
    return x, log_p


def _forward(x, layers):
    """From data to noise, and how much each row is stretched on the way."""
    h, log_det = x.shape[1] // 2, torch.zeros(len(x), dtype=x.dtype)
    first, last = x[:, :h], x[:, h:]
    for k, (W, V) in enumerate(layers):
        if k % 2 == 0:
            s = torch.tanh(first @ W)
            last = last * s.exp() + first @ V
        else:
            s = torch.tanh(last @ W)
            first = first * s.exp() + last @ V
        log_det = log_det + s.sum(1)
    return torch.cat([first, last], 1), log_det


def _checked_forward(z, layers):
    x, _ = _in_place(z, layers)
    again, log_det = _forward(x, layers)  # the density by the way from data to noise
    return x, log_det - again.square().sum(1) / 2 - z.shape[1] * math.log(2 * math.pi) / 2


def _by_jacobian(z, layers):
    x, found = _in_place(z, layers)[0], []
    for row, noise in zip(x, z, strict=True):
        J = torch.autograd.functional.jacobian(lambda v: _forward(v[None], layers)[0][0], row)
        base = sum(-0.5 * float(v) ** 2 - 0.5 * math.log(2 * math.pi) for v in noise)
        found.append(base + float(torch.linalg.slogdet(J).logabsdet))
    return x, found


def _log_p(change):
    """The right x with another log-density, made of log p(z), of the log-determinant and of z."""

    def found(z, layers):
        x, log_p = sample_with_density(z, layers)
        base = -0.5 * (z.square() + math.log(2 * math.pi)).sum(1)
        return x, change(base, log_p - base, z)

    return found


def _changed(
    z, layers, *, order=reversed, undo=lambda b, s, t: (b - t) * (-s).exp(), total=torch.sum, take=lambda k: k
):
    """Another way back: in another order, with another step, another sum of s, or other turns."""
    h = z.shape[1] // 2
    parts, log_p = [z[:, :h], z[:, h:]], -0.5 * (z.square() + math.log(2 * math.pi)).sum(1)
    for k in order(range(len(layers))):
        W, V = layers[k]
        i = take(k) % 2 if parts[0].shape == parts[1].shape else k % 2  # else the shapes leave no choice
        s = torch.tanh(parts[i] @ W)
        parts[1 - i] = undo(parts[1 - i], s, parts[i] @ V)
        log_p = log_p + total(s, 1)
    return torch.cat(parts, 1), log_p


def _at_x(z, layers):
    x, log_p = sample_with_density(z, layers)
    return x, log_p + 0.5 * (z.square() - x.square()).sum(1)


def _draw(g):
    n, d, K = (int(torch.randint(low, high, (), generator=g)) for low, high in ((1, 5), (2, 6), (2, 5)))
    z = torch.randn(n, d, generator=g).double()
    z[0] *= 4
    sizes = [(d // 2, d - d // 2), (d - d // 2, d // 2)]
    return z, [tuple(torch.randn(2, *sizes[k % 2], generator=g).double()) for k in range(K)]


def _one_layer(f):
    z = torch.tensor([[1.0, 2.0, -1.0], [0.0, 3.0, 0.5]]).double()
    return f(z, [(torch.tensor([[0.5, -2.0]]).double(), torch.tensor([[1.0, 3.0]]).double())])


def _even(f):
    z = torch.tensor([[1.0, 2.0, -1.0, 0.5]]).double()
    return f(z, [(k * torch.eye(2).double(), torch.ones(2, 2).double()) for k in (1, -2, 3)])


EXERCISE = Exercise(
    number="16.2",
    title="The way back",
    difficulty=2,
    minutes=15,
    task=r"""
A flow of couplings splits a row of $d \ge 2$ numbers after the first $\lfloor d/2 \rfloor$. Layer $k = 0, 1, \dots$, on
the way from data to noise, keeps one part $a$ and replaces the other part $b$ by

$$ b \, e^{s} + t, \qquad s = \tanh(a W_k), \quad t = a V_k . $$

Layers 0, 2, … keep the first part, layers 1, 3, … keep the second; no entry ever changes its place. You are given
`layers`, the pairs $(W_k, V_k)$ for $k = 0, 1, \dots$, and noise $z$ from $\mathcal N(0, I)$. Return the $x$ that the
flow maps to $z$, and $\log p(x)$ in nats, one number for each row. With no layers $x$ is $z$. Leave the arguments as
they are. Before you check: on the way back you divide by $e^s$. Does $\log p(x)$ gain or lose $s$?""",
    inputs=_draw,
    solution=sample_with_density,
    explanation=r"""
The last layer is undone first. It kept $a$, so $s$ and $t$ can be computed again from what is there, without inverting
the network. The density is $\log p(x) = \log p(z) + \log \lvert \det \partial z/\partial x \rvert$, always with the
Jacobian of the way *to noise*: a row that lies where the flow stretches by $e^s$ comes from noise that was squeezed by
$e^{-s}$ on its way out, so it is the denser for it. The sum gains $s$ of every layer, whichever way you walk.""",
    hints=(
        "The layers from last to first, and in each the inverse of b ↦ b e^s + t.",
        "The kept part has not changed, so s and t come from it as before. b is (b' − t) e^−s.",
        "Start with log N(z; 0, I), and add `s.sum(1)` of every layer: the density wants the way from x to z.",
    ),
    wrong=(
        Wrong(
            "the order of the way to noise",
            "The layers are undone in the order in which they were applied. The last one must be undone first.",
            lambda z, layers: _changed(z, layers, order=iter),
        ),
        Wrong(
            "the sign of the log-determinant",
            "log p(x) loses s where it should gain it: log p(x) = log p(z) + log|det ∂z/∂x|, with the way from x to z.",
            _log_p(lambda base, log_det, z: base - log_det),
        ),
        Wrong(
            "no log-determinant",
            "This is log p(z), the density of the noise. The change of volume is missing.",
            _log_p(lambda base, log_det, z: base),
        ),
        Wrong(
            "no 2π",
            "The constant of the standard normal density is missing: −½ log 2π for each of the d numbers.",
            _log_p(lambda base, log_det, z: log_det - 0.5 * z.square().sum(1)),
        ),
        Wrong(
            "divided before t is subtracted",
            "b' is divided by e^s and then t is subtracted. t was added last, so it goes first.",
            lambda z, layers: _changed(z, layers, undo=lambda moved, s, t: moved * (-s).exp() - t),
        ),
        Wrong(
            "the way to noise once more",
            "Each layer is applied, not undone: b e^s + t in place of (b − t) e^−s.",
            lambda z, layers: _changed(z, layers, undo=lambda moved, s, t: moved * s.exp() + t),
        ),
        Wrong(
            "layers that always keep the same part",
            "Every layer keeps its part as if it were layer 0 where the shapes allow it. The parts take turns.",
            lambda z, layers: _changed(z, layers, take=lambda k: 0),
        ),
        Wrong(
            "the density at x",
            "The normal density is taken at x. It is z that is normal.",
            _at_x,
        ),
        Wrong(
            "one number for the batch",
            "The log-densities of all rows are added up. Each row has its own.",
            _log_p(lambda base, log_det, z: (base + log_det).sum()),
        ),
        Wrong(
            "the mean over entries",
            "s is averaged over the entries of a layer. A log-determinant is their sum.",
            lambda z, layers: _changed(z, layers, total=torch.mean),
        ),
    ),
    right=(_in_place, _by_numpy, _checked_forward, _by_jacobian),
    probes={
        "a flow without layers": lambda f: f(torch.tensor([[1.0, -2.0, 0.5]]).double(), []),
        "one layer": _one_layer,
        "three layers of four numbers": _even,
    },
    discussion=r"""
**For your own work.** Two tests catch nearly all of this. First the round trip: $z \mapsto x \mapsto z$ must return what
it was given, to a few digits of your precision. That one is blind to every error in the log-determinant. So compare
that with the Jacobian by automatic differentiation, on a map whose log-determinant is *not* 0: published flows have
had the sign wrong, and one library's test had passed because its example had a log-determinant of 0.""",
)
