"""Exercise 15.6: Attention that goes on."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def attend(q, k, v):
    """Causal attention of the last m of L positions.

    q (heads, m, d), k (heads, L, d), v (heads, L, e) -> (heads, m, e).
    """
    m, L = q.shape[1], k.shape[1]
    scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[2])
    position = torch.arange(L - m, L)  # of each query
    later = torch.arange(L) > position[:, None]
    return scores.masked_fill(later, -torch.inf).softmax(2) @ v


def _by_torch(q, k, v):
    m, L = q.shape[1], k.shape[1]
    allowed = torch.ones(m, L, dtype=torch.bool).tril(L - m)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)


def _by_padding(q, k, v):
    # queries for all positions, of which the last are kept
    m, L = q.shape[1], k.shape[1]
    whole = torch.cat([torch.zeros(len(q), L - m, q.shape[2], dtype=q.dtype), q], 1)
    return F.scaled_dot_product_attention(whole, k, v, is_causal=True)[:, L - m :]


def _by_loops(q, k, v):
    heads, m, d = q.shape
    L, rows = k.shape[1], []
    for a in range(heads):
        for i in range(m):
            end = L - m + i + 1
            weights = torch.softmax((k[a, :end] * q[a, i]).sum(1) * d**-0.5, 0)
            rows.append((weights[:, None] * v[a, :end]).sum(0))
    return torch.stack(rows).view(heads, m, -1)


def _by_running_sums(q, k, v):
    # one key after the other, with the largest score so far taken out
    m, L = q.shape[1], k.shape[1]
    top = torch.full(q.shape[:2], -torch.inf, dtype=q.dtype)
    total, mean = torch.zeros_like(top), torch.zeros(*q.shape[:2], v.shape[2], dtype=v.dtype)
    for j in range(L):
        score = torch.einsum("hmd,hd->hm", q, k[:, j]) / q.shape[2] ** 0.5
        score = torch.where(torch.arange(L - m, L) >= j, score, -torch.inf)
        new = torch.maximum(top, score)
        old, here = (top - new).exp(), (score - new).exp()
        total = total * old + here
        mean = mean * old[..., None] + here[..., None] * v[:, j, None]
        top = new
    return mean / total[..., None]


def _scores(q, k):
    return q @ k.transpose(1, 2) / math.sqrt(q.shape[2])


def _later(q, k, offset=0):
    """True where a key comes after the query."""
    m, L = q.shape[1], k.shape[1]
    return torch.ones(m, L, dtype=torch.bool).triu(1 + L - m + offset)


def _masked(q, k, v, later):
    return _scores(q, k).masked_fill(later, -torch.inf).softmax(2) @ v


def _states(g):
    heads, m, more, d, e = (
        int(torch.randint(low, high, (), generator=g)) for low, high in ((2, 4), (2, 5), (1, 5), (2, 6), (1, 5))
    )
    q, k, v = (torch.randn(heads, n, size, generator=g) for n, size in ((m, d), (m + more, d), (m + more, e)))
    return 2 * q, k, v


def _wave(*shape):
    return (torch.arange(float(math.prod(shape))) * 1.7).sin().view(shape)


EXERCISE = Exercise(
    number="15.6",
    title="Attention that goes on",
    difficulty=2,
    minutes=15,
    task=r"""
While a transformer writes, the keys and values of all $L$ positions so far lie in a cache, and there are queries for
the last $m \le L$ positions only, each head apart: `q` (heads, $m$, $d$), `k` (heads, $L$, $d$), `v` (heads, $L$, $e$).
The last query stands at the last position, the first one at position $L - m$. Return the causal attention: the mean of the values with the
weights $\operatorname{softmax}(q \cdot k / \sqrt d)$ over the keys at the query's own position and before, shape
(heads, $m$, $e$). With $m = L$ it is the attention of a whole text; with $m = 1$ the query sees all. The result must
be one that can be differentiated, and right for scores of thousands. Write it without
`scaled_dot_product_attention`, or with: both pass if they are right.""",
    inputs=_states,
    solution=attend,
    explanation=r"""
