"""Exercise 15.1: The nats of a name."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch
from scipy import special
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def log_likelihood(logits, x, lengths):
    """log p(x) of each row of tokens, in nats.

    logits (n, L, V), tokens (n, L), how many of them count (n,) -> (n,).
    """
    log_p = logits.log_softmax(2).gather(2, x[:, :, None])[:, :, 0]
    counts = torch.arange(x.shape[1]) < lengths[:, None]
    return (log_p * counts).sum(1)


def _by_loops(logits, x, lengths):
    return [
        sum(float(logits[i, j, x[i, j]] - logits[i, j].logsumexp(0)) for j in range(int(lengths[i])))
        for i in range(len(x))
    ]


def _by_cross_entropy(logits, x, lengths):
    rows = zip(logits, x, lengths, strict=True)
    return torch.stack([-F.cross_entropy(row[:m], tokens[:m], reduction="sum") for row, tokens, m in rows])


def _by_numpy(logits, x, lengths):
    logs = special.log_softmax(logits.double().numpy(), axis=-1)
    taken = np.take_along_axis(logs, x.numpy()[..., None], -1)[..., 0]
    return np.where(np.arange(x.shape[1]) < lengths.numpy()[:, None], taken, 0).sum(-1)


def _by_distribution(logits, x, lengths):
    log_p = torch.distributions.Categorical(logits=logits).log_prob(x)
    running = torch.cat([torch.zeros(len(x), 1, dtype=log_p.dtype), log_p.cumsum(1)], 1)
    return running[torch.arange(len(x)), lengths]


def _each(logits, x):
    """log p of every token (n, L)."""
    return logits.log_softmax(2).gather(2, x[:, :, None])[:, :, 0]


def _counted(each, lengths):
    return (each * (torch.arange(each.shape[1]) < lengths[:, None])).sum(1)


def _shifted(logits, x, lengths):
    """Compare the logits of position i with the token after it."""
    return _counted(_each(logits[:, :-1], x[:, 1:]), lengths - 1)


def _names(g):
    n, L, V = (int(torch.randint(low, high, (), generator=g)) for low, high in ((2, 6), (2, 8), (2, 7)))
    lengths = torch.randint(1, L + 1, (n,), generator=g)
    lengths[0] = L - 1
    return 3 * torch.randn(n, L, V, generator=g), torch.randint(V, (n, L), generator=g), lengths


def _one(f, L, V):
    """One name of L tokens that all count."""
    return f(torch.arange(float(L * V)).sin().view(1, L, V), torch.arange(L)[None] % V, torch.tensor([L]))


EXERCISE = Exercise(
    number="15.1",
    title="The nats of a name",
    difficulty=1,
    minutes=8,
    task=r"""
A network that shifts its input by itself gives at position $i$ the logits of $x_i$ given $x_{<i}$; position 0 sees
nothing. Names have different lengths, so the rows of `x` are filled up at the end with some token: of row $r$ only
the first `lengths[r]` positions count. Return
$\log p(x) = \sum_i \log p(x_i \mid x_{<i})$ for each row, in nats: shape $(n,)$, the sum over the positions that
count, 0 for a name of no tokens. Logits may be large: $10^4$ is no reason for an infinity.""",
    inputs=_names,
    solution=log_likelihood,
    explanation=r"""
