"""Maps that can be inverted, with the logarithm of their volume change: what flows are made of, couplings apart.

A map goes from data to noise. `forward(x)` gives z and log |det ∂z/∂x|, (n,) in nats; `inverse(z)` gives x. The
arithmetic of a map stays in the precision of x: under autocast only the networks inside it are shortened.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlab.processes import place, summed


def invert(f: nn.Module, z: Tensor) -> Tensor:
    """f⁻¹(z), by the map's own `inverse`; a ValueError where it has none."""
    inverse = getattr(f, "inverse", None)
    if inverse is None:
        raise ValueError(f"{type(f).__name__} has no inverse(z) -> x; a flow is made of maps such as Coupling and MAF")
    return inverse(z)


class Flow(nn.Module):
    """One map after the other: z = f_K(… f_1(x)); the log-determinants add up. Source: Dinh et al. 2015, section 2."""

    def __init__(self, *maps: nn.Module) -> None:
        super().__init__()
        self.maps = nn.ModuleList(maps)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        total = x.new_zeros(len(x))
        for f in self.maps:
            x, log_det = f(x)
            total = total + log_det
        return x, total

    def inverse(self, z: Tensor) -> Tensor:
        for f in reversed(self.maps):
            z = invert(f, z)
        return z


class Inverse(nn.Module):
    """The same map, run the other way: what was cheap becomes dear. Of a `MAF` it makes an inverse autoregressive flow.

    Source: Kingma et al. 2016 (IAF).
    """

    def __init__(self, map: nn.Module) -> None:
        super().__init__()
        self.map = map

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = invert(self.map, x)
        return z, -self.map(z)[1]

    def inverse(self, z: Tensor) -> Tensor:
        return self.map(z)[0]


# ------------------------------------------------------------------------------------------------------------- channels


def _check_channels(x: Tensor, channels: int, name: str) -> None:
    if x.ndim < 2 or x.shape[1] != channels:
        raise ValueError(
            f"{name}({channels}) takes rows (n, {channels}) or images (n, {channels}, h, w), but got "
            f"{tuple(x.shape)}; give it the number of channels, x.shape[1]"
        )


