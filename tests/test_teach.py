"""What teachers get runs: solutions solve, and nbgrader itself releases, collects and grades."""

import builtins
import csv
import json
import os
import re
import subprocess
import sys
from itertools import count
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from genlab import __main__ as cli
from genlab import exercises
from genlab.exercises import authoring, engine, log, shelf, show, teach
from genlab.tools import notebooks

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def small(folder: Path, only: str = "") -> Path:
    """Chapter 00 without its body: the imports and the exercises, or one of them."""
    notebook = nbformat.read(NOTEBOOKS / "00_start_here.ipynb", as_version=4)
    code = [c for c in notebook.cells if c.cell_type == "code"][1:]  # the first installs the package in Colab
    notebook.cells = [code[0], *(c for c in code if show.SHOWN.fullmatch(c.source) or show.CHECKED.search(c.source))]
    if only:
        code[0].source = "import math\n\nimport torch\n\nfrom genlab.exercises import check, exercise"
        notebook.cells = [code[0], *(c for c in notebook.cells if f'("{only}"' in c.source)]
    folder.mkdir()
    nbformat.write(notebook, folder / "00_start_here.ipynb")
    return folder


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENLAB_PROGRESS", str(tmp_path / "progress.jsonl"))


def test_student_notebooks_have_stubs_and_no_outputs_and_solutions_solve(tmp_path: Path) -> None:
    written = teach.write(tmp_path / "out", notebooks=small(tmp_path / "course"))
    assert [path.parts[-2] for path in written] == ["student", "solutions", "00_start_here"]
    student, solutions = read(written[0]), notebooks.execute(written[1])
    code = [c for c in student.cells if c.cell_type == "code"]
    assert all(c.outputs == [] and c.execution_count is None for c in code)
    assert [c.source for c in code[2::2]] == [e.cell for e in shelf.of("00")]
    told = [o.data["text/plain"] for c in solutions.cells for o in c.get("outputs", []) if "text/html" in o.data]
    assert told == [f"✓ {e.number} right: {e.title}" for e in shelf.of("00")]
    text = "\n".join(c.source for c in solutions.cells if c.cell_type == "markdown")
    assert all(e.explanation.strip() in text and e.discussion.strip() in text for e in shelf.of("00"))


NAME = "00_start_here"


def nbgrader(course: Path, *arguments: str) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # it calls alembic by name
    command = [sys.executable, "-m", "nbgrader", *arguments]
    done = subprocess.run(
        command, cwd=course, capture_output=True, text=True, env=os.environ | {"PATH": path}, encoding="utf-8"
    )
    assert done.returncode == 0, done.stdout + done.stderr


def scores(course: Path) -> dict[str, tuple[float, float]]:
    """Points of every student, and points that there are, from nbgrader's own export."""
    nbgrader(course, "export", "--to", str(course / "grades.csv"))
    with (course / "grades.csv").open(encoding="utf-8") as file:
        return {row["student_id"]: (float(row["score"]), float(row["max_score"])) for row in csv.DictReader(file)}


def test_nbgrader_releases_collects_and_grades(tmp_path: Path) -> None:
    teach.write(tmp_path / "out", notebooks=small(tmp_path / "course"))
    course, name = tmp_path / "out" / "nbgrader", NAME
    source, release = (course / kind / name / f"{name}.ipynb" for kind in ("source", "release"))
    nbgrader(course, "generate_assignment", name, "--create")
    cells = [c for c in read(release).cells if c.metadata.get("nbgrader", {}).get("solution")]
    assert [c.source for c in cells] == [e.cell for e in shelf.of("00")], "students see the course's own stubs"
    assert all(e.explanation.strip() not in release.read_text(encoding="utf-8") for e in shelf.of("00"))
    for student, handed_in in (("solver", source), ("sleeper", release)):
        (course / "submitted" / student / name).mkdir(parents=True)
        (course / "submitted" / student / name / f"{name}.ipynb").write_bytes(handed_in.read_bytes())
    nbgrader(course, "autograde", name, "--create")
    points = float(sum(e.difficulty for e in shelf.of("00")))
    assert scores(course) == {"solver": (points, points), "sleeper": (0.0, points)}


