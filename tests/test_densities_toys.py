"""Toy distributions against scipy and torch.distributions: densities, samples, and what is refused."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from genlab import densities

MIXTURES = [name for name in densities.TOYS if name != "checkerboard"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", densities.TOYS)
def test_densities_integrate_to_one(name: str) -> None:
    # For Gaussians wider than the step a Riemann sum is exact to e^(−2π² · 1.5²); the board's fields hold whole cells.
    step = 1 / 32 if name in ("grid", "checkerboard") else 1 / 24
    line = torch.arange(-4, 4, step, dtype=torch.float64) + step / 2
    log_p = densities.toy(name).log_prob(torch.cartesian_prod(line, line))
    assert log_p.dtype == torch.float64
    assert (log_p.exp().sum() * step**2).item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", MIXTURES)
def test_mixture_log_prob_is_that_of_torch_distributions(name: str) -> None:
    toy = densities.toy(name)
    assert isinstance(toy, densities.Mixture)
    means = toy.means.double()
    reference = MixtureSameFamily(
        Categorical(probs=toy.weights.double()), Independent(Normal(means, torch.tensor(toy.std).double()), 1)
    )
    x = 2 * torch.randn(200, 2, dtype=torch.float64)
    torch.testing.assert_close(toy.log_prob(x), reference.log_prob(x), rtol=1e-6, atol=1e-6)


def test_mixture_with_weights_in_one_and_three_dimensions() -> None:
    p = densities.mixture([-2.0, 1.0], 0.5, [3, 1])
    x = torch.linspace(-4, 4, 50, dtype=torch.float64)[:, None]
    expected = 0.75 * scipy.stats.norm.pdf(x, -2, 0.5) + 0.25 * scipy.stats.norm.pdf(x, 1, 0.5)
    np.testing.assert_allclose(p.log_prob(x).exp(), expected[:, 0], rtol=1e-6)
    assert p.weights.tolist() == [0.75, 0.25]
    q = densities.mixture([[1.0, 2.0, 3.0]], 2.0)
    y = torch.randn(7, 3, dtype=torch.float64)
    expected = scipy.stats.multivariate_normal.logpdf(y, [1, 2, 3], 4 * np.eye(3))
    np.testing.assert_allclose(q.log_prob(y), expected, rtol=1e-7)


def test_log_prob_far_away_is_finite_and_differentiable() -> None:
    x = torch.full((1, 2), 1e3, requires_grad=True)
    log_p = densities.ring().log_prob(x)
    log_p.sum().backward()
    assert log_p.isfinite().all() and x.grad is not None and x.grad.isfinite().all()


@pytest.mark.parametrize("name", MIXTURES)
@pytest.mark.parametrize("angle", [0.0, 0.7, math.pi / 2])
def test_mixture_samples_follow_the_density(name: str, angle: float) -> None:
    """Every projection of the mixture is a 1-D mixture whose distribution function scipy knows."""
    toy = densities.toy(name)
    assert isinstance(toy, densities.Mixture)
    direction = torch.tensor([math.cos(angle), math.sin(angle)])
    centres, weights = (toy.means @ direction).double().numpy(), toy.weights.double().numpy()

    def cdf(t: np.ndarray) -> np.ndarray:
        return scipy.stats.norm.cdf((np.asarray(t)[:, None] - centres) / toy.std) @ weights

    x = (toy.sample(4000, generator=generator(3)) @ direction).double().numpy()
    assert scipy.stats.kstest(x, cdf).pvalue > 1e-3


def test_samples_of_a_weighted_mixture_visit_components_by_weight() -> None:
    p = densities.mixture([[-5.0, 0.0], [0.0, 0.0], [5.0, 0.0]], 0.1, [1, 2, 7])
    x = p.sample(5000, generator=generator())
    counts = [(x[:, 0].sub(m).abs() < 1).sum().item() for m in (-5, 0, 5)]
    assert sum(counts) == 5000
    assert scipy.stats.chisquare(counts, [500, 1000, 3500]).pvalue > 1e-3


def test_checkerboard_samples_and_density_agree() -> None:
    board = densities.Checkerboard()
    x = board.sample(8000, generator=generator())
    torch.testing.assert_close(board.log_prob(x), torch.full((8000,), -math.log(8)))
    field = (x + 2).floor().long()
    counts = torch.zeros(4, 4).index_put((field[:, 0], field[:, 1]), torch.ones(8000), accumulate=True)
    dark = torch.tensor([[(i + j) % 2 == 0 for j in range(4)] for i in range(4)])
    assert (counts[~dark] == 0).all()
    assert scipy.stats.chisquare(counts[dark].numpy()).pvalue > 1e-3
    assert scipy.stats.kstest((x - x.floor()).flatten().numpy(), "uniform").pvalue > 1e-3


def test_checkerboard_density_on_dark_fields_on_light_ones_and_outside() -> None:
    points = torch.tensor([[-3.0, -3.0], [-3.0, -1.0], [1.0, -1.0], [5.0, 5.0], [-5.0, -3.0], [4.0, 0.0]]).double()
    log_p = densities.Checkerboard(side=8.0).log_prob(points)
    assert log_p.tolist() == [pytest.approx(-math.log(32), abs=1e-14)] + [-math.inf] * 5  # exact in float64


@pytest.mark.parametrize("side", [4.0, 3.3, 0.7, 1000.0])
@pytest.mark.parametrize("drawn", [0.0, 1 - 2**-24], ids=["least", "largest"])
def test_checkerboard_never_draws_a_point_of_density_zero(
    monkeypatch: pytest.MonkeyPatch, side: float, drawn: float
) -> None:
    """`torch.rand` gives multiples of 2^−24. In float32 3 + (1 − 2^−24) is 4, an edge: one point in five million."""
    monkeypatch.setattr(torch, "rand", lambda *size, generator: torch.full(size, drawn))
    board = densities.Checkerboard(side)
    assert board.log_prob(board.sample(200, generator=generator())).isfinite().all()


@pytest.mark.parametrize("name", densities.TOYS)
def test_toys_are_reproducible(name: str) -> None:
    toy = densities.toy(name)
    one, two, other = (toy.sample(50, generator=generator(seed)) for seed in (1, 1, 2))
    assert one.shape == (50, 2) and torch.equal(one, two) and not torch.equal(one, other)
    before = torch.get_rng_state()
    toy.sample(5, generator=generator())
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(toy.sample(50), toy.sample(50))


def test_geometry_of_the_toys() -> None:
    ring = densities.ring(5, radius=3.0).means
    torch.testing.assert_close(ring.norm(dim=1), torch.full((5,), 3.0))
    torch.testing.assert_close(ring.mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    assert {(round(a, 3), round(b, 3)) for a, b in densities.grid(3, spacing=2.0).means.tolist()} == {
        (a, b) for a in (-2, 0, 2) for b in (-2, 0, 2)
    }
    assert len(densities.moons(k=40).means) == 40 and len(densities.spirals(k=30).means) == 30
    arm = densities.spirals(k=30).means
    torch.testing.assert_close(arm[:15], -arm[15:])  # point symmetric
    torch.testing.assert_close(densities.moons().means.mean(0), torch.zeros(2), atol=0.05, rtol=0)


@pytest.mark.parametrize(
    ("means", "std", "weights"),
    [
        ([0.0, 1.0], 0.0, None),
        ([0.0, 1.0], -1.0, None),
        ([0.0, 1.0], 1.0, [1, -1]),
        ([0.0, 1.0], 1.0, [1, 0]),
        ([0.0, 1.0], 1.0, [1, 1, 1]),
        (torch.zeros(2, 2, 2), 1.0, None),
    ],
)
def test_mixture_rejects_what_is_no_mixture(means: Any, std: float, weights: Any) -> None:
    with pytest.raises(ValueError, match="mixture needs"):
        densities.mixture(means, std, weights)


def test_unknown_toy_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"'rings'.*ring, grid, moons, spirals, checkerboard"):
        densities.toy("rings")
