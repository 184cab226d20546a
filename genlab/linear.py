"""The linear models of which everything is known: probabilistic PCA and the linear VAE."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genlab.densities import PerExample, check_shapes, kl_normal, log_normal
from genlab.vae import Output, elbo


class PPCA(NamedTuple):
    """p(z) = N(0, I), p(x|z) = N(Wz + μ, σ² I): the model of which everything is known.

    Attributes:
        mu: mean of the data (d,).
        W: loadings (d, q).
        sigma2: variance of the noise, a 0-d tensor.
        eigenvalues: of the covariance of the data, largest first (d,).
    """

    mu: Tensor
    W: Tensor
    sigma2: Tensor
    eigenvalues: Tensor

    def log_prob(self, x: Float[Tensor, "n d"]) -> PerExample:
        """log N(x; μ, WWᵀ + σ² I), exact."""
        C = self.W @ self.W.T + self.sigma2 * torch.eye(len(self.mu), dtype=self.W.dtype, device=self.W.device)
        return torch.distributions.MultivariateNormal(self.mu, C).log_prob(x)

    def posterior(self, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n q"], Float[Tensor, "q q"]]:
        """Mean M⁻¹Wᵀ(x − μ) and covariance σ² M⁻¹ of p(z|x), M = WᵀW + σ² I."""
        M = self.W.T @ self.W + self.sigma2 * torch.eye(self.W.shape[1], dtype=self.W.dtype, device=self.W.device)
        return torch.linalg.solve(M, self.W.T @ (x - self.mu).T).T, self.sigma2 * torch.linalg.inv(M)


def ppca(x: Float[Tensor, "n d"], q: int) -> PPCA:
    """Maximum likelihood of probabilistic PCA: W = U_q (Λ_q − σ² I)^½, σ² = mean of the d − q smallest eigenvalues.

    Source: Tipping and Bishop 1999, eq. 7 and 8 (with R = I).

    Raises:
        ValueError: q does not lie between 1 and d − 1, or x is not (n, d).
    """
    check_shapes("n d", x=x)
    d = x.shape[1]
    if not 1 <= q < d:
        raise ValueError(f"q={q} must lie between 1 and {d - 1}, one less than the dimension of x")
    mu = x.mean(0)
    values, vectors = torch.linalg.eigh((x - mu).T @ (x - mu) / len(x))
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    sigma2 = values[q:].mean()
    return PPCA(mu, vectors[:, :q] * (values[:q] - sigma2).clamp(min=0).sqrt(), sigma2, values)


class LinearVAE(nn.Module):
    """Linear encoder and decoder with one noise variance: the VAE whose optimum is probabilistic PCA.

    Source: Lucas et al. 2019.
    """

    def __init__(self, d: int, q: int) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(d, q), nn.Linear(q, d)
        self.logvar_z, self.logvar_x = nn.Parameter(torch.zeros(q)), nn.Parameter(torch.zeros(()))

    def forward(self, x: Float[Tensor, "n d"], *, eps: Tensor | None = None) -> Output:
        mu = self.encoder(x)
        logvar = self.logvar_z.expand_as(mu)
        z = mu + torch.exp(0.5 * logvar) * (torch.randn_like(mu) if eps is None else eps)
        return Output(self.decoder(z), z, mu, logvar)

    def elbo(self, x: Float[Tensor, "n d"]) -> PerExample:
        """The ELBO in closed form, since E log p(x|z) = log N(x; Wμ + b, σ² I) − ½ Σ_ij W_ij² s_j² / σ²."""
        mu = self.encoder(x)
        spread = (self.decoder.weight.square() @ self.logvar_z.exp()).sum() * torch.exp(-self.logvar_x)
        log_px = log_normal(x, self.decoder(mu), self.logvar_x) - 0.5 * spread
        return elbo(log_px, kl_normal(mu, self.logvar_z.expand_as(mu)))
