"""Exercise 15.3: In how many contexts?"""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

from collections import defaultdict
from fractions import Fraction
from itertools import pairwise

import numpy as np
import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def kneser_ney(text, V, delta):
    """Kneser-Ney probabilities of the next token (V, V): row for what came before.

    Tokens (n,) from 0 to V - 1, size V of the vocabulary, discount delta.
    """
    counts = torch.zeros(V, V).double()
    for i in range(1, len(text)):
        counts[text[i - 1], text[i]] += 1
    contexts = (counts > 0).sum(0)  # different tokens before each
    kinds = (contexts > 0).sum()
    p = ((contexts - delta).clamp(min=0) + delta * kinds / V) / contexts.sum()
    total, kinds = counts.sum(1, keepdim=True), (counts > 0).sum(1, keepdim=True)
    mixed = ((counts - delta).clamp(min=0) + delta * kinds * p) / total
    return torch.where(total > 0, mixed, p)


def _by_dicts(text, V, delta):
    text, after, before = text.tolist(), defaultdict(list), defaultdict(set)
    for h, w in pairwise(text):
        after[h].append(w)
        before[w].add(h)
    pairs = sum(len(found) for found in before.values())
    p = [(max(len(before[w]) - delta, 0) + delta * sum(map(bool, before.values())) / V) / pairs for w in range(V)]
    rows = []
    for h in range(V):
        seen = after[h]
        share = delta * len(set(seen)) / len(seen) if seen else 1
        rows.append([(max(seen.count(w) - delta, 0) / len(seen) if seen else 0) + share * p[w] for w in range(V)])
    return rows


def _by_one_hot(text, V, delta):
    hot = F.one_hot(text, V).double()
    counts = hot[:-1].T @ hot[1:]

    def smooth(c, below):
        left = torch.relu(c - delta)
        return torch.where(c.sum() > 0, (left + (c - left).sum() * below) / c.sum(), below)  # what was taken is given

    single = smooth(counts.sign().sum(0), torch.ones(V).double() / V)
    return torch.stack([smooth(row, single) for row in counts])


def _by_numpy(text, V, delta):
    text = text.numpy()
    pairs, times = np.unique(np.stack([text[:-1], text[1:]], 1), axis=0, return_counts=True)
    p = np.full(V, delta * len(np.unique(pairs[:, 1])) / V / len(pairs))
    np.add.at(p, pairs[:, 1], 1 / len(pairs))
    p[np.unique(pairs[:, 1])] -= delta / len(pairs)
    table = np.tile(p, (V, 1))
    for h in np.unique(pairs[:, 0]):
        mine = pairs[:, 0] == h
        table[h] *= delta * mine.sum() / times[mine].sum()
        table[h, pairs[mine, 1]] += (times[mine] - delta) / times[mine].sum()
    return table


def _exactly(text, V, delta):
    """Row by row in fractions."""
    delta, counts = Fraction(float(delta)), _counts(text, V).long().tolist()
    contexts = [sum(row[w] > 0 for row in counts) for w in range(V)]

    def law(c, below):
        taken = sum(min(Fraction(v), delta) for v in c)
        return [(v - min(Fraction(v), delta) + taken * q) / sum(c) for v, q in zip(c, below, strict=True)]

    p = law(contexts, [Fraction(1, V)] * V)
    return [law(row, p) if any(row) else p for row in counts]


def _counts(text, V):
    counts = torch.zeros(V, V).double()
    counts.index_put_((text[:-1], text[1:]), torch.ones(len(text) - 1).double(), accumulate=True)
    return counts


def _discounted(c, delta, below):
    """Discounted shares of the last axis and the rest of each in the law below; that law where nothing was counted."""
    total, kinds = c.sum(-1, keepdim=True), (c > 0).sum(-1, keepdim=True)
    return torch.where(total > 0, ((c - delta).clamp(min=0) + delta * kinds * below) / total, below)


def _uniform(V):
    return torch.ones(V).double() / V


def _contexts(text, V):
    return (_counts(text, V) > 0).sum(0).double()


def _over(lower):
    """The right pairs over another law of single tokens."""
    return lambda text, V, delta: _discounted(_counts(text, V), delta, lower(text, V, delta))


