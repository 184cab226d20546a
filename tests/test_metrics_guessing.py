"""The game of real or generated in a notebook, played without a browser."""

import base64
import io
import json
import re
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from genlab.metrics.guessing import play
from genlab.metrics.human import Staircase


class Table:
    """What the player displays, and a clock that stands still."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, live: str = "1") -> None:
        monkeypatch.setenv("GENLAB_LIVE", live)
        self.shown: list[tuple[Any, dict[str, Any]]] = []
        monkeypatch.setattr("IPython.display.display", lambda what, **more: self.shown.append((what, more)))
        self.now = 100.0

    def clock(self) -> float:
        return self.now

    def widgets(self) -> tuple[Any, Any, Any, Any]:
        picture, buttons, words = self.shown[0][0].children
        return picture, *buttons.children, words


def pictures(n: int, seed: int) -> Tensor:
    return torch.rand(n, 1, 4, 5, generator=torch.Generator().manual_seed(seed))


def test_a_game_is_played_with_two_buttons(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(monkeypatch)
    real, fake = pictures(9, 0), pictures(8, 1)
    game = play(real, fake, each=6, seed=3, clock=table.clock)
    picture, yes, no, words = table.widgets()
    assert (yes.description, no.description) == ("real", "generated")
    for number in range(1, 13):
        assert words.value == f"Image {number} of 12: real or generated?"
        source = re.fullmatch(
            rf'<img alt="Image {number} of 12" src="data:image/png;base64,(.*?)" style="[^"]*">', picture.value
        )
        assert source is not None
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(source[1]))).convert("L"))
        np.testing.assert_allclose(255 * (1 - game.image[0].numpy()), pixels, atol=2)  # dark ink, 256 greys
        table.now += 0.5 * number
        (yes if number % 3 else no).click()
    assert [answer.says_real for answer in game.answers] == [number % 3 != 0 for number in range(1, 13)]
    assert [answer.seconds for answer in game.answers] == pytest.approx([0.5 * number for number in range(1, 13)])
    assert words.value == game.verdict().words() and picture.value == ""
    assert yes.disabled and no.disabled
    yes.click()  # a press that was under way
    assert len(game.answers) == 12 and game.done


def test_the_page_does_not_give_the_answer_away(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(monkeypatch)
    same = torch.full((4, 1, 4, 4), 0.5)
    game = play(same, same, each=4)
    picture, yes, _, words = table.widgets()
    pages: dict[bool, set[str]] = {True: set(), False: set()}
    while not game.done:
        pages[game.trial.real].add(re.sub(r"Image \d", "", picture.value + words.value))
        yes.click()
    assert len(pages[True]) == 1 and pages[True] == pages[False]


def test_with_a_staircase_images_hide_and_the_game_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(monkeypatch)
    stairs = Staircase(start=400.0, factor=2.0, least=100.0, most=1600.0, turns=4)
    game = play(pictures(40, 0), pictures(40, 1), each=40, staircase=stairs, clock=table.clock)
    picture, yes, no, words = table.widgets()
    assert picture.value == "" and "Press either button to begin" in words.value
    no.click()
    names = set()
    while not yes.disabled:
        assert f"for {stairs.exposure:.0f} ms" in words.value
        moment = re.search(r"@keyframes (\S+) \{from, to \{visibility:visible\}\}", picture.value)
        shown = f"visibility:hidden;animation:{moment and moment[1]} {stairs.exposure:.0f}ms 500ms"
        assert moment is not None and f'{shown}">' in picture.value
        names.add(moment[1])  # a name that is used twice would not start again
        answered = len(game.answers)
        table.now += 0.499
        yes.click()  # nothing is there yet
        assert len(game.answers) == answered
        table.now += 0.251
        right = len(game.answers) % 4 != 3
        (yes if game.trial.real is right else no).click()
    assert [answer.seconds for answer in game.answers] == pytest.approx([0.25] * len(game.answers))
    assert stairs.done and not game.done and len(names) == len(game.answers) == len(stairs.exposures)
    assert words.value == "You are right in 79 of 100 images when you see them for 283 ms."
    with pytest.raises(ValueError, match="each=41"):
        play(pictures(40, 0), pictures(40, 1), each=41)
    with pytest.raises(ValueError, match=r"\(1, 4, 5\) and \(1, 4, 4\), which gives them away"):
        play(pictures(9, 0), pictures(9, 1)[..., :4], each=4)
    with pytest.raises(ValueError, match=r"images must have shape \(n, 1 or 3, h, w\)"):
        play(pictures(9, 0)[:, 0], pictures(9, 1)[:, 0], each=4)


def test_a_staircase_that_runs_out_of_images_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(monkeypatch)
    game = play(pictures(3, 0), pictures(3, 1), each=3, staircase=Staircase(), clock=table.clock)
    _, yes, no, words = table.widgets()
    yes.click()
    while not game.done:
        table.now += 1
        (yes if game.trial.real else no).click()
    assert words.value == "Too few turns for a threshold: the last exposure was 347 ms."


def test_a_threshold_at_a_limit_is_called_that(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(monkeypatch)
    stairs = Staircase(start=400.0, factor=2.0, least=200.0, most=400.0, turns=3)
    game = play(pictures(30, 0), pictures(30, 1), each=30, staircase=stairs, clock=table.clock)
    _, yes, no, words = table.widgets()
    yes.click()
    while not yes.disabled:
        table.now += 1
        right = len(game.answers) % 4 != 3
        (yes if game.trial.real is right else no).click()
    assert "at a limit of the range: the true time may lie beyond it" in words.value


def test_where_nothing_moves_a_picture_with_alt_text_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(monkeypatch, live="0")
    game = play(pictures(9, 0), pictures(9, 1), each=6)
    ((content, more),) = table.shown
    assert content["image/png"] and more["metadata"]["image/png"]["alt"] in content["text/plain"]
    assert "some real and some generated" in content["text/plain"]
    assert repr(game) == "Game(0 of 12 answered)"


def test_the_still_picture_brings_a_game_for_the_book(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(monkeypatch, live="0")
    real, fake = pictures(200, 0) * 0.5, 0.5 + pictures(90, 1) * 0.5  # told apart by their ink
    play(2 * real - 1, 2 * fake - 1, each=8, low=-1.0, staircase=Staircase(start=400.0, turns=4))
    ((_, more),) = table.shown
    brought = json.loads(json.dumps(more["metadata"]))["image/png"]["game"]
    with Image.open(io.BytesIO(base64.b64decode(brought["sprite"]))) as sprite:
        ink = 1 - np.asarray(sprite.convert("L")).astype(float) / 255
    height, width = brought["size"]
    assert (height, width, brought["each"]) == (4, 5, 8)
    tiles = [
        ink[row : row + height, column : column + width]
        for place in range(120)
        for row in [place // brought["columns"] * (height + 1)]
        for column in [place % brought["columns"] * (width + 1)]
    ]
    assert [str(int(tile.mean() < 0.5)) for tile in tiles] == list(brought["real"])
    assert brought["real"].count("1") == 60 and "01" in brought["real"][:60], "in random order"
    for tile, is_real in zip(tiles, brought["real"], strict=True):
        near = (real if is_real == "1" else fake)[:, 0].numpy()
        assert abs(near - tile).max(axis=(1, 2)).min() < 1 / 25, "an image of its set, in 16 greys"
    assert len({tile.tobytes() for tile in tiles}) == 120
    assert brought["staircase"] == {"start": 400.0, "factor": 1.2, "least": 50.0, "most": 2000.0, "turns": 4}
