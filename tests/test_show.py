"""What is shown of exercises: verdicts that can be replayed, hints, solutions, whose repair runs."""

from pathlib import Path

import pytest

from genlab import exercises
from genlab.exercises import show
from genlab.exercises.engine import judge
from genlab.exercises.values import text
from tests.small import KL, PROBED, ROWS, SMOOTH, by, kl


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Progress of tests is kept in a folder of their own."""
    path = tmp_path / "progress.jsonl"
    monkeypatch.setenv("GENLAB_PROGRESS", str(path))
    monkeypatch.setattr(show, "_asked", set())
    monkeypatch.setattr(show, "_failed", {})
    monkeypatch.setattr(show, "_unwritten", type(show._unwritten)())
    return path


def test_a_verdict_can_be_replayed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match=r'no answer to 05\.1 has failed .* check\("05\.1", kl_to_standard\) first'):
        show.again("05.1")
    exercises.check("05.1", lambda mu, logvar: mu.zero_().sum(1))
    assert 'by hand: kl_to_standard(*again("05.1"))' in capsys.readouterr().out
    arguments = show.again("5.1")
    call = 'kl_to_standard(*again("05.1"))  # the result for random arguments of shape'
    assert capsys.readouterr().out.startswith(call)
    assert text(KL.solution(*arguments)) == show._failed["05.1"].expected
    assert arguments[0].any(), "they are as they were before the call"
    arguments[0].zero_()
    assert show.again("05.1")[0].any(), "and fresh at each call"
    exercises.check("05.1", KL.solution(*arguments))
    with pytest.raises(ValueError, match="has failed in a call"):
        show.again("05.1")
    exercises.check("05.1", KL.solution)
    with pytest.raises(ValueError, match="has failed in a call"):
        show.again("05.1")


def test_a_number_and_a_function_that_are_swapped_are_told_so() -> None:
    with pytest.raises(ValueError, match=r'the number comes first: check\("05\.1", kl\)'):
        exercises.check(kl, "05.1")  # type: ignore[arg-type]


def test_replayed_arguments_show_the_difference() -> None:
    verdict = judge(PROBED, lambda x: x.sum(1) * (2 if x.shape[1] == 2 else 1))
    assert verdict.arguments is not None and verdict.arguments[0].tolist() == [[0, 1], [2, 3], [4, 5]]
    verdict = judge(SMOOTH, by(lambda y: y.detach()))
    assert verdict.arguments is not None and verdict.arguments[0].requires_grad
    assert judge(ROWS, 3).arguments is None


def test_hints_come_one_at_a_time_and_end_at_three(capsys: pytest.CaptureFixture[str]) -> None:
    for i in (1, 2, 3):
        exercises.hint("05.1")
        assert capsys.readouterr().out == f"**Hint {i} of 3.** {KL.hints[i - 1]}\n"
    for _ in range(2):
        exercises.hint("05.1")
        said = capsys.readouterr().out
        assert said == f"**Hint 3 of 3.** {KL.hints[2]}\n\nThere are three hints, and this is the last.\n"
    exercises.solution("05.1")
    assert "once more" in (asked := capsys.readouterr().out) and KL.solution_code not in asked
    exercises.solution("05.1")
    shown = capsys.readouterr().out
    assert KL.solution_code in shown and KL.explanation.strip() in shown
    found = show.log.states()["05.1"]
    assert (found.counts["hint"], found.counts["solution"], found.solved) == (3, 1, None)


def test_hints_go_on_where_progress_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("GENLAB_PROGRESS", str(tmp_path / "file" / "progress.jsonl"))
    for i in (1, 2, 3, 3):
        exercises.hint("05.1")
        assert capsys.readouterr().out.startswith(f"**Hint {i} of 3.** {KL.hints[i - 1]}\n")


def test_mended_says_whose_repair_runs(capsys: pytest.CaptureFixture[str]) -> None:
    right = lambda mu, logvar: KL.solution(mu, logvar)  # noqa: E731
    assert exercises.mended("05.1", right) is right
    assert capsys.readouterr().out == "your repair of 05.1 runs\n"
    assert exercises.mended("05.1", lambda mu, logvar: mu) is KL.solution
    assert capsys.readouterr().out == "the worked solution of 05.1 runs: yours is not right yet\n"
    assert exercises.mended("05.1", lambda mu, logvar: NotImplemented) is KL.solution
    assert capsys.readouterr().out == ""


def test_hints_and_solution_need_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a live notebook they are folded text, so that after a restart nothing is missing."""
    import IPython.display

    shown: list[dict[str, str]] = []
    monkeypatch.setattr(show.plot, "in_notebook", lambda: True)
    monkeypatch.setattr(show.plot, "live", lambda: True)
    monkeypatch.setattr(IPython.display, "display", lambda bundle, raw: shown.append(bundle))
    exercises.exercise("05.1")
    (bundle,) = shown
    assert set(bundle) == {"text/markdown", "text/plain"}
    page = bundle["text/markdown"]
    assert all(hint in page for hint in KL.hints) and KL.solution_code in page and page.count("<details>") == 6
    monkeypatch.setattr(show.plot, "live", lambda: False)
    exercises.exercise("05.1")
    assert not any(hint in shown[1]["text/markdown"] for hint in KL.hints)
