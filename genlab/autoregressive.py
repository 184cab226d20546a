"""Autoregressive models: exact log p(x) of images and sequences, sampling, the player, and counting as the baseline.

p(x) = Π_i p(x_i | x_<i). A network gives at place i the logits of x_i given x_<i, all in one pass. Log-probabilities
are per example, in nats. Binary images are floats of 0 and 1, sequences whole numbers.
"""

import inspect
import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from genlab.data import Batch, unpack
from genlab.densities import LOOK_EVERY, PerExample, log_bernoulli
from genlab.nets.common import evaluating
from genlab.train import Player

# --------------------------------------------------------------------------------------------------------- likelihoods


def log_prob(model: nn.Module, x: Float[Tensor, "n *dims"], y: Tensor | None = None) -> PerExample:
    """log p(x) = Σ_i log p(x_i | x_<i) of binary images, or log p(x|y), in nats. `model(x)` gives a logit a pixel.

    Raises:
        ValueError: the logits have another shape than x, or on the CPU pixels are not 0 or 1; elsewhere a look would
            wait for the device, and the player looks from time to time.
    """
    if x.device.type == "cpu":
        check_bits(x)
    logits = _ask(model, x, y)
    if logits.shape != x.shape:
        raise ValueError(
            f"the model gives {tuple(logits.shape)} for images {tuple(x.shape)}, but binary images need one logit a "
            "pixel, in the same shape; sequences of tokens go to log_prob_tokens"
        )
    return log_bernoulli(x, logits.float())


def log_prob_tokens(
    model: nn.Module, x: Int[Tensor, "n t"], y: Tensor | None = None, *, end: int | None = None
) -> PerExample:
    """log p(x) = Σ_i log p(x_i | x_<i) of sequences, in nats; `model(x)` gives logits (n, t, vocabulary).

    Args:
        model: the network.
        x: tokens.
        y: labels (n,), of a model with classes.
        end: the token that ends a sequence; what follows the first one in a row is filling, and does not count.

    Raises:
        ValueError: the logits are not (n, t, vocabulary).
    """
    logits = _ask(model, x, y)
    if logits.shape[:-1] != x.shape:
        raise ValueError(
            f"the model gives {tuple(logits.shape)} for sequences {tuple(x.shape)}, but tokens need logits for each "
            "member of a vocabulary, (n, t, vocabulary); binary images go to log_prob"
        )
    nats = -F.cross_entropy(logits.float().flatten(0, 1), x.flatten().long(), reduction="none").view(x.shape)
    return (nats if end is None else nats * counted(x, end)).sum(1)


def counted(x: Int[Tensor, "n t"], end: int) -> Tensor:
    """Which tokens belong to a sequence: those up to its first `end`, and that one; a mask (n, t)."""
    ends = (x == end).cumsum(1)
    return (ends == 0) | ((ends == 1) & (x == end))


def _ask(model: nn.Module, x: Tensor, y: Tensor | None) -> Tensor:
    return model(x) if y is None else model(x, y)


