"""Dividing images into two halves: by class, by content, and so that equal images never stand on both sides."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from torch import Tensor

from genlab.data.images import Images, Split


def alike(x: Tensor) -> list[list[int]]:
    """The rows of x by content: every group holds the indices of equal images."""
    groups = defaultdict(list)
    for i, row in enumerate(x.numpy()):
        groups[hashlib.sha256(row.tobytes()).digest()].append(i)
    return list(groups.values())


def check_share(test_share: float) -> None:
    if not 0 < test_share < 1:
        raise ValueError(f"test_share must lie between 0 and 1, but is {test_share}; 0.2 tests on every fifth image")


def choose_test(
    y: Tensor | None,
    groups: list[list[int]],
    keys: Sequence[str],
    *,
    test_share: float,
    seed: int,
    names: Sequence[str] = (),
) -> list[int]:
    """Indices of the test half: `test_share` of every class, at least one image, equal images together.

    Who is chosen follows from the seed and the keys (hashes of contents) alone, not from the order.

    Raises:
        ValueError: a class, or a set without classes, has fewer than two different images.
    """
    classes = defaultdict(list)
    for group in groups:  # an image that stands in several classes counts for the first of them
        classes[0 if y is None else min(int(y[i]) for i in group)].append(group)
    chosen = []
    for label in [0] if y is None else y.unique().tolist():
        own = sorted(classes[label], key=lambda group: min(_rank(keys[i], seed) for i in group))
        if len(own) < 2:
            whose = "the set" if y is None else f"class {names[label] if names else label!r}"
            raise ValueError(
                f"{whose} has {len(own)} image{'s' * (len(own) != 1)} of its own, copies not counted, and needs at "
                "least 2: one to train and one to test; add images"
                + (", or take the class away" if y is not None else "")
            )
        n = sum(map(len, own))
        goal, taken = min(n - 1, max(1, int(test_share * n + 0.5))), 0
        for group in own:
            if taken + len(group) <= goal:
                chosen += group
                taken += len(group)
        if not taken:  # even the smallest heap of copies is larger than the share
            fewest: list[int] = min(own, key=len)
            chosen += fewest
    return chosen


def halves(
    x: Tensor,
    y: Tensor | None,
    test: list[int],
    train: list[int],
    keys: Sequence[str],
    *,
    seed: int,
    names: Sequence[str],
) -> Split:
    """The split, each half in an order that follows from seed and keys."""

    def part(indices: list[int]) -> Images:
        # Read backwards, the hash is independent of who was chosen, and mixes the classes.
        order = sorted(indices, key=lambda i: (_rank(keys[i], seed)[::-1], -1 if y is None else int(y[i])))
        return Images(x[order], None if y is None else y[order])

    return Split(part(train), part(test), names)


def _rank(key: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{key}".encode()).hexdigest()
