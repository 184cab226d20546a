"""Exercise 19.5: Two answers of different length."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math

import numpy as np
import torch
from torch.nn import functional as F

from genlab.exercises import Exercise, Wrong


def preference_loss(log_prob, reference, real, beta):
    """DPO's loss of pairs of answers, from log-probabilities of tokens, in nats.

    (n, 2, t) of the model and the reference, real (n, 2, t) -> (n,); chosen at 0.
    """
    ratio = torch.where(real, log_prob - reference, 0.0).sum(2)
    return -F.logsigmoid(beta * (ratio[:, 0] - ratio[:, 1]))


def _by_masks(log_prob, reference, real, beta):
    policy, base = (x.masked_fill(~real, 0).sum(-1) for x in (log_prob, reference))
    chosen, rejected = (policy - base).unbind(1)
    return F.binary_cross_entropy_with_logits(beta * (chosen - rejected), torch.ones_like(chosen), reduction="none")


def _by_numpy(log_prob, reference, real, beta):
    policy, base, real = (x.numpy() for x in (log_prob, reference, real))
    sums = [np.sum(x, axis=2, where=real) for x in (policy, base)]
    margin = beta * np.subtract(*sums) @ np.array([1.0, -1.0])
    return np.logaddexp(0, -margin)


def _by_lists(log_prob, reference, real, beta):
    found = []
    for policy, base, mask in zip(log_prob, reference, real, strict=True):
        gains = []
        for answer in (0, 1):
            tokens = zip(policy[answer].tolist(), base[answer].tolist(), mask[answer].tolist(), strict=True)
            gains.append(sum(a - b for a, b, counts in tokens if counts))
        margin = beta * (gains[0] - gains[1])
        found.append(max(-margin, 0) + math.log1p(math.exp(-abs(margin))))
    return found


def _by_softmax(log_prob, reference, real, beta):
    # the choice between two answers is a softmax of their implied rewards
    rewards = beta * torch.stack([(a[m] - b[m]).sum() for a, b, m in _rows(log_prob, reference, real)])
    return F.cross_entropy(rewards.view(-1, 2), torch.zeros(len(log_prob), dtype=torch.long), reduction="none")


def _rows(*tensors):
    return zip(*(x.flatten(0, 1) for x in tensors), strict=True)


def _gains(log_prob, reference, real):
    return torch.where(real, log_prob - reference, 0.0).sum(2)


def _loss(gains, beta):
    return F.softplus(-beta * (gains[:, 0] - gains[:, 1]))


def _pairs(g):
    n, t = (int(torch.randint(low, high, (), generator=g)) for low, high in ((1, 7), (3, 9)))
    log_prob, reference = (-3 * torch.rand(n, 2, t, generator=g).double() for _ in range(2))
    lengths = torch.randint(1, t + 1, (n, 2), generator=g)
    lengths[0] = torch.tensor([t, 2])
    real = torch.arange(t) < lengths[..., None]
    log_prob[0, 0] -= 3000 / t  # far from what was chosen
    return log_prob.masked_fill(~real, -torch.inf), reference.masked_fill(~real, -torch.inf), real, _beta(g)


def _beta(g):
    return 0.5 + float(torch.rand((), generator=g))


def _probe(real, beta):
    """A probe with tokens whose log-ratios are all 1 in the chosen and 1/2 in the rejected answer."""
    real = torch.tensor(real)
    base = torch.full(real.shape, -2.0).double()
    gain = torch.tensor([[1.0], [0.5]]).double()
    return lambda f: f(base + gain, base, real, beta)


EXERCISE = Exercise(
    number="19.5",
    title="Two answers of different length",
    difficulty=2,
    minutes=15,
    task=r"""
Write DPO's loss for $n$ pairs of answers, the chosen one at place 0 and the rejected one at place 1 of dimension 1.
`log_prob` and `reference` (n, 2, t) hold the log-probabilities of the answers' *tokens* under the model $\pi$ and the
reference $p$, `real` (n, 2, t) is True for tokens of the answer and False for padding, whose entries mean nothing and
may be $-\infty$. With $\log \pi(x)$ the log-probability of a whole answer, return for each pair

$$ -\log \operatorname{sigmoid}\!\Big( \beta \Big[ \log \frac{\pi(\text{chosen})}{p(\text{chosen})}
- \log \frac{\pi(\text{rejected})}{p(\text{rejected})} \Big] \Big) , $$

of shape (n,). What stands in the sigmoid may be some thousands below 0; the loss of such a pair is as large, and finite.
How many tokens an answer has must not matter except by their log-probabilities.""",
    inputs=_pairs,
    solution=preference_loss,
    explanation=r"""
