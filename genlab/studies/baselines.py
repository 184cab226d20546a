"""Generators that train no network, fitted to the training digits in pixels: what every other one must beat.

Each gives grey values; those that leave [0, 1] are cut off there. Where a size is free, it is chosen by the likelihood
of the last thousand training digits under a fit to the others. The test digits choose nothing.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from genlab import data, linear

N = 1000
HELD_OUT = 1000  # of the training digits, to choose sizes by
WIDTHS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4)  # of the kernels
LATENTS = (10, 20, 40, 80, 160)  # of probabilistic PCA
COMPONENTS = 10  # of the mixture, which is fitted in as many principal components as PRINCIPAL
PRINCIPAL = 50


def pixels() -> Tensor:
    """The training digits (n, 784) in float64."""
    return data.to_float(data.digits().train.x).flatten(1).double()


def gaussian(x: Tensor, generator: torch.Generator) -> Tensor:
    """N(μ, Σ) with the covariance of all pixels."""
    return _normal(x.mean(0), torch.cov(x.T), generator)


def mixture(x: Tensor, generator: torch.Generator) -> Tensor:
    """Ten Gaussians with full covariances in the first fifty principal components."""
    from sklearn.mixture import GaussianMixture

    mean, directions = x.mean(0), torch.linalg.eigh(torch.cov(x.T)).eigenvectors[:, -PRINCIPAL:]
    codes = (x - mean) @ directions
    seed = int(torch.randint(2**31 - 1, (), generator=generator))
    found = GaussianMixture(COMPONENTS, reg_covar=1e-3, random_state=seed).fit(codes.numpy())
    drawn = torch.from_numpy(found.sample(N)[0])
    return drawn[torch.randperm(N, generator=generator)] @ directions.T + mean


def ppca(x: Tensor, generator: torch.Generator) -> Tensor:
    """Probabilistic PCA with the latent dimensions that held-out digits choose."""
    fit, held_out = x[:-HELD_OUT], x[-HELD_OUT:]
    q = max(LATENTS, key=lambda latents: float(linear.ppca(fit, latents).log_prob(held_out).mean()))
    model = linear.ppca(x, q)
    z = torch.randn(N, q, generator=generator, dtype=x.dtype)
    noise = torch.randn(N, x.shape[1], generator=generator, dtype=x.dtype)
    return z @ model.W.T + model.mu + model.sigma2.sqrt() * noise


def templates(x: Tensor, generator: torch.Generator) -> Tensor:
    """The mean image of a class chosen at random: ten different pictures in all."""
    y = data.digits().train.labels
    means = torch.stack([x[y == label].mean(0) for label in range(10)])
    return means[torch.randint(10, (N,), generator=generator)]


def naive_bayes(x: Tensor, generator: torch.Generator) -> Tensor:
    """Black-and-white pixels, independent given a class chosen at random: chapter 01's recogniser, as it draws."""
    return torch.bernoulli(templates(x, generator), generator=generator)


def kernels(x: Tensor, generator: torch.Generator) -> Tensor:
    """Kernel density: a training digit and Gaussian noise of the width that held-out digits choose."""
    fit, held_out = x[:-HELD_OUT], x[-HELD_OUT:]
    squares = torch.cdist(held_out, fit).square()

    def likelihood(width: float) -> float:
        log_p = torch.logsumexp(-squares / (2 * width**2), 1).mean() - x.shape[1] * torch.tensor(width).log()
        return float(log_p)

    noise = torch.randn(N, x.shape[1], generator=generator, dtype=x.dtype)
    return copier(x, generator) + max(WIDTHS, key=likelihood) * noise


def copier(x: Tensor, generator: torch.Generator) -> Tensor:
    """Training digits, drawn with replacement."""
    return x[torch.randint(len(x), (N,), generator=generator)]


def gaussian_codes(codes: Tensor, generator: torch.Generator) -> Tensor:
    """New codes (N, d) from a Gaussian fitted to codes: what makes a plain autoencoder generate."""
    return _normal(codes.mean(0), torch.cov(codes.T), generator)


def _normal(mean: Tensor, covariance: Tensor, generator: torch.Generator) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    z = torch.randn(N, len(mean), generator=generator, dtype=mean.dtype)
    return z * values.clamp(min=0).sqrt() @ vectors.T + mean


BASELINES: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "Gaussian": gaussian,
    "Gaussian mixture": mixture,
    "probabilistic PCA": ppca,
    "class templates": templates,
    "naive Bayes": naive_bayes,
    "kernel density": kernels,
    "copier of training digits": copier,
}


def samples(name: str, seed: int) -> Tensor:
    """A thousand images (N, 1, 28, 28) in [0, 1] of a baseline, by the name it has in `BASELINES`."""
    drawn = BASELINES[name](pixels(), torch.Generator().manual_seed(seed))
    return drawn.clamp(0, 1).float().view(N, 1, 28, 28)
