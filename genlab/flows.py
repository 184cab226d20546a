"""Normalising flows: exact log-likelihoods by change of variables, dequantised pixels, samples, and the player.

A flow is a module whose `forward(x)` gives (z, log |det ∂z/∂x|), and whose `inverse(z)` gives x; its pieces are in
`nets.invertible` and `nets.coupling`. The prior of z is a standard normal.
"""

import math
from collections.abc import Sequence
from itertools import count

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from genlab.data import Batch, unpack
from genlab.densities import LOOK_EVERY, PerExample, X, log_normal
from genlab.nets.common import evaluating
from genlab.nets.invertible import invert
from genlab.train import Noise, Player


def log_prob(flow: nn.Module, x: X) -> PerExample:
    """log p(x) = log N(z; 0, I) + log |det ∂z/∂x|, z = f(x), in nats. Source: Dinh et al. 2015, eq. 3.

    Raises:
        ValueError: x are not floats, or the flow does not give z and one log-determinant an example.
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        got = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"a flow has a density at real numbers, but x is of {got}; pixels: dequantise(x, u)")
    z, log_det = flow(x)
    if log_det.shape != (len(x),):
        raise ValueError(
            f"the flow must give a log-determinant for each of {len(x)} examples, ({len(x)},), but gave "
            f"{tuple(log_det.shape)}; sum it over all but the first axis"
        )
    zero = z.new_zeros(())
    return log_normal(z, zero, zero) + log_det


def bits_per_dim(log_p: PerExample, dims: int) -> PerExample:
    """−log p / (dims · log 2): nats an example in bits a value. It means what the units of x mean.

    Raises:
        ValueError: dims is not a positive whole number.
    """
    if isinstance(dims, bool) or not isinstance(dims, int) or dims < 1:
        raise ValueError(f"dims={dims} must be the number of values of an example, such as x[0].numel()")
    return -log_p / (dims * math.log(2))


def dequantise(x: Tensor, u: Float[Tensor, "..."], *, levels: int = 256) -> Tensor:
    """x + u in [0, levels), for whole numbers x from 0 to levels − 1 and u uniform in [0, 1).

    For a density p of the sum, E_u log p(x + u) ≤ log ∫ p(x + u) du, which is the log-probability of x. Source: Theis
    et al. 2016, section 3.1.

    Args:
        x: whole numbers, or floats k / (levels − 1) in [0, 1], as `data.to_float` gives them.
        u: of the shape of x; `train.Noise.uniform(*x.shape)` draws them.
        levels: number of values of a pixel.

    Raises:
        ValueError: fewer than 2 levels; other shapes; on the CPU, values of x off the levels, or u not in [0, 1).
    """
    if levels < 2:
        raise ValueError(f"levels={levels} must be at least 2, or there is nothing to model; bytes have 256")
    if u.shape != x.shape or not u.is_floating_point():
        raise ValueError(
            f"u must be floats of the shape {tuple(x.shape)} of x, one for each pixel, but is {u.dtype} "
            f"{tuple(u.shape)}; draw noise.uniform(*x.shape)"
        )
    exact = x * (levels - 1) if x.is_floating_point() else x.to(u.dtype)
    whole = exact.round()
    if x.device.type == "cpu" and x.numel():
        _check_levels(exact, whole, u, levels)
    above = torch.nextafter(whole + 1, whole)  # 255 + u is rounded to 256 where u is within 1e-5 of 1
    return torch.minimum(whole + u, above)


def _check_levels(exact: Tensor, whole: Tensor, u: Tensor, levels: int) -> None:
    off = (exact - whole).abs().max().item()
    low, high = (float(v) for v in whole.aminmax())
    if not (off < 0.05 and low >= 0 and high <= levels - 1):
        raise ValueError(
            f"x must be whole numbers from 0 to {levels - 1}, or these divided by {levels - 1}, but as levels it "
            f"ranges from {low:g} to {high:g} and is off by up to {off:.2g}; pass bytes, or give levels="
        )
    if not (float(u.min()) >= 0 and float(u.max()) < 1):
        raise ValueError(f"u must lie in [0, 1), but ranges from {float(u.min()):.3g} to {float(u.max()):.3g}")


def quantise(x: Tensor, *, levels: int = 256) -> Tensor:
    """Floats in [0, levels) to whole numbers: rounded down and cut to 0 … levels − 1, bytes where they fit.

    Raises:
        ValueError: NaN among the values, which no number stands for.
    """
    if bool(x.isnan().any()):
        raise ValueError("x holds NaN: the way back through the flow overflowed; lower the temperature")
    whole = x.floor().clamp(0, levels - 1)
    return whole.to(torch.uint8 if levels <= 256 else torch.int64)


@torch.no_grad()
def sample(
    flow: nn.Module,
    n: int,
    shape: Sequence[int],
    *,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """f⁻¹(T ε) for n draws ε ~ N(0, I) of the shape of z; T = 1 is the model, and T < 1 is another law.

    Args:
        flow: used in evaluation mode; each part has its own mode back afterwards.
        n: number of samples.
        shape: of one z, such as (2,) or `RealNVP.z_shape`.
        temperature: T.
        generator: draws ε on its device; they are then moved to the flow's.

    Raises:
        ValueError: n is negative, or the temperature is negative or not finite.
    """
    if n < 0 or not 0 <= temperature < math.inf:
        raise ValueError(
            f"n={n} and temperature={temperature} must be finite and not negative; T = 1 samples from the model"
        )
    like = next(flow.parameters(), torch.empty(()))
    place = like.device if generator is None else generator.device
    eps = torch.randn(n, *shape, device=place, generator=generator).to(like)
    with evaluating(flow):
        return invert(flow, temperature * eps)


def player(flow: nn.Module, optimizer: Optimizer, *, noise: Noise | None = None, levels: int = 256) -> Player:
    """A flow as one player: it minimises the mean of −log p(x), in nats.

    Args:
        flow: its first call in training starts `ActNorm`.
        optimizer: over its weights.
        noise: of the dequantisation; x are then pixels of so many levels. None: x are real numbers already.
        levels: number of values of a pixel.

    Raises:
        ValueError: in training, noise on another device than the batch; every hundredth batch, pixels off the levels.
    """
    batches = count()

    def loss(batch: Tensor | Batch, step: int) -> Tensor:
        x, _ = unpack(batch)
        if noise is not None:
            u = noise.uniform(*x.shape)
            if u.device != x.device:
                raise ValueError(f"the batch is on {x.device}, but the noise is on {u.device}: Noise(device=…)")
            if next(batches) % LOOK_EVERY == 0:
                dequantise(x.cpu(), u.cpu(), levels=levels)
            x = dequantise(x, u, levels=levels)
        return -log_prob(flow, x).mean()

    return Player("flow", flow, loss, optimizer)