The probability of an answer is the product over its tokens, so its log is their *sum*. With a mean in its place the
quantity is no log-probability of anything, and the optimum of the loss is not $p(x)\,e^{r(x)/\beta}/Z$ any more: a long
answer's ratio is divided by its length. Padding is taken out with `where`, before the sum: $-\infty$ times 0 is NaN.
And `logsigmoid` stays finite where the logarithm of a sigmoid that has become 0 does not.""",
    hints=(
        "The log-probability of an answer is that of its tokens, taken together. How, and which tokens?",
        "`torch.where(real, log_prob - reference, 0.0)`, then reduce over the tokens: a sum.",
        "`-F.logsigmoid(beta * (ratio[:, 0] - ratio[:, 1]))`, with ratio of shape (n, 2).",
    ),
    wrong=(
        Wrong(
            "the mean over tokens",
            "Each answer's log-ratio is averaged over its tokens. The log-probability of an answer is their sum.",
            lambda log_prob, reference, real, beta: _loss(_gains(log_prob, reference, real) / real.sum(2), beta),
        ),
        Wrong(
            "the mean over all places",
            "The log-ratios are averaged over all places, padding among them. The log-probability is their sum.",
            lambda log_prob, reference, real, beta: _loss(_gains(log_prob, reference, real) / real.shape[2], beta),
        ),
        Wrong(
            "padding times zero",
            "NaN comes from the padding: −∞ times 0. Choose the real tokens with where, or by an index.",
            lambda log_prob, reference, real, beta: _loss(((log_prob - reference) * real).sum(2), beta),
        ),
        Wrong(
            "no reference",
            "The reference is missing: answers that every model finds likely are rewarded for it.",
            lambda log_prob, reference, real, beta: _loss(_gains(log_prob, 0, real), beta),
        ),
        Wrong(
            "the rejected one preferred",
            "The two answers are exchanged: the loss falls when the rejected one becomes likelier.",
            lambda log_prob, reference, real, beta: preference_loss(
                log_prob.flip(1), reference.flip(1), real.flip(1), beta
            ),
        ),
        Wrong(
            "beta outside",
            "β multiplies the loss here. It belongs inside the sigmoid, at the margin.",
            lambda log_prob, reference, real, beta: beta * preference_loss(log_prob, reference, real, 1.0),
        ),
        Wrong(
            "divided by beta",
            "The margin is divided by β. A high price makes the implied reward of a ratio larger: multiply.",
            lambda log_prob, reference, real, beta: preference_loss(log_prob, reference, real, 1 / beta),
        ),
        Wrong(
            "the log of a sigmoid",
            "The sigmoid underflows to 0 some thousands below 0, and its log is −∞. Take logsigmoid or softplus.",
            lambda log_prob, reference, real, beta: (
                -(torch.sigmoid(beta * _gains(log_prob, reference, real) @ torch.tensor([1.0, -1.0]).double()).log())
            ),
        ),
        Wrong(
            "a probability in place of its logarithm",
            "This is the probability that the rejected one wins. The loss is minus the log of the chosen one's.",
            lambda log_prob, reference, real, beta: 1 - (-preference_loss(log_prob, reference, real, beta)).exp(),
        ),
        Wrong(
            "the sign of the loss",
            "The sign is reversed: this is the log-likelihood of the choice, not a loss.",
            lambda log_prob, reference, real, beta: -preference_loss(log_prob, reference, real, beta),
        ),
        Wrong(
            "averaged over pairs",
            "One number came, the mean over pairs. Asked is one value a pair.",
            lambda log_prob, reference, real, beta: preference_loss(log_prob, reference, real, beta).mean(),
        ),
        Wrong(
            "the last token alone",
            "Only the last real token of each answer counts here. An answer's log-probability is the sum over all.",
            lambda log_prob, reference, real, beta: _loss(
                (log_prob - reference).gather(2, real.sum(2, keepdim=True) - 1)[..., 0], beta
            ),
        ),
        Wrong(
            "the chosen one alone",
            "Only the chosen answer's ratio is in the sigmoid. The rejected one's is subtracted.",
            lambda log_prob, reference, real, beta: F.softplus(-beta * _gains(log_prob, reference, real)[:, 0]),
        ),
    ),
    right=(_by_masks, _by_numpy, _by_lists, _by_softmax),
    probes={
        "answers of four tokens and of one": _probe([[[True] * 4, [True, False, False, False]]], 0.5),
        "answers of one token and of four": _probe([[[True, False, False, False], [True] * 4]], 0.5),
        "pairs of one token each, beta of 3": _probe([[[True], [True]], [[True], [True]]], 3.0),
        "padding in front of the answers": _probe([[[False, True, True], [False, False, True]]], 1.0),
        "a model that is the reference": lambda f: f(
            -torch.ones(3, 2, 2).double(), -torch.ones(3, 2, 2).double(), torch.ones(3, 2, 2).bool(), 0.1
        ),
        "a margin of 3,000": lambda f: f(
            torch.tensor([[[-1.0], [-3001.0]]]).double(),
            -torch.ones(1, 2, 1).double(),
            torch.ones(1, 2, 1).bool(),
            1.0,
        ),
    },
    discussion=r"""
**For your own work.** After training compare the lengths of the answers with those before, and the rewards at equal
length. Preferences often lean to long answers, and sums let a model gain by many tokens; that is a fact about the
data, and a mean in the loss hides it rather than mends it. If you do want the mean, it is another objective: say so,
and do not compare its β with DPO's.""",
)
