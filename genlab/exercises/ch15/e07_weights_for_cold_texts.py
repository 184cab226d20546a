"""Exercise 15.7: Weights for cold texts."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch
from scipy import special

from genlab.exercises import Exercise, Wrong


def cold_weights(logits, x, T):
    """Weights that turn texts drawn token by token into draws of p(x)^(1/T) / Z.

    Logits along each text (n, L, V), its tokens (n, L) -> weights (n,), how many count.
    """
    log_w = ((logits / T).logsumexp(2) - logits.logsumexp(2) / T).sum(1)
    w = log_w.softmax(0)
    return w, 1 / w.square().sum()


def _by_ratio(logits, x, T):
    # the law wanted over the law of the draw, token by token
    wanted = torch.distributions.Categorical(logits=logits).log_prob(x).sum(1) / T
    drawn = torch.distributions.Categorical(logits=logits / T).log_prob(x).sum(1)
    w = (wanted - drawn - (wanted - drawn).max()).exp()
    return w / w.sum(), w.sum() ** 2 / (w**2).sum()


def _by_norms(logits, x, T):
    # the norm of a law with the exponent 1/T; a power of it is the sum of the powers
    p = special.softmax(logits.double().numpy(), axis=-1)
    log_w = np.log((p ** (1 / T)).sum(-1)).sum(-1)
    w = np.exp(log_w - special.logsumexp(log_w))
    return w, 1 / np.dot(w, w)


def _by_loops(logits, x, T):
    logs = []
    for text in logits.tolist():
        total = 0.0
        for row in text:
            top = max(row)
            hot = math.log(math.fsum(math.exp(a - top) for a in row))
            cold = math.log(math.fsum(math.exp((a - top) / T) for a in row))
            total += cold - hot / T
        logs.append(total)
    raw = [math.exp(v - max(logs)) for v in logs]
    w = [v / sum(raw) for v in raw]
    return w, 1 / sum(v * v for v in w)


def _log_w(logits, T):
    return ((logits / T).logsumexp(2) - logits.logsumexp(2) / T).sum(1)


def _with_size(w):
    return w, 1 / w.square().sum()


def _taken(logits, x):
    """log p of each text (n,)."""
    return logits.log_softmax(2).gather(2, x[:, :, None])[:, :, 0].sum(1)


def _underflow(logits, x, T):
    w = _taken(logits, x).exp() ** (1 / T) / _taken(logits / T, x).exp()
    return _with_size(w / w.sum())


def _entropy_size(logits, x, T):
    w = _log_w(logits, T).softmax(0)
    return w, torch.special.entr(w).sum().exp()


def _texts(g):
    n, L, V = (int(torch.randint(low, high, (), generator=g)) for low, high in ((3, 7), (2, 6), (2, 6)))
    logits = 1.5 * torch.randn(n, L, V, generator=g).double() + 2 * torch.randn(n, L, 1, generator=g).double()
    hot = int(torch.randint(2, (), generator=g))
    return logits, torch.randint(V, (n, L), generator=g), 0.4 + 0.4 * float(torch.rand((), generator=g)) + hot


def _every_text(f, T):
    """The first token's share under p(x)^(1/T) / Z, from all texts of two tokens, each weighted with its chance too."""
    first = torch.tensor([0.6, 0.4]).double().log()
    second = torch.tensor([[0.5, 0.5], [0.99, 0.01]]).double().log()
    x = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
    logits = torch.stack([first.expand(4, 2), second[x[:, 0]]], 1)
    w = f(logits, x, T)[0] * _taken(logits / T, x).exp()
    return w / w.sum()


WAVE = (torch.arange(60.0).double() * 1.3).sin().view(5, 4, 3) * 2

