"""Text without a download: the names of Unicode's characters, split for good, as tokens and back."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

END = 0
"""The token that ends a word; after it come only more of it."""

_BY_RULE = re.compile(r"(CJK UNIFIED IDEOGRAPH-|CJK COMPATIBILITY IDEOGRAPH-|HANGUL SYLLABLE )")
_SHA256 = "03ce3aea0397e841afdbafb4f732c6cb6fdca0bdb370d0a9cdbdbdcae33a3ee3"


class Text(NamedTuple):
    """Words in three parts, and the symbols that they are written in.

    Attributes:
        train: words to learn from.
        validation: words to choose by.
        test: words to judge by.
        symbols: token i + 1 stands for symbols[i]; token 0 ends a word.
    """

    train: list[str]
    validation: list[str]
    test: list[str]
    symbols: str

    @property
    def vocabulary(self) -> int:
        """Number of tokens: the symbols and the end."""
        return len(self.symbols) + 1

    def tokens(self, words: Sequence[str], *, length: int | None = None) -> Int[Tensor, "n t"]:
        """Words as rows of tokens, each with its end and filled up with ends.

        Args:
            words: to be converted.
            length: of the rows; by default that of the longest word and its end.

        Raises:
            ValueError: there are no words, one is empty or too long, or has a symbol that is not known.
        """
        if isinstance(words, str) or not words or not all(words):
            raise ValueError("tokens needs a list of words, none of them empty; there is nothing to read here")
        place = {symbol: i + 1 for i, symbol in enumerate(self.symbols)}
        if odd := sorted(set("".join(words)) - place.keys()):
            raise ValueError(f"the symbols {odd[:5]} are not among {self.symbols!r}; leave words with them out")
        longest = max(map(len, words)) + 1
        length = longest if length is None else length
        if longest > length:
            raise ValueError(f"a word and its end take {longest} tokens, but length={length}; give at least {longest}")
        return torch.tensor([[place[s] for s in word] + [END] * (length - len(word)) for word in words])

    def words(self, tokens: Int[Tensor, "n t"]) -> list[str]:
        """Rows of tokens as words: each is read to its first end; a token that is none is a ValueError."""
        low, high = (int(v) for v in tokens.aminmax()) if tokens.numel() else (0, 0)
        if low < 0 or high >= self.vocabulary:
            raise ValueError(f"tokens must lie from 0 to {self.vocabulary - 1}, but got {low} to {high}")
        table = "\0" + self.symbols
        return ["".join(table[t] for t in row).split("\0")[0] for row in tokens.tolist()]


def split_words(words: Sequence[str], *, validation: float = 0.1, test: float = 0.1) -> Text:
    """Words in three parts that depend on each word alone: its SHA-256, read as a number from 0 to 1, says which part.

    Equal words lie in one part. Near duplicates may lie in several, as in any split at random.

    Raises:
        ValueError: there are no words, one is empty, or the shares leave nothing to learn from.
    """
    if isinstance(words, str) or not words or not all(words):
        raise ValueError("split_words needs a list of words, none of them empty; an empty text cannot be learnt from")
    if not (min(validation, test) >= 0 and validation + test < 1):
        raise ValueError(f"validation={validation} and test={test} must be shares that leave something to learn from")
    parts: tuple[list[str], list[str], list[str]] = ([], [], [])
    for word in words:
        u = int.from_bytes(hashlib.sha256(word.encode("utf-8")).digest()[:8], "big") / 2**64
        parts[2 if u < test else 1 if u < test + validation else 0].append(word)
    if not parts[0]:
        raise ValueError("no word fell into the training part; give more words, or smaller shares of the others")
    return Text(*parts, "".join(sorted(set("".join(words)))))


def character_names() -> Text:
    """The 12,886 names of characters in Unicode 3.2 without ideographs and Hangul syllables: text of 38 symbols.

    Python's own library keeps that version for ever, and Unicode never changes a name. Left out are ideographs and
    Hangul syllables, whose names follow from their numbers. Many names differ in one word only, so that a test name
    mostly has near relatives in the training part: what is measured is the knowledge of this list, not of English.

    Source: The Unicode Consortium, Unicode Character Database 3.2.0 (Unicode licence), by way of `unicodedata`.

    Raises:
        ValueError: this Python has other names.
    """
    every = (unicodedata.ucd_3_2_0.name(chr(i), "") for i in range(0x110000))
    names = [name for name in every if name and not _BY_RULE.match(name)]
    if hashlib.sha256("\n".join(names).encode("utf-8")).hexdigest() != _SHA256:
        raise ValueError("unicodedata.ucd_3_2_0 has not the names of Unicode 3.2; use CPython, whose library has them")
    return split_words(names)
