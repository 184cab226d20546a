"""What teachers get runs: solutions solve, and nbgrader itself releases, collects and grades."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from genlab import __main__ as cli
from genlab import exercises, notebooks
from genlab.exercises import shelf, show, teach

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def small(folder: Path) -> Path:
    """Chapter 00 without its body: the imports and the exercises."""
    notebook = nbformat.read(NOTEBOOKS / "00_start_here.ipynb", as_version=4)
    code = [c for c in notebook.cells if c.cell_type == "code"]
    notebook.cells = [code[0], *(c for c in code if show.SHOWN.fullmatch(c.source) or show.CHECKED.search(c.source))]
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


def test_nbgrader_releases_collects_and_grades(tmp_path: Path) -> None:
    teach.write(tmp_path / "out", notebooks=small(tmp_path / "course"))
    course, name = tmp_path / "out" / "nbgrader", "00_start_here"
    source, release = (course / kind / name / f"{name}.ipynb" for kind in ("source", "release"))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # it calls alembic by name

    def nbgrader(*arguments: str) -> None:
        command = [sys.executable, "-m", "nbgrader", *arguments]
        done = subprocess.run(command, cwd=course, capture_output=True, text=True, env=os.environ | {"PATH": path})
        assert done.returncode == 0, done.stdout + done.stderr

    nbgrader("generate_assignment", name, "--create")
    cells = [c for c in read(release).cells if c.metadata.get("nbgrader", {}).get("solution")]
    assert [c.source for c in cells] == [e.cell for e in shelf.of("00")], "students see the course's own stubs"
    assert all(e.explanation.strip() not in release.read_text() for e in shelf.of("00"))
    for student, handed_in in (("solver", source), ("sleeper", release)):
        (course / "submitted" / student / name).mkdir(parents=True)
        (course / "submitted" / student / name / f"{name}.ipynb").write_bytes(handed_in.read_bytes())
    nbgrader("autograde", name, "--create")
    nbgrader("export", "--to", str(tmp_path / "grades.csv"))
    with (tmp_path / "grades.csv").open() as file:
        scores = {row["student_id"]: (float(row["score"]), float(row["max_score"])) for row in csv.DictReader(file)}
    points = float(sum(e.difficulty for e in shelf.of("00")))
    assert scores == {"solver": (points, points), "sleeper": (0.0, points)}


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
