"""Lines that any terminal can take."""

import io
import sys

import pytest

from genlab import verify
from genlab.text import say


def stream(encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")


def written(to: io.TextIOWrapper) -> bytes:
    to.flush()
    return to.buffer.getvalue()  # type: ignore[attr-defined]  # it is a BytesIO


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-8", "✓ −½ ü\n".encode()),
        ("cp1252", b"? ?\xbd \xfc\n"),
        ("ascii", b"? ?? ?\n"),
        ("cp437", b"? ?\xab \x81\n"),
    ],
)
def test_a_line_is_written_once_in_any_encoding(encoding: str, expected: bytes) -> None:
    to = stream(encoding)
    say("✓ −½ ü", file=to)
    assert written(to) == expected


def test_a_claim_through_a_pipe_of_windows_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    to = stream("cp1252")
    monkeypatch.setattr(sys, "stdout", to)
    verify.claim("the sum σ² + μ² is 1", 1.0, equals=1)
    assert written(to) == b"? the sum ?\xb2 + ?\xb2 is 1\n"
