"""Text for terminals and pipes of any encoding."""

import sys
from typing import TextIO


def say(text: str, *, file: TextIO | None = None) -> None:
    """Print a line; what the stream's encoding lacks, as "✓" under Windows' code pages, becomes a question mark.

    Args:
        text: the line, without its end.
        file: where to, standard output by default.
    """
    stream = sys.stdout if file is None else file
    try:
        print(text, file=stream)
    except UnicodeEncodeError:  # nothing was written: a stream encodes a text whole
        encoding = stream.encoding or "ascii"
        print(text.encode(encoding, "replace").decode(encoding), file=stream)


def notice(text: str) -> None:
    """Tell the reader something on stderr, so that what a command prints stays clean."""
    say(f"genlab: {text}", file=sys.stderr)


def forgive(stream: TextIO) -> None:
    """From now on print a question mark for what the stream's encoding lacks. For programs: the stream is theirs."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")
