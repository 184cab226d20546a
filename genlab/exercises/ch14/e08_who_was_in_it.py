"""Exercise 14.8: Who was in the training set?"""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import numpy as np
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

from genlab.exercises import Exercise, Wrong


def attack(members, others, alarms):
    """Area under the ROC curve, and the most members found at a share of false alarms.

    Scores of members (n,), of others (m,), share allowed -> two numbers.
    """
    higher = (members[:, None] > others).double() + 0.5 * (members[:, None] == others)
    found = 0.0
    for threshold in members:
        if (others >= threshold).double().mean() <= alarms:
            found = max(found, (members >= threshold).double().mean().item())
    return higher.mean(), found


def _by_sklearn(members, others, alarms):
    labels = np.r_[np.ones(len(members)), np.zeros(len(others))]
    scores = np.r_[members.numpy(), others.numpy()]
    false, true, _ = roc_curve(labels, scores, drop_intermediate=False)
    return roc_auc_score(labels, scores), true[false <= alarms].max()


def _by_ranks(members, others, alarms):
    n, m = len(members), len(others)
    ranks = stats.rankdata(torch.cat([members, others]))[:n]
    area = (ranks.sum() - n * (n + 1) / 2) / (n * m)
    allowed = int(alarms * m)
    if allowed >= m:
        return area, 1.0
    return area, (members > others.sort(descending=True).values[allowed]).double().mean()


def _by_loops(members, others, alarms):
    a, b = members.tolist(), others.tolist()
    area = sum((u > v) + (u == v) / 2 for u in a for v in b) / (len(a) * len(b))
    shares = [0.0]
    for threshold in sorted({*a, *b}):
        if sum(v >= threshold for v in b) <= alarms * len(b):
            shares.append(sum(u >= threshold for u in a) / len(a))
    return area, max(shares)


def _by_steps(members, others, alarms):
    # the curve, threshold by threshold from the top; its area by trapezia
    thresholds = torch.cat([members, others]).unique().flip(0)
    true, false = (
        torch.cat([torch.zeros(1).double(), (x[:, None] >= thresholds).double().mean(0)]) for x in (members, others)
    )
    return torch.trapezoid(true, false), true[false <= alarms].max()


def _area(members, others, ties=0.5):
    equal = (members[:, None] == others).double()
    return ((members[:, None] > others).double() + ties * equal).mean()


def _found(change):
    """The right area, and another share of members found."""
    return lambda members, others, alarms: (_area(members, others), change(members, others, alarms))


def _shares(members, others):
    """Both shares for each threshold among the scores, highest threshold first."""
    thresholds = torch.cat([members, others]).unique().flip(0)
    return [(x[:, None] >= thresholds).double().mean(0) for x in (members, others)]


def _advantage(members, others, alarms):
    true, false = _shares(members, others)
    return max(0.0, float((true - false).max()))


def _strict(members, others, alarms):
    true, false = _shares(members, others)
    return max([0.0, *true[false < alarms].tolist()])


def _above(members, others, alarms):
    pairs = [((members > t).double().mean(), (others > t).double().mean()) for t in torch.cat([members, others])]
    return max([0.0, *(float(true) for true, false in pairs if false <= alarms)])


def _at_others(members, others, alarms):
    pairs = [((members >= t).double().mean(), (others >= t).double().mean()) for t in others]
    return max([0.0, *(float(true) for true, false in pairs if false <= alarms)])


def _over(members, others, alarms):
    """The first threshold that is over what is allowed."""
    true, false = _shares(members, others)
    return true[false >= alarms][0]