# What a submission may try, with a wrong answer; each gets past a cell that calls the `grade` that it finds.
CHEATS = {
    "rebinds": "import types\n_sys = _kept = types.SimpleNamespace(modules={})\ngrade = _grade = lambda *a: None",
    "patches-modules": """
from genlab import exercises
exercises.grade = exercises.teach.grade = grade = lambda *a: None""",
    "patches-judge": """
from genlab.exercises import engine, teach
teach.judge = engine.judge = lambda found, answer: engine.Verdict(found, engine.RIGHT)""",
    "patches-shelf": """
import dataclasses
from genlab.exercises import shelf
real = shelf.find
shelf.find = lambda number: dataclasses.replace(real(number), solution=bits_per_pixel, probes={})""",
    "replaces-module": """
import sys, types
sys.modules["genlab.exercises.teach"] = types.SimpleNamespace(grade=lambda *a: None)
from genlab.exercises.teach import grade""",
    "patches-builtins": """
import builtins, genlab.exercises.engine as engine
real_zip = zip
builtins.zip = lambda *a, **k: () if len(a) == 2 and isinstance(a[0], list) and a[0] and hasattr(
    a[0][0], "tested") else real_zip(*a, **k)""",
    "edits-the-test": "grade = lambda *a: None",
    "brings-a-package": "",
}
NAIVE = 'grade("00.1", bits_per_pixel)  # not locked: what the cheat is made for'
FIRST = "import os, sys\nsys.path.insert(0, os.getcwd())\n"
GRADE = """
from genlab.exercises import engine, shelf, teach


def grade(number, answer):
    assert teach.judge(shelf.find(number), answer).state == engine.RIGHT"""


def cheated(release: Path, cheat: str) -> NotebookNode:
    """A submission with a wrong answer to 00.1 and a cheat; its last cell is graded by what the notebook finds."""
    notebook = read(release)
    own = cheat == "brings-a-package"
    notebook.cells[0].source = f"{FIRST if own else ''}{notebook.cells[0].source}{', grade' if own else GRADE}"
    answer = next(c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("solution"))
    answer.source = answer.source.split("\n\n\ncheck(")[0].replace("NotImplemented", "0.0") + f"\n\n{CHEATS[cheat]}"
    if cheat == "edits-the-test":
        for cell in notebook.cells:
            if cell.metadata.get("nbgrader", {}).get("grade"):
                cell.source = "pass"
    notebook.cells.append(nbformat.v4.new_code_cell(NAIVE))
    return notebook


def test_cheats_that_fool_a_naive_cell_get_no_points(tmp_path: Path) -> None:
    teach.write(tmp_path / "out", notebooks=small(tmp_path / "course", only="00.1"))
    course = tmp_path / "out" / "nbgrader"
    nbgrader(course, "generate_assignment", NAME, "--create")
    for cheat in CHEATS:
        folder = course / "submitted" / cheat / NAME
        folder.mkdir(parents=True)
        nbformat.write(cheated(course / "release" / NAME / f"{NAME}.ipynb", cheat), folder / f"{NAME}.ipynb")
        if cheat == "brings-a-package":
            (folder / "genlab" / "exercises").mkdir(parents=True)
            (folder / "genlab" / "__init__.py").write_text("", encoding="utf-8")
            fake = "check = exercise = grade = lambda *a: None"
            (folder / "genlab" / "exercises" / "__init__.py").write_text(fake, encoding="utf-8")
            (folder / "genlab" / "exercises" / "teach.py").write_text(fake, encoding="utf-8")
    nbgrader(course, "autograde", NAME, "--create")
    assert scores(course) == dict.fromkeys(CHEATS, (0.0, 1.0))
    for cheat in CHEATS:
        cells = read(course / "autograded" / cheat / NAME / f"{NAME}.ipynb").cells
        naive = [c for c in cells if c.cell_type == "code"][-1]
        assert naive.source == NAIVE and naive.outputs == [], f"{cheat} is no cheat: the naive cell sees through it"
        test = next(c for c in cells if c.metadata.get("nbgrader", {}).get("grade"))
        assert [o.ename for o in test.outputs] == ["AssertionError"], f"{cheat}: {test.outputs}"


def test_one_chapter_is_chosen_and_an_unknown_one_lists_the_known(tmp_path: Path) -> None:
    course = small(tmp_path / "course")
    with pytest.raises(ValueError, match=r"exercises of chapter '77'; there are 00"):
        teach.write(tmp_path / "out", notebooks=course, chapter="77")
    assert not (tmp_path / "out").exists()
    assert len(teach.write(tmp_path / "out", notebooks=course, chapter="00")) == 3


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    course = small(tmp_path / "course")
    with pytest.raises(ValueError, match="is not empty"):
        teach.write(course, notebooks=course)
    assert [path.name for path in course.iterdir()] == ["00_start_here.ipynb"]
    (tmp_path / "empty").mkdir()
    assert teach.write(tmp_path / "empty", notebooks=course)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["course", "empty"], "nothing half written is left"


