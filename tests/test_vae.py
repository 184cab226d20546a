"""Bounds, gradient estimators and VAEs, against torch.distributions and linear models whose likelihood and posterior
are known."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, MultivariateNormal, Normal, kl_divergence

from genlab import densities, linear, nets, train, vae
from genlab.data import Batch
from tests.helpers import identity, unchecked, within_errors

SIGMA = 0.5

# -------------------------------------------------------------------------------------------------------------- bounds


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
        densities.log_normal(torch.zeros(5, 2), torch.zeros(1, 2), torch.zeros(5, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: vae.elbo(torch.zeros(5), torch.zeros(5, 1)), r"kl has shape \(5, 1\), but log_px has \(5,\)"),
        (lambda: vae.elbo(torch.zeros(5, 1), torch.zeros(5)), r"kl has shape \(5,\), but log_px has \(5, 1\)"),
        (lambda: vae.elbo(torch.zeros(5, 1), torch.zeros(5, 1)), r"log_px must have shape \(n\), but has \(5, 1\)"),
        (lambda: vae.elbo(torch.zeros(()), torch.zeros(())), r"log_px must have shape \(n\), but has \(\)"),
        (lambda: vae.elbo(np.zeros(5), torch.zeros(5)), "log_px must be a tensor of floats, but has type ndarray"),
        (lambda: vae.iwae(torch.zeros(5)), r"log_w must have shape \(k, n\), but has \(5,\)"),
        (lambda: vae.iwae(torch.zeros(5, 2, 1)), r"log_w must have shape \(k, n\), but has \(5, 2, 1\)"),
        (lambda: vae.free_bits(torch.zeros(5), 0.1), r"kl must have shape \(n, d\), but has \(5,\)"),
        (lambda: vae.dreg(torch.zeros(3, 5), torch.zeros(5, 3, 2)), r"z has shape \(5, 3\), but log_w has \(3, 5\)"),
        (lambda: vae.dreg(torch.zeros(3, 5), torch.zeros(3, 5)), r"z must have shape \(k, n, d\), but has \(3, 5\)"),
    ],
)
def test_they_are_refused_in_words_where_no_annotations_are_executed(call: Callable[[], Tensor], message: str) -> None:
    with unchecked(), pytest.raises(ValueError, match=message):
        call()


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


def linear_model() -> tuple[linear.PPCA, Tensor]:
    """pPCA in five dimensions with two orthogonal loadings, so that its posterior is diagonal, and ten points of it."""
    torch.manual_seed(11)
    U = torch.linalg.qr(torch.randn(5, 2, dtype=torch.float64)).Q
    W, mu = U * torch.tensor([2.0, 0.8], dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    model = linear.PPCA(mu, W, torch.tensor(SIGMA**2, dtype=torch.float64), torch.zeros(5))
    noise = torch.randn(10, 7, dtype=torch.float64)
    return model, noise[:, :2] @ W.T + mu + SIGMA * noise[:, 2:]


def exact_vae(model: linear.PPCA, offsets: Tensor | None = None) -> vae.VAE:
    """The VAE whose q(z|x) is the exact posterior of the model."""
    b = model.mu[None] if offsets is None else offsets
    V = torch.linalg.solve(model.W.T @ model.W + SIGMA**2 * identity(2), model.W.T)
    logvar = model.posterior(model.mu[None])[1].diagonal().log()
    return vae.VAE(Conditional(V, b, logvar), Loadings(model.W, b))


def perturbed_vae(model: linear.PPCA) -> vae.VAE:
    """The same decoder with a q(z|x) that is shifted and too wide."""
    net = exact_vae(model)
    with torch.no_grad():
        net.encoder.V.mul_(0.9)
        net.encoder.logvar.add_(0.5)
    return net


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of the likelihood N(out, SIGMA² I)."""
    monkeypatch.setitem(densities.LIKELIHOODS, "known", densities.gaussian(SIGMA))
    return "known"


def test_exact_posterior_makes_every_k_exact(known: str) -> None:
    model, x = linear_model()
    for k in (1, 2, 50):
        rows = vae.bounds(exact_vae(model), x, noise=train.Noise(k), k=k, likelihood=known)
        torch.testing.assert_close(rows["iwae"], model.log_prob(x), rtol=0, atol=1e-10)


