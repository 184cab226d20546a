"""Exercise 15.8: The shortest file."""

# Readers see the functions here as they are, so they carry no types.
# mypy: allow-untyped-defs

import math
from fractions import Fraction

import numpy as np
import torch

from genlab.exercises import Exercise, Wrong


def shortest_file(counts, x):
    """The fewest bits that lead into the interval of a message: text of 0 and 1.

    Counts that stand for the model's laws (L, V), tokens (L,).
    """
    low, width, whole = 0, 1, 1  # the interval is [low, low + width) / whole
    for row, token in zip(counts.tolist(), x.tolist(), strict=True):
        low = low * sum(row) + width * sum(row[:token])
        width, whole = width * row[token], whole * sum(row)
    bits = 0
    while True:
        first = -(-(low << bits) // whole)  # rounded up
        if (first + 1) * whole <= (low + width) << bits:
            return format(first, f"0{bits}b") if bits else ""
        bits += 1


def _interval(counts, x):
    low, width = Fraction(0), Fraction(1)
    for row, token in zip(counts.tolist(), x.tolist(), strict=True):
        low += width * Fraction(sum(row[:token]), sum(row))
        width *= Fraction(row[token], sum(row))
    return low, low + width


def _by_fractions(counts, x):
    low, high = _interval(counts, x)
    bits = 0
    while (math.ceil(low * 2**bits) + 1) > high * 2**bits:
        bits += 1
    first = math.ceil(low * 2**bits)
    return "".join("01"[first >> i & 1] for i in reversed(range(bits)))


def _by_halving(counts, x):
    # all binary intervals that meet the message's, shorter ones first
    low, high = _interval(counts, x)
    level = [("", Fraction(0), Fraction(1))]
    while True:
        for text, start, end in level:
            if low <= start and end <= high:
                return text
        halves = [
            part
            for text, start, end in level
            for part in ((text + "0", start, (start + end) / 2), (text + "1", (start + end) / 2, end))
        ]
        level = [part for part in halves if part[1] < high and part[2] > low]


def _by_recursion(counts, x):
    # from the last token to the first
    low, high = Fraction(0), Fraction(1)
    for row, token in reversed(list(zip(counts.numpy(), x.numpy(), strict=True))):
        edges = [Fraction(int(edge), int(row.sum())) for edge in np.cumsum([0, *row])[token : token + 2]]
        low, high = (edges[0] + (edges[1] - edges[0]) * side for side in (low, high))
    bits = max(0, math.floor(-math.log2(high - low)) - 1)
    while not (first := math.ceil(low * 2**bits)) + 1 <= high * 2**bits:
        bits += 1
    return f"{first:b}".zfill(bits) if bits else ""


def _digits(low, high, fits):
    """The first number of bits, and the first number, that fits."""
    for bits in range(1000):
        first = math.ceil(low * 2**bits)
        if fits(first, bits):
            return f"{first:0{bits}b}" if bits else ""
    return ""


def _point(counts, x):
    """Some number of the interval, whatever may follow it."""
    low, high = _interval(counts, x)
    return _digits(low, high, lambda first, bits: first < high * 2**bits)


def _open(counts, x):
    low, high = _interval(counts, x)
    return _digits(low, high, lambda first, bits: first + 1 < high * 2**bits)


def _middle(counts, x):
    low, high = _interval(counts, x)
    bits = math.ceil(-math.log2(high - low)) + 1
    return f"{math.floor((low + high) / 2 * 2**bits):0{bits}b}"


def _highest(counts, x):
    """The last of the shortest."""
    high, bits = _interval(counts, x)[1], len(shortest_file(counts, x))
    return f"{math.floor(high * 2**bits) - 1:0{bits}b}" if bits else ""


def _floats(counts, x):
    low, width = 0.0, 1.0
    for row, token in zip(counts.tolist(), x.tolist(), strict=True):
        low += width * sum(row[:token]) / sum(row)
        width *= row[token] / sum(row)
    return _digits(low, low + width, lambda first, bits: first + 1 <= (low + width) * 2.0**bits)


def _bits_of_low(counts, x):
    low, high = _interval(counts, x)
    bits = math.ceil(-math.log2(high - low))
    return f"{math.ceil(low * 2**bits):0{bits}b}" if bits else ""


def _zeros_lost(counts, x):
    text = shortest_file(counts, x)
    return f"{int(text, 2):b}" if text else text


def _token_by_token(counts, x):
    return "".join(shortest_file(row[None], token[None]) for row, token in zip(counts, x, strict=True))


def _own_count_below(counts, x):
    """The sums of counts with the token's own."""
    low, width = Fraction(0), Fraction(1)
    for row, token in zip(counts.tolist(), x.tolist(), strict=True):
        low += width * Fraction(sum(row[: token + 1]), sum(row))
        width *= Fraction(row[token], sum(row))
    return _digits(low, low + width, lambda first, bits: first + 1 <= (low + width) * 2**bits)


def _message(g):
    L, V = (int(torch.randint(low, high, (), generator=g)) for low, high in ((3, 9), (2, 6)))
    counts = torch.randint(1, 30, (L, V), generator=g)
    counts[0, -1] = 40
    x = torch.randint(V, (L,), generator=g)
    x[0] = V - 1
    return counts, x


def _known(n, V=3):
    """A message of n tokens without chance in it."""
    i = torch.arange(n)
    return 1 + (i[:, None] * 7 + torch.arange(V) * 5) % 11, (i * i + 1) % V


EXERCISE = Exercise(
    number="15.8",
    title="The shortest file",
    difficulty=3,
    minutes=30,
    task=r"""
The first token of a message divides $[0, 1)$ among the $V$ tokens, in the order 0, 1, …, in shares `counts[0]` of their
sum (whole numbers; other tokens may have 0, a token that comes has not). The part of $x_0$ is divided by the second
token in the shares `counts[1]`, and so on: the message has an interval as wide as its probability, with the lower end
and without the upper. A file of the bits $b_1 \dots b_k$ stands for *all* numbers whose binary digits begin with
$0.b_1 \dots b_k$, from $0.b_1 \dots b_k$ on and below $0.b_1 \dots b_k + 2^{-k}$. Return, as text of `0` and `1`, the
shortest file all of whose numbers lie in the message's interval; of equally short ones the one with the smallest
number. A message that is certain needs no bit: `""`. It must be exact for messages of hundreds of tokens.""",
    inputs=_message,
    solution=shortest_file,
    explanation=r"""
With Python's whole numbers, which have no end, the interval is exact. A file of $k$ bits is an interval
$[j, j+1) \cdot 2^{-k}$; the first that does not begin too early has $j = \lceil \text{low} \cdot 2^k \rceil$, and it
fits if $j + 1$ is not past the upper end. An interval of width $p$ holds a binary one of $k$ bits as soon as
$2^{-k} \le p/2$, and none with $2^{-k} > p$. So the file has at least $-\log_2 p$ bits and less than two more,
for the *whole* message: a token may cost a hundredth of a bit. A real coder gives bits out as soon as they are certain,
and works with numbers of 32 bits.""",
    hints=(
        "Keep the lower end and the width exactly: three whole numbers, for low, width and a common denominator.",
        "With k bits there are the intervals [j, j + 1)/2^k. Which j is the first not below the lower end?",
        "j is low · 2^k / whole rounded up; stop at the first k with (j + 1) · whole ≤ (low + width) · 2^k.",
    ),
    wrong=(
        Wrong(
            "a number, not an interval",
            "The bits name one number of the interval. With more bits behind them, a file may lie outside: all must lie in it.",
            _point,
        ),
        Wrong(
            "floating point",
            "The bits are those of floating-point numbers, which hold 53. Longer messages come out wrong: use whole numbers.",
            _floats,
        ),
        Wrong(
            "leading zeros lost",
            "Zeros at the front are missing. They are digits behind the point, and count.",
            _zeros_lost,
        ),
        Wrong(
            "each token by itself",
            "Each token is written by itself, in whole bits. The interval of the whole message is rounded once.",
            _token_by_token,
        ),
        Wrong(
            "bits of the middle",
            "These are ⌈−log₂ p⌉ + 1 bits of the middle of the interval. They always fit, but fewer often do.",
            _middle,
        ),
        Wrong(
            "as many bits as the message has",
            "These are ⌈−log₂ p⌉ bits, rounded up from the lower end. The file may reach past the upper end: then take more.",
            _bits_of_low,
        ),
        Wrong(
            "the upper end left free",
            "The file may reach up to the interval's upper end: its numbers lie below its own.",
            _open,
        ),
        Wrong(
            "the last of the shortest",
            "This file is as short as can be, but there is one as short with a smaller number.",
            _highest,
        ),
        Wrong(
            "the token's own share below it",
            "The lower end counts the token's own share. Only the tokens before it in the order lie below.",
            _own_count_below,
        ),
        Wrong(
            "the last token first",
            "The last token divides [0, 1) here. The first does, and the later ones divide its part.",
            lambda counts, x: shortest_file(counts.flip(0), x.flip(0)),
        ),
        Wrong(
            "the tokens in the other order",
            "Token 0 has the highest part here. The parts follow each other from 0 up in the order of the tokens.",
            lambda counts, x: shortest_file(counts.flip(1), counts.shape[1] - 1 - x),
        ),
        Wrong(
            "the first law for all",
            "Every token is written with the first row of counts. Row i holds the law of token i.",
            lambda counts, x: shortest_file(counts[:1].expand_as(counts), x),
        ),
    ),
    right=(_by_fractions, _by_halving, _by_recursion),
    probes={
        "the file of a token with half of the counts": lambda f: f(torch.tensor([[1, 1, 2]]), torch.tensor([2])),
        "the file of a token with the middle half": lambda f: f(torch.tensor([[1, 2, 1]]), torch.tensor([1])),
        "the file of a token that is certain": lambda f: f(torch.tensor([[0, 5, 0]]), torch.tensor([1])),
        "the file of a certain token after another": lambda f: f(torch.tensor([[1, 3], [0, 7]]), torch.tensor([0, 1])),
        "the file of a vocabulary of one": lambda f: f(torch.tensor([[3], [4]]), torch.tensor([0, 0])),
        "the file of forty tokens that are nearly certain": lambda f: f(
            torch.tensor([[99, 1]]).expand(40, 2), torch.zeros(40, dtype=torch.long)
        ),
        "the file of 27 tokens": lambda f: f(*_known(27)),  # where floating point is wrong, and does not loop yet
        "the file of 300 tokens": lambda f: f(*_known(300)),
        "the file of tokens among 200": lambda f: f(*_known(6, 200)),
    },
    discussion=r"""
**For your own work.** A file is the strictest test of a likelihood: decode it, and compare bit by bit. Averaged logits
of several orders, a mask that leaks: each shows as a decoder that fails, since it has no future to look at.
The decoder must compute *the same* counts to the last bit, so neither another batch size nor another processor may
change a rounding; store whole numbers. And it must know when to stop: a token for the end, or the length beside the file.""",
)
