"""Densities and divergences: log p(x) of data and latent codes, likelihoods by name, KL terms, exact toy distributions.

Every function returns one value per example, in nats: sums over pixels and dimensions, never means. The caller
averages once, last.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

PerExample = Float[Tensor, " n"]

X = Float[Tensor, "n *dims"]

LOG_2PI = math.log(2 * math.pi)
LOOK_EVERY = 100  # batches between two looks of a player at its pixels, as a look waits for the device


def check_shapes(axes: str = "n …", *, scalars: bool = False, **tensors: Tensor) -> None:
    """Raise a ValueError unless all are tensors of floats of one shape, with these axes; 0-d ones may be allowed.

    Broadcasting is refused: it would count pixels or pair examples several times, and nothing would show it.
    """
    first, shape = next(iter(tensors)), None
    for name, value in tensors.items():
        if not isinstance(value, Tensor) or not value.is_floating_point():
            got = f"dtype {value.dtype}" if isinstance(value, Tensor) else f"type {type(value).__name__}"
            raise ValueError(f"{name} must be a tensor of floats, but has {got}; try torch.as_tensor({name}).float()")
        shape = value.shape if shape is None else shape
        if value.shape != shape and not (scalars and value.ndim == 0):
            raise ValueError(
                f"{name} has shape {tuple(value.shape)}, but {first} has {tuple(shape)}; they are not broadcast: bring "
                f"one to the shape of the other, with view_as, expand_as or squeeze"
            )
    wanted = axes.split()
    if shape is None or len(shape) < len(wanted) or (len(shape) > len(wanted) and wanted[-1] != "…"):
        raise ValueError(f"{first} must have shape ({', '.join(wanted)}), but has {tuple(shape or ())}; reshape it")


def log_normal(x: X, mu: X | Float[Tensor, ""], logvar: X | Float[Tensor, ""]) -> PerExample:
    """log N(x; μ, diag e^logvar) = −½ Σ [log 2π + logvar + (x − μ)² / e^logvar]; logvar is log σ², not log σ."""
    check_shapes(scalars=True, x=x, mu=mu, logvar=logvar)
    return -0.5 * (LOG_2PI + logvar + (x - mu).square() * torch.exp(-logvar)).flatten(1).sum(1)


def log_bernoulli(x: X, logits: X) -> PerExample:
    """Σ [x log σ(a) + (1 − x) log(1 − σ(a))] at logits a; a likelihood only if every x is 0 or 1."""
    check_shapes(x=x, logits=logits)
    return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)


def log_continuous_bernoulli(x: X, logits: X) -> PerExample:
    """Σ [x log λ + (1 − x) log(1 − λ) + log C(λ)], λ = σ(a), C(λ) = 2 artanh(1 − 2λ) / (1 − 2λ): a density on [0, 1].

    In logits C = a / tanh(a / 2). Near a = 0 its series log C = log 2 + a²/12 is used, wrong by less than 4e-8.
    Source: Loaiza-Ganem and Cunningham 2019, section 3.
    """
    check_shapes(x=x, logits=logits)
    small = logits.abs() < 0.05
    safe = torch.where(small, torch.ones_like(logits), logits)
    log_c = torch.where(small, math.log(2) + logits.square() / 12, torch.log(safe / torch.tanh(safe / 2)))
    return log_bernoulli(x, logits) + log_c.flatten(1).sum(1)


def log_discretised_logistic(x: X, mean: X, log_scale: X, *, bins: int = 256) -> PerExample:
    """Σ log [F(x + ½ δ) − F(x − ½ δ)], F the logistic distribution function, δ = 1 / (bins − 1), x on a grid in [0, 1].

    The end bins take the tails, so that the probabilities of all bins sum to one. Source: Salimans et al. 2017, eq. 2.
    Outside [−30, 80] a log-scale has the value and the gradient of the nearer end, as float32 would overflow.
    """
    check_shapes(x=x, mean=mean, log_scale=log_scale)
    log_scale = log_scale + (log_scale.clamp(-30, 80) - log_scale).detach()  # which changes nothing within
    half, inverse = 0.5 / (bins - 1), torch.exp(-log_scale)
    upper, lower = (x - mean + half) * inverse, (x - mean - half) * inverse
    # log(σ(u) − σ(l)) = logσ(u) + logσ(−l) + log(1 − e^(l − u)), exact also where both are near 0 or 1.
    inner = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-2 * half * inverse))
    log_p = torch.where(x < half, F.logsigmoid(upper), torch.where(x > 1 - half, F.logsigmoid(-lower), inner))
    return log_p.flatten(1).sum(1)


# --------------------------------------------------------------------------------------------------------- likelihoods


class Likelihood(NamedTuple):
    """p(x|z): a density of x given the decoder's output.

    Attributes:
        log_prob: maps x and the decoder's output to log p(x|z), (n,).
        mean: maps the output to E[x|z], for the discretised logistic to its location. It is not cut to the range of
            images, which a Gaussian's may leave; `picture` is.
        channels: of the output for each channel of the image.
        support: least and greatest x.
        levels: number of values that x may take, evenly spaced over the support; 0 if it may take all.
        pixels: what `data.Batches` should convert images to.
    """

    log_prob: Callable[[Tensor, Tensor], Tensor]
    mean: Callable[[Tensor], Tensor]
    channels: int = 1
    support: tuple[float, float] = (-math.inf, math.inf)
    levels: int = 0
    pixels: str = "unit"

    def picture(self, out: Tensor) -> Tensor:
        """The mean with values cut to [0, 1]: what is shown, and compared with images."""
        return self.mean(out).clamp(0, 1)

    def check(self, x: Tensor) -> None:
        """Raise a ValueError that names range and remedy unless this is a likelihood of x; on a GPU it waits for x."""
        remedy = f'convert images with data.Batches(…, pixels="{self.pixels}") or data.to_float(x, "{self.pixels}")'
        if not isinstance(x, Tensor) or not x.is_floating_point() or not x.numel():
            got = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"x must be a tensor of floats with at least one value, but is {got}; {remedy}")
        x = x.detach()
        low, high = torch.stack(torch.aminmax(x)).tolist()
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"x holds values that are NaN or infinite (it ranges from {low} to {high}); mend the data")
        least, greatest = self.support
        if low < least - 1e-4 or high > greatest + 1e-4:
            raise ValueError(
                f"x ranges from {low:.4g} to {high:.4g}, but this likelihood is one of values in "
                f"[{least:g}, {greatest:g}], and without bound outside; {remedy}"
            )
        if self.levels:
            place = (x.float() - least) * ((self.levels - 1) / (greatest - least))
            if (place - place.round()).abs().max().item() > 0.1:
                raise ValueError(
                    f"x has values between the {self.levels} levels that alone have a probability here; {remedy}"
                )


def gaussian(sigma: float) -> Likelihood:
    """N(x; decoder's output, σ² I) with a fixed σ; constants are kept, so that values for different σ compare.

    Raises:
        ValueError: σ is not positive.
    """
    if not sigma > 0:
        raise ValueError(f"sigma={sigma} must be positive; it is the standard deviation of a pixel")
    logvar = 2 * math.log(sigma)
    return Likelihood(lambda x, out: log_normal(x, out, out.new_tensor(logvar)), lambda out: out)


def _halves(density: Callable[[Tensor, Tensor, Tensor], Tensor], **options: Any) -> Likelihood:
    """A likelihood whose decoder gives location and logarithm of the spread, one after the other, in its channels."""

    def log_prob(x: Tensor, out: Tensor) -> Tensor:
        check_shapes(x=x)
        if out.shape[1:2] != (2 * x.shape[1],):
            raise ValueError(
                f"this likelihood takes a location and a spread for each of the {x.shape[1]} channels of x, but the "
                f"decoder's output has shape {tuple(out.shape)}; make the decoder with channels={2 * x.shape[1]}"
            )
        return density(x, *out.chunk(2, 1))

    return Likelihood(log_prob, lambda out: out.chunk(2, 1)[0], 2, **options)


def _continuous_mean(logits: Tensor) -> Tensor:
    """E[x] of the continuous Bernoulli: λ / (2λ − 1) + 1 / (2 artanh(1 − 2λ)) = 1 / (1 − e^−a) − 1 / a, ½ at a = 0."""
    small = logits.abs() < 0.05
    safe = torch.where(small, torch.ones_like(logits), logits)
    return torch.where(small, 0.5 + logits / 12, -1 / torch.expm1(-safe) - 1 / safe)


LIKELIHOODS = {
    "bernoulli": Likelihood(log_bernoulli, torch.sigmoid, support=(0.0, 1.0), pixels="binary"),
    "gaussian": gaussian(0.1),
    "learned_gaussian": _halves(log_normal),
    "continuous_bernoulli": Likelihood(log_continuous_bernoulli, _continuous_mean, support=(0.0, 1.0)),
    "logistic": _halves(log_discretised_logistic, support=(0.0, 1.0), levels=256),
}


def find_likelihood(name: str) -> Likelihood:
    """A likelihood by name; an unknown name raises a ValueError that lists the known ones."""
    if name not in LIKELIHOODS:
        raise ValueError(f"unknown likelihood {name!r}; known are {', '.join(LIKELIHOODS)}")
    return LIKELIHOODS[name]


# --------------------------------------------------------------------------------------------------------- divergences


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
        ValueError: only one of `mu_p` and `logvar_p` is given, or shapes differ.
    """
    if mu.ndim != 2:
        raise ValueError(
            f"mu must have shape (n, d), but has {tuple(mu.shape)}; put the samples into n: mu.flatten(0, -2)"
        )
    if (mu_p is None) != (logvar_p is None):
        raise ValueError("mu_p and logvar_p go together: give both, or neither for N(0, I)")
    check_shapes("n d", mu=mu, logvar=logvar)
    ratio, square = logvar, mu.square()  # log σ²/σ_p² and (μ − μ_p)²/σ_p²
    if mu_p is not None and logvar_p is not None:
        check_shapes("n d", mu=mu, mu_p=mu_p, logvar_p=logvar_p)
        ratio, square = logvar - logvar_p, (mu - mu_p).square() * torch.exp(-logvar_p)
    # e^r − 1 − r through expm1: near r = 0, in collapsed dimensions, the plain difference is all rounding error.
    return 0.5 * (torch.expm1(ratio) - ratio + square)


def kl_sampled(z: Float[Tensor, "n d"], mu: Float[Tensor, "n d"], logvar: Float[Tensor, "n d"]) -> PerExample:
    """log q(z|x) − log p(z) at a sample z: the KL term with one Monte Carlo sample."""
    return log_normal(z, mu, logvar) - log_normal(z, torch.zeros_like(z), torch.zeros_like(z))


# --------------------------------------------------------------------------------------------- exact toy distributions


class Mixture(NamedTuple):
    """Mixture of isotropic Gaussians Σ_i w_i N(m_i, s² I) with equal or given weights.

    Attributes:
        means: component means, shape (k, d).
        std: the common standard deviation s.
        weights: mixture weights (k,), positive, summing to one.
    """

    means: Tensor
    std: float
    weights: Tensor

    def log_prob(self, x: Tensor) -> Tensor:
        """Exact log density in nats: (n, d) -> (n,)."""
        _check_points(x, self.means.shape[1])
        means, logits = self.means.to(x), self.weights.to(x).log()
        square = (x[:, None] - means).square().sum(-1) / self.std**2
        return torch.logsumexp(logits - 0.5 * square, 1) - means.shape[1] * math.log(self.std * math.sqrt(2 * math.pi))

    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw n points, shape (n, d), on the CPU."""
        chosen = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        return self.means[chosen] + self.std * torch.randn(n, self.means.shape[1], generator=generator)


class Checkerboard(NamedTuple):
    """Uniform density on the dark fields of a 4 by 4 board over [-side/2, side/2]²."""

    side: float = 4.0

    def log_prob(self, x: Tensor) -> Tensor:
        """Exact log density in nats, −∞ on light fields: (n, 2) -> (n,)."""
        _check_points(x, 2)
        field = ((x + self.side / 2) / (self.side / 4)).floor()
        dark = ((field >= 0) & (field < 4)).all(1) & (field.sum(1) % 2 == 0)
        return torch.where(dark, 0.0, -math.inf).to(x) - math.log(self.side**2 / 2)

    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw n points, shape (n, 2), on the CPU."""
        field = torch.randint(8, (n,), generator=generator)
        row, column = field // 2, 2 * (field % 2) + (field // 2) % 2
        # A point that is rounded onto the edge of its field would lie in the next one, where the density is zero.
        margin = 1e-5
        inside = margin + (1 - 2 * margin) * torch.rand(n, 2, generator=generator)
        return (torch.stack([row, column], 1) + inside) * self.side / 4 - self.side / 2


def _check_points(x: Tensor, d: int) -> None:
    check_shapes("n d", x=x)
    if x.shape[1] != d:
        raise ValueError(f"x has shape {tuple(x.shape)}, but points of this distribution are rows (n, {d})")


def mixture(means: Any, std: float, weights: Any = None) -> Mixture:
    """Mixture of Gaussians; means (k, d), or (k,) for one dimension; weights default to equal and are normalised."""
    means = torch.as_tensor(means, dtype=torch.float32)
    means = means[:, None] if means.ndim == 1 else means
    weights = torch.ones(len(means)) if weights is None else torch.as_tensor(weights, dtype=torch.float32)
    if means.ndim != 2 or weights.shape != means.shape[:1] or bool((weights <= 0).any()) or std <= 0:
        raise ValueError(
            f"mixture needs means (k, d), k positive weights and std > 0, but got means {tuple(means.shape)}, "
            f"weights {weights.tolist()}, std {std}"
        )
    return Mixture(means, std, weights / weights.sum())


def ring(k: int = 8, *, radius: float = 2.0, std: float = 0.1) -> Mixture:
    """k Gaussians on a circle, the classic test for lost modes."""
    angle = 2 * math.pi * torch.arange(k) / k
    return mixture(radius * torch.stack([angle.cos(), angle.sin()], 1), std)


def grid(side: int = 5, *, spacing: float = 1.0, std: float = 0.05) -> Mixture:
    """side × side Gaussians on a square grid around the origin."""
    line = spacing * (torch.arange(side) - (side - 1) / 2)
    return mixture(torch.cartesian_prod(line, line), std)


def moons(*, std: float = 0.1, k: int = 200) -> Mixture:
    """Two interleaved half circles, each made of k/2 close Gaussians, so that the density is exact."""
    t = torch.linspace(0, math.pi, k // 2)
    upper, lower = torch.stack([t.cos(), t.sin()], 1), torch.stack([1 - t.cos(), 0.5 - t.sin()], 1)
    return mixture(2 * (torch.cat([upper, lower]) - torch.tensor([0.5, 0.25])), std)


def spirals(*, turns: float = 1.5, std: float = 0.06, k: int = 400) -> Mixture:
    """Two interleaved spirals of k/2 close Gaussians each, evenly spread in angle."""
    angle = torch.linspace(0.5, 2 * math.pi * turns, k // 2)
    arm = 2 * (angle / angle[-1])[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    return mixture(torch.cat([arm, -arm]), std)


TOYS = {"ring": ring, "grid": grid, "moons": moons, "spirals": spirals, "checkerboard": Checkerboard}


def toy(name: str) -> Mixture | Checkerboard:
    """A 2-D distribution by name, with `sample(n)` and exact `log_prob(x)`."""
    if name not in TOYS:
        raise ValueError(f"unknown 2-D distribution {name!r}; known are {', '.join(TOYS)}")
    return TOYS[name]()  # type: ignore[operator]  # every entry can be called without arguments
