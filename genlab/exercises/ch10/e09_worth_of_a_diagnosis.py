"""Exercise 10.9: What a diagnosis is worth."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import torch

from genlab.exercises import Exercise, Wrong


def posterior(recall, prior):
    """P(failure i | diagnosis j), (k, k), from P(j | i), (k, k), and P(i), (k,)."""
    joint = prior[:, None] * recall
    return joint / joint.sum(0)


def _posterior_by_numpy(recall, prior):
    joint = recall.numpy() * prior.numpy()[:, None]
    return joint / joint.sum(axis=0, keepdims=True)


def _posterior_by_loops(recall, prior):
    recall, prior = recall.tolist(), prior.tolist()
    said = [sum(p * row[j] for p, row in zip(prior, recall, strict=True)) for j in range(len(prior))]
    return [[p * v / s for v, s in zip(row, said, strict=True)] for p, row in zip(prior, recall, strict=True)]


def _recall(g):
    k = int(torch.randint(2, 6, (), generator=g))
    recall = torch.softmax(2 * torch.eye(k) + torch.randn(k, k, generator=g), 1)
    return recall, torch.softmax(1.5 * torch.randn(k, generator=g), 0)


EXERCISE = Exercise(
    number="10.9",
    title="What a diagnosis is worth",
    difficulty=3,
    minutes=15,
    task=r"""
Row $i$ of `recall` holds $P(\text{diagnosis } j \mid \text{failure } i)$: the table of this chapter, each row divided by
its sum. But the study made every failure equally often, and you do not. Let `prior` hold how often each occurs with you:
$k$ shares that add up to 1. Return $P(\text{failure } i \mid \text{diagnosis } j)$ by **Bayes' theorem**, at place `[i, j]`
of a $k \times k$ table: what a diagnosis is worth where you work. Every diagnosis occurs, so no column is empty.

Then the open part: break the healthy run in a way that this chapter does not have, three seeds or more, and see what
`diagnose` calls it.""",
    inputs=_recall,
    solution=posterior,
    explanation=r"""
The product rule gives the joint probability, prior times recall. Dividing by its sum over the failures, the probability of
the diagnosis, gives the posterior: $P(i \mid j) = P(i)\,P(j \mid i) / \sum_l P(l)\,P(j \mid l)$. A rare failure that is
recognised in 99 of 100 cases may still be the less likely explanation, if a common one is taken for it in 5 of 100.""",
    hints=(
        "Bayes' theorem: how do you turn $P(j \\mid i)$ and $P(i)$ into a joint probability?",
        "`prior[:, None] * recall` is the joint probability. Which sum over it is the probability of diagnosis $j$?",
        "Divide the joint by its sum over the rows, `joint.sum(0)`: then every column adds up to 1.",
    ),
    wrong=(
        Wrong(
            "all failures equally common",
            "The prior has no effect here: this is right only where all failures are equally common. It multiplies the rows.",
            lambda recall, prior: recall / recall.sum(0),
        ),
        Wrong(
            "the rows add up to 1",
            "The rows add up to 1, so this is recall again. Divide by the probability of each diagnosis: a column sum.",
            lambda recall, prior: prior[:, None] * recall / (prior[:, None] * recall).sum(1, keepdim=True),
        ),
        Wrong(
            "row sums at the columns",
            "Column j is divided by the sum of row j, the prior. Divide by the sum of column j.",
            lambda recall, prior: prior[:, None] * recall / (prior[:, None] * recall).sum(1),
        ),
        Wrong(
            "the joint probability",
            "This is the joint probability of failure and diagnosis. Divide it by that of the diagnosis.",
            lambda recall, prior: prior[:, None] * recall,
        ),
        Wrong(
            "the prior at the columns",
            "The prior multiplies the columns, the diagnoses. It belongs to the failures, which are the rows.",
            lambda recall, prior: prior * recall / (prior @ recall),
        ),
        Wrong(
            "transposed",
            "Transposed: the failure is the row, the diagnosis the column.",
            lambda recall, prior: posterior(recall, prior).T,
        ),
    ),
    right=(
        lambda recall, prior: (prior.diag() @ recall) @ (1 / (prior @ recall)).diag(),
        lambda recall, prior: torch.softmax(recall.double().log() + prior.double().log()[:, None], 0),
        _posterior_by_numpy,
        _posterior_by_loops,
    ),
    probes={
        "a test that is right in 99 of 100 cases, for one run in 100": lambda f: f(
            torch.tensor([[0.99, 0.01], [0.01, 0.99]]), torch.tensor([0.01, 0.99])
        ),
        "a test that never errs": lambda f: f(torch.eye(3), torch.tensor([0.2, 0.3, 0.5])),
        "a diagnosis that is given in a few of a million runs": lambda f: f(
            torch.tensor([[1 - 1e-6, 1e-6], [1 - 3e-6, 3e-6]]), torch.tensor([0.5, 0.5])
        ),
        "the only failure there is": lambda f: f(torch.ones(1, 1), torch.ones(1)),
    },
    discussion=r"""
**For the open part.** Some ideas: train on 100 images, on two classes of digits only, or on images whose rows are
shuffled anew in each batch; give $G$ a single number as noise; let $D$ see the same 64 real images in every step; draw
with the weights of step 50. Write down beforehand what you expect in the log. If the diagnosis is wrong, ask what
the log lacks. If it is "not sure", that is a good answer: an unknown disease should not get a known name. And if it says
"healthy", as it may for two classes of digits, you have found a failure that this log cannot show.""",
)
