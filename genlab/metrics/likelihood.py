"""Annealed importance sampling: log p(x) of a latent-variable model between a lower and an upper bound.

The model is p(z) = N(0, I) and any p(x|z) that can be differentiated in z. Chains go from an easy law q(z), the prior
or a Gaussian near the posterior, to p(z) p(x|z) through π_β(z) ∝ q(z)^(1−β) [p(z) p(x|z)]^β, by Hamiltonian moves.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from genlab.densities import LOG_2PI
from genlab.metrics.features import rows, tensor
from genlab.vae import iwae

LogLikelihood = Callable[[Tensor, Tensor], Tensor]

Start = tuple[Tensor | np.ndarray, Tensor | np.ndarray]

ROWS = 4096  # chains that move together, so that images by the thousand fit the memory
PILOTS = 4  # chains an example that find the step sizes
ACCEPTED = 0.65  # share of accepted moves at which Hamiltonian moves travel farthest: Neal 2011, section 5.4.4
LEARNING = 0.5  # of the step size's logarithm, for every move; the size may have to fall a hundredfold on the way
JITTER = 0.2  # relative, of a step size: a path that closes on itself would never move


class Bound(NamedTuple):
    """A bound on log p(x) in nats, with its standard error over the chains (NaN for one chain), both (n,).

    `accepted` is the share of moves that were accepted, NaN without any; well below 0.5 the bound may be loose.
    """

    value: Tensor
    error: Tensor
    accepted: float


def ais(
    log_likelihood: LogLikelihood,
    x: Tensor | np.ndarray,
    d: int,
    *,
    steps: int = 500,
    chains: int = 16,
    leapfrog: int = 10,
    seed: int = 0,
    start: Start | None = None,
) -> Bound:
    """Lower bounds log (1/K) Σ_k w_k on log p(x), log w = Σ_t (β_t − β_{t−1}) [log p(x, z_{t−1}) − log q(z_{t−1})].

    E w = p(x), so E of the bound lies below log p(x), and exceeds it by b nats with a probability of e^−b at most. With
    one step it is importance sampling from q. Pilot chains choose the step sizes first: sizes that followed the chains
    themselves would spoil E w = p(x). Source: Neal 2001; Wu et al. 2017 for decoders.

    Args:
        log_likelihood: log p(x|z) in nats from rows of x and z (rows, d), one value a row, differentiable in z. Rows
            must not touch each other: networks stand in evaluation mode.
        x: examples (n, …), handed on as they are. z comes in float64: a network in float32 wants z.float().
        d: dimensions of z.
        steps: temperatures after β = 0.
        chains: an example.
        leapfrog: steps of a move, each of which costs a gradient.
        seed: of all random numbers.
        start: means and log-variances of q(z), (n, d) each, as an encoder gives them; None for the prior.

    Raises:
        ValueError: counts below 1, no examples, NaN, shapes that do not fit, or a likelihood that is not (rows,), not
            finite where chains start, or without a gradient.
    """
    x = _examples(x)
    return _run(log_likelihood, x, _start(start, len(x), d, x), None, (steps, chains, leapfrog, seed))


def ais_upper(
    log_likelihood: LogLikelihood,
    x: Tensor | np.ndarray,
    z: Tensor | np.ndarray,
    *,
    steps: int = 500,
    chains: int = 16,
    leapfrog: int = 10,
    seed: int = 0,
    start: Start | None = None,
) -> Bound:
    """Upper bounds −log (1/K) Σ_k 1/w_k on log p(x) of examples that the model itself made from z.

    z is then a draw from p(z|x), chains run back from it, E 1/w = 1/p(x), and E of the bound lies above log p(x). The
    error is that of the chains; z itself is one draw, so average over examples. With `ais` on the same x it encloses
    log p(x), and the gap bounds the error of both. Source: Grosse et al. 2015 (bidirectional Monte Carlo).

    Args:
        log_likelihood: as in `ais`.
        x: examples (n, …), drawn from p(x|z).
        z: the draws from the prior that they were made from (n, d).
        steps: as in `ais`.
        chains: as in `ais`.
        leapfrog: as in `ais`.
        seed: as in `ais`.
        start: as in `ais`, and made from x alone.

    Raises:
        ValueError: as in `ais`, or z that is not (n, d).
    """
    x, z = _examples(x), rows(z)
    if z.ndim != 2 or len(z) != len(x) or not z.isfinite().all():
        raise ValueError(f"z must be finite and ({len(x)}, d), one row an example, but got {tuple(z.shape)}")
    q = _start(start, len(x), z.shape[1], x)
    return _run(log_likelihood, x, q, z.to(x.device), (steps, chains, leapfrog, seed))


def _run(
    log_likelihood: LogLikelihood,
    x: Tensor,
    q: tuple[Tensor, Tensor],
    z: Tensor | None,
    counts: tuple[int, int, int, int],
) -> Bound:
    """Both bounds, block by block: chains run back from z if it is given."""
    steps, chains, leapfrog, seed = counts
    for name, count in (("steps", steps), ("chains", chains), ("leapfrog", leapfrog)):
        if count < 1:
            raise ValueError(f"{name}={count} must be at least 1")
    generator = torch.Generator().manual_seed(seed)
    # Fine near 0, where one step of β can tell a sharp posterior from the prior; even where q is near the posterior.
    beta = torch.linspace(0, 1, steps + 1, dtype=torch.float64).pow(4 if _is_prior(q) else 1).tolist()
    found = []
    for i in range(0, len(x), size := max(1, ROWS // chains)):
        part, mu, logvar = (v[i : i + size] for v in (x, *q))
        pilots = _Chains(log_likelihood, part, (mu, logvar), PILOTS, leapfrog, generator)
        sizes = pilots.sizes(beta)
        walk = _Chains(log_likelihood, part, (mu, logvar), chains, leapfrog, generator)
        found.append(walk.forward(beta, sizes) if z is None else walk.back(beta, sizes, z[i : i + size]))
    log_w = torch.cat([log_w for log_w, _ in found], 1)
    accepted = sum(accepted * log_w.shape[1] for log_w, accepted in found) / len(x)
    signed = log_w if z is None else -log_w
    value = iwae(signed)
    return Bound(value if z is None else -value, _error(signed), accepted)


class _Place(NamedTuple):
    """Where chains stand: z, log q(z) and log p(x, z), and their gradients."""

    z: Tensor
    log_q: Tensor
    log_p: Tensor
    slope_q: Tensor
    slope_p: Tensor


class _Chains:
    """Chains of n examples, chain by chain in rows: row k n + i is chain k of example i."""

    def __init__(
        self,
        log_likelihood: LogLikelihood,
        x: Tensor,
        q: tuple[Tensor, Tensor],
        chains: int,
        leapfrog: int,
        generator: torch.Generator,
    ) -> None:
        self.log_likelihood, self.chains, self.leapfrog, self.generator = log_likelihood, chains, leapfrog, generator
        self.x = x.repeat(chains, *[1] * (x.ndim - 1))
        self.mu, self.logvar = (v.repeat(chains, 1) for v in q)

    def forward(self, beta: list[float], sizes: list[Tensor]) -> tuple[Tensor, float]:
        """log w (chains, n) from q to the posterior, and the share of accepted moves."""
        at = self._first()
        log_w, taken = (beta[1] - beta[0]) * (at.log_p - at.log_q), []
        for t in range(1, len(beta) - 1):
            at, _, moved = self._move(at, beta[t], sizes[t - 1])
            log_w = log_w + (beta[t + 1] - beta[t]) * (at.log_p - at.log_q)
            taken.append(moved)
        return log_w.view(self.chains, -1), _mean(taken)

    def back(self, beta: list[float], sizes: list[Tensor], z: Tensor) -> tuple[Tensor, float]:
        """log w (chains, n) of the same path walked from draws of the posterior to q, and the accepted share."""
        at = self._place(z.repeat(self.chains, 1), begin=True)
        log_w, taken = (beta[-1] - beta[-2]) * (at.log_p - at.log_q), []
        for t in range(len(beta) - 2, 0, -1):
            at, _, moved = self._move(at, beta[t], sizes[t - 1])
            log_w = log_w + (beta[t] - beta[t - 1]) * (at.log_p - at.log_q)
            taken.append(moved)
        return log_w.view(self.chains, -1), _mean(taken)

    def sizes(self, beta: list[float]) -> list[Tensor]:
        """A step size for every move and example (n,), at which about 65 % of moves are accepted."""
        at = self._first()
        log_size = at.z.new_full((len(self.x) // self.chains,), math.log(0.5))
        found = []
        for low in beta[1:-1]:
            at, probability, _ = self._move(at, low, log_size.exp())
            log_size = log_size + LEARNING * (probability.view(self.chains, -1).mean(0) - ACCEPTED)
            found.append(log_size.exp())
        return found

    def _first(self) -> _Place:
        return self._place(self.mu + torch.exp(0.5 * self.logvar) * self._normal(), begin=True)

    def _place(self, z: Tensor, *, begin: bool = False) -> _Place:
        z = z.detach().requires_grad_(True)
        with torch.enable_grad():
            log_px, slope = self._ask(z)
        z = z.detach()
        if begin and not log_px.isfinite().all():
            raise ValueError("log_likelihood is NaN or infinite where chains start; look at the decoder, x and start")
        off = (z - self.mu) * torch.exp(-self.logvar)
        log_q = -0.5 * (LOG_2PI + self.logvar + off * (z - self.mu)).sum(1)
        return _Place(z, log_q, log_px - 0.5 * (LOG_2PI + z.square()).sum(1), -off, slope - z)

    def _ask(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """log p(x|z) in float64, and its gradient."""
        try:
            log_px = self.log_likelihood(self.x, z)
        except RuntimeError as error:
            if "dtype" not in str(error):
                raise
            raise ValueError(
                f"log_likelihood cannot take z in float64: {error}; hand z.float() to a decoder"
            ) from error
        if not isinstance(log_px, Tensor) or log_px.shape != (len(z),):
            got = tuple(log_px.shape) if isinstance(log_px, Tensor) else type(log_px).__name__
            raise ValueError(f"log_likelihood must give one value a row, ({len(z)},), but gave {got}; sum over pixels")
        if not log_px.requires_grad:
            raise ValueError("log_likelihood has no gradient in z; take no_grad() and detach() out of it")
        (slope,) = torch.autograd.grad(log_px.sum(), z)
        return log_px.detach().double(), slope

    def _move(self, at: _Place, beta: float, size: Tensor) -> tuple[_Place, Tensor, Tensor]:
        """One Hamiltonian move that leaves π_β as it is: the place, probabilities of acceptance, and what was taken."""
        eps = (size.repeat(self.chains) * (1 + JITTER * (2 * self._uniform() - 1)))[:, None]
        momentum = self._normal()
        energy, now = _energy(at, beta, momentum), at
        momentum = momentum + 0.5 * eps * _slope(now, beta)
        for i in range(self.leapfrog):
            now = self._place(now.z + eps * momentum)
            momentum = momentum + (0.5 if i == self.leapfrog - 1 else 1.0) * eps * _slope(now, beta)
        probability = _probability(energy - _energy(now, beta, momentum))
        taken = self._uniform() < probability
        kept = (torch.where(taken.view(-1, *[1] * (b.ndim - 1)), a, b) for a, b in zip(now, at, strict=True))
        return _Place(*kept), probability, taken

    def _normal(self) -> Tensor:
        return torch.randn(self.mu.shape, dtype=torch.float64, generator=self.generator).to(self.mu.device)

    def _uniform(self) -> Tensor:
        return torch.rand(len(self.mu), dtype=torch.float64, generator=self.generator).to(self.mu.device)


def _slope(at: _Place, beta: float) -> Tensor:
    return (1 - beta) * at.slope_q + beta * at.slope_p


def _energy(at: _Place, beta: float, momentum: Tensor) -> Tensor:
    return 0.5 * momentum.square().sum(1) - (1 - beta) * at.log_q - beta * at.log_p


def _probability(gain: Tensor) -> Tensor:
    """Metropolis' rule min(1, e^gain); a path that ran to infinity is refused."""
    return gain.clamp(max=0).exp().nan_to_num(0.0)


