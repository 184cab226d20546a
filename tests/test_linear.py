"""Probabilistic PCA and the linear VAE, against scikit-learn, the joint Gaussian and each other."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, kl_divergence

from genlab import densities, linear
from tests.helpers import identity, unchecked, within_errors


def correlated(n: int = 200, d: int = 6) -> Tensor:
    torch.manual_seed(7)
    return torch.randn(n, d, dtype=torch.float64) @ torch.randn(d, d, dtype=torch.float64) + 1


def solved(model: linear.PPCA, rotation: Tensor | None = None) -> linear.LinearVAE:
    """The linear VAE at W R, with the best diagonal q: the posterior's mean, and 1 / diag of its precision."""
    d, q = model.W.shape
    W = model.W if rotation is None else model.W @ rotation
    net = linear.LinearVAE(d, q).double()
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
    model = linear.ppca(x, 2)
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
    fit = linear.ppca(x, 2)
    leaves = [v.clone().requires_grad_() for v in (fit.mu, fit.W, fit.sigma2)]
    for gradient in torch.autograd.grad(linear.PPCA(*leaves, fit.eigenvalues).log_prob(x).mean(), leaves):
        assert gradient.abs().max() < 1e-10
    best = fit.log_prob(x).mean()
    for _ in range(20):
        other = fit._replace(W=fit.W + 0.1 * torch.randn_like(fit.W))
        assert other.log_prob(x).mean() < best


def test_ppca_posterior_is_that_of_the_joint_gaussian() -> None:
    model = linear.ppca(correlated(), 3)
    x = correlated()[:4]
    C = model.W @ model.W.T + model.sigma2 * identity(6)
    gain = model.W.T @ torch.linalg.inv(C)  # Cov(z, x) Cov(x)⁻¹
    mean, covariance = model.posterior(x)
    torch.testing.assert_close(mean, (x - model.mu) @ gain.T)
    torch.testing.assert_close(covariance, identity(3) - gain @ model.W)


@pytest.mark.parametrize("q", [0, 6, 7])
def test_ppca_refuses_too_many_or_no_dimensions(q: int) -> None:
    with pytest.raises(ValueError, match=f"q={q} must lie between 1 and 5"):
        linear.ppca(correlated(), q)


def test_ppca_wants_rows_of_floats() -> None:
    with unchecked(), pytest.raises(ValueError, match=r"x must have shape \(n, d\), but has \(4, 1, 3, 3\)"):
        linear.ppca(torch.rand(4, 1, 3, 3), 1)
    with unchecked(), pytest.raises(ValueError, match=r"x must be a tensor of floats, but has dtype torch.uint8"):
        linear.ppca(torch.zeros(4, 3, dtype=torch.uint8), 1)


def test_linear_elbo_is_the_mean_of_the_sampled_one() -> None:
    net = solved(linear.ppca(correlated(), 2))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    x = correlated()[:1].expand(100_000, -1)
    output = net(x)
    log_px = densities.log_normal(x, output.out, net.logvar_x)
    within_errors((log_px - densities.kl_sampled(output.z, output.mu, output.logvar)).detach(), net.elbo(x[:1]).item())


def test_at_the_optimum_the_linear_elbo_is_the_likelihood() -> None:
    x = correlated()
    model = linear.ppca(x, 2)
    torch.testing.assert_close(solved(model).elbo(x), model.log_prob(x), rtol=0, atol=1e-10)
    output = solved(model)(x, eps=torch.zeros(len(x), 2))
    torch.testing.assert_close(output.z, model.posterior(x)[0])
    torch.testing.assert_close(output.logvar[0].exp().diag(), model.posterior(x)[1])


def test_a_rotation_leaves_the_likelihood_but_opens_a_gap() -> None:
    x = correlated()
    model = linear.ppca(x, 2)
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
    model = linear.ppca(x, 1)
    vectors = torch.linalg.eigh((x - model.mu).T @ (x - model.mu) / len(x)).eigenvectors.flip(1)
    for i, eigenvalue in enumerate(model.eigenvalues):
        net = linear.LinearVAE(6, 1).double()

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
    model = linear.ppca(x, 2)
    torch.manual_seed(3)
    net = linear.LinearVAE(6, 2).double()
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
