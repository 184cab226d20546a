"""Likelihoods, bounds, gradient estimators and VAEs, against torch.distributions, scipy, quadrature and linear models
whose likelihood and posterior are known."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn
from torch.distributions import Bernoulli, ContinuousBernoulli, MultivariateNormal, Normal, kl_divergence

from genlab import nets, train, vae
from genlab.data import Batch

SIGMA = 0.5


def within_errors(samples: Tensor, exact: float | Tensor, sigmas: float = 4.5) -> None:
    """The mean of samples (n,) lies within so many standard errors of the exact value."""
    error = samples.std() / len(samples) ** 0.5
    assert abs(samples.mean() - exact) <= sigmas * error, f"{samples.mean()} ± {error}, expected {exact}"


def identity(d: int) -> Tensor:
    return torch.eye(d, dtype=torch.float64)


# -------------------------------------------------------------------------------------------------------- likelihoods


def test_log_normal_is_that_of_torch_distributions() -> None:
    x, mu, logvar = torch.randn(3, 4, 2, 3, 3, dtype=torch.float64)
    expected = Normal(mu, torch.exp(0.5 * logvar)).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(vae.log_normal(x, mu, logvar), expected)
    scalar = Normal(torch.tensor(0.3).double(), math.exp(0.2)).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(vae.log_normal(x, torch.tensor(0.3), torch.tensor(0.4)), scalar)


def test_log_bernoulli_is_that_of_torch_distributions() -> None:
    x, logits = torch.rand(5, 1, 4, 4).round(), 5 * torch.randn(5, 1, 4, 4)
    torch.testing.assert_close(vae.log_bernoulli(x, logits), Bernoulli(logits=logits).log_prob(x).sum((1, 2, 3)))


def test_log_bernoulli_keeps_value_and_gradient_at_extreme_logits() -> None:
    x = torch.tensor([[0.0], [1.0], [0.0], [1.0]])
    logits = torch.tensor([[1e4], [1e4], [-1e4], [-1e4]], requires_grad=True)
    value = vae.log_bernoulli(x, logits)
    assert value.tolist() == [-1e4, 0, 0, -1e4]
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    torch.testing.assert_close(gradient, x - torch.sigmoid(logits))


CB_LOGITS = [-40.0, -3.0, -0.2, -0.0501, -0.0499, -0.001, 0.0, 0.003, 0.049, 0.051, 1.0, 15.0]


@pytest.mark.parametrize("logit", CB_LOGITS)
def test_continuous_bernoulli_integrates_to_one_and_has_its_mean(logit: float) -> None:
    a = torch.tensor([[logit]], dtype=torch.float64)

    def density(x: float) -> float:
        return vae.log_continuous_bernoulli(torch.full_like(a, x), a).exp().item()

    assert scipy.integrate.quad(density, 0, 1)[0] == pytest.approx(1, abs=5e-8)
    mean = scipy.integrate.quad(lambda x: x * density(x), 0, 1)[0]
    assert vae.LIKELIHOODS["continuous_bernoulli"].mean(a).item() == pytest.approx(mean, abs=3e-7)


def test_continuous_bernoulli_is_that_of_torch_distributions() -> None:
    logits = torch.cat([torch.linspace(-15, 15, 301), torch.linspace(-0.06, 0.06, 201)]).double()[:, None]
    x = torch.rand(len(logits), 1, dtype=torch.float64)
    # torch's own series around λ = ½ replaces λ in (0.499, 0.501) only
    reference = ContinuousBernoulli(logits=logits)
    torch.testing.assert_close(
        vae.log_continuous_bernoulli(x, logits), reference.log_prob(x)[:, 0], rtol=1e-8, atol=5e-8
    )
    torch.testing.assert_close(
        vae.LIKELIHOODS["continuous_bernoulli"].mean(logits), reference.mean, rtol=1e-7, atol=3e-7
    )


def test_continuous_bernoulli_in_float32_is_finite_and_close_to_float64() -> None:
    logits = torch.tensor([-1e4, -88.0, -0.05, -1e-3, 0.0, 1e-30, 0.05, 0.0501, 88.0, 1e4])[:, None].requires_grad_()
    x = torch.linspace(0, 1, 10)[:, None]
    value = vae.log_continuous_bernoulli(x, logits)
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    torch.testing.assert_close(value, vae.log_continuous_bernoulli(x.double(), logits.double()).float())
    assert gradient.isfinite().all() and gradient[4] == x[4] - 0.5
    mean = vae.LIKELIHOODS["continuous_bernoulli"].mean(logits)
    assert mean.isfinite().all() and ((mean >= 0) & (mean <= 1)).all()
    torch.testing.assert_close(mean, vae.LIKELIHOODS["continuous_bernoulli"].mean(logits.double()).float())


@pytest.mark.parametrize("bins", [2, 16, 256])
@pytest.mark.parametrize("mean", [-0.4, 0.0, 0.31, 0.5, 1.0, 2.5])
@pytest.mark.parametrize("log_scale", [-6.0, -3.0, 0.0, 3.0])
def test_discretised_logistic_sums_to_one_over_the_bins(bins: int, mean: float, log_scale: float) -> None:
    x = torch.linspace(0, 1, bins, dtype=torch.float64)[:, None]
    parameters = torch.full_like(x, mean), torch.full_like(x, log_scale)
    log_p = vae.log_discretised_logistic(x, *parameters, bins=bins)
    assert torch.logsumexp(log_p, 0).item() == pytest.approx(0, abs=1e-10)


def test_discretised_logistic_is_the_difference_of_scipys_distribution_function() -> None:
    x = torch.arange(256).double()[:, None] / 255
    log_p = vae.log_discretised_logistic(x, torch.full_like(x, 0.42), torch.full_like(x, -2.0))
    edges = np.concatenate([[-np.inf], (np.arange(255) + 0.5) / 255, [np.inf]])
    expected = np.diff(scipy.stats.logistic.cdf(edges, 0.42, np.exp(-2)))
    np.testing.assert_allclose(log_p.exp(), expected, rtol=1e-10)


def test_discretised_logistic_stays_finite_in_the_tails() -> None:
    """At scale e⁻⁷ and distance 1, F(upper) and F(lower) are both 0 or 1 in float32; their difference is e⁻¹⁰⁹¹."""
    x = torch.tensor([0.0, 1 / 255, 128 / 255, 254 / 255, 1.0])[:, None]
    for centre in (0.0, 1.0):
        mean = torch.full_like(x, centre, requires_grad=True)
        log_scale = torch.full_like(x, -7.0, requires_grad=True)
        value = vae.log_discretised_logistic(x, mean, log_scale)
        exact = vae.log_discretised_logistic(x.double(), mean.double(), log_scale.double())
        torch.testing.assert_close(value, exact.float(), rtol=1e-4, atol=1e-4)
        for gradient in torch.autograd.grad(value.sum(), (mean, log_scale)):
            assert gradient.isfinite().all()
    assert vae.log_discretised_logistic(x, 0 * x, 0 * x + 20).isfinite().all()  # and when the scale is huge


@pytest.mark.parametrize(("name", "density"), [("learned_gaussian", vae.log_normal), ("logistic", None)])
def test_two_headed_likelihoods_split_the_channels(name: str, density: Callable[..., Tensor] | None) -> None:
    p = vae.find_likelihood(name)
    x, location, spread = torch.rand(4, 3, 2, 2), torch.rand(4, 3, 2, 2), torch.randn(4, 3, 2, 2)
    x = (x * 255).round() / 255
    out = torch.cat([location, spread], 1)
    assert p.channels == 2
    assert torch.equal(p.mean(out), location)
    expected = (density or vae.log_discretised_logistic)(x, location, spread)
    assert torch.equal(p.log_prob(x, out), expected)


def test_fixed_gaussian_keeps_its_constants() -> None:
    x, out = torch.rand(2, 4, 1, 3, 3)
    for sigma in (0.1, 0.7):
        expected = Normal(out, sigma).log_prob(x).sum((1, 2, 3))
        torch.testing.assert_close(vae.gaussian(sigma).log_prob(x, out), expected)
    assert vae.gaussian(0.7).mean(out) is out
    torch.testing.assert_close(vae.LIKELIHOODS["gaussian"].log_prob(x, out), vae.gaussian(0.1).log_prob(x, out))
    torch.testing.assert_close(vae.LIKELIHOODS["bernoulli"].mean(out), torch.sigmoid(out))


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan])
def test_gaussian_without_width_is_refused(sigma: float) -> None:
    with pytest.raises(ValueError, match=f"sigma={sigma} must be positive"):
        vae.gaussian(sigma)


def test_an_unknown_likelihood_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"unknown likelihood 'poisson'; known are bernoulli, gaussian"):
        vae.find_likelihood("poisson")


# -------------------------------------------------------------------------------------------------------------- bounds


def test_kl_is_that_of_torch_distributions() -> None:
    mu, logvar, mu_p, logvar_p = torch.randn(4, 6, 3, dtype=torch.float64)
    q, p = Normal(mu, torch.exp(0.5 * logvar)), Normal(mu_p, torch.exp(0.5 * logvar_p))
    standard = Normal(torch.zeros_like(mu), torch.ones_like(mu))
    torch.testing.assert_close(vae.kl_normal(mu, logvar), kl_divergence(q, standard).sum(1))
    torch.testing.assert_close(vae.kl_normal(mu, logvar, mu_p, logvar_p), kl_divergence(q, p).sum(1))
    torch.testing.assert_close(vae.kl_per_dimension(mu, logvar), kl_divergence(q, standard))
    torch.testing.assert_close(vae.kl_per_dimension(mu, logvar, mu_p, logvar_p), kl_divergence(q, p))
    assert vae.kl_normal(mu, logvar, mu, logvar).tolist() == [0.0] * 6


def test_kl_to_half_a_prior_is_refused() -> None:
    mu = torch.zeros(2, 3)
    for half in ({"mu_p": mu}, {"logvar_p": mu}):
        with pytest.raises(ValueError, match="give both, or neither"):
            vae.kl_normal(mu, mu, **half)


def test_kl_of_collapsed_dimensions_is_exact_in_float32() -> None:
    """½ (e^r − 1 − r) ≈ r²/4 is far below the rounding error of e^r; it must be neither lost nor negative."""
    mu, logvar = torch.zeros(400, 1), torch.linspace(-1e-3, 1e-3, 400)[:, None]
    exact = kl_divergence(Normal(mu.double(), torch.exp(0.5 * logvar.double())), Normal(0.0, 1.0))
    for kl in (vae.kl_per_dimension(mu, logvar), vae.kl_per_dimension(mu, 1 + logvar, mu, torch.ones_like(mu))):
        assert (kl >= 0).all()
    torch.testing.assert_close(vae.kl_per_dimension(mu, logvar).double(), exact, rtol=1e-3, atol=1e-10)


def test_sampled_kl_averages_to_the_closed_form() -> None:
    n = 100_000
    mu, logvar = (torch.tensor(v).double().expand(n, 3) for v in ([0.5, -1.0, 2.0], [-1.0, 0.3, 0.0]))
    z = mu + torch.exp(0.5 * logvar) * torch.randn(n, 3, dtype=torch.float64)
    samples = vae.kl_sampled(z, mu, logvar)
    within_errors(samples, vae.kl_normal(mu, logvar)[0])
    q, p = Normal(mu, torch.exp(0.5 * logvar)), Normal(torch.zeros_like(mu), 1.0)
    torch.testing.assert_close(samples, (q.log_prob(z) - p.log_prob(z)).sum(1))


def test_free_bits_clamp_the_batch_mean_of_each_dimension() -> None:
    kl = torch.tensor([[0.1, 3.0, 0.0], [0.3, 1.0, 0.9]], requires_grad=True)
    value = vae.free_bits(kl, 0.5)  # batch means 0.2, 2.0, 0.45
    torch.testing.assert_close(value, torch.tensor([3.0, 3.0]))
    (gradient,) = torch.autograd.grad(value.mean(), kl)
    assert gradient.tolist() == [[0, 0.5, 0], [0, 0.5, 0]]
    torch.testing.assert_close(vae.free_bits(kl, 0.0).mean(), kl.sum(1).mean())


def test_elbo_weighs_the_kl() -> None:
    log_px, kl = torch.tensor([-3.0, -5.0]), torch.tensor([1.0, 2.0])
    assert vae.elbo(log_px, kl).tolist() == [-4, -7]
    assert vae.elbo(log_px, kl, 4.0).tolist() == [-7, -13]


def test_iwae_is_the_logarithm_of_the_mean_weight() -> None:
    log_w = torch.randn(7, 5, dtype=torch.float64)
    torch.testing.assert_close(vae.iwae(log_w), log_w.exp().mean(0).log())
    assert torch.equal(vae.iwae(log_w[:1]), log_w[0])
    torch.testing.assert_close(vae.iwae(log_w - 1e4), vae.iwae(log_w) - 1e4)  # where every weight underflows


def test_shapes_that_would_broadcast_are_refused() -> None:
    with pytest.raises(TypeError):
        vae.elbo(torch.zeros(5, 1), torch.zeros(5))
    with pytest.raises(TypeError):
        vae.log_normal(torch.zeros(5, 2), torch.zeros(1, 2), torch.zeros(5, 2))


# ------------------------------------------------------------------------- a linear VAE of which everything is known


class Conditional(nn.Module):
    """x -> (V (x − b_y), logvar): a linear encoder whose offset depends on the label."""

    def __init__(self, V: Tensor, b: Tensor, logvar: Tensor) -> None:
        super().__init__()
        self.V, self.b, self.logvar = nn.Parameter(V), b, nn.Parameter(logvar)

    def forward(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        mu = (x - (self.b[0] if y is None else self.b[y])) @ self.V.T
        return mu, self.logvar.expand_as(mu)


class Loadings(nn.Module):
    """z -> W z + b_y."""

    def __init__(self, W: Tensor, b: Tensor) -> None:
        super().__init__()
        self.W, self.b = nn.Parameter(W), b

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return z @ self.W.T + (self.b[0] if y is None else self.b[y])


def linear_model() -> tuple[vae.PPCA, Tensor]:
    """pPCA in five dimensions with two orthogonal loadings, so that its posterior is diagonal, and ten points of it."""
    torch.manual_seed(11)
    U = torch.linalg.qr(torch.randn(5, 2, dtype=torch.float64)).Q
    W, mu = U * torch.tensor([2.0, 0.8], dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    model = vae.PPCA(mu, W, torch.tensor(SIGMA**2, dtype=torch.float64), torch.zeros(5))
    noise = torch.randn(10, 7, dtype=torch.float64)
    return model, noise[:, :2] @ W.T + mu + SIGMA * noise[:, 2:]


def exact_vae(model: vae.PPCA, offsets: Tensor | None = None) -> vae.VAE:
    """The VAE whose q(z|x) is the exact posterior of the model."""
    b = model.mu[None] if offsets is None else offsets
    V = torch.linalg.solve(model.W.T @ model.W + SIGMA**2 * identity(2), model.W.T)
    logvar = model.posterior(model.mu[None])[1].diagonal().log()
    return vae.VAE(Conditional(V, b, logvar), Loadings(model.W, b))


def perturbed_vae(model: vae.PPCA) -> vae.VAE:
    """The same decoder with a q(z|x) that is shifted and too wide."""
    net = exact_vae(model)
    with torch.no_grad():
        net.encoder.V.mul_(0.9)
        net.encoder.logvar.add_(0.5)
    return net


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of the likelihood N(out, SIGMA² I)."""
    monkeypatch.setitem(vae.LIKELIHOODS, "known", vae.gaussian(SIGMA))
    return "known"