class ActNorm(nn.Module):
    """z = (x − shift) e^s for each channel, started so that the first batch in training gets mean 0 and variance 1.

    log det = (values a channel) · Σ s. With several processes the first batch is that of all of them. Source: Kingma
    and Dhariwal 2018, section 3.1.

    Raises:
        ValueError: x or z has another number of channels.
    """

    started: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.s, self.shift = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("started", torch.zeros(()))
        self._known = False  # so that a GPU is asked once

    @torch.no_grad()
    def _start(self, x: Tensor) -> None:
        if not self.started.item():
            rows = x.detach().transpose(0, 1).flatten(1)
            rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
            count = rows.shape[1] * place()[1]
            mean = summed(rows.sum(1)) / count
            variance = summed((rows - mean[:, None]).square().sum(1)) / count
            self.shift.copy_(mean)
            self.s.copy_(-0.5 * torch.log(variance + 1e-6))
            self.started.fill_(1.0)
        self._known = True

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        _check_channels(x, self.channels, "ActNorm")
        shape = (-1, *[1] * (x.ndim - 2))
        return self.s.to(x.dtype).view(shape), self.shift.to(x.dtype).view(shape)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        _check_channels(x, self.channels, "ActNorm")
        if self.training and not self._known and len(x):
            self._start(x)
        s, shift = self._parts(x)
        return (x - shift) * s.exp(), (s.sum() * math.prod(x.shape[2:])).expand(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        s, shift = self._parts(z)
        return z * torch.exp(-s) + shift


class Conv1x1(nn.Module):
    """A convolution of 1 × 1: the same matrix W at each pixel, log det = h w log |det W|; W starts orthogonal.

    Rows (n, c) are multiplied by W once. Source: Kingma and Dhariwal 2018, section 3.2.

    Raises:
        ValueError: x or z has another number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.W = nn.Parameter(nn.init.orthogonal_(torch.empty(channels, channels)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        W = self.W.to(x.dtype)
        log_det = torch.linalg.slogdet(W).logabsdet * math.prod(x.shape[2:])
        return self._apply_to(x, W), log_det.expand(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        return self._apply_to(z, torch.linalg.inv(self.W.to(z.dtype)))

    def _apply_to(self, x: Tensor, W: Tensor) -> Tensor:
        _check_channels(x, self.channels, "Conv1x1")
        with torch.autocast(x.device.type, enabled=False):  # in bfloat16 the way back would miss by a per cent
            return torch.einsum("ij,nj...->ni...", W, x)


class Squeeze(nn.Module):
    """Squares of 2 × 2 pixels become 4 channels: (n, c, h, w) -> (n, 4c, h/2, w/2). Nothing is stretched: log det = 0.

    Raises:
        ValueError: not images, or an odd side; on the way back, channels that are no multiple of 4.
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.ndim != 4 or x.shape[2] % 2 or x.shape[3] % 2:
            raise ValueError(
                f"Squeeze needs images (n, c, h, w) with even sides, but got {tuple(x.shape)}; pad or crop them"
            )
        n, c, h, w = x.shape  # by hand, since F.pixel_unshuffle leaves an empty batch as it is
        z = x.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(n, 4 * c, h // 2, w // 2)
        return z, x.new_zeros(n)

    def inverse(self, z: Tensor) -> Tensor:
        if z.ndim != 4 or not z.shape[1] or z.shape[1] % 4:
            raise ValueError(
                f"Squeeze makes (n, 4c, h/2, w/2), but z is {tuple(z.shape)}; its channels must be a multiple of 4"
            )
        n, c, h, w = z.shape
        return z.reshape(n, c // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3).reshape(n, c // 4, 2 * h, 2 * w)


# -------------------------------------------------------------------------------------------------------- single values


class Logit(nn.Module):
    """z = logit(δ + (1 − 2δ) x / levels) for each value of x in [0, levels]: dequantised pixels become real numbers.

    log det = Σ [log(1 − 2δ) − log levels + softplus(z) + softplus(−z)]. Densities of x are then per grey level, so
    that −log₂ p compares with the bits of whole numbers. Source: Papamakarios et al. 2017, appendix E.2.

    Args:
        levels: the largest x; 256 for pixels 0 to 255 plus a u in [0, 1).
        margin: δ, how far the ends stay away from ±∞.

    Raises:
        ValueError: levels or margin out of range; on the CPU, values of x outside [0, levels].
    """

    def __init__(self, *, levels: float = 256, margin: float = 0.05) -> None:
        super().__init__()
        if not 0 < levels < math.inf or not 0 < margin < 0.5:
            raise ValueError(
                f"levels={levels} must be a positive number, and margin={margin} between 0 and 0.5; 0.05 is usual"
            )
        self.levels, self.margin = levels, margin

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        _check_range(x, self.levels)
        z = torch.logit(self.margin + (1 - 2 * self.margin) * x / self.levels)
        stretch = F.softplus(z) + F.softplus(-z) + math.log((1 - 2 * self.margin) / self.levels)
        return z, stretch.flatten(1).sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        """x, which leaves [0, levels] where z lies beyond the logit of δ: cut it for a picture."""
        return (torch.sigmoid(z) - self.margin) / (1 - 2 * self.margin) * self.levels


class Ranks(nn.Module):
    """z = Φ⁻¹(F(y)) for each value by itself; F has a step of P(level) for each level, straight within it.

    log det = Σ [log P(level of y) − log N(z; 0, 1)]. Alone it has exactly the likelihood of the table of counts P, so a
    spike at one level costs nothing. All levels are alike until `fit`. Float64 inside. Source: Chen and Gopinath 2000
    (Gaussianization), for single coordinates.

    Args:
        shape: of an example.
        levels: number of whole values; y is one of them plus a u in [0, 1).
    """

    P: Tensor

    def __init__(self, shape: Sequence[int], *, levels: int = 256) -> None:
        super().__init__()
        if levels < 2:
            raise ValueError(f"levels={levels} must be at least 2: a single level tells nothing")
        self.shape, self.levels = tuple(shape), levels
        self.register_buffer("P", torch.full((math.prod(shape), levels), 1 / levels, dtype=torch.float64))

    @torch.no_grad()
    def fit(self, x: Tensor, *, extra: float = 0.1) -> "Ranks":
        """Count the levels of whole numbers x (n, *shape), each as if seen `extra` times more: none is impossible.

        Raises:
            ValueError: x has another shape, is not of whole numbers below `levels`, or extra is not positive.
        """
        if not 0 < extra < math.inf:
            raise ValueError(
                f"extra={extra} must be a positive number, or a level that was not seen would be impossible"
            )
        if x.shape[1:] != self.shape or x.is_floating_point() or not len(x):
            raise ValueError(f"Ranks counts whole numbers (n, {self.shape}), but got {x.dtype} {tuple(x.shape)}")
        rows = x.flatten(1).T.long().to(self.P.device)
        low, high = int(rows.min()), int(rows.max())
        if low < 0 or high >= self.levels:
            raise ValueError(
                f"levels must lie from 0 to {self.levels - 1}, but x ranges from {low} to {high}; give levels="
            )
        counts = torch.full_like(self.P, extra)
        counts.scatter_add_(1, rows, torch.ones_like(rows, dtype=counts.dtype))
        self.P.copy_(counts / counts.sum(1, keepdim=True))
        return self

    def _table(self) -> Tensor:
        P = self.P.double()
        return P / P.sum(1, keepdim=True)  # a table that was stored in float16 sums to 1 only nearly

    def _check_shape(self, x: Tensor, name: str) -> None:
        if x.shape[1:] != self.shape:
            raise ValueError(
                f"{name} must have shape (n, {', '.join(map(str, self.shape))}), but got {tuple(x.shape)}: each place "
                "has its own ranks"
            )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self._check_shape(x, "x")
        _check_range(x, self.levels)
        P, y = self._table(), x.flatten(1).T.double()
        k = y.detach().long().clamp(0, self.levels - 1)
        step, below = P.gather(1, k), (P.cumsum(1) - P).gather(1, k)
        z = torch.special.ndtri((below + step * (y - k)).clamp(1e-9, 1 - 1e-9))  # u = 0 at the lowest level would be −∞
        log_det = step.log() + 0.5 * z.square() + 0.5 * math.log(2 * math.pi)
        return z.T.reshape(x.shape).to(x.dtype), log_det.sum(0).to(x.dtype)

    def inverse(self, z: Tensor) -> Tensor:
        self._check_shape(z, "z")
        P, share = self._table(), torch.special.ndtr(z.flatten(1).T.double()).contiguous()
        below = P.cumsum(1) - P
        k = (torch.searchsorted(below, share, right=True) - 1).clamp(0, self.levels - 1)
        y = k + (share - below.gather(1, k)) / P.gather(1, k)
        return y.T.reshape(z.shape).to(z.dtype)


def _check_range(x: Tensor, levels: float) -> None:
    """On the CPU, a ValueError for values outside [0, levels]; elsewhere a look would wait for the device."""
    if x.device.type == "cpu" and x.numel():
        low, high = (float(v) for v in x.detach().aminmax())
        if not (low >= 0 and high <= levels):
            raise ValueError(
                f"x ranges from {low:.4g} to {high:.4g}, but this map takes values in [0, {levels:g}]; "
                "flows.dequantise makes them of pixels"
            )


# --------------------------------------------------------------------------------------------------------------- planar


def repair(w: Tensor, u: Tensor) -> Tensor:
    """û = u + (softplus(wᵀu) − 1 − wᵀu) w / ‖w‖², so that wᵀû = softplus(wᵀu) − 1 > −1, up to rounding.

    Source: Rezende and Mohamed 2015, appendix A.1.

    Raises:
        ValueError: w = 0, along which nothing can be moved, or NaN.
    """
    if not (w @ w).detach().item() > 0:
        raise ValueError("w must not be 0 nor NaN: u is repaired along w; a map with w = 0 is a shift, of any u")
    return _repaired(w, u)


def _repaired(w: Tensor, u: Tensor) -> Tensor:
    inner = w @ u
    return u + (F.softplus(inner) - 1 - inner) * w / (w @ w)


def planar(x: Tensor, w: Tensor, u: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """x + u tanh(wᵀx + b), and log |1 + (1 − tanh²) wᵀu|, (n,). Source: Rezende and Mohamed 2015, eq. 10 to 12.

    Raises:
        ValueError: wᵀu < −1 by more than rounding, where two x have the same image; or NaN.
    """
    with torch.autocast(x.device.type, enabled=False):
        inner = w @ u
        value, slack = (v.detach().item() for v in (inner, 1e-5 * w.norm() * u.norm()))
        if not value >= -1 - slack:
            raise ValueError(
                f"wᵀu = {value:.3g} must not lie below −1, where the map folds and cannot be inverted; pass "
                "repair(w, u) for u"
            )
        h = torch.tanh(x @ w + b)
        return x + h[:, None] * u, torch.log1p((1 - h.square()) * inner.clamp(min=-1))


class Planar(nn.Module):
    """`planar` with w, u, b to be learned, u repaired. The way back is a search on a line: 60 halvings.

    Gradients of the way back are those of the implicit function: the search itself has none.
    """

    def __init__(self, d: int) -> None:
        super().__init__()
        self.w, self.u = nn.Parameter(torch.randn(d) / math.sqrt(d)), nn.Parameter(torch.randn(d) / math.sqrt(d))
        self.b = nn.Parameter(torch.zeros(()))

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """w, û, b and 1 + wᵀû, which as a softplus stays positive whatever û is rounded to."""
        w, u, b = (v.to(x.dtype) for v in (self.w, self.u, self.b))
        return w, _repaired(w, u), b, F.softplus(w @ u)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(x.device.type, enabled=False):
            w, u, b, least = self._parts(x)
            h = torch.tanh(x @ w + b)
            return x + h[:, None] * u, torch.log(h.square() + (1 - h.square()) * least)

    def inverse(self, z: Tensor) -> Tensor:
        # Along w the map is a ↦ a + wᵀû tanh(a + b), which rises; its value lies within |wᵀû| of a.
        with torch.autocast(z.device.type, enabled=False):
            w, u, b, least = self._parts(z)
            aim, inner = z @ w, least - 1
            a = _search(aim.detach(), inner.detach(), b.detach())
            h = torch.tanh(a + b.detach()).square()
            off = a + inner * torch.tanh(a + b) - aim  # its gradient is that of the equation, at the a found
            a = a - (off - off.detach()) / (h + (1 - h) * least).detach()
            return z - torch.tanh(a + b)[:, None] * u


def _search(aim: Tensor, inner: Tensor, b: Tensor) -> Tensor:
    low, high = aim - inner.abs(), aim + inner.abs()
    for _ in range(60):
        middle = (low + high) / 2
        above = middle + inner * torch.tanh(middle + b) > aim
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return (low + high) / 2
