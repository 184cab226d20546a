"""Lines that any terminal can take."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from genlab import __main__ as command_line
from genlab import runs, verify
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


COMMANDS = [
    ["--help"],
    *([name, "--help"] for name in (*runs.FAMILIES, *command_line.COMMANDS, "zoo")),
    ["progress"],
    ["zoo", "list"],
    ["zoo", "card", "cvae"],
    ["gan", "--λ", "1"],
]
# In one process, since each would import torch: the exit status of every command, then an exercise as in a terminal.
PROGRAM = """
import json, sys
from genlab import __main__ as command_line
for command in json.loads(sys.argv[1]):
    try:
        command_line.main(command)
        status = 0
    except SystemExit as end:
        status = end.code
    print("status", status or 0, *command)
"""
LIBRARY = """
from genlab.exercises import check, exercise, hint, progress, shelf, solution
exercise("05.1"); hint("05.1"); solution("05.1"); solution("05.1"); progress()
check("05.1", shelf.find("05.1").solution); check("05.1", lambda mu, logvar: mu)
print("done")
"""


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_every_command_speaks_through_a_pipe_of_any_encoding(encoding: str, tmp_path: Path) -> None:
    environ = os.environ | {"PYTHONIOENCODING": encoding, "GENLAB_PROGRESS": str(tmp_path / "progress.jsonl")}
    for program, arguments in ((PROGRAM, [json.dumps(COMMANDS)]), (LIBRARY, [])):
        done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, env=environ)
        assert done.returncode == 0, done.stderr.decode(encoding)
        said = done.stdout.decode(encoding)
        if arguments:
            assert re.findall(r"^status (\d)", said, re.MULTILINE) == ["0"] * (len(COMMANDS) - 1) + ["2"]
        else:
            assert "done" in said