`log_softmax` over the vocabulary makes each position a law; `gather` takes the log-probability of the token that came;
the chain rule adds them up. Positions behind the end are multiplied by 0. The sum is the log-likelihood of the whole
name, so long names have more nats. What training code calls "the loss" is often the mean over all positions of a
batch, with the padding: that number is not comparable between batches, let alone between models.""",
    hints=(
        "Over which of the three axes must probabilities add up to 1? Normalise there, in logs.",
        "`gather` along the vocabulary takes the entry of each token. Nothing is to be shifted: the network did it.",
        "Multiply with `torch.arange(L) < lengths[:, None]`, then sum over positions.",
    ),
    wrong=(
        Wrong(
            "shifted twice",
            "The logits of position i are compared with the token after it. The network has shifted: compare with x_i.",
            _shifted,
        ),
        Wrong(
            "the padding counts",
            "Positions behind the end of a name are in the sum. Only the first `lengths` of each row count.",
            lambda logits, x, lengths: _each(logits, x).sum(1),
        ),
        Wrong(
            "the mean over positions",
            "This is a mean over the positions that count. The log-likelihood of a name is their sum.",
            lambda logits, x, lengths: _counted(_each(logits, x), lengths) / lengths.clamp(min=1),
        ),
        Wrong(
            "the sign",
            "This is the cost, −log p. Asked is log p(x), which is not positive.",
            lambda logits, x, lengths: -log_likelihood(logits, x, lengths),
        ),
        Wrong(
            "bits",
            "These are bits. Asked are nats: the natural logarithm.",
            lambda logits, x, lengths: log_likelihood(logits, x, lengths) / math.log(2),
        ),
        Wrong(
            "softmax over positions",
            "The softmax runs over the positions. The tokens of the vocabulary compete at each position: the last axis.",
            lambda logits, x, lengths: _counted(
                logits.log_softmax(1).gather(2, x[:, :, None])[:, :, 0],
                lengths,
            ),
        ),
        Wrong(
            "logits as log-probabilities",
            "The logits are added as they are. They are log-probabilities only after their logsumexp is subtracted.",
            lambda logits, x, lengths: _counted(logits.gather(2, x[:, :, None])[:, :, 0], lengths),
        ),
        Wrong(
            "probabilities that underflow",
            "The log is taken of a probability that is 0 in floating point. Stay with logs: log_softmax.",
            lambda logits, x, lengths: _counted(
                logits.softmax(2).log().gather(2, x[:, :, None])[:, :, 0],
                lengths,
            ),
        ),
        Wrong(
            "one position too many",
            "One position behind the end of a name counts here. Positions 0 to `lengths` − 1 do.",
            lambda logits, x, lengths: _counted(_each(logits, x), lengths + 1),
        ),
        Wrong(
            "the mean over all positions",
            "This is a mean over all positions of a row, with the padding. Add up the positions that count.",
            lambda logits, x, lengths: _each(logits, x).mean(1),
        ),
        Wrong(
            "cross_entropy as it comes",
            "This is −cross_entropy with its default: one mean over all positions of all rows, with the padding.",
            lambda logits, x, lengths: -F.cross_entropy(logits.transpose(1, 2), x),
        ),
        Wrong(
            "one number for all",
            "The rows are added up. Asked is one number for each row.",
            lambda logits, x, lengths: log_likelihood(logits, x, lengths).sum(),
        ),
    ),
    right=(_by_loops, _by_cross_entropy, _by_numpy, _by_distribution),
    probes={
        "the log-likelihood of one token": lambda f: _one(f, 1, 4),
        "the log-likelihood of one name of five tokens": lambda f: _one(f, 5, 3),
        "the log-likelihood of three names of one token": lambda f: f(
            torch.arange(6.0).cos().view(3, 1, 2), torch.tensor([[1], [0], [1]]), torch.ones(3, dtype=torch.long)
        ),
        "the log-likelihood with a vocabulary of one": lambda f: _one(f, 3, 1),
        "the log-likelihood with logits of ten thousand": lambda f: f(
            torch.tensor([[[1e4, 0.0, -1e4], [0.0, 5e3, 0.0]]]), torch.tensor([[1, 1]]), torch.tensor([2])
        ),
        "the log-likelihood of a name of no tokens, and of one": lambda f: f(
            torch.arange(12.0).view(2, 2, 3), torch.tensor([[0, 1], [2, 2]]), torch.tensor([0, 1])
        ),
    },
    discussion=r"""
**For your own work.** Before you compare two numbers "per token", ask: mean or sum, with the padding or without, with
the end of the text as a token or not, nats or bits, and shifted by whom? A quick test finds most mistakes: a model
with all logits 0 must cost exactly $\log V$ nats a token that counts. It does not find a double shift; for that, look
at the gradient: the logits at $i$ may not depend on $x_i$.""",
)