def _scores(g):
    n, m = (int(torch.randint(1, 14, (), generator=g)) for _ in range(2))
    members, others = (torch.randn(size, generator=g).double() for size in (n, m))
    members = 2 * (members + 0.7 * torch.rand((), generator=g))
    allowed = int(torch.randint(max(1, m // 2), (), generator=g))
    return members.round(), (2 * others).round(), (allowed + 0.5) / m  # whole scores: many are equal


WHOLE = torch.arange(8.0).double()

EXERCISE = Exercise(
    number="14.8",
    title="Who was in the training set?",
    difficulty=2,
    minutes=20,
    task=r"""
An attacker has a score for each image, such as a VAE's ELBO, and says "member of the training set" if it is *at
least* a threshold. Given the scores of true members and of others, return a pair. First the area under the ROC curve:
the share of pairs of a member and another in which the member has the higher score, a tie as one half. Second the
largest share of members that *one* threshold finds while the share of others called members (the false alarms) is at
most `alarms`. A threshold may lie above all scores: nobody is found then, and there is no alarm. There are no random
decisions between two thresholds. The two lists may differ in length, and scores may be equal.""",
    inputs=_scores,
    solution=attack,
    explanation=r"""
The area is the chance to order a random pair, over all thresholds. The second number looks at the left end of the
curve alone. The two may part company: if one member in twenty is marked beyond doubt and the rest like everybody, the
area is $0.5 + 0.05/2 = 0.525$, next to nothing, and yet those images are exposed. That is why attacks are reported at
few false alarms (Carlini et al. 2022). Equal scores move together: a threshold takes all of them or none.""",
    hints=(
        "For the area compare every member with every other, as a matrix. For the rest, which thresholds matter?",
        "Only members' own scores need to be tried. For each: is the share of others at or above it small enough?",
        "`if (others >= t).double().mean() <= alarms:` then a candidate is `(members >= t).double().mean()`.",
    ),
    wrong=(
        Wrong(
            "others as members",
            "Low scores count as members here: the two lists are exchanged, or the order of a pair is.",
            lambda members, others, alarms: attack(others, members, alarms),
        ),
        Wrong(
            "ties count nothing",
            "Pairs with equal scores are not counted in the area. Each is worth one half.",
            lambda members, others, alarms: (_area(members, others, 0.0), attack(members, others, alarms)[1]),
        ),
        Wrong(
            "ties count fully",
            "Pairs with equal scores count fully in the area. Each is worth one half.",
            lambda members, others, alarms: (_area(members, others, 1.0), attack(members, others, alarms)[1]),
        ),
        Wrong(
            "a quantile for the threshold",
            "The threshold is an interpolated quantile of the others. With few or equal scores it allows too many alarms.",
            _found(lambda members, others, alarms: (members >= others.quantile(max(0.0, 1 - alarms))).double().mean()),
        ),
        Wrong(
            "one threshold too low",
            "The first threshold that is over the allowed share is taken. The share may not be above `alarms`.",
            _found(_over),
        ),
        Wrong(
            "fewer alarms than allowed",
            "The share of false alarms is kept below `alarms`. It may be equal to it.",
            _found(_strict),
        ),
        Wrong(
            "above the threshold",
            "An image whose score equals the threshold is not called a member here. A score must be at least the threshold.",
            _found(_above),
        ),
        Wrong(
            "thresholds of others alone",
            "Only the others' scores are tried as thresholds. The best may be a member's, between two of theirs.",
            _found(_at_others),
        ),
        Wrong(
            "the advantage",
            "This is the largest difference of the two shares. Asked are the members found at few false alarms.",
            _found(_advantage),
        ),
        Wrong(
            "alarms among members",
            "The threshold was chosen by the members' scores: it finds the allowed share of *members*.",
            _found(lambda members, others, alarms: (members >= members.quantile(1 - alarms)).double().mean()),
        ),
        Wrong(
            "the pair turned round",
            "The two results are in the other order: the area first.",
            lambda members, others, alarms: attack(members, others, alarms)[::-1],
        ),
    ),
    right=(_by_sklearn, _by_ranks, _by_loops, _by_steps),
    probes={
        "a quarter of the members marked beyond doubt, no alarm allowed": lambda f: f(
            torch.tensor([9.0, 9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).double(), WHOLE, 0.0
        ),
        "exactly as many alarms as allowed": lambda f: f(WHOLE + 0.5, WHOLE, 0.25),
        "a member that is as high as the highest other, no alarm allowed": lambda f: f(WHOLE, WHOLE, 0.0),
        "all alarms allowed": lambda f: f(WHOLE - 20, WHOLE, 1.0),
        "members that score below all others": lambda f: f(WHOLE - 20, WHOLE, 0.5),
        "scores that differ by a millionth": lambda f: f(
            1 + torch.tensor([0.0, 2.0, 2.0, 5.0]).double() / 2**20,
            1 + torch.tensor([1.0, 2.0, 3.0]).double() / 2**20,
            0.5,
        ),
        "forty others, and none of them may be an alarm": lambda f: f(
            torch.arange(40.0).double() + 0.5, torch.arange(40.0).double(), 1 / 64
        ),
        "equal scores that cross the limit together": lambda f: f(
            torch.tensor([3.0, 2.0, 2.0, 2.0]).double(), torch.tensor([2.0, 2.0, 1.0, 0.0]).double(), 0.25
        ),
    },
    discussion=r"""
**For your own work.** At one false alarm in a hundred you need several hundred others before the share means
anything; give an interval. Members and others must come from one law, or the attack finds the difference of the two
sets. A plain threshold is the weakest attacker: an image that is easy for every model scores high whether it was a
member or not. A stronger one compares with models that never saw the image. So a weak attack that fails is no proof
of privacy, and a report says which attack was tried.""",
)
