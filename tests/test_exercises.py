"""Every exercise, both ways: right answers pass, stubs are not attempted, every named mistake gets its words."""

import ast
import inspect
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from genlab import __main__ as cli
from genlab import exercises
from genlab.exercises import Exercise, Wrong, engine, log, mutants, shelf, show

EVERY = shelf.every()
KL = shelf.find("05.1")


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Progress of tests is kept in a folder of their own."""
    path = tmp_path / "progress.jsonl"
    monkeypatch.setenv("GENLAB_PROGRESS", str(path))
    monkeypatch.setattr(show, "_asked", set())
    return path


def cases(kind: str) -> list[Any]:
    return [pytest.param(e, w, id=f"{e.number} {i}") for e in EVERY for i, w in enumerate(getattr(e, kind))]


# ------------------------------------------------------------------------------------------------- every exercise


@pytest.mark.parametrize("exercise", EVERY, ids=lambda e: e.number)
def test_the_solution_passes_and_the_stub_is_not_attempted(exercise: Exercise) -> None:
    start = time.process_time()
    assert engine.judge(exercise, exercise.solution).state == engine.RIGHT
    assert time.process_time() - start < engine.LIMIT, "a check must never need the time limit itself"
    space: dict[str, Any] = {}
    exec(exercise.stub, space)
    assert engine.judge(exercise, space[exercise.name]).state == engine.UNTOUCHED


@pytest.mark.parametrize(("exercise", "wrong"), cases("wrong"))
def test_every_named_mistake_gets_its_own_message(exercise: Exercise, wrong: Wrong) -> None:
    verdict = engine.judge(exercise, wrong.answer)
    assert (verdict.state, verdict.meaning) == (engine.WRONG, wrong.message)
    assert sum(w.message == wrong.message for w in exercise.wrong) == 1


@pytest.mark.parametrize(("exercise", "answer"), cases("right"))
def test_another_right_way_passes(exercise: Exercise, answer: engine.Answer) -> None:
    verdict = engine.judge(exercise, answer)
    assert verdict.state == engine.RIGHT, show.told(verdict)


def converted(convert: Callable[[torch.Tensor], torch.Tensor], value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return convert(value) if value.is_floating_point() and value.ndim else value
    return type(value)(converted(convert, v) for v in value) if type(value) in (tuple, list) else value


def strided(x: torch.Tensor) -> torch.Tensor:
    return torch.stack([x, x], -1)[..., 0]


@pytest.mark.parametrize("exercise", [e for e in EVERY if not e.mutates], ids=lambda e: e.number)
@pytest.mark.parametrize("convert", [torch.Tensor.double, strided], ids=["float64", "not contiguous"])
def test_another_precision_or_memory_layout_passes(
    exercise: Exercise, convert: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    verdict = engine.judge(exercise, lambda *a, **k: converted(convert, exercise.solution(*a, **k)))
    assert verdict.state == engine.RIGHT, show.told(verdict)


@pytest.mark.parametrize("exercise", EVERY, ids=lambda e: e.number)
def test_every_exercise_is_whole(exercise: Exercise) -> None:
    assert exercise.chapter in shelf.chapters() and len(exercise.task.split()) > 10
    assert all(len(hint) > 15 for hint in exercise.hints) and len(exercise.explanation.split()) > 8
    assert all(len(w.message.split()) > 4 for w in exercise.wrong) and len(exercise.wrong) >= 3
    assert exercise.solution.__doc__, "the docstring is part of the stub"
    assert len({w.name for w in exercise.wrong}) == len(exercise.wrong)
    shown = f"{exercise.cell}\n" + inspect.getsource(exercise.solution)
    assert max(len(line) for line in shown.splitlines()) <= 88, "the column of the book is as wide"


def test_numbers_follow_each_other_from_warm_up_to_open_ended() -> None:
    for chapter in shelf.chapters():
        found = shelf.of(chapter)
        assert [e.number for e in found] == [f"{chapter}.{i}" for i in range(1, len(found) + 1)]
        assert len(found) >= 5 and found[0].difficulty == 1
        assert max(e.difficulty for e in found) == 3 and any(e.discussion for e in found)


@pytest.mark.parametrize("chapter", shelf.chapters())
def test_the_checks_reject_wrong_mutants_of_the_right_answers(chapter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LIMIT", 1.0)
    scores = [mutants.score(exercise) for exercise in shelf.of(chapter)]
    found = mutants.Score(sum(s.rejected for s in scores), [code for s in scores for code in s.survivors])
    print(f"chapter {chapter}: {found.share:.1%} of {found.rejected + len(found.survivors)} mutants are rejected")
    assert found.rejected > 20, "there must be something to reject"
    assert found.share >= 0.95, found.survivors


@pytest.mark.parametrize("exercise", EVERY, ids=lambda e: e.number)
def test_right_answers_agree_on_draws_that_the_check_does_not_use(exercise: Exercise) -> None:
    """No draw lies where rounding decides, so that styles that were not tried pass as well."""
    found = engine.expected(exercise, first=1000, draws=20)
    for answer in exercise.right:
        assert engine.accepts(exercise, answer, found, first=1000, draws=20), exercise.number


def test_mutants_are_made_of_every_right_answer_and_have_sizes_of_one_and_two() -> None:
    """Of functions, of lambdas, and of what a call is handed; the changed one takes the place of that one only."""
    found = {e.number: [s.function for s in mutants.sources(e)] for e in EVERY}
    changed = sum(len(functions) for functions in found.values())
    assert changed >= sum(1 + len(e.right) for e in EVERY) - 5, "classes and calls of strings have no function"
    mean = ast.parse("lambda x: x.sum() / len(x) / x.shape[0]", mode="eval").body
    assert isinstance(mean, ast.Lambda)
    made = {ast.unparse(m.body) for m in mutants.mutants(mean) if isinstance(m, ast.Lambda)}
    for size in (1, 2):
        assert {f"x.sum() / {size} / x.shape[0]", f"x.sum() / len(x) / {size}"} <= made
    assert "x.mean() / len(x) / x.shape[0]" in made and "x.sum() / len(x) / x.shape[0]" not in made


def test_a_check_that_looks_away_lets_mutants_survive() -> None:
    """The measure itself can fail: an exercise that compares nothing of the result rejects next to nothing."""
    blind = Exercise(
        **{name: getattr(KL, name) for name in Exercise.__dataclass_fields__ if name not in ("inputs", "probes")},
        inputs=lambda g: (torch.zeros(2, 2), torch.zeros(2, 2)),
        probes={},
    )
    seen = Exercise(**{name: getattr(KL, name) for name in Exercise.__dataclass_fields__})
    # Fresh draws of the blind exercise look away as well, so the survivors are judged by the exercise that sees.
    accepted = [m for m in every_mutant(seen) if engine.accepts(blind, m)]
    assert any(not engine.accepts(seen, m) for m in accepted)


def every_mutant(exercise: Exercise) -> list[engine.Answer]:
    return [
        mutants.compiled(exercise, s, tree) for s in mutants.sources(exercise) for tree in mutants.mutants(s.function)
    ]


# ------------------------------------------------------------------------------------------------- what is shown


def test_unknown_numbers_list_the_known() -> None:
    with pytest.raises(ValueError, match=r"no exercise '05\.99'; chapter 05 has 05\.1, 05\.2"):
        exercises.exercise("05.99")
    with pytest.raises(ValueError, match=r"chapter '77' has no exercises; these have: 00"):
        exercises.check("77.1", KL.solution)


def test_the_words_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    exercises.exercise("05.1")
    shown = capsys.readouterr().out
    assert "### Exercise 05.1 · The KL term" in shown and KL.task.strip() in shown and KL.cell in shown
    exercises.check("05.1", lambda mu, logvar: NotImplemented)
    assert capsys.readouterr().out == "○ 05.1 not attempted yet\n"
    exercises.check("05.1", KL.solution)
    assert capsys.readouterr().out == "✓ 05.1 right: The KL term\n"
    exercises.check("05.1", KL.wrong[0].answer)
    said = capsys.readouterr().out
    assert said.startswith("✗ 05.1 not yet\n  tested: ") and KL.wrong[0].message in said
    assert "  expected: shape (5,): " in said and "  came: shape (5,): " in said


def test_a_verdict_in_html_escapes_what_the_answer_says() -> None:
    page = show.card(engine.judge(KL, lambda mu, logvar: "<script>alert(1)</script>"))
    assert "<script>" not in page and "&lt;script&gt;" in page and 'role="status"' in page


# ------------------------------------------------------------------------------------------------- progress


def test_progress_counts_by_chapter_and_resets(capsys: pytest.CaptureFixture[str]) -> None:
    exercises.check("05.1", KL.wrong[0].answer)
    exercises.check("05.1", KL.solution)
    exercises.check("00.1", shelf.find("00.1").solution)
    exercises.hint("05.2")
    rows = {row.chapter: row for row in log.table()}
    assert (rows["05"].solved, rows["05"].total, rows["05"].hints) == (1, len(shelf.of("05")), 1)
    assert rows["00"].solved == 1
    exercises.progress()
    assert f"in all  2 of {len(EVERY)}" in capsys.readouterr().out
    log.reset("05")
    assert {row.chapter: row.solved for row in log.table()}["05"] == 0 and "00.1" in log.states()
    log.reset()
    assert log.states() == {}
    with pytest.raises(ValueError, match="no exercise"):
        log.reset("05.99")


def test_an_untouched_stub_leaves_no_trace(kept: Path) -> None:
    exercises.check("05.1", lambda mu, logvar: NotImplemented)
    assert not kept.exists()


def test_a_log_that_a_crash_has_cut_is_read_and_continued(kept: Path) -> None:
    exercises.check("05.1", KL.solution)
    with kept.open("a", encoding="utf-8") as file:
        file.write('{"time": "2026-01-01T00:00:00+00:00", "exerc')
    assert log.states()["05.1"].solved
    exercises.check("00.1", shelf.find("00.1").solution)
    assert set(log.states()) == {"05.1", "00.1"}
    kept.write_bytes(b"\xff\x00 nonsense\n[1]\n3\n")
    assert log.states() == {}


def test_writers_that_are_killed_lose_nothing_that_was_said(kept: Path) -> None:
    """Processes append at once and are killed; every line that was reported before is there."""
    program = "from genlab.exercises import log\nwhile True:\n    log.record('05.1', 'wrong')\n    print(1, flush=True)"
    children = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=dict(os.environ))
        for _ in range(2)
    ]
    for child in children:
        assert child.stdout is not None
        for _ in range(20):
            assert child.stdout.readline()
        child.kill()
    said = sum(20 + len(child.communicate()[0].splitlines()) for child in children)
    assert log.states()["05.1"].counts["wrong"] >= said - 2


def test_a_disk_that_cannot_be_written_is_said_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("GENLAB_PROGRESS", str(tmp_path / "file" / "progress.jsonl"))
    exercises.check("05.1", KL.solution)
    said = capsys.readouterr()
    assert "✓ 05.1 right" in said.out and "progress cannot be kept" in said.err


def test_the_export_holds_every_exercise(tmp_path: Path) -> None:
    exercises.check("05.1", KL.solution)
    log.export(tmp_path / "me.json", name="Ada")
    content = json.loads((tmp_path / "me.json").read_text(encoding="utf-8"))
    assert content["name"] == "Ada" and len(content["exercises"]) == len(EVERY)
    (mine,) = [row for row in content["exercises"] if row["exercise"] == "05.1"]
    assert mine["solved"] and mine["right"] == 1 and list(tmp_path.glob("*.partial")) == []


def test_the_command_line_shows_resets_and_exports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    exercises.check("05.1", KL.solution)
    capsys.readouterr()
    cli.main(["progress"])
    assert f"in all  1 of {len(EVERY)}" in capsys.readouterr().out
    cli.main(["progress", "--export", str(tmp_path / "me.json"), "--name", "Ada"])
    assert json.loads((tmp_path / "me.json").read_text(encoding="utf-8"))["name"] == "Ada"
    cli.main(["progress", "--reset", "05"])
    assert f"in all  0 of {len(EVERY)}" in capsys.readouterr().out
    for wrong in (["--reset", "05.99"], ["--export", str(tmp_path / "no" / "me.json")]):
        with pytest.raises(SystemExit, match="2"):
            cli.main(["progress", *wrong])
        assert capsys.readouterr().err.count("\n") == 1


def test_the_log_is_in_the_users_data_folder_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GENLAB_PROGRESS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert log.path() == tmp_path / "genlab" / "progress.jsonl"