def _mean(taken: list[Tensor]) -> float:
    return torch.stack(taken).double().mean().item() if taken else math.nan


def _error(log_w: Tensor) -> Tensor:
    """The jackknife's standard error of log (1/K) Σ w, chain after chain left out."""
    K = len(log_w)
    if K == 1:
        return torch.full_like(log_w[0], math.nan)
    without = torch.stack([iwae(torch.cat([log_w[:k], log_w[k + 1 :]])) for k in range(K)])
    return ((K - 1) * (without - without.mean(0)).square().mean(0)).sqrt()


def _examples(x: Tensor | np.ndarray) -> Tensor:
    x = tensor(x)
    if not x.ndim or not len(x):
        raise ValueError(f"x must hold examples, (n, …) with n at least 1, but got {tuple(x.shape)}")
    if x.device.type == "mps":
        raise ValueError("chains are in float64, which this device has not; move x and the model to the CPU")
    if not x.isfinite().all():
        raise ValueError(f"x of shape {tuple(x.shape)} holds NaN or infinite values; no likelihood can be asked for")
    return x


def _start(start: Start | None, n: int, d: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """Means and log-variances of q(z), zeros for the prior."""
    if d < 1:
        raise ValueError(f"d={d} must be at least 1, the dimensions of z")
    if start is None:
        zeros = torch.zeros(n, d, dtype=torch.float64, device=x.device)
        return zeros, zeros
    mu, logvar = (rows(v).to(x.device) for v in start)
    if not (mu.shape == logvar.shape == (n, d) and mu.isfinite().all() and logvar.isfinite().all()):
        shapes = f"{tuple(mu.shape)} and {tuple(logvar.shape)}"
        raise ValueError(f"start must be finite means and log-variances, both ({n}, {d}), but got {shapes}")
    return mu, logvar


def _is_prior(q: tuple[Tensor, Tensor]) -> bool:
    return not (q[0].any() or q[1].any())
