"""The game of real or generated in a page of the book: its numbers are the package's, and it can be played."""

import io
import json
import math
import random
import re
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch
from nbformat import NotebookNode
from nbformat.v4 import new_output
from PIL import Image
from playwright.sync_api import Page

from genlab import metrics
from genlab.book.__main__ import build
from genlab.metrics.guessing import play
from genlab.metrics.human import Answer, Game, Staircase, Trial, Verdict

from .conftest import ROOT, code, notebook, write_project
from .test_browser import CONTRAST

SCRIPT = ROOT / "genlab/book/assets/game.js"
STAGE = ".game-stage"


# ---- statistics ----


def asked(page: Page, expression: str, given: Any) -> Any:
    """What the script says, in a page that has nothing else."""
    page.goto("about:blank")
    page.add_script_tag(path=SCRIPT)
    return page.evaluate(
        f"given => {{ const {{ verdict, wilson, quantile, Staircase }} = genlabGame; {expression} }}", given
    )


def judged(answers: list[Answer]) -> Verdict:
    game = Game([0], [0], each=1)
    game.answers = answers
    return game.verdict()


def drawn(real: int, fake: int, wrong_real: int, wrong_fake: int) -> list[Answer]:
    """A game's answers in random order, with these numbers of errors."""
    kinds = [(True, i >= wrong_real) for i in range(real)] + [(False, i < wrong_fake) for i in range(fake)]
    random.Random(real + 100 * wrong_real + wrong_fake).shuffle(kinds)
    return [Answer(Trial(kind, 0), says, 0.5 + 0.1 * (7 * i % 11)) for i, (kind, says) in enumerate(kinds)]


