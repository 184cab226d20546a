"""Samplers, one flat function each, from noise to data along a grid of times; and the likelihood along the ODE.

Samplers take a function of (x_t, t), with t one time for each example, the point x at the first time, and the times,
which lie in [0, 1] and fall from noise (1) to data (0). `diffusion.predictor` makes the function of a network's output.
For the way between, call a sampler with two times after the other.
"""

import math
from collections.abc import Iterator
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from genlab.densities import PerExample, X, check_shapes, log_normal
from genlab.diffusion import Field, Path, check_times
from genlab.train import Noise


def steps(times: Tensor, *, falling: bool | None = None) -> Iterator[tuple[Tensor, Tensor]]:
    """Neighbouring times (t, s) of a grid, as 0-d tensors.

    Raises:
        ValueError: fewer than two times, times outside [0, 1], or times that are not strictly ordered as `falling` says
            (None: either way).
    """
    times = check_times(times)
    if times.ndim != 1 or len(times) < 2:
        raise ValueError(
            f"times must be a row of two or more, for a step or more, but have shape {tuple(times.shape)}; "
            "torch.linspace(1, 0, 26) makes 25 steps from noise to data"
        )
    ahead = times.diff()
    bad = {True: bool((ahead >= 0).any()), False: bool((ahead <= 0).any())}
    if all(bad.values()) if falling is None else bad[falling]:
        order = {None: "rise or fall throughout", True: "fall, from noise to data", False: "rise, from data to noise"}
        raise ValueError(
            f"times must {order[falling]}, without repetition, but go from {times[0].item():g} to "
            f"{times[-1].item():g} with steps from {ahead.min().item():g} to {ahead.max().item():g}; sort them"
        )
    return iter(pairwise(times.unbind()))


def _grid(times: Tensor, x: Tensor) -> Tensor:
    """Times where x is, and no shorter than float32: in bf16 neighbours of a fine grid would be one."""
    return times.to(x.device, torch.promote_types(x.dtype, torch.float32))


def _ask(f: Field, x: Tensor, t: Tensor) -> Tensor:
    """f(x, t) with the time t for each example; a ValueError unless it has the shape of x."""
    out = f(x, t.expand(len(x)))
    if out.shape != x.shape:
        raise ValueError(
            f"the function returned {tuple(out.shape)} for x {tuple(x.shape)}; it must return the shape of x, since "
            "another would be broadcast: bring it there with view_as or expand_as"
        )
    return out


@torch.no_grad()
def ancestral(denoise: Field, x: Tensor, times: Tensor, *, path: Path, noise: Noise, variance: str = "small") -> Tensor:
    """x_s ~ N(μ, v), μ and v those of q(x_s | x_t, x̂): DDPM's reverse chain (Ho et al. 2020, algorithm 2).

    Args:
        denoise: x̂(x_t, t).
        x: at the first time.
        times: falling.
        path: of the model.
        noise: source of random numbers.
        variance: "small" is the posterior's, DDPM's β̃; "large" that of q(x_t | x_s), DDPM's β. The last step to
            t = 0 adds none.

    Raises:
        ValueError: times, or the name, are not as above, or x̂ has not the shape of x.
    """
    if variance not in ("small", "large"):
        raise ValueError(f'variance={variance!r} must be "small" (β̃) or "large" (β)')
    for t, s in steps(_grid(times, x), falling=True):
        alpha, sigma, sigma_t = path.alpha(s), path.sigma(s), path.sigma(t)
        ratio = path.alpha(t) / alpha
        forward = sigma_t**2 - ratio**2 * sigma**2  # the variance of q(x_t | x_s)
        posterior = forward * sigma**2 / sigma_t**2
        mean = ratio * sigma**2 / sigma_t**2 * x + alpha * forward / sigma_t**2 * _ask(denoise, x, t)
        v = posterior if variance == "small" else torch.where(sigma > 0, forward, posterior)
        x = mean + v.clamp(min=0).sqrt() * noise.normal(*x.shape).to(x)
    return x