def test_exact_posterior_makes_every_k_exact(known: str) -> None:
    model, x = linear_model()
    for k in (1, 2, 50):
        rows = vae.evaluate(exact_vae(model), x, noise=train.Noise(k), k=k, likelihood=known)
        torch.testing.assert_close(rows["iwae"], model.log_prob(x), rtol=0, atol=1e-10)


def test_elbo_lies_below_iwae_and_both_below_the_likelihood() -> None:
    model, x = linear_model()
    net, k = perturbed_vae(model), 2**13
    output = net(x, eps=torch.randn(k, len(x), 2, dtype=torch.float64))
    log_w = vae.log_weights(x, output, likelihood=vae.gaussian(SIGMA)).detach()
    exact = model.log_prob(x)
    bounds = []
    for size in (1, 2, 8, 64, 512, 8192):
        groups = torch.stack([vae.iwae(part) for part in log_w.split(size)])
        bounds.append(groups.mean(0))
        if len(groups) > 1:
            assert (groups.mean(0) <= exact + 4.5 * groups.std(0) / len(groups) ** 0.5).all()
    for lower, upper in pairwise(bounds):
        assert (lower < upper).all()  # Jensen's inequality, group by group: no luck is involved
    torch.testing.assert_close(bounds[-1], exact, rtol=0, atol=0.05)
    # The ELBO's gap is KL(q ‖ p(z|x)), whatever the number of samples.
    mean, covariance = model.posterior(x)
    q = MultivariateNormal(output.mu, torch.diag_embed(output.logvar.exp()))
    gap = kl_divergence(q, MultivariateNormal(mean, covariance))
    for i in range(len(x)):
        within_errors(log_w[:, i], (exact - gap)[i].detach())