def test_elbo_lies_below_iwae_and_both_below_the_likelihood() -> None:
    model, x = linear_model()
    net, k = perturbed_vae(model), 2**13
    output = net(x, eps=torch.randn(k, len(x), 2, dtype=torch.float64))
    log_w = vae.log_weights(x, output, likelihood=densities.gaussian(SIGMA)).detach()
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
    log_w = vae.log_weights(x, output, likelihood=densities.gaussian(SIGMA))
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
    log_px = densities.gaussian(SIGMA).log_prob(x, output.out)
    expected = vae.elbo(log_px, densities.kl_sampled(output.z[0], output.mu, output.logvar))
    torch.testing.assert_close(vae.iwae(vae.log_weights(x, output, likelihood=densities.gaussian(SIGMA))), expected)


def test_log_weights_want_samples_in_front() -> None:
    model, x = linear_model()
    output = exact_vae(model)(x)
    with pytest.raises(ValueError, match=r"z has shape \(10, 2\), not \(k, n, d\)"):
        vae.log_weights(x, output, likelihood=densities.gaussian(SIGMA))


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
        log_w = vae.log_weights(self.x, output, likelihood=densities.gaussian(SIGMA), stop=estimator != "iwae")
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
    expected = densities.log_normal(game.x[:1], w * mu, torch.tensor(2 * math.log(SIGMA))) - densities.kl_normal(
        mu, logvar
    )
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
    log_w = vae.log_weights(game.x, output, likelihood=densities.gaussian(SIGMA), stop=True)
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
    rows = vae.bounds(net, x, y, noise=train.Noise(), k=4, likelihood=known)
    expected = torch.stack([model._replace(mu=offsets[c]).log_prob(v[None])[0] for v, c in zip(x, y, strict=True)])
    torch.testing.assert_close(rows["iwae"], expected, rtol=0, atol=1e-10)
    shuffled = vae.bounds(net, x, y.roll(1), noise=train.Noise(), k=4, likelihood=known)
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
    first, second = (vae.bounds(net, x, noise=train.Noise(3), k=2, likelihood=known) for _ in range(2))
    for name in ("elbo", "kl", "iwae"):
        assert first[name].shape == (6,) and not first[name].requires_grad
        assert torch.equal(first[name], second[name])  # with dropout they would differ
    assert net.training is training and net.encoder.dropout.training is training
    assert torch.equal(torch.get_rng_state(), state)  # a run goes on as if it had not been looked at


def test_evaluate_does_not_depend_on_how_it_splits_the_batch(known: str) -> None:
    model, _ = linear_model()
    net, k, n = perturbed_vae(model), 1600, 19  # 8 images at a time
    x = torch.randn(n, 5, dtype=torch.float64)
    rows = vae.bounds(net, x, noise=train.Noise(5), k=k, likelihood=known)
    # the last part's 3 · k · 2 numbers are a multiple of 16, up to which torch draws the same in pieces
    output = net(x, eps=train.Noise(5).normal(n, k, 2).transpose(0, 1))
    log_w = vae.log_weights(x, output, likelihood=densities.gaussian(SIGMA))
    kl = densities.kl_normal(output.mu, output.logvar)
    torch.testing.assert_close(rows["iwae"], vae.iwae(log_w).detach())
    torch.testing.assert_close(rows["kl"], kl.detach())
    log_px = densities.gaussian(SIGMA).log_prob(x, output.out[:n])
    torch.testing.assert_close(rows["elbo"], (log_px - kl).detach())


def test_evaluate_refuses_no_samples_and_unknown_names() -> None:
    model, x = linear_model()
    with pytest.raises(ValueError, match="k=0 must be at least 1"):
        vae.bounds(exact_vae(model), x, noise=train.Noise(), k=0)
    with pytest.raises(ValueError, match="unknown likelihood 'cauchy'"):
        vae.bounds(exact_vae(model), x, noise=train.Noise(), likelihood="cauchy")


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
    kl = densities.kl_per_dimension(output.mu, output.logvar).mean(0)
    assert (kl < 0.7).any() and (kl > 0.7).any()
    expected = 3 * kl.clamp(min=0.7).sum() - densities.log_bernoulli(x, output.out).mean()
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
    log_w = vae.log_weights(x, output := net(x, eps=eps.transpose(0, 1)), likelihood=densities.LIKELIHOODS["bernoulli"])
    assert log_w.shape == (k, 4) and output.z.shape == (k, 4, 3)
    gradient = torch.autograd.grad(loss, net.encoder.body[-1].weight)[0]
    plain = torch.autograd.grad(-vae.iwae(log_w).mean(), net.encoder.body[-1].weight)[0]
    assert torch.allclose(gradient, plain, rtol=1e-4, atol=1e-5) is (estimator == "iwae")


