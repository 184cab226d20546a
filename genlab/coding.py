"""The likelihood as a file: an arithmetic coder that a model drives, and that needs −log₂ p(x) bits and a few more.

The coder works with whole numbers, so that both ends do the same. The model must do the same too: whoever decodes has
to compute exactly the probabilities that were encoded with. Floating point gives the same ones to the same program on
the same machine for batches of the same shape; nothing else is to be relied on.
"""

import zlib
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

TOTAL = 1 << 20
"""Frequencies of all symbols at a place sum to this, so that a certain symbol costs 1e-6 bits."""

_BITS = 48  # of the interval's ends: its length stays above 2^46, far more than TOTAL
_FULL, _HALF, _QUARTER = (1 << _BITS) - 1, 1 << (_BITS - 1), 1 << (_BITS - 2)


def frequencies(probs: Float[Tensor, "*dims k"]) -> Int[Tensor, "*dims k"]:
    """Probabilities as whole numbers ≥ 1 that sum to `TOTAL`; what rounding leaves over goes to the likeliest symbol.

    No symbol gets 0, or it could not be encoded. Probabilities of which some are below 1 / TOTAL cost a little more.

    Raises:
        ValueError: probabilities that are negative, NaN or do not sum to 1, or too many symbols.
    """
    probs = probs.detach().cpu().double()
    k = probs.shape[-1]
    if not 2 <= k <= TOTAL // 16:
        raise ValueError(f"{k} symbols cannot be coded; there must be from 2 to {TOTAL // 16}")
    if not (probs >= 0).all() or not torch.allclose(probs.sum(-1), torch.ones((), dtype=torch.float64), atol=1e-4):
        raise ValueError("probabilities must be at least 0 and sum to 1 over the last axis; use softmax(logits, -1)")
    whole = 1 + (probs * (TOTAL - k) / probs.sum(-1, keepdim=True)).floor().long()
    rest = TOTAL - whole.sum(-1, keepdim=True)
    return whole.scatter_add(-1, probs.argmax(-1, keepdim=True), rest)


class Encoder:
    """An interval [low, high] that shrinks to a symbol's share; leading bits on which both ends agree are written.

    Source: Witten, Neal and Cleary 1987.
    """

    def __init__(self) -> None:
        self.low, self.high, self.waiting = 0, _FULL, 0
        self.bits: list[int] = []

    def encode(self, start: int, stop: int, total: int = TOTAL) -> None:
        """Narrow the interval to its part from start / total to stop / total.

        Raises:
            ValueError: not 0 ≤ start < stop ≤ total.
        """
        if not 0 <= start < stop <= total:
            raise ValueError(f"a symbol needs a share 0 ≤ start < stop ≤ total, but got {start}, {stop} of {total}")
        size = self.high - self.low + 1
        self.high = self.low + size * stop // total - 1
        self.low += size * start // total
        while True:
            if self.high < _HALF:
                self._write(0)
            elif self.low >= _HALF:
                self._write(1)
                self.low, self.high = self.low - _HALF, self.high - _HALF
            elif self.low >= _QUARTER and self.high < 3 * _QUARTER:  # the next bit is open, the one after it is not
                self.waiting += 1
                self.low, self.high = self.low - _QUARTER, self.high - _QUARTER
            else:
                return
            self.low, self.high = 2 * self.low, 2 * self.high + 1

    def _write(self, bit: int) -> None:
        self.bits += [bit] + [1 - bit] * self.waiting
        self.waiting = 0

    def finish(self) -> bytes:
        """The file: the bits so far and as many as tell the interval from its neighbours, filled up to whole bytes."""
        self.waiting += 1
        self._write(int(self.low >= _QUARTER))
        bits = self.bits + [0] * (-len(self.bits) % 8)
        return bytes(int("".join(map(str, bits[i : i + 8])), 2) for i in range(0, len(bits), 8))