def test_prior_as_proposal_needs_many_samples() -> None:
    model, x = linear_model()
    k, x = 2**16, x[:1]
    zero = torch.zeros(1, 2, dtype=torch.float64)
    z = torch.randn(k, 1, 2, dtype=torch.float64)
    output = vae.Output(z.flatten(0, 1) @ model.W.T + model.mu, z, zero, zero)
    log_w = vae.log_weights(x, output, likelihood=vae.gaussian(SIGMA))
    # E over the prior of log p(x|z) in closed form
    square = (x - model.mu).square().sum() + model.W.square().sum()
    first = -2.5 * math.log(2 * math.pi * SIGMA**2) - square / (2 * SIGMA**2)
    within_errors(log_w[:, 0], first)
    exact = model.log_prob(x).item()
    means = [vae.iwae(log_w.view(-1, size).T).mean() for size in (1, 16, 256, 4096)]
    assert all(a < b for a, b in zip(means, [*means[1:], exact + 0.01], strict=True))
    assert exact - means[0] > 5
    assert vae.iwae(log_w).item() == pytest.approx(exact, abs=0.1)


def test_iwae_with_one_sample_is_the_sampled_elbo() -> None:
    model, x = linear_model()
    output = perturbed_vae(model)(x, eps=torch.randn(1, len(x), 2))
    log_px = vae.gaussian(SIGMA).log_prob(x, output.out)
    expected = vae.elbo(log_px, vae.kl_sampled(output.z[0], output.mu, output.logvar))
    torch.testing.assert_close(vae.iwae(vae.log_weights(x, output, likelihood=vae.gaussian(SIGMA))), expected)


def test_log_weights_want_samples_in_front() -> None:
    model, x = linear_model()
    output = exact_vae(model)(x)
    with pytest.raises(ValueError, match=r"z has shape \(10, 2\), not \(k, n, d\)"):
        vae.log_weights(x, output, likelihood=vae.gaussian(SIGMA))


# ------------------------------------------------------------------------------------------------ gradient estimators


class Game:
    """n copies of one point x of p(z) = N(0, 1), p(x|z) = N(wz, SIGMA²), each with its own μ, logvar and w.

    So the gradient of the summed bound is n independent samples of the gradient estimator.
    """

    def __init__(self, n: int, k: int, mu: float, logvar: float, x: float = 1.5, w: float = 1.2) -> None:
        self.parameters = [torch.full((n, 1), v, dtype=torch.float64, requires_grad=True) for v in (mu, logvar, w)]
        self.x, self.eps = torch.full((n, 1), x, dtype=torch.float64), torch.randn(k, n, 1, dtype=torch.float64)

    def output(self) -> vae.Output:
        mu, logvar, w = self.parameters
        z = mu + torch.exp(0.5 * logvar) * self.eps
        return vae.Output((w * z).flatten(0, 1), z, mu, logvar)

    def bound(self, estimator: str) -> Tensor:
        output = self.output()
        log_w = vae.log_weights(self.x, output, likelihood=vae.gaussian(SIGMA), stop=estimator != "iwae")
        return vae.dreg(log_w, output.z) if estimator == "dreg" else vae.iwae(log_w)

    def gradients(self, estimator: str) -> list[Tensor]:
        return [g[:, 0] for g in torch.autograd.grad(self.bound(estimator).sum(), self.parameters)]


