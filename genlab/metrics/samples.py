"""Two-sample tests: can anything tell generated samples from real ones? Source: Lopez-Paz and Oquab 2017.

Both tests draw as many samples from the larger set as the smaller one has, so that ½ is the accuracy of a guess.
"""

import warnings
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from genlab.metrics.features import Features, Other, pair
from genlab.metrics.neighbours import closest


class TwoSample(NamedTuple):
    """Share of samples told right: of all, of the real, of the generated ones; and how likely that is by chance."""

    accuracy: float
    real: float
    fake: float
    p: float


def neighbour_test(x: Features, y: Other, *, permutations: int = 999, seed: int = 0) -> TwoSample:
    """Leave-one-out accuracy of the nearest other sample: is it real or generated, as the sample itself is?

    For equal laws (n − 1) / (2n − 1), a little below ½; towards 1 for laws apart, towards 0 for copies of x, whose
    nearest other is their copy. On real samples alone, a low value means that generated ones lie among them; on
    generated ones alone, a high value means that they crowd together (Xu et al. 2018).

    Neighbours depend on each other, so the binomial law does not hold. p is from permutations of the labels, which the
    neighbours do not depend on: exact, two-sided (copies are found as well), and never below 2 / (permutations + 1).
    Equal distances are decided by a random order.
    Source: Lopez-Paz and Oquab 2017, section 3; Schilling 1986 for the test.

    Args:
        x: real features.
        y: generated ones.
        permutations: of the labels.
        seed: of the choice among the larger set, the order and the permutations.

    Raises:
        ValueError: as in `frechet_distance`, or no permutations.
    """
    if permutations < 1:
        raise ValueError(f"permutations={permutations} must be 1 or more; 999 give p to a thousandth")
    generator = torch.Generator().manual_seed(seed)
    a, b = _equal_numbers(*pair(x, y), generator)
    n = len(a)
    order = torch.randperm(2 * n, generator=generator)
    pool, labels = torch.cat([a, b])[order.to(a.device)], order < n  # True: real
    other = _nearest_other(pool).cpu()
    right = labels[other] == labels
    shuffled = (labels[torch.randperm(2 * n, generator=generator)] for _ in range(permutations))
    chance = torch.tensor([int((v[other] == v).sum()) for v in shuffled])
    low, high = ((1 + int(tail.sum())) / (permutations + 1) for tail in (chance <= right.sum(), chance >= right.sum()))
    return TwoSample(_share(right), _share(right[labels]), _share(right[~labels]), min(1.0, 2 * min(low, high)))


def _nearest_other(x: Tensor) -> Tensor:
    """Index of each row's nearest other row; the first among equals."""
    index = closest(x, x, 2)[1]
    own = index[:, 0] == torch.arange(len(x), device=x.device)
    return torch.where(own, index[:, 1], index[:, 0])


def classifier_test(x: Features, y: Other, *, kind: Literal["neural", "linear"] = "neural", seed: int = 0) -> TwoSample:
    """Accuracy, on the held-out half of both sets, of a classifier trained on the other half.

    "neural" has one layer of 20 units as in the paper, but takes at most 100 steps of L-BFGS on all samples at once:
    a hundred epochs of Adam learn nothing from some hundred samples. "linear" is logistic regression, which is better
    for a small shift in many dimensions and sees nothing but shifts. Features are standardised by the training half.

    p is from the exact binomial law with ½, one-sided: a classifier that is worse than chance has found nothing. The
    held-out samples are independent, as many of each kind; if it says "generated" with a probability q, the real ones
    are right with 1 − q and the generated ones with q, and such a sum spreads less than the binomial (Hoeffding 1956).
    So p errs to the safe side. Unlike neighbours, it does not notice copies of x.
    Source: Lopez-Paz and Oquab 2017, section 2.

    Args:
        x: real features.
        y: generated ones.
        kind: of classifier.
        seed: of the choice among the larger set, the halves and the classifier.

    Raises:
        ValueError: as in `frechet_distance` but with at least four rows, or an unknown kind.
    """
    from scipy.stats import binomtest  # takes a second to import, as scikit-learn does
    from sklearn.exceptions import ConvergenceWarning

    generator = torch.Generator().manual_seed(seed)
    a, b = (v.cpu() for v in _equal_numbers(*pair(x, y, least=4), generator))
    half = len(a) // 2
    model = _classifier(kind, seed)
    labels = torch.arange(2 * half) >= half  # True: generated
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 100 steps are the setting, not a failure
        model.fit(torch.cat([a[:half], b[:half]]).numpy(), labels.numpy())
    real, fake = (torch.from_numpy(model.predict(v[half:].numpy())) for v in (a, b))
    right = torch.cat([~real, fake])
    p = binomtest(int(right.sum()), len(right), 0.5, alternative="greater").pvalue
    return TwoSample(_share(right), _share(~real), _share(fake), float(p))


def _classifier(kind: str, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if kind == "linear":
        last: Any = LogisticRegression(max_iter=1000)
    elif kind == "neural":
        last = MLPClassifier((20,), solver="lbfgs", alpha=1.0, max_iter=100, random_state=seed)
    else:
        raise ValueError(f"unknown kind {kind!r} of classifier; choose 'neural' or 'linear'")
    return make_pipeline(StandardScaler(), last)


def _equal_numbers(a: Tensor, b: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rows of both in random order, as many of each: sets are often sorted, and halves must be alike."""
    n = min(len(a), len(b))
    a, b = (v[torch.randperm(len(v), generator=generator)[:n].to(v.device)] for v in (a, b))
    return a, b


def _share(right: Tensor) -> float:
    return right.double().mean().item()