class Decoder:
    """What `Encoder` wrote, read in the same steps. Behind its end a file goes on with zeros."""

    def __init__(self, content: bytes) -> None:
        self.low, self.high = 0, _FULL
        self.bits = iter("".join(f"{byte:08b}" for byte in content))
        self.code = 0
        for _ in range(_BITS):
            self.code = 2 * self.code + self._read()

    def _read(self) -> int:
        return int(next(self.bits, "0"))

    def decode(self, edges: list[int]) -> int:
        """The next symbol; symbol s has the share from edges[s] to edges[s + 1], and edges ends with the total."""
        size, total = self.high - self.low + 1, edges[-1]
        place = ((self.code - self.low + 1) * total - 1) // size
        symbol = 0
        while edges[symbol + 1] <= place:
            symbol += 1
        self.high = self.low + size * edges[symbol + 1] // total - 1
        self.low += size * edges[symbol] // total
        while True:
            if self.low >= _HALF:
                shift = _HALF
            elif self.low >= _QUARTER and self.high < 3 * _QUARTER:
                shift = _QUARTER
            elif self.high < _HALF:
                shift = 0
            else:
                return symbol
            self.low, self.high = 2 * (self.low - shift), 2 * (self.high - shift) + 1
            self.code = 2 * (self.code - shift) + self._read()


Probabilities = Callable[[Int[Tensor, "n d"]], Float[Tensor, "n d k"]]
"""Maps symbols (n, d) to p(x_i = · | x_<i) of all places; place i must not depend on the symbols from i on."""


@torch.no_grad()
def compress(x: Int[Tensor, "n d"], probabilities: Probabilities) -> bytes:
    """Symbols (n, d) as one file: a checksum of 32 bits, then all rows, place by place.

    Raises:
        ValueError: x is empty, or its symbols are not those that have probabilities.
    """
    if x.ndim != 2 or not x.numel() or x.is_floating_point():
        raise ValueError(
            f"x must be whole numbers (n, d), and not empty, but has {x.dtype} {tuple(x.shape)}; try .long()"
        )
    freq = frequencies(probabilities(x))
    if freq.shape[:2] != x.shape or int(x.min()) < 0 or int(x.max()) >= freq.shape[2]:
        raise ValueError(
            f"symbols {tuple(x.shape)} from {int(x.min())} to {int(x.max())} do not go with probabilities "
            f"{tuple(freq.shape)}; these must be (n, d, k), of symbols below k"
        )
    chosen = x.cpu().long()[..., None]
    stops = freq.cumsum(-1).gather(-1, chosen)[..., 0].T.tolist()
    widths = freq.gather(-1, chosen)[..., 0].T.tolist()
    encoder = Encoder()
    for stop_row, width_row in zip(stops, widths, strict=True):
        for stop, width in zip(stop_row, width_row, strict=True):
            encoder.encode(stop - width, stop)
    return _checksum(x) + encoder.finish()


@torch.no_grad()
def decompress(content: bytes, n: int, d: int, probabilities: Probabilities) -> Int[Tensor, "n d"]:
    """The symbols (n, d) of a file that `compress` made with the same function: d calls of it, of the same shape.

    Raises:
        ValueError: the checksum does not fit: the file is damaged, or the probabilities are not those of the encoder.
    """
    x = torch.zeros(n, d, dtype=torch.long)
    decoder = Decoder(content[4:])
    for i in range(d):
        edges = torch.nn.functional.pad(frequencies(probabilities(x)[:, i]).cumsum(-1), (1, 0)).tolist()
        x[:, i] = torch.tensor([decoder.decode(row) for row in edges])
    if _checksum(x) != content[:4]:
        raise ValueError(
            "the checksum does not fit: the file is damaged or of another size, or the model does not compute what it "
            "computed for the encoder; use the same weights, machine, number of threads and batch shape"
        )
    return x


def _checksum(x: Tensor) -> bytes:
    return zlib.crc32(x.cpu().long().numpy().tobytes()).to_bytes(4, "big")