def test_autoencoder_player_reconstructs_from_the_mean() -> None:
    net, player = small_player(estimator="autoencoder")
    x = pixels()
    expected = -densities.log_bernoulli(x, net.decoder(net.encoder(x)[0])).mean()
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
    player = vae.player(net, optimizer, noise=train.Noise(), z_dim=3, estimator="dreg", k=2).replace(
        clip=1.0, accumulate=2, schedule=schedule
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


# ---------------------------------------------------------------------------------- what comes in, and one's own models


@pytest.mark.parametrize("estimator", ["elbo", "iwae", "autoencoder"])
def test_pixels_of_another_range_are_refused_at_the_first_batch_and_later(estimator: str) -> None:
    """On pixels in [−1, 1] the Bernoulli loss falls without bound."""
    _, player = small_player(estimator=estimator)
    with pytest.raises(ValueError, match=r'ranges from -1 to 1, but .*pixels="binary"'):
        player.loss(2 * pixels() - 1, 1)
    _, player = small_player(estimator=estimator)
    for step in range(1, densities.LOOK_EVERY + 1):
        player.loss(pixels(), step)
    with pytest.raises(ValueError, match="ranges from -1 to 1"):
        player.loss(2 * pixels() - 1, 101)


def test_the_pixels_are_looked_at_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look waits for the device, so it may not come at each step."""
    looks = []
    monkeypatch.setattr(densities.Likelihood, "check", lambda self, x: looks.append(len(x)))
    _, player = small_player()
    for step in range(1, 202):
        player.loss(pixels(1), step)
    assert len(looks) == 3


def test_bounds_refuse_pixels_and_labels_at_the_door() -> None:
    net = vae.VAE(nets.MLPEncoder(2, width=8, classes=4), nets.MLPDecoder(2, width=8, classes=4))
    x, y = pixels(), torch.tensor([0, 1, 2, 3])
    assert vae.bounds(net, x, y, noise=train.Noise(), k=2)["elbo"].shape == (4,)
    for strange, message in ((2 * x - 1, "ranges from -1 to 1"), (x.byte(), "uint8"), (x.numpy(), "ndarray")):
        with unchecked(), pytest.raises(ValueError, match=message):
            vae.bounds(net, strange, y, noise=train.Noise(), k=2)
    for labels in (y[:3], y.float(), nn.functional.one_hot(y), y[:, None], y > 1):
        with pytest.raises(ValueError, match="labels must be whole numbers, one for each of the 4 images"):
            vae.bounds(net, x, labels, noise=train.Noise(), k=2)
        with pytest.raises(ValueError, match=r"labels must be whole numbers, one for|needs one label an image"):
            own_player(net, 2).loss(Batch(x, labels), 1)


class Breaking(nn.Module):
    """An encoder with a frozen BatchNorm that fails from its second call on."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.calls = nn.BatchNorm1d(5).eval(), 0

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        if self.calls > 1:
            raise KeyboardInterrupt
        return self.norm(x)[:, :2], x[:, :2]


def test_bounds_restore_every_mode_also_after_an_exception(known: str) -> None:
    net = vae.VAE(Breaking(), nn.Linear(2, 5)).train()
    net.encoder.norm.eval()
    with pytest.raises(KeyboardInterrupt):
        vae.bounds(net, torch.randn(6, 5), noise=train.Noise(3), k=2, likelihood=known)
    assert net.training and net.encoder.training and net.decoder.training and not net.encoder.norm.training


@pytest.mark.parametrize("estimator", ["elbo", "iwae", "autoencoder"])
def test_another_z_dim_than_the_networks_have_is_named(estimator: str) -> None:
    net = vae.VAE(nets.MLPEncoder(20, width=8), nets.MLPDecoder(20, width=8))
    player = vae.player(
        net, torch.optim.SGD(net.parameters(), 1e-4), noise=train.Noise(), z_dim=16, estimator=estimator
    )
    with pytest.raises(ValueError, match="z_dim=16, tell it z_dim=20"):
        player.loss(pixels(), 1)
    net = vae.VAE(nets.MLPEncoder(20, width=8), nn.Sequential(nn.Linear(16, 784), nn.Unflatten(1, (1, 28, 28))))
    player = vae.player(
        net, torch.optim.SGD(net.parameters(), 1e-4), noise=train.Noise(), z_dim=20, estimator=estimator
    )
    with pytest.raises(ValueError, match=r"cannot take x \(4, 1, 28, 28\) and eps .*see that its parts fit"):
        player.loss(pixels(), 1)


class Own(nn.Module):
    """A VAE as people write it: `forward` and what it returns are handed in."""

    def __init__(self, z_dim: int = 3) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(784, 2 * z_dim), nn.Linear(z_dim, 784)

    def parts(self, x: Tensor, eps: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mu, logvar = self.encode(x.flatten(1)).chunk(2, 1)
        z = mu + torch.exp(0.5 * logvar) * (torch.randn_like(mu) if eps is None else eps)
        return self.decode(z.flatten(0, -2)).view(-1, 1, 28, 28), z, mu, logvar


class Plain(Own):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        out, _, mu, logvar = self.parts(x, None)
        return out, mu, logvar


class Noted(Own):
    def forward(self, x: Tensor, *, eps: Tensor) -> tuple[Tensor, ...]:
        return self.parts(x, eps)


class Wrong(Own):
    def forward(self, x: Tensor, *, eps: Tensor) -> Tensor:
        return self.parts(x, eps)[0]


class Squashed(Own):
    def forward(self, x: Tensor, *, eps: Tensor) -> tuple[Tensor, ...]:
        out, *rest = self.parts(x, eps)
        return out.sigmoid(), *rest


def own_player(net: nn.Module, z_dim: int = 3, **options: Any) -> train.Player:
    return vae.player(net, torch.optim.SGD(net.parameters(), 1e-4), noise=train.Noise(9), z_dim=z_dim, **options)


def test_a_plain_vae_that_draws_its_own_noise_is_trained() -> None:
    net = Plain()
    torch.manual_seed(5)
    loss = own_player(net).loss(pixels(), 1)
    torch.manual_seed(5)
    out, mu, logvar = net(pixels())
    expected = densities.kl_normal(mu, logvar) - densities.log_bernoulli(pixels(), out)
    torch.testing.assert_close(loss, expected.mean())
    with pytest.raises(ValueError, match="z_dim=4, but the encoder gives 3 dimensions"):
        own_player(net, 4).loss(pixels(), 1)
    for estimator in ("iwae", "stl", "dreg", "autoencoder"):
        with pytest.raises(ValueError, match=r"forward\(self, x, y=None, \*, eps=None\)"):
            own_player(net, estimator=estimator)
    with pytest.raises(ValueError, match=r"forward\(self, x, y=None, \*, eps=None\)"):
        vae.bounds(net, pixels(), noise=train.Noise(), k=2)


@pytest.mark.parametrize("estimator", ["elbo", "dreg"])
def test_a_plain_tuple_is_as_good_as_an_output(estimator: str) -> None:
    net = Noted()
    loss = own_player(net, estimator=estimator).loss(pixels(), 1)
    eps = train.Noise(9).normal(4, *([1, 3] if estimator == "dreg" else [3]))
    output = vae.Output(*net(pixels(), eps=eps.transpose(0, 1) if estimator == "dreg" else eps))
    if estimator == "elbo":
        kl = densities.kl_normal(output.mu, output.logvar)
        expected = kl - densities.log_bernoulli(pixels(), output.out)
    else:
        expected = -vae.iwae(vae.log_weights(pixels(), output, likelihood=densities.LIKELIHOODS["bernoulli"]))
    torch.testing.assert_close(loss, expected.mean())
    assert vae.bounds(net, pixels(), noise=train.Noise(), k=2)["iwae"].isfinite().all()


def test_what_is_no_output_of_a_vae_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"returns vae.Output\(out, z, mu, logvar\), or .* a Tensor"):
        own_player(Wrong()).loss(pixels(), 1)
    with pytest.raises(ValueError, match=r"cannot take x .* and eps \(4, 5\).* z_dim"):
        own_player(Noted(), 5).loss(pixels(), 1)
    net = vae.VAE(nn.Sequential(nn.Flatten(), nn.Linear(784, 6)), nets.MLPDecoder(3, width=8))
    with pytest.raises(ValueError, match=r"returned one tensor \(4, 6\), not the pair .* h.chunk\(2, 1\)"):
        own_player(net).loss(pixels(), 1)


def test_a_decoder_that_ends_in_a_sigmoid_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="ends in a sigmoid, but this likelihood takes logits"):
        own_player(Squashed()).loss(pixels(), 1)
    own_player(Squashed(), likelihood="gaussian").loss(pixels(), 1)  # where it is right; a warning would be an error


