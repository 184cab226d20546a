"""Samplers on Gaussian data, where every step is known in closed form; the likelihood along the ODE; bad input."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from genlab import densities, diffusion, samplers, train

MEAN, STD = 0.7, 0.5
NAMES = list(diffusion.PATHS)


def denoiser(path: diffusion.Path, mean: float = MEAN, std: float = STD) -> diffusion.Field:
    def of(x_t: Tensor, t: Tensor) -> Tensor:
        a, s = (diffusion.like(f(t), x_t) for f in (path.alpha, path.sigma))
        return mean + std**2 * a / (a**2 * std**2 + s**2) * (x_t - a * mean)

    return of


def field(path: diffusion.Path, mean: float = MEAN, std: float = STD) -> diffusion.Field:
    return diffusion.predictor(denoiser(path, mean, std), path=path, source="data", target="velocity")


def law(path: diffusion.Path, t: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of x_t."""
    return path.alpha(t) * MEAN, (path.alpha(t) ** 2 * STD**2 + path.sigma(t) ** 2).sqrt()


def flow(path: diffusion.Path, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """The exact map of the probability-flow ODE: it keeps the place in standard deviations."""
    (m_t, s_t), (m_s, s_s) = law(path, t), law(path, s)
    return m_s + s_s / s_t * (x - m_t)


def grid(n: int, first: float = 0.98, last: float = 0.02) -> Tensor:
    return torch.linspace(first, last, n + 1, dtype=torch.float64)


# ----------------------------------------------------------------------------------------------------------------- ODE


def order(sampler: Callable[..., Tensor], path: diffusion.Path, last: float = 0.02) -> float:
    """The slope of log error against log step, between 40 and 160 steps."""
    x = torch.tensor([[-1.3], [0.4], [2.0]], dtype=torch.float64)
    errors = []
    for n in (40, 160):
        times = grid(n, last=last)
        given = (denoiser(path), {"path": path}) if sampler is samplers.ddim else (field(path), {})
        errors.append((sampler(given[0], x, times, **given[1]) - flow(path, x, times[0], times[-1])).abs().max().item())
    return math.log(errors[0] / errors[1]) / math.log(4)


@pytest.mark.parametrize("name", NAMES)
def test_orders(name: str) -> None:
    path = diffusion.PATHS[name]()
    assert order(samplers.euler, path) == pytest.approx(1, abs=0.15)
    assert order(samplers.ddim, path) == pytest.approx(1, abs=0.15)
    assert order(samplers.heun, path) == pytest.approx(2, abs=0.2)


def test_heun_keeps_its_order_to_the_data() -> None:
    for name in ("cosine", "straight"):
        assert order(samplers.heun, diffusion.PATHS[name](), last=0.0) == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize("sampler", [samplers.euler, samplers.heun])
def test_there_and_back(sampler: Callable[..., Tensor]) -> None:
    path, x = diffusion.cosine(), torch.randn(5, 2, dtype=torch.float64)
    there = sampler(field(path), x, grid(400))
    back = sampler(field(path), there, grid(400).flip(0))
    assert torch.allclose(back, x, atol=0.02)
    assert not torch.allclose(there, x, atol=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_of_ddim_is_an_euler_step_in_other_coordinates(name: str) -> None:
    """d(x/α) = ε̂ d(σ/α) (Song et al. 2021, eq. 13)."""
    path, x, times = diffusion.PATHS[name](), torch.randn(4, 2, dtype=torch.float64), grid(1, 0.8, 0.3)
    t, s = times
    eps = diffusion.predictor(denoiser(path), path=path, source="data", target="noise")(x, t)
    ratio = [path.sigma(v) / path.alpha(v) for v in (t, s)]
    expected = path.alpha(s) * (x / path.alpha(t) + (ratio[1] - ratio[0]) * eps)
    assert torch.allclose(samplers.ddim(denoiser(path), x, times, path=path), expected)


def test_to_the_data_the_last_step_is_the_denoiser() -> None:
    path, x, times = diffusion.cosine(), torch.randn(4, 2), torch.tensor([0.4, 0.0])
    expected, noise = denoiser(path)(x, times[0]), train.Noise(0)
    assert torch.allclose(samplers.ddim(denoiser(path), x, times, path=path), expected)
    for variance in ("small", "large"):
        found = samplers.ancestral(denoiser(path), x, times, path=path, noise=noise, variance=variance)
        assert torch.allclose(found, expected)


def test_the_straight_path_of_a_point_takes_one_step() -> None:
    path, x = diffusion.straight(), torch.randn(4, 2)
    one = samplers.euler(field(path, std=0.0), x, torch.tensor([1.0, 0.0]))
    assert torch.allclose(one, torch.full_like(x, MEAN), atol=1e-6)


# ------------------------------------------------------------------------------------------------------------ the chain


def moments(path: diffusion.Path, t: Tensor, s: Tensor, eta: float, large: bool) -> tuple[Tensor, Tensor]:
    """Slope of x_s in x_t and variance that is added, for Gaussian data, derived by conditioning."""
    a_t, s_t, a_s, s_s = path.alpha(t), path.sigma(t), path.alpha(s), path.sigma(s)
    joint = torch.stack([torch.stack([s_t**2, a_t / a_s * s_s**2]), torch.stack([a_t / a_s * s_s**2, s_s**2])])
    beta_tilde = joint[1, 1] - joint[0, 1] ** 2 / joint[0, 0]  # Var(x_s | x_t, x)
    added = s_t**2 - (a_t / a_s) ** 2 * s_s**2 if large else eta**2 * beta_tilde
    kept = (s_s**2 - eta**2 * beta_tilde).sqrt() / s_t
    slope_data = STD**2 * a_t / (a_t**2 * STD**2 + s_t**2)
    return a_s * slope_data + kept * (1 - a_t * slope_data), added


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("eta", "large"), [(0.0, False), (0.5, False), (1.0, False), (1.0, True)])
def test_slope_and_variance_of_a_step(eta: float, large: bool, name: str) -> None:
    path, times, n = diffusion.PATHS[name](), grid(1, 0.7, 0.5), 40_000
    slope, added = moments(path, *times, eta, large)
    noise = train.Noise(3)

    def step(x: Tensor) -> Tensor:
        if large or eta == 1:
            kind = "large" if large else "small"
            return samplers.ancestral(denoiser(path), x, times, path=path, noise=noise, variance=kind)
        return samplers.ddim(denoiser(path), x, times, path=path, eta=eta, noise=noise)

    ones = torch.ones(n, 1, dtype=torch.float64)
    up, down = step(ones), step(-ones)
    tolerance = 4 * (added.item() / n) ** 0.5 + 1e-9
    assert ((up - down).mean() / 2 - slope).abs().item() < tolerance
    assert up.var().item() == pytest.approx(added.item(), rel=4 * (2 / n) ** 0.5, abs=1e-12)


def test_ddim_with_eta_one_is_the_reverse_chain() -> None:
    path, x, times = diffusion.vp_linear(), torch.randn(6, 3, dtype=torch.float64), grid(7)
    chain = samplers.ancestral(denoiser(path), x, times, path=path, noise=train.Noise(4))
    assert torch.allclose(samplers.ddim(denoiser(path), x, times, path=path, eta=1.0, noise=train.Noise(4)), chain)
    assert not torch.allclose(samplers.ddim(denoiser(path), x, times, path=path), chain, atol=1e-2)


def test_marginals_of_the_chain() -> None:
    """With 88 steps of the chain the marginals are those of the data, within the error of the samples, all the way."""
    path, n = diffusion.cosine(), 40_000
    times = torch.linspace(0.98, 0.1, 89, dtype=torch.float64)
    mean, std = law(path, times[0])
    x = mean + std * torch.randn(n, 1, dtype=torch.float64)
    noise = train.Noise(5)
    for i, (t, s) in enumerate(pairwise(times)):
        x = samplers.ancestral(denoiser(path), x, torch.stack([t, s]), path=path, noise=noise)
        if i % 29 == 28:
            m, sd = law(path, s)
            assert x.mean().item() == pytest.approx(m.item(), abs=5 * sd.item() / n**0.5)
            assert x.std().item() == pytest.approx(sd.item(), rel=0.03)


def test_langevin_is_biased_as_its_step_says() -> None:
    """Stationary variance v / (1 − δ/(4v)), from a start in it; the map is linear, so it is exact at every step."""
    v, size, n = 0.25, 0.3, 100_000
    stationary = v / (1 - size / (4 * v))
    x = stationary**0.5 * torch.randn(n, 1)
    x = samplers.langevin(lambda x, t: -x / v, x, torch.full((20,), 0.5), size=size, noise=train.Noise(6))
    assert x.var().item() == pytest.approx(stationary, rel=4 * (2 / n) ** 0.5)
    assert stationary > 1.4 * v


def test_nothing_is_drawn_from_the_global_stream() -> None:
    path, x = diffusion.cosine(), torch.randn(3, 2)
    state = torch.get_rng_state()
    samplers.ancestral(denoiser(path), x, torch.linspace(0.9, 0, 5), path=path, noise=train.Noise(1))
    samplers.langevin(lambda x, t: -x, x, torch.full((3,), 0.5), size=0.1, noise=train.Noise(1))
    assert torch.get_rng_state().equal(state)


# ---------------------------------------------------------------------------------------------------------- likelihood


@pytest.mark.parametrize("name", NAMES)
def test_likelihood_of_gaussian_data(name: str) -> None:
    path, x = diffusion.PATHS[name](), torch.randn(5, 3)
    x = x.double()
    times = torch.linspace(0.01, 1 if name == "vp_linear" else 0.99, 301, dtype=torch.float64)
    found, end = samplers.ode_log_prob(field(path), x, times)
    assert torch.allclose(end, flow(path, x, times[0], times[-1]), atol=2e-3)
    (m, s), (m_1, s_1) = law(path, times[0]), law(path, times[-1])
    exact = densities.log_normal(x, m, 2 * s.log())
    # What is left is the law at the last time, which is not quite N(0, I).
    known = densities.log_normal(end, m_1, 2 * s_1.log()) - densities.log_normal(end, 0 * m_1, 0 * s_1)
    assert torch.allclose(found + known, exact, atol=2e-3)


def test_a_probe_estimates_the_divergence_without_bias() -> None:
    n, mixed = 4000, torch.tensor([[1.0, 0.8], [-0.3, 0.5]], dtype=torch.float64)

    def u(x: Tensor, t: Tensor) -> Tensor:
        return -torch.tanh(x @ mixed.T)

    times = torch.linspace(0.1, 0.9, 5, dtype=torch.float64)
    x = torch.tensor([[0.3, -0.2]], dtype=torch.float64)
    exact = samplers.ode_log_prob(u, x, times)[0].item()
    rough = samplers.ode_log_prob(u, x.expand(n, 2), times, noise=train.Noise(2))[0]
    assert rough.std() > 0.01  # off the diagonal there is something to miss
    assert rough.mean().item() == pytest.approx(exact, abs=4 * rough.std().item() / n**0.5)


def test_a_linear_field_has_its_trace() -> None:
    a = torch.randn(3, 3, dtype=torch.float64) / 4
    x = torch.randn(2, 3, dtype=torch.float64)
    found, end = samplers.ode_log_prob(
        lambda x, t: x @ a.T, x, torch.linspace(0, 1, 201, dtype=torch.float64), scale=2.0
    )
    exact = (
        densities.log_normal(x @ torch.matrix_exp(a).T, torch.zeros(()), torch.tensor(2 * math.log(2.0))) + a.trace()
    )
    assert torch.allclose(found, exact, atol=1e-4)
    assert torch.allclose(end, x @ torch.matrix_exp(a).T, atol=1e-4)


# ----------------------------------------------------------------------------------------------------------- bad input


def zero(x: Tensor, t: Tensor) -> Tensor:
    return 0 * x


BAD = {
    "no step": (torch.tensor([1.0]), "two or more, for a step or more"),
    "nothing": (torch.zeros(0), r"t must hold floats in \[0, 1\]"),
    "a table": (torch.zeros(2, 2), "times must be a row"),
    "outside": (torch.tensor([1.5, 0.0]), r"ranges from 0 to 1.5"),
    "whole numbers": (torch.tensor([1000, 0]), "t must hold floats|ranges from 0 to 1000"),
    "repeated": (torch.tensor([1.0, 0.5, 0.5, 0.0]), "without repetition"),
    "unordered": (torch.tensor([1.0, 0.3, 0.6, 0.0]), "sort them"),
}
CALLS: dict[str, Callable[[Tensor], Any]] = {
    "ancestral": lambda t: samplers.ancestral(zero, X, t, path=diffusion.cosine(), noise=train.Noise(0)),
    "ddim": lambda t: samplers.ddim(zero, X, t, path=diffusion.cosine()),
    "euler": lambda t: samplers.euler(zero, X, t),
    "heun": lambda t: samplers.heun(zero, X, t),
    "likelihood": lambda t: samplers.ode_log_prob(zero, X, t),
}
X = torch.zeros(2, 3)


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("name", CALLS)
def test_bad_grids_of_times(name: str, kind: str) -> None:
    times, message = BAD[kind]
    with pytest.raises(ValueError, match=message):
        CALLS[name](times)


@pytest.mark.parametrize("name", ["ancestral", "ddim"])
def test_the_chain_goes_to_the_data_only(name: str) -> None:
    with pytest.raises(ValueError, match="times must fall, from noise to data"):
        CALLS[name](torch.tensor([0.1, 0.9]))
    with pytest.raises(ValueError, match="times must rise, from data to noise"):
        CALLS["likelihood"](torch.tensor([0.9, 0.1]))


def test_bad_options() -> None:
    times, path, noise = torch.tensor([1.0, 0.0]), diffusion.cosine(), train.Noise(0)
    with pytest.raises(ValueError, match=r'variance=.fixed. must be "small"'):
        samplers.ancestral(zero, X, times, path=path, noise=noise, variance="fixed")
    for eta in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
            samplers.ddim(zero, X, times, path=path, eta=eta, noise=noise)
    with pytest.raises(ValueError, match=r"eta=0\.5 draws noise; pass noise="):
        samplers.ddim(zero, X, times, path=path, eta=0.5)
    for size in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="must be positive and finite"):
            samplers.langevin(zero, X, times, size=size, noise=noise)
    with pytest.raises(ValueError, match="does not rise"):
        samplers.langevin(zero, X, times.flip(0), size=0.1, noise=noise)
    with pytest.raises(ValueError, match="t must hold floats"):
        samplers.langevin(zero, X, torch.zeros(0), size=0.1, noise=noise)
    for scale in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="must be positive and finite: it is σ"):
            samplers.ode_log_prob(zero, X, times.flip(0), scale=scale)