EXACT = (1.5 * 1.2 / (1.2**2 + SIGMA**2), math.log(SIGMA**2 / (1.2**2 + SIGMA**2)))  # posterior of `Game`
WRONG = (0.6, -1.0)


@pytest.mark.parametrize("k", [1, 5])
def test_estimators_have_one_value(k: int) -> None:
    game = Game(50, k, *WRONG)
    assert torch.equal(game.bound("stl"), game.bound("iwae"))
    torch.testing.assert_close(game.bound("dreg"), game.bound("iwae"), rtol=0, atol=1e-12)


@pytest.mark.parametrize("estimator", ["iwae", "stl", "dreg"])
def test_with_one_sample_every_gradient_averages_to_that_of_the_closed_form(estimator: str) -> None:
    game = Game(100_000, 1, *WRONG)
    mu, logvar, w = (p[:1].detach().requires_grad_() for p in game.parameters)
    expected = vae.log_normal(game.x[:1], w * mu, torch.tensor(2 * math.log(SIGMA))) - vae.kl_normal(mu, logvar)
    expected = expected - 0.5 * w.square().sum() * logvar.exp().sum() / SIGMA**2
    exact = torch.autograd.grad(expected.sum(), (mu, logvar, w))
    for samples, gradient in zip(game.gradients(estimator), exact, strict=True):
        within_errors(samples, gradient.item())


def test_dreg_is_unbiased_and_stl_is_not_for_many_samples() -> None:
    """Sample by sample against the plain gradient with the same noise; for the bias of STL see Tucker et al. 2019."""
    game = Game(200_000, 4, *WRONG)
    plain, stl, dreg = (game.gradients(name) for name in ("iwae", "stl", "dreg"))
    for a, b in zip(plain, dreg, strict=True):
        within_errors(a - b, 0.0)
    assert torch.equal(plain[2], stl[2])  # they differ for the encoder alone
    torch.testing.assert_close(plain[2], dreg[2])
    with pytest.raises(AssertionError):
        within_errors(plain[0] - stl[0], 0.0, sigmas=10)
    for i in (0, 1):
        assert dreg[i].var() < plain[i].var()


@pytest.mark.parametrize("k", [1, 6])
def test_at_the_exact_posterior_stl_and_dreg_have_no_variance(k: int) -> None:
    game = Game(1000, k, *EXACT)
    for estimator in ("stl", "dreg"):
        for gradient in game.gradients(estimator)[:2]:
            assert gradient.abs().max() < 1e-12
    assert game.gradients("iwae")[0].std() > 0.1


def test_dreg_is_its_formula() -> None:
    """Encoder: Σ w̃² ∂log w/∂z ∂z/∂φ; decoder: Σ w̃ ∂log w/∂θ."""
    k = 5
    game = Game(20, k, *WRONG)
    output = game.output()
    log_w = vae.log_weights(game.x, output, likelihood=vae.gaussian(SIGMA), stop=True)
    share = (log_w.exp() / log_w.exp().sum(0)).detach()
    (by_z,) = torch.autograd.grad(log_w.sum(), output.z, retain_graph=True)
    by_z = by_z[..., 0]
    spread = torch.exp(0.5 * output.logvar[:, 0]) * game.eps[..., 0]
    by_w = ((game.x - output.out.view(k, -1, 1)) * output.z / SIGMA**2)[..., 0]
    mu, logvar, w = game.gradients("dreg")
    torch.testing.assert_close(mu, (share.square() * by_z).sum(0))
    torch.testing.assert_close(logvar, (share.square() * by_z * 0.5 * spread).sum(0).detach())
    torch.testing.assert_close(w, (share * by_w).sum(0).detach())
    one = Game(20, 1, *WRONG)
    for a, b in zip(one.gradients("dreg"), one.gradients("stl"), strict=True):
        torch.testing.assert_close(a, b)


def test_dreg_with_a_frozen_encoder_still_trains_the_decoder() -> None:
    game = Game(20, 3, *WRONG)
    for parameter in game.parameters[:2]:
        parameter.requires_grad_(False)
    (mine,) = torch.autograd.grad(game.bound("dreg").sum(), game.parameters[2])
    (plain,) = torch.autograd.grad(game.bound("iwae").sum(), game.parameters[2])
    torch.testing.assert_close(mine, plain)


# ------------------------------------------------------------------------------------------------------ the VAE itself


def test_forward_reparameterises_and_decodes_sample_by_sample() -> None:
    model, x = linear_model()
    net = perturbed_vae(model)
    eps = torch.randn(3, len(x), 2, dtype=torch.float64)
    many = net(x, eps=eps)
    assert many.z.shape == (3, 10, 2) and many.out.shape == (30, 5)
    for j in range(3):
        one = net(x, eps=eps[j])
        torch.testing.assert_close(one.z, one.mu + torch.exp(0.5 * one.logvar) * eps[j])
        torch.testing.assert_close(many.z[j], one.z)
        torch.testing.assert_close(many.out[10 * j : 10 * (j + 1)], one.out)
    drawn = torch.cat([((o := net(x)).z - o.mu) / torch.exp(0.5 * o.logvar) for _ in range(500)]).detach()
    assert scipy.stats.kstest(drawn.flatten().numpy(), "norm").pvalue > 1e-3


def test_conditional_vae_has_the_likelihood_of_its_label(known: str) -> None:
    """Each label has its own mean; with the exact posterior the bound is log p(x|y), whatever sample it follows."""
    model, _ = linear_model()
    offsets = torch.randn(3, 5, dtype=torch.float64)
    x, y = 2 * torch.randn(9, 5, dtype=torch.float64), torch.arange(9) % 3
    net = exact_vae(model, offsets)
    rows = vae.evaluate(net, x, y, noise=train.Noise(), k=4, likelihood=known)
    expected = torch.stack([model._replace(mu=offsets[c]).log_prob(v[None])[0] for v, c in zip(x, y, strict=True)])
    torch.testing.assert_close(rows["iwae"], expected, rtol=0, atol=1e-10)
    shuffled = vae.evaluate(net, x, y.roll(1), noise=train.Noise(), k=4, likelihood=known)
    assert (shuffled["iwae"] - expected).abs().min() > 1e-3


def test_networks_of_the_package_make_a_conditional_vae() -> None:
    net = vae.VAE(nets.MLPEncoder(2, width=8, classes=4), nets.MLPDecoder(2, width=8, classes=4))
    x, y, eps = torch.rand(3, 1, 28, 28), torch.tensor([0, 1, 3]), torch.randn(2, 3, 2)
    output = net(x, y, eps=eps)
    assert output.out.shape == (6, 1, 28, 28)
    torch.testing.assert_close(output.out[3:], net(x, y, eps=eps[1]).out)
    assert not torch.equal(output.out, net(x, y.flip(0), eps=eps).out)


# ------------------------------------------------------------------------------------------------------------ evaluate