def test_the_command_line_writes_a_handout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["teach", str(tmp_path / "out"), "--notebooks", str(small(tmp_path / "course")), "--chapter", "00"])
    written = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert len(written) == 3 and all(path.exists() for path in written)
    for wrong in ([str(tmp_path / "out")], [str(tmp_path / "new"), "--notebooks", str(tmp_path / "no")]):
        with pytest.raises(SystemExit, match="2"):
            cli.main(["teach", *wrong])
        assert capsys.readouterr().err.count("\n") == 1


def test_grade_is_silent_when_right_and_says_why_when_not() -> None:
    bits = shelf.find("00.1")
    exercises.grade("00.1", bits.solution)
    with pytest.raises(AssertionError, match="the length of a code is positive"):
        exercises.grade("00.1", bits.wrong[0].answer)


def test_grade_gives_nothing_where_a_named_mistake_passes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    bits = shelf.find("00.1")
    monkeypatch.setattr(teach, "judge", lambda found, answer: engine.Verdict(found, engine.RIGHT))
    with pytest.raises(AssertionError, match=r"00\.1 cannot be graded: .* a mistake, passes here as well"):
        exercises.grade("00.1", bits.solution)


def test_the_text_of_every_task_stands_above_its_stub(tmp_path: Path) -> None:
    for path in teach.write(tmp_path / "out", notebooks=small(tmp_path / "course")):
        cells = read(path).cells
        for found in shelf.of("00"):
            (place,) = [i for i, c in enumerate(cells) if c.source == f'exercise("{found.number}")']
            assert cells[place - 1].cell_type == "markdown" and cells[place - 1].source == show.task(found)
            assert f'check("{found.number}", {found.name})' in cells[place + 1].source


def test_a_handout_without_solutions_says_that_the_teacher_keeps_them(tmp_path: Path) -> None:
    course = small(tmp_path / "course", only="00.1")
    student, solutions, source = teach.write(tmp_path / "out", notebooks=course, chapter="0", solutions=False)
    asks = 'solution("00.1")\nsolution("00.1")'
    said = {}
    for path in (student, teach.write(tmp_path / "open", notebooks=course)[0]):
        notebook = read(path)
        notebook.cells.append(nbformat.v4.new_code_cell(f"from genlab.exercises import solution\n\n{asks}"))
        nbformat.write(notebook, path)
        said[path] = notebooks.execute(path).cells[-1].outputs[-1].data["text/plain"]
    kept, shown = said.values()
    assert kept == 'Your teacher keeps the solution of 00.1. `hint("00.1")` shows a hint.'
    bits = shelf.find("00.1")
    assert bits.solution_code in shown and bits.explanation.strip() in shown
    assert (
        "keep_solutions()" in read(source).cells[0].source and "keep_solutions" not in read(solutions).cells[0].source
    )


def test_what_is_folded_under_a_task_is_kept_too_and_counts_as_nothing_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    bits, shown = shelf.find("00.1"), []
    monkeypatch.setattr(show, "_reveal", show._reveal)  # put back at the end
    monkeypatch.setattr(show, "_asked", {"00.1"})
    monkeypatch.setattr(show, "_display", lambda content, **_: shown.append(content))
    monkeypatch.setattr(show.plot, "in_notebook", lambda: True)
    monkeypatch.setattr(show.plot, "live", lambda: True)
    exercises.exercise("00.1")
    teach.keep_solutions()
    exercises.exercise("00.1")
    exercises.solution("00.1")
    assert [bits.solution_code in text for text in shown] == [True, False, False]
    assert ["Your teacher keeps the solution" in text for text in shown] == [False, True, True]
    assert log.states() == {}