def test_intervals_are_those_of_the_package(page: Page) -> None:
    asks = [(k, n) for n in (1, 2, 10, 60, 500) for k in sorted({0, 1, n // 3, n - 1, n})]
    got = asked(page, "return given.map(([k, n]) => wilson(k, n))", asks)
    np.testing.assert_allclose(got, [metrics.wilson(k, n) for k, n in asks], rtol=1e-12, atol=1e-14)
    shares = [1e-6, 0.5 / 61, 0.2, 0.5, 0.975, 1 - 0.5 / 61]
    scores = asked(page, "return given.map(quantile)", shares)
    np.testing.assert_allclose(scores, [NormalDist().inv_cdf(p) for p in shares], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize(
    ("real", "fake", "wrong_real", "wrong_fake"),
    [(10, 10, 0, 0), (10, 10, 10, 10), (60, 60, 13, 31), (10, 10, 10, 0), (7, 4, 2, 1), (1, 1, 0, 1), (60, 60, 0, 60)],
)
def test_a_verdict_is_that_of_the_package(page: Page, real: int, fake: int, wrong_real: int, wrong_fake: int) -> None:
    answers = drawn(real, fake, wrong_real, wrong_fake)
    wanted = judged(answers)
    given = [{"real": a.trial.real, "saysReal": a.says_real, "seconds": a.seconds} for a in answers]
    got = asked(page, "return verdict(given)", given)
    for name in ("hype", "real", "fake"):
        rate = getattr(wanted, name)
        assert got[name]["n"] == rate.n and got[name]["value"] == pytest.approx(rate.value, abs=1e-15)
        assert got[name]["interval"] == pytest.approx(list(rate.interval), rel=1e-12, abs=1e-14)
    seen, found = got["sensitivity"], wanted.sensitivity
    theirs = [seen["d"], seen["error"], seen["criterion"], seen["criterionError"]]
    assert theirs == pytest.approx(list(found), rel=1e-10, abs=1e-12)
    z = NormalDist().inv_cdf(0.975)
    assert seen["interval"] == pytest.approx(
        [found.d - z * found.error, found.d + z * found.error], rel=1e-10, abs=1e-12
    )
    assert got["seconds"] == pytest.approx(wanted.seconds, rel=1e-12)
    assert asked(page, "return verdict(given)", [row for row in given if row["real"]]) is None


@pytest.mark.parametrize("share", [0.0, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("settings", [{}, {"start": 100.0, "factor": 1.5, "least": 60.0, "most": 200.0, "turns": 6}])
def test_a_staircase_is_that_of_the_package(page: Page, share: float, settings: dict[str, float]) -> None:
    stairs = Staircase(**settings)  # type: ignore[arg-type]
    names = ("start", "factor", "least", "most", "turns")
    given = {"settings": {name: getattr(stairs, name) for name in names}, "answers": []}
    source = random.Random(7)
    while not stairs.done and len(given["answers"]) < 200:
        given["answers"].append(source.random() < share)
        stairs.answer(given["answers"][-1])
    steps = """const stairs = new Staircase(given.settings), exposures = [], done = [];
        for (const right of given.answers) {
            exposures.push(stairs.exposure); stairs.answer(right); done.push(stairs.done) }
        return { exposures, done, reversals: stairs.reversals, threshold: stairs.threshold() }"""
    got = asked(page, steps, given)
    assert got["exposures"] == pytest.approx(stairs.exposures, rel=1e-12)
    assert got["reversals"] == pytest.approx(stairs.reversals, rel=1e-12)
    assert not any(got["done"][:-1]) and got["done"][-1] == stairs.done
    if len(stairs.reversals) < 3:
        assert got["threshold"] is None
    else:
        threshold = stairs.threshold()
        assert got["threshold"]["value"] == pytest.approx(threshold.value, rel=1e-12)
        assert got["threshold"]["cut"] == threshold.cut


# ---- a page ----


def strips(left: bool, n: int = 60) -> torch.Tensor:
    """Images with a dark left or right half, which a player of this test can tell apart."""
    images = torch.zeros(n, 1, 24, 32)
    images[..., :16] += float(left)
    images[..., 16:] += float(not left)
    return images


def played(monkeypatch: pytest.MonkeyPatch, **options: Any) -> NotebookNode:
    """What `play` leaves in a stored notebook."""
    shown: list[NotebookNode] = []

    def display(data: dict[str, Any], metadata: dict[str, Any], raw: bool) -> None:
        shown.append(
            new_output("display_data", json.loads(json.dumps(data)), metadata=json.loads(json.dumps(metadata)))
        )

    monkeypatch.setenv("GENLAB_LIVE", "0")
    monkeypatch.setattr("IPython.display.display", display)
    play(strips(True), strips(False), **options)
    return shown[0]


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chapter with a game, between two others."""
    folder = tmp_path_factory.mktemp("game")
    stairs = Staircase(start=400.0, factor=2.0, least=100.0, most=1600.0, turns=4)
    with pytest.MonkeyPatch.context() as patch:
        cell = code("game()", played(patch, each=10, seed=3, staircase=stairs))
    root = write_project(folder / "project", a=notebook("# A"), b=notebook("# B", cell), c=notebook("# C"))
    build(root, folder / "out")
    return folder / "out/b.html"


def look(page: Page) -> str:
    """What a player sees on the stage: real, generated, or something else."""
    content = page.locator(f"{STAGE} canvas").screenshot()
    grey = np.asarray(Image.open(io.BytesIO(content)).convert("L")).astype(float) / 255
    rows, columns = (slice(n // 4, 3 * n // 4) for n in grey.shape)
    left, right = np.array_split(grey[rows, columns], 2, axis=1)
    if (left < 0.1).mean() > 0.9 and (right > 0.9).mean() > 0.9:
        return "real"
    return "generated" if (left > 0.9).mean() > 0.9 and (right < 0.1).mean() > 0.9 else "other"


def words(page: Page) -> str:
    return page.locator(".game-words").inner_text()


def rows(page: Page) -> list[list[str]]:
    every = page.locator(".game-result tbody tr").all()
    return [row.locator("th, td").all_inner_texts() for row in every]


def test_a_game_is_played_by_keys_and_by_buttons(book: Path, page: Page) -> None:
    page.goto(book.as_uri())
    assert page.locator(".game figure img").is_visible() and "which is which" in words(page).lower()
    page.get_by_role("button", name="Play 20 images").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(f"{STAGE}:visible")
    assert not page.locator(".game figure").is_visible()
    right = 0
    for number in range(1, 21):
        assert f"Image {number} of 20: real or generated?" in words(page)
        assert number == 1 or f"{right} of {number - 1} right so far" in words(page)
        seen = look(page)
        says = seen if number % 5 else "real"  # generated images among every fifth are called real
        right += says == seen
        if number % 2:
            page.keyboard.press(says[0])
        else:
            page.get_by_role("button", name=re.compile(f"^{says}", re.IGNORECASE)).click()
    assert "over after 20 images" in words(page) and not page.locator(STAGE).is_visible()
    wrong = 20 - right
    low, high = metrics.wilson(wrong, 10)
    assert rows(page)[0] == ["real", "0 of 10", "0 %", "0 to 28 %"]
    interval = f"{math.floor(100 * low + 0.5)} to {math.floor(100 * high + 0.5)} %"
    assert rows(page)[1] == ["generated", f"{wrong} of 10", f"{10 * wrong} %", interval]
    assert rows(page)[2][:2] == ["all", f"{wrong} of 20"]
    d = metrics.d_prime(10 - wrong, 10, 0, 10).d
    assert f"d′ = {d:.2f} (95 % interval " in page.locator(".game-result").inner_text()
    assert page.evaluate("document.activeElement.className") == "game-result", "the reader is led to the result"
    page.keyboard.press("r")
    assert rows(page)[2][:2] == ["all", f"{wrong} of 20"], "the game is over"


def test_the_page_does_not_give_the_answer_away(book: Path, page: Page) -> None:
    key = re.search(r"real&quot;: &quot;([01]{120})&quot;", book.read_text(encoding="utf-8"))
    assert key is not None
    page.goto(book.as_uri())
    assert key[1] not in page.content() and "data-game" not in page.content()
    page.get_by_role("button", name="Play all 120").click()
    page.wait_for_selector(f"{STAGE}:visible")
    texts: dict[str, set[str]] = {"real": set(), "generated": set()}
    for _ in range(12):
        texts[look(page)].add(re.sub(r"Image \d+|(Right|Wrong), \d+ of \d+ ", "", page.locator(".game").inner_html()))
        page.get_by_role("button", name="Generated").click()
    first = {kind: {re.sub(r"right so far\. ", "", text) for text in found} for kind, found in texts.items()}
    assert len(first["real"]) == 1 and first["real"] == first["generated"]


def test_against_the_clock_images_hide_behind_a_mask(book: Path, page: Page) -> None:
    page.clock.install(time=0)
    page.goto(book.as_uri())
    page.clock.pause_at(60)  # from here on time passes where the test lets it
    page.get_by_role("button", name="Play against the clock").click()
    page.wait_for_selector(f"{STAGE}:visible")
    stairs = Staircase(start=400.0, factor=2.0, least=100.0, most=1600.0, turns=4)
    real = 0
    while not stairs.done:
        number = len(stairs.exposures) + 1
        assert f"Image {number} of 120, for {stairs.exposure:.0f} ms: real or generated?" in words(page)
        page.keyboard.press("g")
        assert f"Image {number} of 120" in words(page), "no answer counts before the image is there"
        assert look(page) == "other"
        page.clock.run_for(500 + 40)
        seen = look(page)
        assert seen != "other"
        page.clock.run_for(stairs.exposure - 100)
        assert look(page) == seen
        page.clock.run_for(100)
        assert look(page) == "other"
        right = number % 4 != 0
        real += seen == "real"
        page.keyboard.press("r" if (seen == "real") is right else "g")
        stairs.answer(right)
    report = page.locator(".game-result").inner_text()
    threshold = stairs.threshold()
    assert f"You are right in 79 of 100 images when you see them for {threshold.value:.0f} ms." in report
    answered = len(stairs.exposures)
    assert rows(page)[2][1] == f"{answered // 4} of {answered}"
    assert [row[1].split(" of ")[1] for row in rows(page)[:2]] == [str(real), str(answered - real)]


def test_who_asks_for_less_motion_gets_no_mask(book: Path, page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.clock.install(time=0)
    page.goto(book.as_uri())
    page.clock.pause_at(60)  # from here on time passes where the test lets it
    page.get_by_role("button", name="Play against the clock").click()
    page.wait_for_selector(f"{STAGE}:visible")
    page.clock.run_for(1500)
    grey = np.asarray(Image.open(io.BytesIO(page.locator(f"{STAGE} canvas").screenshot())).convert("L"))
    assert (grey[20:-20, 20:-20] == 255).all()


def test_arrows_do_not_leave_a_game_and_stopping_tells_what_there_is(book: Path, page: Page) -> None:
    page.goto(book.as_uri())
    page.get_by_role("button", name="Play 20 images").click()
    page.wait_for_selector(f"{STAGE}:visible")
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(200)
    assert page.url == book.as_uri()
    page.get_by_role("button", name="Stop").click()
    assert words(page) == "Stopped: a verdict needs answers to real and to generated images."
    assert page.locator(".game figure").is_visible() and page.get_by_role("button", name="Play 20 images").is_visible()


@pytest.mark.parametrize("theme", ["light", "rust", "coal", "navy", "ayu"])
def test_all_of_a_game_is_readable_in_a_narrow_window(book: Path, page: Page, theme: str) -> None:
    page.add_init_script(f"localStorage.setItem('mdbook-theme', '{theme}')")
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(book.as_uri())
    page.get_by_role("button", name="Play all 120").click()
    page.wait_for_selector(f"{STAGE}:visible")
    wide = "[...document.querySelectorAll('.game-panel *')].filter(e => e.getBoundingClientRect().right > "
    wide += "document.querySelector('.game-panel').getBoundingClientRect().right).map(e => e.tagName)"
    assert page.evaluate(CONTRAST) == [] and page.evaluate(wide) == []
    for number in range(120):
        page.keyboard.press("rg"[number % 2])
    assert page.locator(".game-result table").is_visible()
    assert page.evaluate(CONTRAST) == [] and page.evaluate(wide) == []


def test_without_javascript_the_picture_stands(book: Path, page: Page) -> None:
    assert page.context.browser is not None
    context = page.context.browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto(book.as_uri())
    assert plain.locator(".game figure img").is_visible()
    alt = plain.locator(".game figure img").get_attribute("alt")
    assert alt is not None and "some real and some generated" in alt
    assert plain.locator(".game button").count() == 0
    context.close()
