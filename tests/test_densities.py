"""Likelihoods and divergences against torch.distributions, scipy and quadrature; what their doors refuse."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from torch import Tensor
from torch.distributions import Bernoulli, ContinuousBernoulli, Normal, kl_divergence

from genlab import densities
from tests.helpers import unchecked, within_errors

# -------------------------------------------------------------------------------------------------------- likelihoods


def test_log_normal_is_that_of_torch_distributions() -> None:
    x, mu, logvar = torch.randn(3, 4, 2, 3, 3, dtype=torch.float64)
    expected = Normal(mu, torch.exp(0.5 * logvar)).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(densities.log_normal(x, mu, logvar), expected)
    scalar = Normal(torch.tensor(0.3).double(), math.exp(0.2)).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(densities.log_normal(x, torch.tensor(0.3), torch.tensor(0.4)), scalar)


def test_log_bernoulli_is_that_of_torch_distributions() -> None:
    x, logits = torch.rand(5, 1, 4, 4).round(), 5 * torch.randn(5, 1, 4, 4)
    torch.testing.assert_close(densities.log_bernoulli(x, logits), Bernoulli(logits=logits).log_prob(x).sum((1, 2, 3)))


def test_log_bernoulli_keeps_value_and_gradient_at_extreme_logits() -> None:
    x = torch.tensor([[0.0], [1.0], [0.0], [1.0]])
    logits = torch.tensor([[1e4], [1e4], [-1e4], [-1e4]], requires_grad=True)
    value = densities.log_bernoulli(x, logits)
    assert value.tolist() == [-1e4, 0, 0, -1e4]
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    torch.testing.assert_close(gradient, x - torch.sigmoid(logits))


CB_LOGITS = [-40.0, -3.0, -0.2, -0.0501, -0.0499, -0.001, 0.0, 0.003, 0.049, 0.051, 1.0, 15.0]


@pytest.mark.parametrize("logit", CB_LOGITS)
def test_continuous_bernoulli_integrates_to_one_and_has_its_mean(logit: float) -> None:
    a = torch.tensor([[logit]], dtype=torch.float64)

    def density(x: float) -> float:
        return densities.log_continuous_bernoulli(torch.full_like(a, x), a).exp().item()

    assert scipy.integrate.quad(density, 0, 1)[0] == pytest.approx(1, abs=5e-8)
    mean = scipy.integrate.quad(lambda x: x * density(x), 0, 1)[0]
    assert densities.LIKELIHOODS["continuous_bernoulli"].mean(a).item() == pytest.approx(mean, abs=3e-7)


def test_continuous_bernoulli_is_that_of_torch_distributions() -> None:
    logits = torch.cat([torch.linspace(-15, 15, 301), torch.linspace(-0.06, 0.06, 201)]).double()[:, None]
    x = torch.rand(len(logits), 1, dtype=torch.float64)
    # torch's own series around λ = ½ replaces λ in (0.499, 0.501) only
    reference = ContinuousBernoulli(logits=logits)
    torch.testing.assert_close(
        densities.log_continuous_bernoulli(x, logits), reference.log_prob(x)[:, 0], rtol=1e-8, atol=5e-8
    )
    torch.testing.assert_close(
        densities.LIKELIHOODS["continuous_bernoulli"].mean(logits), reference.mean, rtol=1e-7, atol=3e-7
    )


def test_continuous_bernoulli_in_float32_is_finite_and_close_to_float64() -> None:
    logits = torch.tensor([-1e4, -88.0, -0.05, -1e-3, 0.0, 1e-30, 0.05, 0.0501, 88.0, 1e4])[:, None].requires_grad_()
    x = torch.linspace(0, 1, 10)[:, None]
    value = densities.log_continuous_bernoulli(x, logits)
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    torch.testing.assert_close(value, densities.log_continuous_bernoulli(x.double(), logits.double()).float())
    assert gradient.isfinite().all() and gradient[4] == x[4] - 0.5
    mean = densities.LIKELIHOODS["continuous_bernoulli"].mean(logits)
    assert mean.isfinite().all() and ((mean >= 0) & (mean <= 1)).all()
    torch.testing.assert_close(mean, densities.LIKELIHOODS["continuous_bernoulli"].mean(logits.double()).float())


@pytest.mark.parametrize("bins", [2, 16, 256])
@pytest.mark.parametrize("mean", [-0.4, 0.0, 0.31, 0.5, 1.0, 2.5])
@pytest.mark.parametrize("log_scale", [-6.0, -3.0, 0.0, 3.0])
def test_discretised_logistic_sums_to_one_over_the_bins(bins: int, mean: float, log_scale: float) -> None:
    x = torch.linspace(0, 1, bins, dtype=torch.float64)[:, None]
    parameters = torch.full_like(x, mean), torch.full_like(x, log_scale)
    log_p = densities.log_discretised_logistic(x, *parameters, bins=bins)
    assert torch.logsumexp(log_p, 0).item() == pytest.approx(0, abs=1e-10)


def test_discretised_logistic_is_the_difference_of_scipys_distribution_function() -> None:
    x = torch.arange(256).double()[:, None] / 255
    log_p = densities.log_discretised_logistic(x, torch.full_like(x, 0.42), torch.full_like(x, -2.0))
    edges = np.concatenate([[-np.inf], (np.arange(255) + 0.5) / 255, [np.inf]])
    expected = np.diff(scipy.stats.logistic.cdf(edges, 0.42, np.exp(-2)))
    np.testing.assert_allclose(log_p.exp(), expected, rtol=1e-10)


def test_discretised_logistic_stays_finite_in_the_tails() -> None:
    """At scale e⁻⁷ and distance 1, F(upper) and F(lower) are both 0 or 1 in float32; their difference is e⁻¹⁰⁹¹."""
    x = torch.tensor([0.0, 1 / 255, 128 / 255, 254 / 255, 1.0])[:, None]
    for centre in (0.0, 1.0):
        mean = torch.full_like(x, centre, requires_grad=True)
        log_scale = torch.full_like(x, -7.0, requires_grad=True)
        value = densities.log_discretised_logistic(x, mean, log_scale)
        exact = densities.log_discretised_logistic(x.double(), mean.double(), log_scale.double())
        torch.testing.assert_close(value, exact.float(), rtol=1e-4, atol=1e-4)
        for gradient in torch.autograd.grad(value.sum(), (mean, log_scale)):
            assert gradient.isfinite().all()
    assert densities.log_discretised_logistic(x, 0 * x, 0 * x + 20).isfinite().all()  # and when the scale is huge


@pytest.mark.parametrize(("name", "density"), [("learned_gaussian", densities.log_normal), ("logistic", None)])
def test_two_headed_likelihoods_split_the_channels(name: str, density: Callable[..., Tensor] | None) -> None:
    p = densities.find_likelihood(name)
    x, location, spread = torch.rand(4, 3, 2, 2), torch.rand(4, 3, 2, 2), torch.randn(4, 3, 2, 2)
    x = (x * 255).round() / 255
    out = torch.cat([location, spread], 1)
    assert p.channels == 2
    assert torch.equal(p.mean(out), location)
    expected = (density or densities.log_discretised_logistic)(x, location, spread)
    assert torch.equal(p.log_prob(x, out), expected)


def test_fixed_gaussian_keeps_its_constants() -> None:
    x, out = torch.rand(2, 4, 1, 3, 3)
    for sigma in (0.1, 0.7):
        expected = Normal(out, sigma).log_prob(x).sum((1, 2, 3))
        torch.testing.assert_close(densities.gaussian(sigma).log_prob(x, out), expected)
    assert densities.gaussian(0.7).mean(out) is out
    torch.testing.assert_close(
        densities.LIKELIHOODS["gaussian"].log_prob(x, out), densities.gaussian(0.1).log_prob(x, out)
    )
    torch.testing.assert_close(densities.LIKELIHOODS["bernoulli"].mean(out), torch.sigmoid(out))


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan])
def test_gaussian_without_width_is_refused(sigma: float) -> None:
    with pytest.raises(ValueError, match=f"sigma={sigma} must be positive"):
        densities.gaussian(sigma)


def test_an_unknown_likelihood_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"unknown likelihood 'poisson'; known are bernoulli, gaussian"):
        densities.find_likelihood("poisson")


# ---------------------------------------------------------------------------------------------------------- divergences


def test_kl_is_that_of_torch_distributions() -> None:
    mu, logvar, mu_p, logvar_p = torch.randn(4, 6, 3, dtype=torch.float64)
    q, p = Normal(mu, torch.exp(0.5 * logvar)), Normal(mu_p, torch.exp(0.5 * logvar_p))
    standard = Normal(torch.zeros_like(mu), torch.ones_like(mu))
    torch.testing.assert_close(densities.kl_normal(mu, logvar), kl_divergence(q, standard).sum(1))
    torch.testing.assert_close(densities.kl_normal(mu, logvar, mu_p, logvar_p), kl_divergence(q, p).sum(1))
    torch.testing.assert_close(densities.kl_per_dimension(mu, logvar), kl_divergence(q, standard))
    torch.testing.assert_close(densities.kl_per_dimension(mu, logvar, mu_p, logvar_p), kl_divergence(q, p))
    assert densities.kl_normal(mu, logvar, mu, logvar).tolist() == [0.0] * 6


def test_kl_to_half_a_prior_is_refused() -> None:
    mu = torch.zeros(2, 3)
    for half in ({"mu_p": mu}, {"logvar_p": mu}):
        with pytest.raises(ValueError, match="give both, or neither"):
            densities.kl_normal(mu, mu, **half)


def test_kl_of_collapsed_dimensions_is_exact_in_float32() -> None:
    """½ (e^r − 1 − r) ≈ r²/4 is far below the rounding error of e^r; it must be neither lost nor negative."""
    mu, logvar = torch.zeros(400, 1), torch.linspace(-1e-3, 1e-3, 400)[:, None]
    exact = kl_divergence(Normal(mu.double(), torch.exp(0.5 * logvar.double())), Normal(0.0, 1.0))
    for kl in (
        densities.kl_per_dimension(mu, logvar),
        densities.kl_per_dimension(mu, 1 + logvar, mu, torch.ones_like(mu)),
    ):
        assert (kl >= 0).all()
    torch.testing.assert_close(densities.kl_per_dimension(mu, logvar).double(), exact, rtol=1e-3, atol=1e-10)


def test_sampled_kl_averages_to_the_closed_form() -> None:
    n = 100_000
    mu, logvar = (torch.tensor(v).double().expand(n, 3) for v in ([0.5, -1.0, 2.0], [-1.0, 0.3, 0.0]))
    z = mu + torch.exp(0.5 * logvar) * torch.randn(n, 3, dtype=torch.float64)
    samples = densities.kl_sampled(z, mu, logvar)
    within_errors(samples, densities.kl_normal(mu, logvar)[0])
    q, p = Normal(mu, torch.exp(0.5 * logvar)), Normal(torch.zeros_like(mu), 1.0)
    torch.testing.assert_close(samples, (q.log_prob(z) - p.log_prob(z)).sum(1))


# --------------------------------------------------------------------------------------------------------------- doors

IMAGES = torch.rand(8, 1, 28, 28)
DENSITIES = {
    "normal": lambda x, other: densities.log_normal(x, other, torch.tensor(0.0)),
    "normal, logvar": lambda x, other: densities.log_normal(x, torch.tensor(0.0), other),
    "bernoulli": densities.log_bernoulli,
    "continuous": densities.log_continuous_bernoulli,
    "logistic": lambda x, other: densities.log_discretised_logistic(x, other, x),
    "gaussian": densities.gaussian(0.5).log_prob,
    "kl": lambda x, other: densities.kl_normal(x.flatten(1), other),
    "kl, prior": lambda x, other: densities.kl_normal(x.flatten(1), x.flatten(1), other, x.flatten(1)),
    "sampled kl": lambda x, other: densities.kl_sampled(x.flatten(1), x.flatten(1), other),
}


@pytest.mark.parametrize("name", DENSITIES)
@pytest.mark.parametrize("shape", [(8, 28, 28), (28, 28), (1, 1, 28, 28), (8, 1, 28, 1), (8,), (1, 784), (8, 1)])
def test_shapes_that_would_broadcast_are_refused_in_words(name: str, shape: tuple[int, ...]) -> None:
    with unchecked(), pytest.raises(ValueError, match="shape") as caught:
        DENSITIES[name](IMAGES, torch.zeros(shape))
    assert str(shape) in str(caught.value) and "view_as, expand_as or squeeze" in str(caught.value)


def test_numbers_for_all_pixels_are_0d() -> None:
    with unchecked():
        value = densities.log_normal(IMAGES, torch.tensor(0.2), torch.tensor(-1.0))
        same = densities.log_normal(IMAGES, torch.full_like(IMAGES, 0.2), torch.full_like(IMAGES, -1.0))
        torch.testing.assert_close(value, same)
        with pytest.raises(ValueError, match=r"logits has shape \(\), but x has \(8, 1, 28, 28\)"):
            densities.log_bernoulli(IMAGES, torch.tensor(0.2))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((4, 2)), r"x must be a tensor of floats, but has type ndarray; try torch.as_tensor\(x\)"),
        (torch.zeros(4, 2, dtype=torch.uint8), r"x must be a tensor of floats, but has dtype torch.uint8"),
        (torch.zeros(4), r"logits has shape \(4, 2\), but x has \(4,\)"),
    ],
)
def test_what_is_no_batch_of_floats_is_refused_in_words(x: Any, message: str) -> None:
    with unchecked(), pytest.raises(ValueError, match=message):
        densities.log_bernoulli(x, torch.zeros(4, 2))


def test_a_row_of_numbers_is_no_batch() -> None:
    with unchecked(), pytest.raises(ValueError, match=r"x must have shape \(n, …\), but has \(4,\); reshape it"):
        densities.log_normal(torch.zeros(4), torch.zeros(4), torch.zeros(4))
    with unchecked(), pytest.raises(ValueError, match=r"mu must have shape \(n, d\), but has \(3, 4, 2\)"):
        densities.kl_normal(torch.zeros(3, 4, 2), torch.zeros(3, 4, 2))


UNIT, BINARY, GREY = (
    torch.rand(4, 1, 5, 5),
    torch.rand(4, 1, 5, 5).round(),
    (255 * torch.rand(4, 1, 5, 5)).round() / 255,
)


@pytest.mark.parametrize(
    ("name", "good", "bad", "pixels"),
    [
        ("bernoulli", [BINARY, GREY, UNIT], [2 * UNIT - 1, 255 * GREY], "binary"),
        ("continuous_bernoulli", [BINARY, GREY, UNIT], [2 * UNIT - 1, 255 * GREY], "unit"),
        ("logistic", [BINARY, GREY], [UNIT, 2 * GREY - 1, (255 * GREY + UNIT) / 256], "unit"),
        ("gaussian", [BINARY, UNIT, 9 * UNIT - 4], [], "unit"),
        ("learned_gaussian", [BINARY, UNIT, 9 * UNIT - 4], [], "unit"),
    ],
)
def test_each_likelihood_knows_its_pixels(name: str, good: list[Tensor], bad: list[Tensor], pixels: str) -> None:
    p = densities.find_likelihood(name)
    assert p.pixels == pixels
    for x in good:
        p.check(x)
        p.check(x.double().requires_grad_())
    for x in bad:
        with pytest.raises(ValueError, match=f'to_float\\(x, "{pixels}"\\)'):
            p.check(x)
    hole = UNIT.clone()
    hole[1, 0, 2, 2] = math.nan
    for strange in (hole, torch.full((2, 2), math.inf), UNIT.numpy(), (255 * GREY).byte(), torch.zeros(0, 3)):
        with (
            unchecked(),
            pytest.raises(ValueError, match=r"mend the data|tensor of floats with at least one"),
        ):
            p.check(strange)  # type: ignore[arg-type]


def test_a_range_is_named_with_its_remedy() -> None:
    x = torch.tensor([[-1.0, 0.25]])
    with pytest.raises(ValueError, match=r"ranges from -1 to 0.25, but .* in \[0, 1\].*pixels=\"binary\""):
        densities.LIKELIHOODS["bernoulli"].check(x)


@pytest.mark.parametrize("name", ["learned_gaussian", "logistic"])
def test_a_decoder_with_too_few_channels_is_told_how_many(name: str) -> None:
    p = densities.find_likelihood(name)
    for channels, given in ((1, 1), (3, 3), (1, 4)):
        with pytest.raises(ValueError, match=rf"make the decoder with channels={2 * channels}"):
            p.log_prob(torch.rand(2, channels, 4, 4), torch.rand(2, given, 4, 4))


def test_a_picture_is_the_mean_in_the_range_of_images() -> None:
    out = torch.tensor([[-0.3, 0.4, 1.2]])
    assert densities.gaussian(0.1).mean(out) is out
    assert densities.gaussian(0.1).picture(out).tolist() == torch.tensor([[0.0, 0.4, 1.0]]).tolist()
    bernoulli = densities.LIKELIHOODS["bernoulli"]
    assert torch.equal(bernoulli.picture(out), bernoulli.mean(out))


def test_the_discretised_logistic_is_finite_at_any_scale_and_pulls_back() -> None:
    """e⁹⁰ overflows in float32; a scale that got there must find back, so its gradient may not vanish."""
    x = torch.tensor([0.0, 1 / 255, 128 / 255, 254 / 255, 1.0]).repeat(3)[None].expand(401, -1)
    mean = torch.tensor([0.0, 128 / 255, 1.0]).repeat_interleave(5).expand(401, -1).clone().requires_grad_()
    log_scale = torch.linspace(-100, 100, 401)[:, None].expand(401, 15).clone().requires_grad_()
    value = densities.log_discretised_logistic(x, mean, log_scale)
    gradients = torch.autograd.grad(value.sum(), (mean, log_scale))
    assert value.isfinite().all() and (value <= 0).all() and all(g.isfinite().all() for g in gradients)
    assert gradients[1][0, 3] > 0 and gradients[1][-1, 2] < 0  # far from the mean wider, too wide narrower
    inside = (log_scale >= -30) & (log_scale <= 20)
    exact = densities.log_discretised_logistic(x.double(), mean.double(), log_scale.double())
    torch.testing.assert_close(value[inside.all(1)], exact[inside.all(1)].float(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("shape", [(5,), (5, 3), (5, 2, 2), (5, 1)])
def test_points_of_another_dimension_have_no_density(shape: tuple[int, ...]) -> None:
    for name in densities.TOYS:
        with unchecked(), pytest.raises(ValueError, match=r"x .* \(n, (d|2)\)"):
            densities.toy(name).log_prob(torch.zeros(shape))