class Noisy(nn.Module):
    """An encoder with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.dropout = nn.Linear(5, 4), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, logvar = self.linear(self.dropout(x)).chunk(2, 1)
        return mu, logvar


@pytest.mark.parametrize("training", [True, False])
def test_evaluate_runs_in_evaluation_mode_and_restores_the_other(training: bool, known: str) -> None:
    net = vae.VAE(Noisy(), nn.Linear(2, 5)).train(training)
    x, state = torch.randn(6, 5), torch.get_rng_state()
    first, second = (vae.evaluate(net, x, noise=train.Noise(3), k=2, likelihood=known) for _ in range(2))
    for name in ("elbo", "kl", "iwae"):
        assert first[name].shape == (6,) and not first[name].requires_grad
        assert torch.equal(first[name], second[name])  # with dropout they would differ
    assert net.training is training and net.encoder.dropout.training is training
    assert torch.equal(torch.get_rng_state(), state)  # a run goes on as if it had not been looked at


def test_evaluate_does_not_depend_on_how_it_splits_the_batch(known: str) -> None:
    model, _ = linear_model()
    net, k, n = perturbed_vae(model), 1600, 19  # 8 images at a time
    x = torch.randn(n, 5, dtype=torch.float64)
    rows = vae.evaluate(net, x, noise=train.Noise(5), k=k, likelihood=known)
    # the last part's 3 · k · 2 numbers are a multiple of 16, up to which torch draws the same in pieces
    output = net(x, eps=train.Noise(5).normal(n, k, 2).transpose(0, 1))
    log_w = vae.log_weights(x, output, likelihood=vae.gaussian(SIGMA))
    kl = vae.kl_normal(output.mu, output.logvar)
    torch.testing.assert_close(rows["iwae"], vae.iwae(log_w).detach())
    torch.testing.assert_close(rows["kl"], kl.detach())
    log_px = vae.gaussian(SIGMA).log_prob(x, output.out[:n])
    torch.testing.assert_close(rows["elbo"], (log_px - kl).detach())


def test_evaluate_refuses_no_samples_and_unknown_names() -> None:
    model, x = linear_model()
    with pytest.raises(ValueError, match="k=0 must be at least 1"):
        vae.evaluate(exact_vae(model), x, noise=train.Noise(), k=0)
    with pytest.raises(ValueError, match="unknown likelihood 'cauchy'"):
        vae.evaluate(exact_vae(model), x, noise=train.Noise(), likelihood="cauchy")


# ---------------------------------------------------------------------------------------------------------- the player


def small_player(**options: Any) -> tuple[vae.VAE, train.Player]:
    torch.manual_seed(2)
    net = vae.VAE(nets.MLPEncoder(3, width=8), nets.MLPDecoder(3, width=8))
    with torch.no_grad():
        net.encoder.body[-1].weight.mul_(10)  # so that the KL differs from dimension to dimension
    optimizer = torch.optim.SGD(net.parameters(), 1e-4)
    return net, vae.player(net, optimizer, noise=train.Noise(9), z_dim=3, **options)


def pixels(n: int = 4) -> Tensor:
    return torch.rand(n, 1, 28, 28, generator=torch.Generator().manual_seed(1)).round()


@pytest.mark.parametrize(
    ("options", "step", "beta"),
    [
        ({}, 1, 1.0),
        ({"beta": 4.0}, 1, 4.0),
        ({"beta": 4.0, "warmup": 10}, 1, 0.4),
        ({"warmup": 10}, 5, 0.5),
        ({"warmup": 10}, 10, 1.0),
        ({"beta": 2.0, "warmup": 10}, 1000, 2.0),
    ],
)
def test_elbo_player_minimises_the_hand_computed_loss(options: dict[str, Any], step: int, beta: float) -> None:
    net, player = small_player(**options)
    x, eps = pixels(), train.Noise(9).normal(4, 3)
    mu, logvar = net.encoder(x)
    logits = net.decoder(mu + torch.exp(0.5 * logvar) * eps)
    log_px = Bernoulli(logits=logits).log_prob(x).sum((1, 2, 3))
    kl = kl_divergence(Normal(mu, torch.exp(0.5 * logvar)), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(player.loss(x, step), (beta * kl - log_px).mean())


def test_free_bits_in_the_player() -> None:
    net, player = small_player(minimum=0.7, beta=3.0)
    x, eps = pixels(), train.Noise(9).normal(4, 3)
    output = net(x, eps=eps)
    kl = vae.kl_per_dimension(output.mu, output.logvar).mean(0)
    assert (kl < 0.7).any() and (kl > 0.7).any()
    expected = 3 * kl.clamp(min=0.7).sum() - vae.log_bernoulli(x, output.out).mean()
    torch.testing.assert_close(player.loss(x, 1), expected)


@pytest.mark.parametrize("estimator", ["iwae", "stl", "dreg"])
@pytest.mark.parametrize("k", [1, 3])
def test_sampled_players_minimise_minus_the_iwae_bound(estimator: str, k: int) -> None:
    net, player = small_player(estimator=estimator, k=k)
    x, eps = pixels(), train.Noise(9).normal(4, k, 3)
    mu, logvar = net.encoder(x)
    rows = []
    for j in range(k):
        z = mu + torch.exp(0.5 * logvar) * eps[:, j]
        log_px = Bernoulli(logits=net.decoder(z)).log_prob(x).sum((1, 2, 3))
        q, p = Normal(mu, torch.exp(0.5 * logvar)), Normal(0.0, 1.0)
        rows.append(log_px + (p.log_prob(z) - q.log_prob(z)).sum(1))
    expected = -(torch.stack(rows).double().exp().mean(0).log()).mean()
    loss = player.loss(x, 1)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    log_w = vae.log_weights(x, output := net(x, eps=eps.transpose(0, 1)), likelihood=vae.LIKELIHOODS["bernoulli"])
    assert log_w.shape == (k, 4) and output.z.shape == (k, 4, 3)
    gradient = torch.autograd.grad(loss, net.encoder.body[-1].weight)[0]
    plain = torch.autograd.grad(-vae.iwae(log_w).mean(), net.encoder.body[-1].weight)[0]
    assert torch.allclose(gradient, plain, rtol=1e-4, atol=1e-5) is (estimator == "iwae")


def test_autoencoder_player_reconstructs_from_the_mean() -> None:
    net, player = small_player(estimator="autoencoder")
    x = pixels()
    expected = -vae.log_bernoulli(x, net.decoder(net.encoder(x)[0])).mean()
    torch.testing.assert_close(player.loss(x, 1), expected)


def test_conditional_player_passes_the_labels() -> None:
    net = vae.VAE(nets.MLPEncoder(2, width=8, classes=10), nets.MLPDecoder(2, width=8, classes=10))
    optimizer = torch.optim.SGD(net.parameters(), 1e-4)
    x, y = pixels(), torch.tensor([3, 1, 4, 1])
    for estimator in ("elbo", "iwae", "autoencoder"):
        player = vae.player(net, optimizer, noise=train.Noise(9), z_dim=2, estimator=estimator)
        loss = [player.loss(Batch(x, labels), 1).item() for labels in (y, y.flip(0))]
        assert loss[0] != loss[1]


def test_player_hands_its_settings_to_the_loop_and_trains() -> None:
    net, _ = small_player()
    optimizer = torch.optim.SGD(net.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    player = vae.player(
        net, optimizer, noise=train.Noise(), z_dim=3, estimator="dreg", k=2, clip=1.0, accumulate=2, schedule=schedule
    )
    assert (player.name, player.clip, player.accumulate, player.schedule) == ("VAE", 1.0, 2, schedule)
    before = [p.clone() for p in net.parameters()]
    losses = [row["VAE"] for _, row in train.train([player], iter([pixels()] * 6), 3)]
    assert len(losses) == 3 and all(map(math.isfinite, losses))
    assert all(not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"likelihood": "poisson"}, "unknown likelihood 'poisson'"),
        ({"estimator": "vimco"}, r"unknown estimator 'vimco'; known are elbo, iwae, stl, dreg, autoencoder"),
        ({"k": 5}, 'k goes with "iwae"'),
        ({"estimator": "autoencoder", "k": 2}, 'k goes with "iwae"'),
        ({"estimator": "iwae", "beta": 2.0}, 'beta, warmup and minimum go with "elbo"'),
        ({"estimator": "dreg", "warmup": 5}, 'beta, warmup and minimum go with "elbo"'),
        ({"estimator": "stl", "minimum": 0.1}, 'beta, warmup and minimum go with "elbo"'),
        ({"estimator": "iwae", "k": 0}, "k=0 must be at least 1"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_player(**options)


# -------------------------------------------------------------------------------------------------------------- VQ-VAE


def quantiser(k: int = 5, d: int = 3, **options: float) -> vae.Quantiser:
    torch.manual_seed(4)
    return vae.Quantiser(k, d, **options)


def test_quantiser_chooses_the_nearest_code() -> None:
    q = quantiser().eval()
    h = torch.randn(2, 3, 4, 6)
    found = q(h)
    for i in range(2):
        for r in range(4):
            for c in range(6):
                distances = [(h[i, :, r, c] - e).square().sum().item() for e in q.codebook]
                assert found.codes[i, r, c] == int(np.argmin(distances))
                torch.testing.assert_close(found.z[i, :, r, c], q.codebook[found.codes[i, r, c]])
    torch.testing.assert_close(q.lookup(found.codes), found.z)


def test_straight_through_gradient_and_commitment() -> None:
    q = quantiser().eval()
    h = torch.randn(2, 3, 4, 4, requires_grad=True)
    found, weight = q(h), torch.randn(2, 3, 4, 4)
    (gradient,) = torch.autograd.grad((found.z * weight).sum(), h, retain_graph=True)
    torch.testing.assert_close(gradient, weight)  # as if the quantiser were the identity
    e = q.lookup(found.codes)
    torch.testing.assert_close(found.commitment, (h - e).square().sum((1, 2, 3)))
    (gradient,) = torch.autograd.grad(found.commitment.sum(), h)
    torch.testing.assert_close(gradient, 2 * (h - e).detach())
    assert list(q.parameters()) == []  # the codebook learns by moving averages alone


def test_moving_averages_equal_a_hand_computation() -> None:
    decay = 0.9
    q = quantiser(decay=decay, restart=0.0)
    codebook = q.codebook.double().numpy().copy()
    count, total = np.ones(5), codebook.copy()
    for _ in range(3):
        h = torch.randn(2, 3, 4, 4)
        rows = h.permute(0, 2, 3, 1).reshape(-1, 3).double().numpy()
        codes = np.argmin(((rows[:, None] - codebook[None]) ** 2).sum(2), 1)
        found = q(h)
        assert found.codes.flatten().tolist() == codes.tolist()
        # what the decoder sees is the nearest vector of the codebook as it was
        seen = found.z.permute(0, 2, 3, 1).reshape(-1, 3)
        np.testing.assert_allclose(seen, codebook[codes], rtol=1e-4, atol=1e-5)
        for j in range(5):
            mine = rows[codes == j]
            count[j] = decay * count[j] + (1 - decay) * len(mine)
            total[j] = decay * total[j] + (1 - decay) * mine.sum(0)
        codebook = total / count[:, None]
        np.testing.assert_allclose(q.codebook, codebook, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(q.count, count, rtol=1e-5)


def test_without_memory_the_update_is_a_step_of_k_means() -> None:
    q = quantiser(k=3, decay=0.0, restart=0.5)
    h = torch.randn(4, 3, 5, 5)
    codes = q(h).codes
    rows, codes = h.permute(0, 2, 3, 1).reshape(-1, 3), codes.flatten()
    for j in codes.unique():
        torch.testing.assert_close(q.codebook[j], rows[codes == j].mean(0))


def test_dead_codes_restart_at_vectors_of_the_batch() -> None:
    q = quantiser(restart=0.5)
    q.count.copy_(torch.tensor([1.0, 0.5, 0.505, 1.0, 0.3]))
    q.total.copy_(q.codebook * q.count[:, None])
    with torch.no_grad():
        q.codebook[1:] += 100  # codes 1 to 4 are too far away to be chosen
        q.total[1:] += 100 * q.count[1:, None]
    before = q.codebook.clone()
    h = torch.randn(2, 3, 4, 4)
    found = q(h)
    rows = h.permute(0, 2, 3, 1).reshape(-1, 3)
    assert found.codes.unique().tolist() == [0]
    torch.testing.assert_close(found.z, before[0].view(1, 3, 1, 1).expand_as(found.z))
    for j in (1, 2, 4):  # 0.99 times 0.5, 0.505 and 0.3 lies below 0.5
        assert (rows == q.codebook[j]).all(1).any()
        assert q.count[j] == 1 and torch.equal(q.total[j], q.codebook[j])
    torch.testing.assert_close(q.codebook[3], before[3])  # unused, but not yet dead
    assert q.count[3].item() == pytest.approx(0.99)


def test_a_code_that_is_never_used_stays_where_it_is() -> None:
    q = quantiser(k=2, decay=0.5, restart=0.0)
    q.codebook[1] = q.total[1] = 1e3
    for _ in range(200):  # 0.5²⁰⁰ is zero in float32
        q(torch.randn(1, 3, 2, 2))
    assert q.count[1] < 1e-30
    torch.testing.assert_close(q.codebook[1], torch.full((3,), 1e3))


def test_in_evaluation_mode_nothing_moves() -> None:
    q = quantiser().eval()
    before = {name: value.clone() for name, value in q.state_dict().items()}
    state = torch.get_rng_state()
    q(torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)))
    assert all(torch.equal(value, before[name]) for name, value in q.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_under_bf16_the_codebook_is_averaged_in_float32() -> None:
    q, reference = quantiser(), quantiser()
    h = torch.randn(2, 3, 4, 4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = q(h)
    reference(h.float())
    assert found.z.dtype == torch.float32
    torch.testing.assert_close(q.codebook, reference.codebook)


def test_two_processes_move_their_codebooks_as_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process's sums arrive through all_reduce; the result is that of one process on both batches."""
    mine, theirs = torch.randn(2, 2, 3, 4, 4)
    whole, q = quantiser(restart=0.0), quantiser(restart=0.0)
    rows = theirs.permute(0, 2, 3, 1).reshape(-1, 3)
    chosen = nn.functional.one_hot(q.eval()(theirs).codes.flatten(), 5).float()
    arriving, broadcast = [chosen.sum(0), chosen.T @ rows], []
    whole(torch.cat([mine, theirs]))
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: tensor.add_(arriving.pop(0)))
    monkeypatch.setattr(torch.distributed, "broadcast", lambda tensor, source: broadcast.append((tensor.shape, source)))
    q.train()(mine)
    torch.testing.assert_close(q.codebook, whole.codebook)
    torch.testing.assert_close(q.count, whole.count)
    assert broadcast == [((5, 3), 0)]  # candidates for restarts come from the first process


