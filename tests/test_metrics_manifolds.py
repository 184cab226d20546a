"""Neighbours and balls in blocks: exact on ties and copies, whatever the block, against sklearn, prdc, integers."""

from fractions import Fraction
from typing import Any

import numpy as np
import prdc
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

from genlab.metrics import neighbours
from genlab.metrics.manifolds import density_coverage, modes, precision_recall
from genlab.metrics.memorisation import nearest


def normal(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def lattice(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 3, (n, d), generator=torch.Generator().manual_seed(seed)).double()


def far_clusters(n: int, d: int, seed: int = 0) -> Tensor:
    """Two clusters 10⁷ apart of points 10⁻³ apart: their squares differ by less than the expansion rounds."""
    return 1e-3 * normal(n, d, seed) + 1e7 * (torch.arange(n) % 2)[:, None]


SETS: Any = {
    "normal": (normal(61, 5), 0.8 * normal(47, 5, 1)),
    "many dimensions": (normal(61, 130), normal(47, 130, 1)),
    "lattice": (lattice(61, 3), lattice(47, 3, 1)),
    "constant": (torch.full((61, 4), 1 / 3).double(), torch.full((47, 4), 1 / 3).double()),
    "copies": (normal(61, 5), normal(61, 5)[:47]),
    "far clusters": (far_clusters(61, 5), far_clusters(47, 5, 1)),
    "offset": (normal(61, 5) + 1e6, normal(47, 5, 1) + 1e6),
}


@pytest.fixture(params=SETS.values(), ids=SETS.keys())
def sets(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor]:
    return request.param


def by_differences(a: Tensor, b: Tensor) -> Tensor:
    return (a[:, None] - b).square().sum(-1).sqrt()


# ----------------------------------------------------------------------------------------------------------- neighbours


@pytest.mark.parametrize("d", [1, 3, 4, 7, 16, 33, 128, 300])
def test_a_pair_has_the_same_distance_in_whatever_company_it_is_measured(d: int) -> None:
    """Comparisons of distances with radii rest on this: equal up to the last bit, and the same both ways."""
    a, b = normal(40, d), normal(31, d, 1)
    full = neighbours.distances(a, b)
    assert torch.equal(full.T, neighbours.distances(b, a))
    i, j = torch.arange(40).repeat_interleave(31), torch.arange(31).repeat(40)
    assert torch.equal(full.flatten(), neighbours.distances(a[i][:, None], b[j][:, None]).flatten())
    assert torch.equal(full[:, :9], neighbours.distances(a[:, None], b[:9].expand(40, 9, d))[:, 0])
    torch.testing.assert_close(full, by_differences(a, b))


@pytest.mark.parametrize("k", [1, 4, 40])
def test_closest_rows_are_those_of_all_distances_sorted(sets: tuple[Tensor, Tensor], k: int) -> None:
    """By distance, then by index; 40 of 47 leave no candidates to spare."""
    a, b = sets
    distance, index = neighbours.closest(a, b, k)
    expected = neighbours.distances(a, b).sort(dim=1, stable=True)
    assert torch.equal(distance, expected.values[:, :k])
    assert torch.equal(index, expected.indices[:, :k])


def test_closest_rows_are_those_of_sklearn() -> None:
    a, b = normal(90, 20), normal(200, 20, 1)
    distance, index = neighbours.closest(a, b, 7)
    expected = NearestNeighbors(n_neighbors=7, algorithm="brute").fit(b.numpy()).kneighbors(a.numpy())
    np.testing.assert_allclose(distance, expected[0], rtol=1e-9)
    assert index.tolist() == expected[1].tolist()


def test_neighbours_are_right_where_the_expansion_of_the_square_is_not() -> None:
    a, b = far_clusters(30, 3), far_clusters(80, 3, 1)

    def square(p: list[float], q: list[float]) -> Fraction:
        return sum(((Fraction(u) - Fraction(v)) ** 2 for u, v in zip(p, q, strict=True)), Fraction(0))

    exact = [[square(p, q) for q in b.tolist()] for p in a.tolist()]
    expected = [min(range(80), key=row.__getitem__) for row in exact]
    expanded = (a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T).argmin(1)
    assert expanded.tolist() != expected
    assert nearest(a, b)[1].tolist() == expected


def test_balls_count_what_all_distances_count(sets: tuple[Tensor, Tensor]) -> None:
    a, b = sets
    own, full = neighbours.distances(a, a), neighbours.distances(a, b)
    for radius in (own.kthvalue(4, dim=1).values, full[:, 5], torch.zeros(len(a)).double()):
        found = neighbours.balls(a, b, radius)
        assert torch.equal(found.inside, (full < radius[:, None]).sum(1))
        assert torch.equal(found.surface, (full == radius[:, None]).sum(1))
        assert torch.equal(found.covered, (full <= radius[:, None]).any(0))


def everything(a: Tensor, b: Tensor) -> list[Any]:
    near, index = nearest(b, a)
    return [precision_recall(a, b), density_coverage(a, b), near.tolist(), index.tolist(), modes(a, b, 0.3)]


@pytest.mark.parametrize("block", [1, 100, 997])
def test_blocks_of_odd_sizes_change_nothing(
    sets: tuple[Tensor, Tensor], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = everything(*sets)
    monkeypatch.setattr(neighbours, "_BLOCK", block)
    assert everything(*sets) == expected


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that was made."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        made = out if isinstance(out, tuple | list) else [out]
        self.numbers = max(self.numbers, *(v.numel() for v in made if isinstance(v, Tensor)), 0)
        return out


@pytest.mark.parametrize("kind", ["normal", "lattice"])
def test_no_matrix_of_all_distances_is_held(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = (normal(1500, 4), normal(1200, 4, 1)) if kind == "normal" else (lattice(1500, 4), lattice(1200, 4, 1))
    monkeypatch.setattr(neighbours, "_BLOCK", 20_000)
    for run in (precision_recall, density_coverage, nearest):
        with Largest() as largest:
            run(a, b)
        assert 10_000 < largest.numbers <= 2 * 20_000  # nonzero gives two numbers for each pair


# ------------------------------------------------------------------------------------------------- fidelity and variety


@pytest.mark.parametrize("k", [1, 3, 7])
@pytest.mark.parametrize("d", [2, 64])
def test_scores_are_those_of_prdc_with_candidates_to_spare(d: int, k: int) -> None:
    real, fake = normal(300, d), 0.9 * normal(250, d, 1)
    expected = prdc.compute_prdc(real.numpy(), fake.numpy(), k)
    found = {**precision_recall(real, fake, k=k)._asdict(), **density_coverage(real, fake, k=k)._asdict()}
    assert found == pytest.approx({name: float(expected[name]) for name in found})
    assert found["precision"] > 0 and found["recall"] > 0


def test_on_copies_closed_balls_are_those_of_torch_fidelity_and_open_ones_those_of_prdc() -> None:
    """On a lattice, where neighbours are tied and many generated samples lie on the surfaces of balls."""
    generator = torch.Generator().manual_seed(3)
    real = torch.randint(0, 6, (60, 2), generator=generator).double()
    fake = torch.cat([real[:20] + 40, real[:20] + torch.tensor([1.0, 0.0])])
    found = precision_recall(real, fake, k=3)
    theirs = prc_features_to_metric(fake, real, prc_neighborhood=3, verbose=False)
    assert found == pytest.approx((theirs[KEY_METRIC_PRECISION], theirs[KEY_METRIC_RECALL]))
    strict = prdc.compute_prdc(real.numpy(), fake.numpy(), 3)
    assert found.precision >= strict["precision"] and found.recall > strict["recall"]
    density, coverage = density_coverage(real, fake, k=3)
    assert coverage > strict["coverage"] and density > strict["density"]


def test_each_ball_reaches_to_the_kth_other_point() -> None:
    """On a line at 0, 1, 3, 7: with k = 2 the radii are 3, 2, 3, 6, the centre itself not counted."""
    real = torch.tensor([[0.0], [1], [3], [7]])
    fake = torch.tensor([[-3.0], [13.0], [13.5], [-3.5]])
    assert precision_recall(real, fake, k=2).precision == 0.5  # both ends are on the surface, and the others beyond
    assert density_coverage(real, fake, k=2).coverage == 0.5
    # In the real set each ball has one point on its surface and two inside, with the centre; those two fill k = 2.
    assert density_coverage(real, fake, k=2).density == 0


def test_arrays_integers_and_single_precision_give_the_same_scores() -> None:
    a, b = lattice(40, 4), lattice(30, 4, 1)
    expected = everything(a, b)
    assert everything(a.numpy(), b.numpy()) == expected  # type: ignore[arg-type]
    assert everything(a.long(), b.to(torch.uint8)) == expected
    assert everything(a.float(), b.half()) == expected


def test_modes_take_the_first_of_equally_near_centres() -> None:
    centres = torch.tensor([[-1.0, 0], [1, 0], [9, 9]])
    assert modes(torch.zeros(4, 2), centres, 1.0, sigmas=1.0) == (1, 1.0)


def test_features_whose_squares_overflow_are_infinitely_far_and_never_nan() -> None:
    a, b = 1e200 * normal(30, 2), normal(25, 2, 1)
    assert nearest(a, b)[0].tolist() == [float("inf")] * 30
    assert precision_recall(b, a) == (0.0, 1.0)  # every ball around the far ones is all of space
