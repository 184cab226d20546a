"""Couplings and masked autoregressive maps, and the flow for images that is built of them.

Maps have `forward(x)` -> (z, log |det ∂z/∂x|) and `inverse(z)` -> x, as those of `nets.invertible` do.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from genlab.nets.common import check_shape, evaluating
from genlab.nets.invertible import ActNorm, Conv1x1, Flow, Logit, Squeeze

PROBES = 8  # points at which MAF looks at what depends on what: at one, a ReLU may be shut


def halves(channels: int, *, swap: bool = False) -> Tensor:
    """Mask (channels,) that keeps the first half, or with `swap` the second.

    Raises:
        ValueError: an odd number of channels, or none.
    """
    if channels < 2 or channels % 2:
        raise ValueError(
            f"channels={channels}: a coupling by halves needs an even number, 2 or more; Squeeze() makes 4 of each "
            "channel, and checkerboard(…) splits the pixels of a single one"
        )
    return (torch.arange(channels) < channels // 2).logical_xor(torch.tensor(swap)).float()


def checkerboard(height: int, width: int, *, swap: bool = False) -> Tensor:
    """Mask (height, width) that keeps every second pixel in both directions, or with `swap` the others."""
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    return ((rows + columns + swap) % 2).float()


class Coupling(nn.Module):
    """z = x where the mask m is 1, z = x e^s + t elsewhere, (s, t) = net(m x): log det = Σ (1 − m) s.

    The Jacobian is triangular, since s and t see only what stays. The log-scale is bounded, |s| < `limit`, by
    limit · tanh(· / limit), so that no step of training makes the map blow up. Source: Dinh et al. 2017, eq. 4 to 8.

    Args:
        net: maps m x (n, c, …) to (n, 2c, …), log-scales before shifts.
        mask: zeros and ones that broadcast to the shape of x without n; (c,) for images is one value a channel.
        limit: of the log-scale.

    Raises:
        ValueError: the mask is not of zeros and ones, or has one of them alone; the network's output has another shape.
    """

    mask: Tensor

    def __init__(self, net: nn.Module, mask: Tensor, *, limit: float = 2.0) -> None:
        super().__init__()
        if not 0 < limit < math.inf:
            raise ValueError(f"limit={limit} must be positive and finite; it bounds the logarithm of the scale")
        known = mask.detach().cpu().float()
        if bool(((known != 0) & (known != 1)).any()) or bool((known == known.flatten()[:1]).all()):
            raise ValueError(
                f"a mask must hold zeros and ones, and some of each, but has the values "
                f"{known.unique()[:5].tolist()}: what it keeps decides how the rest is moved"
            )
        self.net, self.limit = net, limit
        self.register_buffer("mask", mask.float(), persistent=False)  # part of the design, not of the weights

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What stays, as a mask, and (s, t) where it does not, 0 elsewhere."""
        keep = self.mask.to(x.dtype)
        keep = keep.view(-1, *[1] * (x.ndim - 2)) if keep.ndim == 1 and x.ndim > 2 else keep
        out = self.net(x * keep)
        wanted = (len(x), 2 * x.shape[1], *x.shape[2:])
        if out.shape != wanted:
            raise ValueError(
                f"the network of a coupling must give {wanted} for x {tuple(x.shape)}, a log-scale and a shift "
                f"for each value, but gave {tuple(out.shape)}"
            )
        s, t = out.to(x.dtype).chunk(2, 1)
        return keep, self.limit * torch.tanh(s / self.limit) * (1 - keep), t * (1 - keep)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        _, s, t = self._parts(x)
        return x * s.exp() + t, s.flatten(1).sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        _, s, t = self._parts(z)  # what stays is the same on both sides, so s and t are too
        return (z - t) * torch.exp(-s)


class MAF(nn.Module):
    """z_i = (x_i − μ_i) e^(−a_i), (μ_i, a_i) from x_<i: log det = −Σ a_i. One call forward, d calls back.

    Source: Papamakarios et al. 2017, eq. 3 and 4.

    Args:
        net: x (n, d) -> (n, d, 2), autoregressive whatever its weights, as nets.MADE(d, outputs=2) is; in any order.
        d: dimensions.
        limit: bounds the log-scale as in `Coupling`, |a| < limit; None, as in the paper, does not, and may diverge.

    Raises:
        ValueError: with other weights an output depends on its own input, directly or in a circle; or another shape.
    """

    def __init__(self, net: nn.Module, d: int, *, limit: float | None = None) -> None:
        super().__init__()
        if limit is not None and not 0 < limit < math.inf:
            raise ValueError(
                f"limit={limit} must be positive and finite; it bounds the logarithm of the scale, and None does not"
            )
        self.net, self.d, self.limit = net, d, limit
        self._check_order()

    @torch.no_grad()
    def _check_order(self) -> None:
        """Move each input in turn: the outputs that change depend on it, and no circle may close.

        The weights are random ones for this: a network may start as a constant, and training would change it.
        """
        g, like = torch.Generator().manual_seed(0), next(self.net.parameters(), torch.empty(()))
        weights = {
            name: (torch.randn(p.shape, generator=g) / math.sqrt(p[0].numel() if p.ndim > 1 else 1)).to(p)
            for name, p in self.net.named_parameters()
        }
        x = torch.randn(PROBES, 1, self.d, generator=g).to(like)
        rows = torch.cat([x, x + torch.eye(self.d).to(like)], 1).flatten(0, 1)
        with evaluating(self.net):
            out = self._checked(torch.func.functional_call(self.net, weights, (rows,)), rows)
        out = out.view(PROBES, self.d + 1, self.d, 2)
        moved = (out[:, 1:] - out[:, :1]).abs().amax((0, 3))
        rounding = 16 * torch.finfo(like.dtype).eps * out.abs().max()  # rows of a batch may be summed in other orders
        changed = (moved > rounding).T.cpu()  # i, j: output i sees x_j
        left = torch.ones_like(changed[0])
        for _ in range(self.d):
            left = left & (changed & left).any(1)  # the others have all that they depend on behind them
        if bool(left.any()):
            raise ValueError(
                f"the network is not autoregressive: under random weights outputs "
                f"{left.nonzero().flatten()[:5].tolist()} depend on themselves or on each other in a circle, so the "
                f"Jacobian is not triangular; mask it: nets.MADE({self.d}, outputs=2)"
            )

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.shape[1:] != (self.d,):
            raise ValueError(f"x must have shape (n, {self.d}), but got {tuple(x.shape)}; pass x.flatten(1)")
        mu, a = self._checked(self.net(x), x).to(x.dtype).unbind(2)
        return mu, a if self.limit is None else self.limit * torch.tanh(a / self.limit)

    def _checked(self, out: Tensor, x: Tensor) -> Tensor:
        if out.shape != (*x.shape, 2):
            raise ValueError(f"the network must give (n, {self.d}, 2), mean and log-scale, but gave {tuple(out.shape)}")
        return out

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, a = self._parts(x)
        return (x - mu) * torch.exp(-a), -a.sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        x = torch.zeros_like(z)
        for _ in range(self.d):  # after k passes the first k in the network's order are right, whatever it is
            mu, a = self._parts(x)
            x = z * a.exp() + mu
        return x