def test_a_decoder_of_one_channel_is_told_that_it_needs_two() -> None:
    _, player = small_player(likelihood="learned_gaussian")
    with pytest.raises(ValueError, match="make the decoder with channels=2"):
        player.loss(pixels(), 1)


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
    bound = vae.elbo(densities.gaussian(SIGMA).log_prob(rows, output.out), output.kl_top + output.kl_bottom)
    exact = scipy.stats.norm.logpdf(x, 0, math.sqrt(b**2 * prior + SIGMA**2))
    gap = kl_divergence(Normal((m1 + shift) * x, math.sqrt(widen * v1)), Normal(m1 * x, math.sqrt(v1)))
    gap += kl_divergence(Normal(0.0, math.sqrt(widen * v2)), Normal(0.0, math.sqrt(v2)))
    assert (gap > 0.05) == (shift > 0 or widen > 1)
    within_errors(bound, exact - gap)


# ------------------------------------------------------------------------------------------------- the effective beta


def test_the_effective_beta_is_found_from_the_gradients() -> None:
    x, out = torch.rand(6, 1, 4, 3).round(), torch.randn(6, 1, 4, 3)
    mu, logvar = torch.randn(6, 5), torch.randn(6, 5)

    def beta(a: float, b: float) -> float:
        def loss(x: torch.Tensor, out: torch.Tensor, mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
            return 7 + (b * densities.kl_normal(mu, logvar) - a * densities.log_bernoulli(x, out)).mean()

        return vae.effective_beta(loss, densities.log_bernoulli, x, out, mu, logvar)

    for a, b in ((1.0, 1.0), (0.25, 1.0), (3.0, 0.5), (1 / 12, 1 / 5)):
        assert beta(a, b) == pytest.approx(b / a, rel=1e-4)
    assert out.grad is None and not out.requires_grad


@pytest.mark.parametrize("wrong", ["likelihood", "kl"])
def test_a_loss_that_no_beta_describes_is_refused(wrong: str) -> None:
    x, out, mu, logvar = torch.rand(6, 1, 4, 3), torch.randn(6, 1, 4, 3), torch.randn(6, 5), torch.randn(6, 5)

    def loss(x: torch.Tensor, out: torch.Tensor, mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
        error = (x - out).square().flatten(1).sum(1)
        # A log-variance taken for log sigma is no multiple of the KL.
        kl = densities.kl_normal(mu, logvar if wrong == "likelihood" else 2 * logvar)
        return (error + kl).mean()

    log_prob = densities.log_bernoulli if wrong == "likelihood" else densities.gaussian(1.0).log_prob
    with pytest.raises(ValueError, match="reconstruction term" if wrong == "likelihood" else "mu and logvar"):
        vae.effective_beta(loss, log_prob, x, out, mu, logvar)


def test_a_loss_without_kl_has_beta_0_and_one_without_reconstruction_is_refused() -> None:
    x, out, mu, logvar = torch.rand(6, 1, 4, 3).round(), torch.randn(6, 1, 4, 3), torch.randn(6, 5), torch.randn(6, 5)

    def beta(loss: Callable[..., Tensor]) -> float:
        return vae.effective_beta(loss, densities.log_bernoulli, x, out, mu, logvar)

    assert beta(lambda x, out, mu, logvar: -densities.log_bernoulli(x, out).mean()) == 0
    assert beta(lambda x, out, mu, logvar: 0 * mu.sum() - densities.log_bernoulli(x, out).mean()) == 0
    with pytest.raises(ValueError, match="mu and logvar"):  # half a KL term is none
        beta(lambda x, out, mu, logvar: mu.square().sum() - densities.log_bernoulli(x, out).mean())
    for loss in (
        lambda x, out, mu, logvar: densities.kl_normal(mu, logvar).mean(),
        lambda x, out, mu, logvar: densities.kl_normal(mu, logvar).mean() + 0 * out.sum(),
        lambda x, out, mu, logvar: x.mean(),
    ):
        with pytest.raises(ValueError, match="no reconstruction term, so its β is infinite"):
            beta(loss)
