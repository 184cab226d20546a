"""Networks that are autoregressive by their masks: the output for x_i sees only what comes before x_i."""

from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from genlab.nets.common import check_labels, embedding


class MaskedLinear(nn.Module):
    """y = (M ∘ W) x + b with a mask M (o, i) of zeros and ones: output a sees input b only where M_ab = 1.

    Raises:
        ValueError: the mask is not a matrix of zeros and ones.
    """

    mask: Tensor

    def __init__(self, mask: Float[Tensor, "o i"]) -> None:
        super().__init__()
        if mask.ndim != 2 or ((mask != 0) & (mask != 1)).any():
            raise ValueError(
                f"the mask must be a matrix (outputs, inputs) of 0 and 1, but has shape {tuple(mask.shape)}"
            )
        self.linear = nn.Linear(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask.float(), persistent=False)  # part of the design, not of the weights

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.linear.weight * self.mask, self.linear.bias)


def made_masks(order: Int[Tensor, " d"], hidden: tuple[int, ...]) -> list[Float[Tensor, "o i"]]:
    """The masks of a MADE: hidden units may see the inputs up to their own rank, outputs the units below theirs.

    Ranks of hidden units are spread evenly over 0 … d − 2. Of `order`, entry i is the rank of x_i.
    Source: Germain et al. 2015, eq. 12 and 13.
    """
    d = len(order)
    ranks = [order, *(torch.arange(width, device=order.device) * max(1, d - 1) // width for width in hidden)]
    masks = [(after[:, None] >= before).float() for before, after in pairwise(ranks)]
    return [*masks, (order[:, None] > ranks[-1]).float()]


class MADE(nn.Module):
    """Masked autoencoder: output i depends on x_j of lower rank alone. Source: Germain et al. 2015.

    Hidden layers of fewer than d − 1 units leave out some of the pairs: not every output sees all x_j of lower rank.

    Args:
        d: numbers in an example.
        hidden: widths of the hidden layers.
        order: ranks (d,): x_i is number order[i] of the chain. By default that of reading, 0 … d − 1.
        outputs: numbers for each x_i: 1 for the logit of a bit, k for a category of k, 2 for location and scale.
        classes: number of labels, if p(x|y) is wanted.

    Raises:
        ValueError: `order` is no permutation of 0 … d − 1, or a size is below 1.
    """

    order: Tensor

    def __init__(
        self,
        d: int,
        *,
        hidden: tuple[int, ...] = (500,),
        order: Int[Tensor, " d"] | None = None,
        outputs: int = 1,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        if min(d, outputs, *hidden, len(hidden)) < 1:
            raise ValueError(f"d={d}, hidden={hidden} and outputs={outputs} must be at least 1, with a hidden layer")
        reading = torch.arange(d)
        order = reading if order is None else torch.as_tensor(order).to(reading.device)
        if order.is_floating_point() or order.shape != (d,) or (order.sort().values != reading).any():
            raise ValueError(
                f"order must hold each rank from 0 to {d - 1} once, a permutation of {d} whole numbers, but is "
                f"{order.tolist() if order.numel() < 20 else tuple(order.shape)}; try torch.randperm({d})"
            )
        self.d, self.outputs = d, outputs
        self.register_buffer("order", order)
        first, *rest = made_masks(order, hidden)
        rest[-1] = rest[-1].repeat_interleave(outputs, 0)
        self.first, self.rest = MaskedLinear(first), nn.ModuleList(MaskedLinear(mask) for mask in rest)
        self.embedding = embedding(classes, hidden[0])

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        told = state_dict.get(prefix + "order")
        if told is not None and not torch.equal(told.to(self.order), self.order):
            raise ValueError(
                "these weights are of a MADE with another order, which the masks of this one do not fit; make this one "
                "with the same order="
            )
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(self, x: Float[Tensor, "n *dims"], y: Tensor | None = None) -> Tensor:
        """x (n, …) of d numbers each -> the same shape for one output, else (n, d, outputs)."""
        if x.ndim < 2 or x.shape[1:].numel() != self.d:
            raise ValueError(
                f"x must have {self.d} numbers an example, but has shape {tuple(x.shape)}; make MADE of them"
            )
        check_labels(y, self.embedding, len(x))
        h = self.first(x.flatten(1))
        if self.embedding is not None:
            h = h + self.embedding(y)
        for layer in self.rest:
            h = layer(F.relu(h))
        return h.view(x.shape) if self.outputs == 1 else h.view(len(x), self.d, self.outputs)


class MaskedConv2d(nn.Conv2d):
    """A convolution that sees the pixels before its own, row by row; kind "B" sees its own place as well, "A" does not.

    Kind A belongs into the first layer, whose input is the image, and B into the others. A stack of them has a blind
    spot; `PixelCNN` has none. Source: van den Oord, Kalchbrenner and Kavukcuoglu 2016, figure 2.

    Raises:
        ValueError: another kind, or an even kernel, which has no centre.
    """

    mask: Tensor

    def __init__(self, kind: str, inputs: int, outputs: int, kernel: int = 3) -> None:
        if kind not in ("A", "B"):
            raise ValueError(
                f'kind={kind!r}: a masked convolution is of kind "A", without its own pixel, or "B", with it'
            )
        _check_kernel(kernel)
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)
        mask = torch.ones(kernel, kernel)
        mask[kernel // 2, kernel // 2 + (kind == "B") :] = 0
        mask[kernel // 2 + 1 :] = 0
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight * self.mask, self.bias)


def _check_kernel(kernel: int) -> None:
    if kernel < 3 or kernel % 2 == 0:
        raise ValueError(f"kernel={kernel} must be odd and at least 3, so that it has a centre and sees beside it")


class _Gated(nn.Module):
    """One layer of the two stacks: v has seen the rows above, h also the pixels to the left; both (n, width, h, w)."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.side = kernel // 2
        self.down = nn.Conv2d(width, 2 * width, (self.side + 1, kernel))
        self.right = nn.Conv2d(width, 2 * width, (1, self.side + 1))
        self.link, self.out = nn.Conv2d(width, 2 * width, 1), nn.Conv2d(width, width, 1)

    def forward(self, v: Tensor, h: Tensor, label: Tensor | float) -> tuple[Tensor, Tensor]:
        below = v + _gate(self.down(F.pad(v, (self.side, self.side, self.side, 0))) + label)
        beside = _gate(self.right(F.pad(h, (self.side, 0, 0, 0))) + self.link(below) + label)
        return below, h + self.out(beside)


def _gate(a: Tensor) -> Tensor:
    """tanh(a₁) sigmoid(a₂) of the two halves of the channels."""
    one, two = a.chunk(2, 1)
    return torch.tanh(one) * torch.sigmoid(two)


class PixelCNN(nn.Module):
    """Binary images (n, 1, h, w) -> the logit of each pixel given those before it, row by row. Any size.

    The gated network: a vertical stack sees the rows above, a horizontal one the row to the left and the vertical one,
    so that nothing before a pixel is in a blind spot, once `depth` layers reach far enough.
    Source: van den Oord et al. 2016 (Conditional image generation with PixelCNN decoders), section 2.

    Args:
        width: channels of each stack.
        depth: gated layers, each of which sees kernel // 2 pixels further.
        kernel: odd side of the convolutions.
        classes: number of labels, if p(x|y) is wanted.
    """

    def __init__(self, *, width: int = 32, depth: int = 5, kernel: int = 5, classes: int | None = None) -> None:
        super().__init__()
        if min(width, depth) < 1:
            raise ValueError(f"width={width} and depth={depth} must be at least 1")
        _check_kernel(kernel)
        self.side = kernel // 2
        self.above = nn.Conv2d(1, width, (self.side, kernel))
        self.left = nn.Conv2d(1, width, (1, self.side))
        self.layers = nn.ModuleList(_Gated(width, kernel) for _ in range(depth))
        self.head = nn.Sequential(nn.ReLU(), nn.Conv2d(width, width, 1), nn.ReLU(), nn.Conv2d(width, 1, 1))
        self.embedding = embedding(classes, 2 * width)

    def forward(self, x: Float[Tensor, "n 1 h w"], y: Tensor | None = None) -> Float[Tensor, "n 1 h w"]:
        if x.ndim != 4 or x.shape[1] != 1:
            raise ValueError(
                f"images must have shape (n, 1, h, w), but got {tuple(x.shape)}; this network is for one channel"
            )
        check_labels(y, self.embedding, len(x))
        label = 0.0 if self.embedding is None else self.embedding(y)[:, :, None, None]
        # Shifted by a row and by a pixel, so that nothing sees its own place: mask A. All later layers may see theirs.
        v = self.above(F.pad(x, (self.side, self.side, self.side, 0))[:, :, :-1])
        h = self.left(F.pad(x, (self.side, 0, 0, 0))[..., :-1])
        for layer in self.layers:
            v, h = layer(v, h, label)
        return self.head(h)