def check_causal(model: nn.Module, x: Tensor, y: Tensor | None = None) -> None:
    """Raise a ValueError if the logits of some x_i move with an x_j that does not come before x_i.

    One example is changed at its first, middle and last place of the order (`model.order`, or that of reading). A leak
    that these three do not touch is not found, nor one that moves logits by less than a thousandth, as in a network
    whose last layer starts at zero; the Jacobian of a small network with random weights shows them all.
    """
    places = _places(model, x[0].numel())
    picked = [0, len(places) // 2, len(places) - 1]
    rows = x[:1].flatten(1).repeat(4, 1)
    for row, rank in enumerate(picked, 1):
        rows[row, places[rank]] = 1 - rows[row, places[rank]].clamp(0, 1)  # another bit, or another token
    with torch.no_grad(), evaluating(model):
        logits = _ask(model, rows.view(4, *x.shape[1:]), None if y is None else y[:1].repeat(4))
    logits = logits.float().flatten(1).view(4, len(places), -1)
    moved = (logits - logits[:1]).abs().amax(2) > 1e-3 * (1 + logits[0].abs().amax(1))
    for row, rank in enumerate(picked, 1):
        if (seen := moved[row, places[: rank + 1]]).any():
            raise ValueError(
                f"the model is not autoregressive: its output number {int(seen.nonzero()[0])} of the order sees input "
                f"number {rank}, which does not come before it, so that its probabilities do not sum to 1; shift the "
                "input by one, and let masks leave out a place itself and all later ones"
            )


def _places(model: nn.Module, d: int) -> list[int]:
    """The places of x in the order in which the model generates them."""
    order = getattr(getattr(model, "module", model), "order", None)
    return list(range(d)) if order is None else order.argsort().tolist()


# ------------------------------------------------------------------------------------------------------------ sampling


@torch.no_grad()
def sample(
    model: nn.Module,
    n: int,
    *,
    shape: tuple[int, ...],
    generator: torch.Generator,
    temperature: float = 1.0,
    y: Tensor | None = None,
) -> Float[Tensor, "n *dims"]:
    """Binary images (n, *shape), one pixel after the other: as many passes of the network as pixels.

    The order is `model.order` where there is one, else that of reading. The numbers are drawn on the generator's
    device; the model runs in evaluation mode, and the images come out where it is.

    Args:
        model: gives a logit for each pixel.
        n: number of images.
        shape: of an image, such as (1, 28, 28).
        generator: of the random numbers.
        temperature: T divides each logit. It is not the temperature of whole images: that would need their sum.
        y: labels (n,), of a model with classes.

    Raises:
        ValueError: n is below 1, or the temperature is not positive.
    """
    _check_drawing(n, temperature)
    x = torch.zeros(n, *shape, device=_device(model))
    flat, bad = x.view(n, -1), torch.zeros((), dtype=torch.bool, device=x.device)
    with evaluating(model):
        for i in _places(model, flat.shape[1]):
            chance = torch.sigmoid(_ask(model, x, y).reshape(n, -1)[:, i].float() / temperature)
            flat[:, i] = (_uniform(n, generator, x.device) < chance).float()
            bad |= chance.isnan().any()
    _check_drawn(bad)
    return x


@torch.no_grad()
def sample_tokens(
    model: nn.Module,
    n: int,
    *,
    length: int,
    generator: torch.Generator,
    temperature: float = 1.0,
    y: Tensor | None = None,
    end: int | None = None,
) -> Int[Tensor, "n t"]:
    """Sequences (n, length) token by token, from a network that takes shorter ones; arguments as of `sample`.

    Args:
        model: gives logits (n, t, vocabulary) for sequences of every length t up to `length`.
        n: number of sequences.
        length: of the rows.
        generator: of the random numbers.
        temperature: T divides each token's logits.
        y: labels (n,), of a model with classes.
        end: after this token a row is filled up with it; drawing stops when all rows have ended.

    Raises:
        ValueError: n or length is below 1, or the temperature is not positive.
    """
    _check_drawing(n, temperature)
    if length < 1:
        raise ValueError(f"length={length} must be at least 1, the tokens of a sequence")
    x = torch.full((n, length), 0 if end is None else end, device=_device(model))
    going, bad = torch.ones(n, dtype=torch.bool, device=x.device), torch.zeros((), dtype=torch.bool, device=x.device)
    labels, options = () if y is None else (y,), _with_memory(model)
    with evaluating(model):
        for i in range(length):
            logits = model(x[:, : i + 1], *labels, **options)[:, -1].float()  # which do not see the last column
            below = torch.softmax(logits / temperature, 1).cumsum(1)
            bad |= below.isnan().any()
            u = _uniform(n, generator, x.device)[:, None] * below[:, -1:]
            token = (below <= u).sum(1).clamp(max=logits.shape[1] - 1)
            x[:, i] = token if end is None else torch.where(going, token, end)
            if end is not None:
                going &= token != end
                if not going.any():
                    break
    _check_drawn(bad)
    return x


def _with_memory(model: nn.Module) -> dict[str, dict[Any, Any]]:
    """A memory for networks that take one, as `nets.Transformer` does: each place is then computed once."""
    inner = getattr(model, "module", model)
    return {"memory": {}} if "memory" in inspect.signature(inner.forward).parameters else {}


def _check_drawn(bad: Tensor) -> None:
    if bad:
        raise ValueError("the model gives NaN: its training diverged, or its weights are damaged")


def _check_drawing(n: int, temperature: float) -> None:
    if n < 1:
        raise ValueError(f"n={n} must be at least 1, the examples to draw")
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature={temperature} must be positive and finite; near 0 each choice is the likeliest")


def _device(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def _uniform(n: int, generator: torch.Generator, device: torch.device) -> Tensor:
    return torch.rand(n, generator=generator, device=generator.device).to(device)


# ------------------------------------------------------------------------------------------------------------ training


def player(model: nn.Module, optimizer: Optimizer, *, tokens: bool = False, end: int | None = None) -> Player:
    """An autoregressive model as one player: it minimises the mean −log p(x), or −log p(x|y) of batches (x, y).

    At its first batch it looks whether outputs see what they should predict (`check_causal`). Clipping, accumulation
    and a schedule are the player's: `player(…).replace(clip=1.0)`.

    Args:
        model: gives logits for binary images, or with `tokens` for sequences.
        optimizer: over its weights.
        tokens: batches are sequences of tokens (n, t), not images.
        end: of the sequences, see `log_prob_tokens`.

    Raises:
        ValueError: `end` without tokens; in training, pixels other than 0 and 1, or a model that sees ahead.
    """
    if end is not None and not tokens:
        raise ValueError(f"end={end} is a token, but this player is told of images; pass tokens=True as well")
    batches = itertools.count()

    def loss(batch: Tensor | Batch, step: int) -> Tensor:
        x, y = unpack(batch)
        seen = next(batches)
        if not tokens and seen % LOOK_EVERY == 0:
            check_bits(x)
        if seen == 0:
            check_causal(model, x, y)
        return -(log_prob_tokens(model, x, y, end=end) if tokens else log_prob(model, x, y)).mean()

    return Player("AR", model, loss, optimizer)


def check_bits(x: Tensor) -> None:
    """Raise a ValueError unless every pixel is 0 or 1: of grey ones Σ log p would be no log-probability."""
    if ((x != 0) & (x != 1)).any():
        low, high = (v.item() for v in x.aminmax())
        raise ValueError(
            f"x has grey pixels or NaN, values from {low:g} to {high:g}, and a Bernoulli model gives a probability to "
            '0 and 1 alone; convert images with data.Batches(…, pixels="binary") or data.to_float(x, "binary")'
        )


# ------------------------------------------------------------------------------------------------------------ counting


class Ngram:
    """Counts of tokens after contexts of up to `order` − 1 tokens, interpolated by Witten and Bell's weights.

    p(c|h) = (count(h, c) + T(h) p(c|h')) / (count(h) + T(h)), where T(h) is the number of different tokens seen after
    h, and h' is h without its oldest token; below the empty context stands the uniform law. Before a sequence there
    are no tokens, so that its first contexts are shorter, and marked as such.
    Source: Witten and Bell 1991 (method C); Chen and Goodman 1999.

    Args:
        order: 1 counts single tokens, 2 pairs, …
        vocabulary: number of different tokens, which are 0 … vocabulary − 1.

    Raises:
        ValueError: a number is below 1; in use, an empty text, unknown tokens, or a model that has counted nothing.
    """

    def __init__(self, order: int, vocabulary: int) -> None:
        if min(order, vocabulary) < 1:
            raise ValueError(f"order={order} and vocabulary={vocabulary} must be at least 1; order 1 has no context")
        self.order, self.vocabulary = order, vocabulary
        self.counts: defaultdict[tuple[int, ...], dict[int, int]] = defaultdict(dict)
        self.totals: defaultdict[tuple[int, ...], int] = defaultdict(int)
        self.shared = False

    def fit(self, sequences: Sequence[Sequence[int]]) -> "Ngram":
        """Add the counts of sequences of tokens; returns itself."""
        if not sequences or not all(len(sequence) for sequence in sequences):
            raise ValueError("there is nothing to count: the text is empty, or one of its sequences is")
        if self.shared:
            raise ValueError("this model shares its counts with one of a higher order; fit that one, or a new one")
        for sequence in sequences:
            self._check(sequence)
            padded = (-1,) * (self.order - 1) + tuple(sequence)
            for i, token in enumerate(sequence):
                for k in range(self.order):
                    context = padded[i + self.order - 1 - k : i + self.order - 1]
                    after = self.counts[context]
                    after[token] = after.get(token, 0) + 1
                    self.totals[context] += 1
        return self

    def lower(self, order: int) -> "Ngram":
        """The model of a smaller order. It shares the counts of this one, in which its own are contained."""
        if not 1 <= order <= self.order:
            raise ValueError(f"order={order} must lie from 1 to {self.order}, since longer contexts were not counted")
        other = Ngram(order, self.vocabulary)
        other.counts, other.totals, other.shared = self.counts, self.totals, True
        return other

    def probability(self, token: int, before: Sequence[int]) -> float:
        """p(token | the tokens before it)."""
        self._check([token])
        padded = (-1,) * (self.order - 1) + tuple(before[max(0, len(before) - self.order + 1) :])
        p = 1 / self.vocabulary
        for k in range(self.order):
            context = padded[len(padded) - k :]
            after = self.counts.get(context)
            if after is None:
                break  # longer contexts have not been seen either
            p = (after.get(token, 0) + len(after) * p) / (self.totals[context] + len(after))
        return p

    def log_prob(self, sequences: Sequence[Sequence[int]]) -> PerExample:
        """log p of each sequence, in nats: (n,) in float64."""
        if not self.totals:
            raise ValueError("this model has counted nothing yet; call fit(sequences) first")
        nats = []
        for sequence in sequences:
            self._check(sequence)
            nats.append(sum(math.log(self.probability(t, sequence[:i])) for i, t in enumerate(sequence)))
        return torch.tensor(nats, dtype=torch.float64)

    def sample(self, *, length: int, generator: torch.Generator, end: int | None = None) -> list[int]:
        """One sequence of up to `length` tokens, which ends with the token `end` if it comes."""
        if not self.totals:
            raise ValueError("this model has counted nothing yet; call fit(sequences) first")
        if length < 1:
            raise ValueError(f"length={length} must be at least 1, the tokens of a sequence")
        drawn: list[int] = []
        while len(drawn) < length and (not drawn or drawn[-1] != end):
            p = torch.tensor([self.probability(t, drawn) for t in range(self.vocabulary)])
            drawn.append(int(torch.multinomial(p, 1, generator=generator)))
        return drawn

    def _check(self, sequence: Sequence[int]) -> None:
        if not len(sequence):
            raise ValueError("a sequence is empty; give at least the token that ends it")
        if min(sequence) < 0 or max(sequence) >= self.vocabulary:
            raise ValueError(
                f"tokens must lie from 0 to {self.vocabulary - 1}, but got {min(sequence)} to {max(sequence)}"
            )