EXERCISE = Exercise(
    number="15.7",
    title="Weights for cold texts",
    difficulty=2,
    minutes=15,
    task=r"""
A model writes $n$ texts of $L$ tokens, each token drawn from $\operatorname{softmax}(\text{logits} / T)$ given those
before. Together these have another law than the tempered text, $p(x)^{1/T} / Z$, where $p$ is the model's law at $T = 1$
and $Z$ the sum over all texts. Importance weights repair that: $w_r \propto p(x_r)^{1/T} / q(x_r)$, where $q$ is the
law by which the texts were drawn. Given the `logits` $(n, L, V)$ along each text, unscaled and not normalised, the
tokens `x` $(n, L)$, and $T > 0$, return a pair: the weights $(n,)$, which add up to 1, and the effective number of
texts $1 / \sum_r w_r^2$. With $T = 1$ all weights are $1/n$. It must be right for texts of thousands of nats too.""",
    inputs=_texts,
    solution=cold_weights,
    explanation=r"""
At each position $p^{1/T}$ and $q$ have the same token's logit over $T$, which cancels. What is left is a ratio of
normalisers, $\log w = \sum_i \big(\operatorname{logsumexp}(a_i / T) - \tfrac1T \operatorname{logsumexp}(a_i)\big)$ for
the logits $a_i$: the token that was drawn does not enter, but those before it do, through $a_i$. For $T < 1$ each term
is at most 0, and 0 for a law that is sure of its token: texts on whose way the model was sure count more. Token by token,
nothing looks ahead to that. As a rule the effective number falls as texts get longer: of long texts few are left.""",
    hints=(
        "Write log p(x)/T and log q(x) as sums over positions, each with its logsumexp. What cancels?",
        "A term is logsumexp(a/T) − logsumexp(a)/T. Add up the positions, then normalise over the texts, in logs.",
        "`log_w.softmax(0)` are weights that add up to 1.",
    ),
    wrong=(
        Wrong(
            "the weights upside down",
            "These weights are q over p^(1/T). The law that is wanted stands above, the law of the draw below.",
            lambda logits, x, T: _with_size((-_log_w(logits, T)).softmax(0)),
        ),
        Wrong(
            "logits taken for log-probabilities",
            "The logsumexp at T = 1 is missing. Logits are log-probabilities only after it is subtracted.",
            lambda logits, x, T: _with_size((logits / T).logsumexp(2).sum(1).softmax(0)),
        ),
        Wrong(
            "texts drawn at temperature 1",
            "These are weights for texts that were drawn at temperature 1. They were drawn with logits / T.",
            lambda logits, x, T: _with_size(((1 / T - 1) * _taken(logits, x)).softmax(0)),
        ),
        Wrong(
            "the law wanted alone",
            "The weights are proportional to p^(1/T). Divide by q: likely texts were drawn more often already.",
            lambda logits, x, T: _with_size((_taken(logits, x) / T).softmax(0)),
        ),
        Wrong(
            "p without its power",
            "p(x) stands above without the power 1/T.",
            lambda logits, x, T: _with_size((_taken(logits, x) - _taken(logits / T, x)).softmax(0)),
        ),
        Wrong(
            "multiplied by T",
            "The power is T here, and the logits are multiplied by it. Tempering divides by T.",
            lambda logits, x, T: cold_weights(logits, x, 1 / T),
        ),
        Wrong(
            "the mean over positions",
            "The positions are averaged. A text's log-weight is the sum over them.",
            lambda logits, x, T: _with_size((_log_w(logits, T) / logits.shape[1]).softmax(0)),
        ),
        Wrong(
            "the last position alone",
            "The log-weight holds the last position alone. All of them count.",
            lambda logits, x, T: _with_size(_log_w(logits[:, -1:], T).softmax(0)),
        ),
        Wrong(
            "all alike",
            "All weights are equal, as if tempering each token tempered the text.",
            lambda logits, x, T: _with_size(torch.ones(len(x)).double() / len(x)),
        ),
        Wrong(
            "not normalised",
            "The weights do not add up to 1: divide by their sum.",
            lambda logits, x, T: _with_size(_log_w(logits, T).exp()),
        ),
        Wrong(
            "underflow",
            "Probabilities of whole texts underflow to 0. Stay with logs until the weights are normalised.",
            _underflow,
        ),
        Wrong(
            "a share of the texts",
            "The second number is a share of n. Asked is the number itself, between 1 and n.",
            lambda logits, x, T: (cold_weights(logits, x, T)[0], cold_weights(logits, x, T)[1] / len(x)),
        ),
        Wrong(
            "the exponential of the entropy",
            "The second number is the exponential of the weights' entropy. Asked is 1 over the sum of squares.",
            _entropy_size,
        ),
        Wrong(
            "the sum of squares",
            "The second number is the sum of squares itself: take its inverse.",
            lambda logits, x, T: (cold_weights(logits, x, T)[0], 1 / cold_weights(logits, x, T)[1]),
        ),
    ),
    right=(_by_ratio, _by_norms, _by_loops),
    probes={
        "the weights at T = 1": lambda f: f(WAVE, torch.arange(20).view(5, 4) % 3, 1.0),
        "the weights at T = 3": lambda f: f(WAVE, torch.arange(20).view(5, 4) % 3, 3.0),
        "the weights of one text": lambda f: f(WAVE[:1], torch.tensor([[0, 2, 1, 1]]), 0.5),
        "the weights of texts of one token": lambda f: f(WAVE[:, :1], torch.tensor([[0], [1], [2], [2], [0]]), 0.5),
        "the weights with a vocabulary of one": lambda f: f(WAVE[:, :, :1], torch.zeros(5, 4, dtype=torch.long), 0.5),
        "the weights of texts of 3,000 tokens": lambda f: f(
            WAVE[:2].repeat(1, 750, 1), torch.arange(6000).view(2, 3000) * 7 % 3, 0.999
        ),
        "the law of all texts of two tokens, T = 0.5": lambda f: _every_text(f, 0.5),
    },
    discussion=r"""
**For your own work.** "Sampled at temperature 0.8" means token by token, with other cuts (the $k$ most probable, or the
least set with 90 % of the mass) before or after: say which, and in which order. None of these samples comes from the model
whose likelihood you print. Compute the effective number for your own model with texts of 2, 5 and 20 tokens: it says
how far token by token is from the tempered text, without a sum over all texts.""",
)