def _right_lower(text, V, delta):
    return _discounted(_contexts(text, V), delta, _uniform(V))


def _witten_bell(text, V, delta):
    counts, single = _counts(text, V), torch.bincount(text, minlength=V).double()
    for_new = (single > 0).sum()
    p = (single + for_new / V) / (len(text) + for_new)
    kinds = (counts > 0).sum(1, keepdim=True)
    total = counts.sum(1, keepdim=True) + kinds
    return torch.where(total > 0, (counts + kinds * p) / total, p)


def _unseen_is_nan(text, V, delta):
    table = kneser_ney(text, V, delta)
    table[_counts(text, V).sum(1) == 0] = torch.nan
    return table


def _unseen_is_uniform(text, V, delta):
    return torch.where(_counts(text, V).sum(1, keepdim=True) > 0, kneser_ney(text, V, delta), 1 / V)


def _once_for_all(text, V, delta):
    """delta given to the law below once, not once for each kind."""
    c, p = _counts(text, V), _right_lower(text, V, delta)
    total = c.sum(1, keepdim=True)
    return torch.where(total > 0, ((c - delta).clamp(min=0) + delta * p) / total, p)


def _not_clamped(text, V, delta):
    c, p = _counts(text, V), _right_lower(text, V, delta)
    total, kinds = c.sum(1, keepdim=True), (c > 0).sum(1, keepdim=True)
    return torch.where(total > 0, (c - delta + delta * kinds * p) / total, p)


def _backed_off(text, V, delta):
    c, table = _counts(text, V), kneser_ney(text, V, delta)
    seen = (c - delta) / c.sum(1, keepdim=True)
    return torch.where(c > 0, seen, table)


def _each_pair_once(text, V, delta):
    return _discounted(_counts(text, V).clamp(max=1), delta, _right_lower(text, V, delta))


def _text(g):
    V = int(torch.randint(3, 8, (), generator=g))
    n = int(torch.randint(12, 30, (), generator=g))
    weights = torch.arange(1.0, V) ** 2  # the last token of the vocabulary never comes
    text = torch.multinomial(weights, n, replacement=True, generator=g)
    text[-1] = V - 2 - text[0] % 2
    return text, V, 0.2 + 0.7 * float(torch.rand((), generator=g))


CITY = torch.tensor([0, 1, 0, 1, 0, 1, 2, 3, 4, 3, 2, 4, 0, 1])  # 1 comes often, and after 0 alone

