"""Densities, bounds and models of variational autoencoders.

Densities and bounds return one value per example, in nats: sums over pixels and latent dimensions, never means. The
caller averages once, last. Names follow the papers: x, z, mu, logvar, beta, k, n.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from genlab.data import Batch, unpack
from genlab.train import Noise, Player

PerExample = Float[Tensor, " n"]
X = Float[Tensor, "n *dims"]
LOG_2PI = math.log(2 * math.pi)

# ---------------------------------------------------------------------------------------------------------- densities


def log_normal(x: X, mu: X | Float[Tensor, ""], logvar: X | Float[Tensor, ""]) -> PerExample:
    """log N(x; μ, diag e^logvar) = −½ Σ [log 2π + logvar + (x − μ)² / e^logvar]; logvar is log σ², not log σ."""
    return -0.5 * (LOG_2PI + logvar + (x - mu).square() * torch.exp(-logvar)).flatten(1).sum(1)


def log_bernoulli(x: X, logits: X) -> PerExample:
    """Σ [x log σ(a) + (1 − x) log(1 − σ(a))] at logits a; a likelihood only if every x is 0 or 1."""
    return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)


def log_continuous_bernoulli(x: X, logits: X) -> PerExample:
    """Σ [x log λ + (1 − x) log(1 − λ) + log C(λ)], λ = σ(a), C(λ) = 2 artanh(1 − 2λ) / (1 − 2λ): a density on [0, 1].

    In logits C = a / tanh(a / 2). Near a = 0 its series log C = log 2 + a²/12 is used, wrong by less than 4e-8.
    Source: Loaiza-Ganem and Cunningham 2019, section 3.
    """
    small = logits.abs() < 0.05
    safe = torch.where(small, torch.ones_like(logits), logits)
    log_c = torch.where(small, math.log(2) + logits.square() / 12, torch.log(safe / torch.tanh(safe / 2)))
    return log_bernoulli(x, logits) + log_c.flatten(1).sum(1)


def log_discretised_logistic(x: X, mean: X, log_scale: X, *, bins: int = 256) -> PerExample:
    """Σ log [F(x + ½ δ) − F(x − ½ δ)], F the logistic distribution function, δ = 1 / (bins − 1), x on a grid in [0, 1].

    The end bins take the tails, so that the probabilities of all bins sum to one. Source: Salimans et al. 2017, eq. 2.
    """
    half, inverse = 0.5 / (bins - 1), torch.exp(-log_scale)
    upper, lower = (x - mean + half) * inverse, (x - mean - half) * inverse
    # log(σ(u) − σ(l)) = logσ(u) + logσ(−l) + log(1 − e^(l − u)), exact also where both are near 0 or 1.
    inner = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-2 * half * inverse))
    log_p = torch.where(x < half, F.logsigmoid(upper), torch.where(x > 1 - half, F.logsigmoid(-lower), inner))
    return log_p.flatten(1).sum(1)


class Likelihood(NamedTuple):
    """p(x|z): log density of x given the decoder's output, the picture to show, and output per image channel."""

    log_prob: Callable[[Tensor, Tensor], Tensor]
    mean: Callable[[Tensor], Tensor]
    channels: int = 1


def gaussian(sigma: float) -> Likelihood:
    """N(x; decoder's output, σ² I) with a fixed σ; constants are kept, so that values for different σ compare.

    Raises:
        ValueError: σ is not positive.
    """
    if not sigma > 0:
        raise ValueError(f"sigma={sigma} must be positive; it is the standard deviation of a pixel")
    logvar = 2 * math.log(sigma)
    return Likelihood(lambda x, out: log_normal(x, out, out.new_tensor(logvar)), lambda out: out)