def test_vqvae_player_minimises_the_hand_computed_loss() -> None:
    net = vae.VQVAE(nets.GridEncoder(4, width=4), vae.Quantiser(6, 4), nets.GridDecoder(4, width=4))
    optimizer = torch.optim.SGD(net.parameters(), 1e-4)
    player = vae.vq_player(net, optimizer, commitment=0.5, clip=2.0)
    assert (player.name, player.clip) == ("VQVAE", 2.0)
    net.eval()
    x = pixels()
    h = net.encoder(x)
    codes = torch.cdist(h.flatten(2).transpose(1, 2), net.quantiser.codebook).argmin(2).view(4, *h.shape[2:])
    e = net.quantiser.lookup(codes)
    log_px = Bernoulli(logits=net.decoder(e)).log_prob(x).sum((1, 2, 3))
    expected = (0.5 * (h - e).square().sum((1, 2, 3)) - log_px).mean()
    torch.testing.assert_close(player.loss(x, 1), expected)
    out, quantised = net(x)
    assert out.shape == x.shape and torch.equal(quantised.codes, codes)
    player.loss(x, 1).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())  # through the quantiser too


# ---------------------------------------------------------------------------------------------------- hierarchical VAE


class Affine(nn.Module):
    """v -> (slope · v, log of a variance): all parts of a one-dimensional linear-Gaussian hierarchy."""

    def __init__(self, slope: float, variance: float) -> None:
        super().__init__()
        self.slope, self.logvar = slope, math.log(variance)

    def forward(self, v: Tensor) -> tuple[Tensor, Tensor]:
        return self.slope * v, torch.full_like(v, self.logvar)