def test_what_would_be_broadcast_is_refused() -> None:
    path, noise, x = diffusion.cosine(), train.Noise(0), torch.ones(4, 1)
    times = torch.tensor([0.9, 0.5])
    calls: dict[str, Callable[[diffusion.Field], Any]] = {
        "ancestral": lambda f: samplers.ancestral(f, x, times, path=path, noise=noise),
        "ddim": lambda f: samplers.ddim(f, x, times, path=path),
        "euler": lambda f: samplers.euler(f, x, times),
        "heun": lambda f: samplers.heun(f, x, times),
        "langevin": lambda f: samplers.langevin(f, x, times, size=0.1, noise=noise),
        "likelihood": lambda f: samplers.ode_log_prob(f, x, times.flip(0)),
        "probe": lambda f: samplers.ode_log_prob(f, x, times.flip(0), noise=noise),
    }
    for call in calls.values():
        call(lambda x, t: -x)
        for squeezed in (lambda x, t: -x[:, 0], lambda x, t: -x.mean()):
            with pytest.raises(ValueError, match=r"the function returned \((4,)?\) for x \(4, 1\); it must return"):
                call(squeezed)
    with pytest.raises(ValueError, match=r"returned \(4,\)"):  # at the second look of a step, too
        samplers.heun(lambda x, t: -x if t[0] > 0.8 else -x[:, 0], x, times)