def test_exercises_only_leaves_what_the_exercises_need_in_every_chapter(tmp_path: Path) -> None:
    written = teach.write(tmp_path / "out", notebooks=NOTEBOOKS, exercises_only=True)
    for path in (p for p in written if p.parent.name == "student"):
        title, imports, *rest = read(path).cells
        assert title.source.startswith("# ") and "from genlab.exercises import" in imports.source
        found = shelf.of(teach.chapter_of(read(path)))
        wanted = [text for e in found for text in (show.task(e), f'exercise("{e.number}")', e.cell)]
        assert [c.source for c in rest] == wanted
        modules = {
            word for line in imports.source.splitlines() if "import" in line for word in re.findall(r"\w+", line)
        }
        for exercise in found:
            used = authoring._globals(exercise.solution.__code__) - set(dir(builtins)) - {exercise.name}
            assert used <= modules, f"{exercise.number} uses {used - modules}, which the handout lacks"


# ------------------------------------------------------------------------------------------------ a class's progress


def exported(folder: Path, name: str, *solved: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a learner who has solved these, seen a hint and a solution; a second between events."""
    seconds = count()
    monkeypatch.setattr(log, "_now", lambda: f"2026-01-01T00:00:{next(seconds):02d}+00:00")
    monkeypatch.setenv("GENLAB_PROGRESS", str(folder / f"{name or 'nobody'}.jsonl"))
    for number in solved:
        log.record(number, "right")
    log.record("05.2", "hint")
    log.record("05.2", "solution")
    log.export(folder / f"{name or 'nobody'}.json", name=name)
    return folder / f"{name or 'nobody'}.json"


def test_a_class_is_gathered_into_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exported(tmp_path, "Zoë", "05.1", "05.1", "A1.1", "00.2", monkeypatch=monkeypatch)
    exported(tmp_path, "ada", "05.1", monkeypatch=monkeypatch)
    exported(tmp_path, "", monkeypatch=monkeypatch)
    learners, refused = log.gather(tmp_path)
    assert [one.name for one in learners] == ["ada", "nobody", "Zoë"] and refused == []
    zoe = learners[-1]
    assert {c: n for c, n in zoe.solved.items() if n} == {"00": 1, "05": 1, "A1": 1}
    assert (zoe.hints, zoe.solutions) == (1, 1) and zoe.last == "2026-01-01T00:00:05+00:00"
    log.write_table(learners, tmp_path / "class.csv")
    with (tmp_path / "class.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["name"], r["solved"], r["05"], r["01"]) for r in rows] == [
        ("ada", "1", "1", "0"),
        ("nobody", "0", "0", "0"),
        ("Zoë", "3", "1", "0"),
    ]
    assert list(rows[0])[:6] == ["name", "file", "last activity", "hints", "solutions seen", "solved"]


def test_files_that_are_no_exports_are_named_and_the_rest_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = exported(tmp_path, "Ada", "05.1", monkeypatch=monkeypatch)
    content = json.loads(good.read_text(encoding="utf-8"))
    rows = content["exercises"]
    texts = {
        "cut": good.read_text(encoding="utf-8")[:200],
        "list": "[1, 2]",
        "other": '{"name": "x"}',
        "bytes": "",
        "text": json.dumps(content | {"exercises": [rows[0] | {"hint": "many"}]}),
        "time": json.dumps(content | {"exercises": [rows[0] | {"solved": 7}]}),
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.json").write_bytes(b"\xff\xfe\x00" if name == "bytes" else text.encode())
    learners, refused = log.gather(tmp_path)
    assert [one.name for one in learners] == ["Ada"]
    assert [Path(line.split(": ")[0]).stem for line in refused] == sorted(texts)
    assert "not written by `genlab progress --export`" in refused[0]
    learners, refused = log.gather([good, tmp_path / "missing.json"])
    assert len(learners) == 1 and "missing.json: No such file" in refused[0]
    with pytest.raises(ValueError, match=r"no \.json files in .*; collect what"):
        log.gather(tmp_path / "empty")


def test_an_export_of_another_edition_counts_what_this_course_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = exported(tmp_path, "=HYPERLINK(1)", "05.1", monkeypatch=monkeypatch)
    content = json.loads(good.read_text(encoding="utf-8"))
    mine = next(row for row in content["exercises"] if row["exercise"] == "05.1")
    content["exercises"] += [mine, mine | {"exercise": "77.1"}]
    for row in content["exercises"]:
        row.pop("last", None)
    good.write_text(json.dumps(content), encoding="utf-8")
    (one,), _ = log.gather([good])
    assert sum(one.solved.values()) == 1 and one.last == mine["solved"]
    log.write_table([one], tmp_path / "class.csv")
    text = (tmp_path / "class.csv").read_text(encoding="utf-8-sig")
    assert text.splitlines()[1].startswith("'=HYPERLINK"), "no spreadsheet takes a name for a formula"