class Scale(nn.Module):
    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, v: Tensor) -> Tensor:
        return self.slope * v


@pytest.mark.parametrize("shift", [0.0, 0.4])
@pytest.mark.parametrize("widen", [1.0, 1.7])
def test_hierarchical_elbo_is_log_p_minus_the_kl_to_the_posterior(shift: float, widen: float) -> None:
    """z₂ ~ N(0, 1), z₁ ~ N(az₂, s), x ~ N(bz₁, SIGMA²): so x ~ N(0, b² (a² + s) + SIGMA²)."""
    a, s, b, x = 0.9, 0.3, 1.1, 1.3
    prior = a**2 + s  # variance of z₁
    v1 = 1 / (1 / prior + b**2 / SIGMA**2)  # of z₁ given x
    v2 = 1 / (1 + a**2 / s)  # of z₂ given z₁
    m1 = v1 * b / SIGMA**2
    encoder, upper = Affine(m1 + shift, widen * v1), Affine(v2 * a / s, widen * v2)
    net = vae.HierarchicalVAE(encoder, upper, Affine(a, s), Scale(b))
    rows = torch.full((100_000, 1), x, dtype=torch.float64)
    output = net(rows)
    assert output.kl_top.shape == output.kl_bottom.shape == (100_000,)
    bound = vae.elbo(vae.gaussian(SIGMA).log_prob(rows, output.out), output.kl_top + output.kl_bottom)
    exact = scipy.stats.norm.logpdf(x, 0, math.sqrt(b**2 * prior + SIGMA**2))
    gap = kl_divergence(Normal((m1 + shift) * x, math.sqrt(widen * v1)), Normal(m1 * x, math.sqrt(v1)))
    gap += kl_divergence(Normal(0.0, math.sqrt(widen * v2)), Normal(0.0, math.sqrt(v2)))
    assert (gap > 0.05) == (shift > 0 or widen > 1)
    within_errors(bound, exact - gap)


# ---------------------------------------------------------------------------- the linear VAE and probabilistic PCA


def correlated(n: int = 200, d: int = 6) -> Tensor:
    torch.manual_seed(7)
    return torch.randn(n, d, dtype=torch.float64) @ torch.randn(d, d, dtype=torch.float64) + 1


def solved(model: vae.PPCA, rotation: Tensor | None = None) -> vae.LinearVAE:
    """The linear VAE at W R, with the best diagonal q: the posterior's mean, and 1 / diag of its precision."""
    d, q = model.W.shape
    W = model.W if rotation is None else model.W @ rotation
    net = vae.LinearVAE(d, q).double()
    M = W.T @ W + model.sigma2 * identity(q)
    V = torch.linalg.solve(M, W.T)
    with torch.no_grad():
        net.decoder.weight.copy_(W)
        net.decoder.bias.copy_(model.mu)
        net.encoder.weight.copy_(V)
        net.encoder.bias.copy_(-V @ model.mu)
        net.logvar_z.copy_((model.sigma2 / M.diagonal()).log())
        net.logvar_x.copy_(model.sigma2.log())
    return net


def test_ppca_is_that_of_sklearn() -> None:
    x = correlated()
    model = vae.ppca(x, 2)
    n = len(x)
    reference = PCA(2).fit((x * math.sqrt((n - 1) / n)).numpy())  # which divides by n − 1
    C = model.W @ model.W.T + model.sigma2 * identity(6)
    np.testing.assert_allclose(C, reference.get_covariance(), rtol=1e-9, atol=1e-9)
    expected = scipy.stats.multivariate_normal(model.mu.numpy(), C.numpy()).logpdf(x.numpy())
    np.testing.assert_allclose(model.log_prob(x), expected, rtol=1e-9)
    assert (model.eigenvalues.diff() <= 0).all()
    assert model.sigma2.item() == pytest.approx(model.eigenvalues[2:].mean().item())


def test_ppca_maximises_the_likelihood() -> None:
    x = correlated()
    fit = vae.ppca(x, 2)
    leaves = [v.clone().requires_grad_() for v in (fit.mu, fit.W, fit.sigma2)]
    for gradient in torch.autograd.grad(vae.PPCA(*leaves, fit.eigenvalues).log_prob(x).mean(), leaves):
        assert gradient.abs().max() < 1e-10
    best = fit.log_prob(x).mean()
    for _ in range(20):
        other = fit._replace(W=fit.W + 0.1 * torch.randn_like(fit.W))
        assert other.log_prob(x).mean() < best