@pytest.mark.parametrize("probe", [None, 0], ids=["exact", "probe"])
def test_a_velocity_without_a_gradient_is_refused(probe: int | None) -> None:
    times, weight = torch.tensor([0.1, 0.9]), torch.ones(2, 3, requires_grad=True)

    def call(f: diffusion.Field, x: Tensor = X) -> Tensor:
        return samplers.ode_log_prob(f, x, times, noise=None if probe is None else train.Noise(probe))[0]

    constant: list[diffusion.Field] = [lambda x, t: torch.ones_like(x), lambda x, t: weight, torch.no_grad()(zero)]
    for f in constant:
        with pytest.raises(ValueError, match=r"no gradient in x: leave torch\.no_grad\(\).*let it depend on x"):
            call(f)
    with torch.inference_mode(), pytest.raises(ValueError, match="no gradient in x"):
        call(zero)
    with torch.inference_mode():
        made_there = X.clone()
    with torch.no_grad():  # alone it does no harm, nor do data that were made in inference mode
        assert call(zero, made_there).equal(call(zero))


@pytest.mark.parametrize("name", ["euler", "heun", "ddim"])
def test_bf16_keeps_the_times_apart(name: str) -> None:
    """In bf16 all times from 0.998 to 1 are one."""
    path, x = diffusion.straight(), torch.ones(2, 1, dtype=torch.bfloat16)
    times = torch.linspace(1, 0, 1001)
    assert len(times.bfloat16().unique()) < 1001
    seen: list[float] = []

    def ask(x: Tensor, t: Tensor) -> Tensor:
        assert t.dtype == torch.float32
        seen.append(t[0].item())
        return 0 * x

    sampler = getattr(samplers, name)
    out = sampler(ask, x, times, **({"path": path} if name == "ddim" else {}))
    assert out.dtype == torch.bfloat16
    assert set(seen) >= set(times[:-1].tolist())
    walked = samplers.langevin(ask, x, times, size=0.1, noise=train.Noise(0))
    chain = samplers.ancestral(ask, x, times, path=path, noise=train.Noise(0))
    assert walked.dtype == chain.dtype == torch.bfloat16
