"""Annealed importance sampling against probabilistic PCA, whose likelihood is exact, and against quadrature."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import torch
from jaxtyping import config
from torch import Tensor, nn

from genlab.densities import log_bernoulli, log_normal
from genlab.linear import PPCA, ppca
from genlab.metrics import likelihood
from genlab.metrics.likelihood import Bound, ais, ais_upper


@pytest.fixture
def unchecked() -> Iterator[None]:
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def model(d: int = 10, q: int = 3, sigma2: float = 0.3) -> PPCA:
    return PPCA(normal(d, seed=1), normal(d, q, seed=2), torch.tensor(sigma2).double(), torch.ones(d).double())


def simulated(m: PPCA, n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    z = normal(n, m.W.shape[1], seed=10 + seed)
    return z @ m.W.T + m.mu + m.sigma2.sqrt() * normal(n, len(m.mu), seed=20 + seed), z


def log_px(m: PPCA) -> Callable[[Tensor, Tensor], Tensor]:
    constant = -0.5 * len(m.mu) * math.log(2 * math.pi * m.sigma2.item())
    return lambda x, z: constant - 0.5 * (x - m.mu - z @ m.W.T).square().sum(1) / m.sigma2


# -------------------------------------------------------------------------------------------------------- the sandwich


def test_bounds_enclose_the_exact_likelihood_of_ppca() -> None:
    m, n = model(), 80
    x, z = simulated(m, n)
    exact = m.log_prob(x)
    lower, upper = ais(log_px(m), x, 3, steps=200, leapfrog=5), ais_upper(log_px(m), x, z, steps=200, leapfrog=5)
    assert lower.value.shape == lower.error.shape == (n,) and lower.value.dtype == torch.float64
    for bound, sign in ((lower, 1), (upper, -1)):
        off = sign * (exact - bound.value)  # positive on average
        standard = off.std().item() / math.sqrt(n)
        assert -3 * standard < off.mean().item() < 0.1
        assert (off.abs() < 5 * bound.error + 0.1).double().mean() > 0.97  # each example, in its place
        assert 0.55 < bound.accepted < 0.75


def test_the_sandwich_closes_as_steps_grow() -> None:
    m = model(20, 4, 0.1)
    x, z = simulated(m, 40)
    exact, gaps = m.log_prob(x), []
    for steps in (1, 8, 40, 160):
        lower, upper = (
            bound.value for bound in (ais(log_px(m), x, 4, steps=steps), ais_upper(log_px(m), x, z, steps=steps))
        )
        gaps.append((upper - lower).mean().item())
        if steps < 160:  # where they are loose, both lie on their side
            assert lower.mean() < exact.mean() < upper.mean()
    assert gaps[0] > 100 and gaps == sorted(gaps, reverse=True) and 0 < gaps[-1] < 1


def test_more_chains_tighten_the_bound() -> None:
    m = model(20, 4, 0.1)
    x, z = simulated(m, 40)
    few, many = (
        ais_upper(log_px(m), x, z, steps=30, chains=k, leapfrog=5).value.mean()
        - ais(log_px(m), x, 4, steps=30, chains=k, leapfrog=5).value.mean()
        for k in (1, 64)
    )
    assert many < 0.6 * few


# ------------------------------------------------------------------------------- E w = p(x), and what would spoil it


def ratios(steps: int = 6) -> tuple[float, float]:
    """How many standard errors E w / p(x) and E p(x) / w lie from 1, for one x and thousands of chains."""
    m, n = model(4, 2, 0.5), 6000
    x, _ = simulated(m, 1)
    exact, many = m.log_prob(x), x.expand(n, -1)
    mean, cov = m.posterior(x)
    z = mean + normal(n, 2, seed=5) @ torch.linalg.cholesky(cov).T
    forward = (ais(log_px(m), many, 2, steps=steps, chains=1, seed=3).value - exact).exp()
    back = (exact - ais_upper(log_px(m), many, z, steps=steps, chains=1, seed=4).value).exp()
    return tuple(((w.mean() - 1) / (w.std() / math.sqrt(n))).item() for w in (forward, back))


def test_weights_average_to_the_likelihood_forwards_and_back() -> None:
    forward, back = ratios()
    assert abs(forward) < 3 and abs(back) < 3


def moved_too_early(self: Any, beta: list[float], sizes: list[Tensor]) -> tuple[Tensor, float]:
    """Weights after the move to the new temperature, which already looks at x."""
    at, log_w = self._first(), 0
    for t in range(1, len(beta) - 1):
        at, _, _ = self._move(at, beta[t], sizes[t - 1])
        log_w = log_w + (beta[t] - beta[t - 1]) * (at.log_p - at.log_q)
    return (log_w + (beta[-1] - beta[-2]) * (at.log_p - at.log_q)).view(self.chains, -1), math.nan


WRONG: dict[str, tuple[Any, str, Any]] = {
    "without Metropolis' rule": (likelihood, "_probability", torch.ones_like),
    "weights after the move": (likelihood._Chains, "forward", moved_too_early),
    "the energy of the posterior at every β": (
        likelihood,
        "_energy",
        lambda at, beta, p: 0.5 * p.square().sum(1) - at.log_p,
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_variants_are_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*WRONG[name])
    assert abs(ratios()[0]) > 5


def test_a_chain_of_exact_posteriors_is_exact() -> None:
    """With R = I the posterior of pPCA is diagonal, so a start from it leaves nothing to weigh."""
    x = normal(200, 6) * torch.tensor([3.0, 2.0, 1.0, 0.5, 0.5, 0.4])
    m = ppca(x, 2)
    mean, cov = m.posterior(x[:9])
    start = (mean, cov.diagonal().log().expand(9, 2))
    z = mean + cov.diagonal().sqrt() * normal(9, 2, seed=8)
    for steps in (1, 5):
        for bound in (
            ais(log_px(m), x[:9], 2, steps=steps, chains=3, start=start),
            ais_upper(log_px(m), x[:9], z, steps=steps, chains=3, start=start),
        ):
            torch.testing.assert_close(bound.value, m.log_prob(x[:9]), rtol=0, atol=1e-9)
            assert bound.error.max() < 1e-9


def test_a_start_near_the_posterior_is_worth_steps() -> None:
    m = model(20, 4, 0.1)
    x, _ = simulated(m, 40)
    mean, cov = m.posterior(x)
    start = (mean + 0.05, (2 * cov.diagonal()).log().expand_as(mean))
    near, far = (ais(log_px(m), x, 4, steps=30, start=s).value.mean() for s in (start, None))
    assert m.log_prob(x).mean() - 0.2 < near and far < near - 1


# ---------------------------------------------------------------------------------------- an independent implementation


def test_against_quadrature_where_the_decoder_is_not_linear() -> None:
    weight, x = normal(6, seed=4) * 3, torch.tensor([[1.0, 0, 1, 1, 0, 0], [0, 0, 0, 1, 1, 1]]).double()

    def log_likelihood(x: Tensor, z: Tensor) -> Tensor:
        return log_bernoulli(x, torch.sin(2 * z) * weight + z.square())

    def density(z: float, row: Tensor) -> float:
        at = torch.tensor([[z]]).double()
        return math.exp(log_likelihood(row[None], at).item() - 0.5 * z * z) / math.sqrt(2 * math.pi)

    exact = torch.tensor([math.log(scipy.integrate.quad(density, -9, 9, args=(row,), limit=400)[0]) for row in x])
    for start in (None, (torch.full((2, 1), 0.3), torch.full((2, 1), -0.5))):
        found = ais(log_likelihood, x, 1, steps=60, chains=400, leapfrog=5, start=start)
        assert ((found.value - exact).abs() < 4 * found.error).all() and found.error.max() < 0.05


# ------------------------------------------------------------------------------------------------- errors and the rest


def test_the_error_is_that_of_other_seeds() -> None:
    m = model(5, 2, 0.5)
    x, _ = simulated(m, 1)
    many = ais(log_px(m), x.expand(400, -1), 2, steps=60)
    assert 0.8 < many.error.mean() / many.value.std() < 1.25
    alone = ais(log_px(m), x, 2, steps=60, chains=1)
    assert alone.error.isnan().all() and alone.value.isfinite().all()


def test_step_sizes_are_found_for_wide_and_for_narrow_posteriors(monkeypatch: pytest.MonkeyPatch) -> None:
    models = [model(12, 2, sigma2) for sigma2 in (1.0, 0.001)]
    for m in models:
        assert 0.5 < ais(log_px(m), simulated(m, 10)[0], 2, steps=100, chains=4, leapfrog=5).accepted < 0.8
    monkeypatch.setattr(likelihood, "LEARNING", 0.0)
    assert ais(log_px(m), simulated(m, 10)[0], 2, steps=100, chains=4, leapfrog=5).accepted < 0.5
    assert math.isnan(ais(log_px(m), simulated(m, 10)[0], 2, steps=1).accepted)


def test_every_example_has_step_sizes_of_its_own() -> None:
    """One posterior is a hundred times as narrow: log p(x|z) = −½ x |z|², log p(x) = −log (1 + x) for d = 2."""
    x, nought = torch.tensor([0.1, 1e4]).double(), torch.zeros(2, 2).double()

    def steep(x: Tensor, z: Tensor) -> Tensor:
        return -0.5 * x * z.square().sum(1)

    pilots = likelihood._Chains(steep, x, (nought, nought), 4, 5, torch.Generator().manual_seed(0))
    wide, narrow = pilots.sizes(torch.linspace(0, 1, 101).pow(4).tolist())[-1].tolist()
    assert 30 < wide / narrow < 300
    found = ais(steep, x, 2, steps=100, chains=100, leapfrog=5)
    assert ((found.value + torch.log1p(x)).abs() < 4 * found.error).all() and found.error.max() < 0.3


@pytest.mark.parametrize("rows", [6, 20])
def test_blocks_keep_examples_in_their_places(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    m = model(4, 2, 1.0)
    x, z = simulated(m, 7)
    exact = m.log_prob(x)
    monkeypatch.setattr(likelihood, "ROWS", rows)
    lower = ais(log_px(m), x, 2, steps=30, chains=6, leapfrog=5)
    upper = ais_upper(log_px(m), x, z, steps=30, chains=6, leapfrog=5)
    assert lower.value.shape == (7,) and exact.std() > 1
    assert (lower.value - exact).abs().max() < 2 and (upper.value - exact).abs().max() < 2


def test_seeds_decide_and_nothing_else_is_touched() -> None:
    m = model()
    x, z = simulated(m, 5)
    before, held = torch.get_rng_state(), (x.clone(), z.clone())
    layer = nn.Linear(3, 10).double()
    random = torch.get_rng_state()

    def ask(seed: int) -> tuple[Bound, Bound]:
        def decoded(x: Tensor, z: Tensor) -> Tensor:
            return log_normal(x, layer(z), torch.zeros(()).double())

        return ais(decoded, x, 3, steps=9, seed=seed), ais_upper(decoded, x, z, steps=9, seed=seed)

    for one, again, other in zip(ask(0), ask(0), ask(1), strict=True):
        assert torch.equal(one.value, again.value) and (one.value != other.value).all()
    assert torch.equal(torch.get_rng_state(), random) and not torch.equal(random, before)
    assert torch.equal(x, held[0]) and torch.equal(z, held[1]) and layer.weight.grad is None


def test_no_grad_around_the_call_changes_nothing() -> None:
    m = model()
    x, _ = simulated(m, 5)
    with torch.no_grad():
        inside = ais(log_px(m), x, 3, steps=9)
    assert torch.equal(inside.value, ais(log_px(m), x, 3, steps=9).value)


def test_arrays_bytes_and_decoders_in_single_precision() -> None:
    m = model()
    x, z = simulated(m, 5)
    mine = ais_upper(log_px(m), x, z, steps=9)
    assert torch.equal(ais_upper(log_px(m), x.numpy(), z.numpy(), steps=9).value, mine.value)
    pixels, layer = torch.randint(0, 2, (4, 1, 3, 3), dtype=torch.uint8), nn.Linear(2, 9)

    def single(x: Tensor, z: Tensor) -> Tensor:
        return log_bernoulli(x.flatten(1).float(), layer(z.float()))

    found = ais(single, pixels, 2, steps=20)
    double = nn.Linear(2, 9).double()
    double.load_state_dict(layer.state_dict())
    same = ais(lambda x, z: log_bernoulli(x.flatten(1).double(), double(z)), pixels.numpy(), 2, steps=20)
    assert found.value.dtype == torch.float64
    torch.testing.assert_close(found.value, same.value, rtol=0, atol=0.2)
    with pytest.raises(ValueError, match=r"cannot take z in float64.*z\.float\(\)"):
        ais(lambda x, z: log_bernoulli(x.flatten(1).float(), layer(z)), pixels, 2)


# ------------------------------------------------------------------------------------------------------------ refusals


def test_paths_that_run_to_infinity_are_refused_one_by_one() -> None:
    def steep(x: Tensor, z: Tensor) -> Tensor:
        return -(z**8).sum(1) * 1e3 - x.sum(1)

    found = ais(steep, torch.zeros(3, 1), 2, steps=40)
    assert found.value.isfinite().all() and found.accepted > 0.3


@pytest.mark.parametrize("name", ["steps", "chains", "leapfrog"])
def test_counts_below_one_are_refused(name: str) -> None:
    m = model()
    x, z = simulated(m, 2)
    counts: Any = {name: 0}
    with pytest.raises(ValueError, match=f"{name}=0 must be at least 1"):
        ais(log_px(m), x, 3, **counts)
    with pytest.raises(ValueError, match=f"{name}=0 must be at least 1"):
        ais_upper(log_px(m), x, z, **counts)


def test_examples_latents_and_starts_that_do_not_fit_are_refused(unchecked: None) -> None:
    m = model()
    x, z = simulated(m, 4)
    ask: Any = log_px(m)
    for bad, words in (
        (x[:0], "n at least 1"),
        (x[0, 0], "n at least 1"),
        (x / 0, "NaN or infinite"),
        ("x", "NumPy array"),
    ):
        with pytest.raises(ValueError, match=words):
            ais(ask, bad, 3)
    for bad in (z[:3], z[0], z / 0 * 0):
        with pytest.raises(ValueError, match=r"z must be finite and \(4, d\)"):
            ais_upper(ask, x, bad)
    with pytest.raises(ValueError, match="d=0 must be at least 1"):
        ais(ask, x, 0)
    for start in ((z, z[:, :2]), (z[:3], z[:3]), (z, z / 0)):
        with pytest.raises(ValueError, match=r"start must be finite means and log-variances, both \(4, 3\)"):
            ais(ask, x, 3, start=start)


def test_likelihoods_that_cannot_be_used_are_refused(unchecked: None) -> None:
    m = model()
    x, _ = simulated(m, 4)
    ask: Any = log_px(m)
    refused: list[tuple[Any, str]] = [
        (lambda x, z: ask(x, z).mean(), r"one value a row, \(16,\), but gave \(\); sum over pixels"),
        (lambda x, z: ask(x, z)[:, None], r"one value a row, \(16,\), but gave \(16, 1\)"),
        (lambda x, z: 0.0, "but gave float"),
        (lambda x, z: ask(x, z.detach()), "no gradient in z"),
        (lambda x, z: ask(x, z) / 0, "NaN or infinite where chains start"),
        (lambda x, z: ask(x, z).log(), "NaN or infinite where chains start"),
    ]
    for wrong, words in refused:
        with pytest.raises(ValueError, match=words):
            ais(wrong, x, 3)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):  # the model's own, as it is
        ais(ask, x, 2)
    assert isinstance(ais(ask, np.asarray(x), 3, steps=2), Bound)
