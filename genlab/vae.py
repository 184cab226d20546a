"""Variational autoencoders: bounds on log p(x), models, and the player that trains one.

Bounds take log-densities (`genlab.densities`) and return one value per example, in nats. The caller averages once,
last. Names follow the papers: x, z, mu, logvar, beta, k, n.
"""

import inspect
import math
import warnings
from collections.abc import Callable
from itertools import count
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from genlab.data import Batch, unpack
from genlab.densities import (
    LOOK_EVERY,
    Likelihood,
    PerExample,
    check_shapes,
    find_likelihood,
    kl_normal,
    kl_per_dimension,
    kl_sampled,
    log_normal,
)
from genlab.nets.common import evaluating, is_sigmoid
from genlab.processes import place, summed
from genlab.train import Noise, Player

# -------------------------------------------------------------------------------------------------------------- bounds


def free_bits(kl: Float[Tensor, "n d"], minimum: float) -> PerExample:
    """Σ_j max(λ, mean over the batch of KL_j), the same for every example: below λ nats a dimension has no gradient.

    With several processes the mean is that over the batches of all of them. Source: Kingma et al. 2016 (free bits).
    """
    check_shapes("n d", kl=kl)
    mean = kl.mean(0)
    if (world := place()[1]) > 1:  # the value that one process would find; gradients are averaged by whoever trains
        mean = summed(mean) / world + (mean - mean.detach())
    return mean.clamp(min=minimum).sum().expand(len(kl))


def elbo(log_px: PerExample, kl: PerExample, beta: float = 1.0) -> PerExample:
    """log p(x|z) − β KL: a bound on log p(x) for β ≥ 1. Source: Kingma and Welling 2014, eq. 3; Higgins et al. 2017."""
    check_shapes("n", log_px=log_px, kl=kl)
    return log_px - beta * kl


def iwae(log_w: Float[Tensor, "k n"]) -> PerExample:
    """log (1/k) Σ_i w_i, w = p(x, z) / q(z|x): the bound rises to log p(x) with k. Source: Burda et al. 2016, eq. 8."""
    check_shapes("k n", log_w=log_w)
    return torch.logsumexp(log_w, 0) - math.log(len(log_w))