def test_ppca_posterior_is_that_of_the_joint_gaussian() -> None:
    model = vae.ppca(correlated(), 3)
    x = correlated()[:4]
    C = model.W @ model.W.T + model.sigma2 * identity(6)
    gain = model.W.T @ torch.linalg.inv(C)  # Cov(z, x) Cov(x)⁻¹
    mean, covariance = model.posterior(x)
    torch.testing.assert_close(mean, (x - model.mu) @ gain.T)
    torch.testing.assert_close(covariance, identity(3) - gain @ model.W)


@pytest.mark.parametrize("q", [0, 6, 7])
def test_ppca_refuses_too_many_or_no_dimensions(q: int) -> None:
    with pytest.raises(ValueError, match=f"q={q} must lie between 1 and 5"):
        vae.ppca(correlated(), q)


def test_linear_elbo_is_the_mean_of_the_sampled_one() -> None:
    net = solved(vae.ppca(correlated(), 2))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    x = correlated()[:1].expand(100_000, -1)
    output = net(x)
    log_px = vae.log_normal(x, output.out, net.logvar_x)
    within_errors((log_px - vae.kl_sampled(output.z, output.mu, output.logvar)).detach(), net.elbo(x[:1]).item())


def test_at_the_optimum_the_linear_elbo_is_the_likelihood() -> None:
    x = correlated()
    model = vae.ppca(x, 2)
    torch.testing.assert_close(solved(model).elbo(x), model.log_prob(x), rtol=0, atol=1e-10)
    output = solved(model)(x, eps=torch.zeros(len(x), 2))
    torch.testing.assert_close(output.z, model.posterior(x)[0])
    torch.testing.assert_close(output.logvar[0].exp().diag(), model.posterior(x)[1])


def test_a_rotation_leaves_the_likelihood_but_opens_a_gap() -> None:
    x = correlated()
    model = vae.ppca(x, 2)
    angle = torch.tensor(0.6, dtype=torch.float64)
    R = torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
    rotated, net = model._replace(W=model.W @ R), solved(model, R)
    torch.testing.assert_close(rotated.log_prob(x), model.log_prob(x))
    mean, covariance = rotated.posterior(x)
    q = MultivariateNormal(net.encoder(x), net.logvar_z.exp().diag())
    gap = kl_divergence(q, MultivariateNormal(mean, covariance))
    assert gap.min() > 0.01
    torch.testing.assert_close(model.log_prob(x) - net.elbo(x), gap)


@pytest.mark.parametrize("ratio", [0.5, 0.9, 1.1, 2.0])
def test_a_component_collapses_exactly_if_the_noise_exceeds_its_eigenvalue(ratio: float) -> None:
    """At W = V = 0 the ELBO is flat; the curvature says whether component i can escape: only if σ² < λ_i."""
    x = correlated()
    model = vae.ppca(x, 1)
    vectors = torch.linalg.eigh((x - model.mu).T @ (x - model.mu) / len(x)).eigenvectors.flip(1)
    for i, eigenvalue in enumerate(model.eigenvalues):
        net = vae.LinearVAE(6, 1).double()

        def bound(point: Tensor, u: Tensor = vectors[:, i], v: Tensor = eigenvalue, net: nn.Module = net) -> Tensor:
            weights = {
                "decoder.weight": point[0] * u[:, None],
                "decoder.bias": model.mu,
                "encoder.weight": point[1] * u[None],
                "encoder.bias": -(point[1] * u @ model.mu)[None],
                "logvar_x": (ratio * v).log(),
            }
            return torch.func.functional_call(Bound(net), {f"net.{k}": w for k, w in weights.items()}, (x,)).mean()

        origin = torch.zeros(2, dtype=torch.float64)
        assert torch.func.grad(bound)(origin).abs().max() < 1e-9
        curvature = torch.linalg.eigvalsh(torch.autograd.functional.hessian(bound, origin))
        assert (curvature.max() > 0).item() is (ratio < 1)


class Bound(nn.Module):
    """The closed-form ELBO as a module, so that weights can be put in."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net.elbo(x)


def test_a_trained_linear_vae_finds_probabilistic_pca() -> None:
    x = correlated(400)
    model = vae.ppca(x, 2)
    torch.manual_seed(3)
    net = vae.LinearVAE(6, 2).double()
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=500, history_size=20, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = -net.elbo(x).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    best, reached = model.log_prob(x).mean(), net.elbo(x).mean()
    assert best - 1e-3 < reached <= best + 1e-12
    # The ELBO fixes the rotation: the decoder's columns are principal directions (Lucas et al. 2019).
    columns = nn.functional.normalize(net.decoder.weight.detach(), dim=0)
    directions = nn.functional.normalize(model.W, dim=0)
    overlap = (columns.T @ directions).abs()
    torch.testing.assert_close(overlap.sort(1).values, torch.tensor([[0.0, 1.0]] * 2).double(), rtol=0, atol=0.05)


# ------------------------------------------------------------------------------------------------- the effective beta


def test_the_effective_beta_is_found_from_the_gradients() -> None:
    x, out = torch.rand(6, 1, 4, 3).round(), torch.randn(6, 1, 4, 3)
    mu, logvar = torch.randn(6, 5), torch.randn(6, 5)

    def beta(a: float, b: float) -> float:
        def loss(x: torch.Tensor, out: torch.Tensor, mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
            return 7 + (b * vae.kl_normal(mu, logvar) - a * vae.log_bernoulli(x, out)).mean()

        return vae.effective_beta(loss, vae.log_bernoulli, x, out, mu, logvar)

    for a, b in ((1.0, 1.0), (0.25, 1.0), (3.0, 0.5), (1 / 12, 1 / 5)):
        assert beta(a, b) == pytest.approx(b / a, rel=1e-4)
    assert out.grad is None and not out.requires_grad


@pytest.mark.parametrize("wrong", ["likelihood", "kl"])
def test_a_loss_that_no_beta_describes_is_refused(wrong: str) -> None:
    x, out, mu, logvar = torch.rand(6, 1, 4, 3), torch.randn(6, 1, 4, 3), torch.randn(6, 5), torch.randn(6, 5)

    def loss(x: torch.Tensor, out: torch.Tensor, mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
        error = (x - out).square().flatten(1).sum(1)
        # A log-variance taken for log sigma is no multiple of the KL.
        kl = vae.kl_normal(mu, logvar if wrong == "likelihood" else 2 * logvar)
        return (error + kl).mean()

    log_prob = vae.log_bernoulli if wrong == "likelihood" else vae.gaussian(1.0).log_prob
    with pytest.raises(ValueError, match="reconstruction term" if wrong == "likelihood" else "mu and logvar"):
        vae.effective_beta(loss, log_prob, x, out, mu, logvar)