For independent coordinates of variance 1, $q \cdot k$ has the variance $d$, the size of the *head*; divided by
$\sqrt d$ it has 1, and the softmax starts neither flat nor frozen. A $-\infty$ before the softmax takes a key out of
numerator and denominator. Row $i$ of the mask belongs to position $L - m + i$. Torch's `is_causal=True` lets row $i$
see keys up to $i$: that is right for $m = L$ alone, and with a cache and $m = 1$ the query sees the very first key only.""",
    hints=(
        "At which position of the text does query i stand? Which keys may it see?",
        "Scores (heads, m, L); set those of later keys to −∞; softmax over the keys; then the values.",
        "`later = torch.arange(L) > torch.arange(L - m, L)[:, None]`, and divide by the root of `q.shape[2]`.",
    ),
    wrong=(
        Wrong(
            "the mask at the top left",
            "Query i sees keys up to i, as if the queries were the first positions. They are the last: L − m more keys.",
            lambda q, k, v: _masked(q, k, v, _later(q, k, q.shape[1] - k.shape[1])),
        ),
        Wrong(
            "no mask",
            "All keys are seen, those of later positions as well. A query sees its own position and those before.",
            lambda q, k, v: _scores(q, k).softmax(2) @ v,
        ),
        Wrong(
            "without what lies before the queries",
            "Only the last m keys are seen. Those before them lie in the cache, and every query sees them.",
            lambda q, k, v: attend(q, k[:, -q.shape[1] :], v[:, -q.shape[1] :]),
        ),
        Wrong(
            "its own position left out",
            "A query does not see its own position. It does: the input was shifted, not the attention.",
            lambda q, k, v: _masked(q, k, v, _later(q, k, -1)),
        ),
        Wrong(
            "one key too many",
            "A query sees the position after its own. In a network with many layers everything leaks through that.",
            lambda q, k, v: _masked(q, k, v, _later(q, k, 1)),
        ),
        Wrong(
            "not scaled",
            "The scores are not divided by √d: their variance grows with the head's size.",
            lambda q, k, v: _masked(q * math.sqrt(q.shape[2]), k, v, _later(q, k)),
        ),
        Wrong(
            "scaled by d",
            "The scores are divided by d. Their standard deviation is √d.",
            lambda q, k, v: _masked(q / math.sqrt(q.shape[2]), k, v, _later(q, k)),
        ),
        Wrong(
            "scaled by the width",
            "The scores are divided by the root of heads · d. A score is a sum over one head's d terms.",
            lambda q, k, v: _masked(q / math.sqrt(len(q)), k, v, _later(q, k)),
        ),
        Wrong(
            "masked after the softmax",
            "Weights are set to 0 after the softmax, so what is left does not add up to 1. Mask the scores with −∞.",
            lambda q, k, v: _scores(q, k).softmax(2).masked_fill(_later(q, k), 0.0) @ v,
        ),
        Wrong(
            "a score of 0 for what is hidden",
            "Hidden keys get the score 0, which has the weight e⁰ = 1. They need the score −∞.",
            lambda q, k, v: _scores(q, k).masked_fill(_later(q, k), 0.0).softmax(2) @ v,
        ),
        Wrong(
            "softmax over queries",
            "The weights of a key add up to 1 over the queries. Those of a query must, over its keys: the last axis.",
            lambda q, k, v: _scores(q, k).masked_fill(_later(q, k), -torch.inf).softmax(1).nan_to_num() @ v,
        ),
        Wrong(
            "exponentials that overflow",
            "The exponential of a large score is infinite. Take out the largest first, or use softmax.",
            lambda q, k, v: (lambda w: w @ v / w.sum(2, keepdim=True))(
                _scores(q, k).masked_fill(_later(q, k), -torch.inf).exp()
            ),
        ),
        Wrong(
            "no gradient through the weights",
            "The weights are detached: no gradient reaches queries and keys.",
            lambda q, k, v: _scores(q, k).masked_fill(_later(q, k), -torch.inf).softmax(2).detach() @ v,
        ),
    ),
    right=(_by_torch, _by_padding, _by_loops, _by_running_sums),
    gradient=True,
    probes={
        "the attention of a whole text": lambda f: f(_wave(1, 4, 3), _wave(1, 4, 3) + 0.5, _wave(1, 4, 2)),
        "the attention of the last position alone": lambda f: f(_wave(2, 1, 3), _wave(2, 5, 3), _wave(2, 5, 4)),
        "the attention of one position": lambda f: f(_wave(2, 1, 2), _wave(2, 1, 2), _wave(2, 1, 3)),
        "the attention with scores of thousands": lambda f: f(
            3000 * (1 + _wave(1, 2, 2)), _wave(1, 4, 2), _wave(1, 4, 2)
        ),
        "the attention in heads of size one": lambda f: f(_wave(3, 2, 1), _wave(3, 3, 1), _wave(3, 3, 1)),
        "the attention to equal keys": lambda f: f(_wave(1, 3, 2), torch.ones(1, 5, 2), _wave(1, 5, 1)),
    },
    discussion=r"""
**For your own work.** Two tests find nearly all mistakes of this kind. The gradient of output $i$ by input $j > i$ must
be exactly 0. And a text that is written with the cache must get, token by token, the logits that one pass over the
whole text gives. A wrong scale fails neither, and the model still learns: draw queries and keys from
$\mathcal N(0, I)$ and look whether the scores have variance 1.""",
)