# ------------------------------------------------------------------------------------------------------------- networks


def conditioner(channels: int, width: int, *, blocks: int = 2) -> nn.Sequential:
    """Convolutions (n, c, h, w) -> (n, 2c, h, w) for a coupling; the last starts at 0, so the map starts as itself."""
    sizes = [channels, *[width] * blocks]
    layers: list[nn.Module] = []
    for i, o in pairwise(sizes):
        layers += [nn.Conv2d(i, o, 3, padding=1), nn.ReLU(), nn.Conv2d(o, o, 1), nn.ReLU()]
    last = nn.Conv2d(width, 2 * channels, 3, padding=1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias if last.bias is not None else last.weight)
    return nn.Sequential(*layers, last)


class RealNVP(nn.Module):
    """A flow for dequantised images (n, c, size, size): logit, couplings of pixels, then of channels after squeezes.

    Three scales: `steps` checkerboard couplings; then twice a squeeze and `steps` of ActNorm, 1 × 1 convolution and
    coupling by halves. z has the shape `z_shape`; all of it is kept to the end. Source: Dinh et al. 2017 for couplings
    and squeezes; Kingma and Dhariwal 2018 for what stands between them.

    Args:
        channels: of the images.
        size: of their sides.
        width: channels inside the couplings' networks, doubled at each squeeze.
        steps: couplings at each of three scales.
        levels: of a pixel.
        first: map of pixels in [0, levels] to real numbers; by default `Logit`. Where one level is most frequent, as
            the background of digits is, `Ranks((channels, size, size)).fit(x)` saves much of a bit a pixel.

    Raises:
        ValueError: a size that is no multiple of 4, or fewer than 2 steps.
    """

    def __init__(
        self,
        *,
        channels: int = 1,
        size: int = 28,
        width: int = 32,
        steps: int = 4,
        levels: int = 256,
        first: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if size < 4 or size % 4:
            raise ValueError(
                f"size={size}: two squeezes halve the sides twice, so they must be a multiple of 4; pad to "
                f"{4 * max(1, math.ceil(size / 4))}"
            )
        if steps < 2:
            raise ValueError(f"steps={steps} must be at least 2: one coupling moves half of the pixels alone")
        self.channels, self.size = channels, size
        self.z_shape = (16 * channels, size // 4, size // 4)
        maps: list[nn.Module] = [Logit(levels=levels) if first is None else first, ActNorm(channels)]
        for i in range(steps):
            mask = checkerboard(size, size, swap=bool(i % 2))
            maps.append(Coupling(conditioner(channels, width), mask))
        for scale in (1, 2):
            c = channels * 4**scale
            maps.append(Squeeze())
            for i in range(steps):
                mask = halves(c, swap=bool(i % 2))
                maps += [ActNorm(c), Conv1x1(c), Coupling(conditioner(c, width * 2**scale), mask)]
        self.flow = Flow(*maps)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        check_shape(x, self.channels, self.size)
        return self.flow(x)

    def inverse(self, z: Tensor) -> Tensor:
        if z.shape[1:] != self.z_shape:
            raise ValueError(f"z must have shape (n, {', '.join(map(str, self.z_shape))}), but got {tuple(z.shape)}")
        return self.flow.inverse(z)


Net = Callable[[], nn.Module]


def couplings(masks: list[Tensor], make: Net) -> Flow:
    """A flow of one coupling a mask, each with a network of its own from `make()`.

    Raises:
        ValueError: a value that no mask leaves free to move.
    """
    if not masks or bool(torch.stack(masks).bool().all(0).any()):
        raise ValueError(
            "every value must be moved by some coupling, but the masks given keep some of them always: alternate a "
            "mask with its complement, 1 − m"
        )
    return Flow(*[Coupling(make(), mask) for mask in masks])
