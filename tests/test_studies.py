"""Studies: runs are made once, kept in order, told apart by their settings, and summed up; the stored are whole."""

import dataclasses
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from genlab import studies
from genlab.studies import choices, stabilising
from genlab.studies.__main__ import main


def toy(monkeypatch: pytest.MonkeyPatch, runs: list[dict[str, Any]], made: list[dict[str, Any]]) -> None:
    """A study of name "toy" that runs in this process."""

    def run(settings: dict[str, Any]) -> dict[str, Any]:
        made.append(settings)
        return {"square": settings["seed"] ** 2}

    monkeypatch.setattr(studies, "study", lambda name: studies.Study(runs, run))
    monkeypatch.setattr(studies, "ProcessPoolExecutor", lambda *_, **__: _Here())


class _Here:
    """A pool that computes at once."""

    def __enter__(self) -> "_Here":
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, function: Any, *given: Any) -> Any:
        from concurrent.futures import Future

        future: Future[Any] = Future()
        future.set_result(function(*given))
        return future


RUNS = [{"variant": v, "seed": s} for v in ("a", "b") for s in (1, 2)]


def test_runs_are_made_once_and_loaded_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, Any]] = []
    toy(monkeypatch, RUNS[2:], made)
    studies.make("toy", folder=tmp_path, say=lambda line: None)
    toy(monkeypatch, RUNS, made)
    with pytest.raises(ValueError, match=r"2 of the 4 runs of toy are not stored.*variant=\"a\", seed=1.*studies toy"):
        studies.stored("toy", folder=tmp_path)
    said: list[str] = []
    studies.make("toy", folder=tmp_path, say=said.append)
    assert made == RUNS[2:] + RUNS[:2] and len(said) == 2 and said[0].startswith('1 of 2: variant="a"')
    assert studies.stored("toy", folder=tmp_path) == [run | {"square": run["seed"] ** 2} for run in RUNS]
    studies.make("toy", folder=tmp_path, say=said.append)
    assert len(made) == 4 and not list(tmp_path.glob("*.partial"))


def test_a_run_with_other_settings_is_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, Any]] = []
    toy(monkeypatch, RUNS, made)
    studies.make("toy", folder=tmp_path, say=lambda line: None)
    changed = [run | {"steps": 3} for run in RUNS[:1]] + RUNS[1:]
    toy(monkeypatch, changed, made)
    studies.make("toy", folder=tmp_path, say=lambda line: None)
    assert made[4:] == changed[:1]
    assert (
        len(json.loads((tmp_path / "toy.json").read_text(encoding="utf-8"))["runs"]) == 4
    )  # what is asked no more is gone


def test_a_process_of_its_own_gets_the_numbers_that_this_one_gets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real pool, on the first run of a real study."""
    whole = studies.study("failures")
    monkeypatch.setattr(studies, "study", lambda name: whole._replace(runs=whole.runs[:1]))
    studies.make("failures", folder=tmp_path, say=lambda line: None)
    (entry,) = json.loads((tmp_path / "failures.json").read_text(encoding="utf-8"))["runs"]
    assert entry["settings"] == whole.runs[0] and entry["seconds"] > 0
    assert entry["results"] == json.loads(json.dumps(whole.run(whole.runs[0]), allow_nan=False))


def test_summaries_are_means_and_sample_deviations() -> None:
    runs = [{"v": "b", "x": 1.0}, {"v": "a", "x": 5}, {"v": "b", "x": 4.0}]
    found = studies.summary(runs, "v", "x")
    assert list(found) == ["b", "a"]
    assert found["b"] == (2.5, pytest.approx(math.sqrt(4.5)), 2)
    assert found["a"].mean == 5 and math.isnan(found["a"].sd) and found["a"].n == 1


@pytest.mark.parametrize("name", studies.NAMES)
def test_stored_studies_are_whole_and_of_different_runs(name: str) -> None:
    runs = studies.study(name).runs
    assert len(studies.stored(name)) == len(runs)
    assert max(Counter(json.dumps(run) for run in runs).values()) == 1
    assert all("seed" in run for run in runs)
    stored = json.loads((studies.FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    assert stored["command"] == f"python -m genlab.studies {name}" and len(stored["runs"]) == len(runs)


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["failures", "0"], ["failures", "two"], ["failures", "1", "1"]])
def test_wrong_commands_get_one_line_and_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and all(name in err for name in studies.NAMES)


def test_an_unknown_study_is_refused_with_the_known() -> None:
    with pytest.raises(ValueError, match="unknown study 'nothing'; known are stabilising"):
        studies.stored("nothing")


# ------------------------------------------------------------------------------------------------ the runs of studies


@pytest.mark.parametrize("name", stabilising.VARIANTS)
def test_every_variant_spends_the_same_arithmetic(name: str) -> None:
    options = stabilising.VARIANTS[name]
    made = {run["steps"] for run in studies.stored("stabilising") if run["variant"] == name}
    baseline = stabilising.STEPS * stabilising.Game(0).flops(1)
    game = stabilising.Game(0, **options)
    (steps,) = made  # of all seeds
    assert steps * game.flops(options.get("every", 1)) == pytest.approx(baseline, rel=0.01)
    assert all(p.isfinite().all() for net in (game.G, game.D) for p in net.parameters())


@pytest.mark.parametrize("name", choices.CHOICES)
def test_every_choice_can_be_taken_out_and_the_rest_stays(name: str) -> None:
    chosen = dataclasses.replace(choices.Choices(), **choices.CHOICES[name])
    torch.manual_seed(0)
    G, D = choices.networks(chosen)
    before = [p.detach().clone() for p in (*G.parameters(), *D.parameters())]
    for _, losses in choices.game(chosen, G, D, 2, seed=0):
        assert all(math.isfinite(loss) for loss in losses.values())
    after = [*G.parameters(), *D.parameters()]
    assert not any(torch.equal(old, new) for old, new in zip(before, after, strict=True))
    x = choices.draw(G, chosen, 20)
    assert x.shape == (20, 1, 28, 28) and x.min() >= 0 and x.max() <= 1
    assert (chosen == choices.Choices()) == (name == "the full recipe")


def test_a_run_of_choices_repeats_itself() -> None:
    settings = {"without": "batches of 64", "seed": 1, "steps": 8}
    first, second = choices.run(settings), choices.run(settings)
    assert first == second and first["fcd"] > 0 and sum(first["classes"]) == pytest.approx(1, abs=0.01)


def test_looking_on_the_way_changes_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples are drawn from copies and from noise of their own; one look fewer would give the same end."""
    settings = {"variant": "non-saturating", "seed": 1, "options": {}}
    monkeypatch.setattr(stabilising, "STEPS", 8)
    often = stabilising.run(settings)
    monkeypatch.setattr(stabilising, "LOOKS", 1)
    never = stabilising.run(settings)
    assert len(often.pop("curve")) == 7 and never.pop("curve") == [] and often == never