@torch.no_grad()
def ddim(
    denoise: Field, x: Tensor, times: Tensor, *, path: Path, eta: float = 0.0, noise: Noise | None = None
) -> Tensor:
    """x_s = α_s x̂ + √(σ_s² − v) ε̂ + √v z, v = η² β̃: deterministic for η = 0, the reverse chain for η = 1.

    Source: Song et al. 2021 (DDIM), eq. 12 and 16.

    Args:
        denoise: x̂(x_t, t).
        x: at the first time.
        times: falling.
        path: of the model.
        eta: in [0, 1].
        noise: source of z; needed for eta > 0.

    Raises:
        ValueError: times are not as above, eta lies outside [0, 1], noise is missing, or x̂ has not the shape of x.
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"eta={eta} must lie in [0, 1]: 0 is deterministic, 1 the reverse chain")
    if eta > 0 and noise is None:
        raise ValueError(f"eta={eta} draws noise; pass noise=train.Noise(seed), or eta=0")
    for t, s in steps(_grid(times, x), falling=True):
        alpha, sigma, alpha_t, sigma_t = path.alpha(s), path.sigma(s), path.alpha(t), path.sigma(t)
        data = _ask(denoise, x, t)
        eps = (x - alpha_t * data) / sigma_t
        # The variance of the step that is made, from t to s, also where times were left out: not that of the full grid.
        forward = sigma_t**2 - (alpha_t / alpha) ** 2 * sigma**2
        v = (eta**2 * forward * sigma**2 / sigma_t**2).clamp(min=0)
        x = alpha * data + (sigma**2 - v).clamp(min=0).sqrt() * eps
        if eta > 0 and noise is not None:
            x = x + v.sqrt() * noise.normal(*x.shape).to(x)
    return x


@torch.no_grad()
def euler(velocity: Field, x: Tensor, times: Tensor) -> Tensor:
    """x_s = x_t + (s − t) u(x_t, t): one evaluation a step, order 1. Times may also rise, from data to noise.

    Raises:
        ValueError: times lie outside [0, 1] or are not strictly ordered, or the velocity has not the shape of x.
    """
    for t, s in steps(_grid(times, x)):
        x = x + (s - t) * _ask(velocity, x, t)
    return x


@torch.no_grad()
def heun(velocity: Field, x: Tensor, times: Tensor) -> Tensor:
    """Euler's step, then again with the mean of the velocities at both ends: two evaluations a step, order 2.

    A step that ends at t = 0 is Euler's: there σ is 0 and a velocity may not exist. It keeps order 2, as one step with
    an error of the square of its length. Source: Karras et al. 2022, algorithm 1. Times may also rise.

    Raises:
        ValueError: times lie outside [0, 1] or are not strictly ordered, or the velocity has not the shape of x.
    """
    for t, s in steps(_grid(times, x)):
        first = _ask(velocity, x, t)
        guess = x + (s - t) * first
        x = guess if s == 0 else x + (s - t) * (first + _ask(velocity, guess, s)) / 2
    return x


@torch.no_grad()
def langevin(score: Field, x: Tensor, times: Tensor, *, size: float, noise: Noise) -> Tensor:
    """x ← x + ½ δ s(x, t) + √δ z, once for each time: unadjusted Langevin steps of size δ.

    At one time, repeated, it samples p_t up to a bias of order δ: for N(0, v) the variance is v / (1 − δ/(4v)). Along
    times that fall it is annealed (Song and Ermon 2019).

    Args:
        score: ∇ log p_t(x); a function of x alone is `lambda x, t: …`.
        x: where to begin.
        times: one a step, which may repeat and must not rise.
        size: δ.
        noise: source of z.

    Raises:
        ValueError: no times, times that rise or lie outside [0, 1], a size that is not positive, or a score that has
            not the shape of x.
    """
    times = check_times(_grid(times, x))
    if times.ndim != 1 or bool((times.diff() > 0).any()):
        raise ValueError(f"times must be a row that does not rise, one a step, but have shape {tuple(times.shape)}")
    if not 0 < size < float("inf"):
        raise ValueError(f"size={size} must be positive and finite: it is δ of a Langevin step")
    for t in times.unbind():
        x = x + size / 2 * _ask(score, x, t) + size**0.5 * noise.normal(*x.shape).to(x)
    return x


# ---------------------------------------------------------------------------------------------------------- likelihood


def ode_log_prob(
    velocity: Field, x: X, times: Float[Tensor, " k"], *, scale: float = 1.0, noise: Noise | None = None
) -> tuple[PerExample, Tensor]:
    """(log p(x), x at the last time): log N(x_1; 0, scale² I) + ∫ div u dt along the ODE, by Heun's steps.

    The density is that of the first time, which is near 0, and exact up to the steps, to N(0, scale² I) as the law of
    x at the last time, and, with `noise`, to Hutchinson's estimate of the divergence. Sources: Chen et al. 2018, eq. 8;
    Grathwohl et al. 2019 (one probe for all steps); Song et al. 2021, eq. 39.

    Args:
        velocity: u(x_t, t), differentiable in x_t.
        x: data (n, …).
        times: rising.
        scale: σ at the last time.
        noise: of the probe ±1; without it the divergence is exact, which takes a derivative for each dimension.

    Raises:
        ValueError: times do not rise, or lie outside [0, 1]; scale is not positive; or the velocity has not the shape
            of x, or no gradient in it.
    """
    check_shapes(x=x)
    if not 0 < scale < math.inf:
        raise ValueError(f"scale={scale} must be positive and finite: it is σ at the last time")
    probe = None if noise is None else torch.where(noise.uniform(*x.shape) < 0.5, -1.0, 1.0).to(x)
    total = x.new_zeros(len(x))
    for t, s in steps(_grid(times, x), falling=False):
        first, d_first = _divergence(velocity, x, t, probe)
        second, d_second = _divergence(velocity, x + (s - t) * first, s, probe)
        x = x + (s - t) * (first + second) / 2
        total = total + (s - t) * (d_first + d_second) / 2
    zero = torch.zeros_like(x)
    return log_normal(x, zero, zero + 2 * math.log(scale)) + total, x


def _divergence(velocity: Field, x: Tensor, t: Tensor, probe: Tensor | None) -> tuple[Tensor, Tensor]:
    """(u, div u (n,)), exact or by vᵀ (∂u/∂x) v."""
    with torch.enable_grad():
        x = x.detach().clone().requires_grad_(True)
        u = _ask(velocity, x, t)
        if probe is not None:
            return u.detach(), (_pulled(u, x, probe) * probe).flatten(1).sum(1)
        divergence = x.new_zeros(len(x))
        for i, part in enumerate(u.flatten(1).unbind(1)):  # examples do not mix, so their sum has each one's derivative
            divergence = divergence + _pulled(part, x, torch.ones_like(part)).flatten(1)[:, i]
    return u.detach(), divergence


def _pulled(u: Tensor, x: Tensor, weights: Tensor) -> Tensor:
    """wᵀ ∂u/∂x; a ValueError where there is no way from x to u."""
    found: Tensor | None = None
    if u.requires_grad:
        (found,) = torch.autograd.grad(u, x, grad_outputs=weights, retain_graph=True, allow_unused=True)
    if found is None:
        raise ValueError(
            "the velocity has no gradient in x: leave torch.no_grad() and torch.inference_mode(), and let it depend "
            "on x"
        )
    return found
