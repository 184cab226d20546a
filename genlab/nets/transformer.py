"""A causal transformer: sequences of tokens, or binary images pixel by pixel."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from genlab.nets.common import check_labels, embedding

Memory = dict[nn.Module, tuple[Tensor, Tensor]]
"""Keys and values (n, heads, t, size) of the tokens so far, by the attention that made them."""


class CausalAttention(nn.Module):
    """softmax(Q Kᵀ / √(width / heads), without what comes later) V in each head, then a linear map.

    Source: Vaswani et al. 2017, eq. 1; the scale is the root of the head's size, not of the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "n t width"], memory: Memory | None = None) -> Float[Tensor, "n t width"]:
        """All places at once; or, with a memory, which it extends, one more place."""
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, 2))
        if memory is not None:
            if self in memory:
                k, v = (torch.cat(pair, 2) for pair in zip(memory[self], (k, v), strict=True))
            memory[self] = (k, v)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=memory is None)  # (n, heads, t, width / heads)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """x + attention, then x + a layer of four times the width, each on normalised x (Radford et al. 2019)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), CausalAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Float[Tensor, "n t width"], memory: Memory | None = None) -> Float[Tensor, "n t width"]:
        x = x + self.attention(self.norm1(x), memory)
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """Tokens (n, t) -> logits (n, t, vocabulary) of each token given those before it, for t up to `context`.

    The input is shifted inside: place 0 sees a learned start, or the label. Source: Vaswani et al. 2017; Radford et
    al. 2019.

    Args:
        vocabulary: number of different tokens, which are 0 … vocabulary − 1.
        context: the longest sequence.
        width: length of a token's vector, a multiple of `heads`.
        depth: blocks.
        heads: of each attention.
        classes: number of labels, if p(x|y) is wanted.

    Raises:
        ValueError: a size is below 1, or the heads do not divide the width; in use, a sequence that is longer than the
            context, or tokens that are none.
    """

    def __init__(
        self,
        vocabulary: int,
        context: int,
        *,
        width: int = 128,
        depth: int = 4,
        heads: int = 4,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        if min(vocabulary, context, width, depth, heads) < 1:
            raise ValueError(
                f"vocabulary={vocabulary}, context={context}, width={width}, depth={depth} and heads={heads} must all "
                "be at least 1"
            )
        if width % heads:
            raise ValueError(f"width={width} is shared out among heads={heads}, so it must be a multiple of them")
        self.vocabulary, self.context = vocabulary, context
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Parameter(torch.zeros(context, width))
        self.embedding, self.start = embedding(classes, width), nn.Parameter(torch.zeros(width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary)
        for part in self.modules():
            if isinstance(part, nn.Linear | nn.Embedding):
                nn.init.normal_(part.weight, std=0.02)
            if isinstance(part, nn.Linear):
                nn.init.zeros_(part.bias)
        nn.init.normal_(self.places, std=0.02)

    def forward(
        self, x: Int[Tensor, "n t"], y: Tensor | None = None, *, memory: Memory | None = None
    ) -> Float[Tensor, "n places k"]:
        """The logits of all places; or, with a memory, those of the last place alone, as (n, 1, vocabulary).

        The memory is a dict that is empty before the first place, and is to be handed in again for each of the
        following ones: then drawing t tokens takes the arithmetic of one pass over t places, not of t passes.
        """
        check_tokens(x, self.vocabulary)
        if x.shape[1] > self.context:
            raise ValueError(
                f"the sequences have {x.shape[1]} tokens, but this network has a context of {self.context}; cut them, "
                "or make it with a longer context"
            )
        check_labels(y, self.embedding, len(x))
        if memory is not None:
            check_memory(memory, x)
        start = self.start.expand(len(x), -1)
        if self.embedding is not None:
            start = start + self.embedding(y)
        h = torch.cat([start[:, None], self.tokens(x[:, :-1])], 1) + self.places[: x.shape[1]]
        if memory is not None:
            h = h[:, -1:]
        for block in self.blocks:
            h = block(h, memory)
        return self.head(self.norm(h))


def check_memory(memory: Memory, x: Tensor) -> None:
    """Raise a ValueError unless the memory holds the places before the last of x, for as many sequences."""
    then = next(iter(memory.values()))[0].shape if memory else (len(x), 0, 0, 0)
    if (then[0], then[2]) != (len(x), x.shape[1] - 1):
        raise ValueError(
            f"the memory holds {then[2]} places of {then[0]} sequences, but x {tuple(x.shape)} needs "
            f"{x.shape[1] - 1} of {len(x)}; start with an empty one and add a place a call"
        )


def check_tokens(x: Tensor, vocabulary: int) -> None:
    """Raise a ValueError unless x is (n, t), t ≥ 1, of whole numbers; on the CPU also of numbers below `vocabulary`."""
    if not isinstance(x, Tensor) or x.dtype not in (torch.int64, torch.int32) or x.ndim != 2 or not x.shape[1]:
        got = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"tokens must be whole numbers (n, t) with t at least 1, but got {got}; convert: x.long()")
    if x.device.type == "cpu" and x.numel() and not torch.compiler.is_compiling():
        low, high = (int(v) for v in x.aminmax())
        if low < 0 or high >= vocabulary:
            raise ValueError(f"tokens must lie from 0 to {vocabulary - 1}, but got {low} to {high}; see the vocabulary")


class PixelTransformer(nn.Module):
    """Binary images (n, 1, size, size) -> the logit of each pixel given those before it, by a `Transformer` of bits.

    Its attention looks at size² places, so that it costs size⁴: for small images. Options as of `Transformer`.
    """

    def __init__(
        self, size: int, *, width: int = 128, depth: int = 4, heads: int = 4, classes: int | None = None
    ) -> None:
        super().__init__()
        self.size = size
        self.body = Transformer(2, size**2, width=width, depth=depth, heads=heads, classes=classes)

    def forward(self, x: Float[Tensor, "n 1 h w"], y: Tensor | None = None) -> Float[Tensor, "n 1 h w"]:
        if x.ndim != 4 or x.shape[1:] != (1, self.size, self.size):
            raise ValueError(f"images must have shape (n, 1, {self.size}, {self.size}), but got {tuple(x.shape)}")
        logits = self.body(x.flatten(1).long(), y)
        return (logits[..., 1] - logits[..., 0]).view(x.shape)