def dreg(log_w: Float[Tensor, "k n"], z: Float[Tensor, "k n d"]) -> PerExample:
    """The IWAE bound with the doubly reparameterised gradient: w̃ for the decoder, w̃² for the encoder through z.

    `log_w` comes from `log_weights(..., stop=True)`, where q's parameters are constants, and z must lie in its graph.
    Source: Tucker et al. 2019.
    """
    check_shapes("k n d", z=z)
    check_shapes("k n", log_w=log_w, z=z[..., 0])
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
        ValueError: the loss is not of that form: its gradients point elsewhere, or there is no reconstruction term.
    """
    out, mu, logvar = leaves = [v.detach().clone().requires_grad_(True) for v in (out, mu, logvar)]
    value = loss(x, out, mu, logvar)
    found = torch.autograd.grad(value, leaves, allow_unused=True) if value.requires_grad else [None] * 3
    theirs = tuple(torch.zeros_like(v) if g is None else g for v, g in zip(leaves, found, strict=True))
    if not theirs[0].any():
        raise ValueError(
            "the loss does not depend on the decoder's output: it has no reconstruction term, so its β is infinite; "
            "subtract log p(x|z)"
        )
    ours_out = torch.autograd.grad(-log_prob(x, out).mean(), out)
    ours_latent = torch.autograd.grad(kl_normal(mu, logvar).mean(), (mu, logvar))
    a = _ratio(theirs[:1], ours_out, "reconstruction term", "−log p(x|z)")
    return _ratio(theirs[1:], ours_latent, "term of mu and logvar", "KL") / a


def _ratio(theirs: tuple[Tensor, ...], ours: tuple[Tensor, ...], what: str, of: str) -> float:
    """The factor between two gradients that point in the same direction."""
    # Not every accelerator has float64, so it is the processor's.
    t, o = (torch.cat([g.flatten() for g in gradients]).cpu().double() for gradients in (theirs, ours))
    factor = (t @ o / (o @ o)).item()
    if not torch.allclose(t, factor * o, rtol=1e-3, atol=1e-3 * abs(factor) * o.abs().max().item()):
        raise ValueError(
            f"the loss's {what} is no multiple of {of}: no β describes it; pass the likelihood it is meant for"
        )
    return factor


# -------------------------------------------------------------------------------------------------------------- models


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
        code = self.encoder(x, *labels)
        if isinstance(code, Tensor) or len(code) != 2:
            got = f"one tensor {tuple(code.shape)}" if isinstance(code, Tensor) else f"{len(code)} things"
            raise ValueError(f"the encoder returned {got}, not the pair (mu, logvar); let it end in h.chunk(2, 1)")
        mu, logvar = code
        if eps is not None and eps.ndim and eps.shape[-2:] != mu.shape:
            raise ValueError(
                f"eps has shape {tuple(eps.shape)}, but the encoder gives mu {tuple(mu.shape)}, and eps is (n, d) or "
                f"(k, n, d); with a player of z_dim={eps.shape[-1]}, tell it z_dim={mu.shape[-1]}"
            )
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


def _takes_eps(model: nn.Module) -> bool:
    """Whether a VAE lets its noise be given; one whose arguments cannot be read is taken to."""
    inner = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
    try:
        parameters = inspect.signature(inner.forward).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(p.name == "eps" or p.kind is p.VAR_KEYWORD for p in parameters)


def _ask(model: nn.Module, x: Tensor, y: Tensor | None, eps: Tensor | None) -> Output:
    """The output of a VAE, the package's or one's own. Without `eps` it draws its own noise."""
    noise = {} if eps is None else {"eps": eps}
    try:
        output = model(x, *(() if y is None else (y,)), **noise)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        if "size" not in str(error) and "shape" not in str(error):
            raise
        given = "" if eps is None else f" and eps {tuple(eps.shape)}, whose last axis is z_dim"
        raise ValueError(f"the model cannot take x {tuple(x.shape)}{given}: {error}; see that its parts fit") from error
    if isinstance(output, Output):
        return output
    if isinstance(output, tuple | list) and len(output) in (3, 4):
        out, *z, mu, logvar = output
        return Output(out, z[0] if z else mu.new_empty(0), mu, logvar)
    got = f"a {type(output).__name__}" + (f" of {len(output)}" if isinstance(output, tuple | list | dict) else "")
    raise ValueError(f"a VAE returns vae.Output(out, z, mu, logvar), or (out, mu, logvar), but this one {got}")


def _check_batch(p: Likelihood, x: Tensor, y: Tensor | None) -> None:
    """Raise a ValueError unless the likelihood is one of these pixels, and labels are whole numbers, one an image."""
    p.check(x)
    if y is not None and (y.shape != x.shape[:1] or y.is_floating_point() or y.dtype == torch.bool):
        raise ValueError(
            f"labels must be whole numbers, one for each of the {len(x)} images, but have dtype {y.dtype} and shape "
            f"{tuple(y.shape)}; try y.argmax(1) for one-hot rows, y.long() for floats"
        )


def _check_output(output: Output, z_dim: int, *, logits: bool) -> None:
    """Raise a ValueError for another number of latent dimensions; warn of a sigmoid where logits are wanted."""
    if output.mu.shape[-1] != z_dim:
        raise ValueError(f"z_dim={z_dim}, but the encoder gives {output.mu.shape[-1]} dimensions; make them equal")
    if logits and is_sigmoid(output.out):
        warnings.warn("the decoder ends in a sigmoid, but this likelihood takes logits: take it out", stacklevel=2)


@torch.no_grad()
def bounds(
    model: nn.Module, x: Tensor, y: Tensor | None = None, *, noise: Noise, k: int = 100, likelihood: str = "bernoulli"
) -> dict[str, Tensor]:
    """Per-example ELBO with one sample, its KL, and the IWAE bound with k samples, in nats, each (n,) on the CPU.

    The model runs in evaluation mode and all random numbers come from `noise`.

    Raises:
        ValueError: k is below 1, the likelihood is unknown or not one of such pixels, or the model takes no `eps`.
    """
    if k < 1:
        raise ValueError(f"k={k} must be at least 1, the samples an image")
    p = find_likelihood(likelihood)
    _check_batch(p, x, y)
    if not _takes_eps(model):
        raise ValueError(NO_EPS)
    rows: dict[str, list[Tensor]] = {"elbo": [], "kl": [], "iwae": []}
    size = max(1, 12_800 // k)  # images at a time, so that k samples of each fit the memory
    with evaluating(model):
        d = _ask(model, x[:1], None if y is None else y[:1], x.new_zeros(())).mu.shape[1]
        for i in range(0, len(x), size):
            part, label = x[i : i + size], None if y is None else y[i : i + size]
            eps = noise.normal(len(part), k, d).transpose(0, 1)
            output = _ask(model, part, label, eps)
            log_w = log_weights(part, output, likelihood=p)
            kl = kl_normal(output.mu, output.logvar)
            one = p.log_prob(part, output.out[: len(part)])
            for name, value in (("elbo", elbo(one, kl)), ("kl", kl), ("iwae", iwae(log_w))):
                rows[name].append(value.cpu())
    return {name: torch.cat(values) for name, values in rows.items()}


ESTIMATORS = ("elbo", "iwae", "stl", "dreg", "autoencoder")
SAMPLED = ("iwae", "stl", "dreg")
NO_EPS = (
    "this needs a VAE whose noise can be given: add an argument, forward(self, x, y=None, *, eps=None), and compute "
    "z = mu + torch.exp(0.5 * logvar) * eps"
)


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
) -> Player:
    """A VAE as one player for `train`: it minimises minus the mean bound; the module comes from `accelerator.prepare`.

    Clipping, accumulation and a schedule are the player's: `player(…).replace(clip=1.0)`. A VAE of one's own returns
    `Output` or (out, mu, logvar); without an argument `eps` it draws its own noise, and "elbo" alone can train it.

    Args:
        model: of which the encoder gives z_dim latent dimensions.
        optimizer: over its weights.
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
        ValueError: a name is unknown, or an argument does not go with the estimator. In training: pixels outside the
            likelihood's support, another z_dim than the encoder's, or outputs that are not a VAE's.
    """
    p = find_likelihood(likelihood)
    _check_arguments(model, estimator, k, beta != 1 or bool(warmup) or bool(minimum))
    own_noise, batches = not _takes_eps(model), count()

    def draw(x: Tensor) -> Tensor | None:
        if estimator in SAMPLED:
            return noise.normal(len(x), k, z_dim).transpose(0, 1)
        if estimator == "autoencoder":
            return x.new_zeros(len(x), z_dim)
        return None if own_noise else noise.normal(len(x), z_dim)

    def loss(batch: Tensor | Batch, step: int) -> Tensor:
        x, y = unpack(batch)
        look = next(batches) % LOOK_EVERY == 0
        if look:
            _check_batch(p, x, y)
        output = _ask(model, x, y, draw(x))
        if look:
            _check_output(output, z_dim, logits=likelihood.endswith("bernoulli"))
        weight = beta * min(1.0, step / warmup) if warmup else beta
        return -_bound(p, estimator, x, output, weight, minimum).mean()

    return Player("VAE", model, loss, optimizer)


def _bound(p: Likelihood, estimator: str, x: Tensor, output: Output, weight: float, minimum: float) -> PerExample:
    """What a player maximises, per example."""
    if estimator in SAMPLED:
        log_w = log_weights(x, output, likelihood=p, stop=estimator != "iwae")
        return dreg(log_w, output.z) if estimator == "dreg" else iwae(log_w)
    log_px = p.log_prob(x, output.out)
    if estimator == "autoencoder":
        return log_px
    terms = kl_per_dimension(output.mu, output.logvar)
    return elbo(log_px, free_bits(terms, minimum) if minimum else terms.sum(1), weight)


def _check_arguments(model: nn.Module, estimator: str, k: int, weighted: bool) -> None:
    """Raise a ValueError unless these arguments of a player go together."""
    if estimator not in ESTIMATORS:
        raise ValueError(f"unknown estimator {estimator!r}; known are {', '.join(ESTIMATORS)}")
    if (k != 1 and estimator not in SAMPLED) or (estimator != "elbo" and weighted):
        raise ValueError('k goes with "iwae", "stl" and "dreg"; beta, warmup and minimum go with "elbo"')
    if k < 1:
        raise ValueError(f"k={k} must be at least 1, the samples an image")
    if estimator != "elbo" and not _takes_eps(model):
        raise ValueError(f"estimator={estimator!r}: {NO_EPS}")


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