def _halves(density: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Likelihood:
    return Likelihood(lambda x, out: density(x, *out.chunk(2, 1)), lambda out: out.chunk(2, 1)[0], 2)


def _continuous_mean(logits: Tensor) -> Tensor:
    """E[x] of the continuous Bernoulli: λ / (2λ − 1) + 1 / (2 artanh(1 − 2λ)) = 1 / (1 − e^−a) − 1 / a, ½ at a = 0."""
    small = logits.abs() < 0.05
    safe = torch.where(small, torch.ones_like(logits), logits)
    return torch.where(small, 0.5 + logits / 12, -1 / torch.expm1(-safe) - 1 / safe)


LIKELIHOODS = {
    "bernoulli": Likelihood(log_bernoulli, torch.sigmoid),
    "gaussian": gaussian(0.1),
    "learned_gaussian": _halves(log_normal),
    "continuous_bernoulli": Likelihood(log_continuous_bernoulli, _continuous_mean),
    "logistic": _halves(log_discretised_logistic),
}


def find_likelihood(name: str) -> Likelihood:
    """A likelihood by name; an unknown name raises a ValueError that lists the known ones."""
    if name not in LIKELIHOODS:
        raise ValueError(f"unknown likelihood {name!r}; known are {', '.join(LIKELIHOODS)}")
    return LIKELIHOODS[name]


# ------------------------------------------------------------------------------------------------------------- bounds


def kl_normal(
    mu: Float[Tensor, "n d"],
    logvar: Float[Tensor, "n d"],
    mu_p: Float[Tensor, "n d"] | None = None,
    logvar_p: Float[Tensor, "n d"] | None = None,
) -> PerExample:
    """KL(N(μ, σ²) ‖ N(0, I)) = ½ Σ (σ² + μ² − 1 − log σ²), or to N(μ_p, σ_p²). (Kingma and Welling 2014, app. B)."""
    return kl_per_dimension(mu, logvar, mu_p, logvar_p).sum(1)


def kl_per_dimension(
    mu: Float[Tensor, "n d"],
    logvar: Float[Tensor, "n d"],
    mu_p: Float[Tensor, "n d"] | None = None,
    logvar_p: Float[Tensor, "n d"] | None = None,
) -> Float[Tensor, "n d"]:
    """The terms of `kl_normal`, one per latent dimension: which dimensions carry information.

    Raises:
        ValueError: only one of `mu_p` and `logvar_p` is given.
    """
    if (mu_p is None) != (logvar_p is None):
        raise ValueError("mu_p and logvar_p go together: give both, or neither for N(0, I)")
    ratio, square = logvar, mu.square()  # log σ²/σ_p² and (μ − μ_p)²/σ_p²
    if mu_p is not None and logvar_p is not None:
        ratio, square = logvar - logvar_p, (mu - mu_p).square() * torch.exp(-logvar_p)
    # e^r − 1 − r through expm1: near r = 0, in collapsed dimensions, the plain difference is all rounding error.
    return 0.5 * (torch.expm1(ratio) - ratio + square)


def kl_sampled(z: Float[Tensor, "n d"], mu: Float[Tensor, "n d"], logvar: Float[Tensor, "n d"]) -> PerExample:
    """log q(z|x) − log p(z) at a sample z: the KL term with one Monte Carlo sample."""
    return log_normal(z, mu, logvar) - log_normal(z, torch.zeros_like(z), torch.zeros_like(z))


def free_bits(kl: Float[Tensor, "n d"], minimum: float) -> PerExample:
    """Σ_j max(λ, mean over the batch of KL_j), the same for every example: below λ nats a dimension has no gradient.

    Source: Kingma et al. 2016 (free bits).
    """
    return kl.mean(0).clamp(min=minimum).sum().expand(len(kl))


def elbo(log_px: PerExample, kl: PerExample, beta: float = 1.0) -> PerExample:
    """log p(x|z) − β KL: a bound on log p(x) for β ≥ 1. Source: Kingma and Welling 2014, eq. 3; Higgins et al. 2017."""
    return log_px - beta * kl


def iwae(log_w: Float[Tensor, "k n"]) -> PerExample:
    """log (1/k) Σ_i w_i, w = p(x, z) / q(z|x): the bound rises to log p(x) with k. Source: Burda et al. 2016, eq. 8."""
    return torch.logsumexp(log_w, 0) - math.log(len(log_w))


def dreg(log_w: Float[Tensor, "k n"], z: Float[Tensor, "k n d"]) -> PerExample:
    """The IWAE bound with the doubly reparameterised gradient: w̃ for the decoder, w̃² for the encoder through z.

    `log_w` comes from `log_weights(..., stop=True)`, where q's parameters are constants, and z must lie in its graph.
    Source: Tucker et al. 2019.
    """
    share = torch.softmax(log_w, 0).detach()
    if z.requires_grad:
        z.register_hook(lambda gradient: gradient * share[..., None])
    surrogate = (share * log_w).sum(0)
    return iwae(log_w).detach() + surrogate - surrogate.detach()


def effective_beta(
    loss: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
    log_prob: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    out: Tensor,
    mu: Float[Tensor, "n d"],
    logvar: Float[Tensor, "n d"],
) -> float:
    """β of the loss a·E[−log p(x|z)] + b·E[KL] + constant, however it is reduced: β = b / a, from its gradients.

    Args:
        loss: maps (x, out, mu, logvar) to a 0-d loss.
        log_prob: log p(x|z) per example, in nats, that the loss is to be read by.
        x: data.
        out: the decoder's output.
        mu: means of q(z|x).
        logvar: log-variances of q(z|x).

    Raises:
        ValueError: the loss is not of that form: its gradients point elsewhere.
    """
    out, mu, logvar = (v.detach().clone().requires_grad_(True) for v in (out, mu, logvar))
    theirs = torch.autograd.grad(loss(x, out, mu, logvar), (out, mu, logvar))
    ours_out = torch.autograd.grad(-log_prob(x, out).mean(), out)
    ours_latent = torch.autograd.grad(kl_normal(mu, logvar).mean(), (mu, logvar))
    a = _ratio(theirs[:1], ours_out, "reconstruction term", "−log p(x|z)")
    return _ratio(theirs[1:], ours_latent, "term of mu and logvar", "KL") / a


def _ratio(theirs: tuple[Tensor, ...], ours: tuple[Tensor, ...], what: str, of: str) -> float:
    """The factor between two gradients that point in the same direction."""
    t, o = (torch.cat([g.flatten() for g in gradients]).double() for gradients in (theirs, ours))
    factor = (t @ o / (o @ o)).item()
    if not torch.allclose(t, factor * o, rtol=1e-3, atol=1e-3 * abs(factor) * o.abs().max().item()):
        raise ValueError(
            f"the loss's {what} is no multiple of {of}: no β describes it; pass the likelihood it is meant for"
        )
    return factor


# ------------------------------------------------------------------------------------------------------------- models


class Output(NamedTuple):
    """What a VAE returns: the decoder's output (n, …), z, and the parameters of q(z|x), each (n, d)."""

    out: Tensor
    z: Tensor
    mu: Tensor
    logvar: Tensor


class VAE(nn.Module):
    """Encoder x -> (μ, logvar), reparameterisation, decoder z -> logits or means; with labels y, a conditional VAE.

    Source: Kingma and Welling 2014; Rezende et al. 2014; conditional: Sohn et al. 2015.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x: Tensor, y: Tensor | None = None, *, eps: Tensor | None = None) -> Output:
        """Encode, sample and decode.

        Args:
            x: images (n, c, h, w).
            y: labels (n,) of a conditional VAE.
            eps: standard normal noise (n, d), or (k, n, d) for k samples an image: then z is (k, n, d) and the
                decoder's output has k · n rows, sample by sample. Drawn when not given.
        """
        labels = () if y is None else (y,)
        mu, logvar = self.encoder(x, *labels)
        z = mu + torch.exp(0.5 * logvar) * (torch.randn_like(mu) if eps is None else eps)
        copies = tuple(label.repeat(z.numel() // mu.numel()) for label in labels)
        return Output(self.decoder(z.flatten(0, -2), *copies), z, mu, logvar)


def log_weights(x: Tensor, output: Output, *, likelihood: Likelihood, stop: bool = False) -> Float[Tensor, "k n"]:
    """log p(x|z) + log p(z) − log q(z|x) for the k samples of `output`, whose z is (k, n, d).

    Args:
        x: the images (n, …) that were encoded.
        output: of a VAE called with `eps` of shape (k, n, d).
        likelihood: p(x|z).
        stop: treat q's parameters as constants in log q ("sticking the landing", Roeder et al. 2017).

    Raises:
        ValueError: z is not (k, n, d).
    """
    if output.z.ndim != 3:
        raise ValueError(f"z has shape {tuple(output.z.shape)}, not (k, n, d); give the VAE eps of that shape")
    k, n, _ = output.z.shape
    z = output.z.flatten(0, 1)
    mu, logvar = (v.detach() if stop else v for v in (output.mu, output.logvar))
    log_px = likelihood.log_prob(x.repeat(k, *[1] * (x.ndim - 1)), output.out)
    return (log_px - kl_sampled(z, mu.repeat(k, 1), logvar.repeat(k, 1))).view(k, n)


@torch.no_grad()
def evaluate(
    model: nn.Module, x: Tensor, y: Tensor | None = None, *, noise: Noise, k: int = 100, likelihood: str = "bernoulli"
) -> dict[str, Tensor]:
    """Per-example ELBO with one sample, its KL, and the IWAE bound with k samples, in nats, each (n,) on the CPU.

    The model runs in evaluation mode and all random numbers come from `noise`.

    Raises:
        ValueError: k is below 1, or the likelihood is unknown.
    """
    if k < 1:
        raise ValueError(f"k={k} must be at least 1, the samples an image")
    p = find_likelihood(likelihood)
    was_training = model.training
    model.eval()
    d = model(x[:1], None if y is None else y[:1], eps=x.new_zeros(())).mu.shape[1]
    rows: dict[str, list[Tensor]] = {"elbo": [], "kl": [], "iwae": []}
    size = max(1, 12_800 // k)  # images at a time, so that k samples of each fit the memory
    for i in range(0, len(x), size):
        part, label = x[i : i + size], None if y is None else y[i : i + size]
        eps = noise.normal(len(part), k, d).transpose(0, 1)
        output = model(part, label, eps=eps)
        log_w = log_weights(part, output, likelihood=p)
        kl = kl_normal(output.mu, output.logvar)
        one = p.log_prob(part, output.out[: len(part)])
        for name, value in (("elbo", elbo(one, kl)), ("kl", kl), ("iwae", iwae(log_w))):
            rows[name].append(value.cpu())
    model.train(was_training)
    return {name: torch.cat(values) for name, values in rows.items()}


ESTIMATORS = ("elbo", "iwae", "stl", "dreg", "autoencoder")


def player(
    model: nn.Module,
    optimizer: Optimizer,
    *,
    noise: Noise,
    z_dim: int,
    likelihood: str = "bernoulli",
    estimator: str = "elbo",
    k: int = 1,
    beta: float = 1.0,
    warmup: int = 0,
    minimum: float = 0.0,
    clip: float | None = None,
    accumulate: int = 1,
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
) -> Player:
    """A VAE as one player for `train`: it minimises minus the mean bound; the module comes from `accelerator.prepare`.

    Args:
        noise: source of ε.
        z_dim: latent dimensions.
        likelihood: a name in `LIKELIHOODS`.
        estimator: "elbo" (closed-form KL); with k samples "iwae", "dreg" or "stl" (sticking the landing, whose
            gradient is biased for k > 1: Tucker et al. 2019); or "autoencoder": z = μ and no KL, for comparison.
        k: samples an image, for "iwae", "stl" and "dreg".
        beta: weight of the KL term.
        warmup: steps over which beta rises from 0 (Bowman et al. 2016).
        minimum: free bits, in nats a dimension.

    Raises:
        ValueError: a name is unknown, or an argument does not go with the estimator.
    """
    p = find_likelihood(likelihood)
    if estimator not in ESTIMATORS:
        raise ValueError(f"unknown estimator {estimator!r}; known are {', '.join(ESTIMATORS)}")
    sampled = estimator in ("iwae", "stl", "dreg")
    if (k != 1 and not sampled) or (estimator != "elbo" and (beta != 1 or warmup or minimum)):
        raise ValueError('k goes with "iwae", "stl" and "dreg"; beta, warmup and minimum go with "elbo"')
    if k < 1:
        raise ValueError(f"k={k} must be at least 1, the samples an image")

    def loss(batch: Tensor | Batch, step: int) -> Tensor:
        x, y = unpack(batch)
        if estimator == "autoencoder":
            return -p.log_prob(x, model(x, y, eps=x.new_zeros(len(x), z_dim)).out).mean()
        if estimator == "elbo":
            output = model(x, y, eps=noise.normal(len(x), z_dim))
            terms = kl_per_dimension(output.mu, output.logvar)
            kl = free_bits(terms, minimum) if minimum else terms.sum(1)
            weight = beta * min(1.0, step / warmup) if warmup else beta
            return -elbo(p.log_prob(x, output.out), kl, weight).mean()
        output = model(x, y, eps=noise.normal(len(x), k, z_dim).transpose(0, 1))
        log_w = log_weights(x, output, likelihood=p, stop=estimator != "iwae")
        return -(dreg(log_w, output.z) if estimator == "dreg" else iwae(log_w)).mean()

    return Player("VAE", model, loss, optimizer, clip=clip, accumulate=accumulate, schedule=schedule)


class Quantised(NamedTuple):
    """Straight-through vectors (n, d, h, w), their codes (n, h, w), and the commitment ‖h − e‖² per example (n,)."""

    z: Tensor
    codes: Tensor
    commitment: Tensor


class Quantiser(nn.Module):
    """Nearest of k codebook vectors of length d, with straight-through gradient and moving-average codebook.

    In training each code moves, after the look-up, to the moving average of the vectors that chose it; codes whose
    average count falls below `restart` are replaced by vectors of the batch at hand.
    Source: van den Oord et al. 2017, eq. 1 to 3 and appendix A.1; restarts: Dhariwal et al. 2020 (Jukebox).
    """

    codebook: Tensor
    count: Tensor
    total: Tensor

    def __init__(self, k: int, d: int, *, decay: float = 0.99, restart: float = 0.1) -> None:
        super().__init__()
        self.decay, self.restart = decay, restart
        self.register_buffer("codebook", torch.randn(k, d))
        self.register_buffer("count", torch.ones(k))
        self.register_buffer("total", self.codebook.clone())

    def forward(self, h: Float[Tensor, "n d h w"]) -> Quantised:
        rows = h.detach().permute(0, 2, 3, 1).reshape(-1, h.shape[1]).float()
        codes = torch.cdist(rows, self.codebook).argmin(1).view(h.shape[0], *h.shape[2:])
        e = self.lookup(codes)
        if self.training:  # after the look-up: a code that is restarted now was still the nearest
            self._update(rows, codes.flatten())
        return Quantised(h + (e - h).detach(), codes, (h - e).square().flatten(1).sum(1))

    def lookup(self, codes: Int[Tensor, "n h w"]) -> Float[Tensor, "n d h w"]:
        """The codebook vectors of these numbers."""
        return self.codebook[codes].permute(0, 3, 1, 2)

    @torch.no_grad()
    def _update(self, rows: Tensor, codes: Tensor) -> None:
        chosen = F.one_hot(codes, len(self.codebook)).to(rows.dtype)
        with torch.autocast(rows.device.type, enabled=False):  # sums in float32 also when the networks run in bf16
            count, total = chosen.sum(0), chosen.T @ rows
        if torch.distributed.is_initialized():  # every process must move its codebook alike
            torch.distributed.all_reduce(count)
            torch.distributed.all_reduce(total)
        self.count.lerp_(count, 1 - self.decay)
        self.total.lerp_(total, 1 - self.decay)
        candidates = rows[torch.randint(len(rows), (len(self.codebook),), device=rows.device)]
        if torch.distributed.is_initialized():
            torch.distributed.broadcast(candidates, 0)
        unused = self.count < self.restart
        self.total[unused] = candidates[unused]
        self.count[unused] = 1.0
        # With restart=0 the count of an unused code decays to nothing; the code then stays where it is.
        known = self.count > 1e-20
        self.codebook[known] = self.total[known] / self.count[known, None]


class VQVAE(nn.Module):
    """Encoder to a grid of vectors, quantiser, decoder from the grid. Source: van den Oord et al. 2017."""

    def __init__(self, encoder: nn.Module, quantiser: Quantiser, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.quantiser, self.decoder = encoder, quantiser, decoder

    def forward(self, x: Tensor) -> tuple[Tensor, Quantised]:
        """The decoder's output (n, …), and the codes."""
        quantised = self.quantiser(self.encoder(x))
        return self.decoder(quantised.z), quantised


def vq_player(
    model: nn.Module,
    optimizer: Optimizer,
    *,
    likelihood: str = "bernoulli",
    commitment: float = 0.25,
    clip: float | None = None,
    accumulate: int = 1,
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
) -> Player:
    """A VQ-VAE as one player: it minimises −log p(x|z) + `commitment` · ‖h − e‖² (van den Oord et al. 2017)."""
    p = find_likelihood(likelihood)

    def loss(batch: Tensor | Batch, step: int) -> Tensor:
        x, _ = unpack(batch)
        out, quantised = model(x)
        return (commitment * quantised.commitment - p.log_prob(x, out)).mean()

    return Player("VQVAE", model, loss, optimizer, clip=clip, accumulate=accumulate, schedule=schedule)


class TwoLayers(NamedTuple):
    """Decoder's output (n, …), and the KL terms of the top and of the bottom layer, per example (n,)."""

    out: Tensor
    kl_top: Tensor
    kl_bottom: Tensor


class HierarchicalVAE(nn.Module):
    """Two stochastic layers: p(z₂) p(z₁|z₂) p(x|z₁) with q(z₁|x) q(z₂|z₁).

    ELBO = log p(x|z₁) − [log q(z₁|x) − log p(z₁|z₂)] − KL(q(z₂|z₁) ‖ p(z₂)). The bottom term is sampled: z₂ was drawn
    from z₁, so the closed form of KL(q(z₁|x) ‖ p(z₁|z₂)) at a fixed z₂ would be another number. All parts but the
    decoder return (μ, logvar). Source: Sønderby et al. 2016.
    """

    def __init__(self, encoder: nn.Module, upper: nn.Module, prior: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.upper, self.prior, self.decoder = encoder, upper, prior, decoder

    def forward(self, x: Tensor) -> TwoLayers:
        mu1, logvar1 = self.encoder(x)
        z1 = mu1 + torch.exp(0.5 * logvar1) * torch.randn_like(mu1)
        mu2, logvar2 = self.upper(z1)
        z2 = mu2 + torch.exp(0.5 * logvar2) * torch.randn_like(mu2)
        kl_bottom = log_normal(z1, mu1, logvar1) - log_normal(z1, *self.prior(z2))
        return TwoLayers(self.decoder(z1), kl_normal(mu2, logvar2), kl_bottom)


# ---------------------------------------------------------------------------------- the linear VAE and its exact answer


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
        ValueError: q does not lie between 1 and d − 1.
    """
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
