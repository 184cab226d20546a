"""The page "Bring your own": every program and every command on it, in order, in one folder, with fewer steps."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genlab import __main__ as command_line

PAGE = Path(__file__).parents[1] / "notebooks/pages/bring_your_own.md"
BLOCKS = re.findall(r"```(python|bash)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


JUDGE = """
from torch import nn


def judge():
    return nn.Sequential(nn.AvgPool2d(8), nn.Flatten())
"""


def pictures(root: Path) -> None:
    """Colour JPEGs in two classes that are not square."""
    draw = np.random.default_rng(0)
    for name, tint in (("cats", 40), ("dogs", 160)):
        (root / name).mkdir(parents=True)
        for i in range(60):
            pixels = np.clip(draw.normal(tint, 30, (36, 44, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i:03d}.jpg")


def shorter(program: str) -> str:
    return re.sub(r"step % \d+", "step % 2", re.sub(r"steps=\d+", "steps=4", program))


def test_programs_are_ten_lines_or_little_more() -> None:
    for kind, text in BLOCKS:
        lines = [line for line in text.splitlines() if line.strip() and not re.match(r"import |from ", line)]
        assert len(lines) <= (17 if kind == "python" else 3), text


def test_everything_on_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENLAB_DATA", str(tmp_path / "cache"))
    pictures(tmp_path / "my_images")
    (tmp_path / "my_networks.py").write_text(JUDGE, encoding="utf-8")
    said: list[str] = []
    for kind, text in BLOCKS:
        if kind == "python":
            exec(compile(shorter(text), "bring_your_own.md", "exec"), {"__name__": "page"})
        else:
            for command in (shlex.split(line) for line in text.strip().splitlines()):
                assert command[0] == "genlab"
                if command[1] == "gan":
                    command[command.index("--steps") + 1] = "4"
                command_line.main([re.sub("^1000$", "20", word) for word in command[1:]])
        said.append(capsys.readouterr().out)
    everything = "\n".join(said)
    assert "96 to train, 24 to test" in everything
    assert everything.count("4 {'D': ") >= 2 and "4 {'VAE': " in everything
    assert len(list((tmp_path / "samples").glob("*.png"))) == 20
    array = np.load(tmp_path / "samples.npy", allow_pickle=False)
    assert array.shape == (20, 3, 32, 32) and array.min() >= 0 and array.max() <= 1
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.mode == "RGB"
    compared = json.loads(next(text for text in said if '"frechet' in text))
    assert compared["real"] == 60 and compared["fake"] == 20
    assert (tmp_path / "checkpoints/step-00000004.safetensors").exists()