EXERCISE = Exercise(
    number="15.3",
    title="In how many contexts?",
    difficulty=2,
    minutes=20,
    task=r"""
In a text about California "Francisco" is frequent, but it follows "San" and little else: after a new word it is a bad
guess, and single tokens counted by how often they come make it. Kneser and Ney (1995) count for the shorter context
after *how many different* tokens a token came. With $c(h, x)$ the number of times that token $x$ follows $h$ in the
text, $c(h) = \sum_x c(h, x)$, $t(h)$ the number of different tokens after $h$, a discount `delta`, $0 < \delta < 1$, and
$[u]_+ = \max(u, 0)$,

$$p(x \mid h) = \frac{[c(h, x) - \delta]_+ + \delta\, t(h)\, p(x)}{c(h)}, \qquad
p(x) = \frac{[k(x) - \delta]_+ + \delta\, m / V}{\sum_y k(y)},$$

where $k(x)$ is the number of different tokens that come directly before $x$ somewhere in the text, and $m$ the number
of tokens with $k(x) > 0$. After a token that nothing follows $p(x \mid h) = p(x)$. The text has $n \ge 2$ tokens; return
the table $(V, V)$: row $h$, column $x$. Each row adds up to 1.""",
    inputs=_text,
    solution=kneser_ney,
    explanation=r"""
From each kind of pair that was seen a count of $\delta$ is taken away, and what a row loses, $\delta\, t(h)$ in all, is handed to
the law below. That law is asked only where the longer context does not know, so it should say how ready a token is to
follow something new: a token with many different predecessors is, one that always stands after the same is not. The
same rule once more, with counts of contexts in place of counts of tokens and $1/V$ below, gives $p(x)$. So nothing has
probability 0.""",
    hints=(
        "First the table of counts of pairs. What is k(x) in it: something of a row, or of a column?",
        "k is the number of entries above 0 in each column, t in each row. A row without counts gets p itself.",
        "`((counts - delta).clamp(min=0) + delta * kinds * p) / total`, with `kinds` and `total` of each row.",
    ),
    wrong=(
        Wrong(
            "how often, not after how many",
            "p(x) is made of how often each token follows another. Count after how many *different* tokens it comes.",
            _over(lambda text, V, delta: _discounted(_counts(text, V).sum(0), delta, _uniform(V))),
        ),
        Wrong(
            "tokens of the text below",
            "p(x) is made of how often each token stands in the text. Count after how many *different* tokens it comes.",
            _over(lambda text, V, delta: _discounted(torch.bincount(text, minlength=V).double(), delta, _uniform(V))),
        ),
        Wrong(
            "what follows in place of what comes before",
            "k(x) counts the different tokens after x. Those before it matter: entries of its column.",
            _over(lambda text, V, delta: _discounted((_counts(text, V) > 0).sum(1).double(), delta, _uniform(V))),
        ),
        Wrong(
            "uniform below",
            "Below pairs stands 1/V. There p(x) belongs, and 1/V below that.",
            _over(lambda text, V, delta: _uniform(V)),
        ),
        Wrong(
            "p not smoothed",
            "p(x) is k(x) over the sum of k, so a token that never followed another has probability 0. Discount it as well.",
            _over(lambda text, V, delta: _contexts(text, V) / _contexts(text, V).sum()),
        ),
        Wrong(
            "Witten-Bell",
            "These are the probabilities of Witten and Bell. They need no δ, and count how often.",
            _witten_bell,
        ),
        Wrong(
            "a row that nothing was counted in",
            "A token that nothing follows gets 0/0 here. After it p(x | h) is p(x).",
            _unseen_is_nan,
        ),
        Wrong(
            "a row without counts made uniform",
            "After a token that nothing follows all tokens are equally likely here. p(x) holds there.",
            _unseen_is_uniform,
        ),
        Wrong(
            "one discount for a row",
            "The law below gets δ once a row. δ was taken from every kind of pair: δ t(h) in all, or rows do not add up to 1.",
            _once_for_all,
        ),
        Wrong(
            "counts of 0 discounted",
            "δ is taken from pairs that never came, too. Their counts stay at 0: [c − δ]₊.",
            _not_clamped,
        ),
        Wrong(
            "p for new pairs alone",
            "Pairs that came get no part of p(x), so rows do not add up to 1. Every token gets δ t(h) p(x).",
            _backed_off,
        ),
        Wrong(
            "each pair once",
            "A pair that comes again is counted once. With many indices at a time, `counts[i, j] += 1` does that; add in a loop.",
            _each_pair_once,
        ),
        Wrong(
            "columns for rows",
            "The table is transposed: row h holds what follows h.",
            lambda text, V, delta: kneser_ney(text, V, delta).T,
        ),
    ),
    right=(_by_dicts, _by_one_hot, _by_numpy, _exactly),
    probes={
        "the table of a text of two tokens": lambda f: f(torch.tensor([2, 0]), 4, 0.5),
        "the table of a vocabulary of one": lambda f: f(torch.tensor([0, 0, 0]), 1, 0.75),
        "the table of a text with a frequent token in one context": lambda f: f(CITY, 6, 0.75),
        "the table with a discount near 0": lambda f: f(CITY, 5, 1e-3),
        "the table of one pair again and again": lambda f: f(torch.tensor([0, 1] * 20), 3, 0.9),
        "the table of a text that begins with a token that never comes again": lambda f: f(
            torch.tensor([4, 1, 0, 1, 1, 0]), 6, 0.8
        ),
        "the sums of the rows": lambda f: f(torch.tensor([3, 1, 1, 0, 3, 1, 3]), 5, 0.6).sum(1),
    },
    discussion=r"""
**For your own work.** Run it on the names of this chapter beside Witten and Bell's rule, at orders 2 to 7, with $\delta$ chosen on
the validation names; for longer contexts every level but the longest counts contexts. Chen and Goodman (1999) compared many ways to smooth: a variant of this one was best nearly throughout. That is the baseline a network has to beat. If yours is ahead of the
plain frequencies only, it has learnt to smooth, and little else.""",
)
